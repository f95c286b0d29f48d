//! Grouping: timeseries, topN and groupBy fold here.
//!
//! 1. The query becomes a [`Plan`]: keys, each with a space of ids for all segments; aggregates; their inputs, each once.
//! 2. Filters are compiled per segment, and the rows are cut into units (a segment, some blocks).
//! 3. Threads take units. For each block: select rows, read keys, find groups, read inputs, fold. A block that falls into
//!    one group, or into few runs of groups (times of sorted rows), is folded without a lookup per row.
//! 4. The threads' tables are merged into one: the [`Partial`] answer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use segment::aggregate::accumulator::{self, Accumulator, Groups, Values, Want};
use segment::aggregate::{Aggregate, AggregateKind, Input};
use segment::block::BLOCK_ROWS;
use segment::column::Column;
use segment::filter::Filter;
use segment::schema::ValueType;
use segment::time::{Granularity, Interval};

use super::Piece;
use super::keys::{Buckets, Ids, Key, Of, Reader, Rows, Scratch, Shape, Shared, Space};
use super::merged::Merged;
use super::source::{Buffer, SharedSource, Source, SourceReader};
use super::table::{GroupTable, Layout};
use crate::budget::{Budget, Taken};
use crate::columns::{Columns, Resolved};
use crate::error::{Error, Result};
use crate::language::{Query, Scope, TopN};
use crate::partial::{Partial, Tuples};
use crate::pool::Pool;
use crate::selection::{self, Selected, Selector};

/// Rows of a unit of work: small enough that threads end together, large enough that beginning costs nothing.
const UNIT_ROWS: usize = 32 * BLOCK_ROWS;

/// A query made ready for its segments.
struct Plan {
    keys: Vec<Key>,
    layout: Layout,
    folds: Vec<Fold>,
    sources: Vec<Source>,
    pieces: Vec<PiecePlan>,
    units: Vec<(usize, Range<usize>)>,
    /// Whether rows of several values are refused.
    single: bool,
}

/// An aggregate: what it folds and which rows.
struct Fold {
    aggregate: Aggregate,
    /// Places in `sources`.
    sources: Vec<usize>,
    filter: Option<Filter>,
    /// Every group gets a value.
    never_empty: bool,
}

struct PiecePlan {
    columns: Columns,
    sorted: bool,
    selector: Selector,
    /// One per fold.
    filters: Vec<Option<Selector>>,
    keys: Vec<Shared>,
    sources: Vec<SharedSource>,
}

/// Folds the rows of the pieces. `query` is a timeseries, topN or groupBy.
pub fn run(query: &Arc<Query>, pieces: Vec<Piece>, pool: &Pool, budget: &Arc<Budget>) -> Result<Partial> {
    fold(query, pieces, &[], false, pool, budget)
}

/// Folds what is a part of the query's pieces, to be merged with the others elsewhere: `elsewhere` are the types that its
/// keys, and the ids of its aggregates behind them, have there as far as is known.
pub fn run_part(
    query: &Arc<Query>,
    pieces: Vec<Piece>,
    elsewhere: &[Vec<ValueType>],
    pool: &Pool,
    budget: &Arc<Budget>,
) -> Result<Partial> {
    fold(query, pieces, elsewhere, true, pool, budget)
}

