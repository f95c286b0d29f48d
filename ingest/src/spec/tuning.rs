//! The tuningConfig: limits in memory and per segment, and how many bad records are borne.

use segment::error::Result;
use serde_json::Value;

use super::fields::Fields;

/// How many bytes the rows in memory may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBound {
    /// The node's own share.
    Auto,
    Unlimited,
    Bytes(u64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    pub max_rows_in_memory: usize,
    pub max_bytes_in_memory: MemoryBound,
    pub max_rows_per_segment: u64,
    /// Rows of all open segments together past which they are closed and published.
    pub max_total_rows: u64,
    pub intermediate_persist_millis: i64,
    pub intermediate_handoff_millis: i64,
    /// More unparseable records than this fail the task.
    pub max_parse_exceptions: u64,
    /// How many of the last parse errors are kept for the report.
    pub max_saved_parse_exceptions: usize,
    pub log_parse_exceptions: bool,
    /// Start again from the earliest or latest offset when the recorded one is gone from the broker.
    pub reset_offset_automatically: bool,
}

const SHARED: [&str; 8] = [
    "type",
    "maxRowsInMemory",
    "maxBytesInMemory",
    "maxRowsPerSegment",
    "maxTotalRows",
    "reportParseExceptions",
    "logParseExceptions",
    "maxParseExceptions",
];

/// Fields of every tuningConfig that have no meaning here.
const SHARED_UNUSED: [&str; 8] = [
    "skipBytesInMemoryOverheadCheck",
    "maxPendingPersists",
    "numPersistThreads",
    "indexSpec",
    "indexSpecForIntermediatePersists",
    "segmentWriteOutMediumFactory",
    "appendableIndexSpec",
    "maxColumnsToMerge",
];

const KAFKA: [&str; 6] = [
    "maxSavedParseExceptions",
    "intermediatePersistPeriod",
    "intermediateHandoffPeriod",
    "handoffConditionTimeout",
    "resetOffsetAutomatically",
    "offsetFetchPeriod",
];

const KAFKA_UNUSED: [&str; 8] = [
    "releaseLocksOnHandoff",
    "streamingPartitionsSpec",
    "workerThreads",
    "chatRetries",
    "httpTimeout",
    "shutdownTimeout",
    "buildV9Directly",
    "basePersistDirectory",
];

pub(super) const BATCH: [&str; 3] =
    ["maxSavedParseExceptions", "partitionsSpec", "awaitSegmentAvailabilityTimeoutMillis"];

const BATCH_UNUSED: [&str; 14] = [
    "splitHintSpec",
    "forceGuaranteedRollup",
    "pushTimeout",
    "maxNumConcurrentSubTasks",
    "maxNumSubTasks",
    "maxRetry",
    "taskStatusCheckPeriodMs",
    "chatHandlerTimeout",
    "chatHandlerNumRetries",
    "maxNumSegmentsToMerge",
    "totalNumMergeTasks",
    "maxAllowedLockCount",
    "numShards",
    "partitionDimensions",
];

impl Tuning {
    /// The tuningConfig of a supervisor; `None` gives the defaults.
    pub fn kafka(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<Tuning> {
        let empty = Value::Object(Default::default());
        let meant: Vec<&str> = SHARED.into_iter().chain(KAFKA).collect();
        let unused: Vec<&str> = SHARED_UNUSED.into_iter().chain(KAFKA_UNUSED).collect();
        let f = Fields::open(json.unwrap_or(&empty), path, &meant, &unused, ignored)?;
        expect_type(&f, &["kafka", "KafkaTuningConfig"])?;
        let mut tuning = Tuning::shared(&f, 150_000)?;
        tuning.intermediate_persist_millis = f.period("intermediatePersistPeriod")?.unwrap_or(600_000).max(1);
        if let Some(millis) = f.period("intermediateHandoffPeriod")? {
            tuning.intermediate_handoff_millis = millis.max(1);
        }
        // Rows are served by the task for as long as nobody else does, and lag is as new as the stream's last answer.
        f.at_least("handoffConditionTimeout", 0, 900_000)?;
        f.period("offsetFetchPeriod")?;
        f.ignore(&["handoffConditionTimeout", "offsetFetchPeriod"], ignored);
        tuning.reset_offset_automatically = f.flag("resetOffsetAutomatically", false)?;
        Ok(tuning)
    }

    /// The tuningConfig of a native batch task. The rows per segment may stand in its partitionsSpec, which the caller
    /// reads.
    pub fn batch(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<Tuning> {
        let empty = Value::Object(Default::default());
        let meant: Vec<&str> = SHARED.into_iter().chain(BATCH).collect();
        let unused: Vec<&str> = SHARED_UNUSED.into_iter().chain(BATCH_UNUSED).collect();
        let f = Fields::open(json.unwrap_or(&empty), path, &meant, &unused, ignored)?;
        expect_type(&f, &["index_parallel", "index"])?;
        f.at_least("awaitSegmentAvailabilityTimeoutMillis", i64::MIN, 0)?;
        f.ignore(&["awaitSegmentAvailabilityTimeoutMillis"], ignored);
        Tuning::shared(&f, 1_000_000)
    }

    fn shared(f: &Fields, rows_in_memory: i64) -> Result<Tuning> {
        let strict = f.flag("reportParseExceptions", false)?;
        let max_parse_exceptions = f.at_least("maxParseExceptions", -1, i64::from(i32::MAX))?;
        Ok(Tuning {
            max_rows_in_memory: f.at_least("maxRowsInMemory", 1, rows_in_memory)?.min(i64::from(u32::MAX)) as usize,
            max_bytes_in_memory: match f.at_least("maxBytesInMemory", -1, 0)? {
                -1 => MemoryBound::Unlimited,
                0 => MemoryBound::Auto,
                bytes => MemoryBound::Bytes(bytes as u64),
            },
            max_rows_per_segment: positive_or(f, "maxRowsPerSegment", 5_000_000)?,
            max_total_rows: positive_or(f, "maxTotalRows", 20_000_000)?,
            intermediate_persist_millis: 600_000,
            intermediate_handoff_millis: i64::from(i32::MAX) * 86_400_000,
            max_parse_exceptions: match (strict, max_parse_exceptions) {
                (true, _) => 0,
                (false, -1) => u64::MAX,
                (false, n) => n as u64,
            },
            max_saved_parse_exceptions: f.at_least("maxSavedParseExceptions", 0, 0)?.min(10_000) as usize,
            log_parse_exceptions: f.flag("logParseExceptions", false)?,
            reset_offset_automatically: false,
        })
    }
}

/// Druid writes -1 (and null) where it means the default.
pub(super) fn positive_or(f: &Fields, name: &str, default: u64) -> Result<u64> {
    match f.at_least(name, -1, -1)? {
        -1 => Ok(default),
        0 => f.at_least(name, 1, 1).map(|n| n as u64),
        n => Ok(n as u64),
    }
}

fn expect_type(f: &Fields, valid: &[&str]) -> Result<()> {
    match f.text("type")? {
        Some(kind) if !valid.contains(&kind.as_str()) => {
            Err(super::fields::not_one_of(&f.path_of("type"), &kind, valid))
        }
        _ => Ok(()),
    }
}
