//! The one table of routes: method, path, what it needs, handler. The router is built from it and from nothing else, so
//! that no route is without a gate.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use query::policy::{Action, Kind};

use super::auth::{CONFIG, Need, Of, STATE};
use super::{App, avatica, console, flight, manage, measure, native, queries, sql, statements, status};
use crate::rpc;

/// The path answers with a slash at its end too.
pub struct Route {
    pub method: Method,
    pub path: String,
    pub need: Need,
    pub handler: MethodRouter<Arc<App>>,
}

fn route<H, T>(method: Method, path: impl Into<String>, need: Need, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("one of the methods that the functions below give");
    Route { method, path: path.into(), need, handler: on(filter, handler) }
}

/// Answers HEAD too.
pub fn get<H: Handler<T, Arc<App>>, T: 'static>(path: impl Into<String>, need: Need, handler: H) -> Route {
    route(Method::GET, path, need, handler)
}

pub fn post<H: Handler<T, Arc<App>>, T: 'static>(path: impl Into<String>, need: Need, handler: H) -> Route {
    route(Method::POST, path, need, handler)
}

pub fn put<H: Handler<T, Arc<App>>, T: 'static>(path: impl Into<String>, need: Need, handler: H) -> Route {
    route(Method::PUT, path, need, handler)
}

pub fn delete<H: Handler<T, Arc<App>>, T: 'static>(path: impl Into<String>, need: Need, handler: H) -> Route {
    route(Method::DELETE, path, need, handler)
}

const READ_DATASOURCE: Need = Need::May(Kind::Datasource, Of::Path("name"), Action::Read);
const READ_STATE: Need = Need::May(Kind::State, STATE, Action::Read);

/// What answers queries: nothing of it before the node is ready.
pub fn queries() -> Vec<Route> {
    let mut routes = queries::routes();
    routes.extend([
        post("/druid/v2", Need::SignedIn, native::query),
        delete("/druid/v2/{id}", Need::SignedIn, native::cancel),
        get("/druid/v2/datasources", Need::SignedIn, native::datasources),
        get("/druid/v2/datasources/{name}", READ_DATASOURCE, native::datasource),
        get("/druid/v2/datasources/{name}/dimensions", READ_DATASOURCE, native::dimensions),
        get("/druid/v2/datasources/{name}/metrics", READ_DATASOURCE, native::metrics),
        post("/druid/v2/sql", Need::SignedIn, sql::query),
        delete("/druid/v2/sql/{id}", Need::SignedIn, sql::cancel),
        get("/druid/v2/sql/engines", Need::SignedIn, sql::engines),
        get("/druid/v2/sql/task/enabled", Need::SignedIn, sql::task_enabled),
        post("/druid/v2/sql/statements", Need::SignedIn, statements::post),
        get("/druid/v2/sql/statements/enabled", Need::SignedIn, statements::enabled),
        get("/druid/v2/sql/statements/{id}", Need::SignedIn, statements::status),
        delete("/druid/v2/sql/statements/{id}", Need::SignedIn, statements::cancel),
        get("/druid/v2/sql/statements/{id}/results", Need::SignedIn, statements::results),
    ]);
    routes
}

/// Its drivers cannot read compressed answers.
pub fn jdbc() -> Vec<Route> {
    let route =
        |path: &str, handler| Route { method: Method::POST, path: path.into(), need: Need::Connection, handler };
    vec![
        route("/druid/v2/sql/avatica", any(avatica::json)),
        route("/druid/v2/sql/avatica-protobuf", any(avatica::protobuf)),
    ]
}

pub fn status() -> Vec<Route> {
    vec![
        get("/status", Need::SignedIn, status::status),
        get("/status/health", Need::Open, status::health),
        get("/status/ready", Need::Open, status::health),
        get("/status/properties", Need::May(Kind::Config, CONFIG, Action::Read), status::properties),
        get("/status/selfDiscovered", Need::Open, status::self_discovered),
        get("/status/selfDiscovered/status", Need::Open, status::self_discovered),
        get("/proxy/enabled", Need::SignedIn, status::proxy_enabled),
        get("/proxy/coordinator/status", Need::SignedIn, status::status),
        get("/proxy/coordinator/status/properties", Need::May(Kind::Config, CONFIG, Action::Read), status::properties),
        get("/proxy/overlord/status", Need::SignedIn, status::status),
        get("/proxy/overlord/status/properties", Need::May(Kind::Config, CONFIG, Action::Read), status::properties),
        get("/druid/broker/v1/loadstatus", READ_STATE, status::broker_load),
        get("/druid/broker/v1/readiness", Need::Open, status::health),
        get("/druid/historical/v1/loadstatus", READ_STATE, status::historical_load),
        get("/druid/historical/v1/readiness", Need::Open, status::health),
        get("/druid/coordinator/v1/leader", READ_STATE, status::leader),
        get("/druid/coordinator/v1/isLeader", Need::Open, status::is_leader),
        get("/druid/indexer/v1/leader", READ_STATE, status::leader),
        get("/druid/indexer/v1/isLeader", Need::Open, status::is_leader),
        get("/metrics", READ_STATE, measure::metrics),
    ]
}

/// Every route, with what it needs.
pub fn routes() -> Vec<(Method, String, Need)> {
    let all = [queries(), jdbc(), status(), console::routes(), manage::routes(), rpc::routes()].into_iter().flatten();
    let mut routes: Vec<_> = all.map(|route| (route.method, route.path, route.need)).collect();
    routes.push((Method::POST, flight::PATH.to_string(), flight::NEED));
    routes
}
