//! Arrow Flight SQL over the wire, by Arrow's own client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, Any, CommandGetDbSchemas, CommandGetPrimaryKeys,
    CommandGetTables, CommandStatementQuery, ProstMessageExt, SqlInfo,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt;
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::harness::Server;
use crate::jdbc::numbered;

type Client = FlightSqlServiceClient<Channel>;

/// Runs a test against a server with some rows.
fn with<F: Future<Output = ()>>(rows: usize, settings: &[(&str, &str)], test: impl FnOnce(Channel) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), settings);
    if rows > 0 {
        numbered(&server, rows);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(server.base.clone()).unwrap().connect().await.unwrap();
        test(channel).await;
    });
}

async fn read(client: &mut Client, info: &FlightInfo) -> Result<Vec<RecordBatch>, Status> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows = client.do_get(ticket).await.map_err(status)?;
    rows.try_collect().await.map_err(status)
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

async fn query(client: &mut Client, sql: &str) -> Vec<RecordBatch> {
    let info = client.execute(sql.to_string(), None).await.unwrap();
    let batches = read(client, &info).await.unwrap();
    let schema = info.try_decode_schema().unwrap();
    batches.iter().for_each(|batch| assert_eq!(batch.schema().as_ref(), &schema));
    batches
}

async fn refused(client: &mut Client, sql: &str) -> Status {
    match client.execute(sql.to_string(), None).await {
        Err(error) => status(error),
        Ok(info) => read(client, &info).await.unwrap_err(),
    }
}

fn longs(batches: &[RecordBatch], column: usize) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(column).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let column = |batch: &RecordBatch| {
        let texts = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        texts.iter().map(|text| text.unwrap_or("NULL").to_string()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

#[test]
fn statements_answer_with_the_types_of_arrow_results() {
    with(200_000, &[], |channel| async move {
        let mut client = Client::new(channel.clone());
        let batches = query(&mut client, "SELECT __time, n, k, MV_TO_ARRAY(k) AS a FROM numbers ORDER BY __time").await;
        assert_eq!(longs(&batches, 1), (0..200_000).collect::<Vec<i64>>());
        assert!(batches.len() > 3 && batches.iter().all(|batch| batch.num_rows() <= 65_536), "{}", batches.len());
        let schema = batches[0].schema();
        assert_eq!(schema.field(0).data_type(), &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
        assert_eq!(schema.field(2).data_type(), &DataType::Utf8);
        assert!(matches!(schema.field(3).data_type(), DataType::List(_)), "{schema}");

        // No row, and still its columns; the context comes with the statement or by a header.
        let none = query(&mut client, "SET sqlTimeZone = 'Asia/Kolkata'; SELECT __time FROM numbers WHERE n < 0").await;
        assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
        client.set_header("druid-context", r#"{"sqlTimeZone": "Asia/Kolkata"}"#);
        let shifted =
            query(&mut client, "SELECT TIME_FORMAT(__time, 'HH:mm') AS t, __time FROM numbers WHERE n = 0").await;
        assert_eq!(texts(&shifted, "t"), ["05:30"]);
        let kolkata = DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Kolkata".into()));
        assert_eq!(shifted[0].schema().field(1).data_type(), &kolkata);

        // `EXPLAIN` has its own columns.
        let plan = query(&mut client, "EXPLAIN PLAN FOR SELECT COUNT(*) FROM numbers").await;
        assert!(texts(&plan, "PLAN")[0].contains("timeseries"));
        // What the schema call says is what comes.
        let command = CommandStatementQuery { query: "SELECT n, k FROM numbers".into(), transaction_id: None };
        let said = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let schema = FlightServiceClient::new(channel).get_schema(said).await.unwrap().into_inner();
        let schema = Schema::try_from(&schema).unwrap();
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["n", "k"]);
    });
}

#[test]
fn prepared_statements_take_parameters_and_are_bounded() {
    let settings = [("sql.flight_statements_max", "2")];
    with(100, &settings, |channel| async move {
        let mut client = Client::new(channel.clone());
        let sql = "SELECT COUNT(*) AS c FROM numbers WHERE k = ? AND n >= ?";
        let mut prepared = client.prepare(sql.to_string(), None).await.unwrap();
        let types: Vec<DataType> =
            prepared.parameter_schema().unwrap().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Int64]);
        assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "c");
        for (k, n, expected) in [("k3", 0, 14), ("k3", 52, 7), ("it's", 0, 0)] {
            let row = RecordBatch::try_from_iter([
                ("a", Arc::new(StringArray::from(vec![k])) as ArrayRef),
                ("b", Arc::new(Int64Array::from(vec![n])) as _),
            ]);
            prepared.set_parameters(row.unwrap()).unwrap();
            let info = prepared.execute().await.unwrap();
            assert_eq!(longs(&read(&mut client, &info).await.unwrap(), 0), [expected]);
        }
        let short = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]);
        prepared.set_parameters(short.unwrap()).unwrap();
        let error = status(prepared.execute().await.unwrap_err());
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("2 parameter marks"), "{error}");

        let other = client.prepare("SELECT 1".to_string(), None).await.unwrap();
        let error = status(client.prepare("SELECT 1".to_string(), None).await.map(|_| ()).unwrap_err());
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.message().contains("sql.flight_statements_max"), "{error}");
        other.close().await.unwrap();
        client.prepare("SELECT 1".to_string(), None).await.unwrap();
    });
}

