//! Rows of nodes, passed on as they come: in the order of segments, or merged by time, ties by segment. Every node's stream
//! is read a few frames ahead and no further, so that memory is bounded and a slow reader holds up the nodes.
//!
//! A published segment's rows come in the same order from every node that has it. When a stream breaks, its segments are read
//! again elsewhere, and the rows of each that have left already are dropped. Realtime rows have no such order: once some
//! of a realtime segment have left, its loss is an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use segment::{Interval, SegmentId};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::chunk::{Chunk, chunk_of, cut, gathered};
use super::run::{Menders, Patience, tried_for};
use super::{Request, Wanted, is_of_node};
use crate::broker::{submit, wait};
use crate::cluster::{Asking, NodeAsk, What};
use crate::deadline;
use crate::error::{Error, Result};
use crate::language::{Query, Scan, ScanOrder};
use crate::table::{Batch, Table};
use crate::wire::answer::{Closing, Opening};
use crate::wire::frame::{Frames, Kind, broken};

/// Frames of a node that are read ahead.
const AHEAD: usize = 1;

/// A node's stream.
struct Source {
    node: String,
    /// Places of its segments that may have rows to come.
    places: Vec<usize>,
    chunks: mpsc::Receiver<Result<Chunk>>,
    head: Option<Chunk>,
    /// Rows of each segment that are to be dropped, for they have left already.
    drops: HashMap<usize, u64>,
    ended: bool,
    _task: Aborted,
}

