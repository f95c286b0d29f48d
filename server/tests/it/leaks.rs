//! Two tenants in one datasource: nothing that hangs on the rows of one is in any byte that the other gets, whatever it asks
//! and by whatever way. What is asked is made from the lists that the server itself has: its routes, the kinds of queries, the
//! tables that it shows to an administrator. A new one is asked about without a line here; a new kind of query does not
//! compile without its example.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use prost::Message;
use query::Query;
use serde_json::{Value, json};
use server::http::avatica::proto::{Wire, answered, asked};
use tonic::transport::Endpoint;

use crate::harness::{Reply, Server};

/// What is in B's rows, and in nobody else's: values, names of columns, keys of documents, a day, a range of numbers.
const HERS: [&str; 5] = ["canary", "2031-07-0", "194116", "9876543", "otherstore"];

/// A's rows, and B's.
const OWN: usize = 5;
const OTHERS: usize = 43;

fn rows() -> String {
    let mut rows = Vec::new();
    for n in 0..OWN {
        rows.push(json!({"t": format!("2026-01-01T00:00:0{n}Z"), "user_id": "A", "data": format!("a{n}"), "n": n,
            "tags": ["x", "y"], "doc": {"k": "own"}}));
    }
    for n in 0..OTHERS {
        // Some share A's segment.
        let day = if n % 3 == 0 { "2026-01-01T05" } else { "2031-07-07T05" };
        rows.push(json!({"t": format!("{day}:00:{n:02}Z"), "user_id": "canaryB", "data": format!("canary{n}"),
            "n": 987_654_300 + n, "tags": ["canarytag"], "doc": {"canarykey": "canaryvalue"}, "canarycolumn": "canary"}));
    }
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Everything that an administrator sees a table of.
fn tables(server: &Server) -> Vec<(String, String)> {
    let text = "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES";
    let cell = |cell: &Value| cell.as_str().unwrap().to_string();
    server.sql(text).iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect()
}

/// A server with the rows of both, on which `A` sees A's.
fn server(dir: &std::path::Path) -> Server {
    let server = Server::start(dir);
    let discovered = json!({"useSchemaDiscovery": true});
    server.load("events", "iso", discovered.clone(), &rows());
    server.load("otherstore", "iso", discovered, "{\"t\":\"2031-07-07\",\"v\":\"canary\"}\n");
    let lookups = json!({"__default": {
        "open": {"version": "v1", "lookupExtractorFactory": {"type": "map", "map": {"A": "anna"}}},
        "canarylookup": {"version": "v1", "lookupExtractorFactory": {"type": "map", "map": {"canaryk": "canaryv"}}}}});
    let reply = server.post("/druid/coordinator/v1/lookups/config", &lookups);
    assert!(reply.status < 300, "{}", reply.body);
    let mut permissions = vec![
        json!({"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}),
        json!({"resource": {"type": "LOOKUP", "name": "open"}, "action": "READ"}),
    ];
    // Every system table but the audit log, which tells what others asked.
    for (_, table) in
        tables(&server).into_iter().filter(|(schema, table)| schema == "sys" && table != "audit" && table != "metrics")
    {
        permissions.push(json!({"resource": {"type": "SYSTEM_TABLE", "name": table}, "action": "READ"}));
    }
    let role = json!({"permissions": permissions,
        "policies": [{"name": "own rows", "datasource": "events", "sql": "user_id = CURRENT_USER"}]});
    let put = |path: &str, body: &Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    put("/roles/tenant", &role);
    put("/users/A", &json!({"password": "password of A", "roles": ["tenant"]}));
    put("/datasources/events", &json!({"requirePolicy": true}));
    server
}

fn authorization() -> String {
    format!("Basic {}", STANDARD.encode("A:password of A"))
}

fn ask(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let reply = server.send(method, path, &[("Authorization", &authorization())], body);
    let asked = format!("{method} {path} {}", body.map(Value::to_string).unwrap_or_default());
    clean(&asked, &format!("{:?} {}", reply.headers, reply.body));
    reply
}

/// What A got holds nothing of B's that A did not say first.
fn clean(asked: &str, got: &str) {
    for hers in HERS.iter().filter(|hers| !asked.contains(**hers)) {
        let at = got.find(hers);
        assert!(at.is_none(), "{asked}: {hers} in {}", &got[at.unwrap_or(0).saturating_sub(200)..]);
    }
}

/// An example of each kind of query over a source.
fn queries(source: &Value) -> Vec<Value> {
    let interval = "1000/3000";
    let count = json!([{"type": "count", "name": "c"}, {"type": "longMax", "name": "m", "fieldName": "n"},
        {"type": "histogram", "name": "b", "fieldName": "n", "breaks": [0, 1_000_000]},
        {"type": "stringLast", "name": "l", "fieldName": "data"}, {"type": "HLLSketchBuild", "name": "h", "fieldName": "user_id"}]);
    let examples = [
        json!({"queryType": "timeseries", "granularity": "day", "aggregations": count, "context": {"skipEmptyBuckets": true}}),
        json!({"queryType": "topN", "granularity": "all", "dimension": "user_id", "metric": "c", "threshold": 100, "aggregations": count}),
        json!({"queryType": "groupBy", "granularity": "all", "dimensions": ["user_id", "tags"], "aggregations": count}),
        json!({"queryType": "scan", "columns": [], "resultFormat": "list"}),
        json!({"queryType": "search", "searchDimensions": [], "query": {"type": "insensitive_contains", "value": "a"}}),
        json!({"queryType": "timeBoundary"}),
        json!({"queryType": "segmentMetadata", "merge": false,
            "analysisTypes": ["cardinality", "size", "interval", "minmax", "aggregators", "rollup", "timestampSpec", "queryGranularity"]}),
        json!({"queryType": "dataSourceMetadata"}),
    ];
    // A new kind of query must be given an example above, and its place here.
    let place = |query: &Query| match query {
        Query::Timeseries(_) => 0,
        Query::TopN(_) => 1,
        Query::GroupBy(_) => 2,
        Query::Scan(_) => 3,
        Query::Search(_) => 4,
        Query::TimeBoundary(_) => 5,
        Query::SegmentMetadata(_) => 6,
        Query::DataSourceMetadata(_) => 7,
    };
    let full = |example: &Value| {
        let mut query = example.clone();
        query["dataSource"] = source.clone();
        query["intervals"] = json!([interval]);
        query
    };
    let places: BTreeSet<usize> = examples
        .iter()
        .map(|example| {
            let mut query = full(example);
            query["dataSource"] = json!("events");
            place(&Query::from_json(&query).unwrap_or_else(|error| panic!("{query}: {error}")))
        })
        .collect();
    assert_eq!(places.len(), examples.len(), "a kind of query has no example");
    let mut all: Vec<Value> = examples.iter().map(full).collect();
    for context in [json!({"bySegment": true}), json!({"bySegment": "true", "finalize": false})] {
        all.extend(examples.iter().map(full).map(|mut query| {
            query["context"] = context.clone();
            query
        }));
    }
    // Whatever is asked for is not A's.
    all.extend(examples.iter().map(full).map(|mut query| {
        query["filter"] = json!({"type": "not", "field": {"type": "selector", "dimension": "user_id", "value": "A"}});
        query
    }));
    all.extend(examples.iter().map(full).map(|mut query| {
        query["filter"] = json!({"type": "expression", "expression": "strlen(user_id) > 1 || user_id == null"});
        query["virtualColumns"] = json!([{"type": "expression", "name": "user_id", "expression": "reverse(user_id)", "outputType": "STRING"}]);
        query
    }));
    // What falls back to a column shows whether another is there.
    all.extend(examples.iter().map(full).map(|mut query| {
        query["virtualColumns"] = json!([{"type": "fallback", "name": "user_id", "columns": ["canarycolumn", "data"]}]);
        query
    }));
    let everywhere = json!({"type": "rectangular", "minCoords": [0], "maxCoords": [1_000_000_000]});
    all.extend(examples.iter().map(full).map(|mut query| {
        query["filter"] = json!({"type": "spatial", "dimension": "n", "bound": everywhere});
        query
    }));
    // A union stands alone: over sources of rows it is of these kinds.
    let part = |of: usize| {
        let mut query = full(&examples[of]);
        query["columns"] = json!(["user_id", "data", "n", "tags", "doc"]);
        query
    };
    for queries in
        [json!([part(3), part(3)]), json!([part(2), part(2)]), json!([part(0), part(0)]), json!([part(1), part(1)])]
    {
        all.push(json!({"queryType": "union", "queries": queries}));
    }
    all
}

/// The sources that a query may stand on.
fn sources() -> Vec<Value> {
    let inner = json!({"type": "query", "query": {"queryType": "scan", "dataSource": "events", "intervals": ["1000/3000"], "columns": []}});
    let join = |left: Value, right: Value, on: &str| json!({"type": "join", "left": left, "right": right, "rightPrefix": "j.", "condition": on, "joinType": "LEFT"});
    let lookup = |name: &str| json!({"type": "lookup", "lookup": name});
    vec![
        json!("events"),
        json!("otherstore"),
        json!({"type": "union", "dataSources": ["events", "events"]}),
        json!({"type": "union", "dataSources": ["events", "otherstore"]}),
        inner.clone(),
        json!({"type": "filter", "base": "events", "filter": {"type": "true"}}),
        json!({"type": "unnest", "base": "events", "virtualColumn": {"type": "expression", "name": "u", "expression": "\"tags\""}}),
        join(json!("events"), inner, "user_id == \"j.user_id\""),
        join(json!("events"), lookup("open"), "user_id == \"j.k\""),
        join(json!("events"), lookup("canarylookup"), "user_id == \"j.k\""),
        lookup("canarylookup"),
        json!({"type": "inline", "columnNames": ["user_id"], "rows": [["A"]]}),
    ]
}

/// Statements over all that there is, and shapes that read a table in other ways.
fn statements(tables: &[(String, String)]) -> Vec<String> {
    let mut all = Vec::new();
    for (schema, table) in tables {
        let name = format!("\"{schema}\".\"{table}\"");
        all.push(format!("SELECT * FROM {name}"));
        all.push(format!("SELECT COUNT(*) FROM {name}"));
        all.push(format!("EXPLAIN PLAN FOR SELECT * FROM {name}"));
    }
    let shapes = [
        "SELECT user_id, COUNT(*), MAX(n), MIN(__time) FROM events GROUP BY 1",
        "SELECT * FROM events WHERE user_id <> 'A' OR user_id IS NULL",
        "SELECT * FROM (SELECT * FROM events UNION ALL SELECT * FROM events)",
        "SELECT a.user_id, b.data FROM events a JOIN events b ON a.tags = b.tags",
        "SELECT a.*, b.* FROM events a FULL JOIN events b ON a.n = b.n + 1",
        "SELECT (SELECT MAX(n) FROM events), (SELECT MAX(__time) FROM events)",
        "WITH e AS (SELECT * FROM events) SELECT DISTINCT data FROM e",
        "SELECT data, ROW_NUMBER() OVER (ORDER BY n DESC) FROM events",
        "SELECT u FROM events, UNNEST(MV_TO_ARRAY(tags)) AS t(u)",
        "SELECT JSON_KEYS(doc, '$'), JSON_VALUE(doc, '$.k'), TO_JSON_STRING(doc) FROM events",
        "SELECT LOOKUP(user_id, 'open'), LOOKUP(user_id, 'canary' || 'lookup') FROM events",
        "SELECT COUNT(*) FROM TABLE(APPEND('events', 'events'))",
        "SELECT APPROX_COUNT_DISTINCT(user_id), STRING_AGG(data, ',') FROM events",
        "SELECT nothing FROM events",
        "SELECT dota FROM events",
        "SELECT CAST(data AS BIGINT) / 0, 1 / (n - n) FROM events",
        "SELECT * FROM events ORDER BY n DESC LIMIT 1",
        "SELECT TIME_FLOOR(__time, 'P1Y'), COUNT(*) FROM events GROUP BY 1",
        "EXPLAIN PLAN FOR SELECT data FROM events WHERE n > 3 GROUP BY 1",
    ];
    all.extend(shapes.map(str::to_string));
    all
}

#[test]
fn native_queries_of_every_kind_over_every_source_keep_to_the_rows_of_the_asker() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let mut answered = 0;
    for source in sources() {
        for query in queries(&source) {
            let reply = ask(&server, "POST", "/druid/v2", Some(&query));
            answered += usize::from(reply.status == 200);
        }
    }
    assert!(answered > 150, "only {answered} queries were answered");
    let of = |kind: usize| queries(&json!("events"))[kind].clone();
    let got = |kind| ask(&server, "POST", "/druid/v2", Some(&of(kind))).body;
    assert_eq!(got(2)[0]["event"]["user_id"], "A", "{}", got(2));
    assert_eq!(
        got(5)[0]["result"],
        json!({"minTime": "2026-01-01T00:00:00.000Z", "maxTime": "2026-01-01T00:00:04.000Z"})
    );
    assert_eq!(got(6)[0]["numRows"], OWN, "{}", got(6));
    // A column of rows that are not seen is not there to fall back to.
    let mut fallback = of(2);
    fallback["dimensions"] = json!(["f"]);
    fallback["virtualColumns"] = json!([{"type": "fallback", "name": "f", "columns": ["canarycolumn", "data"]}]);
    let rows = ask(&server, "POST", "/druid/v2", Some(&fallback)).body;
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["event"]["f"]), (OWN, &json!("a0")), "{rows}");
    let union = json!({"queryType": "union", "queries": [of(2), of(2)]});
    let rows = ask(&server, "POST", "/druid/v2", Some(&union)).body;
    assert_eq!((&rows[0][0], &rows[0][2]), (&json!("A"), &json!(OWN)), "{rows}");
    assert!(server.post("/druid/v2", &union).body.to_string().contains("canary"));
    // Of the administrator's, the same queries have B's: the test can fail.
    let all = server.post("/druid/v2", &of(2)).body.to_string();
    assert!(all.contains("canary"), "{all}");
}

