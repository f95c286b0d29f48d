//! What statements answer.

use serde_json::json;

use crate::{Fixture, with_context, with_parameters};

#[test]
fn statements_without_tables() {
    let f = Fixture::new();
    f.check("SELECT 1", json!([[1]]));
    f.check("SELECT 1 + 1 AS two, 'x' || 'y', 7 / 2, 7 / 0, 7.0 / 2", json!([[2, "xy", 3, null, 3.5]]));
    f.check("SELECT TIMESTAMP '2000-01-02 03:04:05'", json!([["2000-01-02T03:04:05.000Z"]]));
    f.check(
        "SELECT CURRENT_TIMESTAMP, CURRENT_DATE",
        json!([["2026-01-01T12:00:00.000Z", "2026-01-01T00:00:00.000Z"]]),
    );
    f.check(
        "SELECT CAST('x' AS BIGINT), CAST('12' AS BIGINT), CAST(TIMESTAMP '2000-01-01 00:00:00' AS VARCHAR)",
        json!([[null, 12, "2000-01-01 00:00:00"]]),
    );
    f.check("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, s) ORDER BY n DESC", json!([[2, "b"], [1, "a"]]));
    f.check("SELECT U&'\\00e9'", json!([["é"]]));
}

#[test]
fn aggregates_without_keys() {
    let f = Fixture::new();
    f.check("SELECT COUNT(*) FROM wiki", json!([[8]]));
    f.check(
        "SELECT COUNT(*), COUNT(added), SUM(added), MIN(added), MAX(added), AVG(added) FROM wiki",
        json!([[8, 7, 145, -5, 50, 145.0 / 7.0]]),
    );
    f.check("SELECT SUM(delta), MIN(delta), MAX(score), SUM(score) FROM druid.wiki", json!([[7.75, -4.0, 8.0, 16.25]]));
    f.check("SELECT COUNT(DISTINCT \"user\"), COUNT(DISTINCT channel) FROM wiki", json!([[4, 3]]));
    f.check("SELECT SUM(added * (1 - delta)) FROM wiki", json!([[-5.0 + 70.0 - 280.0 + 25.0 - 3.75 + 0.0]]));
    f.check(
        "SELECT COUNT(*) FILTER (WHERE channel = '#en'), SUM(added) FILTER (WHERE country IS NULL) FROM wiki",
        json!([[3, 20]]),
    );
    f.check("SELECT SUM(CASE WHEN added > 15 THEN 1 ELSE 0 END) FROM wiki", json!([[4]]));
    f.check(
        "SELECT MIN(__time), MAX(__time) FROM wiki",
        json!([["2026-01-01T00:00:01.000Z", "2026-01-01T01:45:00.000Z"]]),
    );
    f.check("SELECT COUNT(*), SUM(added), MAX(__time) FROM wiki WHERE channel = 'none'", json!([[0, null, null]]));
    f.check("SELECT COUNT(*), SUM(added) FROM wiki WHERE __time < TIMESTAMP '2000-01-01 00:00:00' AND __time > TIMESTAMP '2001-01-01 00:00:00'",
        json!([[0, null]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE __time < TIMESTAMP '2000-01-01 00:00:00'", json!([[0]]));
    f.check("SELECT EARLIEST(channel), LATEST(channel), EARLIEST_BY(added, __time), LATEST(added) FROM wiki WHERE channel <> '#fr'",
        json!([["#en", "#de", 10, -5]]));
    f.check("SELECT APPROX_COUNT_DISTINCT(channel), APPROX_COUNT_DISTINCT_DS_HLL(\"user\") FROM wiki", json!([[3, 4]]));
    f.check("SELECT COUNT(*) * 2 + SUM(added) FROM wiki", json!([[161]]));
}

#[test]
fn groups() {
    let f = Fixture::new();
    f.check(
        "SELECT channel, COUNT(*) AS c, SUM(added) FROM wiki GROUP BY channel ORDER BY channel",
        json!([["#de", 3, 75], ["#en", 3, 70], ["#fr", 2, 0]]),
    );
    f.check(
        "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY 1 ORDER BY c DESC, channel DESC LIMIT 2",
        json!([["#en", 3], ["#de", 3]]),
    );
    f.check(
        "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY 1 ORDER BY c DESC, channel LIMIT 1 OFFSET 1",
        json!([["#en", 3]]),
    );
    f.check(
        "SELECT country, SUM(delta) AS d FROM wiki GROUP BY country ORDER BY d, country",
        json!([[null, -2.5], ["FR", 0.0], ["", 0.25], ["DE", 0.5], ["US", 9.5]]),
    );
    f.check(
        "SELECT country, COUNT(*) FROM wiki GROUP BY country ORDER BY country",
        json!([[null, 1], ["", 1], ["DE", 2], ["FR", 2], ["US", 2]]),
    );
    f.check(
        "SELECT country, COUNT(*) FROM wiki GROUP BY country ORDER BY country DESC LIMIT 2",
        json!([["US", 2], ["FR", 2]]),
    );
    f.check("SELECT channel, \"user\", COUNT(*) AS c FROM wiki GROUP BY channel, \"user\" ORDER BY c DESC, channel, \"user\" LIMIT 3",
        json!([["#de", "carl", 2], ["#en", "alice", 2], ["#de", "dora", 1]]));
    f.check("SELECT DISTINCT channel FROM wiki ORDER BY channel", json!([["#de"], ["#en"], ["#fr"]]));
    f.check(
        "SELECT channel, COUNT(*) AS c FROM wiki GROUP BY channel HAVING COUNT(*) > 2 ORDER BY channel LIMIT 1",
        json!([["#de", 3]]),
    );
    f.check(
        "SELECT UPPER(channel) AS u, SUM(added) / COUNT(*) FROM wiki GROUP BY UPPER(channel) ORDER BY u",
        json!([["#DE", 25], ["#EN", 23], ["#FR", 0]]),
    );
    f.check("SELECT added > 15, COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1", json!([[null, 1], [false, 3], [true, 4]]));
    f.check(
        "SELECT added, COUNT(*) FROM wiki WHERE added >= 30 GROUP BY added ORDER BY added DESC",
        json!([[50, 1], [40, 1], [30, 1]]),
    );
    f.check("SELECT CASE WHEN channel = '#en' THEN 'english' ELSE 'other' END AS k, COUNT(*) FROM wiki GROUP BY 1 ORDER BY 2",
        json!([["english", 3], ["other", 5]]));
    f.check(
        "SELECT channel, MAX(\"user\") FROM wiki GROUP BY channel ORDER BY channel",
        json!([["#de", "dora"], ["#en", "bob"], ["#fr", "alice"]]),
    );
    f.check_unordered(
        "SELECT channel, COUNT(*) FROM wiki GROUP BY channel LIMIT 10",
        json!([["#de", 3], ["#en", 3], ["#fr", 2]]),
    );
}

#[test]
fn time() {
    let f = Fixture::new();
    f.check(
        "SELECT TIME_FLOOR(__time, 'PT1H') AS t, COUNT(*) FROM wiki GROUP BY 1 ORDER BY 1",
        json!([["2026-01-01T00:00:00.000Z", 4], ["2026-01-01T01:00:00.000Z", 4]]),
    );
    f.check(
        "SELECT FLOOR(__time TO HOUR) AS t, SUM(added) FROM wiki GROUP BY 1 ORDER BY 1 DESC LIMIT 1",
        json!([["2026-01-01T01:00:00.000Z", 85]]),
    );
    f.check("SELECT DATE_TRUNC('minute', __time) AS t, COUNT(*) AS c FROM wiki WHERE channel = '#de' GROUP BY t ORDER BY c DESC, t LIMIT 1",
        json!([["2026-01-01T01:30:00.000Z", 2]]));
    f.check(
        "SELECT EXTRACT(HOUR FROM __time) AS h, channel, COUNT(*) FROM wiki GROUP BY 1, 2 ORDER BY 1, 2",
        json!([[0, "#de", 1], [0, "#en", 2], [0, "#fr", 1], [1, "#de", 2], [1, "#en", 1], [1, "#fr", 1]]),
    );
    f.check(
        "SELECT COUNT(*) FROM wiki WHERE __time >= '2026-01-01 00:10:00' AND __time < '2026-01-01 01:30:00'",
        json!([[4]]),
    );
    f.check("SELECT COUNT(*) FROM wiki WHERE __time >= TIMESTAMP '2026-01-01 01:00:00'", json!([[4]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE __time BETWEEN TIMESTAMP '2026-01-01 00:20:00' AND TIMESTAMP '2026-01-01 01:30:00'", json!([[4]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE __time >= CURRENT_TIMESTAMP - INTERVAL '11' HOUR", json!([[4]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE TIME_IN_INTERVAL(__time, '2026-01-01T01:00/PT30M')", json!([[1]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE NOT (__time >= '2026-01-01 01:00:00') OR channel = '#fr'", json!([[5]]));
    f.check("SELECT TIME_SHIFT(__time, 'P1D', 1), TIME_FORMAT(__time, 'yyyy-MM-dd'), TIMESTAMP_TO_MILLIS(__time) FROM wiki WHERE \"user\" = 'bob'",
        json!([["2026-01-02T00:10:00.000Z", "2026-01-01", 1_767_226_200_000i64]]));
    f.check(
        "SELECT __time, COUNT(*) FROM wiki WHERE channel = '#fr' GROUP BY __time ORDER BY __time",
        json!([["2026-01-01T00:59:59.999Z", 1], ["2026-01-01T01:45:00.000Z", 1]]),
    );
    f.check("SELECT TIMESTAMPADD(DAY, 1, TIMESTAMP '2000-02-28 00:00:00'), TIMESTAMPDIFF(HOUR, TIMESTAMP '2000-01-01 00:00:00', TIMESTAMP '2000-01-02 01:59:00')",
        json!([["2000-02-29T00:00:00.000Z", 25]]));
    let zone = with_context(
        "SELECT FLOOR(__time TO DAY), COUNT(*) FROM wiki WHERE __time < '2025-12-31 17:00:00' GROUP BY 1",
        json!({"sqlTimeZone": "America/Los_Angeles"}),
    );
    assert_eq!(json!(f.both(&zone)), json!([["2025-12-31T00:00:00.000-08:00", 4]]));
}

#[test]
fn rows() {
    let f = Fixture::new();
    f.check(
        "SELECT __time, channel, added FROM wiki ORDER BY __time LIMIT 2",
        json!([["2026-01-01T00:00:01.000Z", "#en", 10], ["2026-01-01T00:10:00.000Z", "#en", 20]]),
    );
    f.check("SELECT channel FROM wiki ORDER BY __time DESC LIMIT 2 OFFSET 1", json!([["#de"], ["#de"]]));
    f.check(
        "SELECT \"user\", added FROM wiki WHERE channel = '#de' AND added > 0 ORDER BY added DESC",
        json!([["dora", 50], ["carl", 30]]),
    );
    f.check(
        "SELECT * FROM wiki WHERE \"user\" = 'bob'",
        json!([["2026-01-01T00:10:00.000Z", "#en", "bob", null, "b", 20, -2.5, 0.25]]),
    );
    f.check("SELECT tags FROM wiki WHERE channel = '#en' ORDER BY __time", json!([["[\"a\",\"b\"]"], ["b"], ["a"]]));
    f.check(
        "SELECT added + 1, CONCAT(channel, '/', \"user\") FROM wiki WHERE added IN (10, 20) ORDER BY added",
        json!([[11, "#en/alice"], [21, "#en/bob"]]),
    );
    f.check_unordered("SELECT channel, channel FROM wiki WHERE score > 3", json!([["#de", "#de"], ["#fr", "#fr"]]));
    f.check("SELECT COUNT(*) FROM (SELECT * FROM wiki LIMIT 3)", json!([[3]]));
}

#[test]
fn conditions() {
    let f = Fixture::new();
    for (condition, count) in [
        ("country IS NULL", 1),
        ("country IS NOT NULL", 7),
        ("country <> 'US'", 5),
        ("NOT (country = 'US')", 5),
        ("country = ''", 1),
        ("channel IN ('#en', '#fr')", 5),
        ("channel NOT IN ('#en', '#fr')", 3),
        ("channel LIKE '#%' AND \"user\" LIKE '%a%'", 6),
        ("\"user\" NOT LIKE 'a%'", 4),
        ("added > 10.5", 4),
        ("added >= 10 AND added <= 40", 4),
        ("added <> 10", 6),
        ("added BETWEEN 0 AND 20", 3),
        ("added IS NULL OR delta < 0", 3),
        ("score = 0.5", 2),
        ("delta > score", 4),
        ("LOWER(\"user\") = 'alice'", 3),
        ("CHAR_LENGTH(\"user\") = 4", 3),
        ("SUBSTRING(channel, 2, 1) = 'e'", 3),
        ("REGEXP_LIKE(\"user\", '^[ab]')", 4),
        ("(channel = '#en' AND added > 10) OR (channel = '#de' AND added < 0)", 3),
        ("channel IS DISTINCT FROM '#en'", 5),
        ("\"user\" IS NOT DISTINCT FROM 'bob'", 1),
        ("(added > 15) IS NOT TRUE", 4),
        ("COALESCE(\"user\", 'nobody') = 'nobody'", 1),
        ("NULLIF(channel, '#en') IS NULL", 3),
        ("MOD(added, 20) = 0", 3),
        ("1 = 0", 0),
        ("TRUE", 8),
    ] {
        f.check(&format!("SELECT COUNT(*) FROM wiki WHERE {condition}"), json!([[count]]));
    }
}

#[test]
fn combinations() {
    let f = Fixture::new();
    f.check("SELECT COUNT(*), SUM(c) FROM (SELECT channel, COUNT(*) AS c FROM wiki GROUP BY channel)", json!([[3, 8]]));
    f.check(
        "WITH top AS (SELECT channel, SUM(added) AS s FROM wiki GROUP BY channel ORDER BY s DESC LIMIT 1) \
         SELECT w.\"user\", top.s FROM wiki w JOIN top ON w.channel = top.channel ORDER BY 1",
        json!([["carl", 75], ["carl", 75], ["dora", 75]]),
    );
    f.check("SELECT COUNT(*) FROM wiki WHERE channel IN (SELECT channel FROM wiki WHERE delta > 3)", json!([[5]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE added > (SELECT AVG(added) FROM wiki)", json!([[3]]));
    f.check(
        "SELECT channel FROM wiki WHERE added = 10 UNION ALL SELECT country FROM wiki WHERE added = 10 ORDER BY 1",
        json!([["#en"], ["US"]]),
    );
    f.check("SELECT a.channel, b.c FROM (SELECT DISTINCT channel FROM wiki) a \
         LEFT JOIN (SELECT channel, COUNT(*) AS c FROM wiki WHERE added > 20 GROUP BY channel) b ON a.channel = b.channel ORDER BY 1",
        json!([["#de", 2], ["#en", 1], ["#fr", null]]));
    f.check("SELECT channel, LATEST_BY(c, t) FROM (SELECT channel, TIME_FLOOR(__time, 'PT1H') AS t, COUNT(*) AS c FROM wiki GROUP BY 1, 2) GROUP BY 1 ORDER BY 1",
        json!([["#de", 2], ["#en", 1], ["#fr", 1]]));
    f.check("SELECT channel, \"user\", ROW_NUMBER() OVER (PARTITION BY channel ORDER BY __time) AS n FROM wiki WHERE channel = '#en' ORDER BY n",
        json!([["#en", "alice", 1], ["#en", "bob", 2], ["#en", "alice", 3]]));
    f.check(
        "SELECT channel, COUNT(*) FROM wiki GROUP BY ROLLUP (channel) ORDER BY 2 DESC, 1",
        json!([[null, 8], ["#de", 3], ["#en", 3], ["#fr", 2]]),
    );
}

#[test]
fn multi_values_are_groups_of_their_own() {
    let f = Fixture::new();
    let rows = |text: &str| {
        let statement = crate::statement(text);
        json!(f.native_rows(&statement))
    };
    assert_eq!(
        rows("SELECT tags, COUNT(*) FROM wiki GROUP BY tags ORDER BY tags"),
        json!([[null, 2], ["a", 3], ["b", 3], ["c", 2]])
    );
    assert_eq!(rows("SELECT COUNT(*) FROM wiki WHERE tags = 'a'"), json!([[3]]));
}

#[test]
fn parameters_and_context() {
    let f = Fixture::new();
    let statement = with_parameters(
        "SELECT \"user\" FROM wiki WHERE channel = ? AND added > ? AND __time >= ? ORDER BY __time LIMIT ?",
        &[
            ("VARCHAR", json!("#de")),
            ("BIGINT", json!(0)),
            ("TIMESTAMP", json!("2026-01-01 00:00:00")),
            ("INTEGER", json!(1)),
        ],
    );
    assert_eq!(json!(f.both(&statement)), json!([["carl"]]));
    let limited = with_context("SELECT channel FROM wiki ORDER BY __time", json!({"sqlOuterLimit": 2}));
    assert_eq!(json!(f.both(&limited)), json!([["#en"], ["#en"]]));
    let set = crate::statement(
        "SET sqlTimeZone = 'America/Los_Angeles'; SET sqlOuterLimit = 1; SELECT __time FROM wiki ORDER BY __time;",
    );
    assert_eq!(json!(f.both(&set)), json!([["2025-12-31T16:00:01.000-08:00"]]));
}

#[test]
fn information_schema() {
    let f = Fixture::new();
    f.check(
        "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'druid' ORDER BY 1",
        json!([["lineitem"], ["shop"], ["wiki"]]),
    );
    f.check("SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'wiki' ORDER BY ORDINAL_POSITION",
        json!([["__time", "TIMESTAMP", "NO"], ["channel", "VARCHAR", "YES"], ["user", "VARCHAR", "YES"], ["country", "VARCHAR", "YES"],
            ["tags", "VARCHAR", "YES"], ["added", "BIGINT", "YES"], ["delta", "DOUBLE", "YES"], ["score", "FLOAT", "YES"]]));
    f.check(
        "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA ORDER BY 1",
        json!([["INFORMATION_SCHEMA"], ["druid"], ["lookup"], ["sys"]]),
    );
}
