//! Random statements over random tables: what the native engine takes over must answer as DataFusion does over the same
//! rows. `HENGE_SQL_CASES` and `HENGE_SQL_SEED` say how many and from where.

use std::collections::BTreeMap;
use std::sync::Arc;

use henge_query_sql::{Format, ResultFormat};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::block::Value;
use segment::inventory::Inventory;
use segment::schema::ValueType;
use serde_json::Value as Json;

use crate::{Fixture, same_rows, statement, tables};

const DAY: i64 = 86_400_000;
/// 2026-01-01.
const START: i64 = 1_767_225_600_000;

/// Statements over the same tables.
const CASES_PER_TABLE: u64 = 100;

fn amount(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is not a number")))
}

#[test]
fn leaves_answer_what_datafusion_answers() {
    let cases = amount("HENGE_SQL_CASES", 1_500);
    let first = amount("HENGE_SQL_SEED", 1);
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    let (mut answered, mut refused, mut direct) = (0u64, 0u64, 0u64);
    let (mut fixture, mut different, mut why) = (None, Vec::new(), BTreeMap::new());
    for seed in first..first + cases {
        if fixture.is_none() || seed % CASES_PER_TABLE == 0 {
            fixture = Some(Fixture::over(tables(seed / CASES_PER_TABLE)));
        }
        let f = fixture.as_ref().unwrap();
        let (text, ordered) = Generator { random: SmallRng::seed_from_u64(seed) }.statement();
        let rows = |sql| {
            f.body(sql, &statement(&text), &format).map(|body| {
                let mut rows: Vec<Json> = serde_json::from_str(&body).unwrap();
                if !ordered {
                    rows.sort_by_key(rounded);
                }
                rows
            })
        };
        let differs = match (rows(&f.native), rows(&f.scans)) {
            (Ok(native), Ok(scans)) => {
                answered += 1;
                direct += u64::from(f.is_direct(&text));
                let same = same_rows(&native, &scans);
                (!same).then(|| format!(" native: {}\n  scans: {}", Json::from(native), Json::from(scans)))
            }
            (Err(error), Err(_)) => {
                refused += 1;
                let error: String = error.to_string().chars().take(120).collect();
                *why.entry(error).or_insert(0u64) += 1;
                None
            }
            (Ok(_), Err(error)) => Some(format!(" only the native engine answers; DataFusion: {error}")),
            (Err(error), Ok(_)) => Some(format!(" only DataFusion answers; native: {error}")),
        };
        if let Some(differs) = differs {
            different.push(format!("seed {seed}: {text}\n{differs}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} statements differ:\n{}",
        different.len(),
        different[..different.len().min(12)].join("\n")
    );
    println!("{cases} statements: {answered} answered alike, {direct} of them by one native query, {refused} refused");
    println!("refused with: {why:#?}");
    assert!(answered * 10 > cases * 8, "only {answered} of {cases} statements have an answer");
    assert!(direct * 10 > answered * 3, "only {direct} of {answered} are pushed down whole");
}

/// A row for sorting: doubles that differ in their last digits are one.
pub fn rounded(row: &Json) -> String {
    match row {
        Json::Array(cells) => cells.iter().map(rounded).collect::<Vec<_>>().join("\u{1}"),
        Json::Number(number) if !number.is_i64() => format!("{:.6e}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// `r` with a column of each kind over three days, and `q`, smaller, to join with.
pub fn tables(seed: u64) -> Arc<query::Broker> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x7ab1e);
    let inventory = Arc::new(Inventory::new());
    let schema = tables::schema(&[
        ("s", ValueType::String),
        ("t", ValueType::String),
        ("l", ValueType::Long),
        ("m", ValueType::Long),
        ("d", ValueType::Double),
    ]);
    for (name, most) in [("r", 80), ("q", 12)] {
        for day in 0..3 {
            let mut rows: Vec<(i64, Vec<(&str, Value)>)> = (0..random.random_range(0..=most / 2))
                .map(|_| {
                    let columns = vec![
                        (
                            "s",
                            maybe(&mut random, |r| {
                                Value::text(["", "a", "b", "ab", "B", "ü", "a%"].choose(r).unwrap())
                            }),
                        ),
                        ("t", maybe(&mut random, |r| Value::text(&format!("t{}", r.random_range(0..30))))),
                        ("l", maybe(&mut random, |r| Value::Long(r.random_range(-5..6)))),
                        ("m", Value::Long(random.random_range(0..1_000_000))),
                        ("d", maybe(&mut random, |r| Value::Double(f64::from(r.random_range(-40..40)) / 8.0))),
                    ];
                    (START + day * DAY + random.random_range(0..DAY / 60_000) * 60_000, columns)
                })
                .collect();
            rows.sort_by_key(|(time, _)| *time);
            let interval = format!("2026-01-0{}/2026-01-0{}", day + 1, day + 2);
            tables::serve(&inventory, name, &interval, &schema, &rows);
        }
    }
    tables::broker_of(inventory)
}

fn maybe(random: &mut SmallRng, value: impl FnOnce(&mut SmallRng) -> Value) -> Value {
    if random.random_bool(0.15) { Value::Null } else { value(random) }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Long,
    Double,
    Time,
}

pub struct Generator {
    pub random: SmallRng,
}

impl Generator {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.random).unwrap()
    }

    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    /// A statement, and whether its order is settled.
    pub fn statement(&mut self) -> (String, bool) {
        match self.random.random_range(0..20) {
            0..=9 => self.grouped("r"),
            10..=12 => self.rows("r"),
            13 => {
                let (inner, _) = self.grouped("r");
                (format!("SELECT COUNT(*), SUM(a0) FROM ({})", plain(&inner)), true)
            }
            14 => {
                let (left, right) = (self.condition("", 1), self.condition("", 1));
                let union = format!("SELECT s, l FROM r WHERE {left} UNION ALL SELECT s, l FROM q WHERE {right}");
                (format!("SELECT s, COUNT(*), SUM(l) FROM ({union}) GROUP BY s"), false)
            }
            15 => {
                let (on, kind) = if self.chance(0.5) { ("s", "JOIN") } else { ("l", "LEFT JOIN") };
                let condition = self.condition("r.", 1);
                (
                    format!(
                        "SELECT r.{on}, COUNT(*), SUM(q.m) FROM r {kind} q ON r.{on} = q.{on} WHERE {condition} GROUP BY 1"
                    ),
                    false,
                )
            }
            16 => {
                let (column, negated) = (self.pick(&["s", "t", "l"]), self.pick(&["", "NOT "]));
                let condition = self.condition("", 1);
                let inner = format!("SELECT {column} FROM q WHERE {condition} AND {column} IS NOT NULL");
                (format!("SELECT s, COUNT(*) FROM r WHERE {column} {negated}IN ({inner}) GROUP BY s"), false)
            }
            17 => {
                let key = self.pick(&["s", "l", "FLOOR(__time TO DAY)"]);
                let over = self.pick(&["ORDER BY k", "ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", ""]);
                (
                    format!(
                        "SELECT k, c, SUM(c) OVER ({over}), ROW_NUMBER() OVER (ORDER BY k) FROM \
                         (SELECT {key} AS k, COUNT(*) AS c FROM r GROUP BY 1)"
                    ),
                    false,
                )
            }
            18 => {
                let condition = self.condition("", 2);
                let column = self.pick(&["l", "d", "m"]);
                (
                    format!(
                        "WITH x AS (SELECT s, {column} AS v FROM r WHERE {condition}) \
                         SELECT s, COUNT(*) FROM x WHERE v >= (SELECT AVG(v) FROM x) GROUP BY s"
                    ),
                    false,
                )
            }
            _ => {
                let (columns, condition) = (self.keys(2), self.condition("", 1));
                let columns: Vec<String> = columns.into_iter().map(|(text, _)| text).collect();
                (format!("SELECT DISTINCT {} FROM r WHERE {condition}", columns.join(", ")), false)
            }
        }
    }

    /// An aggregation, whose first aggregate is called `a0`.
    fn grouped(&mut self, from: &str) -> (String, bool) {
        let most = self.random.random_range(0..=3);
        let keys = self.keys(most);
        let count = self.random.random_range(1..=3);
        let aggregates: Vec<String> = (0..count).map(|_| self.aggregate()).collect();
        let mut outputs: Vec<String> =
            keys.iter().enumerate().map(|(n, (text, _))| format!("{text} AS k{n}")).collect();
        outputs.extend(aggregates.iter().enumerate().map(|(n, text)| format!("{text} AS a{n}")));
        let mut text = format!("SELECT {} FROM {from}", outputs.join(", "));
        if self.chance(0.7) {
            let depth = self.random.random_range(0..3);
            text += &format!(" WHERE {}", self.condition("", depth));
        }
        if !keys.is_empty() {
            let list = keys.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ");
            text += &match self.random.random_range(0..8) {
                0 if keys.len() > 1 => format!(" GROUP BY ROLLUP ({list})"),
                1 if keys.len() > 1 => format!(" GROUP BY CUBE ({list})"),
                2 => format!(" GROUP BY GROUPING SETS (({list}), ())"),
                _ => format!(" GROUP BY {list}"),
            };
            if self.chance(0.2) {
                let bound = self.random.random_range(0..6);
                text += &format!(" HAVING COUNT(*) > {bound}");
            }
        }
        if !self.chance(0.4) {
            return (text, false);
        }
        let mut order: Vec<String> =
            (0..outputs.len()).map(|n| format!("{}{}", n + 1, self.pick(&["", " ASC", " DESC"]))).collect();
        // A metric first is what top lists ask for; doubles may differ in the last digit and then settle no order.
        if keys.len() == 1 && aggregates[0].starts_with("COUNT") {
            order.rotate_left(1);
        }
        if aggregates.iter().any(|text| !text.starts_with("COUNT(")) {
            order.retain(|key| {
                key.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap() <= keys.len()
            });
            if order.is_empty() {
                return (text, false);
            }
        }
        text += &format!(" ORDER BY {}", order.join(", "));
        // Keys are told apart by themselves; equal ones come of grouping sets only.
        if text.contains("GROUP BY ROLLUP") || text.contains("CUBE") || text.contains("SETS") {
            return (text, false);
        }
        if self.chance(0.6) {
            text += &format!(" LIMIT {}", self.random.random_range(0..12));
            if self.chance(0.3) {
                text += &format!(" OFFSET {}", self.random.random_range(0..5));
            }
        }
        (text, true)
    }

    fn rows(&mut self, from: &str) -> (String, bool) {
        let columns: Vec<String> = (0..self.random.random_range(1..4)).map(|_| self.expression(2).0).collect();
        let depth = self.random.random_range(0..3);
        (format!("SELECT {} FROM {from} WHERE {}", columns.join(", "), self.condition("", depth)), false)
    }

    fn keys(&mut self, most: usize) -> Vec<(String, Kind)> {
        let mut keys: Vec<(String, Kind)> = Vec::new();
        for _ in 0..most {
            let key = match self.random.random_range(0..6) {
                0 => (format!("FLOOR(__time TO {})", self.pick(&["HOUR", "DAY", "MONTH"])), Kind::Time),
                1 => (format!("TIME_FLOOR(__time, '{}')", self.pick(&["PT6H", "P1D", "PT15M"])), Kind::Time),
                2 | 3 => (self.pick(&["s", "t"]).to_string(), Kind::Text),
                4 => ("l".to_string(), Kind::Long),
                _ => self.expression(1),
            };
            // A constant is a place in the list to SQL.
            if key.0.contains(|c: char| c.is_ascii_lowercase()) && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn aggregate(&mut self) -> String {
        let (number, _) = self.number(1);
        let text = match self.random.random_range(0..9) {
            0 | 1 => "COUNT(*)".to_string(),
            2 => format!("COUNT({})", self.expression(1).0),
            3 => format!("COUNT(DISTINCT {})", self.pick(&["s", "t", "l", "m"])),
            4 => format!("SUM({number})"),
            5 => format!("MIN({number})"),
            6 => format!("MAX({number})"),
            7 => format!("AVG({number})"),
            _ => format!("{}(__time)", self.pick(&["MIN", "MAX"])),
        };
        if self.chance(0.25) { format!("{text} FILTER (WHERE {})", self.condition("", 1)) } else { text }
    }

    pub fn condition(&mut self, of: &str, depth: usize) -> String {
        if depth > 0 && self.chance(0.6) {
            let (left, right) = (self.condition(of, depth - 1), self.condition(of, depth - 1));
            return match self.random.random_range(0..5) {
                0 | 1 => format!("({left} AND {right})"),
                2 | 3 => format!("({left} OR {right})"),
                _ => format!("NOT ({left})"),
            };
        }
        let compare = ["=", "<>", "<", "<=", ">", ">="];
        match self.random.random_range(0..13) {
            0 => format!("{of}s {} '{}'", self.pick(&compare), self.pick(&["", "a", "ab", "ü", "zz"])),
            1 => format!("{of}l {} {}", self.pick(&compare), self.random.random_range(-6..7)),
            2 => format!("{of}d {} {}", self.pick(&compare), f64::from(self.random.random_range(-20..20)) / 4.0),
            3 => format!("{of}{} IS {}NULL", self.pick(&["s", "l", "d", "t"]), self.pick(&["", "NOT "])),
            4 => format!("{of}s {}IN ('a', 'b', '')", self.pick(&["", "NOT "])),
            5 => format!("{of}l {}IN (1, 2, -3)", self.pick(&["", "NOT "])),
            6 => format!("{of}s {}LIKE '{}'", self.pick(&["", "NOT "]), self.pick(&["a%", "%b", "_", "%", "a!%"])),
            7 => format!("{of}m BETWEEN {} AND 700000", self.random.random_range(0..600_000)),
            8 => format!(
                "{of}__time {} TIMESTAMP '2026-01-0{} {:02}:00:00'",
                self.pick(&["<", ">=", ">", "<="]),
                self.random.random_range(1..4),
                self.random.random_range(0..24)
            ),
            9 => format!("{of}l {} {of}d", self.pick(&compare)),
            10 => format!("{of}s {} {of}t", self.pick(&["=", "<>", "<"])),
            11 if of.is_empty() => format!("{} > {}", self.number(1).0, self.random.random_range(-3..4)),
            12 if of.is_empty() => {
                let (text, _) = self.text(1);
                format!("{text} {} '{}'", self.pick(&["=", "<>"]), self.pick(&["a", "A", "t1", "b"]))
            }
            _ => format!("{of}s IS {}DISTINCT FROM 'a'", self.pick(&["", "NOT "])),
        }
    }

    fn expression(&mut self, depth: usize) -> (String, Kind) {
        match self.random.random_range(0..5) {
            0 => ("__time".to_string(), Kind::Time),
            1 | 2 => self.text(depth),
            _ => self.number(depth),
        }
    }

    fn text(&mut self, depth: usize) -> (String, Kind) {
        let column = self.pick(&["s", "t"]).to_string();
        if depth == 0 || self.chance(0.3) {
            return (column, Kind::Text);
        }
        let (inner, _) = self.text(depth - 1);
        let text = match self.random.random_range(0..9) {
            0 => format!("UPPER({inner})"),
            1 => format!("SUBSTRING({inner}, {}, 2)", self.random.random_range(1..3)),
            2 => format!("({inner} || '-' || {column})"),
            3 => format!("COALESCE({inner}, 'none')"),
            4 => format!("CASE WHEN {} THEN {inner} ELSE 'other' END", self.condition("", 0)),
            5 => format!("NULLIF({inner}, 'a')"),
            6 => format!("CAST({} AS VARCHAR)", self.pick(&["l", "m"])),
            7 => format!("TRIM(BOTH 'a' FROM {inner})"),
            _ => format!("REPLACE({inner}, 'a', 'x')"),
        };
        (text, Kind::Text)
    }

    fn number(&mut self, depth: usize) -> (String, Kind) {
        if depth == 0 || self.chance(0.35) {
            return match self.random.random_range(0..3) {
                0 => ("l".to_string(), Kind::Long),
                1 => ("m".to_string(), Kind::Long),
                _ => ("d".to_string(), Kind::Double),
            };
        }
        let (left, left_kind) = self.number(depth - 1);
        let (right, right_kind) = self.number(depth - 1);
        let both = if left_kind == Kind::Double || right_kind == Kind::Double { Kind::Double } else { Kind::Long };
        match self.random.random_range(0..9) {
            0 => (format!("({left} + {right})"), both),
            1 => (format!("({left} - {right})"), both),
            2 => (format!("({left} * 3)"), left_kind),
            3 => (format!("ABS({left})"), left_kind),
            4 => (format!("COALESCE({left}, 0)"), left_kind),
            5 => (format!("CASE WHEN {} THEN {left} ELSE 0 END", self.condition("", 0)), left_kind),
            6 => ("CHAR_LENGTH(t)".to_string(), Kind::Long),
            7 => (format!("EXTRACT({} FROM __time)", self.pick(&["HOUR", "DAY", "DOW", "MONTH"])), Kind::Long),
            _ => (format!("FLOOR({left} / 2.0)"), Kind::Double),
        }
    }
}

/// A statement without an order or bound of its own, as it stands inside another.
fn plain(text: &str) -> &str {
    text.split(" ORDER BY ").next().unwrap_or(text)
}
