//! Rows once for each element of a list.

use segment::block::{Block, Value};
use segment::schema::{TIME, ValueType};

use super::made::Made;
use super::{Ask, MadeOf, Origin};
use crate::engine::rows::typed;
use crate::error::Result;
use crate::language::Unnest;
use crate::table::Table;

/// Rows that are made at once of a batch.
const CHUNK_ROWS: usize = 16_384;

pub fn unnest(from: &Origin, unnest: &Unnest, ask: &Ask) -> Result<MadeOf> {
    let budget = from.budget;
    let name = unnest.column.name.as_str();
    let of_base = ask.within(&|column| column != name, &[]);
    let keeps_empty = unnest.keeps_empty();
    let filter = unnest.filter.as_ref().map(|filter| filter.compile());
    // Conditions of the query about the element alone; it tests them again.
    let more: Vec<_> = ask.filters.iter().filter(|f| f.columns() == [name]).map(|filter| filter.compile()).collect();
    let keeps = |value: &Value| {
        let of = |_: &str| value.clone();
        filter.iter().chain(&more).all(|filter| filter.matches(&of) == Some(true))
    };
    let mut rows = Made::new(budget)?;
    let mut element_type: Option<ValueType> = None;
    let uncovered = from.scan(&unnest.base, of_base, vec![unnest.column.clone()], &mut |table| {
        let Some(at) = table.columns.iter().position(|(column, ..)| column == name) else { return Ok(()) };
        let (_, value_type, lists) = &table.columns[at];
        let (mut from, mut elements) = (Vec::new(), Vec::new());
        let of = element_type.get_or_insert_with(|| match value_type {
            ValueType::Array(of) => (**of).clone(),
            other => other.clone(),
        });
        let mut flush = |from: &mut Vec<usize>, elements: &mut Vec<Value>| -> Result<()> {
            budget.check()?;
            let made = exploded(&table, at, of, from, std::mem::take(elements));
            from.clear();
            rows.add(&made)
        };
        for row in 0..table.rows {
            let values = match lists.value(row) {
                Value::List(values) if values.is_empty() => vec![Value::Null; usize::from(keeps_empty)],
                Value::List(values) => values.to_vec(),
                Value::Null if !keeps_empty => Vec::new(),
                value => vec![value],
            };
            for value in values.into_iter().filter(|value| keeps(value)) {
                from.push(row);
                elements.push(value);
            }
            if from.len() >= CHUNK_ROWS {
                flush(&mut from, &mut elements)?;
            }
        }
        flush(&mut from, &mut elements)
    })?;
    let (segment, taken) = rows.finish();
    Ok((segment, vec![taken], uncovered))
}

/// The given rows of a table, with elements in place of its column `at`.
fn exploded(table: &Table, at: usize, of: &ValueType, from: &[usize], elements: Vec<Value>) -> Table {
    let mut elements = Some(elements);
    let columns = table.columns.iter().enumerate().map(|(idx, (name, value_type, block))| match idx == at {
        true => (name.clone(), of.clone(), Block::Any { values: elements.take().unwrap_or_default() }),
        false => (name.clone(), value_type.clone(), rows_of(name, block, from)),
    });
    Table { columns: columns.collect(), rows: from.len() }
}

/// Values of chosen rows, each as often as it is chosen.
pub fn rows_of(name: &str, block: &Block, from: &[usize]) -> Block {
    let values = from.iter().map(|row| block.value(*row)).collect();
    // Times stay what they are: longs.
    if name == TIME { typed(values) } else { Block::Any { values } }
}
