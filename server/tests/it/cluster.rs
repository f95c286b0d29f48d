//! Ten processes under load, and what all their answers are held to.
//!
//! Events are numbered by partition, and their values follow from their numbers. So an answer by partition is right by
//! itself: as many events as the greatest number says, their values those of the first so many, no fewer than any whole
//! answer before had, and no more than were sent. One that says it lacks rows may lack some, and has none twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde_json::{Value, json};

use crate::harness::{Guise, Server, node_at, supervisor};
use crate::machine::Machines;
use crate::wires::Wires;

pub const TABLE: &str = "numbered";
pub const PARTITIONS: usize = 4;
pub const RATE: u64 = 400;

/// Names and roles of all nodes; the coordinators come first.
pub const NODES: [(&str, &str); 10] = [
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
pub const BROKERS: [usize; 2] = [2, 3];
/// The value of an event.
fn value(partition: usize, number: u64) -> i64 {
    ((number * 7919 + partition as u64 * 104_729) % 1000) as i64 - 200
}

pub struct Cluster {
    pub dir: std::path::PathBuf,
    pub settings: Vec<(String, String)>,
    pub ports: Vec<u16>,
    pub nodes: Vec<Mutex<Option<Server>>>,
    pub wires: Option<Wires>,
    pub machines: Option<Machines>,
    /// What each node is started as.
    guises: Vec<Mutex<Guise>>,
}

impl Cluster {
    /// Starts all nodes, as this build or another binary, and a supervisor that reads the topic of [`feed`].
    pub fn begin(
        dir: &Path,
        settings: Vec<(String, String)>,
        ports: Vec<u16>,
        wires: Option<Wires>,
        machines: Option<Machines>,
        binary: Option<&Path>,
        from: (&str, &str),
    ) -> Cluster {
        let nodes = NODES.iter().map(|_| Mutex::new(None)).collect();
        let enter = |name: &str| wires.as_ref().map(|wires| wires.enter(name)).unwrap_or_default();
        let binary = binary.map(Path::to_path_buf);
        let guise = |(name, _): &(&str, &str)| {
            Mutex::new(Guise { enter: enter(name), binary: binary.clone(), ..Guise::default() })
        };
        let guises = NODES.iter().map(guise).collect();
        let cluster = Cluster { dir: dir.to_path_buf(), settings, ports, nodes, wires, machines, guises };
        (0..NODES.len()).for_each(|at| cluster.start(at));
        let (bootstrap, topic) = from;
        let io = json!({"taskCount": 2, "taskDuration": "PT5S"});
        let tuning = json!({"maxRowsInMemory": 2_000, "intermediatePersistPeriod": "PT1S"});
        let mut spec = supervisor(TABLE, topic, bootstrap, io, tuning);
        let dimensions = spec["spec"]["dataSchema"]["dimensionsSpec"]["dimensions"].as_array_mut().unwrap();
        dimensions.push(json!({"type": "long", "name": "part"}));
        let (agent, posted) = (agent(Duration::from_secs(10)), Instant::now() + Duration::from_secs(90));
        let url = format!("{}/druid/indexer/v1/supervisor", cluster.base(BROKERS[0]));
        loop {
            let reply = agent.post(&url).header("Content-Type", "application/json").send(&spec.to_string());
            if reply.as_ref().is_ok_and(|reply| reply.status() == 200) {
                return cluster;
            }
            assert!(Instant::now() < posted, "no supervisor: {reply:?}\n{}", cluster.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops a node in good order and waits for its end; whether it came in time.
    pub fn stop(&self, at: usize) -> bool {
        let server = self.nodes[at].lock().unwrap().take();
        server.is_none_or(Server::stop)
    }

    pub fn wait_healthy(&self, at: usize, within: Duration) {
        if let Some(server) = &*self.nodes[at].lock().unwrap() {
            server.wait_healthy(within);
        }
    }

    /// Waits until a coordinator leads or stands by, in the life that it leads now.
    pub fn wait_for_role(&self, at: usize, within: Duration) {
        let (agent, end) = (agent(Duration::from_secs(2)), Instant::now() + within);
        let url = format!("{}/druid/coordinator/v1/isLeader", self.base(at));
        while !agent.get(&url).call().is_ok_and(|reply| [200, 404].contains(&reply.status().as_u16())) {
            assert!(Instant::now() < end, "{} does not come up\n{}", NODES[at].0, self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a node has logged, in all its lives.
    pub fn log(&self, at: usize) -> String {
        std::fs::read_to_string(self.dir.join(NODES[at].0).join("server.log")).unwrap_or_default()
    }

    /// Compares what both brokers count and sum by key with what was sent.
    pub fn assert_by_key(&self, sent: &Sent) {
        let agent = agent(Duration::from_secs(30));
        let text = format!("SELECT key, COUNT(*), SUM(\"value\") FROM {TABLE} GROUP BY 1");
        let by_key = json!({"query": text, "resultFormat": "array"});
        let mut expected: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        for (partition, sent) in sent.0.iter().enumerate() {
            for number in 0..sent.load(Ordering::SeqCst) {
                let of = expected.entry(format!("key-{}", number % 97)).or_default();
                *of = (of.0 + 1, of.1 + value(partition, number));
            }
        }
        for at in BROKERS {
            let mut reply = agent.post(format!("{}/druid/v2/sql", self.base(at))).send_json(&by_key).unwrap();
            let rows: Vec<(String, u64, i64)> = reply.body_mut().read_json().unwrap();
            let found: BTreeMap<String, (u64, i64)> =
                rows.into_iter().map(|(key, count, sum)| (key, (count, sum))).collect();
            assert_eq!(found, expected, "by key at {}", NODES[at].0);
        }
    }

    pub fn start(&self, at: usize) {
        *self.nodes[at].lock().unwrap() = Some(self.launch(at));
    }

    fn launch(&self, at: usize) -> Server {
        let (name, roles) = NODES[at];
        let guise = self.guises[at].lock().unwrap().clone();
        node_at(&self.dir, name, &[("roles", roles)], &self.settings, self.ports[at], &guise)
    }

    /// Changes what a node is the next time it is started.
    pub fn disguise<T>(&self, at: usize, change: impl FnOnce(&mut Guise) -> T) -> T {
        change(&mut self.guises[at].lock().unwrap())
    }

    pub fn signal(&self, at: usize, signal: &str) {
        if let Some(server) = &*self.nodes[at].lock().unwrap() {
            server.signal(signal);
        }
    }

    pub fn kill(&self, at: usize) {
        if let Some(mut server) = self.nodes[at].lock().unwrap().take() {
            server.kill();
        }
    }

    /// Nodes that lost the lead, or gave up, leave by themselves; what watches over them starts them anew.
    pub fn revive(&self) {
        for at in 0..NODES.len() {
            if let Ok(mut node) = self.nodes[at].try_lock()
                && node.as_mut().is_some_and(Server::has_exited)
            {
                *node = Some(self.launch(at));
            }
        }
    }

    pub fn base(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at])
    }

    pub fn logs(&self) -> String {
        let log = |(name, _): &(&str, &str)| {
            let log = std::fs::read_to_string(self.dir.join(name).join("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"))
        };
        NODES.iter().map(log).collect()
    }
}

/// What was sent, by partition.
#[derive(Default)]
pub struct Sent(pub [AtomicU64; PARTITIONS]);

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
pub fn feed(bootstrap: &str, topic: &str, sent: &Sent, done: &AtomicBool) {
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

/// Makes a connection for each request, as proxies do: one that is kept may be closed as it is used.
pub fn agent(within: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0);
    config.timeout_global(Some(within)).build().into()
}

/// Count, greatest number and sum of a partition.
pub type Found = (u64, Option<u64>, i64);

pub struct Answer {
    pub parts: [Found; PARTITIONS],
    pub flagged: bool,
}

/// Asks a broker for all partitions.
pub fn ask(agent: &ureq::Agent, base: &str, by_sql: bool) -> Result<Answer, String> {
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
pub struct Watched {
    /// By partition, the most that any whole answer had.
    pub floor: [AtomicU64; PARTITIONS],
    pub whole: AtomicU64,
    pub flagged: AtomicU64,
    pub refused: AtomicU64,
    /// The longest time between whole answers of any broker, in milliseconds.
    pub gap_max: AtomicU64,
    last_whole: Mutex<Option<Instant>>,
    /// When what is watched began, if it has.
    pub begun: OnceLock<Instant>,
    pub wrong: Mutex<Vec<String>>,
    /// What the nodes logged last when the first wrong answer was seen.
    pub logs: Mutex<String>,
    pub errors: Mutex<BTreeMap<String, u64>>,
}

impl Watched {
    /// Asks for as long as it is told to, each time at the place in [`NODES`] that is chosen, and rests in between.
    pub fn poll(&self, cluster: &Cluster, choose: &dyn Fn() -> usize, rest: Duration, sent: &Sent, done: &AtomicBool) {
        let agent = agent(Duration::from_secs(30));
        // Sums of the first so many values.
        let mut sums: [Vec<i64>; PARTITIONS] = std::array::from_fn(|_| vec![0]);
        let mut by_sql = false;
        while !done.load(Ordering::SeqCst) {
            by_sql = !by_sql;
            let floor: Vec<u64> = self.floor.iter().map(|floor| floor.load(Ordering::SeqCst)).collect();
            let at = choose();
            let name = NODES[at].0;
            match ask(&agent, &cluster.base(at), by_sql) {
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
                            let when = self.begun.get().map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                            let mut wrong = self.wrong.lock().unwrap();
                            if wrong.is_empty() {
                                *self.logs.lock().unwrap() = cluster.logs();
                            }
                            wrong.push(format!(
                                "{when:.1} s {name} (SQL: {by_sql}, flagged: {flagged}), partition {partition}: {count} events \
                                 up to {up_to}, sum {sum}; {floor} before, {most} sent"
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
            std::thread::sleep(rest);
        }
    }
}

/// Waits until both brokers count all that was sent; `told` is what is said first if they do not.
pub fn settle(cluster: &Cluster, sent: &Sent, within: Duration, told: &dyn Fn() -> String) {
    let agent = agent(Duration::from_secs(30));
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
            let (name, sent) = (NODES[at].0, &sent.0);
            assert!(Instant::now() < end, "{name}: {last:?} of {sent:?}\n{}\n{}", told(), cluster.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
