//! Reading partitions of Kafka topics from given positions.
//!
//! Partitions are assigned, never subscribed, and nothing is committed to the broker: positions belong to the ledger. A
//! client watches the topics on a thread of its own (`watch.rs`), so that a broker that does not answer delays nothing but
//! itself. Backpressure is not to poll: librdkafka stops to fetch when its queue is full.
//!
//! Memory: librdkafka holds at most `queued.max.messages.kbytes` (16 MiB unless the spec says otherwise) and the fetch
//! that was under way when that was reached (8 MiB).

mod config;
pub mod send;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Limits, Share, Watch};
use crate::error::{Error, Result};
use crate::parse::Record;
use crate::positions::{PartitionKey, Positions};
use crate::spec::KafkaIo;
use watch::Watcher;

pub struct KafkaSource {
    consumer: Arc<BaseConsumer<watch::Context>>,
    watcher: Watcher,
    /// What is read, in the order it was added.
    slots: Vec<Slot>,
    /// The slot of the last record: the next is most often of the same.
    last: usize,
    with_headers: bool,
}

struct Slot {
    key: PartitionKey,
    next: i64,
}

impl KafkaSource {
    /// Connects in the background; nothing is read until `assign`. Fails only if the properties cannot be used.
    pub fn open(io: &KafkaIo, share: Share, client: &str, with_headers: bool) -> Result<KafkaSource> {
        let config = config::client_config(&io.consumer_properties, client);
        let context = watch::Context::new();
        let consumer: BaseConsumer<watch::Context> = config
            .create_with_context(context.clone())
            .map_err(|error| Error::invalid(format!("ioConfig.consumerProperties: {}", describe(&error))))?;
        let consumer = Arc::new(consumer);
        let watcher = Watcher::start(consumer.clone(), context, io.stream.clone(), share)?;
        Ok(KafkaSource { consumer, watcher, slots: Vec::new(), last: 0, with_headers })
    }

    /// What is known of the topics.
    pub fn watch(&self) -> Watch {
        self.watcher.latest()
    }

    /// How often the topics were looked at.
    pub fn looks(&self) -> u64 {
        self.watcher.looks()
    }

    /// The next offset of a partition that is read.
    pub fn position(&self, key: &PartitionKey) -> Option<i64> {
        self.slots.iter().find(|slot| slot.key == *key).map(|slot| slot.next)
    }

    /// Goes on elsewhere in a partition that is read already.
    pub fn seek(&mut self, key: &PartitionKey, offset: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&key.topic, key.partition);
        self.consumer.incremental_unassign(&list).map_err(refused)?;
        self.slots.retain(|slot| slot.key != *key);
        self.assign(&Positions([(key.clone(), offset)].into()))
    }

    /// Reads these partitions too, from these positions.
    pub fn assign(&mut self, positions: &Positions) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (key, offset) in &positions.0 {
            list.add_partition_offset(&key.topic, key.partition, Offset::Offset(*offset)).map_err(refused)?;
        }
        self.consumer.incremental_assign(&list).map_err(refused)?;
        let slots = positions.0.iter().map(|(key, next)| Slot { key: key.clone(), next: *next });
        self.slots.extend(slots);
        Ok(())
    }

    /// The next offset of each assigned partition.
    pub fn positions(&self) -> Positions {
        Positions(self.slots.iter().map(|slot| (slot.key.clone(), slot.next)).collect())
    }

    /// Waits up to `wait` for a record, then hands over what comes until a limit is reached. Answers how many records
    /// there were. A record never comes twice, nor after a later one of its partition.
    ///
    /// [`Error::Lost`] if the broker no longer has the records that come next. Everything else that goes wrong is
    /// retried in the background and shows in [`KafkaSource::watch`].
    pub fn poll(&mut self, wait: Duration, limits: Limits, mut take: impl FnMut(&Record)) -> Result<usize> {
        let (mut records, mut bytes) = (0, 0);
        let mut until: Option<Instant> = None;
        loop {
            let patience = match until {
                None => wait,
                Some(until) => until.saturating_duration_since(Instant::now()),
            };
            let Some(polled) = self.consumer.poll(patience) else {
                return Ok(records);
            };
            match polled {
                Ok(message) => {
                    let size = message.payload_len() + message.key_len();
                    let (slots, last) = (&mut self.slots, &mut self.last);
                    if admit(slots, last, &message) {
                        hand_over(&message, self.with_headers, &mut take);
                        (records, bytes) = (records + 1, bytes + size);
                        until.get_or_insert_with(|| Instant::now() + limits.time);
                    }
                }
                Err(error) => self.explain(error)?,
            }
            // The clock is looked at now and then only: a look costs more than a small record.
            let late = records % 32 == 0 && until.is_some_and(|until| Instant::now() >= until);
            if records >= limits.records || bytes >= limits.bytes || late {
                return Ok(records);
            }
        }
    }

    fn explain(&self, error: KafkaError) -> Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => Ok(()),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.watcher.look_again();
                Err(Error::Lost("a position is out of the range that the stream holds".into()))
            }
            _ => {
                self.watcher.note(&describe(&error));
                Ok(())
            }
        }
    }
}

