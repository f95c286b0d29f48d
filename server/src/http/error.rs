//! Kinds of errors to statuses, in one place, and the two shapes of error bodies: Druid's query errors, and
//! `{"error": …}` of the management paths.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use query::language::failure::{Category, Failure};
use segment::Kind;
use serde_json::json;

/// The status of a query error, as Druid gives it.
pub fn status(category: Category) -> StatusCode {
    match category {
        Category::InvalidInput => StatusCode::BAD_REQUEST,
        Category::Unauthorized => StatusCode::UNAUTHORIZED,
        Category::Forbidden => StatusCode::FORBIDDEN,
        Category::NotFound => StatusCode::NOT_FOUND,
        Category::CapacityExceeded => StatusCode::TOO_MANY_REQUESTS,
        Category::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Category::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Category::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Category::Canceled | Category::RuntimeFailure | Category::Defensive | Category::Uncategorized => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// A query that failed. Denials have a body of their own.
pub fn failed_query(failure: &Failure, host: &str) -> Response {
    if failure.category == Category::Forbidden {
        return (StatusCode::FORBIDDEN, Json(json!({"Access-Check-Result": failure.message}))).into_response();
    }
    (status(failure.category), Json(failure.to_json(Some(host)))).into_response()
}

/// Whatever cannot be answered now is worth another try soon.
pub async fn told_when(mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response
}

/// An error of a management path.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

pub type Answered<T = Response> = Result<T, Refusal>;

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }

    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn of_kind(kind: Kind, message: impl Into<String>) -> Refusal {
        let status = match kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Denied => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Cancelled | Kind::Corrupt | Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), error = %self.message, "request failed");
        }
        if self.status == StatusCode::FORBIDDEN {
            return (self.status, Json(json!({"Access-Check-Result": self.message}))).into_response();
        }
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}
