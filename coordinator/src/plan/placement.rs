//! Which segments each node should serve, among many nodes.
//!
//! 1. [`look`] finds what is wished for the segments that something happened to: hidden ones go once all that stands for
//!    them is served, others are loaded as rules say.
//! 2. [`place`] compares that with who serves and who was told to load. Missing copies are noted, surplus ones are told to
//!    go: never below the copies asked for, never the last that serves, and those of nodes being emptied only when others
//!    serve.
//!    Copies of a node that was lost and may come back are not missing, where another node serves (`fleet/away.rs`).
//! 3. [`fill`] chooses nodes for what is missing: served nowhere first, then the newest. A node has only so much under way.
//! 4. [`orders`] tells a node what is left for it to do, with every heartbeat until its report shows it.
//!
//! A tier that has fewer nodes than copies are asked for has one on each. Nodes that hold realtime rows are told to let go
//! of them when they are published and the newest view has something else in their place; of hidden segments, when the
//! newest view does not count on them.
//!
//! A node that is the only one is planned for by `plan/alone.rs`: there, rows come and go in the same instant.

use segment::timeline::Timeline;
use segment::{Interval, SegmentId};
use std::sync::Arc;

use crate::catalog::SegmentRecord;
use crate::command::Command;
use crate::fleet::{Entry, Fleet, Name, NodeIdx, Slot, TierIdx, Wish};
use crate::picture::{Member, Picture};
use crate::plan::alone;
use crate::rules::{self, Verdict};
use crate::tuning::{self, Tuning};

/// Loads in one answer: all of them are applied as one change, so that fewer are seen sooner.
const LOADS_PER_REPLY: usize = 100;
const DROPS_PER_REPLY: usize = 1_000;

/// Nodes are chosen for so many copies at a time; what is left follows at once, after others had their turn.
const FILL_MAX: usize = 5_000;
/// Segments for which every node is busy are passed over, up to so many.
const BUSY_MAX: usize = 1_000;

/// Of the emptiest nodes, so many are compared by the cost in time.
const CANDIDATES: usize = 12;
/// A node counts among the emptiest while it holds no more than this share of the mean above the emptiest.
const SLACK: f64 = 0.01;

/// Brings the plan up to date with what happened. Cheap when nothing did.
pub(crate) fn work(picture: &mut Picture, now: i64) {
    look(picture, now);
    picture.fleet.is_waiting = !picture.expected.is_empty();
    let fleet = &mut picture.fleet;
    fleet.give_up_late(now);
    while let Some((at, slot)) = fleet.retries.first().copied().filter(|(at, _)| *at <= now) {
        fleet.retries.remove(&(at, slot));
        fleet.queue(slot);
    }
    if fleet.tuning.paused {
        return;
    }
    for at in 0..fleet.tiers.len() {
        if std::mem::take(&mut fleet.tiers[at].has_joined) {
            fleet.tiers[at].stuck.clone().into_iter().for_each(|slot| fleet.queue(slot));
        }
        if std::mem::take(&mut fleet.tiers[at].has_space) {
            fleet.tiers[at].crowded.clone().into_iter().for_each(|slot| fleet.queue(slot));
        }
    }
    for slot in fleet.take_todo() {
        place(fleet, slot);
    }
    if fleet.len() > 1 && !fleet.is_waiting {
        fill(fleet, now);
    }
}

/// Has everything looked at again whose rules may decide otherwise now than when they were last asked.
pub(crate) fn tick(picture: &mut Picture, now: i64) {
    let fleet = &mut picture.fleet;
    let Some(before) = fleet.ruled_at.replace(now) else { return };
    if before == now {
        return;
    }
    let names: Vec<String> = fleet.datasource_names().cloned().collect();
    for datasource in names {
        for window in fleet.book.moved(&datasource, before, now) {
            let timeline = picture.segments.get(&datasource);
            if timeline.is_some_and(|timeline| timeline.overlaps(window).next().is_some()) {
                fleet.touch(&datasource, window);
            }
        }
    }
}

/// Finds what is wished for what was touched.
pub(crate) fn look(picture: &mut Picture, now: i64) {
    read_documents(picture);
    let now = *picture.fleet.ruled_at.get_or_insert(now);
    let none = Timeline::new();
    for (datasource, windows) in picture.fleet.take_dirty() {
        let timeline = picture.segments.get(&datasource).unwrap_or(&none);
        let mut is_changed = false;
        for window in windows {
            is_changed |= look_at(&mut picture.fleet, &datasource, timeline, window, now);
        }
        if is_changed {
            picture.changed.tables.insert(datasource);
        }
    }
    if picture.fleet.has_todo() {
        picture.revision += 1;
    }
}

