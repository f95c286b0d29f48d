//! Ports that ask for no credentials: who gets in by them, and who has to say that they are meant to be open.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{SECURITY, basic, whoami};
use crate::harness::Server;

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
    for nobody in [basic("nobody", "anything"), "Bearer a.b.c".to_string(), "Bearer abc".to_string()] {
        assert_eq!(whoami(&server, &nobody).body["username"], json!("anonymous"));
        let headers = [("Authorization", nobody.as_str()), ("Host", "evil.example")];
        assert_eq!(server.send("POST", "/druid/v2/sql", &headers, Some(&sql)).status, 403);
    }
    for of_here in ["henge_nothing", "hengesession.nothing", "hengeprocess.nothing"] {
        let refused = whoami(&server, &format!("Bearer {of_here}"));
        assert_eq!(refused.status, 401, "{of_here}");
        assert!(refused.body["errorMessage"].is_string() && refused.body["errorMessage"] == refused.body["error"]);
    }

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
