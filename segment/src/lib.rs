//! What a segment is: time, names, schemas, columns and their bytes, folding values, rows still in memory, where files
//! rest. Knows nothing of who asks, who feeds, HTTP, Kafka, SQL or settings.

pub mod block;
pub mod error;
mod fields;
pub mod meta;
pub mod pattern;
pub mod row;
pub mod schema;
pub mod spelling;
pub mod time;

pub mod bitmap;
pub mod column;
pub mod dictionary;
pub mod encoding;
pub mod segment;

pub mod aggregate;
pub mod expr;
pub mod filter;
pub mod sketch;

pub mod file;
pub mod lookup;
pub mod merge;
pub mod realtime;

pub mod inventory;
pub mod storage;
pub mod timeline;

pub use error::{Error, Kind, Result};
pub use meta::{SegmentId, SegmentMeta, is_system, system_table};
pub use segment::Segment;
pub use time::{Granularity, Interval};
