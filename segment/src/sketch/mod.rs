//! Sketches: small summaries of many values. What they are, what their bytes mean, and what can be asked of them; folding
//! rows into them is [`crate::aggregate::accumulator`]'s affair.
//!
//! The bytes are those of Apache DataSketches and of Druid, so that a sketch kept by Druid can be merged with one of ours
//! and the other way round. Whoever looks into a sketch (expressions, post-aggregates, SQL) does so by its bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::block::Value;
use crate::expr::convert::text_of_double;

pub mod bloom;
pub mod breaks;
pub mod cpc;
pub mod doubles;
pub mod fixed_histogram;
pub mod frequent;
pub mod hash;
pub mod histogram;
pub mod hll;
pub mod quantiles;
pub mod significance;
pub mod tdigest;
pub mod theta;
pub mod tuple;
pub mod variance;

/// The bytes of a sketch: themselves, or text of them in base64.
pub fn bytes_of(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
        Value::Text(text) => BASE64_STANDARD.decode(text.trim()).ok().map(Cow::Owned),
        _ => None,
    }
}

/// A value that is the bytes.
pub fn value_of(bytes: Vec<u8>) -> Value {
    Value::Bytes(bytes.into())
}

/// A number as JSON has it. JSON has no spelling for what is no finite number, so its name stands there, as everywhere in
/// answers.
pub(crate) fn number(value: f64) -> serde_json::Value {
    match value.is_finite() {
        true => value.into(),
        false => text_of_double(value).into(),
    }
}

/// Reads big-endian fields, as Java's buffers write them.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*first)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_be_bytes)
    }

    pub fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_be_bytes)
    }

    pub fn left(&self) -> usize {
        self.bytes.len()
    }
}
