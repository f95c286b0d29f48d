//! What one query may use: time, memory, and whether it may go on. Read once from the query's context; looked at once
//! a block.

mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::language::context::Context;
use crate::progress::Progress;

use self::memory::{Held, Request};
pub use self::memory::{MEMORY_SETTING, Memory};

/// Limits of the process, given at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that compute.
    pub threads: usize,
    /// Queries at work at once; more are refused.
    pub queries_max: usize,
    /// Requests at work at once by lane, each within `queries_max`. A query is in the lane that its context names; one that
    /// names none and has a negative priority is in [`LANE_LOW`].
    pub lanes: Arc<BTreeMap<String, usize>>,
    pub timeout_default: Duration,
    /// No query may ask for more.
    pub timeout_max: Duration,
    /// Of groups, rows waiting to be sent and sorted, for one query.
    pub memory_bytes: u64,
    /// Of all queries together.
    pub memory: Arc<Memory>,
    /// Rows of the answer of an inner query.
    pub subquery_rows_max: u64,
    /// Of what is kept of which rows of published segments restricted callers see; 0 keeps nothing.
    pub policy_cache_bytes: u64,
    /// Context keys of queries that do not set them themselves.
    pub default_context: Arc<Map<String, Json>>,
}

/// Shared by all threads that work on a query.
#[derive(Debug)]
pub struct Budget {
    query_id: String,
    started: Instant,
    timeout: Duration,
    memory_limit: u64,
    held: Held,
    scan_limit: u64,
    request: Arc<Request>,
    cancelled: AtomicBool,
    /// Cancelled because the asker may no longer see what it was let in for.
    revoked: AtomicBool,
    priority: i64,
    /// One of the lanes that there are.
    lane: Option<String>,
    partial: Partial,
    /// Whether the query said so: what cannot be reached may be left out then, and is told.
    partial_asked: bool,
    /// Told when it is cancelled.
    ended: Arc<Notify>,
    subquery_rows_max: u64,
    /// `None`: the query's memory is the bound.
    subquery_bytes_max: Option<u64>,
    /// Intervals named at most in the answer's `uncoveredIntervals`.
    uncovered_max: usize,
    caching: Caching,
}

/// Which of the caches a query uses, and which it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caching {
    pub use_segments: bool,
    pub populate_segments: bool,
    pub use_results: bool,
    pub populate_results: bool,
}

impl Default for Caching {
    fn default() -> Caching {
        Caching { use_segments: true, populate_segments: true, use_results: true, populate_results: true }
    }
}

impl Caching {
    const SEGMENTS: [&str; 2] = ["useCache", "populateCache"];

    /// Reads `useCache`, `populateCache`, `useResultLevelCache` and `populateResultLevelCache`: what is not said is done.
    pub fn of(context: &Context<'_>) -> Result<Caching> {
        let said = |key: &str| Ok::<_, Error>(context.flag(key)?.unwrap_or(true));
        Ok(Caching {
            use_segments: said(Caching::SEGMENTS[0])?,
            populate_segments: said(Caching::SEGMENTS[1])?,
            use_results: said("useResultLevelCache")?,
            populate_results: said("populateResultLevelCache")?,
        })
    }

    /// Puts what nodes have to know into the query that they are asked, if it is not what they do by themselves.
    pub fn tell(&self, query: &mut Json) {
        let said = [self.use_segments, self.populate_segments];
        if said == [true, true] {
            return;
        }
        if let Some(query) = query.as_object_mut()
            && let Json::Object(context) = query.entry("context").or_insert_with(|| Json::Object(Map::new()))
        {
            context.extend(Caching::SEGMENTS.iter().map(|key| key.to_string()).zip(said.map(Json::Bool)));
        }
    }
}

/// The lane of queries that can wait, as Druid's strategy `hilo` names it.
pub const LANE_LOW: &str = "low";

/// What a query wants when parts of what it asks for are not there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// An answer that says what is missing.
    Told,
    /// No answer.
    Refused,
}

/// Intervals named in a response context if the query does not say: the header is limited to 7 KiB.
const UNCOVERED_MAX: usize = 64;

impl Settings {
    /// A query's context, with the keys that it does not set itself. A null sets a key.
    pub fn with_defaults(&self, context: &mut Map<String, Json>) {
        for (key, value) in self.default_context.iter() {
            if !context.contains_key(key) {
                context.insert(key.clone(), value.clone());
            }
        }
    }
}

