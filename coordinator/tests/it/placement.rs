//! Rules and places as callers see them: several nodes report and are told what to load and what to drop.

use std::collections::{BTreeMap, BTreeSet};

use henge_coordinator::rules::DEFAULT;
use henge_coordinator::{Command, Coordinator, PublishMode, Report, Served};
use segment::SegmentId;
use serde_json::{Value, json};

use crate::fresh::Fresh;
use crate::node::*;

on_each_database!(
    rules_are_kept_with_their_history_and_refused_when_wrong,
    a_rule_that_drops_takes_out_of_use_without_showing_what_was_replaced,
    copies_follow_rules_nodes_and_settings,
    what_is_loaded_nowhere_is_handed_off_and_hides_nothing_back,
    a_catalog_read_again_keeps_rules_and_places,
    a_new_leader_loads_nothing_before_the_nodes_it_knows_of_have_told,
    what_is_loaded_nowhere_is_in_no_view_unless_it_hides_older_rows,
);

const DAY: i64 = 86_400_000;

/// Nodes as models of what they serve.
#[derive(Default)]
struct Nodes {
    published: BTreeMap<String, BTreeSet<SegmentId>>,
}

impl Nodes {
    fn of(names: &[&str]) -> Nodes {
        Nodes { published: names.iter().map(|name| (name.to_string(), BTreeSet::new())).collect() }
    }

