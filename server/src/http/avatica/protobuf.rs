//! Avatica's protobuf encoding: a `WireMessage` that names what it wraps. [`super::proto`] declares the messages.

use prost::Message;
use query_sql::rows::Cell;
use query_sql::{Parameter, SqlColumn};
use serde_json::{Map, Value, json};

use super::json::{class, nullable};
use super::message::{
    self, Fetched, Frame, Metadata, Props, Refused, Request, Response, ResultSet, Signature, element_type, jdbc_type,
    parameter_type, rep,
};
use super::proto::{Wire, answered, asked, wire};

const PACKAGE: &str = "org.apache.calcite.avatica.proto";

/// Numbers of `Rep`, by name.
const REPS: [(&str, i32); 30] = [
    ("PRIMITIVE_BOOLEAN", 0),
    ("PRIMITIVE_BYTE", 1),
    ("PRIMITIVE_CHAR", 2),
    ("PRIMITIVE_SHORT", 3),
    ("PRIMITIVE_INT", 4),
    ("PRIMITIVE_LONG", 5),
    ("PRIMITIVE_FLOAT", 6),
    ("PRIMITIVE_DOUBLE", 7),
    ("BOOLEAN", 8),
    ("BYTE", 9),
    ("CHARACTER", 10),
    ("SHORT", 11),
    ("INTEGER", 12),
    ("LONG", 13),
    ("FLOAT", 14),
    ("DOUBLE", 15),
    ("JAVA_SQL_TIME", 16),
    ("JAVA_SQL_TIMESTAMP", 17),
    ("JAVA_SQL_DATE", 18),
    ("JAVA_UTIL_DATE", 19),
    ("BYTE_STRING", 20),
    ("STRING", 21),
    ("NUMBER", 22),
    ("OBJECT", 23),
    ("NULL", 24),
    ("BIG_INTEGER", 25),
    ("BIG_DECIMAL", 26),
    ("ARRAY", 27),
    ("STRUCT", 28),
    ("MULTISET", 29),
];

fn rep_number(name: &str) -> i32 {
    REPS.iter().find(|(rep, _)| *rep == name).map_or(0, |(_, number)| *number)
}

/// `CursorFactory.Style.LIST`.
const LIST: i32 = 4;

/// JDBC's numbers are signed and travel unsigned.
fn unsigned(number: i32) -> u32 {
    number as u32
}

