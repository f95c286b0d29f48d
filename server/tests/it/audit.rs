//! The audit log: what it records of whom, that a crash neither loses nor doubles an event, and that nobody changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::harness::{Server, amount, node, shared};

/// The rows that a filter leaves of `sys.audit`, once there are as many as are waited for.
fn events(server: &Server, filter: &str, least: usize) -> Vec<Value> {
    events_as(server, &[], filter, least)
}

fn events_as(server: &Server, headers: &[(&str, &str)], filter: &str, least: usize) -> Vec<Value> {
    let text = format!("SELECT * FROM sys.audit WHERE {filter} ORDER BY __time");
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        // Until the first event is in, there is no such table.
        let reply = server.send("POST", "/druid/v2/sql", headers, Some(&json!({"query": text})));
        let rows = reply.body.as_array().cloned().unwrap_or_default();
        if reply.status == 200 && rows.len() >= least {
            return rows;
        }
        assert!(Instant::now() < end, "{filter}: {} of {least}: {}", rows.len(), reply.body);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn load(server: &Server, datasource: &str, rows: usize) {
    let lines: Vec<String> = (0..rows).map(|n| json!({"t": n, "k": format!("k{n}")}).to_string()).collect();
    let spec = json!({"type": "index_parallel", "spec": {
        "dataSchema": {
            "dataSource": datasource,
            "timestampSpec": {"column": "t", "format": "millis"},
            "dimensionsSpec": {"dimensions": ["k"]},
            "granularitySpec": {"segmentGranularity": "DAY", "rollup": false},
        },
        "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": lines.join("\n")}},
    }});
    let status = server.run_task(&spec, Duration::from_secs(60));
    assert_eq!(status["status"], "SUCCESS", "{status}");
}

#[test]
fn an_event_says_who_asked_what_and_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    load(&server, "seen", 7);
    // What was loaded is served a moment later.
    while server.try_post("/druid/v2/sql", r#"{"query":"SELECT k FROM seen"}"#).unwrap().status != 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    server.post_ok("/druid/v2/sql", &json!({"query": "SELECT k FROM seen", "context": {"sqlQueryId": "by-sql"}}));
    let scan = json!({"queryType": "scan", "dataSource": "seen", "intervals": ["1970/1971"],
        "context": {"queryId": "by-scan"}});
    server.post_ok("/druid/v2", &scan);
    assert_eq!(server.post("/druid/v2", &json!({"queryType": "nonsense"})).status, 400);
    let nothing = json!({"query": "SELECT nothing FROM seen", "context": {"sqlQueryId": "wrong"}});
    assert_eq!(server.post("/druid/v2/sql", &nothing).status, 400);
    let lookup = json!({"type": "map", "map": {"secret key": "secret value"}});
    let lookup = json!({"version": "1", "lookupExtractorFactory": lookup});
    server.post("/druid/coordinator/v1/lookups/config", &json!({"__default": {"names": lookup}}));
    server.get("/druid/coordinator/v1/datasources");

    let by_sql = events(&server, "query_id = 'by-sql'", 1);
    assert!(began.elapsed() < Duration::from_secs(5));
    let event = &by_sql[0];
    let expected = json!({
        "kind": "query", "user": "anonymous", "address": "127.0.0.1", "method": "POST", "path": "/druid/v2/sql",
        "query_type": "sql", "datasources": "seen", "statement": "SELECT k FROM seen", "rows": 7, "outcome": "ok",
        "status": 200,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&event[name], value, "{name} of {event}");
    }
    assert!(event["bytes"].as_i64().unwrap() > 50 && event["duration_ms"].as_i64().is_some(), "{event}");

    let by_scan = events(&server, "query_id = 'by-scan'", 1);
    assert_eq!((&by_scan[0]["query_type"], &by_scan[0]["rows"]), (&json!("scan"), &json!(7)), "{}", by_scan[0]);
    assert_eq!(by_scan[0]["statement"], json!(scan.to_string()));
    let failed = events(&server, "outcome = 'failed' AND kind = 'query'", 2);
    assert!(failed.iter().any(|event| event["query_id"] == "wrong" && event["error"] == "Invalid"), "{failed:?}");
    let task = events(&server, "kind = 'spec'", 1);
    assert!(task[0]["object"].as_str().unwrap().starts_with("index_parallel_seen"), "{}", task[0]);
    assert_eq!(task[0]["datasources"], "seen");
    assert_eq!(events(&server, "kind = 'lookup'", 1)[0]["method"], "POST");
    // Looks leave no trace; bodies of specs and lookups are not kept.
    assert!(events(&server, "path = '/druid/coordinator/v1/datasources'", 0).is_empty());
    let all = events(&server, "TRUE", 5);
    assert!(!json!(all).to_string().contains("secret value"));

    // Native queries say the same of it.
    let count = json!({"queryType": "timeseries", "dataSource": "sys.audit", "granularity": "all",
        "intervals": ["2000/2100"], "filter": {"type": "selector", "dimension": "query_id", "value": "by-sql"},
        "aggregations": [{"type": "longSum", "name": "rows", "fieldName": "rows"}]});
    assert_eq!(server.post_ok("/druid/v2", &count)[0]["result"]["rows"], 7);
    assert_eq!(server.sql("SELECT COUNT(*) FROM \"sys.audit\" WHERE query_id = 'by-sql'")[0][0], 1);
    let columns = server
        .sql("SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'sys' AND TABLE_NAME = 'audit'");
    assert_eq!(columns[0][0], 20);
}

