//! Where records come from. Each source hands its records to the caller in place, and tells how far it read.
//!
//! A streaming task reads a [`Source`]: Kafka, or the store's own journal. Both tell positions, ranges and trouble in the
//! same words, so that the task cannot tell them apart.

pub mod files;
pub mod hosts;
pub mod http;
pub mod journal;
pub mod kafka;
mod packed;
mod patience;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::parse::Record;
use crate::positions::{PartitionKey, Positions};
use crate::spec::{InputFormat, KafkaIo, Stream};
use journal::{Journal, JournalSource};
use kafka::KafkaSource;

/// Which share of the partitions is read: those with `partition % groups == group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub group: u32,
    pub groups: u32,
}

impl Share {
    pub fn holds(&self, key: &PartitionKey) -> bool {
        key.partition >= 0 && key.partition as u32 % self.groups.max(1) == self.group
    }
}

/// When a batch is full. Rows become visible a batch at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub records: usize,
    pub bytes: usize,
    /// From the first record on.
    pub time: Duration,
}

/// First offset held, and the offset after the last record that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub low: i64,
    pub high: i64,
}

/// The state of the stream as last seen.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Looks so far.
    pub looks: u64,
    /// The partitions of this share.
    pub partitions: Vec<PartitionKey>,
    /// Those whose leader answered.
    pub ranges: BTreeMap<PartitionKey, Range>,
    /// Whether the brokers ever answered, and did at the last look.
    pub answered_once: bool,
    pub answers: bool,
    /// What is wrong, as librdkafka words it: no connection, no such topic.
    pub problem: Option<String>,
    /// Where fetching has come to with nothing left to hand over: control records at the end of a partition have no
    /// record that would move a position there.
    pub drained: BTreeMap<PartitionKey, i64>,
}

impl Watch {
    pub fn ends(&self) -> Positions {
        Positions(self.ranges.iter().map(|(key, range)| (key.clone(), range.high)).collect())
    }

    /// The position of a partition, or the end if only control records are between.
    pub fn effective(&self, key: &PartitionKey, position: i64) -> i64 {
        self.drained.get(key).map_or(position, |drained| position.max(*drained))
    }
}

/// What a streaming task reads. Its methods are those of [`KafkaSource`], which says what they promise.
pub enum Source {
    Kafka(Box<KafkaSource>),
    Journal(JournalSource),
}

impl Source {
    /// `client` names the reader to the brokers; `journals` are those that this process keeps.
    pub fn open(io: &KafkaIo, share: Share, client: &str, journals: &[Arc<Journal>]) -> Result<Source> {
        if let Stream::Journal(name) = &io.stream {
            let journal = journals.iter().find(|journal| journal.name() == name);
            let journal = journal.ok_or_else(|| Error::NotFound(format!("this process keeps no journal {name}")))?;
            return Ok(Source::Journal(JournalSource::new(journal.clone())));
        }
        let with_headers = matches!(io.format, InputFormat::Kafka(_));
        Ok(Source::Kafka(Box::new(KafkaSource::open(io, share, client, with_headers)?)))
    }

    pub fn watch(&self) -> Watch {
        match self {
            Source::Kafka(kafka) => kafka.watch(),
            Source::Journal(journal) => journal.watch(),
        }
    }

    pub fn looks(&self) -> u64 {
        match self {
            Source::Kafka(kafka) => kafka.looks(),
            Source::Journal(journal) => journal.looks(),
        }
    }

    pub fn position(&self, key: &PartitionKey) -> Option<i64> {
        match self {
            Source::Kafka(kafka) => kafka.position(key),
            Source::Journal(journal) => journal.positions().get(key),
        }
    }

    pub fn seek(&mut self, key: &PartitionKey, offset: i64) -> Result<()> {
        match self {
            Source::Kafka(kafka) => kafka.seek(key, offset),
            Source::Journal(journal) => journal.assign(&Positions([(key.clone(), offset)].into())),
        }
    }

    pub fn assign(&mut self, positions: &Positions) -> Result<()> {
        match self {
            Source::Kafka(kafka) => kafka.assign(positions),
            Source::Journal(journal) => journal.assign(positions),
        }
    }

    pub fn positions(&self) -> Positions {
        match self {
            Source::Kafka(kafka) => kafka.positions(),
            Source::Journal(journal) => journal.positions(),
        }
    }

    #[inline]
    pub fn poll(&mut self, wait: Duration, limits: Limits, take: impl FnMut(&Record)) -> Result<usize> {
        match self {
            Source::Kafka(kafka) => kafka.poll(wait, limits, take),
            Source::Journal(journal) => journal.poll(wait, limits, take),
        }
    }
}
