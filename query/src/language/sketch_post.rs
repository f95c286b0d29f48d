//! Post-aggregates that look into sketches: each is a call of a function of the expression language
//! over the states of its fields.

use segment::block::Value;
use segment::expr::Expr;
use segment::schema::ValueType;
use segment::sketch::{bytes_of, frequent, theta, tuple};
use serde_json::Value as Json;

use super::desugar::quote;
use super::fields::Fields;
use super::post_aggregate::{PostAggregate, PostKind, ascending, double, fraction};
use crate::error::{Error, Result};

/// The names read here.
pub const KNOWN: &str = "thetaSketchEstimate, thetaSketchSetOp, thetaSketchConstant, thetaSketchToString, \
    HLLSketchUnion, HLLSketchToString, quantilesDoublesSketchToString, KllDoublesSketchToString, \
    KllFloatsSketchToString, arrayOfDoublesSketchToEstimate, arrayOfDoublesSketchToEstimateAndBounds, \
    arrayOfDoublesSketchToNumEntries, arrayOfDoublesSketchToMeans, arrayOfDoublesSketchToVariances, \
    arrayOfDoublesSketchToMetricsSumEstimate, arrayOfDoublesSketchToQuantilesSketch, arrayOfDoublesSketchToString, \
    arrayOfDoublesSketchToBase64String, arrayOfDoublesSketchSetOp, arrayOfDoublesSketchConstant, \
    quantileFromTDigestSketch, quantilesFromTDigestSketch, stddev, zscore2sample, equalBuckets, buckets, \
    customBuckets, min, max, quantile, quantiles, cpcSketchToEstimate, cpcSketchToEstimateWithBounds, cpcSketchUnion, \
    frequentItemsToItems, frequentItemsToEstimate, arrayOfDoublesSketchTTest, pvalue2tailedZtest";

