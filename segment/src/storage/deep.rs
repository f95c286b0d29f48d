//! Deep storage: published files, written once, never changed.
//!
//! A file's key is made of its id and the checksum of its bytes, and a file is uploaded only after its bytes were found to
//! have that checksum. So pushing again writes the same bytes to the same place, two attempts with different bytes never
//! meet, and no push can put other bytes in the place of published ones, on any store, whether or not it knows
//! conditional writes. What is found under the name and does not have the checksum (a folder's machine lost power before
//! the file was synced) is no published file, and is written anew.
//!
//! Nothing here lists or guesses keys: the catalog knows them. A bucket should have a rule that drops unfinished uploads
//! after some days: a process that is killed while it uploads leaves parts that only the store sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

use super::objects::Objects;
use super::settings::DeepStorageSettings;
use super::store::{PART_BYTES, Source, Store};
use crate::error::{Error, Fault, Result};
use crate::meta::SegmentMeta;

/// How often a file is moved from its start before giving up: single requests are repeated below this, so it is for what
/// they cannot mend (bytes that arrived wrong, an upload whose last answer was lost).
const TRIES: u32 = 3;

/// Before a file is moved again, times the number of tries.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub struct DeepStorage {
    store: Store,
    /// Set if the store is a folder of this machine.
    local: Option<Arc<Local>>,
}

struct Local {
    folder: PathBuf,
    files: LocalFileSystem,
}

impl DeepStorage {
    /// Asks nothing yet: a store that is away is found by the first act, which then names the object.
    pub fn open(settings: &DeepStorageSettings) -> Result<DeepStorage> {
        match settings {
            DeepStorageSettings::Local(folder) => DeepStorage::local(folder),
            DeepStorageSettings::S3(s3) => {
                Ok(DeepStorage { store: Store::new(s3.connect()?, Some(s3.limits), s3.place()), local: None })
            }
        }
    }

    /// Any other store.
    pub fn new(store: Arc<dyn ObjectStore>) -> DeepStorage {
        DeepStorage { store: Store::new(store, None, String::new()), local: None }
    }

    /// A folder of this machine (created if missing); writes are synced.
    pub fn local(folder: &Path) -> Result<DeepStorage> {
        let failed = |source| Error::io(format!("deep storage folder {}", folder.display()), source);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let files = LocalFileSystem::new_with_prefix(&folder).map_err(|error| failed(std::io::Error::other(error)))?;
        let store = Store::new(Arc::new(files.clone()), None, format!("{}/", folder.display()));
        Ok(DeepStorage { store, local: Some(Arc::new(Local { folder, files })) })
    }

    /// A folder for objects that are not segments. Its name begins with a dot, as no datasource's does.
    pub fn objects(&self, folder: &str) -> Objects {
        Objects::new(self.store.clone(), folder)
    }

    /// Uploads a file under a key of its id and checksum and returns the meta with its `path` set. A whole file that is
    /// there already is left as it is, so a push may be repeated. `Corrupt` if there is none and the file is not the one
    /// the meta describes. An upload that fails, or is dropped, leaves nothing that can be seen.
    pub async fn push(&self, file: &Path, mut meta: SegmentMeta) -> Result<SegmentMeta> {
        let key = key(&meta);
        let _turn = self.store.turn().await;
        let act = async {
            // An upload whose last answer was lost is found to be there by the next try.
            let again = |error: &Error| broke_off(error) || matches!(error, Error::NotFound(_));
            tries(again, || async {
                if self.is_whole(&key, &meta).await? { Ok(()) } else { self.upload(file, &meta, &key).await }
            })
            .await?;
            if let Some(local) = &self.local {
                let path = local.path(&key)?;
                let folder = local.folder.clone();
                blocking(move || sync_to(&path, &folder)).await?;
            }
            Ok(())
        };
        self.store.within("write", &key, 2 * meta.size_bytes, act).await?;
        meta.path = key.to_string();
        Ok(meta)
    }

    /// Downloads to a local file, synced, checked against the meta's size and checksum. A file that fails the check is
    /// fetched again, in case it was spoilt on its way, then `Corrupt`. What is not whole is removed.
    pub async fn pull(&self, meta: &SegmentMeta, to: &Path) -> Result<()> {
        let created = tokio::fs::File::create(to).await;
        let file = created.map_err(|source| Error::io(format!("create {}", to.display()), source))?;
        let pulled = self.pull_into(meta, file, to).await;
        if pulled.is_err() {
            // The error tells why; a rest that cannot be removed is overwritten by the next attempt.
            let _ = tokio::fs::remove_file(to).await;
        }
        pulled
    }

