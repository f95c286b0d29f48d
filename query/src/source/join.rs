//! Hash join: the right side becomes a table in memory, the left side passes by it batch by batch.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use segment::block::{Block, Value};
use segment::expr::truth;
use segment::schema::{TIME, ValueType};

use super::made::Made;
use super::unnest::rows_of;
use super::{Ask, MadeOf, Origin, count};
use crate::budget::{Budget, Taken};
use crate::columns::{as_double, as_text};
use crate::error::{Error, Result};
use crate::language::{Equality, Join, VirtualColumn};
use crate::table::Table;

/// Pairs of rows that become rows at once.
const CHUNK_ROWS: usize = 16_384;

/// Longs beyond have no double of their own.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub fn join(from: &Origin, join: &Join, ask: &Ask) -> Result<MadeOf> {
    let budget = from.budget;
    let prefix = join.prefix.as_str();
    let is_left = |name: &str| !name.starts_with(prefix);
    let rest_columns: Vec<&str> = join.condition.rest.iter().flat_map(|expr| expr.columns()).collect();
    let right = Right::read(from, join, ask, &rest_columns)?;

    // What is compared is a column of the left side, or computed as one.
    let mut computed = Vec::new();
    let mut keys = Vec::new();
    for (idx, equality) in join.condition.equal.iter().enumerate() {
        let name = match equality.left.as_column() {
            Some(column) => column.to_string(),
            None => {
                let name = format!("join:{idx}");
                computed.push(VirtualColumn {
                    name: name.clone(),
                    expr: equality.left.clone(),
                    output_type: None,
                    among: None,
                });
                name
            }
        };
        keys.push(name);
    }
    let mut more: Vec<&str> = rest_columns.iter().copied().filter(|name| is_left(name)).collect();
    more.extend(keys.iter().map(String::as_str).filter(|name| !computed.iter().any(|column| column.name == *name)));
    let mut of_left = ask.within(&is_left, &more);
    if join.keeps_right {
        // A row that the query will drop still is the partner of one, which must not come back with nulls in its place.
        // The query's intervals are of the left side alone.
        of_left.filters.clear();
    }
    of_left.filters.extend(join.left_filter.clone());
    let mut met = vec![false; if join.keeps_right { right.rows as usize } else { 0 }];

    let mut rows = Made::new(budget)?;
    let uncovered = from.scan(&join.left, of_left, computed.clone(), &mut |table| {
        let column = |name: &str| table.column(name);
        let blocks: Vec<Option<&Block>> = keys.iter().map(|name| column(name)).collect();
        let (mut left_rows, mut right_rows) = (Vec::new(), Vec::new());
        let mut flush = |left_rows: &mut Vec<usize>, right_rows: &mut Vec<Option<u32>>| -> Result<()> {
            budget.check()?;
            let made = paired(&table, &right, &computed, left_rows, right_rows);
            left_rows.clear();
            right_rows.clear();
            rows.add(&made)
        };
        let mut pairs = 0usize;
        for row in 0..table.rows {
            if row % CHUNK_ROWS == 0 {
                budget.check()?;
            }
            let mut alone = true;
            for at in right.matches(&keys, &blocks, row)? {
                // Pairs that the condition refuses are time as well.
                pairs += 1;
                if pairs.is_multiple_of(CHUNK_ROWS) {
                    budget.check()?;
                }
                let value = |name: &str| match name.strip_prefix(prefix) {
                    Some(name) => right.value(name, at),
                    None => column(name).map_or(Value::Null, |block| block.value(row)),
                };
                if !join.condition.rest.iter().all(|expr| truth(&expr.value(&value)) == Some(true)) {
                    continue;
                }
                alone = false;
                if join.keeps_right {
                    met[at as usize] = true;
                }
                left_rows.push(row);
                right_rows.push(Some(at));
                if left_rows.len() >= CHUNK_ROWS {
                    flush(&mut left_rows, &mut right_rows)?;
                }
            }
            if alone && join.keeps_left {
                left_rows.push(row);
                right_rows.push(None);
            }
        }
        flush(&mut left_rows, &mut right_rows)
    })?;
    let alone = (0..right.rows).filter(|at| join.keeps_right && !met[*at as usize]).map(Some).collect::<Vec<_>>();
    // A left side without columns, which are null, but for a time that no interval of the query drops.
    let columns = vec![(TIME.to_string(), ValueType::Long, Block::Long { values: vec![time_alone(ask)], nulls: None })];
    let left = Table { columns, rows: 1 };
    for some in alone.chunks(CHUNK_ROWS) {
        budget.check()?;
        rows.add(&paired(&left, &right, &computed, &vec![0; some.len()], some))?;
    }
    let mut missing = uncovered;
    missing.extend(right.uncovered);
    let (segment, taken) = rows.finish();
    Ok((segment, vec![taken], segment::Interval::merge(&missing)))
}

