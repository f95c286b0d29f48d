//! Every series of this crate, and of the crates below whose counts it reads, with a sentence each.

pub mod druid;
pub mod exposition;

use std::time::Duration;

use exposition::Family;

pub const SERIES: &[(&str, &str)] = &[
    ("henge_server_queries_total", "queries answered or refused, by kind and outcome"),
    ("henge_server_query_seconds", "time from a query's arrival to its first bytes, by kind"),
    ("henge_server_responses_total", "answers to requests, by the class of their status"),
    ("henge_server_uptime_seconds", "time since the process started"),
    ("henge_server_resident_bytes", "memory of the process"),
    ("henge_server_memory_max_bytes", "memory that the machine, or its control group, lets the process have"),
    ("henge_server_disk_free_bytes", "room left on the disk of the data folder"),
    ("henge_server_disk_total_bytes", "size of the disk of the data folder"),
    ("henge_server_leading", "whether this process leads: 1, or 0"),
    (
        "henge_server_connections_closed_total",
        "connections closed at the door, by bound: all, address (half of all), or handshakes (a quarter of those of TLS)",
    ),
    ("henge_query_memory_bytes", "memory that queries hold of what they may have together"),
    ("henge_query_memory_max_bytes", "memory that queries may have together (query.memory_total_bytes)"),
    (
        "henge_query_plan_cache_total",
        "plans of SQL statements that were asked for, by outcome: hit (kept), or miss (planned)",
    ),
    (
        "henge_query_policy_cache_total",
        "views of published segments that restricted queries asked for, by outcome: hit (kept), or miss (worked out)",
    ),
    (
        "henge_query_cache_total",
        "what queries asked the caches for, by cache (segments, results) and outcome: hit (kept), or miss",
    ),
    ("henge_query_cache_evicted_total", "what was kept and went to make room, by cache"),
    ("henge_query_cache_bytes", "memory of what is kept of answers, by cache"),
    (
        "henge_query_cache_redis_total",
        "what Redis was asked for and given, by outcome: hit, miss, refused (not sealed by this cluster), failed (all that was asked for at once), put, or dropped (not put)",
    ),
    ("henge_segment_published_count", "published segments served by this process"),
    ("henge_segment_published_rows", "rows of the published segments served by this process"),
    ("henge_segment_published_bytes", "bytes of the published segments served by this process"),
    ("henge_segment_realtime_rows", "rows not yet published"),
    ("henge_segment_repairs_total", "local copies found broken and fetched anew"),
    ("henge_segment_cache_bytes", "disk that local copies of published segments take, broken ones among them"),
    ("henge_segment_cache_max_bytes", "disk that local copies may take (storage.cache_max_bytes)"),
    ("henge_segment_cache_fetched_total", "local copies fetched from deep storage"),
    ("henge_segment_cache_evicted_total", "local copies removed to make room for others"),
    ("henge_segment_quarantined_total", "local copies found broken and set aside"),
    (
        "henge_server_audit_events_total",
        "events of the audit log, by outcome: recorded, passed over (of strangers, and what was not answered), or lost",
    ),
    ("henge_server_audit_journal_bytes", "events of the audit log that are not published yet"),
    ("henge_server_samples_total", "series of samples of metrics, by outcome: recorded in sys.metrics, or lost"),
    ("henge_server_audit_copied_total", "events of the audit log copied to Kafka, by outcome: sent, or passed over"),
    ("henge_server_audit_copy_lag", "events of the audit log that Kafka has not acknowledged"),
    ("henge_server_alerts_firing", "alerts that are firing"),
    ("henge_server_alert_turns_total", "turns of alerts, by outcome: answered, or failed"),
    ("henge_server_alert_notices_total", "tries to tell of an alert, by outcome: sent, or failed"),
    ("henge_ingest_rows_total", "rows of the running tasks, by task and outcome"),
    ("henge_ingest_lag", "records of a stream not yet read, by supervisor"),
    (
        "henge_ingest_newest_event_age_seconds",
        "time since the newest event that was taken in, as its own time says, by supervisor and datasource",
    ),
    (
        "henge_ingest_handoff_age_seconds",
        "time that the rows wait which were read to the end of their sequence and are not served as a segment yet, by supervisor and datasource",
    ),
    ("henge_ingest_tasks_count", "tasks running here"),
];

