//! `/druid/indexer/v1/supervisor`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use coordinator::{Revision, Scaling, Supervisor};
use ingest::spec::{AutoScaler, LagAggregate, Stream, SupervisorSpec};
use query::policy::{Action, Kind};
use segment::time::format_timestamp;
use serde_json::{Map, Value, json};

use super::{Parameters, json_body, secrets};
use crate::auth::Caller;
use crate::http::auth::{Need, Of};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{get, post};
use crate::http::{App, Route};
use crate::node::now;

const READ: Need = Need::May(Kind::Supervisor, Of::Supervisor("id"), Action::Read);
const WRITE: Need = Need::May(Kind::Supervisor, Of::Supervisor("id"), Action::Write);

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/indexer/v1/supervisor";
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        get(ROOT, Need::SignedIn, list),
        post(ROOT, Need::SignedIn, create),
        get(path("/history"), Need::SignedIn, all_history),
        post(path("/suspendAll"), Need::SignedIn, suspend_all),
        post(path("/resumeAll"), Need::SignedIn, resume_all),
        post(path("/terminateAll"), Need::SignedIn, terminate_all),
        get(path("/{id}"), READ, spec),
        get(path("/{id}/status"), READ, status),
        get(path("/{id}/health"), READ, health),
        get(path("/{id}/stats"), READ, stats),
        get(path("/{id}/parseErrors"), READ, parse_errors),
        // Of one that was terminated, nobody knows any more whose it is but its documents.
        get(path("/{id}/history"), Need::SignedIn, history),
        post(path("/{id}/suspend"), WRITE, suspend),
        post(path("/{id}/resume"), WRITE, resume),
        post(path("/{id}/terminate"), WRITE, terminate),
        post(path("/{id}/shutdown"), WRITE, terminate),
        post(path("/{id}/reset"), WRITE, reset),
        post(path("/{id}/resetOffsets"), WRITE, reset_offsets),
    ]
}

/// Checks and keeps a spec. The answer names the fields that Druid gives a meaning and Henge does not.
async fn create(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri, body: Bytes) -> Answered {
    let mut document = json_body(&body)?;
    let spec = SupervisorSpec::unresolved(&document)?;
    crate::audit::note(|details| details.object = Some(spec.id.clone()));
    app.require(&caller, Kind::Datasource, &spec.data_schema.datasource, Action::Write)?;
    require_stream(&app, &caller, &spec)?;
    let existing = app.coordinator.supervisor(&spec.id).ok();
    if let Some(existing) = &existing {
        app.require(&caller, Kind::Supervisor, &existing.spec.datasource, Action::Write)?;
    }
    secrets::restore(&mut document, existing.as_ref().map(|existing| &existing.spec.document))?;
    let spec = SupervisorSpec::from_json(&document)?;
    let kept = coordinator::SupervisorSpec {
        id: spec.id.clone(),
        datasource: spec.data_schema.datasource.clone(),
        kind: "kafka".into(),
        source: source(&spec),
        document: spec.to_json(),
        task_count: spec.io.task_count,
        suspended: spec.suspended,
        scaling: spec.io.auto_scaler.as_ref().map(scaling),
    };
    // From here until its tasks have caught up, answers over the datasource say that they are not complete.
    let skip = Parameters::of(&uri).has("skipRestartIfUnmodified");
    app.coordinator.put_supervisor(kept, skip, now()).await?;
    tracing::info!(supervisor = %spec.id, ignored = ?spec.ignored, "supervisor posted");
    let mut answer = Map::from_iter([("id".to_string(), json!(spec.id))]);
    if !spec.ignored.is_empty() {
        answer.insert("ignored".into(), json!(spec.ignored));
    }
    Ok(Json(Value::Object(answer)).into_response())
}

/// Whoever names a stream reads it.
pub fn require_stream(app: &App, caller: &Caller, spec: &SupervisorSpec) -> Answered<()> {
    let (stream, topic) = ("kafka", format!("kafka:{}", source(spec)));
    if app.may(caller, Kind::External, stream, Action::Read) {
        return Ok(());
    }
    // A pattern may match topics that there are not yet: it needs the right to all.
    let needed = if is_pattern(spec) { stream } else { &topic };
    app.require(caller, Kind::External, needed, Action::Read)
}

