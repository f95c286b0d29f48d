//! Calendar buckets: a period in a time zone, counted from an origin, as Druid's period granularity counts.
//!
//! 1. A single unit without an origin starts where its unit does locally: midnight, Monday, the first of the month.
//! 2. Several units of a kind, or an origin, count from the origin (1970 in the zone): days and longer in local time,
//!    hours and shorter in elapsed time.
//! 3. Several kinds of units (`P1M3D`) step from the origin one period after the other.
//!
//! Whatever needs no calendar (anything up to weeks in UTC or at a fixed offset) is plain arithmetic.

use std::sync::{Arc, Mutex};

use super::civil::{Civil, MILLIS_PER_DAY, MILLIS_PER_HOUR, MILLIS_PER_MINUTE, MILLIS_PER_SECOND, MILLIS_PER_WEEK};
use super::granularity::floor_fixed;
use super::span::Span;
use super::zone::Zone;
use crate::error::{Error, Result};

/// A calendar period in a time zone, counted from an origin.
#[derive(Debug, Clone)]
pub struct Period {
    span: Span,
    zone: Zone,
    origin: Option<i64>,
    cut: Cut,
}

#[derive(Debug, Clone)]
enum Cut {
    /// Multiples of `millis` from `origin`, in elapsed time.
    Fixed {
        millis: i64,
        origin: i64,
    },
    /// A clock unit of local time, in a zone whose offset changes.
    Clock {
        millis: i64,
    },
    /// Multiples of `millis` (whole days) from `origin`, both in local time.
    Days {
        millis: i64,
        origin: i64,
    },
    /// Multiples of `count` months from a local time. Whether it is the start of a month spares a search in UTC.
    Months {
        count: i64,
        origin: Civil,
        aligned: bool,
    },
    Chain(Chain),
}

impl PartialEq for Period {
    fn eq(&self, other: &Period) -> bool {
        self.span == other.span && self.zone == other.zone && self.origin == other.origin
    }
}

/// Monday 1969-12-29.
const MONDAY: i64 = -3 * MILLIS_PER_DAY;

