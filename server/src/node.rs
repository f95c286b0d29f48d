//! A node: builds what its roles need, starts it in order, keeps it in line with the coordinator, stops it in order.
//!
//! A process that does all there is:
//!
//! 1. The listener binds: from here `/status/health` says 503, and whatever else is asked is refused.
//! 2. The catalog opens, once this node leads where others share it ([`lead`]); every datasource with an active supervisor is
//!    marked incomplete until its tasks have caught up.
//! 3. Published segments load; the node is ready.
//! 4. The loop: the coordinator's cycle, a heartbeat, its orders carried out, whenever something changed.
//! 5. At the stop: what hands out requests is told; then requests end, tasks keep what they hold on disk, the catalog closes.
//!
//! One among others that have roles of their own stands for the lead ([`leading`]), works for the one that leads
//! ([`member`]), or both, as two that know of each other what any two nodes do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use coordinator::lease::Leases;
use coordinator::{Coordinator, Member, Role, TaskFilter, TaskState};
use ingest::Ledger;
use query::{Authorizer, Broker};
use segment::Interval;
use segment::inventory::{Change, Inventory};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::alerts;
use crate::audit::{self, Audit};
use crate::auth;
use crate::config::{Config, Split};
use crate::doors::Doors;
use crate::http::{App, router};
use crate::lead::{self, Front};
use crate::parts::{Ground, Parts, Shared, prepare};
use crate::roles::cluster::LocalCluster;
use crate::roles::follow::Standing;
use crate::roles::ledger::LocalLedger;
use crate::roles::report::Reporter;
use crate::roles::{leading, member};
use crate::rpc::control::Leader;
use crate::rpc::forward::Forward;
use crate::rpc::peers::Peers;
use crate::samples::{self, Samples};
use crate::traces::Traces;

/// Where a node stands that says nothing else.
const TIER_DEFAULT: &str = "_default_tier";

/// A request that is still answered when the process stops has this long.
const DRAIN: Duration = Duration::from_secs(10);

/// How long tasks have to write down what they read, before they are left as they are.
pub const TASKS_END: Duration = Duration::from_secs(30);

/// Rest between two looks at whether something has ended.
const POLL: Duration = Duration::from_millis(1);

/// Rest between two tries to open a metadata store that does not answer.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// A running node. [`Node::stop`] ends it in good order; dropping it is a crash.
pub struct Node {
    pub config: Config,
    /// `host:port` as others reach it.
    pub address: String,
    /// What answers requests; `None` of one that only stands for the lead.
    pub app: Option<Arc<App>>,
    /// Of the user `admin`, if it was made at this start and nobody has been told.
    pub first_password: Option<String>,
    audit: Arc<Audit>,
    samples: Arc<Samples>,
    front: Front,
    leave: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Leads, or stands for the lead; `None` of one that never does.
    leading: Option<JoinHandle<anyhow::Result<Option<coordinator::Error>>>>,
    /// Ends `leading`.
    resign: Option<oneshot::Sender<()>>,
    /// Works for the one that leads, this one or another.
    keeping: Option<JoinHandle<()>>,
    /// Hands over to other nodes, where there may be any.
    leaving: Option<member::Leaving>,
    /// To be closed at the end, by who opened it.
    closing: Closing,
}

enum Closing {
    Catalog(Arc<Coordinator>),
    Leases(Leases),
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A door that is open, behind which nothing is yet.
struct Opened {
    front: Front,
    node: String,
    address: String,
    tls_address: Option<String>,
    leave: watch::Sender<bool>,
    leaving: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
    serving: JoinHandle<()>,
}

impl Opened {
    async fn open(config: &Config) -> anyhow::Result<Opened> {
        let doors = Doors::open(config).await?;
        let only_tls = config.cluster.split.as_ref().is_some_and(|split| split.tls.is_some());
        let address = match (&config.cluster.address, doors.tls_address()?) {
            (Some(address), _) => address.clone(),
            // Nodes that speak to each other by TLS do so at that door.
            (None, Some(address)) if only_tls => address,
            (None, _) => doors.address()?,
        };
        let node = config.cluster.node.clone().unwrap_or_else(|| address.clone());
        let (tls_address, front) = (doors.tls_address()?, Front::default());
        let ((stop, stopping), (leave, leaving)) = (watch::channel(false), watch::channel(false));
        let serving = tokio::spawn(doors.serve(front.router(), stopping.clone()));
        Ok(Opened { front, node, address, tls_address, leave, leaving, stop, stopping, serving })
    }
}

impl Node {
    pub async fn start(config: Config) -> anyhow::Result<Node> {
        // What is counted before would be counted by nobody.
        crate::telemetry::metrics();
        match config.cluster.split.clone() {
            None => Node::start_whole(config).await,
            Some(split) => Node::start_split(config, split).await,
        }
    }

