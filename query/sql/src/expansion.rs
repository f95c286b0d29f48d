//! How large the expressions of a plan become once everything they stand for is written out.
//!
//! Planning puts expressions in each other's places: a condition moves below the projections it is about, short lists
//! and `COALESCE` become comparisons and cases that name their subject several times, some functions use an argument
//! more than once. Nested in each other these double at every level, so that a short text stands for more than a memory
//! can hold. The size is reckoned before anything is written out, and such statements are refused.

use std::cell::Cell;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DfResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Result};

/// Parts of an expression, written out. What a dashboard sends has hundreds.
const PARTS_MAX: f64 = 50_000.0;

/// Steps of a plan. A WITH that is used twice stands twice, and so does all it uses.
const NODES_MAX: usize = 10_000;

/// Steps above one another: each is a call within another where rows are made.
const PLAN_DEPTH_MAX: usize = 1_200;

/// Levels of an expression, written out: it is computed and dropped on threads with the stack of any.
const DEPTH_MAX: usize = 800;

/// Lists up to this length are planned as comparisons.
const LIST_AS_COMPARISONS: usize = 3;

/// Subqueries that stand for a value may nest this deep: planning looks at each twice.
const SUBQUERIES_DEEP_MAX: usize = 12;

pub fn check(plan: &LogicalPlan) -> Result<()> {
    sizes(plan, Place { subqueries: 0, steps: 0 }, &Cell::new(0)).map(|_| ())
}

/// Refuses a plan, as it is to be run, with an expression that is too deep: planning joins conditions one by one.
pub fn check_planned(plan: &LogicalPlan) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let depth = depth(expr)?;
            match depth > DEPTH_MAX {
                false => Ok(TreeNodeRecursion::Continue),
                true => Err(DataFusionError::Plan(too_deep(depth))),
            }
        })
    })?;
    Ok(())
}

fn depth(expr: &Expr) -> DfResult<usize> {
    let mut below = 0;
    expr.apply_children(|child| {
        below = below.max(depth(child)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(below + 1)
}

fn too_deep(depth: usize) -> String {
    format!(
        "statement stands for an expression of {depth} levels once it is planned, more than {DEPTH_MAX}; list values with \
         IN, or compute the inner parts in a GROUP BY"
    )
}

/// What an expression stands for.
#[derive(Debug, Clone, Copy)]
struct Size {
    parts: f64,
    depth: usize,
}

impl Size {
    const ONE: Size = Size { parts: 1.0, depth: 1 };
}

/// Where in a statement a step is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Subqueries in expressions around it.
    subqueries: usize,
    /// Steps above it.
    steps: usize,
}

/// What each column of a plan's output stands for.
fn sizes(plan: &LogicalPlan, place: Place, visited: &Cell<usize>) -> Result<Vec<Size>> {
    visited.set(visited.get() + 1);
    if visited.get() > NODES_MAX {
        return Err(Error::invalid(format!(
            "statement stands for more than {NODES_MAX} steps once its WITHs are written out; use the inner ones less often"
        )));
    }
    if place.subqueries > SUBQUERIES_DEEP_MAX {
        return Err(Error::invalid(format!(
            "statement nests more than {SUBQUERIES_DEEP_MAX} subqueries in expressions; name the inner ones in a WITH and join them"
        )));
    }
    if place.steps > PLAN_DEPTH_MAX {
        return Err(Error::invalid(format!(
            "statement stands for more than {PLAN_DEPTH_MAX} steps in each other once its WITHs are written out; nest \
             less of them"
        )));
    }
    let under = Place { steps: place.steps + 1, ..place };
    let inputs: Vec<Vec<Size>> =
        plan.inputs().into_iter().map(|input| sizes(input, under, visited)).collect::<Result<_>>()?;
    let below = Below { plan, inputs: &inputs, place: under, visited };
    let checked = |exprs: &[Expr]| exprs.iter().map(|expr| below.checked(expr)).collect::<Result<Vec<Size>>>();
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
                let larger = |(a, b): (&Size, &Size)| Size { parts: a.parts.max(b.parts), depth: a.depth.max(b.depth) };
                most.iter().zip(sizes).map(larger).collect()
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
    all.resize(plan.schema().fields().len(), Size::ONE);
    Ok(all)
}

struct Below<'a> {
    plan: &'a LogicalPlan,
    inputs: &'a [Vec<Size>],
    place: Place,
    visited: &'a Cell<usize>,
}

impl Below<'_> {
    fn checked(&self, expr: &Expr) -> Result<Size> {
        let size = self.size(expr)?;
        if size.parts > PARTS_MAX {
            return Err(Error::invalid(format!(
                "statement stands for an expression of {:.0} parts once it is written out, more than {PARTS_MAX}; \
                 nest less, or compute the inner parts in a GROUP BY",
                size.parts
            )));
        }
        if size.depth > DEPTH_MAX {
            return Err(Error::Invalid(too_deep(size.depth)));
        }
        Ok(size)
    }

    fn size(&self, expr: &Expr) -> Result<Size> {
        let within = Place { subqueries: self.place.subqueries + 1, ..self.place };
        match expr {
            Expr::Column(column) => return Ok(self.column(column)),
            Expr::ScalarSubquery(subquery) => drop(sizes(&subquery.subquery, within, self.visited)?),
            Expr::Exists(exists) => drop(sizes(&exists.subquery.subquery, within, self.visited)?),
            Expr::InSubquery(among) => drop(sizes(&among.subquery.subquery, within, self.visited)?),
            _ => {}
        }
        // How often the first of the parts stands, whose subject is named again at each comparison.
        let first_stands = match expr {
            Expr::InList(InList { list, .. }) if list.len() <= LIST_AS_COMPARISONS => list.len() as f64,
            Expr::Between(_) => 2.0,
            _ => 1.0,
        };
        let (mut parts, mut depth, mut nth) = (0.0, 0, 0);
        let mut refused = None;
        expr.apply_children(|child| match self.size(child) {
            Ok(size) => {
                parts += size.parts * if nth == 0 { first_stands } else { 1.0 };
                depth = depth.max(size.depth);
                nth += 1;
                Ok(TreeNodeRecursion::Continue)
            }
            Err(error) => {
                refused = Some(error);
                Ok(TreeNodeRecursion::Stop)
            }
        })
        .map_err(crate::planner::invalid)?;
        match refused {
            Some(error) => Err(error),
            None => Ok(Size { parts: 1.0 + parts * uses(expr), depth: depth + 1 }),
        }
    }

    fn column(&self, column: &Column) -> Size {
        let inputs = self.plan.inputs();
        for (input, sizes) in inputs.iter().zip(self.inputs) {
            let schema: &DFSchema = input.schema();
            if let Some(idx) = schema.maybe_index_of_column(column) {
                return sizes.get(idx).copied().unwrap_or(Size::ONE);
            }
        }
        Size::ONE
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
