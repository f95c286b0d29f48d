//! Secrets in specs: passwords and keys among a stream's `consumerProperties`, and what an `http` input source tells its
//! servers, are kept and used, and never shown. In their
//! place stands [`HIDDEN`]; a spec that comes back with it keeps the value it had, for the same servers only.

use std::collections::BTreeMap;

use ingest::spec::properties::{consumer_properties, directs, is_secret};
use serde_json::{Map, Value};

use crate::http::error::{Answered, Refusal};

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "(hidden)";

const PROPERTIES: &str = "consumerProperties";

/// Where a spec has those of its stream.
const PLACES: [&str; 2] = ["/spec/ioConfig/consumerProperties", "/ioConfig/consumerProperties"];

/// A spec as it may be shown.
pub fn hidden(spec: &Value) -> Value {
    let mut shown = spec.clone();
    properties(&mut shown, &mut |properties| {
        for (name, value) in properties.iter_mut() {
            // What is no text (a provider that looks the value up elsewhere) may have texts within.
            if is_secret(name) || value.is_object() || value.is_array() {
                hide(value);
            }
        }
        Ok(())
    })
    .unwrap_or_default();
    hide_told(&mut shown);
    shown
}

/// Hides what an input source tells servers, wherever in the spec it stands.
fn hide_told(of: &mut Value) {
    match of {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match (name.as_str(), value) {
                    ("httpAuthenticationPassword", value) => hide(value),
                    ("requestHeaders", Value::Object(headers)) => headers.values_mut().for_each(hide),
                    ("requestHeaders", value) => hide(value),
                    (_, value) => hide_told(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_told),
        _ => {}
    }
}

/// Puts the values of an earlier spec where a posted one says that they are hidden. Refuses where they would be told to
/// somebody else than before, and where the mark stands within a provider: what that gave is not known by name.
pub fn restore(spec: &mut Value, earlier: Option<&Value>) -> Answered<()> {
    let earlier = earlier.and_then(|earlier| PLACES.iter().find_map(|place| earlier.pointer(place)?.as_object()));
    for place in PLACES {
        if let Some(Value::Object(properties)) = spec.pointer_mut(place) {
            restore_in(properties, earlier)?;
        }
    }
    // A value that comes back elsewhere would be shown there.
    properties(spec, &mut |properties| match properties.values().any(says_hidden) {
        true => Err(Refusal::invalid(format!("{HIDDEN} stands for a value in ioConfig.{PROPERTIES} and nowhere else"))),
        false => Ok(()),
    })
}

fn restore_in(properties: &mut Map<String, Value>, earlier: Option<&Map<String, Value>>) -> Answered<()> {
    if let Some((name, _)) = properties.iter().find(|(_, value)| !value.is_string() && says_hidden(value)) {
        return Err(Refusal::invalid(format!(
            "{PROPERTIES}.{name}: {HIDDEN} cannot stand within a provider; give its values"
        )));
    }
    let mut restored = None;
    for (name, value) in properties.iter_mut().filter(|(_, value)| **value == HIDDEN) {
        let Some(kept) = earlier.and_then(|of| of.get(name)) else {
            return Err(Refusal::invalid(format!(
                "{PROPERTIES}.{name}: {HIDDEN} stands for the value of the spec before, which had none; give the value"
            )));
        };
        *value = kept.clone();
        restored = Some(name.clone());
    }
    let (Some(name), Some(earlier)) = (restored, earlier) else { return Ok(()) };
    match redirected(&effective(earlier)?, &effective(properties)?) {
        None => Ok(()),
        Some(by) => Err(Refusal::invalid(format!(
            "{PROPERTIES}.{by} is not what it was, and {HIDDEN} in {name} stands for a value that is for the servers of \
                 the spec before; give the value"
        ))),
    }
}

fn effective(properties: &Map<String, Value>) -> Answered<BTreeMap<String, String>> {
    Ok(consumer_properties(&Value::Object(properties.clone()), PROPERTIES)?)
}

/// A property by which secrets would go to others, or go another way, than before.
fn redirected<'a>(before: &'a BTreeMap<String, String>, now: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let names = before.keys().chain(now.keys());
    names.map(String::as_str).find(|name| directs(name) && before.get(*name) != now.get(*name))
}

