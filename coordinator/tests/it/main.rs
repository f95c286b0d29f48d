//! The coordinator from outside: its catalog on each database, its supervisors, who leads and
//! who does not, and a simulated node under crashes.

mod catalog;
mod documents;
#[path = "../../src/catalog/testing.rs"]
mod fresh;
mod node;
mod quiet;
mod simulate;
mod supervisors;
