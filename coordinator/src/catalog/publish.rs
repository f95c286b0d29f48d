//! The one transaction that makes rows published: positions and segments, all or nothing.
//!
//! 1. A publication that is on record already (the caller did not hear of its commit) is answered as it was then.
//! 2. It must be the task's newest attempt, the task one that its supervisor still wants, and the committed positions must be those it started from.
//!    Whoever posted a task that replaces must have the sight of all that it replaces.
//! 3. Appended segments that a newer version would hide whole are renamed, without committing anything.
//! 4. Segments are inserted. Where a newer version hides a part of an appended one, its file is inserted a second time
//!    under a name of that version that has just this part as its interval: rows are neither hidden nor seen twice. The
//!    other way round likewise: a name may have been given in a version that was dropped since, so that the rows that are
//!    seen now are older than the appended ones. Their files get names of that version as well: an append hides nothing.
//! 5. A replace marks what is older unused, cuts what sticks out of its intervals, and takes along, as in 4, what was
//!    appended after it began: it has not read those rows, so it does not replace them.
//! 6. Positions move and reserved names are freed.

use segment::timeline::{Slice, Timeline};
use segment::{Interval, SegmentId, SegmentMeta};
use sqlx::Row;

use crate::Coordinator;
use crate::catalog::allocate::{given_before, read_positions, reserve};
use crate::catalog::rows::{self, SegmentRecord};
use crate::catalog::session::{Session, failed};
use crate::catalog::tasks;
use crate::catalog::{Allocation, Positions, Publication, PublishMode, Published};
use crate::error::{Error, Result};

impl Coordinator {
    /// Publishes segments that are in deep storage. May be repeated after a failure whose outcome is unknown.
    pub async fn publish(&self, what: Publication, now: i64) -> Result<Published> {
        check(&what)?;
        let this = self.clone();
        let published = self.detached(async move { this.publish_now(what, now).await }).await?;
        self.wake();
        Ok(published)
    }

    async fn publish_now(&self, what: Publication, now: i64) -> Result<Published> {
        let turn = self.turn().await?;
        let mut transaction = turn.begin().await?;
        let connection: &mut Session = &mut transaction;

        let committed = match &what.supervisor {
            Some(supervisor) => read_positions(connection, supervisor).await?,
            None => Positions::default(),
        };
        if let Some(metas) = on_record(connection, &what, &committed).await? {
            return Ok(Published::Committed(metas));
        }
        if let Some(reason) = tasks::deposed(connection, &what.task, (&what.node, what.attempt)).await? {
            return Err(Error::Stale { supervisor: what.supervisor, reason, committed });
        }
        self.check_task(&what, &committed)?;
        self.check_sight(&what)?;

        let number = self.inner.picture.read().number + 1;
        let mut change = Change {
            datasource: what.datasource.clone(),
            nearby: self.nearby(&what),
            inserted: Vec::new(),
            retired: Vec::new(),
            number,
            now,
        };
        match &what.mode {
            PublishMode::Append => {
                let renamed = change.rename(connection, &what).await?;
                if let Some(ids) = renamed {
                    let names = what.segments.iter().map(|meta| &meta.id).zip(&ids);
                    rows::put_renames(&mut transaction, names.filter(|(old, new)| old != new), now).await?;
                    transaction.commit().await?;
                    let mut picture = self.inner.picture.write();
                    picture.number = number;
                    picture.now = picture.now.max(now);
                    let renamed = what.segments.iter().map(|meta| meta.id.clone()).zip(&ids);
                    renamed.filter(|(old, new)| old != *new).for_each(|(old, new)| picture.rename(old, new.clone()));
                    return Ok(Published::Renamed(ids));
                }
                change.append(connection, &what).await?;
            }
            PublishMode::Replace { intervals } => change.replace(connection, &what, intervals).await?,
        }

        let metas = change.inserted.iter().take(what.segments.len()).map(|record| record.meta.clone()).collect();
        move_positions(connection, &what).await?;
        for meta in &what.segments {
            free_name(connection, &meta.id).await?;
        }
        // Positions alone (where a first task starts) are nothing that a task could rest on.
        let is_work = what.supervisor.is_none() || !what.segments.is_empty();
        if is_work {
            tasks::set_published(connection, &what.task).await?;
        }
        transaction.commit().await?;

        let mut picture = self.inner.picture.write();
        picture.number = number;
        picture.retire(&change.retired);
        picture.insert(change.inserted);
        if let Some(task) = picture.tasks.get_mut(&what.task) {
            task.published |= is_work;
        }
        Ok(Published::Committed(metas))
    }

