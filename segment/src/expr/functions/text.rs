//! Functions of text. Positions and lengths count UTF-16 units, as Java's do.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Body, Function, MANY, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::expr::bounds::VALUE_MAX;
use crate::expr::convert;
use crate::pattern::{Like, java_regex};

/// Longest text that padding and repeating make; asked for more they give null.
const TEXT_MAX: usize = 1 << 20;

/// Longest text that replacing may come to, if everything is replaced; where it might be longer it gives null.
const REPLACED_MAX: usize = TEXT_MAX << 8;

pub(super) static FUNCTIONS: &[Function] = &[
    function("concat", 0, MANY, Returns::Text, Body::Plain(concat)),
    function("format", 1, MANY, Returns::Text, Body::Plain(format_text)),
    function("strlen", 1, 1, Returns::Long, Body::Scalar(|a| of_text(a, |t| Value::Long(units(t) as i64)))),
    function("strpos", 2, 3, Returns::Long, Body::Scalar(strpos)),
    function("substring", 2, 3, Returns::Text, Body::Scalar(substring)),
    function("left", 2, 2, Returns::Text, Body::Scalar(left)),
    function("right", 2, 2, Returns::Text, Body::Scalar(right)),
    function("replace", 3, 3, Returns::Text, Body::Scalar(replace)),
    function("trim", 1, 2, Returns::Text, Body::Scalar(|a| trim(a, true, true))),
    function("ltrim", 1, 2, Returns::Text, Body::Scalar(|a| trim(a, true, false))),
    function("rtrim", 1, 2, Returns::Text, Body::Scalar(|a| trim(a, false, true))),
    function("lower", 1, 1, Returns::Text, Body::Scalar(|a| of_text(a, |t| owned(t.to_lowercase())))),
    function("upper", 1, 1, Returns::Text, Body::Scalar(|a| of_text(a, |t| owned(t.to_uppercase())))),
    function("reverse", 1, 1, Returns::Text, Body::Scalar(|a| of_text(a, |t| owned(t.chars().rev().collect())))),
    function("repeat", 2, 2, Returns::Text, Body::Scalar(repeat)),
    function("lpad", 3, 3, Returns::Text, Body::Scalar(|a| pad(a, true))),
    function("rpad", 3, 3, Returns::Text, Body::Scalar(|a| pad(a, false))),
    function("contains_string", 2, 2, Returns::Long, Body::Scalar(|a| contains(a, false))),
    function("icontains_string", 2, 2, Returns::Long, Body::Scalar(|a| contains(a, true))),
    function("parse_long", 1, 2, Returns::Long, Body::Scalar(parse_long)),
    function("decode_base64_utf8", 1, 1, Returns::Text, Body::Scalar(decode_base64)),
    function("like", 2, 3, Returns::Long, Body::Prepared(like)),
    function("regexp_extract", 2, 3, Returns::Text, Body::Prepared(regexp_extract)),
    function("regexp_like", 2, 2, Returns::Long, Body::Prepared(regexp_like)),
    function("regexp_replace", 3, 3, Returns::Text, Body::Prepared(regexp_replace)),
    function("human_readable_binary_byte_format", 1, 2, Returns::Text, Body::Scalar(|a| human(a, 1024.0, &BINARY))),
    function(
        "human_readable_decimal_byte_format",
        1,
        2,
        Returns::Text,
        Body::Scalar(|a| human(a, 1000.0, &DECIMAL_BYTES)),
    ),
    function("mask_hash", 2, 2, Returns::Text, Body::Scalar(mask_hash)),
    function("mask_keep_last", 2, 2, Returns::Text, Body::Scalar(mask_keep_last)),
    function("human_readable_decimal_format", 1, 2, Returns::Text, Body::Scalar(|a| human(a, 1000.0, &DECIMAL))),
];

