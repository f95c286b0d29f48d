//! Deep storage: published files, written once, never changed.
//!
//! A file's key is made of its id and checksum, so pushing again writes the same bytes to the same place, and two
//! attempts with different bytes never meet. Nothing here lists or guesses keys: the catalog knows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::meta::SegmentMeta;
use crate::storage::objects::Objects;

/// Bytes read, hashed and sent at a time. With [`PARTS_IN_FLIGHT`] it bounds the memory of an upload to 40 MiB; object
/// stores take no parts below 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// Parts of an upload that may be on their way at once.
const PARTS_IN_FLIGHT: usize = 4;

#[derive(Clone)]
pub struct DeepStorage {
    store: Arc<dyn ObjectStore>,
    /// Set if the store is a folder of this machine.
    local: Option<Arc<Local>>,
}

struct Local {
    folder: PathBuf,
    files: LocalFileSystem,
}

impl DeepStorage {
    pub fn new(store: Arc<dyn ObjectStore>) -> DeepStorage {
        DeepStorage { store, local: None }
    }

    /// A folder of this machine (created if missing); writes are synced.
    pub fn local(folder: &Path) -> Result<DeepStorage> {
        let failed = |source| Error::io(format!("deep storage folder {}", folder.display()), source);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let files = LocalFileSystem::new_with_prefix(&folder).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(DeepStorage { store: Arc::new(files.clone()), local: Some(Arc::new(Local { folder, files })) })
    }

    /// A folder for objects that are not segments. Its name begins with a dot, as no datasource's does.
    pub fn objects(&self, folder: &str) -> Objects {
        Objects::new(self.store.clone(), folder)
    }

    /// Uploads a file under a key of its id and checksum (so a retry writes the same object) and returns the meta with
    /// its `path` set. `Corrupt` if the file is not the one the meta describes.
    pub async fn push(&self, file: &Path, mut meta: SegmentMeta) -> Result<SegmentMeta> {
        let key = key(&meta);
        self.upload(file, &meta, &key).await?;
        if let Some(local) = &self.local {
            let path = local.path(&key)?;
            let folder = local.folder.clone();
            blocking(move || sync_to(&path, &folder)).await?;
        }
        meta.path = key.to_string();
        Ok(meta)
    }

    /// Downloads to a local file, synced, checked against the meta's size and checksum. A file that fails the check is
    /// removed.
    pub async fn pull(&self, meta: &SegmentMeta, to: &Path) -> Result<()> {
        let pulled = self.download(meta, to).await;
        if pulled.is_err() {
            // The error tells why; a rest that cannot be removed is overwritten by the next attempt.
            let _ = tokio::fs::remove_file(to).await;
        }
        pulled
    }

    /// Deleting what is not there succeeds, so that a deletion can be repeated.
    pub async fn delete(&self, meta: &SegmentMeta) -> Result<()> {
        match self.store.delete(&parse_key(meta)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete from", meta, error)),
        }
    }

    /// The file itself, where deep storage is a folder of this machine.
    pub fn local_path(&self, meta: &SegmentMeta) -> Option<PathBuf> {
        self.local.as_ref()?.path(&parse_key(meta).ok()?).ok()
    }

