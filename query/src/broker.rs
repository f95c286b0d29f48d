//! Conductor of a request: the gate, the register of running queries, the answer as a stream.
//!
//! 1. Too many queries and statements at once are refused. The query is let in by `admission`, and can be cancelled by its id from
//!    here on until its answer is read or dropped.
//! 2. The node runs it on a thread of the pool; here its end or its deadline is waited for, whichever is first.
//! 3. Rows of a scan are read on demand: a thread works on the next batch while the last one is sent, never further.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use segment::SegmentId;
use segment::inventory::Inventory;
use segment::lookup::Lookups;
use segment::schema::ValueType;
use serde_json::Value as Json;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::admission::{Authorizer, Leaf, Principal, Sight};
use crate::budget::{Budget, Settings};
use crate::cache::Caches;
use crate::cluster::{ClusterView, Scatter};
use crate::deadline;
use crate::engine::rows::Cursor;
use crate::engine::seen::SeenCache;
use crate::error::{Error, Result};
use crate::language::Query;
use crate::node::Node;
use crate::outcome::{Outcome, Rows};
use crate::pool::Pool;
use crate::progress::{Part, Progress, Register};
use crate::scatter::remote::Remote;
use crate::scatter::{Cluster, Request};
use crate::source;
use crate::table::{Answer, Batch};
use crate::wire::columns::PieceColumns;

mod by_segment;
mod columns;
mod union;

/// The only door to the rows.
pub struct Broker {
    node: Arc<Node>,
    settings: Settings,
    running: Arc<Mutex<Running>>,
    /// What other brokers ask of this process.
    parts: Arc<Mutex<Running>>,
    columns: Mutex<HashMap<(String, String), (u64, TableColumns)>>,
    lookups: Arc<Lookups>,
    /// Where the rows are, if they are not in the inventory here.
    cluster: Option<Arc<Cluster>>,
    /// By restriction, the columns of published segments of the cluster.
    known: Mutex<HashMap<(SegmentId, String), Arc<[PieceColumns]>>>,
    /// How far requests are, and how those stood that ended just now.
    progress: Register,
}

/// Name, type and whether multi-value.
pub type TableColumns = Arc<Vec<(String, ValueType, bool)>>;

#[derive(Default)]
struct Running {
    next: u64,
    queries: HashMap<u64, AtWork>,
    /// Statements as wholes: the queries that they become have their requests.
    statements: HashMap<u64, Whole>,
}

/// A query that runs, and what it was let in for.
struct AtWork {
    budget: Arc<Budget>,
    who: Principal,
    sight: Arc<Sight>,
}

/// A statement that runs, whatever it is planned as.
struct Whole {
    budget: Arc<Budget>,
    who: String,
}

/// A statement's place among all that is at work, until this is dropped.
pub struct Place {
    running: Arc<Mutex<Running>>,
    number: u64,
    _part: Part,
}

