//! What a process does: each role is the wiring of one crate to the others, on one screen.

pub mod cluster;
pub mod historical;
pub mod ingest;
pub mod ledger;
