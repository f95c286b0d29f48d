//! Supervisors and tasks: who runs when, and what is shown of it.

use henge_coordinator::{
    Command, Condition, Coordinator, Error, LagAggregate, Phase, Scaling, StopReason, SupervisorSpec, TaskFilter,
    TaskRecord, TaskState,
};
use serde_json::json;

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    tasks_come_one_to_a_group_and_follow_the_document,
    a_supervisor_rests_wakes_and_ends,
    failures_are_followed_by_longer_and_longer_waits,
    a_lost_stream_shows_in_the_state,
    batch_tasks_wait_for_room_run_and_are_remembered,
    a_batch_task_that_published_is_not_run_again,
    a_task_that_should_not_run_is_told_so,
    offsets_are_set_and_cleared,
    a_task_that_should_publish_and_stop_does_so_after_a_crash_too,
    what_another_node_keeps_is_left_to_it,
    a_name_that_is_taken_is_passed_over,
    nobody_keeps_all_places_of_tasks,
    nobody_keeps_all_places_of_tasks_by_many_datasources,
    nobodys_supervisors_keep_all_places_of_tasks,
    of_a_large_task_its_data_goes_when_it_has_ended,
    supervisors_that_grow_at_once_leave_places_too,
    the_number_of_tasks_follows_the_lag,
);

fn state(coordinator: &henge_coordinator::Coordinator) -> &'static str {
    coordinator.supervisor("s").unwrap().state.detailed()
}

fn ids(coordinator: &henge_coordinator::Coordinator) -> Vec<String> {
    coordinator.supervisor("s").unwrap().tasks.into_iter().map(|task| task.id).collect()
}

async fn tasks_come_one_to_a_group_and_follow_the_document(store: Fresh) {
    let coordinator = open(&store).await;
    assert!(coordinator.put_supervisor(spec(2), false, 1).await.unwrap());
    assert!(!coordinator.put_supervisor(spec(2), true, 2).await.unwrap());
    assert_eq!(state(&coordinator), "PENDING");
    assert_eq!(coordinator.cycle(3).await.unwrap().tasks_created, 2);
    assert_eq!(coordinator.cycle(3).await.unwrap().tasks_created, 0);
    assert_eq!(ids(&coordinator), ["index_kafka_s_0_1", "index_kafka_s_1_2"]);
    assert_eq!(state(&coordinator), "CREATING_TASKS");
    assert_eq!(report(&coordinator, vec![], 4).await.commands.len(), 2);
    assert_eq!(report(&coordinator, vec![], 4).await.commands.len(), 2, "orders are repeated until they are done");

    let mut both: Vec<_> = ids(&coordinator).iter().map(|id| progress(id, TaskState::Running)).collect();
    both[0].condition = Condition::Connecting;
    assert!(report(&coordinator, both.clone(), 5).await.commands.is_empty());
    assert_eq!(state(&coordinator), "CONNECTING_TO_STREAM");
    both[0].condition = Condition::Healthy;
    report(&coordinator, both.clone(), 5).await;
    assert_eq!(state(&coordinator), "RUNNING");
    both.iter_mut().for_each(|task| task.phase = Phase::Idle);
    report(&coordinator, both.clone(), 5).await;
    assert_eq!(state(&coordinator), "IDLE");

    assert!(coordinator.put_supervisor(spec(1), true, 6).await.unwrap());
    let cycle = coordinator.cycle(7).await.unwrap();
    assert_eq!((cycle.tasks_created, cycle.tasks_stopped), (0, 2), "the old tasks end first");
    let reply = report(&coordinator, both.clone(), 8).await;
    let stop = |task: &str| Command::StopTask { task: task.into(), reason: StopReason::Replace };
    assert_eq!(reply.commands, [stop("index_kafka_s_0_1"), stop("index_kafka_s_1_2")]);
    both[0].state = TaskState::Success;
    report(&coordinator, both.clone(), 9).await;
    assert_eq!(coordinator.cycle(9).await.unwrap().tasks_created, 0);
    both[1].state = TaskState::Success;
    let reply = report(&coordinator, both, 10).await;
    assert_eq!(reply.recorded, ["index_kafka_s_0_1", "index_kafka_s_1_2"]);
    assert_eq!(coordinator.cycle(10).await.unwrap().tasks_created, 1);
    assert_eq!(ids(&coordinator), ["index_kafka_s_0_3"]);
}