/// A part of another broker's query, at work here until this is dropped.
pub(crate) struct AtNode(#[allow(dead_code)] Registered);

/// A query's place in the register; leaving it ends the query.
struct Registered {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Broker {
    /// Queries are let in by the authorizer's rules.
    pub fn new(inventory: Arc<Inventory>, settings: Settings, authorizer: Arc<Authorizer>) -> Arc<Broker> {
        Broker::with(inventory, None, settings, authorizer)
    }

    /// A broker whose rows are on the nodes of a cluster. Queries over tables are run by these; what is made of tables
    /// (joins, inner queries, unnesting) is made here, of the rows that it needs.
    pub fn over(
        view: Arc<dyn ClusterView>,
        scatter: Scatter,
        settings: Settings,
        authorizer: Arc<Authorizer>,
    ) -> Arc<Broker> {
        let cluster = Cluster { view, settings: scatter, turn: AtomicUsize::new(0), witnesses: Mutex::default() };
        Broker::with(Arc::default(), Some(Arc::new(cluster)), settings, authorizer)
    }

    fn with(
        inventory: Arc<Inventory>,
        cluster: Option<Arc<Cluster>>,
        settings: Settings,
        authorizer: Arc<Authorizer>,
    ) -> Arc<Broker> {
        let pool = Arc::new(Pool::new(settings.threads));
        let seen = SeenCache::new(usize::try_from(settings.policy_cache_bytes).unwrap_or(usize::MAX));
        Arc::new(Broker {
            node: Arc::new(Node { inventory, pool, authorizer, seen, kept: OnceLock::new() }),
            settings,
            running: Arc::default(),
            parts: Arc::default(),
            columns: Mutex::default(),
            lookups: Arc::default(),
            cluster,
            known: Mutex::default(),
            progress: Register::default(),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Keeps answers there from now on. Only the first call counts.
    pub fn keep_in(&self, caches: Arc<Caches>) {
        let _ = self.node.kept.set(caches);
    }

    /// Where answers are kept, if they are.
    pub fn caches(&self) -> Option<&Arc<Caches>> {
        self.node.caches()
    }

    /// The lookups that queries read; whoever keeps them puts them here.
    pub fn lookups(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// A query in Druid's JSON, with the lookups that there are now for the caller.
    pub fn parse(&self, json: &Json, who: &Principal) -> Result<Query> {
        self.authorizer().scope(&self.lookups, who, || Query::from_json(json))
    }

    pub fn authorizer(&self) -> &Arc<Authorizer> {
        &self.node.authorizer
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        &self.node.inventory
    }

    pub(crate) fn seen(&self) -> &SeenCache {
        &self.node.seen
    }

    /// What the asker wants of the cluster, if the rows are there.
    fn request(&self, who: &Principal, sight: &Arc<Sight>, budget: &Arc<Budget>) -> Option<Request> {
        let cluster = self.cluster.clone()?;
        Some(Request {
            cluster,
            node: self.node.clone(),
            lookups: self.lookups.clone(),
            who: who.clone(),
            sight: sight.clone(),
            budget: budget.clone(),
        })
    }

    /// Puts a part of another broker's query among those that end when their asker's rights do.
    pub(crate) fn register_part(&self, budget: &Arc<Budget>, who: &Principal, sight: &Arc<Sight>) -> AtNode {
        let query = AtWork { budget: budget.clone(), who: who.clone(), sight: sight.clone() };
        AtNode(enter(&self.parts, query))
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.node.pool
    }

    /// Memory of what is kept of restricted callers' views of segments.
    pub fn policy_cache_bytes(&self) -> usize {
        self.node.seen.bytes()
    }

    /// How often a restricted caller's view of a segment was kept when it was asked for.
    pub fn policy_cache_hits(&self) -> u64 {
        self.node.seen.hits()
    }

    /// How often such a view had to be worked out.
    pub fn policy_cache_misses(&self) -> u64 {
        self.node.seen.misses()
    }

    /// Places that are taken now.
    pub fn running(&self) -> usize {
        self.running.lock().places(None)
    }

    /// Takes a place for a whole statement, if there is one within the server's and the asker's bounds. Queries of the same
    /// request ([`Budget::join`]) are its parts, and the first at work takes no other: so what has no query counts too.
    pub fn begin(&self, budget: &Arc<Budget>, who: &Principal) -> Result<Place> {
        let own_max = self.authorizer().current().quota(who).concurrent;
        let mut running = self.running.lock();
        self.has_place(&running, budget, who, own_max)?;
        let number = running.next;
        running.next += 1;
        running.statements.insert(number, Whole { budget: budget.clone(), who: who.name.clone() });
        drop(running);
        let _part = self.progress.enter(budget.query_id(), &who.name, budget.progress());
        Ok(Place { running: self.running.clone(), number, _part })
    }

    /// How far the request of an id is, that somebody of this name asked for; for a while after its end too.
    pub fn progress(&self, query_id: &str, who: &str) -> Option<Arc<Progress>> {
        self.progress.find(query_id, who)
    }

    /// Answers a query within its budget. While it runs, and while its batches are read, [`Broker::cancel`] with the
    /// budget's query id ends it; dropping the answer ends it too.
    pub async fn answer(&self, query: Query, who: &Principal, mut budget: Budget) -> Result<Answer> {
        let quota = self.authorizer().current().quota(who);
        if let Some(bytes) = quota.memory_bytes {
            budget.bound_memory(bytes);
        }
        if let Some(bytes) = quota.scanned_bytes {
            budget.bound_scan(bytes);
        }
        let leaf = self.authorizer().admit(Arc::new(query), who)?;
        if leaf.sight().is_restricted() {
            // Tables are as large as whole segments ask for: a limit of the asker's own would tell how large that is.
            budget.leave_memory(quota.memory_bytes.unwrap_or(u64::MAX).min(self.settings.memory_bytes));
        }
        let budget = Arc::new(budget);
        let registered = self.register(&budget, who, leaf.sight(), quota.concurrent)?;
        let is_restricted = leaf.sight().is_restricted();
        let progress = budget.progress().clone();
        let part = self.progress.enter(budget.query_id(), &who.name, &progress);
        if is_restricted {
            progress.restrict();
        }
        let mut step = Some(progress.step(leaf.query().type_name(), tables_of(leaf.query())));
        let failed = progress.clone();
        let told = move |error: Error| {
            failed.fail(matches!(error, Error::Cancelled(_)));
            if is_restricted { error.nameless() } else { error }
        };
        let mut outcome = match self.request(who, leaf.sight(), &budget) {
            Some(request) => self.scatter(request, leaf).await.map_err(&told)?,
            None => {
                let (node, own) = (self.node.clone(), budget.clone());
                self.compute(&budget, move || node.run(&leaf, &own)).await.map_err(&told)?
            }
        };
        outcome.context.overflowed = outcome.context.uncovered.len() > budget.uncovered_max();
        outcome.context.uncovered.truncate(budget.uncovered_max());
        let mut analyses = Vec::new();
        let batches = match outcome.rows {
            Rows::Table(table) => {
                // It has its rows, whenever they are read.
                if let Some(step) = step.take() {
                    step.rows(table.rows);
                }
                stream::iter([Ok(Batch { segment: None, table })]).boxed()
            }
            Rows::Analyses(list) => {
                step = None;
                analyses = list;
                stream::empty().boxed()
            }
            Rows::Stream { batches, .. } => {
                let held = registered;
                batches
                    .map(move |batch| {
                        let _held = &held;
                        batch
                    })
                    .boxed()
            }
            Rows::Cursor(cursor) => batches(cursor, self.node.pool.clone(), budget, registered),
        };
        let batches = batches.map(move |batch| {
            let _part = &part;
            if let Ok(batch) = &batch {
                progress.add_rows(batch.table.rows);
                if let Some(step) = &step {
                    step.rows(batch.table.rows);
                }
            }
            batch.map_err(&told)
        });
        let batches = batches.boxed();
        Ok(Answer { context: outcome.context, touched: outcome.touched, buckets: outcome.buckets, analyses, batches })
    }

    /// Runs a query on the nodes of the cluster, as far as they can.
    async fn scatter(&self, request: Request, leaf: Leaf) -> Result<Outcome> {
        self.authorizer().recheck(&leaf)?;
        let query = source::unfiltered(leaf.query());
        let source = &query.scope().source;
        if source.is_stored() && !leaf.sight().rounds(&source.tables())? {
            return request.stored(&query).await;
        }
        // It waits for nodes, which may need the threads that compute.
        let (node, budget) = (self.node.clone(), request.budget.clone());
        let work = tokio::task::spawn_blocking(move || {
            let budget = request.budget.clone();
            let remote = Remote { request, runtime: Handle::current() };
            let work = AssertUnwindSafe(|| node.query(&remote, &query, leaf.sight(), &budget));
            let result = catch_unwind(work);
            result.unwrap_or_else(|_| Err(Error::Bug("the query failed; the server's log says where".into())))
        });
        match tokio::time::timeout(budget.remaining(), work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Unavailable("the server is stopping".into())),
            Err(_) => {
                budget.cancel();
                Err(budget.timed_out())
            }
        }
    }

    /// Ends the queries of that id, of one owner or of any; whether there were any.
    pub fn cancel(&self, query_id: &str, owner: Option<&str>) -> bool {
        let running = self.running.lock();
        let mut any = false;
        let is_meant =
            |query: &&AtWork| query.budget.query_id() == query_id && owner.is_none_or(|owner| query.who.name == owner);
        for query in running.queries.values().filter(is_meant) {
            query.budget.cancel();
            any = true;
        }
        any
    }

    /// Ends the queries of callers who would see something else now than what they were let in for.
    pub fn policies_changed(&self) {
        self.progress.forget_ended();
        for register in [&self.running, &self.parts] {
            for query in register.lock().queries.values() {
                if self.authorizer().still(&query.who, &query.sight).is_err() {
                    query.budget.revoke();
                }
            }
        }
    }

    /// Ends the queries of a principal, who may not go on asking.
    pub fn end_queries_of(&self, name: &str) {
        self.progress.forget(name);
        for register in [&self.running, &self.parts] {
            for query in register.lock().queries.values().filter(|query| query.who.name == name) {
                query.budget.revoke();
            }
        }
    }

    fn register(
        &self,
        budget: &Arc<Budget>,
        who: &Principal,
        sight: &Arc<Sight>,
        own_max: Option<u64>,
    ) -> Result<Registered> {
        let mut running = self.running.lock();
        self.has_place(&running, budget, who, own_max)?;
        Ok(entered(
            &mut running,
            &self.running,
            AtWork { budget: budget.clone(), who: who.clone(), sight: sight.clone() },
        ))
    }

    /// Refuses a request, or another part of one, for which there is no place.
    fn has_place(&self, running: &Running, budget: &Budget, who: &Principal, own_max: Option<u64>) -> Result<()> {
        // The parts of one statement count as one.
        let others = |of: &dyn Fn(&Budget, &str) -> bool| -> usize {
            let at_work = running.at_work().filter(|(other, name)| of(other, name));
            let requests: HashSet<usize> = at_work.map(|(other, _)| other.request()).collect();
            requests.len() - usize::from(requests.contains(&budget.request()))
        };
        if let Some(most) = own_max
            && others(&|_, name| name == who.name) as u64 >= most
        {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries of yours: your roles allow [{most}] at once; try again later"
            )));
        }
        if let Some((lane, most)) = budget.lane().and_then(|lane| Some((lane, *self.settings.lanes.get(lane)?)))
            && others(&|other, _| other.lane() == Some(lane)) >= most
        {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries for lane '{lane}', query capacity of {most} exceeded. Please try your query \
                 again later."
            )));
        }
        if running.has_place(budget.request()) {
            return Ok(());
        }
        // Places that everybody needs: whoever has most of them leaves the last to others.
        let all = self.settings.queries_max;
        let own = running.places(Some(&who.name));
        if own >= all - all / 4 && !self.authorizer().current().is_open() {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries of yours: [{own}] of [{all}] places are taken by you; end some, or try again later"
            )));
        }
        if running.places(None) >= all {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries: the server runs [{all}] at once; try again later"
            )));
        }
        Ok(())
    }

    async fn compute<T: Send + 'static>(
        &self,
        budget: &Arc<Budget>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let receive = submit(&self.node.pool, budget, work);
        wait(receive, budget).await
    }
}

