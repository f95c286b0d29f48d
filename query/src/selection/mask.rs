//! Bits of the rows of a block.

use segment::block::BLOCK_ROWS;

use super::Selected;

pub type Mask = [u64; BLOCK_ROWS / 64];

/// Sets the bits of rows `0..len`, clears those after.
pub fn fill(words: &mut [u64], len: usize) {
    words.fill(u64::MAX);
    trim(words, len);
}

/// Clears the bits past `len` in the word that holds the last row.
pub fn trim(words: &mut [u64], len: usize) {
    if !len.is_multiple_of(64)
        && let Some(last) = words.get_mut(len / 64)
    {
        *last &= (1 << (len % 64)) - 1;
    }
}

/// Clears the bits outside of `from..to`.
pub fn keep(words: &mut [u64], from: usize, to: usize) {
    for (i, word) in words.iter_mut().enumerate() {
        let first = i * 64;
        if first + 64 <= from || first >= to {
            *word = 0;
            continue;
        }
        if from > first {
            *word &= u64::MAX << (from - first);
        }
        if to < first + 64 {
            *word &= (1 << (to - first)) - 1;
        }
    }
}

/// What the bits of `len` rows amount to; bits past `len` are 0.
pub fn settle(words: &[u64], len: usize) -> Selected {
    let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
    match count {
        0 => Selected::None,
        n if n == len => Selected::All,
        _ => Selected::Some,
    }
}

/// Sets bit `i` to `test(i)` for `len` rows. The test should be free of branches: it runs for 64 rows at a time, and a
/// word is then packed from bytes by multiplication.
#[inline(always)]
pub fn pack(words: &mut [u64], len: usize, test: impl Fn(usize) -> bool) {
    for (i, word) in words.iter_mut().enumerate() {
        let first = i * 64;
        let rows = 64.min(len - first);
        let mut flags = [0u8; 64];
        if rows == 64 {
            for (row, flag) in flags.iter_mut().enumerate() {
                *flag = u8::from(test(first + row));
            }
        } else {
            for (row, flag) in flags[..rows].iter_mut().enumerate() {
                *flag = u8::from(test(first + row));
            }
        }
        let mut bits = 0;
        for (at, eight) in flags.chunks_exact(8).enumerate() {
            let bytes =
                u64::from_le_bytes([eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7]]);
            bits |= (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at * 8);
        }
        *word = bits;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_where_they_belong(flags in prop::collection::vec(any::<bool>(), 1..300), a in 0usize..300, b in 0usize..300) {
            let len = flags.len();
            let mut words = vec![7u64; len.div_ceil(64)];
            pack(&mut words, len, |i| flags[i]);
            let bit = |words: &[u64], i: usize| words[i / 64] >> (i % 64) & 1 == 1;
            for i in 0..words.len() * 64 {
                prop_assert_eq!(bit(&words, i), flags.get(i) == Some(&true));
            }
            let (from, to) = (a.min(b).min(len), a.max(b).min(len));
            keep(&mut words, from, to);
            for i in 0..words.len() * 64 {
                prop_assert_eq!(bit(&words, i), flags.get(i) == Some(&true) && from <= i && i < to);
            }
            fill(&mut words, len);
            prop_assert_eq!(settle(&words, len), Selected::All);
        }
    }
}