async fn a_supervisor_rests_wakes_and_ends(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    let suspended = coordinator.suspend("s", 10).await.unwrap();
    assert_eq!((suspended.state.detailed(), &suspended.spec.document["suspended"]), ("SUSPENDED", &json!(true)));
    coordinator.cycle(10).await.unwrap();
    let running = vec![progress(&task, TaskState::Running)];
    let reply = report(&coordinator, running, 11).await;
    assert_eq!(reply.commands, [Command::StopTask { task: task.clone(), reason: StopReason::Suspend }]);

    coordinator.resume("s", 12).await.unwrap();
    assert_eq!(coordinator.cycle(12).await.unwrap().tasks_created, 0, "the group's last task has not ended");
    report(&coordinator, vec![progress(&task, TaskState::Success)], 13).await;
    assert_eq!(coordinator.cycle(13).await.unwrap().tasks_created, 1);

    let next = ids(&coordinator)[0].clone();
    report(&coordinator, vec![], 14).await;
    report(&coordinator, vec![progress(&next, TaskState::Running)], 14).await;
    coordinator.terminate("s", 15).await.unwrap();
    coordinator.cycle(15).await.unwrap();
    let reply = report(&coordinator, vec![progress(&next, TaskState::Running)], 15).await;
    assert_eq!(reply.commands, [Command::StopTask { task: next, reason: StopReason::Terminate }]);
    assert!(coordinator.supervisors().is_empty());
    assert!(matches!(coordinator.suspend("s", 16).await, Err(Error::NotFound(_))));
    let history = coordinator.supervisor_history("s").await.unwrap();
    assert_eq!(history.len(), 4);
    assert_eq!(history[0].document["type"], "NoopSupervisorSpec");
    assert_eq!(history[3].document, spec(1).document);
}

async fn a_task_that_should_publish_and_stop_does_so_after_a_crash_too(empty: Fresh) {
    for reason in [StopReason::Suspend, StopReason::Terminate, StopReason::Replace, StopReason::Reset] {
        let store = empty.another().await;
        let coordinator = open(&store).await;
        let task = running_task(&coordinator).await;
        match reason {
            StopReason::Suspend => drop(coordinator.suspend("s", 10).await.unwrap()),
            StopReason::Terminate => coordinator.terminate("s", 10).await.unwrap(),
            StopReason::Replace => drop(coordinator.put_supervisor(spec(2), false, 10).await.unwrap()),
            _ => coordinator.reset("s", 10).await.unwrap(),
        }
        coordinator.cycle(11).await.unwrap();
        coordinator.close().await;

        let coordinator = open(&store).await;
        coordinator.cycle(12).await.unwrap();
        let reply = report(&coordinator, vec![], 12).await;
        if reason == StopReason::Reset {
            let is_old =
                |command: &Command| matches!(command, Command::StartTask { task: record, .. } if record.id == task);
            assert!(!reply.commands.iter().any(is_old), "what it kept is void");
            continue;
        }
        assert!(
            matches!(&reply.commands[..], [Command::StartTask { task: record, .. }] if record.id == task),
            "{reason:?}"
        );
        let reply = report(&coordinator, vec![progress(&task, TaskState::Running)], 13).await;
        assert_eq!(reply.commands, [Command::StopTask { task, reason }]);
    }
}

