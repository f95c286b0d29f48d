//! The values of a prepared statement's `?`: one row of plain columns, in their order.
//!
//! The bytes come from outside: the schema is read field by field, and a batch is decoded only after its lengths were held
//! against the bytes that are there. Dictionaries and compression are refused, so nothing grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use arrow::ipc::{self, MessageHeader};
use arrow_flight::FlightData;
use query_sql::Parameter;
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use super::invalid;

/// Messages that a row of parameters may come in: its schema, the row, and what says nothing.
const MESSAGES_MAX: usize = 8;

/// The columns that a client is told to send for SQL types.
pub fn schema(sql_types: &[String]) -> SchemaRef {
    let field = |(nth, sql_type): (usize, &String)| {
        let data_type = match sql_type.as_str() {
            "BIGINT" | "INTEGER" => DataType::Int64,
            "DOUBLE" => DataType::Float64,
            "FLOAT" => DataType::Float32,
            "BOOLEAN" => DataType::Boolean,
            "TIMESTAMP" | "DATE" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            _ => DataType::Utf8,
        };
        Field::new(format!("?{}", nth + 1), data_type, true)
    };
    Arc::new(Schema::new(sql_types.iter().enumerate().map(field).collect::<Vec<Field>>()))
}

/// What the messages of a row may come to.
const ROW_BYTES_MAX: usize = 16 << 20;

/// How long a client may take to send a row.
const SENDING: Duration = Duration::from_secs(60);

/// All messages of a call that binds.
pub async fn gather(first: FlightData, mut sent: Streaming<FlightData>) -> Result<Vec<FlightData>, Status> {
    let size = |message: &FlightData| message.data_header.len() + message.data_body.len();
    let mut bytes = size(&first);
    let mut data = vec![first];
    let all = async {
        while let Some(message) = sent.message().await? {
            bytes += size(&message);
            if data.len() == MESSAGES_MAX {
                return Err(several());
            }
            if bytes > ROW_BYTES_MAX {
                return Err(Status::resource_exhausted(format!(
                    "parameters: a row may have {ROW_BYTES_MAX} bytes; send less"
                )));
            }
            data.push(message);
        }
        Ok(())
    };
    match tokio::time::timeout(SENDING, all).await {
        Ok(done) => done.map(|()| data),
        Err(_) => Err(Status::deadline_exceeded("parameters: the row did not come within a minute")),
    }
}

fn several() -> Status {
    invalid("parameters are one row; run the statement once for each")
}

fn unreadable(why: impl std::fmt::Display) -> Status {
    invalid(format!("the parameters cannot be read: {why}"))
}

/// The row; none if no row was sent.
pub fn read(data: &[FlightData]) -> Result<Vec<Parameter>, Status> {
    let mut schema: Option<SchemaRef> = None;
    let mut row: Option<RecordBatch> = None;
    for message in data.iter().filter(|message| !message.data_header.is_empty()) {
        let said = ipc::root_as_message(&message.data_header).map_err(unreadable)?;
        match said.header_type() {
            MessageHeader::Schema => {
                let header = said.header_as_schema().ok_or_else(|| unreadable("a schema is missing"))?;
                schema = Some(columns(&header)?);
            }
            MessageHeader::RecordBatch => {
                let header = said.header_as_record_batch().ok_or_else(|| unreadable("a batch is missing"))?;
                let schema = schema.clone().ok_or_else(|| unreadable("the first message must be the schema"))?;
                check(&header, &schema, message.data_body.len())?;
                if header.length() == 0 {
                    continue;
                }
                let body = Buffer::from(message.data_body.clone());
                let batch =
                    ipc::reader::read_record_batch(&body, header, schema, &HashMap::new(), None, &said.version())
                        .map_err(unreadable)?;
                if row.replace(batch).is_some() {
                    return Err(several());
                }
            }
            MessageHeader::DictionaryBatch => return Err(unreadable("send plain columns instead of dictionaries")),
            _ => {}
        }
    }
    let Some(row) = row else { return Ok(Vec::new()) };
    row.columns().iter().enumerate().map(|(idx, column)| parameter(idx, column)).collect()
}

