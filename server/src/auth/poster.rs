//! Who posted a task: what is kept of them with it, and who that is when the task comes to take rows away. Tasks go on when
//! whoever posted them has signed out: what they may then is what their user may, by the rules of that moment.
//!
//! - A user of the catalog is the one that there was: not disabled since, not deleted, and not one who got the name later. It
//!   acts by its roles, groups and attributes of now, within the roles of the token that the task was posted with.
//! - One of the provider is as the provider told of them then, unless the catalog has a user of the name by now, which shuts
//!   them out, or there is no provider any more.
//! - Nobody (where no credentials were needed) is nobody still, unless they are needed by now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use coordinator::{Poster, Sight};
use query::Principal;
use query::policy::{ADMIN, Action, Kind};
use serde::{Deserialize, Serialize};

use super::{ANONYMOUS, Caller, How, Identity, PROCESS};

/// What is kept of a poster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    name: String,
    /// How many users of the catalog had the name before.
    users_before: i64,
    /// The roles that the token at hand was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<Told>,
}

/// What a provider tells of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    roles: BTreeSet<String>,
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// What a task is to have of who posts it.
    pub fn poster(&self, caller: &Caller) -> Poster {
        let (principal, name) = (&caller.principal, caller.principal.name.clone());
        let told = matches!(caller.how, How::Jwt { .. }).then(|| Told {
            roles: principal.roles.clone(),
            groups: principal.groups.clone(),
            attributes: principal.attributes.clone(),
        });
        let kept = Kept { users_before: self.users_before(&name), name, scope: principal.scope.clone(), told };
        let document = serde_json::to_value(kept).expect("its keys are texts");
        Poster { key: self.owner(caller).key(), document }
    }

    /// Whom a poster is now; `None` if nobody.
    fn poster_now(&self, poster: &Poster) -> Option<Arc<Principal>> {
        let Kept { name, users_before, scope, told } = serde_json::from_value(poster.document.clone()).ok()?;
        let principal = match (told, name.as_str()) {
            (Some(Told { roles, groups, attributes }), name) => {
                let is_shut_out = self.oidc.is_none() || self.user(name).is_ok();
                let principal = Principal { roles, groups, attributes, ..Principal::new(name) };
                (!is_shut_out).then(|| Arc::new(principal))
            }
            (None, ANONYMOUS) => (!self.settings.required).then(|| self.anonymous.clone()),
            (None, PROCESS) => Some(self.process.clone()),
            (None, name) if self.users_before(name) == users_before => self.principal(name),
            (None, _) => None,
        }?;
        Some(match scope {
            None => principal,
            scope => Arc::new(Principal { scope, ..(*principal).clone() }),
        })
    }

    /// Whether no row and no column of a datasource is hidden from somebody. Who may change the rules that hide them runs the
    /// datasource, and has to know how large it is, even if it shows its rows to nobody without a policy.
    pub fn sees_all(&self, who: &Principal, datasource: &str) -> bool {
        let rules = self.authorizer.current();
        let is_admin = who.scope.is_none() && rules.roles_of(who).contains(ADMIN);
        is_admin || !rules.is_restricted(who, datasource)
    }

    fn hindrance(&self, poster: &Poster, datasource: &str, is_there: bool) -> Option<String> {
        let Some(who) = self.poster_now(poster) else {
            return Some(
                "who posted it is no user here any more, or may not sign in; have somebody else post it".into(),
            );
        };
        let name = &who.name;
        if !self.authorizer.current().may(&who, Kind::Datasource, datasource, Action::Write) {
            return Some(format!("{name}, who posted it, may not write it any more"));
        }
        (is_there && !self.sees_all(&who, datasource)).then(|| {
            format!(
                "{name}, who posted it, may not see all rows and columns of it; set ioConfig.appendToExisting, or have somebody \
                 post it who may"
            )
        })
    }
}

/// By what the coordinator asks. Of an identity that is gone nobody may replace anything.
pub struct Sights(pub Weak<Identity>);

impl Sight for Sights {
    fn hindrance(&self, poster: &Poster, datasource: &str, is_there: bool) -> Option<String> {
        match self.0.upgrade() {
            Some(identity) => identity.hindrance(poster, datasource, is_there),
            None => Some("the server is stopping; post it again".into()),
        }
    }
}
