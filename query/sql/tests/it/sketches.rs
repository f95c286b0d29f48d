//! Sketches in SQL: pushed down and in DataFusion alike.

use serde_json::json;

use crate::{Fixture, statement, with_context};

#[test]
fn distinct_counts_and_their_sketches() {
    let f = Fixture::new();
    f.check(
        "SELECT APPROX_COUNT_DISTINCT_DS_THETA(\"user\"), APPROX_COUNT_DISTINCT_DS_THETA(\"user\", 1024), \
         APPROX_COUNT_DISTINCT_DS_HLL(country, 14, 'HLL_8'), APPROX_COUNT_DISTINCT_BUILTIN(country), \
         APPROX_COUNT_DISTINCT_DS_HLL(tags), APPROX_COUNT_DISTINCT_DS_HLL(added) FROM wiki",
        json!([[4, 4, 3, 4, 3, 7]]),
    );
    f.check(
        "SELECT THETA_SKETCH_ESTIMATE(THETA_SKETCH_INTERSECT(a, b)), THETA_SKETCH_ESTIMATE(THETA_SKETCH_NOT(a, b)), \
         THETA_SKETCH_ESTIMATE(THETA_SKETCH_UNION(64, a, b)) FROM (SELECT \
         DS_THETA(\"user\") FILTER (WHERE channel = '#en') AS a, \
         DS_THETA(\"user\", 512) FILTER (WHERE channel <> '#en') AS b FROM wiki)",
        json!([[1.0, 1.0, 4.0]]),
    );
    f.check(
        "SELECT channel, HLL_SKETCH_ESTIMATE(DS_HLL(\"user\"), TRUE), \
         THETA_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS(DS_THETA(\"user\"), 2) FROM wiki GROUP BY 1 ORDER BY 1 LIMIT 1",
        json!([["#de", 2.0, "{\"estimate\":2.0,\"highBound\":2.0,\"lowBound\":2.0,\"numStdDev\":2}"]]),
    );
    f.check(
        "SELECT DS_HLL(\"user\"), DS_THETA(\"user\") FROM wiki WHERE channel = 'none'",
        json!([["\"AgEHDAMMAAA=\"", "\"AQMDAAAeAAA=\""]]),
    );
    let leaf = &f.leaves("SELECT channel, DS_THETA(\"user\") FROM wiki GROUP BY 1")[0];
    assert_eq!(leaf["aggregations"][0]["type"], "thetaSketch");
    assert_eq!(leaf["aggregations"][0]["shouldFinalize"], false);
}

#[test]
fn sketches_finish_where_the_context_asks_for_it() {
    let f = Fixture::new();
    let text = "SELECT DS_HLL(\"user\"), DS_THETA(\"user\"), DS_QUANTILES_SKETCH(added) FROM wiki";
    let asked = with_context(text, json!({"sqlFinalizeOuterSketches": true}));
    assert_eq!(f.both(&asked), [json!(["4", "4.0", "7"])]);
    // The bytes of a sketch depend on the order in which its parts were joined.
    assert_ne!(f.native_rows(&statement(text)), f.both(&asked));
    f.check("SELECT DS_TUPLE_DOUBLES(\"user\", added) FROM wiki", json!([["4.0"]]));
}

#[test]
fn quantiles() {
    let f = Fixture::new();
    f.check(
        "SELECT APPROX_QUANTILE_DS(added, 0.5), DS_GET_QUANTILE(DS_QUANTILES_SKETCH(added, 64), 1), \
         DS_GET_QUANTILES(DS_QUANTILES_SKETCH(added), 0, 1), DS_RANK(DS_QUANTILES_SKETCH(added), 20), \
         DS_CDF(DS_QUANTILES_SKETCH(added), 0, 20), DS_HISTOGRAM(DS_QUANTILES_SKETCH(added), 0, 20) FROM wiki",
        json!([[20.0, 50.0, "[-5.0,50.0]", 4.0 / 7.0, format!("[{},{},1.0]", 2.0 / 7.0, 4.0 / 7.0), "[2.0,2.0,3.0]"]]),
    );
    f.check(
        "SELECT APPROX_QUANTILE(added, 0.99), TDIGEST_QUANTILE(added, 1.0), \
         APPROX_QUANTILE_FIXED_BUCKETS(added, 1.0, 10, 0, 100, 'ignore') FROM wiki WHERE added = 40",
        json!([[40.0, 40.0, 50.0]]),
    );
    f.check("SELECT APPROX_QUANTILE_DS(added, 0.5) FROM wiki WHERE added > 1000", json!([["NaN"]]));
}

#[test]
fn variances_are_pushed_down() {
    let f = Fixture::new();
    f.check(
        "SELECT VAR_POP(added), VAR_SAMP(added), VARIANCE(added), STDDEV(added), STDDEV_POP(added), STDDEV_SAMP(added) \
         FROM wiki WHERE added IN (10, 20)",
        json!([[25.0, 50.0, 50.0, 50.0f64.sqrt(), 5.0, 50.0f64.sqrt()]]),
    );
    let leaf = &f.leaves("SELECT channel, STDDEV(added) FROM wiki GROUP BY 1")[0];
    assert_eq!(leaf["aggregations"][0]["type"], "variance");
    assert_eq!(leaf["postAggregations"][0]["type"], "stddev");
}

#[test]
fn bloom_filters_and_tuples() {
    let f = Fixture::new();
    f.check(
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES(\"user\", added, delta)) FROM wiki \
         WHERE channel = '#en'",
        json!([["[70.0,7.0]"]]),
    );
    let filter = f.both(&statement("SELECT BLOOM_FILTER(\"user\", 100) FROM wiki WHERE channel = '#de'"));
    let filter = filter[0][0].as_str().unwrap().trim_matches('"').to_string();
    f.check(
        &format!(
            "SELECT \"user\", COUNT(*) FROM wiki WHERE BLOOM_FILTER_TEST(\"user\", '{filter}') GROUP BY 1 ORDER BY 1"
        ),
        json!([["carl", 2], ["dora", 1]]),
    );
}

#[test]
fn what_is_no_sketch_is_refused() {
    let f = Fixture::new();
    for text in [
        "SELECT THETA_SKETCH_ESTIMATE(channel) FROM wiki",
        "SELECT THETA_SKETCH_INTERSECT(NULL, NULL) FROM wiki",
        "SELECT APPROX_QUANTILE_DS(added, '0.99') FROM wiki",
        "SELECT DS_GET_QUANTILE(added, 0.5) FROM wiki",
    ] {
        let format = henge_query_sql::Format::default();
        let error = f.body(&f.native, &statement(text), &format).unwrap_err().to_string();
        assert!(error.contains("Cannot apply"), "{text}: {error}");
    }
}

#[test]
fn cpc_and_frequent_items() {
    let f = Fixture::new();
    f.check(
        "SELECT APPROX_COUNT_DISTINCT_DS_CPC(\"user\"), APPROX_COUNT_DISTINCT_DS_CPC(added, 8), \
         ROUND(CPC_SKETCH_ESTIMATE(CPC_SKETCH_UNION(DS_CPC(\"user\"), DS_CPC(country)))), \
         FREQUENT_ITEMS_ESTIMATE(DS_FREQUENT_ITEMS(channel), 'none') FROM wiki",
        json!([[4, 7, 7.0, 0]]),
    );
    f.check(
        "SELECT channel, COUNT(*) = FREQUENT_ITEMS_ESTIMATE(DS_FREQUENT_ITEMS(channel, 64), channel) FROM wiki \
         GROUP BY 1 ORDER BY 1 LIMIT 1",
        json!([["#de", true]]),
    );
}
