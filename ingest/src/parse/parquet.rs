//! Parquet files into rows: only the columns that something reads are decoded, and each is turned into cells as a whole.
//!
//! Dates and timestamps are instants: the time column takes them as they are, numeric dimensions get milliseconds, and
//! text dimensions their ISO form. Decimals become doubles, lists of scalars lists.

use arrow::array::cast::AsArray;
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, StructArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use segment::row::{Cell, RowBatch};
use segment::time::format_timestamp;

use super::Failure;
use super::plan::{Plan, Purpose};
use super::timestamp::Raw;
use crate::error::{Error, Result};
use crate::source::files::Checked;
use crate::spec::DataSchema;
use crate::spec::format::ParquetFormat;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 4096;

pub struct ParquetParser {
    plan: Plan,
    format: ParquetFormat,
    /// Dimensions and inputs that want numbers: instants reach them as milliseconds.
    numeric: Vec<String>,
}

/// A column of the file and what it becomes.
struct Read {
    column: usize,
    /// Fields of structs below the column.
    keys: Vec<String>,
    name: String,
    purpose: Purpose,
}

impl ParquetParser {
    pub fn new(schema: &DataSchema, format: &ParquetFormat) -> ParquetParser {
        let numeric = schema.dimensions.iter().filter(|d| d.value_type.is_numeric()).map(|d| d.name.clone());
        ParquetParser { plan: Plan::new(schema), format: format.clone(), numeric: numeric.collect() }
    }