/// Answers whether anything is to be loaded that was not, or the other way round.
fn look_at(
    fleet: &mut Fleet,
    datasource: &str,
    timeline: &Timeline<Arc<SegmentRecord>>,
    window: Interval,
    now: i64,
) -> bool {
    let mut is_changed = false;
    // What waits for others to be served, and the time in which these others may be.
    let mut waiting: Vec<(Slot, Interval)> = Vec::new();
    let mut reach = window;
    for (id, _, record) in timeline.overlaps(window) {
        let Some(slot) = fleet.slot(id) else { continue };
        let is_hidden = timeline.is_overshadowed(id.interval, &id.version);
        let verdict = fleet.book.verdict(datasource, record.meta.id.interval, now);
        // A hidden one that a rule drops goes with those that hide it, or it would be seen again.
        match verdict {
            Verdict::Drop => fleet.dropped.insert(slot),
            _ => fleet.dropped.remove(&slot),
        };
        if is_hidden {
            waiting.push((slot, id.interval));
        } else {
            fleet.hidden.remove(&slot);
        }
        let was = fleet.entry(slot).should_be_served();
        fleet.set_wish(slot, if is_hidden { Wish::Hidden } else { wish(verdict) });
        is_changed |= was != fleet.entry(slot).should_be_served();
    }
    for slot in fleet.leaving(datasource, window) {
        if let Some(id) = fleet.entry(slot).id() {
            waiting.push((slot, id.interval));
        }
    }
    if waiting.is_empty() {
        return is_changed;
    }
    for (_, interval) in &waiting {
        reach = Interval { start: reach.start.min(interval.start), end: reach.end.max(interval.end) };
    }
    let missing = timeline.visible(reach).into_iter().filter(|slice| !fleet.is_settled(&slice.id));
    let missing = Interval::merge(&missing.map(|slice| slice.interval).collect::<Vec<_>>());
    for (slot, interval) in waiting {
        let next = missing.partition_point(|missing| missing.end <= interval.start);
        let is_free = missing.get(next).is_none_or(|missing| !missing.overlaps(&interval));
        fleet.set_free(slot, is_free);
        if is_free && fleet.entry(slot).wish == Wish::Hidden {
            fleet.hidden.insert(slot);
        } else {
            fleet.hidden.remove(&slot);
        }
    }
    is_changed
}

fn wish(verdict: Verdict) -> Wish {
    match verdict {
        Verdict::Load(replicas) if replicas.is_empty() => Wish::Nowhere,
        Verdict::Load(replicas) => Wish::Replicas(replicas),
        Verdict::Broadcast => Wish::Everywhere,
        Verdict::Drop => Wish::Dropped,
        Verdict::Nothing => Wish::Nowhere,
    }
}

/// Takes in rules and settings that changed.
fn read_documents(picture: &mut Picture) {
    if picture.fleet.documents_read == Some(picture.documents_version) {
        return;
    }
    picture.fleet.documents_read = Some(picture.documents_version);
    let mut book = std::mem::take(&mut picture.fleet.book);
    let changed = book.refresh(picture.documents.get(rules::KIND), |tier| picture.fleet.tier(tier));
    picture.fleet.book = book;
    for name in changed {
        if name == rules::DEFAULT {
            let all: Vec<String> = picture.segments.keys().cloned().collect();
            all.iter().for_each(|datasource| picture.fleet.touch(datasource, Interval::ETERNITY));
        } else if picture.segments.contains_key(&name) {
            picture.fleet.touch(&name, Interval::ETERNITY);
        }
    }
    let tuning = Tuning::read(picture.documents.get(tuning::KIND));
    picture.fleet.set_decommissioning(&tuning.decommissioning);
    picture.fleet.tuning = tuning;
}

/// Compares what is wished for a segment with what is.
fn place(fleet: &mut Fleet, slot: Slot) {
    let entry = fleet.entry(slot);
    match &entry.wish {
        _ if matches!(entry.name, Name::Nobody) => {}
        Wish::Unknown => {}
        Wish::Unused | Wish::Hidden => {
            let is_free = entry.is_free;
            place_nowhere(fleet, slot, is_free);
        }
        Wish::Nowhere => place_nowhere(fleet, slot, true),
        Wish::Dropped => place_nowhere(fleet, slot, false),
        Wish::Replicas(_) | Wish::Everywhere => place_copies(fleet, slot),
    }
    // A move has come to its end, or to nothing.
    if let Some((from, to)) = fleet.moves.get(&slot).copied() {
        let is_going = fleet.node(from).is_some_and(|from| from.going.contains(&slot));
        if !is_going && !fleet.entry(slot).coming.contains(&to) {
            fleet.end_move(slot);
        }
    }
}

