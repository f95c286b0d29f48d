//! The layer around all requests that makes events of them, and what handlers tell it.
//!
//! What is recorded: every request that was denied (401, 403), every sign-in, everything that is not a mere look at how
//! things stand, and every query, whatever protocol it came by. Reading the status, lists and metrics leaves no trace.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream::{BoxStream, StreamExt};
use ingest::source::journal::Room;
use parking_lot::Mutex;
use serde_json::json;

use super::event::{Event, cut, cut_names, cut_statement};
use super::{Audit, paths};
use crate::auth::ANONYMOUS;
use crate::auth::throttle::network;
use crate::http::guard::Limited;
use crate::node::now;

/// What is known of a request by those who handle it.
#[derive(Debug, Default)]
pub struct Details {
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub address: Option<IpAddr>,
    pub object: Option<String>,
    pub policy_version: Option<u64>,
    pub error: Option<String>,
    /// Somebody signs in by it, or tries to, whatever its path says.
    pub signs_in: bool,
    /// It was let in, and not refused since: what it asks for may be done.
    pub let_in: bool,
    /// A query was read; the rest says which.
    pub query_type: Option<String>,
    pub query_id: Option<String>,
    pub datasources: Vec<String>,
    statement: Option<String>,
    rows: Option<Arc<AtomicU64>>,
}

impl Details {
    /// A query was read.
    pub fn query(&mut self, query_type: &str, query_id: &str, statement: &str) {
        self.query_type = Some(query_type.to_string());
        self.query_id = Some(cut(query_id));
        self.statement = Some(cut_statement(statement));
    }

    /// Results that were made earlier are read: those of the statement of this id.
    pub fn results(&mut self, query_id: &str) {
        self.query_type = Some(RESULTS.to_string());
        self.query_id = Some(cut(query_id));
    }

    /// A statement that was not run, nor to be: its sender may not be told what it would answer.
    pub fn denied(&mut self, query_id: &str, statement: &str) {
        self.query("sql", query_id, statement);
        self.error = Some(DENIED.to_string());
    }

    fn is_denied(&self) -> bool {
        self.error.as_deref() == Some(DENIED)
    }

    /// What a query reads, or its results were made of.
    pub fn reads<'a>(&mut self, datasources: impl ExactSizeIterator<Item = &'a str>) {
        self.datasources = cut_names(datasources);
    }

    /// Who is known to ask; `None` is a stranger. Where nobody signs in, everybody has the name of nobody.
    fn sender(&self) -> Option<String> {
        let user = self.user.as_ref()?;
        Some(match (user.as_str(), self.address) {
            (ANONYMOUS, Some(address)) => format!("{ANONYMOUS} {}", network(address)),
            _ => user.clone(),
        })
    }
}

/// The class of an error, as events have it.
const DENIED: &str = "Denied";

/// What stands for the type of a query where results of one are read.
const RESULTS: &str = "results";

tokio::task_local! {
    /// Of the request that is handled here.
    static DETAILS: Arc<Mutex<Details>>;
}

/// Adds to what is recorded of the request that is handled here. Does nothing where no request is handled, or none is
/// recorded.
pub fn note(change: impl FnOnce(&mut Details)) {
    let _ = DETAILS.try_with(|details| change(&mut details.lock()));
}

/// A stream whose rows are counted for the request that is handled here.
pub fn counted<T, E>(
    batches: BoxStream<'static, Result<T, E>>,
    rows: impl Fn(&T) -> usize + Send + 'static,
) -> BoxStream<'static, Result<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let counter = DETAILS.try_with(|details| details.lock().rows.insert(Arc::default()).clone());
    let Ok(counter) = counter else { return batches };
    let count = move |batch: &Result<T, E>| {
        if let Ok(batch) = batch {
            counter.fetch_add(rows(batch) as u64, Ordering::Relaxed);
        }
    };
    batches.inspect(count).boxed()
}

/// A request as it came.
struct Asked {
    time: i64,
    started: Instant,
    method: Method,
    uri: Uri,
    address: Option<IpAddr>,
    /// It said who it is from, in some way.
    signed: bool,
    kind: &'static str,
}

impl Asked {
    fn of(request: &Parts) -> Asked {
        let signed =
            |headers: &HeaderMap| headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE);
        let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
        Asked {
            time: now(),
            started: Instant::now(),
            method: request.method.clone(),
            uri: request.uri.clone(),
            address: peer.map(|ConnectInfo(address)| address.ip()),
            signed: signed(&request.headers),
            kind: paths::kind(request.uri.path()),
        }
    }

    fn is_look(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) || paths::is_look(self.uri.path())
    }

    /// Whether it may have changed something, or had somebody signed in, whatever became of its answer.
    fn may_have_changed(&self, details: &Details) -> bool {
        let is_change = match self.kind {
            // Of queries, those that end others.
            "query" => self.method == Method::DELETE || details.signs_in,
            _ => !self.is_look(),
        };
        details.let_in && is_change
    }

    fn event(&self, outcome: &'static str) -> Event {
        let path = self.uri.path();
        Event {
            time: self.time,
            kind: self.kind,
            user: ANONYMOUS.to_string(),
            address: self.address.map(|address| address.to_string()),
            method: self.method.to_string(),
            path: cut(path),
            object: paths::object(self.kind, path),
            outcome,
            ..Event::default()
        }
    }
}

