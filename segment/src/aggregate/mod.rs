//! Aggregates: what they are, in Druid's JSON form, and how they fold. The same accumulators serve rollup, scan and
//! merge.

use crate::error::Result;
use crate::expr::Expr;
use crate::filter::Filter;
use crate::schema::ValueType;

pub mod accumulator;

/// A named aggregate.
#[derive(Debug, Clone)]
pub struct Aggregate {
    pub name: String,
    pub kind: AggregateKind,
}

#[derive(Debug, Clone)]
pub enum AggregateKind {
    Count,
    /// Long wraps on overflow. The type is `Long`, `Float` or `Double`.
    Sum { value_type: ValueType, input: Input },
    Min { value_type: ValueType, input: Input },
    Max { value_type: ValueType, input: Input },
    Mean { input: Input },
    /// Value at the smallest time. The type may be `String` too (then cut to `max_bytes`).
    First { value_type: ValueType, column: String, time_column: String, max_bytes: usize },
    Last { value_type: ValueType, column: String, time_column: String, max_bytes: usize },
    Any { value_type: ValueType, column: String, max_bytes: usize },
    /// Exact number of distinct non-null values (of the tuples of the columns).
    Distinct { columns: Vec<Input> },
    /// HyperLogLog estimate of distinct non-null values (`HLLSketchBuild`, `cardinality`, `hyperUnique`).
    Hll { columns: Vec<Input>, lg_k: u8, round: bool },
    /// A quantiles sketch over numbers (`quantilesDoublesSketch`): finalizes to the number of values; the post-aggregate
    /// takes the quantile.
    Quantiles { input: Input, k: u16 },
    /// Only the rows that the filter matches.
    Filtered { filter: Filter, inner: Box<Aggregate> },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Column(String),
    Expression(Expr),
}

impl Aggregate {
    /// Druid's JSON. Errors carry the path of the field below `path`, the valid names and the fix.
    pub fn from_json(json: &serde_json::Value, path: &str) -> Result<Aggregate> {
        let _ = (json, path);
        todo!()
    }

    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }

    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        todo!()
    }

    /// Type of the finished value.
    pub fn value_type(&self) -> ValueType {
        todo!()
    }

    /// The aggregate that folds this one's finished values or partials when rolled-up rows are merged
    /// (`count` becomes a long sum of the column of the same name).
    pub fn combining(&self) -> Aggregate {
        todo!()
    }
}
