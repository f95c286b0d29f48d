//! What the tests share: an open coordinator and things to give it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use henge_coordinator::{
    Allocation, Condition, Coordinator, Member, Phase, Positions, Publication, PublishMode, Reply, Report, Role,
    Served, Settings, SupervisorSpec, TaskProgress, TaskState,
};
use segment::{Interval, SegmentId, SegmentMeta};
use serde_json::{Value, json};

use crate::fresh::Fresh;

pub const SETTINGS: Settings = Settings {
    tasks_max: 8,
    task_failures_max: 3,
    restart_after_ms: 1000,
    restart_after_max_ms: 60_000,
    node_lease_ms: 1_000_000,
    return_ms: 0,
};

/// A test for each database: it is given an empty store.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => { $(mod $test {
        #[tokio::test]
        async fn on_sqlite() {
            super::$test(crate::fresh::Fresh::sqlite()).await;
        }

        #[tokio::test]
        async fn on_postgres() {
            if let Some(store) = crate::fresh::Fresh::postgres().await {
                super::$test(store).await;
            }
        }
    })+ };
}
pub(crate) use on_each_database;

pub async fn open(store: &Fresh) -> Coordinator {
    Coordinator::open_store(&store.address().parse().unwrap(), SETTINGS).await.unwrap()
}

pub fn interval(start: i64, end: i64) -> Interval {
    Interval { start, end }
}

pub fn wish(sequence: &str, start: i64, end: i64, index: u32) -> Allocation {
    Allocation {
        task: sequence.into(),
        node: "n".into(),
        attempt: 1,
        datasource: "d".into(),
        sequence: sequence.into(),
        interval: interval(start, end),
        index,
        fresh_version: false,
        at: None,
    }
}

pub fn meta(id: &SegmentId, checksum: u64) -> SegmentMeta {
    SegmentMeta {
        id: id.clone(),
        rows: 10,
        size_bytes: 1000,
        checksum,
        time_range: Some((id.interval.start, id.interval.end - 1)),
        dimensions: vec!["a".into()],
        metrics: vec![],
        path: format!("{checksum}.henge"),
        core_partitions: 0,
    }
}

pub fn positions(entries: &[(&str, i64)]) -> Positions {
    Positions(entries.iter().map(|(key, offset)| (key.to_string(), *offset)).collect())
}

/// A publication of a batch task.
pub fn batch(segments: Vec<SegmentMeta>, mode: PublishMode) -> Publication {
    Publication {
        task: "batch".into(),
        node: "n".into(),
        attempt: 1,
        supervisor: None,
        datasource: "d".into(),
        segments,
        from: Positions::default(),
        to: Positions::default(),
        mode,
    }
}

pub fn streamed(task: &str, segments: Vec<SegmentMeta>, from: Positions, to: Positions) -> Publication {
    let supervisor = Some("s".to_string());
    Publication { task: task.into(), supervisor, from, to, ..batch(segments, PublishMode::Append) }
}

pub fn spec(task_count: u32) -> SupervisorSpec {
    SupervisorSpec {
        id: "s".into(),
        datasource: "d".into(),
        kind: "kafka".into(),
        source: "topic".into(),
        document: json!({"type": "kafka", "taskCount": task_count}),
        task_count,
        suspended: false,
        scaling: None,
    }
}

pub fn progress(id: &str, state: TaskState) -> TaskProgress {
    TaskProgress {
        id: id.into(),
        attempt: 1,
        caught_up: false,
        done: false,
        state,
        phase: Phase::Reading,
        condition: Condition::Healthy,
        error: None,
        positions: Positions::default(),
        lag: BTreeMap::new(),
        report: Value::Null,
    }
}

/// Greater with every call, as of one process.
pub fn next_seq() -> u64 {
    static SEQ: AtomicU64 = AtomicU64::new(1);
    SEQ.fetch_add(1, Ordering::Relaxed)
}

/// A node of all roles.
pub fn member(node: &str) -> Member {
    Member { node: node.into(), process: 1, roles: Role::ALL.to_vec(), tasks_max: 8, ..Member::default() }
}

pub async fn report(coordinator: &Coordinator, tasks: Vec<TaskProgress>, now: i64) -> Reply {
    let report = Report { member: member("n"), seq: next_seq(), tasks, ..Report::default() };
    let reply = coordinator.heartbeat(report.clone(), now).await.unwrap();
    if !reply.wants_served {
        return reply;
    }
    let report = Report { seq: next_seq(), served: Some(Served::default()), ..report };
    let again = coordinator.heartbeat(report, now).await.unwrap();
    Reply { recorded: [reply.recorded, again.recorded].concat(), ..again }
}

pub async fn serve(coordinator: &Coordinator, published: Vec<SegmentId>, realtime: Vec<SegmentId>, now: i64) -> Reply {
    let served = Some(Served { published, realtime });
    let report = Report { member: member("n"), seq: next_seq(), served, ..Report::default() };
    coordinator.heartbeat(report, now).await.unwrap()
}

/// A supervisor with one running task, whose id is answered.
pub async fn running_task(coordinator: &Coordinator) -> String {
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    coordinator.cycle(1).await.unwrap();
    let task = coordinator.supervisor("s").unwrap().tasks[0].id.clone();
    report(coordinator, vec![], 1).await;
    report(coordinator, vec![progress(&task, TaskState::Running)], 1).await;
    task
}
