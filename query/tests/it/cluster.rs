//! A cluster in one process: nodes in memory, everything through bytes, and nodes that fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use query::cache::Caches;
use query::cluster::{ClusterView, DataNode, NodeAnswer, NodeAsk, Route, Routes, Scatter};
use query::local::LocalNode;
use query::wire::answer::Closing;
use query::wire::frame;
use query::{Authorizer, Broker, Error, Result, Settings};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::inventory::{Change, Inventory, Served};
use segment::lookup::Lookup;
use segment::{Interval, SegmentId};

/// What a node does besides answering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    Unreachable,
    /// Ends after so many bytes, with or without an error.
    Cut(usize, bool),
    /// A bit of a byte is another.
    Flip(usize),
    Slow,
    /// Never answers.
    Silent,
    /// Says that it does not serve some of the segments.
    Forgets,
    /// Says that a copy of it is broken, always or until it is asked again.
    Broken {
        mends: bool,
    },
}

/// A node behind a wire: asks and answers are bytes, cut anywhere.
pub struct Far {
    node: Arc<LocalNode>,
    seed: AtomicU64,
    /// Percent of asks that something happens to.
    pub faulty: AtomicUsize,
    /// Of every ask, if there is one.
    pub always: Mutex<Option<Fault>>,
    pub asked: AtomicUsize,
    /// What it was asked about, of rows or only whether it is there, since this was looked at last.
    pub heard: Mutex<Vec<(SegmentId, bool)>>,
}

impl Far {
    fn fault(&self, rng: &mut SmallRng) -> Fault {
        if let Some(fault) = *self.always.lock() {
            return fault;
        }
        if rng.random_range(0..100) >= self.faulty.load(Ordering::Relaxed) {
            return Fault::None;
        }
        match rng.random_range(0..25) {
            0 => Fault::Silent,
            1..5 => Fault::Cut(rng.random_range(0..3000), true),
            5..9 => Fault::Cut(rng.random_range(0..3000), false),
            9..13 => Fault::Flip(rng.random_range(0..3000)),
            13..17 => Fault::Slow,
            17..21 => Fault::Unreachable,
            _ => Fault::Forgets,
        }
    }
}

#[async_trait]
impl DataNode for Far {
    async fn run(&self, ask: &NodeAsk) -> Result<NodeAnswer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.heard.lock().extend(ask.segments.iter().map(|asked| (asked.id.clone(), !asked.intervals.is_empty())));
        let mut rng = SmallRng::seed_from_u64(self.seed.fetch_add(1, Ordering::Relaxed));
        let fault = self.fault(&mut rng);
        let mut read = NodeAsk::from_bytes(&ask.to_bytes())?;
        let mut same = read.clone();
        same.remaining = ask.remaining;
        assert_eq!(same, *ask, "an ask is read back");
        match fault {
            Fault::Unreachable => return Err(Error::Unavailable("connection refused".into())),
            Fault::Slow => tokio::time::sleep(Duration::from_millis(30)).await,
            Fault::Silent => std::future::pending().await,
            Fault::Broken { mends } => {
                if mends {
                    *self.always.lock() = None;
                }
                let why = Error::Corrupt("a column is not as it was written".into());
                let closing = frame::write(frame::Kind::Closing, &Closing::failed(&why).to_bytes());
                return Ok(stream::iter([Ok(closing)]).boxed());
            }
            Fault::Forgets => {
                // A name that nobody serves. What is named twice, to be read and to be there, it has or has not.
                let named: BTreeSet<SegmentId> = read.segments.iter().map(|asked| asked.id.clone()).collect();
                let gone: BTreeSet<SegmentId> = named.into_iter().filter(|_| rng.random_bool(0.5)).collect();
                for asked in read.segments.iter_mut().filter(|asked| gone.contains(&asked.id)) {
                    asked.id.version = "gone".into();
                }
            }
            _ => {}
        }
        let forgotten: HashMap<SegmentId, SegmentId> =
            read.segments.iter().zip(&ask.segments).map(|(read, asked)| (read.id.clone(), asked.id.clone())).collect();
        let answer = self.node.run_bytes(&read.to_bytes()).await?;
        let answer = if fault == Fault::Forgets { renamed(answer, forgotten) } else { answer };
        let most = rng.random_range(100..5000usize);
        let mut at = 0;
        let pieces = answer.flat_map(move |bytes| {
            let bytes = bytes.expect("a node in this process does not break");
            let mut out: Vec<Result<Bytes>> = Vec::new();
            let mut rest = bytes.to_vec();
            if let Fault::Flip(place) = fault
                && (at..at + rest.len()).contains(&place)
            {
                rest[place - at] ^= 4;
            }
            if let Fault::Cut(place, tells) = fault
                && at + rest.len() > place
            {
                if at <= place {
                    rest.truncate(place - at);
                    out.push(Ok(rest.into()));
                    out.push(match tells {
                        true => Err(Error::Unavailable("connection reset".into())),
                        false => Ok(Bytes::new()),
                    });
                }
                at += usize::MAX / 2;
                return stream::iter(out);
            }
            at += rest.len();
            while !rest.is_empty() {
                let later = rest.split_off(most.min(rest.len()));
                out.push(Ok(std::mem::replace(&mut rest, later).into()));
            }
            stream::iter(out)
        });
        Ok(pieces.boxed())
    }
}

