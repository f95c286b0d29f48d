//! Running a plan: leaves go to the broker, what stands above them to DataFusion. Each leaf has
//! the statement's memory budget and time for itself, and so has the part that DataFusion runs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::future::{BoxFuture, FutureExt, ready, try_join_all};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use query::{Answer, Batch, Broker, Budget, Place, Principal};
use segment::Interval;
use segment::block::Block;
use segment::filter::Filter;
use serde_json::{Map, Value as Json, json};

use crate::convert;
use crate::error::{Error, Result};
use crate::leaves::{Leaf, Node, leaf_of};
use crate::memory::{StatementMemory, exhausted};
use crate::planner::Planner;
use crate::remainder;
use crate::semi::Semi;

/// One statement at work.
pub struct Run {
    pub broker: Arc<Broker>,
    pub who: Principal,
    /// The context that each leaf's budget is read from.
    pub context: Map<String, Json>,
    pub started: Instant,
    pub deadline: Duration,
    pub cancelled: Arc<AtomicBool>,
    pub memory_bytes: u64,
    /// What the budgets of its leaves join.
    request: Arc<Budget>,
    /// Among all that is at work.
    _place: Place,
    /// All of it, with what becomes of the rows of its leaves.
    _step: query::progress::Open,
    /// Values that rows may be chosen by.
    values_max: u64,
    planner: Arc<Planner>,
    /// Answers of leaves that were begun before the rest of the plan, and what they said is missing.
    begun: Mutex<HashMap<usize, Answer>>,
    told: Mutex<Vec<Interval>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("who", &self.who).finish_non_exhaustive()
    }
}

pub type Batches = BoxStream<'static, Result<RecordBatch>>;

