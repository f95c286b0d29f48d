//! What is kept of answers: that it is met again by the same question of the same segments by whoever sees the same, by nothing
//! else, and that it is never what is not the answer now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use query::cache::{Beyond, Caches, Key, Of, Settings};
use query::policy::{Role, Rules};
use query::{Authorizer, Broker, Principal};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use segment::inventory::{Change, Inventory, Served};
use segment::lookup::{Lookup, Lookups};
use segment::realtime::RealtimeIndex;
use segment::row::{Cell, RowBatch};
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

use crate::broker::{ask_as, settings};
use crate::cluster::spread_keeping;
use crate::dimension;

const DAY: i64 = 86_400_000;

/// Rows of a segment.
const ROWS: i64 = 200;

/// Everything is kept, however small, when it is first asked for.
pub fn all() -> Settings {
    Settings {
        segments_bytes_max: 64 << 20,
        results_bytes_max: 64 << 20,
        entry_bytes_max: 1 << 20,
        rows_min: 0,
        rows_per_group: 0,
        asked_min: 0,
    }
}

fn id(day: i64, version: &str) -> SegmentId {
    let interval = Interval { start: day * DAY, end: (day + 1) * DAY };
    SegmentId { datasource: "events".into(), interval, version: version.into(), partition: 0 }
}

/// Row `n` is of tenant `n % of`, and worth `worth`.
fn index(folder: &Path, id: &SegmentId, of: i64, worth: i64) -> RealtimeIndex {
    let schema = Schema {
        dimensions: vec![dimension("tenant", ValueType::String), dimension("worth", ValueType::Long)],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let home = folder.join(format!("{}-{}-{of}-{worth}", id.interval.start, id.version));
    std::fs::create_dir_all(&home).expect("a folder");
    let index = RealtimeIndex::new(id.clone(), schema, home, Vec::new()).expect("an index");
    let mut batch = RowBatch::new();
    let fields = ["tenant", "worth"].map(|name| batch.field(name));
    for n in 0..ROWS {
        let cell = batch.text(&format!("t{}", n % of));
        batch.set(fields[0], cell);
        batch.set(fields[1], Cell::Long(worth));
        batch.finish_row(id.interval.start + n * 1000);
    }
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    index.append(&batch, &rows).expect("rows are taken in");
    index
}

fn file(folder: &Path, id: &SegmentId, of: i64, worth: i64) -> Arc<Segment> {
    let path = folder.join(format!("{}-{}-{of}-{worth}.file", id.interval.start, id.version));
    index(folder, id, of, worth).freeze(&path).expect("it freezes");
    Arc::new(segment::file::open(&path, id.clone()).expect("it opens"))
}

fn publish(folder: &Path, day: i64, version: &str, worth: i64) -> Change {
    let id = id(day, version);
    Change::Serve(id.clone(), Served::Published(file(folder, &id, 10, worth)))
}

fn rules(version: u64, filter: Json, more: Json, secret: &str) -> Rules {
    let mut role = json!({
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}],
        "policies": [{"name": "p", "datasource": "events", "filter": filter}],
    });
    role.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let role: Role = serde_json::from_value(role).expect("a role");
    let roles = BTreeMap::from([("r".to_string(), role)]);
    Rules::new(version, roles, BTreeMap::new(), BTreeSet::new(), secret.into()).expect("valid rules")
}

fn own_rows() -> Json {
    json!({"type": "equals", "column": "tenant", "matchValueType": "STRING",
        "matchValue": {"identity": "attribute", "name": "tenant"}})
}

fn who(name: &str, tenant: &str) -> Principal {
    let mut who = Principal::new(name);
    who.roles.insert("r".into());
    who.attributes.insert("tenant".into(), vec![tenant.into()]);
    who
}

fn sums(context: Json) -> Json {
    json!({"queryType": "groupBy", "dataSource": "events", "granularity": "all", "dimensions": ["tenant"],
        "intervals": ["1970-01-01/1971-01-01"], "context": context,
        "aggregations": [{"type": "count", "name": "n"}, {"type": "longSum", "name": "w", "fieldName": "worth"},
            {"type": "distinctCount", "name": "d", "fieldName": "worth"}]})
}

fn ask(broker: &Broker, who: &Principal, query: &Json) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(ask_as(broker, who, query)).expect("an answer")
}

