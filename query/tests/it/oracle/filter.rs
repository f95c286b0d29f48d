//! Random filters: what they say in JSON, and what they mean of an event.

use std::cmp::Ordering;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use segment::time::Interval;
use serde_json::{Value as Json, json};

use super::dimension::{Key, texts, values};
use super::events::{Event, maybe, numbers, word};
use super::extracted::Extracted;
use super::order::Order;
use super::{BASE, DAYS, HOUR};

/// A filter and what it means.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Is(&'static str, Option<String>),
    In(&'static str, Vec<String>),
    Null(&'static str),
    Starts(&'static str, String),
    TextRange(&'static str, String, bool),
    Above(i64, bool),
    Between(i64, i64),
    Expression(i64),
    /// One of [`PATTERNS`].
    Matches(&'static str, usize),
    /// Whatever the case.
    Contains(&'static str, String),
    Long(i64),
    Longs(Vec<Option<i64>>),
    Element(&'static str, i64),
    List(&'static str, Vec<Option<i64>>),
    /// A double, in quarters.
    Double(i64),
    Doubles(Vec<Option<i64>>),
    DoubleAbove(i64, bool),
    /// A number as a text.
    Spelled(&'static str, String),
    /// One of [`LIKES`].
    Like(&'static str, usize),
    Find(&'static str, Find),
    Bound {
        column: &'static str,
        lower: String,
        upper: Option<String>,
        strict: bool,
        order: Order,
    },
    /// A bound by numbers, of text that is to say numbers.
    OfNumbers(Box<Test>),
    /// Something settled of such bounds, in a place where its truth, or its falsehood, shows events: that do not have any
    /// text in the columns of the bounds.
    Settled {
        test: Box<Test>,
        columns: Vec<&'static str>,
        shown: bool,
    },
    /// The point of `l` and `d` lies in a rectangle; those of `d` are quarters.
    Inside {
        x: (i64, i64),
        y: (i64, i64),
    },
    NestedAbove(i64),
    NestedText(Option<String>),
    Kept(String),
    /// Two columns of texts have a value in common.
    Same(&'static str, &'static str),
    IsFalse(Box<Test>),
    Upper(String),
    Time(i64, i64),
    Extracted(Extracted),
    Always(bool),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    IsTrue(Box<Test>),
}

/// Which texts a search finds.
#[derive(Debug, Clone)]
pub(super) enum Find {
    All,
    Contains(String, bool),
    Insensitive(String),
    Fragments(Vec<String>, bool),
    /// One of [`PATTERNS`].
    Regex(usize),
}

impl Find {
    pub(super) fn random(rng: &mut SmallRng) -> Find {
        let text =
            |rng: &mut SmallRng| ["a", "B", "Z", "x y", "X", ""].choose(rng).expect("there are words").to_string();
        match rng.random_range(0..5) {
            0 => Find::All,
            1 => Find::Contains(text(rng), rng.random_bool(0.5)),
            2 => Find::Insensitive(text(rng)),
            3 => Find::Fragments((0..rng.random_range(1..3)).map(|_| text(rng)).collect(), rng.random_bool(0.5)),
            _ => Find::Regex(rng.random_range(0..PATTERNS.len())),
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Find::All => json!({"type": "all"}),
            Find::Contains(text, sensitive) => {
                json!({"type": "contains", "value": text, "caseSensitive": sensitive})
            }
            Find::Insensitive(text) => json!({"type": "insensitive_contains", "value": text}),
            Find::Fragments(texts, sensitive) => {
                json!({"type": "fragment", "values": texts, "caseSensitive": sensitive})
            }
            Find::Regex(at) => json!({"type": "regex", "pattern": PATTERNS[*at].0}),
        }
    }

    pub(super) fn finds(&self, value: &str) -> bool {
        let within = |text: &String, sensitive: bool| match sensitive {
            true => value.contains(text.as_str()),
            false => value.to_lowercase().contains(&text.to_lowercase()),
        };
        match self {
            Find::All => true,
            Find::Contains(text, sensitive) => within(text, *sensitive),
            Find::Insensitive(text) => within(text, false),
            Find::Fragments(texts, sensitive) => texts.iter().all(|text| within(text, *sensitive)),
            Find::Regex(at) => (PATTERNS[*at].1)(value),
        }
    }
}

/// Patterns of `like`, what escapes in them, and what they mean.
const LIKES: [(&str, Option<&str>, fn(&str) -> bool); 6] = [
    ("%b", None, |text| text.ends_with('b')),
    ("_", None, |text| text.chars().count() == 1),
    ("a_", None, |text| text.starts_with('a') && text.chars().count() == 2),
    ("%ü%h", None, |text| text.ends_with('h') && text.contains('ü')),
    ("x! _", Some("!"), |text| text.starts_with("x ") && text.chars().count() == 3),
    ("%", None, |_| true),
];

/// Expressions that are found in a text, and what they mean.
pub(super) const PATTERNS: [(&str, fn(&str) -> bool); 4] = [
    ("^a", |text| text.starts_with('a')),
    ("b$", |text| text.ends_with('b')),
    ("[a-b]", |text| text.contains(['a', 'b'])),
    ("^$", |text| text.is_empty()),
];

/// Expressions that are a whole text, and what they mean.
pub(super) const FULL: [(&str, fn(&str) -> bool); 5] = [
    ("a.*", |text| text.starts_with('a')),
    ("b", |text| text == "b"),
    ("a|ab", |text| text == "a" || text == "ab"),
    ("[a-b]*", |text| text.chars().all(|c| c == 'a' || c == 'b')),
    ("\\w+", |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())),
];

impl Test {
    pub(super) fn random(rng: &mut SmallRng, depth: usize) -> Test {
        let text =
            |rng: &mut SmallRng| *["s", "m", "s", "m", "dt", "k", "os", "fb"].choose(rng).expect("there are columns");
        let list = |rng: &mut SmallRng| *["list", "da"].choose(rng).expect("there are columns");
        if depth > 0 && rng.random_bool(0.5) {
            let many = |rng: &mut SmallRng| (0..rng.random_range(1..4)).map(|_| Test::random(rng, depth - 1)).collect();
            return match rng.random_range(0..5) {
                0 => Test::And(many(rng)),
                1 => Test::Or(many(rng)),
                2 => Test::Not(Box::new(Test::random(rng, depth - 1))),
                3 => Test::IsFalse(Box::new(Test::random(rng, depth - 1))),
                _ => Test::IsTrue(Box::new(Test::random(rng, depth - 1))),
            };
        }
        match rng.random_range(0..38) {
            36 => {
                let (x, y) = (rng.random_range(-4..5), rng.random_range(-8..8));
                Test::Inside { x: (x, x + rng.random_range(0..5)), y: (y, y + rng.random_range(0..9)) }
            }
            0 => Test::Is(text(rng), maybe(rng, word)),
            1 => Test::In(text(rng), (0..rng.random_range(1..5)).map(|_| word(rng)).collect()),
            2 => {
                let columns = ["s", "m", "l", "d", "list", "dn", "dt", "da", "k", "ol", "fb"];
                Test::Null(columns.choose(rng).expect("there are columns"))
            }
            3 => Test::Starts(text(rng), (*["a", "Z", "x", ""].choose(rng).expect("there are words")).into()),
            4 => Test::TextRange(text(rng), word(rng), rng.random_bool(0.5)),
            5 => Test::Above(rng.random_range(-4..7), rng.random_bool(0.5)),
            6 => {
                let from = rng.random_range(-4..6);
                Test::Between(from, from + rng.random_range(0..4))
            }
            7 => Test::Expression(rng.random_range(-4..7)),
            8 => Test::Upper(word(rng).to_uppercase()),
            9 => Test::Matches(text(rng), rng.random_range(0..PATTERNS.len())),
            10 => Test::Contains(text(rng), (*["A", "b", "X Y", ""].choose(rng).expect("there are words")).into()),
            11 => Test::Long(rng.random_range(-4..7)),
            12 => Test::Longs((0..rng.random_range(1..4)).map(|_| maybe(rng, |rng| rng.random_range(-4..7))).collect()),
            13 => Test::Element(list(rng), rng.random_range(0..4)),
            14 => Test::List(list(rng), numbers(rng)),
            15 => Test::NestedAbove(rng.random_range(-3..4)),
            16 => Test::NestedText(maybe(rng, word)),
            17 => Test::Kept(word(rng)),
            18 => {
                let mut columns = ["s", "m", "dt", "k", "v"];
                let (two, _) = columns.partial_shuffle(rng, 2);
                Test::Same(two[0], two[1])
            }
            19 => Test::Always(rng.random_bool(0.5)),
            20..25 => Test::Extracted(Extracted::random(rng)),
            25 => Test::Double(rng.random_range(-8..10)),
            26 => {
                Test::Doubles((0..rng.random_range(1..4)).map(|_| maybe(rng, |rng| rng.random_range(-6..9))).collect())
            }
            27 => Test::DoubleAbove(rng.random_range(-8..10), rng.random_bool(0.5)),
            28 => {
                let column = *["l", "d", "dn"].choose(rng).expect("there are columns");
                let number = rng.random_range(-3..6);
                Test::Spelled(
                    column,
                    if column == "d" { format!("{:?}", f64::from(number) / 4.0) } else { number.to_string() },
                )
            }
            29 | 30 => Test::Like(text(rng), rng.random_range(0..LIKES.len())),
            31 | 32 => Test::Find(text(rng), Find::random(rng)),
            33..36 => {
                let order = Order::random(rng);
                let (lower, upper) = (word(rng), rng.random_bool(0.6).then(|| word(rng)));
                Test::Bound { column: text(rng), lower, upper, strict: rng.random_bool(0.5), order }
            }
            _ => {
                let from = BASE + rng.random_range(0..DAYS * 24) * HOUR;
                Test::Time(from, from + rng.random_range(1..30) * HOUR)
            }
        }
    }

    /// As policies mean it: of text that says no number nothing is known by tests of numbers, and nothing is shown for that.
    pub(super) fn held_to_numbers(self, shown: bool) -> Test {
        let many = |tests: Vec<Test>| tests.into_iter().map(|test| test.held_to_numbers(shown)).collect();
        match self {
            Test::And(tests) => Test::And(many(tests)),
            Test::Or(tests) => Test::Or(many(tests)),
            Test::Not(test) => Test::Not(Box::new(test.held_to_numbers(!shown))),
            Test::IsTrue(_) | Test::IsFalse(_) => {
                let mut columns = Vec::new();
                let test = Box::new(self.of_numbers(&mut columns));
                Test::Settled { test, columns, shown }
            }
            Test::Bound { order: Order::Numeric, .. } => Test::OfNumbers(Box::new(self)),
            other => other,
        }
    }

    fn of_numbers(self, columns: &mut Vec<&'static str>) -> Test {
        let mut many = |tests: Vec<Test>| tests.into_iter().map(|test| test.of_numbers(columns)).collect();
        match self {
            Test::And(tests) => Test::And(many(tests)),
            Test::Or(tests) => Test::Or(many(tests)),
            Test::Not(test) => Test::Not(Box::new(test.of_numbers(columns))),
            Test::IsTrue(test) => Test::IsTrue(Box::new(test.of_numbers(columns))),
            Test::IsFalse(test) => Test::IsFalse(Box::new(test.of_numbers(columns))),
            Test::Bound { column, order: Order::Numeric, .. } => {
                columns.push(column);
                Test::OfNumbers(Box::new(self))
            }
            other => other,
        }
    }

    pub(super) fn json(&self) -> Json {
        let many = |tests: &[Test]| tests.iter().map(Test::json).collect::<Vec<_>>();
        match self {
            Test::Is(column, value) => json!({"type": "selector", "dimension": column, "value": value}),
            Test::In(column, values) => json!({"type": "in", "dimension": column, "values": values}),
            Test::Null(column) => json!({"type": "null", "column": column}),
            Test::Starts(column, prefix) => {
                json!({"type": "like", "dimension": column, "pattern": format!("{prefix}%")})
            }
            Test::TextRange(column, lower, open) => {
                json!({"type": "range", "column": column, "matchValueType": "STRING", "lower": lower, "lowerOpen": open})
            }
            Test::Above(lower, open) => {
                json!({"type": "range", "column": "l", "matchValueType": "LONG", "lower": lower, "lowerOpen": open})
            }
            Test::Between(from, to) => {
                json!({"type": "bound", "dimension": "l", "ordering": "numeric", "lower": from.to_string(), "upper": to.to_string()})
            }
            Test::Expression(than) => json!({"type": "expression", "expression": format!("l * 2 >= {than}")}),
            Test::Matches(column, at) => json!({"type": "regex", "dimension": column, "pattern": PATTERNS[*at].0}),
            Test::Contains(column, text) => json!({"type": "search", "dimension": column,
                "query": {"type": "insensitive_contains", "value": text}}),
            Test::Long(long) => {
                json!({"type": "equals", "column": "l", "matchValueType": "LONG", "matchValue": long})
            }
            Test::Longs(longs) => json!({"type": "inType", "column": "l", "matchValueType": "LONG", "values": longs}),
            Test::Element(column, long) => json!({"type": "arrayContainsElement", "column": column,
                "elementMatchValueType": "LONG", "elementMatchValue": long}),
            Test::List(column, list) => {
                json!({"type": "equals", "column": column, "matchValueType": "ARRAY<LONG>", "matchValue": list})
            }
            Test::Double(quarters) => json!({"type": "equals", "column": "d", "matchValueType": "DOUBLE",
                "matchValue": *quarters as f64 / 4.0}),
            Test::Doubles(quarters) => {
                let values: Vec<_> = quarters.iter().map(|one| one.map(|quarters| quarters as f64 / 4.0)).collect();
                json!({"type": "inType", "column": "d", "matchValueType": "DOUBLE", "values": values})
            }
            Test::DoubleAbove(quarters, open) => json!({"type": "range", "column": "d", "matchValueType": "DOUBLE",
                "lower": *quarters as f64 / 4.0, "lowerOpen": open}),
            Test::Spelled(column, text) => json!({"type": "selector", "dimension": column, "value": text}),
            Test::Like(column, at) => {
                json!({"type": "like", "dimension": column, "pattern": LIKES[*at].0, "escape": LIKES[*at].1})
            }
            Test::Find(column, find) => json!({"type": "search", "dimension": column, "query": find.json()}),
            Test::Bound { column, lower, upper, strict, order } => json!({"type": "bound", "dimension": column,
                "lower": lower, "lowerStrict": strict, "upper": upper, "upperStrict": strict, "ordering": order.name()}),
            Test::OfNumbers(test) | Test::Settled { test, .. } => test.json(),
            Test::Inside { x, y } => json!({"type": "spatial", "dimension": "point", "bound": {"type": "rectangular",
                "minCoords": [x.0, y.0 as f64 / 4.0], "maxCoords": [x.1, y.1 as f64 / 4.0]}}),
            Test::NestedAbove(than) => {
                json!({"type": "range", "column": "dn", "matchValueType": "LONG", "lower": than, "lowerOpen": true})
            }
            Test::NestedText(text) => json!({"type": "selector", "dimension": "dt", "value": text}),
            Test::Kept(text) => json!({"type": "selector", "dimension": "k", "value": text}),
            Test::Same(one, other) => json!({"type": "columnComparison", "dimensions": [one, other]}),
            Test::IsFalse(test) => json!({"type": "isfalse", "field": test.json()}),
            Test::Upper(text) => {
                json!({"type": "equals", "column": "v", "matchValueType": "STRING", "matchValue": text})
            }
            Test::Time(from, to) => {
                let interval = Interval { start: *from, end: *to }.to_string();
                json!({"type": "interval", "dimension": "__time", "intervals": [interval]})
            }
            Test::Extracted(extracted) => extracted.json(),
            Test::Always(holds) => json!({"type": holds.to_string()}),
            Test::And(tests) => json!({"type": "and", "fields": many(tests)}),
            Test::Or(tests) => json!({"type": "or", "fields": many(tests)}),
            Test::Not(test) => json!({"type": "not", "field": test.json()}),
            Test::IsTrue(test) => json!({"type": "istrue", "field": test.json()}),
        }
    }

    pub(super) fn holds(&self, event: &Event) -> Option<bool> {
        let texts = |column: &str| -> Vec<Option<String>> { texts(column, event).collect() };
        let any = |column: &str, test: &dyn Fn(&str) -> bool| {
            let mut answer = Some(false);
            for text in texts(column) {
                match text.as_deref().map(test) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => answer = None,
                }
            }
            answer
        };
        match self {
            Test::Is(column, Some(value)) => any(column, &|text| text == value),
            Test::Is(column, None) => Some(texts(column).contains(&None)),
            Test::In(column, values) => any(column, &|text| values.iter().any(|v| v == text)),
            // An array is one value.
            Test::Null(column) => Some(values(column, event).contains(&Key::Null)),
            Test::Starts(column, prefix) => any(column, &|text| text.starts_with(prefix.as_str())),
            Test::TextRange(column, lower, true) => any(column, &|text| text > lower.as_str()),
            Test::TextRange(column, lower, false) => any(column, &|text| text >= lower.as_str()),
            Test::Above(lower, true) => event.l.map(|l| l > *lower),
            Test::Above(lower, false) => event.l.map(|l| l >= *lower),
            Test::Between(from, to) => event.l.map(|l| from <= &l && &l <= to),
            Test::Expression(than) => event.l.map(|l| l * 2 >= *than),
            Test::Upper(text) => event.s.as_ref().map(|s| s.to_uppercase() == *text),
            Test::Matches(column, at) => any(column, &PATTERNS[*at].1),
            Test::Contains(column, text) => any(column, &|value| value.to_lowercase().contains(&text.to_lowercase())),
            Test::Long(long) => event.l.map(|l| l == *long),
            Test::Longs(longs) if longs.contains(&None) => Some(longs.contains(&event.l)),
            Test::Longs(longs) => event.l.map(|l| longs.contains(&Some(l))),
            Test::Element(column, long) => match values(column, event).as_slice() {
                [Key::List(list)] => Some(list.contains(&Some(*long))),
                _ => None,
            },
            Test::List(column, list) => match values(column, event).as_slice() {
                [Key::List(own)] => Some(own == list),
                _ => None,
            },
            Test::Double(quarters) => event.d.map(|d| d * 4.0 == *quarters as f64),
            Test::Doubles(quarters) => {
                let own = event.d.map(|d| (d * 4.0) as i64);
                (own.is_some() || quarters.contains(&None)).then(|| quarters.contains(&own))
            }
            Test::DoubleAbove(quarters, open) => {
                event.d.map(|d| d * 4.0 > *quarters as f64 || !open && d * 4.0 == *quarters as f64)
            }
            Test::Spelled(column, text) => any(column, &|value| value == text),
            Test::Like(column, at) => any(column, &LIKES[*at].2),
            Test::Find(column, find) => any(column, &|value| find.finds(value)),
            Test::Bound { column, lower, upper, strict, order } => any(column, &|value| {
                let inside = |from: &str, to: &str| match order.compare(Some(from), Some(to)) {
                    Ordering::Less => true,
                    Ordering::Equal => !strict,
                    Ordering::Greater => false,
                };
                inside(lower, value) && upper.as_ref().is_none_or(|upper| inside(value, upper))
            }),
            // No text of the events says a number.
            Test::OfNumbers(_) => None,
            Test::Settled { test, columns, shown } => {
                let bare = columns.iter().all(|column| texts(column).iter().all(Option::is_none));
                let settled = test.holds(event) == Some(true);
                Some(if *shown { settled && bare } else { settled || !bare })
            }
            Test::Inside { x, y } => event.l.zip(event.d).map(|(l, d)| {
                let quarters = (d * 4.0) as i64;
                (x.0..=x.1).contains(&l) && (y.0..=y.1).contains(&quarters)
            }),
            Test::NestedAbove(than) => event.nested().0.map(|n| n > *than),
            Test::NestedText(None) => Some(event.nested().1.is_none()),
            Test::NestedText(Some(text)) => event.nested().1.map(|t| t == text),
            Test::Kept(text) => match event.kept().as_slice() {
                [] => None,
                kept => Some(kept.contains(&text.as_str())),
            },
            Test::Same(one, other) => {
                let others = texts(other);
                Some(texts(one).iter().any(|text| others.contains(text)))
            }
            Test::IsFalse(test) => Some(test.holds(event) == Some(false)),
            Test::Time(from, to) => Some((*from..*to).contains(&event.time)),
            Test::Extracted(extracted) => extracted.holds(event),
            Test::Always(holds) => Some(*holds),
            Test::And(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(false)) {
                    Some(false)
                } else {
                    found.iter().all(Option::is_some).then_some(true)
                }
            }
            Test::Or(tests) => {
                let found: Vec<Option<bool>> = tests.iter().map(|t| t.holds(event)).collect();
                if found.contains(&Some(true)) {
                    Some(true)
                } else {
                    found.iter().all(Option::is_some).then_some(false)
                }
            }
            Test::Not(test) => test.holds(event).map(|holds| !holds),
            Test::IsTrue(test) => Some(test.holds(event) == Some(true)),
        }
    }
}
