//! JDBC over the wire: what drivers send, in JSON, and the bounds that hold.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Reply, Server};

const PATH: &str = "/druid/v2/sql/avatica/";

/// A datasource `n` of so many rows, numbered in the order of time.
pub fn numbered(server: &Server, rows: usize) {
    let data: String = (0..rows).map(|n| format!("{{\"t\":{},\"n\":{n},\"k\":\"k{}\"}}\n", n * 1000, n % 7)).collect();
    server.load("numbers", "millis", json!({"dimensions": ["k", {"type": "long", "name": "n"}]}), &data);
}

fn call(server: &Server, body: Value) -> Reply {
    server.post(PATH, &body)
}

fn ok(server: &Server, body: Value) -> Value {
    let reply = call(server, body.clone());
    assert_eq!(reply.status, 200, "{body}: {}", reply.body);
    reply.body
}

fn refused(server: &Server, body: Value) -> (i64, String) {
    let reply = call(server, body);
    assert_eq!((reply.status, &reply.body["response"]), (500, &json!("error")), "{}", reply.body);
    (reply.body["errorCode"].as_i64().unwrap(), reply.body["errorMessage"].as_str().unwrap().to_string())
}

#[test]
fn frames_come_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 6_250);
    ok(&server, json!({"request": "openConnection", "connectionId": "c", "info": {"sqlTimeZone": "Asia/Kolkata"}}));
    let statement = ok(&server, json!({"request": "createStatement", "connectionId": "c"}))["statementId"].clone();
    let sql = "SELECT n, __time FROM numbers ORDER BY __time";
    let run = ok(
        &server,
        json!({"request": "prepareAndExecute", "connectionId": "c", "statementId": statement, "sql": sql,
            "maxRowsInFirstFrame": 1000, "maxRowsTotal": -1}),
    );
    let result = &run["results"][0];
    assert_eq!(
        result["signature"]["columns"][1]["type"],
        json!({"type": "scalar", "id": 93, "name": "TIMESTAMP",
        "rep": "NUMBER"})
    );
    let mut frame = result["firstFrame"].clone();
    let mut seen = 0;
    let fetch = |offset: u64| {
        json!({"request": "fetch", "connectionId": "c", "statementId": statement, "offset": offset,
            "fetchMaxRowCount": 2000})
    };
    loop {
        assert_eq!(frame["offset"], seen);
        for row in frame["rows"].as_array().unwrap() {
            // Instants are those of the connection's clock: India is 5 hours and a half ahead.
            assert_eq!(*row, json!([seen, seen * 1000 + 19_800_000]));
            seen += 1;
        }
        if frame["done"] == true {
            break;
        }
        let (_, message) = refused(&server, fetch(seen + 1));
        assert!(message.contains("offset"), "{message}");
        frame = ok(&server, fetch(seen))["frame"].clone();
    }
    assert_eq!(seen, 6_250);
    // Past the end there is nothing, and it says so.
    assert_eq!(ok(&server, fetch(seen))["frame"], json!({"offset": seen, "done": true, "rows": []}));
    ok(&server, json!({"request": "closeStatement", "connectionId": "c", "statementId": statement}));
    assert_eq!(ok(&server, fetch(seen))["missingStatement"], true);
}

/// Instants within arrays are those of the connection's clock too, and no limit is said in two ways.
#[test]
fn arrays_have_the_connections_time_and_zero_is_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 3);
    ok(&server, json!({"request": "openConnection", "connectionId": "c", "info": {"sqlTimeZone": "Asia/Kolkata"}}));
    let statement = ok(&server, json!({"request": "createStatement", "connectionId": "c"}))["statementId"].clone();
    let run = |sql: &str, most: i64| {
        let run = ok(
            &server,
            json!({"request": "prepareAndExecute", "connectionId": "c", "statementId": statement, "sql": sql,
                "maxRowsInFirstFrame": -1, "maxRowsTotal": most}),
        );
        run["results"][0]["firstFrame"]["rows"].clone()
    };
    let shifted = |n: i64| json!(n * 1000 + 19_800_000);
    assert_eq!(
        run("SELECT ARRAY_AGG(__time) FROM numbers", -1)[0][0].as_array().map(|all| all.contains(&shifted(2))),
        Some(true)
    );
    let all = json!([[0], [1], [2]]);
    let sql = "SELECT n FROM numbers ORDER BY __time";
    assert_eq!((run(sql, 0), run(sql, -1), run(sql, 2)), (all.clone(), all, json!([[0], [1]])));
}

