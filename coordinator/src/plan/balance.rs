//! Which segments should be on other nodes of their tier.
//!
//! 1. While the fullest node holds more than the emptiest by more than a little, a segment moves from the one to the other:
//!    of some that fit in between, the one whose cost in time falls the most.
//! 2. Once bytes are in balance, segments move that cost much less elsewhere ([`crate::spread`]), as far as bytes stay in
//!    balance. Every move lowers the sum of all costs by a good part, so that they come to an end.
//!
//! A move is a load on the target; the source drops only when the target serves (`plan/placement.rs`): there are never
//! fewer copies than before. So many are under way at a time, and none while copies are missing anywhere in the tier, or are
//! to come back with a node that was lost.

use crate::fleet::{Fleet, Node, NodeIdx, Slot, TierIdx, Wish};
use crate::plan::placement::Emptiness;
use crate::spread::Spread;

/// The fullest and the emptiest node may be apart by this share of the mean.
const TOLERANCE: f64 = 0.01;
/// A node's segments that are compared for one move.
const SAMPLE: usize = 64;
/// Copies whose cost is compared with that elsewhere, in one cycle.
const LOOKED_AT: usize = 2_000;
/// Of the emptiest nodes, so many are compared.
const CANDIDATES: usize = 12;
/// A move is worth it when the cost falls by this share, and by this much.
const GAIN_SHARE: f64 = 0.4;
const GAIN: f64 = 1.0;

/// Starts moves; how many.
pub(crate) fn plan(fleet: &mut Fleet) -> usize {
    if fleet.tuning.paused || fleet.is_waiting {
        return 0;
    }
    (0..fleet.tiers.len() as TierIdx).map(|tier| in_tier(fleet, tier)).sum()
}

fn in_tier(fleet: &mut Fleet, tier: TierIdx) -> usize {
    let nodes: Vec<NodeIdx> = fleet.takers(tier).map(|(node, _)| node).collect();
    let copies: usize = fleet.takers(tier).map(|(_, node)| node.holds.len()).sum();
    let is_short = fleet.tiers.get(tier as usize).is_none_or(|tier| !tier.short.is_empty());
    if nodes.len() < 2 || copies == 0 || is_short || fleet.is_waited_for(tier) {
        return 0;
    }
    let emptiness = Emptiness::of(fleet, tier);
    let is_here = |node: &NodeIdx| fleet.node(*node).is_some_and(|node| node.tier == tier);
    let under_way = fleet.moves.values().filter(|(_, to)| is_here(to)).count();
    let most = fleet.tuning.moves_max(copies).saturating_sub(under_way);
    let mut moves = 0;

    let mut fullest = nodes.clone();
    while moves < most {
        let load = |node: &NodeIdx| fleet.node(*node).map_or(0.0, |node| emptiness.load(node));
        let by_load = |a: &NodeIdx, b: &NodeIdx| load(a).total_cmp(&load(b)).then(b.cmp(a));
        let is_free =
            |node: &&NodeIdx| fleet.node(**node).is_some_and(|node| node.coming.len() < fleet.tuning.queue_max);
        let Some(from) = fullest.iter().copied().max_by(by_load) else { break };
        let Some(to) = nodes.iter().filter(is_free).copied().min_by(by_load) else { break };
        let gap = load(&from) - load(&to);
        if from == to || gap <= emptiness.mean * TOLERANCE {
            break;
        }
        match most_costly(fleet, from, to, gap, &emptiness) {
            Some(slot) => {
                fleet.start_move(slot, from, to);
                moves += 1;
            }
            None => fullest.retain(|node| *node != from),
        }
        if let Some(node) = fleet.node_mut(from) {
            node.cursor = node.cursor.wrapping_add(SAMPLE as Slot);
        }
    }
    let is_balanced = moves == 0 && under_way == 0;
    let in_place = fleet.tiers.get(tier as usize).map_or(0, |tier| tier.in_place);
    if moves > 0 {
        set_in_place(fleet, tier, 0);
    } else if is_balanced && in_place < copies {
        let (looked_at, moved) = by_cost(fleet, tier, &nodes, most, &emptiness);
        set_in_place(fleet, tier, if moved > 0 { 0 } else { in_place + looked_at });
        moves += moved;
    }
    moves
}

fn set_in_place(fleet: &mut Fleet, tier: TierIdx, copies: usize) {
    if let Some(tier) = fleet.tiers.get_mut(tier as usize) {
        tier.in_place = copies;
    }
}

/// Whether a copy on the node may move to another that does not have it.
fn may_move(fleet: &Fleet, from: &Node, slot: Slot) -> bool {
    let entry = fleet.entry(slot);
    matches!(entry.wish, Wish::Replicas(_))
        && entry.coming.is_empty()
        && !from.going.contains(&slot)
        && !fleet.moves.contains_key(&slot)
}

