//! A metric that is a sketch: one state per row, in an accumulator whose groups are the rows.
//!
//! A view needs the states as bytes. They are written block by block, and again only for blocks that changed.

use std::sync::Arc;

use super::chunk::OVERHEAD;
use super::metric::value_of;
use crate::aggregate::accumulator::{self, Accumulator, Groups, Values};
use crate::aggregate::{Aggregate, Input};
use crate::block::{BLOCK_ROWS, Value};
use crate::column::memory::BytesChunk;
use crate::column::{Column, ComplexColumn};
use crate::row::RowBatch;
use crate::schema::ValueType;

pub(super) struct StateColumn {
    type_name: String,
    inputs: Vec<Input>,
    states: Box<dyn Accumulator>,
    rows: usize,
    /// One list per input: the values of the rows at hand.
    values: Vec<Vec<Value>>,
    written: Vec<Option<Arc<BytesChunk>>>,
}

impl StateColumn {
    pub fn new(aggregate: &Aggregate) -> StateColumn {
        let type_name = match aggregate.stored_type() {
            ValueType::Complex(name) => name,
            other => other.druid_name(),
        };
        let inputs: Vec<Input> = accumulator::inputs(aggregate).into_iter().map(|(input, _)| input).collect();
        StateColumn {
            type_name,
            values: inputs.iter().map(|_| Vec::new()).collect(),
            inputs,
            states: accumulator::new(aggregate),
            rows: 0,
            written: Vec::new(),
        }
    }

    pub fn read(&mut self, batch: &RowBatch, rows: &[u32], passes: &dyn Fn(u32) -> bool) {
        for (input, values) in self.inputs.iter().zip(&mut self.values) {
            values.clear();
            values.extend(rows.iter().map(|row| match input {
                _ if !passes(*row) => Value::Null,
                Input::Column(name) => value_of(batch, name, *row),
                Input::Expression(expr) => expr.value(&|name| value_of(batch, name, *row)),
            }));
        }
    }

    /// Folds what was read into new rows.
    pub fn append_all(&mut self) {
        let read = self.values.first().map_or(0, Vec::len);
        let targets: Vec<u32> = (self.rows..self.rows + read).map(|row| row as u32).collect();
        self.fold(&targets);
    }

    /// Folds what was read into the rows; those past the last are new.
    pub fn fold(&mut self, targets: &[u32]) {
        for target in targets {
            let target = *target as usize;
            self.rows = self.rows.max(target + 1);
            let block = target / BLOCK_ROWS;
            if block >= self.written.len() {
                self.written.resize(block + 1, None);
            }
            self.written[block] = None;
        }
        self.states.resize(self.rows);
        let inputs: Vec<Values> = self.values.iter().map(|values| Values::Any(values)).collect();
        self.states.fold(targets.len(), Groups::Each(targets), &inputs);
    }

    pub fn bytes(&self) -> usize {
        self.states.bytes() + self.written.len() * OVERHEAD
    }

    pub fn view(&mut self) -> Column {
        for (block, written) in self.written.iter_mut().enumerate() {
            if written.is_some() {
                continue;
            }
            let start = block * BLOCK_ROWS;
            let groups: Vec<u32> = (start..(start + BLOCK_ROWS).min(self.rows)).map(|row| row as u32).collect();
            let states = self.states.partial(&groups);
            let bytes = |row| match states.value(row) {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            };
            *written = Some(Arc::new((0..groups.len()).map(bytes).collect()));
        }
        let chunks = self.written.iter().flatten().cloned().collect();
        Column::Complex(ComplexColumn::from_chunks(self.type_name.clone(), chunks))
    }
}
