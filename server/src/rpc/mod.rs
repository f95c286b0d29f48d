//! How nodes of a cluster speak to each other. Both ends of a wire stand in one file; paths, headers and status codes of
//! what goes between nodes exist here and nowhere else.
//!
//! Every path below [`ROOT`] is for nodes: without the cluster's secret nothing of it answers.

pub mod control;
pub mod data;
pub mod forward;
pub mod peers;
pub mod statements;

use axum::http::Method;
use axum::routing::post;

use crate::http::Route;
use crate::http::auth::Need;

/// What is below it is for nodes of the cluster only.
pub const ROOT: &str = "/henge/internal/v1";

/// The most that a node sends another as one message.
pub const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// What nodes ask of each other, whatever their roles: those that cannot answer say so.
pub fn routes() -> Vec<Route> {
    let route = |path: &str, handler| Route { method: Method::POST, path: path.into(), need: Need::Node, handler };
    vec![
        route(data::QUERY, post(data::query)),
        route(control::HEARTBEAT, post(control::heartbeat)),
        route(control::LEAVE, post(control::leave)),
        route(control::VIEW, post(control::view)),
        route(control::FOLLOW, post(control::follow)),
        route(control::LEDGER, post(control::ledger)),
        route(control::SYSTEM, post(control::system)),
        route(statements::CANCEL, post(statements::cancel)),
    ]
}
