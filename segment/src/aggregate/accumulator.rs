//! Folding rows into states, one state per group.
//!
//! An [`Accumulator`] holds the states of one aggregate for all groups, as arrays indexed by group. Callers (rollup, the
//! group engine, merges) number the groups, hand in values a block at a time, and pay dynamic dispatch once per block.
//! Filters of filtered aggregates are the caller's: it passes only the rows that match.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use datasketches::hll::{Coupon, HllSketch};

use super::{Aggregate, AggregateKind, Hll, Input, SketchKind};
use crate::block::{Block, Value};
use crate::column::DictColumn;
use crate::schema::ValueType;
use crate::sketch::hash::TextKey;
use crate::sketch::quantiles::Quantiles;

mod arithmetic;
mod distinct;
mod first_last;
mod fold;
mod grouping;
mod sketch;
mod sketches;
mod states;

/// The group of each row of a fold.
#[derive(Debug, Clone, Copy)]
pub enum Groups<'a> {
    /// All rows belong to this group.
    One(u32),
    /// As long as the fold has rows.
    Each(&'a [u32]),
}

/// Values of the rows of a fold. Where `nulls` is true the value below is unspecified.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// All rows are null.
    Null,
    Longs {
        values: &'a [i64],
        nulls: Option<&'a [bool]>,
    },
    Doubles {
        values: &'a [f64],
        nulls: Option<&'a [bool]>,
    },
    Texts(&'a [Option<Arc<str>>]),
    Codes {
        codes: &'a [u32],
        column: &'a DictColumn,
    },
    /// Hashes of values, made once per distinct value; `None` is null.
    Coupons(&'a [Option<Coupon>]),
    Any(&'a [Value]),
}

/// What an accumulator likes to be given for an input. Other values are converted, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Want {
    Long,
    Double,
    /// `Codes` or `Texts`.
    Text,
    /// Numbers as they are kept, `Codes`, or whatever the values are.
    Value,
    Coupons(TextKey),
    /// `Longs`, in which equal numbers mean equal values, across all folds that are ever merged.
    Ids,
}

/// The state of a sketch, for the post-aggregates that look into it.
pub enum Sketch<'a> {
    Hll(&'a HllSketch),
    Quantiles(&'a Quantiles),
}

/// States of one aggregate for groups `0..n`.
pub trait Accumulator: Send + Sync {
    /// Makes room for groups `0..groups`. New groups have seen no row. Never shrinks.
    fn resize(&mut self, groups: usize);

    /// Folds `rows` rows. `inputs` are those that [`inputs`] names, in its order; every group is below the size.
    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]);

    /// Folds the states of `other` (of the same aggregate): its group `g` into `map[g]`.
    fn merge(&mut self, map: &[u32], other: &dyn Accumulator);

    /// Finished values of the given groups. Numbers are `Long` or `Double` blocks.
    fn finish(&self, groups: &[u32]) -> Block;

    /// States as values that a fold of the same aggregate takes again: sketches and values with a time as bytes, other
    /// kinds as finished values (a count is then folded by a sum).
    fn partial(&self, groups: &[u32]) -> Block {
        self.finish(groups)
    }

    /// States to be absorbed by an accumulator of the same aggregate, also in another process: unlike [`Accumulator::partial`]
    /// nothing is rounded or finished. Ids (see [`Want::Ids`]) are 8 bytes each, little endian: whoever sends them says what
    /// they stand for.
    fn state(&self, groups: &[u32]) -> Block;

    /// Takes in states that another accumulator of the same aggregate gave, one for each of `groups`, all below the size.
    /// They may come from anywhere: whatever is no state is refused, and what was taken in before stays.
    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String>;

    /// The sketch of a group; `None` for kinds without one and groups that saw nothing.
    fn sketch(&self, group: u32) -> Option<Sketch<'_>> {
        let _ = group;
        None
    }

    /// Why the groups' values cannot be given, if they cannot.
    fn complaint(&self, groups: &[u32]) -> Option<String> {
        let _ = groups;
        None
    }

    /// A fresh accumulator of the same aggregate, without groups.
    fn fresh(&self) -> Box<dyn Accumulator>;

    /// Memory that the states hold, roughly.
    fn bytes(&self) -> usize;

    /// Memory that the state of a group takes as soon as a value comes, roughly; 0 where it is little.
    fn group_bytes(&self) -> usize {
        0
    }

    /// Promise of the caller: every group will get at least one non-null value. Saves the tracking of empty groups.
    fn never_empty(&mut self) {}

    /// From now on each value is taken in by itself, in the order of the rows: what comes of them hangs on nothing but these
    /// values, however the rows are cut into folds. Else numbers that do not add up exactly are summed in parts.
    fn one_by_one(&mut self) {}

    /// Promise of the caller: ids (see [`Want::Ids`]) are from `0..below`.
    fn ids_below(&mut self, below: u64) {
        let _ = below;
    }

    fn as_any(&self) -> &dyn Any;
}

