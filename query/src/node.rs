//! Conductor of a data node: one query over the segments at hand, from view to rows. Runs on a thread of the pool.
//!
//! 1. What the asker may see is worked out again: only a leaf whose sight is the same runs.
//! 2. What the query is about is opened as segments ([`source`]); a query within is answered first. What is known to be
//!    missing is told, or the query is refused.
//! 3. The engine folds, or a cursor is opened over the rows; groups are finished.

use std::sync::{Arc, OnceLock};

use segment::Interval;
use segment::inventory::Inventory;

use crate::admission::{Authorizer, Leaf, Sight};
use crate::budget::{Budget, Partial};
use crate::cache::parts::Folding;
use crate::cache::{Caches, answers};
use crate::engine::inspect;
use crate::engine::rows::Cursor;
use crate::engine::seen::SeenCache;
use crate::engine::{group, search};
use crate::error::{Error, Result};
use crate::finish::finish;
use crate::language::Query;
use crate::outcome::{Outcome, Rows};
use crate::pool::Pool;
use crate::source::{self, Ask, Origin};
use crate::table::ResponseContext;
use crate::view::Stored;

/// Where queries run.
pub struct Node {
    pub inventory: Arc<Inventory>,
    pub pool: Arc<Pool>,
    pub authorizer: Arc<Authorizer>,
    pub seen: SeenCache,
    /// Where answers are kept, if they are.
    pub kept: OnceLock<Arc<Caches>>,
}

impl Node {
    pub fn caches(&self) -> Option<&Arc<Caches>> {
        self.kept.get()
    }

    pub fn run(&self, leaf: &Leaf, budget: &Arc<Budget>) -> Result<Outcome> {
        self.authorizer.recheck(leaf)?;
        self.query(&*self.inventory, leaf.query(), leaf.sight(), budget)
    }

    /// Runs a query, or one that stands in another.
    pub fn query(
        &self,
        stored: &dyn Stored,
        query: &Arc<Query>,
        sight: &Sight,
        budget: &Arc<Budget>,
    ) -> Result<Outcome> {
        budget.check()?;
        let query = &source::unfiltered(query);
        if let Some(outcome) = stored.whole(query) {
            return outcome;
        }
        let scope = query.scope();
        let inner = |query: &Arc<Query>| self.query(stored, query, sight, budget);
        let origin = Origin { stored, cache: &self.seen, sight, budget, inner: &inner };
        let opened = origin.open(&scope.source, &Ask::of(query))?;
        let context = ResponseContext { uncovered: opened.uncovered, ..ResponseContext::default() };
        let pieces = opened.pieces;
        refuse_gaps(&context.uncovered, budget)?;
        // Of what is made for the query nothing is kept: no piece of it is of a published segment.
        let caches = self.caches().filter(|caches| caches.keeps_answers(query, budget) && context.uncovered.is_empty());
        let kept = caches.and_then(|caches| Some((caches, answers::of_pieces(&pieces)?)));
        if let Some((caches, cut)) = &kept
            && let Some(outcome) = caches.answer(query, sight, cut, budget)
        {
            return Ok(outcome);
        }
        let touched = !pieces.is_empty();
        let buckets = match &**query {
            Query::TopN(q) => group::buckets(q, &pieces),
            _ => Vec::new(),
        };
        let rows = match &**query {
            Query::Timeseries(_) | Query::TopN(_) | Query::GroupBy(_) => {
                let folding = Folding { caches: self.caches(), query, elsewhere: None, pool: &self.pool, budget };
                let partial = folding.run(pieces)?;
                Rows::Table(finish(query, partial, budget)?)
            }
            Query::Scan(_) => Rows::Cursor(Box::new(Cursor::new(query.clone(), pieces, budget.clone(), opened.held)?)),
            Query::Search(q) => Rows::Table(search::search(q, &pieces, budget)?),
            Query::TimeBoundary(q) => Rows::Table(inspect::time_boundary(q, &pieces, budget)?),
            Query::DataSourceMetadata(_) => Rows::Table(inspect::datasource_metadata(&pieces)),
            Query::SegmentMetadata(q) => Rows::Analyses(inspect::analyse(q, &pieces, budget)?),
        };
        let outcome = Outcome { context, touched, buckets, rows };
        if let Some((caches, cut)) = &kept {
            caches.keep_answer(query, sight, cut, budget, &outcome);
        }
        Ok(outcome)
    }
}

/// Refuses an answer without rows that are known to be missing, if the query wants none such.
pub fn refuse_gaps(uncovered: &[Interval], budget: &Budget) -> Result<()> {
    if budget.partial() == Partial::Refused && !uncovered.is_empty() {
        return Err(Error::Unavailable(format!(
            "rows of [{}] are not complete yet; ask again, or allow returnPartialResults",
            uncovered.iter().map(Interval::to_string).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(())
}
