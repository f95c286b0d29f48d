//! Leases and leadership, from outside: one holder at a time, epochs that only grow, and leaders that come too late.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use henge_coordinator::lease::{Held, LEADERSHIP, Leases};
use henge_coordinator::{Coordinator, Error, MetadataStore, Result};
use serde_json::{Value, json};

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    of_many_that_want_a_lease_one_gets_it,
    a_lease_ends_by_the_clock_of_the_store,
    a_lease_says_what_its_holder_tells,
    a_leader_that_stood_still_changes_nothing,
    an_expired_leader_writes_again_only_if_nobody_took_over,
    who_opens_a_store_for_itself_second_leads,
    the_lead_goes_from_hand_to_hand,
    what_no_lease_can_be,
);

const LONG: Duration = Duration::from_secs(600);
/// Longer than a machine with much to do takes between two calls.
const SHORT: Duration = Duration::from_secs(1);

async fn leases(store: &Fresh) -> Leases {
    Leases::open(&store.address().parse().unwrap()).await.unwrap()
}

async fn take(leases: &Leases, holder: &str, ttl: Duration) -> Option<Held> {
    leases.acquire("x", holder, ttl, &Value::Null).await.unwrap()
}

async fn lead(leases: &Leases, holder: &str, ttl: Duration) -> Option<Coordinator> {
    let info = json!({"at": holder});
    can_be_spawned(Coordinator::lead(leases, SETTINGS, holder, ttl, &info)).await.unwrap()
}

fn can_be_spawned<F: Future + Send>(future: F) -> F {
    future
}

fn is_refused<T: std::fmt::Debug>(done: &Result<T>) -> bool {
    matches!(done, Err(error @ Error::NotLeader(_)) if error.kind() == segment::Kind::Unavailable)
}

/// Until a short lease has surely expired.
async fn stand_still() {
    tokio::time::sleep(SHORT * 2).await;
}

async fn of_many_that_want_a_lease_one_gets_it(store: Fresh) {
    let processes = try_join_all((0..4).map(|_| async { Leases::open(&store.address().parse().unwrap()).await }));
    let processes = processes.await.unwrap();
    let mut epoch = 0;
    for round in 0..10 {
        let racing = (0..16).map(|n| {
            let leases = processes[n % 4].clone();
            tokio::spawn(async move { take(&leases, &format!("holder {round} {n}"), LONG).await })
        });
        let won: Vec<Held> = join_all(racing).await.into_iter().filter_map(|race| race.unwrap()).collect();
        let [held] = &won[..] else { panic!("round {round} was won by {won:?}") };
        assert!(held.epoch > epoch);
        epoch = held.epoch;
        processes[round % 4].release(held).await.unwrap();
    }
    for leases in processes {
        leases.close().await;
    }
}

async fn a_lease_ends_by_the_clock_of_the_store(store: Fresh) {
    let leases = leases(&store).await;
    let first = take(&leases, "a", SHORT).await.unwrap();
    assert_eq!(first.epoch, 1);
    assert_eq!(take(&leases, "b", LONG).await, None);
    stand_still().await;
    assert!(leases.renew(&first, None).await.unwrap(), "nobody took it");
    assert_eq!(take(&leases, "b", LONG).await, None);
    stand_still().await;
    let second = take(&leases, "b", LONG).await.unwrap();
    assert_eq!(second.epoch, 2);
    assert!(!leases.renew(&first, None).await.unwrap());
    leases.release(&first).await.unwrap();
    assert_eq!(take(&leases, "a", LONG).await, None, "who lost it cannot give it back");

    // A process that was started again is another one under the same name.
    let again = take(&leases, "b", LONG).await.unwrap();
    assert_eq!(again.epoch, 3);
    assert!(!leases.renew(&second, None).await.unwrap());
    leases.release(&again).await.unwrap();
    assert_eq!(take(&leases, "a", LONG).await.unwrap().epoch, 4);
}

async fn a_lease_says_what_its_holder_tells(store: Fresh) {
    let leases = leases(&store).await;
    let mut held = Vec::new();
    for node in ["node/a", "node/b_%", "other"] {
        held.push(leases.acquire(node, "h", SHORT, &json!({"name": node})).await.unwrap().unwrap());
    }
    let nodes = leases.list("node/").await.unwrap();
    let names: Vec<&str> = nodes.iter().map(|lease| lease.name.as_str()).collect();
    assert_eq!(names, ["node/a", "node/b_%"]);
    assert_eq!((&nodes[1].info, nodes[1].epoch, nodes[1].is_live()), (&json!({"name": "node/b_%"}), 1, true));
    assert!(nodes.iter().all(|lease| (1..=SHORT.as_millis() as i64).contains(&lease.left_ms)));
    assert!(leases.list("node/b__").await.unwrap().is_empty() && leases.list("").await.unwrap().len() == 3);

    stand_still().await;
    assert!(leases.renew(&Held { ttl: LONG, ..held[0].clone() }, Some(&json!({"full": true}))).await.unwrap());
    let nodes = leases.list("node/").await.unwrap();
    assert_eq!((nodes[0].is_live(), nodes[1].is_live()), (true, false));
    assert_eq!(nodes[0].info, json!({"full": true}));
}

