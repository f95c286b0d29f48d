//! The role of a coordinator among others: it stands for the lease, and once it leads it answers for the catalog, to people
//! and to nodes. What others do it does not: it serves no rows and runs no tasks. Queries that come to it are asked of the
//! data nodes, as brokers do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use coordinator::Coordinator;
use ingest::Ledger;
use query::{Authorizer, Broker};
use segment::inventory::Inventory;
use tokio::sync::oneshot;

use super::cluster::LocalCluster;
use super::follow::Standing;
use super::ledger::LocalLedger;
use super::member::SCATTER;
use super::view::Followed;
use crate::http::{App, router};
use crate::lead::{self, Front};
use crate::node::{TASKS_END, now};
use crate::parts::{Ground, Parts, coordinator_settings};
use crate::rpc::peers::Peers;
use crate::rpc::statements::{Runner, Siblings};
use crate::{alerts, auth, journaled};

/// Stands for the lease and leads, until it is told to end or does not lead any more; then it returns why.
pub async fn run(
    ground: Ground,
    node: String,
    front: Front,
    peers: Arc<Peers>,
    mut end: oneshot::Receiver<()>,
) -> anyhow::Result<Option<coordinator::Error>> {
    let cluster = &ground.config.cluster;
    let coordinator = tokio::select! {
        taken = lead::take(cluster, coordinator_settings(&ground.config), &node, &ground.address) => {
            taken.with_context(|| format!("opening the catalog {}", cluster.metadata))?
        }
        _ = &mut end => return Ok(None),
    };
    let (resign, resigning) = oneshot::channel();
    let mut leading = tokio::spawn(lead::keep(coordinator.clone(), cluster.lease, resigning));
    let (app, password) = tokio::select! {
        made = assemble(&ground, &node, &coordinator, peers) => made?,
        lost = &mut leading => return lost.context("what keeps the lead has failed"),
    };
    if let Some(password) = password {
        println!("user admin was made, with the password {password} (told this once)");
    }
    front.lead(router(app.clone()));
    crate::metrics::leads();
    tracing::info!(address = ground.address, epoch = coordinator.epoch(), "leading");
    println!("leading at {}", ground.address);
    let cycling = tokio::spawn(cycle(app.clone(), Duration::from_millis(ground.config.cycle_ms)));
    let kept = vec![ground.config.audit.journaled(), ground.config.samples.journaled()];
    let supervising = tokio::spawn(journaled::keep_supervisors(kept, Arc::downgrade(&coordinator)));
    let alerting = tokio::spawn(alerts::conductor::run(app.clone(), ground.stopping.clone()));
    let lost = tokio::select! {
        lost = &mut leading => Some(lost.context("what keeps the lead has failed")?),
        _ = &mut end => None,
    };
    cycling.abort();
    alerting.abort();
    supervising.abort();
    app.worker.shutdown(TASKS_END).await;
    if lost.is_none() {
        // Nothing is written any more: now another may.
        let _ = resign.send(());
        let _ = leading.await;
        coordinator.close().await;
    }
    Ok(lost.flatten())
}

async fn assemble(
    ground: &Ground,
    node: &str,
    coordinator: &Arc<Coordinator>,
    peers: Arc<Peers>,
) -> anyhow::Result<(Arc<App>, Option<String>)> {
    let rules = auth::roles::load(coordinator).await.context("the roles of the catalog")?;
    let authorizer = Authorizer::new(rules);
    let view = Followed::of_leader(peers.clone(), coordinator);
    let shown = view.clone();
    tokio::spawn(view.clone().follow_own(Arc::downgrade(coordinator)));
    let own = Runner { node: node.to_string(), process: ground.process };
    let siblings = Siblings { own, view: view.clone(), peers };
    let broker = ground.keeping(Broker::over(view, SCATTER, ground.query_settings(), authorizer.clone()));
    let inventory = Arc::new(Inventory::new());
    let cluster = LocalCluster {
        coordinator: coordinator.clone(),
        inventory: inventory.clone(),
        authorizer,
        address: ground.address.clone(),
        started: now(),
        properties: crate::http::status::settings(&ground.config, &ground.address),
        split: true,
    };
    let clock = Arc::new(now);
    let ledger: Arc<dyn Ledger> = Arc::new(LocalLedger {
        coordinator: coordinator.clone(),
        clock,
        node: ground.address.clone(),
        traces: ground.traces(),
        is_alone: false,
    });
    let parts = Parts {
        coordinator: coordinator.clone(),
        standing: Standing::Leads(coordinator.clone()),
        broker,
        historical: None,
        worker: ground.worker(&ledger, &inventory)?,
        inventory,
        cluster: Arc::new(cluster),
        view: Some(shown),
        answers: None,
        takes_queries: true,
        siblings: Some(siblings),
    };
    ground.assemble(parts).await
}

/// Brings what should be and what is together, whenever something has changed.
async fn cycle(app: Arc<App>, period: Duration) {
    let mut changed = app.coordinator.watch();
    loop {
        changed.mark_unchanged();
        match app.coordinator.cycle(now()).await {
            Ok(_) => app.ready.store(true, Ordering::Release),
            Err(error) => {
                tracing::error!(%error, "the coordinator's cycle failed");
                tokio::time::sleep(RETRY).await;
            }
        }
        app.metrics.run_upkeep();
        tokio::select! {
            _ = changed.changed() => {}
            _ = tokio::time::sleep(period) => {}
        }
    }
}

/// Rest after a cycle that failed.
const RETRY: Duration = Duration::from_millis(200);
