//! The `kafka` format: the columns of the value, and beside them the message's key, headers, time, topic, partition and
//! offset. Where names clash, the column of the value wins.

use segment::error::Result;
use segment::row::{Cell, RowBatch};
use segment::schema::{Discovery, TIME};

use super::plan::{Plan, Purpose};
use super::timestamp::Raw;
use super::{Failure, Kind, Parser, Record};
use crate::spec::format::{HeaderEncoding, KafkaFormat};
use crate::spec::{DataSchema, TimestampFormat, TimestampSpec};

pub(crate) struct KafkaParser {
    plan: Plan,
    value: Parser,
    key: Option<KeyParser>,
    headers: Option<HeaderEncoding>,
    header_prefix: String,
    names: Names,
    /// The time comes from a column of the metadata, not of the value.
    time_from: Option<Meta>,
    scratch: String,
}

/// Reads the first column of a key by parsing it as a record of its own.
struct KeyParser {
    parser: Parser,
    batch: RowBatch,
}

struct Names {
    key: String,
    timestamp: String,
    topic: String,
    partition: String,
    offset: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meta {
    Key,
    Timestamp,
    Topic,
    Partition,
    Offset,
    Header,
}

impl KafkaParser {
    pub(crate) fn new(schema: &DataSchema, format: &KafkaFormat) -> Result<KafkaParser> {
        let names = Names {
            key: format.key_column.clone(),
            timestamp: format.timestamp_column.clone(),
            topic: format.topic_column.clone(),
            partition: format.partition_column.clone(),
            offset: format.offset_column.clone(),
        };
        let column = &schema.timestamp.column;
        let time_from = [
            (&names.key, Meta::Key),
            (&names.timestamp, Meta::Timestamp),
            (&names.topic, Meta::Topic),
            (&names.partition, Meta::Partition),
            (&names.offset, Meta::Offset),
        ]
        .into_iter()
        .find(|(name, _)| *name == column)
        .map(|(_, meta)| meta)
        .or_else(|| (format.headers.is_some() && column.starts_with(&format.header_prefix)).then_some(Meta::Header));
        let mut inner = schema.clone();
        if time_from.is_some() {
            // The value's parser must not fail for want of a time; the row gets its own below.
            inner.timestamp.missing = Some(0);
        }
        let key = match &format.key {
            None => None,
            Some(format) => Some(KeyParser::new(schema, format)?),
        };
        Ok(KafkaParser {
            plan: Plan::new(schema),
            value: Parser::new(&inner, &format.value)?,
            key,
            headers: format.headers,
            header_prefix: format.header_prefix.clone(),
            names,
            time_from,
            scratch: String::new(),
        })
    }

    pub(crate) fn parse(&mut self, record: &Record, batch: &mut RowBatch) -> Result<usize, Failure> {
        let mark = batch.mark();
        let first = batch.rows();
        let rows = match self.value.parse(record, batch)? {
            0 => {
                // A tombstone is a row of metadata alone.
                let time = if self.time_from.is_some() { Ok(0) } else { self.plan.time.read(Raw::Null) };
                batch.finish_row(time.map_err(Failure::new)?);
                1
            }
            rows => rows,
        };
        let added = self.metadata(record, first, batch);
        if let Err(failure) = added {
            batch.rollback(mark);
            return Err(failure);
        }
        Ok(rows)
    }