/// The accumulator of an aggregate; of a filtered one, that of its inner.
pub fn new(aggregate: &Aggregate) -> Box<dyn Accumulator> {
    match &aggregate.kind {
        AggregateKind::Count => Box::new(arithmetic::Count::default()),
        AggregateKind::Sum { value_type, .. } => arithmetic::sum(value_type),
        AggregateKind::Min { value_type, .. } => arithmetic::min(value_type),
        AggregateKind::Max { value_type, .. } => arithmetic::max(value_type),
        AggregateKind::Mean { .. } => Box::new(arithmetic::Mean::default()),
        AggregateKind::First { value_type, max_bytes, .. } => first_last::first(value_type, *max_bytes),
        AggregateKind::Last { value_type, max_bytes, .. } => first_last::last(value_type, *max_bytes),
        AggregateKind::Any { value_type, max_bytes, .. } => first_last::any(value_type, *max_bytes),
        AggregateKind::Distinct { .. } => Box::new(distinct::Distinct::default()),
        AggregateKind::Hll(hll) => Box::new(sketch::HllStates::new(hll)),
        AggregateKind::Quantiles { k, kind, .. } => Box::new(sketch::QuantilesStates::new(*kind, *k)),
        AggregateKind::Sketch(sketch) => sketches::new(sketch),
        AggregateKind::Fold(fold) => Box::new(states::States::<fold::Folded>::new(Arc::new((**fold).clone()))),
        AggregateKind::Single { .. } => Box::new(states::States::<fold::Single>::new(())),
        AggregateKind::Grouping { .. } => Box::new(grouping::Grouping),
        AggregateKind::Filtered { inner, .. } => new(inner),
    }
}

/// The inputs of an aggregate (of a filtered one: of its inner), in the order that `fold` takes them. The exact distinct
/// count of several columns takes one input: ids of the tuples, null where any is null.
pub fn inputs(aggregate: &Aggregate) -> Vec<(Input, Want)> {
    let number = |value_type: &ValueType| if *value_type == ValueType::Long { Want::Long } else { Want::Double };
    let of = |value_type: &ValueType| match value_type {
        ValueType::String => Want::Text,
        other => number(other),
    };
    let column = |name: &String| Input::Column(name.clone());
    match &aggregate.kind {
        AggregateKind::Count => Vec::new(),
        AggregateKind::Sum { value_type, input }
        | AggregateKind::Min { value_type, input }
        | AggregateKind::Max { value_type, input } => vec![(input.clone(), number(value_type))],
        AggregateKind::Mean { input } | AggregateKind::Quantiles { input, .. } => vec![(input.clone(), Want::Double)],
        AggregateKind::First { value_type, column: name, time_column, .. }
        | AggregateKind::Last { value_type, column: name, time_column, .. } => {
            vec![(column(name), of(value_type)), (column(time_column), Want::Long)]
        }
        AggregateKind::Any { value_type, column: name, .. } => vec![(column(name), of(value_type))],
        AggregateKind::Distinct { columns } => columns.iter().map(|c| (c.clone(), Want::Ids)).collect(),
        AggregateKind::Hll(Hll { columns, by_row: true, .. }) => {
            columns.iter().map(|c| (c.clone(), Want::Value)).collect()
        }
        AggregateKind::Hll(Hll { columns, text, .. }) => {
            columns.iter().map(|c| (c.clone(), Want::Coupons(*text))).collect()
        }
        AggregateKind::Sketch(sketch) => {
            let first = match sketch.kind {
                SketchKind::Theta { .. }
                | SketchKind::Tuple { .. }
                | SketchKind::Bloom { .. }
                | SketchKind::Cpc { .. }
                | SketchKind::Frequent { .. } => Want::Value,
                _ => Want::Double,
            };
            let wants = std::iter::once(first).chain(std::iter::repeat(Want::Double));
            sketch.inputs.iter().cloned().zip(wants).collect()
        }
        AggregateKind::Fold(fold) => fold.fields.iter().map(|name| (column(name), Want::Value)).collect(),
        AggregateKind::Single { column: name, .. } => vec![(column(name), Want::Value)],
        AggregateKind::Grouping { .. } => Vec::new(),
        AggregateKind::Filtered { inner, .. } => inputs(inner),
    }
}

