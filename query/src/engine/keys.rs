//! What rows are grouped by: keys, and the reading of their values as ids.
//!
//! A key's values become ids in a [`Space`] that is the same for all segments of the query: the code of the only
//! dictionary, the number of an interned string, the place of a time bucket, the distance from the smallest long, or
//! the value's own bits. What turns a dictionary's codes into ids is filled as codes are met, once per segment, and
//! shared by the threads.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use segment::Segment;
use segment::aggregate::accumulator::{double_of_text, long_of_text};
use segment::block::Value;
use segment::column::{Column, DictColumn, document};
use segment::expr::Expr;
use segment::schema::ValueType;
use segment::time::Granularity;

use super::interner::{self, Interner};
use super::merged::Merged;
use super::source::Computed;
use super::table::KeySize;
use crate::columns::{Columns, Resolved, as_text};
use crate::error::{Error, Result};
use crate::language::Dimension;

mod buckets;
mod ids;
mod read;

pub use buckets::Buckets;
pub use ids::{Ids, Rows, Shape};
use read::TextOf;
pub use read::{Reader, Scratch, nulls_of};

/// Spans of longs up to this are ids by their distance from the smallest.
const SPAN_MAX: u64 = 1 << 28;

/// What a key is, as asked.
#[derive(Debug, Clone)]
pub enum Of {
    Time(Granularity),
    Dimension(Dimension),
    /// A column or expression in its natural type: an input of an aggregate.
    Column(String),
    Expression(Expr),
}

pub struct Key {
    pub of: Of,
    pub space: Space,
    /// The type of the values that leave.
    pub output_type: ValueType,
    /// Doubles that are 32-bit floats in all segments.
    pub float: bool,
    /// The types that it has in these segments, each once.
    pub types: Vec<ValueType>,
}

pub enum Space {
    Buckets(Buckets),
    /// Codes of the only dictionary there is.
    Codes {
        segment: Arc<Segment>,
        column: String,
        size: u32,
        null: u32,
    },
    Texts {
        interner: Interner,
        below: Option<u64>,
    },
    /// Values of several dictionaries that were numbered before.
    Merged(Arc<Merged>),
    /// Longs from `min`; the null is `span`.
    Range {
        min: i64,
        span: u64,
    },
    Longs {
        nulls: bool,
    },
    Doubles {
        nulls: bool,
    },
}
/// What one segment's values of a key need, shared by the threads.
#[derive(Default)]
pub struct Shared {
    lut: OnceLock<Box<[AtomicU32]>>,
    numbers: OnceLock<Vec<Option<u64>>>,
}

/// A code that was not met yet.
const UNKNOWN: u32 = u32::MAX;
/// A value that the dimension does not keep.
const DROPPED: u32 = u32::MAX - 1;

impl Space {
    pub fn is_wide(&self) -> bool {
        matches!(self, Space::Longs { .. } | Space::Doubles { .. })
    }

    /// The id of null in a narrow space.
    pub fn null(&self) -> u32 {
        match self {
            Space::Codes { null, .. } => *null,
            Space::Texts { .. } => interner::NULL,
            Space::Range { span, .. } => *span as u32,
            Space::Buckets(_) | Space::Merged(_) | Space::Longs { .. } | Space::Doubles { .. } => 0,
        }
    }

    pub fn size(&self) -> KeySize {
        let below = match self {
            Space::Buckets(buckets) => Some(buckets.starts.len() as u64),
            Space::Codes { size, .. } => Some(*size as u64),
            Space::Texts { below, .. } => *below,
            Space::Merged(merged) => Some(merged.below()),
            Space::Range { span, .. } => Some(span + 1),
            Space::Longs { .. } | Space::Doubles { .. } => None,
        };
        let nulls = matches!(self, Space::Longs { nulls: true } | Space::Doubles { nulls: true });
        KeySize { below, wide: self.is_wide(), nulls }
    }
}

