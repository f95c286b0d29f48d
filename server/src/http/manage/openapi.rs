//! The OpenAPI document of every path that is served: what a person wrote of each, in parts by noun beside this file, and what the
//! table of routes knows better: what a path needs, its parameters, and the refusals that follow from both.

use std::sync::{Arc, LazyLock};

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use query::policy::{Action, Kind};
use serde_json::{Map, Value, json};

use crate::http::Route;
use crate::http::auth::{Need, Of};
use crate::http::routes::{get, routes as all_routes};

/// Name and text of each part: paths, and the components that they refer to.
const PARTS: &[(&str, &str)] = &[
    ("base", include_str!("openapi/base.json")),
    ("alerts", include_str!("openapi/alerts.json")),
    ("basic_security", include_str!("openapi/basic_security.json")),
    ("datasources", include_str!("openapi/datasources.json")),
    ("lookups", include_str!("openapi/lookups.json")),
    ("node", include_str!("openapi/node.json")),
    ("pages_and_nodes", include_str!("openapi/pages_and_nodes.json")),
    ("queries", include_str!("openapi/queries.json")),
    ("saved", include_str!("openapi/saved.json")),
    ("security", include_str!("openapi/security.json")),
    ("supervisors", include_str!("openapi/supervisors.json")),
    ("tasks", include_str!("openapi/tasks.json")),
];

pub fn routes() -> Vec<Route> {
    vec![get("/henge/v1/openapi.json", Need::SignedIn, answer)]
}

async fn answer() -> Response {
    static TEXT: LazyLock<Arc<str>> = LazyLock::new(|| document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.to_string()).into_response()
}

/// What is written, put together: each path and component is of one part.
pub fn written() -> Result<Value, String> {
    let mut whole = Map::new();
    for (part, text) in PARTS {
        let read: Value = serde_json::from_str(text).map_err(|error| format!("{part}: {error}"))?;
        merge(&mut whole, read.as_object().cloned().unwrap_or_default(), 0)
            .map_err(|twice| format!("{part}: {twice}"))?;
    }
    Ok(Value::Object(whole))
}

/// Down to methods of a path, and names of components.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, depth: usize) -> Result<(), String> {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (None, value) => drop(into.insert(name, value)),
            (Some(Value::Object(into)), Value::Object(from)) if depth < 2 => merge(into, from, depth + 1)?,
            _ => return Err(format!("{name} is there already")),
        }
    }
    Ok(())
}

/// The whole document, as it is served.
pub fn document() -> Value {
    let mut whole = written().expect("the parts are compiled in, and a test reads them");
    for (method, path, need) in all_routes() {
        let operation = &mut whole["paths"][described(&path)][method.as_str().to_lowercase()];
        if operation.is_object() {
            complete(operation, &method, &path, need);
        }
    }
    whole
}

/// A path as the document has it: one that takes the rest of a path has no mark for that.
pub fn described(path: &str) -> String {
    path.replace("{*", "{")
}

fn complete(operation: &mut Value, method: &Method, path: &str, need: Need) {
    operation["x-henge-needs"] = json!(told(need));
    let about = operation["description"].as_str().map(|text| format!("{text} ")).unwrap_or_default();
    operation["description"] = json!(format!("{about}Needs {}.", told(need)));
    if need == Need::Open {
        operation["security"] = json!([]);
    }
    let mut parameters: Vec<Value> = named(path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let own = operation["parameters"].as_array().cloned().unwrap_or_default();
    parameters.retain(|of_path| !own.iter().any(|own| own["name"] == of_path["name"]));
    parameters.extend(own);
    match parameters.is_empty() {
        true => drop(operation.as_object_mut().map(|operation| operation.remove("parameters"))),
        false => operation["parameters"] = json!(parameters),
    }
    let refusals = [
        ("400", "Invalid", need != Need::Open || *method != Method::GET),
        ("401", "Unauthenticated", need != Need::Open),
        ("403", "Denied", !matches!(need, Need::Open | Need::Node)),
        ("404", "NotFound", path.contains('{')),
    ];
    for (status, response, _) in refusals.into_iter().filter(|(.., may_be)| *may_be) {
        if operation["responses"][status].is_null() {
            operation["responses"][status] = json!({"$ref": format!("#/components/responses/{response}")});
        }
    }
}

fn named(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| name.trim_start_matches('*'))
}

/// What a need is, after "Needs".
fn told(need: Need) -> String {
    let of = |of: Of| match of {
        Of::Name(name) => name.to_string(),
        Of::Path(parameter) => format!("{{{parameter}}}"),
        Of::Supervisor(parameter) => format!("the datasource of the supervisor {{{parameter}}}"),
        Of::Task(parameter) => format!("the datasource of the task {{{parameter}}}"),
    };
    let action = |action: Action| match action {
        Action::Read => "READ",
        Action::Write => "WRITE",
    };
    let word = |kind: Kind| json!(kind).as_str().unwrap_or_default().to_string();
    match need {
        Need::Open => "nothing".into(),
        Need::Node => "the secret of the cluster: it is for its nodes alone".into(),
        Need::SignedIn => "to be signed in; what is answered or done is what the caller may see and do".into(),
        Need::Connection => {
            "to be signed in, or a JDBC connection that a name and a password opened; what is answered is what the caller may \
             see"
            .into()
        }
        Need::May(kind, what, does) => match what {
            Of::Name(name) if kind != Kind::Datasource => format!("the permission {name} {}", action(does)),
            _ => format!("the permission {} {} on {}", word(kind), action(does), of(what)),
        },
        Need::Whole(what, does) => {
            let does = action(does);
            format!("the permission DATASOURCE {does} on {}, of a caller who sees every row and column of it", of(what))
        }
        Need::Retention(what) => format!(
            "the permission DATASOURCE WRITE on {}, of a caller who sees every row and column of it; for _default CONFIG WRITE, and \
             that on every datasource",
            of(what)
        ),
    }
}
