//! The roof: settings, HTTP, roles, telemetry. `Node::start` builds a node from checked settings; `run` is what the
//! binary does.

pub mod alerts;
pub mod audit;
pub mod auth;
pub mod config;
pub mod doors;
pub mod http;
pub mod journaled;
pub mod lead;
pub mod metrics;
pub mod node;
pub mod parts;
pub mod quickstart;
pub mod redis;
pub mod roles;
pub mod rpc;
pub mod samples;
pub mod telemetry;
pub mod tls;
pub mod traces;

use std::time::Duration;

use anyhow::Context;

use crate::config::Config;
use crate::node::Node;
use crate::quickstart::Demo;

/// What has not ended by itself when the node has stopped gets this long.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Serves until SIGINT or SIGTERM, with the demo if it is asked for.
pub fn run(config: Config, demo: Option<quickstart::Options>) -> anyhow::Result<()> {
    telemetry::start_logs(&config.log_level, config.log_json).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let ended = runtime.block_on(async {
        // It may stand by for long.
        let mut node = tokio::select! {
            started = Node::start(config) => started?,
            signal = stop_signal() => return signal,
        };
        let scheme = if node.config.tls.as_ref().is_some_and(|tls| tls.only) { "https" } else { "http" };
        let base = format!("{scheme}://{}", node.address);
        if let Some(password) = &node.first_password {
            println!("user admin was made, with the password {password} (told this once)");
        }
        println!("serving at {base}");
        let demo = match demo.zip(node.app.as_ref()) {
            None => None,
            Some((options, app)) => {
                let (demo, page) = Demo::start(base, app.identity.process_token().to_string(), options)
                    .await
                    .context("starting the demo")?;
                println!("{page}");
                Some(demo)
            }
        };
        let broken = tokio::select! {
            signal = stop_signal() => {
                signal?;
                None
            }
            error = node.broken() => Some(error),
        };
        if broken.is_none() {
            // Who asks a second time does not wait for others.
            tokio::select! {
                () = node.hand_over() => {}
                signal = stop_signal() => signal?,
                error = node.broken() => tracing::warn!(%error, "not all was handed over"),
            }
        }
        tracing::info!("stopping");
        // The demo stops by requests, which nobody takes of a broken node.
        if let (Some(demo), None) = (demo, &broken) {
            demo.stop().await?;
        }
        node.stop().await?;
        broken.map_or(Ok(()), Err)
    });
    // Everything that matters has ended in order; what still runs is nobody's any more.
    runtime.shutdown_timeout(LAST_MOMENT);
    ended
}

async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for SIGINT")?,
    }
    Ok(())
}
