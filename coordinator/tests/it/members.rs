//! Nodes that come, go, come again, and tell things twice; and what becomes of their tasks.

use henge_coordinator::lease::Leases;
use henge_coordinator::{
    Allocation, Change, Command, Coordinator, Error, Member, Publication, PublishMode, Reply, Report, Role, Served,
    Settings, StopReason, SupervisorSpec, TaskState, View, ViewNumber, home_of, of_node,
};
use segment::{Interval, SegmentId};
use serde_json::json;
use std::time::Duration;

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    a_lost_nodes_tasks_go_elsewhere_and_what_it_had_counts_no_more,
    a_deposed_attempt_writes_nothing,
    a_restarted_node_gets_its_tasks_again,
    a_clock_that_is_set_back_keeps_nobody_from_being_missed,
    reports_that_come_twice_or_late_change_nothing,
    a_new_leader_waits_for_the_nodes_that_there_were,
    a_report_from_before_a_leader_counts_for_nothing,
    who_stands_by_follows_documents_and_takes_the_lead,
    a_node_that_ends_in_good_order_is_not_waited_for,
    a_node_that_leaves_hands_its_tasks_over,
    what_reads_on_where_another_ended_outlives_the_leader,
    what_one_node_has_is_read_there_and_nowhere_else,
);

const LEASE: i64 = 8_000;

/// A node under test: reports in order.
struct Node {
    member: Member,
    seq: u64,
    served: Served,
    tasks: Vec<henge_coordinator::TaskProgress>,
    leaving: bool,
    heard: i64,
}

impl Node {
    fn new(name: &str, process: u64) -> Node {
        let member = Member { process, address: format!("{name}:1"), ..member(name) };
        Node { member, seq: 0, served: Served::default(), tasks: Vec::new(), leaving: false, heard: 0 }
    }

    fn report(&mut self) -> Report {
        self.seq += 1;
        Report {
            member: self.member.clone(),
            seq: self.seq,
            heard: Some(self.heard),
            served: Some(self.served.clone()),
            tasks: self.tasks.clone(),
            leaving: self.leaving,
            ..Report::default()
        }
    }

    async fn beat(&mut self, coordinator: &Coordinator, now: i64) -> Reply {
        loop {
            let report = self.report();
            let reply = coordinator.heartbeat(report, now).await.unwrap();
            self.heard = reply.epoch;
            if !reply.is_strange {
                return reply;
            }
        }
    }

    /// Reports, and runs the tasks that it is told to.
    async fn work(&mut self, coordinator: &Coordinator, now: i64) -> Vec<(String, i64)> {
        let mut started = Vec::new();
        for command in self.beat(coordinator, now).await.commands {
            if let Command::StartTask { task, attempt } = command {
                let running = progress(&task.id, TaskState::Running);
                self.tasks.push(henge_coordinator::TaskProgress { attempt, ..running });
                started.push((task.id, attempt));
            }
        }
        self.beat(coordinator, now).await;
        started
    }
}

async fn open_leased(store: &Fresh) -> Coordinator {
    let settings = Settings { node_lease_ms: LEASE, ..SETTINGS };
    Coordinator::open_store(&store.address().parse().unwrap(), settings).await.unwrap()
}

fn rows(partition: u32) -> SegmentId {
    SegmentId { datasource: "d".into(), interval: interval(0, 24), version: "v".into(), partition }
}

fn is_incomplete(view: &View) -> bool {
    view.tables.get("d").is_some_and(|table| table.incomplete == [Interval::ETERNITY])
}

fn counted(view: &View) -> Vec<(SegmentId, String)> {
    let table = view.tables.get("d");
    table.into_iter().flat_map(|table| table.realtime.clone()).collect()
}

/// Two nodes with a running task each, that have caught up.
async fn two(coordinator: &Coordinator) -> (Node, Node) {
    let (mut a, mut b) = (Node::new("a", 1), Node::new("b", 2));
    a.beat(coordinator, 1).await;
    b.beat(coordinator, 1).await;
    coordinator.put_supervisor(spec(2), false, 1).await.unwrap();
    coordinator.cycle(1).await.unwrap();
    assert_eq!(a.work(coordinator, 1).await, [("index_kafka_s_0_1".to_string(), 1)]);
    assert_eq!(b.work(coordinator, 1).await, [("index_kafka_s_1_2".to_string(), 1)]);
    for (node, partition) in [(&mut a, 0), (&mut b, 1)] {
        node.served.realtime = vec![rows(partition)];
        node.tasks[0].caught_up = true;
        node.beat(coordinator, 1).await;
    }
    assert!(!is_incomplete(&coordinator.view()));
    assert_eq!(counted(&coordinator.view()), [(rows(0), "a".into()), (rows(1), "b".into())]);
    (a, b)
}

