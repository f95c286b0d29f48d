//! Names, positions, versions: what must hold of the catalog on any database.

use henge_coordinator::{Allocation, Command, Coordinator, Error, PublishMode, Published, Selection};
use segment::SegmentId;

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    a_wish_asked_twice_gets_the_same_name,
    many_at_once_get_names_of_their_own,
    names_fit_between_what_is_there,
    names_keep_to_the_visible_part_of_a_set,
    an_append_never_outranks_a_replace_under_way,
    of_many_publications_from_the_same_positions_one_wins,
    a_publication_repeated_changes_nothing_even_after_a_restart,
    positions_alone_can_move,
    after_a_reset_the_old_task_cannot_publish,
    a_replace_hides_what_it_read_and_takes_along_what_came_later,
    an_append_that_would_be_hidden_is_renamed_first,
    another_leader_knows_rows_by_the_name_that_they_had,
    an_append_that_is_hidden_in_part_is_seen_there_under_a_second_name,
    an_append_of_a_version_that_was_dropped_hides_nothing,
    hidden_realtime_rows_go_only_together_with_all_that_stands_for_them,
    a_name_that_was_changed_is_not_given_to_others,
    a_replace_without_rows_cuts_what_sticks_out,
    a_node_is_told_what_to_load_and_drops_only_what_is_replaced,
    a_load_that_fails_is_ordered_again_after_a_while,
    segments_are_marked_and_come_back,
    a_replace_is_newer_by_the_order_of_bytes,
    what_a_later_version_added_is_passed_over_and_what_it_broke_is_refused,
);

async fn a_wish_asked_twice_gets_the_same_name(store: Fresh) {
    let coordinator = open(&store).await;
    let first = coordinator.allocate(wish("a", 0, 24, 0), 5).await.unwrap();
    assert_eq!(first.to_string(), "d_1970-01-01T00:00:00.000Z_1970-01-01T00:00:00.024Z_1970-01-01T00:00:00.005Z");
    assert_eq!(coordinator.allocate(wish("a", 0, 24, 0), 9).await.unwrap(), first);
    let next = coordinator.allocate(wish("a", 0, 24, 1), 9).await.unwrap();
    let other = coordinator.allocate(wish("b", 0, 24, 0), 9).await.unwrap();
    assert_eq!([next.partition, other.partition], [1, 2]);
    assert_eq!([&next.version, &other.version], [&first.version, &first.version]);

    coordinator.close().await;
    let coordinator = open(&store).await;
    assert_eq!(coordinator.allocate(wish("a", 0, 24, 0), 99).await.unwrap(), first);
}

