//! The catalog: segments, positions, supervisors, tasks, leases and documents of others in one small store.
//! All SQL of this crate is in this folder.

pub(crate) mod alerts;
mod allocate;
mod database;
pub(crate) mod documents;
mod kept;
pub(crate) mod leases;
pub(crate) mod members;
pub(crate) mod named;
mod publish;
pub(crate) mod rows;
mod session;
mod store;
pub(crate) mod tasks;
#[cfg(test)]
#[allow(dead_code)]
mod testing;

use std::collections::BTreeMap;
use std::fmt;

use segment::{Interval, SegmentId, SegmentMeta};
use serde::{Deserialize, Serialize};

pub(crate) use database::{Database, Fence};
pub(crate) use documents::SupervisorRow;
pub(crate) use kept::Kept;
pub(crate) use rows::SegmentRecord;
pub(crate) use session::{Session, Writing};
pub use store::{MetadataStore, PostgresUrl};
pub(crate) use tasks::{EndedTask, TaskRow};

/// Next offset to read by partition. The coordinator compares keys and offsets and gives them no meaning; ingestion
/// writes keys as `topic:partition`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(pub BTreeMap<String, i64>);

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        f.write_str("{")?;
        for (key, offset) in &self.0 {
            write!(f, "{separator}{key}={offset}")?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

/// A wish for a segment's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// The task that asks, the node on which it runs and the attempt as which it was started there: refused with
    /// [`Error::Stale`](crate::Error::Stale) where the task is on record with another one.
    pub task: String,
    pub node: String,
    pub attempt: i64,
    pub datasource: String,
    /// Names the rows: allocations of the same sequence are repeatable.
    pub sequence: String,
    /// The chunk of time that the rows fall in by the task's own granularity.
    pub interval: Interval,
    /// The how-many-th segment of this sequence and interval.
    pub index: u32,
    /// A version newer than any there is (batch replace), else the version in force is joined.
    pub fresh_version: bool,
    /// The time of the row that needs the segment; by default the start of the interval.
    pub at: Option<i64>,
}

/// Segments that were pushed, and the positions they reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// As of an [`Allocation`].
    pub task: String,
    pub node: String,
    pub attempt: i64,
    /// Whose positions are compared and set; `None` for batch tasks, which have none.
    pub supervisor: Option<String>,
    pub datasource: String,
    pub segments: Vec<SegmentMeta>,
    /// Only these partitions are compared. One that was never committed passes.
    pub from: Positions,
    pub to: Positions,
    pub mode: PublishMode,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PublishMode {
    /// Beside what is there.
    Append,
    /// Instead of everything older within these intervals.
    Replace { intervals: Vec<Interval> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Published {
    /// The segments as they are now on record, in the order given.
    Committed(Vec<SegmentMeta>),
    /// Nothing was changed, as newer versions hide what these names stand for. To be published again under these, in
    /// the order given; they are reserved.
    Renamed(Vec<SegmentId>),
}
