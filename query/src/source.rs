//! From a data source to segments, as one query sees it.
//!
//! A table is its segments. Everything else becomes a segment in memory, counted in the query's budget, and is then read
//! like any other:
//!
//! 1. rows in the query, a lookup, the answer of an inner query as they stand;
//! 2. a join, an unnesting or a filter from a scan of what it is made of ([`Origin::scan`]), which reads the columns and, where
//!    a condition of the query is about those alone, the rows that the query needs ([`Ask`]) and no others.
//!
//! Sources stand in each other: what a join is made of is opened in the same way.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use segment::block::{Block, Value};
use segment::filter::Filter;
use segment::schema::{TIME, ValueType};
use segment::time::Granularity;
use segment::{Interval, Segment, SegmentId};

use crate::admission::Sight;
use crate::budget::{Budget, Taken};
use crate::columns::Columns;
use crate::engine::Piece;
use crate::engine::rows::Cursor;
use crate::engine::seen::SeenCache;
use crate::error::{Error, Result};
use crate::language::{DataSource, Filtered, Inline, Query, Scan, ScanFormat, ScanOrder, Scope, VirtualColumn};
use crate::outcome::{Outcome, Rows};
use crate::policy::Restriction;
use crate::selection::{Scratch, Selector};
use crate::table::Table;
use crate::view::Stored;

mod join;
mod made;
mod unnest;

pub use made::Made;

/// Rows that are read at once of what a source is made of.
const BATCH_ROWS: usize = 20_480;

/// What a query asks of a source.
#[derive(Debug, Clone)]
pub struct Ask {
    pub intervals: Vec<Interval>,
    /// `None`: every column.
    pub columns: Option<BTreeSet<String>>,
    /// Conditions that every row must meet which the query looks at. It tests them again: they may be left aside.
    pub filters: Vec<Filter>,
    /// Only the rows of this one, of what is stored.
    pub segment: Option<SegmentId>,
    /// Rows that do not meet the conditions are of no use, and neither is where they are: they may be left out of what is read.
    pub narrow: bool,
}

/// Where sources come from.
pub struct Origin<'a> {
    pub stored: &'a dyn Stored,
    pub cache: &'a SeenCache,
    /// What is seen of the tables.
    pub sight: &'a Sight,
    pub budget: &'a Arc<Budget>,
    /// Answers a query that stands in another.
    pub inner: &'a dyn Fn(&Arc<Query>) -> Result<Outcome>,
}

/// A source ready to be read.
pub struct Opened {
    pub pieces: Vec<Piece>,
    /// Parts of the intervals whose rows are not all here.
    pub uncovered: Vec<Interval>,
    /// The memory of rows that were made for the query.
    pub held: Vec<Taken>,
}

impl Ask {
    pub fn of(query: &Query) -> Ask {
        let scope = query.scope();
        let virtuals = &scope.virtual_columns;
        let columns = query.columns().map(|mut columns| {
            for column in virtuals.iter().filter(|column| !column.expr.columns().contains(&column.name.as_str())) {
                columns.remove(&column.name);
            }
            columns
        });
        let parts = match &scope.filter {
            None => Vec::new(),
            Some(Filter::And(parts)) => parts.clone(),
            Some(other) => vec![other.clone()],
        };
        let of_source =
            |filter: &Filter| !virtuals.iter().any(|column| filter.columns().contains(&column.name.as_str()));
        let filters = parts.into_iter().filter(of_source).collect();
        Ask { intervals: scope.intervals.clone(), columns, filters, segment: scope.segment.clone(), narrow: false }
    }

    /// The same of a source whose columns are those that pass; `more` are read besides.
    fn within(&self, own: &dyn Fn(&str) -> bool, more: &[&str]) -> Ask {
        let columns = self.columns.as_ref().map(|columns| {
            let mut columns: BTreeSet<String> = columns.iter().filter(|name| own(name)).cloned().collect();
            columns.extend(more.iter().map(|name| name.to_string()));
            columns
        });
        let filters = self.filters.iter().filter(|filter| filter.columns().into_iter().all(own));
        Ask {
            intervals: self.intervals.clone(),
            columns,
            filters: filters.cloned().collect(),
            segment: self.segment.clone(),
            narrow: self.narrow,
        }
    }
}

/// What a source made of rows comes to: its segment, its memory, and what is missing.
type MadeOf = (Segment, Vec<Taken>, Vec<Interval>);

