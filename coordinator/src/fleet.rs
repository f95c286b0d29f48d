//! Where segments are and where they should be, kept so that a change costs what it touches.
//!
//! Every segment that is used, or that some node serves, has an *entry* with the nodes that serve it (as they reported),
//! those that were told to load it, and what is wished for it. Whatever happens marks what must be looked at again: a part
//! of a datasource's time ([`Fleet::touch`]) or an entry (`todo`). Planners take these marks and nothing else, so that a
//! million segments at rest cost nothing.
//!
//! This file keeps the books and decides nothing; `plan/placement.rs` and `plan/balance.rs` do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use segment::timeline::Timeline;
use segment::{Interval, SegmentId};

use crate::catalog::SegmentRecord;
use crate::node::{Member, Role};
use crate::rules::{Book, DEFAULT_TIER};
use crate::spread::{Spread, day};
use crate::tuning::Tuning;

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

/// What kind of node it is, as far as placing is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Host {
    pub tier: String,
    /// 0 is no bound.
    pub capacity_bytes: u64,
    /// Whether it loads segments at all.
    pub loads: bool,
}

impl Host {
    pub fn of(member: &Member) -> Host {
        let tier = if member.tier.is_empty() { DEFAULT_TIER } else { &member.tier };
        Host { tier: tier.to_string(), capacity_bytes: member.capacity_bytes, loads: member.has(Role::Historical) }
    }
}

pub(crate) struct Node {
    pub name: String,
    pub host: Host,
    pub tier: TierIdx,
    pub is_decommissioning: bool,
    pub holds: BTreeSet<Slot>,
    pub coming: BTreeSet<Slot>,
    /// What it was told to drop.
    pub going: BTreeSet<Slot>,
    /// Of `coming`, what it has begun with.
    pub loading: HashSet<Slot>,
    /// Loads that failed, and when they may be tried again.
    pub broken: HashMap<Slot, i64>,
    held_bytes: u64,
    coming_bytes: u64,
    /// Of `going`, and of what moves away.
    leaving_bytes: u64,
    pub spread: Spread,
    /// Where the search for something to move goes on.
    pub cursor: Slot,
}

impl Node {
    /// Whether segments are placed here.
    pub fn takes(&self) -> bool {
        self.host.loads && !self.is_decommissioning
    }

    /// What it will hold when all orders are carried out.
    pub fn bytes(&self) -> u64 {
        (self.held_bytes + self.coming_bytes).saturating_sub(self.leaving_bytes)
    }

    /// Whether its disk has room now, before anything goes.
    pub fn has_space(&self, size_bytes: u64) -> bool {
        let needed = self.held_bytes.saturating_add(self.coming_bytes).saturating_add(size_bytes);
        self.host.capacity_bytes == 0 || needed <= self.host.capacity_bytes
    }
}

#[derive(Default)]
pub(crate) struct Tier {
    pub name: String,
    pub nodes: Vec<NodeIdx>,
    /// Entries that lack copies here, the most urgent first.
    pub short: BTreeSet<(Urgency, Slot)>,
    /// Entries that lack copies and are on every node there is.
    pub stuck: BTreeSet<Slot>,
    /// Whether there are other nodes since `stuck` was last looked at.
    pub has_joined: bool,
    /// Entries that lack copies for which no node has space.
    pub crowded: BTreeSet<Slot>,
    /// Whether space was made since `crowded` was last looked at.
    pub has_space: bool,
    /// Copies looked at in a row that are where they should be.
    pub in_place: usize,
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

// Nodes.
impl Fleet {
    pub fn node(&self, node: NodeIdx) -> Option<&Node> {
        self.nodes.get(node as usize)?.as_ref()
    }

    pub fn node_mut(&mut self, node: NodeIdx) -> Option<&mut Node> {
        self.nodes.get_mut(node as usize)?.as_mut()
    }

    pub fn node_named(&self, name: &str) -> Option<NodeIdx> {
        self.by_name.get(name).copied()
    }

    /// How many nodes there are, whatever they do.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn tier(&mut self, name: &str) -> TierIdx {
        if let Some(tier) = self.by_tier.get(name) {
            return *tier;
        }
        let tier = self.tiers.len() as TierIdx;
        self.tiers.push(Tier { name: name.to_string(), ..Tier::default() });
        self.by_tier.insert(name.to_string(), tier);
        tier
    }

    /// Nodes of a tier that take segments.
    pub fn takers(&self, tier: TierIdx) -> impl Iterator<Item = (NodeIdx, &Node)> {
        let nodes = self.tiers.get(tier as usize).map_or(&[][..], |tier| &tier.nodes);
        nodes.iter().filter_map(|node| Some((*node, self.node(*node)?))).filter(|(_, node)| node.takes())
    }