/// The time of right rows without a partner: 1970, or the start of the query's first interval where that is outside.
fn time_alone(ask: &Ask) -> i64 {
    match ask.intervals.first() {
        Some(first) if !ask.intervals.iter().any(|interval| interval.contains(0)) => first.start,
        _ => 0,
    }
}

/// Rows of both sides next to each other.
fn paired(
    left: &Table,
    right: &Right,
    computed: &[VirtualColumn],
    left_rows: &[usize],
    right_rows: &[Option<u32>],
) -> Table {
    let mut columns = Vec::with_capacity(left.columns.len() + right.columns.len());
    for (name, value_type, block) in &left.columns {
        if !computed.iter().any(|column| column.name == *name) {
            columns.push((name.clone(), value_type.clone(), rows_of(name, block, left_rows)));
        }
    }
    for column in &right.columns {
        let values = right_rows.iter().map(|at| at.map_or(Value::Null, |at| column.values[at as usize].clone()));
        columns.push((column.shown.clone(), column.value_type.clone(), Block::Any { values: values.collect() }));
    }
    Table { columns, rows: left_rows.len() }
}

/// The right side: its values, and its rows by what they are compared by.
struct Right {
    columns: Vec<RightColumn>,
    rows: u32,
    /// The type of each thing compared, and whether null equals null in it.
    types: Vec<(ValueType, bool)>,
    by_key: HashMap<Vec<Key>, Vec<u32>, foldhash::fast::RandomState>,
    uncovered: Vec<segment::Interval>,
    bytes: usize,
    _taken: Taken,
}

/// Held for a key besides its parts: its place in the table, of which a third is empty, and the list of its rows.
const KEY_BYTES: usize = 3 * size_of::<(Vec<Key>, Vec<u32>)>() / 2 + 4 * size_of::<u32>();
/// The counts of an `Arc`.
const SHARED_BYTES: usize = 16;

struct RightColumn {
    name: String,
    /// With the prefix.
    shown: String,
    value_type: ValueType,
    values: Vec<Value>,
}

/// A value as it is compared: in the type of the right side's column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Null,
    Text(Arc<str>),
    Long(i64),
    Double(u64),
}

impl Right {
    fn read(from: &Origin, join: &Join, ask: &Ask, rest: &[&str]) -> Result<Right> {
        let budget = from.budget;
        let stripped = |name: &str| name.strip_prefix(join.prefix.as_str()).map(str::to_string);
        let columns = ask.columns.as_ref().map(|columns| {
            let mut own: std::collections::BTreeSet<String> =
                columns.iter().filter_map(|name| stripped(name)).collect();
            own.extend(join.condition.equal.iter().map(|equality| equality.right.clone()));
            own.extend(rest.iter().filter_map(|name| stripped(name)));
            own
        });
        // The left side's time says nothing of the right one's.
        let of_right = Ask {
            intervals: vec![segment::Interval::ETERNITY],
            columns,
            filters: Vec::new(),
            segment: None,
            narrow: false,
        };
        let mut right = Right {
            columns: Vec::new(),
            rows: 0,
            types: Vec::new(),
            by_key: HashMap::default(),
            uncovered: Vec::new(),
            bytes: 0,
            _taken: Taken::new(budget, 0)?,
        };
        let timed = of_right.columns.as_ref().is_none_or(|columns| columns.contains(TIME));
        let mut rows = 0u64;
        let uncovered = from.scan(&join.right, of_right, Vec::new(), &mut |table| {
            let bytes = table.columns.iter().map(|(.., block)| held(block)).sum::<usize>();
            right.bytes += bytes;
            count(rows + table.rows as u64, right.bytes, budget)?;
            right._taken.grow(bytes)?;
            for (name, value_type, block) in &table.columns {
                if name == TIME && !timed {
                    continue;
                }
                let at = right.columns.iter().position(|column| column.name == *name).unwrap_or_else(|| {
                    right.columns.push(RightColumn {
                        name: name.clone(),
                        shown: format!("{}{name}", join.prefix),
                        value_type: value_type.clone(),
                        values: vec![Value::Null; rows as usize],
                    });
                    right.columns.len() - 1
                });
                right.columns[at].values.extend((0..table.rows).map(|row| block.value(row)));
            }
            rows += table.rows as u64;
            right.columns.iter_mut().for_each(|column| column.values.resize(rows as usize, Value::Null));
            Ok(())
        })?;
        right.uncovered = uncovered;
        right.rows =
            u32::try_from(rows).map_err(|_| Error::ResourceLimit("the right side has too many rows".into()))?;
        right.index(&join.condition.equal, budget)?;
        Ok(right)
    }

