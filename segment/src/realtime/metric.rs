//! Metrics: what is read of each row, and how it folds into a stored one.

use super::chunk::NumberChunks;
use super::coerce::{self, Coerced, Number};
use super::dimension::Faults;
use super::state::StateColumn;
use crate::aggregate::{Aggregate, AggregateKind, Input};
use crate::block::Value;
use crate::column::{Column, NumberColumn};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::filter::Filter;
use crate::row::{Cell, RowBatch};
use crate::schema::{TIME, ValueType};

/// A metric's definition, checked and ready to run.
pub(super) struct Metric {
    pub name: String,
    fold: Fold,
    input: Source,
    filters: Vec<Filter>,
    value_type: ValueType,
    /// Columns it reads: discovery leaves them out.
    pub reads: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fold {
    Count,
    Sum,
    Min,
    Max,
    /// By an accumulator, whose states are kept.
    State,
}

enum Source {
    Nothing,
    Column(String),
    Expression(Expr),
    State(Box<Aggregate>),
}

/// The stored values of a metric.
pub(super) struct MetricColumn {
    values: Values,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    nulls: Vec<bool>,
}

enum Values {
    Long(NumberChunks),
    Double { chunks: NumberChunks, float: bool },
    State(StateColumn),
}

impl Metric {
    pub fn new(aggregate: &Aggregate) -> Result<Metric> {
        let mut filters = Vec::new();
        let mut kind = &aggregate.kind;
        while let AggregateKind::Filtered { filter, inner } = kind {
            filters.push(filter.clone());
            kind = &inner.kind;
        }
        let (fold, input, value_type) = match kind {
            AggregateKind::Count => (Fold::Count, Source::Nothing, ValueType::Long),
            AggregateKind::Sum { value_type, input } => (Fold::Sum, Source::from(input), value_type.clone()),
            AggregateKind::Min { value_type, input } => (Fold::Min, Source::from(input), value_type.clone()),
            AggregateKind::Max { value_type, input } => (Fold::Max, Source::from(input), value_type.clone()),
            kind if matches!(aggregate.stored_type(), ValueType::Complex(_)) => {
                let inner = Aggregate { name: aggregate.name.clone(), kind: kind.clone() };
                (Fold::State, Source::State(Box::new(inner)), aggregate.stored_type())
            }
            _ => {
                return Err(Error::invalid(format!(
                    "metricsSpec: metric {} is of a type that cannot be ingested; supported are count, longSum, \
                     longMin, longMax, doubleSum, doubleMin, doubleMax, floatSum, floatMin, floatMax, the sketches, and \
                     filtered around one of them",
                    aggregate.name
                )));
            }
        };
        if fold != Fold::State && !value_type.is_numeric() {
            return Err(Error::invalid(format!("metricsSpec: metric {} must be of a number type", aggregate.name)));
        }
        let reads = aggregate.columns().into_iter().map(str::to_string).collect();
        Ok(Metric { name: aggregate.name.clone(), fold, input, filters, value_type, reads })
    }

    /// The batch's field it reads, if it reads one.
    pub fn field(&self, batch: &RowBatch) -> Option<usize> {
        match &self.input {
            Source::Column(name) => batch.find(name),
            Source::Nothing | Source::Expression(_) | Source::State(_) => None,
        }
    }

    fn passes(&self, batch: &RowBatch, row: u32) -> bool {
        self.filters.iter().all(|filter| filter.matches(&|name| value_of(batch, name, row)) == Some(true))
    }

    /// The number a row contributes; `Ok(None)` is null.
    fn number(&self, batch: &RowBatch, cells: Option<&[Cell]>, row: u32) -> Result<Option<Number>, String> {
        let coerced = match &self.input {
            Source::Nothing | Source::State(_) => return Ok(Some(Number::Long(1))),
            Source::Column(name) if name == TIME => {
                return Ok(Some(Number::Long(batch.times()[row as usize])));
            }
            Source::Column(_) => match cells {
                Some(cells) => coerce::number(batch, cells[row as usize]),
                None => Coerced::Null,
            },
            Source::Expression(expr) => match expr.value(&|name| value_of(batch, name, row)) {
                Value::Long(value) => Coerced::Value(Number::Long(value)),
                Value::Double(value) => Coerced::Value(Number::Double(value)),
                Value::Text(text) => coerce::number_of_text(&text).map_or(Coerced::Bad, Coerced::Value),
                Value::Null => Coerced::Null,
                _ => Coerced::Bad,
            },
        };
        match coerced {
            Coerced::Value(number) => Ok(Some(number)),
            Coerced::Null => Ok(None),
            Coerced::Bad => Err(self.unparseable(batch, cells, row)),
        }
    }

