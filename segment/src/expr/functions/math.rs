//! Functions of numbers. Text that is no number is null.

use super::{Body, Function, Returns, function};
use crate::block::Value;
use crate::expr::convert;

pub(super) static FUNCTIONS: &[Function] = &[
    function("abs", 1, 1, Returns::Number, Body::Scalar(abs)),
    real("acos", f64::acos),
    real("asin", f64::asin),
    real("atan", f64::atan),
    real2("atan2", f64::atan2),
    real("cbrt", f64::cbrt),
    real("ceil", f64::ceil),
    real2("copysign", f64::copysign),
    real("cos", f64::cos),
    real("cosh", f64::cosh),
    real("cot", |v| v.cos() / v.sin()),
    function("div", 2, 2, Returns::Long, Body::Plain(div)),
    real("exp", f64::exp),
    real("expm1", f64::exp_m1),
    real("floor", f64::floor),
    function("getExponent", 1, 1, Returns::Long, Body::Scalar(|a| of_double(a, |v| Value::Long(exponent(v))))),
    real2("hypot", f64::hypot),
    real("log", f64::ln),
    real("log10", f64::log10),
    real("log1p", f64::ln_1p),
    function("max", 2, 2, Returns::Number, Body::Plain(|a| of_two(a, i64::max, java_max))),
    function("min", 2, 2, Returns::Number, Body::Plain(|a| of_two(a, i64::min, java_min))),
    real2("nextafter", |from, to| {
        if from == to {
            to
        } else if to > from {
            next_up(from)
        } else if to < from {
            -next_up(-from)
        } else {
            f64::NAN
        }
    }),
    real("nextUp", next_up),
    function("pi", 0, 0, Returns::Double, Body::Plain(|_| Value::Double(std::f64::consts::PI))),
    real2("pow", f64::powf),
    real2("remainder", ieee_remainder),
    real("rint", f64::round_ties_even),
    function("round", 1, 2, Returns::Number, Body::Scalar(round)),
    function("safe_divide", 2, 2, Returns::Double, Body::Plain(safe_divide)),
    real2("scalb", |v, by| v * 2f64.powf(by.trunc())),
    real("signum", |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
    real("sin", f64::sin),
    real("sinh", f64::sinh),
    real("sqrt", f64::sqrt),
    real("tan", f64::tan),
    real("tanh", f64::tanh),
    real("todegrees", f64::to_degrees),
    real("toradians", f64::to_radians),
    real("ulp", |v| if v.is_finite() { next_up(v.abs()) - v.abs() } else { v.abs() }),
    function("bitwiseAnd", 2, 2, Returns::Long, Body::Plain(|a| of_longs(a, |x, y| x & y))),
    function("bitwiseOr", 2, 2, Returns::Long, Body::Plain(|a| of_longs(a, |x, y| x | y))),
    function("bitwiseXor", 2, 2, Returns::Long, Body::Plain(|a| of_longs(a, |x, y| x ^ y))),
    function("bitwiseShiftLeft", 2, 2, Returns::Long, Body::Plain(|a| of_longs(a, |x, y| x.wrapping_shl(y as u32)))),
    function("bitwiseShiftRight", 2, 2, Returns::Long, Body::Plain(|a| of_longs(a, |x, y| x.wrapping_shr(y as u32)))),
    function(
        "bitwiseComplement",
        1,
        1,
        Returns::Long,
        Body::Scalar(|a| convert::to_long(&a[0]).map_or(Value::Null, |v| Value::Long(!v))),
    ),
    function(
        "bitwiseConvertDoubleToLongBits",
        1,
        1,
        Returns::Long,
        Body::Scalar(|a| of_double(a, |v| Value::Long(v.to_bits() as i64))),
    ),
    function(
        "bitwiseConvertLongBitsToDouble",
        1,
        1,
        Returns::Double,
        Body::Scalar(|a| convert::to_long(&a[0]).map_or(Value::Null, |v| Value::Double(f64::from_bits(v as u64)))),
    ),
];

const fn real(name: &'static str, body: fn(f64) -> f64) -> Function {
    function(name, 1, 1, Returns::Double, Body::Real(body))
}

const fn real2(name: &'static str, body: fn(f64, f64) -> f64) -> Function {
    function(name, 2, 2, Returns::Double, Body::Real2(body))
}

fn of_double(args: &[Value], body: fn(f64) -> Value) -> Value {
    convert::to_double(&args[0]).map_or(Value::Null, body)
}

fn of_longs(args: &[Value], body: fn(i64, i64) -> i64) -> Value {
    match (convert::to_long(&args[0]), convert::to_long(&args[1])) {
        (Some(a), Some(b)) => Value::Long(body(a, b)),
        _ => Value::Null,
    }
}

/// Of longs if both are, else of doubles.
fn of_two(args: &[Value], longs: fn(i64, i64) -> i64, doubles: fn(f64, f64) -> f64) -> Value {
    // A list of one is its value.
    let one = |idx: usize| match &args[idx] {
        Value::List(items) if items.len() == 1 => &items[0],
        value => value,
    };
    match (one(0), one(1)) {
        (Value::Long(a), Value::Long(b)) => Value::Long(longs(*a, *b)),
        (a, b) => match (convert::to_double(a), convert::to_double(b)) {
            (Some(a), Some(b)) => Value::Double(doubles(a, b)),
            _ => Value::Null,
        },
    }
}

fn java_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn java_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn abs(args: &[Value]) -> Value {
    match &args[0] {
        Value::Long(v) => Value::Long(v.wrapping_abs()),
        other => convert::to_double(other).map_or(Value::Null, |v| Value::Double(v.abs())),
    }
}

/// Division cut to a long; by zero is null.
fn div(args: &[Value]) -> Value {
    match (&args[0], &args[1]) {
        (Value::Long(_), Value::Long(0)) => Value::Null,
        (Value::Long(a), Value::Long(b)) => Value::Long(a.wrapping_div(*b)),
        (a, b) => match (convert::to_double(a), convert::to_double(b)) {
            (Some(_), Some(0.0)) => Value::Null,
            (Some(a), Some(b)) => Value::Long((a / b) as i64),
            _ => Value::Null,
        },
    }
}

/// By zero is null; of doubles, zero by zero is zero.
fn safe_divide(args: &[Value]) -> Value {
    let longs = args.iter().all(|arg| matches!(arg, Value::Long(_)));
    match (convert::to_double(&args[0]), convert::to_double(&args[1])) {
        (Some(0.0), Some(0.0)) if !longs => Value::Double(0.0),
        (Some(_), Some(0.0)) => Value::Null,
        (Some(a), Some(b)) => Value::Double(a / b),
        _ => Value::Null,
    }
}

fn exponent(v: f64) -> i64 {
    match ((v.to_bits() >> 52) & 0x7ff) as i64 {
        0 => -1023,
        biased => biased - 1023,
    }
}

fn next_up(v: f64) -> f64 {
    if v.is_nan() || v == f64::INFINITY { v } else { v.next_up() }
}

fn ieee_remainder(a: f64, b: f64) -> f64 {
    if !a.is_finite() || b.is_nan() || b == 0.0 {
        return f64::NAN;
    }
    if b.is_infinite() {
        return a;
    }
    let rest = a % b;
    let half = b.abs() / 2.0;
    let odd = ((a / b).trunc() % 2.0).abs() == 1.0;
    if rest.abs() > half || (rest.abs() == half && odd) { rest - b.abs().copysign(rest) } else { rest }
}

/// Half away from zero, to a number of decimal places (which may be negative).
fn round(args: &[Value]) -> Value {
    let places = match args.get(1) {
        None => 0,
        Some(places) => match convert::to_long(places) {
            Some(places) => places.clamp(-400, 400) as i32,
            None => return Value::Null,
        },
    };
    match &args[0] {
        Value::Long(v) if places >= 0 => Value::Long(*v),
        Value::Long(v) => match 10i128.checked_pow(places.unsigned_abs()) {
            Some(unit) => {
                let v = i128::from(*v);
                let rounded = (v.abs() + unit / 2) / unit * unit * v.signum();
                Value::Long(i64::try_from(rounded).unwrap_or(if v > 0 { i64::MAX } else { i64::MIN }))
            }
            None => Value::Long(0),
        },
        Value::Double(v) if v.is_nan() => Value::Double(0.0),
        Value::Double(v) if v.is_infinite() => Value::Double(f64::MAX.copysign(*v)),
        Value::Double(v) => Value::Double(round_double(*v, places)),
        _ => Value::Null,
    }
}

/// On the shortest decimal form, so that 1.005 to two places is 1.01 as `BigDecimal.valueOf` has it.
fn round_double(v: f64, places: i32) -> f64 {
    let scientific = format!("{:e}", v.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let kept = exponent + 1 + places;
    if kept >= digits.len() as i32 {
        return v;
    }
    if kept < 0 {
        return 0.0;
    }
    let up = digits[kept as usize] >= 5;
    digits.truncate(kept as usize);
    let mut carry = up;
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        *digit = (*digit + 1) % 10;
        carry = *digit == 0;
    }
    if carry {
        digits.insert(0, 1);
    }
    let text: String = digits.iter().map(|d| (d + b'0') as char).collect();
    let text = if text.is_empty() { "0".to_string() } else { text };
    let magnitude: f64 = format!("{text}e{}", -places).parse().unwrap_or(v.abs());
    magnitude.copysign(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding() {
        for (v, places, expected) in [
            (1.005, 2, 1.01),
            (2.5, 0, 3.0),
            (-2.5, 0, -3.0),
            (0.4, 0, 0.0),
            (0.5, 0, 1.0),
            (9.99, 1, 10.0),
            (1234.5, -2, 1200.0),
            (1250.0, -2, 1300.0),
            (1e-20, 5, 0.0),
            (1e300, 2, 1e300),
        ] {
            assert_eq!(round_double(v, places), expected, "{v} {places}");
        }
        assert_eq!(round(&[Value::Long(1250), Value::Long(-2)]), Value::Long(1300));
        assert_eq!(ieee_remainder(5.0, 3.0), -1.0);
        assert_eq!(ieee_remainder(3.0, 2.0), -1.0);
        assert_eq!(ieee_remainder(1.0, 2.0), 1.0);
        assert_eq!(exponent(8.5), 3);
    }
}
