//! The last steps of a sequence's rows: frozen → pushed to deep storage → published → served elsewhere → retired here.
//! Each step may be repeated after a failure or a crash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use segment::SegmentMeta;
use segment::inventory::{Change, Served};

use crate::appender::Open;
use crate::error::{Error, Result};
use crate::fail::FailPoints;
use crate::ledger::Publication;
use crate::worker::Ports;

/// How often it is asked whether a published segment is served.
pub const SERVED_POLL: Duration = Duration::from_millis(100);

/// How often versions may move between two attempts to publish before it counts as an error of ours.
const RENAMES_MAX: usize = 10;

#[derive(Clone)]
pub struct Handoff {
    pub ports: Ports,
    pub fail_points: FailPoints,
}

/// What publishing came to.
#[derive(Debug)]
pub enum Outcome {
    Published,
    /// The positions are there already: an earlier attempt, whose answer was lost, has published these rows.
    PublishedBefore,
}

impl Handoff {
    /// Merges each index into its final file. No append may follow.
    pub async fn freeze(&self, indexes: &[Open], folder: &Path) -> Result<Vec<SegmentMeta>> {
        self.fail_points.pass("freeze")?;
        let mut metas = Vec::with_capacity(indexes.len());
        for open in indexes {
            let (index, file) = (open.index.clone(), final_file(folder, open));
            let _step = (self.ports.steps)(&open.id, "freeze", open.index.rows() as u64);
            let frozen = tokio::task::spawn_blocking(move || index.freeze(&file)).await;
            let meta = frozen.map_err(|error| Error::Bug(format!("freezing {} ended early: {error}", open.id)))??;
            metas.push(SegmentMeta { id: open.id.clone(), ..meta });
        }
        Ok(metas)
    }

    /// Uploads the final files; the metas come back with their paths.
    pub async fn push(&self, indexes: &[Open], folder: &Path, metas: &[SegmentMeta]) -> Result<Vec<SegmentMeta>> {
        self.fail_points.pass("push-before")?;
        let mut pushed = Vec::with_capacity(metas.len());
        for (open, meta) in indexes.iter().zip(metas) {
            let _step = (self.ports.steps)(&open.id, "push", meta.rows);
            pushed.push(self.ports.deep.push(&final_file(folder, open), meta.clone()).await?);
        }
        self.fail_points.pass("push-after")?;
        Ok(pushed)
    }

    /// Publishes, renaming `indexes` (what is queryable here too) as often as versions move. `renamed` is called after
    /// each renaming, before the next attempt.
    pub async fn publish(
        &self,
        publication: &mut Publication,
        indexes: &mut [Open],
        mut renamed: impl FnMut(&[Open]) -> Result<()>,
    ) -> Result<Outcome> {
        self.fail_points.pass("publish-before")?;
        for _ in 0..RENAMES_MAX {
            let _steps: Vec<_> =
                (publication.segments.iter()).map(|meta| (self.ports.steps)(&meta.id, "publish", meta.rows)).collect();
            let ids = match self.ports.ledger.publish(publication).await {
                Ok(ids) => ids,
                Err(Error::Stale { committed }) => {
                    let ours = !publication.to.is_empty() && committed.reaches(&publication.to);
                    return if ours { Ok(Outcome::PublishedBefore) } else { Err(Error::Stale { committed }) };
                }
                Err(error) => return Err(error),
            };
            if ids.len() != publication.segments.len() {
                return Err(Error::Bug("the ledger answered another number of segments than it was given".into()));
            }
            if ids.iter().eq(publication.segments.iter().map(|meta| &meta.id)) {
                self.fail_points.pass("publish-after")?;
                return Ok(Outcome::Published);
            }
            let mut changes = Vec::new();
            for ((open, meta), id) in indexes.iter_mut().zip(&mut publication.segments).zip(ids) {
                if open.id != id {
                    changes.push(Change::Withdraw(open.id.clone()));
                    changes.push(Change::Serve(id.clone(), Served::Realtime(open.index.clone())));
                    open.id = id.clone();
                    meta.id = id;
                }
            }
            self.ports.inventory.apply(changes);
            renamed(indexes)?;
        }
        Err(Error::unavailable(format!("segment versions moved {RENAMES_MAX} times while publishing")))
    }

    /// Whether all are served elsewhere.
    pub async fn are_served(&self, indexes: &[Open]) -> Result<bool> {
        for open in indexes {
            if !self.ports.ledger.is_served(&open.id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the realtime rows out of the inventory; published segments that took their place stay.
    pub fn retire(&self, indexes: &[Open]) -> Result<()> {
        self.fail_points.pass("handoff-before")?;
        self.ports.inventory.apply(indexes.iter().map(|open| Change::Withdraw(open.id.clone())).collect());
        Ok(())
    }
}

fn final_file(folder: &Path, open: &Open) -> PathBuf {
    folder.join(&open.folder).join("final.seg")
}