async fn many_at_once_get_names_of_their_own(store: Fresh) {
    let coordinator = open(&store).await;
    let wishes = (0..40).map(|n| coordinator.allocate(wish(&format!("s{}", n % 20), 0, 24, 0), n));
    let mut ids: Vec<SegmentId> = futures::future::try_join_all(wishes).await.unwrap();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(ids.iter().map(|id| id.partition).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(ids.iter().all(|id| id.version == ids[0].version));
}

async fn names_fit_between_what_is_there(store: Fresh) {
    let coordinator = open(&store).await;
    let hour = coordinator.allocate(wish("hour", 3, 4, 0), 100).await.unwrap();
    coordinator.publish(batch(vec![meta(&hour, 1)], PublishMode::Append), 100).await.unwrap();

    let mut day = wish("day", 0, 24, 0);
    day.at = Some(10);
    let after = coordinator.allocate(day.clone(), 200).await.unwrap();
    assert_eq!(after.interval, interval(4, 24), "the part of the day that is free around the row");
    day.at = Some(1);
    let before = coordinator.allocate(day.clone(), 200).await.unwrap();
    assert_eq!(before.interval, interval(0, 3), "the same wish cannot be answered with a name that does not fit");
    day.at = Some(3);
    day.index = 1;
    let inside = coordinator.allocate(day.clone(), 200).await.unwrap();
    assert_eq!((inside.interval, &inside.version, inside.partition), (hour.interval, &hour.version, 1));
    day.at = Some(24);
    assert!(matches!(coordinator.allocate(day, 200).await, Err(Error::Invalid(_))));
}

async fn names_keep_to_the_visible_part_of_a_set(store: Fresh) {
    let coordinator = open(&store).await;
    let day = coordinator.allocate(wish("day", 0, 24, 0), 100).await.unwrap();
    coordinator.publish(batch(vec![meta(&day, 1)], PublishMode::Append), 100).await.unwrap();
    let mut replace = wish("replace", 3, 4, 0);
    replace.fresh_version = true;
    let hour = coordinator.allocate(replace, 100).await.unwrap();
    assert!(hour.version > day.version);
    let mode = PublishMode::Replace { intervals: vec![hour.interval] };
    coordinator.publish(batch(vec![meta(&hour, 2)], mode), 100).await.unwrap();

    let mut late = wish("late", 0, 24, 0);
    late.at = Some(20);
    let id = coordinator.allocate(late.clone(), 300).await.unwrap();
    assert_eq!((id.interval, &id.version), (interval(4, 24), &day.version), "beside the part of the day that is seen");
    late.at = Some(3);
    late.index = 1;
    let id = coordinator.allocate(late, 300).await.unwrap();
    assert_eq!((id.interval, &id.version, id.partition), (hour.interval, &hour.version, 1));
}

async fn an_append_never_outranks_a_replace_under_way(store: Fresh) {
    let coordinator = open(&store).await;
    let mut replace = wish("replace", 0, 24, 0);
    replace.fresh_version = true;
    let replace = coordinator.allocate(replace, 100).await.unwrap();
    let append = coordinator.allocate(wish("append", 0, 24, 0), 900).await.unwrap();
    assert!(append.version < replace.version);
}

async fn of_many_publications_from_the_same_positions_one_wins(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    let mut racing = Vec::new();
    for n in 0..16 {
        let id = coordinator.allocate(wish(&format!("r{n}"), 0, 24, 0), 2).await.unwrap();
        let to = positions(&[("t:0", 10 + n as i64)]);
        let coordinator = coordinator.clone();
        let what = streamed(&task, vec![meta(&id, n)], positions(&[("t:0", 0)]), to);
        racing.push(tokio::spawn(async move { coordinator.publish(what, 3).await }));
    }
    let mut won = 0;
    for race in racing {
        match race.await.unwrap() {
            Ok(Published::Committed(metas)) => {
                won += 1;
                assert_eq!(coordinator.segments("d"), metas);
            }
            Err(Error::Stale { committed, .. }) => assert_eq!(committed, coordinator.positions("s").await.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(coordinator.segments("d").len(), 1);
}

async fn a_publication_repeated_changes_nothing_even_after_a_restart(store: Fresh) {
    let mut coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    let id = coordinator.allocate(wish("a", 0, 24, 0), 2).await.unwrap();
    let what = streamed(&task, vec![meta(&id, 7)], positions(&[("t:0", 0)]), positions(&[("t:0", 5)]));
    let first = coordinator.publish(what.clone(), 3).await.unwrap();
    assert_eq!(coordinator.publish(what.clone(), 4).await.unwrap(), first);

    coordinator.close().await;
    coordinator = open(&store).await;
    assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", 5)]));
    assert_eq!(coordinator.publish(what.clone(), 5).await.unwrap(), first);
    assert_eq!(coordinator.segments("d").len(), 1);

    let mut other_rows = what.clone();
    other_rows.segments[0].checksum = 8;
    assert!(matches!(coordinator.publish(other_rows, 6).await, Err(Error::Invalid(_))));
    let on = coordinator.allocate(wish("b", 0, 24, 0), 7).await.unwrap();
    let next = streamed(&task, vec![meta(&on, 9)], positions(&[("t:0", 5)]), positions(&[("t:0", 6), ("t:1", 3)]));
    assert!(matches!(coordinator.publish(next, 7).await.unwrap(), Published::Committed(_)));
    assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", 6), ("t:1", 3)]));
}

async fn positions_alone_can_move(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    let what = streamed(&task, vec![], positions(&[("t:0", 0)]), positions(&[("t:0", 5)]));
    assert_eq!(coordinator.publish(what, 3).await.unwrap(), Published::Committed(vec![]));
    assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", 5)]));
}

async fn after_a_reset_the_old_task_cannot_publish(store: Fresh) {
    let coordinator = open(&store).await;
    let task = running_task(&coordinator).await;
    let id = coordinator.allocate(wish("a", 0, 24, 0), 2).await.unwrap();
    coordinator.reset("s", 3).await.unwrap();
    let what = streamed(&task, vec![meta(&id, 7)], positions(&[("t:0", 0)]), positions(&[("t:0", 5)]));
    assert!(matches!(coordinator.publish(what.clone(), 4).await, Err(Error::Stale { .. })));
    let stranger = streamed("stranger", what.segments, what.from, what.to);
    assert!(matches!(coordinator.publish(stranger, 4).await, Err(Error::Stale { .. })));
    assert!(coordinator.segments("d").is_empty());
}

async fn a_replace_hides_what_it_read_and_takes_along_what_came_later(store: Fresh) {
    let coordinator = open(&store).await;
    let early = coordinator.allocate(wish("early", 0, 24, 0), 10).await.unwrap();
    coordinator.publish(batch(vec![meta(&early, 1)], PublishMode::Append), 10).await.unwrap();

    let mut fresh = wish("replace", 0, 24, 0);
    fresh.fresh_version = true;
    let new = [
        coordinator.allocate(fresh.clone(), 10).await.unwrap(),
        coordinator.allocate(henge_coordinator::Allocation { index: 1, ..fresh }, 11).await.unwrap(),
    ];
    assert_eq!((new[0].partition, new[1].partition, &new[0].version), (0, 1, &new[1].version));

    let late = coordinator.allocate(wish("late", 0, 24, 0), 10).await.unwrap();
    coordinator.publish(batch(vec![meta(&late, 2)], PublishMode::Append), 10).await.unwrap();

    let metas = vec![meta(&new[0], 3), meta(&new[1], 4)];
    let mode = PublishMode::Replace { intervals: vec![interval(0, 24)] };
    let Published::Committed(metas) = coordinator.publish(batch(metas, mode), 12).await.unwrap() else { panic!() };
    assert!(metas.iter().all(|meta| meta.core_partitions == 2));

    let seen: Vec<(u64, u32)> = {
        let hidden = coordinator.overshadowed("d");
        let all = coordinator.segments("d").into_iter().filter(|meta| !hidden.contains(&meta.id));
        all.map(|meta| (meta.checksum, meta.id.partition)).collect()
    };
    assert_eq!(seen, [(3, 0), (4, 1), (2, 2)], "the late rows are named again in the new set");
    assert!(!coordinator.segment(&early.to_string()).await.unwrap().used);
}

async fn an_append_that_would_be_hidden_is_renamed_first(store: Fresh) {
    let coordinator = open(&store).await;
    let slow = coordinator.allocate(wish("slow", 0, 24, 0), 10).await.unwrap();
    let mut fresh = wish("replace", 0, 24, 0);
    fresh.fresh_version = true;
    let new = coordinator.allocate(fresh, 20).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![interval(0, 24)] };
    coordinator.publish(batch(vec![meta(&new, 1)], mode), 20).await.unwrap();

    let Published::Renamed(ids) =
        coordinator.publish(batch(vec![meta(&slow, 2)], PublishMode::Append), 30).await.unwrap()
    else {
        panic!("the slow rows would be hidden")
    };
    assert_eq!((&ids[0].version, ids[0].partition), (&new.version, 1));
    assert_eq!(coordinator.segments("d").len(), 1, "nothing is published yet");
    let other = coordinator.allocate(wish("other", 0, 24, 0), 30).await.unwrap();
    assert_eq!(other.partition, 2, "the new name is reserved");
    let again = coordinator.publish(batch(vec![meta(&ids[0], 2)], PublishMode::Append), 30).await.unwrap();
    assert!(matches!(again, Published::Committed(metas) if metas[0].id == ids[0] && metas[0].core_partitions == 1));
}

async fn another_leader_knows_rows_by_the_name_that_they_had(store: Fresh) {
    for is_replaced in [false, true] {
        let first = open(&store).await;
        let slow = first.allocate(wish(&format!("slow {is_replaced}"), 0, 24, 0), 10).await.unwrap();
        let replace = async |checksum: u64| {
            let sequence = format!("replace {is_replaced} {checksum}");
            let fresh = Allocation { fresh_version: true, ..wish(&sequence, 0, 24, 0) };
            let id = first.allocate(fresh, 20 + checksum as i64).await.unwrap();
            let mode = PublishMode::Replace { intervals: vec![interval(0, 24)] };
            first.publish(batch(vec![meta(&id, checksum)], mode), 30 + checksum as i64).await.unwrap();
            id
        };
        replace(1 + 10 * u64::from(is_replaced)).await;
        let append = |id: &SegmentId| batch(vec![meta(id, 2 + 10 * u64::from(is_replaced))], PublishMode::Append);
        let Published::Renamed(names) = first.publish(append(&slow), 50).await.unwrap() else { panic!("not renamed") };
        first.publish(append(&names[0]), 50).await.unwrap();
        if is_replaced {
            replace(13).await;
        }

        // The node has not heard of it yet, and tells of its rows under the name that they had.
        let second = open(&store).await;
        let used: Vec<SegmentId> = second.segments("d").into_iter().map(|meta| meta.id).collect();
        serve(&second, vec![], vec![slow.clone()], 60).await;
        second.cycle(60).await.unwrap();
        serve(&second, used.clone(), vec![slow.clone()], 61).await;
        second.cycle(61).await.unwrap();
        let table = second.view().tables["d"].clone();
        let seen: Vec<SegmentId> = table.published.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!((seen, table.realtime.len()), (used, 0), "{is_replaced}: the rows count once");
    }
}

async fn an_append_that_is_hidden_in_part_is_seen_there_under_a_second_name(store: Fresh) {
    let coordinator = open(&store).await;
    let day = coordinator.allocate(wish("day", 0, 24, 0), 10).await.unwrap();
    let mut fresh = wish("replace", 3, 4, 0);
    fresh.fresh_version = true;
    let hour = coordinator.allocate(fresh, 20).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![hour.interval] };
    coordinator.publish(batch(vec![meta(&hour, 1)], mode), 20).await.unwrap();

    let published = coordinator.publish(batch(vec![meta(&day, 2)], PublishMode::Append), 30).await.unwrap();
    assert!(matches!(published, Published::Committed(metas) if metas.len() == 1 && metas[0].id == day));
    let names: Vec<(u64, SegmentId)> =
        coordinator.segments("d").into_iter().map(|meta| (meta.checksum, meta.id)).collect();
    let second = SegmentId { partition: 1, ..hour.clone() };
    assert_eq!(names, [(2, day), (1, hour), (2, second)]);
}

async fn an_append_of_a_version_that_was_dropped_hides_nothing(store: Fresh) {
    let coordinator = open(&store).await;
    let day = coordinator.allocate(wish("day", 0, 24, 0), 10).await.unwrap();
    let fresh = Allocation { fresh_version: true, ..wish("replace", 12, 24, 0) };
    let half = coordinator.allocate(fresh, 20).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![half.interval] };
    coordinator.publish(batch(vec![meta(&half, 1)], mode), 20).await.unwrap();
    let late = Allocation { at: Some(13), ..wish("late", 0, 24, 0) };
    let late = coordinator.allocate(late, 30).await.unwrap();
    assert_eq!((late.interval, &late.version), (half.interval, &half.version));
    coordinator.mark_unused("d", Selection::Intervals(vec![half.interval]), 40).await.unwrap();

    for (id, checksum) in [(&day, 2), (&late, 3)] {
        let published = coordinator.publish(batch(vec![meta(id, checksum)], PublishMode::Append), 50).await.unwrap();
        assert!(matches!(published, Published::Committed(metas) if metas.len() == 1 && metas[0].id == *id));
    }
    let names: Vec<(u64, SegmentId)> =
        coordinator.segments("d").into_iter().map(|meta| (meta.checksum, meta.id)).collect();
    let second = SegmentId { partition: late.partition + 1, ..late.clone() };
    assert_eq!(names, [(2, day), (3, late), (2, second)]);
}

async fn hidden_realtime_rows_go_only_together_with_all_that_stands_for_them(store: Fresh) {
    let coordinator = open(&store).await;
    report(&coordinator, vec![], 1).await;
    let day = coordinator.allocate(wish("day", 0, 24, 0), 10).await.unwrap();
    let mut halves = Vec::new();
    for (start, at) in [(0, 20), (12, 30)] {
        let fresh = Allocation { fresh_version: true, ..wish(&format!("replace {start}"), start, start + 12, 0) };
        let half = coordinator.allocate(fresh, at).await.unwrap();
        let mode = PublishMode::Replace { intervals: vec![half.interval] };
        coordinator.publish(batch(vec![meta(&half, at as u64)], mode), at).await.unwrap();
        halves.push(half);
    }
    // Both halves of the day are hidden, by two versions: its file gets a second and a third name.
    coordinator.publish(batch(vec![meta(&day, 1)], PublishMode::Append), 40).await.unwrap();
    let broken = vec![(halves[1].clone(), "disk full".to_string())];
    let served = henge_coordinator::Served { published: vec![], realtime: vec![day.clone()] };
    let failed = henge_coordinator::Report {
        member: member("n"),
        seq: next_seq(),
        served: Some(served),
        broken,
        ..Default::default()
    };
    assert_eq!(coordinator.heartbeat(failed, 100).await.unwrap().commands, []);

    let reply = serve(&coordinator, vec![], vec![day.clone()], 1100).await;
    let loads = reply.commands.iter().filter(|command| matches!(command, Command::Load(_))).count();
    assert_eq!((loads, reply.commands.last()), (4, Some(&Command::Drop(day))));
}

async fn a_name_that_was_changed_is_not_given_to_others(store: Fresh) {
    let coordinator = open(&store).await;
    let old = coordinator.allocate(wish("stream", 0, 24, 0), 10).await.unwrap();
    let fresh = Allocation { fresh_version: true, ..wish("replace", 0, 24, 0) };
    let new = coordinator.allocate(fresh, 20).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![new.interval] };
    coordinator.publish(batch(vec![meta(&new, 1)], mode), 20).await.unwrap();

    let append = || batch(vec![meta(&old, 2)], PublishMode::Append);
    let Published::Renamed(names) = coordinator.publish(append(), 30).await.unwrap() else { panic!("not renamed") };
    let Published::Renamed(again) = coordinator.publish(append(), 31).await.unwrap() else { panic!("not renamed") };
    assert_eq!(names, again, "as after a crash between the answer and its being written down");
    assert_eq!(coordinator.mark_unused("d", Selection::All, 40).await.unwrap(), 1);
    let other = coordinator.allocate(wish("other", 0, 24, 0), 50).await.unwrap();
    assert!(other != old && other != names[0], "{other}");
}

