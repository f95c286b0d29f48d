//! The catalog in memory, as of the newest commit, with what nodes last reported. Planners read this and nothing else.

mod presence;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use segment::SegmentId;
use segment::timeline::Timeline;

use crate::catalog::{EndedTask, Kept, SegmentRecord, SupervisorRow, TaskRow};
use crate::command::{Condition, StopReason, TaskProgress, TaskRecord, TaskState};
use crate::documents::Document;
use crate::fleet::{Fleet, Host, Slot};
use crate::node;
use crate::scaling::Lags;
use crate::standing::{Changed, Standing};
use crate::supervisors::Exception;

pub(crate) use self::presence::Admitted;

/// How many exceptions of a supervisor are kept; the oldest go first.
pub(crate) const EXCEPTIONS_MAX: usize = 10;

/// Longer than any report is on its way.
const ORPHANS_KEPT_MS: i64 = 60_000;

#[derive(Default)]
pub(crate) struct Picture {
    /// Number of the newest write of segments and pending names.
    pub number: i64,
    /// Grows whenever `segments` changes.
    pub revision: u64,
    /// The used segments by datasource.
    pub segments: BTreeMap<String, Timeline<Arc<SegmentRecord>>>,
    /// Segments that went out of use while a node may still have their realtime rows, with their files.
    pub orphaned: BTreeMap<SegmentId, String>,
    /// Those that were orphaned last, with the time, oldest first: a node may not have told of their rows yet.
    orphaned_since: VecDeque<(i64, SegmentId)>,
    /// Names that tasks were told to publish their rows under instead of those that they had, with the time: what a node
    /// told of under the old name is published under the new one.
    renamed: BTreeMap<SegmentId, (SegmentId, i64)>,
    /// Those that are not terminated.
    pub supervisors: BTreeMap<String, SupervisorEntry>,
    /// Those that have not ended.
    pub tasks: BTreeMap<String, LiveTask>,
    pub members: BTreeMap<String, Member>,
    /// Where segments are and where they should be.
    pub fleet: Fleet,
    /// Nodes that an earlier leader knew and that were not heard of yet.
    pub expected: BTreeMap<String, node::Member>,
    /// Until when they are waited for.
    pub expected_until: Option<i64>,
    /// What the catalog has of members.
    pub on_record: BTreeMap<String, node::Member>,
    /// Processes that are not their nodes any more, oldest first, with their last reports' numbers.
    former: BTreeMap<String, Vec<(u64, u64)>>,
    /// Supervisors of which rows that were seen may be missing, with their datasources.
    pub unsettled: BTreeMap<String, String>,
    pub standing: Standing,
    /// Since the newest view.
    pub changed: Changed,
    /// The newest time that anybody told.
    pub now: i64,
    /// By kind and name.
    pub documents: BTreeMap<String, BTreeMap<String, Arc<Document>>>,
    /// The greatest version of a document so far.
    pub documents_version: i64,
}

