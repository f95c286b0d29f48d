//! What is seen of one table: its rows by a filter, its columns as they are, masked or not at all.

use std::sync::Arc;

use regex::Regex;
use segment::expr::Expr;
use segment::filter::Filter;
use segment::schema::{TIME, ValueType};
use segment::time::Granularity;
use serde_json::Value as Json;

use super::documents::Treatment;
use crate::error::{Error, Result};
use crate::language::VirtualColumn;

/// What a principal sees of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Restriction {
    /// Every row and column: said, never assumed.
    Unrestricted,
    Restricted(Arc<Restricted>),
}

#[derive(Debug)]
pub struct Restricted {
    /// All that the restriction is made of, in full, so that different ones never have the same: what is kept for a query is
    /// kept under it. The secret of the masks stands in it by its digest, for keys are written down.
    pub key: String,
    /// The rows that are seen; `None` is all of them.
    pub filter: Option<Filter>,
    /// The same in Druid's JSON.
    pub filter_json: Option<Json>,
    pub(super) columns: Vec<(Regex, Treatment)>,
    pub(super) public: Vec<Regex>,
    pub(super) secret: String,
}

impl PartialEq for Restricted {
    fn eq(&self, other: &Restricted) -> bool {
        self.key == other.key
    }
}

impl Restriction {
    /// Equal for equal restrictions, and of no restriction empty.
    pub fn key(&self) -> &str {
        match self {
            Restriction::Unrestricted => "",
            Restriction::Restricted(restricted) => &restricted.key,
        }
    }
}

impl Restricted {
    /// What is done to a column; `None`: it is seen as it is.
    pub fn treatment(&self, column: &str) -> Option<Treatment> {
        let mut found: Option<&Treatment> = None;
        for (_, rule) in self.columns.iter().filter(|(pattern, _)| pattern.is_match(column)) {
            found = match found {
                _ if *rule == Treatment::Deny => return Some(Treatment::Deny),
                Some(other) if other != rule => Some(&Treatment::Null),
                _ => Some(rule),
            };
        }
        found.cloned()
    }

    /// Whether there are rules about columns at all.
    pub fn treats_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    pub fn is_denied(&self, column: &str) -> bool {
        self.treatment(column) == Some(Treatment::Deny)
    }

    /// Whether the being there of a column is told, whoever's rows have values in it.
    pub fn is_public(&self, column: &str) -> bool {
        self.public.iter().any(|pattern| pattern.is_match(column))
    }

    /// What is seen in place of a column of that type, as a virtual column that reads the column itself.
    pub fn mask(&self, column: &str, value_type: &ValueType) -> Option<VirtualColumn> {
        let read = format!("\"{}\"", column.replace('\\', "\\\\").replace('"', "\\\""));
        let (text, output_type) = match self.treatment(column)? {
            Treatment::Deny | Treatment::Null => ("null".to_string(), value_type.clone()),
            Treatment::Hash => (format!("mask_hash({read}, '{}')", self.secret), ValueType::String),
            Treatment::KeepLast { n } => (format!("mask_keep_last({read}, {n})"), ValueType::String),
            Treatment::TruncateTime { period } => match value_type {
                ValueType::String => {
                    let floor = format!("timestamp_format(timestamp_floor(timestamp({read}), '{period}'))");
                    (floor, ValueType::String)
                }
                _ => (format!("timestamp_floor(cast({read}, 'LONG'), '{period}')"), ValueType::Long),
            },
        };
        let expr = Expr::parse(&text).unwrap_or_else(|_| Expr::parse("null").expect("null is an expression"));
        Some(VirtualColumn { name: column.to_string(), expr, output_type: Some(output_type), among: None })
    }

    /// What times of rows are rounded down to.
    pub fn rounding(&self) -> Result<Option<Granularity>> {
        match self.treatment(TIME) {
            None => Ok(None),
            Some(Treatment::TruncateTime { period }) => Ok(Some(Granularity::period(&period, "UTC", None)?)),
            Some(_) => Err(Error::Denied(format!(
                "your roles truncate {TIME} to different periods; ask an administrator to let them agree"
            ))),
        }
    }
}
