//! `/druid/indexer/v1/supervisor`.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use coordinator::{Revision, Supervisor};
use ingest::spec::{Stream, SupervisorSpec};
use segment::time::format_timestamp;
use serde_json::{Map, Value, json};

use super::{Parameters, json_body};
use crate::http::App;
use crate::http::error::{Answered, Refusal};
use crate::node::now;

pub fn router() -> Router<Arc<App>> {
    const ROOT: &str = "/druid/indexer/v1/supervisor";
    let path = |rest: &str| format!("{ROOT}{rest}");
    Router::new()
        .route(ROOT, get(list).post(create))
        .route(&path("/"), get(list).post(create))
        .route(&path("/history"), get(all_history))
        .route(&path("/suspendAll"), post(suspend_all))
        .route(&path("/resumeAll"), post(resume_all))
        .route(&path("/terminateAll"), post(terminate_all))
        .route(&path("/{id}"), get(spec))
        .route(&path("/{id}/status"), get(status))
        .route(&path("/{id}/health"), get(health))
        .route(&path("/{id}/stats"), get(stats))
        .route(&path("/{id}/parseErrors"), get(parse_errors))
        .route(&path("/{id}/history"), get(history))
        .route(&path("/{id}/suspend"), post(suspend))
        .route(&path("/{id}/resume"), post(resume))
        .route(&path("/{id}/terminate"), post(terminate))
        .route(&path("/{id}/shutdown"), post(terminate))
        .route(&path("/{id}/reset"), post(reset))
        .route(&path("/{id}/resetOffsets"), post(reset_offsets))
}

/// Checks and keeps a spec. The answer names the fields that Druid gives a meaning and Henge does not.
async fn create(State(app): State<Arc<App>>, uri: Uri, body: Bytes) -> Answered {
    let document = json_body(&body)?;
    let spec = SupervisorSpec::from_json(&document)?;
    crate::audit::note(|details| details.object = Some(spec.id.clone()));
    let kept = coordinator::SupervisorSpec {
        id: spec.id.clone(),
        datasource: spec.data_schema.datasource.clone(),
        kind: "kafka".into(),
        source: source(&spec),
        document: spec.to_json(),
        task_count: spec.io.task_count,
        suspended: spec.suspended,
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

fn source(spec: &SupervisorSpec) -> String {
    match &spec.io.stream {
        Stream::Topic(name) | Stream::Journal(name) => name.clone(),
        Stream::Pattern { text, .. } => text.clone(),
    }
}

async fn list(State(app): State<Arc<App>>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let supervisors = app.coordinator.supervisors();
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
            shown["spec"] = s.spec.document.clone();
        } else if system {
            shown["specString"] = json!(s.spec.document.to_string());
        }
        shown
    };
    Ok(Json(supervisors.iter().map(one).collect::<Vec<_>>()).into_response())
}

async fn spec(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(app.coordinator.supervisor(&id)?.spec.document).into_response())
}

async fn status(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let supervisor = app.coordinator.supervisor(&id)?;
    let document = SupervisorSpec::from_json(&supervisor.spec.document)?;
    let reports: Vec<(&str, &Value)> = supervisor
        .tasks
        .iter()
        .filter_map(|task| Some((task.record.id.as_str(), &task.progress.as_ref()?.report)))
        .collect();
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
    let payload = json!({
        "dataSource": supervisor.spec.datasource,
        "stream": supervisor.spec.source,
        "partitions": latest.len(),
        "replicas": 1,
        "durationSeconds": document.io.task_duration_millis / 1000,
        "suspended": supervisor.spec.suspended,
        "healthy": supervisor.state.is_healthy(),
        "state": supervisor.state.basic(),
        "detailedState": supervisor.state.detailed(),
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
        let group = groups.entry(task.record.group.to_string()).or_insert_with(|| json!({}));
        group[&task.record.id] = shown;
    }
    Ok(Json(Value::Object(groups)).into_response())
}

async fn parse_errors(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let supervisor = app.coordinator.supervisor(&id)?;
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
    json!({"spec": revision.document, "version": format_timestamp(revision.created_at)})
}

async fn history(State(app): State<Arc<App>>, Path(id): Path<String>, uri: Uri) -> Answered {
    let count = Parameters::of(&uri).number("count")?.unwrap_or(usize::MAX);
    let revisions = app.coordinator.supervisor_history(&id).await?;
    if revisions.is_empty() {
        return Err(Refusal::not_found(format!("No history for [{id}].")));
    }
    Ok(Json(revisions.iter().take(count).map(revision).collect::<Vec<_>>()).into_response())
}

async fn all_history(State(app): State<Arc<App>>) -> Answered {
    let all = app.coordinator.all_history().await?;
    let shown = all.into_iter().map(|(id, revisions)| (id, revisions.iter().map(revision).collect()));
    Ok(Json(Value::Object(shown.collect::<Map<_, _>>())).into_response())
}

async fn suspend(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(app.coordinator.suspend(&id, now()).await?.spec.document).into_response())
}

async fn resume(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(app.coordinator.resume(&id, now()).await?.spec.document).into_response())
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

async fn suspend_all(State(app): State<Arc<App>>) -> Answered {
    for supervisor in app.coordinator.supervisors() {
        app.coordinator.suspend(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

async fn resume_all(State(app): State<Arc<App>>) -> Answered {
    for supervisor in app.coordinator.supervisors() {
        app.coordinator.resume(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

async fn terminate_all(State(app): State<Arc<App>>) -> Answered {
    for supervisor in app.coordinator.supervisors() {
        app.coordinator.terminate(&supervisor.spec.id, now()).await?;
    }
    Ok(success())
}

fn success() -> Response {
    Json(json!({"status": "success"})).into_response()
}
