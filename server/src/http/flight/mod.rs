//! Arrow Flight SQL, on the port of everything else: what ADBC, the Flight SQL JDBC driver and Grafana's plugin speak.
//!
//! 1. A client asks what a statement or a part of the catalog would answer (`GetFlightInfo`): it gets the schema and a
//!    ticket. Nothing runs yet.
//! 2. It hands the ticket in (`DoGet`). A ticket of a statement is the body of a request to `/druid/v2/sql`, read and run
//!    afresh as if it had come there ([`statement`]): it opens nothing that its holder could not ask for.
//! 3. What is prepared is kept by a handle, bounded and for a while ([`handles`]); its parameters come in one row
//!    ([`parameters`]).
//!
//! [`catalog`] answers for catalogs, schemas and tables, [`about`] for what never changes. Rows come in by tasks alone:
//! updates are refused.

mod about;
mod catalog;
mod handles;
mod parameters;
mod statement;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, Criteria, Empty, FlightData, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc,
    SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use serde_json::{Map, Value};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

pub use handles::Handles;

use super::App;
use super::auth::Need;
use super::sql::{Request as Asked, described};
use crate::auth::commit::Author;
use crate::auth::{Caller, How, sessions};

/// Where gRPC finds the service.
pub const PATH: &str = "/arrow.flight.protocol.FlightService/{method}";

/// Whether a path is one of its calls.
pub fn is_call(path: &str) -> bool {
    PATH.strip_suffix("{method}").is_some_and(|service| path.starts_with(service))
}

/// Names and passwords, and tokens, come in the same headers as over HTTP.
pub const NEED: Need = Need::SignedIn;

/// The context of a statement, a JSON object, among the headers of a call.
const CONTEXT_HEADER: &str = "druid-context";

const CREATE_PREPARED: &str = "CreatePreparedStatement";
const CLOSE_PREPARED: &str = "ClosePreparedStatement";
const CANCEL_QUERY: &str = "CancelQuery";
const CANCEL_INFO: &str = "CancelFlightInfo";

/// What an answer to a cancellation says, in both of its messages.
const CANCELLING: i32 = 2;
const NOT_CANCELLABLE: i32 = 3;

type Rows = BoxStream<'static, Result<FlightData, Status>>;

pub struct Flight {
    app: Arc<App>,
}

pub fn service(app: Arc<App>) -> FlightServiceServer<Flight> {
    let most = app.config.query_body_max_bytes;
    FlightServiceServer::new(Flight { app }).max_decoding_message_size(most)
}

fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

fn broken(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

/// A command or ticket as sent. What cannot be read is the sender's fault.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|error| invalid(format!("the command cannot be read: {error}")))?;
    Command::try_from(any).map_err(|error| invalid(format!("the command cannot be read: {error}")))
}

/// The body of an action.
fn unpack<M: ProstMessageExt + Default>(action: &Action) -> Result<M, Status> {
    let unreadable = |why: String| invalid(format!("the body of {} cannot be read: {why}", action.r#type));
    let any = Any::decode(&*action.body).map_err(|error| unreadable(error.to_string()))?;
    let message = any.unpack().map_err(|error| unreadable(error.to_string()))?;
    message.ok_or_else(|| unreadable(format!("it is a {}", any.type_url)))
}

fn unsupported(command: &Command) -> Status {
    match command {
        Command::CommandStatementUpdate(_)
        | Command::CommandPreparedStatementUpdate(_)
        | Command::CommandStatementIngest(_) => Status::unimplemented(
            "statements only read here: rows come in by tasks and supervisors (POST /druid/indexer/v1/task)",
        ),
        Command::CommandStatementSubstraitPlan(_) => Status::unimplemented("send SQL: Substrait plans are not read"),
        Command::Unknown(any) => Status::unimplemented(format!("there is no command '{}'", any.type_url)),
        other => invalid(format!("{} is no command of this call", other.type_url())),
    }
}

fn info(schema: &SchemaRef, ticket: Ticket, descriptor: FlightDescriptor) -> Result<Response<FlightInfo>, Status> {
    let info = FlightInfo::new().try_with_schema(schema).map_err(broken)?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    let info = info.with_endpoint(endpoint).with_descriptor(descriptor);
    Ok(Response::new(info.with_total_records(-1).with_total_bytes(-1)))
}

/// Who sends a call, as the gate found out.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| broken("the call came by no gate"))
}

/// A schema as IPC, the way it stands in messages.
fn written(schema: &SchemaRef) -> Result<prost::bytes::Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let message: IpcMessage = SchemaAsIpc::new(schema, &options).try_into().map_err(broken)?;
    Ok(message.0)
}

impl Flight {
    fn owner(&self, caller: &Caller) -> String {
        self.app.identity.owner(caller).key()
    }

    fn ready(&self) -> Result<(), Status> {
        self.app.refuses_queries().map_or(Ok(()), |why| Err(Status::unavailable(why)))
    }

