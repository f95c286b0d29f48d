//! A broker that speaks TLS and asks who reads: specs as Druid has them, with the Java client's words for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Fed, Server, create_topic, feed, kafka, supervisor};

#[test]
fn a_stream_is_read_by_tls_from_a_broker_that_asks_who_reads() {
    const TEST: &str = "a_stream_is_read_by_tls_from_a_broker_that_asks_who_reads";
    let Some(bootstrap) = kafka(TEST) else { return };
    let (Ok(secure), Ok(authority)) = (std::env::var("HENGE_TEST_KAFKA_SECURE"), std::env::var("HENGE_TEST_KAFKA_CA"))
    else {
        return eprintln!(
            "{TEST}: NOT RUN, HENGE_TEST_KAFKA_SECURE and HENGE_TEST_KAFKA_CA name no broker (use `make test`)"
        );
    };
    let authority = std::fs::read_to_string(authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let topic = format!("secure-{}", std::process::id());
    create_topic(&bootstrap, &topic, 2);
    let fed = Arc::new(Fed::default());
    feed(&bootstrap, &topic, 2_000, 0, &fed);
    let login = |module: &str, password: &str| {
        format!("org.apache.kafka.common.security.{module} required username=\"henge\" password=\"{password}\";")
    };
    let properties = |mechanism: &str, jaas: String| {
        json!({"bootstrap.servers": secure, "security.protocol": "SASL_SSL", "sasl.mechanism": mechanism,
            "sasl.jaas.config": jaas, "ssl.ca.pem": authority})
    };
    let spec = |datasource: &str, properties: Value| {
        supervisor(datasource, &topic, &bootstrap, json!({"consumerProperties": properties}), json!({}))
    };
    let scram = properties("SCRAM-SHA-256", login("scram.ScramLoginModule", "stream-secret"));
    server.post_ok("/druid/indexer/v1/supervisor", &spec("secured", scram.clone()));
    server.wait_for_count("secured", 2_000, Duration::from_secs(60));
    server.assert_equals("secured", &fed);
    // The password is in no place where the spec is shown.
    for path in ["", "?full"] {
        let told = server.get(&format!("/druid/indexer/v1/supervisor{path}")).body.to_string();
        assert!(!told.contains("stream-secret"), "{told}");
    }

    let look = |properties: Value| {
        let mut spec = spec("looked_at", properties);
        spec["samplerConfig"] = json!({"numRows": 5, "timeoutMs": 12_000});
        server.post("/druid/indexer/v1/sampler", &spec)
    };
    let plain = properties("PLAIN", login("plain.PlainLoginModule", "stream-secret"));
    let told = look(plain);
    assert!(told.status == 200 && told.body["numRowsIndexed"] == 5, "{} {}", told.status, told.body);
    // Whom the broker does not know, and a broker that one does not know.
    let wrong = look(properties("SCRAM-SHA-256", login("scram.ScramLoginModule", "another")));
    let mut strange = scram;
    strange.as_object_mut().unwrap().remove("ssl.ca.pem");
    for refused in [wrong, look(strange)] {
        let error = refused.body["error"].as_str().unwrap_or_default();
        assert!(matches!(refused.status, 400 | 503) && !error.is_empty(), "{} {}", refused.status, refused.body);
        assert!(!refused.body.to_string().contains("secret"), "{}", refused.body);
    }
}
