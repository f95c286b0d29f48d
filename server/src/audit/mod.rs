//! The audit log: who did or tried what, kept as the datasource `sys.audit`.
//!
//! 1. A layer around all requests (`layer.rs`) makes an event of each that matters, when the last byte of its answer is
//!    sent; handlers add what only they know ([`note`]).
//! 2. The event becomes a line of a journal in the data folder. A change of users, roles or policies waits until the line
//!    that announces it is on disk, and is refused if it cannot be written. Everything else never waits.
//! 3. A supervisor that nobody posted reads the journal as it would read a topic: its rows are queryable at once, published
//!    with their positions in one transaction, and restored after a crash. Files whose lines are published are deleted.
//!    In a cluster of roles each node has a journal, a supervisor and a task of its own (`nodes.rs`).

mod copy;
mod event;
mod layer;
mod nodes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use coordinator::{Coordinator, SupervisorSpec};
use ingest::PartitionKey;
use ingest::source::journal::{Journal, JournalLimits, Refused};
use parking_lot::Mutex;
use serde_json::json;

use crate::node::now;

use copy::Copy;

pub use copy::Settings as CopySettings;
pub use event::Event;
pub use layer::{Details, counted, followed, note, record};
pub use nodes::{keep_house_of_node, keep_supervisors};

/// The datasource and the supervisor that feeds it.
pub const DATASOURCE: &str = "sys.audit";

/// What the journal calls itself in folders, and in positions where it is the only one.
const JOURNAL: &str = "audit";

/// Files of the journal: small enough that few published lines are kept.
const FILE_BYTES: u64 = 16 << 20;

/// Lines that are not on disk yet: two seconds of 7,000 queries of 500 bytes.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Memory of the rows that are not yet published.
const BYTES_IN_MEMORY: u64 = 32 << 20;

/// Events a second of requests that anybody can send as fast as the wire is: without credentials, or past a limit. So many
/// show what is going on; more would only fill the disk, and whose log is full may change nothing any more.
const STRANGERS_MAX: u64 = 50;

/// How often published lines are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

const DAY_MS: i64 = 86_400_000;

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
    /// Events that were not taken since the last that was.
    refused: AtomicU64,
    strangers: Strangers,
}

/// How many events of strangers this second has seen.
#[derive(Default)]
struct Strangers(Mutex<(i64, u64)>);

impl Strangers {
    /// Whether one more is recorded.
    fn admit(&self, now: i64) -> bool {
        let (second, seen) = &mut *self.0.lock();
        if *second != now / 1000 {
            (*second, *seen) = (now / 1000, 0);
        }
        *seen += 1;
        *seen <= STRANGERS_MAX
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
        let own = shared_by.map_or(JOURNAL.to_string(), journal_of);
        let published = published(coordinator, DATASOURCE, &own).await?;
        let audit = Audit::of(settings, folder, node, &own, published)?;
        coordinator.put_system_supervisor(supervisor(&audit.settings, DATASOURCE, &own), now()).await?;
        Ok(audit)
    }

