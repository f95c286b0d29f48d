//! The answer as bytes, in the five result formats of Druid's SQL endpoint, and in Arrow's.

use std::borrow::Cow;
use std::str::FromStr;

use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StringArray, StringViewArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{BoxStream, StreamExt};
use segment::time::{Zone, write_timestamp_in};

use crate::convert::{SEVERAL, plain, values_of};
use crate::error::{Error, Result};
use crate::ipc;
use crate::{Batches, SqlAnswer, SqlColumn};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResultFormat {
    #[default]
    Object,
    Array,
    ObjectLines,
    ArrayLines,
    Csv,
    /// An Arrow IPC stream: Henge's own. Headers do not apply, the stream has its schema.
    Arrow,
}

impl ResultFormat {
    pub fn name(self) -> &'static str {
        match self {
            ResultFormat::Object => "object",
            ResultFormat::Array => "array",
            ResultFormat::ObjectLines => "objectLines",
            ResultFormat::ArrayLines => "arrayLines",
            ResultFormat::Csv => "csv",
            ResultFormat::Arrow => "arrow",
        }
    }

    /// The media type of an answer; Druid gives all its formats the one.
    pub fn content_type(self) -> &'static str {
        match self {
            ResultFormat::Arrow => ipc::CONTENT_TYPE,
            _ => "application/json",
        }
    }
}

impl FromStr for ResultFormat {
    type Err = Error;

    /// Any case.
    fn from_str(text: &str) -> Result<ResultFormat> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "object" => ResultFormat::Object,
            "array" => ResultFormat::Array,
            "objectlines" => ResultFormat::ObjectLines,
            "arraylines" => ResultFormat::ArrayLines,
            "csv" => ResultFormat::Csv,
            "arrow" => ResultFormat::Arrow,
            _ => {
                return Err(Error::invalid(format!(
                    "resultFormat [{text}] is unknown; use object, array, objectLines, arrayLines, csv or arrow"
                )));
            }
        })
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Default)]
pub struct Format {
    pub result_format: ResultFormat,
    pub header: bool,
    pub types_header: bool,
    pub sql_types_header: bool,
}

/// Bytes that are gathered before they are handed on: fewer, larger writes.
const CHUNK_BYTES: usize = 64 << 10;

/// Writes the five formats that are text.
struct Text {
    format: Format,
    columns: Vec<SqlColumn>,
    /// `"name":` of each column, as JSON.
    keys: Vec<Vec<u8>>,
    zone: Zone,
    stringify_arrays: bool,
    /// Whether an element was written that the next is separated from.
    begun: bool,
}

/// Bytes of a whole response. An error ends the stream without the mark that tells a complete answer.
pub fn body(answer: SqlAnswer, format: Format) -> BoxStream<'static, Result<Vec<u8>>> {
    let SqlAnswer { columns, batches, schema, zone, stringify_arrays, .. } = answer;
    let mut out = Vec::with_capacity(1024);
    let writer = match format.result_format {
        ResultFormat::Arrow => match ipc::Encoder::new(ipc::outer(&columns, &schema, &zone)) {
            Ok(encoder) => Writer::Arrow(Box::new(encoder)),
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        },
        _ => {
            let keys = columns.iter().map(|column| {
                let mut key = Vec::new();
                json_text(&column.name, &mut key);
                key.push(b':');
                key
            });
            let keys = keys.collect();
            let mut text = Text { format, columns, keys, zone, stringify_arrays, begun: false };
            text.start(&mut out);
            Writer::Text(Box::new(text))
        }
    };
    struct State {
        writer: Writer,
        batches: Batches,
        out: Vec<u8>,
        done: bool,
    }
    let state = State { writer, batches, out, done: false };
    futures::stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        loop {
            let written = match state.batches.next().await {
                Some(Ok(batch)) => state.writer.batch(&batch, &mut state.out),
                Some(Err(error)) => Err(error),
                None => {
                    state.done = true;
                    state.writer.end(&mut state.out)
                }
            };
            if let Err(error) = written {
                state.done = true;
                return Some((Err(error), state));
            }
            if state.done || state.out.len() >= CHUNK_BYTES {
                let chunk = std::mem::take(&mut state.out);
                return Some((Ok(chunk), state));
            }
        }
    })
    .boxed()
}

enum Writer {
    Text(Box<Text>),
    Arrow(Box<ipc::Encoder>),
}

impl Writer {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Writer::Text(text) => text.batch(batch, out),
            Writer::Arrow(encoder) => {
                encoder.write(&ipc::show(batch)?)?;
                out.append(&mut encoder.take());
                Ok(())
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Writer::Text(text) => text.end(out),
            Writer::Arrow(encoder) => {
                encoder.finish()?;
                out.append(&mut encoder.take());
            }
        }
        Ok(())
    }
}