    /// A statement under the context that the headers of its call give.
    fn asked(text: String, headers: &MetadataMap) -> Result<Asked, Status> {
        let context = match headers.get(CONTEXT_HEADER) {
            None => Map::new(),
            Some(value) => match serde_json::from_slice(value.as_bytes()) {
                Ok(Value::Object(context)) => context,
                _ => return Err(invalid(format!("the header {CONTEXT_HEADER} must be a JSON object"))),
            },
        };
        Ok(statement::asked(text, context))
    }

    async fn schema(&self, caller: &Caller, asked: &Asked) -> Result<SchemaRef, Status> {
        let started = Instant::now();
        let statement = asked.statement(&asked.query_id());
        let schema = described(&statement, self.app.sql.schema(&statement, &caller.principal)).await;
        schema.map_err(|error| {
            crate::metrics::query("sql", true, started.elapsed());
            statement::status(&self.app, &error)
        })
    }

    /// The columns of what a command answers, and the ticket that gets it.
    async fn described(
        &self,
        caller: &Caller,
        command: Command,
        headers: &MetadataMap,
        said: &FlightDescriptor,
    ) -> Result<(SchemaRef, Ticket), Status> {
        let asked = match command {
            Command::CommandStatementQuery(query) => Self::asked(query.query, headers)?,
            Command::CommandPreparedStatementQuery(query) => {
                self.app.flight.get(&self.owner(caller), &query.prepared_statement_handle)?.asked
            }
            other => {
                let schema = about::schema(&other).ok_or_else(|| unsupported(&other))?;
                return Ok((schema, Ticket::new(said.cmd.clone())));
            }
        };
        Ok((self.schema(caller, &asked).await?, statement::ticket(&asked)))
    }

    async fn rows(&self, caller: &Caller, command: Command) -> Result<Rows, Status> {
        let asked = match command {
            Command::TicketStatementQuery(ticket) => statement::read(&ticket.statement_handle)?,
            Command::CommandPreparedStatementQuery(query) => {
                self.app.flight.get(&self.owner(caller), &query.prepared_statement_handle)?.asked
            }
            other => return Ok(statement::encoded_one(self.part(caller, other).await?)),
        };
        statement::rows(&self.app, caller, &asked).await
    }

    /// A part of the catalog, or of what is told of the server.
    async fn part(&self, caller: &Caller, command: Command) -> Result<RecordBatch, Status> {
        match command {
            Command::CommandGetCatalogs(what) => catalog::catalogs(&self.app, caller, what).await,
            Command::CommandGetDbSchemas(what) => catalog::schemas(&self.app, caller, what).await,
            Command::CommandGetTables(what) => catalog::tables(&self.app, caller, what).await,
            Command::CommandGetTableTypes(what) => catalog::table_types(&self.app, caller, what).await,
            other => about::answer(&other).ok_or_else(|| unsupported(&other))?.map_err(broken),
        }
    }

