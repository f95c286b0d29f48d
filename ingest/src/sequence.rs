//! A sequence: the rows between two positions of a supervised task, which are published in one piece.

use std::fs;
use std::path::PathBuf;

use tokio::task::JoinHandle;

use crate::appender::{Appender, Open};
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
pub(crate) struct Persist {
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub indexes: Vec<Open>,
}

/// A sequence that is read to its end, on its way to deep storage.
pub(crate) struct Closed {
    pub name: String,
    pub persist: Persist,
    /// The persist that was under way when it was closed.
    pub before: Option<JoinHandle<Result<()>>>,
}

impl Persist {
    /// Writes the sealed rows, then the manifest. May be repeated. Blocks: files are written and synced.
    pub fn run(&self, fail_points: &FailPoints) -> Result<()> {
        let failed = |error| Error::io(self.folder.display().to_string(), error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut segments = Vec::with_capacity(self.indexes.len());
        for open in &self.indexes {
            open.index.spill_sealed()?;
            let spills = open.index.spills();
            let names = spills.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_string()));
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
