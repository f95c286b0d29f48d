//! The one step by which users, passwords, tokens, sessions, roles and table rules change, but for the time at which a
//! session was last used.
//!
//! 1. One change at a time, each planned on what the last one left.
//! 2. Whoever makes it is asked about once more: they must still be who they were let in as, with the right that let them
//!    in. However long they took to ask, and whatever changed meanwhile, nothing is changed by a right that is gone.
//! 3. The change is kept, the rules that follow from it are in force, and queries of those whom it took something from are
//!    over, before it is told.
//!
//! The step is a task of its own: whoever asked for it may go away, and it is made whole all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::{StatusCode, request};
use coordinator::Change;
use query::Principal;
use query::policy::{Action, Kind};

use super::roles::{ROLE, TABLE, rules};
use super::sessions::SESSION;
use super::users::{Error, Result, USER};
use super::{Caller, Identity, Still};
use crate::http::error::Refusal;
use crate::node::now;

/// What a route asks for of whoever comes by it.
pub type Right = (Kind, &'static str, Action);

/// In whose name a change is made, and by which right.
#[derive(Debug, Clone)]
pub struct Author {
    pub caller: Caller,
    /// `None`: it takes no more than being somebody.
    right: Option<Right>,
    begun: Arc<AtomicBool>,
}

impl Author {
    pub fn new(caller: Caller, right: Option<Right>) -> Author {
        Author { caller, right, begun: Arc::default() }
    }

    /// For the record.
    pub fn name(&self) -> &str {
        &self.caller.principal.name
    }

    /// Whether a change of theirs was found to be theirs to make, and is being made: it may end what they made it with.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

impl<S: Sync> FromRequestParts<S> for Author {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Author, Refusal> {
        let author = parts.extensions.get::<Author>().cloned();
        author.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, Error::Stranger.to_string()))
    }
}

/// What of the catalog is in force.
#[derive(Debug, Default)]
pub struct Known {
    /// `None` for users who may not sign in.
    principals: BTreeMap<String, Option<Arc<Principal>>>,
    /// Kind, name and version.
    rules: Vec<(String, String, i64)>,
}

impl Identity {
    /// Makes the changes that `plan` finds to be made; the versions they got. It is asked once nothing else changes.
    pub(super) async fn commit(
        self: &Arc<Self>,
        author: &Author,
        plan: impl FnOnce(&Identity) -> Result<Vec<Change>> + Send + 'static,
    ) -> Result<Vec<i64>> {
        let (this, author) = (self.clone(), author.clone());
        match tokio::spawn(async move { this.commit_now(&author, plan).await }).await {
            Ok(done) => done,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(_) => Err(Error::Busy("the server is stopping; try again once it is there".into())),
        }
    }

    async fn commit_now(
        &self,
        author: &Author,
        plan: impl FnOnce(&Identity) -> Result<Vec<Change>>,
    ) -> Result<Vec<i64>> {
        let _changing = self.changing.lock().await;
        self.admit(author)?;
        let changes = plan(self)?;
        let users = changes.iter().filter(|change| change.kind == USER);
        let ended = changes.iter().filter(|change| change.kind == SESSION && change.value.is_none());
        let ended: Vec<_> = ended.map(|change| change.name.clone()).collect();
        let before: Vec<_> = users.map(|change| (change.name.clone(), self.principal(&change.name))).collect();
        let is_rule = |change: &Change| matches!(change.kind, ROLE | TABLE);
        let of_rules = changes.iter().any(is_rule);
        author.begun.store(true, Ordering::Release);
        let versions = self.coordinator.change_documents(changes, author.name(), now()).await?;
        self.sessions_used.lock().retain(|name, _| !ended.contains(name));
        if of_rules {
            let version = versions.iter().copied().max().unwrap_or_default();
            self.authorizer.replace(rules(&self.coordinator, &[], version)?);
            self.sql.policies_changed();
        }
        // Queries that somebody began as whom they are no more come to an end; so do those of one of the provider, whose name
        // is a user's of here now.
        for (name, before) in before {
            if before != self.principal(&name) {
                self.sql.end_queries_of(&name);
            }
        }
        Ok(versions)
    }