impl Budget {
    /// Reads `timeout`, `queryId`, `priority`, `lane`, `maxQueryMemoryBytes`, `returnPartialResults`, `maxSubqueryRows`,
    /// `maxSubqueryBytes`, `uncoveredIntervalsLimit` and what [`Caching::of`] reads; the rest of the context is read with the query. A query without an id gets one.
    pub fn from_context(context: &Map<String, Json>, settings: &Settings) -> Result<Budget> {
        let context = Context::new(context);
        let timeout = match context.long("timeout")? {
            None => settings.timeout_default,
            Some(0) => settings.timeout_max,
            Some(millis) => {
                let timeout = u64::try_from(millis)
                    .map(Duration::from_millis)
                    .map_err(|_| Error::Context(format!("timeout must be 0 or more milliseconds, not {millis}")))?;
                if timeout > settings.timeout_max {
                    return Err(Error::Context(format!(
                        "timeout [{millis}] must not exceed the server's maximum of [{}] milliseconds",
                        settings.timeout_max.as_millis()
                    )));
                }
                timeout
            }
        };
        let positive = |key: &str| match context.long(key)? {
            None => Ok(None),
            Some(value) => {
                u64::try_from(value).map(Some).map_err(|_| Error::Context(format!("{key} must not be negative")))
            }
        };
        let memory = positive("maxQueryMemoryBytes")?.filter(|bytes| *bytes > 0);
        let query_id = match context.text("queryId")? {
            Some(id) if !id.is_empty() => id.to_string(),
            _ => uuid::Uuid::new_v4().to_string(),
        };
        let priority = context.long("priority")?.unwrap_or(0);
        let request = Arc::default();
        let lane = match context.text("lane")? {
            None | Some("") if priority < 0 => Some(LANE_LOW),
            named => named,
        };
        Ok(Budget {
            query_id,
            lane: lane.filter(|lane| settings.lanes.contains_key(*lane)).map(str::to_string),
            started: Instant::now(),
            timeout,
            memory_limit: memory.map_or(settings.memory_bytes, |bytes| bytes.min(settings.memory_bytes)),
            held: Held::new(&settings.memory, &request),
            scan_limit: u64::MAX,
            request,
            cancelled: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            priority,
            partial: match context.flag("returnPartialResults")? {
                Some(false) => Partial::Refused,
                _ => Partial::Told,
            },
            partial_asked: context.flag("returnPartialResults")? == Some(true),
            ended: Arc::default(),
            subquery_rows_max: positive("maxSubqueryRows")?
                .map_or(settings.subquery_rows_max, |rows| rows.min(settings.subquery_rows_max)),
            subquery_bytes_max: match context.text("maxSubqueryBytes") {
                Ok(Some(text)) if ["auto", "disabled"].iter().any(|word| text.eq_ignore_ascii_case(word)) => None,
                _ => positive("maxSubqueryBytes")?.filter(|bytes| *bytes > 0),
            },
            uncovered_max: positive("uncoveredIntervalsLimit")?
                .filter(|limit| *limit > 0)
                .map_or(UNCOVERED_MAX, |limit| limit.min(UNCOVERED_MAX as u64) as usize),
            caching: Caching::of(&context)?,
        })
    }

    /// The budget of another part of the same request: its id, its deadline, its limits, none of its memory.
    pub fn again(&self) -> Budget {
        Budget {
            query_id: self.query_id.clone(),
            lane: self.lane.clone(),
            held: Held::new(&self.held.of, &self.request),
            request: self.request.clone(),
            cancelled: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            ended: Arc::default(),
            ..*self
        }
    }

    /// The budget of what a broker asks of a node.
    pub fn of_part(
        query_id: String,
        timeout: Duration,
        memory_limit: u64,
        scan_limit: Option<u64>,
        subquery_rows_max: u64,
        priority: i64,
    ) -> Budget {
        let request = Arc::default();
        Budget {
            query_id,
            lane: None,
            started: Instant::now(),
            timeout,
            memory_limit,
            held: Held::new(&Arc::default(), &request),
            scan_limit: scan_limit.unwrap_or(u64::MAX),
            request,
            cancelled: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            priority,
            partial: Partial::Told,
            partial_asked: false,
            ended: Arc::default(),
            subquery_rows_max,
            subquery_bytes_max: None,
            uncovered_max: UNCOVERED_MAX,
            caching: Caching::default(),
        }
    }

    /// The same with what a query says of caches.
    pub fn with_caching(self, caching: Caching) -> Budget {
        Budget { caching, ..self }
    }

    pub fn caching(&self) -> Caching {
        self.caching
    }

    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// The lane that it takes a place of.
    pub fn lane(&self) -> Option<&str> {
        self.lane.as_deref()
    }

    pub fn partial(&self) -> Partial {
        self.partial
    }

    pub fn subquery_rows_max(&self) -> u64 {
        self.subquery_rows_max
    }

    pub fn subquery_bytes_max(&self) -> Option<u64> {
        self.subquery_bytes_max
    }

