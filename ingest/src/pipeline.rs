//! Closed sequences on their way out, in order, while the next one is read: freeze → push → publish, then wait until
//! they are served, then retire.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::appender::Open;
use crate::control::{Control, RETRY_FIRST, RETRY_MOST};
use crate::error::Result;
use crate::handoff::{Handoff, SERVED_POLL};
use crate::ledger::{Publication, PublishMode};
use crate::metrics::segments_published;
use crate::restore::remove;
use crate::sequence::{Closed, Persist, joined};

/// Closed sequences that may wait. They are on disk or on their way there; past this the task stops to read.
pub const CLOSED_MAX: usize = 16;

pub(crate) struct Pipeline {
    pub control: Arc<Control>,
    pub handoff: Handoff,
    pub task: String,
    pub attempt: i64,
    pub supervisor: String,
    pub datasource: String,
}

/// A sequence that is published and not yet served elsewhere.
struct Waiting {
    name: String,
    persist: Persist,
}

impl Pipeline {
    /// Ends when the queue is closed and everything is retired, or the task must hurry.
    pub async fn run(self, mut queue: mpsc::Receiver<Closed>) -> Result<()> {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut open = true;
        while open || !waiting.is_empty() {
            tokio::select! {
                closed = queue.recv(), if open => match closed {
                    Some(closed) => waiting.extend(self.publish(closed).await?),
                    None => open = false,
                },
                paused = self.control.pause(SERVED_POLL), if !waiting.is_empty() => {
                    paused?;
                    self.retire(&mut waiting).await?;
                }
            }
        }
        Ok(())
    }

    async fn publish(&self, closed: Closed) -> Result<Option<Waiting>> {
        let Closed { name, mut persist, persisting } = closed;
        if let Some(persisting) = persisting {
            joined(persisting).await?;
        }
        let (control, folder) = (&self.control, persist.folder.clone());
        let mut indexes: Vec<Open> = persist.indexes.clone();
        let metas = control.retry("freeze", || self.handoff.freeze(&indexes, &folder)).await?;
        let metas = control.retry("push to deep storage", || self.handoff.push(&indexes, &folder, &metas)).await?;
        let segments = metas.len();
        let mut publication = Publication {
            task: self.task.clone(),
            attempt: self.attempt,
            supervisor: Some(self.supervisor.clone()),
            datasource: self.datasource.clone(),
            segments: metas,
            from: persist.manifest.from.clone(),
            to: persist.manifest.reached.clone(),
            mode: PublishMode::Append,
        };
        let mut rest = RETRY_FIRST;
        let outcome = loop {
            let renamed = |indexes: &[Open]| persist.rename(indexes, &self.handoff.fail_points);
            match self.handoff.publish(&mut publication, &mut indexes, renamed).await {
                Err(error) if error.is_retryable() => {
                    control.storage_refuses(format!("publish: {error}"));
                    control.pause(rest).await?;
                    rest = (rest * 2).min(RETRY_MOST);
                }
                other => break other?,
            }
        };
        control.storage_works();
        persist.indexes = indexes;
        control.mark_published(&name, segments);
        segments_published(&self.datasource, segments as u64);
        tracing::info!(sequence = name, segments, ?outcome, to = %publication.to, "sequence published");
        Ok(Some(Waiting { name, persist }))
    }

    async fn retire(&self, waiting: &mut Vec<Waiting>) -> Result<()> {
        let mut left = Vec::new();
        for sequence in waiting.drain(..) {
            // A catalog that does not answer is asked again at the next look.
            let served = self.handoff.are_served(&sequence.persist.indexes).await.unwrap_or(false);
            if !served {
                left.push(sequence);
                continue;
            }
            self.handoff.retire(&sequence.persist.indexes)?;
            remove(&sequence.persist.folder)?;
            self.handoff.fail_points.pass("handoff-after")?;
            self.control.remove_publishing(&sequence.name);
            tracing::info!(sequence = sequence.name, "sequence handed off");
        }
        *waiting = left;
        Ok(())
    }
}
