//! Functions that look into sketches ([`crate::sketch`]), by their bytes or their bytes' base64. What is no sketch of the
//! kind is null.

use datasketches::hll::HllType;
use datasketches::tuple::CompactTupleSketch;

use super::{Body, Function, MANY, Prepared, Returns, function};
use crate::block::Value;
use crate::expr::convert::{to_double, to_long, to_text, truth};
use crate::sketch::bloom::Bloom;
use crate::sketch::fixed_histogram::FixedHistogram;
use crate::sketch::hash::{TextKey, coupon};
use crate::sketch::histogram::Histogram;
use crate::sketch::quantiles::{Kind, Quantiles, View};
use crate::sketch::significance::{self, Sample};
use crate::sketch::theta::SetOp;
use crate::sketch::variance::Variance;
use crate::sketch::{bytes_of, cpc, frequent, hll, number, tdigest, theta, tuple, value_of};

pub(super) static FUNCTIONS: &[Function] = &[
    function("hll_sketch_estimate", 1, 2, Returns::Double, Body::Plain(hll_estimate)),
    function("hll_sketch_estimate_with_error_bounds", 1, 2, Returns::Unknown, Body::Plain(hll_bounds)),
    function("hll_sketch_union", 1, MANY, Returns::Unknown, Body::Plain(hll_union)),
    function("hll_sketch_to_string", 1, 1, Returns::Text, Body::Plain(hll_describe)),
    function("hyper_unique", 0, 0, Returns::Unknown, Body::Plain(|_| hyper_unique())),
    function("hyper_unique_add", 2, 2, Returns::Unknown, Body::Plain(hyper_unique_add)),
    function("hyper_unique_estimate", 1, 1, Returns::Double, Body::Plain(|a| hll_estimate(&a[..1]))),
    function("hyper_unique_round_estimate", 1, 1, Returns::Long, Body::Plain(hyper_unique_round)),
    function("theta_sketch_estimate", 1, 1, Returns::Double, Body::Plain(theta_estimate)),
    function("theta_sketch_estimate_with_error_bounds", 2, 2, Returns::Json, Body::Plain(theta_bounds)),
    function("theta_sketch_union", 1, MANY, Returns::Unknown, Body::Plain(|a| theta_op(SetOp::Union, a))),
    function("theta_sketch_intersect", 1, MANY, Returns::Unknown, Body::Plain(|a| theta_op(SetOp::Intersect, a))),
    function("theta_sketch_not", 1, MANY, Returns::Unknown, Body::Plain(|a| theta_op(SetOp::Not, a))),
    function("theta_sketch_to_string", 1, 1, Returns::Text, Body::Plain(theta_describe)),
    function("cpc_sketch_estimate", 1, 1, Returns::Double, Body::Plain(cpc_estimate)),
    function("cpc_sketch_estimate_with_error_bounds", 1, 2, Returns::Unknown, Body::Plain(cpc_bounds)),
    function("cpc_sketch_union", 1, MANY, Returns::Unknown, Body::Plain(cpc_union)),
    function("frequent_items", 1, 2, Returns::Json, Body::Plain(frequent_items)),
    function("frequent_items_estimate", 2, 2, Returns::Long, Body::Plain(frequent_estimate)),
    function("z_test", 1, 1, Returns::Double, Body::Plain(z_test)),
    function("ds_get_quantile", 2, 2, Returns::Double, Body::Plain(quantile)),
    function(
        "ds_get_quantiles",
        1,
        MANY,
        Returns::Unknown,
        Body::Plain(|a| views(a, |v, f| each(f, |f| v.quantile(f)))),
    ),
    function("ds_rank", 2, 2, Returns::Double, Body::Plain(rank)),
    function("ds_cdf", 1, MANY, Returns::Unknown, Body::Plain(|a| views(a, View::cdf))),
    function("ds_histogram", 1, MANY, Returns::Unknown, Body::Plain(|a| views(a, View::histogram))),
    function("ds_histogram_bins", 2, 2, Returns::Unknown, Body::Plain(bins)),
    function("ds_quantile_summary", 1, 1, Returns::Text, Body::Plain(quantiles_describe)),
    function("ds_tuple_doubles_estimate", 1, 1, Returns::Double, Body::Plain(tuple_estimate)),
    function("ds_tuple_doubles_estimate_with_error_bounds", 1, 2, Returns::Unknown, Body::Plain(tuple_bounds)),
    function("ds_tuple_doubles_num_entries", 1, 1, Returns::Long, Body::Plain(tuple_entries)),
    function("ds_tuple_doubles_metrics_sum_estimate", 1, 1, Returns::Unknown, Body::Plain(|a| columns(a, tuple::sums))),
    function("ds_tuple_doubles_means", 1, 1, Returns::Unknown, Body::Plain(|a| columns(a, tuple::means))),
    function("ds_tuple_doubles_variances", 1, 1, Returns::Unknown, Body::Plain(|a| columns(a, tuple::variances))),
    function("ds_tuple_doubles_t_test", 2, 2, Returns::Unknown, Body::Plain(tuple_t_test)),
    function("ds_tuple_doubles_to_quantiles", 3, 3, Returns::Unknown, Body::Plain(tuple_quantiles)),
    function("ds_tuple_doubles_union", 1, MANY, Returns::Unknown, Body::Plain(|a| tuple_op(SetOp::Union, a))),
    function("ds_tuple_doubles_intersect", 1, MANY, Returns::Unknown, Body::Plain(|a| tuple_op(SetOp::Intersect, a))),
    function("ds_tuple_doubles_not", 1, MANY, Returns::Unknown, Body::Plain(|a| tuple_op(SetOp::Not, a))),
    function("ds_tuple_doubles_to_string", 1, 1, Returns::Text, Body::Plain(tuple_describe)),
    function("tdigest_quantile", 2, 2, Returns::Double, Body::Plain(digest_quantile)),
    function("tdigest_quantiles", 1, MANY, Returns::Unknown, Body::Plain(digest_quantiles)),
    function("variance_of", 1, 2, Returns::Double, Body::Plain(|a| variance(a, |v| v))),
    function("stddev_of", 1, 2, Returns::Double, Body::Plain(|a| variance(a, f64::sqrt))),
    function("histogram_quantile", 2, 2, Returns::Double, Body::Plain(histogram_quantile)),
    function("histogram_quantiles", 1, MANY, Returns::Json, Body::Plain(histogram_quantiles)),
    function("histogram_min", 1, 1, Returns::Double, Body::Plain(|a| with_histogram(a, |h| Value::Double(h.min())))),
    function("histogram_max", 1, 1, Returns::Double, Body::Plain(|a| with_histogram(a, |h| Value::Double(h.max())))),
    function("histogram_equal_buckets", 2, 2, Returns::Json, Body::Plain(equal_buckets)),
    function("histogram_buckets", 3, 3, Returns::Json, Body::Plain(sized_buckets)),
    function("histogram_custom_buckets", 1, MANY, Returns::Json, Body::Plain(custom_buckets)),
    function("bloom_filter", 1, 1, Returns::Unknown, Body::Plain(bloom_filter)),
    function("bloom_filter_add", 2, 2, Returns::Unknown, Body::Plain(bloom_add)),
    function("bloom_filter_test", 2, 2, Returns::Long, Body::Prepared(bloom_test)),
    function("complex_decode_base64", 2, 2, Returns::Unknown, Body::Plain(decode)),
    function("sketch_finalize", 1, 1, Returns::Text, Body::Plain(finalize)),
];

