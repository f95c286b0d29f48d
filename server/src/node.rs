//! A node: builds what the roles need, starts it in order, keeps it in line with the coordinator, stops it in order.
//!
//! 1. The listener binds: from here `/status/health` says 503, and whatever else is asked is refused.
//! 2. The catalog opens, once this node leads where others share it ([`lead`]); every datasource with an active supervisor is
//!    marked incomplete until its tasks have caught up.
//! 3. Published segments load; the node is ready.
//! 4. The loop: the coordinator's cycle, a heartbeat, its orders carried out, whenever something changed.
//! 5. At the stop: requests end, tasks keep what they hold on disk, the catalog closes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::serve::{Listener, ListenerExt, TapIo};
use axum::{Extension, Router};
use coordinator::{Command, Coordinator, Member, Report, Role, Served, TaskFilter, TaskState};
use futures::future::OptionFuture;
use ingest::Worker;
use ingest::fail::FailPoints;
use query::{Authorizer, Broker};
use query_sql::Sql;
use segment::Interval;
use segment::inventory::{Change, Inventory};
use segment::storage::cache::{CacheSettings, SegmentCache};
use segment::storage::deep::DeepStorage;
use segment::storage::settings::DeepStorageSettings;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::audit::{self, Audit};
use crate::auth::{self, Identity};
use crate::config::Config;
use crate::http::avatica::{self, Connections};
use crate::http::guard::{self, Encrypted};
use crate::http::manage::lookups;
use crate::http::statements::{self, Statements};
use crate::http::{App, router};
use crate::lead::{self, Front};
use crate::roles::cluster::LocalCluster;
use crate::roles::historical::Historical;
use crate::roles::ingest as tasks;
use crate::roles::ledger::LocalLedger;
use crate::tls::{self, Certificates, TlsListener};

/// Memory of a streaming task whose spec names no `maxBytesInMemory`.
const BYTES_IN_MEMORY_DEFAULT: usize = 256 << 20;

/// How fast local copies of the last run are read in the background to verify them: little of what a disk gives.
const VERIFY_BYTES_PER_SECOND: u64 = 64 << 20;

/// Rows of the answer of an inner query.
const SUBQUERY_ROWS_MAX: u64 = 1_000_000;

/// The only node that works is that of the coordinator's own process, which does not lose itself.
const NODE_LEASE_MS: i64 = i64::MAX;

/// Where a node stands that says nothing else.
const TIER_DEFAULT: &str = "_default_tier";

/// Plans of SQL statements that are kept.
const SQL_PLANS_MAX: usize = 512;

/// How often idle JDBC connections are looked for.
const JDBC_LOOK_MIN: Duration = Duration::from_millis(100);
const JDBC_LOOK_MAX: Duration = Duration::from_secs(30);

/// A request that is still answered when the process stops has this long.
const DRAIN: Duration = Duration::from_secs(10);

