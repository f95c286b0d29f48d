//! Druid's exact JSON for each kind of answer, written in chunks as rows come.
//!
//! A [`Writer`] walks the batches and cuts its text every [`CHUNK_BYTES`], so that an answer of any size needs the
//! memory of one batch and one chunk.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use segment::block::Block;
use segment::schema::ValueType;
use segment::time::{Granularity, format_timestamp, format_timestamp_in};
use serde_json::{Map, Value as Json};

use super::context::Context;
use super::{Query, ScanFormat};
use crate::error::Result;
use crate::table::{Answer, Batch};

pub mod analysis;
pub mod json;
pub mod pretty;

pub use json::{double_text, float_text};
use json::{write_long, write_text, write_value};
use pretty::Pretty;

/// Text is sent when there is this much of it.
const CHUNK_BYTES: usize = 64 * 1024;

/// How the response is to look; all else is settled by the query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format {
    pub pretty: bool,
    /// Timestamps as milliseconds (context `serializeDateTimeAsLong`).
    pub time_as_long: bool,
}

impl Format {
    pub fn from_context(context: &Map<String, Json>, pretty: bool) -> Result<Format> {
        let time_as_long = Context::new(context).flag("serializeDateTimeAsLong")?.unwrap_or(false);
        Ok(Format { pretty, time_as_long })
    }
}

/// The body of a response. An error after the first chunk leaves the JSON unfinished, as Druid does, so that no reader
/// takes it for the whole.
pub fn respond(query: &Query, answer: Answer, format: Format) -> BoxStream<'static, Result<Bytes>> {
    let zone = granularity(query).and_then(|g| g.zone()).map(str::to_string);
    written(Layout::of(query, &answer), zone, answer, format)
}

/// The body of a response whose rows are arrays of all columns.
pub fn respond_arrays(answer: Answer, format: Format) -> BoxStream<'static, Result<Bytes>> {
    written(Layout::Arrays { with_time: true }, None, answer, format)
}

fn written(layout: Layout, zone: Option<String>, answer: Answer, format: Format) -> BoxStream<'static, Result<Bytes>> {
    let mut writer = Writer {
        layout,
        clock: Clock { zone, as_long: format.time_as_long, last: None },
        batches: Some(answer.batches),
        current: None,
        out: Vec::with_capacity(1024),
        any: false,
        pretty: format.pretty.then(Pretty::default),
    };
    writer.out.push(b'[');
    if let Layout::Analyses(analyses) = &writer.layout {
        analysis::write(analyses, &mut writer.out);
    }
    stream::unfold(writer, |mut writer| async move {
        let chunk = writer.chunk().await?;
        Some((chunk, writer))
    })
    .boxed()
}

/// Which elements the rows become.
enum Layout {
    Timeseries {
        copy_time_to: Option<String>,
    },
    TopN {
        /// Those that are still to come, ascending.
        buckets: VecDeque<i64>,
        bucket: Option<Option<i64>>,
    },
    GroupBy,
    Arrays {
        with_time: bool,
    },
    Scan(ScanFormat),
    Search {
        bucket: Option<Option<i64>>,
    },
    /// Each row an element with the time of its first column that is not null.
    Boundary,
    Analyses(Vec<crate::engine::inspect::Analysis>),
}

struct Writer {
    layout: Layout,
    clock: Clock,
    /// `None` once all was written.
    batches: Option<BoxStream<'static, Result<Batch>>>,
    current: Option<Current>,
    out: Vec<u8>,
    /// Whether an element of the outer array was begun.
    any: bool,
    pretty: Option<Pretty>,
}

/// A batch that is being written.
struct Current {
    batch: Batch,
    row: usize,
    /// `"name":`, escaped.
    keys: Vec<Vec<u8>>,
}

/// Writes timestamps; rows of one bucket share the text.
struct Clock {
    zone: Option<String>,
    as_long: bool,
    last: Option<(i64, String)>,
}

impl Layout {
    fn of(query: &Query, answer: &Answer) -> Layout {
        match query {
            Query::Timeseries(q) => Layout::Timeseries { copy_time_to: q.timestamp_result_field.clone() },
            Query::TopN(_) => Layout::TopN { buckets: answer.buckets.iter().copied().collect(), bucket: None },
            Query::GroupBy(q) if q.result_as_array => Layout::Arrays { with_time: q.granularity != Granularity::All },
            Query::GroupBy(_) => Layout::GroupBy,
            Query::Scan(q) => Layout::Scan(q.format),
            Query::Search(_) => Layout::Search { bucket: None },
            Query::TimeBoundary(_) | Query::DataSourceMetadata(_) => Layout::Boundary,
            Query::SegmentMetadata(_) => Layout::Analyses(answer.analyses.clone()),
        }
    }
}

