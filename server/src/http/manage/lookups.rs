//! Druid's lookup API: documents by tier and name. They are kept in the catalog, and the maps among them put to the broker
//! at once.
//!
//! The document of a lookup is `{"version", "lookupExtractorFactory": {"type": "map", "map": {…}}}`. A document replaces
//! one of a smaller version only, compared as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use coordinator::{Change, Coordinator};
use query::policy::{Action, Kind};
use segment::lookup::{Lookup, Lookups};
use serde_json::{Map, Value, json};

use super::{Parameters, json_body};
use crate::auth::Caller;
use crate::http::auth::{Need, Of};
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post};
use crate::http::{App, Route};
use crate::node::now;

/// The one tier that this process is of.
const TIER: &str = "__default";

/// The kind of their documents, whose names are tier and name as a JSON array. One of the empty array is there once lookups
/// were ever put: Druid calls it uninitialised before.
const LOOKUP: &str = "lookup";
const BEGUN: &str = "[]";

type Tiers = BTreeMap<String, BTreeMap<String, Value>>;

/// The documents, and where they are served.
pub struct Store {
    coordinator: Arc<Coordinator>,
    lookups: Arc<Lookups>,
    /// Held by whoever changes them.
    changing: tokio::sync::Mutex<()>,
}

impl Store {
    /// Serves what is kept.
    pub fn open(coordinator: Arc<Coordinator>, lookups: Arc<Lookups>) -> Arc<Store> {
        let store = Store { coordinator, lookups, changing: tokio::sync::Mutex::new(()) };
        store.serve(&store.all().unwrap_or_default());
        Arc::new(store)
    }

    /// Serves what is kept now, which another node has changed.
    pub fn read_again(&self) {
        self.serve(&self.all().unwrap_or_default());
    }

    /// Those that are served now, by name.
    pub fn served(&self) -> BTreeMap<String, Arc<Lookup>> {
        self.lookups.all().as_ref().clone()
    }

    fn all(&self) -> Option<Tiers> {
        let documents = self.coordinator.documents(LOOKUP);
        let mut tiers = Tiers::new();
        for document in &documents {
            if let Ok((tier, name)) = serde_json::from_str::<(String, String)>(&document.name) {
                tiers.entry(tier).or_default().insert(name, document.value.clone());
            }
        }
        (!documents.is_empty()).then_some(tiers)
    }

    /// Changes the documents, keeps them, and serves them: all of it, even if whoever asked goes away meanwhile.
    async fn change(
        self: &Arc<Self>,
        caller: &Caller,
        change: impl FnOnce(&mut Tiers) -> Answered<()> + Send + 'static,
    ) -> Answered<()> {
        let (store, by) = (self.clone(), caller.principal.name.clone());
        let changed = tokio::spawn(async move {
            let _changing = store.changing.lock().await;
            let (kept, begun) = store.all().map_or_else(|| (Tiers::new(), false), |tiers| (tiers, true));
            let mut tiers = kept.clone();
            change(&mut tiers)?;
            let document = |name: String, value: Option<Value>| Change {
                kind: LOOKUP,
                name,
                value,
                expected: None,
                // Maps may be large, and the audit log tells who changed them.
                history: false,
            };
            let mut changes = Vec::new();
            if !begun {
                changes.push(document(BEGUN.to_string(), Some(json!({}))));
            }
            let of = |tiers: &Tiers, tier: &str, name: &str| tiers.get(tier)?.get(name).cloned();
            for (tier, name) in names_in(&kept).chain(names_in(&tiers)) {
                let value = of(&tiers, tier, name);
                let told = json!([tier, name]).to_string();
                if of(&kept, tier, name) != value && !changes.iter().any(|change| change.name == told) {
                    changes.push(document(told, value));
                }
            }
            if !changes.is_empty() {
                store.coordinator.change_documents(changes, &by, now()).await?;
            }
            store.serve(&tiers);
            Ok(())
        });
        let stopping = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; try again later");
        changed.await.map_err(stopping)?
    }

    fn serve(&self, tiers: &Tiers) {
        let documents = tiers.get(TIER).into_iter().flatten();
        let maps = documents.filter_map(|(name, document)| Some((name.clone(), Arc::new(map_of(document)?))));
        self.lookups.replace(maps.collect());
    }
}

fn names_in(tiers: &Tiers) -> impl Iterator<Item = (&str, &str)> {
    tiers.iter().flat_map(|(tier, lookups)| lookups.keys().map(move |name| (tier.as_str(), name.as_str())))
}

