//! How the number of a supervisor's tasks follows its lag: Druid's rule `lagBased`, as a function of lags that were taken down.
//!
//! 1. Every `sample_ms` the lag of the stream is taken down, and kept for `range_ms`.
//! 2. From `start_ms` and a range after it began on, every `period_ms`: where the share of lags that are `out_lag` or more is
//!    `out_share` or more, there are `out_step` tasks more; else, where the share of those that are `in_lag` or less is
//!    `in_share` or more, `in_step` fewer.
//! 3. There are `tasks_min` at least and `tasks_max` at most, no more than partitions, and no more than nodes take.
//! 4. The number stays for `out_rest_ms` before it grows and `in_rest_ms` before it shrinks. Lags of before count no more.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    pub tasks_min: u32,
    pub tasks_max: u32,
    /// The number that the document says to start with. Without it, one that is posted again leaves the number as it is.
    pub tasks_start: Option<u32>,
    pub aggregate: LagAggregate,
    /// The number of samples in a range is what is kept in memory.
    pub sample_ms: i64,
    pub range_ms: i64,
    pub start_ms: i64,
    pub period_ms: i64,
    pub out_lag: i64,
    pub out_share: f64,
    pub out_step: u32,
    pub out_rest_ms: i64,
    pub in_lag: i64,
    pub in_share: f64,
    pub in_step: u32,
    pub in_rest_ms: i64,
}

/// What the lags of partitions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LagAggregate {
    Sum,
    Max,
    Average,
}

/// What a decision stands on beside lags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    pub tasks: u32,
    pub partitions: u32,
    /// Tasks that nodes take beside those there are.
    pub room: u32,
    pub scaled_at: Option<i64>,
    pub now: i64,
}

impl Scaling {
    /// Another number of tasks, if there is to be another.
    pub(crate) fn decide(&self, lags: &[i64], stand: Stand) -> Option<u32> {
        if lags.is_empty() || stand.partitions == 0 {
            return None;
        }
        let share = |count: usize| count as f64 / lags.len() as f64;
        let (most, least) = (self.tasks_max.min(stand.partitions), self.tasks_min.min(stand.partitions));
        let rests = |rest_ms: i64| stand.scaled_at.is_some_and(|at| stand.now.saturating_sub(at) < rest_ms);
        if share(lags.iter().filter(|lag| **lag >= self.out_lag).count()) >= self.out_share {
            let count = stand.tasks.saturating_add(self.out_step.min(stand.room)).min(most);
            return (count > stand.tasks && !rests(self.out_rest_ms)).then_some(count);
        }
        if share(lags.iter().filter(|lag| **lag <= self.in_lag).count()) >= self.in_share {
            let count = stand.tasks.saturating_sub(self.in_step).max(least);
            return (count < stand.tasks && !rests(self.in_rest_ms)).then_some(count);
        }
        None
    }

    fn lag_of(&self, lags: &[i64]) -> i64 {
        let sum = lags.iter().fold(0i64, |sum, lag| sum.saturating_add((*lag).max(0)));
        match self.aggregate {
            LagAggregate::Sum => sum,
            LagAggregate::Max => lags.iter().copied().max().unwrap_or(0).max(0),
            LagAggregate::Average => sum / (lags.len() as i64).max(1),
        }
    }
}

/// The lags of a supervisor, as they were taken down. What one leader has taken down the next does not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags {
    begun_at: Option<i64>,
    taken: VecDeque<(i64, i64)>,
    /// When it was last decided.
    looked_at: Option<i64>,
    tried_at: Option<i64>,
}

impl Lags {
    pub fn has_begun(&self) -> bool {
        self.begun_at.is_some()
    }

    pub fn len(&self) -> usize {
        self.taken.len()
    }

    pub fn last(&self) -> Option<i64> {
        self.taken.back().map(|(_, lag)| *lag)
    }

    pub fn all(&self) -> Vec<i64> {
        self.taken.iter().map(|(_, lag)| *lag).collect()
    }

    /// Whether another is to be taken down.
    pub fn is_due(&self, scaling: &Scaling, now: i64) -> bool {
        self.tried_at.is_none_or(|at| now.saturating_sub(at) >= scaling.sample_ms)
    }

    /// Takes the lags of partitions down, where they are known, and forgets old ones.
    pub fn take_down(&mut self, scaling: &Scaling, lags: Option<&[i64]>, now: i64) {
        self.begun_at.get_or_insert(now);
        self.tried_at = Some(now);
        if let Some(lags) = lags {
            self.taken.push_back((now, scaling.lag_of(lags)));
        }
        while self.taken.front().is_some_and(|(at, _)| now.saturating_sub(*at) > scaling.range_ms) {
            self.taken.pop_front();
        }
    }

    /// The number of tasks is another one: what was before says nothing of it.
    pub fn forget(&mut self) {
        self.taken.clear();
    }

