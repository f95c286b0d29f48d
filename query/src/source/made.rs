//! Rows that are made for a query, as a segment.

use std::sync::Arc;

use segment::block::{Block, Value};
use segment::column::{Column, ColumnBuilder};
use segment::schema::{TIME, ValueType};
use segment::segment::Provenance;
use segment::{Interval, Segment, SegmentId};

use crate::budget::{Budget, Taken};
use crate::error::Result;
use crate::table::Table;

/// The time of a row: as it comes, and in its column.
const TIME_BYTES: usize = 16;

/// Columns that grow by tables; a column that a table lacks is null there. Rows without a time are of 1970. What they hold
/// counts in the query's budget.
pub struct Made {
    columns: Vec<(String, ColumnBuilder)>,
    times: Vec<i64>,
    taken: Taken,
    counted: usize,
}

impl Made {
    pub fn new(budget: &Arc<Budget>) -> Result<Made> {
        Ok(Made { columns: Vec::new(), times: Vec::new(), taken: Taken::new(budget, 0)?, counted: 0 })
    }

    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Memory that the rows hold.
    pub fn bytes(&self) -> usize {
        self.times.len() * TIME_BYTES + self.columns.iter().map(|(_, builder)| builder.bytes()).sum::<usize>()
    }

    /// Fails if the query may not hold as much.
    pub fn add(&mut self, table: &Table) -> Result<()> {
        self.push(table);
        let bytes = self.bytes();
        self.taken.grow(bytes.saturating_sub(self.counted))?;
        self.counted = bytes;
        Ok(())
    }

    fn push(&mut self, table: &Table) {
        let before = self.times.len();
        let mut timed = false;
        for (i, (name, value_type, block)) in table.columns.iter().enumerate() {
            // Asked for twice it is there once.
            if table.columns[..i].iter().any(|(before, ..)| before == name) {
                continue;
            }
            if name == TIME && matches!(block, Block::Long { .. }) {
                timed = true;
                // The time of a grand total is none; it counts as the epoch.
                self.times.extend((0..table.rows).map(|row| match block.value(row) {
                    Value::Long(t) => t,
                    _ => 0,
                }));
                continue;
            }
            let at = self.columns.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
                let mut builder = ColumnBuilder::new(value_type.clone());
                (0..before).for_each(|_| builder.push(&Value::Null));
                self.columns.push((name.clone(), builder));
                self.columns.len() - 1
            });
            (0..table.rows).for_each(|row| self.columns[at].1.push(&block.value(row)));
        }
        if !timed {
            self.times.extend(std::iter::repeat_n(0, table.rows));
        }
        for (name, builder) in &mut self.columns {
            if !table.columns.iter().any(|(n, ..)| n == name) {
                (0..table.rows).for_each(|_| builder.push(&Value::Null));
            }
        }
    }

    /// The segment, and the memory it holds.
    pub fn finish(self) -> (Segment, Taken) {
        let mut time = ColumnBuilder::new(ValueType::Long);
        self.times.iter().for_each(|t| time.push(&Value::Long(*t)));
        let Column::Number(time) = time.finish() else { unreachable!("longs make a number column") };
        let dimensions = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let columns = self.columns.into_iter().map(|(name, builder)| (name, builder.finish())).collect();
        let id = SegmentId {
            datasource: "inline".into(),
            interval: Interval::ETERNITY,
            version: String::new(),
            partition: 0,
        };
        let provenance = Provenance { rollup: false, query_granularity: None, aggregates: Vec::new() };
        let sorted = self.times.is_sorted();
        (Segment::from_parts(id, time, columns, dimensions, Vec::new(), sorted, provenance), self.taken)
    }
}
