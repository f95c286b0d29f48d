//! What opens and what closes an answer, and analyses of segments: JSON.

use segment::schema::ValueType;
use segment::{Interval, SegmentId};
use serde::{Deserialize, Serialize};

use super::frame::broken;
use super::{VERSION, Versioned, check_version};
use crate::engine::inspect::{Analysed, Analysis};
use crate::error::{Error, Result};

/// What a node says before the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    pub version: u64,
    /// Segments that it was asked about and does not serve; it answers for the others.
    pub missing: Vec<SegmentId>,
    /// Those that are realtime rows: another node's rows of them may stand in another order.
    pub realtime: Vec<SegmentId>,
    /// All intervals of the tables that the node knows not to be complete.
    pub incomplete: Vec<(String, Interval)>,
    /// Whether there was anything to look at.
    pub touched: bool,
    /// Times of the rows that are looked at, inclusive.
    pub spans: Vec<(i64, i64)>,
    /// Bytes of columns that are read.
    pub scanned: u64,
    /// Of group queries: the types of the keys, and of the ids of the aggregates.
    pub types: Vec<Vec<ValueType>>,
    /// Of scans by time of all columns: those of each piece, with the place of its segment in the ask.
    pub names: Vec<(u32, Vec<String>)>,
    /// The first of the segments that were looked at.
    pub first: Option<SegmentId>,
    /// The last end of their intervals.
    pub newest: Option<i64>,
}

/// What a node says behind the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Closing {
    /// All is said. `matched`: whether any row was selected.
    Complete {
        matched: bool,
    },
    Failed {
        kind: String,
        why: String,
    },
}

/// The analysis of a piece.
#[derive(Serialize, Deserialize)]
struct AnalysedMessage {
    id: SegmentId,
    restricted: bool,
    analysis: Analysis,
}

impl Opening {
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&Opening { version: VERSION, ..self.clone() }).expect("plain data is written")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Opening> {
        let said: Versioned = serde_json::from_slice(bytes).map_err(broken)?;
        check_version(said.version, "a data node")?;
        serde_json::from_slice(bytes).map_err(broken)
    }
}

impl Closing {
    pub fn failed(error: &Error) -> Closing {
        let (kind, why) = parts(error);
        Closing::Failed { kind: kind.into(), why: why.into() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is written")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Closing> {
        serde_json::from_slice(bytes).map_err(broken)
    }

    /// Whether any row was selected, or how the node failed.
    pub fn matched(self) -> Result<bool> {
        match self {
            Closing::Complete { matched } => Ok(matched),
            Closing::Failed { kind, why } => Err(error_of(&kind, why)),
        }
    }
}

fn parts(error: &Error) -> (&'static str, &str) {
    match error {
        Error::Parse(why) => ("parse", why),
        Error::Context(why) => ("context", why),
        Error::Invalid(why) => ("invalid", why),
        Error::Unsupported(why) => ("unsupported", why),
        Error::Denied(why) => ("denied", why),
        Error::NotFound(why) => ("notFound", why),
        Error::ResourceLimit(why) => ("resourceLimit", why),
        Error::Capacity(why) => ("capacity", why),
        Error::Timeout(why) => ("timeout", why),
        Error::Cancelled(why) => ("cancelled", why),
        Error::Unavailable(why) => ("unavailable", why),
        Error::Corrupt(why) => ("corrupt", why),
        Error::Bug(why) => ("bug", why),
    }
}

fn error_of(kind: &str, why: String) -> Error {
    match kind {
        "parse" => Error::Parse(why),
        "context" => Error::Context(why),
        "invalid" => Error::Invalid(why),
        "unsupported" => Error::Unsupported(why),
        "denied" => Error::Denied(why),
        "notFound" => Error::NotFound(why),
        "resourceLimit" => Error::ResourceLimit(why),
        "capacity" => Error::Capacity(why),
        "timeout" => Error::Timeout(why),
        "cancelled" => Error::Cancelled(why),
        "unavailable" => Error::Unavailable(why),
        "corrupt" => Error::Corrupt(why),
        _ => Error::Bug(why),
    }
}

pub fn write_analyses(analyses: Vec<Analysed>) -> Vec<u8> {
    let message = |Analysed { id, restricted, analysis }| AnalysedMessage { id, restricted, analysis };
    let messages: Vec<AnalysedMessage> = analyses.into_iter().map(message).collect();
    serde_json::to_vec(&messages).expect("plain data is written")
}

pub fn read_analyses(bytes: &[u8]) -> Result<Vec<Analysed>> {
    let messages: Vec<AnalysedMessage> = serde_json::from_slice(bytes).map_err(broken)?;
    let analysed = |AnalysedMessage { id, restricted, analysis }| Analysed { id, restricted, analysis };
    Ok(messages.into_iter().map(analysed).collect())
}
