//! Which node runs a task that none runs.
//!
//! - Supervised tasks go first, then those of the datasource that has the fewest, then of whom has posted the fewest, then the
//!   oldest, as far as there is room: on a node, and on all together. A quarter of it is kept for supervised tasks, and a quarter
//!   of the rest from each datasource's posted ones, and from those that one user has posted: whoever may post tasks of one
//!   datasource, or of many, cannot keep others waiting. Nor can whoever has supervisors of a datasource: its supervised tasks
//!   have three quarters of all room ([`share`]).
//! - A task goes to the node where it ran last, if that takes it: what it kept on disk is there. Else to the one with the
//!   fewest tasks.
//! - A node takes tasks once it told what it serves and has no rows left that do not count, and none that it still tells
//!   of: whatever it reports of a task from then on is the doing of the attempt that it was given.
//! - One whose group another task still has rows of, published by now, goes to another node: on a node the two would share a
//!   folder. That other one takes no room, and is given to nobody again.
//! - A node that is leaving takes none.
//! - The store's own take no room and wait for none; they read what is on one node: the one that their supervisor is named
//!   after, whatever its roles, else that which leads.

use std::collections::{BTreeMap, HashSet};

use segment::is_system;

use crate::node::Role;
use crate::picture::{LiveTask, Member, Picture};
use crate::supervisors::home_of;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub task: String,
    pub node: String,
    pub process: u64,
    pub attempt: i64,
}

/// `leader` is the node that leads, where one of several does; `ended` tasks take no room any more.
pub(crate) fn plan(
    picture: &Picture,
    tasks_max: usize,
    leader: Option<&str>,
    ended: &HashSet<&str>,
) -> Vec<Assignment> {
    let mut waiting: Vec<&LiveTask> =
        picture.tasks.values().filter(|task| task.node.is_none() && !task.is_discarded()).collect();
    waiting.retain(|task| !ended.contains(task.record.id.as_str()));
    // What the nodes that are waited for run, they may run still.
    waiting.retain(|task| !task.last_node.as_ref().is_some_and(|node| picture.expected.contains_key(node)));
    let followed: HashSet<&String> = picture.tasks.values().flat_map(|task| &task.record.follows).collect();
    waiting.retain(|task| !followed.contains(&task.record.id));
    if waiting.is_empty() {
        return Vec::new();
    }
    waiting.sort_by_key(|task| (task.record.supervisor.is_none(), task.created_at, &task.record.id));
    let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
    for task in picture.tasks.values().filter(|task| !is_system(&task.record.datasource) && !task.is_done()) {
        if let Some(node) = task.node.as_ref().filter(|_| !ended.contains(task.record.id.as_str())) {
            *loads.entry(node).or_default() += 1;
        }
    }
    let mut running: usize = loads.values().sum();
    // Posted tasks at work, by datasource and by who posted them.
    let mut posted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of_posters: BTreeMap<&str, usize> = BTreeMap::new();
    for task in picture.tasks.values().filter(|task| task.record.supervisor.is_none() && task.node.is_some()) {
        if !ended.contains(task.record.id.as_str()) {
            *posted.entry(&task.record.datasource).or_default() += 1;
            if let Some(poster) = poster(task) {
                *of_posters.entry(poster).or_default() += 1;
            }
        }
    }
    let mut supervised: BTreeMap<&str, usize> = BTreeMap::new();
    for task in supervised_at_work(picture).filter(|task| !ended.contains(task.record.id.as_str())) {
        *supervised.entry(&task.record.datasource).or_default() += 1;
    }
    let posted_max = share(tasks_max);
    // Each goes after as many of its kind and datasource as are at work or wait before it, and after as many of its poster's.
    let mut turns = [supervised.clone(), posted.clone()];
    let mut turns_of_posters = of_posters.clone();
    let mut in_turn: Vec<((bool, usize, usize), &LiveTask)> = Vec::with_capacity(waiting.len());
    for task in waiting {
        let is_posted = task.record.supervisor.is_none();
        let turn = turns[usize::from(is_posted)].entry(&task.record.datasource).or_default();
        *turn += 1;
        let of_poster = turns_of_posters.entry(poster(task).unwrap_or_default()).or_default();
        *of_poster += 1;
        in_turn.push(((is_posted, *turn, *of_poster), task));
    }
    in_turn.sort_by_key(|(turn, _)| *turn);
    let mut assignments = Vec::new();
    for ((is_posted, ..), task) in in_turn {
        let id = &task.record.id;
        let is_own = is_system(&task.record.datasource);
        if !is_own && (running >= tasks_max || is_posted && posted.values().sum::<usize>() >= posted_max) {
            continue;
        }
        let of_datasource = posted.get(task.record.datasource.as_str()).copied().unwrap_or(0);
        let of_poster = poster(task).and_then(|poster| of_posters.get(poster)).copied().unwrap_or(0);
        if is_posted && of_datasource.max(of_poster) >= share(posted_max) {
            continue;
        }
        let at_work = supervised.get(task.record.datasource.as_str()).copied().unwrap_or(0);
        if !is_posted && !is_own && at_work >= share(tasks_max) {
            continue;
        }
        let load = |node: &str| loads.get(node).copied().unwrap_or(0);
        let fits = |(node, member): &(&String, &Member)| {
            let has_room = is_own || load(node) < member.told.tasks_max;
            let (is_there, may) = match task.record.supervisor.as_deref().and_then(home_of) {
                Some(home) => (home == node.as_str(), is_ready(member)),
                None => (!is_own || leader.is_none_or(|leader| leader == node.as_str()), takes_tasks(member)),
            };
            let is_shared = || has_share(picture, node, task);
            has_room && is_there && may && !member.tasks.contains(id) && !is_shared()
        };
        let was_here = |node: &str| task.last_node.as_deref() == Some(node);
        let members = picture.members.iter().filter(fits);
        let Some((node, member)) = members.min_by_key(|(node, _)| (!was_here(node), load(node), *node)) else {
            continue;
        };
        if !is_own {
            *loads.entry(node).or_default() += 1;
            running += 1;
        }
        let of_its_kind = if is_posted { &mut posted } else { &mut supervised };
        *of_its_kind.entry(&task.record.datasource).or_default() += 1;
        if let Some(poster) = poster(task) {
            *of_posters.entry(poster).or_default() += 1;
        }
        let (node, process) = (node.clone(), member.told.process);
        assignments.push(Assignment { task: id.clone(), node, process, attempt: task.attempt + 1 });
    }
    assignments
}

