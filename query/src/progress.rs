//! How far a request is, and where its time went: counted beside the work, looked at by whoever asked for it.
//!
//! A request is a native query, or a statement with the queries that it becomes; their budgets share one [`Progress`]. What is
//! counted costs an atomic addition for each segment, each batch and each node's answer, and no lock but for the steps,
//! of which there are a few.
//!
//! Counts of segments tell of rows that a restricted asker does not see, and so do the nodes that have them, how many of
//! them answered, and whether any had to: as soon as one query of the request is restricted, none of that is told of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Steps of one request, and as many parts of these; later ones are not told.
const STEPS_MAX: usize = 256;

/// Requests that are known, those at work and those that ended not long ago.
const KNOWN_MAX: usize = 1024;

/// How long a request is known after its end.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Progress {
    started: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    segments_done: AtomicU64,
    segments_total: AtomicU64,
    restricted: AtomicBool,
    /// Parts at work.
    at_work: AtomicUsize,
    failed: AtomicU8,
    ended: Mutex<Option<Instant>>,
    steps: Mutex<Vec<Told>>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            started: Instant::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            segments_done: AtomicU64::new(0),
            segments_total: AtomicU64::new(0),
            restricted: AtomicBool::new(false),
            at_work: AtomicUsize::new(0),
            failed: AtomicU8::new(0),
            ended: Mutex::default(),
            steps: Mutex::default(),
        }
    }
}

const FAILED: u8 = 1;
const CANCELLED: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    Ended,
    Failed,
    Cancelled,
}

/// A part of the work, with its time.
#[derive(Debug, Clone)]
struct Told {
    /// Its place among the steps.
    parent: Option<usize>,
    /// Whether it is no step of its own, but what became of one elsewhere.
    is_part: bool,
    name: &'static str,
    table: Option<String>,
    node: Option<String>,
    rows: u64,
    started: Instant,
    took: Option<Duration>,
    segments: Option<u64>,
}

/// A step, as whoever asks is told of it. Ids count from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub id: usize,
    pub parent: Option<usize>,
    pub name: &'static str,
    pub table: Option<String>,
    pub node: Option<String>,
    pub rows: u64,
    pub took: Duration,
    pub segments: Option<u64>,
}

/// A request, as whoever asked for it is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub state: State,
    pub elapsed: Duration,
    pub rows: u64,
    pub bytes: u64,
    /// Done, and all that are known of; `None` where they may not be told.
    pub segments: Option<(u64, u64)>,
    pub steps: Vec<Step>,
}

/// A step that is at work until this is dropped.
#[derive(Debug)]
pub struct Open {
    of: Arc<Progress>,
    /// `None`: there were too many.
    at: Option<usize>,
}

impl Open {
    /// Rows that it gave.
    pub fn rows(&self, rows: usize) {
        if let Some(at) = self.at
            && let Some(step) = self.of.steps.lock().get_mut(at)
        {
            step.rows += rows as u64;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(at) = self.at
            && let Some(step) = self.of.steps.lock().get_mut(at)
        {
            step.took = Some(step.started.elapsed());
        }
    }
}

/// A part of the request that is at work until this is dropped.
#[derive(Debug)]
pub struct Part(Arc<Progress>);

impl Drop for Part {
    fn drop(&mut self) {
        if self.0.at_work.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.0.ended.lock() = Some(Instant::now());
        }
    }
}

impl Progress {
    /// Begins a part of the request.
    pub fn part(self: &Arc<Self>) -> Part {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        *self.ended.lock() = None;
        Part(self.clone())
    }

    /// Begins a step, below the first one unless it is that.
    pub fn step(self: &Arc<Self>, name: &'static str, table: Option<String>) -> Open {
        let mut steps = self.steps.lock();
        if is_full(&steps, false) {
            return Open { of: self.clone(), at: None };
        }
        let parent = (!steps.is_empty()).then_some(0);
        let started = Instant::now();
        let (is_part, node, took, segments) = (false, None, None, None);
        steps.push(Told { parent, is_part, name, table, node, rows: 0, started, took, segments });
        Open { of: self.clone(), at: Some(steps.len() - 1) }
    }