    /// Refuses tasks that their supervisor does not want any more: after a reset there may be no positions to compare.
    fn check_task(&self, what: &Publication, committed: &Positions) -> Result<()> {
        let picture = self.inner.picture.read();
        let Some(supervisor) = &what.supervisor else {
            return match picture.tasks.get(&what.task).filter(|task| task.is_discarded()) {
                Some(_) => Err(Error::Invalid(format!("task {} was cancelled", what.task))),
                None => Ok(()),
            };
        };
        let stale = |reason: String| {
            Err(Error::Stale { supervisor: Some(supervisor.clone()), reason, committed: committed.clone() })
        };
        let Some(task) = picture.tasks.get(&what.task).filter(|task| task.record.supervisor == what.supervisor) else {
            return stale(format!("task {} is not one of its running tasks", what.task));
        };
        if task.is_discarded() {
            return stale(format!("task {} was told to discard what it read", what.task));
        }
        let differs = |(key, from): (&String, &i64)| committed.0.get(key).is_some_and(|now| now != from);
        if let Some((key, from)) = what.from.0.iter().find(|entry| differs(*entry)) {
            return stale(format!("task {} started {key} at {from}", what.task));
        }
        let unknown = what.to.0.keys().find(|key| !what.from.0.contains_key(*key) && committed.0.contains_key(*key));
        if let Some(key) = unknown {
            return stale(format!("task {} does not say where it started {key}", what.task));
        }
        Ok(())
    }

    /// The used segments near those of the publication: all that can hide or be hidden.
    fn nearby(&self, what: &Publication) -> Timeline<SegmentRecord> {
        let mut windows: Vec<Interval> = what.segments.iter().map(|meta| meta.id.interval).collect();
        if let PublishMode::Replace { intervals } = &what.mode {
            windows.extend(intervals);
        }
        let mut nearby = Timeline::new();
        let picture = self.inner.picture.read();
        if let Some(segments) = picture.segments.get(&what.datasource) {
            for window in Interval::merge(&windows) {
                for (id, core, record) in segments.overlaps(window) {
                    nearby.add_partition(id.clone(), core, SegmentRecord::clone(record.as_ref()));
                }
            }
        }
        nearby
    }
}

fn check(what: &Publication) -> Result<()> {
    for meta in &what.segments {
        if meta.id.datasource != what.datasource {
            return Err(Error::Invalid(format!("segment {} is not one of datasource {}", meta.id, what.datasource)));
        }
        if meta.path.is_empty() {
            return Err(Error::Invalid(format!("segment {} has no path in deep storage", meta.id)));
        }
        if meta.id.interval.is_empty() {
            return Err(Error::Invalid(format!("segment {} has an empty interval", meta.id)));
        }
    }
    Ok(())
}

