//! What it costs that rows are on two nodes: each query of the Star Schema Benchmark is asked of a process that does all there
//! is, and of a broker before two historicals, on the same machine and in turn. Both have the same rows in segments of the
//! same intervals.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::service::{Server, load, post, post_text};
use crate::sql_native::{median, named};

const WARM_UP: usize = 3;

const TABLE: &str = "lineorder_flat";

pub struct Options<'a> {
    pub binary: &'a Path,
    /// A PostgreSQL server in which a database can be made.
    pub postgres: &'a str,
    pub file: &'a Path,
    /// How often its rows are loaded.
    pub times: usize,
    pub granularity: &'a str,
    /// Threads that compute, of each historical.
    pub threads: usize,
    pub rounds: usize,
}

/// Prints a line for each query: the medians of both, in milliseconds, and their ratio; then what becomes of them over all
/// queries: the sums of the medians, and the geometric mean of the ratios.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let own = |name: &str| dir.path().join(name);
    let (alone, _) = Server::start(options.binary, &own("alone"), &[])?;
    load(&alone.url, TABLE, options.file, options.granularity, options.times)?;

    let shared = shared(options.postgres, &own("deep"))?;
    let threads = options.threads;
    let start = |name: &str, roles: &str| -> anyhow::Result<Server> {
        let mut settings = shared.clone();
        if roles == "historical" {
            settings.push(("query.threads".to_string(), threads.to_string()));
        }
        settings.extend([("roles".to_string(), roles.to_string()), ("cluster.node".to_string(), name.to_string())]);
        Ok(Server::start(options.binary, &own(name), &settings)?.0)
    };
    let leader = start("leader", "coordinator")?;
    let nodes = [("h1", "historical"), ("h2", "historical"), ("broker", "broker"), ("ingest", "ingest")];
    let mut nodes: Vec<Server> = nodes.iter().map(|(name, roles)| start(name, roles)).collect::<anyhow::Result<_>>()?;
    let rule = json!([{"type": "loadForever", "tieredReplicants": {"_default_tier": 1}}]);
    post_text(&leader.url, "/druid/coordinator/v1/rules/_default", &rule)?;
    let broker = nodes[2].url.clone();
    load(&broker, TABLE, options.file, options.granularity, options.times)?;
    let count = json!({"query": format!("SELECT COUNT(*) FROM {TABLE}"), "resultFormat": "array"});
    let balanced = Instant::now();
    while held(&broker)?.len() < 2
        || post(&alone.url, "/druid/v2/sql", &count)? != post(&broker, "/druid/v2/sql", &count)?
    {
        ensure!(
            balanced.elapsed() < Duration::from_secs(120),
            "the historicals do not have the rows: {:?}",
            held(&broker)?
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("segments by historical: {:?}", held(&broker)?);
    // It has done its work.
    nodes.pop();

    let (mut logs, mut sums, mut worst) = (Vec::new(), (0.0, 0.0), (0.0f64, String::new()));
    let servers: Vec<&Server> = nodes.iter().chain([&leader]).collect();
    for (name, sql) in named(include_str!("../queries/ssb.sql")) {
        let body = json!({"query": sql, "resultFormat": "array"});
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let mut cpu = (0.0, 0.0);
        for round in 0..WARM_UP + options.rounds {
            let before = (alone.cpu_seconds()?, cpu_of(&servers)?);
            let started = Instant::now();
            let of_one = post_text(&alone.url, "/druid/v2/sql", &body)?;
            let after_one = started.elapsed().as_secs_f64() * 1e3;
            let started = Instant::now();
            let of_two = post_text(&broker, "/druid/v2/sql", &body)?;
            let after_two = started.elapsed().as_secs_f64() * 1e3;
            ensure!(same(&of_one, &of_two), "{name}: {of_one} is not {of_two}");
            if round >= WARM_UP {
                one.push(after_one);
                two.push(after_two);
                cpu.0 += alone.cpu_seconds()? - before.0;
                cpu.1 += cpu_of(&servers)? - before.1;
            }
        }
        let (one, two) = (median(&mut one), median(&mut two));
        let (ratio, rounds) = (two / one, options.rounds as f64);
        println!(
            "{name:6} one process {one:8.2} ms, two historicals {two:8.2} ms, ratio {ratio:.2}; CPU {:6.1} and {:6.1} ms",
            cpu.0 * 1e3 / rounds,
            cpu.1 * 1e3 / rounds
        );
        logs.push(ratio.ln());
        sums = (sums.0 + one, sums.1 + two);
        if ratio > worst.0 {
            worst = (ratio, name);
        }
    }
    let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    println!(
        "{} queries: one process {:.2} ms, two historicals {:.2} ms, ratio {:.3} of the sums; {mean:.3} in geometric mean; {:.3} at \
         most ({})",
        logs.len(),
        sums.0,
        sums.1,
        sums.1 / sums.0,
        worst.0,
        worst.1
    );
    Ok(())
}

/// Rows in any order among equals: numbers are compared as they are written.
fn same(one: &str, other: &str) -> bool {
    let rows = |text: &str| -> Option<Vec<String>> {
        let rows: Vec<Value> = serde_json::from_str(text).ok()?;
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort_unstable();
        Some(rows)
    };
    one == other || rows(one).is_some_and(|rows_of_one| Some(rows_of_one) == rows(other))
}

fn cpu_of(servers: &[&Server]) -> anyhow::Result<f64> {
    servers.iter().map(|server| server.cpu_seconds()).sum()
}

/// Segments by historical.
fn held(broker: &str) -> anyhow::Result<Vec<Value>> {
    let text = "SELECT ss.server, COUNT(*) FROM sys.server_segments ss JOIN sys.servers s ON s.server = ss.server \
                WHERE s.server_type = 'historical' GROUP BY 1 ORDER BY 1";
    let rows = post(broker, "/druid/v2/sql", &json!({"query": text, "resultFormat": "array"}))?;
    Ok(rows.as_array().context("rows")?.clone())
}

/// What nodes of one cluster are told.
fn shared(postgres: &str, deep: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let name = format!("bench_{}", std::process::id());
    let made = Command::new("psql").args([postgres, "-qc", &format!("CREATE DATABASE {name}")]).status()?;
    ensure!(made.success(), "no database could be made");
    let (server, options) = postgres.split_once('?').unwrap_or((postgres, ""));
    let server = server.rsplit_once('/').context("a URL of PostgreSQL")?.0;
    let settings = [
        ("metadata.url", format!("{server}/{name}?{options}")),
        ("storage.deep", deep.display().to_string()),
        ("cluster.secret", "a-secret-of-the-bench".to_string()),
        ("storage.local_sources", "*".to_string()),
    ];
    Ok(settings.map(|(name, value)| (name.to_string(), value)).into())
}
