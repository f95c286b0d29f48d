//! What the cluster knows, and keeping it in line.
//!
//! The [`Coordinator`] keeps the catalog: which segments are published and used, how far every supervisor's stream is
//! committed, which supervisors and tasks there are. Three kinds of callers come to it:
//!
//! - tasks [`allocate`](Coordinator::allocate) names for segments and [`publish`](Coordinator::publish) them, together
//!   with the positions they reach, in one transaction;
//! - nodes send a [`heartbeat`](Coordinator::heartbeat) and take orders from its answer: start and stop tasks, load and
//!   drop segments;
//! - people post supervisors and tasks, mark segments and ask how things stand.
//!
//! The catalog is a file of SQLite or a database of PostgreSQL, which several processes may open: one of them
//! [leads](Coordinator::lead) by a [lease], the others stand by.
//!
//! Beside these it keeps [`documents`](Coordinator::documents) of others, such as users and roles, and how their
//! [alerts](Coordinator::record_alerts) stand.
//!
//! [`cycle`](Coordinator::cycle) brings what should be and what is together. It runs when [`watch`](Coordinator::watch)
//! tells of a change, and now and then: nothing waits for its rhythm.
//!
//! ```no_run
//! # async fn example() -> henge_coordinator::Result<()> {
//! let settings = henge_coordinator::Settings {
//!     tasks_max: 16, task_failures_max: 3, restart_after_ms: 1000, restart_after_max_ms: 60_000,
//!     node_lease_ms: 8_000, return_ms: 60_000,
//! };
//! let coordinator = henge_coordinator::Coordinator::open("catalog.db".as_ref(), settings).await?;
//! let now = 1_767_225_600_000;
//! coordinator.cycle(now).await?;
//! let member = henge_coordinator::Member { node: "n1".into(), ..Default::default() };
//! let report = henge_coordinator::Report { member, seq: 1, ..Default::default() };
//! let reply = coordinator.heartbeat(report, now).await?;
//! for command in reply.commands { /* carry it out, report again */ }
//! # Ok(()) }
//! ```

mod alerts;
mod catalog;
mod command;
mod cycle;
mod documents;
mod error;
mod fleet;
mod grants;
mod lead;
pub mod lease;
mod members;
pub mod metrics;
mod node;
mod picture;
mod plan;
mod replacing;
pub mod rules;
mod scaling;
mod segments;
mod spread;
mod standing;
mod supervisors;
mod tasks;
mod tuning;
mod view;
mod views;

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify, watch};

pub use alerts::{
    AlertChange, AlertEntry, AlertNotice, AlertRecord, AlertState, HISTORY_KEPT as ALERT_HISTORY_KEPT, NoticeOutcome,
    Notified,
};
pub use catalog::{Allocation, MetadataStore, Positions, PostgresUrl, Publication, PublishMode, Published};
pub use command::{
    Command, Condition, Phase, Poster, Reply, Report, Served, StopReason, TaskProgress, TaskRecord, TaskState,
};
pub use cycle::CycleReport;
pub use documents::{Change, Document};
pub use error::{Error, Result};
pub use grants::Poll;
pub use node::{Member, Role};
pub use replacing::Sight;
pub use scaling::{LagAggregate, Scaling};
pub use segments::{LoadStatus, SegmentRow, Selection};
pub use supervisors::{Exception, Revision, Scaled, Supervisor, SupervisorSpec, SupervisorState, home_of, of_node};
pub use tasks::{TaskFilter, TaskStatus};
pub use view::{Name, Placed, Table, TableChanges, View, ViewChanges, ViewNode, ViewNumber, ViewUpdate};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Tasks that run at once on all nodes; more wait as pending. Supervised tasks go first.
    pub tasks_max: usize,
    /// So many failures in a row of a supervisor's tasks make it unhealthy.
    pub task_failures_max: u32,
    /// A failed supervised task is followed by another after this long, doubled with each failure in a row …
    pub restart_after_ms: i64,
    /// … up to this.
    pub restart_after_max_ms: i64,
    /// A node that was not heard of for so long is lost: what it served is not there any more, and its tasks go elsewhere.
    pub node_lease_ms: i64,
    /// What a lost node served, and another serves too, is loaded elsewhere only after so long: a node that is started again
    /// has its copies still.
    pub return_ms: i64,
}

/// Cheap to clone; clones are the same coordinator. Of all that are open on a catalog, in any process, one leads and may
/// write: see [`Coordinator::open`] and [`Coordinator::lead`].
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    lead: lead::Lead,
    /// Held from before a write transaction begins until `picture` shows it, so that the picture is never older than
    /// what a holder reads.
    writing: Mutex<()>,
    picture: RwLock<picture::Picture>,
    feed: RwLock<view::Feed>,
    view_changed: watch::Sender<ViewNumber>,
    grants: parking_lot::Mutex<grants::Grants>,
    /// Brokers have newer views, or may answer by none.
    known: Notify,
    changed: watch::Sender<u64>,
    documents_changed: watch::Sender<i64>,
    /// Knows who may replace rows.
    sight: OnceLock<Arc<dyn Sight>>,
}

impl Coordinator {
    /// Changes whenever a cycle or a heartbeat may have something to do.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn wake(&self) {
        self.show();
        self.inner.changed.send_modify(|number| *number += 1);
    }

    /// Runs a write as [`Coordinator::to_its_end`] does, after which a cycle or a heartbeat may have something to do.
    async fn detached<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let done = self.to_its_end(work).await;
        self.wake();
        done
    }

    /// Runs a write to its end even if the caller goes away meanwhile: a transaction that was committed without its
    /// change being shown in the picture would leave the two apart.
    async fn to_its_end<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        match tokio::spawn(work).await {
            Ok(done) => done,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(stopped) => Err(Error::Store { what: "the process is stopping", source: Box::new(stopped) }),
        }
    }
}
