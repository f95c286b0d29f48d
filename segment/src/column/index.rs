//! The index of a string column: for each code the rows that hold it.
//!
//! A column whose values have many rows each keeps a set a code ([`Form::Sets`]). One whose values have few keeps all rows
//! in one bit stream, ordered by code and row, with the number of rows of each code in groups of 128 codes
//! ([`Form::Postings`]).

use std::ops::Range;

use bytes::Bytes;

use crate::bitmap::{self, Bitmap};
use crate::encoding::bitpack::width_of;
use crate::encoding::bits::{BitWriter, stream_bytes, stream_get};
use crate::encoding::{Fields, u32_at, u64_at};

/// Below this many rows a code, rows are kept in one stream.
const ROWS_PER_CODE: u64 = 16;
/// Codes that share an entry in the directory of a stream.
const CODES: u64 = 128;
/// Bytes of such an entry: first row's number u64, where the counts start u32, bits of a count u32.
const ENTRY: usize = 16;
/// Bytes at the end of the section: form u32, row width u32, directory offset u64.
const TRAILER: usize = 16;

const SETS: u32 = 0;
const POSTINGS: u32 = 1;

/// Rows ordered by code, then by row: those of code `c` are `rows[starts[c]..starts[c + 1]]`.
pub(crate) struct Postings {
    pub starts: Vec<u32>,
    pub rows: Vec<u32>,
}

impl Postings {
    /// Of single codes, in row order.
    pub fn of_codes(codes: &[u32], cardinality: u32) -> Postings {
        Self::of_pairs(cardinality, |visit| codes.iter().enumerate().for_each(|(row, code)| visit(row as u32, *code)))
    }

    /// `each_pair` calls back with every row and code, in row order, a pair once; there are fewer than 4 G.
    pub fn of_pairs(cardinality: u32, each_pair: impl Fn(&mut dyn FnMut(u32, u32))) -> Postings {
        // While rows are put in their places, `starts[c + 1]` is where the next row of `c` goes; it ends up as the start
        // of `c + 1`.
        let mut starts = vec![0u32; cardinality as usize + 2];
        each_pair(&mut |_, code| starts[code as usize + 2] += 1);
        for code in 2..starts.len() {
            starts[code] += starts[code - 1];
        }
        let mut rows = vec![0u32; starts[cardinality as usize + 1] as usize];
        each_pair(&mut |row, code| {
            let at = &mut starts[code as usize + 1];
            rows[*at as usize] = row;
            *at += 1;
        });
        starts.truncate(cardinality as usize + 1);
        Postings { starts, rows }
    }

    fn range(&self, code: usize) -> Range<usize> {
        self.starts[code] as usize..self.starts[code + 1] as usize
    }
}

/// Appends the index of a column of `rows` rows.
pub(crate) fn encode(postings: &Postings, rows: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let cardinality = postings.starts.len() - 1;
    let total = postings.rows.len() as u64;
    let (form, width, directory);
    if total >= ROWS_PER_CODE * cardinality as u64 {
        let mut offsets: Vec<u64> = Vec::with_capacity(cardinality + 1);
        for code in 0..cardinality {
            offsets.push((out.len() - start) as u64);
            bitmap::encode(&postings.rows[postings.range(code)], rows, out);
        }
        offsets.push((out.len() - start) as u64);
        (form, width, directory) = (SETS, 0, out.len() - start);
        offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
    } else {
        width = width_of(rows.saturating_sub(1) as u64);
        let mut bits = BitWriter::new(out);
        postings.rows.iter().for_each(|row| bits.push(u64::from(*row), width));
        bits.finish();
        let counts_start = out.len();
        let mut entries = Vec::new();
        for group in (0..cardinality).step_by(CODES as usize) {
            let codes = group..cardinality.min(group + CODES as usize);
            let count_width = codes.clone().map(|code| width_of(postings.range(code).len() as u64)).max().unwrap_or(0);
            entries.extend_from_slice(&u64::from(postings.starts[group]).to_le_bytes());
            entries.extend_from_slice(&((out.len() - counts_start) as u32).to_le_bytes());
            entries.extend_from_slice(&count_width.to_le_bytes());
            let mut bits = BitWriter::new(out);
            codes.for_each(|code| bits.push(postings.range(code).len() as u64, count_width));
            bits.finish();
        }
        (form, directory) = (POSTINGS, out.len() - start);
        out.extend_from_slice(&(counts_start as u64 - start as u64).to_le_bytes());
        out.extend_from_slice(&entries);
    }
    out.extend_from_slice(&form.to_le_bytes());
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&(directory as u64).to_le_bytes());
}

