//! Aggregates: what they say in JSON, and what they are of some events.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::answer::iso;
use super::compare::within;
use super::dimension::{Key, values};
use super::distinct::Distinct;
use super::events::{BLOOM_ENTRIES, Event, maybe, word};
use super::extracted::Bloom;
use super::filter::Test;
use super::number::Number;
use super::pick::Picked;
use super::quantile::Quantile;
use super::tuple::Tuple;

/// An aggregate of events; its name says which.
#[derive(Debug, Clone)]
pub(super) enum Fold {
    Events,
    Added,
    Highest,
    Sum,
    Lowest,
    /// Of the events that pass.
    Some(Test, Box<Fold>),
    /// A sum by expressions.
    Expression,
    /// Rows and the smallest value of a row: meaningful without rollup only.
    Rows,
    Least,
    Mean,
    /// How many numbers lie between [`BREAKS`].
    Between,
    Number(Number),
    /// How many different values a column has, or how many different rows of them several have; by its name.
    Exact(&'static str, &'static [&'static str]),
    /// The earliest or latest time, of rows or read out of numbers.
    Time {
        latest: bool,
        column: &'static str,
    },
    /// Of the only row; more are refused.
    Single(&'static str),
    /// Which of the dimensions a row does not tell apart.
    Grouping(Vec<&'static str>),
    Distinct(Distinct),
    Tuple(Tuple),
    Variance {
        kept: bool,
        population: bool,
        deviation: bool,
    },
    Frequent {
        kept: bool,
        limit: usize,
        ask: Option<Frequency>,
    },
    /// Of texts.
    Bloom(&'static str),
    Picked(Picked),
    Quantile(Quantile),
}

/// What is asked of frequent items.
#[derive(Debug, Clone)]
pub(super) enum Frequency {
    First(usize),
    Of(String),
}

const BREAKS: [f64; 5] = [-5.0, 0.0, 12.5, 30.25, 80.0];

/// What stands for the value of several rows.
pub(super) const REFUSED: &str = "several rows are no single one";

impl Fold {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Fold {
        match rng.random_range(0..if rollup { 27 } else { 32 }) {
            0 => Fold::Added,
            1 => Fold::Highest,
            2 => Fold::Sum,
            3 => Fold::Lowest,
            4 => Fold::Some(Test::random(rng, 1), Box::new(Fold::Added)),
            5 => loop {
                // What a row does not tell apart is the same whatever passes.
                let inner = Fold::random(rng, rollup);
                if !matches!(inner, Fold::Grouping(_)) {
                    break Fold::Some(Test::random(rng, 1), Box::new(inner));
                }
            },
            6 => Fold::Expression,
            7..10 => Fold::Number(Number::random(rng, rollup)),
            10 => {
                let columns: [&[&str]; 9] =
                    [&["s"], &["m"], &["l"], &["d"], &["dn"], &["dt"], &["k"], &["s", "l"], &["l", "dt", "d"]];
                Fold::Exact("distinctCount", columns.choose(rng).expect("there are columns"))
            }
            11 => Fold::Exact(
                "Bitmap64ExactCountBuild",
                [&["l"][..], &["dn"][..]].choose(rng).expect("there are columns"),
            ),
            12 => Fold::Time {
                latest: rng.random_bool(0.5),
                column: ["__time", "l"].choose(rng).expect("there are columns"),
            },
            13 => {
                let names = ["s", "m", "l", "dn", "d", "d0", "hour", "nowhere"];
                Fold::Grouping(
                    (0..rng.random_range(1..4)).map(|_| *names.choose(rng).expect("there are some")).collect(),
                )
            }
            14..18 => Fold::Distinct(Distinct::random(rng, rollup)),
            18 => Fold::Tuple(Tuple::random(rng, rollup)),
            19 => Fold::Variance {
                kept: rollup || rng.random_bool(0.5),
                population: rng.random_bool(0.5),
                deviation: rng.random_bool(0.5),
            },
            20 => Fold::Frequent {
                kept: rollup || rng.random_bool(0.5),
                limit: rng.random_range(1..9),
                ask: maybe(rng, |rng| match rng.random_bool(0.5) {
                    true => Frequency::First(rng.random_range(1..9)),
                    false => Frequency::Of(word(rng)),
                }),
            },
            21 => Fold::Bloom(["s", "m", "bloom_s", "dt"].choose(rng).expect("there are columns")),
            22..24 => Fold::Picked(Picked::random(rng, rollup)),
            24..27 => Fold::Quantile(Quantile::random(rng, rollup)),
            27 => Fold::Rows,
            28 => Fold::Mean,
            30 => Fold::Between,
            29 => Fold::Single(["s", "m", "l", "d", "list", "dn"].choose(rng).expect("there are columns")),
            _ => Fold::Least,
        }
    }

    /// Whether rows can be put in its order, and it can be counted with: a document has none, a variance is not exact to
    /// the last digit, and of some several values are right.
    pub(super) fn orders(&self) -> bool {
        match self {
            Fold::Events | Fold::Added | Fold::Highest | Fold::Sum | Fold::Lowest | Fold::Expression => true,
            Fold::Rows | Fold::Least | Fold::Number(_) | Fold::Exact(..) => true,
            Fold::Some(_, inner) => inner.orders(),
            Fold::Distinct(distinct) => distinct.orders(),
            _ => false,
        }
    }

    /// A question asked of it, as a post-aggregate.
    pub(super) fn post(&self, name: &str, aggregate: &str) -> Option<Json> {
        let field = json!({"type": "fieldAccess", "name": aggregate, "fieldName": aggregate});
        match self {
            Fold::Quantile(quantile) => Some(quantile.post(name, aggregate)),
            Fold::Distinct(distinct) => distinct.post(name, aggregate),
            Fold::Tuple(tuple) => Some(tuple.post(name, aggregate)),
            Fold::Variance { population, deviation: true, .. } => Some(json!({"type": "stddev", "name": name,
                "fieldName": aggregate, "estimator": population.then_some("population")})),
            Fold::Frequent { ask: Some(Frequency::First(limit)), .. } => {
                Some(json!({"type": "frequentItemsToItems", "name": name, "field": field, "limit": limit}))
            }
            Fold::Frequent { ask: Some(Frequency::Of(item)), .. } => {
                Some(json!({"type": "frequentItemsToEstimate", "name": name, "field": field, "item": item}))
            }
            _ => None,
        }
    }

    /// What answers the question.
    pub(super) fn answer(&self, events: &[&Event]) -> Option<Json> {
        match self {
            Fold::Quantile(quantile) => Some(quantile.answer(events)),
            Fold::Distinct(distinct) => distinct.answer(events),
            Fold::Tuple(tuple) => Some(tuple.answer(events)),
            Fold::Variance { population, deviation: true, .. } => {
                // The root of what is nothing but rounding is not near zero by its last digits.
                let deviation = variance(events, *population).map(f64::sqrt);
                Some(deviation.map_or(Json::Null, |deviation| within(deviation - 1e-6, deviation + 1e-6)))
            }
            Fold::Frequent { ask: Some(Frequency::First(limit)), .. } => Some(frequent(events, *limit)),
            Fold::Frequent { ask: Some(Frequency::Of(item)), .. } => {
                Some(json!(events.iter().flat_map(|event| event.listed()).filter(|text| *text == item).count()))
            }
            _ => None,
        }
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let simple = |kind: &str, field: &str| json!({"type": kind, "name": name, "fieldName": field});
        match self {
            Fold::Events => simple("longSum", "cnt"),
            Fold::Added => simple("longSum", "added"),
            Fold::Highest => simple("longMax", "hi"),
            Fold::Sum => simple("doubleSum", "x"),
            Fold::Lowest => simple("doubleMin", "lo"),
            Fold::Some(test, inner) => {
                json!({"type": "filtered", "name": name, "filter": test.json(), "aggregator": inner.json(name)})
            }
            Fold::Expression => json!({
                "type": "expression", "name": name, "fields": ["added"], "initialValue": "0", "fold": "__acc + added",
                "shouldAggregateNullInputs": false,
            }),
            Fold::Rows => json!({"type": "count", "name": name}),
            Fold::Least => simple("longMin", "added"),
            Fold::Between => {
                json!({"type": "histogram", "name": name, "fieldName": "x", "breaks": BREAKS})
            }
            Fold::Mean => simple("doubleMean", "x"),
            Fold::Number(number) => number.json(name),
            Fold::Exact(kind, [column]) => simple(kind, column),
            Fold::Exact(kind, columns) => json!({"type": kind, "name": name, "fields": columns}),
            Fold::Time { latest, column } => simple(if *latest { "timeMax" } else { "timeMin" }, column),
            Fold::Single(column) => {
                let kind = match *column {
                    "l" | "dn" => "LONG",
                    "d" => "DOUBLE",
                    "list" => "ARRAY<LONG>",
                    _ => "STRING",
                };
                json!({"type": "singleValue", "name": name, "fieldName": column, "columnType": kind})
            }
            Fold::Grouping(names) => json!({"type": "grouping", "name": name, "groupings": names}),
            Fold::Distinct(distinct) => distinct.json(name),
            Fold::Tuple(tuple) => tuple.json(name),
            Fold::Variance { kept, population, .. } => {
                let mut json = if *kept { simple("varianceFold", "variance_x") } else { simple("variance", "x") };
                json["estimator"] = json!(population.then_some("population"));
                json
            }
            Fold::Frequent { kept, limit, .. } => {
                let mut json = simple("frequentItems", if *kept { "frequent_m" } else { "m" });
                json["limit"] = (*limit).into();
                json
            }
            Fold::Bloom(column) => {
                json!({"type": "bloom", "name": name, "field": column, "maxNumEntries": BLOOM_ENTRIES})
            }
            Fold::Picked(picked) => picked.json(name),
            Fold::Quantile(quantile) => quantile.json(name),
        }
    }

    /// Of the events of a group that has these dimensions.
    pub(super) fn of(&self, events: &[&Event], dimensions: &[&str]) -> Json {
        let longs = || events.iter().filter_map(|event| event.added);
        let doubles = || events.iter().filter_map(|event| event.x);
        match self {
            Fold::Events if events.is_empty() => Json::Null,
            Fold::Events | Fold::Rows => json!(events.len()),
            Fold::Added | Fold::Expression => json!(longs().reduce(|a, b| a + b)),
            Fold::Highest => json!(longs().max()),
            Fold::Least => json!(longs().min()),
            Fold::Sum => json!(doubles().reduce(|a, b| a + b)),
            Fold::Lowest => json!(doubles().reduce(f64::min)),
            Fold::Some(test, inner) => inner.of(&passing(test, events), dimensions),
            Fold::Mean => match doubles().count() {
                0 => Json::Null,
                count => json!(doubles().sum::<f64>() / count as f64),
            },
            Fold::Between => {
                let inside = |pair: &[f64]| doubles().filter(|x| pair[0] < *x && *x <= pair[1]).count() as f64;
                let end = |x: Option<f64>, none: f32| x.unwrap_or(f64::from(none));
                let (least, greatest) = (doubles().reduce(f64::min), doubles().reduce(f64::max));
                json!({"breaks": BREAKS, "counts": BREAKS.windows(2).map(inside).collect::<Vec<_>>(),
                    "quantiles": [end(least, f32::MAX), end(greatest, f32::MIN)]})
            }
            Fold::Number(number) => number.of(events),
            Fold::Exact(_, columns) => {
                let mut rows: BTreeSet<Vec<Key>> = BTreeSet::new();
                for event in events {
                    let mut all: Vec<Vec<Key>> = vec![Vec::new()];
                    for column in *columns {
                        let of = values(column, event);
                        all = all
                            .iter()
                            .flat_map(|row| of.iter().map(|key| [row.as_slice(), std::slice::from_ref(key)].concat()))
                            .collect();
                    }
                    rows.extend(all.into_iter().filter(|row| !row.contains(&Key::Null)));
                }
                json!(rows.len())
            }
            Fold::Time { latest, column } => {
                let times = events.iter().filter_map(|event| if *column == "l" { event.l } else { Some(event.time) });
                json!(if *latest { times.max() } else { times.min() }.map(iso))
            }
            Fold::Single(column) => match events {
                [] => Json::Null,
                [event] => match values(column, event).as_slice() {
                    [one] => one.json(),
                    many => many.iter().map(Key::json).collect(),
                },
                _ => json!(REFUSED),
            },
            Fold::Grouping(names) => {
                json!(names.iter().fold(0, |bits, name| bits << 1 | i64::from(!dimensions.contains(name))))
            }
            Fold::Distinct(distinct) => distinct.count(events),
            Fold::Tuple(tuple) => json!(tuple.sums(events).len() as f64),
            Fold::Variance { population, .. } => json!(variance(events, *population)),
            Fold::Frequent { limit, .. } => frequent(events, *limit),
            Fold::Bloom(column) => {
                let column = if *column == "bloom_s" { "s" } else { column };
                let texts = events.iter().flat_map(|event| values(column, event)).map(|key| key.text());
                json!(Bloom::sized(BLOOM_ENTRIES, texts).base64())
            }
            Fold::Picked(picked) => picked.of(events),
            Fold::Quantile(quantile) => quantile.of(events),
        }
    }

    /// The values that a sketch holds, and what they carry.
    pub(super) fn set(&self, events: &[&Event]) -> BTreeMap<String, f64> {
        match self {
            Fold::Some(test, inner) => inner.set(&passing(test, events)),
            Fold::Distinct(distinct) => distinct.set(events).into_iter().map(|value| (value, 0.0)).collect(),
            Fold::Tuple(tuple) => tuple.sums(events),
            other => panic!("{other:?} holds no values"),
        }
    }

    /// Whether more than one row is refused.
    pub(super) fn refuses(&self) -> bool {
        match self {
            Fold::Single(_) => true,
            Fold::Some(_, inner) => inner.refuses(),
            _ => false,
        }
    }
}

fn passing<'a>(test: &Test, events: &[&'a Event]) -> Vec<&'a Event> {
    events.iter().copied().filter(|event| test.holds(event) == Some(true)).collect()
}

fn variance(events: &[&Event], population: bool) -> Option<f64> {
    let numbers: Vec<f64> = events.iter().filter_map(|event| event.x).collect();
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    match numbers.len() {
        0 => None,
        1 => Some(0.0),
        _ => Some(squares / if population { count } else { count - 1.0 }),
    }
}

fn frequent(events: &[&Event], limit: usize) -> Json {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    events.iter().flat_map(|event| event.listed()).for_each(|text| *counts.entry(text).or_default() += 1);
    let mut items: Vec<(&str, u64)> = counts.into_iter().collect();
    items.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let item =
        |(text, count): (&str, u64)| json!({"item": text, "estimate": count, "lowerBound": count, "upperBound": count});
    items.into_iter().take(limit).map(item).collect()
}
