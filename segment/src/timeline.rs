//! Which segments are visible: at each instant the newest complete version wins, and all of its partitions with it.
//!
//! Segments of one interval and version form a *set*. A set is complete when its core partitions are all here; sets
//! that grow by appending have no core and are complete with any partition. The timeline keeps, beside the sets, the
//! answer to the question readers ask: a row of *spans* that do not overlap, each with the sets visible in it. A
//! change recomputes only the spans within the interval of the set that changed, so both a change and a question cost
//! what they touch, not what the timeline holds.
//!
//! Sets of the same version whose intervals overlap are visible side by side: hiding rows is left to newer versions.

use std::collections::{BTreeMap, HashMap};

use crate::meta::SegmentId;
use crate::time::Interval;

/// Versions and partitions of one datasource over time.
#[derive(Debug, Clone)]
pub struct Timeline<T> {
    sets: BTreeMap<Interval, Versions<T>>,
    /// By start; they never overlap.
    spans: BTreeMap<i64, Span>,
    /// No interval of `sets` is longer, which bounds the search for those that overlap an instant.
    longest: i64,
    len: usize,
}

/// A visible segment and the part of its interval in which it is visible.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<T> {
    pub id: SegmentId,
    pub interval: Interval,
    pub item: T,
}

/// Sets of one interval by version. Few have more than one, and there are very many.
#[derive(Debug, Clone)]
struct Versions<T>(Vec<(String, Set<T>)>);

/// In the order of their partitions.
#[derive(Debug, Clone)]
struct Set<T> {
    partitions: Vec<Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    id: SegmentId,
    core: u32,
    item: T,
}

#[derive(Debug, Clone, PartialEq)]
struct Span {
    end: i64,
    version: String,
    /// Intervals of the sets of that version that cover the span.
    sets: Vec<Interval>,
    /// No version is complete here: nothing is visible although something is known.
    hidden: bool,
}

impl<T> Default for Timeline<T> {
    fn default() -> Timeline<T> {
        Timeline { sets: BTreeMap::new(), spans: BTreeMap::new(), longest: 0, len: 0 }
    }
}

impl<T> Set<T> {
    fn is_complete(&self) -> bool {
        let core = self.partitions.iter().map(|entry| entry.core).max().unwrap_or(0);
        !self.partitions.is_empty()
            && self.partitions.partition_point(|entry| entry.id.partition < core) == core as usize
    }

    /// Where a partition is, or would be.
    fn place(&self, partition: u32) -> Result<usize, usize> {
        self.partitions.binary_search_by_key(&partition, |entry| entry.id.partition)
    }
}

impl<T> Versions<T> {
    /// Where a version is, or would be.
    fn place(&self, version: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(version))
    }

    fn get(&self, version: &str) -> Option<&Set<T>> {
        self.place(version).ok().map(|at| &self.0[at].1)
    }

    fn sets(&self) -> impl Iterator<Item = &Set<T>> {
        self.0.iter().map(|(_, set)| set)
    }
}

/// Puts an item in, with little room to spare: most lists have one or two.
fn insert_at<T>(list: &mut Vec<T>, at: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
    list.insert(at, item);
}

impl<T: Clone> Timeline<T> {
    pub fn new() -> Timeline<T> {
        Timeline::default()
    }

    /// Adds a segment of a set without core partitions. A segment of the same id is replaced.
    pub fn add(&mut self, id: SegmentId, item: T) {
        self.add_partition(id, 0, item);
    }

