//! What the engine works on: one segment, the time in which its rows count, and what of it the asker sees.
//!
//! The segment itself is not to be had from a piece: its values are read through [`Columns`], its rows through
//! [`Selector`](crate::selection::Selector)s of these, and what else is told of it is told here. So whatever is not seen
//! is not there for anything that the engine does.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use segment::block::BLOCK_ROWS;
use segment::column::Column;
use segment::schema::{TIME, ValueType};
use segment::segment::Provenance;
use segment::{Interval, Segment, SegmentId};

use crate::columns::{Columns, Resolved};
use crate::error::Result;
use crate::language::VirtualColumn;
use crate::policy::{Restricted, Restriction};
use crate::selection::{Node, Scratch, Selected, Selector};

/// A segment of a query.
#[derive(Clone)]
pub struct Piece {
    pub id: SegmentId,
    /// Where the segment is visible and the query asks: sorted, not overlapping, not empty.
    pub intervals: Vec<Interval>,
    segment: Arc<Segment>,
    seen: Option<Arc<Seen>>,
}

/// What is seen of a segment by whoever does not see all of it.
pub struct Seen {
    pub restricted: Arc<Restricted>,
    pub masks: Vec<VirtualColumn>,
    /// The rows, of those in the range.
    pub(crate) node: Arc<Node>,
    pub range: Range<usize>,
    /// First and last time of them; `None` if there are none.
    times: Option<(i64, i64)>,
    /// Whether a column has a value in any of them, as far as was asked.
    valued: Mutex<HashMap<String, bool>>,
}

impl Piece {
    /// A segment of which everything is seen: rows that were made for the query out of what it may see.
    pub fn whole(id: SegmentId, segment: Arc<Segment>, intervals: Vec<Interval>) -> Piece {
        Piece { id, intervals, segment, seen: None }
    }

    /// A segment of a table.
    pub fn of(
        id: SegmentId,
        segment: Arc<Segment>,
        intervals: Vec<Interval>,
        restriction: &Restriction,
    ) -> Result<Piece> {
        let seen = match restriction {
            Restriction::Unrestricted => None,
            Restriction::Restricted(restricted) => Some(Arc::new(Seen::of(&segment, restricted)?)),
        };
        Ok(Piece { id, intervals, segment, seen })
    }

    /// Its columns as a query sees them, with the query's own.
    pub fn columns(&self, virtual_columns: Arc<[VirtualColumn]>) -> Columns {
        Columns::new(self.segment.clone(), self.seen.clone(), virtual_columns)
    }

    /// Whether less than all of it is seen.
    pub fn is_restricted(&self) -> bool {
        self.seen.is_some()
    }

    /// First and last time of the rows; `None` without rows.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        match &self.seen {
            None => self.segment.time_range(),
            Some(seen) => seen.times,
        }
    }

    pub fn is_time_sorted(&self) -> bool {
        self.segment.is_time_sorted()
    }

    /// What the segment is called to whoever asks: its id tells how many there are and when they were made, which hangs
    /// on rows that may not be seen.
    pub fn shown_id(&self) -> String {
        match &self.seen {
            None => self.id.to_string(),
            Some(_) => self.id.datasource.clone(),
        }
    }

    pub fn provenance(&self) -> &Provenance {
        self.segment.provenance()
    }

    /// The segment where all of it is seen.
    pub fn unrestricted(&self) -> Option<&Arc<Segment>> {
        self.seen.is_none().then_some(&self.segment)
    }

    /// Names and types of the columns that are there for the asker, `__time` first.
    pub fn named_columns(&self) -> Result<Vec<(String, ValueType)>> {
        let Some(seen) = &self.seen else { return Ok(self.segment.columns()) };
        let mut shown = Vec::new();
        for (name, value_type) in self.segment.columns() {
            if seen.shows(&self.segment, &name)? {
                let masked = seen.masks.iter().find(|mask| mask.name == name);
                shown.push((name, masked.and_then(|mask| mask.output_type.clone()).unwrap_or(value_type)));
            }
        }
        Ok(shown)
    }

    /// The dimensions among the columns that are there for the asker.
    pub fn dimensions(&self) -> Result<Vec<String>> {
        self.shown(self.segment.dimensions())
    }

    pub fn metrics(&self) -> Result<Vec<String>> {
        self.shown(self.segment.metrics())
    }

    fn shown(&self, names: &[String]) -> Result<Vec<String>> {
        let Some(seen) = &self.seen else { return Ok(names.to_vec()) };
        let mut shown = Vec::new();
        for name in names {
            if seen.shows(&self.segment, name)? {
                shown.push(name.clone());
            }
        }
        Ok(shown)
    }

    /// Whether any row that is seen has several values in a column.
    pub fn is_multi(&self, name: &str) -> Result<bool> {
        match &self.seen {
            None => Ok(self.segment.is_multi(name)),
            Some(seen) => Ok(self.segment.is_multi(name)
                && seen.any(
                    &self.segment,
                    name,
                    &|value| matches!(value, segment::block::Value::List(list) if list.len() > 1),
                )?),
        }
    }

    /// Whether a text column has no value: that is how a column of nothing but nulls is kept.
    pub fn has_only_nulls(&self, name: &str) -> Result<bool> {
        match (&self.seen, self.segment.column(name)?) {
            (None, Some(Column::Dict(dict))) => Ok(dict.cardinality() == u32::from(dict.null_code().is_some())),
            (None, _) => Ok(false),
            (Some(seen), _) => Ok(!seen.has_value(&self.segment, name)?),
        }
    }
}

