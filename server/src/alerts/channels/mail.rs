//! Mail by SMTP. `smtps://` speaks TLS from the first byte; `smtp://` begins in the clear and goes on by TLS where the server
//! offers it, and must where there is a password to be told.

use std::sync::Arc;

use ingest::HttpSources;
use ingest::spec::properties::{Password, password};
use lettre::address::Address;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::Value;

use super::{HIDDEN, SEND_MAX, Words};
use crate::http::error::{Answered, Refusal};
use crate::http::manage::fields::{Fields, wrong};

const TO_MAX: usize = 50;

pub struct Mail {
    host: String,
    port: u16,
    is_tls: bool,
    user: Option<(String, Password)>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    pub fn parse(json: &Value, hosts: &HttpSources) -> Answered<Mail> {
        let fields = Fields::of(json, "", &["type", "smtp", "user", "password", "from", "to"])?;
        let (host, port, is_tls) = server(fields.need_text("smtp", 1..=300)?)?;
        hosts.check_host(&host, port).map_err(|refused| fields.wrong("smtp", refused))?;
        let user = match (fields.text("user", 1..=320)?, fields.get("password")) {
            (None, None) => None,
            (Some(user), Some(secret)) => Some((user.to_string(), password(secret, "password")?)),
            (Some(_), None) => return Err(fields.wrong("password", "is missing; user needs one")),
            (None, Some(_)) => return Err(fields.wrong("user", "is missing; password needs one")),
        };
        let from = mailbox(fields.need_text("from", 1..=320)?, "from")?;
        let to = fields.texts("to", TO_MAX, 1..=320)?.unwrap_or_default();
        if to.is_empty() {
            return Err(fields.wrong("to", "must name who gets the mail"));
        }
        let to = to.iter().enumerate().map(|(at, to)| mailbox(to, &format!("to[{at}]"))).collect::<Answered<_>>()?;
        Ok(Mail { host, port, is_tls, user, from, to })
    }

    pub async fn send(&self, hosts: Arc<HttpSources>, notice: &Value) -> Result<(), String> {
        let (host, port) = (self.host.clone(), self.port);
        let found = tokio::task::spawn_blocking(move || hosts.addresses(&host, port)).await;
        let found =
            found.map_err(|_| "sending broke off".to_string())?.map_err(|refused| format!("smtp: {refused}"))?;
        let message = self.message(notice)?;
        let tls = TlsParameters::new(self.host.clone()).map_err(|error| format!("smtp: {error}"))?;
        let tls = match (self.is_tls, &self.user) {
            (true, _) => Tls::Wrapper(tls),
            (false, Some(_)) => Tls::Required(tls),
            (false, None) => Tls::Opportunistic(tls),
        };
        // An address that was looked at, and not the name again, which may lead elsewhere by now.
        let address = found.first().ok_or("smtp: the host is not found")?.ip().to_string();
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address)
            .port(self.port)
            .hello_name(ClientId::Domain("henge".into()))
            .timeout(Some(SEND_MAX))
            .tls(tls);
        if let Some((user, password)) = &self.user {
            let password = match password.looked_up().map_err(|error| error.to_string())? {
                Password::Given(password) => password,
                Password::Variable { path, .. } => return Err(format!("{path}: is not there")),
            };
            transport = transport.credentials(Credentials::new(user.clone(), password));
        }
        let sent = tokio::time::timeout(SEND_MAX, transport.build().send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the mail server: {error}")),
            Err(_) => Err(format!("the mail server did not take it within {SEND_MAX:?}")),
        }
    }

    fn message(&self, notice: &Value) -> Result<Message, String> {
        let (Words { title, lines }, id) = (Words::of(notice), notice["id"].as_str().unwrap_or("-"));
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(title)
            .message_id(Some(format!("<{id}@henge>")))
            .header(ContentType::TEXT_PLAIN)
            .header(NoticeId(id.to_string()));
        for to in &self.to {
            message = message.to(to.clone());
        }
        message.body(format!("{}\n", lines.join("\n"))).map_err(|error| error.to_string())
    }
}

/// By it a receiver knows a notice that comes again.
#[derive(Clone)]
struct NoticeId(String);

impl Header for NoticeId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Henge-Notification-Id")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(NoticeId(text.to_string()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

fn mailbox(text: &str, at: &str) -> Answered<Mailbox> {
    let wrong = || wrong(at, "must be an address such as ops@example.com");
    if text.contains(char::is_control) {
        return Err(wrong());
    }
    let address: Address = text.parse().map_err(|_| wrong())?;
    Ok(Mailbox::new(None, address))
}

/// Host, port, and whether it speaks TLS from the first byte.
fn server(text: &str) -> Answered<(String, u16, bool)> {
    let wrong = || -> Refusal { wrong("smtp", "must be smtp://HOST:PORT or smtps://HOST:PORT") };
    let (rest, is_tls) = match (text.strip_prefix("smtp://"), text.strip_prefix("smtps://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Err(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default = if is_tls { 465 } else { 25 };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            (host, port.parse().map_err(|_| wrong())?)
        }
        _ => (rest, default),
    };
    let host = host.trim_matches(['[', ']']);
    let is_odd = |ch: char| !(ch.is_ascii_alphanumeric() || ".-_:".contains(ch));
    if host.is_empty() || host.contains(is_odd) || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_ascii_lowercase(), port, is_tls))
}

pub fn restore(posted: &mut Value, earlier: &Value) -> Answered<()> {
    if posted["password"] != HIDDEN {
        return Ok(());
    }
    for name in ["smtp", "user"] {
        if posted[name] != earlier[name] {
            return Err(wrong(
                "password",
                format_args!(
                    "{HIDDEN} stands for a value that is for the server of before, and {name} is another; give the value"
                ),
            ));
        }
    }
    posted["password"] = earlier["password"].clone();
    Ok(())
}