async fn a_replace_without_rows_cuts_what_sticks_out(store: Fresh) {
    let coordinator = open(&store).await;
    let day = coordinator.allocate(wish("day", 0, 24, 0), 10).await.unwrap();
    coordinator.publish(batch(vec![meta(&day, 1)], PublishMode::Append), 10).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![interval(8, 12)] };
    coordinator.publish(batch(vec![], mode), 20).await.unwrap();
    let left: Vec<_> = coordinator.segments("d").into_iter().map(|meta| (meta.id.interval, meta.checksum)).collect();
    assert_eq!(left, [(interval(0, 8), 1), (interval(12, 24), 1)]);
}

async fn a_node_is_told_what_to_load_and_drops_only_what_is_replaced(store: Fresh) {
    let coordinator = open(&store).await;
    let old = coordinator.allocate(wish("old", 0, 24, 0), 10).await.unwrap();
    coordinator.publish(batch(vec![meta(&old, 1)], PublishMode::Append), 10).await.unwrap();
    assert!(!coordinator.is_served(&old));
    let reply = report(&coordinator, vec![], 10).await;
    assert!(matches!(&reply.commands[..], [Command::Load(meta)] if meta.id == old));
    assert!(serve(&coordinator, vec![old.clone()], vec![], 11).await.commands.is_empty());
    assert!(coordinator.is_served(&old));

    let mut fresh = wish("replace", 0, 24, 0);
    fresh.fresh_version = true;
    let new = coordinator.allocate(fresh, 20).await.unwrap();
    let mode = PublishMode::Replace { intervals: vec![interval(0, 24)] };
    coordinator.publish(batch(vec![meta(&new, 2)], mode), 20).await.unwrap();
    let reply = report(&coordinator, vec![], 20).await;
    assert!(matches!(&reply.commands[..], [Command::Load(meta)] if meta.id == new), "the old one answers meanwhile");
    assert!(!coordinator.is_served(&old), "nor may a task that holds its rows let go of them");
    let reply = serve(&coordinator, vec![old.clone(), new.clone()], vec![], 21).await;
    assert_eq!(reply.commands, [Command::Drop(old.clone())]);
    assert!(coordinator.is_served(&old));
    assert_eq!(coordinator.load_status()["d"].percent(), 100.0);
}

