//! What is seen of a segment by whoever does not see all of it, worked out once for published segments.
//!
//! Which rows a policy lets through hangs on nothing but the policy and the segment, and a published segment never
//! changes: so it is kept in a [`SeenCache`], as bits. What still grows is looked at anew by each query.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;
use segment::block::{BLOCK_ROWS, Value};
use segment::schema::TIME;
use segment::{Interval, Segment};

use crate::columns::{Columns, Resolved};
use crate::error::Result;
use crate::language::VirtualColumn;
use crate::policy::Restricted;
use crate::selection::{Node, Scratch, Selected, Selector};

/// What an entry takes besides what is seen.
const ENTRY_BYTES: usize = 256;

/// What an entry of a map of names takes besides the name.
const NAME_BYTES: usize = 64;

/// What a mask takes: its text, and the tree that it was parsed to.
const MASK_BYTES: usize = 1024;

/// Rows whose masks are made at once when any value is looked for: the first one mostly is.
const MASKED_ROWS: usize = 64;

/// What is seen of one segment.
pub struct Seen {
    pub restricted: Arc<Restricted>,
    pub masks: Vec<VirtualColumn>,
    /// The rows, of those in the range.
    pub(crate) node: Arc<Node>,
    pub range: Range<usize>,
    /// First and last time of them; `None` if there are none.
    pub times: Option<(i64, i64)>,
    /// Whether a column has a value in any of them, as far as was asked.
    valued: Mutex<HashMap<String, bool>>,
    /// Where the rows are cut, see [`Seen::parts`].
    cuts: OnceLock<Vec<usize>>,
    bytes: AtomicUsize,
}

/// Parts that a segment has about, so that threads end together; and how many rows that are seen each has at least and at
/// most. The block that a cut falls into is read twice.
const PARTS: usize = 8;
const PART_ROWS: (usize, usize) = (8 * BLOCK_ROWS, 32 * BLOCK_ROWS);

/// What was worked out for published segments, within a budget of bytes: what was not asked for longest goes first, and
/// what is of segments that are gone.
pub struct SeenCache {
    bytes_max: usize,
    state: Mutex<State>,
    /// How often it was asked for what it had, and for what it had not.
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Of the inventory, when segments that are gone were last looked for.
    generation: u64,
    /// Counts uses.
    clock: u64,
    bytes: usize,
    /// By the whole key of the restriction, then the address of the segment, which no other has as long as the entry holds
    /// on to it: so that what was kept is met again by the same restriction of the same segment, and by nothing else.
    kept: HashMap<Arc<str>, HashMap<usize, Entry>>,
    /// What was used when, the longest ago first.
    used: BTreeMap<u64, (Arc<str>, usize)>,
}

struct Entry {
    segment: Weak<Segment>,
    seen: Arc<Seen>,
    bytes: usize,
    used: u64,
}

impl Seen {
    /// Of a segment that may be gone with the query, and that nobody else asks for.
    pub fn of(segment: &Arc<Segment>, restricted: &Arc<Restricted>) -> Result<Seen> {
        Seen::from(segment, restricted, Ok)
    }

    fn from(
        segment: &Arc<Segment>,
        restricted: &Arc<Restricted>,
        settle: impl FnOnce(Selector) -> Result<Selector>,
    ) -> Result<Seen> {
        let raw = Columns::new(segment.clone(), None, Arc::from([]));
        let selector = settle(Selector::new(&raw, restricted.filter.as_ref(), &[Interval::ETERNITY])?)?;
        let times = times(segment, &selector)?;
        let masks: Vec<VirtualColumn> = match restricted.treats_columns() {
            false => Vec::new(),
            true => {
                let columns = segment.columns().into_iter().filter(|(name, _)| name != TIME);
                columns.filter_map(|(name, value_type)| restricted.mask(&name, &value_type)).collect()
            }
        };
        let (node, range) = selector.into_parts();
        let bytes = size_of::<Seen>() + ENTRY_BYTES + node.bytes() + masks.len() * MASK_BYTES;
        Ok(Seen {
            restricted: restricted.clone(),
            masks,
            node: Arc::new(node),
            range,
            times,
            valued: Mutex::default(),
            cuts: OnceLock::new(),
            bytes: AtomicUsize::new(bytes),
        })
    }

