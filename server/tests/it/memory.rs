//! Ingestion within `maxBytesInMemory`: peak RSS stays below the formula of docs/operations.md.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Fed, Server, amount, create_topic, feed, kafka, supervisor};

const MIB: u64 = 1 << 20;

#[test]
fn ingestion_stays_within_its_budget() {
    let Some(bootstrap) = kafka("memory") else { return };
    let events = amount("HENGE_TEST_MEMORY_EVENTS", 600_000);
    let budget = amount("HENGE_TEST_MEMORY_MIB", if events >= 5_000_000 { 256 } else { 48 }) * MIB;
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("memory-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let fed = Arc::new(Fed::default());
    feed(&bootstrap, &topic, events, 0, &fed);
    let server = Server::start(dir.path());
    let idle = server.rss_peak_bytes();
    server.post_ok(
        "/druid/indexer/v1/supervisor",
        &supervisor(
            "memory",
            &topic,
            &bootstrap,
            json!({"taskCount": 1, "taskDuration": "PT30S"}),
            json!({"maxRowsInMemory": 1_000_000_000, "maxBytesInMemory": budget}),
        ),
    );
    let started = Instant::now();
    server.wait_for_count("memory", events, Duration::from_secs(60 + events / 20_000));
    let seconds = started.elapsed().as_secs_f64();
    let peak = server.rss_peak_bytes();
    // docs/operations.md, "What bounds memory". The spec leaves maxRowsPerSegment at 5,000,000 and has 4 string dimensions.
    let merge = (28 + 4 * 4) * events.min(5_000_000);
    let bound = idle + 2 * budget + 300 * MIB + merge;
    println!(
        "memory: {events} events in {seconds:.1} s, maxBytesInMemory {} MiB, idle {} MiB, peak {} MiB, bound {} MiB",
        budget / MIB,
        idle / MIB,
        peak / MIB,
        bound / MIB
    );
    assert!(peak <= bound, "peak {peak} exceeds the bound {bound}");
    server.assert_equals("memory", &fed);
}
