//! Ten processes under load, and a seeded schedule of faults. Whatever a broker answers without an error is right, at every
//! moment; when the faults are over, everything is there once.
//!
//! Events are numbered by partition, and their values follow from their numbers. So an answer by partition is right by
//! itself: as many events as the greatest number says, their values those of the first so many, no fewer than any whole
//! answer before had, and no more than were sent. One that says it lacks rows may lack some, and has none twice.
//!
//! The schedule goes by `HENGE_SEED` alone, in three lanes that do not share what they break: coordinators and ingest nodes,
//! brokers and historicals, wires. `HENGE_TEST_CHAOS_SECONDS` is for how long, `HENGE_TEST_CHAOS_SEEDS` for how many seeds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde_json::{Value, json};

use crate::harness::{Server, StopOnDrop, amount, create_topic, free_port, kafka, supervisor};
use crate::roles::shared;
use crate::wires::{self, Wires};

const TABLE: &str = "chaos";
const PARTITIONS: usize = 4;
const RATE: u64 = 400;

/// Names and roles of all nodes; the coordinators come first.
const NODES: [(&str, &str); 10] = [
    ("c1", "coordinator"),
    ("c2", "coordinator"),
    ("b1", "broker"),
    ("b2", "broker"),
    ("h1", "historical"),
    ("h2", "historical"),
    ("h3", "historical"),
    ("i1", "ingest"),
    ("i2", "ingest"),
    ("i3", "ingest"),
];
const BROKERS: [usize; 2] = [2, 3];
/// What the first two lanes break.
const LANES: [&[usize]; 2] = [&[0, 1, 7, 8, 9], &[2, 3, 4, 5, 6]];

/// The value of an event.
fn value(partition: usize, number: u64) -> i64 {
    ((number * 7919 + partition as u64 * 104_729) % 1000) as i64 - 200
}

/// Small numbers in an order that the seed gives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn within(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

struct Cluster {
    dir: std::path::PathBuf,
    settings: Vec<(String, String)>,
    ports: Vec<u16>,
    nodes: Vec<Mutex<Option<Server>>>,
    wires: Option<Wires>,
}

impl Cluster {
    fn start(&self, at: usize) {
        *self.nodes[at].lock().unwrap() = Some(self.launch(at));
    }

    fn launch(&self, at: usize) -> Server {
        let (name, roles) = NODES[at];
        let own = self.dir.join(name);
        std::fs::create_dir_all(&own).unwrap();
        let mut all: Vec<(&str, &str)> = self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        all.extend([("cluster.node", name), ("roles", roles)]);
        let enter = self.wires.as_ref().map(|wires| wires.enter(name)).unwrap_or_default();
        Server::launch_at(&own, "server", &all, &[], self.ports[at], &enter)
    }

    fn signal(&self, at: usize, signal: &str) {
        if let Some(server) = &*self.nodes[at].lock().unwrap() {
            let _ = Command::new("kill").args([signal, &server.pid().to_string()]).status();
        }
    }

    fn kill(&self, at: usize) {
        if let Some(mut server) = self.nodes[at].lock().unwrap().take() {
            server.kill();
        }
    }

    /// Nodes that lost the lead, or gave up, leave by themselves; what watches over them starts them anew.
    fn revive(&self) {
        for at in 0..NODES.len() {
            if let Ok(mut node) = self.nodes[at].try_lock()
                && node.as_mut().is_some_and(Server::has_exited)
            {
                *node = Some(self.launch(at));
            }
        }
    }

