//! Small group queries in Druid's JSON and their answers, row by row.

use std::sync::Arc;

use expect_test::{Expect, expect};
use query::engine::{Piece, group};
use query::finish::finish;
use query::pool::Pool;
use query::{Budget, Query, Settings, Table};
use segment::block::Value;
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::json;

use crate::dimension;

const HOUR: i64 = 3_600_000;

fn segment() -> Arc<Segment> {
    let schema = Schema {
        dimensions: vec![
            dimension("city", ValueType::String),
            dimension("tags", ValueType::String),
            dimension("age", ValueType::Long),
            dimension("price", ValueType::Double),
        ],
        discovery: Discovery::None,
        exclusions: vec![],
        metrics: vec![],
        rollup: false,
        query_granularity: Granularity::None,
    };
    let row = |hour: i64, city: Value, tags: &[&str], age: Option<i64>, price: f64| {
        let tags = match tags {
            [] => Value::Null,
            [one] => Value::text(one),
            many => Value::List(many.iter().map(|t| Value::text(t)).collect()),
        };
        let age = age.map_or(Value::Null, Value::Long);
        (hour * HOUR, vec![("city", city), ("tags", tags), ("age", age), ("price", Value::Double(price))])
    };
    let rows = vec![
        row(0, Value::text("bonn"), &["x", "y"], Some(9), 1.0),
        row(0, Value::text("köln"), &[], Some(10), 2.5),
        row(2, Value::text("bonn"), &["y"], None, 4.0),
        row(2, Value::Null, &["x"], Some(10), -1.0),
        row(5, Value::text("aachen"), &["x", "z"], Some(100), 0.5),
    ];
    let id = SegmentId {
        datasource: "t".into(),
        interval: Interval { start: 0, end: 24 * HOUR },
        version: "v".into(),
        partition: 0,
    };
    Arc::new(Segment::from_rows(id, &schema, &rows))
}

