//! Expressions that are cut, glued and stretched: each is read or refused, computed by row and by block alike, and
//! nothing panics. `HENGE_FUZZ_SECONDS` says how long.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::block::{Block, Value};
use segment::expr::{Expr, Inputs};

use crate::harm::setting;

const CORPUS: [&str; 16] = [
    "if(l > 3, concat(s, '-', l), null)",
    "case_searched(s == 'a', 1, d >= 2.5, 2, 3) + strlen(s)",
    "timestamp_floor(t, 'PT1H', null, 'Asia/Kolkata') - timestamp_shift(t, 'P1M', -3)",
    "timestamp_format(t, 'yyyy-MM-dd HH:mm:ss.SSS', 'America/New_York')",
    "map((x) -> x * 2, array(1, 2, l))",
    "fold((x, acc) -> x + acc, array(1, l, 3), 0)",
    "filter((x) -> x > 1 && strlen(s) < 3, [1, 2, 3])",
    "array_contains(a, 'x') || array_overlap(a, ['y', 'z'])",
    "json_value(parse_json('{\"k\": [1, {\"m\": null}]}'), '$.k[1].m', 'LONG')",
    "regexp_extract(s, '^(a|b)+(c*)', 1)",
    "cast(cast(s, 'DOUBLE'), 'LONG') % 7 ^ 2 / -l",
    "nvl(lookup_missing, substring(s, 1, 2)) == upper('ü')",
    "!(l < d) && (s != '' || isnull(t)) == 1",
    "bitwiseShiftLeft(l, 62) + div(l, 0) + round(d, -2) * pow(d, l)",
    "string_format('%5d|%s|%.3f', l, s, d)",
    "array_slice(array_append(a, s), -1, 9223372036854775807)",
];

const ODD: [&str; 22] = [
    "",
    "(",
    ")",
    "((((((((",
    "'",
    "\"",
    "[",
    "]",
    "->",
    ",",
    "null",
    "-",
    "9223372036854775808",
    "1e400",
    "'\\u0000'",
    "ü",
    "\\",
    "%",
    "a",
    "l",
    "9223372036854775807",
    "array()",
];

struct Rows {
    rows: Vec<[Value; 5]>,
}

const NAMES: [&str; 5] = ["s", "l", "d", "t", "a"];

impl Inputs for Rows {
    fn column(&self, name: &str) -> Option<Block> {
        let idx = NAMES.iter().position(|known| *known == name)?;
        Some(Block::Any { values: self.rows.iter().map(|row| row[idx].clone()).collect() })
    }

    fn len(&self) -> usize {
        self.rows.len()
    }
}

#[test]
fn odd_expressions_are_read_or_refused() {
    let mut random = SmallRng::seed_from_u64(setting("HENGE_SEED", 5));
    let list = |items: &[&str]| Value::List(items.iter().map(|item| Value::text(item)).collect());
    let rows = Rows {
        rows: vec![
            [Value::text("abc"), Value::Long(4), Value::Double(2.5), Value::Long(1_767_225_600_000), list(&["x", "y"])],
            [Value::Null, Value::Null, Value::Null, Value::Null, Value::Null],
            [Value::text("12"), Value::Long(i64::MIN), Value::Double(f64::NAN), Value::Long(i64::MAX), list(&[])],
            [Value::text(""), Value::Long(0), Value::Double(-0.0), Value::Long(i64::MIN), Value::text("x")],
        ],
    };
    let end = Instant::now() + Duration::from_secs(setting("HENGE_FUZZ_SECONDS", 3));
    let (mut tried, mut read) = (0u64, 0u64);
    while Instant::now() < end {
        let text = mutated(&mut random);
        tried += 1;
        let started = Instant::now();
        let Ok(expr) = Expr::parse(&text) else { continue };
        read += 1;
        let block = expr.block(&rows).unwrap();
        assert_eq!(block.len(), rows.len(), "{text}");
        for (nth, row) in rows.rows.iter().enumerate() {
            let value =
                |name: &str| NAMES.iter().position(|known| *known == name).map_or(Value::Null, |idx| row[idx].clone());
            let (one, of_block) = (expr.value(&value), block.value(nth));
            assert!(same(&one, &of_block), "row {nth} of {text}: {one:?} by row, {of_block:?} by block");
        }
        let again = Expr::parse(&expr.canonical()).unwrap_or_else(|e| panic!("{text}: {}: {e}", expr.canonical()));
        assert_eq!(again.canonical(), expr.canonical(), "{text}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}: {text}", started.elapsed());
    }
    println!("{tried} expressions, {read} read");
    assert!(read > 0, "no expression survived its change");
}

/// A block has one type of numbers.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Long(long), Value::Double(double)) | (Value::Double(double), Value::Long(long)) => {
            *long as f64 == *double
        }
        (Value::Double(one), Value::Double(other)) => one == other || one.is_nan() && other.is_nan(),
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}

fn mutated(random: &mut SmallRng) -> String {
    let mut chars: Vec<String> = tokens(CORPUS.choose(random).unwrap());
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=chars.len());
        let other = tokens(CORPUS.choose(random).unwrap());
        match random.random_range(0..6) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 => chars.insert(at, ODD.choose(random).unwrap().to_string()),
            2 if at < chars.len() => chars[at] = other.choose(random).unwrap().clone(),
            3 => {
                let from = random.random_range(0..other.len());
                let until = (from + random.random_range(1..10)).min(other.len());
                chars.splice(at..at, other[from..until].iter().cloned());
            }
            4 if at < chars.len() => {
                let piece = chars[at].clone();
                let times = random.random_range(1..200);
                chars.splice(at..at, std::iter::repeat_n(piece, times));
            }
            _ => chars.truncate(at.max(1)),
        }
    }
    chars.concat()
}

/// Names, numbers, and every other sign by itself.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for ch in text.chars() {
        match tokens.last_mut() {
            Some(last) if ch.is_alphanumeric() && last.ends_with(|c: char| c.is_alphanumeric()) => last.push(ch),
            _ => tokens.push(ch.to_string()),
        }
    }
    tokens
}
