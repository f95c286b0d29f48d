//! Tasks that go from one node or number to another in good order, under a stream that does not end: ingest nodes that are
//! told to stop and start again, and a supervisor that gets more tasks. Nobody who asks meanwhile notices anything but that
//! the newest events are seen a little later.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Fed, Server, StopOnDrop, amount, create_topic, feed, kafka, node, shared, supervisor};

const RATE: u64 = 1_000;

/// What was seen by who asks all the time.
#[derive(Default)]
struct Seen {
    count: u64,
    answers: u64,
    /// The longest time that an acknowledged event was not seen, since this was last taken; told from how many are missing, so
    /// that where only half of the partitions rest, it is half of that.
    stale: Duration,
    /// Answers that are wrong.
    wrong: Vec<String>,
    /// Answers that say that they are not whole, and questions without an answer.
    lacking: Vec<String>,
}

impl Seen {
    fn shown(&self) -> String {
        let some = |told: &[String]| told[..told.len().min(10)].to_vec();
        let (wrong, lacking) = (some(&self.wrong), some(&self.lacking));
        format!(
            "{} wrong: {wrong:#?}, {} not whole or none: {lacking:#?}, of {}",
            self.wrong.len(),
            self.lacking.len(),
            self.answers
        )
    }
}

/// Asks until it is told to end; the first answers may be of a datasource that nobody knows.
fn watch(broker: &Server, table: &str, fed: &Fed, seen: &Mutex<Seen>, done: &AtomicBool) {
    let mut by_sql = false;
    while !done.load(Ordering::SeqCst) {
        by_sql = !by_sql;
        let asked = Instant::now();
        let answer = broker.try_count(table, by_sql);
        let sent = fed.sent.load(Ordering::SeqCst);
        let mut seen = seen.lock().unwrap();
        let has_begun = seen.count > 0;
        match answer {
            Ok(answer) if answer.flagged && !has_begun => {}
            Ok(answer) => {
                let told = format!("{} of {sent}, flagged: {}, {} before", answer.count, answer.flagged, seen.count);
                seen.answers += 1;
                if answer.count > sent || !answer.flagged && answer.count < seen.count {
                    seen.wrong.push(told);
                } else if answer.flagged {
                    seen.lacking.push(told);
                }
                if answer.flagged {
                    continue;
                }
                seen.count = seen.count.max(answer.count);
                // The first event that was there when it was asked for, and is not among those that are seen.
                if let Some(missed) = fed.acknowledged.lock().unwrap().get(answer.count as usize) {
                    seen.stale = seen.stale.max(asked.saturating_duration_since(*missed));
                }
            }
            Err(error) if has_begun => seen.lacking.push(error),
            Err(_) => {}
        }
        drop(seen);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until what is acknowledged by now is seen.
fn catch_up(seen: &Mutex<Seen>, fed: &Fed, logs: &dyn Fn() -> String) {
    let (there, end) = (fed.acknowledged.lock().unwrap().len() as u64, Instant::now() + Duration::from_secs(60));
    while seen.lock().unwrap().count < there.max(1) {
        assert!(Instant::now() < end, "{there} events are not seen\n{}", logs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ingest_nodes_stop_and_start_and_nobody_notices() {
    let (Some(bootstrap), Some(settings)) = (kafka("handover"), shared("handover")) else { return };
    let table = "handover";
    let events = amount("HENGE_TEST_HANDOVER_EVENTS", 60_000);
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("handover-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let (mut leader, broker) = (start("c1", "coordinator"), start("b1", "broker"));
    let historicals = [start("h1", "historical"), start("h2", "historical")];
    let mut ingests = [Some(start("i1", "ingest")), Some(start("i2", "ingest"))];
    for node in historicals.iter().chain(ingests.iter().flatten()).chain([&broker]) {
        node.wait_healthy(Duration::from_secs(60));
    }
    // Nothing is published but what is handed over.
    let io = json!({"taskCount": 2, "taskDuration": "PT1H"});
    broker.post_ok("/druid/indexer/v1/supervisor", &supervisor(table, &topic, &bootstrap, io, json!({})));

    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, RATE, &fed))
    };
    let (seen, done) = (Mutex::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let logs = || {
        let log = |name: &str| {
            let log = std::fs::read_to_string(dir.path().join(name).join("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        ["c1", "b1", "h1", "h2", "i1", "i2"].map(log).concat()
    };
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(done.clone());
        {
            let (seen, broker, fed, done) = (&seen, &broker, &fed, done.clone());
            scope.spawn(move || watch(broker, table, fed, seen, &done));
        }
        catch_up(&seen, &fed, &logs);
        for round in 0..4 {
            std::thread::sleep(Duration::from_secs(4));
            let usual = std::mem::take(&mut seen.lock().unwrap().stale);
            let which = round % 2;
            let begun = Instant::now();
            assert!(ingests[which].take().unwrap().stop(), "it does not end in good order\n{}", logs());
            let ended = begun.elapsed();
            catch_up(&seen, &fed, &logs);
            let stale = std::mem::take(&mut seen.lock().unwrap().stale);
            told.push(format!(
                "ended after {:.1} s, seen {:.1} s late at most ({:.1} s before)",
                ended.as_secs_f64(),
                stale.as_secs_f64(),
                usual.as_secs_f64()
            ));
            let again = start(["i1", "i2"][which], "ingest");
            again.wait_healthy(Duration::from_secs(60));
            ingests[which] = Some(again);
        }
        feeding.join().unwrap();
        broker.wait_for_count(table, events, Duration::from_secs(120));
        // The last of them has nobody to hand over to. What it read is published, and is there for all who ask.
        for node in &mut ingests {
            assert!(node.take().unwrap().stop(), "it does not end in good order\n{}", logs());
        }
        std::thread::sleep(Duration::from_secs(1));
    });
    broker.assert_equals(table, &fed);
    let seen = seen.into_inner().unwrap();
    assert!(seen.wrong.is_empty() && seen.lacking.is_empty(), "{}\n{}", seen.shown(), logs());
    for name in ["i1", "i2"] {
        let log = std::fs::read_to_string(dir.path().join(name).join("server.log")).unwrap();
        assert_eq!(log.matches("handed over ms=").count(), 3, "{name} did not hand over:\n{}", logs());
    }
    // Where nobody leads it is not waited for as long as for a hand-over.
    let last = start("i1", "ingest");
    last.wait_healthy(Duration::from_secs(60));
    leader.kill();
    assert!(last.stop(), "it does not end in good order\n{}", logs());
    assert!(std::fs::read_to_string(dir.path().join("i1").join("server.log")).unwrap().contains("nobody takes what"));
    println!("handover: {}; {} answers whole and right, {events} events exact", told.join("; "), seen.answers);
}

/// The node that hands over dies while it does, or the leader: what is answered is right nevertheless, and each event is there
/// once.
#[test]
fn hand_overs_that_are_cut_short_lose_nothing() {
    let (Some(bootstrap), Some(settings)) = (kafka("cut_short"), shared("cut_short")) else { return };
    let table = "cut";
    let rounds = amount("HENGE_TEST_CUT_SHORT_ROUNDS", 8);
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("cut-short-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let mut leaders = [start("c1", "coordinator"), start("c2", "coordinator")];
    let broker = start("b1", "broker");
    let historicals = [start("h1", "historical"), start("h2", "historical")];
    let mut ingests = [start("i1", "ingest"), start("i2", "ingest")];
    for node in historicals.iter().chain(&ingests).chain([&broker]) {
        node.wait_healthy(Duration::from_secs(60));
    }
    let io = json!({"taskCount": 2, "taskDuration": "PT1H"});
    broker.post_ok("/druid/indexer/v1/supervisor", &supervisor(table, &topic, &bootstrap, io, json!({})));
    let fed = Arc::new(Fed::default());
    let events = rounds * 8 * RATE;
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, RATE, &fed))
    };
    let (seen, done) = (Mutex::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let logs = || {
        let log = |name: &str| {
            let log = std::fs::read_to_string(dir.path().join(name).join("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        ["c1", "c2", "b1", "i1", "i2"].map(log).concat()
    };
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(done.clone());
        {
            let (seen, broker, fed, done) = (&seen, &broker, &fed, done.clone());
            scope.spawn(move || watch(broker, table, fed, seen, &done));
        }
        catch_up(&seen, &fed, &logs);
        for round in 0..rounds as usize {
            std::thread::sleep(Duration::from_secs(2));
            let which = round % 2;
            assert!(ingests[which].signal("-TERM"));
            // A hand-over takes a second: at one step of it or another.
            std::thread::sleep(Duration::from_millis(50 + 130 * round as u64 % 900));
            if round % 4 < 2 {
                ingests[which].kill();
            } else {
                let leads = |server: &Server| {
                    let answer = server.try_get("/druid/coordinator/v1/isLeader");
                    answer.is_ok_and(|answer| answer.status == 200)
                };
                let end = Instant::now() + Duration::from_secs(60);
                let at = loop {
                    if let Some(at) = leaders.iter().position(leads) {
                        break at;
                    }
                    assert!(Instant::now() < end, "nobody leads\n{}", logs());
                };
                leaders[at].kill();
                leaders[at] = start(["c1", "c2"][at], "coordinator");
                while !ingests[which].has_exited() {
                    assert!(Instant::now() < end, "it does not end\n{}", logs());
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            ingests[which] = start(["i1", "i2"][which], "ingest");
            ingests[which].wait_healthy(Duration::from_secs(60));
            catch_up(&seen, &fed, &logs);
        }
        feeding.join().unwrap();
        broker.wait_for_count(table, events, Duration::from_secs(120));
    });
    broker.assert_equals(table, &fed);
    let seen = seen.into_inner().unwrap();
    assert!(seen.wrong.is_empty(), "{}\n{}", seen.shown(), logs());
    println!(
        "cut short: {rounds} hand-overs, {} answers right, of which {} not whole or none; {events} events exact",
        seen.answers,
        seen.lacking.len()
    );
}

#[test]
fn a_supervisor_gets_tasks_by_its_lag_and_nobody_notices() {
    let Some(bootstrap) = kafka("scaling") else { return };
    let table = "scaling";
    let events = amount("HENGE_TEST_SCALING_EVENTS", 20_000);
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("scaling-{}", std::process::id());
    create_topic(&bootstrap, &topic, 4);
    let server = Server::start_with(dir.path(), &[]);
    // Any lag is too much, so that there are as many tasks as may be.
    let scaler = json!({"enableTaskAutoScaler": true, "autoScalerStrategy": "lagBased",
        "taskCountMin": 1, "taskCountMax": 3, "scaleOutStep": 1, "scaleOutThreshold": 0, "scaleInThreshold": 0,
        "lagCollectionIntervalMillis": 200, "lagCollectionRangeMillis": 1000, "scaleActionStartDelayMillis": 500,
        "scaleActionPeriodMillis": 500, "minTriggerScaleActionFrequencyMillis": 2000});
    let io = json!({"taskDuration": "PT1H", "autoScalerConfig": scaler});
    server.post_ok("/druid/indexer/v1/supervisor", &supervisor(table, &topic, &bootstrap, io, json!({})));
    let status = || server.get(&format!("/druid/indexer/v1/supervisor/{table}/status")).body["payload"].clone();
    assert_eq!(status()["taskCount"], 1);

    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, RATE, &fed))
    };
    let (seen, done) = (Mutex::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(done.clone());
        {
            let (seen, server, fed, done) = (&seen, &server, &fed, done.clone());
            scope.spawn(move || watch(server, table, fed, seen, &done));
        }
        let end = Instant::now() + Duration::from_secs(60);
        while status()["taskCount"] != 3 {
            assert!(Instant::now() < end, "{:#}\n{}", status(), server.log_end());
            std::thread::sleep(Duration::from_millis(50));
        }
        feeding.join().unwrap();
        server.wait_for_count(table, events, Duration::from_secs(120));
    });
    server.assert_equals(table, &fed);
    let shown = status();
    assert_eq!(shown["autoScaler"]["taskCount"], 3, "{shown:#}");
    assert!(shown["autoScaler"]["lastScaled"].is_string(), "{shown:#}");
    let seen = seen.into_inner().unwrap();
    assert!(seen.wrong.is_empty() && seen.lacking.is_empty(), "{}\n{}", seen.shown(), server.log_end());
    println!(
        "scaling: from 1 task to 3, seen {:.1} s late at most; {} answers whole and right, {events} events exact",
        seen.stale.as_secs_f64(),
        seen.answers
    );
}