    async fn prepare(
        &self,
        caller: &Caller,
        sql: String,
        headers: &MetadataMap,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let asked = Self::asked(sql, headers)?;
        let statement = asked.statement(&asked.query_id());
        let described = described(&statement, self.app.sql.describe(&statement, &caller.principal)).await;
        let described = described.map_err(|error| statement::status(&self.app, &error))?;
        let parameters = parameters::schema(&described.parameters);
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.app.flight.keep(&self.owner(caller), asked)?,
            dataset_schema: written(&described.schema)?,
            parameter_schema: written(&parameters)?,
        })
    }

    /// Ends the statements that the tickets of an answer stand for; whether one of them runs.
    fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<i32, Status> {
        let mut any = false;
        for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()) {
            if let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? {
                let id = statement::read(&ticket.statement_handle)?.query_id();
                any |= self.app.sql.cancel(&id, self.app.may_end(caller));
            }
        }
        Ok(if any { CANCELLING } else { NOT_CANCELLABLE })
    }

    async fn act(&self, caller: &Caller, action: &Action, headers: &MetadataMap) -> Result<Option<Vec<u8>>, Status> {
        Ok(match action.r#type.as_str() {
            CREATE_PREPARED => {
                let what: ActionCreatePreparedStatementRequest = unpack(action)?;
                Some(self.prepare(caller, what.query, headers).await?.as_any().encode_to_vec())
            }
            // What is not there is closed.
            CLOSE_PREPARED => {
                let what: ActionClosePreparedStatementRequest = unpack(action)?;
                self.app.flight.close(&self.owner(caller), &what.prepared_statement_handle);
                None
            }
            CANCEL_QUERY => {
                let what: ActionCancelQueryRequest = unpack(action)?;
                let info = FlightInfo::decode(what.info);
                let info = info.map_err(|error| invalid(format!("info cannot be read: {error}")))?;
                Some(ActionCancelQueryResult { result: self.cancel(caller, &info)? }.as_any().encode_to_vec())
            }
            CANCEL_INFO => {
                let what = CancelFlightInfoRequest::decode(action.body.clone());
                let what = what.map_err(|error| invalid(format!("the body cannot be read: {error}")))?;
                let info = what.info.ok_or_else(|| invalid("info is missing; it tells what to cancel"))?;
                Some(CancelFlightInfoResult { status: self.cancel(caller, &info)? }.encode_to_vec())
            }
            other => {
                return Err(Status::unimplemented(format!(
                    "there is no action '{other}'; there are {CREATE_PREPARED}, {CLOSE_PREPARED}, {CANCEL_QUERY} and \
                     {CANCEL_INFO}, and no transactions, as statements only read"
                )));
            }
        })
    }

    async fn bind(
        &self,
        caller: &Caller,
        query: CommandPreparedStatementQuery,
        data: Vec<FlightData>,
    ) -> Result<PutResult, Status> {
        let handle = query.prepared_statement_handle;
        self.app.flight.bind(&self.owner(caller), &handle, parameters::read(&data)?)?;
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
        Ok(PutResult { app_metadata: result.encode_to_vec().into() })
    }
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = Rows;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = Rows;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    /// Clients that have a name and a password ask for a token first: it is that of a session. Whoever says no name gets
    /// none, and needs none.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let caller = caller(&request)?;
        let name = &caller.principal.name;
        let said = HandshakeResponse { protocol_version: 0, payload: name.clone().into() };
        let mut response = Response::new(stream::iter([Ok(said)]).boxed());
        if matches!(caller.how, How::Password(_)) {
            // A password that was looked at just now has an event already.
            crate::audit::note(|details| {
                details.object = Some(name.clone());
                details.signs_in = !caller.signs_in;
            });
            let id = self.app.identity.begin_session(&Author::new(caller.clone(), None), None).await;
            let id = id.map_err(|error| Status::unavailable(error.to_string()))?;
            let token = format!("Bearer {}{id}", sessions::BEARER_PREFIX);
            let mut token = MetadataValue::try_from(token).map_err(broken)?;
            token.set_sensitive(true);
            response.metadata_mut().insert("authorization", token);
        }
        Ok(response)
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("ask for tables by the command CommandGetTables"))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.ready()?;
        let said = request.get_ref();
        let (schema, ticket) =
            self.described(&caller(&request)?, command(&said.cmd)?, request.metadata(), said).await?;
        info(&schema, ticket, said.clone())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("statements are not polled for; use GetFlightInfo"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.ready()?;
        let said = request.get_ref();
        let (schema, _) = self.described(&caller(&request)?, command(&said.cmd)?, request.metadata(), said).await?;
        Ok(Response::new(SchemaResult { schema: written(&schema)? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Rows>, Status> {
        self.ready()?;
        Ok(Response::new(self.rows(&caller(&request)?, command(&request.get_ref().ticket)?).await?))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.ready()?;
        let caller = caller(&request)?;
        let mut sent = request.into_inner();
        let first = sent.message().await?.ok_or_else(|| invalid("the call is empty; it begins with a command"))?;
        let said = first.flight_descriptor.as_ref();
        let said = said.ok_or_else(|| invalid("flight_descriptor: is missing; the first message names the command"))?;
        match command(&said.cmd)? {
            Command::CommandPreparedStatementQuery(query) => {
                let data = parameters::gather(first, sent).await?;
                let bound = self.bind(&caller, query, data).await?;
                Ok(Response::new(stream::iter([Ok(bound)]).boxed()))
            }
            other => Err(unsupported(&other)),
        }
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Rows>, Status> {
        Err(Status::unimplemented("Flight SQL has no exchange; use DoGet"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.ready()?;
        let answer = self.act(&caller(&request)?, request.get_ref(), request.metadata()).await?;
        let answer = answer.map(|body| Ok(arrow_flight::Result::new(body)));
        Ok(Response::new(stream::iter(answer).boxed()))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = [
            (
                CREATE_PREPARED,
                "keeps a statement that is asked again; the body is ActionCreatePreparedStatementRequest",
            ),
            (CLOSE_PREPARED, "forgets it; the body is ActionClosePreparedStatementRequest"),
            (CANCEL_QUERY, "ends a statement that runs; the body is ActionCancelQueryRequest"),
            (CANCEL_INFO, "ends a statement that runs; the body is CancelFlightInfoRequest"),
        ];
        let actions = actions.map(|(name, what)| Ok(ActionType { r#type: name.into(), description: what.into() }));
        Ok(Response::new(stream::iter(actions).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::TicketStatementQuery;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Whatever bytes are sent, they are a command or refused.
    #[test]
    fn any_bytes_are_a_command_or_refused() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(17);
        let asked = statement::asked("SELECT 1".into(), Map::new());
        let good = statement::ticket(&asked).ticket.to_vec();
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = match round % 2 {
                0 => (0..random.next_u32() % 64).map(|_| random.next_u32() as u8).collect(),
                _ => good.clone(),
            };
            for _ in 0..random.next_u32() % 4 {
                let at = random.next_u32() as usize % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next_u32() as u8;
                }
            }
            bytes.truncate(random.next_u32() as usize % (bytes.len() + 1));
            match command(&bytes) {
                Err(refused) => assert_eq!(refused.code(), tonic::Code::InvalidArgument),
                Ok(Command::TicketStatementQuery(TicketStatementQuery { statement_handle })) => {
                    if let Err(refused) = statement::read(&statement_handle) {
                        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
                    }
                }
                Ok(_) => {}
            }
        }
    }
}
