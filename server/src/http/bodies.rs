//! Bodies of requests on their way in: how much of them the process holds at once, and how much for those of whom it does not
//! know yet who asks, and of these for those of one network, so that nobody keeps all others from signing in.
//!
//! What a body brings is counted as it comes ([`count`]), and given back when its request has been answered. What finds no room
//! is refused, and with it the request.

use std::collections::HashMap;
use std::future::ready;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use parking_lot::Mutex;

use super::auth::{Address, Need};
use super::{App, refusal};
use crate::auth::Caller;
use crate::auth::throttle::network;

/// The largest body where nothing is needed to be let in. It holds a name and a password.
const STRANGER_BODY_MAX: usize = 64 << 10;

/// Of all memory for bodies, the part for those of whom it is not known yet who asks.
const STRANGERS_SHARE: u64 = 4;

/// Of the strangers' part, the part for those of one network.
const NETWORKS_SHARE: u64 = 4;

/// What the process holds of bodies.
pub struct Bodies {
    most: u64,
    held: AtomicU64,
    strangers: Mutex<Strangers>,
}

/// What is held for those of whom it is not known yet who asks.
#[derive(Debug, Default, PartialEq)]
struct Strangers {
    held: u64,
    /// Without those that hold nothing.
    by_network: HashMap<IpAddr, u64>,
}

/// For whom a body is held.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Known,
    /// Somebody of this network.
    Stranger(IpAddr),
}

impl Bodies {
    pub fn new(most: u64) -> Arc<Bodies> {
        Arc::new(Bodies { most, held: AtomicU64::new(0), strangers: Mutex::default() })
    }

    /// What strangers have together, and those of one network.
    fn of_strangers(&self) -> (u64, u64) {
        let all = self.most / STRANGERS_SHARE;
        // Whoever signs in sends no more than this: however little there is, it is for one such at least.
        let of_one = (all / NETWORKS_SHARE).max(STRANGER_BODY_MAX as u64);
        (all, of_one.min(all))
    }

    fn take(&self, bytes: u64, sender: Sender) -> bool {
        let Sender::Stranger(network) = sender else { return add_within(&self.held, bytes, self.most) };
        let (all, of_one) = self.of_strangers();
        let strangers = &mut *self.strangers.lock();
        let own = strangers.by_network.get(&network).copied().unwrap_or(0);
        let fits = |held: u64, most: u64| held.checked_add(bytes).is_some_and(|sum| sum <= most);
        if !fits(strangers.held, all) || !fits(own, of_one) || !add_within(&self.held, bytes, self.most) {
            return false;
        }
        if bytes > 0 {
            strangers.held += bytes;
            strangers.by_network.insert(network, own + bytes);
        }
        true
    }

    fn give(&self, bytes: u64, sender: Sender) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        let Sender::Stranger(network) = sender else { return };
        let strangers = &mut *self.strangers.lock();
        strangers.held -= bytes;
        if let Some(own) = strangers.by_network.get_mut(&network) {
            *own -= bytes;
            if *own == 0 {
                strangers.by_network.remove(&network);
            }
        }
    }
}

/// Adds unless the sum is above the limit.
fn add_within(sum: &AtomicU64, more: u64, limit: u64) -> bool {
    let within = |sum: u64| sum.checked_add(more).filter(|sum| *sum <= limit);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
}

/// What one request holds.
struct Held {
    bodies: Arc<Bodies>,
    sender: Sender,
    bytes: AtomicU64,
    refused: AtomicBool,
}