fn map_of(document: &Value) -> Option<Lookup> {
    let entries = document["lookupExtractorFactory"]["map"].as_object()?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let version = document["version"].as_str().unwrap_or_default().to_string();
    Some(Lookup::new(version, entries.iter().map(|(key, value)| (key.clone(), text(value)))))
}

const READ: Need = Need::May(Kind::Lookup, Of::Path("name"), Action::Read);
const WRITE: Need = Need::May(Kind::Lookup, Of::Path("name"), Action::Write);

pub fn routes() -> Vec<Route> {
    const ROOT: &str = "/druid/coordinator/v1/lookups";
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        get(path("/config"), Need::SignedIn, tiers),
        post(path("/config"), Need::SignedIn, put_all),
        get(path("/config/all"), Need::SignedIn, documents),
        get(path("/config/{tier}"), Need::SignedIn, names),
        delete(path("/config/{tier}"), Need::SignedIn, delete_tier),
        get(path("/config/{tier}/{name}"), READ, document),
        post(path("/config/{tier}/{name}"), WRITE, put_one),
        delete(path("/config/{tier}/{name}"), WRITE, delete_one),
        get(path("/status"), Need::SignedIn, status),
        get(path("/status/{tier}"), Need::SignedIn, status_of_tier),
        get(path("/status/{tier}/{name}"), READ, status_of_one),
        get("/druid/listen/v1/lookups", Need::SignedIn, loaded),
        get("/druid/v1/lookups/introspect/{name}", READ, introspect),
        get("/druid/v1/lookups/introspect/{name}/keys", READ, introspect_keys),
        get("/druid/v1/lookups/introspect/{name}/values", READ, introspect_values),
    ]
}

/// The documents that the caller may read; a tier that has none of them is not there.
fn seen(app: &App, caller: &Caller) -> Option<Tiers> {
    let mut tiers = app.lookups.all()?;
    for lookups in tiers.values_mut() {
        lookups.retain(|name, _| app.may(caller, Kind::Lookup, name, Action::Read));
    }
    tiers.retain(|_, lookups| !lookups.is_empty() || app.is_admin(caller));
    Some(tiers)
}

fn absent(what: impl std::fmt::Display) -> Refusal {
    Refusal::not_found(format!("{what} not found"))
}

async fn put_all(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let body = json_body(&body)?;
    let given = body.as_object().ok_or_else(|| Refusal::invalid("the body must be an object of tiers"))?.clone();
    // So the documents of Druid's clients begin.
    if given.values().all(|lookups| lookups.as_object().is_none_or(Map::is_empty)) {
        app.require(&caller, Kind::Lookup, "", Action::Write)?;
    }
    for (tier, lookups) in &given {
        let lookups =
            lookups.as_object().ok_or_else(|| Refusal::invalid(format!("tier {tier} must be an object of lookups")))?;
        lookups.keys().try_for_each(|name| app.require(&caller, Kind::Lookup, name, Action::Write))?;
    }
    let wanted = given.clone();
    app.lookups
        .change(&caller, move |tiers| {
            for (tier, lookups) in &wanted {
                for (name, document) in lookups.as_object().into_iter().flatten() {
                    put(tiers, tier, name, document)?;
                }
            }
            Ok(())
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Value::Object(given))).into_response())
}

async fn put_one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tier, name)): Path<(String, String)>,
    body: Bytes,
) -> Answered {
    let document = json_body(&body)?;
    let (of, named, wanted) = (tier.clone(), name.clone(), document.clone());
    app.lookups.change(&caller, move |tiers| put(tiers, &of, &named, &wanted)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({tier: {name: document}}))).into_response())
}

fn put(tiers: &mut Tiers, tier: &str, name: &str, document: &Value) -> Answered<()> {
    let factory = &document["lookupExtractorFactory"];
    let at = format!("{tier}.{name}.lookupExtractorFactory");
    match factory["type"].as_str() {
        Some("map") if factory["map"].is_object() => {}
        Some("map") => return Err(Refusal::invalid(format!("{at}.map must be an object of strings"))),
        Some(other) => {
            return Err(Refusal::invalid(format!("{at}.type '{other}' is not supported; use a lookup of type map")));
        }
        None => return Err(Refusal::invalid(format!("{at}.type is missing; use map"))),
    }
    let lookups = tiers.entry(tier.to_string()).or_default();
    let version = |document: &Value| document["version"].as_str().unwrap_or_default().to_string();
    if let Some(old) = lookups.get(name)
        && old != document
        && version(old) >= version(document)
        && !version(document).is_empty()
    {
        return Err(Refusal::invalid(format!(
            "lookup {name} has version '{}' already; give a greater one than '{}'",
            version(old),
            version(document)
        )));
    }
    lookups.insert(name.to_string(), document.clone());
    Ok(())
}

