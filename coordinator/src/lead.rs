//! Who may write. A coordinator leads by the lease [`LEADERSHIP`], in an epoch of its own; all it writes is fenced by that
//! epoch, within the transaction.
//!
//! 1. [`Coordinator::lead`] takes the lease and only then reads the catalog: what an earlier leader could write, it has
//!    written.
//! 2. The process renews by [`Coordinator::renew`], a few times within the lease's time to live.
//! 3. Once another has the lease, or it has expired, every write is [`Error::NotLeader`] and changes nothing. The
//!    coordinator is of no use any more and is dropped; to lead again is to read the catalog again.
//!
//! A process that is to take the lead when it can, and needs [documents](Coordinator::documents) until then, opens a
//! coordinator that [stands by](Coordinator::stand_by) and lets it [take the lead](Coordinator::take_lead) in place.
//!
//! [`Coordinator::open`] is for a store that only one process opens: it takes the lease at once and nobody has to renew.
//! Should a second process open it nevertheless, that one leads, and the first can write no more.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{MutexGuard, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::catalog::{Fence, Kept, MetadataStore, Session, Writing, leases};
use crate::error::{Error, Result};
use crate::lease::{Held, LEADERSHIP, Leases};
use crate::picture::Picture;
use crate::{Coordinator, Inner, Settings, ViewNumber};

/// The holder that a coordinator is which has the store for itself.
const ALONE: &str = "the only process";

/// By what a coordinator leads.
pub(crate) struct Lead {
    pub leases: Leases,
    term: ArcSwap<Term>,
}

/// An epoch in which a coordinator leads.
struct Term {
    fence: Fence,
    basis: Basis,
    /// As long as the lease surely lasts, by this process's own clock.
    sure_until: Mutex<Instant>,
}

enum Basis {
    /// It has the store for itself.
    Alone,
    Lease(Held),
    /// It does not lead.
    Nothing,
}

impl Term {
    fn new(epoch: i64, basis: Basis, sure_until: Instant) -> Term {
        let expires = !matches!(basis, Basis::Alone);
        let fence = Fence { lease: LEADERSHIP, epoch, expires, doubt: Arc::default() };
        Term { fence, basis, sure_until: Mutex::new(sure_until) }
    }

    fn nothing() -> Term {
        Term::new(0, Basis::Nothing, Instant::now())
    }
}

/// The turn to write. What is read of the picture while it is held is what the catalog is, and the picture must show what
/// was committed before it ends.
pub(crate) struct Turn<'a> {
    lead: &'a Lead,
    term: Arc<Term>,
    _writing: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// The only way to a write transaction. It is refused to a coordinator that does not lead.
    pub async fn begin(&self) -> Result<Writing> {
        self.lead.leases.database.begin(&self.term.fence).await
    }
}

impl Coordinator {
    /// Opens the catalog in an SQLite file, which is created if missing and which no other process opens.
    pub async fn open(file: &Path, settings: Settings) -> Result<Coordinator> {
        Coordinator::open_store(&MetadataStore::Sqlite(file.to_path_buf()), settings).await
    }

    /// Opens a catalog that no other process opens: leads from now on, until another opens it or takes the lead. Refused
    /// with [`Error::NotLeader`] while a coordinator of a cluster leads there.
    pub async fn open_store(store: &MetadataStore, settings: Settings) -> Result<Coordinator> {
        let leases = Leases::open(store).await?;
        // As it lasts for no time at all, nobody has to wait for its end.
        let epoch = leases::acquire(&leases.database, (LEADERSHIP, ALONE), 0, "null").await?;
        let Some(epoch) = epoch else {
            leases.close().await;
            return Err(Error::NotLeader(format!("a coordinator of a cluster leads at {store}")));
        };
        let term = Term::new(epoch, Basis::Alone, Instant::now());
        let kept = load(&leases, &term.fence).await?;
        Ok(Coordinator::new(settings, leases, term, Picture::new(kept)))
    }

    /// Takes the lead, if nobody has it: `None` while another leads; ask again after a while. `holder` names this process;
    /// under the name of the present leader, the lead is taken from it. `info` is what others read of the lease.
    pub async fn lead(
        leases: &Leases,
        settings: Settings,
        holder: &str,
        ttl: Duration,
        info: &Value,
    ) -> Result<Option<Coordinator>> {
        let taken = take(leases, holder, ttl, info).await?;
        Ok(taken.map(|(term, kept)| Coordinator::new(settings, leases.clone(), term, Picture::new(kept))))
    }

