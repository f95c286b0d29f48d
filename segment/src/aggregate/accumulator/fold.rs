//! Folding by expressions, and the value of an only row.

use std::sync::Arc;

use super::Values;
use super::sketches::no;
use super::states::State;
use crate::aggregate::Fold;
use crate::block::Value;
use crate::column::document;

/// What an aggregate of expressions has folded so far.
pub(super) struct Folded {
    value: Value,
    /// Whether a row or another state was taken in.
    touched: bool,
    /// Whether the combining steps have begun.
    combined: bool,
    too_large: bool,
}

impl Folded {
    fn of(flags: u8, value: Value) -> Folded {
        Folded { value, touched: flags & 1 != 0, combined: flags & 2 != 0, too_large: flags & 4 != 0 }
    }

    fn flags(&self) -> u8 {
        u8::from(self.touched) | u8::from(self.combined) << 1 | u8::from(self.too_large) << 2
    }

    fn set(&mut self, fold: &Fold, value: Value) {
        self.too_large |= size_of(&value) > fold.bytes_max;
        if !self.too_large {
            self.value = value;
        }
        self.touched = true;
    }
}

/// Bytes of a value, roughly as Druid counts them.
fn size_of(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Long(_) | Value::Double(_) => 9,
        Value::Text(text) | Value::Json(text) => 5 + text.len(),
        Value::Bytes(bytes) => 5 + bytes.len(),
        Value::List(items) => 5 + items.iter().map(size_of).sum::<usize>(),
    }
}

impl State for Folded {
    type Settings = Arc<Fold>;
    const EXPLODES: bool = false;

    fn new(fold: &Arc<Fold>) -> Folded {
        let value = fold.initial.value(&|_| Value::Null);
        Folded { value, touched: false, combined: false, too_large: false }
    }

    fn put(&mut self, fold: &Arc<Fold>, inputs: &[Values<'_>], row: usize) {
        let values: Vec<Value> = inputs.iter().map(|values| values.value(row)).collect();
        if !fold.takes_nulls && values.iter().any(Value::is_null) {
            return;
        }
        let next = fold.step.value(&|name| match fold.fields.iter().position(|field| field == name) {
            Some(field) => values[field].clone(),
            None if name == fold.accumulator => self.value.clone(),
            None => Value::Null,
        });
        self.set(fold, next);
    }

    fn merge(&mut self, fold: &Arc<Fold>, other: &Folded) -> Result<(), String> {
        self.too_large |= other.too_large;
        if !other.touched {
            return Ok(());
        }
        let combine = |value: &Value, partial: &Value| {
            fold.combine.value(&|name| match name {
                name if name == fold.partial => partial.clone(),
                name if name == fold.accumulator => value.clone(),
                _ => Value::Null,
            })
        };
        if !self.combined {
            let start = fold.initial_combine.value(&|_| Value::Null);
            self.value = match self.touched && (fold.combines_nulls || !self.value.is_null()) {
                true => combine(&start, &self.value),
                false => start,
            };
            self.combined = true;
        }
        if fold.combines_nulls || !other.value.is_null() {
            let next = combine(&self.value, &other.value);
            self.set(fold, next);
        }
        Ok(())
    }

    fn read(_: &Arc<Fold>, bytes: &[u8]) -> Result<Folded, String> {
        let read = bytes.split_first().and_then(|(flags, text)| Some((flags, serde_json::from_slice(text).ok()?)));
        let (flags, json) = read.ok_or_else(|| no("state of an expression aggregator", bytes))?;
        Ok(Folded::of(*flags, document::of_json(&json)))
    }

    fn write(&self, _: &Arc<Fold>) -> Vec<u8> {
        let mut bytes = vec![self.flags()];
        bytes.extend(document::to_json(&self.value).to_string().bytes());
        bytes
    }

    /// JSON does not know all values.
    fn send(&self, _: &Arc<Fold>) -> Vec<u8> {
        let mut bytes = vec![self.flags()];
        self.value.write(&mut bytes);
        bytes
    }

    fn receive(_: &Arc<Fold>, bytes: &[u8]) -> Result<Folded, String> {
        let read = bytes.split_first().and_then(|(flags, rest)| Some((flags, Value::read(rest)?)));
        let (flags, value) = read.ok_or_else(|| no("state of an expression aggregator", bytes))?;
        Ok(Folded::of(*flags, value))
    }

    fn finish(&self, fold: &Arc<Fold>) -> Value {
        if !self.touched && fold.null_if_none {
            return Value::Null;
        }
        match &fold.finish {
            None => self.value.clone(),
            Some(finish) => finish.value(&|name| if name == Fold::OUTPUT { self.value.clone() } else { Value::Null }),
        }
    }

    fn size(&self) -> usize {
        std::mem::size_of::<Folded>() + size_of(&self.value)
    }

    fn complaint(&self) -> Option<String> {
        self.too_large.then(|| {
            "an expression aggregator holds more bytes than its maxSizeBytes allows; raise it or fold less".to_string()
        })
    }
}

/// The value of the first row, and how many rows there were.
#[derive(Default)]
pub(super) struct Single {
    value: Value,
    rows: u64,
}

impl State for Single {
    type Settings = ();
    const EXPLODES: bool = false;

    fn new(_: &()) -> Single {
        Single::default()
    }

    fn put(&mut self, _: &(), inputs: &[Values<'_>], row: usize) {
        if self.rows == 0 {
            self.value = inputs[0].value(row);
        }
        self.rows += 1;
    }

    fn merge(&mut self, _: &(), other: &Single) -> Result<(), String> {
        if self.rows == 0 {
            self.value = other.value.clone();
        }
        self.rows = self.rows.saturating_add(other.rows);
        Ok(())
    }

    fn read(_: &(), bytes: &[u8]) -> Result<Single, String> {
        let read = bytes.split_first_chunk::<8>();
        let read = read.and_then(|(rows, text)| Some((rows, serde_json::from_slice(text).ok()?)));
        let (rows, json) = read.ok_or_else(|| no("state of singleValue", bytes))?;
        Ok(Single { value: document::of_json(&json), rows: u64::from_be_bytes(*rows) })
    }

    fn write(&self, _: &()) -> Vec<u8> {
        let mut bytes = self.rows.to_be_bytes().to_vec();
        bytes.extend(document::to_json(&self.value).to_string().bytes());
        bytes
    }

    /// JSON does not know all values.
    fn send(&self, _: &()) -> Vec<u8> {
        let mut bytes = self.rows.to_be_bytes().to_vec();
        self.value.write(&mut bytes);
        bytes
    }

    fn receive(_: &(), bytes: &[u8]) -> Result<Single, String> {
        let read = bytes.split_first_chunk::<8>().and_then(|(rows, rest)| Some((rows, Value::read(rest)?)));
        let (rows, value) = read.ok_or_else(|| no("state of singleValue", bytes))?;
        Ok(Single { value, rows: u64::from_be_bytes(*rows) })
    }

    fn finish(&self, _: &()) -> Value {
        self.value.clone()
    }

    fn size(&self) -> usize {
        std::mem::size_of::<Single>() + size_of(&self.value)
    }

    fn complaint(&self) -> Option<String> {
        (self.rows > 1).then(|| format!("singleValue: a single row is expected, there are {}", self.rows))
    }
}
