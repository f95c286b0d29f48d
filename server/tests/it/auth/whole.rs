//! What is done to rows that the caller does not see: it takes the sight of all of a datasource, or of all datasources.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::rules::DEFAULT;
use parking_lot::{Condvar, Mutex};
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

/// An HTTP server whose answers, each a row of tenant A, wait until they are let go.
struct Held {
    address: String,
    let_go: Arc<(Mutex<BTreeSet<String>>, Condvar)>,
}

impl Held {
    fn serve() -> Held {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = Held { address: listener.local_addr().unwrap().to_string(), let_go: Arc::default() };
        let let_go = held.let_go.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let let_go = let_go.clone();
                std::thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    let path = head[0].split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_string();
                    let (names, changed) = &*let_go;
                    changed.wait_while(&mut names.lock(), |names| !names.contains(&path));
                    let body = "{\"t\":0,\"tenant\":\"A\"}\n";
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                    );
                });
            }
        });
        held
    }

    fn let_go(&self, name: &str) {
        self.let_go.0.lock().insert(name.to_string());
        self.let_go.1.notify_all();
    }

    /// A task as of [`task`] that reads from here.
    fn task(&self, name: &str, datasource: &str, append: bool) -> Value {
        let mut spec = task(datasource, append);
        let uri = format!("http://{}/{name}", self.address);
        spec["spec"]["ioConfig"]["inputSource"] = json!({"type": "http", "uris": [uri]});
        spec
    }
}

/// Rights are looked at when a task is posted, and again when it takes rows away: much may happen meanwhile.
#[test]
fn a_task_replaces_only_what_its_sender_sees_whole_when_it_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("auth.first_password", ADMIN), ("ingest.http_hosts", "127.0.0.1")]);
    let held = Held::serve();
    // By its columns policies are read.
    load(&server, "d_seed");
    let permission =
        |kind: &str, name: &str, action: &str| json!({"resource": {"type": kind, "name": name}, "action": action});
    let writes = json!([
        permission("DATASOURCE", "d_.*", "READ"),
        permission("DATASOURCE", "d_.*", "WRITE"),
        permission("EXTERNAL", "http", "READ")
    ]);
    let put_role =
        |name: &str, document: Value| ok(&server, &admin(), "PUT", &format!("{SECURITY}/roles/{name}"), document);
    let policy = json!([{"name": "own", "datasource": "d_.*", "sql": "tenant = 'A'"}]);
    put_role("tenant", json!({"permissions": writes, "policies": policy}));
    put_role("writer", json!({"permissions": writes}));
    put_role("narrowed", json!({"permissions": writes}));
    let password = "a long password";
    let put_user = |name: &str, roles: Value, disabled: bool| {
        user(&server, name, json!({"password": password, "roles": roles, "disabled": disabled}));
    };
    put_user("ten", json!(["tenant"]), false);
    put_user("nar", json!(["narrowed"]), false);
    for name in ["own", "gone", "again", "shut", "less"] {
        put_user(name, json!(["writer"]), false);
    }
    let post =
        |who: &str, spec: &Value| ask(&server, &basic(who, password), "POST", "/druid/indexer/v1/task", Some(spec));
    let posted = |who: &str, spec: Value| {
        let reply = post(who, &spec);
        assert_eq!(reply.status, 200, "{who}: {}", reply.body);
        reply.body["task"].as_str().unwrap().to_string()
    };
    let ended = |id: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let status = server.get(&format!("/druid/indexer/v1/task/{id}/status")).body["status"].clone();
            if status["status"] != "RUNNING" {
                break status;
            }
            assert!(Instant::now() < until, "{status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let tenants = |datasource: &str| -> Vec<Value> {
        let text = format!("SELECT tenant FROM {datasource} ORDER BY tenant");
        server.sql(&text).into_iter().flatten().collect()
    };

    // What was not there when a task was posted is there when it ends; and what others are about to load for the first
    // time is not to be replaced by who will not see it.
    let early = posted("ten", held.task("early", "d_first", false));
    let first = posted("own", held.task("first", "d_second", false));
    let told = post("ten", &held.task("late", "d_second", false));
    assert_eq!(told.status, 403, "{}", told.body);
    held.let_go("first");
    assert_eq!(ended(&first)["status"], "SUCCESS", "who sees all loads as ever");
    load(&server, "d_first");
    held.let_go("early");
    let failed = ended(&early);
    let why = failed["errorMsg"].as_str().unwrap_or_default();
    assert!(failed["status"] == "FAILED" && why.contains("[d_first]") && why.contains("appendToExisting"), "{failed}");
    assert_eq!(tenants("d_first"), ["A", "B"]);

    // Whatever becomes of them, and of the rules, after they have posted.
    load(&server, "d_events");
    let users = ["own", "nar", "gone", "again", "shut", "less"];
    let tasks = users.map(|who| (who, posted(who, held.task(who, "d_events", false))));
    put_role("narrowed", json!({"permissions": writes, "policies": policy}));
    for name in ["gone", "again"] {
        ok(&server, &admin(), "DELETE", &format!("{SECURITY}/users/{name}"), Value::Null);
    }
    put_user("again", json!(["writer"]), false);
    put_user("shut", json!(["writer"]), true);
    put_user("less", json!([]), false);
    for (who, id) in tasks.iter().rev() {
        held.let_go(who);
        let status = ended(id);
        let why = status["errorMsg"].as_str().unwrap_or_default();
        let expected = match *who {
            "own" => {
                assert_eq!(status["status"], "SUCCESS", "{status}");
                continue;
            }
            "nar" => "may not see all rows and columns",
            "less" => "may not write it any more",
            _ => "is no user here any more",
        };
        assert!(status["status"] == "FAILED" && why.contains(expected), "{who}: {status}");
        assert_eq!(tenants("d_events"), ["A", "B"], "{who}");
    }
    let until = Instant::now() + Duration::from_secs(30);
    while tenants("d_events") != ["A"] {
        assert!(Instant::now() < until, "what may be replaced is");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A token of fewer roles posts with no more than these.
#[test]
fn a_task_is_its_tokens_when_it_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("auth.first_password", ADMIN), ("ingest.http_hosts", "127.0.0.1")]);
    let held = Held::serve();
    load(&server, "events");
    let writes = [("DATASOURCE", "events", "READ"), ("DATASOURCE", "events", "WRITE"), ("EXTERNAL", "http", "READ")];
    role(&server, "loader", &writes);
    role(&server, "spare", &writes);
    user(&server, "ann", json!({"password": "a long password", "roles": ["loader", "spare"]}));
    let ann = basic("ann", "a long password");
    let made = ok(&server, &ann, "POST", &format!("{SECURITY}/tokens"), json!({"roles": ["loader"]}));
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let reply = ask(&server, &token, "POST", "/druid/indexer/v1/task", Some(&held.task("one", "events", false)));
    assert_eq!(reply.status, 200, "{}", reply.body);
    // What is left to the user the token never had.
    role(&server, "loader", &[]);
    held.let_go("one");
    let id = reply.body["task"].as_str().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        let status = server.get(&format!("/druid/indexer/v1/task/{id}/status")).body["status"].clone();
        if status["status"] != "RUNNING" {
            break status;
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let why = status["errorMsg"].as_str().unwrap_or_default();
    assert!(status["status"] == "FAILED" && why.contains("may not write it any more"), "{status}");
    assert_eq!(server.try_count_rows("events"), Ok(2));
}
