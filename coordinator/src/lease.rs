//! Leases: who holds a name, until when, by the clock of the metadata store. Clocks of nodes are not compared.
//!
//! A holder renews several times within its time to live. Whoever takes a lease gets an epoch that nobody had before, and
//! what is done in its name is checked against that epoch where it takes effect. The coordinators' leadership is the lease
//! [`LEADERSHIP`]; a node that is alive holds one of its own, in which it tells how it is reached.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::catalog::{Database, MetadataStore, leases};
use crate::error::{Error, Result};

/// The lease of the coordinator that leads.
pub const LEADERSHIP: &str = "coordinator";

/// The metadata store as a place for leases. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Leases {
    pub(crate) database: Arc<Database>,
}

/// A lease that was taken. It may be lost since: [`Leases::renew`] tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub name: String,
    pub holder: String,
    /// Greater than that of every taking of this lease before.
    pub epoch: i64,
    pub ttl: Duration,
}

/// A lease as it stands in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    pub epoch: i64,
    /// Until it expires; negative since it did.
    pub left_ms: i64,
    /// What the holder tells of itself.
    pub info: Value,
}

impl Lease {
    pub fn is_live(&self) -> bool {
        self.left_ms > 0
    }
}

impl Leases {
    /// Opens the metadata store, and brings its tables up to date.
    pub async fn open(store: &MetadataStore) -> Result<Leases> {
        Ok(Leases { database: Arc::new(Database::open(store).await?) })
    }

    /// Takes a lease that is free, has expired, or is held under the same holder's name: a process that was started again
    /// need not wait for itself. `None` while another holds it. After an error it may have been taken; take it again.
    pub async fn acquire(&self, name: &str, holder: &str, ttl: Duration, info: &Value) -> Result<Option<Held>> {
        if name.is_empty() || holder.is_empty() {
            return Err(Error::Invalid("a lease needs a name and a holder".to_string()));
        }
        let ttl_ms = ttl_ms(ttl)?;
        let epoch = leases::acquire(&self.database, (name, holder), ttl_ms, &info.to_string()).await?;
        Ok(epoch.map(|epoch| Held { name: name.to_string(), holder: holder.to_string(), epoch, ttl }))
    }

    /// Lets the lease last for its time to live from now; `false` if another took it. One that expired and that nobody
    /// took is held again. With `info`, tells this from now on.
    pub async fn renew(&self, held: &Held, info: Option<&Value>) -> Result<bool> {
        let info = info.map(Value::to_string);
        leases::renew(&self.database, (&held.name, held.epoch), ttl_ms(held.ttl)?, info.as_deref()).await
    }

    /// Gives the lease back, if it is still held, so that others need not wait until it expires.
    pub async fn release(&self, held: &Held) -> Result<()> {
        leases::release(&self.database, (&held.name, held.epoch)).await
    }

    /// Those whose names begin with `prefix`, by name, expired ones too.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Lease>> {
        leases::list(&self.database, prefix).await
    }

    /// Closes the connections, those of coordinators that lead by these leases too.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn ttl_ms(ttl: Duration) -> Result<i64> {
    match i64::try_from(ttl.as_millis()) {
        Ok(ms) if (1..=86_400_000).contains(&ms) => Ok(ms),
        _ => Err(Error::Invalid(format!("a lease lasts from a millisecond to a day, not {ttl:?}"))),
    }
}
