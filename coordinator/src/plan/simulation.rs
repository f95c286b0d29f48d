//! Two hundred historicals in two tiers under a seeded storm: nodes die, come back with what they had, join, are emptied;
//! loads fail, answers are lost, time goes on and versions change. Nothing here sleeps.
//!
//! Whenever a node drops something, enough others must serve it. At rest every segment has the copies that rules ask for,
//! and the bytes of each tier are in balance.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::{Interval, SegmentId, SegmentMeta};
use serde_json::{Value, json};

use crate::catalog::SegmentRecord;
use crate::command::Command;
use crate::documents::Document;
use crate::fleet::{Entry, Host, Wish};
use crate::node::Member;
use crate::picture::Picture;
use crate::plan::{balance, placement, retention};
use crate::rules::{DEFAULT, DEFAULT_TIER};

const DAY: i64 = 86_400_000;
const HOT: &str = "hot";
const DATASOURCES: usize = 40;
/// What rules keep hot, and at all.
const HOT_DAYS: i64 = 30;
const KEPT_DAYS: i64 = 200;

struct World {
    rng: SmallRng,
    now: i64,
    picture: Picture,
    nodes: BTreeMap<String, Model>,
    made: u64,
    moves: usize,
    moves_most: usize,
    drops: usize,
    loads: usize,
    /// Nothing fails, and no answer is lost.
    is_calm: bool,
}