impl<'a> From<&'a Block> for Values<'a> {
    fn from(block: &'a Block) -> Values<'a> {
        match block {
            Block::Long { values, nulls } => Values::Longs { values, nulls: nulls.as_deref() },
            Block::Double { values, nulls } => Values::Doubles { values, nulls: nulls.as_deref() },
            Block::Text { values } => Values::Texts(values),
            Block::Any { values } => Values::Any(values),
        }
    }
}

impl<'a> Values<'a> {
    /// The values of some of the rows.
    pub fn slice(self, range: Range<usize>) -> Values<'a> {
        match self {
            Values::Null => Values::Null,
            Values::Longs { values, nulls } => {
                Values::Longs { values: &values[range.clone()], nulls: nulls.map(|n| &n[range]) }
            }
            Values::Doubles { values, nulls } => {
                Values::Doubles { values: &values[range.clone()], nulls: nulls.map(|n| &n[range]) }
            }
            Values::Texts(values) => Values::Texts(&values[range]),
            Values::Codes { codes, column } => Values::Codes { codes: &codes[range], column },
            Values::Coupons(values) => Values::Coupons(&values[range]),
            Values::Any(values) => Values::Any(&values[range]),
        }
    }

    fn value(&self, row: usize) -> Value {
        match self {
            Values::Longs { .. } => self.long(row).map_or(Value::Null, Value::Long),
            Values::Doubles { .. } => self.double(row).map_or(Value::Null, Value::Double),
            Values::Any(values) => values[row].clone(),
            values => values.text(row).map_or(Value::Null, Value::Text),
        }
    }

    fn long(&self, row: usize) -> Option<i64> {
        match self {
            Values::Longs { values, nulls } => (!is_null(*nulls, row)).then(|| values[row]),
            Values::Doubles { values, nulls } => (!is_null(*nulls, row)).then(|| values[row] as i64),
            Values::Texts(values) => values[row].as_deref().and_then(long_of_text),
            Values::Codes { codes, column } => column.value(codes[row]).and_then(long_of_text),
            Values::Any(values) => long_of(&values[row]),
            Values::Null | Values::Coupons(_) => None,
        }
    }

    fn double(&self, row: usize) -> Option<f64> {
        match self {
            Values::Longs { values, nulls } => (!is_null(*nulls, row)).then(|| values[row] as f64),
            Values::Doubles { values, nulls } => (!is_null(*nulls, row)).then(|| values[row]),
            Values::Texts(values) => values[row].as_deref().and_then(double_of_text),
            Values::Codes { codes, column } => column.value(codes[row]).and_then(double_of_text),
            Values::Any(values) => double_of(&values[row]),
            Values::Null | Values::Coupons(_) => None,
        }
    }

    fn text(&self, row: usize) -> Option<Arc<str>> {
        match self {
            Values::Longs { .. } => self.long(row).map(|v| v.to_string().into()),
            Values::Doubles { .. } => self.double(row).map(|v| v.to_string().into()),
            Values::Texts(values) => values[row].clone(),
            Values::Codes { codes, column } => column.value(codes[row]).map(Arc::from),
            Values::Any(values) => match &values[row] {
                Value::Text(text) => Some(text.clone()),
                Value::Long(v) => Some(v.to_string().into()),
                Value::Double(v) => Some(v.to_string().into()),
                Value::List(values) => values.iter().find_map(|v| match v {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                }),
                Value::Null | Value::Json(_) | Value::Bytes(_) => None,
            },
            Values::Null | Values::Coupons(_) => None,
        }
    }
}

