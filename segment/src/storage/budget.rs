//! The book of the local copies: how many bytes of the disk they take, and which may go when room is needed. Knows names
//! and numbers only; files are removed by whoever asks, before the book says that they are gone.
//!
//! A copy stays while it is assigned, while it arrives, and while somebody holds its segment (a `Weak` tells). A file that
//! was removed or set aside while somebody holds its segment keeps its bytes on the disk until that ends, and is counted
//! until then.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use crate::error::Result;

/// Broken copies that are kept for the operator, as long as there is room.
pub const ASIDE_MAX: usize = 8;

pub struct Budget<S> {
    pub bytes_max: u64,
    copies: HashMap<PathBuf, Copy<S>>,
    /// Broken copies under other names, the oldest first.
    aside: VecDeque<Held<S>>,
    /// Removed by name, and still held.
    lingering: Vec<Held<S>>,
    /// Grows with every use of a copy.
    uses: u64,
    pub evicted: u64,
}

pub struct Copy<S> {
    pub bytes: u64,
    /// Stays until it is taken back.
    pub assigned: bool,
    /// Is being written or opened.
    pub is_busy: bool,
    /// Its bytes were compared with the checksum in this life of the process.
    pub is_whole: bool,
    /// Set when its bytes are found to be others than those published, also by readers of the segment, also if they are
    /// gone by now.
    pub broken: Arc<AtomicBool>,
    pub segment: Weak<S>,
    /// Tells copies under one name from each other.
    pub born: u64,
    used: u64,
}

struct Held<S> {
    path: PathBuf,
    bytes: u64,
    segment: Weak<S>,
}

/// There is no room, and nothing more that may go. Nothing was removed.
#[derive(Debug, PartialEq)]
pub struct Full {
    /// What copies take that must stay.
    pub staying: u64,
}

impl<S> Copy<S> {
    pub fn is_held(&self) -> bool {
        self.segment.strong_count() > 0
    }

    fn may_go(&self) -> bool {
        !self.assigned && !self.is_busy && !self.is_held()
    }
}

impl<S> Budget<S> {
    pub fn new(bytes_max: u64) -> Budget<S> {
        Budget { bytes_max, copies: HashMap::new(), aside: VecDeque::new(), lingering: Vec::new(), uses: 0, evicted: 0 }
    }

    /// What is on the disk, and what will be when copies that arrive have arrived.
    pub fn bytes(&mut self) -> u64 {
        self.lingering.retain(|held| held.segment.strong_count() > 0);
        let held = self.aside.iter().chain(&self.lingering).map(|held| held.bytes);
        self.copies.values().map(|copy| copy.bytes).chain(held).sum()
    }

    pub fn len(&self) -> usize {
        self.copies.len()
    }

    pub fn copy(&self, path: &Path) -> Option<&Copy<S>> {
        self.copies.get(path)
    }

    pub fn copy_mut(&mut self, path: &Path) -> Option<&mut Copy<S>> {
        self.copies.get_mut(path)
    }

    /// A copy of the last run, used less recently than all that are added after it.
    pub fn found(&mut self, path: PathBuf, bytes: u64) {
        self.insert(path, bytes, false);
    }

    /// A broken copy of the last run, set aside after those that are added before it.
    pub fn found_aside(&mut self, path: PathBuf, bytes: u64) {
        self.aside.push_back(Held { path, bytes, segment: Weak::new() });
    }

    /// Makes room for a copy and enters it as one that arrives. There must be none of that name.
    pub fn reserve(
        &mut self,
        path: &Path,
        bytes: u64,
        remove: impl FnMut(&Path) -> Result<()>,
    ) -> Result<Result<(), Full>> {
        if let Err(full) = self.make_room(bytes, remove)? {
            return Ok(Err(full));
        }
        self.insert(path.to_path_buf(), bytes, true);
        Ok(Ok(()))
    }

    /// Removes what may go until `bytes` more fit: broken copies, then what was not used for longest. Removes nothing if
    /// that is not enough.
    pub fn make_room(&mut self, bytes: u64, mut remove: impl FnMut(&Path) -> Result<()>) -> Result<Result<(), Full>> {
        let taken = self.bytes();
        let mut excess = taken.saturating_add(bytes).saturating_sub(self.bytes_max);
        let is_loose = |held: &Held<S>| held.segment.strong_count() == 0;
        let aside = self.aside.iter().filter(|held| is_loose(held)).map(|held| held.bytes);
        let going: u64 = aside.chain(self.copies.values().filter(|c| c.may_go()).map(|copy| copy.bytes)).sum();
        if going < excess {
            return Ok(Err(Full { staying: taken - going }));
        }
        while excess > 0
            && let Some(at) = self.aside.iter().position(is_loose)
        {
            remove(&self.aside[at].path)?;
            excess = excess.saturating_sub(self.aside[at].bytes);
            self.aside.remove(at);
        }
        if excess > 0 {
            let loose = self.copies.iter().filter(|(_, copy)| copy.may_go());
            let mut loose: Vec<(u64, PathBuf)> = loose.map(|(path, copy)| (copy.used, path.clone())).collect();
            loose.sort_unstable();
            for (_, path) in loose {
                if excess == 0 {
                    break;
                }
                remove(&path)?;
                let copy = self.copies.remove(&path).expect("it was just listed");
                excess = excess.saturating_sub(copy.bytes);
                self.evicted += 1;
            }
        }
        Ok(Ok(()))
    }

    /// The copy is there, or is used again. `segment` is what it was opened as, which tells by `broken` what it meets.
    pub fn settle(&mut self, path: &Path, segment: &Arc<S>, broken: Arc<AtomicBool>) {
        self.uses += 1;
        if let Some(copy) = self.copies.get_mut(path) {
            copy.is_busy = false;
            copy.segment = Arc::downgrade(segment);
            copy.broken = broken;
            copy.used = self.uses;
        }
    }

    /// The file was removed.
    pub fn forget(&mut self, path: &Path) {
        if let Some(copy) = self.copies.remove(path) {
            self.linger(Held { path: path.to_path_buf(), bytes: copy.bytes, segment: copy.segment });
        }
    }

    /// The copy was renamed to `aside`; if more than [`ASIDE_MAX`] are kept now, the oldest is removed.
    pub fn set_aside(&mut self, path: &Path, aside: PathBuf, remove: impl Fn(&Path) -> Result<()>) -> Result<()> {
        if let Some(copy) = self.copies.remove(path) {
            self.aside.push_back(Held { path: aside, bytes: copy.bytes, segment: copy.segment });
        }
        while self.aside.len() > ASIDE_MAX {
            remove(&self.aside[0].path)?;
            let held = self.aside.pop_front().expect("there are some");
            self.linger(held);
        }
        Ok(())
    }

    /// A name for a broken copy beside its own that no other has.
    pub fn name_aside(&self, path: &Path, ending: &str) -> PathBuf {
        let mut names = (0u32..).map(|n| path.with_extension(format!("{n}.{ending}")));
        names.find(|name| self.aside.iter().all(|held| held.path != *name)).expect("few names are taken")
    }

    fn insert(&mut self, path: PathBuf, bytes: u64, is_busy: bool) {
        self.uses += 1;
        let (used, born) = (self.uses, self.uses);
        let copy = Copy {
            bytes,
            assigned: false,
            is_busy,
            is_whole: false,
            broken: Arc::default(),
            segment: Weak::new(),
            born,
            used,
        };
        self.copies.insert(path, copy);
    }

    fn linger(&mut self, held: Held<S>) {
        if held.segment.strong_count() > 0 {
            self.lingering.push(held);
        }
    }
}