fn can_take(fleet: &Fleet, to: &Node, index: NodeIdx, slot: Slot) -> bool {
    let entry = fleet.entry(slot);
    !entry.holders.contains(&index) && !to.broken.contains_key(&slot) && to.has_space(entry.size_bytes)
}

/// What is saved by having a segment there and not here.
fn gain(fleet: &Fleet, slot: Slot, from: &Node, to: &Node) -> f64 {
    let entry = fleet.entry(slot);
    from.spread.cost(entry.datasource, entry.day) - Spread::ITSELF - to.spread.cost(entry.datasource, entry.day)
}

/// Of the next segments of a node that fit into a gap, the one whose cost falls the most.
fn most_costly(fleet: &Fleet, from: NodeIdx, to: NodeIdx, gap: f64, emptiness: &Emptiness) -> Option<Slot> {
    let (source, target) = (fleet.node(from)?, fleet.node(to)?);
    let first = source.holds.range(source.cursor..).next().map_or(0, |slot| *slot);
    let in_turn = source.holds.range(first..).chain(source.holds.range(..first));
    let fits = |slot: &&Slot| {
        let size = fleet.entry(**slot).size_bytes as f64;
        // Both sides change by it: a larger one would only turn them round.
        let change = emptiness.weigh(source, size).max(emptiness.weigh(target, size));
        size > 0.0 && change < gap && may_move(fleet, source, **slot) && can_take(fleet, target, to, **slot)
    };
    let sample = in_turn.filter(fits).take(SAMPLE);
    let rated = sample.map(|slot| (gain(fleet, *slot, source, target), *slot));
    rated.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, slot)| slot)
}

/// Moves what costs much less elsewhere. Answers how many copies were looked at, and how many move.
fn by_cost(fleet: &mut Fleet, tier: TierIdx, nodes: &[NodeIdx], most: usize, emptiness: &Emptiness) -> (usize, usize) {
    let (mut looked_at, mut moved) = (0, 0);
    let each = (LOOKED_AT / nodes.len()).max(1);
    for from in nodes.iter().copied() {
        let Some(source) = fleet.node(from) else { continue };
        let sample: Vec<Slot> = source.holds.range(source.cursor..).take(each).copied().collect();
        let next = if sample.len() < each { 0 } else { sample.last().map_or(0, |slot| slot + 1) };
        if let Some(source) = fleet.node_mut(from) {
            source.cursor = next;
        }
        looked_at += sample.len().max(1);
        for slot in sample {
            if moved == most {
                return (looked_at, moved);
            }
            if let Some(to) = cheaper(fleet, tier, from, slot, emptiness) {
                fleet.start_move(slot, from, to);
                moved += 1;
            }
        }
    }
    (looked_at, moved)
}

/// A node on which a copy costs much less, and that stays in balance with it.
fn cheaper(fleet: &Fleet, tier: TierIdx, from: NodeIdx, slot: Slot, emptiness: &Emptiness) -> Option<NodeIdx> {
    let source = fleet.node(from)?;
    let entry = fleet.entry(slot);
    if !may_move(fleet, source, slot) {
        return None;
    }
    let size = entry.size_bytes as f64;
    // Within these, no two nodes are further apart than bytes may be: what moves for its cost must not move back for them.
    let (low, high) = (emptiness.mean * (1.0 - TOLERANCE / 2.0), emptiness.mean * (1.0 + TOLERANCE / 2.0));
    if emptiness.load(source) - emptiness.weigh(source, size) < low {
        return None;
    }
    let cost = source.spread.cost(entry.datasource, entry.day) - Spread::ITSELF;
    let worth = cost * (1.0 - GAIN_SHARE) - GAIN;
    if worth <= 0.0 {
        return None;
    }
    // Not always the same nodes: the search begins where the segment's number says.
    let takers: Vec<(NodeIdx, &Node)> = fleet.takers(tier).collect();
    let start = slot as usize % takers.len().max(1);
    let in_turn = takers.iter().cycle().skip(start).take(takers.len());
    let fit = in_turn.filter(|(index, node)| {
        *index != from
            && emptiness.load(node) + emptiness.weigh(node, size) <= high
            && node.coming.len() < fleet.tuning.queue_max
            && can_take(fleet, node, *index, slot)
    });
    let rated = fit.take(CANDIDATES).map(|(index, node)| (node.spread.cost(entry.datasource, entry.day), *index));
    rated.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(cost, _)| *cost < worth).map(|(_, index)| index)
}
