//! Order, offset and limit of a groupBy.

use segment::filter::Ordering;
use serde_json::Value as Json;

use super::fields::Fields;
use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limit {
    pub limit: Option<u64>,
    /// Rows left out before the limit counts.
    pub offset: u64,
    /// Most significant first; ties keep the order of the grouping.
    pub columns: Vec<OrderBy>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OrderBy {
    pub column: String,
    pub descending: bool,
    /// How a dimension's values compare as text; `None`: as values of their type.
    pub ordering: Option<Ordering>,
}

impl Limit {
    pub fn from_json(json: &Json, path: &str) -> Result<Limit> {
        let fields = Fields::of(json, path)?;
        match fields.text("type")?.unwrap_or("default") {
            "NoopLimitSpec" | "noop" => return Ok(Limit::default()),
            "default" => {}
            other => return Err(fields.wrong("type", format_args!("unknown limit spec [{other}]; use default"))),
        }
        let limit = fields.count("limit")?;
        if limit == Some(0) {
            return Err(fields.wrong("limit", "must be above 0"));
        }
        let columns = fields
            .list("columns")?
            .iter()
            .enumerate()
            .map(|(i, column)| OrderBy::from_json(column, &format!("{}[{i}]", fields.at("columns"))))
            .collect::<Result<_>>()?;
        Ok(Limit { limit, offset: fields.count("offset")?.unwrap_or(0), columns })
    }
}

impl OrderBy {
    fn from_json(json: &Json, path: &str) -> Result<OrderBy> {
        if let Some(name) = json.as_str() {
            return Ok(OrderBy {
                column: name.to_string(),
                descending: false,
                ordering: Some(Ordering::Lexicographic),
            });
        }
        let fields = Fields::of(json, path)?;
        let direction = fields.text("direction")?.unwrap_or("ascending").to_ascii_lowercase();
        let descending = if !direction.is_empty() && "descending".starts_with(&direction) {
            true
        } else if !direction.is_empty() && "ascending".starts_with(&direction) {
            false
        } else {
            return Err(fields.wrong("direction", "must be ascending or descending"));
        };
        Ok(OrderBy {
            column: fields.need_text("dimension")?.to_string(),
            descending,
            ordering: ordering(&fields, "dimensionOrder", Some(Ordering::Lexicographic))?,
        })
    }
}

/// A string comparator, as text or `{"type": …}`; `None` is `natural`.
pub(crate) fn ordering(fields: &Fields, name: &str, default: Option<Ordering>) -> Result<Option<Ordering>> {
    let Some(json) = fields.get(name) else {
        return Ok(default);
    };
    let text = match json {
        Json::String(text) => text.as_str(),
        Json::Object(map) => map.get("type").and_then(Json::as_str).unwrap_or_default(),
        _ => "",
    };
    match text.to_ascii_lowercase().as_str() {
        "lexicographic" => Ok(Some(Ordering::Lexicographic)),
        "alphanumeric" => Ok(Some(Ordering::Alphanumeric)),
        "numeric" => Ok(Some(Ordering::Numeric)),
        "strlen" => Ok(Some(Ordering::Strlen)),
        "version" => Ok(Some(Ordering::Version)),
        "natural" => Ok(None),
        _ => Err(Error::Parse(format!(
            "{}: unknown order [{text}]; use lexicographic, alphanumeric, numeric, strlen, version or natural",
            fields.at(name)
        ))),
    }
}