/// The first half of HMAC-SHA-256 under a key, in hexadecimal: equal for equal values, and not to be turned back by whoever
/// lacks the key, also where there are few values.
fn mask_hash(args: &[Value]) -> Value {
    use hmac::{Hmac, Mac};
    let key = convert::to_text(&args[1]).unwrap_or_default();
    let hash = |text: &str| {
        let mut mac = <Hmac<sha2::Sha256> as Mac>::new_from_slice(key.as_bytes()).expect("a key of any length is one");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    of_text(args, |text| owned(hash(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// `***` and the last characters; `***` alone where these would be all.
fn mask_keep_last(args: &[Value]) -> Value {
    let keep = convert::to_long(&args[1]).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    of_text(args, |text| {
        let count = text.chars().count();
        let last = if count > keep { text.chars().skip(count - keep).collect() } else { String::new() };
        owned(format!("***{last}"))
    })
}

fn owned(text: String) -> Value {
    Value::Text(Arc::from(text))
}

fn flag(holds: bool) -> Value {
    Value::Long(i64::from(holds))
}

fn of_text(args: &[Value], body: impl Fn(&str) -> Value) -> Value {
    convert::to_text(&args[0]).map_or(Value::Null, |text| body(&text))
}

fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// `count` units from `start`; a pair that is cut in two is left out.
fn cut(text: &str, start: usize, count: usize) -> &str {
    let (start_byte, end_byte) = (byte_of(text, start), byte_of(text, start.saturating_add(count)));
    &text[start_byte..end_byte.max(start_byte)]
}

fn byte_of(text: &str, unit: usize) -> usize {
    if text.is_ascii() {
        return unit.min(text.len());
    }
    let mut passed = 0;
    for (byte, c) in text.char_indices() {
        if passed >= unit {
            return byte;
        }
        passed += c.len_utf16();
    }
    text.len()
}

fn concat(args: &[Value]) -> Value {
    let mut out = String::new();
    for arg in args {
        match convert::to_text(arg) {
            Some(text) if out.len() + text.len() <= VALUE_MAX => out.push_str(&text),
            _ => return Value::Null,
        }
    }
    owned(out)
}

fn strpos(args: &[Value]) -> Value {
    let (Some(text), Some(wanted)) = (convert::to_text(&args[0]), convert::to_text(&args[1])) else {
        return Value::Null;
    };
    let from = args.get(2).map_or(Some(0), convert::to_long).unwrap_or(0).max(0) as usize;
    let from = byte_of(&text, from);
    let found = text[from..].find(&*wanted).map(|at| units(&text[..from + at]) as i64);
    Value::Long(found.unwrap_or(-1))
}

fn substring(args: &[Value]) -> Value {
    let (Some(text), Some(start)) = (convert::to_text(&args[0]), convert::to_long(&args[1])) else {
        return Value::Null;
    };
    let count = match args.get(2) {
        None => -1,
        Some(count) => match convert::to_long(count) {
            Some(count) => count,
            None => return Value::Null,
        },
    };
    let len = units(&text) as i64;
    // Past the last character there is nothing, not even an empty text.
    if start < 0 || start >= len {
        return Value::Null;
    }
    let count = if count < 0 { len - start } else { count.min(len - start) };
    Value::text(cut(&text, start as usize, count as usize))
}

fn left(args: &[Value]) -> Value {
    match (convert::to_text(&args[0]), convert::to_long(&args[1])) {
        (Some(text), Some(count)) if count >= 0 => Value::text(cut(&text, 0, count as usize)),
        _ => Value::Null,
    }
}

fn right(args: &[Value]) -> Value {
    match (convert::to_text(&args[0]), convert::to_long(&args[1])) {
        (Some(text), Some(count)) if count >= 0 => {
            let len = units(&text);
            Value::text(cut(&text, len.saturating_sub(count as usize), len))
        }
        _ => Value::Null,
    }
}

fn replace(args: &[Value]) -> Value {
    match (convert::to_text(&args[0]), convert::to_text(&args[1]), convert::to_text(&args[2])) {
        (Some(text), Some(from), Some(to)) if text.len().saturating_mul(to.len() + 1) <= REPLACED_MAX => {
            owned(text.replace(&*from, &to))
        }
        _ => Value::Null,
    }
}

fn trim(args: &[Value], start: bool, end: bool) -> Value {
    let chars = match args.get(1) {
        None => Some(Arc::from(" ")),
        Some(chars) => convert::to_text(chars),
    };
    let (Some(text), Some(chars)) = (convert::to_text(&args[0]), chars) else { return Value::Null };
    let mut rest: &str = &text;
    if start {
        rest = rest.trim_start_matches(|c| chars.contains(c));
    }
    if end {
        rest = rest.trim_end_matches(|c| chars.contains(c));
    }
    Value::text(rest)
}

fn repeat(args: &[Value]) -> Value {
    match (convert::to_text(&args[0]), convert::to_long(&args[1])) {
        (Some(text), Some(times)) if times > 0 && text.len().saturating_mul(times as usize) <= TEXT_MAX => {
            owned(text.repeat(times as usize))
        }
        _ => Value::Null,
    }
}

fn pad(args: &[Value], at_start: bool) -> Value {
    let (Some(text), Some(len), Some(fill)) =
        (convert::to_text(&args[0]), convert::to_long(&args[1]), convert::to_text(&args[2]))
    else {
        return Value::Null;
    };
    let Ok(len) = usize::try_from(len) else { return Value::Null };
    if len > TEXT_MAX {
        return Value::Null;
    }
    let chars: Vec<char> = text.chars().collect();
    if chars.len() >= len || fill.is_empty() {
        return owned(chars.into_iter().take(len).collect());
    }
    let padding: String = fill.chars().cycle().take(len - chars.len()).collect();
    owned(if at_start { format!("{padding}{text}") } else { format!("{text}{padding}") })
}

fn contains(args: &[Value], any_case: bool) -> Value {
    match (convert::to_text(&args[0]), convert::to_text(&args[1])) {
        (Some(text), Some(wanted)) if any_case => flag(text.to_lowercase().contains(&wanted.to_lowercase())),
        (Some(text), Some(wanted)) => flag(text.contains(&*wanted)),
        _ => Value::Null,
    }
}

fn parse_long(args: &[Value]) -> Value {
    let radix = args.get(1).map_or(Some(10), convert::to_long);
    let (Some(text), Some(radix @ 2..=36)) = (convert::to_text(&args[0]), radix) else { return Value::Null };
    let text: &str = match radix {
        16 => text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(&text),
        _ => &text,
    };
    i64::from_str_radix(text, radix as u32).map_or(Value::Null, Value::Long)
}

fn decode_base64(args: &[Value]) -> Value {
    use base64::Engine;
    let decoded =
        convert::to_text(&args[0]).and_then(|text| base64::engine::general_purpose::STANDARD.decode(&*text).ok());
    decoded.map_or(Value::Null, |bytes| owned(String::from_utf8_lossy(&bytes).into_owned()))
}

fn like(args: &[Option<Value>]) -> Result<Prepared, String> {
    let escape = literal_text(args, 2, "the escape character")?;
    let escape = match escape.as_deref().map(|text| (text.chars().next(), text.chars().count())) {
        None => None,
        Some((escape, 0 | 1)) => escape,
        Some(_) => return Err("the escape must be one character".into()),
    };
    let Some(pattern) = literal_text(args, 1, "the pattern")? else { return Ok(Prepared::each(|_| Value::Null)) };
    let matcher = Like { pattern, escape }.compile();
    Ok(Prepared::each(move |args| of_text(args, |text| flag(matcher.matches(text)))))
}

fn regex(args: &[Option<Value>]) -> Result<Option<regex::Regex>, String> {
    match literal_text(args, 1, "the pattern")? {
        None => Ok(None),
        Some(pattern) => java_regex(&pattern).map(Some).map_err(|error| error.to_string()),
    }
}

fn regexp_extract(args: &[Option<Value>]) -> Result<Prepared, String> {
    let index = match args.get(2) {
        None => 0,
        Some(Some(value)) => {
            convert::to_long(value).and_then(|v| usize::try_from(v).ok()).ok_or("the index must be a number from 0")?
        }
        Some(None) => return Err("the index must be a literal".into()),
    };
    let Some(regex) = regex(args)? else { return Ok(Prepared::each(|_| Value::Null)) };
    if index >= regex.captures_len() {
        return Err(format!("the pattern has no group {index}"));
    }
    Ok(Prepared::each(move |args| {
        of_text(args, |text| {
            let found = regex.captures(text).and_then(|captures| captures.get(index).map(|m| Value::text(m.as_str())));
            found.unwrap_or(Value::Null)
        })
    }))
}

fn regexp_like(args: &[Option<Value>]) -> Result<Prepared, String> {
    let Some(regex) = regex(args)? else { return Ok(Prepared::each(|_| Value::Null)) };
    Ok(Prepared::each(move |args| of_text(args, |text| flag(regex.is_match(text)))))
}

fn regexp_replace(args: &[Option<Value>]) -> Result<Prepared, String> {
    let (Some(regex), Some(replacement)) = (regex(args)?, literal_text(args, 2, "the replacement")?) else {
        return Ok(Prepared::each(|_| Value::Null));
    };
    let replacement = java_replacement(&replacement);
    Ok(Prepared::each(move |args| {
        of_text(args, |text| {
            // Each byte may be replaced, and what is inserted may name all of the match.
            if (text.len() + 1).saturating_mul(replacement.len() + 1) > REPLACED_MAX {
                return Value::Null;
            }
            match regex.replace_all(text, replacement.as_str()) {
                Cow::Borrowed(same) => Value::text(same),
                Cow::Owned(changed) => owned(changed),
            }
        })
    }))
}

/// Java's `$1` and `\$` as this crate's `${1}` and `$$`.
fn java_replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => {}
            },
            '$' => {
                let mut name = String::new();
                if chars.peek() == Some(&'{') {
                    chars.next();
                    while let Some(c) = chars.next().filter(|c| *c != '}') {
                        name.push(c);
                    }
                } else {
                    while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                        name.push(*digit);
                        chars.next();
                    }
                }
                if name.is_empty() { out.push_str("$$") } else { out.push_str(&format!("${{{name}}}")) }
            }
            c => out.push(c),
        }
    }
    out
}

