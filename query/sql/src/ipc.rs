//! Answers as Arrow IPC streams: for readers of Arrow, and as the pages that results are kept in.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use futures::stream::{BoxStream, StreamExt};
use query::ResponseContext;
use segment::time::Zone;

use crate::convert::SEVERAL;
use crate::error::{Error, Result};
use crate::respond::shown;
use crate::{Batches, SqlAnswer, SqlColumn};

/// The media type of an IPC stream.
pub const CONTENT_TYPE: &str = "application/vnd.apache.arrow.stream";

/// A stream under way; its bytes are taken as they come.
pub struct Encoder {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
}

impl Encoder {
    /// Begins with the schema.
    pub fn new(schema: SchemaRef) -> Result<Encoder> {
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(unwritten)?;
        Ok(Encoder { writer, schema })
    }

    /// Takes a batch whose columns are those of the schema, or can be cast to them.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&fit(batch, &self.schema)?).map_err(unwritten)
    }

    /// Writes the end of the stream.
    pub fn finish(&mut self) -> Result<()> {
        self.writer.finish().map_err(unwritten)
    }

    pub fn bytes(&self) -> usize {
        self.writer.get_ref().len()
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}

fn unwritten(error: arrow::error::ArrowError) -> Error {
    Error::Bug(format!("an answer cannot be written as Arrow: {error}"))
}

/// The schema that readers of Arrow see: instants are of the zone, everything else is of the SQL type.
pub fn outer(columns: &[SqlColumn], inner: &Schema, zone: &Zone) -> SchemaRef {
    let fields = columns.iter().zip(inner.fields()).map(|(column, field)| {
        let data_type = match field.data_type() {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                DataType::Timestamp(TimeUnit::Millisecond, Some(zone.name().into()))
            }
            DataType::UInt64 => DataType::Int64,
            DataType::Decimal128(..) | DataType::Decimal256(..) => DataType::Float64,
            DataType::Utf8View => DataType::Utf8,
            other => other.clone(),
        };
        Field::new(&column.name, data_type, true).with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| column_of(column, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options).map_err(unwritten)
}

fn column_of(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if let DataType::Timestamp(TimeUnit::Millisecond, zone @ Some(_)) = data_type {
        // A cast would read the instants as local ones.
        let instants = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None)).map_err(unwritten)?;
        let instants = instants.as_primitive::<TimestampMillisecondType>().clone();
        return Ok(Arc::new(instants.with_timezone_opt(zone.clone())));
    }
    if column.data_type() == data_type { Ok(column.clone()) } else { cast(column, data_type).map_err(unwritten) }
}

/// Several values of a multi-value string as their JSON array, as the other formats show them.
pub fn show(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            if !texts.iter().flatten().any(|text| text.starts_with(SEVERAL)) {
                return column.clone();
            }
            let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
            texts.iter().for_each(|text| builder.append_option(text.map(shown)));
            Arc::new(builder.finish()) as ArrayRef
        }
        _ => column.clone(),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options).map_err(unwritten)
}

/// A part of an answer: an IPC stream of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub rows: usize,
    pub bytes: Vec<u8>,
}

/// Bytes at which a page ends whatever its rows: it bounds the memory of writing and of reading one.
const PAGE_BYTES_MAX: usize = 64 << 20;

impl SqlAnswer {
    /// The answer as readers of Arrow see it: every batch is of the schema.
    pub fn arrow(self) -> (SchemaRef, Batches) {
        let schema = outer(&self.columns, &self.schema, &self.zone);
        let shape = schema.clone();
        let batches = self.batches.map(move |batch| fit(&show(&batch?)?, &shape)).boxed();
        (schema, batches)
    }

    /// What a page without rows would be.
    pub fn no_rows(&self) -> Result<Vec<u8>> {
        let mut encoder = Encoder::new(self.schema.clone())?;
        encoder.finish()?;
        Ok(encoder.take())
    }

    /// The answer in pages of so many rows; less where rows are large. None if there is no row.
    pub fn pages(self, rows_max: usize) -> BoxStream<'static, Result<Page>> {
        struct State {
            batches: Batches,
            schema: SchemaRef,
            rest: Option<RecordBatch>,
        }
        let rows_max = rows_max.max(1);
        // Asked once more after the last page.
        let state = State { batches: self.batches.fuse().boxed(), schema: self.schema, rest: None };
        futures::stream::try_unfold(state, move |mut state| async move {
            let mut encoder = Encoder::new(state.schema.clone())?;
            let mut rows = 0;
            while rows < rows_max && encoder.bytes() < PAGE_BYTES_MAX {
                let batch = match state.rest.take() {
                    Some(rest) => rest,
                    None => match state.batches.next().await {
                        Some(batch) => batch?,
                        None => break,
                    },
                };
                let taken = batch.num_rows().min(rows_max - rows);
                encoder.write(&batch.slice(0, taken))?;
                rows += taken;
                if taken < batch.num_rows() {
                    state.rest = Some(batch.slice(taken, batch.num_rows() - taken));
                }
            }
            if rows == 0 {
                return Ok(None);
            }
            encoder.finish()?;
            Ok(Some((Page { rows, bytes: encoder.take() }, state)))
        })
        .boxed()
    }

    /// The answer that pages are of; the first tells the types. `zone` and `stringify_arrays` are those it was asked with.
    pub fn of_pages(
        columns: Vec<SqlColumn>,
        first: Vec<u8>,
        others: BoxStream<'static, Result<Vec<u8>>>,
        zone: Zone,
        stringify_arrays: bool,
    ) -> Result<SqlAnswer> {
        let (schema, first) = read(first)?;
        let others = others.map(|page| match page.and_then(read) {
            Ok((_, batches)) => futures::stream::iter(batches.into_iter().map(Ok)).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        });
        let batches = futures::stream::iter(first.into_iter().map(Ok)).chain(others.flatten()).boxed();
        let context = ResponseContext::default();
        let (query_id, datasources, terms) = Default::default();
        Ok(SqlAnswer { columns, query_id, datasources, terms, context, batches, schema, zone, stringify_arrays })
    }
}

fn read(page: Vec<u8>) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let broken = |error: arrow::error::ArrowError| Error::Bug(format!("a kept page cannot be read: {error}"));
    let reader = StreamReader::try_new(Cursor::new(page), None).map_err(broken)?;
    let schema = reader.schema();
    let batches = reader.map(|batch| batch.map_err(broken)).collect::<Result<_>>()?;
    Ok((schema, batches))
}
