//! Which groups are kept.

use std::cmp::Ordering;

use segment::block::Value;
use segment::expr::Expr;
use segment::filter::Filter;
use serde_json::Value as Json;

use super::desugar;
use super::extraction::Extraction;
use super::fields::Fields;
use crate::columns::as_text;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub enum Having {
    Always,
    /// Any filter, on the finished row.
    Filter(Filter),
    /// How an aggregate or post-aggregate compares with a number. Null compares with nothing.
    Compare {
        column: String,
        ordering: Ordering,
        value: Value,
    },
    Dimension {
        column: String,
        value: Option<String>,
        extraction: Option<Extracted>,
    },
    And(Vec<Having>),
    Or(Vec<Having>),
    Not(Box<Having>),
}

/// How a dimension's text is turned into another.
#[derive(Debug, Clone)]
pub enum Extracted {
    Function(Extraction),
    /// Of the column `text`.
    Expression(Expr),
}

impl Extracted {
    fn from_json(json: &Json, path: &str) -> Result<Extracted> {
        match desugar::of_text(json, path)? {
            Some(expr) => Ok(Extracted::Expression(expr)),
            None => Extraction::from_json(json, path).map(Extracted::Function),
        }
    }

    /// Whether it makes one text of another.
    fn makes(&self, wanted: Option<&str>, text: Option<&str>) -> bool {
        match self {
            Extracted::Function(function) => function.apply(text).as_deref() == wanted,
            Extracted::Expression(expr) => {
                let made = expr.value(&|_| text.map_or(Value::Null, |text| Value::Text(text.into())));
                as_text(&made).as_deref() == wanted
            }
        }
    }
}

const KNOWN: &str = "filter, greaterThan, lessThan, equalTo, dimSelector, and, or, not, always";
/// How deep havings may nest.
const DEPTH_MAX: usize = 64;

impl Having {
    pub fn from_json(json: &Json, path: &str) -> Result<Having> {
        Having::parse(json, path, 0)
    }

    fn parse(json: &Json, path: &str, depth: usize) -> Result<Having> {
        if depth > DEPTH_MAX {
            return Err(Error::Parse(format!("{path}: having nests more than {DEPTH_MAX} deep")));
        }
        let fields = Fields::of(json, path)?;
        let compare = |ordering| -> Result<Having> {
            let value = match fields.need("value")? {
                Json::Number(n) => n.as_i64().map_or_else(|| n.as_f64().map(Value::Double), |v| Some(Value::Long(v))),
                Json::String(text) => text.parse().map(Value::Long).or_else(|_| text.parse().map(Value::Double)).ok(),
                _ => None,
            };
            let value = value.ok_or_else(|| fields.wrong("value", "must be a number"))?;
            Ok(Having::Compare { column: fields.need_text("aggregation")?.to_string(), ordering, value })
        };
        let inner = || -> Result<Vec<Having>> {
            let list = fields.list("havingSpecs")?;
            list.iter()
                .enumerate()
                .map(|(i, json)| Having::parse(json, &format!("{}[{i}]", fields.at("havingSpecs")), depth + 1))
                .collect()
        };
        Ok(match fields.need_text("type")? {
            "always" => Having::Always,
            "filter" => Having::Filter(
                Filter::from_json(fields.need("filter")?, &fields.at("filter"))
                    .map_err(|error| Error::Parse(error.to_string()))?,
            ),
            "greaterThan" => compare(Ordering::Greater)?,
            "lessThan" => compare(Ordering::Less)?,
            "equalTo" => compare(Ordering::Equal)?,
            "dimSelector" => Having::Dimension {
                column: fields.need_text("dimension")?.to_string(),
                value: fields.text("value")?.map(str::to_string),
                extraction: fields
                    .get("extractionFn")
                    .map(|json| Extracted::from_json(json, &fields.at("extractionFn")))
                    .transpose()?,
            },
            "and" => Having::And(inner()?),
            "or" => Having::Or(inner()?),
            "not" => {
                Having::Not(Box::new(Having::parse(fields.need("havingSpec")?, &fields.at("havingSpec"), depth + 1)?))
            }
            other => return Err(fields.wrong("type", format_args!("unknown having [{other}]; use one of {KNOWN}"))),
        })
    }

    /// The columns it reads.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Having::Always => Vec::new(),
            Having::Filter(filter) => filter.columns(),
            Having::Compare { column, .. } | Having::Dimension { column, .. } => vec![column],
            Having::And(all) | Having::Or(all) => all.iter().flat_map(Having::columns).collect(),
            Having::Not(inner) => inner.columns(),
        }
    }

    /// Whether a row is kept. `column` gives the finished values.
    pub fn keeps(&self, column: &dyn Fn(&str) -> Value) -> bool {
        match self {
            Having::Always => true,
            Having::Filter(filter) => filter.matches(column) == Some(true),
            Having::Compare { column: name, ordering, value } => {
                compare(&column(name), value).is_some_and(|found| found == *ordering)
            }
            Having::Dimension { column: name, value, extraction } => {
                let text = as_text(&column(name));
                match extraction {
                    Some(extraction) => extraction.makes(value.as_deref(), text.as_deref()),
                    None => text.as_deref() == value.as_deref(),
                }
            }
            Having::And(all) => all.iter().all(|having| having.keeps(column)),
            Having::Or(all) => all.iter().any(|having| having.keeps(column)),
            Having::Not(inner) => !inner.keeps(column),
        }
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let double = |value: &Value| match value {
        Value::Long(v) => Some(*v as f64),
        Value::Double(v) => Some(*v),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    match (a, b) {
        (Value::Long(a), Value::Long(b)) => Some(a.cmp(b)),
        _ => double(a)?.partial_cmp(&double(b)?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dimensions_are_kept_by_what_time_and_format_make_of_them() {
        let keeps = |function: Json, value: Json, text: Option<&str>| {
            let having = json!({"type": "dimSelector", "dimension": "d", "value": value, "extractionFn": function});
            let having = Having::from_json(&having, "having").unwrap();
            having.keeps(&|_| text.map_or(Value::Null, |text| Value::Text(text.into())))
        };
        let format = json!({"type": "stringFormat", "format": "[%s]", "nullHandling": "returnNull"});
        assert!(keeps(format.clone(), json!("[a]"), Some("a")));
        assert!(!keeps(format.clone(), json!("[a]"), Some("b")));
        assert!(keeps(format.clone(), Json::Null, None));
        let time = json!({"type": "time", "timeFormat": "H", "resultFormat": "HH:mm"});
        assert!(keeps(time, json!("07:00"), Some("7")));
        let year = json!({"type": "timeFormat", "format": "yyyy"});
        assert!(keeps(year, json!("2026"), Some("2026-03-01T00:00:00.000Z")));
        let both = json!({"type": "cascade", "extractionFns": [{"type": "upper"}, format]});
        assert!(keeps(both, json!("[A]"), Some("a")));
    }
}
