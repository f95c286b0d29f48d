//! Statements that are cut, glued and stretched: each gets an answer or an error in time, and nothing panics.
//! `HENGE_FUZZ_SECONDS` says how long.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use henge_query_sql::{Format, ResultFormat};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::Kind;
use serde_json::json;

use crate::{Fixture, with_context};

const CORPUS: [&str; 24] = [
    "SELECT page, SUM(added) FROM wiki WHERE __time >= TIMESTAMP '2026-01-01 00:00:00' GROUP BY page ORDER BY 2 DESC LIMIT 5",
    "SELECT TIME_FLOOR(__time, 'PT1H', NULL, 'Asia/Kolkata') AS t, COUNT(DISTINCT page) FROM wiki GROUP BY 1 HAVING COUNT(*) > 1",
    "WITH x AS (SELECT page, added FROM wiki) SELECT * FROM x a LEFT JOIN x b ON a.page = b.page AND a.added < 5",
    "SELECT page, ROW_NUMBER() OVER (PARTITION BY page ORDER BY added ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM wiki",
    "SELECT l_returnflag, l_linestatus, GROUPING(l_returnflag) FROM lineitem GROUP BY ROLLUP (l_returnflag, l_linestatus)",
    "SELECT REGEXP_EXTRACT(page, '^(a|b)+', 1), REGEXP_LIKE(page, '(x+x+)+y'), page LIKE '%a_%' ESCAPE '!' FROM wiki",
    "SELECT CASE WHEN added > 3 THEN 'x' WHEN added IS NULL THEN NULL ELSE CAST(added AS VARCHAR) END FROM wiki",
    "SELECT ARRAY[1, 2, NULL], ARRAY_CONCAT(ARRAY['a'], ARRAY['b']), ARRAY_TO_STRING(ARRAY[1.5, 2], ',')",
    "SELECT u FROM UNNEST(ARRAY[1, 2, 3]) AS t(u) WHERE u BETWEEN 1 AND 2",
    "SELECT JSON_VALUE('{\"a\": {\"b\": [1, 2]}}', '$.a.b[1]' RETURNING BIGINT), JSON_KEYS(PARSE_JSON('{\"x\":1}'), '$')",
    "SELECT EXTRACT(DOW FROM __time), TIMESTAMPDIFF(DAY, __time, CURRENT_TIMESTAMP), FLOOR(__time TO MONTH) FROM wiki",
    "SELECT page FROM wiki WHERE page IN (SELECT page FROM wiki WHERE added > (SELECT AVG(added) FROM wiki)) UNION ALL SELECT 'a'",
    "SELECT SUBSTRING(page, 2, 3), LPAD(page, 10, 'ab'), REPEAT(page, 3), REVERSE(page), STRING_FORMAT('%s-%d', page, added) FROM wiki",
    "SELECT SUM(added) FILTER (WHERE page = 'x'), COUNT(*) FILTER (WHERE added IS NOT NULL), MIN(__time), MAX(added) FROM wiki",
    "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'druid' ORDER BY 1, 2",
    "SET sqlTimeZone = 'America/Los_Angeles'; EXPLAIN PLAN FOR SELECT COUNT(*) FROM wiki",
    "SELECT 9223372036854775807 + 1, -9223372036854775808, 1 / 0, 1.0 / 0, MOD(5, 0), POWER(10, 400), SQRT(-1), 1e308 * 10",
    "SELECT TIMESTAMP '9999-12-31 23:59:59' + INTERVAL '10' YEAR, TIME_SHIFT(__time, 'P1Y', 999999999) FROM wiki",
    "SELECT EARLIEST(page, 10), LATEST(added), ANY_VALUE(page), STRING_AGG(page, ','), ARRAY_AGG(added) FROM wiki",
    "SELECT APPROX_COUNT_DISTINCT(page), APPROX_QUANTILE_DS(added, 0.5), STDDEV(added), AVG(added) FROM wiki GROUP BY page",
    "SELECT * FROM (VALUES (1, 'a'), (2, U&'\\00FC')) AS t(x, y) ORDER BY x DESC OFFSET 1 FETCH NEXT 1 ROWS ONLY",
    "SELECT l_shipmode, SUM(l_extendedprice * (1 - l_discount)) AS r FROM lineitem WHERE l_shipmode <> '' GROUP BY 1 ORDER BY r",
    "SELECT DISTINCT page, FLOOR(added / 2.5), BITWISE_AND(added, 3), GREATEST(added, 2, NULL), NVL(page, '-') FROM wiki LIMIT 3",
    "SELECT COUNT(*) FROM wiki a, lineitem b, shop c WHERE a.added = b.l_quantity OR NOT (c.__time IS DISTINCT FROM a.__time)",
];

