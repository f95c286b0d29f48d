//! Which segments a query concerns, as of one moment, and what of them the asker sees. Rows of tables are read through
//! here and nowhere else.

use std::collections::HashMap;

use segment::inventory::Inventory;
use segment::{Interval, SegmentId};

use crate::admission::Sight;
use crate::engine::Piece;
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
    pub fn take(inventory: &Inventory, sight: &Sight, tables: &[&str], intervals: &[Interval]) -> Result<Picture> {
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
                Restriction::Restricted(_) => {
                    let whole = inventory.view(table, &[Interval::ETERNITY]);
                    if whole.is_some_and(|whole| !whole.incomplete.is_empty()) {
                        incomplete.extend(intervals);
                    }
                }
            }
            // A segment that is visible in several parts is opened once, so that all parts show the same moment.
            let mut opened: Vec<(SegmentId, _, Vec<Interval>)> = Vec::new();
            let mut known: HashMap<SegmentId, usize> = HashMap::new();
            for slice in view.slices {
                let at = *known.entry(slice.id.clone()).or_insert_with(|| {
                    opened.push((slice.id, slice.item.open(), Vec::new()));
                    opened.len() - 1
                });
                opened[at].2.push(slice.interval);
            }
            for (id, segments, intervals) in opened {
                let intervals = Interval::merge(&intervals);
                for segment in segments {
                    let within = |times: Option<(i64, i64)>| {
                        times.is_some_and(|(first, last)| intervals.iter().any(|i| i.start <= last && first < i.end))
                    };
                    if within(segment.time_range()) {
                        let piece = Piece::of(id.clone(), segment, intervals.clone(), restriction)?;
                        pieces.extend(within(piece.time_range()).then_some(piece));
                    }
                }
            }
        }
        pieces.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
        Ok(Picture { pieces, incomplete: Interval::merge(&incomplete) })
    }
}
