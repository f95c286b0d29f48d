//! A statement over Flight: its ticket, its rows on their way, and its errors.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow_flight::Ticket;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use query_sql::{Batches, Format, Parameter};
use segment::Kind;
use serde_json::{Map, Value, json};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::super::App;
use super::super::sql::{Request as Asked, begin, error_body, measured};
use super::{Rows, broken, invalid};
use crate::auth::Caller;

/// Rows of a message at most.
const MESSAGE_ROWS: usize = 64 << 10;

/// Bytes at which a message is full; a larger one has one row. Clients take 4 MiB.
const MESSAGE_BYTES: usize = 1 << 20;

/// Where the whole of an error stands among the trailers of a call: Druid's JSON.
const ERROR_TRAILER: &str = "druid-error-bin";

/// Errors travel as headers, of which clients take 8 KiB in all, written longer than they are.
const ERROR_BYTES_MAX: usize = 3 << 10;

/// A statement with an id of its own, unless the context gives one.
pub fn asked(text: String, mut context: Map<String, Value>) -> Asked {
    if context.get("sqlQueryId").and_then(Value::as_str).is_none_or(str::is_empty) {
        context.insert("sqlQueryId".into(), json!(uuid::Uuid::new_v4().to_string()));
    }
    Asked { text, format: Format::default(), context, parameters: Vec::new() }
}

/// The ticket is all that is known of the statement.
pub fn ticket(asked: &Asked) -> Ticket {
    let parameter = |of: &Parameter| json!({"type": of.sql_type, "value": of.value});
    let parameters: Vec<Value> = asked.parameters.iter().map(parameter).collect();
    let said = json!({"query": asked.text, "context": asked.context, "parameters": parameters});
    let ticket = TicketStatementQuery { statement_handle: said.to_string().into() };
    Ticket::new(ticket.as_any().encode_to_vec())
}

/// The statement of a ticket that somebody hands in.
pub fn read(handle: &[u8]) -> Result<Asked, Status> {
    let said: Value =
        serde_json::from_slice(handle).map_err(|error| invalid(format!("the ticket cannot be read: {error}")))?;
    Asked::of_json(&said).map_err(|(_, message)| invalid(message))
}

/// Runs a statement up to its first rows; the others are made as they are read. Dropping them ends it.
pub async fn rows(app: &Arc<App>, caller: &Caller, asked: &Asked) -> Result<Rows, Status> {
    let query_id = asked.query_id();
    let begun = measured(app, &query_id, || first(app, caller, asked, &query_id)).await;
    let (schema, batches) = begun.map_err(|error| status(app, &error))?;
    let app = app.clone();
    Ok(encoded(schema, batches, move |error| {
        tracing::warn!(%error, "a query failed after its first row");
        status(&app, &error)
    }))
}

/// What fails before the first rows fails the call, and is mended and asked anew if it can be.
async fn first(app: &App, caller: &Caller, asked: &Asked, query_id: &str) -> query_sql::Result<(SchemaRef, Batches)> {
    let (schema, mut batches) = begin(app, caller, asked, query_id).await?.arrow();
    let batches = match batches.next().await {
        None => stream::empty().boxed(),
        Some(batch) => stream::iter([Ok(batch?)]).chain(batches).boxed(),
    };
    Ok((schema, batches))
}

/// A batch that is whole already.
pub fn encoded_one(batch: RecordBatch) -> Rows {
    encoded(batch.schema(), stream::iter([Ok(batch)]).boxed(), broken)
}

fn encoded(
    schema: SchemaRef,
    batches: Batches,
    refused: impl Fn(query_sql::Error) -> Status + Send + Sync + 'static,
) -> Rows {
    let parts = batches
        .map_err(move |error| FlightError::from(refused(error)))
        .map_ok(|batch| stream::iter(parts(batch).map(Ok)))
        .try_flatten();
    // The parts are cut already, and by what they hold themselves.
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX);
    encoder.build(parts).map_err(Status::from).boxed()
}

