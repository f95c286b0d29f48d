//! Random queries over random ways to say the same rows, in JSON.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::time::Interval;
use serde_json::{Value as Json, json};

use super::arithmetic::{self, Sum};
use super::bucket::Bucket;
use super::dimension::Dimension;
use super::events::{KEPT, KEPT_MATCH, KEPT_PREFIX, word};
use super::extract::LOOKUP;
use super::filter::{FULL, Find, Test};
use super::fold::Fold;
use super::having::Having;
use super::order::Order;
use super::sets::Set;
use super::{BASE, DAY, DAYS, HOUR};

#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) interval: (i64, i64),
    pub(super) bucket: Bucket,
    pub(super) filter: Option<Test>,
    pub(super) folds: Vec<Fold>,
    /// Post-aggregates over numbers of the group, and over its sketches.
    pub(super) sums: Vec<Sum>,
    pub(super) sets: Vec<Set>,
    pub(super) source: Source,
}

/// What groups are put in the order of.
#[derive(Debug, Clone)]
pub(super) enum Sort {
    /// A number of the group, by its place.
    Number(usize),
    /// A dimension, by its place, as text.
    Dimension(usize, Order),
}

#[derive(Debug, Clone)]
pub(super) enum Rank {
    Number(usize),
    /// Values as text, only those behind one of them.
    Dimension(Order, Option<String>),
}

#[derive(Debug, Clone)]
pub(super) struct GroupBy {
    pub(super) dimensions: Vec<Dimension>,
    /// Grouping sets, as places of dimensions.
    pub(super) sets: Option<Vec<Vec<usize>>>,
    /// Whether each goes down.
    pub(super) order: Vec<(Sort, bool)>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
    pub(super) having: Option<Having>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Timeseries { descending: bool, limit: usize },
    TopN { dimension: Dimension, metric: Rank, inverted: bool, threshold: usize },
    GroupBy(GroupBy),
    Scan { order: Option<bool>, limit: Option<usize>, offset: usize, compact: bool },
    Boundary,
    Metadata,
    Search { find: Find, dimensions: Vec<Dimension>, order: Order },
}

impl Asked {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Asked {
        let mut folds = vec![Fold::Events];
        folds.extend((0..rng.random_range(0..4)).map(|_| Fold::random(rng, rollup)));
        let sets: Vec<Set> = match rng.random_bool(0.15) {
            true => vec![Set::random(rng, rollup, &mut folds)],
            false => Vec::new(),
        };
        let numbers: Vec<usize> = (0..folds.len()).filter(|at| folds[*at].orders()).collect();
        let count = rng.random_range(0..6usize).saturating_sub(3);
        let sums: Vec<Sum> = (0..count).map(|_| Sum::random(rng, &numbers, arithmetic::DEPTH)).collect();
        let mut asked = Asked {
            kind: Kind::Boundary,
            interval: interval(rng),
            bucket: Bucket::random(rng),
            filter: rng.random_bool(0.7).then(|| Test::random(rng, 3)),
            folds,
            sums,
            sets,
            source: Source::random(rng, 2),
        };
        asked.kind = asked.random_kind(rng, rollup, numbers);
        asked
    }