/// A running node. [`Node::stop`] ends it in good order; dropping it is a crash.
pub struct Node {
    pub app: Arc<App>,
    /// Of the user `admin`, if it was made at this start and nobody has been told.
    pub first_password: Option<String>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    leading: tokio::task::JoinHandle<Option<coordinator::Error>>,
    /// Ends `leading`.
    resign: oneshot::Sender<()>,
    keeping: tokio::task::JoinHandle<()>,
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
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

impl Node {
    pub async fn start(config: Config) -> anyhow::Result<Node> {
        let started = Instant::now();
        let folder = |name: &str| config.data_dir.join(name);
        for name in ["tasks", "segments"] {
            std::fs::create_dir_all(folder(name)).with_context(|| format!("creating {}", folder(name).display()))?;
        }
        let fail_points = config.fail_point.as_deref().map(FailPoints::kill).transpose()?.unwrap_or_default();
        let deep = DeepStorage::open(&config.deep_storage)?;
        let cache = CacheSettings {
            folder: folder("segments"),
            bytes_max: config.cache_max_bytes,
            verify_bytes_per_second: VERIFY_BYTES_PER_SECOND,
        };
        let cache = SegmentCache::open(cache, deep.clone())?;
        let doors = Doors::open(&config).await?;
        let address = match &config.cluster.address {
            Some(address) => address.clone(),
            None => doors.address()?,
        };
        let node = config.cluster.node.clone().unwrap_or_else(|| address.clone());
        let (tls_address, front) = (doors.tls_address()?, Front::default());
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(doors.serve(front.router(), stopping.clone()));

        let settings = coordinator::Settings {
            tasks_max: config.tasks_max,
            task_failures_max: 3,
            restart_after_ms: 1_000,
            restart_after_max_ms: 60_000,
            node_lease_ms: NODE_LEASE_MS,
        };
        let coordinator = lead::take(&config.cluster, settings, &node, &address)
            .await
            .with_context(|| format!("opening the catalog {}", config.cluster.metadata))?;
        // Other nodes stand by while this one works.
        coordinator.expect_nobody();
        let (resign, resigning) = oneshot::channel();
        let leading = tokio::spawn(lead::keep(coordinator.clone(), config.cluster.lease, resigning));

        let shared_by = config.cluster.is_shared().then_some(node.as_str());
        let audit = Audit::open(config.audit.clone(), &config.data_dir, address.clone(), shared_by, &coordinator)
            .await
            .context("opening the journal of the audit log")?;
        tokio::spawn(audit::keep_house(Arc::downgrade(&audit), coordinator.clone()));

        let inventory = Arc::new(Inventory::new());
        inventory.apply(incomplete_until_caught_up(&coordinator).await?);

        let clock: ingest::Clock = Arc::new(now);
        let ports = ingest::Ports {
            ledger: Arc::new(LocalLedger {
                coordinator: coordinator.clone(),
                clock: clock.clone(),
                node: node.clone(),
            }),
            inventory: inventory.clone(),
            deep: deep.clone(),
            journal: Some(audit.journal().clone()),
        };
        let any = config.local_sources.iter().any(|folder| folder == "*");
        let worker = Worker::new(
            ports,
            ingest::Settings {
                folder: folder("tasks"),
                clock,
                bytes_in_memory_default: BYTES_IN_MEMORY_DEFAULT,
                sources: ingest::LocalSources {
                    allowed: if any { Vec::new() } else { config.local_sources.iter().map(Into::into).collect() },
                    closed: closed_to_input(&config),
                },
                http: Arc::new(config.http_sources.clone()),
                fail_points,
            },
        );
        let rules = auth::roles::load(&coordinator).await.context("the roles of the catalog")?;
        let authorizer = Authorizer::new(rules);
        let broker = Broker::new(
            inventory.clone(),
            query::Settings {
                threads: config.query_threads,
                queries_max: config.query_concurrent_max,
                timeout_default: Duration::from_millis(config.query_timeout_ms),
                timeout_max: Duration::from_millis(config.query_timeout_max_ms),
                memory_bytes: config.query_memory_max_bytes as u64,
                subquery_rows_max: SUBQUERY_ROWS_MAX,
                policy_cache_bytes: config.query_policy_cache_bytes,
                default_context: Arc::new(config.query_default_context.clone()),
            },
            authorizer.clone(),
        );
        let cluster = LocalCluster {
            coordinator: coordinator.clone(),
            inventory: inventory.clone(),
            authorizer: authorizer.clone(),
            address: address.clone(),
            started: now(),
            properties: crate::http::status::settings(&config, &address),
        };
        let settings = query_sql::Settings { push_down: true, plans_max: SQL_PLANS_MAX };
        let sql = Sql::new(broker.clone(), Arc::new(cluster), settings);
        let (identity, first_password) =
            Identity::open(config.auth.clone(), coordinator.clone(), authorizer, sql.clone()).await?;
        crate::metrics::describe();
        let cycle = Duration::from_millis(config.cycle_ms);
        let statement_objects = deep.objects(statements::FOLDER);
        let historical = Arc::new(Historical::new(inventory.clone(), cache));
        tokio::spawn(Historical::keep_verified(Arc::downgrade(&historical)));
        let lookups = lookups::Store::open(coordinator.clone(), broker.lookups().clone());
        let jdbc = Arc::new(Connections::new(config.jdbc.clone()));
        tokio::spawn(avatica::expire(
            Arc::downgrade(&jdbc),
            (config.jdbc.idle / 2).clamp(JDBC_LOOK_MIN, JDBC_LOOK_MAX),
        ));
        let flight = crate::http::flight::Handles::new(config.flight.clone());
        let statements = Statements::new(statement_objects, config.statement_ttl, config.statement_bytes_max);
        let app = Arc::new(App {
            rates: guard::Rates::new(config.requests_per_second),
            config,
            address,
            inventory,
            audit,
            broker,
            sql,
            coordinator,
            worker,
            historical,
            lookups,
            jdbc,
            flight,
            statements,
            identity,
            metrics: crate::telemetry::metrics(),
            ready: AtomicBool::new(false),
            started,
        });
        tokio::spawn(statements::expire(Arc::downgrade(&app)));
        // Here, so that what is wrong with the routes ends the start, and not a task that nobody looks at.
        front.open(router(app.clone()));
        let keeping = tokio::spawn(keep_in_line(app.clone(), cycle, stopping));
        while !app.ready.load(Ordering::Acquire) {
            anyhow::ensure!(!keeping.is_finished(), "the node's loop ended at the start");
            anyhow::ensure!(!serving.is_finished(), "what serves requests ended at the start");
            anyhow::ensure!(!leading.is_finished(), "another node took the lead at the start");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tracing::info!(address = %app.address, tls = tls_address, ms = started.elapsed().as_millis() as u64, "serving");
        Ok(Node { app, first_password, stop, serving, leading, resign, keeping })
    }

    /// Returns when the node is not at work any more though nobody has stopped it, with the reason: requests are not served,
    /// or another node leads.
    pub async fn broken(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = &mut self.serving => match ended {
                Ok(()) => anyhow::anyhow!("what serves requests has ended by itself"),
                Err(error) => anyhow::Error::new(error).context("what serves requests has failed"),
            },
            lost = &mut self.leading => match lost {
                Ok(Some(error)) => anyhow::Error::new(error).context("this node does not lead any more"),
                Ok(None) => anyhow::anyhow!("what keeps the lead has ended by itself"),
                Err(error) => anyhow::Error::new(error).context("what keeps the lead has failed"),
            },
        }
    }

