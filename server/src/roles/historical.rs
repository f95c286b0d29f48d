//! Serves published segments: carries out the coordinator's orders to load and drop, and mends what is found broken.
//!
//! All loads of one reply and then its drops become one change of the inventory, or none of them if a load fails: names
//! of the same rows come and go together. Until the next reply has the others again, what is not served in any form
//! leaves its interval marked incomplete, so that no answer lacks rows without saying so. Among others the leader does that.
//!
//! Copies of the last run are served as they are, without reading them first: what a query touches is checked as it goes,
//! and [`Historical::verify`] reads the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use segment::inventory::{Change, Inventory};
use segment::storage::cache::{Counts, SegmentCache};
use segment::{Interval, SegmentId, SegmentMeta};

use crate::traces::Traces;

/// The owner of incomplete intervals that are this role's doing.
const OWNER: &str = "historical";

/// How long until copies that were loaded meanwhile are looked at. The first time comes after the node's start, which is
/// when the disk has most to do.
const VERIFY_EVERY: Duration = Duration::from_secs(60);

/// Segments that are fetched and opened at once: a node that takes the lead may have no copy of any.
const LOADS_AT_ONCE: usize = 4;

pub struct Historical {
    inventory: Arc<Inventory>,
    cache: SegmentCache,
    /// Whether others serve segments too: then what is missing here need not be missing, and it is the leader who tells.
    is_among_others: bool,
    state: Mutex<State>,
    /// Orders and repairs change what is served one after the other.
    turn: tokio::sync::Mutex<()>,
    /// One reads copies at a time.
    verifying: tokio::sync::Mutex<()>,
    traces: Traces,
}

#[derive(Default)]
struct State {
    /// What is served from files, for repair.
    metas: BTreeMap<SegmentId, SegmentMeta>,
    /// What should be served and cannot be.
    missing: BTreeSet<SegmentId>,
    /// Failures to tell with the next report.
    broken: Vec<(SegmentId, String)>,
}

impl Historical {
    pub fn new(inventory: Arc<Inventory>, cache: SegmentCache, is_among_others: bool, traces: Traces) -> Historical {
        Historical {
            inventory,
            cache,
            is_among_others,
            state: Mutex::default(),
            turn: Default::default(),
            verifying: Default::default(),
            traces,
        }
    }

    /// Failures since the last call.
    pub fn take_broken(&self) -> Vec<(SegmentId, String)> {
        std::mem::take(&mut self.state.lock().broken)
    }

    /// Carries out the orders of one reply. Whether there is something to report at once: what changed, or what failed.
    pub async fn carry_out(&self, mut loads: Vec<SegmentMeta>, drops: Vec<SegmentId>) -> bool {
        let _turn = self.turn.lock().await;
        if loads.is_empty() && drops.is_empty() {
            return false;
        }
        // What is here is taken first, before room for others is made of it.
        loads.sort_by_key(|meta| !self.cache.holds(meta));
        let (mut opened, mut broken) = (Vec::with_capacity(loads.len()), Vec::new());
        let loading: Vec<_> = loads
            .iter()
            .map(|meta| async {
                let _step = self.traces.segment(&meta.id, "load", meta.rows);
                self.cache.load(meta).await
            })
            .collect();
        let mut loaded = futures::stream::iter(loading).buffered(LOADS_AT_ONCE);
        for meta in &loads {
            let Some(segment) = loaded.next().await else { break };
            match segment {
                Ok(segment) => opened.push(segment),
                Err(error) => {
                    tracing::error!(segment = %meta.id, %error, "segment cannot be loaded");
                    broken.push((meta.id.clone(), error.to_string()));
                }
            }
        }
        drop(loaded);
        let mut changes = Vec::new();
        if broken.is_empty() {
            let mut state = self.state.lock();
            for (meta, segment) in loads.into_iter().zip(opened) {
                tracing::info!(segment = %meta.id, rows = meta.rows, "segment loaded");
                state.missing.remove(&meta.id);
                state.metas.insert(meta.id.clone(), meta.clone());
                changes.push(Change::Load { meta, segment });
            }
            for id in drops {
                tracing::info!(segment = %id, "segment dropped");
                state.missing.remove(&id);
                if let Some(meta) = state.metas.remove(&id)
                    && let Err(error) = self.cache.drop_local(&meta)
                {
                    tracing::warn!(segment = %id, %error, "local copy not removed");
                }
                changes.push(Change::Retire(id));
            }
        } else {
            let mut state = self.state.lock();
            // Copies that are not served may go if they are not ordered again.
            loads.iter().filter(|meta| !state.metas.contains_key(&meta.id)).for_each(|meta| self.cache.release(meta));
            state.missing.extend(loads.into_iter().map(|meta| meta.id));
            state.broken.extend(broken);
        }
        changes.extend(self.incomplete());
        if !changes.is_empty() {
            self.inventory.apply(changes);
        }
        true
    }

    /// For each datasource concerned now or before, the intervals that lack a segment.
    fn incomplete(&self) -> Vec<Change> {
        if self.is_among_others {
            return Vec::new();
        }
        let mut by_datasource: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
        for (datasource, owner, _) in self.inventory.incomplete() {
            if owner == OWNER {
                by_datasource.insert(datasource, Vec::new());
            }
        }
        // Rows that a task still serves are not missing.
        let is_at_a_task = |id: &SegmentId| self.inventory.serves(id) && !self.inventory.serves_published(id);
        for id in self.state.lock().missing.iter().filter(|id| !is_at_a_task(id)) {
            by_datasource.entry(id.datasource.clone()).or_default().push(id.interval);
        }
        let change = |(datasource, intervals)| Change::Incomplete { datasource, owner: OWNER.into(), intervals };
        by_datasource.into_iter().map(change).collect()
    }