/// A batch in parts of a message each, made as they are asked for.
fn parts(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = batch.num_rows() - at;
        if left == 0 {
            return None;
        }
        let mut rows = left.min(MESSAGE_ROWS);
        let bytes = |rows: usize| batch.columns().iter().map(|column| held(column.as_ref(), at, rows)).sum::<usize>();
        while rows > 1 && bytes(rows) > MESSAGE_BYTES {
            rows = rows.div_ceil(2);
        }
        at += rows;
        Some(batch.slice(at - rows, rows))
    })
}

/// Bytes of some values of a column.
fn held(column: &dyn Array, at: usize, rows: usize) -> usize {
    let span = |start: i64, end: i64| usize::try_from(end - start).unwrap_or_default();
    match column.data_type() {
        DataType::Utf8 => {
            let offsets = column.as_string::<i32>().value_offsets();
            span(offsets[at].into(), offsets[at + rows].into()) + rows * 4
        }
        DataType::LargeUtf8 => {
            let offsets = column.as_string::<i64>().value_offsets();
            span(offsets[at], offsets[at + rows]) + rows * 8
        }
        DataType::Binary => {
            let offsets = column.as_binary::<i32>().value_offsets();
            span(offsets[at].into(), offsets[at + rows].into()) + rows * 4
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let offsets = list.value_offsets();
            let (start, end) = (offsets[at] as usize, offsets[at + rows] as usize);
            held(list.values().as_ref(), start, end - start) + rows * 4
        }
        other => rows * other.primitive_width().unwrap_or(1),
    }
}

/// An error in gRPC's terms: its message is Druid's `errorMessage`, the whole of it stands in a trailer.
pub fn status(app: &App, error: &query_sql::Error) -> Status {
    let code = match error.kind() {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Denied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Busy => Code::ResourceExhausted,
        Kind::Timeout => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unavailable => Code::Unavailable,
        Kind::Corrupt => Code::DataLoss,
        Kind::Bug => Code::Internal,
    };
    let (_, body) = error_body(app, error);
    let mut message = body["errorMessage"].as_str().map_or_else(|| error.to_string(), str::to_string);
    let body = body.to_string();
    let whole = body.len() <= ERROR_BYTES_MAX;
    if message.len() > ERROR_BYTES_MAX / 2 {
        message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX / 2));
        message.push('…');
    }
    let mut status = Status::new(code, message);
    if whole {
        status.metadata_mut().insert_bin(ERROR_TRAILER, MetadataValue::from_bytes(body.as_bytes()));
    }
    status
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Whatever the rows are like, the parts are the batch, and none is larger than a message unless it is one row.
    #[test]
    fn parts_of_a_batch_are_bounded_and_whole() {
        let texts = (0..3_000).map(|n| "x".repeat(if n % 1_000 == 7 { MESSAGE_BYTES * 2 } else { n }));
        let lists = (0..3_000i64).map(|n| Some((0..n % 50).map(Some).collect::<Vec<_>>()));
        let batch = RecordBatch::try_from_iter([
            ("t", Arc::new(StringArray::from_iter_values(texts)) as Arc<dyn Array>),
            ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)) as _),
            ("n", Arc::new(Int64Array::from_iter_values(0..3_000)) as _),
        ])
        .unwrap();
        let all: Vec<RecordBatch> = parts(batch.clone()).collect();
        assert_eq!(arrow::compute::concat_batches(&batch.schema(), &all).unwrap(), batch);
        for part in &all {
            let bytes: usize = part.columns().iter().map(|column| held(column.as_ref(), 0, part.num_rows())).sum();
            assert!(part.num_rows() == 1 || bytes <= MESSAGE_BYTES, "{} rows of {bytes} bytes", part.num_rows());
        }
        assert!((8..60).contains(&all.len()), "{} parts", all.len());
    }

    #[test]
    fn a_ticket_says_the_whole_statement() {
        let mut said = asked("SELECT ?".into(), json!({"timeout": 7}).as_object().unwrap().clone());
        said.parameters = vec![Parameter { sql_type: "BIGINT".into(), value: json!(3) }];
        let any = arrow_flight::sql::Any::decode(&*ticket(&said).ticket).unwrap();
        let handle = any.unpack::<TicketStatementQuery>().unwrap().unwrap().statement_handle;
        let again = read(&handle).unwrap();
        assert_eq!((&again.text, &again.context), (&said.text, &said.context));
        assert_eq!(again.parameters[0].value, json!(3));
    }
}
