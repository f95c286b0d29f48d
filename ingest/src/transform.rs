//! The transformSpec at work: derives columns and drops rows, a batch at a time.

use std::sync::Arc;

use segment::block::{Block, Value};
use segment::expr::{Expr, Inputs};
use segment::filter::CompiledFilter;
use segment::row::{Cell, RowBatch};
use segment::schema::TIME;
use segment::time::Interval;
use serde_json::Value as Json;

use crate::spec::DataSchema;

pub struct Transform {
    transforms: Vec<(String, Expr)>,
    filter: Option<CompiledFilter>,
    /// What the filter reads.
    columns: Vec<String>,
}

/// Rows that do not pass, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The filter does not match them.
    pub filtered: usize,
    /// A transform of `__time` gave no instant.
    pub unparseable: usize,
}

impl Transform {
    pub fn new(schema: &DataSchema) -> Transform {
        let filter = &schema.transform.filter;
        let columns = filter.iter().flat_map(|f| f.columns()).map(str::to_string).collect();
        Transform {
            transforms: schema.transform.transforms.clone(),
            filter: filter.as_ref().map(|f| f.compile()),
            columns,
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.transforms.is_empty() && self.filter.is_none()
    }

    /// Sets the derived columns of all rows, and lists the rows that pass in `keep`.
    pub fn apply(&self, batch: &mut RowBatch, keep: &mut Vec<u32>) -> Dropped {
        keep.clear();
        let rows = batch.rows();
        let mut dropped = Dropped::default();
        let mut lost: Vec<bool> = Vec::new();
        if !self.transforms.is_empty() && rows > 0 {
            // All are computed before any is set: they read raw fields, not each other.
            let results: Vec<Block> =
                self.transforms.iter().map(|(_, expr)| expr.unlimited_block(&BatchInputs { batch })).collect();
            for ((name, _), block) in self.transforms.iter().zip(results) {
                if name == TIME {
                    lost = set_times(batch, &block);
                } else {
                    set_field(batch, name, &block);
                }
            }
        }
        for row in 0..rows {
            if lost.get(row) == Some(&true) {
                dropped.unparseable += 1;
            } else if self.passes(batch, row) {
                keep.push(row as u32);
            } else {
                dropped.filtered += 1;
            }
        }
        dropped
    }

    fn passes(&self, batch: &RowBatch, row: usize) -> bool {
        let Some(filter) = &self.filter else { return true };
        // The columns of the filter, decoded once a row.
        let values: Vec<(&str, Value)> =
            self.columns.iter().map(|name| (name.as_str(), value_of(batch, name, row))).collect();
        let column = |name: &str| match values.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => value.clone(),
            None => value_of(batch, name, row),
        };
        filter.matches(&column) == Some(true)
    }
}

fn value_of(batch: &RowBatch, name: &str, row: usize) -> Value {
    if name == TIME {
        return Value::Long(batch.times()[row]);
    }
    batch.find(name).map_or(Value::Null, |field| batch.value(batch.cells(field)[row]))
}

/// A batch as the input of expressions.
struct BatchInputs<'a> {
    batch: &'a RowBatch,
}

impl Inputs for BatchInputs<'_> {
    fn column(&self, name: &str) -> Option<Block> {
        if name == TIME {
            return Some(Block::Long { values: self.batch.times().to_vec(), nulls: None });
        }
        Some(block_of(self.batch, self.batch.find(name)?))
    }

    fn len(&self) -> usize {
        self.batch.rows()
    }
}

fn block_of(batch: &RowBatch, field: usize) -> Block {
    let cells = batch.cells(field);
    let all = |kind: fn(&Cell) -> bool| cells.iter().all(|c| *c == Cell::Null || kind(c));
    let nulls = || cells.contains(&Cell::Null).then(|| cells.iter().map(|c| *c == Cell::Null).collect());
    if all(|c| matches!(c, Cell::Long(_) | Cell::Bool(_))) {
        let long = |c: &Cell| match c {
            Cell::Long(n) => *n,
            Cell::Bool(b) => i64::from(*b),
            _ => 0,
        };
        return Block::Long { values: cells.iter().map(long).collect(), nulls: nulls() };
    }
    if all(|c| matches!(c, Cell::Double(_))) {
        let double = |c: &Cell| if let Cell::Double(n) = c { *n } else { 0.0 };
        return Block::Double { values: cells.iter().map(double).collect(), nulls: nulls() };
    }
    if all(|c| matches!(c, Cell::Text { .. })) {
        let text = |c: &Cell| matches!(c, Cell::Text { .. }).then(|| Arc::from(batch.text_of(*c)));
        return Block::Text { values: cells.iter().map(text).collect() };
    }
    Block::Any { values: cells.iter().map(|c| batch.value(*c)).collect() }
}

fn set_field(batch: &mut RowBatch, name: &str, block: &Block) {
    let field = batch.field(name);
    for row in 0..batch.rows() {
        let cell = match block {
            Block::Text { values } => values[row].as_ref().map_or(Cell::Null, |text| batch.text(text)),
            other => cell_of(batch, &other.value(row)),
        };
        batch.cells_mut(field)[row] = cell;
    }
}

fn cell_of(batch: &mut RowBatch, value: &Value) -> Cell {
    match value {
        Value::Null | Value::Bytes(_) => Cell::Null,
        Value::Long(n) => Cell::Long(*n),
        Value::Double(n) => Cell::Double(*n),
        Value::Text(text) => batch.text(text),
        Value::Json(text) => match plain(text) {
            Some(value) => cell_of(batch, &value),
            None => batch.json(text),
        },
        Value::List(list) => {
            let cells: Vec<Cell> = list.iter().map(|v| cell_of(batch, v)).collect();
            batch.list(&cells)
        }
    }
}

