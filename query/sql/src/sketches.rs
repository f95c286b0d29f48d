//! SQL aggregates that are sketches. Each says itself as a native aggregate, which a leaf runs in the engine; where an
//! aggregate stands over something else than a table (a join, another aggregate, a window) the same native accumulator
//! folds DataFusion's batches, so both answers agree.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use segment::aggregate::Aggregate;
use segment::aggregate::accumulator::{self, Groups, Values};
use segment::block::{Block, Value};
use segment::expr::Expr;
use serde_json::{Value as Json, json};

use crate::convert;
use crate::functions::sql_name;

/// Key of a field's metadata: whether a sketch that a statement answers leaves as what it says, `always` or where the
/// context asks for it.
pub const FINISHES: &str = "sketch_finishes";

/// An aggregate of the SQL language.
pub struct Definition {
    pub name: &'static str,
    kind: Kind,
    /// Arguments after the value: least and most.
    constants: (usize, usize),
    result: Returns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Hll,
    HllUtf8,
    Distinct,
    Theta,
    Quantiles,
    Quantile,
    Histogram,
    FixedHistogram,
    Tuple,
    Digest,
    DigestQuantile,
    Bloom,
    Cpc,
    Frequent,
    Variance { population: bool, root: bool },
}

impl Kind {
    /// Whether it takes values of any type; the others take numbers.
    fn tells_values_apart(self) -> bool {
        use Kind::{Bloom, Cpc, Distinct, Frequent, Hll, HllUtf8, Theta, Tuple};
        matches!(self, Hll | HllUtf8 | Distinct | Theta | Bloom | Tuple | Cpc | Frequent)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    Sketch,
    Long,
    Double,
}

const fn d(name: &'static str, kind: Kind, constants: (usize, usize), result: Returns) -> Definition {
    Definition { name, kind, constants, result }
}

pub static AGGREGATES: &[Definition] = &[
    d("ds_hll", Kind::Hll, (0, 2), Returns::Sketch),
    d("approx_count_distinct", Kind::Distinct, (0, 0), Returns::Long),
    d("approx_count_distinct_builtin", Kind::Distinct, (0, 0), Returns::Long),
    d("approx_count_distinct_ds_hll", Kind::Hll, (0, 2), Returns::Long),
    d("approx_count_distinct_ds_hll_utf8", Kind::HllUtf8, (0, 2), Returns::Long),
    d("ds_theta", Kind::Theta, (0, 1), Returns::Sketch),
    d("approx_count_distinct_ds_theta", Kind::Theta, (0, 1), Returns::Long),
    d("ds_quantiles_sketch", Kind::Quantiles, (0, 1), Returns::Sketch),
    d("approx_quantile_ds", Kind::Quantile, (1, 2), Returns::Double),
    d("approx_quantile", Kind::Histogram, (1, 2), Returns::Double),
    d("approx_quantile_fixed_buckets", Kind::FixedHistogram, (4, 5), Returns::Double),
    d("ds_tuple_doubles", Kind::Tuple, (0, 255), Returns::Sketch),
    d("tdigest_generate_sketch", Kind::Digest, (0, 1), Returns::Sketch),
    d("tdigest_quantile", Kind::DigestQuantile, (1, 2), Returns::Double),
    d("bloom_filter", Kind::Bloom, (1, 1), Returns::Sketch),
    d("ds_cpc", Kind::Cpc, (0, 1), Returns::Sketch),
    d("approx_count_distinct_ds_cpc", Kind::Cpc, (0, 1), Returns::Long),
    d("ds_frequent_items", Kind::Frequent, (0, 1), Returns::Sketch),
    d("var_pop", Kind::Variance { population: true, root: false }, (0, 0), Returns::Double),
    d("var_samp", Kind::Variance { population: false, root: false }, (0, 0), Returns::Double),
    d("variance", Kind::Variance { population: false, root: false }, (0, 0), Returns::Double),
    d("stddev_pop", Kind::Variance { population: true, root: true }, (0, 0), Returns::Double),
    d("stddev_samp", Kind::Variance { population: false, root: true }, (0, 0), Returns::Double),
    d("stddev", Kind::Variance { population: false, root: true }, (0, 0), Returns::Double),
];

/// What a call is in the native language.
pub struct Native {
    /// The aggregate, without its name.
    pub aggregate: Json,
    /// The post-aggregate that makes the answer of it, without the names of both, and the same as an expression over `s`.
    pub post: Option<(Json, String)>,
}

impl Definition {
    /// The definition that a function is made of.
    pub fn of(function: &AggregateUDF) -> Option<&'static Definition> {
        let inner = function.inner().as_ref() as &dyn std::any::Any;
        inner.downcast_ref::<Sketch>().map(|sketch| sketch.definition)
    }

