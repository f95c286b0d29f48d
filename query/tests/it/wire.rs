//! Bytes between brokers and nodes that are damaged: an error or the same, never a panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use query::cluster::{Asked, Asking, DataNode, NodeAsk, What};
use query::local::LocalNode;
use query::wire::frame::{Frames, Kind, write};
use query::wire::groups::{self, Merger};
use query::wire::{answer, ask, table};
use query::{Authorizer, Broker, Budget, Error, Principal, Query};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::{Interval, SegmentId};
use serde_json::{Value as Json, json};

use crate::broker::{ask as send, inventory, settings};
use crate::cluster::{Fault, spread};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn query() -> Json {
    json!({"queryType": "groupBy", "dataSource": "wiki", "intervals": ["2026-03-01/2026-03-03"], "granularity": "day",
        "dimensions": ["page", {"type": "default", "dimension": "added", "outputType": "LONG"}],
        "aggregations": [{"type": "count", "name": "n"}, {"type": "doubleSum", "name": "s", "fieldName": "score"},
            {"type": "distinctCount", "name": "d", "fields": ["added", "page"]},
            {"type": "distinctCount", "name": "e", "fieldName": "tags"},
            {"type": "HLLSketchBuild", "name": "h", "fieldName": "tags"},
            {"type": "quantilesDoublesSketch", "name": "q", "fieldName": "score"},
            {"type": "stringLast", "name": "l", "fieldName": "page"},
            {"type": "doubleMean", "name": "m", "fieldName": "score"},
            {"type": "thetaSketch", "name": "t", "fieldName": "page"}]})
}

fn node_ask(json: Json, ids: Vec<SegmentId>) -> NodeAsk {
    let query = Query::from_json(&json).expect("a query").for_nodes();
    NodeAsk {
        query_id: "q".into(),
        who: Principal::new("test"),
        keys: BTreeMap::from([("wiki".into(), String::new())]),
        what: What::Query(Box::new(Asking {
            query: query.to_json(),
            intervals: query.scope().intervals.clone(),
            types: Vec::new(),
            bare: false,
            since: i64::MIN,
        })),
        segments: ids.into_iter().map(|id| Asked { intervals: vec![Interval::ETERNITY], id }).collect(),
        remaining: Duration::from_secs(60),
        memory_bytes: 1 << 30,
        scan_bytes: None,
        subquery_rows_max: 1000,
        priority: 0,
        lookups: BTreeMap::new(),
    }
}

fn answer_bytes(json: Json) -> Vec<u8> {
    let whole = inventory();
    let ids = whole.published_ids();
    let node = LocalNode::new(Broker::new(whole, settings(), Authorizer::open()));
    runtime().block_on(async {
        let stream = node.run(&node_ask(json, ids)).await.expect("an answer");
        let parts: Vec<_> = stream.map(|bytes| bytes.expect("bytes")).collect().await;
        assert_eq!(node.asks(), 0, "a node is done when its answer is read");
        parts.concat()
    })
}

/// All frames of bytes that come in pieces.
fn frames(bytes: Vec<u8>) -> Result<Vec<(Kind, bytes::Bytes)>, Error> {
    let pieces: Vec<Result<bytes::Bytes, Error>> =
        bytes.chunks(777).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    let mut frames = Frames::new(futures::stream::iter(pieces).boxed());
    runtime().block_on(async {
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await? {
            all.push(frame);
        }
        Ok(all)
    })
}

#[test]
fn damaged_asks_are_refused() {
    let bytes = node_ask(query(), inventory().published_ids()).to_bytes();
    let whole = NodeAsk::from_bytes(&bytes).expect("an ask");
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        let at = rng.random_range(0..damaged.len());
        match rng.random_range(0..3) {
            0 => damaged[at] ^= 1 << rng.random_range(0..8),
            1 => damaged.truncate(at),
            _ => drop(damaged.remove(at)),
        }
        if let Ok(read) = NodeAsk::from_bytes(&damaged) {
            assert_eq!(read, whole);
        }
    }
}

