//! Extraction functions: what they say in JSON, and what they make of a text.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::events::{maybe, word};
use super::filter::PATTERNS;

#[derive(Debug, Clone)]
pub(super) enum Extract {
    Identity,
    Upper,
    Lower,
    Strlen,
    Substring(usize, Option<usize>),
    /// One of [`GROUPS`], and what stands for texts in which it is not found.
    Regex(usize, Missing),
    /// One of [`PATTERNS`].
    Partial(usize),
    Contains {
        text: String,
        sensitive: bool,
    },
    /// In place, or registered by its name.
    Lookup(Missing, bool),
    /// Numbers rounded down to `offset + n * size`, both in halves.
    Bucket {
        size: i64,
        offset: i64,
    },
    /// The hour of a day as a time of the day.
    Time,
    Fragments(bool),
    Format(Nulls),
    Cascade(Vec<Extract>),
}

/// What becomes of a value that is not found.
#[derive(Debug, Clone)]
pub(super) enum Missing {
    Stays,
    Becomes(Option<String>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Nulls {
    Word,
    Empty,
    Null,
}

type Group = fn(&str) -> Option<Option<&str>>;

/// Expressions, the group that is taken, and what it is: the outer option is whether the expression is found, the inner
/// one whether the group takes part in what is found.
const GROUPS: [(&str, usize, Group); 5] = [
    ("^(.)", 1, |text| {
        text.char_indices().nth(1).map(|(end, _)| Some(&text[..end])).or((!text.is_empty()).then_some(Some(text)))
    }),
    ("([a-b]+)", 1, |text| {
        let start = text.find(['a', 'b'])?;
        let rest = &text[start..];
        Some(Some(&rest[..rest.find(|c| c != 'a' && c != 'b').unwrap_or(rest.len())]))
    }),
    ("(a)|(b)", 2, |text| text.find(['a', 'b']).map(|at| text[at..].starts_with('b').then_some("b"))),
    // In Java's sense a word is of ASCII letters.
    ("(\\w+)", 1, |text| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let start = text.find(word)?;
        let rest = &text[start..];
        Some(Some(&rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())]))
    }),
    ("x( )y", 0, |text| text.contains("x y").then_some(Some("x y"))),
];

/// The name of the lookup of [`ENTRIES`].
pub(super) const LOOKUP: &str = "words";
pub(super) const ENTRIES: [(&str, &str); 4] = [("a", "first"), ("b", ""), ("x y", "Zürich"), ("3", "three")];

impl Missing {
    fn random(rng: &mut SmallRng) -> Missing {
        if rng.random_bool(0.5) { Missing::Stays } else { Missing::Becomes(maybe(rng, word)) }
    }

    fn of(&self, value: Option<&str>) -> Option<String> {
        match self {
            Missing::Stays => value.map(str::to_string),
            Missing::Becomes(other) => other.clone(),
        }
    }
}

