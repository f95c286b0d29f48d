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
use segment::block::{Block, Value};
use segment::schema::ValueType;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::{Request, Wanted, is_of_node, unreachable};
use crate::broker::{submit, wait};
use crate::cluster::{Asking, NodeAsk, What};
use crate::deadline;
use crate::engine::rows::typed;
use crate::error::{Error, Result};
use crate::language::{Query, Scan, ScanOrder};
use crate::local::{PLACE_MARK, TIME_MARK};
use crate::table::{Batch, Table};
use crate::wire::answer::{Closing, Opening};
use crate::wire::frame::{Frames, Kind, broken};
use crate::wire::table;

/// Frames of a node that are read ahead.
const AHEAD: usize = 1;

/// Rows of one frame.
pub struct Chunk {
    pub table: Arc<Table>,
    /// What the segment is called, of rows of one.
    pub segment: Option<String>,
    /// Of rows merged by time.
    times: Vec<i64>,
    /// By row, or one for all: the place of the segment in what is wanted; behind the last of rows of no segment.
    places: Vec<usize>,
    at: usize,
}

impl Chunk {
    /// The place of the segment of all rows.
    pub fn place(&self) -> usize {
        self.places.first().copied().unwrap_or(usize::MAX)
    }
}

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
        let settings = &self.cluster.settings;
        let (mut pictures, mut last) = (1, None);
        let mut scanning = Scanning {
            request: self.clone(),
            query: query.clone(),
            asking,
            wanted: self.wanted(&scan.scope)?,
            tried: Vec::new(),
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
            let enough = pictures >= settings.pictures_max;
            if !begun.stuck.is_empty() && enough && !self.budget.takes_gaps() {
                return Err(unreachable(&gaps, last));
            }
            if begun.stuck.is_empty() || enough {
                let mut marked = scanning.wanted.incomplete.clone();
                marked.extend(begun.openings.iter().flat_map(|opening| opening.1.incomplete.iter().cloned()));
                let incomplete = self.incomplete(&scan.scope, &marked)?;
                scanning.uncovered = Interval::merge(&[gaps, incomplete].concat());
                scanning.touched = begun.openings.iter().any(|opening| opening.1.touched);
                scanning.name_columns(scan, begun.openings);
                return Ok(scanning);
            }
            pictures += 1;
            let within = settings.picture_within.min(self.budget.remaining());
            tokio::select! {
                error = self.budget.ended() => return Err(error),
                () = self.cluster.view.newer_than(scanning.wanted.number, within) => {}
            }
            scanning.wanted = self.wanted(&scan.scope)?;
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
                let (missing, served): (Vec<usize>, Vec<usize>) =
                    places.drain(..).partition(|place| opening.missing.contains(&self.wanted.segments[*place].asked.id));
                for place in missing {
                    self.tried[place].insert(node.clone());
                    pending.push(place);
                }
                let realtime = |place: &&usize| opening.realtime.contains(&self.wanted.segments[**place].asked.id);
                self.realtime.extend(served.iter().filter(realtime));
                let (send, chunks) = mpsc::channel(AHEAD);
                let task: JoinHandle<()> = tokio::spawn(self.request.clone().read(
                    frames,
                    asked.clone(),
                    self.wanted.segments.len(),
                    send,
                ));
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
                Some(Ok(chunk)) => source.take(chunk),
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
        let mut last = Some(error);
        drop(broken);
        let begun = self.open(places, &mut last).await?;
        match begun.stuck.is_empty() {
            true => Ok(()),
            false => {
                let gaps = self.request.gaps(self.query.scope(), &self.wanted, &begun.stuck);
                Err(unreachable(&gaps, last))
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
            _ => Ok(self.next_chunk().await?.map(|chunk| Batch { segment: chunk.segment, table: Arc::unwrap_or_clone(chunk.table) })),
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

impl Source {
    /// The next rows, without those that have left already.
    fn take(&mut self, mut chunk: Chunk) {
        if self.drops.is_empty() || chunk.table.rows == 0 {
            self.head = (chunk.table.rows > 0).then_some(chunk);
            return;
        }
        if chunk.places.len() == 1 && chunk.times.is_empty() {
            let Some(left) = self.drops.get_mut(&chunk.place()) else {
                self.head = Some(chunk);
                return;
            };
            let dropped = (*left).min(chunk.table.rows as u64);
            *left -= dropped;
            let rows = chunk.table.rows;
            cut(Arc::make_mut(&mut chunk.table), dropped as usize, rows - dropped as usize);
            self.head = (chunk.table.rows > 0).then_some(chunk);
            return;
        }
        let mut keep = Vec::with_capacity(chunk.table.rows);
        for (row, place) in chunk.places.iter().enumerate() {
            match self.drops.get_mut(place).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => keep.push(row),
            }
        }
        let table = Arc::make_mut(&mut chunk.table);
        for (.., block) in &mut table.columns {
            let values = keep.iter().map(|row| block.value(*row)).collect();
            *block = if matches!(block, Block::Any { .. }) { Block::Any { values } } else { typed_as(block, values) };
        }
        table.rows = keep.len();
        chunk.times = keep.iter().map(|row| chunk.times[*row]).collect();
        chunk.places = keep.iter().map(|row| chunk.places[*row]).collect();
        self.head = (!keep.is_empty()).then_some(chunk);
    }
}

/// Values as a block of the same kind as the one that they are from.
fn typed_as(from: &Block, values: Vec<Value>) -> Block {
    match from {
        Block::Text { .. } => Block::Text {
            values: values.into_iter().map(|value| if let Value::Text(text) = value { Some(text) } else { None }).collect(),
        },
        _ => typed(values),
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

/// The rows of a frame.
fn chunk_of(content: &[u8], asked: &[usize], none: usize) -> Result<Chunk> {
    let (mut table, said) = table::read(content)?;
    let place = |at: i64| usize::try_from(at).ok().and_then(|at| asked.get(at)).copied().unwrap_or(none);
    let longs = |column: Option<(String, ValueType, Block)>, name: &str| match column {
        Some((own, _, Block::Long { values, nulls: None })) if own == name => Ok(values),
        _ => Err(broken("rows lack their marks")),
    };
    if !said.is_empty() {
        let (at, segment): (i64, Option<String>) = serde_json::from_str(&said).map_err(broken)?;
        return Ok(Chunk { table: table.into(), segment, times: Vec::new(), places: vec![place(at)], at: 0 });
    }
    let places = longs(table.columns.pop(), PLACE_MARK)?;
    let times = longs(table.columns.pop(), TIME_MARK)?;
    if times.len() != table.rows || places.len() != table.rows {
        return Err(broken("rows are more than their marks"));
    }
    let places = places.into_iter().map(place).collect();
    Ok(Chunk { table: table.into(), segment: None, times, places, at: 0 })
}

/// Leaves `count` rows from row `from` on.
fn cut(table: &mut Table, from: usize, count: usize) {
    if from == 0 && count == table.rows {
        return;
    }
    fn part<T>(values: &mut Vec<T>, from: usize, count: usize) {
        values.truncate(from + count);
        values.drain(..from);
    }
    for (.., block) in &mut table.columns {
        match block {
            Block::Long { values, nulls } => {
                part(values, from, count);
                nulls.iter_mut().for_each(|nulls| part(nulls, from, count));
            }
            Block::Double { values, nulls } => {
                part(values, from, count);
                nulls.iter_mut().for_each(|nulls| part(nulls, from, count));
            }
            Block::Text { values } => part(values, from, count),
            Block::Any { values } => part(values, from, count),
        }
    }
    table.rows = count;
}

/// Rows of several tables, in this order, as one table of the named columns.
fn gathered(names: &[String], tables: &[Arc<Table>], rows: &[(u32, u32)]) -> Table {
    let mut columns = Vec::with_capacity(names.len());
    for (n, name) in names.iter().enumerate() {
        // A column that is asked for twice is there twice.
        let of = |table: &Table| match table.columns.get(n) {
            Some((own, ..)) if own == name => Some(n),
            _ => table.columns.iter().position(|(own, ..)| own == name),
        };
        let places: Vec<Option<usize>> = tables.iter().map(|table| of(table)).collect();
        let at = |(table, row): &(u32, u32)| match places[*table as usize] {
            Some(column) => tables[*table as usize].columns[column].2.value(*row as usize),
            None => Value::Null,
        };
        let values: Vec<Value> = rows.iter().map(at).collect();
        let own = tables.iter().zip(&places).filter_map(|(table, place)| Some(&table.columns[(*place)?]));
        let value_type = own.clone().find(|(.., block)| !is_null(block)).or(own.clone().next());
        let value_type = value_type.map_or(ValueType::String, |(_, value_type, _)| value_type.clone());
        let all_texts = own.clone().all(|(.., block)| matches!(block, Block::Text { .. }));
        let block = if all_texts { typed_as(&Block::Text { values: Vec::new() }, values) } else { typed(values) };
        columns.push((name.clone(), value_type, block));
    }
    Table { columns, rows: rows.len() }
}

fn is_null(block: &Block) -> bool {
    matches!(block, Block::Text { values } if values.iter().all(Option::is_none))
}
