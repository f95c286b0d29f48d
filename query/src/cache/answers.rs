//! Whole answers over tables, kept where their request is conducted.
//!
//! An answer is kept under what it was made of, and only if that was nothing but published segments and all of them: so it is
//! found again while the same segments are what the query is about, and never after.

use segment::block::{Block, Value};

use super::{Caches, Key, Of, digest};
use crate::admission::Sight;
use crate::budget::Budget;
use crate::language::Query;
use crate::outcome::{Outcome, Rows};
use crate::table::{ResponseContext, Table};

pub use digest::{of_pieces, of_segments};

/// A whole answer.
pub struct KeptAnswer {
    table: Table,
    touched: bool,
    buckets: Vec<i64>,
}

impl Caches {
    /// Whether answers of a query may be kept, or found.
    pub fn keeps_answers(&self, query: &Query, budget: &Budget) -> bool {
        let caching = budget.caching();
        let kind = match query {
            Query::Timeseries(_) | Query::TopN(_) | Query::GroupBy(_) => true,
            Query::Search(_) | Query::TimeBoundary(_) => true,
            Query::Scan(_) | Query::SegmentMetadata(_) | Query::DataSourceMetadata(_) => false,
        };
        // Who may read so many bytes only is refused by what is read.
        kind && (caching.use_results || caching.populate_results)
            && !self.results.is_off()
            && !budget.is_scan_bounded()
            && query.scope().source.is_stored()
    }

    /// What was kept of a query over the segments of a cut.
    pub fn answer(&self, query: &Query, sight: &Sight, cut: &Key, budget: &Budget) -> Option<Outcome> {
        if !budget.caching().use_results {
            return None;
        }
        let kept = self.results.get(&digest::of_answer(query, sight, cut));
        self.found(Of::Results, kept.is_some());
        kept.map(|kept| Outcome {
            context: ResponseContext::default(),
            touched: kept.touched,
            buckets: kept.buckets.clone(),
            rows: Rows::Table(kept.table.clone()),
        })
    }

    /// Keeps an answer, if it is whole and not too large.
    pub fn keep_answer(&self, query: &Query, sight: &Sight, cut: &Key, budget: &Budget, outcome: &Outcome) {
        let Outcome { context, touched, buckets, rows: Rows::Table(table) } = outcome else { return };
        if !budget.caching().populate_results || !context.uncovered.is_empty() {
            return;
        }
        let most = self.settings.entry_bytes_max;
        // What has more values than that is not even counted.
        if table.rows.saturating_mul(table.columns.len()) > most {
            return;
        }
        let bytes = bytes_of(table) + buckets.len() * 8;
        if bytes <= most {
            let kept = KeptAnswer { table: table.clone(), touched: *touched, buckets: buckets.clone() };
            let evicted = self.results.put(digest::of_answer(query, sight, cut), kept.into(), bytes);
            self.kept(Of::Results, evicted);
        }
    }
}

/// What a table takes, roughly.
fn bytes_of(table: &Table) -> usize {
    let column = |block: &Block| match block {
        Block::Long { values, .. } => values.len() * 9,
        Block::Double { values, .. } => values.len() * 9,
        Block::Text { values } => values.iter().map(|text| 32 + text.as_ref().map_or(0, |text| text.len())).sum(),
        Block::Any { values } => values.iter().map(bytes_of_value).sum(),
    };
    size_of::<KeptAnswer>()
        + table.columns.iter().map(|(name, _, block)| 128 + name.len() + column(block)).sum::<usize>()
}

fn bytes_of_value(value: &Value) -> usize {
    32 + match value {
        Value::Null | Value::Long(_) | Value::Double(_) => 0,
        Value::Text(text) => text.len(),
        Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) => values.iter().map(bytes_of_value).sum(),
    }
}
