//! From groups to rows: zero filling, having, order, limit, post-aggregates, totals.
//!
//! Keys stay ids and aggregates stay states until a row is known to leave: ordering reads the one metric it needs, and
//! strings are made for the rows of the answer only.

use std::cmp::Ordering;

use segment::aggregate::Aggregate;
use segment::block::Block;
use segment::schema::{TIME, ValueType};

use crate::budget::Budget;
use crate::engine::table::{GroupTable, Layout};
use crate::error::{Error, Result};
use crate::language::{Dimension, GroupBy, Metric, PostAggregate, Query, Timeseries, TopN};
use crate::partial::Partial;
use crate::table::Table;

mod evaluate;
mod frame;
mod order;

use frame::Frame;
use order::{Order, take_first};

/// Rows of an answer whose memory is counted at once.
const ROW_BYTES: usize = 32;

/// Finishes the groups of a timeseries, topN or groupBy.
pub fn finish(query: &Query, partial: Partial, budget: &Budget) -> Result<Table> {
    match query {
        Query::Timeseries(q) => timeseries(q, partial, budget),
        Query::TopN(q) => top_n(q, partial, budget),
        Query::GroupBy(q) => group_by(q, partial, budget),
        other => Err(Error::Bug(format!("a {} has no groups to finish", other.type_name()))),
    }
}

/// The names and types of a query's columns.
struct Shape<'a> {
    dimensions: &'a [Dimension],
    aggregates: &'a [Aggregate],
    posts: &'a [PostAggregate],
    finalize: bool,
    /// Where buckets of granularity `all` begin.
    start: i64,
    /// Of a grouping set: which of the dimensions it has.
    kept: Option<&'a [bool]>,
}

impl Shape<'_> {
    /// A bit for each of the names that the grouping set leaves out, the first is the highest.
    fn left_out(&self, names: &[String]) -> i64 {
        names.iter().fold(0, |bits, name| {
            let place = self.dimensions.iter().position(|dimension| dimension.output == *name);
            let has = match (place, self.kept) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(place), Some(kept)) => kept[place],
            };
            bits << 1 | i64::from(!has)
        })
    }
}

fn start(query: &crate::language::Scope) -> i64 {
    query.intervals.first().map_or(0, |interval| interval.start)
}

fn timeseries(q: &Timeseries, mut partial: Partial, budget: &Budget) -> Result<Table> {
    let shape = Shape {
        dimensions: &[],
        aggregates: &q.aggregates,
        posts: &q.post_aggregates,
        finalize: q.finalize,
        start: start(&q.scope),
        kept: None,
    };
    if partial.has_time && !q.skip_empty_buckets {
        fill(&mut partial, budget)?;
    }
    let mut rows: Vec<u32> = (0..partial.table.groups() as u32).collect();
    if !partial.has_time && q.skip_empty_buckets && !partial.matched {
        rows.clear();
    }
    {
        let frame = Frame::new(&shape, &partial)?;
        rows.sort_unstable_by(|a, b| {
            let order = frame.compare_time(*a, *b);
            if q.descending { order.reverse() } else { order }
        });
        if let Some(limit) = q.limit.filter(|limit| *limit > 0) {
            rows.truncate(limit.min(rows.len() as u64) as usize);
        }
    }
    let mut table = Frame::new(&shape, &partial)?.table(&rows, budget)?;
    if q.grand_total {
        let map = |group: u32| rows.contains(&group).then_some(0);
        let total = regroup(&partial, Layout::Single, &map, 1, budget)?;
        let last = Frame::new(&shape, &total)?.table(&[0], budget)?;
        for (i, ((.., block), (.., more))) in table.columns.iter_mut().zip(last.columns).enumerate() {
            let more = if i == 0 { Block::Long { values: vec![0], nulls: Some(vec![true]) } } else { more };
            append(block, more);
        }
        table.rows += 1;
    }
    Ok(table)
}

