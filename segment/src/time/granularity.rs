//! How time is cut into buckets, in Druid's JSON forms.

use serde_json::{Map, Value, json};

use super::period::Period;
use super::span::Span;
use super::zone::Zone;
use super::{Interval, format_timestamp, parse_timestamp};
use crate::error::{Error, Result};

/// How time is cut into buckets.
#[derive(Debug, Clone, PartialEq)]
pub enum Granularity {
    All,
    /// Buckets of one millisecond.
    None,
    /// `millis` is positive.
    Duration {
        millis: i64,
        origin: i64,
    },
    Period(Period),
}

const NAMES: [(&str, &str); 14] = [
    ("second", "PT1S"),
    ("minute", "PT1M"),
    ("five_minute", "PT5M"),
    ("ten_minute", "PT10M"),
    ("fifteen_minute", "PT15M"),
    ("thirty_minute", "PT30M"),
    ("hour", "PT1H"),
    ("six_hour", "PT6H"),
    ("eight_hour", "PT8H"),
    ("day", "P1D"),
    ("week", "P1W"),
    ("month", "P1M"),
    ("quarter", "P3M"),
    ("year", "P1Y"),
];

impl Granularity {
    /// Druid's string and object forms. Errors name the value and the valid ones.
    pub fn from_json(json: &Value) -> Result<Granularity> {
        match json {
            Value::String(name) => Granularity::named(name),
            Value::Object(object) => Granularity::from_object(object),
            Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Null => Err(Error::invalid(format!(
                "granularity must be a name or an object, not {json}: use one of {}, or {{\"type\":\"period\",\"period\":\"PT1H\"}}",
                names()
            ))),
        }
    }

