//! The connection to the metadata store. The only file that names a database.
//!
//! One connection writes, a few read. SQLite keeps a write-ahead log and syncs on every commit: what a caller was told
//! is committed survives the loss of power.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::str::FromStr;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor, SqlSafeStr, Transaction};

use crate::error::{Error, Result};

/// Readers serve status pages and listings; they are short.
const READERS_MAX: u32 = 4;

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "catalog", include_str!("../../migrations/0001_catalog.sql")),
    (2, "documents", include_str!("../../migrations/0002_documents.sql")),
];

pub(crate) struct Database {
    writer: AnyPool,
    reader: AnyPool,
}

impl Database {
    /// Opens the SQLite file, created if missing, and brings its tables up to date.
    pub async fn open(file: &Path) -> Result<Database> {
        sqlx::any::install_default_drivers();
        let url = sqlite_url(file)?;
        let options = AnyConnectOptions::from_str(&url).map_err(failed("open"))?;
        let pool = |connections: u32| {
            AnyPoolOptions::new().max_connections(connections).after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000")
                        .await?;
                    Ok(())
                })
            })
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed("open"))?;
        migrator()
            .run(&writer)
            .await
            .map_err(|source| Error::Store { what: "bring the tables up to date", source: Box::new(source) })?;
        let reader = pool(READERS_MAX).connect_with(options).await.map_err(failed("open"))?;
        Ok(Database { writer, reader })
    }

    /// Begins the one write transaction there can be at a time; dropped without commit, it leaves nothing.
    pub async fn begin(&self) -> Result<Writing> {
        self.writer.begin().await.map(Writing).map_err(failed("begin"))
    }

    /// A connection for reading what is committed.
    pub async fn read(&self) -> Result<PoolConnection<Any>> {
        self.reader.acquire().await.map_err(failed("connect"))
    }

    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// A write transaction.
pub(crate) struct Writing(Transaction<'static, Any>);

impl Writing {
    pub async fn commit(self) -> Result<()> {
        self.0.commit().await.map_err(failed("commit"))
    }
}

impl Deref for Writing {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.0
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.0
    }
}

/// Makes the crate's error of the store's.
pub(crate) fn failed(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Store { what, source: Box::new(source) }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Paths are written into the URL with every unusual byte encoded, so that no name can be taken for an option.
fn sqlite_url(file: &Path) -> Result<String> {
    let text = file
        .to_str()
        .ok_or_else(|| Error::Invalid(format!("the path of the metadata store {} is not UTF-8", file.display())))?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => url.push(byte as char),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}
