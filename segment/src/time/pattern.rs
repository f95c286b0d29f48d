//! Joda's time patterns (`yyyy-MM-dd HH:mm:ss`), to print and to read with.

use super::civil::{self, Civil, MILLIS_PER_DAY};
use super::zone::{Zone, offset_name, parse_offset};
use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const LETTERS: &str = "GCYxweEyDMdaKhHkmsSzZ";

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern> {
        let wrong = |what: String| Error::invalid(format!("[{text}] is not a time pattern: {what}"));
        let mut parts: Vec<Part> = Vec::new();
        let literal = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
            Some(Part::Literal(text)) => text.push(c),
            _ => parts.push(Part::Literal(c.to_string())),
        };
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.peek() == Some(&'\'') => {
                    chars.next();
                    literal(&mut parts, '\'');
                }
                '\'' => loop {
                    match chars.next() {
                        Some('\'') if chars.peek() == Some(&'\'') => {
                            chars.next();
                            literal(&mut parts, '\'');
                        }
                        Some('\'') => break,
                        Some(c) => literal(&mut parts, c),
                        // Joda-Time closes a quote at the end by itself, and plywood counts on it.
                        None => break,
                    }
                },
                c if c.is_ascii_alphabetic() => {
                    if !LETTERS.contains(c) {
                        return Err(wrong(format!("[{c}] is not one of the letters {LETTERS}")));
                    }
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    parts.push(Part::Field(c, count));
                }
                c => literal(&mut parts, c),
            }
        }
        Ok(Pattern { parts })
    }

    /// The text of an instant in a zone.
    pub fn format(&self, t: i64, zone: &Zone) -> String {
        use std::fmt::Write;
        let offset = zone.offset_at(t);
        let local = t.saturating_add(offset);
        let days = local.div_euclid(MILLIS_PER_DAY);
        let Civil { year, month, day, millis } = Civil::from_millis(local);
        let hour = millis / 3_600_000;
        let mut out = String::with_capacity(24);
        for part in &self.parts {
            let (letter, count) = match part {
                Part::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Field(letter, count) => (*letter, *count),
            };
            let number = match letter {
                'y' | 'Y' | 'x' => {
                    let year = if letter == 'x' { civil::iso_week(days).0 } else { year };
                    if count == 2 { year.rem_euclid(100) } else { year }
                }
                'C' => year.div_euclid(100),
                'w' => i64::from(civil::iso_week(days).1),
                'e' => i64::from(civil::day_of_week(days)),
                'D' => days - civil::days_from_civil(year, 1, 1) + 1,
                'M' if count >= 3 => {
                    let name = MONTHS[month as usize - 1];
                    out.push_str(if count == 3 { &name[..3] } else { name });
                    continue;
                }
                'M' => i64::from(month),
                'd' => i64::from(day),
                'K' => hour % 12,
                'h' => (hour + 11) % 12 + 1,
                'H' => hour,
                'k' => (hour + 23) % 24 + 1,
                'm' => millis / 60_000 % 60,
                's' => millis / 1000 % 60,
                'S' => {
                    let text = format!("{:03}", millis % 1000);
                    let shown = count.min(3);
                    out.push_str(&text[..shown]);
                    out.extend(std::iter::repeat_n('0', count - shown));
                    continue;
                }
                'E' => {
                    let name = DAYS[civil::day_of_week(days) as usize - 1];
                    out.push_str(if count <= 3 { &name[..3] } else { name });
                    continue;
                }
                'a' => {
                    out.push_str(if hour < 12 { "AM" } else { "PM" });
                    continue;
                }
                'G' => {
                    out.push_str(if year > 0 { "AD" } else { "BC" });
                    continue;
                }
                'z' => {
                    out.push_str(zone.name());
                    continue;
                }
                _ => {
                    match (count, offset_name(offset)) {
                        (1, name) => out.push_str(&name.replace(':', "")),
                        (2, name) => out.push_str(&name),
                        _ => out.push_str(zone.name()),
                    }
                    continue;
                }
            };
            let sign = if number < 0 { "-" } else { "" };
            write!(out, "{sign}{:0count$}", number.abs()).expect("writing to a string cannot fail");
        }
        out
    }

    /// The instant that text of this pattern means; what it leaves out is 1970-01-01 midnight in the zone.
    pub fn read(&self, text: &str, zone: &Zone) -> Option<i64> {
        let mut rest = text;
        let mut read = Read { year: 1970, month: 1, day: 1, ..Read::default() };
        for (idx, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Field(letter, count) => {
                    let adjacent =
                        matches!(self.parts.get(idx + 1), Some(Part::Field(next, count)) if numeric(*next, *count));
                    rest = read.field(*letter, *count, adjacent, rest)?;
                }
            }
        }
        if rest.is_empty() { read.instant(zone) } else { None }
    }
}

