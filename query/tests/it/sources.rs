//! Data sources made of others: joins, unnestings, filters, lookups and unions of these, by example and against the
//! plainest way to make their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use query::{Broker, Budget, Error, Principal, Result};
use segment::lookup::Lookup;
use serde_json::{Value as Json, json};

use crate::broker::{inventory, settings};

pub struct Fixture {
    runtime: tokio::runtime::Runtime,
    broker: Arc<Broker>,
}

impl Fixture {
    pub fn new() -> Fixture {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let broker = Broker::new(inventory(), settings(), query::Authorizer::open());
        let names = [("Ada".to_string(), "Lovelace".to_string()), ("Grace".to_string(), "Hopper".to_string())];
        let lookup = Arc::new(Lookup::new("v1".into(), names));
        broker.lookups().replace(BTreeMap::from([("names".to_string(), lookup)]));
        Fixture { runtime, broker }
    }

    pub fn ask(&self, json: &Json) -> Result<Json> {
        use futures::StreamExt;
        use query::language::response::{Format, respond};
        self.runtime.block_on(async {
            let empty = serde_json::Map::new();
            let context = json["context"].as_object().unwrap_or(&empty);
            let query = self.broker.parse(json, &Principal::new("test"))?;
            let budget = Budget::from_context(context, self.broker.settings())?;
            let answer = self.broker.answer(query.clone(), &Principal::new("test"), budget).await?;
            let mut body = Vec::new();
            let mut chunks = respond(&query, answer, Format::from_context(context, false)?);
            while let Some(chunk) = chunks.next().await {
                body.extend_from_slice(&chunk?);
            }
            Ok(serde_json::from_slice(&body).expect("valid JSON"))
        })
    }

    /// The rows of a scan of some columns, as arrays.
    fn scan(&self, source: Json, columns: &[&str]) -> Result<Vec<Json>> {
        let query = json!({"queryType": "scan", "dataSource": source, "intervals": ["1000/3000"], "columns": columns,
            "resultFormat": "compactedList"});
        let batches = self.ask(&query)?;
        let rows = batches.as_array().expect("batches").iter().flat_map(|batch| {
            assert_eq!(batch["segmentId"], Json::Null, "rows that were made are of no segment");
            batch["events"].as_array().expect("rows").clone()
        });
        Ok(rows.collect())
    }

    #[track_caller]
    fn check(&self, source: Json, columns: &[&str], expected: Json) {
        assert_eq!(Json::from(self.scan(source, columns).expect("an answer")), expected);
    }
}

fn inline(columns: &[&str], rows: Json) -> Json {
    json!({"type": "inline", "columnNames": columns, "rows": rows})
}

fn join(left: Json, right: Json, kind: &str, condition: &str) -> Json {
    json!({"type": "join", "left": left, "right": right, "rightPrefix": "r.", "joinType": kind, "condition": condition})
}

