//! The slow path: a test evaluated on the values of each row.

use segment::block::Block;
use segment::expr::truth;
use segment::filter::Filter;

use super::mask::{pack, settle};
use super::{Part, Selected, leaf};
use crate::columns::{Columns, Decoded};
use crate::error::Result;

pub struct RowsNode {
    columns: Columns,
    filter: Filter,
    want: bool,
}

impl RowsNode {
    pub fn new(columns: &Columns, filter: &Filter, want: bool) -> RowsNode {
        RowsNode { columns: columns.clone(), filter: filter.clone(), want }
    }

    pub fn select(&self, part: Part, words: &mut [u64]) -> Result<Selected> {
        let answers: Vec<Option<bool>> = match &self.filter {
            Filter::Column { column, .. } => {
                let block = self.columns.block(column, part.start, part.len)?;
                leaf::tested(&self.columns, &self.filter, &block)
            }
            Filter::Expression(expr) => {
                let blocks = self.blocks(&expr.columns(), part)?;
                let results = expr.block(&Decoded { blocks: &blocks, len: part.len })?;
                (0..part.len).map(|row| truth(&results.value(row))).collect()
            }
            filter => {
                let blocks = self.blocks(&filter.columns(), part)?;
                let value = |name: &str, row: usize| {
                    let found = blocks.iter().find(|(n, _)| *n == name);
                    found.and_then(|(_, block)| Some(block.as_ref()?.value(row))).unwrap_or_default()
                };
                let compiled = filter.compile();
                (0..part.len).map(|row| compiled.matches(&|name| value(name, row))).collect()
            }
        };
        pack(words, part.len, |row| answers[row] == Some(self.want));
        Ok(settle(words, part.len))
    }

    /// `None` for columns that are not there.
    fn blocks<'a>(&self, names: &[&'a str], part: Part) -> Result<Vec<(&'a str, Option<Block>)>> {
        names
            .iter()
            .map(|name| {
                let there = self.columns.exists(name)?;
                let block = if there { Some(self.columns.block(name, part.start, part.len)?) } else { None };
                Ok((*name, block))
            })
            .collect()
    }
}
