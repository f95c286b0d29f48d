//! Extraction functions where the engine has none, said as expressions: those of filters, those of the time column, and
//! the kinds that are about time and format.
//!
//! `{"type": "selector", "dimension": "d", "extractionFn": f}` becomes the same filter of a virtual column that computes
//! `f(d)`, and a dimension becomes a plain one of such a column. What is not touched stays as it was written.

use serde_json::{Map, Value as Json, json};

use super::extraction;
use super::fields::Fields;
use super::search::search_spec;
use crate::error::{Error, Result};
use segment::expr::Expr;
use segment::filter::Search;
use segment::schema::TIME;

/// The query in plainer words; `None` if it is plain already.
pub fn desugar(query: &Json, path: &str) -> Result<Option<Json>> {
    let mut new = query.clone();
    let mut columns = Columns { path, made: Vec::new() };
    if let Some(filter) = new.get_mut("filter") {
        columns.filter(filter)?;
    }
    if let Some(Json::Array(aggregations)) = new.get_mut("aggregations") {
        aggregations.iter_mut().try_for_each(|aggregation| columns.aggregation(aggregation))?;
    }
    if let Some(dimension) = new.get_mut("dimension") {
        columns.dimension(dimension)?;
    }
    for list in ["dimensions", "searchDimensions"] {
        if let Some(Json::Array(dimensions)) = new.get_mut(list) {
            dimensions.iter_mut().try_for_each(|dimension| columns.dimension(dimension))?;
        }
    }
    if columns.made.is_empty() {
        return Ok(None);
    }
    if let Some(fields) = new.as_object_mut() {
        let there = fields.entry("virtualColumns").or_insert(Json::Null);
        match there {
            Json::Array(there) => there.extend(columns.made),
            other => *other = Json::Array(columns.made),
        }
    }
    Ok(Some(new))
}

struct Columns<'a> {
    path: &'a str,
    made: Vec<Json>,
}

impl Columns<'_> {
    fn filter(&mut self, filter: &mut Json) -> Result<()> {
        let Some(fields) = filter.as_object_mut() else { return Ok(()) };
        if let Some(Json::Array(inner)) = fields.get_mut("fields") {
            inner.iter_mut().try_for_each(|inner| self.filter(inner))?;
        }
        if let Some(inner) = fields.get_mut("field") {
            self.filter(inner)?;
        }
        let Some(dimension) = fields.get("dimension").and_then(Json::as_str).map(str::to_string) else {
            return Ok(());
        };
        if let Some(function) = taken(fields) {
            let name = self.column(&dimension, &function)?;
            fields.insert("dimension".into(), name.into());
            if fields.get("type").and_then(Json::as_str) == Some("extraction") {
                fields.insert("type".into(), "selector".into());
            }
        }
        Ok(())
    }

    fn aggregation(&mut self, aggregation: &mut Json) -> Result<()> {
        if let Some(filter) = aggregation.get_mut("filter") {
            self.filter(filter)?;
        }
        match aggregation.get_mut("aggregator") {
            Some(inner) => self.aggregation(inner),
            None => Ok(()),
        }
    }

    fn dimension(&mut self, dimension: &mut Json) -> Result<()> {
        let Some(fields) = dimension.as_object_mut() else { return Ok(()) };
        if let Some(delegate) = fields.get_mut("delegate") {
            return self.dimension(delegate);
        }
        if fields.get("type").and_then(Json::as_str) != Some("extraction") {
            return Ok(());
        }
        let Some(column) = fields.get("dimension").and_then(Json::as_str).map(str::to_string) else { return Ok(()) };
        let function = fields.get("extractionFn").or_else(|| fields.get("dimExtractionFn")).cloned();
        let Some(function) = function.filter(|function| column == TIME || is_about_format(function)) else {
            return Ok(());
        };
        let name = self.column(&column, &function)?;
        taken(fields);
        fields.entry("outputName").or_insert(column.into());
        fields.insert("type".into(), "default".into());
        fields.insert("dimension".into(), name.into());
        Ok(())
    }

    fn column(&mut self, column: &str, function: &Json) -> Result<String> {
        let quoted = quote(column, '"');
        let path = format!("{}extractionFn", if self.path.is_empty() { "" } else { "…" });
        let text = match column == TIME {
            true if starts_with_time(function) => expression(function, &path, &quoted)?,
            true => expression(function, &path, &format!("timestamp_format({quoted})"))?,
            false if is_of_each(function) => expression(function, &path, &quoted)?,
            // What chooses does so for a list as a whole, and the function is one of each value.
            false => {
                // Of a number the function is one of its text, also where it leaves it as it is.
                let (each, null) =
                    (expression(function, &path, "cast(x, 'STRING')")?, expression(function, &path, "null")?);
                format!("if(array_length({quoted}) > 0, map((x) -> {each}, {quoted}), {null})")
            }
        };
        let name = format!("extraction:{}:{column}", self.made.len());
        self.made.push(json!({"type": "expression", "name": name, "expression": text, "outputType": "STRING"}));
        Ok(name)
    }
}

