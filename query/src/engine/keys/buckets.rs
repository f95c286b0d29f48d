//! The time buckets of a query, as places in a list.

use segment::time::Granularity;

/// Time buckets up to this many are listed.
const BUCKETS_MAX: usize = 1 << 20;

/// The time buckets that the data can touch, in order.
pub struct Buckets {
    pub starts: Vec<i64>,
    /// Their length, if it is the same for all and none is left out.
    step: Option<i64>,
}

impl Buckets {
    /// `None` if they are too many to be listed. `ranges` are inclusive.
    pub fn of(granularity: &Granularity, ranges: &[(i64, i64)]) -> Option<Buckets> {
        let mut starts = Vec::new();
        let mut done: Option<i64> = None;
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        for (low, high) in ranges {
            let mut start = granularity.floor(low);
            if let Some(done) = done {
                start = start.max(granularity.next(done));
            }
            while start <= high {
                if starts.len() == BUCKETS_MAX {
                    return None;
                }
                starts.push(start);
                done = Some(start);
                let next = granularity.next(start);
                if next <= start {
                    break;
                }
                start = next;
            }
        }
        let step = match starts[..] {
            [first, second, ..] => Some(second - first).filter(|s| starts.windows(2).all(|w| w[1] - w[0] == *s)),
            _ => None,
        };
        Some(Buckets { starts, step })
    }

    /// The bucket that holds a time of the ranges.
    pub fn of_time(&self, t: i64) -> usize {
        match self.step {
            // The last one may be longer than those before it: a day after the clocks went forward.
            Some(step) => (((t - self.starts[0]) / step) as usize).min(self.starts.len() - 1),
            None => self.starts.partition_point(|start| *start <= t) - 1,
        }
    }

    /// The end of a bucket as far as it is known: times from here on are in later ones.
    pub fn end(&self, bucket: usize) -> i64 {
        self.starts.get(bucket + 1).copied().unwrap_or(i64::MAX)
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_where_days_differ_in_length() {
        const HOUR: i64 = 3_600_000;
        // 2026-03-29 in Berlin has 23 hours, the day after it 24.
        let first = 1_774_738_800_000;
        let days = Granularity::period("P1D", "Europe/Berlin", None).unwrap();
        let buckets = Buckets::of(&days, &[(first, first + 46 * HOUR)]).unwrap();
        assert_eq!(buckets.starts, [first, first + 23 * HOUR]);
        for hour in 0..47 {
            assert_eq!(buckets.of_time(first + hour * HOUR), usize::from(hour >= 23), "{hour}");
        }
    }
}
