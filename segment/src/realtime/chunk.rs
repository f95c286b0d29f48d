//! Columns in pieces that snapshots share: a piece belongs to the writer until a snapshot takes it, and is copied if it is
//! written again while a reader holds it.

use std::mem;
use std::sync::Arc;

use crate::block::BLOCK_ROWS;
use crate::column::memory::{ListChunk, MemoryCodes, NumberChunk};

/// Rows of a piece: what readers walk at once.
const CHUNK_ROWS: usize = BLOCK_ROWS;

/// What a piece costs beyond its vectors: the struct, the `Arc`, its place in the column.
pub(super) const OVERHEAD: usize = 160;

/// Writing costs no atomic operation while the piece is owned.
pub(super) enum Chunk<T> {
    Own(T),
    Shared(Arc<T>),
}

impl<T: Clone> Chunk<T> {
    pub fn get(&self) -> &T {
        match self {
            Chunk::Own(piece) => piece,
            Chunk::Shared(piece) => piece,
        }
    }

    #[inline]
    pub fn own(&mut self, empty: fn() -> T) -> &mut T {
        if let Chunk::Shared(shared) = self {
            let shared = shared.clone();
            // Drops the column's own reference, so that a piece no reader holds is taken back without a copy.
            *self = Chunk::Own(empty());
            *self = Chunk::Own(Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone()));
        }
        match self {
            Chunk::Own(piece) => piece,
            Chunk::Shared(_) => unreachable!("made owned above"),
        }
    }

    pub fn share(&mut self, empty: fn() -> T) -> Arc<T> {
        if let Chunk::Own(piece) = self {
            *self = Chunk::Shared(Arc::new(mem::replace(piece, empty())));
        }
        match self {
            Chunk::Shared(piece) => piece.clone(),
            Chunk::Own(_) => unreachable!("made shared above"),
        }
    }
}

/// Numbers of a column, in the order they came.
pub(super) struct NumberChunks {
    chunks: Vec<Chunk<NumberChunk>>,
    rows: usize,
    full_bytes: usize,
    empty: fn() -> NumberChunk,
}

impl NumberChunks {
    pub fn long() -> NumberChunks {
        NumberChunks { chunks: Vec::new(), rows: 0, full_bytes: 0, empty: NumberChunk::long }
    }

    pub fn double() -> NumberChunks {
        NumberChunks { empty: NumberChunk::double, ..NumberChunks::long() }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends values; `nulls` is empty if none is null.
    pub fn extend_longs(&mut self, values: &[i64], nulls: &[bool]) {
        self.extend(values.len(), |chunk, from, to| chunk.extend_longs(&values[from..to], part(nulls, from, to)));
    }

    pub fn extend_doubles(&mut self, values: &[f64], nulls: &[bool]) {
        self.extend(values.len(), |chunk, from, to| chunk.extend_doubles(&values[from..to], part(nulls, from, to)));
    }

    fn extend(&mut self, len: usize, mut take: impl FnMut(&mut NumberChunk, usize, usize)) {
        let mut done = 0;
        while done < len {
            let room = CHUNK_ROWS - self.rows % CHUNK_ROWS;
            let end = len.min(done + room);
            take(self.last(), done, end);
            self.rows += end - done;
            done = end;
        }
    }

    pub fn push_long(&mut self, value: Option<i64>) {
        self.last().push_long(value);
        self.rows += 1;
    }

    pub fn push_double(&mut self, value: Option<f64>) {
        self.last().push_double(value);
        self.rows += 1;
    }

    /// The last piece, with room for a row at least.
    fn last(&mut self) -> &mut NumberChunk {
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            if let Some(full) = self.chunks.last() {
                self.full_bytes += full.get().bytes() + OVERHEAD;
            }
            self.chunks.push(Chunk::Own((self.empty)()));
        }
        self.chunks.last_mut().expect("one was pushed above").own(self.empty)
    }

    #[inline]
    fn place(&self, row: usize) -> (&NumberChunk, usize) {
        (self.chunks[row / CHUNK_ROWS].get(), row % CHUNK_ROWS)
    }

    #[inline]
    pub fn long_at(&self, row: usize) -> Option<i64> {
        let (chunk, at) = self.place(row);
        (!is_null(chunk, at)).then(|| chunk.longs()[at])
    }

    #[inline]
    pub fn double_at(&self, row: usize) -> Option<f64> {
        let (chunk, at) = self.place(row);
        (!is_null(chunk, at)).then(|| chunk.doubles()[at])
    }

    /// Folds a value into a row; a null row takes the value.
    #[inline]
    pub fn fold_long(&mut self, row: usize, value: i64, fold: impl Fn(i64, i64) -> i64) {
        let chunk = self.chunks[row / CHUNK_ROWS].own(self.empty);
        let at = row % CHUNK_ROWS;
        let value = if is_null(chunk, at) { value } else { fold(chunk.longs()[at], value) };
        chunk.set_long(at, value);
    }

