//! A look at the input of a spec before anyone commits to it: the first records, each as it came and as what the spec makes of
//! it. Nothing is stored, nothing is published, and no position moves.
//!
//! What a record becomes is not computed a second way: the parser, the transforms and the realtime index are those of tasks.
//! Only rollup is off in the index that is looked into, so that each row can be told from the others; a second index, with the
//! spec's own rollup, counts how many rows would be left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use segment::meta::SegmentId;
use segment::realtime::RealtimeIndex;
use segment::row::{Cell, RowBatch};
use segment::time::Interval;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::parse::parquet::ParquetParser;
use crate::parse::{Parser, Record};
use crate::positions::Positions;
use crate::report::INPUT_BYTES_MAX;
use crate::source::files::{Split, fetched, splits};
use crate::source::http::GoOn;
use crate::source::kafka::KafkaSource;
use crate::source::{Limits, Share, Watch};
use crate::spec::{BatchSpec, DataSchema, InputFormat, InputSource, KafkaIo, SupervisorSpec};
use crate::transform::Transform;
use crate::worker::Settings;

/// Whose input is looked at.
pub enum Sampled {
    Stream(SupervisorSpec),
    Batch(BatchSpec),
}

/// When a look ends: at so many rows, so many bytes of records, or after so long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub rows: usize,
    pub bytes: usize,
    pub time: Duration,
}

/// What was seen.
pub struct Sample {
    /// In the order of the input.
    pub rows: Vec<SampledRow>,
    /// The rows that are `indexed`, in that order, without rollup.
    pub index: Arc<RealtimeIndex>,
    /// How many of them rollup would leave; `None` where the spec has none.
    pub rolled_up: Option<usize>,
}

/// A row of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledRow {
    /// Its fields before the spec: of a JSON record the document itself, of a record that cannot be read its text as `raw`.
    pub input: Option<Value>,
    /// Whether the index has it. What a filter leaves out is not there, and has no `error`.
    pub indexed: bool,
    /// Why it could not be read, or which of its values could not.
    pub error: Option<String>,
}

/// How long the brokers may say that something is wrong before it is believed: a client that connects complains, too.
const PATIENCE: Duration = Duration::from_secs(3);

const LOOK: Duration = Duration::from_millis(20);

/// Reads a sample. Takes up to the bounds' time, on the caller's thread. With what is open of a stream still: to close it may
/// take seconds more.
pub fn sample(of: &Sampled, bounds: Bounds, settings: &Settings) -> (Result<Sample>, Option<KafkaSource>) {
    let until = Instant::now() + bounds.time;
    match of {
        Sampled::Stream(spec) => sample_stream(spec, bounds, until),
        Sampled::Batch(spec) => (sample_files(spec, bounds, until, settings), None),
    }
}

fn sample_stream(spec: &SupervisorSpec, bounds: Bounds, until: Instant) -> (Result<Sample>, Option<KafkaSource>) {
    let (io, everything) = (&spec.io, Share { group: 0, groups: 1 });
    let with_headers = matches!(io.format, InputFormat::Kafka(_));
    let mut source = match KafkaSource::open(io, everything, "henge-sampler", with_headers) {
        Ok(source) => source,
        Err(error) => return (Err(error), None),
    };
    let sample = Taker::new(&spec.data_schema, &io.format, bounds).and_then(|mut taker| {
        read_stream(&mut source, io, &mut taker, until)?;
        Ok(taker.finish())
    });
    (sample, Some(source))
}

fn sample_files(spec: &BatchSpec, bounds: Bounds, until: Instant, settings: &Settings) -> Result<Sample> {
    let mut taker = Taker::new(&spec.data_schema, &spec.format, bounds)?;
    match read_files(spec, &mut taker, until, settings) {
        Err(_) if taker.is_full() => {}
        Err(Error::Interrupted) if !taker.rows.is_empty() => {}
        Err(Error::Interrupted) => {
            return Err(Error::unavailable("no row of the input came in time; raise samplerConfig.timeoutMs"));
        }
        read => read?,
    }
    Ok(taker.finish())
}

