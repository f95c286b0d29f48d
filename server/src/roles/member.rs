//! What a node does that works for the one that leads: as a broker, as a historical, as one that takes events in, in any
//! mix. One that is none of these has its part of the audit log to tell of. It follows the documents of the catalog, tells
//! the leader how it stands, and does what it is told.
//!
//! 1. The documents are read; nobody is let in before.
//! 2. Heartbeats, whenever something has changed and a few times within the node's lease. What is to be loaded is loaded
//!    beside them.
//! 3. A broker follows the view, and is ready once it has one and may answer by it; a historical once it has loaded what the leader has it load;
//!    others once the leader has heard of them.
//! 4. A historical that is told to stop leaves first, so that brokers know before it answers no more.
//! 5. Rows that grow are answered for only within the lease of what the leader heard last.
//! 6. Before an ingest node ends it hands over ([`Leaving`]): its tasks publish what they read and others read on, while it
//!    answers for its rows until they are served elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use axum::http::StatusCode;
use coordinator::lease::Leases;
use coordinator::{Coordinator, Member, Role};
use ingest::Ledger;
use query::cluster::Scatter;
use query::local::LocalNode;
use query::{Authorizer, Broker};
use segment::inventory::Inventory;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::follow::{Follower, Standing};
use super::report::Reporter;
use super::view::Followed;
use crate::config::{Config, Split};
use crate::http::App;
use crate::parts::{Ground, Parts, coordinator_settings};
use crate::rpc::control::{Leader, RemoteCluster, RemoteLedger};
use crate::rpc::data::{Answers, Tenure};
use crate::rpc::peers::PeerError;
use crate::rpc::statements::{Runner, Siblings};
use crate::{audit, auth, samples};

/// How nodes are asked: rows that nobody serves now are waited for as long as it takes another node to have them.
pub const SCATTER: Scatter =
    Scatter { hedge_after: Some(Duration::from_secs(2)), picture_within: Duration::from_secs(5), pictures_max: 4 };

/// Heartbeats within the lease, if nothing changes.
const BEATS: u32 = 16;

/// Rest between two heartbeats, whatever changes.
const REST: Duration = Duration::from_millis(20);

/// Rest after one that failed.
const RETRY: Duration = Duration::from_millis(100);

/// Rest after one that was refused because another process has the node's name.
const RETRY_TAKEN: Duration = Duration::from_secs(2);

/// A historical that was given nothing to load for so long has what it is to have.
const SETTLED: Duration = Duration::from_secs(1);

/// After so long it is taken to be: where much is published there is always something to load.
const SETTLED_MAX: Duration = Duration::from_secs(60);

/// Rest between two looks for the documents at the start.
const LOOK: Duration = Duration::from_millis(200);

/// A node at work.
pub struct Working {
    pub app: Arc<App>,
    pub keeping: tokio::task::JoinHandle<()>,
    pub leaving: Leaving,
}

/// How a node is told to hand over what it has.
#[derive(Clone)]
pub struct Leaving {
    begin: watch::Sender<bool>,
    done: watch::Receiver<Option<bool>>,
}

impl Leaving {
    /// Returns when the leader has heard that nothing is left to hand over, or, with `false`, when nobody takes it: none leads
    /// that has heard of this node within its lease, or one of a version that knows of no hand-over. That may be never.
    pub async fn hand_over(mut self) -> bool {
        self.begin.send_replace(true);
        // A node whose loop has ended has nothing.
        self.done.wait_for(Option::is_some).await.is_ok_and(|done| *done == Some(true))
    }
}

/// The other end of it.
struct ToLeave {
    begun: watch::Receiver<bool>,
    done: watch::Sender<Option<bool>>,
}

