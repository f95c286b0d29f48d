//! Values computed from the aggregates of a group.

use segment::block::Value;
use segment::expr::Expr;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::fields::Fields;
use super::sketch_post;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct PostAggregate {
    pub name: String,
    pub kind: PostKind,
}

#[derive(Debug, Clone)]
pub enum PostKind {
    /// From left to right, on doubles; null if any operand is.
    Arithmetic {
        operator: Operator,
        fields: Vec<PostAggregate>,
    },
    /// An aggregate, dimension or earlier post-aggregate. Not finalized, a sketch leaves as it is.
    Field {
        field: String,
        finalize: bool,
    },
    Constant(Value),
    /// The largest or smallest of the non-null fields.
    Extreme {
        greatest: bool,
        long: bool,
        fields: Vec<PostAggregate>,
    },
    /// Over finished values, by name.
    Expression {
        expr: Expr,
        output_type: Option<ValueType>,
    },
    HllEstimate {
        field: String,
        round: bool,
    },
    /// Estimate, lower and upper bound.
    HllBounds {
        field: String,
        deviations: u8,
    },
    Quantile {
        field: String,
        fraction: f64,
    },
    Quantiles {
        field: String,
        fractions: Vec<f64>,
    },
    Rank {
        field: String,
        value: f64,
    },
    /// Fractions of values below each split point, and 1.
    Cdf {
        field: String,
        splits: Vec<f64>,
    },
    /// Numbers of values between split points.
    Histogram {
        field: String,
        bins: Bins,
    },
    /// An expression over the fields, which it sees as `f0`, `f1`, …; sketches among them as their states.
    Call {
        expr: Expr,
        fields: Vec<PostAggregate>,
        value_type: ValueType,
    },
}

