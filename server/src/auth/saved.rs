//! What people keep and share: saved queries and dashboards, as documents of the catalog under ids of ours.
//!
//! A document is seen by its owner, by whoever acts by a role that it is shared with, and by who may read users and roles;
//! it is changed by its owner, and by who may change those. To others it is not there. What a query or a dashboard
//! shows hangs on who looks, and not on who wrote it.
//!
//! An owner is one user, not a name ([`Owner`]): who has the name later has nothing of it. When a user is deleted, what they
//! shared stays, without an owner, for those whom it is shared with; the rest is gone with them. A role that is deleted is
//! taken out of what was shared with it, so that one of its name later does not get it.
//!
//! They change by [`commit`](super::commit) alone, so that bounds hold and rights are those of the moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use coordinator::{Change, Document};
use query::Principal;
use query::policy::{ADMIN, Action, Kind, Rules};
use serde_json::{Value, json};

use super::commit::Author;
use super::owner::Owner;
use super::roles::ROLE;
use super::users::{Error, Result, change, invalid};
use super::{Caller, Identity, is_reserved, random_text};

/// Documents of one owner, of both sorts.
pub const OF_OWNER_MAX: usize = 500;

/// Bytes of one.
pub const BYTES_MAX: usize = 256 << 10;

/// Bytes of those of one owner. Each node has all documents in memory.
pub const OWNER_BYTES_MAX: u64 = 8 << 20;

/// Bytes of all.
pub const ALL_BYTES_MAX: u64 = 256 << 20;

/// Roles that one document is shared with.
pub const SHARED_MAX: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Query,
    Dashboard,
}

pub const SORTS: [Sort; 2] = [Sort::Query, Sort::Dashboard];

impl Sort {
    /// The kind of its documents.
    pub fn kind(self) -> &'static str {
        match self {
            Sort::Query => "savedQuery",
            Sort::Dashboard => "dashboard",
        }
    }

    fn called(self) -> &'static str {
        match self {
            Sort::Query => "saved query",
            Sort::Dashboard => "dashboard",
        }
    }
}

/// What somebody wants kept; its content was checked.
#[derive(Debug, Clone)]
pub struct Said {
    pub name: String,
    pub description: String,
    pub shared_with: BTreeSet<String>,
    pub content: Value,
}

/// What is told of a document beside its content.
#[derive(Debug, Clone)]
pub struct Saved {
    pub document: Arc<Document>,
    pub owner: Owner,
    pub shared_with: BTreeSet<String>,
    pub may_edit: bool,
}

/// Who looks, with what that shows.
struct Looker {
    owner: Owner,
    roles: BTreeSet<String>,
    sees_all: bool,
    edits_all: bool,
}

impl Looker {
    fn may_see(&self, owner: &Owner, shared_with: &BTreeSet<String>) -> bool {
        self.sees_all || self.may_edit(owner) || !self.roles.is_disjoint(shared_with)
    }

    fn may_edit(&self, owner: &Owner) -> bool {
        self.edits_all || self.owner == *owner
    }
}

fn owner_of(document: &Document) -> Option<Owner> {
    serde_json::from_value(document.value["owner"].clone()).ok()
}

fn shared_with(document: &Document) -> BTreeSet<String> {
    let roles = document.value["sharedWith"].as_array().into_iter().flatten();
    roles.filter_map(|role| role.as_str().map(str::to_string)).collect()
}

fn bytes_of(document: &Document) -> u64 {
    document.value["bytes"].as_u64().unwrap_or(0)
}

fn absent(sort: Sort, id: &str) -> Error {
    Error::NotFound(format!("there is no {} {id}", sort.called()))
}

fn value_of(said: &Said, owner: &Owner) -> Result<Value> {
    let mut value = json!({"name": said.name, "description": said.description, "owner": owner,
        "sharedWith": said.shared_with, "content": said.content});
    let bytes = value.to_string().len();
    if bytes > BYTES_MAX {
        return invalid(format!("content: the document has {bytes} bytes and may have {BYTES_MAX}"));
    }
    value["bytes"] = json!(bytes);
    Ok(value)
}