impl Extract {
    pub(super) fn random(rng: &mut SmallRng, depth: usize) -> Extract {
        match rng.random_range(0..if depth > 0 { 16 } else { 15 }) {
            0 => Extract::Identity,
            1 => Extract::Upper,
            2 => Extract::Lower,
            3 => Extract::Strlen,
            4 => Extract::Substring(rng.random_range(0..3), rng.random_bool(0.5).then(|| rng.random_range(1..4))),
            5 | 6 => Extract::Regex(rng.random_range(0..GROUPS.len()), Missing::random(rng)),
            7 => Extract::Partial(rng.random_range(0..PATTERNS.len())),
            8 => Extract::Contains {
                text: (*["a", "B", "X Y", ""].choose(rng).expect("there are words")).into(),
                sensitive: rng.random_bool(0.5),
            },
            9 => Extract::Lookup(Missing::random(rng), rng.random_bool(0.5)),
            10 | 12 => Extract::Bucket { size: rng.random_range(1..6), offset: rng.random_range(0..4) },
            13 => Extract::Time,
            14 => Extract::Fragments(rng.random_bool(0.5)),
            11 => Extract::Format(*[Nulls::Word, Nulls::Empty, Nulls::Null].choose(rng).expect("there are ways")),
            _ => Extract::Cascade((0..rng.random_range(1..4)).map(|_| Extract::random(rng, depth - 1)).collect()),
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Extract::Identity => json!({"type": "identity"}),
            Extract::Upper => json!({"type": "upper"}),
            Extract::Lower => json!({"type": "lower"}),
            Extract::Strlen => json!({"type": "strlen"}),
            Extract::Substring(index, length) => json!({"type": "substring", "index": index, "length": length}),
            Extract::Regex(at, missing) => {
                let (pattern, group, _) = GROUPS[*at];
                let mut json = json!({"type": "regex", "expr": pattern, "index": group});
                if let Missing::Becomes(other) = missing {
                    json["replaceMissingValue"] = true.into();
                    json["replaceMissingValueWith"] = json!(other);
                }
                json
            }
            Extract::Partial(at) => json!({"type": "partial", "expr": PATTERNS[*at].0}),
            Extract::Contains { text, sensitive } => json!({"type": "searchQuery",
                "query": {"type": "contains", "value": text, "caseSensitive": sensitive}}),
            Extract::Lookup(missing, registered) => {
                let map: serde_json::Map<String, Json> =
                    ENTRIES.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
                let mut json = match registered {
                    true => json!({"type": "registeredLookup", "lookup": LOOKUP}),
                    false => json!({"type": "lookup", "lookup": {"type": "map", "map": map}}),
                };
                match missing {
                    Missing::Stays => json["retainMissingValue"] = true.into(),
                    Missing::Becomes(other) => json["replaceMissingValueWith"] = json!(other),
                }
                json
            }
            Extract::Bucket { size, offset } => {
                json!({"type": "bucket", "size": *size as f64 / 2.0, "offset": *offset as f64 / 2.0})
            }
            Extract::Time => json!({"type": "time", "timeFormat": "H", "resultFormat": "HH:mm"}),
            Extract::Fragments(sensitive) => json!({"type": "searchQuery",
                "query": {"type": "fragment", "values": ["a", "B"], "caseSensitive": sensitive}}),
            Extract::Format(nulls) => {
                let nulls = match nulls {
                    Nulls::Word => "nullString",
                    Nulls::Empty => "emptyString",
                    Nulls::Null => "returnNull",
                };
                json!({"type": "stringFormat", "format": "<%s>", "nullHandling": nulls})
            }
            Extract::Cascade(steps) => {
                json!({"type": "cascade", "extractionFns": steps.iter().map(Extract::json).collect::<Vec<_>>()})
            }
        }
    }

    pub(super) fn of(&self, value: Option<&str>) -> Option<String> {
        let kept = |keep: bool| value.filter(|_| keep).map(str::to_string);
        match self {
            Extract::Identity => value.map(str::to_string),
            Extract::Upper => value.map(str::to_uppercase),
            Extract::Lower => value.map(str::to_lowercase),
            // No text of the events has a character outside the basic plane, so these are Java's units.
            Extract::Strlen => value.map(|text| text.chars().count().to_string()),
            Extract::Substring(index, length) => {
                let rest: Vec<char> = value?.chars().skip(*index).collect();
                (!rest.is_empty()).then(|| rest.into_iter().take(length.unwrap_or(usize::MAX)).collect())
            }
            Extract::Regex(at, missing) => match value.and_then(GROUPS[*at].2) {
                Some(group) => group.map(str::to_string),
                None => missing.of(value),
            },
            Extract::Partial(at) => kept(value.is_some_and(PATTERNS[*at].1)),
            Extract::Contains { text, sensitive: true } => kept(value.is_some_and(|value| value.contains(text))),
            Extract::Contains { text, sensitive: false } => {
                kept(value.is_some_and(|value| value.to_lowercase().contains(&text.to_lowercase())))
            }
            Extract::Lookup(missing, _) => match ENTRIES.iter().find(|(key, _)| Some(*key) == value) {
                Some((_, found)) => Some(found.to_string()),
                None => missing.of(value),
            },
            Extract::Bucket { size, offset } => {
                let halves: f64 = value?.parse::<f64>().ok()? * 2.0;
                let (size, offset) = (*size as f64, *offset as f64);
                let bucket = (((halves - offset) / size).floor() * size + offset) / 2.0;
                Some(if bucket.fract() == 0.0 { format!("{bucket:.0}") } else { format!("{bucket:?}") })
            }
            Extract::Time => {
                let hour = value.filter(|text| (1..=2).contains(&text.len()))?;
                let hour: u8 = hour.bytes().all(|b| b.is_ascii_digit()).then(|| hour.parse().ok()).flatten()?;
                (hour < 24).then(|| format!("{hour:02}:00"))
            }
            Extract::Fragments(sensitive) => kept(value.is_some_and(|text| {
                let (text, upper) = if *sensitive { (text.to_string(), "B") } else { (text.to_lowercase(), "b") };
                text.contains('a') && text.contains(upper)
            })),
            Extract::Format(nulls) => match (value, nulls) {
                (Some(text), _) => Some(format!("<{text}>")),
                (None, Nulls::Word) => Some("<null>".into()),
                (None, Nulls::Empty) => Some("<>".into()),
                (None, Nulls::Null) => None,
            },
            Extract::Cascade(steps) => {
                steps.iter().fold(value.map(str::to_string), |value, step| step.of(value.as_deref()))
            }
        }
    }
}
