//! Group queries against a naive evaluator that folds row by row over `Value`s and shares no code with the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use query::engine::{Piece, group};
use query::finish::finish;
use query::language::{Dimension, GroupBy, Limit, OrderBy, Query, Scope};
use query::pool::Pool;
use query::table::Table;
use query::{Budget, Settings};
use segment::aggregate::{Aggregate, AggregateKind, Input};
use segment::block::Value;
use segment::filter::{Filter, Test};
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};

use crate::dimension;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A row: time and the columns s, m (multi-value), l, d.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    s: Option<u8>,
    m: Vec<u8>,
    l: Option<i64>,
    d: Option<i64>,
}

#[derive(Debug, Clone)]
struct Case {
    /// Rows of each segment.
    segments: Vec<Vec<Row>>,
    /// Which of time (hour or day), s, m, l, d are keys.
    hour: Option<bool>,
    dims: [bool; 4],
    text_l: bool,
    filter: Option<u8>,
    filtered: u8,
    interval: (i64, i64),
    limit: Option<(u64, u64, bool)>,
    sorted: bool,
}

fn row() -> impl Strategy<Value = Row> {
    let null = |s: BoxedStrategy<i64>| prop_oneof![1 => Just(None), 5 => s.prop_map(Some)];
    (
        0..3 * DAY,
        prop_oneof![1 => Just(None), 6 => (0u8..5).prop_map(Some)],
        prop::collection::vec(0u8..4, 0..3),
        null(prop_oneof![8 => -3i64..4, 1 => any::<i64>()].boxed()),
        null((-20i64..20).boxed()),
    )
        .prop_map(|(time, s, mut m, l, d)| {
            m.sort_unstable();
            Row { time, s, m, l, d }
        })
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(prop::collection::vec(row(), 0..60), 1..4),
        prop::option::of(any::<bool>()),
        any::<[bool; 4]>(),
        any::<bool>(),
        prop::option::of(0u8..5),
        0u8..5,
        (0..3 * DAY, 0..3 * DAY),
        prop::option::of((1u64..6, 0u64..3, any::<bool>())),
        any::<bool>(),
    )
        .prop_map(|(segments, hour, dims, text_l, filter, filtered, (a, b), limit, sorted)| Case {
            segments,
            hour,
            dims,
            text_l,
            filter,
            filtered,
            interval: (a.min(b), a.max(b) + 1),
            limit,
            sorted,
        })
}

fn text(code: u8) -> String {
    ["", "a", "b", "Ünï", "zz"][code as usize].to_string()
}

fn schema() -> Schema {
    let dimension = |name: &str, value_type| DimensionSchema {
        multi_value: MultiValue::SortedArray,
        ..dimension(name, value_type)
    };
    Schema {
        dimensions: vec![
            dimension("s", ValueType::String),
            dimension("m", ValueType::String),
            dimension("l", ValueType::Long),
            dimension("d", ValueType::Double),
        ],
        discovery: Discovery::None,
        exclusions: vec![],
        metrics: vec![],
        rollup: false,
        query_granularity: Granularity::None,
    }
}

fn text_value(code: Option<u8>) -> Value {
    code.map_or(Value::Null, |code| Value::text(&text(code)))
}

fn list_value(codes: &[u8]) -> Value {
    match codes {
        [] => Value::Null,
        [one] => text_value(Some(*one)),
        many => Value::List(many.iter().map(|code| text_value(Some(*code))).collect()),
    }
}

fn segment(number: u32, rows: &[Row]) -> Arc<Segment> {
    let id = SegmentId {
        datasource: "t".into(),
        interval: Interval { start: 0, end: 3 * DAY },
        version: "v".into(),
        partition: number,
    };
    let rows: Vec<(i64, Vec<(&str, Value)>)> = rows
        .iter()
        .map(|row| {
            let fields = vec![
                ("s", text_value(row.s)),
                ("m", list_value(&row.m)),
                ("l", row.l.map_or(Value::Null, Value::Long)),
                ("d", row.d.map_or(Value::Null, |d| Value::Double(d as f64))),
            ];
            (row.time, fields)
        })
        .collect();
    Arc::new(Segment::from_rows(id, &schema(), &rows))
}

fn aggregate(name: &str, kind: AggregateKind) -> Aggregate {
    Aggregate { name: name.into(), kind }
}

