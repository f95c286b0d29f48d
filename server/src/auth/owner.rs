//! Whose something is that outlasts a request: results of statements, connections, prepared statements. A name alone does
//! not tell, as it may be that of somebody else later.

use std::sync::Arc;

use query::Principal;
use serde::{Deserialize, Serialize};

use super::{ANONYMOUS, Caller, How, Identity, PROCESS};

/// One user of the catalog from its making to its deletion, or one of the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    #[serde(rename = "owner", default)]
    pub name: String,
    /// How many users of the catalog had the name before.
    #[serde(rename = "owners_before", default)]
    before: i64,
    /// Whether the provider vouches for the name, and not the catalog: it has no user of the name now, and may have one later.
    #[serde(rename = "owner_of_provider", default)]
    of_provider: bool,
}

impl Owner {
    /// What is kept is kept under this: no two owners have the same.
    pub fn key(&self) -> String {
        // No name has a colon or a slash in it.
        match (self.of_provider, self.before) {
            (true, _) => format!(":{}", self.name),
            (false, 0) => self.name.clone(),
            (false, before) => format!("{}/{before}", self.name),
        }
    }
}

impl Owner {
    /// Whether it is a user of the catalog of which there were fewer before it than there were since.
    pub(super) fn was_before(&self, users_before: i64) -> bool {
        !self.of_provider && self.before < users_before
    }
}

impl Identity {
    /// Of the user of a name that there is, or will be next.
    pub(super) fn owner_in_catalog(&self, name: &str) -> Owner {
        Owner { name: name.to_string(), before: self.users_before(name), of_provider: false }
    }

    /// Whom an owner acts as who is not there to say who they are: nobody, if they may not sign in, or are none of here.
    pub fn acting(&self, owner: &Owner) -> Option<Arc<Principal>> {
        let is_of_now = !owner.of_provider && owner.before == self.users_before(&owner.name);
        match owner.name.as_str() {
            _ if !is_of_now => None,
            ANONYMOUS => (!self.settings.required).then(|| self.anonymous.clone()),
            PROCESS => Some(self.process.clone()),
            name => self.principal(name),
        }
    }

    /// Whose everything is that a caller has made.
    pub fn owner(&self, caller: &Caller) -> Owner {
        let name = caller.principal.name.clone();
        match caller.how {
            How::Jwt { .. } => Owner { name, before: 0, of_provider: true },
            _ => self.owner_in_catalog(&name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_owners_are_taken_for_one_another() {
        let names = ["ann", "ann/1", ":ann", "bob", "1", ""];
        let mut keys = HashSet::new();
        for name in names {
            for (before, of_provider) in [(0, true), (0, false), (1, false), (11, false)] {
                let owner = Owner { name: name.into(), before, of_provider };
                let text = serde_json::to_string(&owner).unwrap();
                assert_eq!(serde_json::from_str::<Owner>(&text).unwrap(), owner);
                // Of these names some cannot be given: nothing but a colon and a slash keeps keys apart.
                if super::super::users::check_name("user", name).is_ok() {
                    assert!(keys.insert(owner.key()), "{owner:?}");
                }
            }
        }
        assert_eq!(keys.len(), 3 * 4);
    }
}
