//! Builds a memory column value by value, coercing each to the column's type.

use std::sync::Arc;

use super::memory::{BytesChunk, ListChunk, MemoryCodes, MemoryDictionary, NumberChunk};
use super::{Column, ComplexColumn, DictColumn, DocumentColumn, NumberColumn, document};
use crate::block::{BLOCK_ROWS, Value};
use crate::expr::convert::{to_double, to_long, to_text};
use crate::schema::ValueType;

/// Values go in with [`ColumnBuilder::push`] in row order. A string column becomes multi-value with its first list.
pub struct ColumnBuilder {
    value_type: ValueType,
    form: Form,
}

enum Form {
    Text(TextBuilder),
    Number { long: bool, chunks: Vec<NumberChunk> },
    Bytes { chunks: Vec<BytesChunk>, held: usize },
}

#[derive(Default)]
struct TextBuilder {
    known: hashbrown::HashMap<Option<Arc<str>>, u32, foldhash::fast::FixedState>,
    dictionary: MemoryDictionary,
    single: Vec<Vec<u32>>,
    multi: Option<Vec<ListChunk>>,
    /// Bytes of its values and of what finds them again.
    known_bytes: usize,
    codes: usize,
}

/// Held for a distinct text besides its bytes: its end in the dictionary and its place in the table that finds it, of
/// which a third is empty, with the counts of an `Arc`.
const TEXT_BYTES: usize = 8 + 3 * size_of::<(Option<Arc<str>>, u32)>() / 2 + 16;

impl ColumnBuilder {
    pub fn new(value_type: ValueType) -> ColumnBuilder {
        let form = match &value_type {
            value_type if *value_type == ValueType::String || value_type.is_document() => {
                Form::Text(TextBuilder::default())
            }
            ValueType::Complex(_) => Form::Bytes { chunks: Vec::new(), held: 0 },
            number => Form::Number { long: *number == ValueType::Long, chunks: Vec::new() },
        };
        ColumnBuilder { value_type, form }
    }

    /// A value that cannot be of the column's type becomes null.
    pub fn push(&mut self, value: &Value) {
        match &mut self.form {
            Form::Text(text) if self.value_type == ValueType::String => text.push(value),
            Form::Text(text) => {
                let written = document::write(value, &self.value_type);
                text.push(&written.map_or(Value::Null, |written| Value::Text(written.into())));
            }
            Form::Number { long, chunks } => {
                if chunks.last().is_none_or(|c| c.len() == BLOCK_ROWS) {
                    chunks.push(if *long { NumberChunk::long() } else { NumberChunk::double() });
                }
                let chunk = chunks.last_mut().expect("a chunk with room was pushed");
                match &self.value_type {
                    ValueType::Long => chunk.push_long(to_long(value)),
                    ValueType::Float => chunk.push_double(to_double(value).map(|v| v as f32 as f64)),
                    _ => chunk.push_double(to_double(value)),
                }
            }
            Form::Bytes { chunks, held } => {
                if chunks.last().is_none_or(|c| c.len() == BLOCK_ROWS) {
                    chunks.push(Vec::new());
                }
                let chunk = chunks.last_mut().expect("a chunk with room was pushed");
                let bytes = match value {
                    Value::Bytes(bytes) => Some(bytes.clone()),
                    _ => None,
                };
                *held += size_of_val(&bytes) + bytes.as_ref().map_or(0, |bytes| bytes.len() + 16);
                chunk.push(bytes);
            }
        }
    }

    /// Memory that it holds, roughly.
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Text(text) => text.known_bytes + text.codes * size_of::<u32>(),
            Form::Number { chunks, .. } => chunks.iter().map(NumberChunk::bytes).sum(),
            Form::Bytes { held, .. } => *held,
        }
    }

    pub fn finish(self) -> Column {
        fn shared<T>(chunks: Vec<T>) -> Vec<Arc<T>> {
            chunks.into_iter().map(Arc::new).collect()
        }
        match self.form {
            Form::Text(text) => {
                let codes = match text.multi {
                    Some(chunks) => MemoryCodes::Multi(shared(chunks)),
                    None => MemoryCodes::Single(shared(text.single)),
                };
                let dict = DictColumn::from_memory(text.dictionary, codes);
                match self.value_type {
                    ValueType::String => Column::Dict(dict),
                    value_type => Column::Document(DocumentColumn::new(value_type, dict)),
                }
            }
            Form::Number { chunks, .. } => Column::Number(NumberColumn::from_chunks(self.value_type, shared(chunks))),
            Form::Bytes { chunks, .. } => {
                let ValueType::Complex(name) = self.value_type else { unreachable!("bytes are of a complex type") };
                Column::Complex(ComplexColumn::from_chunks(name, shared(chunks)))
            }
        }
    }
}

impl TextBuilder {
    fn push(&mut self, value: &Value) {
        if let Value::List(values) = value {
            let codes: Vec<u32> = values.iter().map(|v| self.code(v)).collect();
            // With where the list ends.
            self.codes += codes.len() + 1;
            self.multi();
            self.push_list(&codes);
            return;
        }
        let code = self.code(value);
        self.codes += 1;
        if self.multi.is_some() {
            self.push_list(&[code]);
            return;
        }
        if self.single.last().is_none_or(|c| c.len() == BLOCK_ROWS) {
            self.single.push(Vec::new());
        }
        self.single.last_mut().expect("a chunk with room was pushed").push(code);
    }

    fn push_list(&mut self, codes: &[u32]) {
        let chunks = self.multi.as_mut().expect("lists go into a multi-value column");
        if chunks.last().is_none_or(|c| c.len() == BLOCK_ROWS) {
            chunks.push(ListChunk::default());
        }
        chunks.last_mut().expect("a chunk with room was pushed").push(codes);
    }

    /// Makes a list of one code of every row so far.
    fn multi(&mut self) {
        if self.multi.is_some() {
            return;
        }
        let lists = |codes: Vec<u32>| ListChunk { ends: (1..=codes.len() as u32).collect(), codes };
        self.multi = Some(std::mem::take(&mut self.single).into_iter().map(lists).collect());
    }

    fn code(&mut self, value: &Value) -> u32 {
        let text = to_text(value);
        if let Some(code) = self.known.get(&text) {
            return *code;
        }
        // Once in the dictionary, once where it is found.
        self.known_bytes += TEXT_BYTES + 2 * text.as_deref().map_or(0, str::len);
        let code = self.dictionary.push(text.as_deref());
        self.known.insert(text, code);
        code
    }
}
