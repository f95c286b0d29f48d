//! How the segments of one node lie in time, all of them and each datasource's, so that the cost of one more is known at
//! once.
//!
//! The cost is Druid's: for each segment that is there, a weight that halves with every day between the two, doubled for
//! one of the same datasource. Segments are counted by the day of their middle, and what is further away than
//! [`REACH_DAYS`] weighs nothing: a cost is then a sum over a few days instead of over all segments.

use std::collections::HashMap;

const DAY_MS: i64 = 86_400_000;
const REACH_DAYS: i32 = 10;

#[derive(Default)]
pub(crate) struct Spread {
    all: Days,
    by_datasource: HashMap<u32, Days>,
}

/// Segments by day, in order.
#[derive(Default)]
struct Days(Vec<(i32, u32)>);

/// The day in the middle of an interval.
pub(crate) fn day(interval: segment::Interval) -> i32 {
    let middle = interval.start / 2 + interval.end / 2;
    middle.div_euclid(DAY_MS).clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32
}

impl Spread {
    pub fn add(&mut self, datasource: u32, day: i32) {
        self.all.add(day);
        self.by_datasource.entry(datasource).or_default().add(day);
    }

    pub fn remove(&mut self, datasource: u32, day: i32) {
        self.all.remove(day);
        if let Some(days) = self.by_datasource.get_mut(&datasource) {
            days.remove(day);
            if days.0.is_empty() {
                self.by_datasource.remove(&datasource);
            }
        }
    }

    /// What a segment of that day costs here. One that is here counts itself: [`Spread::ITSELF`].
    pub fn cost(&self, datasource: u32, day: i32) -> f64 {
        self.all.near(day) + self.by_datasource.get(&datasource).map_or(0.0, |days| days.near(day))
    }

    pub const ITSELF: f64 = 2.0;
}

impl Days {
    fn add(&mut self, day: i32) {
        match self.0.binary_search_by_key(&day, |(day, _)| *day) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (day, 1)),
        }
    }

    fn remove(&mut self, day: i32) {
        if let Ok(at) = self.0.binary_search_by_key(&day, |(day, _)| *day) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }

    fn near(&self, day: i32) -> f64 {
        let from = self.0.partition_point(|(other, _)| *other < day - REACH_DAYS);
        let within = self.0[from..].iter().take_while(|(other, _)| *other <= day + REACH_DAYS);
        within.map(|(other, count)| f64::from(*count) / f64::from(1u32 << (other - day).unsigned_abs())).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_cost_is_that_of_each_segment_by_itself(
            here in prop::collection::vec((0u32..3, 0i32..40), 0..60),
            gone in prop::collection::vec((0u32..3, 0i32..40), 0..30),
            (datasource, day) in (0u32..3, 0i32..40),
        ) {
            let mut spread = Spread::default();
            here.iter().chain(&gone).for_each(|(datasource, day)| spread.add(*datasource, *day));
            gone.iter().for_each(|(datasource, day)| spread.remove(*datasource, *day));
            let weight = |(other, at): &(u32, i32)| {
                let days = (at - day).abs();
                let decay = if days > REACH_DAYS { 0.0 } else { 0.5f64.powi(days) };
                decay * if *other == datasource { 2.0 } else { 1.0 }
            };
            let expected: f64 = here.iter().map(weight).sum();
            prop_assert!((spread.cost(datasource, day) - expected).abs() < 1e-6);
        }
    }
}