/// Hits and misses of both caches, since the last time.
struct Watched {
    caches: Arc<Caches>,
    before: [u64; 4],
}

impl Watched {
    fn new(settings: Settings) -> Watched {
        Watched { caches: Caches::new(settings, None), before: [0; 4] }
    }

    /// Of segments, then of results.
    fn moved(&mut self) -> [u64; 4] {
        let (segments, results) = (self.caches.counts(Of::Segments), self.caches.counts(Of::Results));
        let now = [segments.hits(), segments.misses(), results.hits(), results.misses()];
        let moved = [0, 1, 2, 3].map(|at| now[at] - self.before[at]);
        self.before = now;
        moved
    }
}

fn served(changes: Vec<Change>) -> Arc<Inventory> {
    let inventory = Arc::new(Inventory::new());
    inventory.apply(changes);
    inventory
}

#[test]
fn the_same_question_meets_what_was_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served((0..3).map(|day| publish(folder.path(), day, "v", 1)).collect());
    let mut watched = Watched::new(all());
    let broker = Broker::new(inventory, settings(), Authorizer::open());
    broker.keep_in(watched.caches.clone());
    let ann = Principal::new("ann");
    let first = ask(&broker, &ann, &sums(json!({})));
    assert_eq!(watched.moved(), [0, 3, 0, 1]);
    assert_eq!(ask(&broker, &Principal::new("bob"), &sums(json!({"queryId": "x", "timeout": 9000}))), first);
    assert_eq!(watched.moved(), [0, 0, 1, 0], "another id, deadline and asker who sees the same");
    assert_eq!(ask(&broker, &ann, &sums(json!({"useResultLevelCache": false}))), first);
    assert_eq!(watched.moved(), [3, 0, 0, 0]);
    // What is done with whole groups changes the answer, and nothing of what is made of a segment.
    let mut limited = sums(json!({}));
    limited["limitSpec"] = json!({"type": "default", "limit": 1, "columns": ["w"]});
    assert_eq!(serde_json::from_str::<Json>(&ask(&broker, &ann, &limited)).expect("rows").as_array().unwrap().len(), 1);
    assert_eq!(watched.moved(), [3, 0, 0, 1]);
    // Where an interval ends within a segment another part of it is looked at.
    let mut shorter = sums(json!({}));
    shorter["intervals"] = json!(["1970-01-01/1970-01-03T00:01"]);
    assert_ne!(ask(&broker, &ann, &shorter), first);
    assert_eq!(watched.moved(), [2, 1, 0, 1]);
}

#[test]
fn a_context_says_what_is_used_and_what_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served(vec![publish(folder.path(), 0, "v", 1)]);
    let ann = Principal::new("ann");
    // Of segments, then of results, of the second time that it is asked.
    let cases = [
        (json!({"useResultLevelCache": false}), [1, 0, 0, 0]),
        (json!({"useResultLevelCache": false, "useCache": false}), [0, 0, 0, 0]),
        (json!({"populateResultLevelCache": false}), [1, 0, 0, 1]),
        (json!({"populateResultLevelCache": false, "populateCache": "false"}), [0, 1, 0, 1]),
        (json!({"populateCache": false}), [0, 0, 1, 0]),
    ];
    let mut rng = SmallRng::seed_from_u64(1);
    for (context, expected) in cases {
        for over_nodes in [false, true] {
            let mut watched = Watched::new(all());
            let open = Authorizer::open();
            let own = Broker::new(inventory.clone(), settings(), open.clone());
            own.keep_in(watched.caches.clone());
            let keeping = |_: &str| Some(watched.caches.clone());
            let (_view, far) =
                spread_keeping(&inventory, &["events"], &mut rng, &settings(), &open, &BTreeMap::new(), keeping);
            let broker = if over_nodes { &far } else { &own };
            let first = ask(broker, &ann, &sums(context.clone()));
            watched.moved();
            assert_eq!(ask(broker, &ann, &sums(context.clone())), first);
            assert_eq!(watched.moved(), expected, "{context}, over nodes: {over_nodes}");
        }
    }
}

