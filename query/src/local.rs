//! The data node of this process: answers what brokers ask about the segments of its own inventory.
//!
//! 1. The query is read with the lookups that are here, and what its asker may see is worked out from the rules that are here;
//!    a difference to what the broker worked out is refused.
//! 2. Exactly the segments asked about are opened, whether the inventory shows them or not: the broker's picture decides. Those
//!    that are not served are told.
//! 3. The engine works as for any query, but what it makes is not finished: groups leave as states, rows as they come.
//! 4. Frames are made as they are read, one step ahead, and nothing is held for a reader who is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use segment::block::Block;
use segment::schema::ValueType;
use segment::{Interval, SegmentId};

use crate::admission::{Leaf, Sight};
use crate::broker::{AtNode, Broker, Receive, submit, wait};
use crate::budget::{Budget, Caching};
use crate::cache::parts::Folding;
use crate::cluster::{Asking, DataNode, NodeAnswer, NodeAsk, What};
use crate::deadline;
use crate::engine::rows::{Cursor, all_columns};
use crate::engine::{Piece, group, inspect, search};
use crate::error::{Error, Result};
use crate::language::context::Context;
use crate::language::{Query, ScanOrder};
use crate::source::{Ask, Origin};
use crate::table::Table;
use crate::view::{Listed, Stored};
use crate::wire::answer::{Closing, Opening, write_analyses};
use crate::wire::columns::{self, PieceColumns};
use crate::wire::frame::{self, Kind};
use crate::wire::groups::GroupFrames;
use crate::wire::table;

/// Asks that a node works on at once; more are refused, and may be asked of a replica.
const ASKS_MAX: usize = 1024;

/// Names of the columns that tell of a merged row when and where it is from.
pub const TIME_MARK: &str = "\u{0}time";
pub const PLACE_MARK: &str = "\u{0}place";

/// Answers for the segments of a broker's inventory, with its threads, rules, lookups and limits.
pub struct LocalNode {
    broker: Arc<Broker>,
    asks: Arc<AtomicUsize>,
}

