//! Filters in Druid's JSON form. What Druid has and we do not (extraction functions, JavaScript) is refused
//! by name; fields that neither knows are ignored, as Druid ignores them.

use serde_json::{Value as Json, json};

use super::{Filter, Like, Ordering, Search, Spatial, Test, java_regex};
use crate::block::Value;
use crate::error::{Error, Result};
use crate::expr::{Expr, convert};
use crate::fields::{Fields, scalar_text};
use crate::schema::ValueType;
use crate::spelling;
use crate::time::Interval;

const TYPES: [&str; 24] = [
    "true",
    "false",
    "and",
    "or",
    "not",
    "istrue",
    "isfalse",
    "selector",
    "extraction",
    "equals",
    "null",
    "in",
    "inType",
    "range",
    "bound",
    "like",
    "regex",
    "search",
    "interval",
    "columnComparison",
    "arrayContainsElement",
    "expression",
    "bloom",
    "spatial",
];

fn refuse_extraction(fields: &Fields) -> Result<()> {
    match fields.get("extractionFn") {
        None => Ok(()),
        Some(json) if json.get("type").and_then(Json::as_str) == Some("identity") => Ok(()),
        Some(_) => {
            Err(fields.wrong("extractionFn", "is not supported: filter on an expression virtual column instead"))
        }
    }
}

fn value_type(fields: &Fields, name: &str) -> Result<ValueType> {
    let text = fields.need_text(name)?;
    match ValueType::from_druid_name(&text) {
        Some(ValueType::Complex(_)) | None => {
            Err(fields
                .wrong(name, &format!("[{text}] is not a type to compare with: use STRING, LONG, FLOAT or DOUBLE")))
        }
        Some(value_type) => Ok(value_type),
    }
}

/// A literal of a type; `None` if it is not one of that type.
fn literal(json: &Json, value_type: &ValueType) -> Option<Value> {
    if let (Json::Array(items), ValueType::Array(of)) = (json, value_type) {
        let item = |json: &Json| if json.is_null() { Some(Value::Null) } else { literal(json, of) };
        return items.iter().map(item).collect::<Option<Vec<_>>>().map(Value::List);
    }
    let value = match json {
        Json::String(text) => Value::text(text),
        Json::Bool(value) if value_type.is_numeric() => Value::Long(i64::from(*value)),
        Json::Bool(value) => Value::text(&value.to_string()),
        Json::Number(number) => match number.as_i64() {
            Some(v) => Value::Long(v),
            None => Value::Double(number.as_f64()?),
        },
        _ => return None,
    };
    match (&value, value_type) {
        (Value::Double(v), ValueType::Long) => Some(convert::exact_long(*v).map_or(value.clone(), Value::Long)),
        (Value::Text(text), ValueType::Long) => convert::exact_long_of_text(text)
            .map(Value::Long)
            .or_else(|| convert::double_of_text(text).map(Value::Double)),
        _ => Some(convert::cast(&value, value_type)).filter(|v| !v.is_null()),
    }
}

