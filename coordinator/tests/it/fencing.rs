//! A leader that lost the lead changes nothing, whatever it is asked to write. Each way to write is tried in turn: by a
//! leader that was just deposed, which must be refused and leave every table as it is, and then by the one that follows
//! it, which must succeed. So the leader changes between any two writes of the whole life of a catalog, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use henge_coordinator::lease::Leases;
use henge_coordinator::{
    AlertChange, AlertRecord, AlertState, Allocation, Change, Coordinator, Error, NoticeOutcome, PublishMode, Result,
    Selection, SupervisorSpec, TaskState,
};
use segment::SegmentId;
use serde_json::{Value, json};

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(a_deposed_leader_changes_nothing);

const TTL: Duration = Duration::from_secs(600);

type Write = Box<dyn Fn(Coordinator, i64) -> BoxFuture<'static, Result<()>>>;

struct Step {
    /// The function that begins the transaction.
    site: &'static str,
    name: &'static str,
    write: Write,
    /// Whether it leaves another catalog than it found. One that has nothing to change must be refused nevertheless.
    changes: bool,
}

/// `site, |coordinator, now| call` as a step.
macro_rules! step {
    ($site:literal, |$coordinator:ident, $now:ident| $call:expr) => {
        Step {
            site: $site,
            name: stringify!($call),
            write: Box::new(move |$coordinator: Coordinator, $now: i64| async move { $call.await.map(drop) }.boxed()),
            changes: true,
        }
    };
}

fn id(start: i64, end: i64, version: i64) -> SegmentId {
    let version = segment::time::format_timestamp(version);
    SegmentId { datasource: "d".into(), interval: interval(start, end), version, partition: 0 }
}

fn task(id: &str) -> henge_coordinator::TaskRecord {
    henge_coordinator::TaskRecord {
        id: id.into(),
        group_id: id.into(),
        datasource: "d".into(),
        kind: "index".into(),
        supervisor: None,
        document: json!({"type": "index"}),
        group: 0,
        groups: 1,
        generation: 0,
        created_at: 5,
        follows: Vec::new(),
        poster: None,
    }
}

fn tells(task: &str, state: TaskState) -> henge_coordinator::Report {
    henge_coordinator::Report {
        member: member("n"),
        seq: next_seq(),
        served: Some(Default::default()),
        tasks: vec![progress(task, state)],
        ..Default::default()
    }
}

fn joins() -> henge_coordinator::Report {
    henge_coordinator::Report { tasks: vec![], ..tells("", TaskState::Running) }
}

fn document(name: &str, value: Option<Value>) -> Change {
    Change { kind: "role", name: name.into(), value, expected: None, history: true }
}

fn alert_turn(now: i64) -> AlertRecord {
    let state = AlertState { alert: "a".into(), turn: now, state: json!("firing") };
    let change = AlertChange { number: 1, at: now, change: json!({}), notices: vec![("c".into(), json!({}))] };
    AlertRecord { turns: vec![(state, vec![change])], ..Default::default() }
}

fn told(now: i64) -> NoticeOutcome {
    NoticeOutcome { alert: "a".into(), number: 1, channel: "c".into(), tries: 1, ended: Some(now), error: None }
}

/// Every way to write, in an order in which each has something to do. The n-th step is taken at the time n.
fn steps() -> Vec<Step> {
    const STREAMED: &str = "index_kafka_s_0_1";
    let fresh = || Allocation { fresh_version: true, ..wish("replace", 0, 24, 0) };
    let replace = || PublishMode::Replace { intervals: vec![interval(0, 24)] };
    let system = |id: &str| SupervisorSpec { id: id.into(), datasource: id.into(), ..spec(1) };
    vec![
        step!("keep_supervisor", |c, now| c.put_supervisor(spec(1), false, now)),
        step!("cycle_now", |c, now| c.cycle(now)),
        step!("record_tasks", |c, now| c.heartbeat(joins(), now)),
        step!("record_tasks", |c, now| c.heartbeat(tells(STREAMED, TaskState::Running), now)),
        step!("allocate_now", |c, now| c.allocate(wish("stream", 0, 24, 0), now)),
        step!("publish_now", |c, now| c.publish(
            streamed(STREAMED, vec![meta(&id(0, 24, 5), 1)], positions(&[("t:0", 0)]), positions(&[("t:0", 5)])),
            now
        )),
        step!("allocate_now", |c, now| c.allocate(wish("slow", 0, 24, 1), now)),
        step!("allocate_now", |c, now| c.allocate(fresh(), now)),
        step!("publish_now", |c, now| c.publish(batch(vec![meta(&id(0, 24, 8), 2)], replace()), now)),
        // It would be hidden: it is given another name, and nothing else changes.
        step!("publish_now", |c, now| c
            .publish(batch(vec![meta(&SegmentId { partition: 1, ..id(0, 24, 5) }, 3)], PublishMode::Append), now)),
        step!("retire", |c, now| c.mark_unused("d", Selection::All, now)),
        step!("mark_used", |c, now| c.mark_used("d", Selection::All, now)),
        Step { changes: false, ..step!("retire", |c, now| c.expire_system("__henge_journal", 50, now)) },
        step!("create_task", |c, now| c.create_task(task("one"), now)),
        step!("create_task", |c, now| c.create_task(task("two"), now)),
        step!("stop_tasks", |c, now| c.shutdown_task("one", now)),
        step!("stop_tasks", |c, now| c.shutdown_all_tasks("d", now)),
        step!("record_tasks", |c, now| c.heartbeat(tells(STREAMED, TaskState::Success), now)),
        step!("change", |c, now| c.suspend("s", now)),
        step!("change", |c, now| c.resume("s", now)),
        step!("reset_to", |c, now| c.reset_offsets("s", positions(&[("t:0", 7)]), now)),
        step!("reset_to", |c, now| c.reset("s", now)),
        step!("cycle_now", |c, now| c.cycle(now)),
        step!("change", |c, now| c.terminate("s", now)),
        step!("keep_supervisor", |c, now| c.put_system_supervisor(system("__henge_journal"), now)),
        step!("end_system_supervisor", |c, now| c.end_system_supervisor("__henge_journal", now)),
        step!("change_documents_now", |c, now| c.change_documents(vec![document("a", Some(json!(1)))], "ann", now)),
        step!("change_documents_now", |c, now| c.change_documents(vec![document("a", None)], "ann", now)),
        step!("record_alerts_now", |c, now| c.record_alerts(alert_turn(now))),
        step!("record_alerts_now", |c, now| c
            .record_alerts(AlertRecord { outcomes: vec![told(now)], ..Default::default() })),
        step!("record_alerts_now", |c, _now| c
            .record_alerts(AlertRecord { gone: vec!["a".into()], ..Default::default() })),
    ]
}

