//! Supervisors: documents that stand for streams to be read, with the states they show.

use segment::is_system;
use serde_json::{Value, json};
use tracing::info;

use crate::catalog::{Positions, SupervisorRow, documents, tasks};
use crate::command::{Condition, Phase, StopReason, TaskState};
use crate::error::{Error, Result};
use crate::picture::{LiveTask, Picture, SupervisorEntry};
use crate::plan::assignment;
use crate::scaling::Scaling;
use crate::tasks::TaskStatus;
use crate::{Coordinator, Settings};

/// A document as posted, with what the coordinator needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisorSpec {
    pub id: String,
    pub datasource: String,
    /// The stream's type, `kafka`.
    pub kind: String,
    /// The stream's name.
    pub source: String,
    pub document: Value,
    /// Where it follows the lag: the number to begin with, and from then on the one in force.
    pub task_count: u32,
    pub suspended: bool,
    pub scaling: Option<Scaling>,
}

/// A supervisor and how it stands.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub spec: SupervisorSpec,
    /// Grows with every document and every reset.
    pub generation: i64,
    pub state: SupervisorState,
    /// The newest last.
    pub recent_errors: Vec<Exception>,
    pub created_at: i64,
    /// Its tasks that have not ended.
    pub tasks: Vec<TaskStatus>,
    /// Where the number of its tasks follows its lag.
    pub scaling: Option<Scaled>,
    /// Why some of its tasks wait, where the bounds on all tasks keep them waiting.
    pub waiting: Option<String>,
}

/// How it stands with a number of tasks that follows the lag.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    pub tasks_min: u32,
    pub tasks_max: u32,
    /// Lags that were taken down and are looked at.
    pub lags: usize,
    pub last_lag: Option<i64>,
    /// When the number changed last.
    pub scaled_at: Option<i64>,
}

/// Something that went wrong with a supervisor's tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    pub at: i64,
    pub class: String,
    pub message: String,
    /// Whether the stream is to blame.
    pub stream: bool,
}

/// A document that a supervisor had, and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub document: Value,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorState {
    Pending,
    CreatingTasks,
    ConnectingToStream,
    Running,
    Idle,
    Suspended,
    UnableToConnectToStream,
    LostContactWithStream,
    UnhealthyTasks,
    UnhealthySupervisor,
}

impl SupervisorState {
    /// Druid's `detailedState`.
    pub fn detailed(self) -> &'static str {
        match self {
            SupervisorState::Pending => "PENDING",
            SupervisorState::CreatingTasks => "CREATING_TASKS",
            SupervisorState::ConnectingToStream => "CONNECTING_TO_STREAM",
            SupervisorState::Running => "RUNNING",
            SupervisorState::Idle => "IDLE",
            SupervisorState::Suspended => "SUSPENDED",
            SupervisorState::UnableToConnectToStream => "UNABLE_TO_CONNECT_TO_STREAM",
            SupervisorState::LostContactWithStream => "LOST_CONTACT_WITH_STREAM",
            SupervisorState::UnhealthyTasks => "UNHEALTHY_TASKS",
            SupervisorState::UnhealthySupervisor => "UNHEALTHY_SUPERVISOR",
        }
    }

    /// Druid's `state`.
    pub fn basic(self) -> &'static str {
        match self {
            SupervisorState::CreatingTasks | SupervisorState::ConnectingToStream => "RUNNING",
            SupervisorState::UnableToConnectToStream | SupervisorState::LostContactWithStream => "UNHEALTHY_SUPERVISOR",
            same => same.detailed(),
        }
    }

    pub fn is_healthy(self) -> bool {
        !matches!(
            self,
            SupervisorState::UnableToConnectToStream
                | SupervisorState::LostContactWithStream
                | SupervisorState::UnhealthyTasks
                | SupervisorState::UnhealthySupervisor
        )
    }
}