/// What a node really has.
struct Model {
    host: Host,
    has: HashSet<SegmentId>,
    has_changed: bool,
    broken: Vec<(SegmentId, i64)>,
    is_up: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            rng: SmallRng::seed_from_u64(seed),
            now: 250 * DAY,
            picture: Picture::default(),
            nodes: BTreeMap::new(),
            made: 0,
            moves: 0,
            moves_most: 0,
            drops: 0,
            loads: 0,
            is_calm: false,
        };
        let load = |copies: Value| json!({"type": "loadForever", "tieredReplicants": copies});
        let hot = format!("P{HOT_DAYS}D");
        let kept = format!("P{KEPT_DAYS}D");
        world.document(
            "rules",
            DEFAULT,
            json!([
                {"type": "dropBeforeByPeriod", "period": kept},
                {"type": "loadByPeriod", "period": hot, "tieredReplicants": {HOT: 1, DEFAULT_TIER: 2}},
                load(json!({DEFAULT_TIER: 2})),
            ]),
        );
        world.document("rules", "everywhere", json!([{"type": "broadcastForever"}]));
        world.document("rules", "cold", json!([load(json!({}))]));
        world.document("rules", "once", json!([load(json!({DEFAULT_TIER: 1}))]));
        world
    }

    fn document(&mut self, kind: &str, name: &str, value: Value) {
        self.picture.documents_version += 1;
        let document = Document {
            kind: kind.into(),
            name: name.into(),
            value,
            version: self.picture.documents_version,
            changed_at: 0,
            changed_by: String::new(),
        };
        self.picture.documents.entry(kind.into()).or_default().insert(name.into(), Arc::new(document));
    }

    fn publish(&mut self, datasource: &str, day: i64, version: &str, partitions: u32, core: u32) {
        let mut records = Vec::new();
        for partition in 0..partitions {
            self.made += 1;
            let interval = Interval { start: day * DAY, end: (day + 1) * DAY };
            let id = SegmentId { datasource: datasource.into(), interval, version: version.into(), partition };
            let meta = SegmentMeta {
                id,
                rows: 1,
                size_bytes: self.rng.random_range(50..1_500),
                checksum: self.made,
                time_range: Some((interval.start, interval.end - 1)),
                dimensions: vec![],
                metrics: vec![],
                path: format!("file {}", self.made),
                core_partitions: core,
            };
            let (number, created_at, changed_at) = (self.made as i64, 0, 0);
            records.push(SegmentRecord { meta, used: true, appended: false, number, created_at, changed_at });
        }
        self.picture.insert(records);
    }

    fn join(&mut self, name: String, tier: &str, capacity_bytes: u64) {
        let host = Host { tier: tier.into(), capacity_bytes, loads: true };
        let model = Model { host, has: HashSet::new(), has_changed: true, broken: vec![], is_up: true };
        self.nodes.insert(name, model);
    }

    /// A node is gone. Nothing but what was published of late may have been on it alone.
    fn die(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().is_up = false;
        self.picture.lose(name, "it died");
        let is_elsewhere = |id: &SegmentId| self.nodes.values().any(|node| node.is_up && node.has.contains(id));
        for id in self.nodes[name].has.iter().filter(|id| self.is_wanted(id) && !self.asked(id).is_empty()) {
            assert!(id.version != "v1" || is_elsewhere(id), "{id} was on {name} alone");
        }
    }

    fn is_wanted(&self, id: &SegmentId) -> bool {
        let timeline = self.picture.segments.get(&id.datasource);
        timeline
            .is_some_and(|timeline| timeline.get(id).is_some() && !timeline.is_overshadowed(id.interval, &id.version))
    }

    /// One cycle, and a heartbeat of each node in any order. Whether anything was done.
    fn round(&mut self) -> bool {
        self.now += 1_000;
        self.picture.now = self.now;
        placement::tick(&mut self.picture, self.now);
        placement::work(&mut self.picture, self.now);
        let moves = balance::plan(&mut self.picture.fleet);
        self.moves += moves;
        self.moves_most = self.moves_most.max(self.picture.fleet.moves.len());
        let retired = retention::plan(&self.picture);
        self.picture.retire(&retired);
        let mut is_busy = moves + retired.len() > 0;

        let mut names: Vec<String> =
            self.nodes.iter().filter(|(_, node)| node.is_up).map(|(name, _)| name.clone()).collect();
        for at in (1..names.len()).rev() {
            names.swap(at, self.rng.random_range(0..=at));
        }
        for name in names {
            is_busy |= self.heartbeat(&name);
        }
        is_busy
    }

    fn heartbeat(&mut self, name: &str) -> bool {
        let node = self.nodes.get_mut(name).unwrap();
        let served = std::mem::take(&mut node.has_changed).then(|| node.has.clone());
        let broken = std::mem::take(&mut node.broken);
        let is_news = served.is_some() || !broken.is_empty();
        self.picture.members.entry(name.to_string()).or_default();
        let host = node.host.clone();
        self.picture.fleet.report(name, &host, served.as_ref(), &HashSet::new(), &broken);
        let commands = placement::orders(&mut self.picture, name, self.now);
        let queued = self.picture.fleet.node(self.picture.fleet.node_named(name).unwrap()).unwrap().coming.len();
        assert!(queued <= self.picture.fleet.tuning.queue_max, "{name} has {queued} loads under way");
        if !self.is_calm && self.rng.random_ratio(1, 20) {
            // The answer is lost.
            return is_news || !commands.is_empty();
        }
        let did = is_news || !commands.is_empty();
        for command in commands {
            match command {
                Command::Load(meta) if !self.is_calm && self.rng.random_ratio(1, 50) => {
                    let retry_at = self.now + 3_000;
                    self.nodes.get_mut(name).unwrap().broken.push((meta.id, retry_at));
                }
                Command::Load(meta) => {
                    self.loads += 1;
                    let node = self.nodes.get_mut(name).unwrap();
                    node.has.insert(meta.id);
                    node.has_changed = true;
                }
                Command::Drop(id) => self.drop(name, id),
                other => panic!("{other:?}"),
            }
        }
        let node = &self.nodes[name];
        let bytes: u64 = node.has.iter().filter_map(|id| self.meta(id)).map(|record| record.meta.size_bytes).sum();
        let capacity = node.host.capacity_bytes;
        assert!(capacity == 0 || bytes <= capacity, "{name} holds {bytes} of {capacity}");
        did
    }

    fn meta(&self, id: &SegmentId) -> Option<&Arc<SegmentRecord>> {
        self.picture.segments.get(&id.datasource)?.get(id)
    }

    /// Copies that rules ask for, as this test knows them.
    fn asked(&self, id: &SegmentId) -> BTreeMap<String, usize> {
        let takers = |tier: &str| self.takers().filter(|(_, node)| node.host.tier == tier).count();
        let mut asked = BTreeMap::new();
        match id.datasource.as_str() {
            "cold" => {}
            "once" => drop(asked.insert(DEFAULT_TIER.to_string(), 1.min(takers(DEFAULT_TIER)))),
            name if name.starts_with('d') && id.interval.end <= self.now - KEPT_DAYS * DAY => {}
            "everywhere" => {
                asked.insert(HOT.to_string(), takers(HOT));
                asked.insert(DEFAULT_TIER.to_string(), takers(DEFAULT_TIER));
            }
            _ => {
                asked.insert(DEFAULT_TIER.to_string(), 2.min(takers(DEFAULT_TIER)));
                if id.interval.end > self.now - HOT_DAYS * DAY {
                    asked.insert(HOT.to_string(), 1.min(takers(HOT)));
                }
            }
        }
        asked.retain(|_, copies| *copies > 0);
        asked
    }

    fn takers(&self) -> impl Iterator<Item = (&String, &Model)> {
        let leaving = &self.picture.fleet.tuning.decommissioning;
        self.nodes.iter().filter(move |(name, node)| node.is_up && !leaving.contains(*name))
    }

    /// A node was told to drop: enough others must have it, or have what stands for it.
    fn drop(&mut self, name: &str, id: SegmentId) {
        self.drops += 1;
        let has = |id: &SegmentId, tier: Option<&str>| {
            let others = self.takers().filter(|(other, node)| *other != name && node.has.contains(id));
            others.filter(|(_, node)| tier.is_none_or(|tier| node.host.tier == tier)).count()
        };
        let timeline = self.picture.segments.get(&id.datasource);
        if self.is_wanted(&id) {
            // What is too much in one tier may go though copies are missing in another.
            let tier = self.nodes[name].host.tier.clone();
            let mut asked = self.asked(&id);
            if asked.contains_key(&tier) {
                asked.retain(|other, _| *other == tier);
            }
            for (tier, asked) in asked {
                let left = has(&id, Some(&tier));
                assert!(left >= asked, "{name} drops {id}: {left} of {asked} copies are left in {tier}");
            }
        } else if let Some(timeline) = timeline {
            for slice in timeline.visible(id.interval) {
                let is_asked = !self.asked(&slice.id).is_empty();
                assert!(
                    !is_asked || has(&slice.id, None) > 0,
                    "{name} drops {id} while {} is served nowhere",
                    slice.id
                );
            }
        }
        let node = self.nodes.get_mut(name).unwrap();
        node.has.remove(&id);
        node.has_changed = true;
    }

    /// Until nothing is left to do.
    fn rest(&mut self) -> usize {
        let mut quiet = 0;
        for round in 0..1_000 {
            quiet = if self.round() { 0 } else { quiet + 1 };
            // Failed loads are tried again after three rounds, and the search for better places goes in turns.
            if quiet == 60 {
                self.check();
                return round - 60;
            }
        }
        panic!("it does not come to rest: {} moves, {} drops", self.moves, self.drops);
    }

    fn check(&self) {
        let mut copies: HashMap<&SegmentId, BTreeMap<String, usize>> = HashMap::new();
        for (_, node) in self.nodes.iter().filter(|(_, node)| node.is_up) {
            for id in &node.has {
                *copies.entry(id).or_default().entry(node.host.tier.clone()).or_default() += 1;
            }
        }
        let none = BTreeMap::new();
        for timeline in self.picture.segments.values() {
            for (id, _) in timeline.iter() {
                assert!(!timeline.is_overshadowed(id.interval, &id.version), "{id} is hidden and in use");
                assert!(
                    id.datasource == "everywhere"
                        || id.datasource == "once"
                        || id.datasource == "cold"
                        || id.interval.end > self.now - KEPT_DAYS * DAY,
                    "{id}"
                );
                let has = copies.remove(id);
                assert_eq!(has.as_ref().unwrap_or(&none), &self.asked(id), "copies of {id}");
            }
        }
        assert!(copies.is_empty(), "{} segments are served that should not be", copies.len());
        let counted: i64 = self.picture.fleet.tallies().map(|(_, tally)| tally.wanted - tally.served).sum();
        assert_eq!(counted, 0);
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.is_up) {
            let there = self.picture.fleet.node(self.picture.fleet.node_named(name).unwrap()).unwrap();
            let bytes: u64 = node.has.iter().filter_map(|id| self.meta(id)).map(|record| record.meta.size_bytes).sum();
            assert_eq!(there.bytes(), bytes, "the books of {name}");
            assert!(there.coming.is_empty() && there.going.is_empty());
        }
    }

    /// The greatest distance of a node's bytes from the mean of its tier, as a share of it.
    fn imbalance(&self, tier: &str) -> f64 {
        let takers = self.takers().filter(|(_, node)| node.host.tier == tier);
        let bytes: Vec<f64> = takers
            .map(|(_, node)| node.has.iter().map(|id| self.meta(id).unwrap().meta.size_bytes as f64).sum())
            .collect();
        let mean = bytes.iter().sum::<f64>() / bytes.len() as f64;
        bytes.iter().map(|bytes| (bytes - mean).abs() / mean).fold(0.0, f64::max)
    }

    /// The most copies of three days in a row of a datasource that one node has.
    fn crowding(&self) -> usize {
        let mut most = 0;
        for datasource in 0..DATASOURCES {
            let name = format!("d{datasource}");
            for day in (60..240).step_by(9) {
                let window = day * DAY..(day + 3) * DAY;
                let is_in = |id: &&SegmentId| id.datasource == name && window.contains(&id.interval.start);
                let counts = self.takers().map(|(_, node)| node.has.iter().filter(is_in).count());
                most = most.max(counts.max().unwrap_or(0));
            }
        }
        most
    }

    fn report(&self, what: &str, rounds: usize) {
        println!(
            "{what}: {rounds} rounds, {} moves in all ({} at a time at most), {} drops, imbalance {:.1} % hot, {:.1} % default",
            self.moves,
            self.moves_most,
            self.drops,
            100.0 * self.imbalance(HOT),
            100.0 * self.imbalance(DEFAULT_TIER),
        );
        for tier in [HOT, DEFAULT_TIER] {
            assert!(self.imbalance(tier) < 0.05, "{what}: {tier} is out of balance by {}", self.imbalance(tier));
        }
    }
}

