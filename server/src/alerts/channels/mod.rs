//! Where alerts are told: webhooks, Slack, mail, topics of Kafka. What a channel is told by stands in its document; secrets
//! among it are used, and shown to nobody: in their place stands [`HIDDEN`], which means the value that there was when it comes
//! back, for the same server only.
//!
//! What is sent to hosts by HTTP and SMTP goes to those that input may be read from, and to no others: not to this machine or
//! a private network unless an operator names it (`ingest.http_hosts`).

mod kafka;
mod mail;
mod web;

use std::sync::Arc;
use std::time::Duration;

use ingest::HttpSources;
use serde_json::{Value, json};

use crate::http::error::Answered;
use crate::http::manage::fields::{Fields, wrong};
use mail::Mail;
use web::Web;

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "***";

/// What sending once may take.
pub const SEND_MAX: Duration = Duration::from_secs(10);

pub enum Channel {
    Web(Web),
    Mail(Mail),
    Kafka(kafka::Topic),
}

const TYPES: [&str; 4] = ["webhook", "slack", "email", "kafka"];

impl Channel {
    /// Of what is kept, or of what was posted once [`restored`]. Errors name the field.
    pub fn parse(json: &Value, hosts: &HttpSources) -> Answered<Channel> {
        let any = json.as_object().map(|map| map.keys().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default();
        let kind = Fields::of(json, "", &any)?.one_of("type", &TYPES)?;
        Ok(match kind {
            "webhook" | "slack" => Channel::Web(Web::parse(json, kind == "slack", hosts)?),
            "email" => Channel::Mail(Mail::parse(json, hosts)?),
            _ => Channel::Kafka(kafka::Topic::parse(json)?),
        })
    }

    /// What the channel is called in errors and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Channel::Web(web) if web.is_slack() => "slack",
            Channel::Web(_) => "webhook",
            Channel::Mail(_) => "email",
            Channel::Kafka(_) => "kafka",
        }
    }

    /// The topic that is written to, if it is one.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Channel::Kafka(topic) => Some(topic.name()),
            _ => None,
        }
    }

    /// Tells it once. It may have arrived even if that is an error.
    pub async fn send(self, hosts: Arc<HttpSources>, notice: &Value) -> Result<(), String> {
        let notice = notice.clone();
        let sending = async move {
            match self {
                Channel::Web(web) => blocking(move || web.send(&hosts, &notice)).await,
                Channel::Kafka(topic) => blocking(move || topic.send(&notice)).await,
                Channel::Mail(mail) => mail.send(hosts, &notice).await,
            }
        };
        // Each has a limit of its own; this is for what none of them bounds, such as the look for a host.
        let late = || Err(format!("it was not sent within {SEND_MAX:?}"));
        tokio::time::timeout(SEND_MAX + Duration::from_secs(2), sending).await.unwrap_or_else(|_| late())
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("sending broke off".into()))
}

/// A channel as it may be shown.
pub fn hidden(kept: &Value) -> Value {
    let mut shown = kept.clone();
    match kept["type"].as_str() {
        Some("webhook" | "slack") => web::hide(&mut shown),
        // By name: what is asked for by an index would be there from then on.
        Some("email") => shown.get_mut("password").into_iter().for_each(hide),
        _ => kafka::hide(&mut shown),
    }
    shown
}

/// What was posted, with the values of before where it says that they are hidden. Refused where they would be told to somebody
/// else.
pub fn restored(posted: &Value, earlier: Option<&Value>) -> Answered<Value> {
    let mut value = posted.clone();
    if let Some(earlier) = earlier.filter(|earlier| earlier["type"] == posted["type"]) {
        match posted["type"].as_str() {
            Some("webhook" | "slack") => web::restore(&mut value, earlier)?,
            Some("email") => mail::restore(&mut value, earlier)?,
            Some("kafka") => kafka::restore(&mut value, earlier)?,
            _ => {}
        }
    }
    match says_hidden(&value, "") {
        Some(at) => Err(wrong(
            &at,
            format_args!("{HIDDEN} stands for the value that it had, and there is none; give the value"),
        )),
        None => Ok(value),
    }
}

/// Where a value stands that is not shown.
fn says_hidden(value: &Value, at: &str) -> Option<String> {
    let join = |name: &str| if at.is_empty() { name.to_string() } else { format!("{at}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| says_hidden(value, &join(name))),
        Value::Array(items) => items.iter().find_map(|value| says_hidden(value, at)),
        Value::String(text) if text.contains(HIDDEN) => Some(at.to_string()),
        _ => None,
    }
}

/// Hides a value; of one that the environment has, its variable is no secret.
fn hide(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Object(provider) if provider.get("type").is_some_and(|of| of == "environment") => {}
        other => *other = json!(HIDDEN),
    }
}

/// What of a notice people read.
struct Words {
    title: String,
    lines: Vec<String>,
}

