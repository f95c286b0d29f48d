//! Answers: tables of columns, in batches, and what is to be said beside them.

use std::fmt;

use futures::stream::BoxStream;
use segment::Interval;
use segment::block::{Block, Value};
use segment::schema::ValueType;

use crate::engine::inspect::Analysis;
use crate::error::Result;

/// Named columns of equal length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub columns: Vec<(String, ValueType, Block)>,
    pub rows: usize,
}

/// Rows that belong together on the wire. `segment` is the name of the segment they came from, if they came from one.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub segment: Option<String>,
    pub table: Table,
}

/// What is said beside the rows: Druid's response context.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResponseContext {
    /// Parts of the intervals asked for that are not complete now.
    pub uncovered: Vec<Interval>,
    /// There are more of them than are told.
    pub overflowed: bool,
}

/// The answer to one query. What its tables hold:
///
/// - timeseries, topN, groupBy: one batch; `__time` (start of the bucket; null in a grand total), the dimensions, the
///   aggregates and the post-aggregates as declared, rows in their final order;
/// - scan: many batches of the columns asked for;
/// - search: `__time`, `dimension`, `value`, `count`;
/// - timeBoundary: one row or none of `minTime`, `maxTime`, null where not asked for;
/// - dataSourceMetadata: one row or none of `maxIngestedEventTime`;
/// - segmentMetadata: no batch; see `analyses`.
pub struct Answer {
    pub context: ResponseContext,
    /// Whether any segment was looked at: Druid tells an empty answer from no answer.
    pub touched: bool,
    /// Of a topN: the starts of the buckets that its segments span, ascending; those without rows are told too.
    pub buckets: Vec<i64>,
    pub analyses: Vec<Analysis>,
    pub batches: BoxStream<'static, Result<Batch>>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Block> {
        self.columns.iter().find(|(n, ..)| n == name).map(|(.., block)| block)
    }

    pub fn value(&self, column: usize, row: usize) -> Value {
        self.columns[column].2.value(row)
    }
}

impl ResponseContext {
    /// Druid's form; `{}` if there is nothing to say.
    pub fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::new();
        if !self.uncovered.is_empty() {
            let intervals: Vec<String> = self.uncovered.iter().map(Interval::to_string).collect();
            map.insert("uncoveredIntervals".into(), intervals.into());
            map.insert("uncoveredIntervalsOverflowed".into(), self.overflowed.into());
        }
        serde_json::Value::Object(map)
    }
}

impl Answer {
    /// An answer of one table.
    pub fn of(table: Table, context: ResponseContext, touched: bool) -> Answer {
        let batch = Batch { segment: None, table };
        Answer {
            context,
            touched,
            buckets: Vec::new(),
            analyses: Vec::new(),
            batches: Box::pin(futures::stream::iter([Ok(batch)])),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("context", &self.context)
            .field("touched", &self.touched)
            .field("analyses", &self.analyses)
            .finish_non_exhaustive()
    }
}
