//! Random tables, how they are built and read back, and what merging them means, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use segment::aggregate::{Aggregate, AggregateKind, Hll, Input};
use segment::block::{BLOCK_ROWS, Value};
use segment::merge::merge_with;
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::{Granularity, Interval, Segment, SegmentId};

/// A row: time, then a value a dimension, then a value a metric.
#[derive(Debug, Clone)]
pub struct Row {
    pub time: i64,
    pub values: Vec<Value>,
}

pub const DIMENSIONS: [(&str, ValueType); 6] = [
    ("few", ValueType::String),
    ("tags", ValueType::String),
    ("many", ValueType::String),
    ("long", ValueType::Long),
    ("double", ValueType::Double),
    ("float", ValueType::Float),
];
pub const METRICS: [&str; 6] = ["count", "added", "lowest", "highest", "total", "sketch"];

pub fn schema(rollup: bool, query_granularity: Granularity) -> Schema {
    let dimension = |(name, value_type): &(&str, ValueType)| DimensionSchema {
        name: name.to_string(),
        value_type: value_type.clone(),
        multi_value: MultiValue::Array,
        indexed: true,
        auto: false,
    };
    let metric = |name: &str, kind| Aggregate { name: name.into(), kind };
    let input = |name: &str| Input::Column(name.into());
    Schema {
        dimensions: DIMENSIONS.iter().map(dimension).collect(),
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: vec![
            metric("count", AggregateKind::Count),
            metric("added", AggregateKind::Sum { value_type: ValueType::Long, input: input("a") }),
            metric("lowest", AggregateKind::Min { value_type: ValueType::Long, input: input("b") }),
            metric("highest", AggregateKind::Max { value_type: ValueType::Float, input: input("c") }),
            metric("total", AggregateKind::Sum { value_type: ValueType::Double, input: input("d") }),
            metric("sketch", AggregateKind::Hll(Hll { round: true, ..Hll::of(vec![input("e")]) })),
        ],
        rollup,
        query_granularity,
    }
}

pub fn id() -> SegmentId {
    SegmentId {
        datasource: "table".into(),
        interval: Interval { start: -1_000_000_000_000, end: 4_000_000_000_000 },
        version: "v".into(),
        partition: 0,
    }
}

pub fn build(schema: &Schema, rows: &[Row]) -> Arc<Segment> {
    let names = || DIMENSIONS.iter().map(|(name, _)| *name).chain(METRICS);
    let fields: Vec<(i64, Vec<(&str, Value)>)> =
        rows.iter().map(|row| (row.time, names().zip(row.values.iter().cloned()).collect())).collect();
    Arc::new(Segment::from_rows(id(), schema, &fields))
}

/// Every row of a segment, through the blocks of its columns.
pub fn read(segment: &Segment) -> segment::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::with_capacity(segment.rows());
    for start in (0..segment.rows()).step_by(BLOCK_ROWS) {
        let len = BLOCK_ROWS.min(segment.rows() - start);
        let mut times = vec![0; len];
        segment.time()?.longs(start, &mut times);
        rows.extend(times.into_iter().map(|time| Row { time, values: Vec::new() }));
        for (name, _) in segment.columns().iter().skip(1) {
            let block = segment.column(name)?.expect("a column that the segment lists").block(start, len);
            (0..len).for_each(|i| rows[start + i].values.push(block.value(i)));
        }
    }
    Ok(rows)
}

/// A key that tells values apart bit by bit, and orders them as a segment does: null first, then by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Null,
    Number(i128),
    List(Vec<Key>),
    Text(String),
    Bytes(Vec<u8>),
}

pub fn key(value: &Value) -> Key {
    match value {
        Value::Null => Key::Null,
        Value::Long(v) => Key::Number(i128::from(*v)),
        Value::Double(v) => {
            let bits = v.to_bits();
            Key::Number(i128::from(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }))
        }
        Value::Text(text) | Value::Json(text) => Key::Text(text.to_string()),
        Value::List(values) => match values.as_slice() {
            [] => Key::Null,
            [one] => key(one),
            many => Key::List(many.iter().map(key).collect()),
        },
        Value::Bytes(bytes) => Key::Bytes(bytes.to_vec()),
    }
}

/// As a list, which orders multi-value rows: an empty one first.
fn list_key(value: &Value) -> Key {
    match key(value) {
        Key::Null => Key::List(Vec::new()),
        Key::List(keys) => Key::List(keys),
        one => Key::List(vec![one]),
    }
}

pub fn keys(rows: &[Row]) -> Vec<(i64, Vec<Key>)> {
    rows.iter().map(|row| (row.time, row.values.iter().map(key).collect())).collect()
}

