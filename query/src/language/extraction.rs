//! Extraction functions: what a dimension's values are turned into, as text. Those that are a matter of a few lines
//! are here; for the others an expression virtual column does the same.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;
use segment::filter;
use segment::lookup::{self, Lookup};
use serde_json::Value as Json;

use super::fields::Fields;
use super::search::search_spec;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub enum Extraction {
    Identity,
    /// The pattern's group; a value that does not match stays, or becomes `missing`.
    Regex {
        pattern: Regex,
        group: usize,
        missing: Option<Option<String>>,
    },
    /// The value if the pattern is found in it, else null.
    Partial(Regex),
    SearchQuery(filter::Search),
    /// In UTF-16 units; null if out of range.
    Substring {
        index: usize,
        length: Option<usize>,
    },
    Strlen,
    Upper,
    Lower,
    /// `None` in `missing`: values that the map lacks stay.
    Map {
        map: Arc<Lookup>,
        missing: Option<Option<String>>,
    },
    /// Numbers are rounded down to `offset + n * size`; other text becomes null.
    Bucket {
        size: f64,
        offset: f64,
    },
    Cascade(Vec<Extraction>),
}

const KNOWN: &str = "regex, partial, searchQuery, substring, strlen, upper, lower, lookup of type map, registeredLookup, bucket, cascade, identity, \
    time, timeFormat, stringFormat";

impl Extraction {
    pub fn from_json(json: &Json, path: &str) -> Result<Extraction> {
        let fields = Fields::of(json, path)?;
        let regex = || {
            filter::java_regex(fields.need_text("expr")?)
                .map_err(|error| fields.wrong("expr", format_args!("not a valid pattern: {error}")))
        };
        match fields.need_text("type")? {
            "identity" => Ok(Extraction::Identity),
            "regex" => {
                let pattern = regex()?;
                let group = fields.count("index")?.unwrap_or(1) as usize;
                if group >= pattern.captures_len() {
                    return Err(fields.wrong("index", "the pattern has no such group"));
                }
                let replace = fields.flag("replaceMissingValue")?.unwrap_or(false);
                let with = fields.text("replaceMissingValueWith")?.map(str::to_string);
                Ok(Extraction::Regex { pattern, group, missing: replace.then_some(with) })
            }
            "partial" => Ok(Extraction::Partial(regex()?)),
            "searchQuery" => search_spec(fields.need("query")?, &fields.at("query")).map(Extraction::SearchQuery),
            "substring" => Ok(Extraction::Substring {
                index: fields.count("index")?.ok_or_else(|| fields.wrong("index", "is required"))? as usize,
                length: fields.count("length")?.map(|length| length as usize),
            }),
            "strlen" => Ok(Extraction::Strlen),
            "upper" => Ok(Extraction::Upper),
            "lower" => Ok(Extraction::Lower),
            "lookup" => {
                let map = map_of(&fields, "lookup")?;
                Ok(Extraction::Map { map, missing: missing(&fields)? })
            }
            "registeredLookup" => {
                let map = registered(&fields, "lookup")?;
                Ok(Extraction::Map { map, missing: missing(&fields)? })
            }
            "bucket" => {
                let (size, offset) = bucket(&fields)?;
                Ok(Extraction::Bucket { size, offset })
            }
            "cascade" => {
                let list = fields.list("extractionFns")?;
                let steps = list
                    .iter()
                    .enumerate()
                    .map(|(i, json)| Extraction::from_json(json, &format!("{}[{i}]", fields.at("extractionFns"))))
                    .collect::<Result<_>>()?;
                Ok(Extraction::Cascade(steps))
            }
            known @ ("time" | "timeFormat" | "stringFormat" | "javascript") => Err(Error::Unsupported(format!(
                "{path}.type: extraction function [{known}] is not supported here; use an expression virtual column"
            ))),
            other => {
                Err(fields.wrong("type", format_args!("unknown extraction function [{other}]; use one of {KNOWN}")))
            }
        }
    }

