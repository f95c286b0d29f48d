//! Columns that live in memory: what a realtime snapshot, inline rows and tests are made of.
//!
//! Everything is cut into chunks behind `Arc`s. A writer appends to its own list of chunks through [`Arc::make_mut`]; a
//! snapshot clones the list. So a snapshot costs one reference count a chunk, and the writer copies at most the last
//! chunk after it. Every chunk of rows holds [`BLOCK_ROWS`] rows, every chunk of a dictionary [`DICTIONARY_CHUNK`]
//! values; only the last one may hold fewer.

use std::sync::Arc;

use crate::block::BLOCK_ROWS;

/// Values in a chunk of a memory dictionary.
pub const DICTIONARY_CHUNK: usize = 1024;

/// Consecutive values of a dictionary.
#[derive(Debug, Clone, Default)]
pub struct TextChunk {
    text: String,
    ends: Vec<usize>,
}

impl TextChunk {
    pub fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    /// Bytes of heap it holds.
    pub fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// Strings in the order in which they first came; a value's place is its code.
#[derive(Debug, Clone, Default)]
pub struct MemoryDictionary {
    pub chunks: Vec<Arc<TextChunk>>,
    /// Number of codes, the null's included.
    pub len: u32,
    /// The null's code, if there is a null. Its slot in the chunks holds an empty string.
    pub null: Option<u32>,
}

impl MemoryDictionary {
    /// Adds a value that is not there yet and returns its code.
    pub fn push(&mut self, value: Option<&str>) -> u32 {
        let code = self.len;
        if (code as usize).is_multiple_of(DICTIONARY_CHUNK) {
            self.chunks.push(Arc::default());
        }
        let last = self.chunks.last_mut().expect("a chunk was pushed for the first value");
        Arc::make_mut(last).push(value.unwrap_or_default());
        if value.is_none() {
            self.null = Some(code);
        }
        self.len += 1;
        code
    }

    pub fn get(&self, code: u32) -> Option<&str> {
        if self.null == Some(code) {
            return None;
        }
        Some(self.chunks[code as usize / DICTIONARY_CHUNK].get(code as usize % DICTIONARY_CHUNK))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.bytes()).sum()
    }
}

/// Rows of a multi-value column: row `i` holds `codes[ends[i - 1]..ends[i]]`. An empty list is a null.
#[derive(Debug, Clone, Default)]
pub struct ListChunk {
    pub ends: Vec<u32>,
    pub codes: Vec<u32>,
}

impl ListChunk {
    pub fn push(&mut self, codes: &[u32]) {
        self.codes.extend_from_slice(codes);
        self.ends.push(self.codes.len() as u32);
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.codes[start as usize..self.ends[row] as usize]
    }
}

/// The rows of a dictionary column.
#[derive(Debug, Clone)]
pub enum MemoryCodes {
    Single(Vec<Arc<Vec<u32>>>),
    Multi(Vec<Arc<ListChunk>>),
}

impl MemoryCodes {
    pub(crate) fn rows(&self) -> usize {
        match self {
            MemoryCodes::Single(chunks) => rows_of(chunks, |c| c.len()),
            MemoryCodes::Multi(chunks) => rows_of(chunks, |c| c.len()),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            MemoryCodes::Single(chunks) => chunks.iter().map(|c| c.capacity() * 4).sum(),
            MemoryCodes::Multi(chunks) => chunks.iter().map(|c| (c.ends.capacity() + c.codes.capacity()) * 4).sum(),
        }
    }
}

/// Rows in a list of chunks of which all but the last are full.
pub(crate) fn rows_of<T>(chunks: &[Arc<T>], len: impl Fn(&T) -> usize) -> usize {
    let Some((last, full)) = chunks.split_last() else { return 0 };
    assert!(full.iter().all(|c| len(c) == BLOCK_ROWS), "a chunk before the last is not full");
    full.len() * BLOCK_ROWS + len(last)
}

/// Numbers of consecutive rows, with bounds that hold every value ever put in.
#[derive(Debug, Clone)]
pub struct NumberChunk {
    numbers: Numbers,
    nulls: Option<Vec<bool>>,
}

#[derive(Debug, Clone)]
enum Numbers {
    Long {
        values: Vec<i64>,
        bounds: Option<(i64, i64)>,
    },
    /// `nan` tells that a value was not a number, which no bounds can hold.
    Double {
        values: Vec<f64>,
        bounds: Option<(f64, f64)>,
        nan: bool,
    },
}

impl NumberChunk {
    /// A chunk for a long column.
    pub fn long() -> NumberChunk {
        NumberChunk { numbers: Numbers::Long { values: Vec::new(), bounds: None }, nulls: None }
    }

    /// A chunk for a double column, or for a float column, whose values the writer has rounded to `f32`.
    pub fn double() -> NumberChunk {
        NumberChunk { numbers: Numbers::Double { values: Vec::new(), bounds: None, nan: false }, nulls: None }
    }

    /// A full chunk of nulls is shared by columns that appear late.
    pub fn of_nulls(long: bool, rows: usize) -> NumberChunk {
        let mut chunk = if long { NumberChunk::long() } else { NumberChunk::double() };
        match &mut chunk.numbers {
            Numbers::Long { values, .. } => values.resize(rows, 0),
            Numbers::Double { values, .. } => values.resize(rows, 0.0),
        }
        chunk.nulls = Some(vec![true; rows]);
        chunk
    }

    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Long { values, .. } => values.len(),
            Numbers::Double { values, .. } => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Panics on a chunk of doubles.
    pub fn push_long(&mut self, value: Option<i64>) {
        self.push_null(value.is_none());
        let Numbers::Long { values, bounds } = &mut self.numbers else { panic!("a long for a double chunk") };
        values.push(value.unwrap_or(0));
        if let Some(v) = value {
            *bounds = Some(bounds.map_or((v, v), |(lo, hi)| (lo.min(v), hi.max(v))));
        }
    }

