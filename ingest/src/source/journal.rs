//! A stream that this process writes itself: lines in files, numbered from 0, read by a task as a partition of Kafka is.
//!
//! ```text
//! <folder>/00000000000000000000.jsonl     lines 0 …
//! <folder>/00000000000000051234.jsonl     lines 51234 …, the file that is appended to
//! ```
//!
//! 1. [`Journal::append`] puts a line into a bounded queue and returns; [`Journal::append_synced`] waits for the disk.
//! 2. A thread writes what is queued in one piece and syncs it (a group: one sync for all that came within [`GROUP`]).
//!    Only then are the lines there: readers see no line that a crash could take back.
//! 3. What the disk refuses stays queued and is written again, from the last synced length on; meanwhile the journal says
//!    that it fails, and when the queue is full it takes no more.
//! 4. [`Journal::forget_before`] deletes files once all their lines are published.
//! 5. Of the queue and of the files a quarter is kept for lines of [`Room::Kept`]: what is ordinary does not keep out what
//!    matters most. A line that was taken has its place on the disk.
//!
//! A line that a crash cut off was never there, and is cut off at the next start.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{Limits, Range, Watch};
use crate::error::{Error, Result};
use crate::parse::Record;
use crate::positions::{PartitionKey, Positions};

/// How long lines are gathered before they are written and synced together. A line that is waited for is not.
const GROUP: Duration = Duration::from_millis(50);

/// Rest before the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Memory that the writer keeps for the next group.
const GROUP_BYTES_KEPT: usize = 1 << 20;

/// How often a reader looks at the range as a whole.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub struct JournalLimits {
    /// A file that has grown past this is followed by another; no more than this is written at once, but for a longer line.
    pub file_bytes: u64,
    /// All files together, with the lines that are not yet written; past it the journal takes no more.
    pub bytes_max: u64,
    /// Lines not yet written.
    pub queue_bytes_max: usize,
}

/// How much of the journal a line may be the last of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Three quarters.
    Ordinary,
    /// All of it.
    Kept,
}

impl Room {
    /// What of a bound is open to such lines.
    pub fn of(self, bound: u64) -> u64 {
        match self {
            Room::Ordinary => bound - bound / 4,
            Room::Kept => bound,
        }
    }
}

/// Why a line was not taken.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Refused {
    #[error("the queue of the journal is full")]
    Full,
    #[error("the journal holds {held} bytes that are not published, and may hold {most}")]
    Unpublished { held: u64, most: u64 },
    #[error("the journal cannot be written: {0}")]
    Failing(String),
    #[error("the journal is closed")]
    Closed,
}

/// The writing end, and what readers share with it.
pub struct Journal {
    name: String,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    folder: PathBuf,
    limits: JournalLimits,
    state: Mutex<State>,
    /// Something is queued, or it is time to stop.
    queued: Condvar,
    /// More lines are synced.
    synced: Condvar,
}

struct State {
    /// Lines that the writer has not taken over yet.
    queue: Vec<u8>,
    /// The number of the next line that is taken.
    next: i64,
    /// Somebody waits for what is queued.
    urgent: bool,
    stop: bool,
    /// In order; the last is appended to.
    files: VecDeque<Part>,
    /// Of all files.
    bytes: u64,
    /// Bytes that the writer has taken over and that are not synced.
    in_hand: usize,
    failure: Option<String>,
    /// There was no room for the last ordinary line.
    full: Option<Refused>,
}

/// A file and the lines of it that are synced.
#[derive(Debug, Clone)]
struct Part {
    path: PathBuf,
    first: i64,
    end: i64,
    bytes: u64,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    synced: i64,
    failure: Option<String>,
    closed: bool,
}

impl State {
    fn low(&self) -> i64 {
        self.files.front().map_or(0, |part| part.first)
    }

    fn end(&self) -> i64 {
        self.files.back().map_or(0, |part| part.end)
    }

    /// Whether there is room for one more line of `bytes`.
    fn admit(&self, bytes: usize, limits: &JournalLimits, room: Room) -> Result<(), Refused> {
        if (self.queue.len() + bytes) as u64 > room.of(limits.queue_bytes_max as u64) {
            return Err(Refused::Full);
        }
        let held = self.bytes + (self.in_hand + self.queue.len()) as u64;
        match held + bytes as u64 > room.of(limits.bytes_max) {
            true => Err(Refused::Unpublished { held, most: room.of(limits.bytes_max) }),
            false => Ok(()),
        }
    }
}

