//! One message to a topic, and whether the brokers have it: for what is sent now and then. What sends often keeps a client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::{config, describe};
use crate::error::{Error, Result};

/// Properties that are of no producer, and those by which a message might be lost.
const NOT_OURS: [&str; 14] = [
    "acks",
    "request.required.acks",
    "group.id",
    "isolation.level",
    "queued.max.messages.kbytes",
    "fetch.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "fetch.error.backoff.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "allow.auto.create.topics",
    "max.poll.interval.ms",
];

#[derive(Default)]
struct Delivery(Mutex<Option<std::result::Result<(), KafkaError>>>);

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        *self.0.lock() = Some(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// Whether the client takes these properties. No broker is asked.
pub fn check(properties: &BTreeMap<String, String>) -> Result<()> {
    producer(properties, Duration::from_secs(1)).map(drop)
}

/// Blocks until all replicas that are in step have the message, or the time is over: then it may have arrived all the same.
/// `properties` are those of [`consumer_properties`](crate::spec::properties::consumer_properties).
pub fn send(
    properties: &BTreeMap<String, String>,
    topic: &str,
    key: &str,
    payload: &[u8],
    within: Duration,
) -> Result<()> {
    let begun = Instant::now();
    let producer = producer(properties, within)?;
    let failed = |error: &KafkaError| Error::Stream(describe(error));
    producer.send(BaseRecord::to(topic).key(key).payload(payload)).map_err(|(error, _)| failed(&error))?;
    loop {
        producer.poll(Duration::from_millis(20));
        if let Some(outcome) = producer.context().0.lock().take() {
            return outcome.map_err(|error| failed(&error));
        }
        if begun.elapsed() > within + Duration::from_secs(1) {
            producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
            return Err(Error::Stream("the brokers did not answer in time".into()));
        }
    }
}

fn producer(properties: &BTreeMap<String, String>, within: Duration) -> Result<BaseProducer<Delivery>> {
    let mut client = config::client_config(properties, "henge");
    for name in NOT_OURS {
        client.remove(name);
    }
    let within = within.as_millis().to_string();
    client
        .set("statistics.interval.ms", "0")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", &within)
        .set("socket.timeout.ms", &within);
    client
        .create_with_context(Delivery::default())
        .map_err(|error| Error::invalid(format!("consumerProperties: {}", describe(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_an_error_in_time_and_tells_no_secret() {
        let properties = [("bootstrap.servers", "127.0.0.1:1"), ("sasl.password", "xyzzy")];
        let properties: BTreeMap<_, _> =
            properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        check(&properties).unwrap();
        let begun = Instant::now();
        let error = send(&properties, "t", "k", b"p", Duration::from_millis(300)).unwrap_err().to_string();
        assert!(!error.contains("xyzzy") && begun.elapsed() < Duration::from_secs(20), "{error}");
    }
}