fn place_nowhere(fleet: &mut Fleet, slot: Slot, may_go: bool) {
    for node in fleet.entry(slot).coming.clone() {
        fleet.unassign(slot, node);
    }
    for node in fleet.entry(slot).holders.clone() {
        fleet.set_going(slot, node, may_go);
    }
    fleet.forget_shortage(slot);
}

fn place_copies(fleet: &mut Fleet, slot: Slot) {
    // Orders that are not asked for any more, unless a node has begun with them.
    for node in fleet.entry(slot).coming.clone() {
        let has_begun = fleet.node(node).is_some_and(|node| node.loading.contains(&slot));
        let tier = fleet.node(node).map_or(0, |node| node.tier);
        let is_move = fleet.moves.get(&slot).is_some_and(|(_, to)| *to == node);
        let (asked, serving, coming) = copies(fleet, slot, tier);
        if !has_begun && !is_move && serving + coming > asked {
            fleet.unassign(slot, node);
        }
    }
    let mut all_met = true;
    for tier in 0..fleet.tiers.len() as TierIdx {
        let (asked, serving, coming) = copies(fleet, slot, tier);
        let possible = fleet.takers(tier).count();
        let is_short = lacks(fleet, slot, tier);
        fleet.set_short(slot, tier, is_short && serving + coming < possible);
        if is_short && serving + coming >= possible {
            fleet.tiers[tier as usize].stuck.insert(slot);
        }
        all_met &= serving >= asked.min(possible);
    }

    let holders = fleet.entry(slot).holders.clone();
    let moving_from = fleet.moves.get(&slot).map(|(from, _)| *from);
    let mut going: Vec<NodeIdx> = Vec::new();
    for tier in 0..fleet.tiers.len() as TierIdx {
        let (asked, serving, _) = copies(fleet, slot, tier);
        let here = |holder: &&NodeIdx| fleet.node(**holder).is_some_and(|node| node.tier == tier && node.takes());
        let mut surplus: Vec<NodeIdx> = holders.iter().filter(here).copied().collect();
        let keep = asked.min(surplus.len());
        if asked == 0 && !(all_met && is_asked_and_served(fleet, slot)) {
            continue;
        }
        // Of those that serve it, these go first: what moves away from, what is told to go already, the fullest.
        let rank = |node: &NodeIdx| {
            let there = fleet.node(*node);
            let is_going = there.is_some_and(|there| there.going.contains(&slot));
            (moving_from != Some(*node), !is_going, std::cmp::Reverse(there.map_or(0, |there| there.bytes())))
        };
        surplus.sort_by_key(rank);
        debug_assert_eq!(serving, surplus.len());
        going.extend(surplus.iter().take(surplus.len() - keep));
    }
    if all_met && is_asked_and_served(fleet, slot) {
        going.extend(holders.iter().filter(|holder| fleet.node(**holder).is_some_and(|node| !node.takes())));
    }
    for holder in holders {
        fleet.set_going(slot, holder, going.contains(&holder));
    }
}

/// Whether it is served by a node that is to serve it.
fn is_asked_and_served(fleet: &Fleet, slot: Slot) -> bool {
    (0..fleet.tiers.len() as TierIdx).any(|tier| {
        let (asked, serving, _) = copies(fleet, slot, tier);
        asked > 0 && serving > 0
    })
}

/// Of a tier: the copies asked for, those on nodes that take segments, and those that come. A copy that comes in place of
/// another is none yet.
fn copies(fleet: &Fleet, slot: Slot, tier: TierIdx) -> (usize, usize, usize) {
    let entry = fleet.entry(slot);
    let asked = match &entry.wish {
        Wish::Replicas(replicas) => {
            replicas.iter().find(|(of, _)| *of == tier).map_or(0, |(_, copies)| *copies as usize)
        }
        Wish::Everywhere => fleet.takers(tier).count(),
        _ => 0,
    };
    let is_here = |node: &&NodeIdx| fleet.node(**node).is_some_and(|node| node.tier == tier && node.takes());
    let moving_to = fleet.moves.get(&slot).map(|(_, to)| *to);
    let serving = entry.holders.iter().filter(is_here).count();
    let coming = entry.coming.iter().filter(|node| is_here(node) && moving_to != Some(**node)).count();
    (asked, serving, coming)
}