    #[inline]
    pub fn fold_double(&mut self, row: usize, value: f64, fold: impl Fn(f64, f64) -> f64) {
        let chunk = self.chunks[row / CHUNK_ROWS].own(self.empty);
        let at = row % CHUNK_ROWS;
        let value = if is_null(chunk, at) { value } else { fold(chunk.doubles()[at], value) };
        chunk.set_double(at, value);
    }

    pub fn share(&mut self) -> Vec<Arc<NumberChunk>> {
        self.chunks.iter_mut().map(|chunk| chunk.share(self.empty)).collect()
    }

    pub fn bytes(&self) -> usize {
        self.full_bytes + self.chunks.last().map_or(0, |last| last.get().bytes() + OVERHEAD)
    }
}

fn part(nulls: &[bool], from: usize, to: usize) -> &[bool] {
    if nulls.is_empty() { nulls } else { &nulls[from..to] }
}

#[inline]
fn is_null(chunk: &NumberChunk, at: usize) -> bool {
    chunk.nulls().is_some_and(|nulls| nulls[at])
}

/// Codes of a string column, in the order they came: single ones until the first list.
pub(super) struct CodeChunks {
    chunks: Chunks,
    rows: usize,
    full_bytes: usize,
}

enum Chunks {
    Single(Vec<Chunk<Vec<u32>>>),
    Multi(Vec<Chunk<ListChunk>>),
}

impl CodeChunks {
    pub fn new() -> CodeChunks {
        CodeChunks { chunks: Chunks::Single(Vec::new()), rows: 0, full_bytes: 0 }
    }

    pub fn is_multi(&self) -> bool {
        matches!(self.chunks, Chunks::Multi(_))
    }

    /// Appends single codes to a column that has no list.
    pub fn extend(&mut self, codes: &[u32]) {
        let Chunks::Single(chunks) = &mut self.chunks else { panic!("single codes for a column of lists") };
        let mut done = 0;
        while done < codes.len() {
            if self.rows.is_multiple_of(CHUNK_ROWS) {
                self.full_bytes += chunks.last().map_or(0, |full| code_bytes(full.get()));
                chunks.push(Chunk::Own(Vec::new()));
            }
            let last = chunks.last_mut().expect("one was pushed above").own(Vec::new);
            let end = codes.len().min(done + CHUNK_ROWS - last.len());
            last.extend_from_slice(&codes[done..end]);
            self.rows += end - done;
            done = end;
        }
    }

    /// Appends a list to a column of lists; an empty one is a null.
    pub fn push_list(&mut self, codes: &[u32]) {
        let Chunks::Multi(chunks) = &mut self.chunks else { panic!("a list for a column of single codes") };
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            self.full_bytes += chunks.last().map_or(0, |full| list_bytes(full.get()));
            chunks.push(Chunk::Own(ListChunk::default()));
        }
        chunks.last_mut().expect("one was pushed above").own(ListChunk::default).push(codes);
        self.rows += 1;
    }

    /// Makes a column of lists of what is there; `null` is the null's code, whose rows get empty lists.
    pub fn make_multi(&mut self, null: Option<u32>) {
        let Chunks::Single(chunks) = &mut self.chunks else { return };
        let singles = mem::take(chunks);
        self.chunks = Chunks::Multi(Vec::new());
        (self.rows, self.full_bytes) = (0, 0);
        for chunk in &singles {
            for code in chunk.get() {
                self.push_list(if Some(*code) == null { &[] } else { std::slice::from_ref(code) });
            }
        }
    }

    /// The codes of a row; empty for the null of a column of lists.
    #[inline]
    pub fn get(&self, row: usize) -> &[u32] {
        let at = row % CHUNK_ROWS;
        match &self.chunks {
            Chunks::Single(chunks) => std::slice::from_ref(&chunks[row / CHUNK_ROWS].get()[at]),
            Chunks::Multi(chunks) => chunks[row / CHUNK_ROWS].get().get(at),
        }
    }

    pub fn share(&mut self) -> MemoryCodes {
        match &mut self.chunks {
            Chunks::Single(chunks) => {
                MemoryCodes::Single(chunks.iter_mut().map(|chunk| chunk.share(Vec::new)).collect())
            }
            Chunks::Multi(chunks) => {
                MemoryCodes::Multi(chunks.iter_mut().map(|chunk| chunk.share(ListChunk::default)).collect())
            }
        }
    }

    pub fn bytes(&self) -> usize {
        let last = match &self.chunks {
            Chunks::Single(chunks) => chunks.last().map_or(0, |last| code_bytes(last.get())),
            Chunks::Multi(chunks) => chunks.last().map_or(0, |last| list_bytes(last.get())),
        };
        self.full_bytes + last
    }
}

fn code_bytes(codes: &Vec<u32>) -> usize {
    codes.capacity() * 4 + OVERHEAD
}

fn list_bytes(lists: &ListChunk) -> usize {
    (lists.ends.capacity() + lists.codes.capacity()) * 4 + OVERHEAD
}
