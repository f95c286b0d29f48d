//! Rows of one frame, and what is done to them on their way.

use std::collections::HashMap;
use std::sync::Arc;

use segment::block::{Block, Value};
use segment::schema::ValueType;

use crate::engine::rows::typed;
use crate::error::Result;
use crate::local::{PLACE_MARK, TIME_MARK};
use crate::table::Table;
use crate::wire::frame::broken;
use crate::wire::table;

/// Rows of one frame.
pub struct Chunk {
    pub table: Arc<Table>,
    /// What the segment is called, of rows of one.
    pub segment: Option<String>,
    /// Of rows merged by time.
    pub times: Vec<i64>,
    /// By row, or one for all: the place of the segment in what is wanted; behind the last of rows of no segment.
    pub places: Vec<usize>,
    /// Those before have left.
    pub at: usize,
}

impl Chunk {
    /// The place of the segment of all rows.
    pub fn place(&self) -> usize {
        self.places.first().copied().unwrap_or(usize::MAX)
    }
}

impl Chunk {
    /// The rows without so many of each segment; `None` if none is left.
    pub fn without(mut self, drops: &mut HashMap<usize, u64>) -> Option<Chunk> {
        let chunk = &mut self;
        if drops.is_empty() || chunk.table.rows == 0 {
            return (chunk.table.rows > 0).then_some(self);
        }
        if chunk.places.len() == 1 && chunk.times.is_empty() {
            let Some(left) = drops.get_mut(&chunk.place()) else {
                return Some(self);
            };
            let dropped = (*left).min(chunk.table.rows as u64);
            *left -= dropped;
            let rows = chunk.table.rows;
            cut(Arc::make_mut(&mut chunk.table), dropped as usize, rows - dropped as usize);
            return (chunk.table.rows > 0).then_some(self);
        }
        let mut keep = Vec::with_capacity(chunk.table.rows);
        for (row, place) in chunk.places.iter().enumerate() {
            match drops.get_mut(place).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => keep.push(row),
            }
        }
        let table = Arc::make_mut(&mut chunk.table);
        for (.., block) in &mut table.columns {
            let values = keep.iter().map(|row| block.value(*row)).collect();
            *block = if matches!(block, Block::Any { .. }) { Block::Any { values } } else { typed_as(block, values) };
        }
        table.rows = keep.len();
        chunk.times = keep.iter().map(|row| chunk.times[*row]).collect();
        chunk.places = keep.iter().map(|row| chunk.places[*row]).collect();
        (!keep.is_empty()).then_some(self)
    }
}

/// The rows of a frame.
pub fn chunk_of(content: &[u8], asked: &[usize], none: usize) -> Result<Chunk> {
    let (mut table, said) = table::read(content)?;
    let place = |at: i64| usize::try_from(at).ok().and_then(|at| asked.get(at)).copied().unwrap_or(none);
    let longs = |column: Option<(String, ValueType, Block)>, name: &str| match column {
        Some((own, _, Block::Long { values, nulls: None })) if own == name => Ok(values),
        _ => Err(broken("rows lack their marks")),
    };
    if !said.is_empty() {
        let (at, segment): (i64, Option<String>) = serde_json::from_str(&said).map_err(broken)?;
        return Ok(Chunk { table: table.into(), segment, times: Vec::new(), places: vec![place(at)], at: 0 });
    }
    let places = longs(table.columns.pop(), PLACE_MARK)?;
    let times = longs(table.columns.pop(), TIME_MARK)?;
    if times.len() != table.rows || places.len() != table.rows {
        return Err(broken("rows are more than their marks"));
    }
    let places = places.into_iter().map(place).collect();
    Ok(Chunk { table: table.into(), segment: None, times, places, at: 0 })
}

/// Leaves `count` rows from row `from` on.
pub fn cut(table: &mut Table, from: usize, count: usize) {
    if from == 0 && count == table.rows {
        return;
    }
    fn part<T>(values: &mut Vec<T>, from: usize, count: usize) {
        values.truncate(from + count);
        values.drain(..from);
    }
    for (.., block) in &mut table.columns {
        match block {
            Block::Long { values, nulls } => {
                part(values, from, count);
                nulls.iter_mut().for_each(|nulls| part(nulls, from, count));
            }
            Block::Double { values, nulls } => {
                part(values, from, count);
                nulls.iter_mut().for_each(|nulls| part(nulls, from, count));
            }
            Block::Text { values } => part(values, from, count),
            Block::Any { values } => part(values, from, count),
        }
    }
    table.rows = count;
}

/// Rows of several tables, in this order, as one table of the named columns.
pub fn gathered(names: &[String], tables: &[Arc<Table>], rows: &[(u32, u32)]) -> Table {
    let mut columns = Vec::with_capacity(names.len());
    for (n, name) in names.iter().enumerate() {
        // A column that is asked for twice is there twice.
        let of = |table: &Table| match table.columns.get(n) {
            Some((own, ..)) if own == name => Some(n),
            _ => table.columns.iter().position(|(own, ..)| own == name),
        };
        let places: Vec<Option<usize>> = tables.iter().map(|table| of(table)).collect();
        let at = |(table, row): &(u32, u32)| match places[*table as usize] {
            Some(column) => tables[*table as usize].columns[column].2.value(*row as usize),
            None => Value::Null,
        };
        let values: Vec<Value> = rows.iter().map(at).collect();
        let own = tables.iter().zip(&places).filter_map(|(table, place)| Some(&table.columns[(*place)?]));
        let value_type = own.clone().find(|(.., block)| !is_null(block)).or(own.clone().next());
        let value_type = value_type.map_or(ValueType::String, |(_, value_type, _)| value_type.clone());
        let all_texts = own.clone().all(|(.., block)| matches!(block, Block::Text { .. }));
        let block = if all_texts { typed_as(&Block::Text { values: Vec::new() }, values) } else { typed(values) };
        columns.push((name.clone(), value_type, block));
    }
    Table { columns, rows: rows.len() }
}

fn is_null(block: &Block) -> bool {
    matches!(block, Block::Text { values } if values.iter().all(Option::is_none))
}

/// Values as a block of the same kind as the one that they are from.
fn typed_as(from: &Block, values: Vec<Value>) -> Block {
    match from {
        Block::Text { .. } => Block::Text {
            values: values
                .into_iter()
                .map(|value| if let Value::Text(text) = value { Some(text) } else { None })
                .collect(),
        },
        _ => typed(values),
    }
}
