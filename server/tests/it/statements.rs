//! Asynchronous statements: from acceptance to pages, through restarts, until they are too old.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Server, node, shared};
use crate::jdbc::numbered;

const PATH: &str = "/druid/v2/sql/statements";

fn post(server: &Server, sql: &str, context: Value) -> Value {
    let mut context = context;
    context["executionMode"] = json!("ASYNC");
    server.post_ok(PATH, &json!({"query": sql, "context": context, "resultFormat": "array", "header": true}))
}

fn wait(server: &Server, id: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let status = server.get(&format!("{PATH}/{id}")).body;
        if !matches!(status["state"].as_str(), Some("ACCEPTED" | "RUNNING")) {
            return status;
        }
        assert!(Instant::now() < end, "still {}", status["state"]);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn results_are_kept_in_pages_and_survive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    numbered(&server, 2_500);
    let sql = "SELECT n FROM numbers WHERE n >= 100 ORDER BY __time";
    let accepted = post(&server, sql, json!({"rowsPerPage": 1000}));
    assert_eq!(accepted["schema"], json!([{"name": "n", "type": "BIGINT", "nativeType": "LONG"}]));
    let id = accepted["queryId"].as_str().unwrap().to_string();
    let done = wait(&server, &id);
    assert_eq!(done["state"], "SUCCESS", "{done}");
    let rows: Vec<&Value> = done["result"]["pages"].as_array().unwrap().iter().map(|page| &page["numRows"]).collect();
    assert_eq!((rows, &done["result"]["numTotalRows"]), (vec![&json!(1000), &json!(1000), &json!(400)], &json!(2400)));
    assert_eq!(done["result"]["sampleRecords"][0], json!([100]));

    server.kill();
    let server = Server::start(dir.path());
    let results = |query: &str| server.get(&format!("{PATH}/{id}/results{query}")).body;
    let whole: Vec<Value> = std::iter::once(json!(["n"])).chain((100..2500).map(|n| json!([n]))).collect();
    assert_eq!(results(""), json!(whole));
    let last: Vec<Value> = std::iter::once(json!(["n"])).chain((2100..2500).map(|n| json!([n]))).collect();
    assert_eq!(results("?page=2"), json!(last));
    assert_eq!(results("?page=0&resultFormat=objectLines").as_str().unwrap().lines().nth(1), Some("{\"n\":100}"));
    for bad in ["?page=3", "?page=-1", "?resultFormat=xml"] {
        assert_eq!(results(bad)["category"], "INVALID_INPUT", "{bad}");
    }
    let server_again = server.get(&format!("{PATH}/{id}"));
    assert_eq!(server_again.body["state"], "SUCCESS");
    assert_eq!(server.get(&format!("{PATH}/none/results")).status, 404);
}

