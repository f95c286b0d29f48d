//! The operators: group (timeseries, topN, groupBy), rows (scan, search) and inspection of segments.

pub mod inspect;
pub mod piece;
pub mod rows;

pub use piece::Piece;
