//! An event of the audit log: its line in the journal, and the columns it becomes.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

/// Bytes of a line, whatever its event says. All bytes here are those of JSON, where a character may take six.
pub const LINE_BYTES_MAX: u64 = 32 << 10;

/// Bytes of the text of a query that are kept.
const STATEMENT_BYTES_MAX: usize = 8 << 10;

/// Bytes of what callers choose, such as a path, an id or a name.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Bytes of what is short unless somebody wants it long, such as a method.
const WORD_BYTES_MAX: usize = 256;

/// Names of a list that are kept, and their bytes together.
const NAMES_MAX: usize = 100;
const NAMES_BYTES_MAX: usize = 4 << 10;

/// One thing that somebody did or tried. What is not known is left out of the line, and null in the datasource.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Event {
    /// Milliseconds since 1970, when the request came.
    pub time: i64,
    pub kind: &'static str,
    pub user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub method: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What was changed or asked for: the name of a supervisor, a user, a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of the answer's body, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// `begun`, `ok`, `denied`, `failed` or `cancelled`.
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The class of what went wrong, never its text, which may quote values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Columns of text, in their order.
const TEXTS: [&str; 14] = [
    "kind",
    "user",
    "roles",
    "address",
    "method",
    "path",
    "query_id",
    "query_type",
    "datasources",
    "statement",
    "object",
    "outcome",
    "error",
    "node",
];

const NUMBERS: [&str; 5] = ["policy_version", "rows", "bytes", "duration_ms", "status"];

impl Event {
    /// The line of the journal, of [`LINE_BYTES_MAX`] at most. `node` says which process saw it.
    pub fn line(&self, node: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            event: &'a Event,
            node: &'a str,
        }
        let word = |text: &Option<String>| text.as_deref().map(|text| cut_at(text, WORD_BYTES_MAX));
        let text = |text: &Option<String>| text.as_deref().map(cut);
        let event = Event {
            user: cut(&self.user),
            roles: cut_names(self.roles.iter().map(String::as_str)),
            address: word(&self.address),
            method: cut_at(&self.method, WORD_BYTES_MAX),
            path: cut(&self.path),
            query_id: text(&self.query_id),
            query_type: word(&self.query_type),
            datasources: cut_names(self.datasources.iter().map(String::as_str)),
            statement: self.statement.as_deref().map(cut_statement),
            object: text(&self.object),
            error: text(&self.error),
            ..*self
        };
        // A struct of texts and numbers always has a line.
        serde_json::to_vec(&Line { event: &event, node: &cut_at(node, WORD_BYTES_MAX) }).unwrap_or_default()
    }
}

/// A text as far as it is kept: what was cut ends in `… (17,000 bytes)`, which is how long it was. What was cut once is
/// not cut again.
pub fn cut(text: &str) -> String {
    cut_at(text, TEXT_BYTES_MAX)
}

/// As [`cut`], of the text of a query.
pub fn cut_statement(text: &str) -> String {
    cut_at(text, STATEMENT_BYTES_MAX)
}

fn cut_at(text: &str, bytes_max: usize) -> String {
    let mark = || format!("… ({} bytes)", grouped(text.len()));
    let (mut bytes, mut kept) = (0, None);
    for (at, ch) in text.char_indices() {
        // The longest mark has less.
        if kept.is_none() && bytes + in_json(ch) > bytes_max - 48 {
            kept = Some(at);
        }
        bytes += in_json(ch);
        if bytes > bytes_max {
            return format!("{}{}", &text[..kept.unwrap_or(at)], mark());
        }
    }
    text.to_string()
}

/// The first names of a list, each once; if those are not all, the last is `… (2,000,000 names)`, which is how many there
/// were with those that came again. What was cut once is not cut again.
pub fn cut_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Vec<String> {
    let all = names.len();
    let (mut seen, mut kept, mut bytes): (HashSet<&str>, Vec<String>, usize) = Default::default();
    for name in names {
        if seen.contains(name) {
            continue;
        }
        let shown = cut(name);
        let more = shown.chars().map(in_json).sum::<usize>() + 3;
        if kept.len() == NAMES_MAX || bytes + more > NAMES_BYTES_MAX {
            // There must be room for it.
            while kept.len() == NAMES_MAX || bytes > NAMES_BYTES_MAX - 48 {
                let last = kept.pop().unwrap_or_default();
                bytes -= last.chars().map(in_json).sum::<usize>() + 3;
            }
            kept.push(format!("… ({} names)", grouped(all)));
            break;
        }
        seen.insert(name);
        kept.push(shown);
        bytes += more;
    }
    kept
}

/// How many bytes JSON takes for a character of a text.
fn in_json(ch: char) -> usize {
    match ch {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        ch if ch < ' ' => 6,
        ch => ch.len_utf8(),
    }
}