impl Running {
    /// All that is at work, with whose it is.
    fn at_work(&self) -> impl Iterator<Item = (&Budget, &str)> {
        let queries = self.queries.values().map(|query| (&*query.budget, query.who.name.as_str()));
        queries.chain(self.statements.values().map(|whole| (&*whole.budget, whole.who.as_str())))
    }

    /// Places that are taken, by all or under one name: one by each query, and one by a statement that has no query at work.
    fn places(&self, of: Option<&str>) -> usize {
        let is_meant = |name: &str| of.is_none_or(|of| of == name);
        let queries = self.queries.values().filter(|query| is_meant(&query.who.name));
        let begun: Vec<usize> = queries.map(|query| query.budget.request()).collect();
        let parts: HashSet<usize> = begun.iter().copied().collect();
        let statements = self.statements.values().filter(|whole| is_meant(&whole.who));
        begun.len() + statements.filter(|whole| !parts.contains(&whole.budget.request())).count()
    }

    /// Whether a request has a place that none of its queries has taken over yet.
    fn has_place(&self, request: usize) -> bool {
        self.statements.values().any(|whole| whole.budget.request() == request)
            && !self.queries.values().any(|query| query.budget.request() == request)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _left = self.running.lock().statements.remove(&self.number);
    }
}

/// What a query stands on, for who asked it.
fn tables_of(query: &Query) -> Option<String> {
    let mut tables = query.scope().source.tables();
    tables.sort_unstable();
    tables.dedup();
    (!tables.is_empty()).then(|| tables.join(", "))
}

