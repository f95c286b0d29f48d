//! Local copies of published segments: fetched, checked, opened, evicted.
//!
//! A copy comes into its place by rename after its checksum was compared, so a file that is there with the right size
//! is opened at once, without reading it: start-up costs a map and a footer for each segment. Columns are checked when
//! they are first touched; whoever finds one broken calls [`SegmentCache::repair`].
//!
//! A copy is a file of its own also where deep storage is a folder on the same disk: damage to one leaves the other whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::file;
use crate::meta::SegmentMeta;
use crate::segment::Segment;
use crate::storage::deep::{DeepStorage, blocking, key, sync_to};

pub struct SegmentCache {
    pub folder: PathBuf,
    pub deep: DeepStorage,
    /// Makes the names of unfinished copies differ, so that two loads of a segment do not meet.
    attempts: AtomicU64,
}

/// Ending of copies that are not finished; whatever has it after a restart is rest.
const UNFINISHED: &str = "part";

/// Ending of copies that were found broken. They are kept for the operator until [`SegmentCache::sweep`].
const BROKEN: &str = "corrupt";

impl SegmentCache {
    /// `folder` is created when first needed. It must belong to this cache alone.
    pub fn new(folder: PathBuf, deep: DeepStorage) -> SegmentCache {
        SegmentCache { folder, deep, attempts: AtomicU64::new(0) }
    }

    /// The open segment: from the local copy if it is whole, else fetched again (a broken copy is set aside).
    pub async fn load(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let path = self.path(meta);
        let (id, size_bytes) = (meta.id.clone(), meta.size_bytes);
        let found = blocking(move || match std::fs::metadata(&path) {
            Ok(there) if there.len() == size_bytes => match file::open(&path, id) {
                Ok(segment) => Ok(Some(segment)),
                Err(Error::Corrupt(_)) => set_aside(&path).map(|()| None),
                Err(error) => Err(error),
            },
            Ok(_) => set_aside(&path).map(|()| None),
            Err(_) => Ok(None),
        })
        .await?;
        match found {
            Some(segment) => Ok(Arc::new(segment)),
            None => self.fetch(meta).await,
        }
    }

    /// Fetches the segment anew after its local copy was found broken; the copy is set aside.
    pub async fn repair(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let path = self.path(meta);
        blocking(move || if path.exists() { set_aside(&path) } else { Ok(()) }).await?;
        self.fetch(meta).await
    }

    /// Removes the local copy. Queries that have it open keep it until they end.
    pub fn drop_local(&self, meta: &SegmentMeta) -> Result<()> {
        let path = self.path(meta);
        remove(&path)?;
        // Folders go with their last file; one that is not empty refuses.
        let mut folder = path.parent();
        while let Some(at) = folder.filter(|at| *at != self.folder && std::fs::remove_dir(at).is_ok()) {
            folder = at.parent();
        }
        Ok(())
    }

    /// Removes every file that is not the copy of one of `keep`: unfinished and broken copies, and segments dropped
    /// while this process was away. Returns how many. Must not run beside a load.
    pub fn sweep(&self, keep: &[SegmentMeta]) -> Result<usize> {
        let keep: HashSet<PathBuf> = keep.iter().map(|meta| self.path(meta)).collect();
        let mut removed = 0;
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let failed = |source| Error::io(format!("read {}", folder.display()), source);
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !keep.contains(&path) {
                    remove(&path)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Where the local copy is, or would be.
    pub fn path(&self, meta: &SegmentMeta) -> PathBuf {
        key(meta).parts().fold(self.folder.clone(), |path, part| path.join(part.as_ref()))
    }

    async fn fetch(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let path = self.path(meta);
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{attempt}.{UNFINISHED}"));
        let parent = path.parent().unwrap_or(&self.folder).to_path_buf();
        blocking(move || {
            std::fs::create_dir_all(&parent).map_err(|source| Error::io(format!("create {}", parent.display()), source))
        })
        .await?;

        self.deep.pull(meta, &unfinished).await?;
        let (id, folder) = (meta.id.clone(), self.folder.clone());
        let segment = blocking(move || {
            std::fs::rename(&unfinished, &path)
                .map_err(|source| Error::io(format!("rename {}", unfinished.display()), source))?;
            sync_to(&path, &folder)?;
            file::open(&path, id)
        })
        .await?;
        Ok(Arc::new(segment))
    }
}

fn set_aside(path: &Path) -> Result<()> {
    let aside = path.with_extension(BROKEN);
    std::fs::rename(path, &aside).map_err(|source| Error::io(format!("set aside {}", path.display()), source))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io(format!("remove {}", path.display()), source)),
    }
}
