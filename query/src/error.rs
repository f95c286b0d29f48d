//! The one error type of this crate. `kind()` says who must act; `language::failure` gives each its Druid shape.

use segment::Kind;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The query as written cannot be understood. The text names the path of the field, what is wrong and the fix.
    #[error("{0}")]
    Parse(String),
    /// A parameter of the query's context has a wrong type or value.
    #[error("{0}")]
    Context(String),
    /// The query is understood but asks for something wrong (an unknown column where one is needed, a bad range).
    #[error("{0}")]
    Invalid(String),
    /// Druid knows it, Henge does not have it. The text names it.
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    NotFound(String),
    /// A limit of this one query is used up: memory, rows of a subquery.
    #[error("{0}")]
    ResourceLimit(String),
    /// Too many queries at once.
    #[error("{0}")]
    Capacity(String),
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    Cancelled(String),
    /// A part of what was asked for is not there now, and the query refuses partial answers.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Corrupt(String),
    /// Ours to mend.
    #[error("{0}")]
    Bug(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Error::Parse(_) | Error::Context(_) | Error::Invalid(_) | Error::Unsupported(_) => Kind::Invalid,
            Error::Denied(_) => Kind::Denied,
            Error::NotFound(_) => Kind::NotFound,
            Error::ResourceLimit(_) | Error::Capacity(_) => Kind::Busy,
            Error::Timeout(_) => Kind::Timeout,
            Error::Cancelled(_) => Kind::Cancelled,
            Error::Unavailable(_) => Kind::Unavailable,
            Error::Corrupt(_) => Kind::Corrupt,
            Error::Bug(_) => Kind::Bug,
        }
    }

    /// As it is told to who sees only some of the rows: what is broken has a segment's name in it, which says where others are.
    pub(crate) fn nameless(self) -> Error {
        match self {
            Error::Corrupt(why) => {
                tracing::warn!(why, "a query met a broken copy");
                Error::Corrupt("a copy is not as it was written".into())
            }
            error => error,
        }
    }
}

impl From<segment::Error> for Error {
    fn from(error: segment::Error) -> Error {
        let text = error.to_string();
        match error.kind() {
            Kind::Invalid => Error::Invalid(text),
            Kind::Denied => Error::Denied(text),
            Kind::NotFound => Error::NotFound(text),
            Kind::Busy => Error::ResourceLimit(text),
            Kind::Unavailable => Error::Unavailable(text),
            Kind::Timeout => Error::Timeout(text),
            Kind::Cancelled => Error::Cancelled(text),
            Kind::Corrupt => Error::Corrupt(text),
            Kind::Bug => Error::Bug(text),
        }
    }
}