    /// What a node reports. `served` is `None` if it is as before; `broken` are loads that failed since.
    pub fn report(
        &mut self,
        name: &str,
        host: &Host,
        served: Option<&HashSet<SegmentId>>,
        loading: &HashSet<SegmentId>,
        broken: &[(SegmentId, i64)],
    ) {
        let node = self.join(name, host);
        for (id, retry_at) in broken {
            let Some(slot) = self.slot(id) else { continue };
            self.unassign(slot, node);
            if let Some(node) = self.node_mut(node) {
                node.broken.insert(slot, *retry_at);
            }
            self.retries.insert((*retry_at, slot));
            self.queue(slot);
        }
        if let Some(served) = served {
            let mut gone = self.node(node).map(|node| node.holds.clone()).unwrap_or_default();
            for id in served {
                let slot = self.slot(id).unwrap_or_else(|| self.add_stranger(id));
                if !gone.remove(&slot) {
                    self.add_holder(slot, node);
                }
            }
            for slot in gone {
                self.remove_holder(slot, node);
            }
        }
        let loading: HashSet<Slot> = loading.iter().filter_map(|id| self.slot(id)).collect();
        if let Some(node) = self.node_mut(node) {
            node.loading = loading;
        }
    }

    fn join(&mut self, name: &str, host: &Host) -> NodeIdx {
        let tier = self.tier(&host.tier);
        let is_decommissioning = self.tuning.decommissioning.contains(name);
        let index = match self.by_name.get(name).copied() {
            Some(index) if self.node(index).is_some_and(|node| node.host == *host) => return index,
            Some(index) => index,
            None => {
                let free = self.nodes.iter().position(Option::is_none);
                if free.is_none() {
                    self.nodes.push(None);
                }
                let index = free.unwrap_or(self.nodes.len() - 1);
                self.by_name.insert(name.to_string(), index as NodeIdx);
                self.nodes[index] = Some(Node {
                    name: name.to_string(),
                    host: host.clone(),
                    tier,
                    is_decommissioning,
                    holds: BTreeSet::new(),
                    coming: BTreeSet::new(),
                    going: BTreeSet::new(),
                    loading: HashSet::new(),
                    broken: HashMap::new(),
                    held_bytes: 0,
                    coming_bytes: 0,
                    leaving_bytes: 0,
                    spread: Spread::default(),
                    cursor: 0,
                });
                index as NodeIdx
            }
        };
        for tier in &mut self.tiers {
            tier.nodes.retain(|node| *node != index);
            tier.has_joined = true;
            tier.in_place = 0;
        }
        self.tiers[tier as usize].nodes.push(index);
        let mut coming = BTreeSet::new();
        if let Some(node) = self.node_mut(index) {
            node.host = host.clone();
            node.tier = tier;
            coming = node.coming.clone();
        }
        self.take_back(coming, index);
        self.queue_all_of(index);
        self.queue_broadcast();
        index
    }

    /// A node that is there no more.
    pub fn lose(&mut self, name: &str) {
        let Some(index) = self.by_name.remove(name) else { return };
        let Some(node) = self.node(index) else { return };
        let (coming, holds) = (node.coming.clone(), node.holds.clone());
        self.take_back(coming, index);
        holds.into_iter().for_each(|slot| self.remove_holder(slot, index));
        for tier in &mut self.tiers {
            tier.nodes.retain(|node| *node != index);
            tier.has_joined = true;
            tier.in_place = 0;
        }
        self.nodes[index as usize] = None;
    }

    /// Which nodes are to be emptied.
    pub fn set_decommissioning(&mut self, names: &BTreeSet<String>) {
        for at in 0..self.nodes.len() as NodeIdx {
            let Some(node) = self.node_mut(at) else { continue };
            let is = names.contains(&node.name);
            if node.is_decommissioning == is {
                continue;
            }
            node.is_decommissioning = is;
            let (tier, coming) = (node.tier as usize, node.coming.clone());
            self.tiers[tier].has_joined = true;
            self.tiers[tier].in_place = 0;
            self.take_back(coming, at);
            self.queue_all_of(at);
            self.queue_broadcast();
        }
    }

    fn take_back(&mut self, coming: BTreeSet<Slot>, node: NodeIdx) {
        for slot in coming {
            self.unassign(slot, node);
            self.queue(slot);
        }
    }

    fn queue_all_of(&mut self, node: NodeIdx) {
        let holds = self.node(node).map(|node| node.holds.clone()).unwrap_or_default();
        holds.into_iter().for_each(|slot| self.queue(slot));
    }

    /// What is wished everywhere is wished on every new node.
    fn queue_broadcast(&mut self) {
        for slot in 0..self.entries.len() as Slot {
            if self.entry(slot).wish == Wish::Everywhere {
                self.queue(slot);
            }
        }
    }

