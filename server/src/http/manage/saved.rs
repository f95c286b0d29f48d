//! `/henge/v1/saved-queries` and `/henge/v1/dashboards`: what people keep for themselves and for others of their roles.
//! Both are alike but for what a document's content is ([`content`]). Whose they are and who sees them is said in
//! [`crate::auth::saved`].
//!
//! A change names the version that it is made for: if there is another by now, it is refused (409).

mod content;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use segment::time::format_timestamp;
use serde_json::{Value, json};

use super::fields::Fields;
use super::{Parameters, json_body};
use crate::auth::Caller;
use crate::auth::commit::Author;
use crate::auth::saved::{SHARED_MAX, Said, Saved, Sort};
use crate::http::auth::Need;
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post, put};
use crate::http::{App, Route};

const NAME_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 4000;

/// The paths of one of the two, and what stands behind them.
trait Shelf: Send + Sync + 'static {
    const SORT: Sort;
    const ROOT: &'static str;

    /// As it is kept: the fields that are known, each as it has to be.
    fn content(said: &Value) -> Answered<Value>;
}

struct Queries;
struct Dashboards;

impl Shelf for Queries {
    const SORT: Sort = Sort::Query;
    const ROOT: &'static str = "/henge/v1/saved-queries";

    fn content(said: &Value) -> Answered<Value> {
        content::query(said)
    }
}

impl Shelf for Dashboards {
    const SORT: Sort = Sort::Dashboard;
    const ROOT: &'static str = "/henge/v1/dashboards";

    fn content(said: &Value) -> Answered<Value> {
        content::dashboard(said)
    }
}

pub fn routes() -> Vec<Route> {
    [routes_of::<Queries>(), routes_of::<Dashboards>()].into_iter().flatten().collect()
}

fn routes_of<S: Shelf>() -> Vec<Route> {
    let one = format!("{}/{{id}}", S::ROOT);
    vec![
        get(S::ROOT, Need::SignedIn, list::<S>),
        post(S::ROOT, Need::SignedIn, make::<S>),
        get(one.as_str(), Need::SignedIn, whole::<S>),
        put(one.as_str(), Need::SignedIn, change::<S>),
        delete(one.as_str(), Need::SignedIn, discard::<S>),
    ]
}

/// Without its content.
fn shown(app: &App, saved: &Saved) -> Value {
    let (document, owner) = (&saved.document, &saved.owner);
    json!({
        "id": document.name,
        "name": document.value["name"],
        "description": document.value["description"],
        // A name would be taken for that of who has it now.
        "owner": (!app.identity.is_gone(owner)).then_some(&owner.name),
        "sharedWith": saved.shared_with,
        "version": document.version,
        "updated": format_timestamp(document.changed_at),
        "updatedBy": document.changed_by,
        "mayEdit": saved.may_edit,
    })
}

fn answer<S: Shelf>(app: &App, status: StatusCode, id: &str, caller: &Caller) -> Answered {
    let saved = app.identity.saved_one(S::SORT, id, caller)?;
    let mut shown = shown(app, &saved);
    shown["content"] = saved.document.value["content"].clone();
    Ok((status, Json(shown)).into_response())
}

/// The body, with the version that it is a change of.
fn said<S: Shelf>(body: &[u8]) -> Answered<(Said, Option<i64>)> {
    let body = json_body(body)?;
    let fields = Fields::of(&body, "", &["name", "description", "sharedWith", "content", "version"])?;
    let name = fields.need_text("name", 1..=NAME_MAX)?.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(fields.wrong("name", "must have a character that is seen, and no control characters"));
    }
    let description = fields.text("description", 0..=DESCRIPTION_MAX)?.unwrap_or_default();
    let roles = fields.texts("sharedWith", SHARED_MAX, 1..=128)?.unwrap_or_default();
    let said = Said {
        name: name.to_string(),
        description: description.to_string(),
        shared_with: roles.into_iter().map(str::to_string).collect::<BTreeSet<_>>(),
        content: S::content(fields.need("content")?)?,
    };
    Ok((said, fields.whole("version", 1..=i64::MAX)?))
}

async fn list<S: Shelf>(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let mut all = app.identity.saved(S::SORT, &caller);
    let name = |saved: &Saved| saved.document.value["name"].as_str().unwrap_or_default().to_lowercase();
    all.sort_by_cached_key(name);
    Json(all.iter().map(|saved| shown(&app, saved)).collect())
}

async fn whole<S: Shelf>(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answered {
    answer::<S>(&app, StatusCode::OK, &id, &caller)
}

async fn make<S: Shelf>(State(app): State<Arc<App>>, author: Author, body: Bytes) -> Answered {
    let (said, version) = said::<S>(&body)?;
    if version.is_some() {
        return Err(Refusal::invalid("version: is of a document that is changed; this makes a new one"));
    }
    let id = app.identity.save(S::SORT, said, &author).await?;
    crate::audit::note(|details| details.object = Some(id.clone()));
    answer::<S>(&app, StatusCode::CREATED, &id, &author.caller)
}

async fn change<S: Shelf>(
    State(app): State<Arc<App>>,
    author: Author,
    Path(id): Path<String>,
    body: Bytes,
) -> Answered {
    let (said, version) = said::<S>(&body)?;
    let version = version.ok_or_else(|| Refusal::invalid("version: is missing; it is the one that is changed"))?;
    app.identity.save_again(S::SORT, &id, version, said, &author).await?;
    answer::<S>(&app, StatusCode::OK, &id, &author.caller)
}

async fn discard<S: Shelf>(State(app): State<Arc<App>>, author: Author, Path(id): Path<String>, uri: Uri) -> Answered {
    let version = Parameters::of(&uri).number("version")?;
    let version = version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
    app.identity.discard(S::SORT, &id, version, &author).await?;
    Ok(Json(json!({"id": id})).into_response())
}
