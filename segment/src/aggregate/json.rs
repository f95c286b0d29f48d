//! Aggregates in Druid's JSON form.

use serde_json::{Value as Json, json};

use super::{Aggregate, AggregateKind, Fold, Hll, Input, sketch};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::fields::Fields;
use crate::filter::Filter;
use crate::schema::{TIME, ValueType};
use crate::sketch::hash::TextKey;
use crate::sketch::{hll, quantiles};
use crate::spelling;

const TYPES: [&str; 39] = [
    "count",
    "longSum",
    "doubleSum",
    "floatSum",
    "longMin",
    "doubleMin",
    "floatMin",
    "longMax",
    "doubleMax",
    "floatMax",
    "doubleMean",
    "longFirst",
    "doubleFirst",
    "floatFirst",
    "stringFirst",
    "longLast",
    "doubleLast",
    "floatLast",
    "stringLast",
    "longAny",
    "doubleAny",
    "floatAny",
    "stringAny",
    "filtered",
    "distinctCount",
    "cardinality",
    "hyperUnique",
    "HLLSketchBuild",
    "HLLSketchMerge",
    "quantilesDoublesSketch",
    "quantilesDoublesSketchMerge",
    "KllDoublesSketch",
    "KllFloatsSketch",
    "expression",
    "singleValue",
    "grouping",
    "timeMin",
    "timeMax",
    "Bitmap64ExactCountBuild",
];

/// Druid's, that we have no accumulator for.
const UNSUPPORTED: [&str; 5] =
    ["javascript", "ddSketch", "momentSketch", "spectatorHistogram", "compressedBigDecimalSum"];

const MAX_BYTES_DEFAULT: i64 = 1024;

impl Aggregate {
    /// Druid's JSON. Errors carry the path of the field below `path`, the valid names and the fix.
    pub fn from_json(json: &Json, path: &str) -> Result<Aggregate> {
        parse(json, path, None)
    }

    /// JSON that [`Aggregate::from_json`] reads to the same aggregate.
    pub fn to_json(&self) -> Json {
        let name = &self.name;
        let simple = |verb: &str, value_type: &ValueType, input: &Input| {
            let mut json = json!({"type": format!("{}{verb}", prefix(value_type)), "name": name});
            put_input(&mut json, input);
            json
        };
        let timed = |verb: &str, value_type: &ValueType, column: &str, time_column: &str, max_bytes: usize| {
            let mut json = json!({"type": format!("{}{verb}", prefix(value_type)), "name": name, "fieldName": column, "timeColumn": time_column});
            put_bytes(&mut json, value_type, max_bytes);
            json
        };
        match &self.kind {
            AggregateKind::Count => json!({"type": "count", "name": name}),
            AggregateKind::Sum { value_type, input } => simple("Sum", value_type, input),
            AggregateKind::Min { value_type, input } => simple("Min", value_type, input),
            AggregateKind::Max { value_type, input } => simple("Max", value_type, input),
            AggregateKind::Mean { input } => simple("Mean", &ValueType::Double, input),
            AggregateKind::First { value_type, column, time_column, max_bytes } => {
                timed("First", value_type, column, time_column, *max_bytes)
            }
            AggregateKind::Last { value_type, column, time_column, max_bytes } => {
                timed("Last", value_type, column, time_column, *max_bytes)
            }
            AggregateKind::Any { value_type, column, max_bytes } => {
                let mut json = json!({"type": format!("{}Any", prefix(value_type)), "name": name, "fieldName": column});
                put_bytes(&mut json, value_type, *max_bytes);
                json
            }
            AggregateKind::Distinct { columns } => match columns.as_slice() {
                [one] => {
                    let mut json = json!({"type": "distinctCount", "name": name});
                    put_input(&mut json, one);
                    json
                }
                many => json!({"type": "distinctCount", "name": name, "fields": inputs_to_json(many)}),
            },
            AggregateKind::Hll(hll) => match (hll.columns.as_slice(), hll.text) {
                ([one], TextKey::Counted) if !hll.by_row => {
                    let mut json = json!({"type": "hyperUnique", "name": name, "lgK": hll.lg_k, "round": hll.round});
                    put_input(&mut json, one);
                    json
                }
                ([one], text) if !hll.by_row => {
                    let mut json = json!({
                        "type": if text == TextKey::Sketches { "HLLSketchMerge" } else { "HLLSketchBuild" }, "name": name,
                        "lgK": hll.lg_k, "tgtHllType": hll::name_of(hll.kind), "shouldFinalize": hll.finalize,
                        "round": hll.round,
                    });
                    put_input(&mut json, one);
                    if text == TextKey::Utf8 {
                        json["stringEncoding"] = json!("utf8");
                    }
                    json
                }
                (many, _) => json!({
                    "type": "cardinality", "name": name, "fields": inputs_to_json(many), "byRow": hll.by_row,
                    "round": hll.round, "lgK": hll.lg_k,
                }),
            },
            AggregateKind::Quantiles { input, k, kind, finalize } => {
                let mut json = json!({"type": kind.name(), "name": name, "k": k, "shouldFinalize": finalize});
                put_input(&mut json, input);
                json
            }
            AggregateKind::Sketch(sketch) => sketch.to_json(name),
            AggregateKind::Fold(fold) => fold.to_json(name),
            AggregateKind::Single { column, value_type } => json!({
                "type": "singleValue", "name": name, "fieldName": column, "columnType": value_type.druid_name(),
            }),
            AggregateKind::Grouping { dimensions } => {
                json!({"type": "grouping", "name": name, "groupings": dimensions})
            }
            AggregateKind::Filtered { filter, inner } => {
                json!({"type": "filtered", "name": name, "aggregator": inner.to_json(), "filter": filter.to_json()})
            }
        }
    }
}

