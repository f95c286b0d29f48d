//! How far queries are, as their askers and nobody else are told.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Reply, Server, node, shared};

fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:a long password")))
}

fn ask(server: &Server, who: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
    server.send(method, path, &[("Authorization", &basic(who))], body)
}

fn told(server: &Server, who: &str, id: &str) -> Reply {
    ask(server, who, "GET", &format!("/henge/v1/queries/{id}"), None)
}

fn put(server: &Server, path: &str, body: Value) {
    let reply = ask(server, "admin", "PUT", &format!("/henge/v1/security{path}"), Some(&body));
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
}

fn run(server: &Server, who: &str, id: &str, text: &str) -> Value {
    let body = json!({"query": text, "resultFormat": "array", "context": {"sqlQueryId": id}});
    let reply = ask(server, who, "POST", "/druid/v2/sql", Some(&body));
    assert_eq!(reply.status, 200, "{text}: {}", reply.body);
    reply.body
}

const SETTINGS: &[(&str, &str)] = &[("auth.required", "true"), ("auth.first_password", "a long password")];

/// Ten days of a table, a segment each; ann sees all of it, bob his rows.
fn fill(server: &Server) {
    let lines: Vec<String> =
        (1..=10).map(|day| format!("{{\"t\":\"2026-01-{day:02}T00:00:00Z\",\"who\":\"bob\",\"n\":{day}}}")).collect();
    let spec = json!({"type": "index_parallel", "spec": {
        "dataSchema": {"dataSource": "events", "timestampSpec": {"column": "t", "format": "iso"},
            "dimensionsSpec": {"dimensions": ["who", {"type": "long", "name": "n"}]},
            "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false}},
        "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": lines.join("\n")}},
        "tuningConfig": {"type": "index_parallel"}}});
    let reply = ask(server, "admin", "POST", "/druid/indexer/v1/task", Some(&spec));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reads = json!({"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"});
    put(server, "/roles/reads", json!({"permissions": [reads]}));
    let own = json!([{"name": "own", "datasource": "events", "sql": "who = CURRENT_USER"}]);
    put(server, "/roles/own", json!({"permissions": [reads], "policies": own}));
    put(server, "/users/ann", json!({"password": "a long password", "roles": ["reads"]}));
    put(server, "/users/bob", json!({"password": "a long password", "roles": ["own"]}));
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let body = json!({"query": "SELECT COUNT(*) FROM events", "resultFormat": "array"});
        let reply = ask(server, "ann", "POST", "/druid/v2/sql", Some(&body));
        if reply.body == json!([[10]]) {
            return;
        }
        assert!(Instant::now() < end, "{}", reply.body);
        std::thread::sleep(Duration::from_millis(20));
    }
}

const GROUPED: &str = "SELECT who, SUM(n) FROM events GROUP BY 1 ORDER BY 2 DESC";

fn of_group(steps: &Value) -> &Value {
    let steps = steps.as_array().unwrap();
    steps.iter().find(|step| step["table"] == "events").unwrap_or_else(|| panic!("{steps:?}"))
}

fn watch(server: &Server) {
    assert_eq!(run(server, "ann", "one", GROUPED), json!([["bob", 55]]));
    let own = told(server, "ann", "one").body;
    let seen = (&own["id"], &own["state"], &own["rows"], &own["segments"]);
    assert_eq!(seen, (&json!("one"), &json!("ended"), &json!(1), &json!({"done": 10, "total": 10})), "{own}");
    assert_eq!((&own["steps"][0]["name"], &own["steps"][0]["parent"]), (&json!("sql"), &Value::Null), "{own}");
    let group = of_group(&own["steps"]);
    assert_eq!((&group["parent"], &group["rows"]), (&json!(1), &json!(1)), "{own}");
    let times = own["steps"].as_array().unwrap().iter().map(|step| step["ms"].as_f64().unwrap());
    assert!(times.into_iter().all(|ms| ms <= own["elapsedMs"].as_f64().unwrap()), "{own}");

    // To others, administrators too, it is not there; nor is one that never was.
    for (who, id) in [("bob", "one"), ("admin", "one"), ("ann", "another")] {
        assert_eq!(told(server, who, id).status, 404, "{who} {id}");
        let missing = told(server, who, &format!("{id}?missing=null"));
        assert_eq!((missing.status, &missing.body), (200, &Value::Null), "{who} {id}");
    }

    // Who sees a part of the rows is told of these, and not where there are others.
    assert_eq!(run(server, "bob", "two", GROUPED), json!([["bob", 55]]));
    let part = told(server, "bob", "two").body;
    assert_eq!((&part["segments"], &part["rows"]), (&Value::Null, &json!(1)), "{part}");
    let steps = part["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["segments"].is_null() && step["node"].is_null()), "{part}");

    // By its native id; and one that fails.
    let scan = json!({"queryType": "scan", "dataSource": "events", "intervals": ["2026/2027"], "columns": ["n"],
        "context": {"queryId": "three"}});
    assert_eq!(ask(server, "ann", "POST", "/druid/v2", Some(&scan)).status, 200);
    let native = told(server, "ann", "three").body;
    let seen = (&native["state"], &native["rows"], &native["steps"][0]["name"]);
    assert_eq!(seen, (&json!("ended"), &json!(10), &json!("scan")), "{native}");
    let body = json!({"query": "SELECT 1 / (n - n) FROM events", "context": {"sqlQueryId": "four"}});
    let failed = ask(server, "ann", "POST", "/druid/v2/sql", Some(&body));
    if failed.status >= 400 {
        assert_eq!(told(server, "ann", "four").body["state"], "failed");
    }

    // Who has the name later is told nothing of it, and a change of what is seen takes the past with it.
    put(server, "/roles/reads", json!({"permissions": []}));
    // A broker hears of it from the one that leads.
    let end = Instant::now() + Duration::from_secs(5);
    while told(server, "ann", "one").status != 404 {
        assert!(Instant::now() < end, "who may not read it any more is told of it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_query_is_told_of_to_who_asked_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), SETTINGS);
    fill(&server);
    watch(&server);
}

#[test]
fn nodes_answers_are_steps_of_a_query_over_a_cluster() {
    let Some(settings) = shared("progress") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir: &Path = dir.path();
    let start = |name: &str, roles: &str| node(dir, name, &[&[("roles", roles)], SETTINGS].concat(), &settings);
    let nodes = [start("c1", "coordinator"), start("h1", "historical"), start("i1", "ingest"), start("b1", "broker")];
    nodes.iter().for_each(|node| node.wait_healthy(Duration::from_secs(60)));
    let broker = &nodes[3];
    fill(broker);
    run(broker, "ann", "zero", GROUPED);
    let own = told(broker, "ann", "zero").body;
    let steps = own["steps"].as_array().unwrap();
    let of_nodes: Vec<_> = steps.iter().filter(|step| step["name"] == "node").collect();
    let segments: u64 = of_nodes.iter().map(|step| step["segments"].as_u64().unwrap()).sum();
    assert_eq!(segments, 10, "{own}");
    assert!(
        of_nodes.iter().all(|step| step["node"].is_string() && step["parent"] == of_group(&own["steps"])["id"]),
        "{own}"
    );
    assert!(steps.iter().any(|step| step["name"] == "merge"), "{own}");
    // It is answered by the broker that ran it, not by the one that leads.
    assert_eq!(told(&nodes[0], "ann", "zero").status, 404);
    watch(broker);
}