/// An answer in which segments have the names that were asked for.
fn renamed(answer: NodeAnswer, names: HashMap<SegmentId, SegmentId>) -> NodeAnswer {
    use query::wire::answer::Opening;
    use query::wire::frame::{Frames, Kind, write};
    stream::unfold(Frames::new(answer), move |mut frames| {
        let names = names.clone();
        async move {
            let (kind, content) = frames.next().await.expect("frames")?;
            let content = match kind {
                Kind::Opening => {
                    let mut opening = Opening::from_bytes(&content).expect("an opening");
                    opening.missing.iter_mut().for_each(|id| *id = names[id].clone());
                    opening.to_bytes()
                }
                _ => content.to_vec(),
            };
            Some((Ok(write(kind, &content)), frames))
        }
    })
    .boxed()
}

/// Which node has what, as a coordinator would tell.
pub struct View {
    pub nodes: BTreeMap<String, Arc<Far>>,
    /// The table as a whole, which knows what is visible.
    whole: Arc<Inventory>,
    serving: Mutex<HashMap<SegmentId, Vec<String>>>,
    number: AtomicU64,
}

#[async_trait]
impl ClusterView for View {
    fn routes(&self, tables: &[&str], intervals: &[Interval]) -> Routes {
        let serving = self.serving.lock();
        let mut routes = Routes { number: self.number.load(Ordering::Relaxed), ..Routes::default() };
        for table in tables {
            let Some(view) = self.whole.view(table, intervals) else { continue };
            routes.slices.extend(view.slices.into_iter().map(|slice| Route {
                nodes: serving.get(&slice.id).cloned().unwrap_or_default(),
                grows: matches!(slice.item, Served::Realtime(_)),
                id: slice.id,
                interval: slice.interval,
            }));
            let marks = self.whole.incomplete().into_iter().filter(|(name, ..)| name == table);
            let marks = marks.flat_map(|(name, _, intervals)| intervals.into_iter().map(move |i| (name.clone(), i)));
            routes.incomplete.extend(marks);
        }
        routes
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    fn node(&self, name: &str) -> Option<Arc<dyn DataNode>> {
        self.nodes.get(name).map(|node| node.clone() as Arc<dyn DataNode>)
    }

    async fn newer_than(&self, _: u64, within: Duration) {
        tokio::time::sleep(within).await;
    }

    fn datasources(&self) -> Vec<String> {
        self.whole.datasources()
    }
}

impl View {
    /// Who serves a segment.
    pub fn serving(&self, id: &SegmentId) -> Vec<String> {
        self.serving.lock().get(id).cloned().unwrap_or_default()
    }

