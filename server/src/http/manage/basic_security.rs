//! Druid's basic-security paths over the users and roles of [`super::security`]. Names of authenticators and authorizers
//! are taken as they come: there is one of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use coordinator::Document;
use query::policy::{Permission, Role};
use serde_json::{Value, json};

use super::security::{READ, WRITE};
use super::{Parameters, json_body};
use crate::auth::commit::Author;
use crate::auth::users::User;
use crate::http::error::{Answered, Refusal};
use crate::http::routes::{delete, get, post};
use crate::http::{App, Route};

/// What all paths here begin with.
pub const ROOT: &str = "/druid-ext/basic-security";

pub fn routes() -> Vec<Route> {
    let path = |rest: &str| format!("{ROOT}{rest}");
    vec![
        get(path("/authentication/db/{authenticator}/users"), READ, names),
        get(path("/authentication/db/{authenticator}/users/{user}"), READ, user),
        post(path("/authentication/db/{authenticator}/users/{user}"), WRITE, create_user),
        delete(path("/authentication/db/{authenticator}/users/{user}"), WRITE, delete_user),
        post(path("/authentication/db/{authenticator}/users/{user}/credentials"), WRITE, set_password),
        get(path("/authorization/db/{authorizer}/users"), READ, names),
        get(path("/authorization/db/{authorizer}/users/{user}"), READ, user_with_roles),
        post(path("/authorization/db/{authorizer}/users/{user}"), WRITE, create_user),
        delete(path("/authorization/db/{authorizer}/users/{user}"), WRITE, delete_user),
        post(path("/authorization/db/{authorizer}/users/{user}/roles/{role}"), WRITE, give_role),
        delete(path("/authorization/db/{authorizer}/users/{user}/roles/{role}"), WRITE, take_role),
        get(path("/authorization/db/{authorizer}/roles"), READ, roles),
        get(path("/authorization/db/{authorizer}/roles/{role}"), READ, role),
        post(path("/authorization/db/{authorizer}/roles/{role}"), WRITE, create_role),
        delete(path("/authorization/db/{authorizer}/roles/{role}"), WRITE, delete_role),
        get(path("/authorization/db/{authorizer}/roles/{role}/permissions"), READ, permissions),
        post(path("/authorization/db/{authorizer}/roles/{role}/permissions"), WRITE, set_permissions),
    ]
}

type Named = Path<(String, String)>;

fn parse<T: serde::de::DeserializeOwned>(document: &Document) -> Answered<T> {
    serde_json::from_value(document.value.clone())
        .map_err(|_| Refusal::invalid(format!("the document of {} {} is not readable", document.kind, document.name)))
}

fn done() -> Answered {
    Ok(Json(json!({})).into_response())
}

async fn names(State(app): State<Arc<App>>) -> Response {
    Json(app.identity.users().iter().map(|user| user.name.clone()).collect::<Vec<_>>()).into_response()
}

async fn user(State(app): State<Arc<App>>, Path((_, name)): Named) -> Answered {
    app.identity.user(&name)?;
    Ok(Json(json!({"name": name})).into_response())
}

async fn user_with_roles(State(app): State<Arc<App>>, Path((_, name)): Named, uri: Uri) -> Answered {
    let user: User = parse(&*app.identity.user(&name)?)?;
    if !Parameters::of(&uri).has("full") {
        return Ok(Json(json!({"name": name, "roles": user.roles})).into_response());
    }
    let simple = Parameters::of(&uri).has("simplifyPermissions");
    let mut roles = Vec::new();
    for role in &user.roles {
        roles.push(shown_role(&app, role, simple)?);
    }
    Ok(Json(json!({"name": name, "roles": roles})).into_response())
}

async fn create_user(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named) -> Answered {
    // Druid keeps two lists of users, and clients make one in each.
    if app.identity.user(&name).is_err() {
        app.identity.put_user(&name, User::default(), None, Some(0), &author).await?;
    }
    done()
}

async fn delete_user(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named) -> Answered {
    app.identity.delete_user(&name, None, &author).await?;
    done()
}