/// Gives every bucket that the segments span a group, if it has none.
fn fill(partial: &mut Partial, budget: &Budget) -> Result<()> {
    let listed = match (&partial.buckets, partial.keys[0].buckets()) {
        (Some(starts), _) => Some(starts.iter().map(|start| *start as u64).collect::<Vec<u64>>()),
        (None, listed) => listed.map(|count| (0..count as u64).collect()),
    };
    let Some(buckets) = listed else {
        if partial.spans.is_empty() {
            return Ok(());
        }
        return Err(Error::ResourceLimit(
            "the timeseries has too many buckets to list the empty ones; use a coarser granularity, a shorter interval \
             or set skipEmptyBuckets in the context"
                .into(),
        ));
    };
    for bucket in buckets {
        partial.table.group(&[Some(bucket)]);
    }
    let groups = partial.table.groups();
    budget.check()?;
    partial.taken.grow(groups * ROW_BYTES)?;
    partial.states.iter_mut().for_each(|state| state.resize(groups));
    Ok(())
}

/// The groups merged into fewer: group `g` into `map(g)`, below `groups`.
fn regroup(
    partial: &Partial,
    layout: Layout,
    map: &dyn Fn(u32) -> Option<u32>,
    groups: usize,
    budget: &Budget,
) -> Result<Partial> {
    budget.check()?;
    // What is left out goes to one group more, which is never looked at.
    let map: Vec<u32> = (0..partial.table.groups() as u32).map(|group| map(group).unwrap_or(groups as u32)).collect();
    let states = partial.states.iter().map(|state| {
        let mut fresh = state.fresh();
        fresh.resize(groups + 1);
        fresh.merge(&map, &**state);
        fresh
    });
    Ok(Partial {
        keys: Vec::new(),
        has_time: false,
        table: GroupTable::new(layout),
        states: states.collect(),
        spans: Vec::new(),
        matched: partial.matched,
        taken: partial.taken.more(groups * ROW_BYTES)?,
        buckets: None,
        types: Vec::new(),
        ids: Vec::new(),
    })
}

fn top_n(q: &TopN, partial: Partial, budget: &Budget) -> Result<Table> {
    // Druid's bucket of all time begins where the rows that were looked at do.
    let rows_start = partial.spans.iter().map(|(start, _)| *start).min();
    let shape = Shape {
        dimensions: std::slice::from_ref(&q.dimension),
        aggregates: &q.aggregates,
        posts: &q.post_aggregates,
        finalize: q.finalize,
        start: rows_start.unwrap_or(i64::MIN).max(start(&q.scope)),
        kept: None,
    };
    let frame = Frame::new(&shape, &partial)?;
    let mut rows: Vec<u32> = (0..partial.table.groups() as u32).collect();
    let mut inverted = false;
    let mut metric = &q.metric;
    while let Metric::Inverted(inner) = metric {
        inverted = !inverted;
        metric = inner;
    }
    let mut orders = Vec::new();
    match metric {
        Metric::Numeric(name) => {
            let block = frame.column(name, &rows)?.ok_or_else(|| unknown("metric", name))?;
            orders.push(Order::Metric { block, descending: !inverted, nulls_last: true });
            orders.push(Order::Key { key: frame.key_of_dimension(0), ordering: None, descending: false });
        }
        Metric::Dimension { ordering, previous_stop } => {
            let key = frame.key_of_dimension(0);
            if let Some(stop) = previous_stop {
                let after = if inverted { Ordering::Less } else { Ordering::Greater };
                let by = ordering.unwrap_or(segment::filter::Ordering::Lexicographic);
                rows.retain(|group| by.compare_nullable(frame.text(key, *group).as_deref(), Some(stop)) == after);
            }
            orders.push(Order::Key { key, ordering: *ordering, descending: inverted });
        }
        Metric::Inverted(_) => return Err(Error::Bug("an inverted metric was unwrapped".into())),
    }
    let compare = |a: &u32, b: &u32| order::compare(&frame, &orders, *a, *b);
    let threshold = q.threshold.min(rows.len() as u64) as usize;
    if !partial.has_time {
        take_first(&mut rows, threshold, compare);
        return frame.table(&rows, budget);
    }
    rows.sort_by(|a, b| frame.compare_time(*a, *b));
    let mut first = Vec::new();
    for bucket in rows.chunk_by(|a, b| frame.compare_time(*a, *b).is_eq()) {
        budget.check()?;
        let mut bucket = bucket.to_vec();
        take_first(&mut bucket, threshold, compare);
        first.extend(bucket);
    }
    frame.table(&first, budget)
}

