//! Times group queries over rows shaped like TPC-H's lineitem, from a segment file.
//!
//! `cargo run --release -p henge-query --example lineitem -- [PATH [ROUNDS [NAME]]]`: opens the segment file, or all
//! segment files in the folder, makes the file if nothing is there, then prints the median and the least time of each
//! query in milliseconds (of those whose name contains NAME). NAME may also be a file of native queries, one a line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use henge_query as query;
use query::engine::{Piece, group};
use query::finish::finish;
use query::pool::Pool;
use query::{Budget, Query, Settings};
use rand::prelude::*;
use segment::block::Value;
use segment::column::{Column, ColumnBuilder};
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::segment::Provenance;
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

const ROWS: usize = 6_001_215;
const DAY: i64 = 86_400_000;
const FIRST_DAY: i64 = 8_036;
const DAYS: i64 = 2_526;

fn main() {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().unwrap_or_else(|| "/tmp/henge-lineitem.seg".into()));
    let rounds: usize = args.next().map_or(11, |text| text.parse().expect("ROUNDS is a number"));
    let only = args.next().unwrap_or_default();
    if !path.exists() {
        write(&path);
    }
    let mut files = Vec::new();
    find(&path, &mut files);
    let open = |path: &PathBuf| Arc::new(segment::file::open(path, id()).expect("the file is a segment"));
    let segments: Vec<Arc<Segment>> = files.iter().map(open).collect();
    let pool = Pool::new(2);
    let queries = match std::fs::read_to_string(&only) {
        Ok(text) => text.lines().map(|line| (line.into(), serde_json::from_str(line).expect("JSON"))).collect(),
        Err(_) => queries().into_iter().filter(|(name, _)| name.contains(&only)).collect::<Vec<(String, Json)>>(),
    };
    for (name, json) in queries {
        let query = Arc::new(Query::from_json(&json).unwrap_or_else(|e| panic!("{name}: {e}")));
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..rounds {
            let begin = Instant::now();
            rows = run(&query, &segments, &pool);
            times.push(begin.elapsed());
        }
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!("{:24.120} {:9.2} {:9.2}  rows {rows}", name, ms(times[times.len() / 2]), ms(times[0]));
    }
}

/// The file, or the segment files in a folder.
fn find(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| find(&entry.path(), files)),
        Err(_) => files.push(path.to_path_buf()),
    }
}

