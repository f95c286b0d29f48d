//! The memory that DataFusion takes for a statement: within the statement's own budget, and of that of all queries.

use std::fmt;

use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation};
use query::Budget;
use query::budget::MEMORY_SETTING;

use crate::error::Error;

#[derive(Debug)]
pub struct StatementMemory {
    own: GreedyMemoryPool,
    budget: Budget,
}

impl StatementMemory {
    /// Of so many bytes, which are the request's as those of its native queries are.
    pub fn new(request: &Budget, bytes: u64) -> StatementMemory {
        let mut budget = request.again();
        // What `own` lets through counts, also what operators take without asking.
        budget.leave_memory(u64::MAX);
        StatementMemory { own: GreedyMemoryPool::new(usize::try_from(bytes).unwrap_or(usize::MAX)), budget }
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
        self.own.try_grow(reservation, additional)?;
        self.budget.take(additional).map_err(|error| {
            self.shrink(reservation, additional);
            // As such, so that operators that can do with less try to.
            DataFusionError::ResourcesExhausted(error.to_string())
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

/// What is told of memory that a statement was refused.
pub fn exhausted(why: &str) -> Error {
    match why.contains(MEMORY_SETTING) {
        true => Error::Query(query::Error::ResourceLimit(why.to_string())),
        false => Error::Busy(format!(
            "the statement needs more memory than its budget: {why}; narrow its interval, filter or keys"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

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
        let pool = |request: &Budget, bytes| -> Arc<dyn MemoryPool> { Arc::new(StatementMemory::new(request, bytes)) };
        let (first, second) = (pool(&one, 5 << 20), pool(&other, 7 << 20));
        let first = MemoryConsumer::new("first").register(&first);
        first.try_grow(5 * MIB).unwrap();
        // More than its own, and more than all have.
        let told = |refused: DfResult<()>| match refused.unwrap_err() {
            DataFusionError::ResourcesExhausted(text) => exhausted(&text),
            other => panic!("{other}"),
        };
        assert!(matches!(told(first.try_grow(MIB)), Error::Busy(_)));
        let second = MemoryConsumer::new("second").register(&second);
        second.try_grow(3 * MIB).unwrap();
        assert!(matches!(told(second.try_grow(MIB)), Error::Query(query::Error::ResourceLimit(_))));
        assert_eq!((second.size(), all.used()), (3 * MIB, 8 << 20));
        drop(first);
        assert_eq!(all.used(), 3 << 20);
        // Three quarters of all are the most for one.
        assert!(matches!(told(second.try_grow(4 * MIB)), Error::Query(query::Error::ResourceLimit(_))));
        drop(second);
        assert_eq!(all.used(), 0);
    }
}