#[test]
fn the_log_is_nobodys_to_change_and_stays_out_of_lists() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("audit.publish_ms", "300")]);
    server.sql("SELECT 1");
    events(&server, "statement = 'SELECT 1'", 1);
    let end = Instant::now() + Duration::from_secs(20);
    while server.get("/druid/coordinator/v1/datasources/sys.audit").status != 200 {
        assert!(Instant::now() < end, "nothing is published");
        std::thread::sleep(Duration::from_millis(20));
    }

    let spec = |kind: &str| {
        json!({"type": kind, "spec": {
            "dataSchema": {"dataSource": "sys.audit", "timestampSpec": {"column": "t"},
                "dimensionsSpec": {"dimensions": ["k"]}, "granularitySpec": {"segmentGranularity": "DAY"}},
            "ioConfig": {"type": kind, "topic": "audit", "inputFormat": {"type": "json"},
                "inputSource": {"type": "inline", "data": "{}"},
                "consumerProperties": {"bootstrap.servers": "127.0.0.1:1"}}}})
    };
    let none = json!({});
    let refused = [
        ("/druid/indexer/v1/task", spec("index_parallel")),
        ("/druid/indexer/v1/task", json!({"type": "noop", "dataSource": "sys.audit"})),
        ("/druid/indexer/v1/supervisor", spec("kafka")),
        ("/druid/indexer/v1/supervisor", spec("journal")),
        ("/druid/indexer/v1/supervisor/sys.audit/suspend", none.clone()),
        ("/druid/indexer/v1/supervisor/sys.audit/terminate", none.clone()),
        ("/druid/indexer/v1/supervisor/sys.audit/reset", none.clone()),
        ("/druid/indexer/v1/datasources/sys.audit/shutdownAllTasks", none.clone()),
        ("/druid/coordinator/v1/datasources/sys.audit/markUnused", json!({"interval": "1000/3000"})),
        ("/druid/coordinator/v1/datasources/sys.audit", none.clone()),
    ];
    for (path, body) in &refused {
        let reply = server.post(path, body);
        assert_eq!(reply.status, 400, "{path}: {}", reply.body);
    }
    let delete = ureq::delete(format!("{}/druid/coordinator/v1/datasources/sys.audit", server.base)).call();
    assert!(matches!(delete, Err(ureq::Error::StatusCode(400))), "{delete:?}");
    for path in ["/suspendAll", "/terminateAll"] {
        server.post_ok(&format!("/druid/indexer/v1/supervisor{path}"), &none);
    }
    server.sql("SELECT 2");
    events(&server, "statement = 'SELECT 2'", 1);

    let lists = [
        "/druid/v2/datasources",
        "/druid/coordinator/v1/datasources",
        "/druid/coordinator/v1/datasources?full",
        "/druid/coordinator/v1/metadata/datasources?includeUnused",
        "/druid/coordinator/v1/metadata/segments",
        "/druid/coordinator/v1/loadstatus",
        "/druid/coordinator/v1/servers?full",
        "/druid/indexer/v1/supervisor?full",
        "/druid/indexer/v1/supervisor/history",
        "/druid/indexer/v1/tasks",
    ];
    for path in lists {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(!reply.body.to_string().contains("sys.audit"), "{path}: {}", reply.body);
    }
    for table in ["sys.segments", "sys.server_segments", "sys.tasks", "sys.supervisors"] {
        let rows = server.sql(&format!("SELECT * FROM {table}"));
        assert!(!json!(rows).to_string().contains("sys.audit"), "{table}: {rows:?}");
    }
    let tables = server.sql("SELECT TABLE_SCHEMA FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE '%audit%'");
    assert_eq!(tables, [[json!("sys")]]);
    // Who names it sees it.
    assert_eq!(server.get("/druid/indexer/v1/supervisor/sys.audit/status").body["payload"]["healthy"], true);
    let tasks = server.get("/druid/indexer/v1/tasks?datasource=sys.audit").body;
    assert_eq!(tasks[0]["type"], "index_journal", "{tasks}");
}

