//! Measurements of a running server, from outside.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::generate;

/// A server in a child process, killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Starts and waits until it is healthy; how long that took. `settings` are names and values.
    pub fn start(binary: &Path, data_dir: &Path, settings: &[(String, String)]) -> anyhow::Result<(Server, Duration)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let started = Instant::now();
        // What steers other things is no setting of the server.
        let other = std::env::vars().filter(|(name, _)| name.starts_with("HENGE_"));
        let mut command = Command::new(binary);
        other.for_each(|(name, _)| {
            command.env_remove(name);
        });
        let child = command
            .args(["server", "--port", &port.to_string(), "--set", "log.level=warn", "--data-dir"])
            .arg(data_dir)
            .args(settings.iter().flat_map(|(name, value)| ["--set".to_string(), format!("{name}={value}")]))
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let server = Server { child, url: format!("http://127.0.0.1:{port}") };
        while ureq::get(format!("{}/status/health", server.url)).call().is_err() {
            ensure!(started.elapsed() < Duration::from_secs(120), "the server did not become healthy");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((server, started.elapsed()))
    }

    /// CPU seconds of the process so far.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / 100.0)
    }

    fn peak_mib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).context("VmHWM")?;
        Ok(line.split_whitespace().nth(1).context("VmHWM")?.parse::<u64>()? / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn post(url: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&post_text(url, path, body)?)?)
}

/// The answer as it came; an error if it is one.
pub fn post_text(url: &str, path: &str, body: &Value) -> anyhow::Result<String> {
    let mut reply = ureq::post(format!("{url}{path}")).config().http_status_as_error(false).build().send_json(body)?;
    let text = reply.body_mut().with_config().limit(1 << 30).read_to_string()?;
    ensure!(reply.status().is_success(), "{path}: {} {text}", reply.status());
    Ok(text)
}

fn count(url: &str, datasource: &str) -> anyhow::Result<u64> {
    let body = json!({"queryType": "timeseries", "dataSource": datasource, "granularity": "all", "intervals": ["1000/3000"],
        "aggregations": [{"type": "count", "name": "c"}]});
    Ok(post(url, "/druid/v2", &body)?[0]["result"]["c"].as_u64().unwrap_or(0))
}

pub fn kafka(bootstrap: &str, binary: &Path, events: usize) -> anyhow::Result<()> {
    let topic = format!("bench-{}", std::process::id());
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let topics = [NewTopic::new(&topic, 4, TopicReplication::Fixed(1))];
    runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()))?;
    let bytes = generate::events(events);
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("linger.ms", "20").create()?;
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        while producer.send(BaseRecord::<(), [u8]>::to(&topic).payload(line)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(120))?;

    let dir = tempfile::tempdir()?;
    let (server, _) = Server::start(binary, dir.path(), &[])?;
    let cpu = server.cpu_seconds()?;
    let started = Instant::now();
    let spec = json!({"type": "kafka", "spec": {"dataSchema": generate::data_schema("bench"),
        "ioConfig": {"type": "kafka", "topic": topic, "inputFormat": {"type": "json"}, "useEarliestOffset": true,
            "consumerProperties": {"bootstrap.servers": bootstrap}},
        "tuningConfig": {"type": "kafka", "maxRowsInMemory": 1_000_000_000, "maxBytesInMemory": 4_000_000_000u64}}});
    post(&server.url, "/druid/indexer/v1/supervisor", &spec)?;
    while count(&server.url, "bench").unwrap_or(0) < events as u64 {
        ensure!(started.elapsed() < Duration::from_secs(600), "the events did not arrive");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu);
    println!(
        "kafka to queryable: {events} events, {:.0} k/s by the clock, {:.0} k/s per core (server's CPU time), peak {} MiB",
        events as f64 / wall / 1e3,
        events as f64 / cpu / 1e3,
        server.peak_mib()?
    );
    Ok(())
}

