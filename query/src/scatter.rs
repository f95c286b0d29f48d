//! One query's dealings with the cluster.
//!
//! 1. The picture says which segments are wanted and who has them; the segments are dealt out to nodes ([`Request::deal`]),
//!    and the nodes are asked all at once.
//! 2. What is folded ([`gather`]) is taken in answer by answer, each whole or not at all. What is listed ([`rows`]) is passed on
//!    as it comes, and of each segment it is known how many rows have left: so no row is ever counted twice.
//! 3. Segments that a node does not serve, or did not answer for, are asked elsewhere; when nobody is left, of nodes that mend
//!    broken copies, then by a newer picture. If that shows other segments than those that are taken in already, all begins anew by it.
//! 4. What cannot be reached in the end is an error that names it, or left out and told if the query takes that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use segment::lookup::Lookups;
use segment::{Interval, SegmentId};
use tokio::time::Instant;

use crate::admission::{Principal, Sight};
use crate::budget::Budget;
use crate::cluster::{Asked, Asking, ClusterView, NodeAsk, Scatter, What};
use crate::error::{Error, Result};
use crate::language::{Query, Scope};
use crate::node::Node;
use crate::policy::Restriction;
use crate::source::exact_intervals;
use crate::view::incomplete_of;

mod chunk;
pub mod gather;
mod kept;
pub mod remote;
pub mod rows;
mod run;

/// The cluster, and how it is asked.
pub struct Cluster {
    pub view: Arc<dyn ClusterView>,
    pub settings: Scatter,
    /// Moves on with every query, so that replicas share the work.
    pub turn: AtomicUsize,
    /// By table, of which picture, see [`Request::witnesses`].
    pub witnesses: Mutex<HashMap<String, (u64, Arc<Witnesses>)>>,
}

/// What is known of all of a table, wherever a query looks.
pub struct Witnesses {
    /// Of each set of nodes that has any of it one segment, to be asked about without an interval: once of each of these nodes,
    /// of the others in its place.
    segments: Vec<WantedSegment>,
    /// By which it is told from what it was at other times; `None` while some of it grows.
    mark: Option<u64>,
}

/// A query that was let in, to be answered by nodes.
#[derive(Clone)]
pub struct Request {
    pub cluster: Arc<Cluster>,
    /// The threads and the rules of this process.
    pub node: Arc<Node>,
    pub lookups: Arc<Lookups>,
    pub who: Principal,
    pub sight: Arc<Sight>,
    pub budget: Arc<Budget>,
}

/// What is wanted, as of one picture.
pub struct Wanted {
    pub number: u64,
    /// By interval, then id; after these, those of which no rows are asked for.
    pub segments: Vec<WantedSegment>,
    pub incomplete: Vec<(String, Interval)>,
}

#[derive(Clone)]
pub struct WantedSegment {
    pub asked: Asked,
    pub nodes: Vec<String>,
    pub grows: bool,
}

impl WantedSegment {
    /// Whether it is asked only if it is there, of its first node if that answers.
    pub fn is_witness(&self) -> bool {
        self.asked.intervals.is_empty()
    }
}

/// Segments that one node is asked about, by their places in what is wanted.
pub type Lot = (String, Vec<usize>);

impl Request {
    /// What a query over tables wants.
    pub fn wanted(&self, scope: &Scope) -> Result<Wanted> {
        let mut tables = scope.source.tables();
        tables.sort_unstable();
        tables.dedup();
        let mut intervals: BTreeMap<&str, Vec<Interval>> = BTreeMap::new();
        for table in &tables {
            let own = match self.sight.of(table)? {
                Restriction::Unrestricted => None,
                Restriction::Restricted(restricted) => restricted.rounding()?,
            };
            intervals.insert(
                table,
                match own {
                    None => scope.intervals.clone(),
                    Some(rounding) => exact_intervals(&rounding, &scope.intervals),
                },
            );
        }
        let all: Vec<Interval> = intervals.values().flatten().copied().collect();
        let routes = self.cluster.view.routes(&tables, &Interval::merge(&all));
        let mut found: Vec<WantedSegment> = Vec::with_capacity(routes.slices.len());
        for route in routes.slices {
            let Some(own) = intervals.get(route.id.datasource.as_str()) else { continue };
            if scope.segment.as_ref().is_some_and(|only| *only != route.id) {
                continue;
            }
            let within = own.iter().map(|interval| interval.intersect(&route.interval));
            let within: Vec<Interval> = within.filter(|interval| !interval.is_empty()).collect();
            if !within.is_empty() {
                let asked = Asked { id: route.id, intervals: within };
                found.push(WantedSegment { asked, nodes: route.nodes, grows: route.grows });
            }
        }
        // A segment is there once for each part of its time that is visible.
        found.sort_by(|a, b| (a.asked.id.interval, &a.asked.id).cmp(&(b.asked.id.interval, &b.asked.id)));
        found.dedup_by(|later, first| {
            let same = later.asked.id == first.asked.id;
            if same {
                first.asked.intervals.append(&mut later.asked.intervals);
            }
            same
        });
        for one in found.iter_mut().filter(|one| one.asked.intervals.len() > 1) {
            one.asked.intervals = Interval::merge(&one.asked.intervals);
        }
        let mut segments = found;
        for table in tables {
            if matches!(self.sight.of(table)?, Restriction::Unrestricted) {
                continue;
            }
            segments.extend(self.witnesses(table).segments.iter().cloned());
        }
        Ok(Wanted { number: routes.number, segments, incomplete: routes.incomplete })
    }

