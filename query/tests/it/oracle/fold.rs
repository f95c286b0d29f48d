//! Aggregates: what they say in JSON, and what they are of some events.

use serde_json::{Value as Json, json};

use super::events::Event;
use super::filter::Test;

/// An aggregate of events; its name says which.
#[derive(Debug, Clone)]
pub(super) enum Fold {
    Events,
    Added,
    Highest,
    Sum,
    Lowest,
    Filtered(Test),
    /// Sketches of so few values are exact: distinct texts but the empty one, kept and of the rows themselves, and numbers.
    Theta,
    ThetaOfRows,
    HllOfLists,
    Quantiles,
    Tuple,
    /// A sum by expressions.
    Expression,
    /// Rows and the smallest value of a row: meaningful without rollup only.
    Rows,
    Least,
}

impl Fold {
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
            Fold::Quantiles => simple("quantilesDoublesSketch", "quantiles_x"),
            Fold::Tuple => simple("arrayOfDoublesSketch", "tuple_s"),
            Fold::Expression => json!({
                "type": "expression", "name": name, "fields": ["added"], "initialValue": "0", "fold": "__acc + added",
                "shouldAggregateNullInputs": false,
            }),
            Fold::Rows => json!({"type": "count", "name": name}),
            Fold::Least => simple("longMin", "added"),
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
            Fold::Quantiles => json!(doubles().count()),
            Fold::Tuple => {
                let with_values = events.iter().filter(|event| event.added.is_some());
                json!(distinct(with_values.flat_map(|event| &event.s)) as f64)
            }
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
    texts.filter(|text| !text.is_empty()).collect::<std::collections::BTreeSet<_>>().len()
}
