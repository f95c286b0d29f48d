//! A task is stopped after every step of a row's journey, as a crash would, and started again: each row counts once.

use std::time::Duration;

use henge_ingest::fail::{FAIL_POINTS, FailPoints};
use henge_ingest::{StopReason, TaskState};
use serde_json::json;

use crate::world::World;

const PARTITIONS: i32 = 3;

/// Events of a round. A round is sent when everything before is queryable, so each ends a batch, and is written to disk;
/// two fill a segment, so that each point is passed five times at least in a life.
const ROUND: i64 = 60;
const ROUNDS: u32 = 10;

/// Lives until the task ends by itself or everything is handed off, looking at the answers all the while.
async fn live(world: &World, fail_points: FailPoints) -> bool {
    let life = world.start_life(fail_points);
    life.mark_incomplete();
    let document = world
        .document(false, json!({"type": "kafka", "maxRowsInMemory": 60, "maxRowsPerSegment": 40, "maxTotalRows": 500}));
    let task = life.start(&document);
    let mut complete_count = 0;
    let mut rounds = 0;
    for step in 0.. {
        // Looked at first: what ends meanwhile takes its rows along.
        let has_ended = life.report(&task).is_ended();
        let (totals, incomplete) = life.query();
        let produced = world.produced();
        assert!(totals.count <= produced.count, "{} of {} produced", totals.count, produced.count);
        if !incomplete {
            assert!(totals.count >= complete_count, "fell from {complete_count} to {}", totals.count);
            complete_count = totals.count;
        }
        if has_ended {
            assert_eq!(life.report(&task).state, TaskState::Failed);
            return true;
        }
        if totals == produced && rounds < ROUNDS {
            world.produce(PARTITIONS, ROUND);
            rounds += 1;
        } else if totals == produced && life.report(&task).publishing.is_empty() {
            break;
        }
        assert!(step < 12_000, "{} of {}; {:#?}", totals.count, produced.count, life.report(&task));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    life.worker.stop(&task, StopReason::Suspend);
    life.wait("the task ends", || life.report(&task).is_ended()).await;
    let is_halted = life.report(&task).state == TaskState::Failed;
    if !is_halted {
        assert_eq!(life.query().0, world.produced());
        assert!(life.inventory.realtime().is_empty());
    }
    is_halted
}

/// Lives that stop at the `nth` passing of `point`, then one that does not stop.
async fn try_point(point: &str, nth: u32) {
    let world = World::new(PARTITIONS);
    for _ in 0..3 {
        let fail_points = FailPoints::halt(&format!("{point}:{nth}")).unwrap();
        assert!(live(&world, fail_points).await, "{point}:{nth} was never passed");
    }
    let halted = live(&world, FailPoints::none()).await;
    assert!(!halted);
    let rows: u64 = world.ledger.published().iter().map(|meta| meta.rows).sum();
    assert_eq!(rows as i64, world.produced().count, "{point}:{nth}");
}

#[test]
fn each_row_counts_once_whatever_step_a_crash_follows() {
    let tries: Vec<_> = FAIL_POINTS.iter().flat_map(|point| [1, 2, 3].map(|nth| (*point, nth))).collect();
    for batch in tries.chunks(3) {
        // A mock cluster stays on the thread that made it.
        let threads: Vec<_> = batch
            .iter()
            .map(|&(point, nth)| {
                std::thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(try_point(point, nth)))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
