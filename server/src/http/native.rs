//! `/druid/v2`: native queries.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::BoxStream;
use query::language::Union;
use query::language::response::{Format, respond, respond_arrays};
use query::{Budget, Error, ResponseContext};
use serde_json::{Map, Value, json};

use super::App;
use super::error::failed_query;
use crate::audit;
use crate::auth::Caller;

const SMILE: [&str; 2] = ["application/x-jackson-smile", "application/smile"];

pub async fn query(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(parameters): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    if SMILE.iter().any(|smile| content.starts_with(smile)) {
        let message = format!("content type '{content}' is not supported; send application/json");
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, axum::Json(json!({"error": message, "errorMessage": message})))
            .into_response();
    }
    let pretty = parameters.is_some_and(|p| p.split('&').any(|q| q == "pretty" || q.starts_with("pretty=")));
    let started = Instant::now();
    let mut asked = Asked::default();
    let mut outcome = answer(&app, &caller, &body, pretty, &mut asked).await;
    for _ in 0..super::REPAIRS_MAX {
        if !matches!(&outcome, Err(error) if error.kind() == segment::Kind::Corrupt) {
            break;
        }
        app.mend().await;
        outcome = answer(&app, &caller, &body, pretty, &mut asked).await;
    }
    let (mut response, failed) = match outcome {
        Ok(response) => (response, false),
        Err(error) => {
            audit::note(|details| details.error = Some(format!("{:?}", error.kind())));
            (failed_query(&error.failure(), &app.address), true)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&asked.query_id) {
        response.headers_mut().insert("x-druid-query-id", id);
    }
    tracing::debug!(
        query_id = %asked.query_id,
        kind = asked.kind,
        status = response.status().as_u16(),
        ms = started.elapsed().as_millis() as u64,
        "query"
    );
    crate::metrics::query(asked.kind, failed, started.elapsed());
    response
}

/// What the log and the metrics say of a query.
#[derive(Default)]
struct Asked {
    query_id: String,
    kind: &'static str,
}

async fn answer(app: &App, caller: &Caller, body: &[u8], pretty: bool, asked: &mut Asked) -> Result<Response, Error> {
    asked.kind = "unparsed";
    let mut json: Value =
        serde_json::from_slice(body).map_err(|e| Error::Parse(format!("the body is not JSON: {e}")))?;
    let mut context = match json.get("context") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(context)) => context.clone(),
        Some(_) => return Err(Error::Context("context must be an object".into())),
    };
    app.broker.settings().with_defaults(&mut context);
    let context = &context;
    // The queries of a union get the defaults one by one: those must not go before what a query says itself.
    let is_union = Union::is_meant(&json);
    if let (Value::Object(query), false) = (&mut json, is_union) {
        query.insert("context".into(), Value::Object(context.clone()));
    }
    let budget = Budget::from_context(context, app.broker.settings())?;
    asked.query_id = budget.query_id().to_string();
    let by_segment = flag(context, "bySegment");
    let who = &caller.principal;
    let format = Format { pretty, time_as_long: flag(context, "serializeDateTimeAsLong") };
    if is_union {
        asked.kind = "union";
        let union = app.broker.parse_union(&json, who)?;
        audit::note(|details| {
            details.query(asked.kind, &asked.query_id, &String::from_utf8_lossy(body));
            details.reads(union.tables().into_iter());
        });
        let step = app.traces.query(asked.kind, &asked.query_id);
        let mut answer = app.broker.answer_union(union, who, budget).await?;
        answer.batches = step.around(audit::counted(answer.batches, |batch| batch.table.rows));
        let response_context = answer.context.clone();
        let mut response = stream(respond_arrays(answer, format).boxed()).await?;
        put_context(&mut response, &response_context);
        return Ok(response);
    }
    let query = match by_segment {
        false => app.broker.parse(&json, who)?,
        true => app.broker.parse(&without(&json, "bySegment"), who)?,
    };
    asked.kind = query.type_name();
    audit::note(|details| {
        details.query(asked.kind, &asked.query_id, &String::from_utf8_lossy(body));
        details.reads(query.scope().source.tables().into_iter());
    });
    let step = app.traces.query(asked.kind, &asked.query_id);
    if by_segment {
        let (body, response_context) = app.broker.answer_by_segment(&query, &caller.principal, budget, format).await?;
        let mut response = json_response(Body::from(body));
        put_context(&mut response, &response_context);
        return Ok(response);
    }
    let mut answer = app.broker.answer(query.clone(), &caller.principal, budget).await?;
    answer.batches = step.around(audit::counted(answer.batches, |batch| batch.table.rows));
    let response_context = answer.context.clone();
    let rows = respond(&query, answer, format).boxed();
    let mut response = stream(rows).await?;
    put_context(&mut response, &response_context);
    Ok(response)
}

