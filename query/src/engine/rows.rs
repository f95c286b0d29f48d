//! Rows as they stand: scan.
//!
//! A [`Cursor`] gives batch after batch on demand and holds no more than the block it stands in, so an answer of any
//! size needs little memory, and a slow reader holds up nobody. Without an order, segments are read one after the
//! other; by time, they are merged: a segment is opened when the merge reaches its first time, and rows that do not
//! stand in time order are sorted by reference first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::{Column, DictColumn};
use segment::schema::ValueType;

use super::Piece;
use crate::budget::{Budget, Taken};
use crate::columns::{Columns, Resolved};
use crate::error::Result;
use crate::language::{Query, Scan, ScanOrder};
use crate::selection::{Scratch, Selected, Selector};
use crate::table::{Batch, Table};

/// Where a scan stands.
pub struct Cursor {
    query: Arc<Query>,
    budget: Arc<Budget>,
    walk: Walk,
    skip: u64,
    /// Rows still to give.
    left: u64,
    /// Columns that a segment lacks are left out of its rows.
    bare: bool,
    /// Of the rows given last: their times, if they are merged by time, and the places of their pieces; of rows of one piece
    /// its place alone.
    marks: (Vec<i64>, Vec<i64>),
    /// Memory of the rows that are scanned, as far as they were made for the query.
    _held: Vec<Taken>,
}

enum Walk {
    Plain { pieces: std::iter::Enumerate<std::vec::IntoIter<Piece>>, open: Option<Open> },
    Timed(Merge),
}

/// A segment that is being read from first row to last.
struct Open {
    place: usize,
    id: String,
    columns: Columns,
    names: Vec<String>,
    selector: Selector,
    scratch: Scratch,
    blocks: std::ops::Range<usize>,
    /// Selected rows of the block at hand, not yet given.
    rows: Vec<u32>,
}

impl Cursor {
    /// `pieces` are what a scan is about; another query is answered with no rows.
    pub fn new(query: Arc<Query>, pieces: Vec<Piece>, budget: Arc<Budget>, held: Vec<Taken>) -> Result<Cursor> {
        let (skip, left, order) = match &*query {
            Query::Scan(scan) => (scan.offset, scan.limit.unwrap_or(u64::MAX), scan.order),
            _ => (0, 0, ScanOrder::None),
        };
        let walk = match order {
            ScanOrder::None => Walk::Plain { pieces: pieces.into_iter().enumerate(), open: None },
            _ => Walk::Timed(Merge::new(pieces, order == ScanOrder::Descending)),
        };
        Ok(Cursor { query, budget, walk, skip, left, bare: false, marks: Default::default(), _held: held })
    }

    /// Leaves columns that a segment lacks out of its rows.
    pub fn bare(self) -> Cursor {
        Cursor { bare: true, ..self }
    }

    /// Of the rows given last: their times, if they are merged by time, and the places of their pieces; of rows of one piece
    /// its place alone.
    pub fn marks(&self) -> (&[i64], &[i64]) {
        (&self.marks.0, &self.marks.1)
    }

    /// The next rows; `None` after the last. Not called again after an error.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let query = self.query.clone();
        let Query::Scan(scan) = &*query else {
            return Ok(None);
        };
        if self.left == 0 {
            return Ok(None);
        }
        match self.walk {
            Walk::Plain { .. } => self.next_plain(scan),
            Walk::Timed(_) => self.next_timed(scan),
        }
    }

    fn next_plain(&mut self, scan: &Scan) -> Result<Option<Batch>> {
        let Walk::Plain { pieces, open } = &mut self.walk else {
            return Ok(None);
        };
        loop {
            let Some(current) = open else {
                let Some((place, piece)) = pieces.next() else {
                    return Ok(None);
                };
                *open = Some(Open::new(scan, place, piece)?);
                continue;
            };
            let most = (scan.batch_size as u64).min(self.left) as usize;
            let rows = current.take(most, &mut self.skip, &self.budget)?;
            if rows.is_empty() {
                *open = None;
                continue;
            }
            self.left -= rows.len() as u64;
            let mut parts = vec![Gather::new(&current.columns)];
            let table = gather(&current.names, &mut parts, &Places::One(&rows), self.bare)?;
            self.marks.1 = vec![current.place as i64];
            // Rows that were made for the query are of no segment.
            let segment = scan.scope.source.is_stored().then(|| current.id.clone());
            return Ok(Some(Batch { segment, table }));
        }
    }

    fn next_timed(&mut self, scan: &Scan) -> Result<Option<Batch>> {
        let Walk::Timed(merge) = &mut self.walk else {
            return Ok(None);
        };
        while self.skip > 0 {
            if merge.next(scan, &self.budget)?.is_none() {
                return Ok(None);
            }
            self.skip -= 1;
        }
        let most = (scan.batch_size as u64).min(self.left) as usize;
        let mut places = Vec::new();
        self.marks.0.clear();
        while places.len() < most {
            let Some((time, place)) = merge.next(scan, &self.budget)? else {
                break;
            };
            self.marks.0.push(time);
            places.push(place);
        }
        self.marks.1 = places.iter().map(|place| i64::from(place.piece)).collect();
        if places.is_empty() {
            return Ok(None);
        }
        self.left -= places.len() as u64;
        let names = if scan.columns.is_empty() { merge.all_columns(scan)? } else { scan.columns.clone() };
        let mut used: Vec<usize> = places.iter().map(|place| place.piece as usize).collect();
        used.sort_unstable();
        used.dedup();
        let mut parts = Vec::with_capacity(used.len());
        for piece in &used {
            parts.push(Gather::new(merge.columns(*piece)));
        }
        for place in &mut places {
            place.piece = used.partition_point(|piece| *piece < place.piece as usize) as u32;
        }
        let table = gather(&names, &mut parts, &Places::Many(&places), false)?;
        merge.release();
        Ok(Some(Batch { segment: None, table }))
    }
}

