//! Which rows of a segment a filter lets through, as bitsets, a block at a time.

use std::ops::Range;

use segment::Interval;
use segment::filter::Filter;

use crate::columns::Columns;
use crate::error::Result;

/// A filter made ready for one segment. Threads share it.
pub struct Selector {}

/// Memory of one thread's selecting, reused from block to block.
#[derive(Default)]
pub struct Scratch {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    None,
    All,
    /// Those whose bits are set.
    Some,
}

impl Selector {
    /// Compiles a filter: dictionary values are tested here, once each. `intervals` are sorted and do not overlap.
    pub fn new(columns: &Columns, filter: Option<&Filter>, intervals: &[Interval]) -> Result<Selector> {
        let _ = (columns, filter, intervals);
        todo!()
    }

    /// Rows outside are never selected. Empty if the segment has nothing to give.
    pub fn range(&self) -> Range<usize> {
        todo!()
    }

    /// Selects among `len` rows (at most `BLOCK_ROWS`) from `start` (a multiple of 64). With `Some`, bit `r % 64` of
    /// `words[r / 64]` tells of row `start + r`; bits past `len` are 0. With `None` and `All`, `words` is unspecified.
    pub fn select(&self, start: usize, len: usize, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        let _ = (start, len, scratch, words);
        todo!()
    }
}