async fn a_lost_nodes_tasks_go_elsewhere_and_what_it_had_counts_no_more(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    assert!(a.beat(&coordinator, LEASE).await.commands.is_empty(), "b is late, not lost");
    assert_eq!(counted(&coordinator.view()).len(), 2);

    assert_eq!(a.work(&coordinator, LEASE + 1).await, [("index_kafka_s_1_2".to_string(), 2)]);
    let view = coordinator.view();
    assert_eq!(counted(&view), [(rows(0), "a".into())]);
    assert!(is_incomplete(&view) && !view.nodes.contains_key("b"));

    // It wakes up: what it has does not count, and is to go; its task is to stop.
    let reply = b.beat(&coordinator, LEASE + 2).await;
    let stop = Command::StopTask { task: "index_kafka_s_1_2".into(), reason: StopReason::Shutdown };
    assert_eq!(reply.commands, [stop, Command::Drop(rows(1))]);
    assert_eq!(counted(&coordinator.view()), [(rows(0), "a".into())]);

    // The mark goes when the new attempt has caught up, with the names that it reports.
    a.served.realtime.push(rows(2));
    a.beat(&coordinator, LEASE + 3).await;
    assert!(is_incomplete(&coordinator.view()));
    a.tasks[1].caught_up = true;
    a.beat(&coordinator, LEASE + 3).await;
    let view = coordinator.view();
    assert!(!is_incomplete(&view));
    assert_eq!(counted(&view), [(rows(0), "a".into()), (rows(2), "a".into())]);

    // Once it is empty it takes tasks again.
    b.served.realtime.clear();
    b.tasks.clear();
    b.beat(&coordinator, LEASE + 4).await;
    let mut task = fencing_task("batch");
    task.created_at = 9;
    coordinator.create_task(task, 9).await.unwrap();
    assert_eq!(b.work(&coordinator, LEASE + 5).await, [("batch".to_string(), 1)]);
}

