//! One node under a seeded storm: events arrive, tasks read and publish them, batches replace intervals, documents
//! change, and the process dies at any step. After every change of what the node serves, no event is seen twice, and
//! none that was seen is lost but by a crash; at the end each is seen once.
//!
//! The node here is a model: rows are event numbers, deep storage is a map. The coordinator and the timeline are real.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use henge_coordinator::{
    Allocation, Command, Condition, Coordinator, Error, Member, Phase, Positions, Publication, PublishMode, Published,
    Report, Served, StopReason, TaskProgress, TaskRecord, TaskState,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::timeline::Timeline;
use segment::{Interval, SegmentId, SegmentMeta};
use serde_json::Value;

use crate::fresh::Fresh;
use crate::node::{SETTINGS, interval, member, open, spec};

const PARTITIONS: usize = 4;
const DAY: i64 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    number: u64,
    time: i64,
}

struct World {
    rng: SmallRng,
    store: Fresh,
    coordinator: Coordinator,
    now: i64,
    stream: Vec<Vec<Event>>,
    made: u64,
    /// Deep storage.
    files: HashMap<String, Vec<Event>>,
    node: Node,
    /// Events whose publication was committed.
    committed: BTreeSet<Event>,
    /// Events that a replace took out.
    replaced: BTreeSet<Event>,
    replace: Option<Replace>,
    crashes: u32,
    seq: u64,
}

/// What dies with the process.
#[derive(Default)]
struct Node {
    published: Timeline<Vec<Event>>,
    realtime: BTreeMap<SegmentId, Vec<Event>>,
    tasks: BTreeMap<String, Task>,
    broken: Vec<(SegmentId, String)>,
}

struct Task {
    record: TaskRecord,
    attempt: i64,
    state: TaskState,
    stop: Option<StopReason>,
    start: Positions,
    next: Positions,
    open: BTreeSet<SegmentId>,
    indexes: HashMap<i64, u32>,
    closing: Option<Closing>,
}

struct Closing {
    from: Positions,
    to: Positions,
    segments: Vec<SegmentMeta>,
    published: bool,
}

struct Replace {
    segments: Vec<SegmentMeta>,
    intervals: Vec<Interval>,
    committed_before: BTreeSet<Event>,
}

impl World {
    async fn new(seed: u64, store: Fresh) -> World {
        let coordinator = open(&store).await;
        coordinator.put_supervisor(spec(2), false, 0).await.unwrap();
        World {
            rng: SmallRng::seed_from_u64(seed),
            store,
            coordinator,
            now: 1_000_000,
            stream: vec![Vec::new(); PARTITIONS],
            made: 0,
            files: HashMap::new(),
            node: Node::default(),
            committed: BTreeSet::new(),
            replaced: BTreeSet::new(),
            replace: None,
            crashes: 0,
            seq: 0,
        }
    }

    fn event(&mut self, within: Interval) -> Event {
        self.made += 1;
        Event { number: self.made, time: self.rng.random_range(within.start..within.end) }
    }

    async fn step(&mut self) {
        self.now += self.rng.random_range(0..3);
        match self.rng.random_range(0..100) {
            0..20 => {
                let partition = self.rng.random_range(0..PARTITIONS);
                let event = self.event(interval(0, 3 * DAY));
                self.stream[partition].push(event);
            }
            20..50 => self.read().await,
            50..58 => self.close(),
            58..68 => self.publish().await,
            68..72 => self.let_go(),
            72..86 => self.heartbeat().await,
            86..92 => {
                self.coordinator.cycle(self.now).await.unwrap();
            }
            92..95 => self.change_supervisor().await,
            95..98 => self.replace().await,
            _ => self.crash().await,
        }
    }

    /// A task takes the next event of one of its partitions.
    async fn read(&mut self) {
        let Some(id) = self.some_task(|task| task.stop.is_none()) else { return };
        let task = self.node.tasks.get_mut(&id).unwrap();
        let own: Vec<usize> = (0..PARTITIONS).filter(|p| *p as u32 % task.record.groups == task.record.group).collect();
        let Some(&partition) = own.get(self.rng.random_range(0..own.len().max(1))) else { return };
        let key = format!("t:{partition}");
        let offset = task.next.0.get(&key).copied().unwrap_or(0);
        let Some(event) = self.stream[partition].get(offset as usize).copied() else { return };

        let is_here = |id: &&SegmentId| id.interval.contains(event.time);
        let segment = match task.open.iter().find(is_here) {
            Some(id) => id.clone(),
            None => {
                let chunk = event.time.div_euclid(DAY) * DAY;
                let index = task.indexes.entry(chunk).or_insert(0);
                let start = &task.start;
                let wish = Allocation {
                    task: id.clone(),
                    node: "n".into(),
                    attempt: task.attempt,
                    datasource: "d".into(),
                    sequence: format!("s {} {} {start}", task.record.generation, task.record.group),
                    interval: interval(chunk, chunk + DAY),
                    index: *index,
                    fresh_version: false,
                    at: Some(event.time),
                };
                *index += 1;
                let id = self.coordinator.allocate(wish, self.now).await.unwrap();
                assert!(id.interval.contains(event.time));
                task.open.insert(id.clone());
                id
            }
        };
        task.next.0.insert(key, offset + 1);
        self.node.realtime.entry(segment).or_default().push(event);
        self.check("read");
    }