fn list(values: impl IntoIterator<Item = f64>) -> Value {
    Value::List(values.into_iter().map(Value::Double).collect())
}

fn each(values: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
    values.iter().map(|value| of(*value)).collect()
}

fn text(text: &str) -> Value {
    Value::text(text)
}

fn numbers(args: &[Value]) -> Option<Vec<f64>> {
    args.iter().map(to_double).collect()
}

fn hll_estimate(args: &[Value]) -> Value {
    if args[0].is_null() {
        return Value::Double(0.0);
    }
    let Some(sketch) = bytes_of(&args[0]).and_then(|bytes| hll::read(&bytes)) else { return Value::Null };
    let estimate = if sketch.is_empty() { 0.0 } else { sketch.composite_estimate() };
    Value::Double(if args.get(1).is_some_and(|round| truth(round) == Some(true)) { estimate.round() } else { estimate })
}

fn hll_bounds(args: &[Value]) -> Value {
    let deviations = args.get(1).map_or(Some(1), to_long);
    let sketch = bytes_of(&args[0]).and_then(|bytes| hll::read(&bytes));
    match sketch.zip(deviations).and_then(|(sketch, count)| hll::with_bounds(&sketch, count)) {
        Some(bounds) => list(bounds),
        None => Value::Null,
    }
}

