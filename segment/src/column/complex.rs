//! Columns of opaque values: the serialized states of sketches. What the bytes mean is the aggregate's affair.

use std::sync::Arc;

use super::memory::{BytesChunk, rows_of};
use crate::block::BLOCK_ROWS;

pub struct ComplexColumn {
    type_name: String,
    rows: usize,
    form: Form,
}

enum Form {
    Memory(Vec<Arc<BytesChunk>>),
}

impl ComplexColumn {
    pub fn from_chunks(type_name: impl Into<String>, chunks: Vec<Arc<BytesChunk>>) -> ComplexColumn {
        let rows = rows_of(&chunks, |c| c.len());
        ComplexColumn { type_name: type_name.into(), rows, form: Form::Memory(chunks) }
    }

    /// The name of the Druid complex type (`HLLSketch`, …).
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The value of a row; `None` is null.
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.form {
            Form::Memory(chunks) => chunks[row / BLOCK_ROWS][row % BLOCK_ROWS].as_deref(),
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory(chunks) => {
                let values = chunks.iter().flat_map(|c| c.iter());
                values.map(|v| 16 + v.as_ref().map_or(0, |b| b.len() as u64)).sum()
            }
        }
    }
}