    /// Freezes what a task read.
    fn close(&mut self) {
        let Some(id) = self.some_task(|task| task.closing.is_none()) else { return };
        self.freeze(&id);
    }

    fn freeze(&mut self, id: &str) {
        let task = self.node.tasks.get_mut(id).unwrap();
        if task.open.is_empty() {
            return;
        }
        let mut segments = Vec::new();
        for id in std::mem::take(&mut task.open) {
            let events = self.node.realtime[&id].clone();
            segments.push(upload(&mut self.files, id, events));
        }
        task.indexes.clear();
        // A partition that was not read yet starts where it was first found: at the beginning.
        let mut from = task.start.clone();
        for key in task.next.0.keys() {
            from.0.entry(key.clone()).or_insert(0);
        }
        task.closing = Some(Closing { from, to: task.next.clone(), segments, published: false });
        task.start = task.next.clone();
    }

    async fn publish(&mut self) {
        let Some(id) = self.some_task(|task| task.closing.as_ref().is_some_and(|closing| !closing.published)) else {
            return;
        };
        let task = self.node.tasks.get_mut(&id).unwrap();
        let closing = task.closing.as_mut().unwrap();
        let what = Publication {
            task: id.clone(),
            node: "n".into(),
            attempt: task.attempt,
            supervisor: Some("s".into()),
            datasource: "d".into(),
            segments: closing.segments.clone(),
            from: closing.from.clone(),
            to: closing.to.clone(),
            mode: PublishMode::Append,
        };
        match self.coordinator.publish(what, self.now).await {
            Ok(Published::Committed(metas)) => {
                for meta in &metas {
                    self.committed.extend(&self.files[&meta.path]);
                }
                closing.published = true;
                if self.rng.random_ratio(1, 5) {
                    self.crash().await;
                }
            }
            Ok(Published::Renamed(ids)) => {
                for (meta, id) in closing.segments.iter_mut().zip(ids) {
                    let events = self.node.realtime.remove(&meta.id).unwrap();
                    meta.id = id.clone();
                    self.node.realtime.insert(id, events);
                }
                self.check("rename");
            }
            Err(Error::Stale { .. }) => self.end(&id, TaskState::Failed),
            Err(error) => panic!("{error}"),
        }
    }

    /// A task lets go of rows that are served elsewhere.
    fn let_go(&mut self) {
        let coordinator = self.coordinator.clone();
        let is_handed_off = |closing: &Closing| {
            closing.published && closing.segments.iter().all(|meta| coordinator.is_served(&meta.id))
        };
        let Some(id) = self.some_task(|task| task.closing.as_ref().is_some_and(is_handed_off)) else { return };
        let task = self.node.tasks.get_mut(&id).unwrap();
        let closing = task.closing.take().unwrap();
        for meta in &closing.segments {
            self.node.realtime.remove(&meta.id);
        }
        let is_done = task.stop.is_some() && task.open.is_empty();
        self.check("withdraw");
        if is_done {
            self.end(&id, TaskState::Success);
        }
    }

    fn end(&mut self, id: &str, state: TaskState) {
        let task = self.node.tasks.get_mut(id).unwrap();
        task.state = state;
        let closing = task.closing.take().into_iter().flat_map(|closing| closing.segments).map(|meta| meta.id);
        let rows: Vec<SegmentId> = std::mem::take(&mut task.open).into_iter().chain(closing).collect();
        for id in rows {
            self.node.realtime.remove(&id);
        }
    }

