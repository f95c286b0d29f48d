//! What roles allow: permissions on things, rows and columns of tables. Documents of roles come in, and of tables that are
//! marked; out of them come answers: may this principal do that, and what of this table does it see.
//!
//! How rules of several roles come together:
//!
//! 1. A principal has its own roles, those that everyone has, and what these include.
//! 2. A permission of any of them is enough; without one the thing is denied.
//! 3. Row policies of all of them that are about a table: a row is seen if any permissive one lets it through and every
//!    restrictive one does. Without a permissive one all rows are seen, unless the table is marked `requirePolicy`: then
//!    none, but by administrators. A role without a policy widens nothing.
//! 4. Column rules of all of them hold: a denied column is not there; of a masked one the mask is seen; two different masks
//!    of one column show nulls.
//!
//! A policy may name the caller: in place of a value, `{"identity": "user"}`, `{"identity": "groups"}` or
//! `{"identity": "attribute", "name": "tenant"}` stand for the values that the principal has. A policy that names what the
//! principal lacks lets nothing through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use segment::expr::Expr;
use segment::filter::Filter;
use segment::schema::{TIME, ValueType};
use segment::time::Granularity;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::admission::Principal;
use crate::error::{Error, Result};
use crate::language::VirtualColumn;

/// The role that may do everything and sees every row. It is always there and is not kept as a document.
pub const ADMIN: &str = "admin";

/// The system table that only its own name permits.
const AUDIT: &str = "audit";

/// Roles may include each other this deep.
const INCLUDES_DEPTH_MAX: usize = 16;

/// Values that a policy may put in place of an identity.
const IDENTITY_VALUES_MAX: usize = 10_000;

/// Filters in which an identity may stand, and where: anywhere else (in patterns, expressions, names of columns) a value of
/// it could mean more than itself.
const COMPARES: [(&str, &str); 5] = [
    ("equals", "matchValue"),
    ("selector", "value"),
    ("in", "values"),
    ("inType", "values"),
    ("arrayContainsElement", "elementMatchValue"),
];

/// The column whose equality with a text asks whether the caller is in that group, in filters made from SQL.
pub const MEMBER_COLUMN: &str = "\u{2}member";

/// What is allowed to whoever has the role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Role {
    /// Roles whose rules this one has too.
    pub includes: Vec<String>,
    pub permissions: Vec<Permission>,
    pub policies: Vec<RowPolicy>,
    pub columns: Vec<ColumnRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// Druid's form of a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    pub resource: Resource,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// A regular expression that must match the whole name.
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    Datasource,
    View,
    Lookup,
    SystemTable,
    /// Named by its datasource.
    Supervisor,
    /// Named by its datasource.
    Task,
    Config,
    State,
    Security,
    External,
    QueryContext,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    Read,
    Write,
}

/// Which rows of a datasource are seen. One of `filter` and `sql` is posted; what is kept has both, if it came as SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowPolicy {
    pub name: String,
    /// A regular expression that must match the whole name.
    pub datasource: String,
    #[serde(default)]
    pub kind: PolicyKind,
    /// A native filter in which identities may stand for values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyKind {
    #[default]
    Permissive,
    Restrictive,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnRule {
    /// A regular expression that must match the whole name, as `column`.
    pub datasource: String,
    pub column: String,
    pub rule: Treatment,
}

/// What is done to a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Treatment {
    /// As if there were no such column.
    Deny,
    Null,
    /// A text that is the same for equal values and cannot be turned back.
    Hash,
    /// The last characters only, after `***`.
    KeepLast {
        n: u16,
    },
    /// Times rounded down to a period (ISO 8601, such as `P1D`).
    TruncateTime {
        period: String,
    },
}

/// How much whoever has the role may ask for; of several roles' quotas the largest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quota {
    /// Queries at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
    /// Of one query's groups and results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// How a datasource is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TableRule {
    /// Whoever has no permissive policy sees no row.
    pub require_policy: bool,
    /// Columns (whole-name regular expressions) whose being there is told to all who may read the datasource. Of the
    /// others, callers with a row policy are told only if one of their rows has a value.
    pub public_columns: Vec<String>,
}

