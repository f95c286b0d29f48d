//! The query crate from outside: exact answers, exact JSON, exact selections.

extern crate henge_query as query;

mod answers;
mod between;
mod broker;
mod cluster;
mod dealt;
mod expressions;
mod fuzz;
mod group;
mod kept;
mod oracle;
mod seen;
mod selection;
mod sketches;
mod sources;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::test_runner::{Config, RngSeed};
use segment::schema::{DimensionSchema, MultiValue, ValueType};

/// A dimension of a table that a test makes: indexed, its lists as they come.
fn dimension(name: &str, value_type: ValueType) -> DimensionSchema {
    DimensionSchema { name: name.into(), value_type, multi_value: MultiValue::Array, indexed: true, auto: false }
}

/// Cases that begin at `HENGE_SEED`, or anywhere: a failure shows where.
fn seeded(cases: u32) -> Config {
    let given = std::env::var("HENGE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("HENGE_SEED={seed}");
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}
