//! Which segments a node should serve.
//!
//! - A used segment that is not overshadowed and served nowhere is loaded.
//! - A published segment that is unused or overshadowed is dropped, once all that is to be seen in its interval is
//!   served: until then an older version answers.
//! - Realtime rows that were published under names which newer versions hide are dropped in the same reply that loads
//!   what stands for them: no timeline hides realtime rows, so they must go in the same instant.

use std::collections::HashSet;

use segment::{SegmentId, SegmentMeta};

use crate::command::Command;
use crate::picture::Picture;

/// The orders for one node, and whether anything is left for later (a broken load that is retried).
pub(crate) struct Placement {
    pub commands: Vec<Command>,
    pub is_settled: bool,
}

pub(crate) fn plan(picture: &Picture, node: &str, now: i64) -> Placement {
    let Some(member) = picture.members.get(node) else { return Placement { commands: Vec::new(), is_settled: false } };
    let mut commands = Vec::new();
    let mut is_settled = member.loading.is_empty();
    let mut loads: HashSet<&SegmentId> = HashSet::new();
    let is_elsewhere = |id: &SegmentId| {
        picture
            .members
            .iter()
            .any(|(name, other)| name != node && (other.published.contains(id) || other.loading.contains(id)))
    };

    let mut wanted: Vec<&SegmentMeta> = Vec::new();
    // A file may stand under several names, each for a part of the rows that the node still has as realtime rows.
    // They come together or not at all.
    let mut held: HashSet<&str> = HashSet::new();
    for timeline in picture.segments.values() {
        for (id, record) in timeline.iter() {
            if member.published.contains(id) || timeline.is_overshadowed(id.interval, &id.version) || is_elsewhere(id) {
                continue;
            }
            let is_broken = member.broken.get(id).is_some_and(|broken| broken.retry_at > now);
            if is_broken || member.loading.contains(id) {
                is_settled = false;
                held.insert(&record.meta.path);
            }
            wanted.push(&record.meta);
        }
    }
    for meta in wanted.into_iter().filter(|meta| !held.contains(meta.path.as_str())) {
        loads.insert(&meta.id);
        commands.push(Command::Load(meta.clone()));
    }

    for id in &member.published {
        if is_wanted(picture, id) {
            continue;
        }
        if picture.is_settled(id) {
            commands.push(Command::Drop(id.clone()));
        } else {
            is_settled = false;
        }
    }

    for id in &member.realtime {
        let is_published = picture.orphaned.contains(id)
            || picture.segments.get(&id.datasource).is_some_and(|timeline| timeline.get(id).is_some());
        if !is_published || is_wanted(picture, id) {
            continue;
        }
        let stands = |id: &SegmentId| loads.contains(id) || picture.is_served(id);
        let covered = picture
            .segments
            .get(&id.datasource)
            .is_none_or(|timeline| timeline.visible(id.interval).iter().all(|slice| stands(&slice.id)));
        if covered {
            commands.push(Command::Drop(id.clone()));
        } else {
            is_settled = false;
        }
    }
    Placement { is_settled: is_settled && commands.is_empty(), commands }
}

/// Whether the segment is used and not overshadowed.
fn is_wanted(picture: &Picture, id: &SegmentId) -> bool {
    picture
        .segments
        .get(&id.datasource)
        .is_some_and(|timeline| timeline.get(id).is_some() && !timeline.is_overshadowed(id.interval, &id.version))
}