#[derive(Debug, Clone)]
pub enum Bins {
    Splits(Vec<f64>),
    /// Of equal width between the smallest and the largest value.
    Count(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    /// Division by zero gives zero.
    Divide,
    /// Division as IEEE has it.
    Quotient,
    Power,
}

const KNOWN: &str = "arithmetic, fieldAccess, finalizingFieldAccess, constant, doubleGreatest, doubleLeast, \
    longGreatest, longLeast, expression, hyperUniqueCardinality, HLLSketchEstimate, HLLSketchEstimateWithBounds, \
    quantilesDoublesSketchToQuantile, quantilesDoublesSketchToQuantiles, quantilesDoublesSketchToRank, \
    quantilesDoublesSketchToCDF, quantilesDoublesSketchToHistogram, KllDoublesSketchToQuantile, \
    KllDoublesSketchToQuantiles, KllDoublesSketchToRank, KllDoublesSketchToCDF, KllDoublesSketchToHistogram, \
    KllFloatsSketchToQuantile, KllFloatsSketchToQuantiles, KllFloatsSketchToRank, KllFloatsSketchToCDF, \
    KllFloatsSketchToHistogram";

/// How deep post-aggregates may nest.
const DEPTH_MAX: usize = 64;

impl PostAggregate {
    pub fn from_json(json: &Json, path: &str) -> Result<PostAggregate> {
        let post = PostAggregate::parse(json, path, 0)?;
        if post.name.is_empty() {
            return Err(Error::Parse(format!("{path}.name: is required")));
        }
        Ok(post)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn parse(json: &Json, path: &str, depth: usize) -> Result<PostAggregate> {
        if depth > DEPTH_MAX {
            return Err(Error::Parse(format!("{path}: post-aggregations nest more than {DEPTH_MAX} deep")));
        }
        let fields = Fields::of(json, path)?;
        let inner = || -> Result<Vec<PostAggregate>> {
            let list = fields.list("fields")?;
            list.iter()
                .enumerate()
                .map(|(i, json)| PostAggregate::parse(json, &format!("{}[{i}]", fields.at("fields")), depth + 1))
                .collect()
        };
        // The sketch that a function looks into: a field access, or just its name. `None`: more than that.
        let sketch = || -> Result<Option<String>> {
            let at = fields.at("field");
            match fields.get("field") {
                Some(Json::String(name)) => Ok(Some(name.clone())),
                Some(json) => match PostAggregate::parse(json, &at, depth + 1)?.kind {
                    PostKind::Field { field, .. } => Ok(Some(field)),
                    _ => Ok(None),
                },
                None => Ok(Some(fields.need_text("fieldName")?.to_string())),
            }
        };
        // Without a field, the call that says the same of any sketch.
        let either = |known: &dyn Fn(String) -> PostKind, call: String, value_type: ValueType| match sketch()? {
            Some(field) => Ok(known(field)),
            None => sketch_post::of_field(&fields, depth + 1, &call, value_type),
        };
        let numbers_type = || ValueType::Complex("double[]".into());
        let spelled = |values: &[f64]| values.iter().map(|v| format!(", {v:?}")).collect::<String>();
        let number = |name: &str| -> Result<Option<f64>> {
            fields.get(name).map(|json| double(json, &fields.at(name))).transpose()
        };
        let numbers = |name: &str| -> Result<Vec<f64>> {
            let list = fields.list(name)?;
            list.iter().enumerate().map(|(i, json)| double(json, &format!("{}[{i}]", fields.at(name)))).collect()
        };
        let kind = match fields.need_text("type")? {
            "arithmetic" => {
                let operator = match fields.need_text("fn")? {
                    "+" => Operator::Add,
                    "-" => Operator::Subtract,
                    "*" => Operator::Multiply,
                    "/" => Operator::Divide,
                    "quotient" => Operator::Quotient,
                    "pow" => Operator::Power,
                    other => {
                        return Err(fields
                            .wrong("fn", format_args!("unknown function [{other}]; use +, -, *, /, quotient or pow")));
                    }
                };
                let operands = inner()?;
                if operands.len() < 2 {
                    return Err(fields.wrong("fields", "give at least two"));
                }
                PostKind::Arithmetic { operator, fields: operands }
            }
            "fieldAccess" => PostKind::Field { field: fields.need_text("fieldName")?.to_string(), finalize: false },
            "finalizingFieldAccess" => {
                PostKind::Field { field: fields.need_text("fieldName")?.to_string(), finalize: true }
            }
            "constant" => match fields.need("value")? {
                Json::Number(n) => PostKind::Constant(match n.as_i64() {
                    Some(long) => Value::Long(long),
                    None => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
                }),
                _ => return Err(fields.wrong("value", "must be a number")),
            },
            kind @ ("doubleGreatest" | "doubleLeast" | "longGreatest" | "longLeast") => {
                let operands = inner()?;
                if operands.is_empty() {
                    return Err(fields.wrong("fields", "give at least one"));
                }
                PostKind::Extreme {
                    greatest: kind.ends_with("Greatest"),
                    long: kind.starts_with("long"),
                    fields: operands,
                }
            }
            "expression" => {
                let expr =
                    Expr::parse(fields.need_text("expression")?).map_err(|error| fields.wrong("expression", error))?;
                let output_type = match fields.text("outputType")? {
                    None => None,
                    Some(text) => Some(ValueType::from_druid_name(text).ok_or_else(|| {
                        fields.wrong(
                            "outputType",
                            format_args!("unknown type [{text}]; use STRING, LONG, FLOAT or DOUBLE"),
                        )
                    })?),
                };
                PostKind::Expression { expr, output_type }
            }
            "hyperUniqueCardinality" => {
                PostKind::HllEstimate { field: fields.need_text("fieldName")?.to_string(), round: false }
            }
            "HLLSketchEstimate" => {
                let round = fields.flag("round")?.unwrap_or(false);
                let call = format!("hll_sketch_estimate(f0, {})", i64::from(round));
                either(&|field| PostKind::HllEstimate { field, round }, call, ValueType::Double)?
            }
            "HLLSketchEstimateWithBounds" => {
                let deviations = fields.count("numStdDev")?.unwrap_or(1);
                if !(1..=3).contains(&deviations) {
                    return Err(fields.wrong("numStdDev", "must be 1, 2 or 3"));
                }
                let call = format!("hll_sketch_estimate_with_error_bounds(f0, {deviations})");
                let deviations = deviations as u8;
                either(&|field| PostKind::HllBounds { field, deviations }, call, numbers_type())?
            }
            "quantilesDoublesSketchToQuantile" | "KllDoublesSketchToQuantile" | "KllFloatsSketchToQuantile" => {
                let value = number("fraction")?.ok_or_else(|| fields.wrong("fraction", "is required"))?;
                let fraction = fraction(&fields, "fraction", value)?;
                let call = format!("ds_get_quantile(f0, {fraction:?})");
                either(&|field| PostKind::Quantile { field, fraction }, call, ValueType::Double)?
            }
            "quantilesDoublesSketchToQuantiles" | "KllDoublesSketchToQuantiles" | "KllFloatsSketchToQuantiles" => {
                let fractions = numbers("fractions")?;
                let fractions: Vec<f64> =
                    fractions.into_iter().map(|v| fraction(&fields, "fractions", v)).collect::<Result<_>>()?;
                let call = format!("ds_get_quantiles(f0{})", spelled(&fractions));
                let known = |field| PostKind::Quantiles { field, fractions: fractions.clone() };
                either(&known, call, numbers_type())?
            }
            "quantilesDoublesSketchToRank" | "KllDoublesSketchToRank" | "KllFloatsSketchToRank" => {
                let value = number("value")?.ok_or_else(|| fields.wrong("value", "is required"))?;
                let call = format!("ds_rank(f0, {value:?})");
                either(&|field| PostKind::Rank { field, value }, call, ValueType::Double)?
            }
            "quantilesDoublesSketchToCDF" | "KllDoublesSketchToCDF" | "KllFloatsSketchToCDF" => {
                let splits = ascending(&fields, "splitPoints", numbers("splitPoints")?)?;
                let call = format!("ds_cdf(f0{})", spelled(&splits));
                either(&|field| PostKind::Cdf { field, splits: splits.clone() }, call, numbers_type())?
            }
            "quantilesDoublesSketchToHistogram" | "KllDoublesSketchToHistogram" | "KllFloatsSketchToHistogram" => {
                let (bins, call) = match fields.get("splitPoints") {
                    Some(_) => {
                        let splits = ascending(&fields, "splitPoints", numbers("splitPoints")?)?;
                        let call = format!("ds_histogram(f0{})", spelled(&splits));
                        (Bins::Splits(splits), call)
                    }
                    None => {
                        let count = fields.count("numBins")?.unwrap_or(10);
                        if !(1..=65_536).contains(&count) {
                            return Err(fields.wrong("numBins", "must be from 1 to 65536"));
                        }
                        (Bins::Count(count as usize), format!("ds_histogram_bins(f0, {count})"))
                    }
                };
                either(&|field| PostKind::Histogram { field, bins: bins.clone() }, call, numbers_type())?
            }
            other => match sketch_post::parse(other, &fields, depth + 1)? {
                Some(call) => call,
                None => {
                    return Err(fields.wrong(
                        "type",
                        format_args!(
                            "unknown or unsupported post-aggregator [{other}]; use one of {KNOWN}, {}",
                            sketch_post::KNOWN
                        ),
                    ));
                }
            },
        };
        let name = match (fields.text("name")?, &kind) {
            (Some(name), _) => name.to_string(),
            (None, PostKind::Field { field, .. }) if depth > 0 => field.clone(),
            (None, _) => String::new(),
        };
        Ok(PostAggregate { name, kind })
    }

    /// The names of the columns it reads.
    pub fn columns(&self) -> Vec<&str> {
        match &self.kind {
            PostKind::Arithmetic { fields, .. } | PostKind::Extreme { fields, .. } | PostKind::Call { fields, .. } => {
                fields.iter().flat_map(PostAggregate::columns).collect()
            }
            PostKind::Constant(_) => Vec::new(),
            PostKind::Expression { expr, .. } => expr.columns(),
            PostKind::Field { field, .. }
            | PostKind::HllEstimate { field, .. }
            | PostKind::HllBounds { field, .. }
            | PostKind::Quantile { field, .. }
            | PostKind::Quantiles { field, .. }
            | PostKind::Rank { field, .. }
            | PostKind::Cdf { field, .. }
            | PostKind::Histogram { field, .. } => vec![field],
        }
    }

    /// The type of its values, given those of the columns it reads.
    pub fn value_type(&self, column: &dyn Fn(&str) -> Option<ValueType>) -> ValueType {
        match &self.kind {
            PostKind::Arithmetic { .. } => ValueType::Double,
            PostKind::Field { field, .. } => column(field).unwrap_or(ValueType::Double),
            PostKind::Constant(Value::Long(_)) => ValueType::Long,
            PostKind::Constant(_) => ValueType::Double,
            PostKind::Extreme { long: true, .. } => ValueType::Long,
            PostKind::Extreme { .. } => ValueType::Double,
            PostKind::Expression { expr, output_type } => {
                output_type.clone().or_else(|| expr.value_type(column)).unwrap_or(ValueType::String)
            }
            PostKind::Call { value_type, .. } => value_type.clone(),
            PostKind::HllEstimate { round: true, .. } => ValueType::Long,
            PostKind::HllEstimate { .. } | PostKind::Quantile { .. } | PostKind::Rank { .. } => ValueType::Double,
            PostKind::HllBounds { .. }
            | PostKind::Quantiles { .. }
            | PostKind::Cdf { .. }
            | PostKind::Histogram { .. } => ValueType::Complex("double[]".into()),
        }
    }
}

pub(super) fn double(json: &Json, path: &str) -> Result<f64> {
    json.as_f64()
        .or_else(|| json.as_str()?.parse().ok())
        .ok_or_else(|| Error::Parse(format!("{path}: must be a number")))
}

pub(super) fn ascending(fields: &Fields, name: &str, splits: Vec<f64>) -> Result<Vec<f64>> {
    if splits.windows(2).all(|pair| pair[0] < pair[1]) && splits.iter().all(|v| !v.is_nan()) {
        Ok(splits)
    } else {
        Err(fields.wrong(name, "must be ascending and without repetition"))
    }
}

pub(super) fn fraction(fields: &Fields, name: &str, value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(fields.wrong(name, "must be from 0 to 1")) }
}