#[test]
fn statements_by_every_way_keep_to_the_rows_of_the_asker() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let tables = tables(&server);
    assert!(tables.len() > 14, "{tables:?}");
    let statements = statements(&tables);
    let formats = ["object", "array", "objectLines", "arrayLines", "csv", "arrow"];
    for (nth, text) in statements.iter().enumerate() {
        // Each statement in one of the formats, each format with statements of all sorts.
        for format in [formats[nth % formats.len()], "array"] {
            let body = json!({"query": text, "resultFormat": format, "header": true, "typesHeader": true, "sqlTypesHeader": true});
            ask(&server, "POST", "/druid/v2/sql", Some(&body));
        }
    }
    for text in &statements {
        let body = json!({"query": text, "context": {"executionMode": "ASYNC"}});
        let reply = ask(&server, "POST", "/druid/v2/sql/statements", Some(&body));
        let Some(id) = reply.body["queryId"].as_str() else { continue };
        let path = format!("/druid/v2/sql/statements/{id}");
        let end = Instant::now() + Duration::from_secs(20);
        while ["RUNNING", "ACCEPTED"].contains(&ask(&server, "GET", &path, None).body["state"].as_str().unwrap_or("")) {
            assert!(Instant::now() < end, "{text} has not ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        ask(&server, "GET", &format!("{path}/results"), None);
        ask(&server, "GET", &format!("{path}?detail=true"), None);
    }
    let avatica = |body: Value| ask(&server, "POST", "/druid/v2/sql/avatica/", Some(&body)).body;
    avatica(json!({"request": "openConnection", "connectionId": "c", "info": {}}));
    for text in &statements {
        let statement = avatica(json!({"request": "createStatement", "connectionId": "c"}))["statementId"].clone();
        avatica(json!({"request": "prepareAndExecute", "connectionId": "c", "statementId": statement, "sql": text,
            "maxRowsInFirstFrame": -1, "maxRowsTotal": -1}));
        avatica(json!({"request": "closeStatement", "connectionId": "c", "statementId": statement}));
        avatica(json!({"request": "prepare", "connectionId": "c", "sql": text, "maxRowCount": -1}));
        avatica(json!({"request": "closeConnection", "connectionId": "c"}));
        avatica(json!({"request": "openConnection", "connectionId": "c", "info": {}}));
    }
    for request in ["getTables", "getSchemas", "getCatalogs", "getTableTypes", "getTypeInfo", "databaseProperties"] {
        avatica(json!({"request": request, "connectionId": "c"}));
    }
    avatica(json!({"request": "getColumns", "connectionId": "c", "tableNamePattern": "%", "columnNamePattern": "%"}));
    by_protobuf(&server, &statements);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(server.base.clone()).unwrap().connect().await.unwrap();
        let mut client = FlightSqlServiceClient::new(channel);
        client.set_header("authorization", authorization());
        for text in &statements {
            let got = match client.execute(text.clone(), None).await {
                Err(error) => format!("{error:?}"),
                Ok(info) => {
                    let ticket = info.endpoint[0].ticket.clone().unwrap();
                    match client.do_get(ticket).await {
                        Err(error) => format!("{error:?}"),
                        Ok(rows) => match rows.try_collect::<Vec<_>>().await {
                            Err(error) => format!("{error:?}"),
                            Ok(batches) => format!("{:?} {batches:?}", info.try_decode_schema().unwrap()),
                        },
                    }
                }
            };
            clean(text, &got);
        }
        let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
        let schemas = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
        for info in [client.get_tables(tables).await.unwrap(), client.get_db_schemas(schemas).await.unwrap()] {
            let rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
            let batches: Vec<_> = rows.try_collect().await.unwrap();
            let got = format!("{batches:?}");
            clean("tables", &got);
            assert!(got.contains("druid"), "{got}");
        }
    });
    // The same count by each way.
    let body = json!({"query": "SELECT COUNT(*) FROM events", "resultFormat": "array"});
    assert_eq!(ask(&server, "POST", "/druid/v2/sql", Some(&body)).body, json!([[OWN]]));
    assert_eq!(server.sql("SELECT COUNT(*) FROM otherstore"), [[json!(1)]]);
    // What was asked is on record, and A does not see it.
    let body = json!({"query": "SELECT * FROM sys.audit"});
    assert!(ask(&server, "POST", "/druid/v2/sql", Some(&body)).status >= 400);
    let body = json!({"queryType": "scan", "dataSource": "sys.audit", "intervals": ["1000/3000"], "columns": []});
    assert_eq!(ask(&server, "POST", "/druid/v2", Some(&body)).status, 403);
}

