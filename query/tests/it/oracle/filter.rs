//! Random filters: what they say in JSON, and what they mean of an event.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::time::Interval;
use serde_json::{Value as Json, json};

use super::events::{Event, maybe, word};
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
    Upper(String),
    Time(i64, i64),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    IsTrue(Box<Test>),
}

impl Test {
    pub(super) fn random(rng: &mut SmallRng, depth: usize) -> Test {
        let text = |rng: &mut SmallRng| *["s", "m"].choose(rng).expect("there are columns");
        if depth > 0 && rng.random_bool(0.5) {
            let many = |rng: &mut SmallRng| (0..rng.random_range(1..4)).map(|_| Test::random(rng, depth - 1)).collect();
            return match rng.random_range(0..4) {
                0 => Test::And(many(rng)),
                1 => Test::Or(many(rng)),
                2 => Test::Not(Box::new(Test::random(rng, depth - 1))),
                _ => Test::IsTrue(Box::new(Test::random(rng, depth - 1))),
            };
        }
        match rng.random_range(0..10) {
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
            Test::Upper(text) => {
                json!({"type": "equals", "column": "v", "matchValueType": "STRING", "matchValue": text})
            }
            Test::Time(from, to) => {
                let interval = Interval { start: *from, end: *to }.to_string();
                json!({"type": "interval", "dimension": "__time", "intervals": [interval]})
            }
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
            Test::Time(from, to) => Some((*from..*to).contains(&event.time)),
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

pub(super) fn uses_virtual(test: &Test) -> bool {
    match test {
        Test::Upper(_) => true,
        Test::And(tests) | Test::Or(tests) => tests.iter().any(uses_virtual),
        Test::Not(test) | Test::IsTrue(test) => uses_virtual(test),
        _ => false,
    }
}
