//! JDBC: Apache Calcite Avatica's remote protocol at Druid's two paths, in JSON and in protobuf. [`answer`] conducts;
//! [`message`] is what is said, [`connection`] what is remembered between requests.

mod connection;
mod json;
pub mod message;
pub mod metadata;
pub mod proto;
mod protobuf;

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use query::Terms;
use query_sql::{Parameter, Statement};
use serde_json::{Map, Value, json};

pub use connection::Connections;
use connection::{Connection, Prepared, Results, Scope};
use message::{Fetched, Frame, Metadata, Refused, Request, Response, ResultSet, Signature};

use super::App;
use super::auth::{Address, Asker as AskerOf, Door};
use crate::auth::throttle::key;
use crate::auth::{self, Caller, How};
use crate::node::now;

/// How requests and responses are written.
struct Encoding {
    content: &'static str,
    read: fn(&[u8]) -> Result<Request, Refused>,
    write: fn(&Response, &str) -> Vec<u8>,
    write_error: fn(&Refused, &str) -> Vec<u8>,
}

const JSON: Encoding = Encoding {
    content: "application/json;charset=utf-8",
    read: json::read,
    write: json::write,
    write_error: json::write_error,
};

const PROTOBUF: Encoding = Encoding {
    content: "application/octet-stream;charset=utf-8",
    read: protobuf::read,
    write: protobuf::write,
    write_error: protobuf::write_error,
};

/// What a handler is given of a request. It has a door if it has to find out itself who asks.
type Said = (State<Arc<App>>, AskerOf, Option<Extension<Door>>, Extension<Address>, Method, HeaderMap, Bytes);

pub async fn json(said: Said) -> HttpResponse {
    serve(said, &JSON).await
}

pub async fn protobuf(said: Said) -> HttpResponse {
    serve(said, &PROTOBUF).await
}

async fn serve(
    (State(app), AskerOf(caller), door, Extension(Address(address)), method, headers, body): Said,
    encoding: &'static Encoding,
) -> HttpResponse {
    // Drivers before 1.8 say it in a header.
    let said = headers.get("request").filter(|_| body.is_empty()).map(|value| value.as_bytes());
    let request = (encoding.read)(said.unwrap_or(&body));
    let asker = match asker(&app, caller, address, request.as_ref().ok()).await {
        Ok(asker) => asker,
        Err(refused) => {
            // Nobody got to the door, where requests are counted.
            let counted = app.rates.as_ref().map_or(Ok(()), |rates| rates.admit_from(address));
            return counted.map_or_else(|limited| *limited, |()| refused.into_response());
        }
    };
    match door {
        None => respond(&app, &asker, method, request, encoding).await,
        Some(Extension(door)) => {
            let caller = asker.caller.clone();
            door.let_in(caller, |_, _| respond(&app, &asker, method, request, encoding)).await
        }
    }
}

async fn respond(
    app: &App,
    asker: &Asker,
    method: Method,
    request: Result<Request, Refused>,
    encoding: &Encoding,
) -> HttpResponse {
    if method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, "This server expects only POST calls.").into_response();
    }
    let outcome = match request {
        Ok(request) => answer(app, asker, request).await,
        Err(refused) => Err(refused),
    };
    let (status, bytes) = match outcome {
        Ok(response) => (StatusCode::OK, (encoding.write)(&response, &app.address)),
        Err(refused) => (StatusCode::INTERNAL_SERVER_ERROR, (encoding.write_error)(&refused, &app.address)),
    };
    (status, [(header::CONTENT_TYPE, encoding.content)], bytes).into_response()
}

/// Who asks, and under whose name the connections are that the request can mean.
struct Asker {
    caller: Caller,
    scope: Scope,
}

