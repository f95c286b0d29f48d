//! What is said over Avatica, whatever the encoding: requests, responses, and what they hold. The protocol is Apache
//! Calcite Avatica's; field names follow it.

use query_sql::rows::Cell;
use query_sql::{Parameter, SqlColumn};
use serde_json::{Map, Value};

/// A request. Every one but `Execute`, which names it in its handle, carries the connection's id outermost.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    OpenConnection {
        connection: String,
        info: Map<String, Value>,
    },
    CloseConnection {
        connection: String,
    },
    ConnectionSync {
        connection: String,
        props: Props,
    },
    DatabaseProperties {
        connection: String,
    },
    CreateStatement {
        connection: String,
    },
    CloseStatement {
        connection: String,
        statement: u32,
    },
    PrepareAndExecute {
        connection: String,
        statement: u32,
        sql: String,
        rows_max: Option<u64>,
        frame: i64,
    },
    Prepare {
        connection: String,
        sql: String,
        rows_max: Option<u64>,
    },
    Execute {
        connection: String,
        statement: u32,
        parameters: Vec<Parameter>,
        frame: i64,
    },
    Fetch {
        connection: String,
        statement: u32,
        offset: u64,
        frame: i64,
    },
    SyncResults {
        connection: String,
        statement: u32,
    },
    Commit {
        connection: String,
    },
    Rollback {
        connection: String,
    },
    Metadata {
        connection: String,
        what: Metadata,
    },
    /// A request of the protocol that Druid does not take either.
    Unsupported {
        name: String,
    },
}

impl Request {
    /// The connection it is about.
    pub fn connection(&self) -> Option<&str> {
        match self {
            Request::OpenConnection { connection, .. }
            | Request::CloseConnection { connection }
            | Request::ConnectionSync { connection, .. }
            | Request::CreateStatement { connection }
            | Request::CloseStatement { connection, .. }
            | Request::PrepareAndExecute { connection, .. }
            | Request::Prepare { connection, .. }
            | Request::Execute { connection, .. }
            | Request::Fetch { connection, .. }
            | Request::SyncResults { connection, .. }
            | Request::DatabaseProperties { connection }
            | Request::Commit { connection }
            | Request::Rollback { connection }
            | Request::Metadata { connection, .. } => Some(connection),
            Request::Unsupported { .. } => None,
        }
    }
}

/// What is asked of the catalog. Patterns are those of `LIKE`, with `\` as escape; `None` is everything.
#[derive(Debug, Clone, PartialEq)]
pub enum Metadata {
    Catalogs,
    Schemas { catalog: Option<String>, schema: Option<String> },
    Tables { catalog: Option<String>, schema: Option<String>, table: Option<String>, types: Option<Vec<String>> },
    Columns { catalog: Option<String>, schema: Option<String>, table: Option<String>, column: Option<String> },
    TableTypes,
    TypeInfo,
}

/// Properties of a connection. What a client does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Props {
    pub auto_commit: Option<bool>,
    pub read_only: Option<bool>,
    pub transaction_isolation: Option<u32>,
    pub catalog: Option<String>,
    pub schema: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    OpenConnection,
    CloseConnection,
    CloseStatement,
    ConnectionSync(Props),
    DatabaseProperties,
    CreateStatement {
        connection: String,
        statement: u32,
    },
    Prepare {
        connection: String,
        statement: u32,
        signature: Signature,
    },
    /// `None`: there is no such statement.
    Execute(Option<ResultSet>),
    Fetch(Fetched),
    ResultSet(ResultSet),
    SyncResults {
        missing_statement: bool,
    },
    Commit,
    Rollback,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fetched {
    Frame(Frame),
    MissingStatement,
    MissingResults,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ResultSet {
    pub connection: String,
    pub statement: u32,
    pub signature: Signature,
    pub first: Frame,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signature {
    pub columns: Vec<SqlColumn>,
    pub sql: String,
    /// SQL types of the `?`.
    pub parameters: Vec<String>,
}

/// Rows from `offset` on. Instants are milliseconds of the connection's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub offset: u64,
    pub done: bool,
    pub rows: Vec<Vec<Cell>>,
}

/// A refusal, in the terms of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub message: String,
    pub code: i32,
}

/// Drivers open a connection again when they meet this code.
pub const MISSING_CONNECTION: i32 = 1;

pub const UNKNOWN_ERROR: i32 = -1;

impl Refused {
    pub fn new(message: impl Into<String>) -> Refused {
        Refused { message: message.into(), code: UNKNOWN_ERROR }
    }
}

impl From<query_sql::Error> for Refused {
    fn from(error: query_sql::Error) -> Refused {
        Refused::new(error.to_string())
    }
}

/// Rows that a client wants at most. JDBC's 0 is every row, and so is Avatica's -1.
pub fn rows_max(said: i64) -> Option<u64> {
    u64::try_from(said).ok().filter(|rows| *rows > 0)
}

/// `java.sql.Types` of a SQL type.
pub fn jdbc_type(sql_type: &str) -> i32 {
    match sql_type {
        "VARCHAR" | "CHAR" => 12,
        "BIGINT" => -5,
        "INTEGER" => 4,
        "DOUBLE" => 8,
        "FLOAT" => 6,
        "BOOLEAN" => 16,
        "TIMESTAMP" => 93,
        "DATE" => 91,
        "ARRAY" => 2003,
        _ => 1111,
    }
}

/// How the values of a SQL type are represented: a name of Avatica's `Rep`.
pub fn rep(sql_type: &str) -> &'static str {
    match sql_type {
        "VARCHAR" | "CHAR" => "STRING",
        "BOOLEAN" => "BOOLEAN",
        "BIGINT" | "INTEGER" | "DOUBLE" | "FLOAT" | "TIMESTAMP" | "DATE" => "NUMBER",
        "ARRAY" => "ARRAY",
        _ => "OBJECT",
    }
}

/// The SQL type of an array's elements, by its native type.
pub fn element_type(native: &str) -> &'static str {
    match native.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
        Some("LONG") => "BIGINT",
        Some("DOUBLE") => "DOUBLE",
        Some("FLOAT") => "FLOAT",
        Some("STRING") => "VARCHAR",
        Some(inner) if inner.starts_with("ARRAY<") => "ARRAY",
        _ => "OTHER",
    }
}

/// Where a value came as one of Avatica's `Rep`, the SQL type it is a parameter of.
pub fn parameter_type(rep: &str) -> Option<&'static str> {
    Some(match rep {
        "STRING" | "CHARACTER" | "PRIMITIVE_CHAR" => "VARCHAR",
        "BYTE" | "SHORT" | "INTEGER" | "LONG" | "PRIMITIVE_BYTE" | "PRIMITIVE_SHORT" | "PRIMITIVE_INT"
        | "PRIMITIVE_LONG" | "BIG_INTEGER" => "BIGINT",
        "FLOAT" | "DOUBLE" | "PRIMITIVE_FLOAT" | "PRIMITIVE_DOUBLE" | "NUMBER" | "BIG_DECIMAL" => "DOUBLE",
        "BOOLEAN" | "PRIMITIVE_BOOLEAN" => "BOOLEAN",
        "JAVA_SQL_TIMESTAMP" | "JAVA_UTIL_DATE" | "JAVA_SQL_DATE" => "TIMESTAMP",
        "NULL" | "OBJECT" => "VARCHAR",
        _ => return None,
    })
}
