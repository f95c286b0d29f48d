//! Answers told apart by the segments that they come from (context `bySegment`): each is what the query says of that
//! segment alone.
//!
//! The body is made in memory, which counts in the query's budget: it is for looking into segments, not for large answers.

use std::sync::Arc;

use futures::StreamExt;
use segment::SegmentId;
use segment::time::{Interval, format_timestamp};
use serde_json::json;

use crate::admission::Principal;
use crate::broker::Broker;
use crate::budget::{Budget, Taken};
use crate::error::{Error, Result};
use crate::language::Query;
use crate::language::response::{Format, respond};
use crate::table::ResponseContext;
use crate::view::Picture;

impl Broker {
    /// The body of the answer, in Druid's shape.
    pub async fn answer_by_segment(
        &self,
        query: &Query,
        who: &Principal,
        budget: Budget,
        format: Format,
    ) -> Result<(Vec<u8>, ResponseContext)> {
        let source = &query.scope().source;
        if !source.is_stored() {
            return Err(Error::Unsupported(
                "context.bySegment: only rows of tables are of a segment; leave it out or ask a table".into(),
            ));
        }
        let budget = Arc::new(budget);
        let mut taken = Taken::new(&budget, 0)?;
        let sight = self.authorizer().sight(&source.tables(), who)?;
        if sight.is_restricted() {
            return Err(Error::Denied(
                "context.bySegment tells of segments, which hold rows that you may not see; leave it out".into(),
            ));
        }
        let sight = Arc::new(sight);
        let mut ids: Vec<(SegmentId, String)> = match self.request(who, &sight, &budget) {
            Some(request) => {
                let wanted = request.wanted(query.scope())?.segments.into_iter();
                wanted.map(|one| (one.asked.id, one.asked.intervals[0].to_string())).collect()
            }
            None => {
                let (tables, intervals) = (source.tables(), &query.scope().intervals);
                let check = || budget.check();
                let picture = Picture::take(self.inventory(), &self.node.seen, &sight, &tables, intervals, &check)?;
                picture.pieces.iter().map(|piece| (piece.id.clone(), piece.intervals[0].to_string())).collect()
            }
        };
        // A realtime segment is several pieces.
        ids.dedup_by(|a, b| a.0 == b.0);
        let mut context = ResponseContext::default();
        let mut uncovered = Vec::new();
        let mut body = vec![b'['];
        for (id, interval) in ids {
            let mut one = query.clone();
            one.scope_mut().segment = Some(id.clone());
            budget.check()?;
            let answer = self.answer(one.clone(), who, budget.again()).await?;
            if !answer.touched && self.cluster.is_some() {
                // Which segments have rows in the intervals is known to who has them.
                uncovered.extend(&answer.context.uncovered);
                continue;
            }
            if !answer.touched {
                return Err(Error::Unavailable(format!(
                    "segment [{id}] was replaced while the segments were asked one by one; ask again"
                )));
            }
            uncovered.extend(&answer.context.uncovered);
            context.overflowed |= answer.context.overflowed;
            if body.len() > 1 {
                body.push(b',');
            }
            let time = match format.time_as_long {
                true => json!(id.interval.start),
                false => json!(format_timestamp(id.interval.start)),
            };
            body.extend(format!("{{\"timestamp\":{time},\"result\":{{\"results\":").bytes());
            let mut rows = respond(&one, answer, Format { pretty: false, ..format });
            while let Some(chunk) = rows.next().await {
                let chunk = chunk?;
                taken.grow(chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            body.extend(format!(",\"segment\":{},\"interval\":{}}}}}", json!(id.to_string()), json!(interval)).bytes());
        }
        body.push(b']');
        context.uncovered = Interval::merge(&uncovered);
        Ok((body, context))
    }
}
