//! Reading a JSON object field by field, with errors that carry the path of the field. Null counts as absent.

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

/// The object at hand and where it stands in the request.
pub(crate) struct Fields<'a> {
    pub object: &'a Map<String, Json>,
    pub path: &'a str,
}

impl<'a> Fields<'a> {
    pub fn of(json: &'a Json, path: &'a str) -> Result<Fields<'a>> {
        match json {
            Json::Object(object) => Ok(Fields { object, path }),
            _ => Err(Error::invalid(format!("{path} must be an object with a type"))),
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    pub fn wrong(&self, name: &str, what: &str) -> Error {
        Error::invalid(format!("{} {what}", self.at(name)))
    }

    pub fn need(&self, name: &str) -> Result<&'a Json> {
        self.get(name).ok_or_else(|| self.wrong(name, "is missing"))
    }

    /// Text; numbers and booleans are taken as their text, as Druid takes them.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => scalar_text(value).map(Some).ok_or_else(|| self.wrong(name, "must be a string")),
        }
    }

    pub fn need_text(&self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(Json::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number within a range.
    pub fn integer(&self, name: &str, default: i64, low: i64, high: i64) -> Result<i64> {
        let value = match self.get(name) {
            None => return Ok(default),
            Some(Json::Number(number)) => number.as_i64(),
            Some(Json::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        value
            .filter(|v| (low..=high).contains(v))
            .ok_or_else(|| self.wrong(name, &format!("must be a whole number from {low} to {high}")))
    }

    pub fn list(&self, name: &str) -> Result<&'a [Json]> {
        match self.need(name)? {
            Json::Array(values) => Ok(values),
            _ => Err(self.wrong(name, "must be an array")),
        }
    }
}

/// Text; numbers and booleans are taken as their text, as Druid takes them.
pub(crate) fn scalar_text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
