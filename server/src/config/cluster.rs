//! Where the things are that outlive a node, and by what name it is known to others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use coordinator::{MetadataStore, Role};
use segment::storage::settings::{Access, DeepStorageSettings, Limits, S3Settings};

use super::ConfigError;
use crate::rpc::peers::{PeerTls, Secret};

/// How deep storage on S3 is waited for.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    request: Duration::from_secs(30),
    retries: 10,
    deadline: Duration::from_secs(60),
};

/// What a node is in its cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    pub metadata: MetadataStore,
    /// As others reach it, if that is not what it listens on.
    pub address: Option<String>,
    /// Its name, if that is not its address.
    pub node: Option<String>,
    pub lease: Duration,
    /// Without a word for so long a node that does not lead is lost to the one that does.
    pub node_lease_ms: i64,
    /// A node that ends may hand its tasks over for so long.
    pub leave: Duration,
    /// What a lost node served is loaded elsewhere after so long, if another serves it too.
    pub return_ms: i64,
    /// What this process does, where others do the rest; `None` if it does all there is.
    pub split: Option<Split>,
}

/// A node among others that have roles of their own.
#[derive(Debug, Clone)]
pub struct Split {
    pub roles: Vec<Role>,
    pub secret: Secret,
    pub tls: Option<PeerTls>,
    pub tier: String,
    pub priority: i64,
    /// How long it goes on taking requests after it was told to stop.
    pub drain: Duration,
}

impl Split {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether it does anything for the one that leads.
    pub fn is_member(&self) -> bool {
        self.roles.iter().any(|role| *role != Role::Coordinator)
    }
}

/// What the secret has at least: fewer are guessed.
pub(super) const SECRET_MIN: usize = 16;

impl ClusterSettings {
    /// Whether other nodes may share the metadata.
    pub fn is_shared(&self) -> bool {
        matches!(self.metadata, MetadataStore::Postgres(_))
    }
}

type Bad<'a> = &'a dyn Fn(&str, &str) -> ConfigError;

pub(super) fn cluster(
    text: &dyn Fn(&str) -> String,
    bad: Bad<'_>,
    (lease_ms, node_lease_ms): (u64, u64),
    (leave_ms, return_ms): (u64, u64),
    data_dir: &Path,
) -> Result<ClusterSettings, ConfigError> {
    let url = text("metadata.url");
    let metadata = match url.as_str() {
        "" => MetadataStore::Sqlite(data_dir.join("catalog.db")),
        // The value is not shown: it may hold a password.
        _ => match url.parse::<MetadataStore>() {
            Ok(store @ MetadataStore::Postgres(_)) => store,
            Ok(MetadataStore::Sqlite(_)) => return Err(secret(bad, "metadata.url", "must begin with postgres://")),
            Err(error) => return Err(secret(bad, "metadata.url", &error.to_string())),
        },
    };
    let named = |name: &str| Some(text(name)).filter(|value| !value.is_empty());
    if let Some(address) = named("cluster.address")
        && address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
    {
        return Err(bad("cluster.address", "must be host:port"));
    }
    let node = named("cluster.node");
    let is_named = |node: &String| node.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
    if node.as_ref().is_some_and(|node| node.len() > 200 || !is_named(node)) {
        return Err(bad("cluster.node", "must be letters, digits and the signs -._: only, 200 at most"));
    }
    let lease = Duration::from_millis(lease_ms);
    let (address, node_lease_ms) = (named("cluster.address"), i64::try_from(node_lease_ms).unwrap_or(i64::MAX));
    let (leave, return_ms) = (Duration::from_millis(leave_ms), i64::try_from(return_ms).unwrap_or(i64::MAX));
    Ok(ClusterSettings { metadata, address, node, lease, node_lease_ms, leave, return_ms, split: None })
}

