//! Druid's paths over axum. Paths, headers and status codes exist here and nowhere else.

pub mod avatica;
pub mod error;
pub mod flight;
pub mod guard;
pub mod manage;
pub mod native;
pub mod sql;
pub mod statements;
pub mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use coordinator::Coordinator;
use ingest::Worker;
use metrics_exporter_prometheus::PrometheusHandle;
use query::Broker;
use query_sql::Sql;
use segment::inventory::Inventory;
use serde_json::{Value, json};

use crate::audit::{self, Audit};
use crate::config::Config;
use crate::roles::historical::Historical;

/// Everyone, as long as there are no users.
pub const ANYONE: &str = "anonymous";

/// How often a query may meet broken copies, mend them and start anew before it fails.
const REPAIRS_MAX: usize = 16;

/// What handlers reach.
pub struct App {
    pub config: Config,
    /// `host:port` as others reach it.
    pub address: String,
    pub inventory: Arc<Inventory>,
    pub audit: Arc<Audit>,
    pub broker: Arc<Broker>,
    pub sql: Arc<Sql>,
    pub coordinator: Arc<Coordinator>,
    pub worker: Arc<Worker>,
    pub historical: Arc<Historical>,
    pub lookups: manage::lookups::Store,
    pub jdbc: Arc<avatica::Connections>,
    pub flight: flight::Handles,
    pub statements: statements::Statements,
    pub metrics: PrometheusHandle,
    pub ready: AtomicBool,
    pub started: Instant,
}

pub fn router(app: Arc<App>) -> Router {
    let queries = Router::new()
        .route("/druid/v2", post(native::query))
        .route("/druid/v2/", post(native::query))
        .route("/druid/v2/{id}", delete(native::cancel))
        .route("/druid/v2/datasources", get(native::datasources))
        .route("/druid/v2/datasources/{name}", get(native::datasource))
        .route("/druid/v2/datasources/{name}/dimensions", get(native::dimensions))
        .route("/druid/v2/datasources/{name}/metrics", get(native::metrics))
        .route("/druid/v2/sql", post(sql::query))
        .route("/druid/v2/sql/", post(sql::query))
        .route("/druid/v2/sql/{id}", delete(sql::cancel))
        .route("/druid/v2/sql/engines", get(sql::engines))
        .route("/druid/v2/sql/statements", post(statements::post))
        .route("/druid/v2/sql/statements/", post(statements::post))
        .route("/druid/v2/sql/statements/enabled", get(statements::enabled))
        .route("/druid/v2/sql/statements/{id}", get(statements::status).delete(statements::cancel))
        .route("/druid/v2/sql/statements/{id}/results", get(statements::results))
        .layer(DefaultBodyLimit::max(app.config.query_body_max_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), refuse_until_ready));
    // Its drivers cannot read compressed answers.
    let jdbc = Router::new()
        .route("/druid/v2/sql/avatica", any(avatica::json))
        .route("/druid/v2/sql/avatica/", any(avatica::json))
        .route("/druid/v2/sql/avatica-protobuf", any(avatica::protobuf))
        .route("/druid/v2/sql/avatica-protobuf/", any(avatica::protobuf))
        .layer(DefaultBodyLimit::max(app.config.query_body_max_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), refuse_until_ready));
    let status = Router::new()
        .route("/status", get(status::status))
        .route("/status/health", get(status::health))
        .route("/status/ready", get(status::health))
        .route("/status/properties", get(status::properties))
        .route("/status/selfDiscovered", get(status::self_discovered))
        .route("/status/selfDiscovered/status", get(status::self_discovered))
        .route("/proxy/enabled", get(status::proxy_enabled))
        .route("/druid/broker/v1/loadstatus", get(status::broker_load))
        .route("/druid/broker/v1/readiness", get(status::health))
        .route("/druid/historical/v1/loadstatus", get(status::historical_load))
        .route("/druid/historical/v1/readiness", get(status::health))
        .route("/druid/coordinator/v1/leader", get(status::leader))
        .route("/druid/coordinator/v1/isLeader", get(status::is_leader))
        .route("/druid/indexer/v1/leader", get(status::leader))
        .route("/druid/indexer/v1/isLeader", get(status::is_leader))
        .route("/metrics", get(status::metrics));
    let management = manage::router().layer(DefaultBodyLimit::max(app.config.ingest_body_max_bytes));
    let mut router = Router::new()
        .merge(queries)
        .merge(status)
        .merge(management)
        .fallback(unknown)
        .layer(tower_http::compression::CompressionLayer::new())
        .merge(jdbc)
        .with_state(app.clone())
        .route_service(flight::PATH, flight::service(app.clone()))
        .layer(middleware::from_fn_with_state(app.audit.clone(), audit::announce));
    if let Some(rates) = guard::Rates::new(app.config.requests_per_second) {
        router = router.layer(middleware::from_fn_with_state(rates, guard::limit));
    }
    router = router
        .layer(middleware::from_fn_with_state(app.audit.clone(), audit::record))
        .layer(middleware::from_fn(guard::headers));
    match app.config.cors_origins.as_slice() {
        [] => router,
        origins => router.layer(guard::cors(origins)),
    }
}

/// A node that has not loaded what was published would give answers that lack rows.
async fn refuse_until_ready(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.ready.load(Ordering::Acquire) {
        return next.run(request).await;
    }
    let error = query::Error::Unavailable("the server is starting and has not loaded every segment yet; retry".into());
    error::failed_query(&error.failure(), &app.address)
}

async fn unknown(method: Method, uri: Uri) -> impl IntoResponse {
    let message = format!("there is no {method} {}", uri.path());
    (StatusCode::NOT_FOUND, axum::Json(json!({"error": message})))
}

impl App {
    /// `{"dimensions": […], "metrics": […]}` of what this process serves of a datasource.
    pub fn columns_by_role(&self, datasource: &str) -> Value {
        let view = self.inventory.view(datasource, &[segment::Interval::ETERNITY]);
        let (mut dimensions, mut metrics) = (Vec::<String>::new(), Vec::<String>::new());
        let segments = view.iter().flat_map(|v| &v.slices).flat_map(|slice| slice.item.open());
        for segment in segments {
            for (names, found) in [(segment.dimensions(), &mut dimensions), (segment.metrics(), &mut metrics)] {
                found.extend(names.iter().filter(|n| !found.contains(n)).cloned().collect::<Vec<_>>());
            }
        }
        json!({"dimensions": dimensions, "metrics": metrics})
    }

    /// Brings the gauges of `/metrics` up to date.
    pub fn measure(&self) {
        let published = self.inventory.published();
        metrics::gauge!("henge_server_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        metrics::gauge!("henge_server_resident_bytes").set(status::resident_bytes() as f64);
        metrics::gauge!("henge_segment_published_count").set(published.len() as f64);
        metrics::gauge!("henge_segment_published_rows").set(published.iter().map(|s| s.rows() as f64).sum::<f64>());
        let realtime: usize = self.inventory.realtime().iter().map(|(_, index)| index.rows()).sum();
        metrics::gauge!("henge_segment_realtime_rows").set(realtime as f64);
        manage::tasks::measure(self);
    }
}
