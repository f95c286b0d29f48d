//! Connections, their statements, and the results that are being fetched. Everything is bounded: connections in all,
//! statements of a connection, rows of a frame; what nobody asks for is closed after a while, which ends its query.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use query::Terms;
use query_sql::SqlAnswer;
use query_sql::rows::{Cell, Rows};
use segment::time::Zone;
use serde_json::{Map, Value};

use super::message::{Frame, MISSING_CONNECTION, Props, Refused};
use crate::config::JdbcLimits;

/// Rows of a frame, whatever the client asks for.
const FRAME_ROWS: std::ops::RangeInclusive<i64> = 100..=5000;

/// How long a fetch waits for rows before it answers without: the client then asks again.
const FETCH_WAIT: Duration = Duration::from_secs(5);

pub struct Connections {
    limits: JdbcLimits,
    /// By owner and id: what others have open is not there.
    open: Mutex<HashMap<(Option<String>, String), Arc<Connection>>>,
}

/// Which connections a request can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of a user, who is known from the request itself.
    Of(String),
    /// Those that were opened by a name and a password, the password having had this version: they are known by their ids.
    Opened { password_version: i64 },
}

impl Scope {
    fn key(&self, id: &str) -> (Option<String>, String) {
        let owner = match self {
            Scope::Of(name) => Some(name.clone()),
            Scope::Opened { .. } => None,
        };
        (owner, id.to_string())
    }
}

pub struct Connection {
    owner: String,
    scope: Scope,
    pub context: Map<String, Value>,
    props: Mutex<Props>,
    statements: Mutex<HashMap<u32, Arc<Statement>>>,
    next: AtomicU32,
    used: Mutex<Instant>,
}

/// A statement: its text once it is prepared, its rows while it runs.
#[derive(Default)]
pub struct Statement {
    pub prepared: Mutex<Option<Prepared>>,
    results: tokio::sync::Mutex<Option<Results>>,
}

#[derive(Clone)]
pub struct Prepared {
    pub sql: String,
    pub parameters: Vec<String>,
    pub rows_max: Option<u64>,
}

/// Rows under way.
pub struct Results {
    /// `None` once the last row was handed out.
    rows: Option<Rows>,
    /// By which rules they are made.
    terms: Terms,
    served: u64,
    rows_max: u64,
}

impl Connections {
    pub fn new(limits: JdbcLimits) -> Connections {
        Connections { limits, open: Mutex::default() }
    }

    pub fn open(&self, scope: &Scope, owner: &str, id: &str, context: Map<String, Value>) -> Result<(), Refused> {
        let mut open = self.open.lock();
        if id.is_empty() {
            return Err(Refused::new("connectionId: is missing; it is a UUID of the client's choice"));
        }
        if open.contains_key(&scope.key(id)) {
            return Err(match scope {
                Scope::Of(_) => Refused::new(format!("Connection [{id}] already open.")),
                // It may be somebody else's, and whoever knows its id acts as them.
                Scope::Opened { .. } => {
                    Refused::new("connectionId: a connection cannot be opened by it; give a new UUID")
                }
            });
        }
        let most = self.limits.connections_max;
        let own = open.values().filter(|connection| connection.owner == owner).count();
        if own >= most - most / 4 {
            return Err(Refused::new(format!(
                "Too many connections of yours: {own} of {most} (setting sql.jdbc_connections_max); close one"
            )));
        }
        if open.len() >= most {
            return Err(Refused::new(format!(
                "Too many connections: {most} are open (setting sql.jdbc_connections_max); close one"
            )));
        }
        let connection = Connection {
            owner: owner.to_string(),
            scope: scope.clone(),
            context,
            props: Mutex::default(),
            statements: Mutex::default(),
            next: AtomicU32::new(1),
            used: Mutex::new(Instant::now()),
        };
        open.insert(scope.key(id), Arc::new(connection));
        Ok(())
    }

    /// The connection, whose time starts anew.
    pub fn get(&self, scope: &Scope, id: &str) -> Result<Arc<Connection>, Refused> {
        let connection = self.open.lock().get(&scope.key(id)).cloned().ok_or_else(|| Refused {
            message: format!("Connection not found: invalid id, closed, or expired: {id}"),
            code: MISSING_CONNECTION,
        })?;
        *connection.used.lock() = Instant::now();
        Ok(connection)
    }

    /// Who opened a connection by a name and a password, and the password's version then.
    pub fn opened_by(&self, id: &str) -> Option<(String, i64)> {
        let open = self.open.lock();
        let connection = open.get(&(None, id.to_string()))?;
        match connection.scope {
            Scope::Opened { password_version } => Some((connection.owner.clone(), password_version)),
            Scope::Of(_) => None,
        }
    }

    pub fn close(&self, scope: &Scope, id: &str) {
        self.open.lock().remove(&scope.key(id));
    }

