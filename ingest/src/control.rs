//! What a task and its worker share: the order to stop, and the report.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::error::{Error, Result};
use crate::report::{
    Condition, Incident, PROBLEMS_KEPT_MIN, ParseProblem, Phase, PublishingReport, TaskReport, TaskState,
};
use crate::worker::{Clock, StartTask, StopReason};

/// Pauses between attempts: doubling from the first to the second.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(crate) const RETRY_MOST: Duration = Duration::from_secs(5);

/// Incidents kept for the status.
const INCIDENTS_KEPT: usize = 20;

pub struct Control {
    clock: Clock,
    stop: watch::Sender<Option<StopReason>>,
    report: Mutex<TaskReport>,
    state: Mutex<State>,
    /// The worker's: a report changed in a way that should not wait for the next heartbeat.
    changed: Arc<Notify>,
}

struct State {
    /// What the local disk, deep storage or the catalog last refused, until it works again.
    storage: Option<String>,
    /// How it stands with the stream.
    stream: Condition,
    problems: VecDeque<ParseProblem>,
    problems_kept: usize,
    incidents: VecDeque<Incident>,
}

impl Control {
    pub fn new(order: &StartTask, clock: Clock, changed: Arc<Notify>) -> Arc<Control> {
        let now = clock();
        let report = TaskReport {
            id: order.id.clone(),
            group_id: order.group_id.clone(),
            datasource: order.datasource.clone(),
            kind: order.kind.clone(),
            supervisor: order.supervisor.clone(),
            group: order.group,
            generation: order.generation,
            attempt: order.attempt,
            state: TaskState::Running,
            phase: Phase::Starting,
            condition: Condition::Connecting,
            error: None,
            created_at: order.created_at,
            started_at: now,
            ended_at: None,
            start: Default::default(),
            sequence_opened_at: now,
            sequence_closes_at: now,
            positions: Default::default(),
            ends: Default::default(),
            ends_at: 0,
            publishing: Vec::new(),
            is_read_out: false,
            caught_up: false,
            rows: Default::default(),
            newest_event: None,
            rates: Default::default(),
            parse_problems: Vec::new(),
            incidents: Vec::new(),
            segments_published: 0,
            ignored_fields: Vec::new(),
        };
        let state = State {
            storage: None,
            stream: Condition::Connecting,
            problems: VecDeque::new(),
            problems_kept: PROBLEMS_KEPT_MIN,
            incidents: VecDeque::new(),
        };
        Arc::new(Control {
            clock,
            stop: watch::Sender::new(None),
            report: Mutex::new(report),
            state: Mutex::new(state),
            changed,
        })
    }

    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Orders to stop. A reason that discards or hurries wins over one that publishes first, never the other way round.
    pub fn stop(&self, reason: StopReason) {
        self.stop.send_if_modified(|current| {
            let wins = current.is_none_or(|current| urgency(reason) > urgency(current));
            if wins {
                *current = Some(reason);
            }
            wins
        });
    }

    pub fn stop_reason(&self) -> Option<StopReason> {
        *self.stop.borrow()
    }

    /// Whether the task must end without publishing what is not published.
    pub fn must_hurry(&self) -> bool {
        self.stop_reason().is_some_and(|reason| urgency(reason) > 0)
    }