    fn random_kind(&self, rng: &mut SmallRng, rollup: bool, mut numbers: Vec<usize>) -> Kind {
        // The sums come behind the aggregates and what is asked of them.
        let first = self.names().len() - self.sums.len() - self.sets.len();
        numbers.extend((0..self.sums.len()).filter(|at| self.sums[*at].orders()).map(|at| first + at));
        let number = |rng: &mut SmallRng| *numbers.choose(rng).expect("events are counted");
        let some = |rng: &mut SmallRng| rng.random_bool(0.4).then(|| rng.random_range(1..20usize));
        match rng.random_range(0..if rollup { 7 } else { 10 }) {
            0 | 1 => Kind::Timeseries { descending: rng.random_bool(0.5), limit: some(rng).unwrap_or(0) },
            2 | 3 => Kind::TopN {
                dimension: match rng.random_bool(0.5) {
                    true => {
                        let columns = ["s", "m", "k", "kr", "kp", "dt", "os"];
                        Dimension::Plain(columns.choose(rng).expect("there are columns"))
                    }
                    false => Dimension::of_texts(rng, "d0".into()),
                },
                metric: match rng.random_bool(0.7) {
                    true => Rank::Number(number(rng)),
                    false => Rank::Dimension(Order::random(rng), rng.random_bool(0.3).then(|| word(rng))),
                },
                inverted: rng.random_bool(0.3),
                threshold: rng.random_range(1..9),
            },
            4 | 5 => Kind::GroupBy(GroupBy::random(rng, &numbers)),
            6 => match rng.random_bool(0.7) {
                true => Kind::Boundary,
                false => Kind::Metadata,
            },
            7 => Kind::Search {
                find: Find::random(rng),
                dimensions: match rng.random_bool(0.5) {
                    true => vec![Dimension::Plain("s"), Dimension::Plain("m"), Dimension::Plain("os")],
                    false => vec![Dimension::of_texts(rng, "d0".into()), Dimension::Plain("m")],
                },
                order: Order::random(rng),
            },
            _ => {
                let order = rng.random_bool(0.6).then(|| rng.random_bool(0.5));
                let limit = if order.is_some() { some(rng) } else { None };
                let offset = if limit.is_some() { rng.random_range(0..10) } else { 0 };
                Kind::Scan { order, limit, offset, compact: rng.random_bool(0.5) }
            }
        }
    }

    pub(super) fn name(n: usize) -> String {
        format!("a{n}")
    }

    /// Of what each group has: the aggregates, then the post-aggregates.
    pub(super) fn names(&self) -> Vec<String> {
        let posts = self.posts().into_iter().filter_map(|post| post["name"].as_str().map(str::to_string));
        (0..self.folds.len()).map(Asked::name).chain(posts).collect()
    }

    /// Of each group: what is asked of its aggregates, then sums and sets.
    fn posts(&self) -> Vec<Json> {
        let names: Vec<String> = (0..self.folds.len()).map(Asked::name).collect();
        let asked = self.folds.iter().enumerate().filter_map(|(n, f)| f.post(&format!("p{n}"), &names[n]));
        let sums = self.sums.iter().enumerate().map(|(n, sum)| sum.json(&format!("sum{n}"), &names));
        let sets = self.sets.iter().enumerate().map(|(n, set)| set.json(&format!("set{n}"), &names));
        asked.chain(sums).chain(sets).collect()
    }

    /// Whether several rows may be refused.
    pub(super) fn refuses(&self) -> bool {
        self.folds.iter().any(Fold::refuses)
    }

