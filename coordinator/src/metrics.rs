//! Every series this crate records.

use metrics::gauge;

use crate::fleet::Fleet;

/// Name and meaning of each series.
pub const SERIES: &[(&str, &str)] = &[
    (SEGMENTS_USED, "used segments, by datasource"),
    (SEGMENTS_MISSING, "used segments that should be loaded and are served nowhere, by datasource"),
    (SEGMENTS_SHORT, "segments that lack copies in a tier, by tier"),
    (SEGMENTS_MOVING, "segments on their way from one node to another"),
    (TASKS_LIVE, "tasks that have not ended"),
    (SUPERVISORS, "supervisors that are not terminated"),
];

const SEGMENTS_USED: &str = "henge_coordinator_segments_used";
const SEGMENTS_MISSING: &str = "henge_coordinator_segments_missing";
const SEGMENTS_SHORT: &str = "henge_coordinator_segments_short";
const SEGMENTS_MOVING: &str = "henge_coordinator_segments_moving";
const TASKS_LIVE: &str = "henge_coordinator_tasks_live";
const SUPERVISORS: &str = "henge_coordinator_supervisors";

pub(crate) fn record(fleet: &Fleet, tasks: usize, supervisors: usize) {
    gauge!(TASKS_LIVE).set(tasks as f64);
    gauge!(SUPERVISORS).set(supervisors as f64);
    gauge!(SEGMENTS_MOVING).set(fleet.moves.len() as f64);
    for tier in &fleet.tiers {
        let short = tier.short.len() + tier.stuck.len() + tier.crowded.len();
        gauge!(SEGMENTS_SHORT, "tier" => tier.name.clone()).set(short as f64);
    }
    for (datasource, tally) in fleet.tallies() {
        gauge!(SEGMENTS_USED, "datasource" => datasource.clone()).set(tally.used as f64);
        gauge!(SEGMENTS_MISSING, "datasource" => datasource.clone()).set((tally.wanted - tally.served) as f64);
    }
}
