//! Asynchronous statements that run in other processes: whether they still do, and how they are asked to end. What came of
//! them is in deep storage, where every broker finds it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::peers::{PeerError, Peers};
use crate::http::App;
use crate::roles::view::Followed;

pub const CANCEL: &str = "/henge/internal/v1/statement/cancel";

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The process that a statement runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    pub node: String,
    pub process: u64,
}

/// This process among those that take statements.
pub struct Siblings {
    pub own: Runner,
    pub view: Arc<Followed>,
    pub peers: Arc<Peers>,
}

#[derive(Serialize, Deserialize)]
pub struct Cancel {
    pub place: String,
    pub id: String,
    pub owner: String,
}

impl Siblings {
    /// Where another process is that still runs; `None` of this one, and of those that ended.
    pub fn address(&self, runner: &Runner) -> Option<String> {
        self.view.address(&runner.node, runner.process).filter(|_| *runner != self.own)
    }

    /// Asks the process at an address to end a statement. One that has ended meanwhile is no error.
    pub async fn cancel(&self, address: &str, what: &Cancel) -> Result<(), PeerError> {
        self.peers.ask(address, CANCEL, what, ANSWER_WITHIN).await
    }
}

/// Ends a statement of this process.
pub async fn cancel(State(app): State<Arc<App>>, Json(what): Json<Cancel>) -> Json<()> {
    app.statements.cancel(&app.sql, &what);
    Json(())
}
