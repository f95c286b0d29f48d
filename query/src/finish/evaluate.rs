//! Post-aggregates over rows, a column at a time.

use datasketches::common::{NumStdDev, SearchCriteria};
use datasketches::hll::HllSketch;
use datasketches::kll::{KllFloat, KllSketch};
use segment::aggregate::accumulator::Sketch;
use segment::block::{Block, Value};
use segment::schema::ValueType;

use super::frame::Frame;
use crate::columns::{Decoded, cast};
use crate::error::{Error, Result};
use crate::language::PostAggregate;
use crate::language::post_aggregate::{Bins, Operator, PostKind};

type Kll = KllSketch<KllFloat<f64>>;

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
            Some(aggregate) if !finalize && !frame.shape.finalize => {
                let state = &frame.partial.states[aggregate];
                match rows.first() {
                    Some(_) if rows.iter().any(|group| state.sketch(*group).is_some()) => state.partial(rows),
                    _ => state.finish(rows),
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
            let block = expr.block(&Decoded { blocks: &blocks, len: rows.len() });
            match output_type {
                Some(output_type) => cast(block, output_type),
                None => block,
            }
        }
        PostKind::HllEstimate { field, round } => {
            let estimates = hll(frame, post, field, rows, |sketch| sketch.map_or(0.0, HllSketch::composite_estimate))?;
            if *round {
                Block::Long { values: estimates.iter().map(|v| v.round() as i64).collect(), nulls: None }
            } else {
                Block::Double { values: estimates, nulls: None }
            }
        }
        PostKind::HllBounds { field, deviations } => {
            let deviations = match deviations {
                1 => NumStdDev::One,
                2 => NumStdDev::Two,
                _ => NumStdDev::Three,
            };
            let bounds = hll(frame, post, field, rows, |sketch| {
                let Some(sketch) = sketch else { return list([0.0; 3]) };
                list([sketch.composite_estimate(), sketch.lower_bound(deviations), sketch.upper_bound(deviations)])
            })?;
            Block::Any { values: bounds }
        }
        PostKind::Quantile { field, fraction } => {
            let values = quantiles(frame, post, field, rows, |sketch| quantile(sketch, *fraction))?;
            Block::Double { values, nulls: None }
        }
        PostKind::Quantiles { field, fractions } => {
            let values = quantiles(frame, post, field, rows, |sketch| {
                let values = sketch
                    .filter(|s| !s.is_empty())
                    .and_then(|s| s.quantiles(fractions, SearchCriteria::Inclusive).ok().flatten());
                match values {
                    Some(values) => list(values.into_iter().map(KllFloat::into_inner)),
                    None => list(fractions.iter().map(|_| f64::NAN)),
                }
            })?;
            Block::Any { values }
        }
        PostKind::Rank { field, value } => {
            let value = KllFloat::<f64>::new(*value).map_err(|_| not_a_number(post))?;
            let values = quantiles(frame, post, field, rows, |sketch| {
                sketch.and_then(|s| s.rank(&value, SearchCriteria::Exclusive)).unwrap_or(f64::NAN)
            })?;
            Block::Double { values, nulls: None }
        }
        PostKind::Cdf { field, splits } => {
            let splits = floats(post, splits)?;
            let values = quantiles(frame, post, field, rows, |sketch| {
                let cdf = sketch.and_then(|s| s.cdf(&splits, SearchCriteria::Exclusive).ok().flatten());
                list(cdf.unwrap_or_else(|| vec![f64::NAN; splits.len() + 1]))
            })?;
            Block::Any { values }
        }
        PostKind::Histogram { field, bins } => {
            let splits = match bins {
                Bins::Splits(splits) => Some(floats(post, splits)?),
                Bins::Count(_) => None,
            };
            let values =
                quantiles(frame, post, field, rows, |sketch| list(histogram(sketch, splits.as_deref(), bins)))?;
            Block::Any { values }
        }
    })
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
fn hll<T>(
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
    of: impl Fn(Option<&Kll>) -> T,
) -> Result<Vec<T>> {
    let state = state(frame, post, field)?;
    rows.iter()
        .map(|group| match state.sketch(*group) {
            None => Ok(of(None)),
            Some(Sketch::Quantiles(sketch)) => Ok(of(Some(sketch))),
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

fn not_a_number(post: &PostAggregate) -> Error {
    Error::Invalid(format!("post-aggregation [{}] was given NaN where a number is needed", post.name))
}

fn floats(post: &PostAggregate, values: &[f64]) -> Result<Vec<KllFloat<f64>>> {
    values.iter().map(|v| KllFloat::<f64>::new(*v).map_err(|_| not_a_number(post))).collect()
}

fn quantile(sketch: Option<&Kll>, fraction: f64) -> f64 {
    let value = sketch.and_then(|s| s.quantile(fraction, SearchCriteria::Inclusive).ok().flatten());
    value.map_or(f64::NAN, KllFloat::into_inner)
}

fn histogram(sketch: Option<&Kll>, splits: Option<&[KllFloat<f64>]>, bins: &Bins) -> Vec<f64> {
    let count = match (splits, bins) {
        (Some(splits), _) => splits.len() + 1,
        (None, Bins::Count(count)) => *count,
        (None, Bins::Splits(splits)) => splits.len() + 1,
    };
    let empty = || vec![f64::NAN; count];
    let Some(sketch) = sketch.filter(|s| !s.is_empty()) else { return empty() };
    let equal: Vec<KllFloat<f64>>;
    let splits = match splits {
        Some(splits) => splits,
        None => {
            let (Some(min), Some(max)) = (sketch.min_item(), sketch.max_item()) else { return empty() };
            let (min, max) = (**min, **max);
            if min == max {
                let mut counts = vec![0.0; count];
                counts[0] = sketch.n() as f64;
                return counts;
            }
            let width = (max - min) / count as f64;
            equal = (1..count).filter_map(|i| KllFloat::<f64>::new(min + width * i as f64).ok()).collect();
            &equal
        }
    };
    match sketch.pmf(splits, SearchCriteria::Exclusive) {
        Ok(Some(parts)) => parts.into_iter().map(|part| part * sketch.n() as f64).collect(),
        _ => empty(),
    }
}