const ODD: [&str; 24] = [
    "",
    "NULL",
    "''",
    "'",
    "\"",
    "(",
    ")",
    "((((",
    "*",
    "?",
    ";",
    "--",
    "/*",
    "0",
    "-1",
    "1e999",
    "9223372036854775808",
    "\u{0}",
    "ü",
    "'\u{1e}'",
    "TRUE",
    "ARRAY[]",
    "INTERVAL '1' DAY",
    "DATE '2026-02-30'",
];

static PANICS: AtomicU64 = AtomicU64::new(0);

#[test]
fn odd_statements_end_in_answers_or_errors() {
    let seconds = std::env::var("HENGE_FUZZ_SECONDS").ok().map_or(4, |v| v.parse().expect("a number of seconds"));
    let seed = std::env::var("HENGE_SEED").ok().map_or(1, |v| v.parse().expect("a number"));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Another test that fails at the same time is its own matter.
        let other = std::thread::current().name().is_some_and(|name| name.contains("::") && !name.contains("fuzz::"));
        PANICS.fetch_add(u64::from(!other), Ordering::Relaxed);
        before(info);
    }));
    let f = Fixture::new();
    let mut random = SmallRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut tried, mut answered, mut bugs) = (0u64, 0u64, BTreeMap::new());
    while Instant::now() < end {
        let text = mutated(&mut random);
        let format = match tried % 3 {
            0 => ResultFormat::Array,
            1 => ResultFormat::Csv,
            _ => ResultFormat::ObjectLines,
        };
        let started = Instant::now();
        let outcome = f.body(
            &f.native,
            &with_context(&text, json!({"timeout": 1000})),
            &Format { result_format: format, ..Format::default() },
        );
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic: {text}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?} beyond a timeout of 1 s: {text}", started.elapsed());
        match outcome {
            Ok(_) => answered += 1,
            Err(error) if error.kind() == Kind::Bug => drop(bugs.insert(error.to_string(), text)),
            Err(_) => {}
        }
        tried += 1;
    }
    assert!(bugs.is_empty(), "errors of our own making: {bugs:#?}");
    println!("{tried} statements, {answered} answered");
    assert!(answered > 0, "no statement survived its change");
}

fn mutated(random: &mut SmallRng) -> String {
    let mut words = words(CORPUS.choose(random).unwrap());
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=words.len());
        let other = words_of_another(random);
        match random.random_range(0..8) {
            0 if at < words.len() => drop(words.remove(at)),
            1 => words.insert(at, ODD.choose(random).unwrap().to_string()),
            2 if at < words.len() => words[at] = ODD.choose(random).unwrap().to_string(),
            3 if at < words.len() => words[at] = other.choose(random).cloned().unwrap_or_default(),
            4 => {
                // A piece of another statement.
                let from = random.random_range(0..other.len());
                let until = (from + random.random_range(1..8)).min(other.len());
                words.splice(at..at, other[from..until].iter().cloned());
            }
            5 if at < words.len() => {
                let until = (at + random.random_range(1..5)).min(words.len());
                let piece: Vec<String> = words[at..until].to_vec();
                for _ in 0..random.random_range(1..30) {
                    words.splice(at..at, piece.iter().cloned());
                }
            }
            6 if words.len() > 1 => {
                let to = random.random_range(0..words.len());
                words.swap(at.min(to), to);
            }
            _ => words.truncate(at.max(2)),
        }
    }
    words.join(" ")
}

fn words_of_another(random: &mut SmallRng) -> Vec<String> {
    words(CORPUS.choose(random).unwrap())
}

/// Words, literals and signs.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quoted = false;
    for ch in text.chars() {
        let glue = quoted || (ch.is_alphanumeric() || "_.'$&\\".contains(ch)) && !text.is_empty();
        match words.last_mut() {
            Some(last)
                if glue
                    && last.chars().last().is_some_and(|c| quoted || c.is_alphanumeric() || "_.'$&\\".contains(c)) =>
            {
                last.push(ch)
            }
            _ if ch.is_whitespace() => words.push(String::new()),
            _ => words.push(ch.to_string()),
        }
        if ch == '\'' {
            quoted = !quoted;
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