impl Text {
    fn start(&mut self, out: &mut Vec<u8>) {
        if matches!(self.format.result_format, ResultFormat::Object | ResultFormat::Array) {
            out.push(b'[');
        }
        if !self.format.header {
            return;
        }
        match self.format.result_format {
            ResultFormat::Object | ResultFormat::ObjectLines => {
                self.separate(out);
                out.push(b'{');
                for (idx, column) in self.columns.iter().enumerate() {
                    if idx > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&self.keys[idx]);
                    if !self.format.types_header && !self.format.sql_types_header {
                        out.extend_from_slice(b"null");
                        continue;
                    }
                    out.push(b'{');
                    if self.format.types_header {
                        out.extend_from_slice(b"\"type\":");
                        json_text(&column.native_type, out);
                    }
                    if self.format.sql_types_header {
                        if self.format.types_header {
                            out.push(b',');
                        }
                        out.extend_from_slice(b"\"sqlType\":");
                        json_text(&column.sql_type, out);
                    }
                    out.push(b'}');
                }
                out.push(b'}');
                self.finish_line(out);
            }
            _ => {
                let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
                self.header_row(&names, out);
                if self.format.types_header {
                    let types: Vec<String> = self.columns.iter().map(|column| column.native_type.clone()).collect();
                    self.header_row(&types, out);
                }
                if self.format.sql_types_header {
                    let types: Vec<String> = self.columns.iter().map(|column| column.sql_type.clone()).collect();
                    self.header_row(&types, out);
                }
            }
        }
    }

    fn header_row(&mut self, texts: &[String], out: &mut Vec<u8>) {
        if self.format.result_format == ResultFormat::Csv {
            for (idx, text) in texts.iter().enumerate() {
                if idx > 0 {
                    out.push(b',');
                }
                csv_text(text, out);
            }
            out.push(b'\n');
            return;
        }
        self.separate(out);
        out.push(b'[');
        for (idx, text) in texts.iter().enumerate() {
            if idx > 0 {
                out.push(b',');
            }
            json_text(text, out);
        }
        out.push(b']');
        self.finish_line(out);
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        if self.begun && matches!(self.format.result_format, ResultFormat::Object | ResultFormat::Array) {
            out.push(b',');
        }
        self.begun = true;
    }

    fn finish_line(&self, out: &mut Vec<u8>) {
        if matches!(self.format.result_format, ResultFormat::ObjectLines | ResultFormat::ArrayLines) {
            out.push(b'\n');
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        match self.format.result_format {
            ResultFormat::Object | ResultFormat::Array => out.extend_from_slice(b"]\n"),
            // Every line has ended; an answer without lines still has two ends.
            ResultFormat::ObjectLines | ResultFormat::ArrayLines if !self.begun => out.extend_from_slice(b"\n\n"),
            _ => out.push(b'\n'),
        }
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells = batch.columns().iter().map(|column| Cells::new(column.as_ref())).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            match self.format.result_format {
                ResultFormat::Csv => {
                    let start = out.len();
                    for (idx, cells) in cells.iter().enumerate() {
                        if idx > 0 {
                            out.push(b',');
                        }
                        self.csv(cells, row, out);
                    }
                    if cells.len() == 1 && out.len() == start {
                        out.extend_from_slice(b"\"\"");
                    }
                    out.push(b'\n');
                    self.begun = true;
                }
                ResultFormat::Object | ResultFormat::ObjectLines => {
                    self.separate(out);
                    out.push(b'{');
                    for (idx, cells) in cells.iter().enumerate() {
                        if idx > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(&self.keys[idx]);
                        self.json(cells, row, out);
                    }
                    out.push(b'}');
                    self.finish_line(out);
                }
                _ => {
                    self.separate(out);
                    out.push(b'[');
                    for (idx, cells) in cells.iter().enumerate() {
                        if idx > 0 {
                            out.push(b',');
                        }
                        self.json(cells, row, out);
                    }
                    out.push(b']');
                    self.finish_line(out);
                }
            }
        }
        Ok(())
    }

    fn json(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        if cells.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match cells {
            Cells::Null => {}
            Cells::Long(values) => json_number(values.value(row), out),
            Cells::Double(values) => json_double(values.value(row), out),
            Cells::Float(values) => json_float(values.value(row), out),
            Cells::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Cells::Time(values) => {
                out.push(b'"');
                write_timestamp_in(values.value(row), &self.zone, out);
                out.push(b'"');
            }
            Cells::Text(values) => json_text(&shown(values.value(row)), out),
            Cells::LargeText(values) if !self.stringify_arrays => out.extend_from_slice(values.value(row).as_bytes()),
            Cells::LargeText(values) => json_text(values.value(row), out),
            Cells::TextView(values) => json_text(values.value(row), out),
            Cells::Complex(values) => json_text(&quoted(values.value(row)), out),
            Cells::List(values) => {
                let mut inner = Vec::new();
                self.list(values, row, &mut inner);
                match self.stringify_arrays {
                    true => json_text(&String::from_utf8_lossy(&inner), out),
                    false => out.extend_from_slice(&inner),
                }
            }
        }
    }

    fn list(&self, values: &ListArray, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        let items = values.value(row);
        if let Ok(cells) = Cells::new(items.as_ref()) {
            for item in 0..items.len() {
                if item > 0 {
                    out.push(b',');
                }
                self.json(&cells, item, out);
            }
        }
        out.push(b']');
    }

    fn csv(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        if cells.is_null(row) {
            return;
        }
        match cells {
            Cells::Null => {}
            Cells::Text(values) => csv_text(&shown(values.value(row)), out),
            Cells::LargeText(values) => csv_text(values.value(row), out),
            Cells::TextView(values) => csv_text(values.value(row), out),
            Cells::Time(values) => write_timestamp_in(values.value(row), &self.zone, out),
            Cells::Double(values) if !values.value(row).is_finite() => {
                out.extend(not_finite(values.value(row)).bytes())
            }
            Cells::Float(values) if !values.value(row).is_finite() => {
                out.extend(not_finite(f64::from(values.value(row))).bytes());
            }
            Cells::Complex(values) => csv_text(&quoted(values.value(row)), out),
            Cells::List(values) => {
                let mut inner = Vec::new();
                self.list(values, row, &mut inner);
                csv_text(&String::from_utf8_lossy(&inner), out);
            }
            _ => self.json(cells, row, out),
        }
    }
}