    /// A query of who sees a part of the rows asks every node that has any of the table, wherever it looks: else it would be told
    /// where there are rows by what becomes of it when a node is gone or stands still. What is kept of its answers is of all
    /// of the table too.
    fn witnesses(&self, table: &str) -> Arc<Witnesses> {
        let number = self.cluster.view.number();
        if let Some((_, known)) = self.cluster.witnesses.lock().get(table).filter(|(of, _)| *of == number) {
            return known.clone();
        }
        let routes = self.cluster.view.routes(&[table], &[Interval::ETERNITY]);
        let mut by_nodes: BTreeMap<Vec<String>, SegmentId> = BTreeMap::new();
        let (mut mark, mut grows) = (0u64, false);
        for route in routes.slices {
            grows |= route.grows;
            // In no order.
            mark = mark.wrapping_add(hash(&(&route.id, route.interval)));
            by_nodes.entry(route.nodes).or_insert(route.id);
        }
        let witnesses = by_nodes.into_iter().flat_map(|(nodes, id)| {
            // Where nobody has it, that is what is met.
            (0..nodes.len().max(1)).map(move |first| {
                let mut nodes = nodes.clone();
                nodes.rotate_left(first);
                // None of its rows are asked for.
                WantedSegment { asked: Asked { id: id.clone(), intervals: Vec::new() }, nodes, grows: false }
            })
        });
        let segments: Vec<WantedSegment> = witnesses.collect();
        let is_any = !segments.is_empty();
        let found = Arc::new(Witnesses { segments, mark: (!grows).then_some(mark) });
        // Names of tables that are not there are as many as anybody thinks of.
        if is_any {
            let mut kept = self.cluster.witnesses.lock();
            kept.retain(|_, (of, _)| *of == routes.number);
            kept.insert(table.to_string(), (routes.number, found.clone()));
        }
        found
    }

    /// What all of the tables is told by from what it was, of those of which the asker sees a part: in the order of their names.
    /// `None` while any of them grows.
    pub fn marks(&self, scope: &Scope) -> Result<Option<Vec<u64>>> {
        let mut tables = scope.source.tables();
        tables.sort_unstable();
        tables.dedup();
        let mut marks = Vec::new();
        for table in tables {
            if !matches!(self.sight.of(table)?, Restriction::Unrestricted) {
                let Some(mark) = self.witnesses(table).mark else { return Ok(None) };
                marks.push(mark);
            }
        }
        Ok(Some(marks))
    }

    /// Deals segments out to nodes that were not tried for them. Those for which nobody is left come second.
    ///
    /// Each goes to the one of its replicas that has fewest so far. Of who sees a part of the rows it goes to one by its own name:
    /// which of the rows that they see meet at a node tells nothing of what lies between these.
    pub fn deal(&self, wanted: &Wanted, places: &[usize], tried: &[HashSet<String>]) -> (Vec<Lot>, Vec<usize>) {
        let turn = self.cluster.turn.fetch_add(1, Ordering::Relaxed);
        let is_restricted = self.sight.is_restricted();
        let mut lots: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut stuck = Vec::new();
        for place in places {
            let one = &wanted.segments[*place];
            let first = match is_restricted {
                _ if one.is_witness() => 0,
                true => turn.wrapping_add(hash(&one.asked.id) as usize),
                false => turn,
            };
            let count = one.nodes.len();
            let left = (0..count).map(|n| one.nodes[(first % count + n) % count].as_str());
            let mut left = left.filter(|node| !tried[*place].contains(*node));
            let node = match is_restricted {
                true => left.next(),
                false => left.min_by_key(|node| lots.get(node).map_or(0, Vec::len)),
            };
            match node {
                Some(node) => lots.entry(node).or_default().push(*place),
                None => stuck.push(*place),
            }
        }
        (lots.into_iter().map(|(node, places)| (node.to_string(), places)).collect(), stuck)
    }

