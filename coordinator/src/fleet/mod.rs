//! Where segments are and where they should be, kept so that a change costs what it touches.
//!
//! Every segment that is used, or that some node serves, has an *entry* with the nodes that serve it (as they reported),
//! those that were told to load it, and what is wished for it. Whatever happens marks what must be looked at again: a part
//! of a datasource's time ([`Fleet::touch`]) or an entry (`todo`). Planners take these marks and nothing else, so that a
//! million segments at rest cost nothing.
//!
//! This file keeps the books and decides nothing; `plan/placement.rs` and `plan/balance.rs` do.

mod away;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use segment::timeline::Timeline;
use segment::{Interval, SegmentId};

use crate::catalog::SegmentRecord;
use crate::rules::Book;
use crate::spread::day;
use crate::tuning::Tuning;

pub(crate) use nodes::{Host, Node, Tier};

/// The number of an entry, given to another segment when its own is gone.
pub(crate) type Slot = u32;
pub(crate) type NodeIdx = u16;
pub(crate) type TierIdx = u16;

/// Parts of time of one datasource that wait to be looked at are made one when they are more.
const WINDOWS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Fleet {
    pub book: Book,
    pub tuning: Tuning,
    /// Nodes are waited for that an earlier leader knew: nothing is placed, for they may serve what seems to be missing.
    pub is_waiting: bool,
    /// The version of the documents that `book` and `tuning` were read from.
    pub documents_read: Option<i64>,
    /// The time for which rules were last looked at.
    pub ruled_at: Option<i64>,
    entries: Vec<Entry>,
    unused_slots: Vec<Slot>,
    index: HashTable<Slot>,
    hasher: FixedState,
    datasources: Vec<Datasource>,
    by_datasource: HashMap<String, u32>,
    /// Datasources with windows to look at.
    dirty: BTreeSet<u32>,
    /// Entries to be placed anew.
    todo: Vec<Slot>,
    nodes: Vec<Option<Node>>,
    by_name: BTreeMap<String, NodeIdx>,
    pub tiers: Vec<Tier>,
    by_tier: HashMap<String, TierIdx>,
    /// From where to where a segment moves.
    pub moves: BTreeMap<Slot, (NodeIdx, NodeIdx)>,
    /// Used segments that can go out of use: those hidden for good, …
    pub hidden: BTreeSet<Slot>,
    /// … and those that a rule drops.
    pub dropped: BTreeSet<Slot>,
    /// How long what a lost node served is taken to come back with it.
    pub return_ms: i64,
    /// Nodes that were lost and may come back.
    away: BTreeMap<String, away::Away>,
    /// When a load that failed may be tried again.
    pub retries: BTreeSet<(i64, Slot)>,
}

pub(crate) struct Entry {
    pub name: Name,
    pub datasource: u32,
    pub day: i32,
    pub size_bytes: u64,
    pub wish: Wish,
    /// Whether all that is to be seen in its interval is served without it.
    pub is_free: bool,
    is_queued: bool,
    /// Nodes that serve it, as they reported.
    pub holders: Vec<NodeIdx>,
    /// Nodes that were told to load it and do not serve it yet.
    pub coming: Vec<NodeIdx>,
}

pub(crate) enum Name {
    Used(Arc<SegmentRecord>),
    /// Not used, and served somewhere.
    Stranger(Box<SegmentId>),
    Nobody,
}

/// What should be done with a segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// Nobody has looked yet.
    Unknown,
    /// It is not used, and goes once `is_free`.
    Unused,
    /// Newer versions hide it: as `Unused`.
    Hidden,
    /// It is used and should be loaded nowhere.
    Nowhere,
    /// A rule drops it; until it is out of use, it stays where it is.
    Dropped,
    /// So many copies by tier.
    Replicas(Arc<[(TierIdx, u32)]>),
    /// On every node that loads segments.
    Everywhere,
}

#[derive(Default)]
struct Datasource {
    tally: Tally,
    windows: Vec<Interval>,
    /// Entries that are not used, to be found by time.
    leaving: Timeline<Slot>,
    /// How many entries wait for others to be served before they go.
    waiting: usize,
}

/// How a datasource's segments stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub used: i64,
    /// Used ones that should be loaded, of which …
    pub wanted: i64,
    /// … these are served.
    pub served: i64,
    pub wanted_bytes: i64,
    /// Used ones that should be loaded nowhere, or that a rule drops.
    pub unwanted: i64,
}

/// What is served nowhere comes first, then what is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Urgency {
    is_served: bool,
    days_back: i32,
}

impl Entry {
    pub fn id(&self) -> Option<&SegmentId> {
        match &self.name {
            Name::Used(record) => Some(&record.meta.id),
            Name::Stranger(id) => Some(id),
            Name::Nobody => None,
        }
    }

    /// Whether what is older waits for it to be served.
    pub fn should_be_served(&self) -> bool {
        matches!(self.wish, Wish::Unknown | Wish::Replicas(_) | Wish::Everywhere)
    }