fn run(query: &Arc<Query>, segments: &[Arc<Segment>], pool: &Pool) -> usize {
    let settings = Settings {
        threads: 2,
        queries_max: 1,
        lanes: Default::default(),
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        memory_bytes: 4 << 30,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    let budget = Arc::new(Budget::from_context(&serde_json::Map::new(), &settings).expect("an empty context is valid"));
    let piece =
        |segment: &Arc<Segment>| Piece::whole(segment.id().clone(), segment.clone(), query.scope().intervals.clone());
    let partial = group::run(query, segments.iter().map(piece).collect(), pool, &budget).expect("the query runs");
    finish(query, partial, &budget).expect("the query finishes").rows
}

fn schema() -> Schema {
    let dimension = |name: &str, value_type| DimensionSchema {
        name: name.into(),
        value_type,
        multi_value: MultiValue::SortedArray,
        indexed: true,
        auto: false,
    };
    let columns = [
        ("l_returnflag", ValueType::String),
        ("l_linestatus", ValueType::String),
        ("l_shipmode", ValueType::String),
        ("l_shipinstruct", ValueType::String),
        ("l_commitdate", ValueType::String),
        ("l_partname", ValueType::String),
        ("l_partkey", ValueType::Long),
        ("l_suppkey", ValueType::Long),
        ("l_orderkey", ValueType::Long),
        ("l_quantity", ValueType::Long),
        ("l_extendedprice", ValueType::Double),
        ("l_discount", ValueType::Double),
        ("l_tax", ValueType::Double),
    ];
    Schema {
        dimensions: columns.into_iter().map(|(name, value_type)| dimension(name, value_type)).collect(),
        discovery: Discovery::None,
        exclusions: vec![],
        metrics: vec![],
        rollup: false,
        query_granularity: Granularity::None,
    }
}

fn id() -> SegmentId {
    SegmentId {
        datasource: "lineitem".into(),
        interval: Interval { start: FIRST_DAY * DAY, end: (FIRST_DAY + DAYS) * DAY },
        version: "v".into(),
        partition: 0,
    }
}

fn write(path: &Path) {
    let begin = Instant::now();
    let schema = schema();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut time = ColumnBuilder::new(ValueType::Long);
    let mut columns: Vec<ColumnBuilder> =
        schema.dimensions.iter().map(|d| ColumnBuilder::new(d.value_type.clone())).collect();
    let modes = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"];
    let instructions = ["COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN"];
    for row in 0..ROWS {
        let day = row as i64 * DAYS / ROWS as i64;
        time.push(&Value::Long((FIRST_DAY + day) * DAY));
        let part = rng.random_range(1..=200_000i64);
        let quantity = rng.random_range(1..=50i64);
        let open = day > 1_260;
        let values = [
            Value::text(if open {
                "N"
            } else if rng.random() {
                "A"
            } else {
                "R"
            }),
            Value::text(if open { "O" } else { "F" }),
            Value::text(modes[rng.random_range(0..7)]),
            Value::text(instructions[rng.random_range(0..4)]),
            Value::text(&format!("day-{:04}", (day + rng.random_range(0..60)).min(2_465))),
            Value::text(&format!("Part#{part:06} of the catalogue")),
            Value::Long(part),
            Value::Long(rng.random_range(1..=10_000)),
            Value::Long(rng.random_range(1..=6_000_000)),
            Value::Long(quantity),
            Value::Double(quantity as f64 * (90_000 + part % 20_001 * 5) as f64 / 100.0),
            Value::Double(rng.random_range(0..=10) as f64 / 100.0),
            Value::Double(rng.random_range(0..=8) as f64 / 100.0),
        ];
        columns.iter_mut().zip(&values).for_each(|(column, value)| column.push(value));
    }
    let id = id();
    let Column::Number(time) = time.finish() else { panic!("longs make a number column") };
    let names: Vec<String> = schema.dimensions.iter().map(|d| d.name.clone()).collect();
    let columns = names.iter().cloned().zip(columns.into_iter().map(ColumnBuilder::finish)).collect();
    let provenance = Provenance { rollup: false, query_granularity: None, aggregates: vec![] };
    let memory = Arc::new(Segment::from_parts(id.clone(), time, columns, names, vec![], true, provenance));
    eprintln!("rows made in {:?}", begin.elapsed());
    segment::merge::merge(&[memory], &schema, &id, path).expect("the file can be written");
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    eprintln!("file written in {:?}, {:.1} bytes a row", begin.elapsed(), bytes as f64 / ROWS as f64);
}

fn queries() -> Vec<(String, Json)> {
    let sum = |name: &str| json!({"type": if name == "l_quantity" {"longSum"} else {"doubleSum"}, "name": format!("s_{name}"), "fieldName": name});
    let count = || json!({"type": "count", "name": "c"});
    let sums = || json!([sum("l_extendedprice"), sum("l_discount"), sum("l_tax"), sum("l_quantity")]);
    let series = |granularity: &str, aggregations: Json| {
        json!({"queryType": "timeseries", "dataSource": "lineitem", "intervals": ["1990/2000"],
            "granularity": granularity, "aggregations": aggregations})
    };
    let top = |dimension: Json, metric: &str, aggregations: Json| {
        json!({"queryType": "topN", "dataSource": "lineitem", "intervals": ["1990/2000"], "granularity": "all",
            "dimension": dimension, "metric": metric, "threshold": 100, "aggregations": aggregations})
    };
    let group = |dimensions: Json, aggregations: Json| {
        json!({"queryType": "groupBy", "dataSource": "lineitem", "intervals": ["1990/2000"], "granularity": "all",
            "dimensions": dimensions, "aggregations": aggregations})
    };
    let with = |mut query: Json, key: &str, value: Json| {
        query[key] = value;
        query
    };
    let long = |name: &str| json!({"type": "default", "dimension": name, "outputType": "LONG"});
    let details = || {
        json!([sum("l_quantity"), sum("l_extendedprice"),
            {"type": "doubleMin", "name": "min_d", "fieldName": "l_discount"},
            {"type": "doubleMax", "name": "max_d", "fieldName": "l_discount"}])
    };
    let expression = |name: &str, text: &str| json!({"type": "doubleSum", "name": name, "expression": text});
    let mean = |name: &str| json!({"type": "doubleMean", "name": format!("m_{name}"), "fieldName": name});
    let by_count = json!({"type": "default", "limit": 100, "columns": [{"dimension": "c", "direction": "descending"}]});
    let year = json!([{"type": "expression", "name": "y", "expression": "timestamp_extract(__time, 'YEAR')", "outputType": "LONG"}]);
    let all = vec![
        ("count_star_interval", with(series("all", json!([count()])), "intervals", json!(["1992-01-03/1998-11-30"]))),
        ("sum_price", series("all", json!([sum("l_extendedprice")]))),
        ("sum_all", series("all", sums())),
        ("sum_all_year", series("year", sums())),
        ("sum_all_year_extract", with(group(json!([long("y")]), sums()), "virtualColumns", year)),
        (
            "sum_all_filter",
            with(
                series("all", sums()),
                "filter",
                json!({"type": "like", "dimension": "l_shipmode", "pattern": "%AIR%"}),
            ),
        ),
        ("top_100_parts", top(long("l_partkey"), "s_l_quantity", json!([sum("l_quantity")]))),
        ("top_100_parts_string", top(json!("l_partname"), "s_l_quantity", json!([sum("l_quantity")]))),
        ("top_100_parts_details", top(long("l_partkey"), "s_l_quantity", details())),
        (
            "top_100_parts_filter",
            with(top(long("l_partkey"), "s_l_quantity", details()), "intervals", json!(["1996-01-15/1998-03-15"])),
        ),
        ("top_100_commitdate", top(json!("l_commitdate"), "s_l_quantity", json!([sum("l_quantity")]))),
        ("ts_day", series("day", json!([count(), sum("l_extendedprice")]))),
        (
            "ts_month_filter",
            with(
                series("month", json!([count(), sum("l_extendedprice")])),
                "filter",
                json!({"type": "and", "fields": [
            {"type": "selector", "dimension": "l_shipmode", "value": "AIR"}, {"type": "selector", "dimension": "l_returnflag", "value": "N"}]}),
            ),
        ),
        ("groupby_2dim", group(json!(["l_shipmode", "l_shipinstruct"]), json!([count(), sum("l_quantity")]))),
        (
            "tpch_q1",
            group(
                json!(["l_returnflag", "l_linestatus"]),
                json!([
                    sum("l_quantity"),
                    sum("l_extendedprice"),
                    expression("disc", "l_extendedprice * (1 - l_discount)"),
                    expression("charge", "l_extendedprice * (1 - l_discount) * (1 + l_tax)"),
                    mean("l_quantity"),
                    mean("l_extendedprice"),
                    mean("l_discount"),
                    count()
                ]),
            ),
        ),
        (
            "tpch_q6",
            with(
                with(
                    series("all", json!([expression("r", "l_extendedprice * l_discount")])),
                    "intervals",
                    json!(["1994/1995"]),
                ),
                "filter",
                json!({"type": "and", "fields": [
                {"type": "range", "column": "l_discount", "matchValueType": "DOUBLE", "lower": 0.05, "upper": 0.07},
                {"type": "range", "column": "l_quantity", "matchValueType": "LONG", "upper": 24, "upperOpen": true}]}),
            ),
        ),
        (
            "top_orders_month",
            with(
                top(long("l_orderkey"), "r", json!([expression("r", "l_extendedprice * (1 - l_discount)")])),
                "intervals",
                json!(["1995-03/1995-04"]),
            ),
        ),
        (
            "filter_or_in",
            with(
                series("all", json!([count(), sum("l_quantity")])),
                "filter",
                json!({"type": "or", "fields": [
            {"type": "and", "fields": [{"type": "in", "dimension": "l_shipmode", "values": ["AIR", "RAIL", "SHIP"]},
                {"type": "selector", "dimension": "l_shipinstruct", "value": "NONE"}]},
            {"type": "in", "dimension": "l_suppkey", "values": ["17", "4711", "9999"]}]}),
            ),
        ),
        (
            "needle_orderkey",
            with(
                series("all", json!([count(), sum("l_extendedprice")])),
                "filter",
                json!({"type": "equals", "column": "l_orderkey", "matchValueType": "LONG", "matchValue": 3000001}),
            ),
        ),
        (
            "exact_distinct_part",
            series("all", json!([{"type": "distinctCount", "name": "d", "fieldName": "l_partkey"}])),
        ),
        (
            "approx_distinct_part",
            series("all", json!([{"type": "HLLSketchBuild", "name": "d", "fieldName": "l_partkey"}])),
        ),
        (
            "approx_quantile",
            group(
                json!(["l_returnflag"]),
                json!([{"type": "quantilesDoublesSketch", "name": "q", "fieldName": "l_extendedprice"}]),
            ),
        ),
        (
            "group_3dim_high",
            with(
                group(json!([long("l_suppkey"), "l_shipmode"]), json!([count(), sum("l_quantity")])),
                "limitSpec",
                by_count,
            ),
        ),
    ];
    all.into_iter().map(|(name, query)| (name.to_string(), query)).collect()
}