impl Filter {
    /// Druid's JSON. Errors carry the path of the field below `path` and the valid names.
    pub fn from_json(json: &Json, path: &str) -> Result<Filter> {
        let fields = Fields::of(json, path)?;
        let kind = match fields.need("type")? {
            Json::String(kind) => kind.as_str(),
            _ => return Err(fields.wrong("type", "must be a string")),
        };
        let child = |name: &str| -> Result<Box<Filter>> {
            Ok(Box::new(Filter::from_json(fields.need(name)?, &fields.at(name))?))
        };
        let column = |name: &str, test: Test| -> Result<Filter> {
            refuse_extraction(&fields)?;
            Ok(Filter::Column { column: fields.need_text(name)?, test })
        };
        match kind {
            "true" => Ok(Filter::True),
            "false" => Ok(Filter::False),
            "and" | "or" => {
                let mut children = Vec::new();
                for (idx, json) in fields.list("fields")?.iter().enumerate().filter(|(_, json)| !json.is_null()) {
                    children.push(Filter::from_json(json, &format!("{}[{idx}]", fields.at("fields")))?);
                }
                match (children.is_empty(), kind) {
                    (true, _) => Err(fields.wrong("fields", "must have at least one filter")),
                    (false, "and") => Ok(Filter::And(children)),
                    (false, _) => Ok(Filter::Or(children)),
                }
            }
            "not" => Ok(Filter::Not(child("field")?)),
            "istrue" => Ok(Filter::IsTrue(child("field")?)),
            "isfalse" => Ok(Filter::IsFalse(child("field")?)),
            "selector" | "extraction" => {
                if kind == "extraction" && fields.get("dimExtractionFn").is_some() {
                    return Err(fields
                        .wrong("dimExtractionFn", "is not supported: filter on an expression virtual column instead"));
                }
                column("dimension", Test::Selector { value: fields.text("value")? })
            }
            "null" => column("column", Test::Null),
            "equals" => {
                let value_type = value_type(&fields, "matchValueType")?;
                let value = typed(&fields, "matchValue", fields.need("matchValue")?, &value_type)?;
                column("column", Test::Equals { value, value_type })
            }
            "arrayContainsElement" => {
                let value_type = value_type(&fields, "elementMatchValueType")?;
                match fields.get("elementMatchValue") {
                    None => column("column", Test::Null),
                    Some(json) => {
                        let value = typed(&fields, "elementMatchValue", json, &value_type)?;
                        column("column", Test::Equals { value, value_type: ValueType::array(value_type) })
                    }
                }
            }
            "in" => membership(&fields, "dimension", "values", ValueType::String),
            "inType" => {
                let name = match (fields.get("values").is_some(), fields.get("sortedValues").is_some()) {
                    (true, false) => "values",
                    (false, true) => "sortedValues",
                    _ => return Err(fields.wrong("values", "or sortedValues must be given, and not both")),
                };
                membership(&fields, "column", name, value_type(&fields, "matchValueType")?)
            }
            "single" => {
                let value_type = value_type(&fields, "matchValueType")?;
                match value_type {
                    ValueType::Array(_) | ValueType::Complex(_) => {
                        Err(fields.wrong("matchValueType", "must be STRING, LONG, FLOAT or DOUBLE"))
                    }
                    value_type => column("column", Test::Single(value_type)),
                }
            }
            "range" => {
                let value_type = value_type(&fields, "matchValueType")?;
                let end = |name: &str| fields.get(name).map(|json| typed(&fields, name, json, &value_type)).transpose();
                let (lower, upper) = (end("lower")?, end("upper")?);
                if lower.is_none() && upper.is_none() {
                    return Err(fields.wrong("lower", "or upper must be given"));
                }
                let (lower_open, upper_open) = (fields.flag("lowerOpen")?, fields.flag("upperOpen")?);
                column("column", Test::Range { lower, upper, lower_open, upper_open, value_type })
            }
            "bound" => {
                let (lower, upper) = (fields.text("lower")?, fields.text("upper")?);
                if lower.is_none() && upper.is_none() {
                    return Err(fields.wrong("lower", "or upper must be given"));
                }
                let ordering = match fields.get("ordering") {
                    Some(json) => Ordering::from_json(json, &fields.at("ordering"))?,
                    None if fields.flag("alphaNumeric")? => Ordering::Alphanumeric,
                    None => Ordering::Lexicographic,
                };
                let (lower_strict, upper_strict) = (fields.flag("lowerStrict")?, fields.flag("upperStrict")?);
                column("dimension", Test::Bound { lower, upper, lower_strict, upper_strict, ordering })
            }
            "like" => {
                let escape = match fields.text("escape")? {
                    None => None,
                    Some(text) => match (text.chars().next(), text.chars().count()) {
                        (escape, 0 | 1) => escape,
                        _ => return Err(fields.wrong("escape", "must be one character")),
                    },
                };
                column("dimension", Test::Like(Like { pattern: fields.need_text("pattern")?, escape }))
            }
            "regex" => column("dimension", Test::Regex(pattern(&fields, "pattern")?)),
            "search" => {
                let search = search_from_json(fields.need("query")?, &fields.at("query"))?;
                column("dimension", Test::Search(search))
            }
            "interval" => column("dimension", Test::Intervals(intervals(&fields)?)),
            "columnComparison" => {
                let mut columns = Vec::new();
                for (idx, json) in fields.list("dimensions")?.iter().enumerate() {
                    columns.push(plain_dimension(json).ok_or_else(|| {
                        fields.wrong(&format!("dimensions[{idx}]"), "must be a column name or a default dimension spec")
                    })?);
                }
                if columns.len() < 2 {
                    return Err(fields.wrong("dimensions", "must name at least two columns"));
                }
                Ok(Filter::Equal { columns })
            }
            "expression" => {
                let text = fields.need_text("expression")?;
                let expr = Expr::parse(&text)
                    .map_err(|error| Error::invalid(format!("{}: {error}", fields.at("expression"))))?;
                Ok(Filter::Expression(expr))
            }
            "bloom" => {
                refuse_extraction(&fields)?;
                let (dimension, filter) = (fields.need_text("dimension")?, fields.need_text("bloomKFilter")?);
                let quoted = |text: &str, mark: char| {
                    let escaped = text.replace('\\', "\\\\").replace(mark, &format!("\\{mark}"));
                    format!("{mark}{escaped}{mark}")
                };
                let text = format!("bloom_filter_test({}, {})", quoted(&dimension, '"'), quoted(&filter, '\''));
                let expr = Expr::parse(&text)
                    .map_err(|error| Error::invalid(format!("{}: {error}", fields.at("bloomKFilter"))))?;
                Ok(Filter::Expression(expr))
            }
            "spatial" => {
                let bound = Spatial::from_json(fields.need("bound")?, &fields.at("bound"))?;
                column("dimension", Test::Spatial(bound))
            }
            "javascript" => Err(Error::invalid(format!("{path}: the filter type [{kind}] is not supported"))),
            other => Err(Error::invalid(format!(
                "unknown filter type [{other}] in {}{}",
                fields.at("type"),
                spelling::hint(other, &TYPES)
            ))),
        }
    }

