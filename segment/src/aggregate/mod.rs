//! Aggregates: what they are, in Druid's JSON form, and how they fold. The same accumulators serve rollup, scan and
//! merge.

use datasketches::hll::HllType;

use crate::expr::Expr;
use crate::filter::Filter;
use crate::schema::{TIME, ValueType};
use crate::sketch::hash::TextKey;
use crate::sketch::{hll, quantiles};

pub mod accumulator;
pub mod fold;
mod json;
pub mod sketch;

pub use fold::Fold;
pub use sketch::{Sketch, SketchKind};

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
    Hll(Hll),
    /// A quantiles sketch over numbers: finalizes to the number of values; the post-aggregate takes the quantile.
    Quantiles {
        input: Input,
        k: u16,
        kind: quantiles::Kind,
        finalize: bool,
    },
    /// Another sketch.
    Sketch(Box<Sketch>),
    /// Folded by expressions.
    Fold(Box<Fold>),
    /// The value of the only row; an error if there are more.
    Single {
        column: String,
        value_type: ValueType,
    },
    /// Which of these dimensions the grouping set of a row leaves out: a bit each, the first is the highest.
    Grouping {
        dimensions: Vec<String>,
    },
    /// Only the rows that the filter matches.
    Filtered {
        filter: Filter,
        inner: Box<Aggregate>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Hll {
    pub columns: Vec<Input>,
    /// Whether a value is what all columns of a row say together; else each value of each column is one.
    pub by_row: bool,
    pub lg_k: u8,
    pub round: bool,
    /// How texts are told apart.
    pub text: TextKey,
    /// How registers are kept in the bytes.
    pub kind: HllType,
    /// Whether it leaves a query as an estimate; else as its bytes.
    pub finalize: bool,
}

impl Hll {
    pub fn of(columns: Vec<Input>) -> Hll {
        Hll {
            columns,
            by_row: false,
            lg_k: hll::LG_K_DEFAULT,
            round: false,
            text: TextKey::Utf16,
            kind: HllType::Hll4,
            finalize: true,
        }
    }
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
            AggregateKind::Single { column, .. } => add(column),
            AggregateKind::Distinct { columns } | AggregateKind::Hll(Hll { columns, .. }) => {
                columns.iter().flat_map(Input::columns).for_each(add);
            }
            AggregateKind::Sketch(sketch) => sketch.inputs.iter().flat_map(Input::columns).for_each(add),
            AggregateKind::Fold(fold) => fold.fields.iter().map(String::as_str).for_each(add),
            AggregateKind::Grouping { .. } => {}
            AggregateKind::Filtered { filter, inner } => {
                filter.columns().into_iter().for_each(add);
                inner.collect(into);
            }
        }
    }

    /// Type of the finished value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            AggregateKind::Count
            | AggregateKind::Distinct { .. }
            | AggregateKind::Quantiles { .. }
            | AggregateKind::Grouping { .. } => ValueType::Long,
            AggregateKind::Sum { value_type, .. }
            | AggregateKind::Min { value_type, .. }
            | AggregateKind::Max { value_type, .. }
            | AggregateKind::First { value_type, .. }
            | AggregateKind::Last { value_type, .. }
            | AggregateKind::Any { value_type, .. }
            | AggregateKind::Single { value_type, .. } => value_type.clone(),
            AggregateKind::Mean { .. } | AggregateKind::Hll(Hll { round: false, .. }) => ValueType::Double,
            AggregateKind::Hll(Hll { round: true, .. }) => ValueType::Long,
            AggregateKind::Sketch(sketch) => sketch.value_type(),
            AggregateKind::Fold(fold) => fold.value_type(),
            AggregateKind::Filtered { inner, .. } => inner.value_type(),
        }
    }

    /// Type of the column that keeps it as a metric: sketches and values with a time keep their state, the others their
    /// value.
    pub fn stored_type(&self) -> ValueType {
        self.state_type().unwrap_or_else(|| self.value_type())
    }

    /// The complex type of the states of sketches and values with a time.
    pub fn state_type(&self) -> Option<ValueType> {
        let complex = |name: &str| Some(ValueType::Complex(name.to_string()));
        match &self.kind {
            AggregateKind::Hll(Hll { text: TextKey::Counted, .. }) => complex("hyperUnique"),
            AggregateKind::Hll(_) => complex("HLLSketch"),
            AggregateKind::Quantiles { kind, .. } => complex(kind.name()),
            AggregateKind::Sketch(sketch) => Some(sketch.state_type()),
            AggregateKind::First { value_type, .. } | AggregateKind::Last { value_type, .. } => {
                complex(match value_type {
                    ValueType::Long => "serializablePairLongLong",
                    ValueType::Float => "serializablePairLongFloat",
                    ValueType::Double => "serializablePairLongDouble",
                    _ => "serializablePairLongString",
                })
            }
            AggregateKind::Filtered { inner, .. } => inner.state_type(),
            _ => None,
        }
    }

    /// Whether it is a sketch that leaves as its bytes, whatever the query says.
    pub fn leaves_as_state(&self) -> bool {
        match &self.kind {
            AggregateKind::Hll(Hll { finalize, .. }) | AggregateKind::Quantiles { finalize, .. } => !finalize,
            AggregateKind::Sketch(sketch) => {
                let kept = |kind: &SketchKind| {
                    use SketchKind::{Cpc, Frequent, Theta, Tuple};
                    matches!(kind, Theta { .. } | Tuple { .. } | Cpc { .. } | Frequent { .. })
                };
                !sketch.finalize && kept(&sketch.kind)
            }
            AggregateKind::Filtered { inner, .. } => inner.leaves_as_state(),
            _ => false,
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
            AggregateKind::Hll(hll) => AggregateKind::Hll(Hll { columns: vec![input], by_row: false, ..hll.clone() }),
            AggregateKind::Quantiles { k, kind, finalize, .. } => {
                AggregateKind::Quantiles { input, k: *k, kind: *kind, finalize: *finalize }
            }
            AggregateKind::Sketch(sketch) => AggregateKind::Sketch(Box::new(sketch.combining(column))),
            AggregateKind::Fold(fold) => {
                AggregateKind::Fold(Box::new(Fold { fields: vec![column], ..(**fold).clone() }))
            }
            AggregateKind::Single { value_type, .. } => {
                AggregateKind::Single { column, value_type: value_type.clone() }
            }
            AggregateKind::Grouping { dimensions } => AggregateKind::Grouping { dimensions: dimensions.clone() },
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