impl Period {
    pub fn new(span: Span, zone: Zone, origin: Option<i64>) -> Result<Period> {
        if span.is_zero() {
            return Err(Error::invalid("granularity.period must not be zero"));
        }
        if span.has_negative() {
            return Err(Error::invalid(format!("granularity.period [{span}] must not be negative")));
        }
        let from = origin.unwrap_or_else(|| zone.to_utc(0, 0));
        let cut = cut(&span, &zone, origin.is_some(), from);
        Ok(Period { span, zone, origin, cut })
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The origin that was asked for.
    pub fn origin(&self) -> Option<i64> {
        self.origin
    }

    pub fn floor(&self, t: i64) -> i64 {
        match &self.cut {
            Cut::Fixed { millis, origin } => floor_fixed(t, *millis, *origin),
            Cut::Clock { millis } => self.floor_clock(t, *millis),
            Cut::Days { .. } => self.start_before(t),
            Cut::Months { count, origin, aligned } if *aligned && self.zone.is_utc() => {
                origin.add_months(passed(t, *count, *origin)).to_millis()
            }
            Cut::Months { .. } => self.start_before(t),
            Cut::Chain(chain) => chain.bucket(t, &self.span, &self.zone).0,
        }
    }

    /// The local start, in milliseconds, of the bucket that is `steps` away from the one of the local time `local`.
    /// A day of the month that was cut to a shorter month may make it the one after.
    fn local_start(&self, local: i64, steps: i64) -> i64 {
        match &self.cut {
            Cut::Days { millis, origin } => floor_fixed(local, *millis, *origin).saturating_add(steps * millis),
            Cut::Months { count, origin, .. } => {
                origin.add_months(passed(local, *count, *origin).saturating_add(steps * count)).to_millis()
            }
            Cut::Fixed { .. } | Cut::Clock { .. } | Cut::Chain(_) => local,
        }
    }

    /// The last start of a bucket that is not after `t`. A local start that comes twice starts a bucket each time, even
    /// where the clock then runs through the end of the bucket before again: buckets follow one another in time.
    fn start_before(&self, t: i64) -> i64 {
        let offset = self.zone.offset_at(t);
        let local = t.saturating_add(offset);
        let near = self.local_start(local, 0).saturating_sub(offset);
        if near <= t && t - near < MILLIS_PER_DAY && self.zone.offset_at(near) == offset {
            return near;
        }
        let starts = [1, 0, -1].map(|steps| self.zone.instants(self.local_start(local, steps)));
        let not_after = starts.into_iter().flatten().filter(|start| *start <= t);
        not_after.max().unwrap_or(t)
    }

    /// Start of the bucket after the one that starts at `start`.
    pub fn next(&self, start: i64) -> i64 {
        match &self.cut {
            Cut::Fixed { millis, .. } => start.saturating_add(*millis),
            Cut::Clock { millis } => self.next_clock(start, *millis),
            Cut::Days { .. } | Cut::Months { .. } => {
                let local = self.zone.to_local(start);
                let starts = [0, 1, 2].map(|steps| self.zone.instants(self.local_start(local, steps)));
                let after = starts.into_iter().flatten().filter(|next| *next > start);
                after.min().unwrap_or(i64::MAX)
            }
            Cut::Chain(chain) => chain.bucket(start, &self.span, &self.zone).1,
        }
    }

    /// Whether the bucket of an instant is found only by stepping from the origin.
    pub fn steps(&self) -> bool {
        matches!(self.cut, Cut::Chain(_))
    }

    /// Where the offset changes inside a local hour (by half an hour, say), a bucket starts.
    fn floor_clock(&self, t: i64, millis: i64) -> i64 {
        let offset = self.zone.offset_at(t);
        let start = floor_fixed(t.saturating_add(offset), millis, 0).saturating_sub(offset);
        if self.zone.offset_at(start) == offset {
            return start;
        }
        let (mut other, mut same) = (start, t);
        while same - other > 1 {
            let middle = other + (same - other) / 2;
            if self.zone.offset_at(middle) == offset { same = middle } else { other = middle }
        }
        same
    }

    /// A change of the offset inside a local hour (by half an hour, say) ends the bucket there.
    fn next_clock(&self, start: i64, millis: i64) -> i64 {
        let next = start.saturating_add(millis);
        if self.floor_clock(next.saturating_sub(1), millis) == start {
            return next;
        }
        let (mut inside, mut beyond) = (start, next);
        while beyond - inside > 1 {
            let middle = inside + (beyond - inside) / 2;
            if self.floor_clock(middle, millis) == start { inside = middle } else { beyond = middle }
        }
        beyond
    }
}

/// The months from `origin` to the last multiple of `count` from it that is not after the local time's month.
fn passed(local: i64, count: i64, origin: Civil) -> i64 {
    (Civil::from_millis(local).month_index() - origin.month_index()).div_euclid(count) * count
}

fn cut(span: &Span, zone: &Zone, has_origin: bool, origin: i64) -> Cut {
    if span.units() > 1 {
        return match (span.millis(), zone.fixed()) {
            (Some(millis), Some(_)) => Cut::Fixed { millis, origin },
            (Some(millis), None) if span.weeks == 0 && span.days == 0 => Cut::Fixed { millis, origin },
            _ => Cut::Chain(Chain::new(origin)),
        };
    }
    let months = span.years * 12 + span.months;
    if months > 0 {
        let single = !has_origin && (span.years == 1 || span.months == 1);
        let origin = Civil::from_millis(if single { 0 } else { zone.to_local(origin) });
        return Cut::Months { count: months, origin, aligned: origin.day == 1 && origin.millis == 0 };
    }
    let days = span.weeks * 7 + span.days;
    if days > 0 {
        let millis = days * MILLIS_PER_DAY;
        let local = match has_origin {
            false if millis == MILLIS_PER_WEEK && span.weeks == 1 => MONDAY,
            false => 0,
            true => zone.to_local(origin),
        };
        return match zone.fixed() {
            Some(offset) => Cut::Fixed { millis, origin: local.saturating_sub(offset) },
            None => Cut::Days { millis, origin: local },
        };
    }
    let millis = span.clock();
    let single = [MILLIS_PER_HOUR, MILLIS_PER_MINUTE, MILLIS_PER_SECOND, 1].contains(&millis);
    match zone.fixed() {
        None if single && !has_origin && millis > MILLIS_PER_SECOND => Cut::Clock { millis },
        _ => Cut::Fixed { millis, origin },
    }
}

/// Starts of buckets that can only be found by stepping from the origin. Every `STRIDE`th is kept, so that a search walks
/// less than `STRIDE` steps once the way has been walked.
#[derive(Debug, Clone)]
struct Chain {
    origin: i64,
    marks: Arc<Mutex<Marks>>,
}

#[derive(Debug)]
struct Marks {
    /// Starts number 0, `STRIDE`, … from the origin on, and back from it.
    forward: Vec<i64>,
    backward: Vec<i64>,
}

const STRIDE: usize = 256;

/// Outside ±10,000 years around 1970 time is not cut: the first and last bucket have no end.
const CHAIN_REACH: i64 = 10_000 * 366 * MILLIS_PER_DAY;

impl Chain {
    fn new(origin: i64) -> Chain {
        Chain { origin, marks: Arc::new(Mutex::new(Marks { forward: vec![origin], backward: vec![origin] })) }
    }

    /// Start and end of the bucket that holds `t`.
    fn bucket(&self, t: i64, span: &Span, zone: &Zone) -> (i64, i64) {
        let mut marks = self.marks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if t >= self.origin {
            walk(&mut marks.forward, |at| span.add(at, 1, zone), |start, next| start <= t && t < next, |mark| mark <= t)
        } else {
            let (end, start) = walk(
                &mut marks.backward,
                |at| span.add(at, -1, zone),
                |end, start| start <= t && t < end,
                |mark| t < mark,
            );
            (start, end)
        }
    }
}

/// From the last mark before the place, steps until `found`.
fn walk(
    marks: &mut Vec<i64>,
    step: impl Fn(i64) -> i64,
    found: impl Fn(i64, i64) -> bool,
    before: impl Fn(i64) -> bool,
) -> (i64, i64) {
    let idx = marks.partition_point(|mark| before(*mark)).max(1) - 1;
    let mut steps = idx * STRIDE;
    let mut at = marks[idx];
    loop {
        let next = step(at);
        if found(at, next) {
            return (at, next);
        }
        if next == at || next.abs() > CHAIN_REACH {
            return (at, if next >= at { i64::MAX } else { i64::MIN });
        }
        at = next;
        steps += 1;
        if steps.is_multiple_of(STRIDE) && steps / STRIDE == marks.len() {
            marks.push(at);
        }
    }
}
