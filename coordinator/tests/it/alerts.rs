//! How alerts stand: what is written with a turn is there together, and the next to lead finds it.

use henge_coordinator::{ALERT_HISTORY_KEPT, AlertChange, AlertRecord, AlertState, NoticeOutcome};
use serde_json::json;

use crate::fresh::Fresh;
use crate::node::{on_each_database, open};

on_each_database!(what_a_turn_came_to_is_found_by_whoever_leads_next, history_and_what_is_to_be_told_are_bounded);

fn turn(alert: &str, at: i64, number: Option<i64>, channels: &[&str]) -> (AlertState, Vec<AlertChange>) {
    let state = AlertState { alert: alert.into(), turn: at, state: json!({"at": at}) };
    let notices = channels.iter().map(|channel| (channel.to_string(), json!({"to": channel}))).collect();
    let change = number.map(|number| AlertChange { number, at, change: json!({"n": number}), notices });
    (state, change.into_iter().collect())
}

fn outcome(channel: &str, number: i64, ended: Option<i64>, error: Option<&str>) -> NoticeOutcome {
    let error = error.map(str::to_string);
    NoticeOutcome { alert: "one".into(), number, channel: channel.into(), tries: 3, ended, error }
}

async fn what_a_turn_came_to_is_found_by_whoever_leads_next(store: Fresh) {
    let first = open(&store).await;
    let turns = vec![turn("one", 10, Some(1), &["a", "b", "c"]), turn("two", 11, None, &[])];
    first.record_alerts(AlertRecord { turns, ..Default::default() }).await.unwrap();
    let outcomes = vec![outcome("a", 1, Some(12), None), outcome("b", 1, None, Some("it is away"))];
    let turns = vec![turn("one", 20, None, &[])];
    first.record_alerts(AlertRecord { turns, outcomes, gone: Vec::new() }).await.unwrap();
    first.close().await;

    let next = open(&store).await;
    let states = next.alert_states().await.unwrap();
    let states: Vec<_> = states.iter().map(|of| (of.alert.as_str(), of.turn, &of.state["at"])).collect();
    assert_eq!(states, [("one", 20, &json!(20)), ("two", 11, &json!(11))]);
    let left = next.alert_notices(10).await.unwrap();
    let left: Vec<_> = left.iter().map(|of| (of.channel.as_str(), of.number, of.tries, &of.notice["to"])).collect();
    assert_eq!(left, [("b", 1, 3, &json!("b")), ("c", 1, 0, &json!("c"))]);
    assert_eq!(next.alert_notices(1).await.unwrap().len(), 1);
    let history = next.alert_history("one", 10).await.unwrap();
    let notified: Vec<_> =
        history[0].notified.iter().map(|of| (of.channel.as_str(), of.ended, of.error.as_deref())).collect();
    assert_eq!(notified, [("a", Some(12), None), ("b", None, Some("it is away")), ("c", None, None)]);

    next.record_alerts(AlertRecord { gone: vec!["one".into()], ..Default::default() }).await.unwrap();
    assert_eq!(next.alert_states().await.unwrap().len(), 1);
    assert!(
        next.alert_notices(10).await.unwrap().is_empty() && next.alert_history("one", 10).await.unwrap().is_empty()
    );
    next.close().await;
}

async fn history_and_what_is_to_be_told_are_bounded(store: Fresh) {
    let coordinator = open(&store).await;
    let last = ALERT_HISTORY_KEPT as i64 + 20;
    let turns = (1..=last).map(|number| turn("one", number, Some(number), &["a"])).collect();
    coordinator.record_alerts(AlertRecord { turns, ..Default::default() }).await.unwrap();
    let history = coordinator.alert_history("one", 1000).await.unwrap();
    assert_eq!((history.len(), history[0].number), (ALERT_HISTORY_KEPT, last));
    assert_eq!(coordinator.alert_notices(1000).await.unwrap().len(), ALERT_HISTORY_KEPT);
    coordinator.close().await;
}