/// A number with a comma after each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits.chars().enumerate().flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect()
}

/// The dataSchema of the datasource.
pub fn data_schema(datasource: &str) -> Value {
    let mut dimensions: Vec<Value> = TEXTS.iter().map(|name| json!(name)).collect();
    dimensions.extend(NUMBERS.iter().map(|name| json!({"type": "long", "name": name})));
    json!({
        "dataSource": datasource,
        "timestampSpec": {"column": "time", "format": "millis"},
        "dimensionsSpec": {"dimensions": dimensions},
        "metricsSpec": [],
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field without a column would be lost without a word.
    #[test]
    fn every_field_has_a_column() {
        let text = || Some("x".to_string());
        let event = Event {
            time: 1,
            kind: "query",
            user: "u".into(),
            roles: vec!["r".into()],
            address: text(),
            method: "POST".into(),
            path: "/".into(),
            query_id: text(),
            query_type: text(),
            datasources: vec!["d".into()],
            statement: text(),
            object: text(),
            policy_version: Some(1),
            rows: Some(1),
            bytes: Some(1),
            duration_ms: Some(1),
            outcome: "ok",
            status: Some(200),
            error: text(),
        };
        let line: Value = serde_json::from_slice(&event.line("n")).expect("a line is JSON");
        let mut fields: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = [&TEXTS[..], &NUMBERS[..], &["time"]].concat();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(fields, columns);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_how_long_it_was() {
        assert_eq!(cut_at(&"a".repeat(100), 100), "a".repeat(100));
        assert_eq!(cut_at(&"a".repeat(101), 100), format!("{}… (101 bytes)", "a".repeat(52)));
        assert_eq!(cut_at(&"é".repeat(8500), 101), format!("{}… (17,000 bytes)", "é".repeat(26)));
        // Counted as JSON has it.
        assert_eq!(cut_at(&"\"".repeat(60), 100), format!("{}… (60 bytes)", "\"".repeat(26)));
        assert_eq!(cut_at(&"\"".repeat(50), 100), "\"".repeat(50));
        let long = "x".repeat(1_234_567);
        for once in [cut(&long), cut_statement(&long)] {
            assert!(once.ends_with("… (1,234,567 bytes)"), "{once}");
        }
        assert_eq!(cut_statement(&cut_statement(&long)), cut_statement(&long));
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(999), "999");
    }

    #[test]
    fn of_a_long_list_the_first_names_are_kept_each_once() {
        let cut_owned = |names: &[String]| cut_names(names.iter().map(String::as_str));
        let twice: Vec<String> = (0..200).map(|n| format!("d{}", n % 100)).collect();
        assert_eq!(cut_owned(&twice), twice[..100]);
        let many: Vec<String> = (0..2_000).map(|n| format!("d{n}")).collect();
        let kept = cut_owned(&many);
        assert_eq!(kept[..99], many[..99]);
        assert_eq!(kept[99..], ["… (2,000 names)"]);
        assert_eq!(cut_owned(&kept), kept);
        // Long names are cut, and are fewer.
        let long: Vec<String> = ["a", "b", "c"].map(|name| name.repeat(5_000)).to_vec();
        let kept = cut_owned(&long);
        assert!(kept[0].ends_with("a… (5,000 bytes)"), "{kept:?}");
        assert_eq!(kept.last().map(String::as_str), Some("… (3 names)"));
        assert_eq!(cut_owned(&kept), kept);
    }

    #[test]
    fn no_line_is_longer_than_it_may_be() {
        // The character that JSON makes most of.
        let long = "\u{1}".repeat(1 << 20);
        let text = || Some(long.clone());
        let names: Vec<String> = (0..1000).map(|n| format!("{n}{}", &long[..5_000])).collect();
        let event = Event {
            time: i64::MIN,
            kind: "segments",
            user: long.clone(),
            roles: names.clone(),
            address: text(),
            method: long.clone(),
            path: long.clone(),
            query_id: text(),
            query_type: text(),
            datasources: names,
            statement: text(),
            object: text(),
            policy_version: Some(u64::MAX),
            rows: Some(u64::MAX),
            bytes: Some(u64::MAX),
            duration_ms: Some(u64::MAX),
            outcome: "cancelled",
            status: Some(u16::MAX),
            error: text(),
        };
        let line = event.line(&long);
        assert!(line.len() as u64 <= LINE_BYTES_MAX, "{}", line.len());
        let told: Value = serde_json::from_slice(&line).expect("a line is JSON");
        for name in ["user", "method", "path", "query_id", "statement", "object", "error", "node"] {
            assert!(told[name].as_str().is_some_and(|text| text.ends_with("… (1,048,576 bytes)")), "{name}");
        }
    }
}
