//! Where the metadata store is, and all in which the databases that can be one differ: how they are reached, how a
//! session is set up, what time it is there and how a row is locked. The only file that names a database.
//!
//! Statements are written once. Where they cannot be, they have `{now}`, `{shared}` and `{exclusive}` in them, which
//! [`Dialect::sql`] fills in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::error::{Error, Result};

/// Which database holds the catalog.
#[derive(Debug, Clone)]
pub enum MetadataStore {
    /// A file, created if missing, of processes on one machine.
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// Reaches a PostgreSQL, password included, which is why it is shown without.
///
/// What it does not say (port, user, password, TLS) is taken from libpq's variables and password file.
#[derive(Clone)]
pub struct PostgresUrl {
    options: AnyConnectOptions,
    shown: String,
}

/// What a URL may say behind its question mark: a parameter that nobody reads would be a setting that is not in force.
const PARAMETERS: &[&str] =
    &["application_name", "dbname", "host", "password", "port", "sslcert", "sslkey", "sslmode", "sslrootcert", "user"];

/// `postgres://…`, `sqlite:` and a path, or a path alone.
impl FromStr for MetadataStore {
    type Err = Error;

    fn from_str(text: &str) -> Result<MetadataStore> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(MetadataStore::Postgres(text.parse()?));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        // What follows a scheme may be secret.
        match path.split_once("://") {
            _ if path.is_empty() => Err(Error::Invalid("the metadata store is not given".to_string())),
            Some((scheme, _)) => Err(Error::Invalid(format!(
                "a metadata store cannot be at {scheme}://; give postgres://USER:PASSWORD@HOST/DATABASE or the path of a file"
            ))),
            None => Ok(MetadataStore::Sqlite(path.into())),
        }
    }
}

impl FromStr for PostgresUrl {
    type Err = Error;

    /// Errors quote nothing of what may be a part of the password: one with unusual bytes that are not encoded ends up
    /// anywhere in the URL.
    fn from_str(text: &str) -> Result<PostgresUrl> {
        let invalid = |what: &str| {
            Error::Invalid(format!(
                "the metadata URL {what}; it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with unusual characters in the \
                 password written as %XX"
            ))
        };
        let options = AnyConnectOptions::from_str(text).map_err(|_| invalid("cannot be read"))?;
        let url = &options.database_url;
        if url.fragment().is_some() {
            return Err(invalid("has a '#' in it"));
        }
        if url.query_pairs().any(|(key, _)| !PARAMETERS.contains(&&*key)) {
            let parameters = PARAMETERS.join(", ");
            return Err(invalid(&format!("has a parameter that is none of {parameters}")));
        }
        let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.to_string());
        let database = url.path().trim_start_matches('/');
        if database.contains(['/', '@', ':']) {
            return Err(invalid("names a database that cannot be"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).map(str::to_string).or_else(|| parameter("host"));
        let host = host.ok_or_else(|| invalid("names no host"))?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let database = if database.is_empty() { parameter("dbname") } else { Some(database.to_string()) };
        let shown = format!("postgres://{host}{port}/{}", database.as_deref().unwrap_or_default());
        Ok(PostgresUrl { options, shown })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MetadataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataStore::Sqlite(file) => file.display().fmt(f),
            MetadataStore::Postgres(url) => url.fmt(f),
        }
    }
}

impl MetadataStore {
    pub(super) fn options(&self) -> Result<(Dialect, AnyConnectOptions)> {
        Ok(match self {
            MetadataStore::Sqlite(file) => {
                let url = sqlite_url(file)?;
                let unreadable = |_| Error::Invalid(format!("{} cannot be the metadata store", file.display()));
                (Dialect::Sqlite, AnyConnectOptions::from_str(&url).map_err(unreadable)?)
            }
            MetadataStore::Postgres(url) => (Dialect::Postgres, url.options.clone()),
        })
    }
}

/// The database's own way to say things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Held by the one write transaction there can be at a time, also after its client was cut off.
const WRITERS_LOCK: &str = "SELECT 1 FROM pg_advisory_xact_lock(4937028641)";

