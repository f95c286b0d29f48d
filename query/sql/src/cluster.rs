//! The port to whoever runs this process: the facts that the tables of the `sys` schema show.
//!
//! They belong to the catalog, the tasks and the node, none of which SQL knows. Whoever does states them in the words of
//! this page, for the caller that asks; [`crate::sys`] makes columns of them. They are asked for when a statement runs,
//! so that no plan holds any.

use async_trait::async_trait;
use query::Principal;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What a process knows of its cluster. Each answer holds what the caller may see.
#[async_trait]
pub trait Cluster: Send + Sync {
    async fn segments(&self, who: &Principal) -> Result<Vec<Segment>>;
    async fn servers(&self, who: &Principal) -> Result<Vec<Server>>;
    /// Which server (`host:port`) serves which segment (its id).
    async fn server_segments(&self, who: &Principal) -> Result<Vec<(String, String)>>;
    async fn tasks(&self, who: &Principal) -> Result<Vec<Task>>;
    async fn supervisors(&self, who: &Principal) -> Result<Vec<Supervisor>>;
    async fn properties(&self, who: &Principal) -> Result<Vec<Property>>;
}

/// A published segment, or one that a task fills.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Segment {
    pub id: String,
    pub datasource: String,
    /// Milliseconds since 1970, as all times here.
    pub start: i64,
    pub end: i64,
    pub version: String,
    pub partition: u32,
    pub size_bytes: u64,
    pub rows: u64,
    /// How many servers serve it.
    pub replicas: u64,
    pub published: bool,
    pub overshadowed: bool,
    /// Whether a task serves rows of it.
    pub realtime: bool,
    /// JSON, as of a Druid segment.
    pub shard_spec: String,
    /// None are known of segments that are not published.
    pub columns: Option<(Vec<String>, Vec<String>)>,
}

/// A process in one of its roles.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// `coordinator`, `broker`, `historical`, …
    pub role: String,
    pub tier: Option<String>,
    pub segments_bytes: u64,
    /// What it may hold; 0 is as much as there is room for.
    pub segments_bytes_max: u64,
    /// `None` for roles without one.
    pub leader: Option<bool>,
    pub started: i64,
    pub version: String,
    pub processors: u64,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    pub group_id: String,
    pub kind: String,
    pub datasource: String,
    pub created: i64,
    /// `RUNNING`, `SUCCESS` or `FAILED`.
    pub status: String,
    /// `NONE`, `PENDING`, `WAITING` or `RUNNING`.
    pub runner_status: String,
    /// Milliseconds it took; -1 until it has ended.
    pub duration: i64,
    /// `host:port` of where it runs or ran.
    pub location: Option<String>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Supervisor {
    pub id: String,
    pub datasource: String,
    pub state: String,
    pub detailed_state: String,
    pub healthy: bool,
    pub kind: String,
    pub source: String,
    pub suspended: bool,
    /// JSON.
    pub spec: String,
}

/// A setting in force on a server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Property {
    pub address: String,
    pub service: String,
    /// A JSON list.
    pub roles: String,
    pub name: String,
    pub value: String,
}