/// A place among the asks at work.
struct Place {
    asks: Arc<AtomicUsize>,
    _at: AtNode,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.asks.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LocalNode {
    /// The broker is one over its own inventory ([`Broker::new`]); it need not be asked itself.
    pub fn new(broker: Arc<Broker>) -> Arc<LocalNode> {
        Arc::new(LocalNode { broker, asks: Arc::default() })
    }

    /// Asks at work now.
    pub fn asks(&self) -> usize {
        self.asks.load(Ordering::Relaxed)
    }

    /// An ask as it came over a wire.
    pub async fn run_bytes(&self, ask: &[u8]) -> Result<NodeAnswer> {
        self.run(&NodeAsk::from_bytes(ask)?).await
    }

    fn place(&self, budget: &Arc<Budget>, ask: &NodeAsk, sight: &Arc<Sight>) -> Result<Place> {
        let _at = self.broker.register_part(budget, &ask.who, sight);
        let place = Place { asks: self.asks.clone(), _at };
        if self.asks.fetch_add(1, Ordering::Relaxed) >= ASKS_MAX {
            return Err(Error::Capacity(format!("a data node works on [{ASKS_MAX}] asks already; try again later")));
        }
        Ok(place)
    }
}

#[async_trait]
impl DataNode for LocalNode {
    async fn run(&self, ask: &NodeAsk) -> Result<NodeAnswer> {
        let memory = ask.memory_bytes.min(self.broker.settings().memory_bytes);
        let budget = Budget::of_part(
            ask.query_id.clone(),
            ask.remaining.min(self.broker.settings().timeout_max),
            memory,
            ask.scan_bytes,
            ask.subquery_rows_max,
            ask.priority,
        );
        let budget = budget.within(&self.broker.settings().memory);
        let budget = Arc::new(match &ask.what {
            What::Columns => budget,
            What::Query(asking) => budget.with_caching(Caching::of(&Context::of(&asking.query)?)?),
        });
        let work = self.admit(ask, &budget)?;
        let sight = match &work {
            Admitted::Query(leaf, _) => leaf.sight().clone(),
            Admitted::Columns(sight) => sight.clone(),
        };
        let place = self.place(&budget, ask, &sight)?;
        let (broker, own, ask) = (self.broker.clone(), budget.clone(), ask.clone());
        let receive = submit(self.broker.pool(), &budget, move || begin(&broker, &ask, work, &own));
        Ok(answer(receive, self.broker.clone(), budget, place))
    }
}

/// What was let in.
enum Admitted {
    Query(Leaf, Box<Asking>),
    Columns(Arc<Sight>),
}

impl LocalNode {
    fn admit(&self, ask: &NodeAsk, budget: &Arc<Budget>) -> Result<Admitted> {
        budget.check()?;
        let authorizer = self.broker.authorizer();
        let known = self.broker.lookups().all();
        for (name, version) in &ask.lookups {
            if known.get(name).is_none_or(|lookup| lookup.version != *version) {
                return Err(Error::Unavailable(format!("lookup [{name}] is not the same on all nodes yet; ask again")));
            }
        }
        match &ask.what {
            What::Columns => {
                let sight = authorizer.sight_of_columns(&ask.who, &ask.keys)?;
                Ok(Admitted::Columns(Arc::new(sight)))
            }
            What::Query(asking) => {
                let parse = || Query::from_json(&asking.query);
                let mut query = authorizer.scope(self.broker.lookups(), &ask.who, parse)?;
                if !query.scope().source.is_stored() {
                    return Err(Error::Invalid("data nodes are asked about tables only".into()));
                }
                query.scope_mut().intervals = Interval::merge(&asking.intervals);
                let leaf = authorizer.admit_part(Arc::new(query), &ask.who, &ask.keys)?;
                Ok(Admitted::Query(leaf, asking.clone()))
            }
        }
    }
}

/// What is still to be sent.
enum Work {
    Groups(Box<GroupFrames>),
    Rows {
        cursor: Box<Cursor>,
        places: Vec<i64>,
        timed: bool,
    },
    /// Nothing; whether any row was selected.
    Done(bool),
}

/// Bytes of an answer that leaves in one piece, if there are no more: each piece has threads change at both ends.
const PIECE_BYTES: usize = 64 << 10;

/// Opens the segments, and makes the first frames.
fn begin(broker: &Broker, ask: &NodeAsk, work: Admitted, budget: &Arc<Budget>) -> Result<(Option<Work>, Vec<Bytes>)> {
    let (work, mut frames) = begun(broker, ask, work, budget)?;
    let mut work = Some(work);
    while let Some(next) = work.take_if(|work| !matches!(work, Work::Rows { .. })) {
        if frames.iter().map(Bytes::len).sum::<usize>() > PIECE_BYTES {
            work = Some(next);
            break;
        }
        let more;
        (work, more) = next.next_frames()?;
        frames.extend(more);
    }
    Ok((work, frames))
}

fn begun(broker: &Broker, ask: &NodeAsk, work: Admitted, budget: &Arc<Budget>) -> Result<(Work, Vec<Bytes>)> {
    let ids: Vec<SegmentId> = ask.segments.iter().map(|asked| asked.id.clone()).collect();
    let (generation, served) = broker.inventory().open(&ids);
    let mut opening = Opening::default();
    let mut segments = Vec::new();
    for (asked, served) in ask.segments.iter().zip(served) {
        match served {
            None => opening.missing.push(asked.id.clone()),
            Some(served) => {
                if matches!(served, segment::inventory::Served::Realtime(_)) {
                    opening.realtime.push(asked.id.clone());
                }
                // Of some it is asked only whether they are there.
                if !asked.intervals.is_empty() {
                    segments.push((asked.id.clone(), served, Interval::merge(&asked.intervals)));
                }
            }
        }
    }
    let marks = broker.inventory().incomplete().into_iter().filter(|(table, ..)| ask.keys.contains_key(table));
    let marks = marks.flat_map(|(table, _, intervals)| intervals.into_iter().map(move |i| (table.clone(), i)));
    opening.incomplete = marks.collect();
    let listed = Listed { generation, segments };
    match work {
        Admitted::Columns(sight) => columns_of(broker, listed, &sight, opening, budget),
        Admitted::Query(leaf, asking) => begin_query(broker, &ids, listed, &leaf, &asking, opening, budget),
    }
}

fn begin_query(
    broker: &Broker,
    ids: &[SegmentId],
    listed: Listed,
    leaf: &Leaf,
    asking: &Asking,
    mut opening: Opening,
    budget: &Arc<Budget>,
) -> Result<(Work, Vec<Bytes>)> {
    let query = leaf.query();
    let inner = |_: &Arc<Query>| Err(Error::Bug("a data node was asked about a query within".into()));
    let origin = Origin { stored: &listed, cache: broker.seen(), sight: leaf.sight(), budget, inner: &inner };
    let opened = origin.open(&query.scope().source, &Ask::of(query))?;
    let pieces = opened.pieces;
    opening.touched = !pieces.is_empty();
    opening.spans = group::spans_of(&pieces);
    opening.scanned = budget.scanned();
    opening.first = pieces.first().map(|piece| piece.id.clone());
    if matches!(**query, Query::SegmentMetadata(_)) {
        opening.newest = inspect::newest(&pieces, budget)?;
    }
    let mut frames = Vec::new();
    let work = match &**query {
        Query::Timeseries(_) | Query::TopN(_) | Query::GroupBy(_) => {
            let (caches, elsewhere) = (broker.caches(), Some(&asking.types[..]));
            let partial = Folding { caches, query, elsewhere, pool: broker.pool(), budget }.run(pieces)?;
            opening.types = partial.types.clone();
            Work::Groups(Box::new(GroupFrames::new(partial, opened.held)))
        }
        Query::Scan(scan) => {
            let timed = scan.order != ScanOrder::None;
            let place = |piece: &Piece| ids.iter().position(|id| *id == piece.id).map_or(-1, |at| at as i64);
            let places: Vec<i64> = pieces.iter().map(place).collect();
            if timed && scan.columns.is_empty() {
                for (piece, place) in pieces.iter().zip(&places) {
                    opening.names.push((*place as u32, all_columns(scan, piece)?));
                }
            }
            let cursor = Cursor::new(query.clone(), pieces, budget.clone(), opened.held)?;
            let cursor = Box::new(if asking.bare { cursor.bare() } else { cursor });
            Work::Rows { cursor, places, timed }
        }
        Query::Search(q) => {
            let hits = search::hits(q, &pieces, budget)?;
            frames.push(frame::write(Kind::Rows, &table::write(&search::unordered(hits), "")?));
            Work::Done(true)
        }
        Query::TimeBoundary(q) => {
            let times = inspect::times_of(q, &pieces, budget)?;
            frames.push(frame::write(Kind::Rows, &table::write(&times_table(times), "")?));
            Work::Done(true)
        }
        Query::DataSourceMetadata(_) => {
            let last = pieces.iter().filter_map(|piece| piece.time_range()).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            frames.push(frame::write(Kind::Rows, &table::write(&times_table(last), "")?));
            Work::Done(true)
        }
        Query::SegmentMetadata(q) => {
            let analyses = inspect::analyse_each(q, &pieces, asking.since, budget)?;
            frames.push(frame::write(Kind::Json, &write_analyses(analyses)));
            Work::Done(true)
        }
    };
    frames.insert(0, frame::write(Kind::Opening, &opening.to_bytes()));
    Ok((work, frames))
}

/// First and last time as a row, if there are.
fn times_table(times: Option<(i64, i64)>) -> Table {
    let long = |time: i64| Block::Long { values: vec![time], nulls: None };
    match times {
        None => Table::default(),
        Some((first, last)) => {
            let columns = [("first", first), ("last", last)];
            Table { columns: columns.map(|(name, time)| (name.into(), ValueType::Long, long(time))).to_vec(), rows: 1 }
        }
    }
}

fn columns_of(
    broker: &Broker,
    listed: Listed,
    sight: &Sight,
    mut opening: Opening,
    budget: &Arc<Budget>,
) -> Result<(Work, Vec<Bytes>)> {
    let inner = |_: &Arc<Query>| Err(Error::Bug("columns are asked of tables".into()));
    let origin = Origin { stored: &listed, cache: broker.seen(), sight, budget, inner: &inner };
    let ask =
        Ask { intervals: vec![Interval::ETERNITY], columns: None, filters: Vec::new(), segment: None, narrow: false };
    let mut told = Vec::new();
    for table in sight.keys().keys() {
        let opened = listed.open(&[table], &ask, &origin)?;
        opening.touched |= !opened.pieces.is_empty();
        for piece in &opened.pieces {
            budget.check()?;
            told.push(PieceColumns::of(piece)?);
        }
    }
    let frames =
        vec![frame::write(Kind::Opening, &opening.to_bytes()), frame::write(Kind::Json, &columns::write(&told))];
    Ok((Work::Done(true), frames))
}

impl Work {
    /// The next frames, the closing one last.
    fn next_frames(mut self) -> Result<(Option<Work>, Vec<Bytes>)> {
        let frames = match &mut self {
            Work::Done(_) => Vec::new(),
            Work::Groups(groups) => groups.next_frames()?,
            Work::Rows { cursor, places, timed } => match cursor.next_batch()? {
                None => Vec::new(),
                Some(batch) => vec![rows_frame(cursor, batch.table, batch.segment, places, *timed)?],
            },
        };
        if !frames.is_empty() {
            return Ok((Some(self), frames));
        }
        let matched = match &self {
            Work::Done(matched) => *matched,
            Work::Groups(groups) => groups.matched(),
            Work::Rows { .. } => true,
        };
        Ok((None, vec![frame::write(Kind::Closing, &Closing::Complete { matched }.to_bytes())]))
    }
}

/// Rows of one segment with its place and what it is called, or of several with the time and the place of each.
fn rows_frame(
    cursor: &Cursor,
    mut table: Table,
    segment: Option<String>,
    places: &[i64],
    timed: bool,
) -> Result<Bytes> {
    let (times, pieces) = cursor.marks();
    let of = |piece: &i64| places.get(*piece as usize).copied().unwrap_or(-1);
    let mut said = String::new();
    if timed {
        let long = |values: Vec<i64>| Block::Long { values, nulls: None };
        table.columns.push((TIME_MARK.into(), ValueType::Long, long(times.to_vec())));
        table.columns.push((PLACE_MARK.into(), ValueType::Long, long(pieces.iter().map(of).collect())));
    } else {
        said = serde_json::json!([pieces.first().map_or(-1, of), segment]).to_string();
    }
    Ok(frame::write(Kind::Rows, &table::write(&table, &said)?))
}

/// The next frames, with what is still to be sent after them.
type Step = Receive<(Option<Work>, Vec<Bytes>)>;

/// The frames of an answer; one step is made ahead.
fn answer(first: Step, broker: Arc<Broker>, budget: Arc<Budget>, place: Place) -> NodeAnswer {
    struct State {
        next: Option<Step>,
        broker: Arc<Broker>,
        budget: Arc<Budget>,
        _place: Place,
    }
    let failed = |error: &Error| frame::write(Kind::Closing, &Closing::failed(error).to_bytes());
    let (remaining, late) = (budget.remaining(), failed(&budget.timed_out()));
    let state = State { next: Some(first), broker, budget, _place: place };
    let frames = stream::unfold(state, move |mut state| async move {
        match wait(state.next.take()?, &state.budget).await {
            Ok((work, frames)) => {
                if let Some(work) = work {
                    let budget = state.budget.clone();
                    let later = submit(state.broker.pool(), &state.budget, move || {
                        budget.check()?;
                        work.next_frames()
                    });
                    state.next = Some(later);
                }
                Some((Ok(joined(frames)), state))
            }
            Err(error) => {
                let frame = frame::write(Kind::Closing, &Closing::failed(&error).to_bytes());
                Some((Ok(frame), state))
            }
        }
    });
    deadline::until(frames.boxed(), remaining, Ok(late))
}

fn joined(mut frames: Vec<Bytes>) -> Bytes {
    match frames.len() {
        1 => frames.remove(0),
        _ => frames.concat().into(),
    }
}
