//! Queries through the door: Druid's JSON in, Druid's JSON out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use query::language::response::{Format, respond, respond_arrays};
use query::policy::{Action, Kind, Role, Rules};
use query::{Broker, Budget, Error, Principal, Query, Result, Settings};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use segment::block::Value;
use segment::inventory::{Change, Inventory, Served};
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval, parse_timestamp};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

use crate::cluster::spread;
use crate::dimension;

pub fn settings() -> Settings {
    Settings {
        threads: 2,
        queries_max: 8,
        lanes: Default::default(),
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(600),
        memory_bytes: 1 << 30,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    }
}

fn schema() -> Schema {
    Schema {
        dimensions: vec![
            dimension("page", ValueType::String),
            dimension("tags", ValueType::String),
            dimension("added", ValueType::Long),
            dimension("ratio", ValueType::Float),
            dimension("score", ValueType::Double),
        ],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    }
}

fn at(text: &str) -> i64 {
    parse_timestamp(text).expect("a valid time")
}

fn id(interval: &str, partition: u32) -> SegmentId {
    SegmentId {
        datasource: "wiki".into(),
        interval: Interval::parse(interval).expect("a valid interval"),
        version: "2026-01-01T00:00:00.000Z".into(),
        partition,
    }
}

/// Two days of three rows.
pub fn inventory() -> Arc<Inventory> {
    let text = Value::text;
    let row = |time: &str, page: Value, tags: Value, added: i64, ratio: f64, score: f64| {
        let fields = vec![
            ("page", page),
            ("tags", tags),
            ("added", Value::Long(added)),
            ("ratio", Value::Double(f64::from(ratio as f32))),
            ("score", Value::Double(score)),
        ];
        (at(time), fields)
    };
    let tags = Value::List(vec![text("x"), text("y")]);
    let first = [
        row("2026-03-01T00:10", text("Ada"), tags, 5, 0.1, 1.0),
        row("2026-03-01T02:20", text("Babbage"), text("x"), 7, 0.5, f64::NAN),
        row("2026-03-01T02:30", Value::Null, Value::Null, 1, 2.0, 1e10),
    ];
    let second = [row("2026-03-02T12:00", text("Ada"), text("y"), 2, 4.0, 0.5)];
    let inventory = Arc::new(Inventory::new());
    let serve = |id: SegmentId, rows: &[_]| {
        let segment = Arc::new(Segment::from_rows(id.clone(), &schema(), rows));
        Change::Serve(id, Served::Published(segment))
    };
    inventory
        .apply(vec![serve(id("2026-03-01/2026-03-02", 0), &first), serve(id("2026-03-02/2026-03-03", 0), &second)]);
    inventory
}

pub async fn ask(broker: &Broker, json: &Json) -> Result<String> {
    ask_as(broker, &Principal::new("test"), json).await
}

pub async fn ask_as(broker: &Broker, who: &Principal, json: &Json) -> Result<String> {
    let empty = serde_json::Map::new();
    let context = json["context"].as_object().unwrap_or(&empty);
    let query = Query::from_json(json)?;
    let budget = Budget::from_context(context, broker.settings())?;
    let format = Format::from_context(context, false)?;
    let answer = broker.answer(query.clone(), who, budget).await?;
    let mut body = Vec::new();
    let mut chunks = respond(&query, answer, format);
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(body).expect("JSON is UTF-8"))
}

/// The body of an answer to a query as it is.
pub async fn ask_query(broker: &Broker, who: &Principal, query: &Query) -> Result<String> {
    let empty = serde_json::Map::new();
    let budget = Budget::from_context(&empty, broker.settings())?;
    let answer = broker.answer(query.clone(), who, budget).await?;
    let mut body = Vec::new();
    let mut chunks = respond(query, answer, Format::from_context(&empty, false)?);
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(body).expect("JSON is UTF-8"))
}

#[track_caller]
fn check(json: Json, expected: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    let body = runtime.block_on(ask(&broker, &json)).expect("an answer");
    assert_eq!(body, expected);
    // The same of nodes that have some of the segments each.
    for seed in 0..4 {
        let (whole, open) = (inventory(), query::Authorizer::open());
        let mut rng = SmallRng::seed_from_u64(seed);
        let (_view, broker) = spread(&whole, &["wiki"], &mut rng, &settings(), &open, &BTreeMap::new());
        let body = runtime.block_on(ask(&broker, &json)).expect("an answer of the cluster");
        assert_eq!(body, expected, "of a cluster");
    }
    serde_json::from_str::<Json>(&body).expect("valid JSON");
}

#[track_caller]
fn refused(json: Json) -> Error {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    runtime.block_on(ask(&broker, &json)).expect_err("a refusal")
}