impl Origin<'_> {
    /// Opens a source.
    pub fn open(&self, source: &DataSource, ask: &Ask) -> Result<Opened> {
        let budget = self.budget;
        budget.check()?;
        let made = |segment: Segment, held: Vec<Taken>, uncovered: Vec<Interval>| Opened {
            pieces: pieces_of(segment, &ask.intervals),
            uncovered,
            held,
        };
        Ok(match source {
            DataSource::Table(name) => self.stored(&[name], ask)?,
            DataSource::Union(members) if source.is_stored() => {
                let names: Vec<&str> = members.iter().flat_map(DataSource::tables).collect();
                self.stored(&names, ask)?
            }
            DataSource::Union(members) => {
                let mut all = Opened { pieces: Vec::new(), uncovered: Vec::new(), held: Vec::new() };
                for member in members {
                    let opened = self.open(member, ask)?;
                    all.pieces.extend(opened.pieces);
                    all.uncovered.extend(opened.uncovered);
                    all.held.extend(opened.held);
                }
                all.uncovered = Interval::merge(&all.uncovered);
                all
            }
            DataSource::Inline(inline) => {
                let (segment, taken) = inline_segment(inline, budget)?;
                made(segment, vec![taken], Vec::new())
            }
            DataSource::Lookup(lookup) => {
                let entries = lookup.entries();
                let texts =
                    |values: Vec<&Arc<str>>| Block::Text { values: values.into_iter().cloned().map(Some).collect() };
                let (keys, values) = entries.into_iter().unzip();
                let (keys, values) = (texts(keys), texts(values));
                let rows = keys.len();
                let column = |name: &str, block| (name.to_string(), ValueType::String, block);
                let mut rows_made = Made::new(budget)?;
                rows_made.add(&Table { columns: vec![column("k", keys), column("v", values)], rows })?;
                let (segment, taken) = rows_made.finish();
                made(segment, vec![taken], Vec::new())
            }
            DataSource::Query(inner) => {
                let outcome = (self.inner)(&Arc::new((**inner).clone()))?;
                let (segment, taken) = answered(outcome.rows, budget)?;
                made(segment, vec![taken], outcome.context.uncovered)
            }
            DataSource::Join(join) => {
                let (segment, held, uncovered) = join::join(self, join, ask)?;
                made(segment, held, uncovered)
            }
            DataSource::Unnest(unnest) => {
                let (segment, held, uncovered) = unnest::unnest(self, unnest, ask)?;
                made(segment, held, uncovered)
            }
            DataSource::Filter(filtered) => {
                let (segment, held, uncovered) = self.filter(filtered, ask)?;
                made(segment, held, uncovered)
            }
        })
    }

    fn stored(&self, tables: &[&str], ask: &Ask) -> Result<Opened> {
        let mut opened = Opened { pieces: Vec::new(), uncovered: Vec::new(), held: Vec::new() };
        if self.stored.rounds() {
            return self.kept(tables, ask);
        }
        let mut plain = Vec::new();
        for table in tables {
            let rounding = match self.sight.of(table)? {
                Restriction::Unrestricted => None,
                Restriction::Restricted(restricted) => restricted.rounding()?,
            };
            match rounding {
                None => plain.push(*table),
                Some(rounding) => {
                    let (segment, held, uncovered) = self.rounded(table, &rounding, ask)?;
                    opened.pieces.extend(pieces_of(segment, &ask.intervals));
                    opened.held.extend(held);
                    opened.uncovered.extend(uncovered);
                }
            }
        }
        let of_plain = self.kept(&plain, ask)?;
        opened.pieces.extend(of_plain.pieces);
        opened.uncovered.extend(of_plain.uncovered);
        opened.uncovered = Interval::merge(&opened.uncovered);
        Ok(opened)
    }

    /// The rows of a table whose times the asker sees rounded, made with these times: so that nothing which is computed,
    /// chosen or told by time knows any other.
    fn rounded(&self, table: &str, rounding: &Granularity, ask: &Ask) -> Result<MadeOf> {
        let intervals = exact_intervals(rounding, &ask.intervals);
        let of_kept = Ask { intervals, filters: Vec::new(), ..ask.clone() };
        let opened = self.kept(&[table], &of_kept)?;
        let mut made = Made::new(self.budget)?;
        for piece in &opened.pieces {
            let columns = piece.columns(Arc::from([]));
            let mut names: Vec<(String, ValueType)> = piece.named_columns()?;
            names.retain(|(name, _)| name == TIME || ask.columns.as_ref().is_none_or(|asked| asked.contains(name)));
            let selector = Selector::new(&columns, None, &piece.intervals)?;
            let mut scratch = Scratch::default();
            for (start, len) in selector.blocks() {
                self.budget.check()?;
                let rows = selector.rows_of(start, len, &mut scratch)?;
                if rows.is_empty() {
                    continue;
                }
                let mut table = Table { rows: rows.len(), columns: Vec::new() };
                for (name, value_type) in &names {
                    let block = columns.block(name, start, len)?;
                    let block = match (&block, name == TIME) {
                        (Block::Long { values, .. }, true) => {
                            let times = rows.iter().map(|row| rounding.floor(values[*row]));
                            Block::Long { values: times.collect(), nulls: None }
                        }
                        _ => Block::Any { values: rows.iter().map(|row| block.value(*row)).collect() },
                    };
                    table.columns.push((name.clone(), value_type.clone(), block));
                }
                made.add(&table)?;
                count(made.rows() as u64, made.bytes(), self.budget)?;
            }
        }
        let (segment, taken) = made.finish();
        Ok((segment, vec![taken], opened.uncovered))
    }

    fn kept(&self, tables: &[&str], ask: &Ask) -> Result<Opened> {
        let opened = self.stored.open(tables, ask, self)?;
        // What was read elsewhere was counted there.
        if self.budget.is_scan_bounded() && !self.stored.rounds() {
            for piece in &opened.pieces {
                self.budget.scan(piece.scan_bytes(ask.columns.as_ref())?)?;
            }
        }
        Ok(opened)
    }

    fn filter(&self, filtered: &Filtered, ask: &Ask) -> Result<MadeOf> {
        let mut of_base = ask.within(&|_| true, &filtered.filter.columns());
        of_base.filters.push(filtered.filter.clone());
        let mut rows = Made::new(self.budget)?;
        let uncovered = self.scan(&filtered.base, of_base, Vec::new(), &mut |table| rows.add(&table))?;
        let (segment, taken) = rows.finish();
        Ok((segment, vec![taken], uncovered))
    }

    /// Reads the rows of a source that meet all conditions of the ask, with computed columns besides, batch by batch. Every
    /// batch has the time column, and a column has one type in all of them. Tells what is missing.
    fn scan(
        &self,
        source: &DataSource,
        mut ask: Ask,
        computed: Vec<VirtualColumn>,
        each: &mut dyn FnMut(Table) -> Result<()>,
    ) -> Result<Vec<Interval>> {
        let filters = ask.filters.clone();
        if let Some(columns) = &mut ask.columns {
            columns.extend(computed.iter().flat_map(|column| column.expr.columns()).map(str::to_string));
            columns.extend(filters.iter().flat_map(Filter::columns).map(str::to_string));
        }
        let of_source =
            |filter: &Filter| !computed.iter().any(|column| filter.columns().contains(&column.name.as_str()));
        ask.filters.retain(of_source);
        ask.narrow = true;
        let opened = self.open(source, &ask)?;
        let virtual_columns: Arc<[VirtualColumn]> = Arc::from(computed);
        let names: Vec<String> = match &ask.columns {
            Some(columns) => {
                let mut names: Vec<String> = vec![TIME.to_string()];
                names.extend(columns.iter().filter(|name| *name != TIME).cloned());
                names.extend(
                    virtual_columns.iter().map(|column| column.name.clone()).filter(|name| !columns.contains(name)),
                );
                names
            }
            None => Vec::new(),
        };
        let seen: Vec<Columns> = opened.pieces.iter().map(|piece| piece.columns(virtual_columns.clone())).collect();
        let mut types: HashMap<String, Option<ValueType>> = HashMap::new();
        let query = Query::Scan(Scan {
            scope: Scope {
                source: source.clone(),
                intervals: ask.intervals,
                filter: (!filters.is_empty()).then_some(Filter::And(filters)),
                virtual_columns,
                segment: None,
            },
            columns: names,
            format: ScanFormat::CompactedList,
            batch_size: BATCH_ROWS,
            limit: None,
            offset: 0,
            order: ScanOrder::None,
        });
        let mut cursor = Cursor::new(Arc::new(query), opened.pieces, self.budget.clone(), opened.held)?;
        while let Some(batch) = cursor.next_batch()? {
            let mut table = batch.table;
            for (name, value_type, _) in &mut table.columns {
                let known = types
                    .entry(name.clone())
                    .or_insert_with(|| seen.iter().find_map(|columns| columns.value_type(name)));
                if let Some(known) = known {
                    *value_type = known.clone();
                }
            }
            each(table)?;
        }
        Ok(opened.uncovered)
    }
}

