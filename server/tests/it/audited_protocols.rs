//! What the audit log says requests were about.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

const ADMIN: &str = "the first password";
const ANN: &str = "a long password";
const SECURITY: &str = "/henge/v1/security";

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
