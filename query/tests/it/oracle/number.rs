//! Least, greatest and summed numbers of a column, in each type that they can be asked for.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::events::Event;

#[derive(Debug, Clone)]
pub(super) struct Number {
    kind: Kind,
    verb: Verb,
    column: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Long,
    Double,
    Float,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Min,
    Max,
    Sum,
}

impl Number {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Number {
        let kind = *[Kind::Long, Kind::Double, Kind::Float].choose(rng).expect("there are types");
        // Rows of the same dimensions become one, and then their sum is another; and what a rolled-up sum is cut to is not
        // the sum of what was cut.
        let verb =
            *[Verb::Min, Verb::Max, Verb::Sum][..if rollup { 2 } else { 3 }].choose(rng).expect("there are verbs");
        let columns = ["l", "d", "dn", "ol", "x", "added"];
        let column = columns[..if rollup { 4 } else { 6 }].choose(rng).expect("there are columns");
        if rollup && rng.random_bool(0.2) {
            return Number { kind: Kind::Float, verb: Verb::Sum, column: "x" };
        }
        Number { kind, verb, column }
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let kind = match self.kind {
            Kind::Long => "long",
            Kind::Double => "double",
            Kind::Float => "float",
        };
        let verb = match self.verb {
            Verb::Min => "Min",
            Verb::Max => "Max",
            Verb::Sum => "Sum",
        };
        json!({"type": format!("{kind}{verb}"), "name": name, "fieldName": self.column})
    }

    pub(super) fn of(&self, events: &[&Event]) -> Json {
        let number = |event: &&Event| match self.column {
            "l" => event.l.map(|l| l as f64),
            "d" => event.d,
            "dn" => event.nested().0.map(|n| n as f64),
            "ol" => event.l.filter(|_| event.doc.is_some()).map(|l| l as f64),
            "x" => event.x,
            _ => event.added.map(|added| added as f64),
        };
        let numbers = events.iter().filter_map(number);
        // Sums of quarters of this size are exact, as floats too.
        let fold = |a: f64, b: f64| match self.verb {
            Verb::Min => a.min(b),
            Verb::Max => a.max(b),
            Verb::Sum => a + b,
        };
        match self.kind {
            Kind::Long => json!(numbers.map(f64::trunc).reduce(fold).map(|number| number as i64)),
            // Minus zero is not told from zero.
            Kind::Double | Kind::Float => json!(numbers.reduce(fold).map(|number| number + 0.0)),
        }
    }
}