pub fn http(url: &str, datasource: &str) -> anyhow::Result<()> {
    let native = json!({"queryType": "timeBoundary", "dataSource": datasource});
    let sql = json!({"query": format!("SELECT COUNT(*) FROM \"{datasource}\""), "resultFormat": "array"});
    for (name, path, body) in [("native timeBoundary", "/druid/v2", &native), ("SQL count(*)", "/druid/v2/sql", &sql)] {
        let mut times = Vec::new();
        for round in 0..2_200 {
            let started = Instant::now();
            post(url, path, body)?;
            if round >= 200 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        times.sort_by(f64::total_cmp);
        println!("{name}: p50 {:.3} ms, p99 {:.3} ms", times[times.len() / 2], times[times.len() * 99 / 100]);
    }
    Ok(())
}

pub fn start(binary: &Path, data_dir: &Path, datasource: Option<&str>) -> anyhow::Result<()> {
    for _ in 0..3 {
        let started = Instant::now();
        let (server, healthy) = Server::start(binary, data_dir, &[])?;
        print!("healthy after {} ms", healthy.as_millis());
        if let Some(datasource) = datasource {
            let rows = post(
                &server.url,
                "/druid/v2/sql",
                &json!({"query": format!("SELECT COUNT(*) FROM \"{datasource}\"")}),
            )?;
            print!(", first answer after {} ms: {rows}", started.elapsed().as_millis());
        }
        println!(", peak {} MiB", server.peak_mib()?);
    }
    Ok(())
}

/// Loads a table, in segments of a granularity if that is one of SSB. The rows of the file are in it as often as `times` says.
pub fn load(url: &str, table: &str, file: &Path, granularity: &str, times: usize) -> anyhow::Result<()> {
    let file = std::path::absolute(file)?;
    let long = |name: &str| json!({"type": "long", "name": name});
    let double = |name: &str| json!({"type": "double", "name": name});
    let (schema, format) = match table {
        "lineitem" => (
            json!({
                "dataSource": "lineitem",
                "timestampSpec": {"column": "l_shipdate", "format": "auto"},
                "dimensionsSpec": {"dimensions": [
                    long("l_orderkey"), long("l_partkey"), long("l_suppkey"), long("l_linenumber"), "l_returnflag", "l_linestatus",
                    "l_commitdate", "l_receiptdate", "l_shipinstruct", "l_shipmode", "l_comment", long("l_quantity"),
                    double("l_extendedprice"), double("l_discount"), double("l_tax"),
                ]},
                "granularitySpec": {"segmentGranularity": "ALL", "queryGranularity": "NONE", "rollup": false},
            }),
            json!({"type": "parquet"}),
        ),
        "lineorder_flat" => (
            json!({
                "dataSource": "lineorder_flat",
                "timestampSpec": {"column": "lo_orderdate", "format": "auto"},
                "dimensionsSpec": {"dimensions": [
                    long("lo_orderkey"), long("lo_linenumber"), long("lo_custkey"), long("lo_partkey"), long("lo_suppkey"),
                    "lo_orderpriority", long("lo_shippriority"), long("lo_quantity"), long("lo_extendedprice"),
                    long("lo_ordtotalprice"), long("lo_discount"), long("lo_revenue"), long("lo_supplycost"), long("lo_tax"),
                    "lo_commitdate", "lo_shipmode", "c_name", "c_address", "c_city", "c_nation", "c_region", "c_phone",
                    "c_mktsegment", "s_name", "s_address", "s_city", "s_nation", "s_region", "s_phone", "p_name", "p_mfgr",
                    "p_category", "p_brand", "p_color", "p_type", long("p_size"), "p_container",
                ]},
                "granularitySpec": {"segmentGranularity": granularity, "queryGranularity": "NONE", "rollup": false},
            }),
            json!({"type": "parquet"}),
        ),
        "wiki" => (generate::data_schema("wiki"), json!({"type": "json"})),
        other => anyhow::bail!("lineitem, lineorder_flat or wiki, not '{other}'"),
    };
    let spec = json!({"type": "index_parallel", "spec": {
        "dataSchema": schema,
        "ioConfig": {"type": "index_parallel", "inputFormat": format,
            "inputSource": {"type": "local", "files": vec![file.display().to_string(); times]}},
        "tuningConfig": {"type": "index_parallel", "maxNumConcurrentSubTasks": 2}}});
    let started = Instant::now();
    let task = post(url, "/druid/indexer/v1/task", &spec)?["task"].as_str().context("task")?.to_string();
    loop {
        let path = format!("{url}/druid/indexer/v1/task/{task}/status");
        let status: Value = ureq::get(path).call()?.body_mut().read_json()?;
        match status["status"]["status"].as_str() {
            Some("RUNNING") => std::thread::sleep(Duration::from_millis(200)),
            Some("SUCCESS") => break,
            _ => anyhow::bail!("{status}"),
        }
    }
    println!("{table}: loaded in {:.1} s, {} rows", started.elapsed().as_secs_f64(), count(url, table)?);
    Ok(())
}
