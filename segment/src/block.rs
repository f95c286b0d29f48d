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

    /// Appends the value as bytes, exactly: a tag (0 null, 1 long, 2 double, 3 text, 4 list, 5 JSON, 6 bytes), then 8 bytes
    /// of a number, or a length (4 bytes) and so many bytes or values. All little endian.
    pub fn write(&self, out: &mut Vec<u8>) {
        let sized = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend((bytes.len() as u32).to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Value::Null => out.push(0),
            Value::Long(value) => {
                out.push(1);
                out.extend(value.to_le_bytes());
            }
            Value::Double(value) => {
                out.push(2);
                out.extend(value.to_le_bytes());
            }
            Value::Text(text) => sized(out, 3, text.as_bytes()),
            Value::List(values) => {
                out.push(4);
                out.extend((values.len() as u32).to_le_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Value::Json(text) => sized(out, 5, text.as_bytes()),
            Value::Bytes(bytes) => sized(out, 6, bytes),
        }
    }

    /// The value that all of the bytes are, as [`Value::write`] wrote it; `None` if they are none.
    pub fn read(mut bytes: &[u8]) -> Option<Value> {
        let value = Value::take(&mut bytes, 0)?;
        bytes.is_empty().then_some(value)
    }

    fn take(bytes: &mut &[u8], depth: usize) -> Option<Value> {
        let [tag] = fixed(bytes)?;
        Some(match tag {
            0 => Value::Null,
            1 => Value::Long(i64::from_le_bytes(fixed(bytes)?)),
            2 => Value::Double(f64::from_le_bytes(fixed(bytes)?)),
            3 => Value::text(std::str::from_utf8(sized(bytes)?).ok()?),
            4 if depth < DEPTH_MAX => {
                let count = u32::from_le_bytes(fixed(bytes)?) as usize;
                // A value has at least one byte.
                let mut values = Vec::with_capacity(count.min(bytes.len()));
                for _ in 0..count {
                    values.push(Value::take(bytes, depth + 1)?);
                }
                Value::List(values)
            }
            5 => Value::Json(std::str::from_utf8(sized(bytes)?).ok()?.into()),
            6 => Value::Bytes(sized(bytes)?.into()),
            _ => return None,
        })
    }
}

/// Lists that are read stand in each other this deep.
const DEPTH_MAX: usize = 64;

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (fixed, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*fixed)
}

fn sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(fixed(bytes)?) as usize;
    let (sized, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(sized)
}
