//! JSON Web Tokens (RFC 7519) that a provider signed with a key of its own: RS256, ES256 and EdDSA, and nothing else. What
//! says that it is not signed, or signed with a secret that both sides know, is refused before it is looked at further.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// Longer ones are not tokens.
const BYTES_MAX: usize = 16 << 10;

/// A token that is to hold for longer is no token but a mistake: ten years.
const LIFETIME_SECONDS_MAX: f64 = 10.0 * 366.0 * 86400.0;

/// Clocks differ by so much.
const LEEWAY_SECONDS: i64 = 30;

/// Why a token is refused: for the log, never for its sender.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("it is not a JWT")]
    Malformed,
    #[error("its algorithm is not RS256, ES256 or EdDSA")]
    Algorithm,
    /// The keys may be too old.
    #[error("the provider has no such key")]
    UnknownKey,
    #[error("its signature is not that of the provider's key")]
    Signature,
    #[error("{0}: is not what this server asks for")]
    Claim(&'static str),
    #[error("the provider's keys cannot be had: {0}")]
    Provider(String),
}

/// A public key as the provider tells it (RFC 7517).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Jwk {
    pub kid: Option<String>,
    pub kty: String,
    pub alg: Option<String>,
    #[serde(rename = "use")]
    pub purpose: Option<String>,
    pub crv: Option<String>,
    pub n: Option<String>,
    pub e: Option<String>,
    pub x: Option<String>,
    pub y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader must understand, and this one does not.
    crit: Option<Value>,
}

/// What a token must say.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
}

/// The claims of a token that one of the keys signed and that is meant for this server, now.
pub fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>, now_ms: i64) -> Result<Value, Error> {
    if token.len() > BYTES_MAX {
        return Err(Error::Malformed);
    }
    let (signed, sent) = token.rsplit_once('.').ok_or(Error::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Error::Malformed)?;
    let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| Error::Malformed)?;
    let (claims, sent) = (bytes(claims)?, bytes(sent)?);
    if header.crit.is_some() {
        return Err(Error::Malformed);
    }
    let kind = match header.alg.as_str() {
        "RS256" => "RSA",
        "ES256" => "EC",
        "EdDSA" => "OKP",
        _ => return Err(Error::Algorithm),
    };
    let fits = |key: &&Jwk| {
        key.kty == kind
            && key.alg.as_ref().is_none_or(|alg| *alg == header.alg)
            && key.purpose.as_ref().is_none_or(|purpose| purpose == "sig")
            && header.kid.as_ref().is_none_or(|kid| key.kid.as_ref() == Some(kid))
    };
    let mut candidates = keys.iter().filter(fits).peekable();
    if candidates.peek().is_none() {
        return Err(Error::UnknownKey);
    }
    if !candidates.any(|key| is_signed(key, signed.as_bytes(), &sent)) {
        return Err(Error::Signature);
    }
    let claims: Value = serde_json::from_slice(&claims).map_err(|_| Error::Malformed)?;
    check(&claims, expected, now_ms)?;
    Ok(claims)
}

fn check(claims: &Value, expected: &Expected<'_>, now_ms: i64) -> Result<(), Error> {
    if claims["iss"].as_str() != Some(expected.issuer) {
        return Err(Error::Claim("iss"));
    }
    let meant = match &claims["aud"] {
        Value::String(one) => one == expected.audience,
        Value::Array(many) => many.iter().any(|one| one.as_str() == Some(expected.audience)),
        _ => false,
    };
    if !meant {
        return Err(Error::Claim("aud"));
    }
    let now = now_ms as f64 / 1000.0;
    let holds_long = claims["exp"].as_f64().is_none_or(|end| end > now + LIFETIME_SECONDS_MAX);
    if holds_long || expires(claims)? <= now_ms {
        return Err(Error::Claim("exp"));
    }
    match &claims["nbf"] {
        Value::Null => Ok(()),
        from if from.as_f64().is_some_and(|from| from - LEEWAY_SECONDS as f64 <= now) => Ok(()),
        _ => Err(Error::Claim("nbf")),
    }
}

/// The moment, in milliseconds since 1970, from which on a token of these claims is refused.
pub fn expires(claims: &Value) -> Result<i64, Error> {
    let seconds = claims["exp"].as_f64().ok_or(Error::Claim("exp"))?;
    Ok(((seconds + LEEWAY_SECONDS as f64) * 1000.0) as i64)
}