impl Seen {
    fn of(segment: &Arc<Segment>, restricted: &Arc<Restricted>) -> Result<Seen> {
        let raw = Columns::new(segment.clone(), None, Arc::from([]));
        let selector = Selector::new(&raw, restricted.filter.as_ref(), &[Interval::ETERNITY])?;
        let times = times(segment, &selector)?;
        let masks = match restricted.treats_columns() {
            false => Vec::new(),
            true => {
                let columns = segment.columns().into_iter().filter(|(name, _)| name != TIME);
                columns.filter_map(|(name, value_type)| restricted.mask(&name, &value_type)).collect()
            }
        };
        let (node, range) = selector.into_parts();
        let node = Arc::new(node);
        Ok(Seen { restricted: restricted.clone(), masks, node, range, times, valued: Mutex::default() })
    }

    /// Whether the asker is told of a column.
    fn shows(&self, segment: &Arc<Segment>, name: &str) -> Result<bool> {
        if self.restricted.is_denied(name) {
            return Ok(false);
        }
        Ok(name == TIME || self.restricted.is_public(name) || self.has_value(segment, name)?)
    }

    fn has_value(&self, segment: &Arc<Segment>, name: &str) -> Result<bool> {
        if let Some(known) = self.valued.lock().get(name) {
            return Ok(*known);
        }
        let found = self.any(segment, name, &|value| !value.is_null())?;
        self.valued.lock().insert(name.to_string(), found);
        Ok(found)
    }

    /// Whether the value of a column, as it is kept, passes in any row that is seen.
    fn any(&self, segment: &Arc<Segment>, name: &str, passes: &dyn Fn(&segment::block::Value) -> bool) -> Result<bool> {
        let raw = Columns::new(segment.clone(), None, Arc::from([]));
        if matches!(raw.resolve(name)?, Resolved::Missing) {
            return Ok(false);
        }
        let selector = Selector::of_node(segment.clone(), self.node.clone(), self.range.clone());
        let mut scratch = Scratch::default();
        let mut words = [0; BLOCK_ROWS / 64];
        for (start, len) in selector.blocks() {
            let selected = selector.select(start, len, &mut scratch, &mut words)?;
            if selected == Selected::None {
                continue;
            }
            let block = raw.block(name, start, len)?;
            let is_in = |row: &usize| selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1;
            if (0..len).filter(is_in).any(|row| passes(&block.value(row))) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// First and last time of the selected rows.
fn times(segment: &Segment, selector: &Selector) -> Result<Option<(i64, i64)>> {
    if selector.is_all() && selector.range() == (0..segment.rows()) {
        return Ok(segment.time_range());
    }
    let time = segment.time()?;
    let mut scratch = Scratch::default();
    let mut words = [0; BLOCK_ROWS / 64];
    let mut values = vec![0; BLOCK_ROWS];
    let mut found: Option<(i64, i64)> = None;
    let mut look = |(start, len): (usize, usize), found: &mut Option<(i64, i64)>| -> Result<bool> {
        let selected = selector.select(start, len, &mut scratch, &mut words)?;
        if selected == Selected::None {
            return Ok(false);
        }
        time.longs(start, &mut values[..len]);
        for row in 0..len {
            if selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1 {
                let t = values[row];
                *found = Some(found.map_or((t, t), |(first, last)| (first.min(t), last.max(t))));
            }
        }
        Ok(true)
    };
    if !segment.is_time_sorted() {
        for block in selector.blocks() {
            look(block, &mut found)?;
        }
        return Ok(found);
    }
    // The first block with a row has the first, the last one the last.
    for block in selector.blocks() {
        if look(block, &mut found)? {
            break;
        }
    }
    for block in selector.blocks().rev() {
        if look(block, &mut found)? {
            break;
        }
    }
    Ok(found)
}
