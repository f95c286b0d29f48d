//! Segments as people see them: listed, marked used and unused, and how much of them is served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use segment::timeline::Timeline;
use segment::{Interval, SegmentId, SegmentMeta, is_system};

use crate::Coordinator;
use crate::catalog::{SegmentRecord, rows};
use crate::error::{Error, Result};
use crate::plan::placement;
use crate::supervisors::refuse_system;

/// A segment on record.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRow {
    pub meta: SegmentMeta,
    pub used: bool,
    pub created_at: i64,
    /// When it was last marked used or unused.
    pub changed_at: i64,
}

/// How much is served of what is to be seen of a datasource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadStatus {
    /// Used segments that are not overshadowed and that rules have loaded somewhere.
    pub used: u64,
    pub served: u64,
    pub size_bytes: u64,
}

impl LoadStatus {
    pub fn percent(&self) -> f64 {
        if self.used == 0 { 100.0 } else { 100.0 * self.served as f64 / self.used as f64 }
    }
}

/// Which segments of a datasource to mark.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    All,
    /// Those that lie wholly in one of these.
    Intervals(Vec<Interval>),
    Ids(Vec<String>),
}

impl Coordinator {
    /// Whether a published segment is queryable on some node, or need not be: rules have it loaded nowhere, or it is no
    /// longer wanted while all that stands for it is served; and no view has its rows as unpublished ones any more. Then a
    /// task may let go of them.
    pub fn is_served(&self, id: &SegmentId) -> bool {
        let picture = self.inner.picture.read();
        if picture.standing.has_realtime(id) {
            return false;
        }
        let is_wanted = picture
            .segments
            .get(&id.datasource)
            .is_some_and(|timeline| timeline.get(id).is_some() && !timeline.is_overshadowed(id.interval, &id.version));
        if is_wanted { picture.fleet.is_settled(id) } else { picture.is_settled(id) }
    }

    /// The nodes that serve a published segment.
    pub fn served_by(&self, id: &SegmentId) -> Vec<String> {
        let picture = self.inner.picture.read();
        picture.serving(id)
    }

    /// Those with used segments; with `include_unused`, with any. Without the store's own.
    pub async fn datasources(&self, include_unused: bool) -> Result<Vec<String>> {
        if !include_unused {
            let picture = self.inner.picture.read();
            return Ok(picture.segments.keys().filter(|name| !is_system(name)).cloned().collect());
        }
        let mut connection = self.read().await?;
        let mut names = rows::datasources(&mut connection).await?;
        names.retain(|name| !is_system(name));
        Ok(names)
    }

    /// The used segments of a datasource, by interval, version and partition; overshadowed ones too.
    pub fn segments(&self, datasource: &str) -> Vec<SegmentMeta> {
        let picture = self.inner.picture.read();
        let timeline = picture.segments.get(datasource);
        timeline.into_iter().flat_map(Timeline::iter).map(|(_, record)| record.meta.clone()).collect()
    }

    pub fn overshadowed(&self, datasource: &str) -> Vec<SegmentId> {
        self.inner.picture.read().segments.get(datasource).map_or_else(Vec::new, Timeline::overshadowed)
    }

    /// By the text of its id.
    pub async fn segment(&self, id: &str) -> Result<SegmentRow> {
        let mut connection = self.read().await?;
        let record = rows::by_id(&mut connection, id).await?;
        record.map(SegmentRow::from).ok_or_else(|| Error::NotFound(format!("there is no segment {id}")))
    }

    /// Segments that are not used, in the order of their intervals, `most` at most.
    pub async fn unused_segments(
        &self,
        datasource: &str,
        within: Option<Interval>,
        most: usize,
    ) -> Result<Vec<SegmentRow>> {
        let mut connection = self.read().await?;
        let within = within.unwrap_or(Interval::ETERNITY);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let records = rows::unused(&mut connection, datasource, within, most).await?;
        Ok(records.into_iter().map(SegmentRow::from).collect())
    }

    /// By datasource, without the store's own.
    pub fn load_status(&self) -> BTreeMap<String, LoadStatus> {
        let mut picture = self.inner.picture.write();
        if let Some(now) = picture.fleet.ruled_at {
            placement::look(&mut picture, now);
        }
        let mut statuses = BTreeMap::new();
        for (datasource, tally) in picture.fleet.tallies().filter(|(name, tally)| !is_system(name) && tally.used > 0) {
            let status = LoadStatus {
                used: tally.wanted as u64,
                served: tally.served as u64,
                size_bytes: tally.wanted_bytes as u64,
            };
            statuses.insert(datasource.clone(), status);
        }
        statuses
    }

