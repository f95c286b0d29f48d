//! Which tasks run in this process: starts them by command, stops them for a reason, reports on them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use segment::inventory::{Change, Inventory};
use segment::storage::deep::DeepStorage;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::batch::{self, Progress};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::fail::FailPoints;
use crate::ledger::Ledger;
use crate::looks::Looks;
use crate::report::{Condition, TaskReport, TaskState};
use crate::sample::{self, Bounds, Sample, Sampled};
use crate::source::files::LocalSources;
use crate::source::hosts::HttpSources;
use crate::source::journal::Journal;
use crate::spec::{BatchSpec, SupervisorSpec};
use crate::steps::Steps;
use crate::task;

/// Milliseconds since 1970: the only clock below the server.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

#[derive(Clone)]
pub struct Settings {
    /// Where tasks keep spills and manifests; survives restarts.
    pub folder: PathBuf,
    pub clock: Clock,
    /// `maxBytesInMemory` of a task whose spec gives none (or 0).
    pub bytes_in_memory_default: usize,
    /// Where batch tasks may read files.
    pub sources: LocalSources,
    /// Where they may read from over HTTP.
    pub http: Arc<HttpSources>,
    pub fail_points: FailPoints,
    /// Whether the shares of a supervisor may be read by several processes. Then each task has a mark of its own for what it
    /// knows to lack, see [`mark_of`].
    pub spread: bool,
}

/// The owner of what a task marks as incomplete: its supervisor, which as a whole has caught up or not, or where others run
/// shares of it, this share of the supervisor.
pub fn mark_of(supervisor: &str, share: u32, spread: bool) -> String {
    if spread { format!("{supervisor}{SHARE}{share}") } else { supervisor.to_string() }
}

/// The supervisor of such an owner.
pub fn supervisor_of(mark: &str) -> &str {
    mark.rsplit_once(SHARE).map_or(mark, |(supervisor, _)| supervisor)
}

/// Stands in no name.
const SHARE: char = '\0';

/// What tasks reach outside this crate.
#[derive(Clone)]
pub struct Ports {
    pub ledger: Arc<dyn Ledger>,
    pub inventory: Arc<Inventory>,
    pub deep: DeepStorage,
    /// What supervisors of type `journal` read, each the one that it names.
    pub journals: Vec<Arc<Journal>>,
    pub steps: Steps,
}

/// The order to start a task.
#[derive(Debug, Clone, PartialEq)]
pub struct StartTask {
    pub id: String,
    pub group_id: String,
    pub datasource: String,
    /// `index_kafka`, `index_journal`, `index_parallel`, `index`, `noop`.
    pub kind: String,
    pub supervisor: Option<String>,
    /// The spec as it was posted (of the supervisor, for a supervised task).
    pub document: serde_json::Value,
    /// This task reads the partitions with `partition % groups == group`.
    pub group: u32,
    pub groups: u32,
    /// Grows whenever the supervisor's positions are reset, so that names of sequences are never used again.
    pub generation: i64,
    pub created_at: i64,
    /// How often this task was given to a node. What it writes is refused once a later attempt was ordered.
    pub attempt: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Publish what was read, then stop.
    Suspend,
    /// As `Suspend`: another spec takes over.
    Replace,
    /// As `Suspend`: for good.
    Terminate,
    /// The process ends in good order: persist, publish nothing.
    Shutdown,
    /// Discard what is not published.
    Reset,
    /// As `Reset`, the task counts as failed.
    Cancel,
}

/// Cheap to share behind an `Arc`. Its calls need a tokio runtime around them.
pub struct Worker {
    ports: Ports,
    settings: Settings,
    changed: Arc<Notify>,
    tasks: Mutex<BTreeMap<String, Running>>,
    /// By supervisor: how many tasks it has, and which of them have caught up in this process.
    caught_up: Mutex<BTreeMap<String, (u32, BTreeSet<u32>)>>,
    looks: Arc<Looks>,
}

struct Running {
    order: StartTask,
    control: Arc<Control>,
    /// Of a batch task.
    progress: Option<Arc<Progress>>,
}

/// How long `shutdown` rests between two looks at what still runs.
const SHUTDOWN_POLL: Duration = Duration::from_millis(5);

impl Worker {
    pub fn new(ports: Ports, settings: Settings) -> Arc<Worker> {
        let (changed, tasks, caught_up, looks) = Default::default();
        Arc::new(Worker { ports, settings, changed, tasks, caught_up, looks })
    }

    /// Looks at the input of a spec, see [`sample::sample`], for somebody: `whose` are all of one user. Refused while as many
    /// looks, or as many of theirs, are under way as there may be.
    pub async fn sample(&self, of: Sampled, bounds: Bounds, whose: &str) -> Result<Sample> {
        let settings = self.settings.clone();
        self.looks.look(whose, move || sample::sample(&of, bounds, &settings)).await
    }

