//! String dimensions: codes of rows, the dictionary that the codes number, and rows by code where there is an index.

use super::memory::{MemoryCodes, MemoryDictionary};
use crate::bitmap::Bitmap;
use crate::block::{BLOCK_ROWS, Value};

/// A single- or multi-value string column. Null is a code like any other.
pub struct DictColumn {
    form: Form,
}

enum Form {
    Memory { dictionary: MemoryDictionary, codes: MemoryCodes },
}

impl DictColumn {
    pub fn from_memory(dictionary: MemoryDictionary, codes: MemoryCodes) -> DictColumn {
        DictColumn { form: Form::Memory { dictionary, codes } }
    }

    pub fn rows(&self) -> usize {
        match &self.form {
            Form::Memory { codes, .. } => codes.rows(),
        }
    }

    /// Number of codes, the null's included if there is a null.
    pub fn cardinality(&self) -> u32 {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.len,
        }
    }

    /// `None` is null. Panics if the code is not below the cardinality.
    pub fn value(&self, code: u32) -> Option<&str> {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.get(code),
        }
    }

    /// Whether codes are ordered as values are, null first. Always so in files.
    pub fn is_sorted(&self) -> bool {
        match &self.form {
            Form::Memory { .. } => false,
        }
    }

    /// The null's code, if there is a null.
    pub fn null_code(&self) -> Option<u32> {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.null,
        }
    }

    /// The code of a value; `None` if no row has it.
    pub fn code(&self, value: Option<&str>) -> Option<u32> {
        let Some(text) = value else { return self.null_code() };
        match &self.form {
            Form::Memory { dictionary, .. } => (0..dictionary.len).find(|c| dictionary.get(*c) == Some(text)),
        }
    }

    /// First code whose value is not below `value`. Sorted dictionaries only: panics on others.
    pub fn lower_bound(&self, value: &str) -> u32 {
        let _ = value;
        match &self.form {
            Form::Memory { .. } => panic!("lower bound in an unsorted dictionary"),
        }
    }

    pub fn is_multi(&self) -> bool {
        match &self.form {
            Form::Memory { codes, .. } => matches!(codes, MemoryCodes::Multi(_)),
        }
    }

    /// Codes of the rows from `start` on, as many as `out` is long. Single-value columns only.
    pub fn codes(&self, start: usize, out: &mut [u32]) {
        match &self.form {
            Form::Memory { codes: MemoryCodes::Single(chunks), .. } => {
                let (mut row, mut out) = (start, out);
                while !out.is_empty() {
                    let from = &chunks[row / BLOCK_ROWS][row % BLOCK_ROWS..];
                    let len = from.len().min(out.len());
                    let (now, rest) = out.split_at_mut(len);
                    now.copy_from_slice(&from[..len]);
                    (row, out) = (row + len, rest);
                }
            }
            Form::Memory { .. } => panic!("single codes of a multi-value column"),
        }
    }

    /// Codes of the given rows. Single-value columns only.
    pub fn codes_at(&self, rows: &[u32], out: &mut Vec<u32>) {
        out.clear();
        match &self.form {
            Form::Memory { codes: MemoryCodes::Single(chunks), .. } => {
                out.extend(rows.iter().map(|r| chunks[*r as usize / BLOCK_ROWS][*r as usize % BLOCK_ROWS]));
            }
            Form::Memory { .. } => panic!("single codes of a multi-value column"),
        }
    }

    /// Lists of `len` rows from `start`: row `i` holds `codes[offsets[i]..offsets[i + 1]]`; an empty list is a null.
    /// Clears what `offsets` and `codes` held. A single-value column gives lists of one.
    pub fn lists(&self, start: usize, len: usize, offsets: &mut Vec<u32>, codes: &mut Vec<u32>) {
        offsets.clear();
        codes.clear();
        offsets.push(0);
        match &self.form {
            Form::Memory { codes: MemoryCodes::Multi(chunks), .. } => {
                for row in start..start + len {
                    codes.extend_from_slice(chunks[row / BLOCK_ROWS].get(row % BLOCK_ROWS));
                    offsets.push(codes.len() as u32);
                }
            }
            Form::Memory { codes: MemoryCodes::Single(_), .. } => {
                codes.resize(len, 0);
                self.codes(start, codes);
                offsets.extend(1..=len as u32);
            }
        }
    }

    /// The rows that hold the code, in any place of a list; an empty list counts as null. `None` if the column has no
    /// index.
    pub fn bitmap(&self, code: u32) -> Option<Bitmap<'_>> {
        let _ = code;
        match &self.form {
            Form::Memory { .. } => None,
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory { dictionary, codes } => (dictionary.bytes() + codes.bytes()) as u64,
        }
    }

    /// A row of a multi-value column as a value: null, the text, or the list of texts.
    pub(crate) fn list_value(&self, codes: &[u32]) -> Value {
        let value = |code: &u32| self.value(*code).map_or(Value::Null, Value::text);
        match codes {
            [] => Value::Null,
            [one] => value(one),
            many => Value::List(many.iter().map(value).collect()),
        }
    }
}
