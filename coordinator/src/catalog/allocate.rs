//! Names for segments that are about to be filled.
//!
//! A name decides what its rows are seen beside and instead of, so it is chosen against everything that is published
//! or about to be:
//!
//! 1. The same question (sequence, interval, index) gets the same answer, unless that answer cannot hold the row.
//! 2. A replace gets a version newer than any there is in its interval; the segments of one sequence share it.
//! 3. An append joins the set that is visible at the row's time. If only a part of that set is visible there (a newer
//!    version covers the rest), the name has that part as its interval: same version, so seen beside the set.
//! 4. Where nothing is visible, the name has the part of the asked interval around the row that no other set covers.

use segment::time::{format_timestamp, parse_timestamp};
use segment::timeline::Timeline;
use segment::{Interval, SegmentId};

use crate::Coordinator;
use crate::catalog::session::{Session, failed};
use crate::catalog::{Allocation, Positions};
use crate::catalog::{rows, tasks};
use crate::error::{Error, Result};
use crate::picture::Picture;

/// The version of the first rows of a chunk that a replace is under way for: the replace must be able to hide what
/// came before it, and nothing is older than this.
const OLDEST_VERSION: &str = "1970-01-01T00:00:00.000Z";

impl Coordinator {
    /// Committed positions of a supervisor; empty if nothing was ever committed, or they were reset.
    pub async fn positions(&self, supervisor: &str) -> Result<Positions> {
        let mut connection = self.read().await?;
        read_positions(&mut connection, supervisor).await
    }

    /// A name for a new segment. Its interval contains the time of the row that needs it, and may be larger or smaller
    /// than the interval asked for: rows outside of it need another name (and another index).
    pub async fn allocate(&self, what: Allocation, now: i64) -> Result<SegmentId> {
        if what.interval.is_empty() {
            return Err(Error::Invalid(format!("interval {} is empty", what.interval)));
        }
        let at = what.at.unwrap_or(what.interval.start);
        if !what.interval.contains(at) {
            return Err(Error::Invalid(format!(
                "interval {} does not contain the row at {}",
                what.interval,
                format_timestamp(at)
            )));
        }
        let this = self.clone();
        self.detached(async move { this.allocate_now(what, at, now).await }).await
    }

    async fn allocate_now(&self, what: Allocation, at: i64, now: i64) -> Result<SegmentId> {
        let turn = self.turn().await?;
        let mut transaction = turn.begin().await?;
        if let Some(reason) = tasks::deposed(&mut transaction, &what.task, (&what.node, what.attempt)).await? {
            return Err(Error::Stale { supervisor: None, reason, committed: Positions::default() });
        }
        if let Some(id) = given_before(&mut transaction, &what, at).await? {
            return Ok(id);
        }
        let (interval, version) = if what.fresh_version {
            (what.interval, fresh_version(&mut transaction, &what, now).await?)
        } else {
            let pending = pending_sets(&mut transaction, &what.datasource).await?;
            let joined = join(&self.inner.picture.read(), &pending, &what, at);
            match joined {
                Joined::Set(interval, version) => (interval, version),
                Joined::Gap(interval) => {
                    let replaced = pending.iter().any(|set| set.fresh && set.interval.overlaps(&interval));
                    (interval, if replaced { OLDEST_VERSION.to_string() } else { format_timestamp(now) })
                }
            }
        };
        let partition = rows::next_partition(&mut transaction, &what.datasource, interval, &version).await?;
        let id = SegmentId { datasource: what.datasource.clone(), interval, version, partition };
        let number = self.inner.picture.read().number + 1;
        reserve(&mut transaction, &what, &id, number, now).await?;
        transaction.commit().await?;
        self.inner.picture.write().number = number;
        Ok(id)
    }
}

pub(super) async fn read_positions(connection: &mut Session, supervisor: &str) -> Result<Positions> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT partition_key, next_offset FROM positions WHERE supervisor = $1")
            .bind(supervisor)
            .fetch_all(connection)
            .await
            .map_err(failed("read positions"))?;
    Ok(Positions(rows.into_iter().collect()))
}

