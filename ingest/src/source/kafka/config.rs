//! The spec's consumerProperties (the Java client's names) → librdkafka's.
//!
//! Specs of Druid hold what the Java client takes: who signs in stands in `sasl.jaas.config`, and an empty
//! `ssl.endpoint.identification.algorithm` checks no names. Both are said in librdkafka's words here. TLS trusts the
//! authorities of the machine unless the spec names others.

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

/// Who signs in, in the Java client's words.
const JAAS: &str = "sasl.jaas.config";

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
        let told = (name.as_str(), value.as_str());
        match told {
            (name, _) if JAVA_ONLY.contains(&name) => {}
            (JAAS, value) if login(value).is_some() => {}
            ("ssl.endpoint.identification.algorithm", "") => drop(config.set(name, "none")),
            (name, value) => {
                let renamed = RENAMED.iter().find(|(java, _)| *java == name);
                config.set(renamed.map_or(name, |(_, ours)| ours), value);
            }
        }
    }
    if let Some((user, password)) = properties.get(JAAS).and_then(|value| login(value)) {
        // What the spec says in librdkafka's own words goes before it.
        for (name, value) in [("sasl.username", user), ("sasl.password", password)] {
            if !properties.contains_key(name) {
                config.set(name, value);
            }
        }
    }
    let by_tls =
        properties.get("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    if by_tls && !properties.keys().any(|name| name.starts_with("ssl.ca.")) {
        config.set("ssl.ca.location", "probe");
    }
    for (name, value) in FIXED {
        config.set(name, value);
    }
    config
}

/// Name and password of `…PlainLoginModule required username="…" password="…";` and of `…ScramLoginModule`. `None` for what
/// signs in another way, which librdkafka then refuses by its name.
fn login(jaas: &str) -> Option<(String, String)> {
    let (module, options) = jaas.trim().strip_suffix(';')?.split_once(char::is_whitespace)?;
    if !["PlainLoginModule", "ScramLoginModule"].contains(&module.rsplit('.').next()?) {
        return None;
    }
    let option = |wanted: &str| {
        let mut rest = options;
        loop {
            let (name, after) = rest.split_once('=')?;
            let name = name.split_whitespace().last()?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (value, left) = match quote {
                Some(quote) => quoted(&after[1..], quote)?,
                None => {
                    let end = after.find(char::is_whitespace).unwrap_or(after.len());
                    (after[..end].to_string(), &after[end..])
                }
            };
            if name == wanted {
                return Some(value);
            }
            rest = left;
        }
    };
    Some((option("username")?, option("password")?))
}

/// What stands before the quote that ends it, and what follows; a backslash takes the next character as it is.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.push(characters.next()?.1),
            c if c == quote => return Some((value, &text[at + c.len_utf8()..])),
            c => value.push(c),
        }
    }
    None
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

    #[test]
    fn who_signs_in_may_stand_in_the_words_of_the_java_client() {
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let some = |user: &str, password: &str| Some((user.to_string(), password.to_string()));
        for (jaas, expected) in [
            (format!("{scram} required username=\"ann\" password=\"p w;=\\\"x\";"), some("ann", "p w;=\"x")),
            (format!(" {scram} required\n  password='a' tokenauth=\"true\" username=ann ;\n"), some("ann", "a")),
            (format!("{scram} required username=\"ann\";"), None),
            (format!("{scram} required username=\"ann\" password=\"open;"), None),
            (format!("{scram} required username=\"ann\" password=\"a\""), None),
            ("com.sun.security.auth.module.Krb5LoginModule required username=\"a\" password=\"b\";".into(), None),
            (String::new(), None),
            (";".into(), None),
        ] {
            assert_eq!(login(&jaas), expected, "{jaas}");
        }
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.jaas.config", "x.PlainLoginModule required username=\"ann\" password=\"secret\";"),
            ("ssl.endpoint.identification.algorithm", ""),
        ];
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let config = client_config(&properties, "me");
        for (name, value) in [
            ("sasl.username", Some("ann")),
            ("sasl.password", Some("secret")),
            ("sasl.jaas.config", None),
            ("ssl.endpoint.identification.algorithm", Some("none")),
            ("ssl.ca.location", Some("probe")),
        ] {
            assert_eq!(config.get(name), value, "{name}");
        }
    }
}
