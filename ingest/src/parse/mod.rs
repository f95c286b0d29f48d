//! From bytes to rows: one parser per input format, all filling a [`segment::row::RowBatch`].

pub mod path;
pub mod timestamp;
