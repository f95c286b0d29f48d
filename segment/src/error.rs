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
    /// Deep storage did not do what it was asked. `what` says the act and the object.
    #[error("{what}: {fault}")]
    Storage { what: String, fault: Fault },
}

/// Why deep storage did not do what it was asked. Of an answer, the texts hold status and error code only: bodies repeat
/// what was sent, names of keys among it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("nothing answers there ({0}); it can be asked again")]
    Unreachable(String),
    #[error("no answer in time; it can be asked again")]
    TimedOut,
    /// The connection broke, or what came is no answer to what was asked.
    #[error("the answer broke off ({0}); it can be asked again")]
    Interrupted(String),
    #[error("asked to slow down ({0}); it can be asked again later")]
    Busy(String),
    #[error("failed on its side ({0}); it can be asked again")]
    Failed(String),
    #[error("access denied ({0}); the credentials or their rights must be mended first")]
    Denied(String),
    #[error("refused ({0}); the settings must be mended first")]
    Refused(String),
}

impl Fault {
    /// Whether the same request may succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Fault::Denied(_) | Fault::Refused(_))
    }
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
            Error::Io { .. } | Error::Storage { .. } => Kind::Unavailable,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Invalid(_) | Error::NotFound(_) | Error::Corrupt(_) => false,
            Error::Busy(_) | Error::Io { .. } => true,
            Error::Storage { fault, .. } => fault.is_passing(),
        }
    }

    /// The same error once more, for others who waited for the same thing.
    pub fn again(&self) -> Error {
        match self {
            Error::Invalid(text) => Error::Invalid(text.clone()),
            Error::NotFound(text) => Error::NotFound(text.clone()),
            Error::Corrupt(text) => Error::Corrupt(text.clone()),
            Error::Busy(text) => Error::Busy(text.clone()),
            Error::Io { what, source } => {
                Error::Io { what: what.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
            }
            Error::Storage { what, fault } => Error::Storage { what: what.clone(), fault: fault.clone() },
        }
    }
}
