//! Native batch tasks (`index_parallel`, `index`): input → rows → segments → one publication. This is their conductor.
//!
//! 1. The source is cut into splits; threads take them one by one.
//! 2. Each thread parses, derives and drops, and appends rows to the realtime index of their time chunk. Indexes are
//!    shared by the threads; one that has `maxRowsPerSegment` rows is closed and the next one opened.
//! 3. When rows in memory pass the bounds, the largest indexes are spilled until half of the bound is free.
//! 4. All indexes are frozen and pushed, and the whole task is published in one transaction: readers see all of it or
//!    nothing. What a failed or cancelled task has pushed is never published.

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use segment::meta::{SegmentId, SegmentMeta};
use segment::realtime::RealtimeIndex;
use segment::row::RowBatch;
use segment::schema::Schema;
use segment::time::Interval;
use tokio::runtime::Handle;

use crate::control::{RETRY_FIRST, RETRY_MOST};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Publication, PublishMode};
use crate::parse::parquet::ParquetParser;
use crate::parse::{Failure, Parser};
use crate::positions::Positions;
use crate::report::{INPUT_BYTES_MAX, PROBLEMS_KEPT_MIN, ParseProblem, Phase, RowStats};
use crate::source::files::{Split, fetched, splits};
use crate::source::http::GoOn;
use crate::spec::{BatchSpec, InputFormat, InputSource, MemoryBound};
use crate::transform::Transform;
use crate::worker::{Ports, Settings};

/// Rows that are parsed before they are appended.
const BATCH_ROWS: usize = 4096;

/// Text that is parsed before its rows are appended, if it comes first.
const BATCH_BYTES: usize = 4 << 20;

/// Threads that read and parse. Appending is serial per time chunk, so more would wait for each other.
const THREADS: usize = 2;

/// How often a publication is repeated when the versions it writes into move.
const RENAMES_MAX: usize = 8;

/// Time chunks that one task may write.
const CHUNKS_MAX: usize = 100_000;

/// How a batch task stands: written by its threads, read by reports.
#[derive(Default)]
pub struct Progress {
    told: Mutex<Told>,
    cancelled: AtomicBool,
}

#[derive(Debug, Clone, Default)]
pub struct Told {
    pub phase: Phase,
    pub rows: RowStats,
    /// The newest last.
    pub problems: VecDeque<ParseProblem>,
    pub segments_published: u64,
    pub ignored: Vec<String>,
}

impl Progress {
    pub fn told(&self) -> Told {
        self.told.lock().clone()
    }

    /// The task stops at the next batch and fails.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Failed("the task was cancelled".into()));
        }
        Ok(())
    }

    fn enter(&self, phase: Phase) {
        self.told.lock().phase = phase;
    }
}

/// Runs a batch task to its end, on threads of its own. `Ok` means published.
pub async fn run(
    task: String,
    attempt: i64,
    spec: BatchSpec,
    ports: Ports,
    settings: Settings,
    progress: Arc<Progress>,
) -> Result<()> {
    let handle = Handle::current();
    let joined = tokio::task::spawn_blocking(move || {
        let folder = settings.folder.join("batch").join(folder_name(&task));
        let job = Job::new((task, attempt), spec, ports, settings, progress, folder, handle)?;
        let result = job.run();
        // Whatever came of it, its spills are of no use to anyone else.
        let _ = std::fs::remove_dir_all(&job.folder);
        job.progress.enter(Phase::Ended);
        result
    });
    joined.await.map_err(|e| Error::Bug(format!("a batch task panicked: {e}")))?
}

