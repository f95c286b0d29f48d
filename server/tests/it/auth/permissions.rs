//! What roles permit: the needs of every route, and how roles and users are kept.

use serde_json::{Value, json};
use server::http::auth::Need;

use super::{REQUIRED, SECURITY, admin, ask, basic, ok, role, user};
use crate::harness::Server;

/// A path of a route, with something for each of its parameters.
fn path_of(route: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "some-thing".to_string() } else { part.to_string() };
    route.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Generated from the table of routes: a route that is added is tried.
#[test]
fn no_route_answers_without_credentials_and_none_gives_what_was_not_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    user(&server, "nobody", json!({"password": "no role at all"}));
    let nobody = basic("nobody", "no role at all");
    user(&server, "somebody", json!({"email": "else@example.com"}));
    let routes = server::http::routes();
    let open = [
        "/status/health",
        "/status/ready",
        "/status/selfDiscovered",
        "/status/selfDiscovered/status",
        "/druid/broker/v1/readiness",
        "/druid/historical/v1/readiness",
        "/druid/coordinator/v1/isLeader",
        "/druid/indexer/v1/isLeader",
        "/henge/v1/security/login",
    ];
    // The files of the console, which a binary may be without.
    let pages = ["/", "/unified-console.html", "/console", "/console/{*path}"];
    for (method, path, need) in &routes {
        let is_open = open.iter().chain(&pages).any(|open| open == path);
        assert_eq!(*need == Need::Open, is_open, "{method} {path}: open routes are told here");
        if pages.contains(&path.as_str()) {
            let status = server.send(method.as_str(), &path_of(path), &[], None).status;
            assert!(matches!(status, 200 | 404), "{method} {path}: {status}");
            continue;
        }
        let (place, body) = (path_of(path), json!({}));
        let body = Some(&body).filter(|_| method.as_str() != "GET");
        let status = server.send(method.as_str(), &place, &[], body).status;
        let expected = if path.ends_with("/login") { 400 } else { 200 };
        assert_eq!(status, if *need == Need::Open { expected } else { 401 }, "{method} {path} without credentials");
        if *need == Need::Open {
            continue;
        }
        let wrong = ask(&server, "Bearer henge_00_00", method.as_str(), &place, body).status;
        assert_eq!(wrong, 401, "{method} {path} with a wrong token");
        let reply = ask(&server, &nobody, method.as_str(), &place, body);
        match need {
            Need::May(..) | Need::Whole(..) | Need::Retention(..) => {
                let denied = json!({"Access-Check-Result": "Unauthorized"});
                assert_eq!((reply.status, &reply.body), (403, &denied), "{method} {path}");
            }
            _ => {
                assert!(reply.status < 500 || path.contains("avatica"), "{method} {path}: {}", reply.body);
                let told = reply.body.to_string();
                assert!(!told.contains("else@example.com"), "{method} {path}: {told}");
            }
        }
    }
    for (method, path) in [("GET", "/nothing"), ("GET", "/druid/v3"), ("DELETE", "/druid/v2"), ("PATCH", "/status")] {
        assert_eq!(server.send(method, path, &[], None).status, 401, "{method} {path}");
    }
    assert_eq!(ask(&server, &nobody, "GET", "/druid/v3", None).status, 404);
}