fn hyper_unique() -> Value {
    value_of(hll::empty(hll::LG_K_DEFAULT, HllType::Hll8).serialize())
}

/// `(value or sketch, sketch)`
fn hyper_unique_add(args: &[Value]) -> Value {
    let sketch = match &args[1] {
        Value::Bytes(bytes) => hll::read(bytes),
        _ => Some(hll::empty(hll::LG_K_DEFAULT, HllType::Hll8)),
    };
    let Some(mut sketch) = sketch else { return Value::Null };
    match &args[0] {
        Value::Bytes(bytes) => {
            if let Some(other) = hll::read(bytes) {
                sketch = hll::union(&[sketch, other], hll::LG_K_DEFAULT, HllType::Hll8);
            }
        }
        value => {
            if let Some(coupon) = coupon(value, TextKey::Counted) {
                sketch.update_with_coupon(coupon);
            }
        }
    }
    value_of(sketch.serialize())
}

fn hyper_unique_round(args: &[Value]) -> Value {
    match hll_estimate(&args[..1]) {
        Value::Double(estimate) => Value::Long(estimate.round() as i64),
        _ => Value::Null,
    }
}

/// `([lgK, [type,]] sketches…)`
fn hll_union(args: &[Value]) -> Value {
    let (mut lg_k, mut kind, mut rest) = (hll::LG_K_DEFAULT, hll::kind_of("HLL_4"), args);
    if let [Value::Long(given), after @ ..] = rest {
        (lg_k, rest) = ((*given).clamp(4, 21) as u8, after);
        if let [Value::Text(name), after @ ..] = rest
            && let Some(given) = hll::kind_of(name)
        {
            (kind, rest) = (Some(given), after);
        }
    }
    let sketches = rest.iter().filter_map(|value| hll::read(&bytes_of(value)?)).collect::<Vec<_>>();
    kind.map_or(Value::Null, |kind| value_of(hll::union(&sketches, lg_k, kind).serialize()))
}

fn hll_describe(args: &[Value]) -> Value {
    bytes_of(&args[0]).and_then(|bytes| hll::describe(&bytes)).map_or(Value::Null, |described| text(&described))
}

fn theta_estimate(args: &[Value]) -> Value {
    if args[0].is_null() {
        return Value::Double(0.0);
    }
    let sketch = bytes_of(&args[0]).and_then(|bytes| theta::read(&bytes));
    sketch.map_or(Value::Null, |sketch| Value::Double(sketch.estimate()))
}

fn theta_bounds(args: &[Value]) -> Value {
    let sketch =
        if args[0].is_null() { Some(theta::empty()) } else { bytes_of(&args[0]).and_then(|b| theta::read(&b)) };
    let bounds = sketch.zip(to_long(&args[1])).and_then(|(sketch, count)| theta::with_bounds(&sketch, count));
    bounds.map_or(Value::Null, |object| Value::Json(object.into()))
}