/// Whether copies are missing in a tier, and nobody is to bring them back.
fn lacks(fleet: &Fleet, slot: Slot, tier: TierIdx) -> bool {
    let (asked, serving, coming) = copies(fleet, slot, tier);
    let entry = fleet.entry(slot);
    let is_alone = entry.holders.is_empty() && entry.coming.is_empty();
    serving + coming < asked && (is_alone || serving + coming + fleet.returning(slot, tier) < asked)
}

/// Has nodes that have come back load what they had, as far as it is still missing.
fn restore(fleet: &mut Fleet) {
    for tier in 0..fleet.tiers.len() as TierIdx {
        let back = fleet.takers(tier).filter(|(_, node)| !node.returning.is_empty());
        for index in back.map(|(index, _)| index).collect::<Vec<_>>() {
            while let Some(slot) = fleet.next_return(index) {
                let (asked, serving, coming) = copies(fleet, slot, tier);
                let entry = fleet.entry(slot);
                let is_there = entry.holders.contains(&index) || entry.coming.contains(&index);
                let has_space = fleet.node(index).is_some_and(|node| node.has_space(entry.size_bytes));
                if !is_there && has_space && serving + coming < asked {
                    fleet.assign(slot, index);
                    let is_short = lacks(fleet, slot, tier);
                    fleet.set_short(slot, tier, is_short);
                }
            }
        }
    }
}

/// Chooses nodes for what lacks copies.
fn fill(fleet: &mut Fleet, now: i64) {
    restore(fleet);
    for at in 0..fleet.tiers.len() {
        let tier = at as TierIdx;
        if fleet.tiers[at].short.is_empty() || !has_room(fleet, tier) {
            continue;
        }
        let next: Vec<Slot> = fleet.tiers[at].short.iter().take(FILL_MAX + BUSY_MAX).map(|(_, slot)| *slot).collect();
        let emptiness = Emptiness::of(fleet, tier);
        let (mut filled, mut busy) = (0, 0);
        for slot in next {
            if filled == FILL_MAX || busy == BUSY_MAX {
                break;
            }
            match choose(fleet, tier, slot, &emptiness, now) {
                Choice::Node(node) => {
                    filled += 1;
                    fleet.assign(slot, node);
                    let is_short = lacks(fleet, slot, tier);
                    fleet.set_short(slot, tier, is_short);
                }
                Choice::AllBusy => busy += 1,
                Choice::Nobody => {
                    fleet.set_short(slot, tier, false);
                    fleet.tiers[at].crowded.insert(slot);
                }
            }
        }
    }
}

/// Whether anything waits that could be placed at once.
pub(crate) fn has_more(fleet: &Fleet) -> bool {
    let is_back = |tier| fleet.takers(tier).any(|(_, node)| !node.returning.is_empty());
    let could =
        |tier: TierIdx| (!fleet.tiers[tier as usize].short.is_empty() || is_back(tier)) && has_room(fleet, tier);
    !fleet.tuning.paused && !fleet.is_waiting && fleet.len() > 1 && (0..fleet.tiers.len() as TierIdx).any(could)
}

fn has_room(fleet: &Fleet, tier: TierIdx) -> bool {
    fleet.takers(tier).any(|(_, node)| node.coming.len() < fleet.tuning.queue_max)
}

enum Choice {
    Node(NodeIdx),
    /// A node could have it that has too much under way.
    AllBusy,
    Nobody,
}

/// By what the nodes of a tier are compared: bytes, or, where all say how much they can hold, the share of it.
pub(crate) struct Emptiness {
    capacity_mean: f64,
    /// Bytes that a node has if all have the same.
    pub mean: f64,
}

impl Emptiness {
    pub fn of(fleet: &Fleet, tier: TierIdx) -> Emptiness {
        let (mut count, mut capacity, mut bytes, mut is_bound) = (0.0, 0.0, 0.0, true);
        for (_, node) in fleet.takers(tier) {
            count += 1.0;
            capacity += node.host.capacity_bytes as f64;
            bytes += node.bytes() as f64;
            is_bound &= node.host.capacity_bytes > 0;
        }
        Emptiness {
            capacity_mean: if is_bound && count > 0.0 { capacity / count } else { 0.0 },
            mean: if count > 0.0 { bytes / count } else { 0.0 },
        }
    }

