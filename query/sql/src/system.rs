//! INFORMATION_SCHEMA, as Druid fills it: what of the tables the caller may see.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Result as DfResult;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::TableSource;
use query::policy::{Action, Kind};
use query::{Broker, Principal};
use segment::schema::{TIME, ValueType};

use crate::routines::{self, Routine};
use crate::sys;

pub const SCHEMA: &str = "INFORMATION_SCHEMA";

/// The schema of lookups, a table of keys and values each.
pub const LOOKUPS: &str = "lookup";

const TABLES: [(&str, &[&str]); 4] = [
    (
        "SCHEMATA",
        &[
            "CATALOG_NAME",
            "SCHEMA_NAME",
            "SCHEMA_OWNER",
            "DEFAULT_CHARACTER_SET_CATALOG",
            "DEFAULT_CHARACTER_SET_SCHEMA",
            "DEFAULT_CHARACTER_SET_NAME",
            "SQL_PATH",
        ],
    ),
    ("TABLES", &["TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE", "IS_JOINABLE", "IS_BROADCAST"]),
    (
        "COLUMNS",
        &[
            "TABLE_CATALOG",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "COLUMN_NAME",
            "ORDINAL_POSITION",
            "COLUMN_DEFAULT",
            "IS_NULLABLE",
            "DATA_TYPE",
            "CHARACTER_MAXIMUM_LENGTH",
            "CHARACTER_OCTET_LENGTH",
            "NUMERIC_PRECISION",
            "NUMERIC_PRECISION_RADIX",
            "NUMERIC_SCALE",
            "DATETIME_PRECISION",
            "CHARACTER_SET_NAME",
            "COLLATION_NAME",
            "JDBC_TYPE",
        ],
    ),
    ("ROUTINES", &["ROUTINE_CATALOG", "ROUTINE_SCHEMA", "ROUTINE_NAME", "ROUTINE_TYPE", "IS_AGGREGATOR", "SIGNATURES"]),
];

const NUMBERS: [&str; 6] = [
    "ORDINAL_POSITION",
    "NUMERIC_PRECISION",
    "NUMERIC_PRECISION_RADIX",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "JDBC_TYPE",
];

enum Cell {
    Null,
    Text(String),
    Long(i64),
}

use Cell::{Long, Null};

fn text(text: &str) -> Cell {
    Cell::Text(text.to_string())
}

/// The table of that name; `None` if INFORMATION_SCHEMA has none such.
pub fn table(name: &str, broker: &Broker, who: &Principal) -> Option<DfResult<Arc<dyn TableSource>>> {
    let (_, columns) = TABLES.iter().find(|(table, _)| *table == name)?;
    let rows =
        match name {
            "SCHEMATA" => ["druid", SCHEMA, LOOKUPS, sys::SCHEMA]
                .iter()
                .map(|schema| vec![text("druid"), text(schema), Null, Null, Null, Null, Null])
                .collect(),
            "TABLES" => {
                let mut rows: Vec<Vec<Cell>> = broker
                    .datasources(who)
                    .iter()
                    .map(|name| vec![text("druid"), text("druid"), text(name), text("TABLE"), text("NO"), text("NO")])
                    .collect();
                rows.extend(lookups(broker, who).iter().map(|name| {
                    vec![text("druid"), text(LOOKUPS), text(name), text("TABLE"), text("YES"), text("YES")]
                }));
                let own = TABLES.iter().map(|(name, _)| (SCHEMA, *name));
                let sees = sees(broker, who);
                let listed = sys::TABLES.iter().map(|(name, _)| *name).filter(|name| sees(name));
                let own = own.chain(listed.map(|name| (sys::SCHEMA, name)));
                let kept = sys::DATASOURCES.iter().filter(|(name, _)| sees(name));
                let kept = kept.filter(|(_, datasource)| broker.columns(datasource, who).is_some());
                rows.extend(own.chain(kept.map(|(name, _)| (sys::SCHEMA, *name))).map(|(schema, name)| {
                    vec![text("druid"), text(schema), text(name), text("SYSTEM_TABLE"), text("NO"), text("NO")]
                }));
                rows
            }
            "COLUMNS" => column_rows(broker, who),
            _ => routine_rows(),
        };
    Some(mem_table(columns, rows))
}

fn routine_rows() -> Vec<Vec<Cell>> {
    let row = |routine: Routine| {
        let aggregate = text(if routine.aggregate { "YES" } else { "NO" });
        vec![text("druid"), text(SCHEMA), text(&routine.name), text("FUNCTION"), aggregate, text(&routine.signatures)]
    };
    routines::all().map(row).collect()
}

/// The names of the lookups that the caller may read.
fn lookups(broker: &Broker, who: &Principal) -> Vec<String> {
    let rules = broker.authorizer().current();
    let all = broker.lookups().all();
    all.keys().filter(|name| rules.may(who, Kind::Lookup, name, Action::Read)).cloned().collect()
}