/// An index read in place.
pub(crate) struct Index {
    bytes: Bytes,
    rows: usize,
    directory: usize,
    form: Form,
}

enum Form {
    Sets,
    Postings { width: u32, counts: usize },
}

impl Index {
    /// `None` if the bytes cannot be the index of so many codes.
    pub fn open(bytes: Bytes, cardinality: u32, rows: usize) -> Option<Index> {
        let end = bytes.len().checked_sub(TRAILER)?;
        let mut trailer = Fields(&bytes[end..]);
        let (form, width) = (trailer.u32()?, trailer.u32()?);
        let directory = usize::try_from(trailer.u64()?).ok()?;
        let len = end.checked_sub(directory)? as u64;
        let cardinality = u64::from(cardinality);
        let form = match form {
            SETS if len == (cardinality + 1) * 8 => Form::Sets,
            POSTINGS if len == 8 + cardinality.div_ceil(CODES) * ENTRY as u64 && width <= 32 => {
                let counts = usize::try_from(u64_at(&bytes, directory)).ok().filter(|c| *c <= directory)?;
                Form::Postings { width, counts }
            }
            _ => return None,
        };
        Some(Index { bytes, rows, directory, form })
    }

    /// The rows of a code below the cardinality.
    pub fn rows_of(&self, code: u32) -> Bitmap<'_> {
        match &self.form {
            Form::Sets => {
                let at = |code: usize| u64_at(&self.bytes, self.directory + code * 8) as usize;
                let set = at(code as usize)..at(code as usize + 1);
                let bytes = self.bytes[..self.directory].get(set).unwrap_or_default();
                Bitmap::decode(bytes, self.rows)
            }
            Form::Postings { width, counts } => {
                let entry = self.directory + 8 + (u64::from(code) / CODES) as usize * ENTRY;
                let count_width = u32_at(&self.bytes, entry + 12).min(32);
                let group = counts + u32_at(&self.bytes, entry + 8) as usize;
                let counts_of_group = self.bytes[..self.directory].get(group..).unwrap_or_default();
                let count = |i| stream_get(counts_of_group, count_width, i);
                let within = u64::from(code) % CODES;
                let start = u64_at(&self.bytes, entry).saturating_add((0..within).map(count).sum());
                let end = start.saturating_add(count(within));
                let stream = &self.bytes[..*counts];
                if *width > 0 && stream_bytes(end.min(u64::from(u32::MAX)), *width) > stream.len() as u64 {
                    return Bitmap::packed(&[], 0, 0, 0, self.rows);
                }
                let start = start.min(end);
                let most = self.rows as u64;
                Bitmap::packed(stream, *width, start, end.min(start + most), self.rows)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_code_finds_its_rows(codes in proptest::collection::vec(0u32..500, 0..3000), fold in 1u32..600) {
            let codes: Vec<u32> = codes.into_iter().map(|c| c % fold).collect();
            let cardinality = fold.min(500);
            let mut bytes = Vec::new();
            encode(&Postings::of_codes(&codes, cardinality), codes.len(), &mut bytes);
            let index = Index::open(bytes.into(), cardinality, codes.len()).unwrap();
            for code in 0..cardinality {
                let mut rows = Vec::new();
                index.rows_of(code).rows_into(&mut rows);
                let expected: Vec<u32> = (0..codes.len() as u32).filter(|r| codes[*r as usize] == code).collect();
                prop_assert_eq!(index.rows_of(code).count(), expected.len() as u64);
                prop_assert_eq!(rows, expected);
            }
        }

        #[test]
        fn any_bytes_are_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 16..400), postings: bool, cardinality in 0u32..20) {
            let end = bytes.len() - TRAILER;
            let len = if postings { 8 + (cardinality as usize).div_ceil(128) * ENTRY } else { (cardinality as usize + 1) * 8 };
            bytes[end..end + 4].copy_from_slice(&u32::from(postings).to_le_bytes());
            bytes[end + 4..end + 8].copy_from_slice(&17u32.to_le_bytes());
            bytes[end + 8..].copy_from_slice(&(end.saturating_sub(len) as u64).to_le_bytes());
            if let Some(index) = Index::open(bytes.into(), cardinality, 1000) {
                for code in 0..cardinality {
                    let mut rows = Vec::new();
                    index.rows_of(code).rows_into(&mut rows);
                    prop_assert!(rows.iter().all(|r| *r < 1000));
                }
            }
        }
    }
}
