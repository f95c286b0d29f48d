//! A large catalog: how long it takes to open, what a cycle costs when there is much, little and nothing to do, and how
//! much memory it is. The figures are printed, not judged.
//!
//! `HENGE_SCALE_SEGMENTS` asks for more segments than the few by default, such as 1000000.

use std::time::Instant;

use henge_coordinator::{Command, Coordinator, Member, PublishMode, Report, Served};
use segment::{Interval, SegmentId, SegmentMeta};

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(a_large_catalog_at_rest_costs_little,);

const DATASOURCES: usize = 1_000;
const NODES: usize = 200;
const COPIES: usize = 2;
const DAY: i64 = 86_400_000;
/// Rows of one statement.
const ROWS: usize = 500;

fn segments() -> usize {
    std::env::var("HENGE_SCALE_SEGMENTS").map_or(20_000, |text| text.parse().unwrap())
}

/// The number of a segment says its datasource and day.
fn described(number: usize) -> SegmentMeta {
    let day = (number / DATASOURCES) as i64;
    let interval = Interval { start: day * DAY, end: (day + 1) * DAY };
    let id = SegmentId {
        datasource: format!("datasource_{:04}", number % DATASOURCES),
        interval,
        version: "2026-01-01T00:00:00.000Z".into(),
        partition: 0,
    };
    SegmentMeta {
        rows: 1_000_000,
        size_bytes: 500 << 20,
        checksum: number as u64,
        time_range: Some((interval.start, interval.end - 1)),
        dimensions: (0..10).map(|dimension| format!("dimension_{dimension}")).collect(),
        metrics: (0..3).map(|metric| format!("metric_{metric}")).collect(),
        path: format!("segments/{}/{number}.henge", id.datasource),
        core_partitions: 1,
        id,
    }
}

async fn fill(store: &Fresh, segments: usize) {
    for first in (0..segments).step_by(ROWS) {
        let mut statement = String::from(
            "INSERT INTO segments (id, datasource, start_ms, end_ms, version, partition_num, used, appended, number, meta, \
             created_ms, changed_ms) VALUES ",
        );
        for number in first..(first + ROWS).min(segments) {
            let meta = described(number);
            let (id, interval) = (&meta.id, meta.id.interval);
            let text = serde_json::to_string(&meta).unwrap();
            let separator = if number == first { "" } else { ", " };
            statement.push_str(&format!(
                "{separator}('{id}', '{}', {}, {}, '{}', 0, 1, 0, {number}, '{text}', 0, 0)",
                id.datasource, interval.start, interval.end, id.version,
            ));
        }
        store.execute(&statement).await;
    }
}

/// Bytes of this process that are in memory, where the system tells.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).map_or(0, |pages| pages.parse::<u64>().unwrap() * 4096)
}

async fn a_large_catalog_at_rest_costs_little(store: Fresh) {
    let segments = segments();
    // Makes the tables.
    open(&store).await.close().await;
    fill(&store, segments).await;
    let now = 20_000 * DAY;

    let (began, before) = (Instant::now(), resident_bytes());
    let coordinator = open(&store).await;
    println!("{segments} segments, {DATASOURCES} datasources, PostgreSQL: {}", store.is_postgres());
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    println!("open: {:?}, {:.2} GiB more in memory", began.elapsed(), gib(resident_bytes().saturating_sub(before)));
    timed("first cycle", &coordinator, now).await;

    // Every node has its share already, as after a change of the leader.
    let began = Instant::now();
    let mut orders = 0;
    for node in 0..NODES {
        let of_node = (0..segments).filter(|number| (0..COPIES).any(|copy| (number + copy) % NODES == node));
        let published = of_node.map(|number| described(number).id).collect();
        let served = Some(Served { published, realtime: vec![] });
        let report = Report { member: named(node), seq: next_seq(), served, ..Report::default() };
        let commands = coordinator.heartbeat(report, now).await.unwrap().commands;
        orders += commands.len();
    }
    println!("{NODES} first reports: {:?}, answered with {orders} orders", began.elapsed());
    let status = coordinator.load_status();
    assert_eq!(status.len(), DATASOURCES.min(segments));
    assert!(status.values().all(|status| status.used == status.served));

    // What the first nodes were told before the last had reported is taken back.
    let mut cycles = 0;
    while timed("cycle", &coordinator, now).await > 0 {
        cycles += 1;
        assert!(cycles < 100, "the cycle finds something to do for ever");
        if cycles == 5 {
            break;
        }
    }
    println!("in memory: {:.2} GiB", gib(resident_bytes()));
    let began = Instant::now();
    for later in 0..20 {
        coordinator.cycle(now + later).await.unwrap();
    }
    println!("cycle with nothing to do: {:?}", began.elapsed() / 20);
    let began = Instant::now();
    for node in 0..NODES {
        let report = Report { member: named(node), seq: next_seq(), ..Report::default() };
        coordinator.heartbeat(report, now).await.unwrap();
    }
    println!("heartbeat with nothing new: {:?}", began.elapsed() / NODES as u32);

    let id = coordinator.allocate(wish("one more", 0, DAY, 0), now).await.unwrap();
    let began = Instant::now();
    coordinator.publish(batch(vec![meta(&id, 1)], PublishMode::Append), now).await.unwrap();
    println!("publish: {:?}", began.elapsed());
    timed("cycle after it", &coordinator, now).await;
    let mut loads = 0;
    for node in 0..NODES {
        let report = Report { member: named(node), seq: next_seq(), ..Report::default() };
        let commands = coordinator.heartbeat(report, now).await.unwrap().commands;
        loads += commands.iter().filter(|command| matches!(command, Command::Load(meta) if meta.id == id)).count();
    }
    assert_eq!(loads, COPIES);

    let rules = serde_json::json!([
        {"type": "dropBeforeByPeriod", "period": "P100Y"},
        {"type": "loadForever", "tieredReplicants": {"_default_tier": 2}},
    ]);
    coordinator.set_rules("_default", rules, "ann", now).await.unwrap();
    timed("cycle after a change of all rules", &coordinator, now).await;
    timed("cycle a day later", &coordinator, now + DAY).await;
}

fn named(node: usize) -> Member {
    member(&format!("node {node:03}"))
}

/// How many segments began to move.
async fn timed(what: &str, coordinator: &Coordinator, now: i64) -> usize {
    let began = Instant::now();
    let report = coordinator.cycle(now).await.unwrap();
    println!("{what}: {:?}", began.elapsed());
    assert_eq!(report.segments_retired, 0);
    report.segments_moved
}
