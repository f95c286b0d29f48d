//! How large the expressions of a plan become once everything they stand for is written out.
//!
//! Planning puts expressions in each other's places: a condition moves below the projections it is about, short lists
//! and `COALESCE` become comparisons and cases that name their subject several times, some functions use an argument
//! more than once. Nested in each other these double at every level, so that a short text stands for more than a memory
//! can hold. The size is reckoned before anything is written out, and such statements are refused.

use std::cell::Cell;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Result};

/// Parts of an expression, written out. What a dashboard sends has hundreds.
const PARTS_MAX: f64 = 50_000.0;

/// Steps of a plan. A WITH that is used twice stands twice, and so does all it uses.
const NODES_MAX: usize = 10_000;

/// Lists up to this length are planned as comparisons.
const LIST_AS_COMPARISONS: usize = 3;

/// Subqueries that stand for a value may nest this deep: planning looks at each twice.
const SUBQUERIES_DEEP_MAX: usize = 12;

pub fn check(plan: &LogicalPlan) -> Result<()> {
    sizes(plan, 0, &Cell::new(0)).map(|_| ())
}

/// What each column of a plan's output stands for, in parts.
fn sizes(plan: &LogicalPlan, deep: usize, visited: &Cell<usize>) -> Result<Vec<f64>> {
    visited.set(visited.get() + 1);
    if visited.get() > NODES_MAX {
        return Err(Error::invalid(format!(
            "statement stands for more than {NODES_MAX} steps once its WITHs are written out; use the inner ones less often"
        )));
    }
    if deep > SUBQUERIES_DEEP_MAX {
        return Err(Error::invalid(format!(
            "statement nests more than {SUBQUERIES_DEEP_MAX} subqueries in expressions; name the inner ones in a WITH and join them"
        )));
    }
    let inputs: Vec<Vec<f64>> =
        plan.inputs().into_iter().map(|input| sizes(input, deep, visited)).collect::<Result<_>>()?;
    let below = Below { plan, inputs: &inputs, deep, visited };
    let checked = |exprs: &[Expr]| exprs.iter().map(|expr| below.checked(expr)).collect::<Result<Vec<f64>>>();
    // Each expression is looked at once: what stands in it may be a plan with expressions of its own.
    let own = match plan {
        LogicalPlan::Projection(projection) => checked(&projection.expr)?,
        // What is said of a key moves below the aggregation; an aggregate stays what it is.
        LogicalPlan::Aggregate(aggregate) => {
            checked(&aggregate.aggr_expr)?;
            checked(&aggregate.group_expr)?
        }
        LogicalPlan::Union(_) => {
            inputs.iter().skip(1).fold(inputs.first().cloned().unwrap_or_default(), |most, sizes| {
                most.iter().zip(sizes).map(|(a, b)| a.max(*b)).collect()
            })
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Join(_) => {
            checked(&plan.expressions())?;
            inputs.concat()
        }
        _ => {
            checked(&plan.expressions())?;
            Vec::new()
        }
    };
    let mut all = own;
    all.resize(plan.schema().fields().len(), 1.0);
    Ok(all)
}

struct Below<'a> {
    plan: &'a LogicalPlan,
    inputs: &'a [Vec<f64>],
    deep: usize,
    visited: &'a Cell<usize>,
}

impl Below<'_> {
    fn checked(&self, expr: &Expr) -> Result<f64> {
        let size = self.size(expr)?;
        if size > PARTS_MAX {
            return Err(Error::invalid(format!(
                "statement stands for an expression of {size:.0} parts once it is written out, more than {PARTS_MAX}; \
                 nest less, or compute the inner parts in a GROUP BY"
            )));
        }
        Ok(size)
    }

    fn size(&self, expr: &Expr) -> Result<f64> {
        let mut size = 1.0;
        match expr {
            Expr::Column(column) => return Ok(self.column(column)),
            Expr::InList(InList { expr, list, .. }) if list.len() <= LIST_AS_COMPARISONS => {
                size += self.size(expr)? * list.len() as f64;
                for item in list {
                    size += self.size(item)?;
                }
                return Ok(size);
            }
            Expr::Between(between) => {
                size += 2.0 * self.size(&between.expr)?;
                return Ok(size + self.size(&between.low)? + self.size(&between.high)?);
            }
            Expr::ScalarSubquery(subquery) => drop(sizes(&subquery.subquery, self.deep + 1, self.visited)?),
            Expr::Exists(exists) => drop(sizes(&exists.subquery.subquery, self.deep + 1, self.visited)?),
            Expr::InSubquery(within) => drop(sizes(&within.subquery.subquery, self.deep + 1, self.visited)?),
            _ => {}
        }
        let mut parts: Result<f64> = Ok(0.0);
        // Children only; an error ends the walk at the next one.
        let walked = expr.apply_children(|child| {
            parts = match (&parts, self.size(child)) {
                (Ok(sum), Ok(more)) => Ok(sum + more),
                (_, Err(error)) => Err(error),
                (Err(_), _) => return Ok(datafusion::common::tree_node::TreeNodeRecursion::Stop),
            };
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        });
        walked.map_err(crate::planner::invalid)?;
        Ok(size + parts? * uses(expr))
    }

    fn column(&self, column: &Column) -> f64 {
        let inputs = self.plan.inputs();
        for (input, sizes) in inputs.iter().zip(self.inputs) {
            let schema: &DFSchema = input.schema();
            if let Some(idx) = schema.maybe_index_of_column(column) {
                return sizes.get(idx).copied().unwrap_or(1.0);
            }
        }
        1.0
    }
}

/// How often an expression's parts stand in what it is planned as.
fn uses(expr: &Expr) -> f64 {
    match expr {
        // Whether a cast can be null is asked of its subject twice, all the way down.
        Expr::Cast(_) | Expr::TryCast(_) => 2.0,
        Expr::ScalarFunction(ScalarFunction { func, .. }) => match func.name() {
            "coalesce" | "nvl" | "nvl2" | "nullif" | "truncate" | "trunc" | "safe_divide" => 2.0,
            "timestampdiff" => 8.0,
            _ => 1.0,
        },
        _ => 1.0,
    }
}
