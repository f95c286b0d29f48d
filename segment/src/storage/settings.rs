//! What deep storage must be told: where it is, who asks, and how long to wait. Nothing is read from the environment
//! here: whoever builds the settings resolves them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::{Error, Result};

/// The first wait before a request is made again, and the longest; jitter is added.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Debug, Clone)]
pub enum DeepStorageSettings {
    /// A folder of this machine, or one that all nodes mount.
    Local(PathBuf),
    S3(S3Settings),
}

/// Debug output shows no credentials, also where somebody put them into the endpoint.
#[derive(Clone)]
pub struct S3Settings {
    pub bucket: String,
    /// Stands before every key; empty for none. Keys in the catalog are without it, so a bucket's content may be moved.
    pub prefix: String,
    /// `scheme://host[:port]`; Amazon's of the region if there is none. Buckets are named in the path.
    pub endpoint: Option<String>,
    pub region: String,
    pub access: Access,
    /// Lets `endpoint` be one without TLS.
    pub allow_http: bool,
    pub limits: Limits,
}

/// By what right the store is asked. Debug output shows no values.
#[derive(Clone)]
pub enum Access {
    Keys {
        access_key: String,
        secret_key: String,
        session_token: Option<String>,
    },
    /// The usual chain: keys, a web identity (Kubernetes), a container's credentials, else the machine's metadata
    /// service. `AWS_*` variables as found in the environment, names in any case; those that say nothing about
    /// credentials are passed over. Profiles in files are not part of it.
    Chain(Vec<(String, String)>),
}

/// How long to wait, and how often to ask again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// For one request, which moves a part of at most 8 MiB, body and all.
    pub request: Duration,
    /// Further tries of a request that failed in passing, waiting about twice as long each time ([`BACKOFF`]).
    pub retries: usize,
    /// For an act as a whole, retries and all; what moves a file has a second more for each MiB.
    pub deadline: Duration,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Keys { .. } => f.write_str("Keys(hidden)"),
            Access::Chain(variables) => {
                f.write_str("Chain")?;
                f.debug_list().entries(variables.iter().map(|(name, _)| name)).finish()
            }
        }
    }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_deref().map(|text| if text.contains('@') { "hidden" } else { text });
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &endpoint)
            .field("region", &self.region)
            .field("access", &self.access)
            .field("allow_http", &self.allow_http)
            .field("limits", &self.limits)
            .finish()
    }
}

impl S3Settings {
    /// The bucket's name as errors show it, ending in `/`.
    pub(super) fn place(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => format!("s3://{}/", self.bucket),
            prefix => format!("s3://{}/{prefix}/", self.bucket),
        }
    }

    /// A client; the store itself is not asked anything yet.
    pub(super) fn connect(&self) -> Result<Arc<dyn ObjectStore>> {
        self.check()?;
        let mut builder = AmazonS3Builder::new();
        builder = match &self.access {
            Access::Keys { access_key, secret_key, session_token } => {
                let builder = builder.with_access_key_id(access_key).with_secret_access_key(secret_key);
                session_token.iter().fold(builder, |builder, token| builder.with_token(token))
            }
            Access::Chain(variables) => variables
                .iter()
                .filter_map(|(name, value)| Some((credentials_key(name)?, value)))
                .fold(builder, |builder, (key, value)| builder.with_config(key, value)),
        };
        let limits = &self.limits;
        let client = ClientOptions::new()
            .with_allow_http(self.allow_http)
            .with_connect_timeout(limits.connect)
            .with_timeout(limits.request);
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: BACKOFF.0, max_backoff: BACKOFF.1, base: 2. },
            max_retries: limits.retries,
            retry_timeout: limits.deadline,
        };
        builder = builder
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        // Of what this can say, only which part is missing is of use; the rest might show values.
        let store = builder.build().map_err(|_| {
            Error::invalid("deep storage on S3: incomplete credentials, or no root certificates on this machine")
        })?;
        let prefix = Key::parse(&self.prefix)
            .map_err(|_| Error::invalid(format!("deep storage on S3: a prefix cannot be {:?}", self.prefix)))?;
        if prefix.as_ref().is_empty() {
            return Ok(Arc::new(store));
        }
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }

    fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::invalid(format!("deep storage on S3: {text}")));
        let named = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !named(&self.bucket, "-._") {
            return invalid(format!("a bucket cannot be named {:?}", self.bucket));
        }
        if !named(&self.region, "-") {
            return invalid(format!("a region cannot be named {:?}", self.region));
        }
        if let Access::Keys { access_key, secret_key, .. } = &self.access
            && (access_key.is_empty() || secret_key.is_empty())
        {
            return invalid("an access key and its secret go together".into());
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        // The text itself is not shown: it may hold a password.
        if endpoint.starts_with("http://") && !self.allow_http {
            return invalid("the endpoint is http://, which must be allowed in so many words".into());
        }
        let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        let (host, port) = match rest.map(|rest| rest.trim_end_matches('/')) {
            Some(rest) => match rest.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port),
                _ => (rest, "443"),
            },
            None => ("", ""),
        };
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => named(host, "-._"),
        };
        if !is_host || port.parse::<u16>().is_err() {
            return invalid(
                "the endpoint must be http:// or https://, a host, and a port where it is not the usual".into(),
            );
        }
        Ok(())
    }
}

