//! Supervisors and their history as rows of the store. Their documents are kept as they were posted.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::Positions;
use crate::catalog::publish::set_position;
use crate::catalog::session::{Session, failed};
use crate::error::{Error, Result};
use crate::supervisors::{Revision, SupervisorSpec};

/// A supervisor as it is on record.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorRow {
    pub spec: SupervisorSpec,
    pub terminated: bool,
    /// Grows with every document and every reset.
    pub generation: i64,
    /// How many tasks were ever made for it.
    pub launches: i64,
    pub created_at: i64,
    pub changed_at: i64,
    /// When its number of tasks last followed the lag.
    pub scaled_at: Option<i64>,
}

/// Those that are not terminated.
pub(crate) async fn load_supervisors(connection: &mut Session) -> Result<Vec<SupervisorRow>> {
    let rows = sqlx::query(
        "SELECT id, datasource, kind, source, document, task_count, suspended, terminated, generation, launches, \
         created_ms, changed_ms, scaling, scaled_ms FROM supervisors WHERE terminated = 0 ORDER BY id",
    )
    .fetch_all(connection)
    .await
    .map_err(failed("read supervisors"))?;
    rows.iter().map(supervisor).collect()
}

pub(crate) async fn by_id(connection: &mut Session, id: &str) -> Result<Option<SupervisorRow>> {
    let row = sqlx::query(
        "SELECT id, datasource, kind, source, document, task_count, suspended, terminated, generation, launches, \
         created_ms, changed_ms, scaling, scaled_ms FROM supervisors WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(failed("read a supervisor"))?;
    row.as_ref().map(supervisor).transpose()
}

pub(crate) async fn put(connection: &mut Session, row: &SupervisorRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO supervisors (id, datasource, kind, source, document, task_count, suspended, terminated, \
         generation, launches, created_ms, changed_ms, scaling, scaled_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (id) DO UPDATE SET datasource = excluded.datasource, kind = excluded.kind, \
         source = excluded.source, document = excluded.document, task_count = excluded.task_count, \
         suspended = excluded.suspended, terminated = excluded.terminated, generation = excluded.generation, \
         launches = excluded.launches, changed_ms = excluded.changed_ms, scaling = excluded.scaling, \
         scaled_ms = excluded.scaled_ms",
    )
    .bind(row.spec.id.as_str())
    .bind(row.spec.datasource.as_str())
    .bind(row.spec.kind.as_str())
    .bind(row.spec.source.as_str())
    .bind(row.spec.document.to_string())
    .bind(i64::from(row.spec.task_count))
    .bind(i64::from(row.spec.suspended))
    .bind(i64::from(row.terminated))
    .bind(row.generation)
    .bind(row.launches)
    .bind(row.created_at)
    .bind(row.changed_at)
    .bind(row.spec.scaling.as_ref().map(|scaling| serde_json::json!(scaling).to_string()))
    .bind(row.scaled_at)
    .execute(connection)
    .await
    .map_err(failed("record a supervisor"))?;
    Ok(())
}

pub(crate) async fn add_history(connection: &mut Session, id: &str, document: &Value, now: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO supervisor_history (id, revision, document, created_ms) \
         SELECT CAST($1 AS TEXT), COALESCE(MAX(revision), 0) + 1, CAST($2 AS TEXT), CAST($3 AS BIGINT) FROM supervisor_history WHERE id = $1",
    )
    .bind(id)
    .bind(document.to_string())
    .bind(now)
    .execute(connection)
    .await
    .map_err(failed("record a supervisor's history"))?;
    Ok(())
}

/// Newest first, of one supervisor or of all.
pub(crate) async fn history(connection: &mut Session, id: Option<&str>) -> Result<Vec<(String, Revision)>> {
    let read = failed("read a supervisor's history");
    let rows = match id {
        Some(id) => {
            sqlx::query("SELECT id, document, created_ms FROM supervisor_history WHERE id = $1 ORDER BY revision DESC")
                .bind(id)
                .fetch_all(connection)
                .await
        }
        None => {
            sqlx::query("SELECT id, document, created_ms FROM supervisor_history ORDER BY id, revision DESC")
                .fetch_all(connection)
                .await
        }
    };
    let mut revisions = Vec::new();
    for row in rows.map_err(&read)? {
        let id: String = row.try_get("id").map_err(&read)?;
        let text: String = row.try_get("document").map_err(&read)?;
        let created_at = row.try_get("created_ms").map_err(&read)?;
        let document = parse(&id, &text)?;
        revisions.push((id, Revision { document, created_at }));
    }
    Ok(revisions)
}

/// Sets the given positions, or clears all.
pub(crate) async fn reset_positions(connection: &mut Session, supervisor: &str, to: Option<&Positions>) -> Result<()> {
    match to {
        Some(positions) => {
            for (key, offset) in &positions.0 {
                set_position(connection, supervisor, key, *offset).await?;
            }
        }
        None => {
            sqlx::query("DELETE FROM positions WHERE supervisor = $1")
                .bind(supervisor)
                .execute(connection)
                .await
                .map_err(failed("reset positions"))?;
        }
    }
    Ok(())
}

fn supervisor(row: &AnyRow) -> Result<SupervisorRow> {
    let read = failed("read supervisors");
    let id: String = row.try_get("id").map_err(&read)?;
    let text: String = row.try_get("document").map_err(&read)?;
    let document = parse(&id, &text)?;
    let task_count: i64 = row.try_get("task_count").map_err(&read)?;
    let task_count = u32::try_from(task_count)
        .map_err(|_| Error::Corrupt(format!("supervisor {id} has a task count of {task_count}")))?;
    let scaling: Option<String> = row.try_get("scaling").map_err(&read)?;
    let scaling = scaling.map(|text| serde_json::from_str(&text)).transpose();
    let scaling =
        scaling.map_err(|error| Error::Corrupt(format!("the scaling of supervisor {id} is not readable: {error}")))?;
    Ok(SupervisorRow {
        spec: SupervisorSpec {
            id,
            datasource: row.try_get("datasource").map_err(&read)?,
            kind: row.try_get("kind").map_err(&read)?,
            source: row.try_get("source").map_err(&read)?,
            document,
            task_count,
            suspended: row.try_get::<i64, _>("suspended").map_err(&read)? != 0,
            scaling,
        },
        terminated: row.try_get::<i64, _>("terminated").map_err(&read)? != 0,
        generation: row.try_get("generation").map_err(&read)?,
        launches: row.try_get("launches").map_err(&read)?,
        created_at: row.try_get("created_ms").map_err(&read)?,
        changed_at: row.try_get("changed_ms").map_err(&read)?,
        scaled_at: row.try_get("scaled_ms").map_err(&read)?,
    })
}

fn parse(id: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::Corrupt(format!("the document of supervisor {id} is not readable: {error}")))
}
