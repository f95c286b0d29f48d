//! Where requests come in: how many connections at once, and how long they may keep silent.
//!
//! 1. A connection takes a place among all and among those of its address ([`Places`]), or is closed at once.
//! 2. By TLS it shakes hands, within bounds of their own ([`crate::tls::Handshakes`]).
//! 3. It is served by HTTP/1 or HTTP/2, whichever it speaks, as long as it keeps its times ([`Pulse`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, Version};
use axum::{Extension, Router};
use futures::future::OptionFuture;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::auth::throttle::network;
use crate::config::Config;
use crate::http::guard::Encrypted;
use crate::tls::{self, Certificates, Handshakes};

/// Rest after the system refuses a connection (too many files, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Open files that are left to everything else.
const FILES_FOR_OTHERS: u64 = 256;

/// However few files there are, somebody has to be able to ask.
const CONNECTIONS_MIN: usize = 16;

/// A connection of HTTP/1 that nobody asks anything on is closed after this.
const KEPT_ALIVE: Duration = Duration::from_secs(300);

/// Who is silent at the other end of HTTP/2 is asked this often, and has as long again to answer.
const PING: Duration = Duration::from_secs(20);

/// What a connection of HTTP/1 may send before somebody reads it, headers among it.
const BUFFER_BYTES: usize = 128 << 10;

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 256;

/// What a connection of HTTP/2, and each request on it, may send before somebody reads it.
const WINDOW_BYTES: u32 = 256 << 10;

/// Where requests come in: without TLS, with it, or both.
pub struct Doors {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, Arc<Certificates>)>,
    places: Arc<Places>,
    header_max: Duration,
}

impl Doors {
    pub async fn open(config: &Config) -> anyhow::Result<Doors> {
        let bind = async |port: u16| {
            let bound = TcpListener::bind((config.host.as_str(), port)).await;
            bound.with_context(|| format!("listening on {}:{port}", config.host))
        };
        let only_tls = config.tls.as_ref().is_some_and(|tls| tls.only);
        let plain = if only_tls { None } else { Some(bind(config.port).await?) };
        let tls = match &config.tls {
            Some(settings) => Some((bind(settings.port).await?, Certificates::load(settings.clone())?)),
            None => None,
        };
        let files = usize::try_from(open_files().saturating_sub(FILES_FOR_OTHERS)).unwrap_or(usize::MAX);
        let most = config.connections_max.min(files.max(CONNECTIONS_MIN));
        if most < config.connections_max {
            tracing::warn!(most, "fewer connections than http.connections_max: the process may not open more files");
        }
        Ok(Doors { plain, tls, places: Places::new(most), header_max: config.header_max })
    }

    /// `host:port` as others reach this process.
    pub fn address(&self) -> anyhow::Result<String> {
        let listener = self.plain.as_ref().or(self.tls.as_ref().map(|(listener, _)| listener));
        Ok(listener.context("nothing is listened to")?.local_addr()?.to_string())
    }

    pub fn tls_address(&self) -> anyhow::Result<Option<String>> {
        Ok(self.tls.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?.map(|address| address.to_string()))
    }

    /// Serves until it is told to stop and every request has ended.
    pub async fn serve(self, service: Router, stopping: watch::Receiver<bool>) {
        let door = |service: Router| Door {
            service,
            places: self.places.clone(),
            header_max: self.header_max,
            stopping: stopping.clone(),
        };
        let plain = self.plain.map(|listener| door(service.clone()).serve(listener, None));
        let tls = self.tls.map(|(listener, certificates)| {
            tokio::spawn(tls::keep_renewed(Arc::downgrade(&certificates)));
            // Whoever connects is told by what it came.
            let handshakes = Handshakes::new(certificates);
            door(service.layer(Extension(Encrypted))).serve(listener, Some(handshakes))
        });
        futures::future::join(OptionFuture::from(plain), OptionFuture::from(tls)).await;
    }
}

/// One of the doors.
#[derive(Clone)]
struct Door {
    service: Router,
    places: Arc<Places>,
    header_max: Duration,
    stopping: watch::Receiver<bool>,
}