/// The auto scaler in the coordinator's words.
fn scaling(scaler: &AutoScaler) -> Scaling {
    Scaling {
        tasks_min: scaler.task_count_min,
        tasks_max: scaler.task_count_max,
        tasks_start: scaler.task_count_start,
        aggregate: match scaler.lag_aggregate {
            LagAggregate::Sum => coordinator::LagAggregate::Sum,
            LagAggregate::Max => coordinator::LagAggregate::Max,
            LagAggregate::Average => coordinator::LagAggregate::Average,
        },
        sample_ms: scaler.lag_collection_interval_millis,
        range_ms: scaler.lag_collection_range_millis,
        start_ms: scaler.scale_action_start_delay_millis,
        period_ms: scaler.scale_action_period_millis,
        out_lag: scaler.scale_out_threshold,
        out_share: scaler.scale_out_fraction,
        out_step: scaler.scale_out_step,
        out_rest_ms: scaler.scale_up_delay_millis,
        in_lag: scaler.scale_in_threshold,
        in_share: scaler.scale_in_fraction,
        in_step: scaler.scale_in_step,
        in_rest_ms: scaler.scale_down_delay_millis,
    }
}

fn is_pattern(spec: &SupervisorSpec) -> bool {
    matches!(spec.io.stream, Stream::Pattern { .. })
}

/// The topic, or the pattern of topics, that a spec reads.
pub fn source(spec: &SupervisorSpec) -> String {
    match &spec.io.stream {
        Stream::Topic(name) | Stream::Journal(name) => name.clone(),
        Stream::Pattern { text, .. } => text.clone(),
    }
}

async fn list(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let mut supervisors = app.coordinator.supervisors();
    supervisors.retain(|supervisor| app.sees_work(&caller, Kind::Supervisor, &supervisor.spec.datasource));
    let (full, system, state) = (parameters.has("full"), parameters.has("system"), parameters.has("state"));
    if !(full || system || state) {
        let ids: Vec<&str> = supervisors.iter().map(|s| s.spec.id.as_str()).collect();
        return Ok(Json(json!(ids)).into_response());
    }
    let one = |s: &Supervisor| {
        let mut shown = json!({
            "id": s.spec.id,
            "dataSource": s.spec.datasource,
            "state": s.state.basic(),
            "detailedState": s.state.detailed(),
            "healthy": s.state.is_healthy(),
            "suspended": s.spec.suspended,
            "type": s.spec.kind,
            "source": s.spec.source,
        });
        if full {
            shown["spec"] = secrets::hidden(&s.spec.document);
        } else if system {
            shown["specString"] = json!(secrets::hidden(&s.spec.document).to_string());
        }
        shown
    };
    Ok(Json(supervisors.iter().map(one).collect::<Vec<_>>()).into_response())
}

async fn spec(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(secrets::hidden(&app.coordinator.supervisor(&id)?.spec.document)).into_response())
}

