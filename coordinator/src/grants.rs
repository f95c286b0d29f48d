//! By which views brokers may answer, and until when.
//!
//! A broker that lost sight of the leader has an old view: it knows nothing of rows that nodes have begun to take in since, and
//! what it answers without them others have counted already. So a broker answers by a view for a time that the leader
//! granted, from when it asked on ([`Coordinator::poll`]), and says of later answers that they may lack rows. And no node puts a
//! row where no view had one before until every broker that may answer has a view that tells of it
//! ([`Coordinator::until_known`]).
//!
//! This is about rows of streams. What a batch task publishes, and what rules load again, a broker counts as soon as it hears of it.
//!
//! What stands here is never less than what brokers may answer by: a grant counts before its answer is made, as one of the
//! view that the broker had, and what it had before counts on until the broker asks by the newer one. A new leader grants
//! nothing before its first view, and takes it that every broker on record was granted all that one can be by the leader before.

use std::time::Duration;

use segment::SegmentId;
use tokio::time::{Instant, timeout_at};

use crate::Coordinator;
use crate::error::Result;
use crate::node::{Member, Role};
use crate::picture::Picture;
use crate::view::{ViewNumber, ViewUpdate};

/// Tasks wait as long for a broker that is gone before they begin new segments.
const LEASE_MAX: Duration = Duration::from_secs(10);

/// How often whoever waits looks whether this leads still.
const LEAD_LOOK: Duration = Duration::from_secs(1);

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
    /// As a leader begins: what the one before it granted it does not know.
    pub fn of_brokers<'a>(members: impl Iterator<Item = &'a Member>, epoch: i64, lease: Duration) -> Grants {
        let mut grants = Grants::default();
        let until = Instant::now() + lease;
        for member in members.filter(|member| member.roles.contains(&Role::Broker)) {
            // Whichever view of an earlier leader it asks by, it is before all of this one's.
            grants.add(&member.node, member.process, ViewNumber { epoch, number: 0 }, until);
        }
        grants
    }

    fn add(&mut self, node: &str, process: u64, view: ViewNumber, until: Instant) -> u64 {
        self.next += 1;
        self.granted.push(Grant { id: self.next, node: node.to_string(), process, view, until });
        self.next
    }

    /// It has this view now, and answers by none before it, for as long as it was granted before.
    fn has(&mut self, node: &str, process: u64, view: ViewNumber, now: Instant) {
        let mut latest = None;
        self.granted.retain_mut(|grant| {
            if grant.node != node || grant.process != process || grant.view > view {
                return grant.until > now;
            }
            latest = latest.max(Some(grant.until));
            false
        });
        if let Some(until) = latest.filter(|until| *until > now) {
            self.add(node, process, view, until);
        }
    }

    pub fn has_any(&self, node: &str) -> bool {
        let now = Instant::now();
        self.granted.iter().any(|grant| grant.node == node && grant.until > now)
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
        let is_known = self.inner.picture.read().is_broker(node, process);
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
    /// until the view has them.
    ///
    /// [`Error::NotLeader`](crate::Error::NotLeader) as soon as this does not lead.
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
            // Who does not lead any more makes none.
            let _ = tokio::time::timeout(LEAD_LOOK, views.changed()).await;
        };
        loop {
            let changed = self.inner.known.notified();
            let older = self.inner.grants.lock().older_than(number, Instant::now());
            self.check_lead()?;
            match older {
                None => return Ok(()),
                Some(until) => drop(timeout_at(until.min(Instant::now() + LEAD_LOOK), changed).await),
            }
        }
    }

    /// A process answers by no view any more.
    pub(crate) fn end_grants(&self, node: &str, process: u64) {
        self.inner.grants.lock().end(node, process);
        self.inner.known.notify_waiters();
    }

    /// To be called before this leads in an epoch, with what it knows then.
    pub(crate) fn begin_grants(&self, picture: &Picture, epoch: i64) {
        *self.inner.grants.lock() = Grants::of_brokers(picture.on_record.values(), epoch, self.view_lease());
        self.inner.known.notify_waiters();
    }

    fn view_lease(&self) -> Duration {
        let node_lease = Duration::from_millis(u64::try_from(self.inner.settings.node_lease_ms).unwrap_or(0));
        node_lease.min(LEASE_MAX)
    }
}
