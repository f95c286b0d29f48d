//! What counts: from the picture to the next view.
//!
//! The catalog says at once what is to be seen, and nodes follow one by one. So a view stands on segments of its own, and
//! goes over to those of the catalog in steps that are each whole:
//!
//! 1. What is to come and what is to go is set beside each other: used segments that are not overshadowed and do not stand
//!    yet; segments that stand and are not so any more; realtime rows that are published by now.
//! 2. Those belong together that are of one file, and those that overlap where another version is to be seen than stands.
//!    At every instant of time, what belongs to it is together, or is beside what stands and changes nothing of it.
//! 3. What belongs together goes over as soon as some node serves all that is to come of it, and not before.
//!
//! Rows that stood and that nobody has any more are missed: segments that no node serves, and rows of a lost task that are
//! published and do not stand yet. Of rows that were not published, the mark of their supervisor tells
//! ([`Picture::unsettled`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use segment::timeline::{Slice, Timeline};
use segment::{Interval, SegmentId};

use crate::catalog::SegmentRecord;
use crate::picture::Picture;
use crate::view::{Placed, Table, TableChanges, View, ViewChanges, ViewNode, name};

/// What the next view may be different for.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub nodes: bool,
    /// Datasources of which segments came or went, rows that are not published, or marks.
    pub tables: BTreeSet<String>,
    /// Segments that other nodes serve than before, by datasource.
    pub served: BTreeMap<String, BTreeSet<SegmentId>>,
}

impl Changed {
    pub fn is_empty(&self) -> bool {
        !self.nodes && self.tables.is_empty() && self.served.is_empty()
    }

    pub fn serves(&mut self, id: &SegmentId) {
        self.served.entry(id.datasource.clone()).or_default().insert(id.clone());
    }
}

/// What the newest view stands on.
#[derive(Default)]
pub(crate) struct Standing {
    is_begun: bool,
    tables: BTreeMap<String, Stand>,
}

/// A datasource.
#[derive(Default)]
struct Stand {
    published: Timeline<Stood>,
    realtime: BTreeMap<SegmentId, String>,
    /// Files whose realtime rows stood and are lost, before any of their names stand, with the rows' intervals.
    holes: BTreeMap<String, Vec<Interval>>,
    unserved: BTreeSet<SegmentId>,
    /// Where something stands and nothing is to be seen.
    hidden: Vec<Interval>,
    /// Segments that are to come and cannot be loaded.
    unloadable: Vec<Interval>,
    /// Whether something is to come or to go.
    is_moving: bool,
}

#[derive(Debug, Clone)]
struct Stood {
    core: u32,
    /// Whether it may hold rows that were seen before it was published.
    appended: bool,
    path: Arc<str>,
}

/// Something that is to come or to go.
enum Move<'a> {
    Add(&'a SegmentId, &'a Stood),
    Remove(SegmentId, Arc<str>),
    Retire(SegmentId, &'a str),
}

impl Move<'_> {
    fn id(&self) -> &SegmentId {
        match self {
            Move::Add(id, _) => id,
            Move::Remove(id, _) | Move::Retire(id, _) => id,
        }
    }

    fn path(&self) -> &str {
        match self {
            Move::Add(_, stood) => &stood.path,
            Move::Remove(_, path) => path,
            Move::Retire(_, path) => path,
        }
    }
}

impl Standing {
    /// Whether there is a view of this leader.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether the newest view has it among published segments.
    pub fn has(&self, id: &SegmentId) -> bool {
        self.tables.get(&id.datasource).is_some_and(|stand| stand.published.get(id).is_some())
    }

    /// Whether the newest view has rows under this name that are not published in it.
    pub fn has_realtime(&self, id: &SegmentId) -> bool {
        self.tables.get(&id.datasource).is_some_and(|stand| stand.realtime.contains_key(id))
    }

