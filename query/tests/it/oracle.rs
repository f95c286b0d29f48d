//! Random events, split into realtime, spilled and published segments, rolled up or not, and random native queries:
//! every answer must equal that of a naive evaluator over the events, which shares no code with the engine.
//!
//! `HENGE_ORACLE_CASES` says how many cases are tried (500 if not set), `HENGE_ORACLE_SEED` where they begin. A failure
//! names the seed of its case.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use query::{Broker, Query, Settings};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::SegmentId;
use segment::aggregate::Aggregate;
use segment::inventory::{Change, Inventory, Served};
use segment::realtime::RealtimeIndex;
use segment::row::RowBatch;
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::time::{Granularity, Interval};
use serde_json::{Map, Value as Json, json};

use crate::broker::{ask, settings};

/// 2026-03-01.
const BASE: i64 = 1_772_323_200_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 3;
/// Queries asked of each set of events.
const QUERIES: usize = 10;

#[test]
fn answers_equal_the_naive_evaluator() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let cases: u64 = number("HENGE_ORACLE_CASES", 500);
    let first: u64 = number("HENGE_ORACLE_SEED", 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for seed in first..first + cases.div_ceil(QUERIES as u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::random(&mut rng);
        let home = folder.path().join(seed.to_string());
        std::fs::create_dir(&home).expect("a folder");
        let settings = Settings { subquery_rows_max: 1_000_000, ..settings() };
        let broker = Broker::new(world.serve(&mut rng, &home), settings);
        for n in 0..QUERIES {
            let asked = Asked::random(&mut rng, world.rollup);
            let json = asked.json();
            let body = runtime.block_on(ask(&broker, &json)).unwrap_or_else(|e| panic!("seed {seed}.{n}: {json}: {e}"));
            let answer: Json = serde_json::from_str(&body).expect("valid JSON");
            let expected = asked.naive(&world.events);
            let (answer, mut expected) = (asked.settle(answer, &world.events), asked.settle(expected, &world.events));
            asked.settle_top_n_start(&world.events, &answer, &mut expected);
            assert_eq!(answer, expected, "HENGE_ORACLE_SEED={seed} query {n}: {json}");
            Query::from_json(&json).expect("it was just asked");
        }
        drop(broker);
        std::fs::remove_dir_all(&home).expect("the folder goes");
    }
}

#[derive(Debug, Clone)]
struct Event {
    time: i64,
    s: Option<String>,
    m: Vec<String>,
    l: Option<i64>,
    added: Option<i64>,
    x: Option<f64>,
}

struct World {
    rollup: bool,
    /// As the queries see them: times are truncated already.
    events: Vec<Event>,
}

const WORDS: &[&str] = &["", "a", "ab", "b", "c", "Zürich", "x y"];

fn word(rng: &mut SmallRng) -> String {
    WORDS.choose(rng).expect("there are words").to_string()
}

fn maybe<T>(rng: &mut SmallRng, value: impl FnOnce(&mut SmallRng) -> T) -> Option<T> {
    if rng.random_bool(0.15) { None } else { Some(value(rng)) }
}

impl World {
    fn random(rng: &mut SmallRng) -> World {
        let rollup = rng.random_bool(0.5);
        let count = *[1, 5, 40, 300].choose(rng).expect("there are sizes");
        let events = (0..count).map(|_| {
            let mut time = BASE + rng.random_range(0..DAYS * DAY / MINUTE) * MINUTE;
            if rollup {
                time -= time.rem_euclid(HOUR);
            }
            let mut m: Vec<String> = (0..rng.random_range(0..4)).map(|_| word(rng)).collect();
            m.sort();
            m.dedup();
            Event {
                time,
                s: maybe(rng, word),
                m,
                l: maybe(rng, |rng| rng.random_range(-3..6)),
                added: maybe(rng, |rng| rng.random_range(-100..1000)),
                x: maybe(rng, |rng| f64::from(rng.random_range(-40..400)) * 0.25),
            }
        });
        World { rollup, events: events.collect() }
    }

    fn schema(&self) -> Schema {
        let dimension = |name: &str, value_type| DimensionSchema {
            name: name.into(),
            value_type,
            multi_value: MultiValue::Array,
            indexed: true,
            auto: false,
        };
        let metrics = [
            json!({"type": "count", "name": "cnt"}),
            json!({"type": "longSum", "name": "added", "fieldName": "added"}),
            json!({"type": "longMax", "name": "hi", "fieldName": "added"}),
            json!({"type": "doubleSum", "name": "x", "fieldName": "x"}),
            json!({"type": "doubleMin", "name": "lo", "fieldName": "x"}),
            json!({"type": "thetaSketch", "name": "theta_s", "fieldName": "s"}),
            json!({"type": "HLLSketchBuild", "name": "hll_m", "fieldName": "m"}),
            json!({"type": "quantilesDoublesSketch", "name": "quantiles_x", "fieldName": "x"}),
            json!({"type": "arrayOfDoublesSketch", "name": "tuple_s", "fieldName": "s", "metricColumns": ["added"]}),
        ];
        Schema {
            dimensions: vec![
                dimension("s", ValueType::String),
                dimension("m", ValueType::String),
                dimension("l", ValueType::Long),
            ],
            discovery: Discovery::None,
            exclusions: Vec::new(),
            metrics: metrics.iter().map(|m| Aggregate::from_json(m, "metric").expect("a valid aggregate")).collect(),
            rollup: self.rollup,
            query_granularity: if self.rollup {
                Granularity::from_json(&json!("hour")).expect("a valid granularity")
            } else {
                Granularity::None
            },
        }
    }

