//! Where files rest: deep storage (a folder or an S3 bucket) and this node's local copies. The only async code of this
//! crate.

pub mod cache;
pub mod deep;
pub mod objects;
pub mod settings;
mod store;
