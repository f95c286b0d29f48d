//! Grouping: timeseries, topN and groupBy fold here.
//!
//! 1. The query becomes a [`Plan`]: keys, each with a space of ids for all segments; aggregates; their inputs, each once.
//! 2. Filters are compiled per segment, and the rows are cut into units (a segment, some blocks).
//! 3. Threads take units. For each block: select rows, read keys, find groups, read inputs, fold. A block that falls into
//!    one group, or into few runs of groups (times of sorted rows), is folded without a lookup per row.
//! 4. The threads' tables are merged into one: the [`Partial`] answer.

mod worker;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use segment::aggregate::accumulator::{self, Want};
use segment::aggregate::{Aggregate, AggregateKind, Input};
use segment::block::BLOCK_ROWS;
use segment::column::Column;
use segment::filter::Filter;
use segment::schema::ValueType;
use segment::time::{Granularity, Interval};

use self::worker::Worker;
use super::Piece;
use super::keys::{Buckets, Key, Of, Shared, Space};
use super::merged::Merged;
use super::source::{SharedSource, Source};
use super::table::Layout;
use crate::budget::Budget;
use crate::columns::{Columns, Resolved};
use crate::error::{Error, Result};
use crate::language::{Query, Scope, TopN};
use crate::partial::{Partial, Tuples};
use crate::pool::Pool;
use crate::selection::Selector;

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
    /// Whether values are folded each by itself: the blocks that rows are read in hold rows that are not seen, so that parts of
    /// sums would tell how many these are.
    one_by_one: bool,
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

    let compiled = compile(pieces, columns, scope, &keys, &folds, &sources, pool, budget)?;
    let mut units = Vec::new();
    let mut rows_all = 0;
    for (piece, plan) in compiled.iter().enumerate() {
        let range = plan.selector.range();
        rows_all += range.len();
        if let Some(parts) = pieces[piece].parts(range.clone()) {
            units.extend(parts.into_iter().map(|part| (piece, part)));
            continue;
        }
        let mut start = range.start / BLOCK_ROWS * BLOCK_ROWS;
        while start < range.end {
            let end = (start + UNIT_ROWS).min(range.end);
            units.push((piece, start..end));
            start = end;
        }
    }
    let sizes: Vec<_> = keys.iter().map(|key| key.space.size()).collect();
    let one_by_one = pieces.iter().any(Piece::is_restricted);
    let layout = Layout::choose(&sizes, rows_all);
    Ok(Plan { layout, keys, folds, sources, pieces: compiled, units, single: false, one_by_one })
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