    /// The forms it takes, a line each, as INFORMATION_SCHEMA.ROUTINES shows them.
    pub fn signatures(&self) -> String {
        let name = self.name.to_ascii_uppercase();
        let (least, most) = self.constants;
        if self.kind == Kind::Tuple {
            return format!("'{name}(<ANY>, <NUMERIC>..., [<INTEGER>])'");
        }
        let form = |count: usize| format!("'{name}(<ANY>{})'", ", <LITERAL>".repeat(count));
        (least..=most).map(form).collect::<Vec<_>>().join("\n")
    }

    /// How many of the arguments are values of rows; the others are constants.
    pub fn values(&self, args: usize, last_is_whole_literal: bool) -> usize {
        match self.kind {
            Kind::Tuple if args > 2 && last_is_whole_literal => args - 1,
            Kind::Tuple => args,
            _ => 1,
        }
    }

    /// The call over columns, `sketch` tells whether the first holds sketches; `None` for constants that do not fit.
    pub fn native(&self, columns: &[String], sketch: bool, constants: &[ScalarValue]) -> Option<Native> {
        let column = columns.first()?;
        let long = |at: usize| constants.get(at).map_or(Some(-1), long_of);
        let finalize = self.result != Returns::Sketch;
        let mut aggregate = json!({"fieldName": column});
        let mut post = None;
        let mut put = |key: &str, value: Json| aggregate[key] = value;
        match self.kind {
            Kind::Hll | Kind::HllUtf8 => {
                put("type", if sketch { "HLLSketchMerge" } else { "HLLSketchBuild" }.into());
                if let lg_k @ 0.. = long(0)? {
                    put("lgK", lg_k.into());
                }
                if let Some(kind) = constants.get(1) {
                    put("tgtHllType", text_of(kind)?.into());
                }
                if self.kind == Kind::HllUtf8 {
                    put("stringEncoding", "utf8".into());
                }
                put("shouldFinalize", finalize.into());
                put("round", true.into());
            }
            Kind::Distinct => {
                put("type", "hyperUnique".into());
                put("round", true.into());
            }
            Kind::Theta => {
                put("type", "thetaSketch".into());
                if let size @ 0.. = long(0)? {
                    put("size", size.into());
                }
                put("shouldFinalize", finalize.into());
                put("isInputThetaSketch", sketch.into());
            }
            Kind::Quantiles | Kind::Quantile => {
                let k = if self.kind == Kind::Quantile { 1 } else { 0 };
                put("type", "quantilesDoublesSketch".into());
                if let k @ 0.. = long(k)? {
                    put("k", k.into());
                }
                if self.kind == Kind::Quantile {
                    let part = fraction(&constants[0])?;
                    let native = json!({"type": "quantilesDoublesSketchToQuantile", "fraction": part});
                    post = Some((native, format!("ds_get_quantile(s, {part:?})")));
                } else {
                    put("shouldFinalize", false.into());
                }
            }
            Kind::Histogram | Kind::FixedHistogram => {
                let part = fraction(&constants[0])?;
                if self.kind == Kind::Histogram {
                    put("type", if sketch { "approxHistogramFold" } else { "approxHistogram" }.into());
                    if let size @ 0.. = long(1)? {
                        put("resolution", size.into());
                    }
                } else {
                    put("type", "fixedBucketsHistogram".into());
                    put("numBuckets", long(1)?.into());
                    put("lowerLimit", double_of(&constants[2])?.into());
                    put("upperLimit", double_of(&constants[3])?.into());
                    if let Some(mode) = constants.get(4) {
                        put("outlierHandlingMode", text_of(mode)?.into());
                    }
                }
                let native = json!({"type": "quantile", "probability": part});
                post = Some((native, format!("histogram_quantile(s, {part:?})")));
            }
            Kind::Tuple => {
                put("type", "arrayOfDoublesSketch".into());
                if columns.len() > 1 {
                    put("metricColumns", columns[1..].to_vec().into());
                }
                if let size @ 0.. = long(0)? {
                    put("nominalEntries", size.into());
                }
                put("shouldFinalize", false.into());
            }
            Kind::Digest | Kind::DigestQuantile => {
                put("type", "tDigestSketch".into());
                let compression = if self.kind == Kind::Digest { 0 } else { 1 };
                if let compression @ 0.. = long(compression)? {
                    put("compression", compression.into());
                }
                if self.kind == Kind::DigestQuantile {
                    let part = fraction(&constants[0])?;
                    let native = json!({"type": "quantileFromTDigestSketch", "fraction": part});
                    post = Some((native, format!("tdigest_quantile(s, {part:?})")));
                }
            }
            Kind::Bloom => {
                put("type", "bloom".into());
                put("maxNumEntries", long(0)?.into());
            }
            Kind::Cpc => {
                put("type", if sketch { "cpcSketchMerge" } else { "cpcSketchBuild" }.into());
                if let lg_k @ 0.. = long(0)? {
                    put("lgK", lg_k.into());
                }
                put("shouldFinalize", finalize.into());
                put("round", true.into());
            }
            Kind::Frequent => {
                put("type", "frequentItems".into());
                if let map @ 0.. = long(0)? {
                    put("maxMapSize", map.into());
                }
                put("shouldFinalize", false.into());
            }
            Kind::Variance { population, root } => {
                put("type", if sketch { "varianceFold" } else { "variance" }.into());
                let estimator = if population { "population" } else { "sample" };
                put("estimator", estimator.into());
                if root {
                    let native = json!({"type": "stddev", "estimator": estimator});
                    post = Some((native, format!("stddev_of(s, '{estimator}')")));
                }
            }
        }
        Some(Native { aggregate, post })
    }

