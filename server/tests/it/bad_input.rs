//! Wrong specs, queries and paths: a clear error in Druid's shape, the field named, and the server goes on serving.

use serde_json::{Value, json};

use crate::harness::{Server, supervisor};

struct Case {
    path: &'static str,
    body: String,
    status: u16,
    /// Words the error must contain.
    words: &'static [&'static str],
}

fn case(path: &'static str, body: impl ToString, status: u16, words: &'static [&'static str]) -> Case {
    Case { path, body: body.to_string(), status, words }
}

#[test]
fn wrong_requests_get_errors_that_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let spec = |change: &dyn Fn(&mut Value)| {
        let mut spec = supervisor("bad", "bad", "127.0.0.1:1", json!({}), json!({}));
        change(&mut spec);
        spec
    };
    let native = "/druid/v2";
    let sql = "/druid/v2/sql";
    let supervisors = "/druid/indexer/v1/supervisor";
    let tasks = "/druid/indexer/v1/task";
    let series = |more: Value| {
        let mut query =
            json!({"queryType": "timeseries", "dataSource": "x", "granularity": "all", "intervals": ["2020/2021"]});
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        query
    };
    let cases = [
        case(native, "{not json", 400, &["Json parse failed"]),
        case(native, series(json!({"granularity": "fortnight"})), 400, &["granularity", "fortnight"]),
        case(native, series(json!({"intervals": ["yesterday"]})), 400, &["yesterday"]),
        case(
            native,
            series(json!({"filter": {"type": "equalz", "column": "a"}})),
            400,
            &["filter", "equalz", "equals"],
        ),
        case(
            native,
            series(json!({"aggregations": [{"type": "longSum", "name": "a"}]})),
            400,
            &["aggregations", "fieldName"],
        ),
        case(native, series(json!({"context": {"timeout": "soon"}})), 400, &["timeout"]),
        case(
            native,
            json!({"queryType": "timeseries", "dataSource": "x", "intervals": ["2020/2021"]}),
            400,
            &["granularity"],
        ),
        case(sql, json!({"query": "SELEC 1"}), 400, &["SELEC"]),
        case(sql, json!({"query": "SELECT nothing FROM nowhere"}), 400, &["nowhere"]),
        case(sql, json!({"query": ""}), 400, &["query"]),
        case(sql, "{", 400, &["JSON"]),
        case(supervisors, "{", 400, &[]),
        case(
            supervisors,
            spec(&|s| s["spec"]["dataSchema"]["timestampSpek"] = json!({})),
            400,
            &["timestampSpek", "timestampSpec"],
        ),
        case(supervisors, spec(&|s| s["spec"]["ioConfig"]["taskCount"] = json!("many")), 400, &["taskCount"]),
        case(supervisors, spec(&|s| s["spec"]["ioConfig"]["taskDuration"] = json!("an hour")), 400, &["taskDuration"]),
        case(
            supervisors,
            spec(&|s| s["spec"]["dataSchema"]["granularitySpec"]["segmentGranularity"] = json!("FORTNIGHT")),
            400,
            &["segmentGranularity", "FORTNIGHT"],
        ),
        case(supervisors, spec(&|s| s["spec"]["dataSchema"]["dataSource"] = json!("a/b")), 400, &["dataSource"]),
        case(tasks, json!({"type": "index_parallel", "spec": {}}), 400, &["dataSchema"]),
        case(tasks, json!({"type": "dance"}), 400, &["dance"]),
        case(tasks, json!({"type": "noop", "id": "../../../evil"}), 400, &["id", "must not start with a dot"]),
        case(tasks, json!({"type": "noop", "id": ".."}), 400, &["id", "must not start with a dot"]),
        case(tasks, json!({"type": "noop", "id": "a/b"}), 400, &["id", "must not contain a slash"]),
        case(tasks, json!({"type": "noop", "id": ""}), 400, &["id", "must not be empty"]),
        case(tasks, json!({"type": "noop", "id": 7}), 400, &["id must be a text"]),
        case(tasks, json!({"type": "noop", "dataSource": "a/b"}), 400, &["dataSource", "must not contain a slash"]),
    ];
    for case in cases {
        let reply = server.try_post(case.path, &case.body).unwrap();
        let text = reply.body.to_string();
        assert_eq!(reply.status, case.status, "{} {} answered {text}", case.path, case.body);
        assert!(reply.body.get("error").is_some(), "{} {} answered {text}", case.path, case.body);
        for word in case.words {
            assert!(text.contains(word), "{} {}: '{word}' is not in {text}", case.path, case.body);
        }
    }
    assert_eq!(server.get("/druid/indexer/v1/supervisor").body, json!([]), "no bad spec was kept");
    assert_eq!(server.get("/status/health").body, json!(true));
}

/// Statements that are long and not nested make trees as deep as they are long.
#[test]
fn long_chains_of_operators_leave_the_server_alive() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let dimensions = json!({"dimensions": ["u", {"type": "long", "name": "n"}]});
    server.load("w", "iso", dimensions, r#"{"t": "2026-01-01", "u": "id0", "n": 0}"#);
    let ask = |text: String| server.try_post("/druid/v2/sql", &json!({"query": text}).to_string()).unwrap();
    let any = (0..2_000).map(|n| format!("(u = 'id{n}' AND n = {n})")).collect::<Vec<_>>().join(" OR ");
    assert_eq!(ask(format!("SELECT COUNT(*) AS c FROM w WHERE {any}")).body, json!([{"c": 1}]));
    for (text, status) in [
        (vec!["SELECT 1"; 2_000].join(" UNION ALL "), 200),
        (vec!["SELECT 1"; 3_000].join(" UNION ALL "), 400),
        (format!("SELECT {} FROM w", vec!["n"; 20_000].join("+")), 400),
    ] {
        let start = text[..40].to_string();
        assert_eq!(ask(text).status, status, "{start}");
    }
    assert_eq!(server.get("/status/health").body, json!(true));
}