    /// One that does not lead: it knows documents, [as far as it is told to look](Coordinator::refresh_documents), and
    /// nothing else; whatever else it is asked for is not there, and whatever is to be written is [`Error::NotLeader`].
    pub async fn stand_by(leases: &Leases, settings: Settings) -> Result<Coordinator> {
        let coordinator = Coordinator::new(settings, leases.clone(), Term::nothing(), Picture::default());
        coordinator.refresh_documents().await?;
        Ok(coordinator)
    }

    /// As [`Coordinator::lead`], of one that stands by or has lost the lead: it knows everything anew if it leads now. The
    /// lead is not to be taken while it is still led.
    pub async fn take_lead(&self, holder: &str, ttl: Duration, info: &Value) -> Result<bool> {
        let this = self.clone();
        let (holder, info) = (holder.to_string(), info.clone());
        self.to_its_end(async move {
            let _writing = this.inner.writing.lock().await;
            let Some((term, kept)) = take(&this.inner.lead.leases, &holder, ttl, &info).await? else {
                return Ok(false);
            };
            let version = kept.documents_version;
            {
                let mut picture = this.inner.picture.write();
                *picture = Picture::new(kept);
                picture.fleet.return_ms = this.inner.settings.return_ms;
                // Before anybody is answered.
                this.begin_grants(&picture, term.fence.epoch);
                this.inner.lead.term.store(Arc::new(term));
            }
            this.inner.documents_changed.send_replace(version);
            this.wake();
            Ok(true)
        })
        .await
    }

    fn new(settings: Settings, leases: Leases, term: Term, mut picture: Picture) -> Coordinator {
        picture.fleet.return_ms = settings.return_ms;
        let inner = Inner {
            settings,
            lead: Lead { leases, term: ArcSwap::from_pointee(term) },
            writing: tokio::sync::Mutex::new(()),
            picture: RwLock::new(picture),
            feed: RwLock::default(),
            view_changed: watch::Sender::new(ViewNumber::default()),
            grants: parking_lot::Mutex::default(),
            known: tokio::sync::Notify::new(),
            changed: watch::Sender::new(0),
            documents_changed: watch::Sender::new(0),
            sight: OnceLock::new(),
        };
        let coordinator = Coordinator { inner: Arc::new(inner) };
        coordinator.begin_grants(&coordinator.inner.picture.read(), coordinator.epoch());
        coordinator
    }

    /// Keeps the lead for another time to live. [`Error::NotLeader`] if another has it: this coordinator is to be dropped.
    /// After any other error it is to be tried again.
    pub async fn renew(&self) -> Result<()> {
        let lead = &self.inner.lead;
        let term = lead.term.load_full();
        let held = match &term.basis {
            Basis::Lease(held) => held,
            Basis::Alone => return self.is_alone().await,
            Basis::Nothing => return self.check_lead(),
        };
        let asked_at = Instant::now();
        if !lead.leases.renew(held, None).await? {
            return Err(Error::NotLeader(format!("the lease of epoch {} was taken by another", held.epoch)));
        }
        *term.sure_until.lock() = asked_at + held.ttl;
        Ok(())
    }

    async fn is_alone(&self) -> Result<()> {
        let lead = &self.inner.lead;
        let leases = lead.leases.list(LEADERSHIP).await?;
        match leases.iter().find(|lease| lease.name == LEADERSHIP) {
            Some(lease) if lease.epoch == self.epoch() => Ok(()),
            _ => Err(Error::NotLeader("another process opened the metadata store".to_string())),
        }
    }

    /// Gives the lead back, so that another coordinator need not wait until the lease expires. To be called when nothing is
    /// written any more.
    pub async fn resign(&self) -> Result<()> {
        match &self.inner.lead.term.load().basis {
            Basis::Lease(held) => self.inner.lead.leases.release(held).await,
            Basis::Alone | Basis::Nothing => Ok(()),
        }
    }

    /// Closes the catalog in good order; one that leads by a lease [resigns](Coordinator::resign) and leaves the
    /// connections to who opened them. Nothing is lost without it.
    pub async fn close(&self) {
        match &self.inner.lead.term.load_full().basis {
            Basis::Lease(_) => {
                if let Err(error) = self.resign().await {
                    warn!(%error, "the lead was not given back");
                }
            }
            Basis::Alone => self.inner.lead.leases.close().await,
            Basis::Nothing => {}
        }
    }

