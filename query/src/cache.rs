//! What is kept of answers, so that it need not be computed again: never what is not the answer.
//!
//! Two caches, each of which may be off:
//!
//! - of *segments* ([`parts`]): what a group query makes of one published segment, where the segment is. Rows that are not
//!   published are folded anew by each query, and merged with what is kept of the others;
//! - of *results* ([`answers`]): a whole answer, where the request is conducted, if all of it came from published segments.
//!
//! Both are held by keys alone ([`digest`]): the digest of the query, of the segments' files, of where in time they count, of
//! the whole of what the asker may see, and of the lookups. A handoff, a compaction, a drop, another policy, attribute or lookup
//! makes another key, so nothing has to be sent away in time; what is not met any more goes when room is needed.
//!
//! Who may ask is found out before anything is looked for, by the same gates as without a cache. An answer that is kept is had
//! sooner, which tells whoever sees exactly the same that it was asked before; see docs/policies.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub mod answers;
mod digest;
pub mod parts;
mod store;

pub use store::Key;

use answers::KeptAnswer;
use parts::Kept;
use store::Store;

/// Of the caches of a process, given at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of what is made of segments; 0 keeps nothing.
    pub segments_bytes_max: u64,
    /// Of whole answers; 0 keeps nothing.
    pub results_bytes_max: u64,
    /// Larger values are not kept.
    pub entry_bytes_max: usize,
    /// Segments with fewer rows are folded sooner than anything is found.
    pub rows_min: usize,
    /// What is made of a segment is kept if it has this many rows for each group, at least: merging groups takes longer than
    /// folding rows.
    pub rows_per_group: usize,
    /// How often a query has to be asked before it is folded segment by segment, which takes longer than all at once.
    pub asked_min: u32,
}

/// A store beyond the process, which several may share. It forgets and fails as it likes, but what it gives is what was put under
/// the key by a process of the same cluster: whoever implements it sees to that, as whoever can write there could make up
/// answers.
pub trait Beyond: Send + Sync {
    /// By key, what is there, if it can be had at once. It is asked on threads that compute, and keeps a limit of time of its own.
    fn get(&self, keys: &[Key]) -> Vec<Option<Vec<u8>>>;

    /// Returns at once; what cannot be taken at once is let go.
    fn put(&self, key: Key, value: &[u8]);
}

/// The caches of a process.
pub struct Caches {
    settings: Settings,
    segments: Store<Arc<Kept>>,
    results: Store<Arc<KeptAnswer>>,
    /// Queries that were asked of late.
    asked: Store<Asked>,
    beyond: Option<Arc<dyn Beyond>>,
    counts: [Counts; 2],
}

/// What is known of a query, whichever segments.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    times: u32,
    /// What it makes of a segment is larger than what is kept, or cannot be merged by segments.
    unfit: bool,
}

/// How often something was kept when it was asked for, how often not, and how much went to make room.
#[derive(Debug, Default)]
pub struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

/// Which of the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Segments,
    Results,
}

/// Of what is known of queries.
const ASKED_BYTES: usize = 1 << 20;

impl Caches {
    pub fn new(settings: Settings, beyond: Option<Arc<dyn Beyond>>) -> Arc<Caches> {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Arc::new(Caches {
            segments: Store::new(bytes(settings.segments_bytes_max)),
            results: Store::new(bytes(settings.results_bytes_max)),
            asked: Store::new(ASKED_BYTES),
            settings,
            beyond,
            counts: Default::default(),
        })
    }

    /// What is kept now, in bytes.
    pub fn bytes(&self, of: Of) -> usize {
        match of {
            Of::Segments => self.segments.bytes(),
            Of::Results => self.results.bytes(),
        }
    }

    pub fn counts(&self, of: Of) -> &Counts {
        &self.counts[of as usize]
    }

    fn found(&self, of: Of, hit: bool) {
        let counts = self.counts(of);
        let (count, outcome) = if hit { (&counts.hits, "hit") } else { (&counts.misses, "miss") };
        count.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("henge_query_cache_total", "cache" => of.name(), "outcome" => outcome).increment(1);
    }

    fn kept(&self, of: Of, evicted: u64) {
        self.counts(of).evicted.fetch_add(evicted, Ordering::Relaxed);
        metrics::counter!("henge_query_cache_evicted_total", "cache" => of.name()).increment(evicted);
        metrics::gauge!("henge_query_cache_bytes", "cache" => of.name()).set(self.bytes(of) as f64);
    }
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Of::Segments => "segments",
            Of::Results => "results",
        }
    }
}

impl Counts {
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}