/// The post-aggregate, if the name is one of [`KNOWN`]. `depth` is that of its fields.
pub fn parse(kind: &str, fields: &Fields, depth: usize) -> Result<Option<PostKind>> {
    let complex = |name: &str| ValueType::Complex(name.to_string());
    let numbers = || complex("double[]");
    let one = || field(fields, "field", depth);
    let listed = |name: &str| -> Result<Vec<f64>> {
        let list = fields.list(name)?;
        list.iter().enumerate().map(|(i, json)| double(json, &format!("{}[{i}]", fields.at(name)))).collect()
    };
    let number = |name: &str| double(fields.need(name)?, &fields.at(name));
    let call = |text: String, operands: Vec<PostAggregate>, value_type: ValueType| {
        let expr = Expr::parse(&text).map_err(|error| Error::Bug(format!("the call [{text}]: {error}")))?;
        Ok(Some(PostKind::Call { expr, fields: operands, value_type }))
    };
    let of_one = |function: &str, value_type: ValueType| call(format!("{function}(f0)"), vec![one()?], value_type);
    let count = |name: &str, default: u64, most: u64| -> Result<u64> {
        match fields.count(name)?.unwrap_or(default) {
            count if (1..=most).contains(&count) => Ok(count),
            _ => Err(fields.wrong(name, format_args!("must be from 1 to {most}"))),
        }
    };
    match kind {
        "thetaSketchEstimate" | "sketchEstimate" => match fields.count("errorBoundsStdDev")? {
            None => of_one("theta_sketch_estimate", ValueType::Double),
            Some(deviations @ 1..=3) => call(
                format!("theta_sketch_estimate_with_error_bounds(f0, {deviations})"),
                vec![one()?],
                ValueType::json(),
            ),
            Some(_) => Err(fields.wrong("errorBoundsStdDev", "must be 1, 2 or 3")),
        },
        "thetaSketchSetOp" | "sketchSetOper" => {
            let operands = operands(fields, depth)?;
            let function = set_function(fields, "func", "theta_sketch")?;
            call(
                spread(&function, Some(count("size", 16_384, 1 << 26)?), operands.len()),
                operands,
                complex("thetaSketch"),
            )
        }
        "arrayOfDoublesSketchSetOp" => {
            let operands = operands(fields, depth)?;
            let function = set_function(fields, "operation", "ds_tuple_doubles")?;
            let size = count("nominalEntries", 4096, 1 << 26)?;
            call(spread(&function, Some(size), operands.len()), operands, complex("arrayOfDoublesSketch"))
        }
        "thetaSketchConstant" | "arrayOfDoublesSketchConstant" => {
            let value = fields.need_text("value")?;
            let of_theta = kind == "thetaSketchConstant";
            let sound = |bytes: &[u8]| match of_theta {
                true => theta::read(bytes).is_some(),
                false => tuple::read(bytes).is_some(),
            };
            if !bytes_of(&Value::text(value)).is_some_and(|bytes| sound(&bytes)) {
                let family = if of_theta { "theta" } else { "tuple" };
                return Err(fields.wrong("value", format_args!("must be a {family} sketch in base64")));
            }
            let name = if of_theta { "thetaSketch" } else { "arrayOfDoublesSketch" };
            let text = format!("complex_decode_base64('{name}', '{}')", value.replace(['\'', '\\'], ""));
            call(text, Vec::new(), complex(name))
        }
        "thetaSketchToString" => of_one("theta_sketch_to_string", ValueType::String),
        "HLLSketchUnion" => {
            let operands = operands(fields, depth)?;
            let lg_k = count("lgK", 12, 21)?;
            let kind = fields.text("tgtHllType")?.unwrap_or("HLL_4");
            if segment::sketch::hll::kind_of(kind).is_none() {
                return Err(fields.wrong("tgtHllType", "must be HLL_4, HLL_6 or HLL_8"));
            }
            let arguments: Vec<String> = (0..operands.len()).map(|i| format!("f{i}")).collect();
            call(
                format!("hll_sketch_union({lg_k}, '{kind}', {})", arguments.join(", ")),
                operands,
                complex("HLLSketch"),
            )
        }
        "HLLSketchToString" => of_one("hll_sketch_to_string", ValueType::String),
        "quantilesDoublesSketchToString" | "KllDoublesSketchToString" | "KllFloatsSketchToString" => {
            of_one("ds_quantile_summary", ValueType::String)
        }
        "arrayOfDoublesSketchToEstimate" => of_one("ds_tuple_doubles_estimate", ValueType::Double),
        "arrayOfDoublesSketchToEstimateAndBounds" => {
            let deviations = count("numStdDevs", 1, 3)?;
            call(format!("ds_tuple_doubles_estimate_with_error_bounds(f0, {deviations})"), vec![one()?], numbers())
        }
        "arrayOfDoublesSketchToNumEntries" => of_one("ds_tuple_doubles_num_entries", ValueType::Long),
        "arrayOfDoublesSketchToMeans" => of_one("ds_tuple_doubles_means", numbers()),
        "arrayOfDoublesSketchToVariances" => of_one("ds_tuple_doubles_variances", numbers()),
        "arrayOfDoublesSketchToMetricsSumEstimate" => of_one("ds_tuple_doubles_metrics_sum_estimate", numbers()),
        "arrayOfDoublesSketchToString" => of_one("ds_tuple_doubles_to_string", ValueType::String),
        "arrayOfDoublesSketchToBase64String" => call(
            "complex_decode_base64('arrayOfDoublesSketch', f0)".into(),
            vec![one()?],
            complex("arrayOfDoublesSketch"),
        ),
        "arrayOfDoublesSketchToQuantilesSketch" => {
            let (column, k) = (count("column", 1, 255)?, count("k", 128, 1 << 15)?);
            call(
                format!("ds_tuple_doubles_to_quantiles(f0, {column}, {k})"),
                vec![one()?],
                complex("quantilesDoublesSketch"),
            )
        }
        "quantileFromTDigestSketch" => {
            let part = fraction(fields, "fraction", number("fraction")?)?;
            call(format!("tdigest_quantile(f0, {part:?})"), vec![one()?], ValueType::Double)
        }
        "quantilesFromTDigestSketch" => {
            let parts = listed("fractions")?.into_iter().map(|part| fraction(fields, "fractions", part));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            call(spelled("tdigest_quantiles", &parts), vec![one()?], numbers())
        }
        "stddev" | "variance" => {
            let population = fields.text("estimator")?.is_some_and(|text| text.eq_ignore_ascii_case("population"));
            let function = if kind == "stddev" { "stddev_of" } else { "variance_of" };
            let text = if population { format!("{function}(f0, 'population')") } else { format!("{function}(f0)") };
            call(text, vec![named(fields)?], ValueType::Double)
        }
        "zscore2sample" => {
            let names = ["successCount1", "sample1Size", "successCount2", "sample2Size"];
            let operands = names.iter().map(|name| field(fields, name, depth)).collect::<Result<Vec<_>>>()?;
            let double = |i: usize| format!("cast(f{i}, 'DOUBLE')");
            let rates = [format!("({} / f1)", double(0)), format!("({} / f3)", double(2))];
            let text =
                format!("({a} - {b}) / sqrt({a} * (1 - {a}) / f1 + {b} * (1 - {b}) / f3)", a = rates[0], b = rates[1]);
            call(text, operands, ValueType::Double)
        }
        "equalBuckets" => {
            let buckets = count("numBuckets", 7, 65_536)?;
            call(format!("histogram_equal_buckets(f0, {buckets})"), vec![named(fields)?], ValueType::json())
        }
        "buckets" => {
            let size = number("bucketSize")?;
            if size <= 0.0 || size.is_nan() {
                return Err(fields.wrong("bucketSize", format_args!("must be above 0, not {size}")));
            }
            let offset = if fields.get("offset").is_some() { number("offset")? } else { 0.0 };
            call(format!("histogram_buckets(f0, {size:?}, {offset:?})"), vec![named(fields)?], ValueType::json())
        }
        "customBuckets" => {
            let breaks = ascending(fields, "breaks", listed("breaks")?)?;
            call(spelled("histogram_custom_buckets", &breaks), vec![named(fields)?], ValueType::json())
        }
        "min" => call("histogram_min(f0)".into(), vec![named(fields)?], ValueType::Float),
        "max" => call("histogram_max(f0)".into(), vec![named(fields)?], ValueType::Float),
        "quantile" => {
            let part = fraction(fields, "probability", number("probability")?)?;
            call(format!("histogram_quantile(f0, {part:?})"), vec![named(fields)?], ValueType::Float)
        }
        "quantiles" => {
            let parts = listed("probabilities")?.into_iter().map(|part| fraction(fields, "probabilities", part));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            call(spelled("histogram_quantiles", &parts), vec![named(fields)?], ValueType::json())
        }
        "cpcSketchToEstimate" => of_one("cpc_sketch_estimate", ValueType::Double),
        "cpcSketchToEstimateWithBounds" => {
            let deviations = count("numStdDev", 1, 3)?;
            call(format!("cpc_sketch_estimate_with_error_bounds(f0, {deviations})"), vec![one()?], numbers())
        }
        "cpcSketchUnion" => {
            let operands = operands(fields, depth)?;
            call(spread("cpc_sketch_union", None, operands.len()), operands, complex("cpcSketch"))
        }
        "frequentItemsToItems" => {
            let limit = count("limit", frequent::ITEMS_DEFAULT as u64, frequent::MAP_MAX as u64)?;
            call(format!("frequent_items(f0, {limit})"), vec![one()?], ValueType::json())
        }
        "frequentItemsToEstimate" => {
            let item = quote(fields.need_text("item")?, '\'');
            call(format!("frequent_items_estimate(f0, {item})"), vec![one()?], ValueType::Long)
        }
        "arrayOfDoublesSketchTTest" => {
            let operands = operands(fields, depth)?;
            if operands.len() != 2 {
                return Err(fields.wrong("fields", "give two"));
            }
            call("ds_tuple_doubles_t_test(f0, f1)".into(), operands, numbers())
        }
        "pvalue2tailedZtest" => call("z_test(f0)".into(), vec![field(fields, "zScore", depth)?], ValueType::Double),
        _ => Ok(None),
    }
}