#[test]
fn damaged_answers_are_refused() {
    let bytes = answer_bytes(query());
    let whole = frames(bytes.clone()).expect("frames");
    assert_eq!((whole[0].0, whole.last().expect("frames").0), (Kind::Opening, Kind::Closing));
    let mut rng = SmallRng::seed_from_u64(2);
    for _ in 0..1000 {
        let mut damaged = bytes.clone();
        let at = rng.random_range(0..damaged.len());
        damaged[at] ^= 1 << rng.random_range(0..8);
        if let Ok(read) = frames(damaged) {
            assert_eq!(read, whole);
        }
    }
}

/// Frames whose checksums are right all the same: what stands in them may be anything.
#[test]
fn wrong_content_is_refused() {
    let whole = frames(answer_bytes(query())).expect("frames");
    let query = Query::from_json(&query()).expect("a query");
    let budget = Arc::new(Budget::from_context(&serde_json::Map::new(), &settings()).expect("a budget"));
    let mut rng = SmallRng::seed_from_u64(3);
    let hook = std::panic::take_hook();
    // Arrow's panics are caught, and say nothing of worth.
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = None;
    for round in 0..3000 {
        let mut damaged = whole.clone();
        let at = rng.random_range(0..damaged.len());
        let mut content = damaged[at].1.to_vec();
        if content.is_empty() {
            continue;
        }
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..content.len());
            match rng.random_range(0..3) {
                0 => content[place] ^= 1 << rng.random_range(0..8),
                1 => content[place] = rng.random(),
                _ => content.truncate(place.max(1)),
            }
        }
        let kind = damaged[at].0;
        damaged[at].1 = content.clone().into();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = frames(write(kind, &content).to_vec()).expect("a frame");
            let _ = answer::Opening::from_bytes(&content);
            let _ = answer::Closing::from_bytes(&content);
            let _ = answer::read_analyses(&content);
            let _ = table::read(&content);
            let of_groups: Vec<_> =
                damaged.iter().filter(|(kind, _)| matches!(kind, Kind::Values | Kind::Rows)).cloned().collect();
            let mut merger = Merger::new(&query, &budget).expect("a merger");
            if let Ok(parts) = groups::read(&of_groups) {
                let _ = merger.absorb(parts, true);
            }
        }));
        if result.is_err() {
            failed = Some(round);
            break;
        }
    }
    std::panic::set_hook(hook);
    assert_eq!(failed, None, "what is read must not panic");
}

#[test]
fn doubles_and_strange_texts_travel_as_they_are() {
    let odd = f64::from_bits(0x3fb9_9999_9999_999b);
    let mut one = node_ask(query(), Vec::new());
    if let What::Query(asking) = &mut one.what {
        asking.query = json!({"a": odd, "b": "\u{1}d00", "c": ["\u{1}", 1, 0.1], "d": {"e": "\u{1}t"}});
    }
    assert_eq!(NodeAsk::from_bytes(&one.to_bytes()).expect("an ask"), one);
}

