//! The query crate from outside: exact answers, exact JSON, exact selections.

mod answers;
mod selection;
mod support;
