//! Which groups are kept: what that says in JSON, and what it means of a group.

use std::cmp::Ordering;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::dimension::{Dimension, Key};
use super::events::{maybe, word};
use super::extract::Extract;

#[derive(Debug, Clone)]
pub(super) enum Having {
    Always,
    /// A number of the group, by its place.
    Compare(usize, Ordering, f64),
    /// A dimension, by its place.
    Is(usize, Option<String>, Option<Extract>),
    Filter(Kept),
    And(Vec<Having>),
    Or(Vec<Having>),
    Not(Box<Having>),
}

/// A filter of a group.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Above(usize, f64, bool),
    Null(usize),
    Is(usize, String),
    Not(Box<Kept>),
}

impl Having {
    /// `numbers` are the places of those that are exact.
    pub(super) fn random(rng: &mut SmallRng, numbers: &[usize], dimensions: &[Dimension], depth: usize) -> Having {
        if depth > 0 && rng.random_bool(0.3) {
            let inner = |rng: &mut SmallRng| Having::random(rng, numbers, dimensions, depth - 1);
            let many = |rng: &mut SmallRng| (0..rng.random_range(1..4)).map(|_| inner(rng)).collect();
            return match rng.random_range(0..3) {
                0 => Having::And(many(rng)),
                1 => Having::Or(many(rng)),
                _ => Having::Not(Box::new(inner(rng))),
            };
        }
        let texts: Vec<usize> = (0..dimensions.len()).filter(|at| !dimensions[*at].is_list()).collect();
        let text = texts.choose(rng).copied().filter(|_| rng.random_bool(0.4));
        let number = *numbers.choose(rng).expect("events are counted");
        match (rng.random_range(0..8), text) {
            (0, _) => Having::Always,
            (1..4, Some(at)) => {
                let extract = rng.random_bool(0.4).then(|| Extract::random(rng, 2));
                let value = maybe(rng, word);
                let value = extract.as_ref().map_or(value.clone(), |extract| extract.of(value.as_deref()));
                Having::Is(at, value, extract)
            }
            (4..8, text) => Having::Filter(Kept::random(rng, number, text)),
            (_, None) => {
                let order =
                    *[Ordering::Less, Ordering::Equal, Ordering::Greater].choose(rng).expect("there are orders");
                Having::Compare(number, order, bound(rng))
            }
            _ => Having::Compare(number, Ordering::Greater, bound(rng)),
        }
    }

    pub(super) fn json(&self, names: &[String], dimensions: &[Dimension]) -> Json {
        let many = |all: &[Having]| all.iter().map(|one| one.json(names, dimensions)).collect::<Vec<_>>();
        match self {
            Having::Always => json!({"type": "always"}),
            Having::Compare(at, order, value) => {
                let kind = match order {
                    Ordering::Less => "lessThan",
                    Ordering::Equal => "equalTo",
                    Ordering::Greater => "greaterThan",
                };
                json!({"type": kind, "aggregation": names[*at], "value": value})
            }
            Having::Is(at, value, extract) => json!({"type": "dimSelector", "dimension": dimensions[*at].output(),
                "value": value, "extractionFn": extract.as_ref().map(Extract::json)}),
            Having::Filter(kept) => json!({"type": "filter", "filter": kept.json(names, dimensions)}),
            Having::And(all) => json!({"type": "and", "havingSpecs": many(all)}),
            Having::Or(all) => json!({"type": "or", "havingSpecs": many(all)}),
            Having::Not(one) => json!({"type": "not", "havingSpec": one.json(names, dimensions)}),
        }
    }

    pub(super) fn keeps(&self, numbers: &[Json], keys: &[Key]) -> bool {
        match self {
            Having::Always => true,
            Having::Compare(at, order, value) => {
                numbers[*at].as_f64().and_then(|number| number.partial_cmp(value)) == Some(*order)
            }
            Having::Is(at, value, extract) => {
                let text = keys[*at].text();
                match extract {
                    Some(extract) => extract.of(text.as_deref()) == *value,
                    None => text == *value,
                }
            }
            Having::Filter(kept) => kept.holds(numbers, keys) == Some(true),
            Having::And(all) => all.iter().all(|one| one.keeps(numbers, keys)),
            Having::Or(all) => all.iter().any(|one| one.keeps(numbers, keys)),
            Having::Not(one) => !one.keeps(numbers, keys),
        }
    }
}

fn bound(rng: &mut SmallRng) -> f64 {
    f64::from(rng.random_range(-4..9)) * if rng.random_bool(0.3) { 20.5 } else { 1.0 }
}

impl Kept {
    fn random(rng: &mut SmallRng, number: usize, text: Option<usize>) -> Kept {
        match (rng.random_range(0..4), text) {
            (0, _) => Kept::Not(Box::new(Kept::random(rng, number, text))),
            (1, _) => Kept::Null(number),
            (_, Some(at)) => Kept::Is(at, word(rng)),
            (_, None) => Kept::Above(number, bound(rng), rng.random_bool(0.5)),
        }
    }

    fn json(&self, names: &[String], dimensions: &[Dimension]) -> Json {
        match self {
            Kept::Above(at, than, open) => json!({"type": "range", "column": names[*at], "matchValueType": "DOUBLE",
                "lower": than, "lowerOpen": open}),
            Kept::Null(at) => json!({"type": "null", "column": names[*at]}),
            Kept::Is(at, value) => json!({"type": "selector", "dimension": dimensions[*at].output(), "value": value}),
            Kept::Not(one) => json!({"type": "not", "field": one.json(names, dimensions)}),
        }
    }

    fn holds(&self, numbers: &[Json], keys: &[Key]) -> Option<bool> {
        match self {
            Kept::Above(at, than, open) => {
                numbers[*at].as_f64().map(|number| number > *than || !open && number == *than)
            }
            Kept::Null(at) => Some(numbers[*at].is_null()),
            Kept::Is(at, value) => keys[*at].text().map(|text| text == *value),
            Kept::Not(one) => one.holds(numbers, keys).map(|holds| !holds),
        }
    }
}
