//! The demo's synthetic streams: wiki edits and card payments, about 300 bytes an event, a few values taking most of the
//! traffic as they do in life.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

pub struct Topic {
    /// Also the supervisor's and the datasource's name.
    pub name: &'static str,
    /// The supervisor spec, given the bootstrap servers.
    pub spec: fn(&str) -> Value,
}

pub const TOPICS: &[Topic] =
    &[Topic { name: "wikipedia", spec: wikipedia_spec }, Topic { name: "payments", spec: payments_spec }];

const CHANNELS: &[&str] = &["en", "de", "fr", "ru", "ja", "es", "it", "zh", "pl", "pt", "nl", "sv", "ar", "uk", "vi"];
const NAMESPACES: &[&str] = &["Main", "Talk", "User", "User talk", "Wikipedia", "File", "Template", "Category"];
const COUNTRIES: &[&str] = &["US", "DE", "GB", "FR", "IN", "JP", "BR", "CA", "IT", "ES", "AU", "NL", "PL", "SE", "MX"];
const WORDS: &[&str] =
    &["river", "stone", "circle", "equinox", "harbour", "meadow", "lantern", "orchard", "summit", "valley"];
const MERCHANTS: &[&str] =
    &["grocer", "bookshop", "airline", "pharmacy", "cinema", "garage", "bakery", "hotel", "florist"];
const REASONS: &[&str] = &["insufficient_funds", "expired_card", "suspected_fraud", "limit_exceeded"];

pub struct Streams {
    random: SmallRng,
    number: u64,
}

impl Streams {
    pub fn new() -> Streams {
        Streams { random: SmallRng::seed_from_u64(7), number: 0 }
    }

    /// One event for each topic, `now` in milliseconds.
    pub fn next(&mut self, now: i64) -> [(&'static str, String); 2] {
        self.number += 1;
        [("wikipedia", self.edit(now)), ("payments", self.payment(now))]
    }

    /// An index below `n`, small ones far more often.
    fn skewed(&mut self, n: usize) -> usize {
        let u: f64 = self.random.random();
        ((n as f64).powf(u) - 1.0) as usize % n
    }

    fn edit(&mut self, now: i64) -> String {
        let late = if self.random.random_bool(0.01) { self.random.random_range(0..30_000) } else { 0 };
        let time = segment::time::format_timestamp(now - late);
        let channel = CHANNELS[self.skewed(CHANNELS.len())];
        let user = self.skewed(5_000);
        let anonymous = user.is_multiple_of(3);
        let added = if self.random.random_bool(0.8) { self.random.random_range(0..900) } else { 0 };
        let deleted = if self.random.random_bool(0.3) { self.random.random_range(0..400) } else { 0 };
        let page = (self.skewed(20_000), WORDS[self.skewed(WORDS.len())]);
        let country = if anonymous { json!(COUNTRIES[self.skewed(COUNTRIES.len())]) } else { Value::Null };
        json!({
            "time": time,
            "channel": format!("#{channel}.wikipedia"),
            "page": format!("The {} {}", page.1, page.0),
            "user": if anonymous { format!("203.0.113.{}", user % 256) } else { format!("editor-{user}") },
            "namespace": NAMESPACES[self.skewed(NAMESPACES.len())],
            "comment": format!("/* {} */ mended the {}", WORDS[self.skewed(WORDS.len())], WORDS[self.skewed(WORDS.len())]),
            "isRobot": self.random.random_bool(0.2),
            "isNew": self.random.random_bool(0.05),
            "isMinor": self.random.random_bool(0.3),
            "isAnonymous": anonymous,
            "country": country,
            "added": added,
            "deleted": deleted,
            "delta": added - deleted,
        })
        .to_string()
    }

    fn payment(&mut self, now: i64) -> String {
        let declined = self.random.random_bool(0.06);
        let merchant = self.skewed(400);
        let cents = self.random.random_range(100..40_000);
        json!({
            "ts": now,
            "txn_id": format!("t{:012}", self.number),
            "account": format!("acc-{}", self.skewed(10_000)),
            "merchant": format!("m-{merchant}"),
            "merchant_kind": MERCHANTS[merchant % MERCHANTS.len()],
            "country": COUNTRIES[self.skewed(COUNTRIES.len())],
            "currency": if merchant.is_multiple_of(3) { "EUR" } else { "USD" },
            "channel": if self.random.random_bool(0.6) { "online" } else { "terminal" },
            "status": if declined { "declined" } else { "approved" },
            "decline_reason": if declined { json!(REASONS[self.skewed(REASONS.len())]) } else { Value::Null },
            "amount": cents as f64 / 100.0,
            "fee": (cents / 50) as f64 / 100.0,
            "risk": self.random.random_range(0..1000),
        })
        .to_string()
    }
}

fn wikipedia_spec(bootstrap: &str) -> Value {
    json!({
        "type": "kafka",
        "spec": {
            "dataSchema": {
                "dataSource": "wikipedia",
                "timestampSpec": {"column": "time", "format": "iso"},
                "dimensionsSpec": {"dimensions": [
                    "channel", "page", "user", "namespace", "comment", "isRobot", "isNew", "isMinor", "isAnonymous", "country",
                    {"type": "long", "name": "added"}, {"type": "long", "name": "deleted"}, {"type": "long", "name": "delta"},
                ]},
                "metricsSpec": [],
                "granularitySpec": {"segmentGranularity": "HOUR", "queryGranularity": "NONE", "rollup": false},
            },
            "ioConfig": io("wikipedia", bootstrap),
            "tuningConfig": {"type": "kafka", "maxRowsInMemory": 100_000},
        },
    })
}

fn payments_spec(bootstrap: &str) -> Value {
    json!({
        "type": "kafka",
        "spec": {
            "dataSchema": {
                "dataSource": "payments",
                "timestampSpec": {"column": "ts", "format": "millis"},
                "dimensionsSpec": {"dimensions": [
                    "merchant", "merchant_kind", "country", "currency", "channel", "status", "decline_reason",
                ]},
                "metricsSpec": [
                    {"type": "count", "name": "payments"},
                    {"type": "doubleSum", "name": "amount", "fieldName": "amount"},
                    {"type": "doubleSum", "name": "fee", "fieldName": "fee"},
                    {"type": "longMax", "name": "risk_max", "fieldName": "risk"},
                ],
                "granularitySpec": {"segmentGranularity": "HOUR", "queryGranularity": "MINUTE", "rollup": true},
            },
            "ioConfig": io("payments", bootstrap),
            "tuningConfig": {"type": "kafka", "maxRowsInMemory": 100_000},
        },
    })
}

fn io(topic: &str, bootstrap: &str) -> Value {
    json!({
        "type": "kafka",
        "topic": topic,
        "inputFormat": {"type": "json"},
        "consumerProperties": {"bootstrap.servers": bootstrap},
        "taskCount": 1,
        "taskDuration": "PT10M",
        "useEarliestOffset": true,
    })
}