/// Takes the extraction function of a filter or dimension out of it.
fn taken(fields: &mut Map<String, Json>) -> Option<Json> {
    let first = fields.shift_remove("extractionFn");
    let second = fields.shift_remove("dimExtractionFn");
    first.filter(|function| !function.is_null()).or(second.filter(|function| !function.is_null()))
}

fn kind(function: &Json) -> &str {
    function["type"].as_str().unwrap_or_default()
}

fn is_about_format(function: &Json) -> bool {
    match kind(function) {
        "time" | "timeFormat" | "stringFormat" => true,
        "cascade" => function["extractionFns"].as_array().is_some_and(|list| list.iter().any(is_about_format)),
        _ => false,
    }
}

/// The function of the text named `text`, of the kinds that are about time and format.
pub(super) fn of_text(function: &Json, path: &str) -> Result<Option<Expr>> {
    if !is_about_format(function) {
        return Ok(None);
    }
    let text = expression(function, path, "text")?;
    Expr::parse(&text).map(Some).map_err(|error| Error::Parse(format!("{path}: {error}")))
}

/// Whether its expression gives a list for a list, value by value.
fn is_of_each(function: &Json) -> bool {
    matches!(kind(function), "identity" | "upper" | "lower" | "strlen" | "substring")
}

/// Whether it reads milliseconds.
fn starts_with_time(function: &Json) -> bool {
    match kind(function) {
        "timeFormat" => true,
        "cascade" => function["extractionFns"][0].is_object() && starts_with_time(&function["extractionFns"][0]),
        _ => false,
    }
}

/// Longest text that a function becomes.
const EXPRESSION_MAX: usize = 4 << 20;

/// Functions that a cascade may have.
const STEPS_MAX: usize = 250;

/// The function of `input`, both as text of the expression language. Most functions name their input more than once, so
/// it must be short: what is longer is given a name first, see [`cascade`].
fn expression(function: &Json, path: &str, input: &str) -> Result<String> {
    let text = worded(function, path, input)?;
    if text.len() > EXPRESSION_MAX {
        return Err(too_long(path));
    }
    Ok(text)
}

fn too_long(path: &str) -> Error {
    Error::Parse(format!(
        "{path}: the function is too long, more than {EXPRESSION_MAX} bytes as an expression; use a registered lookup, \
         or fewer functions"
    ))
}

