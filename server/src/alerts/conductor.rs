//! Gives rules their turns, puts on record what came of them, and has it told: the journey of the module's header, by the one
//! that leads.
//!
//! Nothing is held here that is not on record: after any error of the store, and when another takes the lead, how alerts
//! stand is read again. Turns that were missed are not made up for; the one that is due now counts for all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use coordinator::{AlertChange, AlertNotice, AlertRecord, AlertState, NoticeOutcome};
use query::policy::{Action, Kind};
use segment::time::format_timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::channels::Channel;
use super::queue::{Queue, TAKEN_MAX};
use super::rule::Silence;
use super::state::{Found, Standing, Step, Told};
use super::{ALERT, CHANNEL, Kept, SILENCE, evaluate};
use crate::http::App;
use crate::node::now;

/// Questions that are asked at once: alerts take little of what a node can answer.
const ASKING_MAX: usize = 4;

/// The longest rest between two looks at what is due.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Rest after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until it is told to end, or what it runs on is dropped.
pub async fn run(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut documents = app.coordinator.watch_documents();
    let mut conductor: Option<Conductor> = None;
    while !*stopping.borrow() {
        documents.mark_unchanged();
        let rest = match work(&app, &mut conductor).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::warn!(%error, "alerts cannot be kept; they are read again");
                conductor = None;
                RETRY
            }
        };
        let ended = async {
            match &mut conductor {
                Some(conductor) => conductor.one_ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(rest) => {}
            _ = documents.changed() => {}
            _ = stopping.changed() => {}
        }
    }
}

/// One round; how long there is nothing to do unless something ends or changes.
async fn work(app: &Arc<App>, held: &mut Option<Conductor>) -> coordinator::Result<Duration> {
    let conductor = match held {
        Some(conductor) => conductor,
        None => held.insert(Conductor::read(app).await?),
    };
    conductor.read_rules(app);
    conductor.ask(app);
    conductor.put_on_record(app).await?;
    conductor.tell(app).await?;
    Ok(conductor.rest(now()))
}

struct Turn {
    id: String,
    turn: i64,
    found: Found,
}

#[derive(Default)]
struct Conductor {
    /// As last read, by name, with the version of the document.
    rules: HashMap<String, (i64, Arc<Kept>)>,
    /// By the id of the rule: the time of the last turn, and what it left.
    standings: HashMap<String, (i64, Standing)>,
    /// Of all rules there are, also of those that cannot be read.
    ids: HashSet<String>,
    /// Rules whose turn it is.
    at_turn: HashSet<String>,
    asking: JoinSet<Turn>,
    /// Whose turn each of these is.
    asked: HashMap<Id, String>,
    sending: JoinSet<(AlertNotice, Result<(), String>)>,
    queue: Queue,
    turns: Vec<Turn>,
    outcomes: Vec<NoticeOutcome>,
}

impl Conductor {
    async fn read(app: &App) -> coordinator::Result<Conductor> {
        let mut conductor = Conductor::default();
        for AlertState { alert, turn, state } in app.coordinator.alert_states().await? {
            // What another version wrote may be of another shape: it begins anew then.
            let standing = serde_json::from_value(state).unwrap_or_else(|_| Standing::new(turn));
            conductor.standings.insert(alert, (turn, standing));
        }
        conductor.queue = Queue::of(app.coordinator.alert_notices(TAKEN_MAX).await?);
        Ok(conductor)
    }

    /// Takes in what of the rules has changed.
    fn read_rules(&mut self, app: &App) {
        let documents = app.coordinator.documents(ALERT);
        let names: HashSet<&str> = documents.iter().map(|document| document.name.as_str()).collect();
        self.ids = documents.iter().filter_map(|document| Some(document.value["id"].as_str()?.to_string())).collect();
        self.rules.retain(|name, _| names.contains(name.as_str()));
        for document in &documents {
            if self.rules.get(&document.name).is_some_and(|(version, _)| *version == document.version) {
                continue;
            }
            match Kept::of(document) {
                Some(kept) => drop(self.rules.insert(document.name.clone(), (document.version, Arc::new(kept)))),
                None => {
                    tracing::error!(alert = document.name, "the rule of an alert cannot be read");
                    self.rules.remove(&document.name);
                }
            }
        }
    }

