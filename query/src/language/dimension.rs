//! What rows are grouped by: a column, which of its values count, what they are turned into, under which name and type.

use std::borrow::Cow;

use segment::filter::java_regex;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::extraction::{self, Extraction};
use super::fields::Fields;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Dimension {
    pub column: String,
    pub output: String,
    pub output_type: ValueType,
    /// What each value is turned into; a function of the value as text.
    pub extraction: Option<Extraction>,
    /// Which values of a row count, once they are extracted, outermost last. A row that is left with none counts as null.
    pub keep: Vec<Keep>,
}

/// A test of single values.
#[derive(Debug, Clone)]
pub enum Keep {
    List { values: Vec<Option<String>>, allow: bool },
    Regex(regex::Regex),
    Prefix(String),
}

const KNOWN: &str = "default, extraction, listFiltered, regexFiltered, prefixFiltered, lookup";

impl Dimension {
    /// A column under its own name.
    pub fn plain(column: impl Into<String>, output_type: ValueType) -> Dimension {
        let column = column.into();
        Dimension { output: column.clone(), column, output_type, keep: Vec::new(), extraction: None }
    }

    /// Whether values stand as they are in the column.
    pub fn is_plain(&self) -> bool {
        self.keep.is_empty() && self.extraction.is_none()
    }

    /// What a value of a row counts as; `None` if it does not count.
    pub fn apply<'a>(&self, value: Option<&'a str>) -> Option<Option<Cow<'a, str>>> {
        let made = match &self.extraction {
            Some(extraction) => extraction.apply(value),
            None => value.map(Cow::Borrowed),
        };
        self.keep.iter().all(|keep| keep.keeps(made.as_deref())).then_some(made)
    }

    pub fn from_json(json: &Json, path: &str) -> Result<Dimension> {
        if let Some(name) = json.as_str() {
            return Ok(Dimension::plain(name, ValueType::String));
        }
        let fields = Fields::of(json, path)?;
        let kind = fields.text("type")?.unwrap_or("default");
        match kind {
            "default" | "extraction" => Dimension::from_column(&fields, kind == "extraction"),
            "listFiltered" => {
                let mut values = Vec::new();
                for (i, value) in fields.list("values")?.iter().enumerate() {
                    values.push(match value {
                        Json::Null => None,
                        Json::String(text) => Some(text.clone()),
                        _ => return Err(fields.wrong("values", format_args!("[{i}] must be a string or null"))),
                    });
                }
                let allow = fields.flag("isWhitelist")?.unwrap_or(true);
                Dimension::kept(&fields, Keep::List { values, allow })
            }
            "regexFiltered" => {
                let pattern = fields.need_text("pattern")?;
                // A whole value must match, unlike in a filter.
                let regex = java_regex(&format!("^(?:{pattern})$"))
                    .map_err(|error| fields.wrong("pattern", format_args!("not a valid pattern: {error}")))?;
                Dimension::kept(&fields, Keep::Regex(regex))
            }
            "prefixFiltered" => {
                let prefix = fields.need_text("prefix")?.to_string();
                Dimension::kept(&fields, Keep::Prefix(prefix))
            }
            "lookup" => {
                let mut dimension = Dimension::from_column(&fields, false)?;
                dimension.extraction = Some(extraction::of_dimension(&fields)?);
                Ok(dimension)
            }
            other => Err(fields.wrong("type", format_args!("unknown dimension spec [{other}]; use one of {KNOWN}"))),
        }
    }

    fn from_column(fields: &Fields, extracts: bool) -> Result<Dimension> {
        let column = fields.need_text("dimension")?;
        let mut dimension = Dimension::plain(column, ValueType::String);
        if let Some(output) = fields.text("outputName")? {
            dimension.output = output.to_string();
        }
        if let Some(text) = fields.text("outputType")? {
            dimension.output_type = ValueType::from_druid_name(text)
                .filter(|t| t.is_json() || !matches!(t, ValueType::Complex(_)))
                .ok_or_else(|| {
                    fields.wrong(
                        "outputType",
                        format_args!(
                            "type [{text}] is not supported; use STRING, LONG, FLOAT, DOUBLE or an ARRAY of these"
                        ),
                    )
                })?;
        }
        if extracts {
            let name = match fields.get("extractionFn") {
                Some(_) => "extractionFn",
                None => "dimExtractionFn",
            };
            let json = fields.get(name).ok_or_else(|| fields.wrong("extractionFn", "is required"))?;
            dimension.extraction = Some(Extraction::from_json(json, &fields.at(name))?);
        }
        Ok(dimension)
    }

    fn kept(fields: &Fields, keep: Keep) -> Result<Dimension> {
        let mut dimension = Dimension::from_json(fields.need("delegate")?, &fields.at("delegate"))?;
        dimension.keep.push(keep);
        Ok(dimension)
    }
}

impl Keep {
    pub fn keeps(&self, value: Option<&str>) -> bool {
        match self {
            Keep::List { values, allow } => values.iter().any(|v| v.as_deref() == value) == *allow,
            Keep::Regex(regex) => value.is_some_and(|text| regex.is_match(text)),
            Keep::Prefix(prefix) => value.is_some_and(|text| text.starts_with(prefix.as_str())),
        }
    }
}