impl Run {
    /// Refused if there is no place for another statement.
    pub fn new(
        broker: Arc<Broker>,
        who: Principal,
        context: Map<String, Json>,
        cancelled: Arc<AtomicBool>,
        planner: Arc<Planner>,
    ) -> Result<Run> {
        let budget = Arc::new(Budget::from_context(&context, broker.settings())?);
        let place = broker.begin(&budget, &who)?;
        let quota = broker.authorizer().current().quota(&who);
        let _step = budget.progress().step("sql", None);
        Ok(Run {
            broker,
            who,
            context,
            _step,
            started: Instant::now(),
            deadline: budget.remaining(),
            cancelled,
            memory_bytes: budget.memory_limit().min(quota.memory_bytes.unwrap_or(u64::MAX)),
            values_max: budget.subquery_rows_max(),
            request: budget,
            _place: place,
            planner,
            begun: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Whether the statement may go on.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if self.started.elapsed() > self.deadline {
            return Err(Error::Timeout);
        }
        Ok(())
    }

    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_sub(self.started.elapsed())
    }

    /// What the answers so far said is missing.
    pub fn uncovered(&self) -> Vec<Interval> {
        Interval::merge(&lock(&self.told))
    }

    async fn ask(self: &Arc<Self>, leaf: &Leaf) -> Result<Answer> {
        let mut query = leaf.query.clone();
        for semi in leaf.semis() {
            let chosen = self.chosen(semi).await?;
            let scope = query.scope_mut();
            scope.filter = Some(match scope.filter.take() {
                None => chosen,
                Some(own) => Filter::And(vec![chosen, own]),
            });
        }
        let mut budget = Budget::from_context(&self.context, self.broker.settings())?;
        budget.join(&self.request);
        // What the statement's context says of native queries goes before what the plan says.
        match &mut query {
            query::Query::Timeseries(q) => {
                q.skip_empty_buckets = self.flag("skipEmptyBuckets").unwrap_or(q.skip_empty_buckets);
            }
            query::Query::GroupBy(q) => {
                q.explode = self.flag("groupByEnableMultiValueUnnesting").unwrap_or(q.explode);
            }
            _ => {}
        }
        Ok(self.broker.answer(query, &self.who, budget).await?)
    }

    /// The filter that lets rows through whose value is among those of a plan.
    fn chosen<'a>(self: &'a Arc<Self>, semi: &'a Semi) -> BoxFuture<'a, Result<Filter>> {
        async move {
            let mut rows = self.tree(&semi.values).await?;
            let mut values: HashSet<ScalarValue> = HashSet::new();
            while let Some(batch) = rows.next().await {
                self.check()?;
                let batch = batch.map_err(failed)?;
                let column = batch.column(semi.field);
                for row in (0..column.len()).filter(|row| !column.is_null(*row)) {
                    values.insert(ScalarValue::try_from_array(column, row).map_err(failed)?);
                }
                if values.len() as u64 > self.values_max {
                    return Err(Error::Query(query::Error::ResourceLimit(format!(
                        "the inner query gives more than [{}] values; narrow it, or raise maxSubqueryRows",
                        self.values_max
                    ))));
                }
            }
            if values.is_empty() {
                return Ok(Filter::False);
            }
            let values: Vec<Json> = values
                .into_iter()
                .filter_map(|value| match value {
                    ScalarValue::Utf8(Some(text)) => Some(Json::from(convert::plain(&text))),
                    ScalarValue::Int64(Some(long)) | ScalarValue::TimestampMillisecond(Some(long), _) => {
                        Some(Json::from(long))
                    }
                    ScalarValue::Boolean(Some(flag)) => Some(Json::from(i64::from(flag))),
                    _ => None,
                })
                .collect();
            let json = json!({"type": "inType", "column": semi.column, "matchValueType": semi.value_type.druid_name(),
            "values": values});
            Filter::from_json(&json, "filter").map_err(|error| Error::Query(error.into()))
        }
        .boxed()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        crate::flag(&self.context, key)
    }

    /// Whether a leaf without keys answers nothing over no rows.
    fn is_silent(&self) -> bool {
        self.flag("skipEmptyBuckets") == Some(true)
    }

    /// The rows of one leaf; the second value tells which intervals are not complete.
    pub async fn leaf(self: &Arc<Self>, leaf: &Arc<Leaf>, schema: SchemaRef) -> Result<(Batches, Vec<Interval>)> {
        if leaf.is_void() {
            return Ok((void(leaf.clone(), schema, self.is_silent()), Vec::new()));
        }
        let answer = self.ask(leaf).await?;
        let mut uncovered = self.uncovered();
        uncovered.extend(answer.context.uncovered.iter().copied());
        let uncovered = Interval::merge(&uncovered);
        Ok((rows(leaf.clone(), answer, schema, self.is_silent()), uncovered))
    }

    /// Runs a whole plan. What its leaves lack is known when this returns, before the first row.
    pub async fn tree(self: &Arc<Self>, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        self.begin(plan).await?;
        let planner = &self.planner;
        let physical =
            DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(LeafPlanner { run: self.clone() })])
                .create_physical_plan(plan, &planner.state)
                .await
                .map_err(failed)?;
        let memory = Arc::new(StatementMemory::new(&self.request, self.memory_bytes));
        let runtime = RuntimeEnv { memory_pool: memory.clone(), ..planner.state.runtime_env().as_ref().clone() };
        let context = TaskContext::new(
            None,
            String::new(),
            planner.state.config().clone(),
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            Arc::new(runtime),
        );
        let rows = execute_stream(remainder::watched(physical, self)?, Arc::new(context))
            .map_err(|error| failed(memory.told(error)))?;
        let schema = rows.schema();
        let told = rows.map_err(move |error| memory.told(error));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, told)))
    }

    /// Asks all leaves. One that streams works only when it is read, so none waits for another's threads.
    async fn begin(self: &Arc<Self>, plan: &LogicalPlan) -> Result<()> {
        let mut leaves: Vec<Arc<Leaf>> = Vec::new();
        plan.apply_with_subqueries(|node| {
            leaves.extend(leaf_of(node).filter(|leaf| !leaf.is_void()).cloned());
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(failed)?;
        let answers = try_join_all(leaves.iter().map(|leaf| self.ask(leaf))).await?;
        for (leaf, answer) in leaves.iter().zip(answers) {
            lock(&self.told).extend(answer.context.uncovered.iter().copied());
            lock(&self.begun).insert(Arc::as_ptr(leaf) as usize, answer);
        }
        Ok(())
    }

    /// A leaf inside a plan: begun already, or asked now. What it lacks must have been told before the first row.
    async fn late(self: Arc<Self>, leaf: Arc<Leaf>, schema: SchemaRef) -> Result<Batches> {
        if leaf.is_void() {
            return Ok(void(leaf, schema, self.is_silent()));
        }
        let begun = lock(&self.begun).remove(&(Arc::as_ptr(&leaf) as usize));
        let answer = match begun {
            Some(answer) => answer,
            None => self.ask(&leaf).await?,
        };
        let told = self.uncovered();
        let known = |missing: &Interval| told.iter().any(|t| t.start <= missing.start && missing.end <= t.end);
        if !answer.context.uncovered.iter().all(known) {
            return Err(Error::Query(query::Error::Unavailable(
                "rows became unavailable while the statement ran; run it again".into(),
            )));
        }
        let batches = rows(leaf, answer, schema, self.is_silent());
        Ok(self.counted(batches))
    }

    /// Refuses more rows than the statement's context allows of an inner query.
    fn counted(&self, batches: Batches) -> Batches {
        let most = match self.context.get("maxSubqueryRows").and_then(Json::as_u64) {
            Some(most) => most,
            None => return batches,
        };
        let mut rows = 0;
        batches
            .map(move |batch| {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                match rows > most {
                    true => Err(Error::Query(query::Error::ResourceLimit(format!(
                        "an inner query gives more than [{most}] rows; narrow it, or raise maxSubqueryRows"
                    )))),
                    false => Ok(batch),
                }
            })
            .boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The answer over no rows: none, or the one row of a leaf without keys.
fn void(leaf: Arc<Leaf>, schema: SchemaRef, silent: bool) -> Batches {
    let row = if silent { None } else { empty_row(&leaf, schema).transpose() };
    futures::stream::iter(row).boxed()
}

fn empty_row(leaf: &Leaf, schema: SchemaRef) -> Result<Option<RecordBatch>> {
    let Some(values) = &leaf.empty_row else { return Ok(None) };
    let columns = leaf
        .outputs
        .iter()
        .zip(values)
        .map(|(output, value)| {
            let block = Block::Any { values: vec![value.clone()] };
            // The number of a grouping set is of a type that the engine has not.
            let data_type = &output.data_type;
            let own = if data_type.is_integer() { &arrow::datatypes::DataType::Int64 } else { data_type };
            let array = convert::array(block, own)?;
            arrow::compute::cast(&array, data_type).map_err(|error| Error::Bug(error.to_string()))
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    batch(schema, columns, 1).map(Some)
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::Bug(format!("a native answer does not fit its plan: {error}")))
}

fn rows(leaf: Arc<Leaf>, answer: Answer, schema: SchemaRef, silent: bool) -> Batches {
    let mut any = false;
    let (last_leaf, last_schema) = (leaf.clone(), schema.clone());
    answer
        .batches
        .map(Some)
        .chain(futures::stream::iter([None]))
        .filter_map(move |item| {
            let made = match item {
                Some(Ok(native)) if native.table.rows == 0 => None,
                Some(Ok(native)) => {
                    any = true;
                    Some(record_batch(&leaf, native, &schema))
                }
                Some(Err(error)) => {
                    any = true;
                    Some(Err(Error::Query(error)))
                }
                None if any || silent => None,
                None => empty_row(&last_leaf, last_schema.clone()).transpose(),
            };
            futures::future::ready(made)
        })
        .boxed()
}

fn record_batch(leaf: &Leaf, native: Batch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut table = native.table;
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(leaf.outputs.len());
    for (idx, output) in leaf.outputs.iter().enumerate() {
        let repeated = leaf.outputs[..idx].iter().position(|earlier| earlier.name == output.name);
        if let Some(earlier) = repeated {
            arrays.push(arrays[earlier].clone());
            continue;
        }
        let found = table.columns.iter().position(|(name, ..)| *name == output.name);
        arrays.push(match found {
            Some(found) => {
                let (_, _, block) = table.columns.swap_remove(found);
                convert::array(block, &output.data_type)?
            }
            // A column that none of these segments has.
            None => new_null_array(&output.data_type, table.rows),
        });
    }
    batch(schema.clone(), arrays, table.rows)
}

/// What running refuses is seldom the statement's fault.
pub fn failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => Error::Bug(inner.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => exhausted(&text),
        DataFusionError::Execution(text) => Error::Invalid(text),
        DataFusionError::ArrowError(error, _) => Error::Invalid(error.to_string()),
        DataFusionError::Context(_, inner) => failed(*inner),
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => failed(inner),
            Err(inner) => Error::Bug(inner.to_string()),
        },
        other => crate::planner::invalid(other),
    }
}

struct LeafPlanner {
    run: Arc<Run>,
}

// Written as `async_trait` would write it, without a future that holds the arguments: to prove that one of expressions
// and plans may be sent takes the compiler seconds, each time anew.
impl ExtensionPlanner for LeafPlanner {
    fn plan_extension<'own, 'planner, 'node, 'plans, 'plan, 'inputs, 'session, 'planning, 'future>(
        &'own self,
        _planner: &'planner dyn PhysicalPlanner,
        node: &'node dyn UserDefinedLogicalNode,
        _logical_inputs: &'plans [&'plan LogicalPlan],
        _physical_inputs: &'inputs [Arc<dyn ExecutionPlan>],
        _session: &'session dyn Session,
        _planning: &'planning PhysicalPlanningContext,
    ) -> BoxFuture<'future, DfResult<Option<Arc<dyn ExecutionPlan>>>>
    where
        Self: 'future,
        'own: 'future,
        'planner: 'future,
        'node: 'future,
        'plans: 'future,
        'plan: 'future,
        'inputs: 'future,
        'session: 'future,
        'planning: 'future,
    {
        let Some(Node(leaf)) = node.as_any().downcast_ref::<Node>() else { return ready(Ok(None)).boxed() };
        let schema = leaf.schema.inner().clone();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let exec = LeafExec { run: self.run.clone(), leaf: leaf.clone(), properties: Arc::new(properties) };
        let exec: Arc<dyn ExecutionPlan> = Arc::new(exec);
        ready(Ok(Some(exec))).boxed()
    }
}

#[derive(Debug)]
struct LeafExec {
    run: Arc<Run>,
    leaf: Arc<Leaf>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for LeafExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Native: {}", self.leaf.json)
    }
}

impl ExecutionPlan for LeafExec {
    fn name(&self) -> &str {
        "LeafExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let schema = self.properties.eq_properties.schema().clone();
        let late = self.run.clone().late(self.leaf.clone(), schema.clone());
        let batches = futures::stream::once(late)
            .map(|begun| match begun {
                Ok(batches) => batches,
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            })
            .flatten()
            .map(|item| item.map_err(|error| DataFusionError::External(Box::new(error))));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
