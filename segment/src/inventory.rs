//! What this process serves. Changes are applied as one, so a reader sees each row in exactly one place.
//!
//! Ingestion puts its realtime indexes here, the historical role the segments it loaded; queries take a [`View`] and
//! hold what they need through it, whatever is retired meanwhile. The lock is held for the time of a few map
//! operations: what a change replaces is dropped after it is released.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::meta::{SegmentId, SegmentMeta};
use crate::realtime::RealtimeIndex;
use crate::segment::{Segment, Segments};
use crate::time::Interval;
use crate::timeline::{Slice, Timeline};

#[derive(Clone)]
pub enum Served {
    /// Rows not published yet. Never overshadowed: their version is settled when they are published.
    Realtime(Arc<RealtimeIndex>),
    Published(Arc<Segment>),
}

pub enum Change {
    /// A published segment given this way counts as the member of a set without core partitions; the historical role
    /// uses `Load`.
    Serve(SegmentId, Served),
    /// Serves a published segment as the catalog describes it: its set is visible once all core partitions are here.
    Load {
        meta: SegmentMeta,
        segment: Arc<Segment>,
    },
    Retire(SegmentId),
    /// Retires the realtime rows under the id; if a published segment has taken their place already, it stays.
    Withdraw(SegmentId),
    /// Rows of these intervals are missing until further notice (a task is catching up after a restart). `owner` names
    /// the task; a later `Incomplete` of the same owner replaces it, an empty list ends it.
    Incomplete {
        datasource: String,
        owner: String,
        intervals: Vec<Interval>,
    },
}

/// Shared by ingestion (realtime), the historical role (published) and queries (readers).
#[derive(Default)]
pub struct Inventory {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    datasources: BTreeMap<String, Holding>,
}

/// What is held of one datasource.
#[derive(Default)]
struct Holding {
    published: Timeline<Arc<Segment>>,
    realtime: BTreeMap<SegmentId, Arc<RealtimeIndex>>,
    incomplete: BTreeMap<String, Vec<Interval>>,
}

/// One consistent picture of a datasource: take it once a query.
pub struct View {
    /// Published segments visible in the intervals asked for, and all realtime ones that overlap them.
    pub slices: Vec<Slice<Served>>,
    /// Parts of the intervals asked for that are known not to be complete now.
    pub incomplete: Vec<Interval>,
    /// The state of the inventory that this is a picture of. Realtime rows grow within a generation.
    pub generation: u64,
}

