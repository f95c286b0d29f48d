//! Documents of others: all changes or none, versions that are compared, history, and what a restart finds.

use henge_coordinator::{Change, Error};
use serde_json::{Value, json};

use crate::fresh::Fresh;
use crate::node::{on_each_database, open};

on_each_database!(documents_change_together_or_not_at_all_and_outlive_a_restart);

fn change(kind: &'static str, name: &str, value: Option<Value>, expected: Option<i64>) -> Change {
    Change { kind, name: name.into(), value, expected, history: kind == "role" }
}

async fn documents_change_together_or_not_at_all_and_outlive_a_restart(store: Fresh) {
    let coordinator = open(&store).await;
    let watch = coordinator.watch_documents();
    let put = |changes| coordinator.change_documents(changes, "ann", 7);

    let both =
        vec![change("role", "one", Some(json!({"a": 1})), Some(0)), change("session", "s", Some(json!("x")), None)];
    assert_eq!(put(both).await.unwrap(), [1, 2]);
    assert!(watch.has_changed().unwrap());
    let one = coordinator.document("role", "one").unwrap();
    assert_eq!((&one.value, one.version, one.changed_at, one.changed_by.as_str()), (&json!({"a": 1}), 1, 7, "ann"));

    // One that is not what was expected keeps the others from being made.
    for (name, expected) in [("one", 0), ("one", 2), ("none", 1)] {
        let changes =
            vec![change("session", "s", None, None), change("role", name, Some(json!({"a": 2})), Some(expected))];
        assert!(matches!(put(changes).await, Err(Error::Conflict(_))), "{name} {expected}");
    }
    assert!(coordinator.document("session", "s").is_some());

    assert_eq!(put(vec![change("role", "one", Some(json!({"a": 3})), Some(1))]).await.unwrap(), [3]);
    put(vec![change("role", "one", None, Some(3)), change("session", "s", None, None)]).await.unwrap();
    assert!(coordinator.documents("role").is_empty() && coordinator.document("session", "s").is_none());
    put(vec![change("role", "two", Some(json!(2)), None), change("role", "three", Some(json!(3)), None)])
        .await
        .unwrap();
    coordinator.close().await;

    let coordinator = open(&store).await;
    let names: Vec<_> = coordinator.documents("role").iter().map(|of| (of.name.clone(), of.value.clone())).collect();
    assert_eq!(names, [("three".to_string(), json!(3)), ("two".to_string(), json!(2))]);
    let past = coordinator.document_history("role", "one", 10).await.unwrap();
    let past: Vec<_> = past.into_iter().map(|of| (of.version, of.value)).collect();
    assert_eq!(past, [(4, Value::Null), (3, json!({"a": 3})), (1, json!({"a": 1}))]);
    assert_eq!(coordinator.document_history("role", "one", 1).await.unwrap().len(), 1);
    assert!(coordinator.document_history("session", "s", 10).await.unwrap().is_empty());
    // Versions go on where they were.
    let next = coordinator.change_documents(vec![change("role", "one", Some(json!(1)), Some(0))], "bob", 9).await;
    assert_eq!(next.unwrap(), [8]);
}
