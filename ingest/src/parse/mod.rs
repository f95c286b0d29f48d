//! From bytes to rows: one parser per input format, all filling a [`segment::row::RowBatch`].
//!
//! A parser gives each row its time (timestampSpec) and the fields that the dataSchema reads, nothing more. It takes a
//! record whole or not at all; a record that cannot be read is a [`Failure`] with the reason, never an error of the task.
//!
//! Between two `clear`s a batch must be filled by one parser only: it remembers where its fields stand.

pub mod path;
pub mod timestamp;

pub mod json;
pub mod kafka;
pub mod parquet;
mod plan;
pub mod text;

use segment::error::{Error, Result};
use segment::row::RowBatch;

use crate::spec::{DataSchema, InputFormat};
use json::JsonParser;
use kafka::KafkaParser;
use plan::Plan;
use text::TextParser;

/// A message of a stream, or a piece of a file with nothing but `bytes`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// `None` for a tombstone.
    pub bytes: Option<&'a [u8]>,
    pub key: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// The stream's own time of the message.
    pub timestamp: i64,
}

impl<'a> Record<'a> {
    pub fn of(bytes: &'a [u8]) -> Record<'a> {
        Record { bytes: Some(bytes), key: None, headers: &[], topic: "", partition: 0, offset: 0, timestamp: 0 }
    }
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into() }
    }
}

pub struct Parser {
    kind: Kind,
}

enum Kind {
    Json(Box<JsonParser>),
    Text(Box<TextParser>),
    Kafka(Box<KafkaParser>),
}

impl Parser {
    pub fn new(schema: &DataSchema, format: &InputFormat) -> Result<Parser> {
        let plan = Plan::new(schema);
        let kind = match format {
            InputFormat::Json(flatten) => Kind::Json(Box::new(JsonParser::new(plan, flatten))),
            InputFormat::Delimited(_) | InputFormat::Lines | InputFormat::Regex(_) => {
                Kind::Text(Box::new(TextParser::new(plan, format)))
            }
            InputFormat::Kafka(kafka) => Kind::Kafka(Box::new(KafkaParser::new(schema, kafka)?)),
            InputFormat::Parquet(_) => return Err(Error::invalid("the format parquet is for files, not for records")),
        };
        Ok(Parser { kind })
    }

    /// Appends the rows of a record and tells how many; on failure nothing is appended. An empty record has no rows.
    #[inline]
    pub fn parse(&mut self, record: &Record, batch: &mut RowBatch) -> Result<usize, Failure> {
        match &mut self.kind {
            Kind::Json(parser) => parser.parse(record.bytes.unwrap_or_default(), batch),
            Kind::Text(parser) => parser.parse(record.bytes.unwrap_or_default(), batch),
            Kind::Kafka(parser) => parser.parse(record, batch),
        }
    }

    /// Parses one line of a file. Unlike records, lines share the header that came before them.
    #[inline]
    pub fn parse_line(&mut self, line: &[u8], batch: &mut RowBatch) -> Result<usize, Failure> {
        match &mut self.kind {
            Kind::Json(parser) => parser.parse(line, batch),
            Kind::Text(parser) => parser.parse_line(line, batch),
            Kind::Kafka(parser) => parser.parse(&Record::of(line), batch),
        }
    }

    /// The next line begins a file: header rows come first.
    pub fn begin_file(&mut self) {
        if let Kind::Text(parser) = &mut self.kind {
            parser.begin();
        }
    }
}