impl Door {
    async fn serve(self, listener: TcpListener, handshakes: Option<Arc<Handshakes>>) {
        // Each connection has one until it has ended.
        let (ended, open) = watch::channel(());
        let mut stopping = self.stopping.clone();
        let mut stopped = pin!(told_to_stop(&mut stopping));
        loop {
            let accepted = async {
                let room = match &handshakes {
                    Some(handshakes) => Some(handshakes.room().await),
                    None => None,
                };
                (listener.accept().await, room)
            };
            let (accepted, room) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stopped => break,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let address = from.ip().to_canonical();
            let place = match Places::take(&self.places, address) {
                Ok(place) => place,
                Err(bound) => {
                    closed(bound);
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let (door, handshakes, open) = (self.clone(), handshakes.clone(), open.clone());
            tokio::spawn(async move {
                door.welcome(stream, from, handshakes.zip(room)).await;
                drop((place, open));
            });
        }
        drop((listener, open));
        ended.closed().await;
    }

    async fn welcome(self, stream: TcpStream, from: SocketAddr, tls: Option<(Arc<Handshakes>, tls::Room)>) {
        let Some((handshakes, room)) = tls else { return self.converse(stream, from).await };
        let mut stopping = self.stopping.clone();
        let shaken = tokio::select! {
            shaken = handshakes.shake(stream, from, room) => shaken,
            () = told_to_stop(&mut stopping) => None,
        };
        if let Some(stream) = shaken {
            self.converse(stream, from).await;
        }
    }

    async fn converse<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: I, from: SocketAddr) {
        let pulse = Arc::new(Pulse::new());
        let (service, own) = (self.service, pulse.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&own, request.version());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(from));
            let answered = service.clone().oneshot(request);
            async move {
                let response = answered.await?;
                Ok::<_, Infallible>(response.map(|body| Answering { body, _busy: busy }))
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().max_buf_size(BUFFER_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .enable_connect_protocol();
        let heard = TokioIo::new(Heard { stream, pulse: pulse.clone() });
        let mut connection = pin!(builder.serve_connection_with_upgrades(heard, service));
        let mut overdue = pin!(pulse.overdue(self.header_max));
        let mut stopping = self.stopping;
        let mut stopped = pin!(told_to_stop(&mut stopping));
        let mut told = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::trace!(%from, %error, "a connection broke off");
                    }
                    return;
                }
                () = &mut stopped, if !told => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut overdue => {
                    tracing::debug!(%from, "a connection was silent for too long");
                    return;
                }
            }
        }
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Counts a connection that is closed for a bound.
pub fn closed(bound: &'static str) {
    metrics::counter!("henge_server_connections_closed_total", "bound" => bound).increment(1);
}

/// Places for connections, in all and of one address.
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Given back when dropped.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default() })
    }

    /// A place for a connection, or the bound that it is beyond.
    pub fn take(places: &Arc<Places>, address: IpAddr) -> Result<Place, &'static str> {
        let address = network(address);
        let mut taken = places.taken.lock();
        if taken.all >= places.most {
            return Err("all");
        }
        let of_one = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_one >= (places.most / 2).max(1) {
            return Err("address");
        }
        taken.by_address.insert(address, of_one + 1);
        taken.all += 1;
        Ok(Place { places: places.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut of_one) = taken.by_address.entry(self.address) {
            *of_one.get_mut() -= 1;
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
    }
}

/// Lets the process open as many files as it may, and says how many these are.
#[allow(unsafe_code)]
fn open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it is told to write to a whole structure of this frame.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return u64::MAX;
    }
    let most = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: it is told to read a whole structure of this frame.
    match limit.rlim_cur < limit.rlim_max && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &most) } == 0 {
        true => most.rlim_cur,
        false => limit.rlim_cur,
    }
}

/// What is known of a connection's times. Until its first request has come, and from the first byte of one until its headers
/// are there, it has a time for that; between requests it has a longer one. While it is answered it has time without end, and
/// with HTTP/2, where pings look after it, from its first request on.
struct Pulse {
    beats: Mutex<Beats>,
}