    /// Opens the journal of a node among others with roles. `address` is what events say of where they were seen. Whoever
    /// leads puts the supervisor on record once it knows of the node ([`keep_supervisors`]).
    pub async fn open_of_node(
        settings: Settings,
        folder: &std::path::Path,
        address: String,
        node: &str,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Arc<Audit>> {
        let own = journal_of(node);
        let published = published(coordinator, &coordinator::of_node(DATASOURCE, node), &own).await?;
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
            file_bytes: FILE_BYTES,
            bytes_max: settings.journal_bytes_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
        };
        let journal = Arc::new(Journal::open(own, &folder.join(JOURNAL), published, limits)?);
        let copy = settings.copy.as_ref().map(|copy| Copy::start(copy, journal.clone(), folder)).transpose()?;
        let (refused, strangers) = Default::default();
        Ok(Arc::new(Audit { settings, journal, copy, node, refused, strangers }))
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Takes an event that nobody waits for. One that cannot be kept is counted and told in the log.
    pub fn record(&self, event: &Event) {
        let taken = self.journal.append(&event.line(&self.node));
        self.count(event, taken);
    }

    /// Takes an event of a stranger, of whom there may be too many.
    fn record_stranger(&self, event: &Event) {
        match self.strangers.admit(event.time) {
            true => self.record(event),
            false => metrics::counter!("henge_server_audit_events_total", "outcome" => "passed over").increment(1),
        }
    }

    /// Takes an event and returns once it is on disk.
    pub async fn record_synced(&self, event: &Event) -> Result<(), Refused> {
        let taken = self.journal.append_synced(&event.line(&self.node)).await;
        self.count(event, taken.clone());
        taken
    }

    fn count(&self, event: &Event, taken: Result<(), Refused>) {
        let outcome = if taken.is_ok() { "recorded" } else { "lost" };
        metrics::counter!("henge_server_audit_events_total", "outcome" => outcome).increment(1);
        match taken {
            Err(reason) => {
                if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(kind = event.kind, %reason, "an event of the audit log is lost");
                }
            }
            Ok(()) if self.refused.load(Ordering::Relaxed) > 0 => {
                let lost = self.refused.swap(0, Ordering::Relaxed);
                tracing::error!(lost, "the audit log takes events again; these were lost");
            }
            Ok(()) => {}
        }
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
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let Some(audit) = audit.upgrade() else { return };
        if let Err(error) = audit.tidy(&coordinator).await {
            tracing::warn!(%error, "the audit log is not tidied");
        }
    }
}

impl Audit {
    async fn tidy(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        let committed = coordinator.positions(DATASOURCE).await?;
        if let Some(published) = committed.0.get(&self.journal.partition().to_string()).copied() {
            self.forget_before(published).await?;
        }
        self.settings.expire(coordinator).await
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
    /// Takes rows out of use that are too old.
    async fn expire(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        if self.retention_days > 0 {
            let before = now().saturating_sub(self.retention_days as i64 * DAY_MS);
            coordinator.expire_system(DATASOURCE, before, now()).await?;
        }
        Ok(())
    }
}

/// What the journal of a node calls itself. Names of topics hold no colon, and those of nodes no @.
fn journal_of(node: &str) -> String {
    format!("{JOURNAL}-{}", node.replace(':', "@"))
}

/// Up to where a journal is published.
async fn published(coordinator: &Coordinator, supervisor: &str, journal: &str) -> anyhow::Result<i64> {
    let committed = coordinator.positions(supervisor).await?;
    Ok(committed.0.get(&PartitionKey::new(journal.to_string(), 0).to_string()).copied().unwrap_or(0))
}

/// Reads the journal from its first line, whatever is recorded: an audit log that is switched off publishes what it has.
fn supervisor(settings: &Settings, id: &str, journal: &str) -> SupervisorSpec {
    let document = json!({
        "type": ingest::spec::JOURNAL,
        "id": id,
        "spec": {
            "dataSchema": event::data_schema(DATASOURCE),
            "ioConfig": {
                "type": ingest::spec::JOURNAL,
                "topic": journal,
                "inputFormat": {"type": "json"},
                "useEarliestOffset": true,
                "taskDuration": format!("PT{}.{:03}S", settings.publish.as_secs(), settings.publish.subsec_millis()),
            },
            "tuningConfig": {"maxBytesInMemory": BYTES_IN_MEMORY},
        },
    });
    SupervisorSpec {
        id: id.into(),
        datasource: DATASOURCE.into(),
        kind: ingest::spec::JOURNAL.into(),
        source: journal.into(),
        document,
        task_count: 1,
        suspended: false,
        scaling: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_by_the_second() {
        let strangers = Strangers::default();
        let admitted = |now| (0..STRANGERS_MAX * 3).filter(|_| strangers.admit(now)).count() as u64;
        assert_eq!([admitted(5_000), admitted(5_999), admitted(6_000)], [STRANGERS_MAX, 0, STRANGERS_MAX]);
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
        let spec = ingest::spec::SupervisorSpec::from_json(&supervisor(&settings, DATASOURCE, JOURNAL).document)
            .expect("a spec");
        assert_eq!((spec.id.as_str(), spec.io.task_duration_millis), (DATASOURCE, 1500));
        assert!(spec.ignored.is_empty(), "{:?}", spec.ignored);
    }
}
