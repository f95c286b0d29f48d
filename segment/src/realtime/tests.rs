//! The index against a naive model: random events, appended in pieces with seals between, read back through snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::aggregate::{Aggregate, AggregateKind, Hll, Input};
use crate::block::{Block, Value};
use crate::row::{Cell, RowBatch};
use crate::time::{Granularity, Interval};

fn id() -> SegmentId {
    let interval = Interval { start: 0, end: 3_600_000 };
    SegmentId { datasource: "test".into(), interval, version: "v".into(), partition: 0 }
}

fn dimension(name: &str, value_type: ValueType) -> DimensionSchema {
    DimensionSchema { name: name.into(), value_type, multi_value: MultiValue::SortedArray, indexed: true, auto: false }
}

fn metric(name: &str, kind: fn(ValueType, Input) -> AggregateKind, value_type: ValueType, field: &str) -> Aggregate {
    Aggregate { name: name.into(), kind: kind(value_type, Input::Column(field.into())) }
}

fn sum(value_type: ValueType, input: Input) -> AggregateKind {
    AggregateKind::Sum { value_type, input }
}

fn max(value_type: ValueType, input: Input) -> AggregateKind {
    AggregateKind::Max { value_type, input }
}

fn schema(rollup: bool, discovery: Discovery) -> Schema {
    Schema {
        dimensions: vec![dimension("text", ValueType::String), dimension("number", ValueType::Long)],
        discovery,
        exclusions: vec!["left_out".into()],
        metrics: vec![
            Aggregate { name: "count".into(), kind: AggregateKind::Count },
            metric("sum", sum, ValueType::Long, "amount"),
            metric("most", max, ValueType::Double, "amount"),
        ],
        rollup,
        query_granularity: if rollup { Granularity::Duration { millis: 1000, origin: 0 } } else { Granularity::None },
    }
}

fn index(schema: Schema) -> RealtimeIndex {
    RealtimeIndex::new(id(), schema, std::env::temp_dir(), Vec::new()).unwrap()
}

#[derive(Debug, Clone)]
struct Event {
    time: i64,
    texts: Vec<Option<u8>>,
    number: Option<i64>,
    amount: Option<i64>,
}

fn event() -> impl Strategy<Value = Event> {
    let texts = prop_oneof![
        4 => proptest::collection::vec(proptest::option::weighted(0.8, 0u8..6), 1),
        1 => proptest::collection::vec(proptest::option::weighted(0.9, 0u8..6), 0..4),
    ];
    let number = proptest::option::weighted(0.8, 0i64..4);
    (0i64..5000, texts, number, proptest::option::weighted(0.9, -100i64..100))
        .prop_map(|(time, texts, number, amount)| Event { time, texts, number, amount })
}

fn batch(events: &[Event]) -> RowBatch {
    let mut batch = RowBatch::new();
    let (text, number) = (batch.field("text"), batch.field("number"));
    let (amount, left_out) = (batch.field("amount"), batch.field("left_out"));
    for event in events {
        let cells: Vec<Cell> = event
            .texts
            .iter()
            .map(|value| value.map_or(Cell::Null, |value| batch.text(&format!("t{value}"))))
            .collect();
        let cell = if let [one] = cells[..] { one } else { batch.list(&cells) };
        batch.set(text, cell);
        batch.set(number, event.number.map_or(Cell::Null, Cell::Long));
        batch.set(amount, event.amount.map_or(Cell::Null, Cell::Long));
        batch.set(left_out, Cell::Long(1));
        batch.finish_row(event.time);
    }
    batch
}

fn rows(batch: &RowBatch) -> Vec<u32> {
    (0..batch.rows() as u32).collect()
}

/// What a row is told apart by: time, texts (as printed), number.
type Key = (i64, String, Option<i64>);

/// Rows, count, sum, most.
type Totals = (u64, i64, Option<i64>, Option<i64>);

fn key_of(event: &Event, rollup: bool) -> Key {
    let time = if rollup { event.time / 1000 * 1000 } else { event.time };
    let mut texts: Vec<Value> =
        event.texts.iter().map(|value| value.map_or(Value::Null, |value| Value::text(&format!("t{value}")))).collect();
    texts.sort_by_key(|value| format!("{value:?}"));
    texts.sort_by_key(|value| !value.is_null());
    let text = match &texts[..] {
        [] => Value::Null,
        [one] => one.clone(),
        _ => Value::List(texts),
    };
    (time, format!("{text:?}"), event.number)
}

