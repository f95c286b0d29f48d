//! `/druid/v2/sql`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use query::Principal;
use query::language::failure::{Category, Failure, Legacy};
use query_sql::{Format, Parameter, ResultFormat, SqlAnswer, Statement};
use serde_json::{Map, Value, json};

use super::App;
use super::error::{failed_query, status};
use super::native::{put_context, stream};
use crate::audit;
use crate::auth::Caller;
use crate::node::now;

pub async fn query(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = match Request::read(&headers, &body) {
        Ok(request) => request,
        Err((code, message)) => {
            return (code, Json(json!({"error": message, "errorMessage": message}))).into_response();
        }
    };
    let query_id = request.query_id();
    let header_asked = request.format.header;
    let mut response = match measured(&app, &query_id, || answer(&app, &caller, &request, &query_id)).await {
        Ok(response) => response,
        Err(error) => {
            let cancelled = error.kind() == segment::Kind::Cancelled;
            super::queries::failed(&app, &query_id, &caller.principal.name, cancelled);
            failed(&app, &error)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&query_id) {
        response.headers_mut().insert("x-druid-sql-query-id", id.clone());
        response.headers_mut().insert("x-druid-query-id", id);
    }
    if header_asked {
        response.headers_mut().insert("x-druid-sql-header-included", HeaderValue::from_static("yes"));
    }
    response
}

/// Answers a statement up to its first rows. What it finds broken is mended, and it is asked anew.
pub async fn measured<T, F>(app: &App, query_id: &str, answer: impl Fn() -> F) -> query_sql::Result<T>
where
    F: Future<Output = query_sql::Result<T>>,
{
    let started = Instant::now();
    let mut outcome = answer().await;
    for _ in 0..super::REPAIRS_MAX {
        if !matches!(&outcome, Err(error) if error.kind() == segment::Kind::Corrupt) {
            break;
        }
        app.mend().await;
        outcome = answer().await;
    }
    if let Err(error) = &outcome {
        audit::note(|details| details.error = Some(format!("{:?}", error.kind())));
    }
    let (failed, ms) = (outcome.is_err(), started.elapsed().as_millis() as u64);
    tracing::debug!(query_id, kind = "sql", failed, ms, "query");
    crate::metrics::query("sql", failed, started.elapsed());
    outcome
}

/// Where statements that came over the wire begin to run, whatever the protocol.
pub async fn begin(app: &App, caller: &Caller, request: &Request, query_id: &str) -> query_sql::Result<SqlAnswer> {
    run(app, &request.statement(query_id), &caller.principal).await
}

/// What a statement would answer, as `work` finds out. That it is denied is on record, as if it had been run.
pub async fn described<T>(
    statement: &Statement,
    work: impl Future<Output = query_sql::Result<T>>,
) -> query_sql::Result<T> {
    let described = work.await;
    if matches!(&described, Err(error) if error.kind() == segment::Kind::Denied) {
        let query_id = statement.context.get("sqlQueryId").and_then(Value::as_str).unwrap_or_default();
        audit::note(|details| details.denied(query_id, &statement.text));
    }
    described
}

/// Runs a statement, and has it on record.
pub async fn run(app: &App, statement: &Statement, who: &Principal) -> query_sql::Result<SqlAnswer> {
    let query_id = statement.context.get("sqlQueryId").and_then(Value::as_str).unwrap_or_default();
    audit::note(|details| {
        details.query("sql", query_id, &statement.text);
        if details.user.is_none() {
            // No door noted it: it runs on its own.
            let rules = app.broker.authorizer().current();
            details.user = Some(who.name.clone());
            details.roles = rules.roles_of(who).into_iter().collect();
            details.policy_version = Some(rules.version());
        }
    });
    let step = app.traces.query("sql", query_id);
    let mut answer = app.sql.run(statement, who).await?;
    audit::note(|details| details.reads(answer.datasources.iter().map(String::as_str)));
    answer.batches = step.around(audit::counted(answer.batches, |batch| batch.num_rows()));
    Ok(answer)
}

async fn answer(app: &App, caller: &Caller, request: &Request, query_id: &str) -> query_sql::Result<Response> {
    let answer = begin(app, caller, request, query_id).await?;
    let response_context = answer.context.clone();
    let rows = answer.body(&request.format).map(|chunk| chunk.map(Bytes::from));
    let mut response = stream(rows.boxed()).await?;
    put_context(&mut response, &response_context);
    let content = HeaderValue::from_static(request.format.result_format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    Ok(response)
}

fn failed(app: &App, error: &query_sql::Error) -> Response {
    if let query_sql::Error::Query(error) = error {
        return failed_query(&error.failure(), &app.address);
    }
    let (category, body) = error_body(app, error);
    (status(category), Json(body)).into_response()
}

/// The error in Druid's shape.
pub fn error_body(app: &App, error: &query_sql::Error) -> (Category, Value) {
    use segment::Kind;
    if let query_sql::Error::Query(error) = error {
        let failure = error.failure();
        return (failure.category, failure.to_json(Some(&app.address)));
    }
    let legacy = |error, class| Some(Legacy { error, class, plain: false });
    let (category, persona, legacy) = match error.kind() {
        Kind::Invalid => (Category::InvalidInput, "USER", None),
        Kind::Denied => (Category::Forbidden, "USER", None),
        Kind::NotFound => (Category::NotFound, "USER", None),
        Kind::Busy => (
            Category::InvalidInput,
            "OPERATOR",
            legacy("Resource limit exceeded", "org.apache.druid.query.ResourceLimitExceededException"),
        ),
        Kind::Timeout => {
            (Category::Timeout, "OPERATOR", legacy("Query timeout", "org.apache.druid.query.QueryTimeoutException"))
        }
        Kind::Cancelled => (
            Category::Canceled,
            "OPERATOR",
            legacy("Query cancelled", "org.apache.druid.query.QueryInterruptedException"),
        ),
        Kind::Unavailable => (Category::ServiceUnavailable, "OPERATOR", None),
        Kind::Corrupt | Kind::Bug => (Category::RuntimeFailure, "DEVELOPER", None),
    };
    let error_code = if legacy.is_some() { "legacyQueryException" } else { error.code() };
    let failure = Failure { category, persona, error_code, message: error.to_string(), legacy };
    let mut body = failure.to_json(Some(&app.address));
    for (key, value) in error.context() {
        body["context"][key] = json!(value);
    }
    (category, body)
}

/// The body as sent, in any of its three media types.
#[derive(Debug, Clone)]
pub struct Request {
    pub text: String,
    pub format: Format,
    pub context: Map<String, Value>,
    pub parameters: Vec<Parameter>,
}

pub type Refused = (StatusCode, String);

impl Request {
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Request, Refused> {
        let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_string());
        let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let content = content.ok_or_else(|| bad("Missing Content-Type header"))?;
        let request = if content.starts_with("application/json") {
            if body.is_empty() {
                return Err(bad("Empty query"));
            }
            let json: Value = serde_json::from_slice(body)
                .map_err(|error| bad(&format!("Malformed SQL query wrapped in JSON: {error}")))?;
            Request::of_json(&json)?
        } else if content.starts_with("text/plain") || content.starts_with("application/x-www-form-urlencoded") {
            let text = String::from_utf8_lossy(body);
            let text = if content.starts_with("text") { text.into_owned() } else { super::manage::decode(&text) };
            Request { text: text.trim().into(), format: Format::default(), context: Map::new(), parameters: Vec::new() }
        } else {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("content type '{content}' is not supported")));
        };
        if request.text.trim().is_empty() {
            return Err(bad("Empty query"));
        }
        Ok(request)
    }

    pub fn of_json(json: &Value) -> Result<Request, Refused> {
        let bad =
            |message: String| (StatusCode::BAD_REQUEST, format!("Malformed SQL query wrapped in JSON: {message}"));
        let flag = |name: &str| match &json[name] {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            other => Err(bad(format!("{name} must be true or false, not {other}"))),
        };
        let text = json["query"].as_str().ok_or_else(|| bad("query must be a string".into()))?;
        let result_format = match &json["resultFormat"] {
            Value::Null => ResultFormat::Object,
            Value::String(name) => name.parse().map_err(|e: query_sql::Error| bad(e.to_string()))?,
            other => return Err(bad(format!("resultFormat must be a string, not {other}"))),
        };
        let format = Format {
            result_format,
            header: flag("header")?,
            types_header: flag("typesHeader")?,
            sql_types_header: flag("sqlTypesHeader")?,
        };
        if (format.types_header || format.sql_types_header) && !format.header {
            return Err(bad("typesHeader and sqlTypesHeader need header".into()));
        }
        let context = match &json["context"] {
            Value::Null => Map::new(),
            Value::Object(context) => context.clone(),
            _ => return Err(bad("context must be an object".into())),
        };
        let mut parameters = Vec::new();
        match &json["parameters"] {
            Value::Null => {}
            Value::Array(list) => {
                for (index, parameter) in list.iter().enumerate() {
                    let sql_type = parameter["type"].as_str();
                    let sql_type =
                        sql_type.ok_or_else(|| bad(format!("parameters[{index}].type must be a SQL type")))?;
                    parameters.push(Parameter { sql_type: sql_type.into(), value: parameter["value"].clone() });
                }
            }
            _ => return Err(bad("parameters must be an array".into())),
        }
        Ok(Request { text: text.into(), format, context, parameters })
    }

    pub fn statement(&self, query_id: &str) -> Statement {
        let mut context = self.context.clone();
        context.insert("sqlQueryId".into(), json!(query_id));
        Statement { text: self.text.clone(), parameters: self.parameters.clone(), context, now: now() }
    }

    pub fn query_id(&self) -> String {
        match self.context.get("sqlQueryId").and_then(Value::as_str) {
            Some(id) if !id.is_empty() => id.to_string(),
            _ => uuid::Uuid::new_v4().to_string(),
        }
    }
}

/// 202 if such a statement of the caller runs, 404 if not.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> StatusCode {
    if !app.sql.cancel(&id, app.may_end(&caller)) {
        return StatusCode::NOT_FOUND;
    }
    super::queries::failed(&app, &id, &caller.principal.name, true);
    StatusCode::ACCEPTED
}

pub async fn engines() -> Json<Value> {
    Json(json!({"engines": [{"name": "native"}]}))
}

/// Whether statements are taken that write: Druid's console offers them then.
pub async fn task_enabled() -> Json<Value> {
    Json(json!({"enabled": false}))
}
