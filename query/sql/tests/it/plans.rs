//! That statements become native queries, whole.

use serde_json::Value as Json;

use crate::{Fixture, statement};

/// Dashboard statements: group-bys, time buckets, filters, tops, sketches, each one native query.
const LINEITEM: [&str; 23] = [
    "SELECT COUNT(*) AS c FROM lineitem WHERE __time >= '1992-01-03 00:00:00' AND __time < '1998-11-30 00:00:00'",
    "SELECT SUM(l_extendedprice) AS s FROM lineitem",
    "SELECT SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem",
    "SELECT EXTRACT(YEAR FROM __time) AS y, SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem GROUP BY 1 ORDER BY 1",
    "SELECT SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem WHERE l_shipmode LIKE '%AIR%'",
    "SELECT l_partkey, SUM(l_quantity) AS q FROM lineitem GROUP BY l_partkey ORDER BY q DESC, l_partkey LIMIT 100",
    "SELECT l_partkey, SUM(l_quantity) AS q, SUM(l_extendedprice), MIN(l_discount), MAX(l_discount) FROM lineitem GROUP BY l_partkey ORDER BY q DESC, l_partkey LIMIT 100",
    "SELECT l_partkey, SUM(l_quantity) AS q, SUM(l_extendedprice), MIN(l_discount), MAX(l_discount) FROM lineitem WHERE __time >= '1996-01-15 00:00:00' AND __time < '1998-03-15 00:00:00' GROUP BY l_partkey ORDER BY q DESC, l_partkey LIMIT 100",
    "SELECT l_commitdate, SUM(l_quantity) AS q FROM lineitem GROUP BY l_commitdate ORDER BY q DESC, l_commitdate LIMIT 100",
    "SELECT DATE_TRUNC('day', __time) AS t, COUNT(*), SUM(l_extendedprice) FROM lineitem GROUP BY 1 ORDER BY 1",
    "SELECT DATE_TRUNC('month', __time) AS t, COUNT(*), SUM(l_extendedprice) FROM lineitem WHERE l_shipmode = 'AIR' AND l_returnflag = 'N' GROUP BY 1 ORDER BY 1",
    "SELECT l_shipmode, l_shipinstruct, COUNT(*), SUM(l_quantity) FROM lineitem GROUP BY l_shipmode, l_shipinstruct ORDER BY l_shipmode, l_shipinstruct",
    "SELECT l_returnflag, l_linestatus, SUM(l_quantity), SUM(l_extendedprice), SUM(l_extendedprice * (1 - l_discount)), SUM(l_extendedprice * (1 - l_discount) * (1 + l_tax)), AVG(l_quantity), AVG(l_extendedprice), AVG(l_discount), COUNT(*) FROM lineitem WHERE __time < '1998-09-03 00:00:00' GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus",
    "SELECT SUM(l_extendedprice * l_discount) FROM lineitem WHERE __time >= '1994-01-01 00:00:00' AND __time < '1995-01-01 00:00:00' AND l_discount >= 0.05 AND l_discount <= 0.07 AND l_quantity < 24",
    "SELECT l_orderkey, SUM(l_extendedprice * (1 - l_discount)) AS r FROM lineitem WHERE __time >= '1995-03-01 00:00:00' AND __time < '1995-04-01 00:00:00' GROUP BY l_orderkey ORDER BY r DESC, l_orderkey LIMIT 10",
    "SELECT COUNT(*), SUM(l_quantity) FROM lineitem WHERE (l_shipmode IN ('AIR', 'RAIL', 'SHIP') AND l_shipinstruct = 'NONE') OR l_suppkey IN (17, 4711, 9999)",
    "SELECT COUNT(*), SUM(l_extendedprice) FROM lineitem WHERE l_orderkey = 30",
    "SELECT l_suppkey, SUM(l_quantity) AS q FROM lineitem WHERE __time >= '1995-06-01 00:00:00' AND __time < '1995-07-01 00:00:00' GROUP BY l_suppkey ORDER BY q DESC, l_suppkey LIMIT 100",
    "SELECT COUNT(DISTINCT l_partkey) FROM lineitem",
    "SELECT APPROX_COUNT_DISTINCT(l_partkey) FROM lineitem",
    "SELECT l_returnflag, APPROX_QUANTILE_DS(l_extendedprice, 0.95) FROM lineitem GROUP BY l_returnflag ORDER BY l_returnflag",
    "SELECT COUNT(*) FROM lineitem WHERE l_comment LIKE '%special%requests%'",
    "SELECT l_suppkey, l_shipmode, COUNT(*) AS c, SUM(l_quantity) FROM lineitem GROUP BY l_suppkey, l_shipmode ORDER BY c DESC, l_suppkey, l_shipmode LIMIT 100",
];