impl Dialect {
    /// What every connection is told first.
    ///
    /// SQLite keeps a write-ahead log and syncs on every commit: what a caller was told is committed survives the loss of
    /// power. PostgreSQL ends what takes too long: a statement, a wait for a lock, and the transaction of a process that
    /// stands still, whose locks would keep the next leader from its lease.
    pub fn session(self) -> &'static str {
        match self {
            Dialect::Sqlite => "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            Dialect::Postgres => {
                "SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '4s'"
            }
        }
    }

    /// Lets the statements of this transaction or session, which are known to be long, take their time.
    pub fn long(self) -> &'static str {
        match self {
            Dialect::Sqlite => "SELECT 1",
            Dialect::Postgres => "SET statement_timeout = '10min'",
        }
    }

    /// Whether this connection reaches a database that keeps every text, each exactly as it was given.
    pub fn check(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some("SELECT current_setting('server_encoding') AS encoding"),
        }
    }

    /// Begins a transaction around all migrations, where nothing else keeps two processes from making them at once.
    pub fn begin_migrations(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => Some("BEGIN IMMEDIATE"),
            Dialect::Postgres => None,
        }
    }

    /// Begins a transaction that sees, with each statement, what is committed by then.
    pub fn begin(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    /// Waits until no other write transaction is left, where beginning one does not do so.
    pub fn writers_lock(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(WRITERS_LOCK),
        }
    }

    /// Fills in `{now}`, milliseconds by the clock of the database; `{shared}` behind a SELECT, which keeps others from an
    /// `{exclusive}` one of the same row and not from an UPDATE, and `{exclusive}`, which keeps them from both.
    pub fn sql(self, text: &str) -> SqlStr {
        let (now, shared, exclusive) = match self {
            Dialect::Sqlite => ("CAST(unixepoch('subsec') * 1000 AS BIGINT)", "", ""),
            Dialect::Postgres => {
                ("CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)", "FOR KEY SHARE", "FOR UPDATE")
            }
        };
        let text = text.replace("{now}", now).replace("{shared}", shared).replace("{exclusive}", exclusive);
        AssertSqlSafe(text).into_sql_str()
    }

    /// Texts are compared byte by byte, as this program compares them: by the order of a language, the newest version of a
    /// segment would be another one.
    pub fn tables(self, text: &'static str) -> SqlStr {
        match self {
            Dialect::Sqlite => text.into_sql_str(),
            Dialect::Postgres => AssertSqlSafe(text.replace(" TEXT", " TEXT COLLATE \"C\"")).into_sql_str(),
        }
    }
}

/// The code by which a database says that it cannot keep a text that has U+0000 in it.
pub(super) const UNKEEPABLE_TEXT: &str = "22021";

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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<MetadataStore>() {
            Ok(store) => format!("{store} {store:?}"),
            Err(error) => format!("{error} {error:?}"),
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        let all = shown("postgres://ann:s3cret@db.example:5433/henge?sslmode=require");
        assert_eq!(all, "postgres://db.example:5433/henge Postgres(postgres://db.example:5433/henge)");
        assert!(shown("postgresql://localhost/x?host=/run/postgresql&password=s3cret").starts_with("postgres://"));
        for text in [
            "postgres://ann:s3cret@db/henge?pasword=s3cret",
            "postgres://ann:12#s3cret@db/henge",
            "postgres://ann:12/s3cret@db/henge",
            "postgres://ann:12?s3cret@db/henge",
            "postgres://ann:s3cret/x@db/henge",
            "postgres://ann:s3cret@:1/henge",
            "postgres:///henge?user=ann&password=s3cret",
            "mysql://ann:s3cret@db/henge",
        ] {
            let shown = shown(text);
            assert!(shown.contains("Invalid") && !shown.contains("s3cret"), "{text}: {shown}");
        }
    }

    #[test]
    fn a_path_is_a_file() {
        for (text, file) in [("a/catalog.db", "a/catalog.db"), ("sqlite:///a b?.db", "/a b?.db"), ("sqlite:x", "x")] {
            assert!(matches!(text.parse(), Ok(MetadataStore::Sqlite(path)) if path == Path::new(file)), "{text}");
        }
        assert!("sqlite:".parse::<MetadataStore>().is_err());
    }
}
