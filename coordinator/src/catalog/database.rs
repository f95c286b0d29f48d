//! The connections to the metadata store: one writes, a few read, one keeps leases, which must not wait for either.
//!
//! A write transaction begins with the question whether its coordinator still leads, and keeps the answer true until it
//! ends ([`Database::begin`]). So a leader that stood still while another took its place can change nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Connection, Executor, Row};
use tokio::time::timeout;

use crate::catalog::leases;
use crate::catalog::session::{Session, Writing, failed, in_time};
use crate::catalog::store::{Dialect, MetadataStore};
use crate::error::{Error, Result};

/// Readers serve status pages and listings; they are short.
const READERS_MAX: u32 = 4;

/// Until a connection is there: made, or given back by another.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A lease is renewed several times before it expires; a late renewal is no better than none.
const LEASE_CONNECT_MAX: Duration = Duration::from_secs(3);

/// A connection given back answers within this, or is closed.
const GIVE_BACK_MAX: Duration = Duration::from_secs(3);

/// Tables only gain what who does not know of it can do without: processes of the version before go on, and are started again,
/// when another has brought the tables up to date. One for which that is not so has a name that begins with [`BREAKING`].
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "catalog", include_str!("../../migrations/0001_catalog.sql")),
    (2, "documents", include_str!("../../migrations/0002_documents.sql")),
    (3, "leases", include_str!("../../migrations/0003_leases.sql")),
    (4, "members", include_str!("../../migrations/0004_members.sql")),
    (5, "scaling", include_str!("../../migrations/0005_scaling.sql")),
    (6, "renames", include_str!("../../migrations/0006_renames.sql")),
    (7, "ended tasks", include_str!("../../migrations/0007_ended_tasks.sql")),
    (8, "alerts", include_str!("../../migrations/0008_alerts.sql")),
];

/// How a change of the tables is marked that earlier versions must not work on.
const BREAKING: &str = "breaking";

pub(crate) struct Database {
    pub(super) dialect: Dialect,
    writer: AnyPool,
    reader: AnyPool,
    leases: AnyPool,
}

/// What a write transaction stands on: a lease, in the epoch in which it was taken.
pub(crate) struct Fence {
    pub lease: &'static str,
    pub epoch: i64,
    /// Whether it must not have expired. One that does not expire holds until another takes the lease.
    pub expires: bool,
    /// Whether the outcome of a commit is not known.
    pub doubt: Arc<AtomicBool>,
}

impl Database {
    /// Brings the tables up to date.
    pub async fn open(store: &MetadataStore) -> Result<Database> {
        sqlx::any::install_default_drivers();
        let (dialect, options) = store.options()?;
        let pool = |connections, connect_max| pool(dialect, &options, connections, connect_max);
        let leases = pool(1, LEASE_CONNECT_MAX);
        let database =
            Database { dialect, writer: pool(1, CONNECT_MAX), reader: pool(READERS_MAX, CONNECT_MAX), leases };
        database.bring_up_to_date(&options).await?;
        Ok(database)
    }

    async fn bring_up_to_date(&self, options: &AnyConnectOptions) -> Result<()> {
        // A pool would only say that there was no connection in time, and not why.
        let connect = sqlx::AnyConnection::connect_with(options);
        let mut connection = match timeout(CONNECT_MAX, connect).await {
            Ok(connected) => connected.map_err(failed("connect"))?,
            Err(_) => return Err(failed("connect")(sqlx::Error::PoolTimedOut)),
        };
        if let Some(question) = self.dialect.check() {
            let row = in_time(connection.fetch_one(question)).await.map_err(failed("connect"))?;
            let encoding: String = row.try_get("encoding").map_err(failed("connect"))?;
            if encoding != "UTF8" {
                return Err(Error::Invalid(format!(
                    "the metadata store keeps texts as {encoding}; create a database with ENCODING 'UTF8'"
                )));
            }
        }
        in_time(connection.execute(self.dialect.session())).await.map_err(failed("connect"))?;
        in_time(connection.execute(self.dialect.long())).await.map_err(failed("connect"))?;
        let migrator = migrator(self.dialect);
        let migrated = match self.dialect.begin_migrations() {
            Some(begin) => {
                let mut transaction = connection.begin_with(begin).await.map_err(failed("connect"))?;
                let migrated = migrator.run(&mut *transaction).await;
                transaction.commit().await.map_err(failed("bring the tables up to date"))?;
                migrated
            }
            // The migrator takes a lock of its own.
            None => migrator.run(&mut connection).await,
        };
        migrated.map_err(|source| Error::Store { what: "bring the tables up to date", source: Box::new(source) })?;
        check_later(&mut connection).await?;
        in_time(connection.close()).await.map_err(failed("close"))
    }

