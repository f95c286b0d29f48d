//! The naive evaluator: the answer of a query, row by row over the events.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::ask::{Asked, Kind};
use super::bucket::Bucket;
use super::events::Event;
use super::filter::uses_virtual;
use super::{DAY, HOUR, MINUTE};

/// A key of a group: nulls before numbers before texts, each in its own order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Null,
    Long(i64),
    Text(String),
    List(Vec<i64>),
}

impl Key {
    pub(super) fn json(&self) -> Json {
        match self {
            Key::Null => Json::Null,
            Key::Long(long) => json!(long),
            Key::Text(text) => json!(text),
            Key::List(list) => json!(list),
        }
    }
}

impl Asked {
    pub(super) fn start(&self, time: i64) -> i64 {
        self.bucket.start(time, self.interval.0)
    }

    /// The answer, row by row.
    pub(super) fn naive(&self, events: &[Event]) -> Json {
        let filter = match (&self.kind, &self.filter) {
            (Kind::Boundary, Some(test)) if uses_virtual(test) => None,
            (_, filter) => filter.as_ref(),
        };
        let matching: Vec<&Event> = events
            .iter()
            .filter(|event| (self.interval.0..self.interval.1).contains(&event.time))
            .filter(|event| filter.is_none_or(|test| test.holds(event) == Some(true)))
            .collect();
        match &self.kind {
            Kind::Timeseries { descending, limit } => self.naive_timeseries(&matching, *descending, *limit),
            Kind::TopN { dimension, metric, inverted, threshold } => {
                let touched = events.iter().any(|event| (self.interval.0..self.interval.1).contains(&event.time));
                self.naive_top_n(&matching, dimension, *metric, *inverted, *threshold, touched)
            }
            Kind::GroupBy { dimensions, sets, order, limit, offset, least } => {
                let all: Vec<usize> = (0..dimensions.len()).collect();
                let sets = sets.as_deref().unwrap_or(std::slice::from_ref(&all));
                let of =
                    |set: &Vec<usize>| self.naive_group_by(&matching, dimensions, set, *order, *limit, *offset, *least);
                sets.iter().flat_map(|set| of(set).as_array().cloned().unwrap_or_default()).collect()
            }
            Kind::Scan { order, limit, offset, .. } => naive_scan(&matching, *order, *limit, *offset),
            Kind::Boundary => match (matching.iter().map(|e| e.time).min(), matching.iter().map(|e| e.time).max()) {
                (Some(min), Some(max)) => {
                    json!([{"timestamp": iso(min), "result": {"minTime": iso(min), "maxTime": iso(max)}}])
                }
                _ => json!([]),
            },
            Kind::Search { text } => self.naive_search(&matching, text),
        }
    }

    pub(super) fn values(&self, events: &[&Event]) -> Vec<Json> {
        self.folds.iter().map(|fold| fold.of(events)).collect()
    }

    pub(super) fn naive_timeseries(&self, matching: &[&Event], descending: bool, limit: usize) -> Json {
        let mut buckets: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
        if self.bucket == Bucket::All {
            buckets.insert(self.interval.0, Vec::new());
        }
        for event in matching {
            buckets.entry(self.start(event.time)).or_default().push(event);
        }
        let mut rows: Vec<Json> = buckets
            .iter()
            .map(|(start, events)| {
                let values = self.values(events);
                let result: Map<String, Json> = (0..values.len()).map(Asked::name).zip(values).collect();
                json!({"timestamp": self.bucket.shown(*start), "result": result})
            })
            .collect();
        if descending {
            rows.reverse();
        }
        if limit > 0 {
            rows.truncate(limit);
        }
        json!(rows)
    }

