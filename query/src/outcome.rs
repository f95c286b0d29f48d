//! What a node makes of one query.

use futures::stream::BoxStream;
use tokio::runtime::Handle;

use crate::engine::inspect::Analysis;
use crate::engine::rows::Cursor;
use crate::error::Result;
use crate::table::{Batch, ResponseContext, Table};

/// What came out of one query.
pub struct Outcome {
    pub context: ResponseContext,
    pub touched: bool,
    /// Of a topN: the starts of the buckets that its segments span, with or without rows.
    pub buckets: Vec<i64>,
    pub rows: Rows,
}

pub enum Rows {
    Table(Table),
    Cursor(Box<Cursor>),
    /// Rows that other nodes give, and where what gives them lives.
    Stream {
        batches: BoxStream<'static, Result<Batch>>,
        runtime: Handle,
    },
    Analyses(Vec<Analysis>),
}
