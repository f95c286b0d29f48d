//! Input over HTTP: each URI is one split, read from its beginning to its end and never held whole.
//!
//! A reading that is cut off goes on where it stopped, if the server says (by ETag or Last-Modified) that what it has is
//! still the same; rows that were handed out are not read again.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED, LOCATION};
use ureq::http::{Response, StatusCode, Uri};
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, BodyReader};

use super::hosts::{Guarded, HttpSources, Refused};
use super::packed;
use super::patience::Patience;
use crate::error::{Error, Result};
use crate::spec::HttpSource;
use crate::spec::properties::Password;

/// Redirects that are followed from one URI.
const REDIRECTS_MAX: usize = 5;

/// How often a server is asked without a byte coming of it.
const TRIES_MAX: u32 = 5;

const REST_FIRST: Duration = Duration::from_millis(250);
const REST_MOST: Duration = Duration::from_secs(4);

const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// For the beginning of an answer, and between its bytes.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Whether to go on: an error once the task was told to end.
#[derive(Clone)]
pub struct GoOn(Arc<dyn Fn() -> Result<()> + Send + Sync>);

/// Reads the URIs of one source.
#[derive(Debug)]
pub struct Fetcher {
    source: HttpSource,
    sources: Arc<HttpSources>,
    agent: Agent,
    go_on: GoOn,
}

/// What comes of asking once.
enum Trouble {
    /// Worth asking again.
    Passing(String),
    Lasting(Error),
}

/// What tells that two answers are of the same thing.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    tag: Option<String>,
    modified: Option<String>,
}

impl GoOn {
    pub fn new(check: impl Fn() -> Result<()> + Send + Sync + 'static) -> GoOn {
        GoOn(Arc::new(check))
    }

    pub fn check(&self) -> Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for GoOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GoOn")
    }
}

impl Fetcher {
    /// Looks up the password, if the source names a variable for it.
    pub fn new(source: &HttpSource, sources: &Arc<HttpSources>, go_on: GoOn) -> Result<Fetcher> {
        let mut source = source.clone();
        if let Some((_, password)) = &mut source.user {
            *password = password.looked_up()?;
        }
        let config = Agent::config_builder()
            // By hand: what is told to one server is not for the next.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // It would look up the hosts itself, wherever they are.
            .proxy(None)
            .timeout_resolve(Some(CONNECT_WAIT))
            .timeout_connect(Some(CONNECT_WAIT))
            .timeout_recv_response(Some(ANSWER_WAIT))
            .timeout_per_read(Some(ANSWER_WAIT))
            .user_agent("henge")
            .accept_encoding("identity")
            .build();
        // Below TLS, so that its bytes are waited for in the same way.
        let connector = Connector::<()>::chain(TcpConnector::default(), Patience::new(go_on.clone()))
            .chain(RustlsConnector::default());
        let agent = Agent::with_parts(config, connector, Guarded::new(sources.clone()));
        Ok(Fetcher { source, sources: sources.clone(), agent, go_on })
    }

    pub fn uris(&self) -> &[String] {
        &self.source.uris
    }

    /// What a URI has, unpacked if it is packed.
    pub fn open<'f>(&'f self, uri: &'f str) -> Result<Box<dyn Read + 'f>> {
        self.open_up_to(uri, u64::MAX)
    }

    /// Writes what a URI has, unpacked if it is packed, if it is not longer than a file may be.
    pub fn save(&self, uri: &str, to: &mut dyn Write) -> Result<()> {
        let most = self.sources.file_bytes_max();
        let mut input = self.open_up_to(uri, most)?.take(most);
        std::io::copy(&mut input, to).map_err(|e| packed::failed(shown(uri), e))?;
        let more = input.into_inner().read(&mut [0]).map_err(|e| packed::failed(shown(uri), e))?;
        if more > 0 { Err(too_long(uri, most)) } else { Ok(()) }
    }

    /// An error at once if the server says that it has more bytes.
    fn open_up_to<'f>(&'f self, uri: &'f str, most: u64) -> Result<Box<dyn Read + 'f>> {
        let mut download =
            Download { fetcher: self, uri, most, body: None, at: 0, length: None, mark: None, tries: 0, packed: false };
        download.body = Some(download.connect()?);
        let is_packed = download.packed || packed::is_gzip(shown(uri));
        Ok(if is_packed { packed::unpacked(download) } else { Box::new(download) })
    }

