//! Local copies of published segments: fetched, checked, opened, evicted, within a number of bytes.
//!
//! 1. Room is reserved before a byte is fetched; copies that are neither assigned nor held go for it, the least recently
//!    used first. Nothing that is assigned or held ever goes.
//! 2. Bytes arrive under a temporary name. The copy gets its own by rename, after its checksum was compared and it was
//!    synced: a file that is there with the right size is opened at once, without reading it, and start-up costs a map
//!    and a footer for each segment. What the module says about corruption holds for it from the first query.
//! 3. A copy that is found broken (by whoever touches a column of it first, or by [`SegmentCache::verify`]) is set aside by
//!    the next [`SegmentCache::load`] or [`SegmentCache::open_cold`], which fetches it anew. A few broken copies are kept
//!    for the operator.
//! 4. Whoever asks for a segment that is being fetched waits for the same fetch. It ends with the last who waits.
//!
//! A copy is a file of its own also where deep storage is a folder on the same disk: damage to one leaves the other whole.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use super::budget::{Budget, Copy};
use super::deep::{Check, DeepStorage, blocking, key, sync_to};
use crate::error::{Error, Result};
use crate::file;
use crate::meta::SegmentMeta;
use crate::segment::Segment;

/// The setting that `bytes_max` comes from, as errors name it.
pub const BYTES_MAX_SETTING: &str = "storage.cache_max_bytes";

/// Ending of copies that are not finished; whatever has it after a restart is rest.
const UNFINISHED: &str = "part";

/// Ending of copies that were found broken.
const BROKEN: &str = "corrupt";

/// Ending of copies.
const COPY: &str = "henge";

/// Bytes that verifying reads at a time.
const VERIFY_BYTES: u64 = 4 << 20;

/// A fetch that nobody waits for any more may be giving the copy its name at this moment. Looked at so often, at most so
/// long: renaming and syncing a file.
const SETTLING: (Duration, u32) = (Duration::from_millis(10), 3_000);

#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Created if missing. It must belong to this cache alone.
    pub folder: PathBuf,
    /// What all copies may take, those that are assigned, those that arrive and broken ones together.
    pub bytes_max: u64,
    /// How fast copies of the last run are read to verify them.
    pub verify_bytes_per_second: u64,
}

#[derive(Clone)]
pub struct SegmentCache {
    inner: Arc<Inner>,
}

/// What happened and what is there now, for the metrics of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub bytes: u64,
    pub bytes_max: u64,
    pub copies: usize,
    /// Since the start:
    pub fetched: u64,
    pub evicted: u64,
    /// Found broken and set aside.
    pub set_aside: u64,
}

struct Inner {
    settings: CacheSettings,
    deep: DeepStorage,
    /// Never held across an await. Files are removed, named and created under it, so that the book is right about them at
    /// every moment.
    book: Mutex<Budget<Segment>>,
    flights: Mutex<HashMap<PathBuf, WeakShared<Flight>>>,
    /// Makes the names of unfinished copies differ.
    attempts: AtomicU64,
    fetched: AtomicU64,
    set_aside: AtomicU64,
}

type Flight = BoxFuture<'static, Result<Arc<Segment>, Arc<Error>>>;

/// A place for a copy that arrives. Dropped before it is settled, it leaves neither file nor reservation.
struct Reservation {
    inner: Arc<Inner>,
    path: PathBuf,
    /// Where the file is now.
    at: PathBuf,
    is_settled: bool,
}

impl SegmentCache {
    /// Removes what an earlier life left unfinished, and takes in its copies: they are evicted as others are until they
    /// are loaded. Reads names and sizes only.
    pub fn open(settings: CacheSettings, deep: DeepStorage) -> Result<SegmentCache> {
        let book = scan(&settings)?;
        let inner = Inner {
            settings,
            deep,
            book: Mutex::new(book),
            flights: Mutex::default(),
            attempts: AtomicU64::default(),
            fetched: AtomicU64::default(),
            set_aside: AtomicU64::default(),
        };
        Ok(SegmentCache { inner: Arc::new(inner) })
    }

