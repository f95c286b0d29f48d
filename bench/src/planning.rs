//! What a broker's view of many segments costs: its memory, planning a query that touches one of a hundred, and taking in
//! what is new of one datasource. In one process and with the real types; nothing is sent.
//!
//! A plan is timed from the query to the moment in which every node has its ask as bytes; then the query is ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use coordinator::{Placed, Role, TableChanges, ViewChanges, ViewNode, ViewNumber, ViewUpdate};
use query::cluster::{ClusterView, DataNode, NodeAnswer, NodeAsk, Routes, Scatter};
use query::{Authorizer, Broker, Budget, Error, Principal};
use segment::Interval;
use serde_json::{Map, Value, json};
use server::roles::view::Followed;
use server::rpc::peers::{Peers, Secret};
use server::traces::Traces;

use crate::sql_native::median;

const DAY: i64 = 86_400_000;
const NODES: usize = 20;
const COPIES: usize = 2;
/// Segments of one day of a datasource.
const PARTITIONS: usize = 2;

fn name(datasource: usize) -> String {
    format!("datasource_{datasource:04}")
}

fn node(number: usize) -> String {
    format!("historical-{number}.historicals.henge.svc")
}

/// A segment's name, and where it is.
fn placed(number: usize, version: &str) -> ((Interval, String, u32), Option<Placed>) {
    let day = (number / PARTITIONS) as i64;
    let interval = Interval { start: day * DAY, end: (day + 1) * DAY };
    let nodes = (0..COPIES).map(|copy| node((number * 7 + copy * 3) % NODES)).collect();
    let partition = (number % PARTITIONS) as u32;
    ((interval, version.to_string(), partition), Some(Placed { core: PARTITIONS as u32, nodes }))
}

/// A view as a leader sends it.
fn image(datasources: usize, of_each: usize) -> ViewUpdate {
    let mut changes = ViewChanges::default();
    for number in 0..NODES {
        let node_of = ViewNode {
            address: format!("10.0.0.{number}:8888"),
            process: 1 << 60 | number as u64,
            roles: vec![Role::Historical],
            tier: "_default_tier".into(),
            priority: 0,
        };
        changes.nodes.insert(node(number), Some(node_of));
    }
    for datasource in 0..datasources {
        let published = (0..of_each).map(|number| placed(number, "2026-01-01T00:00:00.000Z")).collect();
        changes.tables.insert(name(datasource), TableChanges { published, ..TableChanges::default() });
    }
    ViewUpdate::Full { number: ViewNumber { epoch: 1, number: 1 }, changes }
}

/// The view of a broker, whose nodes take asks and end the query once all are there.
struct Ending {
    view: Arc<Followed>,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    nodes: AtomicUsize,
    wanted: AtomicUsize,
    bytes: AtomicUsize,
    segments: AtomicUsize,
}

#[async_trait]
impl ClusterView for Ending {
    fn routes(&self, tables: &[&str], intervals: &[Interval]) -> Routes {
        self.view.routes(tables, intervals)
    }

    fn number(&self) -> u64 {
        self.view.number().number
    }

    fn node(&self, name: &str) -> Option<Arc<dyn DataNode>> {
        self.view.node(name)?;
        Some(self.asked.clone() as Arc<dyn DataNode>)
    }

    async fn newer_than(&self, _: u64, within: Duration) {
        tokio::time::sleep(within).await;
    }

    fn datasources(&self) -> Vec<String> {
        self.view.datasources()
    }
}

/// How a query ends that was planned.
const PLANNED: &str = "planned";

#[async_trait]
impl DataNode for Asked {
    async fn run(&self, ask: &NodeAsk) -> query::Result<NodeAnswer> {
        self.bytes.fetch_add(ask.to_bytes().len(), Ordering::SeqCst);
        self.segments.fetch_add(ask.segments.len(), Ordering::SeqCst);
        match self.nodes.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted.load(Ordering::SeqCst) {
            true => Err(Error::Invalid(PLANNED.into())),
            false => std::future::pending().await,
        }
    }
}

fn resident_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<f64>()? / 1024.0)
}

/// Writes a view as a leader sends it.
pub fn write(segments: usize, datasources: usize, to: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(to, serde_json::to_vec(&image(datasources, segments / datasources))?)?)
}

