//! Where statements are read and planned: on threads of their own, whose stack bears any tree that is not refused, at most
//! so many at once. Whoever waits for one waits no longer than the statement may take.

use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// Enough for the deepest tree that [`crate::chains`] lets the parser make. Memory is taken only as it is used.
const STACK_BYTES: usize = 256 << 20;

/// Statements planned at once where there are fewer threads.
const PLACES_MIN: usize = 4;

pub struct Planning {
    places: Arc<Semaphore>,
}

impl Planning {
    pub fn new(threads: usize) -> Planning {
        Planning { places: Arc::new(Semaphore::new(threads.max(PLACES_MIN))) }
    }

    /// What the work makes. Planning cannot be broken off: past the deadline it keeps its place until it ends.
    pub async fn run<T: Send + 'static>(
        &self,
        remaining: Duration,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let now = Instant::now();
        let deadline = now.checked_add(remaining).unwrap_or(now + Duration::from_secs(86_400));
        let place = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::Timeout)?.map_err(|error| Error::Bug(error.to_string()))?;
        let (sender, receiver) = oneshot::channel();
        let begun = Builder::new().name("sql-plan".into()).stack_size(STACK_BYTES).spawn(move || {
            let made = work();
            drop(place);
            // Nobody waits any more: the plan is dropped here, where the stack bears it.
            drop(sender.send(made));
        });
        begun.map_err(no_thread)?;
        match timeout_at(deadline, receiver).await {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(Error::Timeout),
        }
    }
}

/// Does work on the stack of a planning thread, and waits for it.
pub fn deep<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = Builder::new().name("sql-plan".into()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.map_err(no_thread)?.join().unwrap_or_else(|_| Err(broken()))
    })
}

fn no_thread(error: std::io::Error) -> Error {
    Error::Busy(format!("no thread could be started to plan the statement ({error}); try again"))
}

fn broken() -> Error {
    Error::Bug("planning of the statement broke off".into())
}
