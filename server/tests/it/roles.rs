//! Nodes with roles of their own, as processes: events from Kafka to an ingest node, from there to historicals, asked for
//! through a broker. One after another is killed; whatever is answered without error is right, and in the end everything
//! is there once.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Fed, Server, StopOnDrop, amount, create_topic, feed, kafka, node, shared, supervisor};

const TABLE: &str = "roles";

/// What all answers are held to.
#[derive(Default)]
struct Watched {
    complete_max: AtomicU64,
    answers: AtomicU64,
    flagged: AtomicU64,
    refused: AtomicU64,
    /// When the last whole answer came.
    whole_at: Mutex<Option<Instant>>,
    wrong: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
}

impl Watched {
    /// Asks one broker for as long as it is told to.
    fn poll(&self, broker: &Server, fed: &Fed, done: &AtomicBool) {
        let mut by_sql = false;
        while !done.load(Ordering::SeqCst) {
            by_sql = !by_sql;
            // What was answered before this was asked may not be less than what this answers.
            let floor = self.complete_max.load(Ordering::SeqCst);
            match broker.try_count(TABLE, by_sql) {
                Ok(answer) => {
                    let sent = fed.sent.load(Ordering::SeqCst);
                    self.answers.fetch_add(1, Ordering::SeqCst);
                    if answer.count > sent || (!answer.flagged && answer.count < floor) {
                        let (count, flagged) = (answer.count, answer.flagged);
                        let text = format!("{count} (flagged: {flagged}, SQL: {by_sql}), {sent} sent, {floor} before");
                        self.wrong.lock().unwrap().push(text);
                    }
                    match answer.flagged {
                        true => drop(self.flagged.fetch_add(1, Ordering::SeqCst)),
                        false => {
                            self.complete_max.fetch_max(answer.count, Ordering::SeqCst);
                            *self.whole_at.lock().unwrap() = Some(Instant::now());
                        }
                    }
                }
                Err(error) => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    let mut errors = self.errors.lock().unwrap();
                    if errors.len() < 20 && errors.last() != Some(&error) {
                        errors.push(error);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a whole answer that was asked for after this was.
    fn whole(&self, what: &str, within: Duration, logs: &dyn Fn() -> String) -> Duration {
        let begun = Instant::now();
        loop {
            let at = *self.whole_at.lock().unwrap();
            // One that came at once may have been asked for before.
            if at.is_some_and(|at| at > begun + Duration::from_millis(100)) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < within,
                "no whole answer within {within:?} after {what}; errors: {:#?}\n{}",
                self.errors.lock().unwrap(),
                logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What is served by whom, as the system tables of a broker tell.
fn served(broker: &Server) -> Vec<Vec<Value>> {
    let of_table = format!("segment_id LIKE '{TABLE}%'");
    broker.sql(&format!("SELECT server, COUNT(*) FROM sys.server_segments WHERE {of_table} GROUP BY 1 ORDER BY 1"))
}

#[test]
fn nodes_of_all_roles_die_and_every_event_is_counted_once() {
    let (Some(bootstrap), Some(settings)) = (kafka("roles"), shared("roles")) else { return };
    let rate = 1_000;
    let events = amount("HENGE_TEST_ROLES_EVENTS", 60_000);
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("roles-{}", std::process::id());
    create_topic(&bootstrap, &topic, 2);
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let mut leader = start("c1", "coordinator");
    let leads = Instant::now() + Duration::from_secs(60);
    while !leader.log().contains("leading at") {
        assert!(Instant::now() < leads, "nobody leads:\n{}", leader.log_end());
        std::thread::sleep(Duration::from_millis(10));
    }
    let follower = start("c2", "coordinator");
    let broker = start("b1", "broker");
    let mut historicals = [start("h1", "historical"), start("h2", "historical")];
    let mut ingests = [start("i1", "ingest"), start("i2", "ingest")];
    broker.wait_healthy(Duration::from_secs(60));
    for node in historicals.iter().chain(&ingests) {
        node.wait_healthy(Duration::from_secs(60));
    }
    assert_eq!(follower.get("/druid/coordinator/v1/isLeader").status, 404);

    // What only the leader does is asked of any node.
    let io = json!({"taskCount": 2, "taskDuration": "PT4S"});
    let tuning = json!({"maxRowsInMemory": 2_000, "intermediatePersistPeriod": "PT1S"});
    broker.post_ok("/druid/indexer/v1/supervisor", &supervisor(TABLE, &topic, &bootstrap, io, tuning));
    let maps = json!({"version": "v1", "lookupExtractorFactory": {"type": "map", "map": {"a": "b"}}});
    let put = historicals[0].post("/druid/coordinator/v1/lookups/config/__default/names", &maps);
    assert_eq!(put.status, 202, "{}", put.body);
    // And nobody but nodes asks what nodes ask each other.
    for path in ["query", "heartbeat", "leave", "view", "ledger", "system"] {
        for server in [&broker, &leader, &historicals[0], &ingests[0]] {
            let path = format!("/henge/internal/v1/{path}");
            assert_eq!(server.post(&path, &json!({})).status, 401, "{path}");
            let guess = [("x-henge-cluster", "the-word-that-only-nodes-knew")];
            assert_eq!(server.send("POST", &path, &guess, Some(&json!({}))).status, 401, "{path}");
        }
    }

    let fed = Arc::new(Fed::default());
    let feeding = {
        let (bootstrap, topic, fed) = (bootstrap.clone(), topic.clone(), fed.clone());
        std::thread::spawn(move || feed(&bootstrap, &topic, events, rate, &fed))
    };
    let watched = Watched::default();
    let done = Arc::new(AtomicBool::new(false));
    let mut took = Vec::new();
    let logs = |name: &str| {
        let log = std::fs::read_to_string(dir.path().join(name).join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"))
    };
    let all = || ["c1", "c2", "b1", "h1", "h2", "i1", "i2"].map(logs).concat();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(done.clone());
        {
            let (watched, broker, fed, done) = (&watched, &broker, &fed, done.clone());
            scope.spawn(move || watched.poll(broker, fed, &done));
        }
        watched.whole("the start", Duration::from_secs(60), &all);
        // Historicals have some of it before anything dies.
        let handed = Instant::now() + Duration::from_secs(60);
        let of = |server: &Server| server.base.trim_start_matches("http://").to_string();
        let holders = [of(&historicals[0]), of(&historicals[1])];
        let victim = loop {
            let served = served(&broker);
            let holds = |holder: &String| served.iter().any(|row| row[0] == json!(holder));
            if let Some(victim) = holders.iter().position(holds) {
                break victim;
            }
            assert!(Instant::now() < handed, "nothing is handed off: {served:?}\n{}", all());
            std::thread::sleep(Duration::from_millis(100));
        };

        historicals[victim].kill();
        let elapsed = watched.whole("the loss of a historical", Duration::from_secs(60), &all);
        took.push(format!("historical lost: whole after {:.1} s", elapsed.as_secs_f64()));

        ingests[0].kill();
        let elapsed = watched.whole("the loss of an ingest node", Duration::from_secs(60), &all);
        took.push(format!("ingest node lost: whole after {:.1} s", elapsed.as_secs_f64()));

        leader.kill();
        let begun = Instant::now();
        while !follower.log().contains("leading at") {
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody leads:\n{}", all());
            std::thread::sleep(Duration::from_millis(10));
        }
        let led = begun.elapsed();
        let elapsed = watched.whole("the loss of the leader", Duration::from_secs(60), &all);
        took.push(format!(
            "leader lost: another leads after {:.1} s, whole after {:.1} s",
            led.as_secs_f64(),
            (begun.elapsed() - led).min(elapsed).as_secs_f64()
        ));

        // A node comes back under its name, and the new leader takes it in.
        historicals[victim] = start(["h1", "h2"][victim], "historical");
        ingests[0] = start("i1", "ingest");
        feeding.join().unwrap();
        broker.wait_for_count(TABLE, events, Duration::from_secs(120));
    });
    broker.assert_equals(TABLE, &fed);
    assert_eq!(broker.sql("SELECT LOOKUP('a', 'names')")[0][0], "b");
    let wrong = watched.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong answers: {:?}\n{}", wrong.len(), &wrong[..wrong.len().min(10)], all());
    println!(
        "roles: {}; {} answers right ({} of them said to be incomplete), {} refused, {events} events exact",
        took.join(", "),
        watched.answers.into_inner(),
        watched.flagged.into_inner(),
        watched.refused.into_inner()
    );
}