/// Each function of what the one before gives. That stands in the text once, bound to a name where the function may use
/// it more often: a text that is copied at each step would double with each.
fn cascade(fields: &Fields, path: &str, input: &str) -> Result<String> {
    let steps = fields.list("extractionFns")?;
    if steps.len() > STEPS_MAX {
        return Err(fields.wrong("extractionFns", format_args!("must be at most {STEPS_MAX} functions")));
    }
    let mut text = input.to_string();
    for (place, step) in steps.iter().enumerate() {
        let at = format!("{}[{place}]", fields.at("extractionFns"));
        let uses_once = is_of_each(step) || matches!(kind(step), "time" | "timeFormat");
        text = match text == input || uses_once {
            true => expression(step, &at, &text)?,
            false => format!("array_offset(map((v) -> {}, array({text})), 0)", expression(step, &at, "v")?),
        };
        if text.len() > EXPRESSION_MAX {
            return Err(too_long(path));
        }
    }
    Ok(text)
}

fn worded(function: &Json, path: &str, input: &str) -> Result<String> {
    let fields = Fields::of(function, path)?;
    let text = |name: &str| fields.need_text(name).map(|text| quote(text, '\''));
    let missing = || -> Result<String> {
        if fields.flag("retainMissingValue")?.unwrap_or(false) {
            return Ok(input.to_string());
        }
        Ok(fields.text("replaceMissingValueWith")?.map_or("null".to_string(), |text| quote(text, '\'')))
    };
    Ok(match fields.need_text("type")? {
        "identity" => input.to_string(),
        "upper" => format!("upper({input})"),
        "lower" => format!("lower({input})"),
        "strlen" => format!("cast(strlen({input}), 'STRING')"),
        "substring" => {
            let index = fields.count("index")?.unwrap_or(0);
            let length = fields.count("length")?.map_or(-1, |length| length as i64);
            format!("substring({input}, {index}, {length})")
        }
        "partial" => format!("if(regexp_like({input}, {}), {input}, null)", text("expr")?),
        "regex" => {
            let (pattern, group) = (text("expr")?, fields.count("index")?.unwrap_or(1));
            let other = match fields.flag("replaceMissingValue")?.unwrap_or(false) {
                true => fields.text("replaceMissingValueWith")?.map_or("null".to_string(), |text| quote(text, '\'')),
                false => input.to_string(),
            };
            format!("if(regexp_like({input}, {pattern}), regexp_extract({input}, {pattern}, {group}), {other})")
        }
        "lookup" => {
            let path = fields.at("lookup");
            let lookup = Fields::of(fields.need("lookup")?, &path)?;
            let Some(map) = lookup.need("map")?.as_object() else {
                return Err(lookup.wrong("map", "must be an object"));
            };
            let mut parts = Vec::with_capacity(map.len() + 1);
            for (key, value) in map {
                let value = value.as_str().map_or("null".to_string(), |text| quote(text, '\''));
                parts.push(format!("{}, {value}", quote(key, '\'')));
            }
            match parts.is_empty() {
                true => missing()?,
                false => format!("case_simple({input}, {}, {})", parts.join(", "), missing()?),
            }
        }
        "registeredLookup" => format!("nvl(lookup({input}, {}), {})", text("lookup")?, missing()?),
        "searchQuery" => {
            let path = fields.at("query");
            let test = match search_spec(fields.need("query")?, &path)? {
                Search::All => return Ok(input.to_string()),
                Search::Contains { text, case_sensitive } => contains(input, &text, case_sensitive),
                Search::Fragments { texts, .. } if texts.is_empty() => return Ok(input.to_string()),
                Search::Fragments { texts, case_sensitive } => {
                    let tests: Vec<String> = texts.iter().map(|text| contains(input, text, case_sensitive)).collect();
                    tests.join(" && ")
                }
                Search::Regex(pattern) => format!("regexp_like({input}, {})", quote(pattern.as_str(), '\'')),
            };
            format!("if({test}, {input}, null)")
        }
        "stringFormat" => {
            let format = text("format")?;
            match fields.text("nullHandling")?.unwrap_or("nullString").to_ascii_lowercase().as_str() {
                "returnnull" => format!("if(isnull({input}), null, format({format}, {input}))"),
                "emptystring" => format!("format({format}, nvl({input}, ''))"),
                _ => format!("format({format}, nvl({input}, 'null'))"),
            }
        }
        "bucket" => {
            let (size, offset) = extraction::bucket(&fields)?;
            let bucket = format!("floor((cast({input}, 'DOUBLE') - {offset:?}) / {size:?}) * {size:?} + {offset:?}");
            // Whole numbers are spelled as such.
            format!(
                "if({bucket} == cast({bucket}, 'LONG'), cast(cast({bucket}, 'LONG'), 'STRING'), cast({bucket}, 'STRING'))"
            )
        }
        "time" => {
            format!("timestamp_format(timestamp_parse({input}, {}), {})", text("timeFormat")?, text("resultFormat")?)
        }
        "timeFormat" => {
            let zone = fields.text("timeZone")?.map_or("'UTC'".to_string(), |zone| quote(zone, '\''));
            let mut time = match input.starts_with('"') && input.trim_matches('"') == TIME {
                true => input.to_string(),
                false => format!("timestamp({input})"),
            };
            if let Some(granularity) = fields.get("granularity") {
                let period = segment::time::Granularity::from_json(granularity)
                    .map_err(|error| fields.wrong("granularity", error))?
                    .to_json();
                if let Some(period) = period["period"].as_str() {
                    time = format!("timestamp_floor({time}, {}, null, {zone})", quote(period, '\''));
                }
            }
            let format = fields.text("format")?.map_or("null".to_string(), |format| quote(format, '\''));
            match fields.flag("asMillis")?.unwrap_or(false) {
                true => format!("cast({time}, 'STRING')"),
                false => format!("timestamp_format({time}, {format}, {zone})"),
            }
        }
        "cascade" => cascade(&fields, path, input)?,
        "javascript" => {
            return Err(Error::Unsupported(format!("{path}.type: extraction function [javascript] is not supported")));
        }
        other => return Err(fields.wrong("type", format_args!("unknown extraction function [{other}]"))),
    })
}