#[test]
fn every_event_counts_once_through_kills() {
    let kills = amount("HENGE_TEST_AUDIT_KILLS", 6);
    let seed = amount("HENGE_TEST_SEED", 7);
    let dir = tempfile::tempdir().unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut asked = 0;
    for _ in 0..kills {
        let mut server = Server::start_with(dir.path(), &[("audit.publish_ms", "400")]);
        let end = Instant::now() + Duration::from_millis(random.random_range(300..2_500));
        while Instant::now() < end {
            let statement = json!({"query": "SELECT 1", "context": {"sqlQueryId": format!("q{asked}")}});
            server.post_ok("/druid/v2/sql", &statement);
            asked += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        // An event is on disk within a twentieth of a second.
        std::thread::sleep(Duration::from_millis(500));
        server.kill();
    }
    let server = Server::start_with(dir.path(), &[("audit.publish_ms", "400")]);
    let counted = |server: &Server| -> BTreeMap<String, i64> {
        let rows = server.sql("SELECT query_id, COUNT(*) FROM sys.audit WHERE query_id LIKE 'q%' GROUP BY query_id");
        rows.iter().map(|row| (row[0].as_str().unwrap().to_string(), row[1].as_i64().unwrap())).collect()
    };
    events(&server, "query_id LIKE 'q%'", asked);
    let counts = counted(&server);
    let wrong: Vec<_> = (0..asked).map(|n| format!("q{n}")).filter(|id| counts.get(id) != Some(&1)).take(10).collect();
    assert!(wrong.is_empty() && counts.len() == asked, "{asked} asked, {} counted; not once: {wrong:?}", counts.len());

    // All of it becomes segments, and the files of the journal go.
    let end = Instant::now() + Duration::from_secs(30);
    let rows_published = || -> u64 {
        let segments = server.get("/druid/coordinator/v1/datasources/sys.audit/segments?full").body;
        segments.as_array().into_iter().flatten().map(|segment| segment["totalRows"].as_u64().unwrap()).sum()
    };
    while rows_published() < asked as u64 {
        assert!(Instant::now() < end, "{} of {asked} rows are published", rows_published());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.stop());
    let server = Server::start(dir.path());
    events(&server, "query_id LIKE 'q%'", asked);
    assert_eq!(counted(&server), counts);
    println!("audit: {kills} kills, {asked} queries, each once");
}

/// A journal that is small enough to be filled.
const SMALL: (&str, &str) = ("audit.journal_max_bytes", "1048576");

fn counted(server: &Server, outcome: &str) -> bool {
    let counter = format!(r#"henge_server_audit_events_total{{outcome="{outcome}"}}"#);
    let metrics = server.get("/metrics").body;
    let mut counts = metrics.as_str().unwrap().lines().filter_map(|line| line.strip_prefix(&counter));
    counts.any(|count| count.trim() != "0")
}

/// Ordinary events leave room for changes; where there is none for them either, nothing is changed, until there is.
#[test]
fn a_change_of_security_that_cannot_be_recorded_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[SMALL]);
    let roles = "/henge/v1/security/roles";
    let change = |name: &str| server.send("PUT", &format!("{roles}/{name}"), &[], Some(&json!({})));
    assert_eq!(change("first").status, 200);
    let begun = events(&server, "kind = 'role' AND outcome = 'begun'", 1);
    assert_eq!((&begun[0]["object"], &begun[0]["user"]), (&json!("first"), &json!("anonymous")));
    assert_eq!(events(&server, "kind = 'role' AND outcome = 'ok'", 1)[0]["status"], 200);

    // Nothing can be published.
    let (deep, aside) = (dir.path().join("data/deep-storage"), dir.path().join("aside"));
    if deep.exists() {
        std::fs::rename(&deep, &aside).unwrap();
    }
    std::fs::write(&deep, "").unwrap();
    let long = format!("SELECT '{}'", "x".repeat(7 << 10));
    let end = Instant::now() + Duration::from_secs(60);
    while !counted(&server, "lost") {
        server.sql(&long);
        assert!(Instant::now() < end, "the journal is never full");
    }
    // There is no room for queries any more, which are answered none the less, and room for changes.
    server.sql(&long);
    assert_eq!(change("second").status, 200);
    // What is refused after it was announced takes room too.
    let too_long = "x".repeat(1900);
    while change(&too_long).status != 503 {
        assert!(Instant::now() < end, "the rest of the journal is never full");
    }
    let (number, refused) = (0..)
        .map(|number| (number, change(&format!("later-{number}"))))
        .find(|(_, reply)| reply.status != 200)
        .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.body["error"].as_str().unwrap().contains("cannot be recorded"), "{}", refused.body);
    assert_eq!(server.get(&format!("{roles}/later-{number}")).status, 404);
    assert_eq!(server.get(&format!("{roles}/second")).status, 200);
    server.sql("SELECT 1");

    std::fs::remove_file(&deep).unwrap();
    if aside.exists() {
        std::fs::rename(&aside, &deep).unwrap();
    }
    let end = Instant::now() + Duration::from_secs(120);
    while change("third").status != 200 {
        assert!(Instant::now() < end, "what is published makes no room:\n{}", server.log_end());
        std::thread::sleep(Duration::from_millis(200));
    }
    let noted = |name: &str| events(&server, &format!("kind = 'role' AND outcome = 'begun' AND object = '{name}'"), 1);
    assert_eq!((noted("second").len(), noted("third").is_empty()), (1, false));
}