    /// Goes over to the next view: what is different in it from this one.
    pub fn step(&mut self, picture: &Picture, mut changed: Changed, view: &View) -> ViewChanges {
        let begins = !std::mem::replace(&mut self.is_begun, true);
        if begins {
            changed.nodes = true;
            changed.tables.extend(picture.segments.keys().chain(view.tables.keys()).cloned());
            changed.tables.extend(picture.unsettled.values().cloned());
            changed.tables.extend(picture.realtime().map(|(id, _)| id.datasource.clone()));
        }
        let mut changes = ViewChanges::default();
        if changed.nodes {
            changes.nodes = changed_nodes(picture, view);
        }
        let mut realtime: BTreeMap<&str, BTreeMap<&SegmentId, &str>> = BTreeMap::new();
        let names: BTreeSet<&String> = changed.tables.iter().chain(changed.served.keys()).collect();
        for (id, node) in picture.realtime().filter(|(id, _)| names.contains(&id.datasource)) {
            realtime.entry(&id.datasource).or_default().entry(id).or_insert(node);
        }
        let (empty, none) = (Table::default(), BTreeMap::new());
        for datasource in names {
            let stand = self.tables.entry(datasource.clone()).or_default();
            let shown = view.tables.get(datasource).map_or(&empty, |table| &**table);
            let is_moved = changed.tables.contains(datasource) || stand.is_moving;
            let mut table = TableChanges::default();
            if is_moved {
                let realtime = realtime.get(datasource.as_str()).unwrap_or(&none);
                stand.go_over(picture, datasource, realtime, begins);
                table = stand.changes(picture, shown);
            } else if let Some(served) = changed.served.get(datasource) {
                table = stand.changes_served(picture, shown, served);
            }
            let incomplete = stand.incomplete(picture, datasource);
            table.incomplete = (incomplete != shown.incomplete).then_some(incomplete);
            if stand.is_empty() {
                self.tables.remove(datasource);
            }
            if table != TableChanges::default() {
                changes.tables.insert(datasource.clone(), table);
            }
        }
        changes
    }
}

impl Stand {
    fn is_empty(&self) -> bool {
        self.published.is_empty() && self.realtime.is_empty() && self.holes.is_empty() && !self.is_moving
    }

    /// `realtime` is what nodes have. With `begins` nothing is known of what stood before: all that is to be seen stands.
    fn go_over(&mut self, picture: &Picture, datasource: &str, realtime: &BTreeMap<&SegmentId, &str>, begins: bool) {
        let wanted = wanted(picture, datasource);
        let mut names: HashMap<&str, Vec<&SegmentId>> = HashMap::new();
        for (id, stood) in &wanted {
            names.entry(&stood.path).or_default().push(id);
        }
        let names_of = |path: &str| names.get(path).map_or(&[][..], Vec::as_slice);

        self.lose(picture, realtime, &names_of);
        if begins {
            let at_a_node: BTreeSet<&str> = realtime.keys().filter_map(|id| picture.path(id)).collect();
            for (id, stood) in wanted.iter().filter(|(_, stood)| !at_a_node.contains(&*stood.path)) {
                self.published.add_partition(id.clone(), stood.core, stood.clone());
            }
        }
        // A file may stand under a name that is to go, and wait for those that are to come.
        let stood: HashSet<Arc<str>> = self.published.iter().map(|(_, stood)| Arc::clone(&stood.path)).collect();
        for (id, node) in realtime {
            let counts = picture.path(id).is_none_or(|path| !names_of(path).is_empty() && !stood.contains(path));
            if counts && !self.realtime.contains_key(*id) {
                self.realtime.insert(SegmentId::clone(id), node.to_string());
            }
        }
        self.advance(picture, datasource, &wanted);
        let published = &self.published;
        // A task that was told another name for its rows has them under that one now.
        let at_a_node: HashSet<&str> = self.realtime.keys().filter_map(|id| picture.path(id)).collect();
        if picture.unsettled.values().any(|unsettled| unsettled == datasource) {
            // Rows that were seen may be among those that were read again and published before any node told of them.
            // The mark does not wait for these to stand.
            for (id, stood) in wanted.iter().filter(|(id, stood)| stood.appended && published.get(id).is_none()) {
                let hole = self.holes.entry(stood.path.to_string()).or_default();
                if !hole.contains(&id.interval) {
                    hole.push(id.interval);
                }
            }
        }
        self.holes.retain(|path, _| !at_a_node.contains(path.as_str()));
        self.holes.retain(|path, _| names_of(path).iter().any(|name| published.get(name).is_none()));
        self.unserved = published.iter().map(|(id, _)| id).filter(|id| picture.is_missing(id)).cloned().collect();
        self.hidden = published.hidden(Interval::ETERNITY);
        let is_missed =
            |id: &&SegmentId| published.get(id).is_none() && !picture.is_served(id) && picture.is_broken(id);
        self.unloadable = wanted.keys().filter(is_missed).map(|id| id.interval).collect();
    }

