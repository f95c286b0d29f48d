//! One thread's share of a grouping: units of rows are folded block by block into groups of its own, and in the end into those of
//! another thread.

use std::ops::Range;
use std::sync::Arc;

use segment::aggregate::AggregateKind;
use segment::aggregate::accumulator::{self, Accumulator, Groups, Values};
use segment::block::BLOCK_ROWS;

use super::{PiecePlan, Plan};
use crate::budget::{Budget, Taken};
use crate::engine::keys::{Ids, Reader, Rows, Scratch, Shape};
use crate::engine::source::{Buffer, SourceReader};
use crate::engine::table::GroupTable;
use crate::error::{Error, Result};
use crate::selection::{self, Selected};

/// One thread's groups.
pub(super) struct Worker {
    pub(super) table: GroupTable,
    pub(super) states: Vec<Box<dyn Accumulator>>,
    /// Groups that the states have room for.
    room: usize,
    /// What the states of one more group take at least.
    group_bytes: usize,
    /// Whether any row was selected.
    pub(super) matched: bool,
    pub(super) taken: Taken,
    /// What was counted of the memory.
    counted: usize,
    /// Groups when memory was last counted.
    counted_groups: usize,
    selection: selection::Scratch,
    words: Vec<u64>,
    fold_words: Vec<u64>,
    list: Vec<u32>,
    ids: Vec<Ids>,
    groups: Vec<u32>,
    buffers: Vec<Buffer>,
    scratch: Scratch,
}

/// The groups of the rows of a block.
enum Grouping {
    One(u32),
    /// Ends and groups of runs.
    Runs(Vec<(u32, u32)>),
    Each,
}

impl Worker {
    pub(super) fn new(plan: &Plan, budget: &Arc<Budget>) -> Result<Worker> {
        let table = GroupTable::new(plan.layout.clone());
        let states = plan.folds.iter().map(|fold| {
            let mut state = accumulator::new(&fold.aggregate);
            if fold.never_empty {
                state.never_empty();
            }
            if plan.one_by_one {
                state.one_by_one();
            }
            if let ([source], AggregateKind::Distinct { .. }) = (&fold.sources[..], &fold.aggregate.kind)
                && let Some(below) = plan.sources[*source].ids_below()
            {
                state.ids_below(below);
            }
            state
        });
        let states: Vec<Box<dyn Accumulator>> = states.collect();
        // What a filter lets through may be of few groups.
        let sure = plan.folds.iter().zip(&states).filter(|(fold, _)| fold.filter.is_none());
        let mut worker = Worker {
            group_bytes: sure.map(|(_, state)| state.group_bytes()).sum(),
            states,
            room: 0,
            matched: false,
            taken: Taken::new(budget, 0)?,
            counted: 0,
            counted_groups: 0,
            selection: selection::Scratch::default(),
            words: vec![0; BLOCK_ROWS / 64],
            fold_words: vec![0; BLOCK_ROWS / 64],
            list: Vec::new(),
            ids: plan.keys.iter().map(|_| Ids::default()).collect(),
            groups: Vec::new(),
            buffers: plan.sources.iter().map(|_| Buffer::default()).collect(),
            scratch: Scratch::default(),
            table,
        };
        worker.make_room()?;
        worker.count()?;
        Ok(worker)
    }

    /// Before the states of new groups are made, their memory is counted: those of one block may be larger than all that
    /// a query may take.
    fn make_room(&mut self) -> Result<()> {
        if self.table.groups() > self.room {
            let bytes = (self.table.groups() - self.room).saturating_mul(self.group_bytes);
            if self.expect(bytes).is_err() {
                // States that no value has come to yet take less than was expected of them.
                self.count()?;
                self.expect(bytes)?;
            }
            self.room = self.table.groups();
            self.states.iter_mut().for_each(|state| state.resize(self.room));
        }
        Ok(())
    }

    /// Counts memory ahead, if there is so much.
    fn expect(&mut self, bytes: usize) -> Result<()> {
        self.taken.grow(bytes).inspect_err(|_| self.taken.shrink(bytes))?;
        self.counted += bytes;
        Ok(())
    }