    fn add_stranger(&mut self, id: &SegmentId) -> Slot {
        let slot = self.add_entry(Name::Stranger(Box::new(id.clone())), id, 0, Wish::Unused);
        let datasource = self.entry(slot).datasource as usize;
        self.datasources[datasource].leaving.add(id.clone(), slot);
        self.touch(&id.datasource, id.interval);
        slot
    }

    fn add_holder(&mut self, slot: Slot, node: NodeIdx) {
        // A move goes on until its source has dropped.
        self.take_coming(slot, node);
        let (size, datasource, day) = self.facts(slot);
        if let Some(node) = self.node_mut(node) {
            node.holds.insert(slot);
            node.broken.remove(&slot);
            node.held_bytes += size;
            node.spread.add(datasource, day);
        }
        self.change(slot, |entry| entry.holders.push(node));
    }

    fn remove_holder(&mut self, slot: Slot, node: NodeIdx) {
        if self.moves.get(&slot).is_some_and(|(from, _)| *from == node) {
            self.end_move(slot);
        }
        self.set_going(slot, node, false);
        let (size, datasource, day) = self.facts(slot);
        if let Some(node) = self.node_mut(node) {
            node.holds.remove(&slot);
            node.held_bytes = node.held_bytes.saturating_sub(size);
            node.spread.remove(datasource, day);
            let tier = node.tier as usize;
            self.tiers[tier].has_space = true;
        }
        self.change(slot, |entry| entry.holders.retain(|holder| *holder != node));
        self.free_if_gone(slot);
    }

    fn facts(&self, slot: Slot) -> (u64, u32, i32) {
        let entry = self.entry(slot);
        (entry.size_bytes, entry.datasource, entry.day)
    }

    /// Tells a node to load a segment.
    pub fn assign(&mut self, slot: Slot, node: NodeIdx) {
        let (size, datasource, day) = self.facts(slot);
        if let Some(there) = self.node_mut(node)
            && there.coming.insert(slot)
        {
            there.coming_bytes += size;
            there.spread.add(datasource, day);
            self.entries[slot as usize].coming.push(node);
        }
    }

    /// Takes the order back; a node that has begun with it may load it nevertheless.
    pub fn unassign(&mut self, slot: Slot, node: NodeIdx) {
        if self.take_coming(slot, node) && self.moves.get(&slot).is_some_and(|(_, to)| *to == node) {
            self.end_move(slot);
        }
    }

    /// Whether it was coming.
    fn take_coming(&mut self, slot: Slot, node: NodeIdx) -> bool {
        let (size, datasource, day) = self.facts(slot);
        let Some(there) = self.node_mut(node) else { return false };
        if !there.coming.remove(&slot) {
            return false;
        }
        there.coming_bytes = there.coming_bytes.saturating_sub(size);
        there.spread.remove(datasource, day);
        self.entries[slot as usize].coming.retain(|coming| *coming != node);
        true
    }

    pub fn start_move(&mut self, slot: Slot, from: NodeIdx, to: NodeIdx) {
        let size = self.entry(slot).size_bytes;
        self.assign(slot, to);
        self.moves.insert(slot, (from, to));
        if let Some(from) = self.node_mut(from) {
            from.leaving_bytes += size;
        }
    }

    pub fn end_move(&mut self, slot: Slot) {
        let size = self.entry(slot).size_bytes;
        if let Some((from, _)) = self.moves.remove(&slot)
            && let Some(from) = self.node_mut(from)
            && !from.going.contains(&slot)
        {
            from.leaving_bytes = from.leaving_bytes.saturating_sub(size);
        }
        self.queue(slot);
    }

    /// Tells a node to drop a segment, or takes that back.
    pub fn set_going(&mut self, slot: Slot, node: NodeIdx, is_going: bool) {
        let size = self.entry(slot).size_bytes;
        // What moves away is counted as leaving already.
        let is_counted = self.moves.get(&slot).is_some_and(|(from, _)| *from == node);
        let Some(node) = self.node_mut(node) else { return };
        if is_going && node.going.insert(slot) && !is_counted {
            node.leaving_bytes += size;
        } else if !is_going && node.going.remove(&slot) && !is_counted {
            node.leaving_bytes = node.leaving_bytes.saturating_sub(size);
        }
    }

    /// Takes an entry off the lists of what lacks copies.
    pub fn forget_shortage(&mut self, slot: Slot) {
        for tier in 0..self.tiers.len() {
            self.set_short(slot, tier as TierIdx, false);
        }
    }

    /// Whether an entry lacks copies in a tier.
    pub fn set_short(&mut self, slot: Slot, tier: TierIdx, is_short: bool) {
        let urgency = self.entry(slot).urgency();
        let Some(tier) = self.tiers.get_mut(tier as usize) else { return };
        for is_served in [false, true] {
            tier.short.remove(&(Urgency { is_served, ..urgency }, slot));
        }
        tier.stuck.remove(&slot);
        tier.crowded.remove(&slot);
        if is_short {
            tier.short.insert((urgency, slot));
        }
    }
}