    /// A node's answer was taken in, or answers were made one: a part of the newest step that is at work.
    pub fn told(&self, name: &'static str, node: Option<String>, since: Instant, segments: Option<u64>) {
        let mut steps = self.steps.lock();
        if is_full(&steps, true) {
            return;
        }
        let parent = steps.iter().rposition(|step| step.took.is_none());
        let table = parent.and_then(|at| steps[at].table.clone());
        let took = Some(since.elapsed());
        steps.push(Told { parent, is_part: true, name, table, node, rows: 0, started: since, took, segments });
    }

    /// From now on nothing is told that hangs on rows which are not seen.
    pub fn restrict(&self) {
        self.restricted.store(true, Ordering::Relaxed);
    }

    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn expect_segments(&self, segments: usize) {
        self.segments_total.fetch_add(segments as u64, Ordering::Relaxed);
    }

    pub fn segments_done(&self, segments: usize) {
        self.segments_done.fetch_add(segments as u64, Ordering::Relaxed);
    }

    /// What ended it, if it did not end well. The first word counts.
    pub fn fail(&self, cancelled: bool) {
        let how = if cancelled { CANCELLED } else { FAILED };
        let _first = self.failed.compare_exchange(0, how, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_old(&self) -> bool {
        self.ended.lock().is_some_and(|ended| ended.elapsed() >= KEPT)
    }

    fn has_ended(&self) -> bool {
        self.ended.lock().is_some()
    }

    pub fn report(&self) -> Report {
        let ended = *self.ended.lock();
        let state = match (self.failed.load(Ordering::Relaxed), ended) {
            (_, None) => State::Running,
            (FAILED, _) => State::Failed,
            (CANCELLED, _) => State::Cancelled,
            _ => State::Ended,
        };
        let hides = self.restricted.load(Ordering::Relaxed);
        let total = self.segments_total.load(Ordering::Relaxed);
        let done = self.segments_done.load(Ordering::Relaxed).min(total);
        let steps = self.steps.lock();
        // How many parts a step has says where rows are, and ids would say how many there are.
        let shown: Vec<usize> = (0..steps.len()).filter(|at| !(hides && steps[*at].is_part)).collect();
        let id = |at: usize| shown.binary_search(&at).ok().map(|place| place + 1);
        let until = ended.unwrap_or_else(Instant::now);
        Report {
            state,
            elapsed: until.saturating_duration_since(self.started),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            segments: (!hides).then_some((done, total)),
            steps: (shown.iter().map(|at| &steps[*at]).enumerate())
                .map(|(place, step)| Step {
                    id: place + 1,
                    parent: step.parent.and_then(id),
                    name: step.name,
                    table: step.table.clone(),
                    node: step.node.clone(),
                    rows: step.rows,
                    took: step.took.unwrap_or_else(|| until.saturating_duration_since(step.started)),
                    segments: step.segments.filter(|_| !hides),
                })
                .collect(),
        }
    }
}

/// Whether there are as many as may be: steps, or parts of them.
fn is_full(steps: &[Told], is_part: bool) -> bool {
    steps.iter().filter(|step| step.is_part == is_part).count() >= STEPS_MAX
}

struct Known {
    query_id: String,
    who: String,
    progress: Arc<Progress>,
}

/// Requests at work, and those that ended not long ago, by id and by who asked: oldest first.
#[derive(Default)]
pub struct Register(Mutex<VecDeque<Known>>);

impl Register {
    /// A part of a request begins; the request is known from its first part on.
    pub fn enter(&self, query_id: &str, who: &str, progress: &Arc<Progress>) -> Part {
        let mut known = self.0.lock();
        let is_known = known.iter().rev().any(|one| Arc::ptr_eq(&one.progress, progress));
        if !is_known {
            while known.front().is_some_and(|one| one.progress.is_old()) {
                known.pop_front();
            }
            if known.len() >= KNOWN_MAX {
                // Of those at work none is forgotten while any has ended.
                let at = known.iter().position(|one| one.progress.has_ended()).unwrap_or(0);
                known.remove(at);
            }
            let (query_id, who) = (query_id.to_string(), who.to_string());
            known.push_back(Known { query_id, who, progress: progress.clone() });
        }
        drop(known);
        progress.part()
    }

    /// The newest of an id, of who asks.
    pub fn find(&self, query_id: &str, who: &str) -> Option<Arc<Progress>> {
        let known = self.0.lock();
        let own = known.iter().rev().find(|one| one.query_id == query_id && one.who == who);
        own.filter(|one| !one.progress.is_old()).map(|one| one.progress.clone())
    }

    /// Forgets all of a name, which may be another's from now on.
    pub fn forget(&self, who: &str) {
        self.0.lock().retain(|one| one.who != who);
    }

    /// Forgets what has ended: what may be told of it may be less now.
    pub fn forget_ended(&self) {
        self.0.lock().retain(|one| !one.progress.has_ended());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_to_who_asked_for_it_as_it_stands() {
        let register = Register::default();
        let progress = Arc::<Progress>::default();
        let whole = register.enter("q", "ann", &progress);
        let sql = progress.step("sql", None);
        let part = register.enter("another id", "ann", &progress);
        let leaf = progress.step("groupBy", Some("events".into()));
        progress.expect_segments(4);
        progress.segments_done(3);
        progress.told("node", Some("h:1".into()), Instant::now(), Some(3));
        leaf.rows(7);
        progress.add_rows(7);
        assert!(register.find("q", "bob").is_none() && register.find("p", "ann").is_none());
        let report = register.find("q", "ann").unwrap().report();
        assert_eq!((report.state, report.rows, report.segments), (State::Running, 7, Some((3, 4))));
        let steps: Vec<_> = report.steps.iter().map(|s| (s.id, s.parent, s.name, s.rows, s.segments)).collect();
        assert_eq!(
            steps,
            [(1, None, "sql", 0, None), (2, Some(1), "groupBy", 7, None), (3, Some(2), "node", 0, Some(3))]
        );
        drop((leaf, part));
        assert_eq!(progress.report().state, State::Running, "the statement goes on");
        drop((sql, whole));
        assert_eq!(progress.report().state, State::Ended);
        progress.fail(true);
        progress.fail(false);
        assert_eq!(progress.report().state, State::Cancelled, "the first word counts");
        register.forget("bob");
        assert!(register.find("q", "ann").is_some());
        register.forget_ended();
        assert!(register.find("q", "ann").is_none());
    }

    #[test]
    fn who_sees_a_part_is_told_the_same_however_many_nodes_answer() {
        let told = |nodes: usize| {
            let progress = Arc::<Progress>::default();
            let _sql = progress.step("sql", None);
            for _ in 0..2 {
                let _leaf = progress.step("scan", Some("events".into()));
                progress.expect_segments(nodes);
                (0..nodes).for_each(|_| progress.told("node", Some("h:1".into()), Instant::now(), Some(2)));
                progress.told("merge", None, Instant::now(), Some(2));
            }
            progress.restrict();
            let report = progress.report();
            assert_eq!(report.segments, None);
            report.steps.iter().map(|step| (step.id, step.parent, step.name, step.segments)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [(1, None, "sql", None), (2, Some(1), "scan", None), (3, Some(1), "scan", None)]);
        for nodes in [1, 3, STEPS_MAX] {
            assert_eq!(told(nodes), told(0), "{nodes}");
        }
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let register = Register::default();
        let begin = |n: usize| {
            let progress = Arc::<Progress>::default();
            register.enter(&n.to_string(), "ann", &progress)
        };
        let first = begin(0);
        (1..KNOWN_MAX * 2).for_each(|n| drop(begin(n)));
        assert_eq!(register.0.lock().len(), KNOWN_MAX);
        assert!(register.find("0", "ann").is_some(), "it is at work");
        drop(first);
        let progress = Arc::<Progress>::default();
        let steps: Vec<Open> = (0..STEPS_MAX * 2).map(|_| progress.step("scan", None)).collect();
        steps.iter().for_each(|step| step.rows(1));
        assert_eq!(progress.report().steps.len(), STEPS_MAX);
    }
}