/// `outer` is the name of the filtered aggregate around it.
fn parse(json: &Json, path: &str, outer: Option<&str>) -> Result<Aggregate> {
    let fields = Fields::of(json, path)?;
    let kind = fields.need_text("type")?;
    let name = fields.text("name")?;
    if kind == "filtered" {
        let name = name.filter(|name| !name.is_empty());
        let inner = parse(fields.need("aggregator")?, &fields.at("aggregator"), name.as_deref().or(outer))?;
        let filter = Filter::from_json(fields.need("filter")?, &fields.at("filter"))?;
        let name = name.unwrap_or_else(|| inner.name.clone());
        return Ok(Aggregate { name, kind: AggregateKind::Filtered { filter, inner: Box::new(inner) } });
    }
    let Some(name) = name.or_else(|| outer.map(str::to_string)) else {
        return Err(fields.wrong("name", "is missing"));
    };
    Ok(Aggregate { name, kind: parse_kind(&fields, &kind)? })
}

fn parse_kind(fields: &Fields, kind: &str) -> Result<AggregateKind> {
    if let Some((value_type, verb)) = split_type(kind) {
        return match verb {
            "Sum" => Ok(AggregateKind::Sum { value_type, input: input(fields)? }),
            "Min" => Ok(AggregateKind::Min { value_type, input: input(fields)? }),
            "Max" => Ok(AggregateKind::Max { value_type, input: input(fields)? }),
            "Any" => Ok(AggregateKind::Any {
                value_type,
                column: fields.need_text("fieldName")?,
                max_bytes: max_bytes(fields)?,
            }),
            _ => {
                let column = fields.need_text("fieldName")?;
                let time_column = fields.text("timeColumn")?.unwrap_or_else(|| TIME.to_string());
                let max_bytes = max_bytes(fields)?;
                Ok(match verb {
                    "First" => AggregateKind::First { value_type, column, time_column, max_bytes },
                    _ => AggregateKind::Last { value_type, column, time_column, max_bytes },
                })
            }
        };
    }
    match kind {
        "count" => Ok(AggregateKind::Count),
        "doubleMean" => Ok(AggregateKind::Mean { input: input(fields)? }),
        "distinctCount" => Ok(AggregateKind::Distinct { columns: inputs(fields)? }),
        "cardinality" => {
            let columns = inputs(fields)?;
            let by_row = fields.flag("byRow")?;
            hll_of(fields, Hll { text: TextKey::Counted, by_row, ..Hll::of(columns) })
        }
        "hyperUnique" => hll_of(fields, Hll { text: TextKey::Counted, ..Hll::of(vec![input(fields)?]) }),
        "HLLSketchBuild" | "HLLSketchMerge" => {
            let text = match fields.text("stringEncoding")? {
                _ if kind == "HLLSketchMerge" => TextKey::Sketches,
                Some(encoding) if encoding.eq_ignore_ascii_case("utf8") => TextKey::Utf8,
                _ => TextKey::Utf16,
            };
            hll_of(fields, Hll { text, finalize: should_finalize(fields)?, ..Hll::of(vec![input(fields)?]) })
        }
        "quantilesDoublesSketch" | "quantilesDoublesSketchMerge" => {
            let k = fields.integer("k", 128, 2, 32_768)?;
            if !(k as u64).is_power_of_two() {
                return Err(fields.wrong("k", "must be a power of two"));
            }
            quantiles_of(fields, kind, quantiles::Kind::Classic, k)
        }
        "KllDoublesSketch" => {
            quantiles_of(fields, kind, quantiles::Kind::KllDoubles, fields.integer("k", 200, 8, 65_535)?)
        }
        "KllFloatsSketch" => {
            quantiles_of(fields, kind, quantiles::Kind::KllFloats, fields.integer("k", 200, 8, 65_535)?)
        }
        "expression" => Fold::parse(fields).map(|fold| AggregateKind::Fold(Box::new(fold))),
        "timeMin" => Fold::time(fields, "<").map(|fold| AggregateKind::Fold(Box::new(fold))),
        "timeMax" => Fold::time(fields, ">").map(|fold| AggregateKind::Fold(Box::new(fold))),
        "Bitmap64ExactCountBuild" => {
            Ok(AggregateKind::Distinct { columns: vec![Input::Column(fields.need_text("fieldName")?)] })
        }
        "singleValue" => {
            let text = fields.text("columnType")?.unwrap_or_else(|| "STRING".to_string());
            let value_type = ValueType::from_druid_name(&text)
                .ok_or_else(|| fields.wrong("columnType", &format!("[{text}] is no type")))?;
            Ok(AggregateKind::Single { column: fields.need_text("fieldName")?, value_type })
        }
        "grouping" => {
            let names = fields.list("groupings")?.iter().map(|name| name.as_str().map(str::to_string));
            let dimensions = names.collect::<Option<Vec<String>>>();
            let dimensions = dimensions.filter(|all| (1..=63).contains(&all.len()));
            let dimensions = dimensions.ok_or_else(|| fields.wrong("groupings", "must name 1 to 63 dimensions"))?;
            Ok(AggregateKind::Grouping { dimensions })
        }
        kind if sketch::TYPES.contains(&kind) => {
            sketch::parse(fields, kind).map(|sketch| AggregateKind::Sketch(Box::new(sketch)))
        }
        other if UNSUPPORTED.contains(&other) => {
            Err(Error::invalid(format!("{}: the aggregator type [{other}] is not supported", fields.at("type"))))
        }
        other => Err(Error::invalid(format!(
            "unknown aggregator type [{other}] in {}{}",
            fields.at("type"),
            spelling::hint(other, &[&TYPES[..], &sketch::TYPES[..]].concat())
        ))),
    }
}

