//! Answers of the queries of a union, one after the other.
//!
//! Each query goes through the door alone, so that it sees what its asker sees and holds no more than a query may. All are
//! begun before the first row leaves: what is missing of their tables is told before the rows.

use futures::stream::{self, StreamExt};
use segment::time::Interval;
use serde_json::Value as Json;

use crate::admission::Principal;
use crate::broker::Broker;
use crate::budget::Budget;
use crate::error::Result;
use crate::language::Union;
use crate::language::union::has_time;
use crate::table::{Answer, Batch, ResponseContext};

impl Broker {
    /// A union in Druid's JSON, with the lookups that there are now for the caller. Its queries have the server's default
    /// context where neither they nor the union say otherwise.
    pub fn parse_union(&self, json: &Json, who: &Principal) -> Result<Union> {
        let defaults = &self.settings().default_context;
        self.authorizer().scope(self.lookups(), who, || Union::from_json(json, defaults))
    }

    /// The rows of all queries, in their order; every column is one of the arrays that they leave as.
    pub async fn answer_union(&self, union: Union, who: &Principal, budget: Budget) -> Result<Answer> {
        let (mut parts, mut uncovered) = (Vec::with_capacity(union.queries.len()), Vec::new());
        let (mut touched, mut overflowed) = (false, false);
        for query in union.queries {
            let skipped = usize::from(!has_time(&query));
            let answer = self.answer(query, who, budget.again()).await?;
            uncovered.extend(answer.context.uncovered);
            overflowed |= answer.context.overflowed;
            touched |= answer.touched;
            parts.push(answer.batches.map(move |batch| {
                batch.map(|mut batch: Batch| {
                    batch.table.columns.drain(..skipped.min(batch.table.columns.len()));
                    batch
                })
            }));
        }
        let mut context = ResponseContext { uncovered: Interval::merge(&uncovered), overflowed };
        context.overflowed |= context.uncovered.len() > budget.uncovered_max();
        context.uncovered.truncate(budget.uncovered_max());
        let batches = stream::iter(parts).flatten().boxed();
        Ok(Answer { context, touched, buckets: Vec::new(), analyses: Vec::new(), batches })
    }
}
