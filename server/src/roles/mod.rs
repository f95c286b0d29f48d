//! What a process does: each role is the wiring of one crate to the others, on one screen.

pub mod cluster;
pub mod follow;
pub mod historical;
pub mod ingest;
pub mod leading;
pub mod ledger;
pub mod member;
pub mod report;
pub mod view;