pub(crate) struct SupervisorEntry {
    pub row: SupervisorRow,
    /// By group of partitions: failures in a row of its tasks.
    pub failures: BTreeMap<u32, Failures>,
    pub exceptions: VecDeque<Exception>,
    /// Where the number of its tasks follows them.
    pub lags: Lags,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Failures {
    pub in_a_row: u32,
    pub last_at: i64,
}

pub(crate) struct LiveTask {
    pub record: TaskRecord,
    pub state: TaskState,
    pub stop: Option<StopReason>,
    pub published: bool,
    pub created_at: i64,
    pub started_at: Option<i64>,
    /// The node that is to run it, and the process there that was told so.
    pub node: Option<String>,
    pub process: u64,
    /// Where it ran last: what it kept on disk is there.
    pub last_node: Option<String>,
    /// How often it was given to a process.
    pub attempt: i64,
    pub progress: Option<TaskProgress>,
}

/// A node, as of its last report.
#[derive(Default)]
pub(crate) struct Member {
    /// As it tells of itself: roles, tier, priority, capacity.
    pub told: node::Member,
    pub seq: u64,
    pub heard_at: i64,
    /// It is about to end: its tasks are handed over.
    pub is_leaving: bool,
    /// Whether it told what it serves. Before that nothing is known of it.
    pub has_told_served: bool,
    /// Whether the rows it has are those of tasks that this process was given: else they are `void`.
    pub is_trusted: bool,
    /// Realtime rows that do not count, for another node has them or is to read them again. They are to be dropped.
    pub void: HashSet<SegmentId>,
    /// The tasks that it told of last.
    pub tasks: HashSet<String>,
    pub published: HashSet<SegmentId>,
    pub realtime: HashSet<SegmentId>,
    pub loading: HashSet<SegmentId>,
    pub broken: HashMap<SegmentId, BrokenLoad>,
    /// The revision of the segments for which it has nothing left to do.
    pub settled_at: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct BrokenLoad {
    pub reason: String,
    pub in_a_row: u32,
    pub retry_at: i64,
}

impl Picture {
    pub fn new(kept: Kept) -> Picture {
        let mut picture =
            Picture { number: kept.number, documents_version: kept.documents_version, ..Picture::default() };
        for document in kept.documents {
            let of = picture.documents.entry(document.kind.clone()).or_default();
            of.insert(document.name.clone(), Arc::new(document));
        }
        picture.insert(kept.segments);
        picture.expected = kept.members.into_iter().map(|member| (member.node.clone(), member)).collect();
        picture.on_record = picture.expected.clone();
        for (row, ended) in kept.supervisors {
            picture.supervisors.insert(row.spec.id.clone(), SupervisorEntry::restored(row, &ended));
        }
        for row in kept.tasks {
            let mut task = LiveTask::from(row);
            match task.last_node.as_ref().and_then(|node| picture.expected.get(node)) {
                Some(member) => (task.node, task.process) = (Some(member.node.clone()), member.process),
                None => task.node = None,
            }
            picture.tasks.insert(task.record.id.clone(), task);
        }
        // What was seen of them, nobody knows.
        let active = picture.supervisors.values().filter(|entry| !entry.row.spec.suspended);
        let active = active.map(|entry| (entry.row.spec.id.clone(), entry.row.spec.datasource.clone()));
        let running = picture.tasks.values().filter(|task| task.state == TaskState::Running);
        let running =
            running.filter_map(|task| Some((task.record.supervisor.clone()?, task.record.datasource.clone())));
        picture.unsettled = active.chain(running).collect();
        picture
    }

    /// Shows what is on record instead of what is shown, and keeps what nodes told.
    pub fn set_kept(&mut self, kept: Kept) {
        let old = std::mem::replace(self, Picture::new(kept));
        self.revision = old.revision + 1;
        self.members = old.members;
        self.fleet.ruled_at = old.fleet.ruled_at;
        self.fleet.wait_as(&old.fleet);
        for (name, member) in self.members.iter().filter(|(_, member)| member.has_told_served) {
            let host = Host::of(&member.told);
            self.fleet.report(name, &host, Some(&member.published), &member.loading, &[]);
        }
        self.expected = old.expected;
        self.expected_until = old.expected_until;
        self.former = old.former;
        self.unsettled = old.unsettled;
        self.standing = old.standing;
        self.changed = old.changed;
        self.now = old.now;
        self.orphaned = old.orphaned;
        self.orphaned_since = old.orphaned_since;
        self.renamed = old.renamed;
        for (id, record) in old.segments.values().flat_map(Timeline::iter) {
            self.orphaned.insert(id.clone(), record.meta.path.clone());
            self.orphaned_since.push_back((self.now, id.clone()));
        }
        self.changed.tables.extend(old.segments.keys().chain(self.segments.keys()).cloned());
        let segments = &self.segments;
        self.orphaned.retain(|id, _| segments.get(&id.datasource).is_none_or(|timeline| timeline.get(id).is_none()));
        for (id, entry) in old.supervisors {
            if let Some(new) = self.supervisors.get_mut(&id) {
                (new.exceptions, new.lags) = (entry.exceptions, entry.lags);
            }
        }
        for (id, task) in old.tasks {
            if let Some(new) = self.tasks.get_mut(&id) {
                let member = new.last_node.as_ref().and_then(|node| self.members.get(node));
                let process = member.map(|member| member.told.process);
                if new.attempt == task.attempt {
                    (new.node, new.process, new.progress) = (task.node, task.process, task.progress);
                } else if let Some(process) = process {
                    (new.node, new.process) = (new.last_node.clone(), process);
                }
            }
        }
    }

