//! Heartbeats: what a node reports is set beside what should be, and the difference is its orders.

use std::collections::HashSet;

use segment::{SegmentId, is_system};
use tracing::{info, warn};

use crate::Coordinator;
use crate::catalog::tasks;
use crate::command::{Command, Condition, Reply, Report, StopReason, TaskProgress, TaskState};
use crate::error::Result;
use crate::picture::{BrokenLoad, LiveTask, Picture};
use crate::plan::placement;
use crate::supervisors::Exception;

/// A load that failed is ordered again after a second, then after twice as long, up to this.
const LOAD_RETRY_AFTER_MAX_MS: i64 = 60_000;

/// How a task came to its end.
struct End {
    task: String,
    state: TaskState,
    error: Option<String>,
    progress: Option<TaskProgress>,
}

impl Coordinator {
    /// Takes a node's report and answers what it should do. A node reports again when it has carried the orders out or
    /// begun to; it must not have two heartbeats under way.
    pub async fn heartbeat(&self, report: Report, now: i64) -> Result<Reply> {
        self.check_lead()?;
        let node = report.member.node.clone();
        let mut reply = self.reply();
        let reported: HashSet<String> = report.tasks.iter().map(|task| task.id.clone()).collect();
        let (starts, ends) = self.take_in(report, now, &mut reply);
        let mut ends = ends;
        ends.extend(self.find_lost(&node, &reported));
        if !starts.is_empty() || !ends.is_empty() {
            let this = self.clone();
            let recorded = self.detached(async move { this.record_tasks(starts, ends, now).await }).await?;
            reply.recorded.extend(recorded);
            self.wake();
        }

        let mut picture = self.inner.picture.write();
        order_tasks(&mut picture, &node, &reported, self.inner.settings.tasks_max, &mut reply.commands);
        let revision = picture.revision;
        let is_settled = picture.members.get(&node).is_some_and(|member| member.settled_at == Some(revision));
        if !is_settled {
            let placement = placement::plan(&picture, &node, now);
            reply.commands.extend(placement.commands);
            if let Some(member) = picture.members.get_mut(&node) {
                member.settled_at = placement.is_settled.then_some(revision);
            }
        }
        Ok(reply)
    }

    fn reply(&self) -> Reply {
        Reply {
            epoch: self.epoch(),
            lease_ms: self.inner.settings.node_lease_ms.max(0) as u64,
            view: *self.inner.view_changed.borrow(),
            ..Reply::default()
        }
    }

    /// Updates the picture. Answers which tasks run now for the first time, and which have ended.
    fn take_in(&self, report: Report, now: i64, reply: &mut Reply) -> (Vec<String>, Vec<End>) {
        let mut picture = self.inner.picture.write();
        let picture = &mut *picture;
        let member = picture.members.entry(report.member.node.clone()).or_default();
        member.process = report.member.process;
        member.told = report.member.clone();
        let loading: HashSet<SegmentId> = report.loading.into_iter().collect();
        if loading != member.loading {
            member.loading = loading;
            member.settled_at = None;
        }
        for (id, reason) in report.broken {
            let in_a_row = member.broken.get(&id).map_or(0, |broken| broken.in_a_row) + 1;
            let wait = (1000i64 << in_a_row.min(16).saturating_sub(1)).min(LOAD_RETRY_AFTER_MAX_MS);
            warn!(segment = %id, node = %report.member.node, reason, in_a_row, "segment could not be loaded");
            member.broken.insert(id, BrokenLoad { reason, in_a_row, retry_at: now.saturating_add(wait) });
            member.settled_at = None;
        }
        if let Some(served) = report.served {
            member.published = served.published.into_iter().collect();
            member.realtime = served.realtime.into_iter().collect();
            member.broken.retain(|id, _| !member.published.contains(id));
            member.settled_at = None;
            let members = &picture.members;
            picture.orphaned.retain(|id, _| members.values().any(|member| member.realtime.contains(id)));
        }

        let mut starts = Vec::new();
        let mut ends = Vec::new();
        for progress in report.tasks {
            let Some(task) = picture.tasks.get_mut(&progress.id) else {
                if progress.state == TaskState::Running {
                    warn!(task = progress.id, node = %report.member.node, "a task runs that should not");
                    reply.commands.push(Command::StopTask { task: progress.id, reason: StopReason::Cancel });
                } else {
                    reply.recorded.push(progress.id);
                }
                continue;
            };
            task.node = Some(report.member.node.clone());
            match progress.state {
                TaskState::Pending | TaskState::Running => {
                    if task.state == TaskState::Pending {
                        starts.push(progress.id.clone());
                    }
                    let exception = exception_of(&progress, now);
                    task.progress = Some(progress);
                    let supervisor = task.record.supervisor.clone();
                    let entry = supervisor.and_then(|id| picture.supervisors.get_mut(&id));
                    if let (Some(entry), Some(exception)) = (entry, exception) {
                        entry.note(exception);
                    }
                }
                TaskState::Success | TaskState::Failed => ends.push(End {
                    task: progress.id.clone(),
                    state: progress.state,
                    error: progress.error.clone(),
                    progress: Some(progress),
                }),
            }
        }
        (starts, ends)
    }

