//! The catalog in memory, as of the newest commit, with what nodes last reported. Planners read this and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use segment::SegmentId;
use segment::timeline::Timeline;

use crate::catalog::{Kept, SegmentRecord, SupervisorRow, TaskRow};
use crate::command::{Condition, StopReason, TaskProgress, TaskRecord, TaskState};
use crate::documents::Document;
use crate::supervisors::Exception;

/// How many exceptions of a supervisor are kept; the oldest go first.
pub(crate) const EXCEPTIONS_MAX: usize = 10;

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
    /// Those that are not terminated.
    pub supervisors: BTreeMap<String, SupervisorEntry>,
    /// Those that have not ended.
    pub tasks: BTreeMap<String, LiveTask>,
    pub members: BTreeMap<String, Member>,
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
    /// The node that was told to run it.
    pub node: Option<String>,
    /// How often it was given to a node.
    pub attempt: i64,
    pub progress: Option<TaskProgress>,
}

/// A node, as of its last report.
#[derive(Default)]
pub(crate) struct Member {
    pub told: crate::node::Member,
    pub process: u64,
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
        for (row, ended) in kept.supervisors {
            picture.supervisors.insert(row.spec.id.clone(), SupervisorEntry::restored(row, &ended));
        }
        for row in kept.tasks {
            picture.tasks.insert(row.record.id.clone(), LiveTask::from(row));
        }
        picture
    }

    /// Shows what is on record instead of what is shown, and keeps what nodes told.
    pub fn set_kept(&mut self, kept: Kept) {
        let old = std::mem::replace(self, Picture::new(kept));
        self.revision = old.revision + 1;
        self.members = old.members;
        self.orphaned = old.orphaned;
        for (id, record) in old.segments.values().flat_map(Timeline::iter) {
            self.orphaned.insert(id.clone(), record.meta.path.clone());
        }
        let segments = &self.segments;
        self.orphaned.retain(|id, _| segments.get(&id.datasource).is_none_or(|timeline| timeline.get(id).is_none()));
        for (id, entry) in old.supervisors {
            if let Some(new) = self.supervisors.get_mut(&id) {
                new.exceptions = entry.exceptions;
            }
        }
        for (id, task) in old.tasks {
            if let Some(new) = self.tasks.get_mut(&id) {
                new.node = task.node;
                new.progress = task.progress;
            }
        }
    }

    pub fn insert(&mut self, records: Vec<SegmentRecord>) {
        for record in records.into_iter().filter(|record| record.used) {
            let (id, core) = (record.meta.id.clone(), record.meta.core_partitions);
            self.orphaned.remove(&id);
            let timeline = self.segments.entry(id.datasource.clone()).or_default();
            timeline.add_partition(id, core, Arc::new(record));
        }
        self.revision += 1;
    }

    pub fn retire(&mut self, ids: &[SegmentId]) {
        for id in ids {
            let Some(timeline) = self.segments.get_mut(&id.datasource) else { continue };
            if let Some(record) = timeline.remove(id) {
                self.orphaned.insert(id.clone(), record.meta.path.clone());
            }
            if timeline.is_empty() {
                self.segments.remove(&id.datasource);
            }
        }
        self.revision += 1;
    }

    pub fn is_served(&self, id: &SegmentId) -> bool {
        self.members.values().any(|member| member.published.contains(id))
    }

    /// Whether everything that is to be seen within the interval is served by some node.
    pub fn is_settled(&self, id: &SegmentId) -> bool {
        let Some(timeline) = self.segments.get(&id.datasource) else { return true };
        timeline.visible(id.interval).iter().all(|slice| self.is_served(&slice.id))
    }

    pub fn tasks_of<'a>(&'a self, supervisor: &'a str) -> impl Iterator<Item = &'a LiveTask> {
        self.tasks.values().filter(move |task| task.record.supervisor.as_deref() == Some(supervisor))
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
        SupervisorEntry { row, failures: BTreeMap::new(), exceptions: VecDeque::new() }
    }

    /// `ended` are its newest ended tasks, newest first.
    fn restored(row: SupervisorRow, ended: &[TaskRow]) -> SupervisorEntry {
        let mut entry = SupervisorEntry::new(row);
        let mut succeeded: BTreeSet<u32> = BTreeSet::new();
        for task in ended {
            let group = task.record.group;
            if task.state != TaskState::Failed {
                succeeded.insert(group);
            } else if !succeeded.contains(&group) {
                let failures = entry.failures.entry(group).or_default();
                failures.in_a_row += 1;
                failures.last_at = failures.last_at.max(task.ended_at.unwrap_or(task.created_at));
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
            attempt: 0,
            progress: None,
        }
    }
}