impl Inventory {
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Applies all changes at once: readers see the state before or after, never between. Realtime and published
    /// entries under the same id replace each other.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut replaced = Vec::new();
        let mut state = self.state.write();
        for change in changes {
            state.apply(change, &mut replaced);
        }
        state.generation += 1;
        drop(state);
        // Unmapping a file or freeing a realtime index takes its time; readers need not wait for it.
        drop(replaced);
    }

    /// Grows with every [`Inventory::apply`]; what was learnt of the segments of a generation holds while it lasts.
    pub fn generation(&self) -> u64 {
        self.state.read().generation
    }

    /// `None` if the datasource is not served here.
    pub fn view(&self, datasource: &str, intervals: &[Interval]) -> Option<View> {
        let intervals = Interval::merge(intervals);
        let state = self.state.read();
        let holding = state.datasources.get(datasource)?;
        let mut slices = Vec::new();
        let mut incomplete = Vec::new();
        for within in &intervals {
            for slice in holding.published.visible(*within) {
                slices.push(Slice { id: slice.id, interval: slice.interval, item: Served::Published(slice.item) });
            }
            for (id, index) in &holding.realtime {
                let interval = id.interval.intersect(within);
                if !interval.is_empty() {
                    slices.push(Slice { id: id.clone(), interval, item: Served::Realtime(index.clone()) });
                }
            }
            incomplete.extend(holding.published.hidden(*within));
            incomplete.extend(holding.incomplete.values().flatten().map(|missing| missing.intersect(within)));
        }
        Some(View { slices, incomplete: Interval::merge(&incomplete), generation: state.generation })
    }

    /// Whether rows of a datasource are known to be missing, of whatever time.
    pub fn has_gaps(&self, datasource: &str) -> bool {
        let state = self.state.read();
        state.datasources.get(datasource).is_some_and(|holding| {
            holding.incomplete.values().any(|missing| !missing.is_empty()) || holding.published.hides_any()
        })
    }

    /// What is served under these names, visible or not, as of one moment; with the generation of that moment.
    pub fn open(&self, ids: &[SegmentId]) -> (u64, Vec<Option<Served>>) {
        let state = self.state.read();
        let served = |id: &SegmentId| {
            let holding = state.datasources.get(&id.datasource)?;
            let published = holding.published.get(id).cloned().map(Served::Published);
            published.or_else(|| holding.realtime.get(id).cloned().map(Served::Realtime))
        };
        (state.generation, ids.iter().map(served).collect())
    }

    /// Those with rows here, by name.
    pub fn datasources(&self) -> Vec<String> {
        let state = self.state.read();
        state.datasources.iter().filter(|(_, holding)| holding.has_rows()).map(|(name, _)| name.clone()).collect()
    }

    /// Whether the segment is here, as realtime rows or published, visible or not.
    pub fn serves(&self, id: &SegmentId) -> bool {
        let state = self.state.read();
        let Some(holding) = state.datasources.get(&id.datasource) else {
            return false;
        };
        holding.realtime.contains_key(id) || holding.published.get(id).is_some()
    }

    /// Whether the segment is here in its published form.
    pub fn serves_published(&self, id: &SegmentId) -> bool {
        let state = self.state.read();
        state.datasources.get(&id.datasource).is_some_and(|holding| holding.published.get(id).is_some())
    }

    /// All published segments, visible or not.
    pub fn published(&self) -> Vec<Arc<Segment>> {
        let state = self.state.read();
        state.datasources.values().flat_map(|holding| holding.published.iter()).map(|(_, s)| s.clone()).collect()
    }

    /// The names of all published segments here, visible or not: what a historical reports to the coordinator.
    pub fn published_ids(&self) -> Vec<SegmentId> {
        let state = self.state.read();
        state.datasources.values().flat_map(|holding| holding.published.iter()).map(|(id, _)| id.clone()).collect()
    }

    /// All realtime indexes.
    pub fn realtime(&self) -> Vec<(SegmentId, Arc<RealtimeIndex>)> {
        let state = self.state.read();
        state
            .datasources
            .values()
            .flat_map(|holding| holding.realtime.iter())
            .map(|(id, index)| (id.clone(), index.clone()))
            .collect()
    }

    /// What is marked incomplete, by datasource and owner.
    pub fn incomplete(&self) -> Vec<(String, String, Vec<Interval>)> {
        let state = self.state.read();
        let mut marks = Vec::new();
        for (datasource, holding) in &state.datasources {
            for (owner, intervals) in &holding.incomplete {
                marks.push((datasource.clone(), owner.clone(), intervals.clone()));
            }
        }
        marks
    }
}

impl State {
    fn apply(&mut self, change: Change, replaced: &mut Vec<Served>) {
        let datasource = match &change {
            Change::Serve(id, _) | Change::Retire(id) | Change::Withdraw(id) => id.datasource.clone(),
            Change::Load { meta, .. } => meta.id.datasource.clone(),
            Change::Incomplete { datasource, .. } => datasource.clone(),
        };
        let holding = self.datasources.entry(datasource.clone()).or_default();
        match change {
            Change::Serve(id, Served::Realtime(index)) => {
                replaced.extend(holding.published.remove(&id).map(Served::Published));
                replaced.extend(holding.realtime.insert(id, index).map(Served::Realtime));
            }
            Change::Serve(id, Served::Published(segment)) => holding.publish(id, 0, segment, replaced),
            Change::Load { meta, segment } => holding.publish(meta.id, meta.core_partitions, segment, replaced),
            Change::Retire(id) => {
                replaced.extend(holding.published.remove(&id).map(Served::Published));
                replaced.extend(holding.realtime.remove(&id).map(Served::Realtime));
            }
            Change::Withdraw(id) => {
                replaced.extend(holding.realtime.remove(&id).map(Served::Realtime));
            }
            Change::Incomplete { owner, intervals, .. } => {
                if intervals.is_empty() {
                    holding.incomplete.remove(&owner);
                } else {
                    holding.incomplete.insert(owner, intervals);
                }
            }
        }
        if !holding.has_rows() && holding.incomplete.is_empty() {
            self.datasources.remove(&datasource);
        }
    }
}

impl Holding {
    fn has_rows(&self) -> bool {
        !self.published.is_empty() || !self.realtime.is_empty()
    }

    fn publish(&mut self, id: SegmentId, core: u32, segment: Arc<Segment>, replaced: &mut Vec<Served>) {
        replaced.extend(self.realtime.remove(&id).map(Served::Realtime));
        replaced.extend(self.published.add_partition(id, core, segment).map(Served::Published));
    }
}

impl Served {
    /// The segments to scan, as of one moment.
    pub fn open(&self) -> Segments {
        match self {
            Served::Realtime(index) => index.snapshot(),
            Served::Published(segment) => vec![segment.clone()],
        }
    }
}
