//! Functions of JSON documents. Paths are the plain part of JSONPath: `$.a.b[0]['c d']`.
//!
//! Text is text: only `parse_json` reads it as a document. Scalars and lists stand for themselves.

use serde_json::{Map, Value as Json};

use super::{Body, Function, MANY, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::column::document::{of_json, to_json};
use crate::expr::convert;
use crate::schema::ValueType;

pub(super) static FUNCTIONS: &[Function] = &[
    function("json_value", 2, 3, Returns::Cast(2), Body::Prepared(json_value)),
    function("json_query", 2, 2, Returns::Json, Body::Prepared(json_query)),
    function("json_query_array", 2, 2, Returns::Unknown, Body::Prepared(json_query_array)),
    function("json_keys", 2, 2, Returns::Unknown, Body::Prepared(json_keys)),
    function("json_paths", 1, 1, Returns::Unknown, Body::Plain(json_paths)),
    function("json_object", 0, MANY, Returns::Json, Body::Plain(json_object)),
    function("json_merge", 1, MANY, Returns::Json, Body::Plain(json_merge)),
    function("parse_json", 1, 1, Returns::Json, Body::Scalar(parse_json)),
    function("try_parse_json", 1, 1, Returns::Json, Body::Scalar(parse_json)),
    function("to_json_string", 1, 1, Returns::Text, Body::Plain(to_json_string)),
];

enum Step {
    Field(String),
    Element(i64),
}

/// Where to look: known from the beginning, or told by each row.
enum Path {
    Known(Vec<Step>),
    Told,
}

impl Path {
    fn of(args: &[Option<Value>]) -> Result<Path, String> {
        match args.get(1) {
            Some(Some(_)) => path(args).map(Path::Known),
            _ => Ok(Path::Told),
        }
    }

    fn find(&self, args: &[Value]) -> Option<Json> {
        match self {
            Path::Known(steps) => find(&args[0], steps),
            Path::Told => find(&args[0], &steps(&convert::to_text(&args[1])?)?),
        }
    }
}

fn path(args: &[Option<Value>]) -> Result<Vec<Step>, String> {
    let Some(text) = literal_text(args, 1, "the path")? else { return Err("the path must be a literal".into()) };
    steps(&text).ok_or_else(|| format!("[{text}] is not a path such as $.a.b[0]"))
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if rest == "." {
            break;
        }
        if let Some(after) = rest.strip_prefix('.') {
            // `.["x"]` is `["x"]`.
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end > 0 {
                steps.push(Step::Field(after[..end].to_string()));
            } else if !after.starts_with('[') {
                return None;
            }
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
    if value.is_null() {
        return None;
    }
    let document = to_json(value);
    let mut at = &document;
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

fn document(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        json => Value::Json(json.to_string().into()),
    }
}

fn json_value(args: &[Option<Value>]) -> Result<Prepared, String> {
    let path = Path::of(args)?;
    let wanted = match literal_text(args, 2, "the type")? {
        None => None,
        Some(name) => Some(
            ValueType::from_druid_name(&name)
                .ok_or_else(|| format!("unknown type [{name}]: use STRING, LONG, DOUBLE or an ARRAY of these"))?,
        ),
    };
    Ok(Prepared::whole(move |args: &[Value]| {
        let Some(found) = path.find(args) else { return Value::Null };
        let list = matches!(&wanted, Some(ValueType::Array(_)));
        match (of_json(&found), &wanted) {
            (Value::Null | Value::Json(_), _) => Value::Null,
            // A list of one number is a number where one is asked for.
            (Value::List(values), Some(wanted)) if wanted.is_numeric() && values.len() == 1 => {
                convert::cast(&values[0], wanted)
            }
            // A list is a value only where one is asked for.
            (Value::List(_), _) if !list => Value::Null,
            (Value::List(_), Some(ValueType::Array(of))) if **of == ValueType::String => texts(&found),
            // Without a type it is text, so that the column has one type.
            (value, None) => match found {
                Json::Bool(flag) => Value::text(if flag { "true" } else { "false" }),
                _ => convert::cast(&value, &ValueType::String),
            },
            (_, Some(ValueType::String)) if found.is_boolean() => Value::text(&found.to_string()),
            (value, Some(wanted)) => convert::cast(&value, wanted),
        }
    }))
}

/// The texts of a list; booleans are words.
fn texts(json: &Json) -> Value {
    let text = |json: &Json| match json {
        Json::Bool(flag) => Value::text(&flag.to_string()),
        other => convert::cast(&of_json(other), &ValueType::String),
    };
    Value::List(json.as_array().into_iter().flatten().map(text).collect())
}

fn json_query(args: &[Option<Value>]) -> Result<Prepared, String> {
    let path = Path::of(args)?;
    Ok(Prepared::whole(move |args| path.find(args).map_or(Value::Null, |json| document(&json))))
}

/// The documents of a list; of anything else a list of one.
fn json_query_array(args: &[Option<Value>]) -> Result<Prepared, String> {
    let steps = path(args)?;
    Ok(Prepared::whole(move |args| match find(&args[0], &steps) {
        None | Some(Json::Null) => Value::Null,
        Some(Json::Array(values)) => Value::List(values.iter().map(document).collect()),
        Some(one) => Value::List(vec![document(&one)]),
    }))
}

/// Names of fields, or the places in a list.
fn json_keys(args: &[Option<Value>]) -> Result<Prepared, String> {
    let steps = path(args)?;
    Ok(Prepared::whole(move |args| match find(&args[0], &steps) {
        Some(Json::Object(fields)) => Value::List(fields.keys().map(|key| Value::text(key)).collect()),
        Some(Json::Array(values)) => Value::List((0..values.len()).map(|idx| Value::text(&idx.to_string())).collect()),
        _ => Value::Null,
    }))
}

/// The paths of all values that are not objects or lists; an empty list is one.
fn json_paths(args: &[Value]) -> Value {
    fn walk(json: &Json, at: &mut String, out: &mut Vec<Value>) {
        let length = at.len();
        match json {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let plain = name.chars().all(|ch| ch.is_alphanumeric() || ch == '_');
                    at.push_str(&if plain { format!(".{name}") } else { format!("['{name}']") });
                    walk(value, at, out);
                    at.truncate(length);
                }
            }
            // An array of plain values is one value.
            Json::Array(values) if values.iter().any(|value| value.is_object() || value.is_array()) => {
                for (idx, value) in values.iter().enumerate() {
                    at.push_str(&format!("[{idx}]"));
                    walk(value, at, out);
                    at.truncate(length);
                }
            }
            _ => out.push(Value::text(at)),
        }
    }
    // An array is one value.
    if matches!(args[0], Value::List(_)) {
        return Value::List(vec![Value::text("$")]);
    }
    let mut out = Vec::new();
    walk(&to_json(&args[0]), &mut "$".to_string(), &mut out);
    Value::List(out)
}

