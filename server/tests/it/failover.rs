//! Two nodes on one PostgreSQL and one S3 bucket: one leads, the other takes its place when it dies, stands still or is
//! stopped. No answer of either that is given without error is wrong, whatever happens to the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Fed, Server, StopOnDrop, amount, create_topic, feed, kafka, node, shared, supervisor};

/// What all answers are held to.
#[derive(Default)]
struct Watched {
    complete_max: AtomicU64,
    answers: AtomicU64,
    refused: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Watched {
    /// Asks one node for as long as it is told to.
    fn poll(&self, who: &str, server: &Server, fed: &Fed, done: &AtomicBool) {
        let mut by_sql = false;
        while !done.load(Ordering::SeqCst) {
            by_sql = !by_sql;
            // What was answered before this was asked may not be less than what this answers.
            let floor = self.complete_max.load(Ordering::SeqCst);
            match server.try_count("failover", by_sql) {
                Ok(answer) => {
                    let sent = fed.sent.load(Ordering::SeqCst);
                    self.answers.fetch_add(1, Ordering::SeqCst);
                    if answer.count > sent || (!answer.flagged && answer.count < floor) {
                        let text = format!(
                            "{who}: {} (flagged: {}), {sent} sent, {floor} before",
                            answer.count, answer.flagged
                        );
                        self.wrong.lock().unwrap().push(text);
                    }
                    if !answer.flagged {
                        self.complete_max.fetch_max(answer.count, Ordering::SeqCst);
                    }
                }
                Err(_) => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits until a node answers whole; how long that took.
fn takes_over(server: &Server, within: Duration) -> Duration {
    let begun = Instant::now();
    while !server.try_count("failover", true).is_ok_and(|answer| !answer.flagged) {
        assert!(begun.elapsed() < within, "nobody took over within {within:?}; its log ends:\n{}", server.log_end());
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn another_node_takes_the_place_of_the_one_that_leads() {
    let (Some(bootstrap), Some(settings)) = (kafka("failover"), shared("failover")) else { return };
    let rounds = amount("HENGE_TEST_FAILOVERS", 6);
    let rate = 2_000;
    let events = rounds * 12 * rate;
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("failover-{}", std::process::id());
    create_topic(&bootstrap, &topic, 2);
    let mut names = ["one", "two"];
    let mut leader = node(dir.path(), names[0], &[], &settings);
    leader.wait_healthy(Duration::from_secs(60));
    let io = json!({"taskCount": 1, "taskDuration": "PT2S"});
    let tuning = json!({"maxRowsInMemory": 2_000, "intermediatePersistPeriod": "PT1S"});
    leader.post_ok("/druid/indexer/v1/supervisor", &supervisor("failover", &topic, &bootstrap, io, tuning));
    let maps = json!({"version": "v1", "lookupExtractorFactory": {"type": "map", "map": {"a": "b"}}});
    assert_eq!(leader.post("/druid/coordinator/v1/lookups/config/__default/names", &maps).status, 202);

    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, rate, &fed))
    };
    let watched = Watched::default();
    let mut took = Vec::new();
    for round in 0..rounds {
        takes_over(&leader, Duration::from_secs(60));
        let follower = node(dir.path(), names[1], &[], &settings);
        let stands_by = Instant::now() + Duration::from_secs(30);
        // Its log is of all its lives, each at another port.
        let told = format!("standing by at {}", follower.base.trim_start_matches("http://"));
        while !follower.log().contains(&told) {
            assert!(Instant::now() < stands_by, "it does not stand by:\n{}", follower.log_end());
            std::thread::sleep(Duration::from_millis(10));
        }
        let reply = follower.get("/druid/coordinator/v1/isLeader");
        assert_eq!((reply.status, reply.body["leader"].as_bool()), (404, Some(false)));
        assert_eq!(follower.get("/status/health").status, 503);
        let done = Arc::new(AtomicBool::new(false));
        let elapsed = std::thread::scope(|scope| {
            let _stop = StopOnDrop(done.clone());
            for (who, server) in [(names[0], &leader), (names[1], &follower)] {
                let (watched, fed, done) = (&watched, &fed, done.clone());
                scope.spawn(move || watched.poll(who, server, fed, &done));
            }
            std::thread::sleep(Duration::from_millis(1500 + 700 * (round % 3)));
            match round % 3 {
                0 => assert!(leader.signal("-KILL")),
                // It stands still for longer than its lease, and wakes while another leads.
                1 => assert!(leader.signal("-STOP")),
                _ => assert!(leader.signal("-TERM")),
            }
            let elapsed = takes_over(&follower, Duration::from_secs(30));
            if round % 3 == 1 {
                assert!(leader.signal("-CONT"));
                std::thread::sleep(Duration::from_millis(1500));
            }
            elapsed
        });
        took.push(format!(
            "{} after {:.1} s",
            ["kill", "stop and continue", "terminate"][round as usize % 3],
            elapsed.as_secs_f64()
        ));
        // Whoever lost the lead leaves by itself.
        let leaves = Instant::now() + Duration::from_secs(30);
        while !leader.has_exited() {
            assert!(Instant::now() < leaves, "the node that lost the lead is still there:\n{}", leader.log_end());
            std::thread::sleep(Duration::from_millis(10));
        }
        leader = follower;
        names.swap(0, 1);
    }
    feeding.join().unwrap();
    leader.wait_for_count("failover", events, Duration::from_secs(60));
    leader.assert_equals("failover", &fed);
    let lookup = leader.sql("SELECT LOOKUP('a', 'names')");
    assert_eq!(lookup[0][0], "b");
    // Whoever leads reads its own journal: no task of it or of others failed for being another node's, or at a lost lead.
    assert!(leader.sql("SELECT COUNT(*) FROM sys.audit")[0][0].as_u64().unwrap() > 0);
    for name in names {
        let log = std::fs::read_to_string(dir.path().join(name).join("server.log")).unwrap();
        let failed: Vec<&str> = log.lines().filter(|line| line.contains("task failed")).collect();
        assert!(failed.is_empty(), "{name}: {failed:#?}");
    }
    let wrong = watched.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong answers: {:?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    println!(
        "failover: {}; {} answers right, {} refused, {events} events exact",
        took.join(", "),
        watched.answers.into_inner(),
        watched.refused.into_inner()
    );
}