    /// JSON that [`Filter::from_json`] reads to the same filter.
    pub fn to_json(&self) -> Json {
        let all = |fields: &[Filter]| fields.iter().map(Filter::to_json).collect::<Vec<_>>();
        match self {
            Filter::True => json!({"type": "true"}),
            Filter::False => json!({"type": "false"}),
            Filter::And(fields) => json!({"type": "and", "fields": all(fields)}),
            Filter::Or(fields) => json!({"type": "or", "fields": all(fields)}),
            Filter::Not(field) => json!({"type": "not", "field": field.to_json()}),
            Filter::IsTrue(field) => json!({"type": "istrue", "field": field.to_json()}),
            Filter::IsFalse(field) => json!({"type": "isfalse", "field": field.to_json()}),
            Filter::Column { column, test } => test_to_json(column, test),
            Filter::Equal { columns } => json!({"type": "columnComparison", "dimensions": columns}),
            Filter::Expression(expr) => json!({"type": "expression", "expression": expr.to_string()}),
        }
    }
}

fn typed(fields: &Fields, name: &str, json: &Json, value_type: &ValueType) -> Result<Value> {
    literal(json, value_type).ok_or_else(|| fields.wrong(name, &format!("is not a {} value", value_type.druid_name())))
}

fn membership(fields: &Fields, column: &str, name: &str, value_type: ValueType) -> Result<Filter> {
    refuse_extraction(fields)?;
    let column = fields.need_text(column)?;
    let (mut values, mut null) = (Vec::new(), false);
    for (idx, json) in fields.list(name)?.iter().enumerate() {
        if json.is_null() {
            null = true;
        } else {
            values.push(typed(fields, &format!("{name}[{idx}]"), json, &value_type)?);
        }
    }
    Ok(Filter::Column { column, test: Test::In { values, value_type, null } })
}