    /// Each event goes into one of a few partitions of its day; each partition takes its own form.
    fn serve(&self, rng: &mut SmallRng, home: &Path) -> Arc<Inventory> {
        let inventory = Arc::new(Inventory::new());
        let mut changes = Vec::new();
        for day in 0..DAYS {
            let interval = Interval { start: BASE + day * DAY, end: BASE + (day + 1) * DAY };
            let partitions = rng.random_range(1..4u32);
            let mut parts: Vec<Vec<&Event>> = vec![Vec::new(); partitions as usize];
            for event in self.events.iter().filter(|event| interval.contains(event.time)) {
                parts[rng.random_range(0..partitions) as usize].push(event);
            }
            for (partition, events) in parts.into_iter().enumerate().filter(|(_, events)| !events.is_empty()) {
                let id = SegmentId {
                    datasource: "events".into(),
                    interval,
                    version: "2026-04-01T00:00:00.000Z".into(),
                    partition: partition as u32,
                };
                let folder = home.join(format!("{day}-{partition}"));
                std::fs::create_dir(&folder).expect("a folder");
                let index = RealtimeIndex::new(id.clone(), self.schema(), folder.clone(), Vec::new());
                let index = index.expect("an index");
                let publish = rng.random_bool(0.5);
                let spills = rng.random_bool(0.5);
                let mut rest = events.as_slice();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rng.random_range(1..=rest.len()));
                    append(&index, now);
                    rest = later;
                    if spills && rng.random_bool(0.5) {
                        index.spill().expect("rows spill");
                    }
                }
                let served = if publish {
                    let path = folder.join("final");
                    index.freeze(&path).expect("the index freezes");
                    Served::Published(Arc::new(segment::file::open(&path, id.clone()).expect("the file opens")))
                } else {
                    Served::Realtime(Arc::new(index))
                };
                changes.push(Change::Serve(id, served));
            }
        }
        inventory.apply(changes);
        inventory
    }
}

fn append(index: &RealtimeIndex, events: &[&Event]) {
    let mut batch = RowBatch::new();
    let fields = ["s", "m", "l", "added", "x"].map(|name| batch.field(name));
    for event in events {
        use segment::row::Cell;
        if let Some(text) = &event.s {
            let cell = batch.text(text);
            batch.set(fields[0], cell);
        }
        let cells: Vec<Cell> = event.m.iter().map(|text| batch.text(text)).collect();
        let cell = batch.list(&cells);
        batch.set(fields[1], cell);
        if let Some(l) = event.l {
            batch.set(fields[2], Cell::Long(l));
        }
        if let Some(added) = event.added {
            batch.set(fields[3], Cell::Long(added));
        }
        if let Some(x) = event.x {
            batch.set(fields[4], Cell::Double(x));
        }
        batch.finish_row(event.time);
    }
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    index.append(&batch, &rows).expect("rows are taken in");
}

