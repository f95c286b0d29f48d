//! Aggregates in Druid's JSON form.

use serde_json::{Value as Json, json};

use super::{Aggregate, AggregateKind, Input};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::fields::Fields;
use crate::filter::Filter;
use crate::schema::{TIME, ValueType};
use crate::spelling;

const TYPES: [&str; 32] = [
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
];

/// Druid's, that we have no accumulator for.
const UNSUPPORTED: [&str; 24] = [
    "grouping",
    "histogram",
    "javascript",
    "expression",
    "singleValue",
    "thetaSketch",
    "KllFloatsSketch",
    "arrayOfDoublesSketch",
    "sketchBuild",
    "sketchMerge",
    "approxHistogram",
    "approxHistogramFold",
    "fixedBucketsHistogram",
    "variance",
    "varianceFold",
    "bloom",
    "tDigestSketch",
    "ddSketch",
    "momentSketch",
    "timeMin",
    "timeMax",
    "spectatorHistogram",
    "Bitmap64ExactCountBuild",
    "compressedBigDecimalSum",
];

const MAX_BYTES_DEFAULT: i64 = 1024;
const LG_K_DEFAULT: i64 = 12;

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
            AggregateKind::Hll { columns, lg_k, round } => match columns.as_slice() {
                [one] => {
                    let mut json = json!({"type": "HLLSketchBuild", "name": name});
                    put_input(&mut json, one);
                    json["lgK"] = json!(lg_k);
                    json["round"] = json!(round);
                    json
                }
                many => json!({
                    "type": "cardinality", "name": name, "fields": inputs_to_json(many), "byRow": true, "round": round, "lgK": lg_k,
                }),
            },
            AggregateKind::Quantiles { input, k } => {
                let mut json = json!({"type": "quantilesDoublesSketch", "name": name});
                put_input(&mut json, input);
                json["k"] = json!(k);
                json
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
            if columns.len() > 1 && !fields.flag("byRow")? {
                return Err(fields.wrong(
                    "byRow",
                    "must be true for several fields: counting the values of several columns together is not supported",
                ));
            }
            hll(fields, columns)
        }
        "hyperUnique" => hll(fields, vec![input(fields)?]),
        "HLLSketchBuild" | "HLLSketchMerge" => {
            must_finalize(fields)?;
            hll(fields, vec![input(fields)?])
        }
        "quantilesDoublesSketch" | "quantilesDoublesSketchMerge" => {
            must_finalize(fields)?;
            let k = fields.integer("k", 128, 2, 32_768)?;
            if !(k as u64).is_power_of_two() {
                return Err(fields.wrong("k", "must be a power of two"));
            }
            quantiles(fields, kind, k)
        }
        "KllDoublesSketch" => {
            must_finalize(fields)?;
            quantiles(fields, kind, fields.integer("k", 200, 8, 65_535)?)
        }
        other if UNSUPPORTED.contains(&other) => {
            Err(Error::invalid(format!("{}: the aggregator type [{other}] is not supported", fields.at("type"))))
        }
        other => Err(Error::invalid(format!(
            "unknown aggregator type [{other}] in {}{}",
            fields.at("type"),
            spelling::hint(other, &TYPES)
        ))),
    }
}

fn hll(fields: &Fields, columns: Vec<Input>) -> Result<AggregateKind> {
    let lg_k = fields.integer("lgK", LG_K_DEFAULT, 4, 21)? as u8;
    if let Some(kind) = fields.text("tgtHllType")?
        && !["HLL_4", "HLL_6", "HLL_8"].contains(&kind.as_str())
    {
        return Err(fields.wrong("tgtHllType", &format!("[{kind}] must be HLL_4, HLL_6 or HLL_8")));
    }
    Ok(AggregateKind::Hll { columns, lg_k, round: fields.flag("round")? })
}

fn quantiles(fields: &Fields, kind: &str, k: i64) -> Result<AggregateKind> {
    let input = match kind {
        // The combining form reads the column that it writes.
        "quantilesDoublesSketchMerge" if fields.get("fieldName").is_none() => Input::Column(fields.need_text("name")?),
        _ => input(fields)?,
    };
    Ok(AggregateKind::Quantiles { input, k: k as u16 })
}

fn must_finalize(fields: &Fields) -> Result<()> {
    match fields.get("shouldFinalize") {
        Some(Json::Bool(false)) => {
            Err(fields.wrong("shouldFinalize", "must be true: sketches are not returned as values"))
        }
        _ => Ok(()),
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
fn input(fields: &Fields) -> Result<Input> {
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
        let path = format!("{}[{idx}]", fields.at(name));
        inputs.push(match json {
            Json::String(column) => Input::Column(column.clone()),
            Json::Object(object) => {
                match (object.get("type").map(Json::as_str), object.get("dimension"), object.get("expression")) {
                    (None | Some(Some("default")), Some(Json::String(column)), _) => Input::Column(column.clone()),
                    (None, None, Some(Json::String(text))) => expression(text, &path)?,
                    _ => {
                        return Err(Error::invalid(format!(
                            "{path} must be a column name or a default dimension spec"
                        )));
                    }
                }
            }
            _ => return Err(Error::invalid(format!("{path} must be a column name or a default dimension spec"))),
        });
    }
    if inputs.is_empty() {
        return Err(fields.wrong(name, "must name at least one column"));
    }
    Ok(inputs)
}

fn max_bytes(fields: &Fields) -> Result<usize> {
    Ok(fields.integer("maxStringBytes", MAX_BYTES_DEFAULT, 0, i64::from(i32::MAX))? as usize)
}

fn put_input(json: &mut Json, input: &Input) {
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
                json!({"type": "HLLSketchBuild", "name": "s", "fieldName": "x", "lgK": 14, "round": true}),
                "LONG",
                vec!["x"],
            ),
            (
                json!({"type": "cardinality", "name": "s", "fields": ["x", "y"], "byRow": true, "round": false, "lgK": 12}),
                "DOUBLE",
                vec!["x", "y"],
            ),
            (json!({"type": "quantilesDoublesSketch", "name": "s", "fieldName": "x", "k": 256}), "LONG", vec!["x"]),
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
                json!({"type": "HLLSketchBuild", "name": "h", "fieldName": "h", "lgK": 12, "round": false}),
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
            (json!({"type": "cardinality", "name": "s", "fields": ["a", "b"]}), "a.byRow must be true"),
            (json!(7), "a must be an object"),
        ] {
            let error = Aggregate::from_json(&json, "a").unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }
}
