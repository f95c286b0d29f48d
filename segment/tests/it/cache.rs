//! The local cache: within its bytes whatever is asked of it, whole after every accident, one fetch for all who wait.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use proptest::prelude::*;
use segment::storage::cache::{BYTES_MAX_SETTING, CacheSettings, SegmentCache};
use segment::storage::deep::DeepStorage;
use segment::{Error, Granularity, Segment, SegmentMeta};

use crate::tables::{build, id, large, read, schema, write};

/// Published segments of different sizes, in deep storage that takes its time to answer.
struct World {
    deep: DeepStorage,
    metas: Vec<SegmentMeta>,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(segments: usize, wait: Duration) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(InMemory::new());
        let config = ThrottleConfig { wait_get_per_call: wait, ..ThrottleConfig::default() };
        let quick = DeepStorage::new(store.clone());
        let schema = schema(false, Granularity::None);
        let mut metas = Vec::new();
        for n in 0..segments {
            let file = folder.path().join("made.henge");
            let mut meta = write(&[build(&schema, &large(40 + 60 * n as i64))], &schema, &file);
            meta.id.partition = n as u32;
            metas.push(quick.push(&file, meta).await.unwrap());
        }
        assert!(metas.is_sorted_by_key(|meta| meta.size_bytes));
        let slow = ThrottledStore::new(store.fork(), config);
        World { deep: DeepStorage::new(Arc::new(slow)), metas, folder }
    }

    fn cache_folder(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self, bytes_max: u64) -> SegmentCache {
        let settings = CacheSettings { folder: self.cache_folder(), bytes_max, verify_bytes_per_second: u64::MAX };
        SegmentCache::open(settings, self.deep.clone()).unwrap()
    }

    fn size(&self, n: usize) -> u64 {
        self.metas[n].size_bytes
    }

    fn all(&self) -> u64 {
        self.metas.iter().map(|meta| meta.size_bytes).sum()
    }

    /// Files of the cache by ending, and their bytes together.
    fn files(&self) -> (Vec<PathBuf>, u64) {
        let (mut files, mut bytes) = (Vec::new(), 0);
        let mut folders = vec![self.cache_folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    bytes += entry.metadata().unwrap().len();
                    files.push(entry.path());
                }
            }
        }
        (files, bytes)
    }

    fn endings(&self) -> Vec<String> {
        let (files, _) = self.files();
        let mut found: Vec<String> =
            files.iter().map(|file| file.extension().unwrap().to_str().unwrap().to_string()).collect();
        found.sort();
        found
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    // Under the same name, but not into the file that may be mapped.
    let other = path.with_extension("other");
    std::fs::write(&other, bytes).unwrap();
    std::fs::rename(other, path).unwrap();
}