/// A request of JDBC in its other encoding: the name of the answer and what it says, numbers in digits.
fn protobuf(server: &Server, about: &str, name: &str, message: &impl Message) -> (String, String) {
    let package = "org.apache.calcite.avatica.proto";
    let wire = Wire { name: format!("{package}.Requests${name}"), wrapped: message.encode_to_vec() };
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{}/druid/v2/sql/avatica-protobuf/", server.base));
    let mut reply = request.header("Authorization", authorization()).send(&wire.encode_to_vec()[..]).unwrap();
    let bytes = reply.body_mut().read_to_vec().unwrap();
    let wire = Wire::decode(&*bytes).unwrap_or_else(|error| panic!("{name}: {error} in {bytes:?}"));
    let name = wire.name.rsplit('$').next().unwrap().to_string();
    let of = &*wire.wrapped;
    let told = match name.as_str() {
        "ExecuteResponse" => format!("{:?}", answered::Execute::decode(of).unwrap()),
        "FetchResponse" => format!("{:?}", answered::Fetch::decode(of).unwrap()),
        "ResultSetResponse" => format!("{:?}", answered::ResultSet::decode(of).unwrap()),
        "PrepareResponse" => format!("{:?}", answered::Prepare::decode(of).unwrap()),
        "CreateStatementResponse" => format!("{:?}", answered::Statement::decode(of).unwrap()),
        "ErrorResponse" => format!("{:?}", answered::Error::decode(of).unwrap()),
        _ => String::new(),
    };
    let told = format!("{told} {}", String::from_utf8_lossy(&bytes));
    clean(about, &told);
    (name, told)
}

