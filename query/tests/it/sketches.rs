//! Sketches in queries: as estimates, as their bytes, and what post-aggregates make of them.

use expect_test::expect;
use query::Error;
use serde_json::{Value as Json, json};

use crate::answers::check;
use crate::sources::Fixture;

#[test]
fn theta_sketches_know_sets() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "aggregations": [
                {"type": "thetaSketch", "name": "all", "fieldName": "city"},
                {"type": "thetaSketch", "name": "ages", "fieldName": "age", "errorBoundsStdDev": 2},
                {"type": "filtered", "name": "x", "filter": {"type": "selector", "dimension": "tags", "value": "x"},
                 "aggregator": {"type": "thetaSketch", "name": "x", "fieldName": "city"}},
                {"type": "filtered", "name": "y", "filter": {"type": "selector", "dimension": "tags", "value": "y"},
                 "aggregator": {"type": "thetaSketch", "name": "y", "fieldName": "city"}},
                {"type": "filtered", "name": "none", "filter": {"type": "selector", "dimension": "tags", "value": "?"},
                 "aggregator": {"type": "thetaSketch", "name": "none", "fieldName": "city", "shouldFinalize": false}}
            ],
            "postAggregations": [
                {"type": "thetaSketchEstimate", "name": "both", "field": {"type": "thetaSketchSetOp", "func": "INTERSECT",
                 "fields": [{"type": "fieldAccess", "fieldName": "x"}, {"type": "fieldAccess", "fieldName": "y"}]}},
                {"type": "thetaSketchEstimate", "name": "either", "field": {"type": "thetaSketchSetOp", "func": "UNION",
                 "fields": [{"type": "fieldAccess", "fieldName": "x"}, {"type": "fieldAccess", "fieldName": "y"}]}},
                {"type": "thetaSketchEstimate", "name": "only_all", "field": {"type": "thetaSketchSetOp", "func": "NOT",
                 "fields": [{"type": "fieldAccess", "fieldName": "all"}, {"type": "fieldAccess", "fieldName": "x"}]}},
                {"type": "thetaSketchEstimate", "name": "constant",
                 "field": {"type": "thetaSketchConstant", "name": "c", "value": "AQMDAAAeAAA="}}
            ]
        }),
        expect![[r#"
            __time all ages x y none both either only_all constant
            0 3.0 Json("{\"estimate\":3.0,\"highBound\":3.0,\"lowBound\":3.0,\"numStdDev\":2}") 2.0 1.0 Bytes([1, 3, 3, 0, 0, 30, 0, 0]) 1.0 2.0 1.0 0.0"#]],
    );
}

