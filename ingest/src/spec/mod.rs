//! What the user asked for: supervisor and batch specs in Druid's JSON, read into our own nouns.
//!
//! Everything is checked here, once, so that a task that starts has a spec that makes sense. Errors carry the full path
//! of the field. Fields that Druid has and Henge gives no meaning are accepted and listed in `ignored`.

pub mod batch;
pub mod data_schema;
mod fields;
pub mod format;
pub mod http;
pub mod properties;
pub mod scaling;
mod spatial;
pub mod supervisor;
pub mod tuning;

#[cfg(test)]
mod tests;

pub use batch::{BatchSpec, InputSource};
pub use data_schema::{DataSchema, TimestampFormat, TimestampSpec, TransformSpec};
pub use fields::period_millis;
pub use format::{Flatten, InputFormat};
pub use http::HttpSource;
pub use scaling::{AutoScaler, LagAggregate};
pub use supervisor::{JOURNAL, KafkaIo, Stream, SupervisorSpec};
pub use tuning::{MemoryBound, Tuning};
