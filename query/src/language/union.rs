//! The query type `union`: the answers of several queries, one after the other, each row an array.
//!
//! It has no rows of its own: each of its queries is let in, budgeted and answered as it would be alone.

use serde_json::{Map, Value as Json};

use super::fields::Fields;
use super::{DEPTH_MAX, Query};
use crate::error::{Error, Result};
use segment::time::Granularity;

/// Queries of one union; the groups of all of them are held at once.
const QUERIES_MAX: usize = DEPTH_MAX;

#[derive(Debug, Clone)]
pub struct Union {
    /// Two or more; their rows have equally many columns.
    pub queries: Vec<Query>,
}

impl Union {
    /// Whether a query is one of these.
    pub fn is_meant(json: &Json) -> bool {
        json.get("queryType").and_then(Json::as_str) == Some("union")
    }

    /// What its context says goes before what those of its queries say, and these before the defaults.
    pub(crate) fn from_json(json: &Json, defaults: &Map<String, Json>) -> Result<Union> {
        let fields = Fields::of(json, "")?;
        let list = fields.list("queries")?;
        if !(2..=QUERIES_MAX).contains(&list.len()) {
            return Err(fields.wrong("queries", format_args!("must be 2 to {QUERIES_MAX} queries")));
        }
        let outer = json.get("context").and_then(Json::as_object);
        let mut queries = Vec::with_capacity(list.len());
        let mut columns = None;
        for (i, inner) in list.iter().enumerate() {
            let path = format!("queries[{i}]");
            let query = Query::parse(&with_context(inner, outer, defaults), &path, 0)?;
            let width = width(&query, &path)?;
            let first = *columns.get_or_insert(width);
            if width != first {
                return Err(Error::Parse(format!(
                    "{path}: its rows have {width} columns, and those of queries[0] have {first}; a union has rows of one kind"
                )));
            }
            queries.push(query);
        }
        Ok(Union { queries })
    }

    /// The tables that it reads.
    pub fn tables(&self) -> Vec<&str> {
        let mut tables: Vec<&str> = self.queries.iter().flat_map(|query| query.scope().source.tables()).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }
}

fn with_context(query: &Json, outer: Option<&Map<String, Json>>, defaults: &Map<String, Json>) -> Json {
    let mut query = query.clone();
    if let Some(fields) = query.as_object_mut() {
        let own = fields.entry("context").or_insert(Json::Null);
        if own.is_null() {
            *own = Json::Object(Map::new());
        }
        if let Some(own) = own.as_object_mut() {
            // A null is said too: it asks for what holds without a default.
            let said = own.iter().chain(outer.into_iter().flatten());
            let said: Map<String, Json> = said.map(|(key, value)| (key.clone(), value.clone())).collect();
            own.extend(defaults.clone());
            own.extend(said);
        }
    }
    query
}

/// How many columns the rows of a query have as arrays.
fn width(query: &Query, path: &str) -> Result<usize> {
    Ok(match query {
        Query::Timeseries(q) => 1 + q.aggregates.len() + q.post_aggregates.len(),
        Query::TopN(q) => 2 + q.aggregates.len() + q.post_aggregates.len(),
        Query::GroupBy(q) => {
            usize::from(has_time(query)) + q.dimensions.len() + q.aggregates.len() + q.post_aggregates.len()
        }
        Query::Scan(q) if !q.columns.is_empty() => q.columns.len(),
        Query::Scan(_) => {
            return Err(Error::Parse(format!("{path}.columns: must be named, so that all rows have the same")));
        }
        other => {
            return Err(Error::Unsupported(format!(
                "{path}.queryType: a union is of timeseries, topN, groupBy and scan, not of {}",
                other.type_name()
            )));
        }
    })
}

/// Whether the time is the first column of a query's rows as arrays.
pub(crate) fn has_time(query: &Query) -> bool {
    !matches!(query, Query::GroupBy(q) if q.granularity == Granularity::All)
}
