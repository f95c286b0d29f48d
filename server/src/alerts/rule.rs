//! What a rule says: a question whose answer is one number, and when that number is a reason to tell somebody.
//!
//! A metric is a question in SQL over `sys.metrics`: of each series (a node and its labels) within `over`, put together as the
//! function says. A change is found by asking twice, the second time with `CURRENT_TIMESTAMP` a period back.

use segment::time::format_timestamp;
use serde_json::{Value, json};

use super::state::Terms;
use crate::http::error::{Answered, Refusal};
use crate::http::manage::fields::{Fields, wrong};

/// Channels of one rule.
pub const CHANNELS_MAX: usize = 10;

const DAY_MS: i64 = 86_400_000;
const SQL_MAX: usize = 64 << 10;
const TEXT_MAX: usize = 4000;
const LABELS_MAX: usize = 20;

const SEVERITIES: [&str; 3] = ["page", "ticket", "info"];
const FUNCTIONS: [&str; 6] = ["last", "avg", "max", "min", "sum", "rate"];
const FIELDS: [&str; 10] =
    ["description", "query", "condition", "every", "for", "repeat", "severity", "notify", "disabled", "version"];

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub description: String,
    pub query: Query,
    pub condition: Condition,
    pub every_ms: i64,
    pub for_ms: i64,
    pub repeat_ms: Option<i64>,
    pub severity: String,
    pub notify: Vec<String>,
    pub disabled: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    Sql(String),
    Metric { name: String, labels: Vec<(String, String)>, over_ms: i64, function: String },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Threshold { op: Op, value: f64 },
    Absence,
    Change { op: Op, percent: f64, period_ms: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
    Unequal,
}

const OPS: [(&str, Op); 6] = [
    (">", Op::Above),
    (">=", Op::AtLeast),
    ("<", Op::Below),
    ("<=", Op::AtMost),
    ("=", Op::Equal),
    ("!=", Op::Unequal),
];

impl Op {
    fn of(fields: &Fields<'_>) -> Answered<Op> {
        let names = OPS.map(|(name, _)| name);
        let name = fields.one_of("op", &names)?;
        OPS.iter().find(|(of, _)| *of == name).map(|(_, op)| *op).ok_or_else(|| fields.wrong("op", "is not known"))
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Op::Above => value > bound,
            Op::AtLeast => value >= bound,
            Op::Below => value < bound,
            Op::AtMost => value <= bound,
            Op::Equal => value == bound,
            Op::Unequal => value != bound,
        }
    }
}

impl Rule {
    /// Errors name the field.
    pub fn parse(body: &Value) -> Answered<Rule> {
        let fields = Fields::of(body, "", &FIELDS)?;
        let query = query(fields.need("query")?)?;
        let condition = condition(fields.need("condition")?, &query)?;
        let every_ms = need_period(&fields, "every", 1_000, DAY_MS)?;
        let mut notify = Vec::new();
        for (at, name) in fields.texts("notify", CHANNELS_MAX, 1..=128)?.unwrap_or_default().into_iter().enumerate() {
            if notify.iter().any(|known| known == name) {
                return Err(wrong(&format!("notify[{at}]"), "is there twice"));
            }
            notify.push(name.to_string());
        }
        Ok(Rule {
            description: fields.text("description", 0..=TEXT_MAX)?.unwrap_or_default().to_string(),
            query,
            condition,
            every_ms,
            for_ms: period(&fields, "for", 0, 30 * DAY_MS)?.unwrap_or(0),
            repeat_ms: period(&fields, "repeat", every_ms, 30 * DAY_MS)?,
            severity: fields.get("severity").map_or(Ok("ticket"), |_| fields.one_of("severity", &SEVERITIES))?.into(),
            notify,
            disabled: flag(&fields, "disabled")?,
        })
    }

    /// What is kept of a posted rule: what says which one it changes is no part of it.
    pub fn kept(body: &Value) -> Value {
        let mut kept = body.clone();
        if let Some(fields) = kept.as_object_mut() {
            fields.remove("version");
        }
        kept
    }

    pub fn terms(&self, silenced: bool) -> Terms {
        Terms { for_ms: self.for_ms, repeat_ms: self.repeat_ms, silenced }
    }

    /// The turn that a moment is in: the time of its beginning.
    pub fn turn(&self, now: i64) -> i64 {
        now - now.rem_euclid(self.every_ms.max(1))
    }
}

