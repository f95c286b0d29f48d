//! Conductor of a request: the gate, the register of running queries, the answer as a stream.
//!
//! 1. Too many queries at once are refused. The query is let in by `admission`, and can be cancelled by its id from
//!    here on until its answer is read or dropped.
//! 2. The node runs it on a thread of the pool; here its end or its deadline is waited for, whichever is first.
//! 3. Rows of a scan are read on demand: a thread works on the next batch while the last one is sent, never further.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use segment::Interval;
use segment::column::Column;
use segment::inventory::{Inventory, Served};
use segment::lookup::Lookups;
use segment::schema::ValueType;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::admission::{self, Principal};
use crate::budget::{Budget, Settings};
use crate::deadline;
use crate::engine::rows::Cursor;
use crate::error::{Error, Result};
use crate::language::Query;
use crate::node::Node;
use crate::outcome::Rows;
use crate::pool::Pool;
use crate::table::{Answer, Batch};

mod by_segment;

/// The only door to the rows.
pub struct Broker {
    node: Arc<Node>,
    settings: Settings,
    running: Arc<Mutex<Running>>,
    columns: Mutex<HashMap<String, (u64, TableColumns)>>,
    lookups: Arc<Lookups>,
}

/// Name, type and whether multi-value.
pub type TableColumns = Arc<Vec<(String, ValueType, bool)>>;

#[derive(Default)]
struct Running {
    next: u64,
    queries: HashMap<u64, Arc<Budget>>,
}

/// A query's place in the register; leaving it ends the query.
struct Registered {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Broker {
    pub fn new(inventory: Arc<Inventory>, settings: Settings) -> Arc<Broker> {
        let pool = Arc::new(Pool::new(settings.threads));
        Arc::new(Broker {
            node: Arc::new(Node { inventory, pool }),
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

    /// A query in Druid's JSON, with the lookups that there are now.
    pub fn parse(&self, json: &Json) -> Result<Query> {
        self.lookups.scope(|| Query::from_json(json))
    }

    fn inventory(&self) -> &Inventory {
        &self.node.inventory
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.node.pool
    }

    /// Queries at work now.
    pub fn running(&self) -> usize {
        self.running.lock().queries.len()
    }

    /// Answers a query within its budget. While it runs, and while its batches are read, [`Broker::cancel`] with the
    /// budget's query id ends it; dropping the answer ends it too.
    pub async fn answer(&self, query: Query, who: &Principal, budget: Budget) -> Result<Answer> {
        let budget = Arc::new(budget);
        let registered = self.register(&budget)?;
        let leaf = admission::admit(Arc::new(query), who);
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

    /// Ends the queries of that id; whether there were any.
    pub fn cancel(&self, query_id: &str) -> bool {
        let running = self.running.lock();
        let mut any = false;
        for budget in running.queries.values().filter(|budget| budget.query_id() == query_id) {
            budget.cancel();
            any = true;
        }
        any
    }

    /// The tables that the caller may see, by name.
    pub fn datasources(&self, _who: &Principal) -> Vec<String> {
        self.node.inventory.datasources()
    }

    /// Names, types and whether multi-value, merged over the segments: `__time` first, then in the newest segment's order.
    /// A type is the narrowest that holds those of all segments; one that has nothing but nulls says nothing. `None` if there is no such table for the caller.
    pub fn columns(&self, datasource: &str, _who: &Principal) -> Option<TableColumns> {
        let generation = self.node.inventory.generation();
        if let Some((of, columns)) = self.columns.lock().get(datasource)
            && *of == generation
        {
            return Some(columns.clone());
        }
        let view = self.node.inventory.view(datasource, &[Interval::ETERNITY])?;
        let mut growing = false;
        let mut segments = Vec::new();
        let mut slices = view.slices;
        slices.sort_by(|a, b| b.id.interval.cmp(&a.id.interval).then_with(|| b.id.cmp(&a.id)));
        for slice in &slices {
            growing |= matches!(slice.item, Served::Realtime(_));
            // Of one realtime index, what came last is newest.
            segments.extend(slice.item.open().into_iter().rev());
        }
        if segments.is_empty() {
            return None;
        }
        let mut columns: Vec<(String, ValueType, bool)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        // The segments that a column is text in, as long as it is text in all.
        let mut texts: Vec<Vec<Arc<segment::Segment>>> = Vec::new();
        for segment in segments {
            for (name, value_type) in segment.columns() {
                let multi = value_type == ValueType::String && segment.is_multi(&name);
                match known.get(&name) {
                    Some(&at) => {
                        let (_, of, several) = &mut columns[at];
                        *several |= multi;
                        if *of == value_type {
                            if *of == ValueType::String {
                                texts[at].push(segment.clone());
                            }
                        } else if value_type == ValueType::String && has_only_nulls(&segment, &name) {
                            continue;
                        } else if *of == ValueType::String && texts[at].iter().all(|s| has_only_nulls(s, &name)) {
                            *of = value_type;
                        } else {
                            *of = widened(of, &value_type);
                        }
                        *several &= *of == ValueType::String;
                    }
                    None => {
                        known.insert(name.clone(), columns.len());
                        let text = value_type == ValueType::String;
                        texts.push(text.then(|| segment.clone()).into_iter().collect());
                        columns.push((name, value_type, multi));
                    }
                }
            }
        }
        let columns = Arc::new(columns);
        // Realtime rows may bring new columns at any time, so what they have is not kept.
        if !growing {
            self.columns.lock().insert(datasource.to_string(), (view.generation, columns.clone()));
        }
        Some(columns)
    }

    fn register(&self, budget: &Arc<Budget>) -> Result<Registered> {
        let mut running = self.running.lock();
        if running.queries.len() >= self.settings.queries_max {
            return Err(Error::Capacity(format!(
                "Too many concurrent queries: the server runs [{}] at once; try again later",
                self.settings.queries_max
            )));
        }
        let number = running.next;
        running.next += 1;
        running.queries.insert(number, budget.clone());
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

/// Whether a text column has no value: that is how a column of nothing but nulls is kept.
fn has_only_nulls(segment: &segment::Segment, name: &str) -> bool {
    match segment.column(name) {
        Ok(Some(Column::Dict(dict))) => dict.cardinality() == u32::from(dict.null_code().is_some()),
        _ => false,
    }
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
        if let Some(budget) = self.running.lock().queries.remove(&self.number) {
            budget.cancel();
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