fn column(name: &str) -> Input {
    Input::Column(name.into())
}

fn is_s(code: u8) -> Filter {
    Filter::Column {
        column: "s".into(),
        test: Test::Equals { value: Value::text(&text(code)), value_type: ValueType::String },
    }
}

fn aggregates(case: &Case) -> Vec<Aggregate> {
    let sum = AggregateKind::Sum { value_type: ValueType::Double, input: column("d") };
    vec![
        aggregate("count", AggregateKind::Count),
        aggregate("sum_d", sum.clone()),
        aggregate("sum_l", AggregateKind::Sum { value_type: ValueType::Long, input: column("l") }),
        aggregate("min_l", AggregateKind::Min { value_type: ValueType::Long, input: column("l") }),
        aggregate("max_d", AggregateKind::Max { value_type: ValueType::Double, input: column("d") }),
        aggregate("mean_d", AggregateKind::Mean { input: column("d") }),
        aggregate("distinct_s", AggregateKind::Distinct { columns: vec![column("s")] }),
        aggregate("distinct_l", AggregateKind::Distinct { columns: vec![column("l")] }),
        aggregate("distinct_sd", AggregateKind::Distinct { columns: vec![column("s"), column("d")] }),
        aggregate(
            "filtered",
            AggregateKind::Filtered { filter: is_s(case.filtered), inner: Box::new(aggregate("filtered", sum)) },
        ),
        aggregate("missing", AggregateKind::Sum { value_type: ValueType::Long, input: column("nowhere") }),
    ]
}

fn query(case: &Case) -> GroupBy {
    let types = [
        ("s", ValueType::String),
        ("m", ValueType::String),
        ("l", if case.text_l { ValueType::String } else { ValueType::Long }),
        ("d", ValueType::Double),
    ];
    let dimensions = types
        .into_iter()
        .zip(case.dims)
        .filter(|(_, used)| *used)
        .map(|((name, value_type), _)| Dimension::plain(name, value_type));
    GroupBy {
        scope: Scope {
            intervals: vec![Interval { start: case.interval.0, end: case.interval.1 }],
            filter: case.filter.map(is_s),
            ..Scope::table("t")
        },
        granularity: match case.hour {
            None => Granularity::All,
            Some(true) => Granularity::period("PT1H", "UTC", None).unwrap(),
            Some(false) => Granularity::period("P1D", "UTC", None).unwrap(),
        },
        dimensions: dimensions.collect(),
        aggregates: aggregates(case),
        post_aggregates: vec![],
        having: None,
        limit: match case.limit {
            None => Limit::default(),
            Some((limit, offset, descending)) => Limit {
                limit: Some(limit),
                offset,
                columns: vec![OrderBy { column: "count".into(), descending, ordering: None }],
            },
        },
        subtotals: None,
        grouping_id: None,
        sort_by_dims_first: false,
        explode: true,
        finalize: true,
        result_as_array: false,
    }
}

fn budget() -> Arc<Budget> {
    let settings = Settings {
        threads: 2,
        queries_max: 1,
        lanes: Default::default(),
        timeout_default: std::time::Duration::from_secs(60),
        timeout_max: std::time::Duration::from_secs(60),
        memory_bytes: 1 << 30,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    Arc::new(Budget::from_context(&serde_json::Map::new(), &settings).unwrap())
}

fn pieces(case: &Case) -> Vec<Piece> {
    let interval = Interval { start: case.interval.0, end: case.interval.1 };
    case.segments
        .iter()
        .enumerate()
        .map(|(number, rows)| {
            let mut rows = rows.clone();
            if case.sorted {
                rows.sort_by_key(|row| row.time);
            }
            let segment = segment(number as u32, &rows);
            Piece::whole(segment.id().clone(), segment, vec![interval])
        })
        .collect()
}

fn run(query: Query, pieces: Vec<Piece>) -> Table {
    let pool = Pool::new(2);
    let budget = budget();
    let query = Arc::new(query);
    let partial = group::run(&query, pieces, &pool, &budget).unwrap();
    let table = finish(&query, partial, &budget).unwrap();
    assert_eq!(budget.memory_used(), 0, "memory was not given back");
    table
}

fn rows_of(table: &Table) -> Vec<Vec<String>> {
    (0..table.rows)
        .map(|row| (0..table.columns.len()).map(|column| format!("{:?}", table.value(column, row))).collect())
        .collect()
}

// The naive evaluator.

/// A key that orders as the answer does: null first, numbers by value, text by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum KeyPart {
    Null,
    Number(i64),
    Text(String),
}

