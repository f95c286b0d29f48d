//! What a broker knows of the cluster: the newest view that the leader gave, followed change by change. While nobody leads,
//! the last one stands; once the time is over for which the leader granted it, nodes may have rows that it does not tell of,
//! and answers say so.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use coordinator::{Coordinator, View, ViewNumber, ViewUpdate};
use query::cluster::{ClusterView, DataNode, Route, Routes};
use segment::Interval;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::rpc::control::{FollowAnswer, Leader};
use crate::rpc::data::{RemoteNode, Tenure};
use crate::rpc::peers::Peers;

/// How often the leader is asked within the time that it grants, where there is nothing new.
const ASKS: u32 = 16;

/// Rest after the leader could not be asked, or had nothing that could be used.
const RETRY: Duration = Duration::from_millis(100);

/// A view, and how many this process had before it: numbers of views are two, and those of pictures one.
#[derive(Clone, Default)]
struct Seen {
    picture: u64,
    view: Arc<View>,
    /// By node, what its process is called.
    names: Arc<HashMap<String, String>>,
}

impl Seen {
    fn next(&mut self, view: Arc<View>) {
        let names = view.nodes.iter().map(|(node, of)| (node.clone(), name_of(node, of.process)));
        *self = Seen { picture: self.picture + 1, names: Arc::new(names.collect()), view };
    }
}

pub struct Followed {
    seen: watch::Sender<Seen>,
    peers: Arc<Peers>,
    basis: Basis,
}

/// What a view is known by to be the newest.
enum Basis {
    /// The leader granted it for a time.
    Granted(Tenure),
    /// It is the leader's own.
    Leads(Weak<Coordinator>),
}

impl Followed {
    pub fn new(peers: Arc<Peers>) -> Arc<Followed> {
        Followed::by(peers, Basis::Granted(Tenure::default()))
    }

    /// The view of this process, which leads.
    pub fn of_leader(peers: Arc<Peers>, coordinator: &Arc<Coordinator>) -> Arc<Followed> {
        Followed::by(peers, Basis::Leads(Arc::downgrade(coordinator)))
    }

    fn by(peers: Arc<Peers>, basis: Basis) -> Arc<Followed> {
        Arc::new(Followed { seen: watch::Sender::new(Seen::default()), peers, basis })
    }

    /// Whether no other broker answers with rows of which this view does not tell.
    fn is_current(&self) -> bool {
        match &self.basis {
            Basis::Granted(tenure) => tenure.holds(),
            Basis::Leads(coordinator) => coordinator.upgrade().is_some_and(|coordinator| coordinator.leads()),
        }
    }

    /// This process ends: whatever it answers from here on may lack rows.
    pub fn end(&self) {
        if let Basis::Granted(tenure) = &self.basis {
            tenure.end();
        }
    }

    pub fn number(&self) -> ViewNumber {
        self.seen.borrow().view.number
    }

    /// Whether there is any yet that could be answered by.
    pub fn is_known(&self) -> bool {
        let was_granted = match &self.basis {
            Basis::Granted(tenure) => tenure.has_begun(),
            Basis::Leads(_) => true,
        };
        was_granted && self.number().number > 0
    }

    /// Takes in what has come since; whether it is of use.
    pub fn take(&self, update: &ViewUpdate) -> bool {
        let mut next = View::clone(&self.seen.borrow().view);
        let is_next = next.apply(update);
        if is_next {
            let view = Arc::new(next);
            self.seen.send_modify(|seen| seen.next(view));
        }
        is_next
    }

    /// Where a process of a node is, if it is in the view.
    pub fn address(&self, node: &str, process: u64) -> Option<String> {
        let view = self.seen.borrow().view.clone();
        view.nodes.get(node).filter(|of| of.process == process).map(|of| of.address.clone())
    }

    /// Follows the coordinator of this process, which leads.
    pub async fn follow_own(self: Arc<Self>, coordinator: Weak<Coordinator>) {
        let Some(mut newest) = coordinator.upgrade().map(|coordinator| coordinator.watch_view()) else { return };
        loop {
            newest.mark_unchanged();
            let Some(leading) = coordinator.upgrade() else { return };
            self.take_own(&leading);
            drop(leading);
            if newest.changed().await.is_err() {
                return;
            }
        }
    }

