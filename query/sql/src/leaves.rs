//! Leaves: the parts of a plan that one native query answers each, and the tables they are about.
//!
//! A [`Leaf`] is a native query, the columns of its answer as the plan above sees them, and what it was made of, so that
//! an order and a limit can still be added. [`crate::place`] finds where leaves can stand.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, TableProviderFilterPushDown, TableSource, TableType, UserDefinedLogicalNodeCore,
};
use segment::Interval;
use segment::block::Value;
use segment::schema::{TIME, ValueType};
use serde_json::{Map, Value as Json, json};

use crate::convert::arrow_type;
use crate::lower::{self, Lower};
use crate::semi::Semi;

/// Key of a field's metadata: the native type, where the Arrow type does not tell.
pub const NATIVE_TYPE: &str = "native_type";

/// A datasource as a plan sees it.
#[derive(Debug)]
pub struct Table {
    /// The datasources that are read as one.
    pub names: Vec<String>,
    schema: SchemaRef,
    push_down: bool,
}

impl Table {
    pub fn new(names: Vec<String>, columns: &[(String, ValueType, bool)], push_down: bool) -> Table {
        let fields: Vec<_> = columns
            .iter()
            .map(|(column, value_type, _)| {
                let field = Field::new(column, arrow_type(column, value_type), column != TIME);
                match value_type {
                    ValueType::Complex(_) if !value_type.is_json() => {
                        field.with_metadata([(NATIVE_TYPE.to_string(), value_type.druid_name())].into())
                    }
                    _ => field,
                }
            })
            .collect();
        Table { names, schema: Arc::new(arrow::datatypes::Schema::new(fields)), push_down }
    }
}

