//! What is looked up when `/metrics` is asked for, or a sample of it is kept: the gauges that nothing moves by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};

use super::manage::Parameters;
use super::{App, refusal, status};
use crate::config;
use crate::metrics::druid;
use crate::metrics::exposition::{Family, Format, render};
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

/// A supervisor and the datasource that it feeds.
type Fed = (String, String);

/// What was told of, so that it is not told of for ever.
#[derive(Default)]
pub struct Told {
    fed: BTreeSet<Fed>,
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
        crate::metrics::families(&self.metrics)
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
        self.measure_tasks(now());
    }

    fn measure_tasks(&self, now: i64) {
        let reports = self.worker.reports();
        // The store's own tell nobody whether streams have their tasks, nor how far these are.
        let posted = || reports.iter().filter(|report| !segment::is_system(&report.datasource));
        gauge!("henge_ingest_tasks_count").set(posted().filter(|report| !report.is_ended()).count() as f64);
        for report in posted() {
            let rows = &report.rows;
            for (outcome, count) in [
                ("processed", rows.processed),
                ("processed_with_error", rows.processed_with_error),
                ("unparseable", rows.unparseable),
                ("thrown_away", rows.thrown_away.total()),
            ] {
                let task = report.id.clone();
                counter!("henge_ingest_rows_total", "task" => task, "outcome" => outcome).absolute(count);
            }
        }
        let mut works: BTreeMap<Fed, Work> = BTreeMap::new();
        for report in posted().filter(|report| !report.is_ended()) {
            let Some(supervisor) = report.supervisor.clone() else { continue };
            let work = works.entry((supervisor, report.datasource.clone())).or_default();
            work.lag += report.lag().values().sum::<i64>();
            work.newest_event = work.newest_event.max(report.newest_event);
            let oldest = report.publishing.iter().map(|publishing| publishing.since);
            work.waiting_since = work.waiting_since.into_iter().chain(oldest).min();
        }
        let seconds = |since: i64| now.saturating_sub(since) as f64 / 1000.0;
        for (fed, work) in &works {
            let age = work.newest_event.map_or(f64::NAN, seconds);
            tell(fed, work.lag as f64, age, work.waiting_since.map_or(0.0, seconds));
        }
        let fed: BTreeSet<Fed> = works.into_keys().collect();
        let before = std::mem::replace(&mut self.told.lock().fed, fed.clone());
        before.difference(&fed).for_each(|gone| tell(gone, f64::NAN, f64::NAN, f64::NAN));
    }
}

/// What is not a number is left out of what is shown.
fn tell((supervisor, datasource): &Fed, lag: f64, age: f64, handoff: f64) {
    gauge!("henge_ingest_lag", "supervisor" => supervisor.clone()).set(lag);
    for (name, value) in [("henge_ingest_newest_event_age_seconds", age), ("henge_ingest_handoff_age_seconds", handoff)]
    {
        gauge!(name, "supervisor" => supervisor.clone(), "datasource" => datasource.clone()).set(value);
    }
}
