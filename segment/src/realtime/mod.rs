//! Rows still in memory: appended by one task, queryable at every moment, spilled as small segment files, frozen into
//! the final one.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::meta::{SegmentId, SegmentMeta};
use crate::row::RowBatch;
use crate::schema::Schema;
use crate::segment::Segments;

pub struct RealtimeIndex {}

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Appended {
    /// Rows taken in.
    pub rows: usize,
    /// Rows that memory holds now (after rollup).
    pub rows_in_memory: usize,
    /// Bytes that memory holds now: an upper estimate of what the allocator gave.
    pub bytes_in_memory: usize,
}

impl RealtimeIndex {
    /// `spills` are files written by `spill` of an earlier life, already counted in the positions that its owner kept.
    /// `folder` is where spills go; it exists.
    pub fn new(id: SegmentId, schema: Schema, folder: PathBuf, spills: Vec<PathBuf>) -> Result<RealtimeIndex> {
        let _ = (id, schema, folder, spills);
        todo!()
    }

    pub fn id(&self) -> &SegmentId {
        todo!()
    }

    /// Appends the given rows of a batch. Takes the write lock for one batch; snapshots wait for no more than that.
    pub fn append(&self, batch: &RowBatch, rows: &[u32]) -> Result<Appended> {
        let _ = (batch, rows);
        todo!()
    }

    /// Spills and memory as of one moment: every appended row in exactly one of them.
    pub fn snapshot(&self) -> Segments {
        todo!()
    }

    /// Moves the rows of memory into a new small segment file, synced to disk; they stay queryable throughout. `None`
    /// if memory is empty. Appends may go on meanwhile.
    pub fn spill(&self) -> Result<Option<PathBuf>> {
        todo!()
    }

    pub fn rows_in_memory(&self) -> usize {
        todo!()
    }

    pub fn bytes_in_memory(&self) -> usize {
        todo!()
    }

    /// Rows in spills and memory.
    pub fn rows(&self) -> usize {
        todo!()
    }

    /// Spills what is left and merges all spills into the final file at `to`, synced. No append may follow.
    pub fn freeze(&self, to: &Path) -> Result<SegmentMeta> {
        let _ = to;
        todo!()
    }
}