    fn data_type(&self) -> DataType {
        match self.result {
            // It has no other form than the finished one.
            Returns::Sketch => DataType::Binary,
            Returns::Long => DataType::Int64,
            Returns::Double => DataType::Float64,
        }
    }

    /// The answer over no rows.
    pub fn empty(native: &Native) -> Option<Value> {
        Folding::new(native, DataType::Null).ok()?.value().ok()
    }
}

fn long_of(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(Some(long)) => Some(*long),
        ScalarValue::Int32(Some(long)) => Some(i64::from(*long)),
        ScalarValue::Float64(Some(double)) if double.fract() == 0.0 => Some(*double as i64),
        _ => None,
    }
    .filter(|long| *long >= 0)
}

fn double_of(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float64(Some(double)) => Some(*double),
        ScalarValue::Float32(Some(double)) => Some(f64::from(*double)),
        ScalarValue::Int64(Some(long)) => Some(*long as f64),
        _ => None,
    }
    .filter(|double| double.is_finite())
}

fn fraction(value: &ScalarValue) -> Option<f64> {
    double_of(value).filter(|part| (0.0..=1.0).contains(part))
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(Some(text)) => Some(text),
        _ => None,
    }
}

/// All of them by SQL name.
pub fn all() -> HashMap<String, Arc<AggregateUDF>> {
    AGGREGATES
        .iter()
        .map(|definition| {
            let sketch = Sketch { definition, signature: Signature::user_defined(Volatility::Immutable) };
            (definition.name.to_string(), Arc::new(AggregateUDF::new_from_impl(sketch)))
        })
        .collect()
}

/// A definition as DataFusion sees it.
struct Sketch {
    definition: &'static Definition,
    signature: Signature,
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Sketch {}

impl std::hash::Hash for Sketch {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl Sketch {
    /// DataFusion's own, for variances of numbers: it can also take rows out again, which windows ask for.
    fn built_in(&self, first: Option<&FieldRef>) -> Option<Arc<AggregateUDF>> {
        let Kind::Variance { population, root } = self.definition.kind else { return None };
        if first.is_none_or(|field| *field.data_type() == DataType::Binary) {
            return None;
        }
        Some(match (population, root) {
            (true, false) => var_pop_udaf(),
            (false, false) => var_samp_udaf(),
            (true, true) => stddev_pop_udaf(),
            (false, true) => stddev_udaf(),
        })
    }
}

impl AggregateUDFImpl for Sketch {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.definition.data_type())
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.iter().map(|field| field.data_type().clone()).collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        let outer = match (self.definition.result, self.definition.kind) {
            (Returns::Sketch, Kind::Tuple) => "always",
            (Returns::Sketch, _) => "asked",
            _ => return Ok(Arc::new(field)),
        };
        Ok(Arc::new(field.with_metadata([(FINISHES.to_string(), outer.to_string())].into())))
    }

