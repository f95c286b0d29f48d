//! Decoded batches of values: what columns decode into, expressions compute on and accumulators fold.

use std::sync::Arc;

/// Rows that are decoded at once. Files cut their columns into blocks of this many rows, and the engine walks them.
pub const BLOCK_ROWS: usize = 4096;

/// Cuts the rows `start..start + out.len()` at block borders: `(block, first row in the block, its part of out)`.
pub(crate) fn spans<T>(start: usize, out: &mut [T], mut each: impl FnMut(usize, usize, &mut [T])) {
    let (mut row, mut out) = (start, out);
    while !out.is_empty() {
        let from = row % BLOCK_ROWS;
        let len = (BLOCK_ROWS - from).min(out.len());
        let (now, rest) = out.split_at_mut(len);
        each(row / BLOCK_ROWS, from, now);
        (row, out) = (row + len, rest);
    }
}

/// One value, where values are handled one at a time (literals, results, row-wise evaluation).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Long(i64),
    Double(f64),
    Text(Arc<str>),
    /// A multi-value string or an array.
    List(Vec<Value>),
    /// A JSON document: its text, without spaces.
    Json(Arc<str>),
    /// An opaque serialized value.
    Bytes(Arc<[u8]>),
}

/// Values of consecutive or selected rows. `nulls`, if there, is as long as `values` and true where the value is null;
/// the value below a null is unspecified.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    Long {
        values: Vec<i64>,
        nulls: Option<Vec<bool>>,
    },
    Double {
        values: Vec<f64>,
        nulls: Option<Vec<bool>>,
    },
    Text {
        values: Vec<Option<Arc<str>>>,
    },
    /// Mixed or list values: the slow path.
    Any {
        values: Vec<Value>,
    },
}

impl Block {
    pub fn len(&self) -> usize {
        match self {
            Block::Long { values, .. } => values.len(),
            Block::Double { values, .. } => values.len(),
            Block::Text { values } => values.len(),
            Block::Any { values } => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn value(&self, row: usize) -> Value {
        let null = |nulls: &Option<Vec<bool>>| nulls.as_ref().is_some_and(|n| n[row]);
        match self {
            Block::Long { nulls, .. } | Block::Double { nulls, .. } if null(nulls) => Value::Null,
            Block::Long { values, .. } => Value::Long(values[row]),
            Block::Double { values, .. } => Value::Double(values[row]),
            Block::Text { values } => values[row].clone().map_or(Value::Null, Value::Text),
            Block::Any { values } => values[row].clone(),
        }
    }
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(Arc::from(text))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}