fn is_null(nulls: Option<&[bool]>, row: usize) -> bool {
    nulls.is_some_and(|n| n[row])
}

/// A number written as text: a long if it is one, else a double cut to its whole part.
pub fn long_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse::<i64>().ok().or_else(|| double_of_text(text).map(|v| v as i64))
}

pub fn double_of_text(text: &str) -> Option<f64> {
    let text = text.trim();
    // Rust reads more spellings of the infinities and of NaN than Druid does.
    match text.bytes().last()? {
        b'0'..=b'9' | b'.' => text.parse().ok(),
        _ => match text {
            "NaN" => Some(f64::NAN),
            "Infinity" | "+Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
    }
}

fn long_of(value: &Value) -> Option<i64> {
    match value {
        Value::Long(v) => Some(*v),
        Value::Double(v) => Some(*v as i64),
        Value::Text(text) => long_of_text(text),
        Value::Null | Value::List(_) | Value::Json(_) | Value::Bytes(_) => None,
    }
}

fn double_of(value: &Value) -> Option<f64> {
    match value {
        Value::Long(v) => Some(*v as f64),
        Value::Double(v) => Some(*v),
        Value::Text(text) => double_of_text(text),
        Value::Null | Value::List(_) | Value::Json(_) | Value::Bytes(_) => None,
    }
}

/// Calls `each(row, group)` for all rows.
fn for_each_group(rows: usize, groups: Groups<'_>, mut each: impl FnMut(usize, usize)) {
    match groups {
        Groups::One(group) => (0..rows).for_each(|row| each(row, group as usize)),
        Groups::Each(groups) => groups.iter().enumerate().for_each(|(row, group)| each(row, *group as usize)),
    }
}

/// States that are bytes, as they were sent, each with its group; nulls saw nothing.
fn sent<'a>(groups: &'a [u32], states: &'a Block) -> Result<impl Iterator<Item = (usize, Sent<'a>)>, String> {
    let Block::Any { values } = states else { return Err("the states are no bytes".into()) };
    if values.len() != groups.len() {
        return Err(format!("[{}] states were sent of [{}] groups", values.len(), groups.len()));
    }
    let known = |value: &Value| matches!(value, Value::Null | Value::Bytes(_) | Value::Text(_));
    if !values.iter().all(known) {
        return Err("a state is no bytes".into());
    }
    Ok(groups.iter().zip(values).filter_map(|(group, value)| match value {
        Value::Bytes(bytes) => Some((*group as usize, Sent::State(bytes))),
        Value::Text(why) => Some((*group as usize, Sent::Refused(why))),
        _ => None,
    }))
}

/// A state that was sent.
enum Sent<'a> {
    State(&'a [u8]),
    /// There is none, and why.
    Refused(&'a str),
}

/// States that are bytes, or why there are none; `None` saw nothing.
fn to_send(states: impl Iterator<Item = Option<Result<Vec<u8>, String>>>) -> Block {
    let value = |state: Option<Result<Vec<u8>, String>>| match state {
        None => Value::Null,
        Some(Ok(bytes)) => Value::Bytes(bytes.into()),
        Some(Err(why)) => Value::text(&why),
    };
    Block::Any { values: states.map(value).collect() }
}

fn same<T: 'static>(other: &dyn Accumulator) -> &T {
    other.as_any().downcast_ref().expect("only accumulators of the same aggregate are merged")
}
