//! The port to data nodes: what a broker asks of the cluster, in words of this crate. Whoever owns sockets implements it; in
//! one process a [`LocalNode`](crate::local::LocalNode) stands behind it directly.
//!
//! A [`ClusterView`] says which segments there are and who has them, as one numbered picture per query; a [`DataNode`] answers
//! for the segments that it is asked about, and says which of them it does not serve. Pictures may be old: the broker finds
//! out by asking, tries other replicas, and waits for a newer picture.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use segment::schema::ValueType;
use segment::{Interval, SegmentId};
use serde_json::Value as Json;

use crate::admission::Principal;
use crate::error::Result;

/// A node's answer: bytes of frames ([`crate::wire`]), cut anywhere. Dropping it ends the node's work.
pub type NodeAnswer = BoxStream<'static, Result<Bytes>>;

/// One data node, here or far away.
#[async_trait]
pub trait DataNode: Send + Sync {
    /// Asks the node. An error says that the node could not be asked, or refused before it began; what goes wrong later comes
    /// in the stream. The ask travels as [`NodeAsk::to_bytes`].
    async fn run(&self, ask: &NodeAsk) -> Result<NodeAnswer>;
}

/// What the cluster looks like to a broker.
#[async_trait]
pub trait ClusterView: Send + Sync {
    /// One consistent picture of these tables: the segments visible within the intervals (all realtime ones that overlap them
    /// too), and who serves them. Tables that are not known have no segments. The intervals are sorted and do not overlap.
    fn routes(&self, tables: &[&str], intervals: &[Interval]) -> Routes;

    /// The number of the picture that there is now.
    fn number(&self) -> u64;

    /// A node of the picture by its name; `None` if it is gone.
    fn node(&self, name: &str) -> Option<Arc<dyn DataNode>>;

    /// Returns when there is a picture with a larger number, or when the time is over.
    async fn newer_than(&self, number: u64, within: Duration);

    /// The tables that have segments, by name.
    fn datasources(&self) -> Vec<String>;
}

/// Where the segments of some tables are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routes {
    /// Of the picture: grows with every change.
    pub number: u64,
    pub slices: Vec<Route>,
    /// All intervals of these tables whose rows are known not to be all there, also outside of the intervals that were asked
    /// for: whoever does not see all rows is told of any as of one everywhere.
    pub incomplete: Vec<(String, Interval)>,
}

/// A part of the time in which a segment is visible.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub id: SegmentId,
    /// Within the intervals that were asked for.
    pub interval: Interval,
    /// Who serves it; nobody: it should be there, and is not.
    pub nodes: Vec<String>,
    /// Whether its rows are not published: another node, or another process of one, has other rows under the same name.
    pub grows: bool,
}

/// What a node is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeAsk {
    pub query_id: String,
    pub who: Principal,
    /// By table, the key of what the asker sees of it. The node works that out again, and refuses a difference.
    pub keys: BTreeMap<String, String>,
    pub what: What,
    /// What the node is to answer for, and nothing else.
    pub segments: Vec<Asked>,
    /// Time left.
    pub remaining: Duration,
    pub memory_bytes: u64,
    /// Bytes of columns that may be read; the rest of what the asker's quota allows.
    pub scan_bytes: Option<u64>,
    pub subquery_rows_max: u64,
    pub priority: i64,
    /// By name, the versions of the lookups that the query may name.
    pub lookups: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Query(Box<Asking>),
    /// Names and types of the columns of each segment.
    Columns,
}

/// A query as a node gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// As [`Query::to_json`](crate::Query::to_json) writes it.
    pub query: Json,
    /// The query's intervals: text does not know all of them.
    pub intervals: Vec<Interval>,
    /// Of group queries: the types that keys have on other nodes.
    pub types: Vec<Vec<ValueType>>,
    /// Of scans: columns that a segment lacks are left out, for the rows are read as a source of something else.
    pub bare: bool,
    /// Of segmentMetadata: segments whose intervals end by then are left out.
    pub since: i64,
}

/// A segment that a node is to answer for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub id: SegmentId,
    /// Where it is visible and the query asks: sorted, not overlapping.
    pub intervals: Vec<Interval>,
}

/// How a broker goes about asking nodes.
#[derive(Debug, Clone)]
pub struct Scatter {
    /// After how long the segments of a node that has not answered are asked elsewhere too; `None`: never.
    pub hedge_after: Option<Duration>,
    /// How long a newer picture is waited for when nobody can answer for a segment.
    pub picture_within: Duration,
    /// How many pictures a query goes by, at least, before it gives up. Pictures that come sooner are used as well: what they
    /// show may have nothing to do with the segment.
    pub pictures_max: usize,
}