/// What a merge of the rows gives: sorted, and rolled up if the schema says so.
pub fn merged(schema: &Schema, rows: &[Row]) -> Vec<Row> {
    let mut sorted: Vec<(i64, Vec<Key>, Vec<Value>)> = rows
        .iter()
        .map(|row| {
            let dimensions = &row.values[..DIMENSIONS.len()];
            (schema.query_granularity.floor(row.time), dimensions.iter().map(list_key).collect(), row.values.clone())
        })
        .collect();
    sorted.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    if !schema.rollup {
        return sorted.into_iter().map(|(time, _, values)| Row { time, values }).collect();
    }
    let mut groups: BTreeMap<(i64, Vec<Key>), Vec<Vec<Value>>> = BTreeMap::new();
    for (time, keys, values) in sorted {
        groups.entry((time, keys)).or_default().push(values);
    }
    let fold = |rows: &[Vec<Value>], metric: usize| -> Value {
        let at = DIMENSIONS.len() + metric;
        let values = rows.iter().map(|row| row[at].clone()).filter(|v| !v.is_null());
        let combine = |a: Value, b: Value| match (a, b) {
            (Value::Long(a), Value::Long(b)) => Value::Long(if metric == 2 { a.min(b) } else { a.wrapping_add(b) }),
            (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&a[..], &b[..]].concat().into()),
            (Value::Double(a), Value::Double(b)) => Value::Double(if metric == 3 { a.max(b) } else { a + b }),
            _ => panic!("metrics of one type"),
        };
        values.reduce(combine).unwrap_or(Value::Null)
    };
    let row = |((time, _), rows): ((i64, Vec<Key>), Vec<Vec<Value>>)| {
        let mut values = rows[0][..DIMENSIONS.len()].to_vec();
        values.extend((0..METRICS.len()).map(|metric| fold(&rows, metric)));
        Row { time, values }
    };
    groups.into_iter().map(row).collect()
}

/// Writes rows as one file, sketches joined end to end.
pub fn write(inputs: &[Arc<Segment>], schema: &Schema, to: &std::path::Path) -> segment::SegmentMeta {
    merge_with(inputs, schema, &id(), to, &|_, states| Ok(states.concat())).unwrap()
}

/// A table of several blocks in which every form of block appears.
pub fn large(rows: i64) -> Vec<Row> {
    let row = |i: i64| {
        let mix = i.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64) >> 33;
        let text = |s: String| Value::text(&s);
        let dimensions = [
            if i % 11 == 0 { Value::Null } else { text(format!("v{}", mix.rem_euclid(3))) },
            match mix.rem_euclid(5) {
                0 => Value::List(vec![text(format!("t{}", i % 50)), Value::text("x")]),
                1 => Value::Null,
                _ => text(format!("t{}", i % 7)),
            },
            text(format!("{:x}", mix.rem_euclid(6_000))),
            Value::Long(mix),
            Value::Double(mix.rem_euclid(1000) as f64 / 100.0),
            if i < 5000 { Value::Null } else { Value::Double(1.5) },
        ];
        let metrics = [
            Value::Long(1),
            Value::Long(if i % 2 == 0 { i64::MAX } else { i }),
            Value::Null,
            Value::Double(2.0),
            Value::Double(mix.rem_euclid(77) as f64),
            if i % 3 == 0 { Value::Bytes(Arc::from(&i.to_le_bytes()[..3])) } else { Value::Null },
        ];
        Row { time: mix.rem_euclid(500_000), values: dimensions.into_iter().chain(metrics).collect() }
    };
    (0..rows).map(row).collect()
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value]
}

fn text(pattern: &'static str) -> impl Strategy<Value = Value> {
    pattern.prop_map(|text| Value::text(&text))
}

/// Rows whose values repeat or not as `spread` says. Doubles are wholes, so that sums do not hang on their order.
pub fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    (1i64..200_000, 1i64..100).prop_flat_map(move |(span, spread)| {
        let tag = || prop_oneof![text("[a-d]"), Just(Value::Null), Just(Value::text(""))];
        let list = proptest::collection::vec(tag(), 0..4).prop_map(Value::List);
        let dimensions = (
            maybe(text("[a-c]{0,1}")),
            prop_oneof![maybe(text("[a-d]")), maybe(list)],
            maybe(text("[a-zé☃]{0,3}-[0-9]{0,2}")),
            maybe((0..spread).prop_map(|v| Value::Long(v * 1_000_003 - 7))),
            maybe((0..spread).prop_map(|v| Value::Double(v as f64 / 8.0))),
            maybe((0..spread).prop_map(|v| Value::Double(f64::from((v as f32) / 10.0)))),
        );
        let metrics = (
            (1i64..3).prop_map(Value::Long),
            maybe(any::<i64>().prop_map(Value::Long)),
            maybe((-9i64..9).prop_map(Value::Long)),
            maybe((0u8..200).prop_map(|v| Value::Double(f64::from(v)))),
            maybe((-1000i32..1000).prop_map(|v| Value::Double(f64::from(v)))),
            maybe(proptest::collection::vec(any::<u8>(), 0..9).prop_map(|v| Value::Bytes(v.into()))),
        );
        let row = (0..span, dimensions, metrics).prop_map(|(time, d, m)| Row {
            time,
            values: vec![d.0, d.1, d.2, d.3, d.4, d.5, m.0, m.1, m.2, m.3, m.4, m.5],
        });
        proptest::collection::vec(row, 0..most)
    })
}
