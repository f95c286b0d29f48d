//! Filters of what an extraction function makes of texts, and Bloom filters, which are built here as Hive builds them.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::dimension::texts;
use super::events::{Event, maybe, word};
use super::extract::Extract;
use super::filter::PATTERNS;

#[derive(Debug, Clone)]
pub(super) struct Extracted {
    column: &'static str,
    extract: Option<Extract>,
    by: By,
}

#[derive(Debug, Clone)]
enum By {
    /// As a selector or in its older spelling.
    Is(Option<String>, bool),
    In(Vec<Option<String>>),
    Starts(String),
    /// One of [`PATTERNS`].
    Matches(usize),
    From {
        lower: String,
        strict: bool,
        upper: Option<String>,
    },
    Contains(String),
    Bloom(Bloom),
}

impl Extracted {
    pub(super) fn random(rng: &mut SmallRng) -> Extracted {
        let column = *["s", "m", "m", "dt", "l", "d", "os"].choose(rng).expect("there are columns");
        let extract = rng.random_bool(0.85).then(|| Extract::random(rng, 2));
        // Numbers by themselves are not tested as their texts.
        let is_plain = matches!(extract, None | Some(Extract::Identity));
        let column = if is_plain && ["l", "d"].contains(&column) { "s" } else { column };
        let made = |rng: &mut SmallRng| {
            let text = maybe(rng, word);
            extract.as_ref().map_or(text.clone(), |extract| extract.of(text.as_deref()))
        };
        let word = |rng: &mut SmallRng| made(rng).unwrap_or_default();
        let by = match rng.random_range(0..9) {
            0 | 1 => By::Is(made(rng), rng.random_bool(0.3) && extract.is_some()),
            2 => By::In((0..rng.random_range(1..4)).map(|_| made(rng)).collect()),
            3 => By::Starts((*["a", "Z", "<", ""].choose(rng).expect("there are words")).into()),
            4 => By::Matches(rng.random_range(0..PATTERNS.len())),
            5 => By::From {
                lower: word(rng),
                strict: rng.random_bool(0.5),
                upper: rng.random_bool(0.5).then(|| word(rng)),
            },
            6 => By::Contains((*["A", "b", "X Y", ""].choose(rng).expect("there are words")).into()),
            _ => By::Bloom(Bloom::of((0..rng.random_range(1..6)).map(|_| made(rng)))),
        };
        Extracted { column, extract, by }
    }

    pub(super) fn json(&self) -> Json {
        let mut json = match &self.by {
            By::Is(value, false) => json!({"type": "selector", "value": value}),
            By::Is(value, true) => json!({"type": "extraction", "value": value}),
            By::In(values) => json!({"type": "in", "values": values}),
            By::Starts(prefix) => json!({"type": "like", "pattern": format!("{prefix}%")}),
            By::Matches(at) => json!({"type": "regex", "pattern": PATTERNS[*at].0}),
            By::From { lower, strict, upper } => {
                json!({"type": "bound", "lower": lower, "lowerStrict": strict, "upper": upper, "upperStrict": strict})
            }
            By::Contains(text) => {
                json!({"type": "search", "query": {"type": "insensitive_contains", "value": text}})
            }
            By::Bloom(bloom) => json!({"type": "bloom", "bloomKFilter": bloom.base64()}),
        };
        json["dimension"] = self.column.into();
        if let Some(extract) = &self.extract {
            json["extractionFn"] = extract.json();
        }
        json
    }

    pub(super) fn holds(&self, event: &Event) -> Option<bool> {
        let mut answer = Some(false);
        for text in texts(self.column, event) {
            let text = match &self.extract {
                Some(extract) => extract.of(text.as_deref()),
                None => text,
            };
            match self.by.holds(text.as_deref()) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => answer = None,
            }
        }
        answer
    }
}

