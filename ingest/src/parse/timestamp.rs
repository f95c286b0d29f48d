//! The timestampSpec at work: from a raw value to milliseconds since 1970 UTC, without allocating.
//!
//! ISO texts of the usual shape are read by position; all others go to the lenient parser of `segment::time`. Other
//! formats than the named ones are Joda patterns, compiled once into a list of parts.

use jiff::tz::TimeZone;
use segment::time::{Interval, parse_timestamp};

use crate::spec::{TimestampFormat, TimestampSpec};

/// A value of the timestamp column as the record has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    Null,
    Long(i64),
    Double(f64),
    Text(&'a str),
    /// A boolean, list or object.
    Other,
}

impl TimestampSpec {
    /// The instant, or why there is none.
    pub fn read(&self, raw: Raw) -> Result<i64, String> {
        let found = match raw {
            Raw::Null => {
                return self
                    .missing
                    .ok_or_else(|| format!("no timestamp: the column {} is missing or null", self.column));
            }
            Raw::Long(n) => self.format.of_long(n),
            Raw::Double(n) => self.format.of_double(n),
            Raw::Text(text) => self.format.of_text(strip_quotes(text)),
            Raw::Other => None,
        };
        match found {
            Some(t) if (Interval::ETERNITY.start..Interval::ETERNITY.end).contains(&t) => Ok(t),
            Some(_) => Err(format!("the timestamp in the column {} is out of range", self.column)),
            None => Err(format!("the column {} is not a timestamp of the format {}", self.column, self.format.name())),
        }
    }
}

impl TimestampFormat {
    pub fn name(&self) -> &str {
        match self {
            TimestampFormat::Auto => "auto",
            TimestampFormat::Iso => "iso",
            TimestampFormat::Posix => "posix",
            TimestampFormat::Millis => "millis",
            TimestampFormat::Micro => "micro",
            TimestampFormat::Nano => "nano",
            TimestampFormat::Ruby => "ruby",
            TimestampFormat::Pattern(pattern) => &pattern.text,
        }
    }

    fn of_long(&self, n: i64) -> Option<i64> {
        match self {
            TimestampFormat::Auto | TimestampFormat::Millis => Some(n),
            TimestampFormat::Posix | TimestampFormat::Ruby => n.checked_mul(1000),
            TimestampFormat::Micro => Some(n.div_euclid(1_000)),
            TimestampFormat::Nano => Some(n.div_euclid(1_000_000)),
            TimestampFormat::Iso => parse_timestamp(&n.to_string()),
            TimestampFormat::Pattern(pattern) => pattern.read(&n.to_string()),
        }
    }

    fn of_double(&self, n: f64) -> Option<i64> {
        if !n.is_finite() || n.abs() > 9e18 {
            return None;
        }
        match self {
            TimestampFormat::Ruby => {
                let millis = n * 1000.0;
                (millis.abs() < 9e18).then_some(millis as i64)
            }
            TimestampFormat::Pattern(pattern) => pattern.read(&n.to_string()),
            _ => self.of_long(n as i64),
        }
    }

    fn of_text(&self, text: &str) -> Option<i64> {
        match self {
            TimestampFormat::Auto => auto(text),
            TimestampFormat::Iso => iso(text).or_else(|| parse_timestamp(text)),
            TimestampFormat::Ruby => self.of_double(text.trim().parse().ok()?),
            TimestampFormat::Posix | TimestampFormat::Millis | TimestampFormat::Micro | TimestampFormat::Nano => {
                self.of_long(text.trim().parse().ok()?)
            }
            TimestampFormat::Pattern(pattern) => pattern.read(text),
        }
    }
}

fn strip_quotes(text: &str) -> &str {
    let trimmed = text.trim();
    match trimmed.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => inner.trim(),
        None => trimmed,
    }
}

