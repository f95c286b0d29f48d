//! Tasks as rows of the store.
//!
//! Documents may be large, for some bring their data along: no list reads records, where they stand. Of a large one less is kept
//! once its task has ended ([`excerpt`]).

use segment::Interval;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::session::{Session, failed};
use crate::command::{StopReason, TaskRecord, TaskState};
use crate::error::{Error, Result};
use crate::tasks::{TaskFilter, TaskStatus};

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
    pub created_at: i64,
    pub started_at: Option<i64>,
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
            created_at: now,
            started_at: None,
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

/// The texts of a task to be put on record.
pub(crate) struct Texts {
    record: String,
    /// What takes the record's place when the task has ended, if that is less.
    kept: Option<String>,
}

impl Texts {
    /// To be made before the store is waited for: it takes as long as the document is large.
    pub fn of(record: &TaskRecord) -> Texts {
        let text = |record: &TaskRecord| serde_json::to_string(record).expect("a record has no keys that are not text");
        let whole = text(record);
        let kept = (whole.len() > DOCUMENT_KEPT_MAX).then(|| {
            let names = TaskRecord {
                id: record.id.clone(),
                group_id: record.group_id.clone(),
                datasource: record.datasource.clone(),
                kind: record.kind.clone(),
                supervisor: record.supervisor.clone(),
                document: excerpt(&record.document),
                follows: record.follows.clone(),
                poster: record.poster.clone(),
                ..*record
            };
            text(&names)
        });
        Texts { record: whole, kept }
    }
}

/// The longest document of an ended task that is kept as it was, in bytes of JSON.
const DOCUMENT_KEPT_MAX: usize = 16 << 10;

/// What is kept of a text that is longer, in a document that is cut.
const TEXT_KEPT_MAX: usize = 1 << 10;

/// A document with its long texts cut, as inline data is, which says how long they were; if it is too long even so, that and
/// the texts that it begins with.
fn excerpt(document: &Value) -> Value {
    let cut = cut(document);
    if cut.to_string().len() <= DOCUMENT_KEPT_MAX {
        return cut;
    }
    let length = document.to_string().len();
    let texts = cut.as_object().into_iter().flatten().filter(|(name, value)| value.is_string() && name.len() < 64);
    let mut kept: Map<String, Value> = texts.take(16).map(|(name, value)| (name.clone(), value.clone())).collect();
    kept.insert("cut".into(), format!("the spec had {length} bytes; it is not kept after the end of its task").into());
    Value::Object(kept)
}

fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_KEPT_MAX => {
            let begin = &text[..text.floor_char_boundary(TEXT_KEPT_MAX)];
            Value::String(format!("{begin}… ({} bytes, which are not kept after the end of the task)", text.len()))
        }
        Value::Array(items) => Value::Array(items.iter().map(cut).collect()),
        Value::Object(fields) => Value::Object(fields.iter().map(|(name, value)| (name.clone(), cut(value))).collect()),
        other => other.clone(),
    }
}

/// Tasks that have not ended.
pub(crate) async fn load_live(connection: &mut Session) -> Result<Vec<TaskRow>> {
    let rows = sqlx::query(
        "SELECT record, state, stop, published, node, attempt, created_ms, started_ms FROM tasks \
         WHERE state IN ('PENDING', 'RUNNING') ORDER BY created_ms, id",
    )
    .fetch_all(connection)
    .await
    .map_err(failed("read tasks"))?;
    rows.iter().map(task).collect()
}

/// How a task of a supervisor ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedTask {
    pub group: u32,
    pub state: TaskState,
    pub at: i64,
}