fn columns(schema: &ipc::Schema<'_>) -> Result<SchemaRef, Status> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(unreadable("send little-endian values"));
    }
    let fields = schema.fields().into_iter().flatten().enumerate().map(|(idx, field)| {
        let refuse =
            |what: String| invalid(format!("parameter {} is a {what}; send a number, text, instant or date", idx + 1));
        if field.dictionary().is_some() {
            return Err(refuse("dictionary".into()));
        }
        let unit = |unit: ipc::TimeUnit| match unit {
            ipc::TimeUnit::SECOND => Some(TimeUnit::Second),
            ipc::TimeUnit::MILLISECOND => Some(TimeUnit::Millisecond),
            ipc::TimeUnit::MICROSECOND => Some(TimeUnit::Microsecond),
            ipc::TimeUnit::NANOSECOND => Some(TimeUnit::Nanosecond),
            _ => None,
        };
        let data_type = match field.type_type() {
            ipc::Type::Null => Some(DataType::Null),
            ipc::Type::Bool => Some(DataType::Boolean),
            ipc::Type::Utf8 => Some(DataType::Utf8),
            ipc::Type::LargeUtf8 => Some(DataType::LargeUtf8),
            ipc::Type::Int => field.type_as_int().and_then(|int| match (int.bitWidth(), int.is_signed()) {
                (8, true) => Some(DataType::Int8),
                (16, true) => Some(DataType::Int16),
                (32, true) => Some(DataType::Int32),
                (64, true) => Some(DataType::Int64),
                (8, false) => Some(DataType::UInt8),
                (16, false) => Some(DataType::UInt16),
                (32, false) => Some(DataType::UInt32),
                (64, false) => Some(DataType::UInt64),
                _ => None,
            }),
            ipc::Type::FloatingPoint => field.type_as_floating_point().and_then(|float| match float.precision() {
                ipc::Precision::SINGLE => Some(DataType::Float32),
                ipc::Precision::DOUBLE => Some(DataType::Float64),
                _ => None,
            }),
            // The zone is not needed: a value is the instant itself.
            ipc::Type::Timestamp => {
                field.type_as_timestamp().and_then(|time| Some(DataType::Timestamp(unit(time.unit())?, None)))
            }
            ipc::Type::Date => field.type_as_date().and_then(|date| match date.unit() {
                ipc::DateUnit::DAY => Some(DataType::Date32),
                ipc::DateUnit::MILLISECOND => Some(DataType::Date64),
                _ => None,
            }),
            _ => None,
        };
        let name = field.type_type().variant_name().unwrap_or("value of an unknown type").to_lowercase();
        Ok(Field::new(format!("?{}", idx + 1), data_type.ok_or_else(|| refuse(name))?, true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<Field>, Status>>()?)))
}

/// A batch of one row at most whose buffers lie within its body and hold whole values; the library panics at others.
fn check(batch: &ipc::RecordBatch<'_>, schema: &Schema, body_bytes: usize) -> Result<(), Status> {
    if batch.compression().is_some() {
        return Err(unreadable("send them uncompressed"));
    }
    let rows = batch.length();
    if rows > 1 {
        return Err(several());
    }
    let count = |number: i64| (0..=rows).contains(&number);
    let nodes: Vec<&ipc::FieldNode> = batch.nodes().into_iter().flatten().collect();
    if rows < 0
        || nodes.len() != schema.fields().len()
        || nodes.iter().any(|node| node.length() != rows || !count(node.null_count()))
    {
        return Err(unreadable("the lengths of the columns differ"));
    }
    // Of each buffer the bytes of a value, and how many values it must have: the nulls, and what the type has.
    let shapes = schema.fields().iter().zip(nodes).flat_map(|(field, node)| {
        let nulls = (1, node.null_count());
        match field.data_type() {
            DataType::Null => vec![],
            DataType::Boolean => vec![nulls, (1, rows)],
            DataType::Utf8 => vec![nulls, (size_of::<i32>(), rows * 2), (1, 0)],
            DataType::LargeUtf8 => vec![nulls, (size_of::<i64>(), rows * 2), (1, 0)],
            data_type => vec![nulls, (data_type.primitive_width().unwrap_or(1), rows)],
        }
    });
    let mut shapes = shapes.collect::<Vec<(usize, i64)>>().into_iter();
    for buffer in batch.buffers().into_iter().flatten() {
        let (width, least) = shapes.next().map_or((1, 0), |(width, least)| (width as i64, least));
        if buffer.length() % width != 0 || buffer.length() / width < least {
            return Err(unreadable("a column ends within a value"));
        }
        let start = usize::try_from(buffer.offset()).ok();
        let end =
            usize::try_from(buffer.length()).ok().zip(start).and_then(|(length, start)| start.checked_add(length));
        if end.is_none_or(|end| end > body_bytes) {
            return Err(unreadable("a column is outside the message"));
        }
    }
    Ok(())
}