/// Bounds of the times of queries, in seconds.
pub const QUERY_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counters whose labels are known at the start: they say 0 before anything has happened.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("henge_server_responses_total", "class", &["1xx", "2xx", "3xx", "4xx", "5xx"]),
    ("henge_server_connections_closed_total", "bound", &["all", "address", "handshakes"]),
    ("henge_query_plan_cache_total", "outcome", &["hit", "miss"]),
    ("henge_query_policy_cache_total", "outcome", &["hit", "miss"]),
    ("henge_server_audit_events_total", "outcome", &["recorded", "passed over", "lost"]),
    ("henge_server_audit_copied_total", "outcome", &["sent", "passed over"]),
    ("henge_server_alert_turns_total", "outcome", &["answered", "failed"]),
    ("henge_server_alert_notices_total", "outcome", &["sent", "failed"]),
    ("henge_server_samples_total", "outcome", &["recorded", "lost"]),
    ("henge_query_cache_redis_total", "outcome", &["hit", "miss", "refused", "failed", "put", "dropped"]),
    ("henge_query_cache_evicted_total", "cache", &CACHES),
];

const CACHES: [&str; 2] = ["segments", "results"];

fn all() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    SERIES.iter().chain(&ingest::metrics::SERIES).chain(coordinator::metrics::SERIES).copied()
}

/// One of [`SERIES`] that the recorder does not have, without samples yet.
pub fn family(name: &str, kind: &str) -> Family {
    let help = all().find(|(known, _)| *known == name).map_or("", |(_, sentence)| sentence);
    Family { name: name.into(), kind: kind.into(), help: help.into(), samples: Vec::new() }
}

/// Tells the recorder what each series means, and has those that are known at the start say 0.
pub fn describe() {
    for (name, sentence) in all() {
        match () {
            () if name.ends_with("_total") => metrics::describe_counter!(name, sentence),
            () if name == "henge_server_query_seconds" => metrics::describe_histogram!(name, sentence),
            () => metrics::describe_gauge!(name, sentence),
        }
    }
    for (name, label, values) in KNOWN {
        for value in *values {
            metrics::counter!(*name, *label => *value).increment(0);
        }
    }
    for outcome in ["answered", "failed"] {
        metrics::counter!("henge_server_queries_total", "kind" => "sql", "outcome" => outcome).increment(0);
    }
    // Made, and without a time in it.
    let _ = metrics::histogram!("henge_server_query_seconds", "kind" => "sql");
    for cache in CACHES {
        for outcome in ["hit", "miss"] {
            metrics::counter!("henge_query_cache_total", "cache" => cache, "outcome" => outcome).increment(0);
        }
        metrics::gauge!("henge_query_cache_bytes", "cache" => cache).set(0.0);
    }
    metrics::counter!("henge_segment_repairs_total").increment(0);
    metrics::gauge!("henge_server_leading").set(0.0);
    metrics::gauge!("henge_server_audit_copy_lag").set(0.0);
    metrics::gauge!("henge_server_alerts_firing").set(0.0);
    metrics::gauge!("henge_server_audit_journal_bytes").set(0.0);
}

pub fn query(kind: &'static str, failed: bool, took: Duration) {
    let outcome = if failed { "failed" } else { "answered" };
    metrics::counter!("henge_server_queries_total", "kind" => kind, "outcome" => outcome).increment(1);
    metrics::histogram!("henge_server_query_seconds", "kind" => kind).record(took.as_secs_f64());
}

/// An answer of this status went out.
pub fn response(status: u16) {
    let class = match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    metrics::counter!("henge_server_responses_total", "class" => class).increment(1);
}

/// From now on this process leads.
pub fn leads() {
    metrics::gauge!("henge_server_leading").set(1.0);
}

/// What the recorder has.
pub fn families(recorder: &metrics_exporter_prometheus::PrometheusHandle) -> Vec<Family> {
    exposition::families(&recorder.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        std::fs::read_to_string(page).expect("docs/operations.md")
    }

    #[test]
    fn the_operations_page_lists_every_series_and_no_other() {
        let page = page();
        for (name, sentence) in all() {
            let lines = page.lines().filter(|line| line.starts_with(&format!("| `{name}` | {sentence} |"))).count();
            assert_eq!(lines, 1, "docs/operations.md tells of {name}: {sentence}");
        }
        let listed = page.lines().filter_map(|line| line.strip_prefix("| `henge_")?.split_once('`'));
        for (name, _) in listed {
            assert!(all().any(|(known, _)| known == format!("henge_{name}")), "there is no henge_{name}");
        }
    }

    #[test]
    fn the_operations_page_lists_druids_names() {
        let page = page();
        for (metric, series, part) in druid::NAMES {
            let part = part.map(|(label, value)| format!("{{{label}=\"{value}\"}}")).unwrap_or_default();
            let line = format!("| `{metric}` | `{}` | `{series}{part}` |", druid::emitted(metric));
            assert!(page.lines().any(|found| found.starts_with(&line)), "docs/operations.md lacks {line}");
        }
    }
}
