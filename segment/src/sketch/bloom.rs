//! Druid's Bloom filter (Hive's `BloomKFilter`): all bits of a value fall into one block of eight words, so that a test
//! costs one line of cache. In its bytes.

use super::Reader;
use crate::block::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Bloom {
    hashes: u8,
    words: Vec<u64>,
}

pub const ENTRIES_DEFAULT: i64 = 1500;
pub const ENTRIES_MAX: i64 = 10_000_000;

/// Part of the values not in it that seem to be.
const WRONG: f64 = 0.05;
const BLOCK: usize = 8;
const NULL: u64 = 2_862_933_555_777_941_757;

impl Bloom {
    pub fn new(entries: i64) -> Bloom {
        let entries = entries.clamp(1, ENTRIES_MAX) as f64;
        let ln2 = std::f64::consts::LN_2;
        let bits = (-entries * WRONG.ln() / (ln2 * ln2)).trunc();
        let hashes = (bits / entries * ln2).round().max(1.0);
        let words = (bits / 64.0).ceil() as usize;
        let padded = words + BLOCK - words % BLOCK;
        Bloom { hashes: hashes as u8, words: vec![0; padded] }
    }

    fn bits(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let positive = |hash: i32| if hash < 0 { !hash } else { hash };
        let (first, second) = (hash as i32, (hash >> 32) as i32);
        let blocks = (self.words.len() / BLOCK) as i32;
        let block = (positive(first.wrapping_add(second)) % blocks) as usize * BLOCK;
        (1..=i32::from(self.hashes)).map(move |i| {
            let combined = positive(first.wrapping_add((i + 1).wrapping_mul(second)));
            (block + (combined & 7) as usize, 1u64 << (combined >> 3 & 63))
        })
    }

    fn put(&mut self, hash: u64) {
        for (word, bit) in self.bits(hash) {
            self.words[word] |= bit;
        }
    }

    fn has(&self, hash: u64) -> bool {
        self.bits(hash).all(|(word, bit)| self.words[word] & bit != 0)
    }

    pub fn add(&mut self, value: &Value) {
        match value {
            Value::List(values) if !values.is_empty() => values.iter().for_each(|value| self.add(value)),
            value => self.put(hash_of(value)),
        }
    }

    /// Whether it may hold the value; of a list, one of its values.
    pub fn test(&self, value: &Value) -> bool {
        match value {
            Value::List(values) if !values.is_empty() => values.iter().any(|value| self.test(value)),
            value => self.has(hash_of(value)),
        }
    }

    /// Filters of different sizes do not meet: then this one stays as it is, and says `false`.
    #[must_use]
    pub fn merge(&mut self, other: &Bloom) -> bool {
        let meet = (self.hashes, self.words.len()) == (other.hashes, other.words.len());
        if meet {
            self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
        }
        meet
    }

    /// Bytes of its bits: what its size is.
    pub fn bits_bytes(&self) -> usize {
        self.words.len() * 8
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Bloom>() + self.words.len() * 8
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.hashes];
        bytes.extend((self.words.len() as u32).to_be_bytes());
        self.words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<Bloom> {
        let mut reader = Reader::new(bytes);
        let (hashes, count) = (reader.u8()?, usize::try_from(reader.i32()?).ok()?);
        if hashes == 0 || count == 0 || !count.is_multiple_of(BLOCK) || reader.left() != count.checked_mul(8)? {
            return None;
        }
        let words = (0..count).map(|_| reader.i64().map(|word| word as u64)).collect::<Option<Vec<_>>>()?;
        Some(Bloom { hashes, words })
    }
}

fn hash_of(value: &Value) -> u64 {
    match value {
        Value::Long(value) => murmur(&value.to_be_bytes()),
        Value::Double(value) => murmur(&value.to_bits().to_be_bytes()),
        Value::Text(text) | Value::Json(text) => murmur(text.as_bytes()),
        Value::Null | Value::List(_) | Value::Bytes(_) => NULL,
    }
}

/// Hive's 64-bit form of murmur3.
fn murmur(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mut hash = 104_729u64;
    let mut blocks = bytes.chunks_exact(8);
    for block in &mut blocks {
        hash ^= mix(u64::from_le_bytes(block.try_into().unwrap_or_default()));
        hash = hash.rotate_left(27).wrapping_mul(5).wrapping_add(0x52dc_e729);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash ^= mix(u64::from_le_bytes(last));
    }
    hash ^= bytes.len() as u64;
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_is_found_and_little_else() {
        let values: Vec<Value> = (0..1500).map(|i| Value::text(&format!("v{i}"))).collect();
        let (mut left, mut right) = (Bloom::new(1500), Bloom::new(1500));
        values.iter().enumerate().for_each(|(i, v)| if i % 2 == 0 { left.add(v) } else { right.add(v) });
        assert!(left.merge(&Bloom::read(&right.write()).unwrap()));
        assert!(!left.merge(&Bloom::new(3000)), "filters of other sizes do not meet");
        assert!(values.iter().all(|value| left.test(value)));
        let wrong = (0..10_000).filter(|i| left.test(&Value::text(&format!("w{i}")))).count();
        assert!(wrong < 1000, "{wrong}");
        assert!(!left.test(&Value::Null) && Bloom::read(&left.write()[..99]).is_none());
    }
}