/// Who posted a task, if somebody did.
fn poster(task: &LiveTask) -> Option<&str> {
    task.record.poster.as_ref().map(|poster| poster.key.as_str())
}

/// Three quarters of places that all need.
pub(crate) fn share(places: usize) -> usize {
    places - places / 4
}

/// Supervised tasks that take room.
fn supervised_at_work(picture: &Picture) -> impl Iterator<Item = &LiveTask> {
    let tasks = picture.tasks.values().filter(|task| task.record.supervisor.is_some() && task.node.is_some());
    tasks.filter(|task| !is_system(&task.record.datasource) && !task.is_done())
}

/// Why tasks of a supervisor wait for room, with how many, if some do and it is the bounds on all nodes that keep them.
pub(crate) fn waits(picture: &Picture, tasks_max: usize, supervisor: &str, datasource: &str) -> Option<String> {
    let is_waiting =
        |task: &&LiveTask| task.node.is_none() && !task.is_discarded() && !picture.is_followed(&task.record.id);
    let waiting = picture.tasks_of(supervisor).filter(is_waiting).count();
    if waiting == 0 || is_system(datasource) {
        return None;
    }
    let own = supervised_at_work(picture).filter(|task| task.record.datasource == datasource).count();
    let works = |task: &&LiveTask| task.node.is_some() && !is_system(&task.record.datasource) && !task.is_done();
    let all = picture.tasks.values().filter(works).count();
    let why = if own >= share(tasks_max) {
        format!("supervised tasks of {datasource} have {own} of {tasks_max} places, and a quarter is left to others")
    } else if all >= tasks_max {
        format!("all {tasks_max} places are taken")
    } else {
        return None;
    };
    Some(format!(
        "{waiting} tasks wait, and what they should read is not read: {why}; ask for fewer (taskCount), or raise \
         ingest.tasks_max where the coordinator runs"
    ))
}

/// How many tasks more the nodes take.
pub(crate) fn room(picture: &Picture, tasks_max: usize) -> usize {
    let works = |task: &&LiveTask| !is_system(&task.record.datasource) && !task.is_done();
    let on =
        |node: &str| picture.tasks.values().filter(works).filter(|task| task.node.as_deref() == Some(node)).count();
    let taking = picture.members.iter().filter(|(_, member)| takes_tasks(member));
    let free: usize = taking.map(|(node, member)| member.told.tasks_max.saturating_sub(on(node))).sum();
    let waiting = |task: &&LiveTask| task.node.is_none() && !picture.is_followed(&task.record.id);
    let live = picture.tasks.values().filter(works);
    let (running, waiting) = (live.clone().filter(|task| task.node.is_some()).count(), live.filter(waiting).count());
    free.min(tasks_max.saturating_sub(running)).saturating_sub(waiting)
}

/// Whether the node runs another task of the same share of the same supervisor.
fn has_share(picture: &Picture, node: &str, task: &LiveTask) -> bool {
    let Some(supervisor) = &task.record.supervisor else { return false };
    let share = |task: &LiveTask| (task.record.group, task.record.groups);
    picture.tasks_of(supervisor).any(|other| other.node.as_deref() == Some(node) && share(other) == share(task))
}

fn takes_tasks(member: &Member) -> bool {
    member.told.has(Role::Ingest) && is_ready(member)
}

fn is_ready(member: &Member) -> bool {
    !member.is_leaving && member.has_told_served && member.void.is_empty()
}
