//! `query.default_context`: what queries have that do not set it themselves, native ones and SQL.

use serde_json::{Value, json};

use crate::harness::Server;

fn server(dir: &std::path::Path, context: &str) -> Server {
    let server = Server::start_with(dir, &[("query.default_context", context)]);
    let rows = [("2024-01-01T00:30Z", "b"), ("2024-01-01T05:30Z", "a")];
    let rows = rows.map(|(t, k)| json!({"t": t, "k": k, "v": 1}).to_string());
    server.load("some", "iso", json!({"dimensions": ["k", {"type": "long", "name": "v"}]}), &rows.join("\n"));
    server
}

#[test]
fn every_query_has_it_that_does_not_say_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let context = r#"{"skipEmptyBuckets": true, "sortByDimsFirst": true, "sqlTimeZone": "+02:00", "mine": 1}"#;
    let server = server(dir.path(), context);
    let native = |query: Value, own: Value| {
        let mut query = query;
        query["dataSource"] = json!("some");
        query["intervals"] = json!(["2024-01-01/2024-01-02"]);
        query["granularity"] = json!("hour");
        if !own.is_null() {
            query["context"] = own;
        }
        server.post_ok("/druid/v2", &query)
    };
    let hours = |own: Value| native(json!({"queryType": "timeseries"}), own).as_array().unwrap().len();
    assert_eq!(hours(Value::Null), 2);
    assert_eq!(hours(json!({"queryId": "x"})), 2);
    assert_eq!(hours(json!({"skipEmptyBuckets": false})), 6);
    // A null is said too: Druid's own default.
    assert_eq!(hours(json!({"skipEmptyBuckets": null})), 6);
    let first = |own: Value| native(json!({"queryType": "groupBy", "dimensions": ["k"]}), own)[0]["event"]["k"].clone();
    assert_eq!((first(Value::Null), first(json!({"sortByDimsFirst": false}))), (json!("a"), json!("b")));
    // A union hands it on.
    let part = json!({"queryType": "timeseries", "dataSource": "some", "intervals": ["2024-01-01/2024-01-02"], "granularity": "hour"});
    let union = server.post_ok("/druid/v2", &json!({"queryType": "union", "queries": [part, part]}));
    assert_eq!(union.as_array().unwrap().len(), 4);
    // What its queries and itself say goes before.
    let mut own = part.clone();
    own["context"] = json!({"skipEmptyBuckets": false});
    let rows = |context: Value| {
        let union = json!({"queryType": "union", "queries": [part, own], "context": context});
        server.post_ok("/druid/v2", &union).as_array().unwrap().len()
    };
    assert_eq!(rows(Value::Null), 2 + 6);
    assert_eq!(rows(json!({"skipEmptyBuckets": true})), 2 + 2);
    assert_eq!(rows(json!({"skipEmptyBuckets": null})), 6 + 6);

    let day = |context: Value| {
        let text = "SELECT TIME_FORMAT(MAX(__time), 'HH') FROM some";
        server.post_ok("/druid/v2/sql", &json!({"query": text, "resultFormat": "array", "context": context}))[0][0]
            .clone()
    };
    assert_eq!(day(json!({})), "07");
    assert_eq!(day(json!({"sqlTimeZone": "Z"})), "05");
    assert_eq!(day(json!({"sqlTimeZone": null})), "05");
    let set = json!({"query": "SET sqlTimeZone = '+01:00'; SELECT TIME_FORMAT(MAX(__time), 'HH') FROM some", "resultFormat": "array"});
    assert_eq!(server.post_ok("/druid/v2/sql", &set)[0][0], "06");
    let jdbc = |body: Value| server.post_ok("/druid/v2/sql/avatica/", &body);
    jdbc(json!({"request": "openConnection", "connectionId": "c", "info": {}}));
    let statement = jdbc(json!({"request": "createStatement", "connectionId": "c"}))["statementId"].clone();
    let got = jdbc(json!({"request": "prepareAndExecute", "connectionId": "c", "statementId": statement,
        "sql": "SELECT TIME_FORMAT(MAX(__time), 'HH') FROM some", "maxRowsInFirstFrame": -1, "maxRowsTotal": -1}));
    assert_eq!(got["results"][0]["firstFrame"]["rows"][0][0], "07", "{got}");
}

/// A server that would refuse every query does not start.
#[test]
fn a_wrong_one_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::launch(dir.path(), "server", &[("query.default_context", r#"{"timeout": "soon"}"#)], &[]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !server.has_exited() {
        assert!(std::time::Instant::now() < end, "it runs");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let log = server.log();
    assert!(log.contains("query.default_context") && log.contains("timeout must be a whole number"), "{log}");
}
