//! Rows still in memory: appended by one task, queryable at every moment, spilled as small segment files, frozen into
//! the final one.
//!
//! 1. `append` encodes a batch column by column into pieces that the writer owns.
//! 2. `snapshot` shares the pieces with a reader; a shared piece is copied if it is written again.
//! 3. `seal` sets the rows of memory aside at once; `spill` writes them to a file, which then takes their place. A reader
//!    sees them in exactly one of memory, sealed and file.
//! 4. `freeze` merges all files into the final one.

mod chunk;
mod coerce;
mod dictionary;
mod dimension;
mod memory;
mod metric;
mod state;
mod text;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::merge::merge;
use crate::meta::{SegmentId, SegmentMeta};
use crate::row::RowBatch;
use crate::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use crate::segment::{Provenance, Segment, Segments};

use dimension::Growth;
pub use memory::DIMENSIONS_MAX;
use memory::{Known, Memory, Rules};
use metric::Metric;

/// Rows that are taken in under one lock: what a snapshot waits for at most (about a millisecond).
const LOCKED_ROWS: usize = 2048;

/// Problems that an append describes; all are counted.
const PROBLEMS_MAX: usize = 16;

/// Never holds more than one lock at a time; the state's is held for memory work only, never for a file.
pub struct RealtimeIndex {
    id: SegmentId,
    folder: PathBuf,
    rules: Rules,
    state: Mutex<State>,
    /// Held while files are written: one writer at a time. The number of the next spill.
    spilling: Mutex<u32>,
}

struct State {
    memory: Memory,
    /// Rows set aside, not yet in a file; the oldest first.
    sealed: Vec<Arc<Segment>>,
    spills: Vec<Spill>,
    /// The view of `memory`, until it changes.
    view: Option<Arc<Segment>>,
}

struct Spill {
    path: PathBuf,
    segment: Arc<Segment>,
}

/// What an append did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appended {
    /// Rows taken in.
    pub rows: usize,
    /// Rows among them with a value that could not be converted to its column's type, and is null.
    pub with_error: usize,
    /// Some of the reasons.
    pub problems: Vec<Problem>,
    /// Rows that memory holds now (after rollup).
    pub rows_in_memory: usize,
    /// Bytes that memory holds now: an upper estimate of what the allocator gave.
    pub bytes_in_memory: usize,
}

/// Why a value of a row became null.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The row's number in its batch.
    pub row: u32,
    pub reason: String,
}

impl RealtimeIndex {
    /// `spills` are files written by `spill` of an earlier life, already counted in the positions that its owner kept.
    /// `folder` is where spills go; it exists.
    pub fn new(id: SegmentId, schema: Schema, folder: PathBuf, spills: Vec<PathBuf>) -> Result<RealtimeIndex> {
        let rules = Rules::new(schema, id.interval.start)?;
        let mut known: Vec<Known> =
            rules.schema.dimensions.iter().map(|schema| (schema.clone(), growth_of(schema))).collect();
        let mut opened = Vec::new();
        let mut number = 0;
        for path in spills {
            let segment = Arc::new(crate::file::open(&path, id.clone())?);
            learn(&mut known, &segment, rules.schema.discovery == Discovery::Typed)?;
            number = number.max(spill_number(&path).map_or(0, |number| number + 1));
            opened.push(Spill { path, segment });
        }
        let state = State { memory: Memory::new(&rules, &known), sealed: Vec::new(), spills: opened, view: None };
        Ok(RealtimeIndex { id, folder, rules, state: Mutex::new(state), spilling: Mutex::new(number) })
    }

    pub fn id(&self) -> &SegmentId {
        &self.id
    }