pub fn read(body: &[u8]) -> Result<Request, Refused> {
    let wire =
        Wire::decode(body).map_err(|error| Refused::new(format!("the request is not a WireMessage: {error}")))?;
    let name = wire.name.rsplit(['$', '.']).next().unwrap_or_default().to_string();
    let bytes = wire.wrapped.as_slice();
    // An empty text is no text: not every client says which fields it set.
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let connection = || decode::<asked::Connection>(&name, bytes).map(|request| request.connection_id);
    Ok(match name.as_str() {
        "OpenConnectionRequest" => {
            let request: asked::Connection = decode(&name, bytes)?;
            let info: Map<String, Value> = request.info.into_iter().map(|(key, value)| (key, json!(value))).collect();
            Request::OpenConnection { connection: request.connection_id, info }
        }
        "CloseConnectionRequest" => Request::CloseConnection { connection: connection()? },
        "ConnectionSyncRequest" => {
            let request: asked::Sync = decode(&name, bytes)?;
            let props = request.props.unwrap_or_default();
            let props = Props {
                auto_commit: props.has_auto_commit.then_some(props.auto_commit),
                read_only: props.has_read_only.then_some(props.read_only),
                transaction_isolation: Some(props.transaction_isolation),
                catalog: some(props.catalog),
                schema: some(props.schema),
            };
            Request::ConnectionSync { connection: request.connection_id, props }
        }
        "DatabasePropertyRequest" => Request::DatabaseProperties { connection: connection()? },
        "CreateStatementRequest" => Request::CreateStatement { connection: connection()? },
        "CloseStatementRequest" => {
            let request: asked::Statement = decode(&name, bytes)?;
            Request::CloseStatement { connection: request.connection_id, statement: request.statement_id }
        }
        "PrepareAndExecuteRequest" => {
            let request: asked::PrepareAndExecute = decode(&name, bytes)?;
            let older = i64::try_from(request.max_row_count).unwrap_or(i64::MAX);
            let said = if request.max_rows_total == 0 { older } else { request.max_rows_total };
            Request::PrepareAndExecute {
                connection: request.connection_id,
                statement: request.statement_id,
                sql: request.sql,
                rows_max: message::rows_max(said),
                frame: frame_size(request.first_frame_max_size),
            }
        }
        "PrepareRequest" => {
            let request: asked::Prepare = decode(&name, bytes)?;
            let rows_max = message::rows_max(request.max_rows_total);
            Request::Prepare { connection: request.connection_id, sql: request.sql, rows_max }
        }
        "ExecuteRequest" => {
            let request: asked::Execute = decode(&name, bytes)?;
            let handle = request.handle.ok_or_else(|| Refused::new("statementHandle: is missing"))?;
            let parameters = request.values.iter().enumerate().map(|(idx, value)| parameter(idx, value));
            Request::Execute {
                connection: handle.connection_id,
                statement: handle.id,
                parameters: parameters.collect::<Result<_, _>>()?,
                frame: frame_size(request.first_frame_max_size),
            }
        }
        "FetchRequest" => {
            let request: asked::Fetch = decode(&name, bytes)?;
            let older = i32::try_from(request.fetch_max_row_count).unwrap_or(i32::MAX);
            let asked = if request.frame_max_size == 0 { older } else { request.frame_max_size };
            Request::Fetch {
                connection: request.connection_id,
                statement: request.statement_id,
                offset: request.offset,
                frame: frame_size(asked),
            }
        }
        "SyncResultsRequest" => {
            let request: asked::Statement = decode(&name, bytes)?;
            Request::SyncResults { connection: request.connection_id, statement: request.statement_id }
        }
        "CommitRequest" => Request::Commit { connection: connection()? },
        "RollbackRequest" => Request::Rollback { connection: connection()? },
        "CatalogsRequest" => Request::Metadata { connection: connection()?, what: Metadata::Catalogs },
        "TableTypesRequest" => Request::Metadata { connection: connection()?, what: Metadata::TableTypes },
        "TypeInfoRequest" => Request::Metadata { connection: connection()?, what: Metadata::TypeInfo },
        "SchemasRequest" => {
            let request: asked::Schemas = decode(&name, bytes)?;
            let what = Metadata::Schemas { catalog: some(request.catalog), schema: some(request.schema) };
            Request::Metadata { connection: request.connection_id, what }
        }
        "TablesRequest" => {
            let request: asked::Tables = decode(&name, bytes)?;
            let types = (request.has_types || !request.types.is_empty()).then_some(request.types);
            let (catalog, schema, table) = (some(request.catalog), some(request.schema), some(request.table));
            let what = Metadata::Tables { catalog, schema, table, types };
            Request::Metadata { connection: request.connection_id, what }
        }
        "ColumnsRequest" => {
            let request: asked::Columns = decode(&name, bytes)?;
            let (catalog, schema) = (some(request.catalog), some(request.schema));
            let what = Metadata::Columns { catalog, schema, table: some(request.table), column: some(request.column) };
            Request::Metadata { connection: request.connection_id, what }
        }
        _ => Request::Unsupported { name },
    })
}

fn decode<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M, Refused> {
    M::decode(bytes).map_err(|error| Refused::new(format!("the {name} cannot be read: {error}")))
}

/// Zero is what a client that says nothing sends.
fn frame_size(asked: i32) -> i64 {
    if asked == 0 { -1 } else { i64::from(asked) }
}

fn parameter(idx: usize, value: &wire::TypedValue) -> Result<Parameter, Refused> {
    let name = REPS.iter().find(|(_, number)| *number == value.rep).map_or("unknown", |(name, _)| name);
    let sql_type = parameter_type(name)
        .ok_or_else(|| Refused::new(format!("parameterValues[{idx}].type: a parameter cannot be of type {name}")))?;
    let json = match sql_type {
        _ if value.null || value.implicitly_null || name == "NULL" => Value::Null,
        "BIGINT" | "TIMESTAMP" => json!(value.number_value),
        "BOOLEAN" => json!(value.bool_value),
        // A decimal travels as its text, a number of unknown kind as either.
        "DOUBLE" if !value.string_value.is_empty() => json!(value.string_value),
        "DOUBLE" if value.double_value == 0.0 => json!(value.number_value),
        "DOUBLE" => json!(value.double_value),
        _ => json!(value.string_value),
    };
    Ok(Parameter { sql_type: sql_type.into(), value: json })
}

