//! What answers requests, put together: the same for a node that does all there is, for the one that leads, and for one that
//! works for it. What differs are the parts that it is given.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context;
use coordinator::Coordinator;
use ingest::fail::FailPoints;
use ingest::{Ledger, Ports, Worker};
use query::budget::Memory;
use query::cache::Caches;
use query::{Authorizer, Broker};
use query_sql::Sql;
use query_sql::cluster::Cluster;
use segment::inventory::Inventory;
use segment::storage::cache::{CacheSettings, SegmentCache};
use segment::storage::deep::DeepStorage;
use segment::storage::settings::DeepStorageSettings;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::auth::Identity;
use crate::auth::poster::Sights;
use crate::config::Config;
use crate::http::App;
use crate::http::avatica::{self, Connections};
use crate::http::bodies::Bodies;
use crate::http::guard;
use crate::http::manage::lookups;
use crate::http::statements::{self, Statements};
use crate::node::now;
use crate::redis::Redis;
use crate::roles::follow::{Hanging, Standing};
use crate::roles::historical::Historical;
use crate::roles::view::Followed;
use crate::rpc::data::Answers;
use crate::rpc::statements::Siblings;
use crate::samples::{self, Samples};
use crate::traces::Traces;

/// Memory of a streaming task whose spec names no `maxBytesInMemory`.
const BYTES_IN_MEMORY_DEFAULT: usize = 256 << 20;

/// How fast local copies of the last run are read in the background to verify them: little of what a disk gives.
const VERIFY_BYTES_PER_SECOND: u64 = 64 << 20;

/// Rows of the answer of an inner query.
const SUBQUERY_ROWS_MAX: u64 = 1_000_000;

/// Plans of SQL statements that are kept.
const SQL_PLANS_MAX: usize = 512;

/// How often idle JDBC connections are looked for.
const JDBC_LOOK_MIN: Duration = Duration::from_millis(100);
const JDBC_LOOK_MAX: Duration = Duration::from_secs(30);

/// What every process has, whatever it does.
#[derive(Clone)]
pub struct Ground {
    pub config: Config,
    /// `host:port` as others reach it.
    pub address: String,
    pub started: Instant,
    pub deep: DeepStorage,
    pub audit: Arc<Audit>,
    pub samples: Arc<Samples>,
    pub shared: Shared,
    /// By which others tell this process from one that had the node's name before.
    pub process: u64,
    pub stopping: watch::Receiver<bool>,
    /// Changes before `stopping` does, while requests are taken yet.
    pub leaving: watch::Receiver<bool>,
}

/// What all that a process does takes from.
#[derive(Clone)]
pub struct Shared {
    memory: Arc<Memory>,
    bodies: Arc<Bodies>,
    traces: Traces,
    /// Where answers are kept, if they are.
    caches: Option<Arc<Caches>>,
}

impl Shared {
    pub fn new(config: &Config, traces: Traces) -> Shared {
        Shared {
            memory: Arc::new(Memory::new(config.query_memory_total_bytes)),
            bodies: Bodies::new(config.bodies_max_bytes),
            traces,
            caches: config.cache.is_on().then(|| {
                let beyond = config.cache.redis.clone().map(Redis::start);
                Caches::new(config.cache.kept.clone(), beyond)
            }),
        }
    }
}

/// What of a node differs by what it does.
pub struct Parts {
    pub coordinator: Arc<Coordinator>,
    pub standing: Standing,
    pub inventory: Arc<Inventory>,
    pub broker: Arc<Broker>,
    /// `None` where no segments are served.
    pub historical: Option<Arc<Historical>>,
    pub worker: Arc<Worker>,
    pub cluster: Arc<dyn Cluster>,
    /// Where rows are, if they are on other nodes.
    pub view: Option<Arc<Followed>>,
    /// What other nodes may ask, if any may.
    pub answers: Option<Arc<Answers>>,
    pub takes_queries: bool,
    /// What else takes statements, if anything does.
    pub siblings: Option<Siblings>,
}

impl Ground {
    pub fn folder(&self, name: &str) -> PathBuf {
        self.config.data_dir.join(name)
    }

