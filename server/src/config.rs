//! Settings as written (file, then `HENGE_*`, then flags, each overriding the one before) and as checked.
//!
//! [`KEYS`] is the one list of what can be set: it names every key with its default and a sentence.
//! `deploy/henge.toml` is printed from it (a test keeps them equal), and an unknown key anywhere is refused with the
//! nearest known one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::auth::oidc::{OidcSettings, is_trustworthy};
use axum::http::HeaderValue;
use segment::storage::settings::DeepStorageSettings;

use crate::traces::Settings as TraceSettings;

mod cache;
mod cluster;
mod keys;
pub mod machine;

pub use cache::CacheSettings;
pub use cluster::{ClusterSettings, Split};
pub use keys::{KEYS, Key};

/// Checked settings, every path resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that settings were read from.
    pub file: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub host: String,
    pub port: u16,
    pub tls: Option<crate::tls::Settings>,
    pub cors_origins: Vec<HeaderValue>,
    pub requests_per_second: u64,
    pub body_idle: Duration,
    /// Of the bodies of all requests at once.
    pub bodies_max_bytes: u64,
    pub header_max: Duration,
    pub connections_max: usize,
    pub log_level: String,
    pub log_json: bool,
    /// `None` where no collector is named.
    pub traces: Option<TraceSettings>,
    pub auth: AuthSettings,
    pub query_threads: usize,
    pub query_concurrent_max: usize,
    pub query_lanes: BTreeMap<String, usize>,
    pub query_memory_max_bytes: usize,
    pub query_memory_total_bytes: u64,
    pub query_policy_cache_bytes: u64,
    pub cache: CacheSettings,
    pub query_timeout_ms: u64,
    pub query_timeout_max_ms: u64,
    pub query_body_max_bytes: usize,
    /// For keys that a query does not set itself.
    pub query_default_context: serde_json::Map<String, serde_json::Value>,
    pub jdbc: JdbcLimits,
    pub flight: FlightLimits,
    pub statement_ttl: Duration,
    pub statement_bytes_max: u64,
    pub statement_owner_bytes_max: u64,
    pub audit: crate::audit::Settings,
    pub samples: crate::samples::Settings,
    pub tasks_max: usize,
    pub ingest_body_max_bytes: usize,
    pub http_sources: ingest::HttpSources,
    pub cluster: ClusterSettings,
    pub deep_storage: DeepStorageSettings,
    pub cache_max_bytes: u64,
    pub local_sources: Vec<String>,
    pub cycle_ms: u64,
    pub fail_point: Option<String>,
}

/// How callers are known.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    pub required: bool,
    /// Whoever reaches the port may do everything, and somebody said so in as many words.
    pub anywhere: bool,
    /// Names by which this node is asked, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    pub first_password: Option<String>,
    pub failures_max: u32,
    pub lockout: Duration,
    pub remember: Duration,
    pub session_idle_ms: i64,
    pub session_max_ms: i64,
    pub oidc: Option<OidcSettings>,
}

/// What has to be said for a port that is open to everybody.
const ANYWHERE: &str = "yes, anyone who can reach this port may do everything";

/// For all queries, where the system does not say how much memory there is.
const MEMORY_UNTOLD: u64 = 4 << 30;

/// With less for all queries none could do anything.
const MEMORY_TOTAL_MIN: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub struct JdbcLimits {
    pub connections_max: usize,
    pub statements_max: usize,
    pub idle: Duration,
}

#[derive(Debug, Clone)]
pub struct FlightLimits {
    pub statements_max: usize,
    pub idle: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: {reason}")]
    Syntax { path: PathBuf, reason: String },
    #[error("{place}: unknown setting '{name}'; did you mean '{nearest}'?")]
    Unknown { place: String, name: String, nearest: &'static str },
    #[error("{place}: '{name}' = '{value}': {reason}")]
    Value { place: String, name: String, value: String, reason: String },
}

/// Where a value came from, for the error that names it.
type Written = BTreeMap<String, (String, String)>;

impl Config {
    /// `environment` is the process's variables; `flags` are (key, value) in the order given.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Config, ConfigError> {
        let mut written = Written::new();
        if let Some(path) = file {
            read_file(path, &mut written)?;
        }
        let mut aws = Vec::new();
        for (name, value) in environment {
            if name.starts_with("AWS_") {
                aws.push((name, value));
                continue;
            }
            let Some(rest) = name.strip_prefix("HENGE_") else { continue };
            let Some(key) = KEYS.iter().find(|k| env_name(k.name) == rest) else {
                return Err(unknown("the environment", &name, |k| format!("HENGE_{}", env_name(k))));
            };
            written.insert(key.name.into(), (value, format!("environment variable {name}")));
        }
        for (name, value) in flags {
            if !KEYS.iter().any(|k| k.name == name) {
                return Err(unknown("the command line", name, str::to_string));
            }
            written.insert(name.clone(), (value.clone(), "the command line".into()));
        }
        Ok(Config { file: file.map(Path::to_path_buf), ..check(&written, &aws)? })
    }
}

