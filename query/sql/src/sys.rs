//! The `sys` schema: segments, servers and tasks as tables, in the columns that Druid gives them. The rows come from the
//! port [`Cluster`] when a statement scans them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use query::Principal;
use segment::time::format_timestamp;
use serde_json::json;

use crate::cluster::{Cluster, Property, Segment, Server, Supervisor, Task};
use crate::error::Result;

pub const SCHEMA: &str = "sys";

/// Druid's word for no port.
const NO_PORT: i64 = -1;

/// A table with its columns in order; those marked `true` are numbers, the others text.
pub const TABLES: [(&str, &[(&str, bool)]); 6] = [
    (
        "segments",
        &[
            ("segment_id", false),
            ("datasource", false),
            ("start", false),
            ("end", false),
            ("size", true),
            ("version", false),
            ("partition_num", true),
            ("num_replicas", true),
            ("num_rows", true),
            ("is_active", true),
            ("is_published", true),
            ("is_available", true),
            ("is_realtime", true),
            ("is_overshadowed", true),
            ("shard_spec", false),
            ("dimensions", false),
            ("metrics", false),
            ("projections", false),
            ("last_compaction_state", false),
            ("replication_factor", true),
        ],
    ),
    (
        "servers",
        &[
            ("server", false),
            ("host", false),
            ("plaintext_port", true),
            ("tls_port", true),
            ("server_type", false),
            ("tier", false),
            ("curr_size", true),
            ("max_size", true),
            ("storage_size", true),
            ("is_leader", true),
            ("start_time", false),
            ("version", false),
            ("build_revision", false),
            ("labels", false),
            ("available_processors", true),
            ("total_memory", true),
        ],
    ),
    ("server_segments", &[("server", false), ("segment_id", false)]),
    (
        "tasks",
        &[
            ("task_id", false),
            ("group_id", false),
            ("type", false),
            ("datasource", false),
            ("created_time", false),
            ("queue_insertion_time", false),
            ("status", false),
            ("runner_status", false),
            ("duration", true),
            ("location", false),
            ("host", false),
            ("plaintext_port", true),
            ("tls_port", true),
            ("error_msg", false),
        ],
    ),
    (
        "supervisors",
        &[
            ("supervisor_id", false),
            ("datasource", false),
            ("state", false),
            ("detailed_state", false),
            ("healthy", true),
            ("type", false),
            ("source", false),
            ("suspended", true),
            ("spec", false),
        ],
    ),
    (
        "server_properties",
        &[
            ("server", false),
            ("service_name", false),
            ("node_roles", false),
            ("property", false),
            ("value", false),
            ("error_message", false),
        ],
    ),
];

/// The tables of the schema that are datasources of the store's own, with the datasource's name.
pub const DATASOURCES: [(&str, &str); 2] = [("audit", "sys.audit"), ("metrics", "sys.metrics")];

/// The datasource that stands as a table of this schema.
pub fn datasource(table: &str) -> Option<&'static str> {
    DATASOURCES.iter().find(|(name, _)| *name == table).map(|(_, datasource)| *datasource)
}

enum Cell {
    Null,
    Text(String),
    Long(i64),
}

use Cell::{Long, Null, Text};

/// The table of that name; `None` if the schema has none such.
pub fn table(name: &str, cluster: &Arc<dyn Cluster>, who: &Principal) -> Option<Arc<dyn TableSource>> {
    let (name, columns) = TABLES.iter().find(|(table, _)| *table == name)?;
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, number)| Field::new(*name, if *number { DataType::Int64 } else { DataType::Utf8 }, true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let table = Facts { name, schema, cluster: cluster.clone(), who: who.clone() };
    Some(provider_as_source(Arc::new(table)))
}

/// A table whose rows are asked for when it is scanned.
struct Facts {
    name: &'static str,
    schema: SchemaRef,
    cluster: Arc<dyn Cluster>,
    who: Principal,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TableProvider for Facts {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    // As `async_trait` would write it, without a future that holds the expressions: see the planner of leaves.
    fn scan<'own, 'session, 'columns, 'filters, 'future>(
        &'own self,
        _session: &'session dyn Session,
        projection: Option<&'columns Vec<usize>>,
        _filters: &'filters [Expr],
        _limit: Option<usize>,
    ) -> BoxFuture<'future, DfResult<Arc<dyn ExecutionPlan>>>
    where
        Self: 'future,
        'own: 'future,
        'session: 'future,
        'columns: 'future,
        'filters: 'future,
    {
        let (rows, schema, projection) = (self.rows(), self.schema.clone(), projection.cloned());
        Box::pin(async move {
            let rows = rows.await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let rows = batch(&schema, rows)?;
            let scan: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&[vec![rows]], schema, projection)?;
            Ok(scan)
        })
    }
}

