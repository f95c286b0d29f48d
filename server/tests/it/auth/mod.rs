//! Who comes in: the ways to sign in and the wrong ones, sessions, tokens, and the needs of every route.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use serde_json::{Value, json};
use server::http::auth::Need;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::harness::{Reply, Server};
use crate::jdbc::numbered;

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

/// Whom a session's cookie is of, and what its changes must bear.
struct Session {
    cookie: String,
    csrf: String,
}

fn login(server: &Server, name: &str, password: &str, cookie: Option<&str>) -> Result<Session, u16> {
    let headers: Vec<(&str, &str)> = cookie.map(|cookie| ("Cookie", cookie)).into_iter().collect();
    let body = json!({"username": name, "password": password});
    let reply = server.send("POST", &format!("{SECURITY}/login"), &headers, Some(&body));
    if reply.status != 200 {
        return Err(reply.status);
    }
    let set = reply.headers["set-cookie"].to_str().unwrap();
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict") && set.contains("; Path=/"), "{set}");
    let cookie = set.split(';').next().unwrap().to_string();
    Ok(Session { cookie, csrf: reply.body["csrfToken"].as_str().unwrap().to_string() })
}

impl Session {
    fn get(&self, server: &Server, path: &str) -> Reply {
        server.send("GET", path, &[("Cookie", &self.cookie)], None)
    }

    fn whoami(&self, server: &Server) -> u16 {
        self.get(server, &format!("{SECURITY}/whoami")).status
    }
}

#[test]
fn every_way_in_leads_to_the_same_user_and_no_other_way_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    assert!(!server.log().contains(ADMIN), "a password that was set is not told");
    role(&server, "reader", &[("DATASOURCE", "events", "READ")]);
    role(&server, "writer", &[("DATASOURCE", "events", "WRITE")]);
    user(
        &server,
        "ann",
        json!({"password": "ann's own", "roles": ["reader", "writer"], "groups": ["g"],
        "attributes": {"tenant": ["A"]}, "email": "ann@example.com"}),
    );
    let ann = basic("ann", "ann's own");
    let who = whoami(&server, &ann).body;
    assert_eq!((&who["username"], &who["roles"]), (&json!("ann"), &json!(["reader", "writer"])), "{who}");
    assert_eq!((&who["attributes"], &who["groups"]), (&json!({"tenant": ["A"]}), &json!(["g"])), "{who}");

    // Whatever is wrong, the answer is the same.
    let wrong = [
        basic("ann", "ann's owN"),
        basic("bob", "ann's own"),
        basic("", ""),
        "Basic !!!".to_string(),
        "Basic".to_string(),
        "Digest username=ann".to_string(),
        "Bearer ".to_string(),
        "Bearer henge_".to_string(),
        "Bearer henge_00_00".to_string(),
        "Bearer hengesession.x".to_string(),
        "Bearer a.b.c".to_string(),
    ];
    let told: Vec<(u16, Value)> = wrong.iter().map(|sent| whoami(&server, sent)).map(|r| (r.status, r.body)).collect();
    assert!(told.iter().all(|one| *one == told[0] && one.0 == 401), "{told:#?}");
    let missing = server.get(&format!("{SECURITY}/whoami"));
    assert_eq!(missing.status, 401);
    assert!(
        missing.headers.get_all("www-authenticate").iter().any(|value| value.to_str().unwrap().starts_with("Basic"))
    );

    // A token acts within the roles it was made for, and ends when it is told to.
    let tokens = format!("{SECURITY}/tokens");
    let made = ok(&server, &ann, "POST", &tokens, json!({"label": "ci", "roles": ["reader"]}));
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    assert!(made["token"].as_str().unwrap().starts_with("henge_"));
    assert_eq!(whoami(&server, &token).body["roles"], json!(["reader"]));
    let listed = ok(&server, &ann, "GET", &tokens, Value::Null);
    assert_eq!(listed[0]["id"], made["id"]);
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()) && !listed.to_string().contains("digest"));
    let refused = |method: &str, path: &str, body: Value| ask(&server, &token, method, path, Some(&body)).status;
    assert_eq!(refused("POST", &tokens, json!({})), 403, "a token makes no tokens");
    assert_eq!(
        refused("PUT", &format!("{SECURITY}/password"), json!({"current": "ann's own", "password": "12345678"})),
        403
    );
    assert_eq!(refused("PUT", &format!("{SECURITY}/profile"), json!({})), 403);
    let more = ask(&server, &ann, "POST", &tokens, Some(&json!({"roles": ["admin"]})));
    assert_eq!(more.status, 400, "{}", more.body);
    let id = made["id"].as_str().unwrap();
    ok(&server, &ann, "DELETE", &format!("{tokens}/{id}"), Value::Null);
    assert_eq!(whoami(&server, &token).status, 401, "revoked at once");
    let soon = (jiff::Timestamp::now() + Duration::from_millis(900)).to_string();
    let brief = ok(&server, &ann, "POST", &tokens, json!({"expires": soon}));
    let brief = format!("Bearer {}", brief["token"].as_str().unwrap());
    assert_eq!(whoami(&server, &brief).status, 200);
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(whoami(&server, &brief).status, 401, "expired");

    // A service has tokens only.
    user(&server, "robot", json!({"kind": "service", "roles": ["reader"]}));
    let made = ok(&server, &admin(), "POST", &format!("{SECURITY}/users/robot/tokens"), json!({}));
    let robot = format!("Bearer {}", made["token"].as_str().unwrap());
    assert_eq!(whoami(&server, &robot).body["username"], json!("robot"));
    assert_eq!(login(&server, "robot", "", None).err(), Some(401));
    let refused = ask(
        &server,
        &admin(),
        "PUT",
        &format!("{SECURITY}/users/robot/password"),
        Some(&json!({"password": "12345678"})),
    );
    assert_eq!(refused.status, 400);

    // Nothing of a password or its hash is ever told.
    for path in ["/users", "/users/ann", "/users/ann/history", "/profile"] {
        let told = ask(&server, &admin(), "GET", &format!("{SECURITY}{path}"), None);
        let told = format!("{:?} {}", told.headers, told.body);
        assert!(!told.contains("argon2") && !told.contains("own") && !told.contains("hash"), "{path}: {told}");
    }
    assert!(!server.log().contains("argon2") && !server.log().contains("ann's own"));
}