#[test]
fn a_statement_is_refused_ended_or_forgotten_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("sql.statement_ttl_ms", "3000")]);
    numbered(&server, 3_000);
    let refuse = |body: Value| {
        let reply = server.post(PATH, &body);
        assert_eq!(reply.status, 400, "{}", reply.body);
        reply.body["errorMessage"].as_str().unwrap().to_string()
    };
    assert!(refuse(json!({"query": "SELECT 1"})).contains("executionMode"));
    assert!(refuse(json!({"query": "SELECT 1", "context": {"executionMode": "SYNC"}})).contains("SYNC"));
    let unknown = json!({"query": "SELECT nope FROM numbers", "context": {"executionMode": "ASYNC"}});
    assert!(refuse(unknown).contains("nope"));

    // A join of everything with everything takes longer than anyone waits.
    let endless = "SELECT COUNT(*) FROM numbers a, numbers b, numbers c WHERE a.n + b.n + c.n = 1";
    let id = post(&server, endless, json!({"sqlQueryId": "endless"}))["queryId"].as_str().unwrap().to_string();
    assert_eq!(id, "endless");
    let end = Instant::now() + Duration::from_secs(30);
    while server.get(&format!("{PATH}/{id}")).body["state"] != "RUNNING" {
        assert!(Instant::now() < end, "it does not run");
        std::thread::sleep(Duration::from_millis(5));
    }
    let results = server.get(&format!("{PATH}/{id}/results"));
    assert_eq!(results.status, 400, "{}", results.body);
    assert_eq!(delete(&server, &id), 202);
    let failed = wait(&server, &id);
    assert_eq!((&failed["state"], &failed["errorDetails"]["category"]), (&json!("FAILED"), &json!("CANCELED")));
    assert_eq!(delete(&server, &id), 200);
    assert_eq!(server.get(&format!("{PATH}/{id}")).status, 404, "it is gone");
    assert_eq!(delete(&server, "none"), 404);

    let kept = post(&server, "SELECT n FROM numbers", json!({}))["queryId"].as_str().unwrap().to_string();
    assert_eq!(wait(&server, &kept)["state"], "SUCCESS");
    let owners = std::fs::read_dir(dir.path().join("data/deep-storage/.statements")).unwrap();
    let mut folders = owners.map(|owner| owner.unwrap().path().join(&kept));
    let folder = folders.find(|folder| folder.join("page-0").exists()).expect("a page");
    let end = Instant::now() + Duration::from_secs(30);
    while server.get(&format!("{PATH}/{kept}")).status != 404 {
        assert!(Instant::now() < end, "results are kept beyond their time");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!folder.join("page-0").exists());
}

/// The pages that are kept of all statements.
fn pages(dir: &std::path::Path) -> usize {
    let owners = std::fs::read_dir(dir.join("data/deep-storage/.statements")).unwrap();
    let statements = owners.flat_map(|owner| std::fs::read_dir(owner.unwrap().path()).unwrap());
    let files = statements.flat_map(|statement| std::fs::read_dir(statement.unwrap().path()).unwrap());
    files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("page-")).count()
}

/// Twice 800 kB are more than a MiB: the second fails, and leaves nothing, until the first is deleted. What was there before a
/// start counts after it.
#[test]
fn what_an_owner_keeps_is_bounded_and_freed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("sql.statement_owner_bytes_max", "1048576")];
    let server = Server::start_with(dir.path(), &settings);
    numbered(&server, 2_500);
    let wide = "SELECT a.n, b.n AS m FROM numbers a CROSS JOIN numbers b WHERE a.n < 20";
    let run = |server: &Server, id: &str| {
        post(server, wide, json!({"sqlQueryId": id}));
        wait(server, id)
    };
    let first = run(&server, "first");
    assert_eq!(first["state"], "SUCCESS", "{first}");
    let bytes = first["result"]["totalSizeInBytes"].as_u64().unwrap();
    assert!((600_000..1_000_000).contains(&bytes), "{first}");
    let kept = pages(dir.path());
    let refused = |server: &Server, id: &str| {
        let failed = run(server, id);
        let told = failed["errorDetails"].to_string();
        assert!(failed["state"] == "FAILED" && told.contains("sql.statement_owner_bytes_max"), "{failed}");
    };
    refused(&server, "second");
    assert_eq!(pages(dir.path()), kept, "nothing is kept of what failed");
    assert!(server.stop());

    let server = Server::start_with(dir.path(), &settings);
    let end = Instant::now() + Duration::from_secs(60);
    // What is kept is counted soon after the start; a statement in that time is as the first.
    for again in 0.. {
        let id = format!("third-{again}");
        match run(&server, &id)["state"] == "FAILED" {
            true => break,
            false => assert_eq!(delete(&server, &id), 200),
        }
        assert!(Instant::now() < end, "what was kept before the start does not count");
    }
    refused(&server, "fourth");
    assert_eq!(delete(&server, "first"), 200);
    assert_eq!((pages(dir.path()), server.get(&format!("{PATH}/first")).status), (0, 404));
    assert_eq!(run(&server, "fifth")["state"], "SUCCESS");
}

fn delete(server: &Server, id: &str) -> u16 {
    let url = format!("{}{PATH}/{id}", server.base);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    agent.delete(url).call().unwrap().status().as_u16()
}