    /// Where its spills are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends the given rows of a batch. A value that cannot be converted to its column's type becomes null and is
    /// counted. Snapshots wait for a part of the batch at most, and may see the first part of it without the rest.
    pub fn append(&self, batch: &RowBatch, rows: &[u32]) -> Result<Appended> {
        let mut appended = Appended { rows: rows.len(), ..Appended::default() };
        let mut state = self.state.lock();
        for part in rows.chunks(LOCKED_ROWS) {
            state.view = None;
            let problems_max = PROBLEMS_MAX - appended.problems.len().min(PROBLEMS_MAX);
            let problems = &mut appended.problems;
            appended.with_error += state.memory.append(&self.rules, batch, part, problems_max, problems);
            MutexGuard::bump(&mut state);
        }
        appended.rows_in_memory = state.memory.rows();
        appended.bytes_in_memory = state.memory.bytes();
        Ok(appended)
    }

    /// Spills and memory as of one moment: every appended row in exactly one of them.
    pub fn snapshot(&self) -> Segments {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut segments: Segments = state.spills.iter().map(|spill| spill.segment.clone()).collect();
        segments.extend(state.sealed.iter().cloned());
        if state.memory.rows() > 0 {
            let view = state.view.get_or_insert_with(|| state.memory.view(&self.rules, &self.id));
            segments.push(view.clone());
        }
        segments
    }

    /// Sets the rows of memory aside for the next `spill`: fast, no file is touched. They stay queryable, and their bytes
    /// leave `bytes_in_memory` (`bytes_sealed` counts them). `false` if memory is empty.
    pub fn seal(&self) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.memory.rows() == 0 {
            return false;
        }
        let known = state.memory.known();
        let mut full = std::mem::replace(&mut state.memory, Memory::new(&self.rules, &known));
        let view = state.view.take().unwrap_or_else(|| full.view(&self.rules, &self.id));
        state.sealed.push(view);
        true
    }

    /// Seals the rows of memory and writes what is sealed into small segment files, synced to disk; they stay queryable
    /// throughout. Answers the files written, none if there was nothing. Appends may go on meanwhile. If a file cannot be
    /// written, the rows stay sealed, and the next call tries again.
    pub fn spill(&self) -> Result<Vec<PathBuf>> {
        self.seal();
        self.spill_sealed()
    }

    /// As [`RealtimeIndex::spill`], leaving the rows that came after the last `seal` in memory.
    pub fn spill_sealed(&self) -> Result<Vec<PathBuf>> {
        let mut number = self.spilling.lock();
        let mut written = Vec::new();
        loop {
            let (sealed, schema) = {
                let state = self.state.lock();
                let Some(first) = state.sealed.first().cloned() else { return Ok(written) };
                (first, self.final_schema(&state))
            };
            let path = self.folder.join(format!("{:06}.seg", *number));
            let unfinished = path.with_extension("tmp");
            merge(&[sealed], &schema, &self.id, &unfinished)?;
            fs::rename(&unfinished, &path).map_err(|error| Error::io(path.display().to_string(), error))?;
            sync_folder(&self.folder)?;
            let segment = Arc::new(crate::file::open(&path, self.id.clone())?);
            *number += 1;
            let mut state = self.state.lock();
            state.sealed.remove(0);
            state.spills.push(Spill { path: path.clone(), segment });
            written.push(path);
        }
    }

    /// The files that hold all rows but those of memory and sealed ones.
    pub fn spills(&self) -> Vec<PathBuf> {
        self.state.lock().spills.iter().map(|spill| spill.path.clone()).collect()
    }

    /// How many spills there are once all that is sealed now is written: later ones hold rows that came after.
    pub fn pieces(&self) -> usize {
        let state = self.state.lock();
        state.spills.len() + state.sealed.len()
    }

    pub fn rows_in_memory(&self) -> usize {
        self.state.lock().memory.rows()
    }

    pub fn bytes_in_memory(&self) -> usize {
        self.state.lock().memory.bytes()
    }

    /// Bytes of the rows that are set aside and not yet in a file.
    pub fn bytes_sealed(&self) -> usize {
        self.state.lock().sealed.iter().map(|segment| segment.size_bytes() as usize).sum()
    }

    /// Rows in spills and memory.
    pub fn rows(&self) -> usize {
        let state = self.state.lock();
        let spilled = state.spills.iter().map(|spill| &spill.segment).chain(&state.sealed);
        spilled.map(|segment| segment.rows()).sum::<usize>() + state.memory.rows()
    }

    /// Spills what is left and merges all spills into the final file at `to`, synced. No append may follow.
    pub fn freeze(&self, to: &Path) -> Result<SegmentMeta> {
        self.spill()?;
        let (segments, schema) = {
            let state = self.state.lock();
            let segments: Segments = state.spills.iter().map(|spill| spill.segment.clone()).collect();
            (segments, self.final_schema(&state))
        };
        merge(&segments, &schema, &self.id, to)
    }

    /// As [`RealtimeIndex::freeze`], for an index that is not kept afterwards: rows that were never spilled go into the
    /// final file without a spill between.
    pub fn freeze_at_once(&self, to: &Path) -> Result<SegmentMeta> {
        self.seal();
        let _writing = self.spilling.lock();
        let (segments, schema) = {
            let state = self.state.lock();
            let spilled = state.spills.iter().map(|spill| spill.segment.clone());
            (spilled.chain(state.sealed.iter().cloned()).collect::<Segments>(), self.final_schema(&state))
        };
        merge(&segments, &schema, &self.id, to)
    }

    /// The schema with the dimensions that were discovered so far.
    fn final_schema(&self, state: &State) -> Schema {
        let dimensions = state.memory.known().into_iter().map(|(schema, _)| schema).collect();
        Schema { dimensions, ..self.rules.schema.clone() }
    }
}

