//! Druid's paths over axum. Paths, headers and status codes exist here and nowhere else.

pub mod answering;
pub mod asking;
pub mod auth;
pub mod avatica;
pub mod bodies;
pub mod console;
pub mod error;
pub mod flight;
pub mod guard;
pub mod manage;
pub mod measure;
pub mod native;
pub mod queries;
pub mod routes;
pub mod sql;
pub mod statements;
pub mod status;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, any_service};
use coordinator::Coordinator;
use ingest::Worker;
use metrics_exporter_prometheus::PrometheusHandle;
use query::Broker;
use query::budget::Memory;
use query_sql::Sql;
use query_sql::cluster::Cluster;
use segment::inventory::Inventory;
use serde_json::json;
use tokio::sync::watch;

use auth::Need;
use bodies::Bodies;
pub use routes::{Route, routes};

use crate::audit::{self, Audit};
use crate::auth::Identity;
use crate::config::Config;
use crate::roles::follow::Standing;
use crate::roles::historical::Historical;
use crate::roles::view::Followed;
use crate::rpc;
use crate::rpc::data::Answers;
use crate::rpc::peers::Secret;
use crate::traces::{self, Traces};

/// How often a query may meet broken copies, mend them and start anew before it fails.
const REPAIRS_MAX: usize = 16;

/// What handlers reach.
pub struct App {
    pub config: Config,
    /// `host:port` as others reach it.
    pub address: String,
    pub inventory: Arc<Inventory>,
    pub audit: Arc<Audit>,
    pub rates: Option<Arc<guard::Rates>>,
    pub bodies: Arc<Bodies>,
    pub traces: Traces,
    pub broker: Arc<Broker>,
    pub sql: Arc<Sql>,
    /// That leads, or follows who does.
    pub coordinator: Arc<Coordinator>,
    /// By what this may answer.
    pub standing: Standing,
    pub worker: Arc<Worker>,
    /// `None` where no segments are served.
    pub historical: Option<Arc<Historical>>,
    pub cluster: Arc<dyn Cluster>,
    /// What other nodes may ask of this process, if any may.
    pub answers: Option<Arc<Answers>>,
    /// Whether people are answered here. A node that is no broker knows a part of the rows only.
    pub takes_queries: bool,
    pub lookups: Arc<manage::lookups::Store>,
    pub jdbc: Arc<avatica::Connections>,
    pub flight: flight::Handles,
    pub statements: statements::Statements,
    pub identity: Arc<Identity>,
    pub metrics: PrometheusHandle,
    /// What queries may have together.
    pub memory: Arc<Memory>,
    pub ready: AtomicBool,
    /// Where rows are, if they are on other nodes.
    pub view: Option<Arc<Followed>>,
    pub started: Instant,
    pub stopping: watch::Receiver<bool>,
    /// Whether it was told to stop: it takes requests for a while yet, and says that it is not ready.
    pub leaving: watch::Receiver<bool>,
}