async fn set_password(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named, body: Bytes) -> Answered {
    let body: Value = serde_json::from_slice(&body).map_err(|_| Refusal::invalid("the body is not JSON"))?;
    let password = body["password"].as_str().ok_or_else(|| Refusal::invalid("password: must be a string"))?;
    app.identity.set_password(&name, password, None, &author).await?;
    done()
}

async fn change_roles(app: &App, author: &Author, name: &str, change: impl FnOnce(&mut BTreeSet<String>)) -> Answered {
    let document = app.identity.user(name)?;
    let mut user: User = parse(&document)?;
    change(&mut user.roles);
    app.identity.put_user(name, user, None, Some(document.version), author).await?;
    done()
}

async fn give_role(
    State(app): State<Arc<App>>,
    author: Author,
    Path((_, name, role)): Path<(String, String, String)>,
) -> Answered {
    change_roles(&app, &author, &name, |roles| {
        roles.insert(role);
    })
    .await
}

async fn take_role(
    State(app): State<Arc<App>>,
    author: Author,
    Path((_, name, role)): Path<(String, String, String)>,
) -> Answered {
    change_roles(&app, &author, &name, |roles| {
        roles.remove(&role);
    })
    .await
}

async fn roles(State(app): State<Arc<App>>) -> Response {
    let mut names: BTreeSet<String> = app.identity.documents::<Role>().iter().map(|role| role.name.clone()).collect();
    names.insert(query::policy::ADMIN.to_string());
    Json(names).into_response()
}

/// Permissions as Druid shows them: with the pattern that it made of the name, unless asked for the plain form.
fn shown_permissions(role: &Role, simple: bool) -> Value {
    let shown = role.permissions.iter().map(|permission| {
        let plain = json!(permission);
        match simple {
            true => plain,
            false => json!({"resourceAction": plain, "resourceNamePattern": permission.resource.name}),
        }
    });
    shown.collect()
}

fn shown_role(app: &App, name: &str, simple: bool) -> Answered<Value> {
    if name == query::policy::ADMIN {
        return Ok(json!({"name": name, "permissions": []}));
    }
    let role: Role = parse(&*app.identity.document::<Role>(name)?)?;
    Ok(json!({"name": name, "permissions": shown_permissions(&role, simple)}))
}

async fn role(State(app): State<Arc<App>>, Path((_, name)): Named, uri: Uri) -> Answered {
    let parameters = Parameters::of(&uri);
    let mut shown = shown_role(&app, &name, parameters.has("simplifyPermissions"))?;
    if parameters.has("full") {
        let users = app.identity.users();
        let has = |user: &&Arc<Document>| user.value["roles"].as_array().is_some_and(|all| all.contains(&json!(name)));
        shown["users"] = users.iter().filter(has).map(|user| json!(user.name)).collect();
    }
    Ok(Json(shown).into_response())
}

async fn create_role(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named) -> Answered {
    app.identity.put_document(&name, &Role::default(), Some(0), &author).await?;
    done()
}

async fn delete_role(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named) -> Answered {
    app.identity.delete_document::<Role>(&name, None, &author).await?;
    done()
}

async fn permissions(State(app): State<Arc<App>>, Path((_, name)): Named, uri: Uri) -> Answered {
    let role: Role = parse(&*app.identity.document::<Role>(&name)?)?;
    Ok(Json(shown_permissions(&role, Parameters::of(&uri).has("simplifyPermissions"))).into_response())
}

/// In place of those it had; policies and column rules stay.
async fn set_permissions(State(app): State<Arc<App>>, author: Author, Path((_, name)): Named, body: Bytes) -> Answered {
    let permissions: Vec<Permission> = serde_json::from_value(json_body(&body)?)
        .map_err(|error| Refusal::invalid(format!("the body must be an array of permissions: {error}")))?;
    let document = app.identity.document::<Role>(&name)?;
    let role = Role { permissions, ..parse(&document)? };
    app.identity.put_document(&name, &role, Some(document.version), &author).await?;
    done()
}
