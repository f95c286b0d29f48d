//! Values as Jackson writes them.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segment::block::{Block, Value};
use segment::schema::ValueType;

/// One value of a block; doubles of `FLOAT` columns with a float's digits.
pub fn write_value(block: &Block, value_type: &ValueType, row: usize, out: &mut Vec<u8>) {
    let null = |nulls: &Option<Vec<bool>>| nulls.as_ref().is_some_and(|nulls| nulls[row]);
    match block {
        Block::Long { nulls, .. } | Block::Double { nulls, .. } if null(nulls) => {
            out.extend_from_slice(b"null");
        }
        Block::Long { values, .. } => write_long(values[row], out),
        Block::Double { values, .. } if *value_type == ValueType::Float => write_float(values[row] as f32, out),
        Block::Double { values, .. } => write_double(values[row], out),
        Block::Text { values } => match &values[row] {
            Some(text) => write_text(text, out),
            None => out.extend_from_slice(b"null"),
        },
        Block::Any { values } => write_any(&values[row], value_type, out),
    }
}

fn write_any(value: &Value, value_type: &ValueType, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Long(long) => write_long(*long, out),
        Value::Double(double) if *value_type == ValueType::Float => write_float(*double as f32, out),
        Value::Double(double) => write_double(*double, out),
        Value::Text(text) => write_text(text, out),
        Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_any(item, value_type, out);
            }
            out.push(b']');
        }
    }
}

pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text can be written to memory");
}

pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

pub fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        java_double(value, out);
    } else {
        out.push(b'"');
        java_double(value, out);
        out.push(b'"');
    }
}

pub fn write_float(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_double(f64::from(value), out);
    }
    let mut text = Digits::default();
    write!(text, "{value:e}").expect("a float has few digits");
    lay_out(text.as_str(), out);
}

/// A double as Java prints it: `1.0`, `1.0E10`, `NaN`.
pub fn double_text(value: f64) -> String {
    let mut out = Vec::with_capacity(24);
    java_double(value, &mut out);
    String::from_utf8(out).expect("digits are ASCII")
}

/// A float as Java prints it.
pub fn float_text(value: f32) -> String {
    if !value.is_finite() {
        return double_text(f64::from(value));
    }
    let mut out = Vec::with_capacity(16);
    write_float(value, &mut out);
    String::from_utf8(out).expect("digits are ASCII")
}

fn java_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    if value.abs() < 1e7 && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        write_long(value as i64, out);
        return out.extend_from_slice(b".0");
    }
    let mut text = Digits::default();
    write!(text, "{value:e}").expect("a double has few digits");
    lay_out(text.as_str(), out);
}

/// From Rust's shortest digits (`-1.25e-7`) to Java's form: plain from 1e-3 up to 1e7, else `d.dE±n`.
fn lay_out(text: &str, out: &mut Vec<u8>) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if sign {
        out.push(b'-');
    }
    if whole == "0" {
        out.extend_from_slice(b"0.0");
    } else if !(-3..7).contains(&exponent) {
        out.extend_from_slice(whole.as_bytes());
        out.push(b'.');
        out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction.as_bytes() });
        out.push(b'E');
        write_long(i64::from(exponent), out);
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(whole.as_bytes());
        out.extend_from_slice(fraction.as_bytes());
    } else {
        let before = exponent as usize;
        out.extend_from_slice(whole.as_bytes());
        if fraction.len() <= before {
            out.extend_from_slice(fraction.as_bytes());
            out.extend(std::iter::repeat_n(b'0', before - fraction.len()));
            out.extend_from_slice(b".0");
        } else {
            out.extend_from_slice(&fraction.as_bytes()[..before]);
            out.push(b'.');
            out.extend_from_slice(&fraction.as_bytes()[before..]);
        }
    }
}

/// Room for the digits of one number.
struct Digits {
    bytes: [u8; 40],
    len: usize,
}

impl Default for Digits {
    fn default() -> Digits {
        Digits { bytes: [0; 40], len: 0 }
    }
}

impl Digits {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("0e0")
    }
}

impl Write for Digits {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let fits = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text[..fits]);
        self.len += fits;
        Ok(fits)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_as_java_prints_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (123456.789, "123456.789"),
            (9999999.0, "9999999.0"),
            (9999999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (12345678.5, "1.23456785E7"),
            (1e10, "1.0E10"),
            (0.001, "0.001"),
            (0.00123, "0.00123"),
            (0.0009, "9.0E-4"),
            (1.25e-7, "1.25E-7"),
            (0.1, "0.1"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double_text(value), expected);
        }
        let mut out = Vec::new();
        write_float(0.1, &mut out);
        write_double(f64::NAN, &mut out);
        assert_eq!(out, b"0.1\"NaN\"");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bits in any::<u64>(), long in any::<i64>()) {
            let double = f64::from_bits(bits);
            if double.is_finite() {
                prop_assert_eq!(double_text(double).parse::<f64>().unwrap().to_bits(), bits);
            }
            let float = f32::from_bits(bits as u32);
            if float.is_finite() {
                let mut out = Vec::new();
                write_float(float, &mut out);
                prop_assert_eq!(String::from_utf8(out).unwrap().parse::<f32>().unwrap().to_bits(), bits as u32);
            }
            let mut out = Vec::new();
            write_long(long, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), long.to_string());
        }
    }
}
