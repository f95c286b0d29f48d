//! `kill -9` at named steps and at random times, under load: exact at the end, never over, and an answer that does not say
//! it is incomplete never falls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::harness::{Fed, Server, amount, create_topic, feed, kafka, supervisor};

/// Steps at which the process kills itself, in turn with kills at random times.
const FAIL_POINTS: &[&str] = &[
    "persist-before-manifest",
    "persist-after-manifest",
    "freeze",
    "push-before",
    "push-after",
    "publish-before",
    "publish-after",
    "handoff-before",
    "handoff-after",
];

#[test]
fn every_event_counts_once_through_kills() {
    let Some(bootstrap) = kafka("crash") else { return };
    let kills = amount("HENGE_TEST_KILLS", 14);
    let seed = amount("HENGE_TEST_SEED", 7);
    let rate = 4_000;
    // About 3.5 s a life; the stream lasts a little longer than all lives.
    let events = kills * 3 * rate + 20_000;
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("crash-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, rate, &fed))
    };
    let spec = supervisor(
        "crash",
        &topic,
        &bootstrap,
        json!({"taskCount": 2, "taskDuration": "PT2S"}),
        json!({"maxRowsInMemory": 2_000, "intermediatePersistPeriod": "PT1S"}),
    );

    let mut random = SmallRng::seed_from_u64(seed);
    let (mut complete_max, mut answers, mut flagged, mut at_fail_points) = (0u64, 0u64, 0u64, 0u64);
    for life in 0..=kills {
        let last_life = life == kills;
        let point = FAIL_POINTS[life as usize / 2 % FAIL_POINTS.len()];
        let by_fail_point = life % 2 == 1 && !last_life;
        let nth = format!("{point}:{}", random.random_range(1..4));
        let settings: &[(&str, &str)] = if by_fail_point { &[("ingest.fail_point", &nth)] } else { &[] };
        let mut server = Server::launch(dir.path(), "server", settings, &[]);
        if !server.answers_before_it_ends(Duration::from_secs(60)) {
            assert!(by_fail_point, "life {life} ended by itself: {}", server.log_end());
            at_fail_points += 1;
            continue;
        }
        if life == 0 {
            server.post_ok("/druid/indexer/v1/supervisor", &spec);
        }
        let end = Instant::now() + Duration::from_millis(random.random_range(300..6_000));
        let fail_point_end = Instant::now() + Duration::from_secs(8);
        let mut by_sql = false;
        loop {
            by_sql = !by_sql;
            if let Ok(answer) = server.try_count("crash", by_sql) {
                let sent = fed.sent.load(Ordering::SeqCst);
                assert!(answer.count <= sent, "life {life}: counted {} of {sent} sent", answer.count);
                answers += 1;
                flagged += answer.flagged as u64;
                if !answer.flagged {
                    assert!(
                        answer.count >= complete_max,
                        "life {life} ({nth}): an answer that claims to be complete fell from {complete_max} to {}",
                        answer.count
                    );
                    complete_max = answer.count;
                }
                if last_life && answer.count == events && !answer.flagged {
                    break;
                }
            }
            if by_fail_point && server.has_exited() {
                at_fail_points += 1;
                break;
            }
            let now = Instant::now();
            if !last_life && now > if by_fail_point { fail_point_end } else { end } {
                break;
            }
            assert!(
                !last_life || now < fail_point_end + Duration::from_secs(120),
                "stuck at {complete_max} of {events}"
            );
            std::thread::sleep(Duration::from_millis(3));
        }
        if last_life {
            feeding_is_over(&fed, events);
            server.assert_equals("crash", &fed);
        }
        server.kill();
    }
    feeding.join().unwrap();
    println!(
        "crash: {kills} kills ({at_fail_points} at fail points), {answers} answers, {flagged} said incomplete, {events} events exact"
    );
    // How many are reached in a short run depends on how fast the machine is; the tests of `ingest` go through every one.
    let least = if kills >= 50 { kills / 3 } else { 1 };
    assert!(at_fail_points >= least, "{at_fail_points} fail points were reached, not {least}");
}

fn feeding_is_over(fed: &Fed, events: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    while (fed.acknowledged.lock().unwrap().len() as u64) < events {
        assert!(Instant::now() < end, "the feed did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
