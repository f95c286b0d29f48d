//! `/druid/coordinator/v1/datasources…` and `/metadata/datasources…`: what is published, used, loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use coordinator::Selection;
use query::policy::{Action, Kind};
use segment::time::format_timestamp;
use segment::{Interval, SegmentMeta};
use serde_json::{Map, Value, json};

use super::{Parameters, json_body};
use crate::auth::Caller;
use crate::http::auth::{Need, Of, STATE};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post};
use crate::http::{App, Route};
use crate::node::now;

/// Henge has one tier so far.
pub const TIER: &str = "_default_tier";

const READ: Need = Need::Whole(Of::Path("name"), Action::Read);
const WRITE: Need = Need::Whole(Of::Path("name"), Action::Write);

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/coordinator/v1";
    let path = |rest: &str| format!("{ROOT}{rest}");
    let mut routes = vec![
        get(path("/datasources"), Need::SignedIn, list),
        get(path("/datasources/{name}"), READ, one),
        get(path("/datasources/{name}/tiers"), READ, tiers),
        get(path("/datasources/{name}/intervals"), READ, intervals),
        get(path("/datasources/{name}/loadstatus"), READ, datasource_load),
        get(path("/datasources/{name}/handoffComplete"), READ, handoff_complete),
        get(path("/metadata/datasources"), Need::SignedIn, metadata),
        get(path("/metadata/datasources/{name}"), READ, metadata_one),
        get(path("/loadstatus"), Need::SignedIn, load),
        get(path("/loadqueue"), Need::May(Kind::State, STATE, Action::Read), load_queue),
    ];
    for root in [ROOT, "/druid/indexer/v1"] {
        let path = |rest: &str| format!("{root}/datasources/{{name}}{rest}");
        routes.push(post(path(""), WRITE, use_all));
        routes.push(delete(path(""), WRITE, unuse_all));
        routes.push(post(path("/markUsed"), WRITE, mark_used));
        routes.push(post(path("/markUnused"), WRITE, mark_unused));
    }
    routes
}

/// The used segments of a datasource, or 204 as Druid has it if there are none.
fn used(app: &App, name: &str) -> Vec<SegmentMeta> {
    app.coordinator.segments(name)
}

fn properties(segments: &[SegmentMeta]) -> Value {
    let size: u64 = segments.iter().map(|s| s.size_bytes).sum();
    let time = |t: Option<i64>| t.map(format_timestamp);
    json!({
        "tiers": {TIER: {"size": size, "replicatedSize": size, "segmentCount": segments.len()}},
        "segments": {
            "maxTime": time(segments.iter().map(|s| s.id.interval.end).max()),
            "minTime": time(segments.iter().map(|s| s.id.interval.start).min()),
            "size": size,
            "replicatedSize": size,
            "count": segments.len(),
        },
    })
}

/// The names that the caller may know; where sizes are told too, of what it sees all of.
async fn seen(app: &App, caller: &Caller, unused: bool, whole: bool) -> Answered<Vec<String>> {
    let mut names = app.coordinator.datasources(unused).await?;
    names.retain(|name| match whole {
        true => app.sees_whole(caller, name),
        false => app.may(caller, Kind::Datasource, name, Action::Read),
    });
    Ok(names)
}

async fn list(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let names = seen(&app, &caller, false, parameters.has("simple") || parameters.has("full")).await?;
    if parameters.has("simple") {
        let simple = |name: &String| json!({"name": name, "properties": properties(&used(&app, name))});
        return Ok(Json(names.iter().map(simple).collect::<Vec<_>>()).into_response());
    }
    if parameters.has("full") {
        return Ok(Json(names.iter().map(|name| full(&app, name)).collect::<Vec<_>>()).into_response());
    }
    Ok(Json(names).into_response())
}

fn full(app: &App, name: &str) -> Value {
    let segments: Vec<Value> = used(app, name).iter().map(data_segment).collect();
    json!({"name": name, "properties": {}, "segments": segments})
}

/// Druid's DataSegment.
pub fn data_segment(meta: &SegmentMeta) -> Value {
    json!({
        "dataSource": meta.id.datasource,
        "interval": meta.id.interval.to_string(),
        "version": meta.id.version,
        "loadSpec": {"type": "henge", "path": meta.path},
        "dimensions": meta.dimensions.join(","),
        "metrics": meta.metrics.join(","),
        "shardSpec": {"type": "numbered", "partitionNum": meta.id.partition, "partitions": meta.core_partitions},
        "binaryVersion": 9,
        "size": meta.size_bytes,
        "totalRows": meta.rows,
        "identifier": meta.id.to_string(),
    })
}

async fn one(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let segments = used(&app, &name);
    if segments.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if Parameters::of(&uri).has("full") {
        return Ok(Json(full(&app, &name)).into_response());
    }
    Ok(Json(properties(&segments)).into_response())
}

async fn use_all(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let changed = app.coordinator.mark_used(&name, Selection::All, now()).await?;
    Ok(Json(json!({"numChangedSegments": changed})).into_response())
}

