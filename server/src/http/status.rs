//! What every process says of itself: health, version, properties, leadership.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use query::policy::{Action, Kind};
use segment::storage::settings::DeepStorageSettings;
use serde_json::{Value, json};

use super::App;
use crate::auth::Caller;
use crate::config::Config;
use crate::lead;

/// The Druid version whose wire behaviour is kept; clients look at it to choose what to send.
pub const DRUID_VERSION: &str = "39.0.0";

pub async fn status(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let told = app.may(&caller, Kind::State, "STATE", Action::Read);
    let memory = if told { resident_bytes() } else { 0 };
    Json(json!({
        "version": DRUID_VERSION,
        "henge": env!("CARGO_PKG_VERSION"),
        "modules": [],
        "memory": {"maxMemory": memory, "totalMemory": memory, "freeMemory": 0, "usedMemory": memory, "directMemory": 0},
    }))
}

/// `true` once everything that was published is served again, or can be asked of the nodes that serve it, until the node is told
/// to stop.
pub async fn health(State(app): State<Arc<App>>) -> Response {
    match app.is_healthy() {
        true => Json(json!(true)).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!(false))).into_response(),
    }
}

pub async fn properties(State(app): State<Arc<App>>) -> Json<Value> {
    Json(settings(&app.config, &app.address))
}

/// What is told of the settings in force.
pub fn settings(config: &Config, address: &str) -> Value {
    json!({
        "druid.service": "henge",
        "druid.host": config.host,
        "druid.plaintextPort": address.rsplit(':').next().unwrap_or_default(),
        "henge.dataDir": config.data_dir.display().to_string(),
        "henge.deepStorage": match &config.deep_storage {
            DeepStorageSettings::Local(folder) => folder.display().to_string(),
            DeepStorageSettings::S3(settings) => format!("s3://{}/{}", settings.bucket, settings.prefix),
        },
        "henge.metadata": config.cluster.metadata.to_string(),
    })
}

pub async fn self_discovered() -> Json<Value> {
    Json(json!({"selfDiscovered": true}))
}

pub async fn leader(State(app): State<Arc<App>>) -> String {
    format!("http://{}", app.address)
}

/// The one that does not lead says so before it ends.
pub async fn is_leader(State(app): State<Arc<App>>, uri: Uri) -> Response {
    match app.standing.leads() {
        true => Json(json!({"leader": true})).into_response(),
        false => lead::standby(uri.path()),
    }
}

pub async fn proxy_enabled() -> Json<Value> {
    Json(json!({"enabled": true}))
}

pub async fn broker_load() -> Json<Value> {
    Json(json!({"inventoryInitialized": true}))
}

pub async fn historical_load() -> Json<Value> {
    Json(json!({"cacheInitialized": true}))
}

/// Resident set of this process; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
