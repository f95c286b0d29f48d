//! Who is calling. [`Identity::identify`] is the one way from a request's credentials to a [`Caller`]: a name and a
//! password (HTTP Basic), an API token, a token of a session, a JWT of the OIDC provider (all as bearer), or the cookie of
//! a session. Where none are needed and none are there, the caller is [`ANONYMOUS`] and may do everything. Credentials that
//! are there are checked, but for two that nobody there can have given out, and that clients send who must send something:
//! where none are needed, a name that no user has is as good as none, and so is a bearer token that does not look like one
//! of ours if there is no provider.
//!
//! Users, tokens, sessions, roles and table rules are documents of the catalog. What is asked of them is read from its
//! picture in memory at each request, so that a change takes effect with the next. They change by [`commit`] alone.

pub mod commit;
pub mod jwt;
pub mod names;
pub mod oidc;
pub mod owner;
pub mod password;
pub mod poster;
pub mod roles;
pub mod saved;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod users;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use coordinator::Coordinator;
use parking_lot::Mutex;
use query::policy::ADMIN;
use query::{Authorizer, Principal};
use query_sql::Sql;
use ring::rand::SecureRandom;
use tokio::sync::watch;

use crate::config::AuthSettings;
use crate::node::now;
use commit::Author;
use oidc::Oidc;
use password::Passwords;
use throttle::{Throttle, key};
use users::Account;

/// Whoever brings no credentials where none are needed.
pub const ANONYMOUS: &str = "anonymous";

/// This process, where it is a client of its own.
pub const PROCESS: &str = "henge";
const PROCESS_PREFIX: &str = "hengeprocess.";

/// Where a session's cookie is found.
pub const COOKIE: &str = "henge_session";

/// Requests that change something by a session's cookie prove with this header that they come from the page.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Names and passwords that were checked and are remembered.
const VERIFIED_MAX: usize = 10_000;

/// Attempts with the same credentials wait for one another, with others hardly ever.
const STRIPES: usize = 64;

/// Who sent a request, from where, and how that is known.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Arc<Principal>,
    pub address: IpAddr,
    pub how: How,
    /// The name and password were looked at for this request, and are not those of a moment ago.
    pub signs_in: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    Anonymous,
    /// A name and a password, of this version.
    Password(i64),
    /// An API token, by its id.
    Token(String),
    /// A session, by its name in the catalog.
    Session(String),
    /// Until then, in milliseconds since 1970.
    Jwt {
        expires: i64,
    },
    /// This process itself.
    Process,
}

/// What has become of somebody who was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    Same,
    /// The same user with the same credentials, of other roles, groups or attributes.
    Changed,
    /// The credentials are worth nothing any more.
    Nobody,
}

/// Why a request is not let in. What it says is the same whatever was wrong with the credentials.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// No credentials, where some are needed.
    Missing,
    Wrong,
    /// Wrong, and they came as a cookie: the client had better forget it.
    WrongCookie,
    /// Too many attempts failed; there is no looking until then.
    Throttled(Duration),
    /// Too many passwords are being checked.
    Busy,
    /// It comes from a page of somebody else, by nothing but what a browser adds by itself.
    Forged,
    /// The provider's word is good, and the name that it gives cannot be a user's here.
    Unnamable,
}

/// What is looked at of a request.
pub struct Asked<'a> {
    pub headers: &'a HeaderMap,
    pub method: &'a Method,
    /// Host and port that the request is for, as its sender wrote them.
    pub host: Option<&'a str>,
    /// Those whose pages are welcome.
    pub origins: &'a [HeaderValue],
    pub address: IpAddr,
}

pub struct Identity {
    pub settings: AuthSettings,
    coordinator: Arc<Coordinator>,
    authorizer: Arc<Authorizer>,
    /// Has the queries that come to an end with what their askers had.
    sql: Arc<Sql>,
    passwords: Passwords,
    throttle: Throttle,
    /// Users as last read, by name, with the version of their document.
    accounts: Mutex<HashMap<String, (i64, Arc<Account>)>>,
    remembered: Remembered,
    verifying: Vec<tokio::sync::Mutex<()>>,
    /// Of this process: what is remembered of passwords is worth nothing outside.
    key: ring::hmac::Key,
    /// When sessions were last used, by their names; later than their documents say.
    sessions_used: Mutex<HashMap<String, i64>>,
    oidc: Option<Oidc>,
    anonymous: Arc<Principal>,
    process: Arc<Principal>,
    /// What this process knows itself by when it is a client of its own; no other has it.
    process_token: String,
    /// Held by whoever changes any of it ([`commit`]).
    changing: tokio::sync::Mutex<()>,
}

