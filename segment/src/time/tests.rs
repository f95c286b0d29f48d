//! Intervals and granularities against dates worked out by hand, and laws that every granularity keeps.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(text: &str) -> i64 {
    parse_timestamp(text).unwrap()
}

#[test]
fn intervals() {
    for (text, printed) in [
        ("2016-06-27/2016-06-28", "2016-06-27T00:00:00.000Z/2016-06-28T00:00:00.000Z"),
        ("2016/P1M", "2016-01-01T00:00:00.000Z/2016-02-01T00:00:00.000Z"),
        ("P1M/2016-03-31", "2016-02-29T00:00:00.000Z/2016-03-31T00:00:00.000Z"),
        ("2016-06/2016-W27", "2016-06-01T00:00:00.000Z/2016-07-04T00:00:00.000Z"),
        ("2016-06-27T01+02:00/PT1H", "2016-06-26T23:00:00.000Z/2016-06-27T00:00:00.000Z"),
        ("2016/2016", "2016-01-01T00:00:00.000Z/2016-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(Interval::parse(text).unwrap().to_string(), printed);
    }
    assert_eq!(Interval::parse(&Interval::ETERNITY.to_string()).unwrap(), Interval::ETERNITY);
    for text in ["", "2016", "2017/2016", "P1D/P1D", "x/2016", "2016/PT", "2016/2017/2018"] {
        assert!(Interval::parse(text).is_err(), "{text}");
    }
}

#[test]
fn merging_intervals() {
    let i = |start, end| Interval { start, end };
    assert_eq!(Interval::merge(&[i(5, 6), i(1, 3), i(3, 4), i(2, 3), i(9, 9)]), [i(1, 4), i(5, 6)]);
}

/// Bucket of an instant in a granularity given as JSON or by name.
fn bucket(granularity: serde_json::Value, t: &str) -> String {
    let granularity = Granularity::from_json(&granularity).unwrap();
    let bucket = granularity.bucket(at(t));
    format!(
        "{} {}",
        format_timestamp_in(bucket.start, granularity.zone()),
        format_timestamp_in(bucket.end, granularity.zone())
    )
    .replace(":00.000", "")
}

#[test]
fn buckets() {
    let t = "2016-06-29T13:47:59.123Z";
    for (granularity, expected) in [
        (json!("minute"), "2016-06-29T13:47Z 2016-06-29T13:48Z"),
        (json!("FIFTEEN_MINUTE"), "2016-06-29T13:45Z 2016-06-29T14:00Z"),
        (json!("six_hour"), "2016-06-29T12:00Z 2016-06-29T18:00Z"),
        (json!("day"), "2016-06-29T00:00Z 2016-06-30T00:00Z"),
        (json!("week"), "2016-06-27T00:00Z 2016-07-04T00:00Z"),
        (json!("month"), "2016-06-01T00:00Z 2016-07-01T00:00Z"),
        (json!("quarter"), "2016-04-01T00:00Z 2016-07-01T00:00Z"),
        (json!("year"), "2016-01-01T00:00Z 2017-01-01T00:00Z"),
        (json!({"type": "period", "period": "P2W"}), "2016-06-16T00:00Z 2016-06-30T00:00Z"),
        (
            json!({"type": "period", "period": "P1D", "timeZone": "America/Los_Angeles"}),
            "2016-06-29T00:00-07:00 2016-06-30T00:00-07:00",
        ),
        (
            json!({"type": "period", "period": "P1D", "origin": "2016-01-01T06:00Z"}),
            "2016-06-29T06:00Z 2016-06-30T06:00Z",
        ),
        (
            json!({"type": "period", "period": "P1M", "origin": "2012-01-31T00:00Z"}),
            "2016-05-31T00:00Z 2016-06-30T00:00Z",
        ),
        (json!({"type": "period", "period": "P1M3D", "origin": "2016-01-01"}), "2016-06-16T00:00Z 2016-07-19T00:00Z"),
        (json!({"type": "period", "period": "PT1H30M"}), "2016-06-29T13:30Z 2016-06-29T15:00Z"),
        (
            json!({"type": "period", "period": "P1W", "timeZone": "+05:30"}),
            "2016-06-27T00:00+05:30 2016-07-04T00:00+05:30",
        ),
        (
            json!({"type": "duration", "duration": 7_200_000, "origin": "2016-01-01T00:30Z"}),
            "2016-06-29T12:30Z 2016-06-29T14:30Z",
        ),
        (json!({"type": "duration", "duration": "3600000"}), "2016-06-29T13:00Z 2016-06-29T14:00Z"),
    ] {
        assert_eq!(bucket(granularity.clone(), t), expected, "{granularity}");
    }
    let zoned = |period: &str, zone: &str| json!({"type": "period", "period": period, "timeZone": zone});
    for (granularity, t, expected) in [
        // Days of 23 and 25 hours.
        (zoned("P1D", "America/Los_Angeles"), "2016-03-13T20:00Z", "2016-03-13T00:00-08:00 2016-03-14T00:00-07:00"),
        (zoned("P1D", "America/Los_Angeles"), "2016-11-06T20:00Z", "2016-11-06T00:00-07:00 2016-11-07T00:00-08:00"),
        // The hour that comes twice is two buckets.
        (zoned("PT1H", "America/Los_Angeles"), "2016-11-06T08:30Z", "2016-11-06T01:00-07:00 2016-11-06T01:00-08:00"),
        (zoned("PT1H", "America/Los_Angeles"), "2016-11-06T09:30Z", "2016-11-06T01:00-08:00 2016-11-06T02:00-08:00"),
        // Midnight that does not exist.
        (zoned("P1D", "America/Sao_Paulo"), "2016-10-16T12:00Z", "2016-10-16T01:00-02:00 2016-10-17T00:00-02:00"),
        (zoned("P1M", "America/Los_Angeles"), "2016-03-20T00:00Z", "2016-03-01T00:00-08:00 2016-04-01T00:00-07:00"),
        (zoned("P1Y", "Asia/Kolkata"), "2016-03-20T00:00Z", "2016-01-01T00:00+05:30 2017-01-01T00:00+05:30"),
        (zoned("PT1H", "Asia/Kolkata"), "2016-03-20T00:00Z", "2016-03-20T05:00+05:30 2016-03-20T06:00+05:30"),
        (zoned("P1DT1H", "America/Los_Angeles"), "1970-01-03T12:00Z", "1970-01-03T02:00-08:00 1970-01-04T03:00-08:00"),
    ] {
        assert_eq!(bucket(granularity.clone(), t), expected, "{granularity} {t}");
    }
    assert_eq!(Granularity::All.bucket(0), Interval::ETERNITY);
    assert_eq!(Granularity::None.bucket(7), Interval { start: 7, end: 8 });
}

#[test]
fn granularities_are_read_and_written() {
    for (json, written) in [
        (json!("hour"), json!("HOUR")),
        (json!({"type": "all"}), json!({"type": "all"})),
        (json!({"type": "period", "period": "P1D", "timeZone": "UTC", "origin": null}), json!("DAY")),
        (
            json!({"type": "period", "period": "P1D", "timeZone": "Europe/Paris"}),
            json!({"type": "period", "period": "P1D", "timeZone": "Europe/Paris", "origin": null}),
        ),
        (
            json!({"type": "duration", "duration": 3_600_000, "origin": "2016-01-01T00:30:00Z"}),
            json!({"type": "duration", "duration": 3_600_000, "origin": "1970-01-01T00:30:00.000Z"}),
        ),
    ] {
        let granularity = Granularity::from_json(&json).unwrap();
        assert_eq!(granularity.to_json(), written);
        assert_eq!(Granularity::from_json(&written).unwrap(), granularity);
    }
    for (json, text) in [
        (json!("hourly"), "unknown granularity [hourly]: use one of all, none, second"),
        (json!(5), "granularity must be a name or an object"),
        (json!({"type": "period"}), "granularity.period is missing"),
        (json!({"type": "period", "period": "PT0S"}), "must not be zero"),
        (json!({"type": "period", "period": "P-1D"}), "must not be negative"),
        (json!({"type": "period", "period": "P1D", "timeZone": "Mars/Base"}), "unknown time zone [Mars/Base]"),
        (json!({"type": "period", "period": "P1D", "origin": "noon"}), "granularity.origin"),
        (json!({"type": "duration", "duration": 0}), "above 0"),
        (json!({"type": "lunar"}), "unknown granularity type [lunar]"),
        (json!({}), "granularity.type is missing"),
    ] {
        let error = Granularity::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(text), "{json}: {error}");
    }
}