/// `deploy/henge.toml`: every key with its default and sentence.
pub fn commented_file() -> String {
    let mut text = String::from(
        "# Every setting of Henge with its default. A file overrides defaults, HENGE_SECTION_NAME in the environment\n\
         # overrides the file, flags override both. Unknown keys are refused.\n",
    );
    let section_of = |key: &Key| key.name.split_once('.').map_or("", |(section, _)| section);
    let mut sections: Vec<&str> = Vec::new();
    for key in KEYS {
        if !sections.contains(&section_of(key)) {
            sections.push(section_of(key));
        }
    }
    for section in sections {
        if !section.is_empty() {
            text.push_str(&format!("\n[{section}]\n"));
        }
        for key in KEYS.iter().filter(|k| section_of(k) == section) {
            push(&mut text, key, key.name.split_once('.').map_or(key.name, |(_, name)| name));
        }
    }
    text
}

fn push(text: &mut String, key: &Key, name: &str) {
    let number = !key.default.is_empty() && key.default.bytes().all(|b| b.is_ascii_digit());
    let value = if number || matches!(key.default, "true" | "false") {
        key.default.to_string()
    } else {
        format!("\"{}\"", key.default)
    };
    text.push_str(&format!("# {}\n{name} = {value}\n", key.sentence));
}

fn env_name(key: &str) -> String {
    key.replace('.', "_").to_ascii_uppercase()
}

fn unknown(place: &str, name: &str, form: impl Fn(&str) -> String) -> ConfigError {
    let nearest = KEYS.iter().min_by_key(|k| strsim::levenshtein(&form(k.name), name)).map_or("data_dir", |k| k.name);
    ConfigError::Unknown { place: place.into(), name: name.into(), nearest }
}

fn read_file(path: &Path, written: &mut Written) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.into(), source })?;
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax { path: path.into(), reason: e.to_string() })?;
    let place = path.display().to_string();
    let mut put = |name: String, value: &toml::Value| -> Result<(), ConfigError> {
        if !KEYS.iter().any(|k| k.name == name) {
            return Err(unknown(&place, &name, str::to_string));
        }
        let value = match value {
            toml::Value::String(s) => s.clone(),
            toml::Value::Integer(n) => n.to_string(),
            toml::Value::Boolean(b) => b.to_string(),
            other => {
                let reason = format!("a {} is not a setting's value", other.type_str());
                return Err(ConfigError::Value { place: place.clone(), name, value: other.to_string(), reason });
            }
        };
        written.insert(name, (value, place.clone()));
        Ok(())
    };
    for (name, value) in &table {
        match value {
            toml::Value::Table(section) => {
                for (inner, value) in section {
                    put(format!("{name}.{inner}"), value)?;
                }
            }
            value => put(name.clone(), value)?,
        }
    }
    Ok(())
}