impl Journal {
    /// Opens the journal of a folder, which is made if it is missing. `published` is the line that follows on what is
    /// published: should the files end before it (they were removed, say), numbers go on from there, so that none is
    /// used twice.
    pub fn open(name: &str, folder: &Path, published: i64, limits: JournalLimits) -> Result<Journal> {
        fs::create_dir_all(folder).map_err(|error| Error::io(folder.display().to_string(), error))?;
        let mut files = find(folder)?;
        if files.back().is_none_or(|part| part.end < published) {
            let first = files.back().map_or(published, |part| part.end.max(published));
            files.push_back(create(folder, first)?);
        }
        let next = files.back().map_or(0, |part| part.end);
        let bytes = files.iter().map(|part| part.bytes).sum();
        let (queue, in_hand) = Default::default();
        let state = State { queue, next, urgent: false, stop: false, files, bytes, in_hand, failure: None, full: None };
        let (tell, progress) = watch::channel(Progress { synced: next, ..Progress::default() });
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            limits,
            state: Mutex::new(state),
            queued: Condvar::new(),
            synced: Condvar::new(),
        });
        let writing = shared.clone();
        let thread = std::thread::Builder::new().name(format!("henge-{name}"));
        let writer = thread
            .spawn(move || Writer { shared: writing, tell, file: None, group: Vec::new(), upto: next }.run())
            .map_err(|error| Error::io("start a thread", error))?;
        Ok(Journal { name: name.to_string(), shared, progress, writer: Mutex::new(Some(writer)) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one partition there is.
    pub fn partition(&self) -> PartitionKey {
        PartitionKey::new(self.name.clone(), 0)
    }

    /// Takes an ordinary line (without its end) that is on disk soon; its number.
    pub fn append(&self, line: &[u8]) -> Result<i64, Refused> {
        self.queue(line, Room::Ordinary, false)
    }

    /// Takes a line and returns once it is on disk. Fails at once while the disk refuses; then the line may still be
    /// written later.
    pub async fn append_synced(&self, line: &[u8], room: Room) -> Result<(), Refused> {
        let number = self.queue(line, room, true)?;
        let mut progress = self.progress.clone();
        let settled = progress
            .wait_for(|progress| progress.synced > number || progress.failure.is_some() || progress.closed)
            .await
            .map_err(|_| Refused::Closed)?
            .clone();
        match settled.failure {
            _ if settled.synced > number => Ok(()),
            Some(reason) => Err(Refused::Failing(reason)),
            None => Err(Refused::Closed),
        }
    }

    fn queue(&self, line: &[u8], room: Room, urgent: bool) -> Result<i64, Refused> {
        debug_assert!(!line.contains(&b'\n'), "a line of the journal holds no line feed");
        let (shared, mut state) = (&self.shared, self.shared.state.lock());
        if state.stop {
            return Err(Refused::Closed);
        }
        if urgent && let Some(reason) = &state.failure {
            return Err(Refused::Failing(reason.clone()));
        }
        let admitted = state.admit(line.len() + 1, &shared.limits, room);
        if room == Room::Ordinary {
            state.full = admitted.clone().err();
        }
        admitted?;
        let number = state.next;
        let was_idle = state.queue.is_empty();
        state.queue.extend_from_slice(line);
        state.queue.push(b'\n');
        state.next += 1;
        if urgent {
            state.urgent = true;
        }
        drop(state);
        if was_idle || urgent {
            shared.queued.notify_one();
        }
        Ok(number)
    }

    /// Why lines are refused, while the disk refuses them or there is no room for ordinary ones.
    pub fn failure(&self) -> Option<Refused> {
        let state = self.shared.state.lock();
        state.failure.clone().map(Refused::Failing).or_else(|| state.full.clone())
    }

    /// The lines that are there: the first, and the one after the last.
    pub fn range(&self) -> Range {
        let state = self.shared.state.lock();
        Range { low: state.low(), high: state.end() }
    }

    pub fn bytes(&self) -> u64 {
        self.shared.state.lock().bytes
    }

    /// Deletes the files whose lines all come before `line`. The last file stays.
    pub fn forget_before(&self, line: i64) -> Result<()> {
        loop {
            let path = {
                let state = self.shared.state.lock();
                match state.files.front() {
                    Some(part) if state.files.len() > 1 && part.end <= line => part.path.clone(),
                    _ => return Ok(()),
                }
            };
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(path.display().to_string(), error));
                }
                _ => {
                    let mut state = self.shared.state.lock();
                    let gone = state.files.pop_front().map_or(0, |part| part.bytes);
                    state.bytes = state.bytes.saturating_sub(gone);
                    state.full = None;
                }
            }
        }
    }

    /// Writes what is queued and takes no more. May be called twice.
    pub fn close(&self) {
        self.shared.state.lock().stop = true;
        self.shared.queued.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            // A panic of the thread has been printed; there is nothing to save here.
            let _ = writer.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// The files of a folder, the torn end of the last one cut off.
fn find(folder: &Path) -> Result<VecDeque<Part>> {
    let failed = |error| Error::io(folder.display().to_string(), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl")?.parse().ok());
        files.extend(number.map(|first: i64| (first, path)));
    }
    files.sort();
    let mut parts = VecDeque::with_capacity(files.len());
    let last = files.len().saturating_sub(1);
    for (idx, (first, path)) in files.into_iter().enumerate() {
        let failed = |error| Error::io(path.display().to_string(), error);
        let (lines, bytes) = whole_lines(&path).map_err(failed)?;
        if idx == last {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            file.set_len(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        parts.push_back(Part { path, first, end: first + lines, bytes });
    }
    Ok(parts)
}

/// How many lines a file has, and how many bytes they take.
fn whole_lines(path: &Path) -> std::io::Result<(i64, u64)> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 16];
    let (mut lines, mut bytes, mut at) = (0, 0, 0u64);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((lines, bytes));
        }
        for end in memchr::memchr_iter(b'\n', &chunk[..read]) {
            lines += 1;
            bytes = at + end as u64 + 1;
        }
        at += read as u64;
    }
}

