//! Time zones, as offsets of milliseconds to add to UTC.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::error::{Error, Result};
use crate::time::civil::Civil;

#[derive(Debug, Clone)]
pub enum Zone {
    Utc,
    /// A fixed offset in milliseconds and its name (`+02:00`).
    Fixed {
        millis: i64,
        name: String,
    },
    Named {
        name: String,
        zone: TimeZone,
    },
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Zone {
    /// `UTC`, an IANA name (`America/Los_Angeles`) or an offset (`+02:00`, `-0730`, `+9`).
    pub fn parse(text: &str) -> Result<Zone> {
        let trimmed = text.trim();
        if matches!(trimmed, "" | "UTC" | "utc" | "Z" | "Etc/UTC" | "UCT" | "Zulu" | "GMT") {
            return Ok(Zone::Utc);
        }
        if let Some(millis) = parse_offset(trimmed.as_bytes()) {
            return Ok(if millis == 0 { Zone::Utc } else { Zone::Fixed { millis, name: offset_name(millis) } });
        }
        match TimeZone::get(trimmed) {
            Ok(zone) => {
                let name = zone.iana_name().unwrap_or(trimmed).to_string();
                Ok(Zone::Named { name, zone })
            }
            Err(_) => Err(Error::invalid(format!(
                "unknown time zone [{trimmed}]: use UTC, an IANA name such as America/Los_Angeles, or an offset such as +02:00"
            ))),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Zone::Utc => "UTC",
            Zone::Fixed { name, .. } | Zone::Named { name, .. } => name,
        }
    }

    pub fn is_utc(&self) -> bool {
        matches!(self, Zone::Utc)
    }

    /// Whether its offset never changes.
    pub fn fixed(&self) -> Option<i64> {
        match self {
            Zone::Utc => Some(0),
            Zone::Fixed { millis, .. } => Some(*millis),
            Zone::Named { .. } => None,
        }
    }

    /// What to add to the instant `t` to get local time.
    pub fn offset_at(&self, t: i64) -> i64 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed { millis, .. } => *millis,
            Zone::Named { zone, .. } => i64::from(zone.to_offset(timestamp(t)).seconds()) * 1000,
        }
    }

    pub fn to_local(&self, t: i64) -> i64 {
        t.saturating_add(self.offset_at(t))
    }

    /// The instant of a local time. Of two, the one with the offset that holds at `near` if it is one of them, else the
    /// earlier; a local time that a gap leaves out is moved on by the gap.
    pub fn to_utc(&self, local: i64, near: i64) -> i64 {
        let Zone::Named { .. } = self else { return local.saturating_sub(self.offset_at(0)) };
        let offset = self.offset_at(near);
        let instant = local.saturating_sub(offset);
        if self.offset_at(instant) == offset {
            return instant;
        }
        self.instants(local)[0]
    }

    /// The earlier and the later instant of a local time, which are one unless clocks go back over it. A local time that
    /// a gap leaves out is moved on by the gap.
    pub fn instants(&self, local: i64) -> [i64; 2] {
        let about = local.saturating_sub(self.offset_at(local));
        let Zone::Named { zone, .. } = self else { return [about; 2] };
        let civil = Civil::from_millis(local);
        if civil.year.abs() > 9_990 {
            return [about; 2];
        }
        let (h, m) = (civil.millis / 3_600_000, civil.millis / 60_000 % 60);
        let (s, ms) = (civil.millis / 1000 % 60, civil.millis % 1000);
        let datetime = jiff::civil::DateTime::new(
            civil.year as i16,
            civil.month as i8,
            civil.day as i8,
            h as i8,
            m as i8,
            s as i8,
            ms as i32 * 1_000_000,
        );
        let Ok(ambiguous) = datetime.map(|d| zone.to_ambiguous_timestamp(d)) else { return [about; 2] };
        let earlier = ambiguous.compatible().map_or(about, |at| at.as_millisecond());
        let later = match ambiguous.offset() {
            AmbiguousOffset::Fold { .. } => ambiguous.later().map_or(earlier, |at| at.as_millisecond()),
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => earlier,
        };
        [earlier, later]
    }
}

fn timestamp(t: i64) -> Timestamp {
    let within = t.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_second() * 1000);
    Timestamp::from_millisecond(within).expect("clamped into the range")
}

/// `+hh`, `+h`, `+hhmm`, `+hh:mm`, `+hh:mm:ss`, with either sign; milliseconds.
pub(super) fn parse_offset(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let number = |part: &[u8]| -> Option<i64> {
        let valid = (1..=2).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
        valid.then(|| part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
    };
    let mut parts = [0i64; 3];
    if digits.contains(&b':') {
        for (idx, part) in digits.split(|b| *b == b':').enumerate() {
            *parts.get_mut(idx)? = number(part)?;
        }
    } else {
        match digits.len() {
            1 | 2 => parts[0] = number(digits)?,
            4 => (parts[0], parts[1]) = (number(&digits[..2])?, number(&digits[2..])?),
            _ => return None,
        }
    }
    let [hours, minutes, seconds] = parts;
    (hours < 24 && minutes < 60 && seconds < 60).then(|| sign * (hours * 3600 + minutes * 60 + seconds) * 1000)
}

pub(super) fn offset_name(millis: i64) -> String {
    let seconds = millis.abs() / 1000;
    let sign = if millis < 0 { '-' } else { '+' };
    let name = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 == 0 { name } else { format!("{name}:{:02}", seconds % 60) }
}