    /// Takes out realtime rows that are not at their node any more.
    fn lose<'a>(
        &mut self,
        picture: &Picture,
        realtime: &BTreeMap<&SegmentId, &str>,
        names_of: &impl Fn(&str) -> &'a [&'a SegmentId],
    ) {
        let (holes, published) = (&mut self.holes, &self.published);
        self.realtime.retain(|id, node| {
            if realtime.get(id).is_some_and(|there| there == node) {
                return true;
            }
            if let Some(path) = picture.path(id)
                && names_of(path).iter().any(|name| published.get(name).is_none())
            {
                holes.entry(path.to_string()).or_default().push(id.interval);
            }
            false
        });
    }

    fn advance(&mut self, picture: &Picture, datasource: &str, wanted: &BTreeMap<SegmentId, Stood>) {
        let mut moves: Vec<Move> = Vec::new();
        let missing = wanted.iter().filter(|(id, _)| self.published.get(id).is_none());
        moves.extend(missing.map(|(id, stood)| Move::Add(id, stood)));
        let superfluous = self.published.iter().filter(|(id, _)| !wanted.contains_key(id));
        moves.extend(superfluous.map(|(id, stood)| Move::Remove(id.clone(), Arc::clone(&stood.path))));
        let of_file = self.realtime.keys().filter_map(|id| Some((id, picture.path(id)?)));
        moves.extend(of_file.map(|(id, path)| Move::Retire(id.clone(), path)));
        self.is_moving = false;
        if moves.is_empty() {
            return;
        }

        let windows: Vec<Interval> = moves.iter().map(|step| step.id().interval).collect();
        let timeline = picture.segments.get(datasource);
        let mut spans: Vec<Interval> = Vec::new();
        for window in Interval::merge(&windows) {
            let to_be = timeline.map(|timeline| runs(timeline.visible(window))).unwrap_or_default();
            spans.extend(differing(&runs(self.published.visible(window)), &to_be));
        }

        let mut groups = Groups::new(moves.len() + spans.len());
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        for (at, step) in moves.iter().enumerate() {
            groups.join(at, *first_of.entry(step.path()).or_insert(at));
            let within = step.id().interval;
            let from = spans.partition_point(|span| span.end <= within.start);
            for (span, _) in spans.iter().enumerate().skip(from).take_while(|(_, span)| span.start < within.end) {
                groups.join(at, moves.len() + span);
            }
        }
        let mut waiting: BTreeSet<usize> = BTreeSet::new();
        for (at, step) in moves.iter().enumerate() {
            if matches!(step, Move::Add(id, _) if picture.is_missing(id)) {
                waiting.insert(groups.of(at));
            }
        }
        self.is_moving = !waiting.is_empty();
        for (at, step) in moves.into_iter().enumerate() {
            if waiting.contains(&groups.of(at)) {
                continue;
            }
            match step {
                Move::Add(id, stood) => drop(self.published.add_partition(id.clone(), stood.core, stood.clone())),
                Move::Remove(id, _) => drop(self.published.remove(&id)),
                Move::Retire(id, _) => drop(self.realtime.remove(&id)),
            }
        }
    }

    /// What is different from what is shown, but for incomplete intervals.
    fn changes(&self, picture: &Picture, shown: &Table) -> TableChanges {
        let mut changes = TableChanges::default();
        for (id, stood) in self.published.iter() {
            let nodes = picture.serving(id);
            if !shown.published.get(id).is_some_and(|placed| placed.core == stood.core && placed.nodes == nodes) {
                changes.published.push((name(id), Some(Placed { core: stood.core, nodes })));
            }
        }
        let gone = shown.published.iter().filter(|(id, _)| self.published.get(id).is_none());
        changes.published.extend(gone.map(|(id, _)| (name(id), None)));
        for (id, node) in &self.realtime {
            if shown.realtime.get(id) != Some(node) {
                changes.realtime.push((name(id), Some(node.clone())));
            }
        }
        let gone = shown.realtime.keys().filter(|id| !self.realtime.contains_key(id));
        changes.realtime.extend(gone.map(|id| (name(id), None)));
        changes
    }

    /// As `changes`, where nothing moves and other nodes serve these.
    fn changes_served(&mut self, picture: &Picture, shown: &Table, served: &BTreeSet<SegmentId>) -> TableChanges {
        let mut changes = TableChanges::default();
        for id in served {
            let Some(stood) = self.published.get(id) else { continue };
            let nodes = picture.serving(id);
            if picture.is_missing(id) {
                self.unserved.insert(id.clone());
            } else {
                self.unserved.remove(id);
            }
            if shown.published.get(id).is_none_or(|placed| placed.nodes != nodes) {
                changes.published.push((name(id), Some(Placed { core: stood.core, nodes })));
            }
        }
        changes
    }

    fn incomplete(&self, picture: &Picture, datasource: &str) -> Vec<Interval> {
        if picture.unsettled.values().any(|unsettled| unsettled == datasource) {
            return vec![Interval::ETERNITY];
        }
        let is_seen = |id: &&SegmentId| !self.published.is_overshadowed(id.interval, &id.version);
        let mut missing: Vec<Interval> = self.unserved.iter().filter(is_seen).map(|id| id.interval).collect();
        missing.extend(self.holes.values().flatten());
        missing.extend(&self.hidden);
        missing.extend(&self.unloadable);
        Interval::merge(&missing)
    }
}

