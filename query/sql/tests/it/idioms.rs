//! Idioms of Druid's SQL, and the shapes of statements that are pushed down whole.

use serde_json::{Value as Json, json};

use crate::{Fixture, statement, with_context};

/// Truths are longs to the engine.
#[test]
fn a_truth_is_chosen_by_truths() {
    let f = Fixture::new();
    let all = f.native_rows(&statement("SELECT COUNT(*) FROM wiki WHERE added > 10"));
    let chosen = "SELECT COUNT(*) FROM wiki WHERE (added > 10) IN (SELECT added > 10 FROM wiki WHERE added > 10)";
    assert_eq!(f.both(&statement(chosen)), all);
}

/// Superset reads its users' SQL and writes it anew, with names that are not Druid's.
#[test]
fn what_superset_makes_of_druids_names_is_understood() {
    let f = Fixture::new();
    for (written, meant) in [
        ("APPROX_DISTINCT(channel)", "APPROX_COUNT_DISTINCT(channel)"),
        ("GROUP_CONCAT(DISTINCT channel, '-')", "STRING_AGG(DISTINCT channel, '-')"),
        ("GROUP_CONCAT(DISTINCT channel)", "STRING_AGG(DISTINCT channel, ',')"),
        ("VARIANCE_POP(added)", "VAR_POP(added)"),
        ("MAX(STR_POSITION(channel, 'e'))", "MAX(STRPOS(channel, 'e'))"),
        ("SUM(CAST(CAST(added AS STRING) AS LONG))", "SUM(added)"),
    ] {
        let rows = |call: &str| f.both(&statement(&format!("SELECT {call} FROM wiki")));
        assert_eq!(rows(written), rows(meant), "{written}");
    }
    // What is refused has the name that was written.
    for call in ["GROUP_CONCAT()", "STR_POSITION(channel)", "APPROX_DISTINCT(channel, added, 3)"] {
        let error = f.native.explain(&statement(&format!("SELECT {call} FROM wiki")), &f.who).expect_err(call);
        assert!(error.to_string().contains(call.split('(').next().unwrap_or(call)), "{error}");
    }
}

