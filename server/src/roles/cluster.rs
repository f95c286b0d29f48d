//! The SQL crate's port to what a process knows of its cluster, plugged onto the catalog and the inventory. One process
//! does all there is, so it stands under the name of each role.
//!
//! Each answer holds what the caller may see. Segments are told of where the caller sees every row of the datasource:
//! how many there are, how large, and of which times hangs on rows that others may not see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use coordinator::{Coordinator, Role, TaskFilter, TaskState, View};
use query::policy::{Action, Kind, Restriction};
use query::{Authorizer, Principal};
use query_sql::cluster::{Cluster, Property, Segment, Server, Supervisor, Task};
use segment::inventory::Inventory;
use segment::{SegmentId, is_system};
use serde_json::{Value, json};

use crate::http::manage::datasources::{TIER, data_segment};
use crate::http::manage::secrets::hidden;
use crate::http::status::{DRUID_VERSION, resident_bytes};

/// Every role a process has, and whether it is one of which there is a leader.
const ROLES: [(&str, bool); 6] = [
    ("coordinator", true),
    ("overlord", true),
    ("broker", false),
    ("historical", false),
    ("indexer", false),
    ("router", false),
];

/// Tasks that are shown: all that run, and the newest of those that ended.
const TASKS_MAX: usize = 10_000;

pub struct LocalCluster {
    pub coordinator: Arc<Coordinator>,
    pub inventory: Arc<Inventory>,
    pub authorizer: Arc<Authorizer>,
    /// `host:port` as others reach it.
    pub address: String,
    pub started: i64,
    /// Settings in force, as `/status/properties` shows them.
    pub properties: Value,
    /// Whether other nodes do what this one does not: then the view tells of them.
    pub split: bool,
}

impl LocalCluster {
    /// Whether the caller sees all of a datasource.
    fn sees_all(&self, who: &Principal, datasource: &str) -> bool {
        matches!(self.authorizer.restriction(who, datasource), Ok(Restriction::Unrestricted))
    }

    fn replicas(&self, view: &View, id: &SegmentId) -> u64 {
        if !self.split {
            return u64::from(self.inventory.serves_published(id));
        }
        let placed = view.tables.get(&id.datasource).and_then(|table| table.published.get(id));
        placed.map_or(0, |placed| placed.nodes.len() as u64)
    }

    /// The nodes that the leader knows, itself among them, each under its roles.
    fn nodes(&self, who: &Principal) -> Vec<Server> {
        let view = self.coordinator.view();
        let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, table) in view.tables.iter().filter(|(name, _)| self.sees_all(who, name)) {
            let sizes = self.coordinator.segments(name).into_iter().map(|meta| (meta.id.clone(), meta.size_bytes));
            let sizes: BTreeMap<SegmentId, u64> = sizes.collect();
            for (id, placed) in table.published.iter() {
                let size = sizes.get(id).copied().unwrap_or(0);
                placed.nodes.iter().for_each(|node| *bytes.entry(node).or_default() += size);
            }
        }
        let server = |address: &str, role: &str| Server {
            address: address.to_string(),
            role: role.to_string(),
            version: DRUID_VERSION.to_string(),
            ..Server::default()
        };
        let leading = |role| Server { leader: Some(true), started: self.started, ..server(&self.address, role) };
        let mut servers: Vec<Server> = ["coordinator", "overlord"].map(leading).into();
        for (name, node) in view.nodes.iter() {
            for role in &node.roles {
                servers.push(match role {
                    Role::Coordinator => continue,
                    Role::Broker => server(&node.address, "broker"),
                    Role::Ingest => server(&node.address, "indexer"),
                    Role::Historical => Server {
                        tier: Some(node.tier.clone()),
                        segments_bytes: bytes.get(name.as_str()).copied().unwrap_or(0),
                        ..server(&node.address, "historical")
                    },
                });
            }
        }
        servers
    }

    /// Which node serves what.
    fn served(&self, who: &Principal) -> Vec<(String, String)> {
        let view = self.coordinator.view();
        let address = |node: &String| view.nodes.get(node).map(|node| node.address.clone());
        let mut served = BTreeSet::new();
        for (_, table) in view.tables.iter().filter(|(name, _)| !is_system(name) && self.sees_all(who, name)) {
            for (id, placed) in table.published.iter() {
                served.extend(placed.nodes.iter().filter_map(|node| Some((address(node)?, id.to_string()))));
            }
            served.extend(table.realtime.iter().filter_map(|(id, node)| Some((address(node)?, id.to_string()))));
        }
        served.into_iter().collect()
    }

    fn may_read(&self, who: &Principal, kind: Kind, name: &str) -> bool {
        self.authorizer.current().may(who, kind, name, Action::Read)
    }
}