    /// The events of each group, exploded by the values of the columns.
    pub(super) fn groups<'a>(
        &self,
        matching: &[&'a Event],
        columns: &[&str],
    ) -> BTreeMap<(i64, Vec<Key>), Vec<&'a Event>> {
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for event in matching {
            let mut keys: Vec<Vec<Key>> = vec![Vec::new()];
            for column in columns {
                let text = |text: &String| Key::Text(text.clone());
                let values: Vec<Key> = match *column {
                    "s" => vec![event.s.as_ref().map_or(Key::Null, text)],
                    "v" => vec![event.s.as_ref().map_or(Key::Null, |s| Key::Text(s.to_uppercase()))],
                    "l" => vec![event.l.map_or(Key::Null, Key::Long)],
                    "dn" => vec![event.nested().0.map_or(Key::Null, Key::Long)],
                    "dt" => vec![event.nested().1.map_or(Key::Null, |t| Key::Text(t.into()))],
                    "list" => vec![event.list.clone().map_or(Key::Null, Key::List)],
                    "k" if event.kept().is_empty() => vec![Key::Null],
                    "k" => event.kept().into_iter().map(|text| Key::Text(text.into())).collect(),
                    _ if event.m.is_empty() => vec![Key::Null],
                    _ => event.m.iter().map(text).collect(),
                };
                keys = keys
                    .iter()
                    .flat_map(|key| values.iter().map(|value| [key.as_slice(), std::slice::from_ref(value)].concat()))
                    .collect();
            }
            for key in keys {
                groups.entry((self.start(event.time), key)).or_default().push(event);
            }
        }
        groups
    }

    pub(super) fn naive_top_n(
        &self,
        matching: &[&Event],
        dimension: &str,
        metric: usize,
        inverted: bool,
        threshold: usize,
        touched: bool,
    ) -> Json {
        let mut buckets: BTreeMap<i64, Vec<(Key, Vec<Json>)>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, &[dimension]) {
            buckets.entry(start).or_default().push((keys.remove(0), self.values(&events)));
        }
        if self.bucket == Bucket::All && touched {
            buckets.entry(self.interval.0).or_default();
        }
        let elements = buckets.into_iter().map(|(start, mut rows)| {
            // Stable: ties stay in the order of their keys.
            rows.sort_by(|(_, a), (_, b)| {
                let (a, b) = (a[metric].as_f64(), b[metric].as_f64());
                match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, _) => Ordering::Greater,
                    (_, None) => Ordering::Less,
                    (Some(a), Some(b)) if inverted => a.total_cmp(&b),
                    (Some(a), Some(b)) => b.total_cmp(&a),
                }
            });
            rows.truncate(threshold);
            let rows: Vec<Json> = rows
                .into_iter()
                .map(|(key, values)| {
                    let mut row = Map::from_iter([(dimension.to_string(), key.json())]);
                    row.extend((0..values.len()).map(Asked::name).zip(values));
                    Json::Object(row)
                })
                .collect();
            json!({"timestamp": self.bucket.shown(start), "result": rows})
        });
        elements.collect()
    }

    pub(super) fn naive_group_by(
        &self,
        matching: &[&Event],
        dimensions: &[&str],
        set: &[usize],
        order: Option<(usize, bool)>,
        limit: Option<usize>,
        offset: usize,
        least: Option<i64>,
    ) -> Json {
        // Rows count for each of their values, also where a set lacks the dimension.
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, dimensions) {
            (0..keys.len()).filter(|at| !set.contains(at)).for_each(|at| keys[at] = Key::Null);
            groups.entry((start, keys)).or_default().extend(events);
        }
        let mut rows: Vec<(i64, Vec<Key>, Vec<Json>)> =
            groups.into_iter().map(|((start, keys), events)| (start, keys, self.values(&events))).collect();
        if rows.is_empty() && dimensions.is_empty() && self.bucket == Bucket::All && offset == 0 {
            rows.push((self.interval.0, Vec::new(), self.values(&[])));
        }
        rows.retain(|(.., values)| least.is_none_or(|least| values[0].as_i64().is_some_and(|count| count > least)));
        if let Some((by, descending)) = order {
            rows.sort_by(|(a_time, _, a), (b_time, _, b)| {
                let (a, b) = (a[by].as_f64(), b[by].as_f64());
                let by_value = match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, _) => Ordering::Less,
                    (_, None) => Ordering::Greater,
                    (Some(a), Some(b)) => a.total_cmp(&b),
                };
                a_time.cmp(b_time).then(if descending { by_value.reverse() } else { by_value })
            });
        }
        let rows = rows.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX));
        rows.map(|(start, keys, values)| {
            let mut event: Map<String, Json> =
                dimensions.iter().map(|name| name.to_string()).zip(keys.iter().map(Key::json)).collect();
            event.extend((0..values.len()).map(Asked::name).zip(values));
            json!({"version": "v1", "timestamp": self.bucket.shown(start), "event": event})
        })
        .collect()
    }

    pub(super) fn naive_search(&self, matching: &[&Event], text: &str) -> Json {
        let mut hits: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for event in matching {
            for s in event.s.iter().filter(|s| s.contains(text)) {
                *hits.entry((s.clone(), "s")).or_default() += 1;
            }
            for m in event.m.iter().filter(|m| m.contains(text)) {
                *hits.entry((m.clone(), "m")).or_default() += 1;
            }
        }
        if hits.is_empty() {
            return json!([]);
        }
        let rows: Vec<Json> = hits
            .into_iter()
            .map(|((value, name), count)| json!({"dimension": name, "value": value, "count": count}))
            .collect();
        json!([{"timestamp": iso(self.interval.0), "result": rows}])
    }
}

/// All rows as one batch, in the order asked for.
pub(super) fn naive_scan(matching: &[&Event], order: Option<bool>, limit: Option<usize>, offset: usize) -> Json {
    let mut events = matching.to_vec();
    match order {
        None => {}
        Some(true) => events.sort_by_key(|event| -event.time),
        Some(false) => events.sort_by_key(|event| event.time),
    }
    let rows: Vec<Json> = events
        .into_iter()
        .skip(offset)
        .take(limit.unwrap_or(usize::MAX))
        .map(|event| {
            let m = match event.m.as_slice() {
                [] => Json::Null,
                [one] => json!(one),
                many => json!(many),
            };
            let v = event.s.as_ref().map(|s| s.to_uppercase());
            json!([event.time, event.s, m, event.l, v, event.x, event.list, event.nested().0, event.nested().1])
        })
        .collect();
    json!([{"events": rows}])
}

/// `2026-03-01T00:00:00.000Z`, by civil-calendar arithmetic of its own.
pub(super) fn iso(time: i64) -> String {
    let (days, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / HOUR, rest % HOUR / MINUTE);
    let (second, milli) = (rest % MINUTE / 1000, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}