    /// Starts a task; a task of the same id that runs or has ended already is left alone. A document that cannot be used
    /// makes a failed report, not an error.
    pub fn start(self: &Arc<Worker>, order: StartTask) {
        let mut tasks = self.tasks.lock();
        if tasks.contains_key(&order.id) {
            return;
        }
        let control = Control::new(&order, self.settings.clock.clone(), self.changed.clone());
        let is_batch = matches!(order.kind.as_str(), "index" | "index_parallel");
        let progress = is_batch.then(Arc::<Progress>::default);
        let running = Running { order: order.clone(), control: control.clone(), progress: progress.clone() };
        let mut running_tasks = tasks.values().filter(|task| !task.control.is_ended());
        let others = running_tasks.clone().any(|task| is_other_share(&task.order, &order));
        let twin = running_tasks.find(|task| is_same_share(&task.order, &order)).map(|task| task.order.id.clone());
        tasks.insert(order.id.clone(), running);
        drop(tasks);
        tracing::info!(task = order.id, kind = order.kind, datasource = order.datasource, "task started");
        if let Some(twin) = twin {
            // Both would read the same rows and keep them in the same folder.
            let reason = format!("task {twin} reads the same partitions still; it has to end first");
            return control.end(TaskState::Failed, Some(reason));
        }
        let started = match (order.kind.as_str(), progress) {
            ("index_kafka" | "index_journal", _) => self.start_supervised(order, control.clone(), !others),
            (_, Some(progress)) => self.start_batch(order, control.clone(), progress),
            ("noop", _) => {
                self.start_noop(order, control.clone());
                Ok(())
            }
            (kind, _) => Err(Error::invalid(format!(
                "task type {kind} cannot be run; valid are index_kafka, index_journal, index_parallel, index and noop"
            ))),
        };
        if let Err(error) = started {
            control.end(TaskState::Failed, Some(error.to_string()));
        }
    }

    fn start_supervised(self: &Arc<Worker>, order: StartTask, control: Arc<Control>, may_clean: bool) -> Result<()> {
        let spec = SupervisorSpec::from_json(&order.document)?;
        let supervisor = order.supervisor.clone().unwrap_or_else(|| spec.id.clone());
        if order.groups == 0 || order.group >= order.groups {
            return Err(Error::Bug(format!("task {} reads share {} of {}", order.id, order.group, order.groups)));
        }
        let ignored = spec.ignored.clone();
        control.update(|report| report.ignored_fields = ignored);
        self.forget_caught_up(&supervisor, &order);
        let worker = self.clone();
        let mut settings = self.settings.clone();
        if segment::is_system(&order.datasource) {
            // What counts the passes means the tasks that people post.
            settings.fail_points = FailPoints::none();
        }
        let (name, datasource, share) = (supervisor.clone(), order.datasource.clone(), order.group);
        let (behind, failing, failed) = (self.clone(), supervisor.clone(), order.clone());
        let setup = task::Setup {
            ports: self.ports.clone(),
            settings,
            runtime: Handle::current(),
            control: control.clone(),
            caught_up: Box::new(move || worker.catch_up(&name, &datasource, share)),
            fell_behind: Box::new(move || behind.forget_caught_up(&failing, &failed)),
            supervisor,
            spec,
            order,
        };
        let thread = std::thread::Builder::new().name("henge-task".into());
        let spawned = thread.spawn(move || {
            if may_clean {
                task::remove_other_shares(&setup);
            }
            let setup = Arc::new(setup);
            let ended = catch_unwind(AssertUnwindSafe(|| task::run(setup.clone()))).unwrap_or_else(|_| {
                let error = Error::Bug("the task panicked; the log has the place".into());
                setup.give_up();
                Err(error)
            });
            if matches!(control.stop_reason(), Some(StopReason::Terminate | StopReason::Reset)) && ended.is_ok() {
                // Nothing more is to come.
                (setup.caught_up)();
            }
            finish(&setup.order.id, &control, ended);
        });
        spawned.map(drop).map_err(|error| Error::io("start a thread", error))
    }

    fn start_batch(&self, order: StartTask, control: Arc<Control>, progress: Arc<Progress>) -> Result<()> {
        let spec = BatchSpec::from_json(&order.document)?;
        control.set_stream(Condition::Healthy);
        let (ports, settings) = (self.ports.clone(), self.settings.clone());
        tokio::spawn(async move {
            let ended = batch::run(order.id.clone(), order.attempt, spec, ports, settings, progress).await;
            finish(&order.id, &control, ended);
        });
        Ok(())
    }

    fn start_noop(&self, order: StartTask, control: Arc<Control>) {
        control.set_stream(Condition::Healthy);
        let millis = order.document.get("runTime").and_then(serde_json::Value::as_u64).unwrap_or(2500);
        tokio::spawn(async move {
            let ended = control.pause(Duration::from_millis(millis)).await;
            let cancelled = ended.map_err(|_| Error::Failed("cancelled".into()));
            finish(&order.id, &control, cancelled);
        });
    }