    pub fn uncovered_max(&self) -> usize {
        self.uncovered_max
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time left; zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Waits until the query may not go on, and says why.
    pub async fn ended(&self) -> Error {
        loop {
            let told = self.ended.notified();
            tokio::pin!(told);
            // From here on nothing is missed.
            told.as_mut().enable();
            if let Err(error) = self.check() {
                return error;
            }
            // The deadline is over when more than the whole time has passed.
            let _ = tokio::time::timeout(self.remaining() + Duration::from_millis(1), told).await;
        }
    }

    /// Whether the query said that it takes an answer without what cannot be reached.
    pub fn takes_gaps(&self) -> bool {
        self.partial_asked
    }

    /// Bytes of columns that may still be read, if there is a bound.
    pub fn scan_left(&self) -> Option<u64> {
        self.is_scan_bounded().then(|| self.scan_limit.saturating_sub(self.request.scanned.load(Ordering::Relaxed)))
    }

    /// Lets the query hold no more memory than this, if it might.
    pub fn bound_memory(&mut self, bytes: u64) {
        self.memory_limit = self.memory_limit.min(bytes);
    }

    /// Lets the query hold this much memory, whatever its context said.
    pub fn leave_memory(&mut self, bytes: u64) {
        self.memory_limit = bytes;
    }

    /// Takes what it holds of the memory of all queries.
    pub fn within(mut self, memory: &Arc<Memory>) -> Budget {
        self.held = Held::new(memory, &self.request);
        self
    }

    /// Lets the parts of the request together read no more bytes of columns than this.
    pub fn bound_scan(&mut self, bytes: u64) {
        self.scan_limit = self.scan_limit.min(bytes);
    }

    pub fn is_scan_bounded(&self) -> bool {
        self.scan_limit < u64::MAX
    }

    /// Makes it the budget of another part of the same request, before it is used.
    pub fn join(&mut self, request: &Budget) {
        self.request = request.request.clone();
        self.held = Held::new(&self.held.of, &self.request);
    }

    /// A mark that the parts of a request, and nothing else, have in common while one of them is there.
    pub fn request(&self) -> usize {
        Arc::as_ptr(&self.request) as usize
    }

    /// How far the request is, all parts of it.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.request.progress
    }

    /// Counts bytes of columns that are about to be read.
    pub fn scan(&self, bytes: u64) -> Result<()> {
        self.request.progress.add_bytes(bytes);
        if self.request.scanned.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.scan_limit {
            return Err(Error::ResourceLimit(format!(
                "the query reads more than the [{}] bytes of columns that your roles allow for one; narrow its interval, \
                 or name fewer columns",
                self.scan_limit
            )));
        }
        Ok(())
    }

    /// Bytes of columns that were counted, by all parts of the request.
    pub fn scanned(&self) -> u64 {
        self.request.scanned.load(Ordering::Relaxed)
    }

    /// Cancels it because the asker may no longer see what it was let in for.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
        self.cancel();
    }

    /// Whether the query may go on. Call it once a block.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(match self.revoked.load(Ordering::Relaxed) {
                true => Error::Denied("what you may see has changed while the query ran; ask again".into()),
                false => Error::Cancelled("Query cancelled".into()),
            });
        }
        if self.started.elapsed() > self.timeout {
            return Err(self.timed_out());
        }
        Ok(())
    }

    pub fn timed_out(&self) -> Error {
        Error::Timeout(format!(
            "Query [{}] timed out after [{}] milliseconds; raise `timeout` in its context or ask for less",
            self.query_id,
            self.timeout.as_millis()
        ))
    }

    /// Counts memory that the query is about to use, also what is refused, which is to be given back all the same.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let used = self.held.used.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if used > self.memory_limit {
            return Err(Error::ResourceLimit(format!(
                "the query needs more than its [{}] bytes of memory; narrow its interval, filter or dimensions",
                self.memory_limit
            )));
        }
        self.held.cover(used)
    }

    /// Gives back what was taken.
    pub fn give(&self, bytes: usize) {
        let before = self.held.used.fetch_sub(bytes as u64, Ordering::Relaxed);
        debug_assert!(before >= bytes as u64, "more memory given back than taken");
        self.held.uncover(before.saturating_sub(bytes as u64));
    }

    pub fn memory_used(&self) -> u64 {
        self.held.used.load(Ordering::Relaxed)
    }

    pub fn memory_limit(&self) -> u64 {
        self.memory_limit
    }
}

/// Memory taken from a budget, given back when dropped.
#[derive(Debug)]
pub struct Taken {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Taken {
    pub fn new(budget: &Arc<Budget>, bytes: usize) -> Result<Taken> {
        let mut taken = Taken { budget: budget.clone(), bytes: 0 };
        taken.grow(bytes)?;
        Ok(taken)
    }

    /// More of the same budget.
    pub fn more(&self, bytes: usize) -> Result<Taken> {
        Taken::new(&self.budget, bytes)
    }

    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        self.budget.take(bytes)
    }

