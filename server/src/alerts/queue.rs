//! What is to be told, in the order in which it came to be: to one channel one at a time, and of one alert nothing before
//! what came before it is told or given up. It is bounded by what is taken of the record at once.

use coordinator::{AlertNotice, NoticeOutcome};

/// So many are taken of the record at once; the rest waits there.
pub const TAKEN_MAX: usize = 1_000;

/// Sent at once.
pub const SENDING_MAX: usize = 8;

/// After so many tries a notice is given up, a good quarter of an hour after it came to be.
pub const TRIES_MAX: i64 = 12;

const PAUSE_FIRST_MS: i64 = 1_000;
const PAUSE_MAX_MS: i64 = 300_000;

/// How long nothing is tried after so many tries.
pub fn pause_ms(tries: i64) -> i64 {
    let doublings = u32::try_from(tries.saturating_sub(1).clamp(0, 30)).unwrap_or(0);
    (PAUSE_FIRST_MS << doublings).min(PAUSE_MAX_MS)
}

#[derive(Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    /// Whether there may be more on record.
    pub more: bool,
}

struct Waiting {
    notice: AlertNotice,
    due: i64,
    sending: bool,
}

impl Queue {
    /// What is on record, oldest first. What was tried before is due at once: the one that leads is another.
    pub fn of(notices: Vec<AlertNotice>) -> Queue {
        let more = notices.len() >= TAKEN_MAX;
        let mut queue = Queue { waiting: Vec::new(), more };
        queue.waiting.extend(notices.into_iter().map(|notice| Waiting { notice, due: 0, sending: false }));
        queue
    }

    /// What was put on record just now. If the queue has enough, it is taken from there later.
    pub fn push(&mut self, notice: AlertNotice) {
        match self.more || self.waiting.len() >= TAKEN_MAX {
            true => self.more = true,
            false => self.waiting.push(Waiting { notice, due: 0, sending: false }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next to be sent, if one may be; it counts as being sent from now on.
    pub fn next(&mut self, now: i64) -> Option<AlertNotice> {
        let at = self.free().find(|at| self.waiting[*at].due <= now)?;
        let next = &mut self.waiting[at];
        next.sending = true;
        Some(next.notice.clone())
    }

    /// When the next is due that waits for its time alone.
    pub fn due(&self) -> Option<i64> {
        self.free().map(|at| self.waiting[at].due).min()
    }

    /// Those that wait for no other.
    fn free(&self) -> impl Iterator<Item = usize> {
        let is_full = self.waiting.iter().filter(|of| of.sending).count() >= SENDING_MAX;
        let is_free = |at: &usize| {
            let of = &self.waiting[*at];
            let to = |other: &Waiting| other.notice.channel == of.notice.channel;
            let is_before = |other: &Waiting| to(other) && other.notice.alert == of.notice.alert;
            !self.waiting.iter().any(|other| other.sending && to(other)) && !self.waiting[..*at].iter().any(is_before)
        };
        (0..self.waiting.len()).filter(move |at| !is_full && is_free(at))
    }

    /// What became of one that was sent, as it is to be put on record.
    pub fn sent(&mut self, notice: &AlertNotice, result: Result<(), String>, now: i64) -> Option<NoticeOutcome> {
        let is_it = |of: &Waiting| {
            of.sending
                && (&of.notice.alert, of.notice.number, &of.notice.channel)
                    == (&notice.alert, notice.number, &notice.channel)
        };
        let at = self.waiting.iter().position(is_it)?;
        let of = &mut self.waiting[at];
        of.notice.tries += 1;
        of.sending = false;
        let has_ended = result.is_ok() || of.notice.tries >= TRIES_MAX;
        of.due = now + pause_ms(of.notice.tries);
        let outcome = NoticeOutcome {
            alert: notice.alert.clone(),
            number: notice.number,
            channel: notice.channel.clone(),
            tries: of.notice.tries,
            ended: has_ended.then_some(now),
            error: result.err(),
        };
        if has_ended {
            self.waiting.remove(at);
        }
        Some(outcome)
    }

    /// Nothing more is told of these.
    pub fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.waiting.retain(|of| !is_gone(&of.notice.alert));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(alert: &str, number: i64, channel: &str) -> AlertNotice {
        AlertNotice {
            alert: alert.into(),
            number,
            channel: channel.into(),
            notice: serde_json::Value::Null,
            created_at: 0,
            tries: 0,
        }
    }

    #[test]
    fn of_one_alert_a_channel_is_told_in_order_and_one_that_is_away_keeps_no_other_waiting() {
        let mut queue = Queue::of(vec![notice("a", 1, "down"), notice("a", 2, "down"), notice("b", 1, "down")]);
        queue.push(notice("a", 1, "up"));
        let first = queue.next(0).unwrap();
        let other = queue.next(0).unwrap();
        assert_eq!((first.number, first.channel.as_str(), other.channel.as_str()), (1, "down", "up"));
        assert_eq!(queue.next(0), None);
        let outcome = queue.sent(&first, Err("away".into()), 10).unwrap();
        assert_eq!((outcome.tries, outcome.ended, outcome.error.as_deref()), (1, None, Some("away")));
        assert_eq!(queue.sent(&other, Ok(()), 10).unwrap().ended, Some(10));
        // What comes after it of the same alert waits, and others do not.
        let next = queue.next(10).unwrap();
        assert_eq!(next.alert, "b");
        queue.sent(&next, Ok(()), 11);
        assert_eq!((queue.next(11), queue.due()), (None, Some(10 + PAUSE_FIRST_MS)));
        assert_eq!(queue.next(10 + PAUSE_FIRST_MS).unwrap().number, 1);
    }

    #[test]
    fn what_never_arrives_is_given_up_after_growing_pauses() {
        let mut queue = Queue::of(vec![notice("a", 1, "down"), notice("a", 2, "down")]);
        let (mut now, mut tries) = (0, 0);
        loop {
            let Some(sent) = queue.next(now) else {
                now += 1_000;
                continue;
            };
            tries += 1;
            if let Some(ended) = queue.sent(&sent, Err("away".into()), now).unwrap().ended {
                assert_eq!(ended, now);
                break;
            }
        }
        assert_eq!(tries, TRIES_MAX);
        assert!((600_000..3_600_000).contains(&now), "{now}");
        assert_eq!(queue.next(now).unwrap().number, 2);
    }

    #[test]
    fn what_is_more_than_is_taken_at_once_stays_on_record() {
        let many = (0..TAKEN_MAX as i64).map(|number| notice("a", number, "c")).collect();
        let mut queue = Queue::of(many);
        queue.push(notice("b", 1, "c"));
        assert!(queue.more && queue.waiting.len() == TAKEN_MAX);
    }
}
