//! Where records come from. Each source hands its records to the caller in place, and tells how far it read.

pub mod files;
pub mod kafka;