fn answer(json: serde_json::Value) -> Result<Table, query::Error> {
    let settings = Settings {
        threads: 2,
        queries_max: 1,
        lanes: Default::default(),
        timeout_default: std::time::Duration::from_secs(60),
        timeout_max: std::time::Duration::from_secs(60),
        memory_bytes: 1 << 20,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    let query = Query::from_json(&json)?;
    let budget = Arc::new(Budget::from_context(&serde_json::Map::new(), &settings)?);
    let segment = segment();
    let piece = Piece::whole(segment.id().clone(), segment, query.scope().intervals.clone());
    let query = Arc::new(query);
    let partial = group::run(&query, vec![piece], &Pool::new(2), &budget)?;
    finish(&query, partial, &budget)
}

pub fn check(json: serde_json::Value, expected: Expect) {
    let table = answer(json).unwrap();
    let text = |value: Value| match value {
        Value::Null => "null".to_string(),
        Value::Long(v) => v.to_string(),
        Value::Double(v) => format!("{v:?}"),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let mut lines = vec![table.columns.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>().join(" ")];
    for row in 0..table.rows {
        let values: Vec<String> = (0..table.columns.len()).map(|column| text(table.value(column, row))).collect();
        lines.push(values.join(" "));
    }
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn timeseries_fills_the_buckets_between_rows_only() {
    let base = json!({
        "queryType": "timeseries", "dataSource": "t", "granularity": "hour", "intervals": ["1969-12-31/1970-01-02"],
        "aggregations": [
            {"type": "count", "name": "n"}, {"type": "longSum", "name": "age", "fieldName": "age"},
            {"type": "filtered", "filter": {"type": "selector", "dimension": "city", "value": "bonn"},
             "aggregator": {"type": "doubleMax", "name": "bonn", "fieldName": "price"}}
        ],
        "postAggregations": [{"type": "arithmetic", "name": "mean", "fn": "/", "fields": [
            {"type": "fieldAccess", "fieldName": "age"}, {"type": "fieldAccess", "fieldName": "n"}]}]
    });
    let with = |key: &str, value: serde_json::Value| {
        let mut query = base.clone();
        query[key] = value;
        query
    };
    check(
        base.clone(),
        expect![[r#"
        __time n age bonn mean
        0 2 19 1.0 9.5
        3600000 0 null null null
        7200000 2 10 4.0 5.0
        10800000 0 null null null
        14400000 0 null null null
        18000000 1 100 null 100.0"#]],
    );
    check(
        with("context", json!({"skipEmptyBuckets": true, "grandTotal": true})),
        expect![[r#"
        __time n age bonn mean
        0 2 19 1.0 9.5
        7200000 2 10 4.0 5.0
        18000000 1 100 null 100.0
        null 5 129 4.0 25.8"#]],
    );
    let mut limited = with("descending", json!(true));
    limited["limit"] = json!(2);
    check(
        limited,
        expect![[r#"
        __time n age bonn mean
        18000000 1 100 null 100.0
        14400000 0 null null null"#]],
    );
    let mut nothing = with("granularity", json!("all"));
    nothing["intervals"] = json!(["2020/2021"]);
    check(
        nothing.clone(),
        expect![[r#"
        __time n age bonn mean
        1577836800000 0 null null null"#]],
    );
    nothing["context"] = json!({"skipEmptyBuckets": true});
    check(nothing, expect!["__time n age bonn mean"]);
}

#[test]
fn top_n_orders_by_metric_then_value() {
    let query = |metric: serde_json::Value, dimension: serde_json::Value| {
        json!({
            "queryType": "topN", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "dimension": dimension, "metric": metric, "threshold": 3,
            "aggregations": [{"type": "count", "name": "n"}, {"type": "longMin", "name": "age", "fieldName": "age"}]
        })
    };
    check(
        query(json!("n"), json!("city")),
        expect![[r#"
        __time city n age
        0 bonn 2 9
        0 null 1 10
        0 aachen 1 100"#]],
    );
    check(
        query(json!({"type": "inverted", "metric": "n"}), json!("city")),
        expect![[r#"
        __time city n age
        0 null 1 10
        0 aachen 1 100
        0 köln 1 10"#]],
    );
    check(
        query(json!({"type": "dimension", "previousStop": "aachen"}), json!("city")),
        expect![[r#"
        __time city n age
        0 bonn 2 9
        0 köln 1 10"#]],
    );
    check(
        query(json!("n"), json!("tags")),
        expect![[r#"
        __time tags n age
        0 x 3 9
        0 y 2 9
        0 null 1 10"#]],
    );
    let filtered = json!({"type": "listFiltered", "delegate": "tags", "values": ["x"]});
    check(
        query(json!("n"), filtered),
        expect![[r#"
        __time tags n age
        0 x 3 9
        0 null 2 10"#]],
    );
    let ages = json!({"type": "default", "dimension": "age", "outputName": "years", "outputType": "LONG"});
    check(
        query(json!({"type": "dimension", "ordering": "numeric"}), ages),
        expect![[r#"
        __time years n age
        0 null 1 null
        0 9 1 9
        0 10 2 10"#]],
    );
    let upper = json!({"type": "extraction", "dimension": "city", "outputName": "c", "extractionFn": {"type": "substring", "index": 0, "length": 1}});
    check(
        query(json!("n"), upper),
        expect![[r#"
        __time c n age
        0 b 2 9
        0 null 1 10
        0 a 1 100"#]],
    );
}

#[test]
fn group_by_keeps_orders_limits_and_totals() {
    let base = json!({
        "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
        "dimensions": ["city", {"type": "default", "dimension": "age", "outputType": "LONG"}],
        "aggregations": [{"type": "count", "name": "n"}, {"type": "doubleSum", "name": "price", "fieldName": "price"}]
    });
    let with = |key: &str, value: serde_json::Value| {
        let mut query = base.clone();
        query[key] = value;
        query
    };
    check(
        base.clone(),
        expect![[r#"
        __time city age n price
        0 null 10 1 -1.0
        0 aachen 100 1 0.5
        0 bonn null 1 4.0
        0 bonn 9 1 1.0
        0 köln 10 1 2.5"#]],
    );
    let having = json!({"type": "and", "havingSpecs": [
        {"type": "greaterThan", "aggregation": "price", "value": 0},
        {"type": "not", "havingSpec": {"type": "dimSelector", "dimension": "city", "value": "bonn"}}]});
    check(
        with("having", having),
        expect![[r#"
        __time city age n price
        0 aachen 100 1 0.5
        0 köln 10 1 2.5"#]],
    );
    let filter = json!({"type": "filter", "filter": {"type": "range", "column": "price", "matchValueType": "DOUBLE", "lower": 2}});
    check(
        with("having", filter),
        expect![[r#"
        __time city age n price
        0 bonn null 1 4.0
        0 köln 10 1 2.5"#]],
    );
    let limit =
        json!({"type": "default", "limit": 2, "offset": 1, "columns": [{"dimension": "price", "direction": "desc"}]});
    check(
        with("limitSpec", limit),
        expect![[r#"
        __time city age n price
        0 köln 10 1 2.5
        0 bonn 9 1 1.0"#]],
    );
    let lexical = json!({"type": "default", "columns": [{"dimension": "age", "dimensionOrder": "lexicographic", "direction": "descending"}]});
    check(
        with("limitSpec", lexical),
        expect![[r#"
        __time city age n price
        0 bonn 9 1 1.0
        0 aachen 100 1 0.5
        0 null 10 1 -1.0
        0 köln 10 1 2.5
        0 bonn null 1 4.0"#]],
    );
    check(
        with("subtotalsSpec", json!([["city"], [], ["city", "age"]])),
        expect![[r#"
        __time city age n price
        0 null null 1 -1.0
        0 aachen null 1 0.5
        0 bonn null 2 5.0
        0 köln null 1 2.5
        0 null null 5 7.0
        0 null 10 1 -1.0
        0 aachen 100 1 0.5
        0 bonn null 1 4.0
        0 bonn 9 1 1.0
        0 köln 10 1 2.5"#]],
    );
    let mut hourly = with("granularity", json!("hour"));
    hourly["dimensions"] = json!(["city"]);
    check(
        hourly.clone(),
        expect![[r#"
        __time city n price
        0 bonn 1 1.0
        0 köln 1 2.5
        7200000 null 1 -1.0
        7200000 bonn 1 4.0
        18000000 aachen 1 0.5"#]],
    );
    hourly["context"] = json!({"sortByDimsFirst": true});
    check(
        hourly,
        expect![[r#"
        __time city n price
        7200000 null 1 -1.0
        18000000 aachen 1 0.5
        0 bonn 1 1.0
        7200000 bonn 1 4.0
        0 köln 1 2.5"#]],
    );
    let mut summary = with("dimensions", json!([]));
    summary["filter"] = json!({"type": "false"});
    check(
        summary,
        expect![[r#"
        __time n price
        0 0 null"#]],
    );
}

#[test]
fn aggregates_and_post_aggregates_of_every_kind() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "aggregations": [
                {"type": "stringFirst", "name": "first", "fieldName": "city"},
                {"type": "stringLast", "name": "last", "fieldName": "city", "maxStringBytes": 3},
                {"type": "longLast", "name": "age", "fieldName": "age"},
                {"type": "doubleAny", "name": "any", "fieldName": "price"},
                {"type": "doubleMean", "name": "mean", "fieldName": "age"},
                {"type": "HLLSketchBuild", "name": "cities", "fieldName": "city", "round": true},
                {"type": "cardinality", "name": "tags", "fields": ["tags"], "round": true},
                {"type": "quantilesDoublesSketch", "name": "prices", "fieldName": "price"},
                {"type": "floatSum", "name": "f", "fieldName": "price"}
            ],
            "postAggregations": [
                {"type": "quantilesDoublesSketchToQuantile", "name": "median", "fraction": 0.5,
                 "field": {"type": "fieldAccess", "fieldName": "prices"}},
                {"type": "quantilesDoublesSketchToQuantiles", "name": "q", "fractions": [0, 1],
                 "field": {"type": "fieldAccess", "fieldName": "prices"}},
                {"type": "HLLSketchEstimate", "name": "e", "round": true,
                 "field": {"type": "fieldAccess", "fieldName": "cities"}},
                {"type": "doubleGreatest", "name": "greatest", "fields": [
                    {"type": "fieldAccess", "fieldName": "age"}, {"type": "constant", "name": "c", "value": 7}]},
                {"type": "longLeast", "name": "least", "fields": [
                    {"type": "fieldAccess", "fieldName": "age"}, {"type": "constant", "name": "c", "value": 7}]},
                {"type": "arithmetic", "name": "zero", "fn": "/", "fields": [
                    {"type": "fieldAccess", "fieldName": "age"}, {"type": "constant", "name": "c", "value": 0}]},
                {"type": "arithmetic", "name": "twice", "fn": "+", "fields": [
                    {"type": "fieldAccess", "fieldName": "greatest"}, {"type": "fieldAccess", "fieldName": "greatest"}]}
            ]
        }),
        expect![[r#"
            __time first last age any mean cities tags prices f median q e greatest least zero twice
            0 bonn aac 100 1.0 32.25 3 3 5 7.0 1.0 List([Double(-1.0), Double(4.0)]) 3 100.0 7 0.0 200.0"#]],
    );
}

#[test]
fn wrong_names_are_refused_by_name() {
    let post = json!({
        "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
        "aggregations": [{"type": "count", "name": "n"}],
        "postAggregations": [{"type": "arithmetic", "name": "p", "fn": "+", "fields": [
            {"type": "fieldAccess", "fieldName": "n"}, {"type": "fieldAccess", "fieldName": "nowhere"}]}]
    });
    let error = answer(post).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    let having = json!({
        "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
        "dimensions": ["city"], "aggregations": [{"type": "count", "name": "n"}],
        "having": {"type": "biggerThan", "aggregation": "n", "value": 1}
    });
    let error = answer(having).unwrap_err().to_string();
    assert!(error.contains("having.type") && error.contains("greaterThan"), "{error}");
}

#[test]
fn a_query_that_needs_more_memory_than_it_may_is_stopped() {
    let query = json!({
        "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
        "dimensions": ["city"], "aggregations": [{"type": "count", "name": "n"}]
    });
    let settings = Settings {
        threads: 2,
        queries_max: 1,
        lanes: Default::default(),
        timeout_default: std::time::Duration::from_secs(60),
        timeout_max: std::time::Duration::from_secs(60),
        memory_bytes: 10,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    let query = Arc::new(Query::from_json(&query).unwrap());
    let budget = Arc::new(Budget::from_context(&serde_json::Map::new(), &settings).unwrap());
    let segment = segment();
    let piece = Piece::whole(segment.id().clone(), segment, query.scope().intervals.clone());
    let pool = Pool::new(2);
    let result = group::run(&query, vec![piece.clone()], &pool, &budget);
    assert!(matches!(result, Err(query::Error::ResourceLimit(_))), "{:?}", result.err());
    // Of a filtered aggregate only those groups count that get a value.
    let large = |filter: serde_json::Value| {
        let buckets = json!({"type": "fixedBucketsHistogram", "name": "h", "fieldName": "nothing", "numBuckets": 65_536,
            "lowerLimit": 0, "upperLimit": 1});
        let filtered = json!({"type": "filtered", "filter": filter, "aggregator": buckets});
        let json = json!({"queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "dimensions": ["city"], "aggregations": [filtered]});
        let budget =
            Budget::from_context(&serde_json::Map::new(), &Settings { memory_bytes: 400_000, ..settings.clone() });
        let run = group::run(
            &Arc::new(Query::from_json(&json).unwrap()),
            vec![piece.clone()],
            &pool,
            &Arc::new(budget.unwrap()),
        );
        run.map(|_| ())
    };
    let none = json!({"type": "equals", "column": "city", "matchValueType": "STRING", "matchValue": "nowhere"});
    assert!(matches!(large(json!({"type": "true"})), Err(query::Error::ResourceLimit(_))));
    assert!(large(none).is_ok());
    budget.cancel();
    let result = group::run(&query, vec![piece], &pool, &budget);
    assert!(matches!(result, Err(query::Error::Cancelled(_))), "{:?}", result.err());
}