async fn status(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let supervisor = app.coordinator.supervisor(&id)?;
    let document = SupervisorSpec::unresolved(&supervisor.spec.document)?;
    let reports: Vec<(&str, &Value)> =
        supervisor.tasks.iter().filter_map(|task| Some((task.id.as_str(), &task.progress.as_ref()?.report))).collect();
    let mut active = Vec::new();
    let mut publishing = Vec::new();
    let (mut latest, mut lag, mut errors, mut updated) = (Map::new(), Map::new(), Vec::new(), Value::Null);
    for (id, report) in &reports {
        active.push(json!({
            "id": id,
            "startingOffsets": report["startingOffsets"],
            "startTime": report["startTime"],
            "remainingSeconds": report["remainingSeconds"],
            "type": "ACTIVE",
            "currentOffsets": report["currentOffsets"],
            "lag": report["lag"],
            "state": report["state"],
            "caughtUp": report["caughtUp"],
        }));
        for sequence in report["publishing"].as_array().into_iter().flatten() {
            let mut shown = sequence.clone();
            shown["id"] = json!(id);
            shown["type"] = json!("PUBLISHING");
            publishing.push(shown);
        }
        extend(&mut latest, &report["latestOffsets"]);
        extend(&mut lag, &report["lag"]);
        updated = report["offsetsLastUpdated"].clone();
        errors.extend(report["incidents"].as_array().into_iter().flatten().map(|incident| {
            json!({
                "timestamp": incident["timestamp"],
                "exceptionClass": "henge.ingest",
                "message": incident["message"],
                "streamException": incident["streamException"],
            })
        }));
    }
    errors.extend(supervisor.recent_errors.iter().map(|error| {
        json!({
            "timestamp": format_timestamp(error.at),
            "exceptionClass": error.class,
            "message": error.message,
            "streamException": error.stream,
        })
    }));
    let aggregate: i64 = lag.values().filter_map(Value::as_i64).sum();
    let scaled = supervisor.scaling.as_ref().map(|scaled| {
        json!({
            "taskCount": supervisor.spec.task_count,
            "taskCountMin": scaled.tasks_min,
            "taskCountMax": scaled.tasks_max,
            "lags": scaled.lags,
            "lastLag": scaled.last_lag,
            "lastScaled": scaled.scaled_at.map(format_timestamp),
        })
    });
    let payload = json!({
        "dataSource": supervisor.spec.datasource,
        "stream": supervisor.spec.source,
        "partitions": latest.len(),
        "replicas": 1,
        "taskCount": supervisor.spec.task_count,
        "autoScaler": scaled,
        "durationSeconds": document.io.task_duration_millis / 1000,
        "suspended": supervisor.spec.suspended,
        "healthy": supervisor.state.is_healthy(),
        "state": supervisor.state.basic(),
        "detailedState": supervisor.state.detailed(),
        "waiting": supervisor.waiting,
        "recentErrors": errors,
        "activeTasks": active,
        "publishingTasks": publishing,
        "latestOffsets": latest,
        "minimumLag": lag,
        "aggregateLag": aggregate,
        "offsetsLastUpdated": updated,
        "ignored": document.ignored,
    });
    Ok(Json(json!({"id": id, "generationTime": format_timestamp(now()), "payload": payload})).into_response())
}

fn extend(into: &mut Map<String, Value>, from: &Value) {
    into.extend(from.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
}

async fn health(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let healthy = app.coordinator.supervisor(&id)?.state.is_healthy();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(json!({"healthy": healthy}))).into_response())
}

async fn stats(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let supervisor = app.coordinator.supervisor(&id)?;
    let mut groups = Map::new();
    for task in &supervisor.tasks {
        let Some(progress) = &task.progress else { continue };
        let averages = progress.report["movingAverages"].clone();
        let shown = json!({
            "movingAverages": {"buildSegments": averages},
            "totals": {"buildSegments": progress.report["rowStats"]},
        });
        let (group, _) = task.share.unwrap_or_default();
        let group = groups.entry(group.to_string()).or_insert_with(|| json!({}));
        group[&task.id] = shown;
    }
    Ok(Json(Value::Object(groups)).into_response())
}

async fn parse_errors(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answered {
    let supervisor = app.coordinator.supervisor(&id)?;
    if !app.sees_events(&caller, &supervisor.spec.datasource) {
        return Err(Refusal::denied(&caller));
    }
    let mut errors: Vec<Value> = supervisor
        .tasks
        .iter()
        .filter_map(|task| task.progress.as_ref()?.report["parseErrors"].as_array().cloned())
        .flatten()
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error["timeOfExceptionMillis"].as_i64()));
    Ok(Json(errors).into_response())
}

fn revision(revision: &Revision) -> Value {
    json!({"spec": secrets::hidden(&revision.document), "version": format_timestamp(revision.created_at)})
}

/// The datasource that a document of the history writes.
fn datasource_of(document: &Value) -> Option<&str> {
    let schema = [&document["spec"]["dataSchema"], &document["dataSchema"]];
    let named = schema.iter().find_map(|schema| schema["dataSource"].as_str());
    named.or_else(|| document["dataSources"][0].as_str())
}

/// The revisions that the caller may see: one supervisor may have written several datasources in its time.
fn seen(app: &App, caller: &Caller, revisions: Vec<Revision>) -> Vec<Revision> {
    let may = |revision: &Revision| {
        datasource_of(&revision.document).is_some_and(|name| app.sees_work(caller, Kind::Supervisor, name))
    };
    revisions.into_iter().filter(may).collect()
}

