//! Post-aggregates over rows, a column at a time.

use datasketches::hll::HllSketch;
use segment::aggregate::accumulator::Sketch;
use segment::block::{Block, Value};
use segment::schema::ValueType;
use segment::sketch::hll;
use segment::sketch::quantiles::{Quantiles, View};

use super::frame::Frame;
use crate::columns::{Decoded, cast};
use crate::error::{Error, Result};
use crate::language::PostAggregate;
use crate::language::post_aggregate::{Bins, Operator, PostKind};

/// Values of a post-aggregate that sees the first `before` ones.
pub fn evaluate(frame: &Frame<'_>, before: usize, post: &PostAggregate, rows: &[u32]) -> Result<Block> {
    let column = |name: &str| {
        frame.column_before(name, rows, before)?.ok_or_else(|| {
            Error::Invalid(format!(
                "post-aggregation [{}] reads [{name}], which is not a dimension, aggregation or earlier \
                 post-aggregation of the query",
                post.name
            ))
        })
    };
    Ok(match &post.kind {
        PostKind::Constant(Value::Long(v)) => Block::Long { values: vec![*v; rows.len()], nulls: None },
        PostKind::Constant(value) => {
            let value = if let Value::Double(v) = value { *v } else { f64::NAN };
            Block::Double { values: vec![value; rows.len()], nulls: None }
        }
        PostKind::Field { field, finalize } => match frame.aggregate(field) {
            Some(aggregate) if !finalize => {
                let leaving = super::leaving_type(&frame.shape.aggregates[aggregate], frame.shape.finalize);
                match frame.shape.aggregates[aggregate].state_type() {
                    Some(state_type) if state_type == leaving => frame.partial.states[aggregate].partial(rows),
                    _ => frame.finished(aggregate, rows),
                }
            }
            _ => column(field)?,
        },
        PostKind::Arithmetic { operator, fields } => {
            let mut fields = fields.iter();
            let first = fields.next().ok_or_else(|| Error::Bug("arithmetic without operands".into()))?;
            let mut values = doubles(evaluate(frame, before, first, rows)?);
            for field in fields {
                let more = doubles(evaluate(frame, before, field, rows)?);
                for (a, b) in values.iter_mut().zip(more) {
                    *a = a.zip(b).map(|(a, b)| apply(*operator, a, b));
                }
            }
            double_block(values)
        }
        PostKind::Extreme { greatest, long: true, fields } => {
            let mut best: Vec<Option<i64>> = vec![None; rows.len()];
            for field in fields {
                let more = cast(evaluate(frame, before, field, rows)?, &ValueType::Long);
                for (row, best) in best.iter_mut().enumerate() {
                    if let Value::Long(v) = more.value(row) {
                        *best = Some(best.map_or(v, |b| if *greatest { b.max(v) } else { b.min(v) }));
                    }
                }
            }
            let nulls: Vec<bool> = best.iter().map(Option::is_none).collect();
            Block::Long {
                values: best.into_iter().map(Option::unwrap_or_default).collect(),
                nulls: nulls.contains(&true).then_some(nulls),
            }
        }
        PostKind::Extreme { greatest, long: false, fields } => {
            let mut best: Vec<Option<f64>> = vec![None; rows.len()];
            for field in fields {
                let more = doubles(evaluate(frame, before, field, rows)?);
                for (best, v) in best.iter_mut().zip(more) {
                    if let Some(v) = v {
                        *best = Some(best.map_or(v, |b| if *greatest { b.max(v) } else { b.min(v) }));
                    }
                }
            }
            double_block(best)
        }
        PostKind::Expression { expr, output_type } => {
            let mut blocks = Vec::new();
            for name in expr.columns() {
                blocks.push((name, frame.column_before(name, rows, before)?));
            }
            let block = expr.block(&Decoded { blocks: &blocks, len: rows.len() })?;
            match output_type {
                Some(output_type) => cast(block, output_type),
                None => block,
            }
        }
        PostKind::HllEstimate { field, round } => {
            let estimates =
                hll_of(frame, post, field, rows, |sketch| sketch.map_or(0.0, HllSketch::composite_estimate))?;
            if *round {
                Block::Long { values: estimates.iter().map(|v| v.round() as i64).collect(), nulls: None }
            } else {
                Block::Double { values: estimates, nulls: None }
            }
        }
        PostKind::HllBounds { field, deviations } => {
            let deviations = i64::from(*deviations);
            let bounds = hll_of(frame, post, field, rows, |sketch| {
                list(sketch.and_then(|sketch| hll::with_bounds(sketch, deviations)).unwrap_or_default())
            })?;
            Block::Any { values: bounds }
        }
        PostKind::Quantile { field, fraction } => {
            let nan = f64::NAN;
            let values = quantiles(frame, post, field, rows, |view| view.map_or(nan, |v| v.quantile(*fraction)))?;
            Block::Double { values, nulls: None }
        }
        PostKind::Quantiles { field, fractions } => {
            let values = quantiles(frame, post, field, rows, |view| {
                list(fractions.iter().map(|f| view.map_or(f64::NAN, |view| view.quantile(*f))))
            })?;
            Block::Any { values }
        }
        PostKind::Rank { field, value } => {
            let values = quantiles(frame, post, field, rows, |view| view.map_or(f64::NAN, |v| v.rank(*value)))?;
            Block::Double { values, nulls: None }
        }
        PostKind::Cdf { field, splits } => {
            let values = quantiles(frame, post, field, rows, |view| {
                list(view.map_or_else(|| vec![f64::NAN; splits.len() + 1], |view| view.cdf(splits)))
            })?;
            Block::Any { values }
        }
        PostKind::Histogram { field, bins } => {
            let values = quantiles(frame, post, field, rows, |view| {
                list(match (view, bins) {
                    (Some(view), Bins::Splits(splits)) => view.histogram(splits),
                    (Some(view), Bins::Count(count)) => view.bins(*count),
                    (None, Bins::Splits(splits)) => vec![f64::NAN; splits.len() + 1],
                    (None, Bins::Count(count)) => vec![f64::NAN; *count],
                })
            })?;
            Block::Any { values }
        }
        PostKind::Call { expr, fields, value_type } => {
            let mut blocks = Vec::with_capacity(fields.len());
            let names: Vec<String> = (0..fields.len()).map(|i| format!("f{i}")).collect();
            for (name, field) in names.iter().zip(fields) {
                blocks.push((name.as_str(), Some(unfinished(frame, before, field, rows)?)));
            }
            let block = expr.block(&Decoded { blocks: &blocks, len: rows.len() })?;
            match value_type {
                numeric if numeric.is_numeric() => cast(block, numeric),
                _ => block,
            }
        }
    })
}

