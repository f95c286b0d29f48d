//! What is written of roles and of tables that are marked: the documents, as they come in and are kept.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

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
    /// Of the columns that one query names, where it asks: as they are kept, or eight for each value of what is seen in
    /// part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned_bytes: Option<u64>,
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
