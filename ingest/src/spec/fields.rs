//! Reads one JSON object of a spec: checks its field names, then hands out typed values with errors that carry the full
//! path.
//!
//! Each object is opened with two lists: the fields that mean something here, and those that Druid has but Henge gives
//! no meaning. The latter are noted by path, so that the answer can name them; any other field is refused with the
//! nearest name of the two lists. Scalars are read as leniently as Druid's mapper does (`"5"` is a number, `5` a text).

use segment::error::{Error, Result};
use serde_json::{Map, Value};

pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    pub(crate) fn open(
        json: &'a Value,
        path: &str,
        meant: &[&str],
        unused: &[&str],
        ignored: &mut Vec<String>,
    ) -> Result<Fields<'a>> {
        let Some(map) = json.as_object() else {
            let what = if path.is_empty() { "the spec" } else { path };
            return Err(Error::invalid(format!("{what} must be an object, not {}", kind_of(json))));
        };
        for (name, value) in map {
            if meant.contains(&name.as_str()) {
                continue;
            }
            if unused.contains(&name.as_str()) {
                if !value.is_null() {
                    ignored.push(join(path, name));
                }
                continue;
            }
            let near = nearest(name, meant.iter().chain(unused).copied());
            return Err(Error::invalid(format!("{} is not a known field; the nearest is {near}", join(path, name))));
        }
        Ok(Fields { map, path: path.to_string() })
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The value of a field, if it is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a Value> {
        self.get(name).ok_or_else(|| Error::invalid(format!("{} is required", self.path_of(name))))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s.clone())),
            Some(v @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(v.to_string())),
            Some(other) => self.wrong(name, "a text", other),
        }
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| Error::invalid(format!("{} is required", self.path_of(name))))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(Value::String(s)) if s.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(s)) if s.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => self.wrong(name, "true or false", other),
        }
    }

    pub(crate) fn whole(&self, name: &str) -> Result<Option<i64>> {
        let found = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(s)) => s.trim().parse::<i64>().ok(),
            Some(v) => {
                v.as_i64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            }
        };
        match found {
            Some(n) => Ok(Some(n)),
            None => self.wrong(name, "a whole number", &self.map[name]),
        }
    }

    /// A whole number that must not be below `least`.
    pub(crate) fn at_least(&self, name: &str, least: i64, default: i64) -> Result<i64> {
        let n = self.whole(name)?.unwrap_or(default);
        if n < least {
            return Err(Error::invalid(format!("{} must be at least {least}, not {n}", self.path_of(name))));
        }
        Ok(n)
    }

    /// An ISO period of fixed length, in milliseconds.
    pub(crate) fn period(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let millis = match value {
            Value::String(s) => period_millis(s),
            Value::Number(n) => n.as_i64().filter(|n| *n >= 0),
            _ => None,
        };
        match millis {
            Some(n) => Ok(Some(n)),
            None => Err(Error::invalid(format!(
                "{} must be an ISO 8601 period such as PT1H, not {value}",
                self.path_of(name)
            ))),
        }
    }

    /// Names the fields as ignored that are given. The caller has checked their values: a spec that Druid would refuse is
    /// refused.
    pub(crate) fn ignore(&self, names: &[&str], ignored: &mut Vec<String>) {
        ignored.extend(names.iter().filter(|name| self.get(name).is_some()).map(|name| self.path_of(name)));
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => self.wrong(name, "a list", other),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let list = self.list(name)?;
        list.iter()
            .enumerate()
            .map(|(i, v)| match v {
                Value::String(s) => Ok(s.clone()),
                other => {
                    Err(Error::invalid(format!("{}[{i}] must be a text, not {}", self.path_of(name), kind_of(other))))
                }
            })
            .collect()
    }

    fn wrong<T>(&self, name: &str, wanted: &str, found: &Value) -> Result<T> {
        Err(Error::invalid(format!("{} must be {wanted}, not {}", self.path_of(name), kind_of(found))))
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

pub(crate) fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) if s.len() <= 40 => format!("the text {s:?}"),
        Value::String(_) => "a text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// The name most like `name`; case counts for nothing.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> &'n str {
    let lower = name.to_lowercase();
    let mut best = ("", f64::MIN);
    for candidate in names {
        let other = candidate.to_lowercase();
        let score =
            strsim::normalized_damerau_levenshtein(&lower, &other).max(strsim::jaro_winkler(&lower, &other) * 0.9);
        if score > best.1 {
            best = (candidate, score);
        }
    }
    best.0
}

/// An error for a value outside a closed set.
pub(crate) fn not_one_of(path: &str, found: &str, valid: &[&str]) -> Error {
    Error::invalid(format!(
        "{path} {found:?} is not known; valid are {}; the nearest is {}",
        valid.join(", "),
        nearest(found, valid.iter().copied())
    ))
}

/// `P[nY][nM][nW][nD][T[nH][nM][n.nS]]` in milliseconds, a month as 30 days and a year as 365. `None` if it is not one
/// or does not fit.
pub fn period_millis(text: &str) -> Option<i64> {
    const SECOND: f64 = 1000.0;
    const DAY: f64 = 86_400.0 * SECOND;
    let mut rest = text.trim().strip_prefix(['P', 'p'])?;
    let (mut total, mut in_time, mut parts) = (0f64, false, 0);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['T', 't']) {
            if in_time {
                return None;
            }
            (in_time, rest) = (true, after);
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        let unit = match (rest.as_bytes()[digits].to_ascii_uppercase(), in_time) {
            (b'Y', false) => 365.0 * DAY,
            (b'M', false) => 30.0 * DAY,
            (b'W', false) => 7.0 * DAY,
            (b'D', false) => DAY,
            (b'H', true) => 3600.0 * SECOND,
            (b'M', true) => 60.0 * SECOND,
            (b'S', true) => SECOND,
            _ => return None,
        };
        total += amount * unit;
        parts += 1;
        rest = &rest[digits + 1..];
    }
    (parts > 0 && total < i64::MAX as f64 / 2.0).then_some(total.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn periods() {
        for (text, millis) in [
            ("PT1H", Some(3_600_000)),
            ("PT0.5S", Some(500)),
            ("P1DT2H", Some(93_600_000)),
            ("P2147483647D", Some(2_147_483_647 * 86_400_000)),
            ("P", None),
            ("PT", None),
            ("1H", None),
            ("P1H", None),
            ("PT1HT1M", None),
            ("PTxH", None),
            ("P99999999999999D", None),
        ] {
            assert_eq!(period_millis(text), millis, "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_refused_with_the_nearest_name_and_unused_ones_noted() {
        let mut ignored = Vec::new();
        let json = json!({"topic": "t", "replicas": 2, "pollTimeout": null});
        Fields::open(&json, "spec.ioConfig", &["topic"], &["replicas", "pollTimeout"], &mut ignored).unwrap();
        assert_eq!(ignored, ["spec.ioConfig.replicas"]);
        let json = json!({"taskCuont": 2});
        let error =
            Fields::open(&json, "spec.ioConfig", &["taskCount", "topic"], &["replicas"], &mut ignored).err().unwrap();
        assert_eq!(error.to_string(), "spec.ioConfig.taskCuont is not a known field; the nearest is taskCount");
    }
}
