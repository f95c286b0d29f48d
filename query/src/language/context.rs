//! The query's `context`: read once, here and by the budget, into typed options. Values may be JSON scalars or text.

use serde_json::{Map, Value as Json};

use super::fields;
use crate::error::{Error, Result};

#[derive(Clone, Copy)]
pub struct Context<'a>(Option<&'a Map<String, Json>>);

impl<'a> Context<'a> {
    pub fn new(map: &'a Map<String, Json>) -> Context<'a> {
        Context(Some(map))
    }

    /// The `context` field of a query.
    pub fn of(query: &'a Json) -> Result<Context<'a>> {
        match query.get("context") {
            None | Some(Json::Null) => Ok(Context(None)),
            Some(Json::Object(map)) => Ok(Context(Some(map))),
            Some(other) => Err(Error::Parse(format!("context: must be an object, not {}", fields::kind(other)))),
        }
    }

    pub fn get(&self, key: &str) -> Option<&'a Json> {
        self.0?.get(key).filter(|json| !json.is_null())
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            // Druid reads any other text as false.
            Some(Json::String(text)) => Ok(Some(text.eq_ignore_ascii_case("true"))),
            Some(other) => Err(wrong(key, "Boolean", other)),
        }
    }

    pub fn long(&self, key: &str) -> Result<Option<i64>> {
        let Some(json) = self.get(key) else {
            return Ok(None);
        };
        let long = match json {
            Json::Number(n) => {
                n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            }
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        long.map(Some).ok_or_else(|| wrong(key, "Long", json))
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, "String", other)),
        }
    }
}

fn wrong(key: &str, wanted: &str, json: &Json) -> Error {
    let got = match json {
        Json::String(text) => text.as_str(),
        other => fields::kind(other),
    };
    Error::Context(format!("expected key [{key}] to be in {wanted} format, but got [{got}]"))
}
