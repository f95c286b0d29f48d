//! Against a real Kafka: answers equal the producer's ledger, never fall, never exceed; freshness is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Fed, Server, StopOnDrop, amount, create_topic, feed, kafka, supervisor};

#[test]
fn answers_equal_the_producers_ledger() {
    let Some(bootstrap) = kafka("ledger") else { return };
    let events = amount("HENGE_TEST_LEDGER_EVENTS", 200_000);
    let rate = amount("HENGE_TEST_LEDGER_RATE", 20_000);
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("ledger-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let server = Server::start(dir.path());
    // Short tasks and small memory, so that spills and handoffs happen all through.
    server.post_ok(
        "/druid/indexer/v1/supervisor",
        &supervisor(
            "ledger",
            &topic,
            &bootstrap,
            json!({"taskCount": 2, "taskDuration": "PT5S"}),
            json!({"maxRowsInMemory": 20_000}),
        ),
    );
    // The task is reading before the first event is fed, so that freshness is of the stream and not of the start.
    std::thread::sleep(Duration::from_secs(2));

    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, rate, &fed))
    };
    let done = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(done.clone());
    let (mut last, mut polls, mut delays) = (0u64, 0u64, Vec::<f64>::new());
    let mut by_sql = false;
    let mut quiet_since = Instant::now();
    while last < events {
        by_sql = !by_sql;
        let Ok(answer) = server.try_count("ledger", by_sql) else {
            assert_eq!(last, 0, "a query failed after the first answer");
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let (now, sent) = (Instant::now(), fed.sent.load(Ordering::SeqCst));
        assert!(answer.count <= sent, "counted {} of {sent} sent", answer.count);
        assert!(answer.count >= last, "the count fell from {last} to {}", answer.count);
        polls += 1;
        if answer.count > last {
            let acknowledged = fed.acknowledged.lock().unwrap();
            let seen = acknowledged.iter().take(answer.count as usize).skip(last as usize);
            delays.extend(seen.map(|at| now.saturating_duration_since(*at).as_secs_f64() * 1e3));
            last = answer.count;
            quiet_since = now;
        }
        assert!(quiet_since.elapsed() < Duration::from_secs(60), "stuck at {last} of {events}");
    }
    feeding.join().unwrap();
    server.assert_equals("ledger", &fed);
    delays.sort_by(f64::total_cmp);
    let at = |q: f64| delays[((delays.len() - 1) as f64 * q) as usize];
    println!(
        "ledger: {events} events at {rate}/s, {polls} polls, freshness ms p50 {:.1} p90 {:.1} p99 {:.1} max {:.1}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );

    // A graceful restart keeps every row.
    assert!(server.stop(), "the server did not stop cleanly");
    let server = Server::start(dir.path());
    server.wait_for_count("ledger", events, Duration::from_secs(60));
    server.assert_equals("ledger", &fed);
}
