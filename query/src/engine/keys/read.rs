//! How the rows of one segment become ids of a key, by what its column is kept as.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::{DictColumn, NumberColumn};
use segment::time::Granularity;

use super::super::source::{Computed, evaluate};
use super::buckets::Buckets;
use super::ids::{Ids, Rows, Shape};
use super::{DROPPED, Key, Space, UNKNOWN, double_bits};
use crate::columns::{Columns, as_text};
use crate::error::Result;
use crate::language::Dimension;

/// What a dictionary value becomes before it is an id.
pub enum TextOf<'a> {
    Plain,
    Dimension(&'a Dimension),
    Computed(Computed<'a>),
}

impl<'a> From<Option<&'a Dimension>> for TextOf<'a> {
    fn from(dimension: Option<&'a Dimension>) -> TextOf<'a> {
        dimension.map_or(TextOf::Plain, TextOf::Dimension)
    }
}

impl TextOf<'_> {
    pub fn apply(&self, value: Option<&str>) -> Option<Arc<str>> {
        match self {
            TextOf::Plain => value.map(Arc::from),
            TextOf::Dimension(dimension) => dimension.apply(value).flatten().map(Arc::from),
            TextOf::Computed(computed) => as_text(&computed.value(value)),
        }
    }

    pub fn value(&self, value: Option<&str>) -> Option<Value> {
        match self {
            TextOf::Computed(computed) => Some(computed.value(value)),
            other => other.apply(value).map(Value::Text),
        }
    }
}

/// How the rows of one segment become ids of a key.
pub enum Reader<'a> {
    Null,
    Constant(Arc<str>),
    Buckets {
        column: &'a NumberColumn,
        buckets: &'a Buckets,
        sorted: bool,
    },
    Floor {
        column: &'a NumberColumn,
        granularity: &'a Granularity,
    },
    /// Without a lookup table, codes are ids.
    Dict {
        column: &'a DictColumn,
        text: TextOf<'a>,
        lut: Option<&'a [AtomicU32]>,
    },
    Merged {
        column: &'a DictColumn,
        /// By code.
        ids: &'a [u32],
    },
    /// Strings read as numbers.
    Numbers {
        column: &'a DictColumn,
        numbers: &'a [Option<u64>],
    },
    Range {
        column: &'a NumberColumn,
        min: i64,
        span: u64,
    },
    Longs {
        column: &'a NumberColumn,
    },
    Doubles {
        column: &'a NumberColumn,
    },
    /// A column of another type than the space.
    Values {
        name: &'a str,
        dimension: Option<&'a Dimension>,
    },
    Computed {
        computed: Computed<'a>,
        dimension: Option<&'a Dimension>,
        /// Whether its values may be lists that stand for several values.
        multi: bool,
    },
}

/// Memory of one thread's reading.
#[derive(Default)]
pub struct Scratch {
    longs: Vec<i64>,
    doubles: Vec<f64>,
    nulls: Vec<bool>,
    codes: Vec<u32>,
}