#[test]
fn a_join_puts_rows_next_to_each_other() {
    let f = Fixture::new();
    let left = || inline(&["a", "n"], json!([["x", 1], ["y", 2], [null, 3], ["z", 4]]));
    let right = || inline(&["k", "v"], json!([["x", 10], ["y", 20], ["y", 21], [null, 30]]));
    let columns = ["a", "n", "r.v"];
    let inner = json!([["x", 1, 10], ["y", 2, 20], ["y", 2, 21]]);
    f.check(join(left(), right(), "INNER", "a == \"r.k\""), &columns, inner.clone());
    f.check(join(left(), right(), "INNER", "\"r.k\" == a"), &columns, inner);
    f.check(
        join(left(), right(), "LEFT", "a == \"r.k\""),
        &columns,
        json!([["x", 1, 10], ["y", 2, 20], ["y", 2, 21], [null, 3, null], ["z", 4, null]]),
    );
    f.check(
        join(left(), right(), "RIGHT", "a == \"r.k\""),
        &columns,
        json!([["x", 1, 10], ["y", 2, 20], ["y", 2, 21], [null, null, 30]]),
    );
    f.check(
        join(left(), right(), "FULL", "a == \"r.k\" && \"r.v\" != 20"),
        &columns,
        json!([["x", 1, 10], ["y", 2, 21], [null, 3, null], ["z", 4, null], [null, null, 20], [null, null, 30]]),
    );
    // No row of the left side: its columns are null.
    let few = json!({"type": "filter", "base": left(), "filter": {"type": "selector", "dimension": "a", "value": "z"}});
    f.check(join(few, inline(&["k"], json!([[1]])), "RIGHT", "a == \"r.k\""), &["a", "r.k"], json!([[null, 1]]));
    // The query's interval is of the left side, whose rows are of 1970 here; no row of the right side is outside of it.
    let counted = json!({"queryType": "timeseries", "dataSource": join(left(), right(), "FULL", "a == \"r.k\""),
        "intervals": ["2026-01-01/2027-01-01"], "granularity": "all",
        "aggregations": [{"type": "count", "name": "c"}, {"type": "longSum", "name": "v", "fieldName": "r.v"},
            {"type": "longSum", "name": "n", "fieldName": "n"}]});
    let result = &f.ask(&counted).expect("an answer")[0]["result"];
    assert_eq!(*result, json!({"c": 4, "v": 81, "n": null}));
    // Null equals null only where it is asked to.
    f.check(
        join(left(), right(), "INNER", "notdistinctfrom(a, \"r.k\")"),
        &columns,
        json!([["x", 1, 10], ["y", 2, 20], ["y", 2, 21], [null, 3, 30]]),
    );
    // What is compared may be computed, is read in the type of the right side, and more may be asked of a pair.
    f.check(
        join(left(), right(), "INNER", "n * 10 == \"r.v\""),
        &columns,
        json!([["x", 1, 10], ["y", 2, 20], [null, 3, 30]]),
    );
    f.check(
        join(left(), right(), "LEFT", "a == \"r.k\" && \"r.v\" > n * 10"),
        &columns,
        json!([["x", 1, null], ["y", 2, 21], [null, 3, null], ["z", 4, null]]),
    );
    f.check(
        join(left(), inline(&["k"], json!([["2"], ["4"], ["no"]])), "INNER", "n == \"r.k\""),
        &["n", "r.k"],
        json!([[2, "2"], [4, "4"]]),
    );
    // No equality at all: every row with every row.
    f.check(
        join(inline(&["a"], json!([[1], [2]])), inline(&["k"], json!([[1], [2]])), "INNER", "a < \"r.k\""),
        &["a", "r.k"],
        json!([[1, 2]]),
    );
}