/// The metas of the publication if it was committed before.
async fn on_record(
    connection: &mut Session,
    what: &Publication,
    committed: &Positions,
) -> Result<Option<Vec<SegmentMeta>>> {
    let mut metas = Vec::with_capacity(what.segments.len());
    for meta in &what.segments {
        let Some(record) = rows::by_id(connection, &meta.id.to_string()).await? else { return Ok(None) };
        if record.meta.checksum != meta.checksum || record.meta.size_bytes != meta.size_bytes {
            return Err(Error::Invalid(format!("segment {} is published with other rows already", meta.id)));
        }
        metas.push(record.meta);
    }
    let reached = what.to.0.iter().all(|(key, to)| committed.0.get(key) == Some(to));
    // Without segments and without progress there is nothing to tell by, and nothing to repeat.
    let is_told = !metas.is_empty() || what.from != what.to;
    Ok((reached && is_told).then_some(metas))
}

async fn move_positions(connection: &mut Session, what: &Publication) -> Result<()> {
    let Some(supervisor) = &what.supervisor else { return Ok(()) };
    for (key, to) in &what.to.0 {
        set_position(connection, supervisor, key, *to).await?;
    }
    Ok(())
}

pub(super) async fn set_position(connection: &mut Session, supervisor: &str, key: &str, offset: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO positions (supervisor, partition_key, next_offset) VALUES ($1, $2, $3) \
         ON CONFLICT (supervisor, partition_key) DO UPDATE SET next_offset = excluded.next_offset",
    )
    .bind(supervisor)
    .bind(key)
    .bind(offset)
    .execute(connection)
    .await
    .map_err(failed("move positions"))?;
    Ok(())
}

async fn free_name(connection: &mut Session, id: &SegmentId) -> Result<()> {
    sqlx::query(
        "DELETE FROM pending WHERE datasource = $1 AND segment_start_ms = $2 AND segment_end_ms = $3 \
         AND version = $4 AND partition_num = $5",
    )
    .bind(id.datasource.as_str())
    .bind(id.interval.start)
    .bind(id.interval.end)
    .bind(id.version.as_str())
    .bind(i64::from(id.partition))
    .execute(connection)
    .await
    .map_err(failed("free a name"))?;
    Ok(())
}

/// What one publication does to the segments.
struct Change {
    datasource: String,
    nearby: Timeline<SegmentRecord>,
    /// Those published first, in their order, then further names of the same files.
    inserted: Vec<SegmentRecord>,
    retired: Vec<SegmentId>,
    number: i64,
    now: i64,
}

/// A part of a segment's interval that a newer version hides.
struct Hidden {
    part: Interval,
    version: String,
}

impl Change {
    /// New names for the segments, reserved, if any of them would be hidden whole by one newer version.
    async fn rename(&self, connection: &mut Session, what: &Publication) -> Result<Option<Vec<SegmentId>>> {
        let mut ids = Vec::with_capacity(what.segments.len());
        let mut renamed = false;
        for meta in &what.segments {
            let hidden = self.hidden(meta, meta.id.interval);
            let whole = hidden.iter().find(|hidden| hidden.part == meta.id.interval);
            let Some(whole) = whole else {
                ids.push(meta.id.clone());
                continue;
            };
            renamed = true;
            // The old name stays reserved: its rows are served under it until the task has heard of the new one, or
            // again after a crash.
            let wish = Allocation {
                task: what.task.clone(),
                node: what.node.clone(),
                attempt: what.attempt,
                datasource: self.datasource.clone(),
                sequence: format!("renamed {}", meta.id),
                interval: meta.id.interval,
                index: 0,
                fresh_version: false,
                at: None,
            };
            let given = given_before(connection, &wish, meta.id.interval.start).await?;
            if let Some(id) = given.filter(|id| id.version == whole.version) {
                ids.push(id);
                continue;
            }
            let partition =
                rows::next_partition(connection, &self.datasource, meta.id.interval, &whole.version).await?;
            let id = SegmentId { version: whole.version.clone(), partition, ..meta.id.clone() };
            reserve(connection, &wish, &id, self.number, self.now).await?;
            ids.push(id);
        }
        Ok(renamed.then_some(ids))
    }