    /// Whether a statement has rows that were not handed out yet, or is being asked for some.
    pub fn is_fetched_from(&self) -> bool {
        let has_rows = |statement: &Arc<Statement>| match statement.results.try_lock() {
            Ok(results) => results.as_ref().is_some_and(|results| results.rows.is_some()),
            Err(_) => true,
        };
        self.open.lock().values().any(|connection| connection.statements.lock().values().any(has_rows))
    }

    /// Closes what nobody used for a while.
    pub fn close_idle(&self) {
        let idle = self.limits.idle;
        // A connection that answers a request at this moment is held by it as well.
        let used =
            |connection: &Arc<Connection>| Arc::strong_count(connection) > 1 || connection.used.lock().elapsed() < idle;
        self.open.lock().retain(|_, connection| used(connection));
    }

    pub fn statement(&self, connection: &Connection) -> Result<(u32, Arc<Statement>), Refused> {
        let mut statements = connection.statements.lock();
        if statements.len() >= self.limits.statements_max {
            let most = self.limits.statements_max;
            return Err(Refused::new(format!(
                "Too many open statements, limit is {most} (setting sql.jdbc_statements_max); close one"
            )));
        }
        let id = connection.number();
        let statement = Arc::new(Statement::default());
        statements.insert(id, statement.clone());
        Ok((id, statement))
    }
}

impl Connection {
    /// A number that no statement of the connection has: drivers tell result sets apart by it.
    pub fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn statement(&self, id: u32) -> Option<Arc<Statement>> {
        self.statements.lock().get(&id).cloned()
    }

    pub fn close_statement(&self, id: u32) {
        self.statements.lock().remove(&id);
    }

    /// Takes what the client says over, and tells all: a connection commits by itself and only reads.
    pub fn sync(&self, said: Props) -> Props {
        let mut props = self.props.lock();
        props.catalog = said.catalog.or(props.catalog.take());
        props.schema = said.schema.or(props.schema.take());
        props.auto_commit = Some(true);
        props.read_only = Some(true);
        props.transaction_isolation = Some(0);
        props.clone()
    }
}

impl Statement {
    /// Keeps the rows that were not handed out yet, in place of those of an earlier run.
    pub async fn keep(&self, results: Results) {
        *self.results.lock().await = Some(results);
    }

    pub async fn end(&self) {
        *self.results.lock().await = None;
    }

    /// The next frame; `None` if the statement was never run. `sees` refuses rows that were made by other rules than the
    /// caller's: who asks now may act by fewer roles than who ran it, and rules change.
    pub async fn fetch(
        &self,
        offset: u64,
        frame: i64,
        sees: impl FnOnce(&Terms) -> query::Result<()>,
    ) -> Result<Option<Frame>, Refused> {
        let mut held = self.results.lock().await;
        let Some(results) = &mut *held else { return Ok(None) };
        sees(&results.terms).map_err(query_sql::Error::from)?;
        if offset != results.served {
            return Err(Refused::new(format!(
                "offset: rows are fetched in their order; {} were handed out, {offset} is asked for",
                results.served
            )));
        }
        let frame = results.frame(frame, Some(FETCH_WAIT)).await;
        if frame.is_err() {
            *held = None;
        }
        frame.map(Some).map_err(Refused::from)
    }
}

impl Results {
    pub fn new(answer: SqlAnswer, rows_max: Option<u64>) -> Results {
        let terms = answer.terms.clone();
        Results { rows: Some(answer.rows()), terms, served: 0, rows_max: rows_max.unwrap_or(u64::MAX) }
    }

    /// The next rows. Waits for the first of them without end unless told how long; the query has its own deadline.
    pub async fn frame(&mut self, asked: i64, wait: Option<Duration>) -> query_sql::Result<Frame> {
        let asked = if asked < 0 { *FRAME_ROWS.end() } else { asked.clamp(*FRAME_ROWS.start(), *FRAME_ROWS.end()) };
        let left = self.rows_max - self.served;
        let most = usize::try_from(left.min(asked as u64)).unwrap_or(usize::MAX);
        let offset = self.served;
        let Some(rows) = &mut self.rows else { return Ok(Frame { offset, done: true, rows: Vec::new() }) };
        let zone = rows.zone.clone();
        let mut read = match wait {
            _ if most == 0 => Vec::new(),
            None => rows.next(most).await?,
            Some(wait) => match tokio::time::timeout(wait, rows.next(most)).await {
                Ok(read) => read?,
                Err(_) => rows.at_hand(),
            },
        };
        self.served += read.len() as u64;
        let done = rows.is_done() || self.served == self.rows_max;
        if done {
            self.rows = None;
        }
        read.iter_mut().flatten().for_each(|cell| localize(cell, &zone));
        Ok(Frame { offset, done, rows: read })
    }
}

/// Instants become those of a clock in the zone, also within arrays.
fn localize(cell: &mut Cell, zone: &Zone) {
    match cell {
        Cell::Time(t) => *t = zone.to_local(*t),
        Cell::List(items) => items.iter_mut().for_each(|item| localize(item, zone)),
        _ => {}
    }
}
