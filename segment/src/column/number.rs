//! Long, float and double columns.

use std::sync::{Arc, OnceLock};

use super::memory::{NumberChunk, rows_of};
use crate::bitmap::Bitmap;
use crate::block::{BLOCK_ROWS, spans};
use crate::encoding::numbers::{NumberKind, Numbers};
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
    File { numbers: Numbers, size_bytes: u64 },
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

    pub(crate) fn from_file(value_type: ValueType, numbers: Numbers, size_bytes: u64) -> NumberColumn {
        let blocks =
            || (0..numbers.blocks()).filter(|block| !numbers.all_null(*block)).map(|block| numbers.bounds(block));
        let bounds: Option<Vec<(u64, u64)>> = blocks().collect();
        let bounds = bounds.unwrap_or_default().into_iter();
        let long = value_type == ValueType::Long;
        let (long_range, double_range) = if long {
            (union(bounds.map(|(lo, hi)| (lo as i64, hi as i64))), None)
        } else {
            (None, union(bounds.map(|(lo, hi)| (f64::from_bits(lo), f64::from_bits(hi)))))
        };
        NumberColumn {
            rows: numbers.rows(),
            nulls: OnceLock::new(),
            long_range,
            double_range,
            has_nulls: numbers.has_nulls(),
            value_type,
            form: Form::File { numbers, size_bytes },
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
            Form::File { numbers, .. } => numbers.longs(start, out),
        }
    }

    /// Longs of the given rows, which are best in order; 0 where null. Long columns only.
    pub fn longs_at(&self, rows: &[u32], out: &mut Vec<i64>) {
        match &self.form {
            Form::Memory(chunks) => {
                out.clear();
                let value = |row: &u32| chunks[*row as usize / BLOCK_ROWS].longs()[*row as usize % BLOCK_ROWS];
                out.extend(rows.iter().map(value));
            }
            Form::File { numbers, .. } => numbers.longs_at(rows, out),
        }
    }

    /// Doubles of the given rows, which are best in order, whatever the type; 0 where null.
    pub fn doubles_at(&self, rows: &[u32], out: &mut Vec<f64>) {
        match &self.form {
            Form::Memory(chunks) => {
                out.clear();
                out.extend(rows.iter().map(|row| {
                    let (chunk, row) = (&chunks[*row as usize / BLOCK_ROWS], *row as usize % BLOCK_ROWS);
                    if chunk.is_long() { chunk.longs()[row] as f64 } else { chunk.doubles()[row] }
                }));
            }
            Form::File { numbers, .. } => numbers.doubles_at(rows, out),
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
            Form::File { numbers, .. } => numbers.doubles(start, out),
        }
    }

    /// Whether each row from `start` on is null; answers whether any is.
    pub fn nulls(&self, start: usize, out: &mut [bool]) -> bool {
        match &self.form {
            Form::Memory(chunks) => {
                let mut any = false;
                spans(start, out, |chunk, from, out| match chunks[chunk].nulls() {
                    Some(nulls) => {
                        out.copy_from_slice(&nulls[from..from + out.len()]);
                        any |= out.contains(&true);
                    }
                    None => out.fill(false),
                });
                any
            }
            Form::File { numbers, .. } => numbers.nulls(start, out),
        }
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
        Some(Bitmap::words(words, self.rows))
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
            Form::File { numbers, .. } if self.value_type == ValueType::Long => {
                numbers.bounds(block).map(|(lo, hi)| (lo as i64, hi as i64))
            }
            Form::File { .. } => None,
        }
    }

    /// As [`NumberColumn::range`], over a block; for columns of any type.
    pub fn block_double_range(&self, block: usize) -> Option<(f64, f64)> {
        match &self.form {
            Form::Memory(chunks) => {
                let long = chunks[block].long_range().map(|(lo, hi)| (lo as f64, hi as f64));
                chunks[block].double_range().or(long)
            }
            Form::File { numbers, .. } => {
                let long = self.value_type == ValueType::Long;
                let value = |bits: u64| if long { bits as i64 as f64 } else { f64::from_bits(bits) };
                numbers.bounds(block).map(|(lo, hi)| (value(lo), value(hi)))
            }
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory(chunks) => chunks.iter().map(|c| c.bytes() as u64).sum(),
            Form::File { size_bytes, .. } => *size_bytes,
        }
    }

    /// Name of the form that a block of a file is kept in; for those who look at files.
    pub fn block_form(&self, block: usize) -> &'static str {
        match &self.form {
            Form::Memory(_) => "memory",
            Form::File { numbers, .. } => numbers.form(block),
        }
    }

    /// Decodes what is decoded late otherwise; false if something is not what was written.
    pub(crate) fn check(&self) -> bool {
        match &self.form {
            Form::Memory(_) => true,
            Form::File { numbers, .. } => numbers.check(),
        }
    }
}

/// The kind of numbers of a numeric type.
pub(crate) fn kind_of(value_type: &ValueType) -> Option<NumberKind> {
    match value_type {
        ValueType::Long => Some(NumberKind::Long),
        ValueType::Float => Some(NumberKind::Float),
        ValueType::Double => Some(NumberKind::Double),
        ValueType::String | ValueType::Array(_) | ValueType::Complex(_) => None,
    }
}

fn union<T: PartialOrd + Copy>(ranges: impl Iterator<Item = (T, T)>) -> Option<(T, T)> {
    ranges.reduce(|(lo, hi), (l, h)| (if l < lo { l } else { lo }, if h > hi { h } else { hi }))
}