    /// Tasks that this node ran and does not know any more (its process was restarted), as far as they need not be
    /// started again: they published all they had, were told to discard it, or never began. One that was told to publish
    /// first is started again, and told again: what it kept on disk was seen in answers.
    fn find_lost(&self, node: &str, reported: &HashSet<String>) -> Vec<End> {
        let picture = self.inner.picture.read();
        let is_here = |task: &&LiveTask| task.node.as_deref().is_none_or(|there| there == node);
        let lost = picture.tasks.values().filter(is_here).filter(|task| !reported.contains(&task.record.id));
        let ended = |task: &LiveTask| {
            let is_batch = task.record.supervisor.is_none();
            let (state, error) = match task.stop {
                _ if task.published && is_batch => (TaskState::Success, None),
                Some(StopReason::Cancel) => (TaskState::Failed, Some("cancelled".to_string())),
                Some(StopReason::Reset) => (TaskState::Success, None),
                Some(_) if task.state == TaskState::Pending => (TaskState::Success, None),
                _ => return None,
            };
            Some(End { task: task.record.id.clone(), state, error, progress: None })
        };
        lost.filter_map(ended).collect()
    }

    async fn record_tasks(&self, starts: Vec<String>, ends: Vec<End>, now: i64) -> Result<Vec<String>> {
        let turn = self.turn().await?;
        let mut store = turn.begin().await?;
        for task in &starts {
            tasks::set_started(&mut store, task, now).await?;
        }
        for end in &ends {
            let report = end.progress.as_ref().map(|progress| &progress.report);
            tasks::set_ended(&mut store, &end.task, end.state, end.error.as_deref(), report, now).await?;
        }
        store.commit().await?;

        let mut picture = self.inner.picture.write();
        for task in &starts {
            if let Some(task) = picture.tasks.get_mut(task) {
                task.state = TaskState::Running;
                task.started_at = Some(now);
            }
        }
        let mut recorded = Vec::new();
        for end in ends {
            if let Some(task) = picture.tasks.remove(&end.task) {
                info!(task = end.task, state = ?end.state, error = end.error, "task ended");
                let is_failure = end.state == TaskState::Failed && task.stop.is_none();
                let error = end.error.as_deref().unwrap_or("no reason was given");
                let stream = end.progress.as_ref().is_some_and(|progress| is_stream_problem(&progress.condition));
                picture.note_end(&task.record, is_failure.then_some(error), stream, now);
            }
            if end.progress.is_some() {
                recorded.push(end.task);
            }
        }
        Ok(recorded)
    }
}

fn order_tasks(
    picture: &mut Picture,
    node: &str,
    reported: &HashSet<String>,
    tasks_max: usize,
    commands: &mut Vec<Command>,
) {
    let mut running = 0;
    // The store's own takes no room from others, and waits for none.
    for task in picture.tasks.values().filter(|task| task.node.is_some()) {
        running += usize::from(!is_system(&task.record.datasource));
        if let (Some(reason), true) = (task.stop, reported.contains(&task.record.id)) {
            commands.push(Command::StopTask { task: task.record.id.clone(), reason });
        }
    }
    let mut waiting: Vec<&mut LiveTask> = picture
        .tasks
        .values_mut()
        .filter(|task| !task.is_discarded() && !reported.contains(&task.record.id))
        .filter(|task| task.node.as_deref().is_none_or(|there| there == node))
        .collect();
    waiting.sort_by_key(|task| (task.node.is_none(), task.record.supervisor.is_none(), task.created_at));
    for task in waiting {
        if task.node.is_none() {
            let takes_room = !is_system(&task.record.datasource);
            if takes_room && running >= tasks_max {
                continue;
            }
            running += usize::from(takes_room);
            task.node = Some(node.to_string());
        }
        commands.push(Command::StartTask { task: task.record.clone(), attempt: task.attempt });
    }
}

fn exception_of(progress: &TaskProgress, now: i64) -> Option<Exception> {
    let (class, reason) = match &progress.condition {
        Condition::Connecting | Condition::Healthy => return None,
        Condition::UnableToConnect(reason) => ("UnableToConnectToStream", reason),
        Condition::LostContact(reason) => ("LostContactWithStream", reason),
        Condition::Hindered(reason) => ("TaskHindered", reason),
    };
    Some(Exception {
        at: now,
        class: class.to_string(),
        message: format!("task {}: {reason}", progress.id),
        stream: is_stream_problem(&progress.condition),
    })
}

fn is_stream_problem(condition: &Condition) -> bool {
    matches!(condition, Condition::UnableToConnect(_) | Condition::LostContact(_))
}
