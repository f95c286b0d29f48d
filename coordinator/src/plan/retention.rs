//! Which segments go out of use: those that newer ones hide for good, and those that a rule drops.
//!
//! A segment that a rule drops may hide an older one. That one would be seen again, so the older goes first, or with it;
//! where no rule drops the older, both stay until it is gone.

use std::collections::HashSet;

use segment::{Interval, SegmentId};

use crate::fleet::Slot;
use crate::picture::Picture;

/// Rows of one transaction; the rest follows at once.
const RETIRED_MAX: usize = 2_000;

pub(crate) fn plan(picture: &Picture) -> Vec<SegmentId> {
    let fleet = &picture.fleet;
    if fleet.tuning.paused {
        return Vec::new();
    }
    let id = |slot: &Slot| fleet.entry(*slot).id();
    // What the newest view counts on stays until there is another.
    let hidden = fleet.hidden.iter().filter(|slot| picture.droppable(**slot).is_some()).take(RETIRED_MAX);
    let mut chosen: HashSet<Slot> = hidden.copied().collect();
    let mut retired: Vec<SegmentId> = chosen.iter().filter_map(id).cloned().collect();

    let mut dropped: Vec<(&SegmentId, Slot)> =
        fleet.dropped.iter().filter_map(|slot| Some((id(slot)?, *slot))).collect();
    dropped.sort_by(|a, b| {
        (&a.0.version, &a.0.datasource, a.0.interval).cmp(&(&b.0.version, &b.0.datasource, b.0.interval))
    });
    // Of one set, all hide the same.
    let mut last: Option<(&SegmentId, bool)> = None;
    for (id, slot) in dropped {
        if retired.len() >= RETIRED_MAX {
            break;
        }
        let is_same = |other: &SegmentId| {
            (&other.datasource, other.interval, &other.version) == (&id.datasource, id.interval, &id.version)
        };
        let hides = match last.filter(|(other, _)| is_same(other)) {
            Some((_, hides)) => hides,
            None => hides_any(picture, id, &chosen),
        };
        last = Some((id, hides));
        if !hides && chosen.insert(slot) {
            retired.push(id.clone());
        }
    }
    retired
}

/// Whether rows of an older segment that stays in use would be seen without this one.
fn hides_any(picture: &Picture, id: &SegmentId, chosen: &HashSet<Slot>) -> bool {
    let Some(timeline) = picture.segments.get(&id.datasource) else { return false };
    timeline.overlaps(id.interval).any(|(other, _, record)| {
        let rows = record.meta.time_range.map(|(first, last)| Interval { start: first, end: last.saturating_add(1) });
        other.version < id.version
            && rows.is_some_and(|rows| rows.overlaps(&id.interval))
            && picture.fleet.slot(other).is_none_or(|slot| !chosen.contains(&slot))
    })
}
