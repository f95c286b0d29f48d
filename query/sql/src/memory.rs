//! The memory that DataFusion takes for a statement: within the statement's own budget, and of that of all queries.
//!
//! DataFusion tells of both in an error that has nothing but a text, and that operators wrap in others. Which of the two it was
//! is kept here, and put in its place when the error has come out of the plan ([`StatementMemory::told`]).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation};
use query::Budget;

use crate::error::Error;

#[derive(Debug)]
pub struct StatementMemory {
    own: GreedyMemoryPool,
    budget: Budget,
    /// What the memory of all queries said, if the last refusal was its.
    refused: Mutex<Option<query::Error>>,
}

impl StatementMemory {
    /// Of so many bytes, which are the request's as those of its native queries are.
    pub fn new(request: &Budget, bytes: u64) -> StatementMemory {
        let mut budget = request.again();
        // What `own` lets through counts, also what operators take without asking.
        budget.leave_memory(u64::MAX);
        let own = GreedyMemoryPool::new(usize::try_from(bytes).unwrap_or(usize::MAX));
        StatementMemory { own, budget, refused: Mutex::default() }
    }

    /// An error of a plan that takes its memory here, with ours in its place if it ended for want of memory.
    pub fn told(&self, error: DataFusionError) -> DataFusionError {
        let DataFusionError::ResourcesExhausted(text) = error.find_root() else { return error };
        let told = self.put_refusal(None).map_or_else(|| exhausted(text), Error::Query);
        DataFusionError::External(Box::new(told))
    }

    /// Keeps another refusal; the one before.
    fn put_refusal(&self, refusal: Option<query::Error>) -> Option<query::Error> {
        std::mem::replace(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner), refusal)
    }
}

impl fmt::Display for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.own.fmt(f)
    }
}

impl MemoryPool for StatementMemory {
    fn name(&self) -> &str {
        "statement"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        // What cannot be refused here is at the next step that asks.
        let _ = self.budget.take(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.budget.give(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        self.own.try_grow(reservation, additional).inspect_err(|_| drop(self.put_refusal(None)))?;
        self.budget.take(additional).map_err(|error| {
            self.shrink(reservation, additional);
            let text = error.to_string();
            self.put_refusal(Some(error));
            // As such, so that operators that can do with less try to.
            DataFusionError::ResourcesExhausted(text)
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

/// What is told of a statement that has no more of its own memory.
pub fn exhausted(why: &str) -> Error {
    let why = why.lines().next().unwrap_or_default();
    Error::Busy(format!("the statement needs more memory than its budget: {why}; narrow its interval, filter or keys"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::error::ArrowError;
    use datafusion::execution::memory_pool::MemoryConsumer;
    use query::budget::Memory;

    use super::*;

    #[test]
    fn a_statement_takes_of_the_memory_of_all_queries() {
        const MIB: usize = 1 << 20;
        let all = Arc::new(Memory::new(8 << 20));
        let second = Duration::from_secs(1);
        let request = || Budget::of_part("q".into(), second, 1, None, 1, 0).within(&all);
        let (one, other) = (request(), request());
        let pool = |request: &Budget, bytes| Arc::new(StatementMemory::new(request, bytes));
        let (mine, others) = (pool(&one, 5 << 20), pool(&other, 7 << 20));
        let consumer = |name: &str, pool: &Arc<StatementMemory>| {
            let pool: Arc<dyn MemoryPool> = pool.clone();
            MemoryConsumer::new(name).register(&pool)
        };
        // What callers may choose decides nothing.
        let first = consumer(query::budget::MEMORY_SETTING, &mine);
        first.try_grow(5 * MIB).unwrap();
        // More than its own, and more than all have.
        let told = |pool: &StatementMemory, refused: DfResult<()>| crate::run::failed(pool.told(refused.unwrap_err()));
        assert!(matches!(told(&mine, first.try_grow(MIB)), Error::Busy(_)));
        let second = consumer("second", &others);
        second.try_grow(3 * MIB).unwrap();
        assert!(matches!(told(&others, second.try_grow(MIB)), Error::Query(query::Error::ResourceLimit(_))));
        assert_eq!((second.size(), all.used()), (3 * MIB, 8 << 20));
        drop(first);
        assert_eq!(all.used(), 3 << 20);
        // Three quarters of all are the most for one.
        assert!(matches!(told(&others, second.try_grow(4 * MIB)), Error::Query(query::Error::ResourceLimit(_))));
        drop(second);
        assert_eq!(all.used(), 0);
    }

    #[test]
    fn want_of_memory_is_found_within_other_errors() {
        let all = Arc::new(Memory::new(1 << 20));
        let budget = Budget::of_part("q".into(), Duration::from_secs(1), 1, None, 1, 0).within(&all);
        let memory = Arc::new(StatementMemory::new(&budget, 2 << 20));
        let pool: Arc<dyn MemoryPool> = memory.clone();
        let consumer = MemoryConsumer::new("sort").register(&pool);
        let wrapped = |bytes: usize| {
            let inner = consumer.try_grow(bytes).unwrap_err().context("while sorting");
            let shared = DataFusionError::Shared(Arc::new(inner));
            let arrow = ArrowError::ExternalError(Box::new(shared));
            crate::run::failed(memory.told(DataFusionError::ArrowError(Box::new(arrow), None)))
        };
        assert!(matches!(wrapped(1 << 20), Error::Query(query::Error::ResourceLimit(_))));
        assert!(matches!(wrapped(3 << 20), Error::Busy(_)));
        let other = memory.told(DataFusionError::Execution("division by zero".into()));
        assert!(matches!(crate::run::failed(other), Error::Invalid(text) if text == "division by zero"));
    }
}