    /// Panics on a chunk of longs.
    pub fn push_double(&mut self, value: Option<f64>) {
        self.push_null(value.is_none());
        let Numbers::Double { values, .. } = &mut self.numbers else { panic!("a double for a long chunk") };
        values.push(value.unwrap_or(0.0));
        if let Some(v) = value {
            self.widen(v);
        }
    }

    /// Adds longs at once; `nulls` is as long as `values`, or empty if none is null. Panics on a chunk of doubles.
    pub fn extend_longs(&mut self, new: &[i64], nulls: &[bool]) {
        self.extend_nulls(new.len(), nulls);
        let Numbers::Long { values, bounds } = &mut self.numbers else { panic!("longs for a double chunk") };
        values.extend_from_slice(new);
        let valid = new.iter().enumerate().filter(|(at, _)| nulls.is_empty() || !nulls[*at]).map(|(_, value)| *value);
        *bounds = valid.fold(*bounds, |bounds, v| Some(bounds.map_or((v, v), |(lo, hi)| (lo.min(v), hi.max(v)))));
    }

    /// As [`NumberChunk::extend_longs`], for doubles.
    pub fn extend_doubles(&mut self, new: &[f64], nulls: &[bool]) {
        self.extend_nulls(new.len(), nulls);
        let Numbers::Double { values, .. } = &mut self.numbers else { panic!("doubles for a long chunk") };
        values.extend_from_slice(new);
        let valid = new.iter().enumerate().filter(|(at, _)| nulls.is_empty() || !nulls[*at]).map(|(_, value)| *value);
        valid.for_each(|value| self.widen(value));
    }

    fn extend_nulls(&mut self, more: usize, new: &[bool]) {
        let len = self.len();
        if self.nulls.is_none() && new.contains(&true) {
            self.nulls = Some(vec![false; len]);
        }
        if let Some(nulls) = &mut self.nulls {
            nulls.extend_from_slice(new);
            nulls.resize(len + more, false);
        }
    }

    /// Replaces a value by a non-null one (rollup folds into rows that stand already).
    pub fn set_long(&mut self, row: usize, value: i64) {
        let Numbers::Long { values, bounds } = &mut self.numbers else { panic!("a long for a double chunk") };
        values[row] = value;
        *bounds = Some(bounds.map_or((value, value), |(lo, hi)| (lo.min(value), hi.max(value))));
        if let Some(nulls) = &mut self.nulls {
            nulls[row] = false;
        }
    }

    /// As [`NumberChunk::set_long`], for doubles.
    pub fn set_double(&mut self, row: usize, value: f64) {
        let Numbers::Double { values, .. } = &mut self.numbers else { panic!("a double for a long chunk") };
        values[row] = value;
        self.widen(value);
        if let Some(nulls) = &mut self.nulls {
            nulls[row] = false;
        }
    }

    /// The values, 0 where null. Panics on a chunk of doubles.
    pub fn longs(&self) -> &[i64] {
        match &self.numbers {
            Numbers::Long { values, .. } => values,
            Numbers::Double { .. } => panic!("longs of a double chunk"),
        }
    }

    /// The values, 0 where null. Panics on a chunk of longs.
    pub fn doubles(&self) -> &[f64] {
        match &self.numbers {
            Numbers::Double { values, .. } => values,
            Numbers::Long { .. } => panic!("doubles of a long chunk"),
        }
    }

    /// True where null; `None` if no row is.
    pub fn nulls(&self) -> Option<&[bool]> {
        self.nulls.as_deref()
    }

    pub fn is_long(&self) -> bool {
        matches!(self.numbers, Numbers::Long { .. })
    }

    /// Bounds of the non-null values, perhaps wider than they are now; `None` if there are none.
    pub fn long_range(&self) -> Option<(i64, i64)> {
        match &self.numbers {
            Numbers::Long { bounds, .. } => *bounds,
            Numbers::Double { .. } => None,
        }
    }

    /// As [`NumberChunk::long_range`]; `None` also if a value is not a number.
    pub fn double_range(&self) -> Option<(f64, f64)> {
        match &self.numbers {
            Numbers::Double { bounds, nan: false, .. } => *bounds,
            _ => None,
        }
    }

    pub(crate) fn has_nan(&self) -> bool {
        matches!(self.numbers, Numbers::Double { nan: true, .. })
    }

    /// Bytes of heap it holds.
    pub fn bytes(&self) -> usize {
        let nulls = self.nulls.as_ref().map_or(0, |n| n.capacity());
        nulls
            + match &self.numbers {
                Numbers::Long { values, .. } => values.capacity() * 8,
                Numbers::Double { values, .. } => values.capacity() * 8,
            }
    }

    fn push_null(&mut self, null: bool) {
        if null && self.nulls.is_none() {
            self.nulls = Some(vec![false; self.len()]);
        }
        if let Some(nulls) = &mut self.nulls {
            nulls.push(null);
        }
    }

    fn widen(&mut self, value: f64) {
        if let Numbers::Double { bounds, nan, .. } = &mut self.numbers {
            if value.is_nan() {
                *nan = true;
            } else {
                *bounds = Some(bounds.map_or((value, value), |(lo, hi)| (lo.min(value), hi.max(value))));
            }
        }
    }
}

/// Opaque values of consecutive rows.
pub type BytesChunk = Vec<Option<Arc<[u8]>>>;