impl Identity {
    fn looker(&self, caller: &Caller) -> Looker {
        let rules = self.authorizer.current();
        let who = &caller.principal;
        let may = |action| rules.may(who, Kind::Security, "SECURITY", action);
        let edits_all = may(Action::Write);
        let sees_all = edits_all || may(Action::Read);
        Looker { owner: self.owner(caller), roles: acting_roles(&rules, who), sees_all, edits_all }
    }

    /// Whether an owner is a user that there is no more. The provider does not tell of those whom it knew once.
    pub fn is_gone(&self, owner: &Owner) -> bool {
        !is_reserved(&owner.name) && owner.was_before(self.users_before(&owner.name))
    }

    /// Those that the caller sees, by id.
    pub fn saved(&self, sort: Sort, caller: &Caller) -> Vec<Saved> {
        let looker = self.looker(caller);
        let documents = self.coordinator.documents(sort.kind()).into_iter();
        documents.filter_map(|document| seen(document, &looker)).collect()
    }

    /// One that the caller does not see is not there.
    pub fn saved_one(&self, sort: Sort, id: &str, caller: &Caller) -> Result<Saved> {
        let document = self.coordinator.document(sort.kind(), id);
        document.and_then(|document| seen(document, &self.looker(caller))).ok_or_else(|| absent(sort, id))
    }

    /// Keeps a new one; its id.
    pub async fn save(self: &Arc<Self>, sort: Sort, said: Said, author: &Author) -> Result<String> {
        let (id, caller) = (random_text::<12>(), author.caller.clone());
        let new = id.clone();
        let plan = move |this: &Identity| {
            let looker = this.looker(&caller);
            this.may_share(&said.shared_with, &BTreeSet::new(), &looker)?;
            let value = value_of(&said, &looker.owner)?;
            this.has_room(&looker.owner, &value, None)?;
            Ok(vec![change(sort.kind(), &new, Some(value), Some(0))])
        };
        self.commit(author, plan).await?;
        tracing::info!(id, sort = sort.kind(), by = author.name(), "document saved");
        Ok(id)
    }

    /// Changes the one of a version. Its owner stays.
    pub async fn save_again(
        self: &Arc<Self>,
        sort: Sort,
        id: &str,
        version: i64,
        said: Said,
        author: &Author,
    ) -> Result<()> {
        let (id, caller) = (id.to_string(), author.caller.clone());
        let plan = move |this: &Identity| {
            let (looker, saved) = (this.looker(&caller), this.editable(sort, &id, &caller)?);
            this.may_share(&said.shared_with, &saved.shared_with, &looker)?;
            let value = value_of(&said, &saved.owner)?;
            this.has_room(&saved.owner, &value, Some(&saved.document))?;
            Ok(vec![this.at_version(sort, &saved, Some(value), Some(version))?])
        };
        self.commit(author, plan).await?;
        Ok(())
    }

    /// Of any version, if none is given.
    pub async fn discard(self: &Arc<Self>, sort: Sort, id: &str, version: Option<i64>, author: &Author) -> Result<()> {
        let (id, caller) = (id.to_string(), author.caller.clone());
        let plan = move |this: &Identity| {
            let saved = this.editable(sort, &id, &caller)?;
            Ok(vec![this.at_version(sort, &saved, None, version)?])
        };
        self.commit(author, plan).await?;
        Ok(())
    }

    /// Who sees one and may not change it is told so.
    fn editable(&self, sort: Sort, id: &str, caller: &Caller) -> Result<Saved> {
        let saved = self.saved_one(sort, id, caller)?;
        if saved.may_edit { Ok(saved) } else { Err(Error::Denied) }
    }

    fn at_version(&self, sort: Sort, saved: &Saved, value: Option<Value>, version: Option<i64>) -> Result<Change> {
        let Document { name, version: has, changed_by, .. } = &*saved.document;
        if version.is_some_and(|version| version != *has) {
            return Err(Error::Conflict(format!(
                "version: the {} was changed meanwhile by {changed_by} and has version {has}; read it and try again",
                sort.called()
            )));
        }
        Ok(change(sort.kind(), name, value, version))
    }

