//! Aggregates: what they say in JSON, and what they are of some events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::events::Event;
use super::filter::Test;
use super::pick::Picked;
use super::quantile::Quantile;

/// An aggregate of events; its name says which.
#[derive(Debug, Clone)]
pub(super) enum Fold {
    Events,
    Added,
    Highest,
    Sum,
    Lowest,
    Filtered(Test),
    /// Sketches of so few values are exact: distinct texts but the empty one, kept and of the rows themselves.
    Theta,
    ThetaOfRows,
    HllOfLists,
    Tuple,
    /// A sum by expressions.
    Expression,
    /// Rows and the smallest value of a row: meaningful without rollup only.
    Rows,
    Least,
    Mean,
    Variance,
    Texts,
    Longs,
    MostLong,
    LeastFloat,
    CpcOfLists,
    CpcOfRows,
    Frequent,
    Picked(Picked),
    Quantile(Quantile),
}

impl Fold {
    /// Whether rows can be put in its order: a document has none, a variance is not exact to the last digit, and of some
    /// several values are right.
    pub(super) fn orders(&self) -> bool {
        !matches!(self, Fold::Variance | Fold::Mean | Fold::Frequent | Fold::Picked(_) | Fold::Quantile(_))
    }

    /// A question asked of it, as a post-aggregate.
    pub(super) fn post(&self, name: &str, aggregate: &str) -> Option<Json> {
        match self {
            Fold::Quantile(quantile) => Some(quantile.post(name, aggregate)),
            _ => None,
        }
    }

    /// What answers the question.
    pub(super) fn answer(&self, events: &[&Event]) -> Option<Json> {
        match self {
            Fold::Quantile(quantile) => Some(quantile.answer(events)),
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
            Fold::Filtered(test) => {
                json!({"type": "filtered", "name": name, "filter": test.json(), "aggregator": simple("longSum", "added")})
            }
            Fold::Theta => simple("thetaSketch", "theta_s"),
            Fold::ThetaOfRows => simple("thetaSketch", "s"),
            Fold::HllOfLists => {
                json!({"type": "HLLSketchMerge", "name": name, "fieldName": "hll_m", "round": true})
            }
            Fold::Tuple => simple("arrayOfDoublesSketch", "tuple_s"),
            Fold::Expression => json!({
                "type": "expression", "name": name, "fields": ["added"], "initialValue": "0", "fold": "__acc + added",
                "shouldAggregateNullInputs": false,
            }),
            Fold::Rows => json!({"type": "count", "name": name}),
            Fold::Least => simple("longMin", "added"),
            Fold::Mean => simple("doubleMean", "x"),
            Fold::Variance => simple("variance", "x"),
            Fold::Texts => simple("distinctCount", "s"),
            Fold::Longs => simple("distinctCount", "l"),
            Fold::MostLong => simple("doubleMax", "l"),
            Fold::LeastFloat => simple("floatMin", "l"),
            Fold::CpcOfLists => {
                json!({"type": "cpcSketchMerge", "name": name, "fieldName": "cpc_m", "round": true})
            }
            Fold::CpcOfRows => json!({"type": "cpcSketchBuild", "name": name, "fieldName": "s", "round": true}),
            Fold::Frequent => simple("frequentItems", "frequent_m"),
            Fold::Picked(picked) => picked.json(name),
            Fold::Quantile(quantile) => quantile.json(name),
        }
    }

    pub(super) fn of(&self, events: &[&Event]) -> Json {
        let longs = || events.iter().filter_map(|event| event.added);
        let doubles = || events.iter().filter_map(|event| event.x);
        match self {
            Fold::Events if events.is_empty() => Json::Null,
            Fold::Events | Fold::Rows => json!(events.len()),
            Fold::Added | Fold::Expression => json!(longs().reduce(|a, b| a + b)),
            Fold::Theta | Fold::ThetaOfRows => json!(distinct(events.iter().flat_map(|event| &event.s)) as f64),
            Fold::HllOfLists => json!(distinct(events.iter().flat_map(|event| &event.m))),
            Fold::Tuple => {
                let with_values = events.iter().filter(|event| event.added.is_some());
                json!(distinct(with_values.flat_map(|event| &event.s)) as f64)
            }
            Fold::Mean => match doubles().count() {
                0 => Json::Null,
                count => json!(doubles().sum::<f64>() / count as f64),
            },
            Fold::Variance => match doubles().count() {
                0 => Json::Null,
                1 => json!(0.0),
                count => {
                    let mean = doubles().sum::<f64>() / count as f64;
                    json!(doubles().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1) as f64)
                }
            },
            Fold::Texts => json!(events.iter().flat_map(|event| &event.s).collect::<BTreeSet<_>>().len()),
            Fold::Longs => json!(events.iter().flat_map(|event| event.l).collect::<BTreeSet<_>>().len()),
            Fold::MostLong => json!(events.iter().filter_map(|event| event.l).max().map(|l| l as f64)),
            Fold::LeastFloat => json!(events.iter().filter_map(|event| event.l).min().map(|l| l as f64)),
            Fold::CpcOfLists => json!(distinct(events.iter().flat_map(|event| &event.m))),
            Fold::CpcOfRows => json!(distinct(events.iter().flat_map(|event| &event.s))),
            Fold::Frequent => {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                events.iter().flat_map(|event| &event.m).for_each(|text| *counts.entry(text).or_default() += 1);
                let mut items: Vec<(&str, u64)> = counts.into_iter().collect();
                items.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let item = |(text, count): (&str, u64)| json!({"item": text, "estimate": count, "lowerBound": count, "upperBound": count});
                items.into_iter().map(item).collect()
            }
            Fold::Picked(picked) => picked.of(events),
            Fold::Quantile(quantile) => quantile.of(events),
            Fold::Highest => json!(longs().max()),
            Fold::Least => json!(longs().min()),
            Fold::Sum => json!(doubles().reduce(|a, b| a + b)),
            Fold::Lowest => json!(doubles().reduce(f64::min)),
            Fold::Filtered(test) => {
                let kept = events.iter().filter(|event| test.holds(event) == Some(true));
                json!(kept.filter_map(|event| event.added).reduce(|a, b| a + b))
            }
        }
    }
}

pub(super) fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.filter(|text| !text.is_empty()).collect::<BTreeSet<_>>().len()
}
