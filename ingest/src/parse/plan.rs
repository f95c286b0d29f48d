//! What is read of a record: which names are fields of the batch, and which one is the time.

use hashbrown::HashSet;
use segment::row::{Cell, RowBatch};
use segment::schema::TIME;
use serde_json::Value;

use super::timestamp::Raw;
use crate::spec::data_schema::Wanted;
use crate::spec::{DataSchema, TimestampSpec};

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) time: TimestampSpec,
    named: HashSet<String>,
    excluded: HashSet<String>,
    others: bool,
    nested: bool,
}

/// What a name of the record is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) time: bool,
    pub(crate) field: bool,
    /// Nested values are kept: the schema names the field, or discovery makes documents of them.
    pub(crate) named: bool,
}

impl Purpose {
    pub(crate) fn is_nothing(self) -> bool {
        !self.time && !self.field
    }
}

impl Plan {
    pub(crate) fn new(schema: &DataSchema) -> Plan {
        let Wanted { names, others, nested, excluded } = schema.wanted();
        Plan {
            time: schema.timestamp.clone(),
            named: names.into_iter().collect(),
            excluded: excluded.into_iter().collect(),
            others,
            nested,
        }
    }

    pub(crate) fn purpose(&self, name: &str) -> Purpose {
        let time = name == self.time.column;
        let named = self.named.contains(name);
        let discovered = self.others && !time && name != TIME && !self.excluded.contains(name);
        Purpose { time, field: named || discovered, named: named || (discovered && self.nested) }
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(String::as_str)
    }
}

/// A parsed value as a cell. Lists of scalars are lists; other nested values are documents, or nothing if `nested` is
/// false.
pub(crate) fn cell_of(value: &Value, nested: bool, batch: &mut RowBatch) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(b) => Cell::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(long) => Cell::Long(long),
            None => n.as_f64().map_or(Cell::Null, Cell::Double),
        },
        Value::String(text) => batch.text(text),
        Value::Array(list) if list.iter().all(|v| !v.is_array() && !v.is_object()) => {
            let cells: Vec<Cell> = list.iter().map(|v| cell_of(v, nested, batch)).collect();
            batch.list(&cells)
        }
        Value::Array(_) | Value::Object(_) if nested => batch.json(&value.to_string()),
        Value::Array(_) | Value::Object(_) => Cell::Null,
    }
}

pub(crate) fn raw_of(value: &Value) -> Raw<'_> {
    match value {
        Value::Null => Raw::Null,
        Value::Number(n) => match n.as_i64() {
            Some(long) => Raw::Long(long),
            None => n.as_f64().map_or(Raw::Other, Raw::Double),
        },
        Value::String(text) => Raw::Text(text),
        _ => Raw::Other,
    }
}