fn is_full<T>(outcome: segment::Result<T>) -> bool {
    match outcome {
        Err(Error::Busy(text)) => {
            assert!(text.contains(BYTES_MAX_SETTING), "{text}");
            true
        }
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

#[tokio::test]
async fn assigned_segments_that_do_not_fit_name_the_setting() {
    let world = World::new(3, Duration::ZERO).await;
    let cache = world.open(world.all() - 1);
    cache.load(&world.metas[0]).await.unwrap();
    cache.load(&world.metas[1]).await.unwrap();
    assert!(is_full(cache.load(&world.metas[2]).await));
    assert!(is_full(cache.open_cold(&world.metas[2]).await));
    assert_eq!(world.endings(), ["henge", "henge"], "nothing was evicted in vain");
    cache.release(&world.metas[0]);
    cache.load(&world.metas[2]).await.unwrap();
    assert!(!cache.holds(&world.metas[0]) && cache.holds(&world.metas[1]) && cache.holds(&world.metas[2]));
    assert_eq!(cache.counts().evicted, 1);
    let tiny = world.open(world.size(0) - 1);
    assert_eq!(world.endings(), Vec::<String>::new(), "the bound was lowered");
    assert!(is_full(tiny.open_cold(&world.metas[0]).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_a_segment_that_is_fetched_waits_for_the_same_fetch() {
    let world = World::new(1, Duration::from_millis(150)).await;
    let cache = world.open(world.all());
    let asking: Vec<_> = (0..20)
        .map(|n| {
            let (cache, meta) = (cache.clone(), world.metas[0].clone());
            tokio::spawn(async move { if n % 2 == 0 { cache.load(&meta).await } else { cache.open_cold(&meta).await } })
        })
        .collect();
    // The one that started the fetch, and others, lose interest.
    tokio::time::sleep(Duration::from_millis(30)).await;
    asking[..10].iter().for_each(|asking| asking.abort());
    for asking in asking.into_iter().skip(10) {
        assert_eq!(read(&asking.await.unwrap().unwrap()).unwrap().len(), 40);
    }
    assert_eq!(cache.counts().fetched, 1);

    // All lose interest: nothing stays, neither bytes nor room that is kept.
    cache.drop_local(&world.metas[0]).unwrap();
    for millis in [0, 1, 20, 100, 149, 151, 153, 160] {
        let asked = tokio::time::timeout(Duration::from_millis(millis), cache.open_cold(&world.metas[0])).await;
        drop(asked);
        // A copy that was being named when it was dropped is there in a moment.
        for _ in 0..100 {
            let bytes = cache.counts().bytes;
            if world.files().1 == bytes && (bytes == 0 || cache.holds(&world.metas[0])) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let counts = cache.counts();
        assert_eq!(world.files().1, counts.bytes, "after {millis} ms");
        assert!(counts.bytes == 0 || cache.holds(&world.metas[0]));
        cache.drop_local(&world.metas[0]).unwrap();
    }
    cache.load(&world.metas[0]).await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_fails_fails_for_all_and_leaves_nothing() {
    let world = World::new(1, Duration::from_millis(20)).await;
    let cache = world.open(world.all());
    let missing = SegmentMeta { path: "d/none.henge".into(), ..world.metas[0].clone() };
    let (one, other) = tokio::join!(cache.load(&missing), cache.open_cold(&missing));
    assert!(matches!(one, Err(Error::NotFound(_))) && matches!(other, Err(Error::NotFound(_))));
    assert_eq!((cache.counts().bytes, world.endings()), (0, vec![]));
    cache.load(&world.metas[0]).await.unwrap();
}

/// Served at once after a restart, without reading; read as a whole in the background; mended where it is broken.
#[tokio::test]
async fn copies_of_the_last_run_are_served_at_once_and_verified_as_we_go() {
    let world = World::new(4, Duration::ZERO).await;
    let cache = world.open(2 * world.all());
    for meta in &world.metas {
        cache.load(meta).await.unwrap();
        assert!(cache.verify(meta).await.unwrap());
    }
    let path = |n: usize| cache.path(&world.metas[n]);
    // What a crash leaves behind, and what is none of the cache's business.
    let parent = path(0).parent().unwrap().to_path_buf();
    std::fs::write(parent.join("7.part"), b"unfinished").unwrap();
    std::fs::write(parent.join("notes.txt"), b"of the operator").unwrap();
    // One whose footer is broken, one that is too short, one with a broken column.
    flip(&path(0), world.size(0) as usize - 40);
    std::fs::write(path(1), b"short").unwrap();
    flip(&path(2), 70);

    let cache = world.open(2 * world.all());
    assert!(!parent.join("7.part").exists() && parent.join("notes.txt").exists());
    assert_eq!((cache.counts().copies, cache.counts().fetched), (4, 0));
    for n in [0, 1] {
        let segment = cache.load(&world.metas[n]).await.unwrap();
        assert_eq!(read(&segment).unwrap().len(), 40 + 60 * n, "fetched anew when it is opened");
    }
    assert_eq!((cache.counts().fetched, cache.counts().set_aside), (2, 2));

    // The broken column is not seen by opening. Verifying sees it though nothing was asked; so does the first touch.
    let served = cache.load(&world.metas[2]).await.unwrap();
    let whole = cache.load(&world.metas[3]).await.unwrap();
    assert_eq!(cache.counts().fetched, 2);
    assert!(!served.is_broken());
    assert!(!cache.verify(&world.metas[2]).await.unwrap());
    assert!(served.is_broken() && !cache.holds(&world.metas[2]));
    assert!(cache.verify(&world.metas[3]).await.unwrap());
    let mended = cache.load(&world.metas[2]).await.unwrap();
    assert_eq!(read(&mended).unwrap().len(), 160);
    assert!(matches!(read(&served), Err(Error::Corrupt(_))), "found, never answered from");
    assert!(Arc::ptr_eq(&cache.load(&world.metas[3]).await.unwrap(), &whole));

    drop((served, mended, whole));
    flip(&path(3), 70);
    let cache = world.open(2 * world.all());
    let touched = cache.open_cold(&world.metas[3]).await.unwrap();
    assert!(matches!(read(&touched), Err(Error::Corrupt(_))));
    // It is known also after whoever met it is gone.
    drop(touched);
    let mended = cache.open_cold(&world.metas[3]).await.unwrap();
    assert_eq!(read(&mended).unwrap().len(), 220);

    // A copy that somebody removed by hand is fetched.
    std::fs::remove_file(path(0)).unwrap();
    let cache = world.open(2 * world.all());
    std::fs::remove_file(path(1)).unwrap();
    for n in [0, 1] {
        assert!(cache.verify(&world.metas[n]).await.unwrap() == (n == 0));
        assert_eq!(read(&cache.load(&world.metas[n]).await.unwrap()).unwrap().len(), 40 + 60 * n);
    }
}

/// Few broken copies are kept, and they are the first to go when room is needed.
#[tokio::test]
async fn broken_copies_are_kept_for_a_while() {
    let world = World::new(2, Duration::ZERO).await;
    let cache = world.open(100 * world.all());
    let meta = &world.metas[0];
    cache.load(meta).await.unwrap();
    for times in 1..12 {
        flip(&cache.path(meta), 70);
        assert!(matches!(read(&cache.load(meta).await.unwrap()), Err(Error::Corrupt(_))));
        read(&cache.load(meta).await.unwrap()).unwrap();
        assert_eq!((cache.counts().set_aside, world.files().0.len()), (times, 1 + 8.min(times as usize)));
        assert_eq!(cache.counts().bytes, world.files().1);
    }
    let cache = world.open(2 * world.size(0) + world.size(1));
    assert_eq!(cache.counts().evicted, 0);
    cache.load(meta).await.unwrap();
    cache.load(&world.metas[1]).await.unwrap();
    assert_eq!(world.endings(), ["corrupt", "henge", "henge"]);
    // Only the broken copy can go for this.
    let cache = world.open(world.size(0) + world.size(1));
    assert_eq!(world.endings(), ["henge", "henge"]);
    assert_eq!(cache.counts().evicted, 0);
}

#[derive(Debug, Clone)]
enum Op {
    Load(usize),
    Cold(usize),
    /// Lets go of the n-th segment that is held.
    LetGo(usize),
    Release(usize),
    Drop(usize),
    /// With all that is held let go, and the bound that so many eighths of all segments make.
    Restart(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..6usize;
    prop_oneof![
        4 => n.clone().prop_map(Op::Load),
        6 => n.clone().prop_map(Op::Cold),
        6 => (0..20usize).prop_map(Op::LetGo),
        3 => n.clone().prop_map(Op::Release),
        2 => n.prop_map(Op::Drop),
        1 => (2..9u64).prop_map(Op::Restart),
    ]
}

/// What the cache must hold: copies in the order of their use, each with whether it is assigned; and who holds what.
#[derive(Default)]
struct Model {
    bytes_max: u64,
    /// The least recently used first: segment, its copy's number, assigned.
    copies: Vec<(usize, u32, bool)>,
    /// Segment and copy of each hold, also of copies that are gone.
    held: Vec<(usize, u32)>,
    next: u32,
}

impl Model {
    fn may_go(&self, copy: &(usize, u32, bool)) -> bool {
        !copy.2 && !self.held.contains(&(copy.0, copy.1))
    }

    fn bytes(&self, size: impl Fn(usize) -> u64) -> u64 {
        let mut gone: Vec<_> =
            self.held.iter().filter(|held| !self.copies.iter().any(|copy| (copy.0, copy.1) == **held)).collect();
        gone.sort();
        gone.dedup();
        self.copies.iter().map(|copy| size(copy.0)).sum::<u64>() + gone.iter().map(|held| size(held.0)).sum::<u64>()
    }

    /// Whether it fits.
    fn open(&mut self, n: usize, assigned: bool, size: impl Fn(usize) -> u64 + Copy) -> bool {
        let copy = if let Some(at) = self.copies.iter().position(|copy| copy.0 == n) {
            self.copies.remove(at)
        } else {
            let going: u64 = self.copies.iter().filter(|copy| self.may_go(copy)).map(|copy| size(copy.0)).sum();
            if self.bytes(size) - going + size(n) > self.bytes_max {
                return false;
            }
            self.next += 1;
            self.make_room(size(n), size);
            (n, self.next, false)
        };
        self.copies.push((copy.0, copy.1, copy.2 || assigned));
        self.held.push((copy.0, copy.1));
        true
    }

    fn make_room(&mut self, bytes: u64, size: impl Fn(usize) -> u64 + Copy) {
        while self.bytes(size) + bytes > self.bytes_max {
            let at = self.copies.iter().position(|copy| self.may_go(copy)).expect("it was seen to fit");
            self.copies.remove(at);
        }
    }
}

async fn follow(world: &World, ops: &[Op]) {
    let size = |n: usize| world.size(n);
    let _ = std::fs::remove_dir_all(world.cache_folder());
    let mut model = Model { bytes_max: world.all() / 2, ..Model::default() };
    let mut cache = world.open(model.bytes_max);
    let mut held: Vec<Arc<Segment>> = Vec::new();
    for op in ops {
        match *op {
            Op::Load(n) | Op::Cold(n) => {
                let assigned = matches!(op, Op::Load(_));
                let meta = &world.metas[n];
                let opened = if assigned { cache.load(meta).await } else { cache.open_cold(meta).await };
                let fits = model.open(n, assigned, size);
                match opened {
                    Ok(segment) => held.push(segment),
                    Err(error) => assert!(is_full::<()>(Err(error))),
                }
                assert_eq!(held.len(), model.held.len(), "{op:?}: fits: {fits}");
            }
            Op::LetGo(at) if at < held.len() => {
                held.remove(at);
                model.held.remove(at);
            }
            Op::LetGo(_) => {}
            Op::Release(n) => {
                cache.release(&world.metas[n]);
                model.copies.iter_mut().filter(|copy| copy.0 == n).for_each(|copy| copy.2 = false);
            }
            Op::Drop(n) => {
                cache.drop_local(&world.metas[n]).unwrap();
                model.copies.retain(|copy| copy.0 != n);
            }
            Op::Restart(eighths) => {
                held.clear();
                model.held.clear();
                model.copies.iter_mut().for_each(|copy| copy.2 = false);
                // The order of use is that of fetching then, as far as the disk's clock tells.
                model.copies.sort_by_key(|copy| {
                    let path = cache.path(&world.metas[copy.0]);
                    (std::fs::metadata(&path).unwrap().modified().unwrap(), path)
                });
                model.bytes_max = world.all() * eighths / 8;
                model.make_room(0, size);
                cache = world.open(model.bytes_max);
            }
        }
        let (files, bytes) = world.files();
        let counts = cache.counts();
        assert!(bytes <= counts.bytes && counts.bytes <= model.bytes_max, "{bytes} {counts:?}");
        assert_eq!(counts.bytes, model.bytes(size), "after {op:?}");
        let there: HashMap<&PathBuf, ()> = files.iter().map(|file| (file, ())).collect();
        assert_eq!(files.len(), model.copies.len(), "after {op:?}: {files:?}");
        for copy in &model.copies {
            assert!(there.contains_key(&cache.path(&world.metas[copy.0])), "after {op:?}: {copy:?}");
        }
        for (segment, (n, _)) in held.iter().zip(&model.held) {
            assert_eq!((segment.id().partition, segment.rows()), (*n as u32, 40 + 60 * n));
        }
    }
}

#[test]
fn any_use_stays_within_the_bytes_and_keeps_what_is_held() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(6, Duration::ZERO));
    assert_eq!(id().partition, world.metas[0].id.partition);
    let cases = crate::harm::setting("HENGE_CACHE_CASES", 48) as u32;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(ops in proptest::collection::vec(op(), 1..60))| {
        runtime.block_on(follow(&world, &ops));
    });
}
