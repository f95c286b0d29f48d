//! The operators: group (timeseries, topN, groupBy), rows (scan, search) and inspection of segments.

pub mod group;
pub mod inspect;
pub mod interner;
pub mod keys;
pub mod merged;
pub mod piece;
pub mod rows;
pub mod search;
pub mod seen;
pub mod source;
pub mod table;

pub use piece::Piece;