impl Event {
    fn tell(&mut self, details: &Details) {
        if let Some(user) = &details.user {
            self.user.clone_from(user);
        }
        self.roles.clone_from(&details.roles);
        if let Some(address) = details.address {
            self.address = Some(address.to_string());
        }
        if let Some(object) = &details.object {
            self.object = Some(cut(object));
        }
        self.policy_version = details.policy_version;
        self.error = details.error.as_deref().map(cut);
        self.query_type.clone_from(&details.query_type);
        self.query_id.clone_from(&details.query_id);
        self.datasources.clone_from(&details.datasources);
        self.statement.clone_from(&details.statement);
    }
}

impl Event {
    /// A query that somebody ended has not failed, and one that was denied has not either, whatever its protocol makes of it.
    fn mind_error(&mut self) {
        match (self.outcome, self.error.as_deref()) {
            ("failed", Some("Cancelled")) => self.outcome = "cancelled",
            ("failed", Some(DENIED)) => self.outcome = "denied",
            _ => {}
        }
    }
}

/// Runs a query that outlives the request that asked for it, and records its end. `path` is where its results will be.
pub async fn followed<T, E>(
    audit: &Audit,
    address: IpAddr,
    path: String,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (time, started) = (now(), Instant::now());
    let details: Arc<Mutex<Details>> = Arc::default();
    let ended = DETAILS.scope(details.clone(), work).await;
    if audit.settings.enabled && audit.settings.queries {
        let details = details.lock();
        let mut event = Event {
            time,
            kind: "query",
            address: Some(address.to_string()),
            method: Method::POST.to_string(),
            path: cut(&path),
            rows: details.rows.as_ref().map(|rows| rows.load(Ordering::Relaxed)),
            duration_ms: Some(started.elapsed().as_millis() as u64),
            outcome: if ended.is_ok() { "ok" } else { "failed" },
            ..Event::default()
        };
        event.tell(&details);
        event.mind_error();
        audit.record_of(&event, details.sender().as_deref());
    }
    ended
}

/// Changes that must be on record before they are made.
const ANNOUNCED: [&str; 4] = ["user", "role", "policy", "token"];

impl Audit {
    /// A change of who may do what is on disk before it is made: to be asked once it is known who asks, before the
    /// request is handled. `Err` is the answer to a request that must not be.
    ///
    /// `may_govern` says whether who asks may change anybody's rights: what is kept of the journal is kept for them. Others,
    /// who change what is their own, cannot fill it.
    pub async fn announce(&self, request: &Parts, may_govern: bool) -> Result<(), Box<Response>> {
        let asked = Asked::of(request);
        if !self.settings.enabled || asked.is_look() || !ANNOUNCED.contains(&asked.kind) {
            return Ok(());
        }
        let mut event = asked.event("begun");
        note(|details| event.tell(details));
        let room = if may_govern { Room::Kept } else { Room::Ordinary };
        self.record_synced(&event, room).await.map_err(|reason| {
            let message = format!("the change was not made, for it cannot be recorded: {reason}");
            Box::new((StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"error": message}))).into_response())
        })
    }
}

impl Audit {
    /// Somebody came in by a name and a password, with a request that may be about anything: to be asked once it is known
    /// who asks. What else is recorded of the request says nothing of that.
    pub fn signed_in(&self, request: &Parts) {
        if !self.settings.enabled {
            return;
        }
        let mut event = Asked::of(request).event("ok");
        event.kind = "signin";
        note(|details| event.tell(details));
        event.object = Some(event.user.clone());
        self.record(&event);
    }
}

