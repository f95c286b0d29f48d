//! Native queries with parts exchanged, taken away and made strange: each gets an answer or an error in time, and
//! nothing panics. `HENGE_FUZZ_SECONDS` says how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use query::{Broker, Error};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};

use crate::broker::{ask, inventory, settings};

fn corpus() -> Vec<Json> {
    let all = json!(["2026-03-01/2026-03-03"]);
    let filter = json!({"type": "and", "fields": [
        {"type": "selector", "dimension": "page", "value": "Ada"},
        {"type": "not", "field": {"type": "in", "dimension": "tags", "values": ["x", null, "z"]}},
        {"type": "range", "column": "added", "matchValueType": "LONG", "lower": 2, "upperOpen": true, "upper": 9},
        {"type": "or", "fields": [{"type": "like", "dimension": "page", "pattern": "%a_"},
            {"type": "regex", "dimension": "page", "pattern": "^(A|B)+"},
            {"type": "expression", "expression": "strlen(page) > 2 && added + 1 < 99"},
            {"type": "columnComparison", "dimensions": ["page", "tags"]},
            {"type": "bound", "dimension": "added", "lower": "1", "ordering": "numeric"},
            {"type": "null", "column": "ratio"}, {"type": "interval", "dimension": "__time", "intervals": all}]}]});
    let aggregations = json!([{"type": "count", "name": "rows"}, {"type": "longSum", "name": "sum", "fieldName": "added"},
        {"type": "doubleMax", "name": "max", "expression": "score * 2"},
        {"type": "filtered", "filter": {"type": "equals", "column": "page", "matchValueType": "STRING",
            "matchValue": "Ada"}, "aggregator": {"type": "stringLast", "name": "last", "fieldName": "page"}},
        {"type": "hyperUnique", "name": "hll", "fieldName": "page"},
        {"type": "quantilesDoublesSketch", "name": "q", "fieldName": "score", "k": 64}]);
    let posts = json!([{"type": "arithmetic", "name": "ratio2", "fn": "/", "fields": [
            {"type": "fieldAccess", "fieldName": "sum"}, {"type": "constant", "value": 0}]},
        {"type": "expression", "name": "e", "expression": "sum / rows"},
        {"type": "quantilesDoublesSketchToQuantile", "name": "median", "fraction": 0.5,
            "field": {"type": "fieldAccess", "fieldName": "q"}}]);
    let virtual_columns = json!([{"type": "expression", "name": "v", "expression": "concat(page, '-', added)",
        "outputType": "STRING"}]);
    vec![
        json!({"queryType": "timeseries", "dataSource": "wiki", "intervals": all, "granularity": "hour", "filter": filter,
            "aggregations": aggregations, "postAggregations": posts, "descending": true, "limit": 5,
            "context": {"skipEmptyBuckets": true, "grandTotal": true}}),
        json!({"queryType": "topN", "dataSource": {"type": "union", "dataSources": ["wiki", "wiki"]}, "intervals": all,
            "granularity": {"type": "period", "period": "PT6H", "timeZone": "Asia/Kolkata"}, "dimension":
            {"type": "extraction", "dimension": "page", "outputName": "p", "extractionFn": {"type": "substring",
                "index": 0, "length": 1}}, "metric": {"type": "inverted", "metric": "sum"}, "threshold": 3,
            "aggregations": aggregations, "postAggregations": posts}),
        json!({"queryType": "groupBy", "dataSource": "wiki", "intervals": all, "granularity": "all",
            "dimensions": ["page", {"type": "listFiltered", "delegate": "tags", "values": ["x"]},
                {"type": "default", "dimension": "added", "outputType": "LONG", "outputName": "a"}, "v"],
            "virtualColumns": virtual_columns, "aggregations": aggregations, "postAggregations": posts,
            "having": {"type": "greaterThan", "aggregation": "rows", "value": 0},
            "limitSpec": {"type": "default", "limit": 4, "offset": 1, "columns": [{"dimension": "sum", "direction":
                "descending", "dimensionOrder": "numeric"}]}, "subtotalsSpec": [["page", "v"], ["a"], []]}),
        json!({"queryType": "groupBy", "dataSource": {"type": "query", "query": {"queryType": "groupBy",
                "dataSource": "wiki", "intervals": all, "granularity": "day", "dimensions": ["page"],
                "aggregations": [{"type": "count", "name": "n"}]}},
            "intervals": all, "granularity": "all", "dimensions": [],
            "aggregations": [{"type": "longSum", "name": "s", "fieldName": "n"}]}),
        json!({"queryType": "scan", "dataSource": "wiki", "intervals": all, "filter": filter, "order": "descending",
            "columns": ["__time", "page", "tags", "v", "nope"], "virtualColumns": virtual_columns, "limit": 3,
            "offset": 1, "batchSize": 2, "resultFormat": "compactedList"}),
        json!({"queryType": "scan", "dataSource": {"type": "inline", "columnNames": ["a", "b"], "columnTypes":
            ["LONG", "STRING"], "rows": [[1, "x"], [null, "y"]]}, "intervals": ["0000/3000"]}),
        json!({"queryType": "search", "dataSource": "wiki", "intervals": all, "granularity": "all", "searchDimensions":
            ["page", "tags"], "query": {"type": "insensitive_contains", "value": "a"}, "sort": {"type": "strlen"}}),
        json!({"queryType": "timeBoundary", "dataSource": "wiki", "bound": "maxTime", "filter": filter}),
        json!({"queryType": "segmentMetadata", "dataSource": "wiki", "intervals": all, "merge": true,
            "analysisTypes": ["cardinality", "minmax", "size", "interval"], "toInclude": {"type": "list",
            "columns": ["page"]}, "aggregatorMergeStrategy": "lenient"}),
        json!({"queryType": "dataSourceMetadata", "dataSource": "wiki"}),
    ]
}

