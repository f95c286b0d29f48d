//! Sketches that count distinct values, of few values and of many, and what is asked of them.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::{bounded, some_text, within};
use super::events::Event;

#[derive(Debug, Clone)]
pub(super) struct Distinct {
    of: Of,
    column: Column,
    /// Whether of the column that ingestion made.
    kept: bool,
    round: bool,
    ask: Ask,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Of {
    Theta,
    /// By its older name.
    OldTheta,
    Hll,
    HyperUnique,
    Cardinality,
    Cpc,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Column {
    Text,
    List,
    Long,
    /// What a text, a list and a number of a row say together.
    Rows,
    /// The values of a text and a list together.
    Texts,
    /// Of more values than the sketches are made for here.
    Added,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ask {
    Nothing,
    Estimate,
    Rounded,
    Bounds(u8),
    Text,
}

/// The sketches of many values are of about so many entries or registers.
const FEW: usize = 128;
const FEW_LOG: u32 = FEW.ilog2();
/// How many standard deviations an estimate may be off.
const SURE: f64 = 7.0;
/// The relative standard error of a CPC sketch of the usual size: the root of ln 2 over that of 2048.
pub(super) const CPC_ERROR: f64 = 0.018_397;

impl Distinct {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Distinct {
        let all = [Of::Theta, Of::OldTheta, Of::Hll, Of::HyperUnique, Of::Cardinality, Of::Cpc];
        let of = *all.choose(rng).expect("there are sketches");
        let kept = rng.random_bool(0.4) && of != Of::Cardinality;
        let columns = match (of, kept) {
            (Of::Cardinality, _) => vec![Column::Text, Column::List, Column::Long, Column::Rows, Column::Texts],
            (Of::HyperUnique, true) => vec![Column::Text],
            (Of::HyperUnique, false) => vec![Column::Text, Column::List, Column::Long],
            (Of::Theta | Of::OldTheta, true) => vec![Column::Text, Column::Added],
            (_, true) => vec![Column::List, Column::Added],
            (_, false) => vec![Column::Text, Column::List, Column::Long, Column::Added],
        };
        let columns: Vec<Column> =
            columns.into_iter().filter(|column| kept || !rollup || *column != Column::Added).collect();
        let bounds = Ask::Bounds(rng.random_range(1..4));
        let asks = match of {
            Of::Theta | Of::OldTheta => vec![Ask::Nothing, Ask::Estimate, bounds, Ask::Text],
            Of::Hll => vec![Ask::Nothing, Ask::Estimate, Ask::Rounded, bounds, Ask::Text],
            Of::HyperUnique | Of::Cardinality => vec![Ask::Nothing, Ask::Estimate],
            Of::Cpc => vec![Ask::Nothing, Ask::Estimate, bounds],
        };
        Distinct {
            of,
            column: *columns.choose(rng).expect("there are columns"),
            kept,
            round: rng.random_bool(0.5),
            ask: *asks.choose(rng).expect("there are questions"),
        }
    }

    /// One whose sets are exact.
    pub(super) fn exact(rng: &mut SmallRng, rollup: bool, of: Of) -> Distinct {
        loop {
            let made = Distinct::random(rng, rollup);
            if made.of == of && made.column != Column::Added {
                return made;
            }
        }
    }

    /// The metrics that ingestion makes, under the names that [`Distinct::json`] reads.
    pub(super) fn metrics() -> Vec<Json> {
        let made = |of: Of, column: Column| {
            let made = Distinct { of, column, kept: false, round: false, ask: Ask::Nothing };
            made.json(&Distinct { kept: true, ..made.clone() }.field())
        };
        vec![
            made(Of::Theta, Column::Text),
            made(Of::Theta, Column::Added),
            made(Of::Hll, Column::List),
            made(Of::Hll, Column::Added),
            made(Of::Cpc, Column::List),
            made(Of::Cpc, Column::Added),
            made(Of::HyperUnique, Column::Text),
        ]
    }

    fn field(&self) -> String {
        let column = match self.column {
            Column::Text => "s",
            Column::List => "m",
            Column::Long => "l",
            Column::Rows => "rows",
            Column::Texts => "texts",
            Column::Added => "added",
        };
        let family = match self.of {
            Of::Theta | Of::OldTheta => "theta",
            Of::Hll => "hll",
            Of::HyperUnique | Of::Cardinality => "hyper",
            Of::Cpc => "cpc",
        };
        if self.kept { format!("{family}_{column}") } else { column.to_string() }
    }

    /// Whether groups can be put in the order of its numbers.
    pub(super) fn orders(&self) -> bool {
        matches!(self.of, Of::Theta | Of::OldTheta) && self.column != Column::Added
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let kind = match (self.of, self.kept) {
            (Of::Theta, _) => "thetaSketch",
            (Of::OldTheta, false) => "sketchBuild",
            (Of::OldTheta, true) => "sketchMerge",
            (Of::Hll, false) => "HLLSketchBuild",
            (Of::Hll, true) => "HLLSketchMerge",
            (Of::HyperUnique, _) => "hyperUnique",
            (Of::Cardinality, _) => "cardinality",
            (Of::Cpc, false) => "cpcSketchBuild",
            (Of::Cpc, true) => "cpcSketchMerge",
        };
        let mut json = json!({"type": kind, "name": name});
        match self.of {
            Of::Cardinality if self.column == Column::Rows => {
                json["fields"] = json!(["s", "m", "l"]);
                json["byRow"] = true.into();
            }
            Of::Cardinality if self.column == Column::Texts => json["fields"] = json!(["s", "m"]),
            Of::Cardinality => json["fields"] = json!([self.field()]),
            _ => json["fieldName"] = self.field().into(),
        }
        match self.of {
            Of::Theta | Of::OldTheta if self.column == Column::Added => json["size"] = FEW.into(),
            Of::Theta | Of::OldTheta => {}
            _ => {
                json["round"] = self.round.into();
                if self.column == Column::Added {
                    json["lgK"] = FEW_LOG.into();
                }
            }
        }
        json
    }

    /// The values, each as it is told from others.
    pub(super) fn set(&self, events: &[&Event]) -> BTreeSet<String> {
        // Only the older counters count the empty text.
        let counts = |text: &String| matches!(self.of, Of::HyperUnique | Of::Cardinality) || !text.is_empty();
        let text = |text: &String| format!("text {text}");
        // The order within a list tells nothing apart, and nulls are values like others.
        let row = |event: &&Event| {
            let mut list = event.m.clone();
            list.sort();
            if list.is_empty() {
                list.push(None);
            }
            format!("{:?} {list:?} {:?}", event.s, event.l)
        };
        let events = events.iter();
        match self.column {
            Column::Text => events.filter_map(|e| e.s.as_ref()).filter(|t| counts(t)).map(text).collect(),
            Column::List => events.flat_map(|e| e.listed()).filter(|t| counts(t)).map(text).collect(),
            Column::Texts => events.flat_map(|e| e.s.iter().chain(e.listed())).map(text).collect(),
            Column::Long => events.filter_map(|e| e.l).map(|l| l.to_string()).collect(),
            Column::Rows => events.map(row).collect(),
            Column::Added => events.filter_map(|e| e.added).map(|added| added.to_string()).collect(),
        }
    }

    /// What the aggregate itself says.
    pub(super) fn count(&self, events: &[&Event]) -> Json {
        let count = self.set(events).len();
        match self.of {
            Of::Theta | Of::OldTheta if self.column != Column::Added => json!(count as f64),
            Of::Theta | Of::OldTheta => self.near(count),
            _ if self.round && self.column == Column::Rows => self.near(count),
            _ if self.round && self.column != Column::Added => json!(count),
            _ => self.near(count),
        }
    }

    fn ends(&self, count: usize) -> (f64, f64) {
        let (size, number) = (FEW as f64, count as f64);
        // What DataSketches gives as the relative standard error of each.
        let error = match self.of {
            // Never exact, not even of one value.
            Of::Cpc if self.column != Column::Added => CPC_ERROR / SURE,
            _ if self.column != Column::Added => 0.0,
            Of::Theta | Of::OldTheta if count <= FEW => 0.0,
            Of::Theta | Of::OldTheta => 1.0 / (size - 1.0).sqrt(),
            Of::Cpc => 2f64.ln().sqrt() / size.sqrt(),
            _ => 1.04 / size.sqrt(),
        };
        // A rounded one is half of one further off.
        let slack = match self.column {
            Column::Added => 0.5,
            // Of so many some two may share a coupon.
            Column::Rows if count > 40 => 1.5,
            _ => 0.0,
        };
        ((number * (1.0 - SURE * error)).max(0.0) - slack, number * (1.0 + SURE * error) + slack)
    }

    fn near(&self, count: usize) -> Json {
        let (from, to) = self.ends(count);
        within(from, to)
    }

    /// The question as a post-aggregate.
    pub(super) fn post(&self, name: &str, aggregate: &str) -> Option<Json> {
        let family = match self.of {
            Of::Theta | Of::OldTheta => "thetaSketch",
            Of::Hll => "HLLSketch",
            Of::HyperUnique | Of::Cardinality => {
                let kind = "hyperUniqueCardinality";
                return (self.ask != Ask::Nothing).then(|| json!({"type": kind, "name": name, "fieldName": aggregate}));
            }
            Of::Cpc => "cpcSketch",
        };
        let mut json = match (self.of, self.ask) {
            (_, Ask::Nothing) => return None,
            (Of::Theta | Of::OldTheta, Ask::Bounds(deviations)) => {
                json!({"type": "thetaSketchEstimate", "errorBoundsStdDev": deviations})
            }
            (Of::Theta | Of::OldTheta, Ask::Estimate) => json!({"type": "thetaSketchEstimate"}),
            (Of::Hll, Ask::Estimate) => json!({"type": "HLLSketchEstimate"}),
            (Of::Hll, Ask::Bounds(deviations)) => {
                json!({"type": "HLLSketchEstimateWithBounds", "numStdDev": deviations})
            }
            (_, Ask::Rounded) => json!({"type": "HLLSketchEstimate", "round": true}),
            (_, Ask::Estimate) => json!({"type": "cpcSketchToEstimate"}),
            (_, Ask::Bounds(deviations)) => {
                json!({"type": "cpcSketchToEstimateWithBounds", "numStdDev": deviations})
            }
            (_, Ask::Text) => json!({"type": format!("{family}ToString")}),
        };
        json["name"] = name.into();
        json["field"] = json!({"type": "fieldAccess", "name": aggregate, "fieldName": aggregate});
        Some(json)
    }

    /// What answers the question.
    pub(super) fn answer(&self, events: &[&Event]) -> Option<Json> {
        let count = self.set(events).len();
        let (from, to) = self.ends(count);
        Some(match self.ask {
            Ask::Nothing => return None,
            Ask::Estimate => within(from, to),
            Ask::Rounded if self.column != Column::Added => json!(count),
            Ask::Rounded => within(from, to),
            Ask::Bounds(_) => bounded(from, to),
            Ask::Text => some_text(),
        })
    }
}
