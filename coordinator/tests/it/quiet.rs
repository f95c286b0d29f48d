//! What is in line stays quiet: a loop that waits on `watch` must not wake itself.

use henge_coordinator::TaskState;

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(cycles_and_heartbeats_with_nothing_to_do_wake_nobody,);

async fn cycles_and_heartbeats_with_nothing_to_do_wake_nobody(store: Fresh) {
    let coordinator = open(&store).await;
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    coordinator.cycle(2).await.unwrap();
    let running = vec![progress("index_kafka_s_0_1", TaskState::Running)];
    report(&coordinator, vec![], 3).await;
    report(&coordinator, running.clone(), 3).await;
    coordinator.cycle(4).await.unwrap();

    let mut changed = coordinator.watch();
    changed.mark_unchanged();
    for now in 5..10 {
        coordinator.cycle(now).await.unwrap();
        report(&coordinator, running.clone(), now).await;
        assert!(!changed.has_changed().unwrap());
    }
    coordinator.put_supervisor(spec(2), false, 11).await.unwrap();
    assert!(changed.has_changed().unwrap());
}
