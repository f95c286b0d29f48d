//! Conductor of a request: the gate, the register of running queries, the answer as a stream.
//!
//! 1. Too many queries at once are refused. The query is let in by `admission`, and can be cancelled by its id from
//!    here on until its answer is read or dropped.
//! 2. The node runs it on a thread of the pool; here its end or its deadline is waited for, whichever is first.
//! 3. Rows of a scan are read on demand: a thread works on the next batch while the last one is sent, never further.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use segment::Interval;
use segment::inventory::Inventory;
use segment::lookup::Lookups;
use segment::schema::{TIME, ValueType};
use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::admission::{Authorizer, Principal, Sight};
use crate::budget::{Budget, Settings};
use crate::deadline;
use crate::engine::Piece;
use crate::engine::rows::Cursor;
use crate::engine::seen::SeenCache;
use crate::error::{Error, Result};
use crate::language::Query;
use crate::node::Node;
use crate::outcome::Rows;
use crate::policy::{Action, Kind, Restriction};
use crate::pool::Pool;
use crate::table::{Answer, Batch};
use crate::view::seen_of;

mod by_segment;
mod union;

/// The only door to the rows.
pub struct Broker {
    node: Arc<Node>,
    settings: Settings,
    running: Arc<Mutex<Running>>,
    columns: Mutex<HashMap<(String, String), (u64, TableColumns)>>,
    lookups: Arc<Lookups>,
}

/// Tables and callers' views of them whose columns are kept.
const COLUMNS_KEPT_MAX: usize = 4096;

/// Name, type and whether multi-value.
pub type TableColumns = Arc<Vec<(String, ValueType, bool)>>;

#[derive(Default)]
struct Running {
    next: u64,
    queries: HashMap<u64, AtWork>,
}

/// A query that runs, and what it was let in for.
struct AtWork {
    budget: Arc<Budget>,
    who: Principal,
    sight: Arc<Sight>,
}