fn create(folder: &Path, first: i64) -> Result<Part> {
    let path = folder.join(format!("{first:020}.jsonl"));
    let made = File::create(&path).and_then(|file| file.sync_all());
    // The name must survive a crash as the lines do.
    made.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| Error::io(path.display().to_string(), error))?;
    Ok(Part { path, first, end: first, bytes: 0 })
}

struct Writer {
    shared: Arc<Shared>,
    tell: watch::Sender<Progress>,
    /// The last part's, at its end.
    file: Option<File>,
    /// What was taken over from the queue and is not synced.
    group: Vec<u8>,
    /// The number of the line after the group.
    upto: i64,
}

impl Writer {
    fn run(mut self) {
        while self.gather() {
            match self.put_down() {
                Ok(()) => self.settle(None),
                Err(error) => {
                    // Of a file that was not synced nothing is known but what was synced before.
                    self.file = None;
                    self.settle(Some(error.to_string()));
                    let mut state = self.shared.state.lock();
                    if !state.stop {
                        self.shared.queued.wait_for(&mut state, RETRY);
                    }
                    if state.stop {
                        break;
                    }
                }
            }
        }
        self.tell.send_modify(|progress| progress.closed = true);
    }

    /// Takes over what is queued, waiting for it and for what comes with it. `false` when nothing more is to come.
    fn gather(&mut self) -> bool {
        let shared = self.shared.clone();
        let most = usize::try_from(shared.limits.file_bytes).unwrap_or(usize::MAX);
        let mut state = shared.state.lock();
        if self.group.is_empty() {
            while state.queue.is_empty() && !state.stop {
                shared.queued.wait(&mut state);
            }
            let until = Instant::now() + GROUP;
            while !state.urgent
                && !state.stop
                && state.queue.len() < most
                && !shared.queued.wait_until(&mut state, until).timed_out()
            {}
        }
        // A group that the disk refused is not added to: the queue has a bound, and the group is part of it.
        if self.group.is_empty() {
            self.take_over(&mut state, most);
        }
        !self.group.is_empty()
    }

    /// Makes a group of what is queued, of `most` bytes if one line is not more: files that are too long would keep
    /// published lines for long.
    fn take_over(&mut self, state: &mut State, most: usize) {
        if state.queue.len() <= most {
            std::mem::swap(&mut self.group, &mut state.queue);
            self.upto = state.next;
            state.urgent = false;
        } else {
            let end = memchr::memrchr(b'\n', &state.queue[..most]).or_else(|| memchr::memchr(b'\n', &state.queue));
            self.group.extend(state.queue.drain(..end.map_or(state.queue.len(), |end| end + 1)));
            self.upto += memchr::memchr_iter(b'\n', &self.group).count() as i64;
        }
        state.in_hand = self.group.len();
    }

