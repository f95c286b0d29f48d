//! What the audit log has of sign-ins and denials, by whatever protocol they come.

use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tonic::transport::Endpoint;

use crate::harness::{Reply, Server, node, shared};

const ADMIN: &str = "the first password";
const ANN: &str = "a long password";
const SECURITY: &str = "/henge/v1/security";
const DENIED: &str = "SELECT * FROM sys.audit";

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn ask(server: &Server, authorization: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
    server.send(method, path, &[("Authorization", authorization)], body.as_ref())
}

/// A server that takes nobody without credentials, with the user `ann`, who may do nothing.
fn start(dir: &std::path::Path) -> Server {
    let server = Server::start_with(dir, &[("auth.required", "true"), ("auth.first_password", ADMIN)]);
    let body = Some(json!({"password": ANN}));
    let reply = ask(&server, &basic("admin", ADMIN), "PUT", &format!("{SECURITY}/users/ann"), body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    server
}

/// Some columns of what a filter leaves of the log, in the order of time, once there is so much.
fn seen(server: &Server, columns: &str, filter: &str, least: usize) -> Value {
    let text = format!("SELECT {columns} FROM sys.audit WHERE {filter} ORDER BY __time");
    let body = json!({"query": text, "resultFormat": "array"});
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask(server, &basic("admin", ADMIN), "POST", "/druid/v2/sql", Some(body.clone()));
        let rows = reply.body.as_array().map_or(0, Vec::len);
        if reply.status == 200 && rows >= least {
            return reply.body;
        }
        assert!(Instant::now() < end, "{filter}: {rows} of {least}: {}", reply.body);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns when all is in the log that was asked before.
fn settle(server: &Server, mark: &str) {
    let body = json!({"query": "SELECT 1", "context": {"sqlQueryId": mark}});
    assert_eq!(ask(server, &basic("admin", ADMIN), "POST", "/druid/v2/sql", Some(body)).status, 200);
    seen(server, "query_id", &format!("query_id = '{mark}'"), 1);
}

/// A password is looked at once, and then remembered: that once is a sign-in, whatever it came with.
#[test]
fn a_password_that_comes_with_a_look_is_a_sign_in() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let whoami = format!("{SECURITY}/whoami");
    for _ in 0..3 {
        assert_eq!(ask(&server, &basic("ann", ANN), "GET", &whoami, None).status, 200);
    }
    settle(&server, "looked");
    let columns = "\"user\", object, outcome, method, path";
    let signins = seen(&server, columns, "kind = 'signin' AND object = 'ann'", 1);
    assert_eq!(signins, json!([["ann", "ann", "ok", "GET", whoami]]));
}

#[test]
fn a_jdbc_connection_is_a_sign_in_and_its_denials_are_denials() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let send = |body: Value| server.send("POST", "/druid/v2/sql/avatica/", &[], Some(&body));
    let open = |connection: &str, password: &str| {
        let info = json!({"user": "ann", "password": password});
        send(json!({"request": "openConnection", "connectionId": connection, "info": info})).status
    };
    assert_eq!([open("c", "a wrong password"), open("c", ANN), open("d", ANN)], [401, 200, 200]);
    // The second had the password computed, the third remembered.
    let signins = seen(&server, "\"user\", outcome, status", "kind = 'signin' AND object = 'ann'", 3);
    assert_eq!(signins, json!([["anonymous", "denied", 401], ["ann", "ok", null], ["ann", "ok", 200]]));
    let asked = "kind = 'query' AND \"user\" <> 'admin'";
    assert_eq!(seen(&server, "path", asked, 0), json!([]), "they are no queries");

    let denied = send(json!({"request": "prepare", "connectionId": "c", "sql": DENIED, "maxRowsTotal": -1}));
    assert!(denied.status == 500 && denied.body.to_string().contains("may not"), "{}", denied.body);
    let made = send(json!({"request": "createStatement", "connectionId": "c"}));
    let run = json!({"request": "prepareAndExecute", "connectionId": "c", "statementId": made.body["statementId"],
        "sql": DENIED, "maxRowsInFirstFrame": 10, "maxRowsTotal": -1});
    assert_eq!(send(run).status, 500);
    let columns = "kind, \"user\", statement, query_type, outcome, error";
    let denials = seen(&server, columns, "\"user\" = 'ann' AND error = 'Denied'", 2);
    let expected = json!(["query", "ann", DENIED, "sql", "denied", "Denied"]);
    assert_eq!(denials, json!([expected, expected]));
}

