//! The query's `context`: read once, here and by the budget, into typed options. Values may be JSON scalars or text.

use segment::time::{Zone, parse_timestamp};
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

/// Keys that are true or false.
const FLAGS: [&str; 17] = [
    "finalize",
    "grandTotal",
    "groupByEnableMultiValueUnnesting",
    "populateCache",
    "populateResultLevelCache",
    "requireTimeCondition",
    "resultAsArray",
    "returnPartialResults",
    "serializeDateTimeAsLong",
    "skipEmptyBuckets",
    "sortByDimsFirst",
    "sqlFinalizeOuterSketches",
    "sqlStringifyArrays",
    "useApproximateCountDistinct",
    "useApproximateTopN",
    "useCache",
    "useResultLevelCache",
];

/// Keys that are whole numbers and not negative.
const COUNTS: [&str; 5] =
    ["maxQueryMemoryBytes", "maxSubqueryRows", "rowsPerPage", "timeout", "uncoveredIntervalsLimit"];

/// Keys that tell one query from the others, or make another kind of answer of it.
const OF_ONE_QUERY: [&str; 6] =
    ["bySegment", "executionMode", "queryId", "sqlQueryId", "subQueryId", "timestampResultField"];

/// Whether a context can be that of every query: each known key has a value that it can have. Other keys are anyone's.
pub fn check_defaults(context: &Map<String, Json>, timeout_max: u64) -> Result<()> {
    let refuse = |key: &str, what: &str| Err(Error::Context(format!("{key} {what}")));
    let of = Context::new(context);
    for key in context.keys().map(String::as_str).filter(|key| of.get(key).is_some()) {
        let text = of.text(key).ok().flatten();
        if OF_ONE_QUERY.contains(&key) {
            return refuse(key, "is of one query; leave it out");
        }
        if FLAGS.contains(&key) {
            let is_flag = matches!(of.get(key), Some(Json::Bool(_)));
            if !is_flag
                && !text.is_some_and(|text| ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)))
            {
                return refuse(key, "must be true or false");
            }
        } else if COUNTS.contains(&key) {
            match of.long(key) {
                Ok(Some(0..)) => {}
                Ok(_) => return refuse(key, "must not be negative"),
                Err(_) => return refuse(key, "must be a whole number"),
            }
        } else if ["priority", "sqlOuterLimit", "maxNumericInFilters"].contains(&key) {
            if of.long(key).is_err() {
                return refuse(key, "must be a whole number");
            }
        } else if key == "maxSubqueryBytes" {
            let is_word =
                text.is_some_and(|text| ["auto", "disabled"].iter().any(|word| text.eq_ignore_ascii_case(word)));
            if !is_word && !matches!(of.long(key), Ok(Some(0..))) {
                return refuse(key, "must be auto, disabled or a number of bytes");
            }
        } else if key == "vectorize" {
            let is_word =
                text.is_some_and(|text| ["true", "false", "force"].iter().any(|word| text.eq_ignore_ascii_case(word)));
            if !is_word && !matches!(of.get(key), Some(Json::Bool(_))) {
                return refuse(key, "must be true, false or force");
            }
        } else if key == "sqlTimeZone" {
            if let Err(error) = text.map_or_else(|| Zone::parse(""), Zone::parse) {
                return refuse(key, &format!("must be a time zone such as Europe/Berlin: {error}"));
            }
        } else if key == "sqlCurrentTimestamp"
            && text.and_then(parse_timestamp).is_none()
            && of.get(key).and_then(Json::as_i64).is_none()
        {
            return refuse(key, "must be an ISO 8601 timestamp");
        }
    }
    match of.long("timeout") {
        Ok(Some(timeout)) if timeout.unsigned_abs() > timeout_max => {
            refuse("timeout", &format!("must not be above query.timeout_max_ms, which is {timeout_max}"))
        }
        _ => Ok(()),
    }
}

fn wrong(key: &str, wanted: &str, json: &Json) -> Error {
    let got = match json {
        Json::String(text) => text.as_str(),
        other => fields::kind(other),
    };
    Error::Context(format!("expected key [{key}] to be in {wanted} format, but got [{got}]"))
}
