//! Nodes that were lost, and may come back with what they served: a node that is started again has its copies on its disk
//! still, and to make them elsewhere meanwhile would be for nothing.
//!
//! 1. What a lost node served counts as returning for [`Fleet::return_ms`], where another serves or loads it. What nobody
//!    has is loaded elsewhere at once.
//! 2. A node that comes back in time is told to load, a queue's length at a time, what it served and does not serve yet: so
//!    long that counts as returning as well.
//! 3. When the time is over, what was waited for is missing like any other.
//!
//! Nodes that were to be emptied, and those that come back as something else, are not waited for.

use std::collections::BTreeSet;

use super::{Fleet, NodeIdx, Slot, TierIdx};

/// A node that is not there.
pub(super) struct Away {
    tier: TierIdx,
    /// How long it is waited for.
    until: i64,
    slots: BTreeSet<Slot>,
}

impl Fleet {
    /// Before a node is taken out: what of it is to come back.
    pub(super) fn go_away(&mut self, index: NodeIdx, now: i64) {
        let return_ms = self.return_ms;
        let Some(node) = self.node_mut(index) else { return };
        let mut slots = std::mem::take(&mut node.returning);
        node.returning_bytes = 0;
        let waiting: Vec<Slot> = slots.iter().copied().collect();
        slots.extend(&node.holds);
        let (name, tier, takes) = (node.name.clone(), node.tier, node.takes());
        waiting.into_iter().for_each(|slot| self.queue(slot));
        if return_ms > 0 && takes && !slots.is_empty() {
            self.away.insert(name, Away { tier, until: now.saturating_add(return_ms), slots });
        }
    }

    /// A node has joined.
    pub(super) fn come_back(&mut self, name: &str, index: NodeIdx) {
        let Some(away) = self.away.remove(name) else { return };
        away.slots.iter().for_each(|slot| self.queue(*slot));
        let size: u64 = away.slots.iter().map(|slot| self.entry(*slot).size_bytes).sum();
        if let Some(node) = self.node_mut(index).filter(|node| node.tier == away.tier && node.takes()) {
            node.returning = away.slots;
            node.returning_bytes = size;
        }
    }

    /// What a node that is there was to load again is not waited for any more.
    pub(super) fn stay_away(&mut self, index: NodeIdx) {
        let Some(node) = self.node_mut(index) else { return };
        node.returning_bytes = 0;
        std::mem::take(&mut node.returning).into_iter().for_each(|slot| self.queue(slot));
    }

    /// A node that is lost is not waited for any more.
    pub(super) fn give_up(&mut self, name: &str) {
        if let Some(away) = self.away.remove(name) {
            away.slots.into_iter().for_each(|slot| self.queue(slot));
        }
    }

    /// Gives up who has not come back in time.
    pub fn give_up_late(&mut self, now: i64) {
        let late = self.away.iter().filter(|(_, away)| away.until <= now);
        let late: Vec<String> = late.map(|(name, _)| name.clone()).collect();
        late.iter().for_each(|name| self.give_up(name));
    }

    /// Copies in a tier that are to come back.
    pub fn returning(&self, slot: Slot, tier: TierIdx) -> usize {
        let away = self.away.values().filter(|away| away.tier == tier && away.slots.contains(&slot)).count();
        away + self.takers(tier).filter(|(_, node)| node.returning.contains(&slot)).count()
    }

    /// Whether copies are waited for in a tier: nothing is moved meanwhile.
    pub fn is_waited_for(&self, tier: TierIdx) -> bool {
        self.away.values().any(|away| away.tier == tier)
            || self.takers(tier).any(|(_, node)| !node.returning.is_empty())
    }

    /// What a node is to load next of what it had, none if it has enough under way.
    pub fn next_return(&mut self, index: NodeIdx) -> Option<Slot> {
        let most = self.tuning.queue_max;
        let node = self.node(index).filter(|node| node.coming.len() < most)?;
        let slot = node.returning.first().copied()?;
        self.take_returning(slot, index);
        Some(slot)
    }

    pub(super) fn take_returning(&mut self, slot: Slot, index: NodeIdx) {
        let size = self.entry(slot).size_bytes;
        if let Some(node) = self.node_mut(index)
            && node.returning.remove(&slot)
        {
            let left = node.returning_bytes.saturating_sub(size);
            node.returning_bytes = if node.returning.is_empty() { 0 } else { left };
            self.queue(slot);
        }
    }

    /// An entry is about to be another segment's.
    pub(super) fn forget_return(&mut self, slot: Slot) {
        for at in 0..self.nodes.len() as NodeIdx {
            self.take_returning(slot, at);
        }
        for away in self.away.values_mut() {
            away.slots.remove(&slot);
        }
    }

    /// Takes over who is waited for from one that knew the same segments.
    pub fn wait_as(&mut self, other: &Fleet) {
        self.return_ms = other.return_ms;
        for (name, away) in &other.away {
            let ids = away.slots.iter().filter_map(|slot| other.entry(*slot).id());
            let slots: BTreeSet<Slot> = ids.filter_map(|id| self.slot(id)).collect();
            let tier = other.tiers.get(away.tier as usize).map_or("", |tier| &tier.name).to_string();
            let tier = self.tier(&tier);
            self.away.insert(name.clone(), Away { tier, until: away.until, slots });
        }
    }
}