    /// The open segment, whose copy stays until [`SegmentCache::release`] or [`SegmentCache::drop_local`]. From the local
    /// copy unless that is missing or known to be broken. `Busy`, naming the setting, if what must stay leaves no room.
    pub async fn load(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let segment = self.open_cold(meta).await?;
        let path = self.path(meta);
        self.with_book(move |book, _| {
            // It cannot have been evicted: the segment is held here.
            if let Some(copy) = book.copy_mut(&path) {
                copy.assigned = true;
            }
            Ok(segment)
        })
        .await
    }

    /// The open segment of a copy that may go again once nobody holds the segment. Otherwise as [`SegmentCache::load`].
    /// May be dropped at any time.
    pub async fn open_cold(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        self.flight(meta).await.map_err(|error| error.again())
    }

    /// Whether there is a copy that a load would open without fetching, as far as is known.
    pub fn holds(&self, meta: &SegmentMeta) -> bool {
        let book = self.inner.book.lock();
        book.copy(&self.path(meta))
            .is_some_and(|copy| !copy.is_busy && copy.bytes == meta.size_bytes && !is_broken(copy))
    }

    /// The copy may go when room is needed.
    pub fn release(&self, meta: &SegmentMeta) {
        if let Some(copy) = self.inner.book.lock().copy_mut(&self.path(meta)) {
            copy.assigned = false;
        }
    }

    /// Removes the local copy. Queries that have it open keep it until they end, and its bytes count until then.
    pub fn drop_local(&self, meta: &SegmentMeta) -> Result<()> {
        let path = self.path(meta);
        let mut book = self.inner.book.lock();
        match book.copy_mut(&path) {
            // Somebody else fetches it this moment, and will hold it.
            Some(copy) if copy.is_busy => copy.assigned = false,
            Some(_) => {
                self.inner.remove(&path)?;
                book.forget(&path);
            }
            None => {}
        }
        Ok(())
    }

    /// Reads a copy of the last run as a whole, at the pace of the settings, and compares its checksum. False: it is
    /// broken, or cannot be read; its segment then says that it is broken, and the next load fetches it anew. True also if there is none, or it was read before.
    pub async fn verify(&self, meta: &SegmentMeta) -> Result<bool> {
        let path = self.path(meta);
        let to_read = {
            let book = self.inner.book.lock();
            match book.copy(&path) {
                None => return Ok(true),
                Some(copy) if is_broken(copy) => return Ok(false),
                Some(copy) if copy.is_whole || copy.is_busy => return Ok(true),
                Some(copy) => (copy.born, copy.segment.upgrade()),
            }
        };
        // Held, it is not evicted while it is read.
        let (born, _held) = to_read;
        let pause =
            Duration::from_secs_f64(VERIFY_BYTES as f64 / self.inner.settings.verify_bytes_per_second.max(1) as f64);
        let mut check = Check::new(meta);
        let opening = path.clone();
        let mut opened = blocking(move || Ok(std::fs::File::open(opening).ok())).await?;
        while let Some(mut file) = opened.take() {
            let mut reading = check;
            let (read, checked) = blocking(move || {
                let mut bytes = Vec::with_capacity(VERIFY_BYTES as usize);
                let read = file.by_ref().take(VERIFY_BYTES).read_to_end(&mut bytes);
                reading.update(&bytes);
                // A disk that does not give the bytes is as good as other bytes.
                Ok(((read.is_ok() && !bytes.is_empty()).then_some(file), reading))
            })
            .await?;
            (opened, check) = (read, checked);
            if opened.is_some() {
                tokio::time::sleep(pause).await;
            }
        }
        let is_whole = check.finish(&path.display().to_string()).is_ok();
        if let Some(copy) = self.inner.book.lock().copy_mut(&path).filter(|copy| copy.born == born) {
            copy.is_whole = is_whole;
            copy.broken.store(!is_whole, Ordering::Relaxed);
        }
        Ok(is_whole)
    }

    pub fn counts(&self) -> Counts {
        let mut book = self.inner.book.lock();
        Counts {
            bytes: book.bytes(),
            bytes_max: book.bytes_max,
            copies: book.len(),
            fetched: self.inner.fetched.load(Ordering::Relaxed),
            evicted: book.evicted,
            set_aside: self.inner.set_aside.load(Ordering::Relaxed),
        }
    }