#[test]
fn tables_are_read_as_one() {
    let f = Fixture::new();
    f.check(
        "SELECT channel, COUNT(*) FROM TABLE(APPEND('wiki', 'shop')) GROUP BY 1 ORDER BY 1",
        json!([[null, 4], ["#de", 3], ["#en", 3], ["#fr", 2]]),
    );
    f.check("SELECT COUNT(u.sizes), COUNT(u.added) FROM TABLE(APPEND('wiki', 'shop')) u", json!([[3, 7]]));
    let leaves = f.leaves("SELECT COUNT(*) FROM TABLE(APPEND('wiki', 'shop'))");
    assert_eq!(leaves[0]["dataSource"], json!({"type": "union", "dataSources": ["wiki", "shop"]}));
    for (text, named) in [
        ("SELECT * FROM TABLE(APPEND('wiki', 'nothing'))", "nothing"),
        ("SELECT * FROM TABLE(APPEND(wiki))", "APPEND"),
        ("SELECT * FROM TABLE(EXTERN('{}'))", "EXTERN"),
    ] {
        let error = f.native.explain(&statement(text), &f.who).expect_err(text);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn rows_are_chosen_by_a_subquery_below_the_broker() {
    let f = Fixture::new();
    let top = "SELECT channel FROM wiki GROUP BY channel ORDER BY SUM(added) DESC, channel LIMIT 1";
    for (text, rows) in [
        (format!("SELECT channel, COUNT(*) FROM wiki WHERE channel IN ({top}) GROUP BY 1"), json!([["#de", 3]])),
        (
            "SELECT TIME_FLOOR(__time, 'PT1H'), w.channel, COUNT(*) FROM wiki w JOIN (SELECT channel AS c__, \
                 SUM(added) AS s__ FROM wiki GROUP BY channel ORDER BY 2 DESC, 1 LIMIT 1) AS series ON w.channel = c__ \
                 WHERE added > 0 GROUP BY 1, 2 ORDER BY 1"
                .to_string(),
            json!([["2026-01-01T00:00:00.000Z", "#de", 1], ["2026-01-01T01:00:00.000Z", "#de", 1]]),
        ),
        (
            "SELECT COUNT(*), SUM(added) FROM wiki WHERE \"user\" IN (SELECT \"user\" FROM wiki WHERE country = 'FR')"
                .into(),
            json!([[3, 50]]),
        ),
        (
            "SELECT COUNT(*) FROM wiki WHERE \"user\" IN (SELECT \"user\" FROM wiki WHERE country = 'XX')".into(),
            json!([[0]]),
        ),
        ("SELECT channel, added FROM wiki WHERE added IN (SELECT MAX(added) FROM wiki)".into(), json!([["#de", 50]])),
    ] {
        f.check(&text, rows);
        let leaves = f.leaves(&text);
        assert_eq!(leaves.len(), 1, "{text}");
        assert_eq!(leaves[0]["dataSource"]["type"], "join", "{text}: {}", leaves[0]);
        assert_eq!(leaves[0]["dataSource"]["right"]["type"], "query", "{text}: {}", leaves[0]);
    }
    // A choice that is one of several conditions is none of the rows of a query; its values are asked for once each.
    for (text, rows) in [
        ("country IS NULL OR channel IN (SELECT channel FROM wiki WHERE added > 45)", 4),
        ("added > 45 OR \"user\" NOT IN (SELECT \"user\" FROM wiki WHERE country = 'FR')", 1),
        ("added > 45 OR \"user\" NOT IN (SELECT \"user\" FROM wiki WHERE channel = '#en')", 3),
        ("added > 45 OR NOT (\"user\" IN (SELECT \"user\" FROM wiki WHERE channel = '#en') OR added = 0)", 3),
        ("added > 45 OR \"user\" NOT IN (SELECT \"user\" FROM wiki WHERE channel = 'none')", 8),
        ("added > 45 OR channel || 'x' IN (SELECT channel || 'x' FROM wiki WHERE country = 'FR')", 3),
        ("added > 45 OR added + 1 NOT IN (SELECT added + 1 FROM wiki WHERE channel = '#en')", 4),
        (
            "added > 45 OR channel || 'x' IN (SELECT channel || 'x' FROM wiki GROUP BY 1 ORDER BY SUM(added) DESC LIMIT 1)",
            3,
        ),
        ("added > 45 OR country NOT IN (SELECT country FROM wiki WHERE channel = '#de') AND country > ''", 5),
    ] {
        let text = format!("SELECT COUNT(*) FROM wiki WHERE {text}");
        f.check(&text, json!([[rows]]));
        assert!(f.leaves(&text).iter().any(|leaf| leaf["queryType"] == "groupBy"), "{text}");
    }
    // Values that may come twice, or a column of theirs in use, leave the join where it is.
    let text = "SELECT w.channel, COUNT(*) FROM wiki w JOIN wiki v ON w.channel = v.channel GROUP BY 1 ORDER BY 1";
    f.check(text, json!([["#de", 9], ["#en", 9], ["#fr", 4]]));
    assert_eq!(f.leaves(text).len(), 2);
    let text = "SELECT v.n, COUNT(*) FROM wiki w JOIN (SELECT channel AS c, COUNT(*) AS n FROM wiki GROUP BY 1) v \
                ON w.channel = v.c GROUP BY 1 ORDER BY 1";
    f.check(text, json!([[2, 2], [3, 6]]));
    let limited = with_context(
        "SELECT COUNT(*) FROM wiki WHERE \"user\" IN (SELECT \"user\" FROM wiki)",
        json!({"maxSubqueryRows": 2}),
    );
    let error = f.body(&f.native, &limited, &Default::default()).expect_err("too many values");
    assert!(error.to_string().contains("maxSubqueryRows"), "{error}");
}

#[test]
fn grouping_sets_are_one_query() {
    let f = Fixture::new();
    for (text, rows) in [
        (
            "SELECT channel, COUNT(*) FROM wiki WHERE country = 'US' OR channel = '#fr' GROUP BY ROLLUP(channel)",
            json!([["#en", 2], ["#fr", 2], [null, 4]]),
        ),
        (
            "SELECT channel, country, GROUPING(channel, country), SUM(added) FROM wiki WHERE channel = '#fr' \
             GROUP BY CUBE(channel, country)",
            json!([["#fr", "FR", 0, 0], ["#fr", null, 1, 0], [null, "FR", 2, 0], [null, null, 3, 0]]),
        ),
        (
            "SELECT channel, country, COUNT(*) FROM wiki WHERE channel = '#fr' GROUP BY GROUPING SETS ((channel), (country), ())",
            json!([["#fr", null, 2], [null, "FR", 2], [null, null, 2]]),
        ),
    ] {
        f.check_unordered(text, rows);
        let leaves = f.leaves(text);
        assert_eq!(leaves.len(), 1, "{text}");
        assert!(leaves[0]["subtotalsSpec"].is_array(), "{text}: {}", leaves[0]);
    }
    // Order and limit are of all sets together.
    f.check(
        "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY ROLLUP(channel) ORDER BY c DESC, channel LIMIT 2",
        json!([[null, 8], ["#de", 3]]),
    );
}

#[test]
fn several_values_are_tested_and_grouped_one_by_one() {
    let f = Fixture::new();
    let rows = |text: &str| f.native_rows(&statement(text));
    assert_eq!(
        rows("SELECT CONCAT(tags, '!'), COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1"),
        [json!([null, 2]), json!(["a!", 3]), json!(["b!", 3]), json!(["c!", 2])]
    );
    assert_eq!(
        rows("SELECT MV_APPEND(tags, 'x'), COUNT(*) FROM wiki WHERE channel = '#fr' GROUP BY 1 ORDER BY 1"),
        [json!([null, 1]), json!(["c", 1]), json!(["x", 1])]
    );
    assert_eq!(rows("SELECT COUNT(*) FROM wiki WHERE CONCAT(tags, '!') = 'b!'"), [json!([3])]);
    assert_eq!(
        rows("SELECT MV_LENGTH(MV_FILTER_ONLY(tags, ARRAY['a'])), COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1"),
        [json!([null, 5]), json!([1, 3])]
    );
    let refused = with_context(
        "SELECT CONCAT(tags, '!'), COUNT(*) FROM wiki GROUP BY 1",
        json!({"groupByEnableMultiValueUnnesting": false}),
    );
    let error = f.body(&f.native, &refused, &Default::default()).expect_err("rows of several values");
    assert!(error.to_string().contains("groupByEnableMultiValueUnnesting"), "{error}");
    f.check(
        "SELECT t, COUNT(*) FROM wiki, UNNEST(MV_TO_ARRAY(tags)) AS u(t) GROUP BY 1 ORDER BY 1",
        json!([[null, 2], ["a", 3], ["b", 3], ["c", 2]]),
    );
}

#[test]
fn words_that_stand_for_longer_ones() {
    let f = Fixture::new();
    f.check(
        "SELECT COUNT(*) FROM wiki WHERE (channel, country) IN (SELECT channel, MAX(country) FROM wiki GROUP BY 1)",
        json!([[6]]),
    );
    f.check(
        "SELECT TIMESTAMP '2026-01-02 03:04:00' - INTERVAL '1 2' DAY TO HOUR + INTERVAL '1-2' YEAR TO MONTH",
        json!([["2027-03-01T01:04:00.000Z"]]),
    );
    f.check("SELECT ROUND(PI, 1), CAST(1 / 0.0 AS BIGINT)", json!([[3.1, i64::MAX]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE __time >= '2026'", json!([[8]]));
    f.check("SELECT ARRAY_AGG(DISTINCT channel) FROM wiki", json!([["[\"#de\",\"#en\",\"#fr\"]"]]));
    f.check("SELECT SUM(JSON_VALUE(doc, '$.n')) FROM shop", json!([[9.0]]));
    f.check("SELECT COUNT(*) FROM shop WHERE doc = doc", json!([[3]]));
    f.check(
        "SELECT POSITION('b' IN 'abcb' FROM 3), POSITION('b' IN LOWER('ABC')), POSITION('x' IN MAX(channel) FROM 1 + 1), \
         TRIM(BOTH FROM '  a '), TRIM(LEADING FROM MAX(channel)), TRIM(TRAILING 'x' FROM 'axx') FROM wiki",
        json!([[4, 2, 0, "a", "#fr", "a"]]),
    );
    f.check("SELECT COUNT(*) FROM wiki WHERE country IN ('US', 7) OR country = 7", json!([[2]]));
    f.check(
        "SELECT COUNT(*) FROM (SELECT CAST(added AS VARCHAR) AS a FROM wiki) WHERE a = 10 OR a = 'x'",
        json!([[1]]),
    );
    f.check("SELECT lookyloo.* FROM (SELECT 1) x, INFORMATION_SCHEMA.SCHEMATA AS lookyloo LIMIT 0", json!([]));
    f.check(
        "SELECT SCHEMATA.SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA ORDER BY 1 LIMIT 1",
        json!([["INFORMATION_SCHEMA"]]),
    );
}

#[test]
fn arguments_without_a_meaning_are_refused_with_their_types() {
    let f = Fixture::new();
    for (text, named) in [
        ("SELECT ARRAY_SLICE(added, 1) FROM wiki", "<BIGINT>"),
        ("SELECT ARRAY_OFFSET_OF(sizes, sizes) FROM shop", "<BIGINT ARRAY>"),
        ("SELECT EXTRACT(DAY FROM added) FROM wiki", "<BIGINT>"),
        ("SELECT CAST(sizes AS VARCHAR) FROM shop", "BIGINT ARRAY"),
        ("SELECT COUNT(*) FROM shop WHERE doc LIKE '%'", "COMPLEX<json>"),
        ("SELECT MIN(sizes) FROM shop", "<BIGINT ARRAY>"),
        ("SELECT PARSE_JSON(added) FROM wiki", "<BIGINT>"),
        ("SELECT JSON_OBJECT(KEY added VALUE 1) FROM wiki", "BIGINT"),
        ("SELECT CURRENT_TIMESTAMP(4)", "precision"),
        ("SELECT ARRAY_AGG(channel, 'big') FROM wiki", "maxBytes"),
    ] {
        let error = f.native.explain(&statement(text), &f.who).expect_err(text);
        assert!(error.to_string().contains(named), "{text}: {error}");
    }
    let timed = |text: &str| with_context(text, json!({"requireTimeCondition": true}));
    assert!(f.native.explain(&timed("SELECT COUNT(*) FROM wiki WHERE __time > '2026-01-01'"), &f.who).is_ok());
    let inner = "SELECT COUNT(*) FROM wiki WHERE __time > '2026-01-01' AND channel IN (SELECT channel FROM wiki)";
    for text in ["SELECT COUNT(*) FROM wiki", inner] {
        let error = f.native.explain(&timed(text), &f.who).expect_err(text);
        assert!(error.to_string().contains("requireTimeCondition"), "{error}");
    }
    let listed = with_context("SELECT COUNT(*) FROM wiki WHERE added IN (1, 2, 3)", json!({"maxNumericInFilters": 2}));
    assert!(f.native.explain(&listed, &f.who).is_err());
}

#[test]
fn the_context_says_what_becomes_of_empty_buckets() {
    let f = Fixture::new();
    let rows = |text: &str, skip: bool| f.native_rows(&with_context(text, json!({"skipEmptyBuckets": skip})));
    let series = "SELECT TIME_FLOOR(__time, 'PT15M') AS t, COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1";
    assert!(rows(series, false).len() > rows(series, true).len());
    assert_eq!(rows("SELECT COUNT(*) FROM wiki WHERE channel = 'none'", true), Vec::<Json>::new());
    assert_eq!(rows("SELECT COUNT(*) FROM wiki WHERE channel = 'none'", false), [json!([0])]);
}