    pub fn insert(&mut self, records: Vec<SegmentRecord>) {
        for record in records.into_iter().filter(|record| record.used) {
            let (id, core) = (record.meta.id.clone(), record.meta.core_partitions);
            self.orphaned.remove(&id);
            self.changed.tables.insert(id.datasource.clone());
            let record = Arc::new(record);
            self.fleet.add_used(&record);
            let timeline = self.segments.entry(id.datasource.clone()).or_default();
            timeline.add_partition(id, core, record);
        }
        self.revision += 1;
    }

    pub fn retire(&mut self, ids: &[SegmentId]) {
        for id in ids {
            let Some(timeline) = self.segments.get_mut(&id.datasource) else { continue };
            let removed = timeline.remove(id);
            if timeline.is_empty() {
                self.segments.remove(&id.datasource);
            }
            self.changed.tables.insert(id.datasource.clone());
            if let Some(record) = removed {
                self.fleet.remove_used(id);
                self.orphan(id.clone(), record.meta.path.clone());
            }
        }
        self.revision += 1;
    }

    /// Realtime rows under this name are published in this file, and the segment is not used any more.
    pub fn orphan(&mut self, id: SegmentId, path: String) {
        self.orphaned_since.push_back((self.now, id.clone()));
        self.orphaned.insert(id, path);
    }

    pub fn rename(&mut self, old: SegmentId, new: SegmentId) {
        self.renamed.insert(old, (new, self.now));
    }

    /// Forgets orphans of which no node has rows, nor tells of any for a while.
    pub fn forget_orphans(&mut self) {
        let (now, members, standing) = (self.now, &self.members, &self.standing);
        self.renamed.retain(|old, (_, since)| {
            let is_told = members.values().any(|member| member.realtime.contains(old));
            now.saturating_sub(*since) < ORPHANS_KEPT_MS || is_told || standing.has_realtime(old)
        });
        while let Some((since, id)) = self.orphaned_since.pop_front() {
            if self.now.saturating_sub(since) < ORPHANS_KEPT_MS {
                self.orphaned_since.push_front((since, id));
                return;
            }
            if !self.orphaned.contains_key(&id) {
                continue;
            }
            if self.members.values().any(|member| member.realtime.contains(&id)) {
                self.orphaned_since.push_back((self.now, id));
            } else {
                self.orphaned.remove(&id);
            }
        }
    }

    /// The file in which rows under this name are published, if they are.
    pub fn path(&self, id: &SegmentId) -> Option<&str> {
        let used = self.segments.get(&id.datasource).and_then(|timeline| timeline.get(id));
        let known = used.map(|record| record.meta.path.as_str()).or_else(|| self.orphaned.get(id).map(String::as_str));
        // A name is never given twice, so that this ends.
        known.or_else(|| self.renamed.get(id).and_then(|(new, _)| self.path(new)))
    }

    /// Realtime rows that count as far as nothing else stands for them, each with the node that has them.
    pub fn realtime(&self) -> impl Iterator<Item = (&SegmentId, &str)> {
        self.members.iter().flat_map(|(node, member)| {
            let valid = member.realtime.iter().filter(|id| !member.void.contains(id));
            valid.map(move |id| (id, node.as_str()))
        })
    }

    pub fn is_served(&self, id: &SegmentId) -> bool {
        self.fleet.is_served(id)
    }

    /// Whether it should be served and is not.
    pub fn is_missing(&self, id: &SegmentId) -> bool {
        !self.fleet.is_served(id) && !self.fleet.is_unwanted(id)
    }

    /// The segment of this entry, unless the newest view counts on it though it should be served no more.
    pub fn droppable(&self, slot: Slot) -> Option<&SegmentId> {
        let entry = self.fleet.entry(slot);
        entry.id().filter(|id| entry.should_be_served() || !self.standing.has(id))
    }