async fn a_load_that_fails_is_ordered_again_after_a_while(store: Fresh) {
    let coordinator = open(&store).await;
    let id = coordinator.allocate(wish("a", 0, 24, 0), 10).await.unwrap();
    coordinator.publish(batch(vec![meta(&id, 1)], PublishMode::Append), 10).await.unwrap();
    let broken = vec![(id.clone(), "disk full".to_string())];
    let failed = henge_coordinator::Report { member: member("n"), seq: next_seq(), broken, ..Default::default() };
    assert!(coordinator.heartbeat(failed, 100).await.unwrap().commands.is_empty());
    assert_eq!(coordinator.broken_loads()[0].2, "disk full");
    assert!(report(&coordinator, vec![], 1099).await.commands.is_empty());
    assert_eq!(report(&coordinator, vec![], 1100).await.commands.len(), 1);
}

async fn segments_are_marked_and_come_back(store: Fresh) {
    let coordinator = open(&store).await;
    let mut ids = Vec::new();
    for start in 0..4 {
        let id = coordinator.allocate(wish("a", start, start + 1, 0), 10).await.unwrap();
        coordinator.publish(batch(vec![meta(&id, start as u64)], PublishMode::Append), 10).await.unwrap();
        ids.push(id);
    }
    let some = Selection::Intervals(vec![interval(0, 2), interval(2, 3)]);
    assert_eq!(coordinator.mark_unused("d", some.clone(), 20).await.unwrap(), 3);
    assert_eq!(coordinator.mark_unused("d", some, 20).await.unwrap(), 0);
    assert_eq!(coordinator.unused_segments("d", None, 2).await.unwrap().len(), 2);
    assert_eq!(coordinator.mark_used("d", Selection::Ids(vec![ids[1].to_string()]), 30).await.unwrap(), 1);
    assert_eq!(coordinator.mark_unused("d", Selection::All, 40).await.unwrap(), 2);
    assert!(coordinator.datasources(false).await.unwrap().is_empty());
    assert_eq!(coordinator.datasources(true).await.unwrap(), ["d"]);

    coordinator.close().await;
    let coordinator = open(&store).await;
    assert!(coordinator.segments("d").is_empty());
    assert_eq!(coordinator.mark_used("d", Selection::All, 50).await.unwrap(), 4);
    assert_eq!(coordinator.segments("d").len(), 4);
    assert!(matches!(coordinator.segment("nothing").await, Err(Error::NotFound(_))));
}