async fn failures_are_followed_by_longer_and_longer_waits(store: Fresh) {
    let coordinator = open(&store).await;
    let mut task = running_task(&coordinator).await;
    let mut now = 100;
    for (failures, wait) in [(1, 1000), (2, 2000), (3, 4000)] {
        let mut failed = progress(&task, TaskState::Failed);
        failed.error = Some("no disk \0".into());
        report(&coordinator, vec![failed], now).await;
        assert_eq!(state(&coordinator) == "UNHEALTHY_TASKS", failures == 3);
        let cycle = coordinator.cycle(now + wait - 1).await.unwrap();
        assert_eq!((cycle.tasks_created, cycle.again_at), (0, Some(now + wait)));
        now += wait;
        assert_eq!(coordinator.cycle(now).await.unwrap().tasks_created, 1);
        task = ids(&coordinator)[0].clone();
        report(&coordinator, vec![], now).await;
        report(&coordinator, vec![progress(&task, TaskState::Running)], now).await;
    }
    let supervisor = coordinator.supervisor("s").unwrap();
    assert_eq!(supervisor.recent_errors.len(), 3);
    assert!(!supervisor.state.is_healthy());

    coordinator.close().await;
    let coordinator = open(&store).await;
    assert_eq!(state(&coordinator), "UNHEALTHY_TASKS", "a restart does not forget");
    report(&coordinator, vec![progress(&task, TaskState::Running)], now).await;
    coordinator.cycle(now + 60_000).await.unwrap();
    assert_eq!(state(&coordinator), "RUNNING", "a task that stands for long is healthy");
}

async fn a_lost_stream_shows_in_the_state(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    for (condition, detailed, basic) in [
        (Condition::UnableToConnect("refused".into()), "UNABLE_TO_CONNECT_TO_STREAM", "UNHEALTHY_SUPERVISOR"),
        (Condition::LostContact("gone".into()), "LOST_CONTACT_WITH_STREAM", "UNHEALTHY_SUPERVISOR"),
        (Condition::Hindered("disk".into()), "UNHEALTHY_SUPERVISOR", "UNHEALTHY_SUPERVISOR"),
        (Condition::Healthy, "RUNNING", "RUNNING"),
    ] {
        let mut running = progress(&task, TaskState::Running);
        running.condition = condition;
        report(&coordinator, vec![running], 50).await;
        let state = coordinator.supervisor("s").unwrap().state;
        assert_eq!((state.detailed(), state.basic()), (detailed, basic));
    }
    let classes: Vec<_> =
        coordinator.supervisor("s").unwrap().recent_errors.into_iter().map(|error| error.class).collect();
    assert_eq!(classes, ["UnableToConnectToStream", "LostContactWithStream", "TaskHindered"]);
}

