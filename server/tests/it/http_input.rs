//! Tasks that read from an HTTP server: settings, rights and secrets. What the reading itself does is tested where it is.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Server;

/// Answers every request that is signed with a row; its address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let signed = head.iter().any(|line| line.eq_ignore_ascii_case("x-key: xyzzy"))
                && head.iter().any(|line| line.eq_ignore_ascii_case("authorization: basic YW5uOnh5enp5"));
            let (status, body) = match signed {
                true => ("200 OK", "{\"t\":\"2024-01-01\",\"k\":\"a\"}\n"),
                false => ("403 Forbidden", ""),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

fn task(address: &str, key: &str) -> Value {
    json!({"type": "index_parallel", "spec": {
        "dataSchema": {"dataSource": "fetched", "timestampSpec": {"column": "t", "format": "iso"},
            "dimensionsSpec": {"dimensions": ["k"]}, "granularitySpec": {"segmentGranularity": "DAY", "rollup": false}},
        "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"}, "inputSource": {
            "type": "http", "uris": [format!("http://{address}/rows.json?signature=plugh")], "httpAuthenticationUsername": "ann",
            "httpAuthenticationPassword": "xyzzy", "requestHeaders": {"X-Key": key}}},
        "tuningConfig": {"type": "index_parallel"}}})
}

#[test]
fn an_http_source_is_read_where_an_operator_lets_it_be_and_its_secrets_are_not_shown() {
    let address = serve();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let refused = server.run_task(&task(&address, "xyzzy"), Duration::from_secs(60));
    assert_eq!(refused["status"], "FAILED", "{refused}");
    let why = refused["errorMsg"].as_str().unwrap();
    assert!(why.contains("ingest.http_hosts") && why.contains(&address) && !why.contains("plugh"), "{why}");
    assert!(server.stop());

    let server = Server::start_with(dir.path(), &[("ingest.http_hosts", "127.0.0.1")]);
    let done = server.run_task(&task(&address, "xyzzy"), Duration::from_secs(60));
    assert_eq!(done["status"], "SUCCESS", "{done}");
    let end = Instant::now() + Duration::from_secs(30);
    while server.try_count_rows("fetched") != Ok(1) {
        assert!(Instant::now() < end, "the row is not served");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = done["id"].as_str().unwrap();
    for path in ["", "/status", "/reports", "/log"] {
        let shown = server.get(&format!("/druid/indexer/v1/task/{id}{path}")).body.to_string();
        assert!(!shown.contains("xyzzy"), "{path}: {shown}");
    }
    assert!(!server.log().contains("xyzzy"));
    let failed = server.run_task(&task(&address, "wrong"), Duration::from_secs(60));
    let why = failed["errorMsg"].as_str().unwrap();
    assert_eq!(why, format!("http://{address}/rows.json: the server answered 403 Forbidden"));
}

/// What is read for somebody over HTTP they need a right for.
#[test]
fn reading_over_http_needs_a_right() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("ingest.http_hosts", "127.0.0.1")]);
    let permissions = json!([{"resource": {"type": "DATASOURCE", "name": "fetched"}, "action": "WRITE"}]);
    let put = |path: &str, body: &Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    put("/roles/writer", &json!({"permissions": permissions}));
    put("/users/wil", &json!({"password": "password of wil", "roles": ["writer"]}));
    use base64::Engine;
    let wil = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("wil:password of wil"));
    let post = || {
        let mut spec = task("127.0.0.1:1", "xyzzy");
        // The type of a password's provider is not that of a source.
        let password = json!({"type": "default", "password": "xyzzy"});
        spec["spec"]["ioConfig"]["inputSource"]["httpAuthenticationPassword"] = password;
        server.send("POST", "/druid/indexer/v1/task", &[("Authorization", wil.as_str())], Some(&spec)).status
    };
    assert_eq!(post(), 403);
    let mut more = permissions.clone();
    more.as_array_mut().unwrap().push(json!({"resource": {"type": "EXTERNAL", "name": "http"}, "action": "READ"}));
    put("/roles/writer", &json!({"permissions": more}));
    assert_eq!(post(), 200);
}
