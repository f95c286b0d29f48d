//! Reading JSON objects by hand: each getter accepts what Jackson would (numbers and flags also as text) and names the
//! path of what it refuses.

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

/// A JSON object and where it stands in the query.
pub struct Fields<'a> {
    map: &'a Map<String, Json>,
    path: &'a str,
}

impl<'a> Fields<'a> {
    pub fn of(json: &'a Json, path: &'a str) -> Result<Fields<'a>> {
        match json {
            Json::Object(map) => Ok(Fields { map, path }),
            other => Err(Error::Parse(format!("{}must be an object, not {}", prefix(path), kind(other)))),
        }
    }

    /// The path of one of its fields.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.map.get(name).filter(|json| !json.is_null())
    }

    pub fn need(&self, name: &str) -> Result<&'a Json> {
        self.get(name).ok_or_else(|| Error::Parse(format!("{}: is required", self.at(name))))
    }

    /// An error that names a field.
    pub fn wrong(&self, name: &str, text: impl std::fmt::Display) -> Error {
        Error::Parse(format!("{}: {text}", self.at(name)))
    }

    fn wrong_kind(&self, name: &str, wanted: &str, json: &Json) -> Error {
        self.wrong(name, format_args!("must be {wanted}, not {}", kind(json)))
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_kind(name, "a string", other)),
        }
    }

    pub fn need_text(&self, name: &str) -> Result<&'a str> {
        self.need(name)?;
        self.text(name).map(|text| text.unwrap_or_default())
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(Json::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Json::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(self.wrong_kind(name, "true or false", other)),
        }
    }

    pub fn long(&self, name: &str) -> Result<Option<i64>> {
        let Some(json) = self.get(name) else {
            return Ok(None);
        };
        let long = match json {
            Json::Number(n) => {
                n.as_i64().or_else(|| n.as_f64().filter(|f| f.is_finite() && f.abs() < 9e15).map(|f| f as i64))
            }
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        long.map(Some).ok_or_else(|| self.wrong_kind(name, "a whole number", json))
    }

    /// A whole number of at least 0.
    pub fn count(&self, name: &str) -> Result<Option<u64>> {
        match self.long(name)? {
            None => Ok(None),
            Some(long) => u64::try_from(long).map(Some).map_err(|_| self.wrong(name, "must not be negative")),
        }
    }

    /// An absent list is empty.
    pub fn list(&self, name: &str) -> Result<&'a [Json]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Json::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong_kind(name, "a list", other)),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.list(name)?
            .iter()
            .enumerate()
            .map(|(i, item)| match item {
                Json::String(text) => Ok(text.clone()),
                other => Err(Error::Parse(format!("{}[{i}]: must be a string, not {}", self.at(name), kind(other)))),
            })
            .collect()
    }
}

/// What a JSON value is, in words.
pub fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn prefix(path: &str) -> String {
    if path.is_empty() { "the query ".into() } else { format!("{path}: ") }
}