/// A function of the sketch that a field which is more than an access gives.
pub fn of_field(fields: &Fields, depth: usize, call: &str, value_type: ValueType) -> Result<PostKind> {
    let expr = Expr::parse(call).map_err(|error| Error::Bug(format!("the call [{call}]: {error}")))?;
    Ok(PostKind::Call { expr, fields: vec![field(fields, "field", depth)?], value_type })
}

fn field(fields: &Fields, name: &str, depth: usize) -> Result<PostAggregate> {
    match fields.get(name) {
        Some(Json::String(column)) => Ok(access(column)),
        Some(json) => PostAggregate::parse(json, &fields.at(name), depth),
        None => named(fields),
    }
}

fn named(fields: &Fields) -> Result<PostAggregate> {
    Ok(access(fields.need_text("fieldName")?))
}

fn access(column: &str) -> PostAggregate {
    PostAggregate { name: column.to_string(), kind: PostKind::Field { field: column.to_string(), finalize: false } }
}

fn operands(fields: &Fields, depth: usize) -> Result<Vec<PostAggregate>> {
    let list = fields.list("fields")?;
    if list.len() < 2 {
        return Err(fields.wrong("fields", "give at least two"));
    }
    let parse = |(i, json): (usize, &Json)| PostAggregate::parse(json, &format!("{}[{i}]", fields.at("fields")), depth);
    list.iter().enumerate().map(parse).collect()
}

fn set_function(fields: &Fields, name: &str, family: &str) -> Result<String> {
    match fields.need_text(name)?.to_ascii_uppercase().as_str() {
        "UNION" => Ok(format!("{family}_union")),
        "INTERSECT" => Ok(format!("{family}_intersect")),
        "NOT" => Ok(format!("{family}_not")),
        _ => Err(fields.wrong(name, "must be UNION, INTERSECT or NOT")),
    }
}

fn spread(function: &str, size: Option<u64>, operands: usize) -> String {
    let size = size.map(|size| size.to_string());
    let arguments: Vec<String> = size.into_iter().chain((0..operands).map(|i| format!("f{i}"))).collect();
    format!("{function}({})", arguments.join(", "))
}

fn spelled(function: &str, numbers: &[f64]) -> String {
    let arguments: Vec<String> =
        std::iter::once("f0".to_string()).chain(numbers.iter().map(|n| format!("{n:?}"))).collect();
    format!("{function}({})", arguments.join(", "))
}