/// Milliseconds if all are digits, else ISO, with a space for the `T` and a zone name at the end allowed.
fn auto(text: &str) -> Option<i64> {
    if let Some(t) = iso(text) {
        return Some(t);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    if let Some(space) = text.rfind(' ').filter(|at| *at > 10) {
        let (local, zone) = (text[..space].trim_end(), &text[space + 1..]);
        let local = iso(local).or_else(|| parse_timestamp(&local.replacen(' ', "T", 1)))?;
        return in_zone(local, zone);
    }
    parse_timestamp(text).or_else(|| parse_timestamp(&text.replacen(' ', "T", 1)))
}

/// The instant at which clocks of the zone show `local` (given as if it were UTC).
fn in_zone(local: i64, zone: &str) -> Option<i64> {
    if let Some(offset) = offset_millis(zone) {
        return local.checked_sub(offset);
    }
    let zone = named_zone(zone)?;
    let shown = jiff::Timestamp::from_millisecond(local).ok()?.to_zoned(TimeZone::UTC).datetime();
    Some(zone.to_ambiguous_zoned(shown).compatible().ok()?.timestamp().as_millisecond())
}

fn named_zone(name: &str) -> Option<TimeZone> {
    let name = match name {
        "UTC" | "GMT" | "UT" | "Z" => return Some(TimeZone::UTC),
        "EST" | "EDT" => "America/New_York",
        "CST" | "CDT" => "America/Chicago",
        "MST" | "MDT" => "America/Denver",
        "PST" | "PDT" => "America/Los_Angeles",
        other => other,
    };
    TimeZone::get(name).ok()
}

/// `Z`, `+hh`, `+hhmm` or `+hh:mm`.
fn offset_millis(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let sign = match b.first()? {
        b'Z' | b'z' if b.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = match b.len() {
        3 => (two(b, 1)?, 0),
        5 => (two(b, 1)?, two(b, 3)?),
        6 if b[3] == b':' => (two(b, 1)?, two(b, 4)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn two(b: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (b.get(at)?.wrapping_sub(b'0'), b.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(i64::from(tens) * 10 + i64::from(ones))
}

/// `YYYY-MM-DD[(T| )hh:mm[:ss[.f…]][zone]]`, read by position. `None` for any other shape.
fn iso(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if b.len() < 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let year = two(b, 0)? * 100 + two(b, 2)?;
    let (month, day) = (two(b, 5)?, two(b, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * 86_400_000;
    if b.len() == 10 {
        return Some(midnight);
    }
    if !matches!(b[10], b'T' | b' ' | b't') || *b.get(13)? != b':' {
        return None;
    }
    let (hour, minute) = (two(b, 11)?, two(b, 14)?);
    let mut at = 16;
    let (mut second, mut millis) = (0, 0);
    if b.get(at) == Some(&b':') {
        second = two(b, 17)?;
        at = 19;
        if matches!(b.get(at), Some(b'.' | b',')) {
            at += 1;
            let first = at;
            let mut scale = 100;
            while let Some(digit) = b.get(at).map(|c| c.wrapping_sub(b'0')).filter(|d| *d < 10) {
                millis += i64::from(digit) * scale;
                scale /= 10;
                at += 1;
            }
            if at == first {
                return None;
            }
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = match b.len() - at {
        0 => 0,
        _ => offset_millis(text.get(at..)?)?,
    };
    Some(midnight + (hour * 60 + minute) * 60_000 + second * 1_000 + millis - offset)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A Joda pattern such as `yyyy-MM-dd'T'HH:mm:ss.SSSZ`, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    /// A number of at most `most` digits.
    Number {
        field: Field,
        most: usize,
    },
    /// Two digits mean the century around now; more are the year itself.
    ShortYear {
        most: usize,
    },
    /// Up to so many digits of the fraction of a second.
    Fraction {
        most: usize,
    },
    MonthName,
    DayName,
    HalfDay,
    Era,
    /// `Z` or an offset.
    Offset,
    /// A zone's id or usual abbreviation.
    Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    WeekYear,
    Week,
    WeekDay,
    Month,
    Day,
    DayOfYear,
    Hour,
    /// 1 to 24.
    ClockHour,
    /// 0 to 11.
    HalfHour,
    /// 1 to 12.
    HalfClockHour,
    Minute,
    Second,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let chars: Vec<char> = text.chars().collect();
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            if c == '\'' {
                let (literal, next) = quoted(&chars, at);
                push_literal(&mut parts, &literal);
                at = next;
                continue;
            }
            if !c.is_ascii_alphabetic() {
                push_literal(&mut parts, &c.to_string());
                at += 1;
                continue;
            }
            let run = chars[at..].iter().take_while(|other| **other == c).count();
            let number_follows = chars.get(at + run).is_some_and(|next| "yYxwDdMHhKkmsSe".contains(*next))
                && !(chars.get(at + run) == Some(&'M')
                    && chars[at + run..].iter().take_while(|m| **m == 'M').count() > 2);
            parts.push(part(c, run, number_follows)?);
            at += run;
        }
        if parts.is_empty() {
            return Err("the pattern is empty".into());
        }
        Ok(Pattern { text: text.to_string(), parts })
    }

    fn read(&self, text: &str) -> Option<i64> {
        let mut found = Found::default();
        let mut rest = text;
        for part in &self.parts {
            rest = part.read(rest, &mut found)?;
        }
        if rest.is_empty() { found.resolve() } else { None }
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(literal)) => literal.push_str(text),
        _ => parts.push(Part::Literal(text.to_string())),
    }
}

/// The text in quotes that opens at `at`, and where reading goes on. Two quotes are a quote.
fn quoted(chars: &[char], at: usize) -> (String, usize) {
    if chars.get(at + 1) == Some(&'\'') {
        return ("'".into(), at + 2);
    }
    let mut literal = String::new();
    let mut i = at + 1;
    loop {
        match (chars.get(i), chars.get(i + 1)) {
            // As in Joda-Time, the end closes it.
            (None, _) => return (literal, i),
            (Some('\''), Some('\'')) => {
                literal.push('\'');
                i += 2;
            }
            (Some('\''), _) => return (literal, i + 1),
            (Some(c), _) => {
                literal.push(*c);
                i += 1;
            }
        }
    }
}

fn part(letter: char, run: usize, number_follows: bool) -> Result<Part, String> {
    let number = |field, most| Part::Number { field, most };
    let open = if number_follows { run } else { 9 };
    Ok(match letter {
        'y' | 'Y' | 'u' if run == 2 => Part::ShortYear { most: if number_follows { 2 } else { 9 } },
        'y' | 'Y' | 'u' => number(Field::Year, open),
        'x' => number(Field::WeekYear, open),
        'w' => number(Field::Week, 2),
        'e' => number(Field::WeekDay, 1),
        'E' => Part::DayName,
        'M' if run > 2 => Part::MonthName,
        'M' => number(Field::Month, 2),
        'd' => number(Field::Day, 2),
        'D' => number(Field::DayOfYear, 3),
        'H' => number(Field::Hour, 2),
        'k' => number(Field::ClockHour, 2),
        'K' => number(Field::HalfHour, 2),
        'h' => number(Field::HalfClockHour, 2),
        'm' => number(Field::Minute, 2),
        's' => number(Field::Second, 2),
        'S' => Part::Fraction { most: run },
        'a' => Part::HalfDay,
        'G' => Part::Era,
        'Z' if run > 2 => Part::Zone,
        'Z' => Part::Offset,
        'z' => Part::Zone,
        other => {
            return Err(format!(
                "the letter {other} has no meaning in a pattern; put literal letters into single quotes"
            ));
        }
    })
}

/// What a text has been found to say so far.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    week_year: Option<i64>,
    week: Option<i64>,
    week_day: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    before_christ: bool,
    minute: i64,
    second: i64,
    millis: i64,
    offset: Option<i64>,
    zone: Option<TimeZone>,
}

impl Part {
    /// What is left of the text after this part.
    fn read<'t>(&self, text: &'t str, found: &mut Found) -> Option<&'t str> {
        match self {
            Part::Literal(literal) => {
                let head = text.get(..literal.len())?;
                head.eq_ignore_ascii_case(literal).then(|| &text[literal.len()..])
            }
            Part::Number { field, most } => {
                let (n, digits, rest) = number(text, *most, matches!(field, Field::Year | Field::WeekYear))?;
                let _ = digits;
                found.set(*field, n)?;
                Some(rest)
            }
            Part::ShortYear { most } => {
                let (n, digits, rest) = number(text, *most, true)?;
                // As Joda: the century is chosen so that the year lies from 70 years before to 29 after 2000.
                found.year = Some(if digits == 2 && n >= 0 { if n < 50 { 2000 + n } else { 1900 + n } } else { n });
                Some(rest)
            }
            Part::Fraction { most } => {
                let digits = text.bytes().take(*most).take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return None;
                }
                let mut scale = 100;
                for digit in text.bytes().take(digits) {
                    found.millis += i64::from(digit - b'0') * scale;
                    scale /= 10;
                }
                Some(&text[digits..])
            }
            Part::MonthName => {
                let (idx, rest) = name(text, &MONTHS)?;
                found.month = Some(idx as i64 + 1);
                Some(rest)
            }
            Part::DayName => name(text, &DAYS).map(|(_, rest)| rest),
            Part::HalfDay => {
                let head = text.get(..2)?;
                found.afternoon = Some(if head.eq_ignore_ascii_case("pm") {
                    true
                } else if head.eq_ignore_ascii_case("am") {
                    false
                } else {
                    return None;
                });
                Some(&text[2..])
            }
            Part::Era => {
                let era = text.get(..2)?;
                found.before_christ = era.eq_ignore_ascii_case("bc");
                (found.before_christ || era.eq_ignore_ascii_case("ad")).then(|| &text[2..])
            }
            Part::Offset => {
                let len = match text.as_bytes() {
                    [b'Z' | b'z', ..] => 1,
                    [_, _, _, b':', ..] => 6,
                    [_, _, _, d, ..] if d.is_ascii_digit() => 5,
                    _ => 3,
                };
                found.offset = Some(offset_millis(text.get(..len)?)?);
                Some(&text[len..])
            }
            Part::Zone => {
                let len = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"/_+-:".contains(b)).count();
                let id = &text[..len];
                match offset_millis(id) {
                    Some(offset) => found.offset = Some(offset),
                    None => found.zone = Some(named_zone(id)?),
                }
                Some(&text[len..])
            }
        }
    }
}

fn number(text: &str, most: usize, signed: bool) -> Option<(i64, usize, &str)> {
    let (negative, digits_at) = match text.as_bytes().first()? {
        b'-' if signed => (true, 1),
        b'+' if signed => (false, 1),
        _ => (false, 0),
    };
    let digits = text[digits_at..].bytes().take(most).take_while(u8::is_ascii_digit).count();
    let end = digits_at + digits;
    let n: i64 = text[digits_at..end].parse().ok()?;
    Some((if negative { -n } else { n }, digits, &text[end..]))
}

/// The full name, else its first three letters.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(usize, &'t str)> {
    for len in [None, Some(3)] {
        for (idx, name) in names.iter().enumerate() {
            let wanted = &name[..len.unwrap_or(name.len())];
            if text.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted)) {
                return Some((idx, &text[wanted.len()..]));
            }
        }
    }
    None
}