    /// Who serves a published segment, by name.
    pub fn serving(&self, id: &SegmentId) -> Vec<String> {
        let mut nodes: Vec<String> = self.fleet.holders(id).into_iter().map(str::to_string).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Whether some node failed to load it.
    pub fn is_broken(&self, id: &SegmentId) -> bool {
        self.members.values().any(|member| member.broken.contains_key(id))
    }

    /// Whether everything that is to be seen within the interval, and is to be served, is served by some node, and seen.
    pub fn is_settled(&self, id: &SegmentId) -> bool {
        if self.standing.has(id) {
            return false;
        }
        let Some(timeline) = self.segments.get(&id.datasource) else { return true };
        timeline.visible(id.interval).iter().all(|slice| self.fleet.is_settled(&slice.id))
    }

    pub fn tasks_of<'a>(&'a self, supervisor: &'a str) -> impl Iterator<Item = &'a LiveTask> {
        self.tasks.values().filter(move |task| task.record.supervisor.as_deref() == Some(supervisor))
    }

    /// Whether another task reads on where this one has ended to read.
    pub fn is_followed(&self, task: &str) -> bool {
        self.tasks.values().any(|other| other.record.follows.iter().any(|before| before == task))
    }

    /// Keeps count of how a supervisor's tasks end.
    pub fn note_end(&mut self, record: &TaskRecord, error: Option<&str>, stream: bool, now: i64) {
        let Some(entry) = record.supervisor.as_ref().and_then(|id| self.supervisors.get_mut(id)) else { return };
        match error {
            None => {
                entry.failures.remove(&record.group);
            }
            Some(message) => {
                let failures = entry.failures.entry(record.group).or_default();
                failures.in_a_row += 1;
                failures.last_at = now;
                entry.note(Exception {
                    at: now,
                    class: "TaskFailed".into(),
                    message: format!("task {} failed: {message}", record.id),
                    stream,
                });
            }
        }
    }
}

impl SupervisorEntry {
    pub fn new(row: SupervisorRow) -> SupervisorEntry {
        SupervisorEntry { row, failures: BTreeMap::new(), exceptions: VecDeque::new(), lags: Lags::default() }
    }

    /// `ended` are its newest ended tasks, newest first.
    fn restored(row: SupervisorRow, ended: &[EndedTask]) -> SupervisorEntry {
        let mut entry = SupervisorEntry::new(row);
        let mut succeeded: BTreeSet<u32> = BTreeSet::new();
        for task in ended {
            let group = task.group;
            if task.state != TaskState::Failed {
                succeeded.insert(group);
            } else if !succeeded.contains(&group) {
                let failures = entry.failures.entry(group).or_default();
                failures.in_a_row += 1;
                failures.last_at = failures.last_at.max(task.at);
            }
        }
        entry
    }

    /// An exception that says the same as the newest one replaces it.
    pub fn note(&mut self, exception: Exception) {
        if self.exceptions.back().is_some_and(|newest| newest.message == exception.message) {
            self.exceptions.pop_back();
        }
        if self.exceptions.len() == EXCEPTIONS_MAX {
            self.exceptions.pop_front();
        }
        self.exceptions.push_back(exception);
    }
}

impl LiveTask {
    /// Whether what it read and did not publish is not wanted any more.
    pub fn is_discarded(&self) -> bool {
        matches!(self.stop, Some(StopReason::Reset | StopReason::Cancel))
    }

    /// Whether the attempt that runs has in what was in the stream when it began.
    pub fn caught_up(&self) -> bool {
        self.node.is_some() && self.progress.as_ref().is_some_and(|progress| progress.caught_up)
    }

    /// Whether it has published all it read and reads no more, as it told last.
    pub fn is_done(&self) -> bool {
        let told = self.progress.as_ref().is_some_and(|progress| progress.done);
        told && self.node.is_some() && self.stop.is_some() && !self.is_discarded()
    }

    /// Whether this is the attempt that is to run.
    pub fn is_attempt(&self, member: &node::Member, attempt: i64) -> bool {
        self.node.as_ref() == Some(&member.node) && self.process == member.process && self.attempt == attempt
    }

    pub fn is_healthy(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.condition == Condition::Healthy)
    }
}

impl From<TaskRow> for LiveTask {
    fn from(row: TaskRow) -> LiveTask {
        LiveTask {
            record: row.record,
            state: row.state,
            stop: row.stop,
            published: row.published,
            created_at: row.created_at,
            started_at: row.started_at,
            node: None,
            process: 0,
            last_node: row.node,
            attempt: row.attempt,
            progress: None,
        }
    }
}