    /// With a role that one has, or that it is shared with already; who may give roles, with any that there is.
    fn may_share(&self, with: &BTreeSet<String>, already: &BTreeSet<String>, looker: &Looker) -> Result<()> {
        if with.len() > SHARED_MAX {
            return invalid(format!("sharedWith: has {} roles and may have {SHARED_MAX}", with.len()));
        }
        let exists = |role: &String| role == ADMIN || self.coordinator.document(ROLE, role).is_some();
        let may =
            |role: &String| looker.roles.contains(role) || already.contains(role) || looker.edits_all && exists(role);
        match with.iter().find(|role| !may(role)) {
            // Whether there is such a role is not told.
            Some(role) => invalid(format!("sharedWith: {role} is not a role of yours")),
            None => Ok(()),
        }
    }

    fn has_room(&self, owner: &Owner, new: &Value, instead_of: Option<&Document>) -> Result<()> {
        let bytes = new["bytes"].as_u64().unwrap_or(0);
        let (mut own, mut own_bytes, mut all_bytes) = (1, bytes, bytes);
        for document in SORTS.into_iter().flat_map(|sort| self.coordinator.documents(sort.kind())) {
            if instead_of.is_some_and(|old| old.kind == document.kind && old.name == document.name) {
                continue;
            }
            all_bytes += bytes_of(&document);
            if owner_of(&document).as_ref() == Some(owner) {
                own += 1;
                own_bytes += bytes_of(&document);
            }
        }
        let full = |what: String| Err(Error::Conflict(format!("{what}; delete some, or make them smaller")));
        match () {
            () if own > OF_OWNER_MAX => full(format!("{} has {OF_OWNER_MAX} saved queries and dashboards", owner.name)),
            () if own_bytes > OWNER_BYTES_MAX => full(format!(
                "saved queries and dashboards of {} would have {own_bytes} bytes and may have {OWNER_BYTES_MAX}",
                owner.name
            )),
            () if all_bytes > ALL_BYTES_MAX => full(format!(
                "all saved queries and dashboards would have {all_bytes} bytes and may have {ALL_BYTES_MAX}"
            )),
            () => Ok(()),
        }
    }

    /// What becomes of a user's when it is deleted.
    pub(super) fn saved_without_user(&self, name: &str) -> Vec<Change> {
        let owner = self.owner_in_catalog(name);
        self.saved_changes(|of, shared_with| (*of == owner && shared_with.is_empty()).then_some(None))
    }

    /// What becomes of those that are shared with a role when it is deleted.
    pub(super) fn saved_without_role(&self, role: &str) -> Vec<Change> {
        self.saved_changes(|owner, shared_with| {
            let mut left = shared_with.clone();
            left.remove(role).then(|| (!left.is_empty() || !self.is_gone(owner)).then_some(left))
        })
    }

    /// Changes of those for which `becomes` says with whom they are shared from now on, or that they go.
    fn saved_changes(
        &self,
        becomes: impl Fn(&Owner, &BTreeSet<String>) -> Option<Option<BTreeSet<String>>>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for sort in SORTS {
            for document in self.coordinator.documents(sort.kind()) {
                let Some(owner) = owner_of(&document) else { continue };
                let Some(left) = becomes(&owner, &shared_with(&document)) else { continue };
                let value = left.map(|left| {
                    let mut value = document.value.clone();
                    value["sharedWith"] = json!(left);
                    value
                });
                changes.push(change(sort.kind(), &document.name, value, Some(document.version)));
            }
        }
        changes
    }
}

fn seen(document: Arc<Document>, looker: &Looker) -> Option<Saved> {
    let (owner, shared_with) = (owner_of(&document)?, shared_with(&document));
    let may_edit = looker.may_edit(&owner);
    looker.may_see(&owner, &shared_with).then_some(Saved { document, owner, shared_with, may_edit })
}

/// The roles by which somebody acts, with those that they include.
fn acting_roles(rules: &Rules, who: &Principal) -> BTreeSet<String> {
    rules.roles_of(&Principal { roles: who.acting_roles(), scope: None, ..who.clone() })
}
