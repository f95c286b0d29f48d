//! The orders of text: what they are called, and how they put two texts.

use std::cmp::Ordering;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Order {
    Lexicographic,
    Alphanumeric,
    Numeric,
    Strlen,
}

impl Order {
    pub(super) fn random(rng: &mut SmallRng) -> Order {
        *[Order::Lexicographic, Order::Alphanumeric, Order::Numeric, Order::Strlen]
            .choose(rng)
            .expect("there are orders")
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Lexicographic => "lexicographic",
            Order::Alphanumeric => "alphanumeric",
            Order::Numeric => "numeric",
            Order::Strlen => "strlen",
        }
    }

    /// Nulls come first.
    pub(super) fn compare(self, a: Option<&str>, b: Option<&str>) -> Ordering {
        let (Some(a), Some(b)) = (a, b) else { return a.is_some().cmp(&b.is_some()) };
        match self {
            Order::Lexicographic => a.cmp(b),
            // No text of the events has a character outside the basic plane.
            Order::Strlen => a.chars().count().cmp(&b.chars().count()).then(a.cmp(b)),
            // What is no number comes before those that are.
            Order::Numeric => match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => a.total_cmp(&b),
                (Err(_), Err(_)) => a.cmp(b),
                (a, b) => a.is_ok().cmp(&b.is_ok()),
            },
            Order::Alphanumeric => runs(a).cmp(&runs(b)),
        }
    }
}

/// A text as numbers, which come first, and other characters.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run {
    Digits(u64),
    Other(char),
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match digits {
            0 => runs.push(Run::Other(first)),
            _ => runs.push(Run::Digits(rest[..digits].parse().expect("few digits are a number"))),
        }
        rest = &rest[digits.max(first.len_utf8())..];
    }
    runs
}
