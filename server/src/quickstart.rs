//! `henge quickstart`: the server, a broker to read from, a live synthetic stream, two supervisors posted over the public
//! API, and a page of what to try.
//!
//! Without `--bootstrap-servers` the broker is librdkafka's own mock cluster, in this process: real Kafka protocol over
//! TCP, nothing kept. Its offsets begin anew at each start, so the two supervisors are reset then, and at a graceful stop
//! they are suspended, which publishes what they have read.

mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

/// Partitions of each demo topic.
const PARTITIONS: i32 = 2;

/// What an answer of the embedded broker takes. It waits for no records: consumers would ask it again and again without rest.
const ANSWER_AFTER: Duration = Duration::from_millis(20);

/// How long a graceful stop waits for the demo's rows to be published.
const STOP_WAIT: Duration = Duration::from_secs(20);

pub struct Options {
    /// An existing cluster; its topics must allow automatic creation or exist.
    pub bootstrap_servers: Option<String>,
    /// Events per second and topic.
    pub rate: u32,
}

/// The running demo, on a thread of its own (the embedded broker may not leave the thread that made it).
pub struct Demo {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Demo {
    /// Called once the server answers at `base` (`http://host:port`), which takes the token; gives the demo and its page
    /// of what to try.
    pub async fn start(base: String, token: String, options: Options) -> anyhow::Result<(Demo, String)> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = tokio::sync::oneshot::channel();
        let stopping = stop.clone();
        let run = move || match Quickstart::start(Own { base, token }, &options) {
            Ok(quickstart) => {
                let _ = tell.send(Ok(quickstart.page()));
                while !stopping.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                quickstart.stop();
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("quickstart".into()).spawn(run).context("starting a thread")?;
        let page = told.await.context("the demo's thread ended")??;
        Ok((Demo { stop, thread }, page))
    }

    /// Stops the stream; with the embedded broker (which dies with this process) the supervisors publish first.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || self.thread.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the demo's thread panicked"))
    }
}

/// The server that the demo is part of.
struct Own {
    base: String,
    token: String,
}

/// Owns the embedded broker and the thread that feeds it. Blocking throughout.
struct Quickstart {
    own: Own,
    embedded: Option<MockCluster<'static, DefaultProducerContext>>,
    stop: Arc<AtomicBool>,
    feeder: Option<std::thread::JoinHandle<()>>,
}

impl Quickstart {
    fn start(own: Own, options: &Options) -> anyhow::Result<Quickstart> {
        let mut embedded = None;
        let bootstrap = match &options.bootstrap_servers {
            Some(servers) => servers.clone(),
            None => {
                let cluster = MockCluster::new(1).context("starting the embedded broker")?;
                for topic in events::TOPICS {
                    cluster.create_topic(topic.name, PARTITIONS, 1).context("creating a demo topic")?;
                }
                cluster.broker_round_trip_time(-1, ANSWER_AFTER).context("slowing the embedded broker down")?;
                let servers = cluster.bootstrap_servers();
                embedded = Some(cluster);
                servers
            }
        };
        for topic in events::TOPICS {
            let id = topic.name;
            let known = own.get("/druid/indexer/v1/supervisor")?.as_array().is_some_and(|ids| ids.contains(&json!(id)));
            if known && embedded.is_some() {
                own.post(&format!("/druid/indexer/v1/supervisor/{id}/reset"), &Value::Null)?;
            }
            own.post("/druid/indexer/v1/supervisor", &(topic.spec)(&bootstrap))?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .create()
            .context("connecting the demo's producer")?;
        let (rate, stopping) = (options.rate.max(1), stop.clone());
        let feeder = std::thread::Builder::new()
            .name("quickstart-feeder".into())
            .spawn(move || feed(&producer, rate, &stopping))
            .context("starting the feeder")?;
        Ok(Quickstart { own, embedded, stop, feeder: Some(feeder) })
    }

    /// What to try, for the terminal.
    fn page(&self) -> String {
        let base = &self.own.base;
        format!(
            r#"
  Henge is serving at {base}, with two live datasources: wikipedia and payments.

  Count while events arrive (run it twice):
    curl -s {base}/druid/v2/sql -H 'Content-Type: application/json' \
      -d '{{"query": "SELECT COUNT(*) AS edits, MAX(__time) AS newest FROM wikipedia"}}'

  The busiest channels of the last five minutes:
    curl -s {base}/druid/v2/sql -H 'Content-Type: application/json' \
      -d '{{"query": "SELECT channel, COUNT(*) AS edits, SUM(added) AS added FROM wikipedia WHERE __time >= CURRENT_TIMESTAMP - INTERVAL '"'"'5'"'"' MINUTE GROUP BY channel ORDER BY edits DESC LIMIT 5"}}'

  Declined payments per minute, as a native Druid query:
    curl -s {base}/druid/v2 -H 'Content-Type: application/json' \
      -d '{{"queryType": "timeseries", "dataSource": "payments", "granularity": "minute", "intervals": ["2020/2100"], "filter": {{"type": "equals", "column": "status", "matchValueType": "STRING", "matchValue": "declined"}}, "aggregations": [{{"type": "longSum", "name": "payments", "fieldName": "payments"}}, {{"type": "doubleSum", "name": "amount", "fieldName": "amount"}}]}}'

  How ingestion stands:   curl -s {base}/druid/indexer/v1/supervisor/wikipedia/status
  Metrics for Prometheus: curl -s {base}/metrics

  Your own Kafka: post a Druid supervisor spec to {base}/druid/indexer/v1/supervisor.
  Ctrl-C publishes what was read and stops.
"#
        )
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
        if self.embedded.is_none() {
            return;
        }
        for topic in events::TOPICS {
            if let Err(error) =
                self.own.post(&format!("/druid/indexer/v1/supervisor/{}/suspend", topic.name), &Value::Null)
            {
                tracing::warn!(%error, supervisor = topic.name, "could not suspend");
            }
        }
        let end = Instant::now() + STOP_WAIT;
        while Instant::now() < end {
            match self.own.get("/druid/indexer/v1/tasks?state=running") {
                Ok(tasks) if tasks.as_array().is_none_or(|t| t.is_empty()) => return,
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        tracing::warn!("the demo's last rows were not published in time");
    }
}

fn feed(producer: &ThreadedProducer<DefaultProducerContext>, rate: u32, stop: &AtomicBool) {
    let mut streams = events::Streams::new();
    let started = Instant::now();
    let mut sent = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            for (topic, payload) in streams.next(jiff::Timestamp::now().as_millisecond()) {
                let record = BaseRecord::<(), [u8]>::to(topic).payload(payload.as_bytes());
                if let Err((error, _)) = producer.send(record) {
                    // The queue is full or the broker away: the demo drops events rather than piling them up.
                    tracing::debug!(%error, "demo event not sent");
                }
            }
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = producer.flush(Duration::from_secs(5));
}

impl Own {
    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let asked = ureq::get(format!("{}{path}", self.base)).header("Authorization", format!("Bearer {}", self.token));
        Ok(asked.call()?.body_mut().read_json()?)
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let asked =
            ureq::post(format!("{}{path}", self.base)).header("Authorization", format!("Bearer {}", self.token));
        let mut answer = asked.config().http_status_as_error(false).build().send_json(body)?;
        let text = answer.body_mut().read_to_string()?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {} {text}", answer.status());
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}