fn by_protobuf(server: &Server, statements: &[String]) {
    let connection = || asked::Connection { connection_id: "p".into(), ..asked::Connection::default() };
    let bare = |name: &str| protobuf(server, name, name, &connection());
    let (mut executed, mut own) = (0, 0);
    for text in statements {
        bare("OpenConnectionRequest");
        let (answer, _) = bare("CreateStatementRequest");
        assert_eq!(answer, "CreateStatementResponse");
        // The first of a connection.
        let (connection_id, statement_id) = ("p".to_string(), 1);
        let run = asked::PrepareAndExecute {
            connection_id: connection_id.clone(),
            statement_id,
            sql: text.clone(),
            max_rows_total: -1,
            first_frame_max_size: 100,
            ..asked::PrepareAndExecute::default()
        };
        let (answer, told) = protobuf(server, text, "PrepareAndExecuteRequest", &run);
        executed += usize::from(answer == "ExecuteResponse");
        own += usize::from(told.contains("\"a4\""));
        let fetch =
            asked::Fetch { connection_id: connection_id.clone(), statement_id, offset: 100, ..Default::default() };
        protobuf(server, text, "FetchRequest", &fetch);
        let prepare = asked::Prepare { connection_id, sql: text.clone(), max_rows_total: -1 };
        protobuf(server, text, "PrepareRequest", &prepare);
        bare("CloseConnectionRequest");
    }
    assert!(executed > 30 && own > 2, "{executed} statements were answered, {own} with rows of the asker");
    bare("OpenConnectionRequest");
    for name in ["CatalogsRequest", "TableTypesRequest", "TypeInfoRequest", "DatabasePropertyRequest"] {
        bare(name);
    }
    let connection_id = || "p".to_string();
    let schemas = asked::Schemas { connection_id: connection_id(), ..Default::default() };
    protobuf(server, "", "SchemasRequest", &schemas);
    let tables = asked::Tables { connection_id: connection_id(), ..Default::default() };
    let (_, told) = protobuf(server, "", "TablesRequest", &tables);
    assert!(told.contains("\"events\""), "{told}");
    let columns = asked::Columns { connection_id: connection_id(), ..Default::default() };
    let (_, told) = protobuf(server, "", "ColumnsRequest", &columns);
    assert!(told.contains("\"user_id\""), "{told}");
}