#[test]
fn parameters_have_the_types_of_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    numbered(&server, 100);
    ok(&server, json!({"request": "openConnection", "connectionId": "c", "info": {}}));
    let sql = "SELECT COUNT(*) FROM numbers WHERE k = ? AND n >= ?";
    let handle =
        ok(&server, json!({"request": "prepare", "connectionId": "c", "sql": sql, "maxRowsTotal": -1}))["statement"]
            .clone();
    let types: Vec<&Value> =
        handle["signature"]["parameters"].as_array().unwrap().iter().map(|of| &of["typeName"]).collect();
    assert_eq!(types, ["VARCHAR", "BIGINT"]);
    for (k, n, expected) in [("k3", 0, 14), ("k3", 52, 7), ("none", 0, 0)] {
        let run = ok(
            &server,
            json!({"request": "execute", "statementHandle": handle, "maxRowsInFirstFrame": -1, "parameterValues": [
                {"type": "STRING", "value": k}, {"type": "LONG", "value": n}]}),
        );
        assert_eq!(run["results"][0]["firstFrame"]["rows"], json!([[expected]]));
    }
    let (_, message) = refused(
        &server,
        json!({"request": "execute", "statementHandle": handle, "parameterValues": [{"type": "STRING", "value": "x"}]}),
    );
    assert!(message.contains("2 parameter marks"), "{message}");
}

#[test]
fn connections_and_statements_are_bounded_and_idle_ones_closed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("sql.jdbc_connections_max", "2"), ("sql.jdbc_statements_max", "2"), ("sql.jdbc_idle_ms", "1500")];
    let server = Server::start_with(dir.path(), &settings);
    let open = |id: &str| json!({"request": "openConnection", "connectionId": id, "info": {}});
    ok(&server, open("a"));
    assert!(refused(&server, open("a")).1.contains("already open"));
    ok(&server, open("b"));
    assert!(refused(&server, open("c")).1.contains("sql.jdbc_connections_max"));
    let create = json!({"request": "createStatement", "connectionId": "a"});
    let first = ok(&server, create.clone())["statementId"].clone();
    ok(&server, create.clone());
    assert!(refused(&server, create.clone()).1.contains("sql.jdbc_statements_max"));
    ok(&server, json!({"request": "closeStatement", "connectionId": "a", "statementId": first}));
    ok(&server, create.clone());

    let end = Instant::now() + Duration::from_secs(30);
    while call(&server, open("c")).status != 200 {
        assert!(Instant::now() < end, "idle connections are not closed");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Only one of the two need have been idle for long enough; asking would keep it open.
    std::thread::sleep(Duration::from_secs(5));
    // The code by which drivers know to open it again.
    assert_eq!(refused(&server, create).0, 1);
}

#[test]
fn bad_requests_are_refused_in_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for body in ["", "{", "[]", "{\"request\": 7}", "\u{0}"] {
        let reply = server.try_post(PATH, body).unwrap();
        assert_eq!((reply.status, &reply.body["response"]), (500, &json!("error")), "{body:?}: {}", reply.body);
    }
    assert!(refused(&server, json!({"request": "prepareAndExecuteBatch"})).1.contains("Batch"));
    ok(&server, json!({"request": "openConnection", "connectionId": "c", "info": {}}));
    let sql = json!({"request": "prepare", "connectionId": "c", "sql": "SELECT nope FROM numbers"});
    assert!(refused(&server, sql).1.contains("numbers"));
    assert_eq!(server.get(PATH).status, 405);
}