fn naive(case: &Case) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<Vec<KeyPart>, Vec<Row>> = BTreeMap::new();
    if case.hour.is_none() && case.dims == [false; 4] {
        groups.insert(vec![KeyPart::Number(case.interval.0)], vec![]);
    }
    for row in case.segments.iter().flatten() {
        if row.time < case.interval.0 || row.time >= case.interval.1 {
            continue;
        }
        if case.filter.is_some_and(|code| row.s != Some(code)) {
            continue;
        }
        let bucket = match case.hour {
            None => case.interval.0,
            Some(true) => row.time.div_euclid(HOUR) * HOUR,
            Some(false) => row.time.div_euclid(DAY) * DAY,
        };
        let mut keys = vec![vec![KeyPart::Number(bucket)]];
        let number = |v: Option<i64>| v.map_or(KeyPart::Null, KeyPart::Number);
        let s = || vec![row.s.map_or(KeyPart::Null, |c| KeyPart::Text(text(c)))];
        let m = || match &row.m[..] {
            [] => vec![KeyPart::Null],
            many => many.iter().map(|c| KeyPart::Text(text(*c))).collect(),
        };
        let l = || match row.l {
            Some(l) if case.text_l => vec![KeyPart::Text(l.to_string())],
            l => vec![number(l)],
        };
        let parts: [&dyn Fn() -> Vec<KeyPart>; 4] = [&s, &m, &l, &|| vec![number(row.d)]];
        for (part, used) in parts.into_iter().zip(case.dims) {
            if used {
                let values = part();
                keys = keys
                    .into_iter()
                    .flat_map(|key| {
                        values.iter().map(move |v| key.iter().cloned().chain([v.clone()]).collect::<Vec<_>>())
                    })
                    .collect();
            }
        }
        for key in keys {
            groups.entry(key).or_default().push(row.clone());
        }
    }
    let mut answer: Vec<(Vec<KeyPart>, Vec<Row>)> = groups.into_iter().collect();
    if let Some((limit, offset, descending)) = case.limit {
        let time = |key: &[KeyPart]| if case.hour.is_some() { Some(key[0].clone()) } else { None };
        answer.sort_by(|(a, x), (b, y)| {
            let count = x.len().cmp(&y.len());
            time(a).cmp(&time(b)).then(if descending { count.reverse() } else { count })
        });
        // The row of no group is not there if it has no rows and an offset asks for later ones.
        if answer.len() == 1 && answer[0].1.is_empty() && offset > 0 {
            answer.clear();
        }
        answer = answer.into_iter().skip(offset as usize).take(limit as usize).collect();
    }
    answer.into_iter().map(|(key, rows)| finished(case, &key, &rows)).collect()
}

