//! The spec's consumerProperties (the Java client's names) → librdkafka's.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Ours, unless the spec says otherwise.
const DEFAULTS: [(&str, &str); 8] = [
    ("isolation.level", "read_committed"),
    // What is fetched ahead of reading; see the memory sum in mod.rs.
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "8388608"),
    // How long fetching rests when that is full. The default of a second would stop a fast reader.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.error.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.nagle.disable", "true"),
];

/// Ours, whatever the spec says: positions belong to the ledger, and a position that is gone is an error.
const FIXED: [(&str, &str); 6] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("allow.auto.create.topics", "false"),
    ("statistics.interval.ms", "1000"),
    // Not to poll is our backpressure.
    ("max.poll.interval.ms", "86400000"),
];

/// Properties of the Java client that mean nothing here.
const JAVA_ONLY: [&str; 18] = [
    "key.deserializer",
    "value.deserializer",
    "max.poll.records",
    "interceptor.classes",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.sample.window.ms",
    "metrics.recording.level",
    "exclude.internal.topics",
    "default.api.timeout.ms",
    "request.timeout.ms",
    "client.dns.lookup",
    "auto.include.jmx.reporter",
    "partition.assignment.strategy",
    "security.providers",
    "ssl.keystore.type",
    "ssl.truststore.type",
    "internal.leave.group.on.close",
];

/// The same thing by another name.
const RENAMED: [(&str, &str); 3] = [
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
];

/// `client` names the client to the brokers. The group id is needed by librdkafka to assign partitions; no group is ever
/// joined.
pub(super) fn client_config(properties: &BTreeMap<String, String>, client: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    config.set("client.id", client).set("group.id", client);
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    for (name, value) in properties {
        if !JAVA_ONLY.contains(&name.as_str()) {
            let renamed = RENAMED.iter().find(|(java, _)| java == name);
            config.set(renamed.map_or(name.as_str(), |(_, ours)| ours), value);
        }
    }
    for (name, value) in FIXED {
        config.set(name, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_overrides_defaults_but_not_what_exactness_needs() {
        let properties = [
            ("bootstrap.servers", "here:1"),
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "latest"),
            ("enable.auto.commit", "true"),
            ("fetch.max.wait.ms", "7"),
            ("value.deserializer", "x"),
        ];
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let config = client_config(&properties, "me");
        let expected = [
            ("bootstrap.servers", Some("here:1")),
            ("isolation.level", Some("read_uncommitted")),
            ("auto.offset.reset", Some("error")),
            ("enable.auto.commit", Some("false")),
            ("fetch.wait.max.ms", Some("7")),
            ("value.deserializer", None),
            ("group.id", Some("me")),
        ];
        for (name, value) in expected {
            assert_eq!(config.get(name), value, "{name}");
        }
    }
}