    pub fn urgency(&self) -> Urgency {
        Urgency { is_served: !self.holders.is_empty(), days_back: self.day.saturating_neg() }
    }

    fn waits(&self) -> bool {
        matches!(self.wish, Wish::Hidden | Wish::Unused)
    }

    fn tally(&self) -> Tally {
        let is_used = matches!(self.name, Name::Used(_));
        let is_wanted = is_used && self.should_be_served();
        Tally {
            used: is_used.into(),
            wanted: is_wanted.into(),
            served: (is_wanted && !self.holders.is_empty()).into(),
            wanted_bytes: if is_wanted { self.size_bytes as i64 } else { 0 },
            unwanted: (is_used && matches!(self.wish, Wish::Nowhere | Wish::Dropped)).into(),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Tally, sign: i64) {
        self.used += sign * other.used;
        self.wanted += sign * other.wanted;
        self.served += sign * other.served;
        self.wanted_bytes += sign * other.wanted_bytes;
        self.unwanted += sign * other.unwanted;
    }
}

// Entries.
impl Fleet {
    pub fn slot(&self, id: &SegmentId) -> Option<Slot> {
        let is_it = |slot: &Slot| self.entries[*slot as usize].id() == Some(id);
        self.index.find(self.hasher.hash_one(id), is_it).copied()
    }

    pub fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot as usize]
    }

    /// Whether nothing waits for it to be served: it is, or it should be nowhere.
    pub fn is_settled(&self, id: &SegmentId) -> bool {
        let slot = self.slot(id);
        slot.is_some_and(|slot| !self.entry(slot).holders.is_empty() || !self.entry(slot).should_be_served())
    }

    pub fn is_served(&self, id: &SegmentId) -> bool {
        self.slot(id).is_some_and(|slot| !self.entry(slot).holders.is_empty())
    }

    /// Whether it is used and rules have it loaded nowhere.
    pub fn is_unwanted(&self, id: &SegmentId) -> bool {
        self.slot(id).is_some_and(|slot| matches!(self.entry(slot).wish, Wish::Nowhere | Wish::Dropped))
    }

    pub fn holders(&self, id: &SegmentId) -> Vec<&str> {
        let holders = self.slot(id).map_or(&[][..], |slot| &self.entry(slot).holders);
        holders.iter().filter_map(|node| self.node(*node)).map(|node| node.name.as_str()).collect()
    }

    /// A segment that is used from now on.
    pub fn add_used(&mut self, record: &Arc<SegmentRecord>) {
        let id = &record.meta.id;
        match self.slot(id) {
            Some(slot) => {
                let (was, size) = (self.entry(slot).size_bytes, record.meta.size_bytes);
                for node in self.entry(slot).holders.clone() {
                    if let Some(node) = self.node_mut(node) {
                        node.held_bytes = (node.held_bytes + size).saturating_sub(was);
                        if node.going.contains(&slot) {
                            node.leaving_bytes = (node.leaving_bytes + size).saturating_sub(was);
                        }
                    }
                }
                let datasource = self.entry(slot).datasource as usize;
                self.datasources[datasource].leaving.remove(id);
                self.change(slot, |entry| {
                    entry.name = Name::Used(record.clone());
                    entry.size_bytes = size;
                    entry.wish = Wish::Unknown;
                });
            }
            None => {
                self.add_entry(Name::Used(record.clone()), id, record.meta.size_bytes, Wish::Unknown);
            }
        }
        self.touch(&id.datasource, id.interval);
    }

    /// A segment that is not used any more.
    pub fn remove_used(&mut self, id: &SegmentId) {
        let Some(slot) = self.slot(id) else { return };
        self.hidden.remove(&slot);
        self.dropped.remove(&slot);
        for node in self.entry(slot).coming.clone() {
            self.unassign(slot, node);
        }
        self.forget_shortage(slot);
        let datasource = self.entry(slot).datasource as usize;
        self.change(slot, |entry| {
            entry.name = Name::Stranger(Box::new(id.clone()));
            entry.wish = Wish::Unused;
            entry.is_free = false;
        });
        self.datasources[datasource].leaving.add(id.clone(), slot);
        self.touch(&id.datasource, id.interval);
        self.free_if_gone(slot);
    }

    fn add_entry(&mut self, name: Name, id: &SegmentId, size_bytes: u64, wish: Wish) -> Slot {
        let datasource = self.datasource(&id.datasource);
        let entry = Entry {
            name,
            datasource,
            day: day(id.interval),
            size_bytes,
            wish,
            is_free: false,
            is_queued: false,
            holders: Vec::new(),
            coming: Vec::new(),
        };
        let slot = match self.unused_slots.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as Slot
            }
        };
        let (hasher, entries) = (&self.hasher, &self.entries);
        let hash = |slot: &Slot| entries[*slot as usize].id().map_or(0, |id| hasher.hash_one(id));
        self.index.insert_unique(hasher.hash_one(id), slot, hash);
        let entry = &self.entries[slot as usize];
        let of = &mut self.datasources[datasource as usize];
        of.tally.add(entry.tally(), 1);
        of.waiting += usize::from(entry.waits());
        slot
    }

    fn free_if_gone(&mut self, slot: Slot) {
        let entry = &self.entries[slot as usize];
        let Name::Stranger(id) = &entry.name else { return };
        if !entry.holders.is_empty() || !entry.coming.is_empty() {
            return;
        }
        let id = SegmentId::clone(id);
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(&id), |other| *other == slot) {
            found.remove();
        }
        let of = &mut self.datasources[entry.datasource as usize];
        of.leaving.remove(&id);
        of.tally.add(entry.tally(), -1);
        of.waiting -= usize::from(entry.waits());
        for node in self.nodes.iter_mut().flatten() {
            node.broken.remove(&slot);
            node.loading.remove(&slot);
        }
        self.forget_return(slot);
        self.entries[slot as usize].name = Name::Nobody;
        self.entries[slot as usize].wish = Wish::Nowhere;
        self.unused_slots.push(slot);
    }

    /// The only way to change what a tally counts.
    fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Entry)) {
        let entry = &mut self.entries[slot as usize];
        let is_settled = |entry: &Entry| !entry.holders.is_empty() || !entry.should_be_served();
        let was = (entry.tally(), entry.waits(), is_settled(entry));
        change(entry);
        let is = (entry.tally(), entry.waits(), is_settled(entry));
        let of = &mut self.datasources[entry.datasource as usize];
        of.tally.add(was.0, -1);
        of.tally.add(is.0, 1);
        of.waiting = of.waiting + usize::from(is.1) - usize::from(was.1);
        // What is older waits for it, or need not wait any more.
        if of.waiting > 0
            && was.2 != is.2
            && let Some(id) = entry.id()
        {
            let (datasource, interval) = (entry.datasource, id.interval);
            self.touch_numbered(datasource, interval);
        }
        self.queue(slot);
    }

    pub fn set_wish(&mut self, slot: Slot, wish: Wish) {
        if self.entry(slot).wish != wish {
            self.change(slot, |entry| entry.wish = wish);
        }
    }

    pub fn set_free(&mut self, slot: Slot, is_free: bool) {
        if self.entry(slot).is_free != is_free {
            self.entries[slot as usize].is_free = is_free;
            self.queue(slot);
        }
    }

    pub fn queue(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot as usize];
        if !entry.is_queued {
            entry.is_queued = true;
            self.todo.push(slot);
        }
    }

    pub fn take_todo(&mut self) -> Vec<Slot> {
        let todo = std::mem::take(&mut self.todo);
        for slot in &todo {
            self.entries[*slot as usize].is_queued = false;
        }
        todo
    }

    pub fn has_todo(&self) -> bool {
        !self.todo.is_empty()
    }
}