#[test]
fn no_route_tells_of_the_rows_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let known =
        ["events", "otherstore", "open", "canarylookup", "A", "tenant", "_default_tier", "2026-01-01_2026-01-02"];
    let tasks = server.get("/druid/indexer/v1/tasks").body;
    let ids: Vec<String> =
        tasks.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_string()).collect();
    let segments = server.get("/druid/coordinator/v1/metadata/segments").body;
    let segments: Vec<String> = segments
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["identifier"].as_str().map(str::to_string))
        .collect();
    let values: Vec<String> = known.iter().map(|name| name.to_string()).chain(ids).chain(segments).collect();
    let mut asked = 0;
    for (method, path, _) in server::http::routes() {
        // Signing out, and the end of one's own sessions, would end the test.
        if path.ends_with("/logout") || path.starts_with("/arrow.flight") {
            continue;
        }
        let paths: BTreeSet<String> = match path.contains('{') {
            false => BTreeSet::from([path.clone()]),
            true => values.iter().map(|value| filled(&path, value, &values)).collect(),
        };
        for path in paths {
            for query in ["", "?full", "?simple&includeOvershadowedStatus"] {
                let bodies: &[Option<Value>] = match method.as_str() {
                    "GET" | "DELETE" => &[None],
                    _ if query.is_empty() => &[
                        Some(json!({})),
                        Some(
                            json!({"dataSource": "events", "intervals": ["1000/3000"], "query": "SELECT * FROM events"}),
                        ),
                        Some(json!(["events"])),
                    ],
                    _ => continue,
                };
                for body in bodies {
                    let reply = ask(&server, method.as_str(), &format!("{}{query}", encoded(&path)), body.as_ref());
                    assert!(reply.status != 500 || path.contains("avatica"), "{method} {path}: {}", reply.body);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 500, "only {asked} requests");
    // Nothing was changed by it.
    assert_eq!(server.sql("SELECT COUNT(*) FROM events"), [[json!(OWN + OTHERS)]]);
    assert_eq!(server.sql("SELECT COUNT(*) FROM otherstore"), [[json!(1)]]);
}

/// Who may look at rules and try them, and reads nothing, is told no name of a column or table by what is near to it.
#[test]
fn trying_a_rule_tells_no_names_that_are_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let put = |path: &str, body: &Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    let looks = json!({"resource": {"type": "SECURITY", "name": "SECURITY"}, "action": "READ"});
    put("/roles/looks", &json!({"permissions": [looks]}));
    // `A` sees its own rows of `events`, and of `otherstore` nothing.
    for (roles, table) in [
        (json!(["looks"]), "events"),
        (json!(["looks", "tenant"]), "events"),
        (json!(["looks", "tenant"]), "otherstore"),
    ] {
        put("/users/A", &json!({"password": "password of A", "roles": roles}));
        for policy in [
            json!({"filter": {"type": "selector", "dimension": "kanarycolumn", "value": "x"}}),
            json!({"sql": "kanarycolumn = 'x'"}),
            json!({"sql": "kanarycolumn = 'x' AND nothing = 1"}),
            json!({"sql": "TRUE"}),
        ] {
            let mut policy = policy;
            policy["name"] = json!("p");
            policy["datasource"] = json!(".*");
            let columns = json!([{"datasource": ".*", "column": "[^_].*", "rule": {"type": "null"}}]);
            let role = json!({"permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}],
                "policies": [policy], "columns": columns});
            let body = json!({"user": "A", "datasource": table, "draft": {"name": "draft", "role": role}});
            let asked = if table == "otherstore" { table } else { "" };
            let path = "/henge/v1/security/explain";
            let reply = server.send("POST", path, &[("Authorization", &authorization())], Some(&body));
            clean(asked, &reply.body.to_string());
            assert!([200, 400].contains(&reply.status), "{}", reply.body);
            // An administrator is told: the test can fail.
            let told = server.post(path, &body).body.to_string();
            assert!(told.contains("canarycolumn") || table == "otherstore" || told.contains("no column"), "{told}");
        }
    }
}

/// What is posted is not looked into for who may not post it: whether a variable is set, or a file there.
#[test]
fn specs_of_who_may_not_post_them_are_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let put = |path: &str, body: &Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    let properties = [
        json!({"bootstrap.servers": "127.0.0.1:1"}),
        json!({"bootstrap.servers": "127.0.0.1:1", "sasl.password": {"type": "environment", "variable": "KAFKA_NOT_SET"}}),
        json!({"druid.dynamic.config.provider": {"type": "environment", "variables": {"bootstrap.servers": "SECRET_NOT_SET"}}}),
    ];
    put(
        "/roles/writes",
        &json!({"permissions": [{"resource": {"type": "DATASOURCE", "name": "mine"}, "action": "WRITE"}]}),
    );
    for (roles, datasource) in
        [(json!(["tenant"]), "events"), (json!(["writes"]), "events"), (json!(["writes"]), "mine")]
    {
        put("/users/A", &json!({"password": "password of A", "roles": roles}));
        for properties in &properties {
            let io = json!({"consumerProperties": properties});
            let spec = crate::harness::supervisor(datasource, "t", "127.0.0.1:1", io, json!({}));
            let reply = ask(&server, "POST", "/druid/indexer/v1/supervisor", Some(&spec));
            assert_eq!(reply.status, 403, "{properties}: {}", reply.body);
        }
    }
}