impl Reader<'_> {
    /// Whether rows may hold several values.
    pub fn is_multi(&self) -> bool {
        match self {
            Reader::Dict { column, .. } | Reader::Numbers { column, .. } => column.is_multi(),
            Reader::Computed { multi, .. } => *multi,
            _ => false,
        }
    }

    /// Reads the ids of rows of a column that is not multi-value.
    pub fn read(
        &self,
        key: &Key,
        columns: &Columns,
        rows: Rows<'_>,
        scratch: &mut Scratch,
        out: &mut Ids,
    ) -> Result<()> {
        out.clear(key.space.is_wide());
        let Rows { start, len, list } = rows;
        match self {
            Reader::Null => {
                out.push_null(&key.space);
                out.shape = Shape::One;
            }
            Reader::Constant(text) => {
                key.push(Some(&Value::Text(text.clone())), out);
                out.shape = Shape::One;
            }
            Reader::Buckets { column, buckets, sorted } => read_buckets(column, buckets, *sorted, rows, scratch, out),
            Reader::Floor { column, granularity } => {
                scratch.longs.resize(len, 0);
                column.longs(start, &mut scratch.longs[..len]);
                let mut floors = vec![0; len];
                granularity.floor_all(&scratch.longs[..len], &mut floors);
                match list {
                    None => out.wide.extend(floors.iter().map(|v| *v as u64)),
                    Some(list) => out.wide.extend(list.iter().map(|row| floors[*row as usize] as u64)),
                }
            }
            Reader::Dict { column, text, lut } => {
                read_codes(column, rows, &mut out.ids, scratch);
                if let Some(lut) = lut {
                    for id in &mut out.ids {
                        *id = match global(key, column, text, lut, *id) {
                            DROPPED => key.space.null(),
                            id => id,
                        };
                    }
                }
            }
            Reader::Merged { column, ids } => {
                read_codes(column, rows, &mut out.ids, scratch);
                out.ids.iter_mut().for_each(|id| *id = ids[*id as usize]);
            }
            Reader::Numbers { column, numbers } => {
                let mut codes = Vec::new();
                read_codes(column, rows, &mut codes, scratch);
                for code in codes {
                    push_bits(key, numbers[code as usize], out);
                }
            }
            Reader::Range { column, min, span } => {
                scratch.longs.resize(len, 0);
                column.longs(start, &mut scratch.longs[..len]);
                let longs = &scratch.longs[..len];
                let id = |v: i64| v.wrapping_sub(*min) as u32;
                match list {
                    None => out.ids.extend(longs.iter().map(|v| id(*v))),
                    Some(list) => out.ids.extend(list.iter().map(|row| id(longs[*row as usize]))),
                }
                if let Some(nulls) = nulls_of(column, start, len, &mut scratch.nulls) {
                    each_row(len, list, |i, row| {
                        if nulls[row] {
                            out.ids[i] = *span as u32;
                        }
                    });
                }
            }
            Reader::Longs { column } => {
                scratch.longs.resize(len, 0);
                column.longs(start, &mut scratch.longs[..len]);
                let longs = &scratch.longs[..len];
                match list {
                    None => out.wide.extend(longs.iter().map(|v| *v as u64)),
                    Some(list) => out.wide.extend(list.iter().map(|row| longs[*row as usize] as u64)),
                }
                if let Some(nulls) = nulls_of(column, start, len, &mut scratch.nulls) {
                    each_row(len, list, |_, row| out.nulls.push(nulls[row]));
                }
            }
            Reader::Doubles { column } => {
                scratch.doubles.resize(len, 0.0);
                column.doubles(start, &mut scratch.doubles[..len]);
                let doubles = &scratch.doubles[..len];
                match list {
                    None => out.wide.extend(doubles.iter().map(|v| double_bits(*v))),
                    Some(list) => out.wide.extend(list.iter().map(|row| double_bits(doubles[*row as usize]))),
                }
                if let Some(nulls) = nulls_of(column, start, len, &mut scratch.nulls) {
                    each_row(len, list, |_, row| out.nulls.push(nulls[row]));
                }
            }
            Reader::Values { name, dimension } => {
                let block = columns.block(name, start, len)?;
                read_block(key, *dimension, &block, len, list, out);
            }
            Reader::Computed { computed, dimension, .. } => {
                let (block, runs) = evaluate(columns, computed, rows)?;
                read_block(key, *dimension, &block, block.len(), None, out);
                if let Some(ends) = runs {
                    out.shape = Shape::Runs(ends);
                }
            }
        }
        Ok(())
    }

    /// Reads the values of rows that may hold several: `parents` gets the place in `rows` of each value's row.
    pub fn explode(
        &self,
        key: &Key,
        columns: &Columns,
        rows: Rows<'_>,
        parents: &mut Vec<u32>,
        out: &mut Ids,
    ) -> Result<()> {
        out.clear(key.space.is_wide());
        parents.clear();
        let (mut offsets, mut codes) = (Vec::new(), Vec::new());
        let column = match self {
            Reader::Dict { column, .. } | Reader::Numbers { column, .. } => column,
            Reader::Computed { computed, dimension, .. } => {
                let block = each_value(columns, computed, rows)?;
                explode_block(key, *dimension, &block, parents, out);
                return Ok(());
            }
            _ => unreachable!("only dictionary columns and expressions hold several values a row"),
        };
        column.lists(rows.start, rows.len, &mut offsets, &mut codes);
        each_row(rows.len, rows.list, |place, row| {
            let before = parents.len();
            let codes = &codes[offsets[row] as usize..offsets[row + 1] as usize];
            for code in codes {
                match self {
                    Reader::Numbers { numbers, .. } => push_bits(key, numbers[*code as usize], out),
                    Reader::Dict { text, lut, .. } => {
                        let id = match lut {
                            Some(lut) => global(key, column, text, lut, *code),
                            None => *code,
                        };
                        if id == DROPPED {
                            continue;
                        }
                        out.ids.push(id);
                    }
                    _ => continue,
                }
                parents.push(place as u32);
            }
            if parents.len() == before {
                match self {
                    // A row without values counts as what a null becomes, one that is left with none as null.
                    Reader::Dict { text, .. } if codes.is_empty() => match text.apply(None) {
                        Some(null_becomes) => key.push(Some(&Value::Text(null_becomes)), out),
                        None => out.push_null(&key.space),
                    },
                    _ => out.push_null(&key.space),
                }
                parents.push(place as u32);
            }
        });
        if out.is_wide && !out.nulls.is_empty() {
            out.nulls.resize(out.wide.len(), false);
        }
        Ok(())
    }
}

