//! The ways in, which lead to the same user, and how long each of them holds.

use std::time::Duration;

use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;

use super::{ADMIN, REQUIRED, SECURITY, admin, ask, basic, ok, role, user, whoami};
use crate::harness::{Reply, Server};

/// Whom a session's cookie is of, and what its changes must bear.
pub(super) struct Session {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

pub(super) fn login(server: &Server, name: &str, password: &str, cookie: Option<&str>) -> Result<Session, u16> {
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