// Datasources.
impl Fleet {
    fn datasource(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_datasource.get(name) {
            return *number;
        }
        let number = self.datasources.len() as u32;
        self.datasources.push(Datasource::default());
        self.by_datasource.insert(name.to_string(), number);
        number
    }

    pub fn datasource_names(&self) -> impl Iterator<Item = &String> {
        self.by_datasource.keys()
    }

    pub fn tallies(&self) -> impl Iterator<Item = (&String, Tally)> {
        self.by_datasource.iter().map(|(name, number)| (name, self.datasources[*number as usize].tally))
    }

    /// Has the segments looked at that overlap a part of time.
    pub fn touch(&mut self, datasource: &str, window: Interval) {
        let number = self.datasource(datasource);
        self.touch_numbered(number, window);
    }

    fn touch_numbered(&mut self, number: u32, window: Interval) {
        self.dirty.insert(number);
        let windows = &mut self.datasources[number as usize].windows;
        if windows.last().is_some_and(|last| last.start <= window.start && window.end <= last.end) {
            return;
        }
        windows.push(window);
        if windows.len() > WINDOWS_MAX {
            *windows = Interval::merge(windows);
            if let (Some(first), Some(last)) = (windows.first().copied(), windows.last().copied())
                && windows.len() > WINDOWS_MAX / 2
            {
                *windows = vec![Interval { start: first.start, end: last.end }];
            }
        }
    }

    /// What is to be looked at: datasources with parts of their time.
    pub fn take_dirty(&mut self) -> Vec<(String, Vec<Interval>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut names: HashMap<u32, &String> = HashMap::new();
        if !dirty.is_empty() {
            names = self.by_datasource.iter().map(|(name, number)| (*number, name)).collect();
        }
        let mut taken = Vec::with_capacity(dirty.len());
        for number in dirty {
            let windows = std::mem::take(&mut self.datasources[number as usize].windows);
            if let Some(name) = names.get(&number) {
                taken.push((String::clone(name), Interval::merge(&windows)));
            }
        }
        taken
    }

    /// Segments out of use that are still served, and overlap a part of time.
    pub fn leaving(&self, datasource: &str, window: Interval) -> Vec<Slot> {
        let Some(number) = self.by_datasource.get(datasource) else { return Vec::new() };
        self.datasources[*number as usize].leaving.overlaps(window).map(|(_, _, slot)| *slot).collect()
    }
}