/// All columns of a segment, then the virtual ones that do not shadow them.
pub fn all_columns(scan: &Scan, piece: &Piece) -> Result<Vec<String>> {
    let mut names: Vec<String> = piece.named_columns()?.into_iter().map(|(name, _)| name).collect();
    for column in scan.scope.virtual_columns.iter() {
        if !names.contains(&column.name) {
            names.push(column.name.clone());
        }
    }
    Ok(names)
}

impl Open {
    fn new(scan: &Scan, place: usize, piece: Piece) -> Result<Open> {
        let columns = piece.columns(scan.scope.virtual_columns.clone());
        let selector = Selector::new(&columns, scan.scope.filter.as_ref(), &piece.intervals)?;
        let range = selector.range();
        let names = match scan.columns.as_slice() {
            [] => all_columns(scan, &piece)?,
            names => names.to_vec(),
        };
        Ok(Open {
            place,
            id: piece.shown_id(),
            columns,
            names,
            scratch: Scratch::default(),
            blocks: if range.is_empty() { 0..0 } else { range.start / BLOCK_ROWS..range.end.div_ceil(BLOCK_ROWS) },
            selector,
            rows: Vec::new(),
        })
    }

    /// Up to `most` further selected rows, in order, after leaving out `skip`; empty at the end.
    fn take(&mut self, most: usize, skip: &mut u64, budget: &Budget) -> Result<Vec<u32>> {
        let mut taken = Vec::new();
        loop {
            let left_out = (*skip).min(self.rows.len() as u64) as usize;
            self.rows.drain(..left_out);
            *skip -= left_out as u64;
            let some = self.rows.len().min(most - taken.len());
            taken.extend(self.rows.drain(..some));
            if taken.len() == most {
                return Ok(taken);
            }
            let Some(block) = self.blocks.next() else {
                return Ok(taken);
            };
            budget.check()?;
            selected_rows(&self.selector, block, &mut self.scratch, &mut self.rows)?;
        }
    }
}