    /// Loads that failed and are retried: node, segment, reason.
    pub fn broken_loads(&self) -> Vec<(String, SegmentId, String)> {
        let picture = self.inner.picture.read();
        let mut broken = Vec::new();
        for (node, member) in &picture.members {
            broken.extend(member.broken.iter().map(|(id, load)| (node.clone(), id.clone(), load.reason.clone())));
        }
        broken
    }

    /// Marks segments used that are not, as far as no newer used one overshadows them. Answers how many were marked.
    pub async fn mark_used(&self, datasource: &str, selection: Selection, now: i64) -> Result<u64> {
        refuse_system(datasource)?;
        let (this, datasource) = (self.clone(), datasource.to_string());
        let marked = self
            .detached(async move {
                let turn = this.turn().await?;
                let mut store = turn.begin().await?;
                let mut unused = Vec::new();
                match &selection {
                    Selection::Ids(ids) => {
                        for id in ids {
                            let record = rows::by_id(&mut store, id).await?;
                            unused.extend(record.filter(|record| !record.used));
                        }
                    }
                    Selection::All => {
                        unused = rows::unused(&mut store, &datasource, Interval::ETERNITY, i64::MAX).await?
                    }
                    Selection::Intervals(intervals) => {
                        for within in Interval::merge(intervals) {
                            unused.extend(rows::unused(&mut store, &datasource, within, i64::MAX).await?);
                        }
                    }
                }
                unused.retain(|record| record.meta.id.datasource == datasource && selection.has(&record.meta.id));
                let visible = visible_with(&this, &datasource, &unused);
                unused.retain(|record| visible.contains(&record.meta.id));
                for record in &mut unused {
                    rows::set_used(&mut store, &record.meta.id.to_string(), true, now).await?;
                    record.used = true;
                    record.changed_at = now;
                }
                store.commit().await?;
                let marked = unused.len() as u64;
                this.inner.picture.write().insert(unused);
                Ok(marked)
            })
            .await?;
        self.wake();
        Ok(marked)
    }

    /// Takes segments out of use: nodes drop them, their files stay. Answers how many were marked.
    pub async fn mark_unused(&self, datasource: &str, selection: Selection, now: i64) -> Result<u64> {
        refuse_system(datasource)?;
        self.retire(datasource, selection, now).await
    }

    /// Takes segments of the store's own out of use that end before a time.
    pub async fn expire_system(&self, datasource: &str, before: i64, now: i64) -> Result<u64> {
        let within = Interval { start: Interval::ETERNITY.start, end: before };
        self.retire(datasource, Selection::Intervals(vec![within]), now).await
    }

    async fn retire(&self, datasource: &str, selection: Selection, now: i64) -> Result<u64> {
        let (this, datasource) = (self.clone(), datasource.to_string());
        let marked = self
            .detached(async move {
                let turn = this.turn().await?;
                let chosen: Vec<SegmentId> = {
                    let picture = this.inner.picture.read();
                    let timeline = picture.segments.get(&datasource);
                    let all = timeline.into_iter().flat_map(Timeline::iter).map(|(id, _)| id);
                    all.filter(|id| selection.has(id)).cloned().collect()
                };
                let mut store = turn.begin().await?;
                for id in &chosen {
                    rows::set_used(&mut store, &id.to_string(), false, now).await?;
                }
                store.commit().await?;
                this.inner.picture.write().retire(&chosen);
                Ok(chosen.len() as u64)
            })
            .await?;
        self.wake();
        Ok(marked)
    }
}

impl Selection {
    fn has(&self, id: &SegmentId) -> bool {
        match self {
            Selection::All => true,
            Selection::Intervals(intervals) => Interval::merge(intervals)
                .iter()
                .any(|within| within.start <= id.interval.start && id.interval.end <= within.end),
            Selection::Ids(ids) => ids.contains(&id.to_string()),
        }
    }
}

/// What would be visible in the datasource if these were used.
fn visible_with(coordinator: &Coordinator, datasource: &str, more: &[SegmentRecord]) -> BTreeSet<SegmentId> {
    let picture = coordinator.inner.picture.read();
    let mut timeline: Timeline<Arc<SegmentRecord>> = picture.segments.get(datasource).cloned().unwrap_or_default();
    for record in more {
        let (id, core) = (record.meta.id.clone(), record.meta.core_partitions);
        timeline.add_partition(id, core, Arc::new(record.clone()));
    }
    let overshadowed: BTreeSet<SegmentId> = timeline.overshadowed().into_iter().collect();
    timeline.iter().map(|(id, _)| id.clone()).filter(|id| !overshadowed.contains(id)).collect()
}

impl From<SegmentRecord> for SegmentRow {
    fn from(record: SegmentRecord) -> SegmentRow {
        SegmentRow {
            meta: record.meta,
            used: record.used,
            created_at: record.created_at,
            changed_at: record.changed_at,
        }
    }
}