    /// A query met bytes that are not those that were written: fetches the broken copies anew. Whether each is whole now;
    /// one that deep storage cannot give whole is no longer served, and its interval is marked incomplete.
    pub async fn mend(&self) -> bool {
        let _turn = self.turn.lock().await;
        let mut all_whole = true;
        for segment in self.inventory.published().iter().filter(|segment| segment.is_broken()) {
            let Some(meta) = self.state.lock().metas.get(segment.id()).cloned() else { continue };
            tracing::error!(segment = %meta.id, "broken local copy, fetching it anew");
            metrics::counter!("henge_segment_repairs_total").increment(1);
            match self.cache.load(&meta).await {
                Ok(segment) => self.inventory.apply(vec![Change::Load { meta, segment }]),
                Err(error) => {
                    tracing::error!(segment = %meta.id, %error, "no whole copy can be had");
                    all_whole = false;
                    let mut state = self.state.lock();
                    state.missing.insert(meta.id.clone());
                    state.broken.push((meta.id.clone(), error.to_string()));
                    drop(state);
                    let mut changes = vec![Change::Retire(meta.id)];
                    changes.extend(self.incomplete());
                    self.inventory.apply(changes);
                }
            }
        }
        all_whole
    }

    /// Reads what is served from copies of the last run as a whole, at the cache's pace, and mends what is broken. Copies
    /// that were read or fetched in this run are passed over, so it may be called again and again. Ends early if dropped.
    pub async fn verify(&self) {
        let _verifying = self.verifying.lock().await;
        let metas: Vec<SegmentMeta> = self.state.lock().metas.values().cloned().collect();
        for meta in metas {
            match self.cache.verify(&meta).await {
                Ok(true) => {}
                Ok(false) => {
                    self.mend().await;
                }
                Err(error) => tracing::warn!(segment = %meta.id, %error, "local copy not verified"),
            }
        }
    }

    /// Calls [`Historical::verify`] as long as the role is there.
    pub async fn keep_verified(historical: Weak<Historical>) {
        loop {
            tokio::time::sleep(VERIFY_EVERY).await;
            let Some(historical) = historical.upgrade() else { return };
            historical.verify().await;
        }
    }

    /// For the metrics of the process.
    pub fn counts(&self) -> Counts {
        self.cache.counts()
    }
}

#[cfg(test)]
mod tests {
    use segment::Granularity;
    use segment::realtime::RealtimeIndex;
    use segment::row::RowBatch;
    use segment::schema::{Discovery, Schema};
    use segment::storage::cache::CacheSettings;
    use segment::storage::deep::DeepStorage;

    use super::*;

    fn id(partition: u32) -> SegmentId {
        let interval = Interval { start: 0, end: 1000 };
        SegmentId { datasource: "d".into(), interval, version: "v".into(), partition }
    }

    #[tokio::test]
    async fn a_load_that_fails_keeps_the_others_back_and_what_is_missing_is_named() {
        let disk = tempfile::tempdir().unwrap();
        let deep = DeepStorage::local(&disk.path().join("deep")).unwrap();
        let schema = Schema {
            dimensions: Vec::new(),
            discovery: Discovery::None,
            exclusions: Vec::new(),
            metrics: Vec::new(),
            rollup: false,
            query_granularity: Granularity::None,
        };
        let mut metas = Vec::new();
        for partition in 0..2 {
            let folder = disk.path().join(partition.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            let index = RealtimeIndex::new(id(partition), schema.clone(), folder.clone(), Vec::new()).unwrap();
            let mut batch = RowBatch::new();
            batch.finish_row(5);
            index.append(&batch, &[0]).unwrap();
            let meta = index.freeze(&folder.join("final.seg")).unwrap();
            metas.push(deep.push(&folder.join("final.seg"), meta).await.unwrap());
        }
        let inventory = Arc::new(Inventory::new());
        let settings =
            CacheSettings { folder: disk.path().join("cache"), bytes_max: u64::MAX, verify_bytes_per_second: u64::MAX };
        let cache = SegmentCache::open(settings, deep.clone()).unwrap();
        let historical = Historical::new(inventory.clone(), cache, false, Traces::default());
        let file = deep.local_path(&metas[1]).unwrap();
        let away = file.with_extension("away");
        std::fs::rename(&file, &away).unwrap();

        assert!(historical.carry_out(metas.clone(), vec![]).await, "the failure is told at once");
        assert!(inventory.published_ids().is_empty());
        let missing =
            |inventory: &Inventory| inventory.incomplete().into_iter().map(|(_, _, i)| i.len()).sum::<usize>();
        assert_eq!(missing(&inventory), 2);
        assert_eq!(historical.take_broken()[0].0, id(1));

        assert!(historical.carry_out(metas[..1].to_vec(), vec![]).await);
        assert_eq!((inventory.published_ids(), missing(&inventory)), (vec![id(0)], 1));

        std::fs::rename(&away, &file).unwrap();
        assert!(historical.carry_out(metas[1..].to_vec(), vec![]).await);
        assert_eq!((inventory.published_ids().len(), missing(&inventory)), (2, 0));
        assert!(!historical.carry_out(vec![], vec![]).await);
    }
}