    /// Adds a segment of a set that is complete once partitions `0..core` are all added. Returns the item it replaces.
    /// Segments with an empty interval are never visible.
    pub fn add_partition(&mut self, id: SegmentId, core: u32, item: T) -> Option<T> {
        let interval = id.interval;
        let versions = self.sets.entry(interval).or_insert_with(|| Versions(Vec::new()));
        let at = versions.place(&id.version).unwrap_or_else(|at| {
            insert_at(&mut versions.0, at, (id.version.clone(), Set { partitions: Vec::new() }));
            at
        });
        let set = &mut versions.0[at].1;
        let was_complete = set.is_complete();
        let was_known = !set.partitions.is_empty();
        let place = set.place(id.partition);
        let entry = Entry { id, core, item };
        let replaced = match place {
            Ok(at) => Some(std::mem::replace(&mut set.partitions[at], entry)),
            Err(at) => {
                insert_at(&mut set.partitions, at, entry);
                None
            }
        };
        let changed = was_complete != set.is_complete() || !was_known;
        if replaced.is_none() {
            self.len += 1;
        }
        self.longest = self.longest.max(interval.end.saturating_sub(interval.start));
        if changed {
            self.settle(interval);
        }
        replaced.map(|entry| entry.item)
    }

    pub fn remove(&mut self, id: &SegmentId) -> Option<T> {
        let versions = self.sets.get_mut(&id.interval)?;
        let of_version = versions.place(&id.version).ok()?;
        let set = &mut versions.0[of_version].1;
        let was_complete = set.is_complete();
        let at = set.place(id.partition).ok()?;
        let removed = set.partitions.remove(at);
        self.len -= 1;
        let emptied = set.partitions.is_empty();
        let changed = emptied || was_complete != set.is_complete();
        if emptied {
            versions.0.remove(of_version);
            if versions.0.is_empty() {
                self.sets.remove(&id.interval);
            }
        }
        if changed {
            self.settle(id.interval);
        }
        Some(removed.item)
    }

    pub fn get(&self, id: &SegmentId) -> Option<&T> {
        let set = self.sets.get(&id.interval)?.get(&id.version)?;
        Some(&set.partitions[set.place(id.partition).ok()?].item)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All segments, visible or not.
    pub fn iter(&self) -> impl Iterator<Item = (&SegmentId, &T)> {
        self.sets
            .values()
            .flat_map(|versions| versions.sets())
            .flat_map(|set| &set.partitions)
            .map(|entry| (&entry.id, &entry.item))
    }

    /// What is visible in `within`, each segment with the parts of its interval in which it is, by start. A segment
    /// that a newer one covers in the middle gives two slices.
    pub fn visible(&self, within: Interval) -> Vec<Slice<T>> {
        let mut slices: Vec<(Interval, &str, Interval)> = Vec::new();
        let mut latest: HashMap<(Interval, &str), usize> = HashMap::new();
        for (start, span) in self.spans_in(within) {
            if span.hidden {
                continue;
            }
            let part = Interval { start: *start, end: span.end }.intersect(&within);
            for set in &span.sets {
                let at = latest.entry((*set, span.version.as_str())).or_insert(usize::MAX);
                if let Some(slice) = slices.get_mut(*at).filter(|slice| slice.2.end == part.start) {
                    slice.2.end = part.end;
                } else {
                    *at = slices.len();
                    slices.push((*set, &span.version, part));
                }
            }
        }
        let mut visible = Vec::with_capacity(slices.len());
        for (set, version, interval) in slices {
            let Some(set) = self.sets.get(&set).and_then(|versions| versions.get(version)) else { continue };
            for entry in &set.partitions {
                visible.push(Slice { id: entry.id.clone(), interval, item: entry.item.clone() });
            }
        }
        visible
    }

    /// Parts of `within` where segments are known but no version is complete, so that nothing is visible.
    pub fn hidden(&self, within: Interval) -> Vec<Interval> {
        let mut hidden: Vec<Interval> = Vec::new();
        for (start, span) in self.spans_in(within).filter(|(_, span)| span.hidden) {
            let part = Interval { start: *start, end: span.end }.intersect(&within);
            match hidden.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => hidden.push(part),
            }
        }
        hidden
    }

    /// Whether there is any such part.
    pub fn hides_any(&self) -> bool {
        self.spans_in(Interval::ETERNITY).any(|(_, span)| span.hidden)
    }

