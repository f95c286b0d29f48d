//! TLS at the door: certificates that are read again when their files change, and handshakes.
//!
//! 1. [`Certificates`] reads the files and makes the configuration of the next handshake; a look each second sees when a
//!    file has changed. What is connected stays connected; files that cannot be used change nothing but the log.
//! 2. [`Handshakes`] are made beside accepting, so that a client that is slow at it delays nobody: so many at once, so many
//!    of one address, each within a time.
//!
//! TLS 1.3, and 1.2 with its forward-secret ciphers; nothing older is spoken. HTTP/2 and HTTP/1.1 are offered by ALPN.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::auth::throttle::network;
use crate::doors::closed;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A handshake that takes longer ends.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Handshakes at once; past it connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 256;

/// Of these, those of one address.
const HANDSHAKES_OF_ONE_MAX: usize = HANDSHAKES_MAX / 4;

#[derive(Debug, Clone)]
pub struct Settings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients show a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
    pub port: u16,
    /// No other listener is opened.
    pub only: bool,
}

/// The certificate of the next handshake.
pub struct Certificates {
    settings: Settings,
    config: ArcSwap<ServerConfig>,
    stamps: Mutex<Vec<Stamp>>,
}

/// What tells that a file has changed.
type Stamp = Option<(SystemTime, u64)>;

impl Certificates {
    pub fn load(settings: Settings) -> anyhow::Result<Arc<Certificates>> {
        let stamps = stamps(&settings);
        let config = ArcSwap::from_pointee(read(&settings)?);
        Ok(Arc::new(Certificates { settings, config, stamps: Mutex::new(stamps) }))
    }

    /// Reads the files again if they have changed. Whether it did.
    fn renew(&self) -> anyhow::Result<bool> {
        let seen = stamps(&self.settings);
        if *self.stamps.lock() == seen {
            return Ok(false);
        }
        // What cannot be read now is tried again when it has changed again: a key may follow its certificate later.
        self.stamps.lock().clone_from(&seen);
        self.config.store(Arc::new(read(&self.settings)?));
        Ok(true)
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

/// Looks at the files for as long as somebody uses them.
pub async fn keep_renewed(certificates: Weak<Certificates>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(certificates) = certificates.upgrade() else { return };
        match tokio::task::spawn_blocking(move || certificates.renew()).await {
            Ok(Ok(true)) => tracing::info!("new certificate in force"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), "the new certificate cannot be used; the old one stays");
            }
            Err(error) => tracing::error!(%error, "looking at the certificate"),
        }
    }
}

fn stamps(settings: &Settings) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    [Some(&settings.certificate), Some(&settings.key), settings.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| stamp(path))
        .collect()
}

fn read(settings: &Settings) -> anyhow::Result<ServerConfig> {
    let chain = certificates(&settings.certificate).context("tls.certificate")?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .with_context(|| format!("tls.key: reading a private key from {}", settings.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path).context("tls.client_ca")? {
                roots.add(certificate).context("tls.client_ca")?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.context("tls.client_ca")?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).context("tls.certificate and tls.key")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// How another node is spoken to: it has a certificate of one of the authorities, and is shown this one.
pub fn client(authorities: &Path, certificate: &Path, key: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities).context("cluster.ca")? {
        roots.add(certificate).context("cluster.ca")?;
    }
    let chain = certificates(certificate).context("tls.certificate")?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("tls.key: reading a private key from {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let found = read.with_context(|| format!("reading certificates from {}", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{} holds no certificate (PEM)", path.display());
    Ok(found)
}

/// Handshakes that are being made.
pub struct Handshakes {
    certificates: Arc<Certificates>,
    room: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, VecDeque<Arc<Notify>>>>,
}

/// Room for one handshake.
pub struct Room(#[allow(dead_code)] OwnedSemaphorePermit);

/// A handshake among those of its address.
struct Shaking<'a> {
    handshakes: &'a Handshakes,
    network: IpAddr,
    /// Told when it has to make room for a newer one.
    over: Arc<Notify>,
}

impl Handshakes {
    pub fn new(certificates: Arc<Certificates>) -> Arc<Handshakes> {
        let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        Arc::new(Handshakes { certificates, room, by_address: Mutex::default() })
    }

    /// Waits until there is room for one more.
    pub async fn room(&self) -> Room {
        Room(self.room.clone().acquire_owned().await.expect("it is never closed"))
    }

    /// The connection once its handshake is done; `None` if it fails, takes too long, or makes room for a newer one.
    pub async fn shake(&self, stream: TcpStream, from: SocketAddr, _room: Room) -> Option<TlsStream<TcpStream>> {
        let shaking = self.begin(from.ip());
        let shaken = tokio::time::timeout(HANDSHAKE_MAX, self.certificates.acceptor().accept(stream));
        tokio::select! {
            biased;
            shaken = shaken => match shaken {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => tracing::debug!(%from, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%from, "a handshake took too long"),
            },
            () = shaking.over.notified() => closed("handshakes"),
        }
        None
    }

    /// Puts a handshake among those of its address. Of too many, the oldest is over: who means it is done sooner than others
    /// can begin as many.
    fn begin(&self, address: IpAddr) -> Shaking<'_> {
        let (network, over) = (network(address), Arc::new(Notify::new()));
        let mut by_address = self.by_address.lock();
        let own = by_address.entry(network).or_default();
        if own.len() >= HANDSHAKES_OF_ONE_MAX
            && let Some(oldest) = own.pop_front()
        {
            oldest.notify_one();
        }
        own.push_back(over.clone());
        Shaking { handshakes: self, network, over }
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        let mut by_address = self.handshakes.by_address.lock();
        if let Entry::Occupied(mut own) = by_address.entry(self.network) {
            own.get_mut().retain(|other| !Arc::ptr_eq(other, &self.over));
            if own.get().is_empty() {
                own.remove();
            }
        }
    }
}
