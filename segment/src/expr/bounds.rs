//! How much expressions may make. A value has a bound of bytes, as what padding and repeating make has: past it, it is
//! null. What is made on the way to one row's value is bounded in the same way, and what is made for the rows of a block
//! is an error past its bound, so that neither memory nor the time between two looks at a deadline depends on the text.

use std::cell::Cell;

use crate::block::Value;
use crate::error::{Error, Result};

/// Bytes of a value that a function makes.
pub(super) const VALUE_MAX: usize = 16 << 20;

/// Bytes of all arguments of a function.
const ARGUMENTS_MAX: usize = 4 * VALUE_MAX;

/// Work on one row, in bytes made or copied. The text of a fold is made anew with each step.
const ROW_MAX: usize = 64 << 20;

/// Evaluating a node takes about as long as copying so many bytes.
pub(super) const NODE: usize = 128;

/// Work on a block, whatever its rows, and more for each of them: results of many rows are evaluated at once.
const BLOCK_MAX: usize = 4 << 30;
const BLOCK_ROW_MAX: usize = 8 << 10;

/// Bytes that stay until the block is done weigh more than bytes that are made: 512 MiB stay at most.
const KEPT: usize = 8;

/// Bytes of a value outside of itself.
pub(super) fn outside(value: &Value) -> usize {
    match value {
        Value::Null | Value::Long(_) | Value::Double(_) => 0,
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) => values.iter().map(size).fold(0, usize::saturating_add),
    }
}

pub(super) fn size(value: &Value) -> usize {
    outside(value).saturating_add(size_of::<Value>())
}

/// Bytes that are copied with a value: texts are shared.
fn copied(value: &Value) -> usize {
    match value {
        Value::List(values) => values.iter().map(copied).sum::<usize>() + size_of::<Value>(),
        _ => size_of::<Value>(),
    }
}

/// Null in place of what is too large.
pub(super) fn bounded(value: Value) -> Value {
    if outside(&value) > VALUE_MAX { Value::Null } else { value }
}

pub(super) fn too_many(args: &[Value]) -> bool {
    args.iter().map(outside).fold(0, usize::saturating_add) > ARGUMENTS_MAX
}

/// A list of what is made one by one; null once it is too large, and no more is made then.
pub(super) fn list(values: impl Iterator<Item = Value>) -> Value {
    let mut made = Vec::new();
    let mut bytes = 0usize;
    for value in values {
        bytes = bytes.saturating_add(size(&value));
        if bytes > VALUE_MAX {
            return Value::Null;
        }
        made.push(value);
    }
    Value::List(made)
}

/// What may still be done, for a row or a block.
pub(super) struct Work {
    whole: usize,
    left: Cell<usize>,
}

impl Work {
    pub fn of_row() -> Work {
        Work::new(ROW_MAX)
    }

    pub fn of_block(rows: usize) -> Work {
        Work::new(rows.saturating_mul(BLOCK_ROW_MAX).saturating_add(BLOCK_MAX))
    }

    pub fn unlimited() -> Work {
        Work::new(usize::MAX)
    }

    fn new(whole: usize) -> Work {
        Work { whole, left: Cell::new(whole) }
    }

    /// False once all is spent: what is evaluated from then on is null.
    pub fn spend(&self, bytes: usize) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(bytes));
        left > bytes
    }

    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    pub fn spent(&self) -> usize {
        self.whole - self.left.get()
    }

    /// A value that is made anew.
    pub fn made(&self, value: Value) -> Value {
        if self.spend(outside(&value)) { value } else { Value::Null }
    }

    /// A copy of a value that there is already.
    pub fn copy(&self, value: Value) -> Value {
        match &value {
            Value::List(_) if !self.spend(copied(&value)) => Value::Null,
            _ => value,
        }
    }

    /// Bytes that are kept until the block is done.
    pub fn keep(&self, bytes: usize) -> bool {
        self.spend(bytes.saturating_mul(KEPT))
    }

    pub fn check(&self, rows: usize) -> Result<()> {
        if self.is_spent() {
            return Err(Error::Busy(format!(
                "an expression makes too much of {rows} rows: its texts and lists are too large, or it folds too many \
                 values; make them shorter"
            )));
        }
        Ok(())
    }
}
