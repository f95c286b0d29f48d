//! What drivers ask of the catalog, as SQL over INFORMATION_SCHEMA. The names of the columns are JDBC's.

use super::message::Metadata;

/// The statement; `None` where Druid answers nothing.
pub fn sql(what: &Metadata) -> Option<String> {
    Some(match what {
        Metadata::Catalogs => "SELECT DISTINCT CATALOG_NAME AS TABLE_CAT FROM INFORMATION_SCHEMA.SCHEMATA \
             ORDER BY TABLE_CAT"
            .to_string(),
        Metadata::Schemas { catalog, schema } => format!(
            "SELECT SCHEMA_NAME AS TABLE_SCHEM, CATALOG_NAME AS TABLE_CATALOG FROM INFORMATION_SCHEMA.SCHEMATA{} \
             ORDER BY TABLE_CATALOG, TABLE_SCHEM",
            conditions([equal("CATALOG_NAME", catalog), like("SCHEMA_NAME", schema)])
        ),
        Metadata::Tables { catalog, schema, table, types } => {
            let types = types.as_ref().map(|types| match types.is_empty() {
                true => "FALSE".to_string(),
                false => {
                    let types: Vec<String> = types.iter().map(|name| literal(name)).collect();
                    format!("TABLE_TYPE IN ({})", types.join(", "))
                }
            });
            format!(
                "SELECT TABLE_CATALOG AS TABLE_CAT, TABLE_SCHEMA AS TABLE_SCHEM, TABLE_NAME, TABLE_TYPE, {} \
                 FROM INFORMATION_SCHEMA.TABLES{} ORDER BY TABLE_TYPE, TABLE_CAT, TABLE_SCHEM, TABLE_NAME",
                nulls(&[
                    "REMARKS",
                    "TYPE_CAT",
                    "TYPE_SCHEM",
                    "TYPE_NAME",
                    "SELF_REFERENCING_COL_NAME",
                    "REF_GENERATION"
                ]),
                conditions([
                    equal("TABLE_CATALOG", catalog),
                    like("TABLE_SCHEMA", schema),
                    like("TABLE_NAME", table),
                    types
                ])
            )
        }
        Metadata::Columns { catalog, schema, table, column } => format!(
            "SELECT TABLE_CATALOG AS TABLE_CAT, TABLE_SCHEMA AS TABLE_SCHEM, TABLE_NAME, COLUMN_NAME, \
             CAST(JDBC_TYPE AS INTEGER) AS DATA_TYPE, DATA_TYPE AS TYPE_NAME, -1 AS COLUMN_SIZE, \
             -1 AS BUFFER_LENGTH, -1 AS DECIMAL_DIGITS, -1 AS NUM_PREC_RADIX, \
             CASE IS_NULLABLE WHEN 'YES' THEN 1 ELSE 0 END AS NULLABLE, {}, COLUMN_DEFAULT AS COLUMN_DEF, \
             -1 AS SQL_DATA_TYPE, -1 AS SQL_DATETIME_SUB, -1 AS CHAR_OCTET_LENGTH, \
             CAST(ORDINAL_POSITION AS INTEGER) AS ORDINAL_POSITION, IS_NULLABLE, {}, -1 AS SOURCE_DATA_TYPE, \
             'NO' AS IS_AUTOINCREMENT, 'NO' AS IS_GENERATEDCOLUMN FROM INFORMATION_SCHEMA.COLUMNS{} \
             ORDER BY TABLE_CAT, TABLE_SCHEM, TABLE_NAME, ORDINAL_POSITION",
            nulls(&["REMARKS"]),
            nulls(&["SCOPE_CATALOG", "SCOPE_SCHEMA", "SCOPE_TABLE"]),
            conditions([
                equal("TABLE_CATALOG", catalog),
                like("TABLE_SCHEMA", schema),
                like("TABLE_NAME", table),
                like("COLUMN_NAME", column)
            ])
        ),
        Metadata::TableTypes => {
            "SELECT DISTINCT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES ORDER BY TABLE_TYPE".to_string()
        }
        Metadata::TypeInfo => return None,
    })
}

fn nulls(names: &[&str]) -> String {
    let columns: Vec<String> = names.iter().map(|name| format!("CAST(NULL AS VARCHAR) AS {name}")).collect();
    columns.join(", ")
}

fn conditions<const N: usize>(all: [Option<String>; N]) -> String {
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
}

fn equal(column: &str, value: &Option<String>) -> Option<String> {
    value.as_ref().map(|value| format!("{column} = {}", literal(value)))
}

fn like(column: &str, pattern: &Option<String>) -> Option<String> {
    match pattern.as_deref() {
        None | Some("%") => None,
        Some(pattern) => Some(format!("{column} LIKE {} ESCAPE '\\'", literal(pattern))),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_literal() {
        let what = Metadata::Schemas { catalog: Some("a' OR 'b".into()), schema: Some("d_r\\_%".into()) };
        let text = sql(&what).expect("a statement");
        assert!(text.contains("CATALOG_NAME = 'a'' OR ''b'"), "{text}");
        assert!(text.contains("SCHEMA_NAME LIKE 'd_r\\_%' ESCAPE '\\'"), "{text}");
    }
}
