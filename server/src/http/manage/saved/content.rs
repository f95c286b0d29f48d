//! What a saved query and a dashboard say, checked field by field. A query's text may be anything: what is not right yet may
//! be saved too, and who runs it is told.

use std::collections::HashSet;

use segment::time::{Span, parse_timestamp};
use serde_json::{Value, json};

use crate::http::error::Answered;
use crate::http::manage::fields::{Fields, wrong};

const TEXT_MAX: usize = 256 << 10;
const TITLE_MAX: usize = 200;
const PANELS_MAX: usize = 50;
const VARIABLES_MAX: usize = 20;
const VALUES_MAX: usize = 1000;
const VALUE_MAX: usize = 1000;
const REFRESH_SECONDS_MAX: i64 = 24 * 60 * 60;

/// A dashboard is a grid of so many columns, and of rows without an end that anybody would scroll to.
const COLUMNS: i64 = 12;
const ROWS_MAX: i64 = 1000;

const KINDS: [&str; 6] = ["line", "bar", "pie", "heat", "table", "number"];

/// Marks that stand for the ends of the range.
const OWN_MARKS: [&str; 2] = ["from", "to"];

pub fn query(said: &Value) -> Answered<Value> {
    let fields = Fields::of(said, "content", &["language", "text", "context"])?;
    let language = fields.one_of("language", &["sql", "native"])?;
    let text = fields.need_text("text", 0..=TEXT_MAX)?;
    let mut content = json!({"language": language, "text": text});
    if let Some(context) = fields.get("context") {
        if !context.is_object() {
            return Err(fields.wrong("context", "must be an object"));
        }
        content["context"] = context.clone();
    }
    Ok(content)
}

pub fn dashboard(said: &Value) -> Answered<Value> {
    let fields = Fields::of(said, "content", &["range", "refreshSeconds", "variables", "panels"])?;
    let range = range(fields.need("range")?)?;
    let refresh = fields.whole("refreshSeconds", 1..=REFRESH_SECONDS_MAX)?;
    let mut names = HashSet::new();
    let mut variables = Vec::new();
    for (at, said) in fields.list("variables", VARIABLES_MAX)?.unwrap_or_default().iter().enumerate() {
        variables.push(variable(said, &format!("content.variables[{at}]"), &mut names)?);
    }
    let mut ids = HashSet::new();
    let mut panels = Vec::new();
    for (at, said) in fields.list("panels", PANELS_MAX)?.unwrap_or_default().iter().enumerate() {
        panels.push(panel(said, &format!("content.panels[{at}]"), &mut ids)?);
    }
    Ok(json!({"range": range, "refreshSeconds": refresh, "variables": variables, "panels": panels}))
}

/// A period back from now, or two instants.
fn range(said: &Value) -> Answered<Value> {
    const PATH: &str = "content.range";
    if let Some(text) = said.as_str() {
        let is_period = Span::parse(text).is_ok_and(|span| !span.is_zero() && !text.contains('-'));
        return match is_period {
            true => Ok(json!(text)),
            false => Err(wrong(PATH, "must be an ISO 8601 period such as PT1H, or have from and to")),
        };
    }
    let fields = Fields::of(said, PATH, &["from", "to"])?;
    let instant = |name: &str| -> Answered<_> {
        let text = fields.need_text(name, 1..=64)?;
        let at = parse_timestamp(text).ok_or_else(|| fields.wrong(name, "must be an ISO 8601 instant"))?;
        Ok((text, at))
    };
    let ((from, begins), (to, ends)) = (instant("from")?, instant("to")?);
    match begins < ends {
        true => Ok(json!({"from": from, "to": to})),
        false => Err(fields.wrong("to", "must be after from")),
    }
}

fn variable(said: &Value, path: &str, names: &mut HashSet<String>) -> Answered<Value> {
    let fields = Fields::of(said, path, &["name", "label", "values", "query", "default"])?;
    let name = fields.need_text("name", 1..=64)?;
    let first = name.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_');
    if !first || !name.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_') {
        return Err(fields.wrong("name", "must be letters, digits and underscores, and not begin with a digit"));
    }
    if OWN_MARKS.contains(&name) || !names.insert(name.to_string()) {
        return Err(fields.wrong("name", format_args!("{name} is taken; give another")));
    }
    let values = fields.texts("values", VALUES_MAX, 0..=VALUE_MAX)?;
    let query = fields.text("query", 1..=TEXT_MAX)?;
    if values.is_some() && query.is_some() {
        return Err(fields.wrong("query", "cannot be there beside values"));
    }
    let label = fields.text("label", 0..=TITLE_MAX)?;
    let default = fields.text("default", 0..=VALUE_MAX)?;
    Ok(json!({"name": name, "label": label, "values": values, "query": query, "default": default}))
}