pub fn run(segments: usize, datasources: usize, rounds: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _within = runtime.enter();
    let peers = Peers::new(&Secret::new("a-secret-of-the-bench".into()), None, Traces::default())?;
    let of_each = segments / datasources;
    // Another process makes it: what that held is not to be counted here.
    let file = tempfile::NamedTempFile::new()?;
    let numbers = [("--segments", segments), ("--datasources", datasources)].map(|(name, n)| format!("{name}={n}"));
    let mut make = Command::new(std::env::current_exe()?);
    let made = make.arg("planning").args(numbers).arg("--image").arg(file.path()).status()?;
    ensure!(made.success(), "no view was made");
    let before = resident_mib()?;
    let sent = std::fs::read(file.path())?;
    println!(
        "{segments} segments of {datasources} datasources, {COPIES} copies each: {} MiB as sent",
        sent.len() >> 20
    );
    let view = Followed::new(peers);
    let started = Instant::now();
    let update: ViewUpdate = serde_json::from_slice(&sent)?;
    let read = started.elapsed();
    ensure!(view.take(&update), "the view is not taken");
    println!("read {:.2} s, taken in {:.2} s", read.as_secs_f64(), (started.elapsed() - read).as_secs_f64());
    drop((update, sent));
    println!("resident with what it was read from: {:.0} MiB", resident_mib()? - before);

    let mut times = Vec::new();
    for round in 0..rounds {
        let version = format!("2026-02-01T00:00:00.{round:03}Z");
        let mut published: Vec<_> = (0..PARTITIONS).map(|number| placed(number, &version)).collect();
        published.push((placed(of_each - 1, "2026-01-01T00:00:00.000Z").0, None));
        let table = TableChanges { published, ..TableChanges::default() };
        let tables = BTreeMap::from([(name(round % datasources), table)]);
        let changes = ViewChanges { tables, ..ViewChanges::default() };
        let from = ViewNumber { epoch: 1, number: round as u64 + 1 };
        let update = ViewUpdate::Changes { from, to: ViewNumber { number: from.number + 1, ..from }, changes };
        let started = Instant::now();
        ensure!(view.take(&update), "the change is not taken");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("a change of one datasource: {:.2} ms", median(&mut times));

    let asked = Arc::new(Asked::default());
    let port = Arc::new(Ending { view: view.clone(), asked: asked.clone() });
    let scatter = Scatter { hedge_after: None, picture_within: Duration::from_secs(1), pictures_max: 1 };
    let settings = query::Settings {
        threads: 2,
        queries_max: 10,
        lanes: Default::default(),
        memory: Default::default(),
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        memory_bytes: 1 << 30,
        subquery_rows_max: 1,
        policy_cache_bytes: 0,
        default_context: Arc::new(Map::new()),
    };
    let broker = Broker::over(port, scatter, settings.clone(), Authorizer::open());
    let touched = segments / 100;
    for tables in [1, touched.div_ceil(of_each), 10 * touched.div_ceil(of_each)] {
        let days = (touched.min(tables * of_each) / tables / PARTITIONS) as i64;
        let first = (of_each / PARTITIONS) as i64 / 2 - days / 2;
        let within = Interval { start: first * DAY, end: (first + days) * DAY };
        // The last tables were not changed above.
        let names: Vec<String> = (datasources - tables..datasources).map(name).collect();
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        let query = json!({"queryType": "timeseries", "granularity": "all", "intervals": [within.to_string()],
            "dataSource": {"type": "union", "dataSources": names}, "aggregations": [{"type": "count", "name": "c"}]});
        let (mut routing, mut planning) = (Vec::new(), Vec::new());
        let mut found = 0;
        for _ in 0..rounds {
            let started = Instant::now();
            found = view.routes(&named, &[within]).slices.len();
            routing.push(started.elapsed().as_secs_f64() * 1e3);
        }
        asked.wanted.store(NODES, Ordering::SeqCst);
        for _ in 0..rounds {
            [&asked.nodes, &asked.bytes, &asked.segments].iter().for_each(|count| count.store(0, Ordering::SeqCst));
            let who = Principal::new("bench");
            let started = Instant::now();
            let query = broker.parse(&query, &who)?;
            let budget = Budget::from_context(&Map::<String, Value>::new(), &settings)?;
            let ended = runtime.block_on(broker.answer(query, &who, budget));
            planning.push(started.elapsed().as_secs_f64() * 1e3);
            ensure!(matches!(&ended, Err(Error::Invalid(why)) if why == PLANNED), "the query was not planned");
        }
        let segments = asked.segments.load(Ordering::SeqCst);
        ensure!(segments == found, "{found} segments are wanted, and {segments} were asked for");
        println!(
            "{tables} datasources, {found} segments: routes {:.2} ms, planned {:.2} ms, {} KiB asked of {NODES} nodes",
            median(&mut routing),
            median(&mut planning),
            asked.bytes.load(Ordering::SeqCst) >> 10
        );
    }
    println!("resident at the end: {:.0} MiB", resident_mib()? - before);
    Ok(())
}
