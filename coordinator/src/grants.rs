//! By which views brokers may answer, and until when.
//!
//! A broker that lost sight of the leader has an old view: it knows nothing of rows that nodes have begun to take in since, and
//! what it answers without them others have counted already. So a broker answers by a view for a time that the leader
//! granted, from when it asked on ([`Coordinator::poll`]), and says of later answers that they may lack rows. And no node puts a
//! row where no view had one before until every broker that may answer has a view that tells of it
//! ([`Coordinator::until_known`]).
//!
//! What stands here is never less than what brokers were granted: a grant counts before its answer is made, as one of the
//! view that the broker had. A new leader grants nothing before its first view, which it makes when the nodes that there were
//! have come or the time of a grant is over: of theirs it needs to know nothing.

use std::time::Duration;

use segment::SegmentId;
use tokio::time::{Instant, timeout_at};

use crate::Coordinator;
use crate::error::Result;
use crate::view::{ViewNumber, ViewUpdate};

/// Grants that have not run out.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    next: u64,
    granted: Vec<Grant>,
}

#[derive(Debug)]
struct Grant {
    id: u64,
    node: String,
    process: u64,
    /// The oldest view that it may answer by.
    view: ViewNumber,
    until: Instant,
}

/// A broker's question for what is newer than the view it has. What it is granted begins when it is made.
#[derive(Debug)]
pub struct Poll {
    grant: Option<u64>,
}

impl Grants {
    fn add(&mut self, node: &str, process: u64, view: ViewNumber, until: Instant) -> u64 {
        self.next += 1;
        self.granted.push(Grant { id: self.next, node: node.to_string(), process, view, until });
        self.next
    }

    /// It has this view now, and answers by none before it.
    fn has(&mut self, node: &str, process: u64, view: ViewNumber, now: Instant) {
        self.granted.retain_mut(|grant| {
            let is_its = grant.node == node && grant.process == process;
            !(grant.until <= now || is_its && grant.view < view)
        });
    }

    fn raise(&mut self, id: u64, view: ViewNumber) {
        let of = self.granted.iter_mut().filter(|grant| grant.id == id);
        of.for_each(|grant| grant.view = grant.view.max(view));
    }

    fn end(&mut self, node: &str, process: u64) {
        self.granted.retain(|grant| grant.node != node || grant.process != process);
    }

    /// Until when a broker may answer by an older view.
    fn older_than(&self, view: ViewNumber, now: Instant) -> Option<Instant> {
        self.granted.iter().filter(|grant| grant.view < view && grant.until > now).map(|grant| grant.until).max()
    }
}

impl Coordinator {
    /// A process of a node asks what is newer than the view it has. Granted to brokers that this leader knows, once it has a view.
    pub fn poll(&self, node: &str, process: u64, since: ViewNumber) -> Poll {
        let now = Instant::now();
        let is_known = self.inner.picture.write().hears_broker(node, process);
        let mut grants = self.inner.grants.lock();
        grants.has(node, process, since, now);
        let grant = is_known.then(|| grants.add(node, process, since, now + self.view_lease()));
        drop(grants);
        self.inner.known.notify_waiters();
        Poll { grant }
    }

    /// What it is told, and for how long from its question on it may answer by the view that it has then; `None`: for no time.
    pub fn answer(&self, poll: &Poll, since: ViewNumber) -> (ViewUpdate, Option<Duration>) {
        let (update, newest) = {
            let feed = self.inner.feed.read();
            (feed.since(since), feed.view.number)
        };
        let Some(id) = poll.grant else { return (update, None) };
        self.inner.grants.lock().raise(id, newest);
        self.inner.known.notify_waiters();
        (update, Some(self.view_lease()))
    }

    /// Returns when no broker may answer by a view that lacks these rows of a node. It has to have told of them; waits
    /// until the view has them, for as long as this leads.
    pub async fn until_known(&self, node: &str, ids: &[SegmentId]) -> Result<()> {
        let mut views = self.watch_view();
        let number = loop {
            self.check_lead()?;
            views.mark_unchanged();
            let view = self.view();
            let has = |id: &SegmentId| {
                let table = view.tables.get(&id.datasource);
                table.is_some_and(|table| table.realtime.get(id).is_some_and(|there| there == node))
            };
            if ids.iter().all(has) {
                break view.number;
            }
            // The sender lives as long as this.
            let _ = views.changed().await;
        };
        loop {
            let changed = self.inner.known.notified();
            let older = self.inner.grants.lock().older_than(number, Instant::now());
            match older {
                None => return self.check_lead(),
                Some(until) => drop(timeout_at(until, changed).await),
            }
        }
    }

    /// A process answers by no view any more.
    pub(crate) fn end_grants(&self, node: &str, process: u64) {
        self.inner.grants.lock().end(node, process);
        self.inner.known.notify_waiters();
    }

    fn view_lease(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.inner.settings.node_lease_ms).unwrap_or(0))
    }
}