fn batch_task(id: &str) -> TaskRecord {
    TaskRecord {
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

async fn batch_tasks_wait_for_room_run_and_are_remembered(store: Fresh) {
    let coordinator = open(&store).await;
    for n in 0..10 {
        coordinator.create_task(batch_task(&format!("t{n}")), n).await.unwrap();
    }
    let taken = coordinator.create_task(batch_task("t0"), 11).await.unwrap_err();
    assert!(matches!(taken, Error::Invalid(_)));
    assert_eq!(taken.to_string(), "task id [t0] is taken; give another or none");
    let reply = report(&coordinator, vec![], 20).await;
    assert_eq!(reply.commands.len(), 5, "some places are for supervisors' tasks, and some for other datasources");
    let mut running: Vec<_> = (0..5).map(|n| progress(&format!("t{n}"), TaskState::Running)).collect();
    assert!(report(&coordinator, running.clone(), 21).await.commands.is_empty());
    running[3].state = TaskState::Success;
    running[3].report = json!({"rows": 3});
    let reply = report(&coordinator, running.clone(), 22).await;
    assert_eq!(reply.recorded, ["t3"]);
    assert!(matches!(&reply.commands[..], [Command::StartTask { task, .. }] if task.id == "t5"));

    coordinator.shutdown_task("t9", 23).await.unwrap();
    assert_eq!(coordinator.task("t9").await.unwrap().state, TaskState::Failed);
    coordinator.shutdown_task("t0", 23).await.unwrap();
    running.remove(3);
    let reply = report(&coordinator, running, 24).await;
    assert!(reply.commands.contains(&Command::StopTask { task: "t0".into(), reason: StopReason::Cancel }));

    coordinator.close().await;
    let coordinator = open(&store).await;
    assert_eq!(coordinator.task_report("t3").await.unwrap(), Some(json!({"rows": 3})));
    let complete = TaskFilter { states: vec![TaskState::Success, TaskState::Failed], ..Default::default() };
    let complete: Vec<_> = coordinator.tasks(complete).await.unwrap().into_iter().map(|t| t.id).collect();
    assert_eq!(complete, ["t9", "t3"]);
    let newest = TaskFilter { kind: Some("index".into()), max: Some(2), ..Default::default() };
    assert_eq!(coordinator.tasks(newest).await.unwrap().len(), 2);
    let none = TaskFilter { datasource: Some("other".into()), ..Default::default() };
    assert!(coordinator.tasks(none).await.unwrap().is_empty());

    let reply = report(&coordinator, vec![], 30).await;
    let restarted = reply.commands.iter().filter(|command| matches!(command, Command::StartTask { .. })).count();
    assert_eq!(restarted, 5, "the new process runs what has not ended");
    assert_eq!(coordinator.task("t0").await.unwrap().state, TaskState::Failed, "and not what was cancelled");
}

async fn a_batch_task_that_published_is_not_run_again(store: Fresh) {
    let coordinator = open(&store).await;
    coordinator.create_task(batch_task("batch"), 1).await.unwrap();
    report(&coordinator, vec![], 2).await;
    report(&coordinator, vec![progress("batch", TaskState::Running)], 3).await;
    let id = coordinator.allocate(wish("batch", 0, 24, 0), 3).await.unwrap();
    coordinator.publish(batch(vec![meta(&id, 1)], henge_coordinator::PublishMode::Append), 4).await.unwrap();
    coordinator.close().await;

    let coordinator = open(&store).await;
    let reply = report(&coordinator, vec![], 5).await;
    assert!(matches!(&reply.commands[..], [Command::Load(_)]));
    assert_eq!(coordinator.task("batch").await.unwrap().state, TaskState::Success);
}

async fn a_task_that_should_not_run_is_told_so(store: Fresh) {
    let coordinator = open(&store).await;
    let reply = report(&coordinator, vec![progress("ghost", TaskState::Running)], 1).await;
    assert_eq!(reply.commands, [Command::StopTask { task: "ghost".into(), reason: StopReason::Cancel }]);
    let reply = report(&coordinator, vec![progress("ghost", TaskState::Failed)], 2).await;
    assert_eq!(reply.recorded, ["ghost"]);
}

async fn offsets_are_set_and_cleared(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    coordinator.reset_offsets("s", positions(&[("t:0", 7), ("t:1", 9)]), 5).await.unwrap();
    coordinator.reset_offsets("s", positions(&[("t:0", 8)]), 6).await.unwrap();
    assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", 8), ("t:1", 9)]));
    let reply = report(&coordinator, vec![progress(&task, TaskState::Running)], 7).await;
    assert_eq!(reply.commands, [Command::StopTask { task, reason: StopReason::Reset }]);
    assert!(matches!(coordinator.reset_offsets("s", positions(&[("t:0", -1)]), 8).await, Err(Error::Invalid(_))));
    coordinator.reset("s", 9).await.unwrap();
    assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[]));
    assert!(matches!(coordinator.reset("other", 9).await, Err(Error::NotFound(_))));
}

