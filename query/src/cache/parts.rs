//! Group queries over segments of which something is kept.
//!
//! 1. Each piece of a published segment has a key; what is kept of it is looked for, here and beyond.
//! 2. What is lacking is folded: each piece by itself, if the query is asked again and again, so that it can be kept; else all
//!    that is lacking at once, with the rows that are not published.
//! 3. All is merged, as a broker merges the answers of nodes. Where the pieces call their values by different types, nothing of
//!    this is used, and the query is run as if nothing was kept.
//!
//! A value is frames: one that opens it with the types of its keys, those of its groups, and one that closes it.

use std::sync::Arc;

use bytes::Bytes;
use segment::schema::ValueType;

use super::{Asked, Caches, Key, Of, digest};
use crate::budget::{Budget, Taken};
use crate::engine::{Piece, group};
use crate::error::Result;
use crate::language::Query;
use crate::partial::Partial;
use crate::pool::Pool;
use crate::wire::answer::{Closing, Opening};
use crate::wire::frame::{self, Kind, broken};
use crate::wire::groups::{self, GroupFrames, Merger};
use crate::wire::types::{differ, joined, keys_of};

/// What a query makes of a piece.
pub struct Kept {
    /// All of it, as it goes beyond the process.
    bytes: Bytes,
    /// Its groups, in these bytes.
    frames: Vec<(Kind, Bytes)>,
    /// Of its keys, then of the ids of its aggregates.
    types: Vec<Vec<ValueType>>,
    matched: bool,
}

/// What a group query is run with.
pub struct Folding<'a> {
    pub caches: Option<&'a Arc<Caches>>,
    pub query: &'a Arc<Query>,
    /// As [`group::run_part`] takes them; `None`: the pieces are all that there are.
    pub elsewhere: Option<&'a [Vec<ValueType>]>,
    pub pool: &'a Pool,
    pub budget: &'a Arc<Budget>,
}

impl Folding<'_> {
    /// Folds the rows of the pieces, or finds what was folded before.
    pub fn run(&self, pieces: Vec<Piece>) -> Result<Partial> {
        if let Some(caches) = self.caches
            && let Some(partial) = self.by_piece(caches, &pieces)?
        {
            return Ok(partial);
        }
        match self.elsewhere {
            None => group::run(self.query, pieces, self.pool, self.budget),
            Some(elsewhere) => group::run_part(self.query, pieces, elsewhere, self.pool, self.budget),
        }
    }

    /// `None`: it is not to be done so, or nothing would come of it.
    fn by_piece(&self, caches: &Caches, pieces: &[Piece]) -> Result<Option<Partial>> {
        let caching = self.budget.caching();
        if caches.segments.is_off() || !(caching.use_segments || caching.populate_segments) {
            return Ok(None);
        }
        if !pieces.iter().any(|piece| caches.wants(piece)) {
            return Ok(None);
        }
        let elsewhere = self.elsewhere.unwrap_or_default();
        let part = Arc::new(self.query.for_nodes());
        let of_part = digest::of_part(&part, elsewhere);
        let of_asked = digest::of_asked(&of_part, pieces);
        let asked = caches.ask(&of_asked);
        if asked.unfit {
            return Ok(None);
        }
        let key = |piece: &Piece| caches.wants(piece).then(|| digest::of_piece(&of_part, piece)).flatten();
        let keys: Vec<Option<Key>> = pieces.iter().map(key).collect();
        let mut populate = caching.populate_segments && asked.times >= caches.settings.asked_min;
        let found = match caching.use_segments {
            true => caches.find(&keys),
            false => vec![None; keys.len()],
        };
        if !populate && found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut held = Taken::new(self.budget, 0)?;
        let (mut parts, mut rest) = (Vec::with_capacity(pieces.len()), Vec::new());
        let fold = |pieces: Vec<Piece>| group::run_part(&part, pieces, elsewhere, self.pool, self.budget);
        for ((piece, key), found) in pieces.iter().zip(keys).zip(found) {
            match (found, key) {
                (Some(kept), _) => parts.push(kept),
                (None, Some(key)) if populate => {
                    let partial = fold(vec![piece.clone()])?;
                    let fits = caches.fits(&partial, piece);
                    let kept = Arc::new(Kept::of(partial)?);
                    held.grow(kept.bytes.len())?;
                    if fits && kept.bytes.len() <= caches.settings.entry_bytes_max {
                        caches.keep(key, &kept);
                    } else {
                        // The others will hardly be smaller: all that is left is folded at once, and from now on all.
                        caches.unfit(&of_asked);
                        populate = false;
                    }
                    parts.push(kept);
                }
                _ => rest.push(piece.clone()),
            }
            self.budget.check()?;
        }
        if !rest.is_empty() {
            let kept = Arc::new(Kept::of(fold(rest)?)?);
            held.grow(kept.bytes.len())?;
            parts.push(kept);
        }
        let all = parts.iter().fold(elsewhere.to_vec(), |all, part| joined(&part.types, &all));
        let keys = keys_of(self.query);
        if parts.iter().any(|part| differ(keys, &joined(&part.types, elsewhere), &all)) {
            caches.unfit(&of_asked);
            return Ok(None);
        }
        let mut merger = Merger::new(self.query, self.budget)?;
        for part in &parts {
            self.budget.check()?;
            // What was kept here or beyond is what was made here or there: if it cannot be read, it is made anew.
            let Ok(read) = groups::read(&part.frames) else { return Ok(None) };
            merger.absorb(read, part.matched)?;
        }
        let own = parts.iter().fold(Vec::new(), |all, part| joined(&part.types, &all));
        let mut partial = merger.finish(self.query, group::spans_of(pieces));
        partial.types = own;
        Ok(Some(partial))
    }
}