/// A query's place in the register; leaving it ends the query.
struct Registered {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Broker {
    /// Queries are let in by the authorizer's rules.
    pub fn new(inventory: Arc<Inventory>, settings: Settings, authorizer: Arc<Authorizer>) -> Arc<Broker> {
        let pool = Arc::new(Pool::new(settings.threads));
        let seen = SeenCache::new(usize::try_from(settings.policy_cache_bytes).unwrap_or(usize::MAX));
        Arc::new(Broker {
            node: Arc::new(Node { inventory, pool, authorizer, seen }),
            settings,
            running: Arc::default(),
            columns: Mutex::default(),
            lookups: Arc::default(),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
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

    fn inventory(&self) -> &Inventory {
        &self.node.inventory
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

    /// Queries at work now.
    pub fn running(&self) -> usize {
        self.running.lock().queries.len()
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
        let (node, own) = (self.node.clone(), budget.clone());
        let mut outcome = self.compute(&budget, move || node.run(&leaf, &own)).await?;
        outcome.context.overflowed = outcome.context.uncovered.len() > budget.uncovered_max();
        outcome.context.uncovered.truncate(budget.uncovered_max());
        let mut analyses = Vec::new();
        let batches = match outcome.rows {
            Rows::Table(table) => stream::iter([Ok(Batch { segment: None, table })]).boxed(),
            Rows::Analyses(list) => {
                analyses = list;
                stream::empty().boxed()
            }
            Rows::Cursor(cursor) => batches(cursor, self.node.pool.clone(), budget, registered),
        };
        Ok(Answer { context: outcome.context, touched: outcome.touched, buckets: outcome.buckets, analyses, batches })
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
        for query in self.running.lock().queries.values() {
            if self.authorizer().still(&query.who, &query.sight).is_err() {
                query.budget.revoke();
            }
        }
    }

    /// Ends the queries of a principal, who may not go on asking.
    pub fn end_queries_of(&self, name: &str) {
        for query in self.running.lock().queries.values().filter(|query| query.who.name == name) {
            query.budget.revoke();
        }
    }

    /// The tables that the caller may see, by name; without the store's own.
    pub fn datasources(&self, who: &Principal) -> Vec<String> {
        let rules = self.authorizer().current();
        let mut names = self.node.inventory.datasources();
        names.retain(|name| !segment::is_system(name) && rules.may(who, Kind::Datasource, name, Action::Read));
        names
    }

    /// What `/druid/v2/datasources/{name}` tells of a table: dimensions and metrics of the columns that the caller sees.
    pub fn columns_by_role(&self, datasource: &str, who: &Principal) -> Result<(Vec<String>, Vec<String>)> {
        let (mut dimensions, mut metrics) = (Vec::new(), Vec::new());
        let restriction = self.authorizer().restriction(who, datasource)?;
        let Some((_, pieces)) = self.pieces(datasource, &restriction)? else { return Ok((dimensions, metrics)) };
        for piece in pieces.iter().rev() {
            for (names, found) in [(piece.dimensions()?, &mut dimensions), (piece.metrics()?, &mut metrics)] {
                for name in names {
                    if !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
        Ok((dimensions, metrics))
    }

    /// Names, types and whether multi-value, merged over the segments: `__time` first, then in the newest segment's order.
    /// A type is the narrowest that holds those of all segments; one that has nothing but nulls says nothing. Who has a
    /// row policy is told of columns that its rows have values in. `None` if there is no such table for the caller.
    pub fn columns(&self, datasource: &str, who: &Principal) -> Option<TableColumns> {
        let restriction = self.authorizer().restriction(who, datasource).ok()?;
        let key = (datasource.to_string(), restriction.key().to_string());
        let generation = self.node.inventory.generation();
        if let Some((of, columns)) = self.columns.lock().get(&key)
            && *of == generation
        {
            return Some(columns.clone());
        }
        let (generation, pieces) = self.pieces(datasource, &restriction).ok()??;
        let growing = self.node.inventory.realtime().iter().any(|(id, _)| id.datasource == datasource);
        let columns = Arc::new(merged(&pieces).ok()?);
        // Realtime rows may bring new columns at any time, so what they have is not kept.
        if !growing {
            let mut kept = self.columns.lock();
            if kept.len() >= COLUMNS_KEPT_MAX {
                kept.clear();
            }
            kept.insert(key, (generation, columns.clone()));
        }
        Some(columns)
    }

    /// The columns of a table for whoever writes or tries rules about it: all of them to who may write rules, and so could
    /// let itself see any; to who may only try them those that it sees.
    pub fn columns_for_rules(&self, datasource: &str, who: &Principal) -> Option<TableColumns> {
        if !self.writes_rules(who) {
            return self.columns(datasource, who);
        }
        let (_, pieces) = self.pieces(datasource, &Restriction::Unrestricted).ok()??;
        Some(Arc::new(merged(&pieces).ok()?))
    }

    /// The tables that rules may be about, as [`Broker::columns_for_rules`] tells of their columns.
    pub fn datasources_for_rules(&self, who: &Principal) -> Vec<String> {
        if self.writes_rules(who) { self.node.inventory.datasources() } else { self.datasources(who) }
    }

    fn writes_rules(&self, who: &Principal) -> bool {
        self.authorizer().current().may(who, Kind::Security, "SECURITY", Action::Write)
    }

    /// All segments of a table, what came last first, and the generation that they are of. `None` if there is none.
    fn pieces(&self, datasource: &str, restriction: &Restriction) -> Result<Option<(u64, Vec<Piece>)>> {
        let Some(view) = self.node.inventory.view(datasource, &[Interval::ETERNITY]) else { return Ok(None) };
        self.node.seen.sweep(view.generation);
        let mut slices = view.slices;
        slices.sort_by(|a, b| b.id.interval.cmp(&a.id.interval).then_with(|| b.id.cmp(&a.id)));
        let mut pieces = Vec::new();
        let mut any = false;
        for slice in slices {
            // Of one realtime index, what came last is newest.
            for segment in slice.item.open().into_iter().rev() {
                any = true;
                let seen = seen_of(&self.node.seen, &slice.item, &segment, restriction, &|| Ok(()))?;
                pieces.push(Piece::of(slice.id.clone(), segment, vec![slice.interval], seen));
            }
        }
        Ok(any.then_some((view.generation, pieces)))
    }

    fn register(
        &self,
        budget: &Arc<Budget>,
        who: &Principal,
        sight: &Arc<Sight>,
        own_max: Option<u64>,
    ) -> Result<Registered> {
        let mut running = self.running.lock();
        // The parts of one statement count as one.
        let own = running.queries.values().filter(|query| query.who.name == who.name);
        let others: HashSet<usize> =
            own.map(|query| query.budget.request()).filter(|request| *request != budget.request()).collect();
        if let Some(most) = own_max
            && others.len() as u64 >= most
        {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries of yours: your roles allow [{most}] at once; try again later"
            )));
        }
        if running.queries.len() >= self.settings.queries_max {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries: the server runs [{}] at once; try again later",
                self.settings.queries_max
            )));
        }
        let number = running.next;
        running.next += 1;
        let query = AtWork { budget: budget.clone(), who: who.clone(), sight: sight.clone() };
        running.queries.insert(number, query);
        Ok(Registered { running: self.running.clone(), number })
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

/// The columns of all pieces as those of one table; `__time` if there is none.
fn merged(pieces: &[Piece]) -> Result<Vec<(String, ValueType, bool)>> {
    let mut columns: Vec<(String, ValueType, bool)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    // The pieces whose type a column has, as long as they may have nothing but nulls in it.
    let mut open: Vec<Vec<&Piece>> = Vec::new();
    let no_value = |pieces: &[&Piece], name: &str| -> Result<bool> {
        for piece in pieces {
            if !piece.has_only_nulls(name)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for piece in pieces {
        for (name, value_type) in piece.named_columns()? {
            let multi = value_type == ValueType::String && piece.is_multi(&name)?;
            // Of a column without a value, a text or one whose values are not seen, the type says nothing.
            let may_say_nothing = value_type == ValueType::String || piece.is_restricted();
            let Some(&at) = known.get(&name) else {
                known.insert(name.clone(), columns.len());
                open.push(may_say_nothing.then_some(piece).into_iter().collect());
                columns.push((name, value_type, multi));
                continue;
            };
            let (_, of, several) = &mut columns[at];
            *several |= multi;
            if *of == value_type {
                match may_say_nothing {
                    true if !open[at].is_empty() => open[at].push(piece),
                    _ => open[at].clear(),
                }
            } else if may_say_nothing && no_value(&[piece], &name)? {
                continue;
            } else if !open[at].is_empty() && no_value(&open[at], &name)? {
                *of = value_type;
                open[at] = may_say_nothing.then_some(piece).into_iter().collect();
            } else {
                *of = widened(of, &value_type);
                open[at].clear();
            }
            *several &= *of == ValueType::String;
        }
    }
    if columns.is_empty() {
        columns.push((TIME.to_string(), ValueType::Long, false));
    }
    Ok(columns)
}

/// The narrowest type that holds the values of both.
fn widened(a: &ValueType, b: &ValueType) -> ValueType {
    match (a, b) {
        _ if a == b => a.clone(),
        _ if a.is_json() || b.is_json() => ValueType::json(),
        (ValueType::Array(a), ValueType::Array(b)) => ValueType::array(widened(a, b)),
        (ValueType::Array(of), one) | (one, ValueType::Array(of)) if !matches!(one, ValueType::Complex(_)) => {
            ValueType::array(widened(of, one))
        }
        _ if a.is_numeric() && b.is_numeric() => ValueType::Double,
        (ValueType::Complex(_), _) => a.clone(),
        (_, ValueType::Complex(_)) => b.clone(),
        _ => ValueType::String,
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(query) = self.running.lock().queries.remove(&self.number) {
            query.budget.cancel();
        }
    }
}

type Receive<T> = oneshot::Receiver<Result<T>>;

fn submit<T: Send + 'static>(
    pool: &Pool,
    budget: &Budget,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Receive<T> {
    let (send, receive) = oneshot::channel();
    pool.spawn(budget.priority(), move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        let result = result.unwrap_or_else(|_| Err(Error::Bug("the query failed; the server's log says where".into())));
        // Whoever asked may be gone.
        let _ = send.send(result);
    });
    receive
}

/// The result, or the end of the query's time; a thread still at work sees it at its next block.
async fn wait<T>(receive: Receive<T>, budget: &Budget) -> Result<T> {
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
