//! The one error type of this crate, sorted by what the caller will do about it.

use std::collections::BTreeMap;

use segment::error::Kind;

/// Where in the text a statement stopped making sense. Lines and columns count from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
    pub token: String,
    pub expected: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not SQL that we know.
    #[error("{message}")]
    Syntax { message: String, place: Place },
    /// It is SQL, and it asks for something that is not there or does not fit.
    #[error("{0}")]
    Invalid(String),
    /// It is valid SQL that Henge cannot run.
    #[error("{0}")]
    Unsupported(String),
    /// A budget is used up.
    #[error("{0}")]
    Busy(String),
    #[error("query did not finish within its timeout")]
    Timeout,
    #[error("query was cancelled")]
    Cancelled,
    /// What the native engine or the broker answered.
    #[error(transparent)]
    Query(#[from] query::Error),
    #[error("{0}")]
    Bug(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }

    pub fn kind(&self) -> Kind {
        match self {
            Error::Syntax { .. } | Error::Invalid(_) | Error::Unsupported(_) => Kind::Invalid,
            Error::Busy(_) => Kind::Busy,
            Error::Timeout => Kind::Timeout,
            Error::Cancelled => Kind::Cancelled,
            Error::Query(error) => error.kind(),
            Error::Bug(_) => Kind::Bug,
        }
    }

    /// The `context` of Druid's error shape.
    pub fn context(&self) -> BTreeMap<String, String> {
        let mut context = BTreeMap::new();
        if matches!(self, Error::Syntax { .. } | Error::Invalid(_) | Error::Unsupported(_)) {
            context.insert("sourceType".to_string(), "sql".to_string());
        }
        if let Error::Syntax { place, .. } = self {
            context.insert("line".to_string(), place.line.to_string());
            context.insert("column".to_string(), place.column.to_string());
            context.insert("endLine".to_string(), place.line.to_string());
            let width = place.token.chars().count().max(1) as u64;
            context.insert("endColumn".to_string(), (place.column + width - 1).to_string());
            context.insert("token".to_string(), place.token.clone());
            if !place.expected.is_empty() {
                context.insert("expected".to_string(), place.expected.clone());
            }
        }
        context
    }

    /// The `errorCode` of Druid's error shape.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Syntax { .. } | Error::Invalid(_) => "invalidInput",
            _ => "general",
        }
    }
}
