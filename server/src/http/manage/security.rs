//! `/henge/v1/security/…`: signing in and out, users, tokens, roles and table rules. One's own profile, password and tokens
//! need no more than being somebody; all else needs the permission SECURITY. `openapi/security.json` describes it.
//!
//! Documents have versions: an answer tells it as `ETag`, and a change with `If-Match` is made if it is still that one.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use coordinator::Document;
use query::Principal;
use query::policy::{Action, Kind, Role, TableRule};
use segment::time::format_timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Parameters;
use super::explain::explain;
use crate::auth::commit::Author;
use crate::auth::roles::Rule;
use crate::auth::users::{self, Profile, USER, User, UserKind};
use crate::auth::{self, Caller, How, cookie, digest, sessions};
use crate::http::auth::{Address, Need, SECURITY, forget_cookie, session_cookie};
use crate::http::error::{Answered, Refusal};
use crate::http::guard::Encrypted;
use crate::http::routes::{delete, get, post, put};
use crate::http::{App, Route};

/// Versions of a document that a listing of its history shows if the request does not say how many.
const HISTORY_MAX: usize = 100;

pub const READ: Need = Need::May(Kind::Security, SECURITY, Action::Read);
pub const WRITE: Need = Need::May(Kind::Security, SECURITY, Action::Write);

/// What all paths here begin with.
pub const ROOT: &str = "/henge/v1/security";

pub fn routes() -> Vec<Route> {
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        post(path("/login"), Need::Open, login),
        post(path("/logout"), Need::SignedIn, logout),
        get(path("/whoami"), Need::SignedIn, whoami),
        get(path("/profile"), Need::SignedIn, profile),
        put(path("/profile"), Need::SignedIn, put_profile),
        put(path("/password"), Need::SignedIn, put_own_password),
        get(path("/tokens"), Need::SignedIn, own_tokens),
        post(path("/tokens"), Need::SignedIn, create_own_token),
        delete(path("/tokens/{id}"), Need::SignedIn, revoke_own_token),
        get(path("/users"), READ, list_users),
        get(path("/users/{name}"), READ, user),
        put(path("/users/{name}"), WRITE, put_user),
        delete(path("/users/{name}"), WRITE, delete_user),
        get(path("/users/{name}/history"), READ, user_history),
        put(path("/users/{name}/password"), WRITE, put_password),
        delete(path("/users/{name}/sessions"), WRITE, end_sessions),
        get(path("/users/{name}/tokens"), READ, tokens),
        post(path("/users/{name}/tokens"), WRITE, create_token),
        delete(path("/users/{name}/tokens/{id}"), WRITE, revoke_token),
        get(path("/roles"), READ, list_rules::<Role>),
        get(path("/roles/{name}"), READ, rule::<Role>),
        put(path("/roles/{name}"), WRITE, put_rule::<Role>),
        delete(path("/roles/{name}"), WRITE, delete_rule::<Role>),
        get(path("/roles/{name}/history"), READ, rule_history::<Role>),
        post(path("/explain"), READ, explain),
        get(path("/datasources"), READ, list_rules::<TableRule>),
        get(path("/datasources/{name}"), READ, rule::<TableRule>),
        put(path("/datasources/{name}"), WRITE, put_rule::<TableRule>),
        delete(path("/datasources/{name}"), WRITE, delete_rule::<TableRule>),
        get(path("/datasources/{name}/history"), READ, rule_history::<TableRule>),
    ]
}

impl From<users::Error> for Refusal {
    fn from(error: users::Error) -> Refusal {
        let status = match error {
            users::Error::Invalid(_) => StatusCode::BAD_REQUEST,
            users::Error::NotFound(_) => StatusCode::NOT_FOUND,
            users::Error::Conflict(_) => StatusCode::CONFLICT,
            users::Error::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            users::Error::Stranger => StatusCode::UNAUTHORIZED,
            users::Error::Denied | users::Error::Changed => StatusCode::FORBIDDEN,
            users::Error::Catalog(error) => return error.into(),
        };
        Refusal::new(status, error.to_string())
    }
}