impl Coordinator {
    /// Takes a document in, new or instead of the one of the same id: running tasks publish what they read, then
    /// others start. With `skip_if_unmodified`, an equal document changes nothing. Answers whether anything changed.
    pub async fn put_supervisor(&self, spec: SupervisorSpec, skip_if_unmodified: bool, now: i64) -> Result<bool> {
        refuse_system(&spec.id)?;
        refuse_system(&spec.datasource)?;
        let places = self.inner.settings.tasks_max;
        let most = assignment::share(places);
        if spec.task_count as usize > most {
            return Err(Error::Invalid(format!(
                "taskCount is {}, and the tasks of one datasource may have {most} of the {places} places that there are for \
                 tasks, so that others find some: ask for fewer, or raise ingest.tasks_max where the coordinator runs",
                spec.task_count
            )));
        }
        self.keep_supervisor(spec, skip_if_unmodified, now).await
    }

    /// As [`Coordinator::put_supervisor`] with `skip_if_unmodified`, of a supervisor that is the store's own. What it reads
    /// belongs to the node that it is named after ([`of_node`]), or else to the one that leads: when that is another node, the
    /// tasks of the one before cannot be run any more. They end, and what they did not publish is read when that node leads
    /// again.
    pub async fn put_system_supervisor(&self, spec: SupervisorSpec, now: i64) -> Result<bool> {
        self.keep_supervisor(spec, true, now).await
    }

