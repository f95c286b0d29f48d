//! Asks a rule's question: as a statement of its owner, by the same way as all statements, and on record as theirs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::StreamExt;
use query::Principal;
use query_sql::{Format, ResultFormat, Statement};
use serde_json::{Map, Value, json};

use super::rule::{Query, Rule};
use crate::audit;
use crate::http::{App, sql};

/// What the first row may have; nobody needs more for a number.
const ROW_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub met: bool,
    pub value: Option<f64>,
}

/// Runs on its own, as a thing that the server does: it is put on record here. `path` is of the rule.
pub async fn ask(app: &App, who: &Principal, rule: &Rule, path: &str, now: i64) -> Result<Answer, String> {
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    audit::followed(&app.audit, nowhere, path.to_string(), within(app, who, rule, now)).await
}

/// Within a request, which is on record.
pub async fn within(app: &App, who: &Principal, rule: &Rule, now: i64) -> Result<Answer, String> {
    let limit = limit(rule);
    let asked = async {
        let value = number(app, who, &rule.query, now, limit).await?;
        let before = match rule.condition.back_ms() {
            Some(back) => number(app, who, &rule.query, now.saturating_sub(back), limit).await?,
            None => None,
        };
        Ok(Answer { met: rule.condition.met(value, before), value })
    };
    let late =
        || Err(format!("there was no answer within {limit:?}, which is the time until the next turn or a minute"));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| late())
}

/// What a turn may take.
fn limit(rule: &Rule) -> Duration {
    Duration::from_millis(rule.every_ms.unsigned_abs()).min(Duration::from_secs(60))
}

fn statement(query: &Query, now: i64, limit: Duration) -> Statement {
    let id = format!("alert-{}", uuid::Uuid::new_v4());
    let mut context = Map::new();
    context.insert("sqlQueryId".into(), json!(id));
    context.insert("timeout".into(), json!(limit.as_millis() as u64));
    // Nobody waits for the rest of the answer, and one of the past would be taken for that of today.
    context.insert("useCache".into(), json!(false));
    context.insert("populateCache".into(), json!(false));
    Statement { text: query.sql(), parameters: Vec::new(), context, now }
}

/// Whether a question can be asked at all, by whom it will be; the error names the field.
pub async fn check(app: &App, who: &Principal, rule: &Rule, now: i64) -> query_sql::Result<Result<(), String>> {
    let statement = statement(&rule.query, now, limit(rule));
    let outline = sql::described(&statement, app.sql.outline(&statement, who)).await?;
    let field = if rule.query.is_metric() { "query.metric" } else { "query.sql" };
    if outline.explain {
        return Ok(Err(format!("{field}: must be a query, not EXPLAIN")));
    }
    let first = outline.columns.first();
    let is_number = first.is_some_and(|column| is_number(&column.sql_type));
    if rule.condition.is_numeric() && !is_number {
        let found = first.map_or("nothing", |column| column.sql_type.as_str());
        return Ok(Err(format!("{field}: its first column must be a number to be compared, not {found}")));
    }
    Ok(Ok(()))
}

fn is_number(sql_type: &str) -> bool {
    let name = sql_type.split('(').next().unwrap_or_default();
    ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "REAL", "DOUBLE", "DECIMAL", "BOOLEAN"].contains(&name)
}

/// The first column of the first row; `None` if there is no row, or nothing in it. An answer that lacks rows is none.
async fn number(app: &App, who: &Principal, query: &Query, now: i64, limit: Duration) -> Result<Option<f64>, String> {
    let statement = statement(query, now, limit);
    let id = statement.context["sqlQueryId"].as_str().unwrap_or_default();
    let answer = sql::measured(app, id, || sql::run(app, &statement, who)).await.map_err(|error| error.to_string())?;
    if !answer.context.uncovered.is_empty() {
        return Err("the answer lacks rows that are not served at the moment".to_string());
    }
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    let (mut rows, mut text) = (answer.limited(1).body(&format), Vec::new());
    while let Some(part) = rows.next().await {
        text.extend(part.map_err(|error| error.to_string())?);
        if text.len() > ROW_BYTES_MAX {
            return Err(format!("its first row has more than {ROW_BYTES_MAX} bytes"));
        }
    }
    let rows: Value = serde_json::from_slice(&text).map_err(|error| format!("the answer cannot be read: {error}"))?;
    Ok(match &rows[0][0] {
        Value::Null => None,
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        // It is there, which is all that absence asks for.
        Value::String(text) => Some(text.parse().unwrap_or(f64::NAN)),
        _ => Some(f64::NAN),
    })
}
