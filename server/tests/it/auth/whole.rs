//! What is done to rows that the caller does not see: it takes the sight of all of a datasource, or of all datasources.

use coordinator::rules::DEFAULT;
use serde_json::{Value, json};

use super::{ADMIN, SECURITY, admin, ask, basic, ok, role, user};
use crate::harness::Server;

/// A task that writes a row, and replaces those of its day unless it appends.
fn task(datasource: &str, append: bool) -> Value {
    json!({"type": "index_parallel", "spec": {
        "dataSchema": {"dataSource": datasource, "timestampSpec": {"column": "t", "format": "millis"},
            "dimensionsSpec": {"dimensions": ["tenant"]},
            "granularitySpec": {"segmentGranularity": "DAY", "rollup": false}},
        "ioConfig": {"type": "index_parallel", "appendToExisting": append, "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": "{\"t\":0,\"tenant\":\"A\"}"}},
    }})
}

fn load(server: &Server, datasource: &str) {
    let rows = "{\"t\":0,\"tenant\":\"A\"}\n{\"t\":1,\"tenant\":\"B\"}\n";
    server.load(datasource, "millis", json!({"dimensions": ["tenant"]}), rows);
}

/// They hold for datasources that who sets them may not see, and for the audit log.
#[test]
fn rules_of_all_datasources_take_the_right_over_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    load(&server, "secretds");
    role(&server, "shepherd", &[]);
    user(&server, "ann", json!({"password": "a long password", "roles": ["shepherd"]}));
    let ann = basic("ann", "a long password");
    let set = |name: &str, rules: Value| {
        ask(&server, &ann, "POST", &format!("/druid/coordinator/v1/rules/{name}"), Some(&rules)).status
    };
    let drop = || json!([{"type": "dropForever"}]);
    let over = |pattern: &'static str| [("DATASOURCE", pattern, "READ"), ("DATASOURCE", pattern, "WRITE")];
    let configures = [("CONFIG", "CONFIG", "WRITE")];
    for permissions in [
        over("[^s].*").to_vec(),
        over(".*").to_vec(),
        configures.to_vec(),
        [over("[^s].*").as_slice(), &configures].concat(),
        [over("events").as_slice(), &over(DEFAULT), &configures].concat(),
    ] {
        role(&server, "shepherd", &permissions);
        assert_eq!(set(DEFAULT, drop()), 403, "{permissions:?}");
    }
    // Their own they may set.
    assert_eq!(set("events", drop()), 200);
    assert_eq!(set("secretds", drop()), 403);
    role(&server, "shepherd", &[over(".*").as_slice(), &configures].concat());
    assert_eq!(set(DEFAULT, json!([{"type": "loadForever"}])), 200);
    // Who sees some rows of one of them does not see all.
    let mut document =
        ok(&server, &admin(), "GET", &format!("{SECURITY}/roles/shepherd"), Value::Null)["document"].clone();
    document["policies"] = json!([{"name": "own", "datasource": "secretds", "sql": "tenant = 'A'"}]);
    ok(&server, &admin(), "PUT", &format!("{SECURITY}/roles/shepherd"), document);
    assert_eq!(set(DEFAULT, drop()), 403);
    let kept = ok(&server, &admin(), "GET", &format!("/druid/coordinator/v1/rules/{DEFAULT}"), Value::Null);
    assert_eq!(kept, json!([{"type": "loadForever"}]));
}

#[test]
fn no_datasource_has_the_name_of_the_rules_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut stream = task(DEFAULT, true);
    stream["type"] = "kafka".into();
    stream["spec"]["ioConfig"] = json!({"type": "kafka", "topic": "events", "inputFormat": {"type": "json"},
        "consumerProperties": {"bootstrap.servers": "127.0.0.1:1"}});
    for (path, spec) in [
        ("/druid/indexer/v1/task", task(DEFAULT, true)),
        ("/druid/indexer/v1/task", json!({"type": "noop", "dataSource": DEFAULT})),
        ("/druid/indexer/v1/supervisor", stream),
    ] {
        let reply = server.post(path, &spec);
        let told = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == 400 && told.contains("retention rules of all datasources"), "{path}: {}", reply.body);
    }
}

/// Replacing drops what was there.
#[test]
fn a_task_replaces_only_what_its_sender_sees_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    load(&server, "events");
    let permission =
        |name: &str, action: &str| json!({"resource": {"type": "DATASOURCE", "name": name}, "action": action});
    let tenant = json!({
        "permissions": [permission("events|fresh", "READ"), permission("events|fresh", "WRITE")],
        "policies": [{"name": "own", "datasource": "events|fresh", "sql": "tenant = 'A'"}],
    });
    ok(&server, &admin(), "PUT", &format!("{SECURITY}/roles/tenant"), tenant);
    role(&server, "writer", &[("DATASOURCE", "events", "WRITE")]);
    role(&server, "owner", &[("DATASOURCE", "events", "READ"), ("DATASOURCE", "events", "WRITE")]);
    for name in ["tenant", "writer", "owner"] {
        user(&server, name, json!({"password": "a long password", "roles": [name]}));
    }
    let post = |who: &str, spec: Value| {
        ask(&server, &basic(who, "a long password"), "POST", "/druid/indexer/v1/task", Some(&spec))
    };
    let mut dropping = task("events", false);
    dropping["spec"]["ioConfig"]["dropExisting"] = true.into();
    dropping["spec"]["dataSchema"]["granularitySpec"]["intervals"] = json!(["1960/2100"]);
    let mut unsaid = task("events", false);
    unsaid["spec"]["ioConfig"].as_object_mut().unwrap().remove("appendToExisting");
    for who in ["tenant", "writer"] {
        for spec in [task("events", false), unsaid.clone(), dropping.clone()] {
            let reply = post(who, spec);
            let told = reply.body["Access-Check-Result"].as_str().unwrap_or_default();
            assert!(reply.status == 403 && told.contains("appendToExisting"), "{who}: {}", reply.body);
        }
        assert_eq!(post(who, task("events", true)).status, 200, "{who}");
    }
    // Of what is not there nothing is replaced.
    assert_eq!(post("tenant", task("fresh", false)).status, 200);
    assert_eq!(post("owner", task("events", false)).status, 200);
}
