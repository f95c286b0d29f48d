//! `/henge/v1/alerts` and `/henge/v1/alert-channels`: rules that are looked at on schedule, and who is told of it. How they
//! are looked at is said in [`crate::alerts`].
//!
//! A rule is of whoever put it last: its question runs as them. Who may read the state of the cluster sees rules and how they
//! stand, with the numbers that their owners' questions gave.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use coordinator::{AlertState, Change, Document};
use query::policy::{Action, Kind};
use segment::time::{format_timestamp, parse_timestamp};
use serde_json::{Map, Value, json};

use super::fields::{Fields, wrong};
use super::json_body;
use crate::alerts::channels::{self, Channel};
use crate::alerts::conductor::deliver;
use crate::alerts::rule::{Rule, Silence};
use crate::alerts::state::Standing;
use crate::alerts::{ALERT, CHANNEL, CHANNELS_MAX, Kept, RULES_MAX, SILENCE, document, evaluate};
use crate::auth::{Caller, How};
use crate::http::auth::{CONFIG, Need, STATE};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post, put};
use crate::http::{App, Route};
use crate::node::now;

const READ: Need = Need::May(Kind::State, STATE, Action::Read);
const WRITE: Need = Need::May(Kind::Config, CONFIG, Action::Write);

/// A path of its own.
const TRY: &str = "try";

const REASON_MAX: usize = 1000;

pub fn routes() -> Vec<Route> {
    const ALERTS: &str = "/henge/v1/alerts";
    const CHANNELS: &str = "/henge/v1/alert-channels";
    let [one, channel] = [ALERTS, CHANNELS].map(|root| format!("{root}/{{name}}"));
    vec![
        get(ALERTS, READ, list),
        post(format!("{ALERTS}/{TRY}"), WRITE, attempt),
        get(one.as_str(), READ, whole),
        put(one.as_str(), WRITE, keep),
        delete(one.as_str(), WRITE, discard),
        get(format!("{one}/history"), READ, history),
        post(format!("{one}/silence"), WRITE, silence),
        delete(format!("{one}/silence"), WRITE, unsilence),
        get(CHANNELS, READ, list_channels),
        put(channel.as_str(), WRITE, keep_channel),
        delete(channel.as_str(), WRITE, discard_channel),
        post(format!("{channel}/test"), WRITE, test_channel),
    ]
}

/// Names stand in paths, subjects of mails and logs.
fn check_name(name: &str) -> Answered<()> {
    let plain = |ch: char| ch.is_ascii_alphanumeric() || " ._-".contains(ch);
    match (1..=128).contains(&name.len()) && name.chars().all(plain) && name.trim() == name {
        true => Ok(()),
        false => {
            Err(wrong("name", "must have 1 to 128 letters, digits, dots, dashes, underscores, and spaces within it"))
        }
    }
}

fn absent(what: &str, name: &str) -> Refusal {
    Refusal::not_found(format!("there is no {what} {name}"))
}

fn rule_of(app: &App, name: &str) -> Answered<(Arc<Document>, Kept)> {
    let document = app.coordinator.document(ALERT, name).ok_or_else(|| absent("alert", name))?;
    let kept = Kept::of(&document);
    let unreadable =
        || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the rule of alert {name} cannot be read"));
    Ok((document, kept.ok_or_else(unreadable)?))
}

fn shown(app: &App, document: &Document, states: &[AlertState]) -> Option<Value> {
    let kept = Kept::of(document)?;
    let state = states.iter().find(|state| state.alert == kept.id);
    let standing = state.and_then(|state| serde_json::from_value::<Standing>(state.state.clone()).ok());
    let standing = standing.unwrap_or_else(|| Standing::new(document.changed_at));
    let silence = app.coordinator.document(SILENCE, &document.name).and_then(|of| Silence::of(&of.value));
    let silence = silence.filter(|silence| now() < silence.until);
    let mut shown = Map::from_iter([("name".to_string(), json!(document.name))]);
    shown.extend(document.value["rule"].as_object().cloned().unwrap_or_default());
    // What is not said is what holds.
    for (name, value) in [
        ("description", json!(kept.rule.description)),
        ("severity", json!(kept.rule.severity)),
        ("notify", json!(kept.rule.notify)),
        ("disabled", json!(kept.rule.disabled)),
        ("version", json!(document.version)),
        ("owner", json!(kept.owner.name)),
        ("state", json!(standing.shown())),
        ("since", json!(format_timestamp(standing.since))),
        ("value", json!(standing.value)),
        ("lastEvaluated", json!(standing.evaluated.map(format_timestamp))),
        ("lastError", json!(standing.error)),
        ("silence", silence.map_or(Value::Null, |silence| silence.shown())),
    ] {
        shown.insert(name.to_string(), value);
    }
    Some(Value::Object(shown))
}

async fn list(State(app): State<Arc<App>>) -> Answered {
    let states = app.coordinator.alert_states().await?;
    let documents = app.coordinator.documents(ALERT);
    let all: Vec<Value> = documents.iter().filter_map(|document| shown(&app, document, &states)).collect();
    Ok(Json(all).into_response())
}

