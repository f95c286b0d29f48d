//! What the engine works on: one segment and the time in which its rows count.

use std::sync::Arc;

use segment::{Interval, Segment, SegmentId};

/// A segment of a query.
#[derive(Clone)]
pub struct Piece {
    pub id: SegmentId,
    pub segment: Arc<Segment>,
    /// Where the segment is visible and the query asks: sorted, not overlapping, not empty.
    pub intervals: Vec<Interval>,
}