fn numeric(letter: char, count: usize) -> bool {
    !(matches!(letter, 'a' | 'E' | 'G' | 'z' | 'Z') || letter == 'M' && count >= 3)
}

#[derive(Default)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    week_year: Option<i64>,
    week: Option<i64>,
    day_of_week: Option<i64>,
    hour: i64,
    half: Option<i64>,
    half_hour: Option<i64>,
    minute: i64,
    second: i64,
    millis: i64,
    offset: Option<i64>,
    zone: Option<Zone>,
}

impl Read {
    /// Reads one field off the front of `text` and gives the rest.
    fn field<'a>(&mut self, letter: char, count: usize, adjacent: bool, text: &'a str) -> Option<&'a str> {
        match letter {
            'M' if count >= 3 => {
                let (idx, rest) = named(&MONTHS, text)?;
                self.month = idx + 1;
                return Some(rest);
            }
            'E' => {
                let (idx, rest) = named(&DAYS, text)?;
                self.day_of_week = Some(idx + 1);
                return Some(rest);
            }
            'a' => {
                let head = text.get(..2)?;
                self.half = Some(i64::from(head.eq_ignore_ascii_case("PM")));
                return (head.eq_ignore_ascii_case("AM") || self.half == Some(1)).then(|| &text[2..]);
            }
            'G' => return text.strip_prefix("AD"),
            'z' | 'Z' => return self.zone(text),
            _ => {}
        }
        let most = match letter {
            'S' => count.max(3).min(if adjacent { count } else { 9 }),
            'y' | 'Y' | 'x' if !adjacent => 9,
            'D' if !adjacent => 3,
            _ if adjacent => count,
            _ => count.max(2),
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) if matches!(letter, 'y' | 'Y' | 'x') => (true, rest),
            _ => (false, text),
        };
        let length = digits.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return None;
        }
        let (shown, rest) = digits.split_at(length);
        let mut value: i64 = shown.parse().ok()?;
        if negative {
            value = -value;
        }
        match letter {
            'y' | 'Y' | 'x' => {
                // Two digits stand for the years around 2000, as Joda's pivot has it.
                let year = if count == 2 && length == 2 {
                    if value < 50 { 2000 + value } else { 1900 + value }
                } else {
                    value
                };
                if letter == 'x' { self.week_year = Some(year) } else { self.year = year }
            }
            'M' => self.month = value,
            'd' => self.day = value,
            'D' => self.day_of_year = Some(value),
            'w' => self.week = Some(value),
            'e' => self.day_of_week = Some(value),
            'H' => self.hour = value,
            'k' => self.hour = value % 24,
            'K' => self.half_hour = Some(value),
            'h' => self.half_hour = Some(value % 12),
            'm' => self.minute = value,
            's' => self.second = value,
            'S' => {
                let padded: String = shown.chars().chain("00".chars()).take(3).collect();
                self.millis = padded.parse().ok()?;
            }
            _ => {}
        }
        Some(rest)
    }

    fn zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix('Z') {
            self.offset = Some(0);
            return Some(rest);
        }
        let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-:/_".contains(c))).unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        match parse_offset(name.as_bytes()) {
            Some(offset) => self.offset = Some(offset),
            None => self.zone = Some(Zone::parse(name).ok().filter(|_| !name.is_empty())?),
        }
        Some(rest)
    }

    fn instant(self, zone: &Zone) -> Option<i64> {
        if self.year.abs() > civil::YEAR_MAX || self.week_year.is_some_and(|y| y.abs() > civil::YEAR_MAX) {
            return None;
        }
        let days = if let Some(week) = self.week {
            let year = self.week_year.unwrap_or(self.year);
            let day = self.day_of_week.unwrap_or(1);
            if !(1..=53).contains(&week) || !(1..=7).contains(&day) {
                return None;
            }
            civil::iso_year_start(year) + (week - 1) * 7 + day - 1
        } else if let Some(day) = self.day_of_year {
            if !(1..=if civil::is_leap(self.year) { 366 } else { 365 }).contains(&day) {
                return None;
            }
            civil::days_from_civil(self.year, 1, 1) + day - 1
        } else {
            if !(1..=12).contains(&self.month) {
                return None;
            }
            let month = self.month as u32;
            if !(1..=i64::from(civil::days_in_month(self.year, month))).contains(&self.day) {
                return None;
            }
            civil::days_from_civil(self.year, month, self.day as u32)
        };
        let hour = match self.half_hour {
            Some(hour) => hour + 12 * self.half.unwrap_or(0),
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let clock = ((hour * 60 + self.minute) * 60 + self.second) * 1000 + self.millis;
        let local = days.checked_mul(MILLIS_PER_DAY)?.checked_add(clock)?;
        match (self.offset, &self.zone) {
            (Some(offset), _) => local.checked_sub(offset),
            (None, Some(zone)) => Some(zone.to_utc(local, local)),
            (None, None) => Some(zone.to_utc(local, local)),
        }
    }
}

