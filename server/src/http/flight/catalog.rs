//! Catalogs, schemas and tables: what INFORMATION_SCHEMA answers to the statements that JDBC asks, in Flight SQL's columns.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use futures::stream::TryStreamExt;
use tonic::Status;

use super::super::App;
use super::super::avatica::message::Metadata;
use super::super::avatica::metadata;
use super::super::sql::{begin, measured};
use super::{broken, statement};
use crate::auth::Caller;

/// The first columns of an answer, row by row.
async fn texts<const N: usize>(app: &App, caller: &Caller, what: &Metadata) -> Result<Vec<[String; N]>, Status> {
    let text = metadata::sql(what).ok_or_else(|| broken("the catalog has no such part"))?;
    let asked = statement::asked(text, Default::default());
    let query_id = asked.query_id();
    let read = async || begin(app, caller, &asked, &query_id).await?.arrow().1.try_collect::<Vec<RecordBatch>>().await;
    let batches = measured(app, &query_id, read).await.map_err(|error| statement::status(app, &error))?;
    let mut rows = Vec::new();
    for batch in &batches {
        let columns = batch.columns().iter().take(N).map(|column| arrow::compute::cast(column, &DataType::Utf8));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let columns: Vec<&StringArray> = columns.iter().map(|column| column.as_string::<i32>()).collect();
        for row in 0..batch.num_rows() {
            let value =
                |nth: usize| columns.get(nth).filter(|column| !column.is_null(row)).map(|column| column.value(row));
            rows.push(std::array::from_fn(|nth| value(nth).unwrap_or_default().to_string()));
        }
    }
    Ok(rows)
}

pub async fn catalogs(app: &App, caller: &Caller, what: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut builder: GetCatalogsBuilder = what.into_builder();
    for [catalog] in texts(app, caller, &Metadata::Catalogs).await? {
        builder.append(catalog);
    }
    builder.build().map_err(broken)
}

pub async fn schemas(app: &App, caller: &Caller, what: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let asked = Metadata::Schemas { catalog: what.catalog, schema: what.db_schema_filter_pattern };
    let mut builder = GetDbSchemasBuilder::new(None::<String>, None::<String>);
    for [schema, catalog] in texts(app, caller, &asked).await? {
        builder.append(catalog, schema);
    }
    builder.build().map_err(broken)
}

pub async fn table_types(app: &App, caller: &Caller, what: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut builder = what.into_builder();
    for [table_type] in texts(app, caller, &Metadata::TableTypes).await? {
        builder.append(table_type);
    }
    builder.build().map_err(broken)
}

pub async fn tables(app: &App, caller: &Caller, what: CommandGetTables) -> Result<RecordBatch, Status> {
    let asked = Metadata::Tables {
        catalog: what.catalog,
        schema: what.db_schema_filter_pattern,
        table: what.table_name_filter_pattern,
        types: Some(what.table_types).filter(|types| !types.is_empty()),
    };
    let mut builder =
        GetTablesBuilder::new(None::<String>, None::<String>, None::<String>, None::<String>, what.include_schema);
    for [catalog, schema, table, table_type] in texts(app, caller, &asked).await? {
        let columns = match what.include_schema {
            true => {
                let quoted = |name: &str| name.replace('"', "\"\"");
                let text = format!("SELECT * FROM \"{}\".\"{}\"", quoted(&schema), quoted(&table));
                let asked = statement::asked(text, Default::default());
                match app.sql.schema(&asked.statement(&asked.query_id()), &caller.principal).await {
                    Ok(columns) => columns,
                    // It went away since it was listed.
                    Err(_) => continue,
                }
            }
            false => arrow::datatypes::Schema::empty().into(),
        };
        builder.append(catalog, schema, table, table_type, &columns).map_err(broken)?;
        // Many tables take a while, and others wait for this thread.
        tokio::task::yield_now().await;
    }
    builder.build().map_err(broken)
}
