//! A task and its stream: reading, limits, troubles, orders to stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use henge_ingest::fail::FailPoints;
use henge_ingest::report::{Condition, Phase};
use henge_ingest::{PartitionKey, Positions, StopReason, TaskState};
use serde_json::json;

use crate::world::{Life, TOPIC, World};

fn at(offsets: &[(i32, i64)]) -> Positions {
    Positions(offsets.iter().map(|(partition, offset)| (PartitionKey::new(TOPIC, *partition), *offset)).collect())
}

async fn reads_everything(world: &World, life: &Life) {
    let expected = world.produced();
    life.wait("everything is queryable", || life.count() >= expected.count).await;
    assert_eq!(life.query().0, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_queryable_then_published_once() {
    for rollup in [false, true] {
        let world = World::new(4);
        world.produce(4, 2000);
        let life = world.start_life(FailPoints::none());
        let task = life.start(&world.document(rollup, json!({"type": "kafka"})));
        reads_everything(&world, &life).await;
        assert!(world.ledger.published().is_empty());
        world.produce(4, 1000);
        reads_everything(&world, &life).await;
        life.wait("it has caught up", || life.report(&task).caught_up).await;
        // Rows are queryable before the report tells of them.
        life.wait("it reports", || life.report(&task).rows.processed >= 3000).await;
        let report = life.report(&task);
        assert_eq!(report.condition, Condition::Healthy);
        assert_eq!((report.rows.processed, report.rows.processed_with_error, report.rows.unparseable), (3000, 0, 0));

        let report = life.stop(&task, StopReason::Suspend).await;
        assert_eq!((report.state, report.error), (TaskState::Success, None));
        assert_eq!(life.query().0, world.produced());
        assert!(life.inventory.realtime().is_empty());
        assert_eq!(world.ledger.committed(), at(&[(0, 750), (1, 750), (2, 750), (3, 750)]));
        assert_eq!(world.ledger.published().len(), 3, "one segment per hour");

        world.produce(4, 500);
        let task = life.start(&world.document(rollup, json!({"type": "kafka"})));
        reads_everything(&world, &life).await;
        life.stop(&task, StopReason::Terminate).await;
        assert_eq!(life.query().0, world.produced());
        assert_eq!(world.ledger.committed(), at(&[(0, 875), (1, 875), (2, 875), (3, 875)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_never_fall_nor_exceed_while_sequences_close() {
    let world = World::new(2);
    let life = world.start_life(FailPoints::none());
    let tuning = json!({"type": "kafka", "maxRowsInMemory": 200, "maxRowsPerSegment": 300});
    let task = life.start(&world.document(false, tuning));
    let mut last = 0;
    for _ in 0..20 {
        world.produce(2, 200);
        let produced = world.produced();
        for _ in 0..20 {
            let (totals, incomplete) = life.query();
            assert!(!incomplete);
            assert!(totals.count >= last, "fell from {last} to {}", totals.count);
            assert!(totals.count <= produced.count, "{} of {} produced", totals.count, produced.count);
            last = totals.count;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    reads_everything(&world, &life).await;
    life.wait("sequences are handed off", || world.ledger.published().len() >= 9).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(life.query().0, world.produced());
    assert!(life.inventory.realtime().is_empty());
}

/// Records do not wait for what another task that takes over has to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_makes_way_reads_on_while_it_publishes() {
    let world = World::new(2);
    world.produce(2, 1000);
    let life = world.start_life(FailPoints::none());
    let task = life.start(&world.document(false, json!({"type": "kafka"})));
    reads_everything(&world, &life).await;
    world.ledger.refusals.store(usize::MAX, Ordering::SeqCst);
    life.worker.stop(&task, StopReason::Replace);
    world.produce(2, 1000);
    reads_everything(&world, &life).await;
    assert!(world.ledger.published().is_empty() && !life.report(&task).is_done());

    world.ledger.refusals.store(0, Ordering::SeqCst);
    life.wait("all is published", || life.report(&task).is_done()).await;
    assert_eq!(world.ledger.committed(), at(&[(0, 1000), (1, 1000)]));
    life.wait("the task ends", || life.report(&task).is_ended()).await;
    assert_eq!(life.report(&task).state, TaskState::Success);
    assert_eq!(life.query().0, world.produced());
    assert!(life.inventory.realtime().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_a_topic_add_up() {
    let world = World::new(3);
    world.produce(3, 999);
    let life = world.start_life(FailPoints::none());
    life.mark_incomplete();
    let document = world.document(false, json!({"type": "kafka"}));
    let first = life.start_share(&document, 0, 2);
    life.wait("the first has caught up", || life.report(&first).caught_up).await;
    assert!(life.query().1, "the second share is missing still");
    let second = life.start_share(&document, 1, 2);
    reads_everything(&world, &life).await;
    life.wait("all is complete", || !life.query().1).await;
    assert_eq!(life.report(&second).positions, at(&[(1, 333)]));
    life.stop(&first, StopReason::Suspend).await;
    life.stop(&second, StopReason::Suspend).await;
    assert_eq!(world.ledger.committed(), at(&[(0, 333), (1, 333), (2, 333)]));
    assert_eq!(life.query().0, world.produced());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_keeps_rows_and_the_next_life_goes_on() {
    let world = World::new(2);
    world.produce(2, 1000);
    let life = world.start_life(FailPoints::none());
    let document = world.document(true, json!({"type": "kafka"}));
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    assert!(life.worker.shutdown(Duration::from_secs(60)).await.is_empty());
    assert_eq!(life.report(&task).state, TaskState::Success);
    assert!(world.ledger.published().is_empty());

    let life = world.start_life(FailPoints::none());
    world.produce(2, 10);
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    life.wait("it reports", || life.report(&task).rows.processed == 10).await;
    assert!(life.report(&task).rows.restored > 0);
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(life.query().0, world.produced());
    assert_eq!(world.ledger.committed(), at(&[(0, 505), (1, 505)]));
}

/// A process ends though a thread of it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_ever_for_a_task_that_hangs() {
    let world = World::new(1);
    world.produce(1, 10);
    let life = world.start_life(FailPoints::none());
    let document = world.document(true, json!({"type": "kafka"}));
    world.ledger.is_deaf.store(true, Ordering::Relaxed);
    let task = life.start(&document);
    life.wait("it hangs", || world.ledger.unheard.load(Ordering::Relaxed) == 1).await;
    assert_eq!(life.worker.shutdown(Duration::from_millis(100)).await, std::slice::from_ref(&task));
    assert!(!life.report(&task).is_ended());
}

/// Rows that were restored count as read, whether or not the stream was ever reached in this life.
#[tokio::test(flavor = "multi_thread")]
async fn restored_rows_are_published_or_kept_though_the_stream_does_not_answer() {
    let world = World::new(2);
    world.produce(2, 1000);
    let life = world.start_life(FailPoints::none());
    let document = world.document(false, json!({"type": "kafka"}));
    life.start(&document);
    reads_everything(&world, &life).await;
    assert!(life.worker.shutdown(Duration::from_secs(60)).await.is_empty());

    world.broker.broker_down(1).unwrap();
    for reason in [StopReason::Shutdown, StopReason::Suspend] {
        let life = world.start_life(FailPoints::none());
        let task = life.start(&document);
        life.wait("rows are restored", || life.count() == 1000).await;
        let report = life.stop(&task, reason).await;
        assert_eq!((report.state, report.error), (TaskState::Success, None));
        assert_eq!(life.query().0, world.produced());
    }
    assert_eq!(world.ledger.committed(), at(&[(0, 500), (1, 500)]));

    world.broker.broker_up(1).unwrap();
    world.produce(2, 10);
    let life = world.start_life(FailPoints::none());
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(life.query().0, world.produced());
}

fn is_hindered(life: &Life, task: &str, what: &str) -> bool {
    matches!(life.report(task).condition, Condition::StorageProblem(reason) if reason.contains(what))
}

/// Sends an event of another day than all before, and returns when the task says that it waits to take it in.
async fn waits_with_a_new_day(world: &World, life: &Life, task: &str, what: &str) {
    let event = json!({"time": 86_400_000, "key": "k9", "value": 7}).to_string();
    world.send(TOPIC, 0, Some(event.as_bytes()));
    world.flush();
    life.wait("it says why it waits", || is_hindered(life, task, what)).await;
}

/// A batch that was taken from the stream and could not be appended is read again in the next life.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_while_the_catalog_is_away_loses_nothing() {
    let world = World::new(1);
    world.produce(1, 3);
    let life = world.start_life(FailPoints::none());
    let document = world.document(false, json!({"type": "kafka"}));
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    world.ledger.no_names.store(true, Ordering::Relaxed);
    waits_with_a_new_day(&world, &life, &task, "allocate").await;
    assert!(life.worker.shutdown(Duration::from_secs(60)).await.is_empty());
    world.ledger.no_names.store(false, Ordering::Relaxed);

    let life = world.start_life(FailPoints::none());
    let task = life.start(&document);
    life.wait("the event is there", || life.count() == 4).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!((life.count(), world.ledger.committed()), (4, at(&[(0, 4)])));
}

/// No row is in a segment that is not known wherever queries are answered; what waits for that is read again in the next life.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_there_before_its_segment_is_known() {
    let world = World::new(1);
    world.produce(1, 3);
    let life = world.start_life(FailPoints::none());
    let document = world.document(false, json!({"type": "kafka"}));
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    world.ledger.is_unknown.store(true, Ordering::Relaxed);
    // Its segment is there: nobody has to be told of that again.
    world.produce(1, 1);
    reads_everything(&world, &life).await;
    let before = world.produced();
    waits_with_a_new_day(&world, &life, &task, "announce").await;
    assert_eq!(life.query().0, before);
    assert!(life.worker.shutdown(Duration::from_secs(60)).await.is_empty());

    let life = world.start_life(FailPoints::none());
    let task = life.start(&document);
    // In a sequence of its own, whose segments are new.
    life.wait("it waits again", || is_hindered(&life, &task, "announce")).await;
    assert_eq!(life.count(), 0);
    world.ledger.is_unknown.store(false, Ordering::Relaxed);
    life.wait("the event is there", || life.count() == 5).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!((life.count(), world.ledger.committed()), (5, at(&[(0, 5)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_discards_what_is_not_published() {
    let world = World::new(1);
    world.produce(1, 100);
    let life = world.start_life(FailPoints::none());
    let document = world.document(false, json!({"type": "kafka", "maxRowsInMemory": 20}));
    let task = life.start(&document);
    reads_everything(&world, &life).await;
    let report = life.stop(&task, StopReason::Reset).await;
    assert_eq!(report.state, TaskState::Success);
    assert_eq!(life.count(), 0);
    life.start(&document);
    reads_everything(&world, &life).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_earliest_reading_starts_at_the_end_and_a_crash_does_not_move_that() {
    let world = World::new(1);
    world.produce(1, 50);
    let mut document = world.document(false, json!({"type": "kafka"}));
    document["spec"]["ioConfig"]["useEarliestOffset"] = json!(false);
    let life = world.start_life(FailPoints::none());
    let task = life.start(&document);
    life.wait("it reads", || life.report(&task).positions == at(&[(0, 50)])).await;
    assert_eq!(world.ledger.committed(), at(&[(0, 50)]), "its start is on record before it reads");
    life.worker.stop(&task, StopReason::Shutdown);
    life.wait("it ends", || life.report(&task).is_ended()).await;
    // Even if the disk is lost.
    let _ = std::fs::remove_dir_all(world.tasks_folder());
    world.produce(1, 7);
    let life = world.start_life(FailPoints::none());
    life.start(&document);
    life.wait("rows sent meanwhile are read", || life.count() == 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_counted_kept_and_limited() {
    let world = World::new(1);
    world.produce(1, 10);
    for bad in ["{", "{\"time\": \"never\"}", "[1"] {
        world.send(TOPIC, 0, Some(bad.as_bytes()));
    }
    world.send(TOPIC, 0, None);
    let unconvertible = json!({"time": 5, "key": "k", "value": "many"}).to_string();
    world.send(TOPIC, 0, Some(unconvertible.as_bytes()));
    world.flush();
    let life = world.start_life(FailPoints::none());
    let task = life.start(&world.document(false, json!({"type": "kafka"})));
    life.wait("all is read", || life.report(&task).positions == at(&[(0, 15)])).await;
    life.wait("all is counted", || life.report(&task).rows.processed_with_error == 1).await;
    let report = life.report(&task);
    assert_eq!((report.rows.processed, report.rows.unparseable, report.rows.tombstones), (10, 3, 1));
    assert_eq!(life.count(), 11);
    let inputs: Vec<&str> = report.parse_problems.iter().map(|problem| problem.input.as_str()).collect();
    assert_eq!(inputs[..3], ["{", "{\"time\": \"never\"}", "[1"]);
    assert_eq!(report.parse_problems[0].place, "events:0@10");
    assert!(report.parse_problems[3].reason.contains("many"));
    life.stop(&task, StopReason::Reset).await;

    let task = life.start(&world.document(false, json!({"type": "kafka", "maxParseExceptions": 2})));
    life.wait("it fails", || life.report(&task).is_ended()).await;
    let report = life.report(&task);
    assert_eq!(report.state, TaskState::Failed);
    assert_eq!(report.error.as_deref(), Some("Max parse exceptions[2] exceeded"));
    assert!(life.query().1 || life.count() == 0, "withdrawn rows are marked missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_early_rows_are_thrown_away() {
    let world = World::new(1);
    world.produce(1, 10);
    let life = world.start_life(FailPoints::none());
    let mut document = world.document(false, json!({"type": "kafka"}));
    document["spec"]["ioConfig"]["lateMessageRejectionStartDateTime"] = json!("1970-01-01T01:00:00Z");
    let task = life.start(&document);
    life.wait("all is read", || life.report(&task).rows.processed == 6).await;
    assert_eq!(life.report(&task).rows.thrown_away.late, 4);
    assert_eq!(life.count(), 6);
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(world.ledger.committed(), at(&[(0, 10)]), "rows thrown away count as read");
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_with_the_stream_show_and_pass() {
    let world = World::new(1);
    let life = world.start_life(FailPoints::none());
    let absent = life.start(&world.document_for(json!({"topic": "absent"}), false, json!({"type": "kafka"})));
    life.wait(
        "the topic is missed",
        || matches!(life.report(&absent).condition, Condition::StreamProblem(reason) if reason.contains("absent")),
    )
    .await;
    world.broker.create_topic("absent", 1, 1).unwrap();
    world.send("absent", 0, Some(b"{\"time\": 1, \"key\": \"a\", \"value\": 1}"));
    world.flush();
    life.wait("it is read once it is there", || life.count() == 1).await;
    life.wait("all is well", || life.report(&absent).condition == Condition::Healthy).await;
    life.stop(&absent, StopReason::Reset).await;

    let mut nowhere = world.document(false, json!({"type": "kafka"}));
    nowhere["spec"]["ioConfig"]["consumerProperties"]["bootstrap.servers"] = json!("127.0.0.1:1");
    let task = life.start(&nowhere);
    life.wait("no broker", || matches!(life.report(&task).condition, Condition::UnableToConnect(_))).await;
    assert_eq!(life.report(&task).phase, Phase::Starting);
    life.stop(&task, StopReason::Suspend).await;

    let mut wrong = world.document(false, json!({"type": "kafka"}));
    wrong["spec"]["ioConfig"]["consumerProperties"]["no.such.thing"] = json!("1");
    let task = life.start(&wrong);
    life.wait("it fails", || life.report(&task).is_ended()).await;
    let error = life.report(&task).error.unwrap();
    assert!(error.contains("consumerProperties") && error.contains("no.such.thing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contact_is_lost_and_found() {
    let world = World::new(1);
    world.produce(1, 10);
    let life = world.start_life(FailPoints::none());
    let task = life.start(&world.document(false, json!({"type": "kafka"})));
    reads_everything(&world, &life).await;
    world.broker.broker_down(1).unwrap();
    life.wait("contact is lost", || matches!(life.report(&task).condition, Condition::LostContact(_))).await;
    assert_eq!(life.count(), 10);
    world.broker.broker_up(1).unwrap();
    world.produce(1, 5);
    reads_everything(&world, &life).await;
    life.wait("contact is back", || life.report(&task).condition == Condition::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_are_gone_stop_reading_unless_told_otherwise() {
    let world = World::new(1);
    world.produce(1, 10);
    world.ledger.commit(at(&[(0, 500)]));
    let life = world.start_life(FailPoints::none());
    let task = life.start(&world.document(false, json!({"type": "kafka"})));
    life.wait(
        "it says so",
        || matches!(life.report(&task).condition, Condition::StreamProblem(reason) if reason.contains("events:0, 500")),
    )
    .await;
    assert_eq!(life.count(), 0);
    life.stop(&task, StopReason::Suspend).await;

    let task = life.start(&world.document(false, json!({"type": "kafka", "resetOffsetAutomatically": true})));
    reads_everything(&world, &life).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(world.ledger.committed(), at(&[(0, 10)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_appear_later_match_a_pattern_from_their_first_record() {
    let world = World::new(1);
    let life = world.start_life(FailPoints::none());
    let stream = json!({"topicPattern": "events.*", "useEarliestOffset": false});
    let task = life.start(&world.document_for(stream, false, json!({"type": "kafka"})));
    life.wait("it reads", || !life.report(&task).positions.is_empty()).await;
    world.broker.create_topic("events-more", 1, 1).unwrap();
    world.broker.create_topic("other", 1, 1).unwrap();
    for topic in ["events-more", "other"] {
        world.send(topic, 0, Some(b"{\"time\": 1, \"key\": \"a\", \"value\": 1}"));
    }
    world.flush();
    life.wait("the new topic is read", || life.count() == 1).await;
    life.stop(&task, StopReason::Suspend).await;
    assert_eq!(life.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_catalog_delays_and_moved_versions_rename() {
    let world = World::new(2);
    world.produce(2, 500);
    world.ledger.renames.store(2, std::sync::atomic::Ordering::Relaxed);
    let life = world.start_life(FailPoints::none());
    let task = life.start(&world.document(false, json!({"type": "kafka"})));
    reads_everything(&world, &life).await;
    world.ledger.refusals.store(2, std::sync::atomic::Ordering::Relaxed);
    let report = life.stop(&task, StopReason::Suspend).await;
    assert_eq!(report.state, TaskState::Success);
    assert!(report.incidents.iter().any(|incident| incident.message.contains("the catalog is away")));
    assert_eq!(life.query().0, world.produced());
    assert!(world.ledger.published().iter().all(|meta| meta.id.version == "v2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_task_publishes_and_wakes() {
    let world = World::new(1);
    world.produce(1, 30);
    let mut document = world.document(false, json!({"type": "kafka"}));
    document["spec"]["ioConfig"]["idleConfig"] = json!({"enabled": true, "inactiveAfterMillis": 200});
    let life = world.start_life(FailPoints::none());
    let task = life.start(&document);
    life.wait("it is idle", || life.report(&task).phase == Phase::Idle).await;
    life.wait("rows are published", || !world.ledger.published().is_empty()).await;
    world.produce(1, 30);
    reads_everything(&world, &life).await;
}