impl Key {
    /// Chooses the space of a key. `ranges` are the times of the pieces' rows, `elsewhere` the types that it has in segments
    /// of the query that others work on: what a value is called hangs on all of them.
    pub fn new(of: Of, pieces: &[Columns], ranges: &[(i64, i64)], elsewhere: &[ValueType]) -> Result<Key> {
        let mut types: Vec<ValueType> = Vec::new();
        let shown = pieces.iter().filter_map(|piece| match &of {
            Of::Time(_) => None,
            Of::Dimension(dimension) => piece.value_type(&dimension.column),
            Of::Column(column) => piece.value_type(column),
            Of::Expression(expr) => expr.value_type(&|name| piece.value_type(name)),
        });
        for shown in shown {
            if !types.contains(&shown) {
                types.push(shown);
            }
        }
        let all = || types.iter().chain(elsewhere).cloned();
        match &of {
            Of::Time(granularity) => {
                let space = match Buckets::of(granularity, ranges) {
                    Some(buckets) => Space::Buckets(buckets),
                    None => Space::Longs { nulls: false },
                };
                Ok(Key { of, space, output_type: ValueType::Long, float: false, types })
            }
            Of::Dimension(dimension) => {
                let output_type = dimension.output_type.clone();
                let space = dimension_space(&dimension.column, Some(dimension), &output_type, pieces)?;
                let float = all().all(|t| t == ValueType::Float);
                Ok(Key { space, output_type, of, float, types })
            }
            Of::Column(column) => {
                let output_type = same_type(all());
                let space = dimension_space(column, None, &output_type, pieces)?;
                Ok(Key { space, output_type, of, float: false, types })
            }
            Of::Expression(_) => {
                let output_type = same_type(all());
                let space = space_of_type(&output_type);
                Ok(Key { of, space, output_type, float: false, types })
            }
        }
    }

    /// What it is of, for messages.
    pub fn name(&self) -> String {
        match &self.of {
            Of::Time(_) => segment::schema::TIME.to_string(),
            Of::Dimension(dimension) => dimension.column.clone(),
            Of::Column(column) => column.clone(),
            Of::Expression(expr) => expr.to_string(),
        }
    }

    /// The column whose texts are the key's values as they are, numbered as they are met.
    pub fn plain_texts(&self) -> Option<&str> {
        match (&self.space, &self.of) {
            (Space::Texts { .. }, Of::Dimension(dimension)) if dimension.is_plain() => Some(&dimension.column),
            (Space::Texts { .. }, Of::Column(column)) => Some(column),
            _ => None,
        }
    }