#[test]
fn absurd_iterations_can_be_seen() {
    let year = Interval::parse("2016/2017").unwrap();
    assert_eq!(Granularity::named("hour").unwrap().count_estimate(year), 366 * 24 + 1);
    assert_eq!(Granularity::All.count_estimate(Interval::ETERNITY), 1);
    assert!(Granularity::None.count_estimate(Interval::ETERNITY) > 1 << 62);
    assert!(Granularity::named("year").unwrap().count_estimate(Interval::ETERNITY) > 200_000_000);
}

fn any_granularity() -> impl Strategy<Value = Granularity> {
    let period = prop::sample::select(vec![
        "PT1S", "PT1M", "PT5M", "PT1H", "PT6H", "PT7H", "P1D", "P3D", "P1W", "P2W", "P1M", "P3M", "P5M", "P1Y", "P3Y",
        "P1M3D", "P1DT1H", "PT1H30M", "P1Y2M", "PT0.007S",
    ]);
    let zone = prop::sample::select(vec![
        "UTC",
        "America/Los_Angeles",
        "America/Sao_Paulo",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "+05:45",
        "Europe/Dublin",
        "America/Havana",
        "America/St_Johns",
        "Pacific/Kwajalein",
    ]);
    let origin = prop::option::of(-2_000_000_000_000i64..3_000_000_000_000);
    let periods = (period, zone, origin).prop_map(|(p, z, o)| Granularity::period(p, z, o).unwrap());
    prop_oneof![
        8 => periods,
        1 => (1i64..10_000_000_000, any::<i64>()).prop_map(|(millis, origin)| Granularity::Duration { millis, origin: origin.rem_euclid(millis) }),
        1 => Just(Granularity::None),
        1 => Just(Granularity::All),
    ]
}