fn parameter(idx: usize, column: &ArrayRef) -> Result<Parameter, Status> {
    let of = |sql_type: &str, value: Value| Ok(Parameter { sql_type: sql_type.into(), value });
    let to = |data_type: &DataType| {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, data_type, &options)
            .map_err(|error| invalid(format!("parameter {}: {error}", idx + 1)))
    };
    let instant = DataType::Timestamp(TimeUnit::Millisecond, None);
    // An array of type null says of none of its values that it is null.
    let null = column.len() != 1 || column.is_null(0) || *column.data_type() == DataType::Null;
    match column.data_type() {
        DataType::Boolean if null => of("BOOLEAN", Value::Null),
        DataType::Boolean => of("BOOLEAN", json!(column.as_boolean().value(0))),
        data_type if data_type.is_integer() && null => of("BIGINT", Value::Null),
        data_type if data_type.is_integer() => {
            of("BIGINT", json!(to(&DataType::Int64)?.as_primitive::<Int64Type>().value(0)))
        }
        data_type if data_type.is_floating() && null => of("DOUBLE", Value::Null),
        data_type if data_type.is_floating() => {
            let double = to(&DataType::Float64)?.as_primitive::<Float64Type>().value(0);
            match double.is_finite() {
                true => of("DOUBLE", json!(double)),
                false => Err(invalid(format!("parameter {} is {double}, which SQL has no literal for", idx + 1))),
            }
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 if null => of("TIMESTAMP", Value::Null),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            of("TIMESTAMP", json!(to(&instant)?.as_primitive::<TimestampMillisecondType>().value(0)))
        }
        _ if null => of("VARCHAR", Value::Null),
        _ => of("VARCHAR", json!(to(&DataType::Utf8)?.as_string::<i32>().value(0))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, Int32Array, LargeStringArray, NullArray, StringArray, TimestampMicrosecondArray,
    };
    use arrow_flight::utils::batches_to_flight_data;
    use rand::{Rng, SeedableRng};
    use tonic::Code;

    use super::*;

    fn row() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("a", Arc::new(Int32Array::from(vec![-7])) as ArrayRef),
            ("b", Arc::new(StringArray::from(vec!["x'y"])) as _),
            ("c", Arc::new(TimestampMicrosecondArray::from(vec![-1_500]).with_timezone("Asia/Kolkata")) as _),
            ("d", Arc::new(BooleanArray::from(vec![None])) as _),
            ("e", Arc::new(Date32Array::from(vec![2])) as _),
            ("f", Arc::new(LargeStringArray::from(vec!["long"])) as _),
            ("g", Arc::new(NullArray::new(1)) as _),
        ])
        .unwrap()
    }

    #[test]
    fn a_row_becomes_parameters() {
        let batch = row();
        let sent = batches_to_flight_data(&batch.schema(), vec![batch.clone()]).unwrap();
        let read: Vec<(String, Value)> =
            super::read(&sent).unwrap().into_iter().map(|of| (of.sql_type, of.value)).collect();
        let expected = [
            ("BIGINT", json!(-7)),
            ("VARCHAR", json!("x'y")),
            ("TIMESTAMP", json!(-1)),
            ("BOOLEAN", Value::Null),
            ("TIMESTAMP", json!(2 * 86_400_000)),
            ("VARCHAR", json!("long")),
            ("VARCHAR", Value::Null),
        ];
        assert_eq!(read, expected.map(|(sql_type, value)| (sql_type.to_string(), value)));
        let twice = arrow::compute::concat_batches(&batch.schema(), [&batch, &batch]).unwrap();
        let sent = batches_to_flight_data(&batch.schema(), vec![twice]).unwrap();
        assert!(super::read(&sent).unwrap_err().message().contains("one row"));
        let sent = batches_to_flight_data(&batch.schema(), vec![batch.clone(), batch.clone()]).unwrap();
        assert!(super::read(&sent).unwrap_err().message().contains("one row"));
    }

    /// Whatever bytes are bound, they are parameters or refused.
    #[test]
    fn any_bytes_are_parameters_or_refused() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(23);
        let batch = row();
        let good = batches_to_flight_data(&batch.schema(), vec![batch]).unwrap();
        for _ in 0..40_000 {
            let mut data = good.clone();
            let nth = random.next_u32() as usize % data.len();
            let message = &mut data[nth];
            for part in [&mut message.data_header, &mut message.data_body] {
                let mut bytes = part.to_vec();
                for _ in 0..random.next_u32() % 3 {
                    let at = random.next_u32() as usize % bytes.len().max(1);
                    let value = [0, 1, 0x7f, 0x80, 0xff, random.next_u32() as u8][random.next_u32() as usize % 6];
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                if random.next_u32().is_multiple_of(16) {
                    bytes.truncate(random.next_u32() as usize % (bytes.len() + 1));
                }
                *part = bytes.into();
            }
            if let Err(refused) = super::read(&data) {
                assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            }
        }
    }
}