fn add(totals: &mut BTreeMap<Key, Totals>, key: Key, rows: u64, count: i64, sum: Option<i64>, most: Option<i64>) {
    let entry = totals.entry(key).or_default();
    entry.0 += rows;
    entry.1 += count;
    entry.2 = entry.2.into_iter().chain(sum).reduce(|a, b| a + b);
    entry.3 = entry.3.into_iter().chain(most).max();
}

fn naive(events: &[Event], rollup: bool) -> BTreeMap<Key, Totals> {
    let mut totals = BTreeMap::new();
    for event in events {
        add(&mut totals, key_of(event, rollup), 1, 1, event.amount, event.amount);
    }
    if rollup {
        totals.values_mut().for_each(|entry| entry.0 = 1);
    }
    totals
}

fn block(segment: &Segment, name: &str) -> Block {
    segment.column(name).unwrap().unwrap().block(0, segment.rows())
}

fn read(segments: &Segments) -> BTreeMap<Key, Totals> {
    let mut totals = BTreeMap::new();
    for segment in segments {
        let names = ["__time", "text", "number", "count", "sum", "most"];
        let blocks = names.map(|name| block(segment, name));
        let long = |value: Value| match value {
            Value::Long(value) => Some(value),
            Value::Double(value) => Some(value as i64),
            _ => None,
        };
        for row in 0..segment.rows() {
            let [time, text, number, count, sum, most] = [0, 1, 2, 3, 4, 5].map(|at: usize| blocks[at].value(row));
            let text = match text {
                Value::List(list) if list.is_empty() => Value::Null,
                Value::List(list) if list.len() == 1 => list[0].clone(),
                other => other,
            };
            let key = (long(time).unwrap(), format!("{text:?}"), long(number));
            add(&mut totals, key, 1, long(count).unwrap(), long(sum), long(most));
        }
    }
    totals
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn snapshots_equal_a_naive_model(
        batches in proptest::collection::vec(proptest::collection::vec(event(), 0..60), 1..6),
        rollup: bool,
        seal_after in proptest::option::of(0usize..5),
    ) {
        let index = index(schema(rollup, Discovery::None));
        let mut events = Vec::new();
        let mut before: Option<(Segments, BTreeMap<Key, Totals>)> = None;
        for (number, new) in batches.iter().enumerate() {
            let batch = batch(new);
            let appended = index.append(&batch, &rows(&batch)).unwrap();
            prop_assert_eq!(appended.with_error, 0);
            events.extend(new.iter().cloned());
            let snapshot = index.snapshot();
            let totals = read(&snapshot);
            if let Some((old, then)) = &before {
                prop_assert_eq!(&read(old), then, "a snapshot changed after it was taken");
            }
            if seal_after.is_none_or(|seal| number <= seal) {
                prop_assert_eq!(&totals, &naive(&events, rollup));
            }
            let count: i64 = totals.values().map(|entry| entry.1).sum();
            prop_assert_eq!(count, events.len() as i64);
            before = Some((snapshot, totals));
            if seal_after == Some(number) {
                prop_assert_eq!(index.seal(), !events.is_empty());
            }
        }
        if !rollup {
            prop_assert_eq!(read(&index.snapshot()), naive(&events, rollup));
        }
    }

    #[test]
    fn bytes_are_no_less_than_the_columns_hold(events in proptest::collection::vec(event(), 1..200), rollup: bool) {
        let index = index(schema(rollup, Discovery::None));
        let batch = batch(&events);
        let appended = index.append(&batch, &rows(&batch)).unwrap();
        let held: u64 = index.snapshot().iter().map(|segment| segment.size_bytes()).sum();
        prop_assert!(appended.bytes_in_memory as u64 >= held);
    }
}

