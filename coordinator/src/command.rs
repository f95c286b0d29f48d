//! What goes back and forth with a node: its report, and the orders in answer.
//!
//! Orders state what should be and is not yet: they are repeated with every heartbeat until the report shows them done,
//! so a lost answer costs nothing and carrying an order out twice must change nothing.

use std::collections::BTreeMap;

use segment::{Interval, SegmentId, SegmentMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Positions;
use crate::node::Member;
use crate::view::ViewNumber;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// `attempt` counts how often the task was given to a node. What it publishes and allocates names it, and is refused
    /// once there is a later one.
    StartTask {
        task: TaskRecord,
        attempt: i64,
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
    /// Tasks that had published all they read when this one was made to read on from there. They may have their rows until
    /// others serve them, and read no more, whatever becomes of their nodes.
    #[serde(default)]
    pub follows: Vec<String>,
    /// Of a task that somebody posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poster: Option<Poster>,
}

/// Who posted a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poster {
    /// No two have the same, whoever gets somebody's name later.
    pub key: String,
    /// By what they are known again; kept as it is.
    pub document: Value,
}

/// What a node tells with a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub member: Member,
    /// Grows with every report of the process, from 1. A report that comes twice, or after a later one, changes nothing.
    pub seq: u64,
    /// The leader that has answered this process last, by its epoch: 0 if none has. Only reports that say so of the leader that
    /// gets them count: any other may be one that was sent before, to another leader, and was long on its way. `None` from a
    /// node of an earlier version, which does not tell.
    #[serde(default)]
    pub heard: Option<i64>,
    /// What it serves; `None` if nothing changed since the last report that this leader has answered. To be looked at
    /// before `tasks` are, so that of a task that has caught up all names are in it.
    pub served: Option<Served>,
    /// Orders to load that it is still working on.
    pub loading: Vec<SegmentId>,
    /// Loads that failed since the last report, with the reason. They are ordered again after a while.
    pub broken: Vec<(SegmentId, String)>,
    /// Every task it runs, and ended ones until they were in `Reply::recorded`.
    pub tasks: Vec<TaskProgress>,
    /// Rows that it knows to lack: datasource, supervisor, intervals. It counts for tasks of that supervisor on this node
    /// that have not caught up; that it is over, the tasks tell.
    pub incomplete: Vec<(String, String, Vec<Interval>)>,
    /// The newest view that it has.
    pub view: ViewNumber,
    /// It is about to end, and is to be given nothing more to run; it starts nothing from here on. What its supervised tasks
    /// have is to be published and to be read on by others.
    #[serde(default)]
    pub leaving: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Served {
    pub published: Vec<SegmentId>,
    /// Looked at before `published`: what is about to be both is in one of them.
    pub realtime: Vec<SegmentId>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// To be carried out only while the node's lease holds, see `lease_ms`.
    pub commands: Vec<Command>,
    /// Ended tasks whose outcome is on record: the node may forget them.
    pub recorded: Vec<String>,
    /// Of the leader that answers.
    pub epoch: i64,
    /// So long after it sent this report the node may answer for realtime rows, publish, and carry orders out. It is lost
    /// to the leader when it was not heard of for as long.
    pub lease_ms: u64,
    /// What it serves is to be told again, for this leader does not know it.
    pub wants_served: bool,
    /// The report counts for nothing, not even as a sign of life: it does not tell of this leader. To be made anew at once.
    #[serde(default)]
    pub is_strange: bool,
    /// The newest view there is.
    pub view: ViewNumber,
    /// Whether it was understood that the node is leaving: a leader of an earlier version hands nothing over.
    #[serde(default)]
    pub leaving: bool,
    /// The version of the newest document: whoever knows only older ones may let in who was shut out.
    #[serde(default)]
    pub documents: i64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Starting,
    Reading,
    /// Nothing came for long and nothing is left to read.
    Idle,
    Publishing,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskProgress {
    pub id: String,
    /// That of the order to start it.
    pub attempt: i64,
    /// Of a supervised task: everything that was in the stream when it started is among what the node serves, both before
    /// and after it looked at what it serves for this report.
    pub caught_up: bool,
    /// Of a supervised task that was told to stop: all that it read is published. It has the rows until others serve them.
    #[serde(default)]
    pub done: bool,
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
