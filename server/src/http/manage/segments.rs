//! Segments one by one: listing, looking up, marking.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use coordinator::Selection;
use segment::Interval;
use segment::time::format_timestamp;
use serde_json::{Value, json};

use super::datasources::data_segment;
use super::{Parameters, json_body};
use crate::http::App;
use crate::http::error::{Answered, Refusal};
use crate::node::now;

/// Unused segments shown if the request does not say how many.
const UNUSED_MAX: usize = 1000;

pub fn router() -> Router<Arc<App>> {
    const ROOT: &str = "/druid/coordinator/v1";
    let path = |rest: &str| format!("{ROOT}{rest}");
    Router::new()
        .route(&path("/datasources/{name}/segments"), get(of_datasource))
        .route(&path("/datasources/{name}/segments/{id}"), get(one).post(mark_used).delete(mark_unused))
        .route(&path("/metadata/datasources/{name}/segments"), get(of_datasource).post(of_intervals))
        .route(&path("/metadata/datasources/{name}/segments/{id}"), get(metadata_one))
        .route(&path("/metadata/datasources/{name}/unusedSegments"), get(unused))
        .route(&path("/metadata/segments"), get(all))
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

async fn one(State(app): State<Arc<App>>, Path((_, id)): Path<(String, String)>) -> Answered {
    let row = app.coordinator.segment(&id).await?;
    let servers = app.coordinator.served_by(&row.meta.id);
    Ok(Json(json!({"metadata": data_segment(&row.meta), "servers": servers})).into_response())
}

async fn metadata_one(State(app): State<Arc<App>>, Path((_, id)): Path<(String, String)>) -> Answered {
    Ok(Json(data_segment(&app.coordinator.segment(&id).await?.meta)).into_response())
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

async fn all(State(app): State<Arc<App>>, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let with_status = parameters.has("includeOvershadowedStatus");
    let mut shown: Vec<Value> = Vec::new();
    for name in app.coordinator.datasources(false).await? {
        if parameters.get("datasources").is_some_and(|only| only != name) {
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
