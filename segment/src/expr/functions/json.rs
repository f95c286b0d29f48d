//! Functions of JSON text. Paths are the plain part of JSONPath: `$.a.b[0]['c d']`.

use serde_json::{Map, Value as Json};

use super::{Body, Function, MANY, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::expr::convert;
use crate::schema::ValueType;

pub(super) static FUNCTIONS: &[Function] = &[
    function("json_value", 2, 3, Returns::Cast(2), Body::Prepared(json_value)),
    function("json_query", 2, 2, Returns::Text, Body::Prepared(json_query)),
    function("json_keys", 2, 2, Returns::Unknown, Body::Prepared(json_keys)),
    function("json_object", 0, MANY, Returns::Text, Body::Plain(json_object)),
    function("parse_json", 1, 1, Returns::Text, Body::Scalar(parse_json)),
    function("try_parse_json", 1, 1, Returns::Text, Body::Scalar(parse_json)),
    function("to_json_string", 1, 1, Returns::Text, Body::Plain(|a| Value::text(&to_json(&a[0]).to_string()))),
];

enum Step {
    Field(String),
    Element(i64),
}

fn path(args: &[Option<Value>]) -> Result<Vec<Step>, String> {
    let Some(text) = literal_text(args, 1, "the path")? else { return Err("the path must be a literal".into()) };
    steps(&text).ok_or_else(|| format!("[{text}] is not a path such as $.a.b[0]"))
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Field(after.get(..end).filter(|name| !name.is_empty())?.to_string()));
            rest = &after[end..];
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        if let Some(quote @ ('\'' | '"')) = inner.chars().next() {
            let (name, after) = inner[1..].split_once(quote)?;
            steps.push(Step::Field(name.to_string()));
            rest = after.strip_prefix(']')?;
        } else {
            let (number, after) = inner.split_once(']')?;
            steps.push(Step::Element(number.trim().parse().ok()?));
            rest = after;
        }
    }
    Some(steps)
}

fn find(value: &Value, steps: &[Step]) -> Option<Json> {
    let mut at = &to_json_document(value)?;
    for step in steps {
        at = match (step, at) {
            (Step::Field(name), Json::Object(fields)) => fields.get(name)?,
            (Step::Element(idx), Json::Array(values)) => {
                let idx = if *idx < 0 { values.len() as i64 + idx } else { *idx };
                values.get(usize::try_from(idx).ok()?)?
            }
            _ => return None,
        };
    }
    Some(at.clone())
}

/// Text is read as JSON; other values stand for themselves.
fn to_json_document(value: &Value) -> Option<Json> {
    match value {
        Value::Null => None,
        Value::Text(text) => serde_json::from_str(text).ok(),
        other => Some(to_json(other)),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Long(v) => Json::from(*v),
        Value::Double(v) => {
            serde_json::Number::from_f64(*v).map_or_else(|| Json::from(convert::text_of_double(*v)), Json::Number)
        }
        Value::Text(text) => Json::from(&**text),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect()),
        Value::Bytes(_) => convert::to_text(value).map_or(Json::Null, |text| Json::from(&*text)),
    }
}

fn scalar(json: &Json) -> Value {
    match json {
        Json::Bool(v) => Value::Long(i64::from(*v)),
        Json::Number(number) => match number.as_i64() {
            Some(v) => Value::Long(v),
            None => number.as_f64().map_or(Value::Null, Value::Double),
        },
        Json::String(text) => Value::text(text),
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Null,
    }
}

fn json_value(args: &[Option<Value>]) -> Result<Prepared, String> {
    let steps = path(args)?;
    let wanted = match literal_text(args, 2, "the type")? {
        None => None,
        Some(name) => Some(
            ValueType::from_druid_name(&name)
                .ok_or_else(|| format!("unknown type [{name}]: use STRING, LONG or DOUBLE"))?,
        ),
    };
    Ok(Prepared::Each(std::sync::Arc::new(move |args: &[Value]| {
        let value = find(&args[0], &steps).map_or(Value::Null, |json| scalar(&json));
        match &wanted {
            // Without a type it is text, so that the column has one type.
            None => convert::cast(&value, &ValueType::String),
            Some(wanted) => convert::cast(&value, wanted),
        }
    })))
}

fn json_query(args: &[Option<Value>]) -> Result<Prepared, String> {
    let steps = path(args)?;
    Ok(Prepared::each(move |args| find(&args[0], &steps).map_or(Value::Null, |json| Value::text(&json.to_string()))))
}

fn json_keys(args: &[Option<Value>]) -> Result<Prepared, String> {
    let steps = path(args)?;
    Ok(Prepared::each(move |args| match find(&args[0], &steps) {
        Some(Json::Object(fields)) => Value::List(fields.keys().map(|key| Value::text(key)).collect()),
        _ => Value::Null,
    }))
}

fn json_object(args: &[Value]) -> Value {
    let mut object = Map::new();
    for pair in args.chunks(2) {
        let (Some(key), Some(value)) = (convert::to_text(&pair[0]), pair.get(1)) else { return Value::Null };
        object.insert(key.to_string(), to_json(value));
    }
    Value::text(&Json::Object(object).to_string())
}

/// The text in its shortest form, null if it is not JSON.
fn parse_json(args: &[Value]) -> Value {
    to_json_document(&args[0]).map_or(Value::Null, |json| Value::text(&json.to_string()))
}