async fn what_another_node_keeps_is_left_to_it(store: Fresh) {
    let of_node = |source: &str| SupervisorSpec {
        id: "sys.journal".into(),
        datasource: "sys.journal".into(),
        kind: "journal".into(),
        source: source.into(),
        document: json!({"topic": source}),
        ..spec(1)
    };
    let tasks = async |coordinator: &Coordinator| {
        let filter = TaskFilter { system: true, ..TaskFilter::default() };
        let tasks = coordinator.tasks(filter).await.unwrap();
        tasks.into_iter().map(|task| (task.id, task.state)).collect::<Vec<_>>()
    };
    let id = |launch: u32| format!("index_journal_sys.journal_0_{launch}");
    let one = open(&store).await;
    assert!(one.put_system_supervisor(of_node("one"), 1).await.unwrap());
    one.cycle(1).await.unwrap();
    report(&one, vec![], 1).await;
    report(&one, vec![progress(&id(1), TaskState::Running)], 1).await;

    // Each node that leads in its turn finds a task that it cannot run, and none of them counts as a failure.
    for (launch, node) in (2..).zip(["two", "one", "two", "one"]) {
        let coordinator = open(&store).await;
        assert!(coordinator.put_system_supervisor(of_node(node), 2).await.unwrap());
        assert_eq!(coordinator.cycle(2).await.unwrap().tasks_created, 1, "at once");
        let starts = report(&coordinator, vec![], 2).await.commands;
        assert!(matches!(&starts[..], [Command::StartTask { task, .. }] if task.id == id(launch)), "{starts:?}");
        report(&coordinator, vec![progress(&id(launch), TaskState::Running)], 2).await;
        let states = tasks(&coordinator).await;
        assert_eq!(states.len(), launch as usize);
        for (task, state) in states {
            assert_eq!(state, if task == id(launch) { TaskState::Running } else { TaskState::Success }, "{task}");
        }
        // Its own, it goes on with.
        let again = open(&store).await;
        assert!(!again.put_system_supervisor(of_node(node), 3).await.unwrap());
        assert_eq!(again.cycle(3).await.unwrap().tasks_created, 0);
    }
}

async fn a_name_that_is_taken_is_passed_over(store: Fresh) {
    let coordinator = open(&store).await;
    for name in ["index_kafka_s_0_1", "index_journal_sys.audit_0_2"] {
        let taken = coordinator.create_task(batch_task(name), 1).await;
        assert!(matches!(taken, Err(Error::Invalid(_))), "{taken:?}");
    }
    // One that was there before such names were refused.
    coordinator.create_task(batch_task("index_other_s_0_1"), 1).await.unwrap();
    let other = SupervisorSpec { kind: "other".into(), ..spec(2) };
    assert!(coordinator.put_supervisor(other, false, 1).await.unwrap());
    let cycle = coordinator.cycle(2).await.unwrap();
    assert_eq!((cycle.tasks_created, cycle.names_taken), (1, 1));
    let cycle = coordinator.cycle(2).await.unwrap();
    assert_eq!((cycle.tasks_created, cycle.names_taken), (1, 0));
    assert_eq!(ids(&coordinator), ["index_other_s_0_3", "index_other_s_1_2"]);
}

async fn nobody_keeps_all_places_of_tasks(store: Fresh) {
    let coordinator = open(&store).await;
    for n in 0..20 {
        coordinator.create_task(batch_task(&format!("greedy{n:02}")), n).await.unwrap();
    }
    let other = |id: &str| TaskRecord { datasource: "e".into(), ..batch_task(id) };
    coordinator.create_task(other("modest"), 30).await.unwrap();
    let started = |commands: &[Command]| {
        let id = |command: &Command| match command {
            Command::StartTask { task, .. } => Some(task.id.clone()),
            _ => None,
        };
        commands.iter().filter_map(id).collect::<std::collections::BTreeSet<_>>()
    };
    let first = started(&report(&coordinator, vec![], 31).await.commands);
    assert!(first.len() == 6 && first.contains("modest"), "{first:?}");
    let running: Vec<_> = first.iter().map(|id| progress(id, TaskState::Running)).collect();
    coordinator.put_supervisor(spec(2), false, 32).await.unwrap();
    coordinator.cycle(33).await.unwrap();
    let supervised = started(&report(&coordinator, running, 34).await.commands);
    assert_eq!(supervised.len(), 2, "{supervised:?}");
}