impl Held {
    fn take(&self, bytes: usize) -> bool {
        let taken = self.bodies.take(bytes as u64, self.sender);
        if taken {
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        } else {
            self.refused.store(true, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.give(self.bytes.load(Ordering::Relaxed), self.sender);
    }
}

/// Counts the body of a request that the gate let through. Messages between nodes have bounds of their own.
pub async fn count(State((bodies, need)): State<(Arc<Bodies>, Need)>, request: Request, next: Next) -> Response {
    if need == Need::Node {
        return next.run(request).await;
    }
    let sender = match (request.extensions().get::<Caller>(), request.extensions().get::<Address>()) {
        (Some(_), _) => Sender::Known,
        (None, Some(Address(address))) => Sender::Stranger(network(*address)),
        (None, None) => Sender::Stranger(IpAddr::from([0, 0, 0, 0])),
    };
    let held = Arc::new(Held { bodies, sender, bytes: AtomicU64::new(0), refused: AtomicBool::new(false) });
    let own = held.clone();
    let response = next.run(request.map(|body| Body::new(Counted { body, held: own }))).await;
    match held.refused.load(Ordering::Relaxed) {
        true => no_room(),
        false => response,
    }
}

fn no_room() -> Response {
    let message = "too many bodies of requests are on their way in, of all or of those from where this one comes (setting \
                   http.bodies_max_bytes); try again in a second";
    let mut refused = refusal(StatusCode::SERVICE_UNAVAILABLE, message.into()).into_response();
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

/// Takes no more of a body than whoever is nobody needs to say who they are.
pub fn limited_to_strangers(handler: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    let why =
        format!("the body is longer than {STRANGER_BODY_MAX} bytes, the most that is read before it is known who asks");
    let told = move |response: Response| ready(told_too_long(response, &why));
    handler.layer(DefaultBodyLimit::max(STRANGER_BODY_MAX)).layer(middleware::map_response(told))
}

/// What takes bodies off says that they are too long in plain text, which no client reads.
pub fn told_too_long(response: Response, why: &str) -> Response {
    let content = response.headers().get(header::CONTENT_TYPE);
    let is_plain = content.is_some_and(|content| content.as_bytes().starts_with(b"text/plain"));
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE || !is_plain {
        return response;
    }
    let (parts, _) = response.into_parts();
    let mut told = refusal(StatusCode::PAYLOAD_TOO_LARGE, why.to_string()).into_response();
    *told.extensions_mut() = parts.extensions;
    told
}

struct Counted {
    body: Body,
    held: Arc<Held>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && !self.held.take(data.len())
        {
            let full = std::io::Error::other("there is no room for the body");
            return Poll::Ready(Some(Err(axum::Error::new(full))));
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

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Sender = Sender::Stranger(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn held(bodies: &Arc<Bodies>, sender: Sender) -> Held {
        Held { bodies: bodies.clone(), sender, bytes: AtomicU64::new(0), refused: AtomicBool::new(false) }
    }

    #[test]
    fn strangers_have_a_quarter_of_the_room_and_it_comes_back() {
        let bodies = Bodies::new(1000);
        let (stranger, other, known) = (held(&bodies, HERE), held(&bodies, HERE), held(&bodies, Sender::Known));
        assert!(stranger.take(200) && !other.take(51) && other.take(50));
        assert!(other.refused.load(Ordering::Relaxed) && !stranger.refused.load(Ordering::Relaxed));
        assert!(known.take(750) && !known.take(1));
        drop(other);
        assert!(known.take(50) && !stranger.take(1));
        drop((stranger, known));
        assert_eq!((bodies.held.load(Ordering::Relaxed), &*bodies.strangers.lock()), (0, &Strangers::default()));
    }

    #[test]
    fn a_network_has_a_quarter_of_what_strangers_have() {
        const MIB: usize = 1 << 20;
        let bodies = Bodies::new(16 << 20);
        let from = |address: &str| held(&bodies, Sender::Stranger(network(address.parse().unwrap())));
        let (one, again) = (from("2001:db8::1"), from("2001:db8::2"));
        assert!(one.take(MIB) && !again.take(1), "a network of IPv6 is one");
        let others = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"].map(from);
        assert!(others.iter().all(|other| other.take(MIB) && !other.take(1)));
        assert!(!from("192.0.2.3").take(1), "four have all that strangers have");
        assert!(held(&bodies, Sender::Known).take(12 * MIB));
        drop(one);
        assert!(from("192.0.2.3").take(MIB) && again.take(1));
        drop((again, others));
        assert_eq!((bodies.held.load(Ordering::Relaxed), &*bodies.strangers.lock()), (0, &Strangers::default()));
        // However little there is, one can sign in.
        let bodies = Bodies::new(4 * STRANGER_BODY_MAX as u64);
        assert!(held(&bodies, HERE).take(STRANGER_BODY_MAX));
    }

    #[tokio::test]
    async fn a_body_that_finds_no_room_fails() {
        let bodies = Bodies::new(1000);
        let read = async |length: usize| {
            let body = Counted { body: Body::from(vec![0; length]), held: Arc::new(held(&bodies, HERE)) };
            axum::body::to_bytes(Body::new(body), usize::MAX).await.map(|bytes| bytes.len())
        };
        assert_eq!(read(250).await.unwrap(), 250);
        assert!(read(251).await.is_err());
        assert_eq!(read(250).await.unwrap(), 250);
    }
}