/// A sender that is gone before it has an answer leaves a statement that runs, or none.
#[test]
fn statements_whose_sender_leaves_do_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 3);
    let address = server.base.trim_start_matches("http://").to_string();
    let ids: Vec<String> = (0..300).map(|nth| format!("left-{nth}")).collect();
    for (nth, id) in ids.iter().enumerate() {
        let context = json!({"executionMode": "ASYNC", "sqlQueryId": id});
        let body = json!({"query": "SELECT COUNT(*) FROM numbers", "context": context}).to_string();
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json");
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        std::thread::sleep(Duration::from_micros(nth as u64 % 100 * 50));
    }
    let end = Instant::now() + Duration::from_secs(60);
    for id in &ids {
        loop {
            let status = server.get(&format!("{PATH}/{id}"));
            if status.status == 404 || status.body["state"] == "SUCCESS" {
                break;
            }
            assert!(Instant::now() < end, "{id}: {}", status.body);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Of a statement that failed nobody is told the columns: whether they are there for who asks is not known.
#[test]
fn columns_of_a_failed_statement_are_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 300);
    let put = |path: &str, body: Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(&body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    let reads = json!([{"resource": {"type": "DATASOURCE", "name": "numbers"}, "action": "READ"}]);
    put("/roles/reader", json!({"permissions": reads}));
    put("/roles/other", json!({}));
    put("/users/ann", json!({"password": "password of ann", "roles": ["reader", "other"]}));
    let basic = format!("Basic {}", STANDARD.encode("ann:password of ann"));
    let ask = |who: &str, method: &str, path: &str, body: Option<Value>| {
        server.send(method, path, &[("Authorization", who)], body.as_ref())
    };
    let made = ask(&basic, "POST", "/henge/v1/security/tokens", Some(json!({"roles": ["other"]})));
    let narrow = format!("Bearer {}", made.body["token"].as_str().unwrap());
    let endless = "SELECT a.k AS secretive FROM numbers a, numbers b, numbers c, numbers d WHERE a.n + b.n + c.n = -1";
    let body = json!({"query": endless, "context": {"executionMode": "ASYNC", "timeout": 100}});
    let accepted = ask(&basic, "POST", PATH, Some(body)).body;
    assert_eq!(accepted["schema"][0]["name"], "secretive", "{accepted}");
    let path = format!("{PATH}/{}", accepted["queryId"].as_str().unwrap());
    let end = Instant::now() + Duration::from_secs(60);
    let failed = loop {
        let status = ask(&basic, "GET", &path, None).body;
        if status["state"] == "FAILED" {
            break status;
        }
        assert!(Instant::now() < end, "{status}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(failed["schema"], json!([]), "{failed}");
    for who in [&basic, &narrow] {
        for path in [path.clone(), format!("{path}?detail"), format!("{path}/results")] {
            let told = ask(who, "GET", &path, None);
            assert!(!told.body.to_string().contains("secretive"), "{path}: {}", told.body);
        }
    }
}

/// What a status shows is in the statement's zone, as its results are; and no rows still have columns.
#[test]
fn samples_have_the_statements_zone_and_no_rows_have_columns() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 3);
    let sql = "SELECT __time, MV_TO_ARRAY(k) AS a FROM numbers WHERE n = 1";
    let context = json!({"sqlTimeZone": "Asia/Kolkata", "sqlStringifyArrays": false});
    let id = post(&server, sql, context)["queryId"].as_str().unwrap().to_string();
    let row = json!(["1970-01-01T05:30:01.000+05:30", ["k1"]]);
    assert_eq!(wait(&server, &id)["result"]["sampleRecords"], json!([row]));
    assert_eq!(server.get(&format!("{PATH}/{id}/results")).body[1], row);

    let id = post(&server, "SELECT __time, n, k FROM numbers WHERE n < 0", json!({}))["queryId"].clone();
    let id = id.as_str().unwrap();
    let done = wait(&server, id);
    assert_eq!((&done["result"]["numTotalRows"], &done["result"]["pages"]), (&json!(0), &json!([])), "{done}");
    for page in ["", "&page=0"] {
        let url = format!("{}{PATH}/{id}/results?resultFormat=arrow{page}", server.base);
        let bytes = ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap();
        let mut reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
        let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["__time", "n", "k"]);
        assert!(reader.next().is_none());
    }
}

