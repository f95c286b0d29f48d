//! The gate at the door: no handler runs before [`gate`] found out who is calling and whether they may. Every route says
//! what it needs in the one table of [`super::routes`]; what it says of lists and bodies, handlers ask [`Caller`] and
//! [`App`] about.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use query::policy::{ADMIN, Action, Kind, Rules};
use serde_json::json;

use super::answering;
use super::asking::Asking;
use super::error::Refusal;
use super::guard::Encrypted;
use super::{App, flight};
use crate::audit;
use crate::auth::commit::Author;
use crate::auth::names;
use crate::auth::users::CHANGED;
use crate::auth::{Asked, COOKIE, Caller, Changes, How, Refused, Still, claimed};
use crate::lead;
use crate::node::now;
use crate::rpc::forward::{PassedOn, not_led};

/// What a route needs before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it says nothing that is not for everybody.
    Open,
    /// Another node of the cluster, which proves it by the cluster's secret. No user may do what nodes ask of each other.
    Node,
    /// A caller. The handler shows what the caller may see.
    SignedIn,
    /// A caller, or a JDBC connection that a name and a password opened.
    Connection,
    May(Kind, Of, Action),
    /// As `May` on a datasource, of which the caller sees every row and column: sizes and counts tell of all of them.
    Whole(Of, Action),
    /// As `Whole` to write, of the datasource whose retention rules these are. Those that hold for all datasources are part
    /// of the cluster's configuration: they take the right to write it, and each datasource that there is, whole.
    Retention(Of),
}

