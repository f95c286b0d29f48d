//! Random filters: what they say in JSON, and what they mean of an event.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::time::Interval;
use serde_json::{Value as Json, json};

use super::events::{Event, maybe, word};
use super::extracted::Extracted;
use super::{BASE, DAYS, HOUR};

/// A filter and what it means.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Is(&'static str, Option<String>),
    In(&'static str, Vec<String>),
    Null(&'static str),
    Starts(&'static str, String),
    TextRange(&'static str, String, bool),
    Above(i64, bool),
    Between(i64, i64),
    Expression(i64),
    /// One of [`PATTERNS`].
    Matches(&'static str, usize),
    /// Whatever the case.
    Contains(&'static str, String),
    Long(i64),
    Longs(Vec<Option<i64>>),
    Element(i64),
    List(Vec<i64>),
    NestedAbove(i64),
    NestedText(Option<String>),
    Kept(String),
    /// The text and the document's.
    Same,
    IsFalse(Box<Test>),
    Upper(String),
    Time(i64, i64),
    Extracted(Extracted),
    Always(bool),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    IsTrue(Box<Test>),
}

/// Expressions that are found in a text, and what they mean.
pub(super) const PATTERNS: [(&str, fn(&str) -> bool); 4] = [
    ("^a", |text| text.starts_with('a')),
    ("b$", |text| text.ends_with('b')),
    ("[a-b]", |text| text.contains(['a', 'b'])),
    ("^$", |text| text.is_empty()),
];

/// Expressions that are a whole text, and what they mean.
pub(super) const FULL: [(&str, fn(&str) -> bool); 5] = [
    ("a.*", |text| text.starts_with('a')),
    ("b", |text| text == "b"),
    ("a|ab", |text| text == "a" || text == "ab"),
    ("[a-b]*", |text| text.chars().all(|c| c == 'a' || c == 'b')),
    ("\\w+", |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())),
];

impl Test {
    pub(super) fn random(rng: &mut SmallRng, depth: usize) -> Test {
        let text = |rng: &mut SmallRng| *["s", "m"].choose(rng).expect("there are columns");
        if depth > 0 && rng.random_bool(0.5) {
            let many = |rng: &mut SmallRng| (0..rng.random_range(1..4)).map(|_| Test::random(rng, depth - 1)).collect();
            return match rng.random_range(0..5) {
                0 => Test::And(many(rng)),
                1 => Test::Or(many(rng)),
                2 => Test::Not(Box::new(Test::random(rng, depth - 1))),
                3 => Test::IsFalse(Box::new(Test::random(rng, depth - 1))),
                _ => Test::IsTrue(Box::new(Test::random(rng, depth - 1))),
            };
        }
        match rng.random_range(0..26) {
            0 => Test::Is(text(rng), maybe(rng, word)),
            1 => Test::In(text(rng), (0..rng.random_range(1..5)).map(|_| word(rng)).collect()),
            2 => Test::Null(["s", "m", "l"].choose(rng).expect("there are columns")),
            3 => Test::Starts(text(rng), (*["a", "Z", "x", ""].choose(rng).expect("there are words")).into()),
            4 => Test::TextRange(text(rng), word(rng), rng.random_bool(0.5)),
            5 => Test::Above(rng.random_range(-4..7), rng.random_bool(0.5)),
            6 => {
                let from = rng.random_range(-4..6);
                Test::Between(from, from + rng.random_range(0..4))
            }
            7 => Test::Expression(rng.random_range(-4..7)),
            8 => Test::Upper(word(rng).to_uppercase()),
            9 => Test::Matches(text(rng), rng.random_range(0..PATTERNS.len())),
            10 => Test::Contains(text(rng), (*["A", "b", "X Y", ""].choose(rng).expect("there are words")).into()),
            11 => Test::Long(rng.random_range(-4..7)),
            12 => Test::Longs((0..rng.random_range(1..4)).map(|_| maybe(rng, |rng| rng.random_range(-4..7))).collect()),
            13 => Test::Element(rng.random_range(0..4)),
            14 => Test::List((0..rng.random_range(1..3)).map(|_| rng.random_range(0..3)).collect()),
            15 => Test::NestedAbove(rng.random_range(-3..4)),
            16 => Test::NestedText(maybe(rng, word)),
            17 => Test::Kept(word(rng)),
            18 => Test::Same,
            19 => Test::Always(rng.random_bool(0.5)),
            20..25 => Test::Extracted(Extracted::random(rng)),
            _ => {
                let from = BASE + rng.random_range(0..DAYS * 24) * HOUR;
                Test::Time(from, from + rng.random_range(1..30) * HOUR)
            }
        }
    }

    pub(super) fn json(&self) -> Json {
        let many = |tests: &[Test]| tests.iter().map(Test::json).collect::<Vec<_>>();
        match self {
            Test::Is(column, value) => json!({"type": "selector", "dimension": column, "value": value}),
            Test::In(column, values) => json!({"type": "in", "dimension": column, "values": values}),
            Test::Null(column) => json!({"type": "null", "column": column}),
            Test::Starts(column, prefix) => {
                json!({"type": "like", "dimension": column, "pattern": format!("{prefix}%")})
            }
            Test::TextRange(column, lower, open) => {
                json!({"type": "range", "column": column, "matchValueType": "STRING", "lower": lower, "lowerOpen": open})
            }
            Test::Above(lower, open) => {
                json!({"type": "range", "column": "l", "matchValueType": "LONG", "lower": lower, "lowerOpen": open})
            }
            Test::Between(from, to) => {
                json!({"type": "bound", "dimension": "l", "ordering": "numeric", "lower": from.to_string(), "upper": to.to_string()})
            }
            Test::Expression(than) => json!({"type": "expression", "expression": format!("l * 2 >= {than}")}),
            Test::Matches(column, at) => json!({"type": "regex", "dimension": column, "pattern": PATTERNS[*at].0}),
            Test::Contains(column, text) => json!({"type": "search", "dimension": column,
                "query": {"type": "insensitive_contains", "value": text}}),
            Test::Long(long) => {
                json!({"type": "equals", "column": "l", "matchValueType": "LONG", "matchValue": long})
            }
            Test::Longs(longs) => json!({"type": "inType", "column": "l", "matchValueType": "LONG", "values": longs}),
            Test::Element(long) => json!({"type": "arrayContainsElement", "column": "list",
                "elementMatchValueType": "LONG", "elementMatchValue": long}),
            Test::List(list) => {
                json!({"type": "equals", "column": "list", "matchValueType": "ARRAY<LONG>", "matchValue": list})
            }
            Test::NestedAbove(than) => {
                json!({"type": "range", "column": "dn", "matchValueType": "LONG", "lower": than, "lowerOpen": true})
            }
            Test::NestedText(text) => json!({"type": "selector", "dimension": "dt", "value": text}),
            Test::Kept(text) => json!({"type": "selector", "dimension": "k", "value": text}),
            Test::Same => json!({"type": "columnComparison", "dimensions": ["s", "dt"]}),
            Test::IsFalse(test) => json!({"type": "isfalse", "field": test.json()}),
            Test::Upper(text) => {
                json!({"type": "equals", "column": "v", "matchValueType": "STRING", "matchValue": text})
            }
            Test::Time(from, to) => {
                let interval = Interval { start: *from, end: *to }.to_string();
                json!({"type": "interval", "dimension": "__time", "intervals": [interval]})
            }
            Test::Extracted(extracted) => extracted.json(),
            Test::Always(holds) => json!({"type": holds.to_string()}),
            Test::And(tests) => json!({"type": "and", "fields": many(tests)}),
            Test::Or(tests) => json!({"type": "or", "fields": many(tests)}),
            Test::Not(test) => json!({"type": "not", "field": test.json()}),
            Test::IsTrue(test) => json!({"type": "istrue", "field": test.json()}),
        }
    }

    pub(super) fn holds(&self, event: &Event) -> Option<bool> {
        let texts = |column: &str| -> Vec<Option<&str>> {
            match column {
                "s" => vec![event.s.as_deref()],
                _ if event.m.is_empty() => vec![None],
                _ => event.m.iter().map(|text| Some(text.as_str())).collect(),
            }
        };
        let any = |column: &str, test: &dyn Fn(&str) -> bool| {
            let mut answer = Some(false);
            for text in texts(column) {
                match text.map(test) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => answer = None,
                }
            }
            answer
        };
        match self {
            Test::Is(column, Some(value)) => any(column, &|text| text == value),
            Test::Is(column, None) => Some(texts(column).contains(&None)),
            Test::In(column, values) => any(column, &|text| values.iter().any(|v| v == text)),
            Test::Null("l") => Some(event.l.is_none()),
            Test::Null(column) => Some(texts(column).contains(&None)),
            Test::Starts(column, prefix) => any(column, &|text| text.starts_with(prefix.as_str())),
            Test::TextRange(column, lower, true) => any(column, &|text| text > lower.as_str()),
            Test::TextRange(column, lower, false) => any(column, &|text| text >= lower.as_str()),
            Test::Above(lower, true) => event.l.map(|l| l > *lower),
            Test::Above(lower, false) => event.l.map(|l| l >= *lower),
            Test::Between(from, to) => event.l.map(|l| from <= &l && &l <= to),
            Test::Expression(than) => event.l.map(|l| l * 2 >= *than),
            Test::Upper(text) => event.s.as_ref().map(|s| s.to_uppercase() == *text),
            Test::Matches(column, at) => any(column, &PATTERNS[*at].1),
            Test::Contains(column, text) => any(column, &|value| value.to_lowercase().contains(&text.to_lowercase())),
            Test::Long(long) => event.l.map(|l| l == *long),
            Test::Longs(longs) if longs.contains(&None) => Some(longs.contains(&event.l)),
            Test::Longs(longs) => event.l.map(|l| longs.contains(&Some(l))),
            Test::Element(long) => event.list.as_ref().map(|list| list.contains(long)),
            Test::List(list) => event.list.as_ref().map(|own| own == list),
            Test::NestedAbove(than) => event.nested().0.map(|n| n > *than),
            Test::NestedText(None) => Some(event.nested().1.is_none()),
            Test::NestedText(Some(text)) => event.nested().1.map(|t| t == text),
            Test::Kept(text) => match event.kept().as_slice() {
                [] => None,
                kept => Some(kept.contains(&text.as_str())),
            },
            Test::Same => Some(event.s.as_deref() == event.nested().1),
            Test::IsFalse(test) => Some(test.holds(event) == Some(false)),
            Test::Time(from, to) => Some((*from..*to).contains(&event.time)),
            Test::Extracted(extracted) => extracted.holds(event),
            Test::Always(holds) => Some(*holds),
            Test::And(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(false)) {
                    Some(false)
                } else {
                    found.iter().all(Option::is_some).then_some(true)
                }
            }
            Test::Or(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(true)) {
                    Some(true)
                } else {
                    found.iter().all(Option::is_some).then_some(false)
                }
            }
            Test::Not(test) => test.holds(event).map(|holds| !holds),
            Test::IsTrue(test) => Some(test.holds(event) == Some(true)),
        }
    }
}