pub fn router(app: Arc<App>) -> Router {
    let gated = |routes: Vec<Route>| {
        routes.into_iter().fold(Router::new(), |router, route| {
            let gate = middleware::from_fn_with_state((app.clone(), route.need), auth::gate);
            let count = middleware::from_fn_with_state((app.bodies.clone(), route.need), bodies::count);
            let handler = match route.need {
                Need::Open => bodies::limited_to_strangers(route.handler),
                _ => route.handler,
            };
            let handler = handler.layer(count).layer(gate);
            // Clients of Druid write many paths with a slash at the end.
            let router = match route.path.ends_with('/') || route.path.contains("{*") {
                true => router,
                false => router.route(&format!("{}/", route.path), handler.clone()),
            };
            router.route(&route.path, handler)
        })
    };
    let of_query = ("query.body_max_bytes", app.config.query_body_max_bytes);
    let of_work = ("ingest.body_max_bytes", app.config.ingest_body_max_bytes);
    let queries = limited(gated(routes::queries()), of_query)
        .layer(middleware::from_fn_with_state(app.clone(), refuse_until_ready));
    let jdbc =
        limited(gated(routes::jdbc()), of_query).layer(middleware::from_fn_with_state(app.clone(), refuse_until_ready));
    let management = limited(gated(manage::routes()), of_work);
    let of_nodes = limited(gated(rpc::routes()), ("of nodes", rpc::MESSAGE_BYTES_MAX));
    let signed_in = middleware::from_fn_with_state((app.clone(), Need::SignedIn), auth::gate);
    let flight_gate = middleware::from_fn_with_state((app.clone(), flight::NEED), auth::gate);
    let flight_count = middleware::from_fn_with_state((app.bodies.clone(), flight::NEED), bodies::count);
    let flight = any_service(flight::service(app.clone())).layer(flight_count).layer(flight_gate);
    let flight = match app.takes_queries {
        true => flight,
        false => flight.layer(middleware::from_fn_with_state(app.clone(), refuse_until_ready)),
    };
    let router = Router::new()
        .merge(queries)
        .merge(gated(routes::status()))
        .merge(gated(console::routes()))
        .merge(management)
        .merge(of_nodes)
        // What there is not is told to nobody either.
        .fallback_service(any(unknown).layer(signed_in.clone()).with_state(app.clone()))
        .method_not_allowed_fallback(any(other_method).layer(signed_in))
        .layer(tower_http::compression::CompressionLayer::new())
        .merge(jdbc)
        .with_state(app.clone())
        .route_service(flight::PATH, flight)
        .layer(middleware::from_fn_with_state(app.audit.clone(), audit::record))
        .layer(middleware::from_fn_with_state(app.traces.clone(), traces::record))
        .layer(middleware::map_response(error::told_when))
        .layer(middleware::map_response(counted));
    match app.config.cors_origins.as_slice() {
        [] => router,
        origins => router.layer(guard::cors(origins)),
    }
}

/// Refuses bodies that are longer than a setting says.
fn limited(router: Router<Arc<App>>, (setting, most): (&'static str, usize)) -> Router<Arc<App>> {
    let why = format!("the body is longer than {most} bytes; send less, or raise the setting {setting}");
    let told = move |response: Response| ready(bodies::told_too_long(response, &why));
    router.layer(DefaultBodyLimit::max(most)).layer(middleware::map_response(told))
}

async fn refuse_until_ready(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.refuses_queries() {
        None => next.run(request).await,
        Some(why) => error::failed_query(&query::Error::Unavailable(why.into()).failure(), &app.address),
    }
}

async fn counted(response: Response) -> Response {
    crate::metrics::response(response.status().as_u16());
    response
}

async fn unknown(method: Method, uri: Uri) -> impl IntoResponse {
    refusal(StatusCode::NOT_FOUND, format!("there is no {method} {}", uri.path()))
}

/// The methods that there are stand in the header `Allow`.
async fn other_method(method: Method, uri: Uri) -> impl IntoResponse {
    refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// Clients of queries read `errorMessage`, those of management paths `error`.
fn refusal(status: StatusCode, message: String) -> impl IntoResponse {
    (status, axum::Json(json!({"error": message, "errorMessage": message})))
}

impl App {
    /// What nodes of the cluster know each other by; `None` where there are no others.
    pub fn secret(&self) -> Option<&Secret> {
        self.config.cluster.split.as_ref().map(|split| &split.secret)
    }

    /// Why queries are not answered here now, if they are not. A node that has not loaded what was published would give answers
    /// that lack rows, and one that does not know where rows are would know of no table.
    pub fn refuses_queries(&self) -> Option<&'static str> {
        if !self.takes_queries {
            // Over its own rows alone it would answer what is not so.
            return Some("this node is no broker; ask one that is");
        }
        if !self.ready.load(Ordering::Acquire) {
            return Some("the server is starting and has not loaded every segment yet; retry");
        }
        let knows = self.view.as_ref().is_none_or(|view| view.is_known());
        (!knows).then_some("this node does not know yet where rows are; retry")
    }

    /// Whether whoever hands out requests may hand them to this node.
    pub fn is_healthy(&self) -> bool {
        let refuses = self.takes_queries && self.refuses_queries().is_some();
        self.ready.load(Ordering::Acquire) && !refuses && self.standing.holds() && !*self.leaving.borrow()
    }

    /// Fetches anew what a query found to be broken here.
    pub async fn mend(&self) {
        if let Some(historical) = &self.historical {
            historical.mend().await;
        }
    }
}
