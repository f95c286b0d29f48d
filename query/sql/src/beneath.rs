//! Aggregates below an outer join: where each row of a table meets at most one of a few others, as in the series limits of
//! dashboards that keep what is not among the top as one series.
//!
//! What is counted above such a join is counted below it first, by the keys of the join and by whatever the groups take of
//! the table. The join then meets one row for each of these, and the counts are added up above it. Sums, counts, least and
//! greatest values alone are put together so.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result as DfResult};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, Join, LogicalPlan, Projection, cast, lit, when};

use crate::leaves::{Leaf, node};
use crate::lower::unaliased;
use crate::semi::has_each_once;
use crate::wrappers::{below, peel};

/// The aggregate as one over the partial ones of a leaf, if it can be; `leaf` makes a leaf of an aggregate.
pub fn beneath(
    aggregate: &Aggregate,
    leaf: impl Fn(&Aggregate) -> DfResult<Option<Leaf>>,
) -> DfResult<Option<LogicalPlan>> {
    let (wrappers, LogicalPlan::Join(join)) = peel(&aggregate.input) else { return Ok(None) };
    let [(Expr::Column(kept), Expr::Column(other))] = join.on.as_slice() else { return Ok(None) };
    let once = join.right.schema().maybe_index_of_column(other).is_some_and(|field| has_each_once(&join.right, field));
    if aggregate.group_expr.is_empty()
        || matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)])
        || join.join_type != JoinType::Left
        || join.filter.is_some()
        || !once
    {
        return Ok(None);
    }
    let mut keys = vec![Expr::Column(kept.clone())];
    let mut groups = Vec::with_capacity(aggregate.group_expr.len());
    for group in &aggregate.group_expr {
        let group = below(group.clone(), &wrappers)?.unalias_nested().data;
        groups.push(over_keys(group, join, &mut keys)?);
    }
    let mut partials = Vec::with_capacity(aggregate.aggr_expr.len());
    let mut sums = Vec::with_capacity(aggregate.aggr_expr.len());
    for expr in &aggregate.aggr_expr {
        let expr = unaliased(&below(expr.clone(), &wrappers)?).clone();
        let Some(sum) = adding_up(&expr).filter(|_| is_of(&expr, join.left.schema())) else { return Ok(None) };
        sums.push(sum.call(vec![named(&expr)]));
        if !partials.contains(&expr) {
            partials.push(expr);
        }
    }
    let partial = Aggregate::try_new(join.left.clone(), keys, partials)?;
    let Some(leaf) = leaf(&partial)? else { return Ok(None) };
    let joined = Join::try_new(
        Arc::new(node(leaf)),
        join.right.clone(),
        join.on.clone(),
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let whole = Aggregate::try_new(Arc::new(LogicalPlan::Join(joined)), groups, sums)?;
    restored(whole, aggregate).map(Some)
}

/// The function that makes one value of partial ones.
fn adding_up(expr: &Expr) -> Option<Arc<AggregateUDF>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
    if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return None;
    }
    match func.name() {
        "count" => Some(sum_udaf()),
        "sum" | "min" | "max" => Some(func.clone()),
        _ => None,
    }
}

fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    expr.column_refs().into_iter().all(|column| schema.maybe_index_of_column(column).is_some())
}

/// The column that holds an expression once it was computed.
fn named(expr: &Expr) -> Expr {
    match expr {
        Expr::Column(_) => expr.clone(),
        computed => Expr::Column(Column::new_unqualified(computed.schema_name().to_string())),
    }
}

/// An expression over the join with what it takes of the table computed below, as a key.
fn over_keys(expr: Expr, join: &Join, keys: &mut Vec<Expr>) -> DfResult<Expr> {
    let changed = expr.transform_down(|part| {
        if part.column_refs().is_empty() || is_of(&part, join.right.schema()) {
            return Ok(Transformed::new(part, false, TreeNodeRecursion::Jump));
        }
        if !is_of(&part, join.left.schema()) {
            return Ok(Transformed::no(part));
        }
        let column = named(&part);
        if !keys.contains(&part) {
            keys.push(part);
        }
        Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
    })?;
    Ok(changed.data)
}

/// The columns of the aggregate that was there, by name and type. A count has a row below for each group it counts.
fn restored(whole: Aggregate, before: &Aggregate) -> DfResult<LogicalPlan> {
    let mut columns = Vec::with_capacity(before.schema.fields().len());
    for (nth, (qualifier, field)) in before.schema.iter().enumerate() {
        let mut column = Expr::from(whole.schema.qualified_field(nth));
        if whole.schema.field(nth).data_type() != field.data_type() {
            column = cast(column, field.data_type().clone());
        }
        if !field.is_nullable() && *field.data_type() == DataType::Int64 {
            column = when(column.clone().is_not_null(), column).otherwise(lit(0i64))?;
        }
        columns.push(column.alias_qualified(qualifier.cloned(), field.name()));
    }
    let input = Arc::new(LogicalPlan::Aggregate(whole));
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns, input, before.schema.clone())?))
}