/// What is to be seen of a datasource. What rules have loaded nowhere is left out, but for what hides older rows that would
/// be seen again.
fn wanted(picture: &Picture, datasource: &str) -> BTreeMap<SegmentId, Stood> {
    let Some(timeline) = picture.segments.get(datasource) else { return BTreeMap::new() };
    let seen = timeline.iter().filter(|(id, _)| !timeline.is_overshadowed(id.interval, &id.version));
    let stood = |record: &SegmentRecord| Stood {
        core: record.meta.core_partitions,
        appended: record.appended,
        path: record.meta.path.as_str().into(),
    };
    let is_loaded = |id: &SegmentId| !picture.fleet.is_unwanted(id);
    let hides = |id: &SegmentId| {
        let mut others = timeline.overlaps(id.interval).filter(|(other, _, _)| other.version < id.version);
        others.any(|(other, _, _)| !timeline.is_overshadowed(other.interval, &other.version) && is_loaded(other))
    };
    let counted = seen.filter(|(id, _)| is_loaded(id) || hides(id));
    counted.map(|(id, record)| (id.clone(), stood(record))).collect()
}

fn changed_nodes(picture: &Picture, view: &View) -> BTreeMap<String, Option<ViewNode>> {
    let mut changed: BTreeMap<String, Option<ViewNode>> = BTreeMap::new();
    for (node, member) in &picture.members {
        let now = ViewNode::from(&member.told);
        if view.nodes.get(node) != Some(&now) {
            changed.insert(node.clone(), Some(now));
        }
    }
    let gone = view.nodes.keys().filter(|node| !picture.members.contains_key(*node));
    changed.extend(gone.map(|node| (node.clone(), None)));
    changed
}

/// Which version is to be seen when. Of those that are given no two versions overlap.
fn runs<T>(mut slices: Vec<Slice<T>>) -> Vec<(Interval, String)> {
    slices.sort_by_key(|slice| slice.interval.start);
    let mut runs: Vec<(Interval, String)> = Vec::new();
    for slice in slices {
        match runs.last_mut() {
            Some((run, version)) if *version == slice.id.version && slice.interval.start <= run.end => {
                run.end = run.end.max(slice.interval.end);
            }
            _ => runs.push((slice.interval, slice.id.version)),
        }
    }
    runs
}

/// Where the versions are not the same, in order.
fn differing(one: &[(Interval, String)], other: &[(Interval, String)]) -> Vec<Interval> {
    let mut edges: Vec<i64> = one.iter().chain(other).flat_map(|(run, _)| [run.start, run.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut differing = Vec::new();
    let (mut at, mut other_at) = (0, 0);
    for pair in edges.windows(2) {
        let version = |runs: &'_ [(Interval, String)], at: &mut usize| {
            while runs.get(*at).is_some_and(|(run, _)| run.end <= pair[0]) {
                *at += 1;
            }
            runs.get(*at).filter(|(run, _)| run.start <= pair[0]).map(|(_, version)| version.clone())
        };
        if version(one, &mut at) != version(other, &mut other_at) {
            differing.push(Interval { start: pair[0], end: pair[1] });
        }
    }
    differing
}

/// Numbers that belong together.
struct Groups(Vec<usize>);

impl Groups {
    fn new(len: usize) -> Groups {
        Groups((0..len).collect())
    }

    fn of(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}
