//! Looking at input before it is ingested: what comes out is what a task would have made of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Fed, Reply, Server, create_topic, feed, kafka, supervisor};

const SAMPLER: &str = "/druid/indexer/v1/sampler";

fn inline(format: Value, data: &str, schema: Value) -> Value {
    let mut data_schema = json!({
        "dataSource": "looked_at",
        "timestampSpec": {"column": "t", "format": "iso"},
        "dimensionsSpec": {"dimensions": ["k"]},
        "metricsSpec": [{"type": "count", "name": "count"}, {"type": "longSum", "name": "v", "fieldName": "v"}],
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "HOUR", "rollup": true},
    });
    for (key, value) in schema.as_object().unwrap() {
        data_schema[key] = value.clone();
    }
    json!({"type": "index_parallel", "spec": {
        "dataSchema": data_schema,
        "ioConfig": {"type": "index_parallel", "inputFormat": format, "inputSource": {"type": "inline", "data": data}},
    }})
}

const LINES: &str = r#"{"t":"2024-01-01T01:02:03Z","k":"a","v":1,"deep":{"x":[1,2]}}
{"t":"2024-01-01T01:30:00Z","k":"a","v":2}
{"t":"nonsense","k":"b","v":3}
not json
{"t":"2024-01-01T02:00:00Z","k":"c","v":4}
{"t":"2024-01-01T02:00:00Z","k":"out","v":5}"#;

#[test]
fn each_record_is_shown_with_what_becomes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let without = json!({"transformSpec": {"transforms": [{"type": "expression", "name": "k", "expression": "upper(k)"}],
        "filter": {"type": "not", "field": {"type": "selector", "dimension": "k", "value": "OUT"}}}});
    let spec = inline(json!({"type": "json"}), LINES, without);
    let told = server.post_ok(SAMPLER, &spec);
    let of = |name: &str| told[name].as_u64().unwrap();
    assert_eq!((of("numRowsRead"), of("numRowsIndexed"), of("numRowsRolledUp")), (6, 3, 2), "{told}");
    let data = told["data"].as_array().unwrap();
    // What came, whole.
    assert_eq!(data[0]["input"]["deep"], json!({"x": [1, 2]}));
    assert_eq!(data[0]["parsed"], json!({"__time": 1_704_070_800_000_i64, "k": "A", "count": 1, "v": 1}));
    assert_eq!(data[1]["parsed"]["v"], 2);
    // What cannot be read says why, and is shown as it came.
    assert_eq!((&data[2]["unparseable"], &data[2]["input"]["k"]), (&json!(true), &json!("b")));
    assert!(data[2]["error"].as_str().unwrap().contains("timestamp"), "{}", data[2]);
    assert_eq!((&data[3]["unparseable"], &data[3]["input"]["raw"]), (&json!(true), &json!("not json")));
    // What is filtered out is neither.
    assert_eq!(
        (&data[5]["input"]["k"], &data[5]["parsed"], &data[5]["error"]),
        (&json!("out"), &Value::Null, &Value::Null)
    );
    let schema = json!([{"name": "__time", "type": "LONG"}, {"name": "k", "type": "STRING"},
        {"name": "count", "type": "LONG"}, {"name": "v", "type": "LONG"}]);
    assert_eq!(told["logicalSegmentSchema"], schema);
    assert_eq!(told["logicalDimensions"], json!([{"type": "string", "name": "k"}]));
    // Nothing came of it.
    assert_eq!(server.get("/druid/v2/datasources").body, json!([]));
    assert_eq!(server.get("/druid/indexer/v1/tasks").body, json!([]));
}

#[test]
fn the_first_rows_are_enough_and_formats_are_read_as_tasks_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut csv = String::from("t,k,v\n");
    (0..3_000).for_each(|n| csv.push_str(&format!("2024-01-01T00:00:00Z,key{n},{n}\n")));
    let format = json!({"type": "csv", "findColumnsFromHeader": true});
    let mut spec = inline(format, &csv, json!({}));
    spec["samplerConfig"] = json!({"numRows": 7, "timeoutMs": 5_000});
    let told = server.post_ok(SAMPLER, &spec);
    assert_eq!((&told["numRowsRead"], &told["numRowsIndexed"]), (&json!(7), &json!(7)), "{told}");
    assert_eq!(told["data"][6]["input"], json!({"t": "2024-01-01T00:00:00Z", "k": "key6", "v": "6"}));
    assert_eq!(told["data"][6]["parsed"]["v"], 6);
    // Fields that are found have the types of their values.
    let discovered = json!({"dimensionsSpec": {"useSchemaDiscovery": true}, "metricsSpec": [],
        "granularitySpec": {"rollup": false}});
    let told = server.post_ok(SAMPLER, &inline(json!({"type": "json"}), LINES, discovered));
    let types: BTreeMap<&str, &str> = told["logicalSegmentSchema"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["type"].as_str().unwrap()))
        .collect();
    let expected = [("__time", "LONG"), ("deep", "COMPLEX<json>"), ("k", "STRING"), ("v", "LONG")];
    assert_eq!(types, expected.into(), "{told}");
    assert_eq!(told["numRowsRolledUp"], Value::Null);
    // Without a schema, what comes is shown as it is.
    let mut bare = inline(json!({"type": "json"}), LINES, json!({}));
    bare["spec"].as_object_mut().unwrap().remove("dataSchema");
    let told = server.post_ok(SAMPLER, &bare);
    assert_eq!((&told["numRowsRead"], &told["data"][1]["parsed"]["v"]), (&json!(6), &json!(2)), "{told}");
}

