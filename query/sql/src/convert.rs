//! Between the engine's blocks and Arrow arrays.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float32Array, Float64Array, Int64Array, LargeStringBuilder,
    ListArray, StringBuilder, TimestampMillisecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType};
use segment::block::{Block, Value};
use segment::column::document;
use segment::schema::ValueType;

use crate::error::{Error, Result};

/// The one type that instants have in plans: Druid's TIMESTAMP(3).
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// The one type that JSON documents have in plans; nothing else is of it.
pub const DOCUMENT: DataType = DataType::LargeUtf8;

/// The mark of a text that stands for several values of a multi-value string, in the JSON array that follows it (as in
/// RFC 7464). A text of one value that would be read as several is written as an array of one.
pub const SEVERAL: char = '\u{1e}';

pub fn list_type(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

/// The Arrow type of a column. Documents travel as their text, other complex values as bytes.
pub fn arrow_type(column: &str, value_type: &ValueType) -> DataType {
    match value_type {
        _ if column == segment::schema::TIME => TIMESTAMP,
        ValueType::String => DataType::Utf8,
        ValueType::Long => DataType::Int64,
        ValueType::Float => DataType::Float32,
        ValueType::Double => DataType::Float64,
        ValueType::Array(of) => list_type(arrow_type("", of)),
        json if json.is_json() => DOCUMENT,
        ValueType::Complex(_) => DataType::Binary,
    }
}

fn valid(nulls: Option<Vec<bool>>) -> Option<NullBuffer> {
    nulls.map(|nulls| nulls.iter().map(|null| !null).collect::<Vec<bool>>().into())
}

/// A block as an array of the type that the plan expects there.
pub fn array(block: Block, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match (block, data_type) {
        (Block::Long { values, nulls }, DataType::Int64) => Arc::new(Int64Array::new(values.into(), valid(nulls))),
        (Block::Long { values, nulls }, DataType::Timestamp(TimeUnit::Millisecond, None)) => {
            Arc::new(TimestampMillisecondArray::new(values.into(), valid(nulls)))
        }
        (Block::Double { values, nulls }, DataType::Float64) => {
            Arc::new(Float64Array::new(values.into(), valid(nulls)))
        }
        (Block::Text { values }, DataType::Utf8) if !values.iter().flatten().any(|text| text.starts_with(SEVERAL)) => {
            let bytes = values.iter().flatten().map(|text| text.len()).sum();
            let mut builder = StringBuilder::with_capacity(values.len(), bytes);
            values.iter().for_each(|value| builder.append_option(value.as_deref()));
            Arc::new(builder.finish())
        }
        (block, DataType::Utf8) => {
            let mut builder = StringBuilder::with_capacity(block.len(), block.len() * 8);
            (0..block.len()).for_each(|row| builder.append_option(text(&block.value(row))));
            Arc::new(builder.finish())
        }
        (block, DataType::Int64) => {
            Arc::new((0..block.len()).map(|row| long(&block.value(row))).collect::<Int64Array>())
        }
        (block, DataType::Timestamp(TimeUnit::Millisecond, None)) => {
            Arc::new((0..block.len()).map(|row| long(&block.value(row))).collect::<TimestampMillisecondArray>())
        }
        (block, DataType::Float64) => {
            Arc::new((0..block.len()).map(|row| double(&block.value(row))).collect::<Float64Array>())
        }
        (block, DataType::Float32) => {
            Arc::new((0..block.len()).map(|row| double(&block.value(row)).map(|v| v as f32)).collect::<Float32Array>())
        }
        // What tells grouping sets apart.
        (block, DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64) => {
            let longs = (0..block.len()).map(|row| long(&block.value(row))).collect::<Int64Array>();
            cast(&longs, data_type).map_err(|error| Error::Bug(error.to_string()))?
        }
        (block, DataType::Boolean) => {
            Arc::new((0..block.len()).map(|row| truth(&block.value(row))).collect::<BooleanArray>())
        }
        (block, DataType::Binary) => {
            let mut builder = BinaryBuilder::new();
            for row in 0..block.len() {
                match block.value(row) {
                    Value::Bytes(bytes) => builder.append_value(bytes),
                    Value::Text(text) => builder.append_value(text.as_bytes()),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        (block, DataType::LargeUtf8) => {
            let mut builder = LargeStringBuilder::new();
            for row in 0..block.len() {
                builder.append_option(document::write(&block.value(row), &ValueType::json()));
            }
            Arc::new(builder.finish())
        }
        (block, DataType::List(field)) => {
            let mut items = Vec::new();
            let mut lengths = Vec::with_capacity(block.len());
            let mut valid = Vec::with_capacity(block.len());
            for row in 0..block.len() {
                let before = items.len();
                match block.value(row) {
                    Value::Null => {}
                    Value::List(values) => items.extend(values),
                    one => items.push(one),
                }
                lengths.push(items.len() - before);
                valid.push(!matches!(block.value(row), Value::Null));
            }
            let items = array(Block::Any { values: items }, field.data_type())?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(field.clone(), offsets, items, Some(valid.into())))
        }
        (block, DataType::Null) => new_null_array(&DataType::Null, block.len()),
        (_, other) => return Err(Error::Bug(format!("no block becomes an array of {other}"))),
    })
}

/// The text of a value; a list (a multi-value string) becomes a JSON array.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Long(long) => Some(long.to_string()),
        Value::Double(double) => Some(format!("{double:?}")),
        Value::Text(text) if values_of(text).is_some() => several(std::slice::from_ref(value)),
        Value::Text(text) => Some(text.to_string()),
        Value::List(values) => match values.as_slice() {
            [] => None,
            [one] => text(one),
            many => several(many),
        },
        Value::Json(text) => Some(text.to_string()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn several(values: &[Value]) -> Option<String> {
    // Within the list a text that could be a list is a text like any other.
    let plain = |value: &Value| match value {
        Value::Text(text) => Some(text.to_string()),
        value => text(value),
    };
    let texts: Vec<Option<String>> = values.iter().map(plain).collect();
    Some(format!("{SEVERAL}{}", serde_json::Value::from(texts)))
}

/// The values of a text that stands for several; `None` for any other text.
pub fn values_of(text: &str) -> Option<Vec<Option<String>>> {
    let list = text.strip_prefix(SEVERAL).filter(|list| list.starts_with('['))?;
    serde_json::from_str(list).ok()
}

/// What a text of a plan stands for: itself, or several values.
pub fn value_of(text: &str) -> Value {
    let value = |text: Option<String>| text.map_or(Value::Null, |text| Value::text(&text));
    match values_of(text) {
        Some(mut values) if values.len() == 1 => value(values.remove(0)),
        Some(values) => Value::List(values.into_iter().map(value).collect()),
        None => Value::text(text),
    }
}

/// The one text that a text of a plan stands for; several values stay as they are.
pub fn plain(text: &str) -> Cow<'_, str> {
    match values_of(text).as_deref() {
        Some([Some(one)]) => Cow::Owned(one.clone()),
        _ => Cow::Borrowed(text),
    }
}

fn long(value: &Value) -> Option<i64> {
    match value {
        Value::Long(long) => Some(*long),
        Value::Double(double) if double.is_finite() => Some(*double as i64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Long(long) => Some(*long as f64),
        Value::Double(double) => Some(*double),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Long(long) => Some(*long != 0),
        Value::Double(double) => Some(*double != 0.0),
        Value::Text(text) => Some(text.eq_ignore_ascii_case("true")),
        // A test of several values holds if it holds for one of them.
        Value::List(values) => Some(values.iter().any(|value| truth(value) == Some(true))),
        _ => None,
    }
}

fn nulls(array: &dyn Array) -> Option<Vec<bool>> {
    match array.null_count() {
        0 => None,
        _ => Some((0..array.len()).map(|row| array.is_null(row)).collect()),
    }
}

/// An array as a block that expressions compute on.
pub fn block(array: &ArrayRef) -> Result<Block> {
    Ok(match array.data_type() {
        DataType::Int64 => {
            Block::Long { values: array.as_primitive::<Int64Type>().values().to_vec(), nulls: nulls(array) }
        }
        DataType::Timestamp(TimeUnit::Millisecond, None) => {
            let values = array.as_primitive::<TimestampMillisecondType>().values().to_vec();
            Block::Long { values, nulls: nulls(array) }
        }
        DataType::Float64 => {
            Block::Double { values: array.as_primitive::<Float64Type>().values().to_vec(), nulls: nulls(array) }
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values().iter().map(|value| *value as f64).collect();
            Block::Double { values, nulls: nulls(array) }
        }
        DataType::Utf8 if array.as_string::<i32>().iter().flatten().any(|text| text.starts_with(SEVERAL)) => {
            let values = array.as_string::<i32>().iter().map(|text| text.map_or(Value::Null, value_of)).collect();
            Block::Any { values }
        }
        DataType::Utf8 => {
            Block::Text { values: array.as_string::<i32>().iter().map(|value| value.map(Arc::from)).collect() }
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            Block::Long {
                values: (0..values.len()).map(|row| i64::from(!values.is_null(row) && values.value(row))).collect(),
                nulls: nulls(array),
            }
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Block::Any {
                values: values.iter().map(|text| text.map_or(Value::Null, |text| Value::Json(text.into()))).collect(),
            }
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let items = block(lists.values())?;
            let list = |row: usize| match lists.is_null(row) {
                true => Value::Null,
                false => {
                    let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
                    Value::List(range.map(|item| items.value(item)).collect())
                }
            };
            Block::Any { values: (0..lists.len()).map(list).collect() }
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>();
            let values = bytes.iter().map(|bytes| bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.into())));
            Block::Any { values: values.collect() }
        }
        DataType::Null => Block::Any { values: vec![Value::Null; array.len()] },
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => block(&cast(array, &DataType::Int64).map_err(|error| Error::Bug(error.to_string()))?)?,
        DataType::Utf8View => block(&cast(array, &DataType::Utf8).map_err(|error| Error::Bug(error.to_string()))?)?,
        other => {
            return Err(Error::Unsupported(format!("values of type {other} cannot be an argument of this function")));
        }
    })
}
