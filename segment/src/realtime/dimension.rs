//! One dimension while it grows: coerces and encodes the values of a batch, keeps those of the rows taken in.

use super::Problem;
use super::chunk::NumberChunks;
use super::coerce::{self, Coerced};
use super::text::{LIST, TextColumn, TextScratch};
use crate::block::Value;
use crate::column::{Column, DocumentColumn, NumberColumn, document};
use crate::expr::convert::{to_double, to_long, to_text};
use crate::row::{Cell, RowBatch};
use crate::schema::{DimensionSchema, MultiValue, ValueType};

/// What may become of a dimension's type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Growth {
    Fixed,
    /// It gets wider with values that need it.
    Wider,
    /// The first value gives it its type.
    Open,
}

pub(super) struct Dimension {
    pub schema: DimensionSchema,
    /// Its type follows its values (`auto`, `useSchemaDiscovery`).
    pub typed: bool,
    /// It has met a value, so its type is one.
    pub settled: bool,
    values: Values,
    scratch: Scratch,
    seed: u64,
}

enum Values {
    Text(TextColumn),
    Long(NumberChunks),
    Double { chunks: NumberChunks, float: bool },
    Document { value_type: ValueType, column: TextColumn },
}

/// The encoded values of the rows at hand.
#[derive(Default)]
struct Scratch {
    text: TextScratch,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    /// Empty if none is null.
    nulls: Vec<bool>,
}

impl Scratch {
    fn null(&self, at: usize) -> bool {
        !self.nulls.is_empty() && self.nulls[at]
    }

    fn set_null(&mut self, at: usize, rows: usize) {
        if self.nulls.is_empty() {
            self.nulls.resize(rows, false);
        }
        self.nulls[at] = true;
    }
}

/// Rows of the batch that hold a value which could not be converted.
pub(super) struct Faults {
    pub rows: Vec<bool>,
    pub problems: Vec<Problem>,
    pub problems_max: usize,
}

impl Faults {
    #[cold]
    pub fn add(&mut self, at: usize, row: u32, reason: impl FnOnce() -> String) {
        self.rows[at] = true;
        if self.problems.len() < self.problems_max {
            self.problems.push(Problem { row, reason: reason() });
        }
    }
}

/// A hash in which a null adds nothing, so that a column that is discovered later changes no hash.
#[inline]
pub(super) fn mix(seed: u64, value: u64) -> u64 {
    let product = u128::from(value ^ seed) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128;
    (product >> 64) as u64 ^ product as u64
}

impl Dimension {
    /// A dimension with `rows` nulls.
    pub fn new(schema: DimensionSchema, growth: Growth, number: usize, rows: usize) -> Dimension {
        let values = Values::new(&schema.value_type, schema.multi_value, rows);
        let seed = mix(0x243f_6a88_85a3_08d3, number as u64 + 1);
        Dimension {
            schema,
            typed: growth != Growth::Fixed,
            settled: growth != Growth::Open,
            values,
            scratch: Scratch::default(),
            seed,
        }
    }

    pub fn growth(&self) -> Growth {
        match (self.typed, self.settled) {
            (false, _) => Growth::Fixed,
            (true, true) => Growth::Wider,
            (true, false) => Growth::Open,
        }
    }

    /// Encodes the cells of the rows; `None` if the batch has no such field.
    pub fn encode(&mut self, batch: &RowBatch, field: Option<usize>, rows: &[u32], faults: &mut Faults) {
        let cells = field.map(|field| batch.cells(field));
        let name = &self.schema.name;
        let scratch = &mut self.scratch;
        scratch.nulls.clear();
        match &mut self.values {
            Values::Text(column) => column.encode(batch, cells, rows, &mut scratch.text, &mut |at| {
                faults.add(at, rows[at], || format!("a list within a list cannot be a value of dimension [{name}]"));
            }),
            Values::Document { value_type, column } => {
                column.encode_documents(batch, cells, rows, value_type, &mut scratch.text);
            }
            Values::Long(_) => {
                scratch.longs.clear();
                scratch.longs.resize(rows.len(), 0);
                for (at, &row) in rows.iter().enumerate() {
                    let cell = cells.map_or(Cell::Null, |cells| cells[row as usize]);
                    match coerce::long(batch, cell) {
                        Coerced::Value(value) => scratch.longs[at] = value,
                        Coerced::Null => scratch.set_null(at, rows.len()),
                        Coerced::Bad => {
                            scratch.set_null(at, rows.len());
                            faults.add(at, row, || unconvertible(batch, cell, "long", name));
                        }
                    }
                }
            }
            Values::Double { float, .. } => {
                scratch.doubles.clear();
                scratch.doubles.resize(rows.len(), 0.0);
                for (at, &row) in rows.iter().enumerate() {
                    let cell = cells.map_or(Cell::Null, |cells| cells[row as usize]);
                    match coerce::double(batch, cell) {
                        Coerced::Value(value) => {
                            scratch.doubles[at] = if *float { f64::from(value as f32) } else { value };
                        }
                        Coerced::Null => scratch.set_null(at, rows.len()),
                        Coerced::Bad => {
                            scratch.set_null(at, rows.len());
                            let kind = if *float { "float" } else { "double" };
                            faults.add(at, row, || unconvertible(batch, cell, kind, name));
                        }
                    }
                }
            }
        }
    }

