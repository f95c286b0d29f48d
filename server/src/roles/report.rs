//! A node's side of a heartbeat: what it tells, and what it does about the orders in answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coordinator::{Command, Member, Reply, Report, Served, TaskProgress};
use ingest::{Worker, supervisor_of};
use parking_lot::Mutex;
use segment::inventory::Inventory;
use segment::{SegmentId, SegmentMeta};

use super::historical::Historical;
use super::ingest as tasks;
use crate::node::now;

/// What a node does, and what the leader knows of it.
pub struct Reporter {
    pub member: Member,
    inventory: Arc<Inventory>,
    worker: Arc<Worker>,
    historical: Option<Arc<Historical>>,
    seq: u64,
    /// The inventory's generation that the leader knows.
    told: Option<u64>,
    /// The leader that answered last, 0 before one has.
    heard: i64,
    /// Being loaded, by a task of its own: nodes go on telling that they are there.
    loading: Arc<Mutex<Option<Vec<SegmentId>>>>,
    mending: Arc<AtomicBool>,
    /// Whether it hands over what it has: it starts nothing any more.
    is_leaving: bool,
}

/// What segments are to come and go.
pub struct Orders {
    pub loads: Vec<SegmentMeta>,
    pub drops: Vec<SegmentId>,
}

impl Orders {
    pub fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.drops.is_empty()
    }
}

impl Reporter {
    pub fn new(
        member: Member,
        inventory: Arc<Inventory>,
        worker: Arc<Worker>,
        historical: Option<Arc<Historical>>,
    ) -> Reporter {
        Reporter {
            member,
            inventory,
            worker,
            historical,
            seq: 0,
            told: None,
            heard: 0,
            loading: Arc::default(),
            mending: Arc::default(),
            is_leaving: false,
        }
    }

    /// From the next report on, the leader knows that this node is about to end.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether what is told says that nothing is left to hand over: no task, and no rows that are not published elsewhere.
    pub fn has_nothing(&self, report: &Report) -> bool {
        // What is this node's own stays on its disk, and is told of again when it is back.
        let is_others = |id: &SegmentId| !segment::is_system(&id.datasource);
        let runs = |task: &TaskProgress| !self.worker.is_own(&task.id);
        !report.tasks.iter().any(runs) && !self.inventory.realtime().iter().any(|(id, _)| is_others(id))
    }

    /// The next report, and the generation of the inventory that it tells of.
    pub fn report(&mut self, view: coordinator::ViewNumber) -> (Report, u64) {
        let now = now();
        let reports = self.worker.reports();
        let caught_up: BTreeSet<String> = reports.into_iter().filter(|r| r.caught_up).map(|r| r.id).collect();
        let generation = self.inventory.generation();
        let served = (self.told != Some(generation)).then(|| {
            let realtime = self.inventory.realtime().into_iter().map(|(id, _)| id).collect();
            Served { published: self.inventory.published_ids(), realtime }
        });
        let marks = self.inventory.incomplete().into_iter();
        let incomplete = marks.map(|(datasource, owner, lacks)| (datasource, supervisor_of(&owner).to_string(), lacks));
        let tasks = self.worker.reports().into_iter().map(|report| {
            let caught_up = report.caught_up && caught_up.contains(&report.id);
            TaskProgress { caught_up, ..tasks::progress(&report, now) }
        });
        self.seq += 1;
        let report = Report {
            member: self.member.clone(),
            seq: self.seq,
            heard: Some(self.heard),
            served,
            loading: self.loading.lock().clone().unwrap_or_default(),
            broken: self.historical.as_ref().map_or_else(Vec::new, |historical| historical.take_broken()),
            tasks: tasks.collect(),
            incomplete: incomplete.collect(),
            view,
            leaving: self.is_leaving,
        };
        (report, generation)
    }

    /// What was told may not have arrived.
    pub fn lost(&mut self) {
        self.told = None;
    }

    /// Takes a reply in: tasks are started and stopped; what is to be loaded and dropped is for who asks to carry out.
    pub fn take_in(&mut self, reply: Reply, generation: u64) -> Orders {
        self.told = (!reply.wants_served).then_some(generation);
        self.heard = reply.epoch;
        reply.recorded.iter().for_each(|task| self.worker.forget(task));
        let mut orders = Orders { loads: Vec::new(), drops: Vec::new() };
        for command in reply.commands {
            match command {
                Command::StartTask { .. } if self.is_leaving => {}
                Command::StartTask { task, attempt } => self.worker.start(tasks::order(task, attempt)),
                Command::StopTask { task, reason } => self.worker.stop(&task, tasks::reason(reason)),
                Command::Load(meta) => orders.loads.push(meta),
                Command::Drop(id) => orders.drops.push(id),
            }
        }
        orders
    }

    pub fn is_historical(&self) -> bool {
        self.historical.is_some()
    }

    /// Whether segments are being loaded beside.
    pub fn is_loading(&self) -> bool {
        self.loading.lock().is_some()
    }

    /// Carries orders out now. Whether there is something to report at once.
    pub async fn carry_out(&self, orders: Orders) -> bool {
        match &self.historical {
            Some(historical) => historical.carry_out(orders.loads, orders.drops).await,
            None => self.withdraw(orders.drops),
        }
    }

    /// Carries orders out beside: until that is done, others are left to later replies, which have them again. `done` is
    /// called at the end.
    pub fn carry_out_beside(&self, orders: Orders, done: impl FnOnce() + Send + 'static) {
        let Some(historical) = self.historical.clone() else {
            if self.withdraw(orders.drops) {
                done();
            }
            return;
        };
        let mut loading = self.loading.lock();
        if loading.is_some() || orders.is_empty() {
            return;
        }
        *loading = Some(orders.loads.iter().map(|meta| meta.id.clone()).collect());
        let place = self.loading.clone();
        tokio::spawn(async move {
            historical.carry_out(orders.loads, orders.drops).await;
            *place.lock() = None;
            done();
        });
    }

    /// Of a node that serves nothing but what its tasks read.
    fn withdraw(&self, drops: Vec<SegmentId>) -> bool {
        let changes: Vec<_> = drops.into_iter().map(segment::inventory::Change::Retire).collect();
        let any = !changes.is_empty();
        if any {
            self.inventory.apply(changes);
        }
        any
    }

    /// Fetches anew what was found to be broken, beside: others are asked for it meanwhile.
    pub fn mend_beside(&self) {
        let Some(historical) = self.historical.clone() else { return };
        if self.inventory.published().iter().all(|segment| !segment.is_broken()) {
            return;
        }
        if self.mending.swap(true, Ordering::AcqRel) {
            return;
        }
        let mending = self.mending.clone();
        tokio::spawn(async move {
            historical.mend().await;
            mending.store(false, Ordering::Release);
        });
    }
}