    /// In which it leads; greater than that of every leader before. An order of a leader with a smaller one is void.
    pub fn epoch(&self) -> i64 {
        self.inner.lead.term.load().fence.epoch
    }

    /// The name under which it leads, where several may.
    pub(crate) fn holder(&self) -> Option<String> {
        match &self.inner.lead.term.load().basis {
            Basis::Lease(held) => Some(held.holder.clone()),
            Basis::Alone | Basis::Nothing => None,
        }
    }

    /// Whether it surely leads at this moment. False also where it may still do: when the lease was not renewed in time.
    pub fn leads(&self) -> bool {
        self.check_lead().is_ok()
    }

    /// Refuses to speak as the leader when the lease may have expired. What is written asks the metadata store instead.
    pub(crate) fn check_lead(&self) -> Result<()> {
        let term = self.inner.lead.term.load();
        let epoch = term.fence.epoch;
        match term.basis {
            Basis::Alone => Ok(()),
            Basis::Lease(_) if Instant::now() < *term.sure_until.lock() => Ok(()),
            Basis::Lease(_) => Err(Error::NotLeader(format!("the lease of epoch {epoch} was not renewed in time"))),
            Basis::Nothing => Err(Error::NotLeader("it stands by".to_string())),
        }
    }

    /// A connection for reading what is committed.
    pub(crate) async fn read(&self) -> Result<Session> {
        self.inner.lead.leases.database.read().await
    }

    /// Waits for the turn to write.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>> {
        let writing = self.inner.writing.lock().await;
        let lead = &self.inner.lead;
        let term = lead.term.load_full();
        if matches!(term.basis, Basis::Nothing) {
            self.check_lead()?;
        }
        if term.fence.doubt.load(Ordering::SeqCst) {
            self.look_again(&term.fence).await?;
        }
        Ok(Turn { lead, term, _writing: writing })
    }

    /// Puts into the picture what is on record, after a commit of which nobody knows whether it happened. As the store
    /// lets no transaction begin before that one has ended, it is known then.
    async fn look_again(&self, fence: &Fence) -> Result<()> {
        let kept = load(&self.inner.lead.leases, fence).await?;
        fence.doubt.store(false, Ordering::SeqCst);
        let version = kept.documents_version;
        self.inner.picture.write().set_kept(kept);
        warn!("the catalog was read again, as the outcome of a commit was not known");
        self.inner.documents_changed.send_replace(version);
        self.wake();
        Ok(())
    }
}

/// Takes the lease, and reads the catalog. `None` if another has it, or took it meanwhile.
async fn take(leases: &Leases, holder: &str, ttl: Duration, info: &Value) -> Result<Option<(Term, Kept)>> {
    let sure_until = Instant::now() + ttl;
    let Some(held) = leases.acquire(LEADERSHIP, holder, ttl, info).await? else { return Ok(None) };
    let term = Term::new(held.epoch, Basis::Lease(held.clone()), sure_until);
    // A large catalog may take longer to read than the lease lasts.
    let loaded = tokio::select! {
        loaded = load(leases, &term.fence) => loaded,
        () = keep(leases, &held, &term.sure_until) => return Ok(None),
    };
    match loaded {
        Ok(kept) => {
            info!(holder, epoch = held.epoch, "the lead was taken");
            Ok(Some((term, kept)))
        }
        Err(error) => {
            // The next one to try need not wait. If this fails, it does.
            leases.release(&held).await.ok();
            if matches!(error, Error::NotLeader(_)) { Ok(None) } else { Err(error) }
        }
    }
}

/// Renews the lease until it is lost.
async fn keep(leases: &Leases, held: &Held, sure_until: &Mutex<Instant>) {
    loop {
        sleep(held.ttl / 3).await;
        let asked_at = Instant::now();
        match leases.renew(held, None).await {
            Ok(true) => *sure_until.lock() = asked_at + held.ttl,
            Ok(false) => return,
            Err(error) => warn!(%error, "the lease was not renewed"),
        }
    }
}

/// Reads within a write transaction, so that nothing is under way meanwhile.
async fn load(leases: &Leases, fence: &Fence) -> Result<Kept> {
    let mut store = leases.database.begin_long(fence).await?;
    Kept::load(&mut store).await
}
