//! What goes back and forth with a node: its report, and the orders in answer.
//!
//! Orders state what should be and is not yet: they are repeated with every heartbeat until the report shows them done,
//! so a lost answer costs nothing and carrying an order out twice must change nothing.

use std::collections::BTreeMap;

use segment::{SegmentId, SegmentMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Positions;

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    StartTask {
        task: TaskRecord,
    },
    StopTask {
        task: String,
        reason: StopReason,
    },
    /// Fetch the segment and serve it. All `Load`s and `Drop`s of one reply are applied to the inventory as one change,
    /// or, if a `Load` fails, none of them: it is reported as broken, and the next reply has the others again.
    Load(SegmentMeta),
    /// Serve it no longer, be it published or realtime.
    Drop(SegmentId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StopReason {
    /// Publish what was read, then stop.
    Suspend,
    /// As `Suspend`: another document takes over.
    Replace,
    /// As `Suspend`: for good.
    Terminate,
    /// The process ends in good order: keep what was read on disk, publish nothing.
    Shutdown,
    /// Discard what is not published.
    Reset,
    /// As `Reset`, and the task counts as failed.
    Cancel,
}

/// The order to run a task, as it is kept in the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub id: String,
    pub group_id: String,
    pub datasource: String,
    /// `index_kafka`, `index_parallel`, `index`, `noop`.
    pub kind: String,
    pub supervisor: Option<String>,
    /// The spec as it was posted; of the supervisor, for a supervised task.
    pub document: Value,
    /// A supervised task reads the partitions with `partition % groups == group`.
    pub group: u32,
    pub groups: u32,
    /// Grows whenever the supervisor gets another document or other positions.
    pub generation: i64,
    pub created_at: i64,
}

/// What a node tells with a heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub node: String,
    /// What it serves; `None` if nothing changed since its last report (to this coordinator process).
    pub served: Option<Served>,
    /// Orders to load that it is still working on.
    pub loading: Vec<SegmentId>,
    /// Loads that failed since the last report, with the reason. They are ordered again after a while.
    pub broken: Vec<(SegmentId, String)>,
    /// Every task it runs, and ended ones until they were in `Reply::recorded`.
    pub tasks: Vec<TaskProgress>,
}

#[derive(Debug, Clone, Default)]
pub struct Served {
    pub published: Vec<SegmentId>,
    pub realtime: Vec<SegmentId>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    pub commands: Vec<Command>,
    /// Ended tasks whose outcome is on record: the node may forget them.
    pub recorded: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Waits for a node.
    Pending,
    Running,
    Success,
    Failed,
}

/// What a running task is about; a supervisor's state is made from its tasks'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Starting,
    Reading,
    /// Nothing came for long and nothing is left to read.
    Idle,
    Publishing,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// No answer from the stream yet.
    #[default]
    Connecting,
    Healthy,
    UnableToConnect(String),
    LostContact(String),
    /// Anything else that keeps the task from going on; it is retried and nothing is lost.
    Hindered(String),
}

#[derive(Debug, Clone)]
pub struct TaskProgress {
    pub id: String,
    /// Never `Pending`.
    pub state: TaskState,
    pub phase: Phase,
    pub condition: Condition,
    /// Why it failed.
    pub error: Option<String>,
    /// Next offsets to read, and the records that are left to read, by partition.
    pub positions: Positions,
    pub lag: BTreeMap<String, i64>,
    /// The task's own report, kept as it is.
    pub report: Value,
}