    /// Asks a task to stop; `reports` tells when it has. What a task that already ended did is not undone.
    pub fn stop(&self, task: &str, reason: StopReason) {
        if let Some(task) = self.tasks.lock().get(task) {
            task.control.stop(reason);
            if let Some(progress) = &task.progress {
                progress.cancel();
            }
        }
    }

    /// Running tasks, and ended ones until they are forgotten.
    pub fn reports(&self) -> Vec<TaskReport> {
        self.tasks.lock().values().map(Running::report).collect()
    }

    /// Whether a task here reads what the store keeps of itself.
    pub fn is_own(&self, task: &str) -> bool {
        self.tasks.lock().get(task).is_some_and(|running| segment::is_system(&running.order.datasource))
    }

    pub fn report(&self, task: &str) -> Option<TaskReport> {
        self.tasks.lock().get(task).map(Running::report)
    }

    /// Drops the report of an ended task, once the coordinator has recorded it.
    pub fn forget(&self, task: &str) {
        let mut tasks = self.tasks.lock();
        if !tasks.get(task).is_some_and(|task| task.control.is_ended()) {
            return;
        }
        let ended = tasks.remove(task);
        drop(tasks);
        // Whoever recorded its end knows what is lacking since, and who makes up for it.
        if let Some(StartTask { supervisor: Some(supervisor), datasource, group, .. }) = ended.map(|ended| ended.order)
            && self.settings.spread
        {
            let owner = mark_of(&supervisor, group, true);
            self.ports.inventory.apply(vec![Change::Incomplete { datasource, owner, intervals: Vec::new() }]);
        }
    }

    /// Returns when a report has changed in a way that should not wait: a task started, ended, changed its phase or
    /// condition, published. Several changes may count as one.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Stops every task with [`StopReason::Shutdown`] and waits until all have ended, or so long; the tasks that have not. Their
    /// threads hang in something that does not answer, such as a disk or a client of a stream: what they have not spilled is
    /// read again, and what they would publish later is refused, as others follow them.
    pub async fn shutdown(&self, within: Duration) -> Vec<String> {
        let ids: Vec<String> = self.tasks.lock().keys().cloned().collect();
        ids.iter().for_each(|id| self.stop(id, StopReason::Shutdown));
        let left = || -> Vec<String> {
            let tasks = self.tasks.lock();
            tasks.iter().filter(|(_, task)| !task.control.is_ended()).map(|(id, _)| id.clone()).collect()
        };
        let all = async {
            while !left().is_empty() {
                tokio::time::sleep(SHUTDOWN_POLL).await;
            }
        };
        if tokio::time::timeout(within, all).await.is_ok() {
            return Vec::new();
        }
        let left = left();
        tracing::warn!(tasks = ?left, ?within, "tasks have not ended in time, and are left as they are");
        left
    }

    /// A task starts or fails: its share is not caught up.
    fn forget_caught_up(&self, supervisor: &str, order: &StartTask) {
        let mut caught_up = self.caught_up.lock();
        let (groups, shares) = caught_up.entry(supervisor.to_string()).or_default();
        if *groups != order.groups {
            shares.clear();
            *groups = order.groups;
        }
        shares.remove(&order.group);
    }

    /// A task has caught up: when all of its supervisor have, answers are complete.
    fn catch_up(&self, supervisor: &str, datasource: &str, share: u32) {
        let mut caught_up = self.caught_up.lock();
        let (groups, shares) = caught_up.entry(supervisor.to_string()).or_default();
        shares.insert(share);
        let spread = self.settings.spread;
        if spread || shares.len() as u32 >= *groups {
            let (datasource, owner) = (datasource.to_string(), mark_of(supervisor, share, spread));
            self.ports.inventory.apply(vec![Change::Incomplete { datasource, owner, intervals: Vec::new() }]);
        }
    }
}

impl Running {
    fn report(&self) -> TaskReport {
        let mut report = self.control.report();
        if let Some(progress) = &self.progress {
            let told = progress.told();
            if !report.is_ended() {
                report.phase = told.phase;
            }
            report.rows = told.rows;
            report.parse_problems = told.problems.into_iter().collect();
            report.segments_published = told.segments_published;
            report.ignored_fields = told.ignored;
        }
        report
    }
}

/// Whether both are of the same supervisor with another number of shares.
fn is_other_share(a: &StartTask, b: &StartTask) -> bool {
    a.supervisor.is_some() && a.supervisor == b.supervisor && a.groups != b.groups
}

fn is_same_share(a: &StartTask, b: &StartTask) -> bool {
    a.supervisor.is_some() && (&a.supervisor, a.group, a.groups) == (&b.supervisor, b.group, b.groups)
}

fn finish(task: &str, control: &Control, ended: Result<()>) {
    match ended {
        Ok(()) => {
            tracing::info!(task, "task ended");
            control.end(TaskState::Success, None);
        }
        Err(error) => {
            tracing::error!(task, %error, "task failed");
            control.end(TaskState::Failed, Some(error.to_string()));
        }
    }
}
