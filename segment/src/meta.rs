//! What a segment is called and what is known about it without opening it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Interval, format_timestamp};

/// Datasources whose names begin so are the store's own: what it keeps of itself (`sys.audit`). Nobody posts, replaces or
/// drops them, and listings leave them out.
const SYSTEM: &str = "sys.";

/// Whether a datasource (or the supervisor of that name) is the store's own.
pub fn is_system(datasource: &str) -> bool {
    system_table(datasource).is_some()
}

/// The name of a datasource of the store's own as a system table.
pub fn system_table(datasource: &str) -> Option<&str> {
    datasource.strip_prefix(SYSTEM)
}

/// The name of a segment, unique for ever: no two segments with different rows share one.
///
/// `version` is compared as text (Druid uses the ISO time of the lock); `partition` numbers the segments that share a
/// time chunk and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentId {
    pub datasource: String,
    pub interval: Interval,
    pub version: String,
    pub partition: u32,
}

impl fmt::Display for SegmentId {
    /// Druid's form: `ds_start_end_version[_partition]`, the partition left out when it is 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}_{}_{}_{}",
            self.datasource,
            format_timestamp(self.interval.start),
            format_timestamp(self.interval.end),
            self.version
        )?;
        if self.partition > 0 {
            write!(f, "_{}", self.partition)?;
        }
        Ok(())
    }
}

/// What the catalog records of a published segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeta {
    pub id: SegmentId,
    pub rows: u64,
    pub size_bytes: u64,
    /// xxh3-64 of the whole file.
    pub checksum: u64,
    /// Smallest and largest `__time` of the rows (inclusive), if there are rows.
    pub time_range: Option<(i64, i64)>,
    pub dimensions: Vec<String>,
    pub metrics: Vec<String>,
    /// Key of the file in deep storage; empty until it is uploaded.
    pub path: String,
    /// How many partitions the set of this interval and version was published with. The set is visible once the
    /// partitions `0..core_partitions` are all served; 0 for sets that grow by appending. Settled by the catalog when
    /// it publishes: whoever builds a file writes 0.
    #[serde(default)]
    pub core_partitions: u32,
}