/// The newest ended tasks of a supervisor, newest first.
pub(crate) async fn load_ended(connection: &mut Session, supervisor: &str, most: i64) -> Result<Vec<EndedTask>> {
    #[derive(Deserialize)]
    struct Group {
        group: u32,
    }
    let read = failed("read tasks");
    let rows = sqlx::query(
        "SELECT id, record, state, created_ms, ended_ms FROM tasks \
         WHERE supervisor = $1 AND state IN ('SUCCESS', 'FAILED') ORDER BY ended_ms DESC, id DESC LIMIT $2",
    )
    .bind(supervisor)
    .bind(most)
    .fetch_all(connection)
    .await
    .map_err(&read)?;
    let ended = |row: &AnyRow| -> Result<EndedTask> {
        let id: String = row.try_get("id").map_err(&read)?;
        let record: String = row.try_get("record").map_err(&read)?;
        let Group { group } = serde_json::from_str(&record).map_err(unreadable)?;
        let ended: Option<i64> = row.try_get("ended_ms").map_err(&read)?;
        let created: i64 = row.try_get("created_ms").map_err(&read)?;
        Ok(EndedTask { group, state: state_of(&id, row)?, at: ended.unwrap_or(created) })
    };
    rows.iter().map(ended).collect()
}

/// Whether there is or was a task of this name.
pub(crate) async fn exists(connection: &mut Session, id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT id FROM tasks WHERE id = $1").bind(id).fetch_optional(connection).await;
    Ok(row.map_err(failed("read a task"))?.is_some())
}