    /// Begins the turns that are due. A node that cannot answer yet gives none.
    fn ask(&mut self, app: &Arc<App>) {
        if app.refuses_queries().is_some() {
            return;
        }
        let now = now();
        let mut due: Vec<(i64, String, Arc<Kept>)> = Vec::new();
        for (name, (_, kept)) in &self.rules {
            let (last, standing) = match self.standings.get(&kept.id) {
                Some((last, standing)) => (Some(*last), Some(standing)),
                None => (None, None),
            };
            let turn = kept.rule.turn(now);
            // One far ahead was written by a clock that was.
            let is_due = last.is_none_or(|last| last < turn || last > now + kept.rule.every_ms);
            let is_known = kept.rule.disabled
                && standing.is_some_and(|standing| standing.shown() == super::state::State::Disabled);
            if is_due && !is_known && !self.at_turn.contains(&kept.id) {
                due.push((last.unwrap_or(i64::MIN), name.clone(), kept.clone()));
            }
        }
        // Who waits longest is next.
        due.sort_by_key(|(last, ..)| *last);
        for (_, name, kept) in due {
            if kept.rule.disabled {
                self.at_turn.insert(kept.id.clone());
                self.turns.push(Turn { id: kept.id.clone(), turn: kept.rule.turn(now), found: Found::Disabled });
            } else if self.asking.len() < ASKING_MAX {
                self.at_turn.insert(kept.id.clone());
                let id = kept.id.clone();
                let asking = self.asking.spawn(turn(app.clone(), name, kept));
                self.asked.insert(asking.id(), id);
            }
        }
    }

    /// Returns when a question is answered, or a notice sent.
    async fn one_ended(&mut self) {
        tokio::select! {
            Some(ended) = self.asking.join_next_with_id() => self.take_turn(ended),
            Some(sent) = self.sending.join_next() => match sent {
                Ok((notice, result)) => self.take_sent(&notice, result),
                Err(error) => tracing::error!(%error, "sending a notice broke off"),
            },
            else => std::future::pending().await,
        }
    }

    fn take_turn(&mut self, ended: Result<(Id, Turn), JoinError>) {
        match ended {
            Ok((asking, turn)) => {
                self.asked.remove(&asking);
                self.turns.push(turn);
            }
            Err(error) => {
                tracing::error!(%error, "a turn of an alert broke off");
                if let Some(id) = self.asked.remove(&error.id()) {
                    self.at_turn.remove(&id);
                }
            }
        }
    }

    fn take_sent(&mut self, notice: &AlertNotice, result: Result<(), String>) {
        let outcome = if result.is_ok() { "sent" } else { "failed" };
        metrics::counter!("henge_server_alert_notices_total", "outcome" => outcome).increment(1);
        if let Err(error) = &result {
            tracing::warn!(channel = notice.channel, error, "an alert was not told");
        }
        self.outcomes.extend(self.queue.sent(notice, result, now()));
    }

    /// Writes what turns came to, what became of notices, and what there is no more.
    async fn put_on_record(&mut self, app: &App) -> coordinator::Result<()> {
        while let Some(ended) = self.asking.try_join_next_with_id() {
            self.take_turn(ended);
        }
        let names: HashMap<&str, (&str, &Arc<Kept>)> =
            self.rules.iter().map(|(name, (_, kept))| (kept.id.as_str(), (name.as_str(), kept))).collect();
        let mut record = AlertRecord { outcomes: std::mem::take(&mut self.outcomes), ..AlertRecord::default() };
        let mut notices = Vec::new();
        for Turn { id, turn, found } in std::mem::take(&mut self.turns) {
            self.at_turn.remove(&id);
            // It may be gone by now.
            let Some((name, kept)) = names.get(id.as_str()) else { continue };
            let now = now();
            let mut standing =
                self.standings.get(&id).map_or_else(|| Standing::new(now), |(_, standing)| standing.clone());
            let silence = app.coordinator.document(SILENCE, name).and_then(|document| Silence::of(&document.value));
            let silenced = silence.is_some_and(|silence| now < silence.until);
            let outcome = if matches!(found, Found::Failed(_)) { "failed" } else { "answered" };
            if found != Found::Disabled {
                metrics::counter!("henge_server_alert_turns_total", "outcome" => outcome).increment(1);
            }
            let step = standing.take(found, kept.rule.terms(silenced), now);
            let mut changes = Vec::new();
            if let Some(step) = step {
                standing.number += 1;
                let change = change(name, kept, &standing, step, now);
                let told = change.notices.iter().map(|(channel, notice)| AlertNotice {
                    alert: id.clone(),
                    number: change.number,
                    channel: channel.clone(),
                    notice: notice.clone(),
                    created_at: now,
                    tries: 0,
                });
                notices.extend(told);
                tracing::info!(alert = name, from = ?step.from, to = ?step.to, told = ?step.tell, "an alert changed");
                changes.push(change);
            }
            let state = serde_json::to_value(&standing).unwrap_or_default();
            record.turns.push((AlertState { alert: id.clone(), turn, state }, changes));
            self.standings.insert(id, (turn, standing));
        }
        record.gone = self.standings.keys().filter(|id| !self.ids.contains(*id)).cloned().collect();
        for id in &record.gone {
            self.standings.remove(id);
        }
        if record == AlertRecord::default() {
            return Ok(());
        }
        let gone = record.gone.clone();
        app.coordinator.record_alerts(record).await?;
        // Nothing is sent before it is on record.
        self.queue.forget(|alert| gone.iter().any(|id| id == alert));
        notices.into_iter().for_each(|notice| self.queue.push(notice));
        let firing = self.standings.values().filter(|(_, of)| of.shown() == super::state::State::Firing).count();
        metrics::gauge!("henge_server_alerts_firing").set(firing as f64);
        Ok(())
    }

