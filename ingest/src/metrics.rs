//! Every series that ingestion records, with a sentence each. Recorded by conductors.

use metrics::{Counter, Gauge, counter, gauge};

pub const ROWS_PROCESSED: &str = "henge_ingest_rows_processed_total";
pub const ROWS_UNPARSEABLE: &str = "henge_ingest_rows_unparseable_total";
pub const ROWS_THROWN_AWAY: &str = "henge_ingest_rows_thrown_away_total";
pub const BYTES_PROCESSED: &str = "henge_ingest_bytes_processed_total";
pub const LAG_RECORDS: &str = "henge_ingest_lag_records";
pub const MEMORY_BYTES: &str = "henge_ingest_memory_bytes";
pub const SEGMENTS_PUBLISHED: &str = "henge_ingest_segments_published_total";

/// Name and meaning of each series; all have the label `datasource`.
pub const SERIES: [(&str, &str); 7] = [
    (ROWS_PROCESSED, "rows taken in, with or without a value that had to become null"),
    (ROWS_UNPARSEABLE, "records and rows that could not be parsed"),
    (ROWS_THROWN_AWAY, "rows left out by filter, late or early rejection"),
    (BYTES_PROCESSED, "bytes of the records that were read"),
    (LAG_RECORDS, "records in the stream that are not read yet, of one task"),
    (MEMORY_BYTES, "bytes of the rows that one task has in memory and not yet in a file"),
    (SEGMENTS_PUBLISHED, "segments published"),
];

/// The series of one task.
pub(crate) struct TaskMetrics {
    pub rows_processed: Counter,
    pub rows_unparseable: Counter,
    pub rows_thrown_away: Counter,
    pub bytes_processed: Counter,
    pub lag_records: Gauge,
    pub memory_bytes: Gauge,
}

impl TaskMetrics {
    pub fn new(datasource: &str, group: u32) -> TaskMetrics {
        let of = |name: &'static str| counter!(name, "datasource" => datasource.to_string());
        let group = group.to_string();
        let now = |name: &'static str| gauge!(name, "datasource" => datasource.to_string(), "group" => group.clone());
        TaskMetrics {
            rows_processed: of(ROWS_PROCESSED),
            rows_unparseable: of(ROWS_UNPARSEABLE),
            rows_thrown_away: of(ROWS_THROWN_AWAY),
            bytes_processed: of(BYTES_PROCESSED),
            lag_records: now(LAG_RECORDS),
            memory_bytes: now(MEMORY_BYTES),
        }
    }
}

pub(crate) fn segments_published(datasource: &str, segments: u64) {
    counter!(SEGMENTS_PUBLISHED, "datasource" => datasource.to_string()).increment(segments);
}
