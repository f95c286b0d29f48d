//! Leaves: the largest parts of a plan that the native engine answers as a whole.
//!
//! They are placed after DataFusion has optimised, so literals are folded, filters stand at the tables and limits at the
//! sorts. From the top of the plan down these are replaced:
//!
//! 1. `Sort(Projection* (Aggregate (base)))` whose keys are columns of the aggregate by a leaf with order and limit;
//! 2. `Limit(Projection* (Aggregate (base)))` by a leaf with the limit, kept for what it skips;
//! 3. `Aggregate(base)` by a group leaf;
//! 4. `Sort(Projection* (table))` by `__time` by a scan leaf in time order;
//! 5. every table that is left by a scan leaf,
//!
//! where base is `(Filter | Projection | SubqueryAlias)* table`. A part is replaced only if every expression in it
//! translates ([`crate::lower`]); what stays above is DataFusion's.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, FetchType, Limit, LogicalPlan, Projection, SkipType, Sort, SortExpr, SubqueryAlias,
    TableProviderFilterPushDown, TableScan, TableSource, TableType, UserDefinedLogicalNodeCore,
};
use segment::Interval;
use segment::schema::{TIME, ValueType};
use serde_json::{Map, Value as Json, json};

use crate::convert::arrow_type;
use crate::lower::{self, Lower, value_type};

/// Key of a field's metadata: the native type, where the Arrow type does not tell.
pub const NATIVE_TYPE: &str = "native_type";

/// A datasource as a plan sees it.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub columns: Arc<Vec<(String, ValueType, bool)>>,
    schema: SchemaRef,
    push_down: bool,
}

impl Table {
    pub fn new(name: &str, columns: Arc<Vec<(String, ValueType, bool)>>, push_down: bool) -> Table {
        let fields: Vec<_> = columns
            .iter()
            .map(|(column, value_type, _)| {
                let field = Field::new(column, arrow_type(column, value_type), column != TIME);
                match value_type {
                    ValueType::Complex(_) => {
                        field.with_metadata([(NATIVE_TYPE.to_string(), value_type.druid_name())].into())
                    }
                    _ => field,
                }
            })
            .collect();
        Table { name: name.to_string(), columns, schema: Arc::new(arrow::datatypes::Schema::new(fields)), push_down }
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
    pub datasource: String,
    /// In Druid's JSON, for people; `query` is the same for the engine.
    pub json: Json,
    pub query: query::Query,
    /// What the plan above sees, field by field the `outputs`.
    pub schema: DFSchemaRef,
    pub outputs: Vec<Output>,
    /// It has no key, so it answers one row even over no rows; the values are those of that row.
    pub empty_row: Option<Vec<EmptyValue>>,
    parts: Parts,
}

/// What an aggregate is over no rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EmptyValue {
    Null,
    Zero,
}

/// What the query is made of, kept so that a rule can add order and limit.
#[derive(Debug, Clone)]
struct Parts {
    intervals: Vec<Interval>,
    filter: Option<Json>,
    virtual_columns: Vec<Json>,
    kind: Shape,
    limit: Option<u64>,
}