    /// Cycles and heartbeats until nobody is told anything any more.
    async fn settle(&mut self, coordinator: &Coordinator, now: i64) {
        let mut quiet = 0;
        for _ in 0..100 {
            coordinator.cycle(now).await.unwrap();
            quiet += 1;
            for (node, published) in &mut self.published {
                let served = Some(Served { published: published.iter().cloned().collect(), realtime: vec![] });
                let report = Report { member: member(node), seq: next_seq(), served, ..Report::default() };
                for command in coordinator.heartbeat(report, now).await.unwrap().commands {
                    quiet = 0;
                    match command {
                        Command::Load(meta) => assert!(published.insert(meta.id)),
                        Command::Drop(id) => assert!(published.remove(&id)),
                        other => panic!("{other:?}"),
                    }
                }
            }
            if quiet == 3 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn copies(&self, id: &SegmentId) -> usize {
        self.published.values().filter(|published| published.contains(id)).count()
    }
}

async fn publish(coordinator: &Coordinator, sequence: &str, day: i64, mode: PublishMode) -> SegmentId {
    let mut wish = wish(sequence, day * DAY, (day + 1) * DAY, 0);
    wish.fresh_version = matches!(mode, PublishMode::Replace { .. });
    let id = coordinator.allocate(wish, 1).await.unwrap();
    let checksum = sequence.bytes().map(u64::from).sum::<u64>() * 1_000 + day as u64;
    coordinator.publish(batch(vec![meta(&id, checksum)], mode), 1).await.unwrap();
    id
}

async fn set(coordinator: &Coordinator, rules: Value) {
    coordinator.set_rules("d", rules, "ann", 7).await.unwrap();
}

async fn rules_are_kept_with_their_history_and_refused_when_wrong(store: Fresh) {
    let coordinator = open(&store).await;
    assert_eq!(coordinator.rules_of(DEFAULT)[0]["tieredReplicants"], json!({"_default_tier": 2}));
    assert_eq!(coordinator.rules_of("d"), json!([]));
    let rules = json!([{"type": "loadByPeriod", "period": "P1M", "tieredReplicants": {"hot": 3}}]);
    set(&coordinator, rules.clone()).await;
    set(&coordinator, json!([])).await;
    set(&coordinator, rules.clone()).await;
    coordinator.set_rules(DEFAULT, json!([{"type": "loadForever"}]), "bob", 8).await.unwrap();
    for (datasource, rules, told) in [
        ("d", json!([{"type": "loadByPeriod", "period": "month"}]), "rules[0].period is \"month\""),
        ("d", json!([{"type": "loadPartialForever"}]), "not supported"),
        (DEFAULT, json!([]), "nothing would be loaded"),
        ("sys.audit", json!([]), "the store's own"),
        ("", json!([]), "name one"),
    ] {
        let error = coordinator.set_rules(datasource, rules, "ann", 9).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    coordinator.close().await;

    let coordinator = open(&store).await;
    assert_eq!(coordinator.rules()["d"], rules);
    let history = coordinator.rules_history(Some("d"), 10).await.unwrap();
    let told: Vec<(&Value, &str)> = history.iter().map(|was| (&was.value, was.changed_by.as_str())).collect();
    assert_eq!(told, [(&rules, "ann"), (&json!([]), "ann"), (&rules, "ann")]);
    let all = coordinator.rules_history(None, 2).await.unwrap();
    assert_eq!(all.iter().map(|was| was.name.as_str()).collect::<Vec<_>>(), [DEFAULT, "d"]);
}

async fn a_rule_that_drops_takes_out_of_use_without_showing_what_was_replaced(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a", "b"]);
    let now = 100 * DAY;
    // Two days in one segment, of which a replace took the first: the rest of the old one still counts.
    let old = coordinator.allocate(wish("old", 10 * DAY, 12 * DAY, 0), 1).await.unwrap();
    coordinator.publish(batch(vec![meta(&old, 1)], PublishMode::Append), 1).await.unwrap();
    let first = vec![interval(10 * DAY, 11 * DAY)];
    let new = publish(&coordinator, "new", 10, PublishMode::Replace { intervals: first }).await;
    let kept = publish(&coordinator, "kept", 50, PublishMode::Append).await;
    nodes.settle(&coordinator, now).await;
    assert_eq!([&old, &new, &kept].map(|id| nodes.copies(id)), [2, 2, 2]);

    // A rule for the first day alone would bring the replaced rows of the old segment back.
    set(&coordinator, json!([{"type": "dropByInterval", "interval": "1970-01-11/1970-01-12"}])).await;
    nodes.settle(&coordinator, now).await;
    assert_eq!([&old, &new, &kept].map(|id| nodes.copies(id)), [2, 2, 2]);
    assert!(coordinator.segment(&new.to_string()).await.unwrap().used);

    set(&coordinator, json!([{"type": "dropBeforeByPeriod", "period": "P60D"}])).await;
    nodes.settle(&coordinator, now).await;
    assert_eq!([&old, &new, &kept].map(|id| nodes.copies(id)), [0, 0, 2]);
    assert!(!coordinator.segment(&new.to_string()).await.unwrap().used);
    assert!(coordinator.segment(&kept.to_string()).await.unwrap().used);

    // Nothing changes but the time.
    nodes.settle(&coordinator, now + 10 * DAY).await;
    assert_eq!(nodes.copies(&kept), 2);
    nodes.settle(&coordinator, now + 12 * DAY).await;
    assert_eq!(nodes.copies(&kept), 0);
    assert!(!coordinator.segment(&kept.to_string()).await.unwrap().used);
}

async fn copies_follow_rules_nodes_and_settings(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a"]);
    let id = publish(&coordinator, "one", 10, PublishMode::Append).await;
    nodes.settle(&coordinator, 1).await;
    assert_eq!(nodes.copies(&id), 1);
    for name in ["b", "c", "d"] {
        nodes.published.insert(name.to_string(), BTreeSet::new());
    }
    nodes.settle(&coordinator, 2).await;
    assert_eq!(nodes.copies(&id), 2);

    let emptied: Vec<&String> =
        nodes.published.iter().filter(|(_, has)| has.contains(&id)).map(|(name, _)| name).collect();
    let config = json!({"decommissioningNodes": emptied});
    coordinator.set_dynamic_config(config, "ann", 3).await.unwrap();
    nodes.settle(&coordinator, 3).await;
    assert_eq!(nodes.copies(&id), 2);
    assert!(
        coordinator.dynamic_config()["decommissioningNodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|name| { nodes.published[name.as_str().unwrap()].is_empty() })
    );
    coordinator.set_dynamic_config(json!({"decommissioningNodes": [], "mine": 1}), "ann", 4).await.unwrap();
    assert_eq!(coordinator.dynamic_config()["mine"], 1);
    assert_eq!(coordinator.dynamic_config_history(9).await.unwrap().len(), 2);

    set(&coordinator, json!([{"type": "broadcastForever"}])).await;
    nodes.settle(&coordinator, 5).await;
    assert_eq!(nodes.copies(&id), 4);
    coordinator.set_dynamic_config(json!({"pauseCoordination": true}), "ann", 6).await.unwrap();
    set(&coordinator, json!([])).await;
    nodes.settle(&coordinator, 6).await;
    assert_eq!(nodes.copies(&id), 4);
    coordinator.set_dynamic_config(json!({"pauseCoordination": false}), "ann", 7).await.unwrap();
    nodes.settle(&coordinator, 7).await;
    assert_eq!(nodes.copies(&id), 2);

    let gone = nodes.published.iter().find(|(_, has)| has.contains(&id)).map(|(name, _)| name.clone()).unwrap();
    nodes.published.remove(&gone);
    coordinator.forget_node(&gone, member(&gone).process, 8).await.unwrap();
    nodes.settle(&coordinator, 8).await;
    assert_eq!(nodes.copies(&id), 2);
    assert_eq!(coordinator.served_by(&id).len(), 2);

    // A tier without nodes takes nothing over, so nothing may go from where it is.
    set(&coordinator, json!([{"type": "loadForever", "tieredReplicants": {"none": 1}}])).await;
    nodes.settle(&coordinator, 9).await;
    assert_eq!(nodes.copies(&id), 2);
}

async fn what_is_loaded_nowhere_is_handed_off_and_hides_nothing_back(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a", "b"]);
    set(&coordinator, json!([{"type": "loadForever", "tieredReplicants": {}}])).await;
    let id = publish(&coordinator, "one", 10, PublishMode::Append).await;
    nodes.settle(&coordinator, 1).await;
    assert_eq!((nodes.copies(&id), coordinator.is_served(&id)), (0, true));
    assert_eq!(coordinator.load_status()["d"].percent(), 100.0);
    assert!(coordinator.segment(&id.to_string()).await.unwrap().used);
    let next = publish(&coordinator, "two", 10, PublishMode::Replace { intervals: vec![id.interval] }).await;
    nodes.settle(&coordinator, 2).await;
    assert!(!coordinator.segment(&id.to_string()).await.unwrap().used);
    set(&coordinator, json!([])).await;
    assert_eq!(coordinator.load_status()["d"].percent(), 0.0);
    nodes.settle(&coordinator, 3).await;
    assert_eq!((nodes.copies(&id), nodes.copies(&next)), (0, 2));
}

async fn a_catalog_read_again_keeps_rules_and_places(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a", "b", "c"]);
    set(&coordinator, json!([{"type": "loadForever", "tieredReplicants": {"_default_tier": 3}}])).await;
    let id = publish(&coordinator, "one", 10, PublishMode::Append).await;
    nodes.settle(&coordinator, 1).await;
    coordinator.close().await;
    let coordinator = open(&store).await;
    nodes.settle(&coordinator, 2).await;
    assert_eq!(nodes.copies(&id), 3);
}

async fn a_new_leader_loads_nothing_before_the_nodes_it_knows_of_have_told(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a", "b", "c"]);
    let id = publish(&coordinator, "one", 10, PublishMode::Append).await;
    nodes.settle(&coordinator, 1).await;
    assert_eq!(nodes.copies(&id), 2);
    coordinator.close().await;

    let coordinator = open(&store).await;
    let without = nodes.published.iter().find(|(_, has)| !has.contains(&id)).map(|(name, _)| name.clone()).unwrap();
    let has = nodes.published.remove(&without).unwrap();
    let mut first = Nodes { published: [(without, has)].into() };
    first.settle(&coordinator, 2).await;
    assert_eq!(first.copies(&id), 0);
    first.published.extend(nodes.published);
    first.settle(&coordinator, 3).await;
    assert_eq!(first.copies(&id), 2);
    // Those that do not come are waited for no longer than a lease.
    coordinator.close().await;
    let coordinator = open(&store).await;
    first.published.retain(|_, has| has.is_empty());
    first.settle(&coordinator, 4).await;
    assert_eq!(first.copies(&id), 0);
    first.settle(&coordinator, 4 + SETTINGS.node_lease_ms).await;
    assert_eq!(first.copies(&id), 1);
}

async fn what_is_loaded_nowhere_is_in_no_view_unless_it_hides_older_rows(store: Fresh) {
    let coordinator = open(&store).await;
    let mut nodes = Nodes::of(&["a", "b"]);
    let old = coordinator.allocate(wish("old", 10 * DAY, 12 * DAY, 0), 1).await.unwrap();
    coordinator.publish(batch(vec![meta(&old, 1)], PublishMode::Append), 1).await.unwrap();
    let first = vec![interval(10 * DAY, 11 * DAY)];
    let new = publish(&coordinator, "new", 10, PublishMode::Replace { intervals: first }).await;
    let alone = publish(&coordinator, "alone", 50, PublishMode::Append).await;
    let placed = |id: &SegmentId| {
        let view = coordinator.view();
        view.tables["d"].published.get(id).map(|placed| placed.nodes.len())
    };
    nodes.settle(&coordinator, 2).await;
    assert_eq!([&old, &new, &alone].map(placed), [Some(2); 3]);

    // What overlaps an interval is loaded by it: the older one by its second day.
    let nowhere = |interval: &str| json!({"type": "loadByInterval", "interval": interval, "tieredReplicants": {}});
    let second = json!({"type": "loadByInterval", "interval": "1970-01-12/1970-01-13"});
    set(&coordinator, json!([second, nowhere("1970-01-11/1970-01-12"), nowhere("1970-02-20/1970-02-21")])).await;
    nodes.settle(&coordinator, 3).await;
    assert_eq!([&old, &new, &alone].map(placed), [Some(2), Some(2), None]);
    assert_eq!(nodes.copies(&alone), 0);
    assert_eq!(coordinator.view().tables["d"].incomplete, []);
    coordinator.close().await;

    // A new leader shows as much, though nobody has what hides.
    nodes.published.values_mut().for_each(|has| has.retain(|id| *id == old));
    let coordinator = open(&store).await;
    nodes.settle(&coordinator, 4).await;
    let view = coordinator.view();
    let table = &view.tables["d"];
    let placed = [&old, &new, &alone].map(|id| table.published.get(id).map(|placed| placed.nodes.len()));
    assert_eq!((placed, &table.incomplete[..]), ([Some(2), Some(0), None], &[][..]));
}
