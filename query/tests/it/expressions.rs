//! Aggregates of expressions over one string column, which are computed once a value of its dictionary where that pays.

use std::sync::Arc;
use std::time::Duration;

use query::engine::{Piece, group};
use query::finish::finish;
use query::pool::Pool;
use query::{Budget, Query, Settings};
use segment::block::Value;
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Map, Value as Json, json};

use crate::dimension;

const ROWS: usize = 6000;
/// More than are computed at a time.
const VALUES: usize = 1300;

/// A null now and then; lengths differ within a stretch of the dictionary.
fn text(row: usize) -> Option<String> {
    let value = row * 7 % VALUES;
    (value % 11 != 3).then(|| "x".repeat(value % 9) + &value.to_string())
}

fn segments(folder: &std::path::Path) -> [Arc<Segment>; 2] {
    let schema = Schema {
        dimensions: vec![dimension("s", ValueType::String), dimension("n", ValueType::Long)],
        discovery: Discovery::None,
        exclusions: vec![],
        metrics: vec![],
        rollup: false,
        query_granularity: Granularity::None,
    };
    let id = SegmentId {
        datasource: "t".into(),
        interval: Interval { start: 0, end: 86_400_000 },
        version: "v".into(),
        partition: 0,
    };
    let rows: Vec<(i64, Vec<(&str, Value)>)> = (0..ROWS)
        .map(|row| {
            let s = text(row).map_or(Value::Null, |text| Value::text(&text));
            (row as i64, vec![("s", s), ("n", Value::Long(row as i64))])
        })
        .collect();
    let memory = Arc::new(Segment::from_rows(id.clone(), &schema, &rows));
    let path = folder.join("segment");
    segment::merge::merge(std::slice::from_ref(&memory), &schema, &id, &path).unwrap();
    [memory, Arc::new(segment::file::open(&path, id).unwrap())]
}

fn ask(segment: &Arc<Segment>, expression: &str, filter: &Json, memory_bytes: u64) -> Json {
    let aggregate = |kind: &str| json!({"type": kind, "name": kind, "expression": expression});
    let query = Query::from_json(&json!({"queryType": "timeseries", "dataSource": "t", "granularity": "all",
        "intervals": ["1970-01-01/1970-01-02"], "filter": filter,
        "virtualColumns": [{"type": "expression", "name": "v", "expression": expression}],
        "aggregations": [aggregate("longSum"), aggregate("doubleSum"), aggregate("doubleMin"), aggregate("longMax"),
            {"type": "doubleSum", "name": "virtual", "fieldName": "v"}]}))
    .unwrap();
    let settings = Settings {
        threads: 2,
        queries_max: 1,
        lanes: Default::default(),
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        memory_bytes,
        memory: Default::default(),
        subquery_rows_max: 1000,
        policy_cache_bytes: 1 << 20,
        default_context: Default::default(),
    };
    let budget = Arc::new(Budget::from_context(&Map::new(), &settings).unwrap());
    let piece = Piece::whole(segment.id().clone(), segment.clone(), query.scope().intervals.clone());
    let query = Arc::new(query);
    let partial = group::run(&query, vec![piece], &Pool::new(2), &budget).unwrap();
    let table = finish(&query, partial, &budget).unwrap();
    let row: Vec<String> = table.columns.iter().skip(1).map(|(_, _, block)| format!("{:?}", block.value(0))).collect();
    json!(row)
}

/// What the aggregates fold, a row at a time.
fn naive(value: impl Fn(Option<&str>) -> Option<f64>, kept: impl Fn(usize) -> bool) -> Json {
    let values: Vec<f64> = (0..ROWS).filter(|row| kept(*row)).filter_map(|row| value(text(row).as_deref())).collect();
    let long = |value: f64| format!("{:?}", Value::Long(value as i64));
    let double = |value: f64| format!("{:?}", Value::Double(value));
    let sum: f64 = values.iter().sum();
    json!([
        long(values.iter().map(|value| value.trunc()).sum()),
        double(sum),
        double(values.iter().copied().fold(f64::INFINITY, f64::min)),
        long(values.iter().map(|value| value.trunc()).fold(f64::NEG_INFINITY, f64::max)),
        double(sum)
    ])
}

#[test]
fn expressions_over_a_dictionary_are_those_of_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let length = |text: Option<&str>| text.map_or(0.0, |text| text.len() as f64);
    type Wanted<'a> = dyn Fn(Option<&str>) -> Option<f64> + 'a;
    let cases: [(&str, &Wanted<'_>); 4] = [
        ("strlen(s)", &|text| text.map(|text| text.len() as f64)),
        ("if(strlen(s) > 4, 1.5, 2.5)", &|text| Some(if length(text) > 4.0 { 1.5 } else { 2.5 })),
        // Longs and doubles in one stretch.
        ("if(strlen(s) > 4, strlen(s), 0.5)", &|text| Some(if length(text) > 4.0 { length(text) } else { 0.5 })),
        ("if(isnull(s), null, strlen(s) + 1)", &|text| text.map(|text| text.len() as f64 + 1.0)),
    ];
    for segment in segments(folder.path()) {
        for (expression, value) in cases {
            // Where the table does not fit into the query's memory, rows are computed one by one.
            for memory in [1 << 24, 8 << 10] {
                assert_eq!(ask(&segment, expression, &Json::Null, memory), naive(value, |_| true), "{expression}");
                let few = json!({"type": "in", "dimension": "n", "values": ["5", "6", "2500", "5999"]});
                let of_few = naive(value, |row| [5, 6, 2500, 5999].contains(&row));
                assert_eq!(ask(&segment, expression, &few, memory), of_few, "{expression}, a few rows");
            }
        }
    }
}