async fn whole(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let (document, _) = rule_of(&app, &name)?;
    let states = app.coordinator.alert_states().await?;
    Ok(Json(shown(&app, &document, &states)).into_response())
}

/// The answer to a change. What the rule asks and found is for those who may read it.
async fn changed(app: Arc<App>, caller: &Caller, name: String) -> Answered {
    if app.may(caller, Kind::State, "STATE", Action::Read) {
        return whole(State(app), Path(name)).await;
    }
    let (document, _) = rule_of(&app, &name)?;
    Ok(Json(json!({"name": name, "version": document.version})).into_response())
}

/// A rule as posted, which its author may ask, with channels that there are.
async fn checked(app: &App, caller: &Caller, body: &Value) -> Answered<Rule> {
    let rule = Rule::parse(body)?;
    for (at, name) in rule.notify.iter().enumerate() {
        if app.coordinator.document(CHANNEL, name).is_none() {
            return Err(wrong(&format!("notify[{at}]"), format_args!("there is no channel {name}")));
        }
    }
    let field = if rule.query.is_metric() { "query.metric" } else { "query.sql" };
    match evaluate::check(app, &caller.principal, &rule, now()).await {
        Ok(Ok(())) => Ok(rule),
        Ok(Err(why)) => Err(Refusal::invalid(why)),
        Err(error) if error.kind() == segment::Kind::Denied => Err(Refusal::denied(caller)),
        Err(error) => Err(match Refusal::of_kind(error.kind(), format!("{field}: {error}")) {
            // What is not there is wrong in the rule; the rule's own path is.
            refusal if refusal.status == StatusCode::NOT_FOUND => Refusal::invalid(refusal.message),
            refusal => refusal,
        }),
    }
}

/// The version that a body says it changes.
fn version(body: &Value) -> Answered<Option<i64>> {
    match &body["version"] {
        Value::Null => Ok(None),
        version => match version.as_i64().filter(|version| *version >= 0) {
            Some(version) => Ok(Some(version)),
            None => Err(wrong("version", "must be the version that is changed, a whole number")),
        },
    }
}

async fn keep(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answered {
    let body = json_body(&body)?;
    check_name(&name)?;
    if name == TRY {
        return Err(wrong("name", format_args!("{TRY} is a path of its own; give another")));
    }
    // What they may do is known while they hold their token alone.
    if matches!(caller.how, How::Jwt { .. }) {
        return Err(Refusal::invalid(
            "a rule is asked as its owner also when they are away, which nobody can be whom the identity provider vouches \
             for; put it as a user of this server, such as a service",
        ));
    }
    checked(&app, &caller, &body).await?;
    let existing = app.coordinator.document(ALERT, &name);
    if existing.is_none() && app.coordinator.documents(ALERT).len() >= RULES_MAX {
        return Err(Refusal::invalid(format!("there are {RULES_MAX} alerts, which is as many as there may be")));
    }
    let kept = existing.as_ref().and_then(|document| Kept::of(document));
    let id = kept.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), |kept| kept.id);
    let owner = app.identity.owner(&caller);
    let value = document(&id, &owner, caller.principal.scope.as_ref(), &body);
    // Unless it is said, what was there when it was looked at.
    let expected = version(&body)?.unwrap_or_else(|| existing.as_ref().map_or(0, |document| document.version));
    let change =
        Change { kind: ALERT, name: name.clone(), value: Some(value), expected: Some(expected), history: true };
    app.coordinator.change_documents(vec![change], &caller.principal.name, now()).await?;
    changed(app, &caller, name).await
}