/// Values of a field: of sketches their states, whether or not the query finishes them.
fn unfinished(frame: &Frame<'_>, before: usize, post: &PostAggregate, rows: &[u32]) -> Result<Block> {
    let PostKind::Field { field, .. } = &post.kind else { return evaluate(frame, before, post, rows) };
    match frame.aggregate(field) {
        Some(aggregate) if frame.shape.aggregates[aggregate].state_type().is_some() => {
            Ok(frame.partial.states[aggregate].partial(rows))
        }
        _ => match frame.shape.posts[..before].iter().rposition(|earlier| earlier.name == *field) {
            Some(earlier) => unfinished(frame, earlier, &frame.shape.posts[earlier], rows),
            None => evaluate(frame, before, post, rows),
        },
    }
}

fn apply(operator: Operator, a: f64, b: f64) -> f64 {
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide if b == 0.0 => 0.0,
        Operator::Divide | Operator::Quotient => a / b,
        Operator::Power => a.powf(b),
    }
}

fn doubles(block: Block) -> Vec<Option<f64>> {
    let block = cast(block, &ValueType::Double);
    match block {
        Block::Double { values, nulls: None } => values.into_iter().map(Some).collect(),
        Block::Double { values, nulls: Some(nulls) } => {
            values.into_iter().zip(nulls).map(|(v, null)| (!null).then_some(v)).collect()
        }
        other => vec![None; other.len()],
    }
}

fn double_block(values: Vec<Option<f64>>) -> Block {
    let nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
    Block::Double {
        values: values.into_iter().map(Option::unwrap_or_default).collect(),
        nulls: nulls.contains(&true).then_some(nulls),
    }
}

fn list(values: impl IntoIterator<Item = f64>) -> Value {
    Value::List(values.into_iter().map(Value::Double).collect())
}

/// Calls `of` with the sketch of each row: of an aggregate of that kind.
fn hll_of<T>(
    frame: &Frame<'_>,
    post: &PostAggregate,
    field: &str,
    rows: &[u32],
    of: impl Fn(Option<&HllSketch>) -> T,
) -> Result<Vec<T>> {
    let state = state(frame, post, field)?;
    rows.iter()
        .map(|group| match state.sketch(*group) {
            None => Ok(of(None)),
            Some(Sketch::Hll(sketch)) => Ok(of(Some(sketch))),
            Some(_) => Err(wrong_kind(post, field, "an HLL sketch")),
        })
        .collect()
}

fn quantiles<T>(
    frame: &Frame<'_>,
    post: &PostAggregate,
    field: &str,
    rows: &[u32],
    of: impl Fn(Option<&View>) -> T,
) -> Result<Vec<T>> {
    let state = state(frame, post, field)?;
    rows.iter()
        .map(|group| match state.sketch(*group) {
            None => Ok(of(None)),
            Some(Sketch::Quantiles(sketch)) => Ok(of(Some(&Quantiles::view(sketch)))),
            Some(_) => Err(wrong_kind(post, field, "a quantiles sketch")),
        })
        .collect()
}

fn state<'a>(
    frame: &'a Frame<'_>,
    post: &PostAggregate,
    field: &str,
) -> Result<&'a dyn segment::aggregate::accumulator::Accumulator> {
    match frame.aggregate(field) {
        Some(aggregate) => Ok(&*frame.partial.states[aggregate]),
        None => Err(wrong_kind(post, field, "an aggregation")),
    }
}

fn wrong_kind(post: &PostAggregate, field: &str, what: &str) -> Error {
    Error::Invalid(format!("post-aggregation [{}] needs [{field}] to be {what} of the query", post.name))
}
