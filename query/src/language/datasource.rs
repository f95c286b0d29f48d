//! Where rows come from: a table, several tables as one, another query's answer, or rows in the query itself.

use segment::block::Value;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::Query;
use super::fields::Fields;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub enum DataSource {
    Table(String),
    /// Tables read as one; a column that one of them lacks is null there.
    Union(Vec<String>),
    Query(Box<Query>),
    Inline(Inline),
}

/// Rows that stand in the query.
#[derive(Debug, Clone)]
pub struct Inline {
    pub columns: Vec<(String, Option<ValueType>)>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

const KNOWN: &str = "table, union, query, inline";

impl DataSource {
    pub fn from_json(json: &Json, path: &str, depth: usize) -> Result<DataSource> {
        if let Some(name) = json.as_str() {
            return table(name, path).map(DataSource::Table);
        }
        let fields = Fields::of(json, path)?;
        match fields.need_text("type")? {
            "table" | "globalTable" => table(fields.need_text("name")?, &fields.at("name")).map(DataSource::Table),
            "union" => {
                let mut tables = Vec::new();
                for (i, member) in fields.list("dataSources")?.iter().enumerate() {
                    let at = format!("{path}.dataSources[{i}]");
                    match DataSource::from_json(member, &at, depth)? {
                        DataSource::Table(name) => tables.push(name),
                        DataSource::Union(names) => tables.extend(names),
                        _ => {
                            return Err(Error::Unsupported(format!("{at}: a union takes tables only")));
                        }
                    }
                }
                if tables.is_empty() {
                    return Err(Error::Parse(format!("{path}.dataSources: give at least one table")));
                }
                Ok(DataSource::Union(tables))
            }
            "query" => {
                let inner = fields.need("query")?;
                let query = Query::parse(inner, &fields.at("query"), depth + 1)?;
                Ok(DataSource::Query(Box::new(query)))
            }
            "inline" => Inline::from_fields(&fields).map(DataSource::Inline),
            known @ ("join" | "lookup" | "unnest" | "filter" | "restrict") => Err(Error::Unsupported(format!(
                "{path}.type: data source [{known}] is not supported; use one of {KNOWN}"
            ))),
            other => Err(Error::Parse(format!("{path}.type: unknown data source [{other}]; use one of {KNOWN}"))),
        }
    }

    /// The tables that are read, of inner queries too.
    pub fn tables(&self) -> Vec<&str> {
        match self {
            DataSource::Table(name) => vec![name],
            DataSource::Union(names) => names.iter().map(String::as_str).collect(),
            DataSource::Query(query) => query.scope().source.tables(),
            DataSource::Inline(_) => Vec::new(),
        }
    }
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