fn finished(case: &Case, key: &[KeyPart], rows: &[Row]) -> Vec<String> {
    let mut out: Vec<Value> = vec![];
    let used: Vec<usize> = (0..4).filter(|i| case.dims[*i]).collect();
    for (i, part) in key.iter().enumerate() {
        out.push(match part {
            KeyPart::Null => Value::Null,
            KeyPart::Number(v) if i > 0 && used[i - 1] == 3 => Value::Double(*v as f64),
            KeyPart::Number(v) => Value::Long(*v),
            KeyPart::Text(v) => Value::text(v),
        });
    }
    let d: Vec<i64> = rows.iter().filter_map(|r| r.d).collect();
    let l: Vec<i64> = rows.iter().filter_map(|r| r.l).collect();
    let some = |any: bool, value: Value| if any { value } else { Value::Null };
    let distinct = |mut values: Vec<String>| {
        values.sort();
        values.dedup();
        Value::Long(values.len() as i64)
    };
    out.push(Value::Long(rows.len() as i64));
    out.push(some(!d.is_empty(), Value::Double(d.iter().sum::<i64>() as f64)));
    out.push(some(!l.is_empty(), Value::Long(l.iter().fold(0, |a: i64, b| a.wrapping_add(*b)))));
    out.push(l.iter().min().map_or(Value::Null, |v| Value::Long(*v)));
    out.push(d.iter().max().map_or(Value::Null, |v| Value::Double(*v as f64)));
    out.push(some(!d.is_empty(), Value::Double(d.iter().sum::<i64>() as f64 / d.len() as f64)));
    out.push(distinct(rows.iter().filter_map(|r| r.s.map(|s| s.to_string())).collect()));
    out.push(distinct(l.iter().map(i64::to_string).collect()));
    out.push(distinct(rows.iter().filter_map(|r| Some(format!("{} {}", r.s?, r.d?))).collect()));
    let kept: Vec<i64> = rows.iter().filter(|r| r.s == Some(case.filtered)).filter_map(|r| r.d).collect();
    out.push(some(!kept.is_empty(), Value::Double(kept.iter().sum::<i64>() as f64)));
    out.push(Value::Null);
    out.iter().map(|value| format!("{value:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn groups_equal_the_naive_evaluator(case in case()) {
        let table = run(Query::GroupBy(query(&case)), pieces(&case));
        prop_assert_eq!(rows_of(&table), naive(&case));
    }

    /// However the rows are split into segments, the answer is that of one segment.
    #[test]
    fn the_split_into_segments_does_not_matter(case in case()) {
        let one = Case { segments: vec![case.segments.concat()], ..case.clone() };
        let split = run(Query::GroupBy(query(&case)), pieces(&case));
        let whole = run(Query::GroupBy(query(&one)), pieces(&one));
        prop_assert_eq!(rows_of(&split), rows_of(&whole));
    }
}

/// Large dictionaries are numbered by merging them when all rows are looked at, and as values are met otherwise. Both
/// must tell values and order alike.
#[test]
fn values_of_large_dictionaries_are_numbered_alike() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected: BTreeMap<Option<String>, i64> = BTreeMap::new();
    let mut pieces = Vec::new();
    for number in 0..4u32 {
        let mut schema = schema();
        let rows: Vec<(i64, Vec<(&str, Value)>)> = (0..12_000u32)
            .map(|row| {
                let text = (row % 97 != 5).then(|| format!("{:x}", (row * (number + 1)).wrapping_mul(2_654_435_761)));
                // The third segment does not have the column.
                let text = text.filter(|_| number != 2);
                *expected.entry(text.clone()).or_default() += 1;
                let value = text.map_or(Value::Null, |text| Value::text(&text));
                (i64::from(row), if number == 2 { vec![] } else { vec![("s", value)] })
            })
            .collect();
        schema.dimensions.retain(|dimension| number != 2 || dimension.name != "s");
        let id = segment(number, &[]).id().clone();
        let memory = Arc::new(Segment::from_rows(id.clone(), &schema, &rows));
        let path = folder.path().join(number.to_string());
        segment::merge::merge(&[memory], &schema, &id, &path).unwrap();
        let segment = Arc::new(segment::file::open(&path, id.clone()).unwrap());
        pieces.push(Piece::whole(id, segment, vec![Interval { start: 0, end: 3 * DAY }]));
    }
    let ask = |filter: serde_json::Value| {
        let json = serde_json::json!({"queryType": "groupBy", "dataSource": "t", "granularity": "all",
            "intervals": ["1970-01-01/1970-01-04"], "dimensions": ["s"], "filter": filter,
            "aggregations": [{"type": "count", "name": "c"}, {"type": "distinctCount", "name": "d", "fieldName": "s"}],
            "limitSpec": {"type": "default", "columns": [{"dimension": "c", "direction": "descending"}, "s"]}});
        rows_of(&run(Query::from_json(&json).unwrap(), pieces.clone()))
    };
    let merged = ask(serde_json::Value::Null);
    assert_eq!(merged, ask(serde_json::json!({"type": "true"})));
    let mut naive: Vec<(Option<String>, i64)> = expected.into_iter().collect();
    naive.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let key = |text: &Option<String>| format!("{:?}", text.as_deref().map_or(Value::Null, Value::text));
    let naive: Vec<_> = naive.iter().map(|(text, count)| [key(text), format!("{:?}", Value::Long(*count))]).collect();
    let found: Vec<_> = merged.iter().map(|row| [row[1].clone(), row[2].clone()]).collect();
    assert_eq!(found, naive);
}