/// Task ids may hold characters that file names may not.
fn folder_name(task: &str) -> String {
    task.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

struct Job {
    task: String,
    attempt: i64,
    spec: BatchSpec,
    schema: Schema,
    ports: Ports,
    settings: Settings,
    progress: Arc<Progress>,
    folder: PathBuf,
    handle: Handle,
    chunks: Mutex<Chunks>,
    bytes_max: usize,
    /// Held while indexes are spilled for want of memory.
    spilling: Mutex<()>,
}

#[derive(Default)]
struct Chunks {
    /// By start of the chunk.
    open: BTreeMap<i64, Chunk>,
    closed: Vec<Arc<RealtimeIndex>>,
    made: usize,
}

/// A time chunk and the segment of it that takes rows.
struct Chunk {
    interval: Interval,
    index: Arc<RealtimeIndex>,
    /// Rows promised to the index.
    rows: u64,
    /// Segments opened so far.
    opened: u32,
}

impl Job {
    fn new(
        (task, attempt): (String, i64),
        spec: BatchSpec,
        ports: Ports,
        settings: Settings,
        progress: Arc<Progress>,
        folder: PathBuf,
        handle: Handle,
    ) -> Result<Job> {
        progress.told.lock().ignored = spec.ignored.clone();
        let bytes_max = match spec.tuning.max_bytes_in_memory {
            MemoryBound::Auto => settings.bytes_in_memory_default,
            MemoryBound::Unlimited => usize::MAX,
            MemoryBound::Bytes(bytes) => bytes as usize,
        };
        // What an earlier attempt of the same task left behind.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(format!("cannot create {}", folder.display()), e))?;
        let schema = spec.data_schema.schema();
        let (chunks, spilling) = (Mutex::default(), Mutex::default());
        Ok(Job { task, attempt, spec, schema, ports, settings, progress, folder, handle, chunks, bytes_max, spilling })
    }

    fn run(&self) -> Result<()> {
        self.progress.enter(Phase::Reading);
        let splits = match &self.spec.source {
            InputSource::Http(source) => {
                let progress = self.progress.clone();
                fetched(source, &self.settings.http, GoOn::new(move || progress.check()))?
            }
            source => splits(source, &self.spec.format, &self.settings.sources)?,
        };
        let next = AtomicUsize::new(0);
        self.on_threads(splits.len(), &|_| {
            let mut loader = Loader::new(self)?;
            while let Some(split) = splits.get(next.fetch_add(1, Ordering::Relaxed)) {
                loader.load(split)?;
            }
            loader.flush()
        })?;
        self.progress.enter(Phase::Publishing);
        let segments = self.freeze()?;
        self.publish(segments)
    }

    /// Runs `work` on as many threads as there is work for; the first error stops all.
    fn on_threads(&self, pieces: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
        let threads = THREADS.min(pieces).max(1);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let failed = &failed;
                scope.spawn(move || {
                    if let Err(error) = work(thread) {
                        self.progress.cancel();
                        // The error that came first is the cause; those after it are cancellations.
                        failed.lock().get_or_insert(error);
                    }
                });
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// The index for a row at `time`, and how many of up to `rows` rows it may take.
    fn reserve(&self, time: i64, rows: usize) -> Result<(Interval, Arc<RealtimeIndex>, usize)> {
        let mut chunks = self.chunks.lock();
        let found = chunks.open.range(..=time).next_back().map(|(start, c)| (*start, c.interval));
        let max = self.spec.tuning.max_rows_per_segment;
        let start = match found {
            Some((start, interval)) if interval.contains(time) => start,
            _ => {
                if chunks.open.len() >= CHUNKS_MAX {
                    return Err(Error::Failed(format!(
                        "the input has more than {CHUNKS_MAX} time chunks; choose a coarser segmentGranularity"
                    )));
                }
                let index =
                    self.open(self.spec.data_schema.granularity.segment.bucket(time), 0, time, &mut chunks.made)?;
                // The ledger may have answered a larger or smaller chunk than the one asked for.
                let interval = index.id().interval;
                chunks.open.insert(interval.start, Chunk { interval, index, rows: 0, opened: 1 });
                interval.start
            }
        };
        let Chunks { open, closed, made } = &mut *chunks;
        let chunk = open.get_mut(&start).expect("found or made above");
        if self.schema.rollup {
            chunk.rows = chunk.index.rows() as u64;
        }
        if chunk.rows >= max {
            let next = self.open(chunk.interval, chunk.opened, time, made)?;
            closed.push(std::mem::replace(&mut chunk.index, next));
            (chunk.rows, chunk.opened) = (0, chunk.opened + 1);
        }
        let taken = rows.min(usize::try_from(max - chunk.rows).unwrap_or(usize::MAX));
        chunk.rows += taken as u64;
        Ok((chunk.interval, chunk.index.clone(), taken))
    }

    /// Opens the how-many-th segment of a time chunk, for a row at `at`.
    fn open(&self, interval: Interval, nth: u32, at: i64, made: &mut usize) -> Result<Arc<RealtimeIndex>> {
        let id = self.allocate(interval, nth, at)?;
        if !id.interval.contains(at) {
            return Err(Error::Bug(format!("the segment {id} was allocated for another time")));
        }
        let folder = self.folder.join(format!("{made:06}"));
        *made += 1;
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(format!("cannot create {}", folder.display()), e))?;
        Ok(Arc::new(RealtimeIndex::new(id, self.schema.clone(), folder, Vec::new())?))
    }

    fn allocate(&self, interval: Interval, index: u32, at: i64) -> Result<SegmentId> {
        let allocation = Allocation {
            task: self.task.clone(),
            attempt: self.attempt,
            datasource: self.spec.data_schema.datasource.clone(),
            sequence: self.task.clone(),
            interval,
            fresh_version: !self.spec.append,
            index,
            at,
        };
        self.handle.block_on(self.ports.ledger.allocate(&allocation))
    }

    fn indexes(&self) -> Vec<Arc<RealtimeIndex>> {
        let chunks = self.chunks.lock();
        chunks.closed.iter().chain(chunks.open.values().map(|c| &c.index)).cloned().collect()
    }

    /// Spills the largest indexes if memory is past its bounds.
    fn relieve(&self) -> Result<()> {
        let over = |factor: usize| {
            let (bytes, rows) = self.in_memory();
            bytes / factor > self.bytes_max || rows / factor > self.spec.tuning.max_rows_in_memory
        };
        if !over(1) {
            return Ok(());
        }
        // One thread spills while others go on, until they are far ahead of it.
        let Some(_turn) = (if over(2) { Some(self.spilling.lock()) } else { self.spilling.try_lock() }) else {
            return Ok(());
        };
        if !over(1) {
            return Ok(());
        }
        let mut indexes = self.indexes();
        indexes.sort_by_key(|index| std::cmp::Reverse(index.bytes_in_memory()));
        for index in indexes {
            let (bytes, rows) = self.in_memory();
            if bytes <= self.bytes_max / 2 && rows <= self.spec.tuning.max_rows_in_memory / 2 {
                break;
            }
            index.spill()?;
        }
        Ok(())
    }

    fn in_memory(&self) -> (usize, usize) {
        self.indexes().iter().fold((0, 0), |(bytes, rows), i| (bytes + i.bytes_in_memory(), rows + i.rows_in_memory()))
    }

    /// Makes the final file of each index and pushes it.
    fn freeze(&self) -> Result<Vec<SegmentMeta>> {
        let mut indexes: VecDeque<Arc<RealtimeIndex>> = {
            let mut chunks = self.chunks.lock();
            let Chunks { open, closed, .. } = std::mem::take(&mut *chunks);
            closed.into_iter().chain(open.into_values().map(|c| c.index)).collect()
        };
        indexes.retain(|index| index.rows() > 0);
        let (count, queue) = (indexes.len(), Mutex::new(indexes));
        let done: Mutex<Vec<SegmentMeta>> = Mutex::default();
        self.on_threads(count, &|thread| {
            let to = self.folder.join(format!("final-{thread}.seg"));
            loop {
                let Some(index) = queue.lock().pop_front() else { return Ok(()) };
                self.progress.check()?;
                let meta = index.freeze_at_once(&to)?;
                drop(index);
                let push = || Ok(self.handle.block_on(self.ports.deep.push(&to, meta.clone()))?);
                let meta = self.patiently(push)?;
                remove_file(&to)?;
                done.lock().push(meta);
            }
        })?;
        let mut segments = done.into_inner();
        segments.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(segments)
    }

    fn publish(&self, mut segments: Vec<SegmentMeta>) -> Result<()> {
        self.progress.check()?;
        let given = self.spec.data_schema.granularity.intervals.clone().unwrap_or_default();
        let mut replaced: Vec<Interval> = segments.iter().map(|s| s.id.interval).collect();
        if self.spec.drop_existing {
            replaced.extend(given);
        }
        let mode = match self.spec.append {
            true => PublishMode::Append,
            false => PublishMode::Replace { intervals: Interval::merge(&replaced) },
        };
        if segments.is_empty() && !self.spec.drop_existing {
            return Ok(());
        }
        for _ in 0..RENAMES_MAX {
            let publication = Publication {
                task: self.task.clone(),
                attempt: self.attempt,
                supervisor: None,
                datasource: self.spec.data_schema.datasource.clone(),
                segments: segments.clone(),
                from: Positions::default(),
                to: Positions::default(),
                mode: mode.clone(),
            };
            // The outcome of a call that failed is unknown until it is repeated: a task that is called failed must not
            // have published.
            let ids = self.patiently(|| self.handle.block_on(self.ports.ledger.publish(&publication)))?;
            if ids.iter().eq(segments.iter().map(|s| &s.id)) {
                self.progress.told.lock().segments_published = segments.len() as u64;
                return Ok(());
            }
            for (segment, id) in segments.iter_mut().zip(ids) {
                segment.id = id;
            }
        }
        Err(Error::Unavailable("other tasks keep replacing the same time chunks; run the task again".into()))
    }
}

impl Job {
    /// Calls again what failed for want of a disk or the catalog, until it works, fails for good, or the task is
    /// cancelled.
    fn patiently<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        let mut rest = RETRY_FIRST;
        loop {
            match call() {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(task = self.task, %error, "a task cannot store, and tries again");
                    self.progress.check()?;
                    std::thread::sleep(rest);
                    rest = (rest * 2).min(RETRY_MOST);
                }
                done => return done,
            }
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// One thread's part: splits into rows into indexes.
struct Loader<'j> {
    job: &'j Job,
    input: Input,
    transform: Transform,
    batch: RowBatch,
    keep: Vec<u32>,
    /// Rows of a batch by time chunk.
    parts: Vec<(Interval, Vec<u32>)>,
    stats: RowStats,
}

enum Input {
    Lines(Box<Parser>),
    Parquet(Box<ParquetParser>),
}

impl<'j> Loader<'j> {
    fn new(job: &'j Job) -> Result<Loader<'j>> {
        let schema = &job.spec.data_schema;
        let input = match &job.spec.format {
            InputFormat::Parquet(format) => Input::Parquet(Box::new(ParquetParser::new(schema, format))),
            format => Input::Lines(Box::new(Parser::new(schema, format)?)),
        };
        Ok(Loader {
            job,
            input,
            transform: Transform::new(schema),
            batch: RowBatch::new(),
            keep: Vec::new(),
            parts: Vec::new(),
            stats: RowStats::default(),
        })
    }

    fn load(&mut self, split: &Split) -> Result<()> {
        let job = self.job;
        if matches!(self.input, Input::Parquet(_)) {
            if !matches!(split, Split::Fetched { .. }) {
                return self.load_parquet(split, split);
            }
            let path = job.folder.join(format!("input-{}", uuid::Uuid::new_v4()));
            let loaded =
                split.fetch(&path).and_then(|parts| parts.iter().try_for_each(|part| self.load_parquet(part, split)));
            let removed = remove_file(&path);
            return loaded.and(removed);
        }
        if let Input::Lines(parser) = &mut self.input
            && split.begins_file()
        {
            parser.begin_file();
        }
        split.read_lines(&mut |block| self.lines(block, split))
    }

    /// Row groups of a file, which is what `of` is or was fetched from.
    fn load_parquet(&mut self, split: &Split, of: &Split) -> Result<()> {
        let (Split::Parquet { file, groups }, Input::Parquet(parser)) = (split, &self.input) else {
            return Err(Error::Bug("a parser of Parquet files with something else".into()));
        };
        let reader = parser.open(file, groups.clone())?;
        for records in reader {
            let records = records.map_err(|e| Error::invalid(format!("cannot read {}: {e}", of.place())))?;
            let Input::Parquet(parser) = &self.input else { break };
            let failures = parser.append(&records, &mut self.batch)?;
            self.stats.processed_bytes += records.get_array_memory_size() as u64;
            for failure in failures {
                self.problem(failure, &[], of)?;
            }
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn lines(&mut self, block: &[u8], split: &Split) -> Result<()> {
        let mut rest = block;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let Input::Lines(parser) = &mut self.input else { return Ok(()) };
            match parser.parse_line(line, &mut self.batch) {
                Ok(_) => self.stats.processed_bytes += line.len() as u64,
                Err(failure) => self.problem(failure, line, split)?,
            }
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.batch.rows() >= BATCH_ROWS || self.batch.arena_bytes() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Appends the rows of the batch and reports.
    fn flush(&mut self) -> Result<()> {
        self.job.progress.check()?;
        let dropped = self.transform.apply(&mut self.batch, &mut self.keep);
        self.stats.thrown_away.filtered += dropped.filtered as u64;
        if let Some(intervals) = &self.job.spec.data_schema.granularity.intervals {
            let before = self.keep.len();
            let times = self.batch.times();
            self.keep.retain(|row| intervals.iter().any(|i| i.contains(times[*row as usize])));
            self.stats.thrown_away.late += (before - self.keep.len()) as u64;
        }
        self.group_by_chunk();
        let parts = std::mem::take(&mut self.parts);
        for (_, rows) in &parts {
            self.append(rows)?;
        }
        self.parts = parts;
        self.batch.clear();
        self.tell(dropped.unparseable as u64)?;
        self.job.relieve()
    }

    fn group_by_chunk(&mut self) {
        let granularity = &self.job.spec.data_schema.granularity.segment;
        self.parts.clear();
        let mut at = 0;
        for row in &self.keep {
            let time = self.batch.times()[*row as usize];
            if !self.parts.get(at).is_some_and(|(interval, _)| interval.contains(time)) {
                at = match self.parts.iter().position(|(interval, _)| interval.contains(time)) {
                    Some(found) => found,
                    None => {
                        self.parts.push((granularity.bucket(time), Vec::new()));
                        self.parts.len() - 1
                    }
                };
            }
            self.parts[at].1.push(*row);
        }
    }

    fn append(&mut self, rows: &[u32]) -> Result<()> {
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let (interval, index, taken) = self.job.reserve(self.batch.times()[*first as usize], rest.len())?;
            let times = self.batch.times();
            // A chunk of the ledger may be smaller than asked: rows outside go to the next one.
            let inside = rest[..taken].iter().take_while(|row| interval.contains(times[**row as usize])).count();
            let (now, later) = rest.split_at(inside);
            let appended = index.append(&self.batch, now)?;
            self.stats.processed += (appended.rows - appended.with_error) as u64;
            self.stats.processed_with_error += appended.with_error as u64;
            rest = later;
        }
        Ok(())
    }

    fn problem(&mut self, failure: Failure, input: &[u8], split: &Split) -> Result<()> {
        let cut = &input[..input.len().min(INPUT_BYTES_MAX)];
        let at = (self.job.settings.clock)();
        let problem = ParseProblem {
            input: String::from_utf8_lossy(cut).into_owned(),
            reason: failure.reason,
            place: split.place(),
            at,
        };
        let mut told = self.job.progress.told.lock();
        if told.problems.len() >= PROBLEMS_KEPT_MIN.max(self.job.spec.tuning.max_saved_parse_exceptions) {
            told.problems.pop_front();
        }
        told.problems.push_back(problem);
        drop(told);
        self.tell(1)
    }

    /// Adds this thread's counts to the task's, and fails if more rows than allowed could not be parsed.
    fn tell(&mut self, unparseable: u64) -> Result<()> {
        let mut told = self.job.progress.told.lock();
        let rows = &mut told.rows;
        rows.unparseable += unparseable;
        rows.processed += self.stats.processed;
        rows.processed_bytes += self.stats.processed_bytes;
        rows.processed_with_error += self.stats.processed_with_error;
        rows.thrown_away.filtered += self.stats.thrown_away.filtered;
        rows.thrown_away.late += self.stats.thrown_away.late;
        self.stats = RowStats::default();
        if rows.unparseable > self.job.spec.tuning.max_parse_exceptions {
            let last = told.problems.back().map_or_else(String::new, |p| format!("; the last: {}", p.reason));
            return Err(Error::Failed(format!("more than maxParseExceptions rows could not be parsed{last}")));
        }
        Ok(())
    }
}
