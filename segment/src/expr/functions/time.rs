//! Functions of instants (milliseconds since 1970 UTC). Zones, periods and patterns that are literals are read once.

use super::{Body, Function, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::expr::convert;
use crate::time::civil::{self, Civil, MILLIS_PER_DAY};
use crate::time::{Granularity, Pattern, Span, Zone, format_timestamp_in, parse_timestamp, parse_timestamp_in};

pub(super) static FUNCTIONS: &[Function] = &[
    function("timestamp", 1, 2, Returns::Long, Body::Prepared(|a| parse(a, 1, 2, 1))),
    function("unix_timestamp", 1, 2, Returns::Long, Body::Prepared(|a| parse(a, 1, 2, 1000))),
    function("timestamp_parse", 1, 3, Returns::Long, Body::Prepared(|a| parse(a, 1, 2, 1))),
    function("timestamp_format", 1, 3, Returns::Text, Body::Prepared(format)),
    function("timestamp_floor", 2, 4, Returns::Long, Body::Prepared(floor)),
    function("timestamp_ceil", 2, 4, Returns::Long, Body::Prepared(ceil)),
    function("timestamp_shift", 3, 4, Returns::Long, Body::Prepared(shift)),
    function("timestamp_extract", 2, 3, Returns::Long, Body::Prepared(extract)),
];

/// A number of milliseconds, or a time as text.
pub(super) fn instant(value: &Value) -> Option<i64> {
    match value {
        Value::Text(text) => parse_timestamp(text).or_else(|| convert::long_of_text(text)),
        other => convert::to_long(other),
    }
}

fn zone(args: &[Option<Value>], at: usize) -> Result<Zone, String> {
    match literal_text(args, at, "the time zone")? {
        None => Ok(Zone::Utc),
        Some(name) => Zone::parse(&name).map_err(|error| error.to_string()),
    }
}

fn parse(args: &[Option<Value>], pattern_at: usize, zone_at: usize, divisor: i64) -> Result<Prepared, String> {
    let zone = zone(args, zone_at)?;
    let pattern = match literal_text(args, pattern_at, "the pattern")? {
        None => None,
        Some(text) => Some(Pattern::parse(&text).map_err(|error| error.to_string())?),
    };
    Ok(Prepared::each(move |args| {
        let read = |text: &str| match &pattern {
            None => parse_timestamp_in(text, &zone),
            Some(pattern) => pattern.read(text, &zone),
        };
        let found = match (&args[0], &pattern) {
            (Value::Long(t), None) => Some(*t),
            (value, _) => convert::to_text(value).and_then(|text| read(&text)),
        };
        found.map_or(Value::Null, |t| Value::Long(t.div_euclid(divisor)))
    }))
}

fn format(args: &[Option<Value>]) -> Result<Prepared, String> {
    let zone = zone(args, 2)?;
    let pattern = match literal_text(args, 1, "the pattern")? {
        None => None,
        Some(text) => Some(Pattern::parse(&text).map_err(|error| error.to_string())?),
    };
    Ok(Prepared::each(move |args| {
        let Some(t) = instant(&args[0]) else { return Value::Null };
        Value::text(&match &pattern {
            Some(pattern) => pattern.format(t, &zone),
            None => format_timestamp_in(t, (!zone.is_utc()).then(|| zone.name())),
        })
    }))
}

fn origin_of(value: &Value) -> Result<Option<i64>, String> {
    match value {
        Value::Null => Ok(None),
        value => instant(value).map(Some).ok_or_else(|| "the origin is not a time".to_string()),
    }
}

fn granularity(period: &str, origin: &Value, zone: &str) -> Result<Granularity, String> {
    Granularity::period(period, zone, origin_of(origin)?).map_err(|error| error.to_string())
}

/// The granularity, if its parts are literals.
fn literal_granularity(args: &[Option<Value>]) -> Result<Option<Granularity>, String> {
    let mut parts = args.iter().skip(1);
    if parts.any(Option::is_none) {
        return Ok(None);
    }
    let Some(period) = literal_text(args, 1, "the period")? else { return Err("the period must not be null".into()) };
    let zone = literal_text(args, 3, "the time zone")?.unwrap_or_else(|| "UTC".into());
    let origin = args.get(2).cloned().flatten().unwrap_or_default();
    granularity(&period, &origin, &zone).map(Some)
}

/// The granularity that the values of a row give.
fn row_granularity(args: &[Value]) -> Option<Granularity> {
    let period = convert::to_text(&args[1])?;
    let zone = args.get(3).and_then(convert::to_text).unwrap_or_else(|| "UTC".into());
    granularity(&period, args.get(2).unwrap_or(&Value::Null), &zone).ok()
}

fn floor(args: &[Option<Value>]) -> Result<Prepared, String> {
    if let Some(granularity) = literal_granularity(args)? {
        return Ok(Prepared::Floor(granularity));
    }
    Ok(Prepared::each(|args| match (instant(&args[0]), row_granularity(args)) {
        (Some(t), Some(granularity)) => Value::Long(granularity.floor(t)),
        _ => Value::Null,
    }))
}

fn ceil(args: &[Option<Value>]) -> Result<Prepared, String> {
    let up = |granularity: &Granularity, t: i64| {
        let bucket = granularity.bucket(t);
        Value::Long(if bucket.start == t { t } else { bucket.end })
    };
    if let Some(granularity) = literal_granularity(args)? {
        return Ok(Prepared::each(move |args| instant(&args[0]).map_or(Value::Null, |t| up(&granularity, t))));
    }
    Ok(Prepared::each(move |args| match (instant(&args[0]), row_granularity(args)) {
        (Some(t), Some(granularity)) => up(&granularity, t),
        _ => Value::Null,
    }))
}

fn shift(args: &[Option<Value>]) -> Result<Prepared, String> {
    let zone = zone(args, 3)?;
    let span = match args.get(1) {
        Some(Some(_)) => match literal_text(args, 1, "the period")? {
            Some(text) => Some(Span::parse(&text).map_err(|error| error.to_string())?),
            None => return Ok(Prepared::each(|_| Value::Null)),
        },
        _ => None,
    };
    Ok(Prepared::each(move |args| {
        let span = span.or_else(|| convert::to_text(&args[1]).and_then(|text| Span::parse(&text).ok()));
        match (instant(&args[0]), span, convert::to_long(&args[2])) {
            (Some(t), Some(span), Some(times)) => Value::Long(span.add(t, times, &zone)),
            _ => Value::Null,
        }
    }))
}

fn extract(args: &[Option<Value>]) -> Result<Prepared, String> {
    let Some(name) = literal_text(args, 1, "the unit")? else { return Err("the unit must be a literal".into()) };
    let upper = name.to_ascii_uppercase();
    let unit = UNITS.iter().find(|(known, _)| *known == upper).map(|(_, unit)| *unit);
    let Some(unit) = unit else {
        let known: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        return Err(format!("unknown unit [{name}]: use one of {}", known.join(", ")));
    };
    Ok(Prepared::Extract(unit, zone(args, 2)?))
}

/// What `timestamp_extract` takes out of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::expr) enum Unit {
    Epoch,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Dow,
    Doy,
    Week,
    Month,
    Quarter,
    Year,
    IsoYear,
    Decade,
    Century,
    Millennium,
}