    fn coerce_types(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        let name = self.definition.name.to_ascii_uppercase();
        let (least, most) = self.definition.constants;
        if given.len() <= least || given.len() > most + 1 {
            return plan_err!("function {name} takes {} to {} arguments, {} given", least + 1, most + 1, given.len());
        }
        let kind = self.definition.kind;
        let refused = given.iter().enumerate().any(|(idx, given)| match (kind, idx) {
            (Kind::Tuple, _) | (_, 0) => *given == convert::DOCUMENT,
            (Kind::Hll | Kind::HllUtf8, 2) | (Kind::FixedHistogram, 5) => {
                !matches!(given, DataType::Utf8 | DataType::Null)
            }
            _ => !given.is_numeric(),
        });
        if refused {
            let types: Vec<String> = given.iter().map(|given| format!("<{}>", sql_name(given))).collect();
            return plan_err!("Cannot apply '{name}' to arguments of type '{name}({})'", types.join(", "));
        }
        let number = |given: &DataType| if *given == DataType::Binary { DataType::Binary } else { DataType::Float64 };
        Ok(given
            .iter()
            .enumerate()
            .map(|(idx, given)| match (kind, idx) {
                (kind, 0) if kind.tells_values_apart() => match given {
                    DataType::Null => DataType::Utf8,
                    given if given.is_integer() => DataType::Int64,
                    DataType::Float32 | DataType::Decimal128(..) => DataType::Float64,
                    given => given.clone(),
                },
                (Kind::Tuple, _) if given.is_integer() => DataType::Int64,
                (_, 0) => number(given),
                (Kind::Hll | Kind::HllUtf8, 2) | (Kind::FixedHistogram, 5) => DataType::Utf8,
                (Kind::Quantile | Kind::Histogram | Kind::DigestQuantile | Kind::FixedHistogram, 1)
                | (Kind::FixedHistogram, 3 | 4)
                | (Kind::Tuple, _) => DataType::Float64,
                _ => DataType::Int64,
            })
            .collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        if let Some(built_in) = self.built_in(args.expr_fields.first()) {
            return built_in.accumulator(args);
        }
        let literal = |expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
            expr.downcast_ref::<Literal>().map(|literal| literal.value().clone())
        };
        let last = args.exprs.last().and_then(literal);
        let values = self.definition.values(args.exprs.len(), matches!(last, Some(ScalarValue::Int64(Some(_)))));
        let Some(constants) = args.exprs[values..].iter().map(literal).collect::<Option<Vec<_>>>() else {
            return exec_err!("{} takes constants after its value", self.definition.name.to_ascii_uppercase());
        };
        let columns: Vec<String> = (0..values).map(|idx| format!("c{idx}")).collect();
        let sketch = args.expr_fields.first().is_some_and(|field| *field.data_type() == DataType::Binary);
        let Some(native) = self.definition.native(&columns, sketch, &constants) else {
            return exec_err!("{} was given constants out of range", self.definition.name.to_ascii_uppercase());
        };
        Ok(Box::new(Folding::new(&native, self.definition.data_type())?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        if let Some(built_in) = self.built_in(args.input_fields.first()) {
            return built_in.state_fields(args);
        }
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))])
    }
}

/// A native accumulator with one group.
pub struct Folding {
    state: Box<dyn accumulator::Accumulator>,
    inputs: usize,
    sketch: bool,
    finish: Option<Expr>,
    result: DataType,
}

impl std::fmt::Debug for Folding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folding").field("result", &self.result).finish_non_exhaustive()
    }
}

impl Folding {
    /// Of an aggregate without its name, which finishes.
    pub fn of(aggregate: Json, result: DataType) -> DfResult<Folding> {
        Folding::new(&Native { aggregate, post: None }, result)
    }

    fn new(native: &Native, result: DataType) -> DfResult<Folding> {
        let outside = |error: segment::Error| DataFusionError::Plan(error.to_string());
        let mut json = native.aggregate.clone();
        json["name"] = "a".into();
        let aggregate = Aggregate::from_json(&json, "aggregate").map_err(outside)?;
        let finish = native.post.as_ref().map(|(_, text)| Expr::parse(text)).transpose().map_err(outside)?;
        let mut state = accumulator::new(&aggregate);
        state.resize(1);
        let sketch = aggregate.leaves_as_state() || finish.is_some();
        Ok(Folding { state, inputs: accumulator::inputs(&aggregate).len(), sketch, finish, result })
    }

    fn value(&self) -> DfResult<Value> {
        let value = if self.sketch { self.state.partial(&[0]).value(0) } else { self.state.finish(&[0]).value(0) };
        Ok(match &self.finish {
            Some(finish) => finish.value(&|_| value.clone()),
            None => value,
        })
    }

    fn fold(&mut self, arrays: &[ArrayRef]) -> DfResult<()> {
        let outside = |error: crate::error::Error| DataFusionError::External(Box::new(error));
        let rows = arrays.first().map_or(0, |array| array.len());
        let blocks = arrays.iter().map(convert::block).collect::<Result<Vec<Block>, _>>().map_err(outside)?;
        let values: Vec<Values<'_>> = blocks.iter().map(Values::from).collect();
        self.state.fold(rows, Groups::One(0), &values);
        Ok(())
    }
}

impl Accumulator for Folding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.fold(&values[..self.inputs.min(values.len())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.fold(&states[..1])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if let Some(why) = self.state.complaint(&[0]) {
            return exec_err!("{why}");
        }
        let outside = |error: crate::error::Error| DataFusionError::External(Box::new(error));
        let array = convert::array(Block::Any { values: vec![self.value()?] }, &self.result).map_err(outside)?;
        ScalarValue::try_from_array(&array, 0)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        match self.state.partial(&[0]).value(0) {
            Value::Bytes(bytes) => Ok(vec![ScalarValue::Binary(Some(bytes.to_vec()))]),
            _ => Ok(vec![ScalarValue::Binary(None)]),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.bytes()
    }
}