/// Drivers that have a name and a password of their own, and do not send them with every request, say them when they open
/// a connection: from then on whoever knows the connection's id is its owner, until the password changes.
async fn asker(
    app: &App,
    caller: Option<Caller>,
    address: IpAddr,
    request: Option<&Request>,
) -> Result<Asker, auth::Refused> {
    let by_headers = |caller: Caller| Asker { scope: Scope::Of(app.identity.owner(&caller).key()), caller };
    if let Some(caller) = caller.clone().filter(|caller| caller.how != How::Anonymous) {
        return Ok(by_headers(caller));
    }
    if let Some(Request::OpenConnection { info, .. }) = request
        && let Some(name) = said(info, "user").filter(|name| !name.is_empty())
        && !(caller.is_some() && app.identity.is_anybody(name))
    {
        crate::audit::note(|details| {
            details.object = Some(key(name));
            details.signs_in = true;
        });
        let caller = app.identity.by_password(name, said(info, "password").unwrap_or_default(), address).await?;
        // Then the sign-in has an event already.
        crate::audit::note(|details| details.signs_in = !caller.signs_in);
        let How::Password(password_version) = caller.how else { return Err(auth::Refused::Wrong) };
        return Ok(Asker { caller, scope: Scope::Opened { password_version } });
    }
    let connection = request.and_then(Request::connection);
    if let Some((owner, password_version)) = connection.and_then(|id| app.jdbc.opened_by(id)) {
        let principal = app.identity.principal(&owner);
        let principal = principal.filter(|_| app.identity.password_version(&owner) == password_version);
        let principal = principal.ok_or(auth::Refused::Wrong)?;
        let caller = Caller { principal, address, how: How::Password(password_version), signs_in: false };
        return Ok(Asker { caller, scope: Scope::Opened { password_version } });
    }
    caller.map(by_headers).ok_or(auth::Refused::Missing)
}

/// Closes what is idle, for as long as there is somebody to ask.
pub async fn expire(connections: Weak<Connections>, every: std::time::Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(connections) = connections.upgrade() else { return };
        connections.close_idle();
    }
}

async fn answer(app: &App, asker: &Asker, request: Request) -> Result<Response, Refused> {
    let (connections, caller, scope) = (&app.jdbc, &asker.caller, &asker.scope);
    Ok(match request {
        Request::OpenConnection { connection, info } => {
            connections.open(scope, &caller.principal.name, &connection, json::context(&info))?;
            Response::OpenConnection
        }
        Request::CloseConnection { connection } => {
            connections.close(scope, &connection);
            Response::CloseConnection
        }
        Request::ConnectionSync { connection, props } => {
            Response::ConnectionSync(connections.get(scope, &connection)?.sync(props))
        }
        Request::DatabaseProperties { .. } => Response::DatabaseProperties,
        Request::CreateStatement { connection } => {
            let (statement, _) = connections.statement(&*connections.get(scope, &connection)?)?;
            Response::CreateStatement { connection, statement }
        }
        // What is not there is closed.
        Request::CloseStatement { connection, statement } => {
            if let Ok(connection) = connections.get(scope, &connection) {
                connection.close_statement(statement);
            }
            Response::CloseStatement
        }
        Request::Prepare { connection: id, sql, rows_max } => {
            let connection = connections.get(scope, &id)?;
            let asked = ask(&connection, &sql, Vec::new());
            let described = super::sql::described(&asked, app.sql.describe(&asked, &caller.principal)).await?;
            let (statement, made) = connections.statement(&connection)?;
            let parameters = described.parameters;
            *made.prepared.lock() = Some(Prepared { sql: sql.clone(), parameters: parameters.clone(), rows_max });
            let signature = Signature { columns: described.columns, sql, parameters };
            Response::Prepare { connection: id, statement, signature }
        }
        Request::PrepareAndExecute { connection: id, statement, sql, rows_max, frame } => {
            let connection = connections.get(scope, &id)?;
            let prepared = Prepared { sql, parameters: Vec::new(), rows_max };
            run(app, caller, &connection, id, statement, &prepared, Vec::new(), frame).await?
        }
        Request::Execute { connection: id, statement, parameters, frame } => {
            let connection = connections.get(scope, &id)?;
            let Some(held) = connection.statement(statement) else { return Ok(Response::Execute(None)) };
            let prepared = held.prepared.lock().clone();
            let prepared = prepared.ok_or_else(|| Refused::new(format!("statement {statement} is not prepared")))?;
            run(app, caller, &connection, id, statement, &prepared, parameters, frame).await?
        }
        Request::Fetch { connection, statement, offset, frame } => {
            let sees = |terms: &Terms| app.identity.authorizer().still_sees(&caller.principal, terms);
            match connections.get(scope, &connection)?.statement(statement) {
                None => Response::Fetch(Fetched::MissingStatement),
                Some(statement) => match statement.fetch(offset, frame, sees).await? {
                    None => Response::Fetch(Fetched::MissingResults),
                    Some(frame) => Response::Fetch(Fetched::Frame(frame)),
                },
            }
        }
        // A result that was lost cannot be taken up again.
        Request::SyncResults { connection, statement } => {
            let missing_statement = connections.get(scope, &connection)?.statement(statement).is_none();
            Response::SyncResults { missing_statement }
        }
        Request::Commit { .. } => Response::Commit,
        Request::Rollback { .. } => Response::Rollback,
        Request::Metadata { connection: id, what } => {
            let connection = connections.get(scope, &id)?;
            Response::ResultSet(catalog(app, caller, &connection, id, &what).await?)
        }
        Request::Unsupported { name } => {
            return Err(Refused::new(match name.contains("Batch") {
                true => "Batch statements not supported".to_string(),
                false => format!("request: {name} is not supported"),
            }));
        }
    })
}

