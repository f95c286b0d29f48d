//! The place of an aggregate that reads no rows: which dimensions a row's grouping set leaves out is known to whoever
//! finishes the row.

use std::any::Any;

use super::{Accumulator, Groups, Values};
use crate::block::Block;

#[derive(Default)]
pub struct Grouping;

impl Accumulator for Grouping {
    fn resize(&mut self, _: usize) {}

    fn fold(&mut self, _: usize, _: Groups<'_>, _: &[Values<'_>]) {}

    fn merge(&mut self, _: &[u32], _: &dyn Accumulator) {}

    /// None is left out.
    fn finish(&self, groups: &[u32]) -> Block {
        Block::Long { values: vec![0; groups.len()], nulls: None }
    }

    fn state(&self, groups: &[u32]) -> Block {
        self.finish(groups)
    }

    fn absorb(&mut self, _: &[u32], _: &Block) -> Result<(), String> {
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Grouping)
    }

    fn bytes(&self) -> usize {
        0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