#[test]
fn nobody_meets_what_was_kept_for_who_sees_something_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served((0..2).map(|day| publish(folder.path(), day, "v", 1)).collect());
    let authorizer = Authorizer::new(rules(1, own_rows(), json!({}), "one"));
    let mut watched = Watched::new(all());
    let open = Broker::new(inventory.clone(), settings(), Authorizer::open());
    let broker = Broker::new(inventory.clone(), settings(), authorizer.clone());
    // Without what is kept.
    let plain = Broker::new(inventory, settings(), authorizer.clone());
    [&open, &broker].into_iter().for_each(|broker| broker.keep_in(watched.caches.clone()));
    let query = sums(json!({}));
    assert_eq!(ask(&open, &who("root", "none"), &query).matches("\"n\"").count(), 10);
    watched.moved();
    let mut check = |who: &Principal, hit: bool, why: &str| {
        assert_eq!(ask(&broker, who, &query), ask(&plain, who, &query), "{why}");
        let expected = if hit { [0, 0, 1, 0] } else { [0, 2, 0, 1] };
        assert_eq!(watched.moved(), expected, "{why}");
    };
    check(&who("ann", "t1"), false, "who sees some meets nothing of who sees all");
    check(&who("ann", "t1"), true, "the same again");
    check(&who("bob", "t1"), true, "another who sees the same");
    check(&who("ann", "t2"), false, "another attribute");
    authorizer.replace(rules(2, json!({"type": "not", "field": own_rows()}), json!({}), "one"));
    check(&who("ann", "t1"), false, "another policy of the same name");
    let masked = json!({"columns": [{"datasource": "events", "column": "tenant", "rule": {"type": "hash"}}]});
    authorizer.replace(rules(3, own_rows(), masked.clone(), "one"));
    check(&who("ann", "t1"), false, "a mask");
    authorizer.replace(rules(4, own_rows(), masked, "two"));
    check(&who("ann", "t1"), false, "the mask of another secret");
    authorizer.replace(rules(5, own_rows(), json!({}), "one"));
    check(&who("ann", "t1"), true, "the first policy again, as a later version");
}

#[test]
fn another_lookup_of_the_same_name_and_version_makes_another_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served(vec![publish(folder.path(), 0, "v", 1)]);
    let mut watched = Watched::new(all());
    let broker = Broker::new(inventory, settings(), Authorizer::open());
    broker.keep_in(watched.caches.clone());
    let lookups = Lookups::default();
    let mut query = sums(json!({}));
    query["dimensions"] = json!(["named"]);
    query["virtualColumns"] = json!([{"type": "expression", "name": "named", "expression": "lookup(tenant, 'names')",
        "outputType": "STRING"}]);
    for (name, moved) in [("one", [0, 1, 0, 1]), ("two", [0, 1, 0, 1]), ("one", [0, 0, 1, 0])] {
        let lookup = Lookup::new("v1".into(), [("t1".to_string(), name.to_string())]);
        lookups.replace([("names".to_string(), Arc::new(lookup))].into());
        let answer = lookups.scope(|| ask(&broker, &Principal::new("ann"), &query));
        assert!(answer.contains(&format!("\"named\":\"{name}\"")), "{answer}");
        assert_eq!(watched.moved(), moved, "{name}");
    }
}

/// Whether an answer is met that was kept tells who sees a part of the rows nothing of where others have some.
#[test]
fn who_sees_a_part_meets_what_was_kept_wherever_it_looks_or_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let inventory = served(vec![publish(folder, 0, "v", 1)]);
    let authorizer = Authorizer::new(rules(1, own_rows(), json!({}), "one"));
    let ann = who("ann", "t1");
    let mut rng = SmallRng::seed_from_u64(1);
    let mut watched = Watched::new(all());
    // All of them are of t0.
    let hidden = |day: i64| Change::Serve(id(day, "v"), Served::Published(file(folder, &id(day, "v"), 1, 1)));
    let grows = Arc::new(index(folder, &id(5, "v"), 1, 2));
    let steps: Vec<(&str, bool, Vec<Change>)> = vec![
        ("nothing", true, vec![]),
        ("rows come", false, vec![Change::Serve(id(5, "v"), Served::Realtime(grows))]),
        ("a handoff", true, vec![hidden(5)]),
        ("another segment", true, vec![hidden(6)]),
        ("one goes", true, vec![Change::Retire(id(5, "v"))]),
    ];
    for (step, is_kept, changes) in steps {
        inventory.apply(changes);
        let keeping = |node: &str| node.is_empty().then(|| watched.caches.clone());
        let (_view, broker) =
            spread_keeping(&inventory, &["events"], &mut rng, &settings(), &authorizer, &BTreeMap::new(), keeping);
        let mut look = |day: i64| {
            let mut query = sums(json!({}));
            query["intervals"] = json!([format!("1970-01-{:02}/1970-01-{:02}", day + 1, day + 2)]);
            [0, 1].map(|_| {
                let found = (day == 0).then_some("t1");
                assert_eq!(ask(&broker, &ann, &query).contains("t1"), found.is_some(), "{step}, day {day}");
                let [_, _, hits, misses] = watched.moved();
                (hits, misses)
            })
        };
        let [own, others, nobodys] = [0, 5, 9].map(&mut look);
        assert_eq!((others, own), (nobodys, nobodys), "{step}");
        assert_eq!(nobodys[1].0 == 1, is_kept, "{step}: the second time");
        assert_eq!(nobodys[0].0, 0, "{step}: what was kept is of all of the table as it was");
    }
}