#[async_trait]
impl Cluster for LocalCluster {
    async fn segments(&self, who: &Principal) -> query_sql::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        let mut known: BTreeMap<SegmentId, usize> = BTreeMap::new();
        let view = self.coordinator.view();
        for datasource in self.coordinator.datasources(false).await.map_err(error)? {
            let overshadowed: BTreeSet<SegmentId> = self.coordinator.overshadowed(&datasource).into_iter().collect();
            for meta in self.coordinator.segments(&datasource) {
                known.insert(meta.id.clone(), segments.len());
                segments.push(Segment {
                    size_bytes: meta.size_bytes,
                    rows: meta.rows,
                    replicas: self.replicas(&view, &meta.id),
                    published: true,
                    overshadowed: overshadowed.contains(&meta.id),
                    shard_spec: data_segment(&meta)["shardSpec"].to_string(),
                    columns: Some((meta.dimensions.clone(), meta.metrics.clone())),
                    ..named(&meta.id)
                });
            }
        }
        let growing: Vec<(SegmentId, u64)> = match self.split {
            // How many rows it has by now, its node knows.
            true => view.tables.values().flat_map(|table| table.realtime.keys().map(|id| (id.clone(), 0))).collect(),
            false => self.inventory.realtime().into_iter().map(|(id, index)| (id, index.rows() as u64)).collect(),
        };
        for (id, rows) in growing.into_iter().filter(|(id, _)| !is_system(&id.datasource)) {
            let at = *known.entry(id.clone()).or_insert_with(|| {
                let spec = json!({"type": "numbered", "partitionNum": id.partition, "partitions": 0});
                segments.push(Segment { shard_spec: spec.to_string(), rows, ..named(&id) });
                segments.len() - 1
            });
            segments[at].realtime = true;
            segments[at].replicas = 1;
        }
        segments.retain(|segment| self.sees_all(who, &segment.datasource));
        Ok(segments)
    }

    async fn servers(&self, who: &Principal) -> query_sql::Result<Vec<Server>> {
        if self.split {
            return Ok(self.nodes(who));
        }
        let published = self.inventory.published();
        let seen = published.iter().filter(|segment| self.sees_all(who, &segment.id().datasource));
        let size: u64 = seen.map(|segment| segment.size_bytes()).sum();
        // What the process holds in memory tells of rows, too.
        let state = self.may_read(who, Kind::State, "STATE");
        let server = |(role, led): &(&str, bool)| {
            let holds = *role == "historical";
            Server {
                address: self.address.clone(),
                role: role.to_string(),
                tier: holds.then(|| TIER.to_string()),
                segments_bytes: if holds { size } else { 0 },
                segments_bytes_max: 0,
                leader: led.then_some(true),
                started: self.started,
                version: DRUID_VERSION.to_string(),
                processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
                memory_bytes: if state { resident_bytes() } else { 0 },
            }
        };
        Ok(ROLES.iter().map(server).collect())
    }

    async fn server_segments(&self, who: &Principal) -> query_sql::Result<Vec<(String, String)>> {
        if self.split {
            return Ok(self.served(who));
        }
        let mut served: BTreeSet<SegmentId> = self.inventory.published_ids().into_iter().collect();
        served.extend(self.inventory.realtime().into_iter().map(|(id, _)| id));
        served.retain(|id| !is_system(&id.datasource) && self.sees_all(who, &id.datasource));
        Ok(served.into_iter().map(|id| (self.address.clone(), id.to_string())).collect())
    }

    async fn tasks(&self, who: &Principal) -> query_sql::Result<Vec<Task>> {
        let filter = TaskFilter { max: Some(TASKS_MAX), ..TaskFilter::default() };
        let tasks = self.coordinator.tasks(filter).await.map_err(error)?;
        Ok(tasks
            .into_iter()
            .filter(|task| self.authorizer.sees_work(who, Kind::Task, &task.datasource))
            .map(|task| {
                let (status, runner_status) = match task.state {
                    TaskState::Pending => ("RUNNING", "PENDING"),
                    TaskState::Running => ("RUNNING", "RUNNING"),
                    TaskState::Success => ("SUCCESS", "NONE"),
                    TaskState::Failed => ("FAILED", "NONE"),
                };
                Task {
                    id: task.id,
                    group_id: task.group_id,
                    kind: task.kind,
                    datasource: task.datasource,
                    created: task.created_at,
                    status: status.to_string(),
                    runner_status: runner_status.to_string(),
                    duration: task.ended_at.map_or(-1, |end| end - task.started_at.unwrap_or(task.created_at)),
                    location: task.started_at.map(|_| self.address.clone()),
                    error: task.error,
                }
            })
            .collect())
    }

    async fn supervisors(&self, who: &Principal) -> query_sql::Result<Vec<Supervisor>> {
        let supervisors = self.coordinator.supervisors().into_iter();
        let seen = |s: &coordinator::Supervisor| self.authorizer.sees_work(who, Kind::Supervisor, &s.spec.datasource);
        let shown = supervisors.filter(seen).map(|supervisor| Supervisor {
            state: supervisor.state.basic().to_string(),
            detailed_state: supervisor.state.detailed().to_string(),
            healthy: supervisor.state.is_healthy(),
            id: supervisor.spec.id,
            datasource: supervisor.spec.datasource,
            kind: supervisor.spec.kind,
            source: supervisor.spec.source,
            suspended: supervisor.spec.suspended,
            spec: hidden(&supervisor.spec.document).to_string(),
        });
        Ok(shown.collect())
    }

    async fn properties(&self, who: &Principal) -> query_sql::Result<Vec<Property>> {
        if !self.may_read(who, Kind::Config, "CONFIG") {
            return Ok(Vec::new());
        }
        let roles: Vec<&str> = ROLES.iter().map(|(role, _)| *role).collect();
        let property = |(name, value): (&String, &Value)| Property {
            address: self.address.clone(),
            service: "henge".to_string(),
            roles: json!(roles).to_string(),
            name: name.clone(),
            value: value.as_str().map_or_else(|| value.to_string(), str::to_string),
        };
        Ok(self.properties.as_object().into_iter().flatten().map(property).collect())
    }
}

fn named(id: &SegmentId) -> Segment {
    Segment {
        id: id.to_string(),
        datasource: id.datasource.clone(),
        start: id.interval.start,
        end: id.interval.end,
        version: id.version.clone(),
        partition: id.partition,
        ..Segment::default()
    }
}

fn error(error: coordinator::Error) -> query_sql::Error {
    query_sql::Error::Query(query::Error::Unavailable(error.to_string()))
}
