//! All rules in one picture, compiled from their documents, and what it answers about a principal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use regex::Regex;
use segment::filter::Filter;
use segment::schema::TIME;
use segment::time::Granularity;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::documents::{Action, Kind, PolicyKind, Quota, Role, TableRule, Treatment};
use super::identities::{check_filter, identified};
use super::restriction::{Restricted, Restriction};
use crate::admission::Principal;
use crate::error::{Error, Result};

/// The role that may do everything and sees every row. It is always there and is not kept as a document.
pub const ADMIN: &str = "admin";

/// The system table that only its own name permits.
const AUDIT: &str = "audit";

/// The system table that whoever may read metrics may read, and what that is.
const METRICS: &str = "metrics";
const STATE: &str = "STATE";

/// Roles may include each other this deep.
const INCLUDES_DEPTH_MAX: usize = 16;

/// One numbered picture of all rules.
#[derive(Debug)]
pub struct Rules {
    version: u64,
    stamp: String,
    roles: BTreeMap<String, Compiled>,
    tables: BTreeMap<String, (bool, Vec<Regex>)>,
    everyone: BTreeSet<String>,
    secret: String,
    secret_digest: String,
    worked_out: WorkedOut,
}

/// What was worked out that principals see of tables: every query asks twice.
type WorkedOut = Mutex<HashMap<String, Vec<(Principal, Restriction)>>>;

/// Restrictions that are kept, for all tables together.
const WORKED_OUT_MAX: usize = 1000;

#[derive(Debug)]
struct Compiled {
    includes: Vec<String>,
    permissions: Vec<(Kind, Action, Regex)>,
    policies: Vec<(Regex, PolicyKind, Json)>,
    columns: Vec<(Regex, Regex, Treatment)>,
    quota: Option<Quota>,
}

impl Rules {
    /// `everyone` names roles that all principals have; `secret` keys the hashes of masked columns. Refuses roles that
    /// include each other in a circle or that are not there, and what is no regular expression, filter or period.
    pub fn new(
        version: u64,
        roles: BTreeMap<String, Role>,
        tables: BTreeMap<String, TableRule>,
        everyone: BTreeSet<String>,
        secret: String,
    ) -> Result<Rules> {
        let mut compiled = BTreeMap::new();
        for (name, role) in &roles {
            if name == ADMIN {
                return Err(Error::Invalid(format!("the role [{ADMIN}] is built in and cannot be changed")));
            }
            for include in &role.includes {
                if include != ADMIN && !roles.contains_key(include) {
                    return Err(Error::Invalid(format!("roles.{name}.includes: there is no role [{include}]")));
                }
            }
            compiled.insert(name.clone(), role.compile(&format!("roles.{name}"))?);
        }
        for name in roles.keys() {
            let mut path = vec![name.as_str()];
            circle(&roles, &mut path)?;
        }
        let mut marked = BTreeMap::new();
        for (name, table) in &tables {
            let public = table.public_columns.iter();
            let public = public.map(|text| whole(text, &format!("datasources.{name}.publicColumns")));
            marked.insert(name.clone(), (table.require_policy, public.collect::<Result<_>>()?));
        }
        let secret_digest = digest(&secret);
        let said = serde_json::to_string(&(&roles, &tables, &everyone));
        let stamp = digest(&said.map_err(|error| Error::Bug(error.to_string()))?);
        Ok(Rules {
            version,
            stamp,
            roles: compiled,
            tables: marked,
            everyone,
            secret,
            secret_digest,
            worked_out: WorkedOut::default(),
        })
    }

    /// Everyone has the role [`ADMIN`].
    pub fn open() -> Rules {
        let everyone = BTreeSet::from([ADMIN.to_string()]);
        Rules {
            version: 0,
            stamp: String::new(),
            roles: BTreeMap::new(),
            tables: BTreeMap::new(),
            everyone,
            secret: String::new(),
            secret_digest: String::new(),
            worked_out: WorkedOut::default(),
        }
    }

