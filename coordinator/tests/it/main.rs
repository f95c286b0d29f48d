//! The coordinator from outside: its catalog, its supervisors, and a simulated node under crashes.

mod catalog;
mod documents;
mod node;
mod quiet;
mod simulate;
mod supervisors;
