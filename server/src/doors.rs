//! Where requests come in, and how long they are served.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::serve::{Listener, ListenerExt, TapIo};
use axum::{Extension, Router};
use futures::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::http::guard::Encrypted;
use crate::tls::{self, Certificates, TlsListener};

/// Where requests come in: without TLS, with it, or both.
pub struct Doors {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, Arc<Certificates>)>,
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
        Ok(Doors { plain, tls })
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
        let plain = self.plain.map(|listener| {
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
            });
            serve(listener, service.clone(), stopping.clone())
        });
        let tls = self.tls.map(|(listener, certificates)| {
            tokio::spawn(tls::keep_renewed(Arc::downgrade(&certificates)));
            // Whoever connects is told by what it came, and addresses are read as those of the other door are.
            let listener = TlsListener::new(listener, certificates).tap_io(|_| ());
            serve(listener, service.layer(Extension(Encrypted)), stopping)
        });
        futures::future::join(OptionFuture::from(plain), OptionFuture::from(tls)).await;
    }
}

async fn serve<L, F>(listener: TapIo<L, F>, service: Router, mut stopping: watch::Receiver<bool>)
where
    L: Listener<Addr = SocketAddr>,
    F: FnMut(&mut L::Io) + Send + 'static,
{
    let until = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
        tracing::error!(%error, "the listener ended");
    }
}