/// `([size,] sketches…)`; a null is an empty sketch.
fn theta_op(op: SetOp, args: &[Value]) -> Value {
    let (size, rest) = match args {
        [Value::Long(size), rest @ ..] => ((*size).clamp(16, 1 << 26) as u32, rest),
        rest => (theta::SIZE_DEFAULT, rest),
    };
    let sketch = |value: &Value| match value {
        Value::Null => Some(theta::empty()),
        value => theta::read(&bytes_of(value)?),
    };
    let sketches = rest.iter().map(sketch).collect::<Option<Vec<_>>>();
    let combined = sketches.and_then(|sketches| theta::combine(op, size.next_power_of_two(), &sketches));
    combined.map_or(Value::Null, |sketch| value_of(theta::write(&sketch)))
}

fn theta_describe(args: &[Value]) -> Value {
    let sketch = bytes_of(&args[0]).and_then(|bytes| theta::read(&bytes));
    sketch.map_or(Value::Null, |sketch| text(&theta::describe(&sketch)))
}

fn quantiles_of(value: &Value) -> Option<Quantiles> {
    Quantiles::read(&bytes_of(value)?, None)
}

fn quantile(args: &[Value]) -> Value {
    match quantiles_of(&args[0]).zip(to_double(&args[1])) {
        Some((sketch, fraction)) => Value::Double(sketch.view().quantile(fraction)),
        None => Value::Null,
    }
}

fn rank(args: &[Value]) -> Value {
    match quantiles_of(&args[0]).zip(to_double(&args[1])) {
        Some((sketch, value)) => Value::Double(sketch.view().rank(value)),
        None => Value::Null,
    }
}

fn views(args: &[Value], of: impl Fn(&View, &[f64]) -> Vec<f64>) -> Value {
    match quantiles_of(&args[0]).zip(numbers(&args[1..])) {
        Some((sketch, numbers)) => list(of(&sketch.view(), &numbers)),
        None => Value::Null,
    }
}

fn bins(args: &[Value]) -> Value {
    let count = to_long(&args[1]).filter(|count| (1..=65_536).contains(count));
    match quantiles_of(&args[0]).zip(count) {
        Some((sketch, count)) => list(sketch.view().bins(count as usize)),
        None => Value::Null,
    }
}

fn quantiles_describe(args: &[Value]) -> Value {
    quantiles_of(&args[0]).map_or(Value::Null, |sketch| text(&sketch.describe()))
}

fn tuple_of(value: &Value) -> Option<(tuple::Sketch, usize)> {
    tuple::read(&bytes_of(value)?)
}

fn tuple_estimate(args: &[Value]) -> Value {
    tuple_of(&args[0]).map_or(Value::Null, |(sketch, _)| Value::Double(sketch.estimate()))
}

fn tuple_bounds(args: &[Value]) -> Value {
    let deviations = args.get(1).map_or(Some(1), to_long).and_then(theta::deviations);
    match tuple_of(&args[0]).zip(deviations) {
        Some(((sketch, _), count)) => list([sketch.estimate(), sketch.lower_bound(count), sketch.upper_bound(count)]),
        None => Value::Null,
    }
}

fn tuple_entries(args: &[Value]) -> Value {
    tuple_of(&args[0]).map_or(Value::Null, |(sketch, _)| Value::Long(sketch.num_retained() as i64))
}

fn columns(args: &[Value], of: impl Fn(&CompactTupleSketch<tuple::Sums>, usize) -> Vec<f64>) -> Value {
    tuple_of(&args[0]).map_or(Value::Null, |(sketch, values)| list(of(&sketch, values)))
}