struct Beats {
    answering: usize,
    /// Of what is no request yet.
    first_byte: Option<Instant>,
    rests_since: Instant,
    has_pings: bool,
}

impl Pulse {
    fn new() -> Pulse {
        let now = Instant::now();
        let beats = Beats { answering: 0, first_byte: Some(now), rests_since: now, has_pings: false };
        Pulse { beats: Mutex::new(beats) }
    }

    fn heard(&self) {
        let mut beats = self.beats.lock();
        if beats.answering == 0 && beats.first_byte.is_none() {
            beats.first_byte = Some(Instant::now());
        }
    }

    /// The time that is left; `None` if it is without end.
    fn left(&self, header_max: Duration, now: Instant) -> Option<Duration> {
        let beats = self.beats.lock();
        let end = match beats.first_byte {
            _ if beats.has_pings => return None,
            // What comes after the answer has all of its time.
            _ if beats.answering > 0 => now + header_max,
            Some(first) => first + header_max,
            None => beats.rests_since + KEPT_ALIVE.max(header_max),
        };
        Some(end.saturating_duration_since(now))
    }

    /// Returns when the time is over.
    async fn overdue(&self, header_max: Duration) {
        while let Some(left) = self.left(header_max, Instant::now()) {
            if left.is_zero() {
                return;
            }
            // A byte that comes meanwhile begins a time that is shorter than that of a rest.
            tokio::time::sleep(left.min(header_max)).await;
        }
        std::future::pending().await
    }
}

/// A request that is being answered.
struct Busy(Arc<Pulse>);

impl Busy {
    fn new(pulse: &Arc<Pulse>, version: Version) -> Busy {
        let mut beats = pulse.beats.lock();
        beats.answering += 1;
        beats.first_byte = None;
        beats.has_pings |= version == Version::HTTP_2;
        Busy(pulse.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut beats = self.0.beats.lock();
        beats.answering -= 1;
        beats.rests_since = Instant::now();
    }
}

struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection that tells when something comes.
struct Heard<I> {
    stream: I,
    pulse: Arc<Pulse>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Heard<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.heard();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Heard<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_by_address() {
        let places = Places::new(4);
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| address.parse::<IpAddr>().unwrap());
        let take = |address: IpAddr| Places::take(&places, address);
        let first = take(a).ok().unwrap();
        let _second = take("::ffff:192.0.2.1".parse().unwrap()).ok().unwrap();
        assert_eq!(take(a).err(), Some("address"));
        let _others = [take(b).ok().unwrap(), take(b).ok().unwrap()];
        assert_eq!(take(c).err(), Some("all"));
        drop(first);
        assert_eq!(take(b).err(), Some("address"));
        assert!(take(c).is_ok() && take(a).is_ok());
    }

    #[test]
    fn silence_has_an_end() {
        let second = Duration::from_secs(1);
        let pulse = Arc::new(Pulse::new());
        let start = Instant::now();
        let left = |after: Duration| pulse.left(10 * second, start + after);
        let about = |left: Option<Duration>, expected: Duration| {
            assert!(left.is_some_and(|left| left.abs_diff(expected) < second), "{left:?}, not {expected:?}");
        };
        // Nothing has come yet, and a byte changes nothing.
        pulse.heard();
        about(left(4 * second), 6 * second);
        assert_eq!(left(11 * second), Some(Duration::ZERO));
        let busy = Busy::new(&pulse, Version::HTTP_11);
        pulse.heard();
        about(left(1000 * second), 10 * second);
        drop(busy);
        about(left(10 * second), KEPT_ALIVE - 10 * second);
        pulse.heard();
        about(left(4 * second), 6 * second);
        drop(Busy::new(&pulse, Version::HTTP_2));
        assert_eq!(left(1000 * second), None);
    }

    #[test]
    fn as_many_files_as_may_be_open_are() {
        let files = open_files();
        assert!(files > 0);
        assert_eq!(open_files(), files);
    }
}