#[test]
fn errors_have_the_codes_of_grpc() {
    with(2_000, &[("query.concurrent_max", "64")], |channel| async move {
        let mut client = Client::new(channel.clone());
        let error = refused(&mut client, "SELECT nope FROM numbers").await;
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("nope"), "{error}");
        let whole = error.metadata().get_bin("druid-error-bin").unwrap().to_bytes().unwrap();
        let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!((&whole["errorCode"], &whole["category"]), (&"invalidInput".into(), &"INVALID_INPUT".into()));
        assert_eq!(whole["errorMessage"], error.message());
        let late = "SET timeout = 1; SELECT COUNT(*) FROM numbers a JOIN numbers b ON a.n + b.n > 7 \
                    JOIN numbers c ON a.n * c.n > b.n";
        assert_eq!(refused(&mut client, late).await.code(), Code::DeadlineExceeded);
        let wide = "SELECT a.n, b.n FROM numbers a CROSS JOIN numbers b ORDER BY a.n * b.n";
        let memory = format!("SET maxSubqueryRows = 10; {wide}");
        assert_eq!(refused(&mut client, &memory).await.code(), Code::ResourceExhausted);
        let error = status(client.execute_update("INSERT INTO numbers SELECT 1".into(), None).await.unwrap_err());
        assert_eq!(error.code(), Code::Unimplemented);
        assert!(error.message().contains("tasks"), "{error}");

        let mut raw = FlightServiceClient::new(channel);
        for bytes in [&b""[..], b"\xff", b"\x0a\x02hi", &[8; 100]] {
            let error = raw.do_get(Ticket::new(bytes.to_vec())).await.map(|_| ()).unwrap_err();
            assert!([Code::InvalidArgument, Code::Unimplemented].contains(&error.code()), "{bytes:?}: {error}");
            let error = raw.get_flight_info(FlightDescriptor::new_cmd(bytes.to_vec())).await.unwrap_err();
            assert!([Code::InvalidArgument, Code::Unimplemented].contains(&error.code()), "{bytes:?}: {error}");
        }
        let large = FlightDescriptor::new_cmd(vec![0; 17 << 20]);
        assert!(raw.get_flight_info(large).await.is_err());
    });
}

