//! Properties of the Kafka client, as specs give them: which are refused, which are secret, which decide to whom secrets go,
//! and how their values come from elsewhere.

use std::collections::BTreeMap;

use segment::error::{Error, Result};
use serde_json::Value;

use super::fields::{join, kind_of};

/// Those that no spec may have, and why: by them it could have code of the server's machine loaded or run, its files sent
/// somewhere, or its log filled.
const REFUSED: [(&str, &str); 15] = [
    // Beside that, which of the two holds would be anybody's guess.
    ("metadata.broker.list", "is another name of bootstrap.servers; give that one alone"),
    ("plugin.library.paths", RUNS),
    ("ssl.engine.location", RUNS),
    ("ssl.providers", RUNS),
    ("sasl.kerberos.kinit.cmd", RUNS),
    ("sasl.oauthbearer.assertion.file", SENDS),
    ("sasl.oauthbearer.assertion.jwt.template.file", SENDS),
    // Whoever names a file learns whether it is there, has the node show what is in it to brokers of their choice, or, where it
    // is a pipe, holds the node up.
    ("ssl.ca.location", OPENS),
    ("ssl.certificate.location", OPENS),
    ("ssl.crl.location", OPENS),
    ("ssl.key.location", OPENS),
    ("ssl.keystore.location", OPENS),
    ("https.ca.location", OPENS),
    ("debug", FILLS),
    ("log.queue", FILLS),
];

const RUNS: &str = "is not allowed: it loads or runs what is on the server; leave it out";
const SENDS: &str = "is not allowed: it sends what is in a file of the server; leave it out";
const OPENS: &str = "is not allowed: it opens a file of the server; give what is in it, by ssl.ca.pem, ssl.certificate.pem and ssl.key.pem";
const FILLS: &str = "is not allowed: it fills the log of the server; leave it out";

/// Parts of the names of those whose values are nobody's business.
const SECRET: [&str; 11] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "jaas",
    "credential",
    "key.pem",
    "keystore.key",
    "ssl_key",
    "oauthbearer.config",
    "private",
];

/// Beginnings of the names of those that decide to whom secrets go, and how.
const DIRECTING: [&str; 7] =
    ["bootstrap.servers", "security.protocol", "sasl.", "ssl.", "enable.sasl.", "enable.ssl.", "https."];

/// Of these, what is told to the servers and decides nothing.
const TOLD: [&str; 11] = [
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.certificate.pem",
    "ssl.keystore.key",
    "ssl.keystore.password",
];

/// What the names of variables begin with that a spec may have the value of: whoever may post a spec sends it to servers of
/// their choice, and is not to learn the node's other secrets by it.
const PROVIDED: [&str; 2] = ["KAFKA_", "SECRET_"];

/// Whether the value of a property is shown to nobody.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// Whether a property says to whom secrets are told, how it is known that it is them, or who else can listen. Of the families
/// of properties that do, all count but those that are told themselves.
pub fn directs(name: &str) -> bool {
    !TOLD.contains(&name) && DIRECTING.iter().any(|family| name.starts_with(family))
}

/// Where values of variables come from.
pub(super) type Environment = dyn Fn(&str) -> Option<String>;

/// That of this process.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// One in which nothing is looked up.
pub(super) fn blank(_: &str) -> Option<String> {
    Some("(not looked up)".to_string())
}

/// A password as a spec gives it; what stands in the environment is not looked up yet.
#[derive(Clone, PartialEq)]
pub enum Password {
    Given(String),
    Variable {
        name: String,
        /// Where it is named, for errors.
        path: String,
    },
}

impl Password {
    /// What it is for this process.
    pub fn looked_up(&self) -> Result<Password> {
        self.said(&environment).map(Password::Given)
    }

    fn said(&self, environment: &Environment) -> Result<String> {
        match self {
            Password::Given(password) => Ok(password.clone()),
            Password::Variable { name, path } => environment(name).ok_or_else(|| {
                Error::invalid(format!(
                    "{path}: variable [{name}] is not set for this process; set it and start the node anew"
                ))
            }),
        }
    }
}

