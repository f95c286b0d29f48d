//! What a statement became, ready to run any number of times.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, FetchType, LogicalPlan, SkipType};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use futures::stream::StreamExt;

use crate::error::{Error, Result};
use crate::leaves::{Leaf, leaf_of};
use crate::planner::Planner;
use crate::run::{Batches, failed};

pub enum Plan {
    /// One leaf (or none: a single row without columns) and steps over its rows. Nothing of DataFusion's machinery is
    /// set up for it.
    Direct {
        leaf: Option<Arc<Leaf>>,
        schema: SchemaRef,
        steps: Vec<Step>,
    },
    Tree(Arc<LogicalPlan>),
}

/// What is done to the rows of a leaf.
#[derive(Clone)]
pub enum Step {
    Filter(Arc<dyn PhysicalExpr>),
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
    Limit { skip: usize, fetch: Option<usize> },
}

impl Plan {
    pub fn new(plan: LogicalPlan, planner: &Planner) -> Result<Plan> {
        match direct(&plan, planner)? {
            Some(plan) => Ok(plan),
            None => Ok(Plan::Tree(Arc::new(plan))),
        }
    }
}

fn direct(plan: &LogicalPlan, planner: &Planner) -> Result<Option<Plan>> {
    let mut steps = Vec::new();
    let mut at = plan;
    let physical = |expr: &Expr, input: &LogicalPlan| {
        let props = planner.state.execution_props();
        create_physical_expr(expr, input.schema(), props, &PhysicalPlanningContext::default()).map_err(failed)
    };
    let asks = |expr: &Expr| {
        use datafusion::common::tree_node::TreeNode;
        let query = |part: &Expr| {
            matches!(
                part,
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::OuterReferenceColumn(..)
            ) || matches!(part, Expr::Unnest(_) | Expr::WindowFunction(_))
        };
        expr.exists(|part| Ok(query(part))).unwrap_or(true)
    };
    loop {
        match at {
            LogicalPlan::Projection(projection) => {
                if projection.expr.iter().any(asks) {
                    return Ok(None);
                }
                let exprs =
                    projection.expr.iter().map(|expr| physical(expr, &projection.input)).collect::<Result<Vec<_>>>()?;
                steps.push(Step::Project { exprs, schema: projection.schema.inner().clone() });
                at = &projection.input;
            }
            LogicalPlan::Filter(filter) => {
                if asks(&filter.predicate) {
                    return Ok(None);
                }
                steps.push(Step::Filter(physical(&filter.predicate, &filter.input)?));
                at = &filter.input;
            }
            LogicalPlan::Limit(limit) => {
                let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (
                    limit.get_skip_type().map_err(crate::planner::invalid)?,
                    limit.get_fetch_type().map_err(crate::planner::invalid)?,
                ) else {
                    return Ok(None);
                };
                steps.push(Step::Limit { skip, fetch });
                at = &limit.input;
            }
            LogicalPlan::SubqueryAlias(alias) => at = &alias.input,
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => {
                steps.reverse();
                return Ok(Some(Plan::Direct { leaf: None, schema: empty.schema.inner().clone(), steps }));
            }
            other => {
                let Some(leaf) = leaf_of(other) else { return Ok(None) };
                steps.reverse();
                return Ok(Some(Plan::Direct { leaf: Some(leaf.clone()), schema: leaf.schema.inner().clone(), steps }));
            }
        }
    }
}

/// One row without columns: what a statement without a table is computed over.
pub fn one_row(schema: SchemaRef) -> Result<RecordBatch> {
    RecordBatch::try_new_with_options(schema, Vec::new(), &RecordBatchOptions::new().with_row_count(Some(1)))
        .map_err(|error| Error::Bug(error.to_string()))
}

/// Applies the steps, batch by batch.
pub fn apply(batches: Batches, steps: &[Step]) -> Batches {
    let mut batches = batches;
    for step in steps.iter().cloned() {
        batches = match step {
            Step::Limit { skip, fetch } => limit(batches, skip, fetch),
            step => batches.map(move |batch| one(&step, batch?)).boxed(),
        };
    }
    batches
}

fn one(step: &Step, batch: RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    match step {
        Step::Filter(expr) => {
            let kept = expr.evaluate(&batch).and_then(|value| value.into_array(rows)).map_err(failed)?;
            let kept = kept.as_boolean_opt().ok_or_else(|| Error::Bug("a condition is not a boolean".into()))?;
            filter_record_batch(&batch, kept).map_err(|error| Error::Bug(error.to_string()))
        }
        Step::Project { exprs, schema } => {
            let columns = exprs
                .iter()
                .map(|expr| expr.evaluate(&batch).and_then(|value| value.into_array(rows)).map_err(failed))
                .collect::<Result<Vec<_>>>()?;
            RecordBatch::try_new_with_options(
                schema.clone(),
                columns,
                &RecordBatchOptions::new().with_row_count(Some(rows)),
            )
            .map_err(|error| Error::Bug(format!("a projection does not fit its schema: {error}")))
        }
        Step::Limit { .. } => Ok(batch),
    }
}

fn limit(batches: Batches, skip: usize, fetch: Option<usize>) -> Batches {
    struct State {
        batches: Batches,
        skip: usize,
        left: usize,
    }
    let state = State { batches, skip, left: fetch.unwrap_or(usize::MAX) };
    futures::stream::unfold(state, |mut state| async move {
        loop {
            if state.left == 0 {
                return None;
            }
            let batch = match state.batches.next().await? {
                Ok(batch) => batch,
                Err(error) => {
                    state.left = 0;
                    return Some((Err(error), state));
                }
            };
            let skipped = state.skip.min(batch.num_rows());
            state.skip -= skipped;
            let taken = (batch.num_rows() - skipped).min(state.left);
            if taken == 0 {
                continue;
            }
            state.left -= taken;
            return Some((Ok(batch.slice(skipped, taken)), state));
        }
    })
    .boxed()
}