    /// Writes the group behind what is synced, and syncs it.
    fn put_down(&mut self) -> Result<()> {
        let mut part = self.shared.state.lock().files.back().cloned();
        if part.as_ref().is_none_or(|part| part.bytes >= self.shared.limits.file_bytes) {
            let made = create(&self.shared.folder, part.map_or(0, |part| part.end))?;
            self.shared.state.lock().files.push_back(made.clone());
            (self.file, part) = (None, Some(made));
        }
        let Some(part) = part else { return Err(Error::Bug("the journal has no file".into())) };
        let failed = |error| Error::io(part.path.display().to_string(), error);
        if self.file.is_none() {
            let mut file = OpenOptions::new().write(true).open(&part.path).map_err(failed)?;
            file.set_len(part.bytes).map_err(failed)?;
            file.seek(SeekFrom::Start(part.bytes)).map_err(failed)?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Err(Error::Bug("the journal's file is closed".into())) };
        file.write_all(&self.group).and_then(|()| file.sync_data()).map_err(failed)
    }

    /// Makes known what is synced, or why nothing is.
    fn settle(&mut self, failure: Option<String>) {
        let mut state = self.shared.state.lock();
        match &failure {
            None => {
                if let Some(part) = state.files.back_mut() {
                    part.bytes += self.group.len() as u64;
                    part.end = self.upto;
                }
                state.bytes += self.group.len() as u64;
                state.in_hand = 0;
                state.full.take_if(|refused| *refused == Refused::Full);
                self.group.clear();
                self.group.shrink_to(GROUP_BYTES_KEPT);
            }
            Some(reason) if state.failure.is_none() => tracing::error!(reason, "the journal cannot be written"),
            Some(_) => {}
        }
        state.failure.clone_from(&failure);
        let synced = state.end();
        drop(state);
        self.tell.send_modify(|progress| (progress.synced, progress.failure) = (synced, failure));
        self.shared.synced.notify_all();
    }
}

/// The reading end: hands over synced lines from an assigned number on.
pub struct JournalSource {
    journal: Arc<Journal>,
    opened: Instant,
    next: Option<i64>,
    reader: Option<Reader>,
    line: Vec<u8>,
}

struct Reader {
    file: BufReader<File>,
    /// The first line of the file, which names it.
    first: i64,
}

impl JournalSource {
    pub fn new(journal: Arc<Journal>) -> JournalSource {
        JournalSource { journal, opened: Instant::now(), next: None, reader: None, line: Vec::new() }
    }

    pub fn assign(&mut self, positions: &Positions) -> Result<()> {
        if let Some(next) = positions.get(&self.journal.partition()) {
            self.next = Some(next);
            self.reader = None;
        }
        Ok(())
    }

    pub fn positions(&self) -> Positions {
        Positions(self.next.iter().map(|next| (self.journal.partition(), *next)).collect())
    }

    pub fn looks(&self) -> u64 {
        1 + (self.opened.elapsed().as_millis() / LOOK.as_millis()) as u64
    }

    pub fn watch(&self) -> Watch {
        let key = self.journal.partition();
        Watch {
            looks: self.looks(),
            partitions: vec![key.clone()],
            ranges: [(key, self.journal.range())].into(),
            answered_once: true,
            answers: true,
            problem: self.journal.failure().map(|refused| refused.to_string()),
            drained: Default::default(),
        }
    }

    /// As [`super::kafka::KafkaSource::poll`].
    pub fn poll(&mut self, wait: Duration, limits: Limits, mut take: impl FnMut(&Record)) -> Result<usize> {
        let end = self.await_lines(wait);
        let Some(mut next) = self.next else { return Ok(0) };
        let until = Instant::now() + limits.time;
        let (mut records, mut bytes) = (0, 0);
        while next < end && records < limits.records && bytes < limits.bytes {
            if records % 32 == 31 && Instant::now() >= until {
                break;
            }
            self.read_line(next)?;
            bytes += self.line.len();
            records += 1;
            take(&Record {
                bytes: Some(&self.line),
                key: None,
                headers: &[],
                topic: &self.journal.name,
                partition: 0,
                offset: next,
                timestamp: 0,
            });
            next += 1;
            self.next = Some(next);
        }
        Ok(records)
    }

