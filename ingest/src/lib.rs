//! Events on their way into published segments: sources, formats, specs, positions, handing off. Knows nothing of queries,
//! of placement, or of where the ledger lives.

pub mod appender;
pub mod batch;
mod control;
pub mod error;
pub mod fail;
pub mod handoff;
mod intake;
pub mod ledger;
mod looks;
pub mod metrics;
pub mod parse;
mod pipeline;
pub mod positions;
pub mod report;
pub mod restore;
pub mod sample;
mod sequence;
pub mod source;
pub mod spec;
pub mod steps;
mod task;
pub mod transform;
pub mod worker;

pub use error::{Error, Result};
pub use ledger::{Allocation, Ledger, Publication, PublishMode};
pub use positions::{PartitionKey, Positions};
pub use report::{TaskReport, TaskState};
pub use source::files::LocalSources;
pub use source::hosts::{HttpSources, Outward};
pub use steps::{Steps, untold};
pub use worker::{Clock, Ports, Settings, StartTask, StopReason, Worker, supervisor_of};