/// A query with what every query has.
fn query(kind: &str, more: Json) -> Json {
    let mut json = json!({"queryType": kind, "dataSource": "wiki", "intervals": ["2026-03-01/2026-03-03"]});
    let fields = json.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    json
}

fn sums() -> Json {
    json!([{"type": "count", "name": "rows"}, {"type": "longSum", "name": "added", "fieldName": "added"}])
}

#[test]
fn timeseries() {
    check(
        query("timeseries", json!({"granularity": "day", "aggregations": sums()})),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":{"rows":3,"added":13}},{"timestamp":"2026-03-02T00:00:00.000Z","result":{"rows":1,"added":2}}]"#,
    );
    check(
        query(
            "timeseries",
            json!({"granularity": "all", "aggregations": sums(), "context": {"serializeDateTimeAsLong": true}}),
        ),
        r#"[{"timestamp":1772323200000,"result":{"rows":4,"added":15}}]"#,
    );
    check(
        query(
            "timeseries",
            json!({"granularity": "day", "aggregations": [{"type": "count", "name": "rows"}], "descending": true,
            "context": {"grandTotal": true, "timestampResultField": "t"}}),
        ),
        r#"[{"timestamp":"2026-03-02T00:00:00.000Z","result":{"t":1772409600000,"rows":1}},{"timestamp":"2026-03-01T00:00:00.000Z","result":{"t":1772323200000,"rows":3}},{"timestamp":null,"result":{"t":null,"rows":4}}]"#,
    );
}

#[test]
fn timestamps_stand_in_the_zone_of_the_period() {
    check(
        query(
            "timeseries",
            json!({"aggregations": [{"type": "count", "name": "rows"}], "context": {"skipEmptyBuckets": true},
            "granularity": {"type": "period", "period": "P1D", "timeZone": "America/Los_Angeles"}}),
        ),
        r#"[{"timestamp":"2026-02-28T00:00:00.000-08:00","result":{"rows":3}},{"timestamp":"2026-03-02T00:00:00.000-08:00","result":{"rows":1}}]"#,
    );
}

#[test]
fn top_n() {
    check(
        query(
            "topN",
            json!({"granularity": "all", "dimension": "page", "metric": "added", "threshold": 2, "aggregations": sums()}),
        ),
        r#"[{"timestamp":"2026-03-01T00:10:00.000Z","result":[{"page":"Ada","rows":2,"added":7},{"page":"Babbage","rows":1,"added":7}]}]"#,
    );
    check(
        query(
            "topN",
            json!({"granularity": "all", "dimension": "page", "metric": "rows", "threshold": 2, "aggregations": sums(),
            "filter": {"type": "false"}}),
        ),
        r#"[{"timestamp":"2026-03-01T00:10:00.000Z","result":[]}]"#,
    );
    check(
        query(
            "topN",
            json!({"granularity": "hour", "dimension": "page", "metric": "rows", "threshold": 1, "aggregations": sums(),
            "intervals": ["2026-03-01/2026-03-02"]}),
        ),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":[{"page":"Ada","rows":1,"added":5}]},{"timestamp":"2026-03-01T01:00:00.000Z","result":[]},{"timestamp":"2026-03-01T02:00:00.000Z","result":[{"page":null,"rows":1,"added":1}]}]"#,
    );
}

#[test]
fn group_by() {
    check(
        query("groupBy", json!({"granularity": "day", "dimensions": ["tags"], "aggregations": sums()})),
        r#"[{"version":"v1","timestamp":"2026-03-01T00:00:00.000Z","event":{"tags":null,"rows":1,"added":1}},{"version":"v1","timestamp":"2026-03-01T00:00:00.000Z","event":{"tags":"x","rows":2,"added":12}},{"version":"v1","timestamp":"2026-03-01T00:00:00.000Z","event":{"tags":"y","rows":1,"added":5}},{"version":"v1","timestamp":"2026-03-02T00:00:00.000Z","event":{"tags":"y","rows":1,"added":2}}]"#,
    );
    check(
        query(
            "groupBy",
            json!({"granularity": "all", "dimensions": ["page"], "aggregations": sums(), "context": {"resultAsArray": true}}),
        ),
        r#"[[null,1,1],["Ada",2,7],["Babbage",1,7]]"#,
    );
    check(
        query(
            "groupBy",
            json!({"granularity": "day", "dimensions": [], "aggregations": [{"type": "count", "name": "n"}],
            "context": {"resultAsArray": true}}),
        ),
        "[[1772323200000,3],[1772409600000,1]]",
    );
}

