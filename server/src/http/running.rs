//! Whose the queries are that run: one may end one's own.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use query::policy::{Action, Kind};

use super::App;
use crate::auth::Caller;

/// The names of those whose queries run, by query id: ids are of the clients' choice and may be the same.
#[derive(Default)]
pub struct Running {
    owners: Arc<Mutex<HashMap<String, Vec<String>>>>,
}

/// A query among those that run, until it is dropped.
pub struct Entered {
    owners: Arc<Mutex<HashMap<String, Vec<String>>>>,
    id: String,
    owner: String,
}

impl Running {
    pub fn enter(&self, id: &str, caller: &Caller) -> Entered {
        let owner = caller.principal.name.clone();
        self.owners.lock().entry(id.to_string()).or_default().push(owner.clone());
        Entered { owners: self.owners.clone(), id: id.to_string(), owner }
    }

    /// Whether all queries of this id are the caller's.
    fn is_of(&self, id: &str, caller: &Caller) -> bool {
        self.owners.lock().get(id).is_some_and(|owners| owners.iter().all(|owner| *owner == caller.principal.name))
    }
}

impl Entered {
    /// The query runs for as long as its rows are read.
    pub fn during<S: Stream>(self, rows: S) -> impl Stream<Item = S::Item> {
        rows.map(move |row| {
            let _entered = &self;
            row
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut owners = self.owners.lock();
        if let Some(of) = owners.get_mut(&self.id) {
            if let Some(at) = of.iter().position(|owner| *owner == self.owner) {
                of.swap_remove(at);
            }
            if of.is_empty() {
                owners.remove(&self.id);
            }
        }
    }
}

impl App {
    /// One's own query, or any with the right to write state.
    pub fn may_cancel(&self, caller: &Caller, query_id: &str) -> bool {
        self.running.is_of(query_id, caller) || self.may(caller, Kind::State, "STATE", Action::Write)
    }
}