    fn metadata(&mut self, record: &Record, first: usize, batch: &mut RowBatch) -> Result<(), Failure> {
        let mut time = None;
        if let Some(key) = record.key {
            let found = match &mut self.key {
                None => false,
                Some(parser) => parser.first_column(key, &mut self.scratch)?,
            };
            if found {
                let purpose = self.plan.purpose(&self.names.key);
                if self.time_from == Some(Meta::Key) {
                    time = Some(self.plan.time.read(Raw::Text(&self.scratch)));
                }
                let text = &self.scratch;
                fill(batch, &self.names.key, purpose, first, |batch| batch.text(text));
            }
        }
        if let Some(encoding) = self.headers {
            for (name, bytes) in record.headers {
                let column = format!("{}{name}", self.header_prefix);
                let purpose = self.plan.purpose(&column);
                if purpose.is_nothing() {
                    continue;
                }
                let text = decode(bytes, encoding);
                if self.time_from == Some(Meta::Header) && purpose.time {
                    time = Some(self.plan.time.read(Raw::Text(&text)));
                }
                fill(batch, &column, purpose, first, |batch| batch.text(&text));
            }
        }
        let longs = [
            (&self.names.timestamp, record.timestamp, Meta::Timestamp),
            (&self.names.partition, i64::from(record.partition), Meta::Partition),
            (&self.names.offset, record.offset, Meta::Offset),
        ];
        for (name, value, meta) in longs {
            if self.time_from == Some(meta) {
                time = Some(self.plan.time.read(Raw::Long(value)));
            }
            fill(batch, name, self.plan.purpose(name), first, |_| Cell::Long(value));
        }
        if self.time_from == Some(Meta::Topic) {
            time = Some(self.plan.time.read(Raw::Text(record.topic)));
        }
        fill(batch, &self.names.topic, self.plan.purpose(&self.names.topic), first, |batch| batch.text(record.topic));
        if self.time_from.is_some() {
            let time = match time {
                Some(time) => time,
                None => self.plan.time.read(Raw::Null),
            };
            let time = time.map_err(Failure::new)?;
            batch.times_mut()[first..].fill(time);
        }
        Ok(())
    }
}

/// Sets a column of the rows from `first` on, where they have no value of their own.
fn fill(batch: &mut RowBatch, name: &str, purpose: Purpose, first: usize, cell: impl FnOnce(&mut RowBatch) -> Cell) {
    if !purpose.field {
        return;
    }
    let field = batch.field(name);
    let cell = cell(batch);
    for at in &mut batch.cells_mut(field)[first..] {
        if *at == Cell::Null {
            *at = cell;
        }
    }
}

impl KeyParser {
    fn new(schema: &DataSchema, format: &crate::spec::InputFormat) -> Result<KeyParser> {
        // All columns of the key, and never a missing time.
        let mut all = schema.clone();
        all.timestamp = TimestampSpec { column: TIME.into(), format: TimestampFormat::Auto, missing: Some(0) };
        all.dimensions.clear();
        all.metrics.clear();
        all.exclusions.clear();
        all.transform = Default::default();
        all.discovery = Discovery::Strings;
        Ok(KeyParser { parser: Parser::new(&all, format)?, batch: RowBatch::new() })
    }