/// Time is not all that has events published.
#[test]
fn a_log_that_fills_is_published_before_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[SMALL]);
    let held = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("data/audit")).unwrap();
        files.map(|file| file.unwrap().metadata().map_or(0, |of| of.len())).sum()
    };
    let long = format!("SELECT '{}'", "x".repeat(7 << 10));
    // Each time a fifth of what the journal holds, twice as much in all.
    let (times, queries) = (9, 30);
    for time in 0..times {
        for query in 0..queries {
            let context = json!({"sqlQueryId": format!("q{time}-{query}")});
            server.post_ok("/druid/v2/sql", &json!({"query": long, "context": context}));
        }
        // What is queued is written in groups.
        std::thread::sleep(Duration::from_millis(500));
        let end = Instant::now() + Duration::from_secs(60);
        while held() > 400_000 {
            assert!(Instant::now() < end, "{} bytes wait to be published:\n{}", held(), server.log_end());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let all = events(&server, "query_id LIKE 'q%'", times * queries);
    assert_eq!(all.len(), times * queries);
    assert!(!counted(&server, "lost"));
}

/// A log that some fill would be one in which nobody can be stopped.
#[test]
fn whoever_floods_the_log_can_be_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let password = "the first password";
    let settings = [("auth.required", "true"), ("auth.first_password", password), SMALL];
    let server = Server::start_with(dir.path(), &settings);
    let basic = |name: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let (admin, eve) = (basic("admin", password), basic("eve", "a long password"));
    let admin = [("Authorization", admin.as_str())];
    let user = |document: Value| server.send("PUT", "/henge/v1/security/users/eve", &admin, Some(&document)).status;
    assert_eq!(user(json!({"password": "a long password"})), 200);
    let flood = |authorization: &str, expected: u16| {
        let failing = json!({"query": format!("SELEC '{}'", "x".repeat(17_000))});
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let headers = [("Authorization", authorization)];
                        let reply = server.send("POST", "/druid/v2/sql", &headers, Some(&failing));
                        assert_eq!(reply.status, expected, "{}", reply.body);
                    }
                });
            }
        });
    };
    let recorded = |filter: &str, least| events_as(&server, &admin, filter, least);
    // By a stranger, with credentials that are none; and by a user, with what is refused.
    flood("Bearer henge_nobody_guessed", 401);
    let strangers = recorded("status = 401", 1).len();
    assert!(strangers < 800, "{strangers}");
    flood(&eve, 400);
    let failed = recorded("kind = 'query' AND \"user\" = 'eve'", 1);
    assert!(failed.len() < 800, "{}", failed.len());
    let statement = failed[0]["statement"].as_str().unwrap();
    assert!(statement.len() <= 8 << 10 && statement.ends_with("… (17,008 bytes)"), "{} bytes", statement.len());
    assert_eq!(user(json!({"disabled": true})), 200);
    assert_eq!(server.send("GET", "/henge/v1/security/whoami", &[("Authorization", &eve)], None).status, 401);
}

