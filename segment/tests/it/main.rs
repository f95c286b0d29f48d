//! What the segment crate promises across its modules.

extern crate henge_segment as segment;

mod cache;
mod deep;
mod expressions;
mod faults;
mod golden;
mod harm;
mod merging;
mod proxy;
mod states;
mod tables;