async fn tiers(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    match seen(&app, &caller) {
        Some(tiers) => Ok(Json(tiers.keys().collect::<Vec<_>>()).into_response()),
        None if Parameters::of(&uri).has("discover") => Ok(Json([TIER]).into_response()),
        None => Err(absent("lookups")),
    }
}

async fn documents(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    Ok(Json(seen(&app, &caller).unwrap_or_default()).into_response())
}

fn tier_of(app: &App, caller: &Caller, tier: &str) -> Answered<BTreeMap<String, Value>> {
    seen(app, caller).unwrap_or_default().remove(tier).ok_or_else(|| absent(format_args!("tier {tier}")))
}

async fn names(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(tier): Path<String>,
    uri: Uri,
) -> Answered {
    let lookups = tier_of(&app, &caller, &tier)?;
    Ok(match Parameters::of(&uri).has("detailed") {
        true => Json(lookups).into_response(),
        false => Json(lookups.keys().collect::<Vec<_>>()).into_response(),
    })
}

async fn document(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tier, name)): Path<(String, String)>,
) -> Answered {
    let document = tier_of(&app, &caller, &tier)?.remove(&name).ok_or_else(|| absent(format_args!("lookup {name}")))?;
    Ok(Json(document).into_response())
}

async fn delete_one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tier, name)): Path<(String, String)>,
) -> Answered {
    let delete = move |tiers: &mut Tiers| {
        let found = tiers.get_mut(&tier).and_then(|lookups| lookups.remove(&name));
        found.map(|_| ()).ok_or_else(|| absent(format_args!("lookup {name}")))
    };
    app.lookups.change(&caller, delete).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn delete_tier(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(tier): Path<String>,
) -> Answered {
    tier_of(&app, &caller, &tier)?;
    let (of, asker) = (app.clone(), caller.clone());
    let delete = move |tiers: &mut Tiers| {
        let lookups = tiers.remove(&tier).ok_or_else(|| absent(format_args!("tier {tier}")))?;
        lookups.keys().try_for_each(|name| of.require(&asker, Kind::Lookup, name, Action::Write))
    };
    app.lookups.change(&caller, delete).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn loaded_in(lookups: &BTreeMap<String, Value>) -> Value {
    Value::Object(lookups.keys().map(|name| (name.clone(), json!({"loaded": true, "pendingNodes": []}))).collect())
}

async fn status(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    let tiers = seen(&app, &caller).ok_or_else(|| absent("lookups"))?;
    let status: Map<String, Value> = tiers.iter().map(|(tier, lookups)| (tier.clone(), loaded_in(lookups))).collect();
    Ok(Json(status).into_response())
}

async fn status_of_tier(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(tier): Path<String>,
) -> Answered {
    Ok(Json(loaded_in(&tier_of(&app, &caller, &tier)?)).into_response())
}

async fn status_of_one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tier, name)): Path<(String, String)>,
) -> Answered {
    let lookups = loaded_in(&tier_of(&app, &caller, &tier)?);
    let found = lookups.get(&name).ok_or_else(|| absent(format_args!("lookup {name}")))?;
    Ok(Json(found.clone()).into_response())
}

async fn loaded(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Response {
    Json(seen(&app, &caller).unwrap_or_default().remove(TIER).unwrap_or_default()).into_response()
}

fn lookup(app: &App, name: &str) -> Answered<Arc<Lookup>> {
    app.broker.lookups().all().get(name).cloned().ok_or_else(|| absent(format_args!("lookup {name}")))
}

async fn introspect(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let lookup = lookup(&app, &name)?;
    let entries: Map<String, Value> =
        lookup.entries().into_iter().map(|(key, value)| (key.to_string(), json!(value.as_ref()))).collect();
    Ok(Json(entries).into_response())
}

async fn introspect_keys(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let lookup = lookup(&app, &name)?;
    Ok(Json(lookup.entries().into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()).into_response())
}

async fn introspect_values(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let lookup = lookup(&app, &name)?;
    Ok(Json(lookup.entries().into_iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>()).into_response())
}