/// What a variable of the environment means, if it is about credentials.
fn credentials_key(name: &str) -> Option<AmazonS3ConfigKey> {
    use AmazonS3ConfigKey as K;
    let key: K = name.to_ascii_lowercase().parse().ok()?;
    matches!(
        key,
        K::AccessKeyId
            | K::SecretAccessKey
            | K::Token
            | K::ImdsV1Fallback
            | K::MetadataEndpoint
            | K::ContainerCredentialsRelativeUri
            | K::ContainerCredentialsFullUri
            | K::ContainerAuthorizationTokenFile
            | K::WebIdentityTokenFile
            | K::RoleArn
            | K::RoleSessionName
            | K::StsEndpoint
    )
    .then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> S3Settings {
        S3Settings {
            bucket: "deep".into(),
            prefix: "/some/where/".into(),
            endpoint: Some("https://localhost:9000/".into()),
            region: "us-east-1".into(),
            access: Access::Keys {
                access_key: "AKIAKEPT".into(),
                secret_key: "hush hush".into(),
                session_token: Some("hush token".into()),
            },
            allow_http: false,
            limits: Limits {
                connect: Duration::from_secs(1),
                request: Duration::from_secs(1),
                retries: 1,
                deadline: Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_nothing_secret_is_shown() {
        let with = |change: &dyn Fn(&mut S3Settings)| {
            let mut settings = settings();
            change(&mut settings);
            let outcome = settings.connect();
            let shown = format!("{settings:?} {:?}", outcome.as_ref().err());
            for secret in ["hush", "AKIAKEPT", "pass"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            outcome.map(|_| ()).map_err(|error| error.kind())
        };
        let invalid = Err(crate::Kind::Invalid);
        assert_eq!(with(&|_| ()), Ok(()));
        assert_eq!(with(&|s| s.endpoint = None), Ok(()));
        assert_eq!(with(&|s| s.endpoint = Some("https://[::1]".into())), Ok(()));
        assert_eq!(with(&|s| s.endpoint = Some("https://[::1]:9000".into())), Ok(()));
        assert_eq!(with(&|s| s.endpoint = Some("http://localhost".into())), invalid);
        assert_eq!(
            with(&|s| {
                s.endpoint = Some("http://localhost".into());
                s.allow_http = true
            }),
            Ok(())
        );
        for endpoint in
            ["", "localhost", "ftp://a", "https://", "https://a b", "https://u:pass@host", "https://a:99999"]
        {
            assert_eq!(with(&|s| s.endpoint = Some(endpoint.into())), invalid, "{endpoint}");
        }
        for bucket in ["", "a/b", "a b"] {
            assert_eq!(with(&|s| s.bucket = bucket.into()), invalid, "{bucket}");
        }
        assert_eq!(with(&|s| s.region = "here now".into()), invalid);
        assert_eq!(with(&|s| s.prefix = "a//b".into()), invalid);
        let keys = |access: &str| Access::Keys {
            access_key: access.into(),
            secret_key: "hush hush".into(),
            session_token: None,
        };
        assert_eq!(with(&|s| s.access = keys("")), invalid);
        let chain = |pairs: &[(&str, &str)]| {
            Access::Chain(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        };
        assert_eq!(with(&|s| s.access = chain(&[])), Ok(()));
        assert_eq!(with(&|s| s.access = chain(&[("AWS_ACCESS_KEY_ID", "AKIAKEPT")])), invalid, "half of a pair");
        let whole = [
            ("AWS_ACCESS_KEY_ID", "AKIAKEPT"),
            ("AWS_SECRET_ACCESS_KEY", "hush hush"),
            ("AWS_ENDPOINT_URL", "this would not do"),
            ("AWS_PROFILE", "nobody"),
        ];
        assert_eq!(with(&|s| s.access = chain(&whole)), Ok(()), "what is not about credentials is passed over");
    }
}