    async fn start_whole(config: Config) -> anyhow::Result<Node> {
        let started = Instant::now();
        let deep = prepare(&config)?;
        let opened = Opened::open(&config).await?;
        let (node, address) = (opened.node.clone(), opened.address.clone());
        let settings = crate::parts::coordinator_settings(&config);
        let coordinator = lead::take(&config.cluster, settings, &node, &address)
            .await
            .with_context(|| format!("opening the catalog {}", config.cluster.metadata))?;
        crate::metrics::leads();
        // Other nodes stand by while this one works.
        coordinator.expect_nobody();
        let (resign, resigning) = oneshot::channel();
        let keep = lead::keep(coordinator.clone(), config.cluster.lease, resigning);
        let leading = tokio::spawn(async move { Ok(keep.await) });

        let shared_by = config.cluster.is_shared().then_some(node.as_str());
        let audit = Audit::open(config.audit.clone(), &config.data_dir, address.clone(), shared_by, &coordinator)
            .await
            .context("opening the journal of the audit log")?;
        tokio::spawn(audit::keep_house(Arc::downgrade(&audit), coordinator.clone()));
        let folder = &config.data_dir;
        let samples = Samples::open(config.samples.clone(), folder, address.clone(), shared_by, &coordinator)
            .await
            .context("opening the journal of the samples of metrics")?;
        let (stopping, leaving, front) = (opened.stopping.clone(), opened.leaving.clone(), opened.front.clone());
        let process = rand::random();
        let traces = Traces::start(config.traces.clone(), &node, "all".into())?;
        let ground = Ground {
            config: config.clone(),
            address: address.clone(),
            started,
            deep,
            audit,
            samples,
            shared: Shared::new(&config, traces),
            process,
            stopping,
            leaving,
        };

        let inventory = Arc::new(Inventory::new());
        inventory.apply(incomplete_until_caught_up(&coordinator).await?);
        let (clock, own) = (Arc::new(now), node.clone());
        let ledger: Arc<dyn Ledger> = Arc::new(LocalLedger {
            coordinator: coordinator.clone(),
            clock,
            node: own,
            traces: ground.traces(),
            is_alone: true,
        });
        let (house, own) = (Arc::downgrade(&ground.samples), samples::DATASOURCE.to_string());
        tokio::spawn(samples::keep_house(house, own, ledger.clone(), Some(coordinator.clone())));
        let worker = ground.worker(&ledger, &inventory)?;
        let rules = auth::roles::load(&coordinator).await.context("the roles of the catalog")?;
        let authorizer = Authorizer::new(rules);
        let cluster = LocalCluster {
            coordinator: coordinator.clone(),
            inventory: inventory.clone(),
            authorizer: authorizer.clone(),
            address: address.clone(),
            started: now(),
            properties: crate::http::status::settings(&config, &address),
            split: false,
        };
        let historical = ground.historical(&inventory)?;
        let parts = Parts {
            coordinator: coordinator.clone(),
            standing: Standing::Leads(coordinator.clone()),
            broker: ground.keeping(Broker::new(inventory.clone(), ground.query_settings(), authorizer)),
            historical: Some(historical.clone()),
            worker: worker.clone(),
            cluster: Arc::new(cluster),
            view: None,
            answers: None,
            takes_queries: true,
            siblings: None,
            inventory: inventory.clone(),
        };
        let (app, first_password) = ground.assemble(parts).await?;
        // Here, so that what is wrong with the routes ends the start, and not a task that nobody looks at.
        front.open(router(app.clone()));
        let member = Member {
            node,
            process,
            address: address.clone(),
            roles: Role::ALL.to_vec(),
            tier: TIER_DEFAULT.to_string(),
            priority: 0,
            capacity_bytes: 0,
            tasks_max: config.tasks_max,
            journals: Vec::new(),
        };
        let reporter = Reporter::new(member, inventory, worker, Some(historical));
        let cycle = Duration::from_millis(config.cycle_ms);
        let keeping = tokio::spawn(keep_in_line(app.clone(), reporter, cycle, opened.stopping));
        while !app.ready.load(Ordering::Acquire) {
            anyhow::ensure!(!keeping.is_finished(), "the node's loop ended at the start");
            anyhow::ensure!(!opened.serving.is_finished(), "what serves requests ended at the start");
            anyhow::ensure!(!leading.is_finished(), "another node took the lead at the start");
            tokio::time::sleep(POLL).await;
        }
        ground.sample(&app);
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(address = %app.address, tls = opened.tls_address, ms, "serving");
        Ok(Node {
            config,
            address,
            app: Some(app),
            first_password,
            audit: ground.audit,
            samples: ground.samples,
            front: opened.front,
            leave: opened.leave,
            stop: opened.stop,
            serving: opened.serving,
            leading: Some(leading),
            resign: Some(resign),
            keeping: Some(keeping),
            leaving: None,
            closing: Closing::Catalog(coordinator),
        })
    }

