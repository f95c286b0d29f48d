//! Secrets in specs: passwords and keys among a stream's `consumerProperties` are kept and used, and never shown. In their
//! place stands [`HIDDEN`]; a spec that comes back with it keeps the value it had, for the same servers only.

use serde_json::{Map, Value};

use crate::http::error::{Answered, Refusal};

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "(hidden)";

const PROPERTIES: &str = "consumerProperties";
const SERVERS: &str = "bootstrap.servers";

/// Parts of the names of properties whose values are nobody's business.
const SECRET: [&str; 9] =
    ["password", "passphrase", "secret", "token", "jaas", "credential", "key.pem", "oauthbearer.config", "private"];

/// A spec as it may be shown.
pub fn hidden(spec: &Value) -> Value {
    let mut shown = spec.clone();
    properties(&mut shown, &mut |properties| {
        for (name, value) in properties.iter_mut() {
            // What is no text (a provider that looks the value up elsewhere) may have texts within.
            if is_secret(name) || !value.is_string() {
                hide(value);
            }
        }
        Ok(())
    })
    .unwrap_or_default();
    shown
}

/// Puts the values of an earlier spec where a posted one says that they are hidden.
pub fn restore(spec: &mut Value, earlier: Option<&Value>) -> Answered<()> {
    let earlier = earlier.and_then(found);
    properties(spec, &mut |properties| {
        let servers = properties.get(SERVERS).cloned();
        for (name, value) in properties.iter_mut().filter(|(_, value)| **value == HIDDEN) {
            let kept = earlier.filter(|earlier| earlier.get(SERVERS) == servers.as_ref()).and_then(|of| of.get(name));
            // Other servers would be told a secret that is not meant for them.
            let Some(kept) = kept else {
                return Err(Refusal::invalid(format!(
                    "{PROPERTIES}.{name}: {HIDDEN} stands for the value of the spec before, which had none for these servers; \
                     give the value"
                )));
            };
            *value = kept.clone();
        }
        Ok(())
    })
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.get("type").is_some_and(|of| of == "environment") => {}
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::String(text) => *text = HIDDEN.into(),
        _ => {}
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

fn found(of: &Value) -> Option<&Map<String, Value>> {
    let fields = of.as_object()?;
    let here = fields.get(PROPERTIES).and_then(Value::as_object);
    here.or_else(|| fields.values().find_map(found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_hidden_comes_back_for_the_same_servers_only() {
        let spec = json!({"spec": {"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1", "sasl.username": "ann",
            "sasl.password": "xyzzy", "ssl.key.pem": "xyzzy", "provider": {"type": "map", "config": {"a": "xyzzy"}},
            "from": {"type": "environment", "variable": "SECRET"}}}}});
        let shown = hidden(&spec);
        assert!(!shown.to_string().contains("xyzzy"), "{shown}");
        let properties = &shown["spec"]["ioConfig"]["consumerProperties"];
        assert_eq!((&properties["sasl.username"], &properties["bootstrap.servers"]), (&json!("ann"), &json!("a:1")));
        assert_eq!(properties["from"]["variable"], json!("SECRET"));

        let mut again =
            json!({"ioConfig": {"consumerProperties": {"bootstrap.servers": "a:1", "sasl.password": HIDDEN}}});
        let posted = again.clone();
        restore(&mut again, Some(&spec)).unwrap();
        assert_eq!(again["ioConfig"]["consumerProperties"]["sasl.password"], json!("xyzzy"));
        let mut elsewhere = posted.clone();
        elsewhere["ioConfig"]["consumerProperties"]["bootstrap.servers"] = json!("evil:1");
        let refused = restore(&mut elsewhere, Some(&spec)).unwrap_err();
        assert!(refused.message.contains("sasl.password") && !refused.message.contains("xyzzy"), "{}", refused.message);
        assert!(restore(&mut posted.clone(), None).is_err());
    }
}
