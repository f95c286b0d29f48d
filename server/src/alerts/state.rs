//! What becomes of an alert when its turn comes: a function of how it stood, what was found, and the time. It reaches nothing
//! else, so that whoever leads next goes on where another stopped.
//!
//! 1. *Beneath* is what the findings say: ok, pending while the condition is met for less long than it has to be, firing, and
//!    resolved for a while after that. A turn that failed says nothing of it: what was firing is firing still.
//! 2. What is *shown* is that, unless the last turn failed (error) or the rule is disabled.
//! 3. What is *told* follows what should be told, and is told once however often it comes up: that it fires, that it does no
//!    more, and that it cannot be evaluated, once a few turns in a row have failed. While it is silenced nothing is told; what
//!    holds when the silence ends is told then, unless it was before.

use serde::{Deserialize, Serialize};

/// So long after it stopped firing an alert is shown as resolved.
pub const RESOLVED_MS: i64 = 15 * 60_000;

/// So many turns in a row fail before anybody is told: a node that starts, or another that takes the lead, may cost one or two.
pub const FAILURES_TOLD: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Ok,
    Pending,
    Firing,
    Resolved,
    Error,
    Disabled,
}

/// What somebody was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// Nothing, or that it is over.
    #[default]
    Calm,
    Firing,
    Error,
}

/// How an alert stands, as it is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    beneath: State,
    beneath_since: i64,
    /// Turns in a row that failed.
    failures: u32,
    disabled: bool,
    told: Told,
    told_at: i64,
    /// When what is shown last changed.
    pub since: i64,
    pub value: Option<f64>,
    pub error: Option<String>,
    pub evaluated: Option<i64>,
    /// Of the newest change.
    pub number: i64,
}

/// What a turn came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Whether the condition is met, and by what value.
    Value {
        met: bool,
        value: Option<f64>,
    },
    Failed(String),
    /// Nothing was looked at: the rule is disabled.
    Disabled,
}

/// What of the rule matters here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    pub for_ms: i64,
    pub repeat_ms: Option<i64>,
    pub silenced: bool,
}

/// What is worth a line of the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub from: State,
    pub to: State,
    /// What is to be told now: that it is `Calm` is that it is over.
    pub tell: Option<Told>,
    /// It was told before.
    pub repeat: bool,
}

impl Standing {
    /// Of an alert that had no turn yet.
    pub fn new(now: i64) -> Standing {
        Standing { beneath_since: now, since: now, ..Standing::default() }
    }

    pub fn shown(&self) -> State {
        match () {
            () if self.disabled => State::Disabled,
            () if self.failures > 0 => State::Error,
            () => self.beneath,
        }
    }

    /// Takes in what a turn came to; `None` if nothing changed and nothing is to be told.
    pub fn take(&mut self, found: Found, terms: Terms, now: i64) -> Option<Step> {
        let from = self.shown();
        self.disabled = found == Found::Disabled;
        match found {
            Found::Value { met, value } => {
                self.failures = 0;
                (self.value, self.error, self.evaluated) = (value, None, Some(now));
                self.go(met, terms.for_ms, now);
            }
            Found::Failed(error) => {
                self.failures = self.failures.saturating_add(1);
                (self.error, self.evaluated) = (Some(error), Some(now));
            }
            Found::Disabled => {
                self.failures = 0;
                (self.value, self.error) = (None, None);
                self.set(State::Ok, now);
            }
        }
        let to = self.shown();
        if from != to {
            self.since = now;
        }
        let tell = self.tell(terms, now);
        let (tell, repeat) = match tell {
            Some((tell, repeat)) => {
                (self.told, self.told_at) = (tell, now);
                (Some(tell), repeat)
            }
            None => (None, false),
        };
        (from != to || tell.is_some()).then_some(Step { from, to, tell, repeat })
    }

    fn set(&mut self, state: State, now: i64) {
        if self.beneath != state {
            (self.beneath, self.beneath_since) = (state, now);
        }
    }

    fn go(&mut self, met: bool, for_ms: i64, now: i64) {
        let past = now.saturating_sub(self.beneath_since);
        let next = match (met, self.beneath) {
            (true, State::Firing) => State::Firing,
            (true, State::Pending) if past >= for_ms => State::Firing,
            (true, State::Pending) => State::Pending,
            (true, _) if for_ms <= 0 => State::Firing,
            (true, _) => State::Pending,
            (false, State::Firing) => State::Resolved,
            (false, State::Resolved) if past < RESOLVED_MS => State::Resolved,
            (false, _) => State::Ok,
        };
        self.set(next, now);
    }