/// The values of a computed column, one a row.
fn each_value(columns: &Columns, computed: &Computed<'_>, rows: Rows<'_>) -> Result<Block> {
    let (block, runs) = evaluate(columns, computed, rows)?;
    let Some(ends) = runs else { return Ok(block) };
    let mut values = Vec::with_capacity(rows.count());
    for (run, end) in ends.iter().enumerate() {
        values.resize(*end as usize, block.value(run));
    }
    Ok(Block::Any { values })
}

/// The values of a list one by one; a row without any is a null.
fn explode_block(key: &Key, dimension: Option<&Dimension>, block: &Block, parents: &mut Vec<u32>, out: &mut Ids) {
    // Whether the value counts.
    let push = |value: &Value, out: &mut Ids| match dimension {
        None => {
            key.push(Some(value), out);
            true
        }
        Some(dimension) => {
            let text = as_text(value);
            let made = dimension.apply(text.as_deref());
            if let Some(made) = &made {
                key.push(made.as_deref().map(Value::text).as_ref(), out);
            }
            made.is_some()
        }
    };
    for place in 0..block.len() {
        let before = parents.len();
        let value = block.value(place);
        let values = match &value {
            Value::List(values) if values.is_empty() => &[Value::Null],
            Value::List(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            if push(value, out) {
                parents.push(place as u32);
            }
        }
        if parents.len() == before {
            key.push(None, out);
            parents.push(place as u32);
        }
    }
    if out.is_wide && !out.nulls.is_empty() {
        out.nulls.resize(out.wide.len(), false);
    }
}

fn push_bits(key: &Key, bits: Option<u64>, out: &mut Ids) {
    key.push(
        bits.map(|b| {
            if matches!(key.space, Space::Doubles { .. }) {
                Value::Double(f64::from_bits(b))
            } else {
                Value::Long(b as i64)
            }
        })
        .as_ref(),
        out,
    )
}

/// The id of a code of a segment's dictionary.
#[inline]
fn global(key: &Key, column: &DictColumn, text: &TextOf<'_>, lut: &[AtomicU32], code: u32) -> u32 {
    let known = lut[code as usize].load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    learn(key, column, text, lut, code)
}

#[cold]
fn learn(key: &Key, column: &DictColumn, text: &TextOf<'_>, lut: &[AtomicU32], code: u32) -> u32 {
    let value = column.value(code);
    let id = match text {
        TextOf::Plain => key.intern(value),
        TextOf::Dimension(dimension) => dimension.apply(value).map_or(DROPPED, |made| key.intern(made.as_deref())),
        text => key.intern(text.apply(value).as_deref()),
    };
    lut[code as usize].store(id, Ordering::Relaxed);
    id
}

fn read_codes(column: &DictColumn, rows: Rows<'_>, out: &mut Vec<u32>, scratch: &mut Scratch) {
    match rows.list {
        None => {
            out.resize(rows.len, 0);
            column.codes(rows.start, out);
        }
        Some(list) => {
            scratch.codes.resize(rows.len, 0);
            column.codes(rows.start, &mut scratch.codes[..rows.len]);
            out.extend(list.iter().map(|row| scratch.codes[*row as usize]));
        }
    }
}

pub fn nulls_of<'a>(column: &NumberColumn, start: usize, len: usize, nulls: &'a mut Vec<bool>) -> Option<&'a [bool]> {
    if !column.has_nulls() {
        return None;
    }
    nulls.resize(len.max(nulls.len()), false);
    column.nulls(start, &mut nulls[..len]).then(|| &nulls[..len])
}

