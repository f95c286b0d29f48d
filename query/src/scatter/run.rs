//! How far a query is that gathers answers: which segments are asked for, of whom, and what became of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use segment::SegmentId;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::gather::Whole;
use super::{Lot, Wanted, WantedSegment};
use crate::cluster::Scatter;
use crate::error::{Error, Result};

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
    pub menders: Menders,
    pub lots: HashMap<usize, AtWork>,
    pub next: usize,
    pub attempts: HashMap<Id, Attempt>,
    pub tasks: JoinSet<Result<Vec<Whole>>>,
}

/// Who was tried for some of what is wanted.
pub fn tried_for(wanted: &Wanted, places: &[usize], tried: &[HashSet<String>]) -> HashMap<SegmentId, HashSet<String>> {
    places.iter().map(|place| (wanted.segments[*place].asked.id.clone(), tried[*place].clone())).collect()
}

/// How long a query has waited for pictures that show somebody to ask.
pub struct Patience {
    pictures: usize,
    until: Option<Instant>,
}

impl Patience {
    pub fn new() -> Patience {
        Patience { pictures: 1, until: None }
    }

    /// How long to wait for the next picture, and to rest before it is looked at; `None` if it has waited enough.
    pub fn wait(&mut self, settings: &Scatter) -> Option<(Duration, Duration)> {
        let (now, within) = (Instant::now(), settings.picture_within);
        let others = u32::try_from(settings.pictures_max.saturating_sub(1)).unwrap_or(u32::MAX);
        let until = *self.until.get_or_insert(now + within.saturating_mul(others));
        if self.pictures >= settings.pictures_max && now >= until {
            return None;
        }
        self.pictures += 1;
        Some((within, within / PICTURES_WITHIN))
    }
}

/// Pictures that are looked at in the time that one is waited for, if that many come.
const PICTURES_WITHIN: u32 = 50;

/// Nodes that met broken copies of theirs. They mend them, so that each may be asked once more, if nobody else has the rows
/// whole.
#[derive(Default)]
pub struct Menders(HashMap<String, bool>);

impl Menders {
    /// A node failed in this way.
    pub fn failed(&mut self, node: &str, error: &Error) {
        if matches!(error, Error::Corrupt(_)) {
            self.0.entry(node.to_string()).or_default();
        }
    }

    /// Takes out of `stuck` what menders that were not asked again yet can be asked for, as if they had never been.
    pub fn ask_again(&mut self, stuck: &mut Vec<usize>, tried: &mut [HashSet<String>]) -> Vec<usize> {
        let mut again = Vec::new();
        for (node, asked) in self.0.iter_mut().filter(|(_, asked)| !**asked) {
            let before = again.len();
            stuck.retain(|place| {
                let was_tried = tried[*place].remove(node);
                again.extend(was_tried.then_some(*place));
                !was_tried
            });
            *asked = again.len() > before;
        }
        again
    }
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
            menders: Menders::default(),
            lots: HashMap::new(),
            next: 0,
            attempts: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The lot that waits longest and is not asked elsewhere yet, and when it should be.
    pub fn next_hedge(&self, after: Duration) -> Option<(Instant, usize)> {
        let waiting = self.lots.iter().filter(|(_, at_work)| !at_work.hedged);
        waiting.map(|(lot, at_work)| (at_work.since + after, *lot)).min()
    }

    /// An attempt came to nothing, for an error or for what the node lacks: its segments are dealt out anew unless another one is at work.
    pub fn failed(&mut self, attempt: Attempt, error: Option<&Error>) {
        for (node, places) in &attempt.nodes {
            if let Some(error) = error {
                self.menders.failed(node, error);
            }
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
        let counted = |(_, one): &(usize, &WantedSegment)| !one.is_witness();
        let places: HashMap<&SegmentId, usize> =
            wanted.segments.iter().enumerate().filter(counted).map(|(place, one)| (&one.asked.id, place)).collect();
        let same = |one: &WantedSegment| {
            let is_same = |new: &WantedSegment| !one.grows && !new.grows && new.asked.intervals == one.asked.intervals;
            places.get(&one.asked.id).copied().filter(|new| is_same(&wanted.segments[*new]))
        };
        // Whether others are there is asked anew.
        let done = self.done.iter().map(|place| &self.wanted.segments[*place]).filter(|one| !one.is_witness());
        let done: Option<HashSet<usize>> = done.map(same).collect();
        let stays = done.is_some();
        let fresh = Run::new(wanted);
        let next = self.next;
        *self = Run { next, done: done.unwrap_or_default(), ..fresh };
        let done = &self.done;
        self.pending.retain(|place| !done.contains(place));
        stays
    }

    /// Segments for which nobody is left, with who was tried.
    pub fn stuck(&self) -> HashMap<SegmentId, HashSet<String>> {
        tried_for(&self.wanted, &self.stuck, &self.tried)
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