    /// What is to be told now, and whether it was before.
    fn tell(&self, terms: Terms, now: i64) -> Option<(Told, bool)> {
        if terms.silenced {
            return None;
        }
        let due = match () {
            () if self.failures >= FAILURES_TOLD => Told::Error,
            // It may be nothing.
            () if self.failures > 0 => self.told,
            () if self.beneath == State::Firing => Told::Firing,
            () => Told::Calm,
        };
        if due != self.told {
            return Some((due, false));
        }
        let is_late = terms.repeat_ms.is_some_and(|repeat| now.saturating_sub(self.told_at) >= repeat);
        (due != Told::Calm && is_late).then_some((due, true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Turn {
        found: Found,
        after: i64,
        silenced: bool,
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let found = prop_oneof![
            4 => any::<bool>().prop_map(|met| Found::Value { met, value: Some(1.0) }),
            4 => Just(Found::Value { met: true, value: Some(2.0) }),
            2 => Just(Found::Failed("it is away".into())),
            1 => Just(Found::Disabled),
        ];
        let turn = (found, 1..400_000i64, prop::bool::weighted(0.2));
        prop::collection::vec(turn.prop_map(|(found, after, silenced)| Turn { found, after, silenced }), 1..60)
    }

    /// The same by looking at all that was ever found: what is beneath, and what is shown.
    fn model(past: &[(i64, Found)], for_ms: i64) -> (State, State) {
        let shown = |beneath| match past.last() {
            Some((_, Found::Failed(_))) => State::Error,
            Some((_, Found::Disabled)) => State::Disabled,
            _ => beneath,
        };
        // What failed says nothing, and what was before it was disabled counts no more.
        let after = past.iter().rposition(|(_, found)| *found == Found::Disabled).map_or(0, |at| at + 1);
        let known: Vec<(i64, bool)> = past[after..]
            .iter()
            .filter_map(|(at, found)| match found {
                Found::Value { met, .. } => Some((*at, *met)),
                _ => None,
            })
            .collect();
        let fired = |run: &[(i64, bool)]| run[run.len() - 1].0 - run[0].0 >= for_ms;
        let begins = |end: usize| (0..end).rev().take_while(|at| known[*at].1 == known[end - 1].1).last().unwrap();
        let beneath = match known.last() {
            None => State::Ok,
            Some((_, true)) => {
                let run = &known[begins(known.len())..];
                if fired(run) { State::Firing } else { State::Pending }
            }
            Some((now, false)) => {
                let calm = begins(known.len());
                let fired_before = calm > 0 && fired(&known[begins(calm)..calm]);
                // Once it is over, it is.
                let is_fresh = now - known[calm].0 < RESOLVED_MS;
                if fired_before && is_fresh { State::Resolved } else { State::Ok }
            }
        };
        (beneath, shown(beneath))
    }

    proptest! {
        #[test]
        fn an_alert_stands_as_all_its_turns_say(turns in turns(), for_ms in prop_oneof![Just(0), 1..600_000i64]) {
            let (mut standing, mut past, mut now) = (Standing::new(0), Vec::new(), 0);
            for turn in turns {
                now += turn.after;
                past.push((now, turn.found.clone()));
                let before = standing.shown();
                let terms = Terms { for_ms, repeat_ms: None, silenced: turn.silenced };
                let step = standing.take(turn.found, terms, now);
                prop_assert_eq!((standing.beneath, standing.shown()), model(&past, for_ms));
                // It is kept as it is.
                let text = serde_json::to_string(&standing).unwrap();
                prop_assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing.clone());
                if before != standing.shown() {
                    let step = step.unwrap();
                    prop_assert_eq!((step.from, step.to, standing.since), (before, standing.shown(), now));
                }
            }
        }

        /// Nothing is told twice in a row, nothing in silence, and what holds and was looked at is told.
        #[test]
        fn each_change_is_told_once(turns in turns(), for_ms in prop_oneof![Just(0), 1..600_000i64]) {
            let (mut standing, mut now, mut told, mut failures) = (Standing::new(0), 0, Told::Calm, 0);
            for turn in turns {
                now += turn.after;
                failures = if matches!(turn.found, Found::Failed(_)) { failures + 1 } else { 0 };
                let terms = Terms { for_ms, repeat_ms: None, silenced: turn.silenced };
                let tell = standing.take(turn.found, terms, now).and_then(|step| step.tell);
                prop_assert!(tell.is_none() || !turn.silenced);
                prop_assert_ne!(tell, Some(told));
                told = tell.unwrap_or(told);
                if !turn.silenced && failures == 0 {
                    prop_assert_eq!(told == Told::Firing, standing.shown() == State::Firing);
                    prop_assert_ne!(told, Told::Error);
                }
                if !turn.silenced && failures > 0 {
                    prop_assert!(failures < FAILURES_TOLD || told == Told::Error);
                }
            }
        }

        #[test]
        fn what_holds_is_repeated_no_sooner_than_it_says(after in prop::collection::vec(1..100_000i64, 1..60)) {
            let (mut standing, mut now, mut last) = (Standing::new(0), 0, None);
            for after in after {
                now += after;
                let found = Found::Value { met: true, value: Some(1.0) };
                let terms = Terms { for_ms: 0, repeat_ms: Some(60_000), silenced: false };
                let step = standing.take(found, terms, now);
                let due = last.is_none_or(|last| now - last >= 60_000);
                prop_assert_eq!(step.is_some(), due);
                if let Some(step) = step {
                    prop_assert_eq!((step.tell, step.repeat), (Some(Told::Firing), last.is_some()));
                    last = Some(now);
                }
            }
        }
    }
}