    /// `hour`, `all`, … in any case; an ISO period is taken as a period in UTC.
    pub fn named(name: &str) -> Result<Granularity> {
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "all" => return Ok(Granularity::All),
            "none" => return Ok(Granularity::None),
            _ => {}
        }
        if let Some((_, period)) = NAMES.iter().find(|(known, _)| *known == lower) {
            return Granularity::period(period, "UTC", None);
        }
        if lower.starts_with('p')
            && let Ok(span) = Span::parse(name)
        {
            return Ok(Granularity::Period(Period::new(span, Zone::Utc, None)?));
        }
        Err(Error::invalid(format!("unknown granularity [{name}]: use one of {}", names())))
    }

    fn from_object(object: &Map<String, Value>) -> Result<Granularity> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(Error::invalid("granularity.type must be a string")),
            None if object.contains_key("period") => "period",
            None if object.contains_key("duration") => "duration",
            None => return Err(Error::invalid("granularity.type is missing: use all, none, period or duration")),
        };
        match kind {
            "all" => Ok(Granularity::All),
            "none" => Ok(Granularity::None),
            "period" => {
                let Some(period) = text(object, "period")? else {
                    return Err(Error::invalid("granularity.period is missing: give an ISO 8601 period such as PT1H"));
                };
                Granularity::period(period, text(object, "timeZone")?.unwrap_or("UTC"), origin(object)?)
            }
            "duration" => {
                let millis = match object.get("duration") {
                    Some(Value::Number(n)) => n.as_i64(),
                    Some(Value::String(s)) => s.parse().ok(),
                    _ => None,
                };
                match millis {
                    Some(millis) if millis > 0 => {
                        Ok(Granularity::Duration { millis, origin: origin(object)?.unwrap_or(0).rem_euclid(millis) })
                    }
                    _ => Err(Error::invalid("granularity.duration must be a number of milliseconds above 0")),
                }
            }
            other => Granularity::named(other).map_err(|_| {
                Error::invalid(format!("unknown granularity type [{other}]: use all, none, period or duration"))
            }),
        }
    }

    /// Standard periods in UTC are written by name, as Druid does.
    pub fn to_json(&self) -> Value {
        match self {
            Granularity::All => json!({"type": "all"}),
            Granularity::None => json!({"type": "none"}),
            Granularity::Duration { millis, origin } => {
                json!({"type": "duration", "duration": millis, "origin": format_timestamp(*origin)})
            }
            Granularity::Period(period) => {
                let text = period.span().to_string();
                if period.zone().is_utc()
                    && period.origin().is_none()
                    && let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == text)
                {
                    return Value::String(name.to_ascii_uppercase());
                }
                json!({
                    "type": "period",
                    "period": text,
                    "timeZone": period.zone().name(),
                    "origin": period.origin().map(format_timestamp),
                })
            }
        }
    }

    /// An ISO period (`PT1H`) in a zone (`UTC`, IANA name or offset), from an origin (default: 1970 in that zone).
    pub fn period(period: &str, zone: &str, origin: Option<i64>) -> Result<Granularity> {
        Ok(Granularity::Period(Period::new(Span::parse(period)?, Zone::parse(zone)?, origin)?))
    }

    /// Start of the bucket that holds `t`. `All` gives `Interval::ETERNITY.start`.
    pub fn floor(&self, t: i64) -> i64 {
        match self {
            Granularity::All => Interval::ETERNITY.start,
            Granularity::None => t,
            Granularity::Duration { millis, origin } => floor_fixed(t, *millis, *origin),
            Granularity::Period(period) => period.floor(t),
        }
    }

    /// Start of the bucket after the one that starts at `start`. `All` gives `Interval::ETERNITY.end`.
    pub fn next(&self, start: i64) -> i64 {
        match self {
            Granularity::All => Interval::ETERNITY.end,
            Granularity::None => start.saturating_add(1),
            Granularity::Duration { millis, .. } => start.saturating_add(*millis),
            Granularity::Period(period) => period.next(start),
        }
    }

    /// Whether the bucket of an instant is found only by stepping from the origin, which is long for one far from it.
    pub fn steps(&self) -> bool {
        matches!(self, Granularity::Period(period) if period.steps())
    }

    /// The bucket that holds `t`.
    pub fn bucket(&self, t: i64) -> Interval {
        let start = self.floor(t);
        Interval { start, end: self.next(start) }
    }

    /// `floor` of many instants; fast for runs in the same bucket. `out` is as long as `times`.
    pub fn floor_all(&self, times: &[i64], out: &mut [i64]) {
        assert_eq!(times.len(), out.len(), "one slot for each instant");
        match self {
            Granularity::All => out.fill(Interval::ETERNITY.start),
            Granularity::None => out.copy_from_slice(times),
            Granularity::Duration { .. } | Granularity::Period(_) => {
                let (mut start, mut width) = (0i64, 0u64);
                for (t, out) in times.iter().zip(out) {
                    if t.wrapping_sub(start) as u64 >= width {
                        let bucket = self.bucket(*t);
                        start = bucket.start;
                        width = bucket.end.wrapping_sub(bucket.start) as u64;
                    }
                    *out = start;
                }
            }
        }
    }

    /// About how many buckets an interval has, to refuse what would iterate for ever. Saturates.
    pub fn count_estimate(&self, interval: Interval) -> u64 {
        if interval.is_empty() {
            return 0;
        }
        let length = i128::from(interval.end) - i128::from(interval.start);
        let width = match self {
            Granularity::All => return 1,
            Granularity::None => 1,
            Granularity::Duration { millis, .. } => *millis,
            Granularity::Period(period) => period.span().millis_about().max(1),
        };
        u64::try_from(length / i128::from(width) + 1).unwrap_or(u64::MAX)
    }

    /// The zone that timestamps of results are printed in; `None` is UTC.
    pub fn zone(&self) -> Option<&str> {
        match self {
            Granularity::Period(period) if !period.zone().is_utc() => Some(period.zone().name()),
            _ => None,
        }
    }
}

/// Floor to a multiple of `millis` from `origin`.
pub(super) fn floor_fixed(t: i64, millis: i64, origin: i64) -> i64 {
    let past = t.wrapping_sub(origin).rem_euclid(millis);
    t.saturating_sub(past)
}

fn names() -> String {
    let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    format!("all, none, {}", known.join(", "))
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("granularity.{field} must be a string"))),
    }
}

fn origin(object: &Map<String, Value>) -> Result<Option<i64>> {
    match object.get("origin") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) if n.is_i64() => Ok(n.as_i64()),
        Some(Value::String(text)) => parse_timestamp(text).map(Some).ok_or_else(|| {
            Error::invalid(format!("granularity.origin [{text}] is not an ISO 8601 time such as 2016-01-01T00:00:00Z"))
        }),
        Some(_) => Err(Error::invalid("granularity.origin must be an ISO 8601 time")),
    }
}