fn is_signed(key: &Jwk, signed: &[u8], sent: &[u8]) -> bool {
    let part = |text: &Option<String>| text.as_deref().and_then(|text| bytes(text).ok());
    match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => {
            let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else { return false };
            let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
            let key = RsaPublicKeyComponents { n: &n, e: &e };
            key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, sent).is_ok()
        }
        ("EC", Some("P-256")) => {
            let (Some(x), Some(y)) = (part(&key.x), part(&key.y)) else { return false };
            let point: Vec<u8> = [&[4], &x[..], &y[..]].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(signed, sent).is_ok()
        }
        ("OKP", Some("Ed25519")) => {
            let Some(x) = part(&key.x) else { return false };
            UnparsedPublicKey::new(&signature::ED25519, x).verify(signed, sent).is_ok()
        }
        _ => false,
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn text(of: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(of)
    }

    struct Provider {
        pair: Ed25519KeyPair,
        keys: Vec<Jwk>,
    }

    impl Provider {
        fn new(kid: &str) -> Provider {
            let pair = Ed25519KeyPair::from_seed_unchecked(&crate::auth::random::<32>()).unwrap();
            let x = Some(text(pair.public_key()));
            let crv = Some("Ed25519".to_string());
            let key = Jwk { kid: Some(kid.into()), kty: "OKP".into(), crv, x, ..Jwk::default() };
            Provider { pair, keys: vec![key] }
        }

        fn sign(&self, header: Value, claims: &Value) -> String {
            let signed = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
            format!("{signed}.{}", text(self.pair.sign(signed.as_bytes())))
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://id.example", "aud": ["henge", "other"], "sub": "ann", "exp": NOW / 1000 + 60})
    }

    fn check(provider: &Provider, token: &str) -> Result<String, Error> {
        let expected = Expected { issuer: "https://id.example", audience: "henge" };
        verify(token, &provider.keys, &expected, NOW).map(|claims| claims["sub"].as_str().unwrap().to_string())
    }

    #[test]
    fn what_is_not_as_it_must_be_is_refused() {
        let provider = Provider::new("one");
        let header = json!({"alg": "EdDSA", "kid": "one"});
        let good = provider.sign(header.clone(), &claims());
        assert_eq!(check(&provider, &good).as_deref(), Ok("ann"));
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            check(&provider, &provider.sign(header.clone(), &claims))
        };
        assert_eq!(with("iss", json!("https://evil.example")), Err(Error::Claim("iss")));
        assert_eq!(with("aud", json!("other")), Err(Error::Claim("aud")));
        assert_eq!(with("aud", json!({"henge": 1})), Err(Error::Claim("aud")));
        assert_eq!(with("exp", json!(NOW / 1000 - LEEWAY_SECONDS)), Err(Error::Claim("exp")));
        assert_eq!(with("exp", Value::Null), Err(Error::Claim("exp")));
        assert_eq!(with("exp", json!(NOW / 1000 + 9 * 365 * 86400)).as_deref(), Ok("ann"));
        for absurd in [json!(NOW / 1000 + 11 * 366 * 86400), json!(NOW), json!(1e18), json!(1e308), json!(-1e308)] {
            assert_eq!(with("exp", absurd.clone()), Err(Error::Claim("exp")), "{absurd}");
        }
        assert_eq!(with("nbf", json!(NOW / 1000 + LEEWAY_SECONDS + 1)), Err(Error::Claim("nbf")));
        assert_eq!(with("nbf", json!("soon")), Err(Error::Claim("nbf")));

        let of = |header: Value| check(&provider, &provider.sign(header, &claims()));
        for alg in ["none", "None", "HS256", "HS512", "RS384", ""] {
            assert_eq!(of(json!({"alg": alg, "kid": "one"})), Err(Error::Algorithm), "{alg}");
        }
        assert_eq!(of(json!({"alg": "RS256", "kid": "one"})), Err(Error::UnknownKey));
        assert_eq!(of(json!({"alg": "EdDSA", "kid": "two"})), Err(Error::UnknownKey));
        assert_eq!(of(json!({"alg": "EdDSA", "kid": "one", "crit": ["b64"]})), Err(Error::Malformed));
        let unsigned = format!("{}.{}.", text(json!({"alg": "none"}).to_string()), text(claims().to_string()));
        assert_eq!(check(&provider, &unsigned), Err(Error::Algorithm));
        assert_eq!(check(&Provider::new("one"), &good), Err(Error::Signature));
        for cut in 0..good.len() {
            assert!(check(&provider, &good[..cut]).is_err());
        }
        let mut other = claims();
        other["sub"] = json!("bob");
        let parts: Vec<&str> = good.split('.').collect();
        let forged = [parts[0], &text(other.to_string()), parts[2]].join(".");
        assert_eq!(check(&provider, &forged), Err(Error::Signature));
    }
}