    async fn append(&mut self, connection: &mut Session, what: &Publication) -> Result<()> {
        let would_be_hidden = |slice: &Slice<SegmentRecord>| {
            let hides = |id: &SegmentId| id.version > slice.id.version && id.interval.overlaps(&slice.interval);
            what.segments.iter().any(|meta| hides(&meta.id))
        };
        let mut seen_before = self.nearby.visible(Interval::ETERNITY);
        seen_before.retain(would_be_hidden);
        for meta in &what.segments {
            let core_partitions = self.core(meta.id.interval, &meta.id.version);
            let record = self.record(SegmentMeta { core_partitions, ..meta.clone() }, true);
            self.insert(connection, record).await?;
        }
        for record in self.inserted.clone() {
            self.add_parts(connection, &record, record.meta.id.interval).await?;
        }
        for slice in seen_before {
            self.add_parts(connection, &slice.item, slice.interval).await?;
        }
        Ok(())
    }

    async fn replace(&mut self, connection: &mut Session, what: &Publication, intervals: &[Interval]) -> Result<()> {
        let began = self.began(connection, what).await?;
        let older: Vec<SegmentRecord> = self.nearby.iter().map(|(_, record)| record.clone()).collect();
        let seen_before = self.nearby.visible(Interval::ETERNITY);
        for meta in &what.segments {
            let core_partitions = core_of(&what.segments, &meta.id);
            let record = self.record(SegmentMeta { core_partitions, ..meta.clone() }, false);
            self.insert(connection, record).await?;
        }

        let is_later = |record: &SegmentRecord| record.appended && record.number > began;
        for slice in seen_before.into_iter().filter(|slice| is_later(&slice.item)) {
            self.add_parts(connection, &slice.item, slice.interval).await?;
        }
        let newest = what.segments.iter().map(|meta| meta.id.version.as_str()).max();
        for record in older.iter().filter(|record| !is_later(record)) {
            if newest.is_none_or(|newest| record.meta.id.version.as_str() <= newest) {
                self.cut(connection, record, intervals).await?;
            }
        }
        Ok(())
    }