/// Which resource it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Druid's names: `STATE`, `CONFIG`, and `SECURITY`.
    Name(&'static str),
    /// The path's parameter of this name.
    Path(&'static str),
    /// The datasource of the supervisor that the path's parameter names.
    Supervisor(&'static str),
    /// The datasource of the task that it names.
    Task(&'static str),
}

pub const STATE: Of = Of::Name("STATE");
pub const CONFIG: Of = Of::Name("CONFIG");
pub const SECURITY: Of = Of::Name("SECURITY");

/// From where a request comes.
#[derive(Debug, Clone, Copy)]
pub struct Address(pub IpAddr);

/// Who calls, where nobody is an answer too.
pub struct Asker(pub Option<Caller>);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Asker, Self::Rejection> {
        Ok(Asker(parts.extensions.get::<Caller>().cloned()))
    }
}

/// Refuses, or runs the handler with the [`Caller`] among the request's extensions. Where a route takes JDBC connections and
/// the headers do not say who calls, the handler finds out, and goes on by the [`Door`].
pub async fn gate(State((app, need)): State<(Arc<App>, Need)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let mut address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical());
    if need == Need::Node {
        return match app.secret() {
            Some(secret) if secret.is_of(&parts.headers) => next.run(Request::from_parts(parts, body)).await,
            _ => counted(&app, address, for_nodes(address)),
        };
    }
    if let Some(of) = PassedOn::of(&parts.headers, app.secret()) {
        address = of.address;
        parts.extensions.remove::<Encrypted>();
        if of.encrypted {
            parts.extensions.insert(Encrypted);
        }
    }
    parts.extensions.insert(Address(address));
    // Calls of Flight are streams, which may rest.
    let idle_max = (!flight::is_call(parts.uri.path())).then_some(app.config.body_idle);
    let (asking, body) = Asking::watch(body, idle_max);
    if need == Need::Open {
        let response = next.run(Request::from_parts(parts, body)).await;
        // Who signs in says who they are to the handler.
        return match response.status() {
            StatusCode::UNAUTHORIZED => counted(&app, address, response),
            _ => response,
        };
    }
    app.standing.wake().await;
    // Its changes are from before anything is looked at, so that none falls between.
    let door = Door { asking, changes: app.identity.changes(), parts: parts.clone(), need, app: app.clone() };
    let host = parts.uri.authority().map(|authority| authority.as_str().to_string());
    let asked = Asked {
        headers: &parts.headers,
        method: &parts.method,
        host: host.as_deref(),
        origins: &app.config.cors_origins,
        address,
    };
    let known = app.standing.known();
    let mut identified = app.identity.identify(&asked).await;
    // They may be newer than what this node has read.
    if matches!(identified, Err(Refused::Wrong | Refused::WrongCookie)) && app.standing.catch_up(known).await {
        identified = app.identity.identify(&asked).await;
    }
    let caller = match identified {
        Ok(caller) if need == Need::Connection && caller.how == How::Anonymous => {
            parts.extensions.insert(caller);
            parts.extensions.insert(door);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Ok(caller) => caller,
        Err(Refused::Missing) if need == Need::Connection => {
            parts.extensions.insert(door);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Err(refused) => {
            // Who sent it is not known; who it said it was from is.
            audit::note(|details| {
                details.object = claimed(&parts.headers);
                details.signs_in = details.object.is_some() && refused != Refused::Forged;
            });
            return counted(&app, address, answer(&parts, refused));
        }
    };
    let handler = move |caller: Caller, author: Option<Author>| {
        parts.extensions.insert(caller);
        if let Some(author) = author {
            parts.extensions.insert(author);
        }
        next.run(Request::from_parts(parts, body))
    };
    door.let_in(caller, handler).await
}

/// What whoever asks goes through, once it is known who that is: on record, no more often than they may, with the right
/// that the route takes, and no longer than they have it.
#[derive(Clone)]
pub struct Door {
    app: Arc<App>,
    need: Need,
    asking: Asking,
    changes: Changes,
    parts: request::Parts,
}

impl Door {
    /// Runs the handler for a caller, or refuses. Who may not any more what they could when they began gets no answer,
    /// however long they took to ask and it took to make. The caller is put among the extensions of the answer, for whoever
    /// stands outside.
    pub async fn let_in<F>(self, caller: Caller, handler: impl FnOnce(Caller, Option<Author>) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        let mut response = self.pass(&caller, handler).await;
        response.extensions_mut().insert(caller);
        response
    }

    async fn pass<F>(mut self, caller: &Caller, handler: impl FnOnce(Caller, Option<Author>) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        let app = self.app.clone();
        if !app.standing.holds() {
            return not_led(lead::standby(self.parts.uri.path()));
        }
        app.note(caller);
        if caller.signs_in {
            app.audit.signed_in(&self.parts);
        }
        if let Some(rates) = &app.rates {
            let admitted = match caller.how {
                How::Anonymous => rates.admit_from(caller.address),
                _ => rates.admit(&caller.principal.name),
            };
            if let Err(refused) = admitted {
                return *refused;
            }
        }
        let right = match self.right().await {
            Some(right) if app.has(caller, &right) => right,
            _ => return denied(caller),
        };
        let may_govern = app.may(caller, Kind::Security, "SECURITY", Action::Write);
        if let Err(refused) = app.audit.announce(&self.parts, may_govern).await {
            return *refused;
        }
        let author = author(caller, self.need);
        let has_begun = || author.as_ref().is_some_and(Author::has_begun);
        audit::note(|details| details.let_in = true);
        let mut answered = pin!(handler(caller.clone(), author.clone()));
        let response = loop {
            let response = tokio::select! {
                biased;
                () = self.changes.next() => None,
                response = &mut answered => Some(response),
                // What was valid when the request had been asked is good for its answer.
                () = run_out(&app, caller), if self.asking.asked().is_none() => None,
            };
            if response.as_ref().is_some_and(|response| response.status().is_client_error()) {
                audit::note(|details| details.let_in = false);
            }
            // A change of its own, which it was found to have the right to, may end what it came with.
            if has_begun() {
                break match response {
                    Some(response) => response,
                    None => answered.await,
                };
            }
            // What made the answer may have let nothing else be seen meanwhile.
            if response.is_none() || self.changes.have_come() {
                match app.identity.still(caller, self.asking.asked().unwrap_or_else(now)) {
                    Still::Same if app.has(caller, &right) => {}
                    Still::Same => break denied(caller),
                    Still::Changed => break changed(&self.parts, caller),
                    Still::Nobody => break answer(&self.parts, Refused::Wrong),
                }
            }
            if let Some(response) = response {
                break response;
            }
        };
        // Another node may have begun to answer, and to change what this one does not see.
        if !app.standing.holds() {
            return lead::standby(self.parts.uri.path());
        }
        // What it came with may be gone by a change of its own, which it is told of.
        if has_begun() {
            return response;
        }
        let (caller, at) = (caller.clone(), self.asking.asked().unwrap_or_else(now));
        let standing = app.standing.clone();
        let still = move || app.identity.still(&caller, at) == Still::Same && app.has(&caller, &right);
        answering::watch(response, self.changes, still, move || standing.holds())
    }

    /// What the route takes, of what the request names; `None` if it names nothing.
    async fn right(&mut self) -> Option<Right> {
        Some(match self.need {
            Need::Open | Need::Node | Need::SignedIn | Need::Connection => Right::None,
            Need::May(kind, of, action) => {
                let name = resource(&self.app, of, &mut self.parts).await?;
                match (kind, action) {
                    (Kind::Supervisor | Kind::Task, Action::Read) => Right::SeeWork(kind, name),
                    _ => Right::May(kind, name, action),
                }
            }
            Need::Whole(of, action) => Right::Whole(resource(&self.app, of, &mut self.parts).await?, action),
            Need::Retention(of) => match resource(&self.app, of, &mut self.parts).await? {
                name if name == coordinator::rules::DEFAULT => Right::Cluster(self.app.datasources().await?),
                name => Right::Whole(name, Action::Write),
            },
        })
    }
}

/// A need of what is known by name.
#[derive(Debug, Clone)]
enum Right {
    None,
    May(Kind, String, Action),
    /// To know how supervisors or tasks of a datasource stand.
    SeeWork(Kind, String),
    Whole(String, Action),
    /// To configure the cluster, which has these datasources.
    Cluster(Vec<String>),
}

/// Returns when the caller's credentials run out by themselves, unless they are used meanwhile.
async fn run_out(app: &App, caller: &Caller) {
    match app.identity.runs_out(caller) {
        Some(end) => {
            let left = u64::try_from(end.saturating_sub(now())).unwrap_or(0);
            // Clocks that round differently must not make it turn round and round.
            tokio::time::sleep(Duration::from_millis(left.max(1))).await;
        }
        None => std::future::pending().await,
    }
}

/// In whose name the handler may change users and rules: the step that does so asks again for what the route needs. Where
/// that hangs on the path, nothing of the kind is changed.
fn author(caller: &Caller, need: Need) -> Option<Author> {
    match need {
        Need::SignedIn => Some(Author::new(caller.clone(), None)),
        Need::May(kind, Of::Name(name), action) => Some(Author::new(caller.clone(), Some((kind, name, action)))),
        Need::Open | Need::Node | Need::Connection | Need::May(..) | Need::Whole(..) | Need::Retention(..) => None,
    }
}

/// The name of the resource. Of what there is not, its own: whoever may see nothing of that name is told no more.
async fn resource(app: &App, of: Of, parts: &mut request::Parts) -> Option<String> {
    let parameter = match of {
        Of::Name(name) => return Some(name.to_string()),
        Of::Path(parameter) | Of::Supervisor(parameter) | Of::Task(parameter) => parameter,
    };
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let name = parameters.iter().find(|(name, _)| *name == parameter).map(|(_, value)| value.to_string())?;
    Some(match of {
        Of::Supervisor(_) => app.coordinator.supervisor(&name).map_or(name, |of| of.spec.datasource),
        Of::Task(_) => app.coordinator.task(&name).await.map_or(name, |task| task.datasource),
        _ => name,
    })
}

/// The same to whoever is none, whatever they sent.
fn for_nodes(address: IpAddr) -> Response {
    tracing::info!(%address, "a request for nodes of the cluster is refused");
    let message = "this is for nodes of the cluster, which know its secret";
    (StatusCode::UNAUTHORIZED, Json(json!({"error": message, "errorMessage": message}))).into_response()
}

/// The answer to who is not known, or that they send too much: whoever has no name is one by the address. Others who send
/// from there, and are known, do not count for it.
fn counted(app: &App, address: IpAddr, refusal: Response) -> Response {
    let admitted = app.rates.as_ref().map_or(Ok(()), |rates| rates.admit_from(address));
    admitted.map_or_else(|limited| *limited, |()| refusal)
}

/// As Druid answers who may not.
fn denied(caller: &Caller) -> Response {
    tracing::info!(user = caller.principal.name, address = %caller.address, "request denied");
    (StatusCode::FORBIDDEN, Json(json!({"Access-Check-Result": "Unauthorized"}))).into_response()
}

/// To who is known still, and has other rights now: the answer may be of what they may not see any more, and asked again they
/// get that of today.
fn changed(parts: &request::Parts, caller: &Caller) -> Response {
    tracing::info!(user = caller.principal.name, address = %caller.address, "a request is ended by a change of rights");
    match is_grpc(parts) {
        true => tonic::Status::permission_denied(CHANGED).into_http::<axum::body::Body>(),
        false => (StatusCode::FORBIDDEN, Json(json!({"Access-Check-Result": CHANGED}))).into_response(),
    }
}

fn is_grpc(parts: &request::Parts) -> bool {
    let content = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content.is_some_and(|content| content.starts_with("application/grpc"))
}

/// A refusal in the terms of who asks: gRPC has statuses of its own.
fn answer(parts: &request::Parts, refused: Refused) -> Response {
    if !is_grpc(parts) {
        return refused.into_response();
    }
    let status = match &refused {
        Refused::Missing | Refused::Wrong | Refused::WrongCookie | Refused::Unnamable => {
            tonic::Status::unauthenticated(refused.message())
        }
        Refused::Throttled(_) | Refused::Busy => tonic::Status::resource_exhausted(refused.message()),
        Refused::Forged => tonic::Status::permission_denied(refused.message()),
    };
    status.into_http::<axum::body::Body>()
}

impl Refused {
    pub fn message(&self) -> String {
        match self {
            Refused::Missing => "sign in: send a name and password (Basic) or a token (Bearer)".into(),
            Refused::Wrong => {
                "the credentials are not valid: the name, password or token is wrong, expired, revoked or not for \
                 this server"
                    .into()
            }
            Refused::WrongCookie => "the session is over; sign in again".into(),
            Refused::Throttled(wait) => {
                format!("too many failed sign-ins; try again in {} seconds", wait.as_secs() + 1)
            }
            Refused::Busy => "too many passwords are being checked; try again".into(),
            Refused::Forged => {
                "the request comes from another page: send a token (Bearer), or with a cookie the header X-CSRF-Token of the \
                 sign-in, or have the page's origin among http.cors_origins"
                    .into()
            }
            Refused::Unnamable => {
                let rule = names::RULE;
                format!("the name in the token cannot be a user's here (setting auth.oidc_name_claim): it must have {rule}")
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Refused::Missing | Refused::Wrong | Refused::WrongCookie | Refused::Unnamable => StatusCode::UNAUTHORIZED,
            Refused::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Forged => StatusCode::FORBIDDEN,
        };
        let message = self.message();
        let mut response = (status, Json(json!({"error": message, "errorMessage": message}))).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers
                .append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"henge\", charset=\"UTF-8\""));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"henge\""));
        }
        if let Refused::Throttled(wait) = &self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if self == Refused::WrongCookie {
            headers.append(header::SET_COOKIE, forget_cookie());
        }
        response
    }
}

