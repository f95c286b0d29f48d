//! Heartbeats: what a node reports is set beside what should be, and the difference is its orders.

use std::collections::HashSet;

use segment::{Interval, SegmentId};
use tracing::{info, warn};

use crate::Coordinator;
use crate::catalog::{members, rows, tasks};
use crate::command::{Command, Condition, Reply, Report, StopReason, TaskProgress, TaskState};
use crate::error::Result;
use crate::fleet::Host;
use crate::node::Member;
use crate::picture::{Admitted, BrokenLoad, LiveTask, Picture};
use crate::plan::assignment::{self, Assignment};
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

/// What a report came to.
struct Taken {
    /// Tasks that run now for the first time.
    starts: Vec<String>,
    ends: Vec<End>,
    /// Whether there is something to plan by, though nothing to put on record.
    is_news: bool,
}

impl Coordinator {
    /// Takes a node's report and answers what it should do. A node reports again when it has carried the orders out or
    /// begun to, and at least a few times within its lease; it must not have two heartbeats under way. The first report to a
    /// leader is answered by who that is, and no more ([`Reply::is_strange`]).
    ///
    /// [`Error::Conflict`](crate::Error::Conflict) if another process has taken the node's name.
    pub async fn heartbeat(&self, report: Report, now: i64) -> Result<Reply> {
        self.check_lead()?;
        let node = report.member.node.clone();
        let mut reply = Reply {
            epoch: self.epoch(),
            lease_ms: u64::try_from(self.inner.settings.node_lease_ms).unwrap_or(0),
            ..Reply::default()
        };
        if report.heard.is_some_and(|heard| heard != reply.epoch) {
            (reply.is_strange, reply.wants_served) = (true, true);
            return Ok(reply);
        }
        self.look_up_unknown(&report).await?;
        let reported: HashSet<String> = report.tasks.iter().map(|task| task.id.clone()).collect();
        reply.leaving = report.leaving;
        let Some(Taken { starts, mut ends, is_news }) = self.take_in(report, now, &mut reply)? else {
            reply.wants_served = true;
            return Ok(reply);
        };
        ends.extend(self.find_lost(&node, &reported));
        let recorded = self.record(starts, ends, now).await?;
        reply.recorded.extend(recorded);
        self.show();

        if self.order(&node, &reported, now, &mut reply) || is_news {
            self.wake();
        }
        Ok(reply)
    }

    /// Sets a node's orders down in the reply. Answers whether there is more to plan at once.
    fn order(&self, node: &str, reported: &HashSet<String>, now: i64, reply: &mut Reply) -> bool {
        let mut picture = self.inner.picture.write();
        let picture = &mut *picture;
        reply.view = *self.inner.view_changed.borrow();
        reply.documents = picture.documents_version;
        let Some(member) = picture.members.get(node) else { return false };
        reply.wants_served = !member.has_told_served;
        let void: Vec<SegmentId> = member.void.iter().cloned().collect();
        order_tasks(picture, &member.told, reported, &mut reply.commands);
        reply.commands.extend(placement::orders(picture, node, now));
        let is_ordered = |id: &SegmentId| {
            let is_for = |command: &Command| match command {
                Command::Load(meta) => meta.id == *id,
                Command::Drop(other) => other == id,
                _ => false,
            };
            reply.commands.iter().any(is_for)
        };
        let drops: Vec<Command> = void.into_iter().filter(|id| !is_ordered(id)).map(Command::Drop).collect();
        reply.commands.extend(drops);
        placement::has_more(&picture.fleet)
    }

    /// Takes a node out that is about to end: it is not waited for. It answers by no view any more.
    pub async fn forget_node(&self, node: &str, process: u64, now: i64) -> Result<()> {
        self.check_lead()?;
        {
            let mut picture = self.inner.picture.write();
            if picture.members.get(node).is_some_and(|member| member.told.process == process) {
                picture.lose(node, "it says that it ends");
            }
        }
        self.end_grants(node, process);
        self.record(Vec::new(), Vec::new(), now).await?;
        self.wake();
        Ok(())
    }

    /// To be told where no other node is at work: those that an earlier leader knew are not waited for.
    pub fn expect_nobody(&self) {
        let mut picture = self.inner.picture.write();
        for node in std::mem::take(&mut picture.expected).into_keys() {
            picture.interrupt(&node);
        }
    }

    /// Takes out nodes that were not heard of, and gives their tasks to others.
    pub(crate) async fn keep_members(&self, now: i64) -> Result<()> {
        self.inner.picture.write().lose_silent(now, self.inner.settings.node_lease_ms, "");
        self.record(Vec::new(), Vec::new(), now).await?;
        Ok(())
    }