    fn take_own(&self, coordinator: &Coordinator) {
        let view = coordinator.view();
        self.seen.send_if_modified(|seen| {
            let is_newer = view.number > seen.view.number;
            if is_newer {
                seen.next(view);
            }
            is_newer
        });
    }

    /// Follows the leader, whoever that is, as a process of a node, for as long as this is not dropped. `lease` is how long a
    /// node counts that is not heard of.
    pub async fn follow(self: Arc<Self>, leader: Arc<Leader>, (node, process): (String, u64), lease: Duration) {
        let mut lease = lease;
        loop {
            let asked_at = Instant::now();
            match leader.follow((&node, process), self.number(), lease / ASKS, lease).await {
                Ok(FollowAnswer { update, granted_ms }) => {
                    let is_newest = update == ViewUpdate::Unchanged || self.take(&update);
                    if let (true, Some(granted_ms), Basis::Granted(tenure)) = (is_newest, granted_ms, &self.basis) {
                        lease = Duration::from_millis(granted_ms.max(1));
                        tenure.renew(asked_at, lease);
                        continue;
                    }
                }
                Err(error) => tracing::debug!(%error, "the view cannot be followed"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// A node's process: what it served before it was started anew is not there any more.
fn name_of(node: &str, process: u64) -> String {
    format!("{node}#{process}")
}

#[async_trait]
impl ClusterView for Followed {
    fn routes(&self, tables: &[&str], intervals: &[Interval]) -> Routes {
        // Before the view is taken: one that was not when it was taken may be current by now as another.
        let is_current = self.is_current();
        if let Basis::Leads(coordinator) = &self.basis {
            // Nobody waits until this process has heard of what it says itself.
            coordinator.upgrade().inspect(|coordinator| self.take_own(coordinator));
        }
        let Seen { picture, view, names } = self.seen.borrow().clone();
        let mut routes = Routes { number: picture, ..Routes::default() };
        let known = |node: &String| names.get(node).cloned();
        if !is_current {
            routes.incomplete.extend(tables.iter().map(|name| (name.to_string(), Interval::ETERNITY)));
        }
        for name in tables {
            let Some(table) = view.tables.get(*name) else { continue };
            for within in intervals {
                for slice in table.published.visible(*within) {
                    let nodes: Vec<String> = slice.item.nodes.iter().filter_map(known).collect();
                    // Where nobody has it, the view says that rows are missing.
                    if !nodes.is_empty() {
                        routes.slices.push(Route { id: slice.id, interval: slice.interval, nodes, grows: false });
                    }
                }
                for (id, node) in &table.realtime {
                    let interval = id.interval.intersect(within);
                    if !interval.is_empty() {
                        let nodes = known(node).into_iter().collect();
                        routes.slices.push(Route { id: id.clone(), interval, nodes, grows: true });
                    }
                }
            }
            routes.incomplete.extend(table.incomplete.iter().map(|interval| (name.to_string(), *interval)));
        }
        routes
    }

    fn number(&self) -> u64 {
        self.seen.borrow().picture
    }

    fn node(&self, name: &str) -> Option<Arc<dyn DataNode>> {
        let (node, process) = name.rsplit_once('#')?;
        let view = self.seen.borrow().view.clone();
        let of = view.nodes.get(node)?;
        let (address, peers) = (of.address.clone(), self.peers.clone());
        (process.parse() == Ok(of.process))
            .then(|| Arc::new(RemoteNode { peers, address, process: of.process }) as Arc<dyn DataNode>)
    }

    async fn newer_than(&self, number: u64, within: Duration) {
        let mut seen = self.seen.subscribe();
        // No newer one is an answer too.
        let _ = tokio::time::timeout(within, seen.wait_for(|seen| seen.picture > number)).await;
    }

    fn datasources(&self) -> Vec<String> {
        let view = self.seen.borrow().view.clone();
        let has_rows = |table: &coordinator::Table| !table.published.is_empty() || !table.realtime.is_empty();
        view.tables.iter().filter(|(_, table)| has_rows(table)).map(|(name, _)| name.clone()).collect()
    }
}