#[test]
fn a_handshake_of_flight_is_a_sign_in_and_its_denials_are_denials() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(server.base.clone()).unwrap().connect().await.unwrap();
        let client = || FlightSqlServiceClient::new(channel.clone());
        assert!(client().handshake("ann", "a wrong password").await.is_err());
        // The first has the password computed, the second remembered.
        assert_eq!(client().handshake("ann", ANN).await.unwrap(), "ann");
        let mut ann = client();
        assert_eq!(ann.handshake("ann", ANN).await.unwrap(), "ann");
        assert!(ann.execute(DENIED.to_string(), None).await.is_err());
        assert!(ann.prepare(DENIED.to_string(), None).await.is_err());
    });
    let signins = seen(&server, "\"user\", outcome, path", "kind = 'signin' AND object = 'ann'", 3);
    let path = "/arrow.flight.protocol.FlightService/Handshake";
    assert_eq!(signins, json!([["anonymous", "denied", path], ["ann", "ok", path], ["ann", "ok", path]]));
    let denials = seen(&server, "kind, statement, outcome, error", "\"user\" = 'ann' AND kind <> 'signin'", 2);
    let expected = json!(["query", DENIED, "denied", "Denied"]);
    assert_eq!(denials, json!([expected, expected]));
}

/// A broker has the leader begin the session, and knows it at once.
#[test]
fn a_handshake_with_a_broker_begins_a_session_of_all_nodes() {
    let Some(mut settings) = shared("handshake") else { return };
    settings.extend([("auth.required", "true"), ("auth.first_password", ADMIN)].map(|(a, b)| (a.into(), b.into())));
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, roles: &str| node(dir.path(), name, &[("roles", roles)], &settings);
    let (leader, broker) = (start("c", "coordinator"), start("b", "broker"));
    [&leader, &broker].iter().for_each(|node| node.wait_healthy(Duration::from_secs(60)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(broker.base.clone()).unwrap().connect().await.unwrap();
        let client = || FlightSqlServiceClient::new(channel.clone());
        assert!(client().handshake("admin", "a wrong password").await.is_err());
        for _ in 0..10 {
            let mut admin = client();
            assert_eq!(admin.handshake("admin", ADMIN).await.unwrap(), "admin");
            let answer = admin.execute("SELECT 1 AS one".to_string(), None).await.unwrap();
            let ticket = answer.endpoint[0].ticket.clone().unwrap();
            let batches: Vec<_> = admin.do_get(ticket).await.unwrap().try_collect().await.unwrap();
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
        }
    });
}

/// Two tokens are told apart, and neither is told.
#[test]
fn events_name_tokens_by_their_ids_and_users_of_druids_paths_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let (admin, ann) = (basic("admin", ADMIN), basic("ann", ANN));
    let make = |who: &str, path: &str| {
        let reply = ask(&server, who, "POST", &format!("{SECURITY}{path}"), Some(json!({})));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let text = |name: &str| reply.body[name].as_str().unwrap().to_string();
        // So that their times say which was first.
        std::thread::sleep(Duration::from_millis(5));
        (text("id"), text("token"))
    };
    let made = [make(&ann, "/tokens"), make(&ann, "/tokens"), make(&admin, "/users/ann/tokens")];
    assert_eq!(ask(&server, &ann, "DELETE", &format!("{SECURITY}/tokens/{}", made[0].0), None).status, 200);
    let tokens = seen(&server, "object", "kind = 'token' AND outcome = 'ok'", 4);
    let of_ann = format!("ann/tokens/{}", made[2].0);
    assert_eq!(tokens, json!([[made[0].0], [made[1].0], [of_ann], [made[0].0]]));
    assert_ne!(made[0].0, made[1].0);
    let all = seen(&server, "*", "TRUE", 8).to_string();
    for (id, token) in &made {
        // A token is its id with a secret behind it.
        let secret = token.rsplit_once(id.as_str()).unwrap().1;
        assert!(secret.len() > 20 && !all.contains(secret));
    }

    let druid = |method: &str, path: &str| {
        let body = (method == "POST").then(|| json!({}));
        let reply = ask(&server, &admin, method, &format!("/druid-ext/basic-security{path}"), body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        std::thread::sleep(Duration::from_millis(5));
    };
    druid("POST", "/authentication/db/any/users/carl");
    druid("POST", "/authorization/db/any/roles/states");
    druid("POST", "/authorization/db/any/users/carl/roles/states");
    let changes = seen(&server, "kind, object", "outcome = 'ok' AND path LIKE '/druid-ext/%'", 3);
    assert_eq!(changes, json!([["user", "carl"], ["role", "states"], ["user", "carl"]]));
}
