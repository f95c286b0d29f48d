//! How far a query is that gathers answers: which segments are asked for, of whom, and what became of it.

use std::collections::{HashMap, HashSet};

use segment::SegmentId;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::gather::Whole;
use super::{Lot, Wanted, WantedSegment};
use crate::error::Result;

/// How far a query is.
pub struct Run {
    pub wanted: Wanted,
    /// By place: who was tried.
    pub tried: Vec<HashSet<String>>,
    /// Places that are to be dealt out.
    pub pending: Vec<usize>,
    /// Places for which nobody is left.
    pub stuck: Vec<usize>,
    pub done: HashSet<usize>,
    pub lots: HashMap<usize, AtWork>,
    pub next: usize,
    pub attempts: HashMap<Id, Attempt>,
    pub tasks: JoinSet<Result<Vec<Whole>>>,
}

/// Segments that are asked for together, perhaps of several nodes at once.
pub struct AtWork {
    pub places: Vec<usize>,
    pub attempts: usize,
    pub since: Instant,
    pub hedged: bool,
}

pub struct Attempt {
    pub lot: usize,
    pub nodes: Vec<Lot>,
    pub task: AbortHandle,
}

impl Run {
    pub fn new(wanted: Wanted) -> Run {
        let count = wanted.segments.len();
        Run {
            wanted,
            tried: vec![HashSet::new(); count],
            pending: (0..count).collect(),
            stuck: Vec::new(),
            done: HashSet::new(),
            lots: HashMap::new(),
            next: 0,
            attempts: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The lot that waits longest and is not asked elsewhere yet, and when it should be.
    pub fn next_hedge(&self, after: std::time::Duration) -> Option<(Instant, usize)> {
        let waiting = self.lots.iter().filter(|(_, at_work)| !at_work.hedged);
        waiting.map(|(lot, at_work)| (at_work.since + after, *lot)).min()
    }

    /// An attempt came to nothing: its segments are dealt out anew unless another one is at work.
    pub fn failed(&mut self, attempt: Attempt) {
        for (node, places) in &attempt.nodes {
            places.iter().for_each(|place| {
                self.tried[*place].insert(node.clone());
            });
        }
        let Some(at_work) = self.lots.get_mut(&attempt.lot) else { return };
        at_work.attempts -= 1;
        if at_work.attempts == 0
            && let Some(at_work) = self.lots.remove(&attempt.lot)
        {
            self.pending.extend(at_work.places);
        }
    }

    /// A lot is answered, but for what is missing; whoever else works on it is told to stop.
    pub fn settle(&mut self, attempt: &Attempt, missing: &HashSet<SegmentId>) {
        self.lots.remove(&attempt.lot);
        self.attempts.retain(|_, other| {
            if other.lot == attempt.lot {
                other.task.abort();
            }
            other.lot != attempt.lot
        });
        for (node, places) in &attempt.nodes {
            for place in places {
                match missing.contains(&self.wanted.segments[*place].asked.id) {
                    true => {
                        self.tried[*place].insert(node.clone());
                        self.pending.push(*place);
                    }
                    false => {
                        self.done.insert(*place);
                    }
                }
            }
        }
    }

    /// Goes on by another picture. What is done stays if that shows the same of it and none of it grows; else all is to be
    /// done anew: `false`. Rows that grow went on growing since they were answered for, perhaps into segments that the other
    /// picture has beside them: with later rows than those of an answer kept, the ones in between would be missing.
    pub fn renew(&mut self, wanted: Wanted) -> bool {
        let places: HashMap<&SegmentId, usize> =
            wanted.segments.iter().enumerate().map(|(place, one)| (&one.asked.id, place)).collect();
        let same = |place: &usize| {
            let WantedSegment { asked, grows, .. } = &self.wanted.segments[*place];
            let is_same = |new: &WantedSegment| !grows && !new.grows && new.asked.intervals == asked.intervals;
            places.get(&asked.id).copied().filter(|new| is_same(&wanted.segments[*new]))
        };
        let done: Option<HashSet<usize>> = self.done.iter().map(same).collect();
        let stays = done.is_some();
        let fresh = Run::new(wanted);
        let next = self.next;
        *self = Run { next, done: done.unwrap_or_default(), ..fresh };
        let done = &self.done;
        self.pending.retain(|place| !done.contains(place));
        stays
    }

    /// Everything is to be asked again.
    pub fn restart(&mut self) {
        self.tasks = JoinSet::new();
        self.attempts.clear();
        self.lots.clear();
        self.done.clear();
        self.stuck.clear();
        self.tried.iter_mut().for_each(HashSet::clear);
        self.pending = (0..self.wanted.segments.len()).collect();
    }
}
