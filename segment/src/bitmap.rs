//! Sets of row numbers: what a column's index answers with.
//!
//! Dense and clustered sets are roaring bitmaps in their portable format, written here and read in place; thin, scattered
//! ones take less room as Elias-Fano lists or plain bit-packed lists. Whoever filters wants a plain bitset in the end, so
//! reading means setting bits.

use crate::encoding::bits::{BitWriter, stream_bytes, stream_get};
use crate::encoding::{u16_at, u32_at};

/// Portable roaring: no container holds runs.
const COOKIE_PLAIN: u32 = 12346;
/// Portable roaring: some containers hold runs; the number of containers less one is in the upper half.
const COOKIE_RUNS: u32 = 12347;
/// With runs, offsets are written from this many containers on.
const OFFSETS_FROM: usize = 4;
/// Values of an array container, at most.
const ARRAY_MAX: usize = 4096;

/// Lists hold less than one row in `2^LIST_LOW_BITS`.
const LIST_LOW_BITS: u32 = 6;

const ROARING: u8 = 0;
const ELIAS_FANO: u8 = 1;

/// Rows that hold a value, read in place. Whatever the bytes are, its rows are below the column's rows.
#[derive(Clone, Copy)]
pub struct Bitmap<'a> {
    form: Form<'a>,
    rows: usize,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    /// Bit `r % 64` of word `r / 64`.
    Words(&'a [u64]),
    Roaring(&'a [u8]),
    EliasFano {
        count: u64,
        low_bits: u32,
        low: &'a [u8],
        high: &'a [u8],
    },
    /// Numbers `start..end` of a bit stream.
    Packed {
        bytes: &'a [u8],
        width: u32,
        start: u64,
        end: u64,
    },
}

impl<'a> Bitmap<'a> {
    pub(crate) fn words(words: &'a [u64], rows: usize) -> Bitmap<'a> {
        Bitmap { form: Form::Words(words), rows }
    }

    pub(crate) fn packed(bytes: &'a [u8], width: u32, start: u64, end: u64, rows: usize) -> Bitmap<'a> {
        Bitmap { form: Form::Packed { bytes, width, start, end }, rows }
    }

    /// Reads what [`encode`] wrote; bytes that it cannot have written give no rows.
    pub(crate) fn decode(bytes: &'a [u8], rows: usize) -> Bitmap<'a> {
        let form = match bytes.split_first() {
            Some((&ROARING, bytes)) => Form::Roaring(bytes),
            Some((&ELIAS_FANO, bytes)) if bytes.len() >= 5 && bytes[0] < 32 => {
                let (low_bits, count) = (u32::from(bytes[0]), u64::from(u32_at(bytes, 1)));
                let low_bytes = (stream_bytes(count, low_bits) as usize).min(bytes.len() - 5);
                let (low, high) = bytes[5..].split_at(low_bytes);
                Form::EliasFano { count, low_bits, low, high }
            }
            _ => Form::Packed { bytes: &[], width: 0, start: 0, end: 0 },
        };
        Bitmap { form, rows }
    }

    pub fn count(&self) -> u64 {
        match &self.form {
            Form::Words(words) => words.iter().map(|w| u64::from(w.count_ones())).sum(),
            Form::Roaring(bytes) => containers(bytes).map(|c| u64::from(c.count)).sum(),
            Form::EliasFano { count, .. } => *count,
            Form::Packed { start, end, .. } => end - start,
        }
    }

    /// Sets the bits of its rows in `words` (bit `r % 64` of word `r / 64`). Rows past the end of `words` are left out.
    pub fn or_into(&self, words: &mut [u64]) {
        let mut set = |row: u64| {
            if let Some(word) = words.get_mut((row / 64) as usize) {
                *word |= 1 << (row % 64);
            }
        };
        match &self.form {
            Form::Words(own) => words.iter_mut().zip(*own).for_each(|(w, o)| *w |= o),
            Form::Roaring(bytes) => containers(bytes).for_each(|c| c.or_into(words)),
            Form::EliasFano { count, low_bits, low, high } => elias_fano(*count, *low_bits, low, high, set),
            Form::Packed { bytes, width, start, end } => {
                (*start..*end).for_each(|i| set(stream_get(bytes, *width, i)));
            }
        }
        if !self.rows.is_multiple_of(64)
            && let Some(last) = words.get_mut(self.rows / 64)
        {
            *last &= (1 << (self.rows % 64)) - 1;
        }
        if let Some(past) = words.get_mut(self.rows.div_ceil(64)..) {
            past.fill(0);
        }
    }

    /// Appends its rows in ascending order: cheaper than bits where there are few.
    pub fn rows_into(&self, out: &mut Vec<u32>) {
        let mut push = |row: u64| {
            if row < self.rows as u64 {
                out.push(row as u32);
            }
        };
        match &self.form {
            Form::EliasFano { count, low_bits, low, high } => elias_fano(*count, *low_bits, low, high, push),
            Form::Packed { bytes, width, start, end } => {
                (*start..*end).for_each(|i| push(stream_get(bytes, *width, i)));
            }
            Form::Words(_) | Form::Roaring(_) => {
                let mut words = vec![0; self.rows.div_ceil(64)];
                self.or_into(&mut words);
                for (i, word) in words.into_iter().enumerate() {
                    let mut word = word;
                    while word != 0 {
                        push(i as u64 * 64 + u64::from(word.trailing_zeros()));
                        word &= word - 1;
                    }
                }
            }
        }
    }
}

fn elias_fano(count: u64, low_bits: u32, low: &[u8], high: &[u8], mut each: impl FnMut(u64)) {
    let mut i = 0;
    for (at, chunk) in high.chunks(8).enumerate() {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let mut word = u64::from_le_bytes(bytes);
        while word != 0 && i < count {
            let bit = at as u64 * 64 + u64::from(word.trailing_zeros());
            each((bit - i) << low_bits | stream_get(low, low_bits, i));
            word &= word - 1;
            i += 1;
        }
    }
}

/// A container of a portable roaring bitmap: the rows of one stretch of 65536.
struct Container<'a> {
    key: u16,
    count: u32,
    run: bool,
    bytes: &'a [u8],
}

/// The containers of a portable roaring bitmap, as far as the bytes are one.
fn containers(bytes: &[u8]) -> impl Iterator<Item = Container<'_>> {
    let cookie = u32_at(bytes, 0);
    let with_runs = cookie & 0xffff == COOKIE_RUNS;
    let (len, mut at) = match cookie {
        COOKIE_PLAIN => (u32_at(bytes, 4) as usize, 8),
        _ if with_runs => ((cookie >> 16) as usize + 1, 4),
        _ => (0, 0),
    };
    let len = len.min(1 << 16);
    let flags = if with_runs { at..at + len.div_ceil(8) } else { 0..0 };
    at += flags.len();
    let keys = at;
    at += len * 4;
    if !with_runs || len >= OFFSETS_FROM {
        at += len * 4;
    }
    let flags = bytes.get(flags).unwrap_or_default();
    (0..len).map_while(move |i| {
        let header = bytes.get(keys + i * 4..keys + i * 4 + 4)?;
        let (key, count) = (u16_at(header, 0), u32::from(u16_at(header, 2)) + 1);
        let run = flags.get(i / 8).is_some_and(|f| f >> (i % 8) & 1 == 1);
        let size = match run {
            true => 2 + 4 * u16_at(bytes, at) as usize,
            false if count as usize <= ARRAY_MAX => count as usize * 2,
            false => 8192,
        };
        let container = bytes.get(at..at + size)?;
        at += size;
        Some(Container { key, count, run, bytes: container })
    })
}

impl Container<'_> {
    fn or_into(&self, words: &mut [u64]) {
        let first = usize::from(self.key) * 1024;
        let Some(words) = words.get_mut(first..) else { return };
        if self.run {
            for run in self.bytes[2..].as_chunks::<4>().0 {
                let start = u16_at(run, 0) as usize;
                set_range(words, start, (start + u16_at(run, 2) as usize).min(0xffff));
            }
        } else if self.count as usize <= ARRAY_MAX {
            for row in self.bytes.as_chunks::<2>().0 {
                let row = u16::from_le_bytes(*row) as usize;
                if let Some(word) = words.get_mut(row / 64) {
                    *word |= 1 << (row % 64);
                }
            }
        } else {
            let own = self.bytes.as_chunks::<8>().0;
            words.iter_mut().zip(own).for_each(|(w, o)| *w |= u64::from_le_bytes(*o));
        }
    }
}

/// Sets the bits `start..=end`, as far as there are words.
fn set_range(words: &mut [u64], start: usize, end: usize) {
    let (first, last) = (start / 64, end / 64);
    let (from, to) = (u64::MAX << (start % 64), u64::MAX >> (63 - end % 64));
    for at in first..=last.min(words.len().saturating_sub(1)) {
        if let Some(word) = words.get_mut(at) {
            *word |= if at == first { from } else { u64::MAX } & if at == last { to } else { u64::MAX };
        }
    }
}

/// Appends ascending, distinct rows below `universe` in the smaller form.
pub(crate) fn encode(rows: &[u32], universe: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(ROARING);
    roaring(rows, out);
    let count = rows.len() as u64;
    if count == 0 {
        return;
    }
    let low_bits = (universe as u64 / count).checked_ilog2().unwrap_or(0).min(31);
    let high_bits = count + (u64::from(rows[rows.len() - 1]) >> low_bits);
    let size = 6 + stream_bytes(count, low_bits) + high_bits.div_ceil(8);
    // Roaring is read faster, so a list must be clearly smaller, and short.
    if low_bits < LIST_LOW_BITS || size * 10 >= (out.len() - start) as u64 * 9 {
        return;
    }
    out.truncate(start);
    out.extend_from_slice(&[ELIAS_FANO, low_bits as u8]);
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    let mut low = BitWriter::new(out);
    rows.iter().for_each(|row| low.push(u64::from(*row) & ((1 << low_bits) - 1), low_bits));
    low.finish();
    let high = out.len();
    out.resize(high + high_bits.div_ceil(8) as usize, 0);
    for (i, row) in rows.iter().enumerate() {
        let bit = (*row >> low_bits) as usize + i;
        out[high + bit / 8] |= 1 << (bit % 8);
    }
}

/// Appends a portable roaring bitmap of ascending, distinct rows.
fn roaring(rows: &[u32], out: &mut Vec<u8>) {
    struct Part<'a> {
        rows: &'a [u32],
        runs: usize,
    }
    let parts: Vec<Part> = rows
        .chunk_by(|a, b| a >> 16 == b >> 16)
        .map(|rows| Part { rows, runs: 1 + rows.windows(2).filter(|w| w[1] != w[0] + 1).count() })
        .collect();
    let as_runs = |p: &Part| 2 + 4 * p.runs < (2 * p.rows.len()).min(8192);
    let start = out.len();
    let with_runs = parts.iter().any(as_runs);
    if with_runs {
        out.extend_from_slice(&(COOKIE_RUNS | (parts.len() as u32 - 1) << 16).to_le_bytes());
        let mut flags = vec![0u8; parts.len().div_ceil(8)];
        parts.iter().enumerate().filter(|(_, p)| as_runs(p)).for_each(|(i, _)| flags[i / 8] |= 1 << (i % 8));
        out.extend_from_slice(&flags);
    } else {
        out.extend_from_slice(&COOKIE_PLAIN.to_le_bytes());
        out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    }
    for part in &parts {
        out.extend_from_slice(&((part.rows[0] >> 16) as u16).to_le_bytes());
        out.extend_from_slice(&((part.rows.len() - 1) as u16).to_le_bytes());
    }
    let offsets = out.len();
    let with_offsets = !with_runs || parts.len() >= OFFSETS_FROM;
    if with_offsets {
        out.resize(offsets + parts.len() * 4, 0);
    }
    for (i, part) in parts.iter().enumerate() {
        if with_offsets {
            let offset = (out.len() - start) as u32;
            out[offsets + i * 4..][..4].copy_from_slice(&offset.to_le_bytes());
        }
        if as_runs(part) {
            out.extend_from_slice(&(part.runs as u16).to_le_bytes());
            for run in part.rows.chunk_by(|a, b| a + 1 == *b) {
                out.extend_from_slice(&(run[0] as u16).to_le_bytes());
                out.extend_from_slice(&((run.len() - 1) as u16).to_le_bytes());
            }
        } else if part.rows.len() <= ARRAY_MAX {
            part.rows.iter().for_each(|row| out.extend_from_slice(&(*row as u16).to_le_bytes()));
        } else {
            let mut words = [0u64; 1024];
            part.rows.iter().for_each(|row| words[(*row as u16 / 64) as usize] |= 1 << (row % 64));
            words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rows: &[u32], universe: usize) {
        let mut bytes = Vec::new();
        encode(rows, universe, &mut bytes);
        let bitmap = Bitmap::decode(&bytes, universe);
        assert_eq!(bitmap.count(), rows.len() as u64);
        let mut expected = vec![0u64; universe.div_ceil(64)];
        rows.iter().for_each(|r| expected[*r as usize / 64] |= 1 << (r % 64));
        let mut words = vec![0; universe.div_ceil(64)];
        bitmap.or_into(&mut words);
        assert_eq!(words, expected);
        let mut list = Vec::new();
        bitmap.rows_into(&mut list);
        assert_eq!(list, rows);
        let mut portable = Vec::new();
        roaring(rows, &mut portable);
        let theirs = croaring::Bitmap::try_deserialize::<croaring::Portable>(&portable).unwrap();
        assert_eq!(theirs.to_vec(), rows);
        let mut optimal = croaring::Bitmap::of(rows);
        optimal.run_optimize();
        assert_eq!(portable.len(), optimal.get_serialized_size_in_bytes::<croaring::Portable>());
        let foreign = optimal.serialize::<croaring::Portable>();
        let mut words = vec![0; universe.div_ceil(64)];
        Bitmap { form: Form::Roaring(&foreign), rows: universe }.or_into(&mut words);
        assert_eq!(words, expected);
    }

    #[test]
    fn every_kind_of_container() {
        check(&[], 0);
        check(&[], 10);
        check(&(0..200_000).collect::<Vec<_>>(), 200_000);
        check(&(0..200_000).filter(|r| r % 2 == 0).collect::<Vec<_>>(), 200_000);
        check(&(0..500_000).filter(|r| r % 997 == 5).collect::<Vec<_>>(), 500_000);
        check(&(0..500_000).filter(|r| r / 1000 % 5 == 1).collect::<Vec<_>>(), 500_001);
        check(&[0, 65_535, 65_536, 400_000], 400_001);
    }

    proptest! {
        #[test]
        fn any_rows_come_back(
            rows in proptest::collection::btree_set(0u32..300_000, 0..3000),
            spread in 1u32..200,
            more in 0usize..100,
        ) {
            let rows: std::collections::BTreeSet<u32> = rows.into_iter().map(|r| r / spread).collect();
            let rows: Vec<u32> = rows.into_iter().collect();
            check(&rows, rows.last().map_or(0, |r| *r as usize + 1) + more);
        }

        #[test]
        fn any_bytes_are_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), runs: bool, rows in 0usize..100_000) {
            if bytes.len() > 5 {
                let cookie = if runs { COOKIE_RUNS | 3 << 16 } else { COOKIE_PLAIN };
                bytes[1..5].copy_from_slice(&cookie.to_le_bytes());
                bytes[0] %= 3;
            }
            let mut words = vec![0; rows.div_ceil(64)];
            Bitmap::decode(&bytes, rows).or_into(&mut words);
            let mut list = Vec::new();
            Bitmap::decode(&bytes, rows).rows_into(&mut list);
            prop_assert!(list.iter().all(|r| (*r as usize) < rows));
        }
    }
}