/// `(sketch, column from 1, k)`
fn tuple_quantiles(args: &[Value]) -> Value {
    let (Some((sketch, values)), Some(column), Some(k)) = (tuple_of(&args[0]), to_long(&args[1]), to_long(&args[2]))
    else {
        return Value::Null;
    };
    let column = column - 1;
    if !(0..values as i64).contains(&column) || !(2..=1 << 15).contains(&k) {
        return Value::Null;
    }
    let mut quantiles = Quantiles::new(Kind::Classic, k as u16);
    sketch.iter().for_each(|entry| quantiles.update(entry.summary().0[column as usize]));
    value_of(quantiles.write())
}

/// `([size,] sketches…)`, or the size at the end.
fn tuple_op(op: SetOp, args: &[Value]) -> Value {
    let size = args.iter().find_map(|value| if let Value::Long(size) = value { Some(*size) } else { None });
    let size = size.unwrap_or(i64::from(tuple::SIZE_DEFAULT)).clamp(16, 1 << 26) as u32;
    let given = args.iter().filter(|value| !matches!(value, Value::Long(_) | Value::Null));
    let Some(sketches) = given.map(tuple_of).collect::<Option<Vec<_>>>() else { return Value::Null };
    let values = sketches.first().map_or(1, |(_, values)| *values);
    if sketches.iter().any(|(_, other)| *other != values) {
        return Value::Null;
    }
    let sketches: Vec<_> = sketches.into_iter().map(|(sketch, _)| sketch).collect();
    let combined = tuple::combine(op, size.next_power_of_two(), values, &sketches);
    combined.map_or(Value::Null, |sketch| value_of(tuple::write(&sketch, values)))
}

fn tuple_describe(args: &[Value]) -> Value {
    tuple_of(&args[0]).map_or(Value::Null, |(sketch, _)| text(&tuple::describe(&sketch)))
}

fn digest_quantile(args: &[Value]) -> Value {
    match bytes_of(&args[0]).and_then(|bytes| tdigest::read(&bytes)).zip(to_double(&args[1])) {
        Some((mut digest, fraction)) => Value::Double(tdigest::quantile(&mut digest, fraction)),
        None => Value::Null,
    }
}

fn digest_quantiles(args: &[Value]) -> Value {
    match bytes_of(&args[0]).and_then(|bytes| tdigest::read(&bytes)).zip(numbers(&args[1..])) {
        Some((mut digest, fractions)) => list(fractions.iter().map(|f| tdigest::quantile(&mut digest, *f))),
        None => Value::Null,
    }
}

/// `(state[, 'population'])`
fn variance(args: &[Value], finish: impl Fn(f64) -> f64) -> Value {
    let population = args.get(1).and_then(to_text).is_some_and(|text| text.eq_ignore_ascii_case("population"));
    let variance = bytes_of(&args[0]).and_then(|bytes| Variance::read(&bytes)?.variance(population));
    variance.map_or(Value::Null, |variance| Value::Double(finish(variance)))
}

fn with_histogram(args: &[Value], of: impl Fn(&Histogram) -> Value) -> Value {
    bytes_of(&args[0]).and_then(|bytes| Histogram::read(&bytes)).map_or(Value::Null, |histogram| of(&histogram))
}

/// The quantile of either histogram.
fn histogram_of(value: &Value, fraction: Option<f64>) -> Option<Value> {
    let (bytes, fraction) = (bytes_of(value)?, fraction?);
    if let Some(fixed) = FixedHistogram::read(&bytes) {
        return Some(Value::Double(fixed.quantile(fraction)));
    }
    Histogram::read(&bytes).map(|histogram| Value::Double(histogram.quantile(fraction)))
}

fn histogram_quantile(args: &[Value]) -> Value {
    histogram_of(&args[0], to_double(&args[1])).unwrap_or(Value::Null)
}

/// Druid's object of quantiles.
fn histogram_quantiles(args: &[Value]) -> Value {
    let Some(fractions) = numbers(&args[1..]) else { return Value::Null };
    with_histogram(args, |histogram| {
        let quantiles: Vec<_> = fractions.iter().map(|fraction| number(histogram.quantile(*fraction))).collect();
        json(serde_json::json!({
            "probabilities": fractions, "quantiles": quantiles, "min": number(histogram.min()),
            "max": number(histogram.max()),
        }))
    })
}