    /// Segments of which no part is visible, nor ever will be while what is newer stays: every instant of their
    /// interval belongs to a complete newer version.
    pub fn overshadowed(&self) -> Vec<SegmentId> {
        let mut overshadowed = Vec::new();
        for (interval, versions) in &self.sets {
            for (version, set) in &versions.0 {
                if self.is_overshadowed(*interval, version) {
                    overshadowed.extend(set.partitions.iter().map(|entry| entry.id.clone()));
                }
            }
        }
        overshadowed
    }

    /// Whether complete versions newer than `version` cover all of `interval`.
    pub fn is_overshadowed(&self, interval: Interval, version: &str) -> bool {
        let mut reached = interval.start;
        for (start, span) in self.spans_in(interval) {
            if *start > reached || span.hidden || span.version.as_str() <= version {
                return false;
            }
            reached = span.end;
        }
        reached >= interval.end && !interval.is_empty()
    }

    /// The segments whose intervals overlap `within`, visible or not, each with the core of its set as it was given.
    pub fn overlaps(&self, within: Interval) -> impl Iterator<Item = (&SegmentId, u32, &T)> {
        self.overlapping(within)
            .flat_map(|(_, _, set)| &set.partitions)
            .map(|entry| (&entry.id, entry.core, &entry.item))
    }

    /// The intervals and versions of the sets that overlap `within`, visible or not.
    pub fn sets(&self, within: Interval) -> Vec<(Interval, &str)> {
        self.overlapping(within).map(|(interval, version, _)| (interval, version)).collect()
    }

    fn spans_in(&self, within: Interval) -> impl Iterator<Item = (&i64, &Span)> {
        let first = self.spans.range(..=within.start).next_back().map_or(within.start, |(start, _)| *start);
        let end = if within.is_empty() { first } else { within.end };
        self.spans.range(first..end.max(first)).filter(move |(_, span)| span.end > within.start)
    }

    fn overlapping(&self, within: Interval) -> impl Iterator<Item = (Interval, &str, &Set<T>)> {
        let from = Interval { start: within.start.saturating_sub(self.longest), end: i64::MIN };
        let to = Interval { start: within.end.max(from.start), end: i64::MIN };
        self.sets
            .range(from..to)
            .filter(move |(interval, _)| interval.overlaps(&within) && !interval.is_empty())
            .flat_map(|(interval, versions)| {
                versions.0.iter().map(move |(version, set)| (*interval, version.as_str(), set))
            })
    }

    /// Computes the spans within `within` anew, by a sweep over the sets that overlap it.
    fn settle(&mut self, within: Interval) {
        if within.is_empty() {
            return;
        }
        let mut edges: Vec<(i64, bool, (bool, &str), Interval)> = Vec::new();
        for (interval, version, set) in self.overlapping(within) {
            let part = interval.intersect(&within);
            let rank = (set.is_complete(), version);
            edges.push((part.start, true, rank, interval));
            edges.push((part.end, false, rank, interval));
        }
        edges.sort_unstable();

        // The complete sets of the newest version come last in this map, incomplete ones before all complete ones.
        let mut active: BTreeMap<(bool, &str), Vec<Interval>> = BTreeMap::new();
        let mut fresh: Vec<(i64, Span)> = Vec::new();
        let mut at = 0;
        while at < edges.len() {
            let instant = edges[at].0;
            while at < edges.len() && edges[at].0 == instant {
                let (_, opens, rank, interval) = edges[at];
                let sets = active.entry(rank).or_default();
                if opens {
                    sets.push(interval);
                } else {
                    sets.retain(|set| *set != interval);
                    if sets.is_empty() {
                        active.remove(&rank);
                    }
                }
                at += 1;
            }
            if let (Some(((complete, version), sets)), Some(next)) = (active.last_key_value(), edges.get(at)) {
                let mut sets = sets.clone();
                sets.sort_unstable();
                let hidden = !complete;
                let version = if hidden { String::new() } else { version.to_string() };
                if hidden {
                    sets.clear();
                }
                fresh.push((instant, Span { end: next.0, version, sets, hidden }));
            }
        }

        self.cut(within);
        self.spans.extend(fresh);
        self.join(within);
    }