/// Puts a node to work. Returns once it can answer that it is not ready yet.
pub async fn start(
    ground: &Ground,
    split: &Split,
    node: String,
    coordinator: Arc<Coordinator>,
    leader: Arc<Leader>,
) -> anyhow::Result<Working> {
    let rules = loop {
        match auth::roles::read(&coordinator) {
            Ok(rules) => break rules,
            // The leader makes what is lacking.
            Err(error) => tracing::info!(%error, "waiting for the catalog"),
        }
        tokio::time::sleep(LOOK).await;
        if let Err(error) = coordinator.refresh_documents().await {
            tracing::warn!(%error, "the documents of the catalog cannot be read");
        }
    };
    let follower = Follower::new(coordinator.clone());
    tokio::spawn(Follower::keep_up(Arc::downgrade(&follower)));

    let authorizer = Authorizer::new(rules);
    let (inventory, view) = (Arc::new(Inventory::new()), Followed::new(leader.peers.clone()));
    let rows = ground.keeping(Broker::new(inventory.clone(), ground.query_settings(), authorizer.clone()));
    let broker = match split.has(Role::Broker) {
        true => {
            let lease = Duration::from_millis(ground.config.cluster.node_lease_ms.unsigned_abs());
            tokio::spawn(view.clone().follow(leader.clone(), (node.clone(), ground.process), lease));
            ground.keeping(Broker::over(view.clone(), SCATTER, ground.query_settings(), authorizer))
        }
        false => rows.clone(),
    };
    let historical = split.has(Role::Historical).then(|| ground.historical(&inventory)).transpose()?;
    let ledger: Arc<dyn Ledger> = Arc::new(RemoteLedger { leader: leader.clone(), node: node.clone() });
    let worker = ground.worker(&ledger, &inventory)?;
    let journal = coordinator::of_node(audit::DATASOURCE, &node);
    tokio::spawn(audit::keep_house_of_node(Arc::downgrade(&ground.audit), journal, ledger.clone()));
    let journal = coordinator::of_node(samples::DATASOURCE, &node);
    tokio::spawn(samples::keep_house(Arc::downgrade(&ground.samples), journal, ledger, None));
    let (process, tenure) = (ground.process, Arc::new(Tenure::default()));
    let own = Runner { node: node.clone(), process };
    let siblings = Siblings { own, view: view.clone(), peers: leader.peers.clone() };
    let answers = Answers {
        node: LocalNode::new(rows.clone()),
        rows,
        inventory: inventory.clone(),
        historical: historical.clone(),
        process,
        tenure: tenure.clone(),
    };
    let parts = Parts {
        coordinator,
        standing: Standing::Follows(follower),
        inventory: inventory.clone(),
        broker,
        historical: historical.clone(),
        worker: worker.clone(),
        cluster: Arc::new(RemoteCluster(leader.clone())),
        view: split.has(Role::Broker).then(|| view.clone()),
        answers: Some(Arc::new(answers)),
        takes_queries: split.has(Role::Broker),
        siblings: split.has(Role::Broker).then_some(siblings),
    };
    let (app, _) = ground.assemble(parts).await?;
    ground.sample(&app);
    let member = Member {
        node,
        process,
        address: ground.address.clone(),
        roles: split.roles.clone(),
        tier: split.tier.clone(),
        priority: split.priority,
        capacity_bytes: ground.config.cache_max_bytes,
        tasks_max: if split.has(Role::Ingest) { ground.config.tasks_max } else { 0 },
        journals: vec![samples::JOURNAL.to_string()],
    };
    let reporter = Reporter::new(member, inventory, worker, historical);
    let follows = split.has(Role::Broker).then_some(view);
    let ((begin, begun), (done, is_done)) = (watch::channel(false), watch::channel(None));
    // Rows that are not published yet are answered for to the end.
    // Brokers that end are asked about what they still run.
    let leaves = split.has(Role::Historical) && !split.has(Role::Ingest);
    let until = if leaves { &ground.leaving } else { &ground.stopping };
    let (leave, stopping) = (ToLeave { begun, done }, until.clone());
    let keeping = tokio::spawn(keep_in_line(app.clone(), reporter, leader, follows, tenure, (leave, stopping)));
    Ok(Working { app, keeping, leaving: Leaving { begin, done: is_done } })
}