#[test]
fn scan() {
    check(
        query("scan", json!({"columns": ["__time", "page", "tags", "ratio", "score"], "limit": 3})),
        r#"[{"segmentId":"wiki_2026-03-01T00:00:00.000Z_2026-03-02T00:00:00.000Z_2026-01-01T00:00:00.000Z","columns":["__time","page","tags","ratio","score"],"events":[{"__time":1772323800000,"page":"Ada","tags":["x","y"],"ratio":0.1,"score":1.0},{"__time":1772331600000,"page":"Babbage","tags":"x","ratio":0.5,"score":"NaN"},{"__time":1772332200000,"page":null,"tags":null,"ratio":2.0,"score":1.0E10}],"rowSignature":[{"name":"__time","type":"LONG"},{"name":"page","type":"STRING"},{"name":"tags","type":"STRING"},{"name":"ratio","type":"FLOAT"},{"name":"score","type":"DOUBLE"}]}]"#,
    );
    check(
        query(
            "scan",
            json!({"columns": ["__time", "added", "v"], "order": "descending", "offset": 1, "limit": 2, "resultFormat": "compactedList",
            "virtualColumns": [{"type": "expression", "name": "v", "expression": "added * 2", "outputType": "LONG"}]}),
        ),
        r#"[{"segmentId":null,"columns":["__time","added","v"],"events":[[1772332200000,1,2],[1772331600000,7,14]],"rowSignature":[{"name":"__time","type":"LONG"},{"name":"added","type":"LONG"},{"name":"v","type":"LONG"}]}]"#,
    );
    check(query("scan", json!({"filter": {"type": "false"}})), "[]");
}

#[test]
fn search() {
    check(
        query(
            "search",
            json!({"query": {"type": "insensitive_contains", "value": "B"}, "searchDimensions": ["page", "tags"]}),
        ),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":[{"dimension":"page","value":"Babbage","count":1}]}]"#,
    );
    check(
        query("search", json!({"searchDimensions": ["tags"], "sort": {"type": "lexicographic"}})),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":[{"dimension":"tags","value":"x","count":2},{"dimension":"tags","value":"y","count":2}]}]"#,
    );
}

#[test]
fn time_boundary() {
    let boundary = |more: Json| {
        let mut json = json!({"queryType": "timeBoundary", "dataSource": "wiki"});
        json.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json
    };
    check(
        boundary(json!({})),
        r#"[{"timestamp":"2026-03-01T00:10:00.000Z","result":{"minTime":"2026-03-01T00:10:00.000Z","maxTime":"2026-03-02T12:00:00.000Z"}}]"#,
    );
    check(
        boundary(json!({"bound": "maxTime", "filter": {"type": "selector", "dimension": "page", "value": "Babbage"}})),
        r#"[{"timestamp":"2026-03-01T02:20:00.000Z","result":{"maxTime":"2026-03-01T02:20:00.000Z"}}]"#,
    );
    check(boundary(json!({"dataSource": "nothing"})), "[]");
    check(
        json!({"queryType": "dataSourceMetadata", "dataSource": "wiki"}),
        r#"[{"timestamp":"2026-03-02T12:00:00.000Z","result":{"maxIngestedEventTime":"2026-03-02T12:00:00.000Z"}}]"#,
    );
}

#[test]
fn segment_metadata() {
    check(
        json!({"queryType": "segmentMetadata", "dataSource": "wiki", "merge": true, "toInclude": {"type": "list", "columns": ["__time", "page", "tags"]}}),
        r#"[{"id":"wiki_2026-03-02T00:00:00.000Z_2026-03-03T00:00:00.000Z_merged","intervals":["2026-03-01T00:00:00.000Z/2026-03-03T00:00:00.000Z"],"columns":{"__time":{"typeSignature":"LONG","type":"LONG","hasMultipleValues":false,"hasNulls":false,"size":0,"cardinality":null,"minValue":null,"maxValue":null,"errorMessage":null},"page":{"typeSignature":"STRING","type":"STRING","hasMultipleValues":false,"hasNulls":true,"size":0,"cardinality":3,"minValue":"Ada","maxValue":"Babbage","errorMessage":null},"tags":{"typeSignature":"STRING","type":"STRING","hasMultipleValues":true,"hasNulls":true,"size":0,"cardinality":3,"minValue":"x","maxValue":"y","errorMessage":null}},"size":0,"numRows":4,"timestampSpec":null,"queryGranularity":null,"rollup":null,"aggregators":null,"projections":null}]"#,
    );
}

