//! ISO 8601 periods (`P1M`, `PT1H30M`): amounts of calendar and clock units to add to an instant.

use std::fmt;

use super::civil::{Civil, MILLIS_PER_DAY, MILLIS_PER_HOUR, MILLIS_PER_MINUTE, MILLIS_PER_SECOND, MILLIS_PER_WEEK};
use super::zone::Zone;
use crate::error::{Error, Result};

/// A period. Each field is within `i32`, as Joda's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    pub years: i64,
    pub months: i64,
    pub weeks: i64,
    pub days: i64,
    pub hours: i64,
    pub minutes: i64,
    pub seconds: i64,
    pub millis: i64,
}

impl Span {
    /// `P[nY][nM][nW][nD][T[nH][nM][n[.n]S]]`, each number with an optional sign.
    pub fn parse(text: &str) -> Result<Span> {
        parse(text.trim().as_bytes())
            .ok_or_else(|| Error::invalid(format!("[{text}] is not an ISO 8601 period such as PT1H, P1D or P3M")))
    }

    pub fn is_zero(&self) -> bool {
        *self == Span::default()
    }

    /// How many of the eight units are used.
    pub(super) fn units(&self) -> usize {
        self.fields().iter().filter(|(value, _)| *value != 0).count()
    }

    pub(super) fn has_negative(&self) -> bool {
        self.fields().iter().any(|(value, _)| *value < 0)
    }

    fn fields(&self) -> [(i64, char); 8] {
        [
            (self.years, 'Y'),
            (self.months, 'M'),
            (self.weeks, 'W'),
            (self.days, 'D'),
            (self.hours, 'H'),
            (self.minutes, 'M'),
            (self.seconds, 'S'),
            (self.millis, 'S'),
        ]
    }

    /// Its length where days have 24 hours; `None` if it has months or years.
    pub fn millis(&self) -> Option<i64> {
        (self.years == 0 && self.months == 0)
            .then(|| self.weeks * MILLIS_PER_WEEK + self.days * MILLIS_PER_DAY + self.clock())
    }

    /// The part below days, in milliseconds.
    pub(super) fn clock(&self) -> i64 {
        self.hours * MILLIS_PER_HOUR + self.minutes * MILLIS_PER_MINUTE + self.seconds * MILLIS_PER_SECOND + self.millis
    }

    /// Its length with months of 30.4 days: only for estimates.
    pub fn millis_about(&self) -> i64 {
        let months = self.years.saturating_mul(12).saturating_add(self.months);
        let rest = Span { years: 0, months: 0, ..*self }.millis().unwrap_or(0);
        months.saturating_mul(2_629_746_000).saturating_add(rest)
    }

    /// `t` and `times` periods more (or less, if negative), in the local time of a zone. Saturates.
    pub fn add(&self, t: i64, times: i64, zone: &Zone) -> i64 {
        let mut at = t;
        let months = self.years.saturating_mul(12).saturating_mul(times);
        for months in [months, self.months.saturating_mul(times)] {
            if months != 0 {
                let local = Civil::from_millis(zone.to_local(at)).add_months(months);
                at = zone.to_utc(local.to_millis(), at);
            }
        }
        let days = self.weeks.saturating_mul(7).saturating_add(self.days).saturating_mul(times);
        if days != 0 {
            let local = zone.to_local(at).saturating_add(days.saturating_mul(MILLIS_PER_DAY));
            at = zone.to_utc(local, at);
        }
        at.saturating_add(self.clock().saturating_mul(times))
    }
}