pub(crate) async fn by_id(connection: &mut Session, id: &str) -> Result<Option<TaskStatus>> {
    let row = sqlx::query(
        "SELECT id, group_id, datasource, kind, supervisor, state, stop, error, created_ms, started_ms, ended_ms \
         FROM tasks WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(failed("read a task"))?;
    row.as_ref().map(status).transpose()
}

/// The document of a task, or what is kept of it.
pub(crate) async fn document(connection: &mut Session, id: &str) -> Result<Option<Value>> {
    let row = sqlx::query("SELECT record FROM tasks WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(failed("read a task's document"))?;
    row.as_ref().map(|row| record(row).map(|record| record.document)).transpose()
}

/// Newest first.
pub(crate) async fn find(connection: &mut Session, filter: &TaskFilter) -> Result<Vec<TaskStatus>> {
    let states: String = filter.states.iter().map(|state| format!(",{},", state_text(*state))).collect();
    let created = filter.created.unwrap_or(Interval::ETERNITY);
    let rows = sqlx::query(
        "SELECT id, group_id, datasource, kind, supervisor, state, stop, error, created_ms, started_ms, ended_ms FROM tasks \
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
    rows.iter().map(status).collect()
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

/// `texts` are the row's.
pub(crate) async fn insert(connection: &mut Session, row: &TaskRow, texts: Texts) -> Result<()> {
    sqlx::query(
        "INSERT INTO tasks (id, group_id, datasource, kind, supervisor, record, state, published, created_ms, kept) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
    )
    .bind(row.record.id.as_str())
    .bind(row.record.group_id.as_str())
    .bind(row.record.datasource.as_str())
    .bind(row.record.kind.as_str())
    .bind(row.record.supervisor.as_deref())
    .bind(texts.record)
    .bind(state_text(row.state))
    .bind(row.created_at)
    .bind(texts.kept)
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
    sqlx::query("UPDATE tasks SET state = $1, error = $2, report = $3, ended_ms = $4, record = COALESCE(kept, record), kept = NULL WHERE id = $5")
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

fn unreadable(error: serde_json::Error) -> Error {
    Error::Corrupt(format!("the record of a task is not readable: {error}"))
}

fn record(row: &AnyRow) -> Result<TaskRecord> {
    let text: String = row.try_get("record").map_err(failed("read tasks"))?;
    serde_json::from_str(&text).map_err(unreadable)
}

fn state_of(id: &str, row: &AnyRow) -> Result<TaskState> {
    let state: String = row.try_get("state").map_err(failed("read tasks"))?;
    match state.as_str() {
        PENDING => Ok(TaskState::Pending),
        RUNNING => Ok(TaskState::Running),
        SUCCESS => Ok(TaskState::Success),
        FAILED => Ok(TaskState::Failed),
        _ => Err(Error::Corrupt(format!("task {id} has the unknown state '{state}'"))),
    }
}

fn stop_of(id: &str, row: &AnyRow) -> Result<Option<StopReason>> {
    let stop: Option<String> = row.try_get("stop").map_err(failed("read tasks"))?;
    Ok(match stop.as_deref() {
        None => None,
        Some("SUSPEND") => Some(StopReason::Suspend),
        Some("REPLACE") => Some(StopReason::Replace),
        Some("TERMINATE") => Some(StopReason::Terminate),
        Some("SHUTDOWN") => Some(StopReason::Shutdown),
        Some("RESET") => Some(StopReason::Reset),
        Some("CANCEL") => Some(StopReason::Cancel),
        Some(other) => return Err(Error::Corrupt(format!("task {id} has the unknown reason to stop '{other}'"))),
    })
}

fn task(row: &AnyRow) -> Result<TaskRow> {
    let read = failed("read tasks");
    let record = record(row)?;
    Ok(TaskRow {
        state: state_of(&record.id, row)?,
        stop: stop_of(&record.id, row)?,
        record,
        published: row.try_get::<i64, _>("published").map_err(&read)? != 0,
        node: row.try_get("node").map_err(&read)?,
        attempt: row.try_get("attempt").map_err(&read)?,
        created_at: row.try_get("created_ms").map_err(&read)?,
        started_at: row.try_get("started_ms").map_err(&read)?,
    })
}

fn status(row: &AnyRow) -> Result<TaskStatus> {
    let read = failed("read tasks");
    let id: String = row.try_get("id").map_err(&read)?;
    Ok(TaskStatus {
        state: state_of(&id, row)?,
        stop: stop_of(&id, row)?,
        id,
        group_id: row.try_get("group_id").map_err(&read)?,
        datasource: row.try_get("datasource").map_err(&read)?,
        kind: row.try_get("kind").map_err(&read)?,
        supervisor: row.try_get("supervisor").map_err(&read)?,
        created_at: row.try_get("created_ms").map_err(&read)?,
        started_at: row.try_get("started_ms").map_err(&read)?,
        ended_at: row.try_get("ended_ms").map_err(&read)?,
        error: row.try_get("error").map_err(&read)?,
        share: None,
        progress: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(document: Value) -> TaskRecord {
        TaskRecord {
            id: "t".into(),
            group_id: "t".into(),
            datasource: "d".into(),
            kind: "index".into(),
            supervisor: None,
            document,
            group: 0,
            groups: 1,
            generation: 0,
            created_at: 0,
            follows: Vec::new(),
            poster: None,
        }
    }

    fn kept(document: Value) -> Option<Value> {
        let kept = Texts::of(&record(document)).kept?;
        assert!(kept.len() < 2 * DOCUMENT_KEPT_MAX, "{} bytes", kept.len());
        let kept: TaskRecord = serde_json::from_str(&kept).expect("a record");
        assert_eq!(record(Value::Null), TaskRecord { document: Value::Null, ..kept.clone() });
        Some(kept.document)
    }

    #[test]
    fn of_a_large_document_its_form_is_kept_and_of_one_without_any_its_texts() {
        let of = |data: &str| json!({"type": "index", "spec": {"ioConfig": {"inputSource": {"type": "inline", "data": data}}}});
        assert_eq!(kept(of("1,2")), None);
        let long = "é".repeat(1 << 20);
        let cut = kept(of(&long)).expect("less");
        let data = cut["spec"]["ioConfig"]["inputSource"]["data"].as_str().expect("a text");
        assert!(data.starts_with("éé") && data.contains("(2097152 bytes") && data.len() < 2 * TEXT_KEPT_MAX, "{data}");
        assert_eq!(of(data), cut);
        let many = json!({"type": "index", "id": "t", "uris": vec!["https://host/path"; 100_000]});
        let cut = kept(many).expect("less");
        assert!(cut["type"] == "index" && cut["id"] == "t" && cut["uris"].is_null() && cut["cut"].is_string(), "{cut}");
    }
}
