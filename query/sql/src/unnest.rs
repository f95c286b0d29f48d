//! `FROM t, UNNEST(t.list) AS u(c)`: a join whose right side reads the left one, which DataFusion plans and cannot run.
//! It becomes an unnesting of the left side itself: every row of it once for each value of its list.
//!
//! An inner join drops rows whose list is null or empty, unless it is that of a multi-value string, a left join keeps
//! them with a null.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullHandling, Result as DfResult, UnnestOptions};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder};

/// The plan without such joins.
pub fn flatten(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        Ok(match of_join(join)? {
            Some(new) => Transformed::yes(new),
            None => Transformed::no(plan),
        })
    })
    .map(|changed| changed.data)
}

fn of_join(join: &Join) -> DfResult<Option<LogicalPlan>> {
    let kept = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    let Some(list) = unnested(&join.right) else { return Ok(None) };
    let [field] = join.right.schema().fields().as_ref() else { return Ok(None) };
    if !join.on.is_empty() || !reads_outside(list) {
        return Ok(None);
    }
    let left = join.left.as_ref();
    let list = list
        .clone()
        .transform(|part| {
            Ok(match part {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                part => Transformed::no(part),
            })
        })?
        .data;
    // A multi-value string without values is a null, an array without values is nothing.
    let expands = kept || matches!(&list, Expr::ScalarFunction(function) if function.name() == "mv_to_array");
    // No column of a statement has such a name, and a second unnesting over this one gets another.
    let name = format!("unnest({})", left.schema().fields().len());
    let mut outputs: Vec<Expr> = left.schema().iter().map(Expr::from).collect();
    let mut inputs = outputs.clone();
    inputs.push(list.alias(&name));
    let (qualifier, _) = join.right.schema().qualified_field(0);
    outputs.push(Expr::Column(Column::from_name(&name)).alias_qualified(qualifier.cloned(), field.name()));
    let null_handling = if expands { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let options = UnnestOptions { null_handling, ..UnnestOptions::default() };
    let builder = LogicalPlanBuilder::from(left.clone())
        .project(inputs)?
        .unnest_column_with_options(Column::from_name(&name), options)?
        .project(outputs)?;
    let builder = match &join.filter {
        Some(filter) if !kept => builder.filter(filter.clone())?,
        Some(Expr::Literal(..)) | None => builder,
        Some(_) => return Ok(None),
    };
    builder.build().map(Some)
}

/// The list that the right side unnests, if it does nothing else.
fn unnested(plan: &LogicalPlan) -> Option<&Expr> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => unnested(&alias.input),
        LogicalPlan::Subquery(subquery) => unnested(&subquery.subquery),
        LogicalPlan::Projection(projection) if projection.expr.len() == 1 => unnested(&projection.input),
        LogicalPlan::Unnest(unnest) => match unnest.input.as_ref() {
            LogicalPlan::Projection(projection) if projection.expr.len() == 1 => match projection.input.as_ref() {
                LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => projection.expr.first(),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn reads_outside(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(..)))).unwrap_or(false)
}
