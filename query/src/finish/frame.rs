//! Groups seen as a table of named columns, computed when asked for.

use std::borrow::Cow;
use std::cmp::Ordering;

use segment::aggregate::AggregateKind;
use segment::block::Block;
use segment::schema::{TIME, ValueType};

use super::evaluate::evaluate;
use super::{ROW_BYTES, Shape, leaving_type};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::partial::{Decoder, Partial};
use crate::table::Table;

pub struct Frame<'a> {
    pub shape: &'a Shape<'a>,
    pub partial: &'a Partial,
    decoders: Vec<Decoder<'a>>,
}

impl<'a> Frame<'a> {
    pub fn new(shape: &'a Shape<'a>, partial: &'a Partial) -> Result<Frame<'a>> {
        let decoders = partial.keys.iter().map(|key| key.decoder()).collect::<Result<_>>()?;
        Ok(Frame { shape, partial, decoders })
    }

    /// The key of a dimension, by its place in the query.
    pub fn key_of_dimension(&self, dimension: usize) -> usize {
        dimension + usize::from(self.partial.has_time)
    }

    pub fn compare_key(&self, key: usize, a: u32, b: u32) -> Ordering {
        self.decoders[key].compare(self.partial.table.id(a, key), self.partial.table.id(b, key))
    }

    pub fn compare_time(&self, a: u32, b: u32) -> Ordering {
        if self.partial.has_time { self.compare_key(0, a, b) } else { Ordering::Equal }
    }

    pub fn text(&self, key: usize, group: u32) -> Option<Cow<'_, str>> {
        self.decoders[key].text(self.partial.table.id(group, key))
    }

    /// Whether an ordering as text is the natural order of a key.
    pub fn natural_is(&self, key: usize, ordering: segment::filter::Ordering) -> bool {
        use segment::filter::Ordering;
        match self.decoders[key].output_type() {
            ValueType::String => ordering == Ordering::Lexicographic,
            // An array has no other order than its own.
            ValueType::Array(_) => true,
            ValueType::Complex(_) => false,
            _ => ordering == Ordering::Numeric,
        }
    }

    /// A column of the rows by its name: the time, a dimension, a finished aggregate or a post-aggregate. Post-aggregates
    /// see the ones before them.
    pub fn column(&self, name: &str, rows: &[u32]) -> Result<Option<Block>> {
        self.column_before(name, rows, self.shape.posts.len())
    }

    pub fn column_before(&self, name: &str, rows: &[u32], posts: usize) -> Result<Option<Block>> {
        if let Some(post) = self.shape.posts[..posts].iter().rposition(|post| post.name == name) {
            return evaluate(self, post, &self.shape.posts[post], rows).map(Some);
        }
        if let Some(aggregate) = self.aggregate(name) {
            return Ok(Some(self.finished(aggregate, rows)));
        }
        if let Some(dimension) = self.shape.dimensions.iter().position(|d| d.output == name) {
            return Ok(Some(self.key(self.key_of_dimension(dimension), rows)));
        }
        Ok((name == TIME).then(|| self.time(rows)))
    }

    /// The place of an aggregate.
    pub fn aggregate(&self, name: &str) -> Option<usize> {
        self.shape.aggregates.iter().position(|a| a.name == name)
    }

    /// Finished values of an aggregate.
    pub fn finished(&self, aggregate: usize, rows: &[u32]) -> Block {
        let mut kind = &self.shape.aggregates[aggregate].kind;
        while let AggregateKind::Filtered { inner, .. } = kind {
            kind = &inner.kind;
        }
        match kind {
            AggregateKind::Grouping { dimensions } => {
                Block::Long { values: vec![self.shape.left_out(dimensions); rows.len()], nulls: None }
            }
            _ => self.partial.states[aggregate].finish(rows),
        }
    }

    fn key(&self, key: usize, rows: &[u32]) -> Block {
        self.decoders[key].block(rows.iter().map(|group| self.partial.table.id(*group, key)))
    }

    fn time(&self, rows: &[u32]) -> Block {
        if self.partial.has_time {
            self.key(0, rows)
        } else {
            Block::Long { values: vec![self.shape.start; rows.len()], nulls: None }
        }
    }

    /// The type of a column.
    pub fn value_type(&self, name: &str, posts: usize) -> Option<ValueType> {
        if let Some(post) = self.shape.posts[..posts].iter().rposition(|post| post.name == name) {
            return Some(self.shape.posts[post].value_type(&|name| self.value_type(name, post)));
        }
        if let Some(aggregate) = self.aggregate(name) {
            return Some(self.shape.aggregates[aggregate].value_type());
        }
        if let Some(dimension) = self.shape.dimensions.iter().find(|d| d.output == name) {
            return Some(dimension.output_type.clone());
        }
        (name == TIME).then_some(ValueType::Long)
    }

    /// The rows of the answer.
    pub fn table(&self, rows: &[u32], budget: &Budget) -> Result<Table> {
        budget.check()?;
        let width = 1 + self.shape.dimensions.len() + self.shape.aggregates.len() + self.shape.posts.len();
        let _room = self.partial.taken.more(rows.len() * width * ROW_BYTES)?;
        let mut columns = Vec::with_capacity(width);
        columns.push((TIME.to_string(), ValueType::Long, self.time(rows)));
        for (i, dimension) in self.shape.dimensions.iter().enumerate() {
            let block = self.key(self.key_of_dimension(i), rows);
            columns.push((dimension.output.clone(), dimension.output_type.clone(), block));
        }
        for (i, (state, aggregate)) in self.partial.states.iter().zip(self.shape.aggregates).enumerate() {
            if let Some(complaint) = state.complaint(rows) {
                return Err(Error::Invalid(format!("aggregation [{}]: {complaint}", aggregate.name)));
            }
            let value_type = leaving_type(aggregate, self.shape.finalize);
            let block = match aggregate.state_type() {
                Some(state_type) if state_type == value_type => state.partial(rows),
                _ => self.finished(i, rows),
            };
            columns.push((aggregate.name.clone(), value_type, block));
        }
        for (i, post) in self.shape.posts.iter().enumerate() {
            budget.check()?;
            let block = evaluate(self, i, post, rows)?;
            let value_type = post.value_type(&|name| self.value_type(name, i));
            let value_type = match (&block, value_type) {
                // A sketch that leaves as it is.
                (Block::Any { values }, ValueType::Double | ValueType::Long)
                    if values.iter().any(|v| matches!(v, segment::block::Value::Bytes(_))) =>
                {
                    self.sketch_type(post).unwrap_or(ValueType::Double)
                }
                (_, value_type) => value_type,
            };
            columns.push((post.name.clone(), value_type, block));
        }
        if columns.iter().any(|(.., block)| block.len() != rows.len()) {
            return Err(Error::Bug("columns of an answer differ in length".into()));
        }
        Ok(Table { columns, rows: rows.len() })
    }

    fn sketch_type(&self, post: &crate::language::PostAggregate) -> Option<ValueType> {
        let name = *post.columns().first()?;
        Some(leaving_type(&self.shape.aggregates[self.aggregate(name)?], false))
    }
}
