//! The one error type of this crate, sorted by what the caller will do about it.

/// What the caller can do about an error. Every crate's `Error::kind()` answers with one of these, and the HTTP edge
/// maps kinds to statuses in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong; the user mends it.
    Invalid,
    /// The caller may not.
    Denied,
    /// It does not exist.
    NotFound,
    /// A budget is used up (memory, rows, queue); ask for less or later.
    Busy,
    /// A part is not there now; retry.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// The caller or an operator cancelled it.
    Cancelled,
    /// Stored bytes are not what was written; the operator acts.
    Corrupt,
    /// Ours to mend.
    Bug,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the user wrote is wrong. The text names the field and the fix.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// A file is not what was written. Names the file or section.
    #[error("{0}")]
    Corrupt(String),
    /// A budget is used up.
    #[error("{0}")]
    Busy(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }

    pub fn corrupt(text: impl Into<String>) -> Error {
        Error::Corrupt(text.into())
    }

    pub fn io(what: impl Into<String>, source: std::io::Error) -> Error {
        Error::Io { what: what.into(), source }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) => Kind::Invalid,
            Error::NotFound(_) => Kind::NotFound,
            Error::Corrupt(_) => Kind::Corrupt,
            Error::Busy(_) => Kind::Busy,
            Error::Io { .. } => Kind::Unavailable,
        }
    }
}
