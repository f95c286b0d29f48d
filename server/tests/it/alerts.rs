//! Alerts from rule to receiver: real webhooks, a real SMTP conversation, a real topic; rights, bounds and secrets; restarts
//! and a leader that dies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use crate::harness::{Server, create_topic, kafka, node, shared};

const LONG: Duration = Duration::from_secs(60);

/// What came in at a port, one item a request or mail.
struct Received {
    port: u16,
    all: Arc<Mutex<Vec<Value>>>,
    /// Answers 503 while set.
    is_away: Arc<AtomicBool>,
}

impl Received {
    fn all(&self) -> Vec<Value> {
        self.all.lock().unwrap().clone()
    }

    /// States in the order they came, of one alert.
    fn states(&self, alert: &str) -> Vec<String> {
        let all = self.all();
        let of = all.iter().filter(|notice| notice["alert"] == alert);
        of.map(|notice| notice["state"].as_str().unwrap().to_string()).collect()
    }

    fn wait_for(&self, alert: &str, states: &[&str]) {
        let end = Instant::now() + LONG;
        while self.states(alert) != states {
            assert!(Instant::now() < end, "{alert}: not {states:?} but {:?}", self.all());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Takes connections for as long as the test runs.
fn receiver(take: impl Fn(TcpStream, &AtomicBool) -> Option<Value> + Send + Sync + 'static) -> Received {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (all, is_away) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<AtomicBool>::default());
    let (into, away, take) = (all.clone(), is_away.clone(), Arc::new(take));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (into, away, take) = (into.clone(), away.clone(), take.clone());
            std::thread::spawn(move || {
                if let Some(item) = take(stream, &away) {
                    into.lock().unwrap().push(item);
                }
            });
        }
    });
    Received { port, all, is_away }
}

/// A webhook's server: the body of each request, with its headers under `headers`.
fn webhook() -> Received {
    receiver(|mut stream, away| {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let (mut line, mut headers, mut length) = (String::new(), serde_json::Map::new(), 0);
        reader.read_line(&mut line).ok()?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok()?;
            }
            headers.insert(name.to_lowercase(), json!(value));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let is_away = away.load(Ordering::SeqCst);
        let status = if is_away { "503 Service Unavailable" } else { "200 OK" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
        let mut item: Value = serde_json::from_slice(&body).ok()?;
        item["headers"] = Value::Object(headers);
        (!is_away).then_some(item)
    })
}

/// A mail server that speaks as much of SMTP as it takes: who a mail is from and to, and its text.
fn mail_server() -> Received {
    receiver(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let (mut from, mut to) = (String::new(), Vec::new());
        write!(stream, "220 sink ESMTP\r\n").ok()?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end();
            let answer = match line.get(..4).unwrap_or_default().to_uppercase().as_str() {
                "EHLO" | "HELO" => "250-sink\r\n250 8BITMIME",
                "MAIL" => {
                    from = line.to_string();
                    "250 ok"
                }
                "RCPT" => {
                    to.push(line.to_string());
                    "250 ok"
                }
                "DATA" => {
                    write!(stream, "354 go on\r\n").ok()?;
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") {
                        reader.read_line(&mut text).ok()?;
                    }
                    write!(stream, "250 taken\r\n").ok()?;
                    return Some(json!({"from": from, "to": to, "text": text}));
                }
                _ => "250 ok",
            };
            write!(stream, "{answer}\r\n").ok()?;
        }
    })
}

