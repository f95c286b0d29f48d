//! Columns of documents: arrays and JSON. Each distinct document is kept once, as text, and rows hold its code, so that
//! grouping, merging and whatever is computed of a document cost once per distinct one.
//!
//! [`write`] gives every value one text: arrays are cast to their element type first, so equal arrays are equal texts.

use std::sync::Arc;

use serde_json::Value as Json;

use super::DictColumn;
use crate::block::{BLOCK_ROWS, Block, Value};
use crate::expr::convert::cast;
use crate::schema::ValueType;

pub struct DocumentColumn {
    value_type: ValueType,
    texts: DictColumn,
}

impl DocumentColumn {
    /// `texts` are of one value a row, written by [`write`].
    pub fn new(value_type: ValueType, texts: DictColumn) -> DocumentColumn {
        DocumentColumn { value_type, texts }
    }

    pub fn value_type(&self) -> &ValueType {
        &self.value_type
    }

    /// The codes of the rows and their texts.
    pub fn texts(&self) -> &DictColumn {
        &self.texts
    }

    pub fn value(&self, code: u32) -> Value {
        self.texts.value(code).map_or(Value::Null, |text| read(text, &self.value_type))
    }

    /// Values of `len` rows from `start`.
    pub fn block(&self, start: usize, len: usize) -> Block {
        let mut values = Vec::with_capacity(len);
        let mut known: hashbrown::HashMap<u32, Value, foldhash::fast::FixedState> = Default::default();
        let mut codes = [0; BLOCK_ROWS];
        let mut at = start;
        while at < start + len {
            let codes = &mut codes[..BLOCK_ROWS.min(start + len - at)];
            self.texts.codes(at, codes);
            at += codes.len();
            values.extend(codes.iter().map(|code| known.entry(*code).or_insert_with(|| self.value(*code)).clone()));
        }
        Block::Any { values }
    }
}

/// The value that a text of a column of that type stands for.
pub fn read(text: &str, value_type: &ValueType) -> Value {
    match value_type {
        ValueType::Array(_) => serde_json::from_str(text).map_or(Value::Null, |json| of_json(&json)),
        _ => Value::Json(Arc::from(text)),
    }
}

/// The text that a column of that type keeps for a value; `None` is null.
pub fn write(value: &Value, value_type: &ValueType) -> Option<String> {
    match (value_type, value) {
        (_, Value::Null) => None,
        (ValueType::Array(_), _) => match cast(value, value_type) {
            list @ Value::List(_) => Some(to_json(&list).to_string()),
            _ => None,
        },
        (_, Value::Json(text)) => Some(text.to_string()),
        (_, value) => Some(to_json(value).to_string()),
    }
}

/// A scalar or list as itself, anything with an object in it as a document.
pub fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Long(i64::from(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(long) => Value::Long(long),
            None => number.as_f64().map_or(Value::Null, Value::Double),
        },
        Json::String(text) => Value::text(text),
        Json::Array(values) if values.iter().all(|value| !value.is_object() && !value.is_array()) => {
            Value::List(values.iter().map(of_json).collect())
        }
        Json::Array(_) | Json::Object(_) => Value::Json(json.to_string().into()),
    }
}

/// The value as JSON; numbers that JSON does not know are their text.
pub fn to_json(value: &Value) -> Json {
    use crate::expr::convert::{text_of_double, to_text};
    match value {
        Value::Null => Json::Null,
        Value::Long(v) => Json::from(*v),
        Value::Double(v) => serde_json::Number::from_f64(*v).map_or_else(|| text_of_double(*v).into(), Json::Number),
        Value::Text(text) => Json::from(&**text),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect()),
        Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        Value::Bytes(_) => to_text(value).map_or(Json::Null, |text| Json::from(&*text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_arrays_are_equal_texts() {
        let doubles = ValueType::array(ValueType::Double);
        let list = |values: &[Value]| Value::List(values.to_vec());
        let text = write(&list(&[Value::Long(1), Value::Null, Value::Double(2.5)]), &doubles);
        assert_eq!(text.as_deref(), Some("[1.0,null,2.5]"));
        assert_eq!(text, write(&list(&[Value::text("1"), Value::Null, Value::text("2.5")]), &doubles));
        assert_eq!(read("[1.0,null,2.5]", &doubles), list(&[Value::Double(1.0), Value::Null, Value::Double(2.5)]));
        let strings = ValueType::array(ValueType::String);
        assert_eq!(write(&Value::Long(7), &strings).as_deref(), Some(r#"["7"]"#), "a scalar is a list of one");
        assert_eq!(write(&list(&[]), &strings).as_deref(), Some("[]"), "an empty array is not null");
        assert_eq!(write(&Value::Null, &strings), None);
    }

    #[test]
    fn json_keeps_what_it_is() {
        let json = ValueType::json();
        assert_eq!(write(&Value::text("a"), &json).as_deref(), Some(r#""a""#));
        assert_eq!(write(&Value::Json(r#"{"a":[1]}"#.into()), &json).as_deref(), Some(r#"{"a":[1]}"#));
        assert_eq!(read(r#"{"a":[1]}"#, &json), Value::Json(r#"{"a":[1]}"#.into()));
    }
}