#[test]
fn variances_and_histograms_finish_as_druid_says() {
    check(
        json!({
            "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "dimensions": ["city"],
            "aggregations": [
                {"type": "variance", "name": "sample", "fieldName": "price"},
                {"type": "variance", "name": "all", "fieldName": "price", "estimator": "population"},
                {"type": "variance", "name": "none", "fieldName": "nowhere"},
                {"type": "approxHistogram", "name": "h", "fieldName": "price", "numBuckets": 2}
            ],
            "postAggregations": [
                {"type": "stddev", "name": "deviation", "fieldName": "all", "estimator": "population"},
                {"type": "quantile", "name": "median", "fieldName": "h", "probability": 0.5},
                {"type": "max", "name": "largest", "fieldName": "h"}
            ]
        }),
        expect![[r#"
            __time city sample all none h deviation median largest
            0 null 0.0 0.0 null Json("{\"breaks\":[-1.0,-1.0,-1.0],\"counts\":[0.0,0.0]}") 0.0 -1.0 -1.0
            0 aachen 0.0 0.0 null Json("{\"breaks\":[0.5,0.5,0.5],\"counts\":[0.0,0.0]}") 0.0 0.5 0.5
            0 bonn 4.5 2.25 null Json("{\"breaks\":[-2.0,1.0,4.0],\"counts\":[1.0,1.0]}") 1.5 1.0 4.0
            0 köln 0.0 0.0 null Json("{\"breaks\":[2.5,2.5,2.5],\"counts\":[0.0,0.0]}") 0.0 2.5 2.5"#]],
    );
}

#[test]
fn a_histogram_counts_between_its_breaks() {
    check(
        json!({
            "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "dimensions": ["city"],
            "aggregations": [
                {"type": "histogram", "name": "h", "fieldName": "price", "breaks": [4, 0, 1]},
                {"type": "histogram", "name": "a", "fieldName": "age", "breaks": [9, 10]}
            ]
        }),
        expect![[r#"
            __time city h a
            0 null Json("{\"breaks\":[0.0,1.0,4.0],\"counts\":[0.0,0.0],\"quantiles\":[-1.0,-1.0]}") Json("{\"breaks\":[9.0,10.0],\"counts\":[1.0],\"quantiles\":[10.0,10.0]}")
            0 aachen Json("{\"breaks\":[0.0,1.0,4.0],\"counts\":[1.0,0.0],\"quantiles\":[0.5,0.5]}") Json("{\"breaks\":[9.0,10.0],\"counts\":[0.0],\"quantiles\":[100.0,100.0]}")
            0 bonn Json("{\"breaks\":[0.0,1.0,4.0],\"counts\":[1.0,1.0],\"quantiles\":[1.0,4.0]}") Json("{\"breaks\":[9.0,10.0],\"counts\":[0.0],\"quantiles\":[9.0,9.0]}")
            0 köln Json("{\"breaks\":[0.0,1.0,4.0],\"counts\":[0.0,1.0],\"quantiles\":[2.5,2.5]}") Json("{\"breaks\":[9.0,10.0],\"counts\":[1.0],\"quantiles\":[10.0,10.0]}")"#]],
    );
}

#[test]
fn expressions_fold_and_groupings_tell_what_is_left_out() {
    check(
        json!({
            "queryType": "groupBy", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "dimensions": ["city"], "subtotalsSpec": [["city"], []],
            "aggregations": [
                {"type": "grouping", "name": "g", "groupings": ["city"]},
                {"type": "expression", "name": "sum", "fields": ["age"], "initialValue": "0",
                 "fold": "__acc + age", "shouldAggregateNullInputs": false},
                {"type": "expression", "name": "twice", "fields": ["age"], "initialValue": "0",
                 "fold": "__acc + nvl(age, 0)", "combine": "__acc + twice", "finalize": "o * 2"}
            ]
        }),
        expect![[r#"
            __time city g sum twice
            0 null 0 10 20
            0 aachen 0 100 200
            0 bonn 0 9 18
            0 köln 0 10 20
            0 null 1 129 258"#]],
    );
}

#[test]
fn tuples_sum_and_quantiles_of_kll_are_asked_like_classic_ones() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "aggregations": [
                {"type": "arrayOfDoublesSketch", "name": "t", "fieldName": "city", "metricColumns": ["price", "age"]},
                {"type": "KllFloatsSketch", "name": "k", "fieldName": "price"},
                {"type": "quantilesDoublesSketch", "name": "q", "fieldName": "price"}
            ],
            "postAggregations": [
                {"type": "arrayOfDoublesSketchToMetricsSumEstimate", "name": "sums",
                 "field": {"type": "fieldAccess", "fieldName": "t"}},
                {"type": "KllFloatsSketchToQuantile", "name": "kmedian", "fraction": 0.5,
                 "field": {"type": "fieldAccess", "fieldName": "k"}},
                {"type": "quantilesDoublesSketchToRank", "name": "rank", "value": 2.5,
                 "field": {"type": "fieldAccess", "fieldName": "q"}},
                {"type": "quantilesDoublesSketchToHistogram", "name": "bins", "splitPoints": [0],
                 "field": {"type": "fieldAccess", "fieldName": "q"}}
            ]
        }),
        expect![[r#"
            __time t k q sums kmedian rank bins
            0 3.0 5 5 List([Double(4.0), Double(119.0)]) 1.0 0.8 List([Double(1.0), Double(4.0)])"#]],
    );
}

/// The answer of one aggregator over the column that another one, in an inner query, made of `page`.
fn over(inner: Json, outer: Json) -> query::Result<Json> {
    let inner = json!({"queryType": "groupBy", "dataSource": "wiki", "granularity": "all", "intervals": ["1000/3000"],
        "dimensions": [], "aggregations": [inner], "context": {"finalize": false}});
    Fixture::new().ask(&json!({"queryType": "timeseries", "dataSource": {"type": "query", "query": inner},
        "granularity": "all", "intervals": ["1000/3000"], "aggregations": [outer]}))
}

#[test]
fn sketches_that_do_not_meet_are_an_error_with_both_sizes() {
    let bloom = |entries: u64| json!({"type": "bloom", "name": "s", "fieldName": "page", "field": "s", "maxNumEntries": entries});
    let mut first = bloom(10);
    first["field"] = "page".into();
    assert!(over(first.clone(), bloom(10)).is_ok());
    let tuple = |columns: Json, values: u64| match columns {
        Json::Null => json!({"type": "arrayOfDoublesSketch", "name": "s", "fieldName": "s", "numberOfValues": values}),
        columns => json!({"type": "arrayOfDoublesSketch", "name": "s", "fieldName": "page", "metricColumns": columns}),
    };
    assert!(over(tuple(json!(["added"]), 1), tuple(Json::Null, 1)).is_ok());
    let of = |kind: &str, field: &str| json!({"type": kind, "name": "s", "fieldName": field});
    let cases = [
        (first.clone(), bloom(5000), vec!["s", "[64]", "[3968]", "maxNumEntries"]),
        (tuple(json!(["added", "added"]), 2), tuple(Json::Null, 1), vec!["s", "[2]", "[1]", "numberOfValues"]),
        (
            of("KllDoublesSketch", "added"),
            of("quantilesDoublesSketch", "s"),
            vec!["s", "KllDoublesSketch", "quantilesDoublesSketch"],
        ),
        (of("variance", "added"), of("HLLSketchMerge", "s"), vec!["24", "HyperLogLog"]),
    ];
    for (inner, outer, named) in cases {
        match over(inner, outer.clone()) {
            Err(Error::Invalid(text)) => assert!(named.iter().all(|name| text.contains(name)), "{text}"),
            other => panic!("{outer}: {other:?}"),
        }
    }
}

#[test]
fn wrong_settings_of_post_aggregates_are_named() {
    let ask = |post: Json| {
        Fixture::new().ask(&json!({"queryType": "timeseries", "dataSource": "wiki", "granularity": "all",
            "intervals": ["1000/3000"],
            "aggregations": [{"type": "approxHistogram", "name": "h", "fieldName": "added"}],
            "postAggregations": [post]}))
    };
    let buckets = |size: Json, offset: Json| json!({"type": "buckets", "name": "b", "fieldName": "h", "bucketSize": size, "offset": offset});
    assert!(ask(buckets(json!(10), Json::Null)).is_ok() && ask(buckets(json!(10), json!("3.5"))).is_ok());
    // A Bloom filter's bytes are base64 as well.
    let constant = json!({"type": "thetaSketchEstimate", "name": "e",
        "field": {"type": "thetaSketchConstant", "name": "c", "value": "BAAAAAgAAAAA"}});
    for (post, named) in [
        (buckets(json!(0), Json::Null), "bucketSize"),
        (buckets(json!(-1.5), Json::Null), "bucketSize"),
        (buckets(json!(10), json!("much")), "offset"),
        (buckets(json!(10), json!([1])), "offset"),
        (constant, "value"),
    ] {
        match ask(post) {
            Err(Error::Parse(text)) => assert!(text.contains(named), "{text}"),
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[test]
fn cpc_and_frequent_items_are_kept_and_asked() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "aggregations": [
                {"type": "cpcSketchBuild", "name": "cities", "fieldName": "city"},
                {"type": "cpcSketchBuild", "name": "ages", "fieldName": "age", "lgK": 8},
                {"type": "frequentItems", "name": "items", "fieldName": "city", "limit": 1},
                {"type": "frequentItems", "name": "tags", "fieldName": "tags"}
            ],
            "postAggregations": [
                {"type": "cpcSketchToEstimateWithBounds", "name": "bounds", "numStdDev": 2,
                 "field": {"type": "cpcSketchUnion", "fields": [
                    {"type": "fieldAccess", "fieldName": "cities"}, {"type": "fieldAccess", "fieldName": "ages"}]}},
                {"type": "frequentItemsToItems", "name": "top", "limit": 1,
                 "field": {"type": "fieldAccess", "fieldName": "tags"}},
                {"type": "frequentItemsToEstimate", "name": "bonn", "item": "bonn",
                 "field": {"type": "fieldAccess", "fieldName": "items"}}
            ]
        }),
        expect![[r#"
            __time cities ages items tags bounds top bonn
            0 3.0004884137073335 3.003916756207745 Json("[{\"item\":\"bonn\",\"estimate\":2,\"lowerBound\":2,\"upperBound\":2}]") Json("[{\"item\":\"x\",\"estimate\":3,\"lowerBound\":3,\"upperBound\":3},{\"item\":\"y\",\"estimate\":2,\"lowerBound\":2,\"upperBound\":2},{\"item\":\"z\",\"estimate\":1,\"lowerBound\":1,\"upperBound\":1}]") List([Double(6.019628000040326), Double(6.0), Double(7.0)]) Json("[{\"item\":\"x\",\"estimate\":3,\"lowerBound\":3,\"upperBound\":3}]") 2"#]],
    );
}

#[test]
fn tests_of_significance_look_into_samples() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1970/1971"],
            "aggregations": [
                {"type": "arrayOfDoublesSketch", "name": "a", "fieldName": "city", "metricColumns": ["price", "age"]},
                {"type": "arrayOfDoublesSketch", "name": "b", "fieldName": "city", "metricColumns": ["age", "age"]}
            ],
            "postAggregations": [
                {"type": "arrayOfDoublesSketchTTest", "name": "t", "fields": [
                    {"type": "fieldAccess", "fieldName": "a"}, {"type": "fieldAccess", "fieldName": "b"}]},
                {"type": "pvalue2tailedZtest", "name": "p", "zScore": {"type": "constant", "name": "z", "value": 1.0}}
            ]
        }),
        expect![[r#"
            __time a b t p
            0 3.0 3.0 List([Double(0.33164240361741687), Double(1.0)]) 0.3173105078629139"#]],
    );
}

#[test]
fn first_and_last_times_are_texts() {
    check(
        json!({
            "queryType": "timeseries", "dataSource": "t", "granularity": "all", "intervals": ["1969/1971"],
            "aggregations": [
                {"type": "timeMin", "name": "first", "fieldName": "__time"},
                {"type": "timeMax", "name": "last", "fieldName": "__time"},
                {"type": "timeMax", "name": "none", "fieldName": "city"},
                {"type": "timeMin", "name": "years", "fieldName": "age", "timeFormat": "y"},
                {"type": "Bitmap64ExactCountBuild", "name": "ages", "fieldName": "age"}
            ]
        }),
        expect![[r#"
            __time first last none years ages
            -31536000000 1970-01-01T00:00:00.000Z 1970-01-01T05:00:00.000Z null 0009-01-01T00:00:00.000Z 3"#]],
    );
}
