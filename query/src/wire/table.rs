//! Tables as bytes: one batch in Arrow's IPC streaming format. Longs, doubles and texts are columns of these; what is mixed, or
//! lists, is binary, each value as [`Value::write`] writes it. A column's type is in its field's metadata, and what else
//! is said of a table in the schema's.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, RecordBatchOptions,
};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use segment::block::{Block, Value};
use segment::schema::ValueType;

use super::frame::broken;
use crate::error::{Error, Result};
use crate::table::Table;

const TYPE: &str = "type";
const SAID: &str = "said";

/// Writes a table, and what is said of it.
pub fn write(table: &Table, said: &str) -> Result<Vec<u8>> {
    let failed = |error: ArrowError| Error::Bug(format!("a table cannot be written: {error}"));
    let mut fields = Vec::with_capacity(table.columns.len());
    let mut arrays = Vec::with_capacity(table.columns.len());
    for (name, value_type, block) in &table.columns {
        let array = array(block);
        let meta = HashMap::from([(TYPE.to_string(), value_type.druid_name())]);
        fields.push(Field::new(name, array.data_type().clone(), true).with_metadata(meta));
        arrays.push(array);
    }
    let meta = HashMap::from([(SAID.to_string(), said.to_string())]);
    let schema = Arc::new(Schema::new_with_metadata(fields, meta));
    let options = RecordBatchOptions::new().with_row_count(Some(table.rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(failed)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn array(block: &Block) -> ArrayRef {
    let nulls = |nulls: &Option<Vec<bool>>| {
        nulls.as_ref().map(|nulls| NullBuffer::from(nulls.iter().map(|null| !null).collect::<Vec<bool>>()))
    };
    match block {
        Block::Long { values, nulls: n } => Arc::new(Int64Array::new(values.clone().into(), nulls(n))),
        Block::Double { values, nulls: n } => Arc::new(Float64Array::new(values.clone().into(), nulls(n))),
        Block::Text { values } => Arc::new(values.iter().map(Option::as_deref).collect::<LargeStringArray>()),
        Block::Any { values } => {
            let bytes = |value: &Value| {
                let mut bytes = Vec::new();
                value.write(&mut bytes);
                bytes
            };
            Arc::new(LargeBinaryArray::from_iter_values(values.iter().map(bytes)))
        }
    }
}

/// Reads a table, and what is said of it.
pub fn read(bytes: &[u8]) -> Result<(Table, String)> {
    // Arrow checks what it reads, but not all of it without a panic.
    match catch_unwind(AssertUnwindSafe(|| read_batch(bytes))) {
        Ok(read) => read,
        Err(_) => Err(broken("a table is damaged")),
    }
}

fn read_batch(bytes: &[u8]) -> Result<(Table, String)> {
    // Unlike a reader, a decoder believes no length before the bytes are there.
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from(bytes);
    let batch = decoder.decode(&mut rest).map_err(broken)?.ok_or_else(|| broken("a table is cut"))?;
    let schema = batch.schema();
    let said = schema.metadata().get(SAID).cloned().unwrap_or_default();
    let mut table = Table { columns: Vec::with_capacity(batch.num_columns()), rows: batch.num_rows() };
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let value_type = field.metadata().get(TYPE).and_then(|name| ValueType::from_druid_name(name));
        let value_type = value_type.ok_or_else(|| broken("a column has no type"))?;
        table.columns.push((field.name().clone(), value_type, block(array)?));
    }
    Ok((table, said))
}

fn block(array: &ArrayRef) -> Result<Block> {
    let nulls = || {
        let nulls: Option<Vec<bool>> = array.nulls().map(|nulls| nulls.iter().map(|valid| !valid).collect());
        nulls.filter(|nulls| nulls.contains(&true))
    };
    let wrong = || broken("a column is of another type than it says");
    let any = array.as_any();
    Ok(match array.data_type() {
        DataType::Int64 => {
            let values = any.downcast_ref::<Int64Array>().ok_or_else(wrong)?;
            Block::Long { values: values.values().to_vec(), nulls: nulls() }
        }
        DataType::Float64 => {
            let values = any.downcast_ref::<Float64Array>().ok_or_else(wrong)?;
            Block::Double { values: values.values().to_vec(), nulls: nulls() }
        }
        DataType::LargeUtf8 => {
            let values = any.downcast_ref::<LargeStringArray>().ok_or_else(wrong)?;
            Block::Text { values: values.iter().map(|text| text.map(Arc::from)).collect() }
        }
        DataType::LargeBinary => {
            let values = any.downcast_ref::<LargeBinaryArray>().ok_or_else(wrong)?;
            let value = |bytes: Option<&[u8]>| bytes.and_then(Value::read).ok_or_else(|| broken("a value is damaged"));
            Block::Any { values: values.iter().map(value).collect::<Result<_>>()? }
        }
        _ => return Err(wrong()),
    })
}
