//! Segments as rows of the store.

use futures::TryStreamExt;
use segment::{Interval, SegmentId, SegmentMeta};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::session::{Session, failed};
use crate::error::{Error, Result};

/// A segment as it is on record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SegmentRecord {
    pub meta: SegmentMeta,
    pub used: bool,
    /// Published beside what was there, not instead of it.
    pub appended: bool,
    /// Order of writing among segments and pending names.
    pub number: i64,
    pub created_at: i64,
    pub changed_at: i64,
}

pub(crate) async fn load_used(connection: &mut Session) -> Result<Vec<SegmentRecord>> {
    // One after the other: what is read and what is made of it would be much to hold at once.
    // The plus keeps the index out: most rows are used, and by it each would be looked up by itself.
    let mut rows =
        sqlx::query("SELECT meta, used, appended, number, created_ms, changed_ms FROM segments WHERE +used = 1")
            .fetch(connection);
    let mut records = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(failed("read segments"))? {
        records.push(record(&row)?);
    }
    Ok(records)
}

/// The largest `number` given to any write so far.
pub(crate) async fn newest_number(connection: &mut Session) -> Result<i64> {
    let mut newest = 0;
    for table in ["SELECT MAX(number) AS number FROM segments", "SELECT MAX(number) AS number FROM pending"] {
        let row = sqlx::query(table).fetch_one(&mut *connection).await.map_err(failed("read segments"))?;
        let number: Option<i64> = row.try_get("number").map_err(failed("read segments"))?;
        newest = newest.max(number.unwrap_or(0));
    }
    Ok(newest)
}

pub(crate) async fn by_id(connection: &mut Session, id: &str) -> Result<Option<SegmentRecord>> {
    let row = sqlx::query("SELECT meta, used, appended, number, created_ms, changed_ms FROM segments WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(failed("read a segment"))?;
    row.as_ref().map(record).transpose()
}

/// How long a name is known that was given up for another.
const RENAMES_KEPT_MS: i64 = 86_400_000;

/// Keeps which names were given up for which.
pub(crate) async fn put_renames(
    connection: &mut Session,
    names: impl Iterator<Item = (&SegmentId, &SegmentId)>,
    now: i64,
) -> Result<()> {
    sqlx::query("DELETE FROM renames WHERE renamed_ms < $1")
        .bind(now.saturating_sub(RENAMES_KEPT_MS))
        .execute(&mut *connection)
        .await
        .map_err(failed("forget old names"))?;
    for (old, new) in names {
        sqlx::query(
            "INSERT INTO renames (old_id, new_id, renamed_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (old_id) DO UPDATE SET new_id = excluded.new_id, renamed_ms = excluded.renamed_ms",
        )
        .bind(old.to_string())
        .bind(new.to_string())
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(failed("keep a new name"))?;
    }
    Ok(())
}

/// The segment that was published instead of one under this name, used or not, if one was.
pub(crate) async fn by_former_id(connection: &mut Session, id: &str) -> Result<Option<SegmentRecord>> {
    let row = sqlx::query(
        "SELECT meta, used, appended, number, created_ms, changed_ms FROM segments \
         WHERE id = (SELECT new_id FROM renames WHERE old_id = $1)",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(failed("read a renamed segment"))?;
    row.as_ref().map(record).transpose()
}

/// Segments that are not used, within an interval, in the order of their intervals.
pub(crate) async fn unused(
    connection: &mut Session,
    datasource: &str,
    within: Interval,
    most: i64,
) -> Result<Vec<SegmentRecord>> {
    let rows = sqlx::query(
        "SELECT meta, used, appended, number, created_ms, changed_ms FROM segments \
         WHERE used = 0 AND datasource = $1 AND start_ms >= $2 AND end_ms <= $3 \
         ORDER BY start_ms, end_ms, version, partition_num LIMIT $4",
    )
    .bind(datasource)
    .bind(within.start)
    .bind(within.end)
    .bind(most)
    .fetch_all(connection)
    .await
    .map_err(failed("read segments"))?;
    rows.iter().map(record).collect()
}

pub(crate) async fn datasources(connection: &mut Session) -> Result<Vec<String>> {
    let rows = sqlx::query("SELECT DISTINCT datasource FROM segments ORDER BY datasource")
        .fetch_all(connection)
        .await
        .map_err(failed("read datasources"))?;
    rows.iter().map(|row| row.try_get("datasource").map_err(failed("read datasources"))).collect()
}

pub(crate) async fn insert(connection: &mut Session, record: &SegmentRecord) -> Result<()> {
    let id = &record.meta.id;
    let meta = serde_json::to_string(&record.meta).expect("a meta has no keys that are not text");
    sqlx::query(
        "INSERT INTO segments (id, datasource, start_ms, end_ms, version, partition_num, used, appended, number, meta, \
         created_ms, changed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(id.to_string())
    .bind(id.datasource.as_str())
    .bind(id.interval.start)
    .bind(id.interval.end)
    .bind(id.version.as_str())
    .bind(i64::from(id.partition))
    .bind(i64::from(record.used))
    .bind(i64::from(record.appended))
    .bind(record.number)
    .bind(meta)
    .bind(record.created_at)
    .bind(record.changed_at)
    .execute(connection)
    .await
    .map_err(failed("insert a segment"))?;
    Ok(())
}

/// Whether the row was changed by it.
pub(crate) async fn set_used(connection: &mut Session, id: &str, used: bool, now: i64) -> Result<bool> {
    let done = sqlx::query("UPDATE segments SET used = $1, changed_ms = $2 WHERE id = $3 AND used <> $1")
        .bind(i64::from(used))
        .bind(now)
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed("mark a segment"))?;
    Ok(done.rows_affected() > 0)
}

/// One more than any partition of the set that was ever given out, so that no name is used twice.
pub(crate) async fn next_partition(
    connection: &mut Session,
    datasource: &str,
    interval: Interval,
    version: &str,
) -> Result<u32> {
    let mut next = 0;
    for query in [
        "SELECT MAX(partition_num) AS newest FROM segments \
         WHERE datasource = $1 AND start_ms = $2 AND end_ms = $3 AND version = $4",
        "SELECT MAX(partition_num) AS newest FROM pending \
         WHERE datasource = $1 AND segment_start_ms = $2 AND segment_end_ms = $3 AND version = $4",
    ] {
        let row = sqlx::query(query)
            .bind(datasource)
            .bind(interval.start)
            .bind(interval.end)
            .bind(version)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed("number a segment"))?;
        let newest: Option<i64> = row.try_get("newest").map_err(failed("number a segment"))?;
        next = next.max(newest.map_or(0, |newest| newest + 1));
    }
    u32::try_from(next).map_err(|_| Error::Invalid(format!("datasource {datasource} has no partition numbers left")))
}

/// The newest version that any segment or pending name overlapping the interval has, used or not.
pub(crate) async fn newest_version(
    connection: &mut Session,
    datasource: &str,
    within: Interval,
) -> Result<Option<String>> {
    let mut newest = None;
    for query in [
        "SELECT MAX(version) AS newest FROM segments WHERE datasource = $1 AND start_ms < $2 AND end_ms > $3",
        "SELECT MAX(version) AS newest FROM pending \
         WHERE datasource = $1 AND segment_start_ms < $2 AND segment_end_ms > $3",
    ] {
        let row = sqlx::query(query)
            .bind(datasource)
            .bind(within.end)
            .bind(within.start)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed("read versions"))?;
        let found: Option<String> = row.try_get("newest").map_err(failed("read versions"))?;
        newest = newest.max(found);
    }
    Ok(newest)
}