/// Whatever becomes of segments, answers are those of a broker that keeps nothing.
#[test]
fn answers_follow_what_becomes_of_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let inventory = served(vec![publish(folder, 0, "v", 1), publish(folder, 1, "v", 1)]);
    let mut rng = SmallRng::seed_from_u64(1);
    let (open, ann) = (Authorizer::open(), Principal::new("ann"));
    let caches = Caches::new(all(), None);
    let plain = Broker::new(inventory.clone(), settings(), open.clone());
    let own = Broker::new(inventory.clone(), settings(), open.clone());
    own.keep_in(caches.clone());
    // Brokers of clusters, each of which sees what there is then, keep in the same place.
    let of_cluster = Caches::new(all(), None);
    let grows = Arc::new(index(folder, &id(2, "v"), 10, 5));
    let steps: Vec<(&str, Vec<Change>)> = vec![
        ("nothing", vec![]),
        ("rows come", vec![Change::Serve(id(2, "v"), Served::Realtime(grows.clone()))]),
        ("a handoff", vec![publish(folder, 2, "v", 5)]),
        ("a compaction", vec![publish(folder, 0, "w", 7)]),
        ("the older one goes", vec![Change::Retire(id(0, "v"))]),
        ("a drop", vec![Change::Retire(id(1, "v"))]),
        ("the newer one goes and the older comes back", vec![Change::Retire(id(0, "w")), publish(folder, 0, "v", 1)]),
        (
            "gaps",
            vec![Change::Incomplete {
                datasource: "events".into(),
                owner: "task".into(),
                intervals: vec![id(1, "v").interval],
            }],
        ),
        ("all goes", vec![Change::Retire(id(0, "v")), Change::Retire(id(2, "v"))]),
    ];
    for (step, changes) in steps {
        inventory.apply(changes);
        for query in [sums(json!({})), json!({"queryType": "timeBoundary", "dataSource": "events"})] {
            let expected = ask(&plain, &ann, &query);
            let keeping = |_: &str| Some(of_cluster.clone());
            let (_view, far) =
                spread_keeping(&inventory, &["events"], &mut rng, &settings(), &open, &BTreeMap::new(), keeping);
            for time in 0..3 {
                assert_eq!(ask(&own, &ann, &query), expected, "{step}, time {time}");
                assert_eq!(ask(&far, &ann, &query), expected, "{step}, time {time}, over nodes");
            }
        }
    }
    assert!(caches.counts(Of::Results).hits() > 0 && of_cluster.counts(Of::Results).hits() > 0);
}

#[test]
fn rows_that_are_not_published_are_never_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let grows = Arc::new(index(folder.path(), &id(1, "v"), 10, 1));
    // What a realtime index has spilled is in files, too.
    grows.spill().expect("rows spill");
    let inventory =
        served(vec![publish(folder.path(), 0, "v", 1), Change::Serve(id(1, "v"), Served::Realtime(grows.clone()))]);
    let mut watched = Watched::new(all());
    let broker = Broker::new(inventory, settings(), Authorizer::open());
    broker.keep_in(watched.caches.clone());
    let ann = Principal::new("ann");
    let first = ask(&broker, &ann, &sums(json!({})));
    assert_eq!(watched.moved(), [0, 1, 0, 0]);
    assert_eq!(ask(&broker, &ann, &sums(json!({}))), first);
    assert_eq!(watched.moved(), [1, 0, 0, 0], "what is published is found, and the answer is not kept");
    let mut batch = RowBatch::new();
    let field = batch.field("tenant");
    let cell = batch.text("late");
    batch.set(field, cell);
    batch.finish_row(DAY + 1);
    grows.append(&batch, &[0]).expect("a row is taken in");
    assert!(ask(&broker, &ann, &sums(json!({}))).contains("late"));
    assert_eq!(watched.moved(), [1, 0, 0, 0]);
}