    pub(super) fn json(&self) -> Json {
        let interval = Interval { start: self.interval.0, end: self.interval.1 }.to_string();
        let granularity = self.bucket.json();
        let aggregations: Vec<Json> = self.folds.iter().enumerate().map(|(n, f)| f.json(&Asked::name(n))).collect();
        let posts = self.posts();
        let mut json = json!({
            "dataSource": self.source.json(),
            "intervals": [interval],
            "virtualColumns": [
                {"type": "expression", "name": "v", "expression": "upper(s)", "outputType": "STRING"},
                {"type": "mv-filtered", "name": "k", "delegate": "m", "values": KEPT},
                {"type": "mv-regex-filtered", "name": "kr", "delegate": "m", "pattern": FULL[KEPT_MATCH].0},
                {"type": "mv-prefix-filtered", "name": "kp", "delegate": "m", "prefix": KEPT_PREFIX},
                {"type": "fallback", "name": "fb", "columns": ["nowhere", "s"]},
                {"type": "expression", "name": "point", "expression": "concat(l, ',', d)", "outputType": "STRING"},
                {"type": "nested-field", "columnName": "doc", "outputName": "dn", "expectedType": "LONG", "path": "$.n"},
                {"type": "nested-field", "columnName": "doc", "outputName": "dt", "expectedType": "STRING", "path": "$.t"},
                {"type": "nested-field", "columnName": "doc", "outputName": "da", "expectedType": "ARRAY<LONG>", "path": "$.a"},
                {"type": "nested-object", "name": "object",
                    "object": {"text": {"expression": "s"}, "number": {"expression": "l"}}},
                {"type": "nested-merge", "name": "merged", "columns": ["doc", "object"]},
                {"type": "nested-field", "columnName": "object", "outputName": "os", "expectedType": "STRING", "path": "$.text"},
                {"type": "nested-field", "columnName": "merged", "outputName": "ol", "expectedType": "LONG", "path": "$.number"},
                {"type": "nested-field", "columnName": "merged", "outputName": "on", "expectedType": "LONG", "path": "$.n"},
            ],
            "filter": self.filter.as_ref().map(Test::json),
        });
        let own = match &self.kind {
            Kind::Timeseries { descending, limit } => json!({
                "queryType": "timeseries", "granularity": granularity, "aggregations": aggregations, "postAggregations": posts,
                "descending": descending, "limit": limit,
                "context": {"skipEmptyBuckets": self.bucket != Bucket::All},
            }),
            Kind::TopN { dimension, metric, inverted, threshold } => {
                let mut metric = match metric {
                    Rank::Number(at) => json!({"type": "numeric", "metric": self.names()[*at]}),
                    Rank::Dimension(Order::Lexicographic, stop) if *inverted => {
                        json!({"type": "lexicographic", "previousStop": stop})
                    }
                    Rank::Dimension(Order::Alphanumeric, stop) if *inverted => {
                        json!({"type": "alphaNumeric", "previousStop": stop})
                    }
                    Rank::Dimension(order, stop) => {
                        json!({"type": "dimension", "ordering": {"type": order.name()}, "previousStop": stop})
                    }
                };
                if *inverted {
                    metric = json!({"type": "inverted", "metric": metric});
                }
                json!({
                    "queryType": "topN", "granularity": granularity, "aggregations": aggregations, "postAggregations": posts,
                    "dimension": dimension.json(), "metric": metric, "threshold": threshold,
                })
            }
            Kind::GroupBy(group) => {
                let mut json = group.json(&self.names());
                json["granularity"] = granularity;
                json["aggregations"] = json!(aggregations);
                json["postAggregations"] = json!(posts);
                json
            }
            Kind::Scan { order, limit, offset, compact } => json!({
                "queryType": "scan", "columns": SCANNED, "batchSize": 7,
                "order": match order { None => "none", Some(true) => "descending", Some(false) => "ascending" },
                "limit": limit, "offset": offset,
                "resultFormat": if *compact { "compactedList" } else { "list" },
            }),
            Kind::Boundary => json!({"queryType": "timeBoundary"}),
            // Of the table: rows that are made for a query were never taken in, and those of a part neither.
            Kind::Metadata => return json!({"queryType": "dataSourceMetadata", "dataSource": "events"}),
            Kind::Search { find, dimensions, order } => json!({
                "queryType": "search", "searchDimensions": dimensions.iter().map(Dimension::json).collect::<Vec<_>>(),
                "query": find.json(), "sort": {"type": order.name()},
            }),
        };
        let fields = json.as_object_mut().expect("an object");
        fields.extend(own.as_object().expect("an object").clone());
        json
    }
}

/// What a scan shows.
const SCANNED: [&str; 13] = ["__time", "s", "m", "l", "d", "v", "x", "list", "dn", "dt", "da", "object", "on"];

fn interval(rng: &mut SmallRng) -> (i64, i64) {
    if rng.random_bool(0.5) {
        return (BASE - DAY, BASE + (DAYS + 1) * DAY);
    }
    let from = BASE + rng.random_range(-5..DAYS * 24) * HOUR;
    (from, from + rng.random_range(1..60) * HOUR)
}