fn granularity(query: &Query) -> Option<&Granularity> {
    match query {
        Query::Timeseries(q) => Some(&q.granularity),
        Query::TopN(q) => Some(&q.granularity),
        Query::GroupBy(q) => Some(&q.granularity),
        Query::Search(q) => Some(&q.granularity),
        _ => None,
    }
}

impl Writer {
    /// The next text to send; `None` at the end, and after an error.
    async fn chunk(&mut self) -> Option<Result<Bytes>> {
        loop {
            if let Some(mut current) = self.current.take() {
                while current.row < current.batch.table.rows {
                    if self.out.len() >= CHUNK_BYTES {
                        self.current = Some(current);
                        return Some(Ok(self.flush()));
                    }
                    self.row(&current);
                    current.row += 1;
                }
                self.end_batch(&current);
            }
            let batches = self.batches.as_mut()?;
            match batches.next().await {
                Some(Ok(batch)) => self.begin_batch(batch),
                Some(Err(error)) => {
                    self.batches = None;
                    return Some(Err(error));
                }
                None => {
                    self.batches = None;
                    self.finish();
                    return Some(Ok(self.flush()));
                }
            }
        }
    }

    fn flush(&mut self) -> Bytes {
        let text = std::mem::take(&mut self.out);
        match &mut self.pretty {
            None => Bytes::from(text),
            Some(pretty) => Bytes::from(pretty.indent(&text)),
        }
    }

    fn begin_batch(&mut self, batch: Batch) {
        let keys = batch
            .table
            .columns
            .iter()
            .map(|(name, ..)| {
                let mut key = Vec::with_capacity(name.len() + 3);
                write_text(name, &mut key);
                key.push(b':');
                key
            })
            .collect();
        if let Layout::Scan(_) = self.layout
            && batch.table.rows > 0
        {
            self.element();
            self.out.extend_from_slice(b"{\"segmentId\":");
            match &batch.segment {
                Some(id) => write_text(id, &mut self.out),
                None => self.out.extend_from_slice(b"null"),
            }
            self.out.extend_from_slice(b",\"columns\":[");
            for (i, (name, ..)) in batch.table.columns.iter().enumerate() {
                comma(i, &mut self.out);
                write_text(name, &mut self.out);
            }
            self.out.extend_from_slice(b"],\"events\":[");
        }
        self.current = Some(Current { batch, row: 0, keys });
    }

    fn end_batch(&mut self, current: &Current) {
        if let Layout::Scan(_) = self.layout {
            let table = &current.batch.table;
            if table.rows > 0 {
                self.out.extend_from_slice(b"],\"rowSignature\":[");
                for (i, (name, value_type, _)) in table.columns.iter().enumerate() {
                    comma(i, &mut self.out);
                    self.out.extend_from_slice(b"{\"name\":");
                    write_text(name, &mut self.out);
                    self.out.extend_from_slice(b",\"type\":");
                    write_text(&value_type.druid_name(), &mut self.out);
                    self.out.push(b'}');
                }
                self.out.extend_from_slice(b"]}");
            }
        }
    }

    fn finish(&mut self) {
        match &self.layout {
            Layout::TopN { bucket: Some(_), .. } | Layout::Search { bucket: Some(_) } => {
                self.out.extend_from_slice(b"]}");
            }
            _ => {}
        }
        self.empty_buckets(i64::MAX);
        self.out.push(b']');
    }

    /// Elements without rows for the buckets that begin before a time; one that begins at it is not to come any more.
    fn empty_buckets(&mut self, before: i64) {
        let Layout::TopN { buckets, .. } = &mut self.layout else { return };
        let count = buckets.iter().take_while(|start| **start < before).count();
        let empty: Vec<i64> = buckets.drain(..count).collect();
        if buckets.front() == Some(&before) {
            buckets.pop_front();
        }
        for start in empty {
            self.element();
            self.out.extend_from_slice(b"{\"timestamp\":");
            self.clock.write(Some(start), &mut self.out);
            self.out.extend_from_slice(b",\"result\":[]}");
        }
    }

    /// Begins an element of the outer array.
    fn element(&mut self) {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
    }

    /// Ends the bucket at hand, if the row is of another, and tells the empty ones between.
    fn end_bucket(&mut self, current: &Current) {
        let Layout::TopN { bucket, .. } = &mut self.layout else { return };
        let time = time_of(&current.batch.table.columns, current.row);
        if *bucket == Some(time) {
            return;
        }
        if bucket.take().is_some() {
            self.out.extend_from_slice(b"]}");
        }
        self.empty_buckets(time.unwrap_or(i64::MIN));
    }

