//! The audit log: who did or tried what, kept as the datasource `sys.audit`.
//!
//! 1. A layer around all requests (`layer.rs`) makes an event of each that matters, when the last byte of its answer is
//!    sent; handlers add what only they know ([`note`]).
//! 2. The event becomes a line of a journal in the data folder. A change of users, roles or policies waits until the line
//!    that announces it is on disk, and is refused if it cannot be written. Everything else never waits. A quarter of the
//!    journal is kept for such changes by administrators, so that nobody fills it with what is ordinary; and queries, of
//!    one sender or of all, have a share of what is ordinary (`shares.rs`).
//! 3. A supervisor that nobody posted reads the journal as it would read a topic: its rows are queryable at once, published
//!    with their positions in one transaction, and restored after a crash. Files whose lines are published are deleted.
//!    In a cluster of roles each node has a journal, a supervisor and a task of its own ([`journaled`](crate::journaled)).

mod copy;
mod event;
mod layer;
mod nodes;
mod paths;
mod shares;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use coordinator::Coordinator;
use ingest::source::journal::{Journal, JournalLimits, Refused, Room};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::journaled::Journaled;
use crate::node::now;

use copy::Copy;
use shares::Shares;

pub use copy::Settings as CopySettings;
pub use event::Event;
pub use layer::{Details, counted, followed, note, record};
pub use nodes::keep_house_of_node;

/// The datasource and the supervisor that feeds it.
pub const DATASOURCE: &str = "sys.audit";

/// What the journal calls itself in folders, and in positions where it is the only one.
const JOURNAL: &str = "audit";

/// Files of the journal: small enough that few published lines are kept. A small journal has at least so many.
const FILE_BYTES: u64 = 16 << 20;
const FILES: u64 = 16;

/// Lines that are not on disk yet: two seconds of 7,000 queries of 500 bytes.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Memory of the rows that are not yet published.
const BYTES_IN_MEMORY: u64 = 32 << 20;

/// Events a second of requests that were not answered and whose senders are not known: anybody can send them as fast as the
/// wire is. So many show what is going on; more would only fill the disk.
const STRANGERS_MAX: u64 = 50;

/// As many of each who is known.
const KNOWN_MAX: u64 = 100;

/// Those who are known and told apart within a second.
const KNOWN_APART_MAX: usize = 10_000;

/// How often published lines are looked for, and how often while the journal fills.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
const HOUSEKEEPING_IN_HASTE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Settings {
    pub enabled: bool,
    /// Whether queries are recorded too.
    pub queries: bool,
    /// How often rows are published.
    pub publish: Duration,
    /// Days that rows are kept; 0 for ever.
    pub retention_days: u64,
    pub journal_bytes_max: u64,
    /// The topic that gets a copy.
    pub copy: Option<CopySettings>,
}

pub struct Audit {
    settings: Settings,
    journal: Arc<Journal>,
    copy: Option<Copy>,
    node: String,
    /// Events that were not taken, since the log told of them.
    lost: AtomicU64,
    unanswered: Unanswered,
    shares: Shares,
}

/// What this second has seen of events that are not all recorded.
#[derive(Default)]
struct Unanswered(Mutex<Second>);

#[derive(Default)]
struct Second {
    number: i64,
    strangers: u64,
    known: HashMap<String, u64>,
}

impl Unanswered {
    /// Whether one more of a sender is recorded; `None` is a stranger.
    fn admit(&self, sender: Option<&str>, now: i64) -> bool {
        let second = &mut *self.0.lock();
        if second.number != now / 1000 {
            *second = Second { number: now / 1000, ..Second::default() };
        }
        let (seen, most) = match sender {
            None => (&mut second.strangers, STRANGERS_MAX),
            Some(sender) if second.known.contains_key(sender) || second.known.len() < KNOWN_APART_MAX => {
                (second.known.entry(sender.to_string()).or_default(), KNOWN_MAX)
            }
            Some(_) => return false,
        };
        *seen += 1;
        *seen <= most
    }
}

