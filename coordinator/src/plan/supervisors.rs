//! Which tasks a supervisor should have: one for each group of partitions, all of its newest generation.
//!
//! A group's next task is made only when its last one has published all it read, for both would start from the same
//! positions. After a failure it waits, twice as long with every failure in a row.
//!
//! Tasks of a node that is leaving are told to make way for others, as by a new document.

use segment::is_system;

use crate::Settings;
use crate::command::{StopReason, TaskRecord};
use crate::picture::{Failures, LiveTask, Picture, SupervisorEntry};

/// How the names of supervised tasks begin, for each kind of stream: no other task may be named so.
pub(crate) const NAMES: [&str; 2] = ["index_kafka_", "index_journal_"];

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Create(TaskRecord),
    Stop { task: String, reason: StopReason },
}

pub(crate) struct Plan {
    pub actions: Vec<Action>,
    /// When there is something to do although nothing changes until then.
    pub again_at: Option<i64>,
}

pub(crate) fn plan(picture: &Picture, settings: &Settings, now: i64) -> Plan {
    let mut plan = Plan { actions: Vec::new(), again_at: None };
    for entry in picture.supervisors.values() {
        if entry.row.spec.suspended {
            stop_all(picture, entry, StopReason::Suspend, &mut plan.actions);
        } else {
            keep_running(picture, settings, entry, now, &mut plan);
        }
    }
    for (node, _) in picture.members.iter().filter(|(_, member)| member.is_leaving) {
        let of_node = picture.tasks.values().filter(|task| task.node.as_ref() == Some(node) && task.stop.is_none());
        for task in of_node.filter(|task| task.record.supervisor.is_some() && !is_system(&task.record.datasource)) {
            let id = &task.record.id;
            if !plan.actions.iter().any(|action| matches!(action, Action::Stop { task, .. } if task == id)) {
                plan.actions.push(Action::Stop { task: id.clone(), reason: StopReason::Replace });
            }
        }
    }
    for task in picture.tasks.values() {
        let is_left_over = task.record.supervisor.as_ref().is_some_and(|id| !picture.supervisors.contains_key(id));
        if is_left_over && task.stop.is_none() {
            plan.actions.push(Action::Stop { task: task.record.id.clone(), reason: StopReason::Terminate });
        }
    }
    plan
}

fn stop_all(picture: &Picture, entry: &SupervisorEntry, reason: StopReason, actions: &mut Vec<Action>) {
    for task in picture.tasks_of(&entry.row.spec.id).filter(|task| task.stop.is_none()) {
        actions.push(Action::Stop { task: task.record.id.clone(), reason });
    }
}

fn keep_running(picture: &Picture, settings: &Settings, entry: &SupervisorEntry, now: i64, plan: &mut Plan) {
    let row = &entry.row;
    let mut is_old_left = false;
    for task in picture.tasks_of(&row.spec.id).filter(|task| task.record.generation != row.generation) {
        is_old_left |= !is_over(picture, task);
        if task.stop.is_none() {
            plan.actions.push(Action::Stop { task: task.record.id.clone(), reason: StopReason::Replace });
        }
    }
    if is_old_left {
        return;
    }
    let mut launches = row.launches;
    for group in 0..row.spec.task_count {
        let is_same = |task: &&LiveTask| task.record.generation == row.generation && task.record.group == group;
        if picture.tasks_of(&row.spec.id).filter(is_same).any(|task| !is_over(picture, task)) {
            continue;
        }
        if let Some(retry_at) = entry.failures.get(&group).map(|failures| retry_at(failures, settings))
            && retry_at > now
        {
            plan.again_at = Some(plan.again_at.map_or(retry_at, |earlier| earlier.min(retry_at)));
            continue;
        }
        launches += 1;
        // Those of other generations are all over.
        let before = picture
            .tasks_of(&row.spec.id)
            .filter(|task| task.record.generation != row.generation || task.record.group == group);
        let follows = before.map(|task| task.record.id.clone()).collect();
        plan.actions.push(Action::Create(TaskRecord { follows, ..record(entry, group, launches, now) }));
    }
}

/// Whether all that a task read is published, and it reads no more.
fn is_over(picture: &Picture, task: &LiveTask) -> bool {
    task.is_done() || picture.is_followed(&task.record.id)
}

fn record(entry: &SupervisorEntry, group: u32, launch: i64, now: i64) -> TaskRecord {
    let row = &entry.row;
    let kind = format!("index_{}", row.spec.kind);
    TaskRecord {
        id: format!("{kind}_{}_{group}_{launch}", row.spec.id),
        group_id: format!("{kind}_{}", row.spec.id),
        datasource: row.spec.datasource.clone(),
        kind,
        supervisor: Some(row.spec.id.clone()),
        document: row.spec.document.clone(),
        group,
        groups: row.spec.task_count,
        generation: row.generation,
        created_at: now,
        follows: Vec::new(),
        poster: None,
    }
}

fn retry_at(failures: &Failures, settings: &Settings) -> i64 {
    let doublings = failures.in_a_row.saturating_sub(1).min(30);
    let wait = settings.restart_after_ms.saturating_mul(1 << doublings).min(settings.restart_after_max_ms);
    failures.last_at.saturating_add(wait)
}