    pub fn query_settings(&self) -> query::Settings {
        let config = &self.config;
        query::Settings {
            threads: config.query_threads,
            queries_max: config.query_concurrent_max,
            lanes: Arc::new(config.query_lanes.clone()),
            timeout_default: Duration::from_millis(config.query_timeout_ms),
            timeout_max: Duration::from_millis(config.query_timeout_max_ms),
            memory_bytes: config.query_memory_max_bytes as u64,
            memory: self.shared.memory.clone(),
            subquery_rows_max: SUBQUERY_ROWS_MAX,
            policy_cache_bytes: config.query_policy_cache_bytes,
            default_context: Arc::new(config.query_default_context.clone()),
        }
    }

    /// The same broker, which keeps answers where this process does.
    pub fn keeping(&self, broker: Arc<Broker>) -> Arc<Broker> {
        self.shared.caches.iter().for_each(|caches| broker.keep_in(caches.clone()));
        broker
    }

    pub fn historical(&self, inventory: &Arc<Inventory>) -> anyhow::Result<Arc<Historical>> {
        let cache = CacheSettings {
            folder: self.folder("segments"),
            bytes_max: self.config.cache_max_bytes,
            verify_bytes_per_second: VERIFY_BYTES_PER_SECOND,
        };
        let cache = SegmentCache::open(cache, self.deep.clone())?;
        let historical = Arc::new(Historical::new(
            inventory.clone(),
            cache,
            self.config.cluster.split.is_some(),
            self.shared.traces.clone(),
        ));
        tokio::spawn(Historical::keep_verified(Arc::downgrade(&historical)));
        Ok(historical)
    }

    pub fn worker(&self, ledger: &Arc<dyn Ledger>, inventory: &Arc<Inventory>) -> anyhow::Result<Arc<Worker>> {
        let config = &self.config;
        let fail_points = config.fail_point.as_deref().map(FailPoints::kill).transpose()?.unwrap_or_default();
        let ports = Ports {
            ledger: ledger.clone(),
            inventory: inventory.clone(),
            deep: self.deep.clone(),
            journals: vec![self.audit.journal().clone(), self.samples.journal().clone()],
            steps: self.steps(),
        };
        let any = config.local_sources.iter().any(|folder| folder == "*");
        let settings = ingest::Settings {
            folder: self.folder("tasks"),
            clock: Arc::new(now),
            bytes_in_memory_default: BYTES_IN_MEMORY_DEFAULT,
            sources: ingest::LocalSources {
                allowed: if any { Vec::new() } else { config.local_sources.iter().map(Into::into).collect() },
                closed: closed_to_input(config),
            },
            http: Arc::new(config.http_sources.clone()),
            fail_points,
            spread: config.cluster.split.is_some(),
        };
        Ok(Worker::new(ports, settings))
    }

    pub fn traces(&self) -> Traces {
        self.shared.traces.clone()
    }

    /// Who is told of what tasks do with segments.
    fn steps(&self) -> ingest::Steps {
        let traces = self.shared.traces.clone();
        Arc::new(move |id, step, rows| Box::new(traces.segment(id, step, rows)))
    }

