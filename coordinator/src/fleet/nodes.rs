//! The nodes among which segments are placed, by tier: what they report, what they are told, and who comes and goes.

use std::collections::{BTreeSet, HashMap, HashSet};

use segment::SegmentId;

use super::{Fleet, Name, NodeIdx, Slot, TierIdx, Urgency, Wish};
use crate::node::{Member, Role};
use crate::rules::DEFAULT_TIER;
use crate::spread::Spread;

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
    /// What it served before it was lost and came back, and was not told to load again yet.
    pub returning: BTreeSet<Slot>,
    /// Loads that failed, and when they may be tried again.
    pub broken: HashMap<Slot, i64>,
    pub(super) held_bytes: u64,
    coming_bytes: u64,
    pub(super) returning_bytes: u64,
    /// Of `going`, and of what moves away.
    pub(super) leaving_bytes: u64,
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
        (self.held_bytes + self.coming_bytes + self.returning_bytes).saturating_sub(self.leaving_bytes)
    }

    /// Whether its disk has room now, before anything goes.
    pub fn has_space(&self, size_bytes: u64) -> bool {
        let taken = self.held_bytes.saturating_add(self.coming_bytes).saturating_add(self.returning_bytes);
        self.host.capacity_bytes == 0 || taken.saturating_add(size_bytes) <= self.host.capacity_bytes
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
                    returning: BTreeSet::new(),
                    returning_bytes: 0,
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
        self.stay_away(index);
        self.come_back(name, index);
        self.queue_all_of(index);
        self.queue_broadcast();
        index
    }

    /// A node that is there no more, and may come back with what it served.
    pub fn lose(&mut self, name: &str, now: i64) {
        let Some(index) = self.by_name.remove(name) else { return };
        let Some(node) = self.node(index) else { return };
        let (coming, holds) = (node.coming.clone(), node.holds.clone());
        self.go_away(index, now);
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
        names.iter().for_each(|name| self.give_up(name));
        for at in 0..self.nodes.len() as NodeIdx {
            let Some(node) = self.node_mut(at) else { continue };
            let is = names.contains(&node.name);
            if node.is_decommissioning == is {
                continue;
            }
            node.is_decommissioning = is;
            let (tier, coming) = (node.tier as usize, node.coming.clone());
            self.stay_away(at);
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
        self.take_returning(slot, node);
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

    /// Has a copy go elsewhere. From now on it is counted there alone.
    pub fn start_move(&mut self, slot: Slot, from: NodeIdx, to: NodeIdx) {
        let (size, datasource, day) = self.facts(slot);
        self.assign(slot, to);
        self.moves.insert(slot, (from, to));
        if let Some(from) = self.node_mut(from) {
            from.leaving_bytes += size;
            from.spread.remove(datasource, day);
        }
    }

    pub fn end_move(&mut self, slot: Slot) {
        let (size, datasource, day) = self.facts(slot);
        if let Some((from, _)) = self.moves.remove(&slot)
            && let Some(from) = self.node_mut(from)
        {
            from.spread.add(datasource, day);
            if !from.going.contains(&slot) {
                from.leaving_bytes = from.leaving_bytes.saturating_sub(size);
            }
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
