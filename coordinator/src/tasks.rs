//! Tasks as people see them: created, listed, stopped.

use std::collections::BTreeSet;

use segment::{Interval, is_system};
use serde_json::Value;
use tracing::info;

use crate::Coordinator;
use crate::catalog::tasks::Texts;
use crate::catalog::{TaskRow, tasks};
use crate::command::{StopReason, TaskProgress, TaskRecord, TaskState};
use crate::error::{Error, Result};
use crate::picture::LiveTask;
use crate::plan::supervisors::NAMES;
use crate::supervisors::refuse_system;

/// How a task stands.
#[derive(Debug, Clone)]
pub struct TaskStatus {
    pub id: String,
    pub group_id: String,
    pub datasource: String,
    pub kind: String,
    pub supervisor: Option<String>,
    /// Which of how many groups of partitions it reads, of a supervised one that has not ended.
    pub share: Option<(u32, u32)>,
    pub state: TaskState,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it was told to stop for.
    pub stop: Option<StopReason>,
    /// What it last told of itself, while it runs.
    pub progress: Option<TaskProgress>,
}

/// Which tasks to list; by default all.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Any of these; empty means any.
    pub states: Vec<TaskState>,
    pub datasource: Option<String>,
    pub kind: Option<String>,
    pub created: Option<Interval>,
    pub max: Option<usize>,
    /// Those of the store's own datasources too; else only if `datasource` names it.
    pub system: bool,
}

impl Coordinator {
    /// Takes a task in; a node gets it with a heartbeat, when there is room.
    pub async fn create_task(&self, record: TaskRecord, now: i64) -> Result<()> {
        if record.id.is_empty() || record.datasource.is_empty() {
            return Err(Error::Invalid("a task needs an id and a dataSource".to_string()));
        }
        refuse_system(&record.datasource)?;
        if NAMES.iter().any(|name| record.id.starts_with(name)) {
            let text =
                format!("task id [{}] begins as those of supervisors' tasks do; give another or none", record.id);
            return Err(Error::Invalid(text));
        }
        let (this, texts) = (self.clone(), Texts::of(&record));
        self.detached(async move {
            let turn = this.turn().await?;
            let mut store = turn.begin().await?;
            if tasks::exists(&mut store, &record.id).await? {
                // Whose it is, and how it stands, is not for everybody who may post tasks.
                return Err(Error::Invalid(format!("task id [{}] is taken; give another or none", record.id)));
            }
            let row = TaskRow::new(record, now);
            tasks::insert(&mut store, &row, texts).await?;
            store.commit().await?;
            info!(task = row.record.id, datasource = row.record.datasource, kind = row.record.kind, "task created");
            this.inner.picture.write().tasks.insert(row.record.id.clone(), LiveTask::from(row));
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }

    /// Newest first.
    pub async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskStatus>> {
        let mut connection = self.read().await?;
        let mut found = tasks::find(&mut connection, &filter).await?;
        let by_name = filter.system || filter.datasource.is_some();
        found.retain(|task| by_name || !is_system(&task.datasource));
        Ok(found.into_iter().map(|task| self.with_progress(task)).collect())
    }

    /// What tasks that have not ended write into, but for the store's own; by name.
    pub fn datasources_of_tasks(&self) -> BTreeSet<String> {
        let picture = self.inner.picture.read();
        let names = picture.tasks.values().map(|task| &task.record.datasource);
        names.filter(|name| !is_system(name)).cloned().collect()
    }

    pub async fn task(&self, id: &str) -> Result<TaskStatus> {
        let mut connection = self.read().await?;
        let found = tasks::by_id(&mut connection, id).await?;
        found.map(|task| self.with_progress(task)).ok_or_else(|| unknown(id))
    }

    /// The spec as it was posted, or the supervisor's. Of a large one, when its task has ended, long texts are cut, which inline
    /// data is.
    pub async fn task_document(&self, id: &str) -> Result<Value> {
        let mut connection = self.read().await?;
        tasks::document(&mut connection, id).await?.ok_or_else(|| unknown(id))
    }

    /// The task's own report: the newest of a running task, the last of an ended one.
    pub async fn task_report(&self, id: &str) -> Result<Option<Value>> {
        let live = self.inner.picture.read().tasks.get(id).and_then(|task| task.progress.clone());
        if let Some(progress) = live {
            return Ok(Some(progress.report));
        }
        let mut connection = self.read().await?;
        tasks::report(&mut connection, id).await
    }

    /// Has a task cancelled; what it did not publish is discarded. An ended task stays as it is.
    pub async fn shutdown_task(&self, id: &str, now: i64) -> Result<()> {
        refuse_system(&self.task(id).await?.datasource)?;
        self.stop_tasks(vec![id.to_string()], StopReason::Cancel, now).await
    }

    pub async fn shutdown_all_tasks(&self, datasource: &str, now: i64) -> Result<()> {
        refuse_system(datasource)?;
        let of_datasource: Vec<String> = {
            let picture = self.inner.picture.read();
            let tasks = picture.tasks.values().filter(|task| task.record.datasource == datasource);
            tasks.map(|task| task.record.id.clone()).collect()
        };
        self.stop_tasks(of_datasource, StopReason::Cancel, now).await
    }

    async fn stop_tasks(&self, ids: Vec<String>, reason: StopReason, now: i64) -> Result<()> {
        let this = self.clone();
        self.detached(async move {
            let turn = this.turn().await?;
            let live: Vec<(String, bool)> = {
                let picture = this.inner.picture.read();
                let live = ids.iter().filter_map(|id| picture.tasks.get(id));
                live.map(|task| (task.record.id.clone(), task.node.is_none() && task.state == TaskState::Pending))
                    .collect()
            };
            let mut store = turn.begin().await?;
            for (id, is_waiting) in &live {
                tasks::set_stop(&mut store, id, reason).await?;
                if *is_waiting {
                    let error = Some("cancelled before it started");
                    tasks::set_ended(&mut store, id, TaskState::Failed, error, None, now).await?;
                }
            }
            store.commit().await?;
            let mut picture = this.inner.picture.write();
            for (id, is_waiting) in live {
                // A heartbeat may have handed it to a node meanwhile; that node is told that it should not run.
                if is_waiting {
                    picture.tasks.remove(&id);
                } else if let Some(task) = picture.tasks.get_mut(&id) {
                    task.stop = Some(reason);
                }
            }
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }

    fn with_progress(&self, mut status: TaskStatus) -> TaskStatus {
        if let Some(task) = self.inner.picture.read().tasks.get(&status.id) {
            (status.share, status.progress) = (share(&task.record), task.progress.clone());
        }
        status
    }
}

fn unknown(id: &str) -> Error {
    Error::NotFound(format!("there is no task {id}"))
}

fn share(record: &TaskRecord) -> Option<(u32, u32)> {
    record.supervisor.as_ref().map(|_| (record.group, record.groups))
}

impl From<&LiveTask> for TaskStatus {
    fn from(task: &LiveTask) -> TaskStatus {
        let record = &task.record;
        TaskStatus {
            id: record.id.clone(),
            group_id: record.group_id.clone(),
            datasource: record.datasource.clone(),
            kind: record.kind.clone(),
            supervisor: record.supervisor.clone(),
            share: share(record),
            state: task.state,
            created_at: task.created_at,
            started_at: task.started_at,
            ended_at: None,
            error: None,
            stop: task.stop,
            progress: task.progress.clone(),
        }
    }
}
