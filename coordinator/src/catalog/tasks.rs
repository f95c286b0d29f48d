//! Tasks as rows of the store.

use segment::Interval;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::session::{Session, failed};
use crate::command::{StopReason, TaskRecord, TaskState};
use crate::error::{Error, Result};
use crate::tasks::TaskFilter;

/// A task as it is on record.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub record: TaskRecord,
    pub state: TaskState,
    /// What it was told to stop for, if it was.
    pub stop: Option<StopReason>,
    /// Whether it published (what it has is on record, whatever becomes of it).
    pub published: bool,
    /// The node that it was given to last, and how often it was given to one.
    pub node: Option<String>,
    pub attempt: i64,
    pub error: Option<String>,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

impl TaskRow {
    pub fn new(record: TaskRecord, now: i64) -> TaskRow {
        TaskRow {
            record,
            state: TaskState::Pending,
            stop: None,
            published: false,
            node: None,
            attempt: 0,
            error: None,
            created_at: now,
            started_at: None,
            ended_at: None,
        }
    }
}

const PENDING: &str = "PENDING";
const RUNNING: &str = "RUNNING";
const SUCCESS: &str = "SUCCESS";
const FAILED: &str = "FAILED";

fn state_text(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => PENDING,
        TaskState::Running => RUNNING,
        TaskState::Success => SUCCESS,
        TaskState::Failed => FAILED,
    }
}

/// Tasks that have not ended.
pub(crate) async fn load_live(connection: &mut Session) -> Result<Vec<TaskRow>> {
    let rows = sqlx::query(
        "SELECT record, state, stop, published, node, attempt, error, created_ms, started_ms, ended_ms FROM tasks \
         WHERE state IN ('PENDING', 'RUNNING') ORDER BY created_ms, id",
    )
    .fetch_all(connection)
    .await
    .map_err(failed("read tasks"))?;
    rows.iter().map(task).collect()
}

/// The newest ended tasks of a supervisor, newest first.
pub(crate) async fn load_failures(connection: &mut Session, supervisor: &str, most: i64) -> Result<Vec<TaskRow>> {
    let rows = sqlx::query(
        "SELECT record, state, stop, published, node, attempt, error, created_ms, started_ms, ended_ms FROM tasks \
         WHERE supervisor = $1 AND state IN ('SUCCESS', 'FAILED') ORDER BY ended_ms DESC, id DESC LIMIT $2",
    )
    .bind(supervisor)
    .bind(most)
    .fetch_all(connection)
    .await
    .map_err(failed("read tasks"))?;
    rows.iter().map(task).collect()
}

pub(crate) async fn by_id(connection: &mut Session, id: &str) -> Result<Option<TaskRow>> {
    let row = sqlx::query(
        "SELECT record, state, stop, published, node, attempt, error, created_ms, started_ms, ended_ms FROM tasks WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(failed("read a task"))?;
    row.as_ref().map(task).transpose()
}

/// Newest first.
pub(crate) async fn find(connection: &mut Session, filter: &TaskFilter) -> Result<Vec<TaskRow>> {
    let states: String = filter.states.iter().map(|state| format!(",{},", state_text(*state))).collect();
    let created = filter.created.unwrap_or(Interval::ETERNITY);
    let rows = sqlx::query(
        "SELECT record, state, stop, published, node, attempt, error, created_ms, started_ms, ended_ms FROM tasks \
         WHERE ($1 = '' OR $1 LIKE '%,' || state || ',%') AND ($2 = '' OR datasource = $2) AND ($3 = '' OR kind = $3) \
         AND created_ms >= $4 AND created_ms < $5 ORDER BY created_ms DESC, id DESC LIMIT $6",
    )
    .bind(states)
    .bind(filter.datasource.as_deref().unwrap_or(""))
    .bind(filter.kind.as_deref().unwrap_or(""))
    .bind(created.start)
    .bind(created.end)
    .bind(filter.max.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .map_err(failed("read tasks"))?;
    rows.iter().map(task).collect()
}

pub(crate) async fn report(connection: &mut Session, id: &str) -> Result<Option<Value>> {
    let row: Option<(Option<String>,)> = sqlx::query_as("SELECT report FROM tasks WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(failed("read a task's report"))?;
    let Some(text) = row.and_then(|(text,)| text) else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Corrupt(format!("the report of task {id} is not readable: {error}")))
}

pub(crate) async fn insert(connection: &mut Session, row: &TaskRow) -> Result<()> {
    let record = serde_json::to_string(&row.record).expect("a record has no keys that are not text");
    sqlx::query(
        "INSERT INTO tasks (id, group_id, datasource, kind, supervisor, record, state, published, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)",
    )
    .bind(row.record.id.as_str())
    .bind(row.record.group_id.as_str())
    .bind(row.record.datasource.as_str())
    .bind(row.record.kind.as_str())
    .bind(row.record.supervisor.as_deref())
    .bind(record)
    .bind(state_text(row.state))
    .bind(row.created_at)
    .execute(connection)
    .await
    .map_err(failed("record a task"))?;
    Ok(())
}

pub(crate) async fn set_started(connection: &mut Session, id: &str, now: i64) -> Result<()> {
    sqlx::query("UPDATE tasks SET state = 'RUNNING', started_ms = $1 WHERE id = $2 AND state = 'PENDING'")
        .bind(now)
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("record a task's start"))?;
    Ok(())
}

/// Gives a task to a node.
pub(crate) async fn set_attempt(connection: &mut Session, id: &str, node: &str, attempt: i64) -> Result<()> {
    sqlx::query("UPDATE tasks SET node = $1, attempt = $2 WHERE id = $3")
        .bind(node)
        .bind(attempt)
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("record a task's attempt"))?;
    Ok(())
}

