//! Records → the rows of a batch that are to be appended: parses, transforms, rejects, counts.

use std::sync::Arc;

use segment::row::RowBatch;

use crate::appender::Taken;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::parse::{Parser, Record};
use crate::report::{INPUT_BYTES_MAX, ParseProblem, Rates, RowStats};
use crate::spec::SupervisorSpec;
use crate::transform::Transform;

pub(crate) struct Intake {
    parser: Parser,
    transform: Transform,
    batch: RowBatch,
    keep: Vec<u32>,
    /// Where each row of the batch came from.
    places: Vec<Place>,
    topics: Vec<String>,
    records: usize,
    stats: RowStats,
    /// The latest time of the rows that were kept.
    newest_event: Option<i64>,
    meter: Meter,
    exceptions_max: u64,
    log_exceptions: bool,
    control: Arc<Control>,
}

#[derive(Clone, Copy)]
struct Place {
    topic: u32,
    partition: i32,
    offset: i64,
}

/// A batch and the rows of it that are to be appended.
pub(crate) struct Kept<'a> {
    pub batch: &'a RowBatch,
    pub rows: &'a [u32],
}

impl Intake {
    pub fn new(spec: &SupervisorSpec, control: Arc<Control>) -> Result<Intake> {
        control.keep_problems(spec.tuning.max_saved_parse_exceptions);
        Ok(Intake {
            parser: Parser::new(&spec.data_schema, &spec.io.format)?,
            transform: Transform::new(&spec.data_schema),
            batch: RowBatch::new(),
            keep: Vec::new(),
            places: Vec::new(),
            topics: Vec::new(),
            records: 0,
            stats: RowStats::default(),
            newest_event: None,
            meter: Meter::default(),
            exceptions_max: spec.tuning.max_parse_exceptions,
            log_exceptions: spec.tuning.log_parse_exceptions,
            control,
        })
    }

    /// A new batch.
    pub fn begin(&mut self) {
        self.batch.clear();
        self.places.clear();
        self.records = 0;
    }

    /// Records taken since `begin`.
    pub fn records(&self) -> usize {
        self.records
    }

    #[inline]
    pub fn take(&mut self, record: &Record) {
        self.records += 1;
        self.stats.processed_bytes += record.bytes.map_or(0, |bytes| bytes.len() as u64);
        let topic = match self.topics.last() {
            Some(last) if last == record.topic => self.topics.len() - 1,
            _ => self.topic(record.topic),
        };
        let place = Place { topic: topic as u32, partition: record.partition, offset: record.offset };
        match self.parser.parse(record, &mut self.batch) {
            Ok(rows) => {
                if rows == 0 && record.bytes.is_none() {
                    self.stats.tombstones += 1;
                }
                self.places.resize(self.places.len() + rows, place);
            }
            Err(failure) => {
                self.stats.unparseable += 1;
                let bytes = record.bytes.unwrap_or_default();
                let input = String::from_utf8_lossy(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]).into_owned();
                self.problem(input, failure.reason, place);
            }
        }
    }

    #[cold]
    fn topic(&mut self, name: &str) -> usize {
        self.topics.iter().position(|topic| topic == name).unwrap_or_else(|| {
            self.topics.push(name.to_string());
            self.topics.len() - 1
        })
    }

    #[cold]
    fn problem(&self, input: String, reason: String, place: Place) {
        let topic = &self.topics[place.topic as usize];
        let place = format!("{topic}:{}@{}", place.partition, place.offset);
        if self.log_exceptions {
            tracing::warn!(place, reason, "record cannot be parsed");
        }
        self.control.add_problem(ParseProblem { input, reason, place, at: self.control.now() });
    }

    /// Applies the transformSpec, and leaves out rows outside the window.
    pub fn sift(&mut self, window: (i64, i64)) -> Kept<'_> {
        let dropped = self.transform.apply(&mut self.batch, &mut self.keep);
        self.stats.thrown_away.filtered += dropped.filtered as u64;
        self.stats.unparseable += dropped.unparseable as u64;
        let (from, until) = window;
        if window != (i64::MIN, i64::MAX) {
            let (times, thrown) = (self.batch.times(), &mut self.stats.thrown_away);
            self.keep.retain(|row| {
                let time = times[*row as usize];
                thrown.late += u64::from(time < from);
                thrown.early += u64::from(time >= until);
                (from..until).contains(&time)
            });
        }
        let times = self.batch.times();
        self.newest_event = self.newest_event.max(self.keep.iter().map(|row| times[*row as usize]).max());
        Kept { batch: &self.batch, rows: &self.keep }
    }

    /// Counts what was appended. Fails if there are more parse exceptions than allowed.
    pub fn count(&mut self, taken: Taken) -> Result<()> {
        self.stats.processed += (taken.rows - taken.with_error) as u64;
        self.stats.processed_with_error += taken.with_error as u64;
        for (row, reason) in taken.problems {
            if let Some(place) = self.places.get(row as usize) {
                self.problem(String::new(), reason, *place);
            }
        }
        if self.stats.unparseable + self.stats.processed_with_error > self.exceptions_max {
            return Err(Error::Failed(format!("Max parse exceptions[{}] exceeded", self.exceptions_max)));
        }
        Ok(())
    }

    /// The latest time of the rows that were taken in.
    pub fn newest_event(&self) -> Option<i64> {
        self.newest_event
    }

    /// Counts, and rates as of now.
    pub fn stats(&mut self, now: i64) -> (RowStats, [Rates; 3]) {
        self.meter.tick(now, &self.stats);
        (self.stats, self.meter.rates)
    }
}

/// Moving averages as Unix load has them: every five seconds the rate of these moves the average.
#[derive(Default)]
struct Meter {
    ticked_at: Option<i64>,
    counted: RowStats,
    rates: [Rates; 3],
    is_started: bool,
}

const TICK_MS: i64 = 5_000;

impl Meter {
    fn tick(&mut self, now: i64, stats: &RowStats) {
        let ticked_at = *self.ticked_at.get_or_insert(now);
        let ticks = (now - ticked_at) / TICK_MS;
        if ticks < 1 {
            return;
        }
        self.ticked_at = Some(ticked_at + ticks * TICK_MS);
        let seconds = (ticks * TICK_MS) as f64 / 1000.0;
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let before = &self.counted;
        let current = Rates {
            processed: per_second(stats.processed, before.processed),
            processed_bytes: per_second(stats.processed_bytes, before.processed_bytes),
            processed_with_error: per_second(stats.processed_with_error, before.processed_with_error),
            unparseable: per_second(stats.unparseable, before.unparseable),
            thrown_away: per_second(stats.thrown_away.total(), before.thrown_away.total()),
        };
        self.counted = *stats;
        for (rates, minutes) in self.rates.iter_mut().zip([1.0, 5.0, 15.0]) {
            let keep = if self.is_started { (-seconds / (60.0 * minutes)).exp() } else { 0.0 };
            let blend = |old: f64, new: f64| old * keep + new * (1.0 - keep);
            *rates = Rates {
                processed: blend(rates.processed, current.processed),
                processed_bytes: blend(rates.processed_bytes, current.processed_bytes),
                processed_with_error: blend(rates.processed_with_error, current.processed_with_error),
                unparseable: blend(rates.unparseable, current.unparseable),
                thrown_away: blend(rates.thrown_away, current.thrown_away),
            };
        }
        self.is_started = true;
    }
}