fn fold(
    query: &Arc<Query>,
    pieces: Vec<Piece>,
    elsewhere: &[Vec<ValueType>],
    parted: bool,
    pool: &Pool,
    budget: &Arc<Budget>,
) -> Result<Partial> {
    let (granularity, dimensions, aggregates) = match &**query {
        Query::Timeseries(q) => (&q.granularity, &[][..], &q.aggregates),
        Query::TopN(q) => (&q.granularity, std::slice::from_ref(&q.dimension), &q.aggregates),
        Query::GroupBy(q) => (&q.granularity, &q.dimensions[..], &q.aggregates),
        other => return Err(Error::Bug(format!("a {} is not a group query", other.type_name()))),
    };
    let mut of = Vec::new();
    if *granularity != Granularity::All {
        of.push(Of::Time(granularity.clone()));
    }
    of.extend(dimensions.iter().cloned().map(Of::Dimension));
    let ids_from = of.len();
    let spans: Vec<(i64, i64)> = pieces.iter().flat_map(spans).collect();
    // A timeseries has groups without rows.
    let may_be_empty = matches!(**query, Query::Timeseries(_));
    let mut plan = plan(of, may_be_empty, aggregates, query.scope(), &pieces, &spans, elsewhere, pool, budget)?;
    plan.single = matches!(&**query, Query::GroupBy(q) if !q.explode);
    let plan = Arc::new(plan);
    let next = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(Mutex::new(None::<Error>));
    budget.progress().expect_segments(plan.pieces.len());
    let work = {
        let (plan, next, stop, budget) = (plan.clone(), next.clone(), stop.clone(), budget.clone());
        move |_: usize| -> Option<Worker> {
            let mut worker = match Worker::new(&plan, &budget) {
                Ok(worker) => worker,
                Err(error) => {
                    stop.lock().get_or_insert(error);
                    return None;
                }
            };
            let mut at = next.fetch_add(1, Ordering::Relaxed);
            while let Some((piece, rows)) = plan.units.get(at) {
                if let Err(error) = worker.unit(&plan, &plan.pieces[*piece], rows.clone(), &budget) {
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                    stop.lock().get_or_insert(error);
                    return None;
                }
                // With its last unit a piece is done, but for those of its units that others are at work on.
                if plan.units.get(at + 1).is_none_or(|(next, _)| next != piece) {
                    budget.progress().segments_done(1);
                }
                at = next.fetch_add(1, Ordering::Relaxed);
            }
            Some(worker)
        }
    };
    let crew = plan.units.len().clamp(1, pool.threads());
    let workers = pool.share(crew, budget.priority(), Arc::new(work));
    if let Some(error) = stop.lock().take() {
        return Err(error);
    }
    let mut workers: Vec<Worker> = workers.into_iter().flatten().collect();
    workers.sort_by_key(|worker| worker.table.groups());
    let mut total = workers.pop().ok_or_else(|| Error::Bug("no worker came back".into()))?;
    while let Some(worker) = workers.pop() {
        budget.check()?;
        total.absorb(worker, budget)?;
    }
    let has_time = *granularity != Granularity::All;
    let keys = plan.keys.iter().map(Key::freeze).collect();
    let taken = total.taken;
    let mut types: Vec<Vec<ValueType>> = Vec::new();
    let mut ids: Vec<Option<Arc<Tuples>>> = Vec::new();
    if parted {
        debug_assert_eq!(plan.keys.len(), ids_from);
        types.extend(plan.keys.iter().map(|key| key.types.clone()));
        types.extend(plan.sources.iter().flat_map(|source| &source.keys).map(|key| key.types.clone()));
        let with_ids = |source: &Source| (source.want == Want::Ids).then(|| Arc::new(source.freeze()));
        let frozen: Vec<Option<Arc<Tuples>>> = plan.sources.iter().map(with_ids).collect();
        ids.extend(plan.folds.iter().map(|fold| fold.sources.first().and_then(|place| frozen[*place].clone())));
    }
    Ok(Partial {
        keys,
        has_time,
        table: total.table,
        states: total.states,
        spans,
        matched: total.matched,
        taken,
        buckets: None,
        types,
        ids,
    })
}

/// The starts of the buckets of a topN that its pieces span. Druid's bucket of all time begins where the rows do.
pub fn buckets(query: &TopN, pieces: &[Piece]) -> Vec<i64> {
    buckets_of(query, &spans_of(pieces))
}

/// The times of the pieces' rows, inclusive.
pub fn spans_of(pieces: &[Piece]) -> Vec<(i64, i64)> {
    pieces.iter().flat_map(spans).collect()
}

/// The starts of the buckets of a topN whose pieces have rows at these times.
pub fn buckets_of(query: &TopN, spans: &[(i64, i64)]) -> Vec<i64> {
    if query.granularity == Granularity::All {
        let first = spans.iter().map(|(start, _)| *start).min();
        let from = query.scope.intervals.first().map_or(i64::MIN, |interval| interval.start);
        return first.map(|first| first.max(from)).into_iter().collect();
    }
    Buckets::of(&query.granularity, spans).map_or_else(Vec::new, |buckets| buckets.starts)
}

