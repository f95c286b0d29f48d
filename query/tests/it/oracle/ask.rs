//! Random queries over random ways to say the same rows, in JSON.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::time::Interval;
use serde_json::{Value as Json, json};

use super::bucket::Bucket;
use super::dimension::Dimension;
use super::events::{KEPT, KEPT_MATCH, KEPT_PREFIX};
use super::filter::{FULL, Test};
use super::fold::Fold;
use super::pick::Picked;
use super::quantile::Quantile;
use super::{BASE, DAY, DAYS, HOUR};

#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) interval: (i64, i64),
    pub(super) bucket: Bucket,
    pub(super) filter: Option<Test>,
    pub(super) folds: Vec<Fold>,
    pub(super) source: Source,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Timeseries {
        descending: bool,
        limit: usize,
    },
    TopN {
        dimension: Dimension,
        metric: usize,
        inverted: bool,
        threshold: usize,
    },
    GroupBy {
        dimensions: Vec<Dimension>,
        /// Grouping sets, as places of dimensions.
        sets: Option<Vec<Vec<usize>>>,
        order: Option<(usize, bool)>,
        limit: Option<usize>,
        offset: usize,
        least: Option<i64>,
    },
    Scan {
        order: Option<bool>,
        limit: Option<usize>,
        offset: usize,
        compact: bool,
    },
    Boundary,
    Search {
        text: String,
        dimensions: Vec<Dimension>,
    },
}