    /// Asks for a URI, from one of its bytes on, wherever it is moved to.
    fn ask(&self, uri: &str, from: u64) -> Result<Response<Body>, Trouble> {
        let first: Uri = uri.parse().map_err(|_| lasting(uri, "is not a URI"))?;
        let mut at = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.sources.check(&at).map_err(|refused| lasting(uri, &refused.0))?;
            let mut request = self.agent.get(at.clone());
            if origin(&at) == origin(&first) {
                if let Some((name, Password::Given(password))) = &self.source.user {
                    let said = STANDARD.encode(format!("{name}:{password}"));
                    request = request.header("authorization", format!("Basic {said}"));
                }
                for (name, value) in &self.source.headers {
                    request = request.header(name, value);
                }
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let answer = request.call().map_err(|error| trouble(uri, error))?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return judged(uri, answer, from);
            }
            let to = header(&answer, LOCATION).and_then(|to| joined(&at, &to));
            let to = to.ok_or_else(|| lasting(uri, "is moved, and the server does not say where to"))?;
            if at.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
                return Err(lasting(uri, "is moved to where there is no TLS"));
            }
            at = to;
        }
        Err(lasting(uri, &format!("is moved more than {REDIRECTS_MAX} times")))
    }
}

/// A URI as errors and reports name it: what may be secret in it is left out.
pub fn shown(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or(uri)
}

fn too_long(uri: &str, most: u64) -> Error {
    Error::invalid(format!(
        "{} has more than the {most} bytes that a file may have which is fetched whole; split it, or raise the setting \
         ingest.http_file_max_bytes",
        shown(uri)
    ))
}

fn lasting(uri: &str, what: &str) -> Trouble {
    Trouble::Lasting(Error::invalid(format!("{} {what}", shown(uri))))
}

fn trouble(uri: &str, error: ureq::Error) -> Trouble {
    let uri = shown(uri);
    match error {
        ureq::Error::Other(error) if error.is::<Refused>() => lasting(uri, &error.to_string()),
        error @ (ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_)) => {
            Trouble::Lasting(Error::Failed(format!("cannot read {uri}: {error}")))
        }
        error => Trouble::Passing(format!("cannot read {uri}: {error}")),
    }
}

/// An answer, if it has what was asked for.
fn judged(uri: &str, answer: Response<Body>, from: u64) -> Result<Response<Body>, Trouble> {
    let status = answer.status();
    let said = || format!("{}: the server answered {status}", shown(uri));
    match status {
        StatusCode::OK => Ok(answer),
        StatusCode::PARTIAL_CONTENT if from > 0 => Ok(answer),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Trouble::Passing(said())),
        status if status.is_server_error() => Err(Trouble::Passing(said())),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Trouble::Lasting(Error::NotFound(said()))),
        _ => Err(Trouble::Lasting(Error::Failed(said()))),
    }
}

fn header(answer: &Response<Body>, name: HeaderName) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_string)
}

/// To whom a request goes.
fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), uri.port_u16().unwrap_or(port))
}

/// Where a redirect leads, which may be said in part.
fn joined(at: &Uri, to: &str) -> Option<Uri> {
    let (scheme, authority) = (at.scheme_str()?, at.authority()?.as_str());
    let to = to.split('#').next().unwrap_or_default();
    let whole = if to.contains("://") && to.split(['/', '?']).next().is_some_and(|head| head.ends_with(':')) {
        to.to_string()
    } else if let Some(rest) = to.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else if to.starts_with('?') {
        format!("{scheme}://{authority}{}{to}", at.path())
    } else {
        let folder = at.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{to}")
    };
    let to: Uri = whole.parse().ok()?;
    let is_plain = to.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (is_plain && to.host().is_some_and(|host| !host.is_empty())).then_some(to)
}

impl Mark {
    fn of(answer: &Response<Body>) -> Mark {
        Mark { tag: header(answer, ETAG), modified: header(answer, LAST_MODIFIED) }
    }