    /// What bytes on this node weigh; one that can hold twice as much has twice as much in balance.
    pub fn weigh(&self, node: &crate::fleet::Node, bytes: f64) -> f64 {
        if self.capacity_mean > 0.0 {
            return bytes * self.capacity_mean / node.host.capacity_bytes as f64;
        }
        bytes
    }

    pub fn load(&self, node: &crate::fleet::Node) -> f64 {
        self.weigh(node, node.bytes() as f64)
    }
}

fn choose(fleet: &Fleet, tier: TierIdx, slot: Slot, emptiness: &Emptiness, now: i64) -> Choice {
    let entry = fleet.entry(slot);
    let mut is_busy = false;
    let mut candidates: Vec<(f64, NodeIdx)> = Vec::with_capacity(CANDIDATES + 1);
    let mut emptiest = f64::INFINITY;
    for (index, node) in fleet.takers(tier) {
        if entry.holders.contains(&index) || entry.coming.contains(&index) || !node.has_space(entry.size_bytes) {
            continue;
        }
        if node.broken.get(&slot).is_some_and(|retry_at| *retry_at > now) {
            continue;
        }
        if node.coming.len() >= fleet.tuning.queue_max {
            is_busy = true;
            continue;
        }
        let load = emptiness.load(node);
        emptiest = emptiest.min(load);
        if candidates.len() < CANDIDATES || candidates.last().is_some_and(|(most, _)| load < *most) {
            let at = candidates.partition_point(|(other, _)| *other <= load);
            candidates.insert(at, (load, index));
            candidates.truncate(CANDIDATES);
        }
    }
    let most = emptiest + emptiness.mean * SLACK + entry.size_bytes as f64;
    let near = candidates.into_iter().filter(|(load, _)| *load <= most);
    let cost =
        |node: NodeIdx| fleet.node(node).map_or(f64::INFINITY, |node| node.spread.cost(entry.datasource, entry.day));
    match near.map(|(load, node)| (cost(node), load, node)).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
    {
        Some((_, _, node)) => Choice::Node(node),
        None if is_busy => Choice::AllBusy,
        None => Choice::Nobody,
    }
}

/// What a node is to do.
pub(crate) fn orders(picture: &mut Picture, name: &str, now: i64) -> Vec<Command> {
    work(picture, now);
    let Some(index) = picture.fleet.node_named(name) else { return Vec::new() };
    if picture.fleet.tuning.paused {
        return Vec::new();
    }
    if picture.fleet.len() == 1 && !picture.fleet.is_waiting {
        let revision = picture.revision;
        if picture.members.get(name).is_some_and(|member| member.settled_at == Some(revision)) {
            return Vec::new();
        }
        let plan = alone::plan(picture, name, now);
        if let Some(member) = picture.members.get_mut(name) {
            member.settled_at = plan.is_settled.then_some(revision);
        }
        return plan.commands;
    }

    let (fleet, mut commands) = (&picture.fleet, Vec::new());
    let Some(node) = fleet.node(index) else { return commands };
    let mut loads: Vec<&Entry> =
        node.coming.iter().filter(|slot| !node.loading.contains(slot)).map(|slot| fleet.entry(*slot)).collect();
    loads.sort_by_cached_key(|entry| (entry.urgency(), entry.id().cloned()));
    for entry in loads.into_iter().take(LOADS_PER_REPLY) {
        if let Name::Used(record) = &entry.name {
            commands.push(Command::Load(record.meta.clone()));
        }
    }
    let drops = node.going.iter().filter_map(|slot| picture.droppable(*slot));
    commands.extend(drops.take(DROPS_PER_REPLY).cloned().map(Command::Drop));
    if let Some(member) = picture.members.get(name) {
        commands.extend(handed_off(picture, member, index).cloned().map(Command::Drop));
    }
    commands
}

/// Realtime rows of a node that are published and that no view counts on any more.
fn handed_off<'a>(picture: &'a Picture, member: &'a Member, node: NodeIdx) -> impl Iterator<Item = &'a SegmentId> {
    let is_begun = picture.standing.is_begun();
    member.realtime.iter().filter(move |id| {
        // The file that this node loads takes their place by itself.
        let is_coming = || {
            let slot = picture.fleet.slot(id);
            slot.is_some_and(|slot| picture.fleet.entry(slot).coming.contains(&node))
        };
        is_begun && picture.path(id).is_some() && !picture.standing.has_realtime(id) && !is_coming()
    })
}
