//! Which of the nodes that share a metadata store is at work: the one that leads. The others stand by and answer that they
//! do, until the lease of the one that leads has run out.
//!
//! 1. A node serves its port from the start ([`Front`]), so that whoever asks is told.
//! 2. It takes the lead ([`take`]) and only then reads anything of the store.
//! 3. While it leads it renews the lease ([`keep`]). Answers are given only as long as the lease surely holds, by the node's
//!    own clock: a node that stood still wakes up to refuse, and all that it would write is refused by the store.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coordinator::Coordinator;
use coordinator::lease::Leases;
use segment::Kind;
use serde_json::json;
use tokio::sync::oneshot;
use tower::ServiceExt;

use crate::config::ClusterSettings;
use crate::http::{guard, queries};
use crate::rpc::forward::{Forward, not_led};
use crate::rpc::{self, data, statements};

/// Looks at the lease, and renewals, in the time that it lasts.
const TRIES: u32 = 6;

/// Rest between two looks at whether requests have ended.
const STEP: Duration = Duration::from_millis(2);

/// The catalog, once this node leads.
pub async fn take(
    cluster: &ClusterSettings,
    settings: coordinator::Settings,
    node: &str,
    address: &str,
) -> coordinator::Result<Arc<Coordinator>> {
    if !cluster.is_shared() {
        return Ok(Arc::new(Coordinator::open_store(&cluster.metadata, settings).await?));
    }
    let info = json!({"address": address});
    let mut standing_by: Option<Arc<Coordinator>> = None;
    let mut told = false;
    loop {
        let tried = async {
            let coordinator = match &standing_by {
                Some(coordinator) => coordinator.clone(),
                None => {
                    let leases = Leases::open(&cluster.metadata).await?;
                    let coordinator = Arc::new(Coordinator::stand_by(&leases, settings.clone()).await?);
                    standing_by.insert(coordinator).clone()
                }
            };
            let leads = coordinator.take_lead(node, cluster.lease, &info).await?;
            Ok::<_, coordinator::Error>(leads.then_some(coordinator))
        };
        match tried.await {
            Ok(Some(coordinator)) => return Ok(coordinator),
            Ok(None) if !told => {
                told = true;
                tracing::info!(node, "another node leads; standing by");
                println!("standing by at {address}");
            }
            Ok(None) => {}
            // The store may come back, and nobody else can lead without it either.
            Err(error) if error.kind() == Kind::Unavailable => tracing::warn!(%error, "the lead cannot be taken"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(cluster.lease / TRIES).await;
    }
}

/// Renews the lease for as long as the node leads; returns why it does not any more, or `None` once it is told to end. A
/// store that does not answer is asked again: nobody else leads without it.
///
/// No renewal is cut off: one that is on its way when the lead is given back would take it again.
pub async fn keep(
    coordinator: Arc<Coordinator>,
    lease: Duration,
    mut end: oneshot::Receiver<()>,
) -> Option<coordinator::Error> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(lease / TRIES) => {}
            _ = &mut end => return None,
        }
        match coordinator.renew().await {
            Ok(()) => {}
            Err(error @ coordinator::Error::NotLeader(_)) => return Some(error),
            Err(error) => tracing::warn!(%error, "the lease was not renewed"),
        }
    }
}

/// What answers at the node's port: that it stands by, until there is more.
#[derive(Clone, Default)]
pub struct Front(Arc<Faces>);

#[derive(Default)]
struct Faces {
    /// What this process does by itself.
    own: OnceLock<Router>,
    /// What only the one that leads does, once this process does.
    leading: OnceLock<Router>,
    /// What other nodes ask of the rows of a process that does nothing by itself, and its metrics.
    rows: OnceLock<Router>,
    /// Who else leads is asked for that until then.
    forward: OnceLock<Forward>,
    /// Whether it is about to lead no more.
    steps_down: AtomicBool,
    /// Requests that are at work as one that leads.
    at_work: AtomicUsize,
}

/// A request's place among those.
struct AtWork<'a>(&'a AtomicUsize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Front {
    pub fn router(&self) -> Router {
        let front = self.clone();
        let answer = move |request: Request| front.clone().answer(request);
        Router::new().fallback(answer).layer(axum::middleware::from_fn(guard::headers))
    }

    /// From now on this answers.
    pub fn open(&self, router: Router) {
        // It is opened once.
        let _ = self.0.own.set(router);
    }