#[test]
fn another_version_is_named() {
    let bytes = node_ask(query(), Vec::new()).to_bytes();
    let mut json: Json = serde_json::from_slice(&bytes[8..]).expect("JSON");
    json["version"] = json!(0);
    match NodeAsk::from_bytes(&ask::checked(&serde_json::to_vec(&json).expect("JSON"))) {
        Err(Error::Unavailable(why)) => assert!(why.contains("version [0]") && why.contains("upgrade"), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn counted() -> Json {
    json!({"queryType": "timeseries", "dataSource": "wiki", "intervals": ["2026-03-01/2026-03-03"],
        "granularity": "all", "aggregations": [{"type": "count", "name": "n"}]})
}

#[test]
fn what_cannot_be_reached_is_an_error_or_told() {
    let mut rng = SmallRng::seed_from_u64(4);
    let (view, broker) = spread(&inventory(), &["wiki"], &mut rng, &settings(), &Authorizer::open(), &BTreeMap::new());
    view.nodes.values().for_each(|node| *node.always.lock() = Some(Fault::Unreachable));
    let runtime = runtime();
    match runtime.block_on(send(&broker, &counted())) {
        Err(Error::Unavailable(why)) => {
            assert!(why.contains("2026-03-01T00:00:00.000Z/2026-03-03T00:00:00.000Z"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let mut partly = counted();
    partly["context"] = json!({"returnPartialResults": true});
    let body = runtime.block_on(send(&broker, &partly)).expect("an answer without what is missing");
    assert!(body.contains("\"n\":0"), "{body}");
}

#[test]
fn a_straggler_is_overtaken() {
    let runtime = runtime();
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (view, broker) =
            spread(&inventory(), &["wiki"], &mut rng, &settings(), &Authorizer::open(), &BTreeMap::new());
        let Some(silent) = view.replicated() else { continue };
        *view.nodes[&silent].always.lock() = Some(Fault::Silent);
        let body = runtime.block_on(send(&broker, &counted())).expect("an answer");
        assert!(body.contains("\"n\":4"), "{body}");
    }
}

#[test]
fn broken_copies_are_asked_elsewhere_or_again_once_they_are_mended() {
    let runtime = runtime();
    let mut rows = counted();
    rows["queryType"] = json!("scan");
    rows["resultFormat"] = json!("compactedList");
    rows["columns"] = json!(["__time"]);
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (view, _) = spread(&inventory(), &["wiki"], &mut rng, &settings(), &Authorizer::open(), &BTreeMap::new());
        // It does not wait for another picture.
        let scatter = query::cluster::Scatter { pictures_max: 1, hedge_after: None, ..crate::cluster::scatter() };
        let broker = Broker::over(view.clone(), scatter, settings(), Authorizer::open());
        let whole = [&counted(), &rows].map(|query| runtime.block_on(send(&broker, query)).expect("an answer"));
        let fault = |fault| view.nodes.values().for_each(|node| *node.always.lock() = Some(fault));
        for (query, whole) in [&counted(), &rows].into_iter().zip(whole) {
            fault(Fault::Broken { mends: true });
            assert_eq!(runtime.block_on(send(&broker, query)).expect("an answer"), whole);
            fault(Fault::Broken { mends: false });
            match runtime.block_on(send(&broker, query)) {
                Err(Error::Unavailable(why)) => assert!(why.contains("no copy is whole"), "{why}"),
                other => panic!("{other:?}"),
            }
            view.nodes.values().for_each(|node| *node.always.lock() = None);
            if let Some(broken) = view.replicated() {
                *view.nodes[&broken].always.lock() = Some(Fault::Broken { mends: false });
                assert_eq!(runtime.block_on(send(&broker, query)).expect("an answer"), whole);
                *view.nodes[&broken].always.lock() = None;
            }
        }
    }
}

#[test]
fn columns_are_those_of_one_node() {
    let who = Principal::new("test");
    let one = Broker::new(inventory(), settings(), Authorizer::open());
    for seed in 0..5 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (view, broker) =
            spread(&inventory(), &["wiki"], &mut rng, &settings(), &Authorizer::open(), &BTreeMap::new());
        assert_eq!(broker.columns("wiki", &who), one.columns("wiki", &who));
        assert_eq!(
            broker.columns_by_role("wiki", &who).expect("roles"),
            one.columns_by_role("wiki", &who).expect("roles")
        );
        assert_eq!(broker.columns_for_rules("wiki", &who), one.columns_for_rules("wiki", &who));
        assert_eq!(broker.datasources(&who), ["wiki"]);
        assert_eq!(broker.find_columns("nothing", &who).expect("nodes"), None);
        let asked = |view: &crate::cluster::View| -> usize {
            view.nodes.values().map(|node| node.asked.load(Ordering::Relaxed)).sum()
        };
        let before = asked(&view);
        assert_eq!(runtime().block_on(broker.columns_of("wiki", &who)).expect("columns"), one.columns("wiki", &who));
        assert_eq!(asked(&view), before, "published segments are asked about once");
        // A table whose nodes are gone is there all the same.
        let broker = Broker::over(view.clone(), crate::cluster::scatter(), settings(), Authorizer::open());
        view.nodes.values().for_each(|node| *node.always.lock() = Some(Fault::Unreachable));
        assert!(matches!(broker.find_columns("wiki", &who), Err(Error::Unavailable(_))));
    }
}