async fn discard(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answered {
    rule_exists(&app, &name)?;
    let gone = |kind, history| Change { kind, name: name.clone(), value: None, expected: None, history };
    let changes = vec![gone(ALERT, true), gone(SILENCE, false)];
    app.coordinator.change_documents(changes, &caller.principal.name, now()).await?;
    Ok(Json(json!({"name": name})).into_response())
}

fn rule_exists(app: &App, name: &str) -> Answered<()> {
    app.coordinator.document(ALERT, name).map(drop).ok_or_else(|| absent("alert", name))
}

async fn history(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let (_, kept) = rule_of(&app, &name)?;
    let entries = app.coordinator.alert_history(&kept.id, coordinator::ALERT_HISTORY_KEPT).await?;
    let shown = entries.iter().map(|entry| {
        let notified = entry.notified.iter().map(|notified| {
            json!({
                "channel": notified.channel,
                // Nothing, while it is tried.
                "ok": notified.ended.map(|_| notified.error.is_none()),
                "error": notified.error,
                "tries": notified.tries,
            })
        });
        json!({
            "time": format_timestamp(entry.at),
            "from": entry.change["from"],
            "to": entry.change["to"],
            "value": entry.change["value"],
            "error": entry.change["error"],
            "repeat": entry.change["repeat"],
            "notified": notified.collect::<Vec<_>>(),
        })
    });
    Ok(Json(shown.collect::<Vec<_>>()).into_response())
}

async fn silence(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answered {
    rule_exists(&app, &name)?;
    let body = json_body(&body)?;
    let fields = Fields::of(&body, "", &["until", "reason"])?;
    let now = now();
    let until = parse_timestamp(fields.need_text("until", 1..=64)?).filter(|until| *until > now);
    let until = until.ok_or_else(|| fields.wrong("until", "must be a time to come, such as 2030-01-01T00:00:00Z"))?;
    let reason = fields.text("reason", 0..=REASON_MAX)?.unwrap_or_default().to_string();
    let silence = Silence { until, by: caller.principal.name.clone(), reason };
    let change =
        Change { kind: SILENCE, name: name.clone(), value: Some(silence.kept()), expected: None, history: false };
    app.coordinator.change_documents(vec![change], &caller.principal.name, now).await?;
    changed(app, &caller, name).await
}

async fn unsilence(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answered {
    rule_exists(&app, &name)?;
    let change = Change { kind: SILENCE, name: name.clone(), value: None, expected: None, history: false };
    app.coordinator.change_documents(vec![change], &caller.principal.name, now()).await?;
    changed(app, &caller, name).await
}

/// Asks a rule's question once, as who asks for it. Nothing is kept, and nobody is told.
async fn attempt(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let rule = checked(&app, &caller, &json_body(&body)?).await?;
    let answer = match evaluate::within(&app, &caller.principal, &rule, now()).await {
        Ok(answer) => json!({
            "value": answer.value,
            "wouldBe": if answer.met { "firing" } else { "ok" },
            "error": null,
        }),
        Err(error) => json!({"value": null, "wouldBe": null, "error": error}),
    };
    Ok(Json(answer).into_response())
}

fn channel_shown(document: &Document) -> Value {
    let mut shown = Map::from_iter([("name".to_string(), json!(document.name))]);
    shown.extend(channels::hidden(&document.value).as_object().cloned().unwrap_or_default());
    shown.insert("version".into(), json!(document.version));
    Value::Object(shown)
}

async fn list_channels(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.coordinator.documents(CHANNEL).iter().map(|document| channel_shown(document)).collect())
}

async fn keep_channel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answered {
    check_name(&name)?;
    // Whoever says where it leads is told all that it tells.
    app.require(&caller, Kind::State, "STATE", Action::Read)?;
    let mut body = json_body(&body)?;
    let version = version(&body)?;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("version");
    }
    let existing = app.coordinator.document(CHANNEL, &name);
    let value = channels::restored(&body, existing.as_ref().map(|document| &document.value))?;
    let channel = Channel::parse(&value, &app.config.http_sources)?;
    // Whoever names a topic writes to it.
    if let Some(topic) = channel.topic() {
        app.require(&caller, Kind::External, &format!("kafka:{topic}"), Action::Write)
            .or_else(|_| app.require(&caller, Kind::External, "kafka", Action::Write))?;
    }
    if existing.is_none() && app.coordinator.documents(CHANNEL).len() >= CHANNELS_MAX {
        return Err(Refusal::invalid(format!("there are {CHANNELS_MAX} channels, which is as many as there may be")));
    }
    let expected = version.unwrap_or_else(|| existing.as_ref().map_or(0, |document| document.version));
    let expected = Some(expected);
    // Its secrets would be in the history.
    let change = Change { kind: CHANNEL, name: name.clone(), value: Some(value), expected, history: false };
    app.coordinator.change_documents(vec![change], &caller.principal.name, now()).await?;
    let document = app.coordinator.document(CHANNEL, &name).ok_or_else(|| absent("channel", &name))?;
    Ok(Json(channel_shown(&document)).into_response())
}

async fn discard_channel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answered {
    app.coordinator.document(CHANNEL, &name).ok_or_else(|| absent("channel", &name))?;
    let rules = app.coordinator.documents(ALERT);
    let uses = |document: &&Arc<Document>| Kept::of(document).is_some_and(|kept| kept.rule.notify.contains(&name));
    if let Some(rule) = rules.iter().find(uses) {
        let message = format!("alert {} is told by channel {name}; take it from there first", rule.name);
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let change = Change { kind: CHANNEL, name: name.clone(), value: None, expected: None, history: false };
    app.coordinator.change_documents(vec![change], &caller.principal.name, now()).await?;
    Ok(Json(json!({"name": name})).into_response())
}

async fn test_channel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answered {
    let document = app.coordinator.document(CHANNEL, &name).ok_or_else(|| absent("channel", &name))?;
    let time = format_timestamp(now());
    let notice = json!({
        "id": format!("test-{}", uuid::Uuid::new_v4().simple()),
        "alert": name,
        "state": "test",
        "description": format!("{} tries this channel", caller.principal.name),
        "severity": "info",
        "value": null,
        "error": null,
        "since": time,
        "time": time,
        "repeat": false,
    });
    let error = deliver(&app, &document.value, &notice).await.err();
    Ok(Json(json!({"ok": error.is_none(), "error": error})).into_response())
}
