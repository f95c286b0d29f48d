//! Conditionals, tests for null and truth, casts, least and greatest.

use std::cmp::Ordering;

use super::{Body, Function, Lazy, MANY, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::expr::convert;
use crate::schema::ValueType;

pub(super) static FUNCTIONS: &[Function] = &[
    function("if", 3, 3, Returns::Branches, Body::Lazy(Lazy::If)),
    function("nvl", 2, 2, Returns::Common, Body::Lazy(Lazy::Coalesce)),
    function("coalesce", 1, MANY, Returns::Common, Body::Lazy(Lazy::Coalesce)),
    function("case_searched", 2, MANY, Returns::Branches, Body::Lazy(Lazy::CaseSearched)),
    function("case_simple", 3, MANY, Returns::Branches, Body::Lazy(Lazy::CaseSimple)),
    function("isnull", 1, 1, Returns::Long, Body::Plain(|a| flag(a[0].is_null()))),
    function("notnull", 1, 1, Returns::Long, Body::Plain(|a| flag(!a[0].is_null()))),
    function("istrue", 1, 1, Returns::Long, Body::Plain(|a| flag(convert::truth(&a[0]) == Some(true)))),
    function("isfalse", 1, 1, Returns::Long, Body::Plain(|a| flag(convert::truth(&a[0]) == Some(false)))),
    function("nottrue", 1, 1, Returns::Long, Body::Plain(|a| flag(convert::truth(&a[0]) != Some(true)))),
    function("notfalse", 1, 1, Returns::Long, Body::Plain(|a| flag(convert::truth(&a[0]) != Some(false)))),
    function("isdistinctfrom", 2, 2, Returns::Long, Body::Plain(|a| flag(!same(&a[0], &a[1])))),
    function("notdistinctfrom", 2, 2, Returns::Long, Body::Plain(|a| flag(same(&a[0], &a[1])))),
    function("lookup", 2, 3, Returns::Text, Body::Prepared(lookup)),
    function("cast", 2, 2, Returns::Cast(1), Body::Prepared(cast)),
    function("greatest", 0, MANY, Returns::Common, Body::Plain(|a| extreme(a, Ordering::Greater))),
    function("least", 0, MANY, Returns::Common, Body::Plain(|a| extreme(a, Ordering::Less))),
];

fn flag(holds: bool) -> Value {
    Value::Long(i64::from(holds))
}

/// Equality in which null equals null.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => a.is_null() && b.is_null(),
        (Value::Long(x), Value::Long(y)) => x == y,
        (Value::Text(x), Value::Text(y)) => x == y,
        (Value::List(x), Value::List(y)) => x == y,
        _ => match (convert::to_double(a), convert::to_double(b)) {
            (Some(x), Some(y)) => x == y,
            _ => false,
        },
    }
}

/// `lookup(key, name, what stands for a missing key)`.
fn lookup(args: &[Option<Value>]) -> Result<Prepared, String> {
    let Some(name) = literal_text(args, 1, "the name of the lookup")? else {
        return Err("the name of the lookup must be a literal".into());
    };
    let missing = literal_text(args, 2, "what replaces a missing value")?;
    let missing = missing.map_or(Value::Null, |text| Value::text(&text));
    Ok(Prepared::Lookup(crate::lookup::named(&name)?, missing))
}

fn cast(args: &[Option<Value>]) -> Result<Prepared, String> {
    let Some(name) = literal_text(args, 1, "the type")? else { return Err("the type must be a literal".into()) };
    let upper = name.to_ascii_uppercase();
    let element =
        upper.strip_suffix("_ARRAY").or_else(|| upper.strip_prefix("ARRAY<").and_then(|t| t.strip_suffix('>')));
    let is_array = element.is_some();
    let value_type = match ValueType::from_druid_name(element.unwrap_or(&upper)) {
        Some(ref json) if json.is_json() => ValueType::json(),
        Some(ValueType::Complex(_) | ValueType::Array(_)) | None => {
            return Err(format!("unknown type [{name}]: use STRING, LONG, DOUBLE or an ARRAY of these"));
        }
        // Expressions have no floats.
        Some(ValueType::Float) => ValueType::Double,
        Some(value_type) => value_type,
    };
    if value_type.is_json() {
        return Ok(Prepared::whole(move |args| convert::cast(&args[0], &value_type)));
    }
    if !is_array {
        return Ok(Prepared::each(move |args| convert::cast(&args[0], &value_type)));
    }
    let value_type = ValueType::array(value_type);
    Ok(Prepared::whole(move |args| convert::cast(&args[0], &value_type)))
}

/// Nulls are passed over. All longs: a long; numbers: a double; else by text.
fn extreme(args: &[Value], wanted: Ordering) -> Value {
    let given: Vec<&Value> = args.iter().filter(|v| !v.is_null()).collect();
    let pick = |a: f64, b: f64| if a.partial_cmp(&b) == Some(wanted) { a } else { b };
    if given.iter().all(|v| matches!(v, Value::Long(_))) {
        let longs = given.iter().filter_map(|v| convert::to_long(v));
        return longs.reduce(|a, b| if a.cmp(&b) == wanted { a } else { b }).map_or(Value::Null, Value::Long);
    }
    if given.iter().all(|v| matches!(v, Value::Long(_) | Value::Double(_))) {
        return given.iter().filter_map(|v| convert::to_double(v)).reduce(pick).map_or(Value::Null, Value::Double);
    }
    let texts = given.iter().filter_map(|v| convert::to_text(v));
    texts.reduce(|a, b| if a.cmp(&b) == wanted { a } else { b }).map_or(Value::Null, Value::Text)
}
