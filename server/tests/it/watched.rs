//! A cluster with a node for each role, and a coordinator that stands by, which is at work for as long as it is looked at: a topic
//! is read, of which some records are broken and some too old, segments are published, and people ask, some of them by policies,
//! some in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::cluster::agent;
use crate::harness::{Reply, Server, create_topic, kafka, node, shared, supervisor};

pub const TABLE: &str = "watched";

/// Names, and the roles that they have; the first coordinator leads.
const NODES: [(&str, &str); 5] =
    [("c1", "coordinator"), ("c2", "coordinator"), ("b1", "broker"), ("h1", "historical"), ("i1", "ingest")];
pub const LEADER: &str = "c1";
pub const BROKER: &str = "b1";

const ADMIN: &str = "the first password";
pub const SQL: &str = "/druid/v2/sql";
const LONG: Duration = Duration::from_secs(60);

pub struct Watched {
    dir: tempfile::TempDir,
    nodes: Vec<Server>,
    done: Arc<AtomicBool>,
    at_work: Vec<JoinHandle<()>>,
}

/// `Authorization` of a user of [`Watched`].
pub fn user(name: &str) -> String {
    let password = if name == "admin" { ADMIN.to_string() } else { password(name) };
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

pub fn password(name: &str) -> String {
    format!("password of {name}")
}

impl Watched {
    /// Once segments are served. `None` after saying that the test does not run.
    pub fn start(test: &str) -> Option<Watched> {
        let (bootstrap, mut settings) = (kafka(test)?, shared(test)?);
        let dir = tempfile::tempdir().unwrap();
        let topic = format!("{test}-{}", std::process::id());
        let copies = format!("{topic}-audit");
        create_topic(&bootstrap, &topic, 2);
        create_topic(&bootstrap, &copies, 1);
        let properties = dir.path().join("kafka.properties");
        std::fs::write(&properties, format!("bootstrap.servers={bootstrap}\n")).unwrap();
        let mut set = |name: &str, value: &str| settings.push((name.to_string(), value.to_string()));
        set("auth.required", "true");
        set("auth.first_password", ADMIN);
        set("metrics.interval_ms", "500");
        set("audit.kafka_topic", &copies);
        set("audit.kafka_properties", properties.to_str().unwrap());
        set("cache.segments_bytes", "10000000");
        set("cache.results_bytes", "10000000");
        match std::env::var("HENGE_TEST_REDIS") {
            Ok(redis) => set("cache.redis_url", &redis),
            Err(_) => eprintln!("{test}: HENGE_TEST_REDIS names no server: answers are not kept beyond the process"),
        }
        let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
        let (name, roles) = NODES[0];
        let mut nodes = vec![start(name, roles)];
        nodes[0].wait_for_log("leading at", LONG);
        nodes.extend(NODES[1..].iter().map(|(name, roles)| start(name, roles)));
        let mut watched = Watched { dir, nodes, done: Arc::default(), at_work: Vec::new() };
        for (name, _) in NODES.into_iter().filter(|(_, roles)| *roles != "coordinator") {
            watched.node(name).wait_healthy(LONG);
        }
        watched.let_people_in();
        watched.put_to_work(&bootstrap, &topic);
        watched.until(&format!(
            "SELECT COUNT(*) FROM sys.server_segments WHERE segment_id LIKE '{TABLE}%' AND server = '{}'",
            watched.address("h1")
        ));
        Some(watched)
    }

    /// Who reads metrics and dashboards may do what the pages of operations say, and no more.
    fn let_people_in(&self) {
        let put = |path: String, body: Value| {
            let reply = self.ask("admin", "PUT", &format!("/henge/v1/security{path}"), Some(&body));
            assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        };
        let read = |kind: &str, name: &str| json!({"resource": {"type": kind, "name": name}, "action": "READ"});
        let own = json!([{"name": "own", "datasource": TABLE, "sql": "key = CURRENT_USER"}]);
        let system: Vec<Value> = rights_of_grafana().iter().map(|(kind, name)| read(kind, name)).collect();
        put("/roles/metrics".into(), json!({"permissions": [read("STATE", "STATE")]}));
        put("/roles/system".into(), json!({"permissions": system}));
        put("/roles/analyst".into(), json!({"permissions": [read("DATASOURCE", ".*")]}));
        put(
            "/roles/tenant".into(),
            json!({"permissions": [read("DATASOURCE", TABLE), read("SYSTEM_TABLE", ".*")], "policies": own}),
        );
        let users = [
            ("metrics", ["metrics"].as_slice()),
            ("grafana", &["system", "analyst"]),
            ("tenant", &["tenant"]),
            ("analyst", &["analyst"]),
        ];
        for (name, roles) in users {
            put(format!("/users/{name}"), json!({"password": password(name), "roles": roles}));
        }
    }

    fn put_to_work(&mut self, bootstrap: &str, topic: &str) {
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
        let (done, into) = (self.done.clone(), topic.to_string());
        self.at_work.push(std::thread::spawn(move || feed(&producer, &into, &done)));
        let io = json!({"taskCount": 1, "taskDuration": "PT3S", "lateMessageRejectionPeriod": "P1D"});
        let mut spec = supervisor(TABLE, topic, bootstrap, io, json!({}));
        spec["spec"]["dataSchema"]["dimensionsSpec"] =
            json!({"dimensions": ["key", {"type": "long", "name": "value"}]});
        let posted = self.ask("admin", "POST", "/druid/indexer/v1/supervisor", Some(&spec));
        assert_eq!(posted.status, 200, "{}", posted.body);
        let rule = json!({"query": {"metric": "henge_server_uptime_seconds", "over": "PT1M", "function": "max"},
            "condition": {"type": "threshold", "op": ">", "value": 0}, "every": "PT5S"});
        let posted = self.ask("admin", "PUT", "/henge/v1/alerts/up", Some(&rule));
        assert_eq!(posted.status, 200, "{}", posted.body);
        let (done, base) = (self.done.clone(), self.node(BROKER).base.clone());
        self.at_work.push(std::thread::spawn(move || question(&base, &done)));
    }

    pub fn nodes(&self) -> impl Iterator<Item = (&'static str, &'static str, &Server)> {
        NODES.into_iter().zip(&self.nodes).map(|((name, roles), server)| (name, roles, server))
    }

    pub fn node(&self, name: &str) -> &Server {
        self.nodes().find(|(known, ..)| *known == name).map(|(.., server)| server).unwrap()
    }

    /// `host:port`.
    pub fn address(&self, name: &str) -> String {
        self.node(name).base.trim_start_matches("http://").to_string()
    }

    /// A request to the broker.
    pub fn ask(&self, who: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.node(BROKER).send(method, path, &[("Authorization", &user(who))], body)
    }

    /// Rows of a statement.
    pub fn sql(&self, who: &str, text: &str) -> Vec<Vec<Value>> {
        let reply = self.ask(who, "POST", SQL, Some(&json!({"query": text, "resultFormat": "array"})));
        assert_eq!(reply.status, 200, "{who}: {text}: {}", reply.body);
        serde_json::from_value(reply.body).unwrap()
    }

    /// Waits until a statement counts something.
    pub fn until(&self, count: &str) {
        let end = Instant::now() + LONG;
        let asked = json!({"query": count, "resultFormat": "array"});
        loop {
            let reply = self.ask("admin", "POST", SQL, Some(&asked));
            if reply.status == 200 && reply.body[0][0].as_u64().is_some_and(|count| count > 0) {
                return;
            }
            assert!(Instant::now() < end, "{count}: {}\n{}", reply.body, self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn logs(&self) -> String {
        self.nodes().map(|(name, _, server)| format!("--- {name}:\n{}\n", server.log_end())).collect()
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        for thread in self.at_work.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What deploy/compose lets Grafana read: kinds and names.
fn rights_of_grafana() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose/compose.yaml")).unwrap();
    let line = text.lines().find(|line| line.contains("put roles/system")).expect("the role of Grafana");
    let rights = line.split("$$(may ").skip(1).map(|right| right.split(')').next().unwrap().split_once(' ').unwrap());
    let rights: Vec<_> = rights.map(|(kind, name)| (kind.to_string(), name.to_string())).collect();
    assert!(!rights.is_empty(), "{line}");
    rights
}

/// Some hundred events a second.
fn feed(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, done: &AtomicBool) {
    let keys = ["tenant", "somebody", "somebody else"];
    for number in 0_usize.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let payload = match number % 100 {
            17 => "no JSON".to_string(),
            18 => r#"{"ts":0,"key":"old","value":1}"#.to_string(),
            _ => format!(r#"{{"ts":{now},"key":"{}","value":{number}}}"#, keys[number % keys.len()]),
        };
        let sent = producer.send(BaseRecord::<(), str>::to(topic).payload(&payload));
        sent.map_err(|(error, _)| error).unwrap();
        std::thread::sleep(Duration::from_millis(4));
    }
    let _ = producer.flush(Duration::from_secs(5));
}

/// Asks again and again; what is answered is not this one's matter.
fn question(base: &str, done: &AtomicBool) {
    let agent = agent(Duration::from_secs(5));
    let post = |authorization: &str, path: &str, body: Value| {
        let request = agent.post(format!("{base}{path}")).header("Content-Type", "application/json");
        let request = if authorization.is_empty() { request } else { request.header("Authorization", authorization) };
        let _ = request.send(body.to_string());
    };
    let (admin, tenant) = (user("admin"), user("tenant"));
    let group = json!({"queryType": "groupBy", "dataSource": TABLE, "granularity": "all", "intervals": ["2000/3000"],
        "dimensions": ["key"], "aggregations": [{"type": "count", "name": "rows"}]});
    let text = format!("SELECT key, SUM(\"value\") FROM {TABLE} GROUP BY 1");
    for turn in 0.. {
        if done.load(Ordering::SeqCst) {
            return;
        }
        post(&admin, SQL, json!({"query": text}));
        post(&tenant, SQL, json!({"query": text}));
        post(&tenant, "/druid/v2", group.clone());
        match turn % 10 {
            3 => post(&admin, SQL, json!({"query": "SELECT nothing"})),
            5 => post(&tenant, "/druid/indexer/v1/supervisor", json!({})),
            7 => post("", SQL, json!({"query": text})),
            9 => post("", "/henge/v1/security/login", json!({"username": "analyst", "password": password("analyst")})),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
