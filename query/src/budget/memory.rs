//! The memory that all queries of a process may hold together, and what each has taken of it: in pieces, so that threads seldom
//! meet, and of one request no more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// What the parts of one request have in common.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Bytes of columns read.
    pub(super) scanned: AtomicU64,
    /// Of the memory of all queries.
    held: AtomicU64,
    pub(super) progress: Arc<Progress>,
}

/// The setting that [`Memory`] is made of; refusals name it.
pub const MEMORY_SETTING: &str = "query.memory_total_bytes";

/// Memory that all queries of a process may hold together. The default is without a bound.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: AtomicU64,
    /// Queries take it in pieces of this size, so that threads seldom meet here.
    piece: u64,
}

/// The largest piece.
const PIECE_MAX: u64 = 256 << 10;

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(u64::MAX)
    }
}

impl Memory {
    pub fn new(limit: u64) -> Memory {
        Memory { limit, used: AtomicU64::new(0), piece: (limit / 1024).clamp(1, PIECE_MAX) }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What queries hold of it now, in whole pieces.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn is_bounded(&self) -> bool {
        self.limit < u64::MAX
    }

    /// What one request may hold.
    fn share(&self) -> u64 {
        self.limit / 4 * 3
    }

    fn pieces(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.piece).saturating_mul(self.piece)
    }

    /// Takes all of it or nothing.
    fn take(&self, bytes: u64, request: &Request) -> Result<()> {
        if !add_within(&request.held, bytes, self.share()) {
            return Err(Error::ResourceLimit(format!(
                "the query needs more than [{}] bytes of memory, three quarters of what all queries may hold together \
                 (setting {MEMORY_SETTING}); narrow its interval, filter or dimensions",
                self.share()
            )));
        }
        if !add_within(&self.used, bytes, self.limit) {
            request.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::ResourceLimit(format!(
                "the queries at work need more than the [{}] bytes of memory that they may hold together (setting \
                 {MEMORY_SETTING}); try again later, or narrow the query's interval, filter or dimensions",
                self.limit
            )));
        }
        Ok(())
    }

    fn give(&self, bytes: u64, request: &Request) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        request.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Adds unless the sum is above the limit.
fn add_within(sum: &AtomicU64, more: u64, limit: u64) -> bool {
    let within = |sum: u64| sum.checked_add(more).filter(|sum| *sum <= limit);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
}

/// What a part of a request uses, and what it has taken of the memory of all queries for that: at least as much, unless
/// it was refused, which ends the query.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) used: AtomicU64,
    taken: AtomicU64,
    /// Whoever changes `taken` has this.
    changing: Mutex<()>,
    pub(super) of: Arc<Memory>,
    pub(super) request: Arc<Request>,
}

impl Held {
    pub(super) fn new(of: &Arc<Memory>, request: &Arc<Request>) -> Held {
        Held {
            used: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            changing: Mutex::new(()),
            of: of.clone(),
            request: request.clone(),
        }
    }

    pub(super) fn cover(&self, used: u64) -> Result<()> {
        if !self.of.is_bounded() || used <= self.taken.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _changing = self.changing.lock();
        let lacking = used.saturating_sub(self.taken.load(Ordering::Relaxed));
        if lacking > 0 {
            let more = self.of.pieces(lacking);
            self.of.take(more, &self.request)?;
            self.taken.fetch_add(more, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives back what is not used; a piece or two stay while anything is.
    pub(super) fn uncover(&self, used: u64) {
        let spare = |used: u64| match used {
            0 => 0,
            _ => self.of.pieces(used).saturating_add(2 * self.of.piece),
        };
        if self.taken.load(Ordering::Relaxed) <= spare(used) {
            return;
        }
        let _changing = self.changing.lock();
        let keep = spare(self.used.load(Ordering::Relaxed));
        let more = self.taken.load(Ordering::Relaxed).saturating_sub(keep);
        self.taken.fetch_sub(more, Ordering::SeqCst);
        // Who took meanwhile may have gone by what was there before.
        let lacking = self.used.load(Ordering::SeqCst).saturating_sub(self.taken.load(Ordering::SeqCst));
        let back = lacking.min(more);
        self.taken.fetch_add(back, Ordering::SeqCst);
        self.of.give(more - back, &self.request);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.give(self.taken.load(Ordering::Relaxed), &self.request);
    }
}
