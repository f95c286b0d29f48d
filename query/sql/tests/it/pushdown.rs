//! That what dashboards and benchmarks ask is one native query: every aggregation is done below the broker, where the
//! segments are. `docs/push-down.md` lists the shapes.

use std::sync::Arc;

use query::Broker;
use segment::block::Value;
use segment::inventory::Inventory;
use segment::schema::ValueType;
use serde_json::Value as Json;

use crate::tables::{broker_of, schema, serve};
use crate::{Fixture, statement};

/// The statements of the benchmarks: a name, then the statement, each on a line.
const SSB: &str = include_str!("../../../../bench/queries/ssb.sql");
const BENCHMARKS: [&str; 2] =
    [include_str!("../../../../bench/queries/lineitem.sql"), include_str!("../../../../bench/queries/clients.sql")];

fn named(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.split("-- name: ").skip(1).filter_map(|part| part.trim().split_once('\n'))
}

/// Without keys there is nothing but a timeseries.
fn kinds(text: &str) -> &'static str {
    match text.contains("GROUP BY") || text.contains("DISTINCT") {
        true => "groupBy or topN or timeseries",
        false => "timeseries",
    }
}

/// Between these instants everything of `wiki` lies.
const RANGE: &str = "\"__time\" >= '2026-01-01 00:00:00.000000' AND \"__time\" < '2026-01-02 00:00:00.000000'";