    /// What is wanted as of a newer picture, once one shows somebody else to ask about what is stuck, of whom these were tried; or
    /// as of the newest one after a time, for who failed may not fail now. Not later than the query may be.
    async fn shown(
        &self,
        wanted: &(impl Fn() -> Result<Wanted> + Sync),
        mut number: u64,
        stuck: HashMap<SegmentId, HashSet<String>>,
        (within, rest): (Duration, Duration),
    ) -> Result<Wanted> {
        let until = Instant::now() + within.min(self.budget.remaining());
        let waiting = async {
            loop {
                self.cluster.view.newer_than(number, until.saturating_duration_since(Instant::now())).await;
                // The next may show more of what came of one event.
                tokio::time::sleep(rest).await;
                let fresh = wanted()?;
                let others = |one: &WantedSegment| {
                    stuck.get(&one.asked.id).map(|tried| one.nodes.iter().any(|node| !tried.contains(node)))
                };
                let there: HashSet<&SegmentId> = fresh.segments.iter().map(|one| &one.asked.id).collect();
                let is_gone = stuck.keys().any(|id| !there.contains(id));
                if Instant::now() >= until || is_gone || fresh.segments.iter().filter_map(others).any(|shown| shown) {
                    return Ok(fresh);
                }
                number = fresh.number;
            }
        };
        tokio::select! {
            error = self.budget.ended() => Err(error),
            fresh = waiting => fresh,
        }
    }

    /// What a node is asked about some of what is wanted.
    pub fn ask(&self, wanted: &Wanted, places: &[usize], mut what: What) -> NodeAsk {
        let mut lookups = BTreeMap::new();
        if let What::Query(asking) = &mut what {
            self.budget.caching().tell(&mut asking.query);
            // Whatever names a lookup does so in an expression, by its name.
            let text = asking.query.to_string();
            if text.contains("lookup") {
                let named = self.lookups.all();
                let named = named.iter().filter(|(name, _)| text.contains(name.as_str()));
                lookups.extend(named.map(|(name, lookup)| (name.clone(), lookup.version.clone())));
            }
        }
        NodeAsk {
            query_id: self.budget.query_id().to_string(),
            who: self.who.clone(),
            keys: self.sight.keys(),
            what,
            segments: places.iter().map(|place| wanted.segments[*place].asked.clone()).collect(),
            remaining: self.budget.remaining(),
            memory_bytes: self.budget.memory_limit(),
            scan_bytes: self.budget.scan_left(),
            subquery_rows_max: self.budget.subquery_rows_max(),
            priority: self.budget.priority(),
            lookups,
        }
    }

    /// What of the query's intervals is not complete, of what is marked so anywhere.
    pub fn incomplete(&self, scope: &Scope, marked: &[(String, Interval)]) -> Result<Vec<Interval>> {
        let mut by_table: HashMap<&str, Vec<Interval>> = HashMap::new();
        marked.iter().for_each(|(table, interval)| by_table.entry(table).or_default().push(*interval));
        let mut all = Vec::new();
        for table in scope.source.tables() {
            if let Some(marked) = by_table.get(table) {
                all.extend(incomplete_of(self.sight.of(table)?, &scope.intervals, marked));
            }
        }
        Ok(Interval::merge(&all))
    }

    /// What is told of segments that cannot be reached. Where they are tells where there are rows.
    pub fn gaps(&self, scope: &Scope, wanted: &Wanted, places: &[usize]) -> Vec<Interval> {
        if places.is_empty() {
            return Vec::new();
        }
        if self.sight.is_restricted() {
            return scope.intervals.clone();
        }
        let of = |place: &usize| wanted.segments[*place].asked.intervals.clone();
        Interval::merge(&places.iter().flat_map(of).collect::<Vec<_>>())
    }

    /// Says which intervals cannot be reached, and why.
    pub fn unreachable(&self, gaps: &[Interval], last: Option<Error>) -> Error {
        match self.sight.is_restricted() {
            true => unreachable(gaps, last.map(Error::nameless)),
            false => unreachable(gaps, last),
        }
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A query as nodes get it.
pub fn asking(query: &Query) -> Asking {
    let part = query.for_nodes();
    Asking {
        query: part.to_json(),
        intervals: part.scope().intervals.clone(),
        types: Vec::new(),
        bare: false,
        since: i64::MIN,
    }
}

/// Whether another node may do better.
pub fn is_of_node(error: &Error) -> bool {
    match error {
        Error::Denied(_)
        | Error::Parse(_)
        | Error::NotFound(_)
        | Error::Capacity(_)
        | Error::Cancelled(_)
        | Error::Unavailable(_)
        | Error::Corrupt(_)
        | Error::Bug(_) => true,
        Error::Context(_) | Error::Invalid(_) | Error::Unsupported(_) | Error::ResourceLimit(_) | Error::Timeout(_) => {
            false
        }
    }
}

fn unreachable(gaps: &[Interval], last: Option<Error>) -> Error {
    if let Some(denied @ Error::Denied(_)) = last {
        return denied;
    }
    let intervals: Vec<String> = gaps.iter().map(Interval::to_string).collect();
    if let Some(Error::Corrupt(why)) = last {
        return Error::Unavailable(format!(
            "of segments of [{}] no copy is whole now: {why}; ask again, or allow returnPartialResults",
            intervals.join(", ")
        ));
    }
    let why = last.map_or_else(|| "no node serves them".to_string(), |error| error.to_string());
    Error::Unavailable(format!(
        "segments of [{}] cannot be reached now: {why}; ask again, or allow returnPartialResults",
        intervals.join(", ")
    ))
}
