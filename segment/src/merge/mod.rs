//! K-way merge of segments into one file, with rollup, a block at a time: freeze and compaction are this.
//!
//! 1. [`strings::Union`]: the dictionaries of each string column are merged and written; what stays in memory is the new
//!    code of each old one.
//! 2. [`order::Order`]: the rows are ordered by time, then by the dimensions in turn, and equal ones are marked as one if
//!    the schema asks for rollup. What stays in memory is a number a row.
//! 3. Column by column the rows are gathered in that order, block by block, encoded and written.
//!
//! Memory: up to 16 bytes a row while rows are put in order, then 4 bytes a row, and up to 8 more for the column at hand
//! if it has an index; besides, 4 bytes for each value of each input's dictionaries. Inputs whose rows come in another
//! order than they stand in (rows of a realtime index) are decoded a column at a time.

mod numbers;
mod order;
mod rows;
mod strings;

use std::path::Path;
use std::sync::Arc;

use crate::aggregate::accumulator::{self, Groups, Values};
use crate::aggregate::{Aggregate, AggregateKind};
use crate::block::{BLOCK_ROWS, Value};
use crate::column::complex::ComplexWriter;
use crate::column::{Column, ColumnBuilder};
use crate::error::{Error, Result};
use crate::file::layout::{ColumnEntry, Footer, Sections};
use crate::file::writer::FileWriter;
use crate::meta::{SegmentId, SegmentMeta};
use crate::schema::{Schema, TIME, ValueType};
use crate::segment::Segment;

use numbers::Fold;
use order::{Order, SortKey};
use rows::Inputs;
use strings::Union;

/// Joins the serialized states of a complex metric whose rows are rolled up into one.
pub type Join<'a> = dyn Fn(&Aggregate, &[&[u8]]) -> Result<Vec<u8>> + 'a;

/// Writes the rows of `inputs` (any order; sorted here by time, then dimensions) to `to`, synced. With
/// `schema.rollup`, rows with equal truncated time and dimensions become one. Deterministic: equal input, equal bytes.
///
/// The file has the dimensions and metrics of the schema, no others; columns of another type than the schema's are cast.
/// Truncated times are not put before the start of the id's interval.
pub fn merge(inputs: &[Arc<Segment>], schema: &Schema, id: &SegmentId, to: &Path) -> Result<SegmentMeta> {
    merge_with(inputs, schema, id, to, &|metric, states| {
        let mut joined = accumulator::new(metric);
        joined.resize(1);
        let states: Vec<Value> = states.iter().map(|state| Value::Bytes(Arc::from(*state))).collect();
        joined.fold(states.len(), Groups::One(0), &[Values::Any(&states)]);
        if let Some(why) = joined.complaint(&[0]) {
            return Err(Error::corrupt(format!("metric {}: {why}", metric.name)));
        }
        match joined.partial(&[0]).value(0) {
            Value::Bytes(bytes) => Ok(bytes.to_vec()),
            _ => Err(Error::corrupt(format!("metric {}: rows hold no states of its type", metric.name))),
        }
    })
}