fn odd(random: &mut SmallRng) -> Json {
    let deep = (0..random.random_range(1..200)).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e308),
        json!(0.5),
        json!(""),
        json!("\u{0}"),
        json!("__time"),
        json!("page"),
        json!("(((("),
        json!("(a+)+$"),
        json!("P1000000000000Y"),
        json!("-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z"),
        json!([]),
        json!({}),
        json!(["page", "page"]),
        json!({"type": "nope"}),
        deep,
    ];
    values.choose(random).unwrap().clone()
}

/// Every value of the tree, as pointers.
fn places(json: &Json, at: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                found.push(place.clone());
                places(value, &place, found);
            }
        }
        Json::Array(items) => {
            for (idx, value) in items.iter().enumerate() {
                let place = format!("{at}/{idx}");
                found.push(place.clone());
                places(value, &place, found);
            }
        }
        _ => {}
    }
}

fn mutated(corpus: &[Json], random: &mut SmallRng) -> Json {
    let mut query = corpus.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..4) {
        let mut here = Vec::new();
        places(&query, "", &mut here);
        let Some(place) = here.choose(random).cloned() else { break };
        let new = match random.random_range(0..4) {
            0 => {
                let (parent, key) = place.rsplit_once('/').unwrap();
                match query.pointer_mut(parent) {
                    Some(Json::Object(map)) => drop(map.shift_remove(key)),
                    Some(Json::Array(items)) if !items.is_empty() => {
                        items.remove(random.random_range(0..items.len()));
                    }
                    _ => {}
                }
                continue;
            }
            1 => odd(random),
            2 => {
                let other = corpus.choose(random).unwrap();
                let mut there = Vec::new();
                places(other, "", &mut there);
                other.pointer(there.choose(random).unwrap()).cloned().unwrap_or(Json::Null)
            }
            _ => query.pointer(here.choose(random).unwrap()).cloned().unwrap_or(Json::Null),
        };
        if let Some(value) = query.pointer_mut(&place) {
            *value = new;
        }
    }
    // Queries over everything in small steps are refused or bounded by time.
    if let Some(context) = query.as_object_mut().map(|query| query.entry("context").or_insert(json!({})))
        && let Some(context) = context.as_object_mut()
    {
        context.insert("timeout".into(), json!(1000));
    }
    query
}

static PANICS: AtomicU64 = AtomicU64::new(0);

#[test]
fn odd_queries_end_in_answers_or_errors() {
    let seconds = std::env::var("HENGE_FUZZ_SECONDS").ok().map_or(4, |v| v.parse().expect("a number of seconds"));
    let seed = std::env::var("HENGE_SEED").ok().map_or(1, |v| v.parse().expect("a number"));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Another test that fails at the same time is its own matter.
        let other = std::thread::current().name().is_some_and(|name| name.contains("::") && !name.contains("fuzz::"));
        PANICS.fetch_add(u64::from(!other), Ordering::Relaxed);
        before(info);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    let mut random = SmallRng::seed_from_u64(seed);
    let corpus = corpus();
    for query in &corpus {
        runtime.block_on(ask(&broker, query)).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut tried, mut answered) = (0u64, 0u64);
    while Instant::now() < end {
        let query = mutated(&corpus, &mut random);
        let started = Instant::now();
        let outcome = runtime.block_on(ask(&broker, &query));
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic: {query}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?} beyond a timeout of 1 s: {query}",
            started.elapsed()
        );
        match outcome {
            Ok(_) => answered += 1,
            Err(error) => assert!(!matches!(error, Error::Bug(_)), "{error}: {query}"),
        }
        tried += 1;
    }
    println!("{tried} queries, {answered} answered");
    assert!(answered > 0, "no query survived its change");
}