#[test]
fn a_session_is_new_and_ends_and_changes_nothing_without_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("auth.session_idle_ms", "1500"), ("auth.session_max_ms", "600000")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "ann", json!({"password": "ann's own"}));

    // Fixation: an id that was there before is not taken over, and one that was a session ends.
    let chosen = "henge_session=chosen-by-an-attacker";
    let session = login(&server, "ann", "ann's own", Some(chosen)).unwrap();
    assert_ne!(session.cookie, chosen);
    assert_eq!(server.send("GET", &format!("{SECURITY}/whoami"), &[("Cookie", chosen)], None).status, 401);
    let next = login(&server, "ann", "ann's own", Some(&session.cookie)).unwrap();
    assert_ne!(next.cookie, session.cookie);
    assert_eq!((session.whoami(&server), next.whoami(&server)), (401, 200));

    // CSRF: reads go by the cookie, changes need the token, and the token of another session is none.
    let other = login(&server, "ann", "ann's own", None).unwrap();
    let profile = format!("{SECURITY}/profile");
    let put = |headers: &[(&str, &str)]| {
        let headers = [&[("Cookie", next.cookie.as_str())], headers].concat();
        server.send("PUT", &profile, &headers, Some(&json!({"email": "ann@example.com"}))).status
    };
    assert_eq!(put(&[]), 403);
    assert_eq!(put(&[("X-CSRF-Token", "")]), 403);
    assert_eq!(put(&[("X-CSRF-Token", &other.csrf)]), 403);
    assert_eq!(put(&[("X-CSRF-Token", &next.csrf)]), 200);
    let query = json!({"query": "SELECT 1"});
    assert_eq!(server.send("POST", "/druid/v2/sql", &[("Cookie", &next.cookie)], Some(&query)).status, 403);
    let told = next.get(&server, &format!("{SECURITY}/whoami")).body;
    assert_eq!(told["csrfToken"], json!(next.csrf));

    // A new password ends the sessions of the old one; so does being disabled, at the next request.
    let password = |current: &str, new: &str| {
        let body = json!({"current": current, "password": new});
        let headers = [("Cookie", next.cookie.as_str()), ("X-CSRF-Token", next.csrf.as_str())];
        server.send("PUT", &format!("{SECURITY}/password"), &headers, Some(&body)).status
    };
    assert_eq!(password("not ann's own", "another one"), 401);
    assert_eq!(password("ann's own", "short"), 400);
    assert_eq!(password("ann's own", "another one"), 200);
    assert_eq!((next.whoami(&server), other.whoami(&server)), (401, 401));
    assert_eq!(whoami(&server, &basic("ann", "ann's own")).status, 401, "what was remembered is forgotten");
    let session = login(&server, "ann", "another one", None).unwrap();
    let ann = basic("ann", "another one");
    assert_eq!((session.whoami(&server), whoami(&server, &ann).status), (200, 200));
    user(&server, "ann", json!({"disabled": true}));
    assert_eq!((session.whoami(&server), whoami(&server, &ann).status), (401, 401));
    assert_eq!(login(&server, "ann", "another one", None).err(), Some(401));
    user(&server, "ann", json!({}));
    assert_eq!(login(&server, "ann", "another one", None).map(|_| ()), Ok(()));

    // Out, and over when nobody uses it.
    let session = login(&server, "ann", "another one", None).unwrap();
    let headers = [("Cookie", session.cookie.as_str()), ("X-CSRF-Token", session.csrf.as_str())];
    let out = server.send("POST", &format!("{SECURITY}/logout"), &headers, None);
    assert_eq!((out.status, session.whoami(&server)), (200, 401));
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let session = login(&server, "ann", "another one", None).unwrap();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(session.whoami(&server), 200, "it is in use");
    }
    std::thread::sleep(Duration::from_millis(1700));
    assert_eq!(session.whoami(&server), 401, "nobody used it");
}