    /// Ends requests, tasks and the catalog, in this order, and gives the lead back. What tasks read stays on disk for the
    /// next start.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let mut serving = self.serving;
        if !serving.is_finished() && tokio::time::timeout(DRAIN, &mut serving).await.is_err() {
            serving.abort();
            tracing::warn!("requests were still being answered and are cut off");
        }
        self.keeping.await.context("the node's loop")?;
        self.app.audit.close().await;
        self.app.worker.shutdown().await?;
        // Nothing is written any more: now another node may.
        let _ = self.resign.send(());
        while !self.leading.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.app.coordinator.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Marks what supervisors feed that are active, or whose last tasks did not end: after a restart their rows are not all
/// here yet.
async fn incomplete_until_caught_up(coordinator: &Coordinator) -> coordinator::Result<Vec<Change>> {
    let mut fed: BTreeSet<(String, String)> = BTreeSet::new();
    let mut supervisors = coordinator.supervisors();
    supervisors.extend(coordinator.system_supervisors());
    let active = supervisors.into_iter().filter(|supervisor| !supervisor.spec.suspended);
    fed.extend(active.map(|supervisor| (supervisor.spec.datasource, supervisor.spec.id)));
    let running = TaskFilter { states: vec![TaskState::Running], system: true, ..TaskFilter::default() };
    for task in coordinator.tasks(running).await? {
        fed.extend(task.record.supervisor.map(|supervisor| (task.record.datasource, supervisor)));
    }
    let mark = |(datasource, owner)| Change::Incomplete { datasource, owner, intervals: vec![Interval::ETERNITY] };
    Ok(fed.into_iter().map(mark).collect())
}

/// Where requests come in: without TLS, with it, or both.
struct Doors {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, Arc<Certificates>)>,
}

impl Doors {
    async fn open(config: &Config) -> anyhow::Result<Doors> {
        let bind = async |port: u16| {
            let bound = TcpListener::bind((config.host.as_str(), port)).await;
            bound.with_context(|| format!("listening on {}:{port}", config.host))
        };
        let only_tls = config.tls.as_ref().is_some_and(|tls| tls.only);
        let plain = if only_tls { None } else { Some(bind(config.port).await?) };
        let tls = match &config.tls {
            Some(settings) => Some((bind(settings.port).await?, Certificates::load(settings.clone())?)),
            None => None,
        };
        Ok(Doors { plain, tls })
    }

    /// `host:port` as others reach this process.
    fn address(&self) -> anyhow::Result<String> {
        let listener = self.plain.as_ref().or(self.tls.as_ref().map(|(listener, _)| listener));
        Ok(listener.context("nothing is listened to")?.local_addr()?.to_string())
    }

    fn tls_address(&self) -> anyhow::Result<Option<String>> {
        Ok(self.tls.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?.map(|address| address.to_string()))
    }

    /// Serves until it is told to stop and every request has ended.
    async fn serve(self, service: Router, stopping: watch::Receiver<bool>) {
        let plain = self.plain.map(|listener| {
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
            });
            serve(listener, service.clone(), stopping.clone())
        });
        let tls = self.tls.map(|(listener, certificates)| {
            tokio::spawn(tls::keep_renewed(Arc::downgrade(&certificates)));
            // Whoever connects is told by what it came, and addresses are read as those of the other door are.
            let listener = TlsListener::new(listener, certificates).tap_io(|_| ());
            serve(listener, service.layer(Extension(Encrypted)), stopping)
        });
        futures::future::join(OptionFuture::from(plain), OptionFuture::from(tls)).await;
    }
}

