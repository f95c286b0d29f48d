//! What the segment crate promises across its modules.

extern crate henge_segment as segment;

mod expressions;
mod golden;
mod harm;
mod merging;
mod tables;