fn enter(register: &Arc<Mutex<Running>>, query: AtWork) -> Registered {
    entered(&mut register.lock(), register, query)
}

fn entered(running: &mut Running, register: &Arc<Mutex<Running>>, query: AtWork) -> Registered {
    let number = running.next;
    running.next += 1;
    running.queries.insert(number, query);
    Registered { running: register.clone(), number }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(query) = self.running.lock().queries.remove(&self.number) {
            query.budget.cancel();
        }
    }
}

pub(crate) type Receive<T> = oneshot::Receiver<Result<T>>;

pub(crate) fn submit<T: Send + 'static>(
    pool: &Pool,
    budget: &Budget,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Receive<T> {
    let (send, receive) = oneshot::channel();
    pool.spawn(budget.priority(), move || {
        let result = at_once(work);
        // Whoever asked may be gone.
        let _ = send.send(result);
    });
    receive
}

/// The same on this thread, which has other things to do: for what takes no longer than another thread takes to begin.
pub(crate) fn at_once<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|_| Err(Error::Bug("the query failed; the server's log says where".into())))
}

/// The result, or the end of the query's time; a thread still at work sees it at its next block.
pub(crate) async fn wait<T>(receive: Receive<T>, budget: &Budget) -> Result<T> {
    match tokio::time::timeout(budget.remaining(), receive).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Unavailable("the server is stopping".into())),
        Err(_) => {
            budget.cancel();
            Err(budget.timed_out())
        }
    }
}

