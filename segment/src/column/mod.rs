//! Reading one column. A column of a file and a column of a realtime snapshot look the same from here; dispatch is paid
//! once a block.

pub mod builder;
pub mod complex;
pub mod dict;
pub mod document;
pub(crate) mod index;
pub mod memory;
pub mod number;

use std::sync::Arc;

use crate::block::{Block, Value};
use crate::schema::ValueType;

pub use builder::ColumnBuilder;
pub use complex::ComplexColumn;
pub use dict::DictColumn;
pub use document::DocumentColumn;
pub use number::NumberColumn;

pub enum Column {
    Dict(DictColumn),
    Number(NumberColumn),
    Complex(ComplexColumn),
    Document(DocumentColumn),
}

impl Column {
    pub fn value_type(&self) -> ValueType {
        match self {
            Column::Dict(_) => ValueType::String,
            Column::Number(c) => c.value_type(),
            Column::Complex(c) => ValueType::Complex(c.type_name().to_string()),
            Column::Document(c) => c.value_type().clone(),
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            Column::Dict(c) => c.rows(),
            Column::Number(c) => c.rows(),
            Column::Complex(c) => c.rows(),
            Column::Document(c) => c.texts().rows(),
        }
    }

    /// Values of `len` rows from `start`: text for strings (lists in `Block::Any` if multi-value), longs, doubles (also
    /// for floats). The slow path for dictionary columns; engines use codes.
    pub fn block(&self, start: usize, len: usize) -> Block {
        match self {
            Column::Dict(c) if c.is_multi() => {
                let (mut offsets, mut codes) = (Vec::new(), Vec::new());
                c.lists(start, len, &mut offsets, &mut codes);
                let list = |i: usize| &codes[offsets[i] as usize..offsets[i + 1] as usize];
                let values = (0..len).map(|i| c.list_value(list(i))).collect();
                Block::Any { values }
            }
            Column::Dict(c) => {
                let mut codes = vec![0; len];
                c.codes(start, &mut codes);
                let mut known: hashbrown::HashMap<u32, Option<Arc<str>>, foldhash::fast::FixedState> =
                    Default::default();
                let text = |code: &u32| known.entry(*code).or_insert_with(|| c.value(*code).map(Arc::from)).clone();
                Block::Text { values: codes.iter().map(text).collect() }
            }
            Column::Number(c) => {
                let mut flags = vec![false; if c.has_nulls() { len } else { 0 }];
                let some = c.has_nulls() && c.nulls(start, &mut flags);
                let nulls = some.then_some(flags);
                if c.value_type() == ValueType::Long {
                    let mut values = vec![0; len];
                    c.longs(start, &mut values);
                    Block::Long { values, nulls }
                } else {
                    let mut values = vec![0.0; len];
                    c.doubles(start, &mut values);
                    Block::Double { values, nulls }
                }
            }
            Column::Complex(c) => {
                let value = |row| c.bytes(row).map_or(Value::Null, |b| Value::Bytes(Arc::from(b)));
                Block::Any { values: (start..start + len).map(value).collect() }
            }
            Column::Document(c) => c.block(start, len),
        }
    }

    /// Decodes what is decoded late otherwise; false if something is not what was written.
    pub(crate) fn check(&self) -> bool {
        match self {
            Column::Dict(c) => c.check(),
            Column::Number(c) => c.check(),
            Column::Complex(_) => true,
            Column::Document(c) => c.texts().check(),
        }
    }

    /// Bytes it holds in memory or takes in its file.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Column::Dict(c) => c.size_bytes(),
            Column::Number(c) => c.size_bytes(),
            Column::Complex(c) => c.size_bytes(),
            Column::Document(c) => c.texts().size_bytes(),
        }
    }
}