pub fn write(response: &Response, server: &str) -> Vec<u8> {
    let metadata = served_by(server);
    match response {
        Response::OpenConnection => wrap("OpenConnectionResponse", &answered::Done { metadata }),
        Response::CloseConnection => wrap("CloseConnectionResponse", &answered::Done { metadata }),
        Response::CloseStatement => wrap("CloseStatementResponse", &answered::Done { metadata }),
        Response::ConnectionSync(of) => {
            wrap("ConnectionSyncResponse", &answered::Sync { props: Some(props(of)), metadata })
        }
        Response::DatabaseProperties => wrap("DatabasePropertyResponse", &answered::Properties { metadata }),
        Response::CreateStatement { connection, statement } => wrap(
            "CreateStatementResponse",
            &answered::Statement { connection_id: connection.clone(), statement_id: *statement, metadata },
        ),
        Response::Prepare { connection, statement, signature: of } => {
            let handle =
                wire::Handle { connection_id: connection.clone(), id: *statement, signature: Some(signature(of)) };
            wrap("PrepareResponse", &answered::Prepare { statement: Some(handle), metadata })
        }
        Response::Execute(result) => {
            let results = result.iter().map(|result| result_set(result, server)).collect();
            let missing_statement = result.is_none();
            wrap("ExecuteResponse", &answered::Execute { results, missing_statement, metadata })
        }
        Response::Fetch(fetched) => {
            let frame = if let Fetched::Frame(of) = fetched { Some(frame(of)) } else { None };
            let missing_statement = *fetched == Fetched::MissingStatement;
            let missing_results = *fetched == Fetched::MissingResults;
            wrap("FetchResponse", &answered::Fetch { frame, missing_statement, missing_results, metadata })
        }
        Response::ResultSet(result) => wrap("ResultSetResponse", &result_set(result, server)),
        Response::SyncResults { missing_statement } => {
            let missing_statement = *missing_statement;
            wrap("SyncResultsResponse", &answered::SyncResults { missing_statement, more_results: false, metadata })
        }
        Response::Commit => wrap("CommitResponse", &answered::Nothing {}),
        Response::Rollback => wrap("RollbackResponse", &answered::Nothing {}),
    }
}

pub fn write_error(refused: &Refused, server: &str) -> Vec<u8> {
    let severity = if refused.code == super::message::UNKNOWN_ERROR { 0 } else { 2 };
    let error = answered::Error {
        exceptions: vec![refused.message.clone()],
        has_exceptions: true,
        error_message: refused.message.clone(),
        severity,
        error_code: unsigned(refused.code),
        sql_state: "00000".into(),
        metadata: served_by(server),
    };
    wrap("ErrorResponse", &error)
}

fn wrap(name: &str, message: &impl Message) -> Vec<u8> {
    Wire { name: format!("{PACKAGE}.Responses${name}"), wrapped: message.encode_to_vec() }.encode_to_vec()
}

fn served_by(server: &str) -> Option<answered::ServedBy> {
    Some(answered::ServedBy { server_address: server.to_string() })
}

fn props(of: &Props) -> wire::Props {
    wire::Props {
        auto_commit: of.auto_commit.unwrap_or_default(),
        has_auto_commit: of.auto_commit.is_some(),
        read_only: of.read_only.unwrap_or_default(),
        has_read_only: of.read_only.is_some(),
        transaction_isolation: of.transaction_isolation.unwrap_or_default(),
        catalog: of.catalog.clone().unwrap_or_default(),
        schema: of.schema.clone().unwrap_or_default(),
    }
}

fn result_set(result: &ResultSet, server: &str) -> answered::ResultSet {
    answered::ResultSet {
        connection_id: result.connection.clone(),
        statement_id: result.statement,
        own_statement: true,
        signature: Some(signature(&result.signature)),
        first_frame: Some(frame(&result.first)),
        update_count: u64::MAX,
        metadata: served_by(server),
    }
}