/// A filter and what it means.
#[derive(Debug, Clone)]
enum Test {
    Is(&'static str, Option<String>),
    In(&'static str, Vec<String>),
    Null(&'static str),
    Starts(&'static str, String),
    TextRange(&'static str, String, bool),
    Above(i64, bool),
    Between(i64, i64),
    Expression(i64),
    Upper(String),
    Time(i64, i64),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    IsTrue(Box<Test>),
}

impl Test {
    fn random(rng: &mut SmallRng, depth: usize) -> Test {
        let text = |rng: &mut SmallRng| *["s", "m"].choose(rng).expect("there are columns");
        if depth > 0 && rng.random_bool(0.5) {
            let many = |rng: &mut SmallRng| (0..rng.random_range(1..4)).map(|_| Test::random(rng, depth - 1)).collect();
            return match rng.random_range(0..4) {
                0 => Test::And(many(rng)),
                1 => Test::Or(many(rng)),
                2 => Test::Not(Box::new(Test::random(rng, depth - 1))),
                _ => Test::IsTrue(Box::new(Test::random(rng, depth - 1))),
            };
        }
        match rng.random_range(0..10) {
            0 => Test::Is(text(rng), maybe(rng, word)),
            1 => Test::In(text(rng), (0..rng.random_range(1..5)).map(|_| word(rng)).collect()),
            2 => Test::Null(["s", "m", "l"].choose(rng).expect("there are columns")),
            3 => Test::Starts(text(rng), (*["a", "Z", "x", ""].choose(rng).expect("there are words")).into()),
            4 => Test::TextRange(text(rng), word(rng), rng.random_bool(0.5)),
            5 => Test::Above(rng.random_range(-4..7), rng.random_bool(0.5)),
            6 => {
                let from = rng.random_range(-4..6);
                Test::Between(from, from + rng.random_range(0..4))
            }
            7 => Test::Expression(rng.random_range(-4..7)),
            8 => Test::Upper(word(rng).to_uppercase()),
            _ => {
                let from = BASE + rng.random_range(0..DAYS * 24) * HOUR;
                Test::Time(from, from + rng.random_range(1..30) * HOUR)
            }
        }
    }

    fn json(&self) -> Json {
        let many = |tests: &[Test]| tests.iter().map(Test::json).collect::<Vec<_>>();
        match self {
            Test::Is(column, value) => json!({"type": "selector", "dimension": column, "value": value}),
            Test::In(column, values) => json!({"type": "in", "dimension": column, "values": values}),
            Test::Null(column) => json!({"type": "null", "column": column}),
            Test::Starts(column, prefix) => {
                json!({"type": "like", "dimension": column, "pattern": format!("{prefix}%")})
            }
            Test::TextRange(column, lower, open) => {
                json!({"type": "range", "column": column, "matchValueType": "STRING", "lower": lower, "lowerOpen": open})
            }
            Test::Above(lower, open) => {
                json!({"type": "range", "column": "l", "matchValueType": "LONG", "lower": lower, "lowerOpen": open})
            }
            Test::Between(from, to) => {
                json!({"type": "bound", "dimension": "l", "ordering": "numeric", "lower": from.to_string(), "upper": to.to_string()})
            }
            Test::Expression(than) => json!({"type": "expression", "expression": format!("l * 2 >= {than}")}),
            Test::Upper(text) => {
                json!({"type": "equals", "column": "v", "matchValueType": "STRING", "matchValue": text})
            }
            Test::Time(from, to) => {
                let interval = Interval { start: *from, end: *to }.to_string();
                json!({"type": "interval", "dimension": "__time", "intervals": [interval]})
            }
            Test::And(tests) => json!({"type": "and", "fields": many(tests)}),
            Test::Or(tests) => json!({"type": "or", "fields": many(tests)}),
            Test::Not(test) => json!({"type": "not", "field": test.json()}),
            Test::IsTrue(test) => json!({"type": "istrue", "field": test.json()}),
        }
    }

    fn holds(&self, event: &Event) -> Option<bool> {
        let texts = |column: &str| -> Vec<Option<&str>> {
            match column {
                "s" => vec![event.s.as_deref()],
                _ if event.m.is_empty() => vec![None],
                _ => event.m.iter().map(|text| Some(text.as_str())).collect(),
            }
        };
        let any = |column: &str, test: &dyn Fn(&str) -> bool| {
            let mut answer = Some(false);
            for text in texts(column) {
                match text.map(test) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => answer = None,
                }
            }
            answer
        };
        match self {
            Test::Is(column, Some(value)) => any(column, &|text| text == value),
            Test::Is(column, None) => Some(texts(column).contains(&None)),
            Test::In(column, values) => any(column, &|text| values.iter().any(|v| v == text)),
            Test::Null("l") => Some(event.l.is_none()),
            Test::Null(column) => Some(texts(column).contains(&None)),
            Test::Starts(column, prefix) => any(column, &|text| text.starts_with(prefix.as_str())),
            Test::TextRange(column, lower, true) => any(column, &|text| text > lower.as_str()),
            Test::TextRange(column, lower, false) => any(column, &|text| text >= lower.as_str()),
            Test::Above(lower, true) => event.l.map(|l| l > *lower),
            Test::Above(lower, false) => event.l.map(|l| l >= *lower),
            Test::Between(from, to) => event.l.map(|l| from <= &l && &l <= to),
            Test::Expression(than) => event.l.map(|l| l * 2 >= *than),
            Test::Upper(text) => event.s.as_ref().map(|s| s.to_uppercase() == *text),
            Test::Time(from, to) => Some((*from..*to).contains(&event.time)),
            Test::And(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(false)) {
                    Some(false)
                } else {
                    found.iter().all(Option::is_some).then_some(true)
                }
            }
            Test::Or(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(true)) {
                    Some(true)
                } else {
                    found.iter().all(Option::is_some).then_some(false)
                }
            }
            Test::Not(test) => test.holds(event).map(|holds| !holds),
            Test::IsTrue(test) => Some(test.holds(event) == Some(true)),
        }
    }
}

/// An aggregate of events; its name says which.
#[derive(Debug, Clone)]
enum Fold {
    Events,
    Added,
    Highest,
    Sum,
    Lowest,
    Filtered(Test),
    /// Sketches of so few values are exact: distinct texts but the empty one, kept and of the rows themselves, and numbers.
    Theta,
    ThetaOfRows,
    HllOfLists,
    Quantiles,
    Tuple,
    /// A sum by expressions.
    Expression,
    /// Rows and the smallest value of a row: meaningful without rollup only.
    Rows,
    Least,
}

impl Fold {
    fn json(&self, name: &str) -> Json {
        let simple = |kind: &str, field: &str| json!({"type": kind, "name": name, "fieldName": field});
        match self {
            Fold::Events => simple("longSum", "cnt"),
            Fold::Added => simple("longSum", "added"),
            Fold::Highest => simple("longMax", "hi"),
            Fold::Sum => simple("doubleSum", "x"),
            Fold::Lowest => simple("doubleMin", "lo"),
            Fold::Filtered(test) => {
                json!({"type": "filtered", "name": name, "filter": test.json(), "aggregator": simple("longSum", "added")})
            }
            Fold::Theta => simple("thetaSketch", "theta_s"),
            Fold::ThetaOfRows => simple("thetaSketch", "s"),
            Fold::HllOfLists => {
                json!({"type": "HLLSketchMerge", "name": name, "fieldName": "hll_m", "round": true})
            }
            Fold::Quantiles => simple("quantilesDoublesSketch", "quantiles_x"),
            Fold::Tuple => simple("arrayOfDoublesSketch", "tuple_s"),
            Fold::Expression => json!({
                "type": "expression", "name": name, "fields": ["added"], "initialValue": "0", "fold": "__acc + added",
                "shouldAggregateNullInputs": false,
            }),
            Fold::Rows => json!({"type": "count", "name": name}),
            Fold::Least => simple("longMin", "added"),
        }
    }

    fn of(&self, events: &[&Event]) -> Json {
        let longs = || events.iter().filter_map(|event| event.added);
        let doubles = || events.iter().filter_map(|event| event.x);
        match self {
            Fold::Events if events.is_empty() => Json::Null,
            Fold::Events | Fold::Rows => json!(events.len()),
            Fold::Added | Fold::Expression => json!(longs().reduce(|a, b| a + b)),
            Fold::Theta | Fold::ThetaOfRows => json!(distinct(events.iter().flat_map(|event| &event.s)) as f64),
            Fold::HllOfLists => json!(distinct(events.iter().flat_map(|event| &event.m))),
            Fold::Quantiles => json!(doubles().count()),
            Fold::Tuple => {
                let with_values = events.iter().filter(|event| event.added.is_some());
                json!(distinct(with_values.flat_map(|event| &event.s)) as f64)
            }
            Fold::Highest => json!(longs().max()),
            Fold::Least => json!(longs().min()),
            Fold::Sum => json!(doubles().reduce(|a, b| a + b)),
            Fold::Lowest => json!(doubles().reduce(f64::min)),
            Fold::Filtered(test) => {
                let kept = events.iter().filter(|event| test.holds(event) == Some(true));
                json!(kept.filter_map(|event| event.added).reduce(|a, b| a + b))
            }
        }
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.filter(|text| !text.is_empty()).collect::<std::collections::BTreeSet<_>>().len()
}

/// A key of a group: nulls before numbers before texts, each in its own order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Null,
    Long(i64),
    Text(String),
}

impl Key {
    fn json(&self) -> Json {
        match self {
            Key::Null => Json::Null,
            Key::Long(long) => json!(long),
            Key::Text(text) => json!(text),
        }
    }
}

#[derive(Debug, Clone)]
struct Asked {
    kind: Kind,
    interval: (i64, i64),
    /// Length of a bucket; `None` is one bucket for all.
    bucket: Option<i64>,
    filter: Option<Test>,
    folds: Vec<Fold>,
    source: Source,
}

/// Ways to say the same rows.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Table,
    Union(Box<Source>),
    Filter(Box<Source>),
    Query(Box<Source>),
    /// With what has at most one partner for each row.
    Join(Box<Source>),
    /// Of a list of one element.
    Unnest(Box<Source>),
}

impl Source {
    fn random(rng: &mut SmallRng, depth: usize) -> Source {
        let inner = |rng: &mut SmallRng| Box::new(Source::random(rng, depth - 1));
        match rng.random_range(0..10) {
            _ if depth == 0 => Source::Table,
            0 => Source::Union(inner(rng)),
            1 => Source::Filter(inner(rng)),
            2 => Source::Query(inner(rng)),
            3 => Source::Join(inner(rng)),
            4 => Source::Unnest(inner(rng)),
            _ => Source::Table,
        }
    }