#[test]
fn queries_over_queries_and_inline_rows() {
    let inner = query("groupBy", json!({"granularity": "all", "dimensions": ["page"], "aggregations": sums()}));
    check(
        query(
            "timeseries",
            json!({"dataSource": {"type": "query", "query": inner}, "granularity": "all",
            "aggregations": [{"type": "longMax", "name": "most", "fieldName": "added"}, {"type": "count", "name": "pages"}]}),
        ),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":{"most":7,"pages":3}}]"#,
    );
    check(
        json!({"queryType": "groupBy", "intervals": "1970/2000", "granularity": "all", "dimensions": ["k"],
            "aggregations": [{"type": "doubleSum", "name": "s", "fieldName": "v"}],
            "dataSource": {"type": "inline", "columnNames": ["k", "v"], "rows": [["a", 1], ["b", 2.5], ["a", 3]]}}),
        r#"[{"version":"v1","timestamp":"1970-01-01T00:00:00.000Z","event":{"k":"a","s":4.0}},{"version":"v1","timestamp":"1970-01-01T00:00:00.000Z","event":{"k":"b","s":2.5}}]"#,
    );
    check(
        query(
            "timeseries",
            json!({"dataSource": {"type": "union", "dataSources": ["wiki", "nothing"]}, "granularity": "all",
            "aggregations": [{"type": "count", "name": "rows"}]}),
        ),
        r#"[{"timestamp":"2026-03-01T00:00:00.000Z","result":{"rows":4}}]"#,
    );
}

#[test]
fn wrong_queries_are_told_where() {
    for (json, named) in [
        (json!([]), "object"),
        (json!({"queryType": "nope", "dataSource": "wiki"}), "queryType"),
        (json!({"queryType": "timeseries", "dataSource": "wiki", "granularity": "all"}), "intervals"),
        (query("timeseries", json!({})), "granularity"),
        (query("timeseries", json!({"granularity": "fortnight"})), "granularity"),
        (query("timeseries", json!({"granularity": "all", "intervals": ["2026-13-01/P1D"]})), "intervals[0]"),
        (query("timeseries", json!({"granularity": "all", "intervals": ["2026-02-02/2026-01-01"]})), "intervals[0]"),
        (query("timeseries", json!({"granularity": "all", "aggregations": [{"type": "count"}]})), "aggregations[0]"),
        (query("timeseries", json!({"granularity": "all", "limit": -1})), "limit"),
        (query("topN", json!({"granularity": "all", "dimension": "page", "metric": "x", "threshold": 2})), "metric"),
        (query("topN", json!({"granularity": "all", "dimension": "page", "metric": "x", "threshold": 0})), "threshold"),
        (query("scan", json!({"resultFormat": "csv"})), "resultFormat"),
        (query("scan", json!({"order": "ascending", "columns": ["page"]})), "__time"),
        (query("scan", json!({"filter": {"type": "selector"}})), "filter"),
        (
            query("scan", json!({"virtualColumns": [{"type": "expression", "name": "v", "expression": "1 +"}]})),
            "virtualColumns[0]",
        ),
        (
            query(
                "groupBy",
                json!({"granularity": "all", "dimensions": ["page"], "aggregations": [{"type": "count", "name": "page"}]}),
            ),
            "page",
        ),
    ] {
        match refused(json.clone()) {
            Error::Parse(text) => assert!(text.contains(named), "{json}: {text}"),
            other => panic!("{json}: {other:?}"),
        }
    }
    assert!(matches!(refused(query("scan", json!({"context": {"timeout": "soon"}}))), Error::Context(_)));
    assert!(matches!(refused(query("windowOperator", json!({}))), Error::Unsupported(_)));
    assert!(matches!(
        refused(query("scan", json!({"dataSource": {"type": "restrict", "base": "wiki"}}))),
        Error::Unsupported(_)
    ));
}

#[test]
fn incomplete_rows_are_told_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let inventory = inventory();
    let missing = Interval::parse("2026-03-02T10/2026-03-02T11").expect("a valid interval");
    inventory.apply(vec![Change::Incomplete {
        datasource: "wiki".into(),
        owner: "s".into(),
        intervals: vec![missing],
    }]);
    let broker = Broker::new(inventory, settings(), query::Authorizer::open());
    let told = query("timeseries", json!({"granularity": "all", "aggregations": sums()}));
    let answer = |json: Json| {
        let context = json["context"].as_object().cloned().unwrap_or_default();
        let budget = Budget::from_context(&context, broker.settings()).expect("a budget");
        runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), &Principal::new("test"), budget))
    };
    let context = answer(told).expect("an answer").context;
    assert_eq!(
        context.to_json().to_string(),
        r#"{"uncoveredIntervals":["2026-03-02T10:00:00.000Z/2026-03-02T11:00:00.000Z"],"uncoveredIntervalsOverflowed":false}"#
    );
    let refused = query("timeseries", json!({"granularity": "all", "context": {"returnPartialResults": false}}));
    assert!(matches!(answer(refused), Err(Error::Unavailable(_))));
    let elsewhere = query(
        "timeseries",
        json!({"granularity": "all", "intervals": "2026-03-01/P1D", "context": {"returnPartialResults": false}}),
    );
    assert_eq!(answer(elsewhere).expect("an answer").context.to_json().to_string(), "{}");
}

