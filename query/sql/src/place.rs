//! Where leaves stand in a plan: the largest parts that the native engine answers as a whole.
//!
//! They are placed after DataFusion has optimised, so literals are folded, filters stand at the tables and limits at the
//! sorts. From the top of the plan down these are replaced:
//!
//! 1. `Sort(Projection* (Aggregate (base)))` whose keys are columns of the aggregate by a leaf with order and limit;
//! 2. `Limit(Projection* (Aggregate (base)))` by a leaf with the limit, kept for what it skips;
//! 3. `Aggregate(base)` by a group leaf; one over an outer join by one over a group leaf below it ([`crate::beneath`]);
//! 4. `Sort(Projection* (table))` by `__time` by a scan leaf in time order;
//! 5. `x IN (SELECT …)` over a table by a scan leaf that takes the values first;
//! 6. every table that is left by a scan leaf,
//!
//! where base is `(Filter | Projection | SubqueryAlias | semi-join)* table`. A part is replaced only if every expression in it
//! translates ([`crate::lower`]); what stays above is DataFusion's.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, JoinType, Result as DfResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Aggregate, Expr, FetchType, GroupingSet, Join, Limit, LogicalPlan, SkipType, Sort, SortExpr, TableScan,
};
use segment::Interval;
use segment::schema::{TIME, ValueType};
use serde_json::{Value as Json, json};

use crate::beneath::beneath;
use crate::expansion;
use crate::leaves::{Leaf, Output, Parts, Shape, Table, node};
use crate::lower::{self, Lower, value_type};
use crate::semi::{self, Choice, Semi};
use crate::wrappers::{below, peel, wrap};

/// Puts the leaves into an optimised plan. With `push_down` off tables become bare scans and DataFusion does all else.
pub fn place(plan: LogicalPlan, push_down: bool) -> DfResult<LogicalPlan> {
    let placed = plan.transform_down_with_subqueries(|plan| {
        let new = match &plan {
            LogicalPlan::Sort(sort) if push_down => ordered(sort)?,
            LogicalPlan::Limit(limit) if push_down => limited(limit)?,
            LogicalPlan::Aggregate(aggregate) if push_down => match group(aggregate)? {
                Some(leaf) => Some(node(leaf)),
                None => beneath(aggregate, group)?,
            },
            LogicalPlan::Join(join) if push_down => among(join)?.map(node),
            LogicalPlan::TableScan(table) if table_of(table).is_some() => Some(node(scan_or_tell(table)?)),
            _ => None,
        };
        Ok(match new {
            Some(new) => Transformed::yes(new),
            None => Transformed::no(plan),
        })
    })?;
    expansion::check_planned(&placed.data)?;
    Ok(placed.data)
}

fn table_of(scan: &TableScan) -> Option<&Table> {
    scan.source.downcast_ref::<Table>()
}