    fn json(&self) -> Json {
        match self {
            Source::Table => json!("events"),
            Source::Union(one) => json!({"type": "union", "dataSources": [one.json()]}),
            Source::Filter(base) => json!({"type": "filter", "base": base.json(), "filter": {"type": "true"}}),
            Source::Query(inner) => json!({"type": "query", "query":
                {"queryType": "scan", "dataSource": inner.json(), "intervals": ["1000/3000"], "columns": []}}),
            Source::Join(left) => json!({"type": "join", "left": left.json(), "rightPrefix": "r.", "joinType": "LEFT",
                "condition": "s == \"r.k\"",
                "right": {"type": "inline", "columnNames": ["k", "w"], "rows": [["a", 1], ["x y", 2], ["none", 3]]}}),
            Source::Unnest(base) => json!({"type": "unnest", "base": base.json(),
                "virtualColumn": {"type": "expression", "name": "one", "expression": "array(1)", "outputType": "ARRAY<LONG>"}}),
        }
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Timeseries {
        descending: bool,
        limit: usize,
    },
    TopN {
        dimension: &'static str,
        metric: usize,
        inverted: bool,
        threshold: usize,
    },
    GroupBy {
        dimensions: Vec<&'static str>,
        /// Grouping sets, as places of dimensions.
        sets: Option<Vec<Vec<usize>>>,
        order: Option<(usize, bool)>,
        limit: Option<usize>,
        offset: usize,
        least: Option<i64>,
    },
    Scan {
        order: Option<bool>,
        limit: Option<usize>,
        offset: usize,
        compact: bool,
    },
    Boundary,
    Search {
        text: String,
    },
}

impl Asked {
    fn random(rng: &mut SmallRng, rollup: bool) -> Asked {
        let mut folds = vec![Fold::Events];
        for _ in 0..rng.random_range(0..4) {
            folds.push(match rng.random_range(0..if rollup { 11 } else { 13 }) {
                0 => Fold::Added,
                1 => Fold::Highest,
                2 => Fold::Sum,
                3 => Fold::Lowest,
                4 => Fold::Filtered(Test::random(rng, 1)),
                5 => Fold::Theta,
                6 => Fold::ThetaOfRows,
                7 => Fold::HllOfLists,
                8 => Fold::Quantiles,
                9 => Fold::Tuple,
                10 => Fold::Expression,
                11 => Fold::Rows,
                _ => Fold::Least,
            });
        }
        let some = |rng: &mut SmallRng| rng.random_bool(0.4).then(|| rng.random_range(1..20usize));
        let kind = match rng.random_range(0..if rollup { 7 } else { 10 }) {
            0 | 1 => Kind::Timeseries { descending: rng.random_bool(0.5), limit: some(rng).unwrap_or(0) },
            2 | 3 => Kind::TopN {
                dimension: ["s", "m"].choose(rng).expect("there are columns"),
                metric: rng.random_range(0..folds.len()),
                inverted: rng.random_bool(0.3),
                threshold: rng.random_range(1..9),
            },
            4 | 5 => {
                let all = ["s", "m", "l", "v"];
                let dimensions: Vec<&str> = all.into_iter().filter(|_| rng.random_bool(0.4)).collect();
                let limit = some(rng);
                let sets = (!dimensions.is_empty() && rng.random_bool(0.3)).then(|| {
                    let set = |rng: &mut SmallRng| (0..dimensions.len()).filter(|_| rng.random_bool(0.5)).collect();
                    (0..rng.random_range(1..4)).map(|_| set(rng)).collect()
                });
                Kind::GroupBy {
                    sets,
                    order: rng.random_bool(0.5).then(|| (rng.random_range(0..folds.len()), rng.random_bool(0.5))),
                    offset: if limit.is_some() { rng.random_range(0..4) } else { 0 },
                    limit,
                    least: rng.random_bool(0.3).then(|| rng.random_range(0..4)),
                    dimensions,
                }
            }
            6 => Kind::Boundary,
            7 => Kind::Search { text: ["a", "Z", "x y", "b"].choose(rng).expect("there are words").to_string() },
            _ => {
                let order = rng.random_bool(0.6).then(|| rng.random_bool(0.5));
                let limit = if order.is_some() { some(rng) } else { None };
                let offset = if limit.is_some() { rng.random_range(0..10) } else { 0 };
                Kind::Scan { order, limit, offset, compact: rng.random_bool(0.5) }
            }
        };
        let interval = if rng.random_bool(0.5) {
            (BASE - DAY, BASE + (DAYS + 1) * DAY)
        } else {
            let from = BASE + rng.random_range(-5..DAYS * 24) * HOUR;
            (from, from + rng.random_range(1..60) * HOUR)
        };
        Asked {
            kind,
            interval,
            bucket: *[None, None, Some(HOUR), Some(6 * HOUR), Some(DAY)].choose(rng).expect("there are some"),
            filter: rng.random_bool(0.7).then(|| Test::random(rng, 3)),
            folds,
            source: Source::random(rng, 2),
        }
    }

