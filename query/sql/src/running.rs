//! The statements at work, so that they can be found and ended.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use futures::stream::StreamExt;
use query::{Principal, Terms};

use crate::run::{Batches, Run};
use crate::{Error, lock};

/// The statements at work, by their id: ids are of the clients' choice and may be the same.
pub type Running = HashMap<String, Vec<Arc<AtWork>>>;

/// A statement whose rows are still made or read.
pub struct AtWork {
    pub ended: Arc<AtomicBool>,
    pub who: Principal,
    /// By which rules its asker saw its tables when it began.
    pub terms: Terms,
}

/// Stands in the list of running statements until dropped.
pub struct Registered {
    pub running: Arc<Mutex<Running>>,
    pub query_id: String,
    pub work: Arc<AtWork>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if let Some(of_id) = running.get_mut(&self.query_id) {
            of_id.retain(|work| !Arc::ptr_eq(work, &self.work));
            if of_id.is_empty() {
                running.remove(&self.query_id);
            }
        }
    }
}

/// Batches that keep the statement registered while they are read.
pub fn held(batches: Batches, registered: Registered) -> Batches {
    batches
        .map(move |batch| {
            let _running = &registered;
            batch
        })
        .boxed()
}

/// Batches that end at the statement's deadline or when it is cancelled.
pub fn bounded(batches: Batches, run: Arc<Run>) -> Batches {
    futures::stream::unfold(Some((batches, run)), |state| async move {
        let (mut batches, run) = state?;
        let item = match run.check() {
            Err(error) => Some(Err(error)),
            Ok(()) => match tokio::time::timeout(run.remaining(), batches.next()).await {
                Ok(item) => item,
                Err(_) => Some(Err(Error::Timeout)),
            },
        };
        match item? {
            Ok(batch) => Some((Ok(batch), Some((batches, run)))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
