//! Which segments a node should serve that is the only one: rows and what was published of them are on the same node, which
//! answers from all it has.
//!
//! - A used segment that is not overshadowed, and that rules have loaded, is loaded.
//! - A published segment that is unused, overshadowed or to be loaded nowhere is dropped, once all that is to be seen in its
//!   interval is served: until then an older version answers.
//! - Realtime rows that were published under names which newer versions hide are dropped in the same reply that loads
//!   what stands for them, and what stands for them is not loaded before: no timeline hides realtime rows, so one must
//!   come and the other go in the same instant.

use std::collections::{BTreeMap, HashSet};

use segment::timeline::Timeline;
use segment::{SegmentId, SegmentMeta};

use crate::command::Command;
use crate::fleet::Name;
use crate::picture::{Member, Picture};

/// The orders for one node, and whether anything is left for later (a broken load that is retried).
pub(crate) struct Placement {
    pub commands: Vec<Command>,
    pub is_settled: bool,
}

pub(crate) fn plan(picture: &Picture, node: &str, now: i64) -> Placement {
    let nothing = Placement { commands: Vec::new(), is_settled: false };
    let fleet = &picture.fleet;
    let there = fleet.node_named(node).and_then(|index| fleet.node(index));
    let (Some(member), Some(there)) = (picture.members.get(node), there) else { return nothing };
    let mut commands = Vec::new();
    let mut is_settled = member.loading.is_empty();

    let mut loads: BTreeMap<&SegmentId, &SegmentMeta> = BTreeMap::new();
    // A file may stand under several names, each for a part of the rows that the node still has as realtime rows.
    // They come together or not at all.
    let mut held: HashSet<&str> = HashSet::new();
    let short = fleet.tiers.get(there.tier as usize).into_iter().flat_map(|tier| &tier.short).map(|(_, slot)| slot);
    for slot in short.chain(&there.coming) {
        let Name::Used(record) = &fleet.entry(*slot).name else { continue };
        let (id, meta) = (&record.meta.id, &record.meta);
        let is_broken = member.broken.get(id).is_some_and(|broken| broken.retry_at > now);
        if is_broken || member.loading.contains(id) {
            is_settled = false;
            held.insert(&meta.path);
        }
        loads.insert(id, meta);
    }
    loads.retain(|_, meta| !held.contains(meta.path.as_str()));

    let hidden = hidden_names(picture, member, &loads);
    // What cannot go yet keeps back what stands for it, which may keep others from going.
    while let Some(id) = hidden.iter().copied().find(|id| keep_back(picture, &mut loads, id)) {
        tracing::debug!(segment = %id, "realtime rows wait for a segment that cannot be loaded");
        is_settled = false;
    }
    let all = loads.values().map(|meta| Command::Load(SegmentMeta::clone(meta)));
    // With no rows to take the place of, what is loaded need not come at once.
    let most = if hidden.is_empty() { fleet.tuning.queue_max } else { usize::MAX };
    commands.extend(all.take(most));
    for id in hidden {
        // Who loads nothing has nothing to come in their place: they go when no view counts on them.
        let is_counted = !there.host.loads && picture.standing.has_realtime(id);
        if is_covered(picture, &loads, id) && !is_counted {
            commands.push(Command::Drop(id.clone()));
        } else {
            is_settled = false;
        }
    }
    for slot in &there.going {
        match picture.droppable(*slot) {
            Some(id) => commands.push(Command::Drop(id.clone())),
            None => is_settled = false,
        }
    }

    Placement { is_settled: is_settled && commands.is_empty(), commands }
}

/// Names of published rows that newer versions hide, and that the node has as realtime rows: as it reported, and, as a
/// publication may be younger than the report, those of the files that it is about to load.
fn hidden_names<'a>(
    picture: &'a Picture,
    member: &'a Member,
    loads: &BTreeMap<&SegmentId, &SegmentMeta>,
) -> Vec<&'a SegmentId> {
    let files: HashSet<&str> = loads.values().map(|meta| meta.path.as_str()).collect();
    let is_held = |id: &SegmentId, path: &str| {
        member.realtime.contains(id) || (files.contains(path) && !member.published.contains(id))
    };
    let nearby: HashSet<&str> =
        loads.keys().copied().chain(&member.realtime).map(|id| id.datasource.as_str()).collect();
    let used = nearby.into_iter().filter_map(|datasource| picture.segments.get(datasource)).flat_map(Timeline::iter);
    let used = used.map(|(id, record)| (id, record.meta.path.as_str()));
    let orphaned = picture.orphaned.iter().map(|(id, path)| (id, path.as_str()));
    let names = used.chain(orphaned).filter(|(id, path)| is_held(id, path) && !is_wanted(picture, id));
    names.map(|(id, _)| id).collect()
}

/// Whether everything that is to be seen in the interval is served or loaded in the same reply.
fn is_covered(picture: &Picture, loads: &BTreeMap<&SegmentId, &SegmentMeta>, id: &SegmentId) -> bool {
    let stands = |id: &SegmentId| loads.contains_key(id) || picture.fleet.is_settled(id);
    let timeline = picture.segments.get(&id.datasource);
    timeline.is_none_or(|timeline| timeline.visible(id.interval).iter().all(|slice| stands(&slice.id)))
}

/// Takes back the loads of what stands for these rows while something of it is missing. Answers whether there were any.
fn keep_back(picture: &Picture, loads: &mut BTreeMap<&SegmentId, &SegmentMeta>, id: &SegmentId) -> bool {
    if is_covered(picture, loads, id) {
        return false;
    }
    let Some(timeline) = picture.segments.get(&id.datasource) else { return false };
    let visible = timeline.visible(id.interval);
    let files: HashSet<&str> = visible.iter().map(|slice| slice.item.meta.path.as_str()).collect();
    let before = loads.len();
    loads.retain(|_, meta| !files.contains(meta.path.as_str()));
    loads.len() < before
}

/// Whether the segment is used and not overshadowed.
fn is_wanted(picture: &Picture, id: &SegmentId) -> bool {
    picture
        .segments
        .get(&id.datasource)
        .is_some_and(|timeline| timeline.get(id).is_some() && !timeline.is_overshadowed(id.interval, &id.version))
}