    fn unparseable(&self, batch: &RowBatch, cells: Option<&[Cell]>, row: u32) -> String {
        let field = match &self.input {
            Source::Column(name) => name,
            _ => &self.name,
        };
        match cells.map(|cells| cells[row as usize]) {
            Some(cell @ Cell::Text { .. }) => {
                let text: String = batch.text_of(cell).chars().take(200).collect();
                format!("Unable to parse value[{text}] for field[{field}]")
            }
            _ => format!("Unable to parse the value for field[{field}]"),
        }
    }
}

impl From<&Input> for Source {
    fn from(input: &Input) -> Source {
        match input {
            Input::Column(name) => Source::Column(name.clone()),
            Input::Expression(expr) => Source::Expression(expr.clone()),
        }
    }
}

pub(super) fn value_of(batch: &RowBatch, name: &str, row: u32) -> Value {
    if name == TIME {
        return Value::Long(batch.times()[row as usize]);
    }
    batch.find(name).map_or(Value::Null, |field| batch.value(batch.cells(field)[row as usize]))
}

impl MetricColumn {
    pub fn new(metric: &Metric) -> MetricColumn {
        let values = match (&metric.input, &metric.value_type) {
            (Source::State(aggregate), _) => Values::State(StateColumn::new(aggregate)),
            (_, ValueType::Long) => Values::Long(NumberChunks::long()),
            (_, value_type) => {
                Values::Double { chunks: NumberChunks::double(), float: *value_type == ValueType::Float }
            }
        };
        MetricColumn { values, longs: Vec::new(), doubles: Vec::new(), nulls: Vec::new() }
    }

    /// Reads what each row contributes.
    pub fn read(&mut self, metric: &Metric, batch: &RowBatch, field: Option<usize>, rows: &[u32], faults: &mut Faults) {
        self.longs.clear();
        self.doubles.clear();
        self.nulls.clear();
        if let Values::State(column) = &mut self.values {
            column.read(batch, rows, &|row| metric.passes(batch, row));
            return;
        }
        let long = matches!(self.values, Values::Long(_));
        if metric.fold == Fold::Count && metric.filters.is_empty() {
            self.longs.resize(rows.len(), 1);
            return;
        }
        let cells = field.map(|field| batch.cells(field));
        for (at, &row) in rows.iter().enumerate() {
            let number = if !metric.filters.is_empty() && !metric.passes(batch, row) {
                (metric.fold == Fold::Count).then_some(Number::Long(0))
            } else {
                metric.number(batch, cells, row).unwrap_or_else(|reason| {
                    faults.add(at, row, || reason);
                    None
                })
            };
            if number.is_none() {
                self.nulls.resize(rows.len(), false);
                self.nulls[at] = true;
            }
            if long {
                self.longs.push(number.map_or(0, Number::long));
            } else {
                self.doubles.push(number.map_or(0.0, Number::double));
            }
        }
        if matches!(self.values, Values::Double { float: true, .. }) {
            self.doubles.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        }
    }

    /// Stores what was read as new rows.
    pub fn append_all(&mut self) {
        match &mut self.values {
            Values::Long(chunks) => chunks.extend_longs(&self.longs, &self.nulls),
            Values::Double { chunks, .. } => chunks.extend_doubles(&self.doubles, &self.nulls),
            Values::State(column) => column.append_all(),
        }
    }

    /// Folds what was read into the rows `targets`; those from `rows` on are new.
    pub fn fold(&mut self, metric: &Metric, targets: &[u32]) {
        let null = |nulls: &[bool], at: usize| !nulls.is_empty() && nulls[at];
        let nulls = &self.nulls;
        match &mut self.values {
            Values::State(column) => column.fold(targets),
            Values::Long(chunks) => {
                let fold = match metric.fold {
                    Fold::Count | Fold::Sum | Fold::State => i64::wrapping_add,
                    Fold::Min => i64::min,
                    Fold::Max => i64::max,
                };
                for (at, &row) in targets.iter().enumerate() {
                    let value = self.longs[at];
                    if row as usize == chunks.rows() {
                        chunks.push_long((!null(nulls, at)).then_some(value));
                    } else if !null(nulls, at) {
                        chunks.fold_long(row as usize, value, fold);
                    }
                }
            }
            Values::Double { chunks, float } => {
                // A sum of two floats in double precision, rounded to a float, is the float sum.
                let fold = match (metric.fold, *float) {
                    (Fold::Count | Fold::Sum | Fold::State, false) => |a: f64, b: f64| a + b,
                    (Fold::Count | Fold::Sum | Fold::State, true) => |a: f64, b: f64| f64::from((a + b) as f32),
                    (Fold::Min, _) => f64::min,
                    (Fold::Max, _) => f64::max,
                };
                for (at, &row) in targets.iter().enumerate() {
                    let value = self.doubles[at];
                    if row as usize == chunks.rows() {
                        chunks.push_double((!null(nulls, at)).then_some(value));
                    } else if !null(nulls, at) {
                        chunks.fold_double(row as usize, value, fold);
                    }
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Long(chunks) => chunks.bytes(),
            Values::Double { chunks, .. } => chunks.bytes(),
            Values::State(column) => column.bytes(),
        }
    }

    pub fn view(&mut self) -> Column {
        let (value_type, chunks) = match &mut self.values {
            Values::State(column) => return column.view(),
            Values::Long(chunks) => (ValueType::Long, chunks),
            Values::Double { chunks, float: true } => (ValueType::Float, chunks),
            Values::Double { chunks, float: false } => (ValueType::Double, chunks),
        };
        Column::Number(NumberColumn::from_chunks(value_type, chunks.share()))
    }
}