fn fencing_task(id: &str) -> henge_coordinator::TaskRecord {
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

/// Every way in which a task writes, each in turn by the attempt that was followed, which must change nothing, and then by
/// the one that follows it. Before each, the task goes to the other node.
async fn a_deposed_attempt_writes_nothing(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let mut nodes = [Node::new("a", 1), Node::new("b", 2)];
    for id in ["batch", "other"] {
        coordinator.create_task(fencing_task(id), 1).await.unwrap();
    }
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    coordinator.cycle(1).await.unwrap();
    let streamed_task = "index_kafka_s_0_1";
    let names = [wish("x", 0, 24, 0), wish("x", 0, 24, 1), Allocation { fresh_version: true, ..wish("y", 0, 24, 0) }];
    let mut now = 10;
    let mut before: Option<(&str, i64)> = None;
    let mut given: Vec<SegmentId> = Vec::new();
    for step in 0..7 {
        // The one that runs them falls silent, and the other one takes both.
        now += 2 * LEASE;
        let (node, attempt) = (["a", "b"][step % 2], step as i64 + 1);
        let mut fresh = Node::new(node, 100 + step as u64);
        std::mem::swap(&mut nodes[step % 2], &mut fresh);
        let started = nodes[step % 2].work(&coordinator, now).await;
        // What published needs no other attempt.
        let batch_task = if step < 5 { "batch" } else { "other" };
        let task = if step % 2 == 0 { batch_task } else { streamed_task };
        assert!(started.contains(&(task.to_string(), attempt)), "step {step}: {started:?}");
        let attempts = before.into_iter().map(|before| (before, false)).chain([((node, attempt), true)]);
        for ((node, attempt), may) in attempts {
            let tables = store.dump().await;
            let allocation =
                |at: usize| Allocation { task: task.into(), node: node.into(), attempt, ..names[at].clone() };
            let by = |what: Publication| Publication { task: task.into(), node: node.into(), attempt, ..what };
            let from_to = || (positions(&[("t:0", 0)]), positions(&[("t:0", 5)]));
            let replace = PublishMode::Replace { intervals: vec![interval(0, 24)] };
            let done = match step {
                0 => coordinator.allocate(allocation(0), now).await.map(|id| given.push(id)),
                1 => {
                    let nothing = streamed(task, vec![], positions(&[]), positions(&[("t:0", 0)]));
                    coordinator.publish(by(nothing), now).await.map(drop)
                }
                2 => coordinator.allocate(allocation(2), now).await.map(|id| given.push(id)),
                3 => {
                    let (from, to) = from_to();
                    let what = streamed(task, vec![meta(&given[0], 1)], from, to);
                    coordinator.publish(by(what), now).await.map(drop)
                }
                4 => coordinator.publish(by(batch(vec![meta(&given[1], 2)], replace)), now).await.map(drop),
                5 => coordinator.allocate(allocation(1), now).await.map(drop),
                // Of a name that a newer version hides.
                _ => {
                    let hidden = SegmentId { partition: 7, ..given[0].clone() };
                    coordinator.publish(by(batch(vec![meta(&hidden, 3)], PublishMode::Append)), now).await.map(drop)
                }
            };
            let changed = store.dump().await != tables;
            match may {
                true => assert!(done.is_ok() && changed, "step {step}: {done:?}"),
                false => assert!(matches!(done, Err(Error::Stale { .. })) && !changed, "step {step}: {done:?}"),
            }
        }
        before = Some((node, attempt));
    }
    // A number that was never given, the right one of another node, and a name that was given before.
    let (node, attempt) = before.unwrap();
    for (node, attempt) in [(node, attempt + 1), (node, 0), ("b", attempt), ("", attempt)] {
        let what = Allocation { task: streamed_task.into(), node: node.into(), attempt, ..wish("x", 0, 24, 1) };
        assert!(matches!(coordinator.allocate(what, now).await, Err(Error::Stale { .. })), "{node} {attempt}");
    }
}

async fn a_restarted_node_gets_its_tasks_again(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (_, b) = two(&coordinator).await;
    let mut again = Node::new("b", 7);
    assert_eq!(again.work(&coordinator, 2).await, [("index_kafka_s_1_2".to_string(), 2)]);
    assert!(is_incomplete(&coordinator.view()), "what it had read is read again");
    assert_eq!(counted(&coordinator.view()), [(rows(0), "a".into())]);
    // What was restored there counts again.
    again.served.realtime = vec![rows(1)];
    again.tasks[0].caught_up = true;
    again.beat(&coordinator, 3).await;
    assert!(!is_incomplete(&coordinator.view()));
    assert_eq!(counted(&coordinator.view()).len(), 2);

    // The process before it is heard of late.
    let late = Report {
        member: b.member.clone(),
        heard: Some(b.heard),
        seq: b.seq + 1,
        tasks: b.tasks.clone(),
        ..Report::default()
    };
    assert!(matches!(coordinator.heartbeat(late, 4).await, Err(Error::Conflict(_))));
    assert_eq!(coordinator.view().nodes["b"].process, 7);
    assert!(again.beat(&coordinator, 5).await.commands.is_empty());
}

async fn a_clock_that_is_set_back_keeps_nobody_from_being_missed(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = (Node::new("a", 1), Node::new("b", 2));
    let before = 100 * LEASE;
    a.beat(&coordinator, before).await;
    b.beat(&coordinator, before).await;
    let set_back = before - 50 * LEASE;
    a.beat(&coordinator, set_back).await;
    assert_eq!(coordinator.view().nodes.len(), 2, "both were heard of just now");
    a.beat(&coordinator, set_back + LEASE - 1).await;
    assert_eq!(coordinator.view().nodes.len(), 2);
    a.beat(&coordinator, set_back + LEASE).await;
    assert_eq!(coordinator.view().nodes.keys().collect::<Vec<_>>(), ["a"]);
}

async fn reports_that_come_twice_or_late_change_nothing(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    let old = a.report();
    coordinator.heartbeat(old.clone(), 2).await.unwrap();
    a.served.realtime = vec![rows(3)];
    let broken = vec![(rows(9), "no luck".to_string())];
    let new = Report { broken, ..a.report() };
    let answer = coordinator.heartbeat(new.clone(), 3).await.unwrap();
    assert!(!answer.wants_served);
    let (view, dump) = (coordinator.view(), store.dump().await);
    let mut changed = coordinator.watch_view();
    changed.mark_unchanged();
    for report in [&old, &new, &new, &old] {
        let reply = coordinator.heartbeat(report.clone(), 4).await.unwrap();
        assert!(reply.commands.is_empty() && reply.recorded.is_empty());
    }
    assert_eq!((coordinator.view().number, store.dump().await), (view.number, dump));
    assert!(!changed.has_changed().unwrap());

    // A report from before its loss does not bring a node back.
    let before = b.report();
    a.beat(&coordinator, 2 * LEASE).await;
    let old = Report { seq: before.seq - 1, ..before.clone() };
    assert!(matches!(coordinator.heartbeat(old, 2 * LEASE).await, Err(Error::Conflict(_))));
    assert!(!coordinator.view().nodes.contains_key("b"));
    coordinator.heartbeat(before, 2 * LEASE).await.unwrap();
    assert!(coordinator.view().nodes.contains_key("b"));
}

async fn a_report_from_before_a_leader_counts_for_nothing(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    let late = b.report();
    coordinator.heartbeat(late.clone(), 2).await.unwrap();
    // Rows that are seen from here on.
    b.served.realtime.push(rows(2));
    b.beat(&coordinator, 3).await;
    let last = coordinator.view();
    assert_eq!(counted(&last).len(), 3);

    let next = open_leased(&store).await;
    a.beat(&next, 5).await;
    // It was on its way to the leader before, and comes to this one.
    let reply = next.heartbeat(late, 6).await.unwrap();
    assert!(reply.is_strange && reply.commands.is_empty());
    assert_eq!(next.view().number, ViewNumber::default(), "b is waited for");
    // What it told the leader before it need not tell again, and does, as this one does not know.
    let reply = next.heartbeat(Report { served: None, ..b.report() }, 7).await.unwrap();
    assert!(reply.is_strange && reply.wants_served);
    assert_eq!(next.view().number, ViewNumber::default());
    b.beat(&next, 8).await;
    assert_eq!((counted(&next.view()), is_incomplete(&next.view())), (counted(&last), false));
}

async fn a_new_leader_waits_for_the_nodes_that_there_were(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    let last = coordinator.view();
    let next = open_leased(&store).await;
    next.cycle(5).await.unwrap();
    assert_eq!(next.view().number, ViewNumber::default());
    assert!(a.beat(&next, 6).await.commands.is_empty());
    assert_eq!(next.view().number, ViewNumber::default(), "b is waited for");
    b.beat(&next, 7).await;
    let view = next.view();
    assert!(view.number > last.number);
    assert_eq!((counted(&view), is_incomplete(&view)), (counted(&last), false), "all is as it was");
    // A broker that followed the old leader goes on with the new one.
    let mut broker = View::clone(&last);
    assert!(broker.apply(&next.view_since(broker.number)));
    assert_eq!(broker.image(), view.image());
    assert!(!broker.apply(&coordinator.view_since(ViewNumber::default())), "views never go back");

    // One that does not come is lost with the lease, and not before.
    let third = open_leased(&store).await;
    third.cycle(100).await.unwrap();
    a.beat(&third, 101).await;
    third.cycle(99 + LEASE).await.unwrap();
    assert_eq!(third.view().number, ViewNumber::default());
    assert_eq!(a.work(&third, 100 + LEASE).await, [("index_kafka_s_1_2".to_string(), 2)]);
    assert!(third.view().number > view.number && is_incomplete(&third.view()));
}

async fn a_node_that_ends_in_good_order_is_not_waited_for(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, b) = two(&coordinator).await;
    coordinator.forget_node("b", 99, 2).await.unwrap();
    assert!(coordinator.view().nodes.contains_key("b"), "another process of it");
    coordinator.forget_node("b", b.member.process, 2).await.unwrap();
    assert!(!coordinator.view().nodes.contains_key("b"));
    assert_eq!(a.work(&coordinator, 2).await, [("index_kafka_s_1_2".to_string(), 2)]);
}