const UNITS: [(&str, Unit); 18] = [
    ("EPOCH", Unit::Epoch),
    ("MICROSECOND", Unit::Microsecond),
    ("MILLISECOND", Unit::Millisecond),
    ("SECOND", Unit::Second),
    ("MINUTE", Unit::Minute),
    ("HOUR", Unit::Hour),
    ("DAY", Unit::Day),
    ("DOW", Unit::Dow),
    ("ISODOW", Unit::Dow),
    ("DOY", Unit::Doy),
    ("WEEK", Unit::Week),
    ("MONTH", Unit::Month),
    ("QUARTER", Unit::Quarter),
    ("YEAR", Unit::Year),
    ("ISOYEAR", Unit::IsoYear),
    ("DECADE", Unit::Decade),
    ("CENTURY", Unit::Century),
    ("MILLENNIUM", Unit::Millennium),
];

impl Unit {
    pub fn of(self, t: i64, zone: &Zone) -> i64 {
        let local = zone.to_local(t);
        let clock = local.rem_euclid(MILLIS_PER_DAY);
        let days = local.div_euclid(MILLIS_PER_DAY);
        let date = || Civil::from_millis(local);
        match self {
            Unit::Epoch => t.div_euclid(1000),
            Unit::Microsecond => clock % 1000 * 1000,
            Unit::Millisecond => clock % 1000,
            Unit::Second => clock / 1000 % 60,
            Unit::Minute => clock / 60_000 % 60,
            Unit::Hour => clock / 3_600_000,
            Unit::Day => i64::from(date().day),
            Unit::Dow => i64::from(civil::day_of_week(days)),
            Unit::Doy => days - civil::days_from_civil(date().year, 1, 1) + 1,
            Unit::Week => i64::from(civil::iso_week(days).1),
            Unit::Month => i64::from(date().month),
            Unit::Quarter => i64::from((date().month - 1) / 3 + 1),
            Unit::Year => date().year,
            Unit::IsoYear => civil::iso_week(days).0,
            Unit::Decade => date().year.div_euclid(10),
            Unit::Century => (date().year + 99).div_euclid(100),
            Unit::Millennium => (date().year + 999).div_euclid(1000),
        }
    }
}