    /// Whom users stand for now, and which rules there are: by what [`Identity::put_in_force`] sees what has changed.
    pub fn known(&self) -> Known {
        let principals = self.users().iter().map(|user| (user.name.clone(), self.principal(&user.name))).collect();
        let rules = [ROLE, TABLE].into_iter().flat_map(|kind| self.coordinator.documents(kind));
        Known { principals, rules: rules.map(|rule| (rule.kind.clone(), rule.name.clone(), rule.version)).collect() }
    }

    /// Puts in force what another node has changed, and ends the queries of those whom it took something from; the names of
    /// users who are not whom they were.
    pub fn put_in_force(&self, known: &mut Known) -> Vec<String> {
        let before = std::mem::replace(known, self.known());
        if before.rules != known.rules {
            let read = rules(&self.coordinator, &[], 0).unwrap_or_else(|error| {
                // What was taken away must not stay: without rules only administrators may do anything.
                tracing::error!(%error, "the rules of the catalog cannot be read");
                self.authorizer.current().without_any()
            });
            self.authorizer.replace(read);
            self.sql.policies_changed();
        }
        // Also who was one of the provider until now.
        let names: BTreeSet<&String> = before.principals.keys().chain(known.principals.keys()).collect();
        let others = names.into_iter().filter(|name| before.principals.get(*name) != known.principals.get(*name));
        let ended: Vec<String> = others.cloned().collect();
        ended.iter().for_each(|name| self.sql.end_queries_of(name));
        ended
    }