    /// Opens row groups of a file.
    pub fn open(&self, file: &Checked, groups: Vec<usize>) -> Result<ParquetRecordBatchReader> {
        let failed =
            |e: parquet::errors::ParquetError| Error::invalid(format!("cannot read {}: {e}", file.path().display()));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file.open()?).map_err(failed)?;
        let schema = builder.schema().clone();
        let wanted = schema.fields().iter().enumerate().filter(|(_, field)| self.reads(field.name())).map(|(i, _)| i);
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder.with_projection(mask).with_row_groups(groups).with_batch_size(BATCH_ROWS).build().map_err(failed)
    }

    fn reads(&self, column: &str) -> bool {
        let flattened = self.format.flatten.fields.iter().any(|f| f.path.first_key() == Some(column));
        flattened || (self.format.flatten.discovery && !self.plan.purpose(column).is_nothing())
    }

    /// Appends the rows of a batch of the file; tells which of them had no time, with the reason.
    pub fn append(&self, records: &RecordBatch, batch: &mut RowBatch) -> Result<Vec<Failure>> {
        let reads = self.plan_reads(records)?;
        let rows = records.num_rows();
        let mut times: Vec<Result<i64, String>> = Vec::new();
        for read in reads.iter().filter(|r| r.purpose.time) {
            times = match array_of(records, read) {
                Some(array) => self.times(&array)?,
                None => vec![self.plan.time.read(Raw::Null); rows],
            };
        }
        if times.is_empty() {
            times = vec![self.plan.time.read(Raw::Null); rows];
        }
        let mut failures = Vec::new();
        let mut kept: Vec<u32> = Vec::with_capacity(rows);
        let mut instants = Vec::with_capacity(rows);
        for (row, time) in times.into_iter().enumerate() {
            match time {
                Ok(time) => {
                    kept.push(row as u32);
                    instants.push(time);
                }
                Err(reason) => failures.push(Failure::new(reason)),
            }
        }
        let first = batch.rows();
        batch.add_rows(&instants);
        for read in reads.iter().filter(|r| r.purpose.field) {
            let Some(array) = array_of(records, read) else { continue };
            let field = batch.field(&read.name);
            let numeric = self.numeric.contains(&read.name);
            let cells = self.cells(&array, &kept, numeric, batch);
            batch.cells_mut(field)[first..].copy_from_slice(&cells);
        }
        Ok(failures)
    }

    fn plan_reads(&self, records: &RecordBatch) -> Result<Vec<Read>> {
        let schema = records.schema();
        let mut reads = Vec::new();
        for field in &self.format.flatten.fields {
            let purpose = self.plan.purpose(&field.name);
            if purpose.is_nothing() {
                continue;
            }
            let Some(keys) = field.path.keys() else {
                return Err(Error::invalid(format!(
                    "the flattenSpec field {} of a Parquet file may only name fields",
                    field.name
                )));
            };
            if let Ok(column) = schema.index_of(&keys[0]) {
                reads.push(Read { column, keys: keys[1..].to_vec(), name: field.name.clone(), purpose });
            }
        }
        if self.format.flatten.discovery {
            for (column, field) in schema.fields().iter().enumerate() {
                let purpose = self.plan.purpose(field.name());
                let shadowed = self.format.flatten.fields.iter().any(|f| f.name == *field.name());
                if !purpose.is_nothing() && !shadowed {
                    reads.push(Read { column, keys: Vec::new(), name: field.name().clone(), purpose });
                }
            }
        }
        Ok(reads)
    }

    fn times(&self, array: &ArrayRef) -> Result<Vec<Result<i64, String>>> {
        let time = &self.plan.time;
        if let Some(instants) = instants(array) {
            return Ok(instants.into_iter().map(|t| t.map_or_else(|| time.read(Raw::Null), Ok)).collect());
        }
        let mut batch = RowBatch::new();
        let all: Vec<u32> = (0..array.len() as u32).collect();
        let cells = self.cells(array, &all, true, &mut batch);
        let read = |cell: Cell| match cell {
            Cell::Null => time.read(Raw::Null),
            Cell::Long(n) => time.read(Raw::Long(n)),
            Cell::Double(n) => time.read(Raw::Double(n)),
            Cell::Text { .. } => time.read(Raw::Text(batch.text_of(cell))),
            Cell::Bool(_) | Cell::List { .. } | Cell::Json { .. } => time.read(Raw::Other),
        };
        Ok(cells.into_iter().map(read).collect())
    }

    /// The cells of the given rows; values of kinds that no column takes are null.
    fn cells(&self, array: &ArrayRef, rows: &[u32], numeric: bool, batch: &mut RowBatch) -> Vec<Cell> {
        if let Some(instants) = instants(array) {
            let date = matches!(array.data_type(), DataType::Date32 | DataType::Date64);
            let mut last: Option<(i64, Cell)> = None;
            let mut cell = |t: i64| {
                if numeric {
                    return Cell::Long(t);
                }
                if let Some((before, cell)) = last
                    && before == t
                {
                    return cell;
                }
                let text = format_timestamp(t);
                let cell = batch.text(if date { text.split('T').next().unwrap_or(&text) } else { &text });
                last = Some((t, cell));
                cell
            };
            return rows.iter().map(|row| instants[*row as usize].map_or(Cell::Null, &mut cell)).collect();
        }
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                pick(array, rows, |row| Cell::Bool(values.value(row)))
            }
            DataType::Int8 => longs::<Int8Type>(array, rows),
            DataType::Int16 => longs::<Int16Type>(array, rows),
            DataType::Int32 => longs::<Int32Type>(array, rows),
            DataType::Int64 => longs::<Int64Type>(array, rows),
            DataType::UInt8 => longs::<UInt8Type>(array, rows),
            DataType::UInt16 => longs::<UInt16Type>(array, rows),
            DataType::UInt32 => longs::<UInt32Type>(array, rows),
            DataType::UInt64 => {
                let values = array.as_primitive::<UInt64Type>();
                pick(array, rows, |row| match i64::try_from(values.value(row)) {
                    Ok(n) => Cell::Long(n),
                    Err(_) => Cell::Double(values.value(row) as f64),
                })
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>();
                pick(array, rows, |row| Cell::Double(f64::from(values.value(row))))
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>();
                pick(array, rows, |row| Cell::Double(values.value(row)))
            }
            DataType::Decimal128(_, scale) => {
                let values = array.as_primitive::<Decimal128Type>();
                let unit = 10f64.powi(i32::from(*scale));
                pick(array, rows, |row| Cell::Double(values.value(row) as f64 / unit))
            }
            DataType::Utf8 => {
                let values = array.as_string::<i32>();
                texts(array, rows, |row| values.value(row), batch)
            }
            DataType::LargeUtf8 => {
                let values = array.as_string::<i64>();
                texts(array, rows, |row| values.value(row), batch)
            }
            DataType::Utf8View => {
                let values = array.as_string_view();
                texts(array, rows, |row| values.value(row), batch)
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                pick_with(array, rows, |row| self.bytes(values.value(row), batch))
            }
            DataType::LargeBinary => {
                let values = array.as_binary::<i64>();
                pick_with(array, rows, |row| self.bytes(values.value(row), batch))
            }
            DataType::FixedSizeBinary(_) => {
                let values = array.as_fixed_size_binary();
                pick_with(array, rows, |row| self.bytes(values.value(row), batch))
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                pick_with(array, rows, |row| {
                    let values = lists.value(row);
                    let all: Vec<u32> = (0..values.len() as u32).collect();
                    let cells = self.cells(&values, &all, numeric, batch);
                    batch.list(&cells)
                })
            }
            _ => vec![Cell::Null; rows.len()],
        }
    }

    fn bytes(&self, bytes: &[u8], batch: &mut RowBatch) -> Cell {
        if self.format.binary_as_text {
            return batch.text(&String::from_utf8_lossy(bytes));
        }
        batch.text_with(|arena| base64(bytes, arena))
    }
}