impl Found {
    fn set(&mut self, field: Field, n: i64) -> Option<()> {
        let within = |least: i64, most: i64| (least..=most).contains(&n).then_some(n);
        match field {
            Field::Year => self.year = Some(n),
            Field::WeekYear => self.week_year = Some(n),
            Field::Week => self.week = Some(within(1, 53)?),
            Field::WeekDay => self.week_day = Some(within(1, 7)?),
            Field::Month => self.month = Some(within(1, 12)?),
            Field::Day => self.day = Some(within(1, 31)?),
            Field::DayOfYear => self.day_of_year = Some(within(1, 366)?),
            Field::Hour => self.hour = within(0, 23)?,
            Field::ClockHour => self.hour = within(1, 24)? % 24,
            Field::HalfHour => self.half_hour = Some(within(0, 11)?),
            Field::HalfClockHour => self.half_hour = Some(within(1, 12)? % 12),
            Field::Minute => self.minute = within(0, 59)?,
            Field::Second => self.second = within(0, 59)?,
        }
        Some(())
    }

    fn resolve(self) -> Option<i64> {
        let dated = self.month.is_some() || self.day.is_some() || self.day_of_year.is_some();
        let mut year = self.year.unwrap_or(if dated { 2000 } else { 1970 });
        if self.before_christ {
            year = 1 - year;
        }
        if !(-200_000_000..=200_000_000).contains(&year) || self.week_year.is_some_and(|y| y.abs() > 200_000_000) {
            return None;
        }
        let days = if self.week.is_some() || self.week_year.is_some() {
            let week_year = self.week_year.or(self.year).unwrap_or(2000);
            let fourth = days_from_civil(week_year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            monday + (self.week.unwrap_or(1) - 1) * 7 + self.week_day.unwrap_or(1) - 1
        } else if let Some(day) = self.day_of_year {
            if day == 366 && days_in_month(year, 2) == 28 {
                return None;
            }
            days_from_civil(year, 1, 1) + day - 1
        } else {
            let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
            if day > days_in_month(year, month) {
                return None;
            }
            days_from_civil(year, month, day)
        };
        let hour = match (self.half_hour, self.afternoon) {
            (Some(half), afternoon) => half + if afternoon == Some(true) { 12 } else { 0 },
            (None, _) => self.hour,
        };
        let local = days * 86_400_000 + (hour * 60 + self.minute) * 60_000 + self.second * 1_000 + self.millis;
        match (self.offset, self.zone) {
            (Some(offset), _) => Some(local - offset),
            (None, Some(zone)) => {
                let shown = jiff::Timestamp::from_millisecond(local).ok()?.to_zoned(TimeZone::UTC).datetime();
                Some(zone.to_ambiguous_zoned(shown).compatible().ok()?.timestamp().as_millisecond())
            }
            (None, None) => Some(local),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(format: &str, raw: Raw, expected: Option<i64>) {
        let format = TimestampFormat::parse(format).unwrap();
        let spec = TimestampSpec { column: "t".into(), format, missing: None };
        assert_eq!(spec.read(raw).ok(), expected, "{} {raw:?}", spec.format.name());
    }

    #[test]
    fn named_formats() {
        let t = 1_442_016_000_000;
        check("auto", Raw::Long(t), Some(t));
        check("auto", Raw::Text("1442016000000"), Some(t));
        check("auto", Raw::Text("-5"), Some(-5));
        check("auto", Raw::Text("2015-09-12"), Some(t));
        check("auto", Raw::Text(" \"2015-09-12 00:00:00\" "), Some(t));
        check("auto", Raw::Text("2015-09-12T02:00:00+02:00"), Some(t));
        check("auto", Raw::Text("2015-09-12 02:00:00 +0200"), Some(t));
        check("auto", Raw::Text("2015-09-11 17:00:00 America/Los_Angeles"), Some(t));
        check("auto", Raw::Text("soon"), None);
        check("auto", Raw::Text(""), None);
        check("auto", Raw::Other, None);
        check("iso", Raw::Text("2015-09-12T00:00:00.123456Z"), Some(t + 123));
        check("iso", Raw::Text("2015-09-31T00:00:00Z"), None);
        check("posix", Raw::Long(1_442_016_000), Some(t));
        check("posix", Raw::Text("1442016000"), Some(t));
        check("posix", Raw::Double(1_442_016_000.9), Some(t));
        check("posix", Raw::Text("x"), None);
        check("millis", Raw::Double(1_442_016_000_000.0), Some(t));
        check("micro", Raw::Long(t * 1000 + 999), Some(t));
        check("nano", Raw::Long(t * 1_000_000 + 1), Some(t));
        check("ruby", Raw::Double(1_442_016_000.25), Some(t + 250));
        check("ruby", Raw::Text("1442016000.25"), Some(t + 250));
        check("millis", Raw::Long(i64::MAX), None);
        check("posix", Raw::Long(i64::MAX), None);
    }

    #[test]
    fn patterns() {
        let t = 1_442_066_645_678;
        check("yyyy-MM-dd'T'HH:mm:ss.SSSZ", Raw::Text("2015-09-12T14:04:05.678+0000"), Some(t));
        check("yyyy-MM-dd'T'HH:mm:ss.SSSZZ", Raw::Text("2015-09-12T16:04:05.678+02:00"), Some(t));
        check("dd/MMM/yyyy:HH:mm:ss Z", Raw::Text("12/Sep/2015:14:04:05 +0000"), Some(t - 678));
        check("EEE, dd MMM yyyy hh:mm:ss a", Raw::Text("Sat, 12 September 2015 02:04:05 PM"), Some(t - 678));
        check("yyyyMMddHHmmss", Raw::Long(20_150_912_140_405), Some(t - 678));
        check("yyyyMMdd", Raw::Text("20150912"), Some(1_442_016_000_000));
        check("MM/dd/yy", Raw::Text("9/12/15"), Some(1_442_016_000_000));
        check("yyyy-DDD", Raw::Text("2015-255"), Some(1_442_016_000_000));
        check("xxxx-'W'ww-e", Raw::Text("2015-W37-6"), Some(1_442_016_000_000));
        check("yyyy-MM-dd HH:mm:ss ZZZ", Raw::Text("2015-09-11 17:00:00 America/Los_Angeles"), Some(1_442_016_000_000));
        check("yyyy-MM-dd HH:mm:ss z", Raw::Text("2015-09-11 17:00:00 PDT"), Some(1_442_016_000_000));
        check("hh 'o''clock' a", Raw::Text("12 o'clock am"), Some(0));
        check("yyyy-MM-dd", Raw::Text("2015-02-29"), None);
        check("yyyy-MM-dd", Raw::Text("2015-02-28x"), None);
        check("yyyy-MM-dd", Raw::Text("2015-02-é"), None);
        check("yyyy", Raw::Text("999999999"), None);
        assert!(Pattern::parse("yyyy-MM-ddTHH").unwrap_err().contains("single quotes"));
        check("yyyy-MM-dd'T'HH:mm:ss'Z", Raw::Text("2015-09-12T00:00:00Z"), Some(1_442_016_000_000));
        assert!(Pattern::parse("").is_err());
    }

    #[test]
    fn a_missing_value_stands_in() {
        let spec = TimestampSpec { column: "t".into(), format: TimestampFormat::Auto, missing: Some(7) };
        assert_eq!(spec.read(Raw::Null), Ok(7));
        assert!(spec.read(Raw::Text("x")).is_err());
    }

    proptest! {
        #[test]
        fn iso_agrees_with_a_calendar(millis in -62_135_596_800_000i64..253_402_300_799_999) {
            let t = jiff::Timestamp::from_millisecond(millis).unwrap();
            prop_assert_eq!(iso(&t.to_string()), Some(millis));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", digits in "[0-9:TZ+. -]{0,30}") {
            for format in ["auto", "ruby", "nano", "yyyy-MM-dd'T'HH:mm:ss.SSSZ", "EEE MMM dd yy h a z", "xxxx ww e D G"] {
                let spec = TimestampSpec { column: "t".into(), format: TimestampFormat::parse(format).unwrap(), missing: None };
                let _ = spec.read(Raw::Text(&text));
                let _ = spec.read(Raw::Text(&digits));
            }
            let _ = Pattern::parse(&text);
        }
    }
}