fn hll_of(fields: &Fields, hll: Hll) -> Result<AggregateKind> {
    let lg_k = fields.integer("lgK", i64::from(hll::LG_K_DEFAULT), 4, 21)? as u8;
    let kind = match fields.text("tgtHllType")? {
        None => hll.kind,
        Some(name) => hll::kind_of(&name)
            .ok_or_else(|| fields.wrong("tgtHllType", &format!("[{name}] must be HLL_4, HLL_6 or HLL_8")))?,
    };
    Ok(AggregateKind::Hll(Hll { lg_k, kind, round: fields.flag("round")?, ..hll }))
}

fn quantiles_of(fields: &Fields, name: &str, kind: quantiles::Kind, k: i64) -> Result<AggregateKind> {
    let input = match name {
        // The combining form reads the column that it writes.
        "quantilesDoublesSketchMerge" if fields.get("fieldName").is_none() => Input::Column(fields.need_text("name")?),
        _ => input(fields)?,
    };
    Ok(AggregateKind::Quantiles { input, k: k as u16, kind, finalize: should_finalize(fields)? })
}

/// `shouldFinalize`, which is true unless it says otherwise.
pub(super) fn should_finalize(fields: &Fields) -> Result<bool> {
    match fields.get("shouldFinalize") {
        None => Ok(true),
        Some(_) => fields.flag("shouldFinalize"),
    }
}

