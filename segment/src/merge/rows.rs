//! Numbers for the rows of all inputs, and reading their columns in about that order.

use std::sync::Arc;

use crate::block::BLOCK_ROWS;
use crate::error::{Error, Result};
use crate::segment::Segment;

/// Every row of every input has a number below 2^32. An input's numbers start at a multiple of `BLOCK_ROWS`, so that a
/// table of blocks tells the input.
pub(super) struct Inputs<'a> {
    inputs: Vec<&'a Segment>,
    bases: Vec<u32>,
    by_block: Vec<u32>,
}

impl<'a> Inputs<'a> {
    pub fn new(segments: &'a [Arc<Segment>]) -> Result<Inputs<'a>> {
        let (mut bases, mut by_block) = (Vec::new(), Vec::new());
        for (i, segment) in segments.iter().enumerate() {
            bases.push((by_block.len() * BLOCK_ROWS) as u32);
            let blocks = by_block.len() + segment.rows().div_ceil(BLOCK_ROWS);
            if blocks > (u32::MAX as usize) / BLOCK_ROWS {
                return Err(Error::invalid("more than 4 G rows for one segment; use a finer segment granularity"));
            }
            by_block.resize(blocks, i as u32);
        }
        Ok(Inputs { inputs: segments.iter().map(|s| &**s).collect(), bases, by_block })
    }

    pub fn segments(&self) -> impl Iterator<Item = &'a Segment> {
        self.inputs.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Number of the first row of an input.
    pub fn base(&self, input: usize) -> u32 {
        self.bases[input]
    }

    /// A number above that of any row.
    pub fn end(&self) -> u64 {
        (self.by_block.len() * BLOCK_ROWS) as u64
    }

    /// Rows of all inputs.
    pub fn rows(&self) -> usize {
        self.inputs.iter().map(|s| s.rows()).sum()
    }

    /// The input that a row belongs to, and its place there.
    #[inline]
    pub fn locate(&self, row: u32) -> (usize, usize) {
        let input = self.by_block[row as usize / BLOCK_ROWS] as usize;
        (input, (row - self.bases[input]) as usize)
    }
}

/// The decoded stretch of a column around the row last asked for: a block if rows are asked for in their order, else all.
pub(super) struct Stretch<T> {
    pub values: Vec<T>,
    span: usize,
    at: usize,
    rows: usize,
}

impl<T: Clone + Default> Stretch<T> {
    pub fn new(rows: usize, in_order: bool) -> Stretch<T> {
        let span = if in_order { BLOCK_ROWS } else { rows.max(1) };
        Stretch { values: Vec::new(), span, at: usize::MAX, rows }
    }

    /// The place of a row in `values`, which `decode(first row, values)` fills if they do not hold it.
    #[inline]
    pub fn place(&mut self, row: usize, decode: impl FnOnce(usize, &mut Vec<T>)) -> usize {
        if row / self.span != self.at {
            self.at = row / self.span;
            let start = self.at * self.span;
            self.values.resize(self.span.min(self.rows - start), T::default());
            decode(start, &mut self.values);
        }
        row % self.span
    }
}