    fn index(&mut self, equal: &[Equality], budget: &Budget) -> Result<()> {
        if equal.is_empty() {
            return Ok(());
        }
        let places: Vec<Option<usize>> =
            equal.iter().map(|e| self.columns.iter().position(|column| column.name == e.right)).collect();
        self.types = places
            .iter()
            .zip(equal)
            .map(|(at, equality)| {
                (at.map_or(ValueType::String, |at| self.columns[at].value_type.clone()), equality.nulls_too)
            })
            .collect();
        let mut bytes = 0;
        'rows: for row in 0..self.rows {
            if row % 4096 == 0 {
                budget.check()?;
                self._taken.grow(std::mem::take(&mut bytes))?;
            }
            let mut key = Vec::with_capacity(equal.len());
            for (at, (value_type, nulls_too)) in places.iter().zip(&self.types) {
                let value = at.map_or(Value::Null, |at| self.columns[at].values[row as usize].clone());
                match keyed(&value, value_type) {
                    Some(Key::Null) | None if !nulls_too => continue 'rows,
                    Some(part) => key.push(part),
                    None => continue 'rows,
                }
            }
            let part_bytes = size_of::<Key>() * key.len();
            let rows = self.by_key.entry(key).or_insert_with(|| {
                bytes += KEY_BYTES + part_bytes;
                Vec::new()
            });
            // Lists double as they grow.
            bytes += 2 * size_of::<u32>();
            rows.push(row);
        }
        self._taken.grow(bytes)
    }

    fn value(&self, name: &str, row: u32) -> Value {
        let column = self.columns.iter().find(|column| column.name == name);
        column.map_or(Value::Null, |column| column.values[row as usize].clone())
    }

    /// The rows that a row of the left side equals.
    fn matches(&self, names: &[String], blocks: &[Option<&Block>], row: usize) -> Result<Matches<'_>> {
        if blocks.is_empty() {
            return Ok(Matches::All(0..self.rows));
        }
        let mut key = Vec::with_capacity(blocks.len());
        for ((name, block), (value_type, nulls_too)) in names.iter().zip(blocks).zip(&self.types) {
            let mut value = block.map_or(Value::Null, |block| block.value(row));
            if let Value::List(values) = &value
                && !matches!(value_type, ValueType::Array(_))
            {
                value = match values.as_slice() {
                    [] => Value::Null,
                    [one] => one.clone(),
                    _ => {
                        return Err(Error::Unsupported(format!(
                            "joining against the multi-value column [{name}] is not supported; unnest it first"
                        )));
                    }
                };
            }
            match keyed(&value, value_type) {
                Some(Key::Null) | None if !nulls_too => return Ok(Matches::Some([].iter())),
                Some(part) => key.push(part),
                None => return Ok(Matches::Some([].iter())),
            }
        }
        Ok(Matches::Some(self.by_key.get(&key).map_or([].iter(), |rows| rows.iter())))
    }
}

/// Memory of a block's values once each stands for itself. Rows of one batch share the text of one value.
fn held(block: &Block) -> usize {
    fn below(value: &Value, seen: &mut HashSet<*const u8, foldhash::fast::RandomState>) -> usize {
        match value {
            Value::Text(text) | Value::Json(text) if seen.insert(text.as_ptr()) => text.len() + SHARED_BYTES,
            Value::Bytes(bytes) => bytes.len() + SHARED_BYTES,
            Value::List(values) => values.iter().map(|value| size_of::<Value>() + below(value, seen)).sum(),
            _ => 0,
        }
    }
    let mut seen = HashSet::default();
    let below = match block {
        Block::Long { .. } | Block::Double { .. } => 0,
        Block::Text { values } => {
            let texts = values.iter().flatten().filter(|text| seen.insert(text.as_ptr()));
            texts.map(|text| text.len() + SHARED_BYTES).sum()
        }
        Block::Any { values } => values.iter().map(|value| below(value, &mut seen)).sum(),
    };
    block.len() * size_of::<Value>() + below
}

enum Matches<'a> {
    All(std::ops::Range<u32>),
    Some(std::slice::Iter<'a, u32>),
}

impl Iterator for Matches<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Matches::All(rows) => rows.next(),
            Matches::Some(rows) => rows.next().copied(),
        }
    }
}

/// A value as one of the given type; `None` if it is no such value, and so equals none.
fn keyed(value: &Value, value_type: &ValueType) -> Option<Key> {
    if value.is_null() {
        return Some(Key::Null);
    }
    match value_type {
        ValueType::Long => match value {
            Value::Long(long) => Some(Key::Long(*long)),
            other => as_double(other).filter(|d| d.fract() == 0.0 && d.abs() <= EXACT).map(|d| Key::Long(d as i64)),
        },
        ValueType::Float | ValueType::Double => {
            // Both zeros are one number.
            as_double(value).map(|double| Key::Double((double + 0.0).to_bits()))
        }
        _ => as_text(value).map(Key::Text),
    }
}