#[test]
fn queries_end_when_told_and_make_room() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), Settings { queries_max: 1, ..settings() }, query::Authorizer::open());
    let json = query("scan", json!({"batchSize": 1, "context": {"queryId": "slow"}}));
    let start = || {
        let context = json["context"].as_object().cloned().unwrap_or_default();
        let budget = Budget::from_context(&context, broker.settings()).expect("a budget");
        runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), &Principal::new("test"), budget))
    };
    assert!(!broker.cancel("slow", None));
    let mut answer = start().expect("an answer");
    assert!(matches!(start(), Err(Error::Capacity(_))));
    assert!(broker.cancel("slow", None));
    let last = runtime.block_on(async {
        let mut last = None;
        while let Some(batch) = answer.batches.next().await {
            last = Some(batch);
        }
        last
    });
    assert!(matches!(last, Some(Err(Error::Cancelled(_)))), "{last:?}");
    drop(answer);
    assert_eq!(broker.running(), 0);
    let answer = start().expect("an answer");
    drop(answer);
    assert_eq!(broker.running(), 0);
    assert!(start().is_ok());
}

#[test]
fn lanes_keep_places_for_what_is_in_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let lanes = [("low".to_string(), 1), ("reports".to_string(), 2)].into_iter().collect();
    let settings = Settings { queries_max: 8, lanes: Arc::new(lanes), ..settings() };
    let broker = Broker::new(inventory(), settings, query::Authorizer::open());
    let start = |context: Json| {
        let json = query("scan", json!({"batchSize": 1, "context": context}));
        let context = json["context"].as_object().cloned().unwrap_or_default();
        let budget = Budget::from_context(&context, broker.settings()).expect("a budget");
        runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), &Principal::new("test"), budget))
    };
    let low = start(json!({"priority": -1})).expect("the first");
    let refused = start(json!({"priority": -5})).expect_err("the lane is full").to_string();
    assert!(refused.contains("for lane 'low', query capacity of 1 exceeded"), "{refused}");
    assert!(start(json!({"lane": "low"})).is_err());
    // A name goes before a priority, and a lane that nobody has set bounds nothing.
    let reports = [json!({"lane": "reports", "priority": -1}), json!({"lane": "reports"})];
    let reports = reports.map(|context| start(context).expect("there are two"));
    assert!(start(json!({"lane": "reports"})).is_err());
    let _others = [json!({}), json!({"lane": "other", "priority": -1})].map(|context| start(context).expect("in none"));
    drop((low, reports));
    start(json!({"priority": -1})).expect("it is free again");
}

#[test]
fn columns_are_merged_over_segments() {
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    let who = Principal::new("test");
    let columns = broker.columns("wiki", &who).expect("the table");
    let names: Vec<(&str, bool)> = columns.iter().map(|(name, _, multi)| (name.as_str(), *multi)).collect();
    assert_eq!(
        names,
        [("__time", false), ("page", false), ("tags", true), ("added", false), ("ratio", false), ("score", false)]
    );
    assert!(broker.columns("nothing", &who).is_none());
    assert_eq!(broker.datasources(&who), ["wiki"]);
}