    /// How the key is read from one segment.
    pub fn reader<'a>(&'a self, columns: &'a Columns, shared: &'a Shared, sorted: bool) -> Result<Reader<'a>> {
        let (name, dimension) = match &self.of {
            Of::Time(granularity) => {
                let column = columns.segment().time()?;
                return Ok(match &self.space {
                    Space::Buckets(buckets) => Reader::Buckets { column, buckets, sorted },
                    _ => Reader::Floor { column, granularity },
                });
            }
            Of::Dimension(dimension) => (&dimension.column, Some(dimension)),
            Of::Column(name) => (name, None),
            Of::Expression(expr) => {
                let computed = Computed { expr, output_type: None, own: None };
                return self.computed(computed, None, columns, shared);
            }
        };
        let dimension = dimension.filter(|d| !d.is_plain());
        let resolved = columns.resolve(name)?;
        let number = match resolved {
            Resolved::Missing => return self.missing(dimension),
            Resolved::Virtual(column) => {
                let computed =
                    Computed { expr: &column.expr, output_type: column.output_type.as_ref(), own: Some(column) };
                return self.computed(computed, dimension, columns, shared);
            }
            Resolved::Physical(Column::Dict(column)) => {
                return Ok(match &self.space {
                    Space::Merged(merged) => match merged.ids(columns.segment()) {
                        Some(ids) => Reader::Merged { column, ids },
                        None => return Err(Error::Bug(format!("column {name} was not merged"))),
                    },
                    _ => self.dict(column, TextOf::from(dimension), shared),
                });
            }
            Resolved::Physical(Column::Complex(_)) => return Ok(Reader::Null),
            Resolved::Physical(Column::Document(column))
                if *column.value_type() == self.output_type && dimension.is_none() =>
            {
                return Ok(self.dict(column.texts(), TextOf::Plain, shared));
            }
            Resolved::Physical(Column::Document(_)) => return Ok(Reader::Values { name, dimension }),
            Resolved::Physical(Column::Number(column)) => column,
            Resolved::Time(column) => column,
        };
        let is_long = number.value_type() == ValueType::Long;
        Ok(match (&self.space, dimension) {
            (Space::Range { min, span }, None) if is_long => Reader::Range { column: number, min: *min, span: *span },
            (Space::Longs { .. }, None) if is_long => Reader::Longs { column: number },
            (Space::Doubles { .. }, None) => Reader::Doubles { column: number },
            _ => Reader::Values { name, dimension },
        })
    }

    fn missing(&self, dimension: Option<&Dimension>) -> Result<Reader<'_>> {
        Ok(match dimension {
            Some(dimension) => match TextOf::from(Some(dimension)).apply(None) {
                Some(text) => Reader::Constant(text),
                None => Reader::Null,
            },
            None => Reader::Null,
        })
    }

    fn computed<'a>(
        &'a self,
        computed: Computed<'a>,
        dimension: Option<&'a Dimension>,
        columns: &'a Columns,
        shared: &'a Shared,
    ) -> Result<Reader<'a>> {
        if let [one] = computed.expr.columns()[..]
            && computed.own.is_none_or(|own| own.name != one)
            && let Resolved::Physical(Column::Dict(column)) = columns.resolve(one)?
            && !column.is_multi()
            && dimension.is_none()
            && !self.output_type.is_document()
            && !computed.expr.may_be_list(&|_| false)
        {
            return Ok(self.dict(column, TextOf::Computed(computed), shared));
        }
        // Lists are grouped by their values, unless whole arrays were asked for.
        let multi = !self.output_type.is_document() && computed.expr.may_be_list(&|name| columns.may_be_list(name));
        Ok(Reader::Computed { computed, dimension, multi })
    }

    fn dict<'a>(&'a self, column: &'a DictColumn, text: TextOf<'a>, shared: &'a Shared) -> Reader<'a> {
        if self.space.is_wide() || matches!(self.space, Space::Range { .. }) {
            let numbers = shared.numbers.get_or_init(|| {
                (0..column.cardinality())
                    .map(|code| text.value(column.value(code)).and_then(|v| self.bits(&v)))
                    .collect()
            });
            return Reader::Numbers { column, numbers };
        }
        let lut = match &self.space {
            Space::Codes { .. } => None,
            _ => {
                Some(&**shared.lut.get_or_init(|| (0..column.cardinality()).map(|_| AtomicU32::new(UNKNOWN)).collect()))
            }
        };
        Reader::Dict { column, text, lut }
    }

    /// A value's bits in a wide space or its id in a range.
    fn bits(&self, value: &Value) -> Option<u64> {
        match &self.space {
            Space::Doubles { .. } => match value {
                Value::Double(v) => Some(double_bits(*v)),
                Value::Long(v) => Some(double_bits(*v as f64)),
                Value::Text(text) => double_of_text(text).map(double_bits),
                _ => None,
            },
            _ => match value {
                Value::Long(v) => Some(*v as u64),
                Value::Double(v) => Some(*v as i64 as u64),
                Value::Text(text) => long_of_text(text).map(|v| v as u64),
                _ => None,
            },
        }
    }

    /// What tells a value from others in a space of texts.
    fn text(&self, value: &Value) -> Option<Arc<str>> {
        match self.output_type.is_document() {
            true => document::write(value, &self.output_type).map(Arc::from),
            false => as_text(value),
        }
    }

    fn intern(&self, text: Option<&str>) -> u32 {
        match &self.space {
            Space::Texts { interner, .. } => interner.intern(text),
            _ => self.space.null(),
        }
    }

    /// Pushes the id of a value that was computed or converted.
    fn push(&self, value: Option<&Value>, out: &mut Ids) {
        if self.space.is_wide() {
            match value.and_then(|v| self.bits(v)) {
                Some(bits) => {
                    out.wide.push(bits);
                    if !out.nulls.is_empty() {
                        out.nulls.push(false);
                    }
                }
                None => out.push_null(&self.space),
            }
        } else if let Space::Range { min, span } = &self.space {
            let id = value.and_then(|v| self.bits(v)).map(|v| (v as i64).wrapping_sub(*min) as u64);
            out.ids.push(id.unwrap_or(*span) as u32);
        } else {
            let text = value.and_then(|value| self.text(value));
            out.ids.push(self.intern(text.as_deref()));
        }
    }
}

