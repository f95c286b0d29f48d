//! Granularities: of fixed length, from an origin, and by the calendars of zones, with a change of clocks among them.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::answer::iso;
use super::{BASE, DAY, HOUR, MINUTE};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bucket {
    All,
    None,
    /// One of [`NAMED`].
    Named(usize),
    Day,
    /// Of this length from an instant, as a duration or as a period.
    From {
        millis: i64,
        origin: i64,
        period: bool,
    },
    Zoned(Zone, Step),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Zone {
    Kolkata,
    Berlin,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    Every(i64),
    By(Step),
}

/// Granularities by their names.
const NAMED: [(&str, Cut); 14] = [
    ("second", Cut::Every(MINUTE / 60)),
    ("minute", Cut::Every(MINUTE)),
    ("five_minute", Cut::Every(5 * MINUTE)),
    ("ten_minute", Cut::Every(10 * MINUTE)),
    ("fifteen_minute", Cut::Every(15 * MINUTE)),
    ("thirty_minute", Cut::Every(30 * MINUTE)),
    ("hour", Cut::Every(HOUR)),
    ("six_hour", Cut::Every(6 * HOUR)),
    ("eight_hour", Cut::Every(8 * HOUR)),
    ("day", Cut::Every(DAY)),
    ("week", Cut::By(Step::Week)),
    ("month", Cut::By(Step::Month)),
    ("quarter", Cut::By(Step::Quarter)),
    ("year", Cut::By(Step::Year)),
];

/// 2026-03-29 01:00 UTC.
const CLOCKS_FORWARD: i64 = BASE + DAY + HOUR;
/// 2026-03-01.
const MONTH_START: i64 = BASE - 27 * DAY;
/// 2026-01-01, of the year and of the quarter.
const YEAR_START: i64 = BASE - 86 * DAY;

impl Step {
    /// Where the step of a local time starts.
    fn start(self, local: i64) -> i64 {
        match self {
            Step::Hour => local - local.rem_euclid(HOUR),
            Step::Day => local - local.rem_euclid(DAY),
            // 1970 began on a Thursday, weeks begin on Mondays.
            Step::Week => local - (local + 3 * DAY).rem_euclid(7 * DAY),
            Step::Month => MONTH_START,
            Step::Quarter | Step::Year => YEAR_START,
        }
    }
}

impl Zone {
    pub(super) fn name(self) -> &'static str {
        match self {
            Zone::Kolkata => "Asia/Kolkata",
            Zone::Berlin => "Europe/Berlin",
        }
    }

    /// Of the day.
    pub(super) fn hour(self, time: i64) -> i64 {
        (time + self.offset(time)).rem_euclid(DAY) / HOUR
    }

    fn offset(self, time: i64) -> i64 {
        match self {
            Zone::Kolkata => 5 * HOUR + 30 * MINUTE,
            Zone::Berlin if time < CLOCKS_FORWARD => HOUR,
            Zone::Berlin => 2 * HOUR,
        }
    }
}

impl Bucket {
    pub(super) fn random(rng: &mut SmallRng) -> Bucket {
        let zone = *[Zone::Kolkata, Zone::Berlin].choose(rng).expect("there are zones");
        match rng.random_range(0..12) {
            0..4 => Bucket::All,
            10 => Bucket::None,
            4 | 11 => Bucket::Named(rng.random_range(0..NAMED.len())),
            5 => Bucket::Day,
            6 => Bucket::From { millis: 6 * HOUR, origin: 0, period: false },
            7 => Bucket::From { millis: 7 * HOUR, origin: BASE + 2 * HOUR, period: rng.random_bool(0.5) },
            _ => Bucket::Zoned(
                zone,
                *[Step::Hour, Step::Day, Step::Week, Step::Month, Step::Quarter, Step::Year]
                    .choose(rng)
                    .expect("there are steps"),
            ),
        }
    }

    pub(super) fn json(self) -> Json {
        match self {
            Bucket::All => json!("all"),
            Bucket::None => json!("none"),
            Bucket::Named(at) => json!(NAMED[at].0),
            Bucket::Day => json!({"type": "period", "period": "P1D"}),
            Bucket::From { millis, origin, period: false } => {
                json!({"type": "duration", "duration": millis, "origin": iso(origin)})
            }
            Bucket::From { millis, origin, .. } => {
                json!({"type": "period", "period": format!("PT{}H", millis / HOUR), "origin": iso(origin)})
            }
            Bucket::Zoned(zone, step) => {
                let period = match step {
                    Step::Hour => "PT1H",
                    Step::Day => "P1D",
                    Step::Week => "P1W",
                    Step::Month => "P1M",
                    Step::Quarter => "P3M",
                    Step::Year => "P1Y",
                };
                json!({"type": "period", "period": period, "timeZone": zone.name()})
            }
        }
    }

    /// Where the bucket of a time starts; all of time does where `all` says.
    pub(super) fn start(self, time: i64, all: i64) -> i64 {
        match self {
            Bucket::All => all,
            Bucket::None => time,
            Bucket::Named(at) => match NAMED[at].1 {
                Cut::Every(millis) => time - time.rem_euclid(millis),
                Cut::By(step) => step.start(time),
            },
            Bucket::Day => time - time.rem_euclid(DAY),
            Bucket::From { millis, origin, .. } => time - (time - origin).rem_euclid(millis),
            Bucket::Zoned(zone, step) => {
                let local = step.start(time + zone.offset(time));
                // The clocks may have gone forward since.
                [time, time - 40 * DAY]
                    .map(|at| local - zone.offset(at))
                    .into_iter()
                    .find(|start| start + zone.offset(*start) == local)
                    .expect("no bucket starts in the hour that is left out")
            }
        }
    }

    pub(super) fn shown(self, time: i64) -> String {
        let Bucket::Zoned(zone, _) = self else { return iso(time) };
        let offset = zone.offset(time);
        let (hours, minutes) = (offset / HOUR, offset % HOUR / MINUTE);
        iso(time + offset).replace('Z', &format!("+{hours:02}:{minutes:02}"))
    }
}