#[test]
fn virtual_columns_of_every_kind() {
    let of = |column: Json| {
        let query =
            query("scan", json!({"virtualColumns": [column], "columns": ["v"], "resultFormat": "compactedList"}));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let body = runtime
            .block_on(ask(&Broker::new(inventory(), settings(), query::Authorizer::open()), &query))
            .expect("an answer");
        let batches: Vec<Json> = serde_json::from_str(&body).expect("valid JSON");
        batches.iter().flat_map(|batch| batch["events"].as_array().unwrap().clone()).map(|row| row[0].clone()).collect()
    };
    let check = |column: Json, expected: Json| assert_eq!(Json::Array(of(column.clone())), expected, "{column}");
    let listed = json!({"type": "mv-filtered", "name": "v", "delegate": "tags", "values": ["x"]});
    check(listed.clone(), json!(["x", "x", null, null]));
    let mut others = listed;
    others["isAllowList"] = json!(false);
    check(others, json!(["y", null, null, "y"]));
    let delegate = json!({"type": "default", "dimension": "tags", "outputName": "tags"});
    check(
        json!({"type": "mv-regex-filtered", "name": "v", "delegate": delegate, "pattern": "^y"}),
        json!(["y", null, null, "y"]),
    );
    check(
        json!({"type": "mv-prefix-filtered", "name": "v", "delegate": "tags", "prefix": "x"}),
        json!(["x", "x", null, null]),
    );
    let object = json!({"p": {"expression": "page"}, "n": {"expression": "added + 1", "type": "LONG"}});
    check(
        json!({"type": "nested-object", "name": "v", "object": object}),
        json!([{"p": "Ada", "n": 6}, {"p": "Babbage", "n": 8}, {"p": null, "n": 2}, {"p": "Ada", "n": 3}]),
    );
    check(
        json!({"type": "nested-field", "outputName": "v", "columnName": "added", "path": "$", "expectedType": "LONG"}),
        json!([5, 7, 1, 2]),
    );
    check(
        json!({"type": "fallback", "name": "v", "columns": ["nowhere", "page", "added"]}),
        json!(["Ada", "Babbage", null, "Ada"]),
    );
    check(
        json!({"type": "fallback", "name": "v", "columns": [{"type": "default", "dimension": "added"}, "page"]}),
        json!([5, 7, 1, 2]),
    );
    check(json!({"type": "fallback", "name": "v", "columns": ["nowhere", "neither"]}), json!([null, null, null, null]));
    check(
        json!({"type": "fallback", "name": "v", "columns": ["nowhere", "__time"]}),
        json!([at("2026-03-01T00:10"), at("2026-03-01T02:20"), at("2026-03-01T02:30"), at("2026-03-02T12:00")]),
    );
    let fallback = |columns: Json| {
        refused(query("scan", json!({"virtualColumns": [{"type": "fallback", "name": "v", "columns": columns}]})))
    };
    assert!(matches!(fallback(json!([])), Error::Parse(_)));
    let extraction = json!({"type": "extraction", "dimension": "page", "extractionFn": {"type": "upper"}});
    assert!(matches!(fallback(json!([extraction])), Error::Unsupported(_)));
}

#[test]
fn a_union_has_the_rows_of_its_queries() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    let who = Principal::new("test");
    let told = |json: &Json| -> Result<Json> {
        let union = broker.parse_union(json, &who)?;
        assert_eq!(union.tables(), ["wiki"]);
        let budget = Budget::from_context(&serde_json::Map::new(), broker.settings())?;
        runtime.block_on(async {
            let answer = broker.answer_union(union, &who, budget).await?;
            let mut chunks = respond_arrays(answer, Format::default());
            let mut body = Vec::new();
            while let Some(chunk) = chunks.next().await {
                body.extend_from_slice(&chunk?);
            }
            Ok(serde_json::from_slice(&body).expect("valid JSON"))
        })
    };
    let union =
        |queries: Json| json!({"queryType": "union", "queries": queries, "context": {"skipEmptyBuckets": true}});
    let grouped = query("groupBy", json!({"granularity": "all", "dimensions": ["page"], "aggregations": sums()}));
    let top = query(
        "topN",
        json!({"granularity": "all", "dimension": "page", "metric": "added", "threshold": 1,
        "aggregations": [{"type": "longSum", "name": "added", "fieldName": "added"}]}),
    );
    let series = query("timeseries", json!({"granularity": "hour", "aggregations": sums()}));
    let scan = query("scan", json!({"columns": ["__time", "page", "added"], "order": "ascending", "limit": 2}));
    let first = at("2026-03-01T00:00");
    assert_eq!(
        told(&union(json!([grouped, top, series, scan]))).expect("an answer"),
        json!([
            [null, 1, 1],
            ["Ada", 2, 7],
            ["Babbage", 1, 7],
            [at("2026-03-01T00:10"), "Ada", 7],
            [first, 1, 5],
            [at("2026-03-01T02:00"), 2, 8],
            [at("2026-03-02T12:00"), 1, 2],
            [at("2026-03-01T00:10"), "Ada", 5],
            [at("2026-03-01T02:20"), "Babbage", 7],
        ])
    );
    let none = query("scan", json!({"columns": ["page"], "filter": {"type": "false"}}));
    assert_eq!(told(&union(json!([none, none]))).expect("an answer"), json!([]));
    for (queries, words) in [
        (json!([scan]), "must be 2 to"),
        (json!([grouped, none]), "queries[1]: its rows have 1 columns, and those of queries[0] have 3"),
        (json!([query("scan", json!({})), scan]), "queries[0].columns"),
        (json!([scan, query("search", json!({"query": {"type": "all"}}))]), "not of search"),
        (json!([scan, union(json!([scan, scan]))]), "queries[1].queryType"),
        (json!([scan, query("scan", json!({"columns": ["x"], "filter": {"type": "no"}}))]), "queries[1].filter"),
    ] {
        let error = told(&union(queries)).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    // Not within another query.
    let within = query("scan", json!({"dataSource": {"type": "query", "query": union(json!([scan, scan]))}}));
    assert!(matches!(refused(within), Error::Unsupported(_)));
}