    /// What answers requests; with the password of the user `admin`, if it was made just now.
    pub async fn assemble(&self, parts: Parts) -> anyhow::Result<(Arc<App>, Option<String>)> {
        let config = self.config.clone();
        let authorizer: Arc<Authorizer> = parts.broker.authorizer().clone();
        let settings = query_sql::Settings { push_down: true, plans_max: SQL_PLANS_MAX };
        let sql = Sql::new(parts.broker.clone(), parts.cluster.clone(), settings);
        let (identity, first_password) =
            Identity::open(config.auth.clone(), parts.coordinator.clone(), authorizer, sql.clone()).await?;
        parts.coordinator.ask_of_sight(Arc::new(Sights(Arc::downgrade(&identity))));
        let lookups = lookups::Store::open(parts.coordinator.clone(), parts.broker.lookups().clone());
        if let Standing::Follows(follower) = &parts.standing {
            let rows = parts.answers.as_ref().map(|answers| Arc::downgrade(&answers.rows));
            let (identity, lookups) = (Arc::downgrade(&identity), Arc::downgrade(&lookups));
            follower.tell(Hanging { identity, lookups, rows }).await;
        }
        let jdbc = Arc::new(Connections::new(config.jdbc.clone()));
        let look = (config.jdbc.idle / 2).clamp(JDBC_LOOK_MIN, JDBC_LOOK_MAX);
        tokio::spawn(avatica::expire(Arc::downgrade(&jdbc), look));
        let objects = self.deep.objects(statements::FOLDER);
        let app = Arc::new(App {
            bodies: self.shared.bodies.clone(),
            traces: self.shared.traces.clone(),
            rates: guard::Rates::new(config.requests_per_second),
            address: self.address.clone(),
            inventory: parts.inventory,
            audit: self.audit.clone(),
            broker: parts.broker,
            sql,
            coordinator: parts.coordinator,
            standing: parts.standing,
            worker: parts.worker,
            cluster: parts.cluster,
            answers: parts.answers,
            takes_queries: parts.takes_queries,
            historical: parts.historical,
            lookups,
            jdbc,
            flight: crate::http::flight::Handles::new(config.flight.clone()),
            statements: Statements::new(
                objects,
                parts.siblings,
                config.statement_ttl,
                config.statement_bytes_max,
                config.statement_owner_bytes_max,
            ),
            identity,
            metrics: crate::telemetry::metrics(),
            memory: self.shared.memory.clone(),
            ready: AtomicBool::new(false),
            view: parts.view,
            started: self.started,
            stopping: self.stopping.clone(),
            leaving: self.leaving.clone(),
            config,
        });
        tokio::spawn(statements::expire(Arc::downgrade(&app)));
        Ok((app, first_password))
    }

    /// Keeps samples of what a process at work says of itself.
    pub fn sample(&self, app: &Arc<App>) {
        let app = Arc::downgrade(app);
        let families = move || app.upgrade().map(|app| app.families());
        tokio::spawn(samples::record(Arc::downgrade(&self.samples), families));
    }
}

/// The only node that works is that of the coordinator's own process, which does not lose itself.
const NEVER_LOST_MS: i64 = i64::MAX;

pub fn coordinator_settings(config: &Config) -> coordinator::Settings {
    coordinator::Settings {
        tasks_max: config.tasks_max,
        task_failures_max: 3,
        restart_after_ms: 1_000,
        restart_after_max_ms: 60_000,
        node_lease_ms: match config.cluster.split {
            Some(_) => config.cluster.node_lease_ms,
            None => NEVER_LOST_MS,
        },
        return_ms: config.cluster.return_ms,
    }
}

/// Makes the folders of a process, and opens what it keeps segments in.
pub fn prepare(config: &Config) -> anyhow::Result<DeepStorage> {
    for name in ["tasks", "segments"] {
        let folder = config.data_dir.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    Ok(DeepStorage::open(&config.deep_storage)?)
}

/// What tasks may not read as input: what this process keeps, and the secrets that it is given in files, that of its
/// settings among them.
fn closed_to_input(config: &Config) -> Vec<PathBuf> {
    let mut closed = vec![config.data_dir.clone()];
    closed.extend(match &config.deep_storage {
        DeepStorageSettings::Local(folder) => Some(folder.clone()),
        DeepStorageSettings::S3(_) => None,
    });
    closed.extend(config.file.clone());
    closed.extend(config.audit.copy.as_ref().map(|copy| copy.properties.clone()));
    closed.extend(config.tls.iter().flat_map(|tls| [tls.key.clone(), tls.certificate.clone()]));
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_and_the_secrets_in_files_are_closed_to_input() {
        let flags = [
            ("data_dir", "/h/data"),
            ("storage.deep", "/h/deep"),
            ("audit.kafka_topic", "copy"),
            ("audit.kafka_properties", "/h/kafka.properties"),
            ("tls.certificate", "/h/certificate.pem"),
            ("tls.key", "/h/key.pem"),
        ];
        let flags = flags.map(|(key, value)| (key.to_string(), value.to_string()));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let config = Config::load(Some(file.path()), std::iter::empty(), &flags).expect("valid settings");
        let [data, deep, rest @ ..] =
            ["/h/data", "/h/deep", "/h/kafka.properties", "/h/key.pem", "/h/certificate.pem"].map(PathBuf::from);
        assert_eq!(closed_to_input(&config), [&[data, deep, file.path().to_path_buf()], &rest[..]].concat());
    }
}