fn parse(bytes: &[u8]) -> Option<Span> {
    let (negate, bytes) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, bytes),
    };
    let rest = bytes.strip_prefix(b"P").or_else(|| bytes.strip_prefix(b"p"))?;
    let mut span = Span::default();
    let (mut at, mut in_time, mut rank, mut any) = (0, false, 0, false);
    while at < rest.len() {
        if rest[at].eq_ignore_ascii_case(&b'T') && !in_time {
            in_time = true;
            at += 1;
            if at == rest.len() {
                return None;
            }
            continue;
        }
        let negative = rest[at] == b'-';
        at += usize::from(matches!(rest[at], b'-' | b'+'));
        let (value, digits) = digits(&rest[at..])?;
        at += digits;
        let mut fraction = None;
        if in_time && matches!(rest.get(at), Some(b'.' | b',')) {
            let length = rest[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            let shown = &rest[at + 1..at + 1 + length];
            fraction = Some((0..3).fold(0, |n, i| n * 10 + shown.get(i).map_or(0, |b| i64::from(b - b'0'))));
            at += 1 + length;
        }
        let sign = if negative != negate { -1 } else { 1 };
        let (order, field) = match (rest.get(at)?.to_ascii_uppercase(), in_time) {
            (b'Y', false) => (1, &mut span.years),
            (b'M', false) => (2, &mut span.months),
            (b'W', false) => (3, &mut span.weeks),
            (b'D', false) => (4, &mut span.days),
            (b'H', true) => (5, &mut span.hours),
            (b'M', true) => (6, &mut span.minutes),
            (b'S', true) => (7, &mut span.seconds),
            _ => return None,
        };
        if order <= rank || (fraction.is_some() && order != 7) {
            return None;
        }
        *field = sign * value;
        if let Some(millis) = fraction {
            span.millis = sign * millis;
        }
        rank = order;
        any = true;
        at += 1;
    }
    any.then_some(span)
}

fn digits(bytes: &[u8]) -> Option<(i64, usize)> {
    let length = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 || length > 10 {
        return None;
    }
    let value = bytes[..length].iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    (value <= i64::from(i32::MAX)).then_some((value, length))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        let fields = self.fields();
        for (value, unit) in &fields[..4] {
            if *value != 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        if self.hours == 0 && self.minutes == 0 && self.seconds == 0 && self.millis == 0 {
            return if self.is_zero() { f.write_str("T0S") } else { Ok(()) };
        }
        f.write_str("T")?;
        for (value, unit) in &fields[4..6] {
            if *value != 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        match (self.seconds, self.millis) {
            (0, 0) => Ok(()),
            (seconds, 0) => write!(f, "{seconds}S"),
            (seconds, millis) => {
                let total = seconds * 1000 + millis;
                let sign = if total < 0 { "-" } else { "" };
                write!(f, "{sign}{}.{:03}S", total.abs() / 1000, total.abs() % 1000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{format_timestamp, parse_timestamp};

    #[test]
    fn reads_and_prints() {
        for text in ["PT1H", "P1Y2M3W4DT5H6M7S", "PT0.500S", "P2147483647D", "PT0S", "P-1D", "P1M"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Span::parse("-p1dt2h").unwrap().to_string(), "P-1DT-2H");
        for text in ["", "P", "PT", "1H", "P1H", "PT1D", "P1D2M", "P99999999999D", "P1.5D", "PT1H1H", "P1"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn adds_in_local_time() {
        let zone = Zone::parse("America/Los_Angeles").unwrap();
        let add = |t: &str, span: &str, times| {
            format_timestamp(Span::parse(span).unwrap().add(parse_timestamp(t).unwrap(), times, &zone))
        };
        assert_eq!(add("2016-03-12T08:00:00Z", "P1D", 1), "2016-03-13T08:00:00.000Z");
        assert_eq!(add("2016-03-13T08:00:00Z", "P1D", 1), "2016-03-14T07:00:00.000Z");
        assert_eq!(add("2016-03-13T08:00:00Z", "PT24H", 1), "2016-03-14T08:00:00.000Z");
        assert_eq!(add("2016-01-31T08:00:00Z", "P1M", 1), "2016-02-29T08:00:00.000Z");
        assert_eq!(add("2016-03-31T07:00:00Z", "P1M", -1), "2016-02-29T08:00:00.000Z");
        assert_eq!(
            Span::parse("P2147483647Y").unwrap().add(0, i64::MAX, &Zone::Utc),
            Civil { year: 292_000_000, month: 1, day: 1, millis: 0 }.to_millis()
        );
    }
}