    async fn heartbeat(&mut self) {
        self.seq += 1;
        let tasks = self.node.tasks.values().map(|task| TaskProgress {
            id: task.record.id.clone(),
            attempt: task.attempt,
            caught_up: false,
            done: false,
            state: task.state,
            phase: Phase::Reading,
            condition: Condition::Healthy,
            error: None,
            positions: task.next.clone(),
            lag: BTreeMap::new(),
            report: Value::Null,
        });
        let report = Report {
            member: Member { process: u64::from(self.crashes) + 1, ..member("n") },
            seq: self.seq,
            served: Some(Served {
                published: self.node.published.iter().map(|(id, _)| id.clone()).collect(),
                realtime: self.node.realtime.keys().cloned().collect(),
            }),
            loading: vec![],
            broken: std::mem::take(&mut self.node.broken),
            tasks: tasks.collect(),
            ..Report::default()
        };
        let reply = self.coordinator.heartbeat(report, self.now).await.unwrap();
        for id in reply.recorded {
            self.node.tasks.remove(&id);
        }
        let mut loads = Vec::new();
        let mut drops = Vec::new();
        for command in reply.commands {
            match command {
                Command::StartTask { task, attempt } => self.start(task, attempt).await,
                Command::StopTask { task, reason } => self.stop(&task, reason),
                Command::Load(meta) => loads.push(meta),
                Command::Drop(id) => drops.push(id),
            }
        }
        if self.rng.random_ratio(1, 20) {
            return self.crash().await;
        }
        if !loads.is_empty() && self.rng.random_ratio(1, 5) {
            // One load fails, so nothing of this reply is applied.
            let unlucky = self.rng.random_range(0..loads.len());
            return self.node.broken.push((loads[unlucky].id.clone(), "no luck".into()));
        }
        for meta in loads {
            let within = meta.id.interval;
            let events = self.files[&meta.path].iter().filter(|event| within.contains(event.time)).copied().collect();
            self.node.realtime.remove(&meta.id);
            self.node.published.add_partition(meta.id, meta.core_partitions, events);
        }
        for id in &drops {
            self.node.published.remove(id);
            self.node.realtime.remove(id);
        }
        self.check("heartbeat");
    }

    async fn start(&mut self, record: TaskRecord, attempt: i64) {
        if self.node.tasks.contains_key(&record.id) {
            return;
        }
        let committed = self.coordinator.positions("s").await.unwrap();
        let is_own = |key: &String| {
            let partition: u32 = key.rsplit_once(':').unwrap().1.parse().unwrap();
            partition % record.groups == record.group
        };
        let start = Positions(committed.0.into_iter().filter(|(key, _)| is_own(key)).collect());
        let task = Task {
            attempt,
            state: TaskState::Running,
            stop: None,
            next: start.clone(),
            start,
            open: BTreeSet::new(),
            indexes: HashMap::new(),
            closing: None,
            record,
        };
        self.node.tasks.insert(task.record.id.clone(), task);
    }

    fn stop(&mut self, id: &str, reason: StopReason) {
        let Some(task) = self.node.tasks.get_mut(id).filter(|task| task.state == TaskState::Running) else { return };
        if matches!(reason, StopReason::Reset | StopReason::Cancel) {
            return self.end(id, TaskState::Failed);
        }
        task.stop = Some(reason);
        if task.closing.is_none() {
            self.freeze(id);
        }
        let task = &self.node.tasks[id];
        if task.closing.is_none() && task.open.is_empty() {
            self.end(id, TaskState::Success);
        }
    }

    async fn change_supervisor(&mut self) {
        match self.rng.random_range(0..3) {
            0 => {
                self.coordinator.suspend("s", self.now).await.unwrap();
            }
            1 => {
                self.coordinator.resume("s", self.now).await.unwrap();
            }
            _ => {
                let task_count = self.rng.random_range(1..4);
                self.coordinator.put_supervisor(spec(task_count), false, self.now).await.unwrap();
            }
        }
    }

    /// Begins a replace, or publishes the one begun.
    async fn replace(&mut self) {
        let Some(replace) = self.replace.take() else {
            let (start, length) = if self.rng.random_bool(0.5) {
                (self.rng.random_range(0..3) * DAY, DAY)
            } else {
                (self.rng.random_range(0..70), self.rng.random_range(1..30))
            };
            let within = interval(start, start + length);
            let sequence = format!("replace {}", self.made);
            let committed_before = self.committed.clone();
            let mut segments = Vec::new();
            for index in 0..self.rng.random_range(1..3) {
                let wish = Allocation {
                    task: sequence.clone(),
                    node: "n".into(),
                    attempt: 1,
                    datasource: "d".into(),
                    sequence: sequence.clone(),
                    interval: within,
                    index,
                    fresh_version: true,
                    at: None,
                };
                let id = self.coordinator.allocate(wish, self.now).await.unwrap();
                let events = (0..3).map(|_| self.event(within)).collect();
                segments.push(upload(&mut self.files, id, events));
            }
            self.replace = Some(Replace { segments, intervals: vec![within], committed_before });
            return;
        };
        let mode = PublishMode::Replace { intervals: replace.intervals.clone() };
        let what = Publication {
            task: "replace".into(),
            node: "n".into(),
            attempt: 1,
            supervisor: None,
            datasource: "d".into(),
            segments: replace.segments.clone(),
            from: Positions::default(),
            to: Positions::default(),
            mode,
        };
        let published = self.coordinator.publish(what, self.now).await.unwrap();
        assert!(matches!(published, Published::Committed(_)));
        let is_inside = |event: &&Event| replace.intervals.iter().any(|within| within.contains(event.time));
        self.replaced.extend(replace.committed_before.iter().filter(is_inside));
        for meta in &replace.segments {
            self.committed.extend(&self.files[&meta.path]);
        }
    }