fn ordered(sort: &Sort) -> DfResult<Option<LogicalPlan>> {
    let (wrappers, inner) = peel(&sort.input);
    let limit = sort.fetch.map(|fetch| fetch as u64);
    let keys = |wrappers: &[&LogicalPlan]| -> DfResult<Vec<(Expr, bool)>> {
        let mut keys = Vec::with_capacity(sort.expr.len());
        for SortExpr { expr, asc, nulls_first } in &sort.expr {
            // Nulls are the smallest values of the engine; an order that says otherwise is not its own.
            if asc != nulls_first {
                return Ok(Vec::new());
            }
            keys.push((below(expr.clone(), wrappers)?, !asc));
        }
        Ok(keys)
    };
    if limit == Some(0) {
        return Ok(None);
    }
    match inner {
        LogicalPlan::Aggregate(aggregate) if !has_sets(aggregate) => {
            let keys = keys(&wrappers)?;
            if keys.is_empty() {
                return Ok(None);
            }
            let mut positions = Vec::with_capacity(keys.len());
            for (key, descending) in keys {
                let Expr::Column(column) = key else { return Ok(None) };
                positions.push((aggregate.schema.index_of_column(&column)?, descending));
            }
            let Some(leaf) = group(aggregate)? else { return Ok(None) };
            let order = positions.into_iter().map(|(idx, desc)| (leaf.parts_name(idx), desc)).collect();
            match leaf.limited(order, limit) {
                Some(leaf) => Ok(Some(wrap(&wrappers, node(leaf))?)),
                None => Ok(None),
            }
        }
        LogicalPlan::TableScan(table) if table_of(table).is_some() && table.fetch.is_none() => {
            let descending = match keys(&wrappers)?.as_slice() {
                [(Expr::Column(column), descending)] if column.name == TIME => *descending,
                _ => return Ok(None),
            };
            match scan(table, Some(descending), limit)? {
                Some(leaf) => Ok(Some(wrap(&wrappers, node(leaf))?)),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn limited(limit: &Limit) -> DfResult<Option<LogicalPlan>> {
    let (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) = (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Ok(None);
    };
    let rows = (skip as u64).saturating_add(fetch as u64);
    let (wrappers, inner) = peel(&limit.input);
    let leaf = match inner {
        _ if rows == 0 => None,
        LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() && !has_sets(aggregate) => {
            group(aggregate)?.and_then(|leaf| leaf.limited(Vec::new(), Some(rows)))
        }
        LogicalPlan::TableScan(table) => {
            let fetch = table.fetch.map_or(u64::MAX, |fetch| fetch as u64);
            scan(table, None, Some(rows.min(fetch)))?
        }
        _ => None,
    };
    let Some(leaf) = leaf else { return Ok(None) };
    let input = wrap(&wrappers, node(leaf))?;
    Ok(Some(LogicalPlan::Limit(Limit { skip: limit.skip.clone(), fetch: limit.fetch.clone(), input: Arc::new(input) })))
}

/// What an aggregate is over.
struct Base<'a> {
    table: &'a TableScan,
    conditions: Vec<Expr>,
    /// Keys that are to be among the values of a column of a plan.
    choices: Vec<(Expr, &'a LogicalPlan, usize)>,
    /// Outermost first.
    wrappers: Vec<&'a LogicalPlan>,
}

/// The table at the bottom, with all that stands on the way.
fn base(plan: &LogicalPlan) -> DfResult<Option<Base<'_>>> {
    let mut wrappers: Vec<&LogicalPlan> = Vec::new();
    let mut conditions: Vec<(Expr, usize)> = Vec::new();
    let mut choices: Vec<(Expr, &LogicalPlan, usize, usize)> = Vec::new();
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Filter(filter) => {
                conditions.push((filter.predicate.clone(), wrappers.len()));
                at = &filter.input;
            }
            LogicalPlan::Projection(projection) => {
                wrappers.push(at);
                at = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => {
                wrappers.push(at);
                at = &alias.input;
            }
            LogicalPlan::TableScan(scan) if table_of(scan).is_some() && scan.fetch.is_none() => {
                let mut all = Vec::with_capacity(conditions.len());
                for (condition, above) in conditions {
                    all.push(below(condition, &wrappers[above..])?);
                }
                let mut chosen = Vec::with_capacity(choices.len());
                for (key, values, field, above) in choices {
                    chosen.push((below(key, &wrappers[above..])?, values, field));
                }
                return Ok(Some(Base { table: scan, conditions: all, choices: chosen, wrappers }));
            }
            // Columns of the values do not translate, so nothing of them is used above.
            LogicalPlan::Join(join) => {
                let Some(choice) =
                    semi::choices(join)?.into_iter().find(|choice| base(choice.kept).is_ok_and(|b| b.is_some()))
                else {
                    return Ok(None);
                };
                choices.push((choice.key.clone(), choice.values, choice.field, wrappers.len()));
                at = choice.kept;
            }
            _ => return Ok(None),
        }
    }
}

/// Conditions split into intervals and the filter for the rest; `None` if one does not translate.
fn narrowed(lower: &mut Lower<'_>, conditions: &[Expr]) -> Option<(Vec<Interval>, Option<Json>)> {
    let mut intervals = vec![Interval::ETERNITY];
    let mut filters = Vec::new();
    for condition in conditions {
        for part in datafusion::logical_expr::utils::split_conjunction(condition) {
            match lower::intervals(part) {
                Some(allowed) => intervals = lower::intersect(&intervals, &allowed),
                None => filters.push(lower.filter(part)?),
            }
        }
    }
    let filter = match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(json!({"type": "and", "fields": filters})),
    };
    Some((intervals, filter))
}

fn qualified(scan: &TableScan) -> DfResult<DFSchema> {
    DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
}

fn scan(scan: &TableScan, order: Option<bool>, limit: Option<u64>) -> DfResult<Option<Leaf>> {
    scan_among(scan, order, limit, Vec::new())
}

/// `x IN (SELECT …)` over a table.
fn among(join: &Join) -> DfResult<Option<Leaf>> {
    if !matches!(join.join_type, JoinType::LeftSemi | JoinType::RightSemi) {
        return Ok(None);
    }
    for Choice { kept, key, values, field } in semi::choices(join)? {
        if let LogicalPlan::TableScan(table) = kept {
            return scan_among(table, None, None, vec![(key.clone(), values, field)]);
        }
    }
    Ok(None)
}

/// The choices as a leaf makes them; `None` if a key does not translate.
fn chosen(lower: &mut Lower<'_>, choices: Vec<(Expr, &LogicalPlan, usize)>) -> DfResult<Option<Vec<Semi>>> {
    let mut semis = Vec::with_capacity(choices.len());
    for (key, values, field) in choices {
        let Some((column, of)) = lower.named(&key) else { return Ok(None) };
        let same = value_type(values.schema().field(field).data_type()).as_ref() == Some(&of);
        if !same || !matches!(of, ValueType::String | ValueType::Long) {
            return Ok(None);
        }
        let values = Arc::new(place(values.clone(), true)?);
        semis.push(Semi { column, value_type: of, values, field });
    }
    Ok(Some(semis))
}

/// The scan of a table that nothing else can read: if it is none, why.
fn scan_or_tell(scan: &TableScan) -> DfResult<Leaf> {
    let refused = |why: String| DataFusionError::Plan(format!("table {} cannot be scanned: {why}", scan.table_name));
    let (Some(table), Some((parts, outputs))) = (table_of(scan), scan_parts(scan, None, None, Vec::new())?) else {
        return Err(refused("a condition on it has no native form".to_string()));
    };
    Leaf::made(&table.names, parts, scan.projected_schema.clone(), outputs).map_err(|error| refused(error.to_string()))
}

fn scan_among(
    scan: &TableScan,
    order: Option<bool>,
    limit: Option<u64>,
    choices: Vec<(Expr, &LogicalPlan, usize)>,
) -> DfResult<Option<Leaf>> {
    let Some(table) = table_of(scan) else { return Ok(None) };
    let parts = scan_parts(scan, order, limit, choices)?;
    Ok(parts.and_then(|(parts, outputs)| Leaf::new(&table.names, parts, scan.projected_schema.clone(), outputs)))
}

fn scan_parts(
    scan: &TableScan,
    order: Option<bool>,
    limit: Option<u64>,
    choices: Vec<(Expr, &LogicalPlan, usize)>,
) -> DfResult<Option<(Parts, Vec<Output>)>> {
    let schema = qualified(scan)?;
    let mut lower = Lower::new(&schema);
    let Some((intervals, filter)) = narrowed(&mut lower, &scan.filters) else { return Ok(None) };
    let Some(semis) = chosen(&mut lower, choices)? else { return Ok(None) };
    let outputs: Vec<Output> = scan
        .projected_schema
        .fields()
        .iter()
        .map(|field| Output { name: field.name().clone(), data_type: field.data_type().clone() })
        .collect();
    let mut columns: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
    // No column at all would mean every column; rows are counted by their time.
    if columns.is_empty() || (order.is_some() && !columns.iter().any(|column| column == TIME)) {
        columns.push(TIME.to_string());
    }
    let fetch = scan.fetch.map(|fetch| fetch as u64);
    let parts = Parts {
        intervals: if fetch == Some(0) { Vec::new() } else { intervals },
        filter,
        virtual_columns: lower.virtual_columns(),
        semis,
        kind: Shape::Scan { columns, order },
        limit: limit.or(fetch).filter(|limit| *limit > 0),
    };
    Ok(Some((parts, outputs)))
}

/// The output of a leaf that tells its grouping sets apart.
const GROUPING_ID: &str = "g";

/// A native query orders and limits each grouping set for itself.
fn has_sets(aggregate: &Aggregate) -> bool {
    matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)])
}