impl Audit {
    /// Opens the journal and puts the supervisor that reads it on record. `node` is what events say of where they were
    /// seen; `shared_by` is the name of this node, where others use the same catalog.
    pub async fn open(
        settings: Settings,
        folder: &std::path::Path,
        node: String,
        shared_by: Option<&str>,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Arc<Audit>> {
        // Each node that shares the catalog has a journal of its own, with a position of its own.
        let journaled = settings.journaled();
        let own = shared_by.map_or(JOURNAL.to_string(), |node| journaled.journal_of(node));
        let published = journaled.published(coordinator, DATASOURCE, &own).await?;
        let audit = Audit::of(settings, folder, node, &own, published)?;
        coordinator.put_system_supervisor(journaled.supervisor(DATASOURCE, &own), now()).await?;
        Ok(audit)
    }

    /// Opens the journal of a node among others with roles. `address` is what events say of where they were seen. Whoever
    /// leads puts the supervisor on record once it knows of the node.
    pub async fn open_of_node(
        settings: Settings,
        folder: &std::path::Path,
        address: String,
        node: &str,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Arc<Audit>> {
        let journaled = settings.journaled();
        let own = journaled.journal_of(node);
        let published = journaled.published(coordinator, &coordinator::of_node(DATASOURCE, node), &own).await?;
        Audit::of(settings, folder, address, &own, published)
    }

    fn of(
        settings: Settings,
        folder: &std::path::Path,
        node: String,
        own: &str,
        published: i64,
    ) -> anyhow::Result<Arc<Audit>> {
        let limits = JournalLimits {
            file_bytes: FILE_BYTES.min(settings.journal_bytes_max / FILES),
            bytes_max: settings.journal_bytes_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
        };
        let journal = Arc::new(Journal::open(own, &folder.join(JOURNAL), published, limits)?);
        let copy = settings.copy.as_ref().map(|copy| Copy::start(copy, journal.clone(), folder)).transpose()?;
        let (lost, unanswered) = Default::default();
        let shares = Shares::new(settings.journal_bytes_max, QUEUE_BYTES_MAX as u64);
        Ok(Arc::new(Audit { settings, journal, copy, node, lost, unanswered, shares }))
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Takes an event that nobody waits for. One that cannot be kept is counted and told in the log.
    pub fn record(&self, event: &Event) {
        let taken = self.journal.append(&event.line(&self.node));
        self.count(event, taken.err());
    }

    /// As [`Audit::record`]: of queries that are let in, a sender may make as many as there is time for. `None` is a stranger.
    fn record_of(&self, event: &Event, sender: Option<&str>) {
        let sender = sender.filter(|_| event.kind == "query" && event.outcome != "denied");
        match sender {
            Some(sender) => self.count(event, self.shares.append(&self.journal, sender, &event.line(&self.node)).err()),
            None => self.record(event),
        }
    }

    /// Takes an event of a request that was not answered, of which its sender may make too many. `None` is a stranger.
    fn record_unanswered(&self, event: &Event, sender: Option<&str>) {
        // Not by the times of the events: requests that end late would begin a second anew.
        match self.unanswered.admit(sender, now()) {
            true => self.record_of(event, sender),
            false => metrics::counter!("henge_server_audit_events_total", "outcome" => "passed over").increment(1),
        }
    }

    /// Takes an event and returns once it is on disk.
    pub async fn record_synced(&self, event: &Event, room: Room) -> Result<(), Refused> {
        let taken = self.journal.append_synced(&event.line(&self.node), room).await;
        self.count(event, taken.clone().err());
        taken
    }

    fn count(&self, event: &Event, lost: Option<impl std::fmt::Display>) {
        let outcome = if lost.is_none() { "recorded" } else { "lost" };
        metrics::counter!("henge_server_audit_events_total", "outcome" => outcome).increment(1);
        if let Some(reason) = lost
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::error!(kind = event.kind, %reason, "an event of the audit log is lost");
        }
    }

    /// Has the log say how many events were lost since the last time: where there is room for some and not for others, a
    /// line for each would fill the log.
    fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 1 {
            tracing::error!(lost, "events of the audit log are lost, with the first of them");
        }
    }

    /// Whether so much waits that published lines have to go soon.
    fn is_filling(&self) -> bool {
        self.journal.bytes() > self.settings.journal_bytes_max / 4
    }

    /// Writes what is queued; later events are lost.
    pub async fn close(self: &Arc<Audit>) {
        let audit = self.clone();
        let close = move || {
            audit.journal.close();
            if let Some(copy) = &audit.copy {
                copy.stop();
            }
        };
        // A panic there has been printed.
        let _ = tokio::task::spawn_blocking(close).await;
    }
}

/// Deletes published lines of the journal, and takes rows out of use that are too old, for as long as the node runs.
pub async fn keep_house(audit: Weak<Audit>, coordinator: Arc<Coordinator>) {
    while let Some(audit) = rest(&audit, HOUSEKEEPING).await {
        if let Err(error) = audit.tidy(&coordinator).await {
            tracing::warn!(%error, "the audit log is not tidied");
        }
    }
}

/// Returns when it is time to look for published lines: after `rest`, or soon while the journal fills. `None` when nobody
/// has the log any more.
async fn rest(audit: &Weak<Audit>, rest: Duration) -> Option<Arc<Audit>> {
    let began = Instant::now();
    loop {
        tokio::time::sleep(HOUSEKEEPING_IN_HASTE).await;
        let audit = audit.upgrade()?;
        if began.elapsed() >= rest || audit.is_filling() {
            audit.tell_lost();
            return Some(audit);
        }
    }
}

impl Audit {
    async fn tidy(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        let committed = coordinator.positions(DATASOURCE).await?;
        if let Some(published) = committed.0.get(&self.journal.partition().to_string()).copied() {
            self.forget_before(published).await?;
        }
        Ok(self.settings.journaled().expire(coordinator).await?)
    }