/// Whether only this machine reaches the host.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check(written: &Written, aws: &[(String, String)]) -> Result<Config, ConfigError> {
    let text = |name: &str| -> String {
        written.get(name).map_or_else(
            || KEYS.iter().find(|k| k.name == name).map(|k| k.default.to_string()).expect("check names keys of KEYS"),
            |(value, _)| value.clone(),
        )
    };
    let bad = |name: &str, reason: &str| ConfigError::Value {
        place: written.get(name).map_or("the default".into(), |(_, place)| place.clone()),
        name: name.into(),
        value: text(name),
        reason: reason.into(),
    };
    let number = |name: &str, low: u64, high: u64| -> Result<u64, ConfigError> {
        text(name)
            .parse::<u64>()
            .ok()
            .filter(|n| (low..=high).contains(n))
            .ok_or_else(|| bad(name, &format!("must be a whole number from {low} to {high}")))
    };
    let flag = |name: &str| -> Result<bool, ConfigError> {
        text(name).parse().map_err(|_| bad(name, "must be true or false"))
    };
    let tls = tls(&text, &bad, number("tls.port", 0, u16::MAX as u64)? as u16, flag("tls.only")?)?;
    let mut cors_origins = Vec::new();
    for origin in text("http.cors_origins").split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        let reason = "must be origins such as https://example.org";
        let well = origin == "*" || origin.contains("://") && !origin.ends_with('/');
        let value = HeaderValue::from_str(origin).ok().filter(|_| well);
        cors_origins.push(value.ok_or_else(|| bad("http.cors_origins", reason))?);
    }
    let log_json = match text("log.format").as_str() {
        "text" => false,
        "json" => true,
        _ => return Err(bad("log.format", "must be text or json")),
    };
    let traces = traces(&text, &bad)?;
    let data_dir = std::path::absolute(text("data_dir")).map_err(|e| bad("data_dir", &e.to_string()))?;
    let leases = (number("cluster.lease_ms", 500, 600_000)?, number("cluster.node_lease_ms", 500, 600_000)?);
    let patience = (number("cluster.leave_ms", 0, 3_600_000)?, number("cluster.return_ms", 0, 86_400_000)?);
    let mut cluster = cluster::cluster(&text, &bad, leases, patience, &data_dir)?;
    let priority = text("cluster.priority").parse().map_err(|_| bad("cluster.priority", "must be a whole number"))?;
    let stands = (priority, number("cluster.drain_ms", 0, 600_000)?);
    cluster.split = cluster::split(&text, &bad, stands, cluster.is_shared(), tls.as_ref())?;
    let allow_http = flag("storage.s3_allow_http")?;
    let deep_storage = cluster::deep_storage(&text, &bad, allow_http, &data_dir, aws)?;
    if cluster.is_shared() && matches!(deep_storage, DeepStorageSettings::Local(_)) && text("storage.deep").is_empty() {
        return Err(bad("storage.deep", "must be set where metadata.url is: all nodes read the same"));
    }
    let threads = number("query.threads", 0, 1024)? as usize;
    let local = is_loopback(&text("host"));
    let required = match text("auth.required").as_str() {
        "auto" => !local,
        "true" => true,
        "false" => false,
        _ => return Err(bad("auth.required", "must be auto, true or false")),
    };
    let anywhere = text("auth.allow_anonymous_from_anywhere");
    if !anywhere.is_empty() && anywhere != ANYWHERE {
        return Err(bad("auth.allow_anonymous_from_anywhere", &format!("must be empty or: {ANYWHERE}")));
    }
    if !required && !local && anywhere.is_empty() {
        let host = text("host");
        let reason = format!(
            "host = {host} is not loopback: everybody who reaches it could read and change everything. Leave out \
             auth.required, or listen on 127.0.0.1, or set auth.allow_anonymous_from_anywhere = \"{ANYWHERE}\""
        );
        return Err(bad("auth.required", &reason));
    }
    let listed = |name: &str| -> Vec<String> {
        text(name).split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_string).collect()
    };
    let oidc = match text("auth.oidc_issuer") {
        issuer if issuer.is_empty() => None,
        issuer if !is_trustworthy(&issuer) => {
            return Err(bad("auth.oidc_issuer", "must begin with https://, or be on this machine"));
        }
        issuer => {
            let audience = text("auth.oidc_audience");
            if audience.is_empty() {
                return Err(bad("auth.oidc_audience", "must be set: tokens for others are not for this server"));
            }
            let mut role_map = BTreeMap::new();
            for pair in listed("auth.oidc_role_map") {
                let Some((value, role)) = pair.rsplit_once('=') else {
                    return Err(bad("auth.oidc_role_map", &format!("'{pair}' must be value=role")));
                };
                role_map.insert(value.trim().to_string(), role.trim().to_string());
            }
            Some(OidcSettings {
                issuer,
                audience,
                name_claim: text("auth.oidc_name_claim"),
                roles_claim: text("auth.oidc_roles_claim"),
                role_map,
                groups_claim: text("auth.oidc_groups_claim"),
                attribute_claims: listed("auth.oidc_attribute_claims"),
            })
        }
    };
    let default_context = match serde_json::from_str(&text("query.default_context")) {
        Ok(serde_json::Value::Object(context)) => context,
        _ => return Err(bad("query.default_context", "must be a JSON object such as {\"skipEmptyBuckets\": true}")),
    };
    let lanes = lanes(&text("query.lanes"), number("query.concurrent_max", 1, 100_000)? as usize).ok_or_else(|| {
        bad("query.lanes", "must be lanes with places or a share of query.concurrent_max: low=20%, reports=4")
    })?;
    let query_timeout_max_ms = number("query.timeout_max_ms", 1, 1 << 40)?;
    query::language::context::check_defaults(&default_context, query_timeout_max_ms)
        .map_err(|error| bad("query.default_context", &error.to_string()))?;
    let (protocols, hosts) = (listed("ingest.http_protocols"), listed("ingest.http_hosts"));
    let http_sources = ingest::HttpSources::new(protocols.iter().map(String::as_str), hosts.iter().map(String::as_str))
        .map_err(|error| {
            let is_host = protocols.iter().all(|protocol| matches!(protocol.as_str(), "http" | "https"));
            bad(if is_host { "ingest.http_hosts" } else { "ingest.http_protocols" }, &error.to_string())
        })?
        .with_file_bytes_max(number("ingest.http_file_max_bytes", 1 << 10, 1 << 50)?);
    let first_password = Some(text("auth.first_password")).filter(|password| !password.is_empty());
    if first_password.as_ref().is_some_and(|password| crate::auth::users::check_password(password).is_err()) {
        let place = written.get("auth.first_password").map(|(_, place)| place.clone()).unwrap_or_default();
        let (value, reason) = ("…".to_string(), "must have 8 to 1024 bytes".to_string());
        return Err(ConfigError::Value { place, name: "auth.first_password".into(), value, reason });
    }
    let auth = AuthSettings {
        required,
        anywhere: !anywhere.is_empty(),
        hosts: listed("http.hosts").into_iter().chain(crate::auth::hostname()).collect(),
        first_password,
        failures_max: number("auth.failures_max", 1, 1_000_000)? as u32,
        lockout: Duration::from_millis(number("auth.lockout_ms", 1, 1 << 40)?),
        remember: Duration::from_millis(number("auth.remember_ms", 0, 3_600_000)?),
        session_idle_ms: number("auth.session_idle_ms", 1, 1 << 40)? as i64,
        session_max_ms: number("auth.session_max_ms", 1, 1 << 40)? as i64,
        oidc,
    };
    let query_body_max_bytes = number("query.body_max_bytes", 1 << 10, 1 << 32)? as usize;
    let ingest_body_max_bytes = number("ingest.body_max_bytes", 1 << 10, 1 << 34)? as usize;
    let largest_body = query_body_max_bytes.max(ingest_body_max_bytes) as u64;
    Ok(Config {
        file: None,
        data_dir,
        host: text("host"),
        port: number("port", 0, u16::MAX as u64)? as u16,
        tls,
        cors_origins,
        body_idle: Duration::from_millis(number("http.body_idle_ms", 1, 1 << 40)?),
        bodies_max_bytes: number("http.bodies_max_bytes", 1 << 10, 1 << 50)?.max(largest_body),
        header_max: Duration::from_millis(number("http.header_ms", 1, 1 << 40)?),
        connections_max: number("http.connections_max", 2, 10_000_000)? as usize,
        requests_per_second: number("http.requests_per_second", 0, 1 << 32)?,
        log_level: text("log.level"),
        log_json,
        traces,
        auth,
        query_threads: if threads == 0 { std::thread::available_parallelism().map_or(2, usize::from) } else { threads },
        query_lanes: lanes,
        query_concurrent_max: number("query.concurrent_max", 1, 100_000)? as usize,
        query_memory_max_bytes: number("query.memory_max_bytes", 1 << 20, 1 << 40)? as usize,
        query_memory_total_bytes: match number("query.memory_total_bytes", 0, 1 << 50)? {
            0 => machine::memory_bytes().map_or(MEMORY_UNTOLD, |bytes| bytes / 2),
            bytes if bytes < MEMORY_TOTAL_MIN => {
                return Err(bad("query.memory_total_bytes", &format!("must be 0 or {MEMORY_TOTAL_MIN} at least")));
            }
            bytes => bytes,
        },
        query_policy_cache_bytes: number("query.policy_cache_bytes", 0, 1 << 40)?,
        cache: cache::cache(&text, &number, &bad)?,
        query_timeout_ms: number("query.timeout_ms", 1, 1 << 40)?,
        query_timeout_max_ms,
        query_default_context: default_context,
        query_body_max_bytes,
        jdbc: JdbcLimits {
            connections_max: number("sql.jdbc_connections_max", 1, 100_000)? as usize,
            statements_max: number("sql.jdbc_statements_max", 1, 10_000)? as usize,
            idle: Duration::from_millis(number("sql.jdbc_idle_ms", 1, 1 << 40)?),
        },
        flight: FlightLimits {
            statements_max: number("sql.flight_statements_max", 1, 100_000)? as usize,
            idle: Duration::from_millis(number("sql.flight_idle_ms", 1, 1 << 40)?),
        },
        statement_ttl: Duration::from_millis(number("sql.statement_ttl_ms", 1, 1 << 40)?),
        statement_bytes_max: number("sql.statement_bytes_max", 1 << 20, 1 << 50)?,
        statement_owner_bytes_max: number("sql.statement_owner_bytes_max", 1 << 20, 1 << 50)?,
        audit: crate::audit::Settings {
            enabled: flag("audit.enabled")?,
            queries: flag("audit.queries")?,
            publish: Duration::from_millis(number("audit.publish_ms", 100, 1 << 40)?),
            retention_days: number("audit.retention_days", 0, 100_000)?,
            journal_bytes_max: number("audit.journal_max_bytes", 1 << 20, 1 << 50)?,
            copy: match (text("audit.kafka_topic"), text("audit.kafka_properties")) {
                (topic, properties) if topic.is_empty() && properties.is_empty() => None,
                (topic, _) if topic.is_empty() => {
                    return Err(bad("audit.kafka_topic", "audit.kafka_properties needs a topic"));
                }
                (_, properties) if properties.is_empty() => {
                    return Err(bad("audit.kafka_properties", "audit.kafka_topic needs the properties of its brokers"));
                }
                (topic, properties) => Some(crate::audit::CopySettings { topic, properties: properties.into() }),
            },
        },
        samples: crate::samples::Settings {
            interval: Duration::from_millis(number("metrics.interval_ms", 0, 1 << 40)?),
            publish: Duration::from_millis(number("metrics.publish_ms", 100, 1 << 40)?),
            keep_days: number("metrics.keep_days", 0, 100_000)?,
        },
        tasks_max: number("ingest.tasks_max", 1, 10_000)? as usize,
        ingest_body_max_bytes,
        http_sources,
        cluster,
        deep_storage,
        cache_max_bytes: number("storage.cache_max_bytes", 1 << 20, 1 << 60)?,
        local_sources: text("storage.local_sources").split(',').map(|s| s.trim().to_string()).collect(),
        cycle_ms: number("coordinator.cycle_ms", 10, 600_000)?,
        fail_point: Some(text("ingest.fail_point")).filter(|s| !s.is_empty()),
    })
}