    /// Waits; `Err` as soon as the task must hurry.
    pub async fn pause(&self, time: Duration) -> Result<()> {
        let mut stop = self.stop.subscribe();
        let hurried = stop.wait_for(|reason| reason.is_some_and(|reason| urgency(reason) > 0));
        tokio::select! {
            _ = hurried => Err(Error::Interrupted),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Calls until it succeeds or fails for good; between attempts the reason shows in the task's condition.
    pub async fn retry<T, F: Future<Output = Result<T>>>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<T> {
        let mut rest = RETRY_FIRST;
        loop {
            if self.must_hurry() {
                return Err(Error::Interrupted);
            }
            match call().await {
                Ok(done) => {
                    self.storage_works();
                    return Ok(done);
                }
                Err(error) if error.is_retryable() => {
                    self.storage_refuses(format!("{what}: {error}"));
                    self.pause(rest).await?;
                    rest = (rest * 2).min(RETRY_MOST);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the node serves is to be told at once.
    pub fn tell(&self) {
        self.changed.notify_one();
    }

    pub fn storage_refuses(&self, reason: String) {
        let mut state = self.state.lock();
        if state.storage.as_ref() != Some(&reason) {
            tracing::warn!(reason, "a task cannot store, and tries again");
            state.add_incident(Incident { at: self.now(), message: reason.clone(), stream: false });
            state.storage = Some(reason);
            drop(state);
            self.changed.notify_one();
        }
    }

    pub fn storage_works(&self) {
        if self.state.lock().storage.take().is_some() {
            self.changed.notify_one();
        }
    }

    /// How it stands with the stream; a change for the worse is an incident.
    pub fn set_stream(&self, condition: Condition) {
        let mut state = self.state.lock();
        if state.stream == condition {
            return;
        }
        if let Some(reason) = condition.reason() {
            tracing::warn!(reason, "the stream cannot be read, and is tried again");
            state.add_incident(Incident { at: self.now(), message: reason.to_string(), stream: true });
        }
        state.stream = condition;
        drop(state);
        self.changed.notify_one();
    }

    pub fn add_incident(&self, message: String, stream: bool) {
        self.state.lock().add_incident(Incident { at: self.now(), message, stream });
    }

    pub fn keep_problems(&self, kept: usize) {
        self.state.lock().problems_kept = kept.max(PROBLEMS_KEPT_MIN);
    }

    pub fn add_problem(&self, problem: ParseProblem) {
        let mut state = self.state.lock();
        while state.problems.len() >= state.problems_kept {
            state.problems.pop_front();
        }
        state.problems.push_back(problem);
    }

    /// Changes the report; `phase` changes wake the worker.
    pub fn update(&self, change: impl FnOnce(&mut TaskReport)) {
        let mut report = self.report.lock();
        let told = |report: &TaskReport| {
            (report.state, report.phase, report.caught_up, report.publishing.len(), report.is_done())
        };
        let before = told(&report);
        change(&mut report);
        let changed = before != told(&report);
        drop(report);
        if changed {
            self.changed.notify_one();
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.update(|report| report.phase = phase);
    }

    pub fn add_publishing(&self, publishing: PublishingReport) {
        self.update(|report| report.publishing.push(publishing));
    }

    pub fn mark_published(&self, sequence: &str, segments: usize) {
        self.update(|report| {
            report.segments_published += segments as u64;
            report.publishing.iter_mut().filter(|p| p.sequence == sequence).for_each(|p| p.published = true);
        });
    }

    pub fn remove_publishing(&self, sequence: &str) {
        self.update(|report| report.publishing.retain(|publishing| publishing.sequence != sequence));
    }

    /// The last of the sequences that are closed and not published.
    pub fn last_unpublished(&self) -> Option<String> {
        let report = self.report.lock();
        report.publishing.iter().rev().find(|publishing| !publishing.published).map(|last| last.sequence.clone())
    }

    pub fn is_unpublished(&self, sequence: &str) -> bool {
        let report = self.report.lock();
        report.publishing.iter().any(|publishing| publishing.sequence == sequence && !publishing.published)
    }

    /// The task has ended.
    pub fn end(&self, state: TaskState, error: Option<String>) {
        let now = self.now();
        self.update(|report| {
            report.state = state;
            report.phase = Phase::Ended;
            report.error = error;
            report.ended_at = Some(now);
        });
        self.changed.notify_one();
    }

    pub fn report(&self) -> TaskReport {
        let mut report = self.report.lock().clone();
        let state = self.state.lock();
        report.condition = match &state.storage {
            Some(reason) => Condition::StorageProblem(reason.clone()),
            None => state.stream.clone(),
        };
        report.parse_problems = state.problems.iter().cloned().collect();
        report.incidents = state.incidents.iter().cloned().collect();
        report
    }

    pub fn is_ended(&self) -> bool {
        self.report.lock().is_ended()
    }
}

impl State {
    fn add_incident(&mut self, incident: Incident) {
        if self.incidents.len() >= INCIDENTS_KEPT {
            self.incidents.pop_front();
        }
        self.incidents.push_back(incident);
    }
}

fn urgency(reason: StopReason) -> u8 {
    match reason {
        StopReason::Suspend | StopReason::Replace | StopReason::Terminate => 0,
        StopReason::Shutdown => 1,
        StopReason::Reset | StopReason::Cancel => 2,
    }
}