async fn unuse_all(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let changed = app.coordinator.mark_unused(&name, Selection::All, now()).await?;
    Ok(Json(json!({"numChangedSegments": changed})).into_response())
}

fn selection(body: &[u8]) -> Answered<Selection> {
    let body = json_body(body)?;
    match (&body["interval"], &body["segmentIds"]) {
        (Value::String(interval), Value::Null) => {
            let interval = Interval::parse(interval).map_err(|e| Refusal::invalid(format!("interval: {e}")))?;
            Ok(Selection::Intervals(vec![interval]))
        }
        (Value::Null, Value::Array(ids)) => {
            Ok(Selection::Ids(ids.iter().filter_map(Value::as_str).map(str::to_string).collect()))
        }
        _ => Err(Refusal::invalid("give exactly one of interval (a string) and segmentIds (an array)")),
    }
}

async fn mark_used(State(app): State<Arc<App>>, Path(name): Path<String>, body: Bytes) -> Answered {
    let changed = app.coordinator.mark_used(&name, selection(&body)?, now()).await?;
    Ok(Json(json!({"numChangedSegments": changed})).into_response())
}

async fn mark_unused(State(app): State<Arc<App>>, Path(name): Path<String>, body: Bytes) -> Answered {
    let changed = app.coordinator.mark_unused(&name, selection(&body)?, now()).await?;
    Ok(Json(json!({"numChangedSegments": changed})).into_response())
}

async fn tiers() -> Json<Value> {
    Json(json!([TIER]))
}

async fn intervals(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let mut chunks: BTreeMap<std::cmp::Reverse<Interval>, Vec<SegmentMeta>> = BTreeMap::new();
    for meta in used(&app, &name) {
        chunks.entry(std::cmp::Reverse(meta.id.interval)).or_default().push(meta);
    }
    let parameters = Parameters::of(&uri);
    if !(parameters.has("simple") || parameters.has("full")) {
        return Ok(Json(chunks.keys().map(|c| c.0.to_string()).collect::<Vec<_>>()).into_response());
    }
    let shown = chunks.iter().map(|(interval, segments)| {
        let size: u64 = segments.iter().map(|s| s.size_bytes).sum();
        (interval.0.to_string(), json!({"size": size, "count": segments.len()}))
    });
    Ok(Json(shown.collect::<Map<_, _>>()).into_response())
}

async fn metadata(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let names = seen(&app, &caller, parameters.has("includeUnused"), parameters.has("full")).await?;
    if parameters.has("full") {
        return Ok(Json(names.iter().map(|name| full(&app, name)).collect::<Vec<_>>()).into_response());
    }
    Ok(Json(names).into_response())
}

async fn metadata_one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    if used(&app, &name).is_empty() {
        return Err(Refusal::not_found(format!("datasource {name} has no used segments")));
    }
    Ok(Json(full(&app, &name)).into_response())
}

fn percent(status: &coordinator::LoadStatus) -> f64 {
    if status.used == 0 { 100.0 } else { status.served as f64 * 100.0 / status.used as f64 }
}

async fn load(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let mut status = app.coordinator.load_status();
    status.retain(|name, _| app.sees_whole(&caller, name));
    let left = |s: &coordinator::LoadStatus| s.used.saturating_sub(s.served);
    if parameters.has("simple") {
        let shown: Map<_, _> = status.iter().map(|(name, s)| (name.clone(), json!(left(s)))).collect();
        return Ok(Json(shown).into_response());
    }
    if parameters.has("full") {
        let shown: Map<_, _> = status.iter().map(|(name, s)| (name.clone(), json!(left(s)))).collect();
        return Ok(Json(json!({TIER: shown})).into_response());
    }
    let shown: Map<_, _> = status.iter().map(|(name, s)| (name.clone(), json!(percent(s)))).collect();
    Ok(Json(shown).into_response())
}

async fn datasource_load(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    if Parameters::of(&uri).get("forceMetadataRefresh").is_none() {
        return Err(Refusal::invalid("forceMetadataRefresh must be given, true or false"));
    }
    match app.coordinator.load_status().get(&name) {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(status) => Ok(Json(json!({name: percent(status)})).into_response()),
    }
}

/// Loads are carried out as soon as they are ordered, so there is no queue to show.
async fn load_queue(State(app): State<Arc<App>>) -> Json<Value> {
    let empty = json!({"segmentsToLoad": 0, "segmentsToDrop": 0, "segmentsToLoadSize": 0, "segmentsToDropSize": 0, "expectedLoadTimeMillis": 0});
    Json(json!({app.address.clone(): empty}))
}

async fn handoff_complete(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let needed = |key: &str| parameters.get(key).ok_or_else(|| Refusal::invalid(format!("{key} must be given")));
    let interval = Interval::parse(needed("interval")?).map_err(|e| Refusal::invalid(format!("interval: {e}")))?;
    let partition = parameters.number("partitionNumber")?.unwrap_or(0) as u32;
    let version = needed("version")?.to_string();
    let id = segment::SegmentId { datasource: name, interval, version, partition };
    Ok(Json(json!(app.coordinator.is_served(&id))).into_response())
}