async fn serve<L, F>(listener: TapIo<L, F>, service: Router, mut stopping: watch::Receiver<bool>)
where
    L: Listener<Addr = SocketAddr>,
    F: FnMut(&mut L::Io) + Send + 'static,
{
    let until = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
        tracing::error!(%error, "the listener ended");
    }
}

/// The loop of step 4. Nothing in it waits for anything but the catalog and the disks.
async fn keep_in_line(app: Arc<App>, cycle: Duration, mut stopping: watch::Receiver<bool>) {
    let mut changed = app.coordinator.watch();
    let mut told = Told::new(&app);
    while !*stopping.borrow() {
        changed.mark_unchanged();
        match beat(&app, &mut told).await {
            Ok(true) => continue,
            Ok(false) => app.ready.store(true, Ordering::Release),
            // What was told may not have arrived.
            Err(error) => {
                told.generation = None;
                tracing::error!(%error, "the coordinator's cycle failed");
            }
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = app.worker.changed() => {}
            _ = tokio::time::sleep(cycle) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// What the coordinator was told.
struct Told {
    member: Member,
    seq: u64,
    /// The inventory's generation that it knows.
    generation: Option<u64>,
}

impl Told {
    fn new(app: &App) -> Told {
        let member = Member {
            node: app.config.cluster.node.clone().unwrap_or_else(|| app.address.clone()),
            process: rand::random(),
            address: app.address.clone(),
            roles: Role::ALL.to_vec(),
            tier: TIER_DEFAULT.to_string(),
            priority: 0,
            capacity_bytes: 0,
            tasks_max: app.config.tasks_max,
        };
        Told { member, seq: 0, generation: None }
    }
}

/// One cycle and heartbeat; whether the orders changed what is served, so that it is worth telling at once.
async fn beat(app: &App, told: &mut Told) -> coordinator::Result<bool> {
    let now = now();
    app.coordinator.cycle(now).await?;
    let caught_up: BTreeSet<String> = app.worker.reports().into_iter().filter(|r| r.caught_up).map(|r| r.id).collect();
    let generation = app.inventory.generation();
    let served = (told.generation != Some(generation)).then(|| {
        let realtime = app.inventory.realtime().into_iter().map(|(id, _)| id).collect();
        Served { published: app.inventory.published_ids(), realtime }
    });
    let incomplete = app.inventory.incomplete();
    let tasks = app.worker.reports().into_iter().map(|report| {
        let progress = tasks::progress(&report, now);
        coordinator::TaskProgress { caught_up: report.caught_up && caught_up.contains(&report.id), ..progress }
    });
    told.seq += 1;
    let report = Report {
        member: told.member.clone(),
        seq: told.seq,
        served,
        loading: Vec::new(),
        broken: app.historical.take_broken(),
        tasks: tasks.collect(),
        incomplete,
        view: Default::default(),
    };
    // Histograms that nobody scrapes would grow with every query.
    app.metrics.run_upkeep();
    let reply = app.coordinator.heartbeat(report, now).await?;
    told.generation = (!reply.wants_served).then_some(generation);
    reply.recorded.iter().for_each(|task| app.worker.forget(task));
    let (mut loads, mut drops) = (Vec::new(), Vec::new());
    for command in reply.commands {
        match command {
            Command::StartTask { task, attempt } => app.worker.start(tasks::order(task, attempt)),
            Command::StopTask { task, reason } => app.worker.stop(&task, tasks::reason(reason)),
            Command::Load(meta) => loads.push(meta),
            Command::Drop(id) => drops.push(id),
        }
    }
    Ok(app.historical.carry_out(loads, drops).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node whose listener is gone must not stay: nothing outside could tell it from one that is slow.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_serves_no_more_tells_and_still_stops_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = [("data_dir", folder.path().to_str().expect("UTF-8")), ("host", "127.0.0.1"), ("port", "0")];
        let flags = flags.map(|(key, value)| (key.to_string(), value.to_string()));
        let config = Config::load(None, std::iter::empty(), &flags).expect("valid settings");
        let mut node = Node::start(config).await.expect("a node");
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, node.broken()).await.is_err(), "it serves");
        node.serving.abort();
        let error = tokio::time::timeout(DRAIN, node.broken()).await.expect("it is told");
        assert!(error.to_string().contains("what serves requests"), "{error:#}");
        node.stop().await.expect("a stop in order");
    }

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