const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL_BYTES: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
const DECIMAL: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

fn human(args: &[Value], step: f64, units: &[&str; 7]) -> Value {
    let places = args.get(1).map_or(Some(2), convert::to_long);
    let (Some(value), Some(places @ 0..=3)) = (convert::to_long(&args[0]), places) else { return Value::Null };
    let (mut scaled, mut unit) = (value as f64, 0);
    while scaled.abs() >= step && unit + 1 < units.len() {
        scaled /= step;
        unit += 1;
    }
    let number = if unit == 0 { value.to_string() } else { format!("{scaled:.*}", places as usize) };
    owned(format!("{number} {}", units[unit]).trim_end().to_string())
}

/// The common part of Java's `String.format`: `%[flags][width][.precision]` with `d s f e x X o c b n %`.
fn format_text(args: &[Value]) -> Value {
    let Some(pattern) = convert::to_text(&args[0]) else { return Value::Null };
    let mut out = String::new();
    let mut next = 1;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        let mut number = String::new();
        let mut place = None;
        let conversion = loop {
            match chars.next() {
                None => return Value::Null,
                Some('$') if !number.is_empty() => place = std::mem::take(&mut number).parse::<usize>().ok(),
                Some(flag @ ('-' | '+' | ' ' | ',' | '(' | '#')) => spec.flags.push(flag),
                Some('0') if number.is_empty() => spec.flags.push('0'),
                Some(digit @ '0'..='9') => number.push(digit),
                Some('.') => {
                    spec.width = std::mem::take(&mut number).parse().unwrap_or(0);
                    spec.precision = Some(0);
                }
                Some(conversion) => break conversion,
            }
        };
        match spec.precision {
            Some(_) => spec.precision = number.parse().ok(),
            None => spec.width = number.parse().unwrap_or(0),
        }
        if spec.width > TEXT_MAX || spec.precision.is_some_and(|p| p > 400) {
            return Value::Null;
        }
        match conversion {
            '%' if out.len() + spec.width > VALUE_MAX => return Value::Null,
            '%' => out.push_str(&spec.fill("%".into())),
            'n' => out.push('\n'),
            conversion => {
                let idx = place.unwrap_or_else(|| {
                    next += 1;
                    next - 1
                });
                let Some(text) = args.get(idx).filter(|_| idx > 0).and_then(|arg| spec.convert(conversion, arg)) else {
                    return Value::Null;
                };
                if out.len() + text.len() > VALUE_MAX {
                    return Value::Null;
                }
                out.push_str(&text);
            }
        }
    }
    owned(out)
}

