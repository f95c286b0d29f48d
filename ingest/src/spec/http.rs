//! The `http` input source: which URIs are read, and what is told to their servers.

use std::fmt;

use segment::error::{Error, Result};
use serde_json::Value;
use ureq::http::{HeaderName, HeaderValue, Uri};

use super::fields::{Fields, kind_of};
use super::properties::{Password, password};

/// URIs that one task may read.
const URIS_MAX: usize = 100_000;

/// Headers that say how an answer travels: they are the reader's own.
const OWN: [&str; 13] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "accept-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "range",
    "if-range",
    "proxy-authorization",
];

#[derive(Clone, PartialEq)]
pub struct HttpSource {
    /// Each with the scheme http or https and a host, and without a user in it.
    pub uris: Vec<String>,
    /// Name and password.
    pub user: Option<(String, Password)>,
    pub headers: Vec<(String, String)>,
}

/// Without what is told to the servers.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").field("uris", &self.uris).finish_non_exhaustive()
    }
}

impl HttpSource {
    pub(super) fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<HttpSource> {
        let meant = ["type", "uris", "httpAuthenticationUsername", "httpAuthenticationPassword", "requestHeaders"];
        let f = Fields::open(json, path, &meant, &["systemFields"], ignored)?;
        let uris = f.texts("uris")?;
        if uris.is_empty() || uris.len() > URIS_MAX {
            return Err(Error::invalid(format!("{} must have 1 to {URIS_MAX} URIs", f.path_of("uris"))));
        }
        for (i, uri) in uris.iter().enumerate() {
            check_uri(uri, &format!("{}[{i}]", f.path_of("uris")))?;
        }
        let at = f.path_of("httpAuthenticationPassword");
        let given = f.get("httpAuthenticationPassword").map(|json| password(json, &at)).transpose()?;
        let user = match (f.text("httpAuthenticationUsername")?, given) {
            (None, None) => None,
            (Some(name), Some(password)) if !name.contains(':') => Some((name, password)),
            (Some(_), Some(_)) => {
                let at = f.path_of("httpAuthenticationUsername");
                return Err(Error::invalid(format!("{at} must not have a colon in it")));
            }
            (Some(_), None) => return Err(Error::invalid(format!("{at} is required with httpAuthenticationUsername"))),
            (None, Some(_)) => {
                let name = f.path_of("httpAuthenticationUsername");
                return Err(Error::invalid(format!("{name} is required with httpAuthenticationPassword")));
            }
        };
        let headers = headers(&f)?;
        if user.is_some() && headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let at = f.path_of("requestHeaders");
            return Err(Error::invalid(format!(
                "{at}.Authorization and httpAuthenticationUsername exclude each other"
            )));
        }
        Ok(HttpSource { uris, user, headers })
    }
}

fn check_uri(text: &str, path: &str) -> Result<()> {
    let uri: Uri =
        text.parse().map_err(|_| Error::invalid(format!("{path} is not a URI, such as https://host/file")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Error::invalid(format!("{path} must begin with http:// or https://")));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Error::invalid(format!(
            "{path} has a user in it; give httpAuthenticationUsername and httpAuthenticationPassword, which are not shown"
        )));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(Error::invalid(format!("{path} has no host")));
    }
    Ok(())
}

/// Their values may be secrets: no error has them.
fn headers(f: &Fields) -> Result<Vec<(String, String)>> {
    let at = f.path_of("requestHeaders");
    let map = match f.get("requestHeaders") {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(Error::invalid(format!("{at} must be an object, not {}", kind_of(other)))),
    };
    let mut headers = Vec::with_capacity(map.len());
    for (name, value) in map {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::invalid(format!("{at}: {name:?} is not the name of a header")));
        }
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(Error::invalid(format!("{at}.{name} is set by the reader itself; leave it out")));
        }
        match value {
            Value::String(text) if HeaderValue::from_str(text).is_ok() => headers.push((name.clone(), text.clone())),
            _ => return Err(Error::invalid(format!("{at}.{name} must be a text of one line"))),
        }
    }
    Ok(headers)
}
