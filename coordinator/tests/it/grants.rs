//! What brokers may answer by, and what nodes wait for before they take rows in that no view tells of.

use std::time::Duration;

use henge_coordinator::{Coordinator, Member, Report, Role, Served, Settings, View, ViewNumber, ViewUpdate};
use segment::SegmentId;

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    rows_are_known_when_every_broker_has_them,
    a_broker_that_is_not_heard_of_is_waited_for_as_long_as_it_may_answer,
    only_brokers_that_a_later_leader_waits_for_are_granted_anything,
    a_question_that_comes_again_grants_nothing_newer,
);

/// Long enough that no grant runs out in a test.
const LONG: i64 = 600_000;

async fn open(store: &Fresh, node_lease_ms: i64) -> Coordinator {
    let settings = Settings { node_lease_ms, ..SETTINGS };
    Coordinator::open_store(&store.address().parse().unwrap(), settings).await.unwrap()
}

fn rows(partition: u32) -> SegmentId {
    SegmentId { datasource: "d".into(), interval: interval(0, 24), version: "v".into(), partition }
}

/// A node tells how it stands, in the order that `seq` gives.
async fn beat(coordinator: &Coordinator, name: &str, roles: &[Role], seq: u64, realtime: &[SegmentId]) {
    let member = Member { process: 1, roles: roles.to_vec(), ..member(name) };
    let served = Some(Served { realtime: realtime.to_vec(), ..Served::default() });
    coordinator.heartbeat(Report { member, seq, served, ..Report::default() }, 1).await.unwrap();
}

/// A broker that follows the view.
struct Follower(&'static str, View);

impl Follower {
    /// Asks once; whether it may answer by what it has then.
    fn follow(&mut self, coordinator: &Coordinator) -> bool {
        let Follower(name, view) = self;
        let poll = coordinator.poll(name, 1, view.number);
        let (update, granted) = coordinator.answer(&poll, view.number);
        (update == ViewUpdate::Unchanged || view.apply(&update)) && granted.is_some()
    }
}

/// Two brokers that may answer, and rows of a node that the newest view tells of and theirs do not.
async fn begun(coordinator: &Coordinator) -> [Follower; 2] {
    beat(coordinator, "i", &[Role::Ingest], 1, &[]).await;
    let mut brokers = ["b1", "b2"].map(|name| Follower(name, View::default()));
    for broker in &mut brokers {
        beat(coordinator, broker.0, &[Role::Broker], 1, &[]).await;
        assert!(broker.follow(coordinator));
    }
    // The first knows nothing of the second yet.
    assert!(brokers[0].follow(coordinator) && brokers[1].follow(coordinator));
    brokers
}

async fn is_known(coordinator: &Coordinator, partition: u32) -> bool {
    let ids = [rows(partition)];
    let known = tokio::time::timeout(Duration::from_millis(50), coordinator.until_known("i", &ids)).await;
    known.inspect(|known| assert!(known.is_ok(), "{known:?}")).is_ok()
}

async fn rows_are_known_when_every_broker_has_them(store: Fresh) {
    let coordinator = open(&store, LONG).await;
    let [mut one, mut other] = begun(&coordinator).await;
    assert!(!is_known(&coordinator, 0).await, "its node has not told of it");
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.until_known("i", &[rows(0)]).await }
    });
    beat(&coordinator, "i", &[Role::Ingest], 2, &[rows(0)]).await;
    assert!(one.follow(&coordinator));
    assert!(!is_known(&coordinator, 0).await, "that it was told does not mean that it has it");
    assert!(one.follow(&coordinator));
    assert!(!is_known(&coordinator, 0).await, "the other does not know of it");
    assert!(other.follow(&coordinator) && !waiting.is_finished());
    assert!(other.follow(&coordinator));
    waiting.await.unwrap().unwrap();
    assert!(is_known(&coordinator, 0).await, "from then on");

    // One that ends in good order answers no more.
    beat(&coordinator, "i", &[Role::Ingest], 3, &[rows(0), rows(1)]).await;
    assert!(one.follow(&coordinator) && one.follow(&coordinator));
    assert!(!is_known(&coordinator, 1).await);
    coordinator.forget_node("b2", 1, 1).await.unwrap();
    assert!(one.follow(&coordinator) && one.follow(&coordinator));
    assert!(is_known(&coordinator, 1).await);
    assert!(!other.follow(&coordinator), "it is no member any more");

    // Nobody is told that rows are known by who does not lead.
    let next = open(&store, LONG).await;
    assert!(!one.follow(&next), "there is no view to answer by before the first one of a leader");
    drop(next);
}