/// Which seeds are tried: `HENGE_SIMULATION_SEEDS` asks for more at night, as `2000` or `1337..1338`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("HENGE_SIMULATION_SEEDS") else { return 0..1 };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn two_hundred_historicals_stay_available_and_come_to_balance() {
    for seed in seeds() {
        println!("seed {seed}");
        storm(seed);
    }
}

fn storm(seed: u64) {
    let mut world = World::new(seed);
    for datasource in 0..DATASOURCES {
        for day in 60..250 {
            let partitions = world.rng.random_range(1..6);
            world.publish(&format!("d{datasource}"), day, "v1", partitions, partitions);
        }
    }
    for day in 0..3 {
        world.publish("everywhere", day, "v1", 1, 1);
        world.publish("cold", day, "v1", 2, 0);
    }
    for node in 0..60 {
        world.join(format!("hot {node}"), HOT, 200_000);
    }
    for node in 0..140 {
        world.join(format!("default {node}"), DEFAULT_TIER, 0);
    }
    // As after a change of the leader: who was not heard of may have it all.
    world.picture.expected.insert("late".into(), Member::default());
    world.round();
    assert!(world.nodes.values().all(|node| node.has.is_empty()), "nothing is loaded while nodes are waited for");
    world.picture.expected.clear();
    let rounds = world.rest();
    world.report("placed", rounds);
    let crowding = world.crowding();
    println!("of three days of a datasource, one node has {crowding} copies at most");
    assert!(crowding <= 5, "one node has {crowding} copies of three days of a datasource");

    // Few moves bring many into balance: at best the newcomers' share of all copies.
    let before = world.moves;
    for node in 140..160 {
        world.join(format!("default {node}"), DEFAULT_TIER, 0);
    }
    let rounds = world.rest();
    world.report("joined", rounds);
    let copies: usize =
        world.takers().filter(|(_, node)| node.host.tier == DEFAULT_TIER).map(|(_, node)| node.has.len()).sum();
    let share = copies * 20 / 160;
    let moved = world.moves - before;
    assert!(moved <= share * 2, "{moved} moves where {share} are enough");

    let leaving: BTreeSet<String> = (0..10).map(|node| format!("default {}", node * 7)).collect();
    world.document("config", "coordinator", json!({"decommissioningNodes": leaving}));
    let rounds = world.rest();
    world.report("emptied", rounds);
    for name in &leaving {
        assert!(world.nodes[name].has.is_empty(), "{name} is not empty");
    }

    // Everything at once, without rest: one node is gone at any time, which no segment with two copies must notice.
    let mut away: Option<String> = None;
    for step in 0..120 {
        world.round();
        if step % 12 == 0
            && let Some(name) = away.take()
        {
            let node = world.nodes.get_mut(&name).unwrap();
            node.is_up = true;
            node.has_changed = true;
            node.broken.clear();
        }
        if step % 12 == 6 {
            let up: Vec<String> = world.takers().map(|(name, _)| name.clone()).collect();
            let name = up[world.rng.random_range(0..up.len())].clone();
            world.die(&name);
            away = Some(name);
        }
        if step % 10 == 3 {
            let (datasource, day) = (world.rng.random_range(0..DATASOURCES), world.rng.random_range(60..250));
            let version = format!("v2 {step:03}");
            world.publish(&format!("d{datasource}"), day, &version, 3, 3);
        }
        if step % 30 == 20 {
            world.now += 2 * DAY;
        }
    }
    world.now += 10 * DAY;
    let rounds = world.rest();
    world.report("after the storm", rounds);
    assert!(world.moves_most <= 500, "{} moves at a time", world.moves_most);
    let is_placed = |entry: &Entry| matches!(entry.wish, Wish::Replicas(_));
    assert!(
        world
            .picture
            .segments
            .values()
            .flat_map(|timeline| timeline.iter())
            .any(|(id, _)| { is_placed(world.picture.fleet.entry(world.picture.fleet.slot(id).unwrap())) })
    );
}