    fn admit(&self, author: &Author) -> Result<()> {
        match self.still(&author.caller, now()) {
            Still::Same => {}
            Still::Changed => return Err(Error::Changed),
            Still::Nobody => return Err(Error::Stranger),
        }
        match author.right {
            Some((kind, name, action))
                if !self.authorizer.current().may(&author.caller.principal, kind, name, action) =>
            {
                Err(Error::Denied)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use coordinator::Coordinator;
    use query::policy::{ADMIN, Role};
    use query::{Authorizer, Broker};
    use query_sql::Sql;
    use segment::inventory::Inventory;
    use serde_json::{Map, json};

    use super::*;
    use crate::auth::users::{PASSWORD, Profile, User};
    use crate::auth::{Asked, How, PROCESS, Refused, roles, sessions};
    use crate::config::AuthSettings;
    use crate::roles::cluster::LocalCluster;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const SECURITY: Right = (Kind::Security, "SECURITY", Action::Write);
    const OWN: &str = "a long password";

    struct House {
        identity: Arc<Identity>,
        coordinator: Arc<Coordinator>,
        _dir: tempfile::TempDir,
    }

    impl House {
        async fn open() -> House {
            let dir = tempfile::tempdir().unwrap();
            let settings = coordinator::Settings {
                tasks_max: 1,
                task_failures_max: 1,
                restart_after_ms: 1,
                restart_after_max_ms: 1,
                node_lease_ms: 1_000,
                return_ms: 0,
            };
            let coordinator = Arc::new(Coordinator::open(&dir.path().join("catalog.db"), settings).await.unwrap());
            let authorizer = Authorizer::new(roles::load(&coordinator).await.unwrap());
            let inventory = Arc::new(Inventory::new());
            let settings = query::Settings {
                threads: 1,
                queries_max: 1,
                lanes: Default::default(),
                timeout_default: Duration::from_secs(1),
                timeout_max: Duration::from_secs(1),
                memory_bytes: 1 << 20,
                memory: Default::default(),
                subquery_rows_max: 1,
                policy_cache_bytes: 0,
                default_context: Arc::default(),
            };
            let broker = Broker::new(inventory.clone(), settings, authorizer.clone());
            let cluster = LocalCluster {
                split: false,
                coordinator: coordinator.clone(),
                inventory,
                authorizer: authorizer.clone(),
                address: "localhost:1".into(),
                started: 0,
                properties: json!({}),
            };
            let sql = Sql::new(broker, Arc::new(cluster), query_sql::Settings { push_down: true, plans_max: 1 });
            let settings = AuthSettings {
                required: true,
                anywhere: false,
                hosts: Vec::new(),
                first_password: Some(OWN.into()),
                failures_max: 10,
                lockout: Duration::from_secs(1),
                remember: Duration::from_secs(60),
                session_idle_ms: 1000,
                session_max_ms: 10_000,
                oidc: None,
            };
            let (identity, _) = Identity::open(settings, coordinator.clone(), authorizer, sql).await.unwrap();
            House { identity, coordinator, _dir: dir }
        }

        async fn signed_in(&self, name: &str) -> Caller {
            self.identity.by_password(name, OWN, HERE).await.unwrap()
        }

        async fn admin(&self) -> Author {
            Author::new(self.signed_in(ADMIN).await, Some(SECURITY))
        }

        async fn put(&self, name: &str, roles: &[&str]) {
            let user = User { roles: roles.iter().map(|role| role.to_string()).collect(), ..User::default() };
            self.identity.put_user(name, user, Some(OWN), None, &self.admin().await).await.unwrap();
        }

        async fn put_role(&self, permissions: serde_json::Value, author: &Author) -> Result<i64> {
            let role: Role = serde_json::from_value(json!({"permissions": permissions})).unwrap();
            self.identity.put_document("keeper", &role, None, author).await
        }
    }

    fn keeps(action: &str) -> serde_json::Value {
        json!([{"resource": {"type": "SECURITY", "name": "SECURITY"}, "action": action}])
    }

    /// Whoever may do nothing but change their own profile cannot fill the catalog by it.
    #[tokio::test]
    async fn profiles_have_no_history() {
        let house = House::open().await;
        house.put("ann", &[]).await;
        let ann = Author::new(house.signed_in("ann").await, None);
        for n in 0..20 {
            let profile =
                Profile { email: None, profile: Map::from_iter([("n".into(), json!(n))]), settings: Map::new() };
            house.identity.put_profile(profile, None, &ann).await.unwrap();
        }
        assert_eq!(house.identity.account("ann").unwrap().user.profile["n"], json!(19));
        assert_eq!(house.coordinator.document_history(USER, "ann", 100).await.unwrap().len(), 1);
        house.put("ann", &[ADMIN]).await;
        assert_eq!(house.coordinator.document_history(USER, "ann", 100).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn who_was_named_under_an_earlier_rule_can_be_changed() {
        let house = House::open().await;
        let old = "e\u{301}va";
        let put = super::super::users::change(USER, old, Some(json!({"roles": []})), None);
        house.coordinator.change_documents(vec![put], PROCESS, 0).await.unwrap();
        assert!(house.identity.principal(old).is_some());
        let disabled = || User { disabled: true, ..User::default() };
        house.identity.put_user(old, disabled(), None, None, &house.admin().await).await.unwrap();
        assert!(house.identity.principal(old).is_none());
        let made = house.identity.put_user("e\u{301}ve", disabled(), None, None, &house.admin().await).await;
        assert!(matches!(made, Err(Error::Invalid(_))), "{made:?}");
        let role: Role = serde_json::from_value(json!({})).unwrap();
        let made = house.identity.put_document("a\u{2800}", &role, None, &house.admin().await).await;
        assert!(matches!(made, Err(Error::Invalid(_))), "{made:?}");
    }

    #[tokio::test]
    async fn a_right_that_is_gone_when_the_change_is_made_is_none() {
        let house = House::open().await;
        house.put("mal", &[ADMIN]).await;
        let mal = Author::new(house.signed_in("mal").await, Some(SECURITY));
        house.put("mal", &[]).await;
        let admin = || User { roles: BTreeSet::from([ADMIN.to_string()]), ..User::default() };
        let made = house.identity.put_user("mal2", admin(), None, None, &mal).await;
        assert!(matches!(made, Err(Error::Stranger)), "{made:?}");
        assert!(!mal.has_begun() && house.identity.user("mal2").is_err());

        // As themselves, by a role that permits it no more.
        house.put_role(keeps("WRITE"), &house.admin().await).await.unwrap();
        house.put("kim", &["keeper"]).await;
        let kim = Author::new(house.signed_in("kim").await, Some(SECURITY));
        house.identity.put_user("kim1", User::default(), None, None, &kim).await.unwrap();
        assert!(kim.has_begun());
        let kim = Author::new(kim.caller, Some(SECURITY));
        house.put_role(keeps("READ"), &house.admin().await).await.unwrap();
        let own = Author::new(kim.caller.clone(), None);
        let token = house.identity.create_token("kim", "own".into(), None, None, &own).await;
        assert!(token.is_ok(), "what takes no more than being somebody goes on");
        let denied = [
            house.identity.put_user("kim2", admin(), None, None, &kim).await.map(drop),
            house.identity.delete_user("mal", None, &kim).await,
            house.identity.set_password("mal", "another password", None, &kim).await,
            house.identity.end_sessions("mal", &kim).await.map(drop),
            house.identity.create_token("mal", String::new(), None, None, &kim).await.map(drop),
            house.identity.revoke_token("kim", &token.unwrap().0, &kim).await,
            house.put_role(keeps("WRITE"), &kim).await.map(drop),
            house.identity.delete_document::<Role>("keeper", None, &kim).await.map(drop),
        ];
        assert!(denied.iter().all(|made| matches!(made, Err(Error::Denied))), "{denied:?}");
        assert!(!kim.has_begun());
    }

    #[tokio::test]
    async fn a_profile_brings_nothing_back_whatever_version_it_is_for() {
        let house = House::open().await;
        house.put("ann", &[ADMIN]).await;
        let said = |email: &str| Profile { email: Some(email.into()), profile: Map::new(), settings: Map::new() };
        let document = || house.identity.user("ann").unwrap();
        let read = document();
        // Of which the user's own credentials say nothing: a change that its principal does not show.
        let service = json!({"roles": [ADMIN], "email": "by@admin", "disabled": false, "kind": "person"});
        let put = |value: serde_json::Value| {
            let change = super::super::users::change(USER, "ann", Some(value), None);
            let coordinator = house.coordinator.clone();
            async move { coordinator.change_documents(vec![change], PROCESS, 0).await.unwrap() }
        };
        for guess in [None, Some(read.version + 1), Some(read.version + 2)] {
            let ann = Author::new(house.signed_in("ann").await, None);
            // It waits for its turn while somebody else takes everything away.
            let changing = house.identity.changing.lock().await;
            let (identity, profile) = (house.identity.clone(), said("own@ann"));
            let waiting = tokio::spawn(async move { identity.put_profile(profile, guess, &ann).await });
            tokio::time::sleep(Duration::from_millis(20)).await;
            put(json!({"roles": [], "email": "by@admin"})).await;
            drop(changing);
            assert!(waiting.await.unwrap().is_err(), "{guess:?}");
            assert_eq!((&document().value["roles"], &document().value["email"]), (&json!([]), &json!("by@admin")));
            put(service.clone()).await;
        }
        let ann = Author::new(house.signed_in("ann").await, None);
        let stale = house.identity.put_profile(said("own@ann"), Some(read.version), &ann).await;
        assert!(matches!(stale, Err(Error::Catalog(coordinator::Error::Conflict(_)))), "{stale:?}");
        let version = house.identity.put_profile(said("own@ann"), Some(document().version), &ann).await.unwrap();
        assert_eq!((document().version, &document().value["email"]), (version, &json!("own@ann")));
        assert_eq!(document().value["roles"], json!([ADMIN]));
    }

    #[tokio::test]
    async fn a_change_whose_asker_goes_away_is_in_force_once_it_is_kept() {
        let house = House::open().await;
        house.put("kim", &[]).await;
        house.put_role(json!([]), &house.admin().await).await.unwrap();
        let user = User { roles: BTreeSet::from(["keeper".to_string()]), ..User::default() };
        house.identity.put_user("kim", user, None, None, &house.admin().await).await.unwrap();
        let kim = house.signed_in("kim").await;
        let may = || house.identity.authorizer().current().may(&kim.principal, SECURITY.0, SECURITY.1, SECURITY.2);
        let admin = house.admin().await;
        let mut kept = house.coordinator.watch_documents();
        let mut replaced = house.identity.authorizer().watch();
        assert!(!may());
        tokio::select! {
            biased;
            // At the first moment in which it is kept.
            _ = kept.changed() => {}
            _ = house.put_role(keeps("WRITE"), &admin) => panic!("it was told before it was seen to be kept"),
        }
        tokio::time::timeout(Duration::from_secs(10), replaced.changed()).await.expect("in force").unwrap();
        assert!(may());
    }

    #[tokio::test]
    async fn what_a_password_opens_is_opened_by_the_one_that_was_said() {
        let house = House::open().await;
        house.put("ann", &[]).await;
        let caller = house.signed_in("ann").await;
        let version = house.identity.password_version("ann");
        assert_eq!(caller.how, How::Password(version));
        let id = house.identity.begin_session(&Author::new(caller.clone(), None), None).await.unwrap();
        let bearer = format!("Bearer {}{id}", sessions::BEARER_PREFIX);

        // Another one is set between the check and what follows from it.
        house.identity.set_password("ann", "another password", None, &house.admin().await).await.unwrap();
        let author = Author::new(caller, None);
        let begun = house.identity.begin_session(&author, None).await;
        assert!(matches!(begun, Err(Error::Stranger)), "{begun:?}");
        // Who is in by a token of their own says the old password and sets a new one.
        let now = house.identity.by_password("ann", "another password", HERE).await.unwrap();
        let author = Author::new(now, None);
        let set = house.identity.set_password("ann", "a third password", Some(version), &author).await;
        assert!(matches!(set, Err(Error::Catalog(coordinator::Error::Conflict(_)))), "{set:?}");
        assert!(house.identity.by_password("ann", "another password", HERE).await.is_ok());
        assert_eq!(house.identity.by_password("ann", OWN, HERE).await.unwrap_err(), Refused::Wrong);

        let mut headers = axum::http::HeaderMap::new();
        headers.insert("authorization", bearer.parse().unwrap());
        let method = axum::http::Method::GET;
        let asked = Asked { headers: &headers, method: &method, host: None, origins: &[], address: HERE };
        assert_eq!(house.identity.identify(&asked).await.unwrap_err(), Refused::Wrong, "the old one's session is over");
        assert!(house.coordinator.document(PASSWORD, "ann").is_some());
    }

    #[tokio::test]
    async fn credentials_run_out_when_they_say() {
        let house = House::open().await;
        house.put("ann", &[]).await;
        let ann = house.signed_in("ann").await;
        let own = Author::new(ann.clone(), None);
        let identify = async |token: &str| {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            let method = axum::http::Method::GET;
            let asked = Asked { headers: &headers, method: &method, host: None, origins: &[], address: HERE };
            house.identity.identify(&asked).await.unwrap()
        };
        let (began, expires) = (now(), now() + 60_000);
        let (_, token, _) = house.identity.create_token("ann", String::new(), None, Some(expires), &own).await.unwrap();
        let id = house.identity.begin_session(&own, None).await.unwrap();
        let by_token = identify(&token).await;
        let by_session = identify(&format!("{}{id}", sessions::BEARER_PREFIX)).await;
        assert_eq!(house.identity.runs_out(&ann), None, "a password holds until it is changed");
        assert_eq!(house.identity.runs_out(&by_token), Some(expires));
        let idle = house.identity.runs_out(&by_session).unwrap();
        assert!((began + 1000..=now() + 1000).contains(&idle), "{idle}");
        let jwt = Caller { how: How::Jwt { expires: 7 }, ..ann.clone() };
        let other = Caller { principal: Arc::new(query::Principal::new("else")), ..jwt };
        assert_eq!(house.identity.runs_out(&other), Some(7));
        for (caller, end) in [(by_token, expires), (by_session, idle), (other, 7)] {
            assert_eq!(house.identity.still(&caller, end - 1), Still::Same, "{caller:?}");
            assert_eq!(house.identity.still(&caller, end), Still::Nobody, "{caller:?}");
        }
        assert_eq!(house.identity.still(&ann, i64::MAX), Still::Same);
        let other = User { roles: BTreeSet::from([ADMIN.to_string()]), ..User::default() };
        house.identity.put_user("ann", other, None, None, &house.admin().await).await.unwrap();
        assert_eq!(house.identity.still(&ann, now()), Still::Changed);
        let begun = house.identity.begin_session(&own, None).await;
        assert!(matches!(begun, Err(Error::Changed)), "{begun:?}");
    }
}
