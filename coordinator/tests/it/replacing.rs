//! Who may replace rows is asked when they are replaced, and not before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use henge_coordinator::{Allocation, Coordinator, Error, Poster, PublishMode, Sight, TaskRecord, TaskState};
use segment::SegmentId;
use serde_json::{Value, json};

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    what_a_task_replaces_its_poster_may_take_away_at_that_moment,
    whose_poster_is_not_known_replaces_nothing_where_somebody_is_asked,
);

/// Lets `ann` replace all, whoever else what is not there, and nobody who is away.
#[derive(Default)]
struct Rules {
    ann_is_away: AtomicBool,
}

impl Sight for Rules {
    fn hindrance(&self, poster: &Poster, datasource: &str, is_there: bool) -> Option<String> {
        assert_eq!((datasource, &poster.document), ("d", &json!({"n": 1})));
        let may = match poster.key.as_str() {
            "ann" => !self.ann_is_away.load(Ordering::Relaxed),
            _ => !is_there,
        };
        (!may).then(|| format!("{} may not", poster.key))
    }
}

fn task(id: &str, poster: Option<&str>) -> TaskRecord {
    TaskRecord {
        id: id.into(),
        group_id: id.into(),
        datasource: "d".into(),
        kind: "index".into(),
        supervisor: None,
        document: Value::Null,
        group: 0,
        groups: 1,
        generation: 0,
        created_at: 5,
        follows: Vec::new(),
        poster: poster.map(|key| Poster { key: key.into(), document: json!({"n": 1}) }),
    }
}

/// Has it run, and gives a name for what it replaces.
async fn run(coordinator: &Coordinator, task: TaskRecord, now: i64) -> SegmentId {
    let id = task.id.clone();
    coordinator.create_task(task, now).await.unwrap();
    report(coordinator, vec![], now).await;
    let wish = Allocation { task: id.clone(), fresh_version: true, ..wish(&id, 0, 24, 0) };
    coordinator.allocate(wish, now).await.unwrap()
}

async fn replace(coordinator: &Coordinator, task: &str, id: &SegmentId, now: i64) -> Result<(), Error> {
    let mode = PublishMode::Replace { intervals: vec![interval(0, 24)] };
    let what = batch(vec![meta(id, now as u64)], mode);
    coordinator.publish(henge_coordinator::Publication { task: task.into(), ..what }, now).await.map(drop)
}

async fn what_a_task_replaces_its_poster_may_take_away_at_that_moment(store: Fresh) {
    let coordinator = open(&store).await;
    let rules = Arc::new(Rules::default());
    coordinator.ask_of_sight(rules.clone());
    // Both are posted while there is nothing; who comes first takes nothing away, and who comes later would.
    let first = run(&coordinator, task("first", Some("bob")), 1).await;
    let second = run(&coordinator, task("second", Some("bob")), 2).await;
    replace(&coordinator, "first", &first, 10).await.unwrap();
    let tables = store.dump().await;
    let refused = replace(&coordinator, "second", &second, 11).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    assert_eq!(refused.to_string(), "the task replaces rows of [d] and is not published: bob may not");
    assert_eq!(store.dump().await, tables);
    // What was committed is told as it was, also to who may no more.
    replace(&coordinator, "first", &first, 10).await.unwrap();

    let third = run(&coordinator, task("third", Some("ann")), 12).await;
    let fourth = run(&coordinator, task("fourth", Some("ann")), 13).await;
    replace(&coordinator, "third", &third, 14).await.unwrap();
    rules.ann_is_away.store(true, Ordering::Relaxed);
    assert!(replace(&coordinator, "fourth", &fourth, 15).await.is_err());
    assert_eq!(coordinator.segments("d").iter().map(|meta| &meta.id).collect::<Vec<_>>(), [&third]);
    // Who adds takes nothing away.
    let fifth =
        coordinator.allocate(Allocation { task: "fourth".into(), ..wish("fourth", 0, 24, 9) }, 16).await.unwrap();
    let what = batch(vec![meta(&fifth, 16)], PublishMode::Append);
    coordinator.publish(henge_coordinator::Publication { task: "fourth".into(), ..what }, 16).await.unwrap();
    assert_eq!(coordinator.segments("d").len(), 2);

    // It is known of a task, too, that another leader finds.
    drop(coordinator);
    let coordinator = open(&store).await;
    coordinator.ask_of_sight(rules.clone());
    let running = ["second", "fourth"].map(|id| progress(id, TaskState::Running));
    report(&coordinator, running.to_vec(), 20).await;
    assert!(replace(&coordinator, "second", &second, 21).await.unwrap_err().to_string().contains("bob may not"));
    rules.ann_is_away.store(false, Ordering::Relaxed);
    replace(&coordinator, "fourth", &fourth, 22).await.unwrap();
}

async fn whose_poster_is_not_known_replaces_nothing_where_somebody_is_asked(store: Fresh) {
    let coordinator = open(&store).await;
    let unknown = run(&coordinator, task("unknown", None), 1).await;
    let known = run(&coordinator, task("known", Some("ann")), 2).await;
    let refused = replace(&coordinator, "known", &known, 3).await.unwrap_err().to_string();
    assert!(refused.contains("nobody is there yet"), "{refused}");
    coordinator.ask_of_sight(Arc::new(Rules::default()));
    let refused = replace(&coordinator, "unknown", &unknown, 4).await.unwrap_err().to_string();
    assert!(refused.contains("it is not known who posted it"), "{refused}");
    replace(&coordinator, "known", &known, 5).await.unwrap();
}
