//! Functions of arrays and multi-value strings. A single value stands for an array of one.

use super::{Apply, Body, Function, MANY, Prepared, Returns, function};
use crate::block::Value;
use crate::expr::bounds::{self, VALUE_MAX};
use crate::expr::convert;
use crate::pattern::java_regex;

pub(super) static FUNCTIONS: &[Function] = &[
    function("array", 0, MANY, Returns::Unknown, Body::Plain(|a| Value::List(a.to_vec()))),
    function("array_length", 1, 1, Returns::Long, Body::Plain(|a| of_list(&a[0], |v| Value::Long(v.len() as i64)))),
    function("array_offset", 2, 2, Returns::Unknown, Body::Plain(|a| at(&a[0], &a[1], 0))),
    function("array_ordinal", 2, 2, Returns::Unknown, Body::Plain(|a| at(&a[0], &a[1], 1))),
    function("array_contains", 2, 2, Returns::Long, Body::Plain(contains)),
    function("array_overlap", 2, 2, Returns::Long, Body::Plain(overlap)),
    function("scalar_in_array", 2, 2, Returns::Long, Body::Plain(scalar_in)),
    function("array_offset_of", 2, 2, Returns::Long, Body::Plain(|a| position(a, 0))),
    function("array_ordinal_of", 2, 2, Returns::Long, Body::Plain(|a| position(a, 1))),
    function(
        "array_prepend",
        2,
        2,
        Returns::Unknown,
        Body::Plain(|a| of_array(&a[1], |array| join(&[a[0].clone()], array))),
    ),
    function(
        "array_append",
        2,
        2,
        Returns::Unknown,
        Body::Plain(|a| of_array(&a[0], |array| join(array, &[a[1].clone()]))),
    ),
    function("array_concat", 2, 2, Returns::Unknown, Body::Plain(concat)),
    function("array_set_add", 2, 2, Returns::Unknown, Body::Plain(|a| set(join(&list(&a[0]), &[a[1].clone()])))),
    function("array_set_add_all", 2, 2, Returns::Unknown, Body::Plain(|a| set(concat(a)))),
    function("array_slice", 2, 3, Returns::Unknown, Body::Plain(slice)),
    function("array_to_string", 2, 2, Returns::Text, Body::Plain(to_string)),
    function("string_to_array", 2, 2, Returns::Unknown, Body::Prepared(from_string)),
    function("array_to_mv", 1, 1, Returns::Text, Body::Plain(|a| a[0].clone())),
    function("mv_to_array", 1, 1, Returns::Unknown, Body::Plain(|a| of_list(&a[0], |v| Value::List(v.to_vec())))),
    function("mv_harmonize_nulls", 1, 1, Returns::Text, Body::Plain(harmonize)),
    function("map", 2, 2, Returns::Unknown, Body::Apply(Apply::Map)),
    function("cartesian_map", 2, MANY, Returns::Unknown, Body::Apply(Apply::CartesianMap)),
    function("cartesian_fold", 3, MANY, Returns::Unknown, Body::Apply(Apply::CartesianFold)),
    function("filter", 2, 2, Returns::Unknown, Body::Apply(Apply::Filter)),
    function("fold", 3, 3, Returns::Unknown, Body::Apply(Apply::Fold)),
    function("any", 2, 2, Returns::Long, Body::Apply(Apply::Any)),
    function("all", 2, 2, Returns::Long, Body::Apply(Apply::All)),
];

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::List(values) => values.clone(),
        other => vec![other.clone()],
    }
}

fn of_list(value: &Value, body: fn(&[Value]) -> Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::List(values) => body(values),
        other => body(std::slice::from_ref(other)),
    }
}

/// Nothing is added to no array.
fn of_array(value: &Value, body: impl Fn(&[Value]) -> Value) -> Value {
    match value {
        Value::Null => Value::Null,
        value => body(&list(value)),
    }
}

fn at(array: &Value, place: &Value, first: i64) -> Value {
    let (Some(place), false) = (convert::to_long(place), array.is_null()) else { return Value::Null };
    let idx = usize::try_from(place.saturating_sub(first));
    idx.ok().and_then(|idx| list(array).get(idx).cloned()).unwrap_or(Value::Null)
}

/// Equal, numbers by value, everything else by text.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => a.is_null() && b.is_null(),
        // As doubles, large ones that differ are the same.
        (Value::Long(a), Value::Long(b)) => a == b,
        (Value::Long(_) | Value::Double(_), Value::Long(_) | Value::Double(_)) => {
            convert::to_double(a) == convert::to_double(b)
        }
        _ => convert::to_text(a) == convert::to_text(b),
    }
}

fn has(array: &[Value], wanted: &Value) -> bool {
    array.iter().any(|value| same(value, wanted))
}

fn flag(holds: bool) -> Value {
    Value::Long(i64::from(holds))
}

fn contains(args: &[Value]) -> Value {
    if args[0].is_null() {
        return Value::Null;
    }
    let array = list(&args[0]);
    match &args[1] {
        Value::List(wanted) => flag(wanted.iter().all(|v| has(&array, v))),
        one => flag(has(&array, one)),
    }
}