/// Moves the position of the record's partition past it; `false` for a record that was there before.
fn admit(slots: &mut [Slot], last: &mut usize, message: &BorrowedMessage) -> bool {
    let partition = message.partition();
    let is_of = |slot: &Slot| slot.key.partition == partition && slot.key.topic == message.topic();
    if !slots.get(*last).is_some_and(is_of) {
        let Some(found) = slots.iter().position(is_of) else { return false };
        *last = found;
    }
    let slot = &mut slots[*last];
    if message.offset() < slot.next {
        return false;
    }
    slot.next = message.offset() + 1;
    true
}

fn hand_over(message: &BorrowedMessage, with_headers: bool, take: &mut impl FnMut(&Record)) {
    let headers: Vec<(&str, &[u8])> = match message.headers() {
        Some(headers) if with_headers => {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        }
        _ => Vec::new(),
    };
    take(&Record {
        bytes: message.payload(),
        key: message.key(),
        headers: &headers,
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(0),
    });
}

fn refused(error: KafkaError) -> Error {
    Error::Stream(format!("the partitions cannot be read: {}", describe(&error)))
}

/// librdkafka's own words, without the wrapping of the binding.
fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, text, name, value) if name.is_empty() => format!("{text} {value}").trim().into(),
        // A value may be a secret, and this is told in logs and reports.
        KafkaError::ClientConfig(_, text, name, value) if text.contains(value.as_str()) => {
            format!("{name}: its value is not one that the client takes")
        }
        KafkaError::ClientConfig(_, text, name, _) => format!("{name}: {text}"),
        KafkaError::ClientCreation(text) => text.clone(),
        other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Errors are told in logs and reports, to who may not see the spec.
    #[test]
    fn the_clients_errors_tell_no_value_of_a_property() {
        let secret = "xyzzy-7-secret";
        let given = |name: &str| {
            let properties = [("bootstrap.servers", "127.0.0.1:1"), (name, secret)];
            let properties: BTreeMap<_, _> =
                properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let created: Result<BaseConsumer, _> = config::client_config(&properties, "me").create();
            created.err().map(|error| describe(&error))
        };
        let mut refused = 0;
        for name in [
            "security.protocol",
            "isolation.level",
            "fetch.min.bytes",
            "enable.ssl.certificate.verification",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.ca.pem",
            "sasl.password",
            "sasl.oauthbearer.method",
            "no.such.thing",
            "sasl.jaas.config",
        ] {
            // Some hold only together with others, and some are of what this client is built without.
            let Some(error) = given(name) else { continue };
            assert!(error.contains(name) && !error.contains(secret), "{name}: {error}");
            refused += 1;
        }
        assert!(refused > 5, "{refused}");
    }
}