async fn what_one_node_has_is_read_there_and_nowhere_else(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let own = |node: &str| SupervisorSpec {
        id: of_node("sys.log", node),
        datasource: "sys.log".into(),
        kind: "journal".into(),
        source: node.into(),
        ..spec(1)
    };
    let is_whole = |coordinator: &Coordinator| {
        let view = coordinator.view();
        view.tables.get("sys.log").is_none_or(|table| table.incomplete.is_empty())
    };
    assert_eq!((home_of("sys.log@a@b"), home_of("sys.log"), home_of("log@a")), (Some("a@b"), None, None));
    for node in ["a", "b"] {
        assert!(coordinator.put_system_supervisor(own(node), 1).await.unwrap());
    }
    coordinator.cycle(1).await.unwrap();
    // Whatever a node's roles are, it has what it has.
    let (mut a, mut b) = (Node::new("a", 1), Node::new("b", 2));
    a.member.roles = vec![Role::Broker];
    b.member.roles = vec![Role::Coordinator];
    let name = |node: &str, launch: i64| format!("index_journal_sys.log@{node}_0_{launch}");
    assert_eq!(b.work(&coordinator, 1).await, [(name("b", 1), 1)]);
    assert_eq!(a.work(&coordinator, 1).await, [(name("a", 1), 1)]);
    for node in [&mut a, &mut b] {
        node.tasks[0].caught_up = true;
        node.beat(&coordinator, 1).await;
    }
    coordinator.cycle(1).await.unwrap();
    assert!(is_whole(&coordinator));

    // Nobody else reads what the one had that is lost, and answers say that it is lacking.
    let later = 1 + LEASE;
    b.work(&coordinator, later).await;
    coordinator.cycle(later + 1).await.unwrap();
    assert_eq!(b.work(&coordinator, later + 1).await, []);
    assert!(!is_whole(&coordinator));
    // When it is not waited for any more they do not.
    coordinator.end_system_supervisor(&of_node("sys.log", "a"), later + 2).await.unwrap();
    coordinator.cycle(later + 2).await.unwrap();
    assert!(is_whole(&coordinator));
    assert_eq!(coordinator.system_supervisors().len(), 1);
    // It goes on once it is back and the supervisor is put anew, and what it still ran ends.
    a.member.process = 3;
    let told = a.beat(&coordinator, later + 3).await.commands;
    assert!(matches!(&told[..], [Command::StopTask { reason: StopReason::Cancel, .. }]), "{told:?}");
    a.tasks.clear();
    assert!(coordinator.put_system_supervisor(own("a"), later + 4).await.unwrap());
    coordinator.cycle(later + 4).await.unwrap();
    assert_eq!(a.work(&coordinator, later + 4).await, [(name("a", 2), 1)]);
}

