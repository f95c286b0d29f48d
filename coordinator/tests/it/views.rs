//! Views under a seeded storm of publications, replaces, drops, loads, losses and rows that are being read: whatever was
//! seen once is seen exactly once in every view from then on, or its time is told incomplete; what a replace takes out and
//! what it brings are never seen together; and whoever follows by changes has the view of who takes it whole.
//!
//! Rows are numbers with a time, files are sets of them. The coordinator and the timelines are real; nodes load and lose
//! what they please, when they please.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use henge_coordinator::{
    Allocation, Command, Coordinator, Member, Publication, PublishMode, Published, Report, Role, Selection, Served,
    Settings, TaskState, View, ViewNumber,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::{Interval, SegmentId, SegmentMeta};

use crate::fresh::Fresh;
use crate::node::*;

const LEASE: i64 = 1_000;
const DAY: i64 = 12;
const DAYS: i64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    number: u64,
    time: i64,
}

struct Rows {
    rows: Vec<Row>,
    group: u32,
    is_published: bool,
}

struct Node {
    member: Member,
    seq: u64,
    published: BTreeSet<SegmentId>,
    realtime: BTreeMap<SegmentId, Rows>,
    /// The realtime rows of its last report.
    told: BTreeMap<SegmentId, Vec<Row>>,
    /// Attempt, group, whether it has caught up.
    tasks: BTreeMap<String, (i64, u32, bool)>,
    is_up: bool,
}

struct World {
    rng: SmallRng,
    coordinator: Coordinator,
    now: i64,
    nodes: Vec<Node>,
    made: u64,
    files: HashMap<String, Vec<Row>>,
    /// Every name there ever was, with its file.
    names: HashMap<SegmentId, String>,
    committed: BTreeSet<Row>,
    /// Rows that a replace or a drop took out.
    gone: BTreeSet<Row>,
    /// What each replace took out and what it brought.
    replaces: Vec<(BTreeSet<Row>, Vec<Row>)>,
    /// Rows that a lost node had read, by group.
    unread: BTreeMap<u32, Vec<Row>>,
    seen: BTreeSet<Row>,
    follower: View,
    lazy: View,
    losses: u32,
    views: u32,
}

impl World {
    async fn new(seed: u64, store: &Fresh) -> World {
        let settings = Settings { node_lease_ms: LEASE, ..SETTINGS };
        let coordinator = Coordinator::open_store(&store.address().parse().unwrap(), settings).await.unwrap();
        let role = |at: usize| if at < 3 { Role::Historical } else { Role::Ingest };
        let node = |at: usize| Node {
            member: Member { process: 1, roles: vec![role(at)], ..member(&format!("n{at}")) },
            seq: 0,
            published: BTreeSet::new(),
            realtime: BTreeMap::new(),
            told: BTreeMap::new(),
            tasks: BTreeMap::new(),
            is_up: true,
        };
        let mut world = World {
            rng: SmallRng::seed_from_u64(seed),
            coordinator,
            now: 1_000_000,
            nodes: (0..5).map(node).collect(),
            made: 0,
            files: HashMap::new(),
            names: HashMap::new(),
            committed: BTreeSet::new(),
            gone: BTreeSet::new(),
            replaces: Vec::new(),
            unread: BTreeMap::new(),
            seen: BTreeSet::new(),
            follower: View::default(),
            lazy: View::default(),
            losses: 0,
            views: 0,
        };
        for at in 0..5 {
            world.beat(at).await;
        }
        world.coordinator.put_supervisor(spec(2), false, world.now).await.unwrap();
        world.coordinator.cycle(world.now).await.unwrap();
        world
    }