    /// Ends a supervisor of the store's own, and its tasks as they are, which nobody can run: the node that has what they read
    /// is gone. Should that one come back and the supervisor be put anew, it goes on where it was committed.
    pub async fn end_system_supervisor(&self, id: &str, now: i64) -> Result<()> {
        let (this, id) = (self.clone(), id.to_string());
        self.detached(async move {
            let turn = this.turn().await?;
            let mut store = turn.begin().await?;
            let mut row = this.row(&id)?;
            (row.terminated, row.changed_at) = (true, now);
            documents::put(&mut store, &row).await?;
            let left: Vec<String> =
                this.inner.picture.read().tasks_of(&id).map(|task| task.record.id.clone()).collect();
            for task in &left {
                tasks::set_ended(&mut store, task, TaskState::Success, None, None, now).await?;
            }
            store.commit().await?;
            info!(supervisor = id, "supervisor ended: the node that it read from is gone");
            let mut picture = this.inner.picture.write();
            for task in &left {
                picture.tasks.remove(task);
            }
            picture.supervisors.remove(&id);
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }

    async fn keep_supervisor(&self, spec: SupervisorSpec, skip_if_unmodified: bool, now: i64) -> Result<bool> {
        if spec.id.is_empty() || spec.datasource.is_empty() {
            return Err(Error::Invalid("a supervisor needs an id and a dataSource".to_string()));
        }
        if spec.task_count == 0 {
            return Err(Error::Invalid("taskCount must be at least 1".to_string()));
        }
        let this = self.clone();
        let changed = self
            .detached(async move {
                let turn = this.turn().await?;
                let mut store = turn.begin().await?;
                let existing = documents::by_id(&mut store, &spec.id).await?;
                let alive = existing.as_ref().filter(|row| !row.terminated);
                let mut spec = spec;
                if let Some(count) = alive.and_then(|row| kept_count(&row.spec, &spec)) {
                    spec.task_count = count;
                }
                if skip_if_unmodified && alive.is_some_and(|row| is_same(&row.spec, &spec)) {
                    return Ok(false);
                }
                let is_elsewhere = alive.is_some_and(|row| is_system(&spec.id) && row.spec.source != spec.source);
                let row = SupervisorRow {
                    terminated: false,
                    generation: existing.as_ref().map_or(0, |row| row.generation) + 1,
                    launches: existing.as_ref().map_or(0, |row| row.launches),
                    created_at: alive.map_or(now, |row| row.created_at),
                    changed_at: now,
                    scaled_at: alive.and_then(|row| row.scaled_at),
                    spec,
                };
                documents::put(&mut store, &row).await?;
                documents::add_history(&mut store, &row.spec.id, &row.spec.document, now).await?;
                let left: Vec<String> = match is_elsewhere {
                    true => {
                        this.inner.picture.read().tasks_of(&row.spec.id).map(|task| task.record.id.clone()).collect()
                    }
                    false => Vec::new(),
                };
                for task in &left {
                    tasks::set_ended(&mut store, task, TaskState::Success, None, None, now).await?;
                }
                store.commit().await?;
                info!(supervisor = row.spec.id, datasource = row.spec.datasource, "supervisor taken in");
                let mut picture = this.inner.picture.write();
                for task in left {
                    info!(task, "task ended: what it read is on another node");
                    picture.tasks.remove(&task);
                }
                // Failures and exceptions were the old document's.
                picture.supervisors.insert(row.spec.id.clone(), SupervisorEntry::new(row));
                Ok(true)
            })
            .await?;
        self.wake();
        Ok(changed)
    }

    /// By id, without the store's own.
    pub fn supervisors(&self) -> Vec<Supervisor> {
        self.supervisors_that(|id| !is_system(id))
    }

    /// The store's own.
    pub fn system_supervisors(&self) -> Vec<Supervisor> {
        self.supervisors_that(is_system)
    }

    /// By node, the journals that it says it keeps.
    pub fn journals(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        let picture = self.inner.picture.read();
        picture.members.iter().map(|(node, member)| (node.clone(), member.told.journals.clone())).collect()
    }

    fn supervisors_that(&self, are: impl Fn(&str) -> bool) -> Vec<Supervisor> {
        let picture = self.inner.picture.read();
        let entries = picture.supervisors.values().filter(|entry| are(&entry.row.spec.id));
        entries.map(|entry| shown(&picture, entry, &self.inner.settings)).collect()
    }

    pub fn supervisor(&self, id: &str) -> Result<Supervisor> {
        let picture = self.inner.picture.read();
        let entry = picture.supervisors.get(id).ok_or_else(|| unknown(id))?;
        Ok(shown(&picture, entry, &self.inner.settings))
    }

    /// Newest first; also of a supervisor that was terminated.
    pub async fn supervisor_history(&self, id: &str) -> Result<Vec<Revision>> {
        let mut connection = self.read().await?;
        let revisions = documents::history(&mut connection, Some(id)).await?;
        if revisions.is_empty() {
            return Err(unknown(id));
        }
        Ok(revisions.into_iter().map(|(_, revision)| revision).collect())
    }

    /// By id, each newest first; without the store's own.
    pub async fn all_history(&self) -> Result<Vec<(String, Vec<Revision>)>> {
        let mut connection = self.read().await?;
        let mut all: Vec<(String, Vec<Revision>)> = Vec::new();
        let history = documents::history(&mut connection, None).await?;
        for (id, revision) in history.into_iter().filter(|(id, _)| !is_system(id)) {
            match all.last_mut() {
                Some((last, revisions)) if *last == id => revisions.push(revision),
                _ => all.push((id, vec![revision])),
            }
        }
        Ok(all)
    }

    /// Its tasks publish what they read and stop.
    pub async fn suspend(&self, id: &str, now: i64) -> Result<Supervisor> {
        self.set_suspended(id, true, now).await
    }

    pub async fn resume(&self, id: &str, now: i64) -> Result<Supervisor> {
        self.set_suspended(id, false, now).await
    }

    /// Ends it: its tasks publish what they read and stop. Positions stay, for a supervisor of the same id to come.
    pub async fn terminate(&self, id: &str, now: i64) -> Result<()> {
        self.change(id, now, |row| {
            row.terminated = true;
            let datasource = &row.spec.datasource;
            Some(json!({"type": "NoopSupervisorSpec", "id": row.spec.id, "dataSources": [datasource]}))
        })
        .await
    }

    /// Forgets its positions; what its tasks read and did not publish is discarded. They begin anew as the document
    /// says for a first run.
    pub async fn reset(&self, id: &str, now: i64) -> Result<()> {
        self.reset_to(id, None, now).await
    }

    /// Sets the given positions and leaves the others; what its tasks read and did not publish is discarded.
    pub async fn reset_offsets(&self, id: &str, to: Positions, now: i64) -> Result<()> {
        if to.0.is_empty() {
            return Err(Error::Invalid("partitionOffsetMap names no partition".to_string()));
        }
        if let Some((key, offset)) = to.0.iter().find(|(_, offset)| **offset < 0) {
            return Err(Error::Invalid(format!("the offset of {key} is {offset}; it must not be negative")));
        }
        self.reset_to(id, Some(to), now).await
    }

    async fn set_suspended(&self, id: &str, suspended: bool, now: i64) -> Result<Supervisor> {
        self.change(id, now, move |row| {
            if row.spec.suspended == suspended {
                return None;
            }
            row.spec.suspended = suspended;
            if let Value::Object(fields) = &mut row.spec.document {
                fields.insert("suspended".to_string(), Value::Bool(suspended));
            }
            Some(row.spec.document.clone())
        })
        .await?;
        self.supervisor(id)
    }

    /// Changes a supervisor; the document that `change` answers goes into its history, none means no change.
    async fn change(
        &self,
        id: &str,
        now: i64,
        change: impl FnOnce(&mut SupervisorRow) -> Option<Value> + Send + 'static,
    ) -> Result<()> {
        refuse_system(id)?;
        let (this, id) = (self.clone(), id.to_string());
        self.detached(async move {
            let turn = this.turn().await?;
            // That there is nothing to change is for the leader to say, too.
            let mut store = turn.begin().await?;
            let mut row = this.row(&id)?;
            let Some(document) = change(&mut row) else { return Ok(()) };
            row.changed_at = now;
            documents::put(&mut store, &row).await?;
            documents::add_history(&mut store, &id, &document, now).await?;
            store.commit().await?;
            info!(supervisor = id, suspended = row.spec.suspended, terminated = row.terminated, "supervisor changed");
            let mut picture = this.inner.picture.write();
            if row.terminated {
                picture.supervisors.remove(&id);
            } else if let Some(entry) = picture.supervisors.get_mut(&id) {
                entry.row = row;
            }
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }

    async fn reset_to(&self, id: &str, to: Option<Positions>, now: i64) -> Result<()> {
        refuse_system(id)?;
        let (this, id) = (self.clone(), id.to_string());
        self.detached(async move {
            let turn = this.turn().await?;
            let mut store = turn.begin().await?;
            let mut row = this.row(&id)?;
            row.generation += 1;
            row.changed_at = now;
            let live: Vec<String> = {
                let picture = this.inner.picture.read();
                picture.tasks_of(&id).map(|task| task.record.id.clone()).collect()
            };
            documents::reset_positions(&mut store, &id, to.as_ref()).await?;
            documents::put(&mut store, &row).await?;
            for task in &live {
                tasks::set_stop(&mut store, task, StopReason::Reset).await?;
            }
            store.commit().await?;
            info!(supervisor = id, "positions reset");
            let mut picture = this.inner.picture.write();
            for task in &live {
                if let Some(task) = picture.tasks.get_mut(task) {
                    task.stop = Some(StopReason::Reset);
                }
            }
            picture.supervisors.insert(id, SupervisorEntry::new(row));
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }

    fn row(&self, id: &str) -> Result<SupervisorRow> {
        let picture = self.inner.picture.read();
        picture.supervisors.get(id).map(|entry| entry.row.clone()).ok_or_else(|| unknown(id))
    }
}

/// The number of tasks that another document of the same supervisor leaves as it is: one that followed the lag, unless the
/// document says what to start with.
fn kept_count(before: &SupervisorSpec, after: &SupervisorSpec) -> Option<u32> {
    before.scaling.as_ref()?;
    let scaling = after.scaling.as_ref().filter(|scaling| scaling.tasks_start.is_none())?;
    Some(before.task_count.clamp(scaling.tasks_min, scaling.tasks_max.max(scaling.tasks_min)))
}

/// Whether nothing changes; the number of tasks of its own accord is no change.
fn is_same(before: &SupervisorSpec, after: &SupervisorSpec) -> bool {
    let is_scaled = before.scaling.is_some() && after.scaling.is_some();
    let task_count = if is_scaled { after.task_count } else { before.task_count };
    SupervisorSpec { task_count, ..before.clone() } == *after
}

/// Between the name of a supervisor of the store's own and that of the node which has what it reads.
const AT: char = '@';

/// The name of the supervisor of the store's own that reads what one node has.
pub fn of_node(datasource: &str, node: &str) -> String {
    format!("{datasource}{AT}{node}")
}

/// The node that has what a supervisor of the store's own reads, if its name says so.
pub fn home_of(supervisor: &str) -> Option<&str> {
    supervisor.split_once(AT).map(|(_, node)| node).filter(|_| is_system(supervisor))
}

/// What the store keeps of itself is not for anybody to change.
pub(crate) fn refuse_system(name: &str) -> Result<()> {
    match is_system(name) {
        true => Err(Error::Invalid(format!("{name} is the store's own; it cannot be posted, changed or dropped"))),
        false => Ok(()),
    }
}

fn unknown(id: &str) -> Error {
    Error::NotFound(format!("there is no supervisor {id}"))
}

fn shown(picture: &Picture, entry: &SupervisorEntry, settings: &Settings) -> Supervisor {
    let tasks: Vec<&LiveTask> = picture.tasks_of(&entry.row.spec.id).collect();
    Supervisor {
        spec: entry.row.spec.clone(),
        generation: entry.row.generation,
        state: state(entry, &tasks, settings),
        recent_errors: entry.exceptions.iter().cloned().collect(),
        created_at: entry.row.created_at,
        tasks: tasks.into_iter().map(TaskStatus::from).collect(),
        scaling: entry.row.spec.scaling.as_ref().map(|scaling| Scaled {
            tasks_min: scaling.tasks_min,
            tasks_max: scaling.tasks_max,
            lags: entry.lags.len(),
            last_lag: entry.lags.last(),
            scaled_at: entry.row.scaled_at,
        }),
        waiting: assignment::waits(picture, settings.tasks_max, &entry.row.spec.id, &entry.row.spec.datasource),
    }
}

fn state(entry: &SupervisorEntry, tasks: &[&LiveTask], settings: &Settings) -> SupervisorState {
    if entry.row.spec.suspended {
        return SupervisorState::Suspended;
    }
    let current: Vec<&&LiveTask> =
        tasks.iter().filter(|task| task.record.generation == entry.row.generation && task.stop.is_none()).collect();
    let has = |is: fn(&Condition) -> bool| {
        current.iter().any(|task| task.progress.as_ref().is_some_and(|progress| is(&progress.condition)))
    };
    if entry.failures.values().any(|failures| failures.in_a_row >= settings.task_failures_max) {
        SupervisorState::UnhealthyTasks
    } else if has(|condition| matches!(condition, Condition::LostContact(_))) {
        SupervisorState::LostContactWithStream
    } else if has(|condition| matches!(condition, Condition::UnableToConnect(_))) {
        SupervisorState::UnableToConnectToStream
    } else if has(|condition| matches!(condition, Condition::Hindered(_))) {
        SupervisorState::UnhealthySupervisor
    } else if entry.row.launches == 0 {
        SupervisorState::Pending
    } else if current.len() < entry.row.spec.task_count as usize
        || current.iter().any(|task| task.state == TaskState::Pending || task.progress.is_none())
    {
        SupervisorState::CreatingTasks
    } else if has(|condition| *condition == Condition::Connecting) {
        SupervisorState::ConnectingToStream
    } else if current.iter().all(|task| task.progress.as_ref().is_some_and(|p| p.phase == Phase::Idle)) {
        SupervisorState::Idle
    } else {
        SupervisorState::Running
    }
}