    async fn start_split(config: Config, split: Split) -> anyhow::Result<Node> {
        let started = Instant::now();
        let deep = prepare(&config)?;
        let opened = Opened::open(&config).await?;
        let traces = Traces::start(config.traces.clone(), &opened.node, format!("{:?}", split.roles))?;
        let peers = Peers::new(&split.secret, split.tls.clone(), traces.clone())?;
        let leases = open_leases(&config).await?;
        let leader = Leader::new(peers.clone(), leases.clone());
        opened.front.forward(Forward::new(leader.clone()));
        let (address, stopping, leaving) = (opened.address.clone(), opened.stopping.clone(), opened.leaving.clone());
        let coordinator = member::follow(&config, &leases).await?;
        let audit =
            Audit::open_of_node(config.audit.clone(), &config.data_dir, address.clone(), &opened.node, &coordinator)
                .await
                .context("opening the journal of the audit log")?;
        let samples = Samples::open_of_node(
            config.samples.clone(),
            &config.data_dir,
            address.clone(),
            &opened.node,
            &coordinator,
        )
        .await
        .context("opening the journal of the samples of metrics")?;
        let process = rand::random();
        let ground = Ground {
            config: config.clone(),
            address: address.clone(),
            started,
            deep,
            audit,
            samples,
            shared: Shared::new(&config, traces.clone()),
            process,
            stopping,
            leaving,
        };
        let (resign, resigning) = oneshot::channel();
        let leading = split.has(Role::Coordinator).then(|| {
            // It stops leading first.
            let ground = Ground { stopping: ground.leaving.clone(), ..ground.clone() };
            let (node, front) = (opened.node.clone(), opened.front.clone());
            let runtime = Handle::current();
            // It stays on a thread of its own, where it waits more than it works.
            tokio::task::spawn_blocking(move || runtime.block_on(leading::run(ground, node, front, peers, resigning)))
        });
        let working = member::start(&ground, &split, opened.node.clone(), coordinator, leader).await?;
        match split.is_member() {
            true => opened.front.open(router(working.app.clone())),
            // It answers people only if it leads.
            false => opened.front.open_to_nodes(router(working.app.clone())),
        }
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(address, tls = opened.tls_address, roles = ?split.roles, ms, "serving");
        Ok(Node {
            config,
            address,
            app: Some(working.app),
            first_password: None,
            audit: ground.audit,
            samples: ground.samples,
            front: opened.front,
            leave: opened.leave,
            stop: opened.stop,
            serving: opened.serving,
            leading,
            resign: Some(resign),
            keeping: Some(working.keeping),
            leaving: Some(working.leaving).filter(|_| split.has(Role::Ingest)),
            closing: Closing::Leases(leases),
        })
    }

