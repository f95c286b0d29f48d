//! What a task keeps on its local disk to go on after a restart: one folder per sequence, with the spills of its indexes
//! and a manifest that tells up to which positions they reach.
//!
//! The chain rule: a manifest whose start is what is committed, or where the manifest restored before it ends, holds rows
//! that are in no published segment and follow on without a gap: it is restored. Any other is stale (published already,
//! or of a history that was reset), and its folder goes.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment::SegmentId;
use segment::realtime::RealtimeIndex;
use segment::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::appender::Open;
use crate::error::{Error, Result};
use crate::positions::Positions;

const MANIFEST: &str = "manifest.json";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub sequence: String,
    /// Of the supervisor when it was written: a reset makes older rows void.
    pub generation: i64,
    /// Of the dataSchema that the rows were indexed with: rows of another cannot be mixed in.
    pub fingerprint: String,
    /// What is committed before it.
    pub from: Positions,
    /// Rows before these positions are in the spills.
    pub reached: Positions,
    /// Nothing is to be read into it any more.
    pub closed: bool,
    pub opened_at: i64,
    pub segments: Vec<ManifestSegment>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestSegment {
    pub id: SegmentId,
    /// Folder of the index, within the sequence's.
    pub folder: String,
    /// File names within that folder.
    pub spills: Vec<String>,
}

impl Manifest {
    /// Replaces the manifest of a sequence's folder: after a crash there is the old one or the new one.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("write {}", folder.join(MANIFEST).display()), error);
        let text = serde_json::to_vec(self).map_err(|error| Error::Bug(format!("a manifest has no JSON: {error}")))?;
        let unfinished = folder.join("manifest.tmp");
        let mut file = File::create(&unfinished).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&unfinished, folder.join(MANIFEST)).map_err(failed)?;
        sync(folder)?;
        // The folder itself may be new.
        folder.parent().map_or(Ok(()), sync)
    }

    fn read(folder: &Path) -> Option<Manifest> {
        serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()
    }

    /// Opens the spills, and removes files that the manifest does not name.
    pub fn open(&self, folder: &Path, schema: &Schema) -> Result<Vec<Open>> {
        let mut indexes = Vec::new();
        for segment in &self.segments {
            let place = folder.join(&segment.folder);
            for entry in fs::read_dir(&place).map_err(|error| Error::io(place.display().to_string(), error))? {
                let entry = entry.map_err(|error| Error::io(place.display().to_string(), error))?;
                if !segment.spills.iter().any(|name| entry.file_name().to_str() == Some(name)) {
                    remove(&entry.path())?;
                }
            }
            let spills = segment.spills.iter().map(|name| place.join(name)).collect();
            let index = Arc::new(RealtimeIndex::new(segment.id.clone(), schema.clone(), place, spills)?);
            indexes.push(Open { id: segment.id.clone(), folder: segment.folder.clone(), index });
        }
        Ok(indexes)
    }
}

/// The folders of a task's sequences, sorted by what is to become of them.
#[derive(Debug, Default)]
pub struct Found {
    /// To be restored, in order.
    pub chain: Vec<(PathBuf, Manifest)>,
    pub stale: Vec<(PathBuf, Option<Manifest>)>,
}

/// Reads the manifests in a task's folder and follows the chain from what is committed. `fits` tells whether a manifest is
/// of this task's making at all: its generation, dataSchema and partitions.
pub fn find(folder: &Path, committed: &Positions, fits: impl Fn(&Manifest) -> bool) -> Result<Found> {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(|error| Error::io(folder.display().to_string(), error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| Error::io(folder.display().to_string(), error))?.path();
        match Manifest::read(&path) {
            Some(manifest) if fits(&manifest) => candidates.push((path, manifest)),
            manifest => found.stale.push((path, manifest)),
        }
    }
    let mut at = committed.clone();
    loop {
        let next = candidates.iter().position(|(_, manifest)| follows(&at, &manifest.from));
        let Some(next) = next else { break };
        let (path, manifest) = candidates.swap_remove(next);
        let closed = manifest.closed;
        at.advance(&manifest.reached);
        found.chain.push((path, manifest));
        // Nothing can follow on a sequence that was still being read: what comes after it starts further on.
        if !closed {
            break;
        }
    }
    found.stale.extend(candidates.into_iter().map(|(path, manifest)| (path, Some(manifest))));
    Ok(found)
}

/// Whether a sequence with this start comes next. Where a partition starts is committed before it is read, so one that is
/// not committed is of a history that is void.
fn follows(at: &Positions, from: &Positions) -> bool {
    from.0.iter().all(|(key, offset)| at.get(key) == Some(*offset))
}

/// Removes a folder or file that may be gone already.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::io(format!("sync {}", folder.display()), error))
}

/// A short name for a text, stable for ever (FNV-1a).
pub fn fingerprint(text: &str) -> String {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::PartitionKey;

    fn at(offsets: &[i64]) -> Positions {
        let entry = |(partition, offset): (usize, &i64)| (PartitionKey::new("t", partition as i32), *offset);
        Positions(offsets.iter().enumerate().map(entry).collect())
    }

    fn write(folder: &Path, name: &str, from: &[i64], reached: &[i64], closed: bool) {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let manifest = Manifest {
            sequence: name.into(),
            generation: 1,
            fingerprint: "f".into(),
            from: at(from),
            reached: at(reached),
            closed,
            opened_at: 0,
            segments: Vec::new(),
        };
        manifest.write(&folder).unwrap();
    }

    fn check(written: &[(&str, &[i64], &[i64], bool)], committed: &[i64], chain: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, from, reached, closed) in written {
            write(folder.path(), name, from, reached, *closed);
        }
        fs::create_dir(folder.path().join("unfinished")).unwrap();
        let found = find(folder.path(), &at(committed), |_| true).unwrap();
        let names: Vec<&str> = found.chain.iter().map(|(_, manifest)| manifest.sequence.as_str()).collect();
        assert_eq!(names, chain);
        assert_eq!(found.chain.len() + found.stale.len(), written.len() + 1);
    }

    #[test]
    fn a_chain_starts_at_what_is_committed() {
        let three: &[(&str, &[i64], &[i64], bool)] =
            &[("c", &[20, 9], &[25, 9], false), ("a", &[0, 0], &[10, 5], true), ("b", &[10, 5], &[20, 9], true)];
        check(three, &[0, 0], &["a", "b", "c"]);
        check(three, &[10, 5], &["b", "c"]);
        check(three, &[20, 9], &["c"]);
        check(three, &[25, 9], &[]);
        check(three, &[10, 4], &[]);
        check(three, &[0], &[]);
        check(three, &[], &[]);
    }

    #[test]
    fn nothing_follows_on_a_sequence_that_was_being_read() {
        check(&[("a", &[0], &[10], false), ("b", &[10], &[20], true)], &[0], &["a"]);
    }
}
