//! Avatica's JSON encoding. Fields that are not known are ignored: newer drivers send more.

use query_sql::rows::Cell;
use query_sql::{Parameter, SqlColumn};
use serde_json::{Map, Value, json};

use super::message::{
    self, Fetched, Frame, Metadata, Props, Refused, Request, Response, ResultSet, Signature, element_type, jdbc_type,
    parameter_type, rep,
};

pub fn read(body: &[u8]) -> Result<Request, Refused> {
    let json: Value =
        serde_json::from_slice(body).map_err(|error| Refused::new(format!("the request is not JSON: {error}")))?;
    let name = text(&json, "request").ok_or_else(|| Refused::new("request: is missing; it names the call"))?;
    let connection = text(&json, "connectionId").unwrap_or_default();
    let statement = || number(&json, "statementId").and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let sql = || text(&json, "sql").ok_or_else(|| Refused::new("sql: is missing; it is the statement"));
    // Older drivers bound the rows by another field.
    let rows_max = || {
        let rows = number(&json, "maxRowsTotal").or_else(|| number(&json, "maxRowCount")).unwrap_or(-1);
        message::rows_max(rows)
    };
    let metadata = |what| Request::Metadata { connection: connection.clone(), what };
    Ok(match name.as_str() {
        "openConnection" => Request::OpenConnection {
            info: json["info"].as_object().cloned().unwrap_or_default(),
            connection: connection.clone(),
        },
        "closeConnection" => Request::CloseConnection { connection },
        "connectionSync" => Request::ConnectionSync { props: props(&json["connProps"]), connection },
        "databaseProperties" => Request::DatabaseProperties { connection },
        "createStatement" => Request::CreateStatement { connection },
        "closeStatement" => Request::CloseStatement { statement: statement(), connection },
        "prepareAndExecute" => Request::PrepareAndExecute {
            statement: statement(),
            sql: sql()?,
            rows_max: rows_max(),
            frame: number(&json, "maxRowsInFirstFrame").unwrap_or(-1),
            connection,
        },
        "prepare" => Request::Prepare { sql: sql()?, rows_max: rows_max(), connection },
        "execute" => {
            let handle = &json["statementHandle"];
            let id = number(handle, "id").and_then(|id| u32::try_from(id).ok());
            Request::Execute {
                connection: text(handle, "connectionId").unwrap_or(connection),
                statement: id.ok_or_else(|| Refused::new("statementHandle.id: is missing"))?,
                parameters: parameters(&json["parameterValues"])?,
                frame: number(&json, "maxRowsInFirstFrame").unwrap_or(-1),
            }
        }
        "fetch" => Request::Fetch {
            statement: statement(),
            offset: number(&json, "offset").and_then(|offset| u64::try_from(offset).ok()).unwrap_or_default(),
            frame: number(&json, "fetchMaxRowCount").unwrap_or(-1),
            connection,
        },
        "syncResults" => Request::SyncResults { statement: statement(), connection },
        "commit" => Request::Commit { connection },
        "rollback" => Request::Rollback { connection },
        "getCatalogs" => metadata(Metadata::Catalogs),
        "getSchemas" => {
            metadata(Metadata::Schemas { catalog: text(&json, "catalog"), schema: text(&json, "schemaPattern") })
        }
        "getTables" => metadata(Metadata::Tables {
            catalog: text(&json, "catalog"),
            schema: text(&json, "schemaPattern"),
            table: text(&json, "tableNamePattern"),
            types: json["typeList"]
                .as_array()
                .map(|types| types.iter().filter_map(Value::as_str).map(str::to_string).collect()),
        }),
        "getColumns" => metadata(Metadata::Columns {
            catalog: text(&json, "catalog"),
            schema: text(&json, "schemaPattern"),
            table: text(&json, "tableNamePattern"),
            column: text(&json, "columnNamePattern"),
        }),
        "getTableTypes" => metadata(Metadata::TableTypes),
        "getTypeInfo" => metadata(Metadata::TypeInfo),
        _ => Request::Unsupported { name },
    })
}

fn text(json: &Value, name: &str) -> Option<String> {
    json[name].as_str().map(str::to_string)
}

fn number(json: &Value, name: &str) -> Option<i64> {
    json[name].as_i64()
}

fn props(json: &Value) -> Props {
    Props {
        auto_commit: json["autoCommit"].as_bool(),
        read_only: json["readOnly"].as_bool(),
        transaction_isolation: number(json, "transactionIsolation").and_then(|level| u32::try_from(level).ok()),
        catalog: text(json, "catalog"),
        schema: text(json, "schema"),
    }
}

fn parameters(json: &Value) -> Result<Vec<Parameter>, Refused> {
    let Some(values) = json.as_array() else { return Ok(Vec::new()) };
    let parameter = |(idx, value): (usize, &Value)| {
        let rep = value["type"].as_str().unwrap_or("OBJECT");
        let sql_type = parameter_type(rep)
            .ok_or_else(|| Refused::new(format!("parameterValues[{idx}].type: a parameter cannot be of type {rep}")))?;
        Ok(Parameter { sql_type: sql_type.into(), value: value["value"].clone() })
    };
    values.iter().enumerate().map(parameter).collect()
}

