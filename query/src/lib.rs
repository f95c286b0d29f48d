//! From a question to an answer.
//!
//! A [`language::Query`] (from Druid's JSON, or built by SQL) enters through [`Broker::answer`], the only door:
//! `admission` makes it a leaf, `view` says which segments it concerns, `node` runs `engine` over them on the threads
//! of `pool`, within the query's [`Budget`]; `finish` orders and limits, `language::response` writes Druid's JSON.
//!
//! The rows may also be on the nodes of a cluster ([`cluster`] is the port): then `scatter` asks these, [`local`] answers for
//! the segments of a process, and what travels between them is [`wire`]'s. The answers are the same.
//!
//! What was answered may be kept, and is found again where it is the answer still ([`cache`]).
//!
//! Knows nothing of sockets, headers, the catalog, Kafka, or how segments got here.

pub mod admission;
pub mod budget;
pub mod error;
pub mod language;
pub mod policy;
pub mod table;

pub mod columns;
pub mod engine;
pub mod finish;
pub mod partial;
pub mod pool;
pub mod progress;
pub mod selection;

pub mod broker;
pub mod cache;
pub mod cluster;
pub mod deadline;
pub mod local;
pub mod node;
pub mod outcome;
mod scatter;
mod source;
pub mod view;
pub mod wire;

pub use admission::{Authorizer, Principal, Terms};
pub use broker::{Broker, Place};
pub use budget::{Budget, Settings};
pub use error::{Error, Result};
pub use language::Query;
pub use table::{Answer, Batch, ResponseContext, Table};
