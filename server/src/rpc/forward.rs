//! Requests that only the coordinator that leads can answer, passed on to it by whichever node they came to.
//!
//! They go with the caller's own credentials: the leader lets them in, or does not, as if they had come to it. What it
//! cannot know by itself is told beside the cluster's secret, and believed only there: from where the request came, and
//! whether it came by TLS. A request is passed on once: a node that gets one which was passed on, and does not lead, says
//! so.
//!
//! While nobody leads, or nobody is there where one led, a request waits for the next leader for a while. It is sent again only
//! if nothing was done of it, or nothing changes by it: a request that the leader may have begun is not.
//!
//! Longer bodies flow through in both directions as fast as their readers take them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::control::Leader;
use super::peers::{PeerError, SECRET, Secret, Unsent, read};
use crate::auth::throttle::network;
use crate::http::guard::Encrypted;

/// From where a request came that was passed on.
const FOR: HeaderName = HeaderName::from_static("x-henge-forwarded-for");

/// Whether it came by TLS.
const ENCRYPTED: HeaderName = HeaderName::from_static("x-henge-forwarded-encrypted");

/// Requests on their way at once.
const AT_ONCE_MAX: usize = 512;

/// Of these, those that came from one network.
const OF_NETWORK_MAX: usize = AT_ONCE_MAX / 4;

/// Says that nothing was done of a request.
const NOT_LED: HeaderName = HeaderName::from_static("x-henge-not-led");

/// How long another leader is waited for: most of three times what it takes one to take over from one that is lost.
pub const LEADER_WITHIN: Duration = Duration::from_secs(8);

/// Rest between two tries.
pub const REST: Duration = Duration::from_millis(50);

/// Bodies that are held so that they can be sent again.
const KEPT_BYTES_MAX: u64 = 256 << 10;

/// What concerns one connection and not what goes over it.
const OF_CONNECTIONS: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
];

pub struct Forward {
    leader: Arc<Leader>,
    places: Arc<Places>,
}

