//! Users: people, who sign in by a password, and services, which have tokens only. The document of a user tells who it is;
//! the hash of the password stands in another, which is never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordinator::{Change, Document};
use query::Principal;
use query::policy::ADMIN;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::commit::Author;
use super::password::{LENGTH_MAX, LENGTH_MIN};
use super::roles::ROLE;
use super::sessions::SESSION;
use super::tokens::TOKEN;
use super::{Identity, is_reserved, names, random_text};

/// The kinds of their documents.
pub const USER: &str = "user";
pub const PASSWORD: &str = "password";

/// The kind of the documents that say how many users of a name there were and are no more.
const GONE: &str = "goneUsers";

/// Bytes of a profile and of settings, as JSON.
const NOTES_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserKind {
    #[default]
    Person,
    Service,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct User {
    pub kind: UserKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the user tells of itself, and what pages keep for it: kept as it is.
    pub profile: Map<String, Value>,
    pub settings: Map<String, Value>,
    pub disabled: bool,
    pub roles: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// What a user may change of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub email: Option<String>,
    #[serde(default)]
    pub profile: Map<String, Value>,
    #[serde(default)]
    pub settings: Map<String, Value>,
}

/// A user as it is known at the moment, with what policies see of it.
pub struct Account {
    pub user: User,
    pub principal: Arc<Principal>,
}

impl Account {
    pub fn may_sign_in(&self) -> bool {
        !self.user.disabled
    }
}

/// Why a change of users, roles, tokens or table rules is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// It is not as the change supposes, or the change would lock everybody out.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Busy(String),
    /// Whoever asks is not, when it would be made, who they were when they asked.
    #[error("the credentials are not valid any more; sign in again")]
    Stranger,
    /// They have other roles, groups or attributes.
    #[error("{CHANGED}")]
    Changed,
    /// As the gate says it to who may not.
    #[error("Unauthorized")]
    Denied,
    #[error(transparent)]
    Catalog(#[from] coordinator::Error),
}

/// What is told of a request whose sender has other rights than when it began, whatever these are.
pub const CHANGED: &str = "what you may see and do has changed while this was at work; ask again";

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(super) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

/// Refuses a name that is not to be given to anything.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    match names::may_be_given(name) {
        true => Ok(()),
        false => invalid(format!("the name of a {what} must have {}", names::RULE)),
    }
}

pub fn check_password(password: &str) -> Result<()> {
    match password.len() {
        LENGTH_MIN..=LENGTH_MAX => Ok(()),
        _ => invalid(format!("password: must have {LENGTH_MIN} to {LENGTH_MAX} bytes")),
    }
}

