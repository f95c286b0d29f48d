//! Every series of this crate, and of the crates below whose counts it reads, with a sentence each.

use std::time::Duration;

pub const SERIES: &[(&str, &str)] = &[
    ("henge_server_queries_total", "queries answered or refused, by kind and outcome"),
    ("henge_server_query_seconds", "time from a query's arrival to its first bytes, by kind"),
    ("henge_server_uptime_seconds", "time since the process started"),
    ("henge_server_resident_bytes", "memory of the process"),
    (
        "henge_server_connections_closed_total",
        "connections closed at the door, by bound: all, address (half of all), or handshakes (a quarter of those of TLS)",
    ),
    (
        "henge_query_policy_cache_total",
        "views of published segments that restricted queries asked for, by outcome: hit (kept), or miss (worked out)",
    ),
    (
        "henge_query_cache_total",
        "what queries asked the caches for, by cache (segments, results) and outcome: hit (kept), or miss",
    ),
    (
        "henge_query_cache_evicted_total",
        "what was kept and went to make room, by cache",
    ),
    (
        "henge_query_cache_bytes",
        "memory of what is kept of answers, by cache",
    ),
    (
        "henge_query_cache_redis_total",
        "what Redis was asked for and given, by outcome: hit, miss, refused (not sealed by this cluster), failed (all that was asked for at once), put, or dropped (not put)",
    ),
    ("henge_segment_published_count", "published segments served by this process"),
    ("henge_segment_published_rows", "rows of the published segments served by this process"),
    ("henge_segment_realtime_rows", "rows not yet published"),
    ("henge_segment_repairs_total", "local copies found broken and fetched anew"),
    ("henge_segment_cache_bytes", "disk that local copies of published segments take, broken ones among them"),
    ("henge_segment_cache_fetched_total", "local copies fetched from deep storage"),
    ("henge_segment_cache_evicted_total", "local copies removed to make room for others"),
    ("henge_segment_quarantined_total", "local copies found broken and set aside"),
    (
        "henge_server_audit_events_total",
        "events of the audit log, by outcome: recorded, passed over (of strangers, and what was not answered), or lost",
    ),
    ("henge_server_audit_journal_bytes", "events of the audit log that are not published yet"),
    ("henge_server_audit_copied_total", "events of the audit log copied to Kafka, by outcome: sent, or passed over"),
    ("henge_server_audit_copy_lag", "events of the audit log that Kafka has not acknowledged"),
    ("henge_server_alerts_firing", "alerts that are firing"),
    ("henge_server_alert_turns_total", "turns of alerts, by outcome: answered, or failed"),
    ("henge_server_alert_notices_total", "tries to tell of an alert, by outcome: sent, or failed"),
    ("henge_ingest_rows_total", "rows of the running tasks, by task and outcome"),
    ("henge_ingest_lag", "records of a stream not yet read, by supervisor"),
    ("henge_ingest_tasks_count", "tasks running here"),
];

pub fn describe() {
    for (name, sentence) in SERIES {
        match () {
            () if name.ends_with("_total") => metrics::describe_counter!(*name, *sentence),
            () if name.ends_with("_seconds") && name.contains("query") => {
                metrics::describe_histogram!(*name, *sentence)
            }
            () => metrics::describe_gauge!(*name, *sentence),
        }
    }
}

pub fn query(kind: &'static str, failed: bool, took: Duration) {
    let outcome = if failed { "failed" } else { "answered" };
    metrics::counter!("henge_server_queries_total", "kind" => kind, "outcome" => outcome).increment(1);
    metrics::histogram!("henge_server_query_seconds", "kind" => kind).record(took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operations_page_lists_every_series() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let page = std::fs::read_to_string(page).expect("docs/operations.md");
        for (name, sentence) in SERIES {
            assert!(
                page.contains(&format!("| `{name}` | {sentence} |")),
                "docs/operations.md lacks {name}: {sentence}"
            );
        }
    }
}
