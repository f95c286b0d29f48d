//! What this process serves. Changes are applied as one, so a reader sees each row in exactly one place.

use std::sync::Arc;

use crate::meta::SegmentId;
use crate::realtime::RealtimeIndex;
use crate::segment::{Segment, Segments};
use crate::time::Interval;
use crate::timeline::Slice;

#[derive(Clone)]
pub enum Served {
    /// Rows not published yet. Never overshadowed: their version is settled when they are published.
    Realtime(Arc<RealtimeIndex>),
    Published(Arc<Segment>),
}

pub enum Change {
    Serve(SegmentId, Served),
    Retire(SegmentId),
    /// Rows of these intervals are missing until further notice (a task is catching up after a restart). `owner` names
    /// the task; a later `Incomplete` of the same owner replaces it, an empty list ends it.
    Incomplete { datasource: String, owner: String, intervals: Vec<Interval> },
}

/// Shared by ingestion (realtime), the historical role (published) and queries (readers).
#[derive(Default)]
pub struct Inventory {}

/// One consistent picture of a datasource: take it once a query.
pub struct View {
    /// Published segments visible in the intervals asked for, and all realtime ones that overlap them.
    pub slices: Vec<Slice<Served>>,
    /// Parts of the intervals asked for that are known not to be complete now.
    pub incomplete: Vec<Interval>,
}

impl Inventory {
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Applies all changes at once: readers see the state before or after, never between. Realtime and published
    /// entries under the same id replace each other.
    pub fn apply(&self, changes: Vec<Change>) {
        let _ = changes;
        todo!()
    }

    /// `None` if the datasource is not served here.
    pub fn view(&self, datasource: &str, intervals: &[Interval]) -> Option<View> {
        let _ = (datasource, intervals);
        todo!()
    }

    pub fn datasources(&self) -> Vec<String> {
        todo!()
    }

    pub fn serves(&self, id: &SegmentId) -> bool {
        let _ = id;
        todo!()
    }

    pub fn published(&self) -> Vec<Arc<Segment>> {
        todo!()
    }
}

impl Served {
    /// The segments to scan, as of one moment.
    pub fn open(&self) -> Segments {
        match self {
            Served::Realtime(index) => index.snapshot(),
            Served::Published(segment) => vec![segment.clone()],
        }
    }
}
