//! Datasources that the store keeps of itself. Each node writes lines to a journal of its own, which only a task on that node
//! can read. So each has a supervisor of its own, named after it, which nobody posted, and serves the rows of it that are not
//! published yet, whatever its roles. Such tasks take no places of those that people post.
//!
//! A node that works alone puts its supervisors on record itself. Among nodes with roles whoever leads does, for those that it
//! knows, and ends those of nodes that are long gone: what these had not published is not waited for any more. It is read once
//! they come back.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use coordinator::{Coordinator, SupervisorSpec, home_of, of_node};
use ingest::PartitionKey;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::node::now;

/// How often whoever leads looks for nodes that have no supervisor.
const LOOK: Duration = Duration::from_secs(1);

/// How long a node is away until answers do not call themselves incomplete for it any more.
const GONE_AFTER: Duration = Duration::from_secs(600);

/// How often whoever leads looks for rows that are too old.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

const DAY_MS: i64 = 86_400_000;

/// One of these datasources.
#[derive(Debug, Clone)]
pub struct Journaled {
    /// Its name, and that of the supervisor of a node that works alone.
    pub datasource: &'static str,
    /// What its journal calls itself in folders, and in positions where it is the only one.
    pub journal: &'static str,
    pub data_schema: Value,
    /// How often rows are published.
    pub publish: Duration,
    /// Days that rows are kept; 0 for ever.
    pub retention_days: u64,
    /// Memory of the rows that are not yet published.
    pub bytes_in_memory: u64,
    /// Rows that are published as soon as there are so many.
    pub rows_max: u64,
    /// Whether nodes say that they keep such a journal. Those of versions before it do not.
    pub is_told: bool,
}

impl Journaled {
    /// What the journal of a node calls itself. Names of topics hold no colon, and those of nodes no @.
    pub fn journal_of(&self, node: &str) -> String {
        format!("{}-{}", self.journal, node.replace(':', "@"))
    }

    /// Up to where a journal is published.
    pub async fn published(&self, coordinator: &Coordinator, supervisor: &str, journal: &str) -> anyhow::Result<i64> {
        let committed = coordinator.positions(supervisor).await?;
        Ok(committed.0.get(&PartitionKey::new(journal.to_string(), 0).to_string()).copied().unwrap_or(0))
    }

    /// Takes rows out of use that are too old.
    pub async fn expire(&self, coordinator: &Coordinator) -> coordinator::Result<()> {
        if self.retention_days > 0 {
            let before = now().saturating_sub(self.retention_days as i64 * DAY_MS);
            coordinator.expire_system(self.datasource, before, now()).await?;
        }
        Ok(())
    }

    /// Reads the journal from its first line, whatever is recorded now: one that is switched off publishes what it has.
    pub fn supervisor(&self, id: &str, journal: &str) -> SupervisorSpec {
        let document = json!({
            "type": ingest::spec::JOURNAL,
            "id": id,
            "spec": {
                "dataSchema": self.data_schema,
                "ioConfig": {
                    "type": ingest::spec::JOURNAL,
                    "topic": journal,
                    "inputFormat": {"type": "json"},
                    "useEarliestOffset": true,
                    "taskDuration": format!("PT{}.{:03}S", self.publish.as_secs(), self.publish.subsec_millis()),
                },
                "tuningConfig": {"maxBytesInMemory": self.bytes_in_memory, "maxTotalRows": self.rows_max},
            },
        });
        SupervisorSpec {
            id: id.into(),
            datasource: self.datasource.into(),
            kind: ingest::spec::JOURNAL.into(),
            source: journal.into(),
            document,
            task_count: 1,
            suspended: false,
            scaling: None,
        }
    }
}

/// Keeps a supervisor of each datasource for each node, for as long as this process leads.
pub async fn keep_supervisors(all: Vec<Journaled>, coordinator: Weak<Coordinator>) {
    let mut away: BTreeMap<String, Instant> = BTreeMap::new();
    let mut tidied = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(coordinator) = coordinator.upgrade() else { return };
        if let Err(error) = keep(&all, &coordinator, &mut away).await {
            tracing::warn!(%error, "the supervisors of what the store keeps of itself are not what they should be");
        }
        if tidied.elapsed() >= HOUSEKEEPING {
            tidied = Instant::now();
            for one in &all {
                if let Err(error) = one.expire(&coordinator).await {
                    tracing::warn!(%error, datasource = one.datasource, "rows that are too old are not taken out of use");
                }
            }
        }
    }
}

async fn keep(
    all: &[Journaled],
    coordinator: &Coordinator,
    away: &mut BTreeMap<String, Instant>,
) -> coordinator::Result<()> {
    let view = coordinator.view();
    let known: BTreeMap<_, _> =
        coordinator.system_supervisors().into_iter().map(|known| (known.spec.id.clone(), known.spec)).collect();
    let told = coordinator.journals();
    for node in view.nodes.keys() {
        for one in all {
            if one.is_told && !told.get(node).is_some_and(|told| told.iter().any(|name| name == one.journal)) {
                continue;
            }
            let spec = one.supervisor(&of_node(one.datasource, node), &one.journal_of(node));
            if known.get(&spec.id) != Some(&spec)
                && let Err(error) = coordinator.put_system_supervisor(spec, now()).await
            {
                tracing::warn!(%error, node, datasource = one.datasource, "the journal of a node is not read");
            }
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