    /// Removes what spans say of `within`, keeping the parts that stick out.
    fn cut(&mut self, within: Interval) {
        if let Some((start, span)) = self.spans.range(..within.start).next_back()
            && span.end > within.start
        {
            let (start, right) = (*start, span.clone());
            if let Some(left) = self.spans.get_mut(&start) {
                left.end = within.start;
            }
            self.spans.insert(within.start, right);
        }
        let inside: Vec<i64> = self.spans.range(within.start..within.end).map(|(start, _)| *start).collect();
        for start in inside {
            if let Some(span) = self.spans.remove(&start).filter(|span| span.end > within.end) {
                self.spans.insert(within.end, span);
            }
        }
    }

    /// Makes neighbours that say the same one span, from the one before `within` to the one after it.
    fn join(&mut self, within: Interval) {
        let first = self.spans.range(..within.start).next_back().map_or(within.start, |(start, _)| *start);
        let starts: Vec<i64> = self.spans.range(first..=within.end).map(|(start, _)| *start).collect();
        let mut previous: Option<i64> = None;
        for start in starts {
            let same = previous.is_some_and(|before| {
                let (left, right) = (&self.spans[&before], &self.spans[&start]);
                left.end == start
                    && (left.hidden, &left.version, &left.sets) == (right.hidden, &right.version, &right.sets)
            });
            match (same, previous) {
                (true, Some(before)) => {
                    if let Some(right) = self.spans.remove(&start)
                        && let Some(left) = self.spans.get_mut(&before)
                    {
                        left.end = right.end;
                    }
                }
                _ => previous = Some(start),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(start: i64, end: i64, version: &str, partition: u32) -> SegmentId {
        SegmentId { datasource: "d".into(), interval: Interval { start, end }, version: version.into(), partition }
    }

    fn shown(timeline: &Timeline<()>, start: i64, end: i64) -> Vec<String> {
        timeline
            .visible(Interval { start, end })
            .iter()
            .map(|s| format!("{}#{} {}..{}", s.id.version, s.id.partition, s.interval.start, s.interval.end))
            .collect()
    }

    #[test]
    fn a_newer_version_covers_the_middle_of_an_older_one() {
        let mut timeline = Timeline::new();
        timeline.add(id(0, 24, "v1", 0), ());
        timeline.add(id(0, 24, "v1", 1), ());
        timeline.add(id(8, 10, "v2", 0), ());
        assert_eq!(shown(&timeline, 0, 24), ["v1#0 0..8", "v1#1 0..8", "v2#0 8..10", "v1#0 10..24", "v1#1 10..24"]);
        assert_eq!(shown(&timeline, 9, 12), ["v2#0 9..10", "v1#0 10..12", "v1#1 10..12"]);
        assert!(timeline.overshadowed().is_empty());
        timeline.remove(&id(8, 10, "v2", 0));
        assert_eq!(shown(&timeline, 0, 24), ["v1#0 0..24", "v1#1 0..24"]);
    }

    #[test]
    fn a_set_with_a_core_shows_only_when_whole() {
        let mut timeline = Timeline::new();
        timeline.add(id(0, 10, "v1", 0), ());
        timeline.add_partition(id(0, 10, "v2", 1), 2, ());
        assert_eq!(shown(&timeline, 0, 10), ["v1#0 0..10"]);
        assert!(timeline.overshadowed().is_empty());
        timeline.add_partition(id(0, 10, "v2", 0), 2, ());
        timeline.add_partition(id(0, 10, "v2", 2), 2, ());
        assert_eq!(shown(&timeline, 0, 10), ["v2#0 0..10", "v2#1 0..10", "v2#2 0..10"]);
        assert_eq!(timeline.overshadowed(), [id(0, 10, "v1", 0)]);
        timeline.remove(&id(0, 10, "v1", 0));
        timeline.remove(&id(0, 10, "v2", 1));
        assert!(shown(&timeline, 0, 10).is_empty());
        assert_eq!(timeline.hidden(Interval { start: 2, end: 20 }), [Interval { start: 2, end: 10 }]);
    }

    #[test]
    fn several_small_newer_ones_overshadow_a_large_one() {
        let mut timeline = Timeline::new();
        timeline.add(id(0, 3, "v1", 0), ());
        for start in 0..3 {
            assert!(timeline.overshadowed().is_empty());
            timeline.add(id(start, start + 1, "v2", 0), ());
        }
        assert_eq!(timeline.overshadowed(), [id(0, 3, "v1", 0)]);
    }

    #[test]
    fn the_widest_interval_is_held() {
        let mut timeline = Timeline::new();
        timeline.add(SegmentId { interval: Interval::ETERNITY, ..id(0, 0, "v1", 0) }, ());
        timeline.add(id(0, 5, "v2", 0), ());
        assert_eq!(timeline.visible(Interval::ETERNITY).len(), 3);
        assert_eq!(shown(&timeline, 3, 7), ["v2#0 3..5", "v1#0 5..7"]);
    }

    /// The definition, instant by instant: the newest version with a complete set there, all sets of it.
    fn naive(known: &BTreeMap<SegmentId, u32>, instant: i64) -> BTreeSet<SegmentId> {
        let complete: Vec<&SegmentId> = known
            .keys()
            .filter(|id| id.interval.contains(instant))
            .filter(|id| {
                let set = || known.iter().filter(|(o, _)| o.interval == id.interval && o.version == id.version);
                let core = set().map(|(_, core)| *core).max().unwrap_or(0);
                (0..core).all(|wanted| set().any(|(o, _)| o.partition == wanted))
            })
            .collect();
        let newest = complete.iter().map(|id| &id.version).max();
        complete.iter().filter(|id| Some(&id.version) == newest).map(|id| (*id).clone()).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(
            steps in prop::collection::vec(
                (any::<bool>(), 0i64..12, 1i64..8, 0u8..4, 0u32..3, 0u32..3), 1..60),
            within in (-1i64..14, 0i64..14),
        ) {
            let mut timeline = Timeline::new();
            let mut known: BTreeMap<SegmentId, u32> = BTreeMap::new();
            for (add, start, length, version, partition, core) in steps {
                let id = id(start, start + length, &format!("v{version}"), partition);
                if add {
                    let before = timeline.add_partition(id.clone(), core, core);
                    prop_assert_eq!(before, known.insert(id, core));
                } else {
                    // Removing something that is there is the interesting case.
                    let target = known.keys().nth(start as usize % known.len().max(1)).cloned().unwrap_or(id);
                    prop_assert_eq!(timeline.remove(&target), known.remove(&target));
                }
                prop_assert_eq!(timeline.len(), known.len());
            }

            let within = Interval { start: within.0, end: within.0 + within.1 };
            let slices = timeline.visible(within);
            for instant in -2..30 {
                let found: Vec<SegmentId> = slices
                    .iter().filter(|s| s.interval.contains(instant)).map(|s| s.id.clone()).collect();
                let expected = if within.contains(instant) { naive(&known, instant) } else { BTreeSet::new() };
                prop_assert_eq!(found.len(), expected.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
                let hidden = within.contains(instant)
                    && naive(&known, instant).is_empty()
                    && known.keys().any(|id| id.interval.contains(instant));
                prop_assert_eq!(timeline.hidden(within).iter().any(|i| i.contains(instant)), hidden);
            }
            for slice in &slices {
                prop_assert!(!slice.interval.is_empty());
                prop_assert_eq!(known.get(&slice.id), Some(&slice.item));
            }
            for pair in slices.windows(2) {
                prop_assert!(pair[0].interval.start <= pair[1].interval.start);
            }

            let overshadowed: BTreeSet<SegmentId> = timeline.overshadowed().into_iter().collect();
            for id in known.keys() {
                let covered = (id.interval.start..id.interval.end).all(|instant| {
                    naive(&known, instant).iter().any(|winner| winner.version > id.version)
                });
                prop_assert_eq!(overshadowed.contains(id), covered);
            }
        }
    }
}
