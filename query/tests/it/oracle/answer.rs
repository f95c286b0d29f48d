//! The naive evaluator: the answer of a query, row by row over the events.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::ask::{Asked, GroupBy, Kind, Rank, Sort};
use super::bucket::Bucket;
use super::dimension::{Dimension, Key};
use super::events::Event;
use super::filter::Find;
use super::order::Order;
use super::{DAY, HOUR, MINUTE};

impl Asked {
    pub(super) fn start(&self, time: i64) -> i64 {
        self.bucket.start(time, self.interval.0)
    }

    /// The answer, row by row.
    pub(super) fn naive(&self, events: &[Event]) -> Json {
        let matching: Vec<&Event> = events.iter().filter(|event| self.matches(event)).collect();
        match &self.kind {
            Kind::Timeseries { descending, limit } => self.naive_timeseries(&matching, *descending, *limit),
            Kind::TopN { dimension, metric, inverted, threshold } => {
                let touched = events.iter().any(|event| (self.interval.0..self.interval.1).contains(&event.time));
                self.naive_top_n(&matching, dimension, (metric, *inverted), *threshold, touched)
            }
            Kind::GroupBy(group) => {
                let all: Vec<usize> = (0..group.dimensions.len()).collect();
                let sets = group.sets.as_deref().unwrap_or(std::slice::from_ref(&all));
                let of = |set: &Vec<usize>| self.naive_group_by(&matching, group, set);
                sets.iter().flat_map(|set| of(set).as_array().cloned().unwrap_or_default()).collect()
            }
            Kind::Metadata => match events.iter().map(|event| event.time).max() {
                Some(max) => json!([{"timestamp": iso(max), "result": {"maxIngestedEventTime": iso(max)}}]),
                None => json!([]),
            },
            Kind::Scan { order, limit, offset, .. } => naive_scan(&matching, *order, *limit, *offset),
            Kind::Boundary => match (matching.iter().map(|e| e.time).min(), matching.iter().map(|e| e.time).max()) {
                (Some(min), Some(max)) => {
                    json!([{"timestamp": iso(min), "result": {"minTime": iso(min), "maxTime": iso(max)}}])
                }
                _ => json!([]),
            },
            Kind::Search { find, dimensions, order } => self.naive_search(&matching, find, dimensions, *order),
        }
    }

    /// What the aggregates say of a group that has these dimensions, then what the post-aggregates do: as
    /// [`Asked::names`] names them.
    pub(super) fn values(&self, events: &[&Event], dimensions: &[&str]) -> Vec<Json> {
        let folds: Vec<Json> = self.folds.iter().map(|fold| fold.of(events, dimensions)).collect();
        let asked = self.folds.iter().filter_map(|fold| fold.answer(events));
        let sums = self.sums.iter().map(|sum| sum.of(&folds));
        let sets = self.sets.iter().map(|set| set.of(&self.folds, events));
        let posts: Vec<Json> = asked.chain(sums).chain(sets).collect();
        folds.into_iter().chain(posts).collect()
    }

    /// Whether there may be a group of several rows.
    pub(super) fn is_crowded(&self, events: &[Event]) -> bool {
        let matching: Vec<&Event> = events.iter().filter(|event| self.matches(event)).collect();
        let dimensions = match &self.kind {
            Kind::TopN { dimension, .. } => std::slice::from_ref(dimension),
            // What a set leaves out is told apart no more.
            Kind::GroupBy(group) if group.sets.is_none() => group.dimensions.as_slice(),
            _ => &[],
        };
        self.groups(&matching, dimensions).values().any(|events| events.len() > 1)
            || matches!(&self.kind, Kind::GroupBy(group) if group.sets.is_some() && !matching.is_empty())
    }