impl Asked {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Asked {
        let mut folds = vec![Fold::Events];
        for _ in 0..rng.random_range(0..4) {
            folds.push(match rng.random_range(0..if rollup { 22 } else { 26 }) {
                0 => Fold::Added,
                1 => Fold::Highest,
                2 => Fold::Sum,
                3 => Fold::Lowest,
                4 => Fold::Filtered(Test::random(rng, 1)),
                5 => Fold::Theta,
                6 => Fold::ThetaOfRows,
                7 => Fold::HllOfLists,
                8 => Fold::Quantile(Quantile::random(rng, rollup)),
                9 => Fold::Tuple,
                10 => Fold::Expression,
                11 => Fold::Texts,
                12 => Fold::Longs,
                13 => Fold::CpcOfLists,
                14 => Fold::CpcOfRows,
                15 => Fold::Frequent,
                16..18 => Fold::Picked(Picked::random(rng, rollup)),
                18 | 19 => Fold::Quantile(Quantile::random(rng, rollup)),
                20 => Fold::MostLong,
                21 => Fold::LeastFloat,
                22 => Fold::Rows,
                23 => Fold::Mean,
                24 => Fold::Variance,
                _ => Fold::Least,
            });
        }
        let ordering: Vec<usize> = (0..folds.len()).filter(|at| folds[*at].orders()).collect();
        let some = |rng: &mut SmallRng| rng.random_bool(0.4).then(|| rng.random_range(1..20usize));
        let kind = match rng.random_range(0..if rollup { 7 } else { 10 }) {
            0 | 1 => Kind::Timeseries { descending: rng.random_bool(0.5), limit: some(rng).unwrap_or(0) },
            2 | 3 => Kind::TopN {
                dimension: match rng.random_bool(0.5) {
                    true => Dimension::Plain(["s", "m", "k", "kr", "kp", "dt"].choose(rng).expect("there are columns")),
                    false => Dimension::of_texts(rng, "d".into()),
                },
                metric: *ordering.choose(rng).expect("events are counted"),
                inverted: rng.random_bool(0.3),
                threshold: rng.random_range(1..9),
            },
            4 | 5 => {
                let all = ["s", "m", "l", "v", "k", "kr", "kp", "dn", "dt", "list"];
                let plain = all.into_iter().filter(|_| rng.random_bool(0.2)).map(Dimension::Plain);
                let mut dimensions: Vec<Dimension> = plain.collect();
                for n in 0..rng.random_range(0..3) {
                    let made = Dimension::random(rng, format!("d{n}"));
                    if dimensions.iter().all(|other| other.output() != made.output()) {
                        dimensions.insert(rng.random_range(0..=dimensions.len()), made);
                    }
                }
                let limit = some(rng);
                let sets = (!dimensions.is_empty() && rng.random_bool(0.3)).then(|| {
                    let set = |rng: &mut SmallRng| (0..dimensions.len()).filter(|_| rng.random_bool(0.5)).collect();
                    (0..rng.random_range(1..4)).map(|_| set(rng)).collect()
                });
                Kind::GroupBy {
                    sets,
                    order: rng
                        .random_bool(0.5)
                        .then(|| (*ordering.choose(rng).expect("events are counted"), rng.random_bool(0.5))),
                    offset: if limit.is_some() { rng.random_range(0..4) } else { 0 },
                    limit,
                    least: rng.random_bool(0.3).then(|| rng.random_range(0..4)),
                    dimensions,
                }
            }
            6 => Kind::Boundary,
            7 => Kind::Search {
                text: ["a", "Z", "x y", "b"].choose(rng).expect("there are words").to_string(),
                dimensions: match rng.random_bool(0.5) {
                    true => vec![Dimension::Plain("s"), Dimension::Plain("m")],
                    false => vec![Dimension::of_texts(rng, "d".into()), Dimension::Plain("m")],
                },
            },
            _ => {
                let order = rng.random_bool(0.6).then(|| rng.random_bool(0.5));
                let limit = if order.is_some() { some(rng) } else { None };
                let offset = if limit.is_some() { rng.random_range(0..10) } else { 0 };
                Kind::Scan { order, limit, offset, compact: rng.random_bool(0.5) }
            }
        };
        let interval = if rng.random_bool(0.5) {
            (BASE - DAY, BASE + (DAYS + 1) * DAY)
        } else {
            let from = BASE + rng.random_range(-5..DAYS * 24) * HOUR;
            (from, from + rng.random_range(1..60) * HOUR)
        };
        Asked {
            kind,
            interval,
            bucket: Bucket::random(rng),
            filter: rng.random_bool(0.7).then(|| Test::random(rng, 3)),
            folds,
            source: Source::random(rng, 2),
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

    fn posts(&self) -> Vec<Json> {
        let posts = self.folds.iter().enumerate().filter_map(|(n, f)| f.post(&format!("p{n}"), &Asked::name(n)));
        posts.collect()
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
                {"type": "nested-field", "columnName": "doc", "outputName": "dn", "expectedType": "LONG", "path": "$.n"},
                {"type": "nested-field", "columnName": "doc", "outputName": "dt", "expectedType": "STRING", "path": "$.t"},
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
                let mut metric = json!({"type": "numeric", "metric": Asked::name(*metric)});
                if *inverted {
                    metric = json!({"type": "inverted", "metric": metric});
                }
                json!({
                    "queryType": "topN", "granularity": granularity, "aggregations": aggregations, "postAggregations": posts,
                    "dimension": dimension.json(), "metric": metric, "threshold": threshold,
                })
            }
            Kind::GroupBy { dimensions, sets, order, limit, offset, least } => {
                let names = |set: &Vec<usize>| set.iter().map(|at| dimensions[*at].output()).collect::<Vec<_>>();
                let sets = sets.as_ref().map(|sets| sets.iter().map(names).collect::<Vec<_>>());
                let dimensions: Vec<Json> = dimensions.iter().map(Dimension::json).collect();
                let columns: Vec<Json> = order
                    .iter()
                    .map(|(n, down)| {
                        let direction = if *down { "descending" } else { "ascending" };
                        json!({"dimension": Asked::name(*n), "direction": direction, "dimensionOrder": "numeric"})
                    })
                    .collect();
                json!({
                    "queryType": "groupBy", "granularity": granularity, "aggregations": aggregations, "postAggregations": posts,
                    "dimensions": dimensions, "subtotalsSpec": sets,
                    "limitSpec": {"type": "default", "limit": limit, "offset": offset, "columns": columns},
                    "having": least.map(|least| json!({"type": "greaterThan", "aggregation": "a0", "value": least})),
                })
            }
            Kind::Scan { order, limit, offset, compact } => json!({
                "queryType": "scan", "columns": ["__time", "s", "m", "l", "v", "x", "list", "dn", "dt"], "batchSize": 7,
                "order": match order { None => "none", Some(true) => "descending", Some(false) => "ascending" },
                "limit": limit, "offset": offset,
                "resultFormat": if *compact { "compactedList" } else { "list" },
            }),
            Kind::Boundary => json!({"queryType": "timeBoundary"}),
            Kind::Search { text, dimensions } => json!({
                "queryType": "search", "searchDimensions": dimensions.iter().map(Dimension::json).collect::<Vec<_>>(),
                "query": {"type": "contains", "value": text, "caseSensitive": true},
            }),
        };
        let fields = json.as_object_mut().expect("an object");
        fields.extend(own.as_object().expect("an object").clone());
        json
    }
}

/// Ways to say the same rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Table,
    Union(Box<Source>),
    Filter(Box<Source>),
    Query(Box<Source>),
    /// With what has at most one partner for each row.
    Join(Box<Source>),
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
            3 => Source::Join(inner(rng)),
            4 => Source::Unnest(inner(rng)),
            _ => Source::Table,
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Source::Table => json!("events"),
            Source::Union(one) => json!({"type": "union", "dataSources": [one.json()]}),
            Source::Filter(base) => json!({"type": "filter", "base": base.json(), "filter": {"type": "true"}}),
            Source::Query(inner) => json!({"type": "query", "query":
                {"queryType": "scan", "dataSource": inner.json(), "intervals": ["1000/3000"], "columns": []}}),
            Source::Join(left) => json!({"type": "join", "left": left.json(), "rightPrefix": "r.", "joinType": "LEFT",
                "condition": "s == \"r.k\"",
                "right": {"type": "inline", "columnNames": ["k", "w"], "rows": [["a", 1], ["x y", 2], ["none", 3]]}}),
            Source::Unnest(base) => json!({"type": "unnest", "base": base.json(),
                "virtualColumn": {"type": "expression", "name": "one", "expression": "array(1)", "outputType": "ARRAY<LONG>"}}),
        }
    }
}
