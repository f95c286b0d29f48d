//! Values as events carry them → values of a column's type, by Druid's rules.

use std::fmt::Write;

use crate::row::{Cell, RowBatch};

/// What became of a value.
pub(super) enum Coerced<T> {
    Value(T),
    Null,
    /// It cannot be converted: the row is taken in with a null and counted.
    Bad,
}

use Coerced::{Bad, Null, Value};

/// For a long dimension. Text must be an exact integer (`12`, `12.0`, `1e3`); doubles are cut.
pub(super) fn long(batch: &RowBatch, cell: Cell) -> Coerced<i64> {
    match cell {
        Cell::Null => Null,
        Cell::Bool(value) => Value(value as i64),
        Cell::Long(value) => Value(value),
        Cell::Double(value) => Value(value as i64),
        Cell::Text { .. } => exact_long(batch.text_of(cell)).map_or(Bad, Value),
        Cell::List { .. } => match batch.list_of(cell) {
            [] => Null,
            [one] => long(batch, *one),
            _ => Bad,
        },
        Cell::Json { .. } => Bad,
    }
}

/// For a double or float dimension.
pub(super) fn double(batch: &RowBatch, cell: Cell) -> Coerced<f64> {
    match cell {
        Cell::Null => Null,
        Cell::Bool(value) => Value(f64::from(value)),
        Cell::Long(value) => Value(value as f64),
        Cell::Double(value) => Value(value),
        Cell::Text { .. } => batch.text_of(cell).parse().map_or(Bad, Value),
        Cell::List { .. } => match batch.list_of(cell) {
            [] => Null,
            [one] => double(batch, *one),
            _ => Bad,
        },
        Cell::Json { .. } => Bad,
    }
}

/// A number for a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Long(i64),
    Double(f64),
}

impl Number {
    pub fn long(self) -> i64 {
        match self {
            Number::Long(value) => value,
            Number::Double(value) => value as i64,
        }
    }

    pub fn double(self) -> f64 {
        match self {
            Number::Long(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

/// For a metric. Text may have spaces around it, thousands separators and a plus sign.
#[inline]
pub(super) fn number(batch: &RowBatch, cell: Cell) -> Coerced<Number> {
    match cell {
        Cell::Null => Null,
        Cell::Bool(value) => Value(Number::Long(value as i64)),
        Cell::Long(value) => Value(Number::Long(value)),
        Cell::Double(value) => Value(Number::Double(value)),
        Cell::Text { .. } => number_of_text(batch.text_of(cell)).map_or(Bad, Value),
        Cell::List { .. } => match batch.list_of(cell) {
            [] => Null,
            [one] => number(batch, *one),
            _ => Bad,
        },
        Cell::Json { .. } => Bad,
    }
}

pub(super) fn number_of_text(text: &str) -> Option<Number> {
    let text = text.trim();
    let parsed = |text: &str| match text.parse() {
        Ok(long) => Some(Number::Long(long)),
        Err(_) => text.parse().ok().map(Number::Double),
    };
    if text.contains(',') { parsed(&text.replace(',', "")) } else { parsed(text) }
}

fn exact_long(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    if let Some((whole, fraction)) = text.split_once('.')
        && fraction.bytes().all(|b| b == b'0')
    {
        return whole.parse().ok();
    }
    // Beyond 2^53 a double no longer tells neighbours apart.
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
}

/// Writes a number as Java prints a double: at least one digit after the point, an exponent below 10^-3 and from 10^7.
pub(super) fn write_double(value: f64, out: &mut String) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if size == 0.0 || (1e-3..1e7).contains(&size) {
        write!(out, "{value:?}").expect("writing to a string cannot fail");
    } else {
        let mut scientific = String::new();
        write!(scientific, "{value:e}").expect("writing to a string cannot fail");
        let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
        out.push_str(digits);
        if !digits.contains('.') {
            out.push_str(".0");
        }
        out.push('E');
        out.push_str(exponent);
    }
}

/// Text of a cell that is not a list, for a string dimension; `None` for null. Numbers are written into `buffer`.
#[inline]
pub(super) fn text<'a>(batch: &'a RowBatch, cell: Cell, buffer: &'a mut String) -> Option<&'a str> {
    buffer.clear();
    match cell {
        Cell::Text { .. } | Cell::Json { .. } => return Some(batch.text_of(cell)),
        Cell::Null | Cell::List { .. } => return None,
        Cell::Bool(value) => buffer.push_str(if value { "true" } else { "false" }),
        Cell::Long(value) => write!(buffer, "{value}").expect("writing to a string cannot fail"),
        Cell::Double(value) => write_double(value, buffer),
    }
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_java_prints_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.001, "0.001"),
            (0.0009, "9.0E-4"),
            (9999999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.234e-10, "1.234E-10"),
            (1.7976931348623157e308, "1.7976931348623157E308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut text = String::new();
            write_double(value, &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn text_becomes_a_long_only_if_it_is_one() {
        let cases = [
            ("12", Some(12)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("12.000", Some(12)),
            ("9223372036854775807.0", Some(i64::MAX)),
            ("1e3", Some(1000)),
            ("12.5", None),
            ("", None),
            ("abc", None),
            ("1e30", None),
            ("NaN", None),
        ];
        for (text, expected) in cases {
            assert_eq!(exact_long(text), expected, "{text}");
        }
    }

    #[test]
    fn text_becomes_a_metric_number_leniently() {
        let cases = [
            (" 1,234 ", Some(Number::Long(1234))),
            ("+7", Some(Number::Long(7))),
            ("1.5", Some(Number::Double(1.5))),
            ("", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number_of_text(text), expected, "{text}");
        }
    }
}