    fn matches(&self, event: &Event) -> bool {
        (self.interval.0..self.interval.1).contains(&event.time)
            && self.filter.as_ref().is_none_or(|test| test.holds(event) == Some(true))
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
                let values = self.values(events, &[]);
                let result: Map<String, Json> = self.names().into_iter().zip(values).collect();
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
        columns: &[Dimension],
    ) -> BTreeMap<(i64, Vec<Key>), Vec<&'a Event>> {
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for event in matching {
            let mut keys: Vec<Vec<Key>> = vec![Vec::new()];
            for column in columns {
                let values = column.keys(event);
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
        dimension: &Dimension,
        (metric, inverted): (&Rank, bool),
        threshold: usize,
        touched: bool,
    ) -> Json {
        let mut buckets: BTreeMap<i64, Vec<(Key, Vec<Json>)>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, std::slice::from_ref(dimension)) {
            buckets.entry(start).or_default().push((keys.remove(0), self.values(&events, &[dimension.output()])));
        }
        if self.bucket == Bucket::All && touched {
            buckets.entry(self.interval.0).or_default();
        }
        let elements = buckets.into_iter().map(|(start, mut rows)| {
            match metric {
                // Stable: ties stay in the order of their keys.
                Rank::Number(metric) => rows.sort_by(|(_, a), (_, b)| {
                    let (a, b) = (a[*metric].as_f64(), b[*metric].as_f64());
                    match (a, b) {
                        (None, None) => Ordering::Equal,
                        (None, _) => Ordering::Greater,
                        (_, None) => Ordering::Less,
                        (Some(a), Some(b)) if inverted => a.total_cmp(&b),
                        (Some(a), Some(b)) => b.total_cmp(&a),
                    }
                }),
                Rank::Dimension(order, stop) => {
                    let compare = |a: &Option<String>, b: &Option<String>| {
                        let found = order.compare(a.as_deref(), b.as_deref());
                        if inverted { found.reverse() } else { found }
                    };
                    rows.retain(|(key, _)| stop.is_none() || compare(&key.text(), stop) == Ordering::Greater);
                    rows.sort_by(|(a, _), (b, _)| compare(&a.text(), &b.text()));
                }
            }
            rows.truncate(threshold);
            let rows: Vec<Json> = rows
                .into_iter()
                .map(|(key, values)| {
                    let mut row = Map::from_iter([(dimension.output().to_string(), key.json())]);
                    row.extend(self.names().into_iter().zip(values));
                    Json::Object(row)
                })
                .collect();
            json!({"timestamp": self.bucket.shown(start), "result": rows})
        });
        elements.collect()
    }

    pub(super) fn naive_group_by(&self, matching: &[&Event], group: &GroupBy, set: &[usize]) -> Json {
        let GroupBy { dimensions, order, limit, offset, having, .. } = group;
        // Rows count for each of their values, also where a set lacks the dimension.
        let mut groups: BTreeMap<(i64, Vec<Key>), Vec<&Event>> = BTreeMap::new();
        for ((start, mut keys), events) in self.groups(matching, dimensions) {
            (0..keys.len()).filter(|at| !set.contains(at)).for_each(|at| keys[at] = Key::Null);
            groups.entry((start, keys)).or_default().extend(events);
        }
        let has: Vec<&str> = set.iter().map(|at| dimensions[*at].output()).collect();
        let mut rows: Vec<(i64, Vec<Key>, Vec<Json>)> =
            groups.into_iter().map(|((start, keys), events)| (start, keys, self.values(&events, &has))).collect();
        if rows.is_empty() && dimensions.is_empty() && self.bucket == Bucket::All && *offset == 0 {
            rows.push((self.interval.0, Vec::new(), self.values(&[], &has)));
        }
        rows.retain(|(_, keys, values)| having.as_ref().is_none_or(|having| having.keeps(values, keys)));
        // Stable: ties stay in the order of their keys.
        rows.sort_by(|(a_time, a_keys, a), (b_time, b_keys, b)| {
            let mut found = a_time.cmp(b_time);
            for (sort, descending) in order {
                let one = match sort {
                    Sort::Number(by) => match (a[*by].as_f64(), b[*by].as_f64()) {
                        (None, None) => Ordering::Equal,
                        (None, _) => Ordering::Less,
                        (_, None) => Ordering::Greater,
                        (Some(a), Some(b)) => a.total_cmp(&b),
                    },
                    Sort::Dimension(by, order) => {
                        order.compare(a_keys[*by].text().as_deref(), b_keys[*by].text().as_deref())
                    }
                };
                found = found.then(if *descending { one.reverse() } else { one });
            }
            found
        });
        let rows = rows.into_iter().skip(*offset).take(limit.unwrap_or(usize::MAX));
        rows.map(|(start, keys, values)| {
            let mut event: Map<String, Json> =
                dimensions.iter().map(|one| one.output().to_string()).zip(keys.iter().map(Key::json)).collect();
            event.extend(self.names().into_iter().zip(values));
            json!({"version": "v1", "timestamp": self.bucket.shown(start), "event": event})
        })
        .collect()
    }

    pub(super) fn naive_search(
        &self,
        matching: &[&Event],
        find: &Find,
        dimensions: &[Dimension],
        order: Order,
    ) -> Json {
        let mut hits: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for (event, dimension) in matching.iter().flat_map(|event| dimensions.iter().map(move |one| (event, one))) {
            for value in dimension.keys(event) {
                if let Some(value) = value.text()
                    && find.finds(&value)
                {
                    *hits.entry((value, dimension.output())).or_default() += 1;
                }
            }
        }
        let mut hits: Vec<((String, &str), u64)> = hits.into_iter().collect();
        hits.sort_by(|((a, _), _), ((b, _), _)| order.compare(Some(a), Some(b)));
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
            let (n, t) = event.nested();
            let a = event.doc.as_ref().and_then(|doc| doc.a.as_ref());
            let object = json!({"text": event.s, "number": event.l});
            json!([event.time, event.s, m, event.l, event.d, v, event.x, event.list, n, t, a, object, n])
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