pub(super) async fn given_before(connection: &mut Session, what: &Allocation, at: i64) -> Result<Option<SegmentId>> {
    let rows = sqlx::query(
        "SELECT segment_start_ms, segment_end_ms, version, partition_num FROM pending \
         WHERE datasource = $1 AND sequence = $2 AND start_ms = $3 AND end_ms = $4 AND idx = $5 ORDER BY number",
    )
    .bind(what.datasource.as_str())
    .bind(what.sequence.as_str())
    .bind(what.interval.start)
    .bind(what.interval.end)
    .bind(i64::from(what.index))
    .fetch_all(connection)
    .await
    .map_err(failed("read pending names"))?;
    for row in &rows {
        let id = rows::pending_id(&what.datasource, row)?;
        if id.interval.contains(at) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

pub(super) async fn reserve(
    connection: &mut Session,
    what: &Allocation,
    id: &SegmentId,
    number: i64,
    now: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO pending (datasource, sequence, start_ms, end_ms, idx, segment_start_ms, segment_end_ms, version, \
         partition_num, fresh, number, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(what.datasource.as_str())
    .bind(what.sequence.as_str())
    .bind(what.interval.start)
    .bind(what.interval.end)
    .bind(i64::from(what.index))
    .bind(id.interval.start)
    .bind(id.interval.end)
    .bind(id.version.as_str())
    .bind(i64::from(id.partition))
    .bind(i64::from(what.fresh_version))
    .bind(number)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failed("reserve a name"))?;
    Ok(())
}

/// A set that names are given out for.
struct PendingSet {
    interval: Interval,
    version: String,
    fresh: bool,
}

async fn pending_sets(connection: &mut Session, datasource: &str) -> Result<Vec<PendingSet>> {
    let rows = sqlx::query(
        "SELECT DISTINCT segment_start_ms, segment_end_ms, version, fresh FROM pending WHERE datasource = $1",
    )
    .bind(datasource)
    .fetch_all(connection)
    .await
    .map_err(failed("read pending names"))?;
    let mut sets = Vec::with_capacity(rows.len());
    for row in &rows {
        let (interval, version) = rows::interval_and_version(row)?;
        let fresh: i64 = sqlx::Row::try_get(row, "fresh").map_err(failed("read pending names"))?;
        sets.push(PendingSet { interval, version, fresh: fresh != 0 });
    }
    Ok(sets)
}

/// A version newer than any in the interval; the one the sequence has already, if that is.
async fn fresh_version(connection: &mut Session, what: &Allocation, now: i64) -> Result<String> {
    let own: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT version FROM pending WHERE datasource = $1 AND sequence = $2 AND fresh = 1")
            .bind(what.datasource.as_str())
            .bind(what.sequence.as_str())
            .fetch_all(&mut *connection)
            .await
            .map_err(failed("read pending names"))?;
    let newest = rows::newest_version(connection, &what.datasource, what.interval).await?;
    if let Some((own,)) = own.into_iter().max().filter(|(own,)| newest.as_ref().is_none_or(|newest| newest <= own)) {
        return Ok(own);
    }
    let candidate = format_timestamp(now);
    Ok(match newest {
        Some(newest) if newest >= candidate => after(&newest),
        _ => candidate,
    })
}

/// The next version: a millisecond later, or longer if it is not a time.
fn after(version: &str) -> String {
    let later = parse_timestamp(version).and_then(|time| time.checked_add(1)).map(format_timestamp);
    match later {
        Some(later) if later.as_str() > version => later,
        _ => format!("{version}.1"),
    }
}

enum Joined {
    Set(Interval, String),
    /// Nothing is visible at the row's time; this part of the asked interval is free.
    Gap(Interval),
}

fn join(picture: &Picture, pending: &[PendingSet], what: &Allocation, at: i64) -> Joined {
    let instant = Interval { start: at, end: at.saturating_add(1) };
    let nearby = nearby(picture, pending, &what.datasource, what.interval);
    let Some(winner) = nearby.visible(instant).into_iter().next() else {
        let mut gap = what.interval;
        for (taken, _) in nearby.sets(what.interval) {
            if taken.contains(at) {
                // Known and hidden (its core is not whole): beside it, nothing that it may come to hide.
                continue;
            }
            if taken.end <= at {
                gap.start = gap.start.max(taken.end);
            } else {
                gap.end = gap.end.min(taken.start);
            }
        }
        return Joined::Gap(gap);
    };
    let whole = winner.id.interval;
    let around = self::nearby(picture, pending, &what.datasource, whole);
    let part = around
        .visible(whole)
        .into_iter()
        .find(|slice| {
            slice.interval.contains(at) && slice.id.version == winner.id.version && slice.id.interval == whole
        })
        .map_or(whole, |slice| slice.interval);
    Joined::Set(part, winner.id.version)
}

/// What is published or about to be appended within an interval; replaces under way are not counted, for they may
/// never be published.
fn nearby(picture: &Picture, pending: &[PendingSet], datasource: &str, within: Interval) -> Timeline<()> {
    let mut timeline = Timeline::new();
    if let Some(segments) = picture.segments.get(datasource) {
        for (id, core, _) in segments.overlaps(within) {
            timeline.add_partition(id.clone(), core, ());
        }
    }
    for set in pending.iter().filter(|set| !set.fresh && set.interval.overlaps(&within)) {
        let id = SegmentId {
            datasource: datasource.to_string(),
            interval: set.interval,
            version: set.version.clone(),
            partition: u32::MAX,
        };
        timeline.add(id, ());
    }
    timeline
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn the_next_version_is_larger_as_text() {
        for version in
            ["2026-01-01T00:00:00.999Z", "1970-01-01T00:00:00.000Z", "v1", "", "~", "9999-12-31T23:59:59.999Z"]
        {
            assert!(after(version).as_str() > version, "{version}");
        }
        assert_eq!(after("2026-01-01T00:00:00.999Z"), "2026-01-01T00:00:01.000Z");
    }
}