fn overlap(args: &[Value]) -> Value {
    if args[0].is_null() || args[1].is_null() {
        return Value::Null;
    }
    let right = list(&args[1]);
    flag(list(&args[0]).iter().any(|v| has(&right, v)))
}

fn scalar_in(args: &[Value]) -> Value {
    if args[1].is_null() {
        return Value::Null;
    }
    let array = list(&args[1]);
    match (has(&array, &args[0]), args[0].is_null()) {
        (true, _) => flag(true),
        (false, true) => Value::Null,
        (false, false) => flag(false),
    }
}

fn position(args: &[Value], first: i64) -> Value {
    if args[0].is_null() {
        return Value::Null;
    }
    let found = list(&args[0]).iter().position(|v| same(v, &args[1]));
    found.map_or(Value::Null, |idx| Value::Long(idx as i64 + first))
}

fn join(a: &[Value], b: &[Value]) -> Value {
    Value::List(a.iter().chain(b).cloned().collect())
}

fn concat(args: &[Value]) -> Value {
    match (&args[0], &args[1]) {
        (Value::Null, Value::Null) => Value::Null,
        (a, b) => join(&list(a), &list(b)),
    }
}

/// Sorted, each value once.
fn set(value: Value) -> Value {
    let Value::List(mut values) = value else { return value };
    values.sort_by(|a, b| match (a, b) {
        (Value::Long(_) | Value::Double(_), Value::Long(_) | Value::Double(_)) => {
            let (a, b) = (convert::to_double(a), convert::to_double(b));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        }
        _ => convert::to_text(a).cmp(&convert::to_text(b)),
    });
    values.dedup_by(|a, b| same(a, b));
    Value::List(values)
}

fn slice(args: &[Value]) -> Value {
    let (Value::List(values), Some(start)) = (&args[0], convert::to_long(&args[1])) else { return Value::Null };
    let end = match args.get(2) {
        None => values.len() as i64,
        Some(end) => match convert::to_long(end) {
            Some(end) => end,
            None => return Value::Null,
        },
    };
    let len = values.len() as i64;
    if start < 0 || start > len || end < start {
        return Value::Null;
    }
    let mut out: Vec<Value> = values[start as usize..end.min(len) as usize].to_vec();
    // Past the end there are nulls, as Java's `copyOfRange` has it; only so many as can be meant.
    out.resize((end - start).min(len + 1024) as usize, Value::Null);
    Value::List(out)
}

fn to_string(args: &[Value]) -> Value {
    let (false, Some(separator)) = (args[0].is_null(), convert::to_text(&args[1])) else { return Value::Null };
    let items = list(&args[0]);
    // As in Druid, a null alone is no text.
    if matches!(items.as_slice(), [Value::Null]) {
        return Value::Null;
    }
    let mut joined = String::new();
    for (place, item) in items.iter().enumerate() {
        let text = convert::to_text(item);
        let (between, text) = (if place > 0 { &*separator } else { "" }, text.as_deref().unwrap_or("null"));
        if joined.len() + between.len() + text.len() > VALUE_MAX {
            return Value::Null;
        }
        joined.push_str(between);
        joined.push_str(text);
    }
    Value::text(&joined)
}

/// The separator is a pattern, as in Java. One that is a literal is compiled once; most are their own text.
fn from_string(args: &[Option<Value>]) -> Result<Prepared, String> {
    let pattern = match args.get(1) {
        Some(Some(separator)) => convert::to_text(separator).filter(|text| !is_plain(text)),
        _ => None,
    };
    let pattern = pattern.map(|text| java_regex(&text).map_err(|error| error.to_string())).transpose()?;
    Ok(Prepared::whole(move |args| {
        let (Some(text), Some(separator)) = (convert::to_text(&args[0]), convert::to_text(&args[1])) else {
            return Value::Null;
        };
        if separator.is_empty() {
            return bounds::list(text.chars().map(|c| Value::text(c.encode_utf8(&mut [0; 4]))));
        }
        match &pattern {
            Some(pattern) => bounds::list(pattern.split(&text).map(Value::text)),
            None => bounds::list(text.split(&*separator).map(Value::text)),
        }
    }))
}

fn is_plain(separator: &str) -> bool {
    !separator.contains(['\\', '.', '[', ']', '(', ')', '{', '}', '*', '+', '?', '^', '$', '|'])
}

fn harmonize(args: &[Value]) -> Value {
    match &args[0] {
        Value::Null => Value::List(vec![Value::Null]),
        Value::List(values) if values.is_empty() => Value::List(vec![Value::Null]),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_longs_are_the_same_only_as_themselves() {
        let (one, next) = (Value::Long(1_700_000_000_000_000_001), Value::Long(1_700_000_000_000_000_002));
        assert!(same(&one, &one) && !same(&one, &next));
        assert_eq!(contains(&[Value::List(vec![next.clone()]), one.clone()]), flag(false));
        assert_eq!(contains(&[Value::List(vec![next, one.clone()]), one]), flag(true));
        assert!(same(&Value::Long(7), &Value::Double(7.0)));
    }
}