/// The same query about the base of a filter, with the filter among its own, where no name means another column then.
pub fn unfiltered(query: &Arc<Query>) -> Arc<Query> {
    let mut query = query.clone();
    loop {
        let scope = query.scope();
        let DataSource::Filter(filtered) = &scope.source else { return query };
        let shadows = |column: &VirtualColumn| filtered.filter.columns().contains(&column.name.as_str());
        if scope.virtual_columns.iter().any(shadows) || matches!(*query, Query::DataSourceMetadata(_)) {
            return query;
        }
        let Filtered { base, filter } = (**filtered).clone();
        let mut new = (*query).clone();
        let scope = new.scope_mut();
        scope.source = base;
        scope.filter = Some(match scope.filter.take() {
            None => filter,
            Some(own) => Filter::And(vec![filter, own]),
        });
        query = Arc::new(new);
    }
}

/// Where the times are that are in the intervals once they are rounded.
pub fn exact_intervals(rounding: &Granularity, intervals: &[Interval]) -> Vec<Interval> {
    // A rounded time is in an interval if the time is between the first two bucket starts that are not before its ends.
    let up = |time: i64| {
        let start = rounding.floor(time);
        if start == time { time } else { rounding.next(start) }
    };
    let exact = intervals.iter().map(|i| Interval { start: up(i.start), end: up(i.end) });
    Interval::merge(&exact.filter(|interval| !interval.is_empty()).collect::<Vec<_>>())
}

