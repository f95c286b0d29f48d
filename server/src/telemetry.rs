//! Logs and metrics: the only process-wide state.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. A second call changes nothing (tests start many nodes in one process).
pub fn start_logs(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|e| format!("log.level '{level}': {e}"))?;
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.with_target(false).try_init() };
    Ok(())
}

/// The recorder behind `/metrics`; installed once a process.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let times = Matcher::Full("henge_server_query_seconds".to_string());
            let recorder = builder
                .set_buckets_for_metric(times, &crate::metrics::QUERY_SECONDS)
                .expect("there are bounds")
                .build_recorder();
            let handle = recorder.handle();
            // Fails only if another recorder stands, which nothing but this function installs.
            let _ = metrics::set_global_recorder(recorder);
            crate::metrics::describe();
            handle
        })
        .clone()
}
