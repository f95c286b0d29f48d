//! Sketches of keys that carry sums, of so few keys that they are exact, and what is asked of them.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::{bounded, some_text, within};
use super::events::Event;

#[derive(Debug, Clone)]
pub(super) struct Tuple {
    /// Whether of the column that ingestion made, or of the values of rows: those are there without rollup only.
    kept: bool,
    ask: Asked,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Estimate,
    Bounds(u8),
    Entries,
    Means,
    Variances,
    Sums,
    Quantile(f64),
    Text,
    Bytes,
}

impl Tuple {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Tuple {
        Tuple { kept: rollup || rng.random_bool(0.5), ask: Asked::random(rng) }
    }

    pub(super) fn json(&self, name: &str) -> Json {
        match self.kept {
            true => json!({"type": "arrayOfDoublesSketch", "name": name, "fieldName": "tuple_s"}),
            false => {
                json!({"type": "arrayOfDoublesSketch", "name": name, "fieldName": "s", "metricColumns": ["added"]})
            }
        }
    }

    /// Each text and the sum of what was added with it.
    pub(super) fn sums(&self, events: &[&Event]) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for event in events {
            if let (Some(text), Some(added)) = (event.s.as_ref().filter(|text| !text.is_empty()), event.added) {
                *sums.entry(text.clone()).or_default() += added as f64;
            }
        }
        sums
    }

    pub(super) fn post(&self, name: &str, aggregate: &str) -> Json {
        self.ask.json(name, json!({"type": "fieldAccess", "name": aggregate, "fieldName": aggregate}))
    }

    pub(super) fn answer(&self, events: &[&Event]) -> Json {
        self.ask.of(&self.sums(events))
    }
}

impl Asked {
    pub(super) fn random(rng: &mut SmallRng) -> Asked {
        match rng.random_range(0..9) {
            0 => Asked::Estimate,
            1 => Asked::Bounds(rng.random_range(1..4)),
            2 => Asked::Entries,
            3 => Asked::Means,
            4 => Asked::Sums,
            5 => Asked::Quantile(*[0.125, 0.5, 0.875].choose(rng).expect("there are fractions")),
            6 => Asked::Text,
            7 => Asked::Variances,
            _ => Asked::Bytes,
        }
    }

    /// As a post-aggregate of a sketch.
    pub(super) fn json(&self, name: &str, field: Json) -> Json {
        let of = |kind: &str| json!({"type": format!("arrayOfDoublesSketchTo{kind}"), "name": name, "field": field});
        match self {
            Asked::Estimate => of("Estimate"),
            Asked::Bounds(deviations) => {
                let mut json = of("EstimateAndBounds");
                json["numStdDevs"] = (*deviations).into();
                json
            }
            Asked::Entries => of("NumEntries"),
            Asked::Means => of("Means"),
            Asked::Variances => of("Variances"),
            Asked::Sums => of("MetricsSumEstimate"),
            Asked::Quantile(fraction) => json!({"type": "quantilesDoublesSketchToQuantile", "name": name,
                "fraction": fraction, "field": of("QuantilesSketch")}),
            Asked::Text => of("String"),
            Asked::Bytes => of("Base64String"),
        }
    }

    pub(super) fn of(&self, sums: &BTreeMap<String, f64>) -> Json {
        let count = sums.len() as f64;
        let mean = mean(sums);
        let number = |value: f64| if value.is_nan() { json!("NaN") } else { json!(value) };
        match self {
            Asked::Estimate => json!(count),
            Asked::Bounds(_) => bounded(count, count),
            Asked::Entries => json!(sums.len()),
            Asked::Means => json!([number(mean)]),
            Asked::Variances if sums.is_empty() => json!(["NaN"]),
            // What is nothing but rounding is not near zero by its last digits.
            Asked::Variances => json!([within(variance(sums) - 1e-6, variance(sums) + 1e-6)]),
            Asked::Sums => json!([sums.values().sum::<f64>()]),
            Asked::Quantile(fraction) => {
                let mut sorted: Vec<f64> = sums.values().copied().collect();
                sorted.sort_by(f64::total_cmp);
                let at = ((fraction * count).ceil().max(1.0) as usize) - 1;
                sorted.get(at).map_or(json!("NaN"), |value| within(*value, *value))
            }
            Asked::Text | Asked::Bytes => some_text(),
        }
    }
}

fn mean(sums: &BTreeMap<String, f64>) -> f64 {
    sums.values().sum::<f64>() / sums.len() as f64
}

/// Of a sample; of one value it is 0, of none it is none.
fn variance(sums: &BTreeMap<String, f64>) -> f64 {
    let mean = mean(sums);
    match sums.len() {
        0 => f64::NAN,
        1 => 0.0,
        count => sums.values().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (count - 1) as f64,
    }
}

/// How likely the means of two samples differ as much by chance (Welch): by Simpson's rule over the angle whose tangent is
/// the score over the root of the degrees of freedom.
pub(super) fn test(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> Json {
    if a.len() < 2 || b.len() < 2 {
        return json!(["NaN"]);
    }
    let parts = [a, b].map(|sums| variance(sums) / sums.len() as f64);
    let both = parts[0] + parts[1];
    if both == 0.0 {
        return json!([if mean(a) == mean(b) { json!("NaN") } else { json!(0.0) }]);
    }
    let freedom = both.powi(2) / (parts[0].powi(2) / (a.len() - 1) as f64 + parts[1].powi(2) / (b.len() - 1) as f64);
    let score = (mean(a) - mean(b)).abs() / both.sqrt();
    let area = |from: f64| {
        const STEPS: usize = 10_000;
        let width = (std::f64::consts::FRAC_PI_2 - from) / STEPS as f64;
        let at = |step: usize| (from + step as f64 * width).cos().max(0.0).powf(freedom - 1.0);
        (0..STEPS).step_by(2).map(|step| at(step) + 4.0 * at(step + 1) + at(step + 2)).sum::<f64>() * width / 3.0
    };
    let chance = area((score / freedom.sqrt()).atan()) / area(0.0);
    json!([within(chance - 1e-3, chance + 1e-3)])
}