/// Whoever asks without end loses events of their own.
#[test]
fn whoever_fills_the_log_with_queries_loses_none_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let password = "the first password";
    let settings = [("auth.required", "true"), ("auth.first_password", password), SMALL];
    let server = Server::start_with(dir.path(), &settings);
    let basic = |name: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let admin = basic("admin", password);
    let admin = [("Authorization", admin.as_str())];
    for name in ["eve", "bob"] {
        let path = format!("/henge/v1/security/users/{name}");
        let made = server.send("PUT", &path, &admin, Some(&json!({"password": "a long password"})));
        assert_eq!(made.status, 200, "{}", made.body);
    }
    // Nothing can be published.
    let deep = dir.path().join("data/deep-storage");
    if deep.exists() {
        std::fs::rename(&deep, dir.path().join("aside")).unwrap();
    }
    std::fs::write(&deep, "").unwrap();
    let ask = |name: &str, id: &str, text: &str| {
        let body = json!({"query": text, "context": {"sqlQueryId": id}});
        let who = basic(name, "a long password");
        let reply = server.send("POST", "/druid/v2/sql", &[("Authorization", &who)], Some(&body));
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    let lost = || {
        let metrics = server.send("GET", "/metrics", &admin, None).body;
        metrics.as_str().unwrap().contains(r#"henge_server_audit_events_total{outcome="lost"}"#)
    };
    let long = format!("SELECT '{}'", "x".repeat(7 << 10));
    let end = Instant::now() + Duration::from_secs(60);
    while !lost() {
        ask("eve", "eves", &long);
        assert!(Instant::now() < end, "nothing is lost");
    }
    for _ in 0..200 {
        ask("eve", "eves", &long);
    }
    // What others do is there, as is what is no query.
    for n in 0..5 {
        ask("bob", &format!("bobs-{n}"), "SELECT 1");
    }
    let wrong = basic("bob", "a wrong password");
    let denied = server.send("GET", "/druid/v2/datasources", &[("Authorization", &wrong)], None);
    assert_eq!(denied.status, 401);
    assert_eq!(events_as(&server, &admin, "query_id LIKE 'bobs-%'", 5).len(), 5);
    assert_eq!(events_as(&server, &admin, "kind = 'signin' AND outcome = 'denied'", 1)[0]["object"], "bob");
    let eves = events_as(&server, &admin, "query_id = 'eves'", 1).len();
    assert!((20..150).contains(&eves), "{eves}");
}

#[test]
fn a_query_is_on_record_however_long_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let ask = |id: &str, source: Value| {
        let query = json!({"queryType": "timeseries", "dataSource": source, "granularity": "all",
            "intervals": ["2000/2100"], "context": {"queryId": id}});
        server.post_ok("/druid/v2", &query);
        let seen = events(&server, &format!("query_id = '{id}'"), 1);
        assert_eq!(seen.len(), 1);
        seen[0]["datasources"].to_string()
    };
    let name = ask("long", json!("n".repeat(9_000_000)));
    assert!(name.contains("nn… (9,000,000 bytes)") && name.len() < 3_000, "{} bytes", name.len());
    let names: Vec<String> = (0..200_000).map(|n| format!("d{n}")).collect();
    let names = ask("many", json!({"type": "union", "dataSources": names}));
    assert!(names.contains("d98") && names.contains("… (200,000 names)") && names.len() < 3_000, "{names}");
}

#[test]
fn what_is_switched_off_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("audit.queries", "false")]);
    server.sql("SELECT 1");
    assert_eq!(server.post("/druid/indexer/v1/supervisor", &json!({"type": "nonsense"})).status, 400);
    let all = events(&server, "TRUE", 1);
    assert!(all.iter().all(|event| event["kind"] == "spec"), "{all:?}");
    assert!(server.stop());
    let server = Server::start_with(dir.path(), &[("audit.enabled", "false")]);
    assert_eq!(server.post("/druid/indexer/v1/supervisor", &json!({"type": "nonsense"})).status, 400);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(events(&server, "TRUE", all.len()).len(), all.len());
}