fn each_row(len: usize, list: Option<&[u32]>, mut each: impl FnMut(usize, usize)) {
    match list {
        None => (0..len).for_each(|row| each(row, row)),
        Some(list) => list.iter().enumerate().for_each(|(i, row)| each(i, *row as usize)),
    }
}

fn read_block(
    key: &Key,
    dimension: Option<&Dimension>,
    block: &Block,
    len: usize,
    list: Option<&[u32]>,
    out: &mut Ids,
) {
    if dimension.is_none() {
        match (&key.space, block) {
            (Space::Longs { .. }, Block::Long { values, nulls }) => {
                each_row(len, list, |_, row| out.wide.push(values[row] as u64));
                if let Some(nulls) = nulls {
                    each_row(len, list, |_, row| out.nulls.push(nulls[row]));
                }
                return;
            }
            (Space::Doubles { .. }, Block::Double { values, nulls }) => {
                each_row(len, list, |_, row| out.wide.push(double_bits(values[row])));
                if let Some(nulls) = nulls {
                    each_row(len, list, |_, row| out.nulls.push(nulls[row]));
                }
                return;
            }
            _ => {}
        }
    }
    // Neighbours are often equal, and numbering a text costs more than comparing it.
    let mut last: Option<(Value, usize)> = None;
    each_row(len, list, |i, row| {
        let value = block.value(row);
        if !key.space.is_wide()
            && let Some((seen, at)) = &last
            && *seen == value
        {
            let id = out.ids[*at];
            out.ids.push(id);
            return;
        }
        match dimension {
            None => key.push(Some(&value), out),
            Some(dimension) => {
                let text = as_text(&value);
                let text = TextOf::Dimension(dimension).apply(text.as_deref());
                key.push(text.map(Value::Text).as_ref(), out);
            }
        }
        last = Some((value, i));
    });
}

fn read_buckets(
    column: &NumberColumn,
    buckets: &Buckets,
    sorted: bool,
    rows: Rows<'_>,
    scratch: &mut Scratch,
    out: &mut Ids,
) {
    let Rows { start, len, list } = rows;
    if start % BLOCK_ROWS == 0
        && let Some((low, high)) = column.block_long_range(start / BLOCK_ROWS)
        && buckets.starts.first().is_some_and(|first| low >= *first)
    {
        // Rows outside the listed buckets are not looked at, so it is enough that no later bucket begins here.
        let bucket = buckets.of_time(low).min(buckets.starts.len() - 1);
        if high < buckets.end(bucket) {
            out.ids.push(bucket as u32);
            out.shape = Shape::One;
            return;
        }
    }
    scratch.longs.resize(len, 0);
    column.longs(start, &mut scratch.longs[..len]);
    let times = &scratch.longs[..len];
    if sorted {
        // Each run is found by a binary search from where the last one ended.
        let count = rows.count();
        let time = |i: usize| list.map_or(times[i.min(len - 1)], |list| times[list[i] as usize]);
        let mut ends = Vec::new();
        let mut begin = 0;
        while begin < count {
            let bucket = buckets.of_time(time(begin));
            let limit = buckets.end(bucket);
            let end = match list {
                None => begin + times[begin..].partition_point(|t| *t < limit),
                Some(list) => begin + list[begin..].partition_point(|row| times[*row as usize] < limit),
            };
            out.ids.push(bucket as u32);
            ends.push(end as u32);
            begin = end;
        }
        out.shape = Shape::Runs(ends);
        return;
    }
    let (mut bucket, mut from, mut until) = (0, i64::MAX, i64::MIN);
    each_row(len, list, |_, row| {
        let t = times[row];
        if t < from || t >= until {
            bucket = buckets.of_time(t);
            from = buckets.starts[bucket];
            until = buckets.end(bucket);
        }
        out.ids.push(bucket as u32);
    });
}
