//! What a node goes by that answers requests: as the one that leads, or as one that follows the documents (users, roles,
//! policies, lookups) which the one that leads keeps in the metadata store.
//!
//! Followers read the documents from the store themselves: now and then, and at once where another node shows that it knows
//! of newer ones. One that has not seen the store for [`STALE_MAX`] answers nobody, nor one that has heard from the leader of
//! newer documents for [`BEHIND_MAX`] and has not got them: rights may have been taken from who asks. One that was held up looks
//! before it answers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use coordinator::Coordinator;
use parking_lot::Mutex;
use query::Broker;
use tokio::time::Instant;

use crate::auth::Identity;
use crate::auth::commit::Known;
use crate::http::manage::lookups;

/// How often the store is asked whether there are newer documents.
const LOOK: Duration = Duration::from_millis(200);

/// How long what was read last is good for, if the store cannot be asked.
const STALE_MAX: Duration = Duration::from_secs(10);

/// How long a node answers by what it knows once it has heard that there is more: with the time between two heartbeats, less than
/// the second in which what was taken from somebody is taken on all nodes.
const BEHIND_MAX: Duration = Duration::from_millis(300);

/// A follower that has not seen the store for so long was held up, or the store is: no request is answered before it has looked
/// anew, for which requests wait no longer than [`LATE_WAIT`].
const LATE: Duration = Duration::from_millis(600);
const LATE_WAIT: Duration = Duration::from_millis(300);

/// By what a node answers.
#[derive(Clone)]
pub enum Standing {
    Leads(Arc<Coordinator>),
    Follows(Arc<Follower>),
}

impl Standing {
    /// Whether the node may answer at this moment.
    pub fn holds(&self) -> bool {
        match self {
            Standing::Leads(coordinator) => coordinator.leads(),
            Standing::Follows(follower) => follower.is_fresh(),
        }
    }

    /// Before a request is looked at: one that was held up learns first what there is by now.
    pub async fn wake(&self) {
        if let Standing::Follows(follower) = self
            && follower.is_late()
        {
            let late = follower.clone();
            // Who hangs up must not leave what was read without being in force.
            let look = tokio::spawn(async move { late.look_if(Follower::is_late).await });
            let _ = tokio::time::timeout(LATE_WAIT, look).await;
        }
    }

    /// Whether it surely leads at this moment.
    pub fn leads(&self) -> bool {
        matches!(self, Standing::Leads(coordinator) if coordinator.leads())
    }

    /// There are documents of this version. One that does not know them looks at once, beside, and answers nobody before long
    /// if it cannot.
    pub fn hear_of(&self, version: i64) {
        let Standing::Follows(follower) = self else { return };
        if follower.hear_of(version) {
            let follower = follower.clone();
            tokio::spawn(async move { follower.look().await });
        }
    }

    /// The version of the documents by which something is looked at, for [`Standing::catch_up`].
    pub fn known(&self) -> i64 {
        match self {
            Standing::Leads(coordinator) => coordinator.documents_version(),
            Standing::Follows(follower) => follower.in_force.load(Ordering::SeqCst),
        }
    }

    /// Looks for newer documents at once. Whether those in force now are others than those of a version, whoever looked for them.
    pub async fn catch_up(&self, since: i64) -> bool {
        match self {
            Standing::Leads(_) => false,
            Standing::Follows(follower) => {
                follower.look().await;
                follower.in_force.load(Ordering::SeqCst) != since
            }
        }
    }
}

/// What goes by the documents.
pub struct Hanging {
    pub identity: Weak<Identity>,
    pub lookups: Weak<lookups::Store>,
    /// What answers other brokers.
    pub rows: Option<Weak<Broker>>,
}

pub struct Follower {
    coordinator: Arc<Coordinator>,
    /// When the store was asked last that answered.
    asked: Mutex<Instant>,
    /// The newest version that was heard of, and since when it is not known here.
    heard: Mutex<(i64, Option<Instant>)>,
    /// One looks at a time; what is in force since the last look.
    looking: tokio::sync::Mutex<Known>,
    /// The version by which all goes that hangs on documents.
    in_force: AtomicI64,
    /// What goes by the documents, once it is there.
    hangs: OnceLock<Hanging>,
}

impl Follower {
    /// Of a coordinator that has read the documents just now.
    pub fn new(coordinator: Arc<Coordinator>) -> Arc<Follower> {
        let (asked, looking) = (Mutex::new(Instant::now()), Default::default());
        let in_force = AtomicI64::default();
        Arc::new(Follower { coordinator, asked, heard: Mutex::default(), looking, in_force, hangs: OnceLock::new() })
    }

    /// From now on these are told of newer documents.
    pub async fn tell(&self, hanging: Hanging) {
        let mut known = self.looking.lock().await;
        // It is told once.
        let _ = self.hangs.set(hanging);
        self.put_in_force(&mut known);
    }

    fn is_fresh(&self) -> bool {
        let is_behind = self.heard.lock().1.is_some_and(|since| since.elapsed() >= BEHIND_MAX);
        self.asked.lock().elapsed() < STALE_MAX && !is_behind
    }

    fn is_late(&self) -> bool {
        self.asked.lock().elapsed() >= LATE
    }

    /// Whether this is news.
    fn hear_of(&self, version: i64) -> bool {
        let known = self.known();
        let (newest, since) = &mut *self.heard.lock();
        if version > known && *newest < version {
            *newest = version;
            since.get_or_insert_with(Instant::now);
            return true;
        }
        false
    }

    /// The version of the newest document that is known here.
    fn known(&self) -> i64 {
        self.coordinator.documents_version()
    }

    /// Documents were read, and put in force.
    fn caught_up(&self) {
        let known = self.known();
        let (newest, since) = &mut *self.heard.lock();
        if known >= *newest {
            *since = None;
        }
    }

    /// Whatever was read before is in force when this returns.
    async fn look(&self) {
        self.look_if(|_| true).await
    }

    /// Looks, if that is wanted yet when its turn has come.
    async fn look_if(&self, is_wanted: impl FnOnce(&Follower) -> bool) {
        let mut known = self.looking.lock().await;
        if !is_wanted(self) {
            return;
        }
        let asked = Instant::now();
        match self.coordinator.refresh_documents().await {
            Ok(changed) => {
                if changed {
                    self.put_in_force(&mut known);
                }
                self.caught_up();
                *self.asked.lock() = asked;
            }
            Err(error) => tracing::warn!(%error, "the documents of the catalog cannot be read"),
        }
    }

    fn put_in_force(&self, known: &mut Known) {
        // What is read meanwhile is put in force after this.
        let version = self.known();
        self.hand_on(known);
        self.in_force.store(version, Ordering::SeqCst);
    }

    fn hand_on(&self, known: &mut Known) {
        let Some(Hanging { identity, lookups, rows }) = self.hangs.get() else { return };
        let (Some(identity), Some(lookups)) = (identity.upgrade(), lookups.upgrade()) else { return };
        lookups.read_again();
        let ended = identity.put_in_force(known);
        // What other brokers ask of this process goes by the same.
        if let Some(rows) = rows.as_ref().and_then(Weak::upgrade) {
            rows.lookups().replace(lookups.served());
            rows.policies_changed();
            ended.iter().for_each(|name| rows.end_queries_of(name));
        }
    }

    /// Looks as long as the follower is there.
    pub async fn keep_up(follower: Weak<Follower>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(follower) = follower.upgrade() else { return };
            follower.look().await;
        }
    }
}