    fn name(n: usize) -> String {
        format!("a{n}")
    }

    fn json(&self) -> Json {
        let interval = Interval { start: self.interval.0, end: self.interval.1 }.to_string();
        let granularity = match self.bucket {
            None => json!("all"),
            Some(HOUR) => json!("hour"),
            Some(DAY) => json!({"type": "period", "period": "P1D"}),
            Some(millis) => json!({"type": "duration", "duration": millis}),
        };
        let aggregations: Vec<Json> = self.folds.iter().enumerate().map(|(n, f)| f.json(&Asked::name(n))).collect();
        let mut json = json!({
            "dataSource": self.source.json(),
            "intervals": [interval],
            "virtualColumns": [{"type": "expression", "name": "v", "expression": "upper(s)", "outputType": "STRING"}],
            "filter": self.filter.as_ref().map(Test::json),
        });
        let own = match &self.kind {
            Kind::Timeseries { descending, limit } => json!({
                "queryType": "timeseries", "granularity": granularity, "aggregations": aggregations,
                "descending": descending, "limit": limit,
                "context": {"skipEmptyBuckets": self.bucket.is_some()},
            }),
            Kind::TopN { dimension, metric, inverted, threshold } => {
                let mut metric = json!({"type": "numeric", "metric": Asked::name(*metric)});
                if *inverted {
                    metric = json!({"type": "inverted", "metric": metric});
                }
                json!({
                    "queryType": "topN", "granularity": granularity, "aggregations": aggregations,
                    "dimension": dimension, "metric": metric, "threshold": threshold,
                })
            }
            Kind::GroupBy { dimensions, sets, order, limit, offset, least } => {
                let names = |set: &Vec<usize>| set.iter().map(|at| dimensions[*at]).collect::<Vec<_>>();
                let sets = sets.as_ref().map(|sets| sets.iter().map(names).collect::<Vec<_>>());
                let dimensions: Vec<Json> = dimensions
                    .iter()
                    .map(|name| match *name {
                        "l" => json!({"type": "default", "dimension": "l", "outputName": "l", "outputType": "LONG"}),
                        name => json!(name),
                    })
                    .collect();
                let columns: Vec<Json> = order
                    .iter()
                    .map(|(n, down)| {
                        let direction = if *down { "descending" } else { "ascending" };
                        json!({"dimension": Asked::name(*n), "direction": direction, "dimensionOrder": "numeric"})
                    })
                    .collect();
                json!({
                    "queryType": "groupBy", "granularity": granularity, "aggregations": aggregations,
                    "dimensions": dimensions, "subtotalsSpec": sets,
                    "limitSpec": {"type": "default", "limit": limit, "offset": offset, "columns": columns},
                    "having": least.map(|least| json!({"type": "greaterThan", "aggregation": "a0", "value": least})),
                })
            }
            Kind::Scan { order, limit, offset, compact } => json!({
                "queryType": "scan", "columns": ["__time", "s", "m", "l", "v", "x"], "batchSize": 7,
                "order": match order { None => "none", Some(true) => "descending", Some(false) => "ascending" },
                "limit": limit, "offset": offset,
                "resultFormat": if *compact { "compactedList" } else { "list" },
            }),
            Kind::Boundary => json!({"queryType": "timeBoundary"}),
            Kind::Search { text } => json!({
                "queryType": "search", "searchDimensions": ["s", "m"],
                "query": {"type": "contains", "value": text, "caseSensitive": true},
            }),
        };
        let fields = json.as_object_mut().expect("an object");
        fields.extend(own.as_object().expect("an object").clone());
        if let Kind::Boundary = self.kind {
            // Virtual columns are not for this query, so a filter must not name one.
            fields.remove("virtualColumns");
            if self.filter.as_ref().is_some_and(uses_virtual) {
                fields.remove("filter");
            }
        }
        json
    }

