//! Post-aggregates that count with the numbers of a group.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::within;

/// How deep they nest at most.
pub(super) const DEPTH: usize = 2;

/// `Number` is an aggregate by its place, and whether it is finished by name.
#[derive(Debug, Clone)]
pub(super) enum Sum {
    Number(usize, bool),
    Constant(i64),
    Half(i64),
    Arithmetic(&'static str, Vec<Sum>),
    Extreme {
        greatest: bool,
        long: bool,
        of: Vec<Sum>,
    },
    /// Twice the number and one.
    Expression(usize),
    /// Of two samples: successes and sizes.
    Score(Box<[Sum; 4]>),
    /// How likely a score is.
    Chance(Box<Sum>),
}

impl Sum {
    pub(super) fn random(rng: &mut SmallRng, numbers: &[usize], depth: usize) -> Sum {
        let number = *numbers.choose(rng).expect("events are counted");
        let inner = |rng: &mut SmallRng| Sum::random(rng, numbers, depth - 1);
        match rng.random_range(0..if depth > 0 { 9 } else { 4 }) {
            0 | 1 => Sum::Number(number, rng.random_bool(0.5)),
            2 => Sum::Constant(rng.random_range(-3..5)),
            3 => Sum::Half(rng.random_range(-3..5)),
            4 => Sum::Expression(number),
            5 => Sum::Extreme {
                greatest: rng.random_bool(0.5),
                long: rng.random_bool(0.5),
                of: (0..rng.random_range(1..4)).map(|_| inner(rng)).collect(),
            },
            // Not within others: it is not exact to the last digit.
            6 if depth == DEPTH => {
                // Rates of some ten: no score is so large that its chance is nothing but rounding.
                let [success, other] = [0; 2].map(|_| Sum::Constant(rng.random_range(1..12)));
                let size = Sum::Arithmetic("+", vec![Sum::Number(0, false), Sum::Constant(12)]);
                let score = Sum::Score(Box::new([success, size, other, Sum::Constant(15)]));
                if rng.random_bool(0.5) { Sum::Chance(Box::new(score)) } else { score }
            }
            _ => {
                let operator = *["+", "-", "*", "/", "quotient", "pow"].choose(rng).expect("there are operators");
                Sum::Arithmetic(operator, (0..rng.random_range(2..4)).map(|_| inner(rng)).collect())
            }
        }
    }

    /// Whether rows can be put in its order: not where it may be no number, nor where it is not exact.
    pub(super) fn orders(&self) -> bool {
        match self {
            Sum::Number(..) | Sum::Constant(_) | Sum::Half(_) | Sum::Expression(_) => true,
            Sum::Arithmetic(operator, of) => !["quotient", "pow"].contains(operator) && of.iter().all(Sum::orders),
            Sum::Extreme { of, .. } => of.iter().all(Sum::orders),
            Sum::Score(_) | Sum::Chance(_) => false,
        }
    }

    pub(super) fn json(&self, name: &str, names: &[String]) -> Json {
        let many =
            |of: &[Sum]| of.iter().enumerate().map(|(n, one)| one.json(&format!("o{n}"), names)).collect::<Vec<_>>();
        let mut json = match self {
            Sum::Number(at, false) => json!({"type": "fieldAccess", "fieldName": names[*at]}),
            Sum::Number(at, true) => json!({"type": "finalizingFieldAccess", "fieldName": names[*at]}),
            Sum::Constant(long) => json!({"type": "constant", "value": long}),
            Sum::Half(halves) => json!({"type": "constant", "value": *halves as f64 / 2.0}),
            Sum::Arithmetic(operator, of) => json!({"type": "arithmetic", "fn": operator, "fields": many(of)}),
            Sum::Extreme { greatest, long, of } => {
                let (kind, verb) =
                    (if *long { "long" } else { "double" }, if *greatest { "Greatest" } else { "Least" });
                json!({"type": format!("{kind}{verb}"), "fields": many(of)})
            }
            Sum::Expression(at) => {
                json!({"type": "expression", "expression": format!("{} * 2 + 1", names[*at])})
            }
            Sum::Score(of) => json!({"type": "zscore2sample",
                "successCount1": of[0].json("c1", names), "sample1Size": of[1].json("n1", names),
                "successCount2": of[2].json("c2", names), "sample2Size": of[3].json("n2", names)}),
            Sum::Chance(score) => json!({"type": "pvalue2tailedZtest", "zScore": score.json("z", names)}),
        };
        json["name"] = name.into();
        json
    }

