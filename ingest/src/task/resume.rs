//! What a task takes over from an earlier life on the same disk.

use std::path::PathBuf;

use segment::inventory::{Change, Served};

use super::{Task, appender_setup, new_sequence};
use crate::appender::{Appender, Open};
use crate::error::Result;
use crate::restore::{self, Manifest};
use crate::sequence::{Closed, Persist, Sequence};

impl Task {
    /// Brings back what an earlier life left, and removes what is void.
    pub(super) fn restore(&mut self) -> Result<()> {
        let (generation, share) = (self.setup.order.generation, self.share);
        let fits = |manifest: &Manifest| {
            manifest.generation == generation
                && manifest.fingerprint == self.fingerprint
                && manifest.from.0.keys().all(|key| share.holds(key))
        };
        let mut found = restore::find(&self.folder, &self.known, fits)?;
        let mut restored: Vec<(PathBuf, Manifest, Vec<Open>)> = Vec::new();
        while let Some((path, manifest)) = (!found.chain.is_empty()).then(|| found.chain.remove(0)) {
            match manifest.open(&path, &self.schema) {
                Ok(indexes) => restored.push((path, manifest, indexes)),
                // The stream has these rows still: read again rather than fail for ever.
                Err(error) => {
                    tracing::warn!(sequence = manifest.sequence, %error, "spilled rows cannot be restored, reading again");
                    self.setup.control.add_incident(format!("spilled rows cannot be restored: {error}"), false);
                    found.stale.push((path, Some(manifest)));
                    found.stale.extend(found.chain.drain(..).map(|(path, manifest)| (path, Some(manifest))));
                }
            }
        }
        for (path, manifest) in found.stale {
            if let Some(manifest) = manifest
                && manifest.closed
                && !manifest.from.is_empty()
                && self.known.reaches(&manifest.reached)
            {
                self.to_be_served.extend(manifest.segments.into_iter().map(|segment| segment.id));
            }
            restore::remove(&path)?;
        }
        let serve = |open: &Open| Change::Serve(open.id.clone(), Served::Realtime(open.index.clone()));
        let changes: Vec<Change> = restored.iter().flat_map(|(_, _, indexes)| indexes.iter().map(serve)).collect();
        if !changes.is_empty() {
            self.setup.ports.inventory.apply(changes);
        }
        let rows = restored.iter().flat_map(|(_, _, indexes)| indexes).map(|open| open.index.rows() as u64).sum();
        self.setup.control.update(|report| report.rows.restored = rows);
        for (folder, manifest, indexes) in restored {
            self.known.advance(&manifest.reached);
            tracing::info!(sequence = manifest.sequence, closed = manifest.closed, "sequence restored");
            if manifest.closed {
                let pieces = indexes.iter().map(|open| open.index.pieces()).collect();
                let persist = Persist { folder, manifest, indexes, pieces };
                self.enqueue(Closed { name: persist.manifest.sequence.clone(), persist, persisting: None })?;
            } else {
                let now = self.setup.control.now();
                let Manifest { sequence, from, reached, opened_at, .. } = manifest;
                let appender = appender_setup(&self.setup, &self.schema, sequence.clone(), folder.clone());
                self.sequence = Sequence {
                    name: sequence,
                    window: self.setup.spec.io.window(opened_at),
                    folder,
                    from,
                    opened_at,
                    appender: Appender::resume(appender, indexes),
                    persisted: reached,
                    persisted_at: now,
                };
            }
        }
        if self.sequence.from.is_empty() {
            self.sequence =
                new_sequence(&self.setup, &self.schema, &self.folder, self.known.clone(), self.setup.control.now());
        }
        Ok(())
    }
}