    fn start(&self, time: i64) -> i64 {
        self.bucket.map_or(self.interval.0, |bucket| time - time.rem_euclid(bucket))
    }

    /// The one bucket of a topN over all time begins where the segments that were looked at do, which depends on how
    /// rows were put into segments: not before the interval and not after its first row.
    fn settle_top_n_start(&self, events: &[Event], answer: &Json, expected: &mut Json) {
        let inside = events.iter().map(|event| event.time).filter(|t| (self.interval.0..self.interval.1).contains(t));
        let (Kind::TopN { .. }, None, Some(first)) = (&self.kind, self.bucket, inside.min()) else { return };
        let Some(start) = answer[0]["timestamp"].as_str() else { return };
        // Of rows that are made for the query, those that no condition keeps may be missing.
        let last = if self.source == Source::Table { first } else { self.interval.1 };
        assert!((iso(self.interval.0)..=iso(last)).contains(&start.to_string()), "{start}");
        if let Some(timestamp) = expected[0].get_mut("timestamp") {
            *timestamp = start.into();
        }
    }

    /// The answer, row by row.
    fn naive(&self, events: &[Event]) -> Json {
        let filter = match (&self.kind, &self.filter) {
            (Kind::Boundary, Some(test)) if uses_virtual(test) => None,
            (_, filter) => filter.as_ref(),
        };
        let matching: Vec<&Event> = events
            .iter()
            .filter(|event| (self.interval.0..self.interval.1).contains(&event.time))
            .filter(|event| filter.is_none_or(|test| test.holds(event) == Some(true)))
            .collect();
        match &self.kind {
            Kind::Timeseries { descending, limit } => self.naive_timeseries(&matching, *descending, *limit),
            Kind::TopN { dimension, metric, inverted, threshold } => {
                let touched = events.iter().any(|event| (self.interval.0..self.interval.1).contains(&event.time));
                self.naive_top_n(&matching, dimension, *metric, *inverted, *threshold, touched)
            }
            Kind::GroupBy { dimensions, sets, order, limit, offset, least } => {
                let all: Vec<usize> = (0..dimensions.len()).collect();
                let sets = sets.as_deref().unwrap_or(std::slice::from_ref(&all));
                let of =
                    |set: &Vec<usize>| self.naive_group_by(&matching, dimensions, set, *order, *limit, *offset, *least);
                sets.iter().flat_map(|set| of(set).as_array().cloned().unwrap_or_default()).collect()
            }
            Kind::Scan { order, limit, offset, .. } => naive_scan(&matching, *order, *limit, *offset),
            Kind::Boundary => match (matching.iter().map(|e| e.time).min(), matching.iter().map(|e| e.time).max()) {
                (Some(min), Some(max)) => {
                    json!([{"timestamp": iso(min), "result": {"minTime": iso(min), "maxTime": iso(max)}}])
                }
                _ => json!([]),
            },
            Kind::Search { text } => self.naive_search(&matching, text),
        }
    }