    /// Deletes files of the journal whose lines are published, and were copied.
    async fn forget_before(&self, published: i64) -> anyhow::Result<()> {
        metrics::gauge!("henge_server_audit_journal_bytes").set(self.journal.bytes() as f64);
        let journal = self.journal.clone();
        // What Kafka lacks is kept for it, while there is room.
        let roomy = journal.bytes() < self.settings.journal_bytes_max / 2;
        let done = self.copy.as_ref().filter(|_| roomy).map_or(published, |copy| copy.upto().min(published));
        tokio::task::spawn_blocking(move || journal.forget_before(done)).await??;
        Ok(())
    }
}

impl Settings {
    /// As it is read and kept.
    pub fn journaled(&self) -> Journaled {
        Journaled {
            datasource: DATASOURCE,
            journal: JOURNAL,
            data_schema: event::data_schema(DATASOURCE),
            publish: self.publish,
            retention_days: self.retention_days,
            bytes_in_memory: BYTES_IN_MEMORY,
            rows_max: rows_max(self),
            is_told: false,
        }
    }
}

/// Rows that are published as soon as there are so many: the longest lines that there may be take all the room of ordinary
/// ones by then, and the longest of queries, which are half as long, half of it.
fn rows_max(settings: &Settings) -> u64 {
    (Room::Ordinary.of(settings.journal_bytes_max) / event::LINE_BYTES_MAX).max(1)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{delete, post};
    use tower::Service;

    use super::*;

    #[test]
    fn what_is_not_answered_is_counted_by_the_second_and_the_sender() {
        let unanswered = Unanswered::default();
        let admitted = |sender, now| (0..500).filter(|_| unanswered.admit(sender, now)).count() as u64;
        for now in [5_000, 6_000] {
            assert_eq!([admitted(None, now), admitted(None, now + 999)], [STRANGERS_MAX, 0]);
            assert_eq!([admitted(Some("ann"), now), admitted(Some("ann"), now + 999)], [KNOWN_MAX, 0]);
            assert_eq!(admitted(Some("bob"), now), KNOWN_MAX);
        }
        let names = (0..KNOWN_APART_MAX * 2).map(|n| n.to_string());
        assert_eq!(names.filter(|name| unanswered.admit(Some(name), 7_000)).count(), KNOWN_APART_MAX);
        assert_eq!(admitted(None, 7_000), STRANGERS_MAX);
    }

    /// Whatever else of its sender comes within the same second: what was let in may be done by now.
    #[tokio::test]
    async fn a_change_whose_sender_hangs_up_is_recorded_beside_any_number_of_failures() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            enabled: true,
            queries: true,
            publish: Duration::from_secs(1),
            retention_days: 0,
            journal_bytes_max: 64 << 20,
            copy: None,
        };
        let audit = Audit::of(settings, dir.path(), "node".into(), JOURNAL, 0).unwrap();
        let known = |let_in| note(|of| (of.user, of.let_in) = (Some("eve".to_string()), let_in));
        let fails = move || async move {
            known(false);
            StatusCode::BAD_REQUEST
        };
        let hangs = move || async move {
            known(true);
            std::future::pending::<StatusCode>().await
        };
        let breaks = move || async move {
            known(true);
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let router = axum::Router::new()
            .route("/druid/indexer/v1/task", post(fails))
            .route("/druid/coordinator/v1/datasources/let-in", delete(hangs))
            .route("/druid/coordinator/v1/datasources/broken", delete(breaks))
            .layer(from_fn_with_state(audit.clone(), record));
        let send = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            Box::pin(router.clone().call(request))
        };
        for _ in 0..5 * KNOWN_MAX {
            assert_eq!(send("POST", "/druid/indexer/v1/task").await.unwrap().status(), StatusCode::BAD_REQUEST);
        }
        for _ in 0..5 * KNOWN_MAX {
            let mut asked = send("DELETE", "/druid/coordinator/v1/datasources/let-in");
            assert!(futures::poll!(&mut asked).is_pending());
            drop(asked);
            let broken = send("DELETE", "/druid/coordinator/v1/datasources/broken").await.unwrap();
            assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        audit.close().await;
        let files = std::fs::read_dir(dir.path().join(JOURNAL)).unwrap();
        let lines: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        let lines = String::from_utf8_lossy(&lines);
        let of = |name: &str| lines.matches(&format!("\"object\":\"{name}\"")).count() as u64;
        assert_eq!((of("let-in"), of("broken")), (5 * KNOWN_MAX, 5 * KNOWN_MAX));
    }

    #[test]
    fn the_supervisor_is_one_that_tasks_can_read() {
        let settings = Settings {
            enabled: true,
            queries: true,
            publish: Duration::from_millis(1500),
            retention_days: 0,
            journal_bytes_max: 1,
            copy: None,
        };
        let document = settings.journaled().supervisor(DATASOURCE, JOURNAL).document;
        let spec = ingest::spec::SupervisorSpec::from_json(&document).expect("a spec");
        assert_eq!((spec.id.as_str(), spec.io.task_duration_millis), (DATASOURCE, 1500));
        assert!(spec.ignored.is_empty(), "{:?}", spec.ignored);
        assert_eq!(spec.tuning.max_total_rows, 1);
        let settings = Settings { journal_bytes_max: 1 << 30, ..settings };
        assert_eq!(rows_max(&settings), (768 << 20) / (32 << 10));
    }
}
