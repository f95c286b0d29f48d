//! Rows → the realtime index of their time chunk. New chunks are named by the ledger and made queryable here.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use segment::inventory::{Change, Inventory, Served};
use segment::realtime::{Appended, RealtimeIndex};
use segment::row::RowBatch;
use segment::schema::Schema;
use segment::{Granularity, Interval, SegmentId};
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::ledger::{Allocation, Ledger};
use crate::steps::Steps;

/// Open indexes past which a sequence should be closed: each costs some kilobytes and, once spilled, some files.
pub const INDEXES_MAX: usize = 1000;

/// What an appender is made of.
pub struct AppenderSetup {
    /// Whose rows these are, for the ledger.
    pub task: String,
    pub attempt: i64,
    pub datasource: String,
    /// Names the rows for the ledger, see [`Allocation`].
    pub sequence: String,
    pub schema: Schema,
    pub segment_granularity: Granularity,
    /// Folder of the sequence; each index gets a folder within.
    pub folder: PathBuf,
    pub ledger: Arc<dyn Ledger>,
    pub runtime: Handle,
    /// Where rows are queryable from now on.
    pub inventory: Arc<Inventory>,
    pub steps: Steps,
}

/// One index and its folder's name within the sequence's.
#[derive(Clone)]
pub struct Open {
    pub id: SegmentId,
    pub folder: String,
    pub index: Arc<RealtimeIndex>,
}

/// Synchronous: must not run on a thread of the runtime, since it waits for the ledger.
pub struct Appender {
    setup: AppenderSetup,
    /// The index that takes rows, by start and end of its interval.
    open: BTreeMap<(i64, i64), Open>,
    next_folder: u32,
    /// Queryable here, and not known everywhere where queries are answered.
    unknown: Vec<SegmentId>,
}

/// What an append did, over all indexes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    pub rows: usize,
    pub with_error: usize,
    /// Batch row and reason of some of them.
    pub problems: Vec<(u32, String)>,
}

impl Appender {
    pub fn new(setup: AppenderSetup) -> Appender {
        Appender { setup, open: BTreeMap::new(), next_folder: 0, unknown: Vec::new() }
    }

    /// Goes on with indexes of an earlier life. They are not put into the inventory: the caller does so with all others.
    pub fn resume(setup: AppenderSetup, indexes: Vec<Open>) -> Appender {
        let used = indexes.iter().filter_map(|open| open.folder.parse::<u32>().ok()).max();
        let open = indexes.into_iter().map(|open| (key(open.id.interval), open)).collect();
        Appender { open, next_folder: used.map_or(0, |used| used + 1), ..Appender::new(setup) }
    }

    /// Whether there are indexes that are to be announced before rows are appended.
    pub fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Waits until new indexes are known wherever queries are answered. May be repeated after an error.
    pub fn announce(&mut self) -> Result<()> {
        if self.has_unknown() {
            self.setup.runtime.block_on(self.setup.ledger.announce(&self.unknown))?;
            self.unknown.clear();
        }
        Ok(())
    }

    /// Makes sure that every row has an index to go to. May be repeated after an error; no row is touched.
    pub fn prepare(&mut self, batch: &RowBatch, rows: &[u32]) -> Result<()> {
        let mut known = Interval { start: 0, end: 0 };
        for &row in rows {
            let time = batch.times()[row as usize];
            if known.contains(time) {
                continue;
            }
            known = match self.holder(time) {
                Some(open) => open.id.interval,
                None => self.open_index(time)?,
            };
        }
        Ok(())
    }

