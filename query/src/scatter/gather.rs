//! Answers that are folded into one: groups, hits, times, analyses, columns. A node's answer is held, within the query's memory,
//! until its closing frame has come, and then taken in as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use segment::schema::ValueType;
use segment::{Interval, SegmentId};
use tokio::time::Instant;

use super::run::{AtWork, Attempt, Patience, Run};
use super::{Lot, Request, Wanted, asking, is_of_node};
use crate::broker::{at_once, submit, wait};
use crate::budget::Taken;
use crate::cache::Key;
use crate::cluster::{NodeAsk, What};
use crate::engine::group;
use crate::engine::inspect::{self, Analysed};
use crate::engine::search::{self, Hits};
use crate::error::{Error, Result};
use crate::finish::finish;
use crate::language::{Query, Scope};
use crate::node::refuse_gaps;
use crate::outcome::{Outcome, Rows};
use crate::table::ResponseContext;
use crate::wire::answer::{Closing, Opening, read_analyses};
use crate::wire::columns::{self, PieceColumns};
use crate::wire::frame::{Frames, Kind, broken};
use crate::wire::groups::{self, Merger};
use crate::wire::table;
use crate::wire::types::{differ, joined, keys_of};
use segment::block::{Block, Value};

/// Bytes of answers that are taken in, and made rows of, within the time that another thread would take to begin.
const SMALL_BYTES: usize = 16 << 10;

/// How often all may begin anew because nodes call values differently.
const RESTARTS_MAX: usize = 4;

/// A node's whole answer.
pub struct Whole {
    opening: Opening,
    frames: Vec<(Kind, Bytes)>,
    matched: bool,
    /// The memory of the frames.
    _taken: Taken,
}

/// What answers are taken into.
enum Sink {
    Groups(Box<Merger>),
    Hits(Hits),
    Times(Option<(i64, i64)>),
    Analyses(Vec<Analysed>),
    Columns(Vec<PieceColumns>),
}

/// What came of all.
struct Gathered {
    sink: Sink,
    openings: Vec<Opening>,
    uncovered: Vec<Interval>,
    /// Bytes of all answers.
    bytes: usize,
    /// Which segments all came from, if none of them grows.
    cut: Option<Key>,
}

impl Request {
    /// The outcome of a query over tables that is no scan.
    pub async fn folded(&self, query: &Arc<Query>) -> Result<Outcome> {
        if let Some(kept) = self.kept(query)? {
            return Ok(kept);
        }
        let mut what = asking(query);
        let mut gathered = None;
        if let Query::SegmentMetadata(q) = &**query {
            // Which segments are too old hangs on the newest one with rows, which nodes know.
            let ends = self.wanted(query.scope())?.segments.into_iter().map(|one| one.asked.id.interval.end);
            what.since = inspect::since(q, ends.max());
            let first = self.gather(query.scope(), What::Query(Box::new(what.clone())), Some(query), None).await?;
            let newest = first.openings.iter().filter_map(|opening| opening.newest).max();
            match inspect::since(q, newest) {
                since if since == what.since || newest.is_none() => gathered = Some(first),
                since => what.since = since,
            }
        }
        let gathered = match gathered {
            Some(gathered) => gathered,
            None => self.gather(query.scope(), What::Query(Box::new(what)), Some(query), None).await?,
        };
        refuse_gaps(&gathered.uncovered, &self.budget)?;
        let (asked, cut) = (query, gathered.cut);
        let (query, budget) = (query.clone(), self.budget.clone());
        let is_small = gathered.bytes <= SMALL_BYTES;
        let finished = move || {
            let Gathered { sink, openings, uncovered, .. } = gathered;
            let spans: Vec<(i64, i64)> = openings.iter().flat_map(|opening| opening.spans.iter().copied()).collect();
            let buckets = match &*query {
                Query::TopN(q) => group::buckets_of(q, &spans),
                _ => Vec::new(),
            };
            let touched = openings.iter().any(|opening| opening.touched);
            let rows = match (sink, &*query) {
                (Sink::Groups(merger), _) => Rows::Table(finish(&query, merger.finish(&query, spans), &budget)?),
                (Sink::Hits(hits), Query::Search(q)) => Rows::Table(search::ordered(q, hits)),
                (Sink::Times(times), Query::TimeBoundary(q)) => Rows::Table(inspect::boundary(q, times)),
                (Sink::Times(times), _) => Rows::Table(inspect::last_time(times.map(|(_, last)| last))),
                (Sink::Analyses(mut each), Query::SegmentMetadata(q)) => {
                    each.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
                    let firsts = openings.into_iter().filter_map(|opening| opening.first);
                    let first = firsts.min_by(|a, b| (a.interval, a).cmp(&(b.interval, b)));
                    let table = first.map(|id| id.datasource).unwrap_or_default();
                    Rows::Analyses(inspect::settled(q, &table, each))
                }
                _ => return Err(Error::Bug("answers were gathered for another query".into())),
            };
            let context = ResponseContext { uncovered, ..ResponseContext::default() };
            Ok(Outcome { context, touched, buckets, rows })
        };
        let merging = Instant::now();
        let outcome = self.worked(is_small, finished).await?;
        self.budget.progress().told("merge", None, merging.into_std(), None);
        self.keep(asked, cut, &outcome);
        Ok(outcome)
    }