/// The times of a piece's rows within its intervals, inclusive.
fn spans(piece: &Piece) -> Vec<(i64, i64)> {
    let Some((min, max)) = piece.time_range() else { return Vec::new() };
    let rows = Interval { start: min, end: max.saturating_add(1) };
    let within = piece.intervals.iter().map(|interval| interval.intersect(&rows));
    within.filter(|span| !span.is_empty()).map(|span| (span.start, span.end - 1)).collect()
}

#[allow(clippy::too_many_arguments)]
fn plan(
    of: Vec<Of>,
    may_be_empty: bool,
    aggregates: &[Aggregate],
    scope: &Scope,
    pieces: &[Piece],
    spans: &[(i64, i64)],
    elsewhere: &[Vec<ValueType>],
    pool: &Pool,
    budget: &Arc<Budget>,
) -> Result<Plan> {
    let columns: Vec<Columns> = pieces.iter().map(|piece| piece.columns(scope.virtual_columns.clone())).collect();
    // With all rows looked at, most values of the dictionaries will be met.
    let whole = scope.filter.is_none() && pieces.iter().all(is_whole);
    let mut elsewhere = elsewhere.iter();
    let mut key = |of: Of| -> Result<Key> {
        let mut key = Key::new(of, &columns, spans, elsewhere.next().map_or(&[], Vec::as_slice))?;
        if whole
            && let Some(column) = key.plain_texts()
            && let Some(merged) = Merged::of(column, &columns, pool, budget)?
        {
            key.space = Space::Merged(Arc::new(merged));
        }
        Ok(key)
    };
    let keys = of.into_iter().map(&mut key).collect::<Result<Vec<_>>>()?;

    let mut sources: Vec<Source> = Vec::new();
    let mut folds = Vec::new();
    for aggregate in aggregates {
        let mut filters = Vec::new();
        let mut inner = aggregate;
        while let AggregateKind::Filtered { filter, inner: next } = &inner.kind {
            filters.push(filter.clone());
            inner = next;
        }
        let inputs = accumulator::inputs(inner);
        let wanted: Vec<(Vec<Input>, Want)> = match inputs.first() {
            Some((_, Want::Ids)) => vec![(inputs.into_iter().map(|(input, _)| input).collect(), Want::Ids)],
            _ => inputs.into_iter().map(|(input, want)| (vec![input], want)).collect(),
        };
        let mut places = Vec::new();
        for (input, want) in wanted {
            let place = match sources.iter().position(|s| s.input == input && s.want == want) {
                Some(place) => place,
                None => {
                    let keys = if want == Want::Ids { id_keys(&input, &mut key)? } else { Vec::new() };
                    sources.push(Source::new(input, want, keys));
                    sources.len() - 1
                }
            };
            places.push(place);
        }
        let never_empty = filters.is_empty() && !keys.is_empty() && !may_be_empty && never_null(inner, &columns)?;
        let filter = match filters.len() {
            0 => None,
            1 => filters.pop(),
            _ => Some(Filter::And(filters)),
        };
        folds.push(Fold { aggregate: inner.clone(), sources: places, filter, never_empty });
    }

    let pieces = compile(pieces, columns, scope, &keys, &folds, &sources, pool, budget)?;
    let mut units = Vec::new();
    let mut rows_all = 0;
    for (piece, plan) in pieces.iter().enumerate() {
        let range = plan.selector.range();
        let mut start = range.start / BLOCK_ROWS * BLOCK_ROWS;
        rows_all += range.len();
        while start < range.end {
            let end = (start + UNIT_ROWS).min(range.end);
            units.push((piece, start..end));
            start = end;
        }
    }
    let sizes: Vec<_> = keys.iter().map(|key| key.space.size()).collect();
    Ok(Plan { layout: Layout::choose(&sizes, rows_all), keys, folds, sources, pieces, units, single: false })
}

/// Whether the intervals hold all rows of the piece, and all of them are seen.
fn is_whole(piece: &Piece) -> bool {
    let holds = |(min, max)| piece.intervals.iter().any(|interval| interval.start <= min && max < interval.end);
    !piece.is_restricted() && piece.time_range().is_none_or(holds)
}

fn id_keys(input: &[Input], key: &mut dyn FnMut(Of) -> Result<Key>) -> Result<Vec<Key>> {
    let of = |input: &Input| match input {
        Input::Column(name) => Of::Column(name.clone()),
        Input::Expression(expr) => Of::Expression(expr.clone()),
    };
    input.iter().map(|input| key(of(input))).collect()
}

