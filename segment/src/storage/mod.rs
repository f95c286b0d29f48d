//! Where files rest: deep storage (any object store) and this node's local copies. The only async code of this crate.

pub mod cache;
pub mod deep;
pub mod objects;