#[test]
fn what_cannot_be_sampled_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let good = inline(json!({"type": "json"}), LINES, json!({}));
    let refused = |change: &dyn Fn(&mut Value), names: &str| {
        let mut spec = good.clone();
        change(&mut spec);
        let reply = server.post(SAMPLER, &spec);
        let error = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == 400 && error.contains(names), "{names}: {} {}", reply.status, reply.body);
    };
    refused(&|spec| spec["type"] = json!("kinesis"), "kinesis");
    refused(&|spec| spec["spec"] = Value::Null, "spec is required");
    refused(&|spec| spec["samplerConfig"] = json!({"numRows": 5_001}), "samplerConfig.numRows");
    refused(&|spec| spec["samplerConfig"] = json!({"numRows": "many"}), "samplerConfig.numRows");
    refused(&|spec| spec["samplerConfig"] = json!([]), "samplerConfig");
    refused(&|spec| spec["spec"]["ioConfig"]["inputFormat"] = json!({"type": "jsno"}), "json");
    refused(&|spec| spec["spec"]["dataSchema"]["dataSource"] = json!("sys.audit"), "sys.audit");
    // Nobody is at the other end: an answer in time, which says so.
    let mut stream = supervisor("looked_at", "nowhere", "127.0.0.1:1", json!({}), json!({}));
    stream["samplerConfig"] = json!({"timeoutMs": 4_000});
    let reply = server.post(SAMPLER, &stream);
    let error = reply.body["error"].as_str().unwrap_or_default();
    assert!(matches!(reply.status, 400 | 503) && !error.is_empty(), "{} {}", reply.status, reply.body);
}

/// As one is told to try again while earlier samples are let go.
fn patient(server: &Server, spec: &Value) -> Reply {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = server.post(SAMPLER, spec);
        if reply.status != 503 || Instant::now() > end {
            return reply;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn sampled(server: &Server, spec: &Value) -> Value {
    let reply = patient(server, spec);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

#[test]
fn a_stream_is_looked_at_from_its_beginning_or_at_its_newest() {
    let Some(bootstrap) = kafka("a_stream_is_looked_at_from_its_beginning_or_at_its_newest") else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let topic = format!("sampled-{}", std::process::id());
    create_topic(&bootstrap, &topic, 1);
    let fed = Arc::new(Fed::default());
    feed(&bootstrap, &topic, 500, 0, &fed);
    let numbers = |earliest: bool| -> Vec<u64> {
        let io = json!({"useEarliestOffset": earliest});
        let mut spec = supervisor("looked_at", &topic, &bootstrap, io, json!({}));
        spec["samplerConfig"] = json!({"numRows": 20, "timeoutMs": 15_000});
        let told = sampled(&server, &spec);
        told["data"].as_array().unwrap().iter().map(|row| row["parsed"]["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(true), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(false), (480..500).collect::<Vec<_>>());
    // With all that a Kafka record has.
    let format = json!({"type": "kafka", "valueFormat": {"type": "json"}, "keyFormat": {"type": "regex", "pattern": "(.*)", "columns": ["k"]}});
    let mut spec = supervisor("looked_at", &topic, &bootstrap, json!({"inputFormat": format}), json!({}));
    spec["samplerConfig"] = json!({"numRows": 1});
    let told = sampled(&server, &spec);
    let input = &told["data"][0]["input"];
    assert!(input["kafka.timestamp"].is_i64() && input["kafka.key"] == input["key"], "{told}");
    // A topic that there is not.
    let mut spec = supervisor("looked_at", "there-is-none", &bootstrap, json!({}), json!({}));
    spec["samplerConfig"] = json!({"timeoutMs": 15_000});
    let reply = patient(&server, &spec);
    assert!(reply.status == 400 && reply.body["error"].is_string(), "{} {}", reply.status, reply.body);
}
