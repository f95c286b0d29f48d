//! Aggregates: what they are, in Druid's JSON form, and how they fold. The same accumulators serve rollup, scan and
//! merge.

use crate::expr::Expr;
use crate::filter::Filter;
use crate::schema::{TIME, ValueType};

pub mod accumulator;
mod json;

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
    Sum {
        value_type: ValueType,
        input: Input,
    },
    Min {
        value_type: ValueType,
        input: Input,
    },
    Max {
        value_type: ValueType,
        input: Input,
    },
    Mean {
        input: Input,
    },
    /// Value at the smallest time. The type may be `String` too (then cut to `max_bytes`).
    First {
        value_type: ValueType,
        column: String,
        time_column: String,
        max_bytes: usize,
    },
    Last {
        value_type: ValueType,
        column: String,
        time_column: String,
        max_bytes: usize,
    },
    Any {
        value_type: ValueType,
        column: String,
        max_bytes: usize,
    },
    /// Exact number of distinct non-null values (of the tuples of the columns).
    Distinct {
        columns: Vec<Input>,
    },
    /// HyperLogLog estimate of distinct non-null values (`HLLSketchBuild`, `cardinality`, `hyperUnique`).
    Hll {
        columns: Vec<Input>,
        lg_k: u8,
        round: bool,
    },
    /// A quantiles sketch over numbers (`quantilesDoublesSketch`): finalizes to the number of values; the post-aggregate
    /// takes the quantile.
    Quantiles {
        input: Input,
        k: u16,
    },
    /// Only the rows that the filter matches.
    Filtered {
        filter: Filter,
        inner: Box<Aggregate>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Column(String),
    Expression(Expr),
}

impl Aggregate {
    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        self.collect(&mut columns);
        columns
    }

    fn collect<'a>(&'a self, into: &mut Vec<&'a str>) {
        let mut add = |name: &'a str| {
            if !into.contains(&name) {
                into.push(name);
            }
        };
        match &self.kind {
            AggregateKind::Count => {}
            AggregateKind::Sum { input, .. }
            | AggregateKind::Min { input, .. }
            | AggregateKind::Max { input, .. }
            | AggregateKind::Mean { input }
            | AggregateKind::Quantiles { input, .. } => input.columns().into_iter().for_each(add),
            AggregateKind::First { column, time_column, .. } | AggregateKind::Last { column, time_column, .. } => {
                add(column);
                add(time_column);
            }
            AggregateKind::Any { column, .. } => add(column),
            AggregateKind::Distinct { columns } | AggregateKind::Hll { columns, .. } => {
                columns.iter().flat_map(Input::columns).for_each(add);
            }
            AggregateKind::Filtered { filter, inner } => {
                filter.columns().into_iter().for_each(add);
                inner.collect(into);
            }
        }
    }

    /// Type of the finished value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            AggregateKind::Count | AggregateKind::Distinct { .. } | AggregateKind::Quantiles { .. } => ValueType::Long,
            AggregateKind::Sum { value_type, .. }
            | AggregateKind::Min { value_type, .. }
            | AggregateKind::Max { value_type, .. }
            | AggregateKind::First { value_type, .. }
            | AggregateKind::Last { value_type, .. }
            | AggregateKind::Any { value_type, .. } => value_type.clone(),
            AggregateKind::Mean { .. } | AggregateKind::Hll { round: false, .. } => ValueType::Double,
            AggregateKind::Hll { round: true, .. } => ValueType::Long,
            AggregateKind::Filtered { inner, .. } => inner.value_type(),
        }
    }

    /// Type of the column that keeps it as a metric: sketches keep their state, the others their value.
    pub fn stored_type(&self) -> ValueType {
        match &self.kind {
            AggregateKind::Hll { .. } => ValueType::Complex("HLLSketch".into()),
            AggregateKind::Quantiles { .. } => ValueType::Complex("quantilesDoublesSketch".into()),
            AggregateKind::Filtered { inner, .. } => inner.stored_type(),
            _ => self.value_type(),
        }
    }

    /// The aggregate that folds this one's finished values or partials when rolled-up rows are merged
    /// (`count` becomes a long sum of the column of the same name).
    pub fn combining(&self) -> Aggregate {
        let name = self.name.clone();
        let input = Input::Column(name.clone());
        let column = name.clone();
        let kind = match &self.kind {
            AggregateKind::Count => AggregateKind::Sum { value_type: ValueType::Long, input },
            AggregateKind::Sum { value_type, .. } => AggregateKind::Sum { value_type: value_type.clone(), input },
            AggregateKind::Min { value_type, .. } => AggregateKind::Min { value_type: value_type.clone(), input },
            AggregateKind::Max { value_type, .. } => AggregateKind::Max { value_type: value_type.clone(), input },
            AggregateKind::Mean { .. } => AggregateKind::Mean { input },
            AggregateKind::First { value_type, max_bytes, .. } => AggregateKind::First {
                value_type: value_type.clone(),
                column,
                time_column: TIME.to_string(),
                max_bytes: *max_bytes,
            },
            AggregateKind::Last { value_type, max_bytes, .. } => AggregateKind::Last {
                value_type: value_type.clone(),
                column,
                time_column: TIME.to_string(),
                max_bytes: *max_bytes,
            },
            AggregateKind::Any { value_type, max_bytes, .. } => {
                AggregateKind::Any { value_type: value_type.clone(), column, max_bytes: *max_bytes }
            }
            AggregateKind::Distinct { .. } => AggregateKind::Distinct { columns: vec![input] },
            AggregateKind::Hll { lg_k, round, .. } => {
                AggregateKind::Hll { columns: vec![input], lg_k: *lg_k, round: *round }
            }
            AggregateKind::Quantiles { k, .. } => AggregateKind::Quantiles { input, k: *k },
            AggregateKind::Filtered { inner, .. } => {
                return Aggregate { name, kind: inner.kind.clone() }.combining();
            }
        };
        Aggregate { name, kind }
    }
}

impl Input {
    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Input::Column(column) => vec![column],
            Input::Expression(expr) => expr.columns(),
        }
    }
}
