//! What is known of the topics: partitions, first and last offsets, and whether the brokers answer. Asked again and again
//! by a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use serde::Deserialize;

use super::describe;
use crate::error::{Error, Result};
use crate::positions::PartitionKey;
use crate::source::{Range, Share, Watch};
use crate::spec::Stream;

/// How long a broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Rest between two looks; longer if looking takes long, so that it takes a 20th of the time at most.
const REST: Duration = Duration::from_secs(1);

/// Rest while there is no contact or no topic.
const REST_IN_TROUBLE: Duration = Duration::from_millis(500);

/// Receives what librdkafka reports by itself, on the thread that polls.
#[derive(Clone)]
pub(super) struct Context(Arc<Shared>);

pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    watch: Watch,
    /// The newest words of librdkafka about what is wrong.
    last_error: Option<String>,
    /// Where fetching had come to at the last statistics.
    fetched: BTreeMap<PartitionKey, i64>,
    stop: bool,
    look_now: bool,
}

impl Context {
    pub fn new() -> Context {
        Context(Arc::new(Shared { state: Mutex::new(State::default()), wake: Condvar::new() }))
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "librdkafka");
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.0.state.lock().last_error = Some(reason.to_string());
    }

    fn stats_raw(&self, json: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let mut state = self.0.state.lock();
        let before = std::mem::take(&mut state.fetched);
        let mut drained = BTreeMap::new();
        for (topic, of_topic) in statistics.topics {
            for (partition, at) in of_topic.partitions {
                let Some(partition) = partition.parse().ok().filter(|_| at.next_offset >= 0) else { continue };
                let key = PartitionKey::new(topic.clone(), partition);
                // The two numbers are not of one instant: records before the offset may have come between. Those
                // before the last time's offset are in the queue by now, or handed over.
                if at.fetchq_cnt == 0 && before.get(&key) == Some(&at.next_offset) {
                    drained.insert(key.clone(), at.next_offset);
                }
                state.fetched.insert(key, at.next_offset);
            }
        }
        state.watch.drained = drained;
    }
}

impl ConsumerContext for Context {}

/// The part of librdkafka's statistics that is looked at.
#[derive(Deserialize)]
struct Statistics {
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    fetchq_cnt: i64,
    next_offset: i64,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub fn start(
        consumer: Arc<BaseConsumer<Context>>,
        context: Context,
        stream: Stream,
        share: Share,
    ) -> Result<Watcher> {
        let shared = context.0;
        let look = Look { consumer, shared: shared.clone(), stream, share };
        let thread = std::thread::Builder::new().name("henge-kafka-watch".into());
        let thread = thread.spawn(move || look.run()).map_err(|error| Error::io("start a thread", error))?;
        Ok(Watcher { shared, thread: Some(thread) })
    }

    pub fn looks(&self) -> u64 {
        self.shared.state.lock().watch.looks
    }

    pub fn latest(&self) -> Watch {
        self.shared.state.lock().watch.clone()
    }

    /// Looks at once.
    pub fn look_again(&self) {
        self.shared.state.lock().look_now = true;
        self.shared.wake.notify_all();
    }

    /// Keeps what the reading thread was told.
    pub fn note(&self, error: &str) {
        let mut state = self.shared.state.lock();
        if state.last_error.is_none() {
            state.last_error = Some(error.to_string());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; there is nothing to save here.
            let _ = thread.join();
        }
    }
}

struct Look {
    consumer: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    stream: Stream,
    share: Share,
}

impl Look {
    fn run(self) {
        loop {
            let began = Instant::now();
            let partitions = self.partitions();
            let seen = match &partitions {
                Ok(partitions) => self.ranges(partitions),
                Err(trouble) => Err(trouble.clone()),
            };
            let mut state = self.shared.state.lock();
            let last_error = state.last_error.take();
            let watch = &mut state.watch;
            watch.looks += 1;
            if let Ok(partitions) = partitions {
                watch.partitions = partitions;
            }
            let rest = match seen {
                Ok((ranges, problem)) => {
                    watch.ranges.extend(ranges);
                    watch.answered_once = true;
                    watch.answers = true;
                    watch.problem = problem;
                    REST.max(began.elapsed() * 20)
                }
                Err(Trouble::NoContact(reason)) => {
                    watch.answers = false;
                    watch.problem = Some(last_error.unwrap_or(reason));
                    REST_IN_TROUBLE
                }
                Err(Trouble::NoTopic(reason)) => {
                    watch.answered_once = true;
                    watch.answers = true;
                    watch.problem = Some(reason);
                    REST_IN_TROUBLE
                }
            };
            if !state.stop && !state.look_now {
                self.shared.wake.wait_for(&mut state, rest);
            }
            state.look_now = false;
            if state.stop {
                return;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.shared.state.lock().stop
    }

    fn partitions(&self) -> Result<Vec<PartitionKey>, Trouble> {
        let topic = match &self.stream {
            Stream::Topic(topic) | Stream::Journal(topic) => Some(topic.as_str()),
            Stream::Pattern { .. } => None,
        };
        let metadata = self.consumer.fetch_metadata(topic, ANSWER_MAX);
        let metadata = metadata.map_err(|error| Trouble::NoContact(describe(&error)))?;
        let mut partitions = Vec::new();
        for of_topic in metadata.topics() {
            let name = of_topic.name();
            match &self.stream {
                Stream::Pattern { regex, .. } if !regex.is_match(name) || name.starts_with("__") => continue,
                Stream::Topic(topic) | Stream::Journal(topic) if topic != name => continue,
                _ => {}
            }
            if let Some(error) = of_topic.error() {
                let error = rdkafka::error::RDKafkaErrorCode::from(error);
                return Err(Trouble::NoTopic(format!(
                    "topic {name} cannot be read: {error}; create it or correct ioConfig.topic"
                )));
            }
            let keys = of_topic.partitions().iter().map(|partition| PartitionKey::new(name, partition.id()));
            partitions.extend(keys);
        }
        if partitions.is_empty() {
            return Err(Trouble::NoTopic(match &self.stream {
                Stream::Topic(topic) | Stream::Journal(topic) => {
                    format!("topic {topic} does not exist; create it or correct ioConfig.topic")
                }
                Stream::Pattern { text, .. } => format!("no topic matches ioConfig.topicPattern {text}"),
            }));
        }
        partitions.retain(|key| self.share.holds(key));
        Ok(partitions)
    }

    /// The ranges of the partitions whose leaders answer, and what is wrong with the first other one.
    #[allow(clippy::type_complexity)]
    fn ranges(&self, partitions: &[PartitionKey]) -> Result<(BTreeMap<PartitionKey, Range>, Option<String>), Trouble> {
        let mut ranges = BTreeMap::new();
        let mut problem = None;
        for key in partitions {
            if self.is_stopped() {
                break;
            }
            match self.consumer.fetch_watermarks(&key.topic, key.partition, ANSWER_MAX) {
                Ok((low, high)) => {
                    ranges.insert(key.clone(), Range { low, high });
                }
                Err(error) => {
                    problem.get_or_insert_with(|| format!("partition {key}: {}", describe(&error)));
                }
            }
        }
        match problem {
            Some(problem) if ranges.is_empty() => Err(Trouble::NoContact(problem)),
            problem => Ok((ranges, problem)),
        }
    }
}

#[derive(Clone)]
enum Trouble {
    NoContact(String),
    NoTopic(String),
}
