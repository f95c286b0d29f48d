//! Joins that only choose rows: `x IN (SELECT …)`, and a join with a subquery that has each value once of which no
//! column is used. The query on one side is left as it is, narrowed by the values of the other, which are asked for
//! first.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Distinct, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when};
use segment::schema::ValueType;
use serde_json::{Value as Json, json};

use crate::leaves::leaf_of;

/// The rows of a leaf whose value is among those that a plan gives.
#[derive(Debug, Clone)]
pub struct Semi {
    /// A column of the leaf, real or virtual.
    pub column: String,
    pub value_type: ValueType,
    /// Placed already.
    pub values: Arc<LogicalPlan>,
    /// The column of `values`.
    pub field: usize,
}

/// A join seen as a choice of the rows of its kept side.
pub struct Choice<'a> {
    pub kept: &'a LogicalPlan,
    /// Over `kept`.
    pub key: &'a Expr,
    pub values: &'a LogicalPlan,
    pub field: usize,
}

/// The plan with each value of `IN (SELECT …)` asked for once: a join that pairs rows would meet every repetition. One
/// that is not a condition of its own is told apart from what is unknown, which the join that it becomes does not do.
pub fn each_once(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return node.map_expressions(|expr| once(expr, false)) };
        let parts = split_conjunction_owned(filter.predicate.clone());
        let parts: Vec<Transformed<Expr>> = parts.into_iter().map(|part| once(part, true)).collect::<DfResult<_>>()?;
        if !parts.iter().any(|part| part.transformed) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let Some(predicate) = conjunction(parts.into_iter().map(|part| part.data)) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        Filter::try_new(predicate, filter.input).map(|filter| Transformed::yes(LogicalPlan::Filter(filter)))
    })
    .map(|changed| changed.data)
}

fn once(expr: Expr, condition: bool) -> DfResult<Transformed<Expr>> {
    if let Expr::InSubquery(choice) = expr {
        let choice = distinct(choice);
        return if condition {
            Ok(choice.update_data(Expr::InSubquery))
        } else {
            known(choice.data).map(Transformed::yes)
        };
    }
    expr.transform_up(|part| match part {
        Expr::InSubquery(choice) => known(distinct(choice).data).map(Transformed::yes),
        part => Ok(Transformed::no(part)),
    })
}

fn distinct(mut choice: InSubquery) -> Transformed<InSubquery> {
    let values = &choice.subquery;
    let may_repeat = values.outer_ref_columns.is_empty() && !has_each_once(&values.subquery, 0);
    if may_repeat {
        choice.subquery.subquery = Arc::new(LogicalPlan::Distinct(Distinct::All(choice.subquery.subquery)));
    }
    Transformed::new_transformed(choice, may_repeat)
}

/// Unknown where the value is none of the others but it, or one of them, is null.
fn known(choice: InSubquery) -> DfResult<Expr> {
    if !choice.subquery.outer_ref_columns.is_empty() {
        return Ok(Expr::InSubquery(choice));
    }
    let InSubquery { expr, mut subquery, negated } = choice;
    // The join's maker takes a column without a qualifier for two: for that of the values, and of the join's right side.
    let named = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias("$values")?.build()?;
    subquery.subquery = Arc::new(named);
    let exists = |plan: LogicalPlan| {
        let subquery = Subquery { subquery: Arc::new(plan), ..subquery.clone() };
        Expr::Exists(Exists { subquery, negated: false })
    };
    let values = || LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
    let value = Expr::Column(Column::from((qualifier, field)));
    let a_null = exists(values().filter(value.is_null())?.limit(0, Some(1))?.build()?);
    let any = exists(values().limit(0, Some(1))?.build()?);
    let unknown = a_null.or(expr.as_ref().clone().is_null().and(any));
    let is_in = Expr::InSubquery(InSubquery { expr, subquery: subquery.clone(), negated: false });
    when(is_in, lit(!negated)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(negated))
}

/// The choices that a join may be seen as, given that no column of the other side is used above it.
pub fn choices(join: &Join) -> DfResult<Vec<Choice<'_>>> {
    let [(left, right)] = join.on.as_slice() else { return Ok(Vec::new()) };
    if join.filter.is_some() || join.null_equality == NullEquality::NullEqualsNull {
        return Ok(Vec::new());
    }
    let place = |plan: &LogicalPlan, key: &Expr| match key {
        Expr::Column(column) => plan.schema().maybe_index_of_column(column),
        _ => None,
    };
    let mut found = Vec::new();
    if matches!(join.join_type, JoinType::LeftSemi | JoinType::Inner)
        && let Some(field) = place(&join.right, right)
        && (join.join_type == JoinType::LeftSemi || has_each_once(&join.right, field))
    {
        found.push(Choice { kept: &join.left, key: left, values: &join.right, field });
    }
    if matches!(join.join_type, JoinType::RightSemi | JoinType::Inner)
        && let Some(field) = place(&join.left, left)
        && (join.join_type == JoinType::RightSemi || has_each_once(&join.left, field))
    {
        found.push(Choice { kept: &join.right, key: right, values: &join.left, field });
    }
    Ok(found)
}

/// Whether a column holds no value twice: it is the only key of an aggregate, or of one that has no key and so one row.
pub fn has_each_once(plan: &LogicalPlan, field: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr[field].clone().unalias_nested().data {
            Expr::Column(column) => projection
                .input
                .schema()
                .maybe_index_of_column(&column)
                .is_some_and(|field| has_each_once(&projection.input, field)),
            _ => false,
        },
        LogicalPlan::SubqueryAlias(alias) => has_each_once(&alias.input, field),
        LogicalPlan::Distinct(Distinct::All(input)) => input.schema().fields().len() == 1,
        LogicalPlan::Sort(sort) => has_each_once(&sort.input, field),
        LogicalPlan::Limit(limit) => has_each_once(&limit.input, field),
        LogicalPlan::Filter(filter) => has_each_once(&filter.input, field),
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [] => true,
            [key] => field == 0 && !matches!(key, Expr::GroupingSet(_)),
            _ => false,
        },
        _ => false,
    }
}

impl Semi {
    /// A data source as Druid would show it: joined with the query of the values.
    pub fn shown(&self, source: Json, nth: usize) -> Json {
        let mut plan = self.values.as_ref();
        let right = loop {
            if let Some(leaf) = leaf_of(plan) {
                break json!({"type": "query", "query": leaf.json});
            }
            match plan.inputs()[..] {
                [input] => plan = input,
                _ => break json!({"type": "query"}),
            }
        };
        let prefix = format!("j{nth}.");
        let name = self.values.schema().field(self.field).name();
        json!({"type": "join", "left": source, "right": right, "rightPrefix": prefix,
            "condition": format!("(\"{}\" == \"{prefix}{name}\")", self.column), "joinType": "INNER"})
    }
}
