//! The coordinator's and overlord's paths (supervisors, tasks, datasources, segments, rules, servers), and Henge's own.

pub mod alerts;
pub mod basic_security;
pub mod datasources;
pub mod explain;
pub mod fields;
pub mod lookups;
pub mod openapi;
pub mod rules;
pub mod sampler;
pub mod saved;
pub mod secrets;
pub mod security;
pub mod segments;
pub mod servers;
pub mod supervisors;
pub mod tasks;

use axum::http::{StatusCode, Uri};
use serde_json::Value;

use super::Route;
use super::error::{Answered, Refusal};

pub fn routes() -> Vec<Route> {
    [
        supervisors::routes(),
        tasks::routes(),
        sampler::routes(),
        datasources::routes(),
        segments::routes(),
        servers::routes(),
        lookups::routes(),
        rules::routes(),
        security::routes(),
        basic_security::routes(),
        alerts::routes(),
        saved::routes(),
        openapi::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl From<coordinator::Error> for Refusal {
    fn from(error: coordinator::Error) -> Refusal {
        if let coordinator::Error::Conflict(message) = error {
            return Refusal::new(StatusCode::CONFLICT, message);
        }
        Refusal::of_kind(error.kind(), error.to_string())
    }
}

impl From<segment::Error> for Refusal {
    fn from(error: segment::Error) -> Refusal {
        Refusal::of_kind(error.kind(), error.to_string())
    }
}

impl From<ingest::Error> for Refusal {
    fn from(error: ingest::Error) -> Refusal {
        Refusal::of_kind(error.kind(), error.to_string())
    }
}

/// A body that must be JSON.
fn json_body(body: &[u8]) -> Answered<Value> {
    serde_json::from_slice(body).map_err(|error| Refusal::invalid(format!("the body is not JSON: {error}")))
}

/// The parameters of a query string; a bare name has an empty value.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn of(uri: &Uri) -> Parameters {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_string(), decode(value))
        };
        Parameters(pairs.map(pair).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Druid counts the presence of most flags, whatever their value but `false`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    pub fn number(&self, name: &str) -> Answered<Option<usize>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number =
            text.parse().map_err(|_| Refusal::invalid(format!("{name} must be a whole number, not '{text}'")))?;
        Ok(Some(number))
    }
}

/// Percent-decoding; what is not valid stays as it is.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
