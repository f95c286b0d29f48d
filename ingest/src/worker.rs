//! Which tasks run in this process: starts them by command, stops them for a reason, reports on them.

use std::path::PathBuf;
use std::sync::Arc;

use segment::inventory::Inventory;
use segment::storage::deep::DeepStorage;

use crate::error::Result;
use crate::fail::FailPoints;
use crate::ledger::Ledger;
use crate::report::TaskReport;

/// Milliseconds since 1970: the only clock below the server.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

#[derive(Clone)]
pub struct Settings {
    /// Where tasks keep spills and manifests; survives restarts.
    pub folder: PathBuf,
    pub clock: Clock,
    /// `maxBytesInMemory` of a task whose spec gives none (or 0).
    pub bytes_in_memory_default: usize,
    /// Folders that batch tasks may read files from; empty: any.
    pub allowed_folders: Vec<PathBuf>,
    pub fail_points: FailPoints,
}

/// What tasks reach outside this crate.
#[derive(Clone)]
pub struct Ports {
    pub ledger: Arc<dyn Ledger>,
    pub inventory: Arc<Inventory>,
    pub deep: DeepStorage,
}

/// The order to start a task.
#[derive(Debug, Clone, PartialEq)]
pub struct StartTask {
    pub id: String,
    pub group_id: String,
    pub datasource: String,
    /// `index_kafka`, `index_parallel`, `index`, `noop`.
    pub kind: String,
    pub supervisor: Option<String>,
    /// The spec as it was posted (of the supervisor, for a supervised task).
    pub document: serde_json::Value,
    /// This task reads the partitions with `partition % groups == group`.
    pub group: u32,
    pub groups: u32,
    /// Grows whenever the supervisor's positions are reset, so that names of sequences are never used again.
    pub generation: i64,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Publish what was read, then stop.
    Suspend,
    /// As `Suspend`: another spec takes over.
    Replace,
    /// As `Suspend`: for good.
    Terminate,
    /// The process ends in good order: persist, publish nothing.
    Shutdown,
    /// Discard what is not published.
    Reset,
    /// As `Reset`, the task counts as failed.
    Cancel,
}

/// Cheap to share behind an `Arc`. Needs a tokio runtime around its calls.
pub struct Worker {
    ports: Ports,
    settings: Settings,
}

impl Worker {
    pub fn new(ports: Ports, settings: Settings) -> Arc<Worker> {
        Arc::new(Worker { ports, settings })
    }

    /// Starts a task; a task of the same id that runs already is left alone. A document that cannot be used makes a
    /// failed report, not an error.
    pub fn start(&self, order: StartTask) {
        let _ = (order, &self.ports, &self.settings);
        todo!()
    }

    /// Asks a task to stop; `reports` tells when it has.
    pub fn stop(&self, task: &str, reason: StopReason) {
        let _ = (task, reason);
        todo!()
    }

    /// Running tasks, and ended ones until they are forgotten.
    pub fn reports(&self) -> Vec<TaskReport> {
        todo!()
    }

    pub fn report(&self, task: &str) -> Option<TaskReport> {
        let _ = task;
        todo!()
    }

    /// Drops the report of an ended task, once the coordinator has recorded it.
    pub fn forget(&self, task: &str) {
        let _ = task;
        todo!()
    }

    /// Stops every task with [`StopReason::Shutdown`] and waits until all have ended.
    pub async fn shutdown(&self) -> Result<()> {
        todo!()
    }
}
