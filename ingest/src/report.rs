//! What tasks tell about themselves: the heartbeat and the status pages are made from this.

use std::collections::BTreeMap;

use crate::positions::{PartitionKey, Positions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Running,
    Success,
    Failed,
}

/// What a running task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Starting,
    /// Reading records (for a batch task: its input).
    Reading,
    /// Nothing came for `inactiveAfterMillis` and there is no lag; the stream is still watched.
    Idle,
    /// No longer reads; publishes what was read.
    Publishing,
    /// Published; waits until it is served elsewhere.
    Waiting,
    Ended,
}

/// How the task stands with its stream and its disks; supervisor states are made from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// No answer from the stream yet.
    #[default]
    Connecting,
    Healthy,
    /// There never was an answer.
    UnableToConnect(String),
    /// There was an answer, and there is none now.
    LostContact(String),
    /// The stream answers, and the task cannot go on as it is: a missing topic, records deleted before they were read.
    StreamProblem(String),
    /// Local disk, deep storage or the catalog refuse; retried, and nothing is lost meanwhile.
    StorageProblem(String),
}

impl Condition {
    pub fn is_healthy(&self) -> bool {
        matches!(self, Condition::Healthy | Condition::Connecting)
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Condition::Connecting | Condition::Healthy => None,
            Condition::UnableToConnect(text)
            | Condition::LostContact(text)
            | Condition::StreamProblem(text)
            | Condition::StorageProblem(text) => Some(text),
        }
    }
}

/// Counts of rows since the task started (`restored` apart: rows of an earlier life that were on disk).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RowStats {
    /// Taken in whole.
    pub processed: u64,
    pub processed_bytes: u64,
    /// Taken in, with at least one value set to null because it could not be converted.
    pub processed_with_error: u64,
    pub unparseable: u64,
    pub thrown_away: ThrownAway,
    /// Messages without a payload.
    pub tombstones: u64,
    pub restored: u64,
}

/// Rows left out on purpose, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ThrownAway {
    /// `transformSpec.filter`.
    pub filtered: u64,
    /// Before the late message rejection, or outside `granularitySpec.intervals`.
    pub late: u64,
    pub early: u64,
}

impl ThrownAway {
    pub fn total(&self) -> u64 {
        self.filtered + self.late + self.early
    }
}

/// Rows a second, averaged as Unix load is, in the order of [`RowStats`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub processed: f64,
    pub processed_bytes: f64,
    pub processed_with_error: f64,
    pub unparseable: f64,
    pub thrown_away: f64,
}

/// A message or row that could not be parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseProblem {
    /// The input, cut to [`INPUT_BYTES_MAX`].
    pub input: String,
    pub reason: String,
    /// Where it was: `topic:partition@offset`, or a file and line.
    pub place: String,
    pub at: i64,
}

/// How much of an unparseable input is kept: enough to recognise a record, and 100 of them stay below 100 kB.
pub const INPUT_BYTES_MAX: usize = 1000;

/// How many parse problems are kept at least, whatever `maxSavedParseExceptions` says.
pub const PROBLEMS_KEPT_MIN: usize = 100;

/// Something that went wrong and was retried or ended the task.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub at: i64,
    pub message: String,
    /// Whether the stream is to blame.
    pub stream: bool,
}

/// A sequence that is read to its end and not yet served elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishingReport {
    pub sequence: String,
    pub from: Positions,
    pub to: Positions,
    /// Already committed; waits to be served.
    pub published: bool,
    /// When it was read to its end, or restored to be.
    pub since: i64,
}

#[derive(Debug, Clone)]
pub struct TaskReport {
    pub id: String,
    pub group_id: String,
    pub datasource: String,
    pub kind: String,
    pub supervisor: Option<String>,
    pub group: u32,
    pub generation: i64,
    pub attempt: i64,
    pub state: TaskState,
    pub phase: Phase,
    pub condition: Condition,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: i64,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    /// Start of the sequence that is being read, and when it was opened and will be closed.
    pub start: Positions,
    pub sequence_opened_at: i64,
    pub sequence_closes_at: i64,
    /// Next offsets to read; all rows before them are queryable.
    pub positions: Positions,
    /// Log ends as last seen, with the time.
    pub ends: Positions,
    pub ends_at: i64,
    pub publishing: Vec<PublishingReport>,
    /// It reads no more, and what it has read is published or among `publishing`.
    pub is_read_out: bool,
    /// Everything that was in the stream when the task started is in.
    pub caught_up: bool,
    pub rows: RowStats,
    /// The latest time of the rows that were taken in since the task started.
    pub newest_event: Option<i64>,
    /// One, five and fifteen minutes.
    pub rates: [Rates; 3],
    /// The newest last.
    pub parse_problems: Vec<ParseProblem>,
    /// The newest last.
    pub incidents: Vec<Incident>,
    /// Segments this task published.
    pub segments_published: u64,
    /// Fields of the document that Druid gives a meaning and this task does not.
    pub ignored_fields: Vec<String>,
}

impl TaskReport {
    pub fn lag(&self) -> BTreeMap<PartitionKey, i64> {
        self.positions.lag(&self.ends)
    }

    /// Whether all that it read is published, and it reads no more: what comes next is for another task to read.
    pub fn is_done(&self) -> bool {
        self.is_read_out && self.publishing.iter().all(|publishing| publishing.published)
    }

    pub fn is_ended(&self) -> bool {
        self.state != TaskState::Running
    }
}