    /// Sends what is due. Who does not surely lead sends nothing: another may.
    async fn tell(&mut self, app: &Arc<App>) -> coordinator::Result<()> {
        if self.queue.is_empty() && self.queue.more && self.outcomes.is_empty() {
            self.queue = Queue::of(app.coordinator.alert_notices(TAKEN_MAX).await?);
        }
        while app.coordinator.leads()
            && let Some(notice) = self.queue.next(now())
        {
            let app = app.clone();
            self.sending.spawn(async move {
                let result = send(&app, &notice).await;
                (notice, result)
            });
        }
        Ok(())
    }

    fn rest(&self, now: i64) -> Duration {
        let turns = self.rules.values().filter(|(_, kept)| !kept.rule.disabled);
        let turns = turns.map(|(_, kept)| kept.rule.turn(now) + kept.rule.every_ms);
        let next = turns.chain(self.queue.due()).min().unwrap_or(i64::MAX);
        let left = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
        Duration::from_millis(left).clamp(Duration::from_millis(20), LOOK_MAX)
    }
}

/// One turn of a rule, as its owner is now.
async fn turn(app: Arc<App>, name: String, kept: Arc<Kept>) -> Turn {
    let now = now();
    let found = match app.identity.acting(&kept.owner) {
        None => Found::Failed(format!(
            "its owner {} is no user any more who may ask; put the rule as one who is",
            kept.owner.name
        )),
        Some(owner) => {
            let path = format!("/henge/v1/alerts/{name}");
            let owner = kept.acting(owner);
            match app.broker.authorizer().current().may(&owner, Kind::Config, "CONFIG", Action::Write) {
                false => Found::Failed(format!(
                    "its owner {} may not write the configuration any more; put the rule as one who may",
                    kept.owner.name
                )),
                true => match evaluate::ask(&app, &owner, &kept.rule, &path, now).await {
                    Ok(answer) => Found::Value { met: answer.met, value: answer.value },
                    Err(error) => Found::Failed(error),
                },
            }
        }
    };
    Turn { id: kept.id.clone(), turn: kept.rule.turn(now), found }
}

/// A step as it is kept and told. The id of what is told is the same however often it is sent.
fn change(name: &str, kept: &Kept, standing: &Standing, step: Step, now: i64) -> AlertChange {
    let number = standing.number;
    let told = step.tell.map(|told| {
        let state = match told {
            Told::Calm => "resolved",
            Told::Firing => "firing",
            Told::Error => "error",
        };
        json!({
            "id": format!("{}-{number}", kept.id),
            "alert": name,
            "state": state,
            "description": kept.rule.description,
            "severity": kept.rule.severity,
            "value": standing.value,
            "error": standing.error,
            "since": format_timestamp(standing.since),
            "time": format_timestamp(now),
            "repeat": step.repeat,
        })
    });
    let notices = told.map(|told| kept.rule.notify.iter().map(|channel| (channel.clone(), told.clone())).collect());
    let change = json!({
        "from": step.from,
        "to": step.to,
        "value": standing.value,
        "error": standing.error,
        "repeat": step.repeat,
    });
    AlertChange { number, at: now, change, notices: notices.unwrap_or_default() }
}

/// Tells one channel of it, as the channel is now.
async fn send(app: &App, notice: &AlertNotice) -> Result<(), String> {
    let Some(document) = app.coordinator.document(CHANNEL, &notice.channel) else {
        return Err("there is no such channel any more".to_string());
    };
    deliver(app, &document.value, &notice.notice).await
}

/// Sends something by a channel as it is kept.
pub async fn deliver(app: &App, channel: &Value, notice: &Value) -> Result<(), String> {
    let hosts = Arc::new(app.config.http_sources.clone());
    let channel = Channel::parse(channel, &hosts).map_err(|refused| refused.message)?;
    channel.send(hosts, notice).await
}
