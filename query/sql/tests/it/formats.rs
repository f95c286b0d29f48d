//! The bytes of the five formats.

use henge_query_sql::{Format, ResultFormat};

use crate::{Fixture, statement};

fn check(text: &str, result_format: &str, headers: u8, expected: &str) {
    let f = Fixture::new();
    let format = Format {
        result_format: result_format.parse::<ResultFormat>().unwrap(),
        header: headers > 0,
        types_header: headers > 1,
        sql_types_header: headers > 2,
    };
    assert_eq!(f.body(&f.native, &statement(text), &format).unwrap(), expected, "{text} as {result_format}");
}

const ROWS: &str = "SELECT added AS a, __time AS t FROM wiki WHERE channel = '#en' ORDER BY __time LIMIT 2";
const NONE: &str = "SELECT added AS a, __time AS t FROM wiki WHERE channel = 'none'";

#[test]
fn object() {
    check(
        ROWS,
        "object",
        0,
        "[{\"a\":10,\"t\":\"2026-01-01T00:00:01.000Z\"},{\"a\":20,\"t\":\"2026-01-01T00:10:00.000Z\"}]\n",
    );
    check(NONE, "object", 0, "[]\n");
    check(NONE, "object", 1, "[{\"a\":null,\"t\":null}]\n");
    check(
        NONE,
        "OBJECT",
        3,
        "[{\"a\":{\"type\":\"LONG\",\"sqlType\":\"BIGINT\"},\"t\":{\"type\":\"LONG\",\"sqlType\":\"TIMESTAMP\"}}]\n",
    );
}

#[test]
fn array() {
    check(
        ROWS,
        "array",
        3,
        "[[\"a\",\"t\"],[\"LONG\",\"LONG\"],[\"BIGINT\",\"TIMESTAMP\"],[10,\"2026-01-01T00:00:01.000Z\"],[20,\"2026-01-01T00:10:00.000Z\"]]\n",
    );
    check(NONE, "array", 0, "[]\n");
}

#[test]
fn lines() {
    check(
        ROWS,
        "objectLines",
        1,
        "{\"a\":null,\"t\":null}\n{\"a\":10,\"t\":\"2026-01-01T00:00:01.000Z\"}\n{\"a\":20,\"t\":\"2026-01-01T00:10:00.000Z\"}\n\n",
    );
    check(ROWS, "arrayLines", 0, "[10,\"2026-01-01T00:00:01.000Z\"]\n[20,\"2026-01-01T00:10:00.000Z\"]\n\n");
    check(NONE, "objectLines", 0, "\n\n");
    check(NONE, "arrayLines", 0, "\n\n");
}

#[test]
fn csv() {
    check(ROWS, "csv", 1, "a,t\n10,2026-01-01T00:00:01.000Z\n20,2026-01-01T00:10:00.000Z\n\n");
    check(NONE, "csv", 0, "\n");
    check("SELECT 'a,b', 'say \"hi\"', CAST(NULL AS VARCHAR), TRUE", "csv", 0, "\"a,b\",\"say \"\"hi\"\"\",,true\n\n");
    check("SELECT CAST(NULL AS VARCHAR)", "csv", 0, "\"\"\n\n");
}

#[test]
fn values() {
    check(
        "SELECT 1.0, CAST(0.5 AS FLOAT), TRUE, NULL, 'é\"\\', 1e300 * 1e300 AS inf",
        "array",
        1,
        "[[\"EXPR$0\",\"EXPR$1\",\"EXPR$2\",\"EXPR$3\",\"EXPR$4\",\"inf\"],[1.0,0.5,true,null,\"é\\\"\\\\\",\"Infinity\"]]\n",
    );
    check(
        "SELECT channel, channel FROM wiki WHERE \"user\" = 'bob'",
        "object",
        0,
        "[{\"channel\":\"#en\",\"channel0\":\"#en\"}]\n",
    );
    check("SELECT ARRAY_AGG(channel) FROM wiki WHERE \"user\" = 'bob'", "array", 0, "[[\"[\\\"#en\\\"]\"]]\n");
}
