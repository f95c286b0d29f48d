//! How many rows of others lie between one's own tells nothing: rows are read in blocks and worked on in parts, and neither what
//! numbers come to that do not add up exactly, nor which value is met first, hangs on where these end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use query::policy::{Role, Rules};
use query::{Authorizer, Broker, Principal, Settings};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::block::Value;
use segment::inventory::{Change, Inventory, Served};
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

use crate::broker::{ask_as, settings};
use crate::dimension;

const DAY: i64 = 86_400_000;

/// A broker over one day: the asker's numbers, before each of which so many rows of somebody else stand.
fn broker(numbers: &[f64], hidden: &[usize], threads: usize) -> Arc<Broker> {
    let schema = Schema {
        dimensions: vec![
            dimension("tenant", ValueType::String),
            dimension("name", ValueType::String),
            dimension("kind", ValueType::String),
            dimension("worth", ValueType::Double),
        ],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let mut rows = Vec::new();
    for (at, (number, hidden)) in numbers.iter().zip(hidden).enumerate() {
        let row = |tenant: &str, name: String, worth: f64| {
            let kind = if at % 2 == 0 { "even" } else { "odd" };
            let fields = vec![
                ("tenant", Value::text(tenant)),
                ("name", Value::text(&name)),
                ("kind", Value::text(kind)),
                ("worth", Value::Double(worth)),
            ];
            (at as i64, fields)
        };
        rows.extend((0..*hidden).map(|_| row("b", "theirs".into(), 1e300)));
        rows.push(row("a", format!("own {at:03}"), *number));
    }
    let interval = Interval { start: 0, end: DAY };
    let id = SegmentId { datasource: "events".into(), interval, version: "v".into(), partition: 0 };
    let segment = Arc::new(Segment::from_rows(id.clone(), &schema, &rows));
    let inventory = Arc::new(Inventory::new());
    inventory.apply(vec![Change::Serve(id, Served::Published(segment))]);
    let role = json!({
        "permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}],
        "policies": [{"name": "own", "datasource": "events",
            "filter": {"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": "a"}}],
    });
    let role: Role = serde_json::from_value(role).expect("a role");
    let rules = Rules::new(1, [("some".to_string(), role)].into(), BTreeMap::new(), BTreeSet::new(), String::new());
    Broker::new(inventory, Settings { threads, ..settings() }, Authorizer::new(rules.expect("rules")))
}

fn ask(broker: &Broker, query: &Json) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut ann = Principal::new("ann");
    ann.roles.insert("some".into());
    runtime.block_on(ask_as(broker, &ann, query)).expect("an answer")
}

fn query(kind: &str, more: Json) -> Json {
    let worth = |kind: &str| json!({"type": kind, "name": kind, "fieldName": "worth"});
    let mut aggregations: Vec<Json> =
        ["doubleSum", "floatSum", "doubleMean", "doubleMin", "doubleMax", "variance"].map(worth).into();
    aggregations.push(json!({"type": "stringAny", "name": "any", "fieldName": "name"}));
    aggregations.push(json!({"type": "filtered", "filter": {"type": "equals", "column": "kind",
        "matchValueType": "STRING", "matchValue": "odd"}, "aggregator": {"type": "doubleSum", "name": "odd", "fieldName": "worth"}}));
    let mut query = json!({"queryType": kind, "dataSource": "events", "granularity": "all",
        "intervals": "1970-01-01/P1D", "aggregations": aggregations});
    query.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    query
}

fn queries() -> Vec<Json> {
    vec![
        query("timeseries", json!({})),
        query("groupBy", json!({"dimensions": ["kind"]})),
        query("groupBy", json!({"dimensions": ["kind", "name"]})),
        query("topN", json!({"dimension": "kind", "metric": "doubleMin", "threshold": 5})),
    ]
}

#[test]
fn numbers_that_do_not_add_up_exactly_come_to_the_same_whatever_lies_between() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..40 {
        let large = f64::from(1 << 26) * f64::from(1 << 27);
        let worths = [large, 1.0, -large, 0.1, -0.0, 1e-9];
        let numbers: Vec<f64> =
            (0..rng.random_range(3..60)).map(|_| worths[rng.random_range(0..worths.len())]).collect();
        let hidden: Vec<usize> =
            numbers.iter().map(|_| if rng.random_bool(0.3) { rng.random_range(0..6000) } else { 0 }).collect();
        // One thread: what threads make of it together hangs on which of them is faster.
        let (among, alone) = (broker(&numbers, &hidden, 1), broker(&numbers, &vec![0; numbers.len()], 1));
        for query in queries() {
            assert_eq!(ask(&among, &query), ask(&alone, &query), "{numbers:?} {hidden:?} {query}");
        }
    }
}

#[test]
fn a_part_that_is_worked_on_apart_ends_by_rows_that_are_seen() {
    let numbers: Vec<f64> = (0..200).map(|at| f64::from(at) * 0.1).collect();
    let mut hidden = vec![0; numbers.len()];
    hidden[100] = 300_000;
    let (among, alone) = (broker(&numbers, &hidden, 2), broker(&numbers, &vec![0; numbers.len()], 2));
    for query in queries() {
        let own = ask(&alone, &query);
        for _ in 0..30 {
            assert_eq!(ask(&among, &query), own, "{query}");
        }
    }
}