fn flag(context: &Map<String, Value>, key: &str) -> bool {
    match context.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// The query without a key of its context, which is not the query's own affair.
fn without(query: &Value, key: &str) -> Value {
    let mut query = query.clone();
    if let Some(context) = query.get_mut("context").and_then(Value::as_object_mut) {
        context.remove(key);
    }
    query
}

/// A streamed body. Two chunks are awaited, so that a query that fails before anything is sent gets a status; a later
/// error cuts the connection off, which no reader takes for the end of the answer. Compression asks a stream once more
/// after its end, so it must bear that.
pub async fn stream<E>(mut rows: BoxStream<'static, Result<Bytes, E>>) -> Result<Response, E>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let first = match rows.next().await {
        None => Bytes::new(),
        Some(chunk) => chunk?,
    };
    let second = match rows.next().await {
        None => return Ok(json_response(Body::from(first))),
        Some(chunk) => chunk?,
    };
    let head = futures::stream::iter([Ok(first), Ok(second)]);
    let logged = head.chain(rows).inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::warn!(%error, "a query failed after its first row");
        }
    });
    Ok(json_response(Body::from_stream(logged.fuse())))
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// `X-Druid-Response-Context`: `{}`, or the intervals that are not complete now.
pub fn put_context(response: &mut Response, context: &ResponseContext) {
    if let Ok(value) = HeaderValue::from_str(&context.to_json().to_string()) {
        response.headers_mut().insert("x-druid-response-context", value);
    }
}

/// `DELETE /druid/v2/{id}`: 202 whether or not there is such a query, as Druid does. That of another goes on.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> StatusCode {
    app.broker.cancel(&id, app.may_end(&caller));
    StatusCode::ACCEPTED
}

/// `GET /druid/v2/datasources`.
pub async fn datasources(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Response {
    axum::Json(app.broker.datasources(&caller.principal)).into_response()
}

/// Names of dimensions and of metrics, of the columns that the caller sees.
fn columns(app: &App, caller: &Caller, name: &str, shown: fn((Vec<String>, Vec<String>)) -> Value) -> Response {
    match app.broker.columns_by_role(name, &caller.principal) {
        Ok(names) => axum::Json(shown(names)).into_response(),
        Err(error) => failed_query(&error.failure(), &app.address),
    }
}

/// `GET /druid/v2/datasources/{name}`.
pub async fn datasource(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    columns(&app, &caller, &name, |(dimensions, metrics)| json!({"dimensions": dimensions, "metrics": metrics}))
}

pub async fn dimensions(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    columns(&app, &caller, &name, |(dimensions, _)| json!(dimensions))
}

pub async fn metrics(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    columns(&app, &caller, &name, |(_, metrics)| json!(metrics))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn chunks(texts: &[&'static str], fails: bool) -> BoxStream<'static, io::Result<Bytes>> {
        let mut chunks: Vec<io::Result<Bytes>> =
            texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        chunks.extend(fails.then(|| Err(io::Error::other("too many rows"))));
        futures::stream::iter(chunks).boxed()
    }

    #[tokio::test]
    async fn what_fails_before_anything_is_sent_is_no_answer() {
        for before in [&[][..], &["["]] {
            let error = stream(chunks(before, true)).await.expect_err("nothing was sent");
            assert_eq!(error.to_string(), "too many rows");
        }
        for whole in [&[][..], &["[]"], &["[", "]"], &["[", "1", "]"]] {
            let response = stream(chunks(whole, false)).await.expect("an answer");
            let body = axum::body::to_bytes(response.into_body(), 100).await.expect("a whole body");
            assert_eq!(body, whole.concat());
        }
        let late = stream(chunks(&["[", "1"], true)).await.expect("an answer");
        assert!(axum::body::to_bytes(late.into_body(), 100).await.is_err(), "it is cut off");
    }
}
