//! The conductor: looks at the picture, lets the planners say what is missing, and puts it on record. Nodes hear of it
//! with their next heartbeat.
//!
//! 1. Nodes that were not heard of are lost, and what they ran goes to others.
//! 2. Supervisors: tasks to create and to stop.
//! 3. Where the number of a supervisor's tasks follows its lag, lags are taken down, and the number changes.
//! 4. Segments that are overshadowed, once all that hides them is served, go out of use, and so do those that a rule drops.
//! 5. Segments get places on nodes, and move to better ones.

use std::collections::HashSet;

use tracing::{info, warn};

use crate::Coordinator;
use crate::catalog::tasks::Texts;
use crate::catalog::{TaskRow, documents, rows, tasks};
use crate::error::Result;
use crate::metrics;
use crate::picture::LiveTask;
use crate::plan::supervisors::{self, Action};
use crate::plan::{balance, placement, retention, scaling};

/// What a cycle did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CycleReport {
    pub tasks_created: usize,
    pub tasks_stopped: usize,
    pub segments_retired: usize,
    /// Tasks that could not be named as they were to be; the next cycle names them otherwise.
    pub names_taken: usize,
    /// Segments that began to move from one node to another.
    pub segments_moved: usize,
    /// Supervisors that have another number of tasks from now on.
    pub supervisors_scaled: usize,
    /// When another cycle has something to do even if nothing changes until then.
    pub again_at: Option<i64>,
}

impl Coordinator {
    /// Brings what should be and what is on record together. Cheap when there is nothing to do.
    pub async fn cycle(&self, now: i64) -> Result<CycleReport> {
        self.check_lead()?;
        self.keep_members(now).await?;
        let this = self.clone();
        let report = self.to_its_end(async move { this.cycle_now(now).await }).await?;
        let done = report.tasks_created + report.tasks_stopped + report.segments_retired + report.segments_moved;
        if done + report.names_taken + report.supervisors_scaled > 0 {
            self.wake();
        }
        self.show();
        Ok(report)
    }

    async fn cycle_now(&self, now: i64) -> Result<CycleReport> {
        let turn = self.turn().await?;
        self.settle_failures(now);
        let (plan, retired, scaled, mut report) = {
            let mut picture = self.inner.picture.write();
            placement::tick(&mut picture, now);
            placement::work(&mut picture, now);
            let segments_moved = balance::plan(&mut picture.fleet);
            metrics::record(&picture, self.epoch());
            let plan = supervisors::plan(&picture, &self.inner.settings, now);
            let report = CycleReport { segments_moved, again_at: plan.again_at, ..CycleReport::default() };
            let scaled = scaling::plan(&mut picture, self.inner.settings.tasks_max, now);
            (plan, retention::plan(&picture), scaled, report)
        };
        if plan.actions.is_empty() && retired.is_empty() && scaled.is_empty() {
            return Ok(report);
        }

        let mut store = turn.begin().await?;
        // Others may have named a task so; the supervisor's next has the number after it.
        let mut taken: HashSet<String> = HashSet::new();
        for action in &plan.actions {
            match action {
                Action::Create(record) if tasks::exists(&mut store, &record.id).await? => {
                    taken.insert(record.id.clone());
                }
                Action::Create(record) => {
                    tasks::insert(&mut store, &TaskRow::new(record.clone(), now), Texts::of(record)).await?;
                }
                Action::Stop { task, reason } => tasks::set_stop(&mut store, task, *reason).await?,
            }
        }
        let launched = self.launched(&plan.actions);
        for row in &launched {
            documents::put(&mut store, row).await?;
        }
        let scaled = self.scaled(&scaled, &launched, now);
        for row in &scaled {
            documents::put(&mut store, row).await?;
        }
        for id in &retired {
            rows::set_used(&mut store, &id.to_string(), false, now).await?;
        }
        store.commit().await?;

        let mut picture = self.inner.picture.write();
        for row in launched {
            if let Some(entry) = picture.supervisors.get_mut(&row.spec.id) {
                entry.row = row;
            }
        }
        for row in scaled {
            info!(supervisor = row.spec.id, tasks = row.spec.task_count, "the number of tasks follows the lag");
            report.supervisors_scaled += 1;
            if let Some(entry) = picture.supervisors.get_mut(&row.spec.id) {
                entry.row = row;
                entry.lags.forget();
            }
        }
        for action in plan.actions {
            match action {
                Action::Create(record) if taken.contains(&record.id) => {
                    warn!(task = record.id, supervisor = record.supervisor, "the name of a task to be is taken");
                    report.names_taken += 1;
                }
                Action::Create(record) => {
                    info!(task = record.id, supervisor = record.supervisor, group = record.group, "task created");
                    report.tasks_created += 1;
                    picture.tasks.insert(record.id.clone(), LiveTask::from(TaskRow::new(record, now)));
                }
                Action::Stop { task, reason } => {
                    info!(task, ?reason, "task told to stop");
                    report.tasks_stopped += 1;
                    if let Some(task) = picture.tasks.get_mut(&task) {
                        task.stop = Some(reason);
                    }
                }
            }
        }
        report.segments_retired = retired.len();
        picture.retire(&retired);
        Ok(report)
    }

    /// Supervisors with another number of tasks: as by another document, those there are publish and others read on.
    fn scaled(
        &self,
        counts: &[(String, u32)],
        launched: &[crate::catalog::SupervisorRow],
        now: i64,
    ) -> Vec<crate::catalog::SupervisorRow> {
        let picture = self.inner.picture.read();
        let at_rest = counts.iter().filter(|(id, _)| !launched.iter().any(|row| row.spec.id == *id));
        let scaled = at_rest.filter_map(|(id, count)| {
            let mut row = picture.supervisors.get(id)?.row.clone();
            (row.spec.task_count, row.generation) = (*count, row.generation + 1);
            (row.scaled_at, row.changed_at) = (Some(now), now);
            Some(row)
        });
        scaled.collect()
    }

    /// Supervisors whose count of tasks ever made grows.
    fn launched(&self, actions: &[Action]) -> Vec<crate::catalog::SupervisorRow> {
        let picture = self.inner.picture.read();
        let mut rows = Vec::new();
        for entry in picture.supervisors.values() {
            let id = Some(&entry.row.spec.id);
            let made = actions
                .iter()
                .filter(|action| matches!(action, Action::Create(record) if record.supervisor.as_ref() == id))
                .count();
            if made > 0 {
                let mut row = entry.row.clone();
                row.launches += made as i64;
                rows.push(row);
            }
        }
        rows
    }

    /// A task that stood healthy for as long as the longest wait ends its group's row of failures.
    fn settle_failures(&self, now: i64) {
        let mut picture = self.inner.picture.write();
        let mut settled: Vec<(String, u32)> = Vec::new();
        for task in picture.tasks.values().filter(|task| task.is_healthy() || task.published) {
            let ran_long = task
                .started_at
                .is_some_and(|since| now.saturating_sub(since) >= self.inner.settings.restart_after_max_ms);
            if let (Some(supervisor), true) = (&task.record.supervisor, ran_long || task.published) {
                settled.push((supervisor.clone(), task.record.group));
            }
        }
        for (supervisor, group) in settled {
            if let Some(entry) = picture.supervisors.get_mut(&supervisor) {
                entry.failures.remove(&group);
            }
        }
    }
}