    /// The process dies and comes back. What is in the catalog and in deep storage stays.
    async fn crash(&mut self) {
        self.crashes += 1;
        self.node = Node::default();
        self.coordinator.close().await;
        self.coordinator = open(&self.store).await;
    }

    fn some_task(&mut self, is: impl Fn(&Task) -> bool) -> Option<String> {
        let fit: Vec<&String> = self
            .node
            .tasks
            .iter()
            .filter(|(_, task)| task.state == TaskState::Running && is(task))
            .map(|(id, _)| id)
            .collect();
        if fit.is_empty() {
            return None;
        }
        Some(fit[self.rng.random_range(0..fit.len())].clone())
    }

    fn seen(&self) -> BTreeMap<Event, u32> {
        let mut seen = BTreeMap::new();
        for slice in self.node.published.visible(Interval::ETERNITY) {
            for event in slice.item.iter().filter(|event| slice.interval.contains(event.time)) {
                *seen.entry(*event).or_insert(0) += 1;
            }
        }
        for event in self.node.realtime.values().flatten() {
            *seen.entry(*event).or_insert(0) += 1;
        }
        seen
    }

    fn check(&self, step: &str) {
        for (event, times) in self.seen() {
            assert!(times == 1 || self.replaced.contains(&event), "after {step}: {event:?} is seen {times} times");
        }
    }

    /// Lets everything come to rest.
    async fn drain(&mut self) {
        if self.replace.is_some() {
            self.replace().await;
        }
        self.coordinator.resume("s", self.now).await.unwrap();
        for _ in 0..400 {
            self.now += SETTINGS.restart_after_max_ms;
            for _ in 0..8 {
                self.read().await;
            }
            self.close();
            self.publish().await;
            self.heartbeat().await;
            self.let_go();
            self.coordinator.cycle(self.now).await.unwrap();
            let read: usize = self.stream.iter().flatten().filter(|event| self.committed.contains(event)).count();
            let is_quiet = self.node.realtime.is_empty() && self.node.broken.is_empty();
            if read == self.stream.iter().map(Vec::len).sum::<usize>() && is_quiet && self.is_loaded() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn is_loaded(&self) -> bool {
        self.coordinator.load_status().values().all(|status| status.used == status.served)
            && self.coordinator.overshadowed("d").is_empty()
            && self.node.published.overshadowed().is_empty()
    }
}

fn upload(files: &mut HashMap<String, Vec<Event>>, id: SegmentId, events: Vec<Event>) -> SegmentMeta {
    let path = format!("file {}", files.len());
    let times = || events.iter().map(|event| event.time);
    let meta = SegmentMeta {
        id,
        rows: events.len() as u64,
        size_bytes: 1,
        checksum: files.len() as u64,
        time_range: times().min().zip(times().max()),
        dimensions: vec![],
        metrics: vec![],
        path: path.clone(),
        core_partitions: 0,
    };
    files.insert(path, events);
    meta
}

/// Which seeds are tried: `HENGE_SIMULATION_SEEDS` asks for more at night, as `2000` or `1337..1338`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("HENGE_SIMULATION_SEEDS") else { return 0..24 };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    from.parse().unwrap()..to.parse().unwrap()
}

#[tokio::test]
async fn every_event_is_counted_once_through_crashes_and_replaces() {
    storm(seeds(), async || Fresh::sqlite()).await;
}

#[tokio::test]
async fn every_event_is_counted_once_on_postgres() {
    if Fresh::postgres().await.is_some() {
        storm(seeds().step_by(4), async || Fresh::postgres().await.unwrap()).await;
    }
}

async fn storm(seeds: impl Iterator<Item = u64>, store: impl AsyncFn() -> Fresh) {
    let mut crashes = 0;
    let mut replaced = 0;
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed, store().await).await;
        for _ in 0..400 {
            world.step().await;
        }
        world.drain().await;
        let seen = world.seen();
        let all = world.stream.iter().flatten().chain(&world.committed);
        for event in all.collect::<BTreeSet<_>>() {
            let wanted = u32::from(!world.replaced.contains(event));
            let times = seen.get(event).copied().unwrap_or(0);
            assert_eq!(times, wanted, "seed {seed}: {event:?} is seen {times} times");
        }
        crashes += world.crashes;
        replaced += world.replaced.len();
    }
    assert!(crashes > 0 && replaced > 0, "the storm was too mild to prove anything");
}