async fn who_stands_by_follows_documents_and_takes_the_lead(store: Fresh) {
    let leases = Leases::open(&store.address().parse().unwrap()).await.unwrap();
    let ttl = Duration::from_secs(600);
    let leader = Coordinator::lead(&leases, SETTINGS, "h", ttl, &json!(null)).await.unwrap().unwrap();
    let put = async |name: &str, value| {
        let change = Change { kind: "session", name: name.into(), value, expected: None, history: false };
        leader.change_documents(vec![change], "ann", 1).await.unwrap()
    };
    put("one", Some(json!(1))).await;
    let follower = Coordinator::stand_by(&leases, SETTINGS).await.unwrap();
    assert!(follower.document("session", "one").is_some() && !follower.leads());
    assert!(!follower.refresh_documents().await.unwrap());
    let watch = follower.watch_documents();
    put("two", Some(json!(2))).await;
    put("one", None).await;
    assert!(follower.document("session", "one").is_some(), "it was not told to look");
    assert!(follower.refresh_documents().await.unwrap() && watch.has_changed().unwrap());
    assert!(follower.document("session", "one").is_none() && follower.document("session", "two").is_some());
    assert!(!follower.refresh_documents().await.unwrap());
    put("one", Some(json!(3))).await;
    assert!(follower.refresh_documents().await.unwrap());
    assert_eq!(follower.document("session", "one").unwrap().value, json!(3));

    // It says no to all that the leader is asked for, and says yes once it leads.
    assert!(matches!(follower.put_supervisor(spec(1), false, 1).await, Err(Error::NotLeader(_))));
    assert!(matches!(follower.cycle(1).await, Err(Error::NotLeader(_))));
    assert!(matches!(follower.heartbeat(Node::new("a", 1).report(), 1).await, Err(Error::NotLeader(_))));
    assert!(!follower.take_lead("other", ttl, &json!(null)).await.unwrap(), "it is led");
    leader.put_supervisor(spec(1), false, 1).await.unwrap();
    leader.resign().await.unwrap();
    assert!(follower.take_lead("other", ttl, &json!(null)).await.unwrap());
    assert!(follower.leads() && follower.supervisor("s").is_ok() && follower.epoch() > leader.epoch());
    follower.cycle(2).await.unwrap();
    let mut node = Node::new("a", 1);
    assert_eq!(node.work(&follower, 3).await.len(), 1);
    leases.close().await;
}

