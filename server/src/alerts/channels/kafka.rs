//! A topic of Kafka, with the properties that a stream's spec may have. Messages of one alert have its name as their key, so
//! that they stay in order.

use std::collections::BTreeMap;

use ingest::source::kafka::send;
use ingest::spec::properties::{consumer_properties, directs, is_secret};
use serde_json::{Map, Value, json};

use super::{HIDDEN, SEND_MAX};
use crate::http::error::Answered;
use crate::http::manage::fields::{Fields, wrong};

pub struct Topic {
    name: String,
    properties: BTreeMap<String, String>,
}

const PROPERTIES: &str = "consumerProperties";

impl Topic {
    /// Looks up what the environment has of its properties.
    pub fn parse(json: &Value) -> Answered<Topic> {
        let fields = Fields::of(json, "", &["type", "bootstrapServers", "topic", PROPERTIES])?;
        let servers = fields.need_text("bootstrapServers", 1..=4096)?;
        let name = fields.need_text("topic", 1..=249)?;
        let is_odd = |ch: char| !(ch.is_ascii_alphanumeric() || "._-".contains(ch));
        if name.contains(is_odd) || matches!(name, "." | "..") {
            return Err(fields.wrong("topic", "must have letters, digits, dots, dashes and underscores only"));
        }
        let mut properties = match fields.get(PROPERTIES) {
            None => Map::new(),
            Some(Value::Object(properties)) => properties.clone(),
            Some(_) => return Err(fields.wrong(PROPERTIES, "must be an object")),
        };
        if properties.contains_key("bootstrap.servers") {
            return Err(wrong(&format!("{PROPERTIES}.bootstrap.servers"), "is given as bootstrapServers"));
        }
        properties.insert("bootstrap.servers".into(), json!(servers));
        let properties = consumer_properties(&Value::Object(properties), PROPERTIES)?;
        send::check(&properties)?;
        Ok(Topic { name: name.to_string(), properties })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn send(&self, notice: &Value) -> Result<(), String> {
        let key = notice["alert"].as_str().unwrap_or_default();
        let sent = send::send(&self.properties, &self.name, key, notice.to_string().as_bytes(), SEND_MAX);
        sent.map_err(|error| error.to_string())
    }
}

pub fn hide(shown: &mut Value) {
    for (name, value) in shown.get_mut(PROPERTIES).and_then(Value::as_object_mut).into_iter().flatten() {
        // What is no text (a provider that looks the value up elsewhere) may have texts within.
        if is_secret(name) || value.is_object() || value.is_array() {
            super::hide(value);
        }
    }
}

pub fn restore(posted: &mut Value, earlier: &Value) -> Answered<()> {
    let none = Map::new();
    let before = earlier[PROPERTIES].as_object().unwrap_or(&none);
    let is_same_server = posted["bootstrapServers"] == earlier["bootstrapServers"];
    let Some(properties) = posted.get_mut(PROPERTIES).and_then(Value::as_object_mut) else { return Ok(()) };
    let hidden: Vec<String> =
        properties.iter().filter(|(_, value)| **value == HIDDEN).map(|(name, _)| name.clone()).collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let names = before.keys().chain(properties.keys());
    let moved = names.filter(|name| directs(name) || *name == "druid.dynamic.config.provider");
    let mut moved = moved.filter(|name| before.get(*name) != properties.get(*name) && !hidden.contains(name));
    let other = moved.next().cloned().or_else(|| (!is_same_server).then(|| "bootstrapServers".to_string()));
    if let Some(other) = other {
        return Err(wrong(
            &format!("{PROPERTIES}.{}", hidden[0]),
            format_args!(
                "{HIDDEN} stands for a value that is for the servers of before, and {other} is another; give the value"
            ),
        ));
    }
    for name in hidden {
        if let Some(kept) = before.get(&name) {
            properties.insert(name, kept.clone());
        }
    }
    Ok(())
}