    pub fn apply<'a>(&self, value: Option<&'a str>) -> Option<Cow<'a, str>> {
        match self {
            Extraction::Identity => value.map(Cow::Borrowed),
            Extraction::Regex { pattern, group, missing } => {
                let found = value.and_then(|text| pattern.captures(text));
                match (found, missing) {
                    (Some(captures), _) => captures.get(*group).map(|m| Cow::Owned(m.as_str().to_string())),
                    (None, Some(replacement)) => replacement.clone().map(Cow::Owned),
                    (None, None) => value.map(Cow::Borrowed),
                }
            }
            Extraction::Partial(pattern) => value.filter(|text| pattern.is_match(text)).map(Cow::Borrowed),
            Extraction::SearchQuery(search) => value.filter(|text| finds(search, text)).map(Cow::Borrowed),
            Extraction::Substring { index, length } => value.and_then(|text| substring(text, *index, *length)),
            Extraction::Strlen => value.map(|text| Cow::Owned(text.encode_utf16().count().to_string())),
            Extraction::Upper => value.map(|text| Cow::Owned(text.to_uppercase())),
            Extraction::Lower => value.map(|text| Cow::Owned(text.to_lowercase())),
            Extraction::Map { map, missing } => {
                let found = value.and_then(|text| map.get(text));
                match (found, missing) {
                    (Some(text), _) => Some(Cow::Owned(text.to_string())),
                    (None, Some(replacement)) => replacement.clone().map(Cow::Owned),
                    (None, None) => value.map(Cow::Borrowed),
                }
            }
            Extraction::Bucket { size, offset } => {
                let number: f64 = value?.trim().parse().ok()?;
                let bucket = ((number - offset) / size).floor() * size + offset;
                Some(Cow::Owned(if bucket.fract() == 0.0 && bucket.abs() < 9e15 {
                    (bucket as i64).to_string()
                } else {
                    bucket.to_string()
                }))
            }
            Extraction::Cascade(steps) => {
                let mut value = value.map(Cow::Borrowed);
                for step in steps {
                    value = step.apply(value.as_deref()).map(|text| Cow::Owned(text.into_owned()));
                }
                value
            }
        }
    }
}

/// The size and the offset of buckets.
pub fn bucket(fields: &Fields) -> Result<(f64, f64)> {
    let number = |name: &str, default: f64| match fields.get(name) {
        None => Ok(default),
        Some(json) => json
            .as_f64()
            .or_else(|| json.as_str()?.parse().ok())
            .filter(|n| n.is_finite())
            .ok_or_else(|| fields.wrong(name, "must be a number")),
    };
    let (size, offset) = (number("size", 1.0)?, number("offset", 0.0)?);
    if size <= 0.0 {
        return Err(fields.wrong("size", "must be above 0"));
    }
    Ok((size, offset))
}

/// The dimension spec of type `lookup`: a registered name, or a map in place.
pub fn of_dimension(fields: &Fields) -> Result<Extraction> {
    let map = match fields.get("lookup") {
        Some(_) => map_of(fields, "lookup")?,
        None => registered(fields, "name")?,
    };
    Ok(Extraction::Map { map, missing: missing(fields)? })
}

fn registered(fields: &Fields, field: &str) -> Result<Arc<Lookup>> {
    lookup::named(fields.need_text(field)?).map_err(|reason| fields.wrong(field, reason))
}

fn map_of(fields: &Fields, field: &str) -> Result<Arc<Lookup>> {
    let path = fields.at(field);
    let lookup = Fields::of(fields.need(field)?, &path)?;
    if lookup.need_text("type")? != "map" {
        return Err(Error::Unsupported(format!("{path}.type: only lookups of type map are supported")));
    }
    let Some(entries) = lookup.need("map")?.as_object() else {
        return Err(lookup.wrong("map", "must be an object"));
    };
    let mut map = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let text =
            value.as_str().ok_or_else(|| lookup.wrong("map", format_args!("the value of [{key}] must be a string")))?;
        map.push((key.clone(), text.to_string()));
    }
    Ok(Arc::new(Lookup::new(String::new(), map)))
}

/// What stands for values that the map lacks: `None` if they stay.
fn missing(fields: &Fields) -> Result<Option<Option<String>>> {
    let retain = fields.flag("retainMissingValue")?.unwrap_or(false);
    let with = fields.text("replaceMissingValueWith")?;
    if retain && with.is_some() {
        return Err(fields.wrong("replaceMissingValueWith", "may not stand beside retainMissingValue"));
    }
    Ok((!retain).then(|| with.map(str::to_string)))
}

/// Whether a search query matches a text.
pub fn finds(search: &filter::Search, text: &str) -> bool {
    let contains = |needle: &str, case_sensitive: bool| {
        if case_sensitive { text.contains(needle) } else { text.to_lowercase().contains(&needle.to_lowercase()) }
    };
    match search {
        filter::Search::All => true,
        filter::Search::Contains { text, case_sensitive } => contains(text, *case_sensitive),
        filter::Search::Fragments { texts, case_sensitive } => texts.iter().all(|text| contains(text, *case_sensitive)),
        filter::Search::Regex(pattern) => pattern.is_match(text),
    }
}

/// In UTF-16 units, as Java cuts; a half surrogate pair becomes the replacement character.
fn substring(text: &str, index: usize, length: Option<usize>) -> Option<Cow<'_, str>> {
    if text.is_ascii() {
        let end = length.map_or(text.len(), |length| index.saturating_add(length).min(text.len()));
        return text.get(index..end).filter(|_| index < text.len()).map(Cow::Borrowed);
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let end = length.map_or(units.len(), |length| index.saturating_add(length).min(units.len()));
    if index >= units.len() {
        return None;
    }
    Some(Cow::Owned(String::from_utf16_lossy(&units[index..end])))
}