const WIKI: [&str; 9] = [
    "SELECT DATE_TRUNC('minute', __time) AS t, COUNT(*), SUM(added) FROM wiki GROUP BY 1 ORDER BY 1",
    "SELECT DATE_TRUNC('minute', __time) AS t, COUNT(*), SUM(added) FROM wiki WHERE channel = '#en' AND country = 'US' GROUP BY 1 ORDER BY 1",
    "SELECT \"user\", COUNT(*) AS c FROM wiki GROUP BY \"user\" ORDER BY c DESC, \"user\" LIMIT 25",
    "SELECT \"user\", SUM(added) AS a FROM wiki WHERE __time >= '2026-01-01 00:30:00' AND __time < '2026-01-01 01:40:00' GROUP BY \"user\" ORDER BY a DESC, \"user\" LIMIT 25",
    "SELECT channel, country, COUNT(*) AS c, SUM(added), SUM(delta) FROM wiki GROUP BY channel, country ORDER BY c DESC, channel, country LIMIT 100",
    "SELECT channel, APPROX_COUNT_DISTINCT(\"user\") AS u FROM wiki GROUP BY channel ORDER BY channel",
    "SELECT COUNT(*) FROM wiki WHERE \"user\" LIKE '%li%'",
    "SELECT country, COUNT(*) AS c, SUM(delta) FROM wiki WHERE channel = '#en' GROUP BY country ORDER BY c DESC, country",
    "SELECT __time, channel, \"user\", added FROM wiki WHERE channel = '#en' ORDER BY __time DESC LIMIT 10",
];

#[test]
fn dashboards_are_one_native_query() {
    let f = Fixture::new();
    for text in LINEITEM.iter().chain(&WIKI) {
        let leaves = f.leaves(text);
        assert_eq!(leaves.len(), 1, "{text}");
        assert!(f.is_direct(text), "{text}: more than a leaf: {}", leaves[0]);
        let kind = leaves[0]["queryType"].as_str().unwrap();
        let rows = text.starts_with("SELECT __time");
        assert_eq!(kind == "scan", rows, "{text}: {}", leaves[0]);
        // Two sketches may estimate differently, so those are only seen to answer.
        match text.contains("APPROX_QUANTILE") {
            true => assert_eq!(f.native_rows(&statement(text)).len(), 3, "{text}"),
            false => drop(f.both(&statement(text))),
        }
    }
}

fn leaf(f: &Fixture, text: &str) -> Json {
    let mut leaves = f.leaves(text);
    assert_eq!(leaves.len(), 1, "{text}");
    leaves.remove(0)
}

#[test]
fn time_conditions_are_intervals() {
    let f = Fixture::new();
    for (condition, intervals) in [
        ("__time >= '2026-01-01' AND __time < '2026-01-02'", "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"),
        ("__time = TIMESTAMP '2026-01-01 00:00:00'", "2026-01-01T00:00:00.000Z/2026-01-01T00:00:00.001Z"),
        ("'2026-01-01' <= __time AND __time <= '2026-01-02'", "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.001Z"),
    ] {
        let leaf = leaf(&f, &format!("SELECT COUNT(*) FROM wiki WHERE {condition}"));
        assert_eq!(leaf["intervals"]["intervals"][0], intervals, "{condition}");
        assert!(leaf.get("filter").is_none(), "{condition}: {leaf}");
    }
    let two = leaf(
        &f,
        "SELECT COUNT(*) FROM wiki WHERE (__time >= '2026-01-01' AND __time < '2026-01-02') OR (__time >= '2026-02-01' AND __time < '2026-02-02')",
    );
    assert_eq!(two["intervals"]["intervals"].as_array().unwrap().len(), 2, "{two}");
}

