//! Which values of which dimensions hold a text, and in how many rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::{Column, DictColumn};
use segment::schema::ValueType;
use segment::time::Granularity;

use super::Piece;
use crate::budget::Budget;
use crate::columns::{Columns, Resolved, as_text};
use crate::error::Result;
use crate::language::extraction::finds;
use crate::language::{Dimension, Search};
use crate::selection::{Scratch, Selected, Selector};
use crate::table::Table;

/// Bytes counted for a hit beside its text.
const HIT_BYTES: usize = 96;

/// Rows by bucket, dimension and value.
pub type Hits = BTreeMap<(i64, String, Arc<str>), i64>;

/// A table of `__time`, `dimension`, `value` and `count`.
pub fn search(query: &Search, pieces: &[Piece], budget: &Budget) -> Result<Table> {
    Ok(ordered(query, hits(query, pieces, budget)?))
}

/// All that is found in the pieces, in no order of the query's.
pub fn hits(query: &Search, pieces: &[Piece], budget: &Budget) -> Result<Hits> {
    let mut hits = Hits::new();
    for piece in pieces {
        search_piece(query, piece, budget, &mut hits)?;
    }
    Ok(hits)
}

/// Adds what was found in other pieces.
pub fn add(hits: &mut Hits, more: Hits, budget: &Budget) -> Result<()> {
    for (key, count) in more {
        match hits.get_mut(&key) {
            Some(known) => *known += count,
            None => {
                budget.take(HIT_BYTES + key.1.len() + key.2.len())?;
                hits.insert(key, count);
            }
        }
    }
    Ok(())
}

/// What was found as a table, in the query's order and as much as it asks for.
pub fn ordered(query: &Search, hits: Hits) -> Table {
    let mut hits: Vec<_> = hits.into_iter().collect();
    hits.sort_by(|((a_time, a_name, a), _), ((b_time, b_name, b), _)| {
        let by_value = match query.order.0 {
            Some(order) => order.compare(a, b),
            None => a.cmp(b),
        };
        a_time.cmp(b_time).then(by_value).then(a_name.cmp(b_name))
    });
    if query.granularity == Granularity::All {
        hits.truncate(query.limit as usize);
    }
    table(hits.into_iter())
}

/// What was found as a table, in order of time, dimension and value.
pub fn unordered(hits: Hits) -> Table {
    table(hits.into_iter())
}

fn table(hits: impl ExactSizeIterator<Item = ((i64, String, Arc<str>), i64)>) -> Table {
    let rows = hits.len();
    let (mut times, mut names, mut values, mut counts) = (vec![], vec![], vec![], vec![]);
    for ((time, name, value), count) in hits {
        times.push(time);
        names.push(Some(Arc::from(name)));
        values.push(Some(value));
        counts.push(count);
    }
    let text = |values| Block::Text { values };
    let long = |values| Block::Long { values, nulls: None };
    Table {
        columns: vec![
            ("__time".into(), ValueType::Long, long(times)),
            ("dimension".into(), ValueType::String, text(names)),
            ("value".into(), ValueType::String, text(values)),
            ("count".into(), ValueType::Long, long(counts)),
        ],
        rows,
    }
}

fn search_piece(query: &Search, piece: &Piece, budget: &Budget, hits: &mut Hits) -> Result<()> {
    let columns = piece.columns(query.scope.virtual_columns.clone());
    let selector = Selector::new(&columns, query.scope.filter.as_ref(), &piece.intervals)?;
    let all: Vec<Dimension>;
    let dimensions = match query.dimensions.as_slice() {
        [] => {
            let names = piece.dimensions()?;
            all = names.into_iter().map(|name| Dimension::plain(name, ValueType::String)).collect();
            &all
        }
        some => some,
    };
    let mut scratch = Scratch::default();
    let mut words = [0; BLOCK_ROWS / 64];
    let time = columns.segment().time()?;
    let origin = query.scope.intervals.first().map_or(0, |interval| interval.start);
    let mut times = vec![0; BLOCK_ROWS];
    let mut buckets = vec![origin; BLOCK_ROWS];
    for dimension in dimensions {
        let mut matched = Matched::of(query, dimension, &columns)?;
        for (start, len) in selector.blocks() {
            budget.check()?;
            let selected = selector.select(start, len, &mut scratch, &mut words)?;
            if selected == Selected::None {
                continue;
            }
            if query.granularity != Granularity::All {
                time.longs(start, &mut times[..len]);
                query.granularity.floor_all(&times[..len], &mut buckets[..len]);
            }
            let rows = (0..len).filter(|row| selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1);
            matched.count(query, dimension, &columns, (start, len), rows, &buckets)?;
        }
        for ((bucket, value), count) in matched.counts {
            let key = (bucket, dimension.output.clone(), value);
            let bytes = HIT_BYTES + key.1.len() + key.2.len();
            match hits.get_mut(&key) {
                Some(known) => *known += count,
                None => {
                    budget.take(bytes)?;
                    hits.insert(key, count);
                }
            }
        }
    }
    Ok(())
}

/// The hits of one dimension of one segment.
struct Matched {
    /// By code, the text that matches, if the column has a dictionary.
    by_code: Option<Vec<Option<Arc<str>>>>,
    counts: BTreeMap<(i64, Arc<str>), i64>,
}

impl Matched {
    fn of(query: &Search, dimension: &Dimension, columns: &Columns) -> Result<Matched> {
        let by_code = match columns.resolve(&dimension.column)? {
            Resolved::Physical(Column::Dict(dict)) => {
                Some((0..dict.cardinality()).map(|code| hit(query, dimension, dict.value(code))).collect())
            }
            _ => None,
        };
        Ok(Matched { by_code, counts: BTreeMap::new() })
    }

    fn count(
        &mut self,
        query: &Search,
        dimension: &Dimension,
        columns: &Columns,
        (start, len): (usize, usize),
        rows: impl Iterator<Item = usize>,
        buckets: &[i64],
    ) -> Result<()> {
        let mut add = |row: usize, text: &Arc<str>| match self.counts.get_mut(&(buckets[row], text.clone())) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert((buckets[row], text.clone()), 1);
            }
        };
        if let (Some(by_code), Resolved::Physical(Column::Dict(dict))) =
            (&self.by_code, columns.resolve(&dimension.column)?)
        {
            let (offsets, codes) = lists(dict, start, len);
            for row in rows {
                for code in &codes[offsets[row] as usize..offsets[row + 1] as usize] {
                    if let Some(text) = &by_code[*code as usize] {
                        add(row, text);
                    }
                }
            }
            return Ok(());
        }
        let block = columns.block(&dimension.column, start, len)?;
        for row in rows {
            let values = match block.value(row) {
                Value::List(items) => items,
                one => vec![one],
            };
            for value in values {
                if let Some(text) = hit(query, dimension, as_text(&value).as_deref()) {
                    add(row, &text);
                }
            }
        }
        Ok(())
    }
}

fn lists(dict: &DictColumn, start: usize, len: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut offsets, mut codes) = (Vec::new(), Vec::new());
    dict.lists(start, len, &mut offsets, &mut codes);
    (offsets, codes)
}

/// The text of a value that counts, as the dimension turns it out, if it matches.
fn hit(query: &Search, dimension: &Dimension, value: Option<&str>) -> Option<Arc<str>> {
    let text = dimension.apply(value)??;
    finds(&query.query, &text).then(|| Arc::from(&*text))
}
