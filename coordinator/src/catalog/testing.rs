//! Stores for tests: a fresh one on each database, and what all of its tables hold. Compiled into tests alone: those of
//! this crate, and those beside it, which take the file in by its path.
//!
//! PostgreSQL is had where `HENGE_TEST_POSTGRES` has the URL of a database in which others may be created.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Executor, Row};
use tempfile::TempDir;

const TABLES: &[&str] = &[
    "segments",
    "pending",
    "renames",
    "positions",
    "supervisors",
    "supervisor_history",
    "tasks",
    "documents",
    "document_history",
    "deleted_documents",
    "members",
    "alert_states",
    "alert_history",
    "alert_notices",
];

/// An empty store, gone with this.
pub enum Fresh {
    Sqlite(TempDir),
    Postgres { server: String, name: String },
}

impl Fresh {
    pub fn sqlite() -> Fresh {
        Fresh::Sqlite(tempfile::tempdir().unwrap())
    }

    /// `None`, said loudly, where no PostgreSQL is given.
    pub async fn postgres() -> Option<Fresh> {
        static SAID: Once = Once::new();
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("HENGE_TEST_POSTGRES") else {
            SAID.call_once(|| eprintln!("===== NOT RUN: tests on PostgreSQL (HENGE_TEST_POSTGRES is not set)"));
            return None;
        };
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("henge_test_{}_{number}", std::process::id());
        // In the order of a language where the server knows one: it must not be seen.
        let mut connection = connect(&server).await;
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        let ordered = format!("{create} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'");
        if connection.execute(AssertSqlSafe(ordered)).await.is_err() {
            connection.execute(AssertSqlSafe(create)).await.unwrap();
        }
        Some(Fresh::Postgres { server, name })
    }

    /// Another of the same kind.
    pub async fn another(&self) -> Fresh {
        match self {
            Fresh::Sqlite(_) => Fresh::sqlite(),
            Fresh::Postgres { .. } => Fresh::postgres().await.unwrap(),
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Fresh::Postgres { .. })
    }

    /// Where it is, as a person would write it.
    pub fn address(&self) -> String {
        match self {
            Fresh::Sqlite(folder) => folder.path().join("a catalog?.db").display().to_string(),
            Fresh::Postgres { server, name } => in_database(server, name),
        }
    }

    /// Runs a statement beside the program.
    pub async fn execute(&self, statement: &str) {
        self.connect().await.execute(AssertSqlSafe(statement.to_string())).await.unwrap();
    }

    /// What a question asked beside the program has for `text`.
    pub async fn text(&self, question: &str) -> String {
        let row = self.connect().await.fetch_one(AssertSqlSafe(question.to_string())).await.unwrap();
        row.try_get("text").unwrap()
    }

    /// Every row of every table but that of leases.
    pub async fn dump(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut connection = self.connect().await;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let rows = connection.fetch_all(AssertSqlSafe(format!("SELECT * FROM {table}"))).await.unwrap();
            let mut rows: Vec<String> = rows.iter().map(row_text).collect();
            rows.sort();
            tables.insert(*table, rows);
        }
        tables
    }

    /// The tables there are, by name.
    pub async fn tables(&self) -> Vec<String> {
        let list = match self {
            Fresh::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            Fresh::Postgres { .. } => {
                "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            }
        };
        let rows = self.connect().await.fetch_all(list).await.unwrap();
        rows.iter().map(|row| row.try_get("name").unwrap()).collect()
    }

    async fn connect(&self) -> AnyConnection {
        match self {
            Fresh::Sqlite(folder) => {
                let file = folder.path().join("a%20catalog%3f.db");
                connect(&format!("sqlite://{}", file.display())).await
            }
            Fresh::Postgres { .. } => connect(&self.address()).await,
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Fresh::Postgres { server, name } = self else { return };
        let (server, drop) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // A test's runtime may be one that must not be blocked.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { connect(&server).await.execute(AssertSqlSafe(drop)).await.unwrap() });
        });
        dropping.join().ok();
    }
}

/// A row as text: of its columns, each is a text, a number or nothing.
fn row_text(row: &sqlx::any::AnyRow) -> String {
    let column = |at: usize| match row.try_get::<Option<String>, _>(at) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("{:?}", row.try_get::<Option<i64>, _>(at).unwrap()),
    };
    (0..row.len()).map(column).collect::<Vec<_>>().join(" | ")
}

/// The URL of another database of the same server.
fn in_database(server: &str, name: &str) -> String {
    let mut url = AnyConnectOptions::from_str(server).unwrap().database_url;
    url.set_path(name);
    url.to_string()
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnectOptions::from_str(url).unwrap().connect().await.unwrap()
}