    /// Whether it is time to decide; if so, the next time is a period later.
    pub fn is_time(&mut self, scaling: &Scaling, now: i64) -> bool {
        let Some(begun_at) = self.begun_at else { return false };
        let first = begun_at.saturating_add(scaling.start_ms).saturating_add(scaling.range_ms);
        let next = self.looked_at.map_or(first, |at| at.saturating_add(scaling.period_ms));
        let is_time = now >= next;
        if is_time {
            self.looked_at = Some(now);
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaling() -> Scaling {
        Scaling {
            tasks_min: 1,
            tasks_max: 8,
            tasks_start: None,
            aggregate: LagAggregate::Sum,
            sample_ms: 30_000,
            range_ms: 600_000,
            start_ms: 300_000,
            period_ms: 60_000,
            out_lag: 6_000_000,
            out_share: 0.3,
            out_step: 2,
            out_rest_ms: 600_000,
            in_lag: 1_000_000,
            in_share: 0.9,
            in_step: 1,
            in_rest_ms: 600_000,
        }
    }

    const STAND: Stand = Stand { tasks: 2, partitions: 16, room: 16, scaled_at: None, now: 10_000_000 };

    #[test]
    fn cases() {
        let (high, middle, low) = (6_000_000, 3_000_000, 1_000_000);
        let mix = |outs: usize, ins: usize, of: usize| {
            let mut lags = vec![high; outs];
            lags.extend(vec![low; ins]);
            lags.extend(vec![middle; of - outs - ins]);
            lags
        };
        for (lags, stand, wanted) in [
            (mix(3, 7, 10), STAND, Some(4)),
            (mix(2, 8, 10), STAND, None),
            (mix(0, 9, 10), STAND, Some(1)),
            (mix(0, 8, 10), STAND, None),
            (vec![], STAND, None),
            (mix(9, 0, 10), Stand { tasks: 7, ..STAND }, Some(8)),
            (mix(9, 0, 10), Stand { tasks: 8, ..STAND }, None),
            (mix(9, 0, 10), Stand { partitions: 3, ..STAND }, Some(3)),
            (mix(9, 0, 10), Stand { partitions: 0, ..STAND }, None),
            (mix(9, 0, 10), Stand { room: 1, ..STAND }, Some(3)),
            (mix(9, 0, 10), Stand { room: 0, ..STAND }, None),
            (mix(0, 10, 10), Stand { tasks: 1, ..STAND }, None),
            (mix(9, 0, 10), Stand { scaled_at: Some(STAND.now - 599_999), ..STAND }, None),
            (mix(9, 0, 10), Stand { scaled_at: Some(STAND.now - 600_000), ..STAND }, Some(4)),
            (mix(0, 9, 10), Stand { scaled_at: Some(STAND.now - 599_999), ..STAND }, None),
        ] {
            assert_eq!(scaling().decide(&lags, stand), wanted, "{lags:?} {stand:?}");
        }
    }

    #[test]
    fn lags_come_to_one() {
        for (aggregate, lag) in [(LagAggregate::Sum, 9), (LagAggregate::Max, 5), (LagAggregate::Average, 3)] {
            let scaling = Scaling { aggregate, ..scaling() };
            assert_eq!(scaling.lag_of(&[4, 5, -7]), lag);
            assert_eq!(scaling.lag_of(&[]), 0);
        }
    }

    #[test]
    fn lags_are_taken_down_in_time_and_forgotten() {
        let (scaling, mut lags) = (scaling(), Lags::default());
        let mut decided = Vec::new();
        for now in (0..2_000_000).step_by(10_000) {
            if lags.is_due(&scaling, now) {
                lags.take_down(&scaling, Some(&[now]), now);
            }
            if lags.is_time(&scaling, now) {
                decided.push(now);
            }
            assert!(lags.len() <= 21, "{}", lags.len());
        }
        assert_eq!(decided[..3], [900_000, 960_000, 1_020_000]);
        assert_eq!(lags.last(), Some(1_980_000));
        // Of what is not known nothing is taken down, and what was goes in time.
        lags.take_down(&scaling, None, 3_000_000);
        assert_eq!(lags.len(), 0);
    }

    proptest! {
        /// Against the documented rule, in words of its own: compare counts, not shares.
        #[test]
        fn the_rule(
            lags in prop::collection::vec(0i64..10, 0..30),
            (out_lag, in_lag) in (0i64..10, 0i64..10),
            (out_percent, in_percent) in (1u32..=100, 1u32..=100),
            (out_step, in_step) in (1u32..5, 1u32..5),
            (low, high) in (1u32..6, 0u32..6),
            (tasks, partitions, room) in (1u32..12, 0u32..12, 0u32..6),
        ) {
            let scaling = Scaling {
                tasks_min: low, tasks_max: low + high, out_lag, in_lag, out_step, in_step,
                out_share: f64::from(out_percent) / 100.0,
                in_share: f64::from(in_percent) / 100.0,
                ..scaling()
            };
            let count = scaling.decide(&lags, Stand { tasks, partitions, room, ..STAND });
            let share = |is: &dyn Fn(i64) -> bool, percent: u32| {
                let points = lags.iter().filter(|lag| is(**lag)).count();
                // Where the two are equal but for rounding, either is right.
                let (points, needed) = (points * 100, percent as usize * lags.len());
                (points == needed, points >= needed)
            };
            let (out_close, out) = share(&|lag| lag >= out_lag, out_percent);
            let (in_close, shrink) = share(&|lag| lag <= in_lag, in_percent);
            prop_assume!(!out_close || out_percent == 100);
            prop_assume!(!in_close || in_percent == 100);
            let (most, least) = (partitions.min(low + high), partitions.min(low));
            let wanted = if lags.is_empty() || partitions == 0 {
                tasks
            } else if out {
                (1..=out_step.min(room)).map(|more| tasks + more).filter(|count| *count <= most).max().unwrap_or(tasks)
            } else if shrink {
                tasks.saturating_sub(in_step).max(least).min(tasks)
            } else {
                tasks
            };
            prop_assert_eq!(count.unwrap_or(tasks), wanted);
            prop_assert_ne!(count, Some(tasks));
        }
    }
}