    async fn upload(&self, file: &Path, meta: &SegmentMeta, key: &Key) -> Result<()> {
        let unreadable = |source| Error::io(format!("read {}", file.display()), source);
        let mut from = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let mut check = Check::new(meta);
        let first = read_part(&mut from).await.map_err(unreadable)?;
        check.update(&first);
        if first.len() < PART_BYTES {
            check.finish(file)?;
            self.store.put(key, first.into()).await.map_err(|error| failed("push to", meta, error))?;
            return Ok(());
        }

        let upload = self.store.put_multipart(key).await.map_err(|error| failed("push to", meta, error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = first;
        let sent: Result<()> = async {
            while !part.is_empty() {
                upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(|error| failed("push to", meta, error))?;
                upload.put(part);
                part = read_part(&mut from).await.map_err(unreadable)?;
                check.update(&part);
            }
            check.finish(file)
        }
        .await;
        match sent {
            Ok(()) => upload.finish().await.map(|_| ()).map_err(|error| failed("push to", meta, error)),
            Err(error) => {
                // What was sent is invisible until it is finished; stores drop unfinished uploads by their own rules.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    async fn download(&self, meta: &SegmentMeta, to: &Path) -> Result<()> {
        let unwritable = |source| Error::io(format!("write {}", to.display()), source);
        let got = self.store.get(&parse_key(meta)?).await.map_err(|error| failed("pull from", meta, error))?;
        let mut file = tokio::fs::File::create(to).await.map_err(unwritable)?;
        let mut check = Check::new(meta);
        let mut stream = got.into_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| failed("pull from", meta, error))?;
            check.update(&bytes);
            file.write_all(&bytes).await.map_err(unwritable)?;
        }
        check.finish(Path::new(&meta.path))?;
        file.flush().await.map_err(unwritable)?;
        file.sync_all().await.map_err(unwritable)
    }
}

impl Local {
    fn path(&self, key: &Key) -> Result<PathBuf> {
        self.files
            .path_to_filesystem(key)
            .map_err(|error| Error::invalid(format!("deep storage key {key} names no file: {error}")))
    }
}

/// Compares bytes as they pass with what the meta says of the file.
struct Check {
    hash: Xxh3,
    seen: u64,
    size_bytes: u64,
    checksum: u64,
}

impl Check {
    fn new(meta: &SegmentMeta) -> Check {
        Check { hash: Xxh3::new(), seen: 0, size_bytes: meta.size_bytes, checksum: meta.checksum }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.seen += bytes.len() as u64;
    }

    fn finish(&self, file: &Path) -> Result<()> {
        if self.seen != self.size_bytes {
            return Err(Error::corrupt(format!(
                "{} has {} bytes instead of {}",
                file.display(),
                self.seen,
                self.size_bytes
            )));
        }
        let found = self.hash.digest();
        if found != self.checksum {
            return Err(Error::corrupt(format!(
                "{} has checksum {found:016x} instead of {:016x}",
                file.display(),
                self.checksum
            )));
        }
        Ok(())
    }
}

/// `datasource/start_end/version/partition/checksum.henge`; characters that paths cannot hold are percent-encoded.
pub(super) fn key(meta: &SegmentMeta) -> Key {
    let id = &meta.id;
    Key::from_iter([
        id.datasource.clone(),
        format!("{}_{}", id.interval.start, id.interval.end),
        id.version.clone(),
        id.partition.to_string(),
        format!("{:016x}.henge", meta.checksum),
    ])
}

fn parse_key(meta: &SegmentMeta) -> Result<Key> {
    if meta.path.is_empty() {
        return Err(Error::invalid(format!("segment {} has no path in deep storage", meta.id)));
    }
    Key::parse(&meta.path)
        .map_err(|error| Error::invalid(format!("segment {} has an unusable path in deep storage: {error}", meta.id)))
}

/// A full part, or what is left of the file.
async fn read_part(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut part = Vec::with_capacity(PART_BYTES);
    file.take(PART_BYTES as u64).read_to_end(&mut part).await?;
    Ok(Bytes::from(part))
}

fn failed(what: &str, meta: &SegmentMeta, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => {
            Error::NotFound(format!("segment {} is not in deep storage under {}", meta.id, meta.path))
        }
        error => Error::io(format!("{what} deep storage segment {}", meta.id), std::io::Error::other(error)),
    }
}

/// Syncs a file and every folder from it up to `top`: a crash right after finds it whole or not at all.
pub(super) fn sync_to(file: &Path, top: &Path) -> Result<()> {
    let sync = |path: &Path| {
        std::fs::File::open(path)
            .and_then(|opened| opened.sync_all())
            .map_err(|source| Error::io(format!("sync {}", path.display()), source))
    };
    sync(file)?;
    let mut folder = file.parent();
    while let Some(path) = folder.filter(|path| path.starts_with(top)) {
        sync(path)?;
        folder = path.parent();
    }
    Ok(())
}

/// Runs file work that may wait for the disk away from the threads that carry I/O.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
        Err(stopped) => Err(Error::io("file work", std::io::Error::other(stopped))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::meta::SegmentId;
    use crate::time::Interval;

    /// A file of these bytes and a meta that describes it.
    pub fn written(folder: &Path, datasource: &str, bytes: &[u8]) -> (PathBuf, SegmentMeta) {
        let file = folder.join("made.henge");
        std::fs::write(&file, bytes).unwrap();
        let meta = SegmentMeta {
            id: SegmentId {
                datasource: datasource.into(),
                interval: Interval { start: 0, end: 3_600_000 },
                version: "2026-01-01T00:00:00.000Z".into(),
                partition: 1,
            },
            rows: 1,
            size_bytes: bytes.len() as u64,
            checksum: xxhash_rust::xxh3::xxh3_64(bytes),
            time_range: Some((0, 0)),
            dimensions: vec![],
            metrics: vec![],
            path: String::new(),
            core_partitions: 0,
        };
        (file, meta)
    }

    #[tokio::test]
    async fn what_is_pushed_can_be_pulled() {
        let folder = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..3 * PART_BYTES + 17).map(|i| (i % 251) as u8).collect();
        for deep in
            [DeepStorage::local(&folder.path().join("deep")).unwrap(), DeepStorage::new(Arc::new(InMemory::new()))]
        {
            for (datasource, bytes) in [("small", &b"bytes"[..]), ("a b%c/..", b"odd name"), ("large", &large)] {
                let (file, meta) = written(folder.path(), datasource, bytes);
                let meta = deep.push(&file, meta).await.unwrap();
                assert_eq!(deep.push(&file, meta.clone()).await.unwrap(), meta, "a retry writes the same object");
                let to = folder.path().join("pulled");
                deep.pull(&meta, &to).await.unwrap();
                assert!(std::fs::read(&to).unwrap() == bytes);
                deep.delete(&meta).await.unwrap();
                deep.delete(&meta).await.unwrap();
                assert!(matches!(deep.pull(&meta, &to).await, Err(Error::NotFound(_))));
            }
        }
    }

    #[tokio::test]
    async fn changed_bytes_are_found_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let deep = DeepStorage::local(&folder.path().join("deep")).unwrap();
        let (file, meta) = written(folder.path(), "d", b"what was written");
        let meta = deep.push(&file, meta).await.unwrap();

        let to = folder.path().join("pulled");
        for spoilt in [&b"what was writteN"[..], b"what was"] {
            std::fs::write(deep.local_path(&meta).unwrap(), spoilt).unwrap();
            assert!(matches!(deep.pull(&meta, &to).await, Err(Error::Corrupt(_))));
            assert!(!to.exists());

            std::fs::write(&file, spoilt).unwrap();
            assert!(matches!(deep.push(&file, meta.clone()).await, Err(Error::Corrupt(_))));
        }
    }
}
