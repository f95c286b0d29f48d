//! An event of the audit log: its line in the journal, and the columns it becomes.

use serde::Serialize;
use serde_json::{Value, json};

/// Bytes of the text of a query that are kept.
pub const STATEMENT_BYTES_MAX: usize = 16 << 10;

/// Bytes of a path, a name or an error that are kept.
const TEXT_BYTES_MAX: usize = 1 << 10;

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
    /// The line of the journal. `node` says which process saw it.
    pub fn line(&self, node: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            event: &'a Event,
            node: &'a str,
        }
        // A struct of texts and numbers always has a line.
        serde_json::to_vec(&Line { event: self, node }).unwrap_or_default()
    }
}

/// A text as far as it is kept.
pub fn cut(text: &str) -> String {
    cut_at(text, TEXT_BYTES_MAX)
}

/// As [`cut`], at a length; a text that was cut ends in `…`.
pub fn cut_at(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.to_string(),
        false => format!("{}…", &text[..text.floor_char_boundary(bytes_max)]),
    }
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
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut_at("abcd", 4), "abcd");
        assert_eq!(cut_at("abcdé", 5), "abcd…");
        assert_eq!(cut(&"x".repeat(5000)).len(), TEXT_BYTES_MAX + "…".len());
    }
}