/// One numbered picture of all rules.
#[derive(Debug)]
pub struct Rules {
    version: u64,
    roles: BTreeMap<String, Compiled>,
    tables: BTreeMap<String, (bool, Vec<Regex>)>,
    everyone: BTreeSet<String>,
    secret: String,
}

#[derive(Debug)]
struct Compiled {
    includes: Vec<String>,
    permissions: Vec<(Kind, Action, Regex)>,
    policies: Vec<(Regex, PolicyKind, Json)>,
    columns: Vec<(Regex, Regex, Treatment)>,
    quota: Option<Quota>,
}

/// What a principal sees of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Restriction {
    /// Every row and column: said, never assumed.
    Unrestricted,
    Restricted(Arc<Restricted>),
}

#[derive(Debug)]
pub struct Restricted {
    /// Equal for equal restrictions: what is kept for a query is kept under it.
    pub key: String,
    /// The rows that are seen; `None` is all of them.
    pub filter: Option<Filter>,
    /// The same in Druid's JSON.
    pub filter_json: Option<Json>,
    columns: Vec<(Regex, Treatment)>,
    public: Vec<Regex>,
    secret: String,
}

impl PartialEq for Restricted {
    fn eq(&self, other: &Restricted) -> bool {
        self.key == other.key
    }
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
        Ok(Rules { version, roles: compiled, tables: marked, everyone, secret })
    }

    /// Everyone has the role [`ADMIN`].
    pub fn open() -> Rules {
        let everyone = BTreeSet::from([ADMIN.to_string()]);
        Rules { version: 0, roles: BTreeMap::new(), tables: BTreeMap::new(), everyone, secret: String::new() }
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
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
        Quota { concurrent: most(|quota| quota.concurrent), memory_bytes: most(|quota| quota.memory_bytes) }
    }

    /// What a principal sees of a table, which it must be allowed to read. Denied, too, if every policy that would show
    /// rows, or one that must, names what the account lacks.
    pub fn restriction(&self, who: &Principal, table: &str) -> Result<Restriction> {
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
            // Whoever may do everything could write a policy as well: the mark is for the others.
            0 if marked.is_some_and(|(required, _)| *required) && !self.roles_of(who).contains(ADMIN) => {
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
        let treatments: Vec<(&str, &Treatment)> = columns.iter().map(|(of, rule)| (of.as_str(), rule)).collect();
        let public = marked.map(|(_, public)| public.clone()).unwrap_or_default();
        let told: Vec<&str> = public.iter().map(Regex::as_str).collect();
        let key = json!({"filter": filter_json, "columns": treatments, "public": told}).to_string();
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

impl Restricted {
    /// What is done to a column; `None`: it is seen as it is.
    pub fn treatment(&self, column: &str) -> Option<Treatment> {
        let mut found: Option<&Treatment> = None;
        for (_, rule) in self.columns.iter().filter(|(pattern, _)| pattern.is_match(column)) {
            found = match found {
                _ if *rule == Treatment::Deny => return Some(Treatment::Deny),
                Some(other) if other != rule => Some(&Treatment::Null),
                _ => Some(rule),
            };
        }
        found.cloned()
    }

    /// Whether there are rules about columns at all.
    pub fn treats_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    pub fn is_denied(&self, column: &str) -> bool {
        self.treatment(column) == Some(Treatment::Deny)
    }

    /// Whether the being there of a column is told, whoever's rows have values in it.
    pub fn is_public(&self, column: &str) -> bool {
        self.public.iter().any(|pattern| pattern.is_match(column))
    }

    /// What is seen in place of a column of that type, as a virtual column that reads the column itself.
    pub fn mask(&self, column: &str, value_type: &ValueType) -> Option<VirtualColumn> {
        let read = format!("\"{}\"", column.replace('\\', "\\\\").replace('"', "\\\""));
        let (text, output_type) = match self.treatment(column)? {
            Treatment::Deny | Treatment::Null => ("null".to_string(), value_type.clone()),
            Treatment::Hash => (format!("mask_hash({read}, '{}')", self.secret), ValueType::String),
            Treatment::KeepLast { n } => (format!("mask_keep_last({read}, {n})"), ValueType::String),
            Treatment::TruncateTime { period } => match value_type {
                ValueType::String => {
                    let floor = format!("timestamp_format(timestamp_floor(timestamp({read}), '{period}'))");
                    (floor, ValueType::String)
                }
                _ => (format!("timestamp_floor(cast({read}, 'LONG'), '{period}')"), ValueType::Long),
            },
        };
        let expr = Expr::parse(&text).unwrap_or_else(|_| Expr::parse("null").expect("null is an expression"));
        Some(VirtualColumn { name: column.to_string(), expr, output_type: Some(output_type) })
    }

    /// What times of rows are rounded down to.
    pub fn rounding(&self) -> Result<Option<Granularity>> {
        match self.treatment(TIME) {
            None => Ok(None),
            Some(Treatment::TruncateTime { period }) => Ok(Some(Granularity::period(&period, "UTC", None)?)),
            Some(_) => Err(Error::Denied(format!(
                "your roles truncate {TIME} to different periods; ask an administrator to let them agree"
            ))),
        }
    }
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
            if let Treatment::TruncateTime { period } = &rule.rule {
                if Granularity::period(period, "UTC", None).is_err() || period.contains(['\\', '\'']) {
                    return Err(Error::Invalid(format!(
                        "{at}.rule.period: [{period}] is no ISO 8601 period, such as PT1H or P1D"
                    )));
                }
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

fn whole_text(text: &str) -> String {
    format!("^(?:{text})$")
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

/// Tries a filter with made-up identities.
fn check_filter(filter: &Json, path: &str) -> Result<()> {
    let mut who = Principal::new("someone");
    who.groups = BTreeSet::from(["group".to_string()]);
    names(filter, &mut |name| {
        who.attributes.insert(name.to_string(), vec!["value".to_string()]);
    });
    let one = identified(filter, &who).map_err(|what| Error::Invalid(format!("{path}: {what}")))?;
    Filter::from_json(&one, path)?;
    Ok(())
}

/// Calls for the name of each attribute that a filter names.
fn names(json: &Json, each: &mut dyn FnMut(&str)) {
    match json {
        Json::Object(object) => {
            if object.get("identity").is_some()
                && let Some(name) = object.get("name").and_then(Json::as_str)
            {
                each(name);
            }
            object.values().for_each(|value| names(value, each));
        }
        Json::Array(items) => items.iter().for_each(|item| names(item, each)),
        _ => {}
    }
}

/// A filter with the principal's values in place of identities; else what the principal lacks.
fn identified(json: &Json, who: &Principal) -> std::result::Result<Json, String> {
    match json {
        Json::Object(object) => {
            if object.contains_key("identity") {
                return match values_of(json, who)?.as_slice() {
                    [one] => Ok(one.clone().into()),
                    _ => Err("one value where the policy compares with one (let it use = or IN)".to_string()),
                };
            }
            if let Some(group) = member(json) {
                let kind = if who.groups.contains(group) { "true" } else { "false" };
                return Ok(json!({"type": kind}));
            }
            if let Some(several) = equality(json, who)? {
                return Ok(several);
            }
            let kind = object.get("type").and_then(Json::as_str).unwrap_or_default();
            let place = COMPARES.iter().find(|(of, _)| *of == kind).map(|(_, field)| *field);
            if object.iter().any(|(field, value)| names_identity(value) && Some(field.as_str()) != place) {
                let places: Vec<String> = COMPARES.iter().map(|(of, field)| format!("{field} of {of}")).collect();
                return Err(format!("identities to stand as {}, and nowhere else", places.join(", ")));
            }
            let column = object.get("column").or_else(|| object.get("dimension")).and_then(Json::as_str);
            if column.is_some_and(|name| name.starts_with('\u{2}')) {
                return Err("membership in a group to be asked by = alone".to_string());
            }
            let fields = object.iter().map(|(name, value)| Ok((name.clone(), identified(value, who)?)));
            Ok(Json::Object(fields.collect::<std::result::Result<_, String>>()?))
        }
        Json::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                match item.get("identity") {
                    Some(_) => all.extend(values_of(item, who)?.into_iter().map(Json::from)),
                    None => all.push(identified(item, who)?),
                }
            }
            Ok(Json::Array(all))
        }
        other => Ok(other.clone()),
    }
}

/// Whether it is an identity, or a list with one.
fn names_identity(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(names_identity),
        _ => json.get("identity").is_some(),
    }
}

/// The group that a test asks about, if that is what it does.
fn member(json: &Json) -> Option<&str> {
    let column = json.get("column").or_else(|| json.get("dimension"))?;
    let equality = matches!(json.get("type").and_then(Json::as_str), Some("equals" | "selector"));
    if column.as_str() != Some(MEMBER_COLUMN) || !equality {
        return None;
    }
    json.get("matchValue").or_else(|| json.get("value"))?.as_str()
}

/// An equality with an identity that may have several values: any of them.
fn equality(json: &Json, who: &Principal) -> std::result::Result<Option<Json>, String> {
    let (column, value) = match json.get("type").and_then(Json::as_str) {
        Some("equals") => (json.get("column"), json.get("matchValue")),
        Some("selector") => (json.get("dimension"), json.get("value")),
        _ => return Ok(None),
    };
    let (Some(column), Some(value)) = (column, value) else { return Ok(None) };
    if value.get("identity").is_none() {
        return Ok(None);
    }
    let values = values_of(value, who)?;
    if values.len() == 1 {
        return Ok(None);
    }
    Ok(Some(json!({"type": "in", "dimension": column, "values": values})))
}

/// What an identity stands for: at least one value.
fn values_of(identity: &Json, who: &Principal) -> std::result::Result<Vec<String>, String> {
    let name = identity.get("name").and_then(Json::as_str).unwrap_or_default();
    let (values, what) = match identity["identity"].as_str() {
        Some("user") => (vec![who.name.clone()], "a user's name".to_string()),
        Some("groups") => (who.groups.iter().cloned().collect(), "membership in a group".to_string()),
        Some("attribute") => (who.attributes.get(name).cloned().unwrap_or_default(), format!("the attribute [{name}]")),
        _ => return Err("identity to be user, groups or attribute (with a name)".to_string()),
    };
    match values.len() {
        0 => Err(what),
        count if count > IDENTITY_VALUES_MAX => Err(format!("at most {IDENTITY_VALUES_MAX} values of {what}")),
        _ => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(roles: Json) -> Result<Rules> {
        let roles: BTreeMap<String, Role> = serde_json::from_value(roles).expect("roles");
        Rules::new(1, roles, BTreeMap::new(), BTreeSet::new(), "key".into())
    }

    fn policed(filter: Json) -> Json {
        json!({"r": {
            "permissions": [{"resource": {"type": "DATASOURCE", "name": "t"}, "action": "READ"}],
            "policies": [{"name": "p", "datasource": "t", "filter": filter}],
        }})
    }

    fn who() -> Principal {
        let mut who = Principal::new("ann");
        who.roles.insert("r".into());
        who.attributes.insert("tenants".into(), vec!["A".into(), "B".into()]);
        who
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let cases = [
            (json!({"a": {"includes": ["b"]}, "b": {"includes": ["a"]}}), "a circle"),
            (json!({"a": {"includes": ["a"]}}), "a circle"),
            (json!({"a": {"includes": ["gone"]}}), "roles.a.includes: there is no role [gone]"),
            (json!({"admin": {}}), "built in"),
            (policed(json!({"type": "nothing"})), "roles.r.policies[0].filter"),
            (policed(json!({"type": "like", "dimension": "u", "pattern": {"identity": "user"}})), "and nowhere else"),
            (policed(json!({"type": "regex", "dimension": "u", "pattern": {"identity": "user"}})), "and nowhere else"),
            (
                policed(
                    json!({"type": "range", "column": "u", "matchValueType": "STRING", "lower": {"identity": "user"}}),
                ),
                "and nowhere else",
            ),
            (
                policed(
                    json!({"type": "equals", "column": {"identity": "user"}, "matchValueType": "STRING", "matchValue": "x"}),
                ),
                "and nowhere else",
            ),
            (policed(json!({"type": "in", "dimension": MEMBER_COLUMN, "values": ["a", "b"]})), "by = alone"),
            (
                policed(json!({"type": "selector", "dimension": "u", "value": {"identity": "shoe size"}})),
                "identity to be",
            ),
            (
                json!({"r": {"columns": [{"datasource": "t", "column": "__t.*", "rule": {"type": "deny"}}]}}),
                "can only be truncated",
            ),
            (
                json!({"r": {"columns": [{"datasource": "t", "column": "x", "rule": {"type": "truncateTime", "period": "day"}}]}}),
                "no ISO 8601 period",
            ),
            (
                json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": "("}, "action": "READ"}]}}),
                "no regular expression",
            ),
        ];
        for (roles, says) in cases {
            let error = rules(roles.clone()).expect_err(&roles.to_string()).to_string();
            assert!(error.contains(says), "{roles}: {error}");
        }
    }

    #[test]
    fn several_values_are_any_of_them_and_what_is_lacking_is_denied() {
        let tenants = json!({"identity": "attribute", "name": "tenants"});
        let of = |filter: Json, who: &Principal| rules(policed(filter)).expect("rules").restriction(who, "t");
        let equals = json!({"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": tenants});
        let Ok(Restriction::Restricted(seen)) = of(json!({"type": "not", "field": equals.clone()}), &who()) else {
            panic!("restricted")
        };
        let any = json!({"type": "in", "dimension": "tenant", "values": ["A", "B"]});
        assert_eq!(seen.filter_json, Some(json!({"type": "not", "field": any})));
        // Acting by fewer roles takes permissions away, and no policy.
        let scoped = |scope: &[&str]| Principal { scope: Some(scope.iter().map(|s| s.to_string()).collect()), ..who() };
        assert!(matches!(of(equals.clone(), &scoped(&[])), Err(Error::Denied(_))));
        assert!(matches!(of(equals.clone(), &scoped(&["r"])), Ok(Restriction::Restricted(_))));
        let error = of(equals, &Principal { attributes: BTreeMap::new(), ..who() }).expect_err("denied").to_string();
        assert!(error.contains("the attribute [tenants]"), "{error}");
        assert!(matches!(of(json!({"type": "true"}), &Principal::new("bob")), Err(Error::Denied(_))));
        assert_eq!(of(json!({"type": "true"}), &who()).expect("seen"), Restriction::Unrestricted);
    }

    #[test]
    fn patterns_match_whole_names_and_the_audit_log_is_a_system_table() {
        let rules = rules(
            json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": "a|b.*"}, "action": "WRITE"}]}}),
        );
        let rules = rules.expect("rules");
        let may = |kind, name, action| rules.may(&who(), kind, name, action);
        assert!(may(Kind::Datasource, "a", Action::Write) && may(Kind::Task, "bcd", Action::Read));
        assert!(!may(Kind::Datasource, "ab", Action::Write) && !may(Kind::Datasource, "a", Action::Read));
        let all = json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}]}});
        assert!(!super::tests::rules(all).expect("rules").may(&who(), Kind::Datasource, "sys.audit", Action::Read));
        for (pattern, allowed) in [(".*", false), ("audit", true)] {
            let tables = json!({"r": {"permissions": [{"resource": {"type": "SYSTEM_TABLE", "name": pattern}, "action": "READ"}]}});
            let may =
                super::tests::rules(tables).expect("rules").may(&who(), Kind::Datasource, "sys.audit", Action::Read);
            assert_eq!(may, allowed, "{pattern}");
        }
    }
}