impl Query {
    /// It answers one number, in its first column of its first row.
    pub fn sql(&self) -> String {
        let (name, labels, over_ms, function) = match self {
            Query::Sql(text) => return text.clone(),
            Query::Metric { name, labels, over_ms, function } => (name, labels, *over_ms, function.as_str()),
        };
        let seconds = (over_ms / 1000).max(1);
        let mut of = format!(
            "FROM sys.metrics WHERE \"name\" = {} AND __time > TIMESTAMPADD(SECOND, -{seconds}, CURRENT_TIMESTAMP) \
             AND __time <= CURRENT_TIMESTAMP",
            literal(name)
        );
        for (key, value) in labels {
            // As it stands in canonical JSON. What stands within a value has its quotes marked, and is not taken for it.
            let pair = format!("{}:{}", json!(key), json!(value));
            of.push_str(&format!(" AND CONTAINS_STRING(labels, {})", literal(&pair)));
        }
        match function {
            "avg" | "max" | "min" | "sum" => format!("SELECT {}(\"value\") {of}", function.to_uppercase()),
            // A counter that fell began anew.
            "rate" => format!(
                "SELECT SUM(grown / taken) FROM (SELECT node, labels, SUM(CASE WHEN before IS NULL THEN 0.0 \
                 WHEN \"value\" >= before THEN \"value\" - before ELSE \"value\" END) AS grown, \
                 (TIMESTAMP_TO_MILLIS(MAX(__time)) - TIMESTAMP_TO_MILLIS(MIN(__time))) / 1000.0 AS taken FROM \
                 (SELECT __time, node, labels, \"value\", LAG(\"value\") OVER (PARTITION BY node, labels ORDER BY __time) \
                 AS before {of}) GROUP BY node, labels) WHERE taken > 0"
            ),
            _ => format!("SELECT SUM(newest) FROM (SELECT LATEST(\"value\") AS newest {of} GROUP BY node, labels)"),
        }
    }

    pub fn is_metric(&self) -> bool {
        matches!(self, Query::Metric { .. })
    }
}

impl Condition {
    /// Whether a number is a reason to tell somebody, and for a change that of a period before.
    pub fn met(&self, value: Option<f64>, before: Option<f64>) -> bool {
        match *self {
            Condition::Threshold { op, value: bound } => value.is_some_and(|value| op.holds(value, bound)),
            Condition::Absence => value.is_none(),
            Condition::Change { op, percent, .. } => {
                change(value, before).is_some_and(|found| op.holds(found, percent))
            }
        }
    }

    /// How far back it compares.
    pub fn back_ms(&self) -> Option<i64> {
        match self {
            Condition::Change { period_ms, .. } => Some(*period_ms),
            _ => None,
        }
    }

    /// Whether it compares numbers.
    pub fn is_numeric(&self) -> bool {
        *self != Condition::Absence
    }
}

/// In percent of what was before. From nothing to something is an infinite change.
pub fn change(value: Option<f64>, before: Option<f64>) -> Option<f64> {
    let (value, before) = (value?, before?);
    match value == before {
        true => Some(0.0),
        false => Some((value - before) / before.abs() * 100.0),
    }
}

fn query(json: &Value) -> Answered<Query> {
    if json.get("metric").is_none() {
        let fields = Fields::of(json, "query", &["sql"])?;
        let text = fields.need_text("sql", 1..=SQL_MAX)?;
        if text.trim().is_empty() {
            return Err(fields.wrong("sql", "is empty"));
        }
        return Ok(Query::Sql(text.to_string()));
    }
    let fields = Fields::of(json, "query", &["metric", "labels", "over", "function"])?;
    let name = fields.need_text("metric", 1..=256)?;
    let is_odd = |ch: char| !(ch.is_ascii_alphanumeric() || "_:".contains(ch));
    if name.contains(is_odd) {
        return Err(fields.wrong("metric", "must have letters, digits, underscores and colons only"));
    }
    let mut labels = Vec::new();
    if let Some(json) = fields.get("labels") {
        let map = json.as_object().filter(|map| map.len() <= LABELS_MAX);
        let map =
            map.ok_or_else(|| fields.wrong("labels", format_args!("must be an object of {LABELS_MAX} at most")))?;
        for (key, value) in map {
            let value = value.as_str().filter(|value| value.len() <= 1024 && key.len() <= 256);
            let value = value.ok_or_else(|| wrong(&format!("query.labels.{key}"), "must be a short string"))?;
            labels.push((key.clone(), value.to_string()));
        }
    }
    let over_ms = need_period(&fields, "over", 1_000, 7 * DAY_MS)?;
    let function = fields.get("function").map_or(Ok("last"), |_| fields.one_of("function", &FUNCTIONS))?.to_string();
    Ok(Query::Metric { name: name.to_string(), labels, over_ms, function })
}