#[test]
fn roles_have_names() {
    for role in Role::ALL {
        assert_eq!(role.name().parse::<Role>().unwrap(), role);
        assert_eq!(serde_json::to_value(role).unwrap(), json!(role.name()));
    }
    assert!(matches!("router".parse::<Role>(), Err(Error::Invalid(_))));
}

/// Has node `b`, which runs `index_kafka_s_1_2`, leave, until its task has published all it read, under the name `rows(1)`.
async fn leave(coordinator: &Coordinator, b: &mut Node) {
    b.leaving = true;
    assert!(b.beat(coordinator, 2).await.leaving);
    assert_eq!(coordinator.cycle(3).await.unwrap().tasks_stopped, 1);
    let stop = Command::StopTask { task: "index_kafka_s_1_2".into(), reason: StopReason::Replace };
    assert_eq!(b.beat(coordinator, 3).await.commands, [stop]);
    assert_eq!(coordinator.cycle(3).await.unwrap().tasks_created, 0, "not all it read is published");

    let (from, to) = (positions(&[("t:1", 0)]), positions(&[("t:1", 5)]));
    let what = streamed("index_kafka_s_1_2", vec![meta(&rows(1), 7)], from, to);
    coordinator.publish(Publication { node: "b".into(), ..what }, 4).await.unwrap();
    b.tasks[0].done = true;
    let mut changed = coordinator.watch();
    changed.mark_unchanged();
    b.beat(coordinator, 4).await;
    assert!(changed.has_changed().unwrap(), "there is something to plan");
    assert_eq!(coordinator.cycle(4).await.unwrap().tasks_created, 1);
}

async fn a_node_that_leaves_hands_its_tasks_over(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    // The second of these is given to b, which leaves before it hears of it.
    for id in ["batch", "other"] {
        coordinator.create_task(fencing_task(id), 2).await.unwrap();
    }
    a.work(&coordinator, 2).await;
    leave(&coordinator, &mut b).await;
    let started = a.work(&coordinator, 4).await;
    assert_eq!(started, [("index_kafka_s_1_3".to_string(), 1), ("other".to_string(), 2)]);
    coordinator.create_task(fencing_task("third"), 4).await.unwrap();
    assert!(b.work(&coordinator, 4).await.is_empty(), "it is given nothing more");

    // Its rows are answered for until they are served, and nothing is missed meanwhile.
    let view = coordinator.view();
    assert!(view.tables["d"].incomplete.is_empty());
    assert_eq!(counted(&view), [(rows(0), "a".into()), (rows(1), "b".into())]);

    // It ends too early: what is missed is what it published, and nobody reads it again.
    coordinator.forget_node("b", 2, 5).await.unwrap();
    assert_eq!(coordinator.view().tables["d"].incomplete, [rows(1).interval]);
    assert_eq!(a.work(&coordinator, 5).await, [("third".to_string(), 1)]);
    assert_eq!(coordinator.task("index_kafka_s_1_2").await.unwrap().state, TaskState::Success);
    a.served.published = vec![rows(1)];
    a.beat(&coordinator, 6).await;
    assert!(coordinator.view().tables["d"].incomplete.is_empty());

    // What the other has read since is missed when that one is lost, whatever the first had caught up with.
    assert!(!is_incomplete(&coordinator.view()));
    coordinator.forget_node("a", 1, 7).await.unwrap();
    assert!(is_incomplete(&coordinator.view()));
}

async fn what_reads_on_where_another_ended_outlives_the_leader(store: Fresh) {
    let coordinator = open_leased(&store).await;
    let (mut a, mut b) = two(&coordinator).await;
    leave(&coordinator, &mut b).await;
    assert_eq!(a.work(&coordinator, 4).await, [("index_kafka_s_1_3".to_string(), 1)]);
    coordinator.close().await;

    // Node b does not come: the leader that follows neither gives its task to another nor waits for it.
    let coordinator = open_leased(&store).await;
    a.beat(&coordinator, 10).await;
    coordinator.cycle(10).await.unwrap();
    coordinator.cycle(11 + LEASE).await.unwrap();
    assert!(a.work(&coordinator, 12 + LEASE).await.is_empty());
    assert_eq!(coordinator.task("index_kafka_s_1_2").await.unwrap().state, TaskState::Success);
    assert_eq!(coordinator.cycle(13 + LEASE).await.unwrap().tasks_created, 0);
}
