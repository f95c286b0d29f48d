//! The rows a selector gives are the rows for which the filter is true, one by one, whatever the columns look like.

use std::sync::Arc;

use proptest::prelude::*;
use query::columns::Columns;
use query::engine::Piece;
use query::language::VirtualColumn;
use query::selection::{Scratch, Selected, Selector};
use segment::block::{BLOCK_ROWS, Value};
use segment::expr::Expr;
use segment::filter::Filter;
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

use crate::dimension;

const ROWS_MAX: usize = 300;

fn schema() -> Schema {
    Schema {
        dimensions: vec![
            dimension("s", ValueType::String),
            dimension("t", ValueType::String),
            dimension("m", ValueType::String),
            dimension("l", ValueType::Long),
            dimension("f", ValueType::Float),
            dimension("d", ValueType::Double),
        ],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    }
}

fn id() -> SegmentId {
    SegmentId { datasource: "t".into(), interval: Interval::ETERNITY, version: "v".into(), partition: 0 }
}

type Row = (i64, Vec<(&'static str, Value)>);

const TEXTS: &[&str] = &["", "a", "b", "ab", "B", "10", "9", "1.5", "-3", "x%y", "zebra"];

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 6 => prop::sample::select(TEXTS).prop_map(Value::text)]
}

fn row() -> impl Strategy<Value = Row> {
    let list = prop_oneof![
        2 => text(),
        3 => prop::collection::vec(text(), 2..4).prop_map(Value::List),
    ];
    let long = prop_oneof![
        1 => Just(Value::Null),
        6 => (-4i64..12).prop_map(Value::Long),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1]).prop_map(Value::Long),
    ];
    let double = || {
        prop_oneof![
            1 => Just(Value::Null),
            6 => (-8i32..24).prop_map(|n| Value::Double(f64::from(n) / 2.0)),
            1 => prop::sample::select(vec![-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]).prop_map(Value::Double),
        ]
    };
    let float = double().prop_map(|value| match value {
        Value::Double(d) => Value::Double(f64::from(d as f32)),
        other => other,
    });
    (0i64..40, text(), text(), list, long, float, double())
        .prop_map(|(time, s, t, m, l, f, d)| (time, vec![("s", s), ("t", t), ("m", m), ("l", l), ("f", f), ("d", d)]))
}

fn literal() -> impl Strategy<Value = (Json, &'static str)> {
    prop_oneof![
        prop::sample::select(TEXTS).prop_map(|t| (json!(t), "STRING")),
        (-4i64..12).prop_map(|l| (json!(l), "LONG")),
        prop::sample::select(vec![i64::MIN, i64::MAX, (1 << 53) + 1]).prop_map(|l| (json!(l), "LONG")),
        (-8i32..24).prop_map(|n| (json!(f64::from(n) / 2.0), "DOUBLE")),
        // A half is the same as a float and as a double: rows evaluated one by one do not know a column's type.
        Just((json!(0.5), "FLOAT")),
    ]
}

fn leaf() -> impl Strategy<Value = Json> {
    let columns = vec!["s", "t", "m", "l", "f", "d", "none", "v", "w", "n", "__time"];
    let column = move || prop::sample::select(columns.clone());
    let words = || prop::sample::select(TEXTS);
    let order = || prop::sample::select(vec!["lexicographic", "alphanumeric", "numeric", "strlen"]);
    prop_oneof![
        column().prop_map(|c| json!({"type": "null", "column": c})),
        (column(), prop::option::of(words()))
            .prop_map(|(c, v)| json!({"type": "selector", "dimension": c, "value": v})),
        (column(), literal())
            .prop_map(|(c, (v, t))| json!({"type": "equals", "column": c, "matchValue": v, "matchValueType": t})),
        (column(), prop::collection::vec(prop::option::of(words()), 0..12))
            .prop_map(|(c, v)| json!({"type": "in", "dimension": c, "values": v})),
        (column(), prop::collection::vec(prop::option::of(-4i64..12), 1..14))
            .prop_map(|(c, v)| json!({"type": "inType", "column": c, "matchValueType": "LONG", "values": v})),
        (column(), literal(), any::<bool>(), any::<bool>()).prop_map(|(c, (v, t), lower, open)| {
            let (bound, strict) = if lower { ("lower", "lowerOpen") } else { ("upper", "upperOpen") };
            json!({"type": "range", "column": c, "matchValueType": t, bound: v, strict: open})
        }),
        (column(), -4i64..12, 0i64..6, any::<bool>(), any::<bool>()).prop_map(|(c, from, width, lo, uo)| {
            json!({"type": "range", "column": c, "matchValueType": "LONG", "lower": from, "upper": from + width,
                   "lowerOpen": lo, "upperOpen": uo})
        }),
        (column(), prop::option::of(words()), words(), any::<bool>(), order()).prop_map(
            |(c, lower, upper, strict, o)| {
                json!({"type": "bound", "dimension": c, "lower": lower, "upper": upper, "lowerStrict": strict,
                   "upperStrict": !strict, "ordering": o})
            }
        ),
        (column(), prop::sample::select(vec!["a%", "%b", "%", "_", "1%", "-_"]))
            .prop_map(|(c, p)| json!({"type": "like", "dimension": c, "pattern": p})),
        (column(), prop::sample::select(vec!["a", "^$", "[0-9]+", "b$"]))
            .prop_map(|(c, p)| json!({"type": "regex", "dimension": c, "pattern": p})),
        (column(), words()).prop_map(|(c, v)| json!({"type": "search", "dimension": c,
            "query": {"type": "insensitive_contains", "value": v}})),
        (column(), 0i64..40, 0i64..20).prop_map(|(c, from, width)| {
            let i = Interval { start: from, end: from + width };
            let j = Interval { start: from + width + 3, end: from + width + 9 };
            json!({"type": "interval", "dimension": c, "intervals": [i.to_string(), j.to_string()]})
        }),
        (column(), column()).prop_map(|(a, b)| json!({"type": "columnComparison", "dimensions": [a, b]})),
        prop::sample::select(vec![
            "l > 3",
            "upper(s) == 'A'",
            "s == 'a' || t == 'b'",
            "d * 2 < l",
            "strlen(s) > 1",
            "none == 1",
            "like(v, 'A%')",
        ])
        .prop_map(|e| json!({"type": "expression", "expression": e})),
        // Two of one column, which may contradict each other.
        (prop::sample::select(vec!["s", "m", "v", "none"]), few_words(), few_words()).prop_map(|(c, one, other)| {
            let one_of = |values| json!({"type": "in", "dimension": c, "values": values});
            json!({"type": "and", "fields": [one_of(one), one_of(other)]})
        }),
        Just(json!({"type": "true"})),
        Just(json!({"type": "false"})),
    ]
}

