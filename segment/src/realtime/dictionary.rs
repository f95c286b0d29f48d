//! Strings of a column that still grows, numbered as they come.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::chunk::{Chunk, OVERHEAD};
use crate::column::memory::{DICTIONARY_CHUNK, MemoryDictionary, TextChunk};

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    code: u32,
}

/// Codes stay what they are for the life of the dictionary. Null has a code of its own, given when it is first asked for.
pub(super) struct Dictionary {
    pieces: Vec<Chunk<TextChunk>>,
    len: u32,
    null: Option<u32>,
    table: HashTable<Entry>,
    hasher: FixedState,
    full_bytes: usize,
}

/// The 32 bits that are kept of a hash, spread over the 64 that the table looks at.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Dictionary {
    pub fn new() -> Dictionary {
        Dictionary {
            pieces: Vec::new(),
            len: 0,
            null: None,
            table: HashTable::new(),
            hasher: FixedState::default(),
            full_bytes: 0,
        }
    }

    #[inline]
    pub fn code(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text) as u32;
        let pieces = &self.pieces;
        let found = self.table.find(spread(hash), |entry| entry.hash == hash && value(pieces, entry.code) == text);
        match found {
            Some(entry) => entry.code,
            None => self.insert(hash, text),
        }
    }

    pub fn null_code(&mut self) -> u32 {
        match self.null {
            Some(code) => code,
            None => {
                let code = self.push("");
                self.null = Some(code);
                code
            }
        }
    }

    /// `None` is null.
    pub fn get(&self, code: u32) -> Option<&str> {
        (self.null != Some(code)).then(|| value(&self.pieces, code))
    }

    /// The null's code, if there is a null.
    pub fn null(&self) -> Option<u32> {
        self.null
    }

    #[cold]
    fn insert(&mut self, hash: u32, text: &str) -> u32 {
        let code = self.push(text);
        self.table.insert_unique(spread(hash), Entry { hash, code }, |entry| spread(entry.hash));
        code
    }

    fn push(&mut self, text: &str) -> u32 {
        if (self.len as usize).is_multiple_of(DICTIONARY_CHUNK) {
            self.full_bytes += self.pieces.last().map_or(0, |full| full.get().bytes() + OVERHEAD);
            self.pieces.push(Chunk::Own(TextChunk::default()));
        }
        self.pieces.last_mut().expect("one was pushed above").own(TextChunk::default).push(text);
        self.len += 1;
        self.len - 1
    }

    pub fn share(&mut self) -> MemoryDictionary {
        MemoryDictionary {
            chunks: self.pieces.iter_mut().map(|piece| piece.share(TextChunk::default)).collect(),
            len: self.len,
            null: self.null,
        }
    }

    pub fn bytes(&self) -> usize {
        let last = self.pieces.last().map_or(0, |last| last.get().bytes() + OVERHEAD);
        // Buckets are a power of two, at most 7/8 full, with a byte of control each.
        let buckets = (self.table.capacity() * 8 / 7).next_power_of_two();
        self.full_bytes + last + buckets * (size_of::<Entry>() + 1)
    }
}

#[inline]
fn value(pieces: &[Chunk<TextChunk>], code: u32) -> &str {
    pieces[code as usize / DICTIONARY_CHUNK].get().get(code as usize % DICTIONARY_CHUNK)
}