/// A task that ends with whoever waits for it.
struct Aborted(AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A scan of tables over nodes, from the moment when all of them have begun.
pub struct Scanning {
    request: Request,
    query: Arc<Query>,
    asking: Asking,
    wanted: Wanted,
    tried: Vec<HashSet<String>>,
    menders: Menders,
    realtime: HashSet<usize>,
    sources: Vec<Source>,
    /// Rows of each segment that have left.
    left: HashMap<usize, u64>,
    skip: u64,
    rest: u64,
    names: Vec<String>,
    pub touched: bool,
    pub uncovered: Vec<Interval>,
}

impl Request {
    /// Begins a scan; `bare` leaves columns that a segment lacks out of its rows.
    pub async fn scan(&self, query: &Arc<Query>, bare: bool) -> Result<Scanning> {
        let Query::Scan(scan) = &**query else { return Err(Error::Bug("only scans list rows".into())) };
        let mut asking = super::asking(query);
        asking.bare = bare;
        let (mut patience, mut last) = (Patience::new(), None);
        let mut scanning = Scanning {
            request: self.clone(),
            query: query.clone(),
            asking,
            wanted: self.wanted(&scan.scope)?,
            tried: Vec::new(),
            menders: Menders::default(),
            realtime: HashSet::new(),
            sources: Vec::new(),
            left: HashMap::new(),
            skip: scan.offset,
            rest: scan.limit.unwrap_or(u64::MAX),
            names: scan.columns.clone(),
            touched: false,
            uncovered: Vec::new(),
        };
        loop {
            let count = scanning.wanted.segments.len();
            scanning.tried = vec![HashSet::new(); count];
            scanning.realtime.clear();
            scanning.sources.clear();
            let begun = tokio::select! {
                error = self.budget.ended() => return Err(error),
                begun = scanning.open((0..count).collect(), &mut last) => begun?,
            };
            let gaps = self.gaps(&scan.scope, &scanning.wanted, &begun.stuck);
            let wait = if begun.stuck.is_empty() { None } else { patience.wait(&self.cluster.settings) };
            if !begun.stuck.is_empty() && wait.is_none() && !self.budget.takes_gaps() {
                return Err(self.unreachable(&gaps, last));
            }
            let Some(patient) = wait else {
                let mut marked = scanning.wanted.incomplete.clone();
                marked.extend(begun.openings.iter().flat_map(|opening| opening.1.incomplete.iter().cloned()));
                let incomplete = self.incomplete(&scan.scope, &marked)?;
                scanning.uncovered = Interval::merge(&[gaps, incomplete].concat());
                scanning.touched = begun.openings.iter().any(|opening| opening.1.touched);
                scanning.name_columns(scan, begun.openings);
                return Ok(scanning);
            };
            let stuck = tried_for(&scanning.wanted, &begun.stuck, &scanning.tried);
            let wanted = || self.wanted(&scan.scope);
            scanning.wanted = self.shown(&wanted, scanning.wanted.number, stuck, patient).await?;
        }
    }
}

/// What came of asking nodes.
struct Begun {
    /// With the places that the node was asked about.
    openings: Vec<(Vec<usize>, Opening)>,
    stuck: Vec<usize>,
}

impl Scanning {
    /// Asks nodes about segments until each has its stream, or nobody is left to ask.
    async fn open(&mut self, places: Vec<usize>, last: &mut Option<Error>) -> Result<Begun> {
        let mut begun = Begun { openings: Vec::new(), stuck: Vec::new() };
        let mut pending = places;
        while !pending.is_empty() {
            let (lots, stuck) = self.request.deal(&self.wanted, &std::mem::take(&mut pending), &self.tried);
            begun.stuck.extend(stuck);
            let asks = lots.into_iter().map(|(node, places)| {
                let ask = self.request.ask(&self.wanted, &places, What::Query(Box::new(self.asking.clone())));
                let request = self.request.clone();
                async move {
                    let opened = request.begin(&node, &ask).await;
                    (node, places, opened)
                }
            });
            for (node, mut places, opened) in futures::future::join_all(asks.collect::<Vec<_>>()).await {
                let (opening, frames) = match opened {
                    Ok(opened) => opened,
                    Err(error) if !is_of_node(&error) => return Err(error),
                    Err(error) => {
                        self.menders.failed(&node, &error);
                        *last = Some(error);
                        places.iter().for_each(|place| {
                            self.tried[*place].insert(node.clone());
                        });
                        pending.extend(places);
                        continue;
                    }
                };
                if self.request.budget.is_scan_bounded() {
                    self.request.budget.scan(opening.scanned)?;
                }
                let asked = places.clone();
                let (missing, served): (Vec<usize>, Vec<usize>) = places
                    .drain(..)
                    .partition(|place| opening.missing.contains(&self.wanted.segments[*place].asked.id));
                for place in missing {
                    self.tried[place].insert(node.clone());
                    pending.push(place);
                }
                let realtime = |place: &&usize| opening.realtime.contains(&self.wanted.segments[**place].asked.id);
                self.realtime.extend(served.iter().filter(realtime));
                let (send, chunks) = mpsc::channel(AHEAD);
                let task: JoinHandle<()> =
                    tokio::spawn(self.request.clone().read(frames, asked.clone(), self.wanted.segments.len(), send));
                self.sources.push(Source {
                    node,
                    drops: served.iter().filter_map(|place| Some((*place, *self.left.get(place)?))).collect(),
                    places: served,
                    chunks,
                    head: None,
                    ended: false,
                    _task: Aborted(task.abort_handle()),
                });
                begun.openings.push((asked, opening));
            }
            if pending.is_empty() {
                pending = self.menders.ask_again(&mut begun.stuck, &mut self.tried);
            }
        }
        Ok(begun)
    }

    /// The batches of a scan by time share their columns: those of all segments, in their order.
    fn name_columns(&mut self, scan: &Scan, openings: Vec<(Vec<usize>, Opening)>) {
        if !scan.columns.is_empty() {
            return;
        }
        let mut all: Vec<(usize, Vec<String>)> = Vec::new();
        for (asked, opening) in openings {
            let of = |(at, names): (u32, Vec<String>)| Some((*asked.get(at as usize)?, names));
            all.extend(opening.names.into_iter().filter_map(of));
        }
        all.sort_by_key(|(place, _)| *place);
        for name in all.into_iter().flat_map(|(_, names)| names) {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// The segment of a place; `None` of rows of no segment.
    pub fn id(&self, place: usize) -> Option<&SegmentId> {
        self.wanted.segments.get(place).map(|one| &one.asked.id)
    }

    /// Makes sure that every stream shows its next rows, or has ended. A broken one is replaced.
    async fn fill(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.sources.len() {
            let source = &mut self.sources[at];
            if source.ended || source.head.is_some() {
                at += 1;
                continue;
            }
            let next = tokio::select! {
                error = self.request.budget.ended() => return Err(error),
                next = source.chunks.recv() => next,
            };
            match next {
                None => source.ended = true,
                Some(Ok(chunk)) => source.head = chunk.without(&mut source.drops),
                Some(Err(error)) if !is_of_node(&error) => return Err(error),
                Some(Err(error)) => {
                    let broken = self.sources.remove(at);
                    self.replace(broken, error).await?;
                    // Those before have their heads still; new ones stand behind.
                }
            }
        }
        self.sources.retain(|source| !source.ended || source.head.is_some());
        Ok(())
    }

    /// Reads elsewhere what a broken stream still had to give.
    async fn replace(&mut self, broken: Source, error: Error) -> Result<()> {
        let places: Vec<usize> = broken.places.clone();
        for place in &places {
            self.tried[*place].insert(broken.node.clone());
            if self.left.contains_key(place) && self.realtime.contains(place) {
                return Err(error);
            }
        }
        if self.left.contains_key(&self.wanted.segments.len()) {
            return Err(error);
        }
        self.menders.failed(&broken.node, &error);
        let mut last = Some(error);
        drop(broken);
        let request = self.request.clone();
        let begun = tokio::select! {
            error = request.budget.ended() => return Err(error),
            begun = self.open(places, &mut last) => begun?,
        };
        match begun.stuck.is_empty() {
            true => Ok(()),
            false => {
                let gaps = self.request.gaps(self.query.scope(), &self.wanted, &begun.stuck);
                Err(self.request.unreachable(&gaps, last))
            }
        }
    }

    /// The next rows in the order of segments.
    pub async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if self.rest == 0 {
                return Ok(None);
            }
            self.fill().await?;
            let heads = self.sources.iter().enumerate();
            let first = heads.filter_map(|(at, source)| Some((source.head.as_ref()?.place(), at))).min();
            let Some((place, at)) = first else { return Ok(None) };
            let source = &mut self.sources[at];
            // Its segments come in order.
            source.places.retain(|other| *other >= place);
            let Some(mut chunk) = source.head.take() else { continue };
            let rows = chunk.table.rows as u64;
            *self.left.entry(place).or_default() += rows;
            let skipped = self.skip.min(rows);
            self.skip -= skipped;
            let kept = (rows - skipped).min(self.rest);
            self.rest -= kept;
            if kept == 0 {
                continue;
            }
            cut(Arc::make_mut(&mut chunk.table), skipped as usize, kept as usize);
            return Ok(Some(chunk));
        }
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>> {
        match &*self.query.clone() {
            Query::Scan(scan) if scan.order != ScanOrder::None => self.next_timed(scan).await,
            _ => Ok(self
                .next_chunk()
                .await?
                .map(|chunk| Batch { segment: chunk.segment, table: Arc::unwrap_or_clone(chunk.table) })),
        }
    }

    async fn next_timed(&mut self, scan: &Scan) -> Result<Option<Batch>> {
        let descending = scan.order == ScanOrder::Descending;
        let most = (scan.batch_size as u64).min(self.rest) as usize;
        let mut tables: Vec<Arc<Table>> = Vec::new();
        let mut rows: Vec<(u32, u32)> = Vec::new();
        // Where a table is among those.
        let mut known: HashMap<usize, u32> = HashMap::new();
        while rows.len() < most {
            if self.sources.iter().any(|source| source.head.is_none()) {
                self.fill().await?;
            }
            let key = |source: &Source| {
                let chunk = source.head.as_ref()?;
                let time = chunk.times.get(chunk.at)?;
                Some((if descending { !time } else { *time }, chunk.places.get(chunk.at).copied()?))
            };
            let first = self.sources.iter().enumerate().filter_map(|(at, source)| Some((key(source)?, at))).min();
            let Some((_, at)) = first else { break };
            let others = self.sources.iter().enumerate().filter(|(other, _)| *other != at);
            let bound = others.filter_map(|(_, source)| key(source)).min();
            let source = &mut self.sources[at];
            let Some(chunk) = &mut source.head else { continue };
            let table = *known.entry(Arc::as_ptr(&chunk.table) as usize).or_insert_with(|| {
                tables.push(chunk.table.clone());
                tables.len() as u32 - 1
            });
            loop {
                let place = chunk.places[chunk.at];
                *self.left.entry(place).or_default() += 1;
                if self.skip > 0 {
                    self.skip -= 1;
                } else {
                    rows.push((table, chunk.at as u32));
                }
                chunk.at += 1;
                let next = chunk.times.get(chunk.at).zip(chunk.places.get(chunk.at));
                let Some((time, place)) = next else {
                    source.head = None;
                    break;
                };
                let key = (if descending { !time } else { *time }, *place);
                if rows.len() == most || bound.is_some_and(|bound| bound < key) {
                    break;
                }
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        self.rest -= rows.len() as u64;
        let names = self.names.clone();
        let budget = self.request.budget.clone();
        let receive = submit(&self.request.node.pool, &budget, move || Ok(gathered(&names, &tables, &rows)));
        Ok(Some(Batch { segment: None, table: wait(receive, &self.request.budget).await? }))
    }

    /// The rows as a stream that ends at the query's deadline. `held` is held as long.
    pub fn batches<T: Send + 'static>(self, held: T) -> BoxStream<'static, Result<Batch>> {
        let (remaining, late) = (self.request.budget.remaining(), Err(self.request.budget.timed_out()));
        let batches = stream::unfold(Some((self, held)), |state| async move {
            let (mut scanning, held) = state?;
            match scanning.next_batch().await {
                Ok(Some(batch)) => Some((Ok(batch), Some((scanning, held)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        deadline::until(batches.boxed(), remaining, late)
    }
}

impl Request {
    /// Asks a node, and reads what opens its answer.
    async fn begin(&self, node: &str, ask: &NodeAsk) -> Result<(Opening, Frames)> {
        let gone = || Error::Unavailable(format!("node [{node}] is gone"));
        let port = self.cluster.view.node(node).ok_or_else(gone)?;
        let mut frames = Frames::new(port.run(ask).await?);
        match frames.next().await? {
            Some((Kind::Opening, content)) => Ok((Opening::from_bytes(&content)?, frames)),
            Some((Kind::Closing, content)) => {
                Closing::from_bytes(&content)?.matched()?;
                Err(broken("it was never opened"))
            }
            _ => Err(broken("it does not begin with its opening")),
        }
    }

    /// Reads a node's rows and hands them on until they end, or nobody takes them.
    async fn read(self, mut frames: Frames, asked: Vec<usize>, none: usize, send: mpsc::Sender<Result<Chunk>>) {
        loop {
            let next = async {
                match frames.next().await? {
                    None => Err(broken("it ends without its closing frame")),
                    Some((Kind::Closing, content)) => {
                        Closing::from_bytes(&content)?.matched()?;
                        Ok(None)
                    }
                    Some((Kind::Rows, content)) => {
                        let asked = asked.clone();
                        let read = submit(&self.node.pool, &self.budget, move || chunk_of(&content, &asked, none));
                        wait(read, &self.budget).await.map(Some)
                    }
                    Some(_) => Err(broken("a frame stands where none of its kind does")),
                }
            };
            let (item, goes_on) = match next.await {
                Ok(None) => return,
                Ok(Some(chunk)) => (Ok(chunk), true),
                Err(error) => (Err(error), false),
            };
            if send.send(item).await.is_err() || !goes_on {
                return;
            }
        }
    }
}
