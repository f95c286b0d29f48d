//! Instants as ISO 8601 text, with Joda's leniency. Parsing has a fast path for the common full form, because every
//! ingested event pays it.

use super::civil::{self, Civil, MILLIS_PER_DAY};
use super::zone::{Zone, offset_name, parse_offset};

/// ISO 8601 with Joda's leniency, UTC where no zone is given: date parts may be left out from the right, months and
/// days may have one digit, `2016-W26-1` and `2016-179` work, a space may stand for the `T`.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    parse_common(text.as_bytes()).or_else(|| parse_lenient(text.as_bytes(), &Zone::Utc))
}

/// As [`parse_timestamp`], but text without an offset is local time of `zone`.
pub fn parse_timestamp_in(text: &str, zone: &Zone) -> Option<i64> {
    if zone.is_utc() { parse_timestamp(text) } else { parse_lenient(text.as_bytes(), zone) }
}

/// `dddd-dd-ddTdd:dd:dd[.d+][Z]`; `None` also for what only [`parse_lenient`] knows.
fn parse_common(b: &[u8]) -> Option<i64> {
    if b.len() < 19
        || b[4] != b'-'
        || b[7] != b'-'
        || (b[10] != b'T' && b[10] != b' ')
        || b[13] != b':'
        || b[16] != b':'
    {
        return None;
    }
    let mut wrong = 0u8;
    let mut digit = |at: usize| -> u32 {
        let d = b[at].wrapping_sub(b'0');
        wrong |= u8::from(d > 9);
        u32::from(d)
    };
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    let month = digit(5) * 10 + digit(6);
    let day = digit(8) * 10 + digit(9);
    let hour = digit(11) * 10 + digit(12);
    let minute = digit(14) * 10 + digit(15);
    let second = digit(17) * 10 + digit(18);
    if wrong != 0 || month.wrapping_sub(1) > 11 || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day > 28 && day > civil::days_in_month(i64::from(year), month) {
        return None;
    }
    let mut millis = 0u32;
    let mut at = 19;
    if b.len() > 19 && b[19] == b'.' {
        at = 20;
        let mut scale = 100;
        while at < b.len() && b[at].is_ascii_digit() {
            millis += u32::from(b[at] - b'0') * scale;
            scale /= 10;
            at += 1;
        }
        if at == 20 {
            return None;
        }
    }
    if !(at == b.len() || (at + 1 == b.len() && b[at] == b'Z')) {
        return None;
    }
    let days = days_fast(year, month, day);
    let seconds = hour * 3600 + minute * 60 + second;
    Some(days * MILLIS_PER_DAY + i64::from(seconds) * 1000 + i64::from(millis))
}

/// Days of a year between 0 and 9999.
fn days_fast(year: u32, month: u32, day: u32) -> i64 {
    let (y, m) = if month <= 2 { (year + 399, month + 9) } else { (year + 400, month - 3) };
    let century = y / 100;
    let days = 365 * y + y / 4 - century + century / 4 + (153 * m + 2) / 5 + day - 1;
    i64::from(days) - 719_468 - 146_097
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek().is_some_and(|b| b.eq_ignore_ascii_case(&byte));
        self.at += usize::from(found);
        found
    }

    /// Up to `digits_max` digits, and how many there were.
    fn number(&mut self, digits_max: usize) -> Option<(i64, usize)> {
        let (start, mut value) = (self.at, 0i64);
        while self.at - start < digits_max
            && let Some(b @ b'0'..=b'9') = self.peek()
        {
            value = value * 10 + i64::from(b - b'0');
            self.at += 1;
        }
        (self.at > start).then_some((value, self.at - start))
    }

    fn within(&mut self, digits_max: usize, low: i64, high: i64) -> Option<i64> {
        let (value, _) = self.number(digits_max)?;
        (low..=high).contains(&value).then_some(value)
    }

    /// After a point or comma: digits as a part of `unit` milliseconds.
    fn fraction(&mut self, unit: i64) -> Option<i64> {
        if !(self.eat(b'.') || self.eat(b',')) {
            return Some(0);
        }
        let (mut numerator, mut denominator, mut any) = (0i128, 1i128, false);
        while let Some(b @ b'0'..=b'9') = self.peek() {
            if denominator < 1_000_000_000_000 {
                numerator = numerator * 10 + i128::from(b - b'0');
                denominator *= 10;
            }
            any = true;
            self.at += 1;
        }
        any.then(|| (numerator * i128::from(unit) / denominator) as i64)
    }
}

