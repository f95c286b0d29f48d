//! The ingest crate's port to the catalog, plugged onto the coordinator of this process.

use std::sync::Arc;

use async_trait::async_trait;
use coordinator::{Coordinator, Published};
use ingest::{Allocation, Clock, Ledger, PartitionKey, Positions, Publication, PublishMode};
use segment::SegmentId;

use crate::traces::Traces;

pub struct LocalLedger {
    pub coordinator: Arc<Coordinator>,
    pub clock: Clock,
    /// Of this process.
    pub node: String,
    pub traces: Traces,
    /// Whether there are no brokers that go by a view.
    pub is_alone: bool,
}

#[async_trait]
impl Ledger for LocalLedger {
    async fn positions(&self, supervisor: &str) -> ingest::Result<Positions> {
        theirs(&self.coordinator.positions(supervisor).await.map_err(error)?)
    }

    async fn allocate(&self, what: &Allocation) -> ingest::Result<SegmentId> {
        let allocation = coordinator::Allocation {
            task: what.task.clone(),
            node: self.node.clone(),
            attempt: what.attempt,
            datasource: what.datasource.clone(),
            sequence: what.sequence.clone(),
            interval: what.interval,
            index: what.index,
            fresh_version: what.fresh_version,
            at: Some(what.at),
        };
        self.coordinator.allocate(allocation, (self.clock)()).await.map_err(error)
    }

    async fn announce(&self, ids: &[SegmentId]) -> ingest::Result<()> {
        match self.is_alone {
            // It answers from all that it has.
            true => Ok(()),
            false => self.coordinator.until_known(&self.node, ids).await.map_err(error),
        }
    }

    async fn publish(&self, what: &Publication) -> ingest::Result<Vec<SegmentId>> {
        let _steps: Vec<_> =
            what.segments.iter().map(|meta| self.traces.segment(&meta.id, "commit", meta.rows)).collect();
        let publication = coordinator::Publication {
            task: what.task.clone(),
            node: self.node.clone(),
            attempt: what.attempt,
            supervisor: what.supervisor.clone(),
            datasource: what.datasource.clone(),
            segments: what.segments.clone(),
            from: ours(&what.from),
            to: ours(&what.to),
            mode: match &what.mode {
                PublishMode::Append => coordinator::PublishMode::Append,
                PublishMode::Replace { intervals } => {
                    coordinator::PublishMode::Replace { intervals: intervals.clone() }
                }
            },
        };
        match self.coordinator.publish(publication, (self.clock)()).await.map_err(error)? {
            Published::Committed(metas) => Ok(metas.into_iter().map(|meta| meta.id).collect()),
            Published::Renamed(ids) => Ok(ids),
        }
    }

    async fn is_served(&self, id: &SegmentId) -> ingest::Result<bool> {
        Ok(self.coordinator.is_served(id))
    }
}

/// Positions in the catalog's words.
pub fn ours(positions: &Positions) -> coordinator::Positions {
    coordinator::Positions(positions.0.iter().map(|(key, offset)| (key.to_string(), *offset)).collect())
}

/// Positions in the tasks' words.
fn theirs(positions: &coordinator::Positions) -> ingest::Result<Positions> {
    let parsed = positions.0.iter().map(|(key, offset)| {
        let key = PartitionKey::parse(key).ok_or_else(|| {
            ingest::Error::Bug(format!("the catalog has positions of '{key}', which is no partition"))
        })?;
        Ok((key, *offset))
    });
    Ok(Positions(parsed.collect::<ingest::Result<_>>()?))
}

fn error(error: coordinator::Error) -> ingest::Error {
    match error {
        coordinator::Error::Stale { ref committed, .. } => match theirs(committed) {
            Ok(committed) => ingest::Error::Stale { committed },
            Err(other) => other,
        },
        coordinator::Error::Invalid(text) | coordinator::Error::Conflict(text) => ingest::Error::Invalid(text),
        coordinator::Error::NotFound(text) => ingest::Error::NotFound(text),
        // The process ends when it does not lead any more; until then tasks wait as for a store that is away.
        coordinator::Error::Store { .. } | coordinator::Error::NotLeader(_) => {
            ingest::Error::Unavailable(error.to_string())
        }
        coordinator::Error::Corrupt(_) => ingest::Error::Failed(error.to_string()),
    }
}