fn read_stream(source: &mut KafkaSource, io: &KafkaIo, taker: &mut Taker, until: Instant) -> Result<()> {
    let watch = known(source, until)?;
    let each = taker.bounds.rows.div_ceil(watch.ranges.len().max(1)) as i64;
    let from = watch.ranges.iter().map(|(key, range)| {
        let newest = range.high.saturating_sub(each).max(range.low);
        (key.clone(), if io.use_earliest_offset { range.low } else { newest })
    });
    source.assign(&Positions(from.collect()))?;
    while !taker.is_full() {
        let left = until.saturating_duration_since(Instant::now());
        let watch_now = source.watch();
        let is_read = |(key, range): (_, &crate::source::Range)| {
            source.position(key).is_some_and(|position| watch_now.effective(key, position) >= range.high)
        };
        if left.is_zero() || watch.ranges.iter().all(is_read) {
            break;
        }
        let limits = Limits { records: taker.left(), bytes: taker.bounds.bytes, time: left };
        source.poll(left.min(Duration::from_millis(200)), limits, |record| taker.take(record))?;
    }
    Ok(())
}

/// What the brokers hold, once they have said it.
fn known(source: &KafkaSource, until: Instant) -> Result<Watch> {
    let believed = until.min(Instant::now() + PATIENCE);
    loop {
        let watch = source.watch();
        if watch.answers && !watch.partitions.is_empty() && watch.ranges.len() == watch.partitions.len() {
            return Ok(watch);
        }
        let now = Instant::now();
        if let Some(problem) = watch.problem.filter(|_| now >= believed) {
            return Err(Error::invalid(format!("the stream cannot be read: {problem}")));
        }
        if now >= until {
            return Err(Error::unavailable(
                "the brokers did not answer in time; see ioConfig.consumerProperties, or raise samplerConfig.timeoutMs",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn read_files(spec: &BatchSpec, taker: &mut Taker, until: Instant, settings: &Settings) -> Result<()> {
    let in_time = move || match Instant::now() < until {
        true => Ok(()),
        false => Err(Error::Interrupted),
    };
    let splits = match &spec.source {
        InputSource::Http(source) => fetched(source, &settings.http, GoOn::new(in_time))?,
        source => splits(source, &spec.format, &settings.sources)?,
    };
    for split in &splits {
        if matches!(spec.format, InputFormat::Parquet(_)) {
            taker.take_parquet(split, settings, &in_time)?;
        } else {
            taker.begin(split);
            split.read_lines(&mut |block| taker.take_lines(block, &in_time))?;
        }
        if taker.is_full() {
            break;
        }
    }
    Ok(())
}

/// Records into rows of the sample.
struct Taker {
    bounds: Bounds,
    bytes: usize,
    format: InputFormat,
    schema: DataSchema,
    parser: Option<Parser>,
    /// Reads every field, whatever the spec says of it.
    loose: Option<Parser>,
    loose_schema: DataSchema,
    loose_batch: RowBatch,
    transform: Transform,
    batch: RowBatch,
    keep: Vec<u32>,
    rows: Vec<SampledRow>,
    index: Arc<RealtimeIndex>,
    rolled_up: Option<RealtimeIndex>,
}

impl Taker {
    fn new(schema: &DataSchema, format: &InputFormat, bounds: Bounds) -> Result<Taker> {
        let loose_schema = everything(&schema.datasource)?;
        let (parser, loose) = match format {
            InputFormat::Parquet(_) => (None, None),
            format => (Some(Parser::new(schema, format)?), Some(Parser::new(&loose_schema, format)?)),
        };
        let (rolls_up, mut plain) = (schema.granularity.rollup, schema.schema());
        let rolled_up = rolls_up.then(|| index(schema, plain.clone())).transpose()?;
        plain.rollup = false;
        Ok(Taker {
            bounds,
            bytes: 0,
            format: format.clone(),
            schema: schema.clone(),
            parser,
            loose,
            loose_schema,
            loose_batch: RowBatch::new(),
            transform: Transform::new(schema),
            batch: RowBatch::new(),
            keep: Vec::new(),
            rows: Vec::new(),
            index: Arc::new(index(schema, plain)?),
            rolled_up,
        })
    }

    fn left(&self) -> usize {
        self.bounds.rows.saturating_sub(self.rows.len())
    }

    fn is_full(&self) -> bool {
        self.left() == 0 || self.bytes >= self.bounds.bytes
    }

    fn begin(&mut self, split: &Split) {
        if split.begins_file() {
            self.parser.iter_mut().chain(&mut self.loose).for_each(Parser::begin_file);
        }
    }

    /// Whole lines of a file. Ends the reading when there are enough.
    fn take_lines(&mut self, block: &[u8], in_time: &dyn Fn() -> Result<()>) -> Result<()> {
        for line in block.split(|byte| *byte == b'\n') {
            in_time()?;
            self.take_record(&Record::of(line), true);
            if self.is_full() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        self.take_record(record, false);
    }

    fn take_record(&mut self, record: &Record, is_line: bool) {
        let (Some(parser), Some(loose)) = (&mut self.parser, &mut self.loose) else { return };
        let bytes = record.bytes.unwrap_or_default();
        self.bytes += bytes.len() + record.key.map_or(0, <[u8]>::len);
        self.batch.clear();
        self.loose_batch.clear();
        let (parsed, seen) = match is_line {
            true => (parser.parse_line(bytes, &mut self.batch), loose.parse_line(bytes, &mut self.loose_batch)),
            false => (parser.parse(record, &mut self.batch), loose.parse(record, &mut self.loose_batch)),
        };
        let documents = match self.format {
            InputFormat::Json(_) => documents(bytes),
            _ => seen.is_ok().then(|| (0..self.loose_batch.rows()).map(|row| fields(&self.loose_batch, row)).collect()),
        };
        let documents = documents.unwrap_or_default();
        match parsed {
            Ok(_) => self.keep_rows(documents),
            Err(failure) => {
                let text = || String::from_utf8_lossy(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]).into_owned();
                let input = documents.into_iter().next().unwrap_or_else(|| json!({"raw": text()}));
                self.rows.push(SampledRow { input: Some(input), indexed: false, error: Some(failure.reason) });
            }
        }
    }

    fn take_parquet(&mut self, split: &Split, settings: &Settings, in_time: &dyn Fn() -> Result<()>) -> Result<()> {
        let InputFormat::Parquet(format) = &self.format else { return Ok(()) };
        let (strict, loose) =
            (ParquetParser::new(&self.schema, format), ParquetParser::new(&self.loose_schema, format));
        if !matches!(split, Split::Fetched { .. }) {
            return self.take_groups(split, (&strict, &loose), in_time);
        }
        let path = settings.folder.join(format!("sample-{}", uuid::Uuid::new_v4()));
        let taken = split
            .fetch(&path)
            .and_then(|parts| parts.iter().try_for_each(|part| self.take_groups(part, (&strict, &loose), in_time)));
        // What could not be written is not there.
        let _ = std::fs::remove_file(&path);
        taken
    }

    fn take_groups(
        &mut self,
        split: &Split,
        (strict, loose): (&ParquetParser, &ParquetParser),
        in_time: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let Split::Parquet { file, groups } = split else {
            return Err(Error::Bug("a parser of Parquet files with something else".into()));
        };
        // The two see other columns of the same rows.
        let (read, all) = (strict.open(file, groups.clone())?, loose.open(file, groups.clone())?);
        for (records, seen) in read.zip(all) {
            let broken = |e| Error::invalid(format!("cannot read {}: {e}", split.place()));
            let (records, seen) = (records.map_err(broken)?, seen.map_err(broken)?);
            for row in 0..seen.num_rows() {
                in_time()?;
                if self.is_full() {
                    return Err(Error::Interrupted);
                }
                let (record, seen) = (records.slice(row, 1), seen.slice(row, 1));
                self.bytes += seen.get_array_memory_size() / seen.num_rows().max(1);
                self.batch.clear();
                self.loose_batch.clear();
                loose.append(&seen, &mut self.loose_batch)?;
                let documents: Vec<Value> = match self.loose_batch.rows() {
                    0 => Vec::new(),
                    _ => vec![fields(&self.loose_batch, 0)],
                };
                match strict.append(&record, &mut self.batch)?.into_iter().next() {
                    None => self.keep_rows(documents),
                    Some(failure) => {
                        let input = documents.into_iter().next();
                        self.rows.push(SampledRow { input, indexed: false, error: Some(failure.reason) });
                    }
                }
            }
        }
        Ok(())
    }

    /// The rows of the batch, which are one record's, and what they were before the spec.
    fn keep_rows(&mut self, mut inputs: Vec<Value>) {
        self.transform.apply(&mut self.batch, &mut self.keep);
        let rows = self.batch.rows();
        for row in 0..rows {
            if self.left() == 0 {
                return;
            }
            let input = match inputs.get_mut(row) {
                Some(input) => Some(input.take()),
                None => inputs.first().cloned(),
            };
            let number = row as u32;
            let mut sampled = SampledRow { input, indexed: false, error: None };
            if self.keep.contains(&number) {
                match self.index.append(&self.batch, &[number]) {
                    Ok(appended) => {
                        sampled.indexed = true;
                        let reasons: Vec<String> = appended.problems.into_iter().map(|p| p.reason).collect();
                        sampled.error = (!reasons.is_empty()).then(|| reasons.join("; "));
                    }
                    Err(error) => sampled.error = Some(error.to_string()),
                }
                if let (true, Some(rolled_up)) = (sampled.indexed, &self.rolled_up) {
                    // It takes what the other took.
                    let _ = rolled_up.append(&self.batch, &[number]);
                }
            }
            self.rows.push(sampled);
        }
    }

    fn finish(self) -> Sample {
        Sample { rows: self.rows, index: self.index, rolled_up: self.rolled_up.map(|index| index.rows()) }
    }
}

/// A schema that keeps every field as it is, and needs no time.
fn everything(datasource: &str) -> Result<DataSchema> {
    let schema = json!({
        "dataSource": datasource,
        "timestampSpec": {"column": "!!!_no_such_column_!!!", "missingValue": "1970-01-01T00:00:00Z"},
        "dimensionsSpec": {"useSchemaDiscovery": true},
    });
    Ok(DataSchema::from_json(&schema, "dataSchema", &mut Vec::new())?)
}

/// An index for rows of any time, which is never written to a file.
fn index(schema: &DataSchema, columns: segment::schema::Schema) -> Result<RealtimeIndex> {
    let id = SegmentId {
        datasource: schema.datasource.clone(),
        interval: Interval::ETERNITY,
        version: "sample".into(),
        partition: 0,
    };
    Ok(RealtimeIndex::new(id, columns, std::path::PathBuf::new(), Vec::new())?)
}

/// The documents of a record; `None` if it is not JSON throughout.
fn documents(bytes: &[u8]) -> Option<Vec<Value>> {
    serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().collect::<Result<Vec<Value>, _>>().ok()
}

/// A row of a batch by its fields. Those that are null are left out.
fn fields(batch: &RowBatch, row: usize) -> Value {
    let named = batch.names().iter().enumerate().filter_map(|(field, name)| {
        let value = plain(batch, *batch.cells(field).get(row)?);
        (!value.is_null()).then(|| (name.clone(), value))
    });
    Value::Object(named.collect::<Map<String, Value>>())
}

fn plain(batch: &RowBatch, cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Bool(flag) => flag.into(),
        Cell::Long(long) => long.into(),
        Cell::Double(double) => double.into(),
        Cell::Text { .. } => batch.text_of(cell).into(),
        Cell::Json { .. } => serde_json::from_str(batch.text_of(cell)).unwrap_or(Value::Null),
        Cell::List { .. } => batch.list_of(cell).iter().map(|item| plain(batch, *item)).collect(),
    }
}
