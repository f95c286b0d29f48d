//! What tasks live in: a broker, a ledger, disks. It outlasts the lives (processes) that are started in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use henge_ingest::fail::FailPoints;
use henge_ingest::{
    Allocation, Error, Ledger, Ports, Positions, Publication, Result, Settings, StartTask, StopReason, TaskReport,
    Worker,
};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use segment::inventory::{Change, Inventory, Served};
use segment::storage::deep::DeepStorage;
use segment::{Interval, Segment, SegmentId, SegmentMeta};
use serde_json::{Value, json};

pub const TOPIC: &str = "events";
pub const SUPERVISOR: &str = "orders";

pub struct World {
    pub broker: MockCluster<'static, DefaultProducerContext>,
    pub ledger: Arc<FakeLedger>,
    disk: tempfile::TempDir,
    producer: BaseProducer,
    pub produced: Mutex<Totals>,
}

/// What a query over everything says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub count: i64,
    pub sum: i64,
    pub by_key: BTreeMap<String, i64>,
}

impl World {
    pub fn new(partitions: i32) -> World {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic(TOPIC, partitions, 1).unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap_servers())
            .set("linger.ms", "5")
            .create()
            .unwrap();
        let disk = tempfile::tempdir().unwrap();
        let deep = DeepStorage::local(&disk.path().join("deep")).unwrap();
        let ledger = Arc::new(FakeLedger::new(deep, disk.path().join("cache")));
        World { broker, ledger, disk, producer, produced: Mutex::default() }
    }

    /// Sends `rows` events, spread over the partitions and three hours.
    pub fn produce(&self, partitions: i32, rows: i64) {
        let mut produced = self.produced.lock();
        for _ in 0..rows {
            let n = produced.count;
            let key = format!("k{}", n % 7);
            let time = (n % 3) * 3_600_000 + n % 1000;
            let event = json!({"time": time, "key": key, "value": n, "extra": n % 2 == 0}).to_string();
            self.send(TOPIC, (n % i64::from(partitions)) as i32, Some(event.as_bytes()));
            produced.count += 1;
            produced.sum += n;
            *produced.by_key.entry(key).or_default() += 1;
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    pub fn send(&self, topic: &str, partition: i32, payload: Option<&[u8]>) {
        let record: BaseRecord<(), [u8]> = BaseRecord::to(topic).partition(partition);
        let record = match payload {
            Some(payload) => record.payload(payload),
            None => record,
        };
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    pub fn produced(&self) -> Totals {
        self.produced.lock().clone()
    }

    pub fn deep_folder(&self) -> PathBuf {
        self.disk.path().join("deep")
    }

    pub fn tasks_folder(&self) -> PathBuf {
        self.disk.path().join("tasks")
    }

    /// A process starts: what is published is loaded before anything else.
    pub fn start_life(&self, fail_points: FailPoints) -> Life {
        let inventory = Arc::new(Inventory::new());
        self.ledger.attend(inventory.clone());
        let settings = Settings {
            folder: self.tasks_folder(),
            clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64),
            bytes_in_memory_default: 64 << 20,
            sources: Default::default(),
            http: Default::default(),
            fail_points,
            spread: false,
        };
        let deep = DeepStorage::local(&self.deep_folder()).unwrap();
        let ports = Ports {
            ledger: self.ledger.clone(),
            inventory: inventory.clone(),
            deep,
            journals: Vec::new(),
            steps: henge_ingest::untold(),
        };
        Life { inventory, worker: Worker::new(ports, settings), started: AtomicUsize::new(0) }
    }

    pub fn document(&self, rollup: bool, tuning: Value) -> Value {
        self.document_for(json!({"topic": TOPIC}), rollup, tuning)
    }

    pub fn document_for(&self, stream: Value, rollup: bool, tuning: Value) -> Value {
        let mut io = json!({
            "inputFormat": {"type": "json"},
            "consumerProperties": {"bootstrap.servers": self.broker.bootstrap_servers()},
            "useEarliestOffset": true,
            "taskDuration": "PT1H",
        });
        io.as_object_mut().unwrap().extend(stream.as_object().unwrap().clone());
        json!({"type": "kafka", "id": SUPERVISOR, "spec": {
            "dataSchema": {
                "dataSource": "orders",
                "timestampSpec": {"column": "time", "format": "millis"},
                "dimensionsSpec": {"dimensions": ["key"]},
                "metricsSpec": [
                    {"type": "count", "name": "count"},
                    {"type": "longSum", "name": "value", "fieldName": "value"},
                ],
                "granularitySpec": {
                    "segmentGranularity": "HOUR",
                    "queryGranularity": if rollup { "MINUTE" } else { "NONE" },
                    "rollup": rollup,
                },
            },
            "ioConfig": io,
            "tuningConfig": tuning,
        }})
    }
}

/// One process.
pub struct Life {
    pub inventory: Arc<Inventory>,
    pub worker: Arc<Worker>,
    started: AtomicUsize,
}

impl Life {
    pub fn start(&self, document: &Value) -> String {
        self.start_share(document, 0, 1)
    }

    pub fn start_share(&self, document: &Value, group: u32, groups: u32) -> String {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let id = format!("task-{group}-{number}");
        self.worker.start(StartTask {
            id: id.clone(),
            group_id: format!("group-{group}"),
            datasource: "orders".into(),
            kind: "index_kafka".into(),
            supervisor: Some(SUPERVISOR.into()),
            document: document.clone(),
            group,
            groups,
            generation: 1,
            created_at: 0,
            attempt: 1,
        });
        id
    }

    /// As the server does before it serves.
    pub fn mark_incomplete(&self) {
        self.inventory.apply(vec![Change::Incomplete {
            datasource: "orders".into(),
            owner: SUPERVISOR.into(),
            intervals: vec![Interval::ETERNITY],
        }]);
    }

    pub fn report(&self, task: &str) -> TaskReport {
        self.worker.report(task).unwrap()
    }

    /// Everything that is queryable now, and whether it is known to be incomplete.
    pub fn query(&self) -> (Totals, bool) {
        let Some(view) = self.inventory.view("orders", &[Interval::ETERNITY]) else {
            return (Totals::default(), false);
        };
        let mut totals = Totals::default();
        for slice in view.slices {
            for segment in slice.item.open() {
                totals.add(&segment);
            }
        }
        (totals, !view.incomplete.is_empty())
    }

    pub fn count(&self) -> i64 {
        self.query().0.count
    }

    pub async fn stop(&self, task: &str, reason: StopReason) -> TaskReport {
        self.worker.stop(task, reason);
        self.wait("the task ends", || self.report(task).is_ended()).await;
        self.report(task)
    }

    pub async fn wait(&self, what: &str, mut until: impl FnMut() -> bool) {
        let began = Instant::now();
        while !until() {
            let reports = || self.worker.reports();
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {what}; {:#?}", reports());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Totals {
    fn add(&mut self, segment: &Segment) {
        let rows = segment.rows();
        let block = |name: &str| segment.column(name).unwrap().unwrap().block(0, rows);
        let (counts, values, keys) = (block("count"), block("value"), block("key"));
        for row in 0..rows {
            use segment::block::Value::{Long, Null, Text};
            let long = |value| match value {
                Long(value) => value,
                Null => 0,
                other => panic!("{other:?} is not a long"),
            };
            let count = long(counts.value(row));
            self.count += count;
            self.sum += long(values.value(row));
            if let Text(key) = keys.value(row) {
                *self.by_key.entry(key.to_string()).or_default() += count;
            }
        }
    }
}

/// A ledger in memory, with a historical that loads what is published when it is asked whether it is served.
pub struct FakeLedger {
    state: Mutex<State>,
    deep: DeepStorage,
    cache: PathBuf,
    /// Publications that fail from now on.
    pub refusals: AtomicUsize,
    /// Whether names are refused.
    pub no_names: AtomicBool,
    /// Whether brokers do not know of what is announced.
    pub is_unknown: AtomicBool,
    /// Publications whose segments get another version from now on.
    pub renames: AtomicUsize,
    /// Whether it never answers who asks for positions from now on, and how many wait for it.
    pub is_deaf: AtomicBool,
    pub unheard: AtomicUsize,
}

#[derive(Default)]
struct State {
    positions: Positions,
    allocated: BTreeMap<(String, i64, u32), SegmentId>,
    published: BTreeMap<SegmentId, SegmentMeta>,
    loaded: BTreeSet<SegmentId>,
    inventory: Option<Arc<Inventory>>,
    partitions: BTreeMap<Interval, u32>,
    version: u32,
}

impl FakeLedger {
    fn new(deep: DeepStorage, cache: PathBuf) -> FakeLedger {
        std::fs::create_dir_all(&cache).unwrap();
        let (state, refusals, no_names, is_unknown, renames, is_deaf, unheard) = Default::default();
        FakeLedger { state, deep, cache, refusals, no_names, is_unknown, renames, is_deaf, unheard }
    }

    fn attend(&self, inventory: Arc<Inventory>) {
        let mut state = self.state.lock();
        state.inventory = Some(inventory);
        let published: Vec<SegmentMeta> = state.published.values().cloned().collect();
        state.loaded.clear();
        published.iter().for_each(|meta| self.load(&mut state, meta));
    }

    fn load(&self, state: &mut State, meta: &SegmentMeta) {
        let file = self.deep.local_path(meta).unwrap();
        let copy = self.cache.join(meta.path.replace('/', "_"));
        std::fs::copy(file, &copy).unwrap();
        let segment = Arc::new(segment::file::open(&copy, meta.id.clone()).unwrap());
        let inventory = state.inventory.as_ref().unwrap();
        inventory.apply(vec![Change::Serve(meta.id.clone(), Served::Published(segment))]);
        state.loaded.insert(meta.id.clone());
    }

    pub fn committed(&self) -> Positions {
        self.state.lock().positions.clone()
    }

    pub fn commit(&self, positions: Positions) {
        self.state.lock().positions = positions;
    }

    pub fn published(&self) -> Vec<SegmentMeta> {
        self.state.lock().published.values().cloned().collect()
    }
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn positions(&self, _: &str) -> Result<Positions> {
        if self.is_deaf.load(Ordering::Relaxed) {
            self.unheard.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        Ok(self.committed())
    }

    async fn allocate(&self, what: &Allocation) -> Result<SegmentId> {
        if self.no_names.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the catalog is away"));
        }
        let mut state = self.state.lock();
        let key = (what.sequence.clone(), what.interval.start, what.index);
        if let Some(id) = state.allocated.get(&key) {
            return Ok(id.clone());
        }
        let partition = state.partitions.entry(what.interval).or_default();
        *partition += 1;
        let partition = *partition;
        let id =
            SegmentId { datasource: what.datasource.clone(), interval: what.interval, version: "v0".into(), partition };
        state.allocated.insert(key, id.clone());
        Ok(id)
    }

    async fn announce(&self, ids: &[SegmentId]) -> Result<()> {
        let inventory = self.state.lock().inventory.clone().unwrap();
        for id in ids {
            let rows = inventory.realtime().into_iter().find(|(there, _)| there == id).map(|(_, index)| index.rows());
            assert_eq!(rows, Some(0), "{id} is served, and has no row yet");
        }
        match self.is_unknown.load(Ordering::Relaxed) {
            true => Err(Error::unavailable("brokers do not know of it")),
            false => Ok(()),
        }
    }

    async fn publish(&self, what: &Publication) -> Result<Vec<SegmentId>> {
        let is_left = |count: &AtomicUsize| {
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        };
        if is_left(&self.refusals) {
            return Err(Error::unavailable("the catalog is away"));
        }
        let mut state = self.state.lock();
        let moved =
            |(key, from): (&henge_ingest::PartitionKey, &i64)| state.positions.get(key).is_some_and(|at| at != *from);
        if what.from.0.iter().any(moved) {
            return Err(Error::Stale { committed: state.positions.clone() });
        }
        if !what.segments.is_empty() && is_left(&self.renames) {
            state.version += 1;
            let version = format!("v{}", state.version);
            let renamed = |meta: &SegmentMeta| SegmentId { version: version.clone(), ..meta.id.clone() };
            return Ok(what.segments.iter().map(renamed).collect());
        }
        state.positions.advance(&what.to);
        for meta in &what.segments {
            let twice = state.published.insert(meta.id.clone(), meta.clone());
            assert!(twice.is_none(), "{} is published twice", meta.id);
        }
        Ok(what.segments.iter().map(|meta| meta.id.clone()).collect())
    }

    async fn is_served(&self, id: &SegmentId) -> Result<bool> {
        let mut state = self.state.lock();
        if state.loaded.contains(id) {
            return Ok(true);
        }
        if let Some(meta) = state.published.get(id).cloned() {
            self.load(&mut state, &meta);
        }
        // Served from the next look on, as a historical that reports by heartbeat.
        Ok(false)
    }
}