#[test]
fn roles_and_users_are_checked_and_the_last_administrator_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    let put = |path: &str, headers: &[(&str, &str)], body: Value| {
        let authorization = admin();
        let headers = [&[("Authorization", authorization.as_str())], headers].concat();
        server.send("PUT", &format!("{SECURITY}{path}"), &headers, Some(&body))
    };
    let refused = |path: &str, body: Value, status: u16, says: &str| {
        let reply = put(path, &[], body);
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(reply.body["error"].as_str().unwrap().contains(says), "{path}: {}", reply.body);
    };
    refused("/users/ann", json!({"roles": ["absent"]}), 400, "absent");
    refused("/users/ann", json!({"rolls": []}), 400, "rolls");
    refused("/users/ann", json!({"password": "short"}), 400, "password");
    refused("/users/anonymous", json!({}), 400, "anonymous");
    refused("/users/a:b", json!({}), 400, "name");
    refused("/users/admin", json!({"roles": ["admin"], "disabled": true}), 409, "last");
    refused("/users/admin", json!({}), 409, "last");
    refused("/roles/admin", json!({}), 400, "built in");
    refused("/roles/one", json!({"includes": ["two"]}), 400, "two");
    refused(
        "/roles/one",
        json!({"permissions": [{"resource": {"type": "DATASOURCE", "name": "("}, "action": "READ"}]}),
        400,
        "(",
    );
    assert_eq!(ask(&server, &admin(), "DELETE", &format!("{SECURITY}/users/admin"), None).status, 409);
    // Who cannot sign in is nobody to leave it to: who has no password, and who is no person.
    assert_eq!(put("/users/eve", &[], json!({"roles": ["admin"]})).status, 200);
    assert_eq!(put("/users/robot", &[], json!({"roles": ["admin"], "kind": "service"})).status, 200);
    for locked_out in
        [json!({}), json!({"roles": ["admin"], "kind": "service"}), json!({"roles": ["admin"], "disabled": true})]
    {
        refused("/users/admin", locked_out, 409, "last");
    }
    assert_eq!(ask(&server, &admin(), "DELETE", &format!("{SECURITY}/users/admin"), None).status, 409);
    assert_eq!(put("/users/eve", &[], json!({})).status, 200, "who never could sign in is missed by nobody");
    user(&server, "eve", json!({"roles": ["admin"], "password": "eve's own"}));
    assert_eq!(put("/users/eve", &[], json!({"roles": ["admin"]})).status, 200);
    assert_eq!(
        ask(&server, &basic("eve", "eve's own"), "PUT", &format!("{SECURITY}/users/admin"), Some(&json!({}))).status,
        200
    );
    let last = ask(&server, &basic("eve", "eve's own"), "DELETE", &format!("{SECURITY}/users/eve"), None);
    assert_eq!(last.status, 409, "{}", last.body);
    let back = ask(
        &server,
        &basic("eve", "eve's own"),
        "PUT",
        &format!("{SECURITY}/users/admin"),
        Some(&json!({"roles": ["admin"]})),
    );
    assert_eq!(back.status, 200, "{}", back.body);
    // A circle is refused, and nothing of it is kept.
    assert_eq!(put("/roles/two", &[], json!({})).status, 200);
    assert_eq!(put("/roles/one", &[], json!({"includes": ["two"]})).status, 200);
    assert_eq!(put("/roles/two", &[], json!({"includes": ["one"]})).status, 400);
    assert_eq!(
        ok(&server, &admin(), "GET", &format!("{SECURITY}/roles/two"), Value::Null)["document"]["includes"],
        json!([])
    );

    // Compare and set.
    let first = put("/users/ann", &[("If-None-Match", "*")], json!({"roles": ["two"]}));
    assert_eq!(first.status, 200);
    let tag = first.headers["etag"].to_str().unwrap().to_string();
    assert_eq!(put("/users/ann", &[("If-None-Match", "*")], json!({})).status, 409);
    assert_eq!(
        put("/users/ann", &[("If-Match", &tag)], json!({"roles": ["two"], "email": "a@example.com"})).status,
        200
    );
    assert_eq!(put("/users/ann", &[("If-Match", &tag)], json!({})).status, 409);

    // A role takes effect at once, goes with its users, and its past is on record.
    user(&server, "bob", json!({"password": "a long password", "roles": ["one"]}));
    let bob = basic("bob", "a long password");
    let properties = |status: u16| assert_eq!(ask(&server, &bob, "GET", "/status/properties", None).status, status);
    properties(403);
    role(&server, "two", &[("CONFIG", "CONFIG", "READ")]);
    properties(200);
    // Its people are told what they may, so that pages show them no more.
    let told = |expected: Value| {
        let who = ok(&server, &bob, "GET", &format!("{SECURITY}/whoami"), Value::Null);
        assert_eq!((&who["permissions"], &who["mayAdminister"]), (&expected, &json!(false)), "{who}");
    };
    told(json!([{"resource": {"type": "CONFIG", "name": "CONFIG"}, "action": "READ"}]));
    role(&server, "two", &[]);
    told(json!([]));
    properties(403);
    let past = ok(&server, &admin(), "GET", &format!("{SECURITY}/roles/two/history"), Value::Null);
    assert_eq!(past.as_array().unwrap().len(), 3, "{past}");
    assert_eq!(ask(&server, &admin(), "DELETE", &format!("{SECURITY}/roles/two"), None).status, 400, "one includes it");
    role(&server, "one", &[]);
    ok(&server, &admin(), "DELETE", &format!("{SECURITY}/roles/two"), Value::Null);
    assert_eq!(ok(&server, &admin(), "GET", &format!("{SECURITY}/users/ann"), Value::Null)["roles"], json!([]));
    assert_eq!(put("/datasources/events", &[], json!({"requirePolicy": true})).status, 200);
    refused("/datasources/events", json!({"requirePolicies": true}), 400, "requirePolicies");

    // The same by Druid's paths.
    let druid = |method: &str, path: &str, body: Value| {
        ok(&server, &admin(), method, &format!("/druid-ext/basic-security{path}"), body)
    };
    druid("POST", "/authentication/db/db/users/carl", json!({}));
    druid("POST", "/authentication/db/db/users/carl/credentials", json!({"password": "carl's own"}));
    druid("POST", "/authorization/db/db/users/carl", json!({}));
    druid("POST", "/authorization/db/db/roles/states", json!({}));
    druid(
        "POST",
        "/authorization/db/db/roles/states/permissions",
        json!([{"resource": {"name": "STATE", "type": "STATE"}, "action": "READ"}]),
    );
    druid("POST", "/authorization/db/db/users/carl/roles/states", json!({}));
    assert_eq!(ask(&server, &basic("carl", "carl's own"), "GET", "/metrics", None).status, 200);
    assert_eq!(
        druid("GET", "/authorization/db/db/users/carl", Value::Null),
        json!({"name": "carl", "roles": ["states"]})
    );
    druid("DELETE", "/authorization/db/db/users/carl/roles/states", Value::Null);
    assert_eq!(ask(&server, &basic("carl", "carl's own"), "GET", "/metrics", None).status, 403);
    druid("DELETE", "/authentication/db/db/users/carl", Value::Null);
    assert_eq!(ask(&server, &basic("carl", "carl's own"), "GET", "/metrics", None).status, 401);
}