fn put(server: &Server, path: &str, body: &Value) -> Value {
    let reply = server.send("PUT", &format!("/henge/v1{path}"), &[], Some(body));
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

fn alert(server: &Server, name: &str) -> Value {
    server.get(&format!("/henge/v1/alerts/{name}")).body
}

fn wait_for_state(server: &Server, name: &str, state: &str) -> Value {
    let end = Instant::now() + LONG;
    loop {
        let alert = alert(server, name);
        if alert["state"] == state {
            return alert;
        }
        assert!(Instant::now() < end, "{name} is not {state}: {alert}\n{}", server.log_end());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Rows of a table decide: a rule fires while its datasource has more than two.
fn more_than(rows: u64, notify: &[&str]) -> Value {
    json!({"query": {"sql": "SELECT COUNT(*) FROM counted"}, "condition": {"type": "threshold", "op": ">", "value": rows},
        "every": "PT1S", "severity": "page", "description": "too many", "notify": notify})
}

fn load(server: &Server, table: &str, day: u32, rows: usize) {
    let lines: String = (0..rows).map(|n| format!("{{\"t\":\"2026-01-{day:02}\",\"v\":{n}}}\n")).collect();
    let dimensions = json!({"dimensions": [{"type": "long", "name": "v"}]});
    server.load(table, "iso", dimensions, &lines);
}

const HERE: [(&str, &str); 1] = [("ingest.http_hosts", "127.0.0.1")];

#[test]
fn an_alert_is_told_to_every_kind_of_channel_once_and_over_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &HERE);
    load(&server, "counted", 1, 3);
    let (hook, slack, mails) = (webhook(), webhook(), mail_server());
    let url = |of: &Received| format!("http://127.0.0.1:{}/hook", of.port);
    put(&server, "/alert-channels/hook", &json!({"type": "webhook", "url": url(&hook), "headers": {"x-key": "xyzzy"}}));
    put(&server, "/alert-channels/slack", &json!({"type": "slack", "url": url(&slack)}));
    let mail = json!({"type": "email", "smtp": format!("smtp://127.0.0.1:{}", mails.port), "from": "henge@example.com",
        "to": ["ops@example.com", "night@example.com"]});
    put(&server, "/alert-channels/mail", &mail);
    let mut channels = vec!["hook", "slack", "mail"];
    let topic = kafka("alerts").map(|bootstrap| {
        let topic = format!("alerts-{}", std::process::id());
        create_topic(&bootstrap, &topic, 1);
        let channel = json!({"type": "kafka", "bootstrapServers": bootstrap, "topic": topic});
        put(&server, "/alert-channels/topic", &channel);
        channels.push("topic");
        (bootstrap, topic)
    });
    for channel in &channels {
        let tested = server.send("POST", &format!("/henge/v1/alert-channels/{channel}/test"), &[], None);
        assert_eq!(tested.body, json!({"ok": true, "error": null}), "{channel}");
    }
    hook.wait_for("hook", &["test"]);

    let kept = put(&server, "/alerts/many", &more_than(2, &channels));
    assert_eq!((kept["state"].as_str(), kept["owner"].as_str()), (Some("ok"), Some("anonymous")));
    hook.wait_for("many", &["firing"]);
    let firing = wait_for_state(&server, "many", "firing");
    assert_eq!((&firing["value"], &firing["lastError"]), (&json!(3.0), &Value::Null));
    // Turn after turn nothing else is told.
    let evaluated = firing["lastEvaluated"].clone();
    let end = Instant::now() + LONG;
    while alert(&server, "many")["lastEvaluated"] == evaluated {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(hook.states("many"), ["firing"]);
    // Another condition of the same rule: it is over.
    let mut calm = more_than(200, &channels);
    calm["version"] = firing["version"].clone();
    put(&server, "/alerts/many", &calm);
    hook.wait_for("many", &["firing", "resolved"]);
    assert_eq!(alert(&server, "many")["state"], "resolved");
    let stale = server.send("PUT", "/henge/v1/alerts/many", &[], Some(&calm));
    assert_eq!(stale.status, 409, "{}", stale.body);

    let told: Vec<Value> = hook.all().into_iter().filter(|notice| notice["alert"] == "many").collect();
    assert_eq!(told[0]["headers"]["x-key"], "xyzzy");
    assert_eq!(told[0]["headers"]["idempotency-key"], told[0]["id"]);
    assert_ne!(told[0]["id"], told[1]["id"]);
    assert_eq!((&told[0]["severity"], &told[0]["value"]), (&json!("page"), &json!(3.0)));
    let end = Instant::now() + LONG;
    while slack.all().len() < 3 || mails.all().len() < 3 {
        assert!(Instant::now() < end, "{:?} {:?}", slack.all(), mails.all());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = slack.all()[1]["text"].as_str().unwrap().to_string();
    assert!(said.starts_with("*[firing] many*\ntoo many\nvalue: 3.0"), "{said}");
    let mail = &mails.all()[1];
    assert_eq!(mail["to"].as_array().unwrap().len(), 2);
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("Subject: [firing] many\r\n") && text.contains("too many"), "{text}");
    assert!(text.contains(&format!("X-Henge-Notification-Id: {}", told[0]["id"].as_str().unwrap())), "{text}");
    if let Some((bootstrap, topic)) = topic {
        let read = messages(&bootstrap, &topic, 3);
        let read: Vec<_> = read.iter().map(|(key, notice)| (key.as_str(), &notice["state"])).collect();
        assert_eq!(read, [("topic", &json!("test")), ("many", &json!("firing")), ("many", &json!("resolved"))]);
    }
    let end = Instant::now() + LONG;
    let history = loop {
        let history = server.get("/henge/v1/alerts/many/history").body;
        let told = |entry: &Value| entry["notified"].as_array().unwrap().iter().all(|of| of["ok"] == true);
        if history.as_array().unwrap().iter().all(told) {
            break history;
        }
        assert!(Instant::now() < end, "{history}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let steps: Vec<_> = history.as_array().unwrap().iter().map(|of| (&of["from"], &of["to"])).collect();
    assert_eq!(steps, [(&json!("firing"), &json!("resolved")), (&json!("ok"), &json!("firing"))]);
    assert_eq!(history[1]["notified"].as_array().unwrap().len(), channels.len());

    // What it asked is on record as its owner's.
    let asked = "SELECT COUNT(*) FROM sys.audit WHERE kind = 'query' AND path = '/henge/v1/alerts/many' AND \"user\" = 'anonymous'";
    let end = Instant::now() + LONG;
    while server.sql(asked)[0][0].as_u64() < Some(2) {
        assert!(Instant::now() < end, "its queries are not in the audit log");
        std::thread::sleep(Duration::from_millis(50));
    }
    let changes = "SELECT DISTINCT object FROM sys.audit WHERE kind = 'alert' AND outcome = 'ok' AND method = 'PUT'";
    assert_eq!(server.sql(changes), [[json!("many")]]);
    assert!(server.stop());
}

/// Keys and messages of a topic, so many of them.
fn messages(bootstrap: &str, topic: &str, count: usize) -> Vec<(String, Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", topic)
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let (mut read, end) = (Vec::new(), Instant::now() + LONG);
    while read.len() < count {
        assert!(Instant::now() < end, "{read:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        read.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
    }
    read
}

#[test]
fn what_is_pending_silenced_away_or_repeated_is_told_when_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(dir.path(), &HERE);
    load(&server, "counted", 1, 3);
    let hook = webhook();
    put(
        &server,
        "/alert-channels/hook",
        &json!({"type": "webhook", "url": format!("http://127.0.0.1:{}/", hook.port)}),
    );
    let mut slow = more_than(2, &["hook"]);
    slow["for"] = json!("PT2S");
    put(&server, "/alerts/slow", &slow);
    let mut silent = more_than(2, &["hook"]);
    silent["disabled"] = json!(true);
    put(&server, "/alerts/silent", &silent);
    wait_for_state(&server, "silent", "disabled");
    let until = json!({"until": "2090-01-01T00:00:00Z", "reason": "we know"});
    let silenced = server.post("/henge/v1/alerts/silent/silence", &until);
    assert_eq!(
        silenced.body["silence"],
        json!({"until": "2090-01-01T00:00:00.000Z", "by": "anonymous", "reason": "we know"})
    );
    silent["disabled"] = json!(false);
    put(&server, "/alerts/silent", &silent);
    wait_for_state(&server, "silent", "firing");
    wait_for_state(&server, "slow", "pending");
    hook.wait_for("slow", &["firing"]);

    // A receiver that is away gets it once it is back, also from the next life of the server.
    hook.is_away.store(true, Ordering::SeqCst);
    let mut away = more_than(2, &["hook"]);
    away["repeat"] = json!("PT2S");
    put(&server, "/alerts/away", &away);
    wait_for_state(&server, "away", "firing");
    let end = Instant::now() + LONG;
    while server.get("/henge/v1/alerts/away/history").body[0]["notified"][0]["error"] != "the server answered 503" {
        assert!(Instant::now() < end, "{}", server.get("/henge/v1/alerts/away/history").body);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(hook.states("silent"), Vec::<String>::new());
    server.kill();
    hook.is_away.store(false, Ordering::SeqCst);
    drop(server);
    let server = Server::start_with(dir.path(), &HERE);
    let end = Instant::now() + LONG;
    while hook.states("away").len() < 3 {
        assert!(Instant::now() < end, "{:?}", hook.all());
        std::thread::sleep(Duration::from_millis(20));
    }
    let away: Vec<Value> = hook.all().into_iter().filter(|notice| notice["alert"] == "away").collect();
    let ids: std::collections::BTreeSet<_> = away.iter().map(|notice| notice["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), away.len(), "each is told once: {away:?}");
    assert_eq!((&away[0]["repeat"], &away[1]["repeat"]), (&json!(false), &json!(true)));
    // It goes on where it was: what was told is not told again.
    let evaluated = alert(&server, "slow")["lastEvaluated"].clone();
    let end = Instant::now() + LONG;
    while alert(&server, "slow")["lastEvaluated"] == evaluated {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(hook.states("slow"), ["firing"]);
    assert_eq!(server.send("DELETE", "/henge/v1/alerts/silent/silence", &[], None).body["silence"], Value::Null);
    hook.wait_for("silent", &["firing"]);
    assert_eq!(server.send("DELETE", "/henge/v1/alerts/silent", &[], None).status, 200);
    assert_eq!(server.get("/henge/v1/alerts/silent").status, 404);
    let used = server.send("DELETE", "/henge/v1/alert-channels/hook", &[], None);
    assert!(
        used.status == 409 && used.body["error"].as_str().unwrap().contains("is told by channel hook"),
        "{}",
        used.body
    );
}

#[test]
fn a_change_is_against_the_period_before_and_absence_is_of_any_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &HERE);
    load(&server, "counted", 1, 2);
    let attempt = |rule: Value| server.post("/henge/v1/alerts/try", &rule).body;
    let rule = |sql: &str, condition: Value| json!({"query": {"sql": sql}, "condition": condition, "every": "PT30S"});
    let none = rule("SELECT v FROM counted WHERE v > 100", json!({"type": "absence"}));
    assert_eq!(attempt(none), json!({"value": null, "wouldBe": "firing", "error": null}));
    let some = rule("SELECT v FROM counted ORDER BY __time", json!({"type": "absence"}));
    assert_eq!(attempt(some)["wouldBe"], "ok");
    let change = |op: &str, percent: f64| {
        let sql = "SELECT TIMESTAMP_TO_MILLIS(CURRENT_TIMESTAMP) / 86400000.0 FROM counted LIMIT 1";
        let days = rule(sql, json!({"type": "change", "op": op, "percent": percent, "period": "P366D"}));
        attempt(days)
    };
    // Days since 1970: 366 of some 20,000 more than 366 days ago, which is between 1 and 2 percent.
    assert_eq!(change(">", 1.0)["wouldBe"], "firing");
    assert_eq!(change(">", 2.0)["wouldBe"], "ok");
    assert_eq!(change("<", 0.0)["wouldBe"], "ok");
    let broken = attempt(rule("SELECT 1 / (v - v) FROM counted", json!({"type": "threshold", "op": ">", "value": 1})));
    assert!(broken["error"].is_string() || broken["value"].is_null(), "{broken}");
}

#[test]
fn what_cannot_be_asked_or_reached_is_refused_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    load(&server, "counted", 1, 3);
    let refused = |path: &str, body: &Value, told: &str| {
        let reply = server.send("PUT", &format!("/henge/v1{path}"), &[], Some(body));
        let error = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == 400 && error.contains(told), "{path} {body}: {} {}", reply.status, reply.body);
    };
    for (at, value, told) in [
        ("query", json!({"sql": "SELEKT 1"}), "query.sql: "),
        ("query", json!({"sql": "SELECT COUNT(*) FROM nowhere"}), "query.sql: "),
        ("query", json!({"sql": "EXPLAIN PLAN FOR SELECT 1"}), "query.sql: must be a query"),
        ("query", json!({"sql": "SELECT 'x' FROM counted"}), "query.sql: its first column must be a number"),
        ("every", json!("PT0S"), "every: must be a period"),
        ("notify", json!(["nobody"]), "notify[0]: there is no channel nobody"),
        ("evry", json!("PT1S"), "evry: is not known"),
    ] {
        let mut rule = more_than(2, &[]);
        rule[at] = value;
        refused("/alerts/bad", &rule, told);
    }
    let taken = server.send("PUT", "/henge/v1/alerts/try", &[], Some(&more_than(2, &[])));
    assert_eq!(taken.status, 405, "a path of its own: {}", taken.body);
    refused("/alerts/a%0ab", &more_than(2, &[]), "name: must have");
    // By default nothing is sent to this machine or its network.
    let hook = webhook();
    for url in ["http://127.0.0.1", "http://localhost", "http://[::1]", "http://169.254.169.254"] {
        let channel = json!({"type": "webhook", "url": format!("{url}:{}/", hook.port)});
        put(&server, "/alert-channels/near", &channel);
        let tested = server.send("POST", "/henge/v1/alert-channels/near/test", &[], None).body;
        let error = tested["error"].as_str().unwrap_or_default();
        assert!(tested["ok"] == false && error.contains("ingest.http_hosts"), "{url}: {tested}");
    }
    let mail =
        json!({"type": "email", "smtp": format!("smtp://127.0.0.1:{}", hook.port), "from": "a@b.c", "to": ["a@b.c"]});
    put(&server, "/alert-channels/near", &mail);
    let tested = server.send("POST", "/henge/v1/alert-channels/near/test", &[], None).body;
    assert!(tested["error"].as_str().unwrap_or_default().contains("ingest.http_hosts"), "{tested}");
    assert!(hook.all().is_empty());
}

fn signed(name: &str) -> (String, String) {
    ("Authorization".into(), format!("Basic {}", STANDARD.encode(format!("{name}:password of {name}"))))
}

#[test]
fn a_rule_is_asked_as_its_owner_is_now_and_secrets_are_shown_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &HERE);
    load(&server, "counted", 1, 3);
    let may =
        |kind: &str, name: &str, action: &str| json!({"resource": {"type": kind, "name": name}, "action": action});
    let role = json!({"permissions": [may("CONFIG", "CONFIG", "WRITE"), may("STATE", "STATE", "READ"),
        may("DATASOURCE", "counted", "READ")],
        "policies": [{"name": "the first", "datasource": "counted", "sql": "v < 1"}]});
    put(&server, "/security/roles/watcher", &role);
    put(&server, "/security/roles/looker", &json!({"permissions": [may("STATE", "STATE", "READ")]}));
    put(&server, "/security/roles/writer", &json!({"permissions": [may("CONFIG", "CONFIG", "WRITE")]}));
    for (name, role) in [("ann", "watcher"), ("lou", "looker"), ("kim", "writer"), ("bob", "none")] {
        let roles: Vec<&str> = Some(role).filter(|role| *role != "none").into_iter().collect();
        put(
            &server,
            &format!("/security/users/{name}"),
            &json!({"password": format!("password of {name}"), "roles": roles}),
        );
    }
    let send = |name: &str, method: &str, path: &str, body: Option<&Value>| {
        let (header, value) = signed(name);
        server.send(method, &format!("/henge/v1{path}"), &[(&header, &value)], body)
    };
    let secret = json!({"type": "slack", "url": "https://127.0.0.1:9/xyzzy"});
    assert_eq!(send("ann", "PUT", "/alert-channels/s", Some(&secret)).body["url"], "https://127.0.0.1:9/***");
    let topic = json!({"type": "kafka", "bootstrapServers": "127.0.0.1:1", "topic": "t"});
    assert_eq!(send("ann", "PUT", "/alert-channels/k", Some(&topic)).status, 403, "it takes the right to write topics");
    assert_eq!(send("ann", "PUT", "/alerts/own", Some(&more_than(2, &[]))).status, 200);
    // Its owner sees one row of three.
    let seen = wait_for_state_by(&server, "own", |alert| alert["value"] == 1.0);
    assert_eq!((&seen["owner"], &seen["state"]), (&json!("ann"), &json!("ok")));
    let other = json!({"query": {"sql": "SELECT COUNT(*) FROM sys.segments"}, "condition": {"type": "absence"}, "every": "PT5S"});
    assert_eq!(send("ann", "PUT", "/alerts/more", Some(&other)).status, 403, "her rights are those of her questions");
    for (name, path, allowed) in [
        ("lou", "/alerts", true),
        ("lou", "/alert-channels", true),
        ("lou", "/alerts/own/history", true),
        ("bob", "/alerts", false),
        ("bob", "/alert-channels", false),
    ] {
        let reply = send(name, "GET", path, None);
        assert_eq!(reply.status == 200, allowed, "{name} {path}: {}", reply.body);
        assert!(!reply.body.to_string().contains("xyzzy"));
    }
    for (method, path, body) in [
        ("PUT", "/alerts/own", Some(more_than(2, &[]))),
        ("DELETE", "/alerts/own", None),
        ("POST", "/alerts/try", Some(more_than(2, &[]))),
        ("POST", "/alerts/own/silence", Some(json!({"until": "2090-01-01T00:00:00Z"}))),
        ("POST", "/alert-channels/s/test", None),
    ] {
        assert_eq!(send("lou", method, path, body.as_ref()).status, 403, "{method} {path}");
    }
    // Who changes and does not look is told neither question nor number.
    let until = json!({"until": "2090-01-01T00:00:00Z"});
    for (method, body) in [("POST", Some(&until)), ("DELETE", None)] {
        let reply = send("kim", method, "/alerts/own/silence", body);
        let told: Vec<&str> = reply.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((reply.status, told), (200, vec!["name", "version"]), "{method}: {}", reply.body);
    }
    let elsewhere = json!({"type": "webhook", "url": "https://127.0.0.1:9/x"});
    assert_eq!(send("kim", "PUT", "/alert-channels/s", Some(&elsewhere)).status, 403, "it tells what others found");
    // Who may not ask any more is not asked for.
    put(&server, "/security/users/ann", &json!({"roles": ["watcher"], "disabled": true}));
    let failed = wait_for_state(&server, "own", "error");
    assert!(failed["lastError"].as_str().unwrap().contains("ann is no user any more"), "{failed}");
    put(&server, "/security/users/ann", &json!({"roles": ["watcher"]}));
    wait_for_state(&server, "own", "ok");
    // Nor who may not have rules any more.
    put(&server, "/security/roles/watcher", &json!({"permissions": [may("DATASOURCE", "counted", "READ")]}));
    let failed = wait_for_state(&server, "own", "error");
    assert!(failed["lastError"].as_str().unwrap().contains("may not write the configuration"), "{failed}");
    put(&server, "/security/roles/watcher", &role);
    wait_for_state(&server, "own", "ok");
    // Another of her name is not her.
    assert_eq!(server.send("DELETE", "/henge/v1/security/users/ann", &[], None).status, 200);
    put(&server, "/security/users/ann", &json!({"password": "password of ann", "roles": ["watcher"]}));
    wait_for_state(&server, "own", "error");
    // Whoever puts it is its owner.
    put(&server, "/alerts/own", &more_than(2, &[]));
    let firing = wait_for_state(&server, "own", "firing");
    assert_eq!((&firing["owner"], &firing["value"]), (&json!("anonymous"), &json!(3.0)));
}

fn wait_for_state_by(server: &Server, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + LONG;
    loop {
        let alert = alert(server, name);
        if is_it(&alert) {
            return alert;
        }
        assert!(Instant::now() < end, "{alert}\n{}", server.log_end());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Of two nodes one leads; it is killed again and again while its alerts change. Each change is told, in order, and under one
/// id however often; a rule has one turn at a time.
#[test]
fn another_leader_goes_on_where_the_one_before_was_killed() {
    let Some(settings) = shared("alerts_failover") else { return };
    let dir = tempfile::tempdir().unwrap();
    let hook = webhook();
    let mut names = ["one", "two"];
    let own: &[(&str, &str)] = &HERE;
    let mut leader = node(dir.path(), names[0], own, &settings);
    leader.wait_healthy(LONG);
    load(&leader, "counted", 1, 3);
    put(
        &leader,
        "/alert-channels/hook",
        &json!({"type": "webhook", "url": format!("http://127.0.0.1:{}/", hook.port)}),
    );
    let mut expected: Vec<&str> = Vec::new();
    for round in 0..4 {
        let follower = node(dir.path(), names[1], own, &settings);
        let told = format!("standing by at {}", follower.base.trim_start_matches("http://"));
        follower.wait_for_log(&told, LONG);
        let fires = round % 2 == 0;
        put(&leader, "/alerts/flips", &more_than(if fires { 2 } else { 200 }, &["hook"]));
        expected.push(if fires { "firing" } else { "resolved" });
        // Before it can have been told, or about then.
        std::thread::sleep(Duration::from_millis(300 * round));
        leader.kill();
        follower.wait_healthy(LONG);
        let end = Instant::now() + LONG;
        while once(&hook) != expected {
            assert!(Instant::now() < end, "not {expected:?} but {:?}\n{}", hook.all(), follower.log_end());
            std::thread::sleep(Duration::from_millis(20));
        }
        leader = follower;
        names.swap(0, 1);
    }
    let history = leader.get("/henge/v1/alerts/flips/history").body;
    let mut steps: Vec<_> =
        history.as_array().unwrap().iter().map(|of| of["to"].as_str().unwrap().to_string()).collect();
    steps.retain(|to| to == "firing" || to == "resolved");
    steps.reverse();
    assert_eq!(steps, expected, "{history}");
    println!("alerts: {} changes told as {} requests over 4 leaders", expected.len(), hook.states("flips").len());
}

/// A leader that serves no rows asks the nodes that do; whoever is asked for alerts, it answers.
#[test]
fn a_leader_without_rows_of_its_own_asks_those_who_have_them() {
    let Some(settings) = shared("alerts_roles") else { return };
    let dir = tempfile::tempdir().unwrap();
    let hook = webhook();
    let start = |name: &str, roles: &str| node(dir.path(), name, &[HERE[0], ("roles", roles)], &settings);
    let mut first = start("c1", "coordinator");
    first.wait_for_log("leading at", LONG);
    let second = start("c2", "coordinator");
    let worker = start("w", "broker,historical,ingest");
    worker.wait_healthy(LONG);
    load(&worker, "counted", 1, 3);
    put(
        &worker,
        "/alert-channels/hook",
        &json!({"type": "webhook", "url": format!("http://127.0.0.1:{}/", hook.port)}),
    );
    put(&worker, "/alerts/many", &more_than(2, &["hook"]));
    hook.wait_for("many", &["firing"]);
    assert_eq!(wait_for_state(&worker, "many", "firing")["value"], 3.0);
    first.kill();
    second.wait_for_log("leading at", LONG);
    let end = Instant::now() + LONG;
    let calm = more_than(200, &["hook"]);
    while worker.send("PUT", "/henge/v1/alerts/many", &[], Some(&calm)).status != 200 {
        assert!(Instant::now() < end, "{}", second.log_end());
        std::thread::sleep(Duration::from_millis(100));
    }
    let end = Instant::now() + LONG;
    while once(&hook) != ["firing", "resolved"] {
        assert!(Instant::now() < end, "{:?}\n{}", hook.all(), second.log_end());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The states of what came, each id once.
fn once(hook: &Received) -> Vec<String> {
    let (mut seen, mut states) = (std::collections::BTreeSet::new(), Vec::new());
    for notice in hook.all() {
        if seen.insert(notice["id"].as_str().unwrap().to_string()) {
            states.push(notice["state"].as_str().unwrap().to_string());
        }
    }
    states
}
