//! Every form in which Druid takes `intervals`.

use segment::Interval;
use serde_json::Value as Json;

use super::fields::kind;
use crate::error::{Error, Result};

/// Sorted and merged; empty intervals are dropped.
pub fn from_json(json: &Json, path: &str) -> Result<Vec<Interval>> {
    let mut intervals = Vec::new();
    collect(json, path, &mut intervals)?;
    Ok(Interval::merge(&intervals))
}

fn collect(json: &Json, path: &str, into: &mut Vec<Interval>) -> Result<()> {
    match json {
        Json::String(text) => {
            for part in text.split(',') {
                into.push(one(part.trim(), path)?);
            }
            Ok(())
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let at = format!("{path}[{i}]");
                match item {
                    Json::String(text) => into.push(one(text.trim(), &at)?),
                    other => {
                        return Err(Error::Parse(format!(
                            "{at}: must be an interval like \"2013-01-01/2014-01-01\", not {}",
                            kind(other)
                        )));
                    }
                }
            }
            Ok(())
        }
        Json::Object(map) => match map.get("type").and_then(Json::as_str) {
            None | Some("intervals") | Some("LegacySegmentSpec") => match map.get("intervals") {
                Some(inner) if !inner.is_object() => collect(inner, &format!("{path}.intervals"), into),
                _ => Err(Error::Parse(format!("{path}.intervals: give a list of intervals"))),
            },
            Some("segments") => {
                let Some(Json::Array(segments)) = map.get("segments") else {
                    return Err(Error::Parse(format!("{path}.segments: give a list of segments")));
                };
                for (i, segment) in segments.iter().enumerate() {
                    let at = format!("{path}.segments[{i}].itvl");
                    let text = segment
                        .get("itvl")
                        .and_then(Json::as_str)
                        .ok_or_else(|| Error::Parse(format!("{at}: is required")))?;
                    into.push(one(text, &at)?);
                }
                Ok(())
            }
            Some(other) => Err(Error::Parse(format!("{path}.type: unknown interval spec [{other}]; use intervals"))),
        },
        other => Err(Error::Parse(format!(
            "{path}: must be a list of intervals like [\"2013-01-01/2014-01-01\"], not {}",
            kind(other)
        ))),
    }
}

fn one(text: &str, path: &str) -> Result<Interval> {
    let interval = Interval::parse(text).map_err(|error| Error::Parse(format!("{path}: {error}")))?;
    if interval.start > interval.end {
        return Err(Error::Parse(format!("{path}: the end of an interval must not come before its start")));
    }
    Ok(interval)
}