/// A scan's batches. One batch is made ahead.
fn batches(
    cursor: Box<Cursor>,
    pool: Arc<Pool>,
    budget: Arc<Budget>,
    registered: Registered,
) -> BoxStream<'static, Result<Batch>> {
    struct State {
        next: Option<Receive<(Box<Cursor>, Option<Batch>)>>,
        pool: Arc<Pool>,
        budget: Arc<Budget>,
        _registered: Registered,
    }
    fn advance(pool: &Pool, budget: &Budget, mut cursor: Box<Cursor>) -> Receive<(Box<Cursor>, Option<Batch>)> {
        submit(pool, budget, move || {
            let batch = cursor.next_batch()?;
            Ok((cursor, batch))
        })
    }
    let next = Some(advance(&pool, &budget, cursor));
    let (remaining, late) = (budget.remaining(), Err(budget.timed_out()));
    let state = State { next, pool, budget, _registered: registered };
    let batches = stream::unfold(state, |mut state| async move {
        let receive = state.next.take()?;
        match wait(receive, &state.budget).await {
            Ok((cursor, Some(batch))) => {
                state.next = Some(advance(&state.pool, &state.budget, cursor));
                Some((Ok(batch), state))
            }
            Ok((_, None)) => None,
            Err(error) => Some((Err(error), state)),
        }
    });
    deadline::until(batches.boxed(), remaining, late)
}