#[derive(Default)]
struct Spec {
    flags: String,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn convert(&self, conversion: char, value: &Value) -> Option<String> {
        if value.is_null() {
            return Some(self.fill(if matches!(conversion, 'b' | 'B') { "false".into() } else { "null".into() }));
        }
        let text = match conversion {
            's' | 'S' => {
                let text = convert::to_text(value)?;
                let cut: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
                if conversion == 'S' { cut.to_uppercase() } else { cut }
            }
            'd' => self.sign(convert::to_long(value)?.to_string()),
            'x' => format!("{:x}", convert::to_long(value)?),
            'X' => format!("{:X}", convert::to_long(value)?),
            'o' => format!("{:o}", convert::to_long(value)?),
            'f' => self.sign(format!("{:.*}", self.precision.unwrap_or(6), convert::to_double(value)?)),
            'e' | 'E' => {
                let text = format!("{:.*e}", self.precision.unwrap_or(6), convert::to_double(value)?);
                let (mantissa, exponent) = text.split_once('e')?;
                let exponent: i32 = exponent.parse().ok()?;
                let sign = if exponent < 0 { '-' } else { '+' };
                self.sign(format!("{mantissa}{}{sign}{:02}", conversion, exponent.abs()))
            }
            'c' => char::from_u32(u32::try_from(convert::to_long(value)?).ok()?)?.to_string(),
            'b' | 'B' => convert::truth(value).unwrap_or(true).to_string(),
            _ => return None,
        };
        Some(self.fill(text))
    }

    fn sign(&self, text: String) -> String {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest.to_string()),
            None => (false, text),
        };
        let mut digits = digits;
        if self.has(',') {
            let whole = digits.find('.').unwrap_or(digits.len());
            let mut at = whole;
            while at > 3 {
                at -= 3;
                digits.insert(at, ',');
            }
        }
        let sign = match negative {
            true => "-",
            false if self.has('+') => "+",
            false if self.has(' ') => " ",
            false => "",
        };
        let length = sign.len() + digits.len();
        if self.has('0') && length < self.width {
            digits.insert_str(0, &"0".repeat(self.width - length));
        }
        format!("{sign}{digits}")
    }

    fn fill(&self, text: String) -> String {
        let length = text.chars().count();
        if length >= self.width {
            return text;
        }
        let fill = " ".repeat(self.width - length);
        if self.has('-') { format!("{text}{fill}") } else { format!("{fill}{text}") }
    }
}
