//! Which supervisors get another number of tasks, by how far theirs are behind: takes lags down in time and asks
//! [`Scaling::decide`].
//!
//! - A lag counts only while every group of partitions has its task, that reads: what a task that is not there has not read,
//!   nobody knows, and nothing is scaled while tasks are being changed.
//! - There are never more tasks than partitions, nor more than nodes take, nor more than the share of a datasource.
//! - Another number takes effect as another document does: tasks publish and end, others read on from there.

use std::collections::BTreeMap;

use crate::command::{Condition, Phase};
use crate::picture::{LiveTask, Picture, SupervisorEntry};
use crate::plan::assignment;
use crate::scaling::Stand;

/// Takes down what is due. Answers supervisors with the numbers of tasks that they are to have.
pub(crate) fn plan(picture: &mut Picture, tasks_max: usize, now: i64) -> Vec<(String, u32)> {
    let mut due: Vec<(String, Option<(Vec<i64>, u32)>)> = Vec::new();
    for (id, entry) in &picture.supervisors {
        if let Some(scaling) = &entry.row.spec.scaling
            && !entry.row.spec.suspended
            && (entry.lags.is_due(scaling, now) || !entry.lags.has_begun())
        {
            due.push((id.clone(), lags(picture, entry)));
        }
    }
    if due.is_empty() {
        return Vec::new();
    }
    let mut room = u32::try_from(assignment::room(picture, tasks_max)).unwrap_or(u32::MAX);
    let mut scaled = Vec::new();
    // What was given out above is in no specification yet.
    let mut given = BTreeMap::<String, u32>::new();
    for (id, told) in due {
        let left = share_left(picture, &id, tasks_max);
        let Some(entry) = picture.supervisors.get_mut(&id) else { continue };
        let Some(scaling) = &entry.row.spec.scaling else { continue };
        let tasks = entry.row.spec.task_count;
        let (lags, partitions) = told.unzip();
        entry.lags.take_down(scaling, lags.as_deref(), now);
        let Some(partitions) = partitions.filter(|_| entry.lags.is_time(scaling, now)) else { continue };
        let given = given.entry(entry.row.spec.datasource.clone()).or_default();
        let left = room.min(left.saturating_sub(*given));
        let stand = Stand { tasks, partitions, room: left, scaled_at: entry.row.scaled_at, now };
        if let Some(count) = scaling.decide(&entry.lags.all(), stand) {
            let more = count.saturating_sub(tasks);
            room = room.saturating_sub(more);
            *given += more;
            scaled.push((id, count));
        }
    }
    scaled
}

/// How many tasks more the supervisors of its datasource may have.
fn share_left(picture: &Picture, id: &str, tasks_max: usize) -> u32 {
    let most = u32::try_from(assignment::share(tasks_max)).unwrap_or(u32::MAX);
    let Some(entry) = picture.supervisors.get(id) else { return 0 };
    let others = picture.supervisors.values().map(|other| &other.row.spec);
    let others = others.filter(|other| other.datasource == entry.row.spec.datasource && !other.suspended);
    others.fold(most, |left, other| left.saturating_sub(other.task_count))
}

/// The lags of its partitions, and how many there are; `None` while that is not known of all.
fn lags(picture: &Picture, entry: &SupervisorEntry) -> Option<(Vec<i64>, u32)> {
    let row = &entry.row;
    let tasks: Vec<&LiveTask> = picture.tasks_of(&row.spec.id).collect();
    let is_reading = |task: &&LiveTask| {
        let reads = task.progress.as_ref().is_some_and(|progress| {
            progress.condition == Condition::Healthy && matches!(progress.phase, Phase::Reading | Phase::Idle)
        });
        task.record.generation == row.generation && task.stop.is_none() && reads
    };
    if tasks.len() != row.spec.task_count as usize || !tasks.iter().all(is_reading) {
        return None;
    }
    let of = |task: &&LiveTask| task.progress.iter().flat_map(|told| told.lag.values().copied()).collect::<Vec<_>>();
    let lags: Vec<i64> = tasks.iter().flat_map(of).collect();
    let partitions = u32::try_from(lags.len()).unwrap_or(u32::MAX);
    Some((lags, partitions))
}