fn json_object(args: &[Value]) -> Value {
    let mut object = Map::new();
    for pair in args.chunks(2) {
        let (Some(key), Some(value)) = (convert::to_text(&pair[0]), pair.get(1)) else { return Value::Null };
        object.insert(key.to_string(), to_json(value));
    }
    Value::Json(Json::Object(object).to_string().into())
}

/// Fields of later documents go over those of earlier ones, at any depth. A text is read as a document here.
fn json_merge(args: &[Value]) -> Value {
    fn merge(into: &mut Json, from: Json) {
        match (into, from) {
            (Json::Object(into), Json::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert(Json::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }
    let mut merged: Option<Json> = None;
    for arg in args {
        let json = match arg {
            Value::Null => return Value::Null,
            Value::Text(text) => match serde_json::from_str(text) {
                Ok(json) => json,
                Err(_) => return Value::Null,
            },
            other => to_json(other),
        };
        match &mut merged {
            Some(merged) => merge(merged, json),
            none => *none = Some(json),
        }
    }
    merged.map_or(Value::Null, |json| document(&json))
}

/// The document that a text is, null if it is none.
fn parse_json(args: &[Value]) -> Value {
    match &args[0] {
        Value::Text(text) => serde_json::from_str::<Json>(text).map_or(Value::Null, |json| document(&json)),
        other => convert::cast(other, &ValueType::json()),
    }
}

fn to_json_string(args: &[Value]) -> Value {
    match &args[0] {
        Value::Null => Value::Null,
        value => Value::text(&to_json(value).to_string()),
    }
}
