//! The coordinator from outside: its catalog on each database, its supervisors, who leads and
//! who does not, and a simulated node under crashes.

mod alerts;
mod catalog;
mod documents;
mod fencing;
#[path = "../../src/catalog/testing.rs"]
mod fresh;
mod grants;
mod leases;
mod members;
mod node;
mod outage;
mod placement;
mod quiet;
mod replacing;
mod scale;
mod simulate;
mod supervisors;
mod views;
