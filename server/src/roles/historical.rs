//! Serves published segments: carries out the coordinator's orders to load and drop, and mends what is found broken.
//!
//! All loads of one reply and then its drops become one change of the inventory. A segment that cannot be loaded leaves
//! its interval marked incomplete, so that no answer lacks rows without saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use segment::inventory::{Change, Inventory};
use segment::storage::cache::SegmentCache;
use segment::{Interval, SegmentId, SegmentMeta};

/// The owner of incomplete intervals that are this role's doing.
const OWNER: &str = "historical";

pub struct Historical {
    inventory: Arc<Inventory>,
    cache: SegmentCache,
    state: Mutex<State>,
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
    pub fn new(inventory: Arc<Inventory>, cache: SegmentCache) -> Historical {
        Historical { inventory, cache, state: Mutex::default() }
    }

    /// Failures since the last call.
    pub fn take_broken(&self) -> Vec<(SegmentId, String)> {
        std::mem::take(&mut self.state.lock().broken)
    }

    /// Carries out the orders of one reply; whether anything changed.
    pub async fn carry_out(&self, loads: Vec<SegmentMeta>, drops: Vec<SegmentId>) -> bool {
        let (mut changes, mut failed) = (Vec::new(), false);
        for meta in loads {
            match self.cache.load(&meta).await {
                Ok(segment) => {
                    tracing::info!(segment = %meta.id, rows = meta.rows, "segment loaded");
                    let mut state = self.state.lock();
                    state.missing.remove(&meta.id);
                    state.metas.insert(meta.id.clone(), meta.clone());
                    changes.push(Change::Load { meta, segment });
                }
                Err(error) => {
                    tracing::error!(segment = %meta.id, %error, "segment cannot be loaded");
                    failed = true;
                    let mut state = self.state.lock();
                    state.missing.insert(meta.id.clone());
                    state.broken.push((meta.id, error.to_string()));
                }
            }
        }
        if !failed {
            for id in drops {
                tracing::info!(segment = %id, "segment dropped");
                let mut state = self.state.lock();
                state.missing.remove(&id);
                if let Some(meta) = state.metas.remove(&id)
                    && let Err(error) = self.cache.drop_local(&meta)
                {
                    tracing::warn!(segment = %id, %error, "local copy not removed");
                }
                changes.push(Change::Retire(id));
            }
        }
        let changed = !changes.is_empty();
        changes.extend(self.incomplete());
        if !changes.is_empty() {
            self.inventory.apply(changes);
        }
        changed
    }

    /// For each datasource concerned now or before, the intervals that lack a segment.
    fn incomplete(&self) -> Vec<Change> {
        let mut by_datasource: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
        for (datasource, owner, _) in self.inventory.incomplete() {
            if owner == OWNER {
                by_datasource.insert(datasource, Vec::new());
            }
        }
        for id in &self.state.lock().missing {
            by_datasource.entry(id.datasource.clone()).or_default().push(id.interval);
        }
        let change = |(datasource, intervals)| Change::Incomplete { datasource, owner: OWNER.into(), intervals };
        by_datasource.into_iter().map(change).collect()
    }

    /// A query met bytes that are not what was written: reads every copy of its datasource, and fetches the broken ones
    /// anew.
    pub async fn mend(&self, datasource: &str) {
        let metas: Vec<SegmentMeta> =
            self.state.lock().metas.values().filter(|m| m.id.datasource == datasource).cloned().collect();
        for meta in metas {
            let path = self.cache.path(&meta);
            let checked = tokio::task::spawn_blocking(move || segment::file::verify(&path)).await;
            let Ok(Err(error)) = checked else { continue };
            tracing::error!(segment = %meta.id, %error, "broken local copy, fetching it anew");
            match self.cache.repair(&meta).await {
                Ok(segment) => self.inventory.apply(vec![Change::Load { meta, segment }]),
                Err(error) => {
                    tracing::error!(segment = %meta.id, %error, "deep storage has no whole copy");
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
    }
}
