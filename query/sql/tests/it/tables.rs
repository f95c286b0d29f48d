//! The tables: `wiki` in two segments (an hour each), `lineitem` and `shop` in one.

use std::sync::Arc;
use std::time::Duration;

use query::{Broker, Settings};
use segment::Segment;
use segment::block::Value;
use segment::inventory::{Change, Inventory, Served};
use segment::meta::SegmentId;
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::time::{Granularity, Interval, parse_timestamp};

fn dimension(name: &str, value_type: ValueType) -> DimensionSchema {
    DimensionSchema { name: name.into(), value_type, multi_value: MultiValue::default(), indexed: true, auto: false }
}

pub fn schema(columns: &[(&str, ValueType)]) -> Schema {
    Schema {
        dimensions: columns.iter().map(|(name, value_type)| dimension(name, value_type.clone())).collect(),
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    }
}

pub fn serve(
    inventory: &Inventory,
    datasource: &str,
    interval: &str,
    schema: &Schema,
    rows: &[(i64, Vec<(&str, Value)>)],
) {
    let id = SegmentId {
        datasource: datasource.into(),
        interval: Interval::parse(interval).unwrap(),
        version: "2026-01-01T00:00:00.000Z".into(),
        partition: 0,
    };
    let segment = Arc::new(Segment::from_rows(id.clone(), schema, rows));
    inventory.apply(vec![Change::Serve(id, Served::Published(segment))]);
}

pub fn broker() -> Arc<Broker> {
    let inventory = Arc::new(Inventory::new());
    wiki(&inventory);
    lineitem(&inventory);
    shop(&inventory);
    broker_of(inventory)
}