    /// Of the same version and secret, without a role or a rule but what is built in.
    pub fn without_any(&self) -> Rules {
        Rules {
            version: self.version,
            stamp: "none".to_string(),
            roles: BTreeMap::new(),
            tables: BTreeMap::new(),
            everyone: BTreeSet::new(),
            secret: self.secret.clone(),
            secret_digest: self.secret_digest.clone(),
            worked_out: WorkedOut::default(),
        }
    }

    /// Of the newest document that there is: grows with every change but deletions.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether everyone may do everything, so that nobody is told from others.
    pub fn is_open(&self) -> bool {
        self.everyone.contains(ADMIN)
    }

    /// The same of rules that say the same, whoever goes by them and whenever.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// All roles that a principal has, included ones too. Names of roles that are not there stand for nothing.
    pub fn roles_of(&self, who: &Principal) -> BTreeSet<String> {
        self.included(who.roles.iter().chain(&self.everyone))
    }

    /// Those by whose permissions it acts.
    fn acting(&self, who: &Principal) -> BTreeSet<String> {
        match &who.scope {
            None => self.roles_of(who),
            Some(_) => self.included(who.acting_roles().iter()),
        }
    }

    fn included<'a>(&'a self, roles: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut pending: Vec<&String> = roles.collect();
        while let Some(name) = pending.pop() {
            if (name == ADMIN || self.roles.contains_key(name)) && all.insert(name.clone()) {
                pending.extend(self.roles.get(name).into_iter().flat_map(|role| &role.includes));
            }
        }
        all
    }

    fn each<'a>(&'a self, who: &Principal) -> impl Iterator<Item = &'a Compiled> + use<'a> {
        self.roles_of(who).into_iter().filter_map(|name| self.roles.get(&name))
    }

    /// Whether a principal may do that to a thing of that name. Whoever may write a datasource may also read and write
    /// its supervisors and tasks. What the store keeps of itself is a system table, whatever it is asked as: a pattern
    /// that means all datasources does not mean the audit log.
    pub fn may(&self, who: &Principal, kind: Kind, name: &str, action: Action) -> bool {
        let acting = self.acting(who);
        if acting.contains(ADMIN) {
            return true;
        }
        let (kind, name) = match (kind, segment::system_table(name)) {
            (Kind::Datasource | Kind::Supervisor | Kind::Task, Some(table)) => (Kind::SystemTable, table),
            _ => (kind, name),
        };
        // As its last sample, which `/metrics` is.
        let (kind, name) = match (kind, name) {
            (Kind::SystemTable, METRICS) => (Kind::State, STATE),
            other => other,
        };
        let roles = acting.iter().filter_map(|name| self.roles.get(name));
        roles.flat_map(|role| &role.permissions).any(|(of, allowed, pattern)| {
            let implied =
                *of == Kind::Datasource && *allowed == Action::Write && matches!(kind, Kind::Supervisor | Kind::Task);
            // The audit log holds what everybody asked: a pattern that means all system tables does not mean it.
            let named = kind != Kind::SystemTable || name != AUDIT || pattern.as_str() == whole_text(AUDIT);
            ((*of == kind && *allowed == action) || implied) && named && pattern.is_match(name)
        })
    }

    /// Whether a principal, if it may read the table at all, sees less than all of it.
    pub fn is_restricted(&self, who: &Principal, table: &str) -> bool {
        !matches!(self.restriction(who, table), Ok(Restriction::Unrestricted))
    }

    /// The largest quota of the principal's roles; `None` if one of them has none.
    pub fn quota(&self, who: &Principal) -> Quota {
        let roles = self.roles_of(who);
        if roles.contains(ADMIN) {
            return Quota::default();
        }
        let quotas: Vec<&Quota> = self.each(who).filter_map(|role| role.quota.as_ref()).collect();
        let most = |of: fn(&Quota) -> Option<u64>| -> Option<u64> {
            quotas.iter().map(|quota| of(quota)).collect::<Option<Vec<_>>>()?.into_iter().max()
        };
        Quota {
            concurrent: most(|quota| quota.concurrent),
            memory_bytes: most(|quota| quota.memory_bytes),
            scanned_bytes: most(|quota| quota.scanned_bytes),
        }
    }

    /// What a principal sees of a table, which it must be allowed to read. Denied, too, if every policy that would show
    /// rows, or one that must, names what the account lacks.
    pub fn restriction(&self, who: &Principal, table: &str) -> Result<Restriction> {
        let mut kept = self.worked_out.lock();
        if let Some((_, known)) = kept.get(table).into_iter().flatten().find(|(of, _)| of == who) {
            return Ok(known.clone());
        }
        let restriction = self.work_out(who, table)?;
        if kept.values().map(Vec::len).sum::<usize>() >= WORKED_OUT_MAX {
            kept.clear();
        }
        kept.entry(table.to_string()).or_default().push((who.clone(), restriction.clone()));
        Ok(restriction)
    }

    fn work_out(&self, who: &Principal, table: &str) -> Result<Restriction> {
        if !self.may(who, Kind::Datasource, table, Action::Read) {
            return Err(denied(table));
        }
        let (mut permissive, mut restrictive) = (Vec::new(), Vec::new());
        let mut lacking = BTreeSet::new();
        for (pattern, kind, filter) in self.each(who).flat_map(|role| &role.policies) {
            if !pattern.is_match(table) {
                continue;
            }
            match (kind, identified(filter, who)) {
                (PolicyKind::Permissive, Ok(filter)) => permissive.push(filter),
                (PolicyKind::Permissive, Err(what)) => {
                    lacking.insert(what);
                }
                (PolicyKind::Restrictive, Ok(filter)) => restrictive.push(filter),
                (PolicyKind::Restrictive, Err(what)) => return Err(lacks(table, &what)),
            }
        }
        if let (true, Some(what)) = (permissive.is_empty(), lacking.first()) {
            return Err(lacks(table, what));
        }
        let marked = self.tables.get(table);
        let mut parts = restrictive;
        match permissive.len() {
            // Whoever may do everything could write a policy as well: the mark is for the others, and for those who do not
            // act by that role.
            0 if marked.is_some_and(|(required, _)| *required) && !self.acting(who).contains(ADMIN) => {
                parts.push(json!({"type": "false"}));
            }
            0 => {}
            1 => parts.extend(permissive),
            _ => parts.push(json!({"type": "or", "fields": ordered(permissive)})),
        }
        // A policy that lets all rows through restricts nothing.
        parts.retain(|part| *part != json!({"type": "true"}));
        let columns: Vec<(Regex, Treatment)> = self
            .each(who)
            .flat_map(|role| &role.columns)
            .filter(|(pattern, ..)| pattern.is_match(table))
            .map(|(_, column, rule)| (column.clone(), rule.clone()))
            .collect();
        if parts.is_empty() && columns.is_empty() {
            return Ok(Restriction::Unrestricted);
        }
        let filter_json = match parts.len() {
            0 => None,
            1 => parts.pop(),
            _ => Some(json!({"type": "and", "fields": ordered(parts)})),
        };
        let filter = filter_json.as_ref().map(|json| Filter::from_json(json, "policy")).transpose()?;
        // A number that a policy names stays one where a segment has the column as text.
        let filter = filter.map(Filter::strict);
        let treatments: Vec<(&str, &Treatment)> = columns.iter().map(|(of, rule)| (of.as_str(), rule)).collect();
        let public = marked.map(|(_, public)| public.clone()).unwrap_or_default();
        let told: Vec<&str> = public.iter().map(Regex::as_str).collect();
        let mut key = json!({"filter": filter_json, "columns": treatments, "public": told});
        if !treatments.is_empty() {
            key["secret"] = self.secret_digest.clone().into();
        }
        let key = key.to_string();
        Ok(Restriction::Restricted(Arc::new(Restricted {
            key,
            filter,
            filter_json,
            columns,
            public,
            secret: self.secret.clone(),
        })))
    }
}