fn tls(
    text: &impl Fn(&str) -> String,
    bad: &impl Fn(&str, &str) -> ConfigError,
    port: u16,
    only: bool,
) -> Result<Option<crate::tls::Settings>, ConfigError> {
    let path = |name: &str| Some(text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let settings = match (path("tls.certificate"), path("tls.key")) {
        (Some(certificate), Some(key)) => {
            Some(crate::tls::Settings { certificate, key, client_ca: path("tls.client_ca"), port, only })
        }
        (Some(_), None) => return Err(bad("tls.key", "tls.certificate needs its key")),
        (None, Some(_)) => return Err(bad("tls.certificate", "tls.key needs its certificate")),
        (None, None) if only => return Err(bad("tls.only", "needs tls.certificate and tls.key")),
        (None, None) if path("tls.client_ca").is_some() => {
            return Err(bad("tls.client_ca", "needs tls.certificate and tls.key"));
        }
        (None, None) => None,
    };
    Ok(settings)
}

fn traces(
    text: &impl Fn(&str) -> String,
    bad: &impl Fn(&str, &str) -> ConfigError,
) -> Result<Option<TraceSettings>, ConfigError> {
    let url = text("traces.url");
    if url.is_empty() {
        return Ok(None);
    }
    let is_http = |uri: &axum::http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    if !url.parse().is_ok_and(|uri| is_http(&uri)) {
        return Err(bad("traces.url", "must be such as http://collector:4318/v1/traces"));
    }
    let share = text("traces.share").parse().ok().filter(|share| (0.0..=1.0).contains(share));
    let share = share.ok_or_else(|| bad("traces.share", "must be from 0 to 1"))?;
    let mut headers = BTreeMap::new();
    for header in text("traces.headers").split(',').map(str::trim).filter(|header| !header.is_empty()) {
        let reason = "must be name=value, separated by commas";
        // Values may be secrets: none is repeated.
        let hidden = || match bad("traces.headers", reason) {
            ConfigError::Value { place, name, reason, .. } => {
                ConfigError::Value { place, name, value: "…".into(), reason }
            }
            other => other,
        };
        let (name, value) = header.split_once('=').ok_or_else(hidden)?;
        let (name, value) = (name.trim(), value.trim());
        if axum::http::HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
            return Err(hidden());
        }
        headers.insert(name.to_string(), value.to_string());
    }
    Ok(Some(TraceSettings { url, share, headers }))
}

