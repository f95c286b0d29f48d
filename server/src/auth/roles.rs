//! Roles and table rules: their documents, and the [`Rules`] that queries and handlers are let in by, made of all of them
//! anew at each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordinator::{Change, Coordinator, Document};
use query::Principal;
use query::policy::{ADMIN, Role, Rules, TableRule};
use query_sql::Sql;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::commit::Author;
use super::users::{Error, Result, USER, User, change, check_name, invalid};
use super::{Identity, PROCESS, random_text};
use crate::node::now;

/// The kinds of their documents.
pub const ROLE: &str = "role";
pub const TABLE: &str = "tableRule";

/// What is said of permissions: a role, or how a datasource is marked. Both are documents by their names, versioned and
/// checked together.
pub trait Rule: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: &'static str;
    /// As messages name it, before its name.
    const CALLED: &'static str;

    fn check_name(name: &str) -> Result<()>;

    /// As it is kept: what is said in SQL is read against the tables that there are for who says it.
    fn checked(self, sql: &Sql, who: &Principal) -> query_sql::Result<Self>;
}

impl Rule for Role {
    const KIND: &'static str = ROLE;
    const CALLED: &'static str = "role";

    fn check_name(name: &str) -> Result<()> {
        check_name("role", name)?;
        match name == ADMIN {
            true => invalid(format!("the role {ADMIN} is built in and cannot be changed")),
            false => Ok(()),
        }
    }

    fn checked(self, sql: &Sql, who: &Principal) -> query_sql::Result<Role> {
        sql.checked(self, "role", who)
    }
}

impl Rule for TableRule {
    const KIND: &'static str = TABLE;
    const CALLED: &'static str = "rule for datasource";

    fn check_name(name: &str) -> Result<()> {
        match name.is_empty() {
            true => invalid("the name of the datasource is missing"),
            false => Ok(()),
        }
    }

    fn checked(self, _: &Sql, _: &Principal) -> query_sql::Result<TableRule> {
        Ok(self)
    }
}

/// Of the key of masks, which stays as long as the catalog does: equal values have equal hashes also tomorrow.
const SECRET: &str = "secret";
const MASKS: &str = "masks";

/// The rules as the catalog has them.
pub async fn load(coordinator: &Coordinator) -> Result<Rules> {
    if coordinator.document(SECRET, MASKS).is_none() {
        let key = change(SECRET, MASKS, Some(Value::String(random_text::<32>())), Some(0));
        coordinator.change_documents(vec![key], PROCESS, now()).await?;
    }
    read(coordinator)
}

/// The rules as the catalog has them, where another process keeps it.
pub fn read(coordinator: &Coordinator) -> Result<Rules> {
    rules(coordinator, &[], 0)
}

/// The rules as they would be with a role in place of the one of its name.
pub fn with_role(coordinator: &Coordinator, name: &str, role: &Role) -> Result<Rules> {
    let value = serde_json::to_value(role).map_err(|error| Error::Invalid(error.to_string()))?;
    rules(coordinator, &[change(ROLE, name, Some(value), None)], 0)
}

/// The rules as they would be after some changes of roles and table rules.
pub(super) fn rules(coordinator: &Coordinator, changes: &[Change], version: i64) -> Result<Rules> {
    fn read<T: DeserializeOwned>(document: &Document) -> Result<(String, T)> {
        let value = serde_json::from_value(document.value.clone());
        let value = value.map_err(|error| Error::Invalid(format!("{} {}: {error}", document.kind, document.name)))?;
        Ok((document.name.clone(), value))
    }
    let (roles, tables) = (coordinator.documents(ROLE), coordinator.documents(TABLE));
    let newest = roles.iter().chain(&tables).map(|document| document.version).max().unwrap_or(0);
    let mut roles: BTreeMap<String, Role> = roles.iter().map(|of| read(of)).collect::<Result<_>>()?;
    let mut tables: BTreeMap<String, TableRule> = tables.iter().map(|of| read(of)).collect::<Result<_>>()?;
    for change in changes {
        match (change.kind, &change.value) {
            (ROLE, Some(value)) => drop(roles.insert(change.name.clone(), parse("role", value)?)),
            (ROLE, None) => drop(roles.remove(&change.name)),
            (TABLE, Some(value)) => drop(tables.insert(change.name.clone(), parse("table rule", value)?)),
            (TABLE, None) => drop(tables.remove(&change.name)),
            _ => {}
        }
    }
    let version = u64::try_from(newest.max(version)).unwrap_or(0);
    let secret = coordinator.document(SECRET, MASKS);
    let secret = secret.as_ref().and_then(|document| document.value.as_str());
    let secret = secret.ok_or_else(|| Error::Invalid("the catalog has lost the key of masks".into()))?.to_string();
    Rules::new(version, roles, tables, BTreeSet::new(), secret).map_err(|error| Error::Invalid(error.to_string()))
}