fn pattern(fields: &Fields, name: &str) -> Result<regex::Regex> {
    java_regex(&fields.need_text(name)?).map_err(|error| fields.wrong(name, &format!(": {error}")))
}

fn intervals(fields: &Fields) -> Result<Vec<Interval>> {
    let texts: Vec<&str> = match fields.need("intervals")? {
        Json::String(text) => text.split(',').collect(),
        Json::Array(values) => {
            let texts: Option<Vec<&str>> = values.iter().map(Json::as_str).collect();
            texts.ok_or_else(|| fields.wrong("intervals", "must be an array of strings"))?
        }
        _ => return Err(fields.wrong("intervals", "must be an array of strings")),
    };
    let parsed: Result<Vec<Interval>> = texts
        .into_iter()
        .map(|text| Interval::parse(text).map_err(|error| fields.wrong("intervals", &format!(": {error}"))))
        .collect();
    Ok(Interval::merge(&parsed?))
}

fn plain_dimension(json: &Json) -> Option<String> {
    match json {
        Json::String(name) => Some(name.clone()),
        Json::Object(object) => match object.get("type").map_or(Some("default"), Json::as_str)? {
            "default" => object.get("dimension")?.as_str().map(str::to_string),
            _ => None,
        },
        _ => None,
    }
}

/// A search query spec, of the `search` filter and of the search query.
pub fn search_from_json(json: &Json, path: &str) -> Result<Search> {
    const KNOWN: [&str; 5] = ["all", "contains", "insensitive_contains", "fragment", "regex"];
    let fields = Fields::of(json, path)?;
    let case_sensitive = fields.flag("caseSensitive")?;
    match fields.need_text("type")?.as_str() {
        "all" => Ok(Search::All),
        "contains" => Ok(Search::Contains { text: fields.need_text("value")?, case_sensitive }),
        "insensitive_contains" => Ok(Search::Contains { text: fields.need_text("value")?, case_sensitive: false }),
        "fragment" => {
            let texts: Option<Vec<String>> = fields.list("values")?.iter().map(scalar_text).collect();
            let texts = texts.ok_or_else(|| fields.wrong("values", "must be an array of strings"))?;
            Ok(Search::Fragments { texts, case_sensitive })
        }
        "regex" => Ok(Search::Regex(pattern(&fields, "pattern")?)),
        other => Err(Error::invalid(format!(
            "unknown search type [{other}] in {}{}",
            fields.at("type"),
            spelling::hint(other, &KNOWN)
        ))),
    }
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::List(values) => values.iter().map(value_to_json).collect(),
        Value::Long(v) => json!(v),
        Value::Double(v) => {
            serde_json::Number::from_f64(*v).map_or_else(|| json!(convert::text_of_double(*v)), Json::Number)
        }
        other => json!(convert::to_text(other).as_deref()),
    }
}