/// Whether a text is in another.
fn contains(input: &str, text: &str, case_sensitive: bool) -> String {
    let function = if case_sensitive { "contains_string" } else { "icontains_string" };
    format!("{function}({input}, {})", quote(text, '\''))
}

/// A name or a string of the expression language.
pub(super) fn quote(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for ch in text.chars() {
        match ch {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ch if ch == mark || ch == '\\' => out.extend(['\\', ch]),
            ch => out.push(ch),
        }
    }
    out.push(mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_become_virtual_columns() {
        let query = json!({
            "filter": {"type": "and", "fields": [
                {"type": "selector", "dimension": "a", "value": "X", "extractionFn": {"type": "upper"}},
                {"type": "in", "dimension": "b", "values": ["x"]},
                {"type": "extraction", "dimension": "__time", "value": "Fri",
                    "dimExtractionFn": {"type": "timeFormat", "format": "EEE"}},
            ]},
            "dimensions": ["a", {"type": "extraction", "dimension": "b", "outputName": "o",
                "extractionFn": {"type": "stringFormat", "format": "[%s]"}}],
        });
        let new = desugar(&query, "").unwrap().unwrap();
        let texts: Vec<&str> =
            new["virtualColumns"].as_array().unwrap().iter().map(|c| c["expression"].as_str().unwrap()).collect();
        assert_eq!(
            texts,
            [
                "upper(\"a\")",
                "timestamp_format(\"__time\", 'EEE', 'UTC')",
                "if(array_length(\"b\") > 0, map((x) -> format('[%s]', nvl(cast(x, 'STRING'), 'null')), \"b\"), \
                 format('[%s]', nvl(null, 'null')))",
            ]
        );
        assert_eq!(new["filter"]["fields"][1], query["filter"]["fields"][1]);
        assert_eq!(new["filter"]["fields"][2]["type"], "selector");
        assert_eq!(new["dimensions"][1], json!({"type": "default", "dimension": "extraction:2:b", "outputName": "o"}));
        assert!(desugar(&json!({"dimensions": ["a"]}), "").unwrap().is_none());
    }

    #[test]
    fn every_kind_parses() {
        for function in [
            json!({"type": "cascade", "extractionFns": [{"type": "lower"}, {"type": "substring", "index": 1, "length": 2}]}),
            json!({"type": "lookup", "lookup": {"type": "map", "map": {"a": "it's"}}, "retainMissingValue": true}),
            json!({"type": "regex", "expr": "(a)\\d", "replaceMissingValue": true}),
            json!({"type": "partial", "expr": "a"}),
            json!({"type": "bucket", "size": 5, "offset": 2}),
            json!({"type": "time", "timeFormat": "yyyy-MM-dd", "resultFormat": "MM"}),
            json!({"type": "timeFormat", "granularity": "day", "timeZone": "Europe/Berlin"}),
            json!({"type": "searchQuery", "query": {"type": "contains", "value": "a", "caseSensitive": true}}),
            json!({"type": "searchQuery", "query": {"type": "fragment", "values": ["a", "it's"]}}),
            json!({"type": "searchQuery", "query": {"type": "regex", "pattern": "\\d"}}),
            json!({"type": "searchQuery", "query": {"type": "all"}}),
            json!({"type": "strlen"}),
        ] {
            let text = expression(&function, "f", "\"a\"").unwrap();
            segment::expr::Expr::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn cascades_grow_by_their_steps_only() {
        let of = |step: Json, count: usize| json!({"type": "cascade", "extractionFns": vec![step; count]});
        let fragments = vec!["a"; 50];
        for step in [
            json!({"type": "bucket", "size": 1}),
            json!({"type": "regex", "expr": "(a)", "replaceMissingValue": false}),
            json!({"type": "partial", "expr": "a"}),
            json!({"type": "stringFormat", "format": "%s", "nullHandling": "returnNull"}),
            json!({"type": "searchQuery", "query": {"type": "fragment", "values": fragments}}),
            json!({"type": "lookup", "lookup": {"type": "map", "map": {"a": "b"}}, "retainMissingValue": true}),
        ] {
            let one = expression(&step, "f", "text").unwrap().len();
            let text = expression(&of(step.clone(), 40), "f", "text").unwrap();
            assert!(text.len() < 40 * (one + 60), "{step}: {}", text.len());
            Expr::parse(&text).unwrap_or_else(|error| panic!("{step}: {error}"));
            let nested = of(of(step.clone(), 5), 5);
            assert!(expression(&nested, "f", "text").unwrap().len() < 25 * (one + 120), "{step}");
        }
        let error = expression(&of(json!({"type": "upper"}), 251), "f", "text").unwrap_err().to_string();
        assert!(error.contains("f.extractionFns: must be at most 250"), "{error}");
        let long = json!({"type": "stringFormat", "format": "x".repeat(5 << 20)});
        let error = expression(&of(long, 2), "f", "text").unwrap_err().to_string();
        assert!(error.contains("f.extractionFns[0]") && error.contains("too long"), "{error}");
    }

    #[test]
    fn cascades_do_their_steps_in_turn() {
        let cascade = json!({"type": "cascade", "extractionFns": [
            {"type": "regex", "expr": "([0-9]+)", "replaceMissingValue": true},
            {"type": "bucket", "size": 10},
            {"type": "bucket", "size": 100, "offset": 5},
            {"type": "stringFormat", "format": "<%s>", "nullHandling": "returnNull"},
            {"type": "cascade", "extractionFns": [{"type": "upper"}, {"type": "partial", "expr": "[0-9]"}]},
        ]});
        let expr = of_text(&cascade, "f").unwrap().unwrap();
        let made = |text: &str| expr.value(&|_| segment::block::Value::text(text));
        assert_eq!(made("a123b"), segment::block::Value::text("<105>"));
        assert_eq!(made("none"), segment::block::Value::Null);
    }
}