    fn says_something(&self) -> bool {
        self.tag.is_some() || self.modified.is_some()
    }
}

/// The bytes of a URI as they are sent, over as many answers as it takes.
struct Download<'f> {
    fetcher: &'f Fetcher,
    uri: &'f str,
    /// No more bytes are taken from a server that says how many it has.
    most: u64,
    body: Option<BodyReader<'static>>,
    /// Bytes handed out.
    at: u64,
    length: Option<u64>,
    mark: Option<Mark>,
    /// Since the last byte that came.
    tries: u32,
    /// Whether the server packed it.
    packed: bool,
}

impl Download<'_> {
    /// An answer that goes on where this has come to.
    fn connect(&mut self) -> Result<BodyReader<'static>> {
        loop {
            match self.fetcher.ask(self.uri, self.at).and_then(|answer| self.take(answer)) {
                Ok(body) => return Ok(body),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(said)) => self.rest(&said)?,
            }
        }
    }

    fn take(&mut self, answer: Response<Body>) -> Result<BodyReader<'static>, Trouble> {
        let mark = Mark::of(&answer);
        let encoding = header(&answer, CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
        let packed = match encoding.as_str() {
            "" | "identity" => false,
            "gzip" | "x-gzip" => true,
            _ => return Err(lasting(self.uri, "is sent in an encoding that was not asked for; the known one is gzip")),
        };
        if let Some(first) = &self.mark
            && (*first != mark || self.packed != packed)
        {
            return Err(lasting(self.uri, "changed while it was read; run the task again"));
        }
        let part = header(&answer, CONTENT_RANGE);
        let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
        let length = answer.body().content_length();
        let before = if is_part { self.at } else { 0 };
        if length.is_some_and(|length| before.saturating_add(length) > self.most) {
            return Err(Trouble::Lasting(too_long(self.uri, self.most)));
        }
        let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        if is_part {
            let begins = part.as_deref().and_then(|part| part.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
            if begins != Some(self.at) {
                return Err(lasting(self.uri, "is sent from another place than was asked for"));
            }
        } else {
            self.length = length;
            let passed = std::io::copy(&mut body.by_ref().take(self.at), &mut std::io::sink());
            match passed {
                Ok(passed) if passed == self.at => {}
                Ok(_) => return Err(lasting(self.uri, "became shorter while it was read; run the task again")),
                Err(error) => return Err(Trouble::Passing(format!("cannot read {}: {error}", shown(self.uri)))),
            }
        }
        (self.mark, self.packed) = (Some(mark), packed);
        Ok(body)
    }

    /// Waits until a server may be asked again; an error if it was asked often enough.
    fn rest(&mut self, said: &str) -> Result<()> {
        // A reading that was ended is no trouble of the server.
        self.fetcher.go_on.check()?;
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            return Err(Error::Failed(format!("{said}; tried {TRIES_MAX} times")));
        }
        if self.at > 0 && !self.mark.as_ref().is_some_and(Mark::says_something) {
            return Err(Error::Failed(format!(
                "{said}, after {} bytes; the server gives neither ETag nor Last-Modified by which reading could go on",
                self.at
            )));
        }
        tracing::warn!(said, "a server that a task reads from fails, and is asked again");
        std::thread::sleep(REST_MOST.min(REST_FIRST * 2u32.pow(self.tries - 1)));
        self.fetcher.go_on.check()
    }
}

impl Read for Download<'_> {
    /// Its errors have those of this crate within.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.fetcher.go_on.check().map_err(std::io::Error::other)?;
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.connect().map_err(std::io::Error::other)?,
            };
            let said = match body.read(buffer) {
                Ok(0) if self.length.is_none_or(|length| self.at >= length) => {
                    // Whoever asks once more is told the same, and the server is not.
                    self.body = Some(body);
                    return Ok(0);
                }
                Ok(0) => "the answer ended too early".to_string(),
                Ok(read) => {
                    self.at += read as u64;
                    (self.tries, self.body) = (0, Some(body));
                    return Ok(read);
                }
                Err(error) => error.to_string(),
            };
            self.rest(&format!("cannot read {}: {said}", shown(self.uri))).map_err(std::io::Error::other)?;
        }
    }
}
