//! Sessions: what a sign-in by name and password begins, and a cookie or a bearer token goes on with. Its id is random and
//! new at each sign-in; the catalog knows the digest. A session ends when it is closed, when nobody used it for a while,
//! when it is old, and with its user's password.

use std::sync::Arc;

use coordinator::Change;
use query::Principal;
use serde::{Deserialize, Serialize};

use super::commit::Author;
use super::users::{Error, Result, change, invalid};
use super::{How, Identity, digest, random_text};
use crate::node::now;

pub const SESSION: &str = "session";

/// How a session's id is told from other bearer tokens.
pub const BEARER_PREFIX: &str = "hengesession.";

/// Sessions that a user may have; the oldest ends for a further one.
const OWNED_MAX: usize = 50;

/// The catalog need not know to the second when a session was used.
const KEPT_EVERY_MS: i64 = 60_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    user: String,
    created: i64,
    used: i64,
    password_version: i64,
}

/// What the page says with every change. Who knows it does not know the session's id.
pub fn csrf_token(id: &str) -> String {
    digest(&format!("csrf:{id}"))
}

impl Identity {
    /// Begins a session of whoever said a name and a password just now, in place of one that there was, by its name; its
    /// id.
    pub async fn begin_session(self: &Arc<Self>, author: &Author, instead: Option<String>) -> Result<String> {
        let How::Password(password_version) = author.caller.how else {
            return invalid("a session begins with a name and a password");
        };
        let (id, now) = (random_text::<32>(), now());
        let session = Session { user: author.name().into(), created: now, used: now, password_version };
        let name = digest(&id);
        let plan = move |this: &Identity| {
            let mut changes = this.outlived(&session.user, now);
            changes.extend(instead.map(|old| change(SESSION, &old, None, None)));
            let value = serde_json::to_value(&session).map_err(|error| Error::Invalid(error.to_string()))?;
            changes.push(change(SESSION, &name, Some(value), Some(0)));
            Ok(changes)
        };
        self.commit(author, plan).await?;
        tracing::info!(user = author.name(), "session begun");
        Ok(id)
    }

    /// Deletions of sessions that are over, and of a user's oldest if there is no room for a further one.
    fn outlived(&self, user: &str, now: i64) -> Vec<Change> {
        let mut own: Vec<(i64, String)> = Vec::new();
        let mut changes = Vec::new();
        for document in self.coordinator.documents(SESSION) {
            match serde_json::from_value::<Session>(document.value.clone()) {
                Ok(other) if self.is_over(&document.name, &other, now) => {
                    changes.push(change(SESSION, &document.name, None, None));
                }
                Ok(other) if other.user == user => own.push((other.created, document.name.clone())),
                Ok(_) => {}
                Err(_) => changes.push(change(SESSION, &document.name, None, None)),
            }
        }
        own.sort();
        let many = (own.len() + 1).saturating_sub(OWNED_MAX);
        changes.extend(own.iter().take(many).map(|(_, name)| change(SESSION, name, None, None)));
        changes
    }

    /// Ends it; one that is not there is over.
    pub async fn end_session(self: &Arc<Self>, name: &str, author: &Author) -> Result<()> {
        let ended = vec![change(SESSION, name, None, None)];
        self.commit(author, move |_| Ok(ended)).await?;
        tracing::info!(by = author.name(), "session ended");
        Ok(())
    }

    /// Ends all of a user's sessions.
    pub async fn end_sessions(self: &Arc<Self>, user: &str, author: &Author) -> Result<usize> {
        let user = user.to_string();
        let ended = self.commit(author, move |this| Ok(this.owned(SESSION, &user))).await?;
        Ok(ended.len())
    }

    pub(super) fn by_session(&self, id: &str) -> Option<(Arc<Principal>, String)> {
        let name = digest(id);
        let document = self.coordinator.document(SESSION, &name)?;
        let session: Session = serde_json::from_value(document.value.clone()).ok()?;
        let now = now();
        if self.is_over(&name, &session, now) {
            return None;
        }
        let principal = self.principal(&session.user)?;
        self.sessions_used.lock().insert(name.clone(), now);
        if now - session.used >= KEPT_EVERY_MS {
            let used = Session { used: now, ..session };
            if let Ok(value) = serde_json::to_value(&used) {
                // It must not bring back a session that ends meanwhile.
                let kept = change(SESSION, &name, Some(value), Some(document.version));
                let coordinator = self.coordinator.clone();
                tokio::spawn(async move { coordinator.change_documents(vec![kept], &used.user, now).await });
            }
        }
        Some((principal, name))
    }

    /// Whom a session stands for at a moment, by its name.
    pub(super) fn of_session(&self, name: &str, at: i64) -> Option<Arc<Principal>> {
        let session = self.session(name)?;
        (!self.is_over(name, &session, at)).then(|| self.principal(&session.user)).flatten()
    }

    /// When a session ends by itself if nobody uses it until then.
    pub(super) fn session_ends(&self, name: &str) -> Option<i64> {
        Some(self.ends(name, &self.session(name)?))
    }

    fn session(&self, name: &str) -> Option<Session> {
        serde_json::from_value(self.coordinator.document(SESSION, name)?.value.clone()).ok()
    }

    fn ends(&self, name: &str, session: &Session) -> i64 {
        let used = self.sessions_used.lock().get(name).copied().unwrap_or(session.used).max(session.used);
        let old = session.created.saturating_add(self.settings.session_max_ms);
        old.min(used.saturating_add(self.settings.session_idle_ms))
    }

    fn is_over(&self, name: &str, session: &Session, now: i64) -> bool {
        now >= self.ends(name, session) || session.password_version != self.password_version(&session.user)
    }
}