/// Rows that were made earlier are handed out to who would be shown the same rows now, and to nobody else: not to a token of
/// their owner that may not read, not by rules that have changed, not to who is out.
#[test]
fn rows_made_earlier_are_not_shown_by_other_rules_than_todays() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 2_500);
    let put = |path: &str, body: Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(&body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    let reads = json!([{"resource": {"type": "DATASOURCE", "name": "numbers"}, "action": "READ"},
        {"resource": {"type": "SYSTEM_TABLE", "name": "supervisors"}, "action": "READ"}]);
    put("/roles/reader", json!({"permissions": reads}));
    put("/roles/other", json!({}));
    let ann = json!({"password": "password of ann", "roles": ["reader", "other"]});
    put("/users/ann", ann.clone());
    let basic = format!("Basic {}", STANDARD.encode("ann:password of ann"));
    let ask = |who: &str, method: &str, path: &str, body: Option<Value>| {
        server.send(method, path, &[("Authorization", who)], body.as_ref())
    };
    let token = |roles: Value| {
        let made = ask(&basic, "POST", "/henge/v1/security/tokens", Some(json!({"roles": roles})));
        format!("Bearer {}", made.body["token"].as_str().unwrap_or_else(|| panic!("{}", made.body)))
    };
    let (narrow, reading) = (token(json!(["other"])), token(json!(["reader"])));

    let run = |sql: &str| {
        let body = json!({"query": sql, "context": {"executionMode": "ASYNC"}, "resultFormat": "array"});
        let id = ask(&basic, "POST", PATH, Some(body)).body["queryId"].as_str().unwrap().to_string();
        assert_eq!(wait(&server, &id)["state"], "SUCCESS");
        id
    };
    let shown = |who: &str, id: &str| {
        [format!("{PATH}/{id}"), format!("{PATH}/{id}/results")].map(|path| {
            let reply = ask(who, "GET", &path, None);
            let told = reply.body.to_string();
            assert_eq!(reply.status == 200, told.contains("k6"), "{told}");
            (reply.status, told)
        })
    };
    let both = |who: &str, id: &str, status: u16| {
        for (got, told) in shown(who, id) {
            assert_eq!(got, status, "{told}");
        }
    };
    let id = run("SELECT k, COUNT(*) FROM numbers GROUP BY 1");
    let lists = run("SELECT 'k6', COUNT(*) FROM sys.supervisors");
    for id in [&id, &lists] {
        both(&basic, id, 200);
        both(&narrow, id, 403);
    }
    both(&reading, &id, 200);
    both(&reading, &lists, 403);
    for (_, told) in shown(&narrow, &id) {
        assert!(!told.contains("numbers"), "a table that the token shows nothing of is named: {told}");
    }

    // The same by JDBC, whose connection is of the user, whatever the token.
    let avatica = |who: &str, body: Value| ask(who, "POST", "/druid/v2/sql/avatica/", Some(body));
    let open = |id: &str| {
        avatica(&basic, json!({"request": "openConnection", "connectionId": id, "info": {}}));
        let made = avatica(&basic, json!({"request": "createStatement", "connectionId": id}));
        let statement = made.body["statementId"].clone();
        let run = json!({"request": "prepareAndExecute", "connectionId": id, "statementId": statement,
            "sql": "SELECT n, k FROM numbers", "maxRowsInFirstFrame": 100, "maxRowsTotal": -1});
        assert_eq!(avatica(&basic, run).status, 200);
        json!({"request": "fetch", "connectionId": id, "statementId": statement, "offset": 100, "fetchMaxRowCount": 100})
    };
    let fetch = open("c");
    let refused = avatica(&narrow, fetch.clone());
    assert!(refused.body["errorMessage"].as_str().is_some_and(|why| why.contains("may not read")), "{}", refused.body);
    assert!(!refused.body.to_string().contains("numbers"), "{}", refused.body);
    assert_eq!(avatica(&reading, fetch).body["frame"]["rows"].as_array().map(Vec::len), Some(100));

    let fetch = open("d");
    let policy = json!([{"name": "some", "datasource": "numbers", "sql": "k = 'k1'"}]);
    put("/roles/reader", json!({"permissions": reads, "policies": policy}));
    for (status, told) in shown(&basic, &id) {
        assert_eq!(status, 403);
        let why = "the policies on [numbers] have changed since this statement ran; run it again";
        assert!(told.contains(why), "{told}");
    }
    let refused = avatica(&basic, fetch);
    assert!(refused.body["errorMessage"].as_str().is_some_and(|why| why.contains("have changed")), "{}", refused.body);
    // Who sees everything in any case is shown what others made.
    assert_eq!(server.get(&format!("{PATH}/{id}/results")).status, 200);
    put("/roles/reader", json!({"permissions": reads}));
    both(&basic, &id, 200);
    let mut disabled = ann;
    disabled["disabled"] = json!(true);
    put("/users/ann", disabled);
    both(&basic, &id, 401);
    // Whoever has the name next is somebody else.
    let gone = server.send("DELETE", "/henge/v1/security/users/ann", &[], None);
    assert_eq!(gone.status, 200, "{}", gone.body);
    put("/users/ann", json!({"password": "password of ann", "roles": ["reader", "other"]}));
    both(&basic, &id, 404);
    let own = run("SELECT k, COUNT(*) FROM numbers GROUP BY 1");
    both(&basic, &own, 200);
}