/// Clients of Druid write paths with a slash at the end and without.
#[test]
fn a_path_is_the_same_with_a_slash_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start(dir.path());
    open.load("t", "iso", json!({"dimensions": ["a"]}), r#"{"t": "2026-01-01", "a": "x"}"#);
    for path in ["/druid/v2/datasources", "/druid/v2/datasources/t", "/druid/indexer/v1/supervisor"] {
        assert_eq!(open.get(&format!("{path}/")).body, open.get(path).body, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    let closed = Server::start_with(dir.path(), &[("auth.required", "true")]);
    let mut routes = server::http::routes();
    routes.retain(|(_, path, _)| !path.starts_with("/arrow") && path != "/");
    for (method, path, _) in routes {
        let place = path.replace(['{', '}'], "");
        let status = |place: &str| closed.send(method.as_str(), place, &[], None).status;
        assert_eq!(status(&format!("{place}/")), status(&place), "{method} {path}");
    }
}

/// Nothing but JSON, also where nothing is.
#[test]
fn what_there_is_not_is_told_in_druids_shape() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (method, path, status) in [("GET", "/druid/v2/nothing/here", 404), ("PUT", "/druid/v2/sql", 405)] {
        let reply = server.send(method, path, &[], None);
        let message = reply.body["errorMessage"].as_str().unwrap_or_else(|| panic!("{path}: {}", reply.body));
        assert_eq!(reply.status, status, "{message}");
        assert!(message.contains(path) && reply.body["error"] == message, "{}", reply.body);
    }
}

/// What is refused before anything is looked at in it, too.
#[test]
fn bodies_that_are_too_long_or_no_statements_are_told_in_druids_shape() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [("query.body_max_bytes", "2000"), ("ingest.body_max_bytes", "3000")];
    let server = Server::start_with(dir.path(), &limits);
    let long = json!({"query": "x".repeat(4000)});
    for (path, setting) in [
        ("/druid/v2", "query.body_max_bytes"),
        ("/druid/v2/sql", "query.body_max_bytes"),
        ("/druid/v2/sql/avatica/", "query.body_max_bytes"),
        ("/druid/indexer/v1/task", "ingest.body_max_bytes"),
    ] {
        let reply = server.send("POST", path, &[], Some(&long));
        let message = reply.body["errorMessage"].as_str().unwrap_or_else(|| panic!("{path}: {}", reply.body));
        assert_eq!(reply.status, 413, "{path}: {message}");
        assert!(message.contains(setting) && reply.body["error"] == message, "{path}: {}", reply.body);
    }
    for path in ["/druid/v2/sql", "/druid/v2/sql/statements"] {
        let reply = server.try_post(path, "{").unwrap();
        assert_eq!(reply.status, 400, "{path}: {}", reply.body);
        let message = reply.body["errorMessage"].as_str().unwrap_or_else(|| panic!("{path}: {}", reply.body));
        assert!(message.starts_with("Malformed SQL query") && reply.body["error"] == message, "{path}: {message}");
    }
}

#[test]
fn a_broker_that_is_down_is_a_state_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let spec = supervisor("away", "away", "127.0.0.1:1", json!({"useEarliestOffset": true}), json!({}));
    server.post_ok("/druid/indexer/v1/supervisor", &spec);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(40);
    loop {
        let status = server.get("/druid/indexer/v1/supervisor/away/status").body;
        let state = status["payload"]["detailedState"].as_str().unwrap_or_default().to_string();
        let errors = status["payload"]["recentErrors"].as_array().map_or(0, Vec::len);
        if (state.contains("STREAM") || state.contains("UNHEALTHY")) && errors > 0 {
            return;
        }
        assert!(std::time::Instant::now() < end, "{status}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Of an answer that fails later nothing is sent before its second part is there.
#[test]
fn a_statement_that_fails_in_its_second_part_gets_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    // More than a scan gives at once, and more than goes out in one part. Of the other side nothing comes: of two that give rows at
    // once both could have sent a part before one of them fails.
    let lines: Vec<String> = (0..25_000).map(|n| json!({"t": n, "x": format!("a value {n}")}).to_string()).collect();
    server.load("many", "millis", json!({"dimensions": ["x"]}), &lines.join("\n"));
    let ask = |most: u64| {
        let text = "SELECT x FROM (SELECT x FROM many UNION ALL SELECT x FROM many WHERE x = 'none')";
        server.post(
            "/druid/v2/sql",
            &json!({"query": text, "resultFormat": "array", "header": true, "context": {"maxSubqueryRows": most}}),
        )
    };
    let refused = ask(22_000);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.body["error"], "Resource limit exceeded", "{}", refused.body);
    assert!(refused.body["errorMessage"].as_str().unwrap_or_default().contains("maxSubqueryRows"), "{}", refused.body);
    assert_eq!(ask(25_000).body.as_array().map(Vec::len), Some(25_001));
}