    /// As [`DeepStorage::pull`], into a file that its owner removes if this fails or is dropped. `to` is its name.
    pub(super) async fn pull_into(&self, meta: &SegmentMeta, file: tokio::fs::File, to: &Path) -> Result<()> {
        let key = parse_key(meta)?;
        let _turn = self.store.turn().await;
        let file = tokio::sync::Mutex::new(file);
        let again = |error: &Error| broke_off(error) || (self.local.is_none() && matches!(error, Error::Corrupt(_)));
        let act = tries(again, || async { self.download(&key, meta, &mut *file.lock().await, to).await });
        self.store.within("read", &key, meta.size_bytes, act).await
    }

    /// Deleting what is not there succeeds, so that a deletion can be repeated.
    pub async fn delete(&self, meta: &SegmentMeta) -> Result<()> {
        self.store.delete(&parse_key(meta)?).await
    }

    /// The file itself, where deep storage is a folder of this machine.
    pub fn local_path(&self, meta: &SegmentMeta) -> Option<PathBuf> {
        self.local.as_ref()?.path(&parse_key(meta).ok()?).ok()
    }

    /// Whether the file is there with all its bytes.
    async fn is_whole(&self, key: &Key, meta: &SegmentMeta) -> Result<bool> {
        let mut check = Check::new(meta);
        let read = async {
            let mut parts = self.parts(key, meta).await?;
            while let Some(part) = parts.next().await {
                check.update(&part?);
            }
            check.finish(&self.store.name(key))
        };
        match read.await {
            Ok(()) => Ok(true),
            // Who may not list a bucket is denied what is not there. Writing the right bytes is right in any case.
            Err(Error::NotFound(_) | Error::Corrupt(_) | Error::Storage { fault: Fault::Denied(_), .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The object's bytes, if it has as many as the meta says.
    async fn parts(&self, key: &Key, meta: &SegmentMeta) -> Result<BoxStream<'_, Result<Bytes>>> {
        let (len, parts) = self.store.get(key, meta.size_bytes > PART_BYTES as u64).await?;
        length(&self.store.name(key), len, meta.size_bytes)?;
        Ok(parts)
    }

    async fn upload(&self, file: &Path, meta: &SegmentMeta, key: &Key) -> Result<()> {
        let mut check = Check::new(meta);
        let checked = |part: &[u8]| match part {
            [] => check.finish(&file.display().to_string()),
            part => {
                check.update(part);
                Ok(())
            }
        };
        self.store.put(key, Source::open(file).await?, checked).await
    }

    async fn download(&self, key: &Key, meta: &SegmentMeta, file: &mut tokio::fs::File, to: &Path) -> Result<()> {
        let unwritable = |source| Error::io(format!("write {}", to.display()), source);
        file.set_len(0).await.map_err(unwritable)?;
        file.rewind().await.map_err(unwritable)?;
        let mut parts = self.parts(key, meta).await?;
        let mut check = Check::new(meta);
        while let Some(part) = parts.next().await {
            let part = part?;
            check.update(&part);
            file.write_all(&part).await.map_err(unwritable)?;
        }
        check.finish(&self.store.name(key))?;
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
pub(super) struct Check {
    hash: Xxh3,
    seen: u64,
    size_bytes: u64,
    checksum: u64,
}

impl Check {
    pub fn new(meta: &SegmentMeta) -> Check {
        Check { hash: Xxh3::new(), seen: 0, size_bytes: meta.size_bytes, checksum: meta.checksum }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.seen += bytes.len() as u64;
    }

    pub fn finish(&self, name: &str) -> Result<()> {
        length(name, self.seen, self.size_bytes)?;
        let found = self.hash.digest();
        if found != self.checksum {
            let wanted = self.checksum;
            return Err(Error::corrupt(format!("{name} has checksum {found:016x} instead of {wanted:016x}")));
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

fn length(name: &str, found: u64, wanted: u64) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(Error::corrupt(format!("{name} has {found} bytes instead of {wanted}"))) }
}

/// Whether moving the file from its start may help. What requests repeat by themselves was repeated enough.
fn broke_off(error: &Error) -> bool {
    matches!(error, Error::Storage { fault: Fault::Interrupted(_), .. })
}

async fn tries<T, F: Future<Output = Result<T>>>(again: impl Fn(&Error) -> bool, act: impl Fn() -> F) -> Result<T> {
    let mut tried = 1;
    loop {
        match act().await {
            Err(error) if tried < TRIES && again(&error) => tokio::time::sleep(PAUSE * tried).await,
            done => return done,
        }
        tried += 1;
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