/// The array of a column, or of a field of the structs below it.
fn array_of(records: &RecordBatch, read: &Read) -> Option<ArrayRef> {
    let mut array = records.column(read.column).clone();
    for key in &read.keys {
        let fields: &StructArray = array.as_struct_opt()?;
        let child = fields.column_by_name(key)?.clone();
        array = match fields.nulls() {
            // A null struct has null fields, whatever stands below.
            Some(_) => arrow::array::make_array(
                child
                    .to_data()
                    .into_builder()
                    .nulls(arrow::buffer::NullBuffer::union(fields.nulls(), child.nulls()))
                    .build()
                    .ok()?,
            ),
            None => child,
        };
    }
    Some(array)
}

fn pick(array: &ArrayRef, rows: &[u32], cell: impl Fn(usize) -> Cell) -> Vec<Cell> {
    pick_with(array, rows, cell)
}

fn pick_with(array: &ArrayRef, rows: &[u32], mut cell: impl FnMut(usize) -> Cell) -> Vec<Cell> {
    if array.null_count() == 0 {
        return rows.iter().map(|row| cell(*row as usize)).collect();
    }
    rows.iter().map(|row| if array.is_null(*row as usize) { Cell::Null } else { cell(*row as usize) }).collect()
}

fn longs<T: ArrowPrimitiveType>(array: &ArrayRef, rows: &[u32]) -> Vec<Cell>
where
    T::Native: Into<i64>,
{
    let values = array.as_primitive::<T>();
    pick(array, rows, |row| Cell::Long(values.value(row).into()))
}

fn texts<'a>(array: &ArrayRef, rows: &[u32], text: impl Fn(usize) -> &'a str, batch: &mut RowBatch) -> Vec<Cell> {
    pick_with(array, rows, |row| batch.text(text(row)))
}

/// Milliseconds of a column of dates or timestamps.
fn instants(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef, millis: impl Fn(T::Native) -> i64) -> Option<Vec<Option<i64>>> {
        Some(array.as_primitive::<T>().iter().map(|v| v.map(&millis)).collect())
    }
    match array.data_type() {
        DataType::Date32 => of::<Date32Type>(array, |days| i64::from(days) * 86_400_000),
        DataType::Date64 => of::<Date64Type>(array, |millis| millis),
        DataType::Timestamp(TimeUnit::Second, _) => of::<TimestampSecondType>(array, |s| s.saturating_mul(1000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => of::<TimestampMillisecondType>(array, |millis| millis),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            of::<TimestampMicrosecondType>(array, |us| us.div_euclid(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            of::<TimestampNanosecondType>(array, |ns| ns.div_euclid(1_000_000))
        }
        _ => None,
    }
}

fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * i) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
}
