//! Every series this crate records.

use metrics::gauge;

use crate::picture::Picture;

/// Name and meaning of each series.
pub const SERIES: &[(&str, &str)] = &[
    (SEGMENTS_USED, "used segments, by datasource"),
    (SEGMENTS_MISSING, "used segments that are not overshadowed and served nowhere, by datasource"),
    (TASKS_LIVE, "tasks that have not ended"),
    (SUPERVISORS, "supervisors that are not terminated"),
];

const SEGMENTS_USED: &str = "henge_coordinator_segments_used";
const SEGMENTS_MISSING: &str = "henge_coordinator_segments_missing";
const TASKS_LIVE: &str = "henge_coordinator_tasks_live";
const SUPERVISORS: &str = "henge_coordinator_supervisors";

pub(crate) fn record(picture: &Picture) {
    gauge!(TASKS_LIVE).set(picture.tasks.len() as f64);
    gauge!(SUPERVISORS).set(picture.supervisors.len() as f64);
    for (datasource, timeline) in &picture.segments {
        let missing = timeline
            .iter()
            .filter(|(id, _)| !picture.is_served(id) && !timeline.is_overshadowed(id.interval, &id.version))
            .count();
        gauge!(SEGMENTS_USED, "datasource" => datasource.clone()).set(timeline.len() as f64);
        gauge!(SEGMENTS_MISSING, "datasource" => datasource.clone()).set(missing as f64);
    }
}
