//! Druid's orders of text.

use std::cmp::Ordering as Order;

use crate::error::{Error, Result};
use crate::expr::convert::double_of_text;
use crate::spelling;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// By UTF-8 bytes.
    Lexicographic,
    /// Runs of digits as numbers and before other characters.
    Alphanumeric,
    /// As numbers; what is none comes before those that are.
    Numeric,
    /// By length, then lexicographic.
    Strlen,
    /// As Maven orders versions.
    Version,
}

const NAMES: [(&str, Ordering); 5] = [
    ("lexicographic", Ordering::Lexicographic),
    ("alphanumeric", Ordering::Alphanumeric),
    ("numeric", Ordering::Numeric),
    ("strlen", Ordering::Strlen),
    ("version", Ordering::Version),
];

impl Ordering {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("lexicographic", |(name, _)| name)
    }

    /// Druid's name or `{"type": name}`.
    pub fn from_json(json: &serde_json::Value, path: &str) -> Result<Ordering> {
        let name = json.as_str().or_else(|| json.get("type").and_then(|t| t.as_str()));
        let Some(name) = name else {
            return Err(Error::invalid(format!("{path} must be the name of an ordering, such as numeric")));
        };
        let lower = name.to_ascii_lowercase();
        NAMES.iter().find(|(known, _)| *known == lower).map(|(_, ordering)| *ordering).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Error::invalid(format!("unknown ordering [{name}] in {path}{}", spelling::hint(name, &known)))
        })
    }

    pub fn compare(self, a: &str, b: &str) -> Order {
        match self {
            Ordering::Lexicographic => a.cmp(b),
            Ordering::Alphanumeric => alphanumeric(a, b),
            Ordering::Numeric => numeric(a, b),
            Ordering::Strlen => utf16_len(a).cmp(&utf16_len(b)).then_with(|| a.cmp(b)),
            Ordering::Version => version(a, b),
        }
    }

    /// As [`Ordering::compare`], null first.
    pub fn compare_nullable(self, a: Option<&str>, b: Option<&str>) -> Order {
        match (a, b) {
            (Some(a), Some(b)) => self.compare(a, b),
            _ => a.is_some().cmp(&b.is_some()),
        }
    }
}

fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

enum Number {
    Long(i64),
    Double(f64),
}

impl Number {
    fn of(text: &str) -> Option<Number> {
        text.parse().map(Number::Long).ok().or_else(|| double_of_text(text).map(Number::Double))
    }
}

fn numeric(a: &str, b: &str) -> Order {
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Long(a)), Some(Number::Long(b))) => a.cmp(&b),
        // Adding zero makes one of the two zeros.
        (Some(Number::Double(a)), Some(Number::Double(b))) => (a + 0.0).total_cmp(&(b + 0.0)),
        (Some(Number::Long(a)), Some(Number::Double(b))) => long_and_double(a, b),
        (Some(Number::Double(a)), Some(Number::Long(b))) => long_and_double(b, a).reverse(),
        (None, None) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// By their exact values: longs that are one as doubles would otherwise be equal to it and not to each other.
fn long_and_double(long: i64, double: f64) -> Order {
    match (long as f64).partial_cmp(&double) {
        Some(Order::Equal) => i128::from(long).cmp(&(double as i128)),
        Some(order) => order,
        None => Order::Less,
    }
}