    /// The line after the last that may be read, waiting for one more if there is none.
    fn await_lines(&self, wait: Duration) -> i64 {
        let shared = &self.journal.shared;
        let mut state = shared.state.lock();
        if self.next.is_none_or(|next| next >= state.end()) {
            shared.synced.wait_for(&mut state, wait);
        }
        state.end()
    }

    /// Reads a line, which is synced, into `self.line`.
    fn read_line(&mut self, number: i64) -> Result<()> {
        let shared = &self.journal.shared;
        let (part, low) = {
            let state = shared.state.lock();
            let part = state.files.iter().rev().find(|part| part.first <= number && number < part.end);
            (part.cloned(), state.low())
        };
        let Some(part) = part else {
            return Err(Error::Lost(format!("line {number} of the journal is gone; it begins at {low}")));
        };
        let failed = |error| Error::io(part.path.display().to_string(), error);
        if self.reader.as_ref().is_none_or(|reader| reader.first != part.first) {
            let mut file = BufReader::with_capacity(1 << 16, File::open(&part.path).map_err(failed)?);
            for _ in part.first..number {
                file.skip_until(b'\n').map_err(failed)?;
            }
            self.reader = Some(Reader { file, first: part.first });
        }
        let Some(reader) = &mut self.reader else { return Err(Error::Bug("the journal's reader is closed".into())) };
        self.line.clear();
        reader.file.read_until(b'\n', &mut self.line).map_err(failed)?;
        if self.line.pop() != Some(b'\n') {
            return Err(Error::Failed(format!("{} ends before its line {number}", part.path.display())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JournalLimits = JournalLimits { file_bytes: 64, bytes_max: 1 << 20, queue_bytes_max: 1 << 16 };
    const BATCH: Limits = Limits { records: 1000, bytes: 1 << 20, time: Duration::from_secs(1) };

    fn line(number: i64) -> Vec<u8> {
        format!("line {number} {}", "x".repeat(number as usize % 7)).into_bytes()
    }

    fn append(journal: &Journal, numbers: std::ops::Range<i64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in numbers {
            runtime.block_on(journal.append_synced(&line(number), Room::Ordinary)).unwrap();
        }
    }

    /// Reads from `from` to the end, and checks that every line is the one of its number.
    fn read(journal: &Arc<Journal>, from: i64) -> Vec<i64> {
        let mut source = JournalSource::new(journal.clone());
        source.assign(&Positions([(journal.partition(), from)].into())).unwrap();
        let mut numbers = Vec::new();
        while source.positions().get(&journal.partition()).unwrap() < journal.range().high {
            source
                .poll(Duration::from_millis(10), BATCH, |record| {
                    assert_eq!(record.bytes.unwrap(), line(record.offset));
                    numbers.push(record.offset);
                })
                .unwrap();
        }
        numbers
    }

    #[test]
    fn lines_keep_their_numbers_through_files_and_lives() {
        let folder = tempfile::tempdir().unwrap();
        for life in 0..4 {
            let journal = Arc::new(Journal::open("j", folder.path(), 0, LIMITS).unwrap());
            assert_eq!(journal.range(), Range { low: 0, high: life * 20 });
            append(&journal, life * 20..life * 20 + 20);
            assert_eq!(read(&journal, 0), (0..life * 20 + 20).collect::<Vec<_>>());
            assert_eq!(read(&journal, life * 20 + 7), (life * 20 + 7..life * 20 + 20).collect::<Vec<_>>());
        }
        assert!(fs::read_dir(folder.path()).unwrap().count() > 4);
    }

    #[test]
    fn what_a_crash_cut_off_was_never_there() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open("j", folder.path(), 0, LIMITS).unwrap();
        append(&journal, 0..9);
        drop(journal);
        let last = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        OpenOptions::new().append(true).open(last).unwrap().write_all(b"line 9 but torn").unwrap();
        let journal = Arc::new(Journal::open("j", folder.path(), 0, LIMITS).unwrap());
        assert_eq!(journal.range().high, 9);
        append(&journal, 9..12);
        assert_eq!(read(&journal, 0), (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn published_files_go_and_their_numbers_are_never_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open("j", folder.path(), 0, LIMITS).unwrap());
        append(&journal, 0..40);
        journal.forget_before(20).unwrap();
        let low = journal.range().low;
        assert!(low > 0 && low <= 20, "{low}");
        assert_eq!(read(&journal, low), (low..40).collect::<Vec<_>>());
        let mut source = JournalSource::new(journal.clone());
        source.assign(&Positions([(journal.partition(), 0)].into())).unwrap();
        assert!(matches!(source.poll(Duration::ZERO, BATCH, |_| ()), Err(Error::Lost(_))));
        journal.forget_before(1000).unwrap();
        assert_eq!(journal.range().high, 40);
        drop((source, journal));
        fs::remove_dir_all(folder.path()).unwrap();
        let journal = Arc::new(Journal::open("j", folder.path(), 30, LIMITS).unwrap());
        assert_eq!(journal.range(), Range { low: 30, high: 30 });
    }

    fn wait_until_written(journal: &Journal, taken: i64) {
        let end = Instant::now() + Duration::from_secs(20);
        while journal.range().high < taken {
            assert!(Instant::now() < end, "the queue is not written: {:?}", journal.failure());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes lines for as long as there is room; the number of the first that was refused, and why.
    fn fill(journal: &Journal, mut number: i64, room: Room) -> (i64, Refused) {
        loop {
            match journal.queue(&line(number), room, false) {
                Ok(_) => number += 1,
                Err(refused) => return (number, refused),
            }
        }
    }

    #[test]
    fn what_is_ordinary_leaves_a_quarter_and_a_full_journal_recovers() {
        let folder = tempfile::tempdir().unwrap();
        let limits = JournalLimits { bytes_max: 4000, ..LIMITS };
        let journal = Arc::new(Journal::open("j", folder.path(), 0, limits).unwrap());
        let (ordinary, refused) = fill(&journal, 0, Room::Ordinary);
        let Refused::Unpublished { held, most: 3000 } = refused.clone() else { panic!("{refused:?}") };
        assert!((2900..=3000).contains(&held), "{held}");
        wait_until_written(&journal, ordinary);
        assert_eq!(journal.failure(), Some(refused));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut taken = ordinary;
        let refused = loop {
            match runtime.block_on(journal.append_synced(&line(taken), Room::Kept)) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Refused::Unpublished { most: 4000, .. }), "{refused:?}");
        assert!(journal.bytes() > 3900 && taken > ordinary + 40, "{} bytes, {taken}", journal.bytes());

        // Of what is published little stays, however fast it had come: files are small.
        journal.forget_before(taken).unwrap();
        assert!(journal.bytes() < 200, "{}", journal.bytes());
        assert_eq!(journal.failure(), None);
        let (again, _) = fill(&journal, taken, Room::Ordinary);
        assert!(again > taken + 150, "{taken} to {again}");
        wait_until_written(&journal, again);
        let low = journal.range().low;
        assert_eq!(read(&journal, low), (low..again).collect::<Vec<_>>());
        drop(journal);
        let journal = Arc::new(Journal::open("j", folder.path(), 0, limits).unwrap());
        assert!(matches!(journal.append(&[b'x'; 200]), Err(Refused::Unpublished { .. })));
    }

    #[test]
    fn the_queue_is_bounded_while_the_disk_refuses_and_a_quarter_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let limits = JournalLimits { queue_bytes_max: 2000, ..LIMITS };
        let journal = Arc::new(Journal::open("j", folder.path(), 0, limits).unwrap());
        append(&journal, 0..9);
        // A file is full by now, and there is nowhere to make the next one.
        let aside = folder.path().with_extension("aside");
        fs::rename(folder.path(), &aside).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut taken = 9;
        let refused = loop {
            taken += 1;
            if let Err(refused) = runtime.block_on(journal.append_synced(&line(taken - 1), Room::Kept)) {
                break refused;
            }
        };
        assert!(matches!(refused, Refused::Failing(_)), "{refused:?}");
        assert!(matches!(journal.failure(), Some(Refused::Failing(_))), "{:?}", journal.failure());
        let (ordinary, refused) = fill(&journal, taken, Room::Ordinary);
        assert_eq!(refused, Refused::Full);
        let (taken, refused) = fill(&journal, ordinary, Room::Kept);
        assert_eq!(refused, Refused::Full);
        assert!(ordinary > 9 + 80 && taken > ordinary + 25, "{ordinary}, {taken}");
        fs::rename(&aside, folder.path()).unwrap();
        wait_until_written(&journal, taken);
        assert_eq!(read(&journal, 0), (0..taken).collect::<Vec<_>>());
        assert_eq!(journal.failure(), None);
    }
}