    /// Where the local copy is, or would be.
    pub fn path(&self, meta: &SegmentMeta) -> PathBuf {
        self.inner.path(meta)
    }

    async fn with_book<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Budget<Segment>, &Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        blocking(move || work(&mut inner.book.lock(), &inner)).await
    }

    /// The one way to a segment at a time.
    fn flight(&self, meta: &SegmentMeta) -> Shared<Flight> {
        let path = self.path(meta);
        let mut flights = self.inner.flights.lock();
        if let Some(running) = flights.get(&path).and_then(WeakShared::upgrade) {
            return running;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let (inner, meta) = (self.inner.clone(), meta.clone());
        let flight = async move { inner.whole(&meta).await.map_err(Arc::new) }.boxed().shared();
        flights.insert(path, flight.downgrade().expect("it has not run yet"));
        flight
    }
}

impl Inner {
    fn path(&self, meta: &SegmentMeta) -> PathBuf {
        key(meta).parts().fold(self.settings.folder.clone(), |path, part| path.join(part.as_ref()))
    }

    async fn whole(self: Arc<Self>, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let mut looked = 0;
        loop {
            let (inner, meta) = (self.clone(), meta.clone());
            match blocking(move || inner.find(&meta)).await? {
                Found::Open(segment) => return Ok(segment),
                Found::Nothing => break,
                Found::Settling if looked < SETTLING.1 => tokio::time::sleep(SETTLING.0).await,
                Found::Settling => return Err(Error::Busy("the disk of the local cache does not answer".into())),
            }
            looked += 1;
        }
        let (inner, wanted) = (self.clone(), meta.clone());
        let (reservation, file) = blocking(move || inner.reserve(&wanted)).await?;
        let file = tokio::fs::File::from_std(file);
        self.deep.pull_into(meta, file, &reservation.at).await?;
        let id = meta.id.clone();
        // From here it runs to its end, whether or not anybody waits.
        let segment = blocking(move || reservation.settle(id)).await?;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(segment)
    }