fn signature(of: &Signature) -> wire::Signature {
    let parameters = of.parameters.iter().enumerate().map(|(idx, sql_type)| wire::Parameter {
        signed: true,
        parameter_type: unsigned(jdbc_type(sql_type)),
        type_name: sql_type.clone(),
        class_name: "java.lang.Object".into(),
        name: format!("?{idx}"),
    });
    wire::Signature {
        columns: of.columns.iter().enumerate().map(|(ordinal, of)| column(ordinal, of)).collect(),
        sql: of.sql.clone(),
        parameters: parameters.collect(),
        cursor_factory: Some(wire::CursorFactory { style: LIST }),
        statement_type: 0,
    }
}

fn column(ordinal: usize, of: &SqlColumn) -> wire::Column {
    let component = (of.sql_type == "ARRAY").then(|| Box::new(type_of(element_type(&of.native_type), None)));
    wire::Column {
        ordinal: ordinal as u32,
        case_sensitive: true,
        nullable: nullable(of),
        signed: rep(&of.sql_type) == "NUMBER",
        label: of.name.clone(),
        column_name: of.name.clone(),
        read_only: true,
        column_class_name: class(&of.sql_type).into(),
        of_type: Some(type_of(&of.sql_type, component)),
    }
}

fn type_of(sql_type: &str, component: Option<Box<wire::Type>>) -> wire::Type {
    wire::Type { id: unsigned(jdbc_type(sql_type)), name: sql_type.into(), rep: rep_number(rep(sql_type)), component }
}

fn frame(of: &Frame) -> wire::Frame {
    let rows = of.rows.iter().map(|row| wire::Row { values: row.iter().map(column_value).collect() });
    wire::Frame { offset: of.offset, done: of.done, rows: rows.collect() }
}

fn column_value(cell: &Cell) -> wire::ColumnValue {
    match cell {
        Cell::List(items) => {
            wire::ColumnValue { array: items.iter().map(typed).collect(), has_array: true, scalar: None }
        }
        cell => wire::ColumnValue { array: Vec::new(), has_array: false, scalar: Some(typed(cell)) },
    }
}

