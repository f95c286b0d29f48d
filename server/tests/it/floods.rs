//! Who sends too much, or nothing at all: refused or closed in time, while everybody else is answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Server;

/// An address of this machine that nothing else comes from.
const OTHER: &str = "127.0.0.9";

fn address(server: &Server) -> SocketAddr {
    server.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection from an address of this machine.
fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// All that is said until the connection is closed, in good order or not.
fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        said.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Sends a request, or the beginning of one, from an address of this machine.
fn post(from: &str, to: SocketAddr, path: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = connect(from, to);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // What is refused meanwhile is not read to its end.
    let _ = stream.write_all(body);
    stream
}

/// Sends a request up to the middle of its body.
fn half(from: &str, to: SocketAddr, path: &str, half: usize) -> TcpStream {
    let stream = post(from, to, path, 2 * half, &vec![b' '; half]);
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    stream
}

#[test]
fn what_strangers_send_is_small_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("auth.required", "true"),
        ("auth.first_password", "first-password"),
        ("query.body_max_bytes", "1000000"),
        ("ingest.body_max_bytes", "1000000"),
        ("http.bodies_max_bytes", "8000000"),
    ];
    let server = Server::start_with(dir.path(), &settings);
    let login = "/henge/v1/security/login";
    let sign_in =
        |password: String| server.send("POST", login, &[], Some(&json!({"username": "admin", "password": password})));
    assert_eq!(sign_in("first-password".into()).status, 200);
    let reply = sign_in("x".repeat(70_000));
    let message = reply.body["errorMessage"].as_str().unwrap_or_else(|| panic!("{}", reply.body));
    assert!(reply.status == 413 && message.contains("65536"), "{} {message}", reply.status);

    // Two million bytes are there for strangers, half a million for those of one address: of these one is held at most.
    let to = address(&server);
    let jdbc = "/druid/v2/sql/avatica/";
    let end = Instant::now() + Duration::from_secs(60);
    let (held, refused) = loop {
        let mut held: Vec<_> = (0..5).map(|_| half(OTHER, to, jdbc, 450_000)).collect();
        let said: Vec<String> = held.iter_mut().map(rest).collect();
        if let Some(refused) = said.iter().find(|said| said.starts_with("HTTP/1.1 503")) {
            break (held, refused.to_lowercase());
        }
        assert!(Instant::now() < end, "not refused: {said:?}");
    };
    assert!(refused.contains("retry-after: 1") && refused.contains("http.bodies_max_bytes"), "{refused}");
    // Whoever is known has the rest, and others sign in.
    let credentials = [("Authorization", "Basic YWRtaW46Zmlyc3QtcGFzc3dvcmQ=")];
    let statement = json!({"query": format!("SELECT 1 AS one /* {} */", "x".repeat(500_000))});
    let reply = server.send("POST", "/druid/v2/sql", &credentials, Some(&statement));
    assert_eq!((reply.status, &reply.body), (200, &json!([{"one": 1}])));
    assert_eq!(sign_in("first-password".into()).status, 200);
    let open = json!({"request": "openConnection", "connectionId": "c",
        "info": {"user": "admin", "password": "first-password", "more": "x".repeat(400_000)}});
    let reply = server.send("POST", jdbc, &[], Some(&open));
    assert_eq!(reply.status, 200, "{}", reply.body);
    drop(held);
    let end = Instant::now() + Duration::from_secs(20);
    let again = open.to_string().replace("\"c\"", "\"d\"");
    loop {
        let said = rest(&mut post(OTHER, to, jdbc, again.len(), again.as_bytes()));
        if said.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(Instant::now() < end, "what was given back is not there: {said}");
    }
}

fn closed(server: &Server, bound: &str) -> u64 {
    let metrics = server.get("/metrics").body;
    let metrics = metrics.as_str().unwrap_or_default();
    let series = format!("henge_server_connections_closed_total{{bound=\"{bound}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}

#[test]
fn silent_connections_end_and_leave_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("http.connections_max", "20"), ("http.header_ms", "3000")];
    let server = Server::start_with(dir.path(), &settings);
    let to = address(&server);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..10).map(|_| connect(OTHER, to)).collect();
    // Nothing at all, the beginning of HTTP/2, half a head.
    for (nth, stream) in silent.iter_mut().enumerate() {
        let begun = ["", "PRI * HTTP/2", "GET /status HTTP/1.1\r\nHost: loc"][nth % 3];
        stream.write_all(begun.as_bytes()).unwrap();
    }
    // One more of that address is closed at once; others are answered.
    assert_eq!(rest(&mut connect(OTHER, to)), "");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(server.get("/status/health").body, json!(true));
    assert_eq!(closed(&server, "address"), 1);
    for stream in &mut silent {
        rest(stream);
    }
    assert!(start.elapsed() >= Duration::from_secs(3) && start.elapsed() < Duration::from_secs(15));
    let mut late = connect(OTHER, to);
    late.write_all(b"GET /status/health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut chunk = [0; 4096];
    let read = late.read(&mut chunk).unwrap();
    assert!(chunk[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&chunk[..read]));
    // A connection that is kept alive rests for longer than headers may take, and then has their time again.
    std::thread::sleep(Duration::from_secs(4));
    late.write_all(b"GET /status/health HTTP/1.1\r\nHost: loc").unwrap();
    let start = Instant::now();
    rest(&mut late);
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(15));
}

#[test]
fn queries_share_the_memory_that_there_is_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("query.memory_total_bytes", "4000000")]);
    let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let digits = |names: &[&str]| {
        names.iter().map(|name| format!("{digits} AS {name}(n)")).collect::<Vec<_>>().join(" CROSS JOIN ")
    };
    let ask = |text: String| server.try_post("/druid/v2/sql", &json!({"query": text}).to_string()).unwrap();
    let number = "a.n * 100000 + b.n * 10000 + c.n * 1000 + d.n * 100 + e.n * 10 + f.n";
    let names = ["a", "b", "c", "d", "e", "f"];
    let many = format!("SELECT COUNT(DISTINCT {number}) AS c FROM {}", digits(&names));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reply = ask(many.clone());
                let message = reply.body["errorMessage"].as_str().unwrap_or_else(|| panic!("{}", reply.body));
                assert!(message.contains("query.memory_total_bytes"), "{message}");
                let class = "org.apache.druid.query.ResourceLimitExceededException";
                let told = [&reply.body["errorClass"], &reply.body["context"]["errorClass"]];
                assert!(told.contains(&&Value::from(class)), "{}", reply.body);
            });
        }
    });
    // All of it has come back.
    let some = format!("SELECT COUNT(DISTINCT a.n * 10 + b.n) AS c FROM {}", digits(&["a", "b"]));
    assert_eq!(ask(some).body, json!([{"c": 100}]));
}
