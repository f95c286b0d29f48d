//! What a segment is: time, names, schemas, columns and their bytes, folding values, rows still in memory, where files
//! rest. Knows nothing of who asks, who feeds, HTTP, Kafka, SQL or settings.

pub mod error;
pub mod time;
pub mod meta;
pub mod schema;
pub mod block;
pub mod row;

pub mod bitmap;
pub mod dictionary;
pub mod encoding;
pub mod column;
pub mod segment;

pub mod expr;
pub mod filter;
pub mod aggregate;

pub mod realtime;
pub mod file;
pub mod merge;

pub mod timeline;
pub mod storage;
pub mod inventory;

pub use error::{Error, Kind, Result};
pub use meta::{SegmentId, SegmentMeta};
pub use segment::Segment;
pub use time::{Granularity, Interval};