pub fn write(response: &Response, server: &str) -> Vec<u8> {
    let mut json = match response {
        Response::OpenConnection => json!({"response": "openConnection"}),
        Response::CloseConnection => json!({"response": "closeConnection"}),
        Response::CloseStatement => json!({"response": "closeStatement"}),
        Response::ConnectionSync(props) => json!({"response": "connectionSync", "connProps": {
            "connProps": "connPropsImpl", "autoCommit": props.auto_commit, "readOnly": props.read_only,
            "transactionIsolation": props.transaction_isolation, "catalog": props.catalog, "schema": props.schema,
            "dirty": false}}),
        Response::DatabaseProperties => json!({"response": "databaseProperties", "map": {}}),
        Response::CreateStatement { connection, statement } => {
            json!({"response": "createStatement", "connectionId": connection, "statementId": statement})
        }
        Response::Prepare { connection, statement, signature: of } => json!({"response": "prepare", "statement": {
            "connectionId": connection, "id": statement, "signature": signature(of)}}),
        Response::Execute(None) => json!({"response": "executeResults", "missingStatement": true, "results": []}),
        Response::Execute(Some(result)) => {
            let result = result_set(result, server);
            json!({"response": "executeResults", "missingStatement": false, "results": [result]})
        }
        Response::Fetch(fetched) => json!({"response": "fetch",
            "frame": if let Fetched::Frame(of) = fetched { frame(of) } else { Value::Null },
            "missingStatement": *fetched == Fetched::MissingStatement,
            "missingResults": *fetched == Fetched::MissingResults}),
        Response::ResultSet(result) => result_set(result, server),
        Response::SyncResults { missing_statement } => {
            json!({"response": "syncResults", "missingStatement": missing_statement, "moreResults": false})
        }
        Response::Commit => json!({"response": "commit"}),
        Response::Rollback => json!({"response": "rollback"}),
    };
    json["rpcMetadata"] = served_by(server);
    json.to_string().into_bytes()
}

pub fn write_error(refused: &Refused, server: &str) -> Vec<u8> {
    json!({"response": "error", "exceptions": [refused.message], "errorMessage": refused.message,
        "errorCode": refused.code, "sqlState": "00000",
        "severity": if refused.code == super::message::UNKNOWN_ERROR { "UNKNOWN" } else { "ERROR" },
        "rpcMetadata": served_by(server)})
    .to_string()
    .into_bytes()
}

fn served_by(server: &str) -> Value {
    json!({"response": "rpcMetadata", "serverAddress": server})
}

fn result_set(result: &ResultSet, server: &str) -> Value {
    json!({"response": "resultSet", "connectionId": result.connection, "statementId": result.statement,
        "ownStatement": true, "signature": signature(&result.signature), "firstFrame": frame(&result.first),
        "updateCount": -1, "rpcMetadata": served_by(server)})
}

fn signature(of: &Signature) -> Value {
    let columns: Vec<Value> = of.columns.iter().enumerate().map(|(ordinal, of)| column(ordinal, of)).collect();
    let parameters = of.parameters.iter().enumerate().map(|(idx, sql_type)| {
        json!({"signed": true, "precision": 0, "scale": 0, "parameterType": jdbc_type(sql_type), "typeName": sql_type,
            "className": "java.lang.Object", "name": format!("?{idx}")})
    });
    json!({"columns": columns, "sql": of.sql, "parameters": parameters.collect::<Vec<_>>(),
        "cursorFactory": {"style": "LIST", "clazz": null, "fieldNames": null}, "statementType": "SELECT"})
}

fn column(ordinal: usize, of: &SqlColumn) -> Value {
    let mut of_type =
        json!({"type": "scalar", "id": jdbc_type(&of.sql_type), "name": of.sql_type, "rep": rep(&of.sql_type)});
    if of.sql_type == "ARRAY" {
        let element = element_type(&of.native_type);
        of_type["type"] = json!("array");
        of_type["component"] =
            json!({"type": "scalar", "id": jdbc_type(element), "name": element, "rep": rep(element)});
    }
    json!({"ordinal": ordinal, "autoIncrement": false, "caseSensitive": true, "searchable": false, "currency": false,
        "nullable": nullable(of), "signed": rep(&of.sql_type) == "NUMBER", "displaySize": 0, "label": of.name,
        "columnName": of.name, "schemaName": "", "precision": 0, "scale": 0, "tableName": "", "catalogName": "",
        "type": of_type, "readOnly": true, "writable": false, "definitelyWritable": false,
        "columnClassName": class(&of.sql_type)})
}

/// `__time` alone is never null.
pub fn nullable(of: &SqlColumn) -> u32 {
    u32::from(of.name != segment::schema::TIME)
}

/// The Java class that a driver hands values out as.
pub fn class(sql_type: &str) -> &'static str {
    match sql_type {
        "VARCHAR" | "CHAR" => "java.lang.String",
        "BIGINT" => "java.lang.Long",
        "INTEGER" => "java.lang.Integer",
        "DOUBLE" => "java.lang.Double",
        "FLOAT" => "java.lang.Float",
        "BOOLEAN" => "java.lang.Boolean",
        "TIMESTAMP" => "java.sql.Timestamp",
        "DATE" => "java.sql.Date",
        "ARRAY" => "java.sql.Array",
        _ => "java.lang.Object",
    }
}

fn frame(of: &Frame) -> Value {
    let rows: Vec<Value> = of.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    json!({"offset": of.offset, "done": of.done, "rows": rows})
}

fn cell(of: &Cell) -> Value {
    match of {
        Cell::Null => Value::Null,
        Cell::Bool(flag) => json!(flag),
        Cell::Long(long) | Cell::Time(long) => json!(long),
        Cell::Double(double) if double.is_nan() => json!("NaN"),
        Cell::Double(double) if double.is_infinite() => {
            json!(if *double > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Cell::Double(double) => json!(double),
        Cell::Text(text) => json!(text),
        Cell::List(items) => items.iter().map(cell).collect(),
    }
}

/// The context that properties of a connection stand for: all but what tells who is there.
pub fn context(info: &Map<String, Value>) -> Map<String, Value> {
    let kept = info.iter().filter(|(name, _)| !matches!(name.as_str(), "user" | "password"));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
