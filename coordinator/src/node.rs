//! Nodes: what they are there for, and what each tells of itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a node may be there for, in any mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Coordinator,
    Broker,
    /// Serves published segments.
    Historical,
    /// Runs tasks, and serves the rows that they have read.
    Ingest,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Coordinator, Role::Broker, Role::Historical, Role::Ingest];

    pub fn name(self) -> &'static str {
        match self {
            Role::Coordinator => "coordinator",
            Role::Broker => "broker",
            Role::Historical => "historical",
            Role::Ingest => "ingest",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Role> {
        let role = Role::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| {
            let names = Role::ALL.map(Role::name).join(", ");
            Error::Invalid(format!("there is no role '{text}'; valid are {names}"))
        })
    }
}

/// A node, as it tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub node: String,
    /// Another with every start. Of two processes under one name the one that came later is the node; the other is
    /// refused from then on.
    pub process: u64,
    /// How others reach it.
    pub address: String,
    pub roles: Vec<Role>,
    pub tier: String,
    pub priority: i64,
    /// Of segments it may be told to load; 0 for as many as there are.
    pub capacity_bytes: u64,
    /// Of tasks it runs at once, without the store's own.
    pub tasks_max: usize,
    /// Journals that it keeps beside that of the audit log; versions before these told of none.
    #[serde(default)]
    pub journals: Vec<String>,
}

impl Member {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