/// As [`merge`], joining states of complex metrics in another way.
pub fn merge_with(
    inputs: &[Arc<Segment>],
    schema: &Schema,
    id: &SegmentId,
    to: &Path,
    join: &Join,
) -> Result<SegmentMeta> {
    let inputs = Inputs::new(inputs)?;
    let mut writer = FileWriter::create(to)?;
    let mut dimensions = Vec::with_capacity(schema.dimensions.len());
    for dimension in &schema.dimensions {
        let columns = cast_columns(&inputs, &dimension.name, &dimension.value_type)?;
        let union = match dimension.value_type {
            ref text if *text == ValueType::String || text.is_document() => {
                Some(Union::write(&inputs, &columns, &mut writer)?)
            }
            _ => None,
        };
        dimensions.push((dimension, columns, union));
    }
    let keys: Vec<SortKey> =
        dimensions.iter().map(|(_, columns, union)| SortKey::new(columns, union.as_ref())).collect();
    let floor = |times: &mut [i64]| {
        let read = times.to_vec();
        schema.query_granularity.floor_all(&read, times);
        times.iter_mut().zip(read).for_each(|(t, read)| *t = (*t).max(id.interval.start.min(read)));
    };
    let order = Order::new(&inputs, &keys, &floor, schema.rollup)?;
    drop(keys);

    let mut entries = Vec::with_capacity(1 + dimensions.len() + schema.metrics.len());
    let mut entry = |name: &str, value_type: &ValueType, sections: Sections| {
        entries.push(ColumnEntry { name: name.to_string(), type_name: value_type.druid_name(), sections });
    };
    let time_range;
    {
        let (section, range) = numbers::write_times(&inputs, &order, &floor, &mut writer)?;
        time_range = range;
        entry(TIME, &ValueType::Long, Sections::Numbers(section));
    }
    for (dimension, columns, union) in &dimensions {
        let sections = match union {
            Some(union) => union.write_rows(&inputs, columns, &order, dimension.indexed, &mut writer)?,
            None => {
                let kind = &dimension.value_type;
                Sections::Numbers(numbers::write(&inputs, columns, kind, &order, Fold::First, &mut writer)?)
            }
        };
        entry(&dimension.name, &dimension.value_type, sections);
    }
    drop(dimensions);
    for metric in &schema.metrics {
        let combining = metric.combining();
        let value_type = metric.stored_type();
        let columns = cast_columns(&inputs, &metric.name, &value_type)?;
        let sections = match &value_type {
            ValueType::String => {
                let union = Union::write(&inputs, &columns, &mut writer)?;
                let last = matches!(combining.kind, AggregateKind::Last { .. });
                union.write_metric(&inputs, &columns, &order, last, &mut writer)?
            }
            ValueType::Complex(_) => {
                let join = |states: &[&[u8]]| join(&combining, states);
                Sections::Complex(write_complex(&inputs, &columns, &order, &join, &mut writer)?)
            }
            number => {
                let fold = Fold::of(&combining);
                Sections::Numbers(numbers::write(&inputs, &columns, number, &order, fold, &mut writer)?)
            }
        };
        entry(&metric.name, &value_type, sections);
    }

    let dimensions: Vec<String> = schema.dimensions.iter().map(|d| d.name.clone()).collect();
    let metrics: Vec<String> = schema.metrics.iter().map(|m| m.name.clone()).collect();
    let footer = Footer {
        rows: order.output_rows() as u64,
        time: time_range,
        order: std::iter::once(TIME.to_string()).chain(dimensions.iter().cloned()).collect(),
        dimensions: dimensions.clone(),
        metrics: metrics.clone(),
        rollup: schema.rollup,
        query_granularity: Some(schema.query_granularity.to_json()),
        aggregates: schema.metrics.iter().map(|m| m.combining().to_json()).collect(),
        columns: entries,
    };
    let written = writer.finish(&footer)?;
    Ok(SegmentMeta {
        id: id.clone(),
        rows: footer.rows,
        size_bytes: written.size_bytes,
        checksum: written.checksum,
        time_range,
        dimensions,
        metrics,
        path: String::new(),
        core_partitions: 0,
    })
}

/// A column of an input, of the type that the output wants.
enum Source<'a> {
    /// All null.
    Missing,
    There(&'a Column),
    Cast(Box<Column>),
}

impl Source<'_> {
    fn column(&self) -> Option<&Column> {
        match self {
            Source::Missing => None,
            Source::There(column) => Some(column),
            Source::Cast(column) => Some(column),
        }
    }
}

/// The column of each input under a name, cast to a type where it is of another.
fn cast_columns<'a>(inputs: &Inputs<'a>, name: &str, value_type: &ValueType) -> Result<Vec<Source<'a>>> {
    let cast = |segment: &'a Segment| -> Result<Source<'a>> {
        let Some(column) = segment.column(name)? else { return Ok(Source::Missing) };
        if column.value_type() == *value_type {
            return Ok(Source::There(column));
        }
        let mut builder = ColumnBuilder::new(value_type.clone());
        for start in (0..column.rows()).step_by(BLOCK_ROWS) {
            let block = column.block(start, BLOCK_ROWS.min(column.rows() - start));
            (0..block.len()).for_each(|row| builder.push(&block.value(row)));
        }
        Ok(Source::Cast(Box::new(builder.finish())))
    };
    inputs.segments().map(cast).collect()
}

fn write_complex(
    inputs: &Inputs,
    columns: &[Source],
    order: &Order,
    join: &dyn Fn(&[&[u8]]) -> Result<Vec<u8>>,
    writer: &mut FileWriter,
) -> Result<crate::file::layout::Section> {
    writer.begin()?;
    let mut out = Vec::new();
    let mut complex = ComplexWriter::default();
    let mut states: Vec<&[u8]> = Vec::new();
    for block in order.blocks() {
        for group in block.groups() {
            states.clear();
            states.extend(group.iter().filter_map(|row| {
                let (input, row) = inputs.locate(*row);
                match columns[input].column() {
                    Some(Column::Complex(column)) => column.bytes(row),
                    _ => None,
                }
            }));
            match states.as_slice() {
                [] => complex.push(None, &mut out),
                [one] => complex.push(Some(one), &mut out),
                many => complex.push(Some(&join(many)?), &mut out),
            }
        }
        writer.drain(&mut out)?;
    }
    complex.finish(&mut out);
    writer.drain(&mut out)?;
    Ok(writer.end())
}