/// Around everything: records a request when its answer has ended, or its sender has gone before there was one.
pub async fn record(State(audit): State<Arc<Audit>>, request: Request, next: Next) -> Response {
    if !audit.settings.enabled {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts);
    let details: Arc<Mutex<Details>> = Arc::default();
    let mut hung_up = HungUp(Some((audit, asked, details.clone())));
    let response = DETAILS.scope(details, next.run(Request::from_parts(parts, body))).await;
    let Some((audit, asked, details)) = hung_up.0.take() else { return response };
    let status = response.status();
    let unauthenticated = status == StatusCode::UNAUTHORIZED || call_code(&response) == Some(UNAUTHENTICATED);
    let forbidden = status == StatusCode::FORBIDDEN || call_code(&response) == Some(PERMISSION_DENIED);
    let (denied, matters, signs_in, may_have_changed) = {
        let details = details.lock();
        let denied = unauthenticated || forbidden || details.is_denied();
        let matters = denied || matters(&audit, &asked, &details);
        (denied, matters, details.signs_in, asked.may_have_changed(&details))
    };
    if !matters || response.extensions().get::<Limited>().is_some() {
        return response;
    }
    let outcome = match () {
        () if denied => "denied",
        () if status.is_client_error() || status.is_server_error() || call_failed(&response) => "failed",
        () => "ok",
    };
    let mut event = asked.event(outcome);
    event.status = Some(status.as_u16());
    if signs_in || (unauthenticated && asked.signed) {
        event.kind = "signin";
    } else if denied && !matches!(event.kind, "query" | "signin") {
        event.kind = "denied";
    }
    let bound = match () {
        () if outcome == "ok" || may_have_changed => Bound::None,
        () if unauthenticated => Bound::OfStrangers,
        () => Bound::OfSender,
    };
    let pending = Some((audit, asked, details, event, bound));
    response.map(|body| Body::new(Measured { body, bytes: 0, ended: false, pending }))
}

/// Whether a request is recorded that was not denied.
fn matters(audit: &Audit, asked: &Asked, details: &Details) -> bool {
    match asked.kind {
        _ if details.signs_in => true,
        "query" => audit.settings.queries && (details.query_type.is_some() || is_query(asked)),
        _ => !asked.is_look(),
    }
}

/// A request that has no answer yet. If its sender goes away now, what it asked for may be done all the same.
struct HungUp(Option<(Arc<Audit>, Asked, Arc<Mutex<Details>>)>);

impl Drop for HungUp {
    fn drop(&mut self) {
        let Some((audit, asked, details)) = self.0.take() else { return };
        let details = details.lock();
        if !matters(&audit, &asked, &details) {
            return;
        }
        let mut event = asked.event("cancelled");
        if details.signs_in {
            event.kind = "signin";
        }
        event.tell(&details);
        event.duration_ms = Some(asked.started.elapsed().as_millis() as u64);
        match asked.may_have_changed(&details) {
            true => audit.record(&event),
            // This can be done as fast as the wire is.
            false => audit.record_unanswered(&event, details.sender().as_deref()),
        }
    }
}

/// A query by its path alone, even if it could not be read. Avatica and Flight have calls that are none.
fn is_query(asked: &Asked) -> bool {
    let path = asked.uri.path();
    asked.method != Method::GET && path.starts_with(paths::QUERIES) && !path.contains("/avatica")
}

/// The code that a gRPC call ended with before it had an answer.
fn call_code(response: &Response) -> Option<&[u8]> {
    response.headers().get("grpc-status").map(|code| code.as_bytes())
}

fn call_failed(response: &Response) -> bool {
    call_code(response).is_some_and(|code| code != b"0")
}

/// Codes of gRPC.
const PERMISSION_DENIED: &[u8] = b"7";
const UNAUTHENTICATED: &[u8] = b"16";

/// How many such events are recorded.
enum Bound {
    /// All for which there is room: the request was answered, or may have changed something.
    None,
    /// So many a second of its sender.
    OfSender,
    /// So many a second of all whose credentials say nothing of them.
    OfStrangers,
}

type Pending = (Arc<Audit>, Asked, Arc<Mutex<Details>>, Event, Bound);

/// A body on its way out. Its end, or its drop before, is the end of the request.
struct Measured {
    body: Body,
    bytes: u64,
    ended: bool,
    pending: Option<Pending>,
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(_))) => {
                if let Some((.., event, _)) = &mut self.pending {
                    event.outcome = "failed";
                }
                self.ended = true;
            }
            Poll::Ready(None) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Some((audit, asked, details, mut event, bound)) = self.pending.take() else { return };
        // Who sends a body whose end is known does not ask for it.
        if !self.ended && !self.body.is_end_stream() && event.outcome == "ok" {
            event.outcome = "cancelled";
        }
        let details = details.lock();
        event.tell(&details);
        event.mind_error();
        event.rows = details.rows.as_ref().map(|rows| rows.load(Ordering::Relaxed));
        event.bytes = Some(self.bytes);
        event.duration_ms = Some(asked.started.elapsed().as_millis() as u64);
        match bound {
            Bound::None => audit.record_of(&event, details.sender().as_deref()),
            Bound::OfSender => audit.record_unanswered(&event, details.sender().as_deref()),
            Bound::OfStrangers => audit.record_unanswered(&event, None),
        }
    }
}