/// Why this attempt of a task may not write, if it may not. A task that is not on record may.
pub(crate) async fn deposed(
    connection: &mut Session,
    id: &str,
    (node, attempt): (&str, i64),
) -> Result<Option<String>> {
    let read = failed("read a task");
    let row = sqlx::query("SELECT state, node, attempt FROM tasks WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(&read)?;
    let Some(row) = row else { return Ok(None) };
    let state: String = row.try_get("state").map_err(&read)?;
    let there: Option<String> = row.try_get("node").map_err(&read)?;
    let newest: i64 = row.try_get("attempt").map_err(&read)?;
    if state != PENDING && state != RUNNING {
        return Ok(Some(format!("task {id} has ended")));
    }
    if there.as_deref() == Some(node) && newest == attempt {
        return Ok(None);
    }
    let there = there.as_deref().unwrap_or("no node");
    Ok(Some(format!("attempt {attempt} of task {id} on {node} was followed by attempt {newest} on {there}")))
}

pub(crate) async fn set_stop(connection: &mut Session, id: &str, reason: StopReason) -> Result<()> {
    sqlx::query("UPDATE tasks SET stop = $1 WHERE id = $2")
        .bind(stop_text(reason))
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("record a task's stop"))?;
    Ok(())
}

pub(crate) async fn set_published(connection: &mut Session, id: &str) -> Result<()> {
    sqlx::query("UPDATE tasks SET published = 1 WHERE id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("record a publication"))?;
    Ok(())
}

pub(crate) async fn set_ended(
    connection: &mut Session,
    id: &str,
    state: TaskState,
    error: Option<&str>,
    report: Option<&Value>,
    now: i64,
) -> Result<()> {
    sqlx::query("UPDATE tasks SET state = $1, error = $2, report = $3, ended_ms = $4 WHERE id = $5")
        .bind(state_text(state))
        // What a library says of an error may be anything.
        .bind(error.map(|error| error.replace('\0', "")))
        .bind(report.map(Value::to_string))
        .bind(now)
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("record a task's end"))?;
    Ok(())
}

fn stop_text(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Suspend => "SUSPEND",
        StopReason::Replace => "REPLACE",
        StopReason::Terminate => "TERMINATE",
        StopReason::Shutdown => "SHUTDOWN",
        StopReason::Reset => "RESET",
        StopReason::Cancel => "CANCEL",
    }
}

fn task(row: &AnyRow) -> Result<TaskRow> {
    let read = failed("read tasks");
    let text: String = row.try_get("record").map_err(&read)?;
    let record: TaskRecord = serde_json::from_str(&text)
        .map_err(|error| Error::Corrupt(format!("the record of a task is not readable: {error}")))?;
    let state: String = row.try_get("state").map_err(&read)?;
    let state = match state.as_str() {
        PENDING => TaskState::Pending,
        RUNNING => TaskState::Running,
        SUCCESS => TaskState::Success,
        FAILED => TaskState::Failed,
        _ => return Err(Error::Corrupt(format!("task {} has the unknown state '{state}'", record.id))),
    };
    let stop: Option<String> = row.try_get("stop").map_err(&read)?;
    let stop = match stop.as_deref() {
        None => None,
        Some("SUSPEND") => Some(StopReason::Suspend),
        Some("REPLACE") => Some(StopReason::Replace),
        Some("TERMINATE") => Some(StopReason::Terminate),
        Some("SHUTDOWN") => Some(StopReason::Shutdown),
        Some("RESET") => Some(StopReason::Reset),
        Some("CANCEL") => Some(StopReason::Cancel),
        Some(other) => {
            return Err(Error::Corrupt(format!("task {} has the unknown reason to stop '{other}'", record.id)));
        }
    };
    Ok(TaskRow {
        record,
        state,
        stop,
        published: row.try_get::<i64, _>("published").map_err(&read)? != 0,
        node: row.try_get("node").map_err(&read)?,
        attempt: row.try_get("attempt").map_err(&read)?,
        error: row.try_get("error").map_err(&read)?,
        created_at: row.try_get("created_ms").map_err(&read)?,
        started_at: row.try_get("started_ms").map_err(&read)?,
        ended_at: row.try_get("ended_ms").map_err(&read)?,
    })
}
