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
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use segment::time::{Granularity, Interval};
use serde_json::json;

use super::quantile::Quantile;
use super::{BASE, DAY, DAYS, HOUR, MINUTE};

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) s: Option<String>,
    pub(super) m: Vec<String>,
    pub(super) l: Option<i64>,
    pub(super) added: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) list: Option<Vec<i64>>,
    /// A document's `n` and `t`.
    pub(super) doc: Option<(Option<i64>, Option<String>)>,
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

pub(super) fn maybe<T>(rng: &mut SmallRng, value: impl FnOnce(&mut SmallRng) -> T) -> Option<T> {
    if rng.random_bool(0.15) { None } else { Some(value(rng)) }
}

impl Event {
    /// The number and the text of its document.
    pub(super) fn nested(&self) -> (Option<i64>, Option<&str>) {
        self.doc.as_ref().map_or((None, None), |(n, t)| (*n, t.as_deref()))
    }

    /// Its list of texts without those that `k` leaves out.
    pub(super) fn kept(&self) -> Vec<&str> {
        self.m.iter().map(String::as_str).filter(|text| KEPT.contains(text)).collect()
    }
}

/// The values that the virtual column `k` keeps of `m`.
pub(super) const KEPT: [&str; 3] = ["a", "ab", "x y"];

/// Of `kr` those that this expression of `FULL` matches, of `kp` those that begin so.
pub(super) const KEPT_MATCH: usize = 2;
pub(super) const KEPT_PREFIX: &str = "a";

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
            Event {
                time,
                s: maybe(rng, word),
                m,
                l: maybe(rng, |rng| rng.random_range(-3..6)),
                added: maybe(rng, |rng| rng.random_range(-100..1000)),
                x: maybe(rng, |rng| f64::from(rng.random_range(-40..400)) * 0.25),
                list: maybe(rng, |rng| (0..rng.random_range(0..3)).map(|_| rng.random_range(0..3)).collect()),
                doc: maybe(rng, |rng| (maybe(rng, |rng| rng.random_range(-2..3)), maybe(rng, word))),
            }
        });
        World { rollup, events: events.collect() }
    }

    pub(super) fn schema(&self) -> Schema {
        let dimension = |name: &str, value_type| DimensionSchema {
            name: name.into(),
            value_type,
            multi_value: MultiValue::Array,
            indexed: true,
            auto: false,
        };
        let own = [
            json!({"type": "count", "name": "cnt"}),
            json!({"type": "longSum", "name": "added", "fieldName": "added"}),
            json!({"type": "longMax", "name": "hi", "fieldName": "added"}),
            json!({"type": "doubleSum", "name": "x", "fieldName": "x"}),
            json!({"type": "doubleMin", "name": "lo", "fieldName": "x"}),
            json!({"type": "thetaSketch", "name": "theta_s", "fieldName": "s"}),
            json!({"type": "HLLSketchBuild", "name": "hll_m", "fieldName": "m"}),
            json!({"type": "cpcSketchBuild", "name": "cpc_m", "fieldName": "m"}),
            json!({"type": "frequentItems", "name": "frequent_m", "fieldName": "m"}),
            json!({"type": "arrayOfDoublesSketch", "name": "tuple_s", "fieldName": "s", "metricColumns": ["added"]}),
            json!({"type": "stringFirst", "name": "first_s", "fieldName": "s"}),
            json!({"type": "longLast", "name": "last_added", "fieldName": "added"}),
        ];
        let metrics: Vec<_> = own.into_iter().chain(Quantile::metrics()).collect();
        Schema {
            dimensions: vec![
                dimension("s", ValueType::String),
                dimension("m", ValueType::String),
                dimension("l", ValueType::Long),
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
    let fields = ["s", "m", "l", "added", "x", "list", "doc"].map(|name| batch.field(name));
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
        if let Some(list) = &event.list {
            let cells: Vec<Cell> = list.iter().map(|long| Cell::Long(*long)).collect();
            let cell = batch.list(&cells);
            batch.set(fields[5], cell);
        }
        if let Some((n, t)) = &event.doc {
            let mut doc = serde_json::Map::new();
            doc.extend(n.map(|n| ("n".to_string(), json!(n))));
            doc.extend(t.as_ref().map(|t| ("t".to_string(), json!(t))));
            let cell = batch.json(&serde_json::Value::Object(doc).to_string());
            batch.set(fields[6], cell);
        }
        batch.finish_row(event.time);
    }
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    index.append(&batch, &rows).expect("rows are taken in");
}