    /// Returns when the node is not at work any more though nobody has stopped it, with the reason: requests are not served,
    /// or another node leads.
    pub async fn broken(&mut self) -> anyhow::Error {
        let leading = async {
            match &mut self.leading {
                Some(leading) => leading.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut self.serving => match ended {
                Ok(()) => anyhow::anyhow!("what serves requests has ended by itself"),
                Err(error) => anyhow::Error::new(error).context("what serves requests has failed"),
            },
            lost = leading => match lost {
                Ok(Ok(Some(error))) => anyhow::Error::new(error).context("this node does not lead any more"),
                Ok(Ok(None)) => anyhow::anyhow!("what keeps the lead has ended by itself"),
                Ok(Err(error)) => error.context("leading has failed"),
                Err(error) => anyhow::Error::new(error).context("what keeps the lead has failed"),
            },
        }
    }

    /// Has other nodes take over what this one reads, as far as there are any, before it is stopped. Returns when that is
    /// done, or its time is over; until then it answers as ever.
    pub fn hand_over(&self) -> impl Future<Output = ()> + use<> {
        let (leaving, within) = (self.leaving.clone(), self.config.cluster.leave);
        async move {
            let Some(leaving) = leaving.filter(|_| !within.is_zero()) else { return };
            let begun = Instant::now();
            match tokio::time::timeout(within, leaving.hand_over()).await {
                Ok(true) => tracing::info!(ms = begun.elapsed().as_millis() as u64, "handed over"),
                Ok(false) => tracing::warn!("nobody takes what this node has; others read it again"),
                Err(_) => tracing::warn!(?within, "not all was handed over in time; others read it again"),
            }
        }
    }

    /// Ends requests, tasks and the catalog, in this order, and gives the lead back. What tasks read stays on disk for the
    /// next start.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.leave().await;
        self.stop.send_replace(true);
        if !self.serving.is_finished() && tokio::time::timeout(DRAIN, &mut self.serving).await.is_err() {
            self.serving.abort();
            tracing::warn!("requests were still being answered and are cut off");
        }
        if let Some(keeping) = self.keeping.take() {
            keeping.await.context("the node's loop")?;
        }
        self.audit.close().await;
        self.samples.close().await;
        if let Some(app) = &self.app {
            app.worker.shutdown(TASKS_END).await;
        }
        // Nothing is written any more: now another node may.
        self.resign().await;
        match self.closing {
            Closing::Catalog(coordinator) => coordinator.close().await,
            Closing::Leases(leases) => leases.close().await,
        }
        if let Some(app) = &self.app {
            let traces = app.traces.clone();
            tokio::task::spawn_blocking(move || traces.end()).await.context("the last traces")?;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

impl Node {
    /// What comes before the stop of a node among others that have roles of their own. Whoever hands out requests sees that it
    /// is not ready, and those that come meanwhile are answered; one that leads gives the lead back; who is half through
    /// fetching an answer by JDBC may fetch the rest.
    async fn leave(&mut self) {
        let Some(split) = self.config.cluster.split.clone() else { return };
        let begun = Instant::now();
        // Who waits for news of the one that leads is answered at once.
        self.leave.send_replace(true);
        if self.leading.is_some() {
            self.front.step_down(DRAIN).await;
        }
        self.resign().await;
        if split.has(Role::Broker) || split.has(Role::Historical) {
            tokio::time::sleep(split.drain.saturating_sub(begun.elapsed())).await;
        }
        let until = Instant::now() + DRAIN;
        while self.app.as_ref().is_some_and(|app| app.jdbc.is_fetched_from()) && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives the lead back, if this node has it or stands for it.
    async fn resign(&mut self) {
        if let Some(resign) = self.resign.take() {
            let _ = resign.send(());
        }
        while self.leading.as_ref().is_some_and(|leading| !leading.is_finished()) {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The metadata store; one that does not answer is tried again.
async fn open_leases(config: &Config) -> anyhow::Result<Leases> {
    loop {
        match Leases::open(&config.cluster.metadata).await {
            Ok(leases) => return Ok(leases),
            Err(error) if error.kind() == segment::Kind::Unavailable => {
                tracing::warn!(%error, "the metadata store cannot be opened");
                tokio::time::sleep(STORE_RETRY).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("opening the metadata store {}", config.cluster.metadata));
            }
        }
    }
}

/// Marks what supervisors feed that are active, or whose last tasks did not end: after a restart their rows are not all
/// here yet.
async fn incomplete_until_caught_up(coordinator: &Coordinator) -> coordinator::Result<Vec<Change>> {
    let mut fed: BTreeSet<(String, String)> = BTreeSet::new();
    let mut supervisors = coordinator.supervisors();
    supervisors.extend(coordinator.system_supervisors());
    let active = supervisors.into_iter().filter(|supervisor| !supervisor.spec.suspended);
    fed.extend(active.map(|supervisor| (supervisor.spec.datasource, supervisor.spec.id)));
    let running = TaskFilter { states: vec![TaskState::Running], system: true, ..TaskFilter::default() };
    for task in coordinator.tasks(running).await? {
        fed.extend(task.supervisor.map(|supervisor| (task.datasource, supervisor)));
    }
    let mark = |(datasource, owner)| Change::Incomplete { datasource, owner, intervals: vec![Interval::ETERNITY] };
    Ok(fed.into_iter().map(mark).collect())
}

/// The loop of step 4. Nothing in it waits for anything but the catalog and the disks.
async fn keep_in_line(app: Arc<App>, mut reporter: Reporter, cycle: Duration, mut stopping: watch::Receiver<bool>) {
    let mut changed = app.coordinator.watch();
    let alerting = tokio::spawn(alerts::conductor::run(app.clone(), stopping.clone()));
    while !*stopping.borrow() {
        changed.mark_unchanged();
        match beat(&app, &mut reporter).await {
            Ok(true) => continue,
            Ok(false) => app.ready.store(true, Ordering::Release),
            // What was told may not have arrived.
            Err(error) => {
                reporter.lost();
                tracing::error!(%error, "the coordinator's cycle failed");
            }
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = app.worker.changed() => {}
            _ = tokio::time::sleep(cycle) => {}
            _ = stopping.changed() => {}
        }
    }
    // What it writes is written before the catalog closes; a panic of it has been printed.
    let _ = alerting.await;
}

/// One cycle and heartbeat; whether the orders changed what is served, so that it is worth telling at once.
async fn beat(app: &App, reporter: &mut Reporter) -> coordinator::Result<bool> {
    app.coordinator.cycle(now()).await?;
    let (report, generation) = reporter.report(Default::default());
    // Histograms that nobody scrapes would grow with every query.
    app.metrics.run_upkeep();
    let reply = app.coordinator.heartbeat(report, now()).await?;
    let is_strange = reply.is_strange;
    let orders = reporter.take_in(reply, generation);
    if is_strange {
        return Ok(true);
    }
    Ok(reporter.carry_out(orders).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node whose listener is gone must not stay: nothing outside could tell it from one that is slow.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_serves_no_more_tells_and_still_stops_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = [("data_dir", folder.path().to_str().expect("UTF-8")), ("host", "127.0.0.1"), ("port", "0")];
        let flags = flags.map(|(key, value)| (key.to_string(), value.to_string()));
        let config = Config::load(None, std::iter::empty(), &flags).expect("valid settings");
        let mut node = Node::start(config).await.expect("a node");
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, node.broken()).await.is_err(), "it serves");
        node.serving.abort();
        let error = tokio::time::timeout(DRAIN, node.broken()).await.expect("it is told");
        assert!(error.to_string().contains("what serves requests"), "{error:#}");
        node.stop().await.expect("a stop in order");
    }
}
