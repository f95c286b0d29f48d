//! Connections to other nodes: one of HTTP/2 to each, kept for as long as it answers, over which all requests to it go side
//! by side.
//!
//! Every request carries the cluster's secret. Where this process has a certificate, nodes are spoken to by TLS: they are
//! known by a certificate of the cluster's authority for the host they are reached by, and are shown this process's own.
//!
//! A connection whose other end stands still is given up after [`STILL_MAX`], and with it all that waits for answers on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use crate::auth::same;
use crate::tls;
use crate::traces::Traces;

/// By which a request proves that it is from a node of the cluster.
pub const SECRET: HeaderName = HeaderName::from_static("x-henge-cluster");

/// How long a connection may take to be made, with its handshakes.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// A connection at rest is asked for a sign of life this often …
const LIVELY: Duration = Duration::from_secs(2);

/// … and given up if none comes within this.
const STILL_MAX: Duration = Duration::from_secs(4);

/// Bytes of one answer that may be on their way without having been read.
const WINDOW: u32 = 1 << 20;

/// The same of all answers of a connection: slow readers of some of them do not hold up the others.
const WINDOW_ALL: u32 = 64 << 20;

/// Nodes that connections are kept to. Past it those to nodes that are gone are let go first.
const PEERS_MAX: usize = 4096;

/// An answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It may have got the request nevertheless.
    #[error("node at {address} cannot be reached: {why}")]
    Unreachable { address: String, why: String },
    #[error("node at {address} answered {status}: {message}")]
    Refused { address: String, status: StatusCode, message: String },
    #[error("the answer of the node at {address} cannot be read: {why}")]
    Unreadable { address: String, why: String },
}

/// A request that has no answer.
pub struct Unsent {
    pub error: PeerError,
    /// As it was, if nothing of it was sent.
    pub request: Option<Request>,
}

/// What nodes of a cluster know each other by.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Whether a request carries it, found in a time that does not tell how much of it was right.
    pub fn is_of(&self, headers: &axum::http::HeaderMap) -> bool {
        let mut sent = headers.get_all(SECRET).iter();
        match (sent.next(), sent.next()) {
            (Some(value), None) => same(value.as_bytes(), self.0.as_bytes()),
            _ => false,
        }
    }

    fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How nodes are spoken to by TLS.
#[derive(Debug, Clone)]
pub struct PeerTls {
    /// Those whose certificates nodes have.
    pub authorities: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

type Sender = SendRequest<Body>;

/// The connection to one node. Who finds none makes one, the others wait for it.
type Slot = Arc<tokio::sync::Mutex<Option<Sender>>>;

pub struct Peers {
    secret: HeaderValue,
    tls: Option<PeerTls>,
    slots: Mutex<HashMap<String, Slot>>,
    /// Where connections live, whoever's thread asks for them.
    runtime: Handle,
    pub traces: Traces,
}

impl Peers {
    /// To be called within the runtime that the connections are to live in.
    pub fn new(secret: &Secret, tls: Option<PeerTls>, traces: Traces) -> anyhow::Result<Arc<Peers>> {
        let secret = secret.header().ok_or_else(|| anyhow::anyhow!("cluster.secret holds what no header can"))?;
        Ok(Arc::new(Peers { secret, tls, slots: Mutex::default(), runtime: Handle::current(), traces }))
    }

    /// Sends a request to the node at an address (`host:port`); its URI names path and query, and an authority if the
    /// request is for another one than the node itself.
    pub async fn send(&self, address: &str, request: Request) -> Result<Response, PeerError> {
        self.try_send(address, request).await.map_err(|unsent| unsent.error)
    }

