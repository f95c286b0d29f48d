//! The one gate between a question and the rows: it decides what of them the asker may see. Nothing below runs anything
//! but a [`Leaf`], and only this file makes one.

use std::sync::Arc;

use crate::language::Query;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
}

/// Which rows and columns of a table a principal sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Restriction {
    /// All of them: said, never assumed.
    Unrestricted,
}

/// A query that was let in, with what it may see.
#[derive(Debug, Clone)]
pub struct Leaf {
    query: Arc<Query>,
    who: Arc<Principal>,
    restriction: Restriction,
}

/// Lets a query in. Every table is open to every principal: there are no policies yet.
pub(crate) fn admit(query: Arc<Query>, who: &Principal) -> Leaf {
    Leaf { query, who: Arc::new(who.clone()), restriction: Restriction::Unrestricted }
}

impl Principal {
    pub fn new(name: impl Into<String>) -> Principal {
        Principal { name: name.into() }
    }
}

impl Leaf {
    pub fn query(&self) -> &Arc<Query> {
        &self.query
    }

    pub fn who(&self) -> &Principal {
        &self.who
    }

    pub fn restriction(&self) -> &Restriction {
        &self.restriction
    }
}