fn typed(cell: &Cell) -> wire::TypedValue {
    let of = |rep: &str| wire::TypedValue { rep: rep_number(rep), ..wire::TypedValue::default() };
    match cell {
        Cell::Null => wire::TypedValue { null: true, ..of("NULL") },
        Cell::Bool(flag) => wire::TypedValue { bool_value: *flag, ..of("BOOLEAN") },
        Cell::Long(long) | Cell::Time(long) => wire::TypedValue { number_value: *long, ..of("LONG") },
        Cell::Double(double) => wire::TypedValue { double_value: *double, ..of("DOUBLE") },
        Cell::Text(text) => wire::TypedValue { string_value: text.clone(), ..of("STRING") },
        Cell::List(items) => {
            let array: Vec<wire::TypedValue> = items.iter().map(typed).collect();
            let component_rep = array.first().map_or(rep_number("OBJECT"), |item| item.rep);
            wire::TypedValue { array, component_rep, ..of("ARRAY") }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn request(name: &str, message: &impl Message) -> Vec<u8> {
        Wire { name: format!("{PACKAGE}.Requests${name}"), wrapped: message.encode_to_vec() }.encode_to_vec()
    }

    #[test]
    fn a_client_that_says_nothing_of_rows_gets_all() {
        let said = asked::PrepareAndExecute {
            connection_id: "c".into(),
            sql: "SELECT 1".into(),
            max_row_count: 0,
            statement_id: 3,
            max_rows_total: 0,
            first_frame_max_size: 0,
        };
        let read = read(&request("PrepareAndExecuteRequest", &said)).expect("a request");
        let (connection, sql) = ("c".to_string(), "SELECT 1".to_string());
        assert_eq!(read, Request::PrepareAndExecute { connection, statement: 3, sql, rows_max: None, frame: -1 });
    }

    #[test]
    fn values_are_parameters_of_their_types() {
        let value = |name: &str| wire::TypedValue { rep: rep_number(name), ..wire::TypedValue::default() };
        let cases = [
            (wire::TypedValue { string_value: "x".into(), ..value("STRING") }, "VARCHAR", json!("x")),
            (wire::TypedValue { number_value: -7, ..value("LONG") }, "BIGINT", json!(-7)),
            (wire::TypedValue { double_value: 1.5, ..value("DOUBLE") }, "DOUBLE", json!(1.5)),
            (wire::TypedValue { string_value: "1.25".into(), ..value("BIG_DECIMAL") }, "DOUBLE", json!("1.25")),
            (wire::TypedValue { bool_value: true, ..value("BOOLEAN") }, "BOOLEAN", json!(true)),
            (wire::TypedValue { null: true, ..value("NULL") }, "VARCHAR", Value::Null),
        ];
        for (given, sql_type, expected) in cases {
            let read = parameter(0, &given).expect("a parameter");
            assert_eq!((read.sql_type.as_str(), read.value), (sql_type, expected));
        }
        assert!(parameter(2, &value("STRUCT")).expect_err("no parameter").message.contains("parameterValues[2]"));
    }

    const NAMES: [&str; 19] = [
        "OpenConnectionRequest",
        "CloseConnectionRequest",
        "ConnectionSyncRequest",
        "DatabasePropertyRequest",
        "CreateStatementRequest",
        "CloseStatementRequest",
        "PrepareAndExecuteRequest",
        "PrepareRequest",
        "ExecuteRequest",
        "FetchRequest",
        "SyncResultsRequest",
        "CommitRequest",
        "RollbackRequest",
        "CatalogsRequest",
        "TableTypesRequest",
        "TypeInfoRequest",
        "SchemasRequest",
        "TablesRequest",
        "ColumnsRequest",
    ];

    /// Requests whose bytes are changed, cut and glued, for `HENGE_FUZZ_SECONDS`.
    #[test]
    fn changed_requests_are_read_or_refused() {
        let seconds = std::env::var("HENGE_FUZZ_SECONDS").ok().map_or(1, |v| v.parse().expect("a number of seconds"));
        let value = |name: &str| wire::TypedValue { rep: rep_number(name), ..wire::TypedValue::default() };
        let handle =
            wire::Handle { connection_id: "c".into(), id: 3, signature: Some(signature(&Signature::default())) };
        let values =
            vec![value("STRING"), value("LONG"), wire::TypedValue { array: vec![value("NULL")], ..value("ARRAY") }];
        let execute = asked::Execute { handle: Some(handle), values, first_frame_max_size: 7 };
        let tables = asked::Tables { schema: "dr%".into(), types: vec!["TABLE".into()], ..asked::Tables::default() };
        let info = std::collections::HashMap::from([("sqlTimeZone".to_string(), "UTC".to_string())]);
        let open = asked::Connection { connection_id: "c".into(), info };
        let good = [
            request("ExecuteRequest", &execute),
            request("TablesRequest", &tables),
            request("OpenConnectionRequest", &open),
            request("FetchRequest", &asked::Fetch { offset: u64::MAX, frame_max_size: -9, ..asked::Fetch::default() }),
        ];
        let mut random = SmallRng::seed_from_u64(11);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        let (mut tried, mut taken) = (0u64, 0u64);
        while std::time::Instant::now() < end {
            let mut bytes = good[random.random_range(0..good.len())].clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len().max(1)).min(bytes.len());
                match random.random_range(0..5) {
                    0 if at < bytes.len() => bytes[at] = random.random(),
                    1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
                    2 => bytes.truncate(at),
                    3 => {
                        let other = &good[random.random_range(0..good.len())];
                        bytes.splice(at..at, other[random.random_range(0..other.len())..].iter().copied());
                    }
                    _ => bytes.insert(at, random.random()),
                }
            }
            let _ = read(&bytes);
            // Behind a name that is right, the message itself.
            let name = NAMES[random.random_range(0..NAMES.len())];
            let wire = Wire { name: format!("{PACKAGE}.Requests${name}"), wrapped: bytes };
            taken += u64::from(read(&wire.encode_to_vec()).is_ok());
            tried += 1;
        }
        println!("{tried} requests, {taken} taken");
        assert!(taken > 0, "no request survived its change");
    }
}