async fn a_deposed_leader_changes_nothing(store: Fresh) {
    let leases = Leases::open(&store.address().parse().unwrap()).await.unwrap();
    // Under one holder's name the lead goes over at once.
    let lead = async || Coordinator::lead(&leases, SETTINGS, "h", TTL, &json!(null)).await.unwrap().unwrap();
    let mut leader = lead().await;
    for (at, step) in steps().iter().enumerate() {
        let now = at as i64 + 1;
        let next = lead().await;
        assert_eq!(next.epoch(), leader.epoch() + 1);
        let before = store.dump().await;
        let refused = (step.write)(leader, now).await;
        assert!(matches!(refused, Err(Error::NotLeader(_))), "step {now}, {}: {refused:?}", step.name);
        assert_eq!(store.dump().await, before, "step {now}, {}, by a deposed leader", step.name);

        (step.write)(next.clone(), now).await.unwrap_or_else(|error| panic!("step {now}, {}: {error}", step.name));
        assert_eq!(store.dump().await != before, step.changes, "step {now}, {}, by the leader", step.name);
        leader = next;
    }
    let known: BTreeSet<String> = store.dump().await.keys().map(ToString::to_string).collect();
    let mut there: BTreeSet<String> = store.tables().await.into_iter().collect();
    assert!(there.remove("leases") && there.remove("_sqlx_migrations"));
    assert_eq!(known, there, "what is compared is all there is");
    leases.close().await;
}

/// A write transaction is begun by `turn.begin()` alone, which a fence is part of; and each function that does so is one of
/// the steps above.
#[test]
fn every_way_to_write_is_tried() {
    let mut sites: BTreeMap<String, usize> = BTreeMap::new();
    let mut unfenced = BTreeSet::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |file, text| {
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let mut function = "";
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("async fn ") {
                function = rest.split(['(', '<']).next().unwrap();
            }
            *sites.entry(function.to_string()).or_default() += line.matches("turn.begin()").count();
            let elsewhere =
                ["database.begin", "self.begin(", "begin_long(", "begin_on(", "begin_lease(", "begin_with("];
            if elsewhere.iter().any(|begin| line.contains(begin)) && !line.contains(" fn ") {
                unfenced.insert(format!("{file} {function}"));
            }
        }
    });
    sites.retain(|_, begins| *begins > 0);
    let tried: BTreeSet<String> = steps().iter().map(|step| step.site.to_string()).collect();
    assert_eq!(sites.keys().cloned().collect::<BTreeSet<_>>(), tried);
    assert!(sites.values().all(|begins| *begins == 1), "one step for two transactions: {sites:?}");
    let allowed = [
        "database.rs begin",
        "database.rs begin_lease",
        "database.rs begin_long",
        "database.rs begin_on",
        "database.rs bring_up_to_date",
        "lead.rs begin",
        "lead.rs load",
        "leases.rs acquire",
    ];
    assert_eq!(unfenced.iter().map(String::as_str).collect::<Vec<_>>(), allowed);
}

fn visit(folder: &Path, look: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, look);
        } else if path.file_name().unwrap() != "testing.rs" {
            look(path.file_name().unwrap().to_str().unwrap(), &std::fs::read_to_string(&path).unwrap());
        }
    }
}