#[test]
fn answers_are_told_apart_by_segment() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
    let told = |json: &Json| {
        let query = broker.parse(json, &Principal::new("test")).expect("a query");
        let budget = Budget::from_context(&serde_json::Map::new(), broker.settings()).expect("a budget");
        let who = Principal::new("test");
        let asked = broker.answer_by_segment(&query, &who, budget, Format::default());
        runtime.block_on(asked).map(|(body, _)| serde_json::from_slice::<Json>(&body).expect("valid JSON"))
    };
    let series = json!({"queryType": "timeseries", "dataSource": "wiki", "granularity": "all",
        "intervals": ["2026-03-01/2026-03-03"], "aggregations": [{"type": "count", "name": "rows"}]});
    let all = runtime.block_on(ask(&broker, &series)).expect("an answer");
    let all: Json = serde_json::from_str(&all).expect("valid JSON");
    let parts = told(&series).expect("an answer");
    let parts = parts.as_array().expect("a list");
    assert!(parts.len() > 1, "{parts:?}");
    let mut rows = 0;
    for part in parts {
        let name = part["result"]["segment"].as_str().expect("a segment");
        let start = part["timestamp"].as_str().expect("a time");
        assert!(name.starts_with(&format!("wiki_{start}_")), "{name}");
        assert!(part["result"]["interval"].as_str().expect("an interval").starts_with(start));
        rows += part["result"]["results"][0]["result"]["rows"].as_i64().expect("a count");
    }
    assert_eq!(json!(rows), all[0]["result"]["rows"]);
    let inline = json!({"type": "inline", "columnNames": ["a"], "rows": [[1]]});
    let mut other = series;
    other["dataSource"] = inline;
    assert!(matches!(told(&other), Err(Error::Unsupported(_))));
}

/// Rules of a role that sees all of `wiki`, and of one that sees the pages of Ada.
fn two_roles() -> Arc<query::Authorizer> {
    let read = json!([{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}]);
    let policy = json!([{"name": "own", "datasource": "wiki",
        "filter": {"type": "equals", "column": "page", "matchValueType": "STRING", "matchValue": "Ada"}}]);
    let roles = [("all", json!({"permissions": read})), ("some", json!({"permissions": read, "policies": policy}))];
    let roles = roles.map(|(name, role)| (name.to_string(), serde_json::from_value(role).expect("a role")));
    let rules = Rules::new(1, roles.into(), BTreeMap::new(), BTreeSet::new(), String::new()).expect("rules");
    query::Authorizer::new(rules)
}

fn with_role(name: &str, role: &str) -> Principal {
    let mut who = Principal::new(name);
    who.roles.insert(role.to_string());
    who
}

#[test]
fn nobody_keeps_all_places_of_queries() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = Broker::new(inventory(), Settings { queries_max: 8, ..settings() }, two_roles());
    let start = |who: &Principal| {
        let json = query("scan", json!({"batchSize": 1}));
        let budget = Budget::from_context(&serde_json::Map::new(), broker.settings()).expect("a budget");
        runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), who, budget))
    };
    let (greedy, modest) = (with_role("greedy", "all"), with_role("modest", "all"));
    let _held: Vec<_> = (0..6).map(|_| start(&greedy).expect("a place")).collect();
    let refused = start(&greedy).expect_err("the others are for others").to_string();
    assert!(refused.contains("[6] of [8] places are taken by you"), "{refused}");
    start(&modest).expect("one of the others");
}

/// A statement counts from its beginning on, also if no query comes of it, and once with the first of its queries.
#[test]
fn a_statement_has_one_place_whatever_it_becomes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let lanes = Arc::new([("reports".to_string(), 1)].into());
    let broker = Broker::new(inventory(), Settings { queries_max: 8, lanes, ..settings() }, two_roles());
    let budget = |context: Json| {
        let context = context.as_object().cloned().unwrap_or_default();
        Arc::new(Budget::from_context(&context, broker.settings()).expect("a budget"))
    };
    let (greedy, modest) = (with_role("greedy", "all"), with_role("modest", "all"));
    let begin = |who: &Principal| {
        let budget = budget(json!({}));
        broker.begin(&budget, who).map(|place| (place, budget))
    };
    let held: Vec<_> = (0..6).map(|_| begin(&greedy).expect("a place")).collect();
    let refused = begin(&greedy).err().expect("the others are for others").to_string();
    assert!(refused.contains("[6] of [8] places are taken by you"), "{refused}");
    let part = |of: &Arc<Budget>| {
        let mut own = Budget::from_context(&serde_json::Map::new(), broker.settings()).expect("a budget");
        own.join(of);
        let json = query("scan", json!({"batchSize": 1}));
        runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), &greedy, own))
    };
    let first = part(&held[0].1).expect("it has the place of its statement");
    assert_eq!(broker.running(), 6);
    assert!(matches!(part(&held[0].1), Err(Error::Capacity(_))), "another is one more");
    drop(first);
    assert_eq!(broker.running(), 6);
    let others = [begin(&modest), begin(&modest)].map(|other| other.expect("a place"));
    let refused = begin(&with_role("late", "all")).err().expect("all are taken").to_string();
    assert!(refused.contains("the server runs [8] at once"), "{refused}");
    drop((held, others));
    assert_eq!(broker.running(), 0);

    let report = budget(json!({"lane": "reports"}));
    let place = broker.begin(&report, &modest).expect("the place of the lane");
    assert!(broker.begin(&budget(json!({"lane": "reports"})), &greedy).is_err());
    drop(place);
    assert!(broker.begin(&budget(json!({"lane": "reports"})), &greedy).is_ok());
}