/// What a node is that does not do all there is; `None` for one that does.
pub(super) fn split(
    text: &dyn Fn(&str) -> String,
    bad: Bad<'_>,
    (priority, drain_ms): (i64, u64),
    is_shared: bool,
    tls: Option<&crate::tls::Settings>,
) -> Result<Option<Split>, ConfigError> {
    let named = text("roles");
    let named: Vec<&str> = named.split(',').map(str::trim).collect();
    if named == ["all"] {
        return Ok(None);
    }
    let mut roles = Vec::new();
    for name in named {
        let role = name.parse::<Role>().map_err(|error| bad("roles", &format!("{error}, or all alone")))?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    if !is_shared {
        return Err(bad("roles", "needs metadata.url: a process that has its metadata for itself does all there is"));
    }
    let word = text("cluster.secret");
    if word.len() < SECRET_MIN || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!("must be set where roles is not all: {SECRET_MIN} letters, digits and signs at least");
        return Err(secret(bad, "cluster.secret", &reason));
    }
    let authorities = text("cluster.ca");
    let tls = match (authorities.is_empty(), tls) {
        (true, Some(tls)) if tls.only => {
            return Err(bad("cluster.ca", "must be set where tls.only is: nodes speak to each other by TLS then"));
        }
        (true, _) => None,
        (false, None) => return Err(bad("cluster.ca", "needs tls.certificate and tls.key")),
        (false, Some(tls)) => Some(PeerTls {
            authorities: authorities.into(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }),
    };
    let tier = text("cluster.tier");
    if tier.is_empty() || tier.len() > 200 {
        return Err(bad("cluster.tier", "must be a name"));
    }
    let drain = Duration::from_millis(drain_ms);
    Ok(Some(Split { roles, secret: Secret::new(word), tls, tier, priority, drain }))
}

/// An error that does not show the value.
fn secret(bad: Bad<'_>, name: &str, reason: &str) -> ConfigError {
    match bad(name, reason) {
        ConfigError::Value { place, name, reason, .. } => {
            ConfigError::Value { place, name, value: "…".into(), reason }
        }
        other => other,
    }
}

/// Deep storage; `aws` are the variables of the environment that its credentials may be in.
pub(super) fn deep_storage(
    text: &dyn Fn(&str) -> String,
    bad: Bad<'_>,
    allow_http: bool,
    data_dir: &Path,
    aws: &[(String, String)],
) -> Result<DeepStorageSettings, ConfigError> {
    let deep = text("storage.deep");
    let local = |folder: PathBuf| Ok(DeepStorageSettings::Local(folder));
    let Some((scheme, rest)) = deep.split_once("://") else {
        return match deep.as_str() {
            "" => local(data_dir.join("deep-storage")),
            folder => local(std::path::absolute(folder).map_err(|error| bad("storage.deep", &error.to_string()))?),
        };
    };
    if scheme != "s3" {
        return Err(bad("storage.deep", "must be a folder or s3://bucket/prefix"));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (access_key, secret_key) = (text("storage.s3_access_key"), text("storage.s3_secret_key"));
    let access = match (access_key.is_empty(), secret_key.is_empty()) {
        (true, true) => Access::Chain(aws.to_vec()),
        (false, false) => Access::Keys { access_key, secret_key, session_token: None },
        (true, false) => return Err(bad("storage.s3_access_key", "must be set: storage.s3_secret_key is its secret")),
        (false, true) => return Err(secret(bad, "storage.s3_secret_key", "must be set, as storage.s3_access_key is")),
    };
    Ok(DeepStorageSettings::S3(S3Settings {
        bucket: bucket.to_string(),
        prefix: prefix.to_string(),
        endpoint: Some(text("storage.s3_endpoint")).filter(|endpoint| !endpoint.is_empty()),
        region: text("storage.s3_region"),
        access,
        allow_http,
        limits: LIMITS,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn load(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        Config::load(None, own(environment).into_iter(), &own(flags)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_alone_keeps_all_in_its_folder() {
        let config = load(&[], &[("data_dir", "/h")]).expect("the defaults");
        assert!(!config.cluster.is_shared());
        assert_eq!(config.cluster.metadata.to_string(), "/h/catalog.db");
        let DeepStorageSettings::Local(folder) = config.deep_storage else { panic!("not a folder") };
        assert_eq!(folder, Path::new("/h/deep-storage"));
    }

    #[test]
    fn nodes_that_share_metadata_share_deep_storage() {
        let url = ("metadata.url", "postgres://henge:hush@db.example:5432/henge");
        let refused = load(&[], &[url]).expect_err("each node has a folder of its own");
        assert!(refused.contains("storage.deep"), "{refused}");
        let aws =
            [("AWS_ACCESS_KEY_ID", "AKIAKEPT"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("HENGE_CLUSTER_NODE", "a.b-1")];
        let config = load(&aws, &[url, ("storage.deep", "s3://bucket/some/where")]).expect("a cluster");
        assert!(config.cluster.is_shared() && config.cluster.node.as_deref() == Some("a.b-1"));
        let DeepStorageSettings::S3(s3) = &config.deep_storage else { panic!("not S3") };
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), &s3.endpoint), ("bucket", "some/where", &None));
        assert!(matches!(&s3.access, Access::Chain(variables) if variables.len() == 2));
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("AKIAKEPT"), "{shown}");
    }

    #[test]
    fn nodes_with_roles_share_a_store_and_a_secret() {
        let shared = [("metadata.url", "postgres://henge@db/henge"), ("storage.deep", "s3://bucket")];
        let with = |more: &[(&str, &str)]| load(&[], &[&shared[..], more].concat());
        assert!(with(&[]).expect("alike nodes").cluster.split.is_none());
        let secret = ("cluster.secret", "hush-hush-hush-hush");
        let config = with(&[("roles", "ingest, broker,ingest"), secret]).expect("a node with roles");
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
        let split = config.cluster.split.expect("roles");
        assert_eq!(split.roles, [Role::Ingest, Role::Broker]);
        assert!(split.is_member() && split.tls.is_none());
        let alone = with(&[("roles", "coordinator"), secret]).expect("a coordinator").cluster.split.expect("roles");
        assert!(!alone.is_member());
        let tls = [("tls.certificate", "/c.pem"), ("tls.key", "/k.pem"), ("tls.only", "true")];
        for (name, more) in [
            ("roles", &[("roles", "all,broker"), secret][..]),
            ("roles", &[("roles", "router"), secret]),
            ("cluster.secret", &[("roles", "broker")]),
            ("cluster.secret", &[("roles", "broker"), ("cluster.secret", "hush")]),
            ("cluster.secret", &[("roles", "broker"), ("cluster.secret", "hush hush hush hush")]),
            ("cluster.ca", &[("roles", "broker"), secret, ("cluster.ca", "/ca.pem")]),
            ("cluster.ca", &[("roles", "broker"), secret, tls[0], tls[1], tls[2]]),
        ] {
            let refused = with(more).expect_err(name);
            assert!(refused.contains(name) && !refused.contains("hush"), "{refused}");
        }
        let refused = load(&[], &[("roles", "broker"), secret]).expect_err("a store of its own");
        assert!(refused.contains("metadata.url"), "{refused}");
    }

    #[test]
    fn what_is_secret_is_not_told_in_errors() {
        let deep = ("storage.deep", "s3://bucket");
        for (name, flags) in [
            ("metadata.url", [deep, ("metadata.url", "mysql://henge:hush@db/henge")]),
            ("metadata.url", [deep, ("metadata.url", "hush@db/henge")]),
            ("metadata.url", [deep, ("metadata.url", "postgres://henge:hu#sh@db:x/henge?hush=1")]),
            ("storage.s3_secret_key", [deep, ("storage.s3_access_key", "hush")]),
            ("storage.s3_access_key", [deep, ("storage.s3_secret_key", "hush")]),
            ("cluster.node", [deep, ("cluster.node", "a b")]),
            ("cluster.address", [deep, ("cluster.address", "a")]),
            ("cluster.lease_ms", [deep, ("cluster.lease_ms", "1")]),
            ("storage.deep", [deep, ("storage.deep", "gs://bucket")]),
        ] {
            let refused = load(&[], &flags).expect_err(name);
            assert!(refused.contains(name) && !refused.contains("hush"), "{refused}");
        }
    }
}