/// Not by tasks of many datasources either, however early they were posted.
async fn nobody_keeps_all_places_of_tasks_by_many_datasources(store: Fresh) {
    let coordinator = open(&store).await;
    let of = |id: &str, datasource: String, poster: &str| TaskRecord {
        datasource,
        poster: Some(henge_coordinator::Poster { key: poster.into(), document: json!({}) }),
        ..batch_task(id)
    };
    for n in 0..20 {
        let task = of(&format!("greedy{n:02}"), format!("d{n}"), "greedy");
        coordinator.create_task(task, n).await.unwrap();
    }
    coordinator.create_task(of("modest", "d0".into(), "modest"), 30).await.unwrap();
    let started = |commands: &[Command]| {
        let id = |command: &Command| match command {
            Command::StartTask { task, .. } => Some(task.id.clone()),
            _ => None,
        };
        commands.iter().filter_map(id).collect::<std::collections::BTreeSet<_>>()
    };
    let first = started(&report(&coordinator, vec![], 31).await.commands);
    let greedy = first.iter().filter(|id| id.starts_with("greedy")).count();
    assert!(greedy == 5 && first.contains("modest"), "{first:?}");
    // A place that is free again is for others first.
    let mut running: Vec<_> = first.iter().map(|id| progress(id, TaskState::Running)).collect();
    assert!(report(&coordinator, running.clone(), 32).await.commands.is_empty());
    coordinator.create_task(of("late", "e".into(), "late"), 33).await.unwrap();
    running[0].state = TaskState::Success;
    assert!(running[0].id.starts_with("greedy"));
    let next = started(&report(&coordinator, running, 34).await.commands);
    assert_eq!(next.into_iter().collect::<Vec<_>>(), ["late"]);
}

async fn nobodys_supervisors_keep_all_places_of_tasks(store: Fresh) {
    let coordinator = open(&store).await;
    let refused = coordinator.put_supervisor(spec(7), false, 1).await.unwrap_err().to_string();
    assert!(refused.contains("taskCount is 7") && refused.contains("6 of the 8 places"), "{refused}");
    let named = |id: &str, datasource: &str, task_count| SupervisorSpec {
        id: id.into(),
        datasource: datasource.into(),
        ..spec(task_count)
    };
    // By several of one datasource there are no more.
    coordinator.put_supervisor(named("one", "d", 6), false, 1).await.unwrap();
    coordinator.put_supervisor(named("two", "d", 6), false, 1).await.unwrap();
    coordinator.cycle(2).await.unwrap();
    let started = |commands: &[Command]| -> Vec<String> {
        let id = |command: &Command| match command {
            Command::StartTask { task, .. } => Some(task.id.clone()),
            _ => None,
        };
        commands.iter().filter_map(id).collect()
    };
    let first = started(&report(&coordinator, vec![], 3).await.commands);
    assert_eq!(first.len(), 6, "{first:?}");
    let running: Vec<_> = first.iter().map(|id| progress(id, TaskState::Running)).collect();
    assert!(report(&coordinator, running.clone(), 4).await.commands.is_empty());
    let waits = |id: &str| coordinator.supervisor(id).unwrap().waiting;
    let told = waits("one").or(waits("two")).unwrap();
    assert!(told.contains("6 of 8 places") && told.contains("ingest.tasks_max"), "{told}");
    // Others find room.
    coordinator.put_supervisor(named("other", "e", 2), false, 5).await.unwrap();
    coordinator.cycle(6).await.unwrap();
    let others = started(&report(&coordinator, running, 7).await.commands);
    assert_eq!(others.len(), 2, "{others:?}");
    assert_eq!(waits("other"), None);
}

