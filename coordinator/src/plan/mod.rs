//! Planners: from the picture to what should be done. They do not read the clock, and what they change is the plan alone.

pub(crate) mod alone;
pub(crate) mod assignment;
pub(crate) mod balance;
pub(crate) mod placement;
pub(crate) mod retention;
pub(crate) mod scaling;
#[cfg(test)]
mod simulation;
pub(crate) mod supervisors;