fn parse_lenient(bytes: &[u8], zone: &Zone) -> Option<i64> {
    let mut cursor = Cursor { bytes: bytes.trim_ascii(), at: 0 };
    let days = if cursor.peek().is_some_and(|b| b == b'T' || b == b't') { 0 } else { date(&mut cursor)? };
    let mut millis = 0;
    if cursor.eat(b'T') || cursor.eat(b' ') {
        millis = time_of_day(&mut cursor)?;
    }
    let local = days.checked_mul(MILLIS_PER_DAY)?.checked_add(millis)?;
    let rest = &cursor.bytes[cursor.at..];
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    match rest {
        b"" => Some(zone.to_utc(local, local)),
        b"Z" | b"z" | b"UTC" => Some(local),
        _ => local.checked_sub(parse_offset(rest)?),
    }
}

fn date(cursor: &mut Cursor) -> Option<i64> {
    let negative = cursor.eat(b'-');
    if !negative {
        cursor.eat(b'+');
    }
    let (year, _) = cursor.number(9)?;
    let year = if negative { -year } else { year };
    if year.abs() > civil::YEAR_MAX {
        return None;
    }
    if !(cursor.peek() == Some(b'-')
        && cursor.bytes.get(cursor.at + 1).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'W' | b'w')))
    {
        return Some(civil::days_from_civil(year, 1, 1));
    }
    cursor.eat(b'-');
    if cursor.eat(b'W') {
        let week = cursor.within(2, 1, 53)?;
        let day = if cursor.eat(b'-') { cursor.within(1, 1, 7)? } else { 1 };
        let monday = civil::iso_year_start(year) + (week - 1) * 7;
        return (monday < civil::iso_year_start(year + 1)).then_some(monday + day - 1);
    }
    let (number, digits) = cursor.number(3)?;
    if digits == 3 {
        let last = if civil::is_leap(year) { 366 } else { 365 };
        return (1..=last).contains(&number).then(|| civil::days_from_civil(year, 1, 1) + number - 1);
    }
    if !(1..=12).contains(&number) {
        return None;
    }
    let month = number as u32;
    let day = if cursor.eat(b'-') { cursor.within(2, 1, i64::from(civil::days_in_month(year, month)))? } else { 1 };
    Some(civil::days_from_civil(year, month, day as u32))
}

/// What follows the `T`: nothing (`2016-01-01T`), or hours with optional finer parts.
fn time_of_day(cursor: &mut Cursor) -> Option<i64> {
    if !cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        return Some(0);
    }
    let mut millis = cursor.within(2, 0, 23)? * civil::MILLIS_PER_HOUR;
    if !cursor.eat(b':') {
        return Some(millis + cursor.fraction(civil::MILLIS_PER_HOUR)?);
    }
    millis += cursor.within(2, 0, 59)? * civil::MILLIS_PER_MINUTE;
    if !cursor.eat(b':') {
        return Some(millis + cursor.fraction(civil::MILLIS_PER_MINUTE)?);
    }
    millis += cursor.within(2, 0, 59)? * civil::MILLIS_PER_SECOND;
    Some(millis + cursor.fraction(civil::MILLIS_PER_SECOND)?)
}

/// `2016-06-27T00:00:00.000Z`. Years have at least four digits, and a minus sign before the common era.
pub fn format_timestamp(t: i64) -> String {
    let mut out = Vec::with_capacity(24);
    write_timestamp(t, &mut out);
    String::from_utf8(out).expect("digits and signs are ASCII")
}

/// As [`format_timestamp`] in a zone, with its offset (`…-07:00`). `None` is UTC, and so is a zone that does not exist.
pub fn format_timestamp_in(t: i64, zone: Option<&str>) -> String {
    let zone = zone.and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::Utc);
    let mut out = Vec::with_capacity(30);
    write_timestamp_in(t, &zone, &mut out);
    String::from_utf8(out).expect("digits and signs are ASCII")
}

/// Appends what [`format_timestamp`] gives.
pub fn write_timestamp(t: i64, out: &mut Vec<u8>) {
    write_local(t, out);
    out.push(b'Z');
}

/// Appends the local time of a zone with its offset, `Z` if that is none.
pub fn write_timestamp_in(t: i64, zone: &Zone, out: &mut Vec<u8>) {
    if zone.is_utc() {
        return write_timestamp(t, out);
    }
    let offset = zone.offset_at(t);
    write_local(t.saturating_add(offset), out);
    if offset == 0 {
        out.push(b'Z');
    } else {
        out.extend_from_slice(offset_name(offset).as_bytes());
    }
}