    async fn step(&mut self) {
        let at = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..100) {
            0..12 => self.read().await,
            12..20 => self.publish().await,
            20..26 => self.let_go(),
            26..32 => self.replace().await,
            32..36 => self.append().await,
            36..38 => self.drop_day().await,
            38..58 => self.load(),
            58..64 => self.unload(),
            64..92 => self.beat(at).await,
            92..95 => {
                self.coordinator.cycle(self.now).await.unwrap();
            }
            95..98 => self.catch_up().await,
            _ => self.lose(at).await,
        }
        self.check();
    }

    fn rows(&mut self, within: Interval) -> Vec<Row> {
        let count = self.rng.random_range(1..4);
        let row = |_| {
            self.made += 1;
            Row { number: self.made, time: self.rng.random_range(within.start..within.end) }
        };
        (0..count).map(row).collect()
    }

    fn day(&mut self) -> Interval {
        let day = self.rng.random_range(0..DAYS) * DAY;
        interval(day, day + DAY)
    }

    /// A node with a running task.
    fn reader(&mut self) -> Option<(usize, String)> {
        let running = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up);
        let mut tasks: Vec<(usize, String)> =
            running.flat_map(|(at, node)| node.tasks.keys().map(move |task| (at, task.clone()))).collect();
        if tasks.is_empty() {
            return None;
        }
        let chosen = self.rng.random_range(0..tasks.len());
        Some(tasks.swap_remove(chosen))
    }

    async fn read(&mut self) {
        let Some((at, task)) = self.reader() else { return };
        let within = self.day();
        let mut rows = self.rows(within);
        rows.truncate(1);
        self.take(at, &task, rows).await;
    }

    /// Rows come to a task, under a new name.
    async fn take(&mut self, at: usize, task: &str, rows: Vec<Row>) {
        let (attempt, group, _) = self.nodes[at].tasks[task];
        for row in rows {
            let day = row.time.div_euclid(DAY) * DAY;
            let what = Allocation {
                task: task.into(),
                node: self.nodes[at].member.node.clone(),
                attempt,
                at: Some(row.time),
                ..wish(&format!("rows {} {}", row.number, self.now), day, day + DAY, 0)
            };
            let id = self.coordinator.allocate(what, self.now).await.unwrap();
            self.nodes[at].realtime.insert(id, Rows { rows: vec![row], group, is_published: false });
        }
    }

    async fn publish(&mut self) {
        let Some((at, task)) = self.reader() else { return };
        let (attempt, group, _) = self.nodes[at].tasks[&task];
        let of_task = |(_, rows): &(&SegmentId, &Rows)| rows.group == group && !rows.is_published;
        let ids: Vec<SegmentId> = self.nodes[at].realtime.iter().filter(of_task).map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let mut id = ids[self.rng.random_range(0..ids.len())].clone();
        let rows = self.nodes[at].realtime[&id].rows.clone();
        let key = format!("t:{group}");
        let from = self.coordinator.positions("s").await.unwrap().0.get(&key).copied().unwrap_or(0);
        loop {
            let what = streamed(
                &task,
                vec![self.file(&id, &rows)],
                positions(&[(&key, from)]),
                positions(&[(&key, from + 1)]),
            );
            let node = self.nodes[at].member.node.clone();
            let what = Publication { node, attempt, ..what };
            match self.coordinator.publish(what, self.now).await.unwrap() {
                Published::Committed(_) => break,
                Published::Renamed(ids) => {
                    let rows = self.nodes[at].realtime.remove(&id).unwrap();
                    id = ids[0].clone();
                    self.nodes[at].realtime.insert(id.clone(), rows);
                }
            }
        }
        self.nodes[at].realtime.get_mut(&id).unwrap().is_published = true;
        self.committed.extend(rows);
    }

    fn file(&mut self, id: &SegmentId, rows: &[Row]) -> SegmentMeta {
        let path = format!("file {}", rows[0].number);
        self.files.insert(path.clone(), rows.to_vec());
        let times = || rows.iter().map(|row| row.time);
        SegmentMeta { time_range: times().min().zip(times().max()), path, ..meta(id, rows[0].number) }
    }

    /// A task lets go of rows that stand for themselves elsewhere.
    fn let_go(&mut self) {
        let coordinator = self.coordinator.clone();
        for node in &mut self.nodes {
            node.realtime.retain(|id, rows| !rows.is_published || !coordinator.is_served(id));
        }
    }

    async fn replace(&mut self) {
        let day = self.day();
        let within = match self.rng.random_bool(0.5) {
            true => day,
            false => {
                let start = day.start + self.rng.random_range(0..DAY - 1);
                interval(start, self.rng.random_range(start + 1..=day.end))
            }
        };
        let mut segments = Vec::new();
        let mut brought = Vec::new();
        let sequence = format!("replace {}", self.made);
        for index in 0..self.rng.random_range(1..3) {
            let what = Allocation { fresh_version: true, ..wish(&sequence, within.start, within.end, index) };
            let id = self.coordinator.allocate(what, self.now).await.unwrap();
            let rows = self.rows(within);
            segments.push(self.file(&id, &rows));
            brought.extend(rows);
        }
        let mode = PublishMode::Replace { intervals: vec![within] };
        self.coordinator.publish(batch(segments, mode), self.now).await.unwrap();
        let taken = self.committed.iter().filter(|row| within.contains(row.time) && !self.gone.contains(row));
        let taken: BTreeSet<Row> = taken.copied().collect();
        self.gone.extend(&taken);
        self.committed.extend(&brought);
        self.replaces.push((taken, brought));
    }

    async fn append(&mut self) {
        let within = self.day();
        let rows = self.rows(within);
        let mut id = {
            let what =
                Allocation { at: Some(rows[0].time), ..wish(&format!("a{}", self.made), within.start, within.end, 0) };
            self.coordinator.allocate(what, self.now).await.unwrap()
        };
        let rows: Vec<Row> = rows.into_iter().filter(|row| id.interval.contains(row.time)).collect();
        loop {
            let what = batch(vec![self.file(&id, &rows)], PublishMode::Append);
            match self.coordinator.publish(what, self.now).await.unwrap() {
                Published::Committed(_) => break,
                Published::Renamed(ids) => id = ids[0].clone(),
            }
        }
        self.committed.extend(rows);
    }

    async fn drop_day(&mut self) {
        let within = self.day();
        self.coordinator.mark_unused("d", Selection::Intervals(vec![within]), self.now).await.unwrap();
        self.gone.extend(self.committed.iter().filter(|row| within.contains(row.time)));
    }

    /// Some historical loads something that is used, or still seen.
    fn load(&mut self) {
        let used = self.coordinator.segments("d");
        if used.is_empty() {
            return;
        }
        let id = used[self.rng.random_range(0..used.len())].id.clone();
        let at = self.rng.random_range(0..3);
        if self.nodes[at].is_up {
            self.nodes[at].published.insert(id);
        }
    }

    /// Some historical drops what no view needs of it.
    fn unload(&mut self) {
        let at = self.rng.random_range(0..3);
        let view = self.coordinator.view();
        let table = view.tables.get("d").cloned().unwrap_or_default();
        let is_needed = |id: &SegmentId| table.published.get(id).is_some_and(|placed| placed.nodes.len() < 2);
        let used: BTreeSet<SegmentId> = self.coordinator.segments("d").into_iter().map(|meta| meta.id).collect();
        self.nodes[at].published.retain(|id| is_needed(id) || used.contains(id));
    }

    async fn beat(&mut self, at: usize) {
        self.now += 1;
        if !self.nodes[at].is_up {
            self.nodes[at].is_up = true;
            self.nodes[at].member.process += 1;
            self.nodes[at].seq = 0;
        }
        let node = &mut self.nodes[at];
        node.seq += 1;
        node.told = node.realtime.iter().map(|(id, rows)| (id.clone(), rows.rows.clone())).collect();
        let tasks = node.tasks.iter().map(|(id, (attempt, _, caught_up))| henge_coordinator::TaskProgress {
            attempt: *attempt,
            caught_up: *caught_up,
            ..progress(id, TaskState::Running)
        });
        let report = Report {
            member: node.member.clone(),
            seq: node.seq,
            served: Some(Served {
                published: node.published.iter().cloned().collect(),
                realtime: node.realtime.keys().cloned().collect(),
            }),
            tasks: tasks.collect(),
            ..Report::default()
        };
        let reply = self.coordinator.heartbeat(report, self.now).await.unwrap();
        for command in reply.commands {
            match command {
                Command::StartTask { task, attempt } => {
                    self.nodes[at].tasks.insert(task.id, (attempt, task.group, false));
                }
                Command::Drop(id) => {
                    self.nodes[at].realtime.remove(&id);
                    self.nodes[at].published.remove(&id);
                }
                Command::Load(_) => assert!(self.nodes[at].member.has(Role::Historical)),
                Command::StopTask { task, .. } => panic!("{task} should run"),
            }
        }
    }

    /// Attempts read what lost ones had read.
    async fn catch_up(&mut self) {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_up {
                continue;
            }
            let behind = self.nodes[at].tasks.iter().filter(|(_, (_, _, caught_up))| !caught_up);
            let behind: Vec<(String, u32)> = behind.map(|(id, (_, group, _))| (id.clone(), *group)).collect();
            for (task, group) in behind {
                let rows = self.unread.remove(&group).unwrap_or_default();
                self.take(at, &task, rows).await;
                self.nodes[at].tasks.get_mut(&task).unwrap().2 = true;
            }
        }
    }

    /// A node dies; the others tell until it is known.
    async fn lose(&mut self, at: usize) {
        if !self.nodes[at].is_up {
            return;
        }
        self.losses += 1;
        let node = &mut self.nodes[at];
        node.is_up = false;
        node.published.clear();
        node.tasks.clear();
        for rows in std::mem::take(&mut node.realtime).into_values().filter(|rows| !rows.is_published) {
            self.unread.entry(rows.group).or_default().extend(rows.rows);
        }
        if self.rng.random_bool(0.5) {
            // It comes back before anybody has missed it.
            return self.beat(at).await;
        }
        for round in [LEASE / 2, LEASE / 2 + 10] {
            self.now += round;
            for other in 0..self.nodes.len() {
                if self.nodes[other].is_up {
                    self.beat(other).await;
                }
            }
        }
    }

    fn check(&mut self) {
        for meta in self.coordinator.segments("d") {
            self.names.insert(meta.id, meta.path);
        }
        let view = self.coordinator.view();
        let before = self.follower.number;
        let is_new = self.follower.apply(&self.coordinator.view_since(before));
        assert!(self.follower.number >= before && is_new == (view.number > before));
        self.views += u32::from(is_new);
        assert_eq!(self.follower.image(), view.image(), "by every change");
        if self.rng.random_ratio(1, 15) {
            self.lazy.apply(&self.coordinator.view_since(self.lazy.number));
            assert_eq!(self.lazy.image(), view.image(), "by several changes at once");
            let mut whole = View::default();
            let sent = serde_json::to_string(&self.coordinator.view_since(ViewNumber::default())).unwrap();
            assert!(whole.apply(&serde_json::from_str(&sent).unwrap()));
            assert_eq!(whole.image(), view.image(), "in full");
        }

        let counts = self.counts(&view);
        let incomplete = view.tables.get("d").map_or(&[][..], |table| &table.incomplete);
        for (row, times) in &counts {
            assert!(*times <= 1, "{row:?} is seen {times} times");
        }
        for row in self.seen.difference(&self.gone) {
            let is_told = incomplete.iter().any(|within| within.contains(row.time));
            assert!(counts.contains_key(row) || is_told, "{row:?} is missing and nobody is told");
        }
        for (taken, brought) in &self.replaces {
            for row in brought.iter().filter(|row| counts.contains_key(row)) {
                let both = taken.iter().find(|other| other.time == row.time && counts.contains_key(other));
                assert!(both.is_none(), "{row:?} replaces {both:?}, and both are seen");
            }
        }
        self.seen.extend(counts.keys());
    }

    fn counts(&self, view: &View) -> BTreeMap<Row, u32> {
        let mut counts = BTreeMap::new();
        let Some(table) = view.tables.get("d") else { return counts };
        for slice in table.published.visible(Interval::ETERNITY) {
            if slice.item.nodes.is_empty() {
                continue;
            }
            for row in self.files[&self.names[&slice.id]].iter().filter(|row| slice.interval.contains(row.time)) {
                *counts.entry(*row).or_insert(0) += 1;
            }
        }
        // As of its last report: what it dropped since, or died with, it says that it does not have, and is asked again.
        for (id, node) in &table.realtime {
            let node = self.nodes.iter().find(|other| other.member.node == *node).unwrap();
            node.told[id].iter().for_each(|row| *counts.entry(*row).or_insert(0) += 1);
        }
        counts
    }

    /// Lets everything come to rest: then every row is seen once, and nothing is missing.
    async fn rest(&mut self) {
        for _ in 0..40 {
            self.now += 10;
            for at in 0..self.nodes.len() {
                self.beat(at).await;
                self.check();
            }
            self.catch_up().await;
            for meta in self.coordinator.segments("d") {
                self.nodes[0].published.insert(meta.id);
            }
            self.publish().await;
            self.let_go();
            self.coordinator.cycle(self.now).await.unwrap();
            self.check();
        }
        let view = self.coordinator.view();
        assert!(view.tables.get("d").is_none_or(|table| table.incomplete.is_empty()), "{:?}", view.image());
        let counts = self.counts(&view);
        for row in self.committed.union(&self.seen) {
            let wanted = u32::from(!self.gone.contains(row));
            assert_eq!(counts.get(row).copied().unwrap_or(0), wanted, "{row:?} at rest");
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("HENGE_SIMULATION_SEEDS") else { return 0..24 };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    from.parse().unwrap()..to.parse().unwrap()
}

async fn storm(seeds: impl Iterator<Item = u64>, store: impl AsyncFn() -> Fresh) {
    let (mut losses, mut replaces, mut views) = (0, 0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let store = store().await;
        let mut world = World::new(seed, &store).await;
        for _ in 0..300 {
            world.step().await;
        }
        world.rest().await;
        losses += world.losses;
        replaces += world.replaces.iter().filter(|(taken, _)| !taken.is_empty()).count();
        views += world.views;
    }
    assert!(losses > 0 && replaces > 0 && views > 100, "the storm was too mild to prove anything");
}

#[tokio::test]
async fn every_view_has_every_row_once_or_says_that_it_lacks_some() {
    storm(seeds(), async || Fresh::sqlite()).await;
}

#[tokio::test]
async fn every_view_has_every_row_once_on_postgres() {
    if Fresh::postgres().await.is_some() {
        storm(seeds().step_by(8), async || Fresh::postgres().await.unwrap()).await;
    }
}