#[test]
fn sign_ins_and_denials_say_who_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (password, wrong) = ("the first password", "a wrong password");
    let server = Server::start_with(dir.path(), &[("auth.required", "true"), ("auth.first_password", password)]);
    let basic = |name: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let (admin, user) = (basic("admin", password), basic("somebody", "their own password"));
    let admin = [("Authorization", admin.as_str())];
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: Value| {
        server.send(method, path, headers, Some(&body).filter(|body| !body.is_null())).status
    };
    let security = "/henge/v1/security";
    let somebody = json!({"password": "their own password"});
    assert_eq!(send("PUT", &format!("{security}/users/somebody"), &admin, somebody), 200);

    let login = |password: &str| {
        send("POST", &format!("{security}/login"), &[], json!({"username": "somebody", "password": password}))
    };
    assert_eq!((login(wrong), login("their own password")), (401, 200));
    let stranger = basic("somebody", wrong);
    assert_eq!(send("GET", "/druid/v2/datasources", &[("Authorization", &stranger)], Value::Null), 401);
    assert_eq!(send("GET", "/status/properties", &[("Authorization", &user)], Value::Null), 403);
    assert_eq!(send("GET", "/status/properties", &[], Value::Null), 401);
    let statement = json!({"query": "SELECT * FROM sys.audit"});
    assert_eq!(send("POST", "/druid/v2/sql", &[("Authorization", &user)], statement), 403);

    let seen = |filter: &str, least| events_as(&server, &admin, filter, least);
    // Whoever comes in with a request that is recorded as another kind of thing, or not at all, has signed in by it.
    let first = &seen("kind = 'signin' AND object = 'admin'", 1)[0];
    let told = ["user", "outcome", "method", "path"].map(|name| first[name].as_str().unwrap().to_string());
    assert_eq!(told, ["admin", "ok", "PUT", &format!("{security}/users/somebody")]);
    let signins = seen("kind = 'signin' AND object = 'somebody'", 3);
    let told =
        |event: &Value| json!([event["path"], event["user"], event["object"], event["outcome"], event["status"]]);
    assert_eq!(
        signins.iter().map(told).collect::<Vec<_>>(),
        [
            json!([format!("{security}/login"), "anonymous", "somebody", "denied", 401]),
            json!([format!("{security}/login"), "somebody", "somebody", "ok", 200]),
            json!(["/druid/v2/datasources", "anonymous", "somebody", "denied", 401]),
        ]
    );
    let denied = seen("kind = 'denied' AND path = '/status/properties'", 2);
    assert_eq!((&denied[0]["user"], &denied[0]["status"]), (&json!("somebody"), &json!(403)));
    assert_eq!((&denied[1]["user"], &denied[1]["status"]), (&json!("anonymous"), &json!(401)));
    let refused = seen("kind = 'query' AND outcome = 'denied'", 1);
    assert_eq!((&refused[0]["user"], &refused[0]["error"]), (&json!("somebody"), &json!("Denied")));
    let changes = seen("kind = 'user' AND object = 'somebody'", 2);
    let mut outcomes: Vec<&str> = changes.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["begun", "ok"], "{changes:?}");
    assert_eq!((&changes[0]["user"], &changes[0]["roles"]), (&json!("admin"), &json!("admin")));
    // Floods of strangers are counted, not kept.
    for _ in 0..300 {
        send("GET", "/status/properties", &[], Value::Null);
    }
    // Nor are they known by what they send, if it is none of anybody's.
    for _ in 0..300 {
        send("GET", "/status/properties", &[("Authorization", "Bearer henge_nobody_guessed")], Value::Null);
    }
    std::thread::sleep(Duration::from_millis(500));
    let (kept, signed) = (seen("kind = 'denied'", 3).len(), seen("kind = 'signin'", 3).len());
    assert!(kept < 303 && signed < 303, "{kept}, {signed}");
    let all = json!(seen("TRUE", 10)).to_string();
    assert!(!all.contains(wrong) && !all.contains(password) && !all.contains("their own password"));
}

/// Whoever hangs up asked all the same, and may have had it done.
#[test]
fn a_request_whose_sender_hangs_up_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    load(&server, "seen", 2000);
    while server.try_post("/druid/v2/sql", r#"{"query":"SELECT k FROM seen"}"#).unwrap().status != 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let address = server.base.strip_prefix("http://").unwrap();
    let ask = |method: &str, path: &str, body: Value, rest: Duration| {
        let body = body.to_string();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(rest);
    };
    // A hash of a password mostly takes longer than it takes to see that nobody waits; either way there is an end.
    let cancelled = (0..20).any(|n| {
        let user = json!({"password": "a long password"});
        ask("PUT", &format!("/henge/v1/security/users/ann{n}"), user, Duration::from_millis(10));
        let changes = events(&server, &format!("kind = 'user' AND object = 'ann{n}'"), 2);
        let outcomes: BTreeSet<&str> = changes.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
        assert!(outcomes.contains("begun") && outcomes.len() == 2, "{changes:?}");
        outcomes.contains("cancelled")
    });
    assert!(cancelled, "no sender was seen to hang up");

    let text = "SELECT COUNT(*) FROM seen a, seen b, seen c WHERE a.k || b.k || c.k = 'x'";
    let query = json!({"query": text, "context": {"sqlQueryId": "left", "timeout": 60_000}});
    ask("POST", "/druid/v2/sql", query, Duration::from_millis(300));
    let left = events(&server, "query_id = 'left'", 1);
    let told = ["outcome", "user", "statement", "status"].map(|name| left[0][name].clone());
    assert_eq!(told, [json!("cancelled"), json!("anonymous"), json!(text), Value::Null], "{left:?}");
}

