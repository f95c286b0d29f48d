//! Traces at a collector, as the real binary's nodes send them: a query's, that its caller began, through a broker to the nodes
//! that have the rows; a segment's, from the ingest node that appends its rows to the historical that loads it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Of;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use serde_json::json;

use crate::harness::{create_topic, feed, kafka, node, shared, supervisor};

const TABLE: &str = "traced";

/// A span, and who sent it.
#[derive(Debug, Clone)]
struct Span {
    node: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    about: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Span>>>);

impl Collected {
    /// Takes what is sent to the address that it answers.
    fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let collected = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collected = collected.clone();
                std::thread::spawn(move || while collected.take(&stream).is_some() {});
            }
        });
        format!("http://{address}/v1/traces")
    }

    /// One request of a connection; `None` at its end.
    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut key) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            key |= line == "x-key: open sesame";
            if line.is_empty() {
                break;
            }
        }
        assert!(key, "the header that the settings name is missing");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let sent = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        for of_node in sent.resource_spans {
            let node = texts(&of_node.resource.unwrap().attributes)["service.instance.id"].clone();
            for span in of_node.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                self.0.lock().unwrap().push(Span {
                    node: node.clone(),
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    name: span.name,
                    about: texts(&span.attributes),
                });
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
    }

    /// Waits until what came is enough, and gives it.
    fn until(&self, what: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let spans = self.0.lock().unwrap().clone();
            if enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < end, "{what} did not come: {spans:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn texts(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Of::StringValue(text)) => text.clone(),
        Some(Of::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    of.iter().map(|of| (of.key.clone(), text(&of.value))).collect()
}

#[test]
fn queries_and_segments_are_followed_through_a_cluster() {
    let (Some(bootstrap), Some(settings)) = (kafka("traces"), shared("traces")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("traces-{}", std::process::id());
    create_topic(&bootstrap, &topic, 1);
    let collected = Collected::default();
    let url = collected.listen();
    let start = |name: &str, roles: &str| {
        let own = [
            ("roles", roles),
            ("traces.url", url.as_str()),
            ("traces.share", "1"),
            ("traces.headers", "x-key=open sesame"),
        ];
        node(dir.path(), name, &own, &settings)
    };
    let nodes = [start("c1", "coordinator"), start("b1", "broker"), start("h1", "historical"), start("i1", "ingest")];
    let broker = &nodes[1];
    for node in &nodes[1..] {
        node.wait_healthy(Duration::from_secs(60));
    }
    let (io, tuning) = (json!({"taskDuration": "PT2S"}), json!({}));
    broker.post_ok("/druid/indexer/v1/supervisor", &supervisor(TABLE, &topic, &bootstrap, io, tuning));
    let fed = Arc::default();
    feed(&bootstrap, &topic, 500, 1_000, &fed);
    broker.wait_for_count(TABLE, 500, Duration::from_secs(60));

    // A segment: by the nodes that had to do with it, whoever was told nothing by whom.
    let steps = ["append", "freeze", "push", "publish", "commit", "load"];
    let whole = |spans: &[Span]| {
        let mut by_trace: BTreeMap<&[u8], BTreeSet<(&str, &str)>> = BTreeMap::new();
        for span in spans.iter().filter(|span| span.about.get("henge.segment").is_some_and(|id| id.starts_with(TABLE)))
        {
            by_trace.entry(&span.trace).or_default().insert((&span.name, &span.node));
        }
        let is_whole = |of: &&BTreeSet<(&str, &str)>| steps.iter().all(|step| of.iter().any(|(name, _)| name == step));
        let found = by_trace.values().find(is_whole);
        found.map(|of| of.iter().map(|(name, node)| format!("{name} {node}")).collect::<BTreeSet<_>>())
    };
    let spans = collected.until("a segment's trace", |spans| whole(spans).is_some());
    let expected = ["append i1", "commit c1", "freeze i1", "load h1", "publish i1", "push i1"];
    assert_eq!(whole(&spans).unwrap(), expected.map(String::from).into());

    // A query, which goes on in the trace of who asks.
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let begun = format!("00-{trace}-{parent}-01");
    let secret = "no word of it";
    let text = format!("SELECT COUNT(*) AS n FROM {TABLE} WHERE '{secret}' <> 'x'");
    let body = json!({"query": text, "context": {"sqlQueryId": "the-query"}});
    let reply = broker.send("POST", "/druid/v2/sql", &[("traceparent", &begun)], Some(&body));
    assert_eq!((reply.status, &reply.body), (200, &json!([{"n": 500}])));
    let of_trace = |spans: &[Span]| -> Vec<Span> {
        let is_of = |span: &&Span| hex(&span.trace) == trace;
        spans.iter().filter(is_of).cloned().collect()
    };
    let child = |spans: &[Span], name: &str, parent: &str| {
        spans.iter().find(|span| span.name == name && hex(&span.parent) == parent).cloned()
    };
    let path = |spans: &[Span]| -> Option<[Span; 4]> {
        let request = child(spans, "request", parent)?;
        let query = child(spans, "query", &hex(&request.id))?;
        let ask = child(spans, "ask", &hex(&query.id))?;
        let answered = child(spans, "request", &hex(&ask.id))?;
        Some([request, query, ask, answered])
    };
    let spans = collected.until("the query's trace", |spans| path(&of_trace(spans)).is_some());
    let [request, query, _, answered] = path(&of_trace(&spans)).unwrap();
    assert_eq!((request.node.as_str(), query.node.as_str()), ("b1", "b1"));
    assert!(["h1", "i1"].contains(&answered.node.as_str()), "{answered:?}");
    assert_eq!(request.about["http.route"], "/druid/v2/sql");
    assert_eq!(query.about["henge.query.id"], "the-query");
    assert!(!format!("{spans:?}").contains(secret), "a span tells the text of a query");

    // Who asks that nothing be traced, and nodes by themselves, leave nothing.
    let none = "1af7651916cd43dd8448eb211c80319d";
    let reply =
        broker.send("POST", "/druid/v2/sql", &[("traceparent", &format!("00-{none}-{parent}-00"))], Some(&body));
    assert_eq!(reply.status, 200);
    let seen = broker.sql("SELECT 1");
    assert_eq!(seen, [[json!(1)]]);
    let spans = collected.until("what is asked later", |spans| {
        spans.iter().filter(|span| span.name == "request" && span.about["http.route"] == "/druid/v2/sql").count() >= 2
    });
    assert!(!spans.iter().any(|span| hex(&span.trace) == none));
    let internal = |span: &Span| span.about.get("http.route").is_some_and(|route| route.contains("heartbeat"));
    assert!(!spans.iter().any(internal));
    for node in nodes {
        assert!(node.stop());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