fn write_local(local: i64, out: &mut Vec<u8>) {
    let Civil { year, month, day, millis } = Civil::from_millis(local);
    if (0..=9999).contains(&year) {
        two(year as u32 / 100, out);
        two(year as u32 % 100, out);
    } else {
        if year < 0 {
            out.push(b'-');
        }
        out.extend_from_slice(format!("{:04}", year.abs()).as_bytes());
    }
    let (ms, seconds) = ((millis % 1000) as u32, (millis / 1000) as u32);
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    out.push(b'T');
    two(seconds / 3600, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    out.push(b'.');
    out.push(b'0' + (ms / 100) as u8);
    two(ms % 100, out);
}

fn two(n: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lenient_forms() {
        for (text, iso) in [
            ("2016", "2016-01-01T00:00:00.000Z"),
            ("2016-6", "2016-06-01T00:00:00.000Z"),
            ("2016-06-27", "2016-06-27T00:00:00.000Z"),
            ("2016-W26", "2016-06-27T00:00:00.000Z"),
            ("2016-W26-3", "2016-06-29T00:00:00.000Z"),
            ("2016-179", "2016-06-27T00:00:00.000Z"),
            ("2016-06-27T", "2016-06-27T00:00:00.000Z"),
            ("2016-06-27T13", "2016-06-27T13:00:00.000Z"),
            ("2016-06-27T13.5", "2016-06-27T13:30:00.000Z"),
            ("2016-06-27T13:05", "2016-06-27T13:05:00.000Z"),
            ("2016-06-27 13:05:06", "2016-06-27T13:05:06.000Z"),
            ("2016-06-27T13:05:06,7", "2016-06-27T13:05:06.700Z"),
            ("2016-06-27T13:05:06.123456789Z", "2016-06-27T13:05:06.123Z"),
            ("2016-06-27T13:05:06+02:00", "2016-06-27T11:05:06.000Z"),
            ("2016-06-27T13:05:06.5-0730", "2016-06-27T20:35:06.500Z"),
            ("-0044-03-15", "-0044-03-15T00:00:00.000Z"),
            ("T10", "1970-01-01T10:00:00.000Z"),
            ("146140482-04-24T15:36:27.903Z", "146140482-04-24T15:36:27.903Z"),
            ("-146136543-09-08T08:23:32.096Z", "-146136543-09-08T08:23:32.096Z"),
        ] {
            assert_eq!(parse_timestamp(text).map(format_timestamp).as_deref(), Some(iso), "{text}");
        }
        for text in [
            "",
            "x",
            "2016-13",
            "2016-02-30",
            "2016-06-27T24",
            "2016-06-27T13:60",
            "2016-W54",
            "2015-366",
            "2016-06-27T13:05:06.Z",
            "2016-06-27Z+",
            "2016-06-27T13:05:06+25:00",
            "9999999999",
            "2016-",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn local_times() {
        let zone = Zone::parse("America/Los_Angeles").unwrap();
        let text = |t| {
            let mut out = Vec::new();
            write_timestamp_in(t, &zone, &mut out);
            String::from_utf8(out).unwrap()
        };
        let t = parse_timestamp("2013-08-31T07:00:00Z").unwrap();
        assert_eq!(text(t), "2013-08-31T00:00:00.000-07:00");
        assert_eq!(format_timestamp_in(t, Some("America/Los_Angeles")), "2013-08-31T00:00:00.000-07:00");
        assert_eq!(parse_timestamp_in("2013-08-31", &zone), Some(t));
        // 02:30 does not exist on that day.
        assert_eq!(text(parse_timestamp_in("2016-03-13T02:30", &zone).unwrap()), "2016-03-13T03:30:00.000-07:00");
        assert_eq!(text(parse_timestamp_in("2016-11-06T01:30", &zone).unwrap()), "2016-11-06T01:30:00.000-07:00");
    }

    proptest! {
        #[test]
        fn format_then_parse_is_identity(t in (i64::MIN / 2)..(i64::MAX / 2), near in -100_000_000_000_000i64..300_000_000_000_000) {
            prop_assert_eq!(parse_timestamp(&format_timestamp(t)), Some(t));
            prop_assert_eq!(parse_timestamp(&format_timestamp(near)), Some(near));
        }

        #[test]
        fn the_fast_path_agrees_with_the_lenient_one(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,12})?Z?") {
            let fast = parse_common(text.as_bytes());
            prop_assert_eq!(fast, parse_lenient(text.as_bytes(), &Zone::Utc));
        }
    }
}
