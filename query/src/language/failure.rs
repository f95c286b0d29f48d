//! The shape of Druid's errors. Which status each category gets is known at the HTTP edge.

use serde_json::{Map, Value as Json, json};

use crate::error::Error;

/// An error as Druid tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub category: Category,
    pub persona: &'static str,
    pub error_code: &'static str,
    pub message: String,
    /// Druid's older way of naming an error (`Query timeout`), which many clients look at.
    pub legacy: Option<Legacy>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Legacy {
    pub error: &'static str,
    pub class: &'static str,
    /// Told with four fields only: the query was never understood.
    pub plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    InvalidInput,
    Unauthorized,
    Forbidden,
    NotFound,
    CapacityExceeded,
    Canceled,
    RuntimeFailure,
    ServiceUnavailable,
    Timeout,
    Unsupported,
    Defensive,
    Uncategorized,
}

impl Category {
    pub fn name(self) -> &'static str {
        match self {
            Category::InvalidInput => "INVALID_INPUT",
            Category::Unauthorized => "UNAUTHORIZED",
            Category::Forbidden => "FORBIDDEN",
            Category::NotFound => "NOT_FOUND",
            Category::CapacityExceeded => "CAPACITY_EXCEEDED",
            Category::Canceled => "CANCELED",
            Category::RuntimeFailure => "RUNTIME_FAILURE",
            Category::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            Category::Timeout => "TIMEOUT",
            Category::Unsupported => "UNSUPPORTED",
            Category::Defensive => "DEFENSIVE",
            Category::Uncategorized => "UNCATEGORIZED",
        }
    }
}

impl Error {
    pub fn failure(&self) -> Failure {
        let message = self.to_string();
        let plain = |error, class| (Category::InvalidInput, "USER", Some((error, class, true)));
        let old = |category, persona, error, class| (category, persona, Some((error, class, false)));
        let (category, persona, legacy) = match self {
            Error::Parse(_) => plain("Json parse failed", "org.apache.druid.query.QueryException"),
            Error::Context(_) => plain("Query context parse failed", "org.apache.druid.query.BadQueryContextException"),
            Error::Invalid(_) => (Category::InvalidInput, "USER", None),
            Error::Unsupported(_) => old(
                Category::Unsupported,
                "OPERATOR",
                "Unsupported query",
                "org.apache.druid.query.QueryUnsupportedException",
            ),
            Error::Denied(_) => (Category::Forbidden, "USER", None),
            Error::NotFound(_) => (Category::NotFound, "USER", None),
            Error::ResourceLimit(_) => old(
                Category::InvalidInput,
                "OPERATOR",
                "Resource limit exceeded",
                "org.apache.druid.query.ResourceLimitExceededException",
            ),
            Error::Capacity(_) => old(
                Category::CapacityExceeded,
                "OPERATOR",
                "Query capacity exceeded",
                "org.apache.druid.query.QueryCapacityExceededException",
            ),
            Error::Timeout(_) => {
                old(Category::Timeout, "OPERATOR", "Query timeout", "org.apache.druid.query.QueryTimeoutException")
            }
            Error::Cancelled(_) => old(
                Category::Canceled,
                "OPERATOR",
                "Query cancelled",
                "org.apache.druid.query.QueryInterruptedException",
            ),
            Error::Unavailable(_) => (Category::ServiceUnavailable, "OPERATOR", None),
            Error::Corrupt(_) => (Category::RuntimeFailure, "OPERATOR", None),
            Error::Bug(_) => (Category::Defensive, "DEVELOPER", None),
        };
        let error_code = match self {
            _ if legacy.is_some() => "legacyQueryException",
            Error::Invalid(_) => "invalidInput",
            Error::Denied(_) => "forbidden",
            Error::NotFound(_) => "notFound",
            _ => "general",
        };
        Failure {
            category,
            persona,
            error_code,
            message,
            legacy: legacy.map(|(error, class, plain)| Legacy { error, class, plain }),
        }
    }
}

impl Failure {
    /// Druid's body of an error answer.
    pub fn to_json(&self, host: Option<&str>) -> Json {
        let mut body = Map::new();
        let mut put = |key: &str, value: Json| body.insert(key.to_string(), value);
        match &self.legacy {
            Some(legacy) if legacy.plain => {
                put("error", json!(legacy.error));
                put("errorMessage", json!(self.message));
                put("errorClass", json!(legacy.class));
                put("host", json!(host));
            }
            Some(legacy) => {
                put("error", json!(legacy.error));
                put("errorClass", json!(legacy.class));
                put("host", json!(host));
                put("errorCode", json!(self.error_code));
                put("persona", json!(self.persona));
                put("category", json!(self.category.name()));
                put("errorMessage", json!(self.message));
                put("context", json!({"host": host, "errorClass": legacy.class, "legacyErrorCode": legacy.error}));
            }
            None => {
                put("error", json!("druidException"));
                put("errorCode", json!(self.error_code));
                put("persona", json!(self.persona));
                put("category", json!(self.category.name()));
                put("errorMessage", json!(self.message));
                put("context", json!({}));
            }
        }
        Json::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, expected: &str) {
        assert_eq!(error.failure().to_json(None).to_string(), expected);
    }

    #[test]
    fn bodies() {
        check(
            Error::Parse("granularity: must specify".into()),
            r#"{"error":"Json parse failed","errorMessage":"granularity: must specify","errorClass":"org.apache.druid.query.QueryException","host":null}"#,
        );
        check(
            Error::Invalid("no".into()),
            r#"{"error":"druidException","errorCode":"invalidInput","persona":"USER","category":"INVALID_INPUT","errorMessage":"no","context":{}}"#,
        );
        check(
            Error::Timeout("late".into()),
            r#"{"error":"Query timeout","errorClass":"org.apache.druid.query.QueryTimeoutException","host":null,"errorCode":"legacyQueryException","persona":"OPERATOR","category":"TIMEOUT","errorMessage":"late","context":{"host":null,"errorClass":"org.apache.druid.query.QueryTimeoutException","legacyErrorCode":"Query timeout"}}"#,
        );
    }
}