    /// Gives some of it back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give(bytes);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings {
            threads: 1,
            queries_max: 1,
            lanes: Arc::default(),
            timeout_default: Duration::from_secs(300),
            timeout_max: Duration::from_secs(600),
            memory_bytes: 1000,
            memory: Arc::default(),
            subquery_rows_max: 100,
            policy_cache_bytes: 0,
            default_context: Arc::default(),
        }
    }

    fn budget(context: Json) -> Result<Budget> {
        Budget::from_context(context.as_object().unwrap(), &settings())
    }

    #[test]
    fn values_may_be_text_and_wrong_ones_are_named() {
        let b = budget(json!({"timeout": "5000", "queryId": "q", "priority": "7", "returnPartialResults": "false"}))
            .unwrap();
        assert_eq!(
            (b.timeout, b.query_id(), b.priority, b.partial),
            (Duration::from_secs(5), "q", 7, Partial::Refused)
        );
        let b = budget(json!({})).unwrap();
        assert_eq!((b.timeout, b.partial), (Duration::from_secs(300), Partial::Told));
        assert!(!b.query_id().is_empty());
        for (context, named) in [
            (json!({"timeout": "soon"}), "timeout"),
            (json!({"timeout": -1}), "timeout"),
            (json!({"timeout": 600_001}), "timeout"),
            (json!({"timeout": []}), "timeout"),
            (json!({"queryId": 7}), "queryId"),
            (json!({"priority": {}}), "priority"),
            (json!({"returnPartialResults": 1}), "returnPartialResults"),
        ] {
            match budget(context) {
                Err(Error::Context(text)) => assert!(text.contains(named), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn memory_is_limited_and_comes_back() {
        let b = Arc::new(budget(json!({"maxQueryMemoryBytes": 100})).unwrap());
        let first = Taken::new(&b, 80).unwrap();
        assert!(matches!(Taken::new(&b, 30), Err(Error::ResourceLimit(_))));
        drop(first);
        assert_eq!(b.memory_used(), 0);
        let mut some = Taken::new(&b, 60).unwrap();
        assert!(some.grow(60).is_err());
        some.shrink(60);
        assert_eq!(b.memory_used(), 60);
        drop(some);
        assert_eq!(b.memory_used(), 0);
        assert!(Taken::new(&b, 100).is_ok());
    }

    #[test]
    fn all_queries_together_hold_no_more_than_there_is_for_them() {
        const MIB: usize = 1 << 20;
        let settings = Settings { memory_bytes: 1 << 40, memory: Arc::new(Memory::new(8 << 20)), ..settings() };
        let budget = || Arc::new(Budget::from_context(&Map::new(), &settings).unwrap());
        let refused = |taken: Result<Taken>| match taken {
            Err(Error::ResourceLimit(text)) => assert!(text.contains(MEMORY_SETTING), "{text}"),
            other => panic!("{other:?}"),
        };
        let (first, second) = (budget(), budget());
        // Three quarters are the most for one, whatever parts it has.
        refused(Taken::new(&first, 7 * MIB));
        let part = Arc::new(first.again());
        let (own, of_part) = (Taken::new(&first, 4 * MIB).unwrap(), Taken::new(&part, 2 * MIB).unwrap());
        refused(Taken::new(&part, MIB));
        refused(of_part.more(MIB));
        // The others have what is left, and what was refused took nothing of it.
        let other = Taken::new(&second, 2 * MIB).unwrap();
        refused(Taken::new(&second, MIB));
        drop(own);
        assert!(Taken::new(&second, 3 * MIB).is_ok());
        let mut joined = Budget::from_context(&Map::new(), &settings).unwrap();
        joined.join(&second);
        refused(Taken::new(&Arc::new(joined), 5 * MIB));
        drop((of_part, other));
        assert_eq!((first.memory_used(), settings.memory.used()), (0, 0));
        // What is not given back goes with its query.
        second.take(MIB).unwrap();
        assert!(settings.memory.used() >= MIB as u64);
        drop(second);
        assert_eq!(settings.memory.used(), 0);
    }

    #[test]
    fn a_part_of_another_nodes_query_takes_of_the_memory_of_all() {
        let memory = Arc::new(Memory::new(4000));
        let second = Duration::from_secs(1);
        let part = Budget::of_part("q".into(), second, 1 << 30, None, 1, 0).within(&memory);
        assert!(part.take(2000).is_ok());
        assert!((2000..2100).contains(&memory.used()), "{}", memory.used());
        assert!(matches!(part.take(1500), Err(Error::ResourceLimit(_))));
        drop(part);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_cancelled_query_stops() {
        let b = budget(json!({})).unwrap();
        assert!(b.check().is_ok());
        b.cancel();
        assert!(matches!(b.check(), Err(Error::Cancelled(_))));
    }
}
