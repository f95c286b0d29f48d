//! The rows in memory: one batch at a time goes through encode → (roll up) → store, column by column.

use std::sync::Arc;

use hashbrown::HashTable;

use super::Problem;
use super::chunk::NumberChunks;
use super::dimension::{Dimension, Faults, Growth, mix, natural_type, wider};
use super::metric::{Metric, MetricColumn};
use crate::column::NumberColumn;
use crate::meta::SegmentId;
use crate::row::RowBatch;
use crate::schema::{DimensionSchema, Discovery, MultiValue, Schema, TIME, ValueType};
use crate::segment::{Provenance, Segment};
use crate::time::Granularity;

/// Most dimensions of an index, given and discovered. An event with more fields keeps the first ones.
pub const DIMENSIONS_MAX: usize = 2000;

/// What all memories of an index share.
pub(super) struct Rules {
    pub schema: Schema,
    pub metrics: Vec<Metric>,
    /// Start of the segment's interval.
    pub earliest: i64,
    pub provenance: Provenance,
}

pub(super) struct Memory {
    rows: usize,
    time: NumberChunks,
    last_time: i64,
    is_sorted: bool,
    dimensions: Vec<Dimension>,
    metrics: Vec<MetricColumn>,
    table: HashTable<Entry>,
    layout: Layout,
    times: Vec<i64>,
    hashes: Vec<u64>,
    targets: Vec<u32>,
    faults: Faults,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    row: u32,
}

impl Entry {
    fn new(hash: u64, row: u32) -> Entry {
        Entry { hash: (hash >> 32) as u32, row }
    }