/// Requests on their way, by the networks that they came from: before the leader has them nobody knows whose they are, and one
/// network cannot have all places.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// A request's place.
struct Place {
    places: Arc<Places>,
    network: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, network: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&network).copied().unwrap_or(0);
        if all >= AT_ONCE_MAX || own >= OF_NETWORK_MAX {
            return None;
        }
        *taken.entry(network).or_default() += 1;
        Some(Place { places: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(own) = taken.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

/// What the node that passed a request on tells of it.
#[derive(Debug, Clone, Copy)]
pub struct PassedOn {
    pub address: IpAddr,
    pub encrypted: bool,
}

impl PassedOn {
    /// `None` if the request came from whom it is of, whatever its headers say.
    pub fn of(headers: &HeaderMap, secret: Option<&Secret>) -> Option<PassedOn> {
        let address = headers.get(FOR)?.to_str().ok()?.parse().ok()?;
        let encrypted = headers.contains_key(ENCRYPTED);
        secret?.is_of(headers).then_some(PassedOn { address, encrypted })
    }
}

impl Forward {
    pub fn new(leader: Arc<Leader>) -> Forward {
        Forward { leader, places: Arc::default() }
    }

    pub async fn pass_on(&self, request: Request) -> Response {
        // Whoever says so gets no further than this, right or wrong.
        if request.headers().contains_key(FOR) {
            return not_led(refused(
                "no coordinator leads now, or this node is taken for the one that does; try again",
            ));
        }
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let Some(place) = self.places.take(network(from.unwrap_or(IpAddr::from([0, 0, 0, 0])))) else {
            return refused("too many requests are being passed on to the coordinator; try again");
        };
        let until = Instant::now() + LEADER_WITHIN;
        let kept = tokio::time::timeout_at(until, Kept::of(outward(request))).await;
        let (mut kept, mut next) = match kept {
            Ok(Ok(halves)) => halves,
            Ok(Err(why)) => return refused(&why),
            Err(_) => return refused("the request's body comes too slowly"),
        };
        loop {
            let turn = self.try_once(&mut kept, next.take()).await;
            let (why, unsent) = match turn {
                Ok(response) => return inward(response, place),
                Err(again) => again,
            };
            next = unsent;
            if (next.is_none() && kept.is_none()) || Instant::now() > until {
                return refused(&why);
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// An answer, or why there is none, with what can be sent again beside what is kept.
    async fn try_once(
        &self,
        kept: &mut Option<Kept>,
        request: Option<Request>,
    ) -> Result<Response, (String, Option<Request>)> {
        let address = match self.leader.address().await {
            Ok(address) => address,
            Err(error) => return Err((error.to_string(), request)),
        };
        let Some(request) = request.or_else(|| kept.as_ref().map(Kept::request)) else {
            return Err(("the request is gone".into(), None));
        };
        match self.leader.peers.try_send(&address, request).await {
            Ok(response) if kept.is_some() && response.headers().contains_key(NOT_LED) => {
                self.leader.forget(&address);
                Err(("no coordinator leads now; try again".into(), None))
            }
            Ok(response) => Ok(response),
            Err(Unsent { error, request }) => {
                if matches!(error, PeerError::Unreachable { .. }) {
                    self.leader.forget(&address);
                }
                // What may have been done is not done again, unless it changes nothing.
                if request.is_none() {
                    kept.take_if(|kept| !kept.parts.method.is_safe());
                }
                Err((error.to_string(), request))
            }
        }
    }
}

/// A request that can be sent more than once.
struct Kept {
    parts: Parts,
    body: Bytes,
}

impl Kept {
    /// A request as one that can be sent again and again, or else as one that is sent once.
    async fn of(request: Request) -> Result<(Option<Kept>, Option<Request>), String> {
        let (parts, body) = request.into_parts();
        match body.size_hint().exact() {
            Some(bytes) if bytes <= KEPT_BYTES_MAX => {
                let body = read(body, KEPT_BYTES_MAX as usize).await?;
                Ok((Some(Kept { parts, body }), None))
            }
            _ => Ok((None, Some(Request::from_parts(parts, body)))),
        }
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }
}

/// The request as the leader gets it.
fn outward(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let encrypted = parts.extensions.get::<Encrypted>().is_some();
    let headers = &mut parts.headers;
    // For which host it was is part of what the leader looks at.
    let host = headers.remove(header::HOST);
    let authority = parts.uri.authority().cloned();
    let authority = authority.or_else(|| host.as_ref()?.to_str().ok()?.parse().ok());
    let mut uri = Uri::builder();
    if let Some(authority) = authority {
        uri = uri.scheme("http").authority(authority);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(uri) = uri.path_and_query(path).build() {
        parts.uri = uri;
    }
    OF_CONNECTIONS.iter().for_each(|name| drop(headers.remove(name)));
    for name in [SECRET, ENCRYPTED] {
        headers.remove(name);
    }
    let from = from.unwrap_or(IpAddr::from([0, 0, 0, 0])).to_string();
    if let Ok(from) = HeaderValue::from_str(&from) {
        headers.insert(FOR, from);
    }
    if encrypted {
        headers.insert(ENCRYPTED, HeaderValue::from_static("1"));
    }
    parts.extensions.clear();
    Request::from_parts(parts, body)
}

/// The answer as the caller gets it. It takes its place among those at once until it has been read.
fn inward(response: Response, place: Place) -> Response {
    let (mut parts, body) = response.into_parts();
    OF_CONNECTIONS.iter().chain([&NOT_LED]).for_each(|name| drop(parts.headers.remove(name)));
    parts.version = axum::http::Version::HTTP_11;
    Response::from_parts(parts, Body::new(Held { body, _place: place }))
}

struct Held {
    body: Body,
    _place: Place,
}

impl HttpBody for Held {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// An answer to a request that nothing was done of, for this node does not lead.
pub fn not_led(mut response: Response) -> Response {
    response.headers_mut().insert(NOT_LED, HeaderValue::from_static("1"));
    response
}

fn refused(message: &str) -> Response {
    let body = json!({"error": message, "errorMessage": message});
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