    /// Counts what the groups take.
    fn count(&mut self) -> Result<()> {
        let bytes = self.table.bytes() + self.states.iter().map(|state| state.bytes()).sum::<usize>();
        match bytes.checked_sub(self.counted) {
            Some(more) => self.taken.grow(more)?,
            None => self.taken.shrink(self.counted - bytes),
        }
        self.counted = bytes;
        self.counted_groups = self.table.groups();
        Ok(())
    }

    pub(super) fn unit(&mut self, plan: &Plan, piece: &PiecePlan, rows: Range<usize>, budget: &Budget) -> Result<()> {
        // Whole units are counted without a look at their blocks.
        if plan.keys.is_empty()
            && plan.sources.is_empty()
            && piece.selector.is_all()
            && piece.filters.iter().all(Option::is_none)
        {
            budget.check()?;
            let range = piece.selector.range();
            let count = rows.end.min(range.end).saturating_sub(rows.start.max(range.start));
            if count > 0 {
                self.matched = true;
                self.states.iter_mut().for_each(|state| state.fold(count, Groups::One(0), &[]));
            }
            return self.count();
        }
        let readers = plan
            .keys
            .iter()
            .zip(&piece.keys)
            .map(|(key, shared)| key.reader(&piece.columns, shared, piece.sorted))
            .collect::<Result<Vec<_>>>()?;
        let sources = plan
            .sources
            .iter()
            .zip(&piece.sources)
            .map(|(source, shared)| source.reader(&piece.columns, shared, piece.sorted, &self.taken))
            .collect::<Result<Vec<_>>>()?;
        let segment_rows = piece.columns.segment().rows();
        let mut start = rows.start / BLOCK_ROWS * BLOCK_ROWS;
        while start < rows.end {
            budget.check()?;
            let len = (segment_rows - start).min(BLOCK_ROWS);
            let within = rows.start.saturating_sub(start)..(rows.end - start).min(len);
            self.block(plan, piece, &readers, &sources, (start, len), within)?;
            if self.table.groups() > self.counted_groups * 2 + 1024 {
                self.count()?;
            }
            start += len;
        }
        self.count()
    }