#[test]
fn the_catalog_is_told() {
    with(10, &[], |channel| async move {
        let mut client = Client::new(channel);
        let info = client.get_catalogs().await.unwrap();
        assert_eq!(texts(&read(&mut client, &info).await.unwrap(), "catalog_name"), ["druid"]);
        let pattern = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("d%".into()) };
        let info = client.get_db_schemas(pattern).await.unwrap();
        assert_eq!(texts(&read(&mut client, &info).await.unwrap(), "db_schema_name"), ["druid"]);
        let tables = |include_schema| CommandGetTables {
            catalog: Some("druid".into()),
            db_schema_filter_pattern: Some("druid".into()),
            table_name_filter_pattern: Some("num%".into()),
            table_types: vec!["TABLE".into()],
            include_schema,
        };
        for include_schema in [false, true] {
            let info = client.get_tables(tables(include_schema)).await.unwrap();
            let found = read(&mut client, &info).await.unwrap();
            assert_eq!(texts(&found, "table_name"), ["numbers"]);
            assert_eq!(found[0].schema().as_ref(), &info.try_decode_schema().unwrap());
            if include_schema {
                let bytes = found[0].column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).to_vec();
                let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
                let found = query(&mut client, "SELECT * FROM numbers").await;
                assert_eq!(SchemaRef::new(schema), found[0].schema());
            }
        }
        let info = client.get_tables(CommandGetTables { catalog: Some(String::new()), ..tables(true) }).await.unwrap();
        assert!(texts(&read(&mut client, &info).await.unwrap(), "table_name").is_empty());
        let info = client.get_table_types().await.unwrap();
        assert!(texts(&read(&mut client, &info).await.unwrap(), "table_type").contains(&"TABLE".to_string()));
        let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
        assert_eq!(read(&mut client, &info).await.unwrap()[0].num_rows(), 1);
        let info = client.get_xdbc_type_info(Default::default()).await.unwrap();
        assert_eq!(texts(&read(&mut client, &info).await.unwrap(), "type_name").len(), 6);
        let keys = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "numbers".into() };
        let info = client.get_primary_keys(keys).await.unwrap();
        let keys = read(&mut client, &info).await.unwrap();
        assert_eq!(keys.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    });
}

/// A client that goes away, or asks for it, ends its statement; one that does not read holds nothing up.
#[test]
fn statements_end_when_nobody_reads() {
    with(50_000, &[("query.concurrent_max", "2")], |channel| async move {
        let mut client = Client::new(channel.clone());
        let endless = "SELECT a.n, b.n FROM numbers a CROSS JOIN numbers b";
        // There are two places, and an endless statement has both.
        let counted = async |client: &mut Client| {
            let end = Instant::now() + Duration::from_secs(30);
            loop {
                let info = client.execute("SELECT COUNT(*) AS c FROM numbers".to_string(), None).await.unwrap();
                match read(client, &info).await {
                    Ok(rows) => return longs(&rows, 0)[0],
                    Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}"),
                }
                assert!(Instant::now() < end, "a statement that nobody reads runs on");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // The statement before may have its place still when its last row has come.
        let begun = async |client: &mut Client| {
            let end = Instant::now() + Duration::from_secs(30);
            loop {
                let info = client.execute(endless.to_string(), None).await.unwrap();
                match client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.map_err(status) {
                    Ok(rows) => return (info, rows),
                    Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}"),
                }
                assert!(Instant::now() < end, "a statement that was read keeps its place");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        for _ in 0..5 {
            let (_, mut rows) = begun(&mut client).await;
            assert!(rows.try_next().await.unwrap().unwrap().num_rows() > 0);
            drop(rows);
            assert_eq!(counted(&mut client).await, 50_000);
        }
        let (info, mut rows) = begun(&mut client).await;
        rows.try_next().await.unwrap();
        let cancel = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
        let action = Action::new("CancelQuery", cancel.as_any().encode_to_vec());
        let mut raw = FlightServiceClient::new(channel);
        let said = raw.do_action(action).await.unwrap().into_inner().message().await.unwrap().unwrap();
        let said: ActionCancelQueryResult = Any::decode(said.body).unwrap().unpack().unwrap().unwrap();
        assert_eq!(said.result, 2);
        let error = rows.try_collect::<Vec<_>>().await.unwrap_err();
        assert!(matches!(&error, FlightError::Tonic(status) if status.code() == Code::Cancelled), "{error}");
    });
}