fn digit_run(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    &bytes[..len]
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

/// Digits as a number of any length.
fn compare_digits(a: &[u8], b: &[u8]) -> Order {
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn alphanumeric(a: &str, b: &str) -> Order {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        let order = match (l.is_ascii_digit(), r.is_ascii_digit()) {
            (true, true) => {
                let (x, y) = (digit_run(left), digit_run(right));
                left = &left[x.len()..];
                right = &right[y.len()..];
                compare_digits(x, y)
            }
            (true, false) => Order::Less,
            (false, true) => Order::Greater,
            (false, false) => {
                let order = l.cmp(r);
                left = &left[1..];
                right = &right[1..];
                order
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

#[derive(Debug, PartialEq)]
enum Part {
    Word(String),
    Digits(Vec<u8>),
}

/// Parts of a version with the separator before each; what means nothing (`0`, `final`, `ga`) is cut from its end.
fn version_parts(text: &str) -> Vec<(u8, Part)> {
    let lower = text.to_lowercase();
    let (mut parts, mut separator, mut rest) = (Vec::new(), b'.', lower.as_bytes());
    while let Some(first) = rest.first() {
        if matches!(first, b'.' | b'-' | b'_') {
            separator = if *first == b'.' { b'.' } else { b'-' };
            if separator == b'-' {
                trim_version(&mut parts);
            }
            rest = &rest[1..];
            continue;
        }
        let digits = digit_run(rest);
        let len = if digits.is_empty() {
            rest.iter().take_while(|b| !b.is_ascii_digit() && !matches!(b, b'.' | b'-' | b'_')).count()
        } else {
            digits.len()
        };
        let part = if digits.is_empty() {
            Part::Word(String::from_utf8_lossy(&rest[..len]).into_owned())
        } else {
            Part::Digits(significant(digits).to_vec())
        };
        parts.push((separator, part));
        rest = &rest[len..];
        // From digits to letters and back is as good as a hyphen.
        separator = b'-';
        if rest.first().is_some_and(|b| !matches!(b, b'.' | b'-' | b'_')) {
            trim_version(&mut parts);
        }
    }
    trim_version(&mut parts);
    parts
}

fn trim_version(parts: &mut Vec<(u8, Part)>) {
    while let Some((_, last)) = parts.last() {
        let nothing = match last {
            Part::Word(word) => qualifier(word) == Ok(RELEASE),
            Part::Digits(digits) => digits.is_empty(),
        };
        if !nothing {
            return;
        }
        parts.pop();
    }
}

const RELEASE: u8 = 5;

/// The rank of a known qualifier.
fn qualifier(word: &str) -> std::result::Result<u8, &str> {
    match word {
        "alpha" | "a" => Ok(0),
        "beta" | "b" => Ok(1),
        "milestone" | "m" => Ok(2),
        "rc" | "cr" => Ok(3),
        "snapshot" => Ok(4),
        "" | "final" | "ga" | "release" => Ok(RELEASE),
        "sp" => Ok(6),
        other => Err(other),
    }
}

fn version(a: &str, b: &str) -> Order {
    let (left, right) = (version_parts(a), version_parts(b));
    for idx in 0..left.len().max(right.len()) {
        let order = match (left.get(idx), right.get(idx)) {
            (Some(l), Some(r)) => compare_parts(l, r),
            (Some(l), None) => compare_to_nothing(l),
            (None, Some(r)) => compare_to_nothing(r).reverse(),
            (None, None) => Order::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
    Order::Equal
}

fn compare_parts(a: &(u8, Part), b: &(u8, Part)) -> Order {
    match (&a.1, &b.1) {
        (Part::Word(x), Part::Word(y)) => match (qualifier(x), qualifier(y)) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            (Err(x), Err(y)) => x.cmp(y),
            (x, y) => x.is_err().cmp(&y.is_err()),
        },
        (Part::Digits(x), Part::Digits(y)) => (a.0 == b'.').cmp(&(b.0 == b'.')).then_with(|| compare_digits(x, y)),
        (Part::Word(_), Part::Digits(_)) => Order::Less,
        (Part::Digits(_), Part::Word(_)) => Order::Greater,
    }
}

fn compare_to_nothing(part: &(u8, Part)) -> Order {
    match &part.1 {
        Part::Word(word) => qualifier(word).map_or(Order::Greater, |rank| rank.cmp(&RELEASE)),
        // Zeros at the end are cut already. One before something counts, or there would be no order: an unknown word is
        // more than nothing and less than a zero.
        Part::Digits(_) => Order::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders() {
        let sorted = |ordering: Ordering, texts: &[&str]| {
            for pair in texts.windows(2) {
                assert_eq!(ordering.compare(pair[0], pair[1]), Order::Less, "{ordering:?} {pair:?}");
                assert_eq!(ordering.compare(pair[1], pair[0]), Order::Greater, "{ordering:?} {pair:?}");
            }
        };
        sorted(Ordering::Lexicographic, &["", "10", "9", "a", "é"]);
        sorted(Ordering::Alphanumeric, &["1", "2", "10", "a1", "a2b3", "a2b10", "a10", "b"]);
        sorted(Ordering::Numeric, &["", "abc", "-3", "0.5", "9", "10", "1e3"]);
        sorted(Ordering::Strlen, &["", "b", "aa", "ab", "aaa"]);
        sorted(
            Ordering::Version,
            &[
                "1.0-alpha-1",
                "1.0-beta",
                "1.0-rc1",
                "1.0-SNAPSHOT",
                "1",
                "1-sp",
                "1-x",
                "1-1",
                "1.1",
                "1.2",
                "1.10",
                "2.0",
            ],
        );
        assert_eq!(Ordering::Version.compare("1", "1.0.0"), Order::Equal);
        sorted(Ordering::Version, &["a", "", "aa", "0.a", "1"]);
        assert_eq!(Ordering::Numeric.compare("1", "1.0"), Order::Equal);
        for zeros in [["0", "-0"], ["0", "-0.0"], ["-0", "-0.0"], ["0.0", "-0."]] {
            assert_eq!(Ordering::Numeric.compare(zeros[0], zeros[1]), Order::Equal, "{zeros:?}");
        }
        sorted(Ordering::Numeric, &["9007199254740992.0", "9007199254740993", "9007199254740994.0", "NaN"]);
        assert_eq!(Ordering::Numeric.compare_nullable(None, Some("")), Order::Less);
    }

    proptest! {
        #[test]
        fn every_ordering_is_one(a in "[a0-9.\\-]{0,6}", b in "[a0-9.\\-]{0,6}", c in "[a0-9.\\-]{0,6}") {
            for (_, ordering) in NAMES {
                prop_assert_eq!(ordering.compare(&a, &b), ordering.compare(&b, &a).reverse());
                if ordering.compare(&a, &b).is_le() && ordering.compare(&b, &c).is_le() {
                    prop_assert!(ordering.compare(&a, &c).is_le(), "{:?} {} {} {}", ordering, a, b, c);
                }
            }
        }
    }
}