    /// From now on other nodes' questions are answered by this, and what the process says of itself; no others are.
    pub fn open_to_nodes(&self, router: Router) {
        // It is opened once.
        let _ = self.0.rows.set(router);
    }

    /// From now on this process leads.
    pub fn lead(&self, router: Router) {
        // It leads once.
        let _ = self.0.leading.set(router);
    }

    /// From now on nothing is taken as one that leads. Returns when what was has been answered, or after a time.
    pub async fn step_down(&self, within: Duration) {
        self.0.steps_down.store(true, Ordering::SeqCst);
        let ended = async {
            while self.0.at_work.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(STEP).await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!("requests to the one that leads were still being answered and are cut off");
        }
    }

    /// From now on what only the one that leads can do is asked of it.
    pub fn forward(&self, forward: Forward) {
        // It is said once.
        let _ = self.0.forward.set(forward);
    }

    async fn answer(self, request: Request) -> Response {
        let Faces { own, leading, rows, forward, steps_down, at_work } = &*self.0;
        // Counted before it is looked whether it may be: who steps down waits for it, or it sees that.
        at_work.fetch_add(1, Ordering::SeqCst);
        let mut held = Some(AtWork(at_work));
        let leading = leading.get().filter(|_| !steps_down.load(Ordering::SeqCst));
        let path = request.uri().path();
        let (of_leader, is_split) = (is_of_leader(path), forward.get().is_some());
        // Whoever stands by has metrics of its own.
        let rows = rows.get().filter(|_| path == data::QUERY || path.trim_end_matches('/') == METRICS);
        let own = own.get().or(rows);
        let router = match (own, leading) {
            (_, Some(leading)) if of_leader && is_split => leading,
            // What nodes ask is refused where it has to be by who can tell nodes from others.
            (Some(own), _) if !of_leader || !is_split || path.starts_with(rpc::ROOT) => {
                held = None;
                own
            }
            // It does nothing else.
            (None, Some(leading)) => leading,
            _ => {
                drop(held);
                let forward = forward.get().filter(|_| of_leader && !is_local(path));
                return match forward {
                    Some(forward) => forward.pass_on(request).await,
                    None => not_led(standby(path)),
                };
            }
        };
        let answered: Result<Response, Infallible> = router.clone().oneshot(request).await;
        drop(held);
        answered.unwrap_or_else(|never| match never {})
    }
}

const METRICS: &str = "/metrics";

/// Whether only the one that leads can answer.
fn is_of_leader(path: &str) -> bool {
    OF_LEADER.iter().any(|root| path.starts_with(root))
        && path != data::QUERY
        && path != statements::CANCEL
        && !path.starts_with(queries::ROOT)
}

/// Whether it is asked of this very process, whoever leads: of nodes, and whether it leads.
fn is_local(path: &str) -> bool {
    path.starts_with(rpc::ROOT) || path.trim_end_matches('/').ends_with("/isLeader")
}

/// What only the one that leads can answer: what changes the catalog, and how the cluster stands.
const OF_LEADER: [&str; 8] = [
    rpc::ROOT,
    // It begins a session.
    "/arrow.flight.protocol.FlightService/Handshake",
    "/henge/",
    "/druid-ext/",
    "/druid/coordinator/",
    "/druid/indexer/",
    "/druid/listen/",
    "/druid/v1/lookups",
];

/// What a node answers that does not lead, in the words of who asks.
pub fn standby(path: &str) -> Response {
    match path.trim_end_matches('/') {
        "/status/health" | "/status/ready" => {
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!(false))).into_response()
        }
        "/druid/coordinator/v1/isLeader" | "/druid/indexer/v1/isLeader" => {
            (StatusCode::NOT_FOUND, axum::Json(json!({"leader": false}))).into_response()
        }
        _ => {
            let message = "this node stands by for the one that leads; ask that one, or try again";
            let body = json!({"error": message, "errorMessage": message});
            let mut response = (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn a_node_that_stands_by_says_to_browsers_what_every_answer_says() {
        let asked = Request::builder().uri("/henge/v1/security/whoami").body(Body::empty()).unwrap();
        let answer = Front::default().router().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let said = ["x-content-type-options", "x-frame-options", "referrer-policy", "cache-control"];
        let said = said.map(|name| answer.headers()[name].to_str().unwrap());
        assert_eq!(said, ["nosniff", "DENY", "no-referrer", "no-store"]);
    }
}