    /// The columns of some segments of a table, and which of them are realtime.
    pub async fn columns(
        &self,
        table: &str,
        only: &HashSet<SegmentId>,
    ) -> Result<(Vec<PieceColumns>, HashSet<SegmentId>)> {
        let gathered = self.gather(&Scope::table(table), What::Columns, None, Some(only)).await?;
        let Sink::Columns(pieces) = gathered.sink else { return Err(Error::Bug("no columns came".into())) };
        let realtime = gathered.openings.into_iter().flat_map(|opening| opening.realtime);
        Ok((pieces, realtime.collect()))
    }

    fn sink(&self, query: Option<&Arc<Query>>) -> Result<Sink> {
        Ok(match query.map(|query| &**query) {
            None => Sink::Columns(Vec::new()),
            Some(Query::Search(_)) => Sink::Hits(Hits::new()),
            Some(Query::TimeBoundary(_) | Query::DataSourceMetadata(_)) => Sink::Times(None),
            Some(Query::SegmentMetadata(_)) => Sink::Analyses(Vec::new()),
            Some(query) => Sink::Groups(Box::new(Merger::new(query, &self.budget)?)),
        })
    }

    async fn gather(
        &self,
        scope: &Scope,
        mut what: What,
        query: Option<&Arc<Query>>,
        only: Option<&HashSet<SegmentId>>,
    ) -> Result<Gathered> {
        let settings = &self.cluster.settings;
        let wanted = || {
            let mut wanted = self.wanted(scope)?;
            wanted.segments.retain(|one| only.is_none_or(|only| only.contains(&one.asked.id)));
            Ok::<_, Error>(wanted)
        };
        let mut run = Run::new(wanted()?);
        let progress = self.budget.progress();
        progress.expect_segments(run.wanted.segments.len());
        let mut taken_in: Vec<(Opening, Vec<Vec<ValueType>>)> = Vec::new();
        let (mut sink, mut bytes) = (self.sink(query)?, 0);
        let (mut patience, mut restarts, mut last) = (Patience::new(), 0, None);
        loop {
            let pending = std::mem::take(&mut run.pending);
            let (lots, stuck) = self.deal(&run.wanted, &pending, &run.tried);
            run.stuck.extend(stuck);
            for lot in lots {
                let places = lot.1.clone();
                self.launch(&mut run, None, vec![lot], &what, places);
            }
            if run.lots.is_empty() {
                if run.stuck.is_empty() {
                    break;
                }
                run.pending = run.menders.ask_again(&mut run.stuck, &mut run.tried);
                if !run.pending.is_empty() {
                    continue;
                }
                let gaps = self.gaps(scope, &run.wanted, &run.stuck);
                let Some(patient) = patience.wait(settings) else {
                    if !self.budget.takes_gaps() {
                        return Err(self.unreachable(&gaps, last));
                    }
                    let uncovered = self.uncovered(scope, &run.wanted, &taken_in, gaps)?;
                    let openings = taken_in.into_iter().map(|(opening, _)| opening).collect();
                    return Ok(Gathered { sink, openings, uncovered, bytes, cut: None });
                };
                let fresh = self.shown(&wanted, run.wanted.number, run.stuck(), patient).await?;
                if !run.renew(fresh) {
                    taken_in.clear();
                    sink = self.sink(query)?;
                }
                continue;
            }
            let hedge = settings.hedge_after.and_then(|after| run.next_hedge(after));
            let hedging = async {
                match hedge {
                    Some((at, _)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let (id, result) = tokio::select! {
                biased;
                error = self.budget.ended() => return Err(error),
                Some(done) = run.tasks.join_next_with_id() => match done {
                    Ok((id, result)) => (id, result),
                    Err(error) => (error.id(), Err(Error::Bug("asking a node failed; the log says where".into()))),
                },
                () = hedging => {
                    if let Some((_, lot)) = hedge {
                        self.hedge(&mut run, lot, &what);
                    }
                    continue;
                }
            };
            let Some(attempt) = run.attempts.remove(&id) else { continue };
            let answers = match result {
                Err(error) if !is_of_node(&error) => return Err(error),
                Err(error) => {
                    run.failed(attempt, Some(&error));
                    last = Some(error);
                    continue;
                }
                Ok(answers) => answers,
            };
            let missing: HashSet<SegmentId> = answers.iter().flat_map(|one| one.opening.missing.clone()).collect();
            if !missing.is_empty() && run.lots[&attempt.lot].attempts > 1 {
                // The other one may have all.
                run.failed(attempt, None);
                continue;
            }
            if let Some(at_work) = run.lots.get(&attempt.lot) {
                let (since, served) = (at_work.since.into_std(), at_work.places.len().saturating_sub(missing.len()));
                progress.segments_done(served);
                let nodes: Vec<&str> = attempt.nodes.iter().map(|(node, _)| node.as_str()).collect();
                progress.told("node", Some(nodes.join(", ")), since, Some(served as u64));
            }
            run.settle(&attempt, &missing);
            let asked = match &what {
                What::Query(asking) => asking.types.clone(),
                What::Columns => Vec::new(),
            };
            for answer in answers {
                let Whole { opening, frames, matched, _taken } = answer;
                if self.budget.is_scan_bounded() {
                    self.budget.scan(opening.scanned)?;
                }
                let types = joined(&opening.types, &asked);
                let size: usize = frames.iter().map(|(_, content)| content.len()).sum();
                bytes += size;
                let held = (sink, frames, self.budget.clone());
                let taken = move || {
                    let (mut sink, frames, budget) = held;
                    take_in(&mut sink, &frames, matched, &budget)?;
                    Ok(sink)
                };
                sink = self.worked(size <= SMALL_BYTES, taken).await?;
                taken_in.push((opening, types));
            }
            // What a value is called may hang on the types that other nodes have.
            let all = taken_in.iter().fold(asked, |all, (_, types)| joined(types, &all));
            if let Some(Query::Timeseries(_) | Query::TopN(_) | Query::GroupBy(_)) = query.map(|query| &**query)
                && taken_in.iter().any(|(_, types)| differ(query.map_or(0, |query| keys_of(query)), types, &all))
            {
                restarts += 1;
                if restarts > RESTARTS_MAX {
                    return Err(Error::Unavailable("the types of columns change while they are asked for".into()));
                }
                if let What::Query(asking) = &mut what {
                    asking.types = all;
                }
                taken_in.clear();
                sink = self.sink(query)?;
                run.restart();
            }
        }
        let uncovered = self.uncovered(scope, &run.wanted, &taken_in, Vec::new())?;
        let openings: Vec<Opening> = taken_in.into_iter().map(|(opening, _)| opening).collect();
        // A node may still have as rows that grow what the picture shows as published.
        let grows = openings.iter().any(|opening| !opening.realtime.is_empty());
        let cut = if grows { None } else { self.cut(scope, &run.wanted)? };
        Ok(Gathered { sink, openings, uncovered, bytes, cut })
    }

    /// Does work on a thread that computes, or here if it is little.
    async fn worked<T: Send + 'static>(
        &self,
        is_small: bool,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match is_small {
            true => at_once(work),
            false => wait(submit(&self.node.pool, &self.budget, work), &self.budget).await,
        }
    }

    fn uncovered(
        &self,
        scope: &Scope,
        wanted: &Wanted,
        taken_in: &[(Opening, Vec<Vec<ValueType>>)],
        mut gaps: Vec<Interval>,
    ) -> Result<Vec<Interval>> {
        let mut marked = wanted.incomplete.clone();
        marked.extend(taken_in.iter().flat_map(|(opening, _)| opening.incomplete.iter().cloned()));
        gaps.extend(self.incomplete(scope, &marked)?);
        Ok(Interval::merge(&gaps))
    }

    /// Asks nodes for a lot, which may be at work elsewhere already.
    fn launch(&self, run: &mut Run, lot: Option<usize>, nodes: Vec<Lot>, what: &What, places: Vec<usize>) {
        let lot = lot.unwrap_or_else(|| {
            run.next += 1;
            run.lots.insert(run.next, AtWork { places, attempts: 0, since: Instant::now(), hedged: false });
            run.next
        });
        let asks: Vec<(String, NodeAsk)> =
            nodes.iter().map(|(node, places)| (node.clone(), self.ask(&run.wanted, places, what.clone()))).collect();
        let request = self.clone();
        let task = run.tasks.spawn(async move {
            let fetches = asks.iter().map(|(node, ask)| request.fetch(node, ask));
            futures::future::try_join_all(fetches).await
        });
        if let Some(at_work) = run.lots.get_mut(&lot) {
            at_work.attempts += 1;
        }
        run.attempts.insert(task.id(), Attempt { lot, nodes, task });
    }

    /// Asks elsewhere what a node takes long for, if all of it can be asked elsewhere.
    fn hedge(&self, run: &mut Run, lot: usize, what: &What) {
        let Some(at_work) = run.lots.get_mut(&lot) else { return };
        at_work.hedged = true;
        let places = at_work.places.clone();
        let mut tried = run.tried.clone();
        for attempt in run.attempts.values().filter(|attempt| attempt.lot == lot) {
            for (node, places) in &attempt.nodes {
                places.iter().for_each(|place| {
                    tried[*place].insert(node.clone());
                });
            }
        }
        let (lots, stuck) = self.deal(&run.wanted, &places, &tried);
        if stuck.is_empty() && !lots.is_empty() {
            self.launch(run, Some(lot), lots, what, places);
        }
    }

    /// A node's whole answer.
    async fn fetch(&self, node: &str, ask: &NodeAsk) -> Result<Whole> {
        let gone = || Error::Unavailable(format!("node [{node}] is gone"));
        let port = self.cluster.view.node(node).ok_or_else(gone)?;
        let mut stream = Frames::new(port.run(ask).await?);
        let mut taken = Taken::new(&self.budget, 0)?;
        let (mut opening, mut frames) = (None, Vec::new());
        loop {
            let Some((kind, content)) = stream.next().await? else {
                return Err(broken("it ends without its closing frame"));
            };
            match (kind, &opening) {
                (Kind::Closing, opened) => {
                    let matched = Closing::from_bytes(&content)?.matched()?;
                    let opening = opened.clone().ok_or_else(|| broken("it was never opened"))?;
                    return Ok(Whole { opening, frames, matched, _taken: taken });
                }
                (Kind::Opening, None) => opening = Some(Opening::from_bytes(&content)?),
                (Kind::Opening, Some(_)) | (_, None) => return Err(broken("it is opened late, or twice")),
                (kind, Some(_)) => {
                    taken.grow(content.len())?;
                    frames.push((kind, content));
                }
            }
        }
    }
}

/// Takes a whole answer in. After an error what it was taken into is of no use any more.
fn take_in(sink: &mut Sink, frames: &[(Kind, Bytes)], matched: bool, budget: &crate::Budget) -> Result<()> {
    if let Sink::Groups(merger) = sink {
        return merger.absorb(groups::read(frames)?, matched);
    }
    for (kind, content) in frames {
        match (&mut *sink, kind) {
            (Sink::Hits(hits), Kind::Rows) => {
                let (table, _) = table::read(content)?;
                search::add(hits, hits_of(&table)?, budget)?;
            }
            (Sink::Times(times), Kind::Rows) => {
                let (table, _) = table::read(content)?;
                if table.rows > 0 {
                    let (Value::Long(first), Value::Long(last)) = (value(&table, 0, 0)?, value(&table, 1, 0)?) else {
                        return Err(broken("times are no longs"));
                    };
                    *times = Some(times.map_or((first, last), |(f, l)| (f.min(first), l.max(last))));
                }
            }
            (Sink::Analyses(each), Kind::Json) => each.extend(read_analyses(content)?),
            (Sink::Columns(pieces), Kind::Json) => pieces.extend(columns::read(content)?),
            _ => return Err(broken("a frame stands where none of its kind does")),
        }
    }
    Ok(())
}

fn value(table: &crate::Table, column: usize, row: usize) -> Result<Value> {
    match table.columns.get(column) {
        Some((.., block)) if row < block.len() => Ok(block.value(row)),
        _ => Err(broken("a table lacks a column")),
    }
}

fn hits_of(table: &crate::Table) -> Result<Hits> {
    let blocks: Vec<&Block> = table.columns.iter().map(|(.., block)| block).collect();
    let [Block::Long { values: times, .. }, Block::Text { values: names }, Block::Text { values }, counts] =
        &blocks[..]
    else {
        return Err(broken("what was found has other columns"));
    };
    let Block::Long { values: counts, .. } = counts else { return Err(broken("what was found is not counted")) };
    let mut hits = Hits::new();
    for row in 0..table.rows {
        let (Some(name), Some(value)) = (&names[row], &values[row]) else {
            return Err(broken("a null was found"));
        };
        hits.insert((times[row], name.to_string(), value.clone()), counts[row]);
    }
    Ok(hits)
}