impl GroupBy {
    fn random(rng: &mut SmallRng, numbers: &[usize]) -> GroupBy {
        let all = ["s", "m", "l", "d", "v", "k", "kr", "kp", "dn", "dt", "da", "os", "ol", "on", "list", "fb"];
        let mut dimensions: Vec<Dimension> =
            all.into_iter().filter(|_| rng.random_bool(0.13)).map(Dimension::Plain).collect();
        for n in 0..rng.random_range(0..3) {
            let made = Dimension::random(rng, format!("d{n}"));
            if dimensions.iter().all(|other| other.output() != made.output()) {
                dimensions.insert(rng.random_range(0..=dimensions.len()), made);
            }
        }
        let sets = (!dimensions.is_empty() && rng.random_bool(0.3)).then(|| {
            let set = |rng: &mut SmallRng| (0..dimensions.len()).filter(|_| rng.random_bool(0.5)).collect();
            (0..rng.random_range(1..4)).map(|_| set(rng)).collect()
        });
        let texts: Vec<usize> = (0..dimensions.len()).filter(|at| !dimensions[*at].is_list()).collect();
        let sort = |rng: &mut SmallRng| {
            let sort = match texts.choose(rng).filter(|_| rng.random_bool(0.4)) {
                Some(at) => Sort::Dimension(*at, Order::random(rng)),
                None => Sort::Number(*numbers.choose(rng).expect("events are counted")),
            };
            (sort, rng.random_bool(0.5))
        };
        let limit = rng.random_bool(0.4).then(|| rng.random_range(1..20usize));
        GroupBy {
            sets,
            order: (0..rng.random_range(0..4usize).saturating_sub(1)).map(|_| sort(rng)).collect(),
            offset: if limit.is_some() { rng.random_range(0..4) } else { 0 },
            limit,
            having: rng.random_bool(0.4).then(|| Having::random(rng, numbers, &dimensions, 2)),
            dimensions,
        }
    }

    fn json(&self, names: &[String]) -> Json {
        let outputs = |set: &Vec<usize>| set.iter().map(|at| self.dimensions[*at].output()).collect::<Vec<_>>();
        let columns: Vec<Json> = self
            .order
            .iter()
            .map(|(sort, down)| {
                let (name, order) = match sort {
                    Sort::Number(at) => (names[*at].as_str(), "numeric"),
                    Sort::Dimension(at, order) => (self.dimensions[*at].output(), order.name()),
                };
                let direction = if *down { "descending" } else { "ascending" };
                json!({"dimension": name, "direction": direction, "dimensionOrder": order})
            })
            .collect();
        json!({
            "queryType": "groupBy",
            "dimensions": self.dimensions.iter().map(Dimension::json).collect::<Vec<_>>(),
            "subtotalsSpec": self.sets.as_ref().map(|sets| sets.iter().map(outputs).collect::<Vec<_>>()),
            "limitSpec": {"type": "default", "limit": self.limit, "offset": self.offset, "columns": columns},
            "having": self.having.as_ref().map(|having| having.json(names, &self.dimensions)),
        })
    }
}

/// Ways to say the same rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Table,
    /// By the name of a table that every server has.
    Global,
    Union(Box<Source>),
    Filter(Box<Source>),
    Query(Box<Source>),
    /// With what has at most one partner for each row, in place or a lookup.
    Join(Box<Source>, bool),
    /// Of a list of one element.
    Unnest(Box<Source>),
}

impl Source {
    pub(super) fn random(rng: &mut SmallRng, depth: usize) -> Source {
        let inner = |rng: &mut SmallRng| Box::new(Source::random(rng, depth - 1));
        match rng.random_range(0..10) {
            _ if depth == 0 => Source::Table,
            0 => Source::Union(inner(rng)),
            1 => Source::Filter(inner(rng)),
            2 => Source::Query(inner(rng)),
            3 => Source::Join(inner(rng), rng.random_bool(0.5)),
            5 => Source::Global,
            4 => Source::Unnest(inner(rng)),
            _ => Source::Table,
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Source::Table => json!("events"),
            Source::Global => json!({"type": "globalTable", "name": "events"}),
            Source::Union(one) => json!({"type": "union", "dataSources": [one.json()]}),
            Source::Filter(base) => json!({"type": "filter", "base": base.json(), "filter": {"type": "true"}}),
            Source::Query(inner) => json!({"type": "query", "query":
                {"queryType": "scan", "dataSource": inner.json(), "intervals": ["1000/3000"], "columns": []}}),
            Source::Join(left, inline) => {
                let right = match inline {
                    true => {
                        json!({"type": "inline", "columnNames": ["k", "w"], "rows": [["a", 1], ["x y", 2], ["none", 3]]})
                    }
                    false => json!({"type": "lookup", "lookup": LOOKUP}),
                };
                json!({"type": "join", "left": left.json(), "rightPrefix": "r.", "joinType": "LEFT",
                    "condition": "s == \"r.k\"", "right": right})
            }
            Source::Unnest(base) => json!({"type": "unnest", "base": base.json(),
                "virtualColumn": {"type": "expression", "name": "one", "expression": "array(1)", "outputType": "ARRAY<LONG>"}}),
        }
    }
}
