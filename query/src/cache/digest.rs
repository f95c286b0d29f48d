//! By what kept values are known: a digest of all that they were made of, so that what differs in any of it is never met.
//!
//! Of a query it is the text that nodes are asked by, and what `Debug` tells of it: that has the digests of its lookups, and
//! what becomes of groups once they are whole. What changes no value (its id, its deadlines) is not in a [`Query`] at all.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use segment::schema::ValueType;
use segment::{Interval, SegmentId};
use sha2::{Digest, Sha256};

use super::store::Key;
use crate::admission::Sight;
use crate::engine::{Piece, group};
use crate::language::{DataSource, Query};

/// Raised with every change of what is kept, or of what the engine makes of the same query and segment.
const FORMAT: u64 = 1;

/// Parts that are told apart by their lengths.
struct Hash(Sha256);

/// What is written, without its length.
struct Written(Sha256);

impl Write for Written {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

impl Hash {
    /// `what` tells keys of one kind from those of others.
    fn new(what: &str) -> Hash {
        let mut hash = Hash(Sha256::new());
        hash.put(what.as_bytes());
        hash.put(&FORMAT.to_le_bytes());
        hash.put(env!("CARGO_PKG_VERSION").as_bytes());
        hash
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn put_debug(&mut self, value: &dyn fmt::Debug) {
        let mut written = Written(Sha256::new());
        // Nothing that is hashed fails.
        let _ = write!(written, "{value:?}");
        self.put(&written.0.finalize());
    }

    fn finish(self) -> Key {
        self.0.finalize().into()
    }
}

/// Of what is folded, whichever segments: `part` is a query as nodes get it, `elsewhere` the types that its keys have in segments
/// that others work on.
pub fn of_part(part: &Query, elsewhere: &[Vec<ValueType>]) -> Key {
    let mut neutral = part.clone();
    let scope = neutral.scope_mut();
    (scope.source, scope.intervals, scope.segment) = (DataSource::Table(String::new()), Vec::new(), None);
    let mut hash = Hash::new("part");
    hash.put(neutral.to_json().to_string().as_bytes());
    hash.put_debug(&neutral);
    hash.put_debug(&elsewhere);
    hash.finish()
}

/// Of a query of a key as it is asked of these tables by whom sees this of them: how often it was asked is told to nobody else,
/// be it by the way in which it is answered.
pub fn of_asked(part: &Key, pieces: &[Piece]) -> Key {
    let seen = pieces.iter().map(|piece| (piece.id.datasource.as_str(), piece.restriction()));
    let mut hash = Hash::new("asked");
    hash.put(part);
    hash.put_debug(&seen.collect::<BTreeSet<_>>());
    hash.finish()
}

/// Of what the query of a key makes of a piece; `None` of a piece that is not to be kept: one of rows that are not published.
pub fn of_piece(part: &Key, piece: &Piece) -> Option<Key> {
    let mut hash = Hash::new("piece");
    hash.put(part);
    put_piece(&mut hash, piece)?;
    Some(hash.finish())
}

/// Which published segments an answer was made of, and where these count.
pub fn of_pieces(pieces: &[Piece]) -> Option<Key> {
    let mut hash = Hash::new("pieces");
    for piece in pieces {
        put_piece(&mut hash, piece)?;
    }
    Some(hash.finish())
}

fn put_piece(hash: &mut Hash, piece: &Piece) -> Option<()> {
    hash.put_debug(&piece.id);
    hash.put(&piece.fingerprint()?.to_le_bytes());
    // Rows are not looked at where there are none: intervals that differ there only are the same.
    hash.put_debug(&group::spans_of(std::slice::from_ref(piece)));
    match piece.restriction() {
        None => hash.put(b"all"),
        Some(key) => {
            hash.put(b"some");
            hash.put(key.as_bytes());
        }
    }
    Some(())
}

/// Which segments of a cluster an answer was made of: names are given once, and a published segment never changes.
pub fn of_segments<'a>(segments: impl Iterator<Item = (&'a SegmentId, &'a [Interval])>, marks: &[u64]) -> Key {
    let mut hash = Hash::new("segments");
    segments.for_each(|one| hash.put_debug(&one));
    hash.put_debug(&marks);
    hash.finish()
}

/// Of a whole answer over tables: `cut` says which segments it was made of, `sight` what the asker sees of them.
pub fn of_answer(query: &Query, sight: &Sight, cut: &Key) -> Key {
    let mut hash = Hash::new("answer");
    hash.put(query.for_nodes().to_json().to_string().as_bytes());
    hash.put_debug(query);
    hash.put_debug(&sight.keys());
    hash.put(cut);
    hash.finish()
}
