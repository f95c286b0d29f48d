//! Answers of the cluster that are kept by the broker: under the segments of the picture that they were made by.

use std::sync::Arc;

use segment::Interval;

use super::{Request, Wanted};
use crate::cache::{Caches, Key, answers};
use crate::error::Result;
use crate::language::{Query, Scope};
use crate::outcome::Outcome;

impl Request {
    /// The caches, if answers of a query may be kept or found there.
    fn caches(&self, query: &Query) -> Option<&Arc<Caches>> {
        self.node.caches().filter(|caches| caches.keeps_answers(query, &self.budget))
    }

    /// What was kept of a query over the segments that are wanted now, if that was all there is.
    pub fn kept(&self, query: &Query) -> Result<Option<Outcome>> {
        let Some(caches) = self.caches(query) else { return Ok(None) };
        let Some(cut) = self.cut(query.scope(), &self.wanted(query.scope())?)? else { return Ok(None) };
        Ok(caches.answer(query, &self.sight, &cut, &self.budget))
    }

    /// Keeps an answer that was made of the segments of a cut.
    pub fn keep(&self, query: &Query, cut: Option<Key>, outcome: &Outcome) {
        if let (Some(caches), Some(cut)) = (self.caches(query), cut) {
            caches.keep_answer(query, &self.sight, &cut, &self.budget, outcome);
        }
    }

    /// Which segments an answer by this picture is made of; `None` if some of its rows are not published, or not there.
    pub fn cut(&self, scope: &Scope, wanted: &Wanted) -> Result<Option<Key>> {
        if wanted.segments.iter().any(|one| one.grows) || !self.incomplete(scope, &wanted.incomplete)?.is_empty() {
            return Ok(None);
        }
        // Where a part is seen only, an answer that was kept is met, or is not, wherever the query looks.
        let Some(marks) = self.marks(scope)? else { return Ok(None) };
        // Of some it is asked only whether they are there.
        let counted = wanted.segments.iter().filter(|one| !one.is_witness());
        let named = counted.map(|one| (&one.asked.id, &one.asked.intervals as &[Interval]));
        Ok(Some(answers::of_segments(named, &marks)))
    }
}
