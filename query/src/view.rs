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
use crate::language::Query;
use crate::outcome::Outcome;
use crate::policy::Restriction;
use crate::source::{Ask, Opened, Origin};

/// The segments of some tables within some intervals.
pub struct Picture {
    /// By interval, then id. Those without a row in the intervals, of the rows that are seen, are left out.
    pub pieces: Vec<Piece>,
    /// Parts of the intervals whose rows are not all here.
    pub incomplete: Vec<Interval>,
}

/// Where the segments of tables come from.
pub trait Stored: Sync {
    /// What a query sees of the segments of some tables.
    fn open(&self, tables: &[&str], ask: &Ask, origin: &Origin) -> Result<Opened>;

    /// Whether times come rounded already where the asker sees them so.
    fn rounds(&self) -> bool {
        false
    }

    /// The outcome of a whole query over tables, where that is not found from their segments here.
    fn whole(&self, query: &Arc<Query>) -> Option<Result<Outcome>> {
        let _ = query;
        None
    }
}

/// All that is served here.
impl Stored for Inventory {
    fn open(&self, tables: &[&str], ask: &Ask, origin: &Origin) -> Result<Opened> {
        let check = || origin.budget.check();
        let mut picture = Picture::take(self, origin.cache, origin.sight, tables, &ask.intervals, &check)?;
        if let Some(only) = &ask.segment {
            picture.pieces.retain(|piece| piece.id == *only);
        }
        Ok(Opened { pieces: picture.pieces, uncovered: picture.incomplete, held: Vec::new() })
    }
}

/// Segments that were chosen elsewhere, each with the time in which it is visible.
pub struct Listed {
    pub generation: u64,
    pub segments: Vec<(SegmentId, Served, Vec<Interval>)>,
}

impl Stored for Listed {
    fn open(&self, tables: &[&str], ask: &Ask, origin: &Origin) -> Result<Opened> {
        origin.cache.sweep(self.generation);
        let mut pieces = Vec::new();
        for table in tables {
            let restriction = origin.sight.of(table)?;
            for (id, item, intervals) in self.segments.iter().filter(|(id, ..)| id.datasource == **table) {
                let within = ask.intervals.iter().flat_map(|asked| intervals.iter().map(|i| i.intersect(asked)));
                let intervals = Interval::merge(&within.filter(|i| !i.is_empty()).collect::<Vec<_>>());
                let check = || origin.budget.check();
                pieces_of(&mut pieces, id, item, &intervals, restriction, origin.cache, &check)?;
            }
        }
        pieces.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
        Ok(Opened { pieces, uncovered: Vec::new(), held: Vec::new() })
    }
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
                pieces_of(&mut pieces, &id, &item, &intervals, restriction, cache, check)?;
            }
        }
        pieces.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
        Ok(Picture { pieces, incomplete: Interval::merge(&incomplete) })
    }
}

/// The pieces of a segment that have a row within the intervals which is seen.
pub fn pieces_of(
    pieces: &mut Vec<Piece>,
    id: &SegmentId,
    item: &Served,
    intervals: &[Interval],
    restriction: &Restriction,
    cache: &SeenCache,
    check: &dyn Fn() -> Result<()>,
) -> Result<()> {
    for segment in item.open() {
        let within = |times: Option<(i64, i64)>| {
            times.is_some_and(|(first, last)| intervals.iter().any(|i| i.start <= last && first < i.end))
        };
        if within(segment.time_range()) {
            let seen = seen_of(cache, item, &segment, restriction, check)?;
            let is_published = matches!(item, Served::Published(_));
            let piece = Piece::of(id.clone(), segment, intervals.to_vec(), seen).published(is_published);
            pieces.extend(within(piece.time_range()).then_some(piece));
        }
    }
    Ok(())
}

/// The intervals of a query that are not complete, of what is marked as incomplete anywhere. Which part is missing tells where
/// there are rows: who does not see them all is told that some may be.
pub fn incomplete_of(restriction: &Restriction, intervals: &[Interval], marked: &[Interval]) -> Vec<Interval> {
    match restriction {
        Restriction::Unrestricted => {
            let within = marked.iter().flat_map(|mark| intervals.iter().map(|interval| mark.intersect(interval)));
            within.filter(|interval| !interval.is_empty()).collect()
        }
        Restriction::Restricted(_) if marked.is_empty() => Vec::new(),
        Restriction::Restricted(_) => intervals.to_vec(),
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