#[test]
fn what_is_asked_once_or_makes_many_groups_is_folded_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served((0..2).map(|day| publish(folder.path(), day, "v", 1)).collect());
    let ann = Principal::new("ann");
    let of = |settings: Settings| {
        let watched = Watched::new(Settings { results_bytes_max: 0, ..settings });
        let broker = Broker::new(inventory.clone(), crate::broker::settings(), Authorizer::open());
        broker.keep_in(watched.caches.clone());
        let mut watched = watched;
        let moved: Vec<[u64; 2]> = (0..4)
            .map(|_| {
                ask(&broker, &ann, &sums(json!({})));
                let [hits, misses, ..] = watched.moved();
                [hits, misses]
            })
            .collect();
        (moved, watched.caches.bytes(Of::Segments))
    };
    let (moved, bytes) = of(Settings { asked_min: 2, ..all() });
    assert_eq!(moved, [[0, 2], [0, 2], [2, 0], [2, 0]], "kept when it is asked a second time");
    assert!(bytes > 1000);
    // Ten groups of twenty rows.
    assert_eq!(of(Settings { rows_per_group: 20, ..all() }).0, moved_after_first());
    for unfit in [Settings { rows_per_group: 21, ..all() }, Settings { entry_bytes_max: 100, ..all() }] {
        assert_eq!(of(unfit), (vec![[0, 2], [0, 0], [0, 0], [0, 0]], 0), "not even looked for again");
    }
    assert_eq!(of(Settings { rows_min: 201, ..all() }), (vec![[0, 0]; 4], 0), "small segments are folded sooner");
    assert_eq!(of(Settings { segments_bytes_max: 0, ..all() }), (vec![[0, 0]; 4], 0));
}

fn moved_after_first() -> Vec<[u64; 2]> {
    vec![[0, 2], [2, 0], [2, 0], [2, 0]]
}

/// Keeps all that is put, and damages it when told to.
#[derive(Default)]
struct Shelf {
    values: Mutex<BTreeMap<Key, Vec<u8>>>,
}

impl Beyond for Shelf {
    fn get(&self, keys: &[Key]) -> Vec<Option<Vec<u8>>> {
        let values = self.values.lock();
        keys.iter().map(|key| values.get(key).cloned()).collect()
    }

    fn put(&self, key: Key, value: &[u8]) {
        self.values.lock().insert(key, value.to_vec());
    }
}

#[test]
fn what_a_process_kept_beyond_itself_is_found_by_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let inventory = served((0..3).map(|day| publish(folder.path(), day, "v", 1)).collect());
    let (shelf, ann) = (Arc::new(Shelf::default()), Principal::new("ann"));
    let process = || {
        let settings = Settings { results_bytes_max: 0, ..all() };
        let caches = Caches::new(settings, Some(shelf.clone() as Arc<dyn Beyond>));
        let broker = Broker::new(inventory.clone(), crate::broker::settings(), Authorizer::open());
        broker.keep_in(caches.clone());
        (Watched { caches, before: [0; 4] }, broker)
    };
    let (_, one) = process();
    let expected = ask(&one, &ann, &sums(json!({})));
    assert_eq!(shelf.values.lock().len(), 3);
    let (mut watched, other) = process();
    for _ in 0..2 {
        assert_eq!(ask(&other, &ann, &sums(json!({}))), expected);
        assert_eq!(watched.moved(), [3, 0, 0, 0], "found beyond, then here");
    }
    // Whatever it gives that is none of it is as nothing.
    let damages: [fn(&mut Vec<u8>); 4] = [|v| v.truncate(v.len() / 2), |v| v.clear(), |v| v[20] ^= 1, |v| v.push(0)];
    for damage in damages {
        let before = shelf.values.lock().clone();
        shelf.values.lock().values_mut().for_each(damage);
        let (mut watched, damaged) = process();
        assert_eq!(ask(&damaged, &ann, &sums(json!({}))), expected);
        assert_eq!(watched.moved(), [0, 3, 0, 0]);
        *shelf.values.lock() = before;
    }
}