#[test]
fn an_asynchronous_statement_is_followed_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let statement = json!({"query": "SELECT * FROM (VALUES (1), (2), (3))",
        "context": {"executionMode": "ASYNC", "sqlQueryId": "later"}});
    server.post_ok("/druid/v2/sql/statements", &statement);
    let both = events(&server, "query_id = 'later'", 2);
    let ended = both.iter().find(|event| event["path"] == "/druid/v2/sql/statements/later").expect("its end");
    assert_eq!((&ended["rows"], &ended["outcome"], &ended["user"]), (&json!(3), &json!("ok"), &json!("anonymous")));
}

/// Results are rows as those of any query are, whoever reads them and whenever.
#[test]
fn who_reads_the_results_of_a_statement_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let password = "the first password";
    let server = Server::start_with(dir.path(), &[("auth.required", "true"), ("auth.first_password", password)]);
    let basic = |name: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let (admin, bob) = (basic("admin", password), basic("bob", "a long password"));
    let (admin, bob) = ([("Authorization", admin.as_str())], [("Authorization", bob.as_str())]);
    let user = json!({"password": "a long password"});
    assert_eq!(server.send("PUT", "/henge/v1/security/users/bob", &admin, Some(&user)).status, 200);
    let statement = json!({"query": "SELECT * FROM (VALUES (1), (2), (3))",
        "context": {"executionMode": "ASYNC", "sqlQueryId": "kept", "rowsPerPage": 2}});
    let statements = "/druid/v2/sql/statements";
    assert_eq!(server.send("POST", statements, &bob, Some(&statement)).status, 200);
    let end = Instant::now() + Duration::from_secs(20);
    while server.send("GET", &format!("{statements}/kept"), &bob, None).body["state"] != "SUCCESS" {
        assert!(Instant::now() < end, "the statement does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let read = |headers: &[(&str, &str)], path: &str| {
        let reply = server.send("GET", &format!("{statements}/kept{path}"), headers, None);
        assert_eq!(reply.status, 200, "{}", reply.body);
        // So that their times say which was first.
        std::thread::sleep(Duration::from_millis(5));
    };
    read(&bob, "/results");
    read(&admin, "/results?page=1");
    read(&admin, "");
    let seen = events_as(&server, &admin, "query_type = 'results'", 3);
    let told = |event: &Value| {
        json!([event["kind"], event["query_id"], event["path"], event["user"], event["object"], event["rows"]])
    };
    let (path, results) = (format!("{statements}/kept"), format!("{statements}/kept/results"));
    assert_eq!(
        seen.iter().map(told).collect::<Vec<_>>(),
        [
            json!(["query", "kept", results, "bob", null, 3]),
            json!(["query", "kept", results, "admin", "bob", 1]),
            json!(["query", "kept", path, "admin", "bob", null]),
        ]
    );
    assert!(seen[0]["bytes"].as_i64().unwrap() > 10, "{}", seen[0]);
}

/// Every message of a topic's one partition: key and payload.
fn messages(bootstrap: &str, topic: &str) -> Vec<(i64, String)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", topic).create().unwrap();
    let (low, high) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(20)).unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(low)).unwrap();
    consumer.assign(&from).unwrap();
    let mut found = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while low + (found.len() as i64) < high {
        assert!(Instant::now() < end, "{} of {} messages", found.len(), high - low);
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        found.push((text(message.key()).parse().unwrap(), text(message.payload())));
    }
    found
}

