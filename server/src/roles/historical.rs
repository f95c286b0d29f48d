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
    /// Orders and repairs change what is served one after the other.
    turn: tokio::sync::Mutex<()>,
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
        Historical { inventory, cache, state: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Failures since the last call.
    pub fn take_broken(&self) -> Vec<(SegmentId, String)> {
        std::mem::take(&mut self.state.lock().broken)
    }

    /// Carries out the orders of one reply; whether anything changed.
    pub async fn carry_out(&self, loads: Vec<SegmentMeta>, drops: Vec<SegmentId>) -> bool {
        let _turn = self.turn.lock().await;
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

    /// A query met bytes that are not those that were written: fetches the broken copies anew. Whether each is whole now;
    /// one that deep storage cannot give whole is no longer served, and its interval is marked incomplete.
    pub async fn mend(&self) -> bool {
        let _turn = self.turn.lock().await;
        let mut all_whole = true;
        for segment in self.inventory.published().iter().filter(|segment| segment.is_broken()) {
            let Some(meta) = self.state.lock().metas.get(segment.id()).cloned() else { continue };
            tracing::error!(segment = %meta.id, "broken local copy, fetching it anew");
            metrics::counter!("henge_segment_repairs_total").increment(1);
            match self.cache.repair(&meta).await {
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
}
