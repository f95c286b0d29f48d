//! What is looked up when `/metrics` is asked for, or a sample of it is kept: the gauges that nothing moves by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ingest::TaskReport;
use metrics::{counter, gauge};

use super::manage::Parameters;
use super::{App, refusal, status};
use crate::config;
use crate::metrics::exposition::{Family, Format, render};
use crate::metrics::{druid, family};
use crate::node::now;

/// The series of this process, as OpenMetrics if the caller reads that, or else as Prometheus' text; with `?names=druid`
/// under the names of Druid's emitter, those that have one.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let families = app.families();
    let families = match Parameters::of(&uri).get("names") {
        None => families,
        Some("druid") => druid::renamed(&families),
        Some(_) => {
            let message = "names may be druid, or left out".to_string();
            return refusal(StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], render(&families, format)).into_response()
}

/// What the tasks of a supervisor here come to.
#[derive(Default)]
struct Work {
    lag: i64,
    newest_event: Option<i64>,
    waiting_since: Option<i64>,
}

impl App {
    /// All series of this process, as they stand now.
    pub fn families(&self) -> Vec<Family> {
        self.measure();
        let mut families = crate::metrics::families(&self.metrics);
        families.extend(self.of_tasks(now()));
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }

    fn measure(&self) {
        let published = self.inventory.published();
        gauge!("henge_server_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        gauge!("henge_server_resident_bytes").set(status::resident_bytes() as f64);
        if let Some(bytes) = config::machine::memory_bytes() {
            gauge!("henge_server_memory_max_bytes").set(bytes as f64);
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.config.data_dir) {
            gauge!("henge_server_disk_free_bytes").set(disk.f_bavail as f64 * disk.f_frsize as f64);
            gauge!("henge_server_disk_total_bytes").set(disk.f_blocks as f64 * disk.f_frsize as f64);
        }
        gauge!("henge_query_memory_bytes").set(self.memory.used() as f64);
        gauge!("henge_query_memory_max_bytes").set(self.memory.limit() as f64);
        gauge!("henge_segment_published_count").set(published.len() as f64);
        gauge!("henge_segment_published_rows").set(published.iter().map(|s| s.rows() as f64).sum::<f64>());
        gauge!("henge_segment_published_bytes").set(published.iter().map(|s| s.size_bytes() as f64).sum::<f64>());
        let realtime: usize = self.inventory.realtime().iter().map(|(_, index)| index.rows()).sum();
        gauge!("henge_segment_realtime_rows").set(realtime as f64);
        if let Some(historical) = &self.historical {
            let cache = historical.counts();
            gauge!("henge_segment_cache_bytes").set(cache.bytes as f64);
            gauge!("henge_segment_cache_max_bytes").set(self.config.cache_max_bytes as f64);
            counter!("henge_segment_cache_fetched_total").absolute(cache.fetched);
            counter!("henge_segment_cache_evicted_total").absolute(cache.evicted);
            counter!("henge_segment_quarantined_total").absolute(cache.set_aside);
        }
        let tasks = self.worker.reports().into_iter().filter(is_posted).filter(|report| !report.is_ended()).count();
        gauge!("henge_ingest_tasks_count").set(tasks as f64);
    }

    /// Series of the tasks here, which go when these do: of tasks there is no end, and what the recorder has stays.
    fn of_tasks(&self, now: i64) -> Vec<Family> {
        let reports: Vec<TaskReport> = self.worker.reports().into_iter().filter(is_posted).collect();
        let mut rows = family("henge_ingest_rows_total", "counter");
        for report in &reports {
            for (outcome, count) in [
                ("processed", report.rows.processed),
                ("processed_with_error", report.rows.processed_with_error),
                ("unparseable", report.rows.unparseable),
                ("thrown_away", report.rows.thrown_away.total()),
            ] {
                rows.add(&[("outcome", outcome), ("task", &report.id)], count as f64);
            }
        }
        let mut works: BTreeMap<(&str, &str), Work> = BTreeMap::new();
        for report in reports.iter().filter(|report| !report.is_ended()) {
            let Some(supervisor) = &report.supervisor else { continue };
            let work = works.entry((supervisor, &report.datasource)).or_default();
            work.lag += report.lag().values().sum::<i64>();
            work.newest_event = work.newest_event.max(report.newest_event);
            let oldest = report.publishing.iter().map(|publishing| publishing.since);
            work.waiting_since = work.waiting_since.into_iter().chain(oldest).min();
        }
        let mut lag = family("henge_ingest_lag", "gauge");
        let mut newest = family("henge_ingest_newest_event_age_seconds", "gauge");
        let mut handoff = family("henge_ingest_handoff_age_seconds", "gauge");
        let seconds = |since: i64| now.saturating_sub(since) as f64 / 1000.0;
        for ((supervisor, datasource), work) in &works {
            let fed = [("datasource", *datasource), ("supervisor", *supervisor)];
            lag.add(&fed[1..], work.lag as f64);
            handoff.add(&fed, work.waiting_since.map_or(0.0, seconds));
            if let Some(event) = work.newest_event {
                newest.add(&fed, seconds(event));
            }
        }
        [rows, lag, newest, handoff].into_iter().filter(|family| !family.samples.is_empty()).collect()
    }
}

/// Whether somebody posted it, or its supervisor: the store's own tell nobody whether streams have their tasks, nor how far
/// these are.
fn is_posted(report: &TaskReport) -> bool {
    !segment::is_system(&report.datasource)
}