fn unknown(what: &str, name: &str) -> Error {
    Error::Invalid(format!("{what} [{name}] is not a dimension, aggregation or post-aggregation of the query"))
}

fn group_by(q: &GroupBy, partial: Partial, budget: &Budget) -> Result<Table> {
    let Some(subtotals) = &q.subtotals else {
        return grouped(q, &q.dimensions, &partial, None, budget);
    };
    let mut all: Option<Table> = None;
    for set in subtotals {
        let (narrow, kept) = subtotal(&partial, set, budget)?;
        let mut table = grouped(q, &q.dimensions, &narrow, Some(&kept), budget)?;
        if let Some(name) = &q.grouping_id {
            let lacks = |id: i64, dimension: usize| (id << 1) | i64::from(!set.contains(&dimension));
            let id = (0..q.dimensions.len()).fold(0, lacks);
            let ids = Block::Long { values: vec![id; table.rows], nulls: None };
            table.columns.push((name.clone(), ValueType::Long, ids));
        }
        match &mut all {
            None => all = Some(table),
            Some(all) => {
                all.rows += table.rows;
                all.columns.iter_mut().zip(table.columns).for_each(|((.., block), (.., more))| append(block, more));
            }
        }
    }
    match all {
        Some(table) => Ok(table),
        None => Frame::new(&shape_of(q, &q.dimensions), &partial)?.table(&[], budget),
    }
}

fn shape_of<'a>(q: &'a GroupBy, dimensions: &'a [Dimension]) -> Shape<'a> {
    Shape {
        dimensions,
        aggregates: &q.aggregates,
        posts: &q.post_aggregates,
        finalize: q.finalize,
        start: start(&q.scope),
        kept: None,
    }
}

/// The groups with only some of the dimensions, and which keys are left (by their place in the full table).
fn subtotal(partial: &Partial, set: &[usize], budget: &Budget) -> Result<(Partial, Vec<bool>)> {
    let time = usize::from(partial.has_time);
    let mut kept = vec![false; partial.keys.len()];
    kept[..time].fill(true);
    set.iter().for_each(|dimension| kept[dimension + time] = true);
    // All keys stay, as words; those left out are null in every group.
    let layout = Layout::Words { wide: vec![true; partial.keys.len()] };
    let mut table = GroupTable::new(layout);
    let mut key = vec![None; partial.keys.len()];
    let mut map = Vec::with_capacity(partial.table.groups());
    for group in 0..partial.table.groups() as u32 {
        for (k, id) in key.iter_mut().enumerate() {
            *id = if kept[k] { partial.table.id(group, k) } else { None };
        }
        map.push(table.group(&key));
    }
    let merged = regroup(partial, Layout::Single, &|group| Some(map[group as usize]), table.groups(), budget)?;
    let keys = partial.keys.iter().map(|key| key.share()).collect();
    Ok((Partial { keys, has_time: partial.has_time, table, ..merged }, kept))
}

