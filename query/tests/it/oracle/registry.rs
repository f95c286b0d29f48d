//! Holds the oracle to the engine: each name that a query may use is one that random queries use, or stands in a short list
//! with the reason why not. The names are those that the engine says it knows where it refuses another.

use std::collections::{BTreeMap, BTreeSet};

use query::Query;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value as Json, json};

use super::ask::Asked;

/// Names that no random query uses, and why.
const ASIDE: [(&str, &str, &str); 3] = [
    ("query type", "segmentMetadata", "tells of segments, and the naive evaluator knows rows only; see `broker.rs`"),
    ("order", "version", "Maven's order, which has tests of its own beside it"),
    ("query type", "union", "its answer is those of its queries, one behind the other; see `broker.rs`"),
];

/// A name that none is like.
const UNKNOWN: &str = "????????????????????????????????????????????????????";

/// A kind of names, and a query that has an unknown one in its place.
fn refused() -> Vec<(&'static str, Json)> {
    let unknown = json!({"type": UNKNOWN});
    let timeseries = |field: &str, part: Json| {
        let mut query =
            json!({"queryType": "timeseries", "dataSource": "t", "intervals": ["2000/2001"], "granularity": "all"});
        query[field] = part;
        query
    };
    let group = |field: &str, part: Json| {
        let mut query = timeseries(field, part);
        query["queryType"] = "groupBy".into();
        query
    };
    let search = json!({"type": "search", "dimension": "a", "query": unknown});
    let bound = json!({"type": "bound", "dimension": "a", "lower": "b", "ordering": UNKNOWN});
    let extraction = json!({"type": "extraction", "dimension": "a", "extractionFn": unknown});
    vec![
        ("query type", timeseries("queryType", json!(UNKNOWN))),
        ("data source", timeseries("dataSource", unknown.clone())),
        ("granularity", timeseries("granularity", json!(UNKNOWN))),
        ("filter", timeseries("filter", unknown.clone())),
        ("search", timeseries("filter", search)),
        ("order", timeseries("filter", bound)),
        ("aggregator", timeseries("aggregations", json!([{"type": UNKNOWN, "name": "a"}]))),
        ("post-aggregator", timeseries("postAggregations", json!([{"type": UNKNOWN, "name": "a"}]))),
        ("virtual column", timeseries("virtualColumns", json!([{"type": UNKNOWN, "name": "a"}]))),
        ("dimension spec", group("dimensions", json!([unknown]))),
        ("extraction function", group("dimensions", json!([extraction]))),
        ("having", group("having", unknown.clone())),
    ]
}

fn known_by_the_engine() -> BTreeMap<&'static str, BTreeSet<String>> {
    let known = |query: Json| -> BTreeSet<String> {
        let error = Query::from_json(&query).expect_err("an unknown name").to_string();
        let (_, names) = error.split_once("use one of ").unwrap_or_else(|| panic!("{error} names none"));
        // What is said behind a name is no part of it.
        let names = names.split(", ").map(|name| name.split_whitespace().next().unwrap_or_default().to_string());
        names.collect()
    };
    refused().into_iter().map(|(kind, query)| (kind, known(query))).collect()
}

/// Puts the names that a part of a query uses to those of their kind.
fn collect(part: &Json, kind: &'static str, used: &mut BTreeMap<&'static str, BTreeSet<String>>) {
    let mut put = |kind, name: &str| {
        used.entry(kind).or_default().insert(name.to_string());
    };
    match part {
        Json::String(name) if kind == "granularity" || kind == "order" => put(kind, name),
        Json::String(_) if kind == "data source" => put(kind, "table"),
        Json::String(_) if kind == "dimension spec" => put(kind, "default"),
        Json::Array(parts) => parts.iter().for_each(|part| collect(part, kind, used)),
        Json::Object(fields) => {
            if let Some(name) = fields.get("queryType").and_then(Json::as_str) {
                put("query type", name);
            } else if let Some(name) = fields.get("type").and_then(Json::as_str) {
                put(kind, name);
            }
            for (field, part) in fields {
                let kind = match field.as_str() {
                    "dataSource" | "dataSources" | "base" | "left" | "right" => "data source",
                    "filter" | "leftFilter" | "unnestFilter" => "filter",
                    "query" => "search",
                    "ordering" | "dimensionOrder" | "sort" => "order",
                    "granularity" => "granularity",
                    "aggregations" | "aggregator" => "aggregator",
                    "postAggregations" => "post-aggregator",
                    "virtualColumns" | "virtualColumn" => "virtual column",
                    "dimension" | "dimensions" | "searchDimensions" | "delegate" if kind != "filter" => {
                        "dimension spec"
                    }
                    "extractionFn" | "extractionFns" => "extraction function",
                    "having" | "havingSpec" | "havingSpecs" => "having",
                    "type" | "dimension" | "dimensions" | "delegate" => continue,
                    _ => kind,
                };
                collect(part, kind, used);
            }
        }
        _ => {}
    }
}

#[test]
fn random_queries_use_every_name_that_the_engine_knows() {
    let mut used = BTreeMap::new();
    for seed in 0..20_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        collect(&Asked::random(&mut rng, seed % 2 == 0).json(), "", &mut used);
    }
    let nothing = BTreeSet::new();
    let mut wrong = Vec::new();
    for (kind, known) in known_by_the_engine() {
        let used = used.get(kind).unwrap_or(&nothing);
        let aside: BTreeSet<&str> = ASIDE.iter().filter(|(of, ..)| *of == kind).map(|(_, name, _)| *name).collect();
        let lacking = known.iter().filter(|name| !used.contains(*name) && !aside.contains(name.as_str()));
        wrong.extend(lacking.map(|name| format!("no random query uses the {kind} [{name}]")));
        let stale = aside.iter().filter(|name| used.contains(**name) || !known.contains(**name));
        wrong.extend(stale.map(|name| format!("the {kind} [{name}] stands aside for nothing")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
