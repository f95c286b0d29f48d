//! Arrays, documents and sketches through a batch task, and lookups through their API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;

fn task(datasource: &str, rows: &[Value]) -> Value {
    let data = rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    json!({"type": "index_parallel", "spec": {
        "dataSchema": {
            "dataSource": datasource,
            "timestampSpec": {"column": "t", "format": "iso"},
            "dimensionsSpec": {"dimensions": [
                "user", {"type": "auto", "name": "any"}, {"type": "json", "name": "doc"},
                {"type": "auto", "name": "list", "castToType": "ARRAY<STRING>"},
            ]},
            "metricsSpec": [{"type": "count", "name": "rows"},
                {"type": "hyperUnique", "name": "users", "fieldName": "user"}],
            "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false},
        },
        "ioConfig": {"type": "index_parallel", "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": data}},
        "tuningConfig": {"type": "index_parallel"},
    }})
}

#[test]
fn arrays_documents_and_sketches_are_ingested() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let rows = [
        json!({"t": "2024-01-01T00:00:00Z", "user": "ann", "any": [1, 2.5], "doc": {"a": [{"b": 1}]}, "list": [true, "x"]}),
        json!({"t": "2024-01-01T00:00:01Z", "user": "bob", "any": 3, "doc": "text", "list": null}),
        json!({"t": "2024-01-01T00:00:02Z", "user": "ann", "any": null, "doc": 4, "list": []}),
    ];
    let status = server.run_task(&task("docs", &rows), Duration::from_secs(60));
    assert_eq!(status["status"], "SUCCESS", "{status}");
    server.wait_for_count("docs", 3, Duration::from_secs(60));
    assert_eq!(
        server.sql("SELECT \"any\", doc, list FROM docs ORDER BY __time"),
        [
            vec![json!("[1.0,2.5]"), json!(r#"{"a":[{"b":1}]}"#), json!(r#"["true","x"]"#)],
            vec![json!("[3.0]"), json!("\"text\""), Value::Null],
            vec![Value::Null, json!("4"), json!("[]")],
        ]
    );
    assert_eq!(server.sql("SELECT APPROX_COUNT_DISTINCT(users), SUM(\"rows\") FROM docs"), [vec![json!(2), json!(3)]]);
    assert_eq!(
        server.sql("SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'docs' AND COLUMN_NAME IN ('any', 'doc') ORDER BY 1"),
        [vec![json!("any"), json!("ARRAY")], vec![json!("doc"), json!("COMPLEX<json>")]]
    );
    assert_eq!(
        server.sql(
            "SELECT datasource, num_rows, is_published, is_available, is_active, is_overshadowed FROM sys.segments"
        ),
        [vec![json!("docs"), json!(3), json!(1), json!(1), json!(1), json!(0)]]
    );
    assert_eq!(
        server.sql(
            "SELECT COUNT(*) FROM sys.segments s JOIN sys.server_segments x ON s.segment_id = x.segment_id \
             JOIN sys.servers n ON n.server = x.server WHERE n.server_type = 'historical'"
        ),
        [vec![json!(1)]]
    );
    assert_eq!(
        server.sql("SELECT \"type\", datasource, status, plaintext_port > 0 FROM sys.tasks"),
        [vec![json!("index_parallel"), json!("docs"), json!("SUCCESS"), json!(true)]]
    );
    assert_eq!(server.sql("SELECT COUNT(*) FROM sys.supervisors"), [vec![json!(0)]]);
    assert_eq!(
        server.sql("SELECT \"value\" FROM sys.server_properties WHERE \"property\" = 'druid.service'"),
        [vec![json!("henge")]]
    );
    let scan = json!({"queryType": "scan", "dataSource": "docs", "intervals": ["2024/2025"], "columns": ["any", "doc"],
        "limit": 1, "resultFormat": "compactedList"});
    assert_eq!(server.post_ok("/druid/v2", &scan)[0]["events"], json!([[[1.0, 2.5], {"a": [{"b": 1}]}]]));
    let count = json!({"queryType": "timeseries", "dataSource": "docs", "intervals": ["2024/2025"], "granularity": "all",
        "aggregations": [{"type": "count", "name": "n"}], "context": {"bySegment": true}});
    let told = &server.post_ok("/druid/v2", &count)[0];
    assert_eq!(told["timestamp"], json!("2024-01-01T00:00:00.000Z"));
    assert_eq!(told["result"]["results"][0]["result"], json!({"n": 3}));
    let id = told["result"]["segment"].as_str().unwrap();
    assert!(id.starts_with("docs_2024-01-01T00:00:00.000Z_2024-01-02T00:00:00.000Z_"), "{id}");
}

#[test]
fn lookups_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    const CONFIG: &str = "/druid/coordinator/v1/lookups/config";
    assert_eq!(server.get(CONFIG).status, 404, "uninitialised");
    let document = |version: &str, to: &str| json!({"version": version, "lookupExtractorFactory": {"type": "map", "map": {"a": to, "b": "two"}}});
    let posted = server.post(CONFIG, &json!({"__default": {"numbers": document("v1", "one")}}));
    assert_eq!(posted.status, 202);
    assert_eq!(
        server.sql("SELECT LOOKUP('a', 'numbers'), LOOKUP('c', 'numbers', 'none')"),
        [vec![json!("one"), json!("none")]]
    );
    assert_eq!(
        server.post(&format!("{CONFIG}/__default/numbers"), &document("v1", "eins")).status,
        400,
        "same version"
    );
    assert_eq!(server.post(&format!("{CONFIG}/__default/numbers"), &document("v2", "eins")).status, 202);
    assert!(server.stop());
    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT v FROM lookup.numbers ORDER BY k"), [vec![json!("eins")], vec![json!("two")]]);
    assert_eq!(server.get(&format!("{CONFIG}/__default")).body, json!(["numbers"]));
    let query = json!({"queryType": "groupBy", "dataSource": {"type": "inline", "columnNames": ["x"], "rows": [["a"], ["z"]]},
        "intervals": "1970/2030", "granularity": "all", "aggregations": [{"type": "count", "name": "n"}],
        "dimensions": [{"type": "lookup", "dimension": "x", "outputName": "y", "name": "numbers"}]});
    let events: Vec<Value> =
        server.post_ok("/druid/v2", &query).as_array().unwrap().iter().map(|row| row["event"].clone()).collect();
    assert_eq!(events, [json!({"y": null, "n": 1}), json!({"y": "eins", "n": 1})]);
    let refused = server.post(&format!("{CONFIG}/__default/odd"), &json!({"lookupExtractorFactory": {"type": "uri"}}));
    assert_eq!(refused.status, 400, "{}", refused.body);
}

/// A compressed answer of several chunks ends properly: the compressor asks the stream again after its end.
#[test]
fn long_answers_are_compressed_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let rows: Vec<Value> = (0..30_000)
        .map(|i| json!({"t": "2024-01-01T00:00:00Z", "user": format!("user number {i} with a name of some length"), "any": i}))
        .collect();
    let status = server.run_task(&task("long", &rows), Duration::from_secs(60));
    assert_eq!(status["status"], "SUCCESS", "{status}");
    server.wait_for_count("long", 30_000, Duration::from_secs(60));
    let body = json!({"query": "SELECT * FROM long"}).to_string();
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /druid/v2/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"), "{head}");
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "the last chunk is there");
}