/// What each node has, by name.
fn placed(world: &World) -> BTreeMap<String, BTreeSet<SegmentId>> {
    world.nodes.iter().map(|(name, node)| (name.clone(), node.has.iter().cloned().collect())).collect()
}

/// A node is started again: what it had is on its disk, and it serves nothing until it is told to.
fn start_again(world: &mut World, name: &str) {
    let node = world.nodes.get_mut(name).unwrap();
    (node.is_up, node.has_changed) = (true, true);
    node.has.clear();
}

#[test]
fn a_node_that_comes_back_in_time_moves_nothing() {
    let mut world = World::new(7);
    (world.is_calm, world.picture.fleet.return_ms) = (true, 60_000);
    for day in 60..250 {
        world.publish("d1", day, "v1", 5, 5);
    }
    for node in 0..8 {
        world.join(format!("default {node}"), DEFAULT_TIER, 0);
    }
    world.rest();
    let (before, name) = (placed(&world), "default 3");
    let (loads, drops, moves) = (world.loads, world.drops, world.moves);
    world.die(name);
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.loads, loads, "another serves all it had");
    start_again(&mut world, name);
    world.rest();
    // It was told to load what it had, and nobody else was told anything.
    assert_eq!((world.loads - loads, world.drops, world.moves), (before[name].len(), drops, moves));
    assert_eq!(placed(&world), before);
}

