//! What the engine works on: one segment, the time in which its rows count, and what of it the asker sees.
//!
//! The segment itself is not to be had from a piece: its values are read through [`Columns`], its rows through
//! [`Selector`](crate::selection::Selector)s of these, and what else is told of it is told here. So whatever is not seen
//! is not there for anything that the engine does.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use segment::column::Column;
use segment::schema::{TIME, ValueType};
use segment::segment::Provenance;
use segment::{Interval, Segment, SegmentId};

use super::seen::Seen;
use crate::columns::Columns;
use crate::error::Result;
use crate::language::VirtualColumn;
use crate::selection::{Scratch, Selector};

/// A segment of a query.
#[derive(Clone)]
pub struct Piece {
    pub id: SegmentId,
    /// Where the segment is visible and the query asks: sorted, not overlapping, not empty.
    pub intervals: Vec<Interval>,
    segment: Arc<Segment>,
    seen: Option<Arc<Seen>>,
    is_published: bool,
}

impl Piece {
    /// A segment of which everything is seen: rows that were made for the query out of what it may see.
    pub fn whole(id: SegmentId, segment: Arc<Segment>, intervals: Vec<Interval>) -> Piece {
        Piece { id, intervals, segment, seen: None, is_published: false }
    }

    /// A segment of a table, of which so much is seen; `None` is all of it.
    pub fn of(id: SegmentId, segment: Arc<Segment>, intervals: Vec<Interval>, seen: Option<Arc<Seen>>) -> Piece {
        Piece { id, intervals, segment, seen, is_published: false }
    }

    /// The same, of a segment that is published: under its name there is never another.
    pub fn published(self, is_published: bool) -> Piece {
        Piece { is_published, ..self }
    }

    /// What tells the file of a published segment from all others; `None` of rows that are not published, or are in memory.
    pub fn fingerprint(&self) -> Option<u128> {
        self.segment.fingerprint().filter(|_| self.is_published)
    }

    /// A range of its rows in parts that may be worked on apart, if less than all of it is seen.
    pub fn parts(&self, range: Range<usize>) -> Option<Vec<Range<usize>>> {
        self.seen.as_ref().map(|seen| seen.parts(range))
    }

    /// Rows of the segment, seen or not.
    pub fn rows(&self) -> usize {
        self.segment.rows()
    }

    /// The key of what of it is seen; `None` where that is all.
    pub fn restriction(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.restricted.key.as_str())
    }

    /// Its columns as a query sees them, with the query's own.
    pub fn columns(&self, virtual_columns: Arc<[VirtualColumn]>) -> Columns {
        let virtual_columns = match virtual_columns.iter().any(|column| column.among.is_some()) {
            true => self.settled(&virtual_columns),
            false => virtual_columns,
        };
        Columns::new(self.segment.clone(), self.seen.clone(), virtual_columns)
    }

    /// Virtual columns with what they fall back to: what the asker does not see is not there.
    fn settled(&self, columns: &[VirtualColumn]) -> Arc<[VirtualColumn]> {
        let shown = self.seen.as_ref().map(|_| self.named_columns());
        // A column that cannot be read is there, so that whoever reads it is told.
        let is_there = |name: &str| match &shown {
            // Rows that are made for a query have nulls in columns that were nowhere.
            None => {
                let kept = || self.segment.column(name).map_or(true, |column| column.is_some());
                name == TIME || kept() && !self.has_only_nulls(name).unwrap_or(false)
            }
            Some(named) => named.as_ref().map_or(true, |named| named.iter().any(|(known, _)| known == name)),
        };
        let settle = |own: &VirtualColumn| {
            own.settled(&|name| {
                is_there(name) || columns.iter().any(|column| column.name == name && column.name != own.name)
            })
        };
        columns.iter().map(settle).collect()
    }

    /// What a query of these columns (`None`: of all) reads of it, in bytes as they are kept. Of what is seen in part it is
    /// eight for each value that is seen: how large the others are is not told by what is refused.
    pub fn scan_bytes(&self, columns: Option<&BTreeSet<String>>) -> Result<u64> {
        let names: Vec<String> = self.named_columns()?.into_iter().map(|(name, _)| name).collect();
        let asked = names.iter().filter(|name| columns.is_none_or(|columns| columns.contains(*name)));
        let selector = Selector::new(&self.columns(Arc::from([])), None, &self.intervals)?;
        if self.seen.is_some() {
            let (mut scratch, mut rows) = (Scratch::default(), 0);
            for (start, len) in selector.blocks() {
                rows += selector.rows_of(start, len, &mut scratch)?.len() as u64;
            }
            return Ok(rows * 8 * asked.count() as u64);
        }
        let mut bytes = 0u64;
        for name in asked {
            bytes += self.segment.column(name)?.map_or(0, Column::size_bytes);
        }
        let share = selector.range().len() as u128;
        Ok((u128::from(bytes) * share / self.segment.rows().max(1) as u128) as u64)
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