    fn spread(&self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Which field of a batch goes where; made anew when a batch has other fields than the last one.
#[derive(Default)]
struct Layout {
    names: Vec<String>,
    dimensions: Vec<Option<usize>>,
    metrics: Vec<Option<usize>>,
    /// Fields that are no column yet and may become a dimension.
    unknown: Vec<usize>,
}

/// A dimension that was discovered, for the memory that comes after this one.
pub(super) type Known = (DimensionSchema, Growth);

impl Memory {
    pub fn new(rules: &Rules, known: &[Known]) -> Memory {
        let dimension =
            |(number, (schema, growth)): (usize, &Known)| Dimension::new(schema.clone(), *growth, number, 0);
        Memory {
            rows: 0,
            time: NumberChunks::long(),
            last_time: i64::MIN,
            is_sorted: true,
            dimensions: known.iter().enumerate().map(dimension).collect(),
            metrics: rules.metrics.iter().map(MetricColumn::new).collect(),
            table: HashTable::new(),
            layout: Layout::default(),
            times: Vec::new(),
            hashes: Vec::new(),
            targets: Vec::new(),
            faults: Faults { rows: Vec::new(), problems: Vec::new(), problems_max: 0 },
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn known(&self) -> Vec<Known> {
        self.dimensions.iter().map(|dimension| (dimension.schema.clone(), dimension.growth())).collect()
    }

    /// Takes rows in. Answers how many of them hold a value that could not be converted; adds up to `problems_max`
    /// reasons to `problems`.
    pub fn append(
        &mut self,
        rules: &Rules,
        batch: &RowBatch,
        rows: &[u32],
        problems_max: usize,
        problems: &mut Vec<Problem>,
    ) -> usize {
        self.faults.rows.clear();
        self.faults.rows.resize(rows.len(), false);
        self.faults.problems_max = problems_max;

        if self.layout.names != batch.names() {
            self.lay_out(rules, batch);
        }
        if rules.schema.discovery != Discovery::None || self.dimensions.iter().any(|dimension| dimension.typed) {
            self.discover(rules, batch, rows);
        }
        self.times.clear();
        self.times.extend(rows.iter().map(|row| batch.times()[*row as usize]));
        if rules.schema.query_granularity != Granularity::None {
            let times = std::mem::take(&mut self.times);
            self.times.resize(times.len(), 0);
            rules.schema.query_granularity.floor_all(&times, &mut self.times);
            // A query granularity coarser than the segment's would put rows before their segment.
            self.times.iter_mut().for_each(|time| *time = (*time).max(rules.earliest));
        }
        for (dimension, field) in self.dimensions.iter_mut().zip(&self.layout.dimensions) {
            dimension.encode(batch, *field, rows, &mut self.faults);
        }
        for ((column, metric), field) in self.metrics.iter_mut().zip(&rules.metrics).zip(&self.layout.metrics) {
            column.read(metric, batch, *field, rows, &mut self.faults);
        }
        if rules.schema.rollup {
            self.roll_up(rules);
        } else {
            self.store_all();
        }
        problems.append(&mut self.faults.problems);
        self.faults.rows.iter().filter(|bad| **bad).count()
    }

    fn store_all(&mut self) {
        for &time in &self.times {
            self.is_sorted &= time >= self.last_time;
            self.last_time = time;
        }
        self.time.extend_longs(&self.times, &[]);
        self.dimensions.iter_mut().for_each(Dimension::append_all);
        self.metrics.iter_mut().for_each(MetricColumn::append_all);
        self.rows += self.times.len();
    }

    /// Finds or makes the stored row of each row at hand, then folds the metrics a column at a time.
    fn roll_up(&mut self, rules: &Rules) {
        self.hashes.clear();
        self.hashes.extend(self.times.iter().map(|time| mix(0, *time as u64)));
        for dimension in &self.dimensions {
            dimension.hash(&mut self.hashes);
        }
        self.targets.clear();
        for at in 0..self.times.len() {
            let (time, entry) = (self.times[at], Entry::new(self.hashes[at], self.rows as u32));
            let found = self.table.find(entry.spread(), |stored| {
                let row = stored.row as usize;
                stored.hash == entry.hash
                    && self.time.long_at(row) == Some(time)
                    && self.dimensions.iter().all(|dimension| dimension.equals(row, at))
            });
            if let Some(stored) = found {
                self.targets.push(stored.row);
                continue;
            }
            self.table.insert_unique(entry.spread(), entry, Entry::spread);
            self.time.push_long(Some(time));
            self.is_sorted &= time >= self.last_time;
            self.last_time = time;
            self.dimensions.iter_mut().for_each(|dimension| dimension.append_one(at));
            self.targets.push(entry.row);
            self.rows += 1;
        }
        for (column, metric) in self.metrics.iter_mut().zip(&rules.metrics) {
            column.fold(metric, &self.targets);
        }
    }

    fn lay_out(&mut self, rules: &Rules, batch: &RowBatch) {
        let names = batch.names();
        let taken = |name: &String| {
            name == TIME
                || self.dimensions.iter().any(|dimension| dimension.schema.name == *name)
                || rules.schema.exclusions.contains(name)
                || rules.metrics.iter().any(|metric| metric.name == *name || metric.reads.contains(name))
        };
        self.layout = Layout {
            names: names.to_vec(),
            dimensions: self.dimensions.iter().map(|dimension| batch.find(&dimension.schema.name)).collect(),
            metrics: rules.metrics.iter().map(|metric| metric.field(batch)).collect(),
            unknown: (0..names.len()).filter(|field| !taken(&names[*field])).collect(),
        };
    }

    /// Makes dimensions of unknown fields that have a value, and widens typed ones whose values no longer fit.
    fn discover(&mut self, rules: &Rules, batch: &RowBatch, rows: &[u32]) {
        let natural = |field: usize| {
            let cells = batch.cells(field);
            let types = rows.iter().filter_map(|row| natural_type(batch, cells[*row as usize]));
            types.reduce(|a, b| wider(&a, &b))
        };
        let mut found = false;
        for &field in &self.layout.unknown {
            if self.dimensions.len() >= DIMENSIONS_MAX || rules.schema.discovery == Discovery::None {
                break;
            }
            let Some(value_type) = natural(field) else { continue };
            let typed = rules.schema.discovery == Discovery::Typed;
            let growth = if typed { Growth::Wider } else { Growth::Fixed };
            let schema = DimensionSchema {
                name: batch.names()[field].clone(),
                value_type: if typed { value_type } else { ValueType::String },
                multi_value: MultiValue::default(),
                indexed: true,
                auto: typed,
            };
            self.dimensions.push(Dimension::new(schema, growth, self.dimensions.len(), self.rows));
            found = true;
        }
        if found {
            self.lay_out(rules, batch);
        }
        let mut widened = false;
        for (dimension, field) in self.dimensions.iter_mut().zip(&self.layout.dimensions) {
            let (true, Some(field)) = (dimension.typed, *field) else {
                continue;
            };
            let Some(natural) = natural(field) else { continue };
            let wanted = if dimension.settled { wider(&dimension.schema.value_type, &natural) } else { natural };
            if !dimension.settled || wanted != dimension.schema.value_type {
                dimension.widen(&wanted, self.rows);
                widened = true;
            }
        }
        if widened && rules.schema.rollup {
            self.rehash();
        }
    }

    fn rehash(&mut self) {
        self.table.clear();
        for row in 0..self.rows {
            let time = self.time.long_at(row).expect("time is never null");
            let add = |hash: u64, dimension: &Dimension| hash.wrapping_add(dimension.stored_hash(row));
            let hash = self.dimensions.iter().fold(mix(0, time as u64), add);
            let entry = Entry::new(hash, row as u32);
            self.table.insert_unique(entry.spread(), entry, Entry::spread);
        }
    }

    /// An upper estimate of the heap that the rows take. Pieces that a reader still holds after they were written again
    /// are not in it.
    pub fn bytes(&self) -> usize {
        let columns = self.dimensions.iter().map(Dimension::bytes).sum::<usize>()
            + self.metrics.iter().map(MetricColumn::bytes).sum::<usize>();
        let buckets = (self.table.capacity() * 8 / 7).next_power_of_two();
        columns + self.time.bytes() + buckets * (size_of::<Entry>() + 1)
    }

    /// The rows as of now, sharing all pieces.
    pub fn view(&mut self, rules: &Rules, id: &SegmentId) -> Arc<Segment> {
        let time = NumberColumn::from_chunks(ValueType::Long, self.time.share());
        let mut columns = Vec::with_capacity(self.dimensions.len() + self.metrics.len());
        for dimension in &mut self.dimensions {
            columns.push((dimension.schema.name.clone(), dimension.view()));
        }
        for (column, metric) in self.metrics.iter_mut().zip(&rules.metrics) {
            columns.push((metric.name.clone(), column.view()));
        }
        let dimensions = self.dimensions.iter().map(|dimension| dimension.schema.name.clone()).collect();
        let metrics = rules.metrics.iter().map(|metric| metric.name.clone()).collect();
        let provenance = rules.provenance.clone();
        let id = id.clone();
        Arc::new(Segment::from_parts(id, time, columns, dimensions, metrics, self.is_sorted, provenance))
    }
}
