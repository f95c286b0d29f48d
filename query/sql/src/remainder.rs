//! What DataFusion runs of a plan: on threads of its own, so that no join keeps those busy that answer the network, and
//! under a watch that ends it at its deadline, when it is cancelled, or when nobody reads its rows any more.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::run::{Batches, Run, failed};

/// Batches that wait to be read.
const BATCHES_AHEAD: usize = 2;

/// More than a plan needs that is as deep as any may be.
const STACK_BYTES: usize = 32 << 20;

/// The threads that remainders run on.
pub struct Workers(Option<Runtime>);

impl Workers {
    pub fn new(threads: usize) -> std::io::Result<Workers> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("sql")
            // A plan's steps ask one another for rows, as deep as it is.
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()?;
        Ok(Workers(Some(runtime)))
    }

    /// The rows of a plan's stream, which the workers pull. Dropping the answer ends the work at its next batch.
    pub fn read(&self, mut rows: SendableRecordBatchStream) -> Batches {
        let runtime = self.0.as_ref().expect("it is there until the workers are dropped");
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let task = runtime.spawn(async move {
            while let Some(batch) = rows.next().await {
                if sender.send(batch.map_err(failed)).await.is_err() {
                    break;
                }
            }
        });
        let work = Work(Some(task));
        futures::stream::unfold((receiver, work), |(mut receiver, mut work)| async move {
            if let Some(batch) = receiver.recv().await {
                return Some((batch, (receiver, work)));
            }
            // A stream that ended because its work broke off is no whole answer.
            let broken = work.0.take()?.await.err()?;
            Some((Err(Error::Bug(format!("the rest of the plan broke off: {broken}"))), (receiver, work)))
        })
        .boxed()
    }
}

impl Drop for Workers {
    /// Does not wait: the last owner may be a task of another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Work(Option<JoinHandle<()>>);

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Puts a watch above every operator of several inputs: these can make many rows of few, and no other operator works
/// long without asking one of them, or a leaf, for the next batch.
pub fn watched(plan: Arc<dyn ExecutionPlan>, run: &Arc<Run>) -> Result<Arc<dyn ExecutionPlan>> {
    let watch = |input: Arc<dyn ExecutionPlan>| {
        if input.children().len() < 2 {
            return Ok(Transformed::no(input));
        }
        let watch: Arc<dyn ExecutionPlan> = Arc::new(Watch { input, run: run.clone() });
        Ok(Transformed::yes(watch))
    };
    plan.transform_up(watch).map(|done| done.data).map_err(failed)
}

#[derive(Debug)]
struct Watch {
    input: Arc<dyn ExecutionPlan>,
    run: Arc<Run>,
}

impl DisplayAs for Watch {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl ExecutionPlan for Watch {
    fn name(&self) -> &str {
        "Watch"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn with_new_children(self: Arc<Self>, mut inputs: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = inputs.pop().ok_or_else(|| DataFusionError::Internal("a watch without an input".into()))?;
        Ok(Arc::new(Watch { input, run: self.run.clone() }))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (schema, run) = (rows.schema(), self.run.clone());
        let checked = rows.map(move |batch| {
            run.check().map_err(|error| DataFusionError::External(Box::new(error)))?;
            batch
        });
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(schema, checked))))
    }
}
