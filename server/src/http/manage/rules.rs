//! Druid's paths for retention rules and for the dynamic configuration of the Coordinator.
//!
//! Rules are a datasource's: who may read it reads them, and who may write it and sees all of it sets them. Those of
//! `_default` hold for all, and are set by who may write the cluster's configuration and all datasources.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use coordinator::Document;
use coordinator::rules::DEFAULT;
use query::policy::{Action, Kind};
use segment::Interval;
use segment::time::format_timestamp;
use serde_json::{Value, json};

use super::{Parameters, json_body};
use crate::auth::Caller;
use crate::http::auth::{CONFIG, Need, Of};
use crate::http::error::Answered;
use crate::http::routes::{get, post};
use crate::http::{App, Route};
use crate::node::now;

const READ: Need = Need::May(Kind::Datasource, Of::Path("name"), Action::Read);
/// What a rule drops is dropped with the rows that the caller may not see.
const WRITE: Need = Need::Retention(Of::Path("name"));
const READ_CONFIG: Need = Need::May(Kind::Config, CONFIG, Action::Read);
const WRITE_CONFIG: Need = Need::May(Kind::Config, CONFIG, Action::Write);

/// Entries of a history that names no `count`.
const HISTORY_DEFAULT: usize = 100;

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/coordinator/v1";
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        get(path("/rules"), Need::SignedIn, all),
        get(path("/rules/history"), Need::SignedIn, all_history),
        get(path("/rules/{name}"), READ, one),
        post(path("/rules/{name}"), WRITE, set),
        get(path("/rules/{name}/history"), READ, history),
        get(path("/config"), READ_CONFIG, config),
        post(path("/config"), WRITE_CONFIG, set_config),
        get(path("/config/history"), READ_CONFIG, config_history),
    ]
}

fn may_read(app: &App, caller: &Caller, name: &str) -> bool {
    app.may(caller, Kind::Datasource, name, Action::Read)
}

async fn all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let rules = app.coordinator.rules().into_iter();
    let seen = rules.filter(|(name, _)| name == DEFAULT || may_read(&app, &caller, name));
    Json(json!(seen.collect::<BTreeMap<String, Value>>()))
}

/// Its own rules; with `full`, those that hold for all after them.
async fn one(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Json<Value> {
    let mut rules = app.coordinator.rules_of(&name);
    if let (true, Value::Array(own), Value::Array(default)) =
        (Parameters::of(&uri).has("full") && name != DEFAULT, &mut rules, app.coordinator.rules_of(DEFAULT))
    {
        own.extend(default);
    }
    Json(rules)
}

async fn set(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answered {
    app.coordinator.set_rules(&name, json_body(&body)?, &caller.principal.name, now()).await?;
    Ok(StatusCode::OK.into_response())
}

async fn history(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    let asked = Asked::of(&uri)?;
    let entries = app.coordinator.rules_history(Some(&name), asked.count).await?;
    Ok(asked.answer("rules", entries).into_response())
}

async fn all_history(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let asked = Asked::of(&uri)?;
    let mut entries = app.coordinator.rules_history(None, asked.count).await?;
    entries.retain(|entry| entry.name == DEFAULT || may_read(&app, &caller, &entry.name));
    Ok(asked.answer("rules", entries).into_response())
}

async fn config(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.coordinator.dynamic_config())
}

async fn set_config(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    app.coordinator.set_dynamic_config(json_body(&body)?, &caller.principal.name, now()).await?;
    Ok(StatusCode::OK.into_response())
}

async fn config_history(State(app): State<Arc<App>>, uri: Uri) -> Answered {
    let asked = Asked::of(&uri)?;
    let entries = app.coordinator.dynamic_config_history(asked.count).await?;
    Ok(asked.answer("coordinator.config", entries).into_response())
}

/// Which entries of a history.
struct Asked {
    count: usize,
    interval: Option<Interval>,
}

impl Asked {
    fn of(uri: &Uri) -> Answered<Asked> {
        let parameters = Parameters::of(uri);
        let interval = parameters.get("interval").map(|text| Interval::parse(&text.replace('_', "/"))).transpose()?;
        Ok(Asked { count: parameters.number("count")?.unwrap_or(HISTORY_DEFAULT), interval })
    }

    /// In Druid's shape of an audit entry, newest first.
    fn answer(&self, kind: &str, mut entries: Vec<Document>) -> Json<Value> {
        entries.retain(|entry| self.interval.is_none_or(|interval| interval.contains(entry.changed_at)));
        let shown = entries.into_iter().map(|entry| {
            json!({
                "key": if kind == "rules" { entry.name.as_str() } else { kind },
                "type": kind,
                "auditInfo": {"author": entry.changed_by, "comment": "", "ip": ""},
                "payload": entry.value.to_string(),
                "auditTime": format_timestamp(entry.changed_at),
            })
        });
        Json(Value::Array(shown.collect()))
    }
}