    /// The segment of the local copy. A copy that is not the published file is set aside.
    fn find(&self, meta: &SegmentMeta) -> Result<Found> {
        let path = self.path(meta);
        let mut book = self.book.lock();
        let Some(copy) = book.copy_mut(&path) else { return Ok(Found::Nothing) };
        if copy.is_busy {
            return Ok(Found::Settling);
        }
        let open = copy.segment.upgrade();
        if copy.bytes != meta.size_bytes || is_broken(copy) {
            return self.set_aside(&mut book, &path).map(|()| Found::Nothing);
        }
        if let Some(segment) = open {
            book.settle(&path, &segment, segment.broken());
            return Ok(Found::Open(segment));
        }
        copy.is_busy = true;
        drop(book);
        let opened = match std::fs::metadata(&path) {
            Ok(there) if there.len() == meta.size_bytes => file::open(&path, meta.id.clone()),
            Ok(there) => Err(Error::corrupt(format!("{} has {} bytes", path.display(), there.len()))),
            Err(source) => Err(Error::io(format!("read {}", path.display()), source)),
        };
        let mut book = self.book.lock();
        if let Some(copy) = book.copy_mut(&path) {
            copy.is_busy = false;
        }
        match opened {
            Ok(segment) => {
                let segment = Arc::new(segment);
                book.settle(&path, &segment, segment.broken());
                Ok(Found::Open(segment))
            }
            Err(Error::Corrupt(_)) => self.set_aside(&mut book, &path).map(|()| Found::Nothing),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                book.forget(&path);
                Ok(Found::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// A file to fill, in room that is kept for it.
    fn reserve(self: &Arc<Self>, meta: &SegmentMeta) -> Result<(Reservation, std::fs::File)> {
        let path = self.path(meta);
        let mut book = self.book.lock();
        if let Err(full) = book.reserve(&path, meta.size_bytes, |path| self.remove(path))? {
            return Err(Error::Busy(format!(
                "the local cache has no room for the {} bytes of segment {}: {} of {} bytes are of segments that are \
                 assigned here or in use; raise {BYTES_MAX_SETTING}",
                meta.size_bytes, meta.id, full.staying, book.bytes_max
            )));
        }
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let at = path.with_extension(format!("{attempt}.{UNFINISHED}"));
        let parent = path.parent().unwrap_or(&self.settings.folder);
        let created = std::fs::create_dir_all(parent).and_then(|()| std::fs::File::create(&at));
        drop(book);
        // Before anything is refused, so that the room is given back.
        let reservation = Reservation { inner: self.clone(), path, at, is_settled: false };
        let file = created.map_err(|source| Error::io(format!("create {}", reservation.at.display()), source))?;
        Ok((reservation, file))
    }

    fn set_aside(&self, book: &mut Budget<Segment>, path: &Path) -> Result<()> {
        let aside = book.name_aside(path, BROKEN);
        match std::fs::rename(path, &aside) {
            Ok(()) => book.set_aside(path, aside, |path| self.remove(path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => book.forget(path),
            Err(source) => return Err(Error::io(format!("set aside {}", path.display()), source)),
        }
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Removes a file and the folders that have become empty. The book's lock is held.
    fn remove(&self, path: &Path) -> Result<()> {
        remove(path)?;
        // Folders go with their last file; one that is not empty refuses.
        let mut folder = path.parent();
        while let Some(at) = folder.filter(|at| *at != self.settings.folder && std::fs::remove_dir(at).is_ok()) {
            folder = at.parent();
        }
        Ok(())
    }
}

enum Found {
    Open(Arc<Segment>),
    Nothing,
    Settling,
}

impl Reservation {
    /// Gives the copy, which is whole and synced, its name.
    fn settle(mut self, id: crate::meta::SegmentId) -> Result<Arc<Segment>> {
        std::fs::rename(&self.at, &self.path)
            .map_err(|source| Error::io(format!("rename {}", self.at.display()), source))?;
        self.at = self.path.clone();
        sync_to(&self.path, &self.inner.settings.folder)?;
        let segment = Arc::new(file::open(&self.path, id)?);
        let mut book = self.inner.book.lock();
        book.settle(&self.path, &segment, segment.broken());
        if let Some(copy) = book.copy_mut(&self.path) {
            copy.is_whole = true;
        }
        drop(book);
        self.is_settled = true;
        Ok(segment)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_settled {
            let mut book = self.inner.book.lock();
            // A rest that cannot be removed is swept at the next start.
            let _ = self.inner.remove(&self.at);
            book.forget(&self.path);
        }
    }
}

/// What is there at the start. Files that have none of the endings of this cache are left alone.
fn scan(settings: &CacheSettings) -> Result<Budget<Segment>> {
    let failed = |at: &Path, source| Error::io(format!("read {}", at.display()), source);
    std::fs::create_dir_all(&settings.folder).map_err(|source| failed(&settings.folder, source))?;
    let mut files = Vec::new();
    let mut folders = vec![settings.folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|source| failed(&folder, source))? {
            let entry = entry.map_err(|source| failed(&folder, source))?;
            let path = entry.path();
            let about = entry.metadata().map_err(|source| failed(&path, source))?;
            if about.is_dir() {
                folders.push(path);
                continue;
            }
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(UNFINISHED) => remove(&path)?,
                Some(BROKEN | COPY) => files.push((about.modified().ok(), path, about.len())),
                _ => {}
            }
        }
    }
    files.sort_unstable();
    let mut book = Budget::new(settings.bytes_max);
    for (_, path, bytes) in files {
        if path.extension().is_some_and(|ending| ending == COPY) {
            book.found(path, bytes);
        } else {
            book.found_aside(path, bytes);
        }
    }
    // The bound may have been lowered. Nothing is assigned yet, so there is always something to evict.
    let _ = book.make_room(0, remove)?;
    Ok(book)
}

fn is_broken(copy: &Copy<Segment>) -> bool {
    copy.broken.load(Ordering::Relaxed)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io(format!("remove {}", path.display()), source)),
    }
}
