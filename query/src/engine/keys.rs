//! What rows are grouped by: keys, and the reading of their values as ids.
//!
//! A key's values become ids in a [`Space`] that is the same for all segments of the query: the code of the only
//! dictionary, the number of an interned string, the place of a time bucket, the distance from the smallest long, or
//! the value's own bits. What turns a dictionary's codes into ids is filled as codes are met, once per segment, and
//! shared by the threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use segment::Segment;
use segment::aggregate::accumulator::{double_of_text, long_of_text};
use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::{Column, DictColumn, NumberColumn, document};
use segment::expr::Expr;
use segment::schema::ValueType;
use segment::time::Granularity;

use super::interner::{self, Interner};
use super::merged::Merged;
use super::source::{Computed, evaluate};
use super::table::KeySize;
use crate::columns::{Columns, Resolved, as_text};
use crate::error::{Error, Result};
use crate::language::Dimension;

/// Spans of longs up to this are ids by their distance from the smallest.
const SPAN_MAX: u64 = 1 << 28;
/// Time buckets up to this many are listed.
const BUCKETS_MAX: usize = 1 << 20;

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

/// The time buckets that the data can touch, in order.
pub struct Buckets {
    pub starts: Vec<i64>,
    /// Their length, if it is the same for all and none is left out.
    step: Option<i64>,
}

impl Buckets {
    /// `None` if they are too many to be listed. `ranges` are inclusive.
    pub fn of(granularity: &Granularity, ranges: &[(i64, i64)]) -> Option<Buckets> {
        let mut starts = Vec::new();
        let mut done: Option<i64> = None;
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        for (low, high) in ranges {
            let mut start = granularity.floor(low);
            if let Some(done) = done {
                start = start.max(granularity.next(done));
            }
            while start <= high {
                if starts.len() == BUCKETS_MAX {
                    return None;
                }
                starts.push(start);
                done = Some(start);
                let next = granularity.next(start);
                if next <= start {
                    break;
                }
                start = next;
            }
        }
        let step = match starts[..] {
            [first, second, ..] => Some(second - first).filter(|s| starts.windows(2).all(|w| w[1] - w[0] == *s)),
            _ => None,
        };
        Some(Buckets { starts, step })
    }

    /// The bucket that holds a time of the ranges.
    fn of_time(&self, t: i64) -> usize {
        match self.step {
            // The last one may be longer than those before it: a day after the clocks went forward.
            Some(step) => (((t - self.starts[0]) / step) as usize).min(self.starts.len() - 1),
            None => self.starts.partition_point(|start| *start <= t) - 1,
        }
    }

    /// The end of a bucket as far as it is known: times from here on are in later ones.
    fn end(&self, bucket: usize) -> i64 {
        self.starts.get(bucket + 1).copied().unwrap_or(i64::MAX)
    }
}

/// Rows of a block that are looked at. All of them are seen by whoever asks.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub start: usize,
    pub len: usize,
    /// Places in the block, in order, perhaps repeated; `None` is all.
    pub list: Option<&'a [u32]>,
}

impl Rows<'_> {
    pub fn count(&self) -> usize {
        self.list.map_or(self.len, <[u32]>::len)
    }
}

/// For how many rows an id stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Shape {
    #[default]
    Each,
    /// One id stands for all rows.
    One,
    /// Ids of runs of rows, and where they end.
    Runs(Vec<u32>),
}

/// Ids of the rows of a block.
#[derive(Debug, Default)]
pub struct Ids {
    pub shape: Shape,
    /// Ids of narrow spaces.
    pub ids: Vec<u32>,
    /// Values of wide spaces.
    pub wide: Vec<u64>,
    /// As long as `wide`, or empty if none is null.
    pub nulls: Vec<bool>,
    pub is_wide: bool,
}

impl Ids {
    fn clear(&mut self, is_wide: bool) {
        self.ids.clear();
        self.wide.clear();
        self.nulls.clear();
        self.is_wide = is_wide;
        self.shape = Shape::Each;
    }

    /// Adds a function of each row's id to the numbers of the rows.
    pub fn add_to(&self, out: &mut [u64], of: impl Fn(u32) -> u64) {
        match &self.shape {
            Shape::Each => out.iter_mut().zip(&self.ids).for_each(|(out, id)| *out += of(*id)),
            Shape::One => {
                let add = of(self.ids[0]);
                out.iter_mut().for_each(|out| *out += add);
            }
            Shape::Runs(ends) => {
                let mut begin = 0;
                for (end, id) in ends.iter().zip(&self.ids) {
                    let add = of(*id);
                    out[begin..*end as usize].iter_mut().for_each(|out| *out += add);
                    begin = *end as usize;
                }
            }
        }
    }

    /// As `add_to`, for wide ids too. They have no nulls.
    pub fn add_to_wide(&self, out: &mut [u64], of: impl Fn(u64) -> u64) {
        if !self.is_wide {
            return self.add_to(out, |id| of(id as u64));
        }
        self.each_wide(out.len(), |row, value, _| out[row] |= of(value));
    }