/// Stands for a secret where it may be read: 16 hexadecimal digits, of a text that is random and long.
fn digest(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Role {
    /// Refuses what cannot be meant; `path` is where the role stands.
    fn compile(&self, path: &str) -> Result<Compiled> {
        let mut permissions = Vec::new();
        for (idx, permission) in self.permissions.iter().enumerate() {
            let pattern = whole(&permission.resource.name, &format!("{path}.permissions[{idx}].resource.name"))?;
            permissions.push((permission.resource.kind, permission.action, pattern));
        }
        let mut policies = Vec::new();
        for (idx, policy) in self.policies.iter().enumerate() {
            let at = format!("{path}.policies[{idx}]");
            let pattern = whole(&policy.datasource, &format!("{at}.datasource"))?;
            let Some(filter) = &policy.filter else {
                return Err(Error::Invalid(format!("{at}.filter is missing; give filter (native) or sql")));
            };
            check_filter(filter, &format!("{at}.filter"))?;
            policies.push((pattern, policy.kind, filter.clone()));
        }
        let mut columns = Vec::new();
        for (idx, rule) in self.columns.iter().enumerate() {
            let at = format!("{path}.columns[{idx}]");
            let datasource = whole(&rule.datasource, &format!("{at}.datasource"))?;
            let column = whole(&rule.column, &format!("{at}.column"))?;
            if column.is_match(TIME) && !matches!(rule.rule, Treatment::TruncateTime { .. }) {
                return Err(Error::Invalid(format!(
                    "{at}.column: {TIME} can only be truncated; write a pattern that does not match it"
                )));
            }
            if let Treatment::TruncateTime { period } = &rule.rule
                && (Granularity::period(period, "UTC", None).is_err() || period.contains(['\\', '\'']))
            {
                return Err(Error::Invalid(format!(
                    "{at}.rule.period: [{period}] is no ISO 8601 period, such as PT1H or P1D"
                )));
            }
            columns.push((datasource, column, rule.rule.clone()));
        }
        Ok(Compiled { includes: self.includes.clone(), permissions, policies, columns, quota: self.quota.clone() })
    }
}

/// Refuses roles that lead back to one on the path.
fn circle<'a>(roles: &'a BTreeMap<String, Role>, path: &mut Vec<&'a str>) -> Result<()> {
    let last = path.last().copied().unwrap_or_default();
    if path.len() > INCLUDES_DEPTH_MAX {
        return Err(Error::Invalid(format!("roles.{}.includes: roles may include {INCLUDES_DEPTH_MAX} deep", path[0])));
    }
    for include in roles.get(last).into_iter().flat_map(|role| &role.includes) {
        if path.contains(&include.as_str()) {
            return Err(Error::Invalid(format!(
                "roles.{last}.includes: [{include}] includes [{last}] itself, which is a circle: {} -> {include}",
                path.join(" -> ")
            )));
        }
        path.push(include);
        circle(roles, path)?;
        path.pop();
    }
    Ok(())
}

/// A dot means any character, line feeds as well: a name may have some.
fn whole_text(text: &str) -> String {
    format!("(?s)^(?:{text})$")
}

/// A pattern that matches whole names.
fn whole(text: &str, path: &str) -> Result<Regex> {
    Regex::new(&whole_text(text))
        .map_err(|error| Error::Invalid(format!("{path}: [{text}] is no regular expression: {error}")))
}

fn denied(table: &str) -> Error {
    Error::Denied(format!(
        "you may not read datasource [{table}], or there is none; ask an administrator for a role that may"
    ))
}

fn lacks(table: &str, what: &str) -> Error {
    Error::Denied(format!(
        "a policy of datasource [{table}] needs {what}, which your account has not; ask an administrator to set it"
    ))
}

/// The same for the same filters, in whatever order roles gave them.
fn ordered(mut parts: Vec<Json>) -> Vec<Json> {
    parts.sort_by_cached_key(Json::to_string);
    parts.dedup();
    parts
}
