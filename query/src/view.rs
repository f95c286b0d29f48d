//! Which segments a query concerns, as of one moment, and what of them the asker sees. Rows of tables are read through
//! here and nowhere else.

use std::collections::HashMap;
use std::sync::Arc;

use segment::inventory::{Inventory, Served};
use segment::{Interval, Segment, SegmentId};

use crate::admission::Sight;
use crate::engine::Piece;
use crate::engine::seen::{Seen, SeenCache};
use crate::error::Result;
use crate::policy::Restriction;

/// The segments of some tables within some intervals.
pub struct Picture {
    /// By interval, then id. Those without a row in the intervals, of the rows that are seen, are left out.
    pub pieces: Vec<Piece>,
    /// Parts of the intervals whose rows are not all here.
    pub incomplete: Vec<Interval>,
}

impl Picture {
    /// `intervals` are sorted and do not overlap. Tables that are not served have no segments.
    /// Working out what is seen may take long: `check` is asked whether to go on.
    pub fn take(
        inventory: &Inventory,
        cache: &SeenCache,
        sight: &Sight,
        tables: &[&str],
        intervals: &[Interval],
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Picture> {
        let mut pieces = Vec::new();
        let mut incomplete = Vec::new();
        for table in tables {
            let restriction = sight.of(table)?;
            let Some(view) = inventory.view(table, intervals) else {
                continue;
            };
            match restriction {
                Restriction::Unrestricted => incomplete.extend(view.incomplete),
                // Which part is missing tells where there are rows: who does not see them all is told that some may be.
                Restriction::Restricted(_) if inventory.has_gaps(table) => incomplete.extend(intervals),
                Restriction::Restricted(_) => {}
            }
            // A segment that is visible in several parts is opened once, so that all parts show the same moment.
            let mut opened: Vec<(SegmentId, _, Vec<Interval>)> = Vec::new();
            let mut known: HashMap<SegmentId, usize> = HashMap::new();
            for slice in view.slices {
                let at = *known.entry(slice.id.clone()).or_insert_with(|| {
                    opened.push((slice.id, slice.item, Vec::new()));
                    opened.len() - 1
                });
                opened[at].2.push(slice.interval);
            }
            cache.sweep(view.generation);
            for (id, item, intervals) in opened {
                let intervals = Interval::merge(&intervals);
                for segment in item.open() {
                    let within = |times: Option<(i64, i64)>| {
                        times.is_some_and(|(first, last)| intervals.iter().any(|i| i.start <= last && first < i.end))
                    };
                    if within(segment.time_range()) {
                        let seen = seen_of(cache, &item, &segment, restriction, check)?;
                        let piece = Piece::of(id.clone(), segment, intervals.clone(), seen);
                        pieces.extend(within(piece.time_range()).then_some(piece));
                    }
                }
            }
        }
        pieces.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
        Ok(Picture { pieces, incomplete: Interval::merge(&incomplete) })
    }
}

/// What is seen of a segment of what is served; `None` is all of it. Only of published ones it is kept: those of realtime
/// indexes are made anew with every row.
pub fn seen_of(
    cache: &SeenCache,
    item: &Served,
    segment: &Arc<Segment>,
    restriction: &Restriction,
    check: &dyn Fn() -> Result<()>,
) -> Result<Option<Arc<Seen>>> {
    Ok(match (restriction, item) {
        (Restriction::Unrestricted, _) => None,
        (Restriction::Restricted(restricted), Served::Published(_)) => Some(cache.seen(segment, restricted, check)?),
        (Restriction::Restricted(restricted), Served::Realtime(_)) => Some(Arc::new(Seen::of(segment, restricted)?)),
    })
}