pub(crate) fn interval_and_version(row: &AnyRow) -> Result<(Interval, String)> {
    let read = || -> sqlx::Result<(Interval, String)> {
        let interval = Interval { start: row.try_get("segment_start_ms")?, end: row.try_get("segment_end_ms")? };
        Ok((interval, row.try_get("version")?))
    };
    read().map_err(failed("read pending names"))
}

pub(crate) fn pending_id(datasource: &str, row: &AnyRow) -> Result<SegmentId> {
    let (interval, version) = interval_and_version(row)?;
    let partition: i64 = row.try_get("partition_num").map_err(failed("read pending names"))?;
    let partition = u32::try_from(partition)
        .map_err(|_| Error::Corrupt(format!("pending name of {datasource} has partition {partition}")))?;
    Ok(SegmentId { datasource: datasource.to_string(), interval, version, partition })
}

fn record(row: &AnyRow) -> Result<SegmentRecord> {
    let text: String = row.try_get("meta").map_err(failed("read segments"))?;
    let meta = serde_json::from_str(&text)
        .map_err(|error| Error::Corrupt(format!("the description of a segment is not readable: {error}")))?;
    let read = || -> sqlx::Result<SegmentRecord> {
        Ok(SegmentRecord {
            meta,
            used: row.try_get::<i64, _>("used")? != 0,
            appended: row.try_get::<i64, _>("appended")? != 0,
            number: row.try_get("number")?,
            created_at: row.try_get("created_ms")?,
            changed_at: row.try_get("changed_ms")?,
        })
    };
    read().map_err(failed("read segments"))
}