    /// Adds the encoded rows to `hashes`.
    pub fn hash(&self, hashes: &mut [u64]) {
        let (seed, scratch) = (self.seed, &self.scratch);
        match &self.values {
            Values::Text(column) | Values::Document { column, .. } => {
                for (hash, &entry) in hashes.iter_mut().zip(&scratch.text.entries) {
                    if entry & LIST != 0 {
                        let list = scratch.text.list(entry);
                        *hash = hash.wrapping_add(list.iter().fold(seed, |hash, code| mix(hash, u64::from(*code) + 1)));
                    } else if !column.is_null_code(entry) {
                        *hash = hash.wrapping_add(mix(seed, u64::from(entry) + 1));
                    }
                }
            }
            Values::Long(_) => {
                for (at, hash) in hashes.iter_mut().enumerate() {
                    if !scratch.null(at) {
                        *hash = hash.wrapping_add(mix(seed, scratch.longs[at] as u64));
                    }
                }
            }
            Values::Double { .. } => {
                for (at, hash) in hashes.iter_mut().enumerate() {
                    if !scratch.null(at) {
                        *hash = hash.wrapping_add(mix(seed, scratch.doubles[at].to_bits()));
                    }
                }
            }
        }
    }

    /// What `hash` would add for a stored row.
    pub fn stored_hash(&self, row: usize) -> u64 {
        let seed = self.seed;
        match &self.values {
            Values::Text(column) | Values::Document { column, .. } => match column.stored(row) {
                [] => 0,
                codes => codes.iter().fold(seed, |hash, code| mix(hash, u64::from(*code) + 1)),
            },
            Values::Long(chunks) => chunks.long_at(row).map_or(0, |value| mix(seed, value as u64)),
            Values::Double { chunks, .. } => chunks.double_at(row).map_or(0, |value| mix(seed, value.to_bits())),
        }
    }

    /// Whether a stored row equals an encoded one.
    #[inline]
    pub fn equals(&self, row: usize, at: usize) -> bool {
        let scratch = &self.scratch;
        match &self.values {
            Values::Text(column) | Values::Document { column, .. } => column.equals(row, &scratch.text, at),
            Values::Long(chunks) => chunks.long_at(row) == (!scratch.null(at)).then(|| scratch.longs[at]),
            Values::Double { chunks, .. } => {
                chunks.double_at(row).map(f64::to_bits) == (!scratch.null(at)).then(|| scratch.doubles[at].to_bits())
            }
        }
    }

    /// Takes in all encoded rows.
    pub fn append_all(&mut self) {
        match &mut self.values {
            Values::Text(column) | Values::Document { column, .. } => column.append_all(&self.scratch.text),
            Values::Long(chunks) => chunks.extend_longs(&self.scratch.longs, &self.scratch.nulls),
            Values::Double { chunks, .. } => chunks.extend_doubles(&self.scratch.doubles, &self.scratch.nulls),
        }
    }

    /// Takes in one encoded row.
    pub fn append_one(&mut self, at: usize) {
        let null = self.scratch.null(at);
        match &mut self.values {
            Values::Text(column) | Values::Document { column, .. } => column.append_one(&self.scratch.text, at),
            Values::Long(chunks) => chunks.push_long((!null).then(|| self.scratch.longs[at])),
            Values::Double { chunks, .. } => chunks.push_double((!null).then(|| self.scratch.doubles[at])),
        }
    }

    /// Makes the type wider, so that it can hold `wanted` too, converting what is there.
    pub fn widen(&mut self, wanted: &ValueType, rows: usize) {
        let mut wider = Values::new(wanted, self.schema.multi_value, if self.settled { 0 } else { rows });
        for row in 0..if self.settled { rows } else { 0 } {
            let value = self.stored_value(row);
            match &mut wider {
                Values::Text(column) => column.append_text(to_text(&value).as_deref()),
                Values::Double { chunks, .. } => chunks.push_double(to_double(&value)),
                Values::Long(chunks) => chunks.push_long(to_long(&value)),
                Values::Document { value_type, column } => {
                    column.append_text(document::write(&value, value_type).as_deref());
                }
            }
        }
        self.values = wider;
        self.settled = true;
        self.schema.value_type = wanted.clone();
    }