/// What a document without keys is: a number, a text, or a list of these. A column finds its type by that, as it does with
/// fields of the input.
fn plain(document: &str) -> Option<Value> {
    fn scalar(json: &Json) -> Option<Value> {
        match json {
            Json::Null => Some(Value::Null),
            Json::Bool(truth) => Some(Value::Long(i64::from(*truth))),
            Json::Number(number) => number.as_i64().map(Value::Long).or_else(|| number.as_f64().map(Value::Double)),
            Json::String(text) => Some(Value::Text(text.as_str().into())),
            Json::Array(_) | Json::Object(_) => None,
        }
    }
    if document.trim_start().starts_with('{') {
        return None;
    }
    match serde_json::from_str(document).ok()? {
        Json::Array(list) if !list.is_empty() => list.iter().map(scalar).collect::<Option<Vec<_>>>().map(Value::List),
        json => scalar(&json),
    }
}

/// Sets `__time` to the results; true for rows whose result is no instant.
fn set_times(batch: &mut RowBatch, block: &Block) -> Vec<bool> {
    let times = batch.times_mut();
    let mut lost = vec![false; times.len()];
    for (row, time) in times.iter_mut().enumerate() {
        let found = match block.value(row) {
            Value::Long(n) => Some(n),
            Value::Double(n) if n.is_finite() => Some(n as i64),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        match found {
            Some(t) if Interval::ETERNITY.contains(t) => *time = t,
            _ => lost[row] = true,
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Parser, Record};
    use crate::spec::{Flatten, InputFormat};
    use serde_json::json;

    /// Times and the column `x` of the rows that pass, and how many did not.
    fn check(transform: Json, records: &[&str], expected: &[(i64, Value)], dropped: Dropped) {
        let schema = json!({
            "dataSource": "d",
            "timestampSpec": {"column": "t"},
            "dimensionsSpec": {"dimensions": ["x"]},
            "transformSpec": transform
        });
        let schema = DataSchema::from_json(&schema, "", &mut Vec::new()).unwrap();
        let mut parser = Parser::new(&schema, &InputFormat::Json(Flatten::default())).unwrap();
        let (mut batch, mut keep) = (RowBatch::new(), Vec::new());
        for record in records {
            parser.parse(&Record::of(record.as_bytes()), &mut batch).unwrap();
        }
        assert_eq!(Transform::new(&schema).apply(&mut batch, &mut keep), dropped);
        let row = |row: &u32| (batch.times()[*row as usize], value_of(&batch, "x", *row as usize));
        assert_eq!(keep.iter().map(row).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_filter_drops_rows() {
        let filter = json!({"filter": {"type": "selector", "dimension": "country", "value": "FR"}});
        check(
            filter,
            &[r#"{"t":1,"x":"a","country":"FR"}"#, r#"{"t":2,"x":"b","country":"DE"}"#, r#"{"t":3,"x":"c"}"#],
            &[(1, Value::text("a"))],
            Dropped { filtered: 2, unparseable: 0 },
        );
    }

    #[test]
    fn transforms_read_raw_fields_and_may_shadow_them() {
        let transform = json!({"transforms": [
            {"type": "expression", "name": "x", "expression": "concat(x, '-', y)"},
            {"type": "expression", "name": "y", "expression": "concat(x, '!')"}
        ], "filter": {"type": "selector", "dimension": "y", "value": "a!"}});
        check(
            transform,
            &[r#"{"t":1,"x":"a","y":"b"}"#, r#"{"t":2,"x":"c","y":"d"}"#],
            &[(1, Value::text("a-b"))],
            Dropped { filtered: 1, unparseable: 0 },
        );
    }

    #[test]
    fn values_taken_out_of_documents_are_what_they_are() {
        let transform =
            json!({"transforms": [{"type": "expression", "name": "x", "expression": "json_query(doc, '$.v')"}]});
        let record = |t: i64, value: &str| format!(r#"{{"t":{t},"doc":{{"v":{value}}}}}"#);
        let records = ["1", "0.5", "true", "null", r#""a""#, r#"[1,null,2]"#, r#"[{"k":1},2]"#, r#"{"k":1}"#];
        let values = [
            Value::Long(1),
            Value::Double(0.5),
            Value::Long(1),
            Value::Null,
            Value::text("a"),
            Value::List(vec![Value::Long(1), Value::Null, Value::Long(2)]),
            Value::Json(r#"[{"k":1},2]"#.into()),
            Value::Json(r#"{"k":1}"#.into()),
        ];
        let records: Vec<String> = records.iter().zip(0..).map(|(value, t)| record(t, value)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let expected: Vec<(i64, Value)> = (0..).zip(values).collect();
        check(transform, &records, &expected, Dropped { filtered: 0, unparseable: 0 });
    }

    #[test]
    fn the_time_may_be_derived() {
        let transform = json!({"transforms": [{"type": "expression", "name": "__time", "expression": "__time + add"}]});
        check(
            transform,
            &[r#"{"t":1,"x":"a","add":5}"#, r#"{"t":2,"x":"b"}"#],
            &[(6, Value::text("a"))],
            Dropped { filtered: 0, unparseable: 1 },
        );
    }
}
