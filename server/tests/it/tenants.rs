//! Two tenants write into one topic; each asks in the ways that people ask, and sees its own event, while the rows are in
//! memory and when they are published.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::harness::{Server, create_topic, kafka, supervisor};

const TIME: &str = "2026-11-01T12:00:00.000Z";

fn ask(server: &Server, user: &str, path: &str, body: &Value) -> Value {
    let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:password of {user}")));
    let reply = server.send("POST", path, &[("Authorization", &authorization)], Some(body));
    assert_eq!(reply.status, 200, "{user}: {path} {body}: {}", reply.body);
    reply.body
}

/// What each asks, and where in the answer the values of `data` stand.
fn sees(server: &Server, user: &str, data: &str) {
    let sql = |text: &str, format: Value| {
        let mut body = json!({"query": text, "resultFormat": "array"});
        body.as_object_mut().unwrap().extend(format.as_object().unwrap().clone());
        ask(server, user, "/druid/v2/sql", &body)
    };
    let none = json!({});
    assert_eq!(sql("SELECT data, user_id FROM events", none.clone()), json!([[data, user]]));
    assert_eq!(sql("SELECT COUNT(*) FROM events", none.clone()), json!([[1]]));
    // A chart, a table, a big number and the values of a filter, as Superset writes them.
    let superset = [
        (
            r#"SELECT TIME_FLOOR(CAST("__time" AS TIMESTAMP), 'PT1H') AS "__timestamp", COUNT(*) AS "count" FROM "druid"."events"
               WHERE "__time" >= '2015-09-12 00:00:00.000000' AND "__time" < '2035-09-13 00:00:00.000000'
               GROUP BY TIME_FLOOR(CAST("__time" AS TIMESTAMP), 'PT1H') LIMIT 200000"#,
            json!([[TIME, 1]]),
        ),
        (
            r#"SELECT "data" AS "data", COUNT(*) AS "count" FROM "druid"."events" GROUP BY "data" ORDER BY "count" DESC LIMIT 10000"#,
            json!([[data, 1]]),
        ),
        (
            r#"SELECT COUNT(DISTINCT "user_id") AS "COUNT_DISTINCT(user_id)" FROM "druid"."events" LIMIT 50000"#,
            json!([[1]]),
        ),
        (r#"SELECT "user_id" AS "user_id" FROM "druid"."events" GROUP BY "user_id" LIMIT 1000"#, json!([[user]])),
        (r#"SELECT MIN("__time"), MAX("__time") FROM "druid"."events""#, json!([[TIME, TIME]])),
    ];
    for (text, expected) in superset {
        assert_eq!(sql(text, json!({"header": false, "context": {}})), expected, "{user}: {text}");
    }
    // Grafana's plugin: SQL with a header, and native queries.
    let rows =
        sql("SELECT DISTINCT data FROM \"events\" WHERE data IS NOT NULL", json!({"queryType": "sql", "header": true}));
    assert_eq!(rows, json!([["data"], [data]]));
    let native = |query: Value| {
        let mut body = json!({"dataSource": {"type": "table", "name": "events"},
            "intervals": {"type": "intervals", "intervals": ["2015-01-01/2035-01-01"]}, "granularity": "all",
            "aggregations": [{"type": "count", "name": "rows"}], "context": {"plop": "plep"}});
        body.as_object_mut().unwrap().extend(query.as_object().unwrap().clone());
        ask(server, user, "/druid/v2", &body)
    };
    assert_eq!(native(json!({"queryType": "timeseries"}))[0]["result"]["rows"], 1);
    let top = native(json!({"queryType": "topN", "dimension": "data", "metric": "rows", "threshold": 5}));
    assert_eq!(top[0]["result"], json!([{"data": data, "rows": 1}]));
    let groups = native(json!({"queryType": "groupBy", "dimensions": ["user_id"]}));
    assert_eq!(groups[0]["event"], json!({"user_id": user, "rows": 1}));
    let scan = native(json!({"queryType": "scan", "columns": ["data"], "resultFormat": "compactedList"}));
    assert_eq!(scan[0]["events"], json!([[data]]));
    let found = native(json!({"queryType": "search", "searchDimensions": ["data", "user_id"],
        "query": {"type": "insensitive_contains", "value": ""}}));
    assert_eq!(found[0]["result"].as_array().unwrap().len(), 2, "{found}");
}

#[test]
fn each_tenant_sees_its_own_event_in_sql_native_and_what_dashboards_send() {
    let Some(bootstrap) = kafka("tenants") else { return };
    let dir = tempfile::tempdir().unwrap();
    let topic = format!("tenants-{}", std::process::id());
    create_topic(&bootstrap, &topic, 1);
    let server = Server::start(dir.path());
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
    for payload in [r#"{"data":"1","user_id":"A"}"#, r#"{"data":"2","user_id":"B"}"#] {
        producer.send(BaseRecord::<(), str>::to(&topic).payload(payload)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let mut spec = supervisor("events", &topic, &bootstrap, json!({"taskDuration": "PT1H"}), json!({}));
    spec["spec"]["dataSchema"]["timestampSpec"] = json!({"column": "ts", "format": "auto", "missingValue": TIME});
    spec["spec"]["dataSchema"]["dimensionsSpec"] = json!({"dimensions": ["data", "user_id"]});
    server.post_ok("/druid/indexer/v1/supervisor", &spec);
    server.wait_for_count("events", 2, Duration::from_secs(60));

    let role = json!({
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}],
        "policies": [{"name": "own", "datasource": "events", "sql": "user_id = CURRENT_USER"}],
    });
    let put = |path: String, body: Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(&body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    put("/roles/tenant".into(), role);
    for user in ["A", "B"] {
        put(format!("/users/{user}"), json!({"password": format!("password of {user}"), "roles": ["tenant"]}));
    }
    put("/datasources/events".into(), json!({"requirePolicy": true}));
    sees(&server, "A", "1");
    sees(&server, "B", "2");
    let told = server.post_ok("/henge/v1/security/explain", &json!({"user": "A", "datasource": "events"}));
    assert_eq!((&told["access"], &told["filter"]["matchValue"]), (&json!("restricted"), &json!("A")), "{told}");

    // Who may act on what feeds the table is told nothing of it for that.
    let permissions = json!([{"resource": {"type": "SUPERVISOR", "name": "events"}, "action": "READ"},
        {"resource": {"type": "SUPERVISOR", "name": "events"}, "action": "WRITE"}]);
    put("/roles/feeder".into(), json!({"permissions": permissions}));
    put("/users/A".into(), json!({"password": "password of A", "roles": ["tenant", "feeder"]}));
    for act in ["resume", "suspend"] {
        let told = ask(&server, "A", &format!("/druid/indexer/v1/supervisor/events/{act}"), &json!({}));
        assert_eq!(told, json!({"id": "events"}), "{act}");
    }

    // Published, they see the same.
    server.post_ok("/druid/indexer/v1/supervisor/events/suspend", &json!({}));
    let end = Instant::now() + Duration::from_secs(60);
    while server.sql("SELECT COUNT(*) FROM sys.segments WHERE is_published = 1 AND datasource = 'events'")
        != [[json!(1)]]
    {
        assert!(Instant::now() < end, "the rows are not published");
        std::thread::sleep(Duration::from_millis(50));
    }
    sees(&server, "A", "1");
    sees(&server, "B", "2");
}