/// What becomes of a query when nodes are gone tells nothing of where there are rows to who sees only some of them.
#[test]
fn a_node_that_is_gone_is_met_wherever_one_looks() {
    use crate::cluster::Fault;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut rng = SmallRng::seed_from_u64(1);
    let (view, broker) = spread(&inventory(), &["wiki"], &mut rng, &settings(), &two_roles(), &BTreeMap::new());
    let (all, some) = (with_role("a", "all"), with_role("b", "some"));
    let days = ["2026-03-01/P1D", "2026-03-02/P1D", "2026-04-01/P1D"];
    let ask = |who: &Principal, day: &str, kind: &str, context: Json| {
        let extra = json!({"granularity": "all", "intervals": day, "context": context});
        let json = query(kind, extra);
        let context = json["context"].as_object().cloned().unwrap_or_default();
        let budget = Budget::from_context(&context, broker.settings()).expect("a budget");
        let answer = runtime.block_on(broker.answer(Query::from_json(&json).expect("a query"), who, budget));
        answer.map(|answer| answer.context.uncovered.clone())
    };
    let whole = |day: &str| vec![Interval::parse(day).expect("an interval")];
    for kind in ["timeseries", "scan"] {
        for day in days {
            assert_eq!(ask(&some, day, kind, json!({})).expect("all are there"), [], "{day}");
        }
        for node in view.nodes.values() {
            *node.always.lock() = Some(Fault::Unreachable);
        }
        for day in days {
            let told = ask(&some, day, kind, json!({"returnPartialResults": true})).expect("an answer that tells");
            assert_eq!(told, whole(day), "{kind}");
            let refused = ask(&some, day, kind, json!({"returnPartialResults": false}));
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{kind} {day}: {refused:?}");
        }
        // Nor is it told what is broken, whose name says where it is.
        for node in view.nodes.values() {
            *node.always.lock() = Some(Fault::Broken { mends: false });
        }
        for (who, named) in [(&some, false), (&all, true)] {
            let refused =
                ask(who, days[0], kind, json!({"returnPartialResults": false})).expect_err("nothing is whole");
            let why = refused.to_string();
            assert!(why.contains("no copy is whole"), "{kind}: {why}");
            assert_eq!(why.contains("a column"), named, "{kind}: {why}");
        }
        // Who sees all rows may know where they are.
        assert_eq!(ask(&all, days[2], kind, json!({"returnPartialResults": false})).expect("nobody is asked"), []);
        assert!(ask(&all, days[0], kind, json!({"returnPartialResults": false})).is_err());
        for node in view.nodes.values() {
            *node.always.lock() = None;
        }
    }
}

/// A role for all datasources is not one for what the store keeps of itself.
#[test]
fn a_system_table_is_no_datasource() {
    let role = |kind: &str, name: &str| -> Role {
        let permission = json!({"resource": {"type": kind, "name": name}, "action": "READ"});
        serde_json::from_value(json!({"permissions": [permission]})).unwrap()
    };
    let roles = [("all", role("DATASOURCE", ".*")), ("auditor", role("SYSTEM_TABLE", "audit"))];
    let roles = roles.map(|(name, role)| (name.to_string(), role)).into();
    let rules = Rules::new(1, roles, BTreeMap::new(), BTreeSet::new(), String::new()).unwrap();
    let may = |role: &str, kind: Kind, name: &str| {
        let mut who = Principal::new("somebody");
        who.roles.insert(role.to_string());
        rules.may(&who, kind, name, Action::Read)
    };
    for kind in [Kind::Datasource, Kind::Supervisor, Kind::Task] {
        assert!(!may("all", kind, "sys.audit") && may("auditor", kind, "sys.audit"), "{kind:?}");
    }
    assert!(may("all", Kind::Datasource, "orders") && !may("auditor", Kind::Datasource, "orders"));
}