fn says_hidden(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(says_hidden),
        Value::Array(items) => items.iter().any(says_hidden),
        value => *value == HIDDEN,
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Names of variables are no secrets.
            let names = fields.get("type").is_some_and(|of| of == "environment");
            let told = |name: &str| name == "type" || names && matches!(name, "variable" | "variables");
            fields.iter_mut().filter(|(name, _)| !told(name)).for_each(|(_, value)| hide(value));
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null => {}
        Value::String(_) | Value::Number(_) | Value::Bool(_) => *value = HIDDEN.into(),
    }
}

/// Calls with every object of properties, wherever in the spec it stands.
fn properties(of: &mut Value, with: &mut impl FnMut(&mut Map<String, Value>) -> Answered<()>) -> Answered<()> {
    match of {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::Object(found) if name == PROPERTIES => with(found)?,
                    other => properties(other, with)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| properties(item, with)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_hidden_comes_back_for_the_same_servers_only() {
        let spec = json!({"spec": {"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1", "sasl.username": "ann",
            "sasl.password": "xyzzy", "ssl.key.pem": "xyzzy", "ssl.keystore.key": "xyzzy", "ssl_key": "xyzzy",
            "sasl.oauthbearer.assertion.private.key.pem": "xyzzy", "sasl.jaas.config": "xyzzy", "provider": {"type": "map", "config": {"a": "xyzzy"}},
            "from": {"type": "environment", "variable": "SECRET"}}}}});
        let shown = hidden(&spec);
        assert!(!shown.to_string().contains("xyzzy"), "{shown}");
        let properties = &shown["spec"]["ioConfig"]["consumerProperties"];
        assert_eq!((&properties["sasl.username"], &properties["bootstrap.servers"]), (&json!("ann"), &json!("a:1")));
        assert_eq!(properties["from"]["variable"], json!("SECRET"));
        assert_eq!(properties["provider"], json!({"type": "map", "config": {"a": HIDDEN}}));

        let spec = json!({"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1", "sasl.password": "xyzzy"}}});
        let mut again =
            json!({"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1", "sasl.password": HIDDEN}}});
        let posted = again.clone();
        restore(&mut again, Some(&spec)).unwrap();
        assert_eq!(again["ioConfig"]["consumerProperties"]["sasl.password"], json!("xyzzy"));
        let mut elsewhere = posted.clone();
        elsewhere["ioConfig"]["consumerProperties"]["bootstrap.servers"] = json!("evil:1");
        // Nor anywhere else, where it would be shown.
        let mut beside = posted.clone();
        beside["context"] = json!({"consumerProperties": {"bootstrap.servers": "a:1", "sasl.password": HIDDEN}});
        let refused = restore(&mut beside, Some(&spec)).unwrap_err();
        assert!(refused.message.contains("nowhere else"), "{}", refused.message);
        // What is no text is as secret.
        let odd = json!({"ioConfig": {"consumerProperties": {"sasl.password": 98765, "fetch.max.bytes": 98766,
            "sasl.username": {"type": "environment", "variable": "KAFKA_NAME", "password": "98765"}}}});
        let shown = hidden(&odd).to_string();
        assert!(!shown.contains("98765") && shown.contains("98766") && shown.contains("KAFKA_NAME"), "{shown}");
        let refused = restore(&mut elsewhere, Some(&spec)).unwrap_err();
        assert!(refused.message.contains("sasl.password") && !refused.message.contains("xyzzy"), "{}", refused.message);
        assert!(restore(&mut posted.clone(), None).is_err());
    }

    #[test]
    fn what_is_told_to_servers_of_input_is_hidden() {
        let spec = json!({"spec": {"ioConfig": {"inputSource": {"type": "http", "uris": ["http://a/"],
            "httpAuthenticationUsername": "ann", "httpAuthenticationPassword": "xyzzy",
            "requestHeaders": {"X-Key": "xyzzy", "type": "xyzzy"}}}}});
        let shown = hidden(&spec);
        assert!(!shown.to_string().contains("xyzzy"), "{shown}");
        let source = &shown["spec"]["ioConfig"]["inputSource"];
        assert_eq!(
            (&source["httpAuthenticationUsername"], &source["requestHeaders"]["X-Key"]),
            (&json!("ann"), &json!(HIDDEN))
        );
        let spec = json!({"httpAuthenticationPassword": {"type": "environment", "variable": "SECRET_A"}});
        assert_eq!(hidden(&spec), spec);
        let spec = json!({"httpAuthenticationPassword": {"type": "default", "password": "xyzzy"}});
        assert_eq!(hidden(&spec)["httpAuthenticationPassword"], json!({"type": "default", "password": HIDDEN}));
    }

    /// Whoever may change a supervisor, and not know its password, has it sent nowhere else.
    #[test]
    fn what_decides_to_whom_a_secret_goes_is_as_it_was() {
        let earlier = json!({"spec": {"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1",
            "security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "sasl.username": "ann",
            "sasl.password": "xyzzy", "sasl.oauthbearer.token.endpoint.url": "https://id.example.com/token",
            "fetch.max.bytes": 7}}}});
        let posted = |changes: Value| {
            let mut spec = hidden(&earlier);
            let properties = spec["spec"]["ioConfig"]["consumerProperties"].as_object_mut().unwrap();
            for (name, value) in changes.as_object().unwrap() {
                properties.insert(name.clone(), value.clone());
            }
            restore(&mut spec, Some(&earlier)).map(|()| spec["spec"]["ioConfig"]["consumerProperties"].clone())
        };
        for (name, value) in [
            ("bootstrap.servers", json!("evil:1")),
            ("bootstrap.servers", json!("a:1,evil:1")),
            ("metadata.broker.list", json!("evil:1")),
            ("security.protocol", json!("SASL_PLAINTEXT")),
            ("security.protocol", Value::Null),
            ("sasl.mechanism", json!("PLAIN")),
            ("sasl.mechanisms", json!("PLAIN")),
            ("sasl.oauthbearer.token.endpoint.url", json!("https://evil.example.com/token")),
            ("ssl.ca.location", json!("/some/file")),
            ("ssl.ca.pem", json!("-----BEGIN")),
            ("https.ca.pem", json!("-----BEGIN")),
            ("ssl.endpoint.identification.algorithm", json!("none")),
            ("enable.ssl.certificate.verification", json!("false")),
        ] {
            let refused = posted(json!({name: value})).expect_err(name).message;
            assert!(refused.contains(name) && !refused.contains("xyzzy") && !refused.contains("evil"), "{refused}");
            // By a provider, which goes before what stands beside it.
            if value.is_string() {
                let provider = json!({"type": "mapString", "config": {name: value}});
                let refused = posted(json!({"druid.dynamic.config.provider": provider})).expect_err(name).message;
                assert!(refused.contains(name), "{refused}");
            }
        }
        for harmless in [json!({}), json!({"fetch.max.bytes": 8}), json!({"sasl.username": "bob"})] {
            let kept = posted(harmless).unwrap_or_else(|refused| panic!("{}", refused.message));
            assert_eq!(kept["sasl.password"], "xyzzy");
        }
        for provider in [
            json!({"druid.dynamic.config.provider": {"type": "mapString", "config": {"sasl.password": HIDDEN}}}),
            json!({"sasl.password": {"type": "default", "password": HIDDEN}}),
        ] {
            let refused = posted(provider).expect_err("within a provider").message;
            assert!(refused.contains("within a provider"), "{refused}");
        }
    }
}