async fn a_leader_that_stood_still_changes_nothing(store: Fresh) {
    let (here, there) = (leases(&store).await, leases(&store).await);
    let old = lead(&here, "old", SHORT).await.unwrap();
    old.put_supervisor(spec(1), false, 1).await.unwrap();
    stand_still().await;
    let new = lead(&there, "new", LONG).await.unwrap();
    assert_eq!(new.supervisors().len(), 1, "it found what the old one wrote");
    new.suspend("s", 2).await.unwrap();

    let before = store.dump().await;
    assert!(is_refused(&old.resume("s", 3).await) && is_refused(&old.terminate("s", 3).await));
    assert!(is_refused(&old.cycle(3).await) && is_refused(&can_be_spawned(old.heartbeat(Default::default(), 3)).await));
    assert!(is_refused(&can_be_spawned(old.renew()).await));
    assert!(is_refused(&old.terminate("s", 3).await), "nor after it tried to renew");
    old.resign().await.unwrap();
    assert_eq!(store.dump().await, before);
    assert!(lead(&here, "third", LONG).await.is_none(), "what it gave back was not its own");
    new.resume("s", 4).await.unwrap();
}

async fn an_expired_leader_writes_again_only_if_nobody_took_over(store: Fresh) {
    let leases = leases(&store).await;
    let leader = lead(&leases, "a", SHORT).await.unwrap();
    stand_still().await;
    let before = store.dump().await;
    assert!(is_refused(&leader.put_supervisor(spec(1), false, 1).await));
    assert!(is_refused(&leader.heartbeat(Default::default(), 1).await));
    assert_eq!(store.dump().await, before);
    leader.renew().await.unwrap();
    let report = henge_coordinator::Report { member: member("n"), seq: 1, ..Default::default() };
    leader.heartbeat(report, 2).await.unwrap();
    leader.put_supervisor(spec(1), false, 2).await.unwrap();
}

async fn who_opens_a_store_for_itself_second_leads(store: Fresh) {
    let first = open(&store).await;
    first.put_supervisor(spec(1), false, 1).await.unwrap();
    first.renew().await.unwrap();
    let second = open(&store).await;
    assert!(second.epoch() > first.epoch());
    assert!(is_refused(&first.suspend("s", 2).await) && is_refused(&first.renew().await));
    second.suspend("s", 3).await.unwrap();

    // A cluster takes it over at once, and is not taken over.
    let leases = leases(&store).await;
    let led = lead(&leases, "a", LONG).await.unwrap();
    assert!(is_refused(&second.resume("s", 4).await));
    let store: MetadataStore = store.address().parse().unwrap();
    assert!(is_refused(&Coordinator::open_store(&store, SETTINGS).await.map(|_| ())));
    led.resume("s", 5).await.unwrap();
    led.close().await;
    Coordinator::open_store(&store, SETTINGS).await.unwrap().suspend("s", 6).await.unwrap();
}

async fn the_lead_goes_from_hand_to_hand(store: Fresh) {
    let leases = leases(&store).await;
    let mut epoch = 0;
    for round in 0..5 {
        let holder = format!("process {round}");
        let leader = lead(&leases, &holder, LONG).await.unwrap();
        assert!(leader.epoch() > epoch);
        epoch = leader.epoch();
        assert!(lead(&leases, "another", LONG).await.is_none());
        assert_eq!(leases.list(LEADERSHIP).await.unwrap()[0].info, json!({"at": holder}));
        leader.allocate(wish(&format!("s{round}"), 0, 24, 0), round).await.unwrap();
        leader.resign().await.unwrap();
    }
    let last = lead(&leases, "last", LONG).await.unwrap();
    assert_eq!(last.allocate(wish("last", 0, 24, 0), 9).await.unwrap().partition, 5);
}

async fn what_no_lease_can_be(store: Fresh) {
    let leases = leases(&store).await;
    for (name, holder, ttl) in
        [("", "h", LONG), ("x", "", LONG), ("x", "h", Duration::ZERO), ("x", "h", Duration::from_secs(90_000))]
    {
        let refused = leases.acquire(name, holder, ttl, &Value::Null).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    // PostgreSQL keeps no U+0000; a name that has it is the asker's fault, not the store's.
    let odd = leases.acquire("x\0", "h", LONG, &Value::Null).await;
    assert!(if store.is_postgres() { matches!(odd, Err(Error::Invalid(_))) } else { odd.is_ok() }, "{odd:?}");
}