fn panel(said: &Value, path: &str, ids: &mut HashSet<String>) -> Answered<Value> {
    let fields = Fields::of(said, path, &["id", "title", "kind", "query", "unit", "x", "y", "w", "h"])?;
    let id = fields.need_text("id", 1..=64)?;
    if !ids.insert(id.to_string()) {
        return Err(fields.wrong("id", format_args!("{id} is taken; give another")));
    }
    let title = fields.text("title", 0..=TITLE_MAX)?.unwrap_or_default();
    let kind = fields.one_of("kind", &KINDS)?;
    let query = fields.need_text("query", 0..=TEXT_MAX)?;
    let unit = fields.text("unit", 1..=32)?;
    let (x, y) = (fields.need_whole("x", 0..=COLUMNS - 1)?, fields.need_whole("y", 0..=ROWS_MAX)?);
    let (w, h) = (fields.need_whole("w", 1..=COLUMNS)?, fields.need_whole("h", 1..=ROWS_MAX)?);
    if x + w > COLUMNS {
        return Err(fields.wrong("w", format_args!("reaches past the {COLUMNS} columns that there are")));
    }
    Ok(json!({"id": id, "title": title, "kind": kind, "query": query, "unit": unit, "x": x, "y": y, "w": w, "h": h}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Value {
        json!({"id": "a", "title": "A", "kind": "line", "query": "SELECT 1", "unit": null, "x": 0, "y": 0, "w": 12, "h": 4})
    }

    fn board() -> Value {
        json!({"range": "PT1H", "refreshSeconds": 5, "panels": [panel()], "variables": [
            {"name": "channel", "label": "Channel", "values": null, "query": "SELECT DISTINCT channel FROM w", "default": "en"}]})
    }

    /// A board with something else at a place.
    fn with(at: &str, value: Value) -> Value {
        let mut board = board();
        *board.pointer_mut(at).unwrap() = value;
        board
    }

    #[test]
    fn what_is_kept_is_what_was_said() {
        assert_eq!(dashboard(&board()).unwrap(), board());
        let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
        assert_eq!(dashboard(&with("/range", range.clone())).unwrap()["range"], range);
        assert_eq!(dashboard(&json!({"range": "P1D"})).unwrap()["panels"], json!([]));
        let native = json!({"language": "native", "text": "{", "context": {"timeout": 1}});
        assert_eq!(query(&native).unwrap(), native);
    }

    #[test]
    fn every_field_is_checked_and_named() {
        for (said, named) in [
            (with("/range", json!("1h")), "content.range:"),
            (with("/range", json!("-PT1H")), "content.range:"),
            (with("/range", json!("P-1D")), "content.range:"),
            (with("/range", json!(7)), "content.range:"),
            (with("/range", json!({"from": "2026-01-02", "to": "2026-01-01"})), "content.range.to:"),
            (with("/range", json!({"from": "soon", "to": "2026-01-01"})), "content.range.from:"),
            (with("/range", json!({"from": "2026-01-01"})), "content.range.to:"),
            (with("/refreshSeconds", json!(0)), "content.refreshSeconds:"),
            (with("/refreshSeconds", json!(1.5)), "content.refreshSeconds:"),
            (with("/variables", json!({})), "content.variables:"),
            (with("/variables", json!(vec![json!({}); 21])), "content.variables:"),
            (with("/variables/0/name", json!("1st")), "content.variables[0].name:"),
            (with("/variables/0/name", json!("from")), "content.variables[0].name:"),
            (with("/variables/0/values", json!(["a"])), "content.variables[0].query:"),
            (with("/variables/0/values", json!(["a", 1])), "content.variables[0].values[1]:"),
            (with("/variables/0/default", json!(1)), "content.variables[0].default:"),
            (with("/panels", json!([panel(), panel()])), "content.panels[1].id:"),
            (with("/panels", json!(vec![panel(); 51])), "content.panels:"),
            (with("/panels/0/kind", json!("gauge")), "content.panels[0].kind:"),
            (with("/panels/0/query", json!(null)), "content.panels[0].query:"),
            (with("/panels/0/title", json!("t".repeat(201))), "content.panels[0].title:"),
            (with("/panels/0/x", json!(1)), "content.panels[0].w:"),
            (with("/panels/0/y", json!(-1)), "content.panels[0].y:"),
            (with("/panels/0/w", json!(13)), "content.panels[0].w:"),
            (with("/panels/0/h", json!(0)), "content.panels[0].h:"),
            (with("/panels/0", json!({"sql": 1})), "content.panels[0].sql:"),
            (json!([]), "content:"),
        ] {
            let message = dashboard(&said).unwrap_err().message;
            assert!(message.starts_with(named), "{said}: {message}");
        }
        for (said, named) in [
            (json!({"language": "pql", "text": ""}), "content.language:"),
            (json!({"language": "sql"}), "content.text:"),
            (json!({"language": "sql", "text": "", "context": []}), "content.context:"),
            (json!({"language": "sql", "text": "", "contextt": {}}), "content.contextt:"),
        ] {
            let message = query(&said).unwrap_err().message;
            assert!(message.starts_with(named), "{said}: {message}");
        }
    }
}