impl TableSource for Table {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let schema = match self.push_down {
            true => Some(unqualified(filters, self)?),
            false => None,
        };
        Ok(filters
            .iter()
            .map(|filter| match &schema {
                Some(schema) if Lower::new(schema).filter(filter).is_some() || lower::intervals(filter).is_some() => {
                    TableProviderFilterPushDown::Exact
                }
                _ => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}

/// The table's schema with the qualifier that the filters use.
fn unqualified(filters: &[&Expr], table: &Table) -> DfResult<DFSchema> {
    let relation = filters.iter().flat_map(|filter| filter.column_refs()).find_map(|column| column.relation.clone());
    match relation {
        Some(relation) => DFSchema::try_from_qualified_schema(relation, &table.schema),
        None => DFSchema::try_from(table.schema.as_ref().clone()),
    }
}

/// A column of a leaf's answer: its name in the native answer and its type in the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub name: String,
    pub data_type: DataType,
}

/// A part of a plan that one native query answers.
#[derive(Debug)]
pub struct Leaf {
    id: u64,
    pub datasources: Vec<String>,
    /// In Druid's JSON, for people; `query` is the same for the engine.
    pub json: Json,
    pub query: query::Query,
    /// What the plan above sees, field by field the `outputs`.
    pub schema: DFSchemaRef,
    pub outputs: Vec<Output>,
    /// It has no key, so it answers one row even over no rows; the values are those of that row.
    pub empty_row: Option<Vec<Value>>,
    parts: Parts,
}

/// What the query is made of, kept so that a rule can add order and limit.
#[derive(Debug, Clone)]
pub struct Parts {
    pub intervals: Vec<Interval>,
    pub filter: Option<Json>,
    pub virtual_columns: Vec<Json>,
    pub semis: Vec<Semi>,
    pub kind: Shape,
    pub limit: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum Shape {
    Group {
        dimensions: Vec<Json>,
        /// The granularity, if the only dimension is a time bucket.
        bucket: Option<Json>,
        aggregates: Vec<Json>,
        posts: Vec<Json>,
        order: Vec<(String, bool)>,
        /// What the aggregates are over no rows.
        empty: Vec<Value>,
        /// Grouping sets, as places in `dimensions`, and the name of the output that tells them apart.
        sets: Option<(Vec<Vec<usize>>, String)>,
    },
    Scan {
        columns: Vec<String>,
        order: Option<bool>,
    },
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Leaf {
    /// What it was made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// `None` if the engine does not take the query.
    pub fn new(datasources: &[String], parts: Parts, schema: DFSchemaRef, outputs: Vec<Output>) -> Option<Leaf> {
        let made = Leaf::made(datasources, parts, schema, outputs);
        made.inspect_err(|error| tracing::debug!(%error, "the engine does not take a leaf; it stays with DataFusion"))
            .ok()
    }

    /// The same; if the engine does not take it, why.
    pub fn made(
        datasources: &[String],
        parts: Parts,
        schema: DFSchemaRef,
        mut outputs: Vec<Output>,
    ) -> query::Result<Leaf> {
        let mut query = Map::new();
        let put = |query: &mut Map<String, Json>, key: &str, value: Json| {
            query.insert(key.to_string(), value);
        };
        let mut context = Map::new();
        let mut empty_row = None;
        let body = match &parts.kind {
            Shape::Group { dimensions, bucket, aggregates, posts, order, empty, sets } => {
                for (output, dimension) in outputs.iter_mut().zip(dimensions) {
                    output.name = dimension["outputName"].as_str().unwrap_or_default().to_string();
                }
                // A timeseries comes in time order; any other order is a groupBy's.
                let descending = match order.as_slice() {
                    [] => Some(false),
                    [(key, descending)] if outputs.first().is_some_and(|output| output.name == *key) => {
                        Some(*descending)
                    }
                    _ => None,
                };
                let series = match (bucket, dimensions.is_empty(), descending) {
                    (Some(granularity), _, Some(descending)) => Some((granularity.clone(), descending)),
                    (None, true, _) if sets.is_none() => {
                        empty_row = Some(empty.clone());
                        Some((json!("all"), false))
                    }
                    _ => None,
                };
                // The set without keys has a row even where there are none to aggregate.
                if let Some((sets, _)) = sets
                    && sets.iter().any(Vec::is_empty)
                {
                    let keys = dimensions.iter().map(|_| Value::Null);
                    let grouping = Value::Long((1 << dimensions.len()) - 1);
                    empty_row = Some(keys.chain([grouping]).chain(empty.iter().cloned()).collect());
                }
                let mut body = Map::new();
                match series {
                    Some((granularity, descending)) => {
                        put(&mut query, "queryType", "timeseries".into());
                        put(&mut body, "granularity", granularity);
                        put(&mut body, "descending", descending.into());
                        if let Some(limit) = parts.limit {
                            put(&mut body, "limit", limit.into());
                        }
                        if !dimensions.is_empty() {
                            context.insert("skipEmptyBuckets".to_string(), true.into());
                            outputs[0].name = TIME.to_string();
                        }
                    }
                    None => {
                        put(&mut query, "queryType", "groupBy".into());
                        put(&mut body, "granularity", "all".into());
                        put(&mut body, "dimensions", dimensions.clone().into());
                        if let Some((sets, _)) = sets {
                            let names = |set: &Vec<usize>| -> Vec<Json> {
                                set.iter().map(|at| dimensions[*at]["outputName"].clone()).collect()
                            };
                            put(&mut body, "subtotalsSpec", sets.iter().map(names).collect());
                        }
                        if parts.limit.is_some() || !order.is_empty() {
                            let mut limit = Map::new();
                            put(&mut limit, "type", "default".into());
                            let columns: Vec<Json> = order
                                .iter()
                                .map(|(key, descending)| {
                                    let direction = if *descending { "descending" } else { "ascending" };
                                    json!({"dimension": key, "direction": direction, "dimensionOrder": "natural"})
                                })
                                .collect();
                            put(&mut limit, "columns", columns.into());
                            if let Some(rows) = parts.limit {
                                put(&mut limit, "limit", rows.into());
                            }
                            put(&mut body, "limitSpec", Json::Object(limit));
                        }
                    }
                }
                put(&mut body, "aggregations", aggregates.clone().into());
                if !posts.is_empty() {
                    put(&mut body, "postAggregations", posts.clone().into());
                }
                body
            }
            Shape::Scan { columns, order } => {
                put(&mut query, "queryType", "scan".into());
                let mut body = Map::new();
                put(&mut body, "columns", columns.clone().into());
                put(&mut body, "resultFormat", "compactedList".into());
                if let Some(limit) = parts.limit {
                    put(&mut body, "limit", limit.into());
                }
                if let Some(descending) = order {
                    put(&mut body, "order", if *descending { "descending" } else { "ascending" }.into());
                }
                body
            }
        };
        let source = match datasources {
            [one] => json!({"type": "table", "name": one}),
            several => json!({"type": "union", "dataSources": several}),
        };
        put(&mut query, "dataSource", source);
        let texts: Vec<String> = parts.intervals.iter().map(Interval::to_string).collect();
        put(&mut query, "intervals", json!({"type": "intervals", "intervals": texts}));
        if let Some(filter) = &parts.filter {
            put(&mut query, "filter", filter.clone());
        }
        if !parts.virtual_columns.is_empty() {
            put(&mut query, "virtualColumns", parts.virtual_columns.clone().into());
        }
        query.extend(body);
        if !context.is_empty() {
            put(&mut query, "context", Json::Object(context));
        }
        let mut json = Json::Object(query);
        let mut query = query::Query::from_json(&json)?;
        // Text could widen what the condition made narrow, or say nothing for no interval at all.
        query.scope_mut().intervals = parts.intervals.clone();
        if let (query::Query::GroupBy(query), Shape::Group { sets: Some((_, name)), .. }) = (&mut query, &parts.kind) {
            query.grouping_id = Some(name.clone());
        }
        for (nth, semi) in parts.semis.iter().enumerate() {
            json["dataSource"] = semi.shown(json["dataSource"].take(), nth);
        }
        let id = NEXT.fetch_add(1, Atomic::Relaxed);
        Ok(Leaf { id, datasources: datasources.to_vec(), json, query, schema, outputs, empty_row, parts })
    }

    /// The same leaf in an order and with a limit. The keys are its outputs.
    pub fn limited(&self, order: Vec<(String, bool)>, limit: Option<u64>) -> Option<Leaf> {
        let mut parts = self.parts.clone();
        parts.limit = match (parts.limit, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Shape::Group { order: kept, .. } = &mut parts.kind {
            *kept = order;
        }
        Leaf::new(&self.datasources, parts, self.schema.clone(), self.outputs.clone())
    }

    /// What its rows are chosen by when it is asked.
    pub fn semis(&self) -> &[Semi] {
        &self.parts.semis
    }

    /// Whether no condition is about its time.
    pub fn is_timeless(&self) -> bool {
        self.parts.intervals == [Interval::ETERNITY]
    }

    /// Whether it may answer any row at all.
    pub fn is_void(&self) -> bool {
        self.parts.intervals.is_empty()
    }
}

/// Leaves are equal only to themselves: two equal ones are two scans all the same.
#[derive(Debug, Clone)]
pub struct Node(pub Arc<Leaf>);

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.id.partial_cmp(&other.0.id)
    }
}

impl UserDefinedLogicalNodeCore for Node {
    fn name(&self) -> &str {
        "Native"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.0.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Native: {}", self.0.json)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        Ok(self.clone())
    }
}

/// The leaf that a plan node is.
pub fn leaf_of(plan: &LogicalPlan) -> Option<&Arc<Leaf>> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<Node>().map(|node| &node.0),
        _ => None,
    }
}

/// A plan node that is the leaf.
pub fn node(leaf: Leaf) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(Node(Arc::new(leaf))) })
}

impl Leaf {
    /// The name of an output as aggregates and dimensions are declared.
    pub fn parts_name(&self, idx: usize) -> String {
        match &self.parts.kind {
            Shape::Group { dimensions, .. } => match dimensions.get(idx) {
                Some(dimension) => dimension["outputName"].as_str().unwrap_or_default().to_string(),
                None => self.outputs[idx].name.clone(),
            },
            Shape::Scan { .. } => self.outputs[idx].name.clone(),
        }
    }
}