/// Wakes whoever waits when users, tokens, sessions or rules change.
#[derive(Clone)]
pub struct Changes {
    documents: watch::Receiver<i64>,
    rules: watch::Receiver<u64>,
}

impl Changes {
    /// Returns at the next change; never, if there can be none any more.
    pub async fn next(&mut self) {
        let changed = tokio::select! {
            changed = self.documents.changed() => changed,
            changed = self.rules.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether there was one since this was asked for the last time.
    pub fn have_come(&mut self) -> bool {
        let come = self.documents.has_changed().unwrap_or(false) || self.rules.has_changed().unwrap_or(false);
        if come {
            self.documents.mark_unchanged();
            self.rules.mark_unchanged();
        }
        come
    }
}

/// Whom a name and a password stand for, and the version of the password.
type Known = (Arc<Principal>, i64);

/// Names and passwords that were right, for as long as they are used.
#[derive(Default)]
struct Remembered(Mutex<HashMap<[u8; 32], Verified>>);

struct Verified {
    user: String,
    password_version: i64,
    until: Instant,
}

impl Remembered {
    fn remember(&self, proof: [u8; 32], user: &str, password_version: i64, now: Instant, time: Duration) {
        let mut all = self.0.lock();
        if all.len() >= VERIFIED_MAX {
            all.retain(|_, of| of.until > now);
        }
        if all.len() < VERIFIED_MAX {
            all.insert(proof, Verified { user: user.to_string(), password_version, until: now + time });
        }
    }

    /// The user and the version of the password, if it was right or used not long ago. This is a use.
    fn find(&self, proof: &[u8; 32], now: Instant, time: Duration) -> Option<(String, i64)> {
        let mut all = self.0.lock();
        let of = all.get_mut(proof).filter(|of| of.until > now)?;
        of.until = now + time;
        Some((of.user.clone(), of.password_version))
    }

    fn forget(&self, proof: &[u8; 32]) {
        self.0.lock().remove(proof);
    }
}

impl Identity {
    /// Where the coordinator leads, with the password of the user `admin` if it was made just now: there were no users.
    pub async fn open(
        settings: AuthSettings,
        coordinator: Arc<Coordinator>,
        authorizer: Arc<Authorizer>,
        sql: Arc<Sql>,
    ) -> anyhow::Result<(Arc<Identity>, Option<String>)> {
        let mut anonymous = Principal::new(ANONYMOUS);
        anonymous.roles.insert(ADMIN.to_string());
        let process = anonymous.clone();
        let identity = Arc::new(Identity {
            throttle: Throttle::new(settings.failures_max, settings.lockout),
            oidc: settings.oidc.clone().map(Oidc::new),
            settings,
            coordinator,
            authorizer,
            sql,
            passwords: Passwords::new(),
            accounts: Mutex::default(),
            remembered: Remembered::default(),
            verifying: (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect(),
            key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &random::<32>()),
            sessions_used: Mutex::default(),
            anonymous: Arc::new(anonymous),
            process: Arc::new(Principal { name: PROCESS.to_string(), ..process }),
            process_token: format!("{PROCESS_PREFIX}{}", random_text::<32>()),
            changing: tokio::sync::Mutex::new(()),
        });
        let first = if identity.coordinator.leads() { identity.first_user().await? } else { None };
        Ok((identity, first))
    }

    /// A bearer token of this process, for as long as it lives.
    pub fn process_token(&self) -> &str {
        &self.process_token
    }

    pub fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    pub async fn identify(&self, asked: &Asked<'_>) -> Result<Caller, Refused> {
        let caller = |principal, how| Caller { principal, address: asked.address, how, signs_in: false };
        let mut sent = asked.headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = sent.next() {
            if sent.next().is_some() {
                return Err(Refused::Wrong);
            }
            let value = value.to_str().map_err(|_| Refused::Wrong)?;
            let (scheme, rest) = value.split_once(' ').ok_or(Refused::Wrong)?;
            let rest = rest.trim();
            return match scheme {
                scheme if scheme.eq_ignore_ascii_case("basic") => {
                    let (name, password) = basic(rest).ok_or(Refused::Wrong)?;
                    if self.is_anybody(&name) {
                        return match self.is_of_another_page(asked) {
                            true => Err(Refused::Forged),
                            false => Ok(caller(self.anonymous.clone(), How::Anonymous)),
                        };
                    }
                    // Browsers remember them, and send them along from whatever page.
                    if is_sent_by_another_page(asked) {
                        return Err(Refused::Forged);
                    }
                    self.by_password(&name, &password, asked.address).await
                }
                scheme if scheme.eq_ignore_ascii_case("bearer") => {
                    // What looks like a token of here may have been one, of a known user: it is checked.
                    if !self.settings.required && self.oidc.is_none() && !is_of_here(rest) {
                        return match self.is_of_another_page(asked) {
                            true => Err(Refused::Forged),
                            false => Ok(caller(self.anonymous.clone(), How::Anonymous)),
                        };
                    }
                    let (principal, how) = self.by_bearer(rest).await?;
                    Ok(caller(principal, how))
                }
                _ => Err(Refused::Wrong),
            };
        }
        if let Some(id) = cookie(asked.headers) {
            let (principal, name) = self.by_session(id).ok_or(Refused::WrongCookie)?;
            let token = asked.headers.get(CSRF_HEADER);
            let is_ours = match changes(asked.method) {
                true => token.is_some_and(|sent| same(sent.as_bytes(), sessions::csrf_token(id).as_bytes())),
                false => !is_sent_by_another_page(asked),
            };
            if !is_ours {
                return Err(Refused::Forged);
            }
            return Ok(caller(principal, How::Session(name)));
        }
        if self.settings.required {
            return Err(Refused::Missing);
        }
        if self.is_of_another_page(asked) {
            return Err(Refused::Forged);
        }
        Ok(caller(self.anonymous.clone(), How::Anonymous))
    }

    /// Tells when anything changes that [`Identity::still`] or the rules hang on.
    pub fn changes(&self) -> Changes {
        Changes { documents: self.coordinator.watch_documents(), rules: self.authorizer.watch() }
    }

    /// Whether who was identified would be again at a moment, as the same: a request takes time, above all if its sender
    /// takes it.
    pub fn still(&self, caller: &Caller, at: i64) -> Still {
        let name = &caller.principal.name;
        let now = match &caller.how {
            How::Anonymous | How::Process => return Still::Same,
            How::Jwt { expires } if at < *expires && self.coordinator.document(users::USER, name).is_none() => {
                return Still::Same;
            }
            How::Jwt { .. } => None,
            How::Password(version) if self.password_version(name) != *version => None,
            How::Password(_) => self.principal(name),
            How::Token(id) => self.of_token(id, at),
            How::Session(id) => self.of_session(id, at),
        };
        match now {
            Some(now) if now == caller.principal => Still::Same,
            Some(_) => Still::Changed,
            None => Still::Nobody,
        }
    }

    /// When the credentials of a caller are worth nothing any more, unless they are used meanwhile; `None` if time alone
    /// does not end them.
    pub fn runs_out(&self, caller: &Caller) -> Option<i64> {
        match &caller.how {
            How::Anonymous | How::Process | How::Password(_) => None,
            How::Jwt { expires } => Some(*expires),
            How::Token(id) => self.token_expires(id),
            How::Session(id) => self.session_ends(id),
        }
    }

    /// In the name of this process.
    fn own_author(&self) -> Author {
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Author::new(Caller { principal: self.process.clone(), address, how: How::Process, signs_in: false }, None)
    }

    /// Whether a name is as good as none: clients that must have one to send are welcome where nobody needs one.
    pub fn is_anybody(&self, name: &str) -> bool {
        !self.settings.required && self.coordinator.document(users::USER, name).is_none()
    }

    /// Who says a name and a password, wherever they came from: known by the version of the password that was said, even
    /// if another is set at that moment. What was right a moment ago is not computed again.
    pub async fn by_password(&self, name: &str, password: &str, address: IpAddr) -> Result<Caller, Refused> {
        let ((principal, version), signs_in) = self.checked(name, password, address).await?;
        let caller = Caller { principal, address, how: How::Password(version), signs_in };
        // It took a while.
        if self.still(&caller, now()) == Still::Same { Ok(caller) } else { Err(Refused::Wrong) }
    }

    /// Whom they stand for, the version of the password, and whether it was computed. What is remembered goes before the
    /// throttle: who guesses at a name does not throw out who is in by it.
    async fn checked(&self, name: &str, password: &str, address: IpAddr) -> Result<(Known, bool), Refused> {
        let proof = self.proof(name, password);
        if let Some(known) = self.remembered(&proof) {
            return Ok((known, false));
        }
        // Many requests with the same right password are one attempt.
        let _one = self.verifying[usize::from(proof[0]) % STRIPES].lock().await;
        if let Some(known) = self.remembered(&proof) {
            return Ok((known, false));
        }
        self.throttle.begin(name, address, Instant::now()).map_err(Refused::Throttled)?;
        let document = self.coordinator.document(users::PASSWORD, name);
        let account = self.account(name).filter(|account| account.may_sign_in());
        // A disabled user costs as much as any.
        let hash = document.as_ref().filter(|_| account.is_some()).and_then(|document| document.value["hash"].as_str());
        let right = password.len() <= password::LENGTH_MAX
            && self.passwords.verify(password, hash).await.map_err(|_| Refused::Busy)?;
        let (Some(account), Some(document), true) = (account, document, right) else {
            return Err(Refused::Wrong);
        };
        self.throttle.forgive(name, address);
        self.remembered.remember(proof, name, document.version, Instant::now(), self.settings.remember);
        Ok(((account.principal.clone(), document.version), true))
    }

    /// The principal of credentials that were right a moment ago, if the user and the password are still the same, and the
    /// version of the password.
    fn remembered(&self, proof: &[u8; 32]) -> Option<Known> {
        let (user, version) = self.remembered.find(proof, Instant::now(), self.settings.remember)?;
        let principal = (self.password_version(&user) == version).then(|| self.principal(&user)).flatten();
        if principal.is_none() {
            self.remembered.forget(proof);
        }
        Some((principal?, version))
    }

    fn proof(&self, name: &str, password: &str) -> [u8; 32] {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
        context.update(password.as_bytes());
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }

    async fn by_bearer(&self, token: &str) -> Result<(Arc<Principal>, How), Refused> {
        if token.starts_with(PROCESS_PREFIX) {
            let own = same(token.as_bytes(), self.process_token.as_bytes());
            return if own { Ok((self.process.clone(), How::Process)) } else { Err(Refused::Wrong) };
        }
        if let Some(id) = token.strip_prefix(sessions::BEARER_PREFIX) {
            let (principal, name) = self.by_session(id).ok_or(Refused::Wrong)?;
            return Ok((principal, How::Session(name)));
        }
        if token.starts_with(tokens::PREFIX) {
            let (principal, id) = self.by_token(token).ok_or(Refused::Wrong)?;
            return Ok((principal, How::Token(id)));
        }
        let oidc = self.oidc.as_ref().ok_or(Refused::Wrong)?;
        let (principal, expires) = oidc.check(token, now()).await.map_err(|error| {
            tracing::info!(%error, "a JWT is refused");
            Refused::Wrong
        })?;
        if let Err(error) = users::check_name("user", &principal.name) {
            tracing::info!(%error, "a JWT is refused: its name");
            return Err(Refused::Unnamable);
        }
        // A name is one person: who is a user here is asked for a password of here.
        if self.coordinator.document(users::USER, &principal.name).is_some() || is_reserved(&principal.name) {
            tracing::info!(user = principal.name, "a JWT is refused: its name is that of a local user");
            return Err(Refused::Wrong);
        }
        Ok((Arc::new(principal), How::Jwt { expires }))
    }

    /// Where everybody may do everything, a page from elsewhere must not do it in the name of who looks at it: a browser
    /// says where a page is from, and a name that was made to point here is not ours.
    fn is_of_another_page(&self, asked: &Asked<'_>) -> bool {
        let bent = |host: &str| !is_local_name(host, &self.settings.hosts);
        let from = asked.headers.get(header::ORIGIN);
        let all_are_welcome = from.is_some() && asked.origins.iter().any(|welcome| welcome == "*");
        !self.settings.anywhere && asked.named_host().is_some_and(bent)
            || !all_are_welcome && is_sent_by_another_page(asked)
    }
}

impl Asked<'_> {
    fn text(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn named_host(&self) -> Option<&str> {
        self.host.or_else(|| self.text(header::HOST))
    }
}

/// Whether a browser says that a request is of a page from elsewhere, which is not welcome. What is no browser says nothing
/// of the kind.
fn is_sent_by_another_page(asked: &Asked<'_>) -> bool {
    let origin = asked.headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| asked.origins.contains(origin)) {
        return false;
    }
    // Whoever is welcome by no name of their own has to have asked: what a browser sends along without that is not meant.
    if origin.is_some() && asked.origins.iter().any(|welcome| welcome == "*") && has_asked_before(asked) {
        return false;
    }
    match (asked.text("sec-fetch-site"), origin) {
        // It knows better than what a proxy in between made of the host.
        (Some("same-origin" | "none"), _) => false,
        (Some(_), _) => true,
        (None, None) => false,
        (None, Some(origin)) => {
            let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            from.is_none() || from != asked.named_host()
        }
    }
}

/// Whether a browser sends a request of a page from elsewhere only after it asked whether it may (CORS). That asks without
/// credentials of the browser's own, and so does what follows.
fn has_asked_before(asked: &Asked<'_>) -> bool {
    if matches!(*asked.method, Method::GET | Method::HEAD) {
        return true;
    }
    let content = asked.text(header::CONTENT_TYPE).map(|content| content.split(';').next().unwrap_or_default().trim());
    let is_simple = |content: &str| {
        let simple = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
        simple.iter().any(|of| content.eq_ignore_ascii_case(of))
    };
    *asked.method != Method::POST || content.is_some_and(|content| !is_simple(content))
}

/// Whether a name and port can only be meant for an address, or this machine, and not be bent to it by the name's owner.
/// `names` are those that are this node's: a name without a dot is whatever the resolver of who looks makes of it.
fn is_local_name(host: &str, names: &[String]) -> bool {
    if let Ok(address) = host.parse::<std::net::SocketAddr>() {
        return address.port() > 0;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

/// The name that this machine gives itself, where the system tells it in a file or in the environment.
pub fn hostname() -> Option<String> {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let told = files.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let told = told.or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(told.trim().to_string()).filter(|name| !name.is_empty())
}

/// Whether a name stands for something else than a user.
pub fn is_reserved(name: &str) -> bool {
    name == ANONYMOUS || name == PROCESS
}

/// Whether a request of this method may change anything.
pub fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a bearer token has the form of those that this server gives out.
fn is_of_here(token: &str) -> bool {
    [PROCESS_PREFIX, sessions::BEARER_PREFIX, tokens::PREFIX].iter().any(|prefix| token.starts_with(prefix))
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_string(), password.to_string()))
}

/// The name that a request says it is from, whether or not it is.
pub fn claimed(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let (name, _) = basic(rest.trim()).filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some(key(&name))
}

/// The id of the session; none if several cookies claim to be it.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A text of such bytes, for URLs, headers and cookies.
pub fn random_text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random::<N>())
}