/// Having, order and limit of one grouping set. `kept` tells which keys it has.
fn grouped(
    q: &GroupBy,
    dimensions: &[Dimension],
    partial: &Partial,
    kept: Option<&[bool]>,
    budget: &Budget,
) -> Result<Table> {
    let mut shape = shape_of(q, dimensions);
    shape.kept = kept.map(|kept| &kept[usize::from(partial.has_time)..]);
    let frame = Frame::new(&shape, partial)?;
    let mut rows: Vec<u32> = (0..partial.table.groups() as u32).collect();
    // With keys there are only groups of rows; without, the one group stands for all, also if there are none. But the
    // empty group is left out where an offset or dropped dimensions ask for rows that are there.
    if partial.keys.is_empty() && !partial.matched && q.limit.offset > 0 {
        rows.clear();
    }
    if let Some(having) = &q.having {
        let columns = having
            .columns()
            .into_iter()
            .map(|name| Ok((name, frame.column(name, &rows)?)))
            .collect::<Result<Vec<_>>>()?;
        rows.retain(|group| {
            having.keeps(&|name| match columns.iter().find(|(n, _)| *n == name) {
                Some((_, Some(block))) => block.value(*group as usize),
                _ => segment::block::Value::Null,
            })
        });
    }
    let time = usize::from(partial.has_time);
    let everything: Vec<u32> = (0..partial.table.groups() as u32).collect();
    let mut orders = Vec::new();
    let by_time = Order::Key { key: 0, ordering: None, descending: false };
    let time_first = partial.has_time && !q.sort_by_dims_first;
    if time_first {
        orders.push(by_time);
    }
    for column in &q.limit.columns {
        let dimension = dimensions.iter().position(|d| d.output == column.column);
        orders.push(match dimension {
            Some(dimension) => {
                Order::Key { key: dimension + time, ordering: column.ordering, descending: column.descending }
            }
            None if column.column == TIME && !partial.has_time => continue,
            None if column.column == TIME => Order::Key { key: 0, ordering: None, descending: column.descending },
            None => {
                let block = frame
                    .column(&column.column, &everything)?
                    .ok_or_else(|| unknown("limitSpec column", &column.column))?;
                Order::Metric { block, descending: column.descending, nulls_last: column.descending }
            }
        });
    }
    for dimension in 0..dimensions.len() {
        orders.push(Order::Key { key: dimension + time, ordering: None, descending: false });
    }
    if partial.has_time && !time_first {
        orders.push(Order::Key { key: 0, ordering: None, descending: false });
    }
    if let Some(kept) = kept {
        orders.retain(|order| !matches!(order, Order::Key { key, .. } if !kept[*key]));
    }
    let offset = q.limit.offset.min(rows.len() as u64) as usize;
    let end =
        q.limit.limit.map_or(rows.len(), |limit| (offset as u64).saturating_add(limit).min(rows.len() as u64) as usize);
    take_first(&mut rows, end, |a, b| order::compare(&frame, &orders, *a, *b));
    frame.table(&rows[offset.min(rows.len())..], budget)
}

/// Puts a block's values behind another's.
fn append(block: &mut Block, more: Block) {
    let both = match (&mut *block, more) {
        (Block::Long { values, nulls }, Block::Long { values: v, nulls: n }) => {
            append_nulls(nulls, n, values.len(), v.len());
            values.extend(v);
            return;
        }
        (Block::Double { values, nulls }, Block::Double { values: v, nulls: n }) => {
            append_nulls(nulls, n, values.len(), v.len());
            values.extend(v);
            return;
        }
        (Block::Text { values }, Block::Text { values: v }) => {
            values.extend(v);
            return;
        }
        (block, more) => {
            let values = (0..block.len()).map(|i| block.value(i));
            values.chain((0..more.len()).map(|i| more.value(i))).collect()
        }
    };
    *block = Block::Any { values: both };
}

fn append_nulls(nulls: &mut Option<Vec<bool>>, more: Option<Vec<bool>>, before: usize, len: usize) {
    if nulls.is_none() && more.is_none() {
        return;
    }
    let all = nulls.get_or_insert_with(|| vec![false; before]);
    all.extend(more.unwrap_or_else(|| vec![false; len]));
}

/// The type in which an aggregate leaves: sketches as they are, if asked for.
fn leaving_type(aggregate: &Aggregate, finalize: bool) -> ValueType {
    match aggregate.state_type() {
        Some(state) if aggregate.leaves_as_state() || (!finalize && !is_timed(aggregate)) => state,
        _ => aggregate.value_type(),
    }
}

/// Values with a time leave as values.
fn is_timed(aggregate: &Aggregate) -> bool {
    use segment::aggregate::AggregateKind;
    match &aggregate.kind {
        AggregateKind::Filtered { inner, .. } => is_timed(inner),
        kind => matches!(kind, AggregateKind::First { .. } | AggregateKind::Last { .. }),
    }
}