    /// As [`Peers::send`], and gives back what nothing of was sent.
    pub async fn try_send(&self, address: &str, mut request: Request) -> Result<Response, Unsent> {
        let unreachable = |why: String| PeerError::Unreachable { address: address.to_string(), why };
        request.headers_mut().insert(SECRET, self.secret.clone());
        let mut parts = request.uri().clone().into_parts();
        let lost = |why: String| Unsent { error: unreachable(why), request: None };
        let authority = parts.authority.take().map_or_else(|| address.parse(), Ok);
        parts.authority = Some(authority.map_err(|error| lost(format!("its address is none: {error}")))?);
        parts.scheme =
            Some(if self.tls.is_some() { axum::http::uri::Scheme::HTTPS } else { axum::http::uri::Scheme::HTTP });
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| lost(error.to_string()))?;
        *request.version_mut() = axum::http::Version::HTTP_2;
        let mut sender = match self.connection(address).await {
            Ok(sender) => sender,
            Err(error) => return Err(Unsent { error, request: Some(request) }),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(mut failed) => {
                let (request, error) = (failed.take_message(), failed.into_error());
                if error.is_closed() || error.is_canceled() || sender.is_closed() {
                    self.slots.lock().remove(address);
                }
                Err(Unsent { error: unreachable(error.to_string()), request })
            }
        }
    }

    /// Asks for JSON with JSON, within a time. Only a status of success is an answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, PeerError> {
        let unreadable = |why: String| PeerError::Unreadable { address: address.to_string(), why };
        let body = serde_json::to_vec(body).map_err(|error| unreadable(error.to_string()))?;
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| unreadable(error.to_string()))?;
        let asked = async {
            let response = self.send(address, request).await?;
            let status = response.status();
            let body = read(response.into_body(), ANSWER_BYTES_MAX).await.map_err(unreadable)?;
            if !status.is_success() {
                return Err(PeerError::Refused { address: address.to_string(), status, message: told(&body) });
            }
            serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))
        };
        let late =
            || PeerError::Unreachable { address: address.to_string(), why: format!("no answer within {within:?}") };
        tokio::time::timeout(within, asked).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connection(&self, address: &str) -> Result<Sender, PeerError> {
        let slot = {
            let mut slots = self.slots.lock();
            if slots.len() >= PEERS_MAX && !slots.contains_key(address) {
                slots.retain(|_, slot| {
                    slot.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|of| !of.is_closed()))
                });
                if slots.len() >= PEERS_MAX {
                    slots.clear();
                }
            }
            slots.entry(address.to_string()).or_default().clone()
        };
        let mut held = slot.lock().await;
        if let Some(sender) = held.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        *held = None;
        let (to, tls) = (address.to_string(), self.tls.clone());
        // Sockets belong to the runtime that they are made in.
        let made = self.runtime.spawn(async move { tokio::time::timeout(CONNECT_MAX, connect(&to, tls)).await });
        let why = match made.await {
            Ok(Ok(Ok(sender))) => {
                *held = Some(sender.clone());
                return Ok(sender);
            }
            Ok(Ok(Err(error))) => format!("{error:#}"),
            Ok(Err(_)) => format!("no connection within {CONNECT_MAX:?}"),
            Err(_) => "this process is stopping".to_string(),
        };
        Err(PeerError::Unreachable { address: address.to_string(), why })
    }
}

async fn connect(address: &str, tls: Option<PeerTls>) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_ALL)
        .keep_alive_interval(LIVELY)
        .keep_alive_timeout(STILL_MAX)
        .keep_alive_while_idle(true);
    let Some(tls) = tls else {
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        return Ok(sender);
    };
    // Read again each time: files change, and connections are made seldom.
    let config = tls::client(&tls.authorities, &tls.certificate, &tls.key)?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// A body as a whole, up to a size.
pub async fn read(body: Body, most: usize) -> Result<Bytes, String> {
    let mut stream = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| error.to_string())?;
        if whole.len() + bytes.len() > most {
            return Err(format!("it is longer than {most} bytes"));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.into())
}

/// The message of a refusal, or its beginning.
fn told(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match json.as_ref().and_then(|json| json["error"].as_str()) {
        Some(message) => message.to_string(),
        None => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    }
}
