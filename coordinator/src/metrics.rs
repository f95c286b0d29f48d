//! Every series this crate records.

use metrics::{counter, gauge};

use crate::node::Role;
use crate::picture::Picture;
use segment::is_system;

/// Name and meaning of each series.
pub const SERIES: &[(&str, &str)] = &[
    (SEGMENTS_USED, "used segments, by datasource"),
    (SEGMENTS_MISSING, "used segments that should be loaded and are served nowhere, by datasource"),
    (SEGMENTS_SHORT, "segments that lack copies in a tier, by tier"),
    (SEGMENTS_MOVING, "segments on their way from one node to another"),
    (TASKS_LIVE, "tasks that have not ended"),
    (TASKS_WAITING, "tasks that no node was given yet"),
    (SUPERVISORS, "supervisors that are not terminated"),
    (NODES, "nodes that are at work, by role"),
    (NODES_JOINED, "nodes that came, or came back"),
    (NODES_LOST, "nodes that were not heard of any more, said that they end, or came back as another process"),
    (EPOCH, "the epoch in which this process leads: each change of the lead begins another"),
];

const SEGMENTS_USED: &str = "henge_coordinator_segments_used";
const SEGMENTS_MISSING: &str = "henge_coordinator_segments_missing";
const SEGMENTS_SHORT: &str = "henge_coordinator_segments_short";
const SEGMENTS_MOVING: &str = "henge_coordinator_segments_moving";
const TASKS_LIVE: &str = "henge_coordinator_tasks_live";
const TASKS_WAITING: &str = "henge_coordinator_tasks_waiting";
const SUPERVISORS: &str = "henge_coordinator_supervisors";
const NODES: &str = "henge_coordinator_nodes";
const NODES_JOINED: &str = "henge_coordinator_nodes_joined_total";
const NODES_LOST: &str = "henge_coordinator_nodes_lost_total";
const EPOCH: &str = "henge_coordinator_epoch";

pub(crate) fn joined() {
    counter!(NODES_JOINED).increment(1);
}

pub(crate) fn lost() {
    counter!(NODES_LOST).increment(1);
}

/// What the store keeps of itself counts neither as a task nor as a supervisor.
pub(crate) fn record(picture: &Picture, epoch: i64) {
    let fleet = &picture.fleet;
    gauge!(EPOCH).set(epoch as f64);
    // There before anything has come or gone.
    counter!(NODES_JOINED).increment(0);
    counter!(NODES_LOST).increment(0);
    let tasks = || picture.tasks.values().filter(|task| !is_system(&task.record.datasource));
    gauge!(TASKS_LIVE).set(tasks().count() as f64);
    gauge!(TASKS_WAITING).set(tasks().filter(|task| task.node.is_none()).count() as f64);
    gauge!(SUPERVISORS).set(picture.supervisors.keys().filter(|id| !is_system(id)).count() as f64);
    gauge!(SEGMENTS_MOVING).set(fleet.moves.len() as f64);
    for role in Role::ALL {
        let nodes = picture.members.values().filter(|member| member.told.has(role)).count();
        gauge!(NODES, "role" => role.name()).set(nodes as f64);
    }
    for tier in &fleet.tiers {
        let short = tier.short.len() + tier.stuck.len() + tier.crowded.len();
        gauge!(SEGMENTS_SHORT, "tier" => tier.name.clone()).set(short as f64);
    }
    for (datasource, tally) in fleet.tallies() {
        gauge!(SEGMENTS_USED, "datasource" => datasource.clone()).set(tally.used as f64);
        gauge!(SEGMENTS_MISSING, "datasource" => datasource.clone()).set((tally.wanted - tally.served) as f64);
    }
}