    fn base(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at])
    }

    fn logs(&self) -> String {
        let log = |(name, _): &(&str, &str)| {
            let log = std::fs::read_to_string(self.dir.join(name).join("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        NODES.iter().map(log).collect()
    }

    /// One fault of a lane of nodes, from its beginning to its end.
    fn break_node(&self, at: usize, dice: &mut Dice) -> String {
        let name = NODES[at].0;
        match dice.below(4) {
            0 => {
                self.kill(at);
                std::thread::sleep(dice.within(100, 5_000));
                self.start(at);
                format!("{name} killed")
            }
            1 => {
                // For less or more than its lease.
                self.signal(at, "-STOP");
                std::thread::sleep(dice.within(500, 9_000));
                self.signal(at, "-CONT");
                format!("{name} stood still")
            }
            2 => {
                let server = self.nodes[at].lock().unwrap().take();
                let left = server.is_none_or(Server::stop);
                self.start(at);
                format!("{name} stopped and started{}", if left { "" } else { ", not in time" })
            }
            _ => {
                // Twice at once: what it had begun to take up is lost too.
                self.kill(at);
                self.start(at);
                std::thread::sleep(dice.within(50, 1_500));
                self.kill(at);
                self.start(at);
                format!("{name} killed twice")
            }
        }
    }

    /// One fault of the lane of wires.
    fn break_wires(&self, wires: &Wires, dice: &mut Dice) -> String {
        let all = |cut: &dyn Fn(&str)| NODES.iter().for_each(|(name, _)| cut(name));
        match dice.below(8) {
            0..4 => {
                let one = dice.below(NODES.len() as u64) as usize;
                let other = (one + 1 + dice.below(NODES.len() as u64 - 1) as usize) % NODES.len();
                let (one, other) = (NODES[one].0, NODES[other].0);
                wires.cut(one, other);
                std::thread::sleep(dice.within(500, 9_000));
                wires.mend(one, other);
                format!("{one} and {other} apart")
            }
            4 => {
                let one = NODES[dice.below(NODES.len() as u64) as usize].0;
                let what = ["metadata", "deep", "kafka"][dice.below(3) as usize];
                wires.cut(one, what);
                std::thread::sleep(dice.within(500, 9_000));
                wires.mend(one, what);
                format!("{one} without {what}")
            }
            5 => {
                all(&|name| wires.cut(name, "metadata"));
                std::thread::sleep(dice.within(500, 5_000));
                all(&|name| wires.mend(name, "metadata"));
                "metadata gone".into()
            }
            6 => {
                let what = ["metadata", "deep"][dice.below(2) as usize];
                wires.slow(what, 20 + dice.below(200));
                std::thread::sleep(dice.within(1_000, 6_000));
                wires.slow(what, 0);
                format!("{what} slow")
            }
            _ => {
                wires.tear("deep", true);
                std::thread::sleep(dice.within(1_000, 6_000));
                wires.tear("deep", false);
                "deep storage tears answers".into()
            }
        }
    }
}

/// What was sent, by partition.
#[derive(Default)]
struct Sent([AtomicU64; PARTITIONS]);

struct Acknowledged(Arc<AtomicU64>);

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("an event was not delivered: {error}");
        }
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends events until it is told to end, and waits until each is acknowledged.
fn feed(bootstrap: &str, topic: &str, sent: &Sent, done: &AtomicBool) {
    let acknowledged = Arc::new(AtomicU64::default());
    let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .create_with_context(Acknowledged(acknowledged.clone()))
        .unwrap();
    let started = Instant::now();
    let mut all = 0u64;
    while !done.load(Ordering::SeqCst) {
        let partition = all as usize % PARTITIONS;
        let number = sent.0[partition].load(Ordering::SeqCst);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let key = format!("key-{}", number % 97);
        let payload =
            json!({"ts": now as u64, "key": key, "channel": format!("p{partition}"), "comment": "", "flag": true,
            "part": partition, "number": number, "value": value(partition, number)})
            .to_string();
        // Before it is on its way: an answer may be faster than this thread.
        sent.0[partition].fetch_add(1, Ordering::SeqCst);
        let mut record = BaseRecord::with_opaque_to(topic, ()).partition(partition as i32).key("").payload(&payload);
        while let Err((_, back)) = producer.send(record) {
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
        all += 1;
        if all.is_multiple_of(40) {
            let due = Duration::from_secs_f64(all as f64 / RATE as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    assert_eq!(acknowledged.load(Ordering::SeqCst), all);
}

/// Count, greatest number and sum of a partition.
type Found = (u64, Option<u64>, i64);

struct Answer {
    parts: [Found; PARTITIONS],
    flagged: bool,
}

/// Asks a broker for all partitions.
fn ask(agent: &ureq::Agent, base: &str, by_sql: bool) -> Result<Answer, String> {
    let (path, body) = match by_sql {
        true => {
            let text = format!("SELECT part, COUNT(*), MAX(\"number\"), SUM(\"value\") FROM {TABLE} GROUP BY 1");
            ("/druid/v2/sql", json!({"query": text, "resultFormat": "array"}))
        }
        false => (
            "/druid/v2",
            json!({"queryType": "groupBy", "dataSource": TABLE, "granularity": "all", "intervals": ["1000/3000"],
                "dimensions": [{"type": "default", "dimension": "part", "outputName": "part", "outputType": "LONG"}],
                "aggregations": [{"type": "count", "name": "c"},
                    {"type": "longMax", "name": "m", "fieldName": "number"},
                    {"type": "longSum", "name": "s", "fieldName": "value"}]}),
        ),
    };
    let reply = agent.post(format!("{base}{path}")).header("Content-Type", "application/json").send(&body.to_string());
    let mut reply = reply.map_err(|error| error.to_string())?;
    let context: Value = reply
        .headers()
        .get("x-druid-response-context")
        .and_then(|context| serde_json::from_str(context.to_str().ok()?).ok())
        .unwrap_or_default();
    let text = reply.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if reply.status() != 200 {
        return Err(format!("{}: {text}", reply.status()));
    }
    let rows: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let flagged = context["uncoveredIntervals"].as_array().is_some_and(|intervals| !intervals.is_empty());
    let mut answer = Answer { parts: Default::default(), flagged };
    for row in rows.as_array().ok_or_else(|| format!("no rows: {text}"))? {
        let event = &row["event"];
        let cells = if by_sql {
            [&row[0], &row[1], &row[2], &row[3]]
        } else {
            [&event["part"], &event["c"], &event["m"], &event["s"]]
        };
        let partition = cells[0].as_u64().ok_or_else(|| format!("no partition: {text}"))? as usize;
        answer.parts[partition] = (cells[1].as_u64().unwrap(), cells[2].as_u64(), cells[3].as_i64().unwrap());
    }
    Ok(answer)
}

/// What all answers are held to.
#[derive(Default)]
struct Watched {
    /// By partition, the most that any whole answer had.
    floor: [AtomicU64; PARTITIONS],
    whole: AtomicU64,
    flagged: AtomicU64,
    refused: AtomicU64,
    /// The longest time between whole answers of any broker, in milliseconds.
    gap_max: AtomicU64,
    last_whole: Mutex<Option<Instant>>,
    wrong: Mutex<Vec<String>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Watched {
    fn poll(&self, name: &str, base: &str, sent: &Sent, done: &AtomicBool) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        // Sums of the first so many values.
        let mut sums: [Vec<i64>; PARTITIONS] = std::array::from_fn(|_| vec![0]);
        let mut by_sql = false;
        while !done.load(Ordering::SeqCst) {
            by_sql = !by_sql;
            let floor: Vec<u64> = self.floor.iter().map(|floor| floor.load(Ordering::SeqCst)).collect();
            match ask(&agent, base, by_sql) {
                Err(error) => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    let mut errors = self.errors.lock().unwrap();
                    if errors.len() < 50 || errors.contains_key(&error) {
                        *errors.entry(error).or_default() += 1;
                    }
                }
                Ok(answer) => {
                    for (partition, (count, greatest, sum)) in answer.parts.iter().enumerate() {
                        let most = sent.0[partition].load(Ordering::SeqCst);
                        let up_to = greatest.map_or(0, |number| number + 1);
                        let all = &mut sums[partition];
                        while all.len() as u64 <= *count && (all.len() as u64) <= most {
                            let next = all.len() as u64 - 1;
                            all.push(all[next as usize] + value(partition, next));
                        }
                        let is_right = match answer.flagged {
                            true => *count <= up_to && up_to <= most,
                            false => {
                                *count == up_to
                                    && *count <= most
                                    && *count >= floor[partition]
                                    && all.get(*count as usize) == Some(sum)
                            }
                        };
                        if !is_right {
                            let floor = floor[partition];
                            let flagged = answer.flagged;
                            self.wrong.lock().unwrap().push(format!(
                                "{name} (SQL: {by_sql}, flagged: {flagged}), partition {partition}: {count} events up to \
                                 {up_to}, sum {sum}; {floor} before, {most} sent"
                            ));
                        } else if !answer.flagged {
                            self.floor[partition].fetch_max(*count, Ordering::SeqCst);
                        }
                    }
                    match answer.flagged {
                        true => drop(self.flagged.fetch_add(1, Ordering::SeqCst)),
                        false => {
                            self.whole.fetch_add(1, Ordering::SeqCst);
                            let mut last = self.last_whole.lock().unwrap();
                            let gap = last.map_or(0, |last| last.elapsed().as_millis() as u64);
                            self.gap_max.fetch_max(gap, Ordering::SeqCst);
                            *last = Some(Instant::now());
                        }
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Waits until both brokers count all that was sent.
fn settle(cluster: &Cluster, sent: &Sent, within: Duration) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let end = Instant::now() + within;
    for at in BROKERS {
        loop {
            cluster.revive();
            let answer = ask(&agent, &cluster.base(at), false);
            let is_all = answer.as_ref().is_ok_and(|answer| {
                let all = |(partition, part): (usize, &Found)| part.0 == sent.0[partition].load(Ordering::SeqCst);
                !answer.flagged && answer.parts.iter().enumerate().all(all)
            });
            if is_all {
                break;
            }
            let last = answer.map(|answer| (answer.parts, answer.flagged));
            assert!(Instant::now() < end, "{}: {last:?} of {:?}\n{}", NODES[at].0, sent.0, cluster.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn port_of(address: &str) -> u16 {
    let host = address.split("://").last().unwrap().split(['/', '?']).next().unwrap();
    host.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn no_answer_is_wrong_whatever_breaks() {
    let Some(bootstrap) = kafka("chaos") else { return };
    let seconds = amount("HENGE_TEST_CHAOS_SECONDS", 120);
    let first = amount("HENGE_SEED", 1);
    for seed in first..first + amount("HENGE_TEST_CHAOS_SEEDS", 1) {
        let Some(settings) = shared(&format!("chaos{seed}")) else { return };
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &bootstrap, settings, seed, Duration::from_secs(seconds));
    }
}

fn run(dir: &Path, bootstrap: &str, settings: Vec<(String, String)>, seed: u64, length: Duration) {
    let topic = format!("chaos-{seed}-{}", std::process::id());
    create_topic(bootstrap, &topic, PARTITIONS as i32);
    let ports: Vec<u16> = NODES.iter().map(|_| free_port()).collect();
    let setting = |name: &str| settings.iter().find(|(key, _)| key == name).unwrap().1.clone();
    let servers = [
        ("metadata", port_of(&setting("metadata.url").rsplit_once('@').unwrap().1.to_string())),
        ("deep", port_of(&setting("storage.s3_endpoint"))),
        ("kafka", port_of(bootstrap)),
    ];
    let named: Vec<(&str, u16)> = NODES.iter().zip(&ports).map(|((name, _), port)| (*name, *port)).collect();
    let wires = wires::can_be_had("chaos").then(|| Wires::new(dir, &named, &servers));
    let nodes = NODES.iter().map(|_| Mutex::new(None)).collect();
    let cluster = Cluster { dir: dir.to_path_buf(), settings, ports, nodes, wires };
    (0..NODES.len()).for_each(|at| cluster.start(at));

    let io = json!({"taskCount": 2, "taskDuration": "PT5S"});
    let tuning = json!({"maxRowsInMemory": 2_000, "intermediatePersistPeriod": "PT1S"});
    let mut spec = supervisor(TABLE, &topic, bootstrap, io, tuning);
    let dimensions = spec["spec"]["dataSchema"]["dimensionsSpec"]["dimensions"].as_array_mut().unwrap();
    dimensions.push(json!({"type": "long", "name": "part"}));
    let posted = Instant::now() + Duration::from_secs(90);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let url = format!("{}/druid/indexer/v1/supervisor", cluster.base(BROKERS[0]));
    loop {
        let reply = agent.post(&url).header("Content-Type", "application/json").send(&spec.to_string());
        if reply.as_ref().is_ok_and(|reply| reply.status() == 200) {
            break;
        }
        assert!(Instant::now() < posted, "no supervisor: {reply:?}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(200));
    }

    let (sent, watched) = (Sent::default(), Watched::default());
    let (fed, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (_fed, _done) = (StopOnDrop(fed.clone()), StopOnDrop(done.clone()));
        let feeding = scope.spawn(|| feed(bootstrap, &topic, &sent, &fed));
        for at in BROKERS {
            let (watched, sent, done, base) = (&watched, &sent, done.clone(), cluster.base(at));
            scope.spawn(move || watched.poll(NODES[at].0, &base, sent, &done));
        }
        let whole = Instant::now() + Duration::from_secs(90);
        while watched.whole.load(Ordering::SeqCst) == 0 || watched.floor[0].load(Ordering::SeqCst) == 0 {
            let errors = watched.errors.lock().unwrap();
            assert!(Instant::now() < whole, "no whole answer at the start: {errors:#?}\n{}", cluster.logs());
            drop(errors);
            std::thread::sleep(Duration::from_millis(100));
        }

        let begun = Instant::now();
        let (cluster, faults) = (&cluster, &faults);
        std::thread::scope(|scope| {
            let lane = |number: u64| Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number + 1) << 32);
            for (number, nodes) in LANES.into_iter().enumerate() {
                let mut dice = lane(number as u64);
                scope.spawn(move || {
                    while begun.elapsed() < length {
                        std::thread::sleep(dice.within(500, 6_000));
                        let at = nodes[dice.below(nodes.len() as u64) as usize];
                        let from = begun.elapsed();
                        let what = cluster.break_node(at, &mut dice);
                        faults.lock().unwrap().push(format!(
                            "{:.1}–{:.1} s {what}",
                            from.as_secs_f64(),
                            begun.elapsed().as_secs_f64()
                        ));
                    }
                });
            }
            if let Some(wires) = &cluster.wires {
                let mut dice = lane(2);
                scope.spawn(move || {
                    while begun.elapsed() < length {
                        std::thread::sleep(dice.within(500, 5_000));
                        let from = begun.elapsed();
                        let what = cluster.break_wires(wires, &mut dice);
                        faults.lock().unwrap().push(format!(
                            "{:.1}–{:.1} s {what}",
                            from.as_secs_f64(),
                            begun.elapsed().as_secs_f64()
                        ));
                    }
                });
            }
            scope.spawn(move || {
                while begun.elapsed() < length {
                    cluster.revive();
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
        });
        fed.store(true, Ordering::SeqCst);
        feeding.join().unwrap();
        settle(cluster, &sent, Duration::from_secs(180));
    });
    let faults = faults.into_inner().unwrap();
    let wrong = watched.wrong.into_inner().unwrap();
    let errors = watched.errors.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} wrong answers: {:#?}\nfaults: {faults:#?}\nerrors: {errors:#?}\n{}",
        wrong.len(),
        &wrong[..wrong.len().min(10)],
        cluster.logs()
    );
    // Each key once, too.
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build().into();
    let by_key = json!({"query": format!("SELECT key, COUNT(*), SUM(\"value\") FROM {TABLE} GROUP BY 1"), "resultFormat": "array"});
    let mut expected: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for (partition, sent) in sent.0.iter().enumerate() {
        for number in 0..sent.load(Ordering::SeqCst) {
            let of = expected.entry(format!("key-{}", number % 97)).or_default();
            *of = (of.0 + 1, of.1 + value(partition, number));
        }
    }
    for at in BROKERS {
        let mut reply = agent.post(format!("{}/druid/v2/sql", cluster.base(at))).send_json(&by_key).unwrap();
        let rows: Vec<(String, u64, i64)> = reply.body_mut().read_json().unwrap();
        let found: BTreeMap<String, (u64, i64)> =
            rows.into_iter().map(|(key, count, sum)| (key, (count, sum))).collect();
        assert_eq!(found, expected, "by key at {}", NODES[at].0);
    }
    let [whole, flagged, refused] =
        [&watched.whole, &watched.flagged, &watched.refused].map(|n| n.load(Ordering::SeqCst));
    let all = (whole + flagged + refused).max(1) as f64;
    println!(
        "chaos: seed {seed}, {} s, {} faults; {} events exact; {whole} whole answers, {flagged} that said they lack rows, \
         {refused} refused: {:.1} % answered, {:.1} % whole; {:.1} s at most between whole answers\n{faults:#?}\n{errors:#?}",
        length.as_secs(),
        faults.len(),
        sent.0.iter().map(|sent| sent.load(Ordering::SeqCst)).sum::<u64>(),
        (whole + flagged) as f64 / all * 100.0,
        whole as f64 / all * 100.0,
        watched.gap_max.load(Ordering::SeqCst) as f64 / 1000.0
    );
}
