//! Which of the nodes that share a metadata store is at work: the one that leads. The others stand by and answer that they
//! do, until the lease of the one that leads has run out.
//!
//! 1. A node serves its port from the start ([`Front`]), so that whoever asks is told.
//! 2. It takes the lead ([`take`]) and only then reads anything of the store.
//! 3. While it leads it renews the lease ([`keep`]). Answers are given only as long as the lease surely holds, by the node's
//!    own clock: a node that stood still wakes up to refuse, and all that it would write is refused by the store.

use std::convert::Infallible;
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

/// Looks at the lease, and renewals, in the time that it lasts.
const TRIES: u32 = 6;

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
    let mut leases: Option<Leases> = None;
    let mut told = false;
    loop {
        let tried = async {
            let leases = match &mut leases {
                Some(leases) => leases,
                none => none.insert(Leases::open(&cluster.metadata).await?),
            };
            Coordinator::lead(leases, settings.clone(), node, cluster.lease, &info).await
        };
        match tried.await {
            Ok(Some(coordinator)) => return Ok(Arc::new(coordinator)),
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
pub struct Front(Arc<OnceLock<Router>>);

impl Front {
    pub fn router(&self) -> Router {
        let front = self.clone();
        Router::new().fallback(move |request: Request| front.clone().answer(request))
    }

    /// From now on this answers.
    pub fn open(&self, router: Router) {
        // It is opened once.
        let _ = self.0.set(router);
    }

    async fn answer(self, request: Request) -> Response {
        match self.0.get() {
            Some(router) => {
                let answered: Result<Response, Infallible> = router.clone().oneshot(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
            None => standby(request.uri().path()),
        }
    }
}

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