    /// Appends the rows to their indexes, after [`Appender::prepare`] and [`Appender::announce`], which are all that can fail.
    pub fn append(&mut self, batch: &RowBatch, rows: &[u32]) -> Result<Taken> {
        self.prepare(batch, rows)?;
        self.announce()?;
        let mut taken = Taken::default();
        let Some(first) = rows.first() else { return Ok(taken) };
        let holder = self.holder_of(batch, *first)?;
        let interval = holder.id.interval;
        if rows.iter().all(|row| interval.contains(batch.times()[*row as usize])) {
            let _step = (self.setup.steps)(&holder.id, "append", rows.len() as u64);
            taken.add(holder.index.append(batch, rows)?);
        } else {
            let mut by_interval: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
            let mut last = interval;
            for &row in rows {
                if !last.contains(batch.times()[row as usize]) {
                    last = self.holder_of(batch, row)?.id.interval;
                }
                by_interval.entry(key(last)).or_default().push(row);
            }
            for (interval, rows) in by_interval {
                let open = &self.open[&interval];
                let _step = (self.setup.steps)(&open.id, "append", rows.len() as u64);
                taken.add(open.index.append(batch, &rows)?);
            }
        }
        Ok(taken)
    }

    fn holder_of(&self, batch: &RowBatch, row: u32) -> Result<&Open> {
        let time = batch.times()[row as usize];
        self.holder(time).ok_or_else(|| Error::Bug(format!("no index for a row at {time}")))
    }

    fn open_index(&mut self, time: i64) -> Result<Interval> {
        let setup = &self.setup;
        let allocation = Allocation {
            task: self.setup.task.clone(),
            attempt: self.setup.attempt,
            datasource: setup.datasource.clone(),
            sequence: setup.sequence.clone(),
            interval: setup.segment_granularity.bucket(time),
            at: time,
            fresh_version: false,
            index: 0,
        };
        let id = setup.runtime.block_on(setup.ledger.allocate(&allocation))?;
        if !id.interval.contains(time) {
            return Err(Error::Bug(format!("the segment {id} that was allocated does not hold the time asked for")));
        }
        let name = self.next_folder.to_string();
        let folder = setup.folder.join(&name);
        fs::create_dir_all(&folder).map_err(|error| Error::io(folder.display().to_string(), error))?;
        let index = Arc::new(RealtimeIndex::new(id.clone(), setup.schema.clone(), folder, Vec::new())?);
        setup.inventory.apply(vec![Change::Serve(id.clone(), Served::Realtime(index.clone()))]);
        self.next_folder += 1;
        self.unknown.push(id.clone());
        let interval = id.interval;
        self.open.insert(key(interval), Open { id, folder: name, index });
        Ok(interval)
    }

    fn holder(&self, time: i64) -> Option<&Open> {
        let contains = |open: &&Open| open.id.interval.contains(time);
        let (_, nearest) = self.open.range(..=(time, i64::MAX)).next_back()?;
        // Time chunks nest when a finer one was replaced meanwhile; then the nearest start need not be the holder's.
        Some(nearest).filter(contains).or_else(|| self.open.values().find(contains))
    }

    pub fn indexes(&self) -> impl ExactSizeIterator<Item = &Open> {
        self.open.values()
    }

    pub fn rows_in_memory(&self) -> usize {
        self.indexes().map(|open| open.index.rows_in_memory()).sum()
    }

    pub fn bytes_in_memory(&self) -> usize {
        self.indexes().map(|open| open.index.bytes_in_memory()).sum()
    }

    /// Rows of the largest index, spilled ones included.
    pub fn rows_of_largest(&self) -> u64 {
        self.open.values().map(|open| open.index.rows() as u64).max().unwrap_or(0)
    }

    /// Rows of all indexes, spilled ones included.
    pub fn rows(&self) -> u64 {
        self.indexes().map(|open| open.index.rows() as u64).sum()
    }
}

fn key(interval: Interval) -> (i64, i64) {
    (interval.start, interval.end)
}

impl Taken {
    fn add(&mut self, appended: Appended) {
        self.rows += appended.rows;
        self.with_error += appended.with_error;
        self.problems.extend(appended.problems.into_iter().map(|problem| (problem.row, problem.reason)));
    }
}
