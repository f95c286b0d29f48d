//! Instants, intervals and granularities. Instants are milliseconds since 1970 UTC, as `i64`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Result;

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
        let _ = text;
        todo!()
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
        let _ = intervals;
        todo!()
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", format_timestamp(self.start), format_timestamp(self.end))
    }
}

/// How time is cut into buckets.
#[derive(Debug, Clone, PartialEq)]
pub enum Granularity {
    All,
    /// Buckets of one millisecond.
    None,
    Duration { millis: i64, origin: i64 },
    Period(Period),
}

/// A calendar period in a time zone, counted from an origin. Private fields: owner decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Period {}

impl Granularity {
    /// Druid's string and object forms. Errors name the value and the valid ones.
    pub fn from_json(json: &serde_json::Value) -> Result<Granularity> {
        let _ = json;
        todo!()
    }

    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }

    /// An ISO period (`PT1H`) in a zone (`UTC`, IANA name or offset), from an origin (default: 1970 in that zone).
    pub fn period(period: &str, zone: &str, origin: Option<i64>) -> Result<Granularity> {
        let _ = (period, zone, origin);
        todo!()
    }

    /// Start of the bucket that holds `t`. `All` gives `Interval::ETERNITY.start`.
    pub fn floor(&self, t: i64) -> i64 {
        let _ = t;
        todo!()
    }

    /// Start of the bucket after the one that starts at `start`. `All` gives `Interval::ETERNITY.end`.
    pub fn next(&self, start: i64) -> i64 {
        let _ = start;
        todo!()
    }

    pub fn bucket(&self, t: i64) -> Interval {
        let start = self.floor(t);
        Interval { start, end: self.next(start) }
    }

    /// `floor` of many instants; fast for runs in the same bucket. `out` is as long as `times`.
    pub fn floor_all(&self, times: &[i64], out: &mut [i64]) {
        let _ = (times, out);
        todo!()
    }

    /// The zone that timestamps of results are printed in; `None` is UTC.
    pub fn zone(&self) -> Option<&str> {
        todo!()
    }
}

/// ISO 8601 with Joda's leniency, UTC where no zone is given.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let _ = text;
    todo!()
}

/// `2016-06-27T00:00:00.000Z`; years beyond 9999 get a sign and more digits, as Joda prints them.
pub fn format_timestamp(t: i64) -> String {
    let _ = t;
    todo!()
}

/// As [`format_timestamp`] in a zone, with its offset (`…-07:00`). `None` is UTC.
pub fn format_timestamp_in(t: i64, zone: Option<&str>) -> String {
    let _ = (t, zone);
    todo!()
}
