//! An immutable, queryable table of rows: from a file or from a snapshot of a realtime index; readers cannot tell.

use std::sync::Arc;

use crate::column::{Column, NumberColumn};
use crate::error::Result;
use crate::meta::SegmentId;
use crate::schema::ValueType;
use crate::time::Granularity;

/// Columns are opened (and a file's are checked) when first asked for; decoding an open column cannot fail.
pub struct Segment {}

/// What the segment says of how it was made.
#[derive(Debug, Clone)]
pub struct Provenance {
    pub rollup: bool,
    pub query_granularity: Option<Granularity>,
    /// The metrics' aggregates in Druid's JSON, combining form.
    pub aggregates: Vec<serde_json::Value>,
}

impl Segment {
    pub fn id(&self) -> &SegmentId {
        todo!()
    }

    pub fn rows(&self) -> usize {
        todo!()
    }

    /// Smallest and largest time of the rows, inclusive; `None` if it has no rows.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        todo!()
    }

    /// Whether rows stand in time order (files: always; realtime rows: as they came).
    pub fn is_time_sorted(&self) -> bool {
        todo!()
    }

    pub fn time(&self) -> Result<&NumberColumn> {
        todo!()
    }

    /// `Ok(None)`: there is no such column. `Corrupt` if its bytes are not what was written.
    pub fn column(&self, name: &str) -> Result<Option<&Column>> {
        let _ = name;
        todo!()
    }

    /// Names and types, `__time` first, then dimensions, then metrics, without opening them.
    pub fn columns(&self) -> Vec<(String, ValueType)> {
        todo!()
    }

    pub fn dimensions(&self) -> &[String] {
        todo!()
    }

    pub fn metrics(&self) -> &[String] {
        todo!()
    }

    /// Bytes it holds in memory or on disk.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    pub fn provenance(&self) -> &Provenance {
        todo!()
    }
}

/// What an id stands for in a process: usually one segment, for a realtime index several (spills and memory).
pub type Segments = Vec<Arc<Segment>>;
