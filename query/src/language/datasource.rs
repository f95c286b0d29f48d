//! Where rows come from: a table, several sources as one, another query's answer, rows in the query itself, a lookup, or
//! what is made of such ([`super::join`]).

use std::sync::Arc;

use segment::block::Value;
use segment::lookup::Lookup;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::fields::Fields;
use super::join::{self, Filtered, Join, Unnest};
use super::{DEPTH_MAX, Query};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub enum DataSource {
    Table(String),
    /// Read as one; a column that one of them lacks is null there.
    Union(Vec<DataSource>),
    Query(Box<Query>),
    Inline(Inline),
    /// Keys and values in columns `k` and `v`, as they were when the query came.
    Lookup(Arc<Lookup>),
    Join(Box<Join>),
    Unnest(Box<Unnest>),
    Filter(Box<Filtered>),
}

/// Rows that stand in the query.
#[derive(Debug, Clone)]
pub struct Inline {
    pub columns: Vec<(String, Option<ValueType>)>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

const KNOWN: &str = "table, union, query, inline, globalTable, lookup, join, unnest, filter";

impl DataSource {
    pub fn from_json(json: &Json, path: &str, depth: usize) -> Result<DataSource> {
        if let Some(name) = json.as_str() {
            return table(name, path).map(DataSource::Table);
        }
        if depth > DEPTH_MAX {
            return Err(Error::Parse(format!("{path}: sources may be nested {DEPTH_MAX} deep")));
        }
        // As pydruid writes a union.
        if let Some(members) = json.as_array() {
            return union(members, path, depth);
        }
        let fields = Fields::of(json, path)?;
        match fields.need_text("type")? {
            "table" | "globalTable" => table(fields.need_text("name")?, &fields.at("name")).map(DataSource::Table),
            "union" => union(fields.list("dataSources")?, &fields.at("dataSources"), depth),
            "query" => {
                let inner = fields.need("query")?;
                let query = Query::parse(inner, &fields.at("query"), depth + 1)?;
                Ok(DataSource::Query(Box::new(query)))
            }
            "inline" => Inline::from_fields(&fields).map(DataSource::Inline),
            "lookup" => join::lookup(json, path),
            "join" => Join::from_fields(&fields, depth).map(|join| DataSource::Join(Box::new(join))),
            "unnest" => Unnest::from_fields(&fields, depth).map(|unnest| DataSource::Unnest(Box::new(unnest))),
            "filter" => Filtered::from_fields(&fields, depth).map(|filtered| DataSource::Filter(Box::new(filtered))),
            "restrict" => Err(Error::Unsupported(format!(
                "{path}.type: data source [restrict] is not supported; use one of {KNOWN}"
            ))),
            other => Err(Error::Parse(format!("{path}.type: unknown data source [{other}]; use one of {KNOWN}"))),
        }
    }

    /// The tables that are read, of inner queries too.
    pub fn tables(&self) -> Vec<&str> {
        match self {
            DataSource::Table(name) => vec![name],
            DataSource::Union(members) => members.iter().flat_map(DataSource::tables).collect(),
            DataSource::Query(query) => query.scope().source.tables(),
            DataSource::Inline(_) | DataSource::Lookup(_) => Vec::new(),
            DataSource::Join(join) => [join.left.tables(), join.right.tables()].concat(),
            DataSource::Unnest(unnest) => unnest.base.tables(),
            DataSource::Filter(filtered) => filtered.base.tables(),
        }
    }

    /// Whether it is a table, or several, and nothing is computed before.
    pub fn is_stored(&self) -> bool {
        match self {
            DataSource::Table(_) => true,
            DataSource::Union(members) => members.iter().all(DataSource::is_stored),
            _ => false,
        }
    }
}

fn union(list: &[Json], path: &str, depth: usize) -> Result<DataSource> {
    let mut members = Vec::new();
    for (i, member) in list.iter().enumerate() {
        match DataSource::from_json(member, &format!("{path}[{i}]"), depth + 1)? {
            DataSource::Union(inner) => members.extend(inner),
            other => members.push(other),
        }
    }
    if members.is_empty() {
        return Err(Error::Parse(format!("{path}: give at least one")));
    }
    Ok(DataSource::Union(members))
}

fn table(name: &str, path: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::Parse(format!("{path}: the name of a table must not be empty")));
    }
    Ok(name.to_string())
}

impl Inline {
    fn from_fields(fields: &Fields) -> Result<Inline> {
        let names = fields.texts("columnNames")?;
        if let Some((i, name)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            let at = fields.at("columnNames");
            return Err(Error::Parse(format!("{at}[{i}]: [{name}] stands there twice; give each column its own name")));
        }
        let types = match fields.get("columnTypes") {
            None => vec![None; names.len()],
            Some(_) => fields
                .list("columnTypes")?
                .iter()
                .enumerate()
                .map(|(i, json)| match json {
                    Json::Null => Ok(None),
                    Json::String(name) => ValueType::from_druid_name(name).map(Some).ok_or_else(|| {
                        Error::Parse(format!(
                            "{}[{i}]: unknown type [{name}]; use STRING, LONG, FLOAT or DOUBLE",
                            fields.at("columnTypes")
                        ))
                    }),
                    _ => Err(Error::Parse(format!("{}[{i}]: must be the name of a type", fields.at("columnTypes")))),
                })
                .collect::<Result<Vec<_>>>()?,
        };
        if types.len() != names.len() {
            return Err(Error::Parse(format!("{}: must be as long as columnNames", fields.at("columnTypes"))));
        }
        let mut rows = Vec::new();
        for (i, row) in fields.list("rows")?.iter().enumerate() {
            let at = format!("{}[{i}]", fields.at("rows"));
            let cells = row
                .as_array()
                .filter(|cells| cells.len() == names.len())
                .ok_or_else(|| Error::Parse(format!("{at}: must be an array of {} values", names.len())))?;
            rows.push(cells.iter().map(value).collect());
        }
        Ok(Inline { columns: names.into_iter().zip(types).collect(), rows })
    }
}

/// A JSON value as a value of a row. Objects become their text.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Long(*b as i64),
        Json::Number(n) => match n.as_i64() {
            Some(long) => Value::Long(long),
            None => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(_) => Value::text(&json.to_string()),
    }
}
