//! Which segments are visible: per time chunk the newest version wins whole.

use crate::meta::SegmentId;
use crate::time::Interval;

/// Versions and partitions of one datasource over time.
pub struct Timeline<T> {
    entries: Vec<(SegmentId, T)>,
}

/// A visible segment and the part of its interval in which it is visible.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<T> {
    pub id: SegmentId,
    pub interval: Interval,
    pub item: T,
}

impl<T: Clone> Timeline<T> {
    pub fn new() -> Timeline<T> {
        Timeline { entries: Vec::new() }
    }

    pub fn add(&mut self, id: SegmentId, item: T) {
        let _ = (id, item);
        todo!()
    }

    pub fn remove(&mut self, id: &SegmentId) -> Option<T> {
        let _ = id;
        todo!()
    }

    pub fn visible(&self, within: Interval) -> Vec<Slice<T>> {
        let _ = within;
        todo!()
    }

    /// Segments of which no part is visible.
    pub fn overshadowed(&self) -> Vec<SegmentId> {
        todo!()
    }
}
