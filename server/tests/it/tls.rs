//! TLS at the door: certificates renewed under load, what is refused, who must show a certificate, and what answers say
//! to browsers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::harness::Server;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `localhost` and its key, as PEM.
fn issued(by: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Puts both in place as deployments do: the new file takes the old one's name.
fn install(folder: &Path, (certificate, key): &(String, String)) {
    for (name, text) in [("server.pem", certificate), ("server.key", key)] {
        let next = folder.join(format!("{name}.next"));
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, folder.join(name)).unwrap();
    }
}

struct Secure {
    /// Lives as long as the test.
    _server: Server,
    port: u16,
    dir: tempfile::TempDir,
}

fn start(by: &Authority, more: &[(&str, &str)]) -> Secure {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path(), &issued(by));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (at, number) = (|name: &str| dir.path().join(name).display().to_string(), port.to_string());
    let (certificate, key) = (at("server.pem"), at("server.key"));
    let mut settings =
        vec![("tls.certificate", certificate.as_str()), ("tls.key", key.as_str()), ("tls.port", number.as_str())];
    settings.extend(more);
    let server = Server::start_with(dir.path(), &settings);
    Secure { _server: server, port, dir }
}

fn client(trusted: &[&Authority], protocols: &[&str], own: Option<&(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|authority| roots.add(authority.der().clone()).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands.
fn connect(config: &Arc<ClientConfig>, port: u16) -> std::io::Result<Connection> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.set_nodelay(true)?;
    let mut tls = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(tls, tcp))
}

/// One request on a connection that stays: the head and the body of its answer.
fn ask(connection: &mut Connection, request: &str) -> std::io::Result<(String, String)> {
    connection.write_all(request.as_bytes())?;
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&seen);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok((head.to_lowercase(), body.to_string()));
        }
    }
}