    /// The first column of the key as text; `false` if it has none.
    fn first_column(&mut self, key: &[u8], out: &mut String) -> Result<bool, Failure> {
        self.batch = RowBatch::new();
        if matches!(self.parser.kind, Kind::Json(_)) && !key.trim_ascii_start().starts_with(b"{") {
            return Err(Failure::new("the key is not a JSON object"));
        }
        self.parser
            .parse(&Record::of(key), &mut self.batch)
            .map_err(|f| Failure::new(format!("in the key: {}", f.reason)))?;
        if self.batch.rows() == 0 {
            return Ok(false);
        }
        out.clear();
        let cells = (0..self.batch.names().len()).map(|field| self.batch.cells(field)[0]);
        for cell in cells {
            match cell {
                Cell::Null => continue,
                Cell::Bool(b) => out.push_str(if b { "true" } else { "false" }),
                Cell::Long(n) => out.push_str(&n.to_string()),
                Cell::Double(n) => out.push_str(&n.to_string()),
                Cell::Text { .. } => out.push_str(self.batch.text_of(cell)),
                Cell::List { .. } | Cell::Json { .. } => continue,
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn decode(bytes: &[u8], encoding: HeaderEncoding) -> String {
    let utf16 = |bytes: &[u8], big: bool| {
        let unit = |pair: &[u8]| {
            let pair = [pair[0], *pair.get(1).unwrap_or(&0)];
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let units: Vec<u16> = bytes.chunks(2).map(unit).collect();
        String::from_utf16_lossy(&units)
    };
    match encoding {
        HeaderEncoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        HeaderEncoding::Ascii => {
            bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER }).collect()
        }
        HeaderEncoding::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
        HeaderEncoding::Utf16Be => utf16(bytes, true),
        HeaderEncoding::Utf16Le => utf16(bytes, false),
        HeaderEncoding::Utf16 => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(rest, false),
            [0xfe, 0xff, rest @ ..] => utf16(rest, true),
            rest => utf16(rest, true),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::InputFormat;
    use segment::block::Value;
    use serde_json::json;

    fn parser(column: &str) -> Parser {
        let schema = json!({"dataSource": "d", "timestampSpec": {"column": column, "format": "auto"},
            "dimensionsSpec": {"dimensions": ["v", "kafka.key", "kafka.header.h", "kafka.topic",
                {"type": "long", "name": "kafka.offset"}, {"type": "long", "name": "kafka.partition"}]}});
        let format = json!({"type": "kafka", "valueFormat": {"type": "json"}, "headerFormat": {"type": "string"},
            "keyFormat": {"type": "tsv", "columns": ["k"]}});
        let schema = DataSchema::from_json(&schema, "", &mut Vec::new()).unwrap();
        Parser::new(&schema, &InputFormat::from_json(&format, "", &mut Vec::new()).unwrap()).unwrap()
    }

    fn check(column: &str, value: Option<&str>, times: &[i64], expected: &[(&str, Value)]) {
        let record = Record {
            bytes: value.map(str::as_bytes),
            key: Some(b"key"),
            headers: &[("h", b"head"), ("other", b"x")],
            topic: "topic",
            partition: 3,
            offset: 42,
            timestamp: 1000,
        };
        let mut batch = RowBatch::new();
        parser(column).parse(&record, &mut batch).unwrap_or_else(|f| panic!("{}", f.reason));
        assert_eq!(batch.times(), times);
        for (name, value) in expected {
            assert_eq!(value_of(&batch, name), *value, "{name}");
        }
    }

    fn value_of(batch: &RowBatch, name: &str) -> Value {
        batch.find(name).map_or(Value::Null, |field| batch.value(batch.cells(field)[batch.rows() - 1]))
    }

    #[test]
    fn metadata_stands_beside_the_value_which_wins() {
        let metadata = [
            ("kafka.key", Value::text("key")),
            ("kafka.header.h", Value::text("head")),
            ("kafka.header.other", Value::Null),
            ("kafka.offset", Value::Long(42)),
            ("kafka.partition", Value::Long(3)),
        ];
        check("t", Some(r#"{"t":7,"v":"x"}"#), &[7], &metadata);
        check("kafka.timestamp", Some(r#"{"v":"x"}{"v":"y"}"#), &[1000, 1000], &metadata);
        check("kafka.timestamp", None, &[1000], &metadata);
        check("t", Some(r#"{"t":7,"kafka.topic":"mine"}"#), &[7], &[("kafka.topic", Value::text("mine"))]);
    }

    #[test]
    fn a_tombstone_without_a_time_is_refused() {
        let record = Record { bytes: None, ..Record::of(b"") };
        let mut batch = RowBatch::new();
        assert!(parser("t").parse(&record, &mut batch).is_err());
        assert_eq!(batch.rows(), 0);
    }

    #[test]
    fn encodings() {
        assert_eq!(decode(&[0xe9], HeaderEncoding::Latin1), "é");
        assert_eq!(decode(&[0x00, 0xe9], HeaderEncoding::Utf16Be), "é");
        assert_eq!(decode(&[0xff, 0xfe, 0xe9, 0x00], HeaderEncoding::Utf16), "é");
        assert_eq!(decode(&[0xe9], HeaderEncoding::Ascii), "\u{fffd}");
        assert_eq!(decode(&[0xe9], HeaderEncoding::Utf16Le), "é");
    }
}