/// A text, or a provider of one. No error has it.
pub fn password(json: &Value, path: &str) -> Result<Password> {
    let provider = match json {
        Value::String(password) => return Ok(Password::Given(password.clone())),
        Value::Object(provider) => provider,
        _ => return Err(Error::invalid(format!("{path} must be a text or a password provider"))),
    };
    match (provider.get("type").and_then(Value::as_str), provider.get("password")) {
        (Some("default"), Some(Value::String(password))) => Ok(Password::Given(password.clone())),
        (Some("environment"), _) => variable(provider.get("variable"), &join(path, "variable")),
        _ => Err(Error::invalid(format!(
            "{path}: a password provider is {{\"type\":\"default\",\"password\":…}} or \
             {{\"type\":\"environment\",\"variable\":…}}"
        ))),
    }
}

/// A variable of the node's environment, by its name.
fn variable(name: Option<&Value>, path: &str) -> Result<Password> {
    let Some(Value::String(name)) = name else {
        return Err(Error::invalid(format!("{path} must name a variable of the environment, as a text")));
    };
    if !PROVIDED.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Error::invalid(format!(
            "{path}: a spec may take variables that begin with {}, not [{name}]",
            PROVIDED.join(" or ")
        )));
    }
    Ok(Password::Variable { name: name.clone(), path: path.to_string() })
}

/// The properties as the client has them, whichever way a spec gives them: a provider goes before what stands beside it.
/// `path` is where they stand.
pub fn consumer_properties(json: &Value, path: &str) -> Result<BTreeMap<String, String>> {
    read(json, path, &environment)
}

pub(super) fn read(json: &Value, path: &str, environment: &Environment) -> Result<BTreeMap<String, String>> {
    let Some(map) = json.as_object() else {
        return Err(Error::invalid(format!("{path} must be an object, not {}", kind_of(json))));
    };
    let (mut properties, mut provided) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in map {
        let at = join(path, name);
        let value = match value {
            Value::Null => continue,
            Value::String(s) => s.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Object(_) if name == "druid.dynamic.config.provider" => {
                dynamic_properties(value, &at, environment, &mut provided)?;
                continue;
            }
            Value::Object(_) => password(value, &at)?.said(environment)?,
            Value::Array(_) => return Err(Error::invalid(format!("{at} must be a text, not a list"))),
        };
        properties.insert(name.clone(), value);
    }
    properties.append(&mut provided);
    // Whichever way they came.
    if let Some((name, why)) = REFUSED.into_iter().find(|(name, _)| properties.contains_key(*name)) {
        return Err(Error::invalid(format!("{path}: {name} {why}")));
    }
    if properties.get("bootstrap.servers").is_none_or(|s| s.trim().is_empty()) {
        return Err(Error::invalid(format!("{path} must have bootstrap.servers, such as \"localhost:9092\"")));
    }
    Ok(properties)
}

fn dynamic_properties(
    json: &Value,
    path: &str,
    environment: &Environment,
    into: &mut BTreeMap<String, String>,
) -> Result<()> {
    let kind = json.get("type").and_then(Value::as_str);
    if let (Some("environment"), Some(Value::Object(variables))) = (kind, json.get("variables")) {
        for (name, variable) in variables {
            let at = join(&join(path, "variables"), name);
            into.insert(name.clone(), self::variable(Some(variable), &at)?.said(environment)?);
        }
        return Ok(());
    }
    let (Some("mapString"), Some(Value::Object(config))) = (kind, json.get("config")) else {
        return Err(Error::invalid(format!(
            "{path}: a dynamic config provider is {{\"type\":\"mapString\",\"config\":{{…}}}} or \
             {{\"type\":\"environment\",\"variables\":{{…}}}}"
        )));
    };
    for (name, value) in config {
        let Value::String(value) = value else {
            return Err(Error::invalid(format!("{path}.config.{name} must be a text, not {}", kind_of(value))));
        };
        into.insert(name.clone(), value.clone());
    }
    Ok(())
}
