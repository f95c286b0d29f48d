//! What nodes ask of the coordinator that leads: both ends of heartbeats, of the picture that brokers follow, of the ledger
//! of tasks, and of what the tables of the `sys` schema show.
//!
//! Who leads stands in the lease, in the metadata store. A node asks the one it knows of, and looks again when that one is
//! gone or leads no more ([`Leader`]). Each answer is given while the coordinator surely leads, or not at all; what is
//! written is fenced in the store besides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use coordinator::lease::{LEADERSHIP, Leases};
use coordinator::{Reply, Report, ViewNumber, ViewUpdate};
use ingest::{Allocation, Ledger, PartitionKey, Positions, Publication, PublishMode};
use parking_lot::Mutex;
use query::Principal;
use query_sql::cluster::{Cluster, Property, Segment, Server, Supervisor, Task};
use segment::{Interval, SegmentId, SegmentMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::forward::{LEADER_WITHIN, REST};
use super::peers::{PeerError, Peers};
use crate::http::App;
use crate::http::error::{Answered, Refusal};
use crate::node::now;
use crate::roles::ledger::LocalLedger;

pub const HEARTBEAT: &str = "/henge/internal/v1/heartbeat";
pub const LEAVE: &str = "/henge/internal/v1/leave";
pub const VIEW: &str = "/henge/internal/v1/view";
pub const FOLLOW: &str = "/henge/internal/v1/follow";
pub const LEDGER: &str = "/henge/internal/v1/ledger";
pub const SYSTEM: &str = "/henge/internal/v1/system";

/// The longest that a broker's question for a newer picture is left open.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a task waits at once for brokers to know of what it is about to take in.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(2);

/// How long a node waits for what it asks the leader, where nothing else bounds it.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long a node that ends waits for the leader to hear of it.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The way to the coordinator that leads.
pub struct Leader {
    pub peers: Arc<Peers>,
    leases: Leases,
    /// As it was found last.
    known: Mutex<Option<String>>,
}

/// Of brokers of an earlier version, which answer by what they have for as long as they have nothing newer.
#[derive(Serialize, Deserialize)]
pub struct ViewAsk {
    since: ViewNumber,
    wait_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct FollowAsk {
    node: String,
    process: u64,
    since: ViewNumber,
    wait_ms: u64,
}

/// What is newer, and for how long from the question on the broker may answer by what it has then.
#[derive(Serialize, Deserialize)]
pub struct FollowAnswer {
    pub update: ViewUpdate,
    pub granted_ms: Option<u64>,
}

impl Leader {
    pub fn new(peers: Arc<Peers>, leases: Leases) -> Arc<Leader> {
        Arc::new(Leader { peers, leases, known: Mutex::default() })
    }

    /// Where it is, as the metadata store has it; from memory until [`Leader::forget`].
    pub async fn address(&self) -> Result<String, PeerError> {
        if let Some(known) = self.known.lock().clone() {
            return Ok(known);
        }
        let none = |why: String| PeerError::Unreachable { address: "the coordinator that leads".into(), why };
        let leases = self.leases.list(LEADERSHIP).await.map_err(|error| none(error.to_string()))?;
        let lease = leases.into_iter().find(|lease| lease.name == LEADERSHIP && lease.is_live());
        let lease = lease.ok_or_else(|| none("none leads now".into()))?;
        let address = lease.info["address"].as_str().ok_or_else(|| none("its lease names no address".into()))?;
        *self.known.lock() = Some(address.to_string());
        Ok(address.to_string())
    }

    /// It was not there, or does not lead: it is looked for again.
    pub fn forget(&self, address: &str) {
        self.known.lock().take_if(|known| known.as_str() == address);
    }

    /// Asks it once.
    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, PeerError> {
        let address = self.address().await?;
        let answer = self.peers.ask(&address, path, body, within).await;
        if let Err(PeerError::Unreachable { .. } | PeerError::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }) =
            &answer
        {
            self.forget(&address);
        }
        answer
    }

    pub async fn heartbeat(&self, report: &Report, within: Duration) -> Result<Reply, PeerError> {
        self.ask(HEARTBEAT, report, within).await
    }

    /// Tells it that this process ends: nobody waits for it.
    pub async fn leave(&self, node: &str, process: u64) -> Result<(), PeerError> {
        self.ask(LEAVE, &Leaving { node: node.to_string(), process }, LEAVE_WITHIN).await
    }

    /// What is newer than the view that a process of a node has; waits for it for a while. Where nothing is, an update that
    /// changes nothing. A leader of an earlier version grants `without`, which is about what others grant: it does not know what
    /// brokers have.
    pub async fn follow(
        &self,
        (node, process): (&str, u64),
        since: ViewNumber,
        wait: Duration,
        without: Duration,
    ) -> Result<FollowAnswer, PeerError> {
        let wait_ms = wait.as_millis() as u64;
        let ask = FollowAsk { node: node.to_string(), process, since, wait_ms };
        match self.ask(FOLLOW, &ask, wait + without / 2).await {
            Err(PeerError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                let update = self.ask(VIEW, &ViewAsk { since, wait_ms }, wait + ANSWER_WITHIN).await?;
                Ok(FollowAnswer { update, granted_ms: Some(without.as_millis() as u64) })
            }
            answer => answer,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct Leaving {
    node: String,
    process: u64,
}

fn leading(app: &App) -> Answered<&coordinator::Coordinator> {
    match app.standing.leads() {
        true => Ok(&app.coordinator),
        false => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this node does not lead")),
    }
}

pub async fn heartbeat(State(app): State<Arc<App>>, Json(report): Json<Report>) -> Answered<Json<Reply>> {
    Ok(Json(leading(&app)?.heartbeat(report, now()).await?))
}

pub async fn leave(State(app): State<Arc<App>>, Json(leaving): Json<Leaving>) -> Answered<Json<()>> {
    Ok(Json(leading(&app)?.forget_node(&leaving.node, leaving.process, now()).await?))
}

pub async fn view(State(app): State<Arc<App>>, Json(ask): Json<ViewAsk>) -> Answered<Json<ViewUpdate>> {
    let coordinator = leading(&app)?;
    let look = || Some(coordinator.view_since(ask.since)).filter(|update| *update != ViewUpdate::Unchanged);
    let update = when_newer(&app, coordinator, ask.wait_ms, look).await;
    leading(&app)?;
    Ok(Json(update.unwrap_or(ViewUpdate::Unchanged)))
}

pub async fn follow(State(app): State<Arc<App>>, Json(ask): Json<FollowAsk>) -> Answered<Json<FollowAnswer>> {
    let coordinator = leading(&app)?;
    let poll = coordinator.poll(&ask.node, ask.process, ask.since);
    let look = || Some(coordinator.view_since(ask.since)).filter(|update| *update != ViewUpdate::Unchanged);
    when_newer(&app, coordinator, ask.wait_ms, look).await;
    let (update, granted) = coordinator.answer(&poll, ask.since);
    leading(&app)?;
    Ok(Json(FollowAnswer { update, granted_ms: granted.map(|granted| granted.as_millis() as u64) }))
}

/// What there is to be told as soon as there is any, or `None` after a while.
async fn when_newer<T>(
    app: &App,
    coordinator: &coordinator::Coordinator,
    wait_ms: u64,
    look: impl Fn() -> Option<T>,
) -> Option<T> {
    let (mut newest, mut stopping) = (coordinator.watch_view(), app.stopping.clone());
    let until = Instant::now() + Duration::from_millis(wait_ms).min(VIEW_WAIT_MAX);
    loop {
        newest.mark_unchanged();
        if let Some(found) = look() {
            return Some(found);
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return None },
            () = tokio::time::sleep_until(until) => return None,
            _ = stopping.changed() => return None,
        }
    }
}

/// What a task of a node asks of the ledger.
#[derive(Serialize, Deserialize)]
pub struct LedgerMessage {
    node: String,
    ask: LedgerAsk,
}

#[derive(Serialize, Deserialize)]
enum LedgerAsk {
    Positions { supervisor: String },
    Allocate(AllocateAsk),
    Announce { ids: Vec<SegmentId> },
    Publish(Box<PublishAsk>),
    IsServed { id: SegmentId },
}

#[derive(Serialize, Deserialize)]
struct AllocateAsk {
    task: String,
    attempt: i64,
    datasource: String,
    sequence: String,
    interval: Interval,
    at: i64,
    fresh_version: bool,
    index: u32,
}

#[derive(Serialize, Deserialize)]
struct PublishAsk {
    task: String,
    attempt: i64,
    supervisor: Option<String>,
    datasource: String,
    segments: Vec<SegmentMeta>,
    from: Offsets,
    to: Offsets,
    /// Instead of what is older within these intervals; `None` is beside what is there.
    replace: Option<Vec<Interval>>,
}

type Offsets = BTreeMap<String, i64>;

#[derive(Serialize, Deserialize)]
pub enum LedgerAnswer {
    Positions(Offsets),
    Allocated(SegmentId),
    Announced,
    Published(Vec<SegmentId>),
    Served(bool),
    /// What the ledger said of it; whatever else goes wrong is a status.
    Stale {
        committed: Offsets,
    },
    Invalid(String),
    NotFound(String),
    Unavailable(String),
    Failed(String),
}

fn sent(positions: &Positions) -> Offsets {
    positions.0.iter().map(|(key, offset)| (key.to_string(), *offset)).collect()
}

fn received(offsets: Offsets) -> ingest::Result<Positions> {
    let read = offsets.into_iter().map(|(key, offset)| {
        let wrong = || ingest::Error::Bug(format!("the leader names '{key}', which is no partition"));
        Ok((PartitionKey::parse(&key).ok_or_else(wrong)?, offset))
    });
    Ok(Positions(read.collect::<ingest::Result<_>>()?))
}

/// The ledger of tasks whose coordinator is another process.
pub struct RemoteLedger {
    pub leader: Arc<Leader>,
    /// The name of this node.
    pub node: String,
}

impl RemoteLedger {
    async fn ask(&self, ask: LedgerAsk) -> ingest::Result<LedgerAnswer> {
        let message = LedgerMessage { node: self.node.clone(), ask };
        let answer = self.leader.ask(LEDGER, &message, ANSWER_WITHIN).await;
        match answer.map_err(|error| ingest::Error::Unavailable(error.to_string()))? {
            LedgerAnswer::Stale { committed } => Err(ingest::Error::Stale { committed: received(committed)? }),
            LedgerAnswer::Invalid(text) => Err(ingest::Error::Invalid(text)),
            LedgerAnswer::NotFound(text) => Err(ingest::Error::NotFound(text)),
            LedgerAnswer::Unavailable(text) => Err(ingest::Error::Unavailable(text)),
            LedgerAnswer::Failed(text) => Err(ingest::Error::Failed(text)),
            answer => Ok(answer),
        }
    }
}

fn other_answer<T>() -> ingest::Result<T> {
    Err(ingest::Error::Bug("the leader answered something else than it was asked".into()))
}

#[async_trait]
impl Ledger for RemoteLedger {
    async fn positions(&self, supervisor: &str) -> ingest::Result<Positions> {
        match self.ask(LedgerAsk::Positions { supervisor: supervisor.to_string() }).await? {
            LedgerAnswer::Positions(offsets) => received(offsets),
            _ => other_answer(),
        }
    }

    async fn allocate(&self, what: &Allocation) -> ingest::Result<SegmentId> {
        let ask = AllocateAsk {
            task: what.task.clone(),
            attempt: what.attempt,
            datasource: what.datasource.clone(),
            sequence: what.sequence.clone(),
            interval: what.interval,
            at: what.at,
            fresh_version: what.fresh_version,
            index: what.index,
        };
        match self.ask(LedgerAsk::Allocate(ask)).await? {
            LedgerAnswer::Allocated(id) => Ok(id),
            _ => other_answer(),
        }
    }

    async fn announce(&self, ids: &[SegmentId]) -> ingest::Result<()> {
        let message = LedgerMessage { node: self.node.clone(), ask: LedgerAsk::Announce { ids: ids.to_vec() } };
        match self.leader.ask(LEDGER, &message, ANSWER_WITHIN).await {
            Ok(LedgerAnswer::Announced) => Ok(()),
            Ok(LedgerAnswer::Unavailable(text)) => Err(ingest::Error::Unavailable(text)),
            Ok(_) => other_answer(),
            // A leader of an earlier version does not know the question, nor what brokers know.
            Err(PeerError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, .. }) => Ok(()),
            Err(error) => Err(ingest::Error::Unavailable(error.to_string())),
        }
    }

    async fn publish(&self, what: &Publication) -> ingest::Result<Vec<SegmentId>> {
        let ask = PublishAsk {
            task: what.task.clone(),
            attempt: what.attempt,
            supervisor: what.supervisor.clone(),
            datasource: what.datasource.clone(),
            segments: what.segments.clone(),
            from: sent(&what.from),
            to: sent(&what.to),
            replace: match &what.mode {
                PublishMode::Append => None,
                PublishMode::Replace { intervals } => Some(intervals.clone()),
            },
        };
        match self.ask(LedgerAsk::Publish(Box::new(ask))).await? {
            LedgerAnswer::Published(ids) => Ok(ids),
            _ => other_answer(),
        }
    }

    async fn is_served(&self, id: &SegmentId) -> ingest::Result<bool> {
        match self.ask(LedgerAsk::IsServed { id: id.clone() }).await? {
            LedgerAnswer::Served(served) => Ok(served),
            _ => other_answer(),
        }
    }
}

pub async fn ledger(State(app): State<Arc<App>>, Json(message): Json<LedgerMessage>) -> Answered<Json<LedgerAnswer>> {
    let coordinator = Arc::new(leading(&app)?.clone());
    let (node, traces) = (message.node, app.traces.clone());
    let ledger = LocalLedger { coordinator, clock: Arc::new(now), node, traces, is_alone: false };
    let answered = answer_ledger(&ledger, message.ask).await;
    // What was read may be of the past if another leads; what was written is fenced.
    leading(&app)?;
    Ok(Json(answered.unwrap_or_else(|error| match error {
        ingest::Error::Stale { committed } => LedgerAnswer::Stale { committed: sent(&committed) },
        ingest::Error::Invalid(text) => LedgerAnswer::Invalid(text),
        ingest::Error::NotFound(text) => LedgerAnswer::NotFound(text),
        error if error.is_retryable() => LedgerAnswer::Unavailable(error.to_string()),
        error => LedgerAnswer::Failed(error.to_string()),
    })))
}

async fn answer_ledger(ledger: &dyn Ledger, ask: LedgerAsk) -> ingest::Result<LedgerAnswer> {
    Ok(match ask {
        LedgerAsk::Positions { supervisor } => LedgerAnswer::Positions(sent(&ledger.positions(&supervisor).await?)),
        LedgerAsk::Allocate(ask) => {
            let what = Allocation {
                task: ask.task,
                attempt: ask.attempt,
                datasource: ask.datasource,
                sequence: ask.sequence,
                interval: ask.interval,
                at: ask.at,
                fresh_version: ask.fresh_version,
                index: ask.index,
            };
            LedgerAnswer::Allocated(ledger.allocate(&what).await?)
        }
        LedgerAsk::Announce { ids } => match tokio::time::timeout(ANNOUNCE_WITHIN, ledger.announce(&ids)).await {
            Ok(announced) => announced.map(|()| LedgerAnswer::Announced)?,
            Err(_) => LedgerAnswer::Unavailable("brokers do not know of new rows yet".into()),
        },
        LedgerAsk::Publish(ask) => {
            let what = Publication {
                task: ask.task,
                attempt: ask.attempt,
                supervisor: ask.supervisor,
                datasource: ask.datasource,
                segments: ask.segments,
                from: received(ask.from)?,
                to: received(ask.to)?,
                mode: ask.replace.map_or(PublishMode::Append, |intervals| PublishMode::Replace { intervals }),
            };
            LedgerAnswer::Published(ledger.publish(&what).await?)
        }
        LedgerAsk::IsServed { id } => LedgerAnswer::Served(ledger.is_served(&id).await?),
    })
}

/// Which of the tables of the `sys` schema is asked for, and by whom.
#[derive(Serialize, Deserialize)]
pub struct SystemAsk {
    table: Table,
    who: Who,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Table {
    Segments,
    Servers,
    ServerSegments,
    Tasks,
    Supervisors,
    Properties,
}

/// A [`Principal`], as the node that asks knows it.
#[derive(Serialize, Deserialize)]
struct Who {
    name: String,
    roles: BTreeSet<String>,
    scope: Option<BTreeSet<String>>,
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
}

/// The tables of the `sys` schema, as the leader tells them.
pub struct RemoteCluster(pub Arc<Leader>);

impl RemoteCluster {
    async fn ask<T: DeserializeOwned>(&self, table: Table, who: &Principal) -> query_sql::Result<T> {
        let Principal { name, roles, scope, groups, attributes } = who.clone();
        let ask = SystemAsk { table, who: Who { name, roles, scope, groups, attributes } };
        let until = Instant::now() + LEADER_WITHIN;
        let answer = loop {
            match self.0.ask(SYSTEM, &ask, ANSWER_WITHIN).await {
                Err(
                    PeerError::Unreachable { .. } | PeerError::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. },
                ) if Instant::now() < until => {
                    tokio::time::sleep(REST).await;
                }
                answer => break answer,
            }
        };
        answer.map_err(|error| query_sql::Error::Query(query::Error::Unavailable(error.to_string())))
    }
}

#[async_trait]
impl Cluster for RemoteCluster {
    async fn segments(&self, who: &Principal) -> query_sql::Result<Vec<Segment>> {
        self.ask(Table::Segments, who).await
    }

    async fn servers(&self, who: &Principal) -> query_sql::Result<Vec<Server>> {
        self.ask(Table::Servers, who).await
    }

    async fn server_segments(&self, who: &Principal) -> query_sql::Result<Vec<(String, String)>> {
        self.ask(Table::ServerSegments, who).await
    }

    async fn tasks(&self, who: &Principal) -> query_sql::Result<Vec<Task>> {
        self.ask(Table::Tasks, who).await
    }

    async fn supervisors(&self, who: &Principal) -> query_sql::Result<Vec<Supervisor>> {
        self.ask(Table::Supervisors, who).await
    }

    async fn properties(&self, who: &Principal) -> query_sql::Result<Vec<Property>> {
        self.ask(Table::Properties, who).await
    }
}

/// The leader goes by its own rules, which are never older than those of who asks.
pub async fn system(State(app): State<Arc<App>>, Json(ask): Json<SystemAsk>) -> Answered<Json<Value>> {
    leading(&app)?;
    let Who { name, roles, scope, groups, attributes } = ask.who;
    let who = Principal { name, roles, scope, groups, attributes };
    let told = match ask.table {
        Table::Segments => as_json(app.cluster.segments(&who).await),
        Table::Servers => as_json(app.cluster.servers(&who).await),
        Table::ServerSegments => as_json(app.cluster.server_segments(&who).await),
        Table::Tasks => as_json(app.cluster.tasks(&who).await),
        Table::Supervisors => as_json(app.cluster.supervisors(&who).await),
        Table::Properties => as_json(app.cluster.properties(&who).await),
    };
    leading(&app)?;
    told.map(Json).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

fn as_json<T: Serialize>(told: query_sql::Result<T>) -> Result<Value, String> {
    serde_json::to_value(told.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}
