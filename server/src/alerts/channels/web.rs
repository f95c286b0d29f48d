//! Webhooks: a POST of JSON. Of Slack's kind, which others understand too, the whole address is a secret, and the body is a
//! text.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use ingest::spec::properties::{Password, password};
use ingest::{HttpSources, Outward};
use serde_json::{Map, Value, json};

use super::{HIDDEN, SEND_MAX, Words};
use crate::http::error::Answered;
use crate::http::manage::fields::{Fields, wrong};

const URL_MAX: usize = 4096;
const HEADERS_MAX: usize = 20;

/// By it a receiver knows a notice that comes again.
const ID_HEADER: &str = "idempotency-key";

/// Headers that say how the request is made: they are not given.
const OWN: [&str; 5] = ["content-type", "content-length", "host", "transfer-encoding", ID_HEADER];

pub struct Web {
    url: String,
    headers: Vec<(String, Password)>,
    is_slack: bool,
}

impl Web {
    pub fn parse(json: &Value, is_slack: bool, hosts: &HttpSources) -> Answered<Web> {
        let known: &[&str] = if is_slack { &["type", "url"] } else { &["type", "url", "headers"] };
        let fields = Fields::of(json, "", known)?;
        let url = fields.need_text("url", 1..=URL_MAX)?.to_string();
        Outward::check(hosts, &url).map_err(|refused| fields.wrong("url", refused))?;
        let mut headers = Vec::new();
        if let Some(json) = fields.get("headers") {
            let map = json.as_object().filter(|map| map.len() <= HEADERS_MAX);
            let most = format_args!("must be an object of {HEADERS_MAX} headers at most").to_string();
            for (name, value) in map.ok_or_else(|| fields.wrong("headers", most))? {
                let at = format!("headers.{name}");
                let is_own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own));
                if is_own || HeaderName::from_bytes(name.as_bytes()).is_err() {
                    return Err(wrong(&at, "is not the name of a header that can be given"));
                }
                let value = password(value, &at)?;
                if matches!(&value, Password::Given(text) if HeaderValue::from_str(text).is_err()) {
                    return Err(wrong(&at, "is not what a header can have"));
                }
                headers.push((name.clone(), value));
            }
        }
        Ok(Web { url, headers, is_slack })
    }

    pub fn is_slack(&self) -> bool {
        self.is_slack
    }

    pub fn send(&self, hosts: &Arc<HttpSources>, notice: &Value) -> Result<(), String> {
        let body = match self.is_slack {
            false => notice.to_string(),
            true => json!({"text": slack(notice)}).to_string(),
        };
        let mut given = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let Password::Given(value) = value.looked_up().map_err(|error| error.to_string())? else { continue };
            given.push((name.as_str(), value));
        }
        let mut headers = vec![("content-type", "application/json"), (ID_HEADER, notice["id"].as_str().unwrap_or("-"))];
        headers.extend(given.iter().map(|(name, value)| (*name, value.as_str())));
        match Outward::new(hosts, SEND_MAX).post(&self.url, &headers, body.as_bytes()) {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(format!("the server answered {status}")),
            Err(refused) => Err(format!("url: {refused}")),
        }
    }
}

fn slack(notice: &Value) -> String {
    let Words { title, lines } = Words::of(notice);
    // What these begin would notify people, or be a link.
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    format!("*{}*\n{}", plain(&title), lines.join("\n"))
}

pub fn hide(shown: &mut Value) {
    if let Some(url) = shown["url"].as_str() {
        shown["url"] = json!(shown_url(url, shown["type"] == "slack"));
    }
    if let Some(headers) = shown.get_mut("headers").and_then(Value::as_object_mut) {
        headers.values_mut().for_each(super::hide);
    }
}

/// Without what may be secret: of Slack's, all but the host; of others, what stands behind a question mark.
fn shown_url(url: &str, is_slack: bool) -> String {
    if is_slack {
        return format!("{}/{HIDDEN}", server(url));
    }
    match url.split_once(['?', '#']) {
        Some((path, _)) => format!("{path}?{HIDDEN}"),
        None => url.to_string(),
    }
}

/// Scheme, host and port.
fn server(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}").to_ascii_lowercase()
}

pub fn restore(posted: &mut Value, earlier: &Value) -> Answered<()> {
    let (Some(url), Some(before)) = (posted["url"].as_str(), earlier["url"].as_str()) else { return Ok(()) };
    let url = match url == shown_url(before, earlier["type"] == "slack") {
        true => before.to_string(),
        false => url.to_string(),
    };
    let is_same = server(&url) == server(before);
    posted["url"] = json!(url);
    let none = Map::new();
    let known = earlier["headers"].as_object().unwrap_or(&none);
    for (name, value) in posted.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten() {
        if *value != HIDDEN {
            continue;
        }
        if !is_same {
            return Err(wrong(
                &format!("headers.{name}"),
                format_args!(
                    "{HIDDEN} stands for a value that is for the server of before, and url names another; give the value"
                ),
            ));
        }
        if let Some(kept) = known.get(name) {
            *value = kept.clone();
        }
    }
    Ok(())
}