/// A lookup as a table; `None` if there is none of that name for the caller.
pub fn lookup(name: &str, broker: &Broker, who: &Principal) -> Option<DfResult<Arc<dyn TableSource>>> {
    if !broker.authorizer().current().may(who, Kind::Lookup, name, Action::Read) {
        return None;
    }
    let lookup = broker.lookups().all().get(name)?.clone();
    let rows = lookup.entries().into_iter().map(|(key, value)| vec![text(key), text(value)]).collect();
    Some(mem_table(&["k", "v"], rows))
}

/// Whether the caller may read a table of the schema `sys`: others are not listed.
fn sees(broker: &Broker, who: &Principal) -> impl Fn(&str) -> bool {
    let rules = broker.authorizer().current();
    move |table| rules.may(who, Kind::SystemTable, table, Action::Read)
}

fn column_rows(broker: &Broker, who: &Principal) -> Vec<Vec<Cell>> {
    let sees = sees(broker, who);
    let mut rows = Vec::new();
    let names = broker.datasources(who);
    let tables = names.iter().map(|name| ("druid", name.as_str(), name.as_str()));
    let own = sys::DATASOURCES.iter().filter(|(table, _)| sees(table));
    let own = own.map(|(table, name)| (sys::SCHEMA, *table, *name));
    for (schema, table, datasource) in tables.chain(own) {
        let Some(columns) = broker.columns(datasource, who) else { continue };
        for (position, (column, value_type, _)) in columns.iter().enumerate() {
            let (data_type, jdbc) = sql_type(column, value_type);
            rows.push(column_row(schema, table, column, position, &data_type, jdbc));
        }
    }
    for lookup in &lookups(broker, who) {
        for (position, column) in ["k", "v"].iter().enumerate() {
            rows.push(column_row(LOOKUPS, lookup, column, position, "VARCHAR", 12));
        }
    }
    for (table, columns) in sys::TABLES.iter().filter(|(table, _)| sees(table)) {
        for (position, (column, number)) in columns.iter().enumerate() {
            let (data_type, jdbc) = if *number { ("BIGINT", -5) } else { ("VARCHAR", 12) };
            rows.push(column_row(sys::SCHEMA, table, column, position, data_type, jdbc));
        }
    }
    for (table, columns) in TABLES {
        for (position, column) in columns.iter().enumerate() {
            let (data_type, jdbc) = if NUMBERS.contains(column) { ("BIGINT", -5) } else { ("VARCHAR", 12) };
            rows.push(column_row(SCHEMA, table, column, position, data_type, jdbc));
        }
    }
    rows
}

fn column_row(schema: &str, table: &str, column: &str, position: usize, data_type: &str, jdbc: i64) -> Vec<Cell> {
    let chars = data_type == "VARCHAR";
    let (precision, scale) = match data_type {
        "BIGINT" => (Long(19), Long(0)),
        "DOUBLE" => (Long(15), Null),
        "FLOAT" => (Long(15), Null),
        _ => (Null, Null),
    };
    let numeric = matches!(data_type, "BIGINT" | "DOUBLE" | "FLOAT");
    vec![
        text("druid"),
        text(schema),
        text(table),
        text(column),
        Long(position as i64 + 1),
        text(""),
        text(if column == TIME { "NO" } else { "YES" }),
        text(data_type),
        Null,
        Null,
        precision,
        if numeric { Long(10) } else { Null },
        scale,
        if data_type == "TIMESTAMP" { Long(3) } else { Null },
        if chars { text("UTF-16LE") } else { Null },
        if chars { text("UTF-16LE$en_US$primary") } else { Null },
        Long(jdbc),
    ]
}

fn sql_type(column: &str, value_type: &ValueType) -> (String, i64) {
    match value_type {
        _ if column == TIME => ("TIMESTAMP".to_string(), 93),
        ValueType::String => ("VARCHAR".to_string(), 12),
        ValueType::Long => ("BIGINT".to_string(), -5),
        ValueType::Float => ("FLOAT".to_string(), 6),
        ValueType::Double => ("DOUBLE".to_string(), 8),
        ValueType::Array(_) => ("ARRAY".to_string(), 2003),
        ValueType::Complex(name) => (format!("COMPLEX<{name}>"), 1111),
    }
}

fn mem_table(names: &[&str], rows: Vec<Vec<Cell>>) -> DfResult<Arc<dyn TableSource>> {
    let mut fields = Vec::with_capacity(names.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(names.len());
    for (idx, name) in names.iter().enumerate() {
        let cells = rows.iter().map(|row| &row[idx]);
        let number = NUMBERS.contains(name);
        fields.push(Field::new(*name, if number { DataType::Int64 } else { DataType::Utf8 }, true));
        arrays.push(match number {
            true => Arc::new(
                cells.map(|cell| if let Long(long) = cell { Some(*long) } else { None }).collect::<Int64Array>(),
            ),
            false => Arc::new(
                cells
                    .map(|cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None })
                    .collect::<StringArray>(),
            ),
        });
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    Ok(provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?)))
}
