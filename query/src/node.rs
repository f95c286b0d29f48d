//! Conductor of a data node: one query over the segments at hand, from view to rows. Runs on a thread of the pool.
//!
//! 1. The tables' segments are looked up; what is known to be missing is told, or the query is refused.
//! 2. A query within is answered first, and its rows become a segment in memory.
//! 3. The engine folds, or a cursor is opened over the rows; groups are finished.

use std::sync::Arc;

use segment::block::{Block, Value};
use segment::column::{Column, ColumnBuilder};
use segment::inventory::Inventory;
use segment::schema::{TIME, ValueType};
use segment::segment::Provenance;
use segment::{Interval, Segment, SegmentId};

use crate::admission::{Leaf, Restriction};
use crate::budget::{Budget, Partial, Taken};
use crate::engine::inspect::{self, Analysis};
use crate::engine::rows::Cursor;
use crate::engine::{Piece, group, search};
use crate::error::{Error, Result};
use crate::finish::finish;
use crate::language::{DataSource, Inline, Query};
use crate::pool::Pool;
use crate::table::{ResponseContext, Table};
use crate::view::Picture;

/// Where queries run.
pub struct Node {
    pub inventory: Arc<Inventory>,
    pub pool: Arc<Pool>,
}

/// What came out of one query.
pub struct Outcome {
    pub context: ResponseContext,
    pub touched: bool,
    pub rows: Rows,
}

pub enum Rows {
    Table(Table),
    Cursor(Box<Cursor>),
    Analyses(Vec<Analysis>),
}

impl Node {
    pub fn run(&self, leaf: &Leaf, budget: &Arc<Budget>) -> Result<Outcome> {
        match leaf.restriction() {
            Restriction::Unrestricted => self.query(leaf.query(), budget),
        }
    }

    fn query(&self, query: &Arc<Query>, budget: &Arc<Budget>) -> Result<Outcome> {
        budget.check()?;
        let scope = query.scope();
        let mut context = ResponseContext::default();
        let mut held: Option<Taken> = None;
        let pieces = match &scope.source {
            DataSource::Table(_) | DataSource::Union(_) => {
                let picture = Picture::take(&self.inventory, &scope.source.tables(), &scope.intervals);
                context.uncovered = picture.incomplete;
                picture.pieces
            }
            DataSource::Inline(inline) => pieces_of(inline_segment(inline)?, &scope.intervals),
            DataSource::Query(inner) => {
                let outcome = self.query(&Arc::new((**inner).clone()), budget)?;
                context = outcome.context;
                let (segment, taken) = materialise(outcome.rows, budget)?;
                held = Some(taken);
                pieces_of(segment, &scope.intervals)
            }
        };
        if budget.partial() == Partial::Refused && !context.uncovered.is_empty() {
            return Err(Error::Unavailable(format!(
                "rows of [{}] are not complete yet; ask again, or allow returnPartialResults",
                context.uncovered.iter().map(Interval::to_string).collect::<Vec<_>>().join(", ")
            )));
        }
        let touched = !pieces.is_empty();
        let rows = match &**query {
            Query::Timeseries(_) | Query::TopN(_) | Query::GroupBy(_) => {
                let partial = group::run(query, pieces, &self.pool, budget)?;
                Rows::Table(finish(query, partial, budget)?)
            }
            Query::Scan(_) => Rows::Cursor(Box::new(Cursor::new(query.clone(), pieces, budget.clone(), held.take())?)),
            Query::Search(q) => Rows::Table(search::search(q, &pieces, budget)?),
            Query::TimeBoundary(q) => Rows::Table(inspect::time_boundary(q, &pieces, budget)?),
            Query::DataSourceMetadata(_) => Rows::Table(inspect::datasource_metadata(&pieces)),
            Query::SegmentMetadata(q) => Rows::Analyses(inspect::analyse(q, &pieces, budget)?),
        };
        Ok(Outcome { context, touched, rows })
    }
}

/// A segment in memory as what a query is about.
fn pieces_of(segment: Segment, intervals: &[Interval]) -> Vec<Piece> {
    if segment.rows() == 0 {
        return Vec::new();
    }
    vec![Piece { id: segment.id().clone(), segment: Arc::new(segment), intervals: intervals.to_vec() }]
}

/// Bytes counted for a value of an inner query's answer.
const VALUE_BYTES: usize = 16;