    /// Of the numbers of a group.
    pub(super) fn of(&self, numbers: &[Json]) -> Json {
        let value = self.value(numbers);
        if let (Sum::Chance(_), Some(value)) = (self, value.number()) {
            return within(value - 1e-9, value + 1e-9);
        }
        match value {
            Value::Null => Json::Null,
            Value::Long(long) => json!(long),
            Value::Double(double) if double.is_nan() => json!("NaN"),
            Value::Double(double) if double.is_infinite() => {
                json!(if double > 0.0 { "Infinity" } else { "-Infinity" })
            }
            Value::Double(double) => json!(double),
        }
    }

    fn value(&self, numbers: &[Json]) -> Value {
        match self {
            Sum::Number(at, _) => match &numbers[*at] {
                Json::Number(number) => match number.as_i64() {
                    Some(long) => Value::Long(long),
                    None => Value::double(number.as_f64()),
                },
                _ => Value::Null,
            },
            Sum::Constant(long) => Value::Long(*long),
            Sum::Half(halves) => Value::Double(*halves as f64 / 2.0),
            Sum::Arithmetic(operator, of) => {
                let of: Option<Vec<f64>> = of.iter().map(|one| one.value(numbers).number()).collect();
                Value::double(of.and_then(|of| of.into_iter().reduce(|a, b| apply(operator, a, b))))
            }
            Sum::Extreme { greatest, long: true, of } => {
                let of = of.iter().filter_map(|one| one.value(numbers).long());
                if *greatest { of.max() } else { of.min() }.map_or(Value::Null, Value::Long)
            }
            Sum::Extreme { greatest, of, .. } => {
                let of = of.iter().filter_map(|one| one.value(numbers).number());
                Value::double(of.reduce(|a, b| if *greatest { a.max(b) } else { a.min(b) }))
            }
            Sum::Expression(at) => match Sum::Number(*at, false).value(numbers) {
                Value::Null => Value::Null,
                Value::Long(long) => Value::Long(long * 2 + 1),
                Value::Double(double) => Value::Double(double * 2.0 + 1.0),
            },
            Sum::Score(of) => {
                let of: Option<Vec<f64>> = of.iter().map(|one| one.value(numbers).number()).collect();
                Value::double(of.map(|of| {
                    let [a, b] = [of[0] / of[1], of[2] / of[3]];
                    (a - b) / (a * (1.0 - a) / of[1] + b * (1.0 - b) / of[3]).sqrt()
                }))
            }
            Sum::Chance(score) => Value::double(score.value(numbers).number().map(chance)),
        }
    }
}

enum Value {
    Null,
    Long(i64),
    Double(f64),
}

impl Value {
    fn double(double: Option<f64>) -> Value {
        double.map_or(Value::Null, Value::Double)
    }

    fn number(&self) -> Option<f64> {
        match self {
            Value::Null => None,
            Value::Long(long) => Some(*long as f64),
            Value::Double(double) => Some(*double),
        }
    }

    /// As Java casts.
    fn long(&self) -> Option<i64> {
        match self {
            Value::Long(long) => Some(*long),
            other => other.number().map(|double| double as i64),
        }
    }
}

fn apply(operator: &str, a: f64, b: f64) -> f64 {
    match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b == 0.0 => 0.0,
        "/" | "quotient" => a / b,
        _ => a.powf(b),
    }
}

/// What lies outside of a score on both sides of the normal distribution: the area between by Simpson's rule.
fn chance(score: f64) -> f64 {
    const STEPS: usize = 4000;
    let width = score.abs() / STEPS as f64;
    let density = |at: usize| (-(at as f64 * width).powi(2) / 2.0).exp();
    let inside: f64 = (0..STEPS).step_by(2).map(|at| density(at) + 4.0 * density(at + 1) + density(at + 2)).sum();
    1.0 - 2.0 * inside * width / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
}
