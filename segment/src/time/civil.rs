//! The proleptic Gregorian calendar on plain integers. Days count from 1970-01-01. Years may be any that fit the range
//! of `i64` milliseconds; callers with larger ones clamp them first.

pub const MILLIS_PER_SECOND: i64 = 1_000;
pub const MILLIS_PER_MINUTE: i64 = 60_000;
pub const MILLIS_PER_HOUR: i64 = 3_600_000;
pub const MILLIS_PER_DAY: i64 = 86_400_000;
pub const MILLIS_PER_WEEK: i64 = 7 * MILLIS_PER_DAY;

/// The last year whose every instant fits `i64` milliseconds, with room for arithmetic.
pub const YEAR_MAX: i64 = 292_000_000;

/// A local date and time of day. Months and days count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    /// Milliseconds since midnight.
    pub millis: i64,
}

pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 } as i64;
    let doy = (153 * shifted + 2) / 5 + day as i64 - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// Year, month and day of a day number.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Monday is 1, Sunday is 7.
pub fn day_of_week(days: i64) -> u32 {
    (days + 3).rem_euclid(7) as u32 + 1
}

/// The ISO year and week of a day.
pub fn iso_week(days: i64) -> (i64, u32) {
    let thursday = days - i64::from(day_of_week(days)) + 4;
    let (year, _, _) = civil_from_days(thursday);
    (year, ((thursday - days_from_civil(year, 1, 1)) / 7) as u32 + 1)
}

/// The Monday that starts week 1 of an ISO year.
pub fn iso_year_start(year: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - i64::from(day_of_week(fourth)) + 1
}

impl Civil {
    pub fn from_millis(t: i64) -> Civil {
        let days = t.div_euclid(MILLIS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Civil { year, month, day, millis: t.rem_euclid(MILLIS_PER_DAY) }
    }

    /// Saturates at the ends of the range.
    pub fn to_millis(self) -> i64 {
        let year = self.year.clamp(-YEAR_MAX, YEAR_MAX);
        days_from_civil(year, self.month, self.day) * MILLIS_PER_DAY + self.millis
    }

    /// Months since the start of year 0.
    pub fn month_index(self) -> i64 {
        self.year * 12 + i64::from(self.month) - 1
    }

    /// The same day of a month further on, or that month's last day.
    pub fn add_months(self, months: i64) -> Civil {
        let index = self.month_index().saturating_add(months).clamp(-YEAR_MAX * 12, YEAR_MAX * 12);
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
        Civil { year, month, day: self.day.min(days_in_month(year, month)), millis: self.millis }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-1_000_000..1_000_000).step_by(7).chain([-719_468, -719_469, 0, -1, 10_957, 11_016]) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
            assert!((1..=12).contains(&m) && d >= 1 && d <= days_in_month(y, m), "{y}-{m}-{d}");
        }
    }

    #[test]
    fn iso_weeks_at_the_turn_of_years() {
        for (date, week) in [
            ((2016, 1, 3), (2015, 53)),
            ((2016, 1, 4), (2016, 1)),
            ((2018, 12, 31), (2019, 1)),
            ((2020, 12, 31), (2020, 53)),
            ((2021, 1, 1), (2020, 53)),
        ] {
            let days = days_from_civil(date.0, date.1, date.2);
            assert_eq!(iso_week(days), week);
        }
        assert_eq!(iso_year_start(2016), days_from_civil(2016, 1, 4));
    }
}
