//! API tokens: `henge_<id>_<secret>`. The secret is told once, when the token is made; what is kept is its digest. A token
//! acts as its user, within some of the user's roles, until it expires or is revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use coordinator::Document;
use query::Principal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::commit::Author;
use super::users::{Error, Result, change, invalid};
use super::{Identity, digest, random, random_text, same};
use crate::node::now;

pub const TOKEN: &str = "token";

pub const PREFIX: &str = "henge_";

/// Tokens that a user may have.
const OWNED_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    pub user: String,
    /// What it is for, in its owner's words.
    pub label: String,
    /// `None`: all that the user has, whenever it is used.
    pub roles: Option<BTreeSet<String>>,
    pub created: i64,
    pub expires: Option<i64>,
    digest: String,
}

impl Token {
    pub fn of(document: &Document) -> Option<Token> {
        serde_json::from_value(document.value.clone()).ok()
    }

    /// What may be told of it.
    pub fn shown(&self, id: &str) -> Value {
        let time = |at: i64| segment::time::format_timestamp(at);
        serde_json::json!({
            "id": id,
            "user": self.user,
            "label": self.label,
            "roles": self.roles,
            "created": time(self.created),
            "expires": self.expires.map(time),
        })
    }
}

impl Identity {
    pub(super) fn by_token(&self, sent: &str) -> Option<(Arc<Principal>, String)> {
        let (id, secret) = sent.strip_prefix(PREFIX)?.split_once('_')?;
        let token = Token::of(&*self.coordinator.document(TOKEN, id)?)?;
        let valid = same(token.digest.as_bytes(), digest(secret).as_bytes());
        valid.then(|| self.of_token(id, now())).flatten().map(|principal| (principal, id.to_string()))
    }

    /// When a token ends by itself.
    pub(super) fn token_expires(&self, id: &str) -> Option<i64> {
        Token::of(&*self.coordinator.document(TOKEN, id)?)?.expires
    }

    /// Whom a token stands for at a moment.
    pub(super) fn of_token(&self, id: &str, at: i64) -> Option<Arc<Principal>> {
        let token = Token::of(&*self.coordinator.document(TOKEN, id)?)?;
        if token.expires.is_some_and(|expires| expires <= at) {
            return None;
        }
        let principal = self.principal(&token.user)?;
        Some(match token.roles {
            None => principal,
            scope => Arc::new(Principal { scope, ..(*principal).clone() }),
        })
    }

    /// The tokens of a user, by id.
    pub fn tokens(&self, user: &str) -> Vec<(String, Token)> {
        let all = self.coordinator.documents(TOKEN);
        let read = all.iter().filter_map(|document| Some((document.name.clone(), Token::of(document)?)));
        read.filter(|(_, token)| token.user == user).collect()
    }

    /// Makes a token; its id, and the token itself, which is not known to anybody after this.
    pub async fn create_token(
        self: &Arc<Self>,
        user: &str,
        label: String,
        roles: Option<BTreeSet<String>>,
        expires: Option<i64>,
        author: &Author,
    ) -> Result<(String, String, Token)> {
        if label.chars().count() > 256 {
            return invalid("label: has more than 256 characters");
        }
        let id: String = random::<9>().iter().map(|byte| format!("{byte:02x}")).collect();
        let (secret, now) = (random_text::<32>(), now());
        let token = Token { user: user.into(), label, roles, created: now, expires, digest: digest(&secret) };
        let (made, name) = (token.clone(), id.clone());
        let plan = move |this: &Identity| {
            this.check_token(&made)?;
            let value = serde_json::to_value(&made).map_err(|error| Error::Invalid(error.to_string()))?;
            Ok(vec![change(TOKEN, &name, Some(value), Some(0))])
        };
        self.commit(author, plan).await?;
        tracing::info!(user, token = id, by = author.name(), "token made");
        Ok((id.clone(), format!("{PREFIX}{id}_{secret}"), token))
    }

    fn check_token(&self, token: &Token) -> Result<()> {
        let user = &token.user;
        let account = self.account(user).ok_or_else(|| Error::NotFound(format!("there is no user {user}")))?;
        if let Some(role) = token.roles.iter().flatten().find(|role| !account.user.roles.contains(*role)) {
            return invalid(format!("roles: {user} does not have the role {role}"));
        }
        if token.expires.is_some_and(|expires| expires <= token.created) {
            return invalid("expires: is in the past");
        }
        if self.tokens(user).len() >= OWNED_MAX {
            return Err(Error::Conflict(format!("{user} has {OWNED_MAX} tokens already; revoke one")));
        }
        Ok(())
    }

    /// Takes effect with the next request.
    pub async fn revoke_token(self: &Arc<Self>, user: &str, id: &str, author: &Author) -> Result<()> {
        let (owner, name) = (user.to_string(), id.to_string());
        let plan = move |this: &Identity| {
            let token = this.coordinator.document(TOKEN, &name);
            if token.is_none_or(|token| token.value["user"].as_str() != Some(&owner)) {
                return Err(Error::NotFound(format!("{owner} has no token {name}")));
            }
            Ok(vec![change(TOKEN, &name, None, None)])
        };
        self.commit(author, plan).await?;
        tracing::info!(user, token = id, by = author.name(), "token revoked");
        Ok(())
    }
}
