//! Rows of an answer as values, for protocols that send cell by cell.

use arrow::array::{Array, ListArray};
use futures::stream::StreamExt;
use segment::time::Zone;

use crate::Batches;
use crate::error::Result;
use crate::respond::{Cells, quoted, shown};
use crate::{SqlAnswer, SqlColumn};

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    Text(String),
    /// Milliseconds since 1970, UTC.
    Time(i64),
    List(Vec<Cell>),
}

/// An answer that is read in portions. Dropping it ends the statement.
pub struct Rows {
    pub columns: Vec<SqlColumn>,
    /// The zone that the statement shows time in.
    pub zone: Zone,
    batches: Batches,
    /// The batch at hand, its columns looked at once, and the next row of it.
    open: Option<(Vec<Cells>, usize, usize)>,
    /// Rows of a portion that was given up before it was full.
    gathered: Vec<Vec<Cell>>,
    ended: bool,
}

impl SqlAnswer {
    pub fn rows(self) -> Rows {
        Rows {
            columns: self.columns,
            zone: self.zone,
            batches: self.batches,
            open: None,
            gathered: Vec::new(),
            ended: false,
        }
    }
}

impl Rows {
    /// Up to `most` rows; fewer only at the end. Dropped before it is ready, nothing is lost: what was read comes with the
    /// next call or by [`Rows::at_hand`].
    pub async fn next(&mut self, most: usize) -> Result<Vec<Vec<Cell>>> {
        loop {
            self.gather(most);
            if self.gathered.len() >= most || self.ended {
                return Ok(self.at_hand());
            }
            match self.batches.next().await {
                None => self.ended = true,
                Some(batch) => {
                    let batch = batch?;
                    let cells = batch.columns().iter().map(|column| Cells::new(column.as_ref()));
                    self.open = Some((cells.collect::<Result<_>>()?, 0, batch.num_rows()));
                }
            }
        }
    }

    /// What a call of [`Rows::next`] that was given up had read.
    pub fn at_hand(&mut self) -> Vec<Vec<Cell>> {
        std::mem::take(&mut self.gathered)
    }

    /// Whether every row was handed out.
    pub fn is_done(&self) -> bool {
        self.ended && self.open.is_none() && self.gathered.is_empty()
    }

    fn gather(&mut self, most: usize) {
        let Some((cells, at, rows)) = &mut self.open else { return };
        while *at < *rows && self.gathered.len() < most {
            self.gathered.push(cells.iter().map(|cells| cell(cells, *at)).collect());
            *at += 1;
        }
        if at == rows {
            self.open = None;
        }
    }
}

fn cell(cells: &Cells, row: usize) -> Cell {
    if cells.is_null(row) {
        return Cell::Null;
    }
    match cells {
        Cells::Null => Cell::Null,
        Cells::Long(values) => Cell::Long(values.value(row)),
        Cells::Double(values) => Cell::Double(values.value(row)),
        Cells::Float(values) => Cell::Double(f64::from(values.value(row))),
        Cells::Bool(values) => Cell::Bool(values.value(row)),
        Cells::Time(values) => Cell::Time(values.value(row)),
        Cells::Text(values) => Cell::Text(shown(values.value(row)).into_owned()),
        Cells::LargeText(values) => Cell::Text(values.value(row).to_string()),
        Cells::TextView(values) => Cell::Text(values.value(row).to_string()),
        Cells::Complex(values) => Cell::Text(quoted(values.value(row))),
        Cells::List(values) => list(values, row),
    }
}

fn list(values: &ListArray, row: usize) -> Cell {
    let items = values.value(row);
    let Ok(cells) = Cells::new(items.as_ref()) else { return Cell::Null };
    Cell::List((0..items.len()).map(|item| cell(&cells, item)).collect())
}