/// A segment in memory as what a query is about.
fn pieces_of(segment: Segment, intervals: &[Interval]) -> Vec<Piece> {
    if segment.rows() == 0 {
        return Vec::new();
    }
    vec![Piece::whole(segment.id().clone(), Arc::new(segment), intervals.to_vec())]
}

/// Refuses more rows, or more bytes, than an inner source may have.
fn count(rows: u64, bytes: usize, budget: &Budget) -> Result<()> {
    if rows > budget.subquery_rows_max() {
        return Err(Error::ResourceLimit(format!(
            "the inner query gives more than [{}] rows; narrow it, or raise maxSubqueryRows",
            budget.subquery_rows_max()
        )));
    }
    match budget.subquery_bytes_max() {
        Some(most) if bytes as u64 > most => Err(Error::ResourceLimit(format!(
            "the inner query gives more than [{most}] bytes; narrow it, or raise maxSubqueryBytes"
        ))),
        _ => budget.check(),
    }
}

/// The rows of an inner query as a segment.
fn answered(rows: Rows, budget: &Arc<Budget>) -> Result<(Segment, Taken)> {
    let mut made = Made::new(budget)?;
    let mut add = |table: &Table| -> Result<()> {
        count(made.rows() as u64 + table.rows as u64, made.bytes(), budget)?;
        made.add(table)?;
        count(made.rows() as u64, made.bytes(), budget)
    };
    match rows {
        Rows::Table(table) => add(&table)?,
        Rows::Cursor(mut cursor) => {
            while let Some(batch) = cursor.next_batch()? {
                add(&batch.table)?;
            }
        }
        Rows::Stream { mut batches, runtime, .. } => {
            while let Some(batch) = runtime.block_on(batches.next()) {
                add(&batch?.table)?;
            }
        }
        Rows::Analyses(_) => {
            return Err(Error::Unsupported("dataSource.query: segmentMetadata cannot be queried".into()));
        }
    }
    Ok(made.finish())
}

fn inline_segment(inline: &Inline, budget: &Arc<Budget>) -> Result<(Segment, Taken)> {
    let mut table = Table { rows: inline.rows.len(), columns: Vec::new() };
    for (i, (name, value_type)) in inline.columns.iter().enumerate() {
        let values: Vec<Value> = inline.rows.iter().map(|row| row[i].clone()).collect();
        let value_type = value_type.clone().unwrap_or_else(|| type_of(&values));
        let block = Block::Any { values };
        let block = if name == TIME { crate::columns::cast(block, &ValueType::Long) } else { block };
        table.columns.push((name.clone(), value_type, block));
    }
    let mut made = Made::new(budget)?;
    made.add(&table)?;
    Ok(made.finish())
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
