//! Whom a query asks tells who sees a part of the rows nothing of the others: neither by who is asked nor by what meets where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use query::cluster::Scatter;
use query::policy::{Role, Rules};
use query::{Authorizer, Broker, Principal};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use segment::block::Value;
use segment::inventory::{Change, Inventory, Served};
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::json;

use crate::broker::{ask_as, settings};
use crate::cluster::{View, scatter, spread};
use crate::dimension;

const DAY: i64 = 86_400_000;

/// Of the days, those on which the asker has rows; others have some on these too, and alone on the other ones.
const OWN: [i64; 2] = [0, 4];
const OTHERS: [i64; 4] = [1, 2, 6, 7];

fn id(day: i64) -> SegmentId {
    let interval = Interval { start: day * DAY, end: (day + 1) * DAY };
    SegmentId { datasource: "events".into(), interval, version: "v".into(), partition: 0 }
}

fn served(days: &[i64]) -> Arc<Inventory> {
    let schema = Schema {
        dimensions: vec![dimension("tenant", ValueType::String)],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let segment = |day: &i64| {
        let tenants: &[&str] = if OWN.contains(day) { &["a", "b"] } else { &["b"] };
        let rows: Vec<_> =
            tenants.iter().map(|tenant| (day * DAY + 1, vec![("tenant", Value::text(tenant))])).collect();
        Change::Serve(id(*day), Served::Published(Arc::new(Segment::from_rows(id(*day), &schema, &rows))))
    };
    let inventory = Arc::new(Inventory::new());
    inventory.apply(days.iter().map(segment).collect());
    inventory
}

struct Fixture {
    runtime: tokio::runtime::Runtime,
    view: Arc<View>,
    broker: Arc<Broker>,
}

impl Fixture {
    fn new(seed: u64) -> Fixture {
        let role = json!({
            "permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}],
            "policies": [{"name": "own", "datasource": "events",
                "filter": {"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": "a"}}],
        });
        let role: Role = serde_json::from_value(role).expect("a role");
        let rules = Rules::new(1, [("some".to_string(), role)].into(), BTreeMap::new(), BTreeSet::new(), String::new());
        let authorizer = Authorizer::new(rules.expect("rules"));
        let days = [&OWN[..], &OTHERS[..]].concat();
        let mut rng = SmallRng::seed_from_u64(seed);
        let (view, _) = spread(&served(&days), &["events"], &mut rng, &settings(), &authorizer, &BTreeMap::new());
        // On a busy machine others would be asked in the place of who takes long.
        let broker = Broker::over(view.clone(), Scatter { hedge_after: None, ..scatter() }, settings(), authorizer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Fixture { runtime, view, broker }
    }

    /// Counts the asker's rows of some days. By node, the segments of which it was asked for rows; all that were asked are there.
    fn ask(&self, days: &[i64]) -> BTreeMap<String, BTreeSet<SegmentId>> {
        let mut ann = Principal::new("ann");
        ann.roles.insert("some".into());
        let intervals: Vec<String> = days.iter().map(|day| id(*day).interval.to_string()).collect();
        let query = json!({"queryType": "timeseries", "dataSource": "events", "granularity": "all",
            "intervals": intervals, "aggregations": [{"type": "count", "name": "rows"}]});
        let answer = self.runtime.block_on(ask_as(&self.broker, &ann, &query)).expect("all are there");
        let own = days.iter().filter(|day| OWN.contains(day)).count();
        assert!(own == 0 || answer.contains(&format!("\"rows\":{own}")), "{answer}");
        let heard = self.view.nodes.iter().map(|(name, node)| (name.clone(), std::mem::take(&mut *node.heard.lock())));
        let heard = heard.filter(|(_, heard)| !heard.is_empty());
        heard
            .map(|(name, heard)| (name, heard.into_iter().filter(|(_, rows)| *rows).map(|(id, _)| id).collect()))
            .collect()
    }
}

#[test]
fn every_node_that_has_any_of_a_table_is_asked_wherever_one_looks() {
    for seed in 0..20 {
        let fixture = Fixture::new(seed);
        let all = OWN.iter().chain(&OTHERS).flat_map(|day| fixture.view.serving(&id(*day)));
        let all: BTreeSet<String> = all.collect();
        for days in [&[0][..], &[4], &[0, 4], &[1], &[1, 2], &[0, 2], &[9], &[0, 9], &[0, 1, 2, 4, 6, 7]] {
            for _ in 0..3 {
                let asked: BTreeSet<String> = fixture.ask(days).into_keys().collect();
                assert_eq!(asked, all, "seed {seed}, {days:?}");
            }
        }
    }
}

#[test]
fn which_of_ones_own_rows_meet_at_a_node_hangs_on_nothing_between_them() {
    let mut tried = 0;
    for seed in 0..200 {
        let fixture = Fixture::new(seed);
        let [first, last] = OWN.map(|day| fixture.view.serving(&id(day)));
        if first.len() < 2 || first != last {
            continue;
        }
        tried += 1;
        let mut met = BTreeSet::new();
        for days in [&[0, 4][..], &[0, 1, 4], &[0, 1, 2, 4], &[0, 4, 6], &[0, 2, 4, 6, 7], &[0, 3, 4]] {
            for _ in 0..4 {
                let asked = fixture.ask(days);
                met.insert(asked.values().any(|ids| OWN.iter().all(|day| ids.contains(&id(*day)))));
            }
        }
        assert_eq!(met.len(), 1, "seed {seed}");
    }
    assert!(tried > 5, "only {tried} were tried");
}