    /// A node of whose segments each is on another one too.
    pub fn replicated(&self) -> Option<String> {
        let serving = self.serving.lock();
        let has = |name: &String| serving.values().any(|nodes| nodes.contains(name));
        let alone = |name: &String| serving.values().any(|nodes| nodes.len() == 1 && nodes.contains(name));
        self.nodes.keys().find(|name| has(name) && !alone(name)).cloned()
    }
}

pub fn scatter() -> Scatter {
    Scatter { hedge_after: Some(Duration::from_millis(10)), picture_within: Duration::from_millis(1), pictures_max: 8 }
}

/// Spreads what an inventory serves over nodes, each segment to one or two.
pub fn spread(
    whole: &Arc<Inventory>,
    tables: &[&str],
    rng: &mut SmallRng,
    settings: &Settings,
    authorizer: &Arc<Authorizer>,
    lookups: &BTreeMap<String, Arc<Lookup>>,
) -> (Arc<View>, Arc<Broker>) {
    spread_keeping(whole, tables, rng, settings, authorizer, lookups, |_| None)
}

/// The same with what nodes, by their names, and the broker, which has none, keep answers in.
pub fn spread_keeping(
    whole: &Arc<Inventory>,
    tables: &[&str],
    rng: &mut SmallRng,
    settings: &Settings,
    authorizer: &Arc<Authorizer>,
    lookups: &BTreeMap<String, Arc<Lookup>>,
    kept: impl Fn(&str) -> Option<Arc<Caches>>,
) -> (Arc<View>, Arc<Broker>) {
    let names = ["a", "b", "c"];
    let mut serving: HashMap<SegmentId, Vec<String>> = HashMap::new();
    let mut held: BTreeMap<&str, Vec<Change>> = names.iter().map(|name| (*name, Vec::new())).collect();
    for table in tables {
        let Some(view) = whole.view(table, &[Interval::ETERNITY]) else { continue };
        for slice in view.slices {
            if serving.contains_key(&slice.id) {
                continue;
            }
            let mut on: Vec<&str> = vec![names.choose(rng).expect("there are nodes")];
            // Rows that grow are where they are taken in.
            if rng.random_bool(0.5) && matches!(slice.item, Served::Published(_)) {
                let other = *names.choose(rng).expect("there are nodes");
                if !on.contains(&other) {
                    on.push(other);
                }
            }
            for name in &on {
                held.get_mut(name).expect("a node").push(Change::Serve(slice.id.clone(), slice.item.clone()));
            }
            serving.insert(slice.id, on.into_iter().map(str::to_string).collect());
        }
    }
    let nodes = held.into_iter().map(|(name, changes)| {
        let inventory = Arc::new(Inventory::new());
        inventory.apply(changes);
        let broker = Broker::new(inventory, settings.clone(), authorizer.clone());
        broker.lookups().replace(lookups.clone());
        kept(name).into_iter().for_each(|caches| broker.keep_in(caches));
        let far = Far {
            node: LocalNode::new(broker),
            seed: AtomicU64::new(rng.random()),
            faulty: AtomicUsize::new(0),
            always: Mutex::new(None),
            asked: AtomicUsize::new(0),
            heard: Mutex::default(),
        };
        (name.to_string(), Arc::new(far))
    });
    let view = Arc::new(View {
        nodes: nodes.collect(),
        whole: whole.clone(),
        serving: Mutex::new(serving),
        number: AtomicU64::new(1),
    });
    let broker = Broker::over(view.clone(), scatter(), settings.clone(), authorizer.clone());
    broker.lookups().replace(lookups.clone());
    kept("").into_iter().for_each(|caches| broker.keep_in(caches));
    (view, broker)
}
