//! Events on their way into published segments: sources, formats, specs, positions, handing off. Knows nothing of queries,
//! of placement, or of where the ledger lives.

pub mod batch;
pub mod error;
pub mod fail;
pub mod ledger;
pub mod parse;
pub mod positions;
pub mod report;
pub mod source;
pub mod spec;
pub mod transform;
pub mod worker;

pub use error::{Error, Result};
pub use ledger::{Allocation, Ledger, Publication, PublishMode};
pub use positions::{PartitionKey, Positions};
pub use report::{TaskReport, TaskState};
pub use worker::{Clock, Ports, Settings, StartTask, StopReason, Worker};