/// The rows of an inner query as a segment.
fn materialise(rows: Rows, budget: &Arc<Budget>) -> Result<(Segment, Taken)> {
    let mut taken = Taken::new(budget, 0)?;
    let mut builder = Builder::default();
    let mut count = 0;
    let mut add = |table: &Table| -> Result<()> {
        count += table.rows as u64;
        if count > budget.subquery_rows_max() {
            return Err(Error::ResourceLimit(format!(
                "the inner query gives more than [{}] rows; narrow it, or raise maxSubqueryRows",
                budget.subquery_rows_max()
            )));
        }
        budget.check()?;
        taken.grow(table.rows * table.columns.len() * VALUE_BYTES)?;
        builder.add(table);
        Ok(())
    };
    match rows {
        Rows::Table(table) => add(&table)?,
        Rows::Cursor(mut cursor) => {
            while let Some(batch) = cursor.next_batch()? {
                add(&batch.table)?;
            }
        }
        Rows::Analyses(_) => {
            return Err(Error::Unsupported("dataSource.query: segmentMetadata cannot be queried".into()));
        }
    }
    Ok((builder.finish(), taken))
}

/// Columns that grow by tables; a column that a table lacks is null there.
#[derive(Default)]
struct Builder {
    columns: Vec<(String, ColumnBuilder)>,
    times: Vec<i64>,
}

impl Builder {
    fn add(&mut self, table: &Table) {
        let before = self.times.len();
        let mut timed = false;
        for (name, value_type, block) in &table.columns {
            if name == TIME && matches!(block, Block::Long { .. }) {
                timed = true;
                // The time of a grand total is none; it counts as the epoch.
                self.times.extend((0..table.rows).map(|row| match block.value(row) {
                    Value::Long(t) => t,
                    _ => 0,
                }));
                continue;
            }
            let at = self.columns.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
                let mut builder = ColumnBuilder::new(value_type.clone());
                (0..before).for_each(|_| builder.push(&Value::Null));
                self.columns.push((name.clone(), builder));
                self.columns.len() - 1
            });
            (0..table.rows).for_each(|row| self.columns[at].1.push(&block.value(row)));
        }
        if !timed {
            self.times.extend(std::iter::repeat_n(0, table.rows));
        }
        for (name, builder) in &mut self.columns {
            if !table.columns.iter().any(|(n, ..)| n == name) {
                (0..table.rows).for_each(|_| builder.push(&Value::Null));
            }
        }
    }

    fn finish(self) -> Segment {
        let mut time = ColumnBuilder::new(ValueType::Long);
        self.times.iter().for_each(|t| time.push(&Value::Long(*t)));
        let Column::Number(time) = time.finish() else { unreachable!("longs make a number column") };
        let dimensions = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let columns = self.columns.into_iter().map(|(name, builder)| (name, builder.finish())).collect();
        let id = SegmentId {
            datasource: "inline".into(),
            interval: Interval::ETERNITY,
            version: String::new(),
            partition: 0,
        };
        let provenance = Provenance { rollup: false, query_granularity: None, aggregates: Vec::new() };
        let sorted = self.times.is_sorted();
        Segment::from_parts(id, time, columns, dimensions, Vec::new(), sorted, provenance)
    }
}

fn inline_segment(inline: &Inline) -> Result<Segment> {
    let mut table = Table { rows: inline.rows.len(), columns: Vec::new() };
    for (i, (name, value_type)) in inline.columns.iter().enumerate() {
        let values: Vec<Value> = inline.rows.iter().map(|row| row[i].clone()).collect();
        let value_type = value_type.clone().unwrap_or_else(|| type_of(&values));
        let block = Block::Any { values };
        let block = if name == TIME { crate::columns::cast(block, &ValueType::Long) } else { block };
        table.columns.push((name.clone(), value_type, block));
    }
    let mut builder = Builder::default();
    builder.add(&table);
    Ok(builder.finish())
}

/// The narrowest type that holds the values.
fn type_of(values: &[Value]) -> ValueType {
    let all = |fits: fn(&Value) -> bool| values.iter().all(|value| value.is_null() || fits(value));
    if values.iter().all(Value::is_null) {
        ValueType::String
    } else if all(|v| matches!(v, Value::Long(_))) {
        ValueType::Long
    } else if all(|v| matches!(v, Value::Long(_) | Value::Double(_))) {
        ValueType::Double
    } else {
        ValueType::String
    }
}
