//! The port to the catalog: committed positions, names for new segments, and the one transaction that publishes.

use async_trait::async_trait;
use segment::{Interval, SegmentId, SegmentMeta};

use crate::error::Result;
use crate::positions::Positions;

/// What tasks ask of the catalog. Every call may be repeated after a failure whose outcome is unknown.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Committed positions of a supervisor; empty if nothing was ever committed (or they were reset).
    async fn positions(&self, supervisor: &str) -> Result<Positions>;

    /// A name for a new segment. Asked twice for the same sequence, interval, index and time chunk, the same id.
    ///
    /// The id's interval holds `at`, and may be larger or smaller than the one asked for: the time chunks that are there
    /// already decide. Only rows within the id's interval go into the segment.
    async fn allocate(&self, what: &Allocation) -> Result<SegmentId>;

    /// Returns when nobody answers without these segments any more, which the node serves and has no row in yet. An answer without
    /// them would lack the rows that other answers have counted.
    async fn announce(&self, ids: &[SegmentId]) -> Result<()>;

    /// One transaction: compares and sets the positions, inserts the segments. Answers the ids of the segments, in the
    /// order given.
    ///
    /// If they differ from those given, nothing was changed: versions have moved since the allocation (a replace came
    /// in between), and the caller renames what it serves and publishes again with the new ids.
    /// [`crate::Error::Stale`] if the committed positions are not `from`, or if this attempt is not the task's newest.
    async fn publish(&self, what: &Publication) -> Result<Vec<SegmentId>>;

    /// Whether a published segment is queryable outside the task, or no longer wanted (replaced or dropped).
    async fn is_served(&self, id: &SegmentId) -> Result<bool>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Who asks, and in which of its attempts: the ledger refuses one that another has followed.
    pub task: String,
    pub attempt: i64,
    pub datasource: String,
    /// Names the rows: allocations of the same sequence are repeatable.
    pub sequence: String,
    pub interval: Interval,
    /// The time of a row that needs the segment.
    pub at: i64,
    /// A version newer than any there is (batch replace), else the version in force is joined.
    pub fresh_version: bool,
    /// The how-many-th segment of this sequence and interval.
    pub index: u32,
}

#[derive(Debug, Clone)]
pub struct Publication {
    pub task: String,
    /// As of an [`Allocation`].
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

#[derive(Debug, Clone, PartialEq)]
pub enum PublishMode {
    /// Beside what is there.
    Append,
    /// Instead of everything older within these intervals.
    Replace { intervals: Vec<Interval> },
}