fn few_words() -> impl Strategy<Value = Vec<Option<&'static str>>> {
    prop::collection::vec(prop::option::of(prop::sample::select(TEXTS)), 1..4)
}

fn filter() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|f| json!({"type": "and", "fields": f})),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|f| json!({"type": "or", "fields": f})),
            inner.clone().prop_map(|f| json!({"type": "not", "field": f})),
            inner.clone().prop_map(|f| json!({"type": "istrue", "field": f})),
            inner.prop_map(|f| json!({"type": "isfalse", "field": f})),
        ]
    })
}

fn virtual_columns() -> Arc<[VirtualColumn]> {
    let column = |name: &str, text: &str, output_type| VirtualColumn {
        name: name.into(),
        expr: Expr::parse(text).expect("a valid expression"),
        output_type,
        among: None,
    };
    Arc::from([
        column("v", "upper(s)", Some(ValueType::String)),
        column("w", "concat(v, '!')", None),
        column("n", "l + 1", Some(ValueType::Long)),
    ])
}

/// The rows that a selector gives, block by block.
fn selected(columns: &Columns, filter: &Filter, intervals: &[Interval]) -> Vec<usize> {
    let selector = Selector::new(columns, Some(filter), intervals).expect("a filter can be compiled");
    let rows = columns.segment().rows();
    let mut scratch = Scratch::default();
    let mut found = Vec::new();
    for start in (0..rows).step_by(BLOCK_ROWS) {
        let len = BLOCK_ROWS.min(rows - start);
        let mut words = [u64::MAX; BLOCK_ROWS / 64];
        match selector.select(start, len, &mut scratch, &mut words).expect("rows can be selected") {
            Selected::None => {}
            Selected::All => found.extend(start..start + len),
            Selected::Some => {
                let after = &words[len.div_ceil(64)..];
                assert!(after.iter().all(|word| *word == u64::MAX), "words after the rows are left alone");
                let bit = |row: &usize| words[row / 64] >> (row % 64) & 1 == 1;
                found.extend((0..len.div_ceil(64) * 64).filter(bit).map(|row| start + row));
            }
        }
    }
    assert!(found.iter().all(|row| selector.range().contains(row)), "no row outside of the range");
    found
}

/// Row by row, on the values that went in.
fn expected(rows: &[Row], filter: &Filter, intervals: &[Interval]) -> Vec<usize> {
    let virtuals = virtual_columns();
    let mut found = Vec::new();
    for (i, (time, fields)) in rows.iter().enumerate() {
        let physical = |name: &str| match name {
            "__time" => Value::Long(*time),
            _ => fields.iter().find(|(n, _)| *n == name).map_or(Value::Null, |(_, v)| v.clone()),
        };
        let first = |name: &str| match virtuals.iter().find(|v| v.name == name && name != "w") {
            Some(v) => v.expr.value(&physical),
            None => physical(name),
        };
        let value = |name: &str| match virtuals.iter().find(|v| v.name == name && name == "w") {
            Some(v) => v.expr.value(&first),
            None => first(name),
        };
        let inside = intervals.iter().any(|interval| interval.contains(*time));
        if inside && filter.matches(&value) == Some(true) {
            found.push(i);
        }
    }
    found
}

