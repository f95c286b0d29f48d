//! Who comes in and what they may do, each part of it in a file.

mod guessing;
mod held_back;
mod late;
mod open_port;
mod others;
mod pages;
mod permissions;
mod sign_in;
mod whole;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

const ADMIN: &str = "the first password";
const SECURITY: &str = "/henge/v1/security";

const REQUIRED: &[(&str, &str)] = &[("auth.required", "true"), ("auth.first_password", ADMIN)];

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn admin() -> String {
    basic("admin", ADMIN)
}

/// A request under an `Authorization`.
fn ask(server: &Server, authorization: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
    server.send(method, path, &[("Authorization", authorization)], body)
}

fn ok(server: &Server, authorization: &str, method: &str, path: &str, body: Value) -> Value {
    let reply = ask(server, authorization, method, path, Some(&body).filter(|body| !body.is_null()));
    assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
    reply.body
}

fn user(server: &Server, name: &str, document: Value) {
    ok(server, &admin(), "PUT", &format!("{SECURITY}/users/{name}"), document);
}

fn role(server: &Server, name: &str, permissions: &[(&str, &str, &str)]) {
    let permissions: Vec<Value> = permissions
        .iter()
        .map(|(kind, name, action)| json!({"resource": {"type": kind, "name": name}, "action": action}))
        .collect();
    ok(server, &admin(), "PUT", &format!("{SECURITY}/roles/{name}"), json!({"permissions": permissions}));
}

fn whoami(server: &Server, authorization: &str) -> Reply {
    ask(server, authorization, "GET", &format!("{SECURITY}/whoami"), None)
}