/// SHA-256, in hexadecimal digits. For what is random already; passwords have [`Passwords`].
pub fn digest(of: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, of.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Equality in a time that does not tell where the two differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_a_session_and_two_are_none() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            cookie(&headers).map(str::to_string)
        };
        assert_eq!(of(&["a=b; henge_session=x"]).as_deref(), Some("x"));
        assert_eq!(of(&["henge_session=x; henge_session=y"]), None);
        assert_eq!(of(&["henge_session=x", "henge_session=x"]), None);
        assert_eq!(of(&["xhenge_session=x"]), None);
    }

    #[test]
    fn a_password_is_remembered_for_as_long_as_it_is_used() {
        let (remembered, time) = (Remembered::default(), Duration::from_secs(60));
        let (ann, bob) = ([1; 32], [2; 32]);
        let mut now = Instant::now();
        remembered.remember(ann, "ann", 7, now, time);
        remembered.remember(bob, "bob", 8, now, time);
        for _ in 0..10 {
            now += Duration::from_secs(59);
            assert_eq!(remembered.find(&ann, now, time), Some(("ann".to_string(), 7)));
        }
        assert_eq!(remembered.find(&bob, now, time), None);
        remembered.forget(&ann);
        assert_eq!(remembered.find(&ann, now, time), None);
        remembered.remember(ann, "ann", 7, now, time);
        assert_eq!(remembered.find(&ann, now + time, time), None);
        // Those who are not there any more make room, and no others.
        for n in 0..VERIFIED_MAX * 2 {
            let mut proof = [3; 32];
            proof[..8].copy_from_slice(&n.to_be_bytes());
            remembered.remember(proof, "eve", 1, now + time, time);
        }
        assert_eq!(remembered.0.lock().len(), VERIFIED_MAX);
    }

    #[test]
    fn names_that_others_own_are_not_local() {
        let own = ["henge".to_string(), "henge.example.org".to_string()];
        for local in [
            "localhost:8888",
            "LOCALHOST",
            "127.0.0.1:8888",
            "127.0.0.1",
            "[::1]:80",
            "[::1]",
            "a.localhost",
            "henge:8888",
            "Henge",
            "henge.example.org:1",
        ] {
            assert!(is_local_name(local, &own), "{local}");
        }
        for foreign in [
            "example.com:8888",
            "127.0.0.1.example.com",
            "localhost.example.com:80",
            "",
            ":80",
            "router",
            "wpad:8888",
            "henge.example.com",
            "xhenge",
            "mylocalhost",
        ] {
            assert!(!is_local_name(foreign, &own), "{foreign}");
        }
    }
}