fn json(json: serde_json::Value) -> Value {
    Value::Json(json.to_string().into())
}

fn equal_buckets(args: &[Value]) -> Value {
    let Some(count) = to_long(&args[1]).filter(|count| (2..=65_536).contains(count)) else { return Value::Null };
    with_histogram(args, |histogram| json(histogram.picture(&histogram.equal_breaks(count as usize))))
}

/// `(histogram, size, offset)`
fn sized_buckets(args: &[Value]) -> Value {
    let Some(numbers) = numbers(&args[1..]) else { return Value::Null };
    let breaks = |histogram: &Histogram| histogram.sized_breaks(numbers[0] as f32, numbers[1] as f32);
    with_histogram(args, |histogram| json(histogram.picture(&breaks(histogram))))
}

fn custom_buckets(args: &[Value]) -> Value {
    let Some(breaks) = numbers(&args[1..]) else { return Value::Null };
    let breaks: Vec<f32> = breaks.into_iter().map(|at| at as f32).collect();
    with_histogram(args, |histogram| json(histogram.picture(&breaks)))
}

fn bloom_filter(args: &[Value]) -> Value {
    to_long(&args[0]).map_or(Value::Null, |entries| value_of(Bloom::new(entries).write()))
}

/// `(value or filter, filter)`
fn bloom_add(args: &[Value]) -> Value {
    let Some(mut bloom) = bytes_of(&args[1]).and_then(|bytes| Bloom::read(&bytes)) else { return Value::Null };
    match &args[0] {
        Value::Bytes(bytes) => {
            // A fold has no errors: what misses some values is null, not a filter that says no to them.
            if !Bloom::read(bytes).is_some_and(|other| bloom.merge(&other)) {
                return Value::Null;
            }
        }
        value => bloom.add(value),
    }
    value_of(bloom.write())
}

fn bloom_test(args: &[Option<Value>]) -> Result<Prepared, String> {
    let Some(Some(filter)) = args.get(1) else {
        return Err("the filter must be a literal in base64".to_string());
    };
    let bloom = bytes_of(filter).and_then(|bytes| Bloom::read(&bytes)).ok_or("the filter is no Bloom filter")?;
    Ok(Prepared::whole(move |args| Value::Long(i64::from(bloom.test(&args[0])))))
}

/// `(type, base64)`: the type is not looked at, the bytes tell.
fn decode(args: &[Value]) -> Value {
    match &args[1] {
        // A JSON string of it.
        Value::Json(json) => match serde_json::from_str(json) {
            Ok(serde_json::Value::String(text)) => decode(&[Value::Null, Value::Text(text.into())]),
            _ => Value::Null,
        },
        value => bytes_of(value).map_or(Value::Null, |bytes| value_of(bytes.into_owned())),
    }
}

fn cpc_estimate(args: &[Value]) -> Value {
    if args[0].is_null() {
        return Value::Double(0.0);
    }
    let sketch = bytes_of(&args[0]).and_then(|bytes| cpc::read(&bytes));
    sketch.map_or(Value::Null, |sketch| Value::Double(sketch.estimate()))
}

fn cpc_bounds(args: &[Value]) -> Value {
    let deviations = args.get(1).map_or(Some(1), to_long);
    let sketch = bytes_of(&args[0]).and_then(|bytes| cpc::read(&bytes));
    let bounds = sketch.zip(deviations).and_then(|(sketch, count)| cpc::with_bounds(&sketch, count));
    bounds.map_or(Value::Null, list)
}

/// A null is an empty sketch.
fn cpc_union(args: &[Value]) -> Value {
    let there = args.iter().filter(|value| !value.is_null());
    let sketches = there.map(|value| cpc::read(&bytes_of(value)?)).collect::<Option<Vec<_>>>();
    let union = sketches.and_then(|sketches| cpc::union(&sketches));
    union.map_or(Value::Null, |sketch| value_of(sketch.serialize()))
}

