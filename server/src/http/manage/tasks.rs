//! `/druid/indexer/v1/task…`: batch tasks, and everything that runs or ran.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use coordinator::{TaskFilter, TaskRecord, TaskState, TaskStatus};
use ingest::spec::BatchSpec;
use ingest::spec::data_schema::{check_datasource, check_name};
use query::policy::{Action, Kind};
use segment::Interval;
use segment::time::format_timestamp;
use serde_json::{Value, json};

use super::{Parameters, json_body, secrets};
use crate::auth::Caller;
use crate::http::auth::{Need, Of};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{get, post};
use crate::http::{App, Route};
use crate::node::now;

/// Completed tasks that a listing shows if it does not say how many.
const COMPLETE_MAX: usize = 1000;

const READ: Need = Need::May(Kind::Task, Of::Task("id"), Action::Read);
const WRITE: Need = Need::May(Kind::Task, Of::Task("id"), Action::Write);

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/indexer/v1";
    let path = |rest: &str| format!("{ROOT}{rest}");
    let all_of = Need::May(Kind::Task, Of::Path("name"), Action::Write);
    vec![
        post(path("/task"), Need::SignedIn, create),
        get(path("/task/{id}"), READ, payload),
        get(path("/task/{id}/status"), READ, status),
        get(path("/task/{id}/reports"), READ, reports),
        get(path("/task/{id}/log"), READ, log),
        post(path("/task/{id}/shutdown"), WRITE, shutdown),
        post(path("/taskStatus"), Need::SignedIn, statuses),
        get(path("/tasks"), Need::SignedIn, list),
        get(path("/runningTasks"), Need::SignedIn, running),
        get(path("/pendingTasks"), Need::SignedIn, pending),
        get(path("/waitingTasks"), Need::SignedIn, waiting),
        get(path("/completeTasks"), Need::SignedIn, complete),
        post(path("/datasources/{name}/shutdownAllTasks"), all_of, shutdown_all),
    ]
}

const KINDS: [&str; 3] = ["index_parallel", "index", "noop"];

/// A task that does nothing takes a place from others for so long at most.
const NOOP_MAX_MS: u64 = 3_600_000;