/// A coordinator that has read the documents.
pub async fn follow(config: &Config, leases: &Leases) -> anyhow::Result<Arc<Coordinator>> {
    let mut told = false;
    loop {
        match Coordinator::stand_by(leases, coordinator_settings(config)).await {
            Ok(coordinator) => return Ok(Arc::new(coordinator)),
            Err(error) if error.kind() == segment::Kind::Unavailable => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the catalog cannot be read; trying on");
                }
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error).context("reading the catalog"),
        }
    }
}

async fn keep_in_line(
    app: Arc<App>,
    mut reporter: Reporter,
    leader: Arc<Leader>,
    view: Option<Arc<Followed>>,
    tenure: Arc<Tenure>,
    (mut leave, mut stopping): (ToLeave, watch::Receiver<bool>),
) {
    let carried_out = Arc::new(Notify::new());
    let (mut is_settled, mut idle_since) = (!reporter.is_historical(), None::<Instant>);
    let begun = Instant::now();
    // Before the leader tells, what it is asked to wait for at most.
    let mut lease = Duration::from_millis(app.config.cluster.node_lease_ms.unsigned_abs());
    while !*stopping.borrow() {
        reporter.mend_beside();
        app.metrics.run_upkeep();
        let number = view.as_ref().map_or_else(Default::default, |view| view.number());
        if *leave.begun.borrow_and_update() {
            reporter.leave();
        }
        let (report, generation) = reporter.report(number);
        let has_nothing = report.leaving && reporter.has_nothing(&report);
        let sent = Instant::now();
        let rest = match leader.heartbeat(&report, lease).await {
            // It knows this node from here on.
            Ok(reply) if reply.is_strange => {
                reporter.take_in(reply, generation);
                continue;
            }
            Ok(reply) => {
                lease = Duration::from_millis(reply.lease_ms.max(1));
                tenure.renew(sent, lease);
                if has_nothing || report.leaving && !reply.leaving {
                    leave.done.send_replace(Some(has_nothing));
                }
                app.standing.hear_of(reply.documents);
                // Orders that are old may not be the leader's any more.
                if sent.elapsed() < lease {
                    let orders = reporter.take_in(reply, generation);
                    if reporter.is_loading() || !orders.loads.is_empty() {
                        idle_since = None;
                    } else if idle_since.get_or_insert(sent).elapsed() >= SETTLED {
                        is_settled = true;
                    }
                    is_settled |= begun.elapsed() >= SETTLED_MAX;
                    let done = carried_out.clone();
                    reporter.carry_out_beside(orders, move || done.notify_one());
                }
                if is_settled && view.as_ref().is_none_or(|view| view.is_known()) {
                    app.ready.store(true, Ordering::Release);
                }
                REST
            }
            Err(error) => {
                reporter.lost();
                if report.leaving && !tenure.holds() {
                    leave.done.send_replace(Some(false));
                }
                let is_taken = matches!(error, PeerError::Refused { status: StatusCode::CONFLICT, .. });
                match is_taken {
                    true => tracing::error!(%error, "another process has this node's name; end one of them"),
                    false => tracing::warn!(%error, "the leader did not hear of this node"),
                }
                if is_taken { RETRY_TAKEN } else { RETRY }
            }
        };
        tokio::time::sleep(rest).await;
        tokio::select! {
            () = carried_out.notified() => {}
            () = app.worker.changed() => {}
            () = tokio::time::sleep(lease / BEATS) => {}
            Ok(()) = leave.begun.changed() => {}
            _ = stopping.changed() => {}
        }
    }
    // From here on it answers for nothing that another may be given.
    tenure.end();
    view.inspect(|view| view.end());
    if let Err(error) = leader.leave(&reporter.member.node, reporter.member.process).await {
        tracing::info!(%error, "the leader was not told that this node ends");
    }
}