pub fn broker_of(inventory: Arc<Inventory>) -> Arc<Broker> {
    let settings = Settings {
        threads: 2,
        queries_max: 16,
        lanes: Default::default(),
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        memory_bytes: 64 << 20,
        memory: Default::default(),
        subquery_rows_max: 100_000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    Broker::new(inventory, settings, query::Authorizer::open())
}

fn text(text: &str) -> Value {
    match text {
        "-" => Value::Null,
        text => Value::text(text),
    }
}

fn wiki(inventory: &Inventory) {
    let schema = schema(&[
        ("channel", ValueType::String),
        ("user", ValueType::String),
        ("country", ValueType::String),
        ("tags", ValueType::String),
        ("added", ValueType::Long),
        ("delta", ValueType::Double),
        ("score", ValueType::Float),
    ]);
    // time of 2026-01-01, channel, user, country, tags, added, delta, score
    let rows: [(&str, &str, &str, &str, &[&str], Option<i64>, Option<f64>, f64); 8] = [
        ("00:00:01", "#en", "alice", "US", &["a", "b"], Some(10), Some(1.5), 0.5),
        ("00:10:00", "#en", "bob", "-", &["b"], Some(20), Some(-2.5), 0.25),
        ("00:20:00", "#de", "carl", "DE", &[], Some(30), None, 1.0),
        ("00:59:59.999", "#fr", "alice", "FR", &["c"], None, Some(4.0), 2.0),
        ("01:00:00", "#en", "alice", "US", &["a"], Some(40), Some(8.0), 0.5),
        ("01:30:00", "#de", "dora", "DE", &["a", "c"], Some(50), Some(0.5), 4.0),
        ("01:30:00.001", "#de", "carl", "", &["b"], Some(-5), Some(0.25), 0.0),
        ("01:45:00", "#fr", "-", "FR", &[], Some(0), Some(-4.0), 8.0),
    ];
    let rows: Vec<(i64, Vec<(&str, Value)>)> = rows
        .iter()
        .map(|(clock, channel, user, country, tags, added, delta, score)| {
            let tags = match tags {
                [] => Value::Null,
                [tag] => text(tag),
                tags => Value::List(tags.iter().map(|tag| text(tag)).collect()),
            };
            let fields = vec![
                ("channel", text(channel)),
                ("user", text(user)),
                ("country", text(country)),
                ("tags", tags),
                ("added", added.map_or(Value::Null, Value::Long)),
                ("delta", delta.map_or(Value::Null, Value::Double)),
                ("score", Value::Double(*score)),
            ];
            (parse_timestamp(&format!("2026-01-01T{clock}Z")).unwrap(), fields)
        })
        .collect();
    serve(inventory, "wiki", "2026-01-01T00/2026-01-01T01", &schema, &rows[..4]);
    serve(inventory, "wiki", "2026-01-01T01/2026-01-01T02", &schema, &rows[4..]);
}

/// Arrays and documents.
fn shop(inventory: &Inventory) {
    let schema = schema(&[("sizes", ValueType::array(ValueType::Long)), ("doc", ValueType::json())]);
    let sizes = || Value::List(vec![Value::Long(1), Value::Long(2), Value::Null]);
    let json = |text: &str| Value::Json(text.into());
    let start = parse_timestamp("2026-02-01").unwrap();
    let rows = [
        (start, vec![("sizes", sizes()), ("doc", json(r#"{"a":{"b":[1,"x"]},"n":7}"#))]),
        (start + 1, vec![("sizes", sizes()), ("doc", Value::text("no object"))]),
        (start + 2, vec![("sizes", Value::List(Vec::new())), ("doc", json(r#"{"n":2}"#))]),
        (start + 3, vec![]),
    ];
    serve(inventory, "shop", "2026-02-01/2026-02-02", &schema, &rows);
}

fn lineitem(inventory: &Inventory) {
    let schema = schema(&[
        ("l_orderkey", ValueType::Long),
        ("l_partkey", ValueType::Long),
        ("l_suppkey", ValueType::Long),
        ("l_quantity", ValueType::Long),
        ("l_extendedprice", ValueType::Double),
        ("l_discount", ValueType::Double),
        ("l_tax", ValueType::Double),
        ("l_returnflag", ValueType::String),
        ("l_linestatus", ValueType::String),
        ("l_commitdate", ValueType::String),
        ("l_shipinstruct", ValueType::String),
        ("l_shipmode", ValueType::String),
        ("l_comment", ValueType::String),
    ]);
    const MODES: [&str; 7] = ["AIR", "REG AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
    const DAY: i64 = 86_400_000;
    let start = parse_timestamp("1992-01-02").unwrap();
    let rows: Vec<(i64, Vec<(&str, Value)>)> = (0..600i64)
        .map(|i| {
            let price = 900.0 + (i * 37 % 1000) as f64 / 4.0;
            let fields = vec![
                ("l_orderkey", Value::Long(i / 4)),
                ("l_partkey", Value::Long(i * 7 % 50)),
                ("l_suppkey", Value::Long(i * 13 % 20)),
                ("l_quantity", Value::Long(i % 50 + 1)),
                ("l_extendedprice", Value::Double(price)),
                ("l_discount", Value::Double((i % 11) as f64 / 100.0)),
                ("l_tax", Value::Double((i % 9) as f64 / 100.0)),
                ("l_returnflag", Value::text(["A", "N", "R"][(i % 3) as usize])),
                ("l_linestatus", Value::text(["F", "O"][(i % 2) as usize])),
                ("l_commitdate", Value::text(&format!("1994-0{}-1{}", i % 9 + 1, i % 7))),
                ("l_shipinstruct", Value::text(["NONE", "COLLECT COD", "TAKE BACK RETURN"][(i % 3) as usize])),
                ("l_shipmode", Value::text(MODES[(i % 7) as usize])),
                ("l_comment", Value::text(if i % 10 == 0 { "a special kind of requests" } else { "furiously even" })),
            ];
            (start + i * 4 * DAY, fields)
        })
        .collect();
    serve(inventory, "lineitem", "1992/1999", &schema, &rows);
}