fn condition(json: &Value, query: &Query) -> Answered<Condition> {
    let kind = Fields::of(json, "condition", &["type", "op", "value", "percent", "period"])?;
    Ok(match kind.one_of("type", &["threshold", "absence", "change"])? {
        "threshold" => {
            let fields = Fields::of(json, "condition", &["type", "op", "value"])?;
            Condition::Threshold { op: Op::of(&fields)?, value: number(&fields, "value")? }
        }
        "absence" => {
            Fields::of(json, "condition", &["type"])?;
            Condition::Absence
        }
        _ => {
            let fields = Fields::of(json, "condition", &["type", "op", "percent", "period"])?;
            let period_ms = need_period(&fields, "period", 1_000, 366 * DAY_MS)?;
            // Else both would be the same.
            if matches!(query, Query::Sql(text) if !names_now(text)) {
                return Err(wrong(
                    "query.sql",
                    "has no CURRENT_TIMESTAMP, which a change is found by: the query is asked again with a time a period back",
                ));
            }
            Condition::Change { op: Op::of(&fields)?, percent: number(&fields, "percent")?, period_ms }
        }
    })
}

fn names_now(sql: &str) -> bool {
    let upper = sql.to_ascii_uppercase();
    ["CURRENT_TIMESTAMP", "CURRENT_DATE", "LOCALTIMESTAMP"].iter().any(|name| upper.contains(name))
}

fn number(fields: &Fields<'_>, name: &str) -> Answered<f64> {
    fields.need(name)?.as_f64().ok_or_else(|| fields.wrong(name, "must be a number"))
}

fn flag(fields: &Fields<'_>, name: &str) -> Answered<bool> {
    fields.get(name).map_or(Ok(false), |of| of.as_bool().ok_or_else(|| fields.wrong(name, "must be true or false")))
}

fn need_period(fields: &Fields<'_>, name: &str, least: i64, most: i64) -> Answered<i64> {
    fields.need(name)?;
    Ok(period(fields, name, least, most)?.unwrap_or(least))
}

fn period(fields: &Fields<'_>, name: &str, least: i64, most: i64) -> Answered<Option<i64>> {
    let Some(text) = fields.text(name, 1..=64)? else { return Ok(None) };
    let wrong = || -> Refusal {
        let [least, most] = [least, most].map(|ms| format!("PT{}S", ms / 1000));
        fields.wrong(name, format_args!("must be a period of fixed length such as PT30S, from {least} to {most}"))
    };
    let span = segment::time::Span::parse(text).map_err(|_| wrong())?;
    match span.millis() {
        Some(ms) if (least..=most).contains(&ms) => Ok(Some(ms)),
        _ => Err(wrong()),
    }
}

/// A text in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A silence: until when nothing is told, who said so, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    pub until: i64,
    pub by: String,
    pub reason: String,
}

impl Silence {
    pub fn of(kept: &Value) -> Option<Silence> {
        let text = |name: &str| kept[name].as_str().unwrap_or_default().to_string();
        Some(Silence { until: kept["until"].as_i64()?, by: text("by"), reason: text("reason") })
    }

    pub fn kept(&self) -> Value {
        json!({"until": self.until, "by": self.by, "reason": self.reason})
    }