fn check_notes(profile: &Map<String, Value>, settings: &Map<String, Value>) -> Result<()> {
    for (field, notes) in [("profile", profile), ("settings", settings)] {
        if serde_json::to_string(notes).map_or(0, |text| text.len()) > NOTES_BYTES_MAX {
            return invalid(format!("{field}: has more than {NOTES_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

pub(super) fn change(kind: &'static str, name: &str, value: Option<Value>, expected: Option<i64>) -> Change {
    let history = matches!(kind, USER | super::roles::ROLE | super::roles::TABLE);
    Change { kind, name: name.to_string(), value, expected, history }
}

impl Identity {
    /// A user as it is now; nothing if its document cannot be read, which lets nobody in.
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        let document = self.coordinator.document(USER, name)?;
        if let Some((version, account)) = self.accounts.lock().get(name)
            && *version == document.version
        {
            return Some(account.clone());
        }
        let user: User = serde_json::from_value(document.value.clone()).ok()?;
        let principal = Principal {
            scope: None,
            name: name.to_string(),
            roles: user.roles.clone(),
            groups: user.groups.clone(),
            attributes: user.attributes.clone(),
        };
        let account = Arc::new(Account { user, principal: Arc::new(principal) });
        let mut accounts = self.accounts.lock();
        accounts.retain(|name, _| self.coordinator.document(USER, name).is_some());
        accounts.insert(name.to_string(), (document.version, account.clone()));
        Some(account)
    }

    /// Whom a user acts as, unless it is disabled or gone.
    pub fn principal(&self, name: &str) -> Option<Arc<Principal>> {
        self.account(name).filter(|account| account.may_sign_in()).map(|account| account.principal.clone())
    }

    /// 0 if there is no password. What was granted for a password ends with it.
    pub fn password_version(&self, name: &str) -> i64 {
        self.coordinator.document(PASSWORD, name).map_or(0, |document| document.version)
    }

    pub fn users(&self) -> Vec<Arc<Document>> {
        self.coordinator.documents(USER)
    }

    pub fn user(&self, name: &str) -> Result<Arc<Document>> {
        self.coordinator.document(USER, name).ok_or_else(|| Error::NotFound(format!("there is no user {name}")))
    }

    /// Where there are no users yet, makes `admin`; with the password it got, unless that was set.
    pub(super) async fn first_user(self: &Arc<Self>) -> anyhow::Result<Option<String>> {
        if !self.users().is_empty() {
            return Ok(None);
        }
        let set = self.settings.first_password.clone();
        let password = set.clone().unwrap_or_else(random_text::<18>);
        let user = User { roles: BTreeSet::from([ADMIN.to_string()]), ..User::default() };
        self.put_user(ADMIN, user, Some(&password), Some(0), &self.own_author()).await?;
        Ok(set.is_none().then_some(password))
    }

    /// Makes a user, or changes one; the version it has then.
    pub async fn put_user(
        self: &Arc<Self>,
        name: &str,
        user: User,
        password: Option<&str>,
        expected: Option<i64>,
        author: &Author,
    ) -> Result<i64> {
        // One that was named under an earlier rule is changed as any other: disabled, for instance.
        if self.user(name).is_err() {
            check_name("user", name)?;
        }
        if is_reserved(name) {
            return invalid(format!("{name} is not the name of a user; give another"));
        }
        if user.kind == UserKind::Service && password.is_some() {
            return invalid("password: a service has tokens and no password");
        }
        check_notes(&user.profile, &user.settings)?;
        let mut changes = Vec::new();
        if let Some(password) = password {
            check_password(password)?;
            changes.push(self.hashed(name, password, None).await?);
        }
        let changed = name.to_string();
        let plan = move |this: &Identity| {
            let name = changed.as_str();
            for role in &user.roles {
                if role != ADMIN && this.coordinator.document(ROLE, role).is_none() {
                    return invalid(format!("roles: there is no role {role}; make it first"));
                }
            }
            let before = this.account(name);
            this.keeps_an_admin(name, Some(&user))?;
            if user.kind == UserKind::Service && before.is_some_and(|before| before.user.kind == UserKind::Person) {
                changes.push(change(PASSWORD, name, None, None));
            }
            let value = serde_json::to_value(&user).map_err(|error| Error::Invalid(error.to_string()))?;
            changes.push(change(USER, name, Some(value), expected));
            Ok(changes)
        };
        let versions = self.commit(author, plan).await?;
        tracing::info!(user = name, by = author.name(), "user changed");
        Ok(versions.last().copied().unwrap_or_default())
    }

    /// What a user tells of itself, and nothing else of it; the version it has then.
    pub async fn put_profile(self: &Arc<Self>, said: Profile, expected: Option<i64>, author: &Author) -> Result<i64> {
        check_notes(&said.profile, &said.settings)?;
        let name = author.name().to_string();
        let plan = move |this: &Identity| {
            let document = this.user(&name)?;
            let user: User = serde_json::from_value(document.value.clone())
                .map_err(|_| Error::Invalid(format!("the document of {USER} {name} is not readable")))?;
            let user = User { email: said.email, profile: said.profile, settings: said.settings, ..user };
            let value = serde_json::to_value(&user).map_err(|error| Error::Invalid(error.to_string()))?;
            let expected = Some(expected.unwrap_or(document.version));
            // What users may change as often as they like would be a history without a bound.
            Ok(vec![Change { history: false, ..change(USER, &name, Some(value), expected) }])
        };
        let versions = self.commit(author, plan).await?;
        tracing::info!(user = author.name(), "profile changed");
        Ok(versions.last().copied().unwrap_or_default())
    }

    async fn hashed(&self, name: &str, password: &str, expected: Option<i64>) -> Result<Change> {
        let hash = self.passwords.hash(password).await;
        let hash = hash.map_err(|_| Error::Busy("too many passwords are being checked; try again".into()))?;
        Ok(change(PASSWORD, name, Some(json!({"hash": hash})), expected))
    }

    /// A new password, in place of the one of this version if one is expected: sessions of the old one end.
    pub async fn set_password(
        self: &Arc<Self>,
        name: &str,
        password: &str,
        expected: Option<i64>,
        author: &Author,
    ) -> Result<()> {
        check_password(password)?;
        let changed = self.hashed(name, password, expected).await?;
        let plan = move |this: &Identity| {
            let name = &changed.name;
            let user = this.account(name).ok_or_else(|| Error::NotFound(format!("there is no user {name}")))?;
            if user.user.kind == UserKind::Service {
                return invalid("a service has tokens and no password");
            }
            let sessions = this.owned(SESSION, name);
            Ok([vec![changed], sessions].concat())
        };
        self.commit(author, plan).await?;
        tracing::info!(user = name, by = author.name(), "password changed");
        Ok(())
    }

    /// With its password, its tokens, its sessions and whatever it kept for itself alone.
    pub async fn delete_user(self: &Arc<Self>, name: &str, expected: Option<i64>, author: &Author) -> Result<()> {
        let gone = name.to_string();
        let plan = move |this: &Identity| {
            let name = gone.as_str();
            this.user(name)?;
            this.keeps_an_admin(name, None)?;
            let mut changes = vec![change(USER, name, None, expected), change(PASSWORD, name, None, None)];
            changes.extend(this.owned(TOKEN, name));
            changes.extend(this.owned(SESSION, name));
            changes.extend(this.saved_without_user(name));
            changes.push(change(GONE, name, Some(json!({"users": this.users_before(name) + 1})), None));
            Ok(changes)
        };
        self.commit(author, plan).await?;
        tracing::info!(user = name, by = author.name(), "user deleted");
        Ok(())
    }

    /// How many users of a name there were before the one that there is, or may be.
    pub fn users_before(&self, name: &str) -> i64 {
        self.coordinator.document(GONE, name).and_then(|document| document.value["users"].as_i64()).unwrap_or(0)
    }

    /// Deletions of a user's documents of a kind.
    pub(super) fn owned(&self, kind: &'static str, user: &str) -> Vec<Change> {
        let all = self.coordinator.documents(kind);
        let owned = all.iter().filter(|document| document.value["user"].as_str() == Some(user));
        owned.map(|document| change(kind, &document.name, None, None)).collect()
    }

    /// Somebody must be left who may do everything and can sign in, which takes a password: whoever has one keeps it.
    fn keeps_an_admin(&self, changed: &str, to: Option<&User>) -> Result<()> {
        let rules = |user: &User| !user.disabled && user.roles.contains(ADMIN) && user.kind == UserKind::Person;
        let rules_by_password = |name: &str| {
            self.password_version(name) > 0 && self.account(name).is_some_and(|account| rules(&account.user))
        };
        let users = self.users();
        let mut others = users.iter().filter(|document| document.name != changed);
        if rules_by_password(changed)
            && !to.is_some_and(rules)
            && !others.any(|document| rules_by_password(&document.name))
        {
            return Err(Error::Conflict(format!(
                "{changed} is the last user who has the role {ADMIN} and can sign in; give it to another first"
            )));
        }
        Ok(())
    }
}
