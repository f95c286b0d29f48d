//! Saved queries and dashboards: whose they are, who sees and changes them, and what of them is refused.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Reply, Server, node, shared};

const QUERIES: &str = "/henge/v1/saved-queries";
const BOARDS: &str = "/henge/v1/dashboards";
const SECURITY: &str = "/henge/v1/security";

fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:a long password")))
}

fn ask(server: &Server, who: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
    server.send(method, path, &[("Authorization", &basic(who))], body)
}

fn done(server: &Server, who: &str, method: &str, path: &str, body: Value, status: u16) -> Value {
    let reply = ask(server, who, method, path, Some(&body).filter(|body| !body.is_null()));
    assert_eq!(reply.status, status, "{who}: {method} {path}: {}", reply.body);
    reply.body
}

fn admin(server: &Server, method: &str, path: &str, body: Value) {
    done(server, "admin", method, &format!("{SECURITY}{path}"), body, 200);
}

/// Ann and bob are analysts, carl is a guest.
fn server(dir: &std::path::Path) -> Server {
    let server = Server::start_with(dir, &[("auth.required", "true"), ("auth.first_password", "a long password")]);
    people(&server);
    server
}

fn people(server: &Server) {
    admin(server, "PUT", "/roles/reader", json!({}));
    admin(server, "PUT", "/roles/analyst", json!({"includes": ["reader"]}));
    admin(server, "PUT", "/roles/guest", json!({}));
    for (name, role) in [("ann", "analyst"), ("bob", "analyst"), ("carl", "guest")] {
        admin(server, "PUT", &format!("/users/{name}"), json!({"password": "a long password", "roles": [role]}));
    }
}

fn query(name: &str, with: &[&str]) -> Value {
    json!({"name": name, "description": "what it is for", "sharedWith": with,
        "content": {"language": "sql", "text": "SELECT 1", "context": {"sqlTimeZone": "Etc/UTC"}}})
}

fn names(server: &Server, who: &str, path: &str) -> Vec<String> {
    let list = done(server, who, "GET", path, Value::Null, 200);
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn what_is_kept_is_its_owners_and_seen_by_whom_it_is_shared_with() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let own = done(&server, "ann", "POST", QUERIES, query("Own", &[]), 201);
    let team = done(&server, "ann", "POST", QUERIES, query("for the team", &["analyst"]), 201);
    let readers = done(&server, "ann", "POST", QUERIES, query("all readers", &["reader"]), 201);
    assert_eq!(own["content"], query("", &[])["content"]);
    let told = [&own["owner"], &own["updatedBy"], &own["mayEdit"], &own["sharedWith"]];
    assert_eq!(told, [&json!("ann"), &json!("ann"), &json!(true), &json!([])], "{own}");
    assert_eq!(names(&server, "ann", QUERIES), ["all readers", "for the team", "Own"]);
    assert_eq!(names(&server, "bob", QUERIES), ["all readers", "for the team"]);
    assert!(names(&server, "carl", QUERIES).is_empty());
    assert_eq!(names(&server, "admin", QUERIES).len(), 3);
    assert!(names(&server, "ann", BOARDS).is_empty(), "the two are apart");
    let place = |of: &Value| format!("{QUERIES}/{}", of["id"].as_str().unwrap());

    // Who sees one and may not change it is told so; to who does not see it, it is not there.
    let seen = done(&server, "bob", "GET", &place(&team), Value::Null, 200);
    assert_eq!((&seen["mayEdit"], &seen["content"]), (&json!(false), &team["content"]));
    let mut change = query("changed", &["analyst"]);
    change["version"] = team["version"].clone();
    for (who, of, status) in [("bob", &team, 403), ("bob", &own, 404), ("carl", &team, 404)] {
        done(&server, who, "PUT", &place(of), change.clone(), status);
        done(&server, who, "DELETE", &place(of), Value::Null, status);
    }
    done(&server, "carl", "GET", &place(&team), Value::Null, 404);
    let absent = done(&server, "carl", "GET", &format!("{QUERIES}/nothing"), Value::Null, 404);
    assert_eq!(absent, json!({"error": "there is no saved query nothing"}));

    // One shares with what one has.
    let refused = done(&server, "bob", "POST", QUERIES, query("q", &["guest"]), 400);
    assert_eq!(refused["error"], "sharedWith: guest is not a role of yours");
    let none = done(&server, "bob", "POST", QUERIES, query("q", &["absent"]), 400);
    assert_eq!(none["error"], "sharedWith: absent is not a role of yours");
    // Who gives roles shares with any that there is, and changes what is of others; whose it is stays.
    done(&server, "admin", "POST", QUERIES, query("q", &["absent"]), 400);
    change["sharedWith"] = json!(["analyst", "guest"]);
    let changed = done(&server, "admin", "PUT", &place(&team), change.clone(), 200);
    assert_eq!(
        (&changed["owner"], &changed["updatedBy"], &changed["name"]),
        (&json!("ann"), &json!("admin"), &json!("changed"))
    );
    assert_eq!(names(&server, "carl", QUERIES), ["changed"]);

    // A version that is not any more.
    let stale = done(&server, "ann", "PUT", &place(&team), change.clone(), 409);
    assert!(stale["error"].as_str().unwrap().contains("changed meanwhile by admin"), "{stale}");
    change["version"] = changed["version"].clone();
    let again = done(&server, "ann", "PUT", &place(&team), change.clone(), 200);
    assert_eq!(again["sharedWith"], json!(["analyst", "guest"]), "what it was shared with already");
    done(&server, "ann", "DELETE", &format!("{}?version={}", place(&team), changed["version"]), Value::Null, 409);
    done(&server, "ann", "DELETE", &format!("{}?version={}", place(&team), again["version"]), Value::Null, 200);
    done(&server, "ann", "DELETE", &place(&team), Value::Null, 404);

    // A token acts by its roles; what is its owner's it sees.
    let token = json!({"label": "t", "roles": []});
    let made = done(&server, "bob", "POST", &format!("{SECURITY}/tokens"), token, 200);
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    done(&server, "bob", "POST", QUERIES, query("bob's", &[]), 201);
    let list = server.send("GET", QUERIES, &[("Authorization", &bearer)], None).body;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &json!("bob's")), "{list}");

    // It outlives the process.
    assert!(server.stop());
    let server = Server::start_with(dir.path(), &[("auth.required", "true")]);
    assert_eq!(done(&server, "ann", "GET", &place(&own), Value::Null, 200), own);
    assert_eq!(done(&server, "bob", "GET", &place(&readers), Value::Null, 200)["mayEdit"], json!(false));
}