    /// Begins the one write transaction there can be at a time, in all processes, if the fence still stands. It stands
    /// until the transaction ends: who wants to take the lease waits for that.
    pub async fn begin(&self, fence: &Fence) -> Result<Writing> {
        let mut writing = self.begin_on(&self.writer, Arc::clone(&fence.doubt)).await?;
        if let Some(lock) = self.dialect.writers_lock() {
            (&mut *writing).execute(lock).await.map_err(failed("begin"))?;
        }
        leases::check(self.dialect, &mut writing, fence).await?;
        Ok(writing)
    }

    /// A connection for reading what is committed.
    pub async fn read(&self) -> Result<Session> {
        self.reader.acquire().await.map(Session::reading).map_err(failed("connect"))
    }

    /// As [`Database::begin`], with statements that are known to be long.
    pub async fn begin_long(&self, fence: &Fence) -> Result<Writing> {
        let mut writing = self.begin(fence).await?;
        (&mut *writing).execute(self.dialect.long()).await.map_err(failed("begin"))?;
        Ok(writing)
    }

    /// A connection for leases, which are their own fences.
    pub(super) async fn lease(&self) -> Result<Session> {
        self.leases.acquire().await.map(Session::reading).map_err(failed("connect"))
    }

    /// A write transaction on leases.
    pub(super) async fn begin_lease(&self) -> Result<Writing> {
        self.begin_on(&self.leases, Arc::default()).await
    }

    async fn begin_on(&self, pool: &AnyPool, doubt: Arc<AtomicBool>) -> Result<Writing> {
        let transaction = in_time(pool.begin_with(self.dialect.begin())).await.map_err(failed("begin"))?;
        Ok(Writing::new(transaction, doubt))
    }

    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        self.leases.close().await;
    }
}

fn pool(dialect: Dialect, options: &AnyConnectOptions, connections: u32, connect_max: Duration) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(connect_max)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(dialect.session()).await?;
                Ok(())
            })
        })
        // An answer may still be under way, or none may come any more. A transaction that could neither be committed nor rolled
        // back, as one that a full disk ended, would be in the way of all that come after it.
        .after_release(|connection, _| {
            Box::pin(async move {
                match timeout(GIVE_BACK_MAX, connection.ping()).await {
                    Ok(answered) => answered.map(|()| !connection.is_in_transaction()),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .connect_lazy_with(options.clone())
}

/// Whether tables that a later version has changed can be worked on.
async fn check_later(connection: &mut sqlx::AnyConnection) -> Result<()> {
    let known = MIGRATIONS.iter().map(|(version, _, _)| *version).max().unwrap_or(0);
    let question =
        sqlx::query("SELECT description FROM _sqlx_migrations WHERE version > $1 ORDER BY version").bind(known);
    let later = in_time(question.fetch_all(connection)).await.map_err(failed("look at the tables"))?;
    for row in later {
        let name: String = row.try_get("description").map_err(failed("look at the tables"))?;
        if name.starts_with(BREAKING) {
            return Err(Error::Invalid(format!(
                "a later version has changed the tables of the metadata store so that this one cannot work on them \
                 ({name}); start that version"
            )));
        }
    }
    Ok(())
}

fn migrator(dialect: Dialect) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, text)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, dialect.tables(text), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Those of later versions, see `check_later`.
    migrator.set_ignore_missing(true);
    migrator
}