    pub fn shown(&self) -> Value {
        json!({"until": format_timestamp(self.until), "by": self.by, "reason": self.reason})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Value {
        json!({"query": {"sql": "SELECT COUNT(*) FROM t"}, "condition": {"type": "threshold", "op": ">", "value": 5},
            "every": "PT30S", "for": "PT1M", "severity": "page", "notify": ["ops"]})
    }

    fn with(path: &str, value: Value) -> Value {
        let mut rule = rule();
        let (parent, name) = path.rsplit_once('/').unwrap();
        rule.pointer_mut(parent).unwrap()[name] = value;
        rule
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        assert!(Rule::parse(&rule()).is_ok());
        for (path, value, told) in [
            ("/every", json!("PT0S"), "every: must be a period"),
            ("/every", json!("P1M"), "every: must be a period"),
            ("/every", json!(30), "every: must be a string"),
            ("/every", Value::Null, "every: is missing"),
            ("/every", json!("-PT5S"), "every: must be a period"),
            ("/for", json!("x"), "for: must be a period"),
            ("/repeat", json!("PT1S"), "repeat: must be a period"),
            ("/severity", json!("loud"), "severity: must be one of page, ticket, info"),
            ("/notify", json!(["a", "a"]), "notify[1]: is there twice"),
            ("/notify", json!("a"), "notify: must be a list"),
            ("/disabled", json!("yes"), "disabled: must be true or false"),
            ("/evry", json!(1), "evry: is not known"),
            ("/query", json!({}), "query.sql: is missing"),
            ("/query", json!({"sql": " "}), "query.sql: is empty"),
            ("/query", json!({"sql": "x", "over": "PT5M"}), "query.over: is not known"),
            ("/query", json!({"metric": "a'b", "over": "PT5M"}), "query.metric: must have letters"),
            ("/query", json!({"metric": "a"}), "query.over: is missing"),
            ("/query", json!({"metric": "a", "over": "PT5M", "function": "p99"}), "query.function: must be one of"),
            ("/query", json!({"metric": "a", "over": "PT5M", "labels": {"x": 1}}), "query.labels.x: must be a short"),
            ("/condition", json!({"type": "odd"}), "condition.type: must be one of"),
            ("/condition", json!({"type": "absence", "value": 1}), "condition.value: is not known"),
            ("/condition", json!({"type": "threshold", "op": "~", "value": 1}), "condition.op: must be one of"),
            ("/condition", json!({"type": "threshold", "op": ">"}), "condition.value: is missing"),
            ("/condition", json!({"type": "threshold", "op": ">", "value": "5"}), "condition.value: must be a number"),
            ("/condition", json!({"type": "change", "op": ">", "percent": 5, "period": "PT0S"}), "condition.period"),
            ("/condition", json!({"type": "change", "op": ">", "percent": 5, "period": "PT1H"}), "CURRENT_TIMESTAMP"),
        ] {
            let refused = Rule::parse(&with(path, value.clone())).expect_err(path);
            assert!(refused.message.contains(told), "{path} {value}: {}", refused.message);
        }
        assert!(Rule::parse(&json!([])).is_err());
    }

    #[test]
    fn numbers_are_compared_as_the_condition_says() {
        let threshold = |op| Condition::Threshold { op, value: 5.0 };
        let holds = |op, value| threshold(op).met(Some(value), None);
        assert_eq!(
            [Op::Above, Op::AtLeast, Op::Below, Op::AtMost, Op::Equal, Op::Unequal].map(|op| holds(op, 5.0)),
            [false, true, false, true, true, false]
        );
        assert!(!threshold(Op::Unequal).met(None, None) && Condition::Absence.met(None, None));
        assert!(!Condition::Absence.met(Some(0.0), None));
        let fell = Condition::Change { op: Op::AtMost, percent: -50.0, period_ms: 1 };
        for (value, before, met) in [
            (Some(50.0), Some(100.0), true),
            (Some(51.0), Some(100.0), false),
            (Some(-200.0), Some(-100.0), true),
            (Some(0.0), Some(0.0), false),
            (None, Some(1.0), false),
            (Some(1.0), None, false),
        ] {
            assert_eq!(fell.met(value, before), met, "{value:?} {before:?}");
        }
        let rose = Condition::Change { op: Op::Above, percent: 1e9, period_ms: 1 };
        assert!(rose.met(Some(1.0), Some(0.0)));
    }

    #[test]
    fn a_metric_is_asked_for_in_sql_that_no_label_breaks_out_of() {
        let query =
            query(&json!({"metric": "m", "over": "PT5M", "function": "max", "labels": {"a": "x' OR 1=1 \"--"}}));
        let sql = query.unwrap().sql();
        assert!(sql.contains(r#"CONTAINS_STRING(labels, '"a":"x'' OR 1=1 \"--"')"#), "{sql}");
        assert!(sql.contains("TIMESTAMPADD(SECOND, -300, CURRENT_TIMESTAMP)"), "{sql}");
    }

    #[test]
    fn turns_are_as_long_as_every_and_begin_where_they_begin_for_all() {
        let rule = Rule::parse(&rule()).unwrap();
        assert_eq!([0, 1, 29_999, 30_000, 95_000].map(|now| rule.turn(now)), [0, 0, 0, 30_000, 90_000]);
    }
}
