//! Ten processes under load while historicals are killed, and while every node is stopped and started again, one after
//! another. Clients go to either broker, as a proxy with health checks hands them out. No query fails, and every answer is
//! right; answers that say they lack rows are counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Answer, BROKERS, Cluster, NODES, PARTITIONS, Sent, Watched, agent, ask, feed, settle};
use crate::harness::{Server, StopOnDrop, create_topic, free_port, kafka, node, shared};
use crate::machine;

/// Places of historicals in [`NODES`].
const HISTORICALS: [usize; 3] = [4, 5, 6];

/// Clients that ask at the same time.
const CLIENTS: usize = 4;

/// How often a proxy looks at each broker. It is a small part of [`DRAIN_MS`].
const LOOK: Duration = Duration::from_millis(100);

const DRAIN_MS: &str = "1000";

static TURN: Mutex<()> = Mutex::new(());

/// Hands clients out to brokers that say that they are healthy, in turn.
#[derive(Default)]
struct Proxy {
    healthy: [AtomicBool; BROKERS.len()],
    turn: AtomicU64,
}

impl Proxy {
    fn look(&self, cluster: &Cluster, done: &AtomicBool) {
        let agent = agent(Duration::from_secs(1));
        while !done.load(Ordering::SeqCst) {
            for (at, healthy) in BROKERS.iter().zip(&self.healthy) {
                let reply = agent.get(format!("{}/status/health", cluster.base(*at))).call();
                healthy.store(reply.is_ok_and(|reply| reply.status() == 200), Ordering::SeqCst);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn choose(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) as usize;
        let places = (turn..turn + BROKERS.len()).map(|n| n % BROKERS.len());
        let healthy = places.into_iter().find(|place| self.healthy[*place].load(Ordering::SeqCst));
        BROKERS[healthy.unwrap_or(turn % BROKERS.len())]
    }
}

/// What comes of requests that only the coordinator that leads can answer.
#[derive(Default)]
struct Managed {
    answered: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Managed {
    fn ask(&self, cluster: &Cluster, proxy: &Proxy, done: &AtomicBool) {
        let agent = agent(Duration::from_secs(30));
        let servers = json!({"query": "SELECT COUNT(*) FROM sys.servers", "resultFormat": "array"});
        for turn in 0.. {
            if done.load(Ordering::SeqCst) {
                return;
            }
            let base = cluster.base(proxy.choose());
            let (what, reply) = match turn % 3 {
                0 => ("GET supervisors", agent.get(format!("{base}/druid/indexer/v1/supervisor")).call()),
                1 => ("SQL of sys.servers", agent.post(format!("{base}/druid/v2/sql")).send_json(&servers)),
                // One that writes, and does no harm if it is done twice.
                _ => ("POST config", agent.post(format!("{base}/druid/coordinator/v1/config")).send_json(json!({}))),
            };
            let failed = match reply {
                Ok(reply) if reply.status() == 200 => None,
                Ok(mut reply) => Some(format!(
                    "{what}: {} {}",
                    reply.status(),
                    reply.body_mut().read_to_string().unwrap_or_default()
                )),
                Err(error) => Some(format!("{what}: {error}")),
            };
            match failed {
                None => drop(self.answered.fetch_add(1, Ordering::SeqCst)),
                Some(error) => *self.failed.lock().unwrap().entry(error).or_default() += 1,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Counts of queries so far.
#[derive(Clone, Copy)]
struct Counts {
    whole: u64,
    flagged: u64,
    refused: u64,
}

impl Counts {
    fn of(watched: &Watched) -> Counts {
        let [whole, flagged, refused] =
            [&watched.whole, &watched.flagged, &watched.refused].map(|count| count.load(Ordering::SeqCst));
        Counts { whole, flagged, refused }
    }

    fn since(self, before: Counts) -> Counts {
        let Counts { whole, flagged, refused } = before;
        Counts { whole: self.whole - whole, flagged: self.flagged - flagged, refused: self.refused - refused }
    }
}

/// Waits until all that is published is loaded as often as rules ask for, as the coordinator that leads tells, and until there
/// was a whole answer since.
fn settled(cluster: &Cluster, watched: &Watched, within: Duration) {
    let (agent, begun) = (agent(Duration::from_secs(5)), Instant::now());
    let mut last = String::new();
    let mut quiet = None;
    while quiet.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(500)) {
        let mut short = None;
        for (at, (name, _)) in NODES.iter().enumerate().filter(|(_, (_, role))| *role == "coordinator") {
            let reply = agent.get(format!("{}/metrics", cluster.base(at))).call();
            if let Some(mut reply) = reply.ok().filter(|reply| reply.status() == 200) {
                let text = reply.body_mut().read_to_string().unwrap_or_default();
                let of = |name: &str| -> f64 {
                    let lines = text.lines().filter(|line| line.starts_with(name));
                    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
                };
                short = Some(of("henge_coordinator_segments_short") + of("henge_coordinator_segments_missing"));
                last = format!("{name}: {short:?} lack copies");
            }
        }
        quiet = short.filter(|short| *short == 0.0).and(quiet.or(Some(Instant::now())));
        assert!(begun.elapsed() < within, "copies are lacking after {within:?}: {last}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    let whole = watched.whole.load(Ordering::SeqCst) + CLIENTS as u64;
    while watched.whole.load(Ordering::SeqCst) <= whole {
        assert!(
            begun.elapsed() < within,
            "no whole answers within {within:?}: {:#?}\n{}",
            watched.errors.lock().unwrap(),
            cluster.logs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn under_load(name: &str, work: impl FnOnce(&Cluster, &Watched)) {
    under_load_of(None, name, work);
}

/// Puts ten processes of a binary under load, or of this build with what tests set of it; has `work` done to them, and holds
/// every answer before, meanwhile and after.
fn under_load_of(binary: Option<&Path>, name: &str, work: impl FnOnce(&Cluster, &Watched)) {
    let (Some(bootstrap), Some(mut settings)) = (kafka(name), shared(name)) else { return };
    // One after another: twenty processes at once would be slow for reasons of their own.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if binary.is_none() {
        settings.push(("cluster.drain_ms".into(), DRAIN_MS.into()));
    }
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("{name}-{}", std::process::id());
    create_topic(&bootstrap, &topic, PARTITIONS as i32);
    let ports = NODES.iter().map(|_| free_port()).collect();
    let cluster = Cluster::begin(dir.path(), settings, ports, None, None, binary, (&bootstrap, &topic));
    let (sent, watched, proxy, managed) = (Sent::default(), Watched::default(), Proxy::default(), Managed::default());
    let (fed, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    std::thread::scope(|scope| {
        let (_fed, _done) = (StopOnDrop(fed.clone()), StopOnDrop(done.clone()));
        let (cluster, sent, watched, proxy, managed) = (&cluster, &sent, &watched, &proxy, &managed);
        let feeding = scope.spawn(|| feed(&bootstrap, &topic, sent, &fed));
        scope.spawn(|| proxy.look(cluster, &done));
        for at in 2..NODES.len() {
            cluster.wait_healthy(at, Duration::from_secs(90));
        }
        // Before there are rows there is no table.
        let (agent, first) = (agent(Duration::from_secs(30)), Instant::now() + Duration::from_secs(60));
        let has_all = |answer: Answer| !answer.flagged && answer.parts.iter().all(|part| part.0 > 0);
        while !BROKERS.iter().all(|at| ask(&agent, &cluster.base(*at), true).is_ok_and(has_all)) {
            assert!(Instant::now() < first, "no rows come:\n{}", cluster.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        for _ in 0..CLIENTS {
            scope.spawn(|| watched.poll(cluster, &|| proxy.choose(), Duration::from_millis(10), sent, &done));
        }
        scope.spawn(|| managed.ask(cluster, proxy, &done));
        // Whatever becomes of historicals, rows hang on it.
        let served = Instant::now() + Duration::from_secs(60);
        while held(cluster).iter().any(|held| *held < 2) {
            assert!(Instant::now() < served, "nothing is handed off: {:?}\n{}", held(cluster), cluster.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
        settled(cluster, watched, Duration::from_secs(60));
        work(cluster, watched);
        fed.store(true, Ordering::SeqCst);
        feeding.join().unwrap();
        settle(cluster, sent, Duration::from_secs(60), &String::new);
    });
    let wrong = watched.wrong.lock().unwrap();
    assert!(
        wrong.is_empty(),
        "{name}: {} wrong answers: {:#?}\n{}",
        wrong.len(),
        &wrong[..wrong.len().min(10)],
        cluster.logs()
    );
    let (errors, failed) = (watched.errors.lock().unwrap(), managed.failed.lock().unwrap());
    assert!(errors.is_empty(), "{name}: queries failed: {errors:#?}\n{}", cluster.logs());
    assert!(failed.is_empty(), "{name}: what the leader does failed: {failed:#?}\n{}", cluster.logs());
    cluster.assert_by_key(&sent);
    let Counts { whole, flagged, refused } = Counts::of(&watched);
    let events: u64 = sent.0.iter().map(|sent| sent.load(Ordering::SeqCst)).sum();
    eprintln!(
        "{name}: {events} events exact; {whole} whole answers, {flagged} that said they lack rows, {refused} failed; {} \
         requests to the leader, none failed",
        managed.answered.load(Ordering::SeqCst)
    );
}

/// How many segments each historical serves.
fn held(cluster: &Cluster) -> Vec<u64> {
    let query =
        json!({"query": "SELECT server, COUNT(*) FROM sys.server_segments GROUP BY 1", "resultFormat": "array"});
    let reply =
        agent(Duration::from_secs(10)).post(format!("{}/druid/v2/sql", cluster.base(BROKERS[0]))).send_json(&query);
    let rows: Vec<(String, u64)> =
        reply.ok().and_then(|mut reply| reply.body_mut().read_json().ok()).unwrap_or_default();
    let of = |at: &usize| {
        let base = cluster.base(*at);
        rows.iter().find(|(server, _)| base.ends_with(server.as_str())).map_or(0, |(_, held)| *held)
    };
    HISTORICALS.iter().map(of).collect()
}

/// Asserts what became of queries since.
fn tell(what: &str, cluster: &Cluster, watched: &Watched, before: Counts) -> Counts {
    let counts = Counts::of(watched).since(before);
    let Counts { whole, flagged, refused } = counts;
    eprintln!("{what}: {whole} whole answers, {flagged} that said they lack rows, {refused} failed");
    assert_eq!(refused, 0, "{what}: {:#?}\n{}", watched.errors.lock().unwrap(), cluster.logs());
    counts
}

#[test]
fn no_query_fails_when_historicals_are_killed() {
    under_load("killed", |cluster, watched| {
        for at in HISTORICALS {
            let (name, before) = (NODES[at].0, Counts::of(watched));
            cluster.kill(at);
            // For longer than it takes the leader to miss it.
            std::thread::sleep(Duration::from_secs(6));
            tell(&format!("{name} killed, 6 s after"), cluster, watched, before);
            cluster.start(at);
            settled(cluster, watched, Duration::from_secs(60));
            tell(&format!("{name} killed, until it was back"), cluster, watched, before);
        }
    });
}

#[test]
fn no_query_fails_when_copies_are_broken() {
    under_load("broken", |cluster, watched| {
        for at in &HISTORICALS[..2] {
            let (at, name, before) = (*at, NODES[*at].0, Counts::of(watched));
            assert!(cluster.stop(at), "{name} did not stop in order\n{}", cluster.logs());
            let broken = break_copies(&cluster.dir.join(name).join("data/segments"));
            assert!(broken > 0, "{name} has no copies");
            cluster.start(at);
            settled(cluster, watched, Duration::from_secs(60));
            tell(&format!("{name} with {broken} broken copies"), cluster, watched, before);
        }
        let told = |at: &usize| cluster.log(*at).contains("broken local copy, fetching it anew");
        assert!(HISTORICALS.iter().any(told), "no broken copy was met\n{}", cluster.logs());
    });
}

/// Flips bits of each file, all over its columns and not in what is read when it is opened; how many there are.
fn break_copies(folder: &Path) -> usize {
    let mut broken = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            broken += break_copies(&path);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for part in 2..14 {
            let at = bytes.len() * part / 20;
            bytes[at] ^= 0x10;
        }
        std::fs::write(&path, bytes).unwrap();
        broken += 1;
    }
    broken
}

#[test]
fn no_query_fails_when_every_node_is_started_again() {
    under_load("rolling", |cluster, watched| {
        // The one that leads is among them, and leads no more after its turn.
        for (at, (name, role)) in NODES.into_iter().enumerate() {
            let (before, begun) = (Counts::of(watched), Instant::now());
            assert!(cluster.stop(at), "{name} did not stop in order\n{}", cluster.logs());
            let stopped = begun.elapsed().as_secs_f64();
            cluster.start(at);
            if role == "coordinator" {
                cluster.wait_for_role(at, Duration::from_secs(30));
            } else {
                cluster.wait_healthy(at, Duration::from_secs(60));
            }
            let back = begun.elapsed().as_secs_f64();
            settled(cluster, watched, Duration::from_secs(60));
            let what = format!("{name} stopped within {stopped:.1} s, ready after {back:.1} s");
            let counts = tell(&what, cluster, watched, before);
            assert_eq!(counts.flagged, 0, "{name}: answers said they lack rows\n{}", cluster.logs());
        }
    });
}

#[test]
fn no_query_fails_when_every_node_is_upgraded() {
    let Some(previous) = machine::previous("upgraded") else { return };
    under_load_of(Some(&previous), "upgraded", |cluster, watched| {
        let of = |role: &str| (0..NODES.len()).filter(|at| NODES[*at].1 == role).collect::<Vec<_>>();
        let order = ["historical", "ingest", "broker", "coordinator"].map(of).concat();
        for at in order {
            let (name, role) = NODES[at];
            let before = Counts::of(watched);
            assert!(cluster.stop(at), "{name} did not stop in order\n{}", cluster.logs());
            cluster.disguise(at, |guise| guise.binary = None);
            cluster.start(at);
            if role == "coordinator" {
                cluster.wait_for_role(at, Duration::from_secs(30));
            } else {
                cluster.wait_healthy(at, Duration::from_secs(60));
            }
            settled(cluster, watched, Duration::from_secs(60));
            tell(&format!("{name} upgraded"), cluster, watched, before);
        }
    });
}

#[test]
fn a_broker_that_does_not_know_where_rows_are_says_so() {
    let Some(settings) = shared("unknowing") else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        node(dir.path(), name, &[("roles", if name == "c" { "coordinator" } else { "broker" })], &settings)
    };
    let mut leader = start("c");
    leader.wait_for_log("leading at", Duration::from_secs(60));
    leader.kill();
    let broker = start("b");
    broker.wait_for_log("serving at", Duration::from_secs(60));
    let query = json!({"query": "SELECT COUNT(*) FROM nothing", "resultFormat": "array"});
    let native = json!({"queryType": "timeBoundary", "dataSource": "nothing"});
    for (path, body) in [("/druid/v2/sql", &query), ("/druid/v2", &native)] {
        let reply = broker.post(path, body);
        assert_eq!((reply.status, reply.headers.get("retry-after").is_some()), (503, true), "{path}: {}", reply.body);
    }
    assert_eq!(broker.get("/status/health").status, 503);
    let _leader = start("c");
    broker.wait_healthy(Duration::from_secs(60));
    let reply = broker.post("/druid/v2/sql", &query);
    assert_eq!(reply.status, 400, "{}", reply.body);
}

#[test]
fn a_broker_that_leaves_ends_what_it_has_begun() {
    let Some(mut settings) = shared("leaving") else { return };
    settings.push(("cluster.drain_ms".into(), DRAIN_MS.into()));
    let dir = tempfile::tempdir().unwrap();
    let roles = [("c", "coordinator"), ("h", "historical"), ("i", "ingest"), ("b", "broker")];
    let mut nodes = roles.map(|(name, roles)| node(dir.path(), name, &[("roles", roles)], &settings));
    nodes.iter().for_each(|node| node.wait_healthy(Duration::from_secs(60)));
    let broker = &mut nodes[3];
    let rows = 5_000;
    let lines: Vec<String> = (0..rows).map(|v| json!({"t": "2024-01-01T00:00:00Z", "v": v}).to_string()).collect();
    broker.load("d", "iso", json!({"dimensions": [{"type": "long", "name": "v"}]}), &lines.join("\n"));

    let avatica = |broker: &Server, mut body: Value| {
        body["connectionId"] = "c".into();
        broker.post("/druid/v2/sql/avatica", &body)
    };
    assert_eq!(avatica(broker, json!({"request": "openConnection", "info": {}})).status, 200);
    let statement = avatica(broker, json!({"request": "createStatement"})).body["statementId"].clone();
    let run = json!({"request": "prepareAndExecute", "statementId": statement, "sql": "SELECT v FROM d ORDER BY v",
        "maxRowCount": -1, "maxRowsInFirstFrame": 100, "maxRowsTotal": -1});
    let first = avatica(broker, run);
    let mut fetched = first.body["results"][0]["firstFrame"]["rows"].as_array().unwrap().len();
    let told = Instant::now();
    assert!(broker.signal("-TERM"));
    while broker.try_get("/status/health").is_ok_and(|reply| reply.status == 200) {
        assert!(told.elapsed() < Duration::from_secs(10), "it is ready yet:\n{}", broker.log_end());
    }
    assert!(broker.try_get("/status/health").is_ok_and(|reply| reply.status == 503), "it is gone at once");
    assert_eq!(broker.try_count_rows("d"), Ok(rows as u64), "what comes meanwhile is answered");
    while fetched < rows {
        // Longer than it takes new requests.
        std::thread::sleep(Duration::from_millis(50));
        let fetch = json!({"request": "fetch", "statementId": statement, "offset": fetched, "fetchMaxRowCount": 100});
        let frame = avatica(broker, fetch);
        fetched += frame.body["frame"]["rows"].as_array().unwrap_or_else(|| panic!("{}", frame.body)).len();
    }
    while !broker.has_exited() {
        assert!(told.elapsed() < Duration::from_secs(30), "it does not leave:\n{}", broker.log_end());
        std::thread::sleep(Duration::from_millis(20));
    }
}
