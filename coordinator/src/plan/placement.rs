//! Which segments a node should serve.
//!
//! - A used segment that is not overshadowed and served nowhere is loaded.
//! - A published segment that is unused or overshadowed is dropped, once all that is to be seen in its interval is
//!   served: until then an older version answers.
//! - Realtime rows that were published under names which newer versions hide are dropped in the same reply that loads
//!   what stands for them: no timeline hides realtime rows, so they must go in the same instant.

use std::collections::HashSet;

use segment::SegmentId;

use crate::command::Command;
use crate::picture::{Member, Picture};

/// The orders for one node, and whether anything is left for later (a broken load that is retried).
pub(crate) struct Placement {
    pub commands: Vec<Command>,
    pub is_settled: bool,
}

pub(crate) fn plan(picture: &Picture, node: &str, member: &Member, now: i64) -> Placement {
    let mut commands = Vec::new();
    let mut is_settled = member.loading.is_empty();
    let mut loads: HashSet<&SegmentId> = HashSet::new();
    let is_elsewhere = |id: &SegmentId| {
        picture
            .members
            .iter()
            .any(|(name, other)| name != node && (other.published.contains(id) || other.loading.contains(id)))
    };

    for timeline in picture.segments.values() {
        for (id, record) in timeline.iter() {
            if member.published.contains(id)
                || member.loading.contains(id)
                || timeline.is_overshadowed(id.interval, &id.version)
                || is_elsewhere(id)
            {
                continue;
            }
            if member.broken.get(id).is_some_and(|broken| broken.retry_at > now) {
                is_settled = false;
                continue;
            }
            loads.insert(id);
            commands.push(Command::Load(record.meta.clone()));
        }
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