/// `(sketch[, how many])`
fn frequent_items(args: &[Value]) -> Value {
    let limit = args.get(1).map_or(Some(frequent::ITEMS_DEFAULT as i64), to_long);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    match bytes_of(&args[0]).and_then(|bytes| frequent::read(&bytes)).zip(limit) {
        Some((sketch, limit)) => json(frequent::items(&sketch, limit)),
        None => Value::Null,
    }
}

/// `(sketch, item)`
fn frequent_estimate(args: &[Value]) -> Value {
    match bytes_of(&args[0]).and_then(|bytes| frequent::read(&bytes)).zip(to_text(&args[1])) {
        Some((sketch, item)) => Value::Long(sketch.estimate(&*item) as i64),
        None => Value::Null,
    }
}

fn z_test(args: &[Value]) -> Value {
    to_double(&args[0]).map_or(Value::Null, |z| Value::Double(significance::z_test(z)))
}

/// Of each value that keys carry, how likely its means differ as much by chance.
fn tuple_t_test(args: &[Value]) -> Value {
    let read = |value: &Value| tuple::read(&bytes_of(value)?);
    let Some(((a, of_a), (b, of_b))) = read(&args[0]).zip(read(&args[1])) else { return Value::Null };
    if of_a != of_b {
        return Value::Null;
    }
    let samples = |sketch: &tuple::Sketch| -> Vec<Sample> {
        let (means, variances) = (tuple::means(sketch, of_a), tuple::variances(sketch, of_a));
        let count = sketch.num_retained() as f64;
        means.into_iter().zip(variances).map(|(mean, variance)| Sample { count, mean, variance }).collect()
    };
    let tests = samples(&a).into_iter().zip(samples(&b));
    list(tests.map(|(a, b)| significance::t_test(a, b).unwrap_or(f64::NAN)))
}

/// What a sketch says, as text.
fn finalize(args: &[Value]) -> Value {
    let Some(bytes) = bytes_of(&args[0]) else { return Value::Null };
    let double = |value: f64| text(&crate::expr::convert::text_of_double(value));
    match bytes.get(2) {
        Some(7) if bytes.get(1) == Some(&1) => match hll::read(&bytes) {
            Some(sketch) if sketch.is_empty() => text("0"),
            Some(sketch) => text(&(sketch.composite_estimate().round() as i64).to_string()),
            None => Value::Null,
        },
        // CPC's preamble has no fixed length.
        Some(16) => cpc::read(&bytes).map_or(Value::Null, |sketch| double(sketch.estimate())),
        Some(10) => frequent::read(&bytes)
            .map_or(Value::Null, |sketch| text(&frequent::items(&sketch, frequent::ITEMS_DEFAULT).to_string())),
        Some(3) => theta::read(&bytes).map_or(Value::Null, |sketch| double(sketch.estimate())),
        Some(9) => tuple::read(&bytes).map_or(Value::Null, |(sketch, _)| double(sketch.estimate())),
        Some(8 | 15) => Quantiles::read(&bytes, None).map_or(Value::Null, |sketch| text(&sketch.n().to_string())),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_no_values_are_no_numbers() {
        let quantiles =
            |histogram: &Histogram| match histogram_quantiles(&[value_of(histogram.write()), Value::Double(0.5)]) {
                Value::Json(text) => text.to_string(),
                other => panic!("{other:?}"),
            };
        let mut histogram = Histogram::new(10);
        let empty = quantiles(&histogram);
        assert_eq!(empty, r#"{"probabilities":[0.5],"quantiles":["NaN"],"min":"Infinity","max":"-Infinity"}"#);
        histogram.add(2.5);
        let one = quantiles(&histogram);
        assert_eq!(one, r#"{"probabilities":[0.5],"quantiles":[2.5],"min":2.5,"max":2.5}"#);
    }
}