/// More sets than this are left to DataFusion.
const SETS_MAX: usize = 256;

/// The sets as places among the distinct keys; `None` if one comes twice or they are too many.
fn grouping_sets(set: &GroupingSet) -> Option<Vec<Vec<usize>>> {
    let keys = set.distinct_expr();
    let sets: Vec<Vec<usize>> = match set {
        GroupingSet::Rollup(_) => (0..=keys.len()).rev().map(|count| (0..count).collect()).collect(),
        GroupingSet::Cube(_) if keys.len() > SETS_MAX.ilog2() as usize => return None,
        GroupingSet::Cube(_) => {
            let of = |mask: usize| (0..keys.len()).filter(|at| mask & (1 << at) != 0).collect();
            (0..1 << keys.len()).rev().map(of).collect()
        }
        GroupingSet::GroupingSets(sets) => {
            let place = |key: &Expr| keys.iter().position(|known| *known == key);
            sets.iter().map(|set| set.iter().map(place).collect()).collect::<Option<_>>()?
        }
    };
    let distinct = sets.iter().enumerate().all(|(idx, set)| !sets[..idx].contains(set));
    (distinct && sets.len() <= SETS_MAX).then_some(sets)
}

fn group(aggregate: &Aggregate) -> DfResult<Option<Leaf>> {
    let Some(Base { table: scan, mut conditions, choices, wrappers }) = base(&aggregate.input)? else {
        return Ok(None);
    };
    let Some(table) = table_of(scan) else { return Ok(None) };
    conditions.extend(scan.filters.iter().cloned());
    let schema = qualified(scan)?;
    let mut lower = Lower::new(&schema);
    let Some((intervals, filter)) = narrowed(&mut lower, &conditions) else { return Ok(None) };
    let Some(semis) = chosen(&mut lower, choices)? else { return Ok(None) };
    let fields = aggregate.schema.fields();
    let (keys, sets) = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(set)] => match grouping_sets(set) {
            Some(sets) => (set.distinct_expr(), Some(sets)),
            None => return Ok(None),
        },
        keys => (keys.iter().collect(), None),
    };
    let first_aggregate = keys.len() + usize::from(sets.is_some());
    if fields.len() != first_aggregate + aggregate.aggr_expr.len() {
        return Ok(None);
    }
    let mut outputs = Vec::with_capacity(fields.len());
    let mut dimensions = Vec::with_capacity(keys.len());
    let mut bucket = None;
    for (idx, key) in keys.iter().enumerate() {
        let key = below((*key).clone(), &wrappers)?;
        if keys.len() == 1 && sets.is_none() {
            bucket = lower::time_bucket(&key);
        }
        let Some((column, value_type)) = lower.named(&key) else { return Ok(None) };
        let data_type = fields[idx].data_type().clone();
        if lower::value_type(&data_type).as_ref() != Some(&value_type) {
            return Ok(None);
        }
        let name = format!("d{idx}");
        dimensions.push(json!({"type": "default", "dimension": column, "outputName": name,
            "outputType": value_type.druid_name()}));
        outputs.push(Output { name, data_type });
    }
    if sets.is_some() {
        outputs.push(Output { name: GROUPING_ID.to_string(), data_type: fields[keys.len()].data_type().clone() });
    }
    let sets = sets.map(|sets| (sets, GROUPING_ID.to_string()));
    let (mut aggregates, mut posts, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (idx, expr) in aggregate.aggr_expr.iter().enumerate() {
        let expr = below(expr.clone(), &wrappers)?;
        let name = format!("a{idx}");
        let Some((json, post)) = lower.aggregate(&expr, &name) else { return Ok(None) };
        empty.push(lower.empty(&expr));
        let output = match &post {
            Some(post) => post["name"].as_str().unwrap_or_default().to_string(),
            None => name,
        };
        aggregates.push(json);
        posts.extend(post);
        let data_type = fields[first_aggregate + idx].data_type().clone();
        if value_type(&data_type).is_none() && data_type != DataType::Binary {
            return Ok(None);
        }
        outputs.push(Output { name: output, data_type });
    }
    // The bucket is the granularity; its virtual column serves when another order asks for a groupBy.
    let parts = Parts {
        intervals,
        filter,
        virtual_columns: lower.virtual_columns(),
        semis,
        kind: Shape::Group { dimensions, bucket, aggregates, posts, order: Vec::new(), empty, sets },
        limit: None,
    };
    Ok(Leaf::new(&table.names, parts, aggregate.schema.clone(), outputs))
}