#[derive(Debug, Clone)]
enum Shape {
    Group {
        dimensions: Vec<Json>,
        /// The granularity, if the only dimension is a time bucket.
        bucket: Option<Json>,
        aggregates: Vec<Json>,
        posts: Vec<Json>,
        order: Vec<(String, bool)>,
        empty: Vec<EmptyValue>,
    },
    Scan {
        columns: Vec<String>,
        order: Option<bool>,
    },
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Leaf {
    /// `None` if the engine does not take the query.
    fn new(datasource: &str, parts: Parts, schema: DFSchemaRef, mut outputs: Vec<Output>) -> Option<Leaf> {
        let mut query = Map::new();
        let put = |query: &mut Map<String, Json>, key: &str, value: Json| {
            query.insert(key.to_string(), value);
        };
        let mut context = Map::new();
        let mut empty_row = None;
        let body = match &parts.kind {
            Shape::Group { dimensions, bucket, aggregates, posts, order, empty } => {
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
                    (None, true, _) => {
                        empty_row = Some(empty.clone());
                        Some((json!("all"), false))
                    }
                    _ => None,
                };
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
        put(&mut query, "dataSource", json!({"type": "table", "name": datasource}));
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
        let json = Json::Object(query);
        let mut query = match query::Query::from_json(&json) {
            Ok(query) => query,
            Err(error) => {
                tracing::debug!(%error, "the engine does not take a leaf; it stays with DataFusion");
                return None;
            }
        };
        // Text could widen what the condition made narrow, or say nothing for no interval at all.
        query.scope_mut().intervals = parts.intervals.clone();
        let id = NEXT.fetch_add(1, Atomic::Relaxed);
        Some(Leaf { id, datasource: datasource.to_string(), json, query, schema, outputs, empty_row, parts })
    }

    /// The same leaf in an order and with a limit. The keys are its outputs.
    fn limited(&self, order: Vec<(String, bool)>, limit: Option<u64>) -> Option<Leaf> {
        let mut parts = self.parts.clone();
        parts.limit = match (parts.limit, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Shape::Group { order: kept, .. } = &mut parts.kind {
            *kept = order;
        }
        Leaf::new(&self.datasource, parts, self.schema.clone(), self.outputs.clone())
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

fn node(leaf: Leaf) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(Node(Arc::new(leaf))) })
}

/// Puts the leaves into an optimised plan. With `push_down` off tables become bare scans and DataFusion does all else.
pub fn place(plan: LogicalPlan, push_down: bool) -> DfResult<LogicalPlan> {
    plan.transform_down_with_subqueries(|plan| {
        let new = match &plan {
            LogicalPlan::Sort(sort) if push_down => ordered(sort)?,
            LogicalPlan::Limit(limit) if push_down => limited(limit)?,
            LogicalPlan::Aggregate(aggregate) if push_down => group(aggregate)?.map(node),
            LogicalPlan::TableScan(table) if table_of(table).is_some() => match scan(table, None, None)? {
                Some(leaf) => Some(node(leaf)),
                None => return Err(DataFusionError::Plan(format!("table {} cannot be scanned", table.table_name))),
            },
            _ => None,
        };
        Ok(match new {
            Some(new) => Transformed::yes(new),
            None => Transformed::no(plan),
        })
    })
    .map(|placed| placed.data)
}

fn table_of(scan: &TableScan) -> Option<&Table> {
    scan.source.downcast_ref::<Table>()
}

/// The nodes between a sort or limit and what it is about.
fn peel(plan: &LogicalPlan) -> (Vec<&LogicalPlan>, &LogicalPlan) {
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

fn wrap(wrappers: &[&LogicalPlan], inner: LogicalPlan) -> DfResult<LogicalPlan> {
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
fn below(expr: Expr, wrappers: &[&LogicalPlan]) -> DfResult<Expr> {
    let mut expr = expr;
    for wrapper in wrappers {
        expr = expr
            .transform_down(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                Ok(match wrapper {
                    LogicalPlan::Projection(projection) => {
                        let idx = projection.schema.index_of_column(column)?;
                        Transformed::new(
                            projection.expr[idx].clone().unalias_nested().data,
                            true,
                            datafusion::common::tree_node::TreeNodeRecursion::Jump,
                        )
                    }
                    LogicalPlan::SubqueryAlias(alias) => {
                        let idx = alias.schema.index_of_column(column)?;
                        Transformed::yes(Expr::from(alias.input.schema().qualified_field(idx)))
                    }
                    _ => Transformed::no(part),
                })
            })?
            .data;
    }
    Ok(expr)
}

fn ordered(sort: &Sort) -> DfResult<Option<LogicalPlan>> {
    let (wrappers, inner) = peel(&sort.input);
    let limit = sort.fetch.map(|fetch| fetch as u64);
    let keys = |wrappers: &[&LogicalPlan]| -> DfResult<Vec<(Expr, bool)>> {
        let mut keys = Vec::with_capacity(sort.expr.len());
        for SortExpr { expr, asc, nulls_first } in &sort.expr {
            // Nulls are the smallest values of the engine; an order that says otherwise is not its own.
            if asc != nulls_first {
                return Ok(Vec::new());
            }
            keys.push((below(expr.clone(), wrappers)?, !asc));
        }
        Ok(keys)
    };
    if limit == Some(0) {
        return Ok(None);
    }
    match inner {
        LogicalPlan::Aggregate(aggregate) => {
            let keys = keys(&wrappers)?;
            if keys.is_empty() {
                return Ok(None);
            }
            let mut positions = Vec::with_capacity(keys.len());
            for (key, descending) in keys {
                let Expr::Column(column) = key else { return Ok(None) };
                positions.push((aggregate.schema.index_of_column(&column)?, descending));
            }
            let Some(leaf) = group(aggregate)? else { return Ok(None) };
            let order = positions.into_iter().map(|(idx, desc)| (leaf.parts_name(idx), desc)).collect();
            match leaf.limited(order, limit) {
                Some(leaf) => Ok(Some(wrap(&wrappers, node(leaf))?)),
                None => Ok(None),
            }
        }
        LogicalPlan::TableScan(table) if table_of(table).is_some() && table.fetch.is_none() => {
            let descending = match keys(&wrappers)?.as_slice() {
                [(Expr::Column(column), descending)] if column.name == TIME => *descending,
                _ => return Ok(None),
            };
            match scan(table, Some(descending), limit)? {
                Some(leaf) => Ok(Some(wrap(&wrappers, node(leaf))?)),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn limited(limit: &Limit) -> DfResult<Option<LogicalPlan>> {
    let (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) = (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Ok(None);
    };
    let rows = (skip as u64).saturating_add(fetch as u64);
    let (wrappers, inner) = peel(&limit.input);
    let leaf = match inner {
        _ if rows == 0 => None,
        LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => {
            group(aggregate)?.and_then(|leaf| leaf.limited(Vec::new(), Some(rows)))
        }
        LogicalPlan::TableScan(table) => {
            let fetch = table.fetch.map_or(u64::MAX, |fetch| fetch as u64);
            scan(table, None, Some(rows.min(fetch)))?
        }
        _ => None,
    };
    let Some(leaf) = leaf else { return Ok(None) };
    let input = wrap(&wrappers, node(leaf))?;
    Ok(Some(LogicalPlan::Limit(Limit { skip: limit.skip.clone(), fetch: limit.fetch.clone(), input: Arc::new(input) })))
}

impl Leaf {
    /// The name of an output as aggregates and dimensions are declared.
    fn parts_name(&self, idx: usize) -> String {
        match &self.parts.kind {
            Shape::Group { dimensions, .. } => match dimensions.get(idx) {
                Some(dimension) => dimension["outputName"].as_str().unwrap_or_default().to_string(),
                None => self.outputs[idx].name.clone(),
            },
            Shape::Scan { .. } => self.outputs[idx].name.clone(),
        }
    }
}

/// The table at the bottom of a base, the conditions on the way, and the wrappers, outermost first.
fn base(plan: &LogicalPlan) -> DfResult<Option<(&TableScan, Vec<Expr>, Vec<&LogicalPlan>)>> {
    let mut wrappers: Vec<&LogicalPlan> = Vec::new();
    let mut conditions: Vec<(Expr, usize)> = Vec::new();
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Filter(filter) => {
                conditions.push((filter.predicate.clone(), wrappers.len()));
                at = &filter.input;
            }
            LogicalPlan::Projection(projection) => {
                wrappers.push(at);
                at = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => {
                wrappers.push(at);
                at = &alias.input;
            }
            LogicalPlan::TableScan(scan) if table_of(scan).is_some() && scan.fetch.is_none() => {
                let mut all = Vec::with_capacity(conditions.len());
                for (condition, above) in conditions {
                    all.push(below(condition, &wrappers[above..])?);
                }
                return Ok(Some((scan, all, wrappers)));
            }
            _ => return Ok(None),
        }
    }
}

/// Conditions split into intervals and the filter for the rest; `None` if one does not translate.
fn narrowed(lower: &mut Lower<'_>, conditions: &[Expr]) -> Option<(Vec<Interval>, Option<Json>)> {
    let mut intervals = vec![Interval::ETERNITY];
    let mut filters = Vec::new();
    for condition in conditions {
        for part in datafusion::logical_expr::utils::split_conjunction(condition) {
            match lower::intervals(part) {
                Some(allowed) => intervals = lower::intersect(&intervals, &allowed),
                None => filters.push(lower.filter(part)?),
            }
        }
    }
    let filter = match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(json!({"type": "and", "fields": filters})),
    };
    Some((intervals, filter))
}

fn qualified(scan: &TableScan) -> DfResult<DFSchema> {
    DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
}

fn scan(scan: &TableScan, order: Option<bool>, limit: Option<u64>) -> DfResult<Option<Leaf>> {
    let Some(table) = table_of(scan) else { return Ok(None) };
    let schema = qualified(scan)?;
    let mut lower = Lower::new(&schema);
    let Some((intervals, filter)) = narrowed(&mut lower, &scan.filters) else { return Ok(None) };
    let outputs: Vec<Output> = scan
        .projected_schema
        .fields()
        .iter()
        .map(|field| Output { name: field.name().clone(), data_type: field.data_type().clone() })
        .collect();
    let mut columns: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
    // No column at all would mean every column; rows are counted by their time.
    if columns.is_empty() || (order.is_some() && !columns.iter().any(|column| column == TIME)) {
        columns.push(TIME.to_string());
    }
    let fetch = scan.fetch.map(|fetch| fetch as u64);
    let parts = Parts {
        intervals: if fetch == Some(0) { Vec::new() } else { intervals },
        filter,
        virtual_columns: lower.virtual_columns(),
        kind: Shape::Scan { columns, order },
        limit: limit.or(fetch).filter(|limit| *limit > 0),
    };
    Ok(Leaf::new(&table.name, parts, scan.projected_schema.clone(), outputs))
}

fn group(aggregate: &Aggregate) -> DfResult<Option<Leaf>> {
    let Some((scan, mut conditions, wrappers)) = base(&aggregate.input)? else { return Ok(None) };
    let Some(table) = table_of(scan) else { return Ok(None) };
    conditions.extend(scan.filters.iter().cloned());
    let schema = qualified(scan)?;
    let mut lower = Lower::new(&schema);
    let Some((intervals, filter)) = narrowed(&mut lower, &conditions) else { return Ok(None) };
    let fields = aggregate.schema.fields();
    if fields.len() != aggregate.group_expr.len() + aggregate.aggr_expr.len() {
        return Ok(None);
    }
    let mut outputs = Vec::with_capacity(fields.len());
    let mut dimensions = Vec::with_capacity(aggregate.group_expr.len());
    let mut bucket = None;
    for (idx, key) in aggregate.group_expr.iter().enumerate() {
        let key = below(key.clone(), &wrappers)?;
        if aggregate.group_expr.len() == 1 {
            bucket = lower::time_bucket(&key);
        }
        let Some((column, value_type)) = lower.named(&key) else { return Ok(None) };
        let data_type = fields[idx].data_type().clone();
        if lower::value_type(&data_type).as_ref() != Some(&value_type) {
            return Ok(None);
        }
        let name = format!("d{idx}");
        dimensions.push(json!({"type": "default", "dimension": column, "outputName": name,
            "outputType": value_type.druid_name()}));
        outputs.push(Output { name, data_type });
    }
    let (mut aggregates, mut posts, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (idx, expr) in aggregate.aggr_expr.iter().enumerate() {
        let expr = below(expr.clone(), &wrappers)?;
        let name = format!("a{idx}");
        let Some((json, post)) = lower.aggregate(&expr, &name) else { return Ok(None) };
        let counts = |json: &Json| matches!(json["type"].as_str(), Some("count" | "distinctCount" | "HLLSketchBuild"));
        empty.push(match counts(&json) || counts(&json["aggregator"]) {
            true => EmptyValue::Zero,
            false => EmptyValue::Null,
        });
        let output = match &post {
            Some(post) => post["name"].as_str().unwrap_or_default().to_string(),
            None => name,
        };
        aggregates.push(json);
        posts.extend(post);
        let data_type = fields[aggregate.group_expr.len() + idx].data_type().clone();
        if value_type(&data_type).is_none() {
            return Ok(None);
        }
        outputs.push(Output { name: output, data_type });
    }
    // The bucket is the granularity; its virtual column serves when another order asks for a groupBy.
    let parts = Parts {
        intervals,
        filter,
        virtual_columns: lower.virtual_columns(),
        kind: Shape::Group { dimensions, bucket, aggregates, posts, order: Vec::new(), empty },
        limit: None,
    };
    Ok(Leaf::new(&table.name, parts, aggregate.schema.clone(), outputs))
}