#[test]
fn what_only_a_lost_node_had_and_what_it_does_not_bring_back_is_loaded_elsewhere() {
    let mut world = World::new(8);
    (world.is_calm, world.picture.fleet.return_ms) = (true, 60_000);
    for day in 60..250 {
        world.publish("d1", day, "v1", 5, 5);
        world.publish("once", day, "w1", 1, 1);
    }
    for node in 0..8 {
        world.join(format!("default {node}"), DEFAULT_TIER, 0);
    }
    world.rest();
    let (before, name) = (placed(&world), "default 3");
    let is_once = |id: &&SegmentId| id.datasource == "once";
    let alone: BTreeSet<SegmentId> = before[name].iter().filter(is_once).cloned().collect();
    let shared = before[name].len() - alone.len();
    assert!(!alone.is_empty() && shared > 0);
    let (loads, drops) = (world.loads, world.drops);
    world.die(name);
    for _ in 0..3 {
        world.round();
    }
    for id in &alone {
        assert!(world.nodes.iter().any(|(other, node)| other != name && node.has.contains(id)), "{id}");
    }
    for _ in 0..55 {
        world.round();
    }
    assert_eq!((world.loads - loads, world.drops - drops), (alone.len(), 0), "the others are waited for");
    // It does not come back: after its time its copies are made elsewhere.
    world.rest();
    assert!(world.loads - loads >= before[name].len());

    // Of one that was to be emptied nothing is waited for.
    let name = "default 5";
    world.document("config", "coordinator", json!({"decommissioningNodes": [name]}));
    placement::look(&mut world.picture, world.now);
    let (loads, held) = (world.loads, placed(&world)[name].len());
    world.die(name);
    for _ in 0..30 {
        world.round();
    }
    assert!(world.loads - loads >= held, "{} loads of {held}", world.loads - loads);
}
