//! What can go wrong between the coordinator and those who ask it.

use segment::Kind;

use crate::catalog::Positions;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong. The text names the field and the fix.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// What was to be changed is not any more what the change was made for. Nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// The task works from positions that are not the committed ones (another task published, or they were reset), or
    /// another attempt of it has followed. Nothing was changed. `supervisor` is that whose positions are told.
    #[error("{reason}{}", told(supervisor, committed))]
    Stale { supervisor: Option<String>, reason: String, committed: Positions },
    /// The metadata store does not answer or refuses; the operation may be repeated. Of one that was about to be committed
    /// nobody knows whether it happened.
    #[error("metadata store: {what}: {source}")]
    Store { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// Another coordinator leads, or may by now. Nothing was changed; the operation may be repeated with the one that does.
    #[error("this coordinator does not lead: {0}")]
    NotLeader(String),
    /// The metadata store holds something that was not written by this program.
    #[error("metadata store: {0}")]
    Corrupt(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

fn told(supervisor: &Option<String>, committed: &Positions) -> String {
    match supervisor {
        Some(supervisor) => format!("; committed positions of supervisor {supervisor} are {committed}"),
        None => String::new(),
    }
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) | Error::Conflict(_) | Error::Stale { .. } => Kind::Invalid,
            Error::NotFound(_) => Kind::NotFound,
            Error::Store { .. } | Error::NotLeader(_) => Kind::Unavailable,
            Error::Corrupt(_) => Kind::Corrupt,
        }
    }
}
