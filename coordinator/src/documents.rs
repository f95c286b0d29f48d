//! Documents by kind and name that the coordinator keeps for others and gives no meaning: users, roles, sessions.
//!
//! Reading one costs no access to the store. Several change together or not at all, each only if it still has the version
//! that the change was made for, where that is said.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tracing::debug;

use crate::Coordinator;
use crate::catalog::named;
use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub kind: String,
    pub name: String,
    pub value: Value,
    /// Grows with every change of any document.
    pub version: i64,
    pub changed_at: i64,
    pub changed_by: String,
}

/// A document that is to be written, or deleted.
#[derive(Debug, Clone)]
pub struct Change {
    pub kind: &'static str,
    pub name: String,
    /// `None` deletes it; one that is not there stays away.
    pub value: Option<Value>,
    /// The version it must have, 0 if there must be none; `None` takes any.
    pub expected: Option<i64>,
    /// Whether what it was stays on record.
    pub history: bool,
}

impl Coordinator {
    /// Those of a kind, by name.
    pub fn documents(&self, kind: &str) -> Vec<Arc<Document>> {
        let picture = self.inner.picture.read();
        picture.documents.get(kind).map(|of| of.values().cloned().collect()).unwrap_or_default()
    }

    pub fn document(&self, kind: &str, name: &str) -> Option<Arc<Document>> {
        self.inner.picture.read().documents.get(kind)?.get(name).cloned()
    }

    /// Of the newest change that is known here.
    pub fn documents_version(&self) -> i64 {
        self.inner.picture.read().documents_version
    }

    /// Changes when a document does: the version of the newest change.
    pub fn watch_documents(&self) -> watch::Receiver<i64> {
        self.inner.documents_changed.subscribe()
    }

    /// Takes in what others have changed, for one that stands by; cheap where that is nothing. Whether there was anything.
    pub async fn refresh_documents(&self) -> Result<bool> {
        let held = self.inner.picture.read().documents_version;
        let mut connection = self.read().await?;
        let news = named::since(&mut connection, held).await?;
        let mut picture = self.inner.picture.write();
        let Some(version) = news.newest().filter(|newest| *newest > picture.documents_version) else {
            return Ok(false);
        };
        if news.whole {
            picture.documents.clear();
        }
        for (document, is_deleted) in news.documents {
            let of = picture.documents.entry(document.kind.clone()).or_default();
            if is_deleted {
                of.remove(&document.name);
            } else {
                of.insert(document.name.clone(), Arc::new(document));
            }
        }
        picture.documents_version = version;
        drop(picture);
        self.inner.documents_changed.send_replace(version);
        Ok(true)
    }

    /// What a document was, newest first; the value of a deletion is null.
    pub async fn document_history(&self, kind: &str, name: &str, most: usize) -> Result<Vec<Document>> {
        let mut connection = self.read().await?;
        named::history(&mut connection, kind, name, i64::try_from(most).unwrap_or(i64::MAX)).await
    }

    /// What all documents of a kind were, newest first.
    pub(crate) async fn kind_history(&self, kind: &str, most: usize) -> Result<Vec<Document>> {
        let mut connection = self.read().await?;
        named::kind_history(&mut connection, kind, i64::try_from(most).unwrap_or(i64::MAX)).await
    }

    /// Makes all of the changes or none, in the order given; the versions they got.
    pub async fn change_documents(&self, changes: Vec<Change>, by: &str, now: i64) -> Result<Vec<i64>> {
        let (this, by) = (self.clone(), by.to_string());
        let changed = self.to_its_end(async move { this.change_documents_now(changes, by, now).await }).await;
        if matches!(changed, Err(Error::Store { .. })) {
            // It may have happened: the next cycle looks.
            self.wake();
        }
        changed
    }

    async fn change_documents_now(&self, changes: Vec<Change>, by: String, now: i64) -> Result<Vec<i64>> {
        let turn = self.turn().await?;
        let mut store = turn.begin().await?;
        let mut version = {
            let picture = self.inner.picture.read();
            for change in &changes {
                let held = picture.documents.get(change.kind).and_then(|of| of.get(&change.name));
                let has = held.map_or(0, |held| held.version);
                if change.expected.is_some_and(|expected| expected != has) {
                    return Err(conflict(change, has));
                }
            }
            picture.documents_version
        };
        let mut versions = Vec::with_capacity(changes.len());
        for change in &changes {
            version += 1;
            versions.push(version);
            match &change.value {
                Some(value) => named::put(&mut store, &document(change, value, version, &by, now)).await?,
                None => named::delete(&mut store, change.kind, &change.name, version).await?,
            }
            if change.history {
                let text = change.value.as_ref().map(Value::to_string);
                named::add_history(&mut store, (change.kind, &change.name), version, text, (now, &by)).await?;
            }
        }
        store.commit().await?;
        {
            let mut picture = self.inner.picture.write();
            picture.documents_version = version;
            for (change, version) in changes.iter().zip(&versions) {
                let of = picture.documents.entry(change.kind.to_string()).or_default();
                match &change.value {
                    Some(value) => {
                        of.insert(change.name.clone(), Arc::new(document(change, value, *version, &by, now)));
                    }
                    None => drop(of.remove(&change.name)),
                }
                debug!(kind = change.kind, version, deleted = change.value.is_none(), "document changed");
            }
        }
        self.inner.documents_changed.send_replace(version);
        Ok(versions)
    }
}

fn document(change: &Change, value: &Value, version: i64, by: &str, now: i64) -> Document {
    Document {
        kind: change.kind.to_string(),
        name: change.name.clone(),
        value: value.clone(),
        version,
        changed_at: now,
        changed_by: by.to_string(),
    }
}

fn conflict(change: &Change, has: i64) -> Error {
    let (kind, name) = (change.kind, &change.name);
    Error::Conflict(match (change.expected, has) {
        (Some(0), _) => format!("there is a {kind} {name} already"),
        (_, 0) => format!("there is no {kind} {name} any more"),
        (_, has) => format!("{kind} {name} was changed meanwhile and has version {has}; read it and try again"),
    })
}