/// Whichever broker is asked, as a proxy in front of them will have it.
#[test]
fn every_broker_tells_of_statements_and_ends_them() {
    let Some(settings) = shared("statements") else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let _coordinator = start("c1", "coordinator");
    let (mut first, second) = (start("b1", "broker"), start("b2", "broker"));
    first.wait_healthy(Duration::from_secs(60));
    second.wait_healthy(Duration::from_secs(60));
    // As much work as ten thousand million rows are.
    let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let tables: Vec<String> = ('a'..='j').map(|name| format!("{digits} AS {name}(n)")).collect();
    let sum: Vec<String> = ('a'..='j').map(|name| format!("{name}.n")).collect();
    let long = format!("SELECT COUNT(*) FROM {} WHERE {} = 45", tables.join(", "), sum.join(" + "));
    let end = Instant::now() + Duration::from_secs(60);
    let running = |id: &str, of: &Server| loop {
        match of.get(&format!("{PATH}/{id}")).body["state"].as_str() {
            Some("RUNNING") => break,
            Some("ACCEPTED") if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            other => panic!("{other:?}"),
        }
    };

    post(&first, &long, json!({"sqlQueryId": "long"}));
    running("long", &first);
    running("long", &second);
    let again = json!({"query": "SELECT 1", "context": {"executionMode": "ASYNC", "sqlQueryId": "long"}});
    assert_eq!(second.post(PATH, &again).status, 400, "it is taken");
    assert_eq!(second.send("DELETE", &format!("{PATH}/long"), &[], None).status, 202);
    for broker in [&second, &first] {
        let ended = wait(broker, "long");
        assert_eq!(
            (&ended["state"], &ended["errorDetails"]["error"]),
            (&json!("FAILED"), &json!("Query cancelled")),
            "{ended}"
        );
    }

    post(&first, "SELECT 7 AS n", json!({"sqlQueryId": "short"}));
    assert_eq!(wait(&second, "short")["state"], "SUCCESS");
    assert_eq!(second.get(&format!("{PATH}/short/results")).body, json!([["n"], [7]]));

    // It ends with the process that runs it, and not before.
    post(&first, &long, json!({"sqlQueryId": "lost"}));
    running("lost", &second);
    first.kill();
    assert_eq!(wait(&second, "lost")["state"], "FAILED");
}