    fn values(&self, events: &[&Event]) -> Vec<Json> {
        self.folds.iter().map(|fold| fold.of(events)).collect()
    }

    fn naive_timeseries(&self, matching: &[&Event], descending: bool, limit: usize) -> Json {
        let mut buckets: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
        if self.bucket.is_none() {
            buckets.insert(self.interval.0, Vec::new());
        }
        for event in matching {
            buckets.entry(self.start(event.time)).or_default().push(event);
        }
        let mut rows: Vec<Json> = buckets
            .iter()
            .map(|(start, events)| {
                let values = self.values(events);
                let result: Map<String, Json> = (0..values.len()).map(Asked::name).zip(values).collect();
                json!({"timestamp": iso(*start), "result": result})
            })
            .collect();
        if descending {
            rows.reverse();
        }
        if limit > 0 {
            rows.truncate(limit);
        }
        json!(rows)
    }

    /// The events of each group, exploded by the values of the columns.
    fn groups<'a>(&self, matching: &[&'a Event], columns: &[&str]) -> BTreeMap<(i64, Vec<Key>), Vec<&'a Event>> {
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for event in matching {
            let mut keys: Vec<Vec<Key>> = vec![Vec::new()];
            for column in columns {
                let text = |text: &String| Key::Text(text.clone());
                let values: Vec<Key> = match *column {
                    "s" => vec![event.s.as_ref().map_or(Key::Null, text)],
                    "v" => vec![event.s.as_ref().map_or(Key::Null, |s| Key::Text(s.to_uppercase()))],
                    "l" => vec![event.l.map_or(Key::Null, Key::Long)],
                    _ if event.m.is_empty() => vec![Key::Null],
                    _ => event.m.iter().map(text).collect(),
                };
                keys = keys
                    .iter()
                    .flat_map(|key| values.iter().map(|value| [key.as_slice(), std::slice::from_ref(value)].concat()))
                    .collect();
            }
            for key in keys {
                groups.entry((self.start(event.time), key)).or_default().push(event);
            }
        }
        groups
    }

    fn naive_top_n(
        &self,
        matching: &[&Event],
        dimension: &str,
        metric: usize,
        inverted: bool,
        threshold: usize,
        touched: bool,
    ) -> Json {
        let mut buckets: BTreeMap<i64, Vec<(Key, Vec<Json>)>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, &[dimension]) {
            buckets.entry(start).or_default().push((keys.remove(0), self.values(&events)));
        }
        if self.bucket.is_none() && touched {
            buckets.entry(self.interval.0).or_default();
        }
        let elements = buckets.into_iter().map(|(start, mut rows)| {
            // Stable: ties stay in the order of their keys.
            rows.sort_by(|(_, a), (_, b)| {
                let (a, b) = (a[metric].as_f64(), b[metric].as_f64());
                match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, _) => Ordering::Greater,
                    (_, None) => Ordering::Less,
                    (Some(a), Some(b)) if inverted => a.total_cmp(&b),
                    (Some(a), Some(b)) => b.total_cmp(&a),
                }
            });
            rows.truncate(threshold);
            let rows: Vec<Json> = rows
                .into_iter()
                .map(|(key, values)| {
                    let mut row = Map::from_iter([(dimension.to_string(), key.json())]);
                    row.extend((0..values.len()).map(Asked::name).zip(values));
                    Json::Object(row)
                })
                .collect();
            json!({"timestamp": iso(start), "result": rows})
        });
        elements.collect()
    }

    fn naive_group_by(
        &self,
        matching: &[&Event],
        dimensions: &[&str],
        set: &[usize],
        order: Option<(usize, bool)>,
        limit: Option<usize>,
        offset: usize,
        least: Option<i64>,
    ) -> Json {
        // Rows count for each of their values, also where a set lacks the dimension.
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, dimensions) {
            (0..keys.len()).filter(|at| !set.contains(at)).for_each(|at| keys[at] = Key::Null);
            groups.entry((start, keys)).or_default().extend(events);
        }
        let mut rows: Vec<(i64, Vec<Key>, Vec<Json>)> =
            groups.into_iter().map(|((start, keys), events)| (start, keys, self.values(&events))).collect();
        if rows.is_empty() && dimensions.is_empty() && self.bucket.is_none() && offset == 0 {
            rows.push((self.interval.0, Vec::new(), self.values(&[])));
        }
        rows.retain(|(.., values)| least.is_none_or(|least| values[0].as_i64().is_some_and(|count| count > least)));
        if let Some((by, descending)) = order {
            rows.sort_by(|(a_time, _, a), (b_time, _, b)| {
                let (a, b) = (a[by].as_f64(), b[by].as_f64());
                let by_value = match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, _) => Ordering::Less,
                    (_, None) => Ordering::Greater,
                    (Some(a), Some(b)) => a.total_cmp(&b),
                };
                a_time.cmp(b_time).then(if descending { by_value.reverse() } else { by_value })
            });
        }
        let rows = rows.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX));
        rows.map(|(start, keys, values)| {
            let mut event: Map<String, Json> =
                dimensions.iter().map(|name| name.to_string()).zip(keys.iter().map(Key::json)).collect();
            event.extend((0..values.len()).map(Asked::name).zip(values));
            json!({"version": "v1", "timestamp": iso(start), "event": event})
        })
        .collect()
    }

    fn naive_search(&self, matching: &[&Event], text: &str) -> Json {
        let mut hits: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for event in matching {
            for s in event.s.iter().filter(|s| s.contains(text)) {
                *hits.entry((s.clone(), "s")).or_default() += 1;
            }
            for m in event.m.iter().filter(|m| m.contains(text)) {
                *hits.entry((m.clone(), "m")).or_default() += 1;
            }
        }
        if hits.is_empty() {
            return json!([]);
        }
        let rows: Vec<Json> = hits
            .into_iter()
            .map(|((value, name), count)| json!({"dimension": name, "value": value, "count": count}))
            .collect();
        json!([{"timestamp": iso(self.interval.0), "result": rows}])
    }

    /// Leaves what an answer promises: of a scan, rows without their batches, ties of time in no order.
    fn settle(&self, answer: Json, events: &[Event]) -> Json {
        let inside = |event: &Event| (self.interval.0..self.interval.1).contains(&event.time);
        let (order, limit) = match &self.kind {
            Kind::Scan { order, limit, .. } => (order, limit),
            // A segment with rows before and after an interval of none gives a bucket of no values, so it is the split
            // that tells whether there is one.
            Kind::TopN { .. } if !events.iter().any(inside) => {
                let empty = |bucket: &Json| bucket["result"] == json!([]);
                return answer.as_array().is_some_and(|all| all.iter().all(empty)).into();
            }
            // Which buckets without rows are told depends on how rows were put into segments.
            Kind::TopN { .. } if self.bucket.is_some() || self.source != Source::Table => {
                let elements = answer.as_array().cloned().unwrap_or_default();
                let times: Vec<&str> = elements.iter().filter_map(|element| element["timestamp"].as_str()).collect();
                assert!(times.is_sorted(), "{times:?}");
                return elements.into_iter().filter(|element| element["result"] != json!([])).collect();
            }
            _ => return answer,
        };
        let elements = answer.as_array().cloned().unwrap_or_default();
        let mut rows: Vec<Json> = elements
            .iter()
            .flat_map(|element| element["events"].as_array().cloned().unwrap_or_default())
            .map(|row| match row {
                Json::Object(fields) => fields.into_iter().map(|(_, value)| value).collect(),
                array => array,
            })
            .collect();
        if order.is_some() {
            let times: Vec<Json> = rows.iter().map(|row| row[0].clone()).collect();
            if limit.is_some() {
                // Which rows of the last time are in is open; their times are not.
                return json!(times);
            }
            rows.sort_by_key(Json::to_string);
            return json!([times, rows]);
        }
        rows.sort_by_key(Json::to_string);
        json!(rows)
    }
}