/// Places by lane, of so many that there are in all.
fn lanes(text: &str, all: usize) -> Option<BTreeMap<String, usize>> {
    let mut lanes = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (lane, places) = part.split_once('=')?;
        let (lane, places) = (lane.trim(), places.trim());
        let count = match places.strip_suffix('%') {
            Some(share) => {
                share.parse().ok().filter(|share: &usize| (1..=100).contains(share)).map(|share| all * share / 100)
            }
            None => places.parse().ok().filter(|count: &usize| *count > 0),
        };
        if lane.is_empty() || lanes.insert(lane.to_string(), count?.max(1)).is_some() {
            return None;
        }
    }
    Some(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let own =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>();
        Config::load(None, own(env).into_iter(), &own(flags))
    }

    #[test]
    fn flags_override_the_environment() {
        let config = load(&[("HENGE_PORT", "1"), ("HENGE_QUERY_THREADS", "3"), ("PATH", "x")], &[("port", "2")]);
        let config = config.expect("valid settings");
        assert_eq!((config.port, config.query_threads), (2, 3));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_one() {
        let error = load(&[("HENGE_QUERY_THREDS", "3")], &[]).expect_err("unknown").to_string();
        assert!(error.contains("HENGE_QUERY_THREDS") && error.contains("query.threads"), "{error}");
        let error = load(&[], &[("prt", "3")]).expect_err("unknown").to_string();
        assert!(error.contains("'prt'") && error.contains("'port'"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_place() {
        let error = load(&[("HENGE_PORT", "70000")], &[]).expect_err("too large").to_string();
        assert!(error.contains("environment variable HENGE_PORT") && error.contains("65535"), "{error}");
    }

    #[test]
    fn a_port_that_others_reach_is_not_open_by_mistake() {
        let required = |settings: &[(&str, &str)]| load(&[], settings).map(|config| config.auth.required);
        for host in ["127.0.0.1", "localhost", "::1", "127.1.2.3"] {
            assert_eq!(required(&[("host", host)]).ok(), Some(false), "{host}");
            assert_eq!(required(&[("host", host), ("auth.required", "true")]).ok(), Some(true));
        }
        for host in ["0.0.0.0", "::", "192.0.2.1", "localhost.example.com", "example.com"] {
            assert_eq!(required(&[("host", host)]).ok(), Some(true), "{host}");
            let open = [("host", host), ("auth.required", "false")];
            let error = required(&open).expect_err("refused").to_string();
            assert!(error.contains(host) && error.contains(ANYWHERE), "{error}");
            let said = |words| [open[0], open[1], ("auth.allow_anonymous_from_anywhere", words)];
            assert_eq!(required(&said(ANYWHERE)).ok(), Some(false));
            assert!(required(&said("yes")).is_err());
        }
        let error = load(&[], &[("auth.first_password", "shorty")]).expect_err("too short").to_string();
        assert!(!error.contains("shorty"), "{error}");
    }

    #[test]
    fn a_default_context_has_values_that_its_keys_can_have() {
        let context =
            |text: &str| load(&[], &[("query.default_context", text)]).map(|config| config.query_default_context);
        assert!(context("{}").expect("none").is_empty());
        let read = context(r#"{"skipEmptyBuckets": true, "timeout": "1000", "some.other": [1]}"#).expect("valid");
        assert_eq!((read.len(), &read["skipEmptyBuckets"]), (3, &serde_json::json!(true)));
        for word in ["true", "\"true\"", "\"force\""] {
            context(&format!("{{\"vectorize\": {word}}}")).expect(word);
        }
        for (text, expected) in [
            ("skipEmptyBuckets=true", "must be a JSON object"),
            ("[]", "must be a JSON object"),
            (r#"{"skipEmptyBuckets": "maybe"}"#, "skipEmptyBuckets must be true or false"),
            (r#"{"sortByDimsFirst": 1}"#, "sortByDimsFirst must be true or false"),
            (r#"{"vectorize": "perhaps"}"#, "vectorize must be true, false or force"),
            (r#"{"timeout": "soon"}"#, "timeout must be a whole number"),
            (r#"{"timeout": 3600001}"#, "query.timeout_max_ms"),
            (r#"{"maxSubqueryRows": -1}"#, "maxSubqueryRows must not be negative"),
            (r#"{"sqlTimeZone": "Nowhere/Else"}"#, "sqlTimeZone"),
            (r#"{"queryId": "x"}"#, "queryId is of one query; leave it out"),
        ] {
            let error = context(text).expect_err(text).to_string();
            assert!(error.contains("query.default_context") && error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn lanes_have_places() {
        let lanes =
            |text: &str| load(&[], &[("query.lanes", text), ("query.concurrent_max", "10")]).map(|c| c.query_lanes);
        assert!(lanes("").expect("none").is_empty());
        let read = lanes("low=25%, reports = 4,tiny=1%").expect("valid");
        let expected = [("low", 2), ("reports", 4), ("tiny", 1)].map(|(lane, places)| (lane.to_string(), places));
        assert_eq!(read, expected.into());
        for text in ["low", "low=", "=3", "low=0", "low=0%", "low=101%", "low=-1", "low=1,low=2", "low=many"] {
            let error = lanes(text).expect_err(text).to_string();
            assert!(error.contains("query.lanes") && error.contains("reports=4"), "{error}");
        }
    }

    #[test]
    fn bounds_of_the_process_fit_together() {
        let config = load(&[], &[]).expect("defaults");
        assert!(config.bodies_max_bytes == 1 << 30 && config.ingest_body_max_bytes == 64 << 20);
        let small =
            [("http.bodies_max_bytes", "2048"), ("query.body_max_bytes", "4096"), ("ingest.body_max_bytes", "3000")];
        assert_eq!(load(&[], &small).expect("valid").bodies_max_bytes, 4096);
        assert!(config.query_memory_total_bytes >= MEMORY_TOTAL_MIN);
        let total = |bytes| load(&[], &[("query.memory_total_bytes", bytes)]).map(|c| c.query_memory_total_bytes);
        assert_eq!(total("2000000").expect("valid"), 2_000_000);
        assert!(total("1000").expect_err("too little").to_string().contains("query.memory_total_bytes"));
    }

    #[test]
    fn hosts_of_http_input_are_checked() {
        let error = load(&[], &[("ingest.http_hosts", "http://files.example/")]).expect_err("a URI").to_string();
        assert!(error.contains("ingest.http_hosts") && error.contains("*.domain"), "{error}");
        let error = load(&[], &[("ingest.http_protocols", "ftp")]).expect_err("ftp").to_string();
        assert!(error.contains("ingest.http_protocols"), "{error}");
        assert!(load(&[], &[("ingest.http_hosts", "")]).is_ok());
    }

    #[test]
    fn the_deployed_file_shows_every_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/henge.toml");
        let deployed = std::fs::read_to_string(path).expect("deploy/henge.toml");
        assert_eq!(deployed, commented_file(), "print it anew with `henge settings > deploy/henge.toml`");
        Config::load(Some(Path::new(path)), std::iter::empty(), &[]).expect("the deployed file is valid");
    }
}
