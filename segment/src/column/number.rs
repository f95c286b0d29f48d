//! Long, float and double columns.

use std::sync::{Arc, OnceLock};

use super::memory::{NumberChunk, rows_of};
use crate::bitmap::Bitmap;
use crate::block::BLOCK_ROWS;
use crate::schema::ValueType;

pub struct NumberColumn {
    value_type: ValueType,
    rows: usize,
    form: Form,
    /// Over all rows; made when first asked for.
    nulls: OnceLock<Vec<u64>>,
    long_range: Option<(i64, i64)>,
    double_range: Option<(f64, f64)>,
    has_nulls: bool,
}

enum Form {
    Memory(Vec<Arc<NumberChunk>>),
}

impl NumberColumn {
    /// Panics if a chunk is not of the type: longs for `Long`, doubles for `Float` and `Double`.
    pub fn from_chunks(value_type: ValueType, chunks: Vec<Arc<NumberChunk>>) -> NumberColumn {
        assert!(value_type.is_numeric(), "a number column of a type that is none");
        let long = value_type == ValueType::Long;
        assert!(chunks.iter().all(|c| c.is_long() == long), "a chunk of another type than its column's");
        let nan = chunks.iter().any(|c| c.has_nan());
        NumberColumn {
            rows: rows_of(&chunks, |c| c.len()),
            nulls: OnceLock::new(),
            long_range: union(chunks.iter().filter_map(|c| c.long_range())),
            double_range: if nan { None } else { union(chunks.iter().filter_map(|c| c.double_range())) },
            has_nulls: chunks.iter().any(|c| c.nulls().is_some()),
            value_type,
            form: Form::Memory(chunks),
        }
    }

    /// `Long`, `Float` or `Double`.
    pub fn value_type(&self) -> ValueType {
        self.value_type.clone()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn has_nulls(&self) -> bool {
        self.has_nulls
    }

    /// Values from row `start` on, as many as `out` is long; 0 where null. Long columns only.
    pub fn longs(&self, start: usize, out: &mut [i64]) {
        match &self.form {
            Form::Memory(chunks) => {
                spans(start, out, |chunk, from, out| {
                    out.copy_from_slice(&chunks[chunk].longs()[from..from + out.len()])
                });
            }
        }
    }

    /// Values as doubles, whatever the type; 0 where null.
    pub fn doubles(&self, start: usize, out: &mut [f64]) {
        match &self.form {
            Form::Memory(chunks) => spans(start, out, |chunk, from, out| {
                let chunk = &chunks[chunk];
                if chunk.is_long() {
                    let values = &chunk.longs()[from..from + out.len()];
                    out.iter_mut().zip(values).for_each(|(o, v)| *o = *v as f64);
                } else {
                    out.copy_from_slice(&chunk.doubles()[from..from + out.len()]);
                }
            }),
        }
    }

    /// Whether each row from `start` on is null; answers whether any is.
    pub fn nulls(&self, start: usize, out: &mut [bool]) -> bool {
        let mut any = false;
        match &self.form {
            Form::Memory(chunks) => spans(start, out, |chunk, from, out| match chunks[chunk].nulls() {
                Some(nulls) => {
                    out.copy_from_slice(&nulls[from..from + out.len()]);
                    any |= out.contains(&true);
                }
                None => out.fill(false),
            }),
        }
        any
    }

    /// The null rows; `None` if there are none.
    pub fn null_bitmap(&self) -> Option<Bitmap<'_>> {
        if !self.has_nulls {
            return None;
        }
        let words = self.nulls.get_or_init(|| {
            let mut words = vec![0u64; self.rows.div_ceil(64)];
            let mut flags = [false; BLOCK_ROWS];
            for start in (0..self.rows).step_by(BLOCK_ROWS) {
                let flags = &mut flags[..BLOCK_ROWS.min(self.rows - start)];
                if self.nulls(start, flags) {
                    for (i, _) in flags.iter().enumerate().filter(|(_, null)| **null) {
                        words[(start + i) / 64] |= 1 << ((start + i) % 64);
                    }
                }
            }
            words
        });
        Some(Bitmap::words(words))
    }

    /// Bounds of the non-null values, as doubles. `None` if there are none, or one is not a number. Bounds of memory
    /// columns may be wider than the values are.
    pub fn range(&self) -> Option<(f64, f64)> {
        self.double_range.or(self.long_range.map(|(lo, hi)| (lo as f64, hi as f64)))
    }

    /// As [`NumberColumn::range`], of a long column.
    pub fn long_range(&self) -> Option<(i64, i64)> {
        self.long_range
    }

    /// As [`NumberColumn::long_range`], over block `block` of `BLOCK_ROWS` rows.
    pub fn block_long_range(&self, block: usize) -> Option<(i64, i64)> {
        match &self.form {
            Form::Memory(chunks) => chunks[block].long_range(),
        }
    }

    /// As [`NumberColumn::range`], over a block; for columns of any type.
    pub fn block_double_range(&self, block: usize) -> Option<(f64, f64)> {
        match &self.form {
            Form::Memory(chunks) => {
                let long = chunks[block].long_range().map(|(lo, hi)| (lo as f64, hi as f64));
                chunks[block].double_range().or(long)
            }
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory(chunks) => chunks.iter().map(|c| c.bytes() as u64).sum(),
        }
    }
}

/// Cuts the rows `start..start + out.len()` at block borders: `(block, first row in the block, its part of out)`.
pub(crate) fn spans<T>(start: usize, out: &mut [T], mut each: impl FnMut(usize, usize, &mut [T])) {
    let (mut row, mut out) = (start, out);
    while !out.is_empty() {
        let from = row % BLOCK_ROWS;
        let len = (BLOCK_ROWS - from).min(out.len());
        let (now, rest) = out.split_at_mut(len);
        each(row / BLOCK_ROWS, from, now);
        (row, out) = (row + len, rest);
    }
}

fn union<T: PartialOrd + Copy>(ranges: impl Iterator<Item = (T, T)>) -> Option<(T, T)> {
    ranges.reduce(|(lo, hi), (l, h)| (if l < lo { l } else { lo }, if h > hi { h } else { hi }))
}