/// The types of the input sources of a spec, one within another too.
fn input_sources<'a>(of: &'a Value, within: bool, found: &mut BTreeSet<&'a str>) {
    match of {
        Value::Object(fields) => {
            if within {
                found.extend(fields.get("type").and_then(Value::as_str));
            }
            // What a source tells its servers is no source, and may have types of its own.
            let told = |name: &str| within && matches!(name, "httpAuthenticationPassword" | "requestHeaders");
            for (name, value) in fields.iter().filter(|(name, _)| !told(name)) {
                input_sources(value, within || name == "inputSource" || name == "firehose", found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| input_sources(item, within, found)),
        _ => {}
    }
}

/// What is in the spec itself its sender knows; the rest, files of this machine among them, is read on its behalf.
pub fn require_sources(app: &App, caller: &Caller, document: &Value) -> Answered<()> {
    let mut sources = BTreeSet::new();
    input_sources(document, false, &mut sources);
    let mut read = sources.into_iter().filter(|source| *source != "inline");
    read.try_for_each(|source| app.require(caller, Kind::External, source, Action::Read))
}

/// What a task replaces is gone, with the rows that its sender does not see: as dropping, it takes the sight of all of them.
/// Of a datasource that is not there yet nothing is replaced. It is asked once more where the task publishes, as others may
/// have published first, and rules may be others by then.
async fn require_whole(app: &App, caller: &Caller, datasource: &str) -> Answered<()> {
    if !app.is_restricted(caller, datasource) {
        return Ok(());
    }
    match app.datasources().await {
        Some(all) if !all.iter().any(|name| name == datasource) => Ok(()),
        _ => {
            let message = format!(
                "the task replaces rows of [{datasource}] that you may not see; set ioConfig.appendToExisting, or have \
                 somebody post it who may read all rows and columns of it"
            );
            Err(Refusal::new(StatusCode::FORBIDDEN, message))
        }
    }
}

async fn create(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let document = json_body(&body)?;
    let kind = document["type"].as_str().unwrap_or_default().to_string();
    if !KINDS.contains(&kind.as_str()) {
        let known = KINDS.join(", ");
        return Err(Refusal::invalid(format!("type: '{kind}' is not a task type that can be posted; one of {known}")));
    }
    let (datasource, replaces, ignored) = match kind.as_str() {
        "noop" => {
            let datasource = document["dataSource"].as_str().unwrap_or("none");
            check_datasource(datasource, "dataSource")?;
            if document["runTime"].as_u64().is_some_and(|millis| millis > NOOP_MAX_MS) {
                return Err(Refusal::invalid(format!("runTime: must be at most {NOOP_MAX_MS} milliseconds")));
            }
            (datasource.to_string(), false, Vec::new())
        }
        _ => {
            let spec = BatchSpec::from_json(&document)?;
            (spec.data_schema.datasource.clone(), !spec.append, spec.ignored)
        }
    };
    app.require(&caller, Kind::Datasource, &datasource, Action::Write)?;
    if replaces {
        require_whole(&app, &caller, &datasource).await?;
    }
    require_sources(&app, &caller, &document)?;
    let now = now();
    let id = match &document["id"] {
        // Of every kind: ids become names of folders and parts of paths.
        Value::String(id) => {
            check_name(id, "id")?;
            id.clone()
        }
        Value::Null => {
            let random = uuid::Uuid::new_v4().simple().to_string();
            format!("{kind}_{datasource}_{}_{}", &random[..8], format_timestamp(now))
        }
        _ => return Err(Refusal::invalid("id must be a text; give one or none")),
    };
    crate::audit::note(|details| {
        details.object = Some(id.clone());
        details.datasources = vec![datasource.clone()];
    });
    let task = TaskRecord {
        id: id.clone(),
        group_id: document["groupId"].as_str().unwrap_or(&id).to_string(),
        datasource,
        kind,
        supervisor: None,
        document,
        group: 0,
        groups: 1,
        generation: 0,
        created_at: now,
        follows: Vec::new(),
        // Who is asked about again when it publishes.
        poster: Some(app.identity.poster(&caller)),
    };
    app.coordinator.create_task(task, now).await?;
    tracing::info!(task = %id, "task posted");
    let mut answer = json!({"task": id});
    if !ignored.is_empty() {
        answer["ignored"] = json!(ignored);
    }
    Ok(Json(answer).into_response())
}

/// Druid's task status object.
fn shown(app: &App, task: &TaskStatus) -> Value {
    let code = match task.state {
        TaskState::Pending | TaskState::Running => "RUNNING",
        TaskState::Success => "SUCCESS",
        TaskState::Failed => "FAILED",
    };
    let runner = match task.state {
        TaskState::Pending => "PENDING",
        TaskState::Running => "RUNNING",
        _ => "NONE",
    };
    let duration = task.ended_at.map_or(-1, |end| end - task.started_at.unwrap_or(task.created_at));
    let (host, port) = match (task.started_at, app.address.rsplit_once(':')) {
        (Some(_), Some((host, port))) => (json!(host), port.parse().unwrap_or(-1)),
        _ => (Value::Null, -1),
    };
    json!({
        "id": task.id,
        "groupId": task.group_id,
        "type": task.kind,
        "createdTime": format_timestamp(task.created_at),
        "queueInsertionTime": format_timestamp(task.created_at),
        "statusCode": code,
        "status": code,
        "runnerStatusCode": runner,
        "duration": duration,
        "location": {"host": host, "port": port, "tlsPort": -1},
        "dataSource": task.datasource,
        "errorMsg": task.error,
    })
}

/// A task of which the caller may see events: those that could not be read, and those that its spec brings along.
async fn with_events(app: &App, caller: &Caller, id: &str) -> Answered<TaskStatus> {
    let task = app.coordinator.task(id).await?;
    match app.sees_events(caller, &task.datasource) {
        true => Ok(task),
        false => Err(Refusal::denied(caller)),
    }
}

async fn payload(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answered {
    with_events(&app, &caller, &id).await?;
    let document = app.coordinator.task_document(&id).await?;
    Ok(Json(json!({"task": id, "payload": secrets::hidden(&document)})).into_response())
}

async fn status(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let task = app.coordinator.task(&id).await?;
    Ok(Json(json!({"task": id, "status": shown(&app, &task)})).into_response())
}

async fn statuses(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let body = json_body(&body)?;
    let Some(ids) = body.as_array() else {
        return Err(Refusal::invalid("the body must be an array of task ids"));
    };
    let mut found = serde_json::Map::new();
    for id in ids.iter().filter_map(Value::as_str) {
        if let Ok(task) = app.coordinator.task(id).await
            && app.sees_work(&caller, Kind::Task, &task.datasource)
        {
            found.insert(id.to_string(), shown(&app, &task));
        }
    }
    Ok(Json(found).into_response())
}

/// Druid's `ingestionStatsAndErrors`, made of the task's last report.
async fn reports(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answered {
    let task = with_events(&app, &caller, &id).await?;
    let report = match &task.progress {
        Some(progress) => progress.report.clone(),
        None => app.coordinator.task_report(&id).await?.unwrap_or_else(|| json!({})),
    };
    let document = app.coordinator.task_document(&id).await?;
    let state = match task.state {
        TaskState::Pending => "NOT_STARTED",
        TaskState::Running => "BUILD_SEGMENTS",
        TaskState::Success | TaskState::Failed => "COMPLETED",
    };
    let payload = json!({
        "ingestionState": state,
        "unparseableEvents": {"buildSegments": report["parseErrors"]},
        "rowStats": {"buildSegments": report["rowStats"], "totals": {"buildSegments": report["rowStats"]}},
        "errorMsg": task.error,
        "segmentAvailabilityConfirmed": false,
        "segmentAvailabilityWaitTimeMs": 0,
        "recordsProcessed": {},
        "segmentsRead": 0,
        "segmentsPublished": report["segmentsPublished"],
        "ignored": report["ignored"],
    });
    Ok(Json(json!({
        "ingestionStatsAndErrors": {"type": "ingestionStatsAndErrors", "taskId": id, "payload": payload},
        "taskContext": {"type": "taskContext", "taskId": id, "payload": secrets::hidden(&document)["context"]},
    }))
    .into_response())
}

/// Tasks log to the process's log; what is particular to one is its incidents.
async fn log(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, Path(id): Path<String>) -> Answered {
    let task = with_events(&app, &caller, &id).await?;
    let report = match &task.progress {
        Some(progress) => progress.report.clone(),
        None => app.coordinator.task_report(&id).await?.unwrap_or_default(),
    };
    let mut text = format!("{} task {id} created\n", format_timestamp(task.created_at));
    for incident in report["incidents"].as_array().into_iter().flatten() {
        let of = |key: &str| incident[key].as_str().unwrap_or_default().to_string();
        text.push_str(&format!("{} {}\n", of("timestamp"), of("message")));
    }
    if let Some(error) = &task.error {
        text.push_str(&format!("failed: {error}\n"));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn shutdown(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    app.coordinator.shutdown_task(&id, now()).await?;
    Ok(Json(json!({"task": id})).into_response())
}

async fn shutdown_all(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    app.coordinator.shutdown_all_tasks(&name, now()).await?;
    Ok(Json(json!({"dataSource": name})).into_response())
}

async fn list(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let states = match parameters.get("state") {
        None => vec![TaskState::Pending, TaskState::Running, TaskState::Success, TaskState::Failed],
        Some("pending") => vec![TaskState::Pending],
        Some("waiting") => Vec::new(),
        Some("running") => vec![TaskState::Running],
        Some("complete") => vec![TaskState::Success, TaskState::Failed],
        Some(other) => {
            let message = format!("state must be pending, waiting, running or complete, not '{other}'");
            return Ok((StatusCode::BAD_REQUEST, message).into_response());
        }
    };
    let created = match parameters.get("createdTimeInterval") {
        None => None,
        Some(text) => Some(Interval::parse(&text.replace('_', "/")).map_err(|e| Refusal::invalid(e.to_string()))?),
    };
    tasks_of(&app, &caller, states, &parameters, created, parameters.number("max")?).await
}

async fn tasks_of(
    app: &App,
    caller: &Caller,
    states: Vec<TaskState>,
    parameters: &Parameters,
    created: Option<Interval>,
    max: Option<usize>,
) -> Answered {
    let none = states.is_empty();
    let filter = TaskFilter {
        states,
        datasource: parameters.get("datasource").map(str::to_string),
        kind: parameters.get("type").map(str::to_string),
        created,
        max: Some(max.unwrap_or(COMPLETE_MAX)),
        system: false,
    };
    let mut tasks = if none { Vec::new() } else { app.coordinator.tasks(filter).await? };
    tasks.retain(|task| app.sees_work(caller, Kind::Task, &task.datasource));
    Ok(Json(tasks.iter().map(|task| shown(app, task)).collect::<Vec<_>>()).into_response())
}

async fn running(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    tasks_of(&app, &caller, vec![TaskState::Running], &Parameters::of(&uri), None, None).await
}

async fn pending(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    tasks_of(&app, &caller, vec![TaskState::Pending], &Parameters::of(&uri), None, None).await
}

/// Tasks wait for no locks here.
async fn waiting() -> Json<Value> {
    Json(json!([]))
}

async fn complete(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let max = parameters.number("n")?;
    tasks_of(&app, &caller, vec![TaskState::Success, TaskState::Failed], &parameters, None, max).await
}