async fn a_broker_that_is_not_heard_of_is_waited_for_as_long_as_it_may_answer(store: Fresh) {
    let coordinator = open(&store, 300).await;
    let [mut one, _other] = begun(&coordinator).await;
    beat(&coordinator, "i", &[Role::Ingest], 2, &[rows(0)]).await;
    assert!(one.follow(&coordinator) && one.follow(&coordinator));
    assert!(!is_known(&coordinator, 0).await);
    coordinator.until_known("i", &[rows(0)]).await.unwrap();
    let (update, granted) =
        coordinator.answer(&coordinator.poll("b2", 1, ViewNumber::default()), ViewNumber::default());
    assert!(granted.is_some() && matches!(update, ViewUpdate::Full { .. }), "it may come back");
}

async fn only_brokers_that_a_later_leader_waits_for_are_granted_anything(store: Fresh) {
    let coordinator = open(&store, LONG).await;
    let [mut one, mut other] = begun(&coordinator).await;
    for (name, process, why) in [("b3", 1, "unknown"), ("b1", 2, "another process"), ("i", 1, "no broker")] {
        let granted = coordinator.answer(&coordinator.poll(name, process, one.1.number), one.1.number).1;
        assert_eq!(granted, None, "{why}");
    }
    let next = open(&store, LONG).await;
    next.cycle(2).await.unwrap();
    assert!(!one.follow(&next), "the new leader waits for the nodes that there were");
    let mut seq = 10;
    for (name, role) in [("b1", Role::Broker), ("b2", Role::Broker), ("i", Role::Ingest)] {
        seq += 1;
        beat(&next, name, &[role], seq, &[]).await;
    }
    // What the leader before granted holds on: it is by views from before.
    beat(&next, "i", &[Role::Ingest], 20, &[rows(0)]).await;
    assert!(!is_known(&next, 0).await, "neither asked this leader");
    for broker in [&mut one, &mut other] {
        assert!(broker.follow(&next));
        assert!(!is_known(&next, 0).await, "it was told just now");
        assert!(broker.follow(&next));
    }
    assert!(is_known(&next, 0).await);

    // One that is lost stays on record while it may answer: another leader waits for what it knows.
    let member = |name: &str| Member { process: 1, roles: vec![Role::Broker], ..member(name) };
    let late = i64::MAX / 2;
    next.heartbeat(Report { member: member("b1"), seq: 50, ..Report::default() }, late).await.unwrap();
    let last = open(&store, LONG).await;
    for (name, role) in [("b1", Role::Broker), ("i", Role::Ingest)] {
        beat(&last, name, &[role], 60, &[]).await;
    }
    assert_eq!(last.view().number, ViewNumber::default(), "b2 is waited for");
}

async fn a_question_that_comes_again_grants_nothing_newer(store: Fresh) {
    let coordinator = open(&store, LONG).await;
    let [mut one, mut other] = begun(&coordinator).await;
    let old = one.1.number;
    beat(&coordinator, "i", &[Role::Ingest], 2, &[rows(0)]).await;
    for broker in [&mut one, &mut other] {
        assert!(broker.follow(&coordinator) && broker.follow(&coordinator));
    }
    assert!(is_known(&coordinator, 0).await);
    // The question of before arrives again, and is being answered.
    let again = coordinator.poll("b1", 1, old);
    assert!(!is_known(&coordinator, 0).await, "as far as is known here, it has the view of before");
    coordinator.answer(&again, old);
    assert!(is_known(&coordinator, 0).await, "whatever it makes of the answer, it has no older view than that");
}
