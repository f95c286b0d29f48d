//! Series under the names that Druid's Prometheus emitter gives them, for dashboards and rules that were written for it.
//! Times are in seconds, as its histograms have them; what there is no like of is not there.

use super::exposition::{Family, Sample};

/// Druid's metric, our series, and, if only a part of that is meant, the label and value of the part.
pub const NAMES: &[(&str, &str, Option<(&str, &str)>)] = &[
    ("query/time", "henge_server_query_seconds", None),
    ("query/count", "henge_server_queries_total", None),
    ("query/success/count", "henge_server_queries_total", Some(("outcome", "answered"))),
    ("query/failed/count", "henge_server_queries_total", Some(("outcome", "failed"))),
    ("ingest/kafka/lag", "henge_ingest_lag", None),
    ("ingest/kafka/partitionLag", "henge_ingest_lag_records", None),
    ("ingest/events/processed", "henge_ingest_rows_processed_total", None),
    ("ingest/events/unparseable", "henge_ingest_rows_unparseable_total", None),
    ("ingest/events/thrownAway", "henge_ingest_rows_thrown_away_total", None),
    ("ingest/input/bytes", "henge_ingest_bytes_processed_total", None),
    ("ingest/segments/count", "henge_ingest_segments_published_total", None),
    ("segment/count", "henge_coordinator_segments_used", None),
    ("segment/unavailable/count", "henge_coordinator_segments_missing", None),
    ("segment/underReplicated/count", "henge_coordinator_segments_short", None),
    ("segment/used", "henge_segment_cache_bytes", None),
    ("segment/max", "henge_segment_cache_max_bytes", None),
    ("task/running/count", "henge_ingest_tasks_count", None),
    ("task/pending/count", "henge_coordinator_tasks_waiting", None),
];

/// Our labels that have another name there.
const LABELS: [(&str, &str); 3] = [("datasource", "dataSource"), ("supervisor", "supervisorId"), ("kind", "type")];

/// The name of a metric as the emitter writes it, without what the kind adds.
pub fn emitted(metric: &str) -> String {
    let lower = metric.to_ascii_lowercase();
    format!("druid_{}", lower.replace(|ch: char| !ch.is_ascii_alphanumeric(), "_"))
}

/// What of our series there is under such names.
pub fn renamed(families: &[Family]) -> Vec<Family> {
    let of = |(metric, series, part): &(&str, &str, Option<(&str, &str)>)| {
        let family = families.iter().find(|family| family.name == *series)?;
        let total = if family.kind == "counter" { "_total" } else { "" };
        let name = emitted(metric) + total;
        let is_of_part = |sample: &&Sample| {
            part.is_none_or(|(label, value)| {
                sample.labels.iter().any(|(l, v)| (l.as_str(), v.as_str()) == (label, value))
            })
        };
        let samples = family.samples.iter().filter(is_of_part).map(|sample| {
            let labels = sample.labels.iter().filter(|(label, _)| part.is_none_or(|(of, _)| of != label));
            let label_of = |label: &str| {
                LABELS.into_iter().find(|(own, _)| *own == label).map_or(label, |(_, druid)| druid).to_string()
            };
            Sample {
                name: sample.name.replacen(&family.name, &name, 1),
                labels: labels.map(|(label, value)| (label_of(label), value.clone())).collect(),
                value: sample.value,
            }
        });
        let samples: Vec<Sample> = samples.collect();
        let (kind, help) = (family.kind.clone(), format!("{metric}: {}", family.help));
        (!samples.is_empty()).then_some(Family { name, kind, help, samples })
    };
    NAMES.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::exposition::{Format, families, render};
    use super::*;

    #[test]
    fn series_stand_under_the_emitters_names() {
        let ours = "# TYPE henge_server_queries_total counter\n\
            henge_server_queries_total{kind=\"sql\",outcome=\"answered\"} 3\n\
            henge_server_queries_total{kind=\"sql\",outcome=\"failed\"} 1\n\
            # TYPE henge_ingest_lag gauge\nhenge_ingest_lag{supervisor=\"s\"} 7\n\
            # TYPE henge_server_uptime_seconds gauge\nhenge_server_uptime_seconds 1\n";
        expect_test::expect![[r##"
            # HELP druid_query_count_total query/count: 
            # TYPE druid_query_count_total counter
            druid_query_count_total{type="sql",outcome="answered"} 3
            druid_query_count_total{type="sql",outcome="failed"} 1
            # HELP druid_query_success_count_total query/success/count: 
            # TYPE druid_query_success_count_total counter
            druid_query_success_count_total{type="sql"} 3
            # HELP druid_query_failed_count_total query/failed/count: 
            # TYPE druid_query_failed_count_total counter
            druid_query_failed_count_total{type="sql"} 1
            # HELP druid_ingest_kafka_lag ingest/kafka/lag: 
            # TYPE druid_ingest_kafka_lag gauge
            druid_ingest_kafka_lag{supervisorId="s"} 7
        "##]]
        .assert_eq(&render(&renamed(&families(ours)), Format::Text));
    }
}
