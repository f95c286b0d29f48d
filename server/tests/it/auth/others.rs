//! What belongs to somebody else: it is neither told of, nor taken over, nor ended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ADMIN, REQUIRED, admin, ask, basic, ok, role, user};
use crate::harness::Server;
use crate::jdbc::numbered;

#[test]
fn what_others_have_is_neither_listed_nor_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 100);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    role(&server, "elsewhere", &[("DATASOURCE", "other.*", "READ"), ("DATASOURCE", "other.*", "WRITE")]);
    user(&server, "ann", json!({"password": "ann's own", "roles": ["reader"]}));
    user(&server, "bob", json!({"password": "bob's own", "roles": ["elsewhere"]}));
    let (ann, bob) = (basic("ann", "ann's own"), basic("bob", "bob's own"));
    let task =
        ok(&server, &admin(), "GET", "/druid/indexer/v1/tasks", Value::Null)[0]["id"].as_str().unwrap().to_string();
    let segments = "/druid/coordinator/v1/metadata/datasources/numbers/segments";
    let segment = ok(&server, &ann, "GET", segments, Value::Null)[0].as_str().unwrap().to_string();

    for path in [
        "/druid/coordinator/v1/datasources",
        "/druid/coordinator/v1/metadata/datasources",
        "/druid/coordinator/v1/metadata/segments",
        "/druid/coordinator/v1/datasources?full",
        "/druid/coordinator/v1/datasources?simple",
        "/druid/coordinator/v1/loadstatus",
    ] {
        let (seen, hidden) = (ask(&server, &ann, "GET", path, None), ask(&server, &bob, "GET", path, None));
        assert!(seen.status == 200 && seen.body.to_string().contains("numbers"), "{path}: {}", seen.body);
        assert!(hidden.status == 200 && !hidden.body.to_string().contains("numbers"), "{path}: {}", hidden.body);
    }
    for path in ["/druid/indexer/v1/tasks", "/druid/indexer/v1/completeTasks", "/druid/indexer/v1/supervisor?full"] {
        assert_eq!(ask(&server, &bob, "GET", path, None).body, json!([]), "{path}");
    }
    let statuses = ask(&server, &bob, "POST", "/druid/indexer/v1/taskStatus", Some(&json!([task])));
    assert_eq!(statuses.body, json!({}));
    for path in [
        format!("/druid/indexer/v1/task/{task}"),
        format!("/druid/indexer/v1/task/{task}/status"),
        format!("/druid/indexer/v1/task/{task}/reports"),
        segments.to_string(),
        format!("{segments}/{segment}"),
        "/druid/coordinator/v1/datasources/numbers".to_string(),
        "/metrics".to_string(),
        "/status/properties".to_string(),
    ] {
        assert_eq!(ask(&server, &bob, "GET", &path, None).status, 403, "{path}");
    }
    // A segment is not found by way of a datasource that one may read.
    role(&server, "elsewhere", &[("DATASOURCE", "other.*", "READ"), ("DATASOURCE", "other.*", "WRITE")]);
    let aside = format!("/druid/coordinator/v1/metadata/datasources/other/segments/{segment}");
    assert_eq!(ask(&server, &bob, "GET", &aside, None).status, 404);

    // What is written is one's own, and files of the machine are not.
    let spec = |datasource: &str, source: Value| {
        json!({"type": "index_parallel", "spec": {
        "dataSchema": {"dataSource": datasource, "timestampSpec": {"column": "t", "format": "millis"},
            "dimensionsSpec": {"dimensions": ["k"]}},
        "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"}, "inputSource": source}}})
    };
    let inline = json!({"type": "inline", "data": "{\"t\":0,\"k\":\"x\"}"});
    let local = json!({"type": "local", "baseDir": dir.path(), "filter": "*"});
    let post = |who: &str, spec: &Value| ask(&server, who, "POST", "/druid/indexer/v1/task", Some(spec)).status;
    // Nor is anything looked at that could not be ingested.
    let look = |who: &str, spec: &Value| ask(&server, who, "POST", "/druid/indexer/v1/sampler", Some(spec)).status;
    let sampled =
        [(&ann, "numbers", &inline), (&bob, "numbers", &inline), (&bob, "other", &local), (&bob, "other", &inline)];
    let statuses = sampled.map(|(who, datasource, source)| look(who, &spec(datasource, source.clone())));
    assert_eq!(statuses, [403, 403, 403, 200]);
    assert_eq!(post(&bob, &spec("numbers", inline.clone())), 403);
    assert_eq!(post(&ann, &spec("numbers", inline.clone())), 403);
    assert_eq!(post(&bob, &spec("other", inline)), 200);
    assert_eq!(post(&bob, &spec("other", local)), 403);
    let supervisor = crate::harness::supervisor("other", "t", "127.0.0.1:1", json!({}), json!({"type": "kafka"}));
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor", Some(&supervisor)).status, 403);
    assert_eq!(look(&bob, &supervisor), 403);
    role(&server, "elsewhere", &[("DATASOURCE", "other.*", "WRITE"), ("EXTERNAL", "kafka:t", "READ")]);
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor", Some(&supervisor)).status, 200);
    assert_eq!(ask(&server, &ann, "GET", "/druid/indexer/v1/supervisor/other", None).status, 403);
    assert_eq!(ask(&server, &ann, "GET", "/druid/indexer/v1/supervisor/other/history", None).status, 404);
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor/suspendAll", None).status, 200);
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor/other/terminate", None).status, 200);
    // A password of the stream is not told to anybody, and survives that.
    let secret = json!({"bootstrap.servers": "127.0.0.1:1", "sasl.password": "xyzzy"});
    let mut secretive =
        crate::harness::supervisor("other", "t", "127.0.0.1:1", json!({"consumerProperties": secret}), json!({}));
    ok(&server, &admin(), "POST", "/druid/indexer/v1/supervisor", secretive.clone());
    let root = "/druid/indexer/v1/supervisor";
    for path in ["/other", "?full", "?system", "/other/history", "/history", "/other/status"] {
        let told = ok(&server, &admin(), "GET", &format!("{root}{path}"), Value::Null).to_string();
        assert!(!told.contains("xyzzy"), "{path}: {told}");
    }
    let told = ok(&server, &admin(), "POST", "/druid/v2/sql", json!({"query": "SELECT spec FROM sys.supervisors"}));
    assert!(told.to_string().contains("(hidden)") && !told.to_string().contains("xyzzy"), "{told}");
    let shown = ok(&server, &admin(), "GET", &format!("{root}/other"), Value::Null);
    assert_eq!(ask(&server, &admin(), "POST", root, Some(&shown)).status, 200);
    secretive["spec"]["ioConfig"]["consumerProperties"] =
        json!({"bootstrap.servers": "evil.example:1", "sasl.password": "(hidden)"});
    assert_eq!(ask(&server, &admin(), "POST", root, Some(&secretive)).status, 400);
    let provider = json!({"type": "mapString", "config": {"bootstrap.servers": "evil.example:1"}});
    secretive["spec"]["ioConfig"]["consumerProperties"] = json!({"bootstrap.servers": "127.0.0.1:1", "sasl.password": "(hidden)", "druid.dynamic.config.provider": provider});
    let refused = ask(&server, &admin(), "POST", root, Some(&secretive));
    assert!(refused.status == 400 && refused.body.to_string().contains("bootstrap.servers"), "{}", refused.body);
    ok(&server, &admin(), "POST", &format!("{root}/other/terminate"), Value::Null);
    // An id that is another's supervisor is not taken over.
    let mut taken = crate::harness::supervisor("numbers", "t", "127.0.0.1:1", json!({}), json!({}));
    taken["id"] = json!("shared");
    taken["spec"]["ioConfig"]["useEarliestOffset"] = json!(true);
    ok(&server, &admin(), "POST", "/druid/indexer/v1/supervisor", taken.clone());
    taken["spec"]["dataSchema"]["dataSource"] = json!("other");
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor", Some(&taken)).status, 403);

    // Statements, connections and handles are those of who made them, also after a restart.
    let statement = json!({"query": "SELECT COUNT(*) FROM numbers", "context": {"executionMode": "ASYNC"}});
    let posted = ok(&server, &ann, "POST", "/druid/v2/sql/statements", statement);
    let path = format!("/druid/v2/sql/statements/{}", posted["queryId"].as_str().unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    while ok(&server, &ann, "GET", &path, Value::Null)["state"] != json!("SUCCESS") {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    let of_bob = |server: &Server| {
        [("GET", path.clone()), ("GET", format!("{path}/results")), ("DELETE", path.clone())]
            .map(|(method, path)| ask(server, &bob, method, &path, None).status)
    };
    assert_eq!(of_bob(&server), [404, 404, 404]);
    let avatica = |who: Option<&str>, body: Value| {
        let headers: Vec<(&str, &str)> = who.map(|who| ("Authorization", who)).into_iter().collect();
        server.send("POST", "/druid/v2/sql/avatica/", &headers, Some(&body))
    };
    let create = json!({"request": "createStatement", "connectionId": "c"});
    assert_eq!(avatica(Some(&ann), json!({"request": "openConnection", "connectionId": "c", "info": {}})).status, 200);
    assert_eq!(avatica(Some(&ann), create.clone()).status, 200);
    let missing = avatica(Some(&bob), create.clone());
    assert_eq!((missing.status, &missing.body["errorCode"]), (500, &json!(1)), "{}", missing.body);
    assert_eq!(avatica(None, create.clone()).status, 401);
    // A name and a password as properties of the connection, as some drivers send them.
    let info = |password: &str| {
        json!({"request": "openConnection", "connectionId": "d",
        "info": {"user": "ann", "password": password}})
    };
    assert_eq!(avatica(None, info("wrong password")).status, 401);
    assert_eq!(avatica(None, info("ann's own")).status, 200);
    let create = json!({"request": "createStatement", "connectionId": "d"});
    let made = avatica(None, create.clone());
    assert_eq!(made.status, 200, "{}", made.body);
    let run = json!({"request": "prepareAndExecute", "connectionId": "d", "statementId": made.body["statementId"],
        "sql": "SELECT COUNT(*) FROM numbers", "maxRowsTotal": -1});
    assert_eq!(avatica(None, run).body["results"][0]["firstFrame"]["rows"], json!([[100]]));
    assert_eq!(avatica(Some(&bob), create.clone()).status, 500);
    user(&server, "ann", json!({"roles": ["reader"], "disabled": true}));
    assert_eq!(avatica(None, create).status, 401, "a disabled user's connection");
    user(&server, "ann", json!({"roles": ["reader"]}));

    assert!(server.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    assert_eq!(of_bob(&server), [404, 404, 404]);
    assert_eq!(ask(&server, &ann, "GET", &format!("{path}/results"), None).status, 200, "users outlive a restart");
}

/// An id of a client's choice tells nothing of what others have, and gives nothing of it.
#[test]
fn an_id_that_somebody_else_has_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    let who = ["ann", "bob"].map(|name| {
        user(&server, name, json!({"password": format!("{name}'s own")}));
        (name, basic(name, &format!("{name}'s own")))
    });
    const STATEMENTS: &str = "/druid/v2/sql/statements";
    let body = |name: &str| {
        json!({"query": format!("SELECT '{name}' AS who"), "resultFormat": "array",
            "context": {"executionMode": "ASYNC", "sqlQueryId": "same"}})
    };
    for (name, authorization) in &who {
        let accepted = ok(&server, authorization, "POST", STATEMENTS, body(name));
        assert_eq!(accepted["queryId"], "same", "{accepted}");
    }
    for (name, authorization) in &who {
        let end = Instant::now() + Duration::from_secs(30);
        while ok(&server, authorization, "GET", &format!("{STATEMENTS}/same"), Value::Null)["state"] != "SUCCESS" {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(20));
        }
        let results = ok(&server, authorization, "GET", &format!("{STATEMENTS}/same/results"), Value::Null);
        assert_eq!(results, json!([[name]]));
        let again = ask(&server, authorization, "POST", STATEMENTS, Some(&body(name)));
        assert!(again.status == 400 && again.body.to_string().contains("of yours"), "{}", again.body);
    }
    assert_eq!(ask(&server, &admin(), "GET", &format!("{STATEMENTS}/same/results"), None).status, 200);
    for strange in ["..%2Fsame", "%2E%2E", "a%2Fstatus"] {
        assert_eq!(
            ask(&server, &admin(), "GET", &format!("{STATEMENTS}/{strange}/results"), None).status,
            404,
            "{strange}"
        );
    }

    // By headers, connections are their users'; by a password, their ids are known to whoever opens them.
    let avatica = |headers: &[(&str, &str)], info: Value| {
        let body = json!({"request": "openConnection", "connectionId": "same", "info": info});
        server.send("POST", "/druid/v2/sql/avatica/", headers, Some(&body))
    };
    let mut told = Vec::new();
    for (name, authorization) in &who {
        assert_eq!(avatica(&[("Authorization", authorization)], json!({})).status, 200, "{name}");
        for _ in 0..2 {
            let reply = avatica(&[], json!({"user": name, "password": format!("{name}'s own")}));
            told.push((reply.status, reply.body["errorMessage"].clone()));
        }
    }
    // The first had it opened; who comes then is told the same of its own and of another's.
    assert_eq!((told[0].0, told[1].0), (200, 500), "{told:?}");
    assert!(told[1..].iter().all(|reply| *reply == told[1]), "{told:?}");
    assert!(!told[1].1.to_string().contains("already"), "{told:?}");
}

