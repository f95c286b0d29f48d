//! The one error type of this crate, sorted by what the caller will do about it.

use segment::Kind;

use crate::positions::Positions;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the user wrote is wrong. The text names the field and the fix.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// The stream cannot be read now: a broker is down, a topic does not exist. Retried.
    #[error("{0}")]
    Stream(String),
    /// The stream no longer has the records that come next. Waits for a reset by the user.
    #[error("{0}")]
    Lost(String),
    /// The ledger, deep storage or the local disk cannot be used now. Retried.
    #[error("{0}")]
    Unavailable(String),
    /// The committed positions are not those that the publication starts from; nothing was changed.
    #[error("committed positions are {committed}, not the start of what was to be published")]
    Stale { committed: Positions },
    /// The task cannot go on (more parse errors than allowed, say).
    #[error("{0}")]
    Failed(String),
    /// The task was told to stop at once.
    #[error("stopped")]
    Interrupted,
    /// A fail point stopped the task, as a crash would.
    #[error("stopped at fail point {0}")]
    Halted(&'static str),
    #[error(transparent)]
    Segment(#[from] segment::Error),
    /// A broken invariant of ours.
    #[error("{0}")]
    Bug(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }

    pub fn unavailable(text: impl Into<String>) -> Error {
        Error::Unavailable(text.into())
    }

    pub fn io(what: impl Into<String>, source: std::io::Error) -> Error {
        Error::Segment(segment::Error::io(what, source))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) | Error::Failed(_) => Kind::Invalid,
            Error::NotFound(_) => Kind::NotFound,
            Error::Stream(_) | Error::Unavailable(_) | Error::Lost(_) => Kind::Unavailable,
            Error::Stale { .. } => Kind::Busy,
            Error::Segment(error) => error.kind(),
            Error::Interrupted => Kind::Cancelled,
            Error::Halted(_) | Error::Bug(_) => Kind::Bug,
        }
    }

    /// Whether the same call may succeed later without anyone mending a spec or a file.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), Kind::Unavailable | Kind::Busy | Kind::Timeout) && !matches!(self, Error::Stale { .. })
    }
}