impl Kept {
    fn of(partial: Partial) -> Result<Kept> {
        let opening = Opening { types: partial.types.clone(), ..Opening::default() };
        let mut written = vec![frame::write(Kind::Opening, &opening.to_bytes())];
        let mut groups = GroupFrames::new(partial, Vec::new());
        loop {
            let frames = groups.next_frames()?;
            if frames.is_empty() {
                break;
            }
            written.extend(frames);
        }
        let closing = Closing::Complete { matched: groups.matched() };
        written.push(frame::write(Kind::Closing, &closing.to_bytes()));
        Kept::read(written.concat().into())
    }

    fn read(bytes: Bytes) -> Result<Kept> {
        let mut frames = frame::split(&bytes)?;
        let closing = frames.pop().filter(|(kind, _)| *kind == Kind::Closing);
        let (_, closing) = closing.ok_or_else(|| broken("it is not closed"))?;
        if frames.first().is_none_or(|(kind, _)| *kind != Kind::Opening) {
            return Err(broken("it is not opened"));
        }
        let (_, opening) = frames.remove(0);
        let types = Opening::from_bytes(&opening)?.types;
        let matched = Closing::from_bytes(&closing)?.matched()?;
        Ok(Kept { bytes, frames, types, matched })
    }
}

impl Caches {
    /// Whether what is made of a piece is to be kept. Where a part of it is seen its rows are not counted: whether there are few
    /// would tell of the others.
    fn wants(&self, piece: &Piece) -> bool {
        piece.fingerprint().is_some() && (piece.is_restricted() || piece.rows() >= self.settings.rows_min)
    }

    /// Whether a piece has so many more rows than groups that finding these is cheaper, as far as its rows are counted.
    fn fits(&self, partial: &Partial, piece: &Piece) -> bool {
        let least = partial.table.groups().saturating_mul(self.settings.rows_per_group);
        piece.is_restricted() || least <= piece.rows()
    }

    /// What is known of a query that is asked now.
    fn ask(&self, part: &Key) -> Asked {
        let mut asked = self.asked.get(part).unwrap_or_default();
        asked.times = asked.times.saturating_add(1);
        self.asked.put(*part, asked, size_of::<Asked>());
        asked
    }

    fn unfit(&self, part: &Key) {
        let times = self.asked.get(part).unwrap_or_default().times;
        self.asked.put(*part, Asked { times, unfit: true }, size_of::<Asked>());
    }

    fn find(&self, keys: &[Option<Key>]) -> Vec<Option<Arc<Kept>>> {
        let mut found: Vec<Option<Arc<Kept>>> = keys.iter().map(|key| self.segments.get(key.as_ref()?)).collect();
        let lacking: Vec<(usize, Key)> = keys
            .iter()
            .enumerate()
            .zip(&found)
            .filter_map(|((at, key), found)| Some((at, (*key)?)).filter(|_| found.is_none()))
            .collect();
        if let Some(beyond) = &self.beyond
            && !lacking.is_empty()
        {
            let asked: Vec<Key> = lacking.iter().map(|(_, key)| *key).collect();
            for ((at, key), value) in lacking.iter().zip(beyond.get(&asked)) {
                if let Some(kept) = value.and_then(|value| Kept::read(value.into()).ok()) {
                    let kept = Arc::new(kept);
                    self.keep_here(*key, &kept);
                    found[*at] = Some(kept);
                }
            }
        }
        keys.iter().zip(&found).filter(|(key, _)| key.is_some()).for_each(|(_, found)| {
            self.found(Of::Segments, found.is_some());
        });
        found
    }

    fn keep(&self, key: Key, kept: &Arc<Kept>) {
        self.keep_here(key, kept);
        if let Some(beyond) = &self.beyond {
            beyond.put(key, &kept.bytes);
        }
    }

    fn keep_here(&self, key: Key, kept: &Arc<Kept>) {
        let evicted = self.segments.put(key, kept.clone(), kept.bytes.len() + size_of::<Kept>());
        self.kept(Of::Segments, evicted);
    }
}