fn said<'a>(info: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    info.get(name).and_then(Value::as_str)
}

/// A statement under the context of its connection. Arrays travel as arrays.
fn ask(connection: &Connection, sql: &str, parameters: Vec<Parameter>) -> Statement {
    let mut context: Map<String, Value> = connection.context.clone();
    context.insert("sqlStringifyArrays".into(), json!(false));
    context.insert("sqlQueryId".into(), json!(uuid::Uuid::new_v4().to_string()));
    Statement { text: sql.to_string(), parameters, context, now: now() }
}

async fn run(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    id: String,
    statement: u32,
    prepared: &Prepared,
    parameters: Vec<Parameter>,
    frame: i64,
) -> Result<Response, Refused> {
    let Some(held) = connection.statement(statement) else { return Ok(Response::Execute(None)) };
    // A statement that is run again gives up the rows of its last run, and what they occupy.
    held.end().await;
    let asked = ask(connection, &prepared.sql, parameters);
    let (columns, first, results) = begin(app, caller, &asked, prepared.rows_max, frame).await?;
    held.keep(results).await;
    let signature = Signature { columns, sql: prepared.sql.clone(), parameters: prepared.parameters.clone() };
    Ok(Response::Execute(Some(ResultSet { connection: id, statement, signature, first })))
}

/// Runs a statement up to its first frame.
async fn begin(
    app: &App,
    caller: &Caller,
    asked: &Statement,
    rows_max: Option<u64>,
    frame: i64,
) -> query_sql::Result<(Vec<query_sql::SqlColumn>, Frame, Results)> {
    let query_id = asked.context.get("sqlQueryId").and_then(Value::as_str).unwrap_or_default();
    super::sql::measured(app, query_id, || async {
        let answer = super::sql::run(app, asked, &caller.principal).await?;
        let columns = answer.columns.clone();
        let mut results = Results::new(answer, rows_max);
        let first = results.frame(frame, None).await?;
        Ok((columns, first, results))
    })
    .await
}

/// Drivers expect the whole of it in one frame.
async fn catalog(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    id: String,
    what: &Metadata,
) -> Result<ResultSet, Refused> {
    let (mut signature, mut first) = (Signature::default(), Frame { offset: 0, done: true, rows: Vec::new() });
    if let Some(sql) = metadata::sql(what) {
        let (columns, frame, mut results) = begin(app, caller, &ask(connection, &sql, Vec::new()), None, -1).await?;
        first = frame;
        while !first.done {
            let next = results.frame(-1, None).await?;
            first.done = next.done;
            first.rows.extend(next.rows);
        }
        signature = Signature { columns, sql, parameters: Vec::new() };
    }
    Ok(ResultSet { connection: id, statement: connection.number(), signature, first })
}
