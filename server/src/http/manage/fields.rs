//! Reads an object of a request of our own API: each field as the one type that it has, errors with its path, and no field
//! that is not known. Null counts as absent.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::http::error::{Answered, Refusal};

pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

/// An error that names what it is about.
pub fn wrong(path: &str, what: impl Display) -> Refusal {
    Refusal::invalid(format!("{path}: {what}"))
}

/// What a value is, in words.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// `path` is empty for the body itself.
    pub fn of(value: &'a Value, path: &str, known: &[&str]) -> Answered<Fields<'a>> {
        let at = if path.is_empty() { "the body" } else { path };
        let map = value.as_object();
        let map = map.ok_or_else(|| wrong(at, format_args!("must be an object, not {}", kind_of(value))))?;
        let fields = Fields { map, path: path.to_string() };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(fields.wrong(name, format_args!("is not known; there are {}", known.join(", ")))),
            None => Ok(fields),
        }
    }

    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    pub fn wrong(&self, name: &str, what: impl Display) -> Refusal {
        wrong(&self.at(name), what)
    }

    fn not(&self, name: &str, wanted: &str, found: &Value) -> Refusal {
        self.wrong(name, format_args!("must be {wanted}, not {}", kind_of(found)))
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn need(&self, name: &str) -> Answered<&'a Value> {
        self.get(name).ok_or_else(|| self.wrong(name, "is missing"))
    }

    /// Of so many characters.
    pub fn text(&self, name: &str, length: RangeInclusive<usize>) -> Answered<Option<&'a str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.not(name, "a string", value))?;
        let found = text.chars().count();
        if length.contains(&found) {
            return Ok(Some(text));
        }
        let (least, most) = length.into_inner();
        Err(self.wrong(name, format_args!("must have {least} to {most} characters, not {found}")))
    }

    pub fn need_text(&self, name: &str, length: RangeInclusive<usize>) -> Answered<&'a str> {
        self.need(name)?;
        Ok(self.text(name, length)?.unwrap_or_default())
    }

    pub fn one_of(&self, name: &str, choices: &[&str]) -> Answered<&'a str> {
        let text = self.need_text(name, 0..=usize::MAX)?;
        match choices.contains(&text) {
            true => Ok(text),
            false => Err(self.wrong(name, format_args!("must be one of {}", choices.join(", ")))),
        }
    }

    pub fn whole(&self, name: &str, range: RangeInclusive<i64>) -> Answered<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (least, most) = range.into_inner();
                Err(self.wrong(name, format_args!("must be a whole number from {least} to {most}")))
            }
        }
    }

    pub fn need_whole(&self, name: &str, range: RangeInclusive<i64>) -> Answered<i64> {
        self.need(name)?;
        Ok(self.whole(name, range)?.unwrap_or_default())
    }

    /// Of so many at most.
    pub fn list(&self, name: &str, most: usize) -> Answered<Option<&'a [Value]>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.not(name, "a list", value))?;
        match list.len() <= most {
            true => Ok(Some(list)),
            false => Err(self.wrong(name, format_args!("may have {most} entries, not {}", list.len()))),
        }
    }

    /// As [`Fields::list`], of strings of so many characters.
    pub fn texts(&self, name: &str, most: usize, length: RangeInclusive<usize>) -> Answered<Option<Vec<&'a str>>> {
        let Some(list) = self.list(name, most)? else { return Ok(None) };
        let (least, longest) = length.clone().into_inner();
        let text = |(at, value): (usize, &'a Value)| {
            let text = value.as_str().filter(|text| length.contains(&text.chars().count()));
            text.ok_or_else(|| {
                self.wrong(
                    &format!("{name}[{at}]"),
                    format_args!("must be a string of {least} to {longest} characters"),
                )
            })
        };
        list.iter().enumerate().map(text).collect::<Answered<_>>().map(Some)
    }
}