#[test]
fn guessing_is_slowed_and_then_locked_out_whoever_is_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("auth.failures_max", "5"), ("auth.lockout_ms", "3000")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "ann", json!({"password": "ann's own"}));
    let ann = basic("ann", "ann's own");
    assert_eq!(whoami(&server, &ann).status, 200);
    let token = ok(&server, &ann, "POST", &format!("{SECURITY}/tokens"), json!({}));
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    for name in ["ann", "nobody"] {
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut failed = 0;
        while failed < 5 {
            let reply = whoami(&server, &basic(name, &format!("guess {failed}")));
            seen.push(reply.status);
            match reply.status {
                401 => failed += 1,
                429 => {
                    assert!(reply.headers.contains_key("retry-after"), "{}", reply.body);
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => panic!("{name}: {other}"),
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(1400), "{name}: five guesses in {:?}", began.elapsed());
        assert_eq!(&seen[..3], [401, 401, 401], "{name}");
        assert_eq!(whoami(&server, &basic(name, "one more")).status, 429, "{name} is locked");
    }
    // Who came in before goes on; the right password does not help who was not.
    assert_eq!(whoami(&server, &ann).status, 200, "remembered");
    assert_eq!(whoami(&server, &token).status, 200);
    assert_eq!(login(&server, "nobody", "guess", None).err(), Some(429));
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(login(&server, "ann", "ann's own", None).map(|_| ()), Ok(()));

    // Many at once are as many as one after the other.
    user(&server, "bob", json!({"password": "bob's own"}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |nth: usize| whoami(&server, &basic("bob", &format!("guess {nth}"))).status;
        let threads: Vec<_> = (0..40).map(|nth| scope.spawn(move || guess(nth))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert!(tried <= 5 && statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    // As many with the right password at once are one.
    user(&server, "eve", json!({"password": "eve's own"}));
    std::thread::sleep(Duration::from_millis(3100));
    let all_in = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..40).map(|_| scope.spawn(|| whoami(&server, &basic("eve", "eve's own")).status)).collect();
        threads.into_iter().all(|thread| thread.join().unwrap() == 200)
    });
    assert!(all_in);
}

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
    for (method, path, need) in &routes {
        assert_eq!(*need == Need::Open, open.contains(&path.as_str()), "{method} {path}: open routes are told here");
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
            Need::May(..) | Need::Whole(..) => {
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
    for (method, path) in [("GET", "/"), ("GET", "/druid/v3"), ("DELETE", "/druid/v2"), ("PATCH", "/status")] {
        assert_eq!(server.send(method, path, &[], None).status, 401, "{method} {path}");
    }
    assert_eq!(ask(&server, &nobody, "GET", "/druid/v3", None).status, 404);
}

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
    assert_eq!(post(&bob, &spec("numbers", inline.clone())), 403);
    assert_eq!(post(&ann, &spec("numbers", inline.clone())), 403);
    assert_eq!(post(&bob, &spec("other", inline)), 200);
    assert_eq!(post(&bob, &spec("other", local)), 403);
    let supervisor = crate::harness::supervisor("other", "t", "127.0.0.1:1", json!({}), json!({"type": "kafka"}));
    assert_eq!(ask(&server, &bob, "POST", "/druid/indexer/v1/supervisor", Some(&supervisor)).status, 403);
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

/// A connection is opened by no more guesses, and asked about no oftener, than anything else.
#[test]
fn a_connection_without_headers_is_bounded_as_any_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("auth.failures_max", "3")]].concat());
    user(&server, "ann", json!({"password": "ann's own"}));
    let avatica = |server: &Server, body: Value| server.send("POST", "/druid/v2/sql/avatica/", &[], Some(&body));
    let open = |password: &str| json!({"request": "openConnection", "connectionId": "c", "info": {"user": "ann", "password": password}});
    let guesses: Vec<u16> = (0..5).map(|n| avatica(&server, open(&format!("guess {n}"))).status).collect();
    assert_eq!(guesses, [401, 401, 401, 429, 429]);
    assert_eq!(whoami(&server, &basic("ann", "ann's own")).status, 429, "an attempt is one, by whatever way");
    drop(server);

    let settings = [REQUIRED, &[("http.requests_per_second", "10")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    assert_eq!(avatica(&server, open("ann's own")).status, 200);
    let most = |body: Value, expected: u16| {
        let statuses: Vec<u16> = (0..200).map(|_| avatica(&server, body.clone()).status).collect();
        assert!(statuses.contains(&429) && statuses.iter().all(|of| [429, expected].contains(of)), "{statuses:?}");
    };
    most(json!({"request": "databaseProperties", "connectionId": "c"}), 200);
    most(json!({"request": "databaseProperties", "connectionId": "unknown"}), 401);
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

/// The status of a request whose body stops after its first byte until something else has happened.
fn held(server: &Server, authorization: &str, method: &str, path: &str, body: &Value, meanwhile: impl FnOnce()) -> u16 {
    let (address, body) = (server.base.strip_prefix("http://").unwrap(), body.to_string());
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..1]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    meanwhile();
    // What is refused already is not read to its end.
    stream.set_read_timeout(Some(Duration::from_millis(1000))).unwrap();
    let mut answer = vec![0; 64];
    if stream.read(&mut answer).is_err() {
        stream.write_all(&body.as_bytes()[1..]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(stream.read(&mut answer).unwrap() > 12);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Who takes long to ask is answered by what may be asked when it has been.
#[test]
fn a_request_that_takes_long_does_not_outlive_the_rights_that_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 10);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    role(&server, "keeper", &[("SECURITY", "SECURITY", "WRITE")]);
    let of = |name: &str| basic(name, "a long password");
    let query = json!({"query": "SELECT COUNT(*) FROM numbers"});
    let later = json!({"query": "SELECT COUNT(*) FROM numbers", "context": {"executionMode": "ASYNC"}});
    let native = json!({"queryType": "timeseries", "dataSource": "numbers", "intervals": ["0000/3000"],
        "granularity": "all", "aggregations": [{"type": "count", "name": "n"}]});
    let put = |name: &str, document: Value| user(&server, name, document);
    let gone = |name: &str| drop(ok(&server, &admin(), "DELETE", &format!("{SECURITY}/users/{name}"), Value::Null));
    let ways: [(&str, &Value); 3] =
        [("/druid/v2/sql", &query), ("/druid/v2", &native), ("/druid/v2/sql/statements", &later)];
    for (path, body) in ways {
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        let unmoved = held(&server, &of("ann"), "POST", path, body, || put("bob", json!({"roles": []})));
        assert!(matches!(unmoved, 200 | 202), "{unmoved}: {path}");
        let changes: [(&str, &dyn Fn()); 4] = [
            ("an attribute", &|| put("ann", json!({"roles": ["reader"], "attributes": {"tenant": ["b"]}}))),
            ("a password", &|| put("ann", json!({"password": "another password", "roles": ["reader"]}))),
            ("disabled", &|| put("ann", json!({"roles": ["reader"], "disabled": true}))),
            ("deleted", &|| gone("ann")),
        ];
        for (what, change) in changes {
            put("ann", json!({"password": "a long password", "roles": ["reader"]}));
            assert_eq!(held(&server, &of("ann"), "POST", path, body, change), 401, "{what}: {path}");
        }
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        let made = ok(&server, &of("ann"), "POST", &format!("{SECURITY}/tokens"), json!({"label": "t"}));
        let token = format!("Bearer {}", made["token"].as_str().unwrap());
        let revoke = || {
            let path = format!("{SECURITY}/tokens/{}", made["id"].as_str().unwrap());
            ok(&server, &of("ann"), "DELETE", &path, Value::Null);
        };
        assert_eq!(held(&server, &token, "POST", path, body, revoke), 401, "{path}");
    }
    // Nobody makes an administrator who is none any more, nor goes by a permission that was taken.
    let more = json!({"password": "a long password", "roles": ["admin"]});
    let path = format!("{SECURITY}/users/mal2");
    put("mal", json!({"password": "a long password", "roles": ["admin"]}));
    let stripped = || put("mal", json!({"roles": []}));
    assert_eq!(held(&server, &of("mal"), "PUT", &path, &more, stripped), 401);
    put("kim", json!({"password": "a long password", "roles": ["keeper"]}));
    let taken = || role(&server, "keeper", &[("SECURITY", "SECURITY", "READ")]);
    assert_eq!(held(&server, &of("kim"), "PUT", &path, &json!({"roles": []}), taken), 403);
    assert_eq!(ask(&server, &admin(), "GET", &path, None).status, 404);
    // A change of one's own is told, though it ends what it was made with.
    put("ann", json!({"password": "a long password", "roles": ["reader"]}));
    let own = json!({"current": "a long password", "password": "quite another one"});
    for _ in 0..5 {
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        assert_eq!(ask(&server, &of("ann"), "PUT", &format!("{SECURITY}/password"), Some(&own)).status, 200);
    }
}

#[test]
fn flight_takes_names_and_tokens_and_keeps_statements_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    for name in ["ann", "bob"] {
        user(&server, name, json!({"password": "a long password", "roles": ["admin"]}));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(server.base.clone()).unwrap().connect().await.unwrap();
        let client = || FlightSqlServiceClient::new(channel.clone());
        let code = |error: arrow_flight::error::FlightError| error.to_string();
        let mut nobody = client();
        let refused = nobody.execute("SELECT 1".to_string(), None).await.unwrap_err();
        assert!(code(refused).contains("sign in"), "no credentials");
        let refused = nobody.handshake("ann", "wrong password").await.unwrap_err();
        assert!(code(refused).contains("not valid"));

        let mut ann = client();
        assert_eq!(ann.handshake("ann", "a long password").await.unwrap(), "ann");
        assert!(ann.token().is_some_and(|token| token.starts_with("hengesession.")), "{:?}", ann.token());
        let info = ann.execute("SELECT CURRENT_TIMESTAMP AS t".to_string(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows: Vec<_> = ann.do_get(ticket).await.unwrap().try_collect().await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);

        // A token of an account, and the handle of another.
        let made = ok(&server, &basic("bob", "a long password"), "POST", &format!("{SECURITY}/tokens"), json!({}));
        let mut bob = client();
        bob.set_token(made["token"].as_str().unwrap().to_string());
        let mut prepared = ann.prepare("SELECT 1 AS one".to_string(), None).await.unwrap();
        let info = prepared.execute().await.unwrap();
        let said = info.flight_descriptor.clone().unwrap();
        let mut raw = arrow_flight::flight_service_client::FlightServiceClient::new(channel.clone());
        let with = |token: &str| {
            let mut request = tonic::Request::new(said.clone());
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
            request
        };
        let (ann_token, bob_token) = (ann.token().unwrap().clone(), made["token"].as_str().unwrap());
        assert!(raw.get_flight_info(with(&ann_token)).await.is_ok());
        assert_eq!(raw.get_flight_info(with(bob_token)).await.unwrap_err().code(), Code::NotFound);
        ok(&server, &admin(), "DELETE", &format!("{SECURITY}/users/ann/sessions"), Value::Null);
        assert_eq!(raw.get_flight_info(with(&ann_token)).await.unwrap_err().code(), Code::Unauthenticated);
    });
}

#[test]
fn a_loopback_is_open_and_another_page_is_not_let_in_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    // It is told once the node serves.
    let end = Instant::now() + Duration::from_secs(20);
    let line = loop {
        match server.log().lines().find(|line| line.starts_with("user admin was made")) {
            Some(line) => break line.to_string(),
            None => assert!(Instant::now() < end, "the first password is not told"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let password = line.split_whitespace().nth(7).unwrap().to_string();
    let who = server.get(&format!("{SECURITY}/whoami"));
    assert_eq!((&who.body["username"], &who.body["roles"]), (&json!("anonymous"), &json!(["admin"])));
    assert_eq!(whoami(&server, &basic("admin", &password)).body["username"], json!("admin"));
    assert_eq!(whoami(&server, &basic("admin", "anything")).status, 401, "what is sent is checked");
    assert_eq!(server.send("GET", "/status", &[("Cookie", "henge_session=x")], None).status, 401);

    let own = server.base.clone();
    let sql = json!({"query": "SELECT 1"});
    let from = |origin: &str, host: &str| {
        server.send("POST", "/druid/v2/sql", &[("Origin", origin), ("Host", host)], Some(&sql)).status
    };
    let host = own.trim_start_matches("http://");
    assert_eq!(from(&own, host), 200);
    assert_eq!(from("https://evil.example", host), 403);
    assert_eq!(from("null", host), 403);
    for bent in ["evil.example:1", "router", "wpad:1"] {
        assert_eq!(from(&format!("http://{bent}"), bent), 403, "a name that was bent to this machine");
        assert_eq!(server.send("POST", "/druid/v2/sql", &[("Host", bent)], Some(&sql)).status, 403, "{bent}");
    }
    // What clients send who must send something is as good as nothing, and does not open what is closed to their page.
    for nobody in [basic("nobody", "anything"), "Bearer a.b.c".to_string()] {
        assert_eq!(whoami(&server, &nobody).body["username"], json!("anonymous"));
        let headers = [("Authorization", nobody.as_str()), ("Host", "evil.example")];
        assert_eq!(server.send("POST", "/druid/v2/sql", &headers, Some(&sql)).status, 403);
    }
    assert_eq!(whoami(&server, "Bearer henge_nothing").status, 401);

    // The password is told once and outlives a restart.
    assert!(server.stop());
    let server = Server::start_with(dir.path(), &[("http.hosts", "henge, henge.example.org")]);
    for (host, status) in [("henge.example.org", 200), ("HENGE:80", 200), ("henge.example.com", 403)] {
        assert_eq!(server.send("POST", "/druid/v2/sql", &[("Host", host)], Some(&sql)).status, status, "{host}");
    }
    assert_eq!(server.log().matches("user admin was made").count(), 1);
    assert_eq!(server.log().matches(&password).count(), 1);
    assert_eq!(whoami(&server, &basic("admin", &password)).status, 200);
}

fn ends(dir: &Path, settings: &[(&str, &str)]) -> String {
    let mut server = Server::launch(dir, "server", settings, &[]);
    let end = Instant::now() + Duration::from_secs(20);
    while !server.has_exited() {
        assert!(Instant::now() < end, "it serves");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.log()
}

#[test]
fn a_port_for_everybody_asks_who_is_there_unless_told_not_to_in_as_many_words() {
    let dir = tempfile::tempdir().unwrap();
    let log = ends(dir.path(), &[("host", "0.0.0.0"), ("auth.required", "false")]);
    assert!(log.contains("yes, anyone who can reach this port may do everything"), "{log}");
    let server = Server::start_with(dir.path(), &[("host", "0.0.0.0")]);
    assert_eq!(server.get("/status").status, 401);
    drop(server);
    let said = [
        ("host", "0.0.0.0"),
        ("auth.required", "false"),
        ("auth.allow_anonymous_from_anywhere", "yes, anyone who can reach this port may do everything"),
    ];
    assert_eq!(Server::start_with(dir.path(), &said).get("/status").status, 200);
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
    role(&server, "two", &[]);
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
