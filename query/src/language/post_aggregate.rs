//! Values computed from the aggregates of a group.

use segment::block::Value;
use segment::expr::Expr;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::fields::Fields;
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
    quantilesDoublesSketchToCDF, quantilesDoublesSketchToHistogram";

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

    fn parse(json: &Json, path: &str, depth: usize) -> Result<PostAggregate> {
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
        // The sketch that a function looks into: a field access, or just its name.
        let sketch = || -> Result<String> {
            let at = fields.at("field");
            match fields.get("field") {
                Some(Json::String(name)) => Ok(name.clone()),
                Some(json) => match PostAggregate::parse(json, &at, depth + 1)?.kind {
                    PostKind::Field { field, .. } => Ok(field),
                    _ => Err(Error::Unsupported(format!("{at}: must be a fieldAccess to a sketch aggregator"))),
                },
                None => Ok(fields.need_text("fieldName")?.to_string()),
            }
        };
        let number = |name: &str| -> Result<Option<f64>> {
            fields.get(name).map(|json| double(json, &fields.at(name))).transpose()
        };
        let numbers = |name: &str| -> Result<Vec<f64>> {
            let list = fields.list(name)?;
            list.iter().enumerate().map(|(i, json)| double(json, &format!("{}[{i}]", fields.at(name)))).collect()
        };
        let fraction = |value: f64, name: &str| {
            if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(fields.wrong(name, "must be from 0 to 1")) }
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
                PostKind::HllEstimate { field: sketch()?, round: fields.flag("round")?.unwrap_or(false) }
            }
            "HLLSketchEstimateWithBounds" => {
                let deviations = fields.count("numStdDev")?.unwrap_or(1);
                if !(1..=3).contains(&deviations) {
                    return Err(fields.wrong("numStdDev", "must be 1, 2 or 3"));
                }
                PostKind::HllBounds { field: sketch()?, deviations: deviations as u8 }
            }
            "quantilesDoublesSketchToQuantile" => {
                let value = number("fraction")?.ok_or_else(|| fields.wrong("fraction", "is required"))?;
                PostKind::Quantile { field: sketch()?, fraction: fraction(value, "fraction")? }
            }
            "quantilesDoublesSketchToQuantiles" => {
                let fractions = numbers("fractions")?;
                let fractions = fractions.into_iter().map(|v| fraction(v, "fractions")).collect::<Result<_>>()?;
                PostKind::Quantiles { field: sketch()?, fractions }
            }
            "quantilesDoublesSketchToRank" => {
                let value = number("value")?.ok_or_else(|| fields.wrong("value", "is required"))?;
                PostKind::Rank { field: sketch()?, value }
            }
            "quantilesDoublesSketchToCDF" => {
                PostKind::Cdf { field: sketch()?, splits: ascending(&fields, numbers("splitPoints")?)? }
            }
            "quantilesDoublesSketchToHistogram" => {
                let bins = match fields.get("splitPoints") {
                    Some(_) => Bins::Splits(ascending(&fields, numbers("splitPoints")?)?),
                    None => {
                        let count = fields.count("numBins")?.unwrap_or(10);
                        if !(1..=65_536).contains(&count) {
                            return Err(fields.wrong("numBins", "must be from 1 to 65536"));
                        }
                        Bins::Count(count as usize)
                    }
                };
                PostKind::Histogram { field: sketch()?, bins }
            }
            other => {
                return Err(fields.wrong(
                    "type",
                    format_args!("unknown or unsupported post-aggregator [{other}]; use one of {KNOWN}"),
                ));
            }
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
            PostKind::Arithmetic { fields, .. } | PostKind::Extreme { fields, .. } => {
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
            PostKind::HllEstimate { round: true, .. } => ValueType::Long,
            PostKind::HllEstimate { .. } | PostKind::Quantile { .. } | PostKind::Rank { .. } => ValueType::Double,
            PostKind::HllBounds { .. }
            | PostKind::Quantiles { .. }
            | PostKind::Cdf { .. }
            | PostKind::Histogram { .. } => ValueType::Complex("double[]".into()),
        }
    }
}

fn double(json: &Json, path: &str) -> Result<f64> {
    json.as_f64()
        .or_else(|| json.as_str()?.parse().ok())
        .ok_or_else(|| Error::Parse(format!("{path}: must be a number")))
}

fn ascending(fields: &Fields, splits: Vec<f64>) -> Result<Vec<f64>> {
    if splits.windows(2).all(|pair| pair[0] < pair[1]) && splits.iter().all(|v| !v.is_nan()) {
        Ok(splits)
    } else {
        Err(fields.wrong("splitPoints", "must be ascending and without repetition"))
    }
}