/// However the node ends, each event that was on disk is in the topic, under its own number.
#[test]
fn a_copy_in_kafka_lacks_nothing_after_kills() {
    let Some(bootstrap) = crate::harness::kafka("a_copy_in_kafka_lacks_nothing_after_kills") else { return };
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("audit-{}", std::process::id());
    crate::harness::create_topic(&bootstrap, &topic, 1);
    let properties = dir.path().join("kafka.properties");
    std::fs::write(&properties, format!("# of the test\nbootstrap.servers={bootstrap}\n")).unwrap();
    let settings = [("audit.kafka_topic", topic.as_str()), ("audit.kafka_properties", properties.to_str().unwrap())];
    let mut random = SmallRng::seed_from_u64(11);
    let mut asked = 0;
    let mut ask = |server: &Server, queries: usize| {
        for _ in 0..queries {
            server.post_ok(
                "/druid/v2/sql",
                &json!({"query": "SELECT 1", "context": {"sqlQueryId": format!("q{asked}")}}),
            );
            asked += 1;
        }
    };
    for _ in 0..3 {
        let mut server = Server::start_with(dir.path(), &settings);
        ask(&server, 40);
        std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        server.kill();
    }
    let server = Server::start_with(dir.path(), &settings);
    ask(&server, 40);
    // Of what was asked just before a kill, the log itself may lack the last 50 milliseconds.
    events(&server, "query_id = 'q159'", 1);
    let rows = events(&server, "query_id LIKE 'q%'", 40);
    let rows: BTreeSet<String> = rows.iter().map(|row| row["query_id"].as_str().unwrap().to_string()).collect();
    let end = Instant::now() + Duration::from_secs(30);
    let copied = loop {
        let copied = messages(&bootstrap, &topic);
        if copied.iter().any(|(_, line)| line.contains(r#""q159""#)) {
            break copied;
        }
        assert!(Instant::now() < end, "the copy stands still at {:?}", copied.last());
        std::thread::sleep(Duration::from_millis(200));
    };
    let mut lines: BTreeMap<i64, &str> = BTreeMap::new();
    for (number, line) in &copied {
        assert_eq!(*lines.entry(*number).or_insert(line), line, "one number, one event");
    }
    assert_eq!(lines.keys().copied().collect::<Vec<i64>>(), (0..lines.len() as i64).collect::<Vec<_>>());
    let ids = lines.values().filter_map(|line| {
        let id = serde_json::from_str::<Value>(line).unwrap()["query_id"].as_str()?.to_string();
        id.starts_with('q').then_some(id)
    });
    assert_eq!(ids.collect::<BTreeSet<String>>(), rows);
    // A file that names no brokers is refused by name.
    std::fs::write(&properties, "acks=all\n").unwrap();
    assert!(server.stop());
    let mut server = Server::launch(dir.path(), "server", &settings, &[]);
    while !server.has_exited() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.log().contains("bootstrap.servers"), "{}", server.log());
}

/// Each node keeps what came to it, and any broker answers with that of all: what a node that died had published is there
/// without it, and the rest once it is back.
#[test]
fn nodes_of_roles_tell_of_what_came_to_each() {
    let Some(mut settings) = shared("audited") else { return };
    settings.push(("audit.publish_ms".into(), "3000".into()));
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let (coordinator, historical) = (start("c1", "coordinator"), start("h1", "historical"));
    let (mut first, second) = (start("b1", "broker"), start("b2", "broker"));
    for server in [&historical, &first, &second] {
        server.wait_healthy(Duration::from_secs(60));
    }
    let asks = |server: &Server, id: &str| {
        server.post_ok("/druid/v2/sql", &json!({"query": "SELECT 1", "context": {"sqlQueryId": id}}));
    };
    let by_id = |server: &Server, ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let filter = format!("kind = 'query' AND query_id IN ({})", ids.join(", "));
        let found = events(server, &filter, ids.len());
        assert_eq!(found.len(), ids.len(), "{found:?}");
        found.iter().map(|event| event["node"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let address = |server: &Server| server.base.trim_start_matches("http://").to_string();
    asks(&first, "first");
    asks(&second, "second");
    let names = json!({"version": "v1", "lookupExtractorFactory": {"type": "map", "map": {"a": "b"}}});
    // It is the leader's doing, whoever was asked.
    assert_eq!(first.post("/druid/coordinator/v1/lookups/config/__default/names", &names).status, 202);
    let changed = events(&second, "kind = 'lookup'", 1);
    assert_eq!((changed.len(), changed[0]["node"].as_str()), (1, Some(address(&coordinator).as_str())), "{changed:?}");
    for server in [&first, &second] {
        assert_eq!(by_id(server, &["first", "second"]), [address(&first), address(&second)]);
    }

    // Once it is published it does not go with its node.
    let published = "SELECT COUNT(*) FROM sys.audit WHERE query_id = 'first'";
    let end = Instant::now() + Duration::from_secs(60);
    while !first.log().contains("sequence handed off") {
        assert!(Instant::now() < end, "nothing is published:\n{}", first.log_end());
        std::thread::sleep(Duration::from_millis(50));
    }
    asks(&first, "last");
    let before = address(&first);
    assert_eq!(by_id(&second, &["first", "last"]), [&*before, &*before]);
    first.kill();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let reply =
            second.send("POST", "/druid/v2/sql", &[], Some(&json!({"query": published, "resultFormat": "array"})));
        if reply.status == 200 && reply.body == json!([[1]]) {
            break;
        }
        assert!(Instant::now() < end, "{}", reply.body);
        std::thread::sleep(Duration::from_millis(50));
    }
    let first = start("b1", "broker");
    first.wait_healthy(Duration::from_secs(60));
    asks(&first, "again");
    assert_eq!(
        by_id(&second, &["first", "second", "last", "again"]),
        [before.clone(), address(&second), before, address(&first)]
    );
}