/// Appends the selected rows of a block.
fn selected_rows(selector: &Selector, block: usize, scratch: &mut Scratch, rows: &mut Vec<u32>) -> Result<()> {
    let start = block * BLOCK_ROWS;
    let len = BLOCK_ROWS.min(selector.rows() - start);
    let mut words = [0; BLOCK_ROWS / 64];
    match selector.select(start, len, scratch, &mut words)? {
        Selected::None => {}
        Selected::All => rows.extend((start as u32)..(start + len) as u32),
        Selected::Some => {
            for (i, word) in words[..len.div_ceil(64)].iter().enumerate() {
                let mut bits = *word;
                while bits != 0 {
                    rows.push((start + i * 64) as u32 + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
        }
    }
    Ok(())
}

/// A row of one of several segments.
#[derive(Clone, Copy)]
struct Place {
    piece: u32,
    row: u32,
}

enum Places<'a> {
    /// Rows of the only segment, ascending.
    One(&'a [u32]),
    Many(&'a [Place]),
}

/// Merges the rows of segments by time, ties by segment, then row.
struct Merge {
    pieces: Vec<Piece>,
    columns: Vec<Option<Columns>>,
    runs: Vec<Option<Run>>,
    /// The next row of each open segment, and the first possible time of those not open yet.
    heap: BinaryHeap<Reverse<(i64, u32, Option<u32>)>>,
    descending: bool,
    /// Segments read to the end since the last batch.
    ended: Vec<usize>,
}

/// The selected rows of one segment in the order of time.
enum Run {
    /// Rows stand in order: block after block.
    Sorted { selector: Selector, scratch: Scratch, blocks: std::ops::Range<usize>, rows: Vec<(i64, u32)> },
    /// The last is next.
    Whole { rows: Vec<(i64, u32)>, _taken: Taken },
}

impl Merge {
    fn new(pieces: Vec<Piece>, descending: bool) -> Merge {
        let mut heap = BinaryHeap::new();
        for (i, piece) in pieces.iter().enumerate() {
            if let Some((first, last)) = piece.time_range() {
                heap.push(Reverse((if descending { !last } else { first }, i as u32, None)));
            }
        }
        Merge {
            columns: pieces.iter().map(|_| None).collect(),
            runs: pieces.iter().map(|_| None).collect(),
            pieces,
            heap,
            descending,
            ended: Vec::new(),
        }
    }

    fn next(&mut self, scan: &Scan, budget: &Arc<Budget>) -> Result<Option<(i64, Place)>> {
        loop {
            let Some(Reverse((time, piece, row))) = self.heap.pop() else {
                return Ok(None);
            };
            if row.is_none() {
                budget.check()?;
                self.runs[piece as usize] = Some(self.open(scan, piece as usize, budget)?);
            }
            self.advance(piece as usize, budget)?;
            if let Some(row) = row {
                return Ok(Some((if self.descending { !time } else { time }, Place { piece, row })));
            }
        }
    }

    fn open(&mut self, scan: &Scan, at: usize, budget: &Arc<Budget>) -> Result<Run> {
        let piece = &self.pieces[at];
        let columns = piece.columns(scan.scope.virtual_columns.clone());
        let selector = Selector::new(&columns, scan.scope.filter.as_ref(), &piece.intervals)?;
        self.columns[at] = Some(columns.clone());
        let range = selector.range();
        let span = if range.is_empty() { 0..0 } else { range.start / BLOCK_ROWS..range.end.div_ceil(BLOCK_ROWS) };
        let mut scratch = Scratch::default();
        if piece.is_time_sorted() {
            return Ok(Run::Sorted { selector, scratch, blocks: span, rows: Vec::new() });
        }
        let mut rows = Vec::new();
        let mut taken = Taken::new(budget, 0)?;
        for (start, _) in selector.blocks() {
            budget.check()?;
            let before = rows.len();
            timed_rows(&columns, &selector, start / BLOCK_ROWS, &mut scratch, &mut rows)?;
            taken.grow((rows.len() - before) * size_of::<(i64, u32)>())?;
        }
        rows.sort_unstable_by(|a, b| if self.descending { a.cmp(b) } else { b.cmp(a) });
        Ok(Run::Whole { rows, _taken: taken })
    }

    /// Puts the next row of a segment onto the heap.
    fn advance(&mut self, at: usize, budget: &Budget) -> Result<()> {
        let descending = self.descending;
        let next = match &mut self.runs[at] {
            None => None,
            Some(Run::Whole { rows, .. }) => rows.pop(),
            Some(Run::Sorted { selector, scratch, blocks, rows }) => loop {
                if let Some(row) = rows.pop() {
                    break Some(row);
                }
                let block = if descending { blocks.next_back() } else { blocks.next() };
                let Some(block) = block else {
                    break None;
                };
                budget.check()?;
                let columns = self.columns[at].as_ref().expect("its run is open, so the segment was opened");
                timed_rows(columns, selector, block, scratch, rows)?;
                if !descending {
                    rows.reverse();
                }
            },
        };
        match next {
            Some((time, row)) => {
                self.heap.push(Reverse((if descending { !time } else { time }, at as u32, Some(row))));
            }
            None => {
                self.runs[at] = None;
                self.ended.push(at);
            }
        }
        Ok(())
    }

    /// Of a segment that a row came from since the last batch.
    fn columns(&self, at: usize) -> &Columns {
        self.columns[at].as_ref().expect("a row came from the segment, so it was opened")
    }

    /// Forgets what segments that are read to the end needed.
    fn release(&mut self) {
        for at in self.ended.drain(..) {
            self.columns[at] = None;
        }
    }

    /// The columns of all segments: the batches of a merged scan share them.
    fn all_columns(&self, scan: &Scan) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for piece in &self.pieces {
            for name in all_columns(scan, piece)? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }
}

fn timed_rows(
    columns: &Columns,
    selector: &Selector,
    block: usize,
    scratch: &mut Scratch,
    out: &mut Vec<(i64, u32)>,
) -> Result<()> {
    let mut rows = Vec::new();
    selected_rows(selector, block, scratch, &mut rows)?;
    if rows.is_empty() {
        return Ok(());
    }
    let start = block * BLOCK_ROWS;
    let segment = columns.segment();
    let mut times = vec![0; BLOCK_ROWS.min(segment.rows() - start)];
    segment.time()?.longs(start, &mut times);
    out.extend(rows.into_iter().map(|row| (times[row as usize - start], row)));
    Ok(())
}

/// Reads values of chosen rows of one segment.
struct Gather<'a> {
    columns: &'a Columns,
}

impl<'a> Gather<'a> {
    fn new(columns: &'a Columns) -> Gather<'a> {
        Gather { columns }
    }

    /// Values of ascending rows.
    fn values(&self, name: &str, rows: &[u32]) -> Result<Block> {
        match self.columns.resolve(name)? {
            Resolved::Missing => Ok(Block::Text { values: vec![None; rows.len()] }),
            Resolved::Physical(Column::Dict(dict)) if !dict.is_multi() => Ok(texts(dict, rows)),
            _ => {
                let mut blocks = Vec::new();
                let mut at = 0;
                while at < rows.len() {
                    let start = rows[at] as usize / BLOCK_ROWS * BLOCK_ROWS;
                    let end = at + rows[at..].partition_point(|row| (*row as usize) < start + BLOCK_ROWS);
                    let (first, last) = (rows[at] as usize, rows[end - 1] as usize);
                    let block = self.columns.block(name, first, last + 1 - first)?;
                    blocks.push(pick(block, &rows[at..end], first));
                    at = end;
                }
                Ok(join(blocks))
            }
        }
    }
}

fn texts(dict: &DictColumn, rows: &[u32]) -> Block {
    let mut codes = Vec::new();
    dict.codes_at(rows, &mut codes);
    let mut known: HashMap<u32, Option<Arc<str>>> = HashMap::new();
    let text = |code: &u32| known.entry(*code).or_insert_with(|| dict.value(*code).map(Arc::from)).clone();
    Block::Text { values: codes.iter().map(text).collect() }
}

/// The given rows of a block that starts at row `first`.
fn pick(block: Block, rows: &[u32], first: usize) -> Block {
    if rows.len() == block.len() {
        return block;
    }
    let at = |row: &u32| *row as usize - first;
    let flags = |nulls: Option<Vec<bool>>| nulls.map(|nulls| rows.iter().map(|r| nulls[at(r)]).collect());
    match block {
        Block::Long { values, nulls } => {
            Block::Long { values: rows.iter().map(|r| values[at(r)]).collect(), nulls: flags(nulls) }
        }
        Block::Double { values, nulls } => {
            Block::Double { values: rows.iter().map(|r| values[at(r)]).collect(), nulls: flags(nulls) }
        }
        Block::Text { values } => Block::Text { values: rows.iter().map(|r| values[at(r)].clone()).collect() },
        Block::Any { values } => Block::Any { values: rows.iter().map(|r| values[at(r)].clone()).collect() },
    }
}

/// Blocks one after the other; values of blocks of different kinds stand side by side as they are.
fn join(mut blocks: Vec<Block>) -> Block {
    if blocks.len() == 1 {
        return blocks.remove(0);
    }
    let len = blocks.iter().map(Block::len).sum();
    let any_null = |nulls: &mut Option<Vec<bool>>, before: usize, more: Option<Vec<bool>>, count: usize| match more {
        None => {
            if let Some(nulls) = nulls {
                nulls.resize(before + count, false);
            }
        }
        Some(more) => nulls.get_or_insert_with(|| vec![false; before]).extend(more),
    };
    if blocks.iter().all(|block| matches!(block, Block::Long { .. })) {
        let (mut values, mut nulls) = (Vec::with_capacity(len), None);
        for block in blocks {
            if let Block::Long { values: own, nulls: flags } = block {
                any_null(&mut nulls, values.len(), flags, own.len());
                values.extend(own);
            }
        }
        return Block::Long { values, nulls };
    }
    if blocks.iter().all(|block| matches!(block, Block::Double { .. })) {
        let (mut values, mut nulls) = (Vec::with_capacity(len), None);
        for block in blocks {
            if let Block::Double { values: own, nulls: flags } = block {
                any_null(&mut nulls, values.len(), flags, own.len());
                values.extend(own);
            }
        }
        return Block::Double { values, nulls };
    }
    if blocks.iter().all(|block| matches!(block, Block::Text { .. })) {
        let texts = blocks.into_iter().flat_map(|block| match block {
            Block::Text { values } => values,
            _ => Vec::new(),
        });
        return Block::Text { values: texts.collect() };
    }
    let values = blocks.iter().flat_map(|block| (0..block.len()).map(|row| block.value(row)));
    Block::Any { values: values.collect() }
}

fn gather(names: &[String], parts: &mut [Gather], places: &Places, bare: bool) -> Result<Table> {
    let mut columns = Vec::with_capacity(names.len());
    let mut rows = 0;
    let by_part = match places {
        Places::One(rows) => vec![rows.to_vec()],
        Places::Many(places) => {
            let mut by_part = vec![Vec::new(); parts.len()];
            places.iter().for_each(|place| by_part[place.piece as usize].push(place.row));
            by_part.iter_mut().for_each(|rows| rows.sort_unstable());
            by_part
        }
    };
    let mut bare_rows = None;
    for name in names {
        if bare && parts.iter().all(|part| matches!(part.columns.resolve(name), Ok(Resolved::Missing))) {
            bare_rows = Some(by_part.iter().map(Vec::len).sum());
            continue;
        }
        let mut blocks = Vec::with_capacity(parts.len());
        for (part, rows) in parts.iter().zip(&by_part) {
            blocks.push(part.values(name, rows)?);
        }
        let block = match places {
            Places::One(_) => blocks.remove(0),
            Places::Many(places) => interleave(&blocks, &by_part, places),
        };
        rows = block.len();
        let value_type = parts.iter().find_map(|part| part.columns.value_type(name));
        columns.push((name.clone(), value_type.unwrap_or_else(|| type_of(&block)), block));
    }
    if let Some(count) = bare_rows {
        rows = count;
    }
    if names.is_empty() {
        rows = by_part.iter().map(Vec::len).sum();
    }
    Ok(Table { columns, rows })
}

fn type_of(block: &Block) -> ValueType {
    match block {
        Block::Long { .. } => ValueType::Long,
        Block::Double { .. } => ValueType::Double,
        Block::Text { .. } | Block::Any { .. } => ValueType::String,
    }
}

/// Values of several segments in the order of the places.
fn interleave(blocks: &[Block], by_part: &[Vec<u32>], places: &[Place]) -> Block {
    let find = |place: &Place| {
        let piece = place.piece as usize;
        (piece, by_part[piece].partition_point(|row| *row < place.row))
    };
    let all = |wanted: fn(&Block) -> bool| blocks.iter().all(wanted);
    if all(|b| matches!(b, Block::Text { .. })) {
        let text = |place: &Place| {
            let (piece, at) = find(place);
            match &blocks[piece] {
                Block::Text { values } => values[at].clone(),
                _ => None,
            }
        };
        return Block::Text { values: places.iter().map(text).collect() };
    }
    let values: Vec<Value> = places
        .iter()
        .map(|place| {
            let (piece, at) = find(place);
            blocks[piece].value(at)
        })
        .collect();
    typed(values)
}

/// Values as the narrowest kind of block that holds them all.
pub fn typed(values: Vec<Value>) -> Block {
    let null = |value: &Value| matches!(value, Value::Null);
    let flags = |values: &[Value]| values.iter().any(null).then(|| values.iter().map(null).collect());
    if values.iter().all(|value| matches!(value, Value::Long(_) | Value::Null)) {
        let longs = values.iter().map(|value| match value {
            Value::Long(long) => *long,
            _ => 0,
        });
        return Block::Long { values: longs.collect(), nulls: flags(&values) };
    }
    if values.iter().all(|value| matches!(value, Value::Double(_) | Value::Null)) {
        let doubles = values.iter().map(|value| match value {
            Value::Double(double) => *double,
            _ => 0.0,
        });
        return Block::Double { values: doubles.collect(), nulls: flags(&values) };
    }
    if values.iter().all(|value| matches!(value, Value::Text(_) | Value::Null)) {
        let texts = values.into_iter().map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        return Block::Text { values: texts.collect() };
    }
    Block::Any { values }
}
