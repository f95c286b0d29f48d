//! The bytes of the five formats.

use std::sync::Arc;

use henge_query_sql::{Format, ResultFormat};
use segment::block::Value;
use segment::inventory::Inventory;
use segment::schema::ValueType;
use segment::time::parse_timestamp;
use serde_json::json;

use crate::{Fixture, statement, tables, with_parameters};

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

/// U+001E begins what stands for several values inside of plans; a text of the user that begins so is just a text.
#[test]
fn texts_that_begin_with_a_separator() {
    let inventory = Arc::new(Inventory::new());
    let schema = tables::schema(&[("mark", ValueType::String), ("tags", ValueType::String)]);
    let start = parse_timestamp("2026-02-01").unwrap();
    let (alone, list, plain) = (Value::text("\u{1e}"), Value::text("\u{1e}[\"a\",\"b\"]"), Value::text("a"));
    let rows = [
        (start, vec![("mark", alone.clone()), ("tags", Value::List(vec![alone.clone(), plain.clone()]))]),
        (start + 1, vec![("mark", list.clone()), ("tags", Value::List(vec![list.clone(), plain.clone()]))]),
        (start + 2, vec![("mark", plain), ("tags", Value::Null)]),
    ];
    tables::serve(&inventory, "marks", "2026-02-01/2026-02-02", &schema, &rows);
    let f = Fixture::over(tables::broker_of(inventory));
    let marks = json!([["\u{1e}"], ["\u{1e}[\"a\",\"b\"]"], ["a"]]);
    f.check("SELECT mark FROM marks ORDER BY __time", marks.clone());
    f.check("SELECT CONCAT(mark, '') FROM marks ORDER BY __time", marks.clone());
    f.check("SELECT a.mark FROM marks a JOIN marks b ON a.mark = b.mark ORDER BY a.__time", marks.clone());
    f.check_unordered("SELECT mark FROM marks GROUP BY mark", marks);
    f.check("SELECT CONCAT('\u{1e}', mark), LENGTH(mark) FROM marks WHERE mark = 'a'", json!([["\u{1e}a", 1]]));
    f.check("SELECT COUNT(*) FROM marks WHERE mark = '\u{1e}'", json!([[1]]));
    f.check("SELECT LENGTH(mark) FROM marks WHERE mark LIKE '\u{1e}%' ORDER BY __time", json!([[1], [10]]));
    f.check("SELECT '\u{1e}', CONCAT('\u{1e}', 'b')", json!([["\u{1e}", "\u{1e}b"]]));
    f.check("SELECT COUNT(*) FROM marks WHERE mark IN (SELECT mark FROM marks GROUP BY mark)", json!([[3]]));
    f.check("SELECT COUNT(*) FROM marks WHERE mark = CONCAT('\u{1e}', '[\"a\",\"b\"]')", json!([[1]]));
    f.check("SELECT CONCAT('\u{1e} [\"a\"]', ''), '\u{1e}[1e999]'", json!([["\u{1e} [\"a\"]", "\u{1e}[1e999]"]]));
    let list = "\u{1e}[\"a\",null]";
    for refused in [statement(&format!("SELECT '{list}'")), with_parameters("SELECT ?", &[("VARCHAR", json!(list))])] {
        let error = f.body(&f.native, &refused, &Format::default()).unwrap_err();
        assert!(error.to_string().contains("U+001E"), "{error}");
    }
    f.check(
        "SELECT tags FROM marks ORDER BY __time",
        json!([["[\"\\u001e\",\"a\"]"], ["[\"\\u001e[\\\"a\\\",\\\"b\\\"]\",\"a\"]"], [null]]),
    );
    for (result_format, expected) in
        [("csv", "\u{1e}\n"), ("objectLines", "{\"mark\":\"\\u001e\"}\n"), ("arrayLines", "[\"\\u001e\"]\n")]
    {
        let format = Format { result_format: result_format.parse::<ResultFormat>().unwrap(), ..Format::default() };
        let body = f.body(&f.native, &statement("SELECT mark FROM marks ORDER BY __time LIMIT 1"), &format).unwrap();
        assert_eq!(body.trim_end_matches('\n'), expected.trim_end_matches('\n'), "as {result_format}");
    }
}