    /// Writes each row's id into the rows of words, and its null into their last word.
    pub fn scatter(&self, words: &mut [u64], width: usize, key: usize) {
        let rows = words.len() / width;
        if self.is_wide {
            self.each_wide(rows, |row, value, null| {
                words[row * width + key] = if null { 0 } else { value };
                words[row * width + width - 1] |= (null as u64) << key;
            });
        } else {
            let mut place = 0;
            match &self.shape {
                Shape::Each => self.ids.iter().enumerate().for_each(|(row, id)| words[row * width + key] = *id as u64),
                Shape::One => (0..rows).for_each(|row| words[row * width + key] = self.ids[0] as u64),
                Shape::Runs(ends) => {
                    for (end, id) in ends.iter().zip(&self.ids) {
                        for row in place..*end as usize {
                            words[row * width + key] = *id as u64;
                        }
                        place = *end as usize;
                    }
                }
            }
        }
    }

    pub fn each_wide(&self, rows: usize, mut each: impl FnMut(usize, u64, bool)) {
        let null = |i: usize| !self.nulls.is_empty() && self.nulls[i];
        match &self.shape {
            Shape::Each => (0..rows).for_each(|row| each(row, self.wide[row], null(row))),
            Shape::One => (0..rows).for_each(|row| each(row, self.wide[0], null(0))),
            Shape::Runs(ends) => {
                let mut begin = 0;
                for (i, end) in ends.iter().enumerate() {
                    (begin..*end as usize).for_each(|row| each(row, self.wide[i], null(i)));
                    begin = *end as usize;
                }
            }
        }
    }

    /// The id of a run (or of all rows), `None` for a wide null.
    pub fn first(&self, run: usize) -> Option<u64> {
        if self.is_wide {
            (self.nulls.is_empty() || !self.nulls[run]).then(|| self.wide[run])
        } else {
            Some(self.ids[run] as u64)
        }
    }

    /// Takes the ids of the given places.
    pub fn repeat(&mut self, places: &[u32]) {
        let at = |place: &u32| *place as usize;
        if self.is_wide {
            self.wide = places.iter().map(|p| self.wide[at(p)]).collect();
            if !self.nulls.is_empty() {
                self.nulls = places.iter().map(|p| self.nulls[at(p)]).collect();
            }
        } else {
            self.ids = places.iter().map(|p| self.ids[at(p)]).collect();
        }
    }

    fn push_null(&mut self, space: &Space) {
        if self.is_wide {
            self.wide.push(0);
            self.nulls.resize(self.wide.len() - 1, false);
            self.nulls.push(true);
        } else {
            self.ids.push(space.null());
        }
    }
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
    /// Chooses the space of a key. `ranges` are the times of the pieces' rows.
    pub fn new(of: Of, pieces: &[Columns], ranges: &[(i64, i64)]) -> Result<Key> {
        match &of {
            Of::Time(granularity) => {
                let space = match Buckets::of(granularity, ranges) {
                    Some(buckets) => Space::Buckets(buckets),
                    None => Space::Longs { nulls: false },
                };
                Ok(Key { of, space, output_type: ValueType::Long, float: false })
            }
            Of::Dimension(dimension) => {
                let output_type = dimension.output_type.clone();
                let space = dimension_space(&dimension.column, Some(dimension), &output_type, pieces)?;
                let mut types = pieces.iter().filter_map(|piece| piece.value_type(&dimension.column));
                let float = types.all(|t| t == ValueType::Float);
                Ok(Key { space, output_type, of, float })
            }
            Of::Column(column) => {
                let output_type = natural_type(column, pieces);
                let space = dimension_space(column, None, &output_type, pieces)?;
                Ok(Key { space, output_type, of, float: false })
            }
            Of::Expression(expr) => {
                let types = |piece: &Columns| expr.value_type(&|name| piece.value_type(name));
                let output_type = same_type(pieces.iter().map(types));
                let space = space_of_type(&output_type);
                Ok(Key { of, space, output_type, float: false })
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
fn same_type(types: impl Iterator<Item = Option<ValueType>>) -> ValueType {
    let mut all = None;
    for value_type in types.flatten() {
        let value_type = if value_type == ValueType::Float { ValueType::Double } else { value_type };
        match &all {
            None => all = Some(value_type),
            Some(seen) if *seen == value_type => {}
            Some(_) => return ValueType::String,
        }
    }
    all.unwrap_or(ValueType::String)
}

fn natural_type(column: &str, pieces: &[Columns]) -> ValueType {
    same_type(pieces.iter().map(|piece| piece.value_type(column)))
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
    fn apply(&self, value: Option<&str>) -> Option<Arc<str>> {
        match self {
            TextOf::Plain => value.map(Arc::from),
            TextOf::Dimension(dimension) => dimension.apply(value).flatten().map(Arc::from),
            TextOf::Computed(computed) => as_text(&computed.value(value)),
        }
    }

    fn value(&self, value: Option<&str>) -> Option<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_where_days_differ_in_length() {
        const HOUR: i64 = 3_600_000;
        // 2026-03-29 in Berlin has 23 hours, the day after it 24.
        let first = 1_774_738_800_000;
        let days = Granularity::period("P1D", "Europe/Berlin", None).unwrap();
        let buckets = Buckets::of(&days, &[(first, first + 46 * HOUR)]).unwrap();
        assert_eq!(buckets.starts, [first, first + 23 * HOUR]);
        for hour in 0..47 {
            assert_eq!(buckets.of_time(first + hour * HOUR), usize::from(hour >= 23), "{hour}");
        }
    }
}