    /// A range of the segment's rows in parts that may be worked on apart: how many there are, and which of the rows that are
    /// seen each has, tells nothing of those between them. Of rows that are not settled it is one.
    pub fn parts(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let cuts = self.cuts.get_or_init(|| {
            let every = |seen: usize| (seen / PARTS).clamp(PART_ROWS.0, PART_ROWS.1);
            let cuts = match &*self.node {
                Node::All => self.range.clone().step_by(every(self.range.len())).skip(1).collect(),
                Node::Words(words) => {
                    let seen = words.iter().map(|word| word.count_ones() as usize).sum();
                    cuts_of(words, &self.range, every(seen))
                }
                _ => Vec::new(),
            };
            self.bytes.fetch_add(cuts.capacity() * size_of::<usize>(), Ordering::Relaxed);
            cuts
        });
        let within = cuts.iter().copied().filter(|cut| range.start < *cut && *cut < range.end);
        let ends: Vec<usize> = within.chain([range.end]).collect();
        let starts = [range.start].into_iter().chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, end)| start..*end).filter(|part| !part.is_empty()).collect()
    }

    /// Whether every row of a segment of so many is seen.
    pub fn is_every_row(&self, rows: usize) -> bool {
        matches!(*self.node, Node::All) && self.range == (0..rows)
    }

    /// Whether the asker is told of a column.
    pub fn shows(&self, segment: &Arc<Segment>, name: &str) -> Result<bool> {
        if self.restricted.is_denied(name) {
            return Ok(false);
        }
        Ok(name == TIME || self.restricted.is_public(name) || self.has_value(segment, name)?)
    }

    /// Whether a column has a value in any row that is seen. Of a masked one it is the mask that counts: whether there is
    /// a value behind it is not told where the mask does not tell it.
    pub fn has_value(&self, segment: &Arc<Segment>, name: &str) -> Result<bool> {
        if let Some(known) = self.valued.lock().get(name) {
            return Ok(*known);
        }
        let found = self.any(segment, name, &|_| true)?;
        if self.valued.lock().insert(name.to_string(), found).is_none() {
            self.bytes.fetch_add(name.len() + NAME_BYTES, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Whether a value of a column passes in any row that is seen: the mask, if it is masked. Null is no value.
    pub fn any(&self, segment: &Arc<Segment>, name: &str, passes: &dyn Fn(&Value) -> bool) -> Result<bool> {
        let raw = Columns::new(segment.clone(), None, Arc::from([]));
        if matches!(raw.resolve(name)?, Resolved::Missing) {
            return Ok(false);
        }
        let mask = self.masks.iter().find(|mask| mask.name == name);
        if mask.is_some_and(|mask| mask.expr.columns().is_empty()) {
            // Nulls, whatever is kept.
            return Ok(false);
        }
        let selector = Selector::of_node(segment.clone(), self.node.clone(), self.range.clone());
        let mut scratch = Scratch::default();
        let mut words = [0; BLOCK_ROWS / 64];
        for (start, len) in selector.blocks() {
            let selected = selector.select(start, len, &mut scratch, &mut words)?;
            if selected == Selected::None {
                continue;
            }
            let is_in = |row: &usize| selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1;
            let found = |value: Value| !value.is_null() && passes(&value);
            let Some(mask) = mask else {
                let block = raw.block(name, start, len)?;
                if (0..len).filter(is_in).any(|row| found(block.value(row))) {
                    return Ok(true);
                }
                continue;
            };
            for from in (0..len).step_by(MASKED_ROWS) {
                let some = MASKED_ROWS.min(len - from);
                let places: Vec<u32> = (0..some).filter(|row| is_in(&(from + row))).map(|row| row as u32).collect();
                if places.is_empty() {
                    continue;
                }
                let block = raw.virtual_values(mask, start + from, some, &places)?;
                if (0..places.len()).any(|row| found(block.value(row))) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Behind every so many bits of a range that are set, the place of the next bit.
fn cuts_of(words: &[u64], range: &Range<usize>, every: usize) -> Vec<usize> {
    let (mut cuts, mut left) = (Vec::new(), every);
    for (at, word) in words.iter().enumerate() {
        let from = range.start.saturating_sub(at * 64).min(64);
        let to = range.end.saturating_sub(at * 64).min(64);
        let ones = |bits: usize| if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let mut word = word & ones(to) & !ones(from);
        while word.count_ones() as usize >= left {
            (1..left).for_each(|_| word &= word - 1);
            cuts.push(at * 64 + word.trailing_zeros() as usize + 1);
            (word, left) = (word & (word - 1), every);
        }
        left -= word.count_ones() as usize;
    }
    cuts
}

impl SeenCache {
    /// `bytes_max` 0 keeps nothing.
    pub fn new(bytes_max: usize) -> SeenCache {
        SeenCache { bytes_max, state: Mutex::default(), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// What is kept now, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// How often what was asked for was kept.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often what was asked for had to be worked out, to be kept.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// What is seen of a published segment. `check` is asked once a block whether to go on.
    pub fn seen(
        &self,
        segment: &Arc<Segment>,
        restricted: &Arc<Restricted>,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Arc<Seen>> {
        if self.bytes_max == 0 {
            return Ok(Arc::new(Seen::of(segment, restricted)?));
        }
        let kept = self.state.lock().find(segment, restricted, self.bytes_max);
        if let Some(seen) = kept {
            count(&self.hits, "hit");
            return Ok(seen);
        }
        count(&self.misses, "miss");
        let seen = Arc::new(Seen::from(segment, restricted, |selector| selector.settled(check))?);
        self.state.lock().keep(segment, &seen, self.bytes_max);
        Ok(seen)
    }

    /// Lets go of what is of segments that are gone, if the inventory has changed since the last time.
    pub fn sweep(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            return;
        }
        state.generation = generation;
        let State { bytes, kept, used, .. } = &mut *state;
        kept.retain(|key, segments| {
            segments.retain(|_, entry| {
                let stays = entry.segment.strong_count() > 0;
                if !stays {
                    *bytes -= entry.bytes;
                    used.remove(&entry.used);
                }
                stays
            });
            if segments.is_empty() {
                *bytes -= key.len();
            }
            !segments.is_empty()
        });
    }
}

impl State {
    fn find(&mut self, segment: &Arc<Segment>, restricted: &Restricted, bytes_max: usize) -> Option<Arc<Seen>> {
        let entry = self.kept.get_mut(&*restricted.key)?.get_mut(&address(segment))?;
        let place = self.used.remove(&entry.used)?;
        self.clock += 1;
        entry.used = self.clock;
        self.used.insert(self.clock, place);
        // What is asked of it is kept with it, so that it grows.
        let now = entry.seen.bytes.load(Ordering::Relaxed);
        self.bytes = self.bytes - entry.bytes + now;
        entry.bytes = now;
        let seen = entry.seen.clone();
        self.shrink(bytes_max);
        Some(seen)
    }

    fn keep(&mut self, segment: &Arc<Segment>, seen: &Arc<Seen>, bytes_max: usize) {
        let key: Arc<str> = match self.kept.get_key_value(&*seen.restricted.key) {
            Some((key, _)) => key.clone(),
            None => {
                let key: Arc<str> = Arc::from(&*seen.restricted.key);
                self.bytes += key.len();
                self.kept.insert(key.clone(), HashMap::new());
                key
            }
        };
        let bytes = seen.bytes.load(Ordering::Relaxed);
        self.clock += 1;
        let entry = Entry { segment: Arc::downgrade(segment), seen: seen.clone(), bytes, used: self.clock };
        self.bytes += bytes;
        self.used.insert(self.clock, (key.clone(), address(segment)));
        // Another query may have worked out the same.
        if let Some(before) = self.kept.entry(key).or_default().insert(address(segment), entry) {
            self.bytes -= before.bytes;
            self.used.remove(&before.used);
        }
        self.shrink(bytes_max);
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((_, (key, address))) = self.used.pop_first() else { return };
            let Some(segments) = self.kept.get_mut(&key) else { continue };
            if let Some(entry) = segments.remove(&address) {
                self.bytes -= entry.bytes;
            }
            if segments.is_empty() {
                self.kept.remove(&key);
                self.bytes -= key.len();
            }
        }
    }
}

fn count(of: &AtomicU64, outcome: &'static str) {
    of.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("henge_query_policy_cache_total", "outcome" => outcome).increment(1);
}

fn address(segment: &Arc<Segment>) -> usize {
    Arc::as_ptr(segment) as usize
}

/// First and last time of the selected rows.
fn times(segment: &Segment, selector: &Selector) -> Result<Option<(i64, i64)>> {
    if selector.is_all() && selector.range() == (0..segment.rows()) {
        return Ok(segment.time_range());
    }
    let time = segment.time()?;
    let mut scratch = Scratch::default();
    let mut words = [0; BLOCK_ROWS / 64];
    let mut values = vec![0; BLOCK_ROWS];
    let mut found: Option<(i64, i64)> = None;
    let mut look = |(start, len): (usize, usize), found: &mut Option<(i64, i64)>| -> Result<bool> {
        let selected = selector.select(start, len, &mut scratch, &mut words)?;
        if selected == Selected::None {
            return Ok(false);
        }
        time.longs(start, &mut values[..len]);
        for row in 0..len {
            if selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1 {
                let t = values[row];
                *found = Some(found.map_or((t, t), |(first, last)| (first.min(t), last.max(t))));
            }
        }
        Ok(true)
    };
    if !segment.is_time_sorted() {
        for block in selector.blocks() {
            look(block, &mut found)?;
        }
        return Ok(found);
    }
    // The first block with a row has the first, the last one the last.
    for block in selector.blocks() {
        if look(block, &mut found)? {
            break;
        }
    }
    for block in selector.blocks().rev() {
        if look(block, &mut found)? {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn cuts_stand_behind_every_so_many_rows_that_are_seen() {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..500 {
            let rows = rng.random_range(1..700usize);
            let mut words = vec![0u64; rows.div_ceil(64)];
            let density = [0.02, 0.5, 1.0][rng.random_range(0..3)];
            (0..rows).filter(|_| rng.random_bool(density)).collect::<Vec<_>>().iter().for_each(|row| {
                words[row / 64] |= 1 << (row % 64);
            });
            let start = rng.random_range(0..rows);
            let range = start..rng.random_range(start..rows) + 1;
            let every = rng.random_range(1..90);
            let is_set = |row: &usize| words[row / 64] >> (row % 64) & 1 == 1;
            let set: Vec<usize> = range.clone().filter(is_set).collect();
            let expected: Vec<usize> = set.chunks_exact(every).map(|part| part[every - 1] + 1).collect();
            assert_eq!(cuts_of(&words, &range, every), expected, "{range:?} {every}");
        }
    }
}