#[test]
fn nobody_inherits_what_a_name_or_a_role_had() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let own = done(&server, "ann", "POST", QUERIES, query("own", &[]), 201);
    let team = done(&server, "ann", "POST", QUERIES, query("team", &["analyst"]), 201);
    let bobs = done(&server, "bob", "POST", QUERIES, query("bob's", &["analyst"]), 201);
    admin(&server, "DELETE", "/users/ann", Value::Null);
    admin(&server, "PUT", "/users/ann", json!({"password": "a long password", "roles": ["guest"]}));
    assert!(names(&server, "ann", QUERIES).is_empty());
    let place = |of: &Value| format!("{QUERIES}/{}", of["id"].as_str().unwrap());
    done(&server, "admin", "GET", &place(&own), Value::Null, 404);
    let kept = done(&server, "bob", "GET", &place(&team), Value::Null, 200);
    assert_eq!((&kept["owner"], &kept["mayEdit"]), (&Value::Null, &json!(false)));
    // As who has the name now and sees it: still not hers.
    admin(&server, "PUT", "/users/ann", json!({"roles": ["analyst"]}));
    let seen = done(&server, "ann", "GET", &place(&team), Value::Null, 200);
    assert_eq!((&seen["owner"], &seen["mayEdit"]), (&Value::Null, &json!(false)));
    done(&server, "ann", "DELETE", &place(&team), Value::Null, 403);

    // A role of the name that comes later is another. What nobody owns and nobody sees is gone with it.
    admin(&server, "DELETE", "/roles/analyst", Value::Null);
    admin(&server, "PUT", "/roles/analyst", json!({}));
    admin(&server, "PUT", "/users/ann", json!({"roles": ["analyst"]}));
    assert!(names(&server, "ann", QUERIES).is_empty());
    assert_eq!(done(&server, "bob", "GET", &place(&bobs), Value::Null, 200)["sharedWith"], json!([]));
    done(&server, "admin", "GET", &place(&team), Value::Null, 404);
}

