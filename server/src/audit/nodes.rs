//! The audit log of a cluster of roles: each node has a journal, which only a task on that node can read. So each has a
//! supervisor of its own, named after it, and serves the rows of it that are not published yet, whatever its roles.
//!
//! Whoever leads puts the supervisors of the nodes that it knows on record, and ends those of nodes that are long gone: what
//! these had not published is not waited for any more. It is read once they come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use coordinator::{Coordinator, home_of, of_node};
use ingest::Ledger;
use tokio::time::Instant;

use super::{Audit, DATASOURCE, HOUSEKEEPING, Settings, journal_of, rest, supervisor};
use crate::node::now;

/// How often whoever leads looks for nodes that have no supervisor.
const LOOK: Duration = Duration::from_secs(1);

/// How long a node is away until answers from the audit log do not call themselves incomplete for it any more.
const GONE_AFTER: Duration = Duration::from_secs(600);

/// How often a node asks up to where its lines are published: files are deleted as a whole, and are few.
const PUBLISHED_LOOK: Duration = Duration::from_secs(30);

/// Keeps a supervisor for each node, for as long as this process leads.
pub async fn keep_supervisors(settings: Settings, coordinator: Weak<Coordinator>) {
    let mut away: BTreeMap<String, Instant> = BTreeMap::new();
    let mut tidied = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(coordinator) = coordinator.upgrade() else { return };
        if let Err(error) = keep(&settings, &coordinator, &mut away).await {
            tracing::warn!(%error, "the supervisors of the audit log are not what they should be");
        }
        if tidied.elapsed() >= HOUSEKEEPING {
            tidied = Instant::now();
            if let Err(error) = settings.expire(&coordinator).await {
                tracing::warn!(%error, "the audit log is not tidied");
            }
        }
    }
}

async fn keep(
    settings: &Settings,
    coordinator: &Coordinator,
    away: &mut BTreeMap<String, Instant>,
) -> coordinator::Result<()> {
    let view = coordinator.view();
    let known: BTreeMap<_, _> =
        coordinator.system_supervisors().into_iter().map(|known| (known.spec.id.clone(), known.spec)).collect();
    for node in view.nodes.keys() {
        let spec = supervisor(settings, &of_node(DATASOURCE, node), &journal_of(node));
        if known.get(&spec.id) != Some(&spec)
            && let Err(error) = coordinator.put_system_supervisor(spec, now()).await
        {
            tracing::warn!(%error, node, "the audit log of a node is not read");
        }
    }
    let gone = |id: &&String| home_of(id).is_some_and(|node| !view.nodes.contains_key(node));
    let gone: Vec<&String> = known.keys().filter(gone).collect();
    away.retain(|id, _| gone.contains(&id));
    for id in gone {
        if away.entry(id.clone()).or_insert_with(Instant::now).elapsed() >= GONE_AFTER {
            coordinator.end_system_supervisor(id, now()).await?;
        }
    }
    Ok(())
}

/// Deletes published lines of a node's journal, for as long as it runs.
pub async fn keep_house_of_node(audit: Weak<Audit>, supervisor: String, ledger: Arc<dyn Ledger>) {
    while let Some(audit) = rest(&audit, PUBLISHED_LOOK).await {
        let tidied = async {
            let committed = ledger.positions(&supervisor).await?;
            match committed.0.get(&audit.journal.partition()) {
                Some(published) => audit.forget_before(*published).await,
                None => Ok(()),
            }
        };
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "the journal of the audit log is not tidied");
        }
    }
}