#[test]
fn readers_see_counts_and_sums_that_agree_and_never_fall() {
    for rollup in [false, true] {
        let index = Arc::new(index(schema(rollup, Discovery::None)));
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (index, done) = (index.clone(), done.clone());
                std::thread::spawn(move || {
                    let (mut last, mut looks) = (0, 0u64);
                    loop {
                        let ended = done.load(Ordering::Acquire);
                        let totals = read(&index.snapshot());
                        let count: i64 = totals.values().map(|entry| entry.1).sum();
                        let sum: i64 = totals.values().filter_map(|entry| entry.2).sum();
                        assert_eq!(sum, count * 3, "count and sum are of different moments");
                        assert!(count >= last, "count fell from {last} to {count}");
                        (last, looks) = (count, looks + 1);
                        if ended {
                            return (last, looks);
                        }
                    }
                })
            })
            .collect();
        let mut appended = 0;
        for round in 0..200i64 {
            let new: Vec<Event> = (0..100)
                .map(|at| Event {
                    time: (round * 7 + at) % 5000,
                    texts: vec![Some((at % 5) as u8)],
                    number: Some(at % 3),
                    amount: Some(3),
                })
                .collect();
            let batch = batch(&new);
            index.append(&batch, &rows(&batch)).unwrap();
            appended += new.len() as i64;
            if round % 40 == 39 {
                index.seal();
            }
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            let (count, looks) = reader.join().unwrap();
            assert_eq!(count, appended);
            assert!(looks > 0);
        }
    }
}

fn one_field(name: &str, cells: &[&dyn Fn(&mut RowBatch) -> Cell]) -> RowBatch {
    let mut batch = RowBatch::new();
    let field = batch.field(name);
    for cell in cells {
        let cell = cell(&mut batch);
        batch.set(field, cell);
        batch.finish_row(0);
    }
    batch
}

fn append_all(index: &RealtimeIndex, batch: &RowBatch) -> Appended {
    index.append(batch, &rows(batch)).unwrap()
}

#[test]
fn values_that_cannot_be_converted_become_null_and_are_counted() {
    let index = index(schema(false, Discovery::None));
    let batch = one_field("number", &[&|b| b.text("17"), &|b| b.text("x"), &|_| Cell::Double(2.9), &|_| Cell::Null]);
    let appended = append_all(&index, &batch);
    assert_eq!(appended.with_error, 1);
    let reason = "could not convert value [x] to long for dimension [number]";
    assert_eq!(appended.problems, [Problem { row: 1, reason: reason.into() }]);
    let values: Vec<Value> = (0..4).map(|row| block(&index.snapshot()[0], "number").value(row)).collect();
    assert_eq!(values, [Value::Long(17), Value::Null, Value::Long(2), Value::Null]);

    let amounts = one_field("amount", &[&|b| b.text("1,000"), &|b| b.text("much")]);
    let appended = append_all(&index, &amounts);
    assert_eq!(appended.with_error, 1);
    assert_eq!(appended.problems[0].reason, "Unable to parse value[much] for field[amount]");
}

#[test]
fn dimensions_are_discovered_and_their_types_widen() {
    for rollup in [false, true] {
        let index = index(schema(rollup, Discovery::Typed));
        append_all(&index, &one_field("new", &[&|_| Cell::Null]));
        assert!(index.snapshot()[0].column("new").unwrap().is_none(), "a null makes no dimension");
        let look = |value_type: ValueType, values: &[Value]| {
            let segment = index.snapshot().remove(0);
            assert_eq!(segment.dimensions(), ["text", "number", "new"]);
            assert_eq!(segment.column("new").unwrap().unwrap().value_type(), value_type);
            let block = block(&segment, "new");
            let got: Vec<Value> = (0..segment.rows()).map(|row| block.value(row)).collect();
            assert_eq!(got, values);
        };
        append_all(&index, &one_field("new", &[&|_| Cell::Long(1)]));
        look(ValueType::Long, &[Value::Null, Value::Long(1)]);
        append_all(&index, &one_field("new", &[&|_| Cell::Double(2.5)]));
        look(ValueType::Double, &[Value::Null, Value::Double(1.0), Value::Double(2.5)]);
        append_all(&index, &one_field("new", &[&|b| b.text("x")]));
        let expected = [Value::Null, Value::text("1.0"), Value::text("2.5"), Value::text("x")];
        look(ValueType::String, &expected);
        append_all(&index, &one_field("new", &[&|_| Cell::Double(2.5)]));
        let rows = index.snapshot()[0].rows();
        assert_eq!(rows, if rollup { 4 } else { 5 }, "rows made equal by widening are found again");
    }
}

