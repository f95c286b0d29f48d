//! Columns of opaque values: the serialized states of sketches. What the bytes mean is the aggregate's affair.

use std::sync::Arc;

use bytes::Bytes;

use super::memory::{BytesChunk, rows_of};
use crate::block::BLOCK_ROWS;
use crate::encoding::u64_at;

pub struct ComplexColumn {
    type_name: String,
    rows: usize,
    form: Form,
}

enum Form {
    Memory(Vec<Arc<BytesChunk>>),
    /// Values one after the other, then where each ends (u64), the highest bit set where the value is null.
    File {
        bytes: Bytes,
        ends: usize,
    },
}

const NULL: u64 = 1 << 63;

impl ComplexColumn {
    pub fn from_chunks(type_name: impl Into<String>, chunks: Vec<Arc<BytesChunk>>) -> ComplexColumn {
        let rows = rows_of(&chunks, |c| c.len());
        ComplexColumn { type_name: type_name.into(), rows, form: Form::Memory(chunks) }
    }

    /// `None` if the bytes cannot be so many values.
    pub(crate) fn from_file(type_name: &str, bytes: Bytes, rows: usize) -> Option<ComplexColumn> {
        let ends = bytes.len().checked_sub(rows.checked_mul(8)?)?;
        let mut last = 0;
        for row in 0..rows {
            let end = u64_at(&bytes, ends + row * 8) & !NULL;
            if end < last || end > ends as u64 {
                return None;
            }
            last = end;
        }
        Some(ComplexColumn { type_name: type_name.to_string(), rows, form: Form::File { bytes, ends } })
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
            Form::File { bytes, ends } => {
                assert!(row < self.rows, "a value past the last row");
                let end = u64_at(bytes, ends + row * 8);
                let start = if row == 0 { 0 } else { u64_at(bytes, ends + (row - 1) * 8) & !NULL };
                (end & NULL == 0).then(|| &bytes[start as usize..end as usize])
            }
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory(chunks) => {
                let values = chunks.iter().flat_map(|c| c.iter());
                values.map(|v| 16 + v.as_ref().map_or(0, |b| b.len() as u64)).sum()
            }
            Form::File { bytes, .. } => bytes.len() as u64,
        }
    }
}

/// Writes values row by row.
#[derive(Default)]
pub(crate) struct ComplexWriter {
    ends: Vec<u8>,
    written: u64,
}

impl ComplexWriter {
    pub fn push(&mut self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let bytes = value.unwrap_or_default();
        out.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        let null = if value.is_none() { NULL } else { 0 };
        self.ends.extend_from_slice(&(self.written | null).to_le_bytes());
    }

    /// Appends where the values end.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ends);
    }
}