/// Reports of a task show its context without what is hidden in specs.
#[test]
fn a_tasks_report_tells_no_secret_of_its_context() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let secrets = json!({"bootstrap.servers": "a:1", "sasl.password": "xyzzy"});
    let spec = json!({"type": "noop", "dataSource": "events", "id": "told",
        "context": {"consumerProperties": secrets, "within": [{"consumerProperties": secrets}], "priority": 7}});
    let posted = server.post("/druid/indexer/v1/task", &spec);
    assert_eq!(posted.status, 200, "{}", posted.body);
    for path in ["", "/status", "/reports", "/log"] {
        let told = server.get(&format!("/druid/indexer/v1/task/told{path}"));
        assert!(told.status == 200 && !told.body.to_string().contains("xyzzy"), "{path}: {}", told.body);
    }
    let report = server.get("/druid/indexer/v1/task/told/reports").body;
    let context = &report["taskContext"]["payload"];
    let hidden = json!({"bootstrap.servers": "a:1", "sasl.password": "(hidden)"});
    assert_eq!((&context["priority"], &context["consumerProperties"]), (&json!(7), &hidden), "{report}");
    // Nor does the mark come in as if it were a value.
    let mut marked = spec;
    marked["id"] = json!("marked");
    marked["context"]["consumerProperties"] = hidden;
    let posted = server.post("/druid/indexer/v1/task", &marked);
    assert!(!server.get("/druid/indexer/v1/task/marked/reports").body.to_string().contains("xyzzy"), "{}", posted.body);
}