/// What Superset and Grafana make of charts: the shape, the native query, the statement; `{range}` is a dashboard's range.
const DASHBOARDS: &[(&str, &str, &str)] = &[
    (
        "metrics without keys",
        "timeseries",
        "SELECT COUNT(*) AS \"count\", sum(\"added\") AS \"s\" FROM \"druid\".\"wiki\" WHERE {range}\n LIMIT 100",
    ),
    (
        "a time bucket",
        "timeseries",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 200000",
    ),
    (
        "a time bucket",
        "timeseries",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'P3M') AS \"__timestamp\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE \"__time\" >= TIME_PARSE('2026-01-01T00:00:00') AND \"__time\" < TIME_PARSE('2026-01-02T00:00:00') GROUP BY TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'P3M')\n LIMIT 200000",
    ),
    (
        "a time bucket",
        "timeseries",
        "SELECT DATE_TRUNC('minute', __time) AS \"time\", AVG(added) AS v FROM wiki WHERE __time BETWEEN TIMESTAMP '2026-01-01 00:00:00' AND TIMESTAMP '2026-01-02 00:00:00' GROUP BY 1 ORDER BY 1",
    ),
    (
        "a time bucket",
        "timeseries",
        "SELECT FLOOR(__time TO HOUR) AS \"time\", MAX(delta) AS v FROM wiki WHERE __time >= MILLIS_TO_TIMESTAMP(1767225600000) AND __time <= MILLIS_TO_TIMESTAMP(1767312000000) GROUP BY 1 ORDER BY 1 DESC",
    ),
    (
        "a time bucket",
        "timeseries",
        "SELECT TIME_FLOOR(__time, 'PT1M', NULL, 'Asia/Kolkata') AS \"time\", SUM(added) FILTER (WHERE channel = '#en') AS en, SUM(added) FILTER (WHERE channel <> '#en') AS others FROM wiki GROUP BY 1 ORDER BY 1",
    ),
    (
        "an instant as it is",
        "groupBy",
        "SELECT \"__time\" AS \"__timestamp\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"__time\"\n LIMIT 200000",
    ),
    (
        "a shifted time bucket",
        "groupBy",
        "SELECT TIME_SHIFT(TIME_FLOOR(TIME_SHIFT(CAST(\"__time\" AS TIMESTAMP), 'P1D', 1), 'P1W'), 'P1D', 5) AS \"__timestamp\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY TIME_SHIFT(TIME_FLOOR(TIME_SHIFT(CAST(\"__time\" AS TIMESTAMP), 'P1D', 1), 'P1W'), 'P1D', 5)\n LIMIT 200000",
    ),
    (
        "one key, ordered by a metric, limited",
        "topN or groupBy",
        "SELECT \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\" ORDER BY \"count\" DESC\n LIMIT 5",
    ),
    (
        "one key, ordered by a metric, limited",
        "topN or groupBy",
        "SELECT\n  channel,\n  COUNT(*) AS c\nFROM \"wiki\"\nGROUP BY\n  1\nORDER BY\n  2 DESC\nLIMIT 1001",
    ),
    (
        "several keys",
        "groupBy",
        "SELECT \"channel\" AS \"channel\", \"country\" AS \"country\", COUNT(*) AS \"count\", sum(\"added\") AS \"SUM(added)\", AVG(\"added\") AS \"AVG(added)\", min(\"added\") AS \"MIN(added)\", max(\"delta\") AS \"MAX(delta)\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\", \"country\"\n LIMIT 100",
    ),
    (
        "several keys",
        "groupBy",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\", TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 10000",
    ),
    (
        "several keys",
        "groupBy",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__time\", \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H'), \"channel\"\n LIMIT 10000",
    ),
    (
        "COUNT(DISTINCT …)",
        "groupBy",
        "SELECT \"channel\" AS \"channel\", count(DISTINCT \"user\") AS \"d\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\"\n LIMIT 100",
    ),
    (
        "aggregates with FILTER, CASE and arithmetic",
        "groupBy",
        "SELECT \"channel\" AS \"channel\", COUNT(*) FILTER(WHERE country = 'US') AS \"us\", SUM(CASE WHEN added > 10 THEN 1 ELSE 0 END) AS \"big\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\"\n LIMIT 100",
    ),
    (
        "aggregates with FILTER, CASE and arithmetic",
        "groupBy",
        "SELECT \"channel\" AS \"channel\", SUM(added) * 1.0 / COUNT(*) AS \"ratio\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\"\n LIMIT 100",
    ),
    (
        "a computed key",
        "groupBy",
        "SELECT UPPER(channel) AS \"uc\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY UPPER(channel)\n LIMIT 100",
    ),
    (
        "HAVING",
        "groupBy",
        "SELECT \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\" \nHAVING (COUNT(*) > 2)\n LIMIT 100",
    ),
    (
        "conditions",
        "groupBy",
        "SELECT \"country\" AS \"country\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} AND (added > 0 AND channel LIKE '#%') AND \"channel\" != 'x' AND \"added\" <= 1000000000 AND (\"channel\" NOT IN ('x', 'y')) GROUP BY \"country\"\n LIMIT 100",
    ),
    (
        "conditions",
        "groupBy",
        "SELECT \"country\" AS \"country\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} AND lower(\"channel\") LIKE lower('#E%') AND \"channel\" NOT LIKE 'zz%' AND \"user\" IS NOT NULL AND (\"country\" IS NULL OR \"country\" IN ('US', 'FR')) GROUP BY \"country\"\n LIMIT 100",
    ),
    (
        "conditions",
        "groupBy",
        "SELECT \"country\" AS \"country\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} AND CAST(\"added\" AS VARCHAR) LIKE '%0' AND (\"channel\" = '#en' OR \"channel\" = '#de') GROUP BY \"country\"\n LIMIT 100",
    ),
    ("DISTINCT", "groupBy", "SELECT DISTINCT \"channel\" AS \"column_values\" FROM \"druid\".\"wiki\"\n LIMIT 1000"),
    (
        "a subquery that only selects",
        "topN or groupBy",
        "SELECT \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM (SELECT * FROM \"wiki\" WHERE added > 0\n) AS \"virtual_table\" WHERE {range} GROUP BY \"channel\" ORDER BY \"count\" DESC\n LIMIT 100",
    ),
    (
        "a subquery that only selects",
        "timeseries",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", COUNT(*) AS \"count\" FROM (SELECT * FROM \"wiki\" WHERE added > 0\n) AS \"virtual_table\" WHERE {range} GROUP BY TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 100",
    ),
    (
        "rows",
        "scan",
        "SELECT \"__time\" AS \"__time\", \"channel\" AS \"channel\", \"added\" AS \"added\" FROM \"druid\".\"wiki\" WHERE {range} ORDER BY \"__time\" DESC\n LIMIT 3 OFFSET 2",
    ),
    ("rows", "scan", "SELECT * FROM druid.\"wiki\" LIMIT 100"),
];

