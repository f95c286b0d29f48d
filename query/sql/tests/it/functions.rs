//! Every function that INFORMATION_SCHEMA.ROUTINES lists, with a call and its answer; and what
//! `docs/druid-compatibility.md` says of SQL's functions held to that list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use segment::lookup::Lookup;
use serde_json::{Value as Json, json};

use crate::{Fixture, statement};

/// Calls over constants, and their answers in JSON.
const SCALARS: &[(&str, &str, &str)] = &[
    ("ABS", "ABS(-3)", "3"),
    ("ACOS", "ACOS(1)", "0.0"),
    ("ARRAY_APPEND", "ARRAY_APPEND(ARRAY[1, 2], 3)", "[1,2,3]"),
    ("ARRAY_CONCAT", "ARRAY_CONCAT(ARRAY[1], ARRAY[2, 3])", "[1,2,3]"),
    ("ARRAY_CONTAINS", "ARRAY_CONTAINS(ARRAY[1, 2, 3], ARRAY[3, 1])", "true"),
    ("ARRAY_LENGTH", "ARRAY_LENGTH(ARRAY['a', 'b'])", "2"),
    ("ARRAY_OFFSET", "ARRAY_OFFSET(ARRAY['a', 'b'], 1)", r#""b""#),
    ("ARRAY_OFFSET_OF", "ARRAY_OFFSET_OF(ARRAY['a', 'b'], 'b')", "1"),
    ("ARRAY_ORDINAL", "ARRAY_ORDINAL(ARRAY['a', 'b'], 1)", r#""a""#),
    ("ARRAY_ORDINAL_OF", "ARRAY_ORDINAL_OF(ARRAY['a', 'b'], 'c')", "null"),
    ("ARRAY_OVERLAP", "ARRAY_OVERLAP(ARRAY[1, 2], ARRAY[2, 9])", "true"),
    ("ARRAY_PREPEND", "ARRAY_PREPEND(0, ARRAY[1])", "[0,1]"),
    ("ARRAY_SLICE", "ARRAY_SLICE(ARRAY[1, 2, 3], 1, 3)", "[2,3]"),
    ("ARRAY_TO_MV", "ARRAY_TO_MV(ARRAY['a', 'b'])", r#"["a","b"]"#),
    ("ARRAY_TO_STRING", "ARRAY_TO_STRING(ARRAY[1, 2], '-')", r#""1-2""#),
    ("ASIN", "ASIN(0)", "0.0"),
    ("ATAN", "ATAN(0)", "0.0"),
    ("ATAN2", "ATAN2(0, 1)", "0.0"),
    ("BITWISE_AND", "BITWISE_AND(12, 10)", "8"),
    ("BITWISE_COMPLEMENT", "BITWISE_COMPLEMENT(0)", "-1"),
    ("BITWISE_CONVERT_DOUBLE_TO_LONG_BITS", "BITWISE_CONVERT_DOUBLE_TO_LONG_BITS(1.0)", "4607182418800017408"),
    ("BITWISE_CONVERT_LONG_BITS_TO_DOUBLE", "BITWISE_CONVERT_LONG_BITS_TO_DOUBLE(4607182418800017408)", "1.0"),
    ("BITWISE_OR", "BITWISE_OR(12, 10)", "14"),
    ("BITWISE_SHIFT_LEFT", "BITWISE_SHIFT_LEFT(1, 4)", "16"),
    ("BITWISE_SHIFT_RIGHT", "BITWISE_SHIFT_RIGHT(16, 3)", "2"),
    ("BITWISE_XOR", "BITWISE_XOR(12, 10)", "6"),
    ("BTRIM", "BTRIM('xxaxx', 'x')", r#""a""#),
    ("CASE", "CASE WHEN 1 > 2 THEN 'a' WHEN 2 > 1 THEN 'b' END", r#""b""#),
    ("CAST", "CAST('12' AS BIGINT) + 1", "13"),
    ("CEIL", "CEIL(1.2)", "2.0"),
    ("CEILING", "CEILING(-1.2)", "-1.0"),
    ("CHARACTER_LENGTH", "CHARACTER_LENGTH('abc')", "3"),
    ("CHAR_LENGTH", "CHAR_LENGTH('abc')", "3"),
    ("COALESCE", "COALESCE(NULL, 'b', 'c')", r#""b""#),
    (
        "COMPLEX_DECODE_BASE64",
        "THETA_SKETCH_ESTIMATE(COMPLEX_DECODE_BASE64('thetaSketch', 'AgMDAAAazJMCAAAAAAAAABX5fcu9hqEFw5f8EoFwnR4='))",
        "2.0",
    ),
    ("CONCAT", "CONCAT('a', 'b', 3)", r#""ab3""#),
    ("CONTAINS_STRING", "CONTAINS_STRING('abc', 'B')", "false"),
    ("COS", "COS(0)", "1.0"),
    ("COT", "COT(PI / 4) > 0.999", "true"),
    ("CURRENT_DATE", "CURRENT_DATE", r#""2026-01-01T00:00:00.000Z""#),
    ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP", r#""2026-01-01T12:00:00.000Z""#),
    ("DATE_TRUNC", "DATE_TRUNC('month', TIMESTAMP '2026-02-14 05:06:07')", r#""2026-02-01T00:00:00.000Z""#),
    (
        "DECODE_BASE64_COMPLEX",
        "THETA_SKETCH_ESTIMATE(DECODE_BASE64_COMPLEX('thetaSketch', 'AgMDAAAazJMCAAAAAAAAABX5fcu9hqEFw5f8EoFwnR4='))",
        "2.0",
    ),
    ("DECODE_BASE64_UTF8", "DECODE_BASE64_UTF8('aGk=')", r#""hi""#),
    ("DEGREES", "DEGREES(PI)", "180.0"),
    ("DIV", "DIV(7, 2)", "3"),
    ("EXP", "EXP(0)", "1.0"),
    ("EXTRACT", "EXTRACT(DOY FROM TIMESTAMP '2026-02-14 05:06:07')", "45"),
    ("FLOOR", "FLOOR(TIMESTAMP '2026-02-14 05:06:07' TO HOUR)", r#""2026-02-14T05:00:00.000Z""#),
    ("GREATEST", "GREATEST(1, NULL, 3)", "3"),
    ("HUMAN_READABLE_BINARY_BYTE_FORMAT", "HUMAN_READABLE_BINARY_BYTE_FORMAT(1048576)", r#""1.00 MiB""#),
    ("HUMAN_READABLE_DECIMAL_BYTE_FORMAT", "HUMAN_READABLE_DECIMAL_BYTE_FORMAT(1048576, 1)", r#""1.0 MB""#),
    ("HUMAN_READABLE_DECIMAL_FORMAT", "HUMAN_READABLE_DECIMAL_FORMAT(1048576)", r#""1.05 M""#),
    ("ICONTAINS_STRING", "ICONTAINS_STRING('abc', 'B')", "true"),
    ("IFNULL", "IFNULL(NULL, 4)", "4"),
    ("IPV4_MATCH", "IPV4_MATCH('10.1.2.3', '10.1.0.0/16')", "true"),
    ("IPV4_PARSE", "IPV4_PARSE('0.0.1.2')", "258"),
    ("IPV4_STRINGIFY", "IPV4_STRINGIFY(258)", r#""0.0.1.2""#),
    ("IPV6_MATCH", "IPV6_MATCH('fe80::1', 'fe80::/16')", "true"),
    ("JSON_KEYS", r#"JSON_KEYS(PARSE_JSON('{"a":1,"b":2}'), '$')"#, r#"["a","b"]"#),
    ("JSON_MERGE", r#"TO_JSON_STRING(JSON_MERGE('{"a":1}', '{"b":2}'))"#, r#""{\"a\":1,\"b\":2}""#),
    ("JSON_OBJECT", "TO_JSON_STRING(JSON_OBJECT(KEY 'a' VALUE 1, 'b' : 'c'))", r#""{\"a\":1,\"b\":\"c\"}""#),
    ("JSON_PATHS", r#"JSON_PATHS(PARSE_JSON('{"a":{"b":1}}'))"#, r#"["$.a.b"]"#),
    ("JSON_QUERY", r#"TO_JSON_STRING(JSON_QUERY(PARSE_JSON('{"a":{"b":1}}'), '$.a'))"#, r#""{\"b\":1}""#),
    ("JSON_QUERY_ARRAY", r#"ARRAY_LENGTH(JSON_QUERY_ARRAY(PARSE_JSON('[{"b":1},{"b":2}]'), '$'))"#, "2"),
    ("JSON_VALUE", r#"JSON_VALUE(PARSE_JSON('{"a":{"b":1}}'), '$.a.b' RETURNING BIGINT)"#, "1"),
    ("LEAST", "LEAST(4, 1, 3)", "1"),
    ("LEFT", "LEFT('abcd', 2)", r#""ab""#),
    ("LENGTH", "LENGTH('añ😀')", "4"),
    ("LN", "LN(1)", "0.0"),
    ("LOCALTIMESTAMP", "LOCALTIMESTAMP", r#""2026-01-01T12:00:00.000Z""#),
    ("LOG10", "LOG10(1000)", "3.0"),
    ("LOOKUP", "LOOKUP('fr', 'names', '?')", r#""France""#),
    ("LOWER", "LOWER('ÀB')", r#""àb""#),
    ("LPAD", "LPAD('7', 3, '0')", r#""007""#),
    ("LTRIM", "LTRIM('  a ')", r#""a ""#),
    ("MILLIS_TO_TIMESTAMP", "MILLIS_TO_TIMESTAMP(1000)", r#""1970-01-01T00:00:01.000Z""#),
    ("MOD", "MOD(7, 4)", "3"),
    ("MV_APPEND", "MV_APPEND(STRING_TO_MV('a,b', ','), 'c')", r#"["a","b","c"]"#),
    ("MV_CONCAT", "MV_CONCAT(ARRAY['a'], ARRAY['b'])", r#"["a","b"]"#),
    ("MV_CONTAINS", "MV_CONTAINS(ARRAY['a', 'b'], 'b')", "true"),
    ("MV_FILTER_NONE", "MV_FILTER_NONE(STRING_TO_MV('a,b,c', ','), ARRAY['b'])", r#"["a","c"]"#),
    ("MV_FILTER_ONLY", "MV_FILTER_ONLY(STRING_TO_MV('a,b,c', ','), ARRAY['b', 'c'])", r#"["b","c"]"#),
    ("MV_FILTER_PREFIX", "MV_FILTER_PREFIX(STRING_TO_MV('aa,b,ab', ','), 'a')", r#"["aa","ab"]"#),
    ("MV_FILTER_REGEX", "MV_FILTER_REGEX(STRING_TO_MV('aa,b,ab', ','), 'b$')", r#"["b","ab"]"#),
    ("MV_LENGTH", "MV_LENGTH(STRING_TO_MV('a,b,c', ','))", "3"),
    ("MV_OFFSET", "MV_OFFSET(STRING_TO_MV('a,b,c', ','), 2)", r#""c""#),
    ("MV_OFFSET_OF", "MV_OFFSET_OF(STRING_TO_MV('a,b,c', ','), 'b')", "1"),
    ("MV_ORDINAL", "MV_ORDINAL(STRING_TO_MV('a,b,c', ','), 2)", r#""b""#),
    ("MV_ORDINAL_OF", "MV_ORDINAL_OF(STRING_TO_MV('a,b,c', ','), 'b')", "2"),
    ("MV_OVERLAP", "MV_OVERLAP(STRING_TO_MV('a,b', ','), ARRAY['b', 'z'])", "true"),
    ("MV_PREPEND", "MV_PREPEND('z', STRING_TO_MV('a,b', ','))", r#"["z","a","b"]"#),
    ("MV_SLICE", "MV_SLICE(STRING_TO_MV('a,b,c', ','), 1, 3)", r#"["b","c"]"#),
    ("MV_TO_ARRAY", "MV_TO_ARRAY(STRING_TO_MV('a,b', ','))", r#"["a","b"]"#),
    ("MV_TO_STRING", "MV_TO_STRING(STRING_TO_MV('a,b', ','), '+')", r#""a+b""#),
    ("NULLIF", "NULLIF(3, 3)", "null"),
    ("NVL", "NVL(NULL, 'x')", r#""x""#),
    ("PARSE_JSON", "TO_JSON_STRING(PARSE_JSON('[1, 2]'))", r#""[1,2]""#),
    ("PARSE_LONG", "PARSE_LONG('ff', 16)", "255"),
    ("PI", "PI", "3.141592653589793"),
    ("POSITION", "POSITION('b' IN 'abcb' FROM 3)", "4"),
    ("POW", "POW(2, 10)", "1024.0"),
    ("POWER", "POWER(2, 0.5) < 1.4143", "true"),
    ("RADIANS", "RADIANS(180)", "3.141592653589793"),
    ("REGEXP_EXTRACT", "REGEXP_EXTRACT('ab12cd', '([a-z]+)([0-9]+)', 2)", r#""12""#),
    ("REGEXP_LIKE", "REGEXP_LIKE('ab12', '[0-9]')", "true"),
    ("REGEXP_REPLACE", "REGEXP_REPLACE('a1b2', '([0-9])', '<$1>')", r#""a<1>b<2>""#),
    ("REPEAT", "REPEAT('ab', 2)", r#""abab""#),
    ("REPLACE", "REPLACE('aXbX', 'X', '-')", r#""a-b-""#),
    ("REVERSE", "REVERSE('abc')", r#""cba""#),
    ("RIGHT", "RIGHT('abcd', 1)", r#""d""#),
    ("ROUND", "ROUND(2.345, 2)", "2.35"),
    ("RPAD", "RPAD('a', 3, 'x')", r#""axx""#),
    ("RTRIM", "RTRIM('a  ')", r#""a""#),
    ("SAFE_DIVIDE", "SAFE_DIVIDE(1, 0)", "null"),
    ("SCALAR_IN_ARRAY", "SCALAR_IN_ARRAY(2, ARRAY[1, 2])", "true"),
    ("SIGN", "SIGN(-2.5)", "-1.0"),
    ("SIN", "SIN(0)", "0.0"),
    ("SQRT", "SQRT(9)", "3.0"),
    ("STRING_FORMAT", "STRING_FORMAT('%05d %s', 42, 'x')", r#""00042 x""#),
    ("STRING_TO_ARRAY", "STRING_TO_ARRAY('a,b', ',')", r#"["a","b"]"#),
    ("STRING_TO_MV", "STRING_TO_MV('a,b', ',')", r#"["a","b"]"#),
    ("STRLEN", "STRLEN('abc')", "3"),
    ("STRPOS", "STRPOS('abc', 'c')", "3"),
    ("SUBSTR", "SUBSTR('abcd', 3)", r#""cd""#),
    ("SUBSTRING", "SUBSTRING('abcd' FROM 2 FOR 2)", r#""bc""#),
    ("TAN", "TAN(0)", "0.0"),
    ("TEXTCAT", "TEXTCAT('a', 'b')", r#""ab""#),
    ("TIMESTAMPADD", "TIMESTAMPADD(MONTH, 1, TIMESTAMP '2026-01-31 00:00:00')", r#""2026-02-28T00:00:00.000Z""#),
    ("TIMESTAMPDIFF", "TIMESTAMPDIFF(DAY, TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-01-03 12:00:00')", "2"),
    ("TIMESTAMP_TO_MILLIS", "TIMESTAMP_TO_MILLIS(TIMESTAMP '1970-01-01 00:00:02')", "2000"),
    ("TIME_CEIL", "TIME_CEIL(TIMESTAMP '2026-02-14 05:06:07', 'P1D')", r#""2026-02-15T00:00:00.000Z""#),
    ("TIME_EXTRACT", "TIME_EXTRACT(TIMESTAMP '2026-02-14 05:06:07', 'HOUR', 'America/New_York')", "0"),
    ("TIME_FLOOR", "TIME_FLOOR(TIMESTAMP '2026-02-14 05:06:07', 'PT15M')", r#""2026-02-14T05:00:00.000Z""#),
    ("TIME_FORMAT", "TIME_FORMAT(TIMESTAMP '2026-02-14 05:06:07', 'yyyy/MM/dd HH')", r#""2026/02/14 05""#),
    ("TIME_IN_INTERVAL", "TIME_IN_INTERVAL(TIMESTAMP '2026-02-14 05:06:07', '2026-02-14/P1D')", "true"),
    ("TIME_PARSE", "TIME_PARSE('14.02.2026', 'dd.MM.yyyy')", r#""2026-02-14T00:00:00.000Z""#),
    ("TIME_SHIFT", "TIME_SHIFT(TIMESTAMP '2026-02-14 05:06:07', 'P1D', -1)", r#""2026-02-13T05:06:07.000Z""#),
    ("TO_JSON_STRING", "TO_JSON_STRING(ARRAY[1, 2])", r#""[1,2]""#),
    ("TRIM", "TRIM(LEADING 'x' FROM 'xax')", r#""ax""#),
    ("TRUNC", "TRUNC(-1.78, 1)", "-1.7"),
    ("TRUNCATE", "TRUNCATE(1.99)", "1.0"),
    ("TRY_PARSE_JSON", "TRY_PARSE_JSON('{')", "null"),
    ("UPPER", "UPPER('straße')", r#""STRASSE""#),
];

/// Statements of one row, and its value in JSON.
const STATEMENTS: &[(&str, &str, &str)] = &[
    ("ANY_VALUE", "SELECT ANY_VALUE(channel) FROM wiki WHERE channel = '#de'", r##""#de""##),
    ("APPROX_COUNT_DISTINCT", "SELECT APPROX_COUNT_DISTINCT(channel) FROM wiki", "3"),
    ("APPROX_COUNT_DISTINCT_BUILTIN", "SELECT APPROX_COUNT_DISTINCT_BUILTIN(channel) FROM wiki", "3"),
    ("APPROX_COUNT_DISTINCT_DS_HLL", "SELECT APPROX_COUNT_DISTINCT_DS_HLL(channel, 12, 'HLL_8') FROM wiki", "3"),
    ("APPROX_COUNT_DISTINCT_DS_CPC", "SELECT APPROX_COUNT_DISTINCT_DS_CPC(channel) FROM wiki", "3"),
    ("CPC_SKETCH_ESTIMATE", "SELECT ROUND(CPC_SKETCH_ESTIMATE(DS_CPC(channel))) FROM wiki", "3.0"),
    (
        "CPC_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS",
        "SELECT ARRAY_LENGTH(CPC_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS(DS_CPC(channel), 2)) FROM wiki",
        "3",
    ),
    (
        "CPC_SKETCH_UNION",
        r#"SELECT ROUND(CPC_SKETCH_ESTIMATE(CPC_SKETCH_UNION(DS_CPC(channel), DS_CPC("user")))) FROM wiki"#,
        "7.0",
    ),
    ("DS_CPC", "SELECT DS_CPC(channel) IS NOT NULL FROM wiki", "true"),
    ("DS_FREQUENT_ITEMS", "SELECT DS_FREQUENT_ITEMS(channel, 64) IS NOT NULL FROM wiki", "true"),
    (
        "FREQUENT_ITEMS",
        "SELECT FREQUENT_ITEMS(DS_FREQUENT_ITEMS(CASE WHEN added > 1 THEN 'a' ELSE 'b' END), 1) FROM wiki WHERE added = 50",
        r#"[{"item":"a","estimate":1,"lowerBound":1,"upperBound":1}]"#,
    ),
    ("FREQUENT_ITEMS_ESTIMATE", "SELECT FREQUENT_ITEMS_ESTIMATE(DS_FREQUENT_ITEMS(channel), 'none') FROM wiki", "0"),
    ("APPROX_COUNT_DISTINCT_DS_HLL_UTF8", "SELECT APPROX_COUNT_DISTINCT_DS_HLL_UTF8(channel) FROM wiki", "3"),
    ("APPROX_COUNT_DISTINCT_DS_THETA", "SELECT APPROX_COUNT_DISTINCT_DS_THETA(channel) FROM wiki", "3"),
    ("APPROX_QUANTILE", "SELECT ROUND(APPROX_QUANTILE(added, 0.5), 1) BETWEEN 10 AND 30 FROM wiki", "true"),
    ("APPROX_QUANTILE_DS", "SELECT APPROX_QUANTILE_DS(added, 0.5) FROM wiki", "20.0"),
    (
        "APPROX_QUANTILE_FIXED_BUCKETS",
        "SELECT APPROX_QUANTILE_FIXED_BUCKETS(added, 0.5, 60, 0, 60, 'ignore') BETWEEN 10 AND 31 FROM wiki",
        "true",
    ),
    ("ARRAY_AGG", r#"SELECT ARRAY_AGG(added) FROM wiki WHERE "user" = 'alice' AND added = 40"#, "[40]"),
    ("ARRAY_CONCAT_AGG", "SELECT ARRAY_LENGTH(ARRAY_CONCAT_AGG(sizes)) > 0 FROM shop", "true"),
    ("AVG", "SELECT AVG(added) FROM wiki WHERE channel = '#de'", "25.0"),
    ("BIT_AND", "SELECT BIT_AND(added) FROM wiki WHERE added IN (10, 30)", "10"),
    ("BIT_OR", "SELECT BIT_OR(added) FROM wiki WHERE added IN (10, 20)", "30"),
    ("BIT_XOR", "SELECT BIT_XOR(added) FROM wiki WHERE added IN (10, 30)", "20"),
    ("BLOOM_FILTER", "SELECT BLOOM_FILTER(channel, 100) IS NOT NULL FROM wiki", "true"),
    (
        "BLOOM_FILTER_TEST",
        "SELECT COUNT(*) FROM wiki WHERE BLOOM_FILTER_TEST(CASE WHEN added > 30 THEN 'a' ELSE 'c' END, 'BAAAAAgAAAAAAAAAAAAAAAAAAAAAAAAACFAAAAAAAAAAAAAgAACAAAAAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAA')",
        "2",
    ),
    ("COUNT", "SELECT COUNT(added) FROM wiki", "7"),
    (
        "CUME_DIST",
        "SELECT CUME_DIST() OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added LIMIT 1",
        "0.5",
    ),
    ("DENSE_RANK", "SELECT DENSE_RANK() OVER (ORDER BY added) FROM wiki WHERE added = 10", "1"),
    ("DS_CDF", "SELECT DS_CDF(DS_QUANTILES_SKETCH(added), 15) FROM wiki WHERE added IN (10, 20)", "[0.5,1.0]"),
    ("DS_GET_QUANTILE", "SELECT DS_GET_QUANTILE(DS_QUANTILES_SKETCH(added), 0.5) FROM wiki", "20.0"),
    ("DS_GET_QUANTILES", "SELECT DS_GET_QUANTILES(DS_QUANTILES_SKETCH(added), 0, 1) FROM wiki", "[-5.0,50.0]"),
    ("DS_HISTOGRAM", "SELECT DS_HISTOGRAM(DS_QUANTILES_SKETCH(added), 15) FROM wiki WHERE added >= 10", "[1.0,4.0]"),
    ("DS_HLL", "SELECT HLL_SKETCH_ESTIMATE(DS_HLL(channel), true) FROM wiki", "3.0"),
    (
        "DS_QUANTILES_SKETCH",
        "SELECT DS_RANK(DS_QUANTILES_SKETCH(added, 64), 20) FROM wiki WHERE added IN (10, 20)",
        "1.0",
    ),
    (
        "DS_QUANTILE_SUMMARY",
        "SELECT CONTAINS_STRING(DS_QUANTILE_SUMMARY(DS_QUANTILES_SKETCH(added)), 'K') FROM wiki",
        "true",
    ),
    ("DS_RANK", "SELECT DS_RANK(DS_QUANTILES_SKETCH(added), 100) FROM wiki", "1.0"),
    ("DS_THETA", "SELECT THETA_SKETCH_ESTIMATE(DS_THETA(channel, 1024)) FROM wiki", "3.0"),
    (
        "DS_TUPLE_DOUBLES",
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES(channel, added)) FROM wiki WHERE added > 0",
        "[150.0]",
    ),
    (
        "DS_TUPLE_DOUBLES_INTERSECT",
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES_INTERSECT(DS_TUPLE_DOUBLES(channel, added), DS_TUPLE_DOUBLES('#zz', added))) FROM wiki",
        "[0.0]",
    ),
    (
        "DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE",
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES(channel, added)) FROM wiki WHERE added = 50",
        "[50.0]",
    ),
    (
        "DS_TUPLE_DOUBLES_NOT",
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES_NOT(DS_TUPLE_DOUBLES(channel, added), DS_TUPLE_DOUBLES('#zz', added))) FROM wiki WHERE added = 50",
        "[50.0]",
    ),
    (
        "DS_TUPLE_DOUBLES_UNION",
        "SELECT DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE(DS_TUPLE_DOUBLES_UNION(DS_TUPLE_DOUBLES(channel, added), DS_TUPLE_DOUBLES('#zz', added))) FROM wiki WHERE added = 50",
        "[100.0]",
    ),
    ("EARLIEST", "SELECT EARLIEST(added) FROM wiki", "10"),
    (
        "EARLIEST_BY",
        r#"SELECT EARLIEST_BY("user", MILLIS_TO_TIMESTAMP(-TIMESTAMP_TO_MILLIS(__time))) FROM wiki WHERE "user" IS NOT NULL"#,
        r#""carl""#,
    ),
    ("FIRST_VALUE", "SELECT FIRST_VALUE(added) OVER (ORDER BY __time) FROM wiki ORDER BY __time LIMIT 1", "10"),
    ("GROUPING", "SELECT GROUPING(channel) FROM wiki GROUP BY GROUPING SETS ((channel), ()) HAVING COUNT(*) = 8", "1"),
    ("HLL_SKETCH_ESTIMATE", r#"SELECT HLL_SKETCH_ESTIMATE(DS_HLL("user"), true) FROM wiki"#, "4.0"),
    (
        "HLL_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS",
        r#"SELECT ARRAY_LENGTH(HLL_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS(DS_HLL("user"), 2)) FROM wiki"#,
        "3",
    ),
    (
        "HLL_SKETCH_TO_STRING",
        r#"SELECT CONTAINS_STRING(HLL_SKETCH_TO_STRING(DS_HLL("user")), 'HLL') FROM wiki"#,
        "true",
    ),
    (
        "HLL_SKETCH_UNION",
        r#"SELECT HLL_SKETCH_ESTIMATE(HLL_SKETCH_UNION(DS_HLL("user"), DS_HLL(channel)), true) FROM wiki"#,
        "7.0",
    ),
    (
        "LAG",
        "SELECT LAG(added) OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added DESC LIMIT 1",
        "10",
    ),
    (
        "LAST_VALUE",
        "SELECT LAST_VALUE(added) OVER (ORDER BY added ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM wiki WHERE added IN (10, 20) LIMIT 1",
        "20",
    ),
    ("LATEST", "SELECT LATEST(added) FROM wiki", "0"),
    ("LATEST_BY", "SELECT LATEST_BY(added, __time) FROM wiki WHERE channel = '#en'", "40"),
    ("LEAD", "SELECT LEAD(added) OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added LIMIT 1", "20"),
    ("LISTAGG", "SELECT LISTAGG(channel, '+') FROM wiki WHERE added = 20", r##""#en""##),
    ("MAX", "SELECT MAX(added) FROM wiki", "50"),
    ("MIN", "SELECT MIN(added) FROM wiki", "-5"),
    (
        "NTILE",
        "SELECT NTILE(2) OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added DESC LIMIT 1",
        "2",
    ),
    (
        "PERCENT_RANK",
        "SELECT PERCENT_RANK() OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added DESC LIMIT 1",
        "1.0",
    ),
    ("RANK", "SELECT RANK() OVER (ORDER BY channel) FROM wiki WHERE added IN (10, 20) LIMIT 1", "1"),
    (
        "ROW_NUMBER",
        "SELECT ROW_NUMBER() OVER (ORDER BY added) FROM wiki WHERE added IN (10, 20) ORDER BY added DESC LIMIT 1",
        "2",
    ),
    ("SKETCH_FINALIZE", "SELECT SKETCH_FINALIZE(DS_THETA(channel)) FROM wiki", r#""3.0""#),
    ("STDDEV", "SELECT STDDEV(added) FROM wiki WHERE added IN (10, 20) AND channel = '#en'", "7.0710678118654755"),
    ("STDDEV_POP", "SELECT STDDEV_POP(added) FROM wiki WHERE added IN (10, 20)", "5.0"),
    ("STDDEV_SAMP", "SELECT STDDEV_SAMP(added) > 7.07 FROM wiki WHERE added IN (10, 20)", "true"),
    ("STRING_AGG", "SELECT STRING_AGG(channel, '+') FROM wiki WHERE added = 20", r##""#en""##),
    ("SUM", "SELECT SUM(added) FROM wiki", "145"),
    ("TDIGEST_GENERATE_SKETCH", "SELECT TDIGEST_GENERATE_SKETCH(added) IS NOT NULL FROM wiki", "true"),
    ("TDIGEST_QUANTILE", "SELECT TDIGEST_QUANTILE(added, 1.0) FROM wiki", "50.0"),
    ("THETA_SKETCH_ESTIMATE", r#"SELECT THETA_SKETCH_ESTIMATE(DS_THETA("user")) FROM wiki"#, "4.0"),
    (
        "THETA_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS",
        r#"SELECT JSON_VALUE(THETA_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS(DS_THETA("user"), 2), '$.estimate' RETURNING DOUBLE) FROM wiki"#,
        "4.0",
    ),
    (
        "THETA_SKETCH_INTERSECT",
        "SELECT THETA_SKETCH_ESTIMATE(THETA_SKETCH_INTERSECT(DS_THETA(channel), DS_THETA(channel) FILTER (WHERE added = 50))) FROM wiki",
        "1.0",
    ),
    (
        "THETA_SKETCH_NOT",
        "SELECT THETA_SKETCH_ESTIMATE(THETA_SKETCH_NOT(DS_THETA(channel), DS_THETA(channel) FILTER (WHERE added = 50))) FROM wiki",
        "2.0",
    ),
    (
        "THETA_SKETCH_UNION",
        r#"SELECT THETA_SKETCH_ESTIMATE(THETA_SKETCH_UNION(DS_THETA(channel), DS_THETA("user"))) FROM wiki"#,
        "7.0",
    ),
    ("VARIANCE", "SELECT VARIANCE(added) FROM wiki WHERE added IN (10, 20)", "50.0"),
    ("VAR_POP", "SELECT VAR_POP(added) FROM wiki WHERE added IN (10, 20)", "25.0"),
    ("VAR_SAMP", "SELECT VAR_SAMP(added) FROM wiki WHERE added IN (10, 20)", "50.0"),
];

fn routines(f: &Fixture) -> BTreeSet<String> {
    let rows = f.native_rows(&statement("SELECT ROUTINE_NAME, SIGNATURES FROM INFORMATION_SCHEMA.ROUTINES"));
    rows.iter()
        .map(|row| {
            assert!(row[1].as_str().is_some_and(|forms| forms.starts_with('\'')), "{row}");
            row[0].as_str().unwrap().to_string()
        })
        .collect()
}

#[test]
fn every_routine_answers() {
    let f = Fixture::new();
    let names = Arc::new(Lookup::new("v1".to_string(), [("fr".to_string(), "France".to_string())]));
    f.broker.lookups().replace(BTreeMap::from([("names".to_string(), names)]));
    let scalars = SCALARS.iter().map(|(name, call, answer)| (*name, format!("SELECT {call}"), *answer));
    let statements = STATEMENTS.iter().map(|(name, statement, answer)| (*name, (*statement).to_string(), *answer));
    let mut shown = BTreeSet::new();
    let mut wrong = Vec::new();
    for (name, text, answer) in scalars.chain(statements) {
        assert!(text.contains(name), "{text} does not call {name}");
        // Arrays are texts in this format.
        let answer: Json = match answer.starts_with('[') {
            true => json!(answer),
            false => serde_json::from_str(answer).unwrap(),
        };
        let rows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f.both(&statement(&text))));
        match rows {
            Ok(rows) if rows == [json!([answer])] => {}
            rows => wrong.push(format!("{text}: {rows:?}, not {answer}")),
        }
        shown.insert(name.to_string());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(shown, routines(&f));
}

/// Every function is a row of the page that does not say it is absent, and every such row is a function.
#[test]
fn the_compatibility_page_lists_the_routines() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/druid-compatibility.md")).unwrap();
    let sections = page
        .split("\n## ")
        .filter(|section| section.starts_with("SQL functions") || section.starts_with("SQL aggregates"));
    let rows = sections.flat_map(str::lines).filter(|line| line.starts_with("| `") && !line.contains("| absent |"));
    let listed: BTreeSet<String> = rows.map(|row| row.split('`').nth(1).unwrap().to_string()).collect();
    assert_eq!(listed, routines(&Fixture::new()));
}
