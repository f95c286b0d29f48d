//! Number columns of a merge: time, numeric dimensions, and metrics, which fold where rows become one.

use super::Source;
use super::order::Order;
use super::rows::{Inputs, Stretch};
use crate::aggregate::{Aggregate, AggregateKind};
use crate::block::BLOCK_ROWS;
use crate::column::number::kind_of;
use crate::column::{Column, NumberColumn};
use crate::encoding::numbers::{NumberKind, NumbersWriter};
use crate::error::Result;
use crate::file::layout::Section;
use crate::file::writer::FileWriter;
use crate::schema::ValueType;

/// How values of rows that become one combine. Nulls count for nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fold {
    First,
    Last,
    Sum,
    Min,
    Max,
}

impl Fold {
    pub fn of(combining: &Aggregate) -> Fold {
        match combining.kind {
            AggregateKind::Sum { .. } => Fold::Sum,
            AggregateKind::Min { .. } => Fold::Min,
            AggregateKind::Max { .. } => Fold::Max,
            AggregateKind::Last { .. } => Fold::Last,
            _ => Fold::First,
        }
    }

    fn longs(self, a: i64, b: i64) -> i64 {
        match self {
            Fold::First => a,
            Fold::Last => b,
            Fold::Sum => a.wrapping_add(b),
            Fold::Min => a.min(b),
            Fold::Max => a.max(b),
        }
    }

    fn doubles(self, a: f64, b: f64) -> f64 {
        match self {
            Fold::First => a,
            Fold::Last => b,
            Fold::Sum => a + b,
            Fold::Min => a.min(b),
            Fold::Max => a.max(b),
        }
    }
}

/// Writes the time column; answers its range, too.
pub(super) fn write_times(
    inputs: &Inputs,
    order: &Order,
    floor: &dyn Fn(&mut [i64]),
    writer: &mut FileWriter,
) -> Result<(Section, Option<(i64, i64)>)> {
    let mut readers = Vec::with_capacity(inputs.len());
    for (i, segment) in inputs.segments().enumerate() {
        readers.push((segment.time()?, Stretch::<i64>::new(segment.rows(), order.in_order(i))));
    }
    writer.begin()?;
    let (mut encoder, mut out) = (NumbersWriter::new(NumberKind::Long), Vec::new());
    let mut times = Vec::with_capacity(BLOCK_ROWS);
    let mut range: Option<(i64, i64)> = None;
    for block in order.blocks() {
        times.clear();
        times.extend(block.firsts().map(|row| {
            let (input, row) = inputs.locate(row);
            let (column, stretch) = &mut readers[input];
            let place = stretch.place(row, |start, values| column.longs(start, values));
            stretch.values[place]
        }));
        floor(&mut times);
        let last = times[times.len() - 1];
        range = Some((range.map_or(times[0], |(first, _)| first), last));
        encoder.longs(&times, None, &mut out);
        writer.drain(&mut out)?;
    }
    encoder.finish(&mut out);
    writer.drain(&mut out)?;
    Ok((writer.end(), range))
}

/// Writes a column of numbers.
pub(super) fn write(
    inputs: &Inputs,
    columns: &[Source],
    value_type: &ValueType,
    order: &Order,
    fold: Fold,
    writer: &mut FileWriter,
) -> Result<Section> {
    let kind = kind_of(value_type).expect("a column of numbers is of a number type");
    let mut readers: Vec<Reader> = inputs
        .segments()
        .zip(columns)
        .enumerate()
        .map(|(i, (segment, source))| Reader {
            column: match source.column() {
                Some(Column::Number(column)) => Some(column),
                _ => None,
            },
            longs: Stretch::new(segment.rows(), order.in_order(i)),
            doubles: Stretch::new(segment.rows(), order.in_order(i)),
            nulls: Stretch::new(segment.rows(), order.in_order(i)),
        })
        .collect();
    writer.begin()?;
    let (mut encoder, mut out) = (NumbersWriter::new(kind), Vec::new());
    let (mut longs, mut doubles, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    for block in order.blocks() {
        nulls.clear();
        if kind == NumberKind::Long {
            longs.clear();
            for group in block.groups() {
                let values = group.iter().filter_map(|row| {
                    let (input, row) = inputs.locate(*row);
                    readers[input].long(row)
                });
                let value = values.reduce(|a, b| fold.longs(a, b));
                nulls.push(value.is_none());
                longs.push(value.unwrap_or(0));
            }
            encoder.longs(&longs, Some(&nulls), &mut out);
        } else {
            doubles.clear();
            for group in block.groups() {
                let values = group.iter().filter_map(|row| {
                    let (input, row) = inputs.locate(*row);
                    readers[input].double(row)
                });
                let value = values.reduce(|a, b| fold.doubles(a, b));
                nulls.push(value.is_none());
                doubles.push(value.unwrap_or(0.0));
            }
            encoder.doubles(&doubles, Some(&nulls), &mut out);
        }
        writer.drain(&mut out)?;
    }
    encoder.finish(&mut out);
    writer.drain(&mut out)?;
    Ok(writer.end())
}

/// Reads numbers of an input's rows.
struct Reader<'a> {
    /// `None`: the input has no such column, all its rows are null.
    column: Option<&'a NumberColumn>,
    longs: Stretch<i64>,
    doubles: Stretch<f64>,
    nulls: Stretch<bool>,
}

impl Reader<'_> {
    #[inline]
    fn long(&mut self, row: usize) -> Option<i64> {
        let column = self.column?;
        if self.is_null(column, row) {
            return None;
        }
        let place = self.longs.place(row, |start, values| column.longs(start, values));
        Some(self.longs.values[place])
    }

    #[inline]
    fn double(&mut self, row: usize) -> Option<f64> {
        let column = self.column?;
        if self.is_null(column, row) {
            return None;
        }
        let place = self.doubles.place(row, |start, values| column.doubles(start, values));
        Some(self.doubles.values[place])
    }

    #[inline]
    fn is_null(&mut self, column: &NumberColumn, row: usize) -> bool {
        if !column.has_nulls() {
            return false;
        }
        let place = self.nulls.place(row, |start, values| {
            column.nulls(start, values);
        });
        self.nulls.values[place]
    }
}