/// The cookie of a session. Only the browser reads it, only for this host's own pages, and over TLS only if it came so.
pub fn session_cookie(id: &str, age_ms: i64, tls: bool) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let age = age_ms / 1000;
    let text = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&text).expect("ids are letters, digits, dashes and underscores")
}

pub fn forget_cookie() -> HeaderValue {
    HeaderValue::from_static("henge_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

impl App {
    pub fn rules(&self) -> Arc<Rules> {
        self.identity.authorizer().current()
    }

    fn has(&self, caller: &Caller, right: &Right) -> bool {
        match right {
            Right::None => true,
            Right::May(kind, name, action) => self.may(caller, *kind, name, *action),
            Right::SeeWork(kind, name) => self.sees_work(caller, *kind, name),
            Right::Whole(name, action) => {
                self.may(caller, Kind::Datasource, name, *action) && !self.is_restricted(caller, name)
            }
            Right::Cluster(datasources) => {
                let may_write = |name: &String| self.has(caller, &Right::Whole(name.clone(), Action::Write));
                self.may(caller, Kind::Config, "CONFIG", Action::Write) && datasources.iter().all(may_write)
            }
        }
    }

    /// All that have segments, or are fed: by supervisors, or by tasks that have not ended, whose rows are on their way. `None`
    /// if that cannot be found out.
    pub async fn datasources(&self) -> Option<Vec<String>> {
        let mut names = self.coordinator.datasources(false).await.ok()?;
        names.extend(self.coordinator.supervisors().into_iter().map(|of| of.spec.datasource));
        names.extend(self.coordinator.datasources_of_tasks());
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    pub fn may(&self, caller: &Caller, kind: Kind, name: &str, action: Action) -> bool {
        self.rules().may(&caller.principal, kind, name, action)
    }

    /// Whose queries a caller may end: its own, or anybody's (`None`) with the right to write state.
    pub fn may_end<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        let any = self.may(caller, Kind::State, "STATE", Action::Write);
        (!any).then_some(caller.principal.name.as_str())
    }

    /// Puts on record who asks.
    pub fn note(&self, caller: &Caller) {
        let rules = self.rules();
        audit::note(|details| {
            details.user = Some(caller.principal.name.clone());
            details.roles = rules.roles_of(&caller.principal).into_iter().collect();
            details.address = Some(caller.address);
            details.policy_version = Some(rules.version());
        });
    }

    /// Whether the caller has the role that permits everything, by itself or by way of others.
    pub fn is_admin(&self, caller: &Caller) -> bool {
        caller.principal.scope.is_none() && self.rules().roles_of(&caller.principal).contains(ADMIN)
    }

    /// Whether some rows or columns of a datasource are hidden from the caller.
    pub fn is_restricted(&self, caller: &Caller, datasource: &str) -> bool {
        !self.identity.sees_all(&caller.principal, datasource)
    }

    /// Whether the caller may know of sizes and counts of a datasource.
    pub fn sees_whole(&self, caller: &Caller, datasource: &str) -> bool {
        self.may(caller, Kind::Datasource, datasource, Action::Read) && !self.is_restricted(caller, datasource)
    }

    /// Whether the caller may know how a datasource's supervisors or tasks stand: that tells of all rows.
    pub fn sees_work(&self, caller: &Caller, kind: Kind, datasource: &str) -> bool {
        self.identity.authorizer().sees_work(&caller.principal, kind, datasource)
    }

    /// Whether the caller may see events as they came: parse errors and inline data show them.
    pub fn sees_events(&self, caller: &Caller, datasource: &str) -> bool {
        !self.is_restricted(caller, datasource)
            && [Action::Read, Action::Write]
                .iter()
                .any(|action| self.may(caller, Kind::Datasource, datasource, *action))
    }

    /// Refuses, within a handler, as the gate does.
    pub fn require(&self, caller: &Caller, kind: Kind, name: &str, action: Action) -> Result<(), Refusal> {
        match self.may(caller, kind, name, action) {
            true => Ok(()),
            false => Err(Refusal::denied(caller)),
        }
    }
}

impl Refusal {
    pub fn denied(caller: &Caller) -> Refusal {
        tracing::info!(user = caller.principal.name, address = %caller.address, "request denied");
        Refusal::new(StatusCode::FORBIDDEN, "Unauthorized")
    }
}