fn uses_virtual(test: &Test) -> bool {
    match test {
        Test::Upper(_) => true,
        Test::And(tests) | Test::Or(tests) => tests.iter().any(uses_virtual),
        Test::Not(test) | Test::IsTrue(test) => uses_virtual(test),
        _ => false,
    }
}

/// All rows as one batch, in the order asked for.
fn naive_scan(matching: &[&Event], order: Option<bool>, limit: Option<usize>, offset: usize) -> Json {
    let mut events = matching.to_vec();
    match order {
        None => {}
        Some(true) => events.sort_by_key(|event| -event.time),
        Some(false) => events.sort_by_key(|event| event.time),
    }
    let rows: Vec<Json> = events
        .into_iter()
        .skip(offset)
        .take(limit.unwrap_or(usize::MAX))
        .map(|event| {
            let m = match event.m.as_slice() {
                [] => Json::Null,
                [one] => json!(one),
                many => json!(many),
            };
            let v = event.s.as_ref().map(|s| s.to_uppercase());
            json!([event.time, event.s, m, event.l, v, event.x])
        })
        .collect();
    json!([{"events": rows}])
}

/// `2026-03-01T00:00:00.000Z`, by civil-calendar arithmetic of its own.
fn iso(time: i64) -> String {
    let (days, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / HOUR, rest % HOUR / MINUTE);
    let (second, milli) = (rest % MINUTE / 1000, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}
