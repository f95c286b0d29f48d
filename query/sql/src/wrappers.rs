//! Projections and aliases: what stands in a plan between the nodes that do something to rows. They are looked through, and put
//! around what takes the place of what they wrapped.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SubqueryAlias};

/// The nodes between a sort or limit and what it is about.
pub fn peel(plan: &LogicalPlan) -> (Vec<&LogicalPlan>, &LogicalPlan) {
    let mut wrappers = Vec::new();
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Projection(projection) => {
                wrappers.push(at);
                at = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => {
                wrappers.push(at);
                at = &alias.input;
            }
            _ => return (wrappers, at),
        }
    }
}

/// The wrappers around another plan with the same columns.
pub fn wrap(wrappers: &[&LogicalPlan], inner: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut plan = inner;
    for wrapper in wrappers.iter().rev() {
        plan = match wrapper {
            LogicalPlan::Projection(projection) => LogicalPlan::Projection(Projection::try_new_with_schema(
                projection.expr.clone(),
                Arc::new(plan),
                projection.schema.clone(),
            )?),
            LogicalPlan::SubqueryAlias(alias) => {
                LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?)
            }
            _ => return Err(DataFusionError::Internal("only projections and aliases are peeled".into())),
        };
    }
    Ok(plan)
}

/// An expression over the schema of `plan`, said over the schema of what stands below its wrappers.
pub fn below(expr: Expr, wrappers: &[&LogicalPlan]) -> DfResult<Expr> {
    let mut expr = expr;
    for wrapper in wrappers {
        expr = expr
            .transform_down(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                Ok(match wrapper {
                    LogicalPlan::Projection(projection) => {
                        // A column of what rows are chosen by is none of the table's, and translates to nothing.
                        let Some(idx) = projection.schema.maybe_index_of_column(column) else {
                            return Ok(Transformed::no(part));
                        };
                        Transformed::new(
                            projection.expr[idx].clone().unalias_nested().data,
                            true,
                            TreeNodeRecursion::Jump,
                        )
                    }
                    LogicalPlan::SubqueryAlias(alias) => {
                        let Some(idx) = alias.schema.maybe_index_of_column(column) else {
                            return Ok(Transformed::no(part));
                        };
                        Transformed::yes(Expr::from(alias.input.schema().qualified_field(idx)))
                    }
                    _ => Transformed::no(part),
                })
            })?
            .data;
    }
    Ok(expr)
}
