//! Conversions between kinds of values, as Druid casts them: text that is no number is null, doubles are cut to longs
//! towards zero, doubles print as Java prints them.

use std::sync::Arc;

use crate::block::Value;
use crate::column::document;
use crate::schema::ValueType;

/// Text as Java's `Double.toString` has it: `1.0`, `1.0E10`, `NaN`.
pub fn text_of_double(v: f64) -> String {
    let mut out = String::with_capacity(24);
    write_double(v, &mut out);
    out
}

/// Text of a float column's value, which is held as a double; of another double, of the nearest float.
pub fn text_of_float(v: f64) -> String {
    let mut out = String::with_capacity(16);
    let float = v as f32;
    write_java(f64::from(float), &format!("{float:e}"), &mut out);
    out
}

/// Appends what [`text_of_double`] gives.
pub fn write_double(v: f64, out: &mut String) {
    use std::fmt::Write;
    let magnitude = v.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        write!(out, "{v:?}").expect("writing to a string cannot fail");
    } else {
        write_java(v, &format!("{v:e}"), out);
    }
}

/// From Rust's shortest scientific form to Java's plain or scientific one.
fn write_java(v: f64, scientific: &str, out: &mut String) {
    if v.is_nan() {
        return out.push_str("NaN");
    }
    if v.is_infinite() {
        return out.push_str(if v > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-3..7).contains(&exponent) || v == 0.0 {
        let plain: f64 = scientific.parse().unwrap_or(v);
        return out.push_str(&format!("{plain:?}"));
    }
    out.push_str(mantissa);
    if !mantissa.contains('.') {
        out.push_str(".0");
    }
    out.push('E');
    out.push_str(&exponent.to_string());
}

/// A number as Java's `Double.parseDouble` reads it, less its hexadecimal and suffixed forms.
pub fn double_of_text(text: &str) -> Option<f64> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned.as_bytes().first()? {
        b'0'..=b'9' | b'.' => text.parse().ok(),
        _ => match unsigned {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
            _ => None,
        },
    }
}

/// A long, or a decimal number cut to one.
pub fn long_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| double_of_text(text).map(|v| v as i64))
}

/// A long, or a decimal number that equals one.
pub fn exact_long_of_text(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| double_of_text(text).and_then(exact_long))
}

/// The long that equals a double.
pub fn exact_long(v: f64) -> Option<i64> {
    ((-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&v) && v.trunc() == v).then_some(v as i64)
}

pub fn to_long(value: &Value) -> Option<i64> {
    match value {
        Value::Long(v) => Some(*v),
        Value::Double(v) => Some(*v as i64),
        Value::Text(text) => long_of_text(text),
        Value::List(values) if values.len() == 1 => to_long(&values[0]),
        Value::Json(text) => scalar_of_json(text).as_ref().and_then(to_long),
        Value::Null | Value::List(_) | Value::Bytes(_) => None,
    }
}

pub fn to_double(value: &Value) -> Option<f64> {
    match value {
        Value::Long(v) => Some(*v as f64),
        Value::Double(v) => Some(*v),
        Value::Text(text) => double_of_text(text),
        Value::List(values) if values.len() == 1 => to_double(&values[0]),
        Value::Json(text) => scalar_of_json(text).as_ref().and_then(to_double),
        Value::Null | Value::List(_) | Value::Bytes(_) => None,
    }
}

/// A list of one is its value, a longer one prints as `[a, b]`.
pub fn to_text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Long(v) => Some(Arc::from(v.to_string())),
        Value::Double(v) => Some(Arc::from(text_of_double(*v))),
        Value::List(values) => match values.as_slice() {
            [] => None,
            [one] => to_text(one),
            many => {
                let parts: Vec<String> =
                    many.iter().map(|v| to_text(v).map_or("null".to_string(), |t| t.to_string())).collect();
                Some(Arc::from(format!("[{}]", parts.join(", "))))
            }
        },
        Value::Json(text) => match scalar_of_json(text) {
            Some(scalar) => to_text(&scalar),
            None => Some(text.clone()),
        },
        Value::Bytes(bytes) => {
            use base64::Engine;
            Some(Arc::from(base64::engine::general_purpose::STANDARD.encode(bytes)))
        }
    }
}

/// The value as one of a type, null if it cannot be.
pub fn cast(value: &Value, value_type: &ValueType) -> Value {
    match value_type {
        ValueType::Long => to_long(value).map_or(Value::Null, Value::Long),
        ValueType::Double => to_double(value).map_or(Value::Null, Value::Double),
        ValueType::Float => to_double(value).map_or(Value::Null, |v| Value::Double(f64::from(v as f32))),
        ValueType::String => to_text(value).map_or(Value::Null, Value::Text),
        ValueType::Array(of) => match value {
            Value::List(values) => Value::List(values.iter().map(|value| cast(value, of)).collect()),
            Value::Json(text) => match serde_json::from_str(text) {
                Ok(serde_json::Value::Array(values)) => {
                    Value::List(values.iter().map(|json| cast(&document::of_json(json), of)).collect())
                }
                Ok(serde_json::Value::Object(_)) | Err(_) => Value::Null,
                Ok(scalar) => cast(&document::of_json(&scalar), value_type),
            },
            Value::Null => Value::Null,
            scalar => Value::List(vec![cast(scalar, of)]),
        },
        json if json.is_json() => match value {
            Value::Null | Value::Json(_) => value.clone(),
            value => document::write(value, json).map_or(Value::Null, |text| Value::Json(text.into())),
        },
        ValueType::Complex(_) => value.clone(),
    }
}

/// The scalar that a document is, if it is one.
fn scalar_of_json(text: &str) -> Option<Value> {
    if text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok().map(|json| document::of_json(&json))
}

/// Whether a value counts as true: numbers above zero, the text `true`. `None` is unknown.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::Long(v) => Some(*v > 0),
        Value::Double(v) => Some(*v > 0.0),
        Value::Text(text) => Some(text.eq_ignore_ascii_case("true")),
        Value::List(values) => match values.as_slice() {
            [one] => truth(one),
            _ => Some(false),
        },
        Value::Json(text) => scalar_of_json(text).map_or(Some(false), |scalar| truth(&scalar)),
        Value::Bytes(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_in_java() {
        for (v, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1234567.0, "1234567.0"),
            (1e7, "1.0E7"),
            (1.5e-4, "1.5E-4"),
            (0.001, "0.001"),
            (1.7976931348623157e308, "1.7976931348623157E308"),
            (123456789012.5, "1.234567890125E11"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text_of_double(v), text);
        }
        assert_eq!(text_of_float(f64::from(0.1f32)), "0.1");
        assert_eq!(text_of_float(f64::from(16_777_216f32)), "1.6777216E7");
    }

    #[test]
    fn numbers_are_read_from_text() {
        assert_eq!(long_of_text(" 12 "), Some(12));
        assert_eq!(long_of_text("12.9"), Some(12));
        assert_eq!(long_of_text("x"), None);
        assert_eq!(exact_long_of_text("12.0"), Some(12));
        assert_eq!(exact_long_of_text("12.5"), None);
        assert_eq!(double_of_text("-1e3"), Some(-1000.0));
        assert_eq!(double_of_text("infinity"), None);
        assert_eq!(double_of_text("-Infinity"), Some(f64::NEG_INFINITY));
    }
}