    /// The number of the replace's first reservation: what was written later, it has not seen.
    async fn began(&self, connection: &mut Session, what: &Publication) -> Result<i64> {
        let mut began = i64::MAX;
        for meta in &what.segments {
            let row = sqlx::query(
                "SELECT MIN(number) AS number FROM pending WHERE datasource = $1 AND version = $2 AND fresh = 1 \
                 AND segment_start_ms = $3 AND segment_end_ms = $4",
            )
            .bind(self.datasource.as_str())
            .bind(meta.id.version.as_str())
            .bind(meta.id.interval.start)
            .bind(meta.id.interval.end)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed("read pending names"))?;
            let number: Option<i64> = row.try_get("number").map_err(failed("read pending names"))?;
            began = began.min(number.unwrap_or(i64::MAX));
        }
        Ok(began)
    }

    /// Takes `intervals` out of what is seen of an older segment.
    async fn cut(&mut self, connection: &mut Session, record: &SegmentRecord, intervals: &[Interval]) -> Result<()> {
        let id = &record.meta.id;
        let remaining = without(id.interval, intervals);
        if remaining == [id.interval] {
            return Ok(());
        }
        // Where the new segments hide all that is to go, the timeline does it; the name can stay as it is.
        let taken = Interval::merge(intervals);
        let is_hidden = taken
            .iter()
            .map(|taken| taken.intersect(&id.interval))
            .filter(|taken| !taken.is_empty())
            .all(|taken| self.nearby.is_overshadowed(taken, &id.version));
        if is_hidden && !remaining.is_empty() {
            return Ok(());
        }
        for part in remaining {
            self.insert_part(connection, record, part, &id.version).await?;
        }
        rows::set_used(connection, &id.to_string(), false, self.now).await?;
        self.nearby.remove(id);
        self.retired.push(id.clone());
        Ok(())
    }

    /// Names the file of a segment again for each part of `within` that newer versions hide.
    async fn add_parts(&mut self, connection: &mut Session, record: &SegmentRecord, within: Interval) -> Result<()> {
        for hidden in self.hidden(&record.meta, within) {
            self.insert_part(connection, record, hidden.part, &hidden.version).await?;
        }
        Ok(())
    }

    async fn insert_part(
        &mut self,
        connection: &mut Session,
        of: &SegmentRecord,
        part: Interval,
        version: &str,
    ) -> Result<()> {
        let Some((first, last)) = of.meta.time_range else { return Ok(()) };
        let partition = rows::next_partition(connection, &self.datasource, part, version).await?;
        let meta = SegmentMeta {
            id: SegmentId { interval: part, version: version.to_string(), partition, ..of.meta.id.clone() },
            time_range: Some((first.max(part.start), last.min(part.end - 1))).filter(|(first, last)| first <= last),
            core_partitions: self.core(part, version),
            ..of.meta.clone()
        };
        // A part is as old as what it is a part of.
        let record = SegmentRecord { number: of.number, ..self.record(meta, of.appended) };
        self.insert(connection, record).await
    }

    async fn insert(&mut self, connection: &mut Session, record: SegmentRecord) -> Result<()> {
        rows::insert(connection, &record).await?;
        self.nearby.add_partition(record.meta.id.clone(), record.meta.core_partitions, record.clone());
        self.inserted.push(record);
        Ok(())
    }

    fn record(&self, meta: SegmentMeta, appended: bool) -> SegmentRecord {
        let (number, created_at, changed_at) = (self.number, self.now, self.now);
        SegmentRecord { meta, used: true, appended, number, created_at, changed_at }
    }

    /// The core of the set that is on record, 0 if there is none.
    fn core(&self, interval: Interval, version: &str) -> u32 {
        let same = |(id, core, _): (&SegmentId, u32, &SegmentRecord)| {
            (id.interval == interval && id.version == version).then_some(core)
        };
        self.nearby.overlaps(interval).filter_map(same).max().unwrap_or(0)
    }

    /// Parts of the segment within `within`, with rows in them, where newer versions are visible.
    fn hidden(&self, meta: &SegmentMeta, within: Interval) -> Vec<Hidden> {
        let Some((first, last)) = meta.time_range else { return Vec::new() };
        let rows = Interval { start: first, end: last.saturating_add(1) };
        let mut hidden: Vec<Hidden> = Vec::new();
        for slice in self.nearby.visible(within) {
            if slice.id.version <= meta.id.version || !slice.interval.overlaps(&rows) {
                continue;
            }
            let known: Vec<Interval> = hidden.iter().map(|hidden| hidden.part).collect();
            for part in without(slice.interval, &known) {
                hidden.push(Hidden { part, version: slice.id.version.clone() });
            }
        }
        hidden
    }
}

/// How many partitions the set was made of, if they are numbered without gaps: it is to be seen whole or not at all.
fn core_of(segments: &[SegmentMeta], id: &SegmentId) -> u32 {
    let mut partitions: Vec<u32> = segments
        .iter()
        .filter(|meta| meta.id.interval == id.interval && meta.id.version == id.version)
        .map(|meta| meta.id.partition)
        .collect();
    partitions.sort_unstable();
    let is_whole = partitions.iter().enumerate().all(|(at, partition)| at as u32 == *partition);
    if is_whole { partitions.len() as u32 } else { 0 }
}

/// What is left of an interval without others.
fn without(interval: Interval, taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut start = interval.start;
    for taken in Interval::merge(taken) {
        if taken.end <= start || taken.start >= interval.end {
            continue;
        }
        if taken.start > start {
            left.push(Interval { start, end: taken.start });
        }
        start = taken.end;
    }
    if start < interval.end {
        left.push(Interval { start, end: interval.end });
    }
    left
}