    /// Rows of which this leader knows nothing may be those of a segment that is not used any more, or of one that was
    /// published under another name while another node led.
    async fn look_up_unknown(&self, report: &Report) -> Result<()> {
        let unknown = self.inner.picture.read().unknown(report);
        if unknown.is_empty() {
            return Ok(());
        }
        let mut connection = self.read().await?;
        for id in unknown {
            let name = id.to_string();
            if let Some(record) = rows::by_id(&mut connection, &name).await? {
                if !record.used {
                    self.inner.picture.write().orphan(id, record.meta.path);
                }
            } else if let Some(record) = rows::by_former_id(&mut connection, &name).await? {
                let mut picture = self.inner.picture.write();
                picture.rename(id, record.meta.id.clone());
                if !record.used {
                    picture.orphan(record.meta.id, record.meta.path);
                }
            }
        }
        Ok(())
    }

    /// Updates the picture; `None` of a report that changes nothing.
    fn take_in(&self, report: Report, now: i64, reply: &mut Reply) -> Result<Option<Taken>> {
        let mut picture = self.inner.picture.write();
        let picture = &mut *picture;
        let node = report.member.node.clone();
        if picture.admit(&report, now)? == Admitted::Stale {
            return Ok(None);
        }
        picture.lose_silent(now, self.inner.settings.node_lease_ms, &node);
        let has_served = report.served.is_some();
        if let Some(served) = report.served {
            picture.set_served(&node, served);
        }
        picture.forget_orphans();
        let member = picture.members.entry(node.clone()).or_default();
        let loading: HashSet<SegmentId> = report.loading.into_iter().collect();
        if loading != member.loading {
            member.loading = loading;
            member.settled_at = None;
        }
        let mut failed = Vec::with_capacity(report.broken.len());
        for (id, reason) in report.broken {
            let in_a_row = member.broken.get(&id).map_or(0, |broken| broken.in_a_row) + 1;
            let wait = (1000i64 << in_a_row.min(16).saturating_sub(1)).min(LOAD_RETRY_AFTER_MAX_MS);
            warn!(segment = %id, node, reason, in_a_row, "segment could not be loaded");
            picture.changed.tables.insert(id.datasource.clone());
            let retry_at = now.saturating_add(wait);
            failed.push((id.clone(), retry_at));
            member.broken.insert(id, BrokenLoad { reason, in_a_row, retry_at });
            member.settled_at = None;
        }
        member.tasks = report.tasks.iter().map(|task| task.id.clone()).collect();
        let mut is_news = member.is_leaving != report.leaving;
        member.is_leaving = report.leaving;
        if report.leaving {
            // It starts nothing any more: what it was given and has not begun is another's.
            let told = &member.tasks;
            let is_here = |task: &&mut LiveTask| task.is_attempt(&report.member, task.attempt);
            for task in picture.tasks.values_mut().filter(is_here).filter(|task| !told.contains(&task.record.id)) {
                task.node = None;
                task.progress = None;
            }
        }
        // Of one that did not tell what it has, nobody knows what to place on it.
        if member.has_told_served {
            let served = has_served.then_some(&member.published);
            picture.fleet.report(&node, &Host::of(&report.member), served, &member.loading, &failed);
        }

        let mut starts = Vec::new();
        let mut ends = Vec::new();
        let mut is_astray = false;
        for progress in report.tasks {
            let Some(task) = picture.tasks.get_mut(&progress.id) else {
                if progress.state == TaskState::Running {
                    warn!(task = progress.id, node, "a task runs that should not");
                    reply.commands.push(Command::StopTask { task: progress.id, reason: StopReason::Cancel });
                } else {
                    reply.recorded.push(progress.id);
                }
                continue;
            };
            if !task.is_attempt(&report.member, progress.attempt) {
                if progress.state == TaskState::Running {
                    is_astray = true;
                    reply.commands.push(Command::StopTask { task: progress.id, reason: StopReason::Shutdown });
                } else {
                    reply.recorded.push(progress.id);
                }
                continue;
            }
            let is_behind = !progress.caught_up && progress.state == TaskState::Running;
            if let Some(supervisor) = &task.record.supervisor
                && is_behind
                && (task.caught_up() || is_marked(&report.incomplete, &task.record.datasource, supervisor))
            {
                picture.unsettled.insert(supervisor.clone(), task.record.datasource.clone());
                picture.changed.tables.insert(task.record.datasource.clone());
            }
            match progress.state {
                TaskState::Pending | TaskState::Running => {
                    if task.state == TaskState::Pending {
                        starts.push(progress.id.clone());
                    }
                    let exception = exception_of(&progress, now);
                    is_news |= progress.done && !task.is_done();
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
        if is_astray {
            picture.distrust(&node);
        }
        Ok(Some(Taken { starts, ends, is_news }))
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
                // Another reads on.
                _ if !is_batch && picture.is_followed(&task.record.id) => (TaskState::Success, None),
                Some(StopReason::Cancel) => (TaskState::Failed, Some("cancelled".to_string())),
                Some(StopReason::Reset) => (TaskState::Success, None),
                Some(_) if task.state == TaskState::Pending => (TaskState::Success, None),
                _ => return None,
            };
            Some(End { task: task.record.id.clone(), state, error, progress: None })
        };
        lost.filter_map(ended).collect()
    }

    /// Puts on record which tasks began and ended, who the members are, and which node runs what none runs.
    async fn record(&self, starts: Vec<String>, ends: Vec<End>, now: i64) -> Result<Vec<String>> {
        let is_quiet = || {
            let picture = self.inner.picture.read();
            let (joined, left) = self.members_to_record(&picture);
            joined.is_empty() && left.is_empty() && self.assignments(&picture, &HashSet::new()).is_empty()
        };
        if starts.is_empty() && ends.is_empty() && is_quiet() {
            return Ok(Vec::new());
        }
        let this = self.clone();
        self.detached(async move { this.record_tasks(starts, ends, now).await }).await
    }

    /// What is lost stays on record for as long as it may answer by a view: another leader is to know of it.
    fn members_to_record(&self, picture: &Picture) -> (Vec<Member>, Vec<String>) {
        let (joined, mut left) = picture.members_to_record();
        if !left.is_empty() {
            let grants = self.inner.grants.lock();
            left.retain(|node| !grants.has_any(node));
        }
        (joined, left)
    }

    fn assignments(&self, picture: &Picture, ended: &HashSet<&str>) -> Vec<Assignment> {
        assignment::plan(picture, self.inner.settings.tasks_max, self.holder().as_deref(), ended)
    }

    async fn record_tasks(&self, starts: Vec<String>, ends: Vec<End>, now: i64) -> Result<Vec<String>> {
        let turn = self.turn().await?;
        let ended: HashSet<&str> = ends.iter().map(|end| end.task.as_str()).collect();
        let ((joined, left), assignments) = {
            let picture = self.inner.picture.read();
            (self.members_to_record(&picture), self.assignments(&picture, &ended))
        };
        let mut store = turn.begin().await?;
        for member in &joined {
            members::put(&mut store, member, now).await?;
        }
        for node in &left {
            members::delete(&mut store, node).await?;
        }
        for Assignment { task, node, attempt, .. } in &assignments {
            tasks::set_attempt(&mut store, task, node, *attempt).await?;
        }
        for task in &starts {
            tasks::set_started(&mut store, task, now).await?;
        }
        for end in &ends {
            let report = end.progress.as_ref().map(|progress| &progress.report);
            tasks::set_ended(&mut store, &end.task, end.state, end.error.as_deref(), report, now).await?;
        }
        store.commit().await?;

        let mut picture = self.inner.picture.write();
        for member in joined {
            picture.on_record.insert(member.node.clone(), member);
        }
        for node in left {
            picture.on_record.remove(&node);
        }
        for Assignment { task, node, process, attempt } in assignments {
            // A node that was lost meanwhile is not to run it, and that attempt is void.
            let is_there = picture.members.get(&node).is_some_and(|member| member.told.process == process);
            if let Some(task) = picture.tasks.get_mut(&task) {
                info!(task = task.record.id, node, attempt, "task given to a node");
                task.attempt = attempt;
                task.process = process;
                task.progress = None;
                task.last_node = Some(node.clone());
                task.node = is_there.then_some(node);
            }
        }
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
                if let (Some(supervisor), TaskState::Failed, None) = (&task.record.supervisor, end.state, task.stop) {
                    picture.unsettled.insert(supervisor.clone(), task.record.datasource.clone());
                    picture.changed.tables.insert(task.record.datasource.clone());
                }
                picture.note_end(&task.record, is_failure.then_some(error), stream, now);
            }
            if end.progress.is_some() {
                recorded.push(end.task);
            }
        }
        Ok(recorded)
    }
}

fn is_marked(incomplete: &[(String, String, Vec<Interval>)], datasource: &str, supervisor: &str) -> bool {
    incomplete.iter().any(|(of, owner, intervals)| of == datasource && owner == supervisor && !intervals.is_empty())
}

/// What the node is to start and to stop of the tasks that are its own.
fn order_tasks(picture: &Picture, member: &Member, reported: &HashSet<String>, commands: &mut Vec<Command>) {
    let is_here = |task: &&LiveTask| task.is_attempt(member, task.attempt);
    let (told, mut untold): (Vec<&LiveTask>, Vec<&LiveTask>) =
        picture.tasks.values().filter(is_here).partition(|task| reported.contains(&task.record.id));
    for task in told {
        if let Some(reason) = task.stop {
            commands.push(Command::StopTask { task: task.record.id.clone(), reason });
        }
    }
    untold.retain(|task| !task.is_discarded());
    untold.sort_by_key(|task| (task.record.supervisor.is_none(), task.created_at));
    for task in untold {
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
