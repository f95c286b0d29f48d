//! Arrays, JSON documents, multi-value strings, lookups and windows: what Druid has beyond plain SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use henge_query_sql::Format;
use segment::Kind;
use segment::lookup::Lookup;
use serde_json::json;

use crate::{Fixture, statement, with_context};

fn refused(f: &Fixture, text: &str) -> String {
    let error = f.body(&f.native, &statement(text), &Format::default()).expect_err(text);
    assert_eq!(error.kind(), Kind::Invalid, "{text}: {error}");
    error.to_string()
}

#[test]
fn arrays_are_values() {
    let f = Fixture::new();
    f.check(
        "SELECT sizes, doc FROM shop ORDER BY __time LIMIT 1",
        json!([["[1,2,null]", r#"{"a":{"b":[1,"x"]},"n":7}"#]]),
    );
    f.check("SELECT ARRAY_LENGTH(sizes) FROM shop ORDER BY __time", json!([[3], [3], [0], [null]]));
    f.check_unordered(
        "SELECT sizes, COUNT(*) FROM shop GROUP BY sizes",
        json!([["[1,2,null]", 2], ["[]", 1], [null, 1]]),
    );
    f.check("SELECT COUNT(*) FROM shop WHERE sizes = ARRAY[1, 2, NULL]", json!([[2]]));
    f.check("SELECT COUNT(*) FROM shop WHERE sizes IS NULL", json!([[1]]));
    f.check("SELECT COUNT(*) FROM shop WHERE ARRAY_CONTAINS(sizes, 2)", json!([[2]]));
    f.check("SELECT ARRAY_TO_STRING(ARRAY_APPEND(ARRAY['a', 'b'], 'c'), '-')", json!([["a-b-c"]]));
    f.check(
        "SELECT ARRAY_OFFSET(sizes, 1), ARRAY_ORDINAL(sizes, 1) FROM shop ORDER BY __time LIMIT 1",
        json!([[2, 1]]),
    );
    let plain = with_context("SELECT sizes FROM shop ORDER BY __time LIMIT 1", json!({"sqlStringifyArrays": false}));
    assert_eq!(f.both(&plain), [json!([[1, 2, null]])]);
}

#[test]
fn lists_of_a_table_are_unnested() {
    let f = Fixture::new();
    f.check_unordered(
        "SELECT u.size, COUNT(*) FROM shop, UNNEST(sizes) AS u(size) GROUP BY 1",
        json!([[1, 2], [2, 2], [null, 2]]),
    );
    f.check("SELECT SUM(size) FROM shop CROSS JOIN UNNEST(sizes) AS u(size) WHERE size > 1", json!([[4]]));
    f.check("SELECT COUNT(*) FROM shop LEFT JOIN UNNEST(sizes) AS u(size) ON TRUE", json!([[8]]));
    f.check_unordered(
        "SELECT tag, COUNT(*) FROM wiki, UNNEST(MV_TO_ARRAY(tags)) AS t(tag) GROUP BY 1",
        json!([["a", 3], ["b", 3], ["c", 2], [null, 2]]),
    );
    f.check("SELECT x FROM UNNEST(ARRAY[3, 4]) AS u(x) ORDER BY x", json!([[3], [4]]));
}

#[test]
fn documents_are_looked_into() {
    let f = Fixture::new();
    f.check(
        "SELECT JSON_VALUE(doc, '$.n' RETURNING BIGINT), JSON_VALUE(doc, '$.a.b[1]') FROM shop ORDER BY __time",
        json!([[7, "x"], [null, null], [2, null], [null, null]]),
    );
    f.check("SELECT SUM(JSON_VALUE(doc, '$.n' RETURNING DOUBLE)) FROM shop", json!([[9.0]]));
    f.check("SELECT JSON_QUERY(doc, '$.a') FROM shop ORDER BY __time LIMIT 1", json!([[r#"{"b":[1,"x"]}"#]]));
    f.check(
        "SELECT JSON_VALUE(doc, '$.a.b' RETURNING VARCHAR ARRAY) FROM shop ORDER BY __time LIMIT 1",
        json!([[r#"["1","x"]"#]]),
    );
    f.check(
        "SELECT TO_JSON_STRING(JSON_OBJECT(KEY 'k' VALUE 1, 'l': PARSE_JSON('[true]')))",
        json!([[r#"{"k":1,"l":[true]}"#]]),
    );
    f.check("SELECT COUNT(*) FROM shop WHERE JSON_VALUE(doc, '$.n') > 2.5", json!([[1]]));
    f.check("SELECT JSON_VALUE(PARSE_JSON('{\"a\":true}'), '$.a') = 1", json!([[true]]));
    assert!(refused(&f, "SELECT doc = 1 FROM shop").contains("JSON_VALUE"));
    assert!(refused(&f, "SELECT UPPER(doc) FROM shop").contains("<COMPLEX<json>>"));
}

#[test]
fn several_values_of_a_string_stay_several() {
    let f = Fixture::new();
    f.check("SELECT tags FROM wiki ORDER BY __time LIMIT 2", json!([[r#"["a","b"]"#], ["b"]]));
    f.check("SELECT MV_LENGTH(tags), MV_TO_STRING(tags, '+') FROM wiki ORDER BY __time LIMIT 1", json!([[2, "a+b"]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE MV_CONTAINS(tags, 'a')", json!([[3]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE MV_OVERLAP(tags, ARRAY['b', 'c'])", json!([[5]]));
}

#[test]
fn lookups_are_a_function_and_a_table() {
    let f = Fixture::new();
    let names = [("#en", "English"), ("#de", "German")].map(|(key, value)| (key.to_string(), value.to_string()));
    let lookup = Arc::new(Lookup::new("v1".into(), names));
    f.broker.lookups().replace(BTreeMap::from([("languages".to_string(), lookup)]));
    f.check_unordered(
        "SELECT LOOKUP(channel, 'languages'), COUNT(*) FROM wiki GROUP BY 1",
        json!([["English", 3], ["German", 3], [null, 2]]),
    );
    f.check("SELECT COUNT(*) FROM wiki WHERE LOOKUP(channel, 'languages', 'other') = 'other'", json!([[2]]));
    f.check("SELECT k, v FROM lookup.languages ORDER BY k", json!([["#de", "German"], ["#en", "English"]]));
    f.check(
        "SELECT l.v, SUM(w.added) FROM wiki w JOIN lookup.languages l ON w.channel = l.k GROUP BY 1 ORDER BY 1",
        json!([["English", 70], ["German", 75]]),
    );
    assert!(refused(&f, "SELECT LOOKUP(channel, 'nothing') FROM wiki").contains("there are languages"));
    f.broker.lookups().replace(BTreeMap::new());
    assert!(
        refused(&f, "SELECT LOOKUP(channel, 'languages') FROM wiki").contains("no lookups"),
        "the plan is not kept"
    );
}

#[test]
fn windows_are_druids() {
    let f = Fixture::new();
    f.check(
        "SELECT n, SUM(n) OVER (ORDER BY n ROWS 1 FOLLOWING), SUM(n) OVER (ORDER BY n ROWS BETWEEN 0 PRECEDING AND 1 PRECEDING), \
         COUNT(*) OVER (ORDER BY n ROWS BETWEEN 2 FOLLOWING AND 1 FOLLOWING) FROM (VALUES (1), (2), (4)) AS t(n) ORDER BY n",
        json!([[1, 3, null, 0], [2, 6, null, 0], [4, 4, null, 0]]),
    );
    assert!(refused(&f, "SELECT RANK() OVER (PARTITION BY channel) FROM wiki").contains("ORDER BY"));
    assert!(refused(&f, "SELECT COUNT(*) OVER (ORDER BY channel NULLS LAST) FROM wiki").contains("NULLS LAST"));
    assert!(
        refused(&f, "SELECT COUNT(*) OVER (ROWS BETWEEN UNBOUNDED FOLLOWING AND CURRENT ROW) FROM wiki")
            .contains("UNBOUNDED FOLLOWING")
    );
}

#[test]
fn operators_bind_and_convert_as_in_druid() {
    let f = Fixture::new();
    f.check("SELECT COUNT(*) FROM wiki WHERE country IS NOT DISTINCT FROM NULL AND channel = '#en'", json!([[1]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE country IS DISTINCT FROM 'US' OR added > 100", json!([[6]]));
    f.check("SELECT '4' + 1, '2' * '3'", json!([[5.0, 6.0]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE added LIKE '%0'", json!([[6]]));
    f.check("SELECT 1 || 'a'", json!([["1a"]]));
    f.check("SELECT GREATEST(1, 'a'), LEAST(2, 1.5), GREATEST(3, NULL)", json!([["a", 1.5, 3]]));
    f.check("SELECT STRING_AGG(x, '+') FROM (VALUES ('a'), ('b')) AS t(x)", json!([["a+b"]]));
    f.check(
        "SELECT ARRAY_CONCAT_AGG(sizes) FROM (SELECT sizes FROM shop ORDER BY __time LIMIT 2)",
        json!([["[1,2,null,1,2,null]"]]),
    );
    assert!(refused(&f, "SELECT 1 !~ 2").contains("operator"));
    assert!(refused(&f, "SELECT COUNT(*) FROM wiki TABLESAMPLE BERNOULLI (50)").contains("TABLESAMPLE"));
    assert!(refused(&f, "SELECT LATEST_BY(channel, added) FROM wiki").contains("LATEST_BY"));
}

#[test]
fn a_column_that_is_not_there_has_a_place() {
    let f = Fixture::new();
    let error = f.body(&f.native, &statement("SELECT 1,\n  chanel FROM wiki"), &Format::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Column 'chanel' not found in any table (line [2], column [3]), did you mean 'channel'"
    );
    assert_eq!((error.context()["line"].as_str(), error.context()["column"].as_str()), ("2", "3"));
}

#[test]
fn whatever_is_named_and_is_not_there_or_does_not_fit_has_a_place() {
    let f = Fixture::new();
    for (text, told, column) in [
        ("SELECT 1 FROM nope", "Object 'nope' not found (line [1], column [15])", "15"),
        ("SELECT 1 FROM druid.\"no.pe\"", "Object 'no.pe' not found (line [1], column [21])", "21"),
        ("SELECT 1 FROM sys.nope", "Object 'nope' not found within 'sys' (line [1], column [19])", "19"),
        ("SELECT Flor(1)", "No function is named 'Flor' (line [1], column [8]), did you mean 'FLOOR'", "8"),
        ("SELECT zyzzyvas(1)", "No function is named 'zyzzyvas' (line [1], column [8])", "8"),
        (
            "SELECT 'sum', SUM(channel) FROM wiki",
            "Cannot apply 'SUM' to arguments of type 'SUM(<VARCHAR>)' (line [1], column [15]). Supported form(s): \
             'SUM(<NUMERIC>)'; write SUM(CAST(… AS DOUBLE)) to read it as a number",
            "15",
        ),
        (
            "SELECT AVG(channel) OVER () FROM wiki",
            "Cannot apply 'AVG' to arguments of type 'AVG(<VARCHAR>)' (line [1], column [8]). Supported form(s): \
             'AVG(<NUMERIC>)'; write AVG(CAST(… AS DOUBLE)) to read it as a number",
            "8",
        ),
    ] {
        let error = f.body(&f.native, &statement(text), &Format::default()).unwrap_err();
        assert_eq!(error.to_string(), told, "{text}");
        assert_eq!(error.context()["column"], column, "{text}");
    }
}
