//! What a user sees of a datasource, by the rules in force or by a role that is not posted yet: the effective filter, what is
//! done to columns, and how many rows are left. Nothing is changed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use futures::StreamExt;
use query::policy::{Restriction, Role, Rules};
use query::{Authorizer, Broker, Budget, Principal};
use segment::block::Value as Cell;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::security::read;
use crate::auth::{Caller, roles};
use crate::http::App;
use crate::http::error::{Answered, Refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    user: String,
    datasource: String,
    /// A role as it would be.
    #[serde(default)]
    draft: Option<Draft>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    role: Role,
}

/// `POST /henge/v1/security/explain`.
pub async fn explain(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let asked: Question = read(&body)?;
    let mut who = match app.identity.principal(&asked.user) {
        Some(principal) => (*principal).clone(),
        None => return Err(Refusal::invalid(format!("user: there is no user [{}] who may sign in", asked.user))),
    };
    let rules = match asked.draft {
        None => app.broker.authorizer().current(),
        Some(draft) => {
            let role = app.sql.checked(draft.role, "draft.role", &caller.principal);
            let role = role.map_err(|error| Refusal::invalid(error.to_string()))?;
            // Whoever tries a role that nobody has yet tries it on the user.
            who.roles.insert(draft.name.clone());
            Arc::new(roles::with_role(&app.coordinator, &draft.name, &role)?)
        }
    };
    let named = app.broker.columns_for_rules(&asked.datasource, &caller.principal).unwrap_or_default();
    let mut answer = json!({
        "user": asked.user,
        "roles": rules.roles_of(&who),
        "datasource": asked.datasource,
        "rulesVersion": rules.version(),
    });
    let restriction = match rules.restriction(&who, &asked.datasource) {
        Ok(restriction) => restriction,
        Err(error) => {
            answer["access"] = "denied".into();
            answer["reason"] = error.to_string().into();
            return Ok(Json(answer).into_response());
        }
    };
    match &restriction {
        Restriction::Unrestricted => answer["access"] = "unrestricted".into(),
        Restriction::Restricted(restricted) => {
            answer["access"] = "restricted".into();
            answer["filter"] = restricted.filter_json.clone().unwrap_or(Value::Null);
            let ruled = named.iter().filter_map(|(name, ..)| Some((name, restricted.treatment(name)?)));
            answer["columns"] = ruled.map(|(name, rule)| json!({"column": name, "rule": rule})).collect();
        }
    }
    // How many rows there are is told to those who see them all.
    let sees_all = app.broker.authorizer().restriction(&caller.principal, &asked.datasource);
    // They are not here where other nodes have them, and those go by the rules in force.
    if matches!(sees_all, Ok(Restriction::Unrestricted)) && app.config.cluster.split.is_none() {
        answer["rows"] = count(&app, rules, &who, &asked.datasource).await?.into();
    }
    Ok(Json(answer).into_response())
}

/// The rows that a principal sees of a datasource under rules that may not be in force.
async fn count(app: &App, rules: Arc<Rules>, who: &Principal, datasource: &str) -> Answered<i64> {
    let settings = query::Settings { threads: 1, ..app.broker.settings().clone() };
    let broker = Broker::new(app.inventory.clone(), settings, Authorizer::of(rules));
    let query = json!({"queryType": "timeseries", "dataSource": datasource, "granularity": "all",
        "intervals": [segment::Interval::ETERNITY.to_string()], "aggregations": [{"type": "count", "name": "rows"}]});
    let failed = |error: query::Error| Refusal::of_kind(error.kind(), error.to_string());
    let query = broker.parse(&query, who).map_err(failed)?;
    let budget = Budget::from_context(&Map::new(), broker.settings()).map_err(failed)?;
    let mut answer = broker.answer(query, who, budget).await.map_err(failed)?;
    let mut rows = 0;
    while let Some(batch) = answer.batches.next().await {
        let table = batch.map_err(failed)?.table;
        if let (Some(block), true) = (table.column("rows"), table.rows > 0)
            && let Cell::Long(count) = block.value(0)
        {
            rows = count;
        }
    }
    Ok(rows)
}