#[test]
fn a_query_is_ended_by_who_asked_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 50_000);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    role(&server, "operator", &[("STATE", "STATE", "WRITE")]);
    for (name, role) in [("ann", "reader"), ("bob", "reader"), ("opal", "operator")] {
        user(&server, name, json!({"password": "a long password", "roles": [role]}));
    }
    let of = |name: &str| basic(name, "a long password");
    for who in ["ann", "opal"] {
        let endless = json!({"query": "SELECT COUNT(*) FROM numbers a, numbers b WHERE a.n + b.n < 0",
            "context": {"sqlQueryId": "endless"}});
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&server, &of("ann"), "POST", "/druid/v2/sql", Some(&endless)));
            let end = Instant::now() + Duration::from_secs(30);
            loop {
                assert_eq!(ask(&server, &of("bob"), "DELETE", "/druid/v2/sql/endless", None).status, 404);
                assert_eq!(ask(&server, &of("bob"), "DELETE", "/druid/v2/endless", None).status, 202);
                std::thread::sleep(Duration::from_millis(200));
                assert!(!asked.is_finished(), "another ended it: {}", asked.join().unwrap().body);
                if ask(&server, &of(who), "DELETE", "/druid/v2/sql/endless", None).status == 202 {
                    break;
                }
                assert!(Instant::now() < end);
            }
            let answer = asked.join().unwrap();
            assert!(answer.status >= 400 && answer.body.to_string().contains("cancel"), "{}", answer.body);
        });
    }
}