    fn stored_value(&self, row: usize) -> Value {
        match &self.values {
            Values::Text(column) => column.stored_text(row).map_or(Value::Null, Value::text),
            Values::Long(chunks) => chunks.long_at(row).map_or(Value::Null, Value::Long),
            Values::Double { chunks, .. } => chunks.double_at(row).map_or(Value::Null, Value::Double),
            Values::Document { value_type, column } => {
                column.stored_text(row).map_or(Value::Null, |text| document::read(text, value_type))
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Text(column) | Values::Document { column, .. } => column.bytes(),
            Values::Long(chunks) => chunks.bytes(),
            Values::Double { chunks, .. } => chunks.bytes(),
        }
    }

    pub fn view(&mut self) -> Column {
        match &mut self.values {
            Values::Text(column) => Column::Dict(column.view()),
            Values::Document { value_type, column } => {
                Column::Document(DocumentColumn::new(value_type.clone(), column.view()))
            }
            Values::Long(chunks) => Column::Number(NumberColumn::from_chunks(ValueType::Long, chunks.share())),
            Values::Double { chunks, float } => {
                let value_type = if *float { ValueType::Float } else { ValueType::Double };
                Column::Number(NumberColumn::from_chunks(value_type, chunks.share()))
            }
        }
    }
}

impl Values {
    fn new(value_type: &ValueType, multi_value: MultiValue, rows: usize) -> Values {
        match value_type {
            ValueType::Long => {
                let mut chunks = NumberChunks::long();
                chunks.extend_longs(&vec![0; rows], &vec![true; rows]);
                Values::Long(chunks)
            }
            ValueType::Float | ValueType::Double => {
                let mut chunks = NumberChunks::double();
                chunks.extend_doubles(&vec![0.0; rows], &vec![true; rows]);
                Values::Double { chunks, float: *value_type == ValueType::Float }
            }
            value_type if value_type.is_document() => {
                Values::Document { value_type: value_type.clone(), column: TextColumn::new(multi_value, rows) }
            }
            _ => Values::Text(TextColumn::new(multi_value, rows)),
        }
    }
}

/// The type that a value has by itself, for discovery. `None`: a null tells nothing.
pub(super) fn natural_type(batch: &RowBatch, cell: Cell) -> Option<ValueType> {
    match cell {
        Cell::Null => None,
        Cell::Bool(_) | Cell::Long(_) => Some(ValueType::Long),
        Cell::Double(_) => Some(ValueType::Double),
        Cell::Text { .. } => Some(ValueType::String),
        Cell::Json { .. } => Some(ValueType::json()),
        Cell::List { .. } => {
            let types = batch.list_of(cell).iter().filter_map(|cell| natural_type(batch, *cell));
            match types.reduce(|a, b| wider(&a, &b)) {
                // The narrowest of all arrays.
                None => Some(ValueType::array(ValueType::Long)),
                Some(of @ (ValueType::Long | ValueType::Double | ValueType::String)) => Some(ValueType::array(of)),
                Some(_) => Some(ValueType::json()),
            }
        }
    }
}

/// The narrowest type that holds the values of both: long → double → string, scalar → array → document.
pub(super) fn wider(a: &ValueType, b: &ValueType) -> ValueType {
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (ValueType::Complex(_), _) | (_, ValueType::Complex(_)) => ValueType::json(),
        (ValueType::Array(a), ValueType::Array(b)) => ValueType::array(wider(a, b)),
        (ValueType::Array(of), scalar) | (scalar, ValueType::Array(of)) => ValueType::array(wider(of, scalar)),
        (ValueType::Long, ValueType::Double) | (ValueType::Double, ValueType::Long) => ValueType::Double,
        _ => ValueType::String,
    }
}

fn unconvertible(batch: &RowBatch, cell: Cell, kind: &str, name: &str) -> String {
    match cell {
        Cell::List { .. } => format!("dimension [{name}] of type {kind} takes one value a row, not a list"),
        Cell::Text { .. } => {
            let text: String = batch.text_of(cell).chars().take(200).collect();
            format!("could not convert value [{text}] to {kind} for dimension [{name}]")
        }
        _ => format!("could not convert a value to {kind} for dimension [{name}]"),
    }
}
