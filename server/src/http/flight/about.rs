//! What never changes: facts of the server, the types it has, and keys, which tables have none of.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Command, CommandGetDbSchemas, CommandGetTableTypes, Nullable, Searchable, SqlInfo, SqlNullOrdering,
    SqlSupportedTransaction, XdbcDataType,
};

/// The columns of what a command answers; `None` if it is none that asks for a part of the catalog.
pub fn schema(command: &Command) -> Option<SchemaRef> {
    Some(match command {
        Command::CommandGetCatalogs(what) => what.into_builder().schema(),
        Command::CommandGetDbSchemas(_) => CommandGetDbSchemas::default().into_builder().schema(),
        Command::CommandGetTables(what) => what.clone().into_builder().schema(),
        Command::CommandGetTableTypes(_) => CommandGetTableTypes {}.into_builder().schema(),
        Command::CommandGetSqlInfo(_) => FACTS.schema(),
        Command::CommandGetXdbcTypeInfo(_) => TYPES.schema(),
        Command::CommandGetPrimaryKeys(_) => keys(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => references(),
        _ => return None,
    })
}

/// The rows; `None` if the command is not answered here.
pub fn answer(command: &Command) -> Option<Result<RecordBatch, FlightError>> {
    Some(match command {
        Command::CommandGetSqlInfo(what) => {
            // The work is one for each name, and many may be sent.
            let known: BTreeSet<u32> = what.info.iter().copied().filter(|name| known(*name)).collect();
            match known.is_empty() && !what.info.is_empty() {
                true => Ok(RecordBatch::new_empty(FACTS.schema())),
                false => FACTS.record_batch(known),
            }
        }
        Command::CommandGetXdbcTypeInfo(what) => TYPES.record_batch(what.data_type),
        Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(keys())),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(references())),
        _ => return None,
    })
}

fn known(name: u32) -> bool {
    SAID.iter().any(|(said, _)| name as i32 == *said as i32)
}

enum Fact {
    Text(&'static str),
    Flag(bool),
    Number(i32),
}

const SAID: &[(SqlInfo, Fact)] = &[
    (SqlInfo::FlightSqlServerName, Fact::Text("Henge")),
    (SqlInfo::FlightSqlServerVersion, Fact::Text(env!("CARGO_PKG_VERSION"))),
    (SqlInfo::FlightSqlServerArrowVersion, Fact::Text("1.4")),
    (SqlInfo::FlightSqlServerReadOnly, Fact::Flag(true)),
    (SqlInfo::FlightSqlServerSql, Fact::Flag(true)),
    (SqlInfo::FlightSqlServerSubstrait, Fact::Flag(false)),
    (SqlInfo::FlightSqlServerTransaction, Fact::Number(SqlSupportedTransaction::None as i32)),
    (SqlInfo::FlightSqlServerCancel, Fact::Flag(true)),
    (SqlInfo::FlightSqlServerBulkIngestion, Fact::Flag(false)),
    (SqlInfo::SqlDdlCatalog, Fact::Flag(false)),
    (SqlInfo::SqlDdlSchema, Fact::Flag(false)),
    (SqlInfo::SqlDdlTable, Fact::Flag(false)),
    (SqlInfo::SqlIdentifierQuoteChar, Fact::Text("\"")),
    (SqlInfo::SqlAllTablesAreSelectable, Fact::Flag(true)),
    (SqlInfo::SqlNullOrdering, Fact::Number(SqlNullOrdering::SqlNullsSortedLow as i32)),
    (SqlInfo::SqlSearchStringEscape, Fact::Text("\\")),
    (SqlInfo::SqlSupportsColumnAliasing, Fact::Flag(true)),
    (SqlInfo::SqlNullPlusNullIsNull, Fact::Flag(true)),
    (SqlInfo::SqlSupportsTableCorrelationNames, Fact::Flag(true)),
    (SqlInfo::SqlSupportsLikeEscapeClause, Fact::Flag(true)),
    (SqlInfo::SqlSchemaTerm, Fact::Text("schema")),
    (SqlInfo::SqlCatalogTerm, Fact::Text("catalog")),
    (SqlInfo::SqlTransactionsSupported, Fact::Flag(false)),
    (SqlInfo::SqlBatchUpdatesSupported, Fact::Flag(false)),
    (SqlInfo::SqlSavepointsSupported, Fact::Flag(false)),
    (SqlInfo::SqlNamedParametersSupported, Fact::Flag(false)),
];

static FACTS: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut facts = SqlInfoDataBuilder::new();
    for (name, fact) in SAID {
        match fact {
            Fact::Text(text) => facts.append(*name, *text),
            Fact::Flag(flag) => facts.append(*name, *flag),
            Fact::Number(number) => facts.append(*name, *number),
        }
    }
    facts.build().expect("every fact is of a type that facts may have")
});

static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, size, quote) in [
        ("BIGINT", XdbcDataType::XdbcBigint, 19, None),
        ("FLOAT", XdbcDataType::XdbcFloat, 7, None),
        ("DOUBLE", XdbcDataType::XdbcDouble, 15, None),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, Some("'")),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 23, Some("'")),
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
    ] {
        types.append(XdbcTypeInfo {
            type_name: name.into(),
            data_type,
            column_size: Some(size),
            literal_prefix: quote.map(str::to_string),
            literal_suffix: quote.map(str::to_string),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: data_type == XdbcDataType::XdbcVarchar,
            searchable: Searchable::Full,
            sql_data_type: data_type,
            ..XdbcTypeInfo::default()
        });
    }
    types.build().expect("the list of types is whole")
});

fn columns(all: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, data_type, nullable): &(&str, DataType, bool)| Field::new(*name, data_type.clone(), *nullable);
    Arc::new(Schema::new(all.iter().map(field).collect::<Vec<Field>>()))
}

fn keys() -> SchemaRef {
    columns(&[
        ("catalog_name", DataType::Utf8, true),
        ("db_schema_name", DataType::Utf8, true),
        ("table_name", DataType::Utf8, false),
        ("column_name", DataType::Utf8, false),
        ("key_name", DataType::Utf8, true),
        ("key_sequence", DataType::Int32, false),
    ])
}

fn references() -> SchemaRef {
    columns(&[
        ("pk_catalog_name", DataType::Utf8, true),
        ("pk_db_schema_name", DataType::Utf8, true),
        ("pk_table_name", DataType::Utf8, false),
        ("pk_column_name", DataType::Utf8, false),
        ("fk_catalog_name", DataType::Utf8, true),
        ("fk_db_schema_name", DataType::Utf8, true),
        ("fk_table_name", DataType::Utf8, false),
        ("fk_column_name", DataType::Utf8, false),
        ("key_sequence", DataType::Int32, false),
        ("fk_key_name", DataType::Utf8, true),
        ("pk_key_name", DataType::Utf8, true),
        ("update_rule", DataType::UInt8, false),
        ("delete_rule", DataType::UInt8, false),
    ])
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::CommandGetSqlInfo;

    use super::*;

    #[test]
    fn facts_are_told_by_name_or_all() {
        let rows = |info: Vec<u32>| {
            let answer = answer(&Command::CommandGetSqlInfo(CommandGetSqlInfo { info })).expect("answered here");
            answer.expect("a batch").num_rows()
        };
        assert_eq!((rows(vec![]), rows(vec![0, 3, 3, u32::MAX]), rows(vec![77_777])), (SAID.len(), 2, 0));
    }
}