    fn block(
        &mut self,
        plan: &Plan,
        piece: &PiecePlan,
        readers: &[Reader<'_>],
        sources: &[SourceReader<'_>],
        (start, len): (usize, usize),
        within: Range<usize>,
    ) -> Result<()> {
        let mut list = std::mem::take(&mut self.list);
        let selected = piece.selector.select(start, len, &mut self.selection, &mut self.words)?;
        let selected = selected.within(&mut self.words, len, within);
        let mut rows = match selected {
            Selected::None => {
                self.list = list;
                return Ok(());
            }
            Selected::All => Rows { start, len, list: None },
            Selected::Some => {
                rows_of(&self.words, len, &mut list);
                if list.is_empty() {
                    self.list = list;
                    return Ok(());
                }
                Rows { start, len, list: Some(&list) }
            }
        };
        self.matched = true;
        let exploded;
        if readers.iter().any(Reader::is_multi) {
            exploded = self.explode(plan, piece, readers, rows)?;
            rows = Rows { start, len, list: Some(&exploded) };
        } else {
            for ((reader, key), ids) in readers.iter().zip(&plan.keys).zip(&mut self.ids) {
                reader.read(key, &piece.columns, rows, &mut self.scratch, ids)?;
            }
        }
        if rows.count() > 0 {
            let grouping = self.group(rows.count());
            self.make_room()?;
            for (reader, buffer) in sources.iter().zip(&mut self.buffers) {
                reader.read(&piece.columns, rows, buffer)?;
            }
            self.fold(plan, piece, sources, rows, &grouping)?;
        }
        self.list = list;
        Ok(())
    }

    /// Reads keys of which some hold several values a row. Returns the rows, repeated for each combination.
    fn explode(&mut self, plan: &Plan, piece: &PiecePlan, readers: &[Reader<'_>], rows: Rows<'_>) -> Result<Vec<u32>> {
        let mut list: Vec<u32> = match rows.list {
            Some(list) => list.to_vec(),
            None => (0..rows.len as u32).collect(),
        };
        let mut parents = Vec::new();
        for k in 0..readers.len() {
            if !readers[k].is_multi() {
                continue;
            }
            let rows = Rows { list: Some(&list), ..rows };
            readers[k].explode(&plan.keys[k], &piece.columns, rows, &mut parents, &mut self.ids[k])?;
            if plan.single && parents.len() > list.len() {
                return Err(Error::Invalid(format!(
                    "Encountered multi-value dimension [{}] that cannot be processed with \
                     'groupByEnableMultiValueUnnesting' set to false",
                    plan.keys[k].name()
                )));
            }
            list = parents.iter().map(|place| list[*place as usize]).collect();
            for (earlier, reader) in self.ids[..k].iter_mut().zip(readers) {
                if reader.is_multi() {
                    earlier.repeat(&parents);
                }
            }
        }
        for (k, reader) in readers.iter().enumerate() {
            if !reader.is_multi() {
                let rows = Rows { list: Some(&list), ..rows };
                reader.read(&plan.keys[k], &piece.columns, rows, &mut self.scratch, &mut self.ids[k])?;
            }
        }
        Ok(list)
    }

    /// Finds the groups of the rows whose ids were read.
    fn group(&mut self, rows: usize) -> Grouping {
        match &self.ids[..] {
            [] => Grouping::One(0),
            [only] if only.shape == Shape::One => {
                let group = self.table.group(&[only.first(0)]);
                Grouping::One(group)
            }
            [only] if matches!(&only.shape, Shape::Runs(ends) if ends.len() * 8 <= rows.max(64)) => {
                let Shape::Runs(ends) = &only.shape else { return Grouping::Each };
                let mut runs = Vec::with_capacity(ends.len());
                let mut begin = 0;
                for (i, end) in ends.iter().enumerate() {
                    // A group must have rows.
                    if *end > begin {
                        runs.push((*end, self.table.group(&[only.first(i)])));
                    }
                    begin = *end;
                }
                Grouping::Runs(runs)
            }
            ids if ids.iter().all(|ids| ids.shape == Shape::One) => {
                let key: Vec<Option<u64>> = ids.iter().map(|ids| ids.first(0)).collect();
                Grouping::One(self.table.group(&key))
            }
            ids => {
                self.table.assign(ids, rows, &mut self.groups);
                match self.groups.split_first() {
                    Some((first, rest)) if rest.iter().all(|group| group == first) => Grouping::One(*first),
                    _ => Grouping::Each,
                }
            }
        }
    }

    fn fold(
        &mut self,
        plan: &Plan,
        piece: &PiecePlan,
        sources: &[SourceReader<'_>],
        rows: Rows<'_>,
        grouping: &Grouping,
    ) -> Result<()> {
        for (f, fold) in plan.folds.iter().enumerate() {
            let mut places = None;
            if let Some(selector) = &piece.filters[f] {
                match selector.select(rows.start, rows.len, &mut self.selection, &mut self.fold_words)? {
                    Selected::None => continue,
                    Selected::All => {}
                    Selected::Some => places = Some(places_of(&self.fold_words, rows)),
                }
            }
            let state = &mut *self.states[f];
            let values: Vec<Values<'_>> = fold.sources.iter().map(|s| self.buffers[*s].values(&sources[*s])).collect();
            let multi = fold.sources.iter().any(|s| self.buffers[*s].parents.is_some());
            if places.is_none() && !multi {
                fold_rows(state, rows.count(), grouping, &self.groups, &values);
                continue;
            }
            // The slow way: groups row by row, and values gathered.
            let each = match grouping {
                Grouping::One(group) => vec![*group; rows.count()],
                Grouping::Each => self.groups.clone(),
                Grouping::Runs(runs) => {
                    let mut each = Vec::with_capacity(rows.count());
                    runs.iter().for_each(|(end, group)| each.resize(*end as usize, *group));
                    each
                }
            };
            if !multi {
                let places = places.unwrap_or_default();
                let groups: Vec<u32> = places.iter().map(|place| each[*place as usize]).collect();
                let gathered: Vec<Gathered<'_>> = values.iter().map(|v| Gathered::of(*v, &places)).collect();
                let values: Vec<Values<'_>> = gathered.iter().map(Gathered::values).collect();
                state.fold(groups.len(), Groups::Each(&groups), &values);
                continue;
            }
            let keep: Option<Vec<bool>> = places.map(|places| {
                let mut keep = vec![false; rows.count()];
                places.iter().for_each(|place| keep[*place as usize] = true);
                keep
            });
            for (source, values) in fold.sources.iter().zip(values) {
                let all: Vec<u32> = (0..rows.count() as u32).collect();
                let parents = self.buffers[*source].parents.as_deref().unwrap_or(&all);
                let kept = |row: u32| keep.as_ref().is_none_or(|keep| keep[row as usize]);
                let places: Vec<u32> = (0..parents.len() as u32).filter(|i| kept(parents[*i as usize])).collect();
                let groups: Vec<u32> = places.iter().map(|i| each[parents[*i as usize] as usize]).collect();
                let gathered = Gathered::of(values, &places);
                state.fold(groups.len(), Groups::Each(&groups), &[gathered.values()]);
            }
        }
        Ok(())
    }

    /// Merges another thread's groups into these.
    pub(super) fn absorb(&mut self, other: Worker, budget: &Budget) -> Result<()> {
        let map = self.table.absorb(&other.table);
        self.make_room()?;
        for (mine, theirs) in self.states.iter_mut().zip(&other.states) {
            budget.check()?;
            mine.merge(&map, &**theirs);
        }
        self.matched |= other.matched;
        self.count()
    }
}

fn fold_rows(state: &mut dyn Accumulator, rows: usize, grouping: &Grouping, groups: &[u32], values: &[Values<'_>]) {
    match grouping {
        Grouping::One(group) => state.fold(rows, Groups::One(*group), values),
        Grouping::Each => state.fold(rows, Groups::Each(groups), values),
        Grouping::Runs(runs) => {
            let mut begin = 0;
            let mut part: Vec<Values<'_>> = Vec::with_capacity(values.len());
            for (end, group) in runs {
                let end = *end as usize;
                part.clear();
                part.extend(values.iter().map(|values| values.slice(begin..end)));
                state.fold(end - begin, Groups::One(*group), &part);
                begin = end;
            }
        }
    }
}

/// The rows whose bits are set.
fn rows_of(words: &[u64], len: usize, out: &mut Vec<u32>) {
    out.clear();
    for (idx, word) in words[..len.div_ceil(64)].iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            out.push(idx as u32 * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// Places of the rows whose bits are set.
fn places_of(words: &[u64], rows: Rows<'_>) -> Vec<u32> {
    let set = |row: u32| words[row as usize / 64] >> (row % 64) & 1 == 1;
    match rows.list {
        None => {
            let mut places = Vec::new();
            rows_of(words, rows.len, &mut places);
            places
        }
        Some(list) => (0..list.len() as u32).filter(|place| set(list[*place as usize])).collect(),
    }
}

/// Some rows' values.
enum Gathered<'a> {
    As(Values<'a>),
    Longs(Vec<i64>, Option<Vec<bool>>),
    Doubles(Vec<f64>, Option<Vec<bool>>),
    Texts(Vec<Option<Arc<str>>>),
    Codes(Vec<u32>, &'a segment::column::DictColumn),
    Coupons(Vec<Option<datasketches::hll::Coupon>>),
    Any(Vec<segment::block::Value>),
}

impl<'a> Gathered<'a> {
    fn of(values: Values<'a>, places: &[u32]) -> Gathered<'a> {
        fn pick<T: Clone>(values: &[T], places: &[u32]) -> Vec<T> {
            places.iter().map(|place| values[*place as usize].clone()).collect()
        }
        match values {
            Values::Null => Gathered::As(Values::Null),
            Values::Longs { values, nulls } => Gathered::Longs(pick(values, places), nulls.map(|n| pick(n, places))),
            Values::Doubles { values, nulls } => {
                Gathered::Doubles(pick(values, places), nulls.map(|n| pick(n, places)))
            }
            Values::Texts(values) => Gathered::Texts(pick(values, places)),
            Values::Codes { codes, column } => Gathered::Codes(pick(codes, places), column),
            Values::Coupons(values) => Gathered::Coupons(pick(values, places)),
            Values::Any(values) => Gathered::Any(pick(values, places)),
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Gathered::As(values) => *values,
            Gathered::Longs(values, nulls) => Values::Longs { values, nulls: nulls.as_deref() },
            Gathered::Doubles(values, nulls) => Values::Doubles { values, nulls: nulls.as_deref() },
            Gathered::Texts(values) => Values::Texts(values),
            Gathered::Codes(codes, column) => Values::Codes { codes, column },
            Gathered::Coupons(values) => Values::Coupons(values),
            Gathered::Any(values) => Values::Any(values),
        }
    }
}
