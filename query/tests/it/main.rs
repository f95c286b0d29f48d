//! The query crate from outside: exact answers, exact JSON, exact selections.

extern crate henge_query as query;

mod answers;
mod broker;
mod expressions;
mod fuzz;
mod group;
mod oracle;
mod selection;
mod sketches;
mod sources;
