//! The conductor of a supervised task: reads its share of a topic into sequences, for ever, each row exactly once.
//!
//! 1. What an earlier life left on disk is restored, as far as it follows on what is committed (`task/resume.rs`).
//! 2. Records are read from there, parsed, transformed and appended a batch at a time: after that they are queryable.
//!    Which partitions those are, and where each begins, says `task/partitions.rs`.
//! 3. At a row, byte or time limit everything in memory is set aside at one batch boundary and written in the background
//!    (`task/spill.rs`); reading goes on until memory is full a second time.
//! 4. At a duration or size the sequence is closed and goes down the pipeline (`pipeline.rs`), while the next one is read.
//! 5. When another task takes over, the sequence is closed and published while reading goes on, and only then the little
//!    that came meanwhile: the other begins as soon as that is published, so that records wait for no large publication.
//!
//! It runs on a thread of its own, because it computes; what waits for others runs on the runtime.

mod partitions;
mod resume;
mod spill;
mod tell;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use segment::inventory::Change;
use segment::realtime::RealtimeIndex;
use segment::schema::Schema;
use segment::{Interval, SegmentId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::appender::{Appender, AppenderSetup, INDEXES_MAX};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::handoff::Handoff;
use crate::intake::{Intake, Kept};
use crate::metrics::TaskMetrics;
use crate::pipeline::{CLOSED_MAX, Pipeline};
use crate::positions::{PartitionKey, Positions};
use crate::report::{Phase, PublishingReport, RowStats};
use crate::restore::{self, fingerprint};
use crate::sequence::{Closed, Persister, Sequence};
use crate::source::{Limits, Share, Source, Watch};
use crate::spec::{MemoryBound, SupervisorSpec};
use crate::worker::{Ports, Settings, StartTask, StopReason, mark_of};

/// What one batch may hold. Time bounds how long a record waits to be queryable, the rest bounds the memory of a batch:
/// its cells and texts take about three times its bytes.
const BATCH: Limits = Limits { records: 8192, bytes: 4 << 20, time: Duration::from_millis(5) };

/// How long is waited for a first record: also how soon an order to stop is seen.
const POLL_WAIT: Duration = Duration::from_millis(50);

pub(crate) struct Setup {
    pub order: StartTask,
    pub supervisor: String,
    pub spec: SupervisorSpec,
    pub ports: Ports,
    pub settings: Settings,
    pub control: Arc<Control>,
    pub runtime: Handle,
    /// Called when everything that was in the stream at the start is in.
    pub caught_up: Box<dyn Fn() + Send + Sync>,
    /// Called when some of it is about to be taken away again.
    pub fell_behind: Box<dyn Fn() + Send + Sync>,
}

/// The folder of a task's sequences. Tasks of the same share of the same supervisor have the same.
pub(crate) fn folder_of(settings: &Settings, supervisor: &str, order: &StartTask) -> PathBuf {
    settings.folder.join("streams").join(supervisor).join(format!("{}-of-{}", order.group, order.groups))
}

/// Runs until it is told to stop (`Ok`) or cannot go on. Rows that are not published are then either queryable still
/// (`Shutdown`), or withdrawn together with a mark that says so, or discarded as ordered.
pub(crate) fn run(setup: Arc<Setup>) -> Result<()> {
    let mut task = match Task::start(setup.clone()) {
        Ok(task) => task,
        Err(error) => {
            setup.give_up();
            return Err(error);
        }
    };
    let ended = match task.read() {
        Ok(reason) => task.wind_up(reason),
        Err(error) => Err(error),
    };
    match ended {
        // A crash, as the tests see it: nothing is put in order.
        Err(error @ Error::Halted(_)) => {
            task.stop_background();
            Err(error)
        }
        Err(Error::Interrupted) => task.end_in_haste(),
        Err(error) => {
            task.stop_background();
            setup.give_up();
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Removes what tasks left that shared the partitions in another way: nobody can restore it. Only while none runs.
pub(crate) fn remove_other_shares(setup: &Setup) {
    let mine = folder_of(&setup.settings, &setup.supervisor, &setup.order);
    let Some(entries) = mine.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return };
    let suffix = format!("-of-{}", setup.order.groups);
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if !path.to_str().is_some_and(|path| path.ends_with(&suffix)) {
            // A rest costs disk and nothing else.
            let _ = restore::remove(&path);
        }
    }
}

struct Task {
    setup: Arc<Setup>,
    schema: Schema,
    fingerprint: String,
    share: Share,
    folder: PathBuf,
    source: Source,
    intake: Intake,
    sequence: Sequence,
    /// Where partitions continue that are not assigned yet.
    known: Positions,
    /// Whether nothing of this share was ever committed: then `useEarliestOffset` decides where partitions start.
    first_ever: bool,
    /// The partitions of the first look: later ones are new, and read from their first record.
    initial: Option<Vec<PartitionKey>>,
    looks: u64,
    watch: Watch,
    /// Log ends when the task started.
    goal: Option<Positions>,
    is_caught_up: bool,
    /// Segments published before a crash that must be served before answers are complete.
    to_be_served: Vec<SegmentId>,
    persister: Persister,
    persisting: Option<JoinHandle<Result<()>>>,
    /// Of closed sequences, as far as their rows may not be on disk yet.
    closed: Vec<Arc<RealtimeIndex>>,
    /// The last batch was taken from the stream and not appended: positions are ahead of the rows.
    is_torn: bool,
    queue: Option<mpsc::Sender<Closed>>,
    /// Since another task is to take over: the last of what had to be published then, if there was anything.
    parting: Option<Option<String>>,
    pipeline: Option<JoinHandle<Result<()>>>,
    last_record_at: i64,
    reported_at: i64,
    /// Partitions whose next records are gone.
    lost: Option<String>,
    /// The broker refused a position: how often it had been looked at then, and the positions.
    refused: Option<(u64, Positions)>,
    metrics: TaskMetrics,
    /// What the metrics have counted so far.
    measured: RowStats,
}

impl Setup {
    /// Withdraws all rows of the task, with a mark that they are missing. The files stay for the next task.
    pub fn give_up(&self) {
        let mut changes = self.withdrawals();
        if !changes.is_empty() {
            (self.fell_behind)();
            // Told before the rows are gone: who looks at both sees no rows missing of a task that has caught up.
            self.control.update(|report| report.caught_up = false);
            changes.push(Change::Incomplete {
                datasource: self.order.datasource.clone(),
                owner: mark_of(&self.supervisor, self.order.group, self.settings.spread),
                intervals: vec![Interval::ETERNITY],
            });
            self.ports.inventory.apply(changes);
        }
    }

    fn withdrawals(&self) -> Vec<Change> {
        let folder = folder_of(&self.settings, &self.supervisor, &self.order);
        let indexes = self.ports.inventory.realtime();
        let mine = indexes.into_iter().filter(|(_, index)| index.folder().starts_with(&folder));
        mine.map(|(id, _)| Change::Withdraw(id)).collect()
    }

    fn bytes_max(&self) -> usize {
        match self.spec.tuning.max_bytes_in_memory {
            MemoryBound::Auto => self.settings.bytes_in_memory_default,
            MemoryBound::Unlimited => usize::MAX,
            MemoryBound::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }
}

impl Task {
    fn start(setup: Arc<Setup>) -> Result<Task> {
        let (spec, control, runtime) = (&setup.spec, &setup.control, &setup.runtime);
        let share = Share { group: setup.order.group, groups: setup.order.groups };
        let folder = folder_of(&setup.settings, &setup.supervisor, &setup.order);
        let schema = spec.data_schema.schema();
        let body = spec.document.get("spec").unwrap_or(&spec.document);
        let fingerprint = fingerprint(&body["dataSchema"].to_string());

        let ledger = &setup.ports.ledger;
        let positions = || ledger.positions(&setup.supervisor);
        let mut committed = runtime.block_on(control.retry("read committed positions", positions))?;
        committed.0.retain(|key, _| share.holds(key));

        let (queue, closed) = mpsc::channel(CLOSED_MAX);
        let pipeline = Pipeline {
            control: control.clone(),
            handoff: Handoff { ports: setup.ports.clone(), fail_points: setup.settings.fail_points.clone() },
            task: setup.order.id.clone(),
            attempt: setup.order.attempt,
            supervisor: setup.supervisor.clone(),
            datasource: setup.order.datasource.clone(),
        };
        let source = Source::open(&spec.io, share, &client_name(&setup.order), &setup.ports.journals)?;
        let intake = Intake::new(spec, control.clone())?;
        let sequence = new_sequence(&setup, &schema, &folder, Positions::default(), control.now());
        let now = control.now();
        let mut task = Task {
            pipeline: Some(runtime.spawn(pipeline.run(closed))),
            setup: setup.clone(),
            schema,
            fingerprint,
            share,
            folder,
            source,
            intake,
            sequence,
            first_ever: committed.is_empty(),
            known: committed,
            initial: None,
            looks: 0,
            watch: Watch::default(),
            goal: None,
            is_caught_up: false,
            to_be_served: Vec::new(),
            persister: Persister::new(control.clone(), setup.settings.fail_points.clone(), runtime.clone()),
            persisting: None,
            closed: Vec::new(),
            is_torn: false,
            queue: Some(queue),
            parting: None,
            last_record_at: now,
            reported_at: 0,
            lost: None,
            refused: None,
            metrics: TaskMetrics::new(&setup.order.datasource, setup.order.group),
            measured: RowStats::default(),
        };
        task.restore()?;
        Ok(task)
    }

    /// Reads until an order to stop comes.
    fn read(&mut self) -> Result<StopReason> {
        loop {
            if let Some(reason) = self.setup.control.stop_reason()
                && !self.reads_on(reason)?
            {
                return Ok(reason);
            }
            self.check_background()?;
            self.look()?;
            if self.is_memory_full() && !self.start_persist()? || self.is_too_much_set_aside() {
                std::thread::sleep(Duration::from_millis(2));
                self.report(self.setup.control.now(), true);
                continue;
            }
            self.intake.begin();
            let intake = &mut self.intake;
            let read = match self.source.poll(POLL_WAIT, BATCH, |record| intake.take(record)) {
                Ok(read) => read,
                // Which partitions those are shows with the next look.
                Err(Error::Lost(_)) => {
                    self.refused = Some((self.source.looks(), self.source.positions()));
                    self.intake.records()
                }
                Err(error) => return Err(error),
            };
            let now = self.setup.control.now();
            if read > 0 {
                self.last_record_at = now;
                self.take_in()?;
            }
            if self.is_close_due(now) {
                self.close(now)?;
            } else if self.is_persist_due(now) {
                self.start_persist()?;
            }
            self.report(now, read > 0);
        }
    }

    /// Whether there is something to do before it stops: one that another takes over from publishes what it has first.
    fn reads_on(&mut self, reason: StopReason) -> Result<bool> {
        if reason != StopReason::Replace {
            return Ok(false);
        }
        if self.parting.is_none() {
            self.close(self.setup.control.now())?;
            self.parting = Some(self.setup.control.last_unpublished());
        }
        let last = self.parting.iter().flatten().next();
        Ok(last.is_some_and(|last| self.setup.control.is_unpublished(last)))
    }

    /// Appends the batch. Waits for the ledger if it must; rows are queryable afterwards.
    fn take_in(&mut self) -> Result<()> {
        let Kept { batch, rows } = self.intake.sift(self.sequence.window);
        let appender = &mut self.sequence.appender;
        let mut pause = Duration::from_millis(50);
        loop {
            let prepared = appender.prepare(batch, rows).and_then(|()| {
                if appender.has_unknown() {
                    self.setup.control.tell();
                }
                appender.announce()
            });
            match prepared {
                Ok(()) => break,
                Err(error) if error.is_retryable() => {
                    let control = &self.setup.control;
                    let what = if appender.has_unknown() { "announce a segment" } else { "allocate a segment" };
                    control.storage_refuses(format!("{what}: {error}"));
                    self.is_torn = true;
                    self.setup.runtime.block_on(control.pause(pause))?;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error),
            }
        }
        let taken = appender.append(batch, rows)?;
        if std::mem::take(&mut self.is_torn) {
            self.setup.control.storage_works();
        }
        self.intake.count(taken)
    }

    fn check_background(&mut self) -> Result<()> {
        if self.persisting.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish_persist()?;
        }
        if self.pipeline.as_ref().is_none_or(JoinHandle::is_finished) {
            self.pipeline_ended()?;
            return Err(Error::Bug("the pipeline ended while records are read".into()));
        }
        Ok(())
    }

    fn has_progress(&self) -> bool {
        let positions = self.positions();
        self.sequence.from.0.iter().any(|(key, from)| positions.get(key).is_some_and(|position| position != *from))
    }

    fn is_close_due(&self, now: i64) -> bool {
        let (io, tuning) = (&self.setup.spec.io, &self.setup.spec.tuning);
        let age = now - self.sequence.opened_at;
        let appender = &self.sequence.appender;
        let is_idle = io.idle_after_millis.is_some_and(|idle| now - self.last_record_at >= idle);
        age >= io.task_duration_millis
            || age >= tuning.intermediate_handoff_millis
            || appender.rows_of_largest() >= tuning.max_rows_per_segment
            || appender.rows() >= tuning.max_total_rows
            || appender.indexes().len() > INDEXES_MAX
            || (is_idle && self.has_progress())
    }

    /// Sends the sequence down the pipeline and opens the next. A sequence that read nothing goes on.
    fn close(&mut self, now: i64) -> Result<()> {
        if self.has_progress() {
            let persist = self.seal(true);
            let reached = persist.manifest.reached.clone();
            let persisting = self.persister.start(persist.clone(), self.persisting.take());
            self.closed.extend(persist.indexes.iter().map(|open| open.index.clone()));
            let next = new_sequence(&self.setup, &self.schema, &self.folder, reached, now);
            let closed = std::mem::replace(&mut self.sequence, next);
            self.enqueue(Closed { name: closed.name, persist, persisting: Some(persisting) })?;
        } else {
            self.sequence.opened_at = now;
            self.sequence.window = self.setup.spec.io.window(now);
        }
        Ok(())
    }

    /// Waits if the pipeline is full.
    fn enqueue(&mut self, closed: Closed) -> Result<()> {
        let manifest = &closed.persist.manifest;
        self.setup.control.add_publishing(PublishingReport {
            sequence: closed.name.clone(),
            from: manifest.from.clone(),
            to: manifest.reached.clone(),
            published: false,
            since: self.setup.control.now(),
        });
        let Some(queue) = &self.queue else { return Err(Error::Bug("the pipeline's queue is closed".into())) };
        let mut closed = closed;
        loop {
            match queue.try_send(closed) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    // It ended with an error, which matters more.
                    self.pipeline_ended()?;
                    return Err(Error::Bug("the pipeline ended while sequences are closed".into()));
                }
                Err(mpsc::error::TrySendError::Full(returned)) => {
                    closed = returned;
                    self.setup.runtime.block_on(self.setup.control.pause(Duration::from_millis(20)))?;
                }
            }
        }
    }

    /// Stops as ordered.
    fn wind_up(&mut self, reason: StopReason) -> Result<()> {
        match reason {
            StopReason::Suspend | StopReason::Replace | StopReason::Terminate => {
                self.setup.control.set_phase(Phase::Publishing);
                self.report(self.setup.control.now(), false);
                if self.has_progress() {
                    self.close(self.setup.control.now())?;
                }
                self.finish_persist()?;
                self.setup.control.update(|report| report.is_read_out = true);
                self.queue = None;
                self.pipeline_ended()?;
                restore::remove(&self.folder)
            }
            StopReason::Shutdown | StopReason::Reset | StopReason::Cancel => Err(Error::Interrupted),
        }
    }

    /// Ends what runs in the background; a step that has begun is finished.
    fn stop_background(&mut self) {
        self.setup.control.stop(StopReason::Cancel);
        self.join_background();
    }

    /// What the background says now matters less than why it was stopped.
    fn join_background(&mut self) {
        self.queue = None;
        if let Some(pipeline) = self.pipeline.take() {
            let _ = self.setup.runtime.block_on(pipeline);
        }
        if let Some(persisting) = self.persisting.take() {
            let _ = self.setup.runtime.block_on(persisting);
        }
        self.persister.settle();
    }

    /// Waits for the end of the pipeline, which is an error while its queue is open.
    fn pipeline_ended(&mut self) -> Result<()> {
        let Some(pipeline) = self.pipeline.take() else { return Ok(()) };
        let ended = self.setup.runtime.block_on(pipeline);
        ended.map_err(|error| Error::Bug(format!("the pipeline ended early: {error}")))?
    }

    /// Ends without publishing: keeps what was read on disk, or discards it.
    fn end_in_haste(&mut self) -> Result<()> {
        // Persists and the pipeline look at the order themselves; what they were at is done or can be repeated.
        self.join_background();
        match self.setup.control.stop_reason() {
            Some(StopReason::Shutdown) => {
                if self.has_progress() && !self.is_torn {
                    self.seal(false).run(&self.setup.settings.fail_points)?;
                }
                Ok(())
            }
            reason => {
                let changes = self.setup.withdrawals();
                self.setup.ports.inventory.apply(changes);
                restore::remove(&self.folder)?;
                match reason {
                    Some(StopReason::Cancel) => Err(Error::Failed("cancelled".into())),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn new_sequence(setup: &Setup, schema: &Schema, folder: &Path, from: Positions, now: i64) -> Sequence {
    let order = &setup.order;
    // A sequence is told from all others by where it starts, in which generation, by which task.
    let told = fingerprint(&format!("{} {} {} {from} {now}", order.id, order.generation, order.group));
    let name = format!("{}_{}_{}", setup.supervisor, order.group, told);
    let folder = folder.join(&told);
    Sequence {
        window: setup.spec.io.window(now),
        appender: Appender::new(appender_setup(setup, schema, name.clone(), folder.clone())),
        name,
        folder,
        persisted: from.clone(),
        from,
        opened_at: now,
        persisted_at: now,
    }
}

fn appender_setup(setup: &Setup, schema: &Schema, sequence: String, folder: PathBuf) -> AppenderSetup {
    AppenderSetup {
        task: setup.order.id.clone(),
        attempt: setup.order.attempt,
        datasource: setup.order.datasource.clone(),
        sequence,
        schema: schema.clone(),
        segment_granularity: setup.spec.data_schema.granularity.segment.clone(),
        folder,
        ledger: setup.ports.ledger.clone(),
        runtime: setup.runtime.clone(),
        inventory: setup.ports.inventory.clone(),
        steps: setup.ports.steps.clone(),
    }
}

fn client_name(order: &StartTask) -> String {
    format!("henge-{}", order.id)
}
