//! Instants, intervals and granularities. Instants are milliseconds since 1970 UTC, as `i64`.

pub mod civil;
mod granularity;
mod pattern;
mod period;
mod span;
mod text;
mod zone;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use granularity::Granularity;
pub use pattern::Pattern;
pub use period::Period;
pub use span::Span;
pub use text::{
    format_timestamp, format_timestamp_in, parse_timestamp, parse_timestamp_in, write_timestamp, write_timestamp_in,
};
pub use zone::Zone;

use crate::error::{Error, Result};

/// A half-open span of time, `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    pub start: i64,
    pub end: i64,
}

impl Interval {
    /// Druid's widest interval: half the range of `i64` either side of the epoch.
    pub const ETERNITY: Interval = Interval { start: i64::MIN / 2, end: i64::MAX / 2 };

    /// `start/end`, `start/period` or `period/end`, in ISO 8601 with Joda's leniency (`2016`, `2016-06`, `2016-W26`,
    /// no zone means UTC).
    pub fn parse(text: &str) -> Result<Interval> {
        let wrong = |part: &str| {
            Error::invalid(format!(
                "[{text}] is not an interval: [{part}] is neither an ISO 8601 time nor a period; write start/end, such as 2016-06-27/2016-06-28 or 2016-06-27/P1D"
            ))
        };
        let Some((left, right)) = text.split_once('/') else {
            return Err(Error::invalid(format!(
                "[{text}] is not an interval: write start/end, such as 2016-06-27/2016-06-28 or 2016-06-27/P1D"
            )));
        };
        let (left, right) = (left.trim(), right.trim());
        let is_period = |part: &str| part.trim_start_matches('-').starts_with(['P', 'p']);
        let instant = |part: &str| parse_timestamp(part).ok_or_else(|| wrong(part));
        let span = |part: &str| Span::parse(part).map_err(|_| wrong(part));
        let interval = match (is_period(left), is_period(right)) {
            (true, true) => {
                return Err(Error::invalid(format!("[{text}] is not an interval: only one side may be a period")));
            }
            (true, false) => {
                let end = instant(right)?;
                Interval { start: span(left)?.add(end, -1, &Zone::Utc), end }
            }
            (false, true) => {
                let start = instant(left)?;
                Interval { start, end: span(right)?.add(start, 1, &Zone::Utc) }
            }
            (false, false) => Interval { start: instant(left)?, end: instant(right)? },
        };
        if interval.end < interval.start {
            return Err(Error::invalid(format!("interval [{text}] ends before it starts")));
        }
        Ok(interval)
    }

    pub fn contains(&self, t: i64) -> bool {
        self.start <= t && t < self.end
    }

    pub fn overlaps(&self, other: &Interval) -> bool {
        self.start < other.end && other.start < self.end
    }

    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The part both have; empty (`start >= end`) if none.
    pub fn intersect(&self, other: &Interval) -> Interval {
        Interval { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Sorted, with overlapping and abutting intervals made one, empty ones dropped.
    pub fn merge(intervals: &[Interval]) -> Vec<Interval> {
        let mut sorted: Vec<Interval> = intervals.iter().copied().filter(|i| !i.is_empty()).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Interval> = Vec::with_capacity(sorted.len());
        for next in sorted {
            match merged.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => merged.push(next),
            }
        }
        merged
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", format_timestamp(self.start), format_timestamp(self.end))
    }
}

#[cfg(test)]
mod tests;