/// A body that may hold secrets: what is wrong with it is told without showing it.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Answered<T> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            // Its message names fields, and values only of fields that have a few possible ones.
            Refusal::invalid(format!("the body: {error}"))
        }
        _ => Refusal::invalid(format!("the body is not JSON: line {} column {}", error.line(), error.column())),
    })
}

/// The version that a change is made for.
fn expected(headers: &HeaderMap) -> Answered<Option<i64>> {
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*") {
        return Ok(Some(0));
    }
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    version.map(Some).ok_or_else(|| Refusal::invalid("If-Match must be the version that ETag told, such as \"7\""))
}

fn tagged(version: i64, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Who changes something, for the record.
fn by(caller: &Caller) -> &str {
    &caller.principal.name
}

/// What a token was made for does not include making others of itself, or locking its owner out.
fn in_person(caller: &Caller) -> Answered<()> {
    match caller.how {
        How::Password(_) | How::Session(_) => Ok(()),
        How::Token(_) | How::Jwt { .. } | How::Anonymous | How::Process => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "sign in with your name and password to change your own profile, password and tokens",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

/// Begins a session, always a new one: an id that the browser brought along stays what it was, or ends if it was one.
async fn login(
    State(app): State<Arc<App>>,
    Extension(Address(address)): Extension<Address>,
    tls: Option<Extension<Encrypted>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    // A form of another page can send anything but this, and must not sign anybody in as somebody of its choice.
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.starts_with("application/json") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let said: Login = read(&body)?;
    crate::audit::note(|details| details.object = Some(said.username.clone()));
    let caller = match app.identity.by_password(&said.username, &said.password, address).await {
        Ok(caller) => caller,
        Err(refused) => return Ok(refused.into_response()),
    };
    crate::audit::note(|details| {
        details.user = Some(caller.principal.name.clone());
        details.let_in = true;
    });
    // It is one of the requests of who this is, as if they had come through the gate.
    if let Some(Err(limited)) = app.rates.as_ref().map(|rates| rates.admit(&caller.principal.name)) {
        return Ok(*limited);
    }
    let author = Author::new(caller, None);
    let id = app.identity.begin_session(&author, cookie(&headers).map(digest)).await?;
    let age = app.identity.settings.session_max_ms;
    let caller = Caller { how: How::Session(digest(&id)), ..author.caller };
    let mut about = about(&app, &caller);
    about["csrfToken"] = json!(sessions::csrf_token(&id));
    about["expires"] = json!(format_timestamp(crate::node::now().saturating_add(age)));
    let mut response = Json(about).into_response();
    response.headers_mut().append(header::SET_COOKIE, session_cookie(&id, age, tls.is_some()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(caller);
    Ok(response)
}

async fn logout(State(app): State<Arc<App>>, author: Author) -> Answered {
    if let How::Session(name) = &author.caller.how {
        app.identity.end_session(name, &author).await?;
    }
    let mut response = Json(json!({})).into_response();
    response.headers_mut().append(header::SET_COOKIE, forget_cookie());
    Ok(response)
}

fn about(app: &App, caller: &Caller) -> Value {
    let who = &caller.principal;
    json!({
        "username": who.name,
        "roles": who.acting_roles(),
        "groups": who.groups,
        "attributes": who.attributes,
        "authenticated": caller.how != How::Anonymous,
        "how": match caller.how {
            How::Anonymous => "anonymous",
            How::Password(_) => "password",
            How::Token(_) => "token",
            How::Session(_) => "session",
            How::Jwt { .. } => "jwt",
            How::Process => "process",
        },
        "mayAdminister": app.may(caller, Kind::Security, "SECURITY", Action::Write),
        "permissions": permissions(app, who),
    })
}

/// What the roles that somebody acts by permit, those that these include too. A page shows no more than that; what is let in is
/// decided at each request.
fn permissions(app: &App, who: &Principal) -> Vec<Value> {
    let acting = Principal { roles: who.acting_roles(), scope: None, ..who.clone() };
    let names = app.rules().roles_of(&acting);
    let documents = app.identity.documents::<Role>();
    let of = documents.iter().filter(|document| names.contains(&document.name));
    let mut permitted: Vec<Value> = Vec::new();
    for permission in of.flat_map(|document| document.value["permissions"].as_array().into_iter().flatten()) {
        if !permitted.contains(permission) {
            permitted.push(permission.clone());
        }
    }
    permitted
}

async fn whoami(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Json<Value> {
    let mut about = about(&app, &caller);
    if let (How::Session(_), Some(id)) = (&caller.how, cookie(&headers)) {
        about["csrfToken"] = json!(sessions::csrf_token(id));
    }
    Json(about)
}

async fn profile(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answered {
    let document = app.identity.user(by(&caller))?;
    Ok(tagged(document.version, shown_user(&app, &document)))
}

async fn put_profile(State(app): State<Arc<App>>, author: Author, headers: HeaderMap, body: Bytes) -> Answered {
    in_person(&author.caller)?;
    let said: Profile = read(&body)?;
    let version = app.identity.put_profile(said, expected(&headers)?, &author).await?;
    Ok(tagged(version, json!({"username": author.name(), "version": version})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPassword {
    current: String,
    password: String,
}

async fn put_own_password(State(app): State<Arc<App>>, author: Author, body: Bytes) -> Answered {
    in_person(&author.caller)?;
    let said: OwnPassword = read(&body)?;
    let known = match app.identity.by_password(author.name(), &said.current, author.caller.address).await {
        Ok(known) => known,
        Err(refused) => return Ok(refused.into_response()),
    };
    // Who knows a password does not know the one that somebody sets meanwhile.
    let How::Password(version) = known.how else { return Ok(auth::Refused::Wrong.into_response()) };
    app.identity.set_password(author.name(), &said.password, Some(version), &author).await?;
    Ok(Json(json!({"username": author.name()})).into_response())
}

fn shown_user(app: &App, document: &Document) -> Value {
    let mut shown = json!({"username": document.name});
    if let (Some(shown), Some(fields)) = (shown.as_object_mut(), document.value.as_object()) {
        shown.extend(fields.clone());
    }
    shown["hasPassword"] = json!(app.identity.password_version(&document.name) > 0);
    with_version(shown, document)
}

fn with_version(mut shown: Value, document: &Document) -> Value {
    shown["version"] = json!(document.version);
    shown["changed"] = json!(format_timestamp(document.changed_at));
    shown["changedBy"] = json!(document.changed_by);
    shown
}

async fn list_users(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.identity.users().iter().map(|document| shown_user(&app, document)).collect())
}

async fn user(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let document = app.identity.user(&name)?;
    Ok(tagged(document.version, shown_user(&app, &document)))
}

/// The fields of a user; `password` is taken and never told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutUser {
    password: Option<String>,
    #[serde(default)]
    kind: UserKind,
    email: Option<String>,
    #[serde(default)]
    profile: Map<String, Value>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    roles: BTreeSet<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    attributes: std::collections::BTreeMap<String, Vec<String>>,
}

async fn put_user(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let said: PutUser = read(&body)?;
    let user = User {
        kind: said.kind,
        email: said.email,
        profile: said.profile,
        settings: said.settings,
        disabled: said.disabled,
        roles: said.roles,
        groups: said.groups,
        attributes: said.attributes,
    };
    let expected = expected(&headers)?;
    let version = app.identity.put_user(&name, user, said.password.as_deref(), expected, &author).await?;
    Ok(tagged(version, json!({"username": name, "version": version})))
}

async fn delete_user(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answered {
    app.identity.delete_user(&name, expected(&headers)?, &author).await?;
    Ok(Json(json!({"username": name})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
}

async fn put_password(State(app): State<Arc<App>>, author: Author, Path(name): Path<String>, body: Bytes) -> Answered {
    let said: NewPassword = read(&body)?;
    app.identity.set_password(&name, &said.password, None, &author).await?;
    Ok(Json(json!({"username": name})).into_response())
}

async fn end_sessions(State(app): State<Arc<App>>, author: Author, Path(name): Path<String>) -> Answered {
    app.identity.user(&name)?;
    let ended = app.identity.end_sessions(&name, &author).await?;
    Ok(Json(json!({"username": name, "ended": ended})).into_response())
}

/// `roles` missing or null: all that the user has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    #[serde(default)]
    label: String,
    roles: Option<BTreeSet<String>>,
    /// ISO 8601.
    expires: Option<String>,
}

/// `of` is what stands before its id where it is revoked, for the record.
async fn make_token(app: &App, user: &str, of: &str, body: &[u8], author: &Author) -> Answered {
    let said: NewToken = read(body)?;
    let at = |text: &String| {
        let parsed = text.parse::<jiff::Timestamp>().map(|at| at.as_millisecond());
        parsed.map_err(|_| Refusal::invalid("expires: must be an instant such as 2030-01-01T00:00:00Z"))
    };
    let expires = said.expires.as_ref().map(at).transpose()?;
    let (id, secret, token) = app.identity.create_token(user, said.label, said.roles, expires, author).await?;
    crate::audit::note(|details| details.object = Some(format!("{of}{id}")));
    let mut shown = token.shown(&id);
    shown["token"] = json!(secret);
    let mut response = Json(shown).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn shown_tokens(app: &App, user: &str) -> Response {
    Json(app.identity.tokens(user).iter().map(|(id, token)| token.shown(id)).collect::<Vec<_>>()).into_response()
}

async fn own_tokens(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Response {
    shown_tokens(&app, by(&caller))
}

async fn create_own_token(State(app): State<Arc<App>>, author: Author, body: Bytes) -> Answered {
    in_person(&author.caller)?;
    make_token(&app, author.name(), "", &body, &author).await
}

async fn revoke_own_token(State(app): State<Arc<App>>, author: Author, Path(id): Path<String>) -> Answered {
    // A token may end itself, and no other.
    if author.caller.how != How::Token(id.clone()) {
        in_person(&author.caller)?;
    }
    app.identity.revoke_token(author.name(), &id, &author).await?;
    Ok(Json(json!({"id": id})).into_response())
}

async fn tokens(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    app.identity.user(&name)?;
    Ok(shown_tokens(&app, &name))
}

async fn create_token(State(app): State<Arc<App>>, author: Author, Path(name): Path<String>, body: Bytes) -> Answered {
    make_token(&app, &name, &format!("{name}/tokens/"), &body, &author).await
}

async fn revoke_token(
    State(app): State<Arc<App>>,
    author: Author,
    Path((name, id)): Path<(String, String)>,
) -> Answered {
    app.identity.revoke_token(&name, &id, &author).await?;
    Ok(Json(json!({"username": name, "id": id})).into_response())
}

/// A role or a table rule, beside its name and version.
fn shown(document: &Document) -> Value {
    with_version(json!({"name": document.name, "document": document.value}), document)
}

async fn history(app: &App, kind: &str, name: &str, uri: &Uri) -> Answered {
    let count = Parameters::of(uri).number("count")?.unwrap_or(HISTORY_MAX);
    let all = app.identity.history(kind, name, count).await?;
    if all.is_empty() {
        return Err(Refusal::not_found(format!("there is no history of {name}")));
    }
    Ok(Json(all.iter().map(shown).collect::<Vec<_>>()).into_response())
}

async fn user_history(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    history(&app, USER, &name, &uri).await
}

async fn rule_history<R: Rule>(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Answered {
    history(&app, R::KIND, &name, &uri).await
}

async fn list_rules<R: Rule>(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.identity.documents::<R>().iter().map(|document| shown(document)).collect())
}

async fn rule<R: Rule>(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answered {
    let document = app.identity.document::<R>(&name)?;
    Ok(tagged(document.version, shown(&document)))
}

async fn put_rule<R: Rule>(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let rule = read::<R>(&body)?.checked(&app.sql, &author.caller.principal);
    let rule = rule.map_err(|error| Refusal::invalid(error.to_string()))?;
    let version = app.identity.put_document(&name, &rule, expected(&headers)?, &author).await?;
    Ok(tagged(version, json!({"name": name, "version": version})))
}

async fn delete_rule<R: Rule>(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answered {
    app.identity.delete_document::<R>(&name, expected(&headers)?, &author).await?;
    Ok(Json(json!({"name": name})).into_response())
}
