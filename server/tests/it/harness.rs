//! A server in a child process, a Kafka topic with a producer-side ledger, and a poller that watches answers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, error::KafkaError};
use serde_json::{Value, json};

/// A whole number from the environment: how long a test is.
pub fn amount(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is not a number")))
}

/// A port of this machine that nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The real broker's address, or `None` after saying that the test does not run.
pub fn kafka(test: &str) -> Option<String> {
    let address = std::env::var("HENGE_TEST_KAFKA").ok();
    if address.is_none() {
        eprintln!("{test}: NOT RUN, HENGE_TEST_KAFKA names no broker (use `make test`)");
    }
    address
}

/// What a server runs as, where that is not this build's binary as it is.
#[derive(Default, Clone)]
pub struct Guise {
    /// A command that runs others.
    pub enter: Vec<String>,
    pub binary: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
}

pub struct Server {
    child: Child,
    pub base: String,
    log: std::path::PathBuf,
    agent: ureq::Agent,
}

/// An HTTP answer: status, `X-Druid-Response-Context`, body (a string if it is not JSON).
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub context: Value,
    pub body: Value,
}

impl Server {
    pub fn start(dir: &Path) -> Server {
        Server::start_with(dir, &[])
    }

    /// Starts and waits until `/status/health` answers. `settings` are `--set` pairs.
    pub fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Server {
        let server = Server::launch(dir, "server", settings, &[]);
        server.wait_healthy(Duration::from_secs(60));
        server
    }

    /// Starts and does not wait.
    pub fn launch(dir: &Path, command: &str, settings: &[(&str, &str)], arguments: &[&str]) -> Server {
        Server::launch_at(dir, command, settings, arguments, free_port(), &Guise::default())
    }