/// A full or three-letter name, any case, off the front.
fn named<'a>(names: &[&str], text: &'a str) -> Option<(i64, &'a str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let (idx, length) = names.iter().enumerate().find_map(|(idx, name)| {
        if starts(name) { Some((idx, name.len())) } else { starts(&name[..3]).then_some((idx, 3)) }
    })?;
    Some((idx as i64, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_timestamp;
    use proptest::prelude::*;

    #[test]
    fn prints_and_reads() {
        let t = parse_timestamp("2016-06-07T15:04:05.678Z").unwrap();
        for (pattern, zone, text) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "UTC", "2016-06-07 15:04:05.678"),
            ("yyyyMMddHHmmssSSS", "UTC", "20160607150405678"),
            ("dd/MMM/yyyy:HH:mm:ss.SSS Z", "America/New_York", "07/Jun/2016:11:04:05.678 -0400"),
            ("EEE, d MMMM yyyy hh:mm:ss.SSS a", "UTC", "Tue, 7 June 2016 03:04:05.678 PM"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZZ", "Asia/Kolkata", "2016-06-07T20:34:05.678+05:30"),
            ("xxxx-'W'ww-e HH:mm:ss.SSS", "UTC", "2016-W23-2 15:04:05.678"),
            ("yyyy-D kk:mm:ss.SSS", "UTC", "2016-159 15:04:05.678"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z", "UTC", "2016-06-07T15:04:05.678Z"),
            ("yy''MM dd HH mm ss SSS", "UTC", "16'06 07 15 04 05 678"),
            ("yyyy MM dd HH mm ss SSS ZZZ", "America/New_York", "2016 06 07 11 04 05 678 America/New_York"),
        ] {
            let zone = Zone::parse(zone).unwrap();
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.format(t, &zone), text);
            assert_eq!(pattern.read(text, &zone), Some(t), "{text}");
        }
        let day = Pattern::parse("yyyy-MM-dd").unwrap();
        assert_eq!(day.read("2016-6-7", &Zone::Utc), parse_timestamp("2016-06-07"));
        for text in ["", "2016-13-01", "2016-02-30", "2016-06-07x", "x"] {
            assert_eq!(day.read(text, &Zone::Utc), None, "{text}");
        }
        assert!(Pattern::parse("yyyy-bb").unwrap_err().to_string().contains("[b] is not one of the letters"));
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in "[yMdHhKkmsSaEeDwxZzGC' :/-]{0,12}", text in "[0-9A-Za-z :/+-]{0,20}", t: i64) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.read(&text, &Zone::Utc);
                let _ = pattern.format(t, &Zone::Utc);
            }
        }
    }
}
