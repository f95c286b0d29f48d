//! Segments one by one: listing, looking up, marking.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use coordinator::Selection;
use query::policy::Action;
use segment::time::format_timestamp;
use segment::{Interval, SegmentMeta};
use serde_json::{Value, json};

use super::datasources::data_segment;
use super::{Parameters, json_body};
use crate::auth::Caller;
use crate::http::auth::{Need, Of};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post};
use crate::http::{App, Route};
use crate::node::now;

/// Unused segments shown if the request does not say how many.
const UNUSED_MAX: usize = 1000;

const READ: Need = Need::Whole(Of::Path("name"), Action::Read);
const WRITE: Need = Need::Whole(Of::Path("name"), Action::Write);

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/coordinator/v1";
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        get(path("/datasources/{name}/segments"), READ, of_datasource),
        get(path("/datasources/{name}/segments/{id}"), READ, one),
        post(path("/datasources/{name}/segments/{id}"), WRITE, mark_used),
        delete(path("/datasources/{name}/segments/{id}"), WRITE, mark_unused),
        get(path("/metadata/datasources/{name}/segments"), READ, of_datasource),
        post(path("/metadata/datasources/{name}/segments"), READ, of_intervals),
        get(path("/metadata/datasources/{name}/segments/{id}"), READ, metadata_one),
        get(path("/metadata/datasources/{name}/unusedSegments"), READ, unused),
        get(path("/metadata/segments"), Need::SignedIn, all),
    ]
}

/// A segment of that datasource: the caller was let in to no other.
async fn found(app: &App, name: &str, id: &str) -> Answered<SegmentMeta> {
    let meta = app.coordinator.segment(id).await.map(|row| row.meta);
    match meta {
        Ok(meta) if meta.id.datasource == name => Ok(meta),
        Err(error) if error.kind() != segment::Kind::NotFound => Err(error.into()),
        _ => Err(Refusal::not_found(format!("datasource {name} has no segment {id}"))),
    }
}

async fn of_datasource(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let segments = app.coordinator.segments(&name);
    if Parameters::of(&uri).has("full") {
        return Ok(Json(segments.iter().map(data_segment).collect::<Vec<_>>()).into_response());
    }
    Ok(Json(segments.iter().map(|meta| meta.id.to_string()).collect::<Vec<_>>()).into_response())
}

async fn of_intervals(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri, body: Bytes) -> Answered {
    let body = json_body(&body)?;
    let texts = body.as_array().ok_or_else(|| Refusal::invalid("the body must be an array of intervals"))?;
    let intervals: Vec<Interval> = texts
        .iter()
        .map(|text| Interval::parse(text.as_str().unwrap_or_default()).map_err(|e| Refusal::invalid(e.to_string())))
        .collect::<Answered<_>>()?;
    let segments = app.coordinator.segments(&name);
    let wanted = segments.iter().filter(|meta| intervals.iter().any(|i| i.overlaps(&meta.id.interval)));
    let full = Parameters::of(&uri).has("full");
    let shown = wanted.map(|meta| if full { data_segment(meta) } else { json!(meta.id.to_string()) });
    Ok(Json(shown.collect::<Vec<_>>()).into_response())
}

async fn one(State(app): State<Arc<App>>, Path((name, id)): Path<(String, String)>) -> Answered {
    let meta = found(&app, &name, &id).await?;
    let servers = app.coordinator.served_by(&meta.id);
    Ok(Json(json!({"metadata": data_segment(&meta), "servers": servers})).into_response())
}

async fn metadata_one(State(app): State<Arc<App>>, Path((name, id)): Path<(String, String)>) -> Answered {
    Ok(Json(data_segment(&found(&app, &name, &id).await?)).into_response())
}

async fn mark_used(State(app): State<Arc<App>>, Path((name, id)): Path<(String, String)>) -> Answered {
    let changed = app.coordinator.mark_used(&name, Selection::Ids(vec![id]), now()).await?;
    Ok(Json(json!({"segmentStateChanged": changed > 0})).into_response())
}

async fn mark_unused(State(app): State<Arc<App>>, Path((name, id)): Path<(String, String)>) -> Answered {
    let changed = app.coordinator.mark_unused(&name, Selection::Ids(vec![id]), now()).await?;
    Ok(Json(json!({"segmentStateChanged": changed > 0})).into_response())
}

async fn unused(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let interval = match parameters.get("interval") {
        None => None,
        Some(text) => Some(Interval::parse(&text.replace('_', "/")).map_err(|e| Refusal::invalid(e.to_string()))?),
    };
    let limit = parameters.number("limit")?.unwrap_or(UNUSED_MAX);
    let rows = app.coordinator.unused_segments(&name, interval, limit).await?;
    let shown = rows.iter().map(|row| {
        json!({
            "dataSegment": data_segment(&row.meta),
            "createdDate": format_timestamp(row.created_at),
            "usedStatusLastUpdatedDate": format_timestamp(row.changed_at),
        })
    });
    Ok(Json(shown.collect::<Vec<_>>()).into_response())
}

async fn all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let with_status = parameters.has("includeOvershadowedStatus");
    let mut shown: Vec<Value> = Vec::new();
    for name in app.coordinator.datasources(false).await? {
        let asked = parameters.get("datasources").is_none_or(|only| only == name);
        if !asked || !app.sees_whole(&caller, &name) {
            continue;
        }
        let overshadowed = app.coordinator.overshadowed(&name);
        for meta in app.coordinator.segments(&name) {
            let mut segment = data_segment(&meta);
            if with_status {
                segment["overshadowed"] = json!(overshadowed.contains(&meta.id));
                segment["replicationFactor"] = json!(1);
                segment["numRows"] = json!(meta.rows);
            }
            shown.push(segment);
        }
    }
    Ok(Json(shown).into_response())
}