fn parse<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|error| Error::Invalid(format!("the {what} cannot be read: {error}")))
}

impl Identity {
    pub fn documents<R: Rule>(&self) -> Vec<Arc<Document>> {
        self.coordinator.documents(R::KIND)
    }

    pub fn document<R: Rule>(&self, name: &str) -> Result<Arc<Document>> {
        let found = self.coordinator.document(R::KIND, name);
        found.ok_or_else(|| Error::NotFound(format!("there is no {} {name}", R::CALLED)))
    }

    pub async fn history(&self, kind: &str, name: &str, most: usize) -> Result<Vec<Document>> {
        Ok(self.coordinator.document_history(kind, name, most).await?)
    }

    /// The version of the rules from now on.
    pub async fn put_document<R: Rule>(
        self: &Arc<Self>,
        name: &str,
        rule: &R,
        expected: Option<i64>,
        author: &Author,
    ) -> Result<i64> {
        // One that was named under an earlier rule is changed as any other.
        if self.document::<R>(name).is_err() {
            R::check_name(name)?;
        }
        let value = serde_json::to_value(rule).map_err(|error| Error::Invalid(error.to_string()))?;
        let put = change(R::KIND, name, Some(value), expected);
        self.change_rule(author, move |_| Ok(put)).await
    }

    /// Whoever had a role has it no more, and what was shared with it is not.
    pub async fn delete_document<R: Rule>(
        self: &Arc<Self>,
        name: &str,
        expected: Option<i64>,
        author: &Author,
    ) -> Result<i64> {
        if R::KIND == ROLE && name == ADMIN {
            return invalid(format!("the role {ADMIN} is built in and cannot be deleted"));
        }
        let gone = change(R::KIND, name, None, expected);
        let found = move |this: &Identity| this.document::<R>(&gone.name).map(|_| gone);
        self.change_rule(author, found).await
    }

    /// Checks the rules as they would be, keeps the change, and puts them in force, before it is told.
    async fn change_rule(
        self: &Arc<Self>,
        author: &Author,
        changed: impl FnOnce(&Identity) -> Result<Change> + Send + 'static,
    ) -> Result<i64> {
        let plan = move |this: &Identity| {
            let changed = changed(this)?;
            rules(&this.coordinator, std::slice::from_ref(&changed), 0)?;
            let mut changes = Vec::new();
            let is_gone = changed.kind == ROLE && changed.value.is_none();
            if is_gone {
                changes.extend(this.saved_without_role(&changed.name));
            }
            let users = if is_gone { this.users() } else { Vec::new() };
            for document in users {
                let mut user: User = parse("user", &document.value)?;
                if user.roles.remove(&changed.name) {
                    let value = serde_json::to_value(&user).map_err(|error| Error::Invalid(error.to_string()))?;
                    changes.push(change(USER, &document.name, Some(value), Some(document.version)));
                }
            }
            changes.push(changed);
            Ok(changes)
        };
        let version = self.commit(author, plan).await?.last().copied().unwrap_or_default();
        tracing::info!(version, by = author.name(), "rules changed");
        Ok(version)
    }
}
