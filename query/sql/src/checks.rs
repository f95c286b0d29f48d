//! What Druid refuses because it would not mean what the writer thinks: said here before the plan is optimised, with the
//! types that do not fit, where DataFusion would answer something.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use crate::convert::DOCUMENT;
use crate::functions::sql_name;

/// Aggregates of which arrays have no value: an array is not a set of values, and has no size to compare by.
const OF_SCALARS: [&str; 9] = [
    "min",
    "max",
    "sum",
    "avg",
    "approx_count_distinct",
    "approx_count_distinct_builtin",
    "approx_count_distinct_ds_hll",
    "approx_count_distinct_ds_theta",
    "approx_quantile_ds",
];

/// Refuses calls of `LOOKUP` that name a lookup which does not pass: what DataFusion computes knows no caller.
pub fn lookups(plan: &LogicalPlan, passes: &dyn Fn(&str) -> bool) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.name().eq_ignore_ascii_case("lookup")
                {
                    let name = call.args.get(1).and_then(literal);
                    if !name.as_deref().is_some_and(passes) {
                        let name = name.unwrap_or_default();
                        return Err(DataFusionError::Plan(format!("lookup [{name}] is not found")));
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// The text of a literal, cast or not.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_string),
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

pub fn check(plan: &LogicalPlan) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            let schemas = [join.left.schema(), join.right.schema()];
            let mut sides = join.on.iter().flat_map(|(left, right)| [(left, schemas[0]), (right, schemas[1])]);
            let mut documents = sides.any(|(side, schema)| is_document(side, schema));
            if let Some(filter) = &join.filter {
                documents |= filter.exists(|part| {
                    Ok(matches!(part, Expr::BinaryExpr(equality) if equality.op == Operator::Eq
                        && is_document(&equality.left, &join.schema)))
                })?;
            }
            if documents {
                return Err(DataFusionError::Plan(format!(
                    "Cannot join when the join condition has column of type [{}]; take a value out of the document with \
                     JSON_VALUE",
                    sql_name(&DOCUMENT)
                )));
            }
        }
        if let LogicalPlan::Aggregate(aggregate) = node {
            for expr in &aggregate.aggr_expr {
                expr.apply(|part| {
                    if let Expr::AggregateFunction(function) = part {
                        aggregate_of_scalars(function, aggregate.input.schema())?;
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

fn is_document(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|of| of == DOCUMENT)
}

fn aggregate_of_scalars(function: &AggregateFunction, schema: &DFSchema) -> DfResult<()> {
    let name = function.func.name();
    let Some(first) = function.params.args.first() else { return Ok(()) };
    if !OF_SCALARS.contains(&name) {
        return Ok(());
    }
    match first.get_type(schema) {
        Ok(of @ DataType::List(_)) => {
            let name = name.to_ascii_uppercase();
            Err(DataFusionError::Plan(format!(
                "Cannot apply '{name}' to arguments of type '{name}(<{}>)'; UNNEST the array to aggregate its values",
                sql_name(&of)
            )))
        }
        _ => Ok(()),
    }
}