fn test_to_json(column: &str, test: &Test) -> Json {
    match test {
        // How a test is held to text is said by who reads the JSON.
        Test::OfNumber(test) | Test::OfText(test) => test_to_json(column, test),
        Test::Element(test) => match equal_to(test) {
            Some((value, of)) => json!({
                "type": "arrayContainsElement", "column": column, "elementMatchValueType": of.druid_name(),
                "elementMatchValue": value_to_json(value),
            }),
            None => test_to_json(column, test),
        },
        Test::Elements(tests) => {
            let equal: Vec<_> = tests.iter().map(|test| test.as_ref().and_then(equal_to)).collect();
            let of = equal.iter().flatten().map(|(_, of)| ValueType::clone(of)).next().unwrap_or(ValueType::String);
            let values: Vec<Json> =
                equal.iter().map(|one| one.map_or(Json::Null, |(value, _)| value_to_json(value))).collect();
            json!({
                "type": "equals", "column": column, "matchValueType": ValueType::array(of).druid_name(), "matchValue": values,
            })
        }
        Test::Plain => json!({"type": "true"}),
        Test::Single(value_type) => {
            json!({"type": "single", "column": column, "matchValueType": value_type.druid_name()})
        }
        Test::Null => json!({"type": "null", "column": column}),
        Test::Equals { value, value_type: ValueType::Array(of) } if !matches!(value, Value::List(_)) => json!({
            "type": "arrayContainsElement", "column": column, "elementMatchValueType": of.druid_name(),
            "elementMatchValue": value_to_json(value),
        }),
        Test::Equals { value, value_type } => json!({
            "type": "equals", "column": column, "matchValueType": value_type.druid_name(), "matchValue": value_to_json(value),
        }),
        Test::In { values, value_type, null } => {
            let mut list: Vec<Json> = values.iter().map(value_to_json).collect();
            if *null {
                list.insert(0, Json::Null);
            }
            match value_type {
                ValueType::String => json!({"type": "in", "dimension": column, "values": list}),
                value_type => json!({
                    "type": "inType", "column": column, "matchValueType": value_type.druid_name(), "sortedValues": list,
                }),
            }
        }
        Test::Range { lower, upper, lower_open, upper_open, value_type } => {
            let mut json = json!({"type": "range", "column": column, "matchValueType": value_type.druid_name()});
            put(&mut json, "lower", lower.as_ref().map(value_to_json));
            put(&mut json, "upper", upper.as_ref().map(value_to_json));
            put(&mut json, "lowerOpen", lower_open.then_some(Json::Bool(true)));
            put(&mut json, "upperOpen", upper_open.then_some(Json::Bool(true)));
            json
        }
        Test::Bound { lower, upper, lower_strict, upper_strict, ordering } => {
            let mut json = json!({"type": "bound", "dimension": column});
            put(&mut json, "lower", lower.as_ref().map(|v| json!(v)));
            put(&mut json, "upper", upper.as_ref().map(|v| json!(v)));
            put(&mut json, "lowerStrict", lower_strict.then_some(Json::Bool(true)));
            put(&mut json, "upperStrict", upper_strict.then_some(Json::Bool(true)));
            put(&mut json, "ordering", Some(json!({"type": ordering.name()})));
            json
        }
        Test::Selector { value } => json!({"type": "selector", "dimension": column, "value": value}),
        Test::Like(Like { pattern, escape }) => {
            let mut json = json!({"type": "like", "dimension": column, "pattern": pattern});
            put(&mut json, "escape", escape.map(|c| json!(c.to_string())));
            json
        }
        Test::Regex(regex) => json!({"type": "regex", "dimension": column, "pattern": regex.as_str()}),
        Test::Search(search) => json!({"type": "search", "dimension": column, "query": search_to_json(search)}),
        Test::Spatial(bound) => json!({"type": "spatial", "dimension": column, "bound": bound.to_json()}),
        Test::Intervals(intervals) => json!({
            "type": "interval",
            "dimension": column,
            "intervals": intervals.iter().map(Interval::to_string).collect::<Vec<_>>(),
        }),
    }
}

/// What a strict test of one value is an equality with.
fn equal_to(test: &Test) -> Option<(&Value, &ValueType)> {
    match test {
        Test::OfNumber(test) | Test::OfText(test) => equal_to(test),
        Test::Equals { value, value_type } => Some((value, value_type)),
        _ => None,
    }
}

fn put(json: &mut Json, name: &str, value: Option<Json>) {
    if let (Json::Object(object), Some(value)) = (json, value) {
        object.insert(name.to_string(), value);
    }
}

fn search_to_json(search: &Search) -> Json {
    match search {
        Search::All => json!({"type": "all"}),
        Search::Contains { text, case_sensitive } => {
            json!({"type": "contains", "value": text, "caseSensitive": case_sensitive})
        }
        Search::Fragments { texts, case_sensitive } => {
            json!({"type": "fragment", "values": texts, "caseSensitive": case_sensitive})
        }
        Search::Regex(regex) => json!({"type": "regex", "pattern": regex.as_str()}),
    }
}
