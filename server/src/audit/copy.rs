//! The audit log's copy in a Kafka topic, for those who keep such logs with others.
//!
//! A thread reads the journal as the task does that publishes it, sends each line as a message whose key is the line's
//! number, and writes down how far the brokers have acknowledged. After a crash it goes on from there: a line may come
//! twice, with the same key, and none is left out. While the brokers are away the journal keeps what they lack, up to half
//! of its bound; then the oldest lines are passed over, and counted, rather than that the node takes no more changes.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use ingest::positions::Positions;
use ingest::source::Limits;
use ingest::source::journal::{Journal, JournalSource};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

/// One round: what is sent before its acknowledgement is awaited and written down. It bounds the client's queue.
const ROUND: Limits = Limits { records: 1000, bytes: 4 << 20, time: Duration::from_millis(200) };

/// Rest after a round that failed, or without lines.
const REST: Duration = Duration::from_millis(500);

/// Time in which a message is acknowledged or has failed.
const MESSAGE_TIMEOUT_MS: &str = "10000";

/// How often a round that waits looks whether the node stops.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct Settings {
    pub topic: String,
    /// A file of the client's properties, a `name=value` on each line, as Kafka's own tools take it.
    pub properties: PathBuf,
}

/// The thread, and how far it is.
pub struct Copy {
    upto: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Copy {
    /// Fails if the properties cannot be read or are none of a producer's; brokers that are away are waited for.
    pub fn start(settings: &Settings, journal: Arc<Journal>, folder: &Path) -> anyhow::Result<Copy> {
        let producer = producer(&settings.properties)?;
        let mark = folder.join("audit-copied");
        let from = match fs::read_to_string(&mark) {
            Ok(text) => text.trim().parse().with_context(|| format!("{} holds no line number", mark.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => journal.range().low,
            Err(error) => return Err(error).with_context(|| mark.display().to_string()),
        };
        let (upto, stop) = (Arc::new(AtomicI64::new(from)), Arc::new(AtomicBool::new(false)));
        let copying = Copying {
            source: JournalSource::new(journal.clone()),
            journal,
            producer,
            topic: settings.topic.clone(),
            mark,
            upto: upto.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("henge-audit-copy".into()).spawn(move || copying.run())?;
        Ok(Copy { upto, stop, thread: Mutex::new(Some(thread)) })
    }

    /// The first line that the brokers have not acknowledged.
    pub fn upto(&self) -> i64 {
        self.upto.load(Ordering::Relaxed)
    }

    /// Ends the thread. What was sent and not acknowledged is sent again at the next start.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn producer(properties: &Path) -> anyhow::Result<BaseProducer<Deliveries>> {
    let name = properties.display();
    let text = fs::read_to_string(properties).with_context(|| format!("audit.kafka_properties: {name}"))?;
    let mut config = ClientConfig::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What stands there may be a secret.
        let (key, value) = line
            .split_once('=')
            .with_context(|| format!("audit.kafka_properties: {name}: line {} is not name=value", number + 1))?;
        config.set(key.trim(), value.trim());
    }
    anyhow::ensure!(
        config.get("bootstrap.servers").is_some(),
        "audit.kafka_properties: {name} must name the brokers: bootstrap.servers=host:9092"
    );
    config.set("enable.idempotence", "true").set("message.timeout.ms", MESSAGE_TIMEOUT_MS);
    let deliveries = Deliveries::default();
    config.create_with_context(deliveries).map_err(|error| match error {
        KafkaError::ClientConfig(_, _, property, _) => {
            anyhow::anyhow!(
                "audit.kafka_properties: {name}: the value of [{property}] is not one that the client takes"
            )
        }
        error => anyhow::Error::from(error).context(format!("audit.kafka_properties: {name}")),
    })
}

/// What became of the messages of a round.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
    last: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            *self.last.lock() = Some(error.clone());
        }
    }
}

struct Copying {
    source: JournalSource,
    journal: Arc<Journal>,
    producer: BaseProducer<Deliveries>,
    topic: String,
    mark: PathBuf,
    upto: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
}

impl Copying {
    fn run(mut self) {
        let mut was_failing = false;
        while !self.stops() {
            let outcome = self.round();
            metrics::gauge!("henge_server_audit_copy_lag")
                .set(self.journal.range().high.saturating_sub(self.upto.load(Ordering::Relaxed)) as f64);
            match outcome {
                Ok(0) if !self.stops() => {}
                Ok(_) => {
                    if was_failing {
                        tracing::info!("the audit log is copied to Kafka again");
                    }
                    was_failing = false;
                }
                Err(error) => {
                    if !was_failing && !self.stops() {
                        tracing::error!(error = format!("{error:#}"), "the audit log is not copied to Kafka");
                    }
                    was_failing = true;
                    self.rest();
                }
            }
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn rest(&self) {
        let mut rested = Duration::ZERO;
        while rested < REST && !self.stops() {
            std::thread::sleep(LOOK);
            rested += LOOK;
        }
    }

    /// Sends the next lines, and returns how many were acknowledged.
    fn round(&mut self) -> anyhow::Result<usize> {
        let mut from = self.upto.load(Ordering::Relaxed);
        let range = self.journal.range();
        if from < range.low {
            let lost = range.low.saturating_sub(from);
            tracing::error!(lost, "events of the audit log were too many to be kept for Kafka and are not in its copy");
            metrics::counter!("henge_server_audit_copied_total", "outcome" => "passed over").increment(lost as u64);
            from = range.low;
        }
        self.source.assign(&Positions([(self.journal.partition(), from)].into()))?;
        self.producer.context().failed.store(0, Ordering::Relaxed);
        let (producer, topic, stop) = (&self.producer, self.topic.as_str(), &self.stop);
        let mut failure = None;
        let sent = self.source.poll(REST, ROUND, |record| {
            let (key, line) = (record.offset.to_string(), record.bytes.unwrap_or_default());
            let mut unsent = Some(BaseRecord::to(topic).key(&key).payload(line)).filter(|_| failure.is_none());
            while let Some(message) = unsent.take() {
                match producer.send(message) {
                    Ok(()) => {}
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        producer.poll(LOOK);
                        match stop.load(Ordering::Relaxed) {
                            true => failure = Some(anyhow::anyhow!("the node stops")),
                            false => unsent = Some(back),
                        }
                    }
                    Err((error, _)) => failure = Some(error.into()),
                }
            }
        })?;
        while self.producer.in_flight_count() > 0 {
            anyhow::ensure!(!self.stops(), "the node stops");
            self.producer.poll(LOOK);
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let failed = self.producer.context().failed.load(Ordering::Relaxed);
        if failed > 0 {
            let last = self.producer.context().last.lock().take();
            let why = last.map_or_else(|| "the brokers refused them".to_string(), |error| error.to_string());
            anyhow::bail!("{failed} of {sent} messages were not acknowledged: {why}");
        }
        let upto = from.saturating_add(sent as i64);
        if upto > self.upto.load(Ordering::Relaxed) {
            keep(&self.mark, upto).with_context(|| self.mark.display().to_string())?;
            self.upto.store(upto, Ordering::Relaxed);
        }
        metrics::counter!("henge_server_audit_copied_total", "outcome" => "sent").increment(sent as u64);
        Ok(sent)
    }
}

/// Puts a line number where it is found after a crash, whole.
fn keep(mark: &Path, line: i64) -> std::io::Result<()> {
    let fresh = mark.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{line}")?;
    file.sync_data()?;
    fs::rename(&fresh, mark)
}