/// `longSum` is a `Long` and `Sum`.
fn split_type(kind: &str) -> Option<(ValueType, &str)> {
    let (value_type, verb) = [
        ("long", ValueType::Long),
        ("double", ValueType::Double),
        ("float", ValueType::Float),
        ("string", ValueType::String),
    ]
    .into_iter()
    .find_map(|(prefix, value_type)| kind.strip_prefix(prefix).map(|verb| (value_type, verb)))?;
    let verb = match (&value_type, verb) {
        (ValueType::String, "FirstFold") => "First",
        (ValueType::String, "LastFold") => "Last",
        (ValueType::String, "Sum" | "Min" | "Max") => return None,
        (_, "Sum" | "Min" | "Max" | "First" | "Last" | "Any") => verb,
        _ => return None,
    };
    Some((value_type, verb))
}

fn prefix(value_type: &ValueType) -> &'static str {
    match value_type {
        ValueType::Long => "long",
        ValueType::Double => "double",
        ValueType::Float => "float",
        ValueType::String | ValueType::Array(_) | ValueType::Complex(_) => "string",
    }
}

/// `fieldName` or `expression`, exactly one.
pub(super) fn input(fields: &Fields) -> Result<Input> {
    match (fields.text("fieldName")?, fields.text("expression")?) {
        (Some(column), None) => Ok(Input::Column(column)),
        (None, Some(text)) => expression(&text, &fields.at("expression")),
        _ => Err(fields.wrong("fieldName", "or expression must be given, and not both")),
    }
}

fn expression(text: &str, path: &str) -> Result<Input> {
    Expr::parse(text).map(Input::Expression).map_err(|error| Error::invalid(format!("{path}: {error}")))
}

/// `fields` (names, default dimension specs, or `{"expression"}`), the older `fieldNames`, or one input.
fn inputs(fields: &Fields) -> Result<Vec<Input>> {
    let name = match (fields.get("fields"), fields.get("fieldNames")) {
        (Some(_), _) => "fields",
        (None, Some(_)) => "fieldNames",
        (None, None) => return Ok(vec![input(fields)?]),
    };
    let mut inputs = Vec::new();
    for (idx, json) in fields.list(name)?.iter().enumerate() {
        inputs.push(dimension(json, &format!("{}[{idx}]", fields.at(name)))?);
    }
    if inputs.is_empty() {
        return Err(fields.wrong(name, "must name at least one column"));
    }
    Ok(inputs)
}

/// A column name, a default dimension spec, or an object with an expression.
pub(super) fn dimension(json: &Json, path: &str) -> Result<Input> {
    let object = match json {
        Json::String(column) => return Ok(Input::Column(column.clone())),
        Json::Object(object) => object,
        _ => return Err(Error::invalid(format!("{path} must be a column name or a default dimension spec"))),
    };
    match (object.get("type").map(Json::as_str), object.get("dimension"), object.get("expression")) {
        (None | Some(Some("default")), Some(Json::String(column)), _) => Ok(Input::Column(column.clone())),
        (None, None, Some(Json::String(text))) => expression(text, path),
        _ => Err(Error::invalid(format!("{path} must be a column name or a default dimension spec"))),
    }
}