    /// As [`Server::launch`], on a port and in a guise.
    pub fn launch_at(
        dir: &Path,
        command: &str,
        settings: &[(&str, &str)],
        arguments: &[&str],
        port: u16,
        guise: &Guise,
    ) -> Server {
        let path = dir.join("server.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let binary = guise.binary.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_henge").into());
        let mut words = guise.enter.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut run = Command::new(words.next().expect("the binary, if nothing is before it"));
        run.args(words);
        run.arg(command).arg("--data-dir").arg(dir.join("data")).args(["--port", &port.to_string()]).args(arguments);
        // What steers the tests is no setting of the server.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HENGE_")) {
            run.env_remove(name);
        }
        run.envs(guise.environment.iter().cloned());
        for (name, value) in settings {
            run.arg("--set").arg(format!("{name}={value}"));
        }
        let child = run.stdout(log.try_clone().unwrap()).stderr(Stdio::from(log)).spawn().unwrap();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Server { child, base: format!("http://127.0.0.1:{port}"), log: path, agent: config.into() }
    }

    /// Waits for the server to answer, or to end before it does; whether it answers.
    pub fn answers_before_it_ends(&mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while self.try_get("/status/health").map(|reply| reply.status) != Ok(200) {
            if self.has_exited() {
                return false;
            }
            assert!(Instant::now() < end, "not healthy within {within:?}; its log ends:\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    pub fn wait_healthy(&self, within: Duration) {
        let end = Instant::now() + within;
        let poll = || {
            let request = self.agent.get(format!("{}/status/health", self.base));
            let reply = request.config().timeout_global(Some(Duration::from_secs(2))).build().call();
            reply.map(|reply| reply.status().as_u16()).map_err(|error| error.to_string())
        };
        loop {
            let last = poll();
            if last == Ok(200) {
                return;
            }
            assert!(Instant::now() < end, "not healthy within {within:?}: {last:?}; its log ends:\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All that it wrote, of all its lives in this folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub fn wait_for_log(&self, text: &str, within: Duration) {
        let end = Instant::now() + within;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "'{text}' is not in its log, which ends:\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// As `kill` does, `-STOP` for instance. Whether there was a process to tell.
    pub fn signal(&self, signal: &str) -> bool {
        Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and whether it left cleanly in time.
    pub fn stop(mut self) -> bool {
        let _ = Command::new("sh").arg("-c").arg(format!("kill {}", self.pid())).status();
        let end = Instant::now() + Duration::from_secs(40);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub fn try_get(&self, path: &str) -> Result<Reply, String> {
        let reply = self.agent.get(format!("{}{path}", self.base)).call().map_err(|e| e.to_string())?;
        read(reply)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.try_get(path).unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    pub fn try_post(&self, path: &str, body: &str) -> Result<Reply, String> {
        let reply = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Content-Type", "application/json")
            .send(body)
            .map_err(|e| e.to_string())?;
        read(reply)
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.try_post(path, &body.to_string()).unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    /// Any request; a body is JSON.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        // A connection may be closed after an answer that came before its request was read: then another is taken.
        let again = |_| self.try_send(method, path, headers, body);
        let reply = self.try_send(method, path, headers, body).or_else(again);
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let request = request.body(body.map(Value::to_string).unwrap_or_default()).unwrap();
        let agent = &self.agent;
        let config = agent.configure_request(request).allow_non_standard_methods(true).build();
        read(agent.run(config).map_err(|error| error.to_string())?)
    }

    /// As [`Server::post`], and it must succeed.
    pub fn post_ok(&self, path: &str, body: &Value) -> Value {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "POST {path}: {}", reply.body);
        reply.body
    }

    /// Rows of a SQL statement.
    pub fn sql(&self, text: &str) -> Vec<Vec<Value>> {
        let rows = self.post_ok("/druid/v2/sql", &json!({"query": text, "resultFormat": "array"}));
        rows.as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect()
    }

    /// Runs a batch task to its end and gives its status object.
    pub fn run_task(&self, spec: &Value, within: Duration) -> Value {
        let task = self.post_ok("/druid/indexer/v1/task", spec)["task"].as_str().unwrap().to_string();
        let end = Instant::now() + within;
        loop {
            let status = self.get(&format!("/druid/indexer/v1/task/{task}/status")).body["status"].clone();
            match status["status"].as_str() {
                Some("RUNNING") if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                Some("RUNNING") => panic!("task {task} still runs after {within:?}"),
                _ => return status,
            }
        }
    }

    /// Loads lines of JSON into a new datasource and waits until each is counted. `format` is that of their times, in `t`.
    pub fn load(&self, datasource: &str, format: &str, dimensions: Value, lines: &str) {
        let spec = json!({"type": "index_parallel", "spec": {
            "dataSchema": {"dataSource": datasource, "timestampSpec": {"column": "t", "format": format},
                "dimensionsSpec": dimensions,
                "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false}},
            "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"},
                "inputSource": {"type": "inline", "data": lines}},
            "tuningConfig": {"type": "index_parallel"}}});
        let status = self.run_task(&spec, Duration::from_secs(60));
        assert_eq!(status["status"], "SUCCESS", "{status}");
        let (rows, end) = (lines.lines().count() as u64, Instant::now() + Duration::from_secs(30));
        while self.try_count_rows(datasource) != Ok(rows) {
            assert!(Instant::now() < end, "the rows are not served");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Peak resident set of the process so far, in bytes.
    pub fn rss_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(mut reply: ureq::http::Response<ureq::Body>) -> Result<Reply, String> {
    let status = reply.status().as_u16();
    let context = reply.headers().get("x-druid-response-context").and_then(|v| v.to_str().ok()).unwrap_or("{}");
    let context = serde_json::from_str(context).unwrap_or(Value::Null);
    let headers = reply.headers().clone();
    let bytes = reply.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Reply { status, headers, context, body })
}

/// What a topic was fed: the truth that answers are compared with.
#[derive(Default)]
pub struct Fed {
    /// Events handed to the producer: an upper bound of what any answer may count.
    pub sent: AtomicU64,
    /// Time of each acknowledgement, in the order they came.
    pub acknowledged: Mutex<Vec<Instant>>,
    /// Key → (events, sum of values), acknowledged.
    pub keys: Mutex<BTreeMap<String, (u64, i64)>>,
}

struct Acknowledge(Arc<Fed>);

impl ClientContext for Acknowledge {}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = Box<(String, i64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, event: Self::DeliveryOpaque) {
        if let Err((error, message)) = result {
            panic!("an event of {} was not delivered: {error}", message.topic());
        }
        self.0.acknowledged.lock().unwrap().push(Instant::now());
        let mut keys = self.0.keys.lock().unwrap();
        let (count, sum) = keys.entry(event.0).or_default();
        *count += 1;
        *sum += event.1;
    }
}

pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = runtime
        .block_on(
            admin.create_topics(&[NewTopic::new(topic, partitions, TopicReplication::Fixed(1))], &AdminOptions::new()),
        )
        .unwrap();
    created.into_iter().for_each(|r| drop(r.unwrap()));
}

/// Feeds `events` events of about 300 bytes at `rate` a second (0: as fast as it goes) and waits for every
/// acknowledgement.
pub fn feed(bootstrap: &str, topic: &str, events: u64, rate: u64, fed: &Arc<Fed>) {
    let producer: ThreadedProducer<Acknowledge> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Acknowledge(fed.clone()))
        .unwrap();
    let started = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for number in 0..events {
        if rate > 0 && number.is_multiple_of(100) {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = format!("key-{}", random % 997);
        let value = (random >> 20) as i64 % 1_000 - 200;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let payload = format!(
            r#"{{"ts":{now},"number":{number},"key":"{key}","value":{value},"channel":"c{}","comment":"{:0>150}","flag":{}}}"#,
            random % 40,
            random,
            random.is_multiple_of(2),
        );
        fed.sent.fetch_add(1, Ordering::SeqCst);
        let mut record = BaseRecord::with_opaque_to(topic, Box::new((key.clone(), value))).key(&key).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(_)), "{error}");
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// A supervisor spec for the topic of [`feed`]; `tuning` and `io` add to the defaults here.
pub fn supervisor(datasource: &str, topic: &str, bootstrap: &str, io: Value, tuning: Value) -> Value {
    let mut spec = json!({"type": "kafka", "spec": {
        "dataSchema": {
            "dataSource": datasource,
            "timestampSpec": {"column": "ts", "format": "millis"},
            "dimensionsSpec": {"dimensions": ["key", "channel", "comment", "flag",
                {"type": "long", "name": "number"}, {"type": "long", "name": "value"}]},
            "metricsSpec": [],
            "granularitySpec": {"segmentGranularity": "HOUR", "queryGranularity": "NONE", "rollup": false},
        },
        "ioConfig": {"type": "kafka", "topic": topic, "inputFormat": {"type": "json"}, "useEarliestOffset": true,
            "consumerProperties": {"bootstrap.servers": bootstrap}},
        "tuningConfig": {"type": "kafka"},
    }});
    for (name, more) in [("ioConfig", io), ("tuningConfig", tuning)] {
        for (key, value) in more.as_object().unwrap() {
            spec["spec"][name][key] = value.clone();
        }
    }
    spec
}

/// One answer to "how many, and what sum": alternately native and SQL.
pub struct Count {
    pub count: u64,
    pub sum: i64,
    /// Whether the answer said that it is not complete.
    pub flagged: bool,
}

impl Server {
    /// `Err` if the server is away or does not know the datasource yet.
    pub fn try_count(&self, datasource: &str, by_sql: bool) -> Result<Count, String> {
        let reply = if by_sql {
            let text = format!("SELECT COUNT(*), SUM(\"value\") FROM \"{datasource}\"");
            self.try_post("/druid/v2/sql", &json!({"query": text, "resultFormat": "array"}).to_string())?
        } else {
            let query = json!({"queryType": "timeseries", "dataSource": datasource, "granularity": "all",
                "intervals": ["1000/3000"], "aggregations": [{"type": "count", "name": "c"},
                    {"type": "longSum", "name": "s", "fieldName": "value"}]});
            self.try_post("/druid/v2", &query.to_string())?
        };
        if reply.status != 200 {
            return Err(format!("{}: {}", reply.status, reply.body));
        }
        let row = if by_sql { &reply.body[0] } else { &reply.body[0]["result"] };
        let (count, sum) = if by_sql { (&row[0], &row[1]) } else { (&row["c"], &row["s"]) };
        let flagged = reply.context["uncoveredIntervals"].as_array().is_some_and(|i| !i.is_empty());
        Ok(Count { count: count.as_u64().unwrap_or(0), sum: sum.as_i64().unwrap_or(0), flagged })
    }

    /// Waits until the datasource counts `events`, and fails if it counts more.
    pub fn wait_for_count(&self, datasource: &str, events: u64, within: Duration) {
        let end = Instant::now() + within;
        loop {
            let last = self.try_count(datasource, false).map(|c| c.count);
            if last == Ok(events) {
                return;
            }
            assert!(last.as_ref().map_or(true, |c| *c <= events), "counted {last:?}, fed {events}");
            assert!(Instant::now() < end, "counted {last:?} of {events} after {within:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Compares count, sum and per-key counts and sums with the ledger, natively and by SQL.
    pub fn assert_equals(&self, datasource: &str, fed: &Fed) {
        let keys = fed.keys.lock().unwrap();
        let rows = self.sql(&format!("SELECT key, COUNT(*), SUM(\"value\") FROM \"{datasource}\" GROUP BY key"));
        let answered: BTreeMap<String, (u64, i64)> = rows
            .iter()
            .map(|r| (r[0].as_str().unwrap().to_string(), (r[1].as_u64().unwrap(), r[2].as_i64().unwrap())))
            .collect();
        assert_eq!(answered, *keys, "per key, by SQL");
        let events = keys.values().map(|k| k.0).sum::<u64>();
        let sum = keys.values().map(|k| k.1).sum::<i64>();
        let native = self.try_count(datasource, false).unwrap();
        assert_eq!((native.count, native.sum), (events, sum), "in all, natively");
        let distinct = self.sql(&format!("SELECT COUNT(DISTINCT \"number\") FROM \"{datasource}\""));
        assert_eq!(distinct[0][0], json!(events), "every event once, by its number");
    }
}

/// Sets the flag when dropped: ends helper threads when a test fails.
pub struct StopOnDrop(pub Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Server {
    pub fn try_count_rows(&self, datasource: &str) -> Result<u64, String> {
        let text = format!("SELECT COUNT(*) FROM \"{datasource}\"");
        let reply = self.try_post("/druid/v2/sql", &json!({"query": text, "resultFormat": "array"}).to_string())?;
        reply.body[0][0].as_u64().ok_or_else(|| format!("{}: {}", reply.status, reply.body))
    }
}

/// What nodes of one cluster are told, or `None` after saying that the test does not run.
pub fn shared(test: &str) -> Option<Vec<(String, String)>> {
    let (Ok(postgres), Ok(s3)) = (std::env::var("HENGE_TEST_POSTGRES"), std::env::var("HENGE_TEST_S3")) else {
        eprintln!("{test}: NOT RUN, HENGE_TEST_POSTGRES or HENGE_TEST_S3 names no server (use `make test`)");
        return None;
    };
    let name = format!("{test}_{}", std::process::id());
    let create = Command::new("psql").args([&postgres, "-qc", &format!("CREATE DATABASE {name}")]).status().unwrap();
    assert!(create.success(), "no database could be created");
    let (server, options) = postgres.split_once('?').unwrap_or((&postgres, ""));
    let database = format!("{}/{name}?{options}", server.rsplit_once('/').unwrap().0);
    let bucket = name.replace('_', "-");
    ureq::put(format!("{s3}/{bucket}")).send_empty().unwrap();
    let settings = [
        ("metadata.url", database.as_str()),
        ("cluster.lease_ms", "2000"),
        ("cluster.node_lease_ms", "4000"),
        ("cluster.secret", SECRET),
        ("storage.deep", &format!("s3://{bucket}/henge")),
        ("storage.s3_endpoint", &s3),
        ("storage.s3_access_key", "test"),
        ("storage.s3_secret_key", "test"),
        ("storage.s3_allow_http", "true"),
        ("query.timeout_ms", "20000"),
    ];
    Some(settings.map(|(name, value)| (name.to_string(), value.to_string())).into())
}

/// By which nodes of a test know each other.
const SECRET: &str = "the-word-that-only-nodes-know";

/// A node of a cluster, in a folder of its own, which keeps its name.
pub fn node(dir: &Path, name: &str, own: &[(&str, &str)], settings: &[(String, String)]) -> Server {
    node_at(dir, name, own, settings, free_port(), &Guise::default())
}

/// As [`node`], on a port and in a guise.
pub fn node_at(
    dir: &Path,
    name: &str,
    own: &[(&str, &str)],
    settings: &[(String, String)],
    port: u16,
    guise: &Guise,
) -> Server {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.push(("cluster.node", name));
    all.extend(own);
    Server::launch_at(&folder, "server", &all, &[], port, guise)
}