fn double_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

fn space_of_type(value_type: &ValueType) -> Space {
    match value_type {
        ValueType::Long => Space::Longs { nulls: true },
        ValueType::Float | ValueType::Double => Space::Doubles { nulls: true },
        ValueType::String | ValueType::Array(_) | ValueType::Complex(_) => {
            Space::Texts { interner: Interner::default(), below: None }
        }
    }
}

/// The type that all agree on, if they do; else text.
pub fn same_type(types: impl Iterator<Item = ValueType>) -> ValueType {
    let mut all = None;
    for value_type in types {
        let value_type = if value_type == ValueType::Float { ValueType::Double } else { value_type };
        match &all {
            None => all = Some(value_type),
            Some(seen) if *seen == value_type => {}
            Some(_) => return ValueType::String,
        }
    }
    all.unwrap_or(ValueType::String)
}

fn dimension_space(
    column: &str,
    dimension: Option<&Dimension>,
    output_type: &ValueType,
    pieces: &[Columns],
) -> Result<Space> {
    let plain = dimension.is_none_or(Dimension::is_plain);
    let resolved = pieces.iter().map(|piece| piece.resolve(column)).collect::<Result<Vec<_>>>()?;
    let number = |r: &Resolved<'_>| match r {
        Resolved::Time(_) => Some(ValueType::Long),
        Resolved::Physical(Column::Number(c)) => Some(c.value_type()),
        _ => None,
    };
    let some_number = resolved.iter().find_map(number);
    let all_are = |value_type: &ValueType| {
        plain
            && some_number.is_some()
            && resolved.iter().all(|r| matches!(r, Resolved::Missing) || number(r).as_ref() == Some(value_type))
    };
    let nulls = resolved.iter().any(|r| match r {
        Resolved::Time(_) => false,
        Resolved::Physical(Column::Number(c)) => c.has_nulls(),
        _ => true,
    });
    if all_are(&ValueType::Long) && matches!(output_type, ValueType::Long | ValueType::String) {
        let ranges = resolved.iter().filter_map(|r| match r {
            Resolved::Time(c) => c.long_range(),
            Resolved::Physical(Column::Number(c)) => c.long_range(),
            _ => None,
        });
        let range = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let span = range.and_then(|(min, max)| max.checked_sub(min)).map(|span| span as u64 + 1);
        return Ok(match (range, span) {
            (Some((min, _)), Some(span)) if span <= SPAN_MAX => Space::Range { min, span },
            _ => Space::Longs { nulls },
        });
    }
    match output_type {
        ValueType::Long => return Ok(Space::Longs { nulls: nulls || !plain }),
        ValueType::Float | ValueType::Double => return Ok(Space::Doubles { nulls: nulls || !plain }),
        ValueType::Array(_) | ValueType::Complex(_) => {
            return Ok(Space::Texts { interner: Interner::default(), below: None });
        }
        ValueType::String => {}
    }
    if all_are(&ValueType::Double) || all_are(&ValueType::Float) {
        return Ok(Space::Doubles { nulls });
    }
    if let ([Resolved::Physical(Column::Dict(dict))], true) = (&resolved[..], plain) {
        let size = dict.cardinality();
        return Ok(match dict.null_code() {
            Some(null) => Space::Codes { segment: pieces[0].segment().clone(), column: column.into(), size, null },
            None => {
                Space::Codes { segment: pieces[0].segment().clone(), column: column.into(), size: size + 1, null: size }
            }
        });
    }
    let mut below = Some(1);
    for (resolved, piece) in resolved.iter().zip(pieces) {
        let cardinality = match resolved {
            Resolved::Missing => Some(1),
            Resolved::Physical(Column::Dict(c)) => Some(c.cardinality() as u64),
            Resolved::Virtual(v) => match v.expr.columns()[..] {
                [one] if one != v.name => match piece.resolve(one)? {
                    Resolved::Physical(Column::Dict(c)) if !c.is_multi() => Some(c.cardinality() as u64),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        below = below.zip(cardinality).map(|(sum, c)| sum + c);
    }
    Ok(Space::Texts { interner: Interner::default(), below })
}
