//! An ask as bytes: a checksum (8 bytes, xxh3, little endian), then JSON with the version first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use segment::schema::ValueType;
use segment::{Interval, SegmentId};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::{VERSION, Versioned, check_version};
use crate::admission::Principal;
use crate::cluster::{Asked, Asking, NodeAsk, What};
use crate::error::{Error, Result};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Message {
    version: u64,
    query_id: String,
    who: Who,
    keys: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<QueryMessage>,
    segments: Vec<(SegmentId, Vec<Interval>)>,
    remaining_millis: u64,
    memory_bytes: u64,
    scan_bytes: Option<u64>,
    subquery_rows_max: u64,
    priority: i64,
    lookups: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QueryMessage {
    json: Json,
    intervals: Vec<Interval>,
    types: Vec<Vec<ValueType>>,
    bare: bool,
    since: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Who {
    name: String,
    roles: BTreeSet<String>,
    scope: Option<BTreeSet<String>>,
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
}

impl NodeAsk {
    pub fn to_bytes(&self) -> Vec<u8> {
        let Principal { name, roles, scope, groups, attributes } = self.who.clone();
        let query = match &self.what {
            What::Columns => None,
            What::Query(asking) => Some(QueryMessage {
                json: marked(&asking.query),
                intervals: asking.intervals.clone(),
                types: asking.types.clone(),
                bare: asking.bare,
                since: asking.since,
            }),
        };
        let message = Message {
            version: VERSION,
            query_id: self.query_id.clone(),
            who: Who { name, roles, scope, groups, attributes },
            keys: self.keys.clone(),
            query,
            segments: self.segments.iter().map(|asked| (asked.id.clone(), asked.intervals.clone())).collect(),
            remaining_millis: self.remaining.as_millis() as u64,
            memory_bytes: self.memory_bytes,
            scan_bytes: self.scan_bytes,
            subquery_rows_max: self.subquery_rows_max,
            priority: self.priority,
            lookups: self.lookups.clone(),
        };
        let json = serde_json::to_vec(&message).expect("plain data is written");
        checked(&json)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<NodeAsk> {
        let wrong = |why: &dyn std::fmt::Display| Error::Invalid(format!("the ask cannot be read: {why}"));
        let Some((sum, json)) = bytes.split_first_chunk::<8>() else { return Err(wrong(&"it is too short")) };
        if xxh3_64(json) != u64::from_le_bytes(*sum) {
            return Err(wrong(&"its checksum is another"));
        }
        let said: Versioned = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
        check_version(said.version, "the broker")?;
        let message: Message = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
        let what = match message.query {
            None => What::Columns,
            Some(query) => What::Query(Box::new(Asking {
                query: unmarked(query.json),
                intervals: query.intervals,
                types: query.types,
                bare: query.bare,
                since: query.since,
            })),
        };
        let Who { name, roles, scope, groups, attributes } = message.who;
        let segments = message.segments.into_iter().map(|(id, intervals)| Asked { id, intervals }).collect();
        Ok(NodeAsk {
            query_id: message.query_id,
            who: Principal { name, roles, scope, groups, attributes },
            keys: message.keys,
            what,
            segments,
            remaining: Duration::from_millis(message.remaining_millis),
            memory_bytes: message.memory_bytes,
            scan_bytes: message.scan_bytes,
            subquery_rows_max: message.subquery_rows_max,
            priority: message.priority,
            lookups: message.lookups,
        })
    }
}

/// A message behind its checksum.
pub fn checked(message: &[u8]) -> Vec<u8> {
    [&xxh3_64(message).to_le_bytes(), message].concat()
}

/// Begins texts that stand for doubles, whose decimal text is not read back to the same bits.
const BITS: &str = "\u{1}d";
/// Begins texts that begin so by themselves.
const TEXT: &str = "\u{1}t";

/// The same JSON, whose doubles are read back bit by bit.
fn marked(json: &Json) -> Json {
    match json {
        Json::Number(number) if number.is_f64() => {
            format!("{BITS}{:x}", number.as_f64().unwrap_or_default().to_bits()).into()
        }
        Json::String(text) if text.starts_with('\u{1}') => format!("{TEXT}{text}").into(),
        Json::Array(items) => items.iter().map(marked).collect(),
        Json::Object(map) => map.iter().map(|(name, value)| (name.clone(), marked(value))).collect(),
        other => other.clone(),
    }
}

fn unmarked(json: Json) -> Json {
    match json {
        Json::String(text) => match (text.strip_prefix(BITS), text.strip_prefix(TEXT)) {
            (Some(bits), _) => {
                u64::from_str_radix(bits, 16).map_or(Json::Null, |bits| Json::from(f64::from_bits(bits)))
            }
            (None, Some(text)) => text.into(),
            (None, None) => text.into(),
        },
        Json::Array(items) => items.into_iter().map(unmarked).collect(),
        Json::Object(map) => map.into_iter().map(|(name, value)| (name, unmarked(value))).collect(),
        other => other,
    }
}