#[test]
fn a_join_stands_in_other_sources_and_under_every_query() {
    let f = Fixture::new();
    let wiki = || join(json!("wiki"), json!({"type": "lookup", "lookup": "names"}), "LEFT", "page == \"r.k\"");
    let group = |source: Json, more: Json| {
        let mut query = json!({"queryType": "groupBy", "dataSource": source, "granularity": "all",
            "intervals": ["2026-03-01/2026-03-03"], "dimensions": ["r.v"],
            "aggregations": [{"type": "count", "name": "rows"}, {"type": "longSum", "name": "added", "fieldName": "added"}]});
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let rows = f.ask(&query).expect("an answer");
        rows.as_array().unwrap().iter().map(|row| row["event"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        group(wiki(), json!({})),
        [json!({"r.v": null, "rows": 2, "added": 8}), json!({"r.v": "Lovelace", "rows": 2, "added": 7})]
    );
    // Intervals and conditions are those of the left side.
    assert_eq!(
        group(wiki(), json!({"intervals": ["2026-03-02/2026-03-03"]})),
        [json!({"r.v": "Lovelace", "rows": 1, "added": 2})]
    );
    assert_eq!(
        group(wiki(), json!({"filter": {"type": "range", "column": "added", "matchValueType": "LONG", "lower": 5}})),
        [json!({"r.v": null, "rows": 1, "added": 7}), json!({"r.v": "Lovelace", "rows": 1, "added": 5})]
    );
    let mut filtered = wiki();
    filtered["leftFilter"] =
        json!({"type": "equals", "column": "page", "matchValueType": "STRING", "matchValue": "Ada"});
    assert_eq!(group(filtered, json!({})), [json!({"r.v": "Lovelace", "rows": 2, "added": 7})]);
    // A join of a join, and a query over a join.
    let twice = json!({"type": "join", "left": wiki(), "right": inline(&["name", "born"], json!([["Lovelace", 1815]])),
        "rightPrefix": "s.", "joinType": "INNER", "condition": "\"r.v\" == \"s.name\""});
    f.check(twice, &["page", "added", "s.born"], json!([["Ada", 5, 1815], ["Ada", 2, 1815]]));
    let inner = json!({"queryType": "groupBy", "dataSource": wiki(), "granularity": "all", "intervals": ["1000/3000"],
        "dimensions": ["r.v"], "aggregations": [{"type": "count", "name": "rows"}]});
    f.check(json!({"type": "query", "query": inner}), &["r.v", "rows"], json!([[null, 2], ["Lovelace", 2]]));
    let series = json!({"queryType": "timeseries", "dataSource": wiki(), "granularity": "day",
        "intervals": ["2026-03-01/2026-03-03"], "aggregations": [{"type": "count", "name": "rows"}]});
    assert_eq!(f.ask(&series).unwrap()[1]["result"]["rows"], 1);
}

#[test]
fn an_unnesting_gives_a_row_for_each_element() {
    let f = Fixture::new();
    let unnest = |expression: &str, more: Json| {
        let mut source = json!({"type": "unnest", "base": "wiki",
            "virtualColumn": {"type": "expression", "name": "u", "expression": expression, "outputType": "STRING"}});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let all = json!([["Ada", "x"], ["Ada", "y"], ["Babbage", "x"], [null, null], ["Ada", "y"]]);
    f.check(unnest("tags", json!({})), &["page", "u"], all.clone());
    f.check(unnest("mv_to_array(tags)", json!({})), &["page", "u"], all);
    // Of an array that is empty or missing nothing comes.
    let arrays = inline(&["id", "t"], json!([[1, "a,b"], [2, ""], [3, null]]));
    f.check(
        unnest("string_to_array(t, ',')", json!({"base": arrays})),
        &["id", "u"],
        json!([[1, "a"], [1, "b"], [2, ""]]),
    );
    let filter =
        json!({"unnestFilter": {"type": "equals", "column": "u", "matchValueType": "STRING", "matchValue": "y"}});
    f.check(unnest("tags", filter), &["page", "u"], json!([["Ada", "y"], ["Ada", "y"]]));
    let query = json!({"queryType": "groupBy", "dataSource": unnest("tags", json!({})), "granularity": "all",
        "intervals": ["2026-03-01/2026-03-02"], "dimensions": ["u"],
        "aggregations": [{"type": "longSum", "name": "added", "fieldName": "added"}]});
    let rows = f.ask(&query).unwrap();
    let events: Vec<&Json> = rows.as_array().unwrap().iter().map(|row| &row["event"]).collect();
    assert_eq!(
        events,
        [&json!({"u": null, "added": 1}), &json!({"u": "x", "added": 12}), &json!({"u": "y", "added": 5})]
    );
}

#[test]
fn filters_lookups_and_unions_are_sources() {
    let f = Fixture::new();
    f.check(
        json!({"type": "lookup", "lookup": "names"}),
        &["k", "v"],
        json!([["Ada", "Lovelace"], ["Grace", "Hopper"]]),
    );
    let ada = json!({"type": "equals", "column": "page", "matchValueType": "STRING", "matchValue": "Ada"});
    let filtered = json!({"type": "filter", "base": "wiki", "filter": ada});
    let union =
        json!({"type": "union", "dataSources": [filtered.clone(), inline(&["page", "more"], json!([["Z", 1]]))]});
    let all = json!([["Ada", 5, null], ["Ada", 2, null], ["Z", null, 1]]);
    // A list is one too.
    f.check(union["dataSources"].clone(), &["page", "added", "more"], all.clone());
    f.check(union, &["page", "added", "more"], all);
    // A virtual column of the query is none of the filter's.
    let query = json!({"queryType": "timeseries", "dataSource": filtered, "granularity": "all",
        "intervals": ["2026-03-01/2026-03-03"],
        "virtualColumns": [{"type": "expression", "name": "page", "expression": "'Babbage'", "outputType": "STRING"}],
        "aggregations": [{"type": "count", "name": "rows"}]});
    assert_eq!(f.ask(&query).unwrap()[0]["result"]["rows"], 2);
}

#[test]
fn what_is_wrong_is_named() {
    let f = Fixture::new();
    let wiki = || json!("wiki");
    for (source, named) in [
        (join(wiki(), wiki(), "SIDEWAYS", "page == \"r.page\""), "joinType"),
        (join(wiki(), wiki(), "INNER", "page =="), "condition"),
        (
            json!({"type": "join", "left": "wiki", "right": "wiki", "rightPrefix": "_", "joinType": "INNER", "condition": "1"}),
            "rightPrefix",
        ),
        (json!({"type": "lookup", "lookup": "none"}), "none"),
        (json!({"type": "unnest", "base": "wiki"}), "virtualColumn"),
        (json!({"type": "filter", "base": "wiki"}), "filter"),
        (json!({"type": "restrict", "base": "wiki"}), "restrict"),
        (json!({"type": "union", "dataSources": []}), "dataSources"),
        (json!([]), "give at least one"),
        (json!([1]), "dataSource[0]"),
    ] {
        let error = f.scan(source, &["page"]).expect_err(named);
        assert!(error.to_string().contains(named), "{error}");
    }
    let several =
        f.scan(join(wiki(), json!({"type": "lookup", "lookup": "names"}), "INNER", "tags == \"r.k\""), &["page"]);
    assert!(several.expect_err("a refusal").to_string().contains("tags"));
    let mut deep = wiki();
    for _ in 0..20 {
        deep = json!({"type": "filter", "base": deep, "filter": {"type": "true"}});
    }
    assert!(matches!(f.scan(deep, &["page"]), Err(Error::Parse(_))));
}

#[test]
fn what_is_made_counts_in_the_budget() {
    let f = Fixture::new();
    let rows: Vec<Json> = (0..400).map(|n| json!([n])).collect();
    let cross = || join(inline(&["a"], rows.clone().into()), inline(&["k"], rows.clone().into()), "INNER", "1");
    let count = |context: Json| {
        f.ask(
            &json!({"queryType": "timeseries", "dataSource": cross(), "granularity": "all", "intervals": ["1000/3000"],
            "aggregations": [{"type": "count", "name": "rows"}], "context": context}),
        )
    };
    assert_eq!(count(json!({})).unwrap()[0]["result"]["rows"], 160_000);
    assert!(matches!(count(json!({"maxQueryMemoryBytes": 1 << 20})), Err(Error::ResourceLimit(_))));
    assert!(matches!(count(json!({"maxSubqueryRows": 300})), Err(Error::ResourceLimit(_))));
    assert!(
        matches!(count(json!({"maxSubqueryBytes": 3000})), Err(Error::ResourceLimit(text)) if text.contains("3000"))
    );
    assert!(matches!(count(json!({"maxSubqueryBytes": "much"})), Err(Error::Context(_))));
    for free in ["auto", "disabled", "1000000"] {
        assert!(count(json!({"maxSubqueryBytes": free})).is_ok(), "{free}");
    }
}

#[test]
fn texts_count_as_long_as_they_are() {
    let f = Fixture::new();
    let long = "x".repeat(10_000);
    let rows: Vec<Json> = (0..100).map(|n| json!([format!("{n}{long}")])).collect();
    let count = |source: Json, memory: u64| {
        let query = json!({"queryType": "timeseries", "dataSource": source, "granularity": "all",
            "intervals": ["1000/3000"], "aggregations": [{"type": "count", "name": "rows"}],
            "context": {"maxQueryMemoryBytes": memory}});
        f.ask(&query).map(|answer| answer[0]["result"]["rows"].clone())
    };
    let (wide, narrow) = (inline(&["k"], rows.clone().into()), inline(&["a"], json!([[1]])));
    let sources = [
        wide.clone(),
        join(narrow.clone(), wide.clone(), "INNER", "1"),
        join(wide.clone(), wide.clone(), "INNER", "k == \"r.k\""),
        json!({"type": "filter", "base": wide, "filter": {"type": "true"}}),
    ];
    for source in sources {
        assert_eq!(count(source.clone(), 64 << 20).unwrap(), 100);
        assert!(matches!(count(source.clone(), 1 << 20), Err(Error::ResourceLimit(_))), "{source}");
    }
    // Few texts cost little, however many rows have them.
    let rows: Vec<Json> = (0..50_000).map(|_| json!([1])).collect();
    assert!(count(join(inline(&["n"], rows.into()), narrow, "LEFT", "1"), 8 << 20).is_ok());
}

/// A text, a number, and a list.
type Row = (Option<u8>, Option<i64>, Vec<u8>);

fn table() -> impl Strategy<Value = Vec<Row>> {
    let row = (proptest::option::of(0..4u8), proptest::option::of(0..4i64), proptest::collection::vec(0..3u8, 0..4));
    proptest::collection::vec(row, 0..12)
}

fn text(value: Option<u8>) -> Json {
    value.map_or(Json::Null, |value| format!("t{value}").into())
}

fn source(rows: &[Row]) -> Json {
    let row = |(t, n, list): &Row| {
        let joined: Vec<String> = list.iter().map(|value| format!("t{value}")).collect();
        json!([text(*t), n, if list.is_empty() { Json::Null } else { joined.join(",").into() }])
    };
    json!({"type": "inline", "columnNames": ["t", "n", "l"], "columnTypes": ["STRING", "LONG", "STRING"],
        "rows": rows.iter().map(row).collect::<Vec<_>>()})
}

fn sorted(mut rows: Vec<Json>) -> Vec<Json> {
    rows.sort_by_key(Json::to_string);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A join under a filter of the query is a loop over both sides.
    #[test]
    fn joins_are_nested_loops(left in table(), right in table(), keeps in 0..4usize, kind in 0..4usize, least in 0..3i64) {
        let f = Fixture::new();
        let (condition, meets): (&str, fn(&Row, &Row) -> bool) = [
            ("t == \"r.t\"", (|a: &Row, b: &Row| a.0.is_some() && a.0 == b.0) as fn(&Row, &Row) -> bool),
            ("t == \"r.t\" && n == \"r.n\"", |a, b| a.0.is_some() && a.1.is_some() && a.0 == b.0 && a.1 == b.1),
            ("n + 1 == \"r.n\"", |a, b| a.1.is_some_and(|n| b.1 == Some(n + 1))),
            ("t == \"r.t\" && n < \"r.n\"", |a, b| {
                a.0.is_some() && a.0 == b.0 && matches!((a.1, b.1), (Some(a), Some(b)) if a < b)
            }),
        ][kind];
        let mut expected = Vec::new();
        let (keeps_left, keeps_right) = (keeps & 1 == 1, keeps & 2 == 2);
        // A condition on the left side would drop what a right side keeps.
        for a in left.iter().filter(|a| keeps_right || a.1.is_some_and(|n| n >= least)) {
            let mut any = false;
            for b in right.iter().filter(|b| meets(a, b)) {
                any = true;
                expected.push(json!([text(a.0), a.1, text(b.0), b.1]));
            }
            if !any && keeps_left {
                expected.push(json!([text(a.0), a.1, null, null]));
            }
        }
        for b in right.iter().filter(|b| keeps_right && !left.iter().any(|a| meets(a, b))) {
            expected.push(json!([null, null, text(b.0), b.1]));
        }
        let kind = ["INNER", "LEFT", "RIGHT", "FULL"][keeps];
        let joined = join(source(&left), source(&right), kind, condition);
        let source = if keeps_right { joined } else { json!({"type": "filter", "base": joined,
            "filter": {"type": "range", "column": "n", "matchValueType": "LONG", "lower": least}}) };
        let found = f.scan(source, &["t", "n", "r.t", "r.n"]).expect("an answer");
        prop_assert_eq!(sorted(found), sorted(expected));
    }

    /// An unnesting is a loop over the elements.
    #[test]
    fn unnestings_are_loops(rows in table(), only in proptest::option::of(0..3u8)) {
        let f = Fixture::new();
        let mut expected = Vec::new();
        for (t, n, list) in &rows {
            let kept = list.iter().filter(|value| only.is_none_or(|only| only == **value));
            expected.extend(kept.map(|value| json!([text(*t), n, text(Some(*value))])));
        }
        let mut source = json!({"type": "unnest", "base": source(&rows),
            "virtualColumn": {"type": "expression", "name": "u", "expression": "string_to_array(l, ',')", "outputType": "ARRAY<STRING>"}});
        if let Some(only) = only {
            source["unnestFilter"] = json!({"type": "equals", "column": "u", "matchValueType": "STRING", "matchValue": text(Some(only))});
        }
        let found = f.scan(source, &["t", "n", "u"]).expect("an answer");
        prop_assert_eq!(sorted(found), sorted(expected));
    }
}