impl Words {
    fn of(notice: &Value) -> Words {
        let text = |name: &str| notice[name].as_str().unwrap_or_default().to_string();
        let again = if notice["repeat"] == true { " (still)" } else { "" };
        let mut lines = Vec::new();
        if !text("description").is_empty() {
            lines.push(text("description"));
        }
        if !notice["value"].is_null() {
            lines.push(format!("value: {}", notice["value"]));
        }
        if !text("error").is_empty() {
            lines.push(format!("error: {}", text("error")));
        }
        lines.push(format!("severity: {}", text("severity")));
        lines.push(format!("since: {}", text("since")));
        Words { title: format!("[{}] {}{again}", text("state"), text("alert")), lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: Value) -> Result<Channel, String> {
        let hosts = HttpSources::default();
        Channel::parse(&json, &hosts).map_err(|refusal| refusal.message)
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        for (json, told) in [
            (json!({}), "type: is missing"),
            (json!({"type": "pager"}), "type: must be one of webhook, slack, email, kafka"),
            (json!({"type": "webhook"}), "url: is missing"),
            (json!({"type": "webhook", "url": "ftp://a/"}), "url: "),
            (json!({"type": "webhook", "url": "http://u:p@a/"}), "url: "),
            (json!({"type": "webhook", "url": "http://a/", "headers": {"a b": "c"}}), "headers.a b: "),
            (json!({"type": "webhook", "url": "http://a/", "headers": {"a": "c\nd"}}), "headers.a: "),
            (json!({"type": "webhook", "url": "http://a/", "header": {}}), "header: is not known"),
            (json!({"type": "email", "smtp": "smtp://a", "from": "a@b.c", "to": []}), "to: "),
            (json!({"type": "email", "smtp": "http://a", "from": "a@b.c", "to": ["a@b.c"]}), "smtp: "),
            (json!({"type": "email", "smtp": "smtp://a", "from": "x", "to": ["a@b.c"]}), "from: "),
            (json!({"type": "email", "smtp": "smtp://a", "from": "a@b.c", "to": ["x\r\ny"]}), "to[0]: "),
            (json!({"type": "email", "smtp": "smtp://a", "user": "u", "from": "a@b.c", "to": ["a@b.c"]}), "password: "),
            (json!({"type": "kafka", "topic": "t"}), "bootstrapServers: is missing"),
            (json!({"type": "kafka", "bootstrapServers": "a:1", "topic": "a b"}), "topic: "),
            (
                json!({"type": "kafka", "bootstrapServers": "a:1", "topic": "t", "consumerProperties": {"ssl.key.location": "/x"}}),
                "consumerProperties: ssl.key.location",
            ),
        ] {
            let error = parsed(json.clone()).err().unwrap_or_else(|| panic!("{json} is taken"));
            assert!(error.starts_with(told), "{json}: {error}");
        }
        // Where an operator names hosts, no other is taken.
        let named = HttpSources::new(["https"].into_iter(), ["a.example", "b.example:25"].into_iter()).unwrap();
        let mail = |smtp: &str| json!({"type": "email", "smtp": smtp, "from": "a@b.c", "to": ["a@b.c"]});
        for (smtp, is_taken) in [
            ("smtp://a.example", true),
            ("smtp://b.example:25", true),
            ("smtp://b.example:26", false),
            ("smtp://c.example", false),
        ] {
            let parsed = Channel::parse(&mail(smtp), &named);
            let refused = parsed.err().is_some_and(|refused| refused.message.starts_with("smtp: "));
            assert_eq!(!refused, is_taken, "{smtp}");
        }
    }

    #[test]
    fn secrets_are_hidden_and_come_back_for_the_same_server_only() {
        let password = json!({"type": "environment", "variable": "SECRET_MAIL"});
        for (kept, elsewhere) in [
            (
                json!({"type": "webhook", "url": "https://a.example/x?key=xyzzy", "headers": {"authorization": "xyzzy", "x": password}}),
                ("url", json!("https://evil.example/x?***")),
            ),
            (
                json!({"type": "webhook", "url": "https://a.example/x", "headers": {"k": "xyzzy"}}),
                ("url", json!("http://a.example/x")),
            ),
            (
                json!({"type": "slack", "url": "https://hooks.slack.example/xyzzy"}),
                ("url", json!("https://evil.example/***")),
            ),
            (
                json!({"type": "email", "smtp": "smtps://m.example:465", "user": "u", "password": "xyzzy", "from": "a@b.c", "to": ["a@b.c"]}),
                ("smtp", json!("smtps://evil.example:465")),
            ),
            (
                json!({"type": "kafka", "bootstrapServers": "k:1", "topic": "t", "consumerProperties": {"sasl.password": "xyzzy", "security.protocol": "SASL_SSL"}}),
                ("bootstrapServers", json!("evil:1")),
            ),
        ] {
            let shown = hidden(&kept);
            assert!(!shown.to_string().contains("xyzzy") && shown.to_string().contains(HIDDEN), "{shown}");
            assert_eq!(restored(&shown, Some(&kept)).unwrap(), kept);
            let mut moved = shown.clone();
            moved[elsewhere.0] = elsewhere.1;
            let refused = restored(&moved, Some(&kept)).expect_err(&moved.to_string()).message;
            assert!(!refused.contains("xyzzy"), "{refused}");
            assert!(restored(&shown, None).is_err(), "{shown}");
            let other = json!({"type": if kept["type"] == "slack" { "webhook" } else { "slack" }, "url": HIDDEN});
            assert!(restored(&other, Some(&kept)).is_err());
        }
    }
}
