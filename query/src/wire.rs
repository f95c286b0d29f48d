//! What travels between a broker and its data nodes, as bytes.
//!
//! An ask is one message ([`ask`]). An answer is a sequence of frames ([`frame`]), each with its length and its checksum: one
//! that opens it ([`answer::Opening`], with the version of this format), those with rows ([`table`]: columns in Arrow's IPC
//! format), and one that closes it ([`answer::Closing`]) and says that it is complete, or how it failed. A sequence without its
//! end is an error.
//!
//! Whatever comes in is from outside: bytes that are none of this are refused, and never believed.

pub mod answer;
pub mod ask;
pub mod columns;
pub mod frame;
pub mod groups;
pub mod table;
pub mod types;

/// Raised with every change of what stands here: brokers and nodes of different versions do not understand each other.
pub const VERSION: u64 = 1;

use serde::Deserialize;

use crate::error::Error;

/// What messages of all versions have.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u64,
}

/// Refuses a message of another version.
fn check_version(version: u64, who: &str) -> Result<(), Error> {
    match version {
        VERSION => Ok(()),
        other => Err(Error::Unavailable(format!(
            "{who} speaks version [{other}] of the protocol between brokers and data nodes, and this process version \
             [{VERSION}]; finish the upgrade of all nodes"
        ))),
    }
}
