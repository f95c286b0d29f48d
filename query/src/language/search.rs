//! Which values of which dimensions hold a text.

use segment::filter::{self, Ordering};
use segment::time::Granularity;
use serde_json::Value as Json;

use super::fields::Fields;
use super::{Dimension, Scope, limit};
use crate::error::Result;

/// Druid's cap on hits (`druid.query.search.maxSearchLimit`), also the default.
pub const HITS_MAX: u64 = 1000;

#[derive(Debug, Clone)]
pub struct Search {
    pub scope: Scope,
    pub granularity: Granularity,
    /// Empty: all dimensions.
    pub dimensions: Vec<Dimension>,
    pub query: filter::Search,
    pub order: SearchOrder,
    pub limit: u64,
}

/// How hits are sorted: by value, then by the dimension's name. `None` is the natural order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOrder(pub Option<Ordering>);

impl Search {
    pub(super) fn from_fields(fields: &Fields, scope: Scope, granularity: Granularity) -> Result<Search> {
        let name = match fields.get("searchDimensions") {
            Some(_) => "searchDimensions",
            None => "dimensions",
        };
        let dimensions = fields
            .list(name)?
            .iter()
            .enumerate()
            .map(|(i, json)| Dimension::from_json(json, &format!("{}[{i}]", fields.at(name))))
            .collect::<Result<_>>()?;
        let query = match fields.get("query") {
            None => filter::Search::All,
            Some(json) => search_spec(json, &fields.at("query"))?,
        };
        let order = match fields.get("sort") {
            None => Some(Ordering::Lexicographic),
            Some(_) => limit::ordering(fields, "sort", Some(Ordering::Lexicographic))?,
        };
        let limit = match fields.count("limit")? {
            None | Some(0) => HITS_MAX,
            Some(limit) => limit.min(HITS_MAX),
        };
        Ok(Search { scope, granularity, dimensions, query, order: SearchOrder(order), limit })
    }
}

pub(crate) fn search_spec(json: &Json, path: &str) -> Result<filter::Search> {
    let fields = Fields::of(json, path)?;
    let case_sensitive = fields.flag("caseSensitive")?.unwrap_or(false);
    match fields.need_text("type")? {
        "all" => Ok(filter::Search::All),
        "insensitive_contains" => {
            Ok(filter::Search::Contains { text: fields.need_text("value")?.to_string(), case_sensitive: false })
        }
        "contains" => Ok(filter::Search::Contains { text: fields.need_text("value")?.to_string(), case_sensitive }),
        "fragment" => Ok(filter::Search::Fragments { texts: fields.texts("values")?, case_sensitive }),
        "regex" => {
            let regex = regex::Regex::new(fields.need_text("pattern")?)
                .map_err(|error| fields.wrong("pattern", format_args!("not a valid pattern: {error}")))?;
            Ok(filter::Search::Regex(regex))
        }
        other => Err(fields.wrong(
            "type",
            format_args!("unknown search query [{other}]; use all, contains, insensitive_contains, fragment or regex"),
        )),
    }
}