async fn of_a_large_task_its_data_goes_when_it_has_ended(store: Fresh) {
    let coordinator = open(&store).await;
    let data = "1,2,3\n".repeat(50_000);
    let document = json!({"type": "index", "spec": {"ioConfig": {"inputSource": {"type": "inline", "data": data}}}});
    coordinator.create_task(TaskRecord { document: document.clone(), ..batch_task("large") }, 1).await.unwrap();
    let small = json!({"type": "index", "spec": {"data": "1,2"}});
    coordinator.create_task(TaskRecord { document: small.clone(), ..batch_task("small") }, 2).await.unwrap();
    let given = report(&coordinator, vec![], 3).await.commands;
    let whole = |command: &Command| matches!(command, Command::StartTask { task, .. } if task.document == document);
    assert!(given.len() == 2 && given.iter().any(whole));
    assert_eq!(coordinator.task_document("large").await.unwrap(), document);
    let ended = ["large", "small"].map(|id| progress(id, TaskState::Success));
    report(&coordinator, ended.to_vec(), 5).await;
    let kept = coordinator.task_document("large").await.unwrap();
    let text = kept["spec"]["ioConfig"]["inputSource"]["data"].as_str().unwrap();
    assert!(text.starts_with("1,2,3\n1,2,3") && text.contains("300000 bytes") && text.len() < 2_000, "{text}");
    assert_eq!((&kept["type"], coordinator.task_document("small").await.unwrap()), (&json!("index"), small));
    assert!(coordinator.task_document("none").await.is_err());
    let listed = coordinator.tasks(TaskFilter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["small", "large"]);
}

/// All tasks of the supervisor run, and each is so far behind on a partition of its own.
async fn lagging(coordinator: &Coordinator, lag: i64, now: i64) {
    let told = |id: String| henge_coordinator::TaskProgress {
        lag: [(format!("t:{id}"), lag)].into(),
        ..progress(&id, TaskState::Running)
    };
    report(coordinator, vec![], now).await;
    report(coordinator, ids(coordinator).into_iter().map(told).collect(), now).await;
}

/// An auto scaler that grows as soon as it sees that tasks are behind.
fn eager() -> Scaling {
    Scaling {
        tasks_min: 1,
        tasks_max: 3,
        tasks_start: None,
        aggregate: LagAggregate::Sum,
        sample_ms: 10,
        range_ms: 100,
        start_ms: 50,
        period_ms: 10,
        out_lag: 100,
        out_share: 0.5,
        out_step: 2,
        out_rest_ms: 0,
        in_lag: 0,
        in_share: 1.0,
        in_step: 1,
        in_rest_ms: 60,
    }
}

async fn supervisors_that_grow_at_once_leave_places_too(store: Fresh) {
    let coordinator = open(&store).await;
    let scaling = Scaling { tasks_max: 5, out_step: 4, ..eager() };
    for id in ["one", "two"] {
        let spec = SupervisorSpec { id: id.into(), scaling: Some(scaling.clone()), ..spec(1) };
        coordinator.put_supervisor(spec, false, 0).await.unwrap();
    }
    coordinator.cycle(0).await.unwrap();
    let tasks = |id: &str| coordinator.supervisor(id).unwrap().tasks.into_iter().map(|task| task.id);
    let behind = |id: String| henge_coordinator::TaskProgress {
        lag: (0..5).map(|partition| (format!("t:{partition}"), 1_000)).collect(),
        ..progress(&id, TaskState::Running)
    };
    report(&coordinator, vec![], 1).await;
    for now in (10..=300).step_by(10) {
        report(&coordinator, tasks("one").chain(tasks("two")).map(behind).collect(), now).await;
        if coordinator.cycle(now).await.unwrap().supervisors_scaled > 0 {
            break;
        }
    }
    // Of eight places six are for the supervisors of one datasource.
    let counts = ["one", "two"].map(|id| coordinator.supervisor(id).unwrap().spec.task_count);
    assert_eq!(counts, [5, 1]);
}

