//! K-way merge of segments into one file, with rollup, a block at a time: freeze and compaction are this.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::meta::{SegmentId, SegmentMeta};
use crate::schema::Schema;
use crate::segment::Segment;

/// Writes the rows of `inputs` (any order; sorted here by time, then dimensions) to `to`, synced. With
/// `schema.rollup`, rows with equal truncated time and dimensions become one. Deterministic: equal input, equal bytes.
pub fn merge(inputs: &[Arc<Segment>], schema: &Schema, id: &SegmentId, to: &Path) -> Result<SegmentMeta> {
    let _ = (inputs, schema, id, to);
    todo!()
}