fn max_bytes(fields: &Fields) -> Result<usize> {
    Ok(fields.integer("maxStringBytes", MAX_BYTES_DEFAULT, 0, i64::from(i32::MAX))? as usize)
}

pub(super) fn put_input(json: &mut Json, input: &Input) {
    match input {
        Input::Column(column) => json["fieldName"] = json!(column),
        Input::Expression(expr) => json["expression"] = json!(expr.to_string()),
    }
}

fn put_bytes(json: &mut Json, value_type: &ValueType, max_bytes: usize) {
    if *value_type == ValueType::String {
        json["maxStringBytes"] = json!(max_bytes);
    }
}

fn inputs_to_json(inputs: &[Input]) -> Vec<Json> {
    let one = |input: &Input| match input {
        Input::Column(column) => json!(column),
        Input::Expression(expr) => json!({"expression": expr.to_string()}),
    };
    inputs.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (json, value_type, columns) in [
            (json!({"type": "count", "name": "n"}), "LONG", vec![]),
            (json!({"type": "longSum", "name": "s", "fieldName": "x"}), "LONG", vec!["x"]),
            (json!({"type": "doubleSum", "name": "s", "expression": "(x * (1 - y))"}), "DOUBLE", vec!["x", "y"]),
            (json!({"type": "floatMax", "name": "s", "fieldName": "x"}), "FLOAT", vec!["x"]),
            (json!({"type": "doubleMean", "name": "s", "fieldName": "x"}), "DOUBLE", vec!["x"]),
            (
                json!({"type": "longFirst", "name": "s", "fieldName": "x", "timeColumn": "__time"}),
                "LONG",
                vec!["x", "__time"],
            ),
            (
                json!({"type": "stringLast", "name": "s", "fieldName": "x", "timeColumn": "t", "maxStringBytes": 10}),
                "STRING",
                vec!["x", "t"],
            ),
            (json!({"type": "stringAny", "name": "s", "fieldName": "x", "maxStringBytes": 1024}), "STRING", vec!["x"]),
            (json!({"type": "distinctCount", "name": "s", "fieldName": "x"}), "LONG", vec!["x"]),
            (
                json!({"type": "HLLSketchBuild", "name": "s", "fieldName": "x", "lgK": 14, "round": true,
                    "tgtHllType": "HLL_4", "shouldFinalize": true}),
                "LONG",
                vec!["x"],
            ),
            (
                json!({"type": "cardinality", "name": "s", "fields": ["x", "y"], "byRow": true, "round": false, "lgK": 12}),
                "DOUBLE",
                vec!["x", "y"],
            ),
            (
                json!({"type": "cardinality", "name": "s", "fields": ["x", "y"], "byRow": false, "round": false, "lgK": 12}),
                "DOUBLE",
                vec!["x", "y"],
            ),
            (
                json!({"type": "cardinality", "name": "s", "fields": ["x"], "byRow": true, "round": true, "lgK": 12}),
                "LONG",
                vec!["x"],
            ),
            (
                json!({"type": "quantilesDoublesSketch", "name": "s", "fieldName": "x", "k": 256, "shouldFinalize": false}),
                "LONG",
                vec!["x"],
            ),
            (
                json!({"type": "thetaSketch", "name": "s", "fieldName": "x", "size": 4096, "shouldFinalize": true,
                    "isInputThetaSketch": false}),
                "DOUBLE",
                vec!["x"],
            ),
            (
                json!({"type": "arrayOfDoublesSketch", "name": "s", "fieldName": "x", "nominalEntries": 1024,
                    "numberOfValues": 2, "metricColumns": ["y", "z"]}),
                "DOUBLE",
                vec!["x", "y", "z"],
            ),
            (
                json!({"type": "variance", "name": "s", "fieldName": "x", "estimator": "population"}),
                "DOUBLE",
                vec!["x"],
            ),
            (
                json!({"type": "fixedBucketsHistogram", "name": "s", "fieldName": "x", "numBuckets": 10, "lowerLimit": 0.0,
                    "upperLimit": 5.5, "outlierHandlingMode": "clip", "finalizeAsBase64Binary": false}),
                "STRING",
                vec!["x"],
            ),
            (json!({"type": "bloom", "name": "s", "field": "x", "maxNumEntries": 100}), "COMPLEX<bloom>", vec!["x"]),
            (
                json!({"type": "expression", "name": "s", "fields": ["x"], "accumulatorIdentifier": "__acc",
                    "initialValue": "0", "initialCombineValue": "0", "isNullUnlessAggregated": true,
                    "shouldAggregateNullInputs": true, "shouldCombineAggregateNullInputs": true,
                    "fold": "__acc + x", "maxSizeBytes": 1024}),
                "LONG",
                vec!["x"],
            ),
            (json!({"type": "grouping", "name": "s", "groupings": ["a", "b"]}), "LONG", vec![]),
            (
                json!({"type": "filtered", "name": "f", "aggregator": {"type": "count", "name": "n"}, "filter": {"type": "null", "column": "z"}}),
                "LONG",
                vec!["z"],
            ),
        ] {
            let aggregate = Aggregate::from_json(&json, "aggregations[0]").unwrap();
            assert_eq!(aggregate.to_json(), json);
            assert_eq!(aggregate.value_type().druid_name(), value_type);
            assert_eq!(aggregate.columns(), columns);
        }
    }

    #[test]
    fn combining_reads_the_column_that_rollup_wrote() {
        for (json, combining) in [
            (json!({"type": "count", "name": "n"}), json!({"type": "longSum", "name": "n", "fieldName": "n"})),
            (
                json!({"type": "doubleMin", "name": "m", "expression": "x + 1"}),
                json!({"type": "doubleMin", "name": "m", "fieldName": "m"}),
            ),
            (
                json!({"type": "filtered", "name": "f", "aggregator": {"type": "count"}, "filter": {"type": "true"}}),
                json!({"type": "longSum", "name": "f", "fieldName": "f"}),
            ),
            (
                json!({"type": "hyperUnique", "name": "h", "fieldName": "x"}),
                json!({"type": "hyperUnique", "name": "h", "fieldName": "h", "lgK": 12, "round": false}),
            ),
        ] {
            assert_eq!(Aggregate::from_json(&json, "a").unwrap().combining().to_json(), combining);
        }
    }

    #[test]
    fn errors_name_the_field_and_the_fix() {
        for (json, text) in [
            (json!({"type": "longSum", "fieldName": "x"}), "a.name is missing"),
            (json!({"type": "longsum", "name": "s", "fieldName": "x"}), "did you mean [longSum]"),
            (json!({"type": "longSum", "name": "s"}), "a.fieldName or expression must be given, and not both"),
            (json!({"type": "longSum", "name": "s", "fieldName": "x", "expression": "y"}), "and not both"),
            (json!({"type": "longSum", "name": "s", "expression": "y +"}), "a.expression: "),
            (json!({"type": "javascript", "name": "s"}), "[javascript] is not supported"),
            (
                json!({"type": "HLLSketchBuild", "name": "s", "fieldName": "x", "lgK": 30}),
                "a.lgK must be a whole number from 4 to 21",
            ),
            (json!({"type": "quantilesDoublesSketch", "name": "s", "fieldName": "x", "k": 100}), "power of two"),
            (json!({"type": "filtered", "name": "s", "aggregator": {"type": "count"}}), "a.filter is missing"),
            (
                json!({"type": "filtered", "name": "s", "aggregator": {"type": "cont"}, "filter": {"type": "true"}}),
                "a.aggregator.type, did you mean [count]",
            ),
            (json!(7), "a must be an object"),
        ] {
            let error = Aggregate::from_json(&json, "a").unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }
}