/// Whether an aggregate gets a non-null number from every row.
fn never_null(aggregate: &Aggregate, columns: &[Columns]) -> Result<bool> {
    let (AggregateKind::Sum { input: Input::Column(name), .. }
    | AggregateKind::Min { input: Input::Column(name), .. }
    | AggregateKind::Max { input: Input::Column(name), .. }) = &aggregate.kind
    else {
        return Ok(false);
    };
    for piece in columns {
        match piece.resolve(name)? {
            Resolved::Time(_) => {}
            Resolved::Physical(Column::Number(column)) if !column.has_nulls() => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Compiles the filters of all segments, in parallel: testing a large dictionary takes time.
#[allow(clippy::too_many_arguments)]
fn compile(
    pieces: &[Piece],
    columns: Vec<Columns>,
    scope: &Scope,
    keys: &[Key],
    folds: &[Fold],
    sources: &[Source],
    pool: &Pool,
    budget: &Arc<Budget>,
) -> Result<Vec<PiecePlan>> {
    let filter = Arc::new(scope.filter.clone());
    let filters: Arc<[Option<Filter>]> = folds.iter().map(|fold| fold.filter.clone()).collect();
    let jobs: Arc<Vec<(Columns, Vec<Interval>)>> =
        Arc::new(columns.into_iter().zip(pieces.iter().map(|piece| piece.intervals.clone())).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let work = {
        let (jobs, budget) = (jobs.clone(), budget.clone());
        move |_: usize| {
            let mut done = Vec::new();
            while let Some((columns, intervals)) = {
                let idx = next.fetch_add(1, Ordering::Relaxed);
                jobs.get(idx).inspect(|_| done.push((idx, Err(Error::Bug("not compiled".into())))))
            } {
                let compiled = budget.check().and_then(|()| {
                    let selector = Selector::new(columns, (*filter).as_ref(), intervals)?;
                    let of_fold =
                        |filter: &Option<Filter>| filter.as_ref().map(|f| Selector::of_filter(columns, f)).transpose();
                    Ok((selector, filters.iter().map(of_fold).collect::<Result<Vec<_>>>()?))
                });
                if let Some(last) = done.last_mut() {
                    last.1 = compiled;
                }
            }
            done
        }
    };
    let crew = jobs.len().clamp(1, pool.threads());
    let mut done: Vec<_> = pool.share(crew, budget.priority(), Arc::new(work)).into_iter().flatten().collect();
    done.sort_by_key(|(idx, _)| *idx);
    let mut plans = Vec::with_capacity(done.len());
    for (idx, compiled) in done {
        let (selector, filters) = compiled?;
        let columns = jobs[idx].0.clone();
        plans.push(PiecePlan {
            sorted: columns.segment().is_time_sorted(),
            columns,
            selector,
            filters,
            keys: keys.iter().map(|_| Shared::default()).collect(),
            sources: sources.iter().map(Source::shared).collect(),
        });
    }
    Ok(plans)
}

/// One thread's groups.
struct Worker {
    table: GroupTable,
    states: Vec<Box<dyn Accumulator>>,
    /// Groups that the states have room for.
    room: usize,
    /// What the states of one more group take at least.
    group_bytes: usize,
    /// Whether any row was selected.
    matched: bool,
    taken: Taken,
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
    fn new(plan: &Plan, budget: &Arc<Budget>) -> Result<Worker> {
        let table = GroupTable::new(plan.layout.clone());
        let states = plan.folds.iter().map(|fold| {
            let mut state = accumulator::new(&fold.aggregate);
            if fold.never_empty {
                state.never_empty();
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

    fn unit(&mut self, plan: &Plan, piece: &PiecePlan, rows: Range<usize>, budget: &Budget) -> Result<()> {
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
        let mut start = rows.start;
        while start < rows.end {
            budget.check()?;
            let len = (segment_rows - start).min(BLOCK_ROWS);
            self.block(plan, piece, &readers, &sources, start, len)?;
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
        start: usize,
        len: usize,
    ) -> Result<()> {
        let mut list = std::mem::take(&mut self.list);
        let selected = piece.selector.select(start, len, &mut self.selection, &mut self.words)?;
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
    fn absorb(&mut self, other: Worker, budget: &Budget) -> Result<()> {
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