/// Where a limit is written into the statement that counts or joins, two native queries aggregate, and nothing but their
/// groups comes up.
const TWO: &[(&str, &str)] = &[
    (
        "a count of groups",
        "SELECT COUNT(*) AS \"rowcount\" FROM (SELECT \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\"\n LIMIT 100) AS \"rowcount_qry\"",
    ),
    (
        "a series limit",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" JOIN (SELECT \"channel\" AS \"channel__\", COUNT(*) AS \"mme_inner__\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\" ORDER BY \"mme_inner__\" DESC, 1\n LIMIT 2) AS \"series_limit\" ON \"channel\" = \"channel__\" WHERE {range} GROUP BY \"channel\", TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 10000",
    ),
    (
        "a series limit",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", \"channel\" AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" JOIN (SELECT \"channel\" AS \"channel__\", COUNT(*) AS \"mme_inner__\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\" ORDER BY sum(\"added\") DESC\n LIMIT 2) AS \"series_limit\" ON \"channel\" = \"channel__\" WHERE {range} GROUP BY \"channel\", TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 10000",
    ),
    (
        "a series limit with the others",
        "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__timestamp\", CASE WHEN (\"series_limit\".\"channel__\" IS NOT NULL) THEN \"channel\" ELSE 'Others' END AS \"channel\", COUNT(*) AS \"count\" FROM \"druid\".\"wiki\" LEFT OUTER JOIN (SELECT \"channel\" AS \"channel__\", COUNT(*) AS \"mme_inner__\" FROM \"druid\".\"wiki\" WHERE {range} GROUP BY \"channel\" ORDER BY \"mme_inner__\" DESC, 1\n LIMIT 2) AS \"series_limit\" ON \"channel\" = \"channel__\" WHERE {range} GROUP BY CASE WHEN (\"series_limit\".\"channel__\" IS NOT NULL) THEN \"channel\" ELSE 'Others' END, TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H')\n LIMIT 10000",
    ),
];

fn ranged(text: &str) -> String {
    text.replace("{range}", RANGE)
}

/// The native queries that `EXPLAIN` shows.
fn explained(f: &Fixture, text: &str) -> Vec<Json> {
    let rows = f.native_rows(&statement(&format!("EXPLAIN PLAN FOR {text}")));
    let plan: Json = serde_json::from_str(rows[0][0].as_str().unwrap()).unwrap();
    plan.as_array().unwrap().iter().map(|part| part["query"].clone()).collect()
}

/// What is wrong with the plan of a statement that should be one native query.
fn fault(f: &Fixture, text: &str, kinds: &str) -> Option<String> {
    let queries = explained(f, text);
    let [query] = queries.as_slice() else { return Some(format!("{} native queries", queries.len())) };
    let kind = query["queryType"].as_str().unwrap_or_default();
    if !kinds.split(" or ").any(|expected| expected == kind) {
        return Some(format!("a {kind}: {query}"));
    }
    if !f.is_direct(text) {
        return Some(format!("more than a leaf: {query}"));
    }
    None
}

/// DataFusion alone answers the same rows, in an order of its own.
fn agree(f: &Fixture, text: &str) {
    let sorted = |mut rows: Vec<Json>| {
        rows.sort_by_key(Json::to_string);
        rows
    };
    let (native, scans) = (sorted(f.rows(&f.native, &statement(text))), sorted(f.rows(&f.scans, &statement(text))));
    assert!(crate::same_rows(&native, &scans) && !native.is_empty(), "{text}\n{native:?}\n{scans:?}");
}

fn hold(faults: Vec<(String, Option<String>)>) {
    let faults: Vec<String> =
        faults.into_iter().filter_map(|(text, fault)| Some(format!("{text}\n    is {}", fault?))).collect();
    assert!(faults.is_empty(), "{} statements are not pushed down:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_star_schema_benchmark_is_pushed_down() {
    let f = Fixture::over(lineorder());
    assert_eq!(named(SSB).count(), 13);
    hold(named(SSB).map(|(name, text)| (format!("{name}: {text}"), fault(&f, text, kinds(text)))).collect());
    for (name, text) in named(SSB) {
        assert!(!f.both(&statement(text)).is_empty(), "{name} finds nothing, and so proves nothing");
    }
}

#[test]
fn the_other_benchmarks_are_pushed_down() {
    let f = Fixture::new();
    let all = || BENCHMARKS.into_iter().flat_map(named);
    assert!(all().count() > 10);
    hold(all().map(|(name, text)| (format!("{name}: {text}"), fault(&f, text, kinds(text)))).collect());
}

#[test]
fn dashboards_are_pushed_down() {
    let f = Fixture::new();
    let checked = DASHBOARDS.iter().map(|(_, kinds, text)| (ranged(text), fault(&f, &ranged(text), kinds)));
    hold(checked.collect());
    for (_, _, text) in DASHBOARDS.iter().filter(|(shape, ..)| *shape != "rows") {
        agree(&f, &ranged(text));
    }
    for (_, _, text) in DASHBOARDS.iter().filter(|(shape, ..)| *shape == "rows") {
        drop(f.both(&statement(&ranged(text))));
    }
}

#[test]
fn what_two_statements_say_is_two_aggregations_below() {
    let f = Fixture::new();
    let checked = TWO.iter().map(|(_, text)| {
        let text = ranged(text);
        let scans: Vec<Json> = explained(&f, &text).into_iter().filter(|query| query["queryType"] == "scan").collect();
        let fault = (!scans.is_empty()).then(|| format!("scanned: {}", serde_json::json!(scans)));
        (text, fault)
    });
    hold(checked.collect());
    for (_, text) in TWO {
        agree(&f, &ranged(text));
    }
}

#[test]
fn the_page_lists_every_shape() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/push-down.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (shape, kinds, _) in DASHBOARDS {
        for kind in kinds.split(" or ") {
            let row = page.lines().find(|line| line.starts_with(&format!("| {shape} |")) && line.contains(kind));
            assert!(row.is_some(), "docs/push-down.md lacks: {shape} as {kind}");
        }
    }
    for (shape, _) in TWO {
        assert!(page.lines().any(|line| line.starts_with(&format!("| {shape} |"))), "docs/push-down.md lacks: {shape}");
    }
}

/// Rows of which every query of the benchmark finds some.
fn lineorder() -> Arc<Broker> {
    use ValueType::{Long, String as Text};
    let schema = schema(&[
        ("c_city", Text),
        ("c_nation", Text),
        ("c_region", Text),
        ("s_city", Text),
        ("s_nation", Text),
        ("s_region", Text),
        ("p_mfgr", Text),
        ("p_category", Text),
        ("p_brand", Text),
        ("lo_quantity", Long),
        ("lo_discount", Long),
        ("lo_extendedprice", Long),
        ("lo_revenue", Long),
        ("lo_supplycost", Long),
    ]);
    let places = [
        ("UNITED ST1", "UNITED STATES", "AMERICA"),
        ("UNITED KI1", "UNITED KINGDOM", "EUROPE"),
        ("UNITED KI5", "UNITED KINGDOM", "EUROPE"),
        ("CHINA    3", "CHINA", "ASIA"),
    ];
    let brands = [
        ("MFGR#1", "MFGR#12", "MFGR#1221"),
        ("MFGR#2", "MFGR#22", "MFGR#2221"),
        ("MFGR#1", "MFGR#14", "MFGR#1404"),
        ("MFGR#2", "MFGR#22", "MFGR#2239"),
    ];
    let days = ["1993-03-02", "1994-01-20", "1994-02-09", "1997-12-24"];
    let mut rows = Vec::new();
    for (nth, day) in (0i64..).zip(days) {
        let t = segment::time::parse_timestamp(day).unwrap();
        for (c_city, c_nation, c_region) in places {
            for (s_city, s_nation, s_region) in places {
                for (p_mfgr, p_category, p_brand) in brands {
                    for discount in 1..8 {
                        let n = rows.len() as i64;
                        rows.push((
                            t,
                            vec![
                                ("c_city", Value::text(c_city)),
                                ("c_nation", Value::text(c_nation)),
                                ("c_region", Value::text(c_region)),
                                ("s_city", Value::text(s_city)),
                                ("s_nation", Value::text(s_nation)),
                                ("s_region", Value::text(s_region)),
                                ("p_mfgr", Value::text(p_mfgr)),
                                ("p_category", Value::text(p_category)),
                                ("p_brand", Value::text(p_brand)),
                                ("lo_quantity", Value::Long(20 + (n + nth) % 15)),
                                ("lo_discount", Value::Long(discount)),
                                ("lo_extendedprice", Value::Long(1_000 + n * 17 % 991)),
                                ("lo_revenue", Value::Long(900 + n * 13 % 977)),
                                ("lo_supplycost", Value::Long(300 + n * 7 % 401)),
                            ],
                        ));
                    }
                }
            }
        }
    }
    let inventory = Arc::new(Inventory::new());
    serve(&inventory, "lineorder_flat", "1992-01-01/1999-01-01", &schema, &rows);
    broker_of(inventory)
}