impl By {
    fn holds(&self, value: Option<&str>) -> Option<bool> {
        match self {
            // These two tell whether a value is null.
            By::Is(None, _) => return Some(value.is_none()),
            By::In(values) if values.contains(&None) => {
                return Some(values.iter().any(|one| one.as_deref() == value));
            }
            By::Bloom(bloom) => return Some(bloom.has(value)),
            _ => {}
        }
        let value = value?;
        Some(match self {
            By::Is(other, _) => other.as_deref() == Some(value),
            By::In(values) => values.iter().any(|one| one.as_deref() == Some(value)),
            By::Starts(prefix) => value.starts_with(prefix.as_str()),
            By::Matches(at) => (PATTERNS[*at].1)(value),
            By::From { lower, strict: true, upper } => {
                value > lower.as_str() && upper.as_ref().is_none_or(|upper| value < upper.as_str())
            }
            By::From { lower, upper, .. } => {
                value >= lower.as_str() && upper.as_ref().is_none_or(|upper| value <= upper.as_str())
            }
            By::Contains(text) => value.to_lowercase().contains(&text.to_lowercase()),
            By::Bloom(bloom) => bloom.has(Some(value)),
        })
    }
}

/// Hive's `BloomKFilter`, of one block of eight words: so small that it also says yes to what is not in it, which must be
/// the same values here and there.
#[derive(Debug, Clone)]
pub(super) struct Bloom {
    hashes: i32,
    words: [u64; 8],
}

impl Bloom {
    /// Of the size that Hive takes for so many values, which is one block for few.
    pub(super) fn sized(entries: i64, values: impl Iterator<Item = Option<String>>) -> Bloom {
        let ln2 = std::f64::consts::LN_2;
        let bits = (-(entries as f64) * 0.05f64.ln() / (ln2 * ln2)).trunc();
        assert!(bits < 512.0, "one block");
        let mut bloom = Bloom { hashes: ((bits / entries as f64 * ln2).round() as i32).max(1), words: [0; 8] };
        values.for_each(|value| bloom.put(value.as_deref()));
        bloom
    }

    fn put(&mut self, value: Option<&str>) {
        for (word, bit) in places(value, self.hashes) {
            self.words[word] |= 1 << bit;
        }
    }

    fn of(values: impl Iterator<Item = Option<String>>) -> Bloom {
        let mut bloom = Bloom { hashes: 2, words: [0; 8] };
        values.for_each(|value| bloom.put(value.as_deref()));
        // Bits of no value, so that some values are found that were never put in.
        for word in &mut bloom.words {
            *word |= 0x5555_0000_ffff_0f0f;
        }
        bloom
    }

    fn has(&self, value: Option<&str>) -> bool {
        places(value, self.hashes).all(|(word, bit)| self.words[word] >> bit & 1 == 1)
    }

    /// The number of hashes, the number of words, the words, from the highest byte on.
    pub(super) fn base64(&self) -> String {
        let mut bytes = vec![self.hashes as u8, 0, 0, 0, 8];
        self.words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = bytes.chunks(3).flat_map(|three| {
            let whole =
                three.iter().chain([0; 2].iter()).take(3).fold(0, |whole, byte| whole << 8 | usize::from(*byte));
            let digit = move |at: usize| DIGITS[whole >> (18 - 6 * at) & 63] as char;
            (0..4).map(move |at| if at <= three.len() { digit(at) } else { '=' })
        });
        digits.collect()
    }
}

/// Words and bits of a value: `BloomKFilter.addHash`, where all blocks are the first.
fn places(value: Option<&str>, hashes: i32) -> impl Iterator<Item = (usize, u32)> {
    // `BloomKFilter.NULL_HASHCODE`
    let hash = value.map_or(2_862_933_555_777_941_757, |text| murmur(text.as_bytes()));
    let (low, high) = (hash as i32, (hash >> 32) as i32);
    (1..=hashes).map(move |i| {
        let combined = low.wrapping_add((i + 1).wrapping_mul(high));
        let combined = if combined < 0 { !combined } else { combined };
        ((combined & 7) as usize, (combined >> 3 & 63) as u32)
    })
}

/// Hive's `Murmur3.hash64` of texts shorter than 16 bytes.
fn murmur(bytes: &[u8]) -> u64 {
    let mixed = |part: &[u8]| {
        let word = part.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        word.wrapping_mul(0x87c37b91114253d5).rotate_left(31).wrapping_mul(0x4cf5ad432745937f)
    };
    let (mut hash, mut rest) = (104729u64, bytes);
    while rest.len() >= 8 {
        hash = (hash ^ mixed(&rest[..8])).rotate_left(27).wrapping_mul(5).wrapping_add(0x52dce729);
        rest = &rest[8..];
    }
    if !rest.is_empty() {
        hash ^= mixed(rest);
    }
    hash ^= bytes.len() as u64;
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ceb9fe1a85ec53);
    hash ^ hash >> 33
}