#[test]
fn discovery_leaves_out_what_metrics_read_and_exclusions() {
    let index = index(schema(false, Discovery::Strings));
    let events = [Event { time: 1, texts: vec![Some(1)], number: None, amount: Some(2) }];
    append_all(&index, &batch(&events));
    assert_eq!(index.snapshot()[0].dimensions(), ["text", "number"]);
    append_all(&index, &one_field("other", &[&|_| Cell::Bool(true)]));
    let snapshot = index.snapshot();
    assert_eq!(snapshot[0].dimensions(), ["text", "number", "other"]);
    assert_eq!(block(&snapshot[0], "other").value(1), Value::text("true"));
}

#[test]
fn metrics_that_cannot_fold_are_refused_by_name() {
    let mut schema = schema(true, Discovery::None);
    schema
        .metrics
        .push(Aggregate { name: "avg".into(), kind: AggregateKind::Mean { input: Input::Column("x".into()) } });
    let error = RealtimeIndex::new(id(), schema, std::env::temp_dir(), Vec::new()).err().unwrap();
    assert!(error.to_string().contains("metric avg"), "{error}");
}

/// Documents of every kind through memory, a spill and the final file.
#[test]
fn arrays_and_documents_take_the_narrowest_type_and_survive_a_merge() {
    let list = |batch: &mut RowBatch, cells: &[Cell]| batch.list(cells);
    let folder = tempfile::tempdir().unwrap();
    let mut schema = schema(true, Discovery::Typed);
    schema.dimensions.push(DimensionSchema { auto: true, ..dimension("auto", ValueType::String) });
    schema.dimensions.push(dimension("doc", ValueType::json()));
    let index = RealtimeIndex::new(id(), schema, folder.path().into(), Vec::new()).unwrap();
    let kind = |index: &RealtimeIndex| index.snapshot().last().unwrap().column("auto").unwrap().unwrap().value_type();

    append_all(&index, &one_field("auto", &[&|_| Cell::Null]));
    assert_eq!(kind(&index), ValueType::String, "nothing but nulls");
    append_all(&index, &one_field("auto", &[&|b| list(b, &[])]));
    assert_eq!(kind(&index), ValueType::array(ValueType::Long));
    append_all(&index, &one_field("auto", &[&|b| list(b, &[Cell::Long(1), Cell::Null])]));
    append_all(&index, &one_field("auto", &[&|_| Cell::Double(2.5)]));
    assert_eq!(kind(&index), ValueType::array(ValueType::Double), "a scalar is an array of one");
    append_all(&index, &one_field("doc", &[&|b| b.json(r#"{"a":1}"#), &|b| b.text("x"), &|_| Cell::Long(7)]));
    index.spill().unwrap();
    append_all(&index, &one_field("auto", &[&|b| list(b, &[Cell::Long(1), Cell::Null])]));

    let target = folder.path().join("final");
    index.freeze(&target).unwrap();
    let segment = crate::file::open(&target, id()).unwrap();
    assert_eq!(segment.column("auto").unwrap().unwrap().value_type(), ValueType::array(ValueType::Double));
    assert_eq!(segment.column("doc").unwrap().unwrap().value_type(), ValueType::json());
    let count = block(&segment, "count");
    let mut got: Vec<(Value, Value, Value)> = (0..segment.rows())
        .map(|row| (block(&segment, "auto").value(row), block(&segment, "doc").value(row), count.value(row)))
        .collect();
    got.sort_by_key(|row| format!("{row:?}"));
    let json = |text: &str| Value::Json(text.into());
    let doubles = |values: &[Value]| Value::List(values.to_vec());
    assert_eq!(
        got,
        [
            (doubles(&[Value::Double(1.0), Value::Null]), Value::Null, Value::Long(2)),
            (doubles(&[Value::Double(2.5)]), Value::Null, Value::Long(1)),
            (doubles(&[]), Value::Null, Value::Long(1)),
            (Value::Null, json("7"), Value::Long(1)),
            (Value::Null, json(r#""x""#), Value::Long(1)),
            (Value::Null, json(r#"{"a":1}"#), Value::Long(1)),
            (Value::Null, Value::Null, Value::Long(1)),
        ]
    );
}

#[test]
fn sketches_are_kept_row_by_row_and_joined_when_rows_become_one() {
    use crate::aggregate::accumulator::{self, Groups, Values};
    let folder = tempfile::tempdir().unwrap();
    let mut schema = schema(true, Discovery::None);
    let hll = AggregateKind::Hll(Hll { round: true, ..Hll::of(vec![Input::Column("user".into())]) });
    schema.metrics.push(Aggregate { name: "users".into(), kind: hll });
    let combining = schema.metrics.last().unwrap().combining();
    let index = RealtimeIndex::new(id(), schema, folder.path().into(), Vec::new()).unwrap();
    let users = |names: &[&'static str]| {
        let mut batch = RowBatch::new();
        let field = batch.field("user");
        for name in names {
            let cell = batch.text(name);
            batch.set(field, cell);
            batch.finish_row(0);
        }
        batch
    };
    let distinct = |segments: &[Arc<Segment>]| {
        let mut all = accumulator::new(&combining);
        all.resize(1);
        for segment in segments {
            let block = block(segment, "users");
            let values: Vec<Value> = (0..segment.rows()).map(|row| block.value(row)).collect();
            all.fold(values.len(), Groups::One(0), &[Values::Any(&values)]);
        }
        all.finish(&[0]).value(0)
    };
    append_all(&index, &users(&["ann", "bob", "ann"]));
    assert_eq!(index.snapshot()[0].rows(), 1, "rolled up");
    assert_eq!(distinct(&index.snapshot()), Value::Long(2));
    append_all(&index, &users(&["cid"]));
    assert_eq!(distinct(&index.snapshot()), Value::Long(3), "a view after a change is a new one");
    index.spill().unwrap();
    append_all(&index, &users(&["ann", "dan"]));
    let target = folder.path().join("final");
    index.freeze(&target).unwrap();
    let segment = Arc::new(crate::file::open(&target, id()).unwrap());
    assert_eq!(segment.rows(), 1);
    assert_eq!(distinct(&[segment]), Value::Long(4));
}

#[test]
fn first_and_last_values_are_kept_with_their_times() {
    use crate::aggregate::accumulator::{self, Groups, Values};
    use serde_json::json;
    let folder = tempfile::tempdir().unwrap();
    let mut schema = schema(true, Discovery::None);
    for (kind, name) in [("stringFirst", "first"), ("longLast", "last")] {
        let field = if kind == "stringFirst" { "user" } else { "amount" };
        let json = json!({"type": kind, "name": name, "fieldName": field});
        schema.metrics.push(Aggregate::from_json(&json, "metric").unwrap());
    }
    let combining: Vec<Aggregate> = schema.metrics[schema.metrics.len() - 2..].iter().map(|m| m.combining()).collect();
    let index = RealtimeIndex::new(id(), schema, folder.path().into(), Vec::new()).unwrap();
    // One row after rollup, the times out of order and over two files.
    for part in [[(700, "ann", 1), (300, "bob", 2)], [(200, "cid", 3), (900, "dan", 4)]] {
        let mut batch = RowBatch::new();
        let (user, amount) = (batch.field("user"), batch.field("amount"));
        for (time, name, value) in part {
            let cell = batch.text(name);
            batch.set(user, cell);
            batch.set(amount, Cell::Long(value));
            batch.finish_row(time);
        }
        append_all(&index, &batch);
        index.spill().unwrap();
    }
    let target = folder.path().join("final");
    index.freeze(&target).unwrap();
    let segment = crate::file::open(&target, id()).unwrap();
    assert_eq!(segment.rows(), 1);
    let value = |metric: &Aggregate| {
        let mut state = accumulator::new(metric);
        state.resize(1);
        let values = [block(&segment, &metric.name).value(0)];
        state.fold(1, Groups::One(0), &[Values::Any(&values), Values::Null]);
        state.finish(&[0]).value(0)
    };
    assert_eq!(value(&combining[0]), Value::text("cid"));
    assert_eq!(value(&combining[1]), Value::Long(4));
}
