//! How alerts stand, what changed of that, and what of it is to be told, as rows of the store.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::alerts::{AlertChange, AlertEntry, AlertNotice, AlertState, NoticeOutcome, Notified};
use crate::catalog::session::{Session, failed};
use crate::error::{Error, Result};

pub(crate) async fn states(connection: &mut Session) -> Result<Vec<AlertState>> {
    let read = failed("read the states of alerts");
    let rows = sqlx::query("SELECT alert, turn_ms, state FROM alert_states ORDER BY alert")
        .fetch_all(connection)
        .await
        .map_err(&read)?;
    let state = |row: &AnyRow| {
        let alert: String = row.try_get("alert").map_err(&read)?;
        let state = document(row, "state", &alert)?;
        Ok(AlertState { turn: row.try_get("turn_ms").map_err(&read)?, state, alert })
    };
    rows.iter().map(state).collect()
}

pub(crate) async fn put_state(connection: &mut Session, state: &AlertState) -> Result<()> {
    sqlx::query(
        "INSERT INTO alert_states (alert, turn_ms, state) VALUES ($1, $2, $3) \
         ON CONFLICT (alert) DO UPDATE SET turn_ms = excluded.turn_ms, state = excluded.state",
    )
    .bind(state.alert.as_str())
    .bind(state.turn)
    .bind(state.state.to_string())
    .execute(connection)
    .await
    .map_err(failed("record the state of an alert"))?;
    Ok(())
}

/// With what is to be told of it. Of older changes so many stay on record; what was to be told of others is told no more.
pub(crate) async fn add_change(connection: &mut Session, alert: &str, change: &AlertChange, kept: i64) -> Result<()> {
    let record = failed("record a change of an alert");
    sqlx::query("INSERT INTO alert_history (alert, number, at_ms, document) VALUES ($1, $2, $3, $4)")
        .bind(alert)
        .bind(change.number)
        .bind(change.at)
        .bind(change.change.to_string())
        .execute(&mut *connection)
        .await
        .map_err(&record)?;
    for (channel, notice) in &change.notices {
        sqlx::query(
            "INSERT INTO alert_notices (alert, number, channel, document, created_ms, tries) \
             VALUES ($1, $2, $3, $4, $5, 0)",
        )
        .bind(alert)
        .bind(change.number)
        .bind(channel.as_str())
        .bind(notice.to_string())
        .bind(change.at)
        .execute(&mut *connection)
        .await
        .map_err(&record)?;
    }
    for statement in [
        "DELETE FROM alert_history WHERE alert = $1 AND number <= $2",
        "DELETE FROM alert_notices WHERE alert = $1 AND number <= $2",
    ] {
        sqlx::query(statement)
            .bind(alert)
            .bind(change.number - kept)
            .execute(&mut *connection)
            .await
            .map_err(&record)?;
    }
    Ok(())
}

pub(crate) async fn put_outcome(connection: &mut Session, outcome: &NoticeOutcome) -> Result<()> {
    sqlx::query(
        "UPDATE alert_notices SET tries = $4, ended_ms = $5, error = $6 \
         WHERE alert = $1 AND number = $2 AND channel = $3",
    )
    .bind(outcome.alert.as_str())
    .bind(outcome.number)
    .bind(outcome.channel.as_str())
    .bind(outcome.tries)
    .bind(outcome.ended)
    .bind(outcome.error.as_deref())
    .execute(connection)
    .await
    .map_err(failed("record what became of a notice"))?;
    Ok(())
}

pub(crate) async fn forget(connection: &mut Session, alert: &str) -> Result<()> {
    for statement in [
        "DELETE FROM alert_states WHERE alert = $1",
        "DELETE FROM alert_history WHERE alert = $1",
        "DELETE FROM alert_notices WHERE alert = $1",
    ] {
        sqlx::query(statement).bind(alert).execute(&mut *connection).await.map_err(failed("forget an alert"))?;
    }
    Ok(())
}

/// Those that have not ended, oldest first.
pub(crate) async fn to_send(connection: &mut Session, most: i64) -> Result<Vec<AlertNotice>> {
    let read = failed("read what is to be told of alerts");
    let rows = sqlx::query(
        "SELECT alert, number, channel, document, created_ms, tries FROM alert_notices WHERE ended_ms IS NULL \
         ORDER BY created_ms, alert, number, channel LIMIT $1",
    )
    .bind(most)
    .fetch_all(connection)
    .await
    .map_err(&read)?;
    let notice = |row: &AnyRow| {
        let alert: String = row.try_get("alert").map_err(&read)?;
        Ok(AlertNotice {
            number: row.try_get("number").map_err(&read)?,
            channel: row.try_get("channel").map_err(&read)?,
            notice: document(row, "document", &alert)?,
            created_at: row.try_get("created_ms").map_err(&read)?,
            tries: row.try_get("tries").map_err(&read)?,
            alert,
        })
    };
    rows.iter().map(notice).collect()
}

/// Newest first.
pub(crate) async fn history(connection: &mut Session, alert: &str, most: i64) -> Result<Vec<AlertEntry>> {
    let read = failed("read the history of an alert");
    let rows =
        sqlx::query("SELECT number, at_ms, document FROM alert_history WHERE alert = $1 ORDER BY number DESC LIMIT $2")
            .bind(alert)
            .bind(most)
            .fetch_all(&mut *connection)
            .await
            .map_err(&read)?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        entries.push(AlertEntry {
            number: row.try_get("number").map_err(&read)?,
            at: row.try_get("at_ms").map_err(&read)?,
            change: document(row, "document", alert)?,
            notified: Vec::new(),
        });
    }
    let rows = sqlx::query(
        "SELECT number, channel, tries, ended_ms, error FROM alert_notices WHERE alert = $1 ORDER BY number, channel",
    )
    .bind(alert)
    .fetch_all(connection)
    .await
    .map_err(&read)?;
    for row in &rows {
        let number: i64 = row.try_get("number").map_err(&read)?;
        let notified = Notified {
            channel: row.try_get("channel").map_err(&read)?,
            tries: row.try_get("tries").map_err(&read)?,
            ended: row.try_get("ended_ms").map_err(&read)?,
            error: row.try_get("error").map_err(&read)?,
        };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.number == number) {
            entry.notified.push(notified);
        }
    }
    Ok(entries)
}

fn document(row: &AnyRow, column: &str, alert: &str) -> Result<Value> {
    let text: String = row.try_get(column).map_err(failed("read alerts"))?;
    serde_json::from_str(&text).map_err(|_| Error::Corrupt(format!("what is kept of alert {alert} is not readable")))
}
