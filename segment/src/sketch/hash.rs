//! What sketches of distinct values make of a value: equal values, equal hashes, and the same as in Java.

use std::hash::{Hash, Hasher};

use datasketches::hash::value::{canonical_float, raw_bytes};
use datasketches::hll::Coupon;

use crate::block::Value;

/// A value that sketches tell apart.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Long(i64),
    Double(f64),
    Text(&'a str),
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Long(value) => value.hash(state),
            Key::Double(value) => canonical_float::from_f64(*value).hash(state),
            Key::Text(text) => raw_bytes::from_str(text).hash(state),
        }
    }
}

impl<'a> Key<'a> {
    /// `None` for what sketches leave out: nulls, empty texts and what has no value of its own.
    pub fn of(value: &'a Value) -> Option<Key<'a>> {
        match value {
            Value::Long(value) => Some(Key::Long(*value)),
            Value::Double(value) => Some(Key::Double(*value)),
            Value::Text(text) | Value::Json(text) if !text.is_empty() => Some(Key::Text(text)),
            Value::Null | Value::Text(_) | Value::Json(_) | Value::List(_) | Value::Bytes(_) => None,
        }
    }
}

/// How a HyperLogLog sketch sees texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextKey {
    /// By the units of UTF-16, as Druid's sketches do unless told otherwise.
    #[default]
    Utf16,
    Utf8,
    /// As Druid's older counters: the empty text counts.
    Counted,
    /// Texts are sketches, in base64.
    Sketches,
}

/// The coupon of a text; `None` if it is left out.
pub fn coupon_of_text(text: &str, key: TextKey) -> Option<Coupon> {
    match key {
        TextKey::Counted => Some(Coupon::from_value(text)),
        TextKey::Sketches => None,
        _ if text.is_empty() => None,
        TextKey::Utf8 => Some(Coupon::from_value(raw_bytes::from_str(text))),
        TextKey::Utf16 => {
            let mut bytes = [0; 256];
            if text.len() * 2 <= bytes.len() {
                let mut len = 0;
                for unit in text.encode_utf16() {
                    bytes[len..len + 2].copy_from_slice(&unit.to_le_bytes());
                    len += 2;
                }
                return Some(Coupon::from_value(raw_bytes::from_slice(&bytes[..len])));
            }
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            Some(Coupon::from_value(raw_bytes::from_slice(&bytes)))
        }
    }
}

pub fn coupon_of_long(value: i64) -> Coupon {
    Coupon::from_value(value)
}

pub fn coupon_of_double(value: f64) -> Coupon {
    Coupon::from_value(canonical_float::from_f64(value))
}

/// The coupon of a value; `None` for nulls and what is left out.
pub fn coupon(value: &Value, key: TextKey) -> Option<Coupon> {
    match value {
        Value::Long(value) => Some(coupon_of_long(*value)),
        Value::Double(value) => Some(coupon_of_double(*value)),
        Value::Text(text) | Value::Json(text) => coupon_of_text(text, key),
        Value::Null | Value::List(_) | Value::Bytes(_) => None,
    }
}