async fn history(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answered {
    let count = Parameters::of(&uri).number("count")?.unwrap_or(usize::MAX);
    let revisions = match app.coordinator.supervisor_history(&id).await {
        Err(error) if error.kind() != segment::Kind::NotFound => return Err(error.into()),
        known => seen(&app, &caller, known.unwrap_or_default()),
    };
    if revisions.is_empty() {
        return Err(Refusal::not_found(format!("No history for [{id}].")));
    }
    Ok(Json(revisions.iter().take(count).map(revision).collect::<Vec<_>>()).into_response())
}

async fn all_history(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    let all = app.coordinator.all_history().await?.into_iter();
    let all = all.map(|(id, revisions)| (id, seen(&app, &caller, revisions)));
    let shown = all
        .filter(|(_, revisions)| !revisions.is_empty())
        .map(|(id, revisions)| (id, revisions.iter().map(revision).collect()));
    Ok(Json(Value::Object(shown.collect::<Map<_, _>>())).into_response())
}

async fn suspend(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answered {
    let supervisor = app.coordinator.suspend(&id, now()).await?;
    Ok(Json(told(&app, &caller, &supervisor.spec)).into_response())
}

async fn resume(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, Path(id): Path<String>) -> Answered {
    let supervisor = app.coordinator.resume(&id, now()).await?;
    Ok(Json(told(&app, &caller, &supervisor.spec)).into_response())
}

/// The spec, to who may ask for it; who may merely act is told which one it is.
fn told(app: &App, caller: &Caller, spec: &coordinator::SupervisorSpec) -> Value {
    match app.sees_work(caller, Kind::Supervisor, &spec.datasource) {
        true => secrets::hidden(&spec.document),
        false => json!({"id": spec.id}),
    }
}

async fn terminate(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    app.coordinator.terminate(&id, now()).await?;
    Ok(Json(json!({"id": id})).into_response())
}

async fn reset(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    app.coordinator.reset(&id, now()).await?;
    Ok(Json(json!({"id": id})).into_response())
}

/// The body is Druid's stream metadata: `{"type": "kafka", "partitions": {"stream": …, "partitionOffsetMap": {…}}}`.
async fn reset_offsets(State(app): State<Arc<App>>, Path(id): Path<String>, body: Bytes) -> Answered {
    let body = json_body(&body)?;
    let partitions = &body["partitions"];
    let map = ["partitionOffsetMap", "partitionSequenceNumberMap"].iter().find_map(|key| partitions[*key].as_object());
    let Some(map) = map else {
        return Err(Refusal::invalid("partitions.partitionOffsetMap must be an object of partition to offset"));
    };
    let stream = partitions["stream"].as_str().unwrap_or_default();
    let mut positions = std::collections::BTreeMap::new();
    for (partition, offset) in map {
        let offset = offset.as_i64().filter(|offset| *offset >= 0);
        let Some(offset) = offset else {
            let message = format!("partitions.partitionOffsetMap.{partition} must be an offset, a whole number from 0");
            return Err(Refusal::invalid(message));
        };
        let key = if partition.contains(':') { partition.clone() } else { format!("{stream}:{partition}") };
        positions.insert(key, offset);
    }
    app.coordinator.reset_offsets(&id, coordinator::Positions(positions), now()).await?;
    Ok(Json(json!({"id": id})).into_response())
}

/// All there are, or none if one of them is not the caller's to change.
fn all_writable(app: &App, caller: &Caller) -> Answered<Vec<Supervisor>> {
    let all = app.coordinator.supervisors();
    // Whether there are any is not told to who may change none.
    if all.is_empty() {
        app.require(caller, Kind::Supervisor, "", Action::Write)?;
    }
    for supervisor in &all {
        app.require(caller, Kind::Supervisor, &supervisor.spec.datasource, Action::Write)?;
    }
    Ok(all)
}

async fn suspend_all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    for supervisor in all_writable(&app, &caller)? {
        app.coordinator.suspend(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

async fn resume_all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    for supervisor in all_writable(&app, &caller)? {
        app.coordinator.resume(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

async fn terminate_all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    for supervisor in all_writable(&app, &caller)? {
        app.coordinator.terminate(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

fn success() -> Response {
    Json(json!({"status": "success"})).into_response()
}
