//! A sequence: the rows between two positions of a supervised task, which are published in one piece.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::appender::{Appender, Open};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::fail::FailPoints;
use crate::positions::Positions;
use crate::restore::{Manifest, ManifestSegment};

/// The sequence that is being read.
pub(crate) struct Sequence {
    pub name: String,
    pub folder: PathBuf,
    pub from: Positions,
    pub opened_at: i64,
    /// Times of rows that are taken in: inclusive and exclusive bound.
    pub window: (i64, i64),
    pub appender: Appender,
    /// Positions up to which rows are in spills, or on their way there.
    pub persisted: Positions,
    pub persisted_at: i64,
}

/// What is needed to write down how far a sequence has come: taken at a batch boundary, run elsewhere.
#[derive(Clone)]
pub(crate) struct Persist {
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub indexes: Vec<Open>,
    /// Of each index, how many of its spills, the first ones, hold what the manifest reaches: a later persist may have
    /// sealed more before this one runs.
    pub pieces: Vec<usize>,
}

/// A sequence that is read to its end, on its way to deep storage.
pub(crate) struct Closed {
    pub name: String,
    pub persist: Persist,
    /// Its last persist, if it is still to run.
    pub persisting: Option<JoinHandle<Result<()>>>,
}

impl Persist {
    /// Writes the sealed rows, then the manifest. May be repeated. Blocks: files are written and synced.
    pub fn run(&self, fail_points: &FailPoints) -> Result<()> {
        let failed = |error| Error::io(self.folder.display().to_string(), error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut segments = Vec::with_capacity(self.indexes.len());
        for (open, pieces) in self.indexes.iter().zip(&self.pieces) {
            open.index.spill_sealed()?;
            let spills = open.index.spills();
            let names = spills.iter().take(*pieces).filter_map(|path| Some(path.file_name()?.to_str()?.to_string()));
            segments.push(ManifestSegment {
                id: open.id.clone(),
                folder: open.folder.clone(),
                spills: names.collect(),
            });
        }
        fail_points.pass("persist-before-manifest")?;
        Manifest { segments, ..self.manifest.clone() }.write(&self.folder)?;
        fail_points.pass("persist-after-manifest")
    }

    /// Takes over the names that publishing settled, and writes the manifest again.
    pub fn rename(&mut self, indexes: &[Open], fail_points: &FailPoints) -> Result<()> {
        self.indexes = indexes.to_vec();
        self.run(fail_points)
    }
}

/// Runs persists in the background, one at a time.
pub(crate) struct Persister {
    pub control: Arc<Control>,
    pub fail_points: FailPoints,
    pub runtime: Handle,
    turn: Arc<Mutex<()>>,
}

impl Persister {
    pub fn new(control: Arc<Control>, fail_points: FailPoints, runtime: Handle) -> Persister {
        Persister { control, fail_points, runtime, turn: Arc::default() }
    }

    /// Begins once `before` has ended well. What the disk refuses is tried again, with the reason in the task's report.
    pub fn start(&self, persist: Persist, before: Option<JoinHandle<Result<()>>>) -> JoinHandle<Result<()>> {
        let (control, fail_points, turn) = (self.control.clone(), self.fail_points.clone(), self.turn.clone());
        let persist = Arc::new(persist);
        self.runtime.spawn(async move {
            if let Some(before) = before {
                joined(before).await?;
            }
            let run = || {
                let (persist, fail_points) = (persist.clone(), fail_points.clone());
                let (control, turn) = (control.clone(), turn.clone());
                joined(tokio::task::spawn_blocking(move || {
                    let _turn = turn.lock();
                    if control.must_hurry() {
                        return Err(Error::Interrupted);
                    }
                    persist.run(&fail_points)
                }))
            };
            control.retry("persist", run).await
        })
    }

    /// Once the task must hurry: waits for the persist that is running. None begins after it.
    pub fn settle(&self) {
        drop(self.turn.lock());
    }
}

/// The outcome of a persist.
pub(crate) async fn joined(persisting: JoinHandle<Result<()>>) -> Result<()> {
    persisting.await.map_err(|error| Error::Bug(format!("a persist ended early: {error}")))?
}

#[cfg(test)]
mod tests {
    use segment::realtime::RealtimeIndex;
    use segment::row::RowBatch;
    use segment::schema::{Discovery, Schema};
    use segment::{Granularity, Interval, SegmentId};

    use super::*;

    /// A persist may run after more rows were sealed, by the close of its sequence: a crash between the two manifests
    /// must not leave rows in the first that its positions do not reach.
    #[test]
    fn a_manifest_names_no_rows_that_were_sealed_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let interval = Interval { start: 0, end: 1000 };
        let id = SegmentId { datasource: "d".into(), interval, version: "v".into(), partition: 0 };
        let schema = Schema {
            dimensions: Vec::new(),
            discovery: Discovery::None,
            exclusions: Vec::new(),
            metrics: Vec::new(),
            rollup: false,
            query_granularity: Granularity::None,
        };
        let place = folder.path().join("0");
        fs::create_dir(&place).unwrap();
        let index = Arc::new(RealtimeIndex::new(id.clone(), schema.clone(), place, Vec::new()).unwrap());
        let open = Open { id, folder: "0".into(), index: index.clone() };
        let seal = |rows: usize| {
            let mut batch = RowBatch::new();
            (0..rows).for_each(|_| batch.finish_row(5));
            index.append(&batch, &(0..rows as u32).collect::<Vec<_>>()).unwrap();
            index.seal();
            let manifest = Manifest {
                sequence: "s".into(),
                generation: 1,
                fingerprint: "f".into(),
                from: Positions::default(),
                reached: Positions::default(),
                closed: false,
                opened_at: 0,
                segments: Vec::new(),
            };
            let (indexes, pieces) = (vec![open.clone()], vec![index.pieces()]);
            Persist { folder: folder.path().into(), manifest, indexes, pieces }
        };
        let (first, second) = (seal(3), seal(4));
        for (persist, rows) in [(&first, 3), (&second, 7), (&first, 3)] {
            persist.run(&FailPoints::none()).unwrap();
            let text = fs::read(folder.path().join("manifest.json")).unwrap();
            let manifest: Manifest = serde_json::from_slice(&text).unwrap();
            let segment = &manifest.segments[0];
            let spills = segment.spills.iter().map(|name| folder.path().join("0").join(name)).collect();
            let kept = RealtimeIndex::new(segment.id.clone(), schema.clone(), folder.path().into(), spills).unwrap();
            assert_eq!(kept.rows(), rows);
        }
    }
}
