//! An OpenID Connect provider whose tokens are taken: its keys, found by discovery and fetched anew when a token names one
//! that is not among them, and how its claims become a [`Principal`]. Roles are those that the settings map claims to, and
//! no others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use query::Principal;
use serde_json::Value;

use super::jwt::{self, Error, Expected, Jwk};

/// Tokens with unknown keys cannot make us ask the provider more often.
const REFETCH_AFTER: Duration = Duration::from_secs(5);

/// A key that the provider withdrew is forgotten after this long.
const KEYS_AGE: Duration = Duration::from_secs(600);

/// While the provider does not answer, its last keys hold for this long; then nothing is taken until it answers.
const KEYS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

const ANSWER_WAIT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub struct OidcSettings {
    pub issuer: String,
    pub audience: String,
    pub name_claim: String,
    pub roles_claim: String,
    /// Value of the claim → role.
    pub role_map: BTreeMap<String, String>,
    pub groups_claim: String,
    /// Claims that become attributes of the same name.
    pub attribute_claims: Vec<String>,
}

pub struct Oidc {
    settings: Arc<OidcSettings>,
    keys: RwLock<Keys>,
    /// Held by whoever asks the provider; when it was asked last.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Keys {
    keys: Arc<Vec<Jwk>>,
    since: Option<Instant>,
}

impl Keys {
    /// Those that tokens are held to, whyever there are no newer ones.
    fn trusted(&self) -> &[Jwk] {
        match self.since {
            Some(since) if since.elapsed() < KEYS_AGE_MAX => &self.keys,
            _ => &[],
        }
    }
}

impl Oidc {
    pub fn new(settings: OidcSettings) -> Oidc {
        Oidc { settings: Arc::new(settings), keys: RwLock::default(), asked: tokio::sync::Mutex::new(None) }
    }

    /// Whom a token is of, if the provider signed it for us and it is valid now, and when it is valid no more.
    pub async fn check(&self, token: &str, now: i64) -> Result<(Principal, i64), Error> {
        let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.audience };
        let mut keys = self.keys.read().clone();
        let mut refused = None;
        if keys.since.is_none_or(|since| since.elapsed() >= KEYS_AGE) {
            (keys, refused) = self.newer(keys).await;
        }
        let mut checked = jwt::verify(token, keys.trusted(), &expected, now);
        if checked == Err(Error::UnknownKey) {
            let again;
            (keys, again) = self.newer(keys).await;
            refused = refused.or(again);
            checked = jwt::verify(token, keys.trusted(), &expected, now);
        }
        match (checked, refused) {
            (Err(Error::UnknownKey), Some(refused)) => Err(refused),
            (Err(error), _) => Err(error),
            (Ok(claims), _) => Ok((self.principal(&claims)?, jwt::expires(&claims)?)),
        }
    }

    /// Keys newer than these, if the provider may be asked now; with why there are none.
    async fn newer(&self, known: Keys) -> (Keys, Option<Error>) {
        let mut asked = self.asked.lock().await;
        let held = self.keys.read().clone();
        if held.since != known.since {
            return (held, None);
        }
        if asked.is_some_and(|asked| asked.elapsed() < REFETCH_AFTER) {
            return (held, None);
        }
        *asked = Some(Instant::now());
        let issuer = self.settings.issuer.clone();
        let fetched = tokio::task::spawn_blocking(move || fetch(&issuer)).await;
        match fetched.unwrap_or_else(|error| Err(Error::Provider(error.to_string()))) {
            Ok(keys) => {
                let keys = Keys { keys: Arc::new(keys), since: Some(Instant::now()) };
                *self.keys.write() = keys.clone();
                tracing::info!(issuer = self.settings.issuer, keys = keys.keys.len(), "keys of the provider fetched");
                (keys, None)
            }
            Err(error) => {
                tracing::warn!(issuer = self.settings.issuer, %error, "keys of the provider cannot be fetched");
                (held, Some(error))
            }
        }
    }

    fn principal(&self, claims: &Value) -> Result<Principal, Error> {
        let name = claim(claims, &self.settings.name_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let mut principal = Principal::new(name.ok_or(Error::Claim("the claim of the name"))?);
        let said = texts(claim(claims, &self.settings.roles_claim));
        principal.roles = said.iter().filter_map(|value| self.settings.role_map.get(value).cloned()).collect();
        principal.groups = texts(claim(claims, &self.settings.groups_claim)).into_iter().collect::<BTreeSet<_>>();
        for name in &self.settings.attribute_claims {
            let values = texts(claim(claims, name));
            if !values.is_empty() {
                principal.attributes.insert(name.clone(), values);
            }
        }
        Ok(principal)
    }
}

/// A claim by its name, or by the names on the way to it with dots between.
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.is_empty() {
        return None;
    }
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |at, part| at.get(part)))
}