/// Columns of which everything is seen.
fn whole(segment: Arc<Segment>, virtual_columns: Arc<[VirtualColumn]>) -> Columns {
    Piece::whole(segment.id().clone(), segment, vec![Interval::ETERNITY]).columns(virtual_columns)
}

/// The rows as a file, and as they stand in it.
fn file(rows: &[Row], folder: &std::path::Path) -> (Arc<Segment>, Vec<Row>) {
    let path = folder.join("segment");
    let memory = Arc::new(Segment::from_rows(id(), &schema(), rows));
    segment::merge::merge(&[memory], &schema(), &id(), &path).expect("a segment can be written");
    let file = Arc::new(segment::file::open(&path, id()).expect("a written file can be opened"));
    let columns = whole(file.clone(), Arc::from([]));
    let block = |name: &str| columns.block(name, 0, file.rows()).expect("a column can be read");
    let blocks = ["s", "t", "m", "l", "f", "d"].map(|name| (name, block(name)));
    let times = block("__time");
    let row = |i: usize| match times.value(i) {
        Value::Long(time) => (time, blocks.iter().map(|(name, block)| (*name, block.value(i))).collect()),
        other => panic!("a time that is {other:?}"),
    };
    let rows = (0..file.rows()).map(row).collect();
    (file, rows)
}

fn check(segment: Arc<Segment>, rows: &[Row], json: &Json, intervals: &[Interval]) -> Result<(), TestCaseError> {
    let filter = Filter::from_json(json, "filter").expect("a valid filter");
    let columns = whole(segment, virtual_columns());
    prop_assert_eq!(selected(&columns, &filter, intervals), expected(rows, &filter, intervals), "{}", json);
    Ok(())
}

/// Intervals between pairs of cuts; all of time if there are none.
fn between(mut cuts: Vec<i64>) -> Vec<Interval> {
    cuts.sort_unstable();
    let intervals: Vec<Interval> = cuts.chunks_exact(2).map(|c| Interval { start: c[0], end: c[1] }).collect();
    if intervals.is_empty() { vec![Interval::ETERNITY] } else { Interval::merge(&intervals) }
}

/// A filter on floats is searched for among all doubles, also those that no float is.
#[test]
fn bounds_that_are_no_numbers_hold_for_floats_too() {
    let names = ["s", "t", "m", "l", "f", "d"];
    let row = |time: i64, float: f64| {
        (time, names.map(|name| (name, if name == "f" { Value::Double(float) } else { Value::Null })).to_vec())
    };
    let rows: Vec<Row> = [-4.0, f64::NEG_INFINITY, 7.0, -0.5].into_iter().zip(0..).map(|(f, t)| row(t, f)).collect();
    let segment = Arc::new(Segment::from_rows(id(), &schema(), &rows));
    for (lower, upper) in
        [(Some("x%y"), Some("-3")), (Some("-3"), Some("x%y")), (None, Some("1e39")), (Some("?"), None)]
    {
        let filter = json!({"type": "bound", "dimension": "f", "lower": lower, "upper": upper, "ordering": "numeric"});
        check(segment.clone(), &rows, &filter, &[Interval::ETERNITY]).expect("exact");
    }
}

/// More of them with `HENGE_SELECTION_TIMES`.
fn cases(least: u32) -> u32 {
    let times = std::env::var("HENGE_SELECTION_TIMES").ok().and_then(|text| text.parse().ok());
    least * times.unwrap_or(1)
}

proptest! {
    #![proptest_config(crate::seeded(cases(500)))]

    #[test]
    fn selections_in_memory_are_exact(
        mut rows in prop::collection::vec(row(), 1..ROWS_MAX),
        filter in filter(),
        cuts in prop::collection::vec(0i64..40, 0..5),
        sorted in any::<bool>(),
    ) {
        if sorted {
            rows.sort_by_key(|(time, _)| *time);
        }
        let segment = Arc::new(Segment::from_rows(id(), &schema(), &rows));
        check(segment, &rows, &filter, &between(cuts))?;
    }
}

proptest! {
    #![proptest_config(crate::seeded(cases(40)))]

    /// Files have indexes, sorted dictionaries, and here several blocks.
    #[test]
    fn selections_in_files_are_exact(
        rows in prop::collection::vec(row(), 1..ROWS_MAX),
        times in prop::sample::select(vec![1usize, 60]),
        filters in prop::collection::vec(filter(), 10),
        cuts in prop::collection::vec(0i64..40, 0..5),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let rows: Vec<Row> = rows.iter().cycle().take(rows.len() * times).cloned().collect();
        let (segment, rows) = file(&rows, folder.path());
        let intervals = between(cuts);
        for filter in filters {
            check(segment.clone(), &rows, &filter, &intervals)?;
        }
    }
}