async fn a_replace_is_newer_by_the_order_of_bytes(store: Fresh) {
    let coordinator = open(&store).await;
    for (number, version) in [(1, "B"), (2, "a")] {
        let id = SegmentId { datasource: "d".into(), interval: interval(0, 24), version: version.into(), partition: 0 };
        let mode = PublishMode::Replace { intervals: vec![] };
        coordinator.publish(batch(vec![meta(&id, number)], mode), 10).await.unwrap();
    }
    let fresh = Allocation { fresh_version: true, ..wish("replace", 0, 24, 0) };
    // In a dictionary, B comes after a.
    assert_eq!(coordinator.allocate(fresh, 20).await.unwrap().version, "a.1");
}

/// Nodes of two versions work on one store while a cluster is upgraded, and those of the earlier one are started again meanwhile.
async fn what_a_later_version_added_is_passed_over_and_what_it_broke_is_refused(store: Fresh) {
    open(&store).await.close().await;
    let changed = |version: u32, name: &str| {
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT {version}, '{name}', success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1"
        )
    };
    store.execute("ALTER TABLE supervisors ADD COLUMN later TEXT").await;
    store.execute(&changed(1000, "more of supervisors")).await;
    let coordinator = open(&store).await;
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    coordinator.close().await;

    store.execute(&changed(1001, "breaking names")).await;
    let refused = Coordinator::open_store(&store.address().parse().unwrap(), SETTINGS).await.map(|_| ());
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("(breaking names); start that version"), "{why}");
}
