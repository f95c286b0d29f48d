//! Unions, intersections and differences of the sketches of a group.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::{some_text, within};
use super::distinct::{CPC_ERROR, Distinct, Of};
use super::events::Event;
use super::fold::Fold;
use super::tuple::{Asked, test};

#[derive(Debug, Clone)]
pub(super) struct Set {
    family: Family,
    operation: Operation,
    /// Places of aggregates.
    of: Vec<usize>,
    /// Whether with a sketch that stands in the query, at the end.
    constant: bool,
    /// Shown as it is.
    bare: bool,
    ask: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    Theta,
    Tuple,
    Hll,
    Cpc,
    /// Of tuples: the means of two compared.
    Test,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Union,
    Intersect,
    Not,
}

/// Of two keys, which no event has.
const THETA: &str = "AgMDAAAazJMCAAAAAACAPzz9j7pWTMdROWGf15uY1nI=";
/// Of none.
const TUPLE: &str = "AQEJAwQBzJP/////////fw==";

impl Set {
    /// With the aggregates that it needs, which are put behind those that are there.
    pub(super) fn random(rng: &mut SmallRng, rollup: bool, folds: &mut Vec<Fold>) -> Set {
        let family = *[Family::Theta, Family::Tuple, Family::Hll, Family::Cpc, Family::Test]
            .choose(rng)
            .expect("there are families");
        let count = if family == Family::Test { 2 } else { rng.random_range(2..4) };
        let of = (0..count).map(|_| {
            let inner = match family {
                Family::Theta => {
                    let of = if rng.random_bool(0.5) { Of::Theta } else { Of::OldTheta };
                    Fold::Distinct(Distinct::exact(rng, rollup, of))
                }
                Family::Hll => Fold::Distinct(Distinct::exact(rng, rollup, Of::Hll)),
                Family::Cpc => Fold::Distinct(Distinct::exact(rng, rollup, Of::Cpc)),
                Family::Tuple | Family::Test => Fold::Tuple(super::tuple::Tuple::random(rng, rollup)),
            };
            // Of some of the rows, that they differ.
            folds.push(match rng.random_bool(0.6) {
                true => Fold::Some(super::filter::Test::random(rng, 0), Box::new(inner)),
                false => inner,
            });
            folds.len() - 1
        });
        Set {
            family,
            of: of.collect(),
            operation: match family {
                Family::Hll | Family::Cpc => Operation::Union,
                _ => *[Operation::Union, Operation::Intersect, Operation::Not].choose(rng).expect("there are some"),
            },
            constant: matches!(family, Family::Theta | Family::Tuple) && rng.random_bool(0.3),
            bare: rng.random_bool(0.1),
            ask: Asked::random(rng),
        }
    }

    pub(super) fn json(&self, name: &str, names: &[String]) -> Json {
        let mut fields: Vec<Json> = self
            .of
            .iter()
            .map(|at| json!({"type": "fieldAccess", "name": names[*at], "fieldName": names[*at]}))
            .collect();
        let operation = match self.operation {
            Operation::Union => "UNION",
            Operation::Intersect => "INTERSECT",
            Operation::Not => "NOT",
        };
        let constant = |kind: &str, value: &str| json!({"type": kind, "name": "constant", "value": value});
        if self.constant {
            fields.push(match self.family {
                Family::Theta => constant("thetaSketchConstant", THETA),
                _ => constant("arrayOfDoublesSketchConstant", TUPLE),
            });
        }
        let (mut set, outer) = match self.family {
            Family::Theta => {
                (json!({"type": "thetaSketchSetOp", "func": operation, "fields": fields}), "thetaSketchEstimate")
            }
            Family::Tuple => {
                (json!({"type": "arrayOfDoublesSketchSetOp", "operation": operation, "fields": fields}), "")
            }
            Family::Hll => (json!({"type": "HLLSketchUnion", "fields": fields}), "HLLSketchEstimate"),
            Family::Cpc => (json!({"type": "cpcSketchUnion", "fields": fields}), "cpcSketchToEstimate"),
            Family::Test => {
                return json!({"type": "arrayOfDoublesSketchTTest", "name": name, "fields": fields});
            }
        };
        set["name"] = name.into();
        match self.family {
            _ if self.bare => set,
            Family::Tuple => self.ask.json(name, set),
            _ => json!({"type": outer, "name": name, "field": set}),
        }
    }

    pub(super) fn of(&self, folds: &[Fold], events: &[&Event]) -> Json {
        if self.bare && self.family != Family::Test {
            return some_text();
        }
        let mut sets: Vec<BTreeMap<String, f64>> = self.of.iter().map(|at| folds[*at].set(events)).collect();
        if self.family == Family::Test {
            return test(&sets[0], &sets[1]);
        }
        if self.constant {
            let keys: &[&str] = if self.family == Family::Theta { &["constant 1", "constant 2"] } else { &[] };
            sets.push(keys.iter().map(|key| (key.to_string(), 0.0)).collect());
        }
        let keys: BTreeSet<&String> = sets.iter().flat_map(BTreeMap::keys).collect();
        let stays = |key: &&String| match self.operation {
            Operation::Union => true,
            Operation::Intersect => sets.iter().all(|set| set.contains_key(*key)),
            Operation::Not => !sets[1..].iter().any(|set| set.contains_key(*key)),
        };
        // Where keys meet, what they carry is added up.
        let sum = |key: &String| sets.iter().filter_map(|set| set.get(key)).sum::<f64>();
        let whole: BTreeMap<String, f64> = keys.into_iter().filter(stays).map(|key| (key.clone(), sum(key))).collect();
        match self.family {
            Family::Tuple => self.ask.of(&whole),
            Family::Cpc => {
                let count = whole.len() as f64;
                within(count * (1.0 - CPC_ERROR), count * (1.0 + CPC_ERROR))
            }
            _ => within(whole.len() as f64, whole.len() as f64),
        }
    }
}