#[test]
fn what_is_not_as_it_has_to_be_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let with = |field: &str, value: Value| {
        let mut query = query("q", &[]);
        query[field] = value;
        query
    };
    let board = json!({"range": "PT1H", "panels": [{"id": "a", "kind": "gauge"}]});
    for (path, body, names) in [
        (QUERIES, json!([]), "the body: must be an object"),
        (QUERIES, json!({"content": {}}), "name: is missing"),
        (QUERIES, json!({"name": "q"}), "content: is missing"),
        (QUERIES, with("name", json!(" ")), "name: must"),
        (QUERIES, with("name", json!("a\u{0}b")), "name: must"),
        (QUERIES, with("name", json!("n".repeat(201))), "name: must have 1 to 200 characters"),
        (QUERIES, with("description", json!(1)), "description: must be a string"),
        (QUERIES, with("sharedWith", json!("analyst")), "sharedWith: must be a list"),
        (QUERIES, with("sharedWith", json!([1])), "sharedWith[0]: must be a string"),
        (QUERIES, with("owner", json!("bob")), "owner: is not known"),
        (QUERIES, with("version", json!(7)), "version: is of a document that is changed"),
        (QUERIES, with("content", board.clone()), "content.range: is not known"),
        (
            QUERIES,
            with("content", json!({"language": "sql", "text": "é".repeat(140_000)})),
            "content: the document has",
        ),
        (BOARDS, with("content", board), "content.panels[0].kind: must be one of line, bar"),
    ] {
        let refused = done(&server, "ann", "POST", path, body, 400);
        assert!(refused["error"].as_str().unwrap().starts_with(names), "{names}: {refused}");
    }
    let made = done(&server, "ann", "POST", QUERIES, query("q", &[]), 201);
    let place = format!("{QUERIES}/{}", made["id"].as_str().unwrap());
    let refused = done(&server, "ann", "PUT", &place, query("q", &[]), 400);
    assert!(refused["error"].as_str().unwrap().starts_with("version: is missing"), "{refused}");
    // 8 MiB of one person, and 500: what is there already counts, whatever sort it is.
    let large = with("content", json!({"language": "sql", "text": "x".repeat(255 << 10)}));
    let mut kept = 0;
    while ask(&server, "ann", "POST", QUERIES, Some(&large)).status == 201 {
        kept += 1;
    }
    assert_eq!(kept, 32, "as many as fit");
    let full = done(&server, "ann", "POST", QUERIES, large.clone(), 409);
    assert!(full["error"].as_str().unwrap().contains("may have 8388608"), "{full}");
    done(&server, "bob", "POST", QUERIES, large, 201);
    let board = json!({"name": "b", "content": {"range": "P1D"}});
    for _ in 0..500 {
        done(&server, "carl", "POST", BOARDS, board.clone(), 201);
    }
    let full = done(&server, "carl", "POST", QUERIES, query("q", &[]), 409);
    assert!(full["error"].as_str().unwrap().contains("has 500 saved queries and dashboards"), "{full}");

    // Whoever did it is on record.
    let wanted = "SELECT \"user\", method, outcome FROM sys.audit WHERE kind = 'document' AND object = ";
    let id = made["id"].as_str().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let body = json!({"query": format!("{wanted}'{id}' ORDER BY __time"), "resultFormat": "array"});
        let rows = done(&server, "admin", "POST", "/druid/v2/sql", body, 200);
        if rows.as_array().unwrap().len() == 2 {
            assert_eq!(rows, json!([["ann", "POST", "ok"], ["ann", "PUT", "failed"]]));
            break;
        }
        assert!(Instant::now() < end, "{rows}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Any node takes them, the one that leads keeps them, and all tell the same.
#[test]
fn nodes_with_roles_pass_them_on_to_the_one_that_leads() {
    let Some(settings) = shared("saved") else { return };
    let dir = tempfile::tempdir().unwrap();
    let own = [("auth.required", "true"), ("auth.first_password", "a long password")];
    let start = |name: &str, roles: &str| node(dir.path(), name, &[&[("roles", roles)], &own[..]].concat(), &settings);
    let leader = start("c1", "coordinator");
    let (one, other) = (start("b1", "broker"), start("b2", "broker"));
    for node in [&leader, &one, &other] {
        node.wait_healthy(Duration::from_secs(60));
    }
    people(&one);
    let made = done(
        &one,
        "ann",
        "POST",
        BOARDS,
        json!({"name": "b", "content": {"range": "P1D"}, "sharedWith": ["analyst"]}),
        201,
    );
    let place = format!("{BOARDS}/{}", made["id"].as_str().unwrap());
    assert_eq!(done(&other, "bob", "GET", &place, Value::Null, 200)["content"], made["content"]);
    let mut change = json!({"name": "c", "content": {"range": "P2D"}, "version": made["version"]});
    let changed = done(&other, "ann", "PUT", &place, change.clone(), 200);
    change["name"] = json!("d");
    done(&one, "ann", "PUT", &place, change, 409);
    assert_eq!(done(&leader, "ann", "GET", &place, Value::Null, 200), changed);
    done(&one, "bob", "GET", &place, Value::Null, 404);
}