impl Facts {
    async fn rows(&self) -> Result<Vec<Vec<Cell>>> {
        let (cluster, who) = (&self.cluster, &self.who);
        Ok(match self.name {
            "segments" => cluster.segments(who).await?.into_iter().map(segment).collect(),
            "servers" => cluster.servers(who).await?.into_iter().map(server).collect(),
            "server_segments" => {
                let pairs = cluster.server_segments(who).await?;
                pairs.into_iter().map(|(server, segment)| vec![Text(server), Text(segment)]).collect()
            }
            "tasks" => cluster.tasks(who).await?.into_iter().map(task).collect(),
            "supervisors" => cluster.supervisors(who).await?.into_iter().map(supervisor).collect(),
            _ => cluster.properties(who).await?.into_iter().map(property).collect(),
        })
    }
}

fn time(millis: i64) -> Cell {
    Text(format_timestamp(millis))
}

fn number(value: u64) -> Cell {
    Long(i64::try_from(value).unwrap_or(i64::MAX))
}

fn truth(flag: bool) -> Cell {
    Long(i64::from(flag))
}

fn text(text: Option<String>) -> Cell {
    text.map_or(Null, Text)
}

fn segment(segment: Segment) -> Vec<Cell> {
    let names = |names: &[String]| Text(json!(names).to_string());
    let available = segment.replicas > 0;
    vec![
        Text(segment.id),
        Text(segment.datasource),
        time(segment.start),
        time(segment.end),
        number(segment.size_bytes),
        Text(segment.version),
        Long(i64::from(segment.partition)),
        number(segment.replicas),
        number(segment.rows),
        truth((segment.published && !segment.overshadowed) || segment.realtime),
        truth(segment.published),
        truth(available),
        truth(segment.realtime),
        truth(segment.overshadowed),
        Text(segment.shard_spec),
        segment.columns.as_ref().map_or(Null, |(dimensions, _)| names(dimensions)),
        segment.columns.as_ref().map_or(Null, |(_, metrics)| names(metrics)),
        Null,
        Null,
        // What is published is to be served once; of the others no rule speaks.
        Long(if segment.published { i64::from(!segment.overshadowed) } else { -1 }),
    ]
}

fn server(server: Server) -> Vec<Cell> {
    let (host, port) = place(&server.address);
    vec![
        Text(server.address.clone()),
        Text(host),
        Long(port),
        Long(NO_PORT),
        Text(server.role),
        text(server.tier),
        number(server.segments_bytes),
        number(server.segments_bytes_max),
        number(server.segments_bytes_max),
        server.leader.map_or(Null, truth),
        time(server.started),
        Text(server.version),
        Null,
        Null,
        number(server.processors),
        number(server.memory_bytes),
    ]
}

fn task(task: Task) -> Vec<Cell> {
    let (host, port) = match &task.location {
        Some(address) => {
            let (host, port) = place(address);
            (Text(host), Long(port))
        }
        None => (Null, Long(NO_PORT)),
    };
    vec![
        Text(task.id),
        Text(task.group_id),
        Text(task.kind),
        Text(task.datasource),
        time(task.created),
        time(task.created),
        Text(task.status),
        Text(task.runner_status),
        Long(task.duration),
        text(task.location),
        host,
        port,
        Long(NO_PORT),
        text(task.error),
    ]
}

fn supervisor(supervisor: Supervisor) -> Vec<Cell> {
    vec![
        Text(supervisor.id),
        Text(supervisor.datasource),
        Text(supervisor.state),
        Text(supervisor.detailed_state),
        truth(supervisor.healthy),
        Text(supervisor.kind),
        Text(supervisor.source),
        truth(supervisor.suspended),
        Text(supervisor.spec),
    ]
}

fn property(property: Property) -> Vec<Cell> {
    vec![
        Text(property.address),
        Text(property.service),
        Text(property.roles),
        Text(property.name),
        Text(property.value),
        Null,
    ]
}

/// The host and port of an address.
fn place(address: &str) -> (String, i64) {
    match address.rsplit_once(':') {
        Some((host, port)) => (host.to_string(), port.parse().unwrap_or(NO_PORT)),
        None => (address.to_string(), NO_PORT),
    }
}

fn batch(schema: &SchemaRef, rows: Vec<Vec<Cell>>) -> DfResult<RecordBatch> {
    let columns = schema.fields().iter().enumerate().map(|(idx, field)| -> ArrayRef {
        let cells = rows.iter().map(|row| &row[idx]);
        match field.data_type() {
            DataType::Int64 => Arc::new(
                cells.map(|cell| if let Long(long) = cell { Some(*long) } else { None }).collect::<Int64Array>(),
            ),
            _ => Arc::new(
                cells
                    .map(|cell| if let Text(text) = cell { Some(text.as_str()) } else { None })
                    .collect::<StringArray>(),
            ),
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}