/// A path with a value for its parameters; those after the first vary with it.
fn filled(path: &str, value: &str, values: &[String]) -> String {
    let mut filled = String::new();
    let mut rest = path;
    let mut nth = values.iter().position(|other| other == value).unwrap_or(0);
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').unwrap() + open;
        filled.push_str(&rest[..open]);
        filled.push_str(&values[nth % values.len()]);
        nth += 1;
        rest = &rest[close + 1..];
    }
    filled + rest
}

fn encoded(path: &str) -> String {
    path.replace(' ', "%20").replace('+', "%2B")
}

#[test]
fn tokens_narrow_what_is_allowed_and_never_widen_what_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    // One role lets C read, another says which rows: a token of the first alone still sees no other rows.
    let put = |path: &str, body: &Value| {
        let reply = server.send("PUT", &format!("/henge/v1/security{path}"), &[], Some(body));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    };
    put(
        "/roles/reader",
        &json!({"permissions": [{"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}]}),
    );
    put(
        "/roles/limits",
        &json!({
            "policies": [{"name": "own", "datasource": "events", "sql": "user_id = USER_ATTRIBUTE('tenant')"}],
            "columns": [{"datasource": "events", "column": "data", "rule": {"type": "deny"}}],
        }),
    );
    put(
        "/users/C",
        &json!({"password": "password of C", "roles": ["reader", "limits"], "attributes": {"tenant": ["A"]}}),
    );
    let basic = format!("Basic {}", STANDARD.encode("C:password of C"));
    let made = server.send(
        "POST",
        "/henge/v1/security/tokens",
        &[("Authorization", &basic)],
        Some(&json!({"roles": ["reader"]})),
    );
    let token = format!("Bearer {}", made.body["token"].as_str().unwrap_or_else(|| panic!("{}", made.body)));
    let rows = |authorization: &str, sql: &str| {
        let body = json!({"query": sql, "resultFormat": "array"});
        server.send("POST", "/druid/v2/sql", &[("Authorization", authorization)], Some(&body))
    };
    for authorization in [&basic, &token] {
        assert_eq!(rows(authorization, "SELECT user_id, COUNT(*) FROM events GROUP BY 1").body, json!([["A", OWN]]));
        assert_eq!(rows(authorization, "SELECT MAX(data) FROM events").status, 400);
    }
    // A token for no role of reading reads nothing.
    let made = server.send(
        "POST",
        "/henge/v1/security/tokens",
        &[("Authorization", &basic)],
        Some(&json!({"roles": ["limits"]})),
    );
    let token = format!("Bearer {}", made.body["token"].as_str().unwrap());
    assert!(rows(&token, "SELECT COUNT(*) FROM events").status >= 400);
    // Nor is what is made of a block of rows told by the rows of others in it: its numbers are all longs, or all doubles.
    for value in ["canary0", "nobody"] {
        let expression = format!("if(data == '{value}', 0.5, 9007199254740993)");
        let query = json!({"queryType": "scan", "dataSource": "events", "intervals": ["1000/3000"], "columns": ["x"],
            "virtualColumns": [{"type": "expression", "name": "x", "expression": expression, "outputType": "LONG"}]});
        let reply = ask(&server, "POST", "/druid/v2", Some(&query));
        let rows = reply.body.to_string();
        assert_eq!(rows.matches("9007199254740993").count(), OWN, "{rows}");
        let sum = json!({"queryType": "timeseries", "dataSource": "events", "intervals": ["1000/3000"], "granularity": "all",
            "virtualColumns": query["virtualColumns"], "aggregations": [{"type": "longMax", "name": "m", "fieldName": "x"}]});
        let reply = ask(&server, "POST", "/druid/v2", Some(&sum));
        assert_eq!(reply.body[0]["result"]["m"], 9007199254740993_i64, "{}", reply.body);
    }
    // What memory a query needs is not told by a limit that the asker sets.
    let query = json!({"queryType": "groupBy", "dataSource": "events", "intervals": ["1000/3000"], "granularity": "all",
        "dimensions": ["n"], "aggregations": [], "context": {"maxQueryMemoryBytes": 200}});
    assert_eq!(server.send("POST", "/druid/v2", &[("Authorization", &basic)], Some(&query)).status, 200);
}
