//! Random events, split into realtime, spilled and published segments, rolled up or not.

use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::SegmentId;
use segment::aggregate::Aggregate;
use segment::inventory::{Change, Inventory, Served};
use segment::realtime::RealtimeIndex;
use segment::row::RowBatch;
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use serde_json::json;

use super::distinct::Distinct;
use super::quantile::Quantile;
use super::{BASE, DAY, DAYS, HOUR, MINUTE};
use crate::dimension;

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) s: Option<String>,
    /// Not of nulls alone.
    pub(super) m: Vec<Option<String>>,
    pub(super) l: Option<i64>,
    /// A few quarters, so that it can be a dimension and its sums are exact.
    pub(super) d: Option<f64>,
    pub(super) added: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) list: Option<Vec<Option<i64>>>,
    pub(super) doc: Option<Doc>,
}

/// A document of a number, a text and an array, each of which may not be there.
#[derive(Debug, Clone)]
pub(super) struct Doc {
    pub(super) n: Option<i64>,
    pub(super) t: Option<String>,
    pub(super) a: Option<Vec<Option<i64>>>,
}

pub(super) struct World {
    pub(super) rollup: bool,
    /// As the queries see them: times are truncated already.
    pub(super) events: Vec<Event>,
}

pub(super) const WORDS: &[&str] = &["", "a", "ab", "b", "c", "Zürich", "x y"];

pub(super) fn word(rng: &mut SmallRng) -> String {
    WORDS.choose(rng).expect("there are words").to_string()
}

/// A list of few numbers, some of them null.
pub(super) fn numbers(rng: &mut SmallRng) -> Vec<Option<i64>> {
    (0..rng.random_range(0..3)).map(|_| maybe(rng, |rng| rng.random_range(0..3))).collect()
}

pub(super) fn maybe<T>(rng: &mut SmallRng, value: impl FnOnce(&mut SmallRng) -> T) -> Option<T> {
    if rng.random_bool(0.15) { None } else { Some(value(rng)) }
}

impl Event {
    /// The number and the text of its document.
    pub(super) fn nested(&self) -> (Option<i64>, Option<&str>) {
        self.doc.as_ref().map_or((None, None), |doc| (doc.n, doc.t.as_deref()))
    }

    /// The texts of its list.
    pub(super) fn listed(&self) -> impl Iterator<Item = &String> {
        self.m.iter().flatten()
    }

    /// Its list of texts without those that `k` leaves out.
    pub(super) fn kept(&self) -> Vec<&str> {
        self.listed().map(String::as_str).filter(|text| KEPT.contains(text)).collect()
    }
}

/// The values that the virtual column `k` keeps of `m`.
pub(super) const KEPT: [&str; 3] = ["a", "ab", "x y"];

/// Of `kr` those that this expression of `FULL` matches, of `kp` those that begin so.
pub(super) const KEPT_MATCH: usize = 2;
pub(super) const KEPT_PREFIX: &str = "a";

/// So few that the filter is of one block.
pub(super) const BLOOM_ENTRIES: i64 = 10;

impl World {
    pub(super) fn random(rng: &mut SmallRng) -> World {
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
            let mut m: Vec<Option<String>> = m.into_iter().map(Some).collect();
            if !m.is_empty() && rng.random_bool(0.15) {
                m.insert(rng.random_range(0..=m.len()), None);
            }
            Event {
                time,
                s: maybe(rng, word),
                m,
                l: maybe(rng, |rng| rng.random_range(-3..6)),
                d: maybe(rng, |rng| f64::from(rng.random_range(-6..9)) * 0.25),
                added: maybe(rng, |rng| rng.random_range(-100..1000)),
                x: maybe(rng, |rng| f64::from(rng.random_range(-40..400)) * 0.25),
                list: maybe(rng, numbers),
                doc: maybe(rng, |rng| Doc {
                    n: maybe(rng, |rng| rng.random_range(-2..3)),
                    t: maybe(rng, word),
                    a: maybe(rng, numbers),
                }),
            }
        });
        World { rollup, events: events.collect() }
    }

    pub(super) fn schema(&self) -> Schema {
        let own = [
            json!({"type": "count", "name": "cnt"}),
            json!({"type": "longSum", "name": "added", "fieldName": "added"}),
            json!({"type": "longMax", "name": "hi", "fieldName": "added"}),
            json!({"type": "doubleSum", "name": "x", "fieldName": "x"}),
            json!({"type": "doubleMin", "name": "lo", "fieldName": "x"}),
            json!({"type": "frequentItems", "name": "frequent_m", "fieldName": "m"}),
            json!({"type": "arrayOfDoublesSketch", "name": "tuple_s", "fieldName": "s", "metricColumns": ["added"]}),
            json!({"type": "variance", "name": "variance_x", "fieldName": "x"}),
            json!({"type": "bloom", "name": "bloom_s", "field": "s", "maxNumEntries": BLOOM_ENTRIES}),
            json!({"type": "stringFirst", "name": "first_s", "fieldName": "s"}),
            json!({"type": "longLast", "name": "last_added", "fieldName": "added"}),
        ];
        let metrics: Vec<_> = own.into_iter().chain(Quantile::metrics()).chain(Distinct::metrics()).collect();
        Schema {
            dimensions: vec![
                dimension("s", ValueType::String),
                dimension("m", ValueType::String),
                dimension("l", ValueType::Long),
                dimension("d", ValueType::Double),
                dimension("list", ValueType::array(ValueType::Long)),
                dimension("doc", ValueType::json()),
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
    pub(super) fn serve(&self, rng: &mut SmallRng, home: &Path) -> Arc<Inventory> {
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

pub(super) fn append(index: &RealtimeIndex, events: &[&Event]) {
    let mut batch = RowBatch::new();
    let fields = ["s", "m", "l", "added", "x", "list", "doc", "d"].map(|name| batch.field(name));
    for event in events {
        use segment::row::Cell;
        if let Some(text) = &event.s {
            let cell = batch.text(text);
            batch.set(fields[0], cell);
        }
        let cells: Vec<Cell> =
            event.m.iter().map(|text| text.as_ref().map_or(Cell::Null, |text| batch.text(text))).collect();
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
        if let Some(list) = &event.list {
            let cells: Vec<Cell> = list.iter().map(|long| long.map_or(Cell::Null, Cell::Long)).collect();
            let cell = batch.list(&cells);
            batch.set(fields[5], cell);
        }
        if let Some(d) = event.d {
            batch.set(fields[7], Cell::Double(d));
        }
        if let Some(Doc { n, t, a }) = &event.doc {
            let mut doc = serde_json::Map::new();
            doc.extend(n.map(|n| ("n".to_string(), json!(n))));
            doc.extend(t.as_ref().map(|t| ("t".to_string(), json!(t))));
            doc.extend(a.as_ref().map(|a| ("a".to_string(), json!(a))));
            let cell = batch.json(&serde_json::Value::Object(doc).to_string());
            batch.set(fields[6], cell);
        }
        batch.finish_row(event.time);
    }
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    index.append(&batch, &rows).expect("rows are taken in");
}