/// One text or many; what is neither is nothing.
fn texts(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    match value {
        Some(Value::Array(many)) => many.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether keys may be fetched from there: over TLS, or from this machine.
pub fn is_trustworthy(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn fetch(issuer: &str) -> Result<Vec<Jwk>, Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(ANSWER_WAIT)).max_redirects(0).build().into();
    let get = |url: &str| -> Result<Value, Error> {
        if !is_trustworthy(url) {
            return Err(Error::Provider(format!("{url} is not https")));
        }
        let failed = |error: ureq::Error| Error::Provider(format!("{url}: {error}"));
        let mut answer = agent.get(url).call().map_err(failed)?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(failed)
    };
    let about = get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
    if about["issuer"].as_str() != Some(issuer) {
        return Err(Error::Provider(format!("it says that it is another issuer than {issuer}")));
    }
    let keys = about["jwks_uri"].as_str().ok_or_else(|| Error::Provider("it tells of no jwks_uri".into()))?;
    let mut keys = get(keys)?;
    let keys = keys["keys"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_become_a_principal_by_the_settings_alone() {
        let oidc = Oidc::new(OidcSettings {
            issuer: "https://id.example".into(),
            audience: "henge".into(),
            name_claim: "sub".into(),
            roles_claim: "realm_access.roles".into(),
            role_map: BTreeMap::from([("analysts".into(), "analyst".into())]),
            groups_claim: "groups".into(),
            attribute_claims: vec!["tenant".into(), "regions".into(), "absent".into()],
        });
        let claims = json!({"sub": "ann", "realm_access": {"roles": ["analysts", "admin"]}, "groups": "a b",
            "tenant": 7, "regions": ["eu", {"x": 1}, "us"], "other": "x"});
        let principal = oidc.principal(&claims).unwrap();
        assert_eq!(principal.name, "ann");
        assert_eq!(principal.roles, BTreeSet::from(["analyst".to_string()]));
        assert_eq!(principal.groups, BTreeSet::from(["a b".to_string()]));
        let attributes = [("regions", vec!["eu", "us"]), ("tenant", vec!["7"])];
        let attributes = attributes.map(|(name, values)| (name.into(), values.into_iter().map(Into::into).collect()));
        assert_eq!(principal.attributes, BTreeMap::from(attributes));
        assert!(oidc.principal(&json!({"sub": ""})).is_err());
    }

    /// Whether the provider was asked a moment ago, and is not asked again, or does not answer now.
    #[tokio::test]
    async fn keys_that_are_too_old_are_not_trusted_whyever_there_are_no_newer_ones() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&crate::auth::random::<32>()).unwrap();
        let text = |of: &[u8]| URL_SAFE_NO_PAD.encode(of);
        let (now, issuer) = (1_800_000_000_000, "http://127.0.0.1:1");
        let claims = json!({"iss": issuer, "aud": "henge", "sub": "ann", "exp": now / 1000 + 60}).to_string();
        let signed = format!("{}.{}", text(br#"{"alg":"EdDSA"}"#), text(claims.as_bytes()));
        let token = format!("{signed}.{}", text(pair.sign(signed.as_bytes()).as_ref()));
        let (crv, x) = (Some("Ed25519".into()), Some(text(pair.public_key().as_ref())));
        let key = Jwk { kty: "OKP".into(), crv, x, ..Jwk::default() };
        for asked in [None, Some(Instant::now())] {
            for (age, taken) in [(KEYS_AGE_MAX - KEYS_AGE, true), (KEYS_AGE_MAX, false)] {
                let settings = OidcSettings {
                    issuer: issuer.into(),
                    audience: "henge".into(),
                    name_claim: "sub".into(),
                    roles_claim: "roles".into(),
                    role_map: BTreeMap::new(),
                    groups_claim: "groups".into(),
                    attribute_claims: Vec::new(),
                };
                let since = Instant::now().checked_sub(age).expect("a clock that goes back so far");
                let oidc = Oidc {
                    settings: Arc::new(settings),
                    keys: RwLock::new(Keys { keys: Arc::new(vec![key.clone()]), since: Some(since) }),
                    asked: tokio::sync::Mutex::new(asked),
                };
                assert_eq!(oidc.check(&token, now).await.is_ok(), taken, "{asked:?} {age:?}");
            }
        }
    }

    #[test]
    fn keys_come_over_tls_or_from_here() {
        for good in ["https://id.example", "http://127.0.0.1:9400/x", "http://localhost/", "http://[::1]:80"] {
            assert!(is_trustworthy(good), "{good}");
        }
        for bad in ["http://id.example", "http://localhost.id.example", "http://127.0.0.1@id.example/", "ftp://x", ""] {
            assert!(!is_trustworthy(bad), "{bad}");
        }
    }
}
