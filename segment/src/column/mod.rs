//! Reading one column. A column of a file and a column of a realtime snapshot look the same from here; dispatch is paid
//! once a block.

use crate::bitmap::Bitmap;
use crate::block::Block;
use crate::schema::ValueType;

pub mod complex;
pub mod dict;
pub mod number;

pub enum Column {
    Dict(DictColumn),
    Number(NumberColumn),
    Complex(ComplexColumn),
}

pub use complex::ComplexColumn;
pub use dict::DictColumn;
pub use number::NumberColumn;

impl Column {
    pub fn value_type(&self) -> ValueType {
        todo!()
    }

    /// Values of `len` rows from `start`: text for strings (lists in `Block::Any` if multi-value), longs, doubles (also
    /// for floats). The slow path for dictionary columns; engines use codes.
    pub fn block(&self, start: usize, len: usize) -> Block {
        let _ = (start, len);
        todo!()
    }
}

// The reading interface that the engine uses; bodies stand in dict.rs and number.rs.
//
// DictColumn
//   fn cardinality(&self) -> u32                        number of codes, the null's included if there is a null
//   fn value(&self, code: u32) -> Option<&str>          None is null
//   fn is_sorted(&self) -> bool                         codes are ordered as values are, null first (files: always)
//   fn code(&self, value: Option<&str>) -> Option<u32>
//   fn lower_bound(&self, value: &str) -> u32           first code whose value >= value (sorted dictionaries only)
//   fn is_multi(&self) -> bool
//   fn codes(&self, start: usize, out: &mut [u32])      single-value columns
//   fn lists(&self, start: usize, len: usize, offsets: &mut Vec<u32>, codes: &mut Vec<u32>)   offsets: len + 1 entries; empty list = null
//   fn bitmap(&self, code: u32) -> Option<Bitmap>       rows that hold the code; None if the column has no index
// NumberColumn
//   fn value_type(&self) -> ValueType                   Long, Float or Double
//   fn has_nulls(&self) -> bool
//   fn longs(&self, start: usize, out: &mut [i64])      Long columns; 0 where null
//   fn doubles(&self, start: usize, out: &mut [f64])    Long, Float and Double columns (converted); 0 where null
//   fn nulls(&self, start: usize, out: &mut [bool]) -> bool     whether any of the rows is null
//   fn null_bitmap(&self) -> Option<Bitmap>
//   fn range(&self) -> Option<(f64, f64)>  /  fn long_range(&self) -> Option<(i64, i64)>           over all non-null values
//   fn block_long_range(&self, block: usize) -> Option<(i64, i64)>    over block `block` of BLOCK_ROWS rows
//   fn block_double_range(&self, block: usize) -> Option<(f64, f64)>
#[allow(unused)]
fn _interface(_: &Bitmap) {}
