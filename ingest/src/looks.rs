//! Places for looks at input: how many are at it at once, and whose.
//!
//! A look has its place until all that it opened is closed, also when whoever asked is gone or has got the answer. What it opened
//! may take seconds to close, as a Kafka client waits for brokers that do not answer: nobody waits for that but the place, and for
//! some seconds who looks next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// Looks at input at once: each holds a thread, a connection and up to its bounds of memory.
const PLACES: usize = 4;

/// Of these, those of one user: a quarter is left to others.
const PLACES_OF_ONE: usize = PLACES - PLACES / 4;

/// How long a look waits for a place before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Looks {
    /// Places that are taken, by user.
    taken: Mutex<BTreeMap<String, usize>>,
    freed: Notify,
    patience: Duration,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { taken: Mutex::default(), freed: Notify::new(), patience: PATIENCE }
    }
}

/// Free again when it is dropped.
struct Place {
    looks: Arc<Looks>,
    whose: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.looks.taken.lock();
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
        }
        taken.retain(|_, count| *count > 0);
        drop(taken);
        self.looks.freed.notify_waiters();
    }
}

impl Looks {
    fn place(self: &Arc<Looks>, whose: &str) -> Result<Place> {
        let mut taken = self.taken.lock();
        let (all, own) = (taken.values().sum::<usize>(), taken.get(whose).copied().unwrap_or(0));
        if own >= PLACES_OF_ONE {
            return Err(Error::unavailable(format!("{own} samples of yours are being taken or let go; try again")));
        }
        if all >= PLACES {
            return Err(Error::unavailable(format!("{all} samples are being taken or let go; try again")));
        }
        *taken.entry(whose.to_string()).or_default() += 1;
        Ok(Place { looks: self.clone(), whose: whose.to_string() })
    }

    /// A place, as soon as one is free.
    async fn place_in_time(self: &Arc<Looks>, whose: &str) -> Result<Place> {
        let end = Instant::now() + self.patience;
        loop {
            // Before it looks: a place that is freed in between wakes this too.
            let freed = self.freed.notified();
            match self.place(whose) {
                Err(refused) if timeout_at(end, freed).await.is_err() => return Err(refused),
                Err(_) => {}
                place => return place,
            }
        }
    }

    /// Looks, on a thread of its own; `look` answers what came of it, and what it has open still. Refused where as many are at it
    /// as there may be, of all or of this user, and stay so for some seconds.
    pub async fn look<T, O>(
        self: &Arc<Looks>,
        whose: &str,
        look: impl FnOnce() -> (Result<T>, O) + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
    {
        let place = self.place_in_time(whose).await?;
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("henge-sample".into());
        let spawned = thread.spawn(move || {
            let _place = place;
            let (seen, open) = look();
            // Whoever asked may be gone.
            let _ = tell.send(seen);
            drop(open);
        });
        spawned.map_err(|error| Error::io("start a thread", error))?;
        told.await.map_err(|_| Error::Bug("a look at the input of a spec panicked; the log has the place".into()))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Something open that is closed when the test says so.
    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    impl Looks {
        fn impatient() -> Arc<Looks> {
            Arc::new(Looks { patience: Duration::ZERO, ..Looks::default() })
        }

        async fn until_taken(&self, count: usize) {
            while self.taken.lock().values().sum::<usize>() != count {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn an_answer_does_not_wait_for_what_is_to_be_closed_and_the_place_does() {
        let looks = Looks::impatient();
        let mut closing = Vec::new();
        for n in 0..PLACES_OF_ONE {
            let (close, closed) = mpsc::channel();
            closing.push(close);
            assert_eq!(looks.look("ann", move || (Ok(n), Slow(closed))).await.unwrap(), n, "while it is open");
        }
        // All of them are open still.
        let refused = looks.look("ann", || (Ok(()), ())).await.unwrap_err();
        assert!(refused.is_retryable() && refused.to_string().contains("3 samples of yours"), "{refused}");
        // Others find a place, and no more than there are.
        let (close, closed) = mpsc::channel();
        looks.look("bob", move || (Ok(()), Slow(closed))).await.unwrap();
        let refused = looks.look("eve", || (Ok(()), ())).await.unwrap_err();
        assert!(refused.is_retryable() && refused.to_string().contains("4 samples are"), "{refused}");
        drop(close);
        looks.until_taken(PLACES - 1).await;
        looks.look("eve", || (Ok(()), ())).await.unwrap();
        drop(closing);
        looks.until_taken(0).await;
        looks.look("ann", || (Ok(()), ())).await.unwrap();
    }

    #[tokio::test]
    async fn a_look_waits_for_a_place_that_is_freed_in_time() {
        let looks = Arc::new(Looks { patience: Duration::from_secs(3600), ..Looks::default() });
        let mut closing = Vec::new();
        for _ in 0..PLACES_OF_ONE {
            let (close, closed) = mpsc::channel();
            closing.push(close);
            looks.look("ann", move || (Ok(()), Slow(closed))).await.unwrap();
        }
        let next = tokio::spawn({
            let looks = looks.clone();
            async move { looks.look("ann", || (Ok("seen"), ())).await }
        });
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        drop(closing.pop());
        assert_eq!(next.await.unwrap().unwrap(), "seen");
    }

    #[tokio::test]
    async fn a_look_that_fails_or_panics_gives_its_place_back() {
        let looks = Arc::new(Looks::default());
        let failed: Result<()> = looks.look("ann", || (Err(Error::invalid("no")), ())).await;
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let panicked: Result<()> = looks.look("ann", || -> (Result<()>, ()) { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(Error::Bug(_))), "{panicked:?}");
        looks.until_taken(0).await;
    }
}
