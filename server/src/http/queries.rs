//! `GET /henge/v1/queries/{id}`: how far a query is, and where its time went, for who asked it. It is asked of the broker that
//! runs it, and of nobody else: to others it is not there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use query::progress::{Report, State as Stands, Step};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::Need;
use super::error::{Answered, Refusal};
use super::routes::{Route, get};
use crate::auth::Caller;

/// What the paths of queries at work begin with.
pub const ROOT: &str = "/henge/v1/queries";

pub fn routes() -> Vec<Route> {
    vec![get(format!("{ROOT}/{{id}}"), Need::SignedIn, progress)]
}

/// How it is told that there is no such query: with status 404, or, to who looks before it is planned and is not to be told of
/// an error, as `null`.
#[derive(Deserialize)]
struct Ask {
    missing: Option<String>,
}

async fn progress(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(ask): Query<Ask>,
) -> Answered<Json<Value>> {
    match (app.broker.progress(&id, &caller.principal.name), ask.missing.as_deref()) {
        (Some(found), _) => Ok(Json(shown(&id, &found.report()))),
        (None, Some("null")) => Ok(Json(Value::Null)),
        (None, Some(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "missing: must be null")),
        (None, None) => Err(Refusal::not_found("there is no query of yours of this id now")),
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn shown(id: &str, report: &Report) -> Value {
    let state = match report.state {
        Stands::Running => "running",
        Stands::Ended => "ended",
        Stands::Failed => "failed",
        Stands::Cancelled => "cancelled",
    };
    json!({
        "id": id,
        "state": state,
        "elapsedMs": ms(report.elapsed),
        "rows": report.rows,
        "bytes": report.bytes,
        "segments": report.segments.map(|(done, total)| json!({"done": done, "total": total})),
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn step(step: &Step) -> Value {
    json!({
        "id": step.id,
        "parent": step.parent,
        "name": step.name,
        "table": step.table,
        "node": step.node,
        "rows": step.rows,
        "ms": ms(step.took),
        "segments": step.segments,
    })
}

/// A query of this id and of this name did not end well.
pub fn failed(app: &App, id: &str, name: &str, cancelled: bool) {
    if let Some(progress) = app.broker.progress(id, name) {
        progress.fail(cancelled);
    }
}
