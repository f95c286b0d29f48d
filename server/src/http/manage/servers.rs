//! The one node there is, under each of its Druid names.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use query::policy::{Action, Kind};
use serde_json::{Map, Value, json};

use super::Parameters;
use super::datasources::{TIER, data_segment};
use crate::auth::Caller;
use crate::http::auth::{Need, STATE};
use crate::http::error::Answered;
use crate::http::routes::get;
use crate::http::{App, Route};

const READ: Need = Need::May(Kind::State, STATE, Action::Read);

pub fn routes() -> Vec<Route> {
    vec![
        get("/druid/coordinator/v1/servers", READ, servers),
        get("/druid/coordinator/v1/tiers", READ, tiers),
        get("/druid/coordinator/v1/cluster", READ, cluster),
        get("/druid/indexer/v1/workers", READ, workers),
        get("/druid/indexer/v1/totalWorkerCapacity", READ, capacity),
        get("/druid/coordinator/v1/config/cloneStatus", READ, clones),
        get("/druid/indexer/v1/compaction/config/datasources", READ, compactions),
        get("/druid/indexer/v1/compaction/status/datasources", READ, compaction_status),
    ]
}

/// There is no other node that could be a copy of this one.
async fn clones() -> Json<Value> {
    Json(json!({"cloneStatus": []}))
}

/// Nothing compacts by itself.
async fn compactions() -> Json<Value> {
    Json(json!({"compactionConfigs": []}))
}

async fn compaction_status() -> Json<Value> {
    Json(json!({"latestStatus": []}))
}

fn size(app: &App) -> u64 {
    app.inventory.published().iter().map(|segment| segment.size_bytes()).sum()
}

async fn servers(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    if !parameters.has("simple") && !parameters.has("full") {
        return Ok(Json(json!([app.address])).into_response());
    }
    let mut server = json!({
        "host": app.address,
        "tier": TIER,
        "type": "historical",
        "priority": 0,
        "currSize": size(&app),
        "maxSize": 0,
    });
    if parameters.has("full") {
        let mut segments = Map::new();
        let mut names = app.coordinator.datasources(false).await?;
        names.retain(|name| app.sees_whole(&caller, name));
        for name in names {
            for meta in app.coordinator.segments(&name) {
                segments.insert(meta.id.to_string(), data_segment(&meta));
            }
        }
        server["segments"] = Value::Object(segments);
    }
    Ok(Json(json!([server])).into_response())
}

async fn tiers(State(app): State<Arc<App>>, uri: Uri) -> Json<Value> {
    if Parameters::of(&uri).has("simple") {
        return Json(json!({TIER: {"currSize": size(&app), "maxSize": 0}}));
    }
    Json(json!([TIER]))
}

async fn cluster(State(app): State<Arc<App>>) -> Json<Value> {
    let (host, port) = app.address.rsplit_once(':').unwrap_or((&app.address, "0"));
    let node = |role: &str| json!([{"host": host, "service": format!("henge/{role}"), "plaintextPort": port.parse().unwrap_or(0), "tlsPort": -1}]);
    let roles = ["coordinator", "overlord", "broker", "historical", "indexer", "router"];
    Json(Value::Object(roles.iter().map(|role| (role.to_string(), node(role))).collect()))
}

async fn workers(State(app): State<Arc<App>>) -> Json<Value> {
    let running: Vec<String> = app.worker.reports().iter().filter(|r| !r.is_ended()).map(|r| r.id.clone()).collect();
    Json(json!([{
        "worker": {"scheme": "http", "host": app.address, "ip": app.config.host, "capacity": app.config.tasks_max, "version": "0", "category": "_default_worker_category"},
        "currCapacityUsed": running.len(),
        "currParallelIndexCapacityUsed": 0,
        "availabilityGroups": running,
        "runningTasks": running,
        "lastCompletedTaskTime": null,
        "blacklistedUntil": null,
    }]))
}

async fn capacity(State(app): State<Arc<App>>) -> Json<Value> {
    let used = app.worker.reports().iter().filter(|r| !r.is_ended()).count();
    Json(json!({
        "currentClusterCapacity": app.config.tasks_max,
        "maximumCapacityWithAutoScale": -1,
        "usedClusterCapacity": used,
    }))
}