/// Whether values of a type have a place in an answer.
pub fn can_show(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) => can_show(field.data_type()),
        DataType::Null | DataType::Boolean | DataType::Binary => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
        DataType::Interval(_) | DataType::Duration(_) | DataType::Time32(_) | DataType::Time64(_) => true,
        other => other.is_numeric(),
    }
}

/// A column, its type looked at once.
pub enum Cells {
    Null,
    Long(Int64Array),
    Double(Float64Array),
    Float(Float32Array),
    Bool(BooleanArray),
    Time(TimestampMillisecondArray),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Complex(arrow::array::BinaryArray),
    List(ListArray),
}

impl Cells {
    pub fn new(array: &dyn Array) -> Result<Cells> {
        let as_type = |data_type: &DataType| {
            cast(array, data_type).map_err(|error| Error::Bug(format!("an output cannot be written: {error}")))
        };
        Ok(match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Int64 => Cells::Long(array.as_primitive().clone()),
            DataType::Float64 => Cells::Double(array.as_primitive().clone()),
            DataType::Float32 => Cells::Float(array.as_primitive().clone()),
            DataType::Boolean => Cells::Bool(array.as_boolean().clone()),
            DataType::Timestamp(TimeUnit::Millisecond, None) => Cells::Time(array.as_primitive().clone()),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                Cells::Time(as_type(&DataType::Timestamp(TimeUnit::Millisecond, None))?.as_primitive().clone())
            }
            DataType::Utf8 => Cells::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Cells::LargeText(array.as_string().clone()),
            DataType::Utf8View => Cells::TextView(array.as_string_view().clone()),
            DataType::Binary => Cells::Complex(array.as_binary().clone()),
            DataType::List(_) => Cells::List(array.as_list().clone()),
            data_type if data_type.is_integer() => Cells::Long(as_type(&DataType::Int64)?.as_primitive().clone()),
            DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Float16 => {
                Cells::Double(as_type(&DataType::Float64)?.as_primitive().clone())
            }
            _ => Cells::Text(as_type(&DataType::Utf8)?.as_string().clone()),
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Null => true,
            Cells::Long(values) => values.is_null(row),
            Cells::Double(values) => values.is_null(row),
            Cells::Float(values) => values.is_null(row),
            Cells::Bool(values) => values.is_null(row),
            Cells::Time(values) => values.is_null(row),
            Cells::Text(values) => values.is_null(row),
            Cells::LargeText(values) => values.is_null(row),
            Cells::TextView(values) => values.is_null(row),
            Cells::Complex(values) => values.is_null(row),
            Cells::List(values) => values.is_null(row),
        }
    }
}

/// Several values of a multi-value string are shown as their JSON array, one value as it is.
pub fn shown(text: &str) -> Cow<'_, str> {
    match values_of(text).as_deref() {
        Some([Some(_)]) => plain(text),
        Some(_) => Cow::Borrowed(text.trim_start_matches(SEVERAL)),
        None => Cow::Borrowed(text),
    }
}

/// A complex value as text: its bytes as a JSON string of base64.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    json_text(&STANDARD.encode(bytes), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

fn json_number(value: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("writing a number to memory cannot fail");
}

fn json_double(value: f64, out: &mut Vec<u8>) {
    match value.is_finite() {
        true => serde_json::to_writer(out, &value).expect("writing a number to memory cannot fail"),
        false => json_text(not_finite(value), out),
    }
}

fn json_float(value: f32, out: &mut Vec<u8>) {
    match value.is_finite() {
        true => serde_json::to_writer(out, &value).expect("writing a number to memory cannot fail"),
        false => json_text(not_finite(f64::from(value)), out),
    }
}

fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

fn csv_text(text: &str, out: &mut Vec<u8>) {
    if !text.contains(['"', ',', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