async fn the_number_of_tasks_follows_the_lag(store: Fresh) {
    let scaling = eager();
    let spec = |scaling: &Scaling| SupervisorSpec { scaling: Some(scaling.clone()), ..spec(1) };
    let coordinator = open(&store).await;
    coordinator.put_supervisor(spec(&scaling), false, 0).await.unwrap();
    coordinator.cycle(0).await.unwrap();
    // One partition takes no more than one task, however long it is.
    for now in (10..=300).step_by(10) {
        lagging(&coordinator, 1_000, now).await;
        assert_eq!(coordinator.cycle(now).await.unwrap().supervisors_scaled, 0);
    }
    let two = |id: &str| henge_coordinator::TaskProgress {
        lag: [("t:0".to_string(), 60), ("t:1".to_string(), 60)].into(),
        ..progress(id, TaskState::Running)
    };
    let first = ids(&coordinator)[0].clone();
    report(&coordinator, vec![two(&first)], 310).await;
    assert_eq!(coordinator.cycle(310).await.unwrap().supervisors_scaled, 1);
    let shown = coordinator.supervisor("s").unwrap();
    assert_eq!((shown.spec.task_count, shown.generation), (2, 2));
    let scaled = shown.scaling.unwrap();
    assert_eq!((scaled.tasks_min, scaled.tasks_max, scaled.scaled_at), (1, 3, Some(310)));

    // As by another document: those there are publish, then others read on.
    assert_eq!(coordinator.cycle(311).await.unwrap().tasks_stopped, 1);
    let mut done = two(&first);
    done.done = true;
    report(&coordinator, vec![done], 312).await;
    assert_eq!(coordinator.cycle(312).await.unwrap().tasks_created, 2);
    report(&coordinator, vec![progress(&first, TaskState::Success)], 313).await;
    let groups: Vec<(u32, u32)> =
        coordinator.supervisor("s").unwrap().tasks.iter().filter_map(|task| task.share).collect();
    assert_eq!(groups, [(0, 2), (1, 2)]);

    // The number outlives the leader, and what is posted again, unless that says what to start with.
    coordinator.close().await;
    let coordinator = open(&store).await;
    assert_eq!(coordinator.supervisor("s").unwrap().spec.task_count, 2);
    assert!(!coordinator.put_supervisor(spec(&scaling), true, 320).await.unwrap());
    let other = Scaling { in_step: 5, ..scaling.clone() };
    assert!(coordinator.put_supervisor(spec(&other), true, 320).await.unwrap());
    assert_eq!(coordinator.supervisor("s").unwrap().spec.task_count, 2);
    coordinator.cycle(320).await.unwrap();
    let old: Vec<_> = ids(&coordinator).iter().map(|id| progress(id, TaskState::Success)).collect();
    report(&coordinator, old, 321).await;
    coordinator.cycle(322).await.unwrap();
    let mut shrunk_at = None;
    for now in (330..=600).step_by(10) {
        lagging(&coordinator, 0, now).await;
        if coordinator.cycle(now).await.unwrap().supervisors_scaled > 0 {
            shrunk_at = Some(now);
            break;
        }
    }
    // A delay and a range after it began anew.
    assert_eq!(shrunk_at, Some(470));
    assert_eq!(coordinator.supervisor("s").unwrap().spec.task_count, 1);
    let restarted = Scaling { tasks_start: Some(3), ..other };
    let restarted = SupervisorSpec { task_count: 3, ..spec(&restarted) };
    assert!(coordinator.put_supervisor(restarted, true, 700).await.unwrap());
    assert_eq!(coordinator.supervisor("s").unwrap().spec.task_count, 3);
}