/// Conditions on the start of a bucket are intervals too, the same rows as the same condition on its milliseconds.
#[test]
fn conditions_on_buckets_are_intervals() {
    let f = Fixture::new();
    let buckets =
        ["FLOOR(__time TO HOUR)", "TIME_FLOOR(__time, 'PT30M')", "TIME_FLOOR(__time, 'P1D', NULL, 'Asia/Kolkata')"];
    for bucket in buckets {
        for op in ["=", "<", "<=", ">", ">="] {
            for t in ["2026-01-01 00:30:00", "2026-01-01 01:00:00", "2025-12-31 18:30:00", "2026-01-01 01:30:00.001"] {
                let condition = format!("{bucket} {op} TIMESTAMP '{t}'");
                let query = leaf(&f, &format!("SELECT COUNT(*) FROM wiki WHERE {condition}"));
                assert!(query.get("filter").is_none(), "{condition}: {query}");
                let millis = format!("TIMESTAMP_TO_MILLIS({bucket}) {op} TIMESTAMP_TO_MILLIS(TIMESTAMP '{t}')");
                let rows =
                    |condition: &str| f.both(&statement(&format!("SELECT COUNT(*) FROM wiki WHERE {condition}")));
                assert_eq!(rows(&condition), rows(&millis), "{condition}");
            }
        }
    }
    // A bucket that is only found by stepping from 1970 is not looked for while planning.
    let stepped = "TIME_FLOOR(__time, 'P1DT1S', NULL, 'Europe/Berlin') > TIMESTAMP '9999-01-01'";
    assert!(leaf(&f, &format!("SELECT COUNT(*) FROM wiki WHERE {stepped}")).get("filter").is_some());
    let month = leaf(&f, "SELECT COUNT(*) FROM wiki WHERE FLOOR(__time TO MONTH) = TIMESTAMP '2026-01-01 00:00:00'");
    assert_eq!(month["intervals"]["intervals"][0], "2026-01-01T00:00:00.000Z/2026-02-01T00:00:00.000Z");
}

#[test]
fn orders_and_limits_are_pushed() {
    let f = Fixture::new();
    let top = leaf(&f, "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY 1 ORDER BY c DESC, channel LIMIT 3");
    assert_eq!(top["limitSpec"]["limit"], 3);
    assert_eq!(top["limitSpec"]["columns"][0]["direction"], "descending");
    let series =
        leaf(&f, "SELECT TIME_FLOOR(__time, 'PT1H') AS t, COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1 DESC LIMIT 3");
    assert_eq!(
        (series["queryType"].as_str(), &series["descending"], &series["limit"]),
        (Some("timeseries"), &true.into(), &3.into())
    );
    let busiest =
        leaf(&f, "SELECT TIME_FLOOR(__time, 'PT1H') AS t, COUNT(*) AS c FROM wiki GROUP BY 1 ORDER BY c DESC LIMIT 3");
    assert_eq!(busiest["queryType"], "groupBy");
    let rows = leaf(&f, "SELECT channel FROM wiki WHERE added > 3 LIMIT 7");
    assert_eq!((rows["queryType"].as_str(), &rows["limit"]), (Some("scan"), &7.into()));
    assert_eq!(rows["columns"].as_array().unwrap().len(), 1, "{rows}");
    let paged = leaf(&f, "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY 1 ORDER BY c DESC LIMIT 3 OFFSET 4");
    assert_eq!(paged["limitSpec"]["limit"], 7);
}

#[test]
fn a_condition_on_a_subquery_is_not_swallowed() {
    let f = Fixture::new();
    let leaves = f.leaves("SELECT COUNT(*) FROM wiki WHERE added > (SELECT AVG(added) FROM wiki)");
    assert_eq!(leaves.len(), 2);
}

#[test]
fn explain_tells_the_native_query() {
    let f = Fixture::new();
    let rows = f.native_rows(&statement("EXPLAIN PLAN FOR SELECT channel, COUNT(*) AS c FROM wiki GROUP BY channel"));
    let plan: Json = serde_json::from_str(rows[0][0].as_str().unwrap()).unwrap();
    assert_eq!(plan[0]["query"]["queryType"], "groupBy");
    assert_eq!(plan[0]["columnMappings"][1]["outputColumn"], "c");
    assert_eq!(rows[0][1], "[{\"name\":\"wiki\",\"type\":\"DATASOURCE\"}]");
}

/// The engine looks for a pattern's text in a dictionary at once; an expression is evaluated value by value.
#[test]
fn a_pattern_over_a_column_is_a_filter_and_no_expression() {
    let f = Fixture::new();
    for text in ["l_comment LIKE '%a%b%'", "l_comment NOT LIKE 'a%'", "CAST(l_comment AS VARCHAR) LIKE '%x' ESCAPE '!'"]
    {
        let leaves = f.leaves(&format!("SELECT COUNT(*) FROM lineitem WHERE {text}"));
        let filter = leaves[0]["filter"].to_string();
        assert!(filter.contains(r#""type":"like""#), "{text}: {filter}");
    }
}