/// Clocks went back by half an hour at 2014-04-05T15:00Z, from 02:00 to 01:30.
#[test]
fn an_hour_in_which_clocks_change_by_half_of_it_is_two_buckets() {
    let hours = Granularity::period("PT1H", "Australia/Lord_Howe", None).unwrap();
    let at = |text: &str| parse_timestamp(text).unwrap();
    for (start, end) in [("2014-04-05T14:00Z", "2014-04-05T15:00Z"), ("2014-04-05T15:00Z", "2014-04-05T15:30Z")] {
        for t in [at(start), (at(start) + at(end)) / 2, at(end) - 1] {
            assert_eq!(hours.bucket(t), Interval { start: at(start), end: at(end) }, "{t}");
        }
    }
}

/// Clocks went back from 01:00 to 00:00 at 2026-11-01T05:00Z: that day's midnight came twice.
#[test]
fn a_midnight_that_comes_twice_starts_a_day_each_time() {
    let days = Granularity::period("P1D", "America/Havana", None).unwrap();
    let at = |text: &str| parse_timestamp(text).unwrap();
    let starts = ["2026-10-31T04:00Z", "2026-11-01T04:00Z", "2026-11-01T05:00Z", "2026-11-02T05:00Z"].map(at);
    for pair in starts.windows(2) {
        for t in [pair[0], (pair[0] + pair[1]) / 2, pair[1] - 1] {
            assert_eq!(days.bucket(t), Interval { start: pair[0], end: pair[1] }, "{t}");
        }
    }
}

/// The same for months, seen from the summer after, when the offset is the one of the first midnight again; and where
/// clocks went back from 00:01 to 23:01 of the day before.
#[test]
fn a_start_that_comes_twice_starts_a_bucket_each_time() {
    let at = |text: &str| parse_timestamp(text).unwrap();
    let check = |period: &str, zone: &str, starts: &[&str]| {
        let granularity = Granularity::period(period, zone, None).unwrap();
        let starts: Vec<i64> = starts.iter().map(|text| at(text)).collect();
        for pair in starts.windows(2) {
            for t in [pair[0], (pair[0] + pair[1]) / 2, pair[1] - 1] {
                assert_eq!(granularity.bucket(t), Interval { start: pair[0], end: pair[1] }, "{period} {zone} {t}");
            }
        }
    };
    check(
        "P5M",
        "America/Havana",
        &["2020-06-01T04:00Z", "2020-11-01T04:00Z", "2020-11-01T05:00Z", "2021-04-01T04:00Z"],
    );
    check(
        "P1M",
        "America/Havana",
        &["2020-10-01T04:00Z", "2020-11-01T04:00Z", "2020-11-01T05:00Z", "2020-12-01T05:00Z"],
    );
    let days = ["2010-11-06T02:30Z", "2010-11-07T02:30Z", "2010-11-07T03:30Z", "2010-11-08T03:30Z"];
    check("P1D", "America/St_Johns", &days);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn buckets_partition_time(granularity in any_granularity(), t in -3_000_000_000_000i64..4_000_000_000_000, ahead in 0.0f64..1.0) {
        let bucket = granularity.bucket(t);
        prop_assert!(bucket.contains(t), "{:?} {}", bucket, t);
        prop_assert_eq!(granularity.floor(bucket.start), bucket.start);
        let inside = bucket.start + ((bucket.end - bucket.start - 1) as f64 * ahead) as i64;
        prop_assert_eq!(granularity.floor(inside), bucket.start);
        prop_assert_eq!(granularity.floor(bucket.end - 1), bucket.start);
        if granularity != Granularity::All {
            prop_assert_eq!(granularity.floor(bucket.end), bucket.end);
            prop_assert!(granularity.floor(bucket.start - 1) < bucket.start);
            prop_assert_eq!(granularity.next(granularity.floor(bucket.start - 1)), bucket.start);
        }
    }

    #[test]
    fn many_at_once_agree_with_one(granularity in any_granularity(), mut times in prop::collection::vec(-100_000_000_000i64..2_000_000_000_000, 0..60), sorted: bool) {
        if sorted {
            times.sort_unstable();
        }
        let mut out = vec![0; times.len()];
        granularity.floor_all(&times, &mut out);
        let one: Vec<i64> = times.iter().map(|t| granularity.floor(*t)).collect();
        prop_assert_eq!(out, one);
    }

    #[test]
    fn json_keeps_the_meaning(granularity in any_granularity()) {
        prop_assert_eq!(Granularity::from_json(&granularity.to_json()).unwrap(), granularity);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_instant_is_too_far(granularity in any_granularity(), t: i64) {
        let bucket = granularity.bucket(t);
        prop_assert!(bucket.start <= t || granularity == Granularity::All);
    }
}
