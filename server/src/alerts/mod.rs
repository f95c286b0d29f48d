//! Alerts: questions that are asked on schedule, and people who are told when the answers say so.
//!
//! Rules, channels and silences are documents of the catalog. The one that leads gives each rule its turns
//! ([`conductor`]):
//!
//! 1. A turn is due once in each `every`. The question runs as the rule's owner is now, by the way that all statements go
//!    ([`evaluate`]), and is in the audit log as the owner's.
//! 2. What it found makes a step of how the alert stands ([`state`]).
//! 3. How it stands now, what changed, and what is to be told of it to which channel are written in one transaction that is
//!    the leader's alone. So a turn counts once, whoever leads.
//! 4. What is on record and not told yet is sent ([`channels`]), by whoever leads, until it arrived or was tried often
//!    enough. A leader that is lost between sending and writing that down leaves it to the next, which sends it again: under
//!    the same id, by which a receiver knows it. No more can be had of receivers that take no part in the transaction.

pub mod channels;
pub mod conductor;
pub mod evaluate;
pub mod queue;
pub mod rule;
pub mod state;

use std::collections::BTreeSet;
use std::sync::Arc;

use coordinator::Document;
use query::Principal;
use serde_json::Value;

use crate::auth::owner::Owner;
use rule::Rule;

/// Kinds of documents; those of rules and silences are named as the rule.
pub const ALERT: &str = "alert";
pub const CHANNEL: &str = "alertChannel";
pub const SILENCE: &str = "alertSilence";

/// Rules and channels that there may be.
pub const RULES_MAX: usize = 500;
pub const CHANNELS_MAX: usize = 100;

/// A rule as it is kept.
pub struct Kept {
    /// Of this rule alone, also if it is deleted and another has its name.
    pub id: String,
    pub owner: Owner,
    /// The roles that it was written by, if not by all of its owner's.
    pub scope: Option<BTreeSet<String>>,
    pub rule: Rule,
}

impl Kept {
    pub fn of(document: &Document) -> Option<Kept> {
        let value = &document.value;
        Some(Kept {
            id: value["id"].as_str()?.to_string(),
            owner: serde_json::from_value(value["owner"].clone()).ok()?,
            scope: serde_json::from_value(value["scope"].clone()).ok()?,
            rule: Rule::parse(&value["rule"]).ok()?,
        })
    }

    /// Whom its question runs as: its owner as that is now.
    pub fn acting(&self, owner: Arc<Principal>) -> Arc<Principal> {
        match &self.scope {
            None => owner,
            scope => Arc::new(Principal { scope: scope.clone(), ..(*owner).clone() }),
        }
    }
}

pub fn document(id: &str, owner: &Owner, scope: Option<&BTreeSet<String>>, body: &Value) -> Value {
    serde_json::json!({"id": id, "owner": owner, "scope": scope, "rule": Rule::kept(body)})
}