fn statement() -> String {
    let body = json!({"query": "SELECT 1 AS one"}).to_string();
    format!(
        "POST /druid/v2/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn shown(connection: &Connection) -> Vec<u8> {
    connection.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn certificates_are_renewed_under_load_without_a_dropped_request() {
    let (first, second) = (authority("first"), authority("second"));
    let secure = start(&first, &[]);
    let config = client(&[&first, &second], &["http/1.1"], None);
    let (stop, answers, handshakes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut kept = connect(&config, secure.port).unwrap();
    let before = shown(&kept);
    std::thread::scope(|scope| {
        // Some keep their connection, others make one for each request.
        for reconnects in [false, false, true, true] {
            let (config, stop, answers, handshakes) = (&config, &stop, &answers, &handshakes);
            scope.spawn(move || {
                let mut connection = connect(config, secure.port).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if reconnects {
                        connection = connect(config, secure.port).unwrap();
                        handshakes.fetch_add(1, Ordering::Relaxed);
                    }
                    let (head, body) = ask(&mut connection, &statement()).unwrap();
                    assert!(head.starts_with("http/1.1 200") && body.trim() == r#"[{"one":1}]"#, "{head} {body}");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            for by in [&second, &first] {
                let new = issued(by);
                install(secure.dir.path(), &new);
                let expected = CertificateDer::from_pem_slice(new.0.as_bytes()).unwrap();
                let end = Instant::now() + Duration::from_secs(20);
                while shown(&connect(&config, secure.port).unwrap()) != expected.as_ref() {
                    assert!(Instant::now() < end, "the new certificate is not shown");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        // A file that is no certificate changes nothing.
        let last = shown(&connect(&config, secure.port).unwrap());
        std::fs::write(secure.dir.path().join("server.pem"), "not a certificate").unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(shown(&connect(&config, secure.port).unwrap()), last);
        assert_ne!(last, before);
        stop.store(true, Ordering::Relaxed);
    });
    // A connection of the first certificate is still there.
    assert!(ask(&mut kept, &statement()).unwrap().0.starts_with("http/1.1 200"));
    let (answers, handshakes) = (answers.into_inner(), handshakes.into_inner());
    assert!(answers > 200 && handshakes > 50, "{answers} answers, {handshakes} handshakes");
    println!("tls: 4 renewals, {answers} answers, {handshakes} handshakes, none dropped");
}

#[test]
fn old_versions_strangers_and_the_slow_are_refused() {
    let (ours, other) = (authority("ours"), authority("other"));
    let secure = start(&ours, &[]);
    // The same hello as of TLS 1.2, 1.1 and 1.0: an answer, and twice the fatal alert `protocol_version`.
    for (version, answered) in [(3u8, &[22][..]), (2, &[21, 2, 70]), (1, &[21, 2, 70])] {
        // Ciphers ECDHE-ECDSA with AES-GCM, and with AES-CBC as those versions have it.
        let mut hello = [vec![3, version], vec![7; 32], vec![0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]].concat();
        let groups = [0, 10, 0, 4, 0, 2, 0, 0x17];
        let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
        let points = [0, 11, 0, 2, 1, 0];
        let extensions = [&groups[..], &signatures, &points].concat();
        hello.extend([0, extensions.len() as u8]);
        hello.extend(extensions);
        let handshake = [vec![1, 0, 0, hello.len() as u8], hello].concat();
        let record = [vec![22, 3, 1, 0, handshake.len() as u8], handshake].concat();
        let mut tcp = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.write_all(&record).unwrap();
        let mut answer = [0; 7];
        tcp.read_exact(&mut answer).unwrap();
        let said = [&answer[..1], &answer[5..]].concat();
        assert_eq!(said[..answered.len()], *answered, "TLS 1.{}: {answer:?}", version - 1);
    }
    // Those who say nothing keep nobody from the door.
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(("127.0.0.1", secure.port)).unwrap()).collect();
    let mut connection = connect(&client(&[&ours], &["http/1.1"], None), secure.port).unwrap();
    assert!(ask(&mut connection, &statement()).unwrap().0.starts_with("http/1.1 200"));
    drop(silent);
    assert!(connect(&client(&[&other], &[], None), secure.port).is_err());
}

/// More of them than there may be handshakes at once.
#[test]
fn the_silent_of_one_address_delay_nobody() {
    let ours = authority("ours");
    let secure = start(&ours, &[]);
    let config = client(&[&ours], &["http/1.1"], None);
    let _silent: Vec<_> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", secure.port)).unwrap()).collect();
    let start = Instant::now();
    for _ in 0..10 {
        let mut connection = connect(&config, secure.port).unwrap();
        assert!(ask(&mut connection, &statement()).unwrap().0.starts_with("http/1.1 200"));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn with_an_authority_clients_must_show_a_certificate_of_it() {
    let (ours, other) = (authority("ours"), authority("other"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ours.pem()).unwrap();
    let secure = start(&ours, &[("tls.client_ca", path.to_str().unwrap())]);
    let asked = |own: Option<&(String, String)>| {
        let mut connection = connect(&client(&[&ours], &["http/1.1"], own), secure.port)?;
        ask(&mut connection, &statement())
    };
    assert!(asked(Some(&issued(&ours))).unwrap().0.starts_with("http/1.1 200"));
    assert!(asked(Some(&issued(&other))).is_err());
    assert!(asked(None).is_err());
}

/// HTTP/2 is what Flight SQL comes by.
#[test]
fn http2_and_flight_sql_come_by_tls() {
    let ours = authority("ours");
    let secure = start(&ours, &[]);
    let config = client(&[&ours], &["h2", "http/1.1"], None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", secure.port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = axum::http::Request::post("https://localhost/arrow.flight.protocol.FlightService/ListActions");
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        // An empty message: not compressed, of no bytes.
        body.send_data(vec![0u8; 5].into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
        let mut body = answer.into_body();
        let mut seen = Vec::new();
        while let Some(data) = body.data().await {
            seen.extend_from_slice(&data.unwrap());
        }
        assert!(String::from_utf8_lossy(&seen).contains("CreatePreparedStatement"));
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn with_tls_only_there_is_no_other_door() {
    let ours = authority("ours");
    let dir = tempfile::tempdir().unwrap();
    install(dir.path(), &issued(&ours));
    let at = |name: &str| dir.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (certificate, key, number) = (at("server.pem"), at("server.key"), port.to_string());
    let settings = [
        ("tls.certificate", certificate.as_str()),
        ("tls.key", key.as_str()),
        ("tls.port", number.as_str()),
        ("tls.only", "true"),
    ];
    let server = Server::launch(dir.path(), "server", &settings, &[]);
    let config = client(&[&ours], &["http/1.1"], None);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = connect(&config, port).and_then(|mut connection| ask(&mut connection, &statement()));
        if answer.is_ok_and(|(head, _)| head.starts_with("http/1.1 200")) {
            break;
        }
        assert!(Instant::now() < end, "not served by TLS");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.try_get("/status/health").is_err());
}

#[test]
fn answers_say_to_browsers_what_they_must() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[]);
    let ask = |path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        agent.get(format!("{}{path}", server.base)).header("Origin", "https://evil.example").call().unwrap()
    };
    for path in ["/status", "/nowhere", "/druid/v2/datasources", "/henge/v1/security/users"] {
        let reply = ask(path);
        let header = |name: &str| reply.headers().get(name).map(|value| value.to_str().unwrap().to_string());
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(header("x-frame-options").as_deref(), Some("DENY"), "{path}");
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"), "{path}");
        assert_eq!(header("access-control-allow-origin"), None, "{path}");
        assert_eq!(header("strict-transport-security"), None, "{path}");
        let kept = path.starts_with("/henge/v1/security").then_some("no-store");
        assert_eq!(header("cache-control").as_deref(), kept, "{path}");
    }
    drop(server);
    let server = Server::start_with(dir.path(), &[("http.cors_origins", "https://board.example")]);
    for (origin, allowed) in [("https://board.example", true), ("https://evil.example", false)] {
        let asked = ureq::get(format!("{}/status", server.base)).header("Origin", origin);
        let reply = asked.config().http_status_as_error(false).build().call().unwrap();
        assert_eq!(reply.status(), if allowed { 200 } else { 403 }, "{origin}");
        let given = reply.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(given, allowed.then_some(origin));
    }
}

#[test]
fn a_caller_that_sends_too_much_is_told_when_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("http.requests_per_second", "20")]);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let ask = || agent.get(format!("{}/status", server.base)).call().unwrap();
    let refused = (0..500).map(|_| ask()).find(|reply| reply.status() == 429).expect("a refusal");
    assert_eq!(refused.headers()["retry-after"], "1");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ask().status(), 200);
}