impl Rules {
    fn new(schema: Schema, earliest: i64) -> Result<Rules> {
        let metrics = schema.metrics.iter().map(Metric::new).collect::<Result<Vec<_>>>()?;
        let mut names: Vec<&str> = schema.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        names.extend(metrics.iter().map(|metric| metric.name.as_str()));
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("column {} is given twice; rename one of them", twice[0])));
        }
        let aggregates = schema.metrics.iter().map(|metric| metric.combining().to_json()).collect();
        let query_granularity = Some(schema.query_granularity.clone());
        let provenance = Provenance { rollup: schema.rollup, query_granularity, aggregates };
        Ok(Rules { schema, metrics, earliest, provenance })
    }
}

fn growth_of(schema: &DimensionSchema) -> Growth {
    if schema.auto { Growth::Open } else { Growth::Fixed }
}

/// Adds the dimensions that an earlier life discovered.
fn learn(known: &mut Vec<Known>, segment: &Segment, typed: bool) -> Result<()> {
    let types = segment.columns();
    for name in segment.dimensions() {
        let value_type = types.iter().find(|(column, _)| column == name).map(|(_, value_type)| value_type.clone());
        let value_type = value_type.unwrap_or(ValueType::String);
        match known.iter_mut().find(|(schema, _)| schema.name == *name) {
            Some((schema, Growth::Wider)) => schema.value_type = dimension::wider(&schema.value_type, &value_type),
            Some((schema, growth @ Growth::Open)) => {
                // A string column may be one that no value has settled yet; a wider type holds it anyway.
                if value_type != ValueType::String {
                    (schema.value_type, *growth) = (value_type, Growth::Wider);
                }
            }
            Some((_, Growth::Fixed)) => {}
            None => {
                let schema = DimensionSchema {
                    name: name.clone(),
                    value_type,
                    multi_value: MultiValue::default(),
                    indexed: true,
                    auto: typed,
                };
                known.push((schema, if typed { Growth::Wider } else { Growth::Fixed }));
            }
        }
    }
    Ok(())
}

fn spill_number(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Makes a rename in the folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::io(folder.display().to_string(), error))
}