    fn row(&mut self, current: &Current) {
        self.end_bucket(current);
        let (table, row) = (&current.batch.table, current.row);
        let columns = &table.columns;
        match &mut self.layout {
            Layout::Timeseries { copy_time_to } => {
                let copy = copy_time_to.take();
                let time = time_of(columns, row);
                self.element();
                self.out.extend_from_slice(b"{\"timestamp\":");
                self.clock.write(time, &mut self.out);
                self.out.extend_from_slice(b",\"result\":{");
                if let Some(name) = &copy {
                    write_text(name, &mut self.out);
                    self.out.push(b':');
                    match time {
                        Some(t) => write_long(t, &mut self.out),
                        None => self.out.extend_from_slice(b"null"),
                    }
                    if columns.len() > 1 {
                        self.out.push(b',');
                    }
                }
                write_fields(current, row, 1, &mut self.out);
                self.out.extend_from_slice(b"}}");
                self.layout = Layout::Timeseries { copy_time_to: copy };
            }
            Layout::TopN { bucket, .. } | Layout::Search { bucket } => {
                let time = time_of(columns, row);
                if *bucket != Some(time) {
                    let ends = bucket.replace(time).is_some();
                    if ends {
                        self.out.extend_from_slice(b"]}");
                    }
                    self.element();
                    self.out.extend_from_slice(b"{\"timestamp\":");
                    self.clock.write(time, &mut self.out);
                    self.out.extend_from_slice(b",\"result\":[");
                } else {
                    self.out.push(b',');
                }
                self.out.push(b'{');
                write_fields(current, row, 1, &mut self.out);
                self.out.push(b'}');
            }
            Layout::GroupBy => {
                let time = time_of(columns, row);
                self.element();
                self.out.extend_from_slice(b"{\"version\":\"v1\",\"timestamp\":");
                self.clock.write(time, &mut self.out);
                self.out.extend_from_slice(b",\"event\":{");
                write_fields(current, row, 1, &mut self.out);
                self.out.extend_from_slice(b"}}");
            }
            Layout::Arrays { with_time } => {
                let from = usize::from(!*with_time);
                self.element();
                write_array(current, row, from, &mut self.out);
            }
            Layout::Scan(format) => {
                let format = *format;
                comma(row, &mut self.out);
                match format {
                    ScanFormat::List => {
                        self.out.push(b'{');
                        write_fields(current, row, 0, &mut self.out);
                        self.out.push(b'}');
                    }
                    ScanFormat::CompactedList => write_array(current, row, 0, &mut self.out),
                }
            }
            Layout::Boundary => {
                let times: Vec<(usize, i64)> =
                    (0..columns.len()).filter_map(|column| Some((column, long(&columns[column].2, row)?))).collect();
                let Some((_, first)) = times.first() else {
                    return;
                };
                self.element();
                self.out.extend_from_slice(b"{\"timestamp\":");
                self.clock.write(Some(*first), &mut self.out);
                self.out.extend_from_slice(b",\"result\":{");
                for (i, (column, time)) in times.iter().enumerate() {
                    comma(i, &mut self.out);
                    self.out.extend_from_slice(&current.keys[*column]);
                    self.clock.write(Some(*time), &mut self.out);
                }
                self.out.extend_from_slice(b"}}");
            }
            Layout::Analyses(_) => {}
        }
    }
}

impl Clock {
    fn write(&mut self, time: Option<i64>, out: &mut Vec<u8>) {
        let Some(time) = time else {
            return out.extend_from_slice(b"null");
        };
        if self.as_long {
            return write_long(time, out);
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last != time) {
            let text = match &self.zone {
                None => format_timestamp(time),
                Some(zone) => format_timestamp_in(time, Some(zone)),
            };
            self.last = Some((time, text));
        }
        if let Some((_, text)) = &self.last {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
    }
}

fn long(block: &Block, row: usize) -> Option<i64> {
    match block {
        Block::Long { values, nulls } => {
            let null = nulls.as_ref().is_some_and(|nulls| nulls[row]);
            (!null).then(|| values[row])
        }
        _ => None,
    }
}

fn time_of(columns: &[(String, ValueType, Block)], row: usize) -> Option<i64> {
    columns.first().and_then(|(.., block)| long(block, row))
}

fn write_fields(current: &Current, row: usize, from: usize, out: &mut Vec<u8>) {
    for (i, (_, value_type, block)) in current.batch.table.columns.iter().enumerate().skip(from) {
        comma(i - from, out);
        out.extend_from_slice(&current.keys[i]);
        write_value(block, value_type, row, out);
    }
}

fn write_array(current: &Current, row: usize, from: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, (_, value_type, block)) in current.batch.table.columns.iter().enumerate().skip(from) {
        comma(i - from, out);
        write_value(block, value_type, row, out);
    }
    out.push(b']');
}

fn comma(position: usize, out: &mut Vec<u8>) {
    if position > 0 {
        out.push(b',');
    }
}
